/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * get_blocks.c - from a file range to media, and back. The promise is in get_blocks.h.
 *
 * The order inside a creating call is the heart of the whole design:
 *
 *	allocate	blocks that nobody else can know
 *	zero		them, and only them: never the extent that they may be merged into
 *	map		them, written, in a copy of the extent tree
 *	...		the caller stores its data; its commit is the fence and the publication
 *
 * Two threads that miss the same hole meet at the ilock, which the caller holds exclusively: the
 * second one finds a written extent, with the first one's stores in it, and zeroes nothing.
 */
#include "get_blocks.h"

#include <assert.h>
#include <errno.h>
#include <sys/stat.h>

#include "alloc.h"
#include "inode.h"
#include "journal.h"
#include "region.h"
#include "verified.h"
#include "volume.h"
#include "zeroing.h"

/* Zero what is new outside the bytes [@over_pos, @over_pos + @over_len) of the file. */
static void zero_new(struct volume *vol, const struct mapping *map, uint64_t over_pos,
		     uint64_t over_len)
{
	uint64_t pos = map->lblk << BLOCK_SHIFT, end = (map->lblk + map->count) << BLOCK_SHIFT;
	uint64_t skip = over_pos > pos ? over_pos : pos;
	uint64_t skip_end = over_pos + over_len < end ? over_pos + over_len : end;

	zero_fresh(vol, map->pblk, map->count, (map->pblk << BLOCK_SHIFT) + (skip - pos),
		   skip_end > skip ? skip_end - skip : 0);
}

/* A file of more than 2 MiB is worth whole 2 MiB pieces of the medium. */
static bool is_large(uint64_t lblk, uint64_t count)
{
	return lblk >= HUGE_BLOCKS || count >= HUGE_BLOCKS;
}

/*
 * Where the block in front of @hole suggests to go on: behind it, at the same distance as in the
 * file. For a large file only if that is congruent, so that 2 MiB of the file can be mapped huge.
 */
static int alloc_goal(struct tx *tx, struct inode *inode, uint64_t lblk, bool large,
		      uint64_t *ret_goal)
{
	struct extent prev;
	uint64_t goal;
	int err;

	*ret_goal = 0;
	if (!lblk)
		return 0;
	err = extent_lookup(tx, inode, FORK_DATA, lblk - 1, &prev);
	if (err)
		return err;
	if (prev.state == EXTENT_HOLE) {
		if (!prev.lblk || lblk - prev.lblk > HUGE_BLOCKS)
			return 0;
		err = extent_lookup(tx, inode, FORK_DATA, prev.lblk - 1, &prev);
		if (err || prev.state == EXTENT_HOLE)
			return err;
	}
	goal = prev.pblk + (lblk - prev.lblk);
	if (!large || goal % HUGE_BLOCKS == lblk % HUGE_BLOCKS)
		*ret_goal = goal;
	return 0;
}

static int add_blocks(struct tx *tx, struct inode *inode, int64_t n)
{
	struct dinode *di;
	int err = inode_modify(tx, inode, &di);

	if (!err)
		di->nblocks = to_le64(from_le64(di->nblocks) + (uint64_t)n);
	return err;
}

/* Put blocks behind the start of a hole of @count blocks. */
static int fill_hole(struct tx *tx, struct inode *inode, uint64_t lblk, uint64_t count,
		     enum extent_state state, struct mapping *map)
{
	struct alloc_request req = { .lblk = lblk, .large = is_large(lblk, count) };
	struct extent ext = { .lblk = lblk, .state = state };
	uint32_t got;
	int err;

	req.count = count < MAP_BITS ? (uint32_t)count : MAP_BITS;
	err = alloc_goal(tx, inode, lblk, req.large, &req.goal);
	if (!err)
		err = alloc_blocks(tx, &req, &ext.pblk, &got);
	if (err)
		return err;
	ext.count = got;
	err = extent_insert(tx, inode, FORK_DATA, &ext);
	if (!err)
		err = add_blocks(tx, inode, got);
	if (err)
		return err;
	*map = (struct mapping){ lblk, ext.pblk, ext.count, state, true };
	return 0;
}

