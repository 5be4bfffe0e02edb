/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * zeroes.c - see zeroes.h.
 */
#include "zeroes.h"

#include <sys/mman.h>

#include "client.h"
#include "mapping.h"
#include "sys.h"

/* What has been put there since, or is not ours any more, is left alone. */
static void drop(struct client *client, uint64_t start, uint64_t end)
{
	for (const struct piece *piece; (piece = piece_in(client, start, end));) {
		uint64_t from = piece->span.start > start ? piece->span.start : start;
		uint64_t to = piece->span.end < end ? piece->span.end : end;

		/* Locked memory stays (EINVAL): who locks it has the memory. */
		if (piece->kind == PIECE_ZERO)
			sys_madvise((void *)from, to - from, MADV_DONTNEED);
		start = to;
	}
}

void zeroes_put(struct client *client, uint64_t start, uint64_t end)
{
	struct zeroes *zeroes = &client->shown;
	unsigned at = zeroes->next;

	drop(client, zeroes->runs[at].start, zeroes->runs[at].end);
	zeroes->runs[at].start = start;
	zeroes->runs[at].end = end;
	zeroes->next = (at + 1) % ZEROES_RUNS;
}
