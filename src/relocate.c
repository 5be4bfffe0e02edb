/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * relocate.c - blocks that move: giving a piece of a file 2 MiB of its own, and getting live blocks
 * out of the hands of a client that does not answer.
 *
 * A mapping is huge where one aligned run of written blocks stands behind an aligned piece of the
 * file, and a device-dax has no other mappings. This makes such a run: takes it, copies what the
 * piece has, zeroes the rest of it, and puts it in the place of the old blocks, in one transaction.
 * What the file reads as stays; only where it stands changes.
 *
 * Faults and I/O are kept out as from every change of a layout, of one piece at a time, so that
 * nobody waits for more than 2 MiB to be copied. The copy is durable before the commit that
 * publishes it: it is fresh blocks, like any (journal.h, fence 1).
 */
#include <assert.h>
#include <errno.h>
#include <sys/stat.h>

#include "alloc.h"
#include "extent.h"
#include "get_blocks.h"
#include "grant.h"
#include "inode.h"
#include "journal.h"
#include "layout.h"
#include "minmax.h"
#include "pending.h"
#include "region.h"
#include "udax/policy.h"
#include "volume.h"
#include "zeroing.h"

#define HUGE_BYTES ((uint64_t)HUGE_BLOCKS << BLOCK_SHIFT)

enum piece_state {
	PIECE_EMPTY,	 /* a hole from end to end */
	PIECE_HUGE,	 /* can be mapped as it is */
	PIECE_SCATTERED, /* cannot */
};

/* The piece that begins at @lblk. */
static int look_at(struct tx *tx, struct inode *inode, uint64_t lblk, enum piece_state *ret_state)
{
	uint64_t end = lblk + HUGE_BLOCKS;
	struct extent ext;
	int err = extent_next(tx, inode, FORK_DATA, lblk, &ext);

	if (err && err != -ENOENT)
		return err;
	if (err || ext.lblk >= end)
		*ret_state = PIECE_EMPTY;
	else if (ext.state == EXTENT_WRITTEN && ext.lblk <= lblk && ext.lblk + ext.count >= end &&
		 (ext.pblk + (lblk - ext.lblk)) % HUGE_BLOCKS == 0)
		*ret_state = PIECE_HUGE;
	else
		*ret_state = PIECE_SCATTERED;
	return 0;
}

static int take_run(struct tx *tx, uint64_t lblk, uint64_t *ret_pblk)
{
	struct alloc_request req = { .lblk = lblk, .large = true, .count = HUGE_BLOCKS };
	uint32_t count;
	int err = alloc_blocks(tx, &req, ret_pblk, &count);

	if (!err && (count != HUGE_BLOCKS || *ret_pblk % HUGE_BLOCKS))
		err = -ENOSPC; /* room, but no whole run; the abort gives back what there was */
	return err;
}

/* What [@lblk, @lblk + @count) reads as, into the run at @pblk. */
static int copy_blocks(struct tx *tx, struct inode *inode, uint64_t lblk, uint64_t count,
		       uint64_t pblk)
{
	struct region *region = inode->vol->region;
	uint64_t end = lblk + count;
	int err = 0;

	while (!err && lblk < end) {
		uint64_t bytes, to = pblk << BLOCK_SHIFT;
		struct mapping map;

		err = get_blocks(tx, inode, lblk, end - lblk, 0, 0, 0, &map);
		if (err)
			break;
		bytes = map.count << BLOCK_SHIFT;
		if (map.state == EXTENT_WRITTEN) {
			uint64_t from = map.pblk << BLOCK_SHIFT;

			region_store(region, to, region_ptr(region, from, bytes), bytes, HERE);
			err = region_check(region, from, bytes);
		} else {
			zero_fresh(inode->vol, pblk, map.count, 0, 0);
		}
		if (!err)
			err = region_check(region, to, bytes);
		lblk += map.count;
		pblk += map.count;
	}
	return err;
}

