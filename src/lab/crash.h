/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * crash.h - power fails: what the medium may hold then, recovered and judged.
 *
 * Of the lines that are pending at that moment - stored, and not yet drained - each can have reached
 * the medium or not. Looked at are: none has, all have, all but one have (for each of the first
 * CRASH_MAX_LINES). What is left must be a volume that the checker finds nothing wrong with, and that
 * mounts; and what its files show must be what a plain file could, of which everything is there that was
 * durable: what returned, but of stores through mappings only those that an fsync(2) has followed.
 *
 * The same image after the same operations is looked at once in the whole search.
 */
#ifndef UDAX_LAB_CRASH_H
#define UDAX_LAB_CRASH_H

#include "world.h"

#define CRASH_MAX_LINES 62u

/** crash_new - a place to recover in, for volumes like @w's. NULL without memory. */
struct crash *crash_new(struct world *w);
void crash_delete(struct crash *crash);

/** crash_wanted - whether @sc has a crash. */
bool crash_wanted(const struct scenario *sc);

/** crash_watch - from now on drains of @w's medium are points. */
void crash_watch(struct world *w);

/** crash_check - power has failed: everything that can be left, by each rule. Outside of tasks. */
void crash_check(struct world *w);

#endif
