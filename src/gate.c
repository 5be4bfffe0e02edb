/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * gate.c - gates, admissions and discards of one inode. The protocol is in gate.h, the models that
 * were checked in docs/model/. Everything here happens under holder->lock; nothing here waits,
 * except those who open or close a gate and said that they may.
 */
#include "gate.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "format.h"
#include "grant.h"
#include "inode.h"
#include "mem.h"
#include "volume.h"

/* Above this many discards, old ones go: the kernel truncated those pages long ago. */
#define MAX_DISCARDS 1024u

static bool overlap(uint64_t a_pos, uint64_t a_end, uint64_t b_pos, uint64_t b_end)
{
	return a_pos < b_end && b_pos < a_end;
}

static uint64_t adm_end(const struct admission *adm)
{
	return adm->pos + adm->len;
}

static bool is_write(const struct admission *adm)
{
	return adm->kind == ADMIT_WRITE || adm->kind == ADMIT_WRITEBACK;
}

/* ---- admissions ----------------------------------------------------------------------------------- */

static void adm_append(struct holder *holder, struct admission *adm)
{
	struct admission **link = &holder->admissions;

	sync_assert_locked(&holder->lock);
	while (*link)
		link = &(*link)->next;
	adm->next = NULL;
	*link = adm;
}

/* Whether @adm has a place in the list already. */
static bool adm_known(const struct holder *holder, const struct admission *adm)
{
	const struct admission *a = holder->admissions;

	sync_assert_locked(&holder->lock);
	while (a && a != adm)
		a = a->next;
	return a;
}

int gate_announce(struct inode *inode, struct admission *adm)
{
	struct holder *holder = holder_of(inode);

	if (!holder)
		return -ENOMEM;
	adm->admitted = false;
	sync_lock(&holder->lock, 0, HERE);
	adm_append(holder, adm);
	sync_unlock(&holder->lock, HERE);
	return 0;
}

/* An overlapping write that arrived earlier has to be applied earlier. */
static bool has_to_follow(const struct holder *holder, const struct admission *adm)
{
	sync_assert_locked(&holder->lock);
	if (!is_write(adm))
		return false;
	for (const struct admission *a = holder->admissions; a && a != adm; a = a->next)
		if (is_write(a) && overlap(a->pos, adm_end(a), adm->pos, adm_end(adm)))
			return true;
	return false;
}

enum verdict { ADMIT, PARK, HOLD_OVER };

static enum verdict judge(const struct holder *holder, const struct admission *adm)
{
	enum verdict verdict = ADMIT;

	sync_assert_locked(&holder->lock);
	for (const struct gate *gate = holder->gates; gate; gate = gate->next) {
		if (!overlap(gate->pos, gate->end, adm->pos, adm_end(adm)))
			continue;
		if (gate->state == GATE_CLOSED)
			return PARK;
		/* Only for a while: a notify may be waiting for this very fill. */
		if (gate->state == GATE_NOTIFYING && adm->kind == ADMIT_FILL && !adm->held_over)
			verdict = HOLD_OVER;
	}
	return has_to_follow(holder, adm) ? PARK : verdict;
}

/* Those who invalidate have to know that somebody may have taken a copy since. */
static void mark_seen(struct holder *holder, const struct admission *adm)
{
	sync_assert_locked(&holder->lock);
	if (adm->kind == ADMIT_WRITEBACK)
		return;
	for (struct gate *gate = holder->gates; gate; gate = gate->next)
		if (overlap(gate->pos, gate->end, adm->pos, adm_end(adm)))
			gate->seen = true;
}

static bool discard_is_tight(const struct holder *holder);
static int discard_reserve(struct inode *inode, struct holder *holder);
static void discard_end(struct holder *holder, const struct admission *adm);

