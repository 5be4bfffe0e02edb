/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_sync.c - locks, waits, threads, clock and statistics over POSIX threads.
 *
 * What must abort is tried in a child process, which has to die of SIGABRT with the message that
 * names the mistake. Where one thread has to be asleep before another goes on, the test does not
 * guess a time: it looks for the effect until it is there, and the alarm in main() ends a test in
 * which it never comes. Threads report through plain fields that are read after the join, or
 * through atomics; only the main thread asserts, because cmocka leaves a failed test by longjmp.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "lockdep.h"
#include "sync.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* The inversions here are meant; ThreadSanitizer has a lock-order checker of its own. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "detect_deadlocks=0";
}

#define MSEC 1000000ull
#define NR_THREADS 4

struct report {
	char text[1 << 14];
};

static void report_line(void *ctx, const char *line)
{
	struct report *r = ctx;
	size_t len = strlen(r->text);

	snprintf(r->text + len, sizeof(r->text) - len, "%s\n", line);
}

/* An environment with one mutex, one reader/writer lock, one condition. */
struct world {
	struct sync *sync;
	struct report report;
	struct sync_mutex mutex;
	struct sync_rwlock rw;
	struct sync_cond cond;
	int value; /* protected by mutex or rw, whichever the test uses */
	atomic_int step, arrived;
	bool flag;
};

static struct world *world_new(bool lockdep)
{
	struct world *w = calloc(1, sizeof(*w));
	struct sync_options options = { lockdep, report_line, NULL };

	assert_non_null(w);
	options.report_ctx = &w->report;
	w->sync = sync_pthread_new(&options);
	assert_non_null(w->sync);
	sync_mutex_init(w->sync, &w->mutex, LOCK_HOLDER);
	sync_rw_init(w->sync, &w->rw, LOCK_ILOCK);
	sync_cond_init(w->sync, &w->cond);
	return w;
}

static void world_delete(struct world *w)
{
	sync_cond_destroy(&w->cond);
	sync_rw_destroy(&w->rw);
	sync_mutex_destroy(&w->mutex);
	sync_delete(w->sync);
	free(w);
}

static struct sync_thread *start(struct world *w, const char *name, void (*fn)(void *))
{
	struct sync_thread *thread;

	assert_int_equal(sync_thread_start(w->sync, name, fn, w, &thread), 0);
	return thread;
}

static void run(struct world *w, const char *name, void (*fn)(void *))
{
	sync_thread_join(start(w, name, fn));
}

static void nap(void)
{
	usleep(1000);
}

