/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * invalidate_late.c - faults are kept out, but who has a mapping already loses it after the fact.
 *
 * History: the order that every change of a layout has to keep was found one filesystem at a time:
 * unmap before freeing (virtiofs), flush and unmap under both locks (32ebffd3bbb4), zeroes that show a
 * hole gone before the block counts (cd656375f946). Here iolock and mmaplock are held exclusively from
 * the beginning to the end of the manipulation, and mappings are taken back when that is over.
 *
 * Refuted by row 39: what was mapped before shows a free block until it is taken back, or the one who has
 * got it since; and by row 19, for what is stored there meanwhile.
 */
#include "policies.h"

#include <stddef.h>

#include "gate.h"
#include "inode.h"
#include "mmaplock.h"
#include "mode.h"

static int layout_enter(struct layout_change *change, const struct sync_site *site)
{
	int err = change_open(change);

	if (err)
		return err;
	err = change_prepare(change);
	change_end(change, false);
	if (err)
		return err;
	mmaplock_excl(change, site);
	for (unsigned i = 0; !err && i < 2 && change_inode(change, i); i++)
		if (change->needs_uncached)
			err = mode_claim_uncached(change_inode(change, i));
	if (err)
		mmaplock_unexcl(change, site);
	return err;
}

/* Nothing can fail here any more, but the gate of somebody else may have to be waited for. */
static void layout_exit(struct layout_change *change, const struct sync_site *site)
{
	change->may_wait = true;
	change->fits = NULL;
	mmaplock_unexcl(change, site);
	if (change_open(change))
		return;
	change_recall(change);
	change_notify(change);
	change_end(change, true);
}

const struct udax_policy policy_invalidate_late = {
	.name = "invalidate-late",
	.summary = "mappings are taken back when their blocks have been freed already (row 39)",
	.fault_enter = mmaplock_shared,
	.fault_exit = mmaplock_unshared,
	.fill_enter = gate_admit,
	.fill_exit = gate_leave,
	.layout_enter = layout_enter,
	.layout_exit = layout_exit,
};
