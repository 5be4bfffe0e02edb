/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * events.h - what threads did, in a ring of bounded size: many put, one takes.
 *
 * Whoever puts never waits: when the ring is full, what he has is dropped and counted. So a recording
 * is complete, or says how much is missing; what is in it is never overwritten. The events of one
 * thread are taken in the order in which it put them; those of several are ordered by when they got
 * their place, which their times agree with but for the moment between looking at the clock and
 * getting a place.
 */
#ifndef UDAX_EVENTS_H
#define UDAX_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

struct events;
struct sync_site;

enum event_kind {
	EVENT_THREAD,	 /* a thread's first event: its name is in pos and len */
	EVENT_CONTENDED, /* of a lock: the thread begins to wait for it */
	EVENT_ACQUIRED,
	EVENT_RELEASED,
	EVENT_SLEEPS, /* on a condition; the mutex was released before */
	EVENT_WOKEN,  /* ... and is taken again afterwards */
	EVENT_TOLD,   /* and what was told besides (enum sync_told): EVENT_TOLD + that */
};

struct event {
	uint64_t time_ns;
	uint64_t object; /* of a lock: which one; else the inode's number */
	uint64_t pos;	 /* of a lock: its number, see sync_rw_number() */
	uint64_t len;
	const struct sync_site *site; /* or NULL */
	uint32_t thread;	      /* as gettid(2) has it */
	uint32_t who, code;	      /* see struct sync_told */
	int32_t result;
	uint8_t kind;	   /* enum event_kind */
	uint8_t step;	   /* enum sync_step */
	uint8_t class;	   /* enum lock_class */
	uint8_t exclusive; /* how a lock was taken */
};

#define EVENTS_MIN 1024u
#define EVENTS_MAX (1u << 20)

/**
 * events_new - a ring for @capacity events of 72 bytes, a power of two between EVENTS_MIN and EVENTS_MAX.
 * NULL without memory. Freed by events_delete().
 */
struct events *events_new(uint32_t capacity);
void events_delete(struct events *events);

/** events_put - from any thread. False: it was full, and the event is counted as dropped. */
bool events_put(struct events *events, const struct event *event);

/** events_take - up to @max events, oldest first, into @ret; how many. From one thread at a time. */
unsigned events_take(struct events *events, struct event *ret, unsigned max);

/** events_dropped - how many were dropped so far. */
uint64_t events_dropped(const struct events *events);

#endif
