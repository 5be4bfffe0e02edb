/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * extent.c - the extent map of a fork: records of btree.c, read as runs of blocks.
 *
 * The map is normal: two extents of which the second continues the first, in the file, on the
 * medium and in state, are one (as far as a record can count). A change keeps it so by looking at
 * both neighbours of the range, which one walk down the tree gives it.
 *
 * Every record is checked each time it is read: that its blocks can be a file's, and that it ends
 * before the next one begins. So whoever walks a map moves forward at each step, and never gets
 * an address outside the volume, in the journal or in a space map, even when the tree that it came
 * from is a lie with a good checksum.
 *
 * Locks: as in btree.h. No state.
 */
#include "extent.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>

#include "btree.h"
#include "inode.h"
#include "volume.h"

/* What stands on both sides of a block: an extent that begins at or before it, and one behind. */
struct around {
	bool has_prev, has_next;
	struct extent prev, next;
};

static uint64_t extent_end(const struct extent *ext)
{
	return ext->lblk + ext->count;
}

static struct rec extent_encode(const struct extent *ext)
{
	return (struct rec){ ext->lblk,
			     EXTENT_PACK(ext->pblk, ext->count, ext->state == EXTENT_UNWRITTEN) };
}

static int extent_damaged(struct inode *inode)
{
	return volume_damaged(inode->vol, inode->off, "extent map");
}

static int extent_decode(struct inode *inode, const struct rec *rec, struct extent *ret_ext)
{
	struct extent ext = { .lblk = rec->key,
			      .count = EXTENT_COUNT(rec->val),
			      .pblk = EXTENT_PBLK(rec->val),
			      .state = EXTENT_UNWRITTEN(rec->val) ? EXTENT_UNWRITTEN
								  : EXTENT_WRITTEN };

	if (!volume_owns_data(inode->vol, ext.pblk, ext.count) || ext.lblk >= MAX_FILE_BLOCKS ||
	    ext.count > MAX_FILE_BLOCKS - ext.lblk)
		return extent_damaged(inode);
	*ret_ext = ext;
	return 0;
}

static int extent_around(struct tx *tx, struct inode *inode, enum fork_id fork, uint64_t lblk,
			 struct around *ret)
{
	struct around a = { 0 };
	struct rec_pair pair;
	int err = btree_around(tx, inode, fork, lblk, &pair);

	if (!err && pair.has_le)
		err = extent_decode(inode, &pair.le, &a.prev);
	if (!err && pair.has_gt)
		err = extent_decode(inode, &pair.gt, &a.next);
	if (err)
		return err;
	a.has_prev = pair.has_le;
	a.has_next = pair.has_gt;
	if (a.has_prev && a.has_next && extent_end(&a.prev) > a.next.lblk)
		return extent_damaged(inode);
	*ret = a;
	return 0;
}

int extent_lookup(struct tx *tx, struct inode *inode, enum fork_id fork, uint64_t lblk,
		  struct extent *ret_ext)
{
	struct extent hole = { .state = EXTENT_HOLE };
	uint64_t end = lblk < MAX_FILE_BLOCKS ? MAX_FILE_BLOCKS : UINT64_MAX;
	struct around a;
	int err = extent_around(tx, inode, fork, lblk, &a);

	if (err)
		return err;
	if (a.has_prev && extent_end(&a.prev) > lblk) {
		*ret_ext = a.prev;
		return 0;
	}
	if (a.has_prev)
		hole.lblk = extent_end(&a.prev);
	if (a.has_next)
		end = a.next.lblk;
	hole.count = end - hole.lblk;
	*ret_ext = hole;
	return 0;
}

int extent_next(struct tx *tx, struct inode *inode, enum fork_id fork, uint64_t lblk,
		struct extent *ret_ext)
{
	struct around a;
	int err = extent_around(tx, inode, fork, lblk, &a);

	if (err)
		return err;
	if (a.has_prev && extent_end(&a.prev) > lblk) {
		*ret_ext = a.prev;
		return 0;
	}
	if (!a.has_next)
		return -ENOENT;
	*ret_ext = a.next;
	return 0;
}

/* Whether @b continues @a, and both fit into one record. */
static bool continues(const struct extent *a, const struct extent *b)
{
	return extent_end(a) == b->lblk && a->pblk + a->count == b->pblk && a->state == b->state &&
	       a->count + b->count <= EXTENT_MAX_COUNT;
}

/* Put the extent that begins at @lblk in place of the one that began at @old. */
static int extent_replace(struct tx *tx, struct inode *inode, enum fork_id fork, uint64_t old,
			  const struct extent *ext)
{
	struct rec rec = extent_encode(ext);

	return btree_replace(tx, inode, fork, old, &rec);
}

