/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * mmaplock.c - the lock between page faults and layout changes, and the policy built on it.
 *
 * A fault takes the mmaplock shared. A layout change opens a gate, invalidates, takes iolock and
 * mmaplock exclusively, closes the gate, and keeps all of it to the end of the manipulation. What
 * is invalidated depends on who can hold a copy:
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
 * Rounds: when somebody came in during the notify, it is done again, until GATE_MAX_ROUNDS. Then
 * the change goes on without: the kernel truncates after the reply, and what can go wrong is that
 * an old copy of an edge page is written back and its punched bytes are on the medium again.
 * Counted in stat.gate_gave_up.
 */
#include "mmaplock.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "gate.h"
#include "inode.h"
#include "layout.h"
#include "mode.h"
#include "udax/policy.h"
#include "volume.h"

/* ---- the locks ------------------------------------------------------------------------------------ */

void mmaplock_shared(struct inode *inode, uint64_t pos, uint64_t len, const struct sync_site *site)
{
	(void)pos, (void)len; /* this lock is the whole inode's */
	sync_rw_lock(&inode->mmaplock, SYNC_SHARED, 0, site);
}

void mmaplock_unshared(struct inode *inode, uint64_t pos, uint64_t len,
		       const struct sync_site *site)
{
	(void)pos, (void)len;
	sync_rw_unlock(&inode->mmaplock, SYNC_SHARED, site);
}

void mmaplock_excl(struct inode *inode, struct inode *other, const struct sync_site *site)
{
	struct inode *first = inode, *second = other;

	if (other && other->ino < inode->ino) {
		first = other;
		second = inode;
	}
	sync_rw_lock(&first->iolock, SYNC_EXCL, 0, site);
	if (second)
		sync_rw_lock(&second->iolock, SYNC_EXCL, 1, site);
	sync_rw_lock(&first->mmaplock, SYNC_EXCL, 0, site);
	if (second)
		sync_rw_lock(&second->mmaplock, SYNC_EXCL, 1, site);
}

void mmaplock_unexcl(struct inode *inode, struct inode *other, const struct sync_site *site)
{
	sync_rw_unlock(&inode->mmaplock, SYNC_EXCL, site);
	sync_rw_unlock(&inode->iolock, SYNC_EXCL, site);
	if (!other)
		return;
	sync_rw_unlock(&other->mmaplock, SYNC_EXCL, site);
	sync_rw_unlock(&other->iolock, SYNC_EXCL, site);
}

/* ---- the policy -------------------------------------------------------------------------------------- */

static void fault_enter(struct inode *inode, uint64_t pos, uint64_t len, bool write,
			const struct sync_site *site)
{
	(void)write;
	mmaplock_shared(inode, pos, len, site);
}

static void fault_exit(struct inode *inode, uint64_t pos, uint64_t len,
		       const struct sync_site *site)
{
	mmaplock_unshared(inode, pos, len, site);
}

static int fill_enter(struct inode *inode, struct admission *adm)
{
	return gate_admit(inode, adm);
}

static void fill_exit(struct inode *inode, struct admission *adm, int result)
{
	gate_leave(inode, adm, result);
}

static uint64_t range_end(uint64_t pos, uint64_t len)
{
	return len > UINT64_MAX - pos ? UINT64_MAX : pos + len;
}

static int open_gates(struct layout_change *change)
{
	struct inode *first = change->inode, *second = change->other;
	uint64_t first_pos = change->pos, second_pos = change->other_pos;
	int err;

	/* Two gates in inode order too: they wait for others like locks. */
	if (second && second->ino < first->ino) {
		first = change->other;
		second = change->inode;
		first_pos = change->other_pos;
		second_pos = change->pos;
	}
	err = gate_open(first, &change->gates[0], first_pos, range_end(first_pos, change->len),
			change->may_wait);
	if (err || !second)
		return err;
	err = gate_open(second, &change->gates[1], second_pos, range_end(second_pos, change->len),
			change->may_wait);
	if (err)
		gate_end(first, &change->gates[0], false);
	return err;
}

/* The inode that gates[i] stands on; NULL: there is none. */
static struct inode *gate_inode(const struct layout_change *change, unsigned i)
{
	bool swapped = change->other && change->other->ino < change->inode->ino;

	return (i == 0) != swapped ? change->inode : change->other;
}

static void end_gates(struct layout_change *change, bool changed)
{
	for (unsigned i = 0; i < 2; i++)
		if (gate_inode(change, i))
			gate_end(gate_inode(change, i), &change->gates[i], changed);
}

