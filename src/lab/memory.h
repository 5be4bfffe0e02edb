/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * memory.h - all that a run changes, in two places that can be put back as they were: an arena for
 * the core and the simulated world, and a region for the medium. Putting back costs what the world is
 * large in memory, and what the run has stored on the medium.
 */
#ifndef UDAX_LAB_MEMORY_H
#define UDAX_LAB_MEMORY_H

#include <stdbool.h>

#include "mem.h"
#include "region.h"

/** arena_new - a struct mem that hands out pieces of one mapping. NULL without memory. */
struct mem *arena_new(size_t bytes);
void arena_delete(struct mem *arena);

/** arena_save - what there is now is what arena_restore() goes back to. 0 or -ENOMEM. */
int arena_save(struct mem *arena);
void arena_restore(struct mem *arena);

/** arena_watch - @fails(@ctx) is asked before each piece is handed out: whether there is none. */
void arena_watch(struct mem *arena, bool (*fails)(void *ctx), void *ctx);

/** arena_nlive - how many pieces are handed out. */
unsigned arena_nlive(const struct mem *arena);

/** Called before each store of the core's: a range of the medium, and whether zeroes go there. */
typedef void (*medium_watch)(void *ctx, uint64_t off, size_t len, bool zero,
			     const struct sync_site *site);

/** Called before each drain of the core's: what is pending becomes durable. */
typedef void (*medium_drain_watch)(void *ctx, const struct sync_site *site);

/** medium_new - a zeroed region of @bytes; @watch may be NULL. NULL without memory. */
struct region *medium_new(uint64_t bytes, uint32_t granule_bytes);
void medium_watch_stores(struct region *r, medium_watch watch, void *ctx);
void medium_watch_drains(struct region *r, medium_drain_watch watch, void *ctx);

/** medium_save, medium_restore - as of the arena. Nothing is pending afterwards. */
void medium_save(struct region *r);
void medium_restore(struct region *r);

/** medium_base - the region's bytes, for stores of clients, which nobody watches. */
unsigned char *medium_base(struct region *r);

/**
 * medium_dirty - a client has stored to the line at @off: it is put back as well, and is pending until somebody
 * flushes and drains it.
 */
void medium_dirty(struct region *r, uint64_t off);

/**
 * medium_crash - copy to @image what a crash leaves now when of the lines that are pending those in @keep
 * (bit i: line i of medium_pending(); lines from 63 on share the last bit) have reached the medium.
 */
size_t medium_pending(const struct region *r);
void medium_crash(const struct region *r, uint64_t keep, unsigned char *image);

#endif
