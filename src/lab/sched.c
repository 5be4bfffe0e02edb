/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * sched.c - see sched.h. A point that the current task may pass costs no switch: the choice is made
 * on its own stack.
 */
#include "sched.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- hashes ------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t a, uint64_t b)
{
	uint64_t z = (a ^ (b + UINT64_C(0x9e3779b97f4a7c15))) * UINT64_C(0xbf58476d1ce4e5b9);

	z = (z ^ z >> 29) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 32;
}

void sched_touch(struct sched *s, struct object *object, enum access access)
{
	struct task *task = s->current;

	if (!task || !object || s->quiet)
		return;
	if (access == ACCESS_READ) {
		task->hash = mix(task->hash, object->written);
		object->read += task->hash; /* readers are not ordered among themselves */
	} else {
		task->hash = mix(mix(task->hash, object->written), object->read);
		object->written = task->hash;
		object->read = 0;
	}
}

uint64_t sched_state(const struct sched *s)
{
	uint64_t state = s->ntasks;

	for (unsigned i = 0; i < s->ntasks; i++)
		state = mix(state, s->tasks[i].ended ? ~s->tasks[i].hash : s->tasks[i].hash);
	return state;
}

/* ---- making ------------------------------------------------------------------------------------- */

struct sched *sched_new(void)
{
	struct sched *s = calloc(1, sizeof(*s));

	for (unsigned i = 0; s && i < SCHED_MAX_TASKS; i++)
		if (coroutine_stack_new(&s->tasks[i].co)) {
			sched_delete(s);
			s = NULL;
		}
	return s;
}

void sched_delete(struct sched *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < SCHED_MAX_TASKS; i++)
		coroutine_stack_delete(&s->tasks[i].co);
	free(s);
}

void sched_reset(struct sched *s)
{
	s->ntasks = 0;
	s->current = NULL;
	s->now_ns = 0;
	s->failures = 0;
	s->nsteps = 0;
	s->clock = (struct object){ 0 };
	s->ending = s->quiet = false;
	s->end = RUN_COMPLETE;
	s->rule[0] = s->broken[0] = 0;
	s->broken_site = NULL;
}

static bool always(void *arg)
{
	(void)arg;
	return true;
}

static void task_main(void *arg)
{
	struct task *task = arg;
	struct sched *s = task->sched;

	task->fn(task->arg);
	if (task->nheld)
		sched_fail(s, task->held[task->nheld - 1].site, "lock-balance",
			   "%s ends and holds %s", task->name,
			   lock_class_name(task->held[task->nheld - 1].class));
	task->ended = true;
	coroutine_switch(&task->co, &s->main);
	abort();
}

struct task *sched_spawn(struct sched *s, const char *name, const char *process, bool background,
			 void (*fn)(void *arg), void *arg)
{
	struct coroutine co;
	struct task *task;

	if (s->ntasks == SCHED_MAX_TASKS)
		return NULL;
	task = &s->tasks[s->ntasks];
	co = task->co;
	*task = (struct task){ .sched = s,
			       .id = s->ntasks++,
			       .background = background,
			       .fn = fn,
			       .arg = arg,
			       .ready = always,
			       .deadline_ns = UINT64_MAX,
			       .co = co };
	task->hash = mix(s->current ? s->current->hash : 0, task->id);
	snprintf(task->name, sizeof(task->name), "%s", name);
	snprintf(task->process, sizeof(task->process), "%s", process);
	coroutine_start(&task->co, task_main, task);
	return task;
}

/* ---- choosing ----------------------------------------------------------------------------------- */

static bool task_enabled(const struct task *task)
{
	return !task->ended && (task->timed_out || task->ready(task->ready_arg));
}

static uint64_t next_deadline(const struct sched *s)
{
	uint64_t next = UINT64_MAX;

	for (unsigned i = 0; i < s->ntasks; i++)
		if (!s->tasks[i].ended && !s->tasks[i].timed_out &&
		    s->tasks[i].deadline_ns < next && !task_enabled(&s->tasks[i]))
			next = s->tasks[i].deadline_ns;
	return next;
}

static uint32_t enabled_tasks(const struct sched *s)
{
	uint32_t enabled = 0;

	for (unsigned i = 0; i < s->ntasks; i++)
		enabled |= (uint32_t)task_enabled(&s->tasks[i]) << i;
	if (next_deadline(s) != UINT64_MAX)
		enabled |= UINT32_C(1) << SCHED_CLOCK;
	return enabled;
}