static int get_blocks_create(struct tx *tx, struct inode *inode, struct mapping *map,
			     unsigned flags, uint64_t over_pos, uint64_t over_len)
{
	enum extent_state want = flags & GET_UNWRITTEN ? EXTENT_UNWRITTEN : EXTENT_WRITTEN;
	int err;

	if (map->state == EXTENT_WRITTEN || map->state == want)
		return 0;
	if (map->state == EXTENT_HOLE) {
		err = fill_hole(tx, inode, map->lblk, map->count, want, map);
	} else {
		err = extent_convert(tx, inode, FORK_DATA, map->lblk, map->count, EXTENT_WRITTEN);
		map->state = EXTENT_WRITTEN;
		map->fresh = true;
	}
	if (err || want != EXTENT_WRITTEN)
		return err;
	zero_new(inode->vol, map, over_pos, over_len);
	return region_check(inode->vol->region, map->pblk << BLOCK_SHIFT,
			    map->count << BLOCK_SHIFT);
}

int get_blocks(struct tx *tx, struct inode *inode, uint64_t lblk, uint64_t count, unsigned flags,
	       uint64_t over_pos, uint64_t over_len, struct mapping *ret_map)
{
	struct extent ext;
	struct mapping map;
	int err;

	assert(count);
	sync_rw_assert(&inode->ilock, flags & GET_CREATE ? SYNC_EXCL : SYNC_SHARED);
	if (lblk >= MAX_FILE_BLOCKS || count > MAX_FILE_BLOCKS - lblk)
		return -EFBIG;
	err = extent_lookup(tx, inode, FORK_DATA, lblk, &ext);
	if (err)
		return err;
	map = (struct mapping){ .lblk = lblk,
				.pblk = ext.state == EXTENT_HOLE ? 0 : ext.pblk + (lblk - ext.lblk),
				.count = ext.lblk + ext.count - lblk,
				.state = ext.state };
	if (map.count > count)
		map.count = count;
	if (flags & GET_CREATE)
		err = get_blocks_create(tx, inode, &map, flags, over_pos, over_len);
	if (!err)
		*ret_map = map;
	return err;
}

static bool holds_metadata(const struct inode *inode, enum fork_id fork)
{
	return fork != FORK_DATA || S_ISDIR(inode->type);
}

int put_blocks(struct tx *tx, struct inode *inode, enum fork_id fork, uint64_t lblk, uint64_t count,
	       bool quarantine, bool *ret_done)
{
	uint64_t end = lblk + count;

	sync_rw_assert(&inode->ilock, SYNC_EXCL);
	*ret_done = false;
	while (tx_room(tx, extent_step_blocks(tx, inode, fork) + 2)) {
		struct extent ext;
		uint64_t first, n;
		/* An empty range may lie inside an extent. */
		int err = lblk < end ? extent_next(tx, inode, fork, lblk, &ext) : -ENOENT;

		if (err == -ENOENT || (!err && ext.lblk >= end)) {
			*ret_done = true;
			return 0;
		}
		if (err)
			return err;
		first = ext.lblk > lblk ? ext.lblk : lblk;
		n = (ext.lblk + ext.count < end ? ext.lblk + ext.count : end) - first;
		err = extent_remove(tx, inode, fork, first, n);
		if (!err)
			err = alloc_free(tx, ext.pblk + (first - ext.lblk), n, quarantine);
		/* They may come back as something else, which has to be verified then. */
		for (uint64_t i = 0; !err && holds_metadata(inode, fork) && i < n; i++)
			verified_clear(inode->vol, ext.pblk + (first - ext.lblk) + i);
		if (!err)
			err = add_blocks(tx, inode, -(int64_t)n);
		if (err)
			return err;
		lblk = first + n;
	}
	return 0;
}

bool get_blocks_room(struct tx *tx, struct inode *inode)
{
	return tx_room(tx, extent_step_blocks(tx, inode, FORK_DATA) + 2);
}
