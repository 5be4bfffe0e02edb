/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * lanes.c - lanes and spans of a trace.
 */
#include "lab/lanes.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A step opens at most a span for each lock held, an operation and a wait. */
#define SPANS_PER_STEP (TRACE_MAX_HELD + 2)

static bool same_lock(const struct trace_held *a, const char *name, bool exclusive)
{
	return a->exclusive == exclusive && !strcmp(a->name, name);
}

static void add_lanes(struct lanes *lanes)
{
	const struct trace *trace = lanes->trace;
	bool steps[TRACE_MAX_TASKS] = { false };

	assert(trace->ntasks <= TRACE_MAX_TASKS);
	for (size_t i = 0; i < trace->nsteps; i++) {
		const struct trace_step *step = &trace->steps[i];

		assert(step->task < trace->ntasks && step->nheld <= TRACE_MAX_HELD &&
		       step->nstate <= TRACE_MAX_STATE);
		if (step->kind != TRACE_CLOCK)
			steps[step->task] = true;
	}
	for (unsigned task = 0; task < trace->ntasks; task++) {
		lanes->lane_of[task] = LANES_NONE;
		if (!trace->tasks[task].shown && !steps[task])
			continue;
		lanes->lane_of[task] = lanes->nlanes;
		lanes->lanes[lanes->nlanes++] =
			(struct lane){ .task = task, .first = LANES_NONE, .last = LANES_NONE };
	}
}

static void link_steps(struct lanes *lanes)
{
	for (size_t i = 0; i < lanes->trace->nsteps; i++) {
		struct lane *lane;

		lanes->before[i] = LANES_NONE;
		if (lanes->trace->steps[i].kind == TRACE_CLOCK)
			continue;
		lane = &lanes->lanes[lanes_at(lanes, i)];
		lanes->before[i] = lane->last;
		lane->last = i;
		if (lane->first == LANES_NONE)
			lane->first = i;
	}
}

unsigned lanes_class(const struct lanes *lanes, const char *name)
{
	unsigned len = (unsigned)strcspn(name, " "), class;

	for (class = 0; class < lanes->nclasses; class ++) {
		const struct lock_class_name *known = &lanes->classes[class];

		if (known->len == len && !strncmp(known->name, name, len))
			break;
	}
	return class < LANES_MAX_CLASSES ? class : LANES_MAX_CLASSES - 1;
}

/* Learns the lock's class, and whether it is the only lock of it. */
static void learn_lock(struct lanes *lanes, const char *name)
{
	unsigned class = lanes_class(lanes, name);
	struct lock_class_name *known = &lanes->classes[class];

	if (class == lanes->nclasses) {
		lanes->nclasses++;
		*known = (struct lock_class_name){ name, (unsigned)strcspn(name, " "), true };
	} else if (strcmp(known->name, name) != 0) {
		known->only = false;
	}
}

bool lanes_is_only(const struct lanes *lanes, const char *name)
{
	return lanes->classes[lanes_class(lanes, name)].only;
}

static struct span *open_span(struct lanes *lanes, enum span_kind kind, size_t step,
			      const char *name)
{
	struct span *span = &lanes->spans[lanes->nspans++];

	*span = (struct span){ .kind = kind,
			       .lane = lanes_at(lanes, step),
			       .name = name,
			       .unfinished = true,
			       .begin = step,
			       .end = lanes->trace->nsteps };
	return span;
}

static void close_span(struct span *span, size_t step)
{
	span->unfinished = false;
	span->end = step;
}

/* Locks that the lane's task does not hold any more. Clears in @fresh what it held before already. */
static void close_locks(struct lanes *lanes, size_t i, size_t oldest, bool *fresh)
{
	const struct trace_step *step = &lanes->trace->steps[i];

	for (size_t s = oldest; s < lanes->nspans; s++) {
		struct span *span = &lanes->spans[s];
		unsigned h;

		if (span->kind != SPAN_LOCK || !span->unfinished ||
		    span->lane != lanes_at(lanes, i))
			continue;
		for (h = 0; h < step->nheld; h++) {
			if (fresh[h] && same_lock(&step->held[h], span->name, span->exclusive))
				break;
		}
		if (h < step->nheld)
			fresh[h] = false;
		else
			close_span(span, i);
	}
}

static unsigned free_track(const struct lanes *lanes, unsigned lane, size_t oldest)
{
	bool used[TRACE_MAX_HELD + 1] = { false };
	unsigned track = 0;

	for (size_t s = oldest; s < lanes->nspans; s++) {
		const struct span *span = &lanes->spans[s];

		if (span->kind == SPAN_LOCK && span->lane == lane && span->unfinished)
			used[span->track] = true;
	}
	while (used[track])
		track++;
	return track;
}

static void follow_locks(struct lanes *lanes, size_t i, size_t oldest)
{
	const struct trace_step *step = &lanes->trace->steps[i];
	struct lane *lane = &lanes->lanes[lanes_at(lanes, i)];
	bool fresh[TRACE_MAX_HELD];

	memset(fresh, true, sizeof(fresh));
	close_locks(lanes, i, oldest, fresh);
	for (unsigned h = 0; h < step->nheld; h++) {
		unsigned track;
		struct span *span;

		if (!fresh[h])
			continue;
		track = free_track(lanes, lanes_at(lanes, i), oldest);
		span = open_span(lanes, SPAN_LOCK, i, step->held[h].name);
		span->exclusive = step->held[h].exclusive;
		learn_lock(lanes, span->name);
		span->class = lanes_class(lanes, span->name);
		span->track = track;
		if (lane->ntracks <= track)
			lane->ntracks = track + 1;
	}
}

