/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * zeroes.h - how much memory zeroes cost.
 *
 * A hole that is loaded from through a mapping for stores shows pages of our own, write-protected:
 * anonymous memory, 4 KiB each (where nobody may store it is the kernel's own page, and free). Who loads
 * all over a large sparse file would get as much of that as the file is large. So what touches have put is
 * remembered, oldest first, and above ZEROES_RUNS times ZEROES_AROUND the oldest is dropped: the next load
 * there is an event again, and is answered without a question to the daemon, because the piece still says
 * that it is a hole. What a program has asked to be populated is not counted.
 *
 * Nothing is lost by that. A page of such a piece has never been stored to: a store is an event, after which the
 * piece is another one. Only the service's thread changes pieces, and only it comes here.
 */
#ifndef UDAX_CLIENT_ZEROES_H
#define UDAX_CLIENT_ZEROES_H

#include <stdint.h>

#define ZEROES_RUNS 1024u
#define ZEROES_AROUND 65536u

struct client;

/** Addresses that touches have put zeroes at; zeroed memory is an empty one. */
struct zeroes {
	struct {
		uint64_t start, end;
	} runs[ZEROES_RUNS];
	unsigned next; /* the oldest, once all are in use */
};

/** zeroes_put - there are zeroes at [@start, @end), in one piece: at most ZEROES_AROUND bytes. */
void zeroes_put(struct client *client, uint64_t start, uint64_t end);

#endif
