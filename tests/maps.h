/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * maps.h - what a process has mapped, as the kernel says (/proc/self/maps), and whether that is direct.
 *
 * A direct mapping shows pages of the region; a mapping that fell back to the kernel shows the file. Which of
 * the two it is can be told by the names: regions of tests are called "region.SOMETHING" (lib.sh), or
 * "fake-region" (fake_daemon.h). libudax is asked for what it counts, but not believed.
 *
 * Linked into programs that use libudax, that run under udaxrun, and into what is put in front of others
 * (seen_maps.c).
 */
#ifndef UDAX_TESTS_MAPS_H
#define UDAX_TESTS_MAPS_H

#include <stdbool.h>

#define MAPS_REGION "region"

/** maps_show - whether @addr lies in a mapping of a file whose name has @text. */
bool maps_show(const void *addr, const char *text);

/** maps_count - how many mappings there are. maps_shared - shared ones of files whose name has @text. */
unsigned maps_count(void);
unsigned maps_shared(const char *text);

/**
 * maps_prove - that mappings of this process are direct and nothing fell back, and that it is not because all
 * is populated for good: a new file in @dir, on a udaxfs mount, is mapped and stored into, which shows the
 * region; a punch takes that away, and the next touch is a fault, which finds zeroes.
 *
 * Returns NULL, or what is wrong, in static memory. Not for two threads at a time.
 */
const char *maps_prove(const char *dir);

#endif
