/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_lockdep.c - what the lock checker reports, what it lets pass, and how it says it.
 *
 * Most tests call lockdep with tasks of their own: it knows no threads, and so two tasks on one
 * thread are two threads to it. The first test goes the whole way with two real ones.
 *
 * A report is read line by line into struct log; expect_in_order() looks for its parts in the
 * order in which they have to stand, so a part that is missing or misplaced fails.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "lockdep.h"
#include "sync.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The inversions here are meant; ThreadSanitizer has a lock-order checker of its own. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "detect_deadlocks=0";
}

struct log {
	size_t len;
	char text[1 << 16];
};

static void log_line(void *ctx, const char *line)
{
	struct log *log = ctx;
	size_t room = sizeof(log->text) - log->len;
	int n = snprintf(log->text + log->len, room, "%s\n", line);

	log->len += (size_t)n < room ? (size_t)n : room - 1;
}

/* Each of the strings, up to NULL, follows the one before it. */
static void expect_in_order(const char *text, const char *const *parts)
{
	const char *at = text;

	for (; *parts; parts++) {
		const char *found = strstr(at, *parts);

		if (!found)
			fail_msg("'%s' is missing, or stands too early, in:\n%s", *parts, text);
		at = found + strlen(*parts);
	}
}

#define EXPECT_IN_ORDER(text, ...) expect_in_order(text, (const char *const[]){ __VA_ARGS__, NULL })

static unsigned count_of(const char *text, const char *part)
{
	unsigned n = 0;

	for (const char *at = text; (at = strstr(at, part)); at += strlen(part))
		n++;
	return n;
}

#define CYCLE "WARNING: possible circular locking dependency detected"
#define RECURSION "WARNING: possible recursive locking detected"
#define ORDER "WARNING: lock taken against the declared order"

/* A checker, its log, and two tasks with nothing held. Lock i is &bench->lock[i]. */
struct bench {
	struct lockdep *dep;
	struct log log;
	struct lockdep_task t1, t2;
	char lock[64];
};

static struct bench *bench_new(void)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	b->dep = lockdep_new(log_line, &b->log);
	assert_non_null(b->dep);
	strcpy(b->t1.name, "one");
	strcpy(b->t2.name, "two");
	return b;
}

static void bench_delete(struct bench *b)
{
	lockdep_delete(b->dep);
	free(b);
}

static void take_as(struct bench *b, struct lockdep_task *t, int lock, enum lock_class class,
		    unsigned subclass, enum sync_mode mode)
{
	lockdep_acquire(b->dep, t, &b->lock[lock], class, subclass, mode, false, HERE);
}

/* Lock number `class` of that class, exclusive. */
static void take(struct bench *b, struct lockdep_task *t, enum lock_class class)
{
	take_as(b, t, (int)class, class, 0, SYNC_EXCL);
}

static void drop(struct bench *b, struct lockdep_task *t, int lock)
{
	lockdep_release(b->dep, t, &b->lock[lock], HERE);
}

/* One task takes the two and lets them go. */
static void take_pair(struct bench *b, struct lockdep_task *t, enum lock_class outer,
		      enum lock_class inner)
{
	take(b, t, outer);
	take(b, t, inner);
	drop(b, t, (int)inner);
	drop(b, t, (int)outer);
}

static void pairs_text(const struct lockdep *dep, char *ret, size_t size)
{
	FILE *out;

	ret[0] = '\0'; /* a memory stream that nothing is written to adds no end */
	out = fmemopen(ret, size, "w");
	assert_non_null(out);
	lockdep_print_pairs(dep, out);
	assert_int_equal(fclose(out), 0);
}

/* Two real threads. */

struct inversion {
	struct sync *sync;
	struct sync_mutex alloc, holder;
	int alloc_first_line, holder_second_line, holder_first_line, alloc_second_line;
};

static void alloc_then_holder(void *arg)
{
	struct inversion *i = arg;

	i->alloc_first_line = __LINE__ + 1;
	sync_lock(&i->alloc, 0, HERE);
	i->holder_second_line = __LINE__ + 1;
	sync_lock(&i->holder, 0, HERE);
	sync_unlock(&i->holder, HERE);
	sync_unlock(&i->alloc, HERE);
}

