/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fault.c - the page-fault path of clients.
 *
 *	look at the gates, note the generation		grant_generation
 *	policy->fault_enter				the mmaplock, shared
 *	  EOF, extents
 *	  is something missing? leave, make it, start again
 *	  gates and generation as they were? record	grant_record
 *	policy->fault_exit
 *
 * The fault neither zeroes nor converts: get_blocks() does, before anybody can see a block. Two
 * write faults on one hole both call it; the second finds what the first has made.
 *
 * What is missing is made outside of the lookup, because it may mean to wait: holes that others
 * show as zeroes are recalled (fill_begin), a scattered granule is moved (layout_relocate).
 */
#include "fault.h"

#include <errno.h>

#include "extent.h"
#include "file.h"
#include "fill.h"
#include "get_blocks.h"
#include "inode.h"
#include "journal.h"
#include "layout.h"
#include "minmax.h"
#include "region.h"
#include "udax/policy.h"
#include "volume.h"
#include "zeroing.h"

/* The most that one grant is of: it is recorded at once, in bits, under a lock. */
#define GRANT_BYTES (UINT64_C(1) << 30)

/*
 * What a write fault makes around its page: a huge mapping's worth where that costs no space, or where the
 * file is being filled from front to back; otherwise a few blocks, because who touches a large hole here
 * and there does not want all of it.
 */
#define FILL_BYTES ((uint64_t)HUGE_BLOCKS << BLOCK_SHIFT)
#define FILL_FEW_BYTES (UINT64_C(16) << BLOCK_SHIFT)

enum found {
	FOUND,
	FOUND_MISSING,	 /* a write fault on what is not written */
	FOUND_UNTOUCHED, /* to be granted for stores, and the file's times have not moved */
	FOUND_SCATTERED, /* a granule that is not one aligned run */
};

static uint64_t down(uint64_t pos, uint64_t unit)
{
	return pos - pos % unit;
}

static uint64_t up(uint64_t pos, uint64_t unit)
{
	return down(pos + unit - 1, unit);
}

static void answer(struct fault *fault, enum grant_kind kind, uint64_t pos, uint64_t end)
{
	fault->kind = kind;
	fault->grant_pos = pos;
	fault->grant_len = end - pos;
}

/* The extent behind the page, in bytes and cut to the window, granules and EOF. */
static enum found look_at_extent(struct fault *fault, const struct extent *ext, uint64_t size)
{
	const uint64_t granule = fault->att->inode->vol->region->granule_bytes;
	uint64_t begin = ext->lblk << BLOCK_SHIFT, stop = (ext->lblk + ext->count) << BLOCK_SHIFT;
	uint64_t page = down(fault->pos, granule);
	uint64_t first = up(max_u64(fault->first, begin), granule);
	uint64_t end = down(min_u64(min_u64(fault->end, up(size, granule)), stop), granule);

	if (ext->state != EXTENT_WRITTEN && fault->write)
		return FOUND_MISSING;
	if (first > page || end < page + granule)
		return FOUND_SCATTERED; /* the granule goes on in another extent */
	if (ext->state != EXTENT_WRITTEN) {
		answer(fault, GRANT_ZERO, first, end);
		return FOUND;
	}
	fault->region_off = (ext->pblk << BLOCK_SHIFT) + (first - begin);
	if (fault->region_off % granule)
		return FOUND_SCATTERED;
	if (fault->before_stores && !fault->touched)
		return FOUND_UNTOUCHED;
	answer(fault, fault->write || fault->before_stores ? GRANT_WRITE : GRANT_READ, first, end);
	return FOUND;
}

/*
 * A mapping shows all of the last block, also what lies behind EOF, which nobody promised anything
 * about. The size cannot shrink meanwhile; when it has grown, somebody has zeroed this already.
 */
static int clean_tail(struct inode *inode, uint64_t size)
{
	int err = 0;

	ilock(inode, SYNC_EXCL, HERE);
	if (from_le64(inode_peek(NULL, inode)->size) == size)
		err = zero_tail(NULL, inode, size, size);
	iunlock(inode, SYNC_EXCL, HERE);
	return err;
}

