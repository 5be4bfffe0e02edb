/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * alloc.c - where to put things, and taking them back. alloc.h says what is promised.
 *
 * Each group's map has its own lock; no function holds two. Groups stand in pieces of a table
 * that grows and never moves, so a group's address is good without a lock.
 *
 * The search, in the order tried:
 *   goal    the block behind the previous one, which keeps a growing file in one piece (and, since
 *           it began congruent, congruent)
 *   large   a wholly free 2 MiB run, entered at the file's own offset in it
 *   small   a run in a 2 MiB piece that is broken already, so that whole ones stay whole
 *   whole   break a new 2 MiB piece
 *   any     the longest run that is left
 * Each step asks the groups in turn from a rotor that stays where the last one was found.
 */
#include "alloc.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>

#include "format.h"
#include "journal.h"
#include "map.h"
#include "mem.h"
#include "region.h"
#include "volume.h"

/* Piece i of the table holds 2^i groups: a small volume has a small table, and none ever moves. */
#define MAX_PIECES 23u
static_assert(MAX_VOLUME_BLOCKS / MAP_BITS < (UINT64_C(1) << MAX_PIECES) - 1,
	      "room for all groups");

/* How many groups to ask for a broken piece before breaking a new one. */
#define BROKEN_SEARCH_GROUPS 64u

struct alloc {
	atomic_llong nfree;
	atomic_uint small_rotor, large_rotor;
	struct map *pieces[MAX_PIECES];
};

static struct map *group_map(const struct volume *vol, uint32_t g)
{
	uint32_t piece = 31u - (uint32_t)__builtin_clz(g + 1);

	return &vol->alloc->pieces[piece][g + 1 - (1u << piece)];
}

/* ---- searching one group ------------------------------------------------------------------------ */

/* A run to take in a group whose lock is held and whose map is loaded; 0: none. */
typedef uint32_t (*search_fn)(const struct map *map, const struct alloc_request *req,
			      uint32_t *ret_first);

static uint32_t search_whole(const struct map *map, const struct alloc_request *req,
			     uint32_t *ret_first)
{
	uint32_t skip = req->large ? (uint32_t)(req->lblk % HUGE_BLOCKS) : 0;

	for (uint32_t run = 0; run < MAP_HUGE_RUNS; run++) {
		if (map->huge_free[run] != HUGE_BLOCKS)
			continue;
		*ret_first = run * HUGE_BLOCKS + skip;
		return map_run_at(map, *ret_first, req->count);
	}
	return 0;
}

static uint32_t search_broken(const struct map *map, const struct alloc_request *req,
			      uint32_t *ret_first)
{
	uint32_t best = 0, first, n;

	for (uint32_t run = 0; run < MAP_HUGE_RUNS && best < req->count; run++) {
		uint32_t from = run * HUGE_BLOCKS;

		if (!map->huge_free[run] || map->huge_free[run] == HUGE_BLOCKS ||
		    map->huge_free[run] < best)
			continue;
		n = map_find_run(map, from, from + HUGE_BLOCKS, req->count, &first);
		if (n > best) {
			best = n;
			*ret_first = first;
		}
	}
	/* A crumb is worse than a new piece, unless little is wanted. */
	return best >= req->count || best >= HUGE_BLOCKS / 8 ? best : 0;
}

static uint32_t search_any(const struct map *map, const struct alloc_request *req,
			   uint32_t *ret_first)
{
	return map_find_run(map, 0, map->nbits, req->count, ret_first);
}

/* ---- searching groups ----------------------------------------------------------------------------- */

/* Take what @search finds in group @g. Returns the length; 0: nothing, or the map is damaged. */
static uint32_t take_in_group(struct volume *vol, uint32_t g, const struct alloc_request *req,
			      search_fn search, uint64_t *ret_blk)
{
	struct map *map = group_map(vol, g);
	uint32_t first = 0, count = 0;

	if (!atomic_load_explicit(&map->nfree, memory_order_relaxed))
		return 0;
	sync_lock(&map->lock, 0, HERE);
	if (map_load(vol, map) == 0)
		count = search(map, req, &first);
	if (count) {
		map_take(map, first, count);
		*ret_blk = (uint64_t)g * MAP_BITS + first;
	}
	sync_unlock(&map->lock, HERE);
	return count;
}

