/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * mem.c - bitmaps and growing arrays for the checker. No locks: one thread checks.
 */
#include <assert.h>
#include <stdlib.h>

#include "impl.h"

int bits_init(struct bits *b, uint64_t n)
{
	b->words = calloc((n + 63) / 64 + 1, sizeof(*b->words));
	b->n = n;
	return b->words ? 0 : -ENOMEM;
}

void bits_free(struct bits *b)
{
	free(b->words);
	*b = (struct bits){ 0 };
}

bool bits_test(const struct bits *b, uint64_t i)
{
	assert(i < b->n);
	return b->words[i / 64] >> i % 64 & 1;
}

void bits_set(struct bits *b, uint64_t i)
{
	assert(i < b->n);
	b->words[i / 64] |= UINT64_C(1) << i % 64;
}

void bits_clear(struct bits *b, uint64_t i)
{
	assert(i < b->n);
	b->words[i / 64] &= ~(UINT64_C(1) << i % 64);
}

bool bits_any(const struct bits *b, uint64_t first, uint64_t count)
{
	uint64_t i = first, end = first + count;

	assert(end <= b->n);
	while (i < end) {
		uint64_t word = b->words[i / 64] >> i % 64;

		if (word)
			return i + (uint64_t)__builtin_ctzll(word) < end;
		i = (i / 64 + 1) * 64;
	}
	return false;
}

int vec_push(struct vec *v, const void *item, size_t bytes)
{
	if (v->n == v->space) {
		size_t space = v->space ? v->space * 2 : 16;
		void *items = reallocarray(v->items, space, bytes);

		if (!items)
			return -ENOMEM;
		v->items = items;
		v->space = space;
	}
	memcpy((char *)v->items + v->n * bytes, item, bytes);
	v->n++;
	return 0;
}

void vec_sort(struct vec *v, size_t bytes, int (*compare)(const void *a, const void *b))
{
	if (v->n > 1)
		qsort(v->items, v->n, bytes, compare);
}

void vec_free(struct vec *v)
{
	free(v->items);
	*v = (struct vec){ 0 };
}
