/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_region_lock.c - the locks between processes: who serves a region, and whether clients live.
 *
 * The other process is a real one, because record locks never conflict within a process. It is
 * told what to do by single letters on a pipe and answers each with the result.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "region.h"

#define BYTES (1 << 20)

struct fixture {
	char path[64];
	struct region *r;
	pid_t pid; /* the other process */
	int to, from;
};

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void sleep_ms(long ms)
{
	struct timespec left = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	while (nanosleep(&left, &left) && errno == EINTR)
		;
}

/* ---- the other process ------------------------------------------------------------------------ */

static struct region *must_open(const char *path, unsigned flags)
{
	struct region *r = NULL;
	char err[256];

	if (region_open(path, flags, 0, &r, err, sizeof(err)))
		return NULL;
	return r;
}

/* A client: its own open of the file, a shared flock on it, a mapping, and no descriptor left. */
static int map_as_client(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	void *p;

	if (fd < 0 || flock(fd, LOCK_SH))
		return -1;
	p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	return p == MAP_FAILED ? -1 : 0;
}

static int obey(char what, const char *path, struct region **r)
{
	int pid;

	switch (what) {
	case 'o':
		*r = must_open(path, 0);
		return *r ? 0 : -1;
	case 'r':
		*r = must_open(path, REGION_RDONLY);
		return *r ? 0 : -1;
	case 'l':
		return region_lock(*r, 0, &pid);
	case 's':
		region_set_serving(*r, true);
		return 0;
	case 'e':
		region_set_serving(*r, false);
		return 0;
	case 'u':
		region_unlock(*r);
		return 0;
	case 'c':
		region_close(*r);
		*r = NULL;
		return 0;
	case 'p': /* what a library that looks at the file does */
		return close(open(path, O_RDONLY | O_CLOEXEC));
	case 'm':
		return map_as_client(path);
	/* Answered at once, done later: */
	case 'U':
		return 0;
	case 'E':
		return 0;
	case 'A':
		return 0;
	default:
		return -1;
	}
}

static void do_later(char what, struct region *r)
{
	switch (what) {
	case 'U': /* it unmounts, and is ready after a while */
		sleep_ms(200);
		break;
	case 'E': /* it serves for a while, and then unmounts */
		sleep_ms(150);
		region_set_serving(r, false);
		sleep_ms(50);
		break;
	case 'A': /* three short mounts, one after the other */
		for (int i = 0; i < 3; i++) {
			region_set_serving(r, true);
			sleep_ms(250);
			region_set_serving(r, false);
			sleep_ms(50);
		}
		break;
	default:
		return;
	}
	region_unlock(r);
}

static void obey_until_told_to_leave(const char *path, int in, int out)
{
	struct region *r = NULL;
	char what;

	while (read(in, &what, 1) == 1) {
		int rc = obey(what, path, &r);

		if (write(out, &rc, sizeof(rc)) != sizeof(rc))
			break;
		do_later(what, r);
	}
	region_close(r);
}

static void start_other(struct fixture *fx)
{
	int to[2], from[2];

	assert_int_equal(pipe2(to, O_CLOEXEC), 0);
	assert_int_equal(pipe2(from, O_CLOEXEC), 0);
	fflush(NULL);
	fx->pid = fork();
	assert_true(fx->pid >= 0);
	if (fx->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(to[1]);
		close(from[0]);
		obey_until_told_to_leave(fx->path, to[0], from[1]);
		_exit(0);
	}
	close(to[0]);
	close(from[1]);
	fx->to = to[1];
	fx->from = from[0];
}

/* Each letter of @what in turn; the result of the last. */
static int tell(struct fixture *fx, const char *what)
{
	int rc = -1;

	for (; *what; what++) {
		assert_int_equal(write(fx->to, what, 1), 1);
		assert_int_equal(read(fx->from, &rc, sizeof(rc)), sizeof(rc));
	}
	return rc;
}

static void end_other(struct fixture *fx, int sig)
{
	if (!fx->pid)
		return;
	if (sig)
		kill(fx->pid, sig);
	close(fx->to);
	close(fx->from);
	waitpid(fx->pid, NULL, 0);
	fx->pid = 0;
}

/* ---- fixture ---------------------------------------------------------------------------------- */

