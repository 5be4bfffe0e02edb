/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_client_pieces.c - libudax's own memory, and its ordered ranges, against what is obvious.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "arena.h"
#include "flush.h"
#include "span.h"
#include "sys.h"

/* ---- arena ------------------------------------------------------------------------------------- */

static void memory_is_zeroed_aligned_and_used_again(void **state)
{
	static const size_t sizes[] = { 1, 32, 33, 100, 512, 1000, 4096, 4097, 70000 };
	struct arena arena = { 0 };
	char *last = NULL;

	(void)state;
	for (unsigned round = 0; round < 100; round++) {
		for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			char *p = arena_alloc(&arena, sizes[i]);

			assert_non_null(p);
			assert_int_equal((uintptr_t)p % 16, 0);
			for (size_t j = 0; j < sizes[i]; j++)
				assert_int_equal(p[j], 0);
			memset(p, 0xff, sizes[i]);
			if (sizes[i] == 512 && round)
				assert_ptr_equal(p, last);
			if (sizes[i] == 512)
				last = p;
			arena_free(&arena, p, sizes[i]);
		}
	}
	assert_int_equal(arena.bytes, 0);
	arena_destroy(&arena);
}

static void pieces_of_memory_do_not_overlap(void **state)
{
	enum { N = 5000 };
	struct arena arena = { 0 };
	unsigned char **p = calloc(N, sizeof(*p));

	(void)state;
	for (unsigned i = 0; i < N; i++) {
		size_t size = 1 + i % 300;

		p[i] = arena_alloc(&arena, size);
		memset(p[i], (int)(i & 0xff), size);
	}
	for (unsigned i = 0; i < N; i++) {
		for (unsigned j = 0; j < 1 + i % 300; j++)
			assert_int_equal(p[i][j], i & 0xff);
		arena_free(&arena, p[i], 1 + i % 300);
	}
	assert_int_equal(arena.bytes, 0);
	arena_destroy(&arena);
	free(p);
}

static long no_mmap(long nr, const long args[6])
{
	return nr == SYS_mmap ? -12 : sys_direct(nr, args);
}

static void no_memory_is_NULL(void **state)
{
	struct arena arena = { 0 };

	(void)state;
	sys_call = no_mmap;
	assert_null(arena_alloc(&arena, 64));
	assert_null(arena_alloc(&arena, 100000));
	sys_call = sys_direct;
	assert_int_equal(arena.bytes, 0);
}

/* ---- spans ------------------------------------------------------------------------------------- */

#define SPACE 400

static void spans_are_found_as_in_a_plain_table(void **state)
{
	struct span_tree tree = { 0 };
	struct span *at[SPACE] = { NULL }; /* who holds each address */
	unsigned random = 1, inserted = 0;

	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		unsigned start, len, vacant = 1;

		random = random * 1103515245 + 12345;
		start = random / 65536 % SPACE;
		len = 1 + random / 7 % 9;
		if (start + len > SPACE)
			continue;
		for (unsigned i = start; i < start + len; i++)
			vacant &= !at[i];
		assert_int_equal(!span_in(&tree, start, start + len), vacant);
		if (vacant) {
			struct span *span = calloc(1, sizeof(*span));

			span->start = start;
			span->end = start + len;
			span_insert(&tree, span);
			inserted++;
			for (unsigned i = start; i < start + len; i++)
				at[i] = span;
		} else if (at[start]) {
			struct span *span = at[start];

			for (uint64_t i = span->start; i < span->end; i++)
				at[i] = NULL;
			span_remove(&tree, span);
			free(span);
		}
		for (unsigned i = 0; i < SPACE; i++)
			assert_ptr_equal(span_at(&tree, i), at[i]);
	}
	assert_true(inserted > 1000);
	while (tree.root) {
		struct span *last = span_last(&tree);

		assert_null(span_next(&tree, last));
		span_remove(&tree, last);
		free(last);
	}
	assert_int_equal(tree.count, 0);
}

static unsigned depth_of(const struct span *span)
{
	unsigned left = span ? depth_of(span->left) : 0, right = span ? depth_of(span->right) : 0;

	return span ? 1 + (left > right ? left : right) : 0;
}

static void spans_in_rising_order_stay_shallow(void **state)
{
	enum { N = 20000 };
	struct span_tree tree = { 0 };
	struct span *spans = calloc(N, sizeof(*spans));

	(void)state;
	for (unsigned i = 0; i < N; i++) {
		spans[i].start = 2 * i;
		spans[i].end = 2 * i + 1;
		span_insert(&tree, &spans[i]);
	}
	assert_true(depth_of(tree.root) < 60);
	assert_ptr_equal(span_from(&tree, 2001), &spans[1001]);
	free(spans);
}

/* ---- flush ------------------------------------------------------------------------------------- */

static void flushing_any_range_leaves_its_bytes(void **state)
{
	char *p = malloc(1000);

	(void)state;
	memset(p, 'x', 1000);
	for (unsigned i = 0; i < 200; i++)
		flush_lines(p + i, 1000 - 2 * i);
	flush_lines(p, 0);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(p[i], 'x');
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_zeroed_aligned_and_used_again),
		cmocka_unit_test(pieces_of_memory_do_not_overlap),
		cmocka_unit_test(no_memory_is_NULL),
		cmocka_unit_test(spans_are_found_as_in_a_plain_table),
		cmocka_unit_test(spans_in_rising_order_stay_shallow),
		cmocka_unit_test(flushing_any_range_leaves_its_bytes),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