/* Everybody is asked before anybody is waited for, and for all there is one deadline. */
static int recall(struct layout_change *change)
{
	struct sync *sync = change->inode->vol->sync;
	uint64_t began = sync_now_ns(sync);
	int err = 0;

	for (unsigned i = 0; i < 2; i++)
		if (gate_inode(change, i) && !err)
			err = gate_recall(gate_inode(change, i), &change->gates[i],
					  change->deadline);
	for (unsigned i = 0; i < 2; i++)
		if (gate_inode(change, i))
			gate_recall_wait(gate_inode(change, i), &change->gates[i],
					 change->deadline);
	change->waited_ns += sync_now_ns(sync) - began;
	return err;
}

/* Returns whether something was notified, which then must not have been entered since. */
static bool notify(struct layout_change *change)
{
	struct gate *gate = &change->gates[0];

	if (!change->nedges || change->mode != MODE_CACHED)
		return false;
	for (unsigned i = 0; i < change->nedges; i++)
		gate_notify(change->inode, gate, change->edges[i].pos, change->edges[i].end);
	return true;
}

/* With the locks held: close every gate and look at the mode again. */
static int close_gates(struct layout_change *change, bool invalidated)
{
	for (unsigned i = 0; i < 2; i++) {
		struct inode *inode = gate_inode(change, i);
		int err;

		if (!inode)
			continue;
		err = gate_close(inode, &change->gates[i], invalidated, change->may_wait);
		if (err)
			return err;
		err = change->needs_uncached ? mode_claim_uncached(inode) : 0;
		if (err)
			return err;
	}
	/* Cached since we looked: its edges were not notified. */
	if (change->nedges && change->mode != MODE_CACHED && mode_of(change->inode) == MODE_CACHED)
		return -EAGAIN;
	return 0;
}

/* Nobody waits at a gate behind which nothing happens. */
static void reopen_gates(struct layout_change *change)
{
	for (unsigned i = 0; i < 2; i++)
		if (gate_inode(change, i))
			gate_reopen(gate_inode(change, i), &change->gates[i]);
}

static int one_round(struct layout_change *change, bool last, const struct sync_site *site)
{
	bool invalidated;
	int err;

	change->mode = mode_of(change->inode);
	if (change->needs_uncached && change->mode == MODE_CACHED)
		return -EBUSY;
	if (!change->may_wait && change->nedges && change->mode == MODE_CACHED)
		return -EAGAIN; /* a notify is due */
	for (unsigned i = 0; i < 2 && !change->may_wait; i++)
		if (gate_inode(change, i) &&
		    gate_has_grants(gate_inode(change, i), &change->gates[i]))
			return -EAGAIN; /* a recall is */
	err = recall(change);
	if (err)
		return err;
	invalidated = notify(change);
	mmaplock_excl(change->inode, change->other, site);
	err = close_gates(change, invalidated && !last);
	if (err) {
		mmaplock_unexcl(change->inode, change->other, site);
		reopen_gates(change);
	}
	return err;
}

static int layout_enter(struct layout_change *change, const struct sync_site *site)
{
	struct volume *vol = change->inode->vol;
	int err = open_gates(change);

	if (err)
		return err;
	if (change->fits && !change->fits(change)) {
		end_gates(change, false);
		return -ESTALE;
	}
	change->deadline = sync_now_ns(vol->sync) + vol->recall_timeout_ns;
	for (unsigned round = 1;; round++) {
		bool last = round >= GATE_MAX_ROUNDS;

		atomic_fetch_add(&vol->stat.gate_rounds, 1);
		err = one_round(change, last, site);
		if (!err) {
			atomic_fetch_add(&vol->stat.gate_gave_up, last);
			atomic_fetch_add(&vol->stat.layout_changes, 1);
			return 0;
		}
		if (err != -EAGAIN || !change->may_wait)
			break;
	}
	end_gates(change, false);
	return err;
}

static void layout_exit(struct layout_change *change, const struct sync_site *site)
{
	mmaplock_unexcl(change->inode, change->other, site);
	end_gates(change, true);
}

const struct udax_policy policy_mmaplock = {
	.name = "mmaplock",
	.summary = "one reader/writer lock an inode: faults shared, layout changes exclusive",
	.sound = true,
	.zeroing = ZERO_IN_GET_BLOCKS,
	.fault_enter = fault_enter,
	.fault_exit = fault_exit,
	.fill_enter = fill_enter,
	.fill_exit = fill_exit,
	.layout_enter = layout_enter,
	.layout_exit = layout_exit,
};

static const struct udax_policy *const policies[] = { &policy_mmaplock, NULL };

const struct udax_policy *const *policy_list(void)
{
	return policies;
}

const struct udax_policy *policy_find(const char *name)
{
	for (const struct udax_policy *const *policy = policies; *policy; policy++)
		if (strcmp((*policy)->name, name) == 0)
			return *policy;
	return NULL;
}