static void holder_then_alloc(void *arg)
{
	struct inversion *i = arg;

	i->holder_first_line = __LINE__ + 1;
	sync_lock(&i->holder, 0, HERE);
	i->alloc_second_line = __LINE__ + 1;
	sync_lock(&i->alloc, 0, HERE);
	sync_unlock(&i->alloc, HERE);
	sync_unlock(&i->holder, HERE);
}

static void run_thread(struct sync *sync, const char *name, void (*fn)(void *), void *arg)
{
	struct sync_thread *thread;

	assert_int_equal(sync_thread_start(sync, name, fn, arg, &thread), 0);
	sync_thread_join(thread);
}

static void expect_inversion_report(const char *text, const struct inversion *i)
{
	char wants[80], holds[80], link1[80], link0[80];

	snprintf(wants, sizeof(wants), " (alloc){excl}, at: %s:%d", __FILE__, i->alloc_second_line);
	snprintf(holds, sizeof(holds), " (holder){excl}, at: %s:%d", __FILE__,
		 i->holder_first_line);
	snprintf(link1, sizeof(link1), "       at %s:%d, by first", __FILE__,
		 i->holder_second_line);
	snprintf(link0, sizeof(link0), "       at %s:%d, by second", __FILE__,
		 i->alloc_second_line);
	EXPECT_IN_ORDER(text, CYCLE, "second is trying to acquire lock:\n", wants,
			"but task is already holding lock:\n", holds,
			"which lock already depends on the new lock.\n",
			"the existing dependency chain (in reverse order) is:\n",
			"-> #1 (holder){excl}:\n", link1, "-> #0 (alloc){excl}:\n", link0,
			"other info that might help us debug this:\n",
			" Possible unsafe locking scenario:\n",
			"       CPU0                    CPU1\n"
			"       ----                    ----\n"
			"  lock(holder);\n"
			"                               lock(alloc);\n"
			"                               lock(holder);\n"
			"  lock(alloc);\n",
			" *** DEADLOCK ***\n", "1 lock held by second:\n", " #0:", holds);
}

static void two_threads_that_swap_two_locks_are_reported_in_the_kernels_shape(void **state)
{
	struct log *log = calloc(1, sizeof(*log));
	struct sync_options options = { .lockdep = true, .report = log_line, .report_ctx = log };
	struct inversion i = { .sync = sync_pthread_new(&options) };

	(void)state;
	assert_non_null(i.sync);
	sync_mutex_init(i.sync, &i.alloc, LOCK_ALLOC);
	sync_mutex_init(i.sync, &i.holder, LOCK_HOLDER);

	run_thread(i.sync, "first", alloc_then_holder, &i);
	assert_int_equal(lockdep_nr_reports(sync_lockdep(i.sync)), 0);
	run_thread(i.sync, "second", holder_then_alloc, &i);
	assert_int_equal(lockdep_nr_reports(sync_lockdep(i.sync)), 1);
	expect_inversion_report(log->text, &i);

	run_thread(i.sync, "third", holder_then_alloc, &i);
	run_thread(i.sync, "fourth", alloc_then_holder, &i);
	assert_int_equal(lockdep_nr_reports(sync_lockdep(i.sync)), 1);

	sync_mutex_destroy(&i.holder);
	sync_mutex_destroy(&i.alloc);
	sync_delete(i.sync);
	free(log);
}

/* Cycles and order. */

static void locks_taken_in_order_give_no_report(void **state)
{
	struct bench *b = bench_new();

	(void)state;
	for (int c = LOCK_RENAME; c < LOCK_NR_CLASSES; c++)
		take(b, &b->t1, (enum lock_class)c);
	for (int c = LOCK_RENAME; c < LOCK_NR_CLASSES; c++)
		drop(b, &b->t1, c);
	assert_int_equal(b->t1.nr_held, 0);
	assert_int_equal(lockdep_nr_reports(b->dep), 0);
	assert_int_equal(b->log.len, 0);
	bench_delete(b);
}

