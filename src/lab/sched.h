/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * sched.h - the lab's scheduler: tasks that run one at a time, and change at chosen points only.
 *
 * A task runs until it comes to a *point*: it is about to do something that others can notice (take a
 * lock, touch a page, send a message). There the strategy says who goes on. A task may wait at a
 * point for a condition; then it can only be chosen when that holds. So an *interleaving* is the list
 * of choices, and the same list gives the same run to the byte.
 *
 * What a task does between two points is one step, and nobody sees half of it.
 *
 * Objects and happens-before. Each step says which objects it reads or writes. From that every task has
 * a hash of all that happened before where it stands, and all hashes together identify the state:
 * two interleavings that differ only in the order of steps which touch different objects
 * have the same. The explorer uses this to look at each state once (explore.h).
 *
 * Time is virtual. It stands still, until the clock is chosen like a task: then the earliest deadline
 * that somebody waits for is over.
 *
 * What may fail is a choice too: between the current task and SCHED_FAILURE.
 */
#ifndef UDAX_LAB_SCHED_H
#define UDAX_LAB_SCHED_H

#include <stdbool.h>
#include <stdint.h>

#include "coroutine.h"
#include "sync.h"
#include "trace.h"

#define SCHED_MAX_TASKS 15u
#define SCHED_CLOCK SCHED_MAX_TASKS	    /* the clock's number among the choices */
#define SCHED_FAILURE (SCHED_MAX_TASKS + 1) /* ... and that of what may fail */
#define SCHED_MAX_STEPS 20000u		    /* of one run: more is no progress */
#define SCHED_NOBODY UINT32_MAX
#define SCHED_MAX_HELD 16

struct sched;

/** Something that several tasks touch. Zeroed by whoever makes it. */
struct object {
	uint64_t written, read;
};

enum access { ACCESS_READ, ACCESS_WRITE };

/** A lock of the core's that a task holds. */
struct held {
	const void *lock;
	enum lock_class class;
	unsigned subclass;
	enum sync_mode mode;
	const struct sync_site *site;
};

struct task {
	struct sched *sched;
	unsigned id;
	char name[32], process[32];
	bool background; /* serves others: need not end */
	bool started, ended;
	void (*fn)(void *arg);
	void *arg;

	/* At a point: may it be chosen? */
	bool (*ready)(void *arg);
	void *ready_arg;
	uint64_t deadline_ns; /* of that wait; UINT64_MAX: none */
	const char *waits_for;
	bool timed_out;

	uint64_t hash; /* of what happened before where it stands */
	unsigned nheld;
	struct held held[SCHED_MAX_HELD];
	unsigned nouter; /* locks of the simulated kernel, for those who look */
	struct outer {
		const char *name;
		bool exclusive;
	} outer[SCHED_MAX_HELD];
	struct coroutine co;
};

/** Who goes on. Implemented by the explorer. */
struct strategy {
	/*
	 * One of @enabled (a bit for each task, and the clock). @current: who ran, SCHED_NOBODY when
	 * it cannot go on. SCHED_NOBODY as an answer: the run is not worth going on with.
	 */
	unsigned (*choose)(struct strategy *st, struct sched *s, uint32_t enabled,
			   unsigned current);
};

enum run_end {
	RUN_COMPLETE, /* every task that has to end has ended */
	RUN_CUT,      /* the strategy did not want to go on */
	RUN_BROKEN,   /* a rule was broken: s->rule, s->broken */
};

struct sched {
	unsigned ntasks;
	struct task tasks[SCHED_MAX_TASKS];
	struct task *current; /* NULL: outside of tasks, where every point passes and nothing waits */
	struct strategy *strategy;
	uint64_t now_ns;
	unsigned failures; /* how many there may still be in this run */
	unsigned nsteps;
	struct object clock;
	bool ending; /* the run is over; what is still done is examination */
	bool quiet;  /* somebody examines: locks are not taken, points are passed */

	enum run_end end;
	char rule[48];
	char broken[256];
	const struct sync_site *broken_site;

	struct trace *trace; /* NULL: nobody is looking */
	size_t trace_room;
	bool trace_preempts;
	/* Write the state of everything to the last step. */
	void (*describe)(void *ctx, struct trace_step *step);
	/* "mmaplock a"; the buffer is never NULL. */
	void (*lock_name)(void *ctx, const void *lock, enum lock_class class, char *buf,
			  size_t len);
	/* Nobody can go on before a deadline is over: true, with one sentence, if that must not be. */
	bool (*only_time_helps)(void *ctx, char *buf, size_t len);
	void *look_ctx;

	struct coroutine main; /* not a task: runs them */
};

/** sched_new - no tasks yet; their stacks are made once. NULL without memory. */
struct sched *sched_new(void);
void sched_delete(struct sched *s);

/** sched_reset - forget tasks, time and outcome, for the next run. */
void sched_reset(struct sched *s);

/** sched_spawn - one more task. From outside of a run, or by a task. NULL: too many. */
struct task *sched_spawn(struct sched *s, const char *name, const char *process, bool background,
			 void (*fn)(void *arg), void *arg);

/** sched_run - run all tasks to an end of the run. */
enum run_end sched_run(struct sched *s, struct strategy *strategy);

/** sched_stop - the run is complete here, whoever could go on. From a task; does not return. */
void sched_stop(struct sched *s) __attribute__((noreturn));

/**
 * sched_point - the current task is about to touch @object (NULL: nothing that others touch).
 * sched_touch - it touches one more in the same step.
 */
void sched_point(struct sched *s, struct object *object, enum access access);
void sched_touch(struct sched *s, struct object *object, enum access access);

/**
 * sched_wait - a point that is passed only while @ready(@arg) holds, or @deadline_ns is over
 * (UINT64_MAX: never): returns false then. @what, @site: for those who look.
 */
bool sched_wait(struct sched *s, bool (*ready)(void *arg), void *arg, struct object *object,
		enum access access, uint64_t deadline_ns, const char *what,
		const struct sync_site *site);

/** sched_fails - whether what the current task is about to do fails; @what: for those who look. */
bool sched_fails(struct sched *s, const char *what);

/**
 * sched_fail - rule @rule is broken. In a run: it ends here, and this does not return. Outside of one:
 * remembered, if it is the first.
 */
void sched_fail(struct sched *s, const struct sync_site *site, const char *rule, const char *fmt,
		...) __attribute__((format(printf, 4, 5)));

/** sched_log - one step for those who look; costs a branch if nobody does. */
#define sched_log(s, kind, site, ...)                                                              \
	do {                                                                                       \
		if ((s)->trace)                                                                    \
			sched_log_step(s, kind, site, __VA_ARGS__);                                \
	} while (0)
void sched_log_step(struct sched *s, enum trace_kind kind, const struct sync_site *site,
		    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/** sched_lock_name - what a lock of the core's is called by those who look. */
void sched_lock_name(struct sched *s, const void *lock, enum lock_class class, char *buf,
		     size_t len);

/** sched_state - the hash of the state that the tasks stand in. */
uint64_t sched_state(const struct sched *s);

#endif
