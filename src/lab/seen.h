/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * seen.h - a set of states, each a hash of 64 bits, with the fewest preemptions that it was reached with.
 */
#ifndef UDAX_LAB_SEEN_H
#define UDAX_LAB_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct seen {
	uint64_t *keys; /* 0: an empty place */
	uint8_t *preemptions;
	size_t room, used, most;
	bool full; /* something was not remembered */
};

/** seen_new - an empty set of at most @most states. 0 or -ENOMEM, when only seen_delete() is allowed. */
int seen_new(struct seen *seen, size_t most);
void seen_clear(struct seen *seen);
void seen_delete(struct seen *seen);

/**
 * seen_before - whether @key was met with at most @preemptions; if not, it is now. When there is no more
 * room, seen->full is set, and nothing that is new is remembered.
 */
bool seen_before(struct seen *seen, uint64_t key, unsigned preemptions);

#endif
