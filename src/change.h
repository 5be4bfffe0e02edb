/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * change.h - a layout change's way through its gates: what policies are made of.
 *
 * A policy decides what is locked and in which order (udax/policy.h). What is invalidated, and how,
 * does not depend on it, but on who can hold a copy:
 *
 *   nobody has it open  nothing: the kernel takes care of its own cache
 *   cached, truncate    nothing: the kernel holds i_rwsem, has stopped writeback, and truncates its
 *                       cache when we have replied. A notify with a dirty folio would hang.
 *   cached, punch/zero  whole pages: nothing, old copies that are written back are discarded
 *                       (gate.h); the pages at the edges, which the kernel keeps: notify
 *   uncached            recall the clients
 *
 * In cached mode a notify happens only here, for a request (FALLOCATE) that holds i_rwsem. Without
 * that, write(2) may have put a folio into the cache whose FUSE_WRITE we have not seen, and
 * dropping it would leave a mapping old for good.
 *
 * All of these are for the thread that makes the change, one after the other; they work on one inode
 * or two, in inode order.
 */
#ifndef UDAX_CHANGE_H
#define UDAX_CHANGE_H

#include <stdbool.h>

#include "layout.h"
#include "sync.h"

/**
 * change_inode - the @i-th inode of the change in lock order, i = 0 or 1; NULL: there is none. The range
 * of it that changes is that of change->gates[@i], once these are open.
 */
struct inode *change_inode(const struct layout_change *change, unsigned i);

/** What a policy locks for a layout change, of both inodes if there are two. */
struct change_locks {
	void (*lock)(struct layout_change *change, const struct sync_site *site);
	void (*unlock)(struct layout_change *change, const struct sync_site *site);
	void (*assert_locked)(const struct layout_change *change); /* abort unless it is */
};

/**
 * change_enter - the whole way, in the right order: gates opened, invalidated, @locks taken, gates
 * closed; again, if somebody came in meanwhile. Errors as policy->layout_enter(), which this is for a
 * policy that differs by its locks. change_exit - undo that; the layout has changed.
 */
int change_enter(struct layout_change *change, const struct change_locks *locks,
		 const struct sync_site *site);
void change_exit(struct layout_change *change, const struct change_locks *locks,
		 const struct sync_site *site);

/**
 * change_open - announce: open the gates. -EAGAIN: others stand there, and may_wait is false; -ESTALE:
 * change->fits() says that it is the wrong range; -ENOMEM.
 * change_end - forget them; @changed: the layout has changed.
 */
int change_open(struct layout_change *change);
void change_end(struct layout_change *change, bool changed);

/**
 * change_prepare - look at the mode (change->mode), and whether invalidating means to wait. -EBUSY:
 * cached mode is in the way; -EAGAIN: it does, and may_wait is false.
 */
int change_prepare(struct layout_change *change);

/**
 * change_recall - take back what clients hold: returns when they have given it back, or are late. -ENOMEM.
 * change_notify - drop what the kernel holds of the edges; returns whether there was anything to drop.
 * Both under open gates and with nothing held.
 */
int change_recall(struct layout_change *change);
bool change_notify(struct layout_change *change);

/**
 * change_close - with the iolocks held exclusively, and faults excluded: close every gate, and look at
 * the mode again. @notified: nobody must have come in since. Errors as gate_close(); -EBUSY.
 * change_reopen - closed gates are open again.
 */
int change_close(struct layout_change *change, bool notified);
void change_reopen(struct layout_change *change);

/** change_iolock - exclude I/O: the iolocks, exclusively. change_iounlock - release them. */
void change_iolock(struct layout_change *change, const struct sync_site *site);
void change_iounlock(struct layout_change *change, const struct sync_site *site);

#endif
