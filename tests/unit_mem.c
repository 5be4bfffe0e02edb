/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_mem.c - the heap and the arena: zeroed, aligned, apart from each other, and for the arena
 * a reset that forgets everything and repeats the same addresses.
 *
 * Each block that a test writes is filled to its last byte, so that under AddressSanitizer a heap
 * block that is too small is caught, and an arena block that overlaps another shows in its bytes.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "mem.h"
#include "sync.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static bool filled_with(const void *ptr, int byte, size_t bytes)
{
	const unsigned char *p = ptr;

	for (size_t i = 0; i < bytes; i++)
		if (p[i] != (unsigned char)byte)
			return false;
	return true;
}

static void *expect_block(struct mem *mem, size_t bytes)
{
	void *ptr = mem_alloc(mem, bytes);

	assert_non_null(ptr);
	assert_int_equal((uintptr_t)ptr % 64, 0);
	assert_true(filled_with(ptr, 0, bytes));
	return ptr;
}

static void the_heap_gives_zeroed_aligned_memory_of_any_size(void **state)
{
	static const size_t sizes[] = { 0, 1, 63, 64, 65, 1000, 4096, 100001 };

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			void *ptr = expect_block(mem_heap(), sizes[i]);

			memset(ptr, 0xff, sizes[i]);
			mem_free(mem_heap(), ptr);
		}
	}
}

static void freeing_null_does_nothing(void **state)
{
	struct mem *arena = mem_arena_new(4096);

	(void)state;
	assert_non_null(arena);
	mem_free(mem_heap(), NULL);
	mem_free(arena, NULL);
	mem_arena_delete(arena);
	mem_arena_delete(NULL);
}

static void sizes_that_cannot_be_give_null(void **state)
{
	struct mem *arena = mem_arena_new(4096);

	(void)state;
	assert_non_null(arena);
	assert_null(mem_alloc(mem_heap(), SIZE_MAX));
	assert_null(mem_alloc(mem_heap(), SIZE_MAX - 63));
	assert_null(mem_alloc(arena, SIZE_MAX));
	assert_null(mem_alloc(arena, SIZE_MAX - 63));
	assert_null(mem_alloc(arena, 4097));
	assert_null(mem_arena_new(SIZE_MAX));
	mem_arena_delete(arena);
}

static void the_arena_gives_zeroed_aligned_blocks_that_do_not_overlap(void **state)
{
	enum { NR = 200 };
	struct mem *arena = mem_arena_new(1 << 20);
	unsigned char *blocks[NR];

	(void)state;
	assert_non_null(arena);
	for (int i = 0; i < NR; i++) {
		blocks[i] = expect_block(arena, (size_t)i * 37);
		memset(blocks[i], i, (size_t)i * 37);
	}
	for (int i = 0; i < NR; i++)
		assert_true(filled_with(blocks[i], i, (size_t)i * 37));
	mem_arena_delete(arena);
}

static void an_arena_that_is_full_gives_null_and_again_memory_after_a_free(void **state)
{
	struct mem *arena = mem_arena_new(64 * 1024);
	void *last = NULL, *ptr;
	size_t nr = 0;

	(void)state;
	assert_non_null(arena);
	while ((ptr = mem_alloc(arena, 1000))) {
		memset(ptr, 0xff, 1000);
		last = ptr;
		nr++;
	}
	/* 1000 bytes and a header fill 1024 */
	assert_in_range(nr, 63, 64);
	assert_null(mem_alloc(arena, 1000));
	mem_free(arena, last);
	assert_ptr_equal(expect_block(arena, 990), last); /* of the same size class */
	assert_null(mem_alloc(arena, 1000));
	mem_arena_delete(arena);
}

static void one_block_may_have_nearly_the_whole_arena(void **state)
{
	(void)state;
	/* sizes on both sides of each size class, up to large ones */
	for (size_t bytes = 48; bytes < 40u << 20; bytes += bytes / 3 + 1) {
		struct mem *arena = mem_arena_new(bytes + bytes / 4 + 128);
		unsigned char *ptr;

		assert_non_null(arena);
		ptr = mem_alloc(arena, bytes);
		assert_non_null(ptr);
		ptr[0] = 1;
		ptr[bytes - 1] = 1;
		mem_arena_delete(arena);
	}
}

static void a_freed_block_comes_back_zeroed(void **state)
{
	struct mem *arena = mem_arena_new(1 << 20);
	void *first;

	(void)state;
	assert_non_null(arena);
	first = expect_block(arena, 5000);
	memset(first, 0xff, 5000);
	mem_free(arena, first);
	assert_ptr_equal(expect_block(arena, 5000), first);
	mem_arena_delete(arena);
}

