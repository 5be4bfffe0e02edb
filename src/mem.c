/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * mem.c - the C library's heap, and an arena that forgets everything in one step.
 *
 * The arena is one mapping. New blocks are cut off its front; a freed block goes onto the list of
 * its size class and is cut no further and merged with nothing. That wastes memory in a volume
 * that lives long, and is what makes a reset cost the same however much was allocated: forget
 * the lists, move the front back. After a reset the same calls give the same addresses, which is
 * what lets a lab run be repeated to the byte.
 *
 * A block is a 16-byte header and then the caller's memory on a 64-byte boundary, so a block's
 * span is a multiple of 64 and its last 16 bytes are the header of the next. Memory beyond the
 * highest byte that was ever handed out is still as the kernel gave it and needs no clearing.
 *
 * Locks: one spinning flag per arena, held for a few instructions and never while clearing. It
 * cannot be a lock of sync.h: that one's environment may itself live in an arena.
 */
#include "mem.h"

#include <assert.h>
#include <sched.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ALIGNMENT ((size_t)64)

static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

/* The heap. */

static void *heap_alloc(struct mem *mem, size_t bytes)
{
	void *ptr;

	(void)mem;
	if (bytes > PTRDIFF_MAX - ALIGNMENT)
		return NULL;

	bytes = round_up(bytes ? bytes : 1, ALIGNMENT);
	ptr = aligned_alloc(ALIGNMENT, bytes);
	return ptr ? memset(ptr, 0, bytes) : NULL;
}

static void heap_free(struct mem *mem, void *ptr)
{
	(void)mem;
	free(ptr);
}

static const struct mem heap = { heap_alloc, heap_free };

struct mem *mem_heap(void)
{
	return (struct mem *)&heap; /* nobody writes to a struct mem */
}

/* The arena. */

/*
 * Size classes by span: every multiple of 64 up to 1024, then four steps to each doubling. A
 * block is at most a quarter larger than asked for.
 */
#define NR_SMALL 16
#define SMALL_MAX (NR_SMALL * ALIGNMENT)
#define NR_CLASSES (NR_SMALL + 4 * 48)

#define MAGIC_USED 0x75736564u
#define MAGIC_FREE 0x66726565u

struct block {
	uint32_t magic;
	uint32_t size_class;
	struct block *next_free;
};

#define HEADER sizeof(struct block)

struct arena {
	struct mem mem;
	size_t size_bytes; /* of the mapping, this struct included */
	atomic_flag busy;  /* protects what follows */
	size_t front;	   /* offset of the next header to cut */
	size_t dirty_end;  /* nothing from here on was ever handed out */
	struct block *free[NR_CLASSES];
};

_Static_assert(sizeof(struct block) == 16, "a header fills the end of the span before it");

/* The first header ends on the first 64-byte boundary behind the struct. */
#define FRONT_START (round_up(sizeof(struct arena) + HEADER, ALIGNMENT) - HEADER)

static struct arena *arena_of(struct mem *mem)
{
	return (struct arena *)mem;
}

static void arena_enter(struct arena *a)
{
	while (atomic_flag_test_and_set_explicit(&a->busy, memory_order_acquire))
		sched_yield();
}

static void arena_leave(struct arena *a)
{
	atomic_flag_clear_explicit(&a->busy, memory_order_release);
}

/* The smallest class whose span holds @bytes and a header; *@ret_span is that span. */
static unsigned size_class_of(size_t bytes, size_t *ret_span)
{
	size_t span = round_up(bytes + HEADER, ALIGNMENT);
	unsigned doubling, quarter;
	size_t base, step;

	if (span <= SMALL_MAX) {
		*ret_span = span;
		return (unsigned)(span / ALIGNMENT) - 1;
	}

	/* base is the power of two with base < span <= 2 * base */
	doubling = 63 - (unsigned)__builtin_clzll(span - 1);
	base = (size_t)1 << doubling;
	step = base / 4;
	quarter = (unsigned)((span - base + step - 1) / step); /* 1 to 4 */
	*ret_span = base + quarter * step;
	return NR_SMALL + 4 * (doubling - 10) + quarter - 1;
}

/* Take a block of @size_class; *@ret_dirty_bytes of its memory must be cleared. */
static struct block *arena_take(struct arena *a, unsigned size_class, size_t span,
				size_t *ret_dirty_bytes)
{
	struct block *b = a->free[size_class];
	size_t start, end;

	if (b) {
		assert(b->magic == MAGIC_FREE);
		a->free[size_class] = b->next_free;
		*ret_dirty_bytes = span - HEADER;
		return b;
	}

	start = a->front;
	end = start + span;
	if (span > a->size_bytes - HEADER || start > a->size_bytes - HEADER - span)
		return NULL;

	b = (struct block *)((char *)a + start);
	*ret_dirty_bytes = 0;
	if (start + HEADER < a->dirty_end)
		*ret_dirty_bytes = (end < a->dirty_end ? end : a->dirty_end) - start - HEADER;
	if (end > a->dirty_end)
		a->dirty_end = end;
	a->front = end;
	return b;
}

static void *arena_alloc(struct mem *mem, size_t bytes)
{
	struct arena *a = arena_of(mem);
	size_t span, dirty_bytes = 0;
	unsigned size_class;
	struct block *b;

	if (bytes > a->size_bytes)
		return NULL;
	size_class = size_class_of(bytes ? bytes : 1, &span);
	assert(size_class < NR_CLASSES);

	arena_enter(a);
	b = arena_take(a, size_class, span, &dirty_bytes);
	if (b)
		*b = (struct block){ .magic = MAGIC_USED, .size_class = size_class };
	arena_leave(a);

	if (!b)
		return NULL;
	memset(b + 1, 0, dirty_bytes);
	return b + 1;
}

static void arena_free(struct mem *mem, void *ptr)
{
	struct arena *a = arena_of(mem);
	struct block *b = (struct block *)ptr - 1;

	assert((char *)ptr > (char *)a && (char *)ptr < (char *)a + a->size_bytes);

	arena_enter(a);
	assert(b->magic == MAGIC_USED);
	b->magic = MAGIC_FREE;
	b->next_free = a->free[b->size_class];
	a->free[b->size_class] = b;
	arena_leave(a);
}

struct mem *mem_arena_new(size_t bytes)
{
	struct arena *a;
	size_t size_bytes;

	if (bytes > PTRDIFF_MAX - 2 * FRONT_START)
		return NULL;

	/* @bytes for blocks, their headers counted in. */
	size_bytes = FRONT_START + bytes + HEADER;
	a = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (a == MAP_FAILED)
		return NULL;

	a->mem = (struct mem){ arena_alloc, arena_free };
	a->size_bytes = size_bytes;
	atomic_flag_clear(&a->busy);
	a->front = FRONT_START;
	a->dirty_end = FRONT_START;
	return &a->mem;
}

void mem_arena_reset(struct mem *arena)
{
	struct arena *a = arena_of(arena);

	arena_enter(a);
	a->front = FRONT_START;
	memset(a->free, 0, sizeof(a->free));
	arena_leave(a);
}

void mem_arena_delete(struct mem *arena)
{
	struct arena *a = arena_of(arena);

	if (a)
		munmap(a, a->size_bytes);
}
