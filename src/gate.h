/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * gate.h - keeping a range of a file invalid while its layout changes.
 *
 * One protocol for every layout change:
 *
 *   open        announce the intent. From here no grant is given on the range, and no second gate
 *               opened. Nothing is held that a request on this inode could wait for.
 *   invalidate  recall the clients, or notify the kernel, from a thread that holds nothing.
 *   close       take iolock and mmaplock exclusively, let nobody in any more, and wait for those
 *               who are. Anyone who came in since the invalidation began may have a copy: then
 *               let go, and invalidate again.
 *   (manipulate)
 *   end         raise the generation, release, resume what was parked.
 *
 * A fill never waits for a notify or recall longer than its while (FILL_HOLD_NS): a process may
 * sit in it with its mmap_lock held, while the answer to the recall needs that lock. A closing or
 * closed gate waits for nobody but admitted requests, and these wait for nobody.
 *
 * Requests of the page cache are *admitted*: counted, from before they look at the layout until
 * after their reply was composed. Writes are announced when they arrive, and those that overlap are
 * admitted in that order.
 */
#ifndef UDAX_GATE_H
#define UDAX_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "holder.h"

struct inode;

/** How long a fill is held over while a notify runs. */
#define FILL_HOLD_NS UINT64_C(300000)

/** After so many rounds a change goes on although somebody keeps coming in: see layout.c. */
#define GATE_MAX_ROUNDS 64u

/**
 * gate_announce - a write has arrived: give it its place in the order. Called in the order in which
 * the kernel sent them. Undone by gate_leave(). -ENOMEM.
 */
int gate_announce(struct inode *inode, struct admission *adm);

/**
 * gate_admit - let a request in, in one step with looking at the gates.
 * 0: it is counted until gate_leave(). -EINPROGRESS: adm->waiter was parked; ask again when
 * resumed. -ENOMEM.
 */
int gate_admit(struct inode *inode, struct admission *adm);

/**
 * gate_leave - the request is done; @result is its error, or 0. A failed write makes the gates
 * that it meets fail.
 */
void gate_leave(struct inode *inode, struct admission *adm, int result);

/**
 * gate_open - announce a change of [@pos, @end). 0, or -EAGAIN when another gate overlaps: with
 * @may_wait it waits for that one to end instead. -ENOMEM.
 */
int gate_open(struct inode *inode, struct gate *gate, uint64_t pos, uint64_t end, bool may_wait);

/** gate_notify - drop the kernel's copies of [@pos, @end), a part of the gate's range. */
void gate_notify(struct inode *inode, struct gate *gate, uint64_t pos, uint64_t end);

/**
 * gate_recall - ask clients for what they hold of the gate's range, until @deadline; never waits. 0, or
 * -ENOMEM. gate_recall_wait - until they have answered, or the deadline is over; called in any case.
 * So that an operation with two gates asks for both before it waits for either.
 */
int gate_recall(struct inode *inode, struct gate *gate, uint64_t deadline);
void gate_recall_wait(struct inode *inode, struct gate *gate, uint64_t deadline);

/** gate_has_grants - whether there is anything to recall. */
bool gate_has_grants(struct inode *inode, const struct gate *gate);

/**
 * gate_close - wait until nobody is in. The caller has taken the iolock of the inode exclusively, and
 * whatever else the policy locks against faults.
 *
 * @invalidated: the range was notified, and must not have been entered since. No grant may be left
 * on it in any case, but those of late clients.
 * 0: closed. -EAGAIN: somebody came in since the notify began, or would have to be waited for and
 * @may_wait is false. Another error: a write to the range failed meanwhile, and the change must not
 * happen. After any error nobody is let in yet: the caller lets go of its locks, and opens the gate again.
 */
int gate_close(struct inode *inode, struct gate *gate, bool invalidated, bool may_wait);

/** gate_reopen - a gate that was closed, or could not be, is open again: resumes who was parked meanwhile. */
void gate_reopen(struct inode *inode, struct gate *gate);

/** gate_end - forget @gate, in any state; @changed: the layout has changed. Resumes everyone. */
void gate_end(struct inode *inode, struct gate *gate, bool changed);

/**
 * Discarding. The kernel truncates its cache after the reply to a punch; until then it may write
 * back what it still has of the punched pages. gate_discard remembers pages [@first, @end) that
 * were punched as a whole, while the gate is closed; room for that was made by
 * gate_discard_prepare() before anything changed (-ENOMEM). gate_discarded tells a writeback
 * whether the bytes at @pos are to be dropped, and how far that answer reaches (*@ret_len, at
 * most @len). A fill that is admitted, or a write(2) that leaves, ends it for its pages.
 */
int gate_discard_prepare(struct inode *inode);
void gate_discard(struct inode *inode, uint64_t first, uint64_t end);
bool gate_discarded(struct inode *inode, uint64_t pos, uint64_t len, uint64_t *ret_len);

#endif