int gate_admit(struct inode *inode, struct admission *adm)
{
	struct volume *vol = inode->vol;
	struct holder *holder = holder_of(inode);
	enum verdict verdict;

	if (!holder)
		return -ENOMEM;
	sync_lock(&holder->lock, 0, HERE);
	while (adm->kind == ADMIT_FILL && discard_is_tight(holder)) {
		int err;

		sync_unlock(&holder->lock, HERE);
		err = discard_reserve(inode, holder);
		if (err)
			return err;
		sync_lock(&holder->lock, 0, HERE);
	}
	verdict = judge(holder, adm);
	if (verdict == ADMIT) {
		if (!adm_known(holder, adm))
			adm_append(holder, adm);
		adm->admitted = true;
		mark_seen(holder, adm);
		/*
		 * The kernel asks because it has no copy any more. What it writes back from now on is
		 * of the new one, also when it has our answer and we have not yet left. A direct read
		 * says nothing about what it has.
		 */
		if (adm->kind == ADMIT_FILL)
			discard_end(holder, adm);
	} else if (verdict == PARK) {
		holder_park(holder, adm->waiter);
	} else {
		adm->held_over = true;
	}
	sync_unlock(&holder->lock, HERE);
	if (verdict == ADMIT)
		return 0;
	atomic_fetch_add(&vol->stat.parked, 1);
	if (verdict == HOLD_OVER)
		vol->holder_ops->resume(vol->holder_ctx, adm->waiter, FILL_HOLD_NS);
	return -EINPROGRESS;
}

void gate_leave(struct inode *inode, struct admission *adm, int result)
{
	struct holder *holder = holder_of(inode);
	struct admission **link = &holder->admissions;

	sync_lock(&holder->lock, 0, HERE);
	while (adm->kind == ADMIT_WRITE && discard_is_tight(holder)) {
		int err;

		sync_unlock(&holder->lock, HERE);
		err = discard_reserve(inode, holder);
		sync_lock(&holder->lock, 0, HERE);
		if (err)
			break; /* discard_cut() says what that costs */
	}
	while (*link != adm)
		link = &(*link)->next;
	*link = adm->next;
	/* A write is not counted as out before, so a writeback of what it left in the cache waits. */
	if (adm->kind == ADMIT_WRITE && !result)
		discard_end(holder, adm);
	for (struct gate *gate = holder->gates; gate; gate = gate->next)
		if (is_write(adm) && result &&
		    overlap(gate->pos, gate->end, adm->pos, adm_end(adm)))
			gate->failed = result;
	if (!holder->parked && !holder->gates) {
		sync_unlock(&holder->lock, HERE); /* nobody waits for anything */
		return;
	}
	holder_unlock_and_resume(inode, holder, HERE);
}

/* ---- gates ------------------------------------------------------------------------------------------ */

/* For whoever watches; where the state changes under holder->lock, so in that order. */
static void tell_watchers(const struct inode *inode, const struct gate *gate, enum sync_step step,
			  int result)
{
	sync_tell(inode->vol->sync,
		  &(struct sync_told){
			  .kind = SYNC_GATE,
			  .step = step,
			  .result = result,
			  .ino = inode->ino,
			  .pos = gate->pos,
			  .len = gate->end == UINT64_MAX ? UINT64_MAX : gate->end - gate->pos,
		  },
		  HERE);
}

static bool gate_conflicts(const struct holder *holder, uint64_t pos, uint64_t end)
{
	sync_assert_locked(&holder->lock);
	for (const struct gate *gate = holder->gates; gate; gate = gate->next)
		if (overlap(gate->pos, gate->end, pos, end))
			return true;
	return false;
}

int gate_open(struct inode *inode, struct gate *gate, uint64_t pos, uint64_t end, bool may_wait)
{
	struct holder *holder = holder_of(inode);
	int err = 0;

	if (!holder)
		return -ENOMEM;
	*gate = (struct gate){ .pos = pos, .end = end, .state = GATE_OPEN };
	sync_lock(&holder->lock, 0, HERE);
	while (gate_conflicts(holder, pos, end) && may_wait)
		sync_wait(&holder->changed, &holder->lock, HERE);
	if (gate_conflicts(holder, pos, end)) {
		err = -EAGAIN;
	} else {
		gate->next = holder->gates;
		holder->gates = gate;
		tell_watchers(inode, gate, SYNC_BEGIN, 0);
	}
	sync_unlock(&holder->lock, HERE);
	return err;
}