static uint32_t take_in_any_group(struct volume *vol, atomic_uint *rotor, uint32_t limit,
				  const struct alloc_request *req, search_fn search,
				  uint64_t *ret_blk)
{
	uint32_t ngroups = atomic_load(&vol->ngroups);
	uint32_t start = atomic_load_explicit(rotor, memory_order_relaxed);

	for (uint32_t i = 0; i < ngroups && i < limit; i++) {
		uint32_t g = (start + i) % ngroups;
		uint32_t count = take_in_group(vol, g, req, search, ret_blk);

		if (count) {
			atomic_store_explicit(rotor, g, memory_order_relaxed);
			return count;
		}
	}
	return 0;
}

static uint32_t take_at_goal(struct volume *vol, const struct alloc_request *req, uint64_t *ret_blk)
{
	uint32_t bit = (uint32_t)(req->goal % MAP_BITS), count = 0;
	struct map *map;

	/* The goal can lie behind the end, or in a group that is still being made. */
	if (!req->goal || req->goal / MAP_BITS >= atomic_load(&vol->ngroups))
		return 0;
	map = group_map(vol, (uint32_t)(req->goal / MAP_BITS));
	sync_lock(&map->lock, 0, HERE);
	/* A small thing does not go on into a whole piece: it would be broken for its sake. */
	if (map_load(vol, map) == 0 &&
	    (req->large || map->huge_free[bit / HUGE_BLOCKS] != HUGE_BLOCKS))
		count = map_run_at(map, bit, req->count);
	if (count) {
		map_take(map, bit, count);
		*ret_blk = req->goal;
	}
	sync_unlock(&map->lock, HERE);
	return count;
}

static uint32_t take_somewhere(struct volume *vol, const struct alloc_request *req,
			       uint64_t *ret_blk)
{
	struct alloc *alloc = vol->alloc;
	uint32_t count = take_at_goal(vol, req, ret_blk);

	if (!count && !req->large)
		count = take_in_any_group(vol, &alloc->small_rotor, BROKEN_SEARCH_GROUPS, req,
					  search_broken, ret_blk);
	if (!count)
		count = take_in_any_group(vol,
					  req->large ? &alloc->large_rotor : &alloc->small_rotor,
					  UINT32_MAX, req, search_whole, ret_blk);
	if (!count)
		count = take_in_any_group(vol, &alloc->small_rotor, UINT32_MAX, req, search_any,
					  ret_blk);
	return count;
}

/* ---- allocating and freeing -------------------------------------------------------------------------- */

/* How many of @want may be taken now: an operation that frees may use the reserve. */
static uint32_t allowance(const struct tx *tx, uint32_t want)
{
	struct volume *vol = tx_volume(tx);
	long long nfree = atomic_load(&vol->alloc->nfree);

	if (!(tx_flags(tx) & TX_RESERVE))
		nfree -= vol->reserve_blocks;
	if (nfree <= 0)
		return 0;
	return nfree < want ? (uint32_t)nfree : want;
}

/* Two that looked at the same time may both have been allowed what was there for one. */
static bool ate_reserve(const struct tx *tx)
{
	struct volume *vol = tx_volume(tx);

	return !(tx_flags(tx) & TX_RESERVE) &&
	       atomic_load(&vol->alloc->nfree) < (long long)vol->reserve_blocks;
}

static void give_back(struct volume *vol, uint64_t blk, uint32_t count)
{
	struct map *map = group_map(vol, (uint32_t)(blk / MAP_BITS));

	sync_lock(&map->lock, 0, HERE);
	map_release(map, (uint32_t)(blk % MAP_BITS), count);
	sync_unlock(&map->lock, HERE);
}

int alloc_blocks(struct tx *tx, const struct alloc_request *req, uint64_t *ret_blk,
		 uint32_t *ret_count)
{
	struct volume *vol = tx_volume(tx);
	struct alloc_request capped = *req;
	uint64_t blk = 0;
	uint32_t count;
	int err;

	assert(req->count);
	capped.count = allowance(tx, req->count);
	if (!capped.count)
		return -ENOSPC;
	count = take_somewhere(vol, &capped, &blk);
	if (!count)
		return -ENOSPC;
	if (ate_reserve(tx)) {
		give_back(vol, blk, count);
		return -ENOSPC;
	}
	err = tx_bits(tx, group_map(vol, (uint32_t)(blk / MAP_BITS)), PLANE_USED, true,
		      (uint32_t)(blk % MAP_BITS), count, false);
	if (err)
		return err;
	atomic_fetch_add(&vol->stat.blocks_allocated, count);
	*ret_blk = blk;
	*ret_count = count;
	return 0;
}

