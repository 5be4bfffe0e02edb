/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * pending.c - the pieces of which truncate, punch, zero, collapse, insert and exchange consist, and
 * the loop that strings them together. pending.h says why a crash in between is no harm.
 *
 * A piece (step function) does as much as the transaction has room for, and keeps in the dinode's
 * `pending` what a later piece must know: the cursor. It never counts on anything in memory, so
 * the pieces after a crash are the same as those before.
 */
#include "pending.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "btree.h"
#include "extent.h"
#include "get_blocks.h"
#include "grant.h"
#include "inode.h"
#include "journal.h"
#include "volume.h"

/* Collapse has two phases: the range is freed, then what is behind it moves. */
#define PHASE_MOVE 1u

/* Taking a piece out of an extent and putting it in elsewhere, each splitting or merging another. */
#define MOVE_STEPS 4u

/* ---- moving extents -------------------------------------------------------------------------------- */

static bool room_for_move(struct tx *tx, struct inode *inode)
{
	return tx_room(tx, btree_steps_blocks(tx, inode, FORK_DATA, MOVE_STEPS) + 2);
}

static bool room_for_swap(struct tx *tx, struct inode *a, struct inode *b)
{
	return tx_room(tx, btree_steps_blocks(tx, a, FORK_DATA, MOVE_STEPS) +
				   btree_steps_blocks(tx, b, FORK_DATA, MOVE_STEPS) + 2);
}

/* Take [@lblk, @lblk + @count) out of @ext, which holds it, and put it at @to. */
static int move_extent(struct tx *tx, struct inode *inode, const struct extent *ext, uint64_t lblk,
		       uint64_t count, uint64_t to)
{
	struct extent moved = { .lblk = to,
				.count = count,
				.pblk = ext->pblk + (lblk - ext->lblk),
				.state = ext->state };
	int err = extent_remove(tx, inode, FORK_DATA, lblk, count);

	return err ? err : extent_insert(tx, inode, FORK_DATA, &moved);
}

/* ---- pieces ------------------------------------------------------------------------------------------ */

static int step_put(struct tx *tx, struct inode *inode, struct dinode *di, bool *done)
{
	uint64_t pos = from_le64(di->pending.pos), len = from_le64(di->pending.len);
	bool late = grant_is_late(inode, pos << BLOCK_SHIFT, (pos + len) << BLOCK_SHIFT);

	return put_blocks(tx, inode, FORK_DATA, pos, len, late, done);
}

static int step_unwrite(struct tx *tx, struct inode *inode, struct dinode *di, bool *done)
{
	uint64_t end = from_le64(di->pending.pos) + from_le64(di->pending.len);
	uint64_t lblk = from_le64(di->pending.cursor);
	int err = 0;

	while (!err && tx_room(tx, extent_step_blocks(tx, inode, FORK_DATA) + 2)) {
		struct extent ext;
		uint64_t first, stop;

		/* An extent that goes on behind the range is still found at its end. */
		err = lblk < end ? extent_next(tx, inode, FORK_DATA, lblk, &ext) : -ENOENT;
		if (err == -ENOENT || (!err && ext.lblk >= end)) {
			*done = true;
			return 0;
		}
		if (err)
			break;
		first = ext.lblk > lblk ? ext.lblk : lblk;
		stop = ext.lblk + ext.count < end ? ext.lblk + ext.count : end;
		if (ext.state == EXTENT_WRITTEN)
			err = extent_convert(tx, inode, FORK_DATA, first, stop - first,
					     EXTENT_UNWRITTEN);
		lblk = stop;
	}
	di->pending.cursor = to_le64(lblk);
	return err;
}

static int step_collapse(struct tx *tx, struct inode *inode, struct dinode *di, bool *done)
{
	uint64_t len = from_le64(di->pending.len), cursor;
	bool freed = true;
	int err = 0;

	if (!(from_le32(di->pending.flags) & PHASE_MOVE)) {
		err = step_put(tx, inode, di, &freed);
		if (err || !freed)
			return err;
		di->pending.flags = to_le32(PHASE_MOVE);
		di->pending.cursor = to_le64(from_le64(di->pending.pos) + len);
	}
	cursor = from_le64(di->pending.cursor);
	while (!err && room_for_move(tx, inode)) {
		struct extent ext;

		err = extent_next(tx, inode, FORK_DATA, cursor, &ext);
		if (err == -ENOENT) {
			di->size = to_le64(from_le64(di->size) - (len << BLOCK_SHIFT));
			*done = true;
			return 0;
		}
		if (err)
			break;
		/* One that begins before the cursor was merged with what has moved there. */
		if (ext.lblk < cursor)
			return volume_damaged(inode->vol, inode->off, "extents of a collapse");
		err = move_extent(tx, inode, &ext, ext.lblk, ext.count, ext.lblk - len);
		cursor = ext.lblk + ext.count;
	}
	di->pending.cursor = to_le64(cursor);
	return err;
}

