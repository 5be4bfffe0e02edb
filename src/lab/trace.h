/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * trace.h - one interleaving, step by step, as the reports draw it. Recorded only when an
 * interleaving is run once more to be shown; nothing in it points into the lab.
 */
#ifndef UDAX_LAB_TRACE_H
#define UDAX_LAB_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define TRACE_MAX_TASKS 16
#define TRACE_MAX_HELD 12
#define TRACE_MAX_STATE 32

enum trace_kind {
	TRACE_OP_BEGIN, /* an operation of the scenario begins: what = its text */
	TRACE_OP_END,	/* ... and has ended: what = its text and result */
	TRACE_LOCK,	/* a lock was taken */
	TRACE_BLOCKED,	/* waits for a lock, a condition, a message */
	TRACE_UNLOCK,
	TRACE_WAKE,
	TRACE_ACCESS, /* a load or store through a mapping or by the daemon on the medium */
	TRACE_KERNEL, /* the simulated kernel: folios, mappings, requests */
	TRACE_CLIENT, /* messages and mappings of a client */
	TRACE_CLOCK,  /* time passes: a deadline is over */
	TRACE_BROKEN, /* the rule that is broken; the last step */
};

struct trace_held {
	char name[32]; /* "mmaplock a", "folio a[0]" */
	bool exclusive;
};

/** One thing and its state after a step: "p maps a[0]" = "block 21, writable". */
struct trace_state {
	char name[32];
	char value[48];
};

struct trace_step {
	enum trace_kind kind;
	unsigned task;
	bool preempts;	  /* the task that ran before this could have gone on */
	char what[112];	  /* "takes mmaplock a, exclusively" */
	const char *file; /* source position, or NULL; static strings */
	int line;
	unsigned nheld, nstate;
	struct trace_held held[TRACE_MAX_HELD];	   /* by this task, after the step */
	struct trace_state state[TRACE_MAX_STATE]; /* of everything, after the step */
};

struct trace_task {
	char name[32];	  /* "t1", "service of p" */
	char process[32]; /* whom it belongs to: "p", "the daemon" */
	bool shown;	  /* it has steps */
};

struct trace {
	char scenario[64], title[128], policy[32];
	char schedule[4096]; /* what `udaxlab replay` takes */
	char rule[48];	     /* short name of the broken rule: "stale-byte"; empty: none */
	char broken[256];    /* one sentence */
	unsigned preemptions, ntasks;
	struct trace_task tasks[TRACE_MAX_TASKS];
	size_t nsteps;
	struct trace_step *steps;
};

/* Reports. Each writes to @out and returns 0, or -errno of the first failed write. */

/** report_text - a column for each task, time going down, as in mails about races. @width: columns. */
int report_text(const struct trace *trace, unsigned width, bool color, FILE *out);

/** report_html - one self-contained page: lanes, lock spans, states at each step; hover for source. */
int report_html(const struct trace *trace, FILE *out);

/** report_svg - the same as a picture for a document. */
int report_svg(const struct trace *trace, FILE *out);

/** report_chrome - trace events in JSON, for Perfetto and chrome://tracing; one step is 1 us. */
int report_chrome(const struct trace *trace, FILE *out);

#endif
