/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * layout.c - truncate, fallocate in all its forms, exchange: who is kept out, and what is then
 * done.
 *
 * Each change has the same shape:
 *
 *	look		at arguments and flags
 *	layout_begin	the policy excludes faults, fills and I/O, and invalidates (change.h); what
 *			stopped half-way is finished; blocks that a late client may still map, and that
 *			do not go away, are replaced by copies
 *	look again	at what was true before we waited
 *	pending_run	manipulate the extents (pending.c)
 *	discard		remember whole punched pages in cached mode (gate.h)
 *	layout_end
 *
 * Truncate is a punch to the end with a size: it has the same exclusion, up or down. Plain
 * preallocation changes no mapping that anybody could have and takes only the iolock.
 */
#include "layout.h"

#include <errno.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/stat.h>

#include "alloc.h"
#include "extent.h"
#include "file.h"
#include "fill.h"
#include "get_blocks.h"
#include "grant.h"
#include "inode.h"
#include "journal.h"
#include "minmax.h"
#include "mode.h"
#include "pending.h"
#include "region.h"
#include "udax/policy.h"
#include "volume.h"
#include "zeroing.h"

static uint64_t round_down(uint64_t pos)
{
	return pos & ~(uint64_t)(BLOCK_BYTES - 1);
}

static uint64_t round_up(uint64_t pos)
{
	return round_down(pos + BLOCK_BYTES - 1);
}

static uint32_t flags_of(struct inode *inode)
{
	uint32_t flags;

	ilock(inode, SYNC_SHARED, HERE);
	flags = from_le32(inode_peek(NULL, inode)->flags);
	iunlock(inode, SYNC_SHARED, HERE);
	return flags;
}

static int may_change(struct inode *inode, uint32_t forbidden_flags)
{
	int err = volume_usable(inode->vol, true);

	if (err)
		return err;
	if (!S_ISREG(inode->type))
		return S_ISDIR(inode->type) ? -EISDIR : -EINVAL;
	return flags_of(inode) & forbidden_flags ? -EPERM : 0;
}

/* The granules of the range, without the blocks that go away: those are quarantined when they do. */
static int replace_held(const struct layout_change *change, struct inode *inode, uint64_t pos)
{
	const uint64_t granule = inode->vol->region->granule_bytes;
	uint64_t end = change->len > MAX_FILE_BYTES - pos ? MAX_FILE_BYTES : pos + change->len;
	uint64_t stop, go_on;
	int err;

	sync_rw_assert(&inode->iolock, SYNC_EXCL);
	pos -= pos % granule;
	end += (granule - end % granule) % granule;
	stop = change->free_pos < change->free_end ? min_u64(change->free_pos, end) : end;
	go_on = change->free_pos < change->free_end ? change->free_end : end;
	err = layout_copy_out(inode, pos, stop, change->moves);
	return err ? err : layout_copy_out(inode, go_on, end, change->moves);
}

int layout_begin(struct layout_change *change)
{
	struct inode *inode = change->inode, *other = change->other;
	int err = inode->vol->policy->layout_enter(change, HERE);

	if (err)
		return err;
	err = pending_resume(inode);
	if (!err && other)
		err = pending_resume(other);
	if (!err)
		err = replace_held(change, inode, change->pos);
	if (!err && other)
		err = replace_held(change, other, change->other_pos);
	if (err)
		layout_end(change);
	return err;
}

void layout_end(struct layout_change *change)
{
	change->inode->vol->policy->layout_exit(change, HERE);
}

/* The blocks that lie wholly in [@pos, @end). */
static void whole_blocks(uint64_t pos, uint64_t end, uint64_t *ret_lblk, uint64_t *ret_count)
{
	uint64_t first = round_up(pos) >> BLOCK_SHIFT, stop = end >> BLOCK_SHIFT;

	*ret_lblk = first;
	*ret_count = stop > first ? stop - first : 0;
}

/* ---- truncate ------------------------------------------------------------------------------------- */

struct begin {
	uint64_t pos, end; /* of a punch: bytes; its edges are zeroed */
	uint64_t size;	   /* new size; UINT64_MAX: as it was */
	bool kill_priv;
};