/* From here on it counts who comes in; what was seen before is about to be dropped. */
static void gate_begin_notify(struct holder *holder, struct gate *gate)
{
	sync_lock(&holder->lock, 0, HERE);
	gate->state = GATE_NOTIFYING;
	gate->seen = false;
	sync_unlock(&holder->lock, HERE);
}

void gate_notify(struct inode *inode, struct gate *gate, uint64_t pos, uint64_t end)
{
	struct volume *vol = inode->vol;
	struct holder *holder = holder_of(inode);

	sync_assert_none_held(vol->sync, HERE);
	sync_pretend(vol->sync, LOCK_KERNEL_FOLIO, HERE);
	if (gate->state != GATE_NOTIFYING)
		gate_begin_notify(holder, gate);
	tell_watchers(inode, gate, SYNC_NOTIFY, 0);
	vol->holder_ops->notify(vol->holder_ctx, inode->ino, pos, end - pos);
}

int gate_recall(struct inode *inode, struct gate *gate, uint64_t deadline)
{
	gate->recalled = gate_has_grants(inode, gate);
	return gate->recalled ? grant_recall(inode, gate->pos, gate->end, deadline) : 0;
}

void gate_recall_wait(struct inode *inode, struct gate *gate, uint64_t deadline)
{
	if (!gate->recalled)
		return;
	sync_assert_none_held(inode->vol->sync, HERE);
	sync_pretend(inode->vol->sync, LOCK_CLIENT_MMAP, HERE);
	grant_recall_wait(inode, gate->pos, gate->end, deadline);
}

bool gate_has_grants(struct inode *inode, const struct gate *gate)
{
	struct holder *holder = holder_of(inode);
	bool has;

	sync_lock(&holder->lock, 0, HERE);
	has = grant_exists(holder, gate->pos, gate->end);
	sync_unlock(&holder->lock, HERE);
	return has;
}

static bool somebody_in(const struct holder *holder, const struct gate *gate)
{
	sync_assert_locked(&holder->lock);
	for (const struct admission *adm = holder->admissions; adm; adm = adm->next)
		if (adm->admitted && overlap(gate->pos, gate->end, adm->pos, adm_end(adm)))
			return true;
	return false;
}

int gate_close(struct inode *inode, struct gate *gate, bool invalidated, bool may_wait)
{
	struct holder *holder = holder_of(inode);
	int err = 0;

	sync_rw_assert(&inode->iolock, SYNC_EXCL);
	sync_lock(&holder->lock, 0, HERE);
	gate->state = GATE_CLOSED;
	tell_watchers(inode, gate, SYNC_CLOSING, 0);
	while (somebody_in(holder, gate) && may_wait)
		sync_wait(&holder->changed, &holder->lock, HERE);
	if (gate->failed)
		err = gate->failed;
	else if (somebody_in(holder, gate) || (invalidated && gate->seen) ||
		 grant_exists(holder, gate->pos, gate->end))
		err = -EAGAIN;
	if (!err)
		tell_watchers(inode, gate, SYNC_CLOSED, 0);
	sync_unlock(&holder->lock, HERE);
	return err;
}

void gate_reopen(struct inode *inode, struct gate *gate)
{
	struct holder *holder = holder_of(inode);

	sync_lock(&holder->lock, 0, HERE);
	gate->state = GATE_OPEN;
	tell_watchers(inode, gate, SYNC_REOPENED, 0);
	holder_unlock_and_resume(inode, holder, HERE);
}

void gate_end(struct inode *inode, struct gate *gate, bool changed)
{
	struct holder *holder = holder_of(inode);
	struct gate **link = &holder->gates;

	sync_lock(&holder->lock, 0, HERE);
	while (*link != gate)
		link = &(*link)->next;
	*link = gate->next;
	if (changed)
		holder->generation++;
	tell_watchers(inode, gate, SYNC_END, 0);
	holder_unlock_and_resume(inode, holder, HERE);
}

/* ---- discards --------------------------------------------------------------------------------------------- */

/* Whoever ends a discard may split one; whoever adds one may split another, and needs its place. */
#define DISCARD_ROOM 3

static bool discard_is_tight(const struct holder *holder)
{
	sync_assert_locked(&holder->lock);
	return holder->ndiscards && holder->ndiscards + DISCARD_ROOM > holder->discard_room;
}

