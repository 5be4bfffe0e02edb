/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_record.c - the recorder: crash tests are only as good as what it says a crash leaves.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "region.h"

#define BYTES (256u << 10)

static int new_recorder(void **state)
{
	*state = region_record_new(NULL, BYTES, 0);
	return *state ? 0 : -1;
}

static int close_recorder(void **state)
{
	region_close(*state);
	return 0;
}

static void assert_bytes(const unsigned char *p, size_t len, unsigned char value)
{
	for (size_t i = 0; i < len; i++)
		assert_int_equal(p[i], value);
}

static void assert_pending(const struct region *r, size_t i, uint64_t off,
			   const struct sync_site *site)
{
	const struct sync_site *got_site;
	uint64_t got_off;

	assert_true(region_record_pending(r, i, &got_off, &got_site));
	assert_int_equal(got_off, off);
	assert_ptr_equal(got_site, site);
}

static void a_store_is_seen_at_once_and_durable_after_a_drain(void **state)
{
	struct region *r = *state;

	region_store(r, 1000, "hello", 5, HERE);
	assert_memory_equal(region_ptr(r, 1000, 5), "hello", 5);
	assert_bytes(region_record_durable(r), BYTES, 0);
	region_drain(r, HERE);
	assert_memory_equal(region_record_durable(r) + 1000, "hello", 5);
	assert_int_equal(region_record_nr_pending(r), 0);
	assert_int_equal(region_record_nr_drains(r), 1);
}

static void pending_lines_stand_in_order_with_who_stored_them_last(void **state)
{
	const struct sync_site *first = HERE, *second = HERE, *third = HERE;
	const struct sync_site *site;
	struct region *r = *state;
	uint64_t off;

	region_store(r, 4096 + 60, "12345678", 8, first); /* two lines */
	region_store64(r, 128, 7, second);
	region_store(r, 4096 + 64, "x", 1, third); /* the second of the two, again */
	assert_int_equal(region_record_nr_pending(r), 3);
	assert_pending(r, 0, 4096, first);
	assert_pending(r, 1, 4096 + 64, third);
	assert_pending(r, 2, 128, second);
	assert_false(region_record_pending(r, 3, &off, &site));
}

static void zeroing_and_flushing_make_every_touched_line_pending(void **state)
{
	struct region *r = *state;
	const struct sync_site *site = HERE;

	region_zero(r, 63, 130, site); /* one byte, two whole lines, one byte */
	assert_int_equal(region_record_nr_pending(r), 4);
	for (size_t i = 0; i < 4; i++)
		assert_pending(r, i, i * 64, site);
	region_drain(r, HERE);

	/* A client stores through its mapping; only the flush brings it into the account. */
	memcpy((void *)(uintptr_t)region_ptr(r, 8192, 100), "client", 6);
	region_drain(r, HERE);
	assert_bytes(region_record_durable(r) + 8192, 100, 0);
	region_flush(r, 8192, 100, site);
	assert_int_equal(region_record_nr_pending(r), 2);
	region_drain(r, HERE);
	assert_memory_equal(region_record_durable(r) + 8192, "client", 6);
}

static void nothing_is_pending_after_an_empty_store(void **state)
{
	struct region *r = *state;

	region_store(r, BYTES, "", 0, HERE);
	region_zero(r, 0, 0, HERE);
	region_flush(r, 64, 0, HERE);
	assert_int_equal(region_record_nr_pending(r), 0);
}

static void a_crash_image_lacks_exactly_the_skipped_line(void **state)
{
	struct region *r = *state;
	unsigned char *image = malloc(BYTES);

	assert_non_null(image);
	region_store(r, 0, "old", 3, HERE);
	region_drain(r, HERE);
	region_store(r, 0, "new", 3, HERE);
	region_store(r, 640, "more", 4, HERE);

	region_record_crash_image(r, SIZE_MAX, image);
	assert_memory_equal(image, "new", 3);
	assert_memory_equal(image + 640, "more", 4);
	assert_memory_equal(image, region_ptr(r, 0, BYTES), BYTES);

	region_record_crash_image(r, 0, image);
	assert_memory_equal(image, "old", 3);
	assert_memory_equal(image + 640, "more", 4);

	region_record_crash_image(r, 1, image);
	assert_memory_equal(image, "new", 3);
	assert_bytes(image + 640, 64, 0);
	free(image);
}

struct drain_log {
	unsigned calls;
	size_t nr_pending;
	unsigned char durable, visible;
};