static void a_cycle_of_three_is_found_though_no_two_were_ever_swapped(void **state)
{
	struct bench *b = bench_new();

	(void)state;
	take_pair(b, &b->t1, LOCK_ILOCK, LOCK_ALLOC);
	take_pair(b, &b->t2, LOCK_ALLOC, LOCK_HOLDER);
	assert_int_equal(lockdep_nr_reports(b->dep), 0);

	take_pair(b, &b->t1, LOCK_HOLDER, LOCK_ILOCK);
	assert_int_equal(lockdep_nr_reports(b->dep), 1);
	EXPECT_IN_ORDER(b->log.text, CYCLE, "one is trying", "(ilock)", "holding lock:", "(holder)",
			"-> #2 (holder)", "by two", "holding (alloc)", "-> #1 (alloc)", "by one",
			"holding (ilock)", "-> #0 (ilock)", "by one", "holding (holder)",
			"Chain exists of:\n  ilock --> alloc --> holder\n", "CPU0", "CPU1",
			"  lock(holder);\n", "lock(alloc);\n", "lock(holder);\n",
			"  lock(ilock);\n", " *** DEADLOCK ***");

	take_pair(b, &b->t2, LOCK_HOLDER, LOCK_ILOCK);
	assert_int_equal(lockdep_nr_reports(b->dep), 1);
	bench_delete(b);
}

static void a_shared_lock_closes_a_cycle_too(void **state)
{
	struct bench *b = bench_new();

	(void)state;
	take_as(b, &b->t1, 1, LOCK_IOLOCK, 0, SYNC_SHARED);
	take_as(b, &b->t1, 2, LOCK_MMAPLOCK, 0, SYNC_SHARED);
	drop(b, &b->t1, 2);
	drop(b, &b->t1, 1);
	take_as(b, &b->t2, 2, LOCK_MMAPLOCK, 0, SYNC_SHARED);
	take_as(b, &b->t2, 1, LOCK_IOLOCK, 0, SYNC_SHARED);
	assert_int_equal(lockdep_nr_reports(b->dep), 1);
	EXPECT_IN_ORDER(b->log.text, CYCLE, "(iolock){shared}", "(mmaplock){shared}");
	bench_delete(b);
}

static void a_pair_against_the_order_is_reported_before_any_cycle_and_again_with_it(void **state)
{
	struct bench *b = bench_new();
	size_t first_end;

	(void)state;
	take_pair(b, &b->t1, LOCK_HOLDER, LOCK_JOURNAL);
	assert_int_equal(lockdep_nr_reports(b->dep), 1);
	EXPECT_IN_ORDER(b->log.text, ORDER, "one is trying to acquire lock:\n (journal)",
			"but task is already holding lock:\n (holder)",
			"declared order: journal --> holder\n", "1 lock held by one:\n",
			" #0: (holder)");
	assert_int_equal(count_of(b->log.text, CYCLE), 0);

	take_pair(b, &b->t1, LOCK_HOLDER, LOCK_JOURNAL);
	assert_int_equal(lockdep_nr_reports(b->dep), 1);

	first_end = b->log.len;
	take_pair(b, &b->t2, LOCK_JOURNAL, LOCK_HOLDER);
	assert_int_equal(lockdep_nr_reports(b->dep), 2);
	EXPECT_IN_ORDER(b->log.text + first_end, CYCLE, "two is trying to acquire lock:\n (holder)",
			"-> #1 (journal)", "by one", "-> #0 (holder)", "by two");
	bench_delete(b);
}

static void a_lock_out_of_order_is_judged_against_each_lock_held(void **state)
{
	struct bench *b = bench_new();

	(void)state;
	take(b, &b->t1, LOCK_ALLOC);
	take(b, &b->t1, LOCK_LEAF);
	take(b, &b->t1, LOCK_HOLDER); /* after alloc, but not after leaf */
	assert_int_equal(lockdep_nr_reports(b->dep), 1);
	EXPECT_IN_ORDER(b->log.text, ORDER, "(holder)", "(leaf)", "2 locks held by one:\n",
			" #0: (alloc)", " #1: (leaf)");
	bench_delete(b);
}

/* Recursion and subclasses. */

static void a_lock_taken_twice_is_recursion(void **state)
{
	struct bench *b = bench_new();

	(void)state;
	take(b, &b->t1, LOCK_ILOCK);
	take(b, &b->t1, LOCK_ILOCK);
	assert_int_equal(lockdep_nr_reports(b->dep), 1);
	EXPECT_IN_ORDER(b->log.text, RECURSION, "one is trying to acquire lock:\n (ilock){excl}",
			"but task is already holding lock:\n (ilock){excl}",
			" Possible unsafe locking scenario:\n",
			"       CPU0\n"
			"       ----\n"
			"  lock(ilock);\n"
			"  lock(ilock);\n",
			" *** DEADLOCK ***", "It is one lock.", "1 lock held by one:\n");
	bench_delete(b);
}