/* The earliest deadline is over. Who sees that, and who saw the time before it, is an order. */
static void tick(struct sched *s)
{
	s->now_ns = next_deadline(s);
	s->clock.written = mix(mix(s->clock.written, s->clock.read), s->now_ns);
	s->clock.read = 0;
	sched_log(s, TRACE_CLOCK, NULL, "%llu.%03llu ms are over",
		  (unsigned long long)(s->now_ns / 1000000),
		  (unsigned long long)(s->now_ns / 1000 % 1000));
	for (unsigned i = 0; i < s->ntasks; i++) {
		struct task *task = &s->tasks[i];

		if (!task->ended && task->deadline_ns <= s->now_ns && !task_enabled(task)) {
			task->timed_out = true;
			task->hash = mix(task->hash, s->now_ns);
		}
	}
}

static bool all_ended(const struct sched *s)
{
	for (unsigned i = 0; i < s->ntasks; i++)
		if (!s->tasks[i].ended && !s->tasks[i].background)
			return false;
	return true;
}

static void describe_stuck(const struct sched *s, char *buf, size_t len)
{
	size_t n = 0;

	buf[0] = 0;
	for (unsigned i = 0; i < s->ntasks && n < len; i++)
		if (!s->tasks[i].ended && !s->tasks[i].background)
			n += (size_t)snprintf(buf + n, len - n, "%s%s", n ? ", " : "",
					      s->tasks[i].name);
}

/* Who goes on now? NULL: nobody, the run is over, and s->end says why. */
static struct task *choose(struct sched *s)
{
	for (;;) {
		uint32_t enabled = enabled_tasks(s), clock = UINT32_C(1) << SCHED_CLOCK;
		struct task *current = s->current;
		unsigned who, before = SCHED_NOBODY;

		if (current && enabled >> current->id & 1)
			before = current->id;
		if (!(enabled & ~clock) && all_ended(s))
			return NULL; /* nobody waits but those who serve */
		if (!enabled) {
			char stuck[128];

			describe_stuck(s, stuck, sizeof(stuck));
			s->current = NULL;
			sched_fail(s, NULL, "deadlock", "nobody can go on: %s", stuck);
			return NULL;
		}
		if (enabled == clock && s->only_time_helps) {
			char why[128];

			if (s->only_time_helps(s->look_ctx, why, sizeof(why))) {
				s->current = NULL;
				sched_fail(s, NULL, "deadlock", "%s", why);
				return NULL;
			}
		}
		if (++s->nsteps > SCHED_MAX_STEPS) {
			s->current = NULL;
			sched_fail(s, NULL, "no-progress", "%u steps, and no end", SCHED_MAX_STEPS);
			return NULL;
		}
		who = s->strategy->choose(s->strategy, s, enabled, before);
		if (who == SCHED_NOBODY) {
			s->end = RUN_CUT;
			return NULL;
		}
		s->trace_preempts = before != SCHED_NOBODY && who != before;
		if (who != SCHED_CLOCK)
			return &s->tasks[who];
		tick(s);
	}
}

enum run_end sched_run(struct sched *s, struct strategy *strategy)
{
	s->strategy = strategy;
	for (;;) {
		/* A task that has ended, or stands at a point, came back here. */
		struct task *next = s->end == RUN_COMPLETE ? choose(s) : NULL;

		if (!next)
			break;
		s->current = next;
		coroutine_switch(&s->main, &next->co);
		if (s->end == RUN_BROKEN || (s->current && !s->current->ended))
			break; /* failed, or cut at a point */
	}
	s->current = NULL;
	s->ending = true;
	return s->end;
}

/* The current task stands at a point: go on with whoever is chosen. */
static void reschedule(struct sched *s)
{
	struct task *task = s->current, *next;

	task->hash =
		mix(task->hash, 1); /* it stands elsewhere than before, whatever it has touched */
	next = choose(s);
	if (next == task)
		return;
	if (!next) { /* the run is over: never comes back */
		coroutine_switch(&task->co, &s->main);
		abort();
	}
	s->current = next;
	coroutine_switch(&task->co, &next->co);
}