static int discard_reserve(struct inode *inode, struct holder *holder)
{
	struct discard *discards, *old;
	size_t room;

	sync_lock(&holder->lock, 0, HERE);
	room = 0;
	if (holder->ndiscards + DISCARD_ROOM > holder->discard_room)
		room = 2 * holder->ndiscards + DISCARD_ROOM + 1;
	sync_unlock(&holder->lock, HERE);
	if (!room)
		return 0;
	discards = mem_alloc(inode->vol->mem, room * sizeof(*discards));
	if (!discards)
		return -ENOMEM;
	sync_lock(&holder->lock, 0, HERE);
	old = discards; /* somebody else was faster */
	if (room > holder->discard_room) {
		if (holder->ndiscards)
			memcpy(discards, holder->discards, holder->ndiscards * sizeof(*discards));
		old = holder->discards;
		holder->discards = discards;
		holder->discard_room = room;
	}
	sync_unlock(&holder->lock, HERE);
	mem_free(inode->vol->mem, old);
	return 0;
}

int gate_discard_prepare(struct inode *inode)
{
	struct holder *holder = holder_of(inode);

	return holder ? discard_reserve(inode, holder) : -ENOMEM;
}

static void discard_del(struct holder *holder, size_t i)
{
	sync_assert_locked(&holder->lock);
	holder->ndiscards--;
	memmove(&holder->discards[i], &holder->discards[i + 1],
		(holder->ndiscards - i) * sizeof(holder->discards[0]));
}

/* Whole pages [@first, @end) have a new copy in the kernel: old ones are gone. */
static void discard_cut(struct holder *holder, uint64_t first, uint64_t end)
{
	sync_assert_locked(&holder->lock);
	for (size_t i = holder->ndiscards; i-- > 0;) {
		struct discard *d = &holder->discards[i];

		if (!overlap(d->first, d->end, first, end))
			continue;
		if (d->first < first && d->end > end) {
			/*
			 * Only without memory, when a write(2) leaves, is there no room for the second
			 * half. Then it is given up: a punched page may come back, but nothing new is lost.
			 */
			if (holder->ndiscards < holder->discard_room)
				holder->discards[holder->ndiscards++] =
					(struct discard){ end, d->end };
			d->end = first;
		} else if (d->first < first) {
			d->end = first;
		} else if (d->end > end) {
			d->first = end;
		} else {
			discard_del(holder, i);
		}
	}
}

static void discard_end(struct holder *holder, const struct admission *adm)
{
	sync_assert_locked(&holder->lock);
	if (holder->ndiscards && adm->len)
		discard_cut(holder, adm->pos >> BLOCK_SHIFT,
			    (adm_end(adm) + BLOCK_BYTES - 1) >> BLOCK_SHIFT);
}

void gate_discard(struct inode *inode, uint64_t first, uint64_t end)
{
	struct holder *holder = holder_of(inode);

	if (first >= end)
		return;
	sync_lock(&holder->lock, 0, HERE);
	discard_cut(holder, first, end);
	if (holder->ndiscards >= MAX_DISCARDS)
		discard_del(holder, 0);
	assert(holder->ndiscards < holder->discard_room);
	holder->discards[holder->ndiscards++] = (struct discard){ first, end };
	sync_unlock(&holder->lock, HERE);
}

bool gate_discarded(struct inode *inode, uint64_t pos, uint64_t len, uint64_t *ret_len)
{
	struct holder *holder = holder_of(inode);
	uint64_t end = pos + len;
	bool discarded = false;

	sync_lock(&holder->lock, 0, HERE);
	for (size_t i = 0; i < holder->ndiscards; i++) {
		uint64_t first = holder->discards[i].first << BLOCK_SHIFT;
		uint64_t stop = holder->discards[i].end << BLOCK_SHIFT;

		if (pos >= first && pos < stop) {
			discarded = true;
			end = stop < pos + len ? stop : pos + len;
			break;
		}
		if (first > pos && first < end)
			end = first;
	}
	sync_unlock(&holder->lock, HERE);
	*ret_len = end - pos;
	return discarded;
}