static void one_lock_taken_twice_is_recursion_whatever_the_subclass(void **state)
{
	struct bench *b = bench_new();

	(void)state;
	take_as(b, &b->t1, 1, LOCK_ILOCK, 0, SYNC_EXCL);
	take_as(b, &b->t1, 1, LOCK_ILOCK, 1, SYNC_EXCL);
	assert_int_equal(lockdep_nr_reports(b->dep), 1);
	EXPECT_IN_ORDER(b->log.text, RECURSION, "  lock(ilock);\n  lock(ilock/1);\n");
	bench_delete(b);
}

static void two_locks_of_one_class_need_a_subclass(void **state)
{
	struct bench *b = bench_new();

	(void)state;
	take_as(b, &b->t1, 1, LOCK_ILOCK, 0, SYNC_EXCL);
	take_as(b, &b->t1, 2, LOCK_ILOCK, 0, SYNC_EXCL);
	assert_int_equal(lockdep_nr_reports(b->dep), 1);
	EXPECT_IN_ORDER(b->log.text, RECURSION, "two locks of one class");
	bench_delete(b);
}

static void sharing_a_lock_that_one_shares_already_is_recursion(void **state)
{
	struct bench *b = bench_new();

	(void)state;
	take_as(b, &b->t1, 1, LOCK_MMAPLOCK, 0, SYNC_SHARED);
	take_as(b, &b->t2, 1, LOCK_MMAPLOCK, 0, SYNC_SHARED);
	assert_int_equal(lockdep_nr_reports(b->dep), 0);
	take_as(b, &b->t1, 1, LOCK_MMAPLOCK, 0, SYNC_SHARED);
	assert_int_equal(lockdep_nr_reports(b->dep), 1);
	EXPECT_IN_ORDER(b->log.text, RECURSION, "(mmaplock){shared}", "(mmaplock){shared}",
			"a writer that waits between the two stops both");
	bench_delete(b);
}

static void recursion_is_reported_once(void **state)
{
	struct bench *b = bench_new();

	(void)state;
	for (int i = 0; i < 3; i++) {
		take_as(b, &b->t1, 1, LOCK_ILOCK, 0, SYNC_EXCL);
		take_as(b, &b->t1, 2, LOCK_ILOCK, 0, SYNC_EXCL);
		drop(b, &b->t1, 2);
		drop(b, &b->t1, 1);
	}
	assert_int_equal(lockdep_nr_reports(b->dep), 1);
	bench_delete(b);
}

static void ascending_subclasses_are_legal(void **state)
{
	struct bench *b = bench_new();

	(void)state;
	for (unsigned sub = 0; sub < LOCK_NR_SUBCLASSES; sub++)
		take_as(b, &b->t1, (int)sub, LOCK_IOLOCK, sub, SYNC_EXCL);
	assert_int_equal(lockdep_nr_reports(b->dep), 0);
	bench_delete(b);
}

static void a_descending_subclass_is_against_the_order(void **state)
{
	struct bench *b = bench_new();

	(void)state;
	take_as(b, &b->t1, 1, LOCK_IOLOCK, 1, SYNC_EXCL);
	take_as(b, &b->t1, 2, LOCK_IOLOCK, 0, SYNC_EXCL);
	assert_int_equal(lockdep_nr_reports(b->dep), 1);
	EXPECT_IN_ORDER(b->log.text, ORDER, "(iolock){excl}", "(iolock/1){excl}",
			"declared order: iolock --> iolock/1\n");
	bench_delete(b);
}

/* trylock, pretend, and what is held. */

static void a_trylock_adds_no_dependency_but_is_held(void **state)
{
	struct bench *b = bench_new();
	char pairs[256];

	(void)state;
	take(b, &b->t1, LOCK_HOLDER);
	lockdep_acquire(b->dep, &b->t1, &b->lock[LOCK_ALLOC], LOCK_ALLOC, 0, SYNC_EXCL, true, HERE);
	assert_int_equal(lockdep_nr_reports(b->dep), 0);
	assert_true(lockdep_holds(&b->t1, &b->lock[LOCK_ALLOC], SYNC_EXCL));
	pairs_text(b->dep, pairs, sizeof(pairs));
	assert_string_equal(pairs, "");

	/* What is waited for while it is held is a dependency like any other. */
	drop(b, &b->t1, LOCK_HOLDER);
	take(b, &b->t1, LOCK_JOURNAL);
	assert_int_equal(lockdep_nr_reports(b->dep), 1);
	EXPECT_IN_ORDER(b->log.text, ORDER, "(journal)", "(alloc)");
	bench_delete(b);
}

