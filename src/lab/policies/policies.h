/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * policies.h - the policies that are not the core's, and what several of them consist of.
 *
 * Those that history tried know no gate that stands from the first invalidation to the end of the
 * manipulation, which is what they lack. Theirs stands while they invalidate, because somebody has to
 * take the mappings back: as the kernel's unmap_mapping_range() takes page table locks, one after the
 * other, and has let go of all when it returns.
 */
#ifndef UDAX_LAB_POLICIES_H
#define UDAX_LAB_POLICIES_H

#include "change.h"
#include "udax/policy.h"

extern const struct udax_policy policy_range, policy_entry, policy_page_eof, policy_imapping,
	policy_fault_zeroing, policy_invalidate_late, policy_release_early,
	policy_notify_under_lock, policy_none;

/**
 * invalidate_once - wait for faults that are in (@wait; NULL: for none), take back and drop what others
 * hold of the range, and keep nobody from coming in again. 0, -EAGAIN, -EBUSY, -ESTALE, -ENOMEM.
 * begin_alone - take the iolocks and claim the mode that the change needs: what policy->layout_enter()
 * ends with at least. 0, or -EBUSY with nothing held.
 */
int invalidate_once(struct layout_change *change,
		    void (*wait)(struct layout_change *change, const struct sync_site *site),
		    const struct sync_site *site);
int begin_alone(struct layout_change *change, const struct sync_site *site);

/** What a fault locks where that is nothing: policy->fault_enter, policy->fault_exit. */
void fault_enter_unlocked(struct inode *inode, uint64_t pos, uint64_t len, bool write,
			  const struct sync_site *site);
void fault_exit_unlocked(struct inode *inode, uint64_t pos, uint64_t len,
			 const struct sync_site *site);

/*
 * A lock for each page of an inode: one for all that have the same place in a table, as the kernel's
 * queues for waiters on pages and entries are.
 */
#define PAGE_LOCKS 8

struct page_locks {
	struct sync_rwlock lock[PAGE_LOCKS];
};

void page_locks_init(struct page_locks *locks, struct sync *sync);
void page_locks_destroy(struct page_locks *locks);

/** pages_lock - the locks of the pages in [@pos, @pos + @len), exclusively. pages_unlock releases them. */
void pages_lock(struct page_locks *locks, uint64_t pos, uint64_t len, const struct sync_site *site);
void pages_unlock(struct page_locks *locks, uint64_t pos, uint64_t len,
		  const struct sync_site *site);

/**
 * pages_wait - lock and unlock the pages in [@pos, @end) one after the other: who had any of them before
 * has let go.
 */
void pages_wait(struct page_locks *locks, uint64_t pos, uint64_t end, const struct sync_site *site);

#endif
