/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * watch.h - what the long tests on a real mount share: processes under a watchdog, a log of what
 * each worker did last, and random numbers that a seed repeats.
 *
 * A worker is a process or a thread of one. Before each operation it says what it is about to do
 * (worker_op()); that starts its time limit. The process that started all of them, which never
 * touches the mount, sees an operation that outlives the limit, prints the last operations of every
 * worker and where that one hangs, and kills them. A worker that finds something wrong calls
 * worker_fail(), which ends the whole run the same way.
 *
 * The logs stand in memory shared by all, so they survive a worker that is killed or hangs.
 */
#ifndef UDAX_TESTS_WATCH_H
#define UDAX_TESTS_WATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORKER_LOG 48
#define WORKER_LINE 176

struct worker {
	char name[32];
	atomic_ullong nops;
	atomic_ullong busy_since_ns; /* 0: not in an operation */
	atomic_int tid;
	char log[WORKER_LOG][WORKER_LINE];
	uint64_t random; /* its own sequence */
	struct watch *watch;
};

struct watch {
	uint64_t limit_ns;
	unsigned log_shown; /* lines of each worker's log that a failure prints */
	bool echo;	    /* print every operation as it begins */
	atomic_bool stop;   /* everybody is to end */
	atomic_bool failed;
	unsigned nworkers;
	struct worker workers[];
};

/** watch_new - in shared memory. @limit_s: no operation may take longer. Ends the program if not. */
struct watch *watch_new(unsigned nworkers, unsigned limit_s);

/**
 * watch_run - run @main(@worker, @arg) in a process for each of the first @nprocesses workers, and
 * wait for them. With @seconds, sets stop after that time. Returns 0, or 1 when one failed, died or
 * had to be killed; then everything was printed.
 */
int watch_run(struct watch *watch, unsigned nprocesses, unsigned seconds,
	      void (*main)(struct worker *worker, void *arg), void *arg);

/** worker_begin - this process or thread is @worker from now on. */
void worker_begin(struct worker *worker, const char *name, uint64_t seed);

/** worker_op - about to do this: counts, logs, and starts the time limit. */
void worker_op(struct worker *worker, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/** worker_rest - in no operation. */
void worker_rest(struct worker *worker);

/** worker_fail - say what is wrong and end the run. */
void worker_fail(struct worker *worker, const char *fmt, ...)
	__attribute__((format(printf, 2, 3), noreturn));

/** Random numbers of the worker: any, below @n, and true once in @n times. */
uint64_t worker_random(struct worker *worker);
uint64_t worker_below(struct worker *worker, uint64_t n);
bool worker_once_in(struct worker *worker, unsigned n);

/** mix - a number that depends on both in no simple way. */
uint64_t mix(uint64_t a, uint64_t b);

uint64_t watch_now_ns(void);

#endif