int extent_insert(struct tx *tx, struct inode *inode, enum fork_id fork, const struct extent *ext)
{
	struct extent merged = *ext;
	struct around a;
	struct rec rec;
	bool left, right;
	int err;

	assert(ext->state != EXTENT_HOLE && ext->count && ext->count <= EXTENT_MAX_COUNT);
	err = extent_around(tx, inode, fork, ext->lblk, &a);
	if (err)
		return err;
	/* The caller has looked: if the map says otherwise now, the image is playing with us. */
	if ((a.has_prev && extent_end(&a.prev) > ext->lblk) ||
	    (a.has_next && a.next.lblk < extent_end(ext)))
		return extent_damaged(inode);

	left = a.has_prev && continues(&a.prev, ext);
	if (left) {
		merged = a.prev;
		merged.count += ext->count;
	}
	right = a.has_next && continues(&merged, &a.next);
	if (right)
		merged.count += a.next.count;

	if (left && right) {
		err = btree_delete(tx, inode, fork, a.next.lblk);
		return err ? err : extent_replace(tx, inode, fork, a.prev.lblk, &merged);
	}
	if (left)
		return extent_replace(tx, inode, fork, a.prev.lblk, &merged);
	if (right)
		return extent_replace(tx, inode, fork, a.next.lblk, &merged);
	rec = extent_encode(ext);
	return btree_insert(tx, inode, fork, &rec);
}

/* The extent that [@lblk, @lblk + @count) lies in. */
static int extent_around_range(struct tx *tx, struct inode *inode, enum fork_id fork, uint64_t lblk,
			       uint64_t count, struct around *ret)
{
	int err = extent_around(tx, inode, fork, lblk, ret);

	assert(count);
	if (!err && (!ret->has_prev || extent_end(&ret->prev) < lblk + count))
		return extent_damaged(inode);
	return err;
}

/* The part of @ext from @lblk on. */
static struct extent extent_from(const struct extent *ext, uint64_t lblk)
{
	return (struct extent){ .lblk = lblk,
				.count = extent_end(ext) - lblk,
				.pblk = ext->pblk + (lblk - ext->lblk),
				.state = ext->state };
}

int extent_remove(struct tx *tx, struct inode *inode, enum fork_id fork, uint64_t lblk,
		  uint64_t count)
{
	struct extent head, tail;
	struct around a;
	struct rec rec;
	int err = extent_around_range(tx, inode, fork, lblk, count, &a);

	if (err)
		return err;
	head = a.prev;
	head.count = lblk - head.lblk;
	tail = extent_from(&a.prev, lblk + count);

	if (!head.count && !tail.count)
		return btree_delete(tx, inode, fork, lblk);
	if (!head.count)
		return extent_replace(tx, inode, fork, lblk, &tail);
	err = extent_replace(tx, inode, fork, head.lblk, &head);
	if (err || !tail.count)
		return err;
	rec = extent_encode(&tail);
	return btree_insert(tx, inode, fork, &rec);
}

/*
 * Whether @ext, once its state has changed, would go on alone. Then its record changes in place: it
 * must not come to -ENOSPC over a conversion that needs no room.
 */
static int extent_stays_alone(struct tx *tx, struct inode *inode, enum fork_id fork,
			      const struct extent *ext, bool *ret_alone)
{
	struct around a = { 0 };
	struct extent next;
	int err = 0;

	if (ext->lblk)
		err = extent_around(tx, inode, fork, ext->lblk - 1, &a);
	if (err)
		return err;
	*ret_alone = !a.has_prev || !continues(&a.prev, ext);
	if (!*ret_alone)
		return 0;
	err = extent_next(tx, inode, fork, extent_end(ext), &next);
	if (err && err != -ENOENT)
		return err;
	*ret_alone = err || !continues(ext, &next);
	return 0;
}

int extent_convert(struct tx *tx, struct inode *inode, enum fork_id fork, uint64_t lblk,
		   uint64_t count, enum extent_state state)
{
	struct extent ext;
	struct around a;
	bool alone = false;
	int err = extent_around_range(tx, inode, fork, lblk, count, &a);

	assert(state != EXTENT_HOLE);
	if (err || a.prev.state == state)
		return err;
	ext = extent_from(&a.prev, lblk);
	ext.count = count;
	ext.state = state;
	if (count == a.prev.count)
		err = extent_stays_alone(tx, inode, fork, &ext, &alone);
	if (err)
		return err;
	if (alone)
		return extent_replace(tx, inode, fork, lblk, &ext);
	err = extent_remove(tx, inode, fork, lblk, count);
	return err ? err : extent_insert(tx, inode, fork, &ext);
}

unsigned extent_step_blocks(struct tx *tx, struct inode *inode, enum fork_id fork)
{
	/* A conversion in the middle: the head shrinks, the tail and the middle are added. */
	return btree_steps_blocks(tx, inode, fork, 3);
}