static int begin_truncate(struct tx *tx, struct inode *inode, struct dinode *di, void *arg)
{
	const struct begin *begin = arg;
	uint64_t old = from_le64(di->size);
	int err = 0;

	/* What lies behind EOF in the last block was never promised to be zero. */
	if (begin->size > old)
		err = zero_tail(tx, inode, old, begin->size);
	if (err)
		return err;
	di->size = to_le64(begin->size);
	dinode_touch(inode->vol, di, TOUCH_MTIME | TOUCH_CTIME);
	if (begin->kill_priv)
		dinode_kill_priv(di);
	return 0;
}

static int truncate_locked(struct inode *inode, uint64_t size, const struct layout_ctx *ctx)
{
	struct begin begin = { .size = size, .kill_priv = ctx->kill_priv };
	struct pending op = { .kind = PENDING_TRUNCATE, .pos = round_up(size) >> BLOCK_SHIFT };

	sync_rw_assert(&inode->iolock, SYNC_EXCL);
	op.len = MAX_FILE_BLOCKS - op.pos;
	return pending_run(inode, NULL, &op, begin_truncate, &begin);
}

/* EOF may have moved down since the range was chosen: then it is too small. */
static bool holds_eof(const struct layout_change *change)
{
	return round_down(inode_size(change->inode)) >= change->pos;
}

int layout_truncate(struct inode *inode, uint64_t size, const struct layout_ctx *ctx)
{
	int err = may_change(inode, DINODE_IMMUTABLE | DINODE_APPEND);

	if (!err && size > MAX_FILE_BYTES)
		err = -EFBIG;
	while (!err) {
		uint64_t old = inode_size(inode);
		struct layout_change change = { .op = LAYOUT_TRUNCATE,
						.inode = inode,
						.pos = round_down(size < old ? size : old),
						.len = UINT64_MAX,
						.free_pos = round_up(size),
						.free_end = MAX_FILE_BYTES,
						.fits = holds_eof,
						.may_wait = ctx->may_wait };
		bool fits;

		err = layout_begin(&change);
		if (err == -ESTALE)
			err = 0;
		else if (!err) {
			/* With the gate there, only what was pending can have moved it. */
			fits = holds_eof(&change);
			err = fits ? truncate_locked(inode, size, ctx) : 0;
			layout_end(&change);
			if (fits)
				break;
		}
	}
	return err;
}

/* ---- punch and zero -------------------------------------------------------------------------------- */

static void add_edge(struct layout_change *change, uint64_t pos)
{
	uint64_t page = round_down(pos);

	if (pos == page || (change->nedges && change->edges[0].pos == page))
		return;
	change->edges[change->nedges].pos = page;
	change->edges[change->nedges++].end = page + BLOCK_BYTES;
}

static int zero_edges(struct tx *tx, struct inode *inode, uint64_t pos, uint64_t end)
{
	uint64_t first_end = round_up(pos) < end ? round_up(pos) : end;
	int err = 0;

	if (pos % BLOCK_BYTES)
		err = zero_edge(tx, inode, pos, first_end - pos);
	/* The end lies in another block than the start, or the start was on its boundary. */
	if (!err && end % BLOCK_BYTES &&
	    (round_down(end) != round_down(pos) || pos % BLOCK_BYTES == 0))
		err = zero_edge(tx, inode, round_down(end), end - round_down(end));
	return err;
}

static int begin_punch(struct tx *tx, struct inode *inode, struct dinode *di, void *arg)
{
	const struct begin *begin = arg;
	uint64_t old = from_le64(di->size);
	int err = 0;

	/* The tail first: it is zeroed in place, and an edge may be a copy of the same block. */
	if (begin->size != UINT64_MAX && begin->size > old) {
		err = zero_tail(tx, inode, old, begin->size);
		di->size = to_le64(begin->size);
	}
	if (!err)
		err = zero_edges(tx, inode, begin->pos, begin->end);
	if (err)
		return err;
	dinode_touch(inode->vol, di, TOUCH_MTIME | TOUCH_CTIME);
	if (begin->kill_priv)
		dinode_kill_priv(di);
	return 0;
}

/* The blocks of the range that have nothing behind them. */
static int count_holes(struct inode *inode, uint64_t lblk, uint64_t count, uint64_t *ret_holes)
{
	uint64_t holes = 0;
	int err = 0;

	ilock(inode, SYNC_SHARED, HERE);
	while (!err && count) {
		struct mapping map;

		err = get_blocks(NULL, inode, lblk, count, 0, 0, 0, &map);
		if (err)
			break;
		if (map.state == EXTENT_HOLE)
			holes += map.count;
		lblk += map.count;
		count -= map.count;
	}
	iunlock(inode, SYNC_SHARED, HERE);
	*ret_holes = holes;
	return err;
}