static void a_reset_frees_everything_and_repeats_the_addresses(void **state)
{
	enum { NR = 100 };
	struct mem *arena = mem_arena_new(1 << 20);
	void *before[NR];

	(void)state;
	assert_non_null(arena);
	for (int round = 0; round < 50; round++) {
		for (int i = 0; i < NR; i++) {
			size_t bytes = (size_t)(i * 7919 % 9000);
			void *ptr = expect_block(arena, bytes);

			if (round > 0)
				assert_ptr_equal(ptr, before[i]);
			before[i] = ptr;
			memset(ptr, 0xff, bytes);
			if (i % 3 == 0)
				mem_free(arena, ptr);
		}
		mem_arena_reset(arena);
	}
	mem_arena_delete(arena);
}

static void memory_is_zeroed_after_a_reset_whatever_its_new_shape(void **state)
{
	struct mem *arena = mem_arena_new(1 << 20);
	unsigned random = 1;

	(void)state;
	assert_non_null(arena);
	for (int round = 0; round < 200; round++) {
		for (int i = 0; i < 20; i++) {
			size_t bytes = (size_t)rand_r(&random) % 20000;

			memset(expect_block(arena, bytes), 0xff, bytes);
		}
		mem_arena_reset(arena);
	}
	mem_arena_delete(arena);
}

static void freeing_an_arena_block_twice_ends_the_program(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct mem *arena = mem_arena_new(4096);
		void *ptr = mem_alloc(arena, 64);

		close(STDERR_FILENO); /* the message is meant, and would look like a failure */
		mem_free(arena, ptr);
		mem_free(arena, ptr);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

/* Threads: each fills its blocks with its own byte and finds them so when it frees them. */

struct churn {
	struct mem *mem;
	int byte;
	bool ok;
};

static void churn(void *arg)
{
	struct churn *c = arg;
	void *blocks[16] = { NULL };
	size_t sizes[16] = { 0 };
	unsigned random = (unsigned)c->byte;

	c->ok = true;
	for (int i = 0; i < 4000; i++) {
		int slot = rand_r(&random) % 16;

		if (blocks[slot] && !filled_with(blocks[slot], c->byte, sizes[slot]))
			c->ok = false;
		mem_free(c->mem, blocks[slot]);
		sizes[slot] = (size_t)rand_r(&random) % 700;
		blocks[slot] = mem_alloc(c->mem, sizes[slot]);
		if (!blocks[slot] || !filled_with(blocks[slot], 0, sizes[slot])) {
			c->ok = false;
			sizes[slot] = 0;
			continue;
		}
		memset(blocks[slot], c->byte, sizes[slot]);
	}
	for (int i = 0; i < 16; i++)
		mem_free(c->mem, blocks[i]);
}

static void several_threads_may_use_one_arena(void **state)
{
	struct mem *arena = mem_arena_new(4 << 20);
	struct sync *sync = sync_pthread_new(NULL);
	struct sync_thread *threads[4];
	struct churn churns[4];

	(void)state;
	assert_non_null(arena);
	assert_non_null(sync);
	for (int i = 0; i < 4; i++) {
		churns[i] = (struct churn){ .mem = arena, .byte = i + 1 };
		assert_int_equal(sync_thread_start(sync, "churn", churn, &churns[i], &threads[i]),
				 0);
	}
	for (int i = 0; i < 4; i++)
		sync_thread_join(threads[i]);
	for (int i = 0; i < 4; i++)
		assert_true(churns[i].ok);
	sync_delete(sync);
	mem_arena_delete(arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_heap_gives_zeroed_aligned_memory_of_any_size),
		cmocka_unit_test(freeing_null_does_nothing),
		cmocka_unit_test(sizes_that_cannot_be_give_null),
		cmocka_unit_test(the_arena_gives_zeroed_aligned_blocks_that_do_not_overlap),
		cmocka_unit_test(an_arena_that_is_full_gives_null_and_again_memory_after_a_free),
		cmocka_unit_test(one_block_may_have_nearly_the_whole_arena),
		cmocka_unit_test(a_freed_block_comes_back_zeroed),
		cmocka_unit_test(a_reset_frees_everything_and_repeats_the_addresses),
		cmocka_unit_test(memory_is_zeroed_after_a_reset_whatever_its_new_shape),
		cmocka_unit_test(freeing_an_arena_block_twice_ends_the_program),
		cmocka_unit_test(several_threads_may_use_one_arena),
	};

	alarm(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
