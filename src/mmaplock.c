/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * mmaplock.c - the lock between page faults and layout changes, and the policy built on it.
 *
 * A fault takes the mmaplock shared. A layout change opens a gate, invalidates, takes iolock and
 * mmaplock exclusively, closes the gate, and keeps all of it to the end of the manipulation (change.h).
 *
 * History: XFS_MMAPLOCK of 2015 (653c60b633a9), ext4's i_mmap_sem (ea3d7209ca01), and since 2021 the
 * mapping's invalidate_lock (730633f0b7f9). Sound: whoever has looked up a block records his grant
 * before he lets go of the lock, so a layout change that has the lock finds it, or was not yet there
 * when the block was looked up.
 */
#include "mmaplock.h"

#include "gate.h"
#include "inode.h"
#include "udax/policy.h"

/* ---- the locks ------------------------------------------------------------------------------------ */

void mmaplock_shared(struct inode *inode, uint64_t pos, uint64_t len, bool write,
		     const struct sync_site *site)
{
	(void)pos, (void)len, (void)write; /* this lock is the whole inode's */
	sync_rw_lock(&inode->mmaplock, SYNC_SHARED, 0, site);
}

void mmaplock_unshared(struct inode *inode, uint64_t pos, uint64_t len,
		       const struct sync_site *site)
{
	(void)pos, (void)len;
	sync_rw_unlock(&inode->mmaplock, SYNC_SHARED, site);
}

void mmaplock_excl(struct layout_change *change, const struct sync_site *site)
{
	change_iolock(change, site);
	for (unsigned i = 0; i < 2 && change_inode(change, i); i++)
		sync_rw_lock(&change_inode(change, i)->mmaplock, SYNC_EXCL, i, site);
}

void mmaplock_unexcl(struct layout_change *change, const struct sync_site *site)
{
	for (unsigned i = 0; i < 2 && change_inode(change, i); i++)
		sync_rw_unlock(&change_inode(change, i)->mmaplock, SYNC_EXCL, site);
	change_iounlock(change, site);
}

void mmaplock_assert_excl(const struct layout_change *change)
{
	for (unsigned i = 0; i < 2 && change_inode(change, i); i++)
		sync_rw_assert(&change_inode(change, i)->mmaplock, SYNC_EXCL);
}

/* ---- the policy -------------------------------------------------------------------------------------- */

static const struct change_locks locks = { mmaplock_excl, mmaplock_unexcl, mmaplock_assert_excl };

static int layout_enter(struct layout_change *change, const struct sync_site *site)
{
	return change_enter(change, &locks, site);
}

static void layout_exit(struct layout_change *change, const struct sync_site *site)
{
	change_exit(change, &locks, site);
}

const struct udax_policy policy_mmaplock = {
	.name = "mmaplock",
	.summary = "one reader/writer lock an inode: faults shared, layout changes exclusive",
	.sound = true,
	.fault_enter = mmaplock_shared,
	.fault_exit = mmaplock_unshared,
	.fill_enter = gate_admit,
	.fill_exit = gate_leave,
	.layout_enter = layout_enter,
	.layout_exit = layout_exit,
};