/* The old blocks go, the run takes their place. */
static int replace_blocks(struct tx *tx, struct inode *inode, uint64_t lblk, uint64_t count,
			  uint64_t pblk, enum extent_state state)
{
	bool late = grant_is_late(inode, lblk << BLOCK_SHIFT, (lblk + count) << BLOCK_SHIFT);
	struct extent run = { lblk, count, pblk, state };
	struct dinode *di;
	bool done;
	int err = put_blocks(tx, inode, FORK_DATA, lblk, count, late, &done);

	if (!err && (!done || !get_blocks_room(tx, inode)))
		err = -EFBIG;
	if (!err)
		err = extent_insert(tx, inode, FORK_DATA, &run);
	if (!err)
		err = inode_modify(tx, inode, &di);
	if (!err)
		di->nblocks = to_le64(from_le64(di->nblocks) + count);
	return err;
}

/* Whether a late client may map something of the piece: then its blocks must not stay the file's. */
static bool is_held(struct inode *inode, uint64_t lblk)
{
	uint64_t pos = lblk << BLOCK_SHIFT, end = pos + HUGE_BYTES;

	return grant_late_part(inode, &pos, &end);
}

static int move_piece(struct tx *tx, struct inode *inode, uint64_t lblk, bool *ret_moved)
{
	enum piece_state state;
	uint64_t pblk, size;
	int err = look_at(tx, inode, lblk, &state);

	*ret_moved = false;
	if (err || state == PIECE_EMPTY || (state == PIECE_HUGE && !is_held(inode, lblk)))
		return err;
	/* A mapping shows what lies behind EOF in the last block, so it is made zero before. */
	size = from_le64(inode_peek(tx, inode)->size);
	err = zero_tail(tx, inode, size, size);
	if (!err)
		err = take_run(tx, lblk, &pblk);
	if (!err)
		err = copy_blocks(tx, inode, lblk, HUGE_BLOCKS, pblk);
	if (!err)
		err = replace_blocks(tx, inode, lblk, HUGE_BLOCKS, pblk, EXTENT_WRITTEN);
	*ret_moved = !err;
	return err;
}

static bool nobody_holds(const struct layout_change *change)
{
	return !gate_has_grants(change->inode, &change->gates[0]);
}

/* *@waited_ns: how long for clients, of this piece and those before. */
static int relocate_piece(struct inode *inode, uint64_t lblk, const struct layout_ctx *ctx,
			  uint64_t *waited_ns, bool *ret_moved)
{
	struct volume *vol = inode->vol;
	const struct udax_policy *policy = vol->policy;
	struct layout_change change = { .op = LAYOUT_RELOCATE,
					.inode = inode,
					.pos = lblk << BLOCK_SHIFT,
					.len = HUGE_BYTES,
					.may_wait = ctx->may_wait,
					.needs_uncached = true };
	struct tx *tx;
	int err;

	/* Whoever is recalled has a whole deadline, so nobody is when the time is used up. */
	if (*waited_ns >= vol->recall_timeout_ns)
		change.fits = nobody_holds;
	err = policy->layout_enter(&change, HERE);
	if (err)
		return err == -ESTALE ? -ETIMEDOUT : err;
	*waited_ns += change.waited_ns;
	err = pending_resume(inode);
	if (!err)
		err = tx_begin(inode->vol, 0, &tx, HERE);
	if (!err) {
		ilock(inode, SYNC_EXCL, HERE);
		err = tx_end(tx, move_piece(tx, inode, lblk, ret_moved));
		iunlock(inode, SYNC_EXCL, HERE);
	}
	policy->layout_exit(&change, HERE);
	return err;
}

/* Where the last block of the file ends, preallocated ones included. */
static int mapped_end(struct inode *inode, uint64_t *ret_end)
{
	struct extent ext;
	int err;

	ilock(inode, SYNC_SHARED, HERE);
	err = extent_lookup(NULL, inode, FORK_DATA, MAX_FILE_BLOCKS - 1, &ext);
	iunlock(inode, SYNC_SHARED, HERE);
	if (!err)
		*ret_end = ext.state == EXTENT_HOLE ? ext.lblk : MAX_FILE_BLOCKS;
	return err;
}

