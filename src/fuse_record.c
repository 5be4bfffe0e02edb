/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fuse_record.c - the ring of events (sync_record_start()) to a reader outside.
 *
 * An event names its place in the source by a pointer; outside it is a number, and what it stands for comes
 * once, in an event of its own, before it is used. That table of numbers belongs to the recording.
 */
#include "fuse_record.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "events.h"
#include "fuse_ioctl_call.h"
#include "sync.h"
#include "udax/ioctl.h"
#include "volume.h"

#define SITES 4096u /* more than there are; a hash table, so a power of two */

struct recorder {
	struct sync *sync;
	struct sync_mutex lock; /* LOCK_LEAF; over what follows, and who takes from the ring */
	uint64_t id;		/* of the recording; 0: none */
	uint64_t last_id;
	uint64_t read_ns; /* when it was last read */
	const struct sync_site **sites;
	uint32_t *numbers; /* of sites, from 1 */
	uint32_t nsites;
};

static_assert(sizeof(struct udax_ioc_event) == 56, "no padding");
static_assert(sizeof(struct udax_ioc_record_read) < 16384, "what a FUSE ioctl can carry");
static_assert((int)UDAX_EVENT_THREAD == (int)EVENT_THREAD, "one for one, but SITE");
static_assert((int)UDAX_EVENT_OPERATION == (int)EVENT_TOLD + SYNC_OPERATION + 1, "likewise");
static_assert((int)UDAX_EVENT_GATE == (int)EVENT_TOLD + SYNC_GATE + 1, "likewise");
static_assert((int)UDAX_STEP_REOPENED == (int)SYNC_REOPENED, "one for one");

struct recorder *recorder_new(struct sync *sync)
{
	struct recorder *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->sync = sync;
	sync_mutex_init(sync, &r->lock, LOCK_LEAF);
	return r;
}

/* r->lock held. */
static void end_recording(struct recorder *r)
{
	sync_record_stop(r->sync);
	free(r->sites);
	free(r->numbers);
	r->sites = NULL;
	r->numbers = NULL;
	r->nsites = 0;
	r->id = 0;
}

void recorder_delete(struct recorder *r)
{
	if (!r)
		return;
	end_recording(r);
	sync_mutex_destroy(&r->lock);
	free(r);
}

/* ---- starting and stopping ------------------------------------------------------------------------- */

/* r->lock held. */
static int begin_recording(struct recorder *r, uint32_t capacity)
{
	uint64_t now_ns = sync_now_ns(r->sync);
	int err;

	if (r->id && now_ns - r->read_ns < SYNC_RECORD_IDLE_NS)
		return -EBUSY;
	end_recording(r);
	r->sites = calloc(SITES, sizeof(r->sites[0]));
	r->numbers = calloc(SITES, sizeof(r->numbers[0]));
	err = r->sites && r->numbers ? sync_record_start(r->sync, capacity) : -ENOMEM;
	if (err) {
		end_recording(r);
		return err;
	}
	r->id = ++r->last_id;
	r->read_ns = now_ns;
	return 0;
}

int ioctl_record_start(struct ioctl_call *call)
{
	struct udax_ioc_record *out = (void *)call->arg;
	struct recorder *r = call->recorder;
	int err;

	if (out->id || out->capacity < EVENTS_MIN || out->capacity > EVENTS_MAX)
		return -EINVAL;
	sync_lock(&r->lock, 0, HERE);
	err = begin_recording(r, out->capacity);
	out->id = r->id;
	sync_unlock(&r->lock, HERE);
	return err;
}

int ioctl_record_stop(struct ioctl_call *call)
{
	const struct udax_ioc_record *in = (const void *)call->arg;
	struct recorder *r = call->recorder;
	int err = 0;

	sync_lock(&r->lock, 0, HERE);
	if (!in->id || in->id != r->id)
		err = -ESTALE;
	else
		end_recording(r);
	sync_unlock(&r->lock, HERE);
	return err;
}

/* ---- reading ---------------------------------------------------------------------------------------- */

/* The number of a site; *@ret_new when it has to be introduced. 0 when there is no room for more. */
static uint32_t site_number(struct recorder *r, const struct sync_site *site, bool *ret_new)
{
	uint32_t at = (uint32_t)(((uintptr_t)site * UINT64_C(0x9e3779b97f4a7c15)) >> 40);

	*ret_new = false;
	if (!site)
		return 0;
	for (at %= SITES; r->sites[at]; at = (at + 1) % SITES)
		if (r->sites[at] == site)
			return r->numbers[at];
	if (r->nsites == SITES - 1)
		return 0;
	*ret_new = true;
	r->sites[at] = site;
	r->numbers[at] = ++r->nsites;
	return r->nsites;
}

static void put_site(struct udax_ioc_record_read *out, const struct event *event, uint32_t number)
{
	struct udax_ioc_event *to = &out->events[out->count++];

	to->time_ns = event->time_ns;
	to->kind = UDAX_EVENT_SITE;
	to->thread = number;
	snprintf(to->u.text, sizeof(to->u.text), "%s:%d", event->site->file, event->site->line);
}

static void put_event(struct udax_ioc_record_read *out, const struct event *event, uint32_t site)
{
	struct udax_ioc_event *to = &out->events[out->count++];

	to->time_ns = event->time_ns;
	to->thread = event->thread;
	to->step = event->step;
	to->class = event->class;
	to->exclusive = event->exclusive;
	/* SITE stands behind THREAD. */
	to->kind = event->kind == EVENT_THREAD ? UDAX_EVENT_THREAD : (__u8)(event->kind + 1);
	if (event->kind == EVENT_THREAD) {
		memcpy(to->u.text, &event->pos, sizeof(event->pos));
		memcpy(to->u.text + sizeof(event->pos), &event->len, sizeof(event->len));
	} else if (event->kind < EVENT_TOLD) {
		to->u.lock.lock = event->object;
		to->u.lock.number = event->pos;
		to->u.lock.site = site;
	} else {
		to->u.told.ino = event->object;
		to->u.told.pos = event->pos;
		to->u.told.len = event->len;
		to->u.told.site = site;
		to->u.told.who = event->who;
		to->u.told.code = event->code;
		to->u.told.result = event->result;
	}
}

/* One event may become two. r->lock held. */
static void take(struct recorder *r, struct udax_ioc_record_read *out)
{
	struct event event;
	uint64_t dropped;

	while (out->count < UDAX_RECORD_EVENTS - 1 &&
	       sync_record_take(r->sync, &event, 1, &dropped) == 1) {
		bool new;
		uint32_t site = site_number(r, event.site, &new);

		if (new)
			put_site(out, &event, site);
		put_event(out, &event, site);
	}
	(void)sync_record_take(r->sync, NULL, 0, &dropped);
	out->dropped = dropped;
	r->read_ns = out->now_ns = sync_now_ns(r->sync);
}

int ioctl_record_read(struct ioctl_call *call)
{
	struct udax_ioc_record_read *out = (void *)call->arg;
	struct recorder *r = call->recorder;
	uint64_t id = out->id;
	int err = 0;

	memset(out, 0, sizeof(*out));
	out->version = UDAX_IOC_VERSION;
	out->id = id;
	sync_lock(&r->lock, 0, HERE);
	if (!id || id != r->id)
		err = -ESTALE;
	else
		take(r, out);
	/* It was full for so long that it ended: what it had was read, and more will not come. */
	if (!err && !out->count && !sync_recording(r->sync)) {
		end_recording(r);
		err = -ESTALE;
	}
	sync_unlock(&r->lock, HERE);
	return err;
}
