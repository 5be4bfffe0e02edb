/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * entry.c - a lock for each page's entry in the mapping, in the place of the page lock.
 *
 * History: ac401cc78242 ("dax: New fault locking"), Linux 4.7. DAX has no page to lock, so the entry in
 * the mapping's tree has a lock bit. A fault holds it while it looks up, allocates and maps. Whoever
 * invalidates takes it for each entry in turn, to take the mapping back and delete the entry, and lets
 * go: it keeps faults on one page apart from each other (row 9), and from the invalidation.
 *
 * Not sound alone, and never meant to be: "caller is supposed to hold locks serializing us with truncate /
 * punch hole" (fs/dax.c), which are the filesystem's (ea3d7209ca01). Refuted by rows 16 and 17: when the
 * entry is deleted its lock is, too, and the next fault maps the block again before it is freed; and by
 * row 21, where the next fault finds the old end of the file.
 */
#include "policies.h"

#include <errno.h>

#include "gate.h"
#include "inode.h"
#include "mem.h"
#include "volume.h"

static int inode_new(struct inode *inode)
{
	struct page_locks *entries = mem_alloc(inode->vol->mem, sizeof(*entries));

	if (!entries)
		return -ENOMEM;
	page_locks_init(entries, inode->vol->sync);
	inode->policy_state = entries;
	return 0;
}

static void inode_delete(struct inode *inode)
{
	page_locks_destroy(inode->policy_state);
	mem_free(inode->vol->mem, inode->policy_state);
}

static void fault_enter(struct inode *inode, uint64_t pos, uint64_t len, bool write,
			const struct sync_site *site)
{
	(void)write;
	pages_lock(inode->policy_state, pos, len, site);
}

static void fault_exit(struct inode *inode, uint64_t pos, uint64_t len,
		       const struct sync_site *site)
{
	pages_unlock(inode->policy_state, pos, len, site);
}

/*
 * invalidate_inode_pages2_range(). A mapping cannot be taken back with a lock held (docs/LOCKING.md), so
 * each entry is waited for, and all that their faults have mapped is taken back after that.
 */
static void wait_for_entries(struct layout_change *change, const struct sync_site *site)
{
	for (unsigned i = 0; i < 2 && change_inode(change, i); i++)
		pages_wait(change_inode(change, i)->policy_state, change->gates[i].pos,
			   change->gates[i].end, site);
}

static int layout_enter(struct layout_change *change, const struct sync_site *site)
{
	int err = invalidate_once(change, wait_for_entries, site);

	return err ? err : begin_alone(change, site);
}

const struct udax_policy policy_entry = {
	.name = "entry",
	.summary =
		"a lock for each page, held by faults and while it is invalidated, but not until its "
		"block is freed (row 16)",
	.inode_new = inode_new,
	.inode_delete = inode_delete,
	.fault_enter = fault_enter,
	.fault_exit = fault_exit,
	.fill_enter = gate_admit,
	.fill_exit = gate_leave,
	.layout_enter = layout_enter,
	.layout_exit = change_iounlock,
};