/* As much of the range as one transaction can make unwritten. */
static int prealloc_step(struct tx *tx, struct inode *inode, uint64_t *lblk, uint64_t end)
{
	while (*lblk < end && get_blocks_room(tx, inode)) {
		struct mapping map;
		int err = get_blocks(tx, inode, *lblk, end - *lblk, GET_CREATE | GET_UNWRITTEN, 0,
				     0, &map);

		if (err)
			return err;
		*lblk += map.count;
	}
	return 0;
}

/*
 * Put unwritten blocks behind every hole of the range, and then set the size and times. Whether
 * there is room is asked first: only somebody who takes it meanwhile can stop this half-way, and
 * then what was preallocated stays, as on XFS.
 */
static int preallocate(struct inode *inode, uint64_t pos, uint64_t end, const struct begin *begin)
{
	uint64_t lblk = pos >> BLOCK_SHIFT, stop = round_up(end) >> BLOCK_SHIFT, holes;
	int err = count_holes(inode, lblk, stop - lblk, &holes);

	if (!err && holes > alloc_nfree(inode->vol))
		err = -ENOSPC;
	while (!err) {
		struct dinode *di;
		struct tx *tx;
		bool done;

		err = tx_begin(inode->vol, 0, &tx, HERE);
		if (err)
			return err;
		ilock(inode, SYNC_EXCL, HERE);
		err = prealloc_step(tx, inode, &lblk, stop);
		done = lblk >= stop;
		if (!err && done && begin)
			err = inode_modify(tx, inode, &di);
		if (!err && done && begin)
			err = begin_punch(tx, inode, di, (void *)begin);
		err = tx_end(tx, err);
		iunlock(inode, SYNC_EXCL, HERE);
		if (done)
			break;
	}
	return err;
}

static int zero_locked(struct inode *inode, const struct begin *begin, struct pending *op)
{
	int err = preallocate(inode, begin->pos, begin->end, NULL);

	sync_rw_assert(&inode->iolock, SYNC_EXCL);
	op->kind = PENDING_UNWRITE;
	return err ? err : pending_run(inode, NULL, op, begin_punch, (void *)begin);
}

static int punch_locked(struct layout_change *change, struct begin *begin)
{
	struct inode *inode = change->inode;
	struct pending op = { .kind = PENDING_PUNCH };
	bool cached = change->mode == MODE_CACHED;
	int err = cached ? gate_discard_prepare(inode) : 0;

	sync_rw_assert(&inode->iolock, SYNC_EXCL);
	whole_blocks(begin->pos, begin->end, &op.pos, &op.len);
	if (err)
		return err;
	if (change->op == LAYOUT_ZERO)
		err = zero_locked(inode, begin, &op);
	else
		err = pending_run(inode, NULL, &op, begin_punch, begin);
	if (!err && cached)
		gate_discard(inode, op.pos, op.pos + op.len);
	return err;
}

/* Where a change begins that leaves the file with at least @size: at EOF, if that moves up. */
static uint64_t change_begin(struct inode *inode, uint64_t pos, uint64_t size)
{
	uint64_t old = inode_size(inode);

	return round_down(size != UINT64_MAX && old < pos ? old : pos);
}

static int punch_or_zero(struct inode *inode, enum layout_op op, bool keep_size, uint64_t pos,
			 uint64_t len, const struct layout_ctx *ctx)
{
	struct begin begin = {
		.pos = pos, .end = pos + len, .size = UINT64_MAX, .kill_priv = ctx->kill_priv
	};
	bool sized = op == LAYOUT_ZERO && !keep_size, fits;
	int err;

	if (sized)
		begin.size = pos + len;
	do {
		struct layout_change change = { .op = op,
						.inode = inode,
						.pos = change_begin(inode, pos, begin.size),
						.fits = sized ? holds_eof : NULL,
						.may_wait = ctx->may_wait };

		change.len = round_up(pos + len) - change.pos;
		if (op == LAYOUT_PUNCH) {
			change.free_pos = round_up(pos);
			change.free_end = round_down(pos + len);
		}
		add_edge(&change, pos);
		add_edge(&change, pos + len);
		err = layout_begin(&change);
		fits = err != -ESTALE;
		if (err)
			continue;
		/* With the gate there, only what was pending can have moved EOF. */
		fits = !change.fits || holds_eof(&change);
		if (fits)
			err = punch_locked(&change, &begin);
		layout_end(&change);
	} while (!fits);
	return err;
}

