/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * policy.h - what a locking scheme decides.
 *
 * A policy says how page faults, fills of the kernel's page cache and changes of a file's layout
 * are kept apart: what each locks, by (inode, pos, len); in which order a layout change locks,
 * invalidates, manipulates and releases; and how a write fault makes blocks. Everything else is
 * the core's, also the iolock, which keeps uncached I/O away from layout changes. The policy of a mount is chosen by `-o mmaplock=NAME`; one that is not sound is
 * refused there and exists to be refuted.
 *
 * The core calls, for each kind of visitor:
 *
 *	fault		fault_enter → look up → record the grant → fault_exit
 *	... into a hole	fault_enter → get_blocks → fault_exit; then as above
 *	fill, write	fill_enter → copy → fill_exit	(kernel page cache; may be parked)
 *	layout change	layout_enter → manipulate the extents → layout_exit
 *
 * What a sound policy guarantees: between layout_enter and layout_exit no fault and no fill of
 * the range is under way, nobody holds a copy or mapping of it, and none comes about.
 */
#ifndef UDAX_POLICY_H
#define UDAX_POLICY_H

#include <stdbool.h>
#include <stdint.h>

struct inode;
struct admission;
struct layout_change;
struct sync_site;

struct udax_policy {
	const char *name;
	const char *summary; /* one line; of one that is not sound: why */
	bool sound;

	/*
	 * What the scheme keeps for each inode (inode->policy_state), from vol->mem, made before anybody
	 * knows the inode and deleted when nobody does. 0 or -ENOMEM. NULL: it keeps nothing.
	 */
	int (*inode_new)(struct inode *inode);
	void (*inode_delete)(struct inode *inode);

	/*
	 * A page fault on [@pos, @pos + @len) of @inode. @write: stores will follow. May wait, but
	 * for nobody who could wait for a fault.
	 */
	void (*fault_enter)(struct inode *inode, uint64_t pos, uint64_t len, bool write,
			    const struct sync_site *site);
	void (*fault_exit)(struct inode *inode, uint64_t pos, uint64_t len,
			   const struct sync_site *site);

	/*
	 * Put written blocks behind blocks [@lblk, @lblk + @count) of a write fault, between fault_enter and
	 * fault_exit. NULL: get_blocks() does, which zeroes before the transaction that publishes them.
	 * 0, -ENOSPC, -EIO, -ENOMEM, -EROFS.
	 */
	int (*make_blocks)(struct inode *inode, uint64_t lblk, uint64_t count);

	/*
	 * The kernel reads into, or writes from, its page cache. fill_enter must not wait: 0 when
	 * admitted, -EINPROGRESS when the admission was parked and will be resumed.
	 */
	int (*fill_enter)(struct inode *inode, struct admission *adm);
	void (*fill_exit)(struct inode *inode, struct admission *adm, int result);

	/*
	 * A layout change. layout_enter returns 0 with the range (of both inodes, if there are two)
	 * locked and invalidated, or -errno with nothing held. -EAGAIN: it would have to wait, and
	 * change->may_wait is false; -ESTALE: change->fits() says that the range is the wrong one. I/O
	 * is excluded as well: the iolocks are held exclusively. layout_exit releases everything.
	 */
	int (*layout_enter)(struct layout_change *change, const struct sync_site *site);
	void (*layout_exit)(struct layout_change *change, const struct sync_site *site);
};

/** The one that is shipped as the default (src/mmaplock.c). */
extern const struct udax_policy policy_mmaplock;

/**
 * policy_find - the policy of that name, or NULL. policy_list - all, ended by NULL. Not the core's: in
 * src/lab/policies/list.c, with those that history tried, for whoever lets a user choose.
 */
const struct udax_policy *policy_find(const char *name);
const struct udax_policy *const *policy_list(void);

#endif
