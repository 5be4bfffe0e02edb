/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * mode.c - deciding, keeping and leaving a file's mode; see mode.h.
 *
 * When a file enters a mode, the kernel may still have folios from before: of the other mode, or of
 * a private mapping of an uncached file. They would be stale, so the kernel is notified, whole
 * file, before that open is answered, and other opens wait for it. Only between two spells of
 * cached mode is there nothing to drop: whatever changed the file in between went through the
 * kernel, which kept its folios right, or claimed uncached mode (mode_claim_uncached) and so made
 * the next cached open notify. docs/model/modes.pml checks that.
 */
#include "mode.h"

#include <assert.h>
#include <errno.h>

#include "inode.h"
#include "volume.h"

static void count_handle(struct holder *holder, unsigned flags, int n)
{
	sync_assert_locked(&holder->lock);
	holder->nhandles += (unsigned)n;
	if (flags & MODE_WRITER)
		holder->nwriters += (unsigned)n;
	if (flags & MODE_STORER)
		holder->nstorers += (unsigned)n;
}

/* Whether the kernel may have folios that are wrong in @mode. */
static bool may_be_stale(const struct holder *holder, enum file_mode mode)
{
	sync_assert_locked(&holder->lock);
	switch (holder->last_mode) {
	case MODE_NONE:
		return false;
	case MODE_CACHED:
		return mode != MODE_CACHED;
	default:
		return true;
	}
}

int mode_open(struct inode *inode, unsigned flags, struct waiter *waiter, enum file_mode *ret_mode)
{
	struct holder *holder = holder_of(inode);
	int result = 0;

	if (!holder)
		return -ENOMEM;
	sync_lock(&holder->lock, 0, HERE);
	if (holder->entering) {
		holder_park(holder, waiter);
		result = -EINPROGRESS;
	} else {
		if (holder->mode == MODE_NONE) {
			bool uncached = flags & MODE_WANT_UNCACHED ||
					atomic_load(&inode->vol->orphans);

			holder->mode = uncached ? MODE_UNCACHED : MODE_CACHED;
			holder->entering = may_be_stale(holder, holder->mode);
			result = holder->entering ? -EALREADY : 0;
		}
		count_handle(holder, flags, 1);
		*ret_mode = holder->mode;
	}
	sync_unlock(&holder->lock, HERE);
	return result;
}

void mode_enter(struct inode *inode)
{
	struct volume *vol = inode->vol;
	struct holder *holder = holder_of(inode);

	sync_assert_none_held(vol->sync, HERE);
	sync_pretend(vol->sync, LOCK_KERNEL_FOLIO, HERE);
	vol->holder_ops->notify(vol->holder_ctx, inode->ino, 0, 0);
	sync_lock(&holder->lock, 0, HERE);
	assert(holder->entering);
	holder->entering = false;
	holder->last_mode = holder->mode;
	holder_unlock_and_resume(inode, holder, HERE);
}

/* The mode ends with the last handle and the last client. */
static void maybe_leave(struct holder *holder)
{
	sync_assert_locked(&holder->lock);
	if (holder->nhandles || holder->nattached)
		return;
	holder->last_mode = holder->mode;
	holder->mode = MODE_NONE;
}

void mode_detached(struct holder *holder)
{
	sync_assert_locked(&holder->lock);
	assert(holder->nattached);
	holder->nattached--;
	maybe_leave(holder);
}

void mode_release(struct inode *inode, unsigned flags)
{
	struct holder *holder = holder_of(inode);

	sync_lock(&holder->lock, 0, HERE);
	assert(holder->nhandles && holder->mode != MODE_NONE);
	count_handle(holder, flags, -1);
	maybe_leave(holder);
	holder_unlock_and_resume(inode, holder, HERE);
}

bool mode_hold_uncached(struct inode *inode)
{
	struct holder *holder = atomic_load(&inode->holder);
	bool uncached;

	if (!holder)
		return false;
	sync_lock(&holder->lock, 0, HERE);
	uncached = holder->mode == MODE_UNCACHED;
	if (uncached)
		count_handle(holder, 0, 1);
	sync_unlock(&holder->lock, HERE);
	return uncached;
}

enum file_mode mode_of(struct inode *inode)
{
	struct holder *holder = atomic_load(&inode->holder);
	enum file_mode mode;

	if (!holder)
		return MODE_NONE;
	sync_lock(&holder->lock, 0, HERE);
	mode = holder->mode;
	sync_unlock(&holder->lock, HERE);
	return mode;
}

int mode_claim_uncached(struct inode *inode)
{
	struct holder *holder = holder_of(inode);
	int err = 0;

	if (!holder)
		return -ENOMEM;
	sync_lock(&holder->lock, 0, HERE);
	if (holder->mode == MODE_CACHED)
		err = -EBUSY;
	else
		holder->last_mode = MODE_UNCACHED;
	sync_unlock(&holder->lock, HERE);
	return err;
}

bool mode_may_have_stores(struct inode *inode)
{
	struct holder *holder = atomic_load(&inode->holder);
	bool has = false;

	if (!holder)
		return false;
	sync_lock(&holder->lock, 0, HERE);
	has = holder->mode == MODE_CACHED && holder->nstorers;
	sync_unlock(&holder->lock, HERE);
	return has;
}
