/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * lib_trace_fixture.c - builds traces step by step; what a task holds and how things stand is carried
 * from one step to the next.
 */
#include "trace_fixture.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lab/trace.h"

struct pen {
	struct trace *trace;
	size_t room;
	unsigned task;
	unsigned nheld[TRACE_MAX_TASKS];
	struct trace_held held[TRACE_MAX_TASKS][TRACE_MAX_HELD];
	unsigned nstate;
	struct trace_state state[TRACE_MAX_STATE];
};

static void put(char *buf, size_t len, const char *text)
{
	snprintf(buf, len, "%s", text);
}
#define PUT(field, text) put(field, sizeof(field), text)

static struct pen pen_new(size_t room)
{
	struct pen pen = { .trace = calloc(1, sizeof(*pen.trace)), .room = room };

	assert(pen.trace);
	pen.trace->steps = calloc(room, sizeof(*pen.trace->steps));
	assert(pen.trace->steps);
	return pen;
}

void trace_fixture_free(struct trace *trace)
{
	free(trace->steps);
	free(trace);
}

static void add_task(struct pen *pen, const char *name, const char *process)
{
	struct trace_task *task = &pen->trace->tasks[pen->trace->ntasks++];

	PUT(task->name, name);
	PUT(task->process, process);
	task->shown = true;
}

static void set(struct pen *pen, const char *name, const char *value)
{
	unsigned s = 0;

	while (s < pen->nstate && strcmp(pen->state[s].name, name) != 0)
		s++;
	if (s == pen->nstate) {
		pen->nstate++;
		PUT(pen->state[s].name, name);
	}
	PUT(pen->state[s].value, value);
}

static struct trace_step *step(struct pen *pen, enum trace_kind kind, const char *file, int line,
			       const char *what)
{
	struct trace_step *step = &pen->trace->steps[pen->trace->nsteps++];

	assert(pen->trace->nsteps <= pen->room);
	step->kind = kind;
	step->task = pen->task;
	PUT(step->what, what);
	step->file = file;
	step->line = line;
	step->nheld = pen->nheld[pen->task];
	memcpy(step->held, pen->held[pen->task], sizeof(step->held));
	step->nstate = pen->nstate;
	memcpy(step->state, pen->state, sizeof(step->state));
	return step;
}

/* As the lab does it: of the first task, which need not be the one that ran, and without its locks. */
static void clock_ticks(struct pen *pen, const char *what)
{
	unsigned task = pen->task;
	struct trace_step *tick;

	pen->task = 0;
	tick = step(pen, TRACE_CLOCK, NULL, 0, what);
	tick->nheld = 0;
	pen->task = task;
}

static void take(struct pen *pen, const char *name, bool exclusive, const char *file, int line)
{
	struct trace_held *held = &pen->held[pen->task][pen->nheld[pen->task]++];
	char what[112];

	PUT(held->name, name);
	held->exclusive = exclusive;
	snprintf(what, sizeof(what), "takes %s%s", name, exclusive ? "" : ", shared");
	step(pen, TRACE_LOCK, file, line, what);
}

static void drop(struct pen *pen, const char *name, const char *file, int line)
{
	struct trace_held *held = pen->held[pen->task];
	unsigned n = pen->nheld[pen->task], h = n;
	char what[112];

	while (h-- > 0 && strcmp(held[h].name, name) != 0)
		;
	assert(h < n);
	memmove(&held[h], &held[h + 1], (n - h - 1) * sizeof(*held));
	memset(&held[n - 1], 0, sizeof(*held));
	pen->nheld[pen->task]--;
	snprintf(what, sizeof(what), "releases %s", name);
	step(pen, TRACE_UNLOCK, file, line, what);
}

/* ---- a fault against a punch ------------------------------------------------------------------- */

enum { T1, FAULTS, T2 };

static void fault_looks(struct pen *pen)
{
	pen->task = FAULTS;
	step(pen, TRACE_WAKE, "src/clientd_conn.c", 418, "gets FAULT a[0], read");
	take(pen, "holder a", true, "src/gate.c", 336);
	drop(pen, "holder a", "src/gate.c", 339);
	take(pen, "mmaplock a", false, "src/fault.c", 270);
	take(pen, "ilock a", false, "src/fault.c", 116);
	drop(pen, "ilock a", "src/fault.c", 120);
	step(pen, TRACE_CLIENT, "src/fault.c", 131, "finds a[0] written, in block 21");
	drop(pen, "mmaplock a", "src/fault.c", 277);
}