/* ---- preallocation ------------------------------------------------------------------------------------ */

static int allocate(struct inode *inode, bool keep_size, uint64_t pos, uint64_t len,
		    const struct layout_ctx *ctx)
{
	/* An empty range of edges: only size and times of begin_punch() apply. */
	struct begin begin = { .size = keep_size ? UINT64_MAX : pos + len,
			       .kill_priv = ctx->kill_priv };
	bool announced = true;
	int err;

	do {
		struct fill fill = { .next = NULL };
		/* The second time from the start of the file on: so there is no third. */
		uint64_t size = announced ? inode_size(inode) : 0;

		/* EOF moves up. Holes that become unwritten are shown as zeroes as before. */
		err = keep_size ? 0
				: fill_begin(inode, &fill, size, size,
					     !announced || pos + len > size, ctx->may_wait);
		if (err)
			return err;
		sync_rw_lock(&inode->iolock, SYNC_EXCL, 0, HERE);
		/* It may have been moved down while we waited. */
		announced = keep_size || inode_size(inode) >= size;
		/*
		 * Blocks put into the way of a change that is to be finished; that needs more than this
		 * lock.
		 */
		if (announced)
			err = atomic_load(&inode->half_changed) ? -EIO : 0;
		if (announced && !err)
			err = preallocate(inode, pos, pos + len, &begin);
		sync_rw_unlock(&inode->iolock, SYNC_EXCL, HERE);
		fill_end(inode, &fill);
	} while (!announced);
	return err;
}

/* ---- collapse and insert --------------------------------------------------------------------------------- */

static int begin_shift(struct tx *tx, struct inode *inode, struct dinode *di, void *arg)
{
	const struct begin *begin = arg;

	(void)tx;
	if (begin->size != UINT64_MAX)
		di->size = to_le64(begin->size);
	dinode_touch(inode->vol, di, TOUCH_MTIME | TOUCH_CTIME);
	if (begin->kill_priv)
		dinode_kill_priv(di);
	return 0;
}

/* Where anything of the file ends: EOF, or preallocated blocks behind it. */
static int last_block(struct inode *inode, uint64_t *ret_end)
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

static int shift_locked(struct inode *inode, enum layout_op what, uint64_t pos, uint64_t len,
			const struct layout_ctx *ctx)
{
	struct begin begin = { .size = UINT64_MAX, .kill_priv = ctx->kill_priv };
	struct pending op = { .pos = pos >> BLOCK_SHIFT, .len = len >> BLOCK_SHIFT };
	uint64_t size, end;
	int err = last_block(inode, &end);

	sync_rw_assert(&inode->iolock, SYNC_EXCL);
	if (err)
		return err;
	size = inode_size(inode);
	if (what == LAYOUT_COLLAPSE) {
		if (pos + len >= size)
			return -EINVAL;
		op.kind = PENDING_COLLAPSE;
	} else {
		if (pos >= size)
			return -EINVAL;
		if (size + len > MAX_FILE_BYTES || end + op.len > MAX_FILE_BLOCKS)
			return -EFBIG;
		op.kind = PENDING_INSERT;
		begin.size = size + len;
	}
	return pending_run(inode, NULL, &op, begin_shift, &begin);
}

static int shift(struct inode *inode, enum layout_op op, uint64_t pos, uint64_t len,
		 const struct layout_ctx *ctx)
{
	struct layout_change change = { .op = op,
					.inode = inode,
					.pos = pos,
					.len = UINT64_MAX,
					.moves = true,
					.may_wait = ctx->may_wait,
					.needs_uncached = true };
	int err;

	if (pos % BLOCK_BYTES || len % BLOCK_BYTES)
		return -EINVAL;
	err = layout_begin(&change);
	if (err)
		return err;
	err = shift_locked(inode, op, pos, len, ctx);
	layout_end(&change);
	return err;
}

