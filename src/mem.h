/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * mem.h - where a volume's memory comes from.
 *
 * A mounted volume allocates through one struct mem. The daemon gives it the C library's heap; a
 * test or a lab run gives it an arena that is reset in one step between two runs, so that a
 * volume starts in microseconds and a crash leaks nothing.
 */
#ifndef UDAX_MEM_H
#define UDAX_MEM_H

#include <stddef.h>

struct mem {
	void *(*alloc)(struct mem *mem, size_t bytes); /* zeroed; NULL without memory */
	void (*free)(struct mem *mem, void *ptr);
};

/** mem_alloc - @bytes of zeroed memory, aligned to 64 bytes, or NULL. Thread-safe. */
static inline void *mem_alloc(struct mem *mem, size_t bytes)
{
	return mem->alloc(mem, bytes);
}

/** mem_free - give back what mem_alloc() returned; NULL is allowed. Thread-safe. */
static inline void mem_free(struct mem *mem, void *ptr)
{
	if (ptr)
		mem->free(mem, ptr);
}

/** mem_heap - the C library's heap. It has no state. */
struct mem *mem_heap(void);

/**
 * mem_arena_new - an arena of @bytes; mem_arena_reset() frees everything in it at once.
 * Returns NULL without memory. Not for volumes that live long: what is freed one by one is only
 * reused for blocks of the same size class.
 */
struct mem *mem_arena_new(size_t bytes);
void mem_arena_reset(struct mem *arena);
void mem_arena_delete(struct mem *arena);

#endif