static void punch_frees(struct pen *pen)
{
	pen->task = T2;
	step(pen, TRACE_OP_BEGIN, NULL, 0, "punch a 0")->preempts = true;
	take(pen, "holder a", true, "src/gate.c", 165);
	set(pen, "gate of a", "open on [0]");
	step(pen, TRACE_CLIENT, "src/gate.c", 171, "opens the gate on a[0]");
	drop(pen, "holder a", "src/gate.c", 189);
	step(pen, TRACE_CLIENT, "src/gate.c", 251, "recalls a[0]: nobody has a grant");
	take(pen, "iolock a", true, "src/layout.c", 365);
	take(pen, "mmaplock a", true, "src/layout.c", 72);
	take(pen, "holder a", true, "src/gate.c", 281);
	set(pen, "gate of a", "closed on [0]");
	step(pen, TRACE_CLIENT, "src/gate.c", 290, "closes the gate");
	drop(pen, "holder a", "src/gate.c", 294);
	take(pen, "journal 0", true, "src/layout.c", 257);
	take(pen, "ilock a", true, "src/layout.c", 260);
	take(pen, "alloc 0", true, "src/alloc.c", 301);
	drop(pen, "alloc 0", "src/alloc.c", 322);
	set(pen, "a[0]", "hole");
	set(pen, "block 21", "free");
	step(pen, TRACE_ACCESS, "src/journal.c", 512, "commits: a[0] is a hole, block 21 is free");
	drop(pen, "ilock a", "src/layout.c", 268);
	drop(pen, "journal 0", "src/layout.c", 270);
	set(pen, "gate of a", "none");
	step(pen, TRACE_CLIENT, "src/gate.c", 318, "ends the gate");
	drop(pen, "mmaplock a", "src/layout.c", 77);
	drop(pen, "iolock a", "src/layout.c", 376);
	step(pen, TRACE_OP_END, NULL, 0, "punch a 0 = 0");
}

static void fault_grants(struct pen *pen)
{
	pen->task = FAULTS;
	take(pen, "holder a", true, "src/gate.c", 345);
	set(pen, "grants of a[0]", "p, read");
	step(pen, TRACE_CLIENT, "src/grant.c", 207, "records the grant of a[0] to p, and sends it");
	drop(pen, "holder a", "src/gate.c", 354);
	pen->task = T1;
	step(pen, TRACE_WAKE, "src/client/service.c", 266, "gets GRANT a[0]: block 21, read-only");
	set(pen, "p maps a[0]", "block 21, read-only");
	step(pen, TRACE_KERNEL, "src/client/mapping.c", 143, "maps block 21 at a[0]");
	step(pen, TRACE_BROKEN, NULL, 0, "p maps block 21, which is free");
}

struct trace *trace_fault_punch(void)
{
	struct pen pen = pen_new(64);
	struct trace *trace = pen.trace;

	PUT(trace->scenario, "fault-punch");
	PUT(trace->title, "a load's fault against a punch of the same page");
	PUT(trace->policy, "release-early");
	PUT(trace->schedule, "fault-punch/release-early/0*3,1*8,2*22,1*3,0*3");
	PUT(trace->rule, "mapping-to-free-block");
	PUT(trace->broken, "p maps a[0] to block 21, which the punch has freed: the next file that "
			   "gets this block shows its bytes to p.");
	trace->preemptions = 1;
	add_task(&pen, "t1", "p");
	add_task(&pen, "faults of p", "the daemon");
	add_task(&pen, "t2", "q");
	set(&pen, "a[0]", "block 21, written");
	set(&pen, "block 21", "used by a");
	set(&pen, "gate of a", "none");
	set(&pen, "grants of a[0]", "none");
	set(&pen, "p maps a[0]", "nothing");
	step(&pen, TRACE_OP_BEGIN, NULL, 0, "load a 0");
	step(&pen, TRACE_KERNEL, "src/client/touch.c", 88, "touches a[0]: not mapped, sends FAULT");
	step(&pen, TRACE_BLOCKED, "src/client/call.c", 190, "waits for the answer to FAULT");
	fault_looks(&pen);
	punch_frees(&pen);
	fault_grants(&pen);
	return trace;
}

