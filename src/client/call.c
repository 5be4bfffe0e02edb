/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * call.c - see call.h.
 */
#include "call.h"

#include <stddef.h>
#include <string.h>

#include "client.h"
#include "sys.h"

enum call_state { FREE, CLAIMED, POSTED, TAKEN, DONE };

static bool claim(struct call *call)
{
	uint32_t free = FREE;

	return atomic_compare_exchange_strong(&call->state, &free, CLAIMED);
}

struct call *call_new(struct client *client, enum call_type type)
{
	struct calls *calls = &client->calls;

	for (;;) {
		uint32_t freed = atomic_load(&calls->freed);

		for (unsigned i = 0; i < CALL_SLOTS; i++) {
			struct call *call = &calls->slots[i];

			if (!claim(call))
				continue;
			memset(&call->type, 0, sizeof(*call) - offsetof(struct call, type));
			call->type = type;
			call->tid = sys_tid();
			return call;
		}
		sys_wait(&calls->freed, freed);
	}
}

int64_t call_run(struct client *client, struct call *call)
{
	uint32_t state;

	atomic_store(&call->state, POSTED);
	bell_ring(client);
	while ((state = atomic_load(&call->state)) != DONE)
		sys_wait(&call->state, state);
	return call->result;
}

void call_free(struct client *client, struct call *call)
{
	atomic_store(&call->state, FREE);
	atomic_fetch_add(&client->calls.freed, 1);
	sys_wake(&client->calls.freed);
}

struct call *call_take(struct client *client)
{
	for (unsigned i = 0; i < CALL_SLOTS; i++) {
		struct call *call = &client->calls.slots[i];
		uint32_t posted = POSTED;

		if (atomic_compare_exchange_strong(&call->state, &posted, TAKEN))
			return call;
	}
	return NULL;
}

void call_done(struct call *call, int64_t result)
{
	call->result = result;
	atomic_store(&call->state, DONE);
	sys_wake(&call->state);
}
