/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_events.c - the ring of events, and what locks and those who tell put into it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "events.h"
#include "sync.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NR_THREADS 4

/* ---- the ring ------------------------------------------------------------------------------------- */

static void events_are_taken_in_the_order_in_which_they_were_put(void **state)
{
	struct events *events = events_new(EVENTS_MIN);
	struct event got[100];
	uint64_t put = 0, taken = 0;

	(void)state;
	assert_non_null(events);
	assert_int_equal(events_take(events, got, 100), 0);
	/* Several times around, and never full. */
	while (put < 10 * EVENTS_MIN) {
		for (int i = 0; i < 77; i++)
			assert_true(events_put(events, &(struct event){ .pos = put++ }));
		for (unsigned n = events_take(events, got, 100), i = 0; i < n; i++)
			assert_int_equal(got[i].pos, taken++);
		assert_int_equal(taken, put);
	}
	assert_int_equal(events_dropped(events), 0);
	events_delete(events);
}

static void what_finds_the_ring_full_is_dropped_and_counted(void **state)
{
	struct events *events = events_new(EVENTS_MIN);
	struct event got;

	(void)state;
	for (uint64_t i = 0; i < EVENTS_MIN; i++)
		assert_true(events_put(events, &(struct event){ .pos = i }));
	for (int i = 0; i < 5; i++)
		assert_false(events_put(events, &(struct event){ .pos = 4711 }));
	assert_int_equal(events_dropped(events), 5);
	/* What was in it is whole; one place that is free is used once. */
	assert_int_equal(events_take(events, &got, 1), 1);
	assert_int_equal(got.pos, 0);
	assert_true(events_put(events, &(struct event){ .pos = EVENTS_MIN }));
	assert_false(events_put(events, &(struct event){ .pos = 4711 }));
	for (uint64_t i = 1; i <= EVENTS_MIN; i++) {
		assert_int_equal(events_take(events, &got, 1), 1);
		assert_int_equal(got.pos, i);
	}
	assert_int_equal(events_take(events, &got, 1), 0);
	events_delete(events);
}

struct many {
	struct events *events;
	atomic_uint running, next;
	_Atomic uint64_t put;
};

static void put_many(void *arg)
{
	struct many *m = arg;
	uint32_t me = atomic_fetch_add(&m->next, 1);

	for (uint64_t i = 0; i < 20000; i++)
		if (events_put(m->events, &(struct event){ .thread = me, .pos = i, .len = ~i }))
			atomic_fetch_add(&m->put, 1);
	atomic_fetch_sub(&m->running, 1);
}

static void several_threads_put_while_one_takes(void **state)
{
	struct sync *sync = sync_pthread_new(&(struct sync_options){ 0 });
	struct many m = { .events = events_new(EVENTS_MIN) };
	struct sync_thread *threads[NR_THREADS];
	int64_t last[NR_THREADS] = { -1, -1, -1, -1 };
	uint64_t taken = 0;
	bool more = true;

	(void)state;
	atomic_store(&m.running, NR_THREADS);
	for (int i = 0; i < NR_THREADS; i++)
		assert_int_equal(sync_thread_start(sync, "put", put_many, &m, &threads[i]), 0);
	while (more) {
		struct event got[64];
		unsigned n;

		more = atomic_load(&m.running); /* before the last look */
		while ((n = events_take(m.events, got, 64)))
			for (unsigned i = 0; i < n; i++, taken++) {
				assert_int_equal(got[i].len, ~got[i].pos);
				assert_true((int64_t)got[i].pos > last[got[i].thread]);
				last[got[i].thread] = (int64_t)got[i].pos;
			}
	}
	for (int i = 0; i < NR_THREADS; i++)
		sync_thread_join(threads[i]);
	assert_int_equal(taken, atomic_load(&m.put));
	assert_int_equal(taken + events_dropped(m.events), NR_THREADS * 20000);
	events_delete(m.events);
	sync_delete(sync);
}

/* ---- what is put into it ----------------------------------------------------------------------------- */

struct world {
	struct sync *sync;
	struct sync_mutex mutex;
	struct sync_rwlock rw;
	struct sync_cond cond;
	atomic_bool waiting, ending;
	atomic_uint loops;
};

static struct world *world_new(void)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->sync = sync_pthread_new(&(struct sync_options){ .lockdep = true });
	assert_non_null(w->sync);
	sync_mutex_init(w->sync, &w->mutex, LOCK_HOLDER);
	sync_rw_init(w->sync, &w->rw, LOCK_ILOCK);
	sync_cond_init(w->sync, &w->cond);
	sync_mutex_number(&w->mutex, 7);
	sync_rw_number(&w->rw, UINT64_C(1) << 40);
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