int layout_relocate(struct inode *inode, uint64_t pos, uint64_t len, const struct layout_ctx *ctx,
		    uint64_t *ret_moved)
{
	uint64_t lblk = pos / HUGE_BYTES * HUGE_BLOCKS, end, stop, waited_ns = 0;
	int err = volume_usable(inode->vol, true);

	*ret_moved = 0;
	if (err)
		return err;
	if (!S_ISREG(inode->type))
		return S_ISDIR(inode->type) ? -EISDIR : -EINVAL;
	if (pos > MAX_FILE_BYTES || !len)
		return -EINVAL;
	err = mapped_end(inode, &end);
	stop = len < MAX_FILE_BYTES - pos ? (pos + len - 1) >> BLOCK_SHIFT : MAX_FILE_BLOCKS - 1;
	for (; !err && lblk < end && lblk <= stop; lblk += HUGE_BLOCKS) {
		bool moved = false;

		err = relocate_piece(inode, lblk, ctx, &waited_ns, &moved);
		*ret_moved += moved ? HUGE_BYTES : 0;
	}
	return err;
}

/* ---- out of the way of a late client --------------------------------------------------------- */

/* Cut [*@pos, *@end) to the first part of it that must not stay where it is. */
static bool held_part(struct inode *inode, bool moves, uint64_t *pos, uint64_t *end)
{
	if (moves && atomic_load(&inode->vol->orphans))
		return *pos < *end;
	return grant_late_part(inode, pos, end);
}

/*
 * Copy the first run of blocks in [*@lblk, @end) that is late, at most a piece; *@lblk goes behind what
 * was looked at. Of what is unwritten only the place changes: it may have been mapped before it was.
 */
static int copy_out_some(struct tx *tx, struct inode *inode, uint64_t *lblk, uint64_t end,
			 bool moves)
{
	struct alloc_request req = { .large = false };
	uint64_t pos = *lblk << BLOCK_SHIFT, stop = end << BLOCK_SHIFT, pblk;
	struct mapping map;
	uint32_t count;
	int err;

	*lblk = end;
	if (!held_part(inode, moves, &pos, &stop))
		return 0;
	end = (stop + BLOCK_BYTES - 1) >> BLOCK_SHIFT;
	err = get_blocks(tx, inode, pos >> BLOCK_SHIFT, end - (pos >> BLOCK_SHIFT), 0, 0, 0, &map);
	if (err)
		return err;
	*lblk = map.lblk + map.count;
	if (map.state == EXTENT_HOLE)
		return 0;
	req.count = (uint32_t)min_u64(map.count, HUGE_BLOCKS);
	err = alloc_blocks(tx, &req, &pblk, &count);
	if (!err && map.state == EXTENT_WRITTEN)
		err = copy_blocks(tx, inode, map.lblk, count, pblk);
	if (!err)
		err = replace_blocks(tx, inode, map.lblk, count, pblk, map.state);
	*lblk = map.lblk + count;
	return err;
}

int layout_copy_out(struct inode *inode, uint64_t pos, uint64_t end, bool moves)
{
	uint64_t lblk = pos >> BLOCK_SHIFT, stop = (end + BLOCK_BYTES - 1) >> BLOCK_SHIFT;
	int err = 0;

	if (!held_part(inode, moves, &pos, &end))
		return 0;
	while (!err && lblk < stop) {
		struct tx *tx;

		err = tx_begin(inode->vol, 0, &tx, HERE);
		if (err)
			return err;
		ilock(inode, SYNC_EXCL, HERE);
		err = tx_end(tx, copy_out_some(tx, inode, &lblk, stop, moves));
		iunlock(inode, SYNC_EXCL, HERE);
	}
	return err;
}