static void a_pretended_wait_is_legal_with_nothing_held(void **state)
{
	struct bench *b = bench_new();

	(void)state;
	lockdep_pretend(b->dep, &b->t1, LOCK_KERNEL_FOLIO, HERE);
	assert_int_equal(b->t1.nr_held, 0);
	assert_int_equal(lockdep_nr_reports(b->dep), 0);
	bench_delete(b);
}

static void a_pretended_wait_is_reported_with_any_lock_of_ours_held(void **state)
{
	(void)state;
	for (int c = LOCK_RENAME; c < LOCK_NR_CLASSES; c++) {
		for (int p = LOCK_KERNEL_IRWSEM; p <= LOCK_KERNEL_FOLIO; p++) {
			struct bench *b = bench_new();

			take_as(b, &b->t1, 1, (enum lock_class)c, 0, SYNC_SHARED);
			lockdep_pretend(b->dep, &b->t1, (enum lock_class)p, HERE);
			assert_int_equal(lockdep_nr_reports(b->dep), 1);
			EXPECT_IN_ORDER(b->log.text, ORDER, lock_class_name((enum lock_class)p),
					lock_class_name((enum lock_class)c));
			assert_int_equal(b->t1.nr_held, 1);
			bench_delete(b);
		}
	}
}

static void a_release_of_what_is_not_held_is_reported(void **state)
{
	struct bench *b = bench_new();

	(void)state;
	take(b, &b->t1, LOCK_ILOCK);
	take(b, &b->t2, LOCK_ALLOC);
	drop(b, &b->t1, LOCK_ALLOC);
	assert_int_equal(lockdep_nr_reports(b->dep), 1);
	EXPECT_IN_ORDER(b->log.text, "WARNING: bad unlock balance detected!",
			"one is trying to release a lock at: ", "does not hold that lock",
			"1 lock held by one:\n #0: (ilock)");
	assert_int_equal(b->t1.nr_held, 1);
	assert_int_equal(b->t2.nr_held, 1);
	bench_delete(b);
}

static void a_lock_held_where_none_may_be_is_reported(void **state)
{
	struct bench *b = bench_new();

	(void)state;
	assert_true(lockdep_check_none(b->dep, &b->t1, HERE));
	assert_int_equal(lockdep_nr_reports(b->dep), 0);
	take(b, &b->t1, LOCK_ILOCK);
	assert_false(lockdep_check_none(b->dep, &b->t1, HERE));
	assert_int_equal(lockdep_nr_reports(b->dep), 1);
	EXPECT_IN_ORDER(b->log.text, "WARNING: lock held where none may be", __FILE__,
			" #0: (ilock){excl}");
	bench_delete(b);
}

static void locks_may_be_released_in_any_order(void **state)
{
	struct bench *b = bench_new();

	(void)state;
	take(b, &b->t1, LOCK_JOURNAL);
	take(b, &b->t1, LOCK_ILOCK);
	take(b, &b->t1, LOCK_ALLOC);
	drop(b, &b->t1, LOCK_ILOCK);
	assert_int_equal(b->t1.nr_held, 2);
	assert_true(lockdep_holds(&b->t1, &b->lock[LOCK_JOURNAL], SYNC_EXCL));
	assert_false(lockdep_holds(&b->t1, &b->lock[LOCK_ILOCK], SYNC_SHARED));
	assert_true(lockdep_holds(&b->t1, &b->lock[LOCK_ALLOC], SYNC_EXCL));
	assert_ptr_equal(b->t1.held[1].lock, &b->lock[LOCK_ALLOC]);
	bench_delete(b);
}

static void holding_shared_is_less_than_holding_exclusively(void **state)
{
	struct bench *b = bench_new();

	(void)state;
	take_as(b, &b->t1, 1, LOCK_IOLOCK, 0, SYNC_SHARED);
	take_as(b, &b->t1, 2, LOCK_MMAPLOCK, 0, SYNC_EXCL);
	assert_true(lockdep_holds(&b->t1, &b->lock[1], SYNC_SHARED));
	assert_false(lockdep_holds(&b->t1, &b->lock[1], SYNC_EXCL));
	assert_true(lockdep_holds(&b->t1, &b->lock[2], SYNC_SHARED));
	assert_true(lockdep_holds(&b->t1, &b->lock[2], SYNC_EXCL));
	assert_false(lockdep_holds(&b->t2, &b->lock[2], SYNC_SHARED));
	bench_delete(b);
}