/* The last extent, or the part of it, in [@pos, @cursor). */
static int last_extent(struct tx *tx, struct inode *inode, uint64_t pos, uint64_t cursor,
		       struct extent *ret_ext)
{
	struct extent ext;
	int err;

	if (cursor <= pos)
		return -ENOENT;
	err = extent_lookup(tx, inode, FORK_DATA, cursor - 1, &ext);
	if (!err && ext.state == EXTENT_HOLE) {
		if (ext.lblk <= pos)
			return -ENOENT;
		err = extent_lookup(tx, inode, FORK_DATA, ext.lblk - 1, &ext);
	}
	if (!err)
		*ret_ext = ext;
	return err;
}

static int step_insert(struct tx *tx, struct inode *inode, struct dinode *di, bool *done)
{
	uint64_t pos = from_le64(di->pending.pos), len = from_le64(di->pending.len);
	uint64_t cursor = from_le64(di->pending.cursor);
	int err = 0;

	while (!err && room_for_move(tx, inode)) {
		struct extent ext;
		uint64_t first, stop;

		err = last_extent(tx, inode, pos, cursor, &ext);
		if (err == -ENOENT) {
			*done = true;
			return 0;
		}
		if (err)
			break;
		first = ext.lblk > pos ? ext.lblk : pos;
		stop = ext.lblk + ext.count < cursor ? ext.lblk + ext.count : cursor;
		err = move_extent(tx, inode, &ext, first, stop - first, first + len);
		cursor = first;
	}
	di->pending.cursor = to_le64(cursor);
	return err;
}

/* Swap @n blocks, each side of which is a hole or lies in one extent. */
static int swap_piece(struct tx *tx, struct inode *a, const struct extent *ax, uint64_t a_lblk,
		      struct inode *b, const struct extent *bx, uint64_t b_lblk, uint64_t n)
{
	int64_t delta = (bx->state != EXTENT_HOLE) - (ax->state != EXTENT_HOLE);
	struct extent to_b = { b_lblk, n, ax->pblk + (a_lblk - ax->lblk), ax->state };
	struct extent to_a = { a_lblk, n, bx->pblk + (b_lblk - bx->lblk), bx->state };
	struct dinode *a_di, *b_di;
	int err = inode_modify(tx, a, &a_di);

	if (!err)
		err = inode_modify(tx, b, &b_di);
	if (!err && ax->state != EXTENT_HOLE)
		err = extent_remove(tx, a, FORK_DATA, a_lblk, n);
	if (!err && bx->state != EXTENT_HOLE)
		err = extent_remove(tx, b, FORK_DATA, b_lblk, n);
	if (!err && ax->state != EXTENT_HOLE)
		err = extent_insert(tx, b, FORK_DATA, &to_b);
	if (!err && bx->state != EXTENT_HOLE)
		err = extent_insert(tx, a, FORK_DATA, &to_a);
	if (err)
		return err;
	a_di->nblocks = to_le64(from_le64(a_di->nblocks) + (uint64_t)(delta * (int64_t)n));
	b_di->nblocks = to_le64(from_le64(b_di->nblocks) - (uint64_t)(delta * (int64_t)n));
	return 0;
}

static uint64_t min3(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t m = a < b ? a : b;

	return m < c ? m : c;
}

static int step_exchange(struct tx *tx, struct inode *a, struct inode *b, struct dinode *di,
			 bool *done)
{
	uint64_t pos = from_le64(di->pending.pos), end = pos + from_le64(di->pending.len);
	uint64_t cursor = from_le64(di->pending.cursor);
	int err = 0;

	while (!err && cursor < end && room_for_swap(tx, a, b)) {
		uint64_t b_lblk = from_le64(di->pending.partner_pos) + (cursor - pos), n;
		struct extent ax, bx;

		err = extent_lookup(tx, a, FORK_DATA, cursor, &ax);
		if (!err)
			err = extent_lookup(tx, b, FORK_DATA, b_lblk, &bx);
		if (err)
			break;
		n = min3(ax.lblk + ax.count - cursor, bx.lblk + bx.count - b_lblk, end - cursor);
		if (ax.state != EXTENT_HOLE || bx.state != EXTENT_HOLE)
			err = swap_piece(tx, a, &ax, cursor, b, &bx, b_lblk, n);
		cursor += n;
	}
	di->pending.cursor = to_le64(cursor);
	*done = !err && cursor >= end;
	return err;
}

