/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * get_blocks.h - the one path from a file range to media.
 *
 * With GET_CREATE it allocates what is missing, zeroes what is new, and marks it written, in the
 * caller's transaction: the zeroes are durable before the extent is, and both before anybody can
 * see the block. A fault therefore never zeroes and never converts. Blocks that the caller
 * overwrites wholly before it commits are not zeroed first.
 */
#ifndef UDAX_GET_BLOCKS_H
#define UDAX_GET_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>

#include "extent.h"

struct inode;
struct tx;

enum get_blocks_flags {
	GET_CREATE = 1, /* holes and unwritten blocks become written */
	GET_UNWRITTEN =
		2, /* with GET_CREATE: holes become unwritten, nothing is zeroed (fallocate) */
};

/** A run of blocks with one state. */
struct mapping {
	uint64_t lblk, pblk, count; /* begins at the block asked for; pblk 0: hole */
	enum extent_state state;
	bool fresh; /* was allocated or converted by this call: contents undefined before it */
};

/**
 * get_blocks - what stands behind [@lblk, @lblk + @count) of @inode's data.
 *
 * Without GET_CREATE: @tx may be NULL and the inode's ilock is held at least shared; the first
 * run, cut to the range. With GET_CREATE: in @tx, ilock exclusive; the first run, every block of
 * which is written (or, with GET_UNWRITTEN, at least unwritten) when @tx commits. The caller
 * loops, asking tx_room() (see get_blocks_room()).
 *
 * @over_pos, @over_len: the bytes of the file that the caller will store to before it commits;
 * fresh blocks are zeroed outside them only.
 *
 * Returns 0, -ENOSPC, -EFBIG (beyond MAX_FILE_BLOCKS, or the lane is full), -EIO, -ENOMEM.
 */
int get_blocks(struct tx *tx, struct inode *inode, uint64_t lblk, uint64_t count, unsigned flags,
	       uint64_t over_pos, uint64_t over_len, struct mapping *ret_map);

/**
 * put_blocks - the way back: free what stands behind [@lblk, @lblk + @count) of @fork, as much as
 * @tx has room for. *@ret_done: nothing is left in the range; if not, commit and call again in a
 * new transaction. @quarantine as alloc_free(). Locks and errors as get_blocks() with GET_CREATE.
 */
int put_blocks(struct tx *tx, struct inode *inode, enum fork_id fork, uint64_t lblk, uint64_t count,
	       bool quarantine, bool *ret_done);

/** get_blocks_room - whether @tx has room for one more creating call on @inode. */
bool get_blocks_room(struct tx *tx, struct inode *inode);

#endif
