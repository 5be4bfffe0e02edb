/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * change.c - a layout change's way through its gates; see change.h.
 *
 * Rounds: when somebody came in during the notify, it is done again, until GATE_MAX_ROUNDS. Then
 * the change goes on without: the kernel truncates after the reply, and what can go wrong is that
 * an old copy of an edge page is written back and its punched bytes are on the medium again.
 * Counted in stat.gate_gave_up.
 */
#include "change.h"

#include <errno.h>

#include "gate.h"
#include "inode.h"
#include "mode.h"
#include "volume.h"

struct inode *change_inode(const struct layout_change *change, unsigned i)
{
	bool swapped = change->other && change->other->ino < change->inode->ino;

	return (i == 0) != swapped ? change->inode : change->other;
}

static uint64_t nth_pos(const struct layout_change *change, unsigned i)
{
	return change_inode(change, i) == change->inode ? change->pos : change->other_pos;
}

static uint64_t range_end(uint64_t pos, uint64_t len)
{
	return len > UINT64_MAX - pos ? UINT64_MAX : pos + len;
}

/* ---- gates ------------------------------------------------------------------------------------------ */

/* Two gates in inode order too: they wait for others like locks. */
int change_open(struct layout_change *change)
{
	int err = 0;

	for (unsigned i = 0; !err && i < 2 && change_inode(change, i); i++) {
		uint64_t pos = nth_pos(change, i);

		err = gate_open(change_inode(change, i), &change->gates[i], pos,
				range_end(pos, change->len), change->may_wait);
		if (err && i)
			gate_end(change_inode(change, 0), &change->gates[0], false);
	}
	if (!err && change->fits && !change->fits(change)) {
		change_end(change, false);
		err = -ESTALE;
	}
	return err;
}

void change_end(struct layout_change *change, bool changed)
{
	for (unsigned i = 0; i < 2 && change_inode(change, i); i++)
		gate_end(change_inode(change, i), &change->gates[i], changed);
}

int change_prepare(struct layout_change *change)
{
	change->mode = mode_of(change->inode);
	if (change->needs_uncached && change->mode == MODE_CACHED)
		return -EBUSY;
	if (!change->may_wait && change->nedges && change->mode == MODE_CACHED)
		return -EAGAIN; /* a notify is due */
	for (unsigned i = 0; i < 2 && change_inode(change, i) && !change->may_wait; i++)
		if (gate_has_grants(change_inode(change, i), &change->gates[i]))
			return -EAGAIN; /* a recall is */
	return 0;
}

/* Everybody is asked before anybody is waited for, and for all there is one deadline. */
int change_recall(struct layout_change *change)
{
	struct volume *vol = change->inode->vol;
	uint64_t began = sync_now_ns(vol->sync);
	int err = 0;

	if (!change->deadline)
		change->deadline = began + vol->recall_timeout_ns;
	for (unsigned i = 0; i < 2 && change_inode(change, i) && !err; i++)
		err = gate_recall(change_inode(change, i), &change->gates[i], change->deadline);
	for (unsigned i = 0; i < 2 && change_inode(change, i); i++)
		gate_recall_wait(change_inode(change, i), &change->gates[i], change->deadline);
	change->waited_ns += sync_now_ns(vol->sync) - began;
	return err;
}

bool change_notify(struct layout_change *change)
{
	/* A change that is notified is of one inode. */
	struct gate *gate = &change->gates[0];

	if (!change->nedges || change->mode != MODE_CACHED)
		return false;
	for (unsigned i = 0; i < change->nedges; i++)
		gate_notify(change->inode, gate, change->edges[i].pos, change->edges[i].end);
	return true;
}

int change_close(struct layout_change *change, bool notified)
{
	for (unsigned i = 0; i < 2 && change_inode(change, i); i++) {
		struct inode *inode = change_inode(change, i);
		int err = gate_close(inode, &change->gates[i], notified, change->may_wait);

		if (!err && change->needs_uncached)
			err = mode_claim_uncached(inode);
		if (err)
			return err;
	}
	/* Cached since we looked: its edges were not notified. */
	if (change->nedges && change->mode != MODE_CACHED && mode_of(change->inode) == MODE_CACHED)
		return -EAGAIN;
	return 0;
}

/* Nobody waits at a gate behind which nothing happens. */
void change_reopen(struct layout_change *change)
{
	for (unsigned i = 0; i < 2 && change_inode(change, i); i++)
		gate_reopen(change_inode(change, i), &change->gates[i]);
}

void change_iolock(struct layout_change *change, const struct sync_site *site)
{
	for (unsigned i = 0; i < 2 && change_inode(change, i); i++)
		sync_rw_lock(&change_inode(change, i)->iolock, SYNC_EXCL, i, site);
}

void change_iounlock(struct layout_change *change, const struct sync_site *site)
{
	for (unsigned i = 0; i < 2 && change_inode(change, i); i++)
		sync_rw_unlock(&change_inode(change, i)->iolock, SYNC_EXCL, site);
}

/* ---- the whole way ---------------------------------------------------------------------------------- */

static int one_round(struct layout_change *change, const struct change_locks *locks, bool last,
		     const struct sync_site *site)
{
	bool notified;
	int err = change_prepare(change);

	if (err)
		return err;
	err = change_recall(change);
	if (err)
		return err;
	notified = change_notify(change);
	locks->lock(change, site);
	locks->assert_locked(change);
	err = change_close(change, notified && !last);
	if (err) {
		locks->unlock(change, site);
		change_reopen(change);
	}
	return err;
}

int change_enter(struct layout_change *change, const struct change_locks *locks,
		 const struct sync_site *site)
{
	struct volume *vol = change->inode->vol;
	int err = change_open(change);

	if (err)
		return err;
	for (unsigned round = 1;; round++) {
		bool last = round >= GATE_MAX_ROUNDS;

		atomic_fetch_add(&vol->stat.gate_rounds, 1);
		err = one_round(change, locks, last, site);
		if (!err) {
			atomic_fetch_add(&vol->stat.gate_gave_up, last);
			atomic_fetch_add(&vol->stat.layout_changes, 1);
			return 0;
		}
		if (err != -EAGAIN || !change->may_wait)
			break;
	}
	change_end(change, false);
	return err;
}

void change_exit(struct layout_change *change, const struct change_locks *locks,
		 const struct sync_site *site)
{
	locks->assert_locked(change);
	locks->unlock(change, site);
	change_end(change, true);
}
