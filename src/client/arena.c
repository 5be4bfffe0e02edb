/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * arena.c - size classes, each with a list of what was freed; chunks are given back at the end only.
 */
#include "arena.h"

#include <string.h>
#include <sys/mman.h>

#include "sys.h"

#define SMALLEST 32u
#define LARGEST (SMALLEST << (ARENA_CLASSES - 1))
#define CHUNK_BYTES (128u << 10)

struct arena_free {
	struct arena_free *next;
};

struct arena_chunk {
	struct arena_chunk *next;
	uint64_t pad; /* what follows is aligned to 16 */
};

static size_t page_up(size_t bytes)
{
	return (bytes + 4095) & ~(size_t)4095;
}

static void *fresh(size_t bytes)
{
	void *mem = sys_mmap(NULL, page_up(bytes), PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return sys_failed(mem) ? NULL : mem;
}

static unsigned class_of(size_t bytes)
{
	unsigned class = 0;

	while (bytes > (size_t)SMALLEST << class)
		class ++;
	return class;
}

static void *carve(struct arena *arena, size_t bytes)
{
	struct arena_chunk *chunk;
	void *ptr;

	if ((size_t)(arena->end - arena->at) < bytes) {
		chunk = fresh(CHUNK_BYTES);
		if (!chunk)
			return NULL;
		chunk->next = arena->chunks;
		arena->chunks = chunk;
		arena->at = (char *)(chunk + 1);
		arena->end = (char *)chunk + CHUNK_BYTES;
	}
	ptr = arena->at;
	arena->at += bytes;
	return ptr;
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
	unsigned class;
	void *ptr;

	if (bytes > LARGEST) {
		ptr = fresh(bytes);
		arena->bytes += ptr ? page_up(bytes) : 0;
		return ptr;
	}
	class = class_of(bytes);
	ptr = arena->free[class];
	if (ptr) {
		arena->free[class] = arena->free[class]->next;
		memset(ptr, 0, (size_t)SMALLEST << class);
	} else {
		ptr = carve(arena, (size_t)SMALLEST << class);
	}
	arena->bytes += ptr ? (size_t)SMALLEST << class : 0;
	return ptr;
}

void arena_free(struct arena *arena, void *ptr, size_t bytes)
{
	struct arena_free *node = ptr;
	unsigned class;

	if (!ptr)
		return;
	if (bytes > LARGEST) {
		sys_munmap(ptr, page_up(bytes));
		arena->bytes -= page_up(bytes);
		return;
	}
	class = class_of(bytes);
	node->next = arena->free[class];
	arena->free[class] = node;
	arena->bytes -= (size_t)SMALLEST << class;
}

void arena_destroy(struct arena *arena)
{
	while (arena->chunks) {
		struct arena_chunk *chunk = arena->chunks;

		arena->chunks = chunk->next;
		sys_munmap(chunk, CHUNK_BYTES);
	}
	memset(arena, 0, sizeof(*arena));
}
