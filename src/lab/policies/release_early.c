/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * release_early.c - as mmaplock.c, but faults are let in again when the range is invalidated, before its
 * extents have been manipulated.
 *
 * History: ext4 and XFS before they had a lock for faults (ea3d7209ca01, 653c60b633a9) held what they had
 * over the invalidation and not to the end; 5726b27b09cc, 0fecc393f206: the same once more, for one
 * operation that was forgotten.
 *
 * Refuted by rows 16 and 17 (the old block is mapped again, and then freed), 46 (a fill that has looked
 * up the old layout when it is let in), and 25, for what is looked at after the locks were let go.
 */
#include "policies.h"

#include "gate.h"
#include "inode.h"
#include "mmaplock.h"

static const struct change_locks locks = { mmaplock_excl, mmaplock_unexcl, mmaplock_assert_excl };

static int layout_enter(struct layout_change *change, const struct sync_site *site)
{
	int err = change_enter(change, &locks, site);

	if (err)
		return err;
	for (unsigned i = 0; i < 2 && change_inode(change, i); i++)
		sync_rw_unlock(&change_inode(change, i)->mmaplock, SYNC_EXCL, site);
	change_end(change, false);
	return 0;
}

const struct udax_policy policy_release_early = {
	.name = "release-early",
	.summary = "faults are let in again between invalidation and manipulation (row 16)",
	.fault_enter = mmaplock_shared,
	.fault_exit = mmaplock_unshared,
	.fill_enter = gate_admit,
	.fill_exit = gate_leave,
	.layout_enter = layout_enter,
	.layout_exit = change_iounlock,
};