/* The youngest span of a kind that is open in the lane of step @i, or NULL. */
static struct span *youngest(struct lanes *lanes, enum span_kind kind, size_t i, size_t oldest)
{
	for (size_t s = lanes->nspans; s > oldest; s--) {
		struct span *span = &lanes->spans[s - 1];

		if (span->kind == kind && span->unfinished && span->lane == lanes_at(lanes, i))
			return span;
	}
	return NULL;
}

static void follow_step(struct lanes *lanes, size_t i, size_t oldest)
{
	const struct trace_step *step = &lanes->trace->steps[i];
	struct span *wait = youngest(lanes, SPAN_WAIT, i, oldest);

	if (wait)
		close_span(wait, i);
	if (step->kind == TRACE_OP_BEGIN)
		open_span(lanes, SPAN_OP, i, step->what);
	follow_locks(lanes, i, oldest);
	if (step->kind == TRACE_BLOCKED)
		open_span(lanes, SPAN_WAIT, i, step->what);
	if (step->kind == TRACE_OP_END) {
		struct span *op = youngest(lanes, SPAN_OP, i, oldest);

		if (op)
			close_span(op, i);
	}
}

/* Time passes for everybody, and a rule may be seen broken when all wait: neither ends a span. */
static bool acts(const struct trace_step *step)
{
	return step->kind != TRACE_CLOCK && step->kind != TRACE_BROKEN;
}

static void add_spans(struct lanes *lanes)
{
	size_t oldest = 0; /* all spans before it are closed */

	for (size_t i = 0; i < lanes->trace->nsteps; i++) {
		while (oldest < lanes->nspans && !lanes->spans[oldest].unfinished)
			oldest++;
		if (acts(&lanes->trace->steps[i]))
			follow_step(lanes, i, oldest);
	}
}

struct lanes *lanes_new(const struct trace *trace)
{
	struct lanes *lanes = calloc(1, sizeof(*lanes));

	if (!lanes)
		return NULL;
	lanes->trace = trace;
	lanes->before = calloc(trace->nsteps + 1, sizeof(*lanes->before));
	lanes->spans = calloc(trace->nsteps + 1, SPANS_PER_STEP * sizeof(*lanes->spans));
	if (!lanes->before || !lanes->spans) {
		lanes_free(lanes);
		return NULL;
	}
	add_lanes(lanes);
	link_steps(lanes);
	add_spans(lanes);
	return lanes;
}

void lanes_free(struct lanes *lanes)
{
	if (!lanes)
		return;
	free(lanes->before);
	free(lanes->spans);
	free(lanes);
}

unsigned lanes_at(const struct lanes *lanes, size_t step)
{
	return (unsigned)lanes->lane_of[lanes->trace->steps[step].task];
}

bool lanes_waits(const struct lanes *lanes, unsigned lane, size_t step)
{
	for (size_t s = 0; s < lanes->nspans && lanes->spans[s].begin < step; s++) {
		const struct span *span = &lanes->spans[s];

		if (span->kind == SPAN_WAIT && span->lane == lane && span->end > step)
			return true;
	}
	return false;
}

size_t lanes_preempted(const struct lanes *lanes, size_t step)
{
	const struct trace_step *steps = lanes->trace->steps;
	size_t before = step;

	if (!steps[step].preempts || steps[step].kind == TRACE_CLOCK)
		return LANES_NONE;
	while (before-- > 0 && steps[before].kind == TRACE_CLOCK)
		;
	if (before == LANES_NONE || steps[before].task == steps[step].task)
		return LANES_NONE;
	return lanes_at(lanes, before);
}

const char *lanes_source(const struct trace_step *step)
{
	static const char dir[] = "src/";
	const char *name = step->file ? step->file : "";

	for (const char *p = name; (p = strstr(p, dir)); p++) {
		if (p == step->file || p[-1] == '/')
			name = p + strlen(dir);
	}
	return name;
}

/* The one lock of @step that is not among those of @other; NULL if there is none, or are several. */
static const struct trace_held *one_more(const struct trace_step *step,
					 const struct trace_step *other)
{
	bool used[TRACE_MAX_HELD] = { false };
	const struct trace_held *more = NULL;

	for (unsigned h = 0; h < step->nheld; h++) {
		const struct trace_held *held = &step->held[h];
		unsigned o = 0;

		while (o < other->nheld &&
		       (used[o] || !same_lock(&other->held[o], held->name, held->exclusive)))
			o++;
		if (o < other->nheld)
			used[o] = true;
		else if (more)
			return NULL;
		else
			more = held;
	}
	return more;
}

const struct trace_held *lanes_moved_lock(const struct lanes *lanes, size_t step, bool *ret_taken)
{
	static const struct trace_step nothing;
	size_t before = lanes->before[step];
	const struct trace_step *now = &lanes->trace->steps[step];
	const struct trace_step *then = before == LANES_NONE ? &nothing
							     : &lanes->trace->steps[before];

	if (now->nheld == then->nheld + 1) {
		*ret_taken = true;
		return one_more(now, then);
	}
	if (now->nheld + 1 == then->nheld) {
		*ret_taken = false;
		return one_more(then, now);
	}
	return NULL;
}
