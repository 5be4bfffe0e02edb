/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * arena.h - memory of libudax's own.
 *
 * The service thread must not call the program's malloc: whoever holds its lock may be waiting for
 * the service thread. Small pieces come in powers of two out of chunks, large ones from mmap.
 *
 * One thread uses an arena: the one that makes it, until the service thread has it.
 */
#ifndef UDAX_CLIENT_ARENA_H
#define UDAX_CLIENT_ARENA_H

#include <stddef.h>
#include <stdint.h>

#define ARENA_CLASSES 8 /* 32 to 4096 bytes */

struct arena {
	struct arena_free *free[ARENA_CLASSES];
	struct arena_chunk *chunks;
	char *at, *end; /* the rest of the newest chunk */
	uint64_t bytes; /* in use */
};

/** arena_alloc - @bytes of zeroes, aligned to 16. NULL: no memory. */
void *arena_alloc(struct arena *arena, size_t bytes);

/** arena_free - @ptr may be NULL; @bytes is what arena_alloc was asked for. */
void arena_free(struct arena *arena, void *ptr, size_t bytes);

/** arena_destroy - give back all chunks. What is larger than a class is the caller's to free. */
void arena_destroy(struct arena *arena);

#endif