/* Whether all of a range, in one group, is set in @plane of the medium. */
static bool all_set(const struct volume *vol, struct map *map, unsigned plane, uint32_t first,
		    uint32_t count)
{
	bool set = true;

	sync_lock(&map->lock, 0, HERE);
	for (uint32_t bit = first; set && bit < first + count; bit++)
		set = map_test(vol, map, plane, bit);
	sync_unlock(&map->lock, HERE);
	return set;
}

/*
 * Whether every block of a range, in one group, is somebody's: used on the medium, or taken by a
 * transaction that has not committed (which busy knows of), and not in quarantine.
 */
static bool all_owned(const struct volume *vol, struct map *map, uint32_t first, uint32_t count)
{
	for (uint32_t bit = first; bit < first + count; bit++)
		if (!map_is_busy(map, bit) || map_test(vol, map, PLANE_QUARANTINED, bit))
			return false;
	return true;
}

int alloc_free(struct tx *tx, uint64_t blk, uint64_t count, bool quarantine)
{
	struct volume *vol = tx_volume(tx);
	uint32_t first = (uint32_t)(blk % MAP_BITS);
	struct map *map;
	bool owned;
	int err;

	if (!volume_owns_data(vol, blk, count))
		return volume_damaged(vol, blk << BLOCK_SHIFT, "pointer to blocks to be freed");
	map = group_map(vol, (uint32_t)(blk / MAP_BITS));
	sync_lock(&map->lock, 0, HERE);
	err = map_load(vol, map);
	owned = !err && all_owned(vol, map, first, (uint32_t)count);
	sync_unlock(&map->lock, HERE);
	if (err)
		return err;
	if (!owned)
		return volume_damaged(vol, blk << BLOCK_SHIFT, "blocks freed twice");
	err = tx_bits(tx, map, PLANE_USED, false, first, (uint32_t)count, quarantine);
	if (!err && quarantine)
		err = tx_bits(tx, map, PLANE_QUARANTINED, true, first, (uint32_t)count, true);
	atomic_fetch_add(&vol->stat.blocks_freed, count);
	return err;
}

int alloc_release(struct tx *tx, uint64_t blk, uint64_t count)
{
	struct volume *vol = tx_volume(tx);
	uint32_t first = (uint32_t)(blk % MAP_BITS);
	struct map *map;
	int err;

	if (!volume_owns_data(vol, blk, count))
		return volume_damaged(vol, blk << BLOCK_SHIFT, "quarantined range");
	map = group_map(vol, (uint32_t)(blk / MAP_BITS));
	sync_lock(&map->lock, 0, HERE);
	err = map_load(vol, map);
	sync_unlock(&map->lock, HERE);
	if (err)
		return err;
	if (!all_set(vol, map, PLANE_QUARANTINED, first, (uint32_t)count))
		return volume_damaged(vol, blk << BLOCK_SHIFT, "quarantine ended twice");
	return tx_bits(tx, map, PLANE_QUARANTINED, false, first, (uint32_t)count, false);
}

static uint32_t quarantined_in(const struct map_block *mb)
{
	uint32_t n = 0;

	for (uint32_t w = 0; w < MAP_BYTES / sizeof(le64); w++)
		n += (uint32_t)__builtin_popcountll(mb->bits[PLANE_QUARANTINED][w]);
	return n;
}

/* The next run of quarantined blocks of @map from *@bit on; 0: none. */
static uint32_t quarantined_run(const struct volume *vol, struct map *map, uint32_t *bit)
{
	uint32_t n = 0;

	sync_lock(&map->lock, 0, HERE);
	/*
	 * Looked at with the map locked: what stands in quarantine now, while nobody is late, was put
	 * there on account of somebody who has answered since.
	 */
	if (atomic_load(&vol->nlate) || atomic_load(&vol->orphans))
		*bit = map->nbits;
	while (*bit < map->nbits && !map_test(vol, map, PLANE_QUARANTINED, *bit))
		(*bit)++;
	while (*bit + n < map->nbits && map_test(vol, map, PLANE_QUARANTINED, *bit + n))
		n++;
	sync_unlock(&map->lock, HERE);
	return n;
}

int alloc_release_all(struct volume *vol)
{
	for (uint32_t g = 0; g < atomic_load(&vol->ngroups); g++) {
		struct map *map = group_map(vol, g);
		uint32_t bit = 0, n;

		/* A damaged map was not loaded. */
		if (!map->busy ||
		    !quarantined_in(region_ptr(vol->region, map->blk << BLOCK_SHIFT, BLOCK_BYTES)))
			continue;
		for (; (n = quarantined_run(vol, map, &bit)); bit += n) {
			struct tx *tx;
			int err = tx_begin(vol, TX_RESERVE, &tx, HERE);

			if (err)
				return err;
			err = tx_end(tx, tx_bits(tx, map, PLANE_QUARANTINED, false, bit, n, false));
			if (err)
				return err;
		}
	}
	return 0;
}