static void locks_that_pile_up_end_the_program(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0) {
		struct bench *b = bench_new();

		for (int i = 0; i <= LOCKDEP_MAX_HELD; i++)
			lockdep_acquire(b->dep, &b->t1, &b->lock[i], LOCK_LEAF, 0, SYNC_EXCL, true,
					HERE);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

/* The list of pairs. */

static void pairs_are_listed_sorted_and_once(void **state)
{
	struct bench *b = bench_new();
	char pairs[512];

	(void)state;
	for (int i = 0; i < 2; i++) {
		take_pair(b, &b->t1, LOCK_JOURNAL, LOCK_ILOCK);
		take_pair(b, &b->t2, LOCK_ILOCK, LOCK_ALLOC);
		take_as(b, &b->t1, 1, LOCK_ILOCK, 0, SYNC_EXCL);
		take_as(b, &b->t1, 2, LOCK_ILOCK, 1, SYNC_SHARED);
		take(b, &b->t1, LOCK_ALLOC);
		drop(b, &b->t1, LOCK_ALLOC);
		drop(b, &b->t1, 2);
		drop(b, &b->t1, 1);
	}
	assert_int_equal(lockdep_nr_reports(b->dep), 0);
	pairs_text(b->dep, pairs, sizeof(pairs));
	assert_string_equal(pairs, "ilock -> alloc\n"
				   "ilock -> ilock/1\n"
				   "ilock/1 -> alloc\n"
				   "journal -> ilock\n");
	bench_delete(b);
}

/*
 * Many at once. The report of another pair is held up until the whole herd has found the pair
 * new and stands behind that report: only a second look tells all but one that it is not.
 */
struct herd {
	struct bench *bench;
	struct sync *sync;
	atomic_int reporting, arrived;
};

#define HERD 3

static void swap_behind_a_report(void *arg)
{
	struct herd *herd = arg;
	struct lockdep_task task = { .name = "herd" };

	while (!atomic_load(&herd->reporting))
		usleep(1000);
	atomic_fetch_add(&herd->arrived, 1);
	for (int i = 0; i < 1000; i++)
		take_pair(herd->bench, &task, LOCK_HOLDER, LOCK_ALLOC);
}

static void log_line_when_all_have_come(void *ctx, const char *line)
{
	struct herd *herd = ctx;

	atomic_store(&herd->reporting, 1);
	while (atomic_load(&herd->arrived) < HERD)
		usleep(1000);
	usleep(2000); /* a line: some 30 ms for the report, to get from there to the pair */
	log_line(&herd->bench->log, line);
}

static void a_cycle_that_many_threads_close_at_once_is_reported_once(void **state)
{
	struct herd herd = { .bench = bench_new(), .sync = sync_pthread_new(NULL) };
	struct sync_thread *threads[HERD];

	(void)state;
	assert_non_null(herd.sync);
	lockdep_delete(herd.bench->dep);
	herd.bench->dep = lockdep_new(log_line_when_all_have_come, &herd);
	assert_non_null(herd.bench->dep);
	take_pair(herd.bench, &herd.bench->t1, LOCK_ALLOC, LOCK_HOLDER);
	for (int i = 0; i < HERD; i++)
		assert_int_equal(sync_thread_start(herd.sync, "herd", swap_behind_a_report, &herd,
						   &threads[i]),
				 0);
	take_pair(herd.bench, &herd.bench->t2, LOCK_LEAF, LOCK_JOURNAL);
	for (int i = 0; i < HERD; i++)
		sync_thread_join(threads[i]);
	assert_int_equal(lockdep_nr_reports(herd.bench->dep), 2);
	assert_int_equal(count_of(herd.bench->log.text, ORDER), 1);
	assert_int_equal(count_of(herd.bench->log.text, CYCLE), 1);
	sync_delete(herd.sync);
	bench_delete(herd.bench);
}

/*
 * Against a model. Random pairs of nodes, each judged by the transitive closure of the pairs
 * accepted so far, kept as a plain matrix: the checker walks a graph and never computes it.
 */
#define MODEL_NODES 24 /* every class, subclasses 0 and 1 */

struct model {
	bool seen[MODEL_NODES][MODEL_NODES];
	bool reach[MODEL_NODES][MODEL_NODES];
};

/* The title to expect, or NULL. */
static const char *model_judge(struct model *m, int outer, int inner)
{
	if (m->seen[outer][inner])
		return NULL;
	m->seen[outer][inner] = true;
	if (m->reach[inner][outer])
		return CYCLE;
	for (int i = 0; i < MODEL_NODES; i++)
		for (int j = 0; j < MODEL_NODES; j++)
			if ((i == outer || m->reach[i][outer]) &&
			    (j == inner || m->reach[inner][j]))
				m->reach[i][j] = true;
	return outer > inner ? ORDER : NULL;
}

static void model_node(int node, enum lock_class *ret_class, unsigned *ret_subclass)
{
	*ret_class = (enum lock_class)(node / 2);
	*ret_subclass = (unsigned)node % 2;
}

static void model_step(struct bench *b, struct model *m, int outer, int inner)
{
	enum lock_class outer_class, inner_class;
	unsigned outer_sub, inner_sub;
	const char *title = model_judge(m, outer, inner);

	model_node(outer, &outer_class, &outer_sub);
	model_node(inner, &inner_class, &inner_sub);
	b->log.len = 0;
	b->log.text[0] = '\0';
	take_as(b, &b->t1, outer, outer_class, outer_sub, SYNC_EXCL);
	take_as(b, &b->t1, inner, inner_class, inner_sub, SYNC_SHARED);
	drop(b, &b->t1, inner);
	drop(b, &b->t1, outer);
	if (title)
		EXPECT_IN_ORDER(b->log.text, title);
	else
		assert_string_equal(b->log.text, "");
}

static void every_verdict_agrees_with_a_transitive_closure(void **state)
{
	(void)state;
	assert_int_equal(MODEL_NODES, 2 * LOCK_NR_CLASSES);
	for (unsigned seed = 1; seed <= 50; seed++) {
		struct bench *b = bench_new();
		struct model m = { 0 };
		unsigned random = seed;

		for (int step = 0; step < 400; step++) {
			int outer = rand_r(&random) % MODEL_NODES;
			int inner = rand_r(&random) % MODEL_NODES;

			/* Mostly legal pairs, or the first few would order everything. */
			if (outer > inner && rand_r(&random) % 8 != 0) {
				int swap = outer;

				outer = inner;
				inner = swap;
			}
			if (outer != inner)
				model_step(b, &m, outer, inner);
		}
		bench_delete(b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_threads_that_swap_two_locks_are_reported_in_the_kernels_shape),
		cmocka_unit_test(locks_taken_in_order_give_no_report),
		cmocka_unit_test(a_cycle_of_three_is_found_though_no_two_were_ever_swapped),
		cmocka_unit_test(a_shared_lock_closes_a_cycle_too),
		cmocka_unit_test(
			a_pair_against_the_order_is_reported_before_any_cycle_and_again_with_it),
		cmocka_unit_test(a_lock_out_of_order_is_judged_against_each_lock_held),
		cmocka_unit_test(a_lock_taken_twice_is_recursion),
		cmocka_unit_test(one_lock_taken_twice_is_recursion_whatever_the_subclass),
		cmocka_unit_test(two_locks_of_one_class_need_a_subclass),
		cmocka_unit_test(sharing_a_lock_that_one_shares_already_is_recursion),
		cmocka_unit_test(recursion_is_reported_once),
		cmocka_unit_test(ascending_subclasses_are_legal),
		cmocka_unit_test(a_descending_subclass_is_against_the_order),
		cmocka_unit_test(a_trylock_adds_no_dependency_but_is_held),
		cmocka_unit_test(a_pretended_wait_is_legal_with_nothing_held),
		cmocka_unit_test(a_pretended_wait_is_reported_with_any_lock_of_ours_held),
		cmocka_unit_test(a_release_of_what_is_not_held_is_reported),
		cmocka_unit_test(a_lock_held_where_none_may_be_is_reported),
		cmocka_unit_test(locks_may_be_released_in_any_order),
		cmocka_unit_test(holding_shared_is_less_than_holding_exclusively),
		cmocka_unit_test(locks_that_pile_up_end_the_program),
		cmocka_unit_test(pairs_are_listed_sorted_and_once),
		cmocka_unit_test(a_cycle_that_many_threads_close_at_once_is_reported_once),
		cmocka_unit_test(every_verdict_agrees_with_a_transitive_closure),
	};

	alarm(60); /* a test of locks that hangs has failed */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
