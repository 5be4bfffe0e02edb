/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * range.c - a lock of ranges, shared and exclusive, in the place of the mmaplock.
 *
 * History: proposed for mmap_lock and for XFS again and again, never merged for faults. A fault locks
 * what it may map, shared; a layout change what it invalidates, exclusively. So a punch at one end of a
 * file keeps no fault at the other waiting; I/O is excluded as a whole, by the iolock, as before.
 *
 * Sound, for the same reason as mmaplock, page by page: who looks up a block records his grant before he
 * lets go of a range that holds it, and the core asks for no page outside the range of its fault. What a
 * fault looks at outside (EOF) is looked at again when the grant is recorded, by generation.
 *
 * A layout change holds the iolock, so an inode has one at a time; it announces its range, which keeps
 * new faults out, and waits for those that are in. These hold one range at most, and wait for nobody
 * while they do. Each range has a lock of its own besides, which is never waited for: so that the order
 * of locks is checked, and who holds what can be seen.
 */
#include "policies.h"

#include <assert.h>
#include <errno.h>

#include "change.h"
#include "gate.h"
#include "inode.h"
#include "mem.h"
#include "udax/policy.h"
#include "volume.h"

#define FAULT_RANGES 7 /* that faults hold at once */

struct range {
	uint64_t pos, end;
	unsigned users; /* 0: it is none */
	struct sync_rwlock lock;
};

struct ranges {
	struct sync_mutex lock;
	struct sync_cond changed;
	struct range change, faults[FAULT_RANGES];
};

static int inode_new(struct inode *inode)
{
	struct volume *vol = inode->vol;
	struct ranges *ranges = mem_alloc(vol->mem, sizeof(*ranges));

	if (!ranges)
		return -ENOMEM;
	sync_mutex_init(vol->sync, &ranges->lock, LOCK_LEAF);
	sync_cond_init(vol->sync, &ranges->changed);
	sync_rw_init(vol->sync, &ranges->change.lock, LOCK_MMAPLOCK);
	sync_rw_number(&ranges->change.lock, inode->ino);
	for (unsigned i = 0; i < FAULT_RANGES; i++) {
		sync_rw_init(vol->sync, &ranges->faults[i].lock, LOCK_MMAPLOCK);
		sync_rw_number(&ranges->faults[i].lock, inode->ino);
	}
	inode->policy_state = ranges;
	return 0;
}

static void inode_delete(struct inode *inode)
{
	struct ranges *ranges = inode->policy_state;

	for (unsigned i = 0; i < FAULT_RANGES; i++)
		sync_rw_destroy(&ranges->faults[i].lock);
	sync_rw_destroy(&ranges->change.lock);
	sync_cond_destroy(&ranges->changed);
	sync_mutex_destroy(&ranges->lock);
	mem_free(inode->vol->mem, ranges);
}

static bool overlaps(const struct range *r, uint64_t pos, uint64_t end)
{
	return r->users && r->pos < end && pos < r->end;
}

static void let_go(struct ranges *ranges, struct range *r, enum sync_mode mode,
		   const struct sync_site *site)
{
	sync_rw_unlock(&r->lock, mode, site);
	sync_lock(&ranges->lock, 0, site);
	if (--r->users == 0)
		sync_wake(&ranges->changed);
	sync_unlock(&ranges->lock, site);
}

/* ---- faults ----------------------------------------------------------------------------------------- */

/* The same range, or else a free place; NULL: there is none. */
static struct range *find(struct ranges *ranges, uint64_t pos, uint64_t end)
{
	struct range *found = NULL;

	for (struct range *r = ranges->faults; r < ranges->faults + FAULT_RANGES; r++) {
		if (r->users && r->pos == pos && r->end == end)
			return r;
		if (!r->users)
			found = r;
	}
	return found;
}

static void fault_enter(struct inode *inode, uint64_t pos, uint64_t len, bool write,
			const struct sync_site *site)
{
	struct ranges *ranges = inode->policy_state;
	struct range *r;

	(void)write;
	sync_lock(&ranges->lock, 0, site);
	while (overlaps(&ranges->change, pos, pos + len) || !(r = find(ranges, pos, pos + len)))
		sync_wait(&ranges->changed, &ranges->lock, site);
	r->pos = pos;
	r->end = pos + len;
	r->users++;
	sync_unlock(&ranges->lock, site);
	sync_rw_lock(&r->lock, SYNC_SHARED, 0, site);
}

static void fault_exit(struct inode *inode, uint64_t pos, uint64_t len,
		       const struct sync_site *site)
{
	struct ranges *ranges = inode->policy_state;
	struct range *r;

	sync_lock(&ranges->lock, 0, site);
	r = find(ranges, pos, pos + len);
	sync_unlock(&ranges->lock, site);
	let_go(ranges, r, SYNC_SHARED, site);
}

/* ---- layout changes --------------------------------------------------------------------------------- */

static bool is_faulting(const struct ranges *ranges)
{
	for (unsigned i = 0; i < FAULT_RANGES; i++)
		if (overlaps(&ranges->faults[i], ranges->change.pos, ranges->change.end))
			return true;
	return false;
}

static void lock(struct layout_change *change, const struct sync_site *site)
{
	change_iolock(change, site);
	for (unsigned i = 0; i < 2 && change_inode(change, i); i++) {
		struct ranges *ranges = change_inode(change, i)->policy_state;

		sync_lock(&ranges->lock, 0, site);
		assert(!ranges->change.users);
		ranges->change.pos = change->gates[i].pos;
		ranges->change.end = change->gates[i].end;
		ranges->change.users = 1;
		while (is_faulting(ranges))
			sync_wait(&ranges->changed, &ranges->lock, site);
		sync_unlock(&ranges->lock, site);
		sync_rw_lock(&ranges->change.lock, SYNC_EXCL, i, site);
	}
}

static void unlock(struct layout_change *change, const struct sync_site *site)
{
	for (unsigned i = 0; i < 2 && change_inode(change, i); i++) {
		struct ranges *ranges = change_inode(change, i)->policy_state;

		let_go(ranges, &ranges->change, SYNC_EXCL, site);
	}
	change_iounlock(change, site);
}

static void assert_locked(const struct layout_change *change)
{
	for (unsigned i = 0; i < 2 && change_inode(change, i); i++) {
		struct ranges *ranges = change_inode(change, i)->policy_state;

		sync_rw_assert(&ranges->change.lock, SYNC_EXCL);
	}
}

static const struct change_locks locks = { lock, unlock, assert_locked };

static int layout_enter(struct layout_change *change, const struct sync_site *site)
{
	return change_enter(change, &locks, site);
}

static void layout_exit(struct layout_change *change, const struct sync_site *site)
{
	change_exit(change, &locks, site);
}

const struct udax_policy policy_range = {
	.name = "range",
	.summary = "locks of ranges: faults shared, layout changes exclusive",
	.sound = true,
	.inode_new = inode_new,
	.inode_delete = inode_delete,
	.fault_enter = fault_enter,
	.fault_exit = fault_exit,
	.fill_enter = gate_admit,
	.fill_exit = gate_leave,
	.layout_enter = layout_enter,
	.layout_exit = layout_exit,
};