/* Runs @fn in a child: it must abort, after writing @message to stderr. */
static void expect_abort(void (*fn)(struct world *w), bool lockdep, const char *message)
{
	char text[8192] = "";
	size_t len = 0;
	int fds[2], status;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
		dup2(fds[1], STDERR_FILENO);
		alarm(30);
		fn(world_new(lockdep));
		_exit(0);
	}
	close(fds[1]);
	while ((n = read(fds[0], text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
		fail_msg("no abort, status %#x, for '%s'; stderr:\n%s", status, message, text);
	if (!strstr(text, message))
		fail_msg("aborted without '%s':\n%s", message, text);
}

/* Mutexes. */

static void count_up(void *arg)
{
	struct world *w = arg;

	for (int i = 0; i < 5000; i++) {
		sync_lock(&w->mutex, 0, HERE);
		w->value++;
		sync_unlock(&w->mutex, HERE);
	}
}

static void a_mutex_lets_one_thread_in(void **state)
{
	(void)state;
	/* unwatched, with lockdep, with statistics, with both */
	for (int watch = 0; watch < 4; watch++) {
		struct world *w = world_new(watch & 1);
		struct sync_thread *threads[NR_THREADS];

		sync_stat_enable(w->sync, watch & 2);
		for (int i = 0; i < NR_THREADS; i++)
			threads[i] = start(w, "count", count_up);
		for (int i = 0; i < NR_THREADS; i++)
			sync_thread_join(threads[i]);
		assert_int_equal(w->value, NR_THREADS * 5000);
		world_delete(w);
	}
}

static void try_mutex(void *arg)
{
	struct world *w = arg;

	w->flag = sync_trylock(&w->mutex, 0, HERE);
	if (w->flag)
		sync_unlock(&w->mutex, HERE);
}

static void trylock_takes_a_free_mutex_and_no_other(void **state)
{
	struct world *w = world_new(true);

	(void)state;
	run(w, "try", try_mutex);
	assert_true(w->flag);

	assert_true(sync_trylock(&w->mutex, 0, HERE));
	sync_assert_locked(&w->mutex);
	assert_false(sync_trylock(&w->mutex, 0, HERE));
	run(w, "try", try_mutex);
	assert_false(w->flag);
	sync_unlock(&w->mutex, HERE);

	run(w, "try", try_mutex);
	assert_true(w->flag);
	assert_int_equal(lockdep_nr_reports(sync_lockdep(w->sync)), 0);
	world_delete(w);
}

/* What must abort. */

static void unlock_free_mutex(struct world *w)
{
	sync_unlock(&w->mutex, HERE);
}

static void unlock_mutex_thread(void *arg)
{
	unlock_free_mutex(arg);
}

static void unlock_foreign_mutex(struct world *w)
{
	sync_lock(&w->mutex, 0, HERE);
	run(w, "thief", unlock_mutex_thread);
}

static void lock_mutex_twice(struct world *w)
{
	sync_lock(&w->mutex, 0, HERE);
	sync_lock(&w->mutex, 0, HERE);
}

static void lock_rw_twice(struct world *w)
{
	sync_rw_lock(&w->rw, SYNC_EXCL, 0, HERE);
	sync_rw_lock(&w->rw, SYNC_EXCL, 0, HERE);
}

static void share_what_is_mine(struct world *w)
{
	sync_rw_lock(&w->rw, SYNC_EXCL, 0, HERE);
	sync_rw_lock(&w->rw, SYNC_SHARED, 0, HERE);
}

static void unlock_free_rw_shared(struct world *w)
{
	sync_rw_unlock(&w->rw, SYNC_SHARED, HERE);
}

static void unlock_free_rw_excl(struct world *w)
{
	sync_rw_unlock(&w->rw, SYNC_EXCL, HERE);
}

static void unlock_shared_as_excl(struct world *w)
{
	sync_rw_lock(&w->rw, SYNC_SHARED, 0, HERE);
	sync_rw_unlock(&w->rw, SYNC_EXCL, HERE);
}

static void unlock_excl_as_shared(struct world *w)
{
	sync_rw_lock(&w->rw, SYNC_EXCL, 0, HERE);
	sync_rw_unlock(&w->rw, SYNC_SHARED, HERE);
}

static void unlock_free_rw_while_sharing_another(struct world *w)
{
	struct sync_rwlock other;

	sync_rw_init(w->sync, &other, LOCK_IOLOCK);
	sync_rw_lock(&other, SYNC_SHARED, 0, HERE);
	sync_rw_unlock(&w->rw, SYNC_SHARED, HERE);
}

#define NOT_HELD "does not hold it in that mode, at " __FILE__ ":"
#define TWICE "taken by the thread that holds it, at " __FILE__ ":"

static void releasing_a_lock_that_is_not_held_aborts(void **state)
{
	(void)state;
	for (int lockdep = 0; lockdep < 2; lockdep++) {
		expect_abort(unlock_free_mutex, lockdep, NOT_HELD);
		expect_abort(unlock_foreign_mutex, lockdep, NOT_HELD);
		expect_abort(unlock_free_rw_shared, lockdep, NOT_HELD);
		expect_abort(unlock_free_rw_excl, lockdep, NOT_HELD);
	}
}

static void releasing_a_lock_in_the_other_mode_aborts(void **state)
{
	(void)state;
	for (int lockdep = 0; lockdep < 2; lockdep++) {
		expect_abort(unlock_shared_as_excl, lockdep, NOT_HELD);
		expect_abort(unlock_excl_as_shared, lockdep, NOT_HELD);
	}
}

static void lockdep_knows_which_thread_shares_a_lock(void **state)
{
	(void)state;
	expect_abort(unlock_free_rw_while_sharing_another, true, NOT_HELD);
}

static void taking_a_lock_that_is_held_exclusively_by_oneself_aborts(void **state)
{
	(void)state;
	for (int lockdep = 0; lockdep < 2; lockdep++) {
		expect_abort(lock_mutex_twice, lockdep, TWICE);
		expect_abort(lock_rw_twice, lockdep, TWICE);
		expect_abort(share_what_is_mine, lockdep, TWICE);
	}
}

static void wait_without_the_mutex(struct world *w)
{
	sync_wait(&w->cond, &w->mutex, HERE);
}

static void waiting_without_the_mutex_aborts(void **state)
{
	(void)state;
	expect_abort(wait_without_the_mutex, false, "waited with by a thread that does not hold");
}

static void destroy_shared_rw(struct world *w)
{
	sync_rw_lock(&w->rw, SYNC_SHARED, 0, HERE);
	sync_rw_destroy(&w->rw);
}

static void destroying_a_lock_that_is_held_aborts(void **state)
{
	(void)state;
	expect_abort(destroy_shared_rw, false, "destroyed while held");
}

/* Assertions about what is held. */

static void assert_free_mutex(struct world *w)
{
	sync_assert_locked(&w->mutex);
}

static void assert_free_rw(struct world *w)
{
	sync_rw_assert(&w->rw, SYNC_SHARED);
}

static void assert_excl_of_shared(struct world *w)
{
	sync_rw_lock(&w->rw, SYNC_SHARED, 0, HERE);
	sync_rw_assert(&w->rw, SYNC_EXCL);
}

static void assert_rw_thread(void *arg)
{
	assert_free_rw(arg);
}

static void assert_foreign_excl(struct world *w)
{
	sync_rw_lock(&w->rw, SYNC_EXCL, 0, HERE);
	run(w, "other", assert_rw_thread);
}

static void assert_foreign_shared(struct world *w)
{
	sync_rw_lock(&w->rw, SYNC_SHARED, 0, HERE);
	run(w, "other", assert_rw_thread);
}

static void an_assertion_that_a_lock_is_held_passes_when_it_is(void **state)
{
	(void)state;
	for (int lockdep = 0; lockdep < 2; lockdep++) {
		struct world *w = world_new(lockdep);

		sync_rw_lock(&w->rw, SYNC_SHARED, 0, HERE);
		sync_rw_assert(&w->rw, SYNC_SHARED);
		sync_rw_unlock(&w->rw, SYNC_SHARED, HERE);

		sync_rw_lock(&w->rw, SYNC_EXCL, 0, HERE);
		sync_rw_assert(&w->rw, SYNC_SHARED);
		sync_rw_assert(&w->rw, SYNC_EXCL);
		sync_lock(&w->mutex, 0, HERE);
		sync_assert_locked(&w->mutex);
		sync_unlock(&w->mutex, HERE);
		sync_rw_unlock(&w->rw, SYNC_EXCL, HERE);
		world_delete(w);
	}
}

static void an_assertion_that_a_lock_is_held_aborts_when_it_is_not(void **state)
{
	(void)state;
	for (int lockdep = 0; lockdep < 2; lockdep++) {
		expect_abort(assert_free_mutex, lockdep, "holder: not held by this thread");
		expect_abort(assert_free_rw, lockdep, "ilock: not held by this thread");
		expect_abort(assert_excl_of_shared, lockdep, "ilock: not held exclusively");
		expect_abort(assert_foreign_excl, lockdep, "ilock: not held by this thread");
		expect_abort(assert_foreign_shared, lockdep, "ilock: not held by this thread");
	}
}

static void assert_none_with_one(struct world *w)
{
	sync_rw_lock(&w->rw, SYNC_SHARED, 0, HERE);
	sync_assert_none_held(w->sync, HERE);
}

static void assert_none_with_one_to_stderr(struct world *w)
{
	struct sync_options options = { .lockdep = true };

	w->sync = sync_pthread_new(&options);
	sync_rw_init(w->sync, &w->rw, LOCK_ILOCK);
	assert_none_with_one(w);
}

static void a_lock_held_where_none_may_be_aborts(void **state)
{
	struct world *w = world_new(false);

	(void)state;
	sync_lock(&w->mutex, 0, HERE);
	sync_unlock(&w->mutex, HERE);
	sync_assert_none_held(w->sync, HERE);
	world_delete(w);

	expect_abort(assert_none_with_one, false, "1 locks held where none may be, at " __FILE__);
	expect_abort(assert_none_with_one, true, "1 locks held where none may be, at " __FILE__);
	expect_abort(assert_none_with_one_to_stderr, true, " #0: (ilock){shared}, at: " __FILE__);
}

static void end_with_lock(void *arg)
{
	struct world *w = arg;

	sync_lock(&w->mutex, 0, HERE);
}

static void end_thread_with_lock(struct world *w)
{
	run(w, "careless", end_with_lock);
}

static void a_thread_that_ends_with_a_lock_aborts(void **state)
{
	(void)state;
	expect_abort(end_thread_with_lock, false, "1 locks held where none may be");
}

/* Reader/writer locks. */

static void try_shared(void *arg)
{
	struct world *w = arg;

	w->flag = sync_rw_trylock(&w->rw, SYNC_SHARED, 0, HERE);
	if (w->flag)
		sync_rw_unlock(&w->rw, SYNC_SHARED, HERE);
}

static void try_excl(void *arg)
{
	struct world *w = arg;

	w->flag = sync_rw_trylock(&w->rw, SYNC_EXCL, 0, HERE);
	if (w->flag)
		sync_rw_unlock(&w->rw, SYNC_EXCL, HERE);
}

static bool tried(struct world *w, void (*fn)(void *))
{
	run(w, "try", fn);
	return w->flag;
}

static void readers_share_and_a_writer_does_not(void **state)
{
	struct world *w = world_new(false);

	(void)state;
	assert_true(tried(w, try_shared));
	assert_true(tried(w, try_excl));

	sync_rw_lock(&w->rw, SYNC_SHARED, 0, HERE);
	assert_true(tried(w, try_shared));
	assert_false(tried(w, try_excl));
	sync_rw_unlock(&w->rw, SYNC_SHARED, HERE);

	sync_rw_lock(&w->rw, SYNC_EXCL, 0, HERE);
	assert_false(tried(w, try_shared));
	assert_false(tried(w, try_excl));
	sync_rw_unlock(&w->rw, SYNC_EXCL, HERE);
	assert_true(tried(w, try_excl));
	world_delete(w);
}

static void count_up_or_look(void *arg)
{
	struct world *w = arg;

	for (int i = 0; i < 3000; i++) {
		bool write = i % 3 == 0;

		sync_rw_lock(&w->rw, write ? SYNC_EXCL : SYNC_SHARED, 0, HERE);
		if (write)
			w->value++;
		else if (w->value < 0)
			w->flag = true;
		sync_rw_unlock(&w->rw, write ? SYNC_EXCL : SYNC_SHARED, HERE);
	}
}

static void a_reader_writer_lock_keeps_writers_apart(void **state)
{
	(void)state;
	for (int watch = 0; watch < 4; watch++) {
		struct world *w = world_new(watch & 1);
		struct sync_thread *threads[NR_THREADS];

		sync_stat_enable(w->sync, watch & 2);
		for (int i = 0; i < NR_THREADS; i++)
			threads[i] = start(w, "rw", count_up_or_look);
		for (int i = 0; i < NR_THREADS; i++)
			sync_thread_join(threads[i]);
		assert_int_equal(w->value, NR_THREADS * 1000);
		assert_false(w->flag);
		world_delete(w);
	}
}

static void write_step(void *arg)
{
	struct world *w = arg;

	sync_rw_lock(&w->rw, SYNC_EXCL, 0, HERE);
	w->value = 1;
	sync_rw_unlock(&w->rw, SYNC_EXCL, HERE);
}

static void read_step(void *arg)
{
	struct world *w = arg;

	sync_rw_lock(&w->rw, SYNC_SHARED, 0, HERE);
	w->flag = w->value == 1;
	sync_rw_unlock(&w->rw, SYNC_SHARED, HERE);
}

static void a_waiting_writer_keeps_new_readers_out(void **state)
{
	struct world *w = world_new(false);
	struct sync_thread *writer, *reader;

	(void)state;
	sync_rw_lock(&w->rw, SYNC_SHARED, 0, HERE);
	writer = start(w, "writer", write_step);
	while (tried(w, try_shared))
		nap(); /* until the writer waits; for ever if that kept nobody out */

	/* A reader that comes now gets in after the writer. */
	w->flag = false;
	reader = start(w, "reader", read_step);
	sync_rw_unlock(&w->rw, SYNC_SHARED, HERE);
	sync_thread_join(reader);
	sync_thread_join(writer);
	assert_true(w->flag);
	world_delete(w);
}

static void read_until_told(void *arg)
{
	struct world *w = arg;

	atomic_fetch_add(&w->arrived, 1);
	while (!atomic_load(&w->step)) {
		sync_rw_lock(&w->rw, SYNC_SHARED, 0, HERE);
		usleep(200); /* the shared holds overlap: the lock is never free by itself */
		sync_rw_unlock(&w->rw, SYNC_SHARED, HERE);
	}
}

static void a_stream_of_readers_does_not_starve_a_writer(void **state)
{
	struct world *w = world_new(false);
	struct sync_thread *threads[NR_THREADS];

	(void)state;
	for (int i = 0; i < NR_THREADS; i++)
		threads[i] = start(w, "reader", read_until_told);
	while (atomic_load(&w->arrived) < NR_THREADS)
		nap();
	for (int i = 0; i < 20; i++) {
		sync_rw_lock(&w->rw, SYNC_EXCL, 0, HERE);
		sync_rw_unlock(&w->rw, SYNC_EXCL, HERE);
	}
	atomic_store(&w->step, 1);
	for (int i = 0; i < NR_THREADS; i++)
		sync_thread_join(threads[i]);
	world_delete(w);
}

/* Conditions. */

static void wait_for_value(void *arg)
{
	struct world *w = arg;

	sync_lock(&w->mutex, 0, HERE);
	atomic_fetch_add(&w->arrived, 1);
	while (!w->value)
		sync_wait(&w->cond, &w->mutex, HERE);
	sync_assert_locked(&w->mutex);
	sync_unlock(&w->mutex, HERE);
}

static void one_wake_wakes_every_waiter(void **state)
{
	(void)state;
	for (int lockdep = 0; lockdep < 2; lockdep++) {
		struct world *w = world_new(lockdep);
		struct sync_thread *threads[NR_THREADS];

		for (int i = 0; i < NR_THREADS; i++)
			threads[i] = start(w, "waiter", wait_for_value);
		while (atomic_load(&w->arrived) < NR_THREADS)
			nap();
		/* Whoever has arrived sleeps once the mutex can be had. */
		sync_lock(&w->mutex, 0, HERE);
		w->value = 1;
		sync_wake(&w->cond);
		sync_unlock(&w->mutex, HERE);
		for (int i = 0; i < NR_THREADS; i++)
			sync_thread_join(threads[i]);
		assert_string_equal(w->report.text, "");
		world_delete(w);
	}
}

static void a_wait_ends_at_its_deadline(void **state)
{
	struct world *w = world_new(true);
	uint64_t deadline_ns;
	bool woken;

	(void)state;
	sync_lock(&w->mutex, 0, HERE);
	deadline_ns = sync_now_ns(w->sync) + 20 * MSEC;
	do
		woken = sync_wait_until(&w->cond, &w->mutex, deadline_ns, HERE);
	while (woken); /* spurious: nobody wakes */
	assert_true(sync_now_ns(w->sync) >= deadline_ns);
	sync_assert_locked(&w->mutex);

	/* One that has passed already does not wait. */
	assert_false(sync_wait_until(&w->cond, &w->mutex, 1, HERE));
	sync_assert_locked(&w->mutex);
	sync_unlock(&w->mutex, HERE);
	world_delete(w);
}

static void wait_for_value_until_far_away(void *arg)
{
	struct world *w = arg;

	sync_lock(&w->mutex, 0, HERE);
	atomic_fetch_add(&w->arrived, 1);
	w->flag = true;
	while (!w->value)
		w->flag = sync_wait_until(&w->cond, &w->mutex, UINT64_MAX, HERE);
	sync_unlock(&w->mutex, HERE);
}

static void a_wait_that_is_woken_before_its_deadline_says_so(void **state)
{
	struct world *w = world_new(false);
	struct sync_thread *thread = start(w, "waiter", wait_for_value_until_far_away);

	(void)state;
	while (!atomic_load(&w->arrived))
		nap();
	sync_lock(&w->mutex, 0, HERE);
	w->value = 1;
	sync_wake(&w->cond);
	sync_unlock(&w->mutex, HERE);
	sync_thread_join(thread);
	assert_true(w->flag);
	world_delete(w);
}

/* lockdep through sync.h. */

static void waiting_for_the_kernel_while_holding_an_ilock_is_reported(void **state)
{
	struct world *w = world_new(true);

	(void)state;
	sync_pretend(w->sync, LOCK_KERNEL_FOLIO, HERE);
	assert_string_equal(w->report.text, "");

	sync_rw_lock(&w->rw, SYNC_SHARED, 0, HERE);
	sync_pretend(w->sync, LOCK_KERNEL_FOLIO, HERE);
	sync_rw_unlock(&w->rw, SYNC_SHARED, HERE);
	assert_int_equal(lockdep_nr_reports(sync_lockdep(w->sync)), 1);
	assert_non_null(strstr(w->report.text, "WARNING: lock taken against the declared order"));
	assert_non_null(strstr(w->report.text, "(folio){excl}, at: " __FILE__));
	assert_non_null(strstr(w->report.text, "(ilock){shared}, at: " __FILE__));
	world_delete(w);
}

static void sleeping_with_a_lock_that_orders_after_the_mutex_is_reported(void **state)
{
	struct world *w = world_new(true);
	struct sync_mutex leaf;

	(void)state;
	sync_mutex_init(w->sync, &leaf, LOCK_LEAF);
	sync_lock(&w->mutex, 0, HERE);
	sync_lock(&leaf, 0, HERE);
	assert_false(sync_wait_until(&w->cond, &w->mutex, 1, HERE));
	sync_unlock(&leaf, HERE);
	sync_unlock(&w->mutex, HERE);
	assert_int_equal(lockdep_nr_reports(sync_lockdep(w->sync)), 1);
	assert_non_null(strstr(w->report.text, "possible circular locking dependency detected"));
	sync_mutex_destroy(&leaf);
	world_delete(w);
}

static void without_lockdep_there_is_no_checker_and_no_report(void **state)
{
	struct world *w = world_new(false);

	(void)state;
	assert_null(sync_lockdep(w->sync));
	sync_rw_lock(&w->rw, SYNC_SHARED, 0, HERE);
	sync_pretend(w->sync, LOCK_KERNEL_FOLIO, HERE);
	sync_rw_unlock(&w->rw, SYNC_SHARED, HERE);
	assert_string_equal(w->report.text, "");
	world_delete(w);
}

/* Statistics. */

static int contended_line;

static void lock_once(void *arg)
{
	struct world *w = arg;

	atomic_store(&w->arrived, 1);
	contended_line = __LINE__ + 1;
	sync_lock(&w->mutex, 0, HERE);
	sync_unlock(&w->mutex, HERE);
}

static void share_once(void *arg)
{
	struct world *w = arg;

	atomic_store(&w->arrived, 1);
	contended_line = __LINE__ + 1;
	sync_rw_lock(&w->rw, SYNC_SHARED, 0, HERE);
	sync_rw_unlock(&w->rw, SYNC_SHARED, HERE);
}

static int holder_line[2]; /* of the mutex, of the ilock */

/* Until the other thread has been seen to wait: it may be late, but not each time. */
static struct sync_class_stat contend(struct world *w, enum lock_class class)
{
	struct sync_class_stat stat;

	do {
		struct sync_thread *thread;

		atomic_store(&w->arrived, 0);
		if (class == LOCK_HOLDER) {
			holder_line[0] = __LINE__ + 1;
			sync_lock(&w->mutex, 0, HERE);
		} else {
			holder_line[1] = __LINE__ + 1;
			sync_rw_lock(&w->rw, SYNC_EXCL, 0, HERE);
		}
		thread = start(w, "waiter", class == LOCK_HOLDER ? lock_once : share_once);
		while (!atomic_load(&w->arrived))
			nap();
		usleep(5000);
		if (class == LOCK_HOLDER)
			sync_unlock(&w->mutex, HERE);
		else
			sync_rw_unlock(&w->rw, SYNC_EXCL, HERE);
		sync_thread_join(thread);
		sync_stat_read(w->sync, class, &stat);
	} while (!stat.modes[SYNC_SHARED].contentions && !stat.modes[SYNC_EXCL].contentions);
	return stat;
}

/* The waiter of a mutex has it alone, that of the ilock shares it; who makes it wait has it alone. */
static void statistics_count_contentions_and_name_the_site(void **state)
{
	static const enum lock_class classes[] = { LOCK_HOLDER, LOCK_ILOCK };

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct world *w = world_new(false);
		struct sync_class_stat stat;
		const struct sync_mode_stat *excl = &stat.modes[SYNC_EXCL];
		const struct sync_mode_stat *waited = &stat.modes[i ? SYNC_SHARED : SYNC_EXCL];

		sync_stat_enable(w->sync, true);
		stat = contend(w, classes[i]);
		assert_string_equal(stat.name, lock_class_name(classes[i]));
		assert_int_equal(waited->contentions, 1);
		assert_true(waited->con_bounces <= 1);
		assert_true(waited->wait_min_ns > 0);
		assert_int_equal(waited->wait_max_ns, waited->wait_min_ns);
		assert_int_equal(waited->wait_total_ns, waited->wait_min_ns);
		if (i) {
			assert_int_equal(excl->contentions + excl->wait_total_ns, 0);
			assert_int_equal(excl->acquisitions, waited->acquisitions);
			assert_true(waited->hold_max_ns < excl->hold_max_ns);
		} else {
			assert_int_equal(stat.modes[SYNC_SHARED].acquisitions, 0);
			assert_true(excl->acquisitions >= 2 && excl->acquisitions % 2 == 0);
		}
		assert_true(excl->acq_bounces <= excl->acquisitions);
		assert_true(excl->hold_max_ns >= 5 * MSEC);
		assert_true(excl->hold_total_ns >= excl->hold_max_ns);
		assert_true(excl->hold_min_ns <= excl->hold_max_ns);
		assert_non_null(stat.waiters[0].site);
		assert_string_equal(stat.waiters[0].site->file, __FILE__);
		assert_int_equal(stat.waiters[0].site->line, contended_line);
		assert_int_equal(stat.waiters[0].count, 1);
		assert_null(stat.waiters[1].site);
		assert_string_equal(stat.holders[0].site->file, __FILE__);
		assert_int_equal(stat.holders[0].site->line, holder_line[i]);
		assert_int_equal(stat.holders[0].count, 1);
		assert_null(stat.holders[1].site);
		world_delete(w);
	}
}

static void hop(void *arg)
{
	struct world *w = arg;
	cpu_set_t cpu;

	CPU_ZERO(&cpu);
	CPU_SET((size_t)atomic_load(&w->step), &cpu);
	if (sched_setaffinity(0, sizeof(cpu), &cpu) == 0) {
		sync_lock(&w->mutex, 0, HERE);
		sync_unlock(&w->mutex, HERE);
		sync_lock(&w->mutex, 0, HERE);
		sync_unlock(&w->mutex, HERE);
		atomic_fetch_add(&w->arrived, 1);
	}
}

static void a_lock_bounces_when_another_cpu_takes_it(void **state)
{
	struct world *w = world_new(false);
	struct sync_class_stat stat;
	cpu_set_t cpus;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
	sync_stat_enable(w->sync, true);
	for (int cpu = 0; cpu < CPU_SETSIZE && atomic_load(&w->arrived) < 2; cpu++) {
		if (!CPU_ISSET(cpu, &cpus))
			continue;
		atomic_store(&w->step, cpu);
		run(w, "hop", hop);
	}
	sync_stat_read(w->sync, LOCK_HOLDER, &stat);
	assert_int_equal(stat.modes[SYNC_EXCL].acquisitions, 2 * atomic_load(&w->arrived));
	/* The first taker took it from nobody. */
	assert_int_equal(stat.modes[SYNC_EXCL].acq_bounces, atomic_load(&w->arrived) - 1);
	assert_int_equal(stat.modes[SYNC_EXCL].con_bounces, 0);
	world_delete(w);
	if (CPU_COUNT(&cpus) < 2)
		skip();
}

static void statistics_are_off_until_enabled_and_after(void **state)
{
	struct world *w = world_new(false);
	struct sync_class_stat stat;
	const struct sync_mode_stat *excl = &stat.modes[SYNC_EXCL];

	(void)state;
	count_up(w);
	sync_stat_read(w->sync, LOCK_HOLDER, &stat);
	assert_int_equal(excl->acquisitions, 0);
	assert_int_equal(excl->wait_min_ns, 0);
	assert_int_equal(excl->hold_min_ns, 0);

	sync_stat_enable(w->sync, true);
	count_up(w);
	sync_stat_enable(w->sync, false);
	count_up(w);
	sync_stat_read(w->sync, LOCK_HOLDER, &stat);
	assert_int_equal(excl->acquisitions, 5000);
	assert_int_equal(excl->contentions, 0);
	sync_stat_read(w->sync, LOCK_ILOCK, &stat);
	assert_int_equal(excl->acquisitions, 0);
	world_delete(w);
}

static void resetting_statistics_begins_again_at_zero(void **state)
{
	struct world *w = world_new(false);
	struct sync_class_stat stat;
	const struct sync_mode_stat *excl = &stat.modes[SYNC_EXCL];

	(void)state;
	assert_false(sync_stat_enabled(w->sync));
	sync_stat_enable(w->sync, true);
	assert_true(sync_stat_enabled(w->sync));
	contend(w, LOCK_HOLDER);
	sync_lock(&w->mutex, 0, HERE);
	sync_stat_reset(w->sync);
	sync_unlock(&w->mutex, HERE); /* this hold began before */
	sync_stat_read(w->sync, LOCK_HOLDER, &stat);
	assert_int_equal(excl->acquisitions + excl->contentions, 0);
	assert_int_equal(excl->wait_min_ns + excl->wait_max_ns + excl->wait_total_ns, 0);
	assert_int_equal(excl->hold_min_ns + excl->hold_max_ns + excl->hold_total_ns, 0);
	assert_null(stat.waiters[0].site);
	assert_true(sync_stat_enabled(w->sync));

	count_up(w);
	sync_stat_read(w->sync, LOCK_HOLDER, &stat);
	assert_int_equal(excl->acquisitions, 5000);
	assert_true(excl->hold_max_ns >= excl->hold_min_ns);
	world_delete(w);
}

static void a_hold_that_began_unwatched_is_not_timed(void **state)
{
	struct world *w = world_new(false);
	struct sync_class_stat stat;
	const struct sync_mode_stat *excl = &stat.modes[SYNC_EXCL];

	(void)state;
	sync_stat_enable(w->sync, true);
	sync_lock(&w->mutex, 0, HERE);
	sync_stat_enable(w->sync, false);
	sync_unlock(&w->mutex, HERE); /* leaves its starting time behind */

	sync_lock(&w->mutex, 0, HERE);
	sync_stat_enable(w->sync, true);
	sync_unlock(&w->mutex, HERE);
	sync_stat_read(w->sync, LOCK_HOLDER, &stat);
	assert_int_equal(excl->acquisitions, 1);
	assert_int_equal(excl->hold_total_ns, 0);
	world_delete(w);
}

static void a_sleep_is_not_time_held(void **state)
{
	struct world *w = world_new(false);
	struct sync_class_stat stat;
	const struct sync_mode_stat *excl = &stat.modes[SYNC_EXCL];

	(void)state;
	sync_stat_enable(w->sync, true);
	sync_lock(&w->mutex, 0, HERE);
	while (sync_wait_until(&w->cond, &w->mutex, sync_now_ns(w->sync) + 300 * MSEC, HERE))
		;
	sync_unlock(&w->mutex, HERE);
	sync_stat_read(w->sync, LOCK_HOLDER, &stat);
	assert_true(excl->acquisitions >= 2);
	assert_true(excl->hold_total_ns < 300 * MSEC);
	assert_int_equal(excl->contentions, 0);
	world_delete(w);
}

static void statistics_of_several_threads_are_summed(void **state)
{
	struct world *w = world_new(true);
	struct sync_thread *threads[NR_THREADS];
	struct sync_class_stat stat;
	const struct sync_mode_stat *excl = &stat.modes[SYNC_EXCL];
	uint64_t named = 0;

	(void)state;
	sync_stat_enable(w->sync, true);
	for (int i = 0; i < NR_THREADS; i++)
		threads[i] = start(w, "count", count_up);
	for (int i = 0; i < NR_THREADS; i++)
		sync_thread_join(threads[i]);
	sync_stat_read(w->sync, LOCK_HOLDER, &stat);
	assert_int_equal(excl->acquisitions, NR_THREADS * 5000);
	for (int i = 0; i < SYNC_NR_CONTENTION_SITES; i++)
		named += stat.waiters[i].count;
	assert_int_equal(named, excl->contentions);
	world_delete(w);
}

/* Clock, randomness, threads. */

static void the_clock_does_not_go_back_and_tells_the_wall_time(void **state)
{
	struct world *w = world_new(false);
	uint64_t last_ns = sync_now_ns(w->sync);
	time_t before = time(NULL);
	struct timespec ts = sync_realtime(w->sync);

	(void)state;
	assert_in_range(ts.tv_sec, before, time(NULL));
	assert_in_range(ts.tv_nsec, 0, 999999999);
	for (int i = 0; i < 1000; i++) {
		uint64_t now_ns = sync_now_ns(w->sync);

		assert_true(now_ns >= last_ns);
		last_ns = now_ns;
	}
	world_delete(w);
}

static void random_bytes_fill_the_whole_buffer_and_differ(void **state)
{
	static unsigned char big[1 << 20];
	struct world *w = world_new(false);
	unsigned char a[32] = { 0 }, b[32] = { 0 };
	unsigned seen[256] = { 0 };

	(void)state;
	sync_random(w->sync, a, sizeof(a));
	sync_random(w->sync, b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
	sync_random(w->sync, a, 0);

	/* Each value about 256 times in the last 64 KiB: none is missing. */
	sync_random(w->sync, big, sizeof(big));
	for (size_t i = sizeof(big) - 65536; i < sizeof(big); i++)
		seen[big[i]]++;
	for (int i = 0; i < 256; i++)
		assert_true(seen[i] > 0);
	world_delete(w);
}

static sigset_t thread_mask;
static char thread_name[16];

static void look_at_thread(void *arg)
{
	(void)arg;
	pthread_sigmask(SIG_SETMASK, NULL, &thread_mask);
	pthread_getname_np(pthread_self(), thread_name, sizeof(thread_name));
}

static void a_thread_has_its_name_and_no_signals_but_faults(void **state)
{
	static const int blocked[] = { SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGCHLD, SIGPIPE, SIGALRM };
	static const int open[] = { SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGABRT };
	struct world *w = world_new(false);
	sigset_t before, after;

	(void)state;
	pthread_sigmask(SIG_SETMASK, NULL, &before);
	run(w, "fifteen-letters", look_at_thread);
	pthread_sigmask(SIG_SETMASK, NULL, &after);

	assert_string_equal(thread_name, "fifteen-letters");
	for (size_t i = 0; i < sizeof(blocked) / sizeof(blocked[0]); i++)
		assert_int_equal(sigismember(&thread_mask, blocked[i]), 1);
	for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++)
		assert_int_equal(sigismember(&thread_mask, open[i]), 0);
	for (int sig = 1; sig < 32; sig++)
		assert_int_equal(sigismember(&before, sig), sigismember(&after, sig));
	world_delete(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_mutex_lets_one_thread_in),
		cmocka_unit_test(trylock_takes_a_free_mutex_and_no_other),
		cmocka_unit_test(releasing_a_lock_that_is_not_held_aborts),
		cmocka_unit_test(releasing_a_lock_in_the_other_mode_aborts),
		cmocka_unit_test(lockdep_knows_which_thread_shares_a_lock),
		cmocka_unit_test(taking_a_lock_that_is_held_exclusively_by_oneself_aborts),
		cmocka_unit_test(waiting_without_the_mutex_aborts),
		cmocka_unit_test(destroying_a_lock_that_is_held_aborts),
		cmocka_unit_test(an_assertion_that_a_lock_is_held_passes_when_it_is),
		cmocka_unit_test(an_assertion_that_a_lock_is_held_aborts_when_it_is_not),
		cmocka_unit_test(a_lock_held_where_none_may_be_aborts),
		cmocka_unit_test(a_thread_that_ends_with_a_lock_aborts),
		cmocka_unit_test(readers_share_and_a_writer_does_not),
		cmocka_unit_test(a_reader_writer_lock_keeps_writers_apart),
		cmocka_unit_test(a_waiting_writer_keeps_new_readers_out),
		cmocka_unit_test(a_stream_of_readers_does_not_starve_a_writer),
		cmocka_unit_test(one_wake_wakes_every_waiter),
		cmocka_unit_test(a_wait_ends_at_its_deadline),
		cmocka_unit_test(a_wait_that_is_woken_before_its_deadline_says_so),
		cmocka_unit_test(waiting_for_the_kernel_while_holding_an_ilock_is_reported),
		cmocka_unit_test(sleeping_with_a_lock_that_orders_after_the_mutex_is_reported),
		cmocka_unit_test(without_lockdep_there_is_no_checker_and_no_report),
		cmocka_unit_test(statistics_count_contentions_and_name_the_site),
		cmocka_unit_test(a_lock_bounces_when_another_cpu_takes_it),
		cmocka_unit_test(statistics_are_off_until_enabled_and_after),
		cmocka_unit_test(resetting_statistics_begins_again_at_zero),
		cmocka_unit_test(a_hold_that_began_unwatched_is_not_timed),
		cmocka_unit_test(a_sleep_is_not_time_held),
		cmocka_unit_test(statistics_of_several_threads_are_summed),
		cmocka_unit_test(the_clock_does_not_go_back_and_tells_the_wall_time),
		cmocka_unit_test(random_bytes_fill_the_whole_buffer_and_differ),
		cmocka_unit_test(a_thread_has_its_name_and_no_signals_but_faults),
	};

	alarm(120); /* a test of locks that hangs has failed */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
