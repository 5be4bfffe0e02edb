/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * mode.h - the two modes of a file. The first open decides, until the last handle is released and
 * no client is attached:
 *
 *   cached    an ordinary open: the kernel may hold copies and mappings, no client maps directly;
 *             the layout changes through the kernel only (truncate, fallocate)
 *   uncached  an open with O_DIRECT: reads and writes go to the medium, clients may map it, every
 *             layout change is possible; the kernel holds no shared copy
 *
 * While clients of an earlier daemon may map the region, every file is in uncached mode.
 *
 * The mode is decided and left under the holder's lock, in one step with the count of handles.
 */
#ifndef UDAX_MODE_H
#define UDAX_MODE_H

#include <stdbool.h>

#include "holder.h"

struct inode;

enum mode_flags {
	MODE_WANT_UNCACHED = 1, /* O_DIRECT */
	MODE_WRITER = 2,	/* opened for writing */
	MODE_STORER = 4,	/* opened for reading and writing: may be mapped for stores */
};

/**
 * mode_open - count one more handle. Returns
 *   0             *@ret_mode is the file's mode;
 *   -EINPROGRESS  another open is entering a mode: @waiter is parked, call again when resumed;
 *   -EALREADY     this open enters a mode in which old copies may be left in the kernel: call
 *                 mode_enter() from a thread that holds nothing and serves no requests; then it
 *                 is as with 0;
 *   -ENOMEM.
 */
int mode_open(struct inode *inode, unsigned flags, struct waiter *waiter, enum file_mode *ret_mode);

/** mode_enter - notify the kernel, then resume the opens that were parked. */
void mode_enter(struct inode *inode);

/** mode_release - one handle less, opened with @flags. The last one ends the mode. */
void mode_release(struct inode *inode, unsigned flags);

/** mode_detached - one client less. The holder's lock is held. */
void mode_detached(struct holder *holder);

/**
 * mode_hold_uncached - count one more handle, without flags, if the file is open in uncached mode:
 * undone by mode_release(). False: it is not.
 */
bool mode_hold_uncached(struct inode *inode);

/** mode_of - the mode now. It may change as soon as this returns, unless the caller has a handle. */
enum file_mode mode_of(struct inode *inode);

/**
 * mode_may_have_stores - whether the kernel may have folios that stores to a mapping dirtied: the
 * file is in cached mode and a handle exists that could be mapped so.
 */
bool mode_may_have_stores(struct inode *inode);

/**
 * mode_claim_uncached - a change of the layout that the kernel does not know of is about to happen:
 * -EBUSY in cached mode. Else 0, and a cached open that comes after it notifies first. In one step
 * under the holder's lock, because that open may come at any time.
 */
int mode_claim_uncached(struct inode *inode);

#endif
