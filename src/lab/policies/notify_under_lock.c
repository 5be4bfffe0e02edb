/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * notify_under_lock.c - as mmaplock.c, but the kernel is notified when the gates are closed, so that
 * nobody can come in between: no rounds are needed.
 *
 * History: ours. It is what one writes first, and what the order of locks that a filesystem is used to
 * suggests (exclude, then invalidate); in a FUSE daemon it hangs. Reproduced on kernel 6.18 within eight
 * tries.
 *
 * Refuted by row 37: a notify waits for a folio's lock, which a page fault holds while its FUSE_READ waits
 * for the gate, that is, for us. With a dirty folio to write back it does not take a second thread: the
 * FUSE_WRITE waits for the same gate (row 44 is that with a SETATTR).
 */
#include "policies.h"

#include <errno.h>

#include "gate.h"
#include "inode.h"
#include "mmaplock.h"
#include "volume.h"

static const struct change_locks locks = { mmaplock_excl, mmaplock_unexcl, mmaplock_assert_excl };

/* As change_notify(), without what it says about locks (sync_assert_none_held). */
static void notify(const struct layout_change *change)
{
	const struct volume *vol = change->inode->vol;

	for (unsigned i = 0; change->mode == MODE_CACHED && i < change->nedges; i++)
		vol->holder_ops->notify(vol->holder_ctx, change->inode->ino, change->edges[i].pos,
					change->edges[i].end - change->edges[i].pos);
}

static int layout_enter(struct layout_change *change, const struct sync_site *site)
{
	int err = change_open(change);

	if (err)
		return err;
	do {
		err = change_prepare(change);
		if (!err)
			err = change_recall(change);
		if (err)
			break;
		mmaplock_excl(change, site);
		err = change_close(change, false);
		if (!err) {
			notify(change);
			return 0;
		}
		mmaplock_unexcl(change, site);
		change_reopen(change);
	} while (err == -EAGAIN && change->may_wait);
	change_end(change, false);
	return err;
}

static void layout_exit(struct layout_change *change, const struct sync_site *site)
{
	change_exit(change, &locks, site);
}

const struct udax_policy policy_notify_under_lock = {
	.name = "notify-under-lock",
	.summary = "the kernel is notified with the range locked, which its own request waits for "
		   "(row 37)",
	.fault_enter = mmaplock_shared,
	.fault_exit = mmaplock_unshared,
	.fill_enter = gate_admit,
	.fill_exit = gate_leave,
	.layout_enter = layout_enter,
	.layout_exit = layout_exit,
};