static void log_drain(void *ctx, struct region *r)
{
	struct drain_log *log = ctx;

	log->calls++;
	log->nr_pending = region_record_nr_pending(r);
	log->durable = region_record_durable(r)[0];
	log->visible = *(const unsigned char *)region_ptr(r, 0, 1);
}

static void the_hook_runs_before_the_drain_takes_effect(void **state)
{
	struct region *r = *state;
	struct drain_log log = { 0 };

	region_record_on_drain(r, log_drain, &log);
	region_store(r, 0, "A", 1, HERE);
	assert_int_equal(log.calls, 0);
	region_drain(r, HERE);
	assert_int_equal(log.calls, 1);
	assert_int_equal(log.nr_pending, 1);
	assert_int_equal(log.durable, 0);
	assert_int_equal(log.visible, 'A');
	region_drain(r, HERE); /* with nothing to do, it is still a drain */
	assert_int_equal(log.calls, 2);
	assert_int_equal(log.durable, 'A');
}

static void a_recorder_starts_from_a_copy_of_its_image(void **state)
{
	unsigned char *image = malloc(BYTES);
	struct region *r;

	(void)state;
	assert_non_null(image);
	memset(image, 0x5a, BYTES);
	r = region_record_new(image, BYTES, 2u << 20);
	assert_non_null(r);
	memset(image, 0, BYTES);
	assert_bytes(region_ptr(r, 0, BYTES), BYTES, 0x5a);
	assert_bytes(region_record_durable(r), BYTES, 0x5a);
	assert_int_equal(r->granule_bytes, 2u << 20);
	assert_int_equal(r->bytes, BYTES);
	assert_string_equal(r->ops->name, "record");
	region_close(r);
	free(image);
}

static void a_reset_recorder_is_as_new(void **state)
{
	struct region *r = *state;

	region_store(r, 0, "x", 1, HERE);
	region_drain(r, HERE);
	region_store(r, 100, "y", 1, HERE);
	assert_int_equal(region_mark_bad(r, 0, 1), 0);
	region_record_reset(r, NULL);
	assert_int_equal(region_record_nr_pending(r), 0);
	assert_int_equal(region_record_nr_drains(r), 0);
	assert_bytes(region_ptr(r, 0, BYTES), BYTES, 0);
	assert_bytes(region_record_durable(r), BYTES, 0);
	assert_int_equal(region_check(r, 0, BYTES), 0);
	region_drain(r, HERE);
	assert_bytes(region_record_durable(r), BYTES, 0);
	region_store(r, 100, "z", 1, HERE); /* its line was pending before */
	assert_int_equal(region_record_nr_pending(r), 1);
}

static void bad_ranges_can_be_simulated(void **state)
{
	struct region *r = *state;

	assert_int_equal(region_check(r, 0, BYTES), 0);
	assert_int_equal(region_mark_bad(r, 8192, 4096), 0);
	assert_int_equal(region_check(r, 8000, 192), 0);
	assert_int_equal(region_check(r, 8000, 193), -EIO);
	assert_false(region_sigbus(r, r->base));
}

static void what_needs_a_file_is_answered_without_one(void **state)
{
	struct region *r = *state;
	int pid = -7;

	assert_int_equal(region_grow(r), -EOPNOTSUPP);
	assert_int_equal(region_lock(r, 0, &pid), 0);
	assert_int_equal(pid, -7);
	region_set_serving(r, true);
	region_unlock(r);
	assert_false(region_clients_alive(r));
}

/* ---- random stores against a recorder that compares whole images ---------------------------- */