static unsigned take_all(struct world *w, struct event *ret, unsigned max)
{
	uint64_t dropped;
	unsigned n = sync_record_take(w->sync, ret, max, &dropped);

	assert_int_equal(dropped, 0);
	return n;
}

static void nothing_is_recorded_before_and_after(void **state)
{
	struct world *w = world_new();
	struct event got[16];

	(void)state;
	assert_false(sync_recording(w->sync));
	sync_lock(&w->mutex, 0, HERE);
	sync_unlock(&w->mutex, HERE);
	assert_int_equal(take_all(w, got, 16), 0);
	sync_record_stop(w->sync); /* of nothing */
	assert_int_equal(sync_record_start(w->sync, 5), 0);
	assert_true(sync_recording(w->sync));
	assert_int_equal(sync_record_start(w->sync, 5), -EBUSY);
	assert_int_equal(take_all(w, got, 16), 0);
	sync_record_stop(w->sync);
	assert_false(sync_recording(w->sync));
	sync_lock(&w->mutex, 0, HERE);
	sync_unlock(&w->mutex, HERE);
	assert_int_equal(take_all(w, got, 16), 0);
	world_delete(w);
}

static void expect_lock(const struct event *e, enum event_kind kind, enum lock_class class,
			bool exclusive, uint64_t number, int line)
{
	assert_int_equal(e->kind, kind);
	assert_int_equal(e->class, class);
	assert_int_equal(e->exclusive, exclusive);
	assert_int_equal(e->pos, number);
	assert_string_equal(e->site->file, __FILE__);
	assert_int_equal(e->site->line, line);
	assert_int_equal(e->thread, gettid());
	assert_true(e->time_ns > 0);
}

static void locks_are_recorded_with_class_mode_number_and_place(void **state)
{
	const uint64_t big = UINT64_C(1) << 40;
	struct world *w = world_new();
	struct event got[16];
	int line;

	(void)state;
	/* Twice: the name of a thread comes once in each recording. */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(sync_record_start(w->sync, EVENTS_MIN), 0);
		line = __LINE__;
		sync_rw_lock(&w->rw, SYNC_SHARED, 0, HERE);
		sync_lock(&w->mutex, 0, HERE);
		sync_rw_unlock(&w->rw, SYNC_SHARED, HERE);
		sync_unlock(&w->mutex, HERE);
		assert_true(sync_rw_trylock(&w->rw, SYNC_EXCL, 0, HERE));
		sync_rw_unlock(&w->rw, SYNC_EXCL, HERE);
		assert_int_equal(take_all(w, got, 16), 7);
		assert_int_equal(got[0].kind, EVENT_THREAD);
		assert_int_equal(got[0].thread, gettid());
		assert_memory_equal(&got[0].pos, "unit_events\0", 12);
		expect_lock(&got[1], EVENT_ACQUIRED, LOCK_ILOCK, false, big, line + 1);
		expect_lock(&got[2], EVENT_ACQUIRED, LOCK_HOLDER, true, 7, line + 2);
		expect_lock(&got[3], EVENT_RELEASED, LOCK_ILOCK, false, big, line + 3);
		expect_lock(&got[4], EVENT_RELEASED, LOCK_HOLDER, true, 7, line + 4);
		expect_lock(&got[5], EVENT_ACQUIRED, LOCK_ILOCK, true, big, line + 5);
		expect_lock(&got[6], EVENT_RELEASED, LOCK_ILOCK, true, big, line + 6);
		assert_int_equal(got[1].object, got[3].object);
		assert_int_not_equal(got[1].object, got[2].object);
		for (int e = 1; e < 7; e++)
			assert_true(got[e].time_ns >= got[e - 1].time_ns);
		sync_record_stop(w->sync);
	}
	world_delete(w);
}

static void a_sleep_is_recorded_between_release_and_taking(void **state)
{
	struct world *w = world_new();
	struct event got[16];
	int line;

	(void)state;
	sync_lock(&w->mutex, 0, HERE);
	assert_int_equal(sync_record_start(w->sync, EVENTS_MIN), 0);
	line = __LINE__ + 1;
	assert_false(sync_wait_until(&w->cond, &w->mutex, sync_now_ns(w->sync) + 1, HERE));
	assert_int_equal(take_all(w, got, 16), 5);
	expect_lock(&got[1], EVENT_RELEASED, LOCK_HOLDER, true, 7, line);
	expect_lock(&got[2], EVENT_SLEEPS, LOCK_HOLDER, true, 7, line);
	expect_lock(&got[3], EVENT_WOKEN, LOCK_HOLDER, true, 7, line);
	expect_lock(&got[4], EVENT_ACQUIRED, LOCK_HOLDER, true, 7, line);
	sync_record_stop(w->sync);
	sync_unlock(&w->mutex, HERE);
	world_delete(w);
}