static int step(struct tx *tx, struct inode *inode, struct inode *other, struct dinode *di,
		bool *done)
{
	*done = false;
	switch (from_le32(di->pending.kind)) {
	case PENDING_TRUNCATE:
	case PENDING_PUNCH:
		return step_put(tx, inode, di, done);
	case PENDING_UNWRITE:
		return step_unwrite(tx, inode, di, done);
	case PENDING_COLLAPSE:
		return step_collapse(tx, inode, di, done);
	case PENDING_INSERT:
		return step_insert(tx, inode, di, done);
	case PENDING_EXCHANGE:
		if (!other)
			return volume_damaged(inode->vol, inode->off, "partner of an exchange");
		return step_exchange(tx, inode, other, di, done);
	default:
		return volume_damaged(inode->vol, inode->off, "pending operation");
	}
}

/* ---- the loop ------------------------------------------------------------------------------------------ */

struct run {
	struct inode *inode, *other;
	const struct pending *op; /* NULL: resumed */
	pending_begin_fn begin;
	void *arg;
};

static uint64_t first_cursor(const struct pending *op)
{
	/* An insert begins at the end; the tree knows where that is. */
	return op->kind == PENDING_INSERT ? MAX_FILE_BLOCKS - op->len : op->pos;
}

static int run_begin(struct tx *tx, const struct run *run, struct dinode *di)
{
	const struct pending *op = run->op;
	int err = run->begin ? run->begin(tx, run->inode, di, run->arg) : 0;

	if (err)
		return err;
	di->pending = (struct dpending){ .kind = to_le32(op->kind),
					 .pos = to_le64(op->pos),
					 .len = to_le64(op->len),
					 .cursor = to_le64(first_cursor(op)),
					 .flags = to_le32(run->other ? run->other->generation : 0),
					 .partner_ino = to_le64(run->other ? run->other->ino : 0),
					 .partner_pos = to_le64(op->partner_pos) };
	return 0;
}

/* One transaction. @first: of an operation that is not on the medium yet. */
static int run_once(const struct run *run, bool first, bool *done)
{
	struct inode *locked[ILOCK_MANY] = { run->inode, run->other };
	struct dinode *di;
	struct tx *tx;
	int err = tx_begin(run->inode->vol, TX_RESERVE, &tx, HERE);

	if (err)
		return err;
	ilock_many(locked, HERE);
	err = inode_modify(tx, run->inode, &di);
	if (!err && first)
		err = run_begin(tx, run, di);
	if (!err)
		err = step(tx, run->inode, run->other, di, done);
	if (!err && *done)
		memset(&di->pending, 0, sizeof(di->pending));
	/* The bit by which recovery finds it comes and goes with the record. */
	if (!err && first != *done)
		err = inode_set_pending(tx, run->inode, first || !di->nlink);
	err = tx_end(tx, err);
	iunlock_many(locked, HERE);
	return err;
}

/*
 * Of an exchange both files are half changed, but only one dinode says so. So both stay in memory
 * until it is finished, which the next mount does at the latest.
 */
static void set_half_changed(const struct run *run, bool half)
{
	bool was;

	atomic_store(&run->inode->half_changed, half);
	if (!run->other)
		return;
	was = atomic_exchange(&run->other->half_changed, half);
	if (half && !was) {
		inode_ref(run->inode);
		inode_ref(run->other);
	} else if (was && !half) {
		inode_put(run->inode);
		inode_put(run->other);
	}
}

static int run_all(const struct run *run)
{
	bool done = false;
	int err = 0;

	for (bool first = run->op != NULL; !err && !done; first = false) {
		err = run_once(run, first, &done);
		if (!first)
			set_half_changed(run, err != 0);
	}
	return err;
}

int pending_run(struct inode *inode, struct inode *other, const struct pending *op,
		pending_begin_fn begin, void *arg)
{
	return run_all(&(struct run){ inode, other, op, begin, arg });
}

int pending_resume(struct inode *inode)
{
	struct run run = { .inode = inode };
	uint64_t partner = 0;
	uint32_t kind, generation;
	int err = 0;

	ilock(inode, SYNC_SHARED, HERE);
	kind = from_le32(inode_peek(NULL, inode)->pending.kind);
	partner = from_le64(inode_peek(NULL, inode)->pending.partner_ino);
	generation = from_le32(inode_peek(NULL, inode)->pending.flags);
	iunlock(inode, SYNC_SHARED, HERE);
	if (kind == PENDING_NONE) /* half of an exchange is finished by its other half */
		return atomic_load(&inode->half_changed) ? -EIO : 0;
	if (kind == PENDING_EXCHANGE)
		err = inode_get(inode->vol, partner, &run.other);
	/* The number may have a new owner by now, if the exchange failed while its partner lived. */
	if (!err && run.other && run.other->generation != generation)
		err = volume_damaged(inode->vol, inode->off, "partner of an exchange");
	if (!err)
		err = run_all(&run);
	if (run.other)
		inode_put(run.other);
	return err;
}