/* ---- many ---------------------------------------------------------------------------------------- */

/* One operation of the task: what it does depends on @n only. */
static void crowd_op(struct pen *pen, unsigned n)
{
	char block[16], value[32], text[112], lock[32];
	const char *file = n % 3 ? "a" : "log.db";
	bool punch = n % 2;

	snprintf(text, sizeof(text), "%s %s %u", punch ? "punch" : "store", file, n % 4);
	step(pen, TRACE_OP_BEGIN, NULL, 0, text)->preempts = n % 5 == 3;
	snprintf(lock, sizeof(lock), "iolock %s", file);
	if (punch)
		take(pen, lock, true, "src/layout.c", 365);
	snprintf(lock, sizeof(lock), "mmaplock %s", file);
	if (n % 4 == 1) {
		snprintf(text, sizeof(text), "waits for %s, which another one holds shared", lock);
		step(pen, TRACE_BLOCKED, "src/mmaplock.c", 31, text);
		clock_ticks(pen, "10.000 ms are over");
	}
	take(pen, lock, punch, punch ? "src/layout.c" : "src/fault.c", punch ? 72 : 270);
	snprintf(text, sizeof(text), "ilock %s", file);
	take(pen, text, false, "src/get_blocks.c", 116);
	drop(pen, text, "src/get_blocks.c", 120);
	snprintf(block, sizeof(block), "block %u", 20 + n % 7);
	snprintf(value, sizeof(value), punch ? "free" : "used by %s", file);
	set(pen, block, value);
	snprintf(text, sizeof(text), "commits: %s is %s, in the same transaction as its extent and",
		 block, value);
	step(pen, TRACE_ACCESS, "src/journal.c", 512, text);
	drop(pen, lock, punch ? "src/layout.c" : "src/fault.c", punch ? 77 : 277);
	if (punch) {
		snprintf(lock, sizeof(lock), "iolock %s", file);
		drop(pen, lock, "src/layout.c", 376);
	}
	step(pen, TRACE_OP_END, NULL, 0, punch ? "punch = 0" : "store = 0");
}

struct trace *trace_crowd(unsigned ntasks, unsigned nsteps)
{
	static const char *const names[] = { "t1", "t2", "t3", "service of p", "faults of p" };
	static const char *const processes[] = { "p", "p", "q", "p", "the daemon" };
	struct pen pen = pen_new(nsteps + 16);
	struct trace *trace = pen.trace;

	assert(ntasks <= TRACE_MAX_TASKS);
	PUT(trace->scenario, "crowd");
	PUT(trace->title, "stores and punches of two files by many");
	PUT(trace->policy, "none");
	PUT(trace->rule, "stale-byte");
	PUT(trace->broken, "t2 loads from a[1] what was there before the punch.");
	for (unsigned t = 0; t < ntasks; t++)
		add_task(&pen, names[t % 5], processes[t % 5]);
	for (unsigned n = 0; trace->nsteps + 1 < nsteps; n++) {
		pen.task = n % ntasks;
		crowd_op(&pen, n);
	}
	trace->nsteps = nsteps - 1;
	memset(&trace->steps[nsteps - 1], 0, sizeof(*trace->steps));
	step(&pen, TRACE_BROKEN, "src/lab/oracle.c", 77, "reads a[1]: 7, and it is 0");
	for (unsigned i = 0; i < 100; i++)
		snprintf(trace->schedule + 5 * i, 6, "%u*%02u,", i % ntasks % 10u, i % 9u);
	for (size_t i = 0; i < trace->nsteps; i++)
		trace->preemptions += trace->steps[i].preempts;
	return trace;
}

struct trace *trace_hostile(const char *text)
{
	struct pen pen = pen_new(4);
	struct trace *trace = pen.trace;

	PUT(trace->scenario, text);
	PUT(trace->title, text);
	PUT(trace->policy, text);
	PUT(trace->schedule, text);
	PUT(trace->rule, text);
	PUT(trace->broken, text);
	add_task(&pen, text, text);
	add_task(&pen, text, text);
	set(&pen, text, text);
	step(&pen, TRACE_OP_BEGIN, text, 1, text);
	take(&pen, text, true, text, 2);
	pen.task = 1;
	step(&pen, TRACE_BROKEN, text, 3, text)->preempts = true;
	return trace;
}