static void lock_once(void *arg)
{
	struct world *w = arg;

	atomic_store(&w->waiting, true);
	sync_lock(&w->mutex, 0, HERE);
	sync_unlock(&w->mutex, HERE);
}

static void a_wait_for_a_lock_is_recorded_when_it_begins(void **state)
{
	struct world *w = world_new();
	struct sync_thread *thread;
	struct event got[16];
	unsigned n;

	(void)state;
	sync_lock(&w->mutex, 0, HERE);
	assert_int_equal(sync_record_start(w->sync, EVENTS_MIN), 0);
	assert_int_equal(sync_thread_start(w->sync, "waiter", lock_once, w, &thread), 0);
	while (!(n = take_all(w, got, 16)) || got[n - 1].kind != EVENT_CONTENDED)
		usleep(1000);
	assert_int_equal(got[n - 1].class, LOCK_HOLDER);
	assert_int_not_equal(got[n - 1].thread, gettid());
	sync_unlock(&w->mutex, HERE);
	sync_thread_join(thread);
	n = take_all(w, got, 16);
	/* Mine: a name, a release. The other's: taken, released. */
	assert_int_equal(n, 4);
	sync_record_stop(w->sync);
	world_delete(w);
}

static void what_is_told_is_recorded_as_it_was_told(void **state)
{
	const struct sync_told told = { .kind = SYNC_RECALL,
					.step = SYNC_LATE,
					.who = 3,
					.code = 4,
					.result = -5,
					.ino = 6,
					.pos = 7,
					.len = 8 };
	struct world *w = world_new();
	struct event got[16];

	(void)state;
	sync_tell(w->sync, &told, HERE);
	assert_int_equal(sync_record_start(w->sync, EVENTS_MIN), 0);
	sync_tell(w->sync, &told, HERE);
	assert_int_equal(take_all(w, got, 16), 2);
	assert_int_equal(got[1].kind, EVENT_TOLD + SYNC_RECALL);
	assert_int_equal(got[1].step, SYNC_LATE);
	assert_int_equal(got[1].who, 3);
	assert_int_equal(got[1].code, 4);
	assert_int_equal(got[1].result, -5);
	assert_int_equal(got[1].object, 6);
	assert_int_equal(got[1].pos, 7);
	assert_int_equal(got[1].len, 8);
	assert_string_equal(got[1].site->file, __FILE__);
	sync_record_stop(w->sync);
	world_delete(w);
}

static void lock_on(void *arg)
{
	struct world *w = arg;

	while (!atomic_load(&w->ending)) {
		sync_lock(&w->mutex, 0, HERE);
		sync_unlock(&w->mutex, HERE);
		atomic_fetch_add(&w->loops, 1);
	}
}

static void recordings_begin_and_end_while_locks_are_taken(void **state)
{
	struct world *w = world_new();
	struct sync_thread *threads[NR_THREADS];
	uint64_t total = 0;

	(void)state;
	for (int i = 0; i < NR_THREADS; i++)
		assert_int_equal(sync_thread_start(w->sync, "lock", lock_on, w, &threads[i]), 0);
	for (int i = 0; i < 50; i++) {
		unsigned before = atomic_load(&w->loops);
		struct event got[64];
		uint64_t dropped;

		assert_int_equal(sync_record_start(w->sync, EVENTS_MIN), 0);
		while (atomic_load(&w->loops) < before + 20)
			total += sync_record_take(w->sync, got, 64, &dropped);
		total += sync_record_take(w->sync, got, 64, &dropped);
		sync_record_stop(w->sync);
	}
	assert_true(total > 0);
	atomic_store(&w->ending, true);
	for (int i = 0; i < NR_THREADS; i++)
		sync_thread_join(threads[i]);
	world_delete(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(events_are_taken_in_the_order_in_which_they_were_put),
		cmocka_unit_test(what_finds_the_ring_full_is_dropped_and_counted),
		cmocka_unit_test(several_threads_put_while_one_takes),
		cmocka_unit_test(nothing_is_recorded_before_and_after),
		cmocka_unit_test(locks_are_recorded_with_class_mode_number_and_place),
		cmocka_unit_test(a_sleep_is_recorded_between_release_and_taking),
		cmocka_unit_test(a_wait_for_a_lock_is_recorded_when_it_begins),
		cmocka_unit_test(what_is_told_is_recorded_as_it_was_told),
		cmocka_unit_test(recordings_begin_and_end_while_locks_are_taken),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	alarm(120);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
