/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * report_chrome.c - trace events in JSON, as Perfetto and chrome://tracing read them.
 *
 * A process is a process of the scenario or the daemon, a thread is a
 * task. Operations, waits and locks are slices of their thread. Slices of one thread must lie inside
 * each other; a lock that outlives one which was taken before it does not, and becomes an
 * asynchronous slice, which has a track of its own.
 */
#include "lab/trace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lab/lanes.h"
#include "trace_events.h"

struct events {
	struct trace_events out;
	const struct lanes *lanes;
};

static const char *const kinds[] = {
	[TRACE_OP_BEGIN] = "operation", [TRACE_OP_END] = "operation", [TRACE_LOCK] = "lock",
	[TRACE_BLOCKED] = "blocked",	[TRACE_UNLOCK] = "lock",      [TRACE_WAKE] = "wake",
	[TRACE_ACCESS] = "access",	[TRACE_KERNEL] = "kernel",    [TRACE_CLIENT] = "client",
	[TRACE_CLOCK] = "clock",	[TRACE_BROKEN] = "broken",
};

/* Processes are numbered by the first of their tasks, from 1. */
static unsigned pid_of(const struct trace *trace, unsigned task)
{
	for (unsigned t = 0; t < task; t++) {
		if (!strcmp(trace->tasks[t].process, trace->tasks[task].process))
			return t + 1;
	}
	return task + 1;
}

static struct trace_track track_of(const struct events *ev, unsigned task)
{
	return (struct trace_track){ pid_of(ev->lanes->trace, task), task + 1 };
}

/* Step N stands at N microseconds. */
static uint64_t ns(size_t step)
{
	return (uint64_t)step * 1000;
}

static void put_names(struct events *ev)
{
	const struct lanes *lanes = ev->lanes;

	for (unsigned l = 0; l < lanes->nlanes; l++) {
		unsigned t = lanes->lanes[l].task;
		const struct trace_task *task = &lanes->trace->tasks[t];

		trace_name_process(&ev->out, track_of(ev, t), task->process);
		trace_name_thread(&ev->out, track_of(ev, t), task->name, l);
	}
}

/* ---- slices -------------------------------------------------------------------------------------- */

/* Whether one begins inside the other, and ends outside. */
static bool cross(const struct span *a, const struct span *b)
{
	return (a->begin < b->begin && b->begin < a->end && a->end < b->end) ||
	       (b->begin < a->begin && a->begin < b->end && b->end < a->end);
}

static bool fits_in(const struct lanes *lanes, const bool *nested, size_t s)
{
	for (size_t other = 0; other < s; other++) {
		if (nested[other] && lanes->spans[other].lane == lanes->spans[s].lane &&
		    cross(&lanes->spans[other], &lanes->spans[s]))
			return false;
	}
	return true;
}

static void put_mode(struct events *ev, const struct span *span)
{
	if (span->kind == SPAN_LOCK)
		trace_arg_text(&ev->out, "mode", span->exclusive ? "exclusive" : "shared");
	trace_arg_bool(&ev->out, "unfinished", span->unfinished);
	trace_done(&ev->out);
}

static void put_span(struct events *ev, size_t s, bool nested)
{
	static const char *const categories[] = {
		[SPAN_OP] = "operation", [SPAN_LOCK] = "lock", [SPAN_WAIT] = "blocked"
	};
	const struct span *span = &ev->lanes->spans[s];
	const char *category = categories[span->kind];
	struct trace_track track = track_of(ev, ev->lanes->lanes[span->lane].task);

	if (nested) {
		trace_slice(&ev->out, track, span->name, category, ns(span->begin), ns(span->end));
		put_mode(ev, span);
		return;
	}
	trace_async_begin(&ev->out, track, span->name, category, s, ns(span->begin));
	put_mode(ev, span);
	trace_async_end(&ev->out, track, span->name, category, s, ns(span->end));
	trace_done(&ev->out);
}