/* With the mmaplock, shared: extents and size change only by what adds to them. */
static int look(struct fault *fault, enum found *ret_found)
{
	struct inode *inode = fault->att->inode;
	const uint64_t granule = inode->vol->region->granule_bytes;
	struct extent ext = { 0 };
	uint64_t size;
	int err = 0;

	ilock(inode, SYNC_SHARED, HERE);
	size = from_le64(inode_peek(NULL, inode)->size);
	if (fault->pos < up(size, granule))
		err = extent_lookup(NULL, inode, FORK_DATA, fault->pos >> BLOCK_SHIFT, &ext);
	iunlock(inode, SYNC_SHARED, HERE);
	if (!err && !inode->vol->read_only && size % BLOCK_BYTES && ext.state == EXTENT_WRITTEN &&
	    size >> BLOCK_SHIFT >= ext.lblk && size >> BLOCK_SHIFT < ext.lblk + ext.count)
		err = clean_tail(inode, size);
	if (err)
		return err;
	if (fault->pos >= up(size, granule)) {
		answer(fault, GRANT_BEHIND_EOF, max_u64(fault->first, up(size, granule)),
		       fault->end);
		*ret_found = FOUND;
		return 0;
	}
	*ret_found = look_at_extent(fault, &ext, size);
	if (*ret_found == FOUND && fault->kind != GRANT_ZERO)
		err = region_check(inode->vol->region, fault->region_off, fault->grant_len);
	return err;
}

/*
 * A change that failed half-way goes on some day, under the gate of another one: it must not meet
 * grants, which that gate would not recall. Looked at with the mmaplock.
 */
static int settled(struct inode *inode)
{
	return atomic_load(&inode->half_changed) ? -EIO : 0;
}

/* ---- making what is missing ------------------------------------------------------------------------ */

/* Blocks for [*@lblk, @end), as many as one transaction makes. */
static int fill_step(struct inode *inode, uint64_t *lblk, uint64_t end)
{
	struct tx *tx;
	struct dinode *di;
	int err = tx_begin(inode->vol, 0, &tx, HERE);

	if (err)
		return err;
	ilock(inode, SYNC_EXCL, HERE);
	while (!err && *lblk < end && get_blocks_room(tx, inode)) {
		struct mapping map;

		err = get_blocks(tx, inode, *lblk, end - *lblk, GET_CREATE, 0, 0, &map);
		if (!err)
			*lblk += map.count;
	}
	if (!err)
		err = inode_modify(tx, inode, &di);
	if (!err)
		dinode_touch(inode->vol, di, TOUCH_MTIME | TOUCH_CTIME);
	err = tx_end(tx, err);
	iunlock(inode, SYNC_EXCL, HERE);
	return err;
}

static int fill_blocks(struct inode *inode, uint64_t pos, uint64_t stop)
{
	const struct udax_policy *policy = inode->vol->policy;
	uint64_t lblk = pos >> BLOCK_SHIFT, end = stop >> BLOCK_SHIFT;
	int err = 0;

	if (policy->make_blocks)
		return lblk < end ? policy->make_blocks(inode, lblk, end - lblk) : 0;
	while (!err && lblk < end)
		err = fill_step(inode, &lblk, end);
	return err;
}

static int fill_unit(struct inode *inode, uint64_t page, uint64_t *ret_bytes)
{
	uint64_t few = down(page, FILL_FEW_BYTES), lblk = few >> BLOCK_SHIFT;
	struct extent here, before = { .state = EXTENT_HOLE };
	int err;

	ilock(inode, SYNC_SHARED, HERE);
	err = extent_lookup(NULL, inode, FORK_DATA, page >> BLOCK_SHIFT, &here);
	if (!err && lblk)
		err = extent_lookup(NULL, inode, FORK_DATA, lblk - 1, &before);
	iunlock(inode, SYNC_SHARED, HERE);
	if (err)
		return err;
	*ret_bytes = here.state == EXTENT_UNWRITTEN || before.state == EXTENT_WRITTEN
			     ? FILL_BYTES
			     : max_u64(FILL_FEW_BYTES, inode->vol->region->granule_bytes);
	return 0;
}

/*
 * Of the window, what lies in such a unit around the page, but nothing behind EOF: a block there would
 * only cost space. Without room for all of it: for the page.
 */