static int setup(void **state)
{
	struct fixture *fx = calloc(1, sizeof(*fx));
	int fd;

	if (!fx)
		return -1;
	snprintf(fx->path, sizeof(fx->path), "/dev/shm/udax-lock.XXXXXX");
	fd = mkstemp(fx->path);
	if (fd < 0 || ftruncate(fd, BYTES))
		return -1;
	close(fd);
	start_other(fx); /* before this process opens the region: nothing is inherited */
	fx->r = must_open(fx->path, 0);
	*state = fx;
	return fx->r ? 0 : -1;
}

static int teardown(void **state)
{
	struct fixture *fx = *state;

	end_other(fx, 0);
	region_close(fx->r);
	unlink(fx->path);
	free(fx);
	return 0;
}

static void reopen(struct fixture *fx, unsigned flags)
{
	region_close(fx->r);
	fx->r = must_open(fx->path, flags);
	assert_non_null(fx->r);
}

/* ---- exclusion -------------------------------------------------------------------------------- */

static void a_second_process_is_refused_with_the_pid_of_the_first(void **state)
{
	struct fixture *fx = *state;
	int pid = 0;

	assert_int_equal(tell(fx, "ol"), 0);
	assert_int_equal(region_lock(fx->r, 0, &pid), -EBUSY);
	assert_int_equal(pid, fx->pid);
	assert_int_equal(tell(fx, "u"), 0);
	assert_int_equal(region_lock(fx->r, 0, &pid), 0);
	assert_int_equal(tell(fx, "l"), -EBUSY);
	region_unlock(fx->r);
	assert_int_equal(tell(fx, "l"), 0);
}

static void closing_a_region_unlocks_it(void **state)
{
	struct fixture *fx = *state;
	int pid;

	assert_int_equal(tell(fx, "olsc"), 0);
	assert_int_equal(region_lock(fx->r, 0, &pid), 0);
}

static void the_lock_falls_when_its_holder_is_killed(void **state)
{
	struct fixture *fx = *state;
	int pid;

	assert_int_equal(tell(fx, "ols"), 0);
	end_other(fx, SIGKILL);
	assert_int_equal(region_lock(fx->r, 0, &pid), 0);
}

static void a_second_region_of_one_process_is_refused_too(void **state)
{
	struct fixture *fx = *state;
	struct region *second = must_open(fx->path, 0);
	int pid = -1;

	assert_non_null(second);
	assert_int_equal(region_lock(fx->r, 0, &pid), 0);
	assert_int_equal(region_lock(second, 0, &pid), -EBUSY);
	assert_int_equal(pid, 0); /* one's own record locks cannot be seen */
	region_close(second);
}

static void exclusion_outlasts_the_closing_of_another_descriptor(void **state)
{
	struct fixture *fx = *state;
	int pid = -1;

	assert_int_equal(tell(fx, "olp"), 0);
	assert_int_equal(region_lock(fx->r, 0, &pid), -EBUSY);
	assert_int_equal(pid, 0); /* POSIX took the name away, not the lock */
}

/* ---- waiting ---------------------------------------------------------------------------------- */

static void one_that_is_unmounting_is_waited_for(void **state)
{
	struct fixture *fx = *state;
	uint64_t start = now_ms();
	int pid;

	assert_int_equal(tell(fx, "olseU"), 0);
	assert_int_equal(region_lock(fx->r, 30000, &pid), 0);
	assert_true(now_ms() - start >= 150);
	assert_true(now_ms() - start < 15000);
}

static void one_that_has_not_noticed_its_unmount_yet_is_waited_for(void **state)
{
	struct fixture *fx = *state;
	int pid;

	assert_int_equal(tell(fx, "olsE"), 0);
	assert_int_equal(region_lock(fx->r, 30000, &pid), 0);
}

static void the_moment_begins_anew_with_each_mount(void **state)
{
	struct fixture *fx = *state;
	int pid;

	assert_int_equal(tell(fx, "olA"), 0);
	assert_int_equal(region_lock(fx->r, 30000, &pid), 0);
}

static void one_that_serves_is_waited_for_only_for_a_moment(void **state)
{
	struct fixture *fx = *state;
	uint64_t start = now_ms();
	int pid = 0;

	assert_int_equal(tell(fx, "ols"), 0);
	assert_int_equal(region_lock(fx->r, 60000, &pid), -EBUSY);
	assert_int_equal(pid, fx->pid);
	assert_true(now_ms() - start >= 400);
	assert_true(now_ms() - start < 30000);
}