bool sched_wait(struct sched *s, bool (*ready)(void *arg), void *arg, struct object *object,
		enum access access, uint64_t deadline_ns, const char *what,
		const struct sync_site *site)
{
	struct task *task = s->current;
	bool in_time;

	if (!task) {
		if (!ready(arg))
			sched_fail(s, site, "deadlock", "outside of a run: waits for %s", what);
		return true;
	}
	if (s->trace && !ready(arg))
		sched_log_step(s, TRACE_BLOCKED, site, "waits for %s", what);
	task->ready = ready;
	task->ready_arg = arg;
	task->deadline_ns = deadline_ns;
	task->waits_for = what;
	task->timed_out = deadline_ns <= s->now_ns;
	reschedule(s);
	in_time = ready(arg);
	task->ready = always;
	task->deadline_ns = UINT64_MAX;
	task->timed_out = false;
	sched_touch(s, object, access);
	return in_time;
}

void sched_point(struct sched *s, struct object *object, enum access access)
{
	if (!s->current || s->quiet)
		return;
	reschedule(s);
	sched_touch(s, object, access);
}

bool sched_fails(struct sched *s, const char *what)
{
	struct task *task = s->current;
	unsigned who;

	if (!task || s->quiet || !s->failures)
		return false;
	task->hash = mix(task->hash, 3); /* as at a point: it stands elsewhere than before */
	who = s->strategy->choose(s->strategy, s,
				  UINT32_C(1) << task->id | UINT32_C(1) << SCHED_FAILURE, task->id);
	if (who == SCHED_NOBODY) {
		s->end = RUN_CUT;
		coroutine_switch(&task->co, &s->main);
		abort();
	}
	if (who != SCHED_FAILURE)
		return false;
	s->failures--;
	task->hash = mix(task->hash, 4);
	sched_log(s, TRACE_KERNEL, NULL, "%s", what);
	return true;
}

void sched_stop(struct sched *s)
{
	coroutine_switch(&s->current->co, &s->main);
	abort();
}

/* ---- failing ------------------------------------------------------------------------------------ */

void sched_fail(struct sched *s, const struct sync_site *site, const char *rule, const char *fmt,
		...)
{
	va_list args;

	if (s->end != RUN_BROKEN) {
		s->end = RUN_BROKEN;
		snprintf(s->rule, sizeof(s->rule), "%s", rule);
		va_start(args, fmt);
		vsnprintf(s->broken, sizeof(s->broken), fmt, args);
		va_end(args);
		s->broken_site = site;
		sched_log(s, TRACE_BROKEN, site, "%s", s->broken);
	}
	if (s->current && !s->ending) {
		coroutine_switch(&s->current->co, &s->main);
		abort();
	}
}

/* ---- looking ------------------------------------------------------------------------------------ */

void sched_lock_name(struct sched *s, const void *lock, enum lock_class class, char *buf,
		     size_t len)
{
	if (s->lock_name)
		s->lock_name(s->look_ctx, lock, class, buf, len);
	else
		snprintf(buf, len, "%s", lock_class_name(class));
}

static void note_held(struct task *task, struct trace_step *step)
{
	for (unsigned i = 0; i < task->nouter && step->nheld < TRACE_MAX_HELD; i++) {
		struct trace_held *held = &step->held[step->nheld++];

		snprintf(held->name, sizeof(held->name), "%s", task->outer[i].name);
		held->exclusive = task->outer[i].exclusive;
	}
	for (unsigned i = 0; i < task->nheld && step->nheld < TRACE_MAX_HELD; i++) {
		struct trace_held *held = &step->held[step->nheld++];

		sched_lock_name(task->sched, task->held[i].lock, task->held[i].class, held->name,
				sizeof(held->name));
		held->exclusive = task->held[i].mode == SYNC_EXCL;
	}
}

void sched_log_step(struct sched *s, enum trace_kind kind, const struct sync_site *site,
		    const char *fmt, ...)
{
	struct trace *trace = s->trace;
	struct trace_step *step;
	va_list args;

	if (trace->nsteps == s->trace_room) {
		size_t room = s->trace_room ? 2 * s->trace_room : 256;
		struct trace_step *steps = realloc(trace->steps, room * sizeof(*steps));

		if (!steps)
			return;
		trace->steps = steps;
		s->trace_room = room;
	}
	step = &trace->steps[trace->nsteps++];
	*step = (struct trace_step){ .kind = kind,
				     .task = s->current ? s->current->id : 0,
				     .preempts = s->trace_preempts && kind != TRACE_CLOCK,
				     .file = site ? site->file : NULL,
				     .line = site ? site->line : 0 };
	if (kind != TRACE_CLOCK)
		s->trace_preempts = false;
	va_start(args, fmt);
	vsnprintf(step->what, sizeof(step->what), fmt, args);
	va_end(args);
	if (s->current)
		note_held(s->current, step);
	if (s->describe)
		s->describe(s->look_ctx, step);
}