int layout_fallocate(struct inode *inode, int mode, uint64_t pos, uint64_t len,
		     const struct layout_ctx *ctx)
{
	bool keep_size = mode & FALLOC_FL_KEEP_SIZE;
	int what = mode & ~FALLOC_FL_KEEP_SIZE;
	int err = may_change(inode, DINODE_IMMUTABLE | (what ? DINODE_APPEND : 0));

	if (err)
		return err;
	if (!len)
		return -EINVAL;
	if (pos > MAX_FILE_BYTES || len > MAX_FILE_BYTES - pos)
		return -EFBIG;
	switch (what) {
	case 0:
		return allocate(inode, keep_size, pos, len, ctx);
	case FALLOC_FL_PUNCH_HOLE:
		if (!keep_size)
			return -EOPNOTSUPP;
		return punch_or_zero(inode, LAYOUT_PUNCH, true, pos, len, ctx);
	case FALLOC_FL_ZERO_RANGE:
		return punch_or_zero(inode, LAYOUT_ZERO, keep_size, pos, len, ctx);
	case FALLOC_FL_COLLAPSE_RANGE:
		return keep_size ? -EINVAL : shift(inode, LAYOUT_COLLAPSE, pos, len, ctx);
	case FALLOC_FL_INSERT_RANGE:
		return keep_size ? -EINVAL : shift(inode, LAYOUT_INSERT, pos, len, ctx);
	default:
		return -EOPNOTSUPP;
	}
}

/* ---- exchange ------------------------------------------------------------------------------------------ */

static int begin_exchange(struct tx *tx, struct inode *inode, struct dinode *di, void *arg)
{
	struct inode *other = arg;
	struct dinode *other_di;
	int err = inode_modify(tx, other, &other_di);

	if (err)
		return err;
	dinode_touch(inode->vol, di, TOUCH_MTIME | TOUCH_CTIME);
	dinode_touch(inode->vol, other_di, TOUCH_MTIME | TOUCH_CTIME);
	return 0;
}

/* The range lies in the file, and ends with a block or at EOF. */
static bool exchangeable(struct inode *inode, uint64_t pos, uint64_t len)
{
	uint64_t size = inode_size(inode);

	return pos <= size && len <= size - pos && (len % BLOCK_BYTES == 0 || pos + len == size);
}

static int exchange_locked(struct inode *a, uint64_t a_pos, struct inode *b, uint64_t b_pos,
			   uint64_t len)
{
	struct pending op = { .kind = PENDING_EXCHANGE,
			      .pos = a_pos >> BLOCK_SHIFT,
			      .len = round_up(len) >> BLOCK_SHIFT,
			      .partner_pos = b_pos >> BLOCK_SHIFT };
	int err;

	sync_rw_assert(&a->iolock, SYNC_EXCL);
	sync_rw_assert(&b->iolock, SYNC_EXCL);
	if (!exchangeable(a, a_pos, len) || !exchangeable(b, b_pos, len))
		return -EINVAL;
	/* What clients stored here goes to a file whose fsync(2) would not know of it. */
	err = file_sync(a, NULL);
	if (!err)
		err = file_sync(b, NULL);
	if (err)
		return err;
	return pending_run(a, b, &op, begin_exchange, b);
}

int layout_exchange(struct inode *a, uint64_t a_pos, struct inode *b, uint64_t b_pos, uint64_t len,
		    const struct layout_ctx *ctx)
{
	struct layout_change change = { .op = LAYOUT_EXCHANGE,
					.inode = a,
					.pos = a_pos,
					.len = round_up(len),
					.other = b,
					.other_pos = b_pos,
					.moves = true,
					.may_wait = ctx->may_wait,
					.needs_uncached = true };
	int err = may_change(a, DINODE_IMMUTABLE | DINODE_APPEND);

	if (!err)
		err = may_change(b, DINODE_IMMUTABLE | DINODE_APPEND);
	if (err)
		return err;
	if (a == b || a->vol != b->vol || !len || a_pos % BLOCK_BYTES || b_pos % BLOCK_BYTES ||
	    a_pos > MAX_FILE_BYTES || b_pos > MAX_FILE_BYTES || len > MAX_FILE_BYTES)
		return -EINVAL;
	err = layout_begin(&change);
	if (err)
		return err;
	err = exchange_locked(a, a_pos, b, b_pos, len);
	layout_end(&change);
	return err;
}

/* ---- recovery --------------------------------------------------------------------------------------------- */

int layout_resume(struct inode *inode)
{
	return pending_resume(inode);
}