static void waiting_for_one_that_does_not_serve_is_bounded(void **state)
{
	struct fixture *fx = *state;
	uint64_t start = now_ms();
	int pid = 0;

	assert_int_equal(tell(fx, "ol"), 0);
	assert_int_equal(region_lock(fx->r, 700, &pid), -EBUSY);
	assert_int_equal(pid, fx->pid);
	assert_true(now_ms() - start >= 700); /* longer than for one that serves */
}

static void the_bound_holds_for_one_that_serves_as_well(void **state)
{
	struct fixture *fx = *state;
	uint64_t start = now_ms();
	int pid = 0;

	assert_int_equal(tell(fx, "ols"), 0);
	assert_int_equal(region_lock(fx->r, 0, &pid), -EBUSY);
	assert_true(now_ms() - start < 400);
}

/* ---- readers ---------------------------------------------------------------------------------- */

static void readers_share_a_region_and_keep_writers_out(void **state)
{
	struct fixture *fx = *state;
	int pid = 0;

	assert_int_equal(tell(fx, "rls"), 0);
	assert_int_equal(region_lock(fx->r, 0, &pid), -EBUSY);
	assert_int_equal(pid, fx->pid);
	reopen(fx, REGION_RDONLY);
	assert_int_equal(region_lock(fx->r, 0, &pid), 0);
}

static void a_writer_keeps_readers_out(void **state)
{
	struct fixture *fx = *state;
	int pid = 0;

	assert_int_equal(tell(fx, "ol"), 0);
	reopen(fx, REGION_RDONLY);
	assert_int_equal(region_lock(fx->r, 0, &pid), -EBUSY);
	assert_int_equal(pid, fx->pid);
}

/* ---- clients ---------------------------------------------------------------------------------- */

static void a_client_is_seen_as_long_as_it_maps_the_region(void **state)
{
	struct fixture *fx = *state;

	assert_false(region_clients_alive(fx->r));
	assert_int_equal(tell(fx, "m"),
			 0); /* its descriptor is closed: the mapping holds the lock */
	assert_true(region_clients_alive(fx->r));
	assert_true(region_clients_alive(fx->r));
	end_other(fx, SIGKILL);
	assert_false(region_clients_alive(fx->r));
}

static void a_client_does_not_keep_a_daemon_out(void **state)
{
	struct fixture *fx = *state;
	int pid;

	assert_int_equal(tell(fx, "m"), 0);
	assert_int_equal(region_lock(fx->r, 0, &pid), 0);
}

static void looking_for_clients_lets_nothing_go(void **state)
{
	struct fixture *fx = *state;
	int pid;

	assert_int_equal(region_lock(fx->r, 0, &pid), 0);
	region_set_serving(fx->r, true);
	assert_false(region_clients_alive(fx->r));
	assert_int_equal(tell(fx, "ol"), -EBUSY);
	assert_int_equal(tell(fx, "m"), 0); /* and a client can come */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_second_process_is_refused_with_the_pid_of_the_first),
		TEST(closing_a_region_unlocks_it),
		TEST(the_lock_falls_when_its_holder_is_killed),
		TEST(a_second_region_of_one_process_is_refused_too),
		TEST(exclusion_outlasts_the_closing_of_another_descriptor),
		TEST(one_that_is_unmounting_is_waited_for),
		TEST(one_that_has_not_noticed_its_unmount_yet_is_waited_for),
		TEST(the_moment_begins_anew_with_each_mount),
		TEST(one_that_serves_is_waited_for_only_for_a_moment),
		TEST(waiting_for_one_that_does_not_serve_is_bounded),
		TEST(the_bound_holds_for_one_that_serves_as_well),
		TEST(readers_share_a_region_and_keep_writers_out),
		TEST(a_writer_keeps_readers_out),
		TEST(a_client_is_seen_as_long_as_it_maps_the_region),
		TEST(a_client_does_not_keep_a_daemon_out),
		TEST(looking_for_clients_lets_nothing_go),
	};

	return cmocka_run_group_tests_name("region locks", tests, NULL, NULL);
}