/* ---- the whole ------------------------------------------------------------------------------------------ */

static void group_space(struct volume *vol, uint32_t g, struct space *ret)
{
	struct map *map = group_map(vol, g);

	sync_lock(&map->lock, 0, HERE);
	if (map_load(vol, map) == 0) {
		for (uint32_t run = 0; run < MAP_HUGE_RUNS; run++)
			if (map->huge_free[run] == HUGE_BLOCKS)
				ret->free_huge += HUGE_BLOCKS;
		ret->quarantined += quarantined_in(
			region_ptr(vol->region, map->blk << BLOCK_SHIFT, BLOCK_BYTES));
	}
	sync_unlock(&map->lock, HERE);
}

void alloc_space(struct volume *vol, struct space *ret)
{
	long long nfree = atomic_load(&vol->alloc->nfree);

	*ret = (struct space){ .total = atomic_load(&vol->nblocks),
			       .free = nfree > 0 ? (uint64_t)nfree : 0,
			       .reserve = vol->reserve_blocks };
	for (uint32_t g = 0; g < atomic_load(&vol->ngroups); g++)
		group_space(vol, g, ret);
}

uint64_t alloc_nfree(struct volume *vol)
{
	long long nfree = atomic_load(&vol->alloc->nfree) - (long long)vol->reserve_blocks;

	return nfree > 0 ? (uint64_t)nfree : 0;
}

static uint32_t group_bits(uint64_t nblocks, uint32_t g)
{
	uint64_t left = nblocks - (uint64_t)g * MAP_BITS;

	return left < MAP_BITS ? (uint32_t)left : MAP_BITS;
}

/* Read group @g. A damaged map takes its group out of use: nothing is free there. */
static int group_open(struct volume *vol, uint32_t g, uint64_t nblocks)
{
	struct map *map = group_map(vol, g);
	int err;

	map_init(vol, map, MAP_SPACE, g, space_map_blk(g), group_bits(nblocks, g));
	sync_lock(&map->lock, 0, HERE);
	err = map_load(vol, map);
	if (!err)
		atomic_fetch_add(&vol->nquarantined,
				 quarantined_in(region_ptr(vol->region, map->blk << BLOCK_SHIFT,
							   BLOCK_BYTES)));
	map->total = &vol->alloc->nfree;
	atomic_fetch_add(&vol->alloc->nfree, atomic_load(&map->nfree));
	sync_unlock(&map->lock, HERE);
	return err == -ENOMEM ? err : 0;
}

int alloc_grow(struct volume *vol, uint64_t nblocks)
{
	uint32_t ngroups = atomic_load(&vol->ngroups);
	int err = 0;

	if (ngroups) {
		struct map *last = group_map(vol, ngroups - 1);

		sync_lock(&last->lock, 0, HERE);
		if (last->busy)
			map_extend(last, group_bits(nblocks, ngroups - 1));
		sync_unlock(&last->lock, HERE);
	}
	for (uint32_t g = ngroups; !err && g < volume_groups(nblocks); g++) {
		uint32_t piece = 31u - (uint32_t)__builtin_clz(g + 1);
		struct map **maps = &vol->alloc->pieces[piece];

		if (!*maps)
			*maps = mem_alloc(vol->mem, sizeof(**maps) << piece);
		if (!*maps)
			return -ENOMEM;
		err = group_open(vol, g, nblocks);
		atomic_store(&vol->ngroups, g + 1);
	}
	return err;
}

int alloc_new(struct volume *vol)
{
	vol->alloc = mem_alloc(vol->mem, sizeof(*vol->alloc));
	if (!vol->alloc)
		return -ENOMEM;
	return alloc_grow(vol, atomic_load(&vol->nblocks));
}

void alloc_delete(struct volume *vol)
{
	if (!vol->alloc)
		return;
	for (uint32_t g = 0; g < atomic_load(&vol->ngroups); g++)
		map_destroy(vol, group_map(vol, g));
	for (uint32_t i = 0; i < MAX_PIECES; i++)
		mem_free(vol->mem, vol->alloc->pieces[i]);
	mem_free(vol->mem, vol->alloc);
	vol->alloc = NULL;
}
