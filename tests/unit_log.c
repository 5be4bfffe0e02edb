/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_log.c - what the daemon says in syslog: a burst is let through, then five lines a second, what was
 * held back is counted, and errors and reports of lockdep are never held back. syslog() and the clock are
 * this file's: the linker wraps them (cmake/Tests.cmake).
 */
#include <setjmp.h> /* cmocka.h wants these four */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include "udaxfs_log.h"

#define BURST 50
#define A_SECOND 5

static struct {
	unsigned lines;
	int priority;
	char last[512], before[512];
	time_t now; /* 0: the real clock */
} seen;

void __wrap_openlog(const char *name, int option, int facility);
void __wrap_openlog(const char *name, int option, int facility)
{
	(void)option;
	assert_string_equal(name, "udaxfs");
	assert_int_equal(facility, LOG_DAEMON);
}

void __wrap_syslog(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));
void __wrap_syslog(int priority, const char *format, ...)
{
	va_list args;

	seen.lines++;
	seen.priority = priority;
	memcpy(seen.before, seen.last, sizeof(seen.before));
	va_start(args, format);
	vsnprintf(seen.last, sizeof(seen.last), format, args);
	va_end(args);
}

int __real_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
	int err = __real_clock_gettime(clock, ret);

	if (seen.now)
		ret->tv_sec = seen.now;
	return err;
}

static unsigned say(unsigned n)
{
	unsigned before = seen.lines;

	for (unsigned i = 0; i < n; i++)
		log_line(NULL, "damage");
	return seen.lines - before;
}

/* After so much silence that a whole burst may be written again; what was held back is reported. */
static int rested(void **state)
{
	(void)state;
	seen.now = seen.now ? seen.now + 1000 : 1000000;
	log_to_syslog("/srv/v.pmem");
	log_errorf("the test begins");
	return 0;
}

static void a_burst_is_let_through_and_no_more(void **state)
{
	(void)state;
	assert_int_equal(say(10 * BURST), BURST);
	assert_string_equal(seen.last, "/srv/v.pmem: damage");
	assert_int_equal(seen.priority, LOG_WARNING);
}

static void then_it_is_five_a_second(void **state)
{
	(void)state;
	assert_int_equal(say(10 * BURST), BURST);
	for (unsigned i = 0; i < 20; i++) {
		seen.now++;
		assert_int_equal(say(100),
				 A_SECOND + 1); /* and one that counts what was left out */
	}
	seen.now += 2;
	assert_int_equal(say(100), 2 * A_SECOND + 1);
}

static void silence_saves_up_one_burst_at_most(void **state)
{
	(void)state;
	seen.now += 100000;
	assert_int_equal(say(10 * BURST), BURST);
}

static void what_was_left_out_is_counted_before_the_next_line(void **state)
{
	(void)state;
	say(BURST + 7);
	seen.now++;
	assert_int_equal(say(1), 2);
	assert_string_equal(seen.before, "/srv/v.pmem: 7 lines were left out");
	assert_string_equal(seen.last, "/srv/v.pmem: damage");
	assert_int_equal(say(1), 1);
}

static void errors_are_never_left_out(void **state)
{
	unsigned before;

	(void)state;
	say(BURST + 1);
	before = seen.lines;
	for (int i = 0; i < 3 * BURST; i++)
		log_errorf("error %d", i);
	assert_int_equal(seen.lines - before, 3 * BURST + 1);
	assert_string_equal(seen.last, "/srv/v.pmem: error 149");
	assert_int_equal(seen.priority, LOG_ERR);
}

static void a_report_of_lockdep_is_whole(void **state)
{
	unsigned before;

	(void)state;
	say(BURST);
	before = seen.lines;
	for (int i = 0; i < 3 * BURST; i++)
		log_lockdep(NULL, "a line");
	assert_int_equal(seen.lines - before, 3 * BURST);
	assert_string_equal(seen.last, "/srv/v.pmem: lockdep: a line");
}

#define TEST(name) cmocka_unit_test_setup(name, rested)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_burst_is_let_through_and_no_more),
		TEST(then_it_is_five_a_second),
		TEST(silence_saves_up_one_burst_at_most),
		TEST(what_was_left_out_is_counted_before_the_next_line),
		TEST(errors_are_never_left_out),
		TEST(a_report_of_lockdep_is_whole),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