/* Of slices that begin together the longest is put first: it is the outer one. */
static void put_spans(struct events *ev, bool *nested)
{
	const struct lanes *lanes = ev->lanes;

	for (size_t s = 0; s < lanes->nspans; s++)
		nested[s] = fits_in(lanes, nested, s);
	for (size_t s = 0, next; s < lanes->nspans; s = next) {
		for (next = s;
		     next < lanes->nspans && lanes->spans[next].begin == lanes->spans[s].begin;)
			next++;
		for (size_t end = lanes->trace->nsteps; end > lanes->spans[s].begin; end--) {
			for (size_t t = s; t < next; t++) {
				if (lanes->spans[t].end == end)
					put_span(ev, t, nested[t]);
			}
		}
	}
}

/* ---- steps --------------------------------------------------------------------------------------- */

static void put_held(struct events *ev, const struct trace_step *step)
{
	struct sheet *sheet = &ev->out.sheet;

	trace_arg(&ev->out, "held");
	sheet_printf(sheet, "[");
	for (unsigned h = 0; h < step->nheld; h++) {
		char text[64];

		snprintf(text, sizeof(text), "%s, %s", step->held[h].name,
			 step->held[h].exclusive ? "exclusive" : "shared");
		sheet_printf(sheet, "%s", h ? "," : "");
		sheet_json(sheet, text);
	}
	sheet_printf(sheet, "]");
}

/* Names need not be unique here: what stands twice in an object is read as who knows what. */
static void put_state(struct events *ev, const struct trace_step *step)
{
	struct sheet *sheet = &ev->out.sheet;
	bool any = false;

	trace_arg(&ev->out, "state");
	sheet_printf(sheet, "{");
	for (unsigned s = 0; s < step->nstate; s++) {
		unsigned later = s + 1;

		while (later < step->nstate &&
		       strcmp(step->state[later].name, step->state[s].name) != 0)
			later++;
		if (later < step->nstate)
			continue;
		sheet_printf(sheet, "%s", any ? "," : "");
		any = true;
		sheet_json(sheet, step->state[s].name);
		sheet_printf(sheet, ":");
		sheet_json(sheet, step->state[s].value);
	}
	sheet_printf(sheet, "}");
}

static void put_step(struct events *ev, size_t i)
{
	const struct trace_step *step = &ev->lanes->trace->steps[i];
	bool all = step->kind == TRACE_CLOCK || step->kind == TRACE_BROKEN;

	trace_instant(&ev->out, track_of(ev, step->task), step->what, kinds[step->kind], ns(i),
		      all ? 'g' : 't');
	trace_arg_uint(&ev->out, "step", i + 1);
	if (step->file) {
		char source[160];

		snprintf(source, sizeof(source), "%s:%d", step->file, step->line);
		trace_arg_text(&ev->out, "source", source);
	}
	trace_arg_bool(&ev->out, "preempts", step->preempts);
	put_held(ev, step);
	put_state(ev, step);
	trace_done(&ev->out);
}

static void put_all(struct events *ev, bool *nested)
{
	const struct trace *trace = ev->lanes->trace;

	put_names(ev);
	put_spans(ev, nested);
	for (size_t i = 0; i < trace->nsteps; i++)
		put_step(ev, i);
	trace_about(&ev->out, "scenario", trace->scenario);
	trace_about(&ev->out, "title", trace->title);
	trace_about(&ev->out, "policy", trace->policy);
	trace_about(&ev->out, "rule", trace->rule);
	trace_about(&ev->out, "broken", trace->broken);
	trace_about(&ev->out, "schedule", trace->schedule);
}

int report_chrome(const struct trace *trace, FILE *out)
{
	struct events ev;
	struct lanes *lanes = lanes_new(trace);
	bool *nested = lanes ? calloc(lanes->nspans + 1, sizeof(*nested)) : NULL;
	int err = -ENOMEM;

	if (nested) {
		ev.lanes = lanes;
		trace_begin(&ev.out, out);
		put_all(&ev, nested);
		err = trace_end(&ev.out);
	}
	free(nested);
	lanes_free(lanes);
	return err;
}
