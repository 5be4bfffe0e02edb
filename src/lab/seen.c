/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * seen.c - see seen.h: open addressing, doubled when three quarters are used.
 */
#include "seen.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_STATES ((size_t)1 << 12)

int seen_new(struct seen *seen, size_t most)
{
	*seen = (struct seen){ .room = FIRST_STATES, .most = most };
	seen->keys = calloc(seen->room, sizeof(*seen->keys));
	seen->preemptions = calloc(seen->room, sizeof(*seen->preemptions));
	return seen->keys && seen->preemptions ? 0 : -ENOMEM;
}

void seen_clear(struct seen *seen)
{
	memset(seen->keys, 0, seen->room * sizeof(*seen->keys));
	seen->used = 0;
	seen->full = false;
}

void seen_delete(struct seen *seen)
{
	free(seen->keys);
	free(seen->preemptions);
}

static size_t place_of(const struct seen *seen, uint64_t key)
{
	size_t at = key & (seen->room - 1);

	while (seen->keys[at] && seen->keys[at] != key)
		at = (at + 1) & (seen->room - 1);
	return at;
}

/* Twice the room, if that is allowed and to be had. */
static bool seen_grow(struct seen *seen)
{
	struct seen old = *seen;

	if (2 * old.room > old.most)
		return false;
	seen->room = 2 * old.room;
	seen->keys = calloc(seen->room, sizeof(*seen->keys));
	seen->preemptions = calloc(seen->room, sizeof(*seen->preemptions));
	if (!seen->keys || !seen->preemptions) {
		seen_delete(seen);
		*seen = old;
		return false;
	}
	for (size_t i = 0; i < old.room; i++) {
		size_t at = place_of(seen, old.keys[i]);

		if (!old.keys[i])
			continue;
		seen->keys[at] = old.keys[i];
		seen->preemptions[at] = old.preemptions[i];
	}
	seen_delete(&old);
	return true;
}

bool seen_before(struct seen *seen, uint64_t key, unsigned preemptions)
{
	size_t at;

	key += !key; /* 0 is an empty place */
	at = place_of(seen, key);
	if (seen->keys[at] && seen->preemptions[at] <= preemptions)
		return true;
	if (!seen->keys[at] && seen->used >= seen->room / 4 * 3) {
		if (!seen_grow(seen)) {
			seen->full = true;
			return false;
		}
		at = place_of(seen, key);
	}
	seen->used += !seen->keys[at];
	seen->keys[at] = key;
	seen->preemptions[at] = (uint8_t)(preemptions < 255 ? preemptions : 255);
	return false;
}
