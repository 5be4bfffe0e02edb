/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * lanes.h - a trace as reports lay it out: a lane for each task that does something, and spans in it:
 * operations, locks, waits.
 *
 * A lock's span is read off what its task holds after each of its steps, not off the kinds of steps:
 * so whatever a lock operation was called, a bar stands where the lock was held. A span begins at
 * the step after which it is so, and ends at the one after which it is not.
 *
 * A TRACE_CLOCK belongs to no lane, whatever its task: time passes for all. Neither it nor TRACE_BROKEN
 * ends a span; the lab makes both also when nobody runs, as in a deadlock.
 *
 * Everything points into the trace, which must outlive it. Never changed once made.
 */
#ifndef UDAX_LAB_LANES_H
#define UDAX_LAB_LANES_H

#include <stdbool.h>
#include <stddef.h>

#include "lab/trace.h"

/** No step, no lane. */
#define LANES_NONE ((size_t)-1)

#define LANES_MAX_CLASSES 16

enum span_kind {
	SPAN_OP,   /* an operation of the scenario; name: its text */
	SPAN_LOCK, /* name: the lock's */
	SPAN_WAIT, /* from a TRACE_BLOCKED to its task's next step; name: what it waits for */
};

struct span {
	enum span_kind kind;
	unsigned lane;
	unsigned track; /* of locks: those held at one time by one task have different ones */
	const char *name;
	unsigned class; /* of locks: index into lanes->classes */
	bool exclusive;
	bool unfinished;   /* ... when the trace ended */
	size_t begin, end; /* steps; end: trace->nsteps if unfinished */
};

struct lane {
	unsigned task;
	unsigned ntracks;
	size_t first, last; /* steps; first is LANES_NONE when there are none */
};

/** The first word of locks' names. */
struct lock_class_name {
	const char *name; /* its first len bytes */
	unsigned len;
	bool only; /* all locks of this class are one lock, whose name this is the beginning of */
};

struct lanes {
	const struct trace *trace;
	unsigned nlanes;
	struct lane lanes[TRACE_MAX_TASKS];
	size_t lane_of[TRACE_MAX_TASKS]; /* task -> lane, or LANES_NONE */
	size_t *before;			 /* step -> the step before it of the same task */
	size_t nspans;
	struct span *spans; /* by begin */
	unsigned nclasses;
	struct lock_class_name classes[LANES_MAX_CLASSES]; /* the last one stands for further ones */
};

/** lanes_new - lay out @trace. NULL: no memory. */
struct lanes *lanes_new(const struct trace *trace);
void lanes_free(struct lanes *lanes);

/** lanes_at - the lane of a step, which is no TRACE_CLOCK. */
unsigned lanes_at(const struct lanes *lanes, size_t step);

/** lanes_waits - whether @lane waits while the step is made, which is another lane's. */
bool lanes_waits(const struct lanes *lanes, unsigned lane, size_t step);

/** lanes_preempted - the lane that step @step was preempted for, or LANES_NONE. */
size_t lanes_preempted(const struct lanes *lanes, size_t step);

/** lanes_class - the index in lanes->classes of a lock: the same for "ilock a" and "ilock b". */
unsigned lanes_class(const struct lanes *lanes, const char *name);

/** lanes_is_only - whether the trace has no other lock of the class of @name, which it has. */
bool lanes_is_only(const struct lanes *lanes, const char *name);

/** lanes_source - a step's file as people name it, "fault.c" or "client/work.c"; "" if none. */
const char *lanes_source(const struct trace_step *step);

/**
 * lanes_moved_lock - if all that step @step did to its task's locks is to take one, or to drop one:
 * that lock, and in *@ret_taken which of the two. Else NULL.
 */
const struct trace_held *lanes_moved_lock(const struct lanes *lanes, size_t step, bool *ret_taken);

#endif
