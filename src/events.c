/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * events.c - a bounded queue with a turn in each slot (after Dmitry Vyukov's, for many producers).
 *
 * A slot's turn says whose it is: position p may be filled while the turn of slot p % capacity is p, and
 * taken while it is p + 1; who takes it sets it to p + capacity, where the next round fills it. So a slot
 * is reused only after it was taken, and a thread that is interrupted while it fills one holds up
 * who takes, and nobody who puts. Positions are 32 bits wide and wrap around: what is compared
 * are differences.
 */
#include "events.h"

#include <assert.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct slot {
	struct event event;
	atomic_uint turn;
};

struct events {
	uint32_t mask;
	struct slot *slots;
	alignas(64) atomic_uint next; /* to be filled */
	alignas(64) uint32_t taken;   /* positions below are taken */
	_Atomic uint64_t dropped;
};

static_assert(sizeof(struct slot) <= 72, "what events_new() says of memory");

struct events *events_new(uint32_t capacity)
{
	struct events *events = aligned_alloc(alignof(struct events), sizeof(*events));

	assert(capacity >= EVENTS_MIN && capacity <= EVENTS_MAX && !(capacity & (capacity - 1)));
	if (!events)
		return NULL;
	memset(events, 0, sizeof(*events));
	events->mask = capacity - 1;
	events->slots = malloc(capacity * sizeof(*events->slots));
	if (!events->slots) {
		free(events);
		return NULL;
	}
	for (uint32_t i = 0; i < capacity; i++)
		atomic_init(&events->slots[i].turn, i);
	return events;
}

void events_delete(struct events *events)
{
	if (!events)
		return;
	free(events->slots);
	free(events);
}

bool events_put(struct events *events, const struct event *event)
{
	uint32_t at = atomic_load_explicit(&events->next, memory_order_relaxed);

	for (;;) {
		struct slot *slot = &events->slots[at & events->mask];
		uint32_t turn = atomic_load_explicit(&slot->turn, memory_order_acquire);

		if (turn == at) {
			if (!atomic_compare_exchange_weak_explicit(&events->next, &at, at + 1,
								   memory_order_relaxed,
								   memory_order_relaxed))
				continue;
			slot->event = *event;
			atomic_store_explicit(&slot->turn, at + 1, memory_order_release);
			return true;
		}
		if ((int32_t)(turn - at) < 0) {
			atomic_fetch_add_explicit(&events->dropped, 1, memory_order_relaxed);
			return false;
		}
		at = atomic_load_explicit(&events->next, memory_order_relaxed);
	}
}

unsigned events_take(struct events *events, struct event *ret, unsigned max)
{
	unsigned n = 0;

	for (; n < max; n++) {
		struct slot *slot = &events->slots[events->taken & events->mask];

		if (atomic_load_explicit(&slot->turn, memory_order_acquire) != events->taken + 1)
			break;
		ret[n] = slot->event;
		atomic_store_explicit(&slot->turn, events->taken + events->mask + 1,
				      memory_order_release);
		events->taken++;
	}
	return n;
}

uint64_t events_dropped(const struct events *events)
{
	return atomic_load_explicit(&events->dropped, memory_order_relaxed);
}