static uint32_t next_random(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

/* What a crash leaves without the @skip-th pending line, found by comparing. */
static void expect_crash_image(const struct region *r, const unsigned char *visible,
			       const unsigned char *durable, size_t skip, unsigned char *buf)
{
	const struct sync_site *site;
	uint64_t off = UINT64_MAX;

	if (skip != SIZE_MAX)
		assert_true(region_record_pending(r, skip, &off, &site));
	memcpy(buf, visible, BYTES);
	if (off != UINT64_MAX)
		memcpy(buf + off, durable + off, CACHELINE_BYTES);
}

static void store_something(struct region *r, unsigned char *visible, uint32_t *seed)
{
	static const struct sync_site site = { __FILE__, __LINE__ };
	uint32_t off = next_random(seed) % BYTES, len = next_random(seed) % 300;
	unsigned char data[300];

	if (len > BYTES - off)
		len = BYTES - off;
	memset(data, (int)next_random(seed), sizeof(data));
	switch (next_random(seed) % 3) {
	case 0:
		region_store(r, off, data, len, &site);
		memcpy(visible + off, data, len);
		break;
	case 1:
		region_zero(r, off, len, &site);
		memset(visible + off, 0, len);
		break;
	default:
		off &= ~7u;
		region_store64(r, off, *seed, &site);
		memcpy(visible + off, &(uint64_t){ *seed }, 8);
	}
}

static void random_stores_match_a_comparison_of_whole_images(void **state)
{
	struct region *r = *state;
	unsigned char *visible = calloc(1, BYTES), *durable = calloc(1, BYTES);
	unsigned char *want = malloc(BYTES), *got = malloc(BYTES);
	uint32_t seed = 20150817;

	assert_true(visible && durable && want && got);
	for (int round = 0; round < 300; round++) {
		size_t skip;

		for (uint32_t n = next_random(&seed) % 20; n > 0; n--)
			store_something(r, visible, &seed);
		assert_memory_equal(region_ptr(r, 0, BYTES), visible, BYTES);
		assert_memory_equal(region_record_durable(r), durable, BYTES);
		skip = next_random(&seed) % (region_record_nr_pending(r) + 1);
		if (skip == region_record_nr_pending(r))
			skip = SIZE_MAX;
		region_record_crash_image(r, skip, got);
		expect_crash_image(r, visible, durable, skip, want);
		assert_memory_equal(got, want, BYTES);
		if (round % 3 == 0) {
			region_drain(r, HERE);
			memcpy(durable, visible, BYTES);
		}
	}
	free(visible);
	free(durable);
	free(want);
	free(got);
}

static void every_line_of_the_region_can_be_pending_at_once(void **state)
{
	struct region *r = *state;
	unsigned char *ones = malloc(BYTES);

	assert_non_null(ones);
	memset(ones, 1, BYTES);
	region_store(r, 0, ones, BYTES, HERE);
	region_store(r, 0, ones, BYTES, HERE);
	assert_int_equal(region_record_nr_pending(r), BYTES / CACHELINE_BYTES);
	region_drain(r, HERE);
	assert_bytes(region_record_durable(r), BYTES, 1);
	free(ones);
}

/* ---- bugs of the caller ---------------------------------------------------------------------- */

static bool aborts(void (*fn)(struct region *r), struct region *r)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		struct rlimit none = { 0, 0 };

		setrlimit(RLIMIT_CORE, &none);
		signal(SIGABRT, SIG_DFL);
		if (!freopen("/dev/null", "w", stderr))
			_exit(1);
		fn(r);
		_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void load_past_the_end(struct region *r)
{
	region_ptr(r, BYTES - 1, 2);
}

static void load_with_wraparound(struct region *r)
{
	region_ptr(r, UINT64_MAX - 3, 8);
}

static void store_past_the_end(struct region *r)
{
	region_store(r, BYTES, "x", 1, HERE);
}

static void store64_unaligned(struct region *r)
{
	region_store64(r, 4, 1, HERE);
}

static void store_read_only(struct region *r)
{
	r->read_only = true;
	region_zero(r, 0, 1, HERE);
}

static void store_inside(struct region *r)
{
	region_store(r, BYTES - 1, "x", 1, HERE);
}

static void what_only_a_bug_can_ask_for_aborts(void **state)
{
	struct region *r = *state;

	assert_true(aborts(load_past_the_end, r));
	assert_true(aborts(load_with_wraparound, r));
	assert_true(aborts(store_past_the_end, r));
	assert_true(aborts(store64_unaligned, r));
	assert_true(aborts(store_read_only, r));
	assert_false(aborts(store_inside, r));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, new_recorder, close_recorder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_store_is_seen_at_once_and_durable_after_a_drain),
		TEST(pending_lines_stand_in_order_with_who_stored_them_last),
		TEST(zeroing_and_flushing_make_every_touched_line_pending),
		TEST(nothing_is_pending_after_an_empty_store),
		TEST(a_crash_image_lacks_exactly_the_skipped_line),
		TEST(the_hook_runs_before_the_drain_takes_effect),
		cmocka_unit_test(a_recorder_starts_from_a_copy_of_its_image),
		TEST(a_reset_recorder_is_as_new),
		TEST(bad_ranges_can_be_simulated),
		TEST(what_needs_a_file_is_answered_without_one),
		TEST(random_stores_match_a_comparison_of_whole_images),
		TEST(every_line_of_the_region_can_be_pending_at_once),
		TEST(what_only_a_bug_can_ask_for_aborts),
	};

	return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
