/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * parts.c - what several policies consist of; see policies.h.
 */
#include "policies.h"

#include <errno.h>

#include "format.h"
#include "inode.h"
#include "mode.h"

/* ---- layout changes --------------------------------------------------------------------------------- */

int invalidate_once(struct layout_change *change,
		    void (*wait)(struct layout_change *change, const struct sync_site *site),
		    const struct sync_site *site)
{
	int err = change_open(change);

	if (err)
		return err;
	err = change_prepare(change);
	if (!err && wait)
		wait(change, site);
	if (!err)
		err = change_recall(change);
	if (!err)
		change_notify(change);
	change_end(change, false);
	return err;
}

int begin_alone(struct layout_change *change, const struct sync_site *site)
{
	int err = 0;

	change_iolock(change, site);
	for (unsigned i = 0; !err && i < 2 && change_inode(change, i); i++)
		if (change->needs_uncached)
			err = mode_claim_uncached(change_inode(change, i));
	if (err)
		change_iounlock(change, site);
	return err;
}

/* ---- faults ----------------------------------------------------------------------------------------- */

void fault_enter_unlocked(struct inode *inode, uint64_t pos, uint64_t len, bool write,
			  const struct sync_site *site)
{
	(void)inode, (void)pos, (void)len, (void)write, (void)site;
}

void fault_exit_unlocked(struct inode *inode, uint64_t pos, uint64_t len,
			 const struct sync_site *site)
{
	(void)inode, (void)pos, (void)len, (void)site;
}

/* ---- locks of pages --------------------------------------------------------------------------------- */

void page_locks_init(struct page_locks *locks, struct sync *sync)
{
	for (unsigned i = 0; i < PAGE_LOCKS; i++)
		sync_rw_init(sync, &locks->lock[i], LOCK_MMAPLOCK);
}

void page_locks_destroy(struct page_locks *locks)
{
	for (unsigned i = 0; i < PAGE_LOCKS; i++)
		sync_rw_destroy(&locks->lock[i]);
}

/* Whether any page of the range has place @i. */
static bool has_place(unsigned i, uint64_t pos, uint64_t end)
{
	uint64_t first = pos >> BLOCK_SHIFT, stop = ((end - 1) >> BLOCK_SHIFT) + 1;

	return (i - first) % PAGE_LOCKS < stop - first;
}

void pages_lock(struct page_locks *locks, uint64_t pos, uint64_t len, const struct sync_site *site)
{
	for (unsigned i = 0; i < PAGE_LOCKS; i++)
		if (has_place(i, pos, pos + len))
			sync_rw_lock(&locks->lock[i], SYNC_EXCL, i, site);
}

void pages_unlock(struct page_locks *locks, uint64_t pos, uint64_t len,
		  const struct sync_site *site)
{
	for (unsigned i = 0; i < PAGE_LOCKS; i++)
		if (has_place(i, pos, pos + len))
			sync_rw_unlock(&locks->lock[i], SYNC_EXCL, site);
}

void pages_wait(struct page_locks *locks, uint64_t pos, uint64_t end, const struct sync_site *site)
{
	for (unsigned i = 0; i < PAGE_LOCKS; i++)
		if (has_place(i, pos, end)) {
			sync_rw_lock(&locks->lock[i], SYNC_EXCL, i, site);
			sync_rw_unlock(&locks->lock[i], SYNC_EXCL, site);
		}
}