static int fill_window(struct fault *fault)
{
	struct inode *inode = fault->att->inode;
	const struct udax_policy *policy = inode->vol->policy;
	const uint64_t granule = inode->vol->region->granule_bytes;
	uint64_t page = down(fault->pos, granule), size = inode_size(inode), unit, from, to;
	struct fill fill;
	int err = fill_unit(inode, page, &unit);

	if (err)
		return err;
	from = max_u64(fault->first, down(fault->pos, unit));
	to = min_u64(min_u64(fault->end, up(size, granule)), down(fault->pos, unit) + unit);
	to = max_u64(to, page + granule); /* the page in any case: EOF may yet move up to it */
	err = fill_begin(inode, &fill, from, to, false, fault->may_wait);
	if (err)
		return err;
	policy->fault_enter(inode, from, to - from, true, HERE);
	size = inode_size(inode); /* may have shrunk since */
	err = settled(inode);
	if (!err)
		err = fill_blocks(inode, from, min_u64(to, up(size, granule)));
	if (err == -ENOSPC && page < up(size, granule))
		err = fill_blocks(inode, page, page + granule);
	policy->fault_exit(inode, from, to - from, HERE);
	fill_end(inode, &fill);
	return err;
}

/* Times that cannot move are no reason to refuse a load. */
static void touch_times(struct fault *fault)
{
	fault->touched = !file_touch_written(fault->att->inode);
	fault->before_stores = fault->touched;
}

static int make(struct fault *fault, enum found found)
{
	struct inode *inode = fault->att->inode;
	const struct layout_ctx ctx = { .may_wait = true };
	uint64_t moved;
	int err = volume_usable(inode->vol, true);

	if (err)
		return err;
	if (found == FOUND_UNTOUCHED) {
		touch_times(fault);
		return 0;
	}
	if (found == FOUND_MISSING)
		return fill_window(fault);
	if (!fault->may_wait)
		return -EAGAIN;
	/* The granule is at most what layout_relocate() calls a piece, and as aligned. */
	return layout_relocate(inode, fault->pos, 1, &ctx, &moved);
}

/* ---- the fault -------------------------------------------------------------------------------------- */

static void send(void *arg)
{
	struct fault *fault = arg;

	fault->granted(fault);
}

/* One attempt: 0 and FOUND: granted. -EAGAIN, -EBUSY: as grant_record(). */
static int attempt(struct fault *fault, uint64_t generation, enum found *ret_found)
{
	struct inode *inode = fault->att->inode;
	const struct udax_policy *policy = inode->vol->policy;
	uint64_t len = fault->end - fault->first;
	int err;

	*ret_found = FOUND;
	policy->fault_enter(inode, fault->first, len, fault->write, HERE);
	err = settled(inode);
	if (!err)
		err = look(fault, ret_found);
	if (!err && *ret_found == FOUND)
		err = grant_record(fault->att, fault->kind, fault->grant_pos, fault->grant_len,
				   generation, send, fault);
	policy->fault_exit(inode, fault->first, len, HERE);
	return err;
}

int fault_serve(struct fault *fault)
{
	struct inode *inode = fault->att->inode;
	const uint64_t page = down(fault->pos, inode->vol->region->granule_bytes);
	const uint64_t around = down(fault->pos, GRANT_BYTES);
	const uint64_t first = max_u64(fault->first, around);
	const uint64_t end = min_u64(fault->end, around + GRANT_BYTES);
	int err = volume_usable(inode->vol, fault->write);

	if (!err && fault->write && !fault->att->writable)
		err = -EACCES;
	if (!err)
		err = settled(inode); /* before anything is changed */
	if (!err && fault->write)
		err = file_touch_written(inode);
	fault->touched = fault->write;
	fault->before_stores &= fault->att->writable && !volume_usable(inode->vol, true);
	atomic_fetch_add(&inode->vol->stat.faults, 1);
	while (!err) {
		uint64_t generation;
		enum found found;

		fault->first = first;
		fault->end = end;
		err = grant_generation(fault->att, page, fault->may_wait, &fault->first,
				       &fault->end, &generation);
		if (err)
			break;
		err = attempt(fault, generation, &found);
		if (!err && found == FOUND)
			return 0;
		if (!err)
			err = make(fault, found);
		else if (err == -EAGAIN)
			err = 0;
		else if (err == -EBUSY && fault->may_wait) {
			grant_wait_fill(fault->att, generation);
			err = 0;
		}
	}
	return err == -EBUSY ? -EAGAIN : err;
}
