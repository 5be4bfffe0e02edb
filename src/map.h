/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * map.h - a block of bits on the medium that says what is taken: the blocks of a group, or the
 * inodes of a chunk.
 *
 * The medium has the durable truth. In memory stands a second copy of the bits, "busy": taken on
 * the medium, or promised to a transaction that has not committed, or freed by one whose freeing
 * is not durable yet, or quarantined. Only a bit that is clear in busy may be taken. So a block
 * is never handed out again before its freeing is durable, and two transactions never change the
 * same bit: their records can be replayed in any order.
 *
 * Transactions name bits by tx_bits() (journal.h); the journal writes them. All of a map's
 * memory, and its block on the medium, is protected by its lock (LOCK_ALLOC).
 */
#ifndef UDAX_MAP_H
#define UDAX_MAP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "format.h"
#include "sync.h"

struct mem;
struct region;
struct volume;

struct map {
	struct sync_mutex lock;
	uint64_t blk; /* on the medium; 0: this map does not exist yet */
	enum map_kind kind;
	uint64_t index;
	uint32_t nbits;
	atomic_uint nfree;   /* clear bits of busy; may be read without the lock, as a hint */
	atomic_llong *total; /* the sum of nfree over all maps; NULL: nobody counts */
	uint64_t *busy;	     /* MAP_BITS bits; NULL: not loaded yet */
	uint16_t *huge_free; /* of MAP_SPACE: clear bits of busy in each run of HUGE_BLOCKS */
};

#define MAP_HUGE_RUNS (MAP_BITS / HUGE_BLOCKS)

/**
 * map_format - fill @mb with an empty map.
 * map_seal - set the checksum of @mb.
 * map_check - 0 when @mb is the map @kind/@index with a right checksum, else -EUCLEAN.
 */
void map_format(struct map_block *mb, enum map_kind kind, uint64_t index);
void map_seal(struct map_block *mb);
int map_check(const struct map_block *mb, enum map_kind kind, uint64_t index);

/**
 * map_init - a map at block @blk, of which the first @nbits bits mean something, not loaded yet.
 * map_destroy frees its memory.
 */
void map_init(struct volume *vol, struct map *map, enum map_kind kind, uint64_t index, uint64_t blk,
	      uint32_t nbits);
void map_destroy(struct volume *vol, struct map *map);

/**
 * map_load - check the map on the medium and make busy from it. The caller holds map->lock.
 * Does nothing when it is loaded. Returns 0, -EIO (damaged), -ENOMEM.
 */
int map_load(struct volume *vol, struct map *map);

/** map_extend - from now on the first @nbits bits mean something. map->lock held, map loaded. */
void map_extend(struct map *map, uint32_t nbits);

/*
 * Searching and taking, under map->lock with the map loaded. Both set busy at once, so that
 * nobody else gets the bits; map_release() takes that back.
 *
 * map_find_run - the longest run of free bits that starts at or after @from and has at most
 * @want bits; stops at the first run of @want. Returns its length and sets *@ret_first; 0: none.
 */
uint32_t map_find_run(const struct map *map, uint32_t from, uint32_t to, uint32_t want,
		      uint32_t *ret_first);

/*
 * map_run_at - the length of the free run that begins with bit @first, at most @want; 0: busy.
 * map_take, map_release - make a run busy, or free again.
 * map_release tolerates bits that are free already: on a damaged volume two files may own them.
 */
uint32_t map_run_at(const struct map *map, uint32_t first, uint32_t want);
void map_take(struct map *map, uint32_t first, uint32_t count);
void map_release(struct map *map, uint32_t first, uint32_t count);
bool map_is_busy(const struct map *map, uint32_t bit);

/**
 * map_test - a bit of @plane on the medium. The caller holds map->lock.
 */
bool map_test(const struct volume *vol, const struct map *map, unsigned plane, uint32_t bit);

/**
 * map_apply - set or clear bits of @mb's @plane on the medium, without checksum: the common step
 * of commit and of recovery. map_reseal - store the checksum that belongs to the bits. Stores are pending until the next region_drain().
 */
void map_apply(struct region *r, uint64_t blk, unsigned plane, bool set, uint32_t first,
	       uint32_t count);
void map_reseal(struct region *r, uint64_t blk);

#endif
