/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * report_chrome.c - trace events in JSON, as Perfetto and chrome://tracing read them.
 *
 * Step N stands at N microseconds. A process is a process of the scenario or the daemon, a thread is a
 * task. Operations, waits and locks are slices of their thread. Slices of one thread must lie inside
 * each other; a lock that outlives one which was taken before it does not, and becomes an
 * asynchronous slice, which has a track of its own.
 */
#include "lab/trace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lab/lanes.h"
#include "lab/sheet.h"

struct events {
	struct sheet sheet;
	const struct lanes *lanes;
	size_t n;
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

/* The beginning of an event, up to its arguments. */
static void begin_event(struct events *ev, char phase, const char *name, const char *category,
			unsigned task)
{
	sheet_printf(&ev->sheet,
		     "%s\n{\"ph\":\"%c\",\"pid\":%u,\"tid\":%u,\"name\":", ev->n++ ? "," : "",
		     phase, pid_of(ev->lanes->trace, task), task + 1);
	sheet_json(&ev->sheet, name);
	sheet_printf(&ev->sheet, ",\"cat\":\"%s\"", category);
}

static void put_name(struct events *ev, const char *what, unsigned task, const char *name)
{
	begin_event(ev, 'M', what, "__metadata", task);
	sheet_printf(&ev->sheet, ",\"args\":{\"name\":");
	sheet_json(&ev->sheet, name);
	sheet_printf(&ev->sheet, "}}");
}

static void put_names(struct events *ev)
{
	const struct lanes *lanes = ev->lanes;

	for (unsigned l = 0; l < lanes->nlanes; l++) {
		unsigned t = lanes->lanes[l].task;
		const struct trace_task *task = &lanes->trace->tasks[t];

		put_name(ev, "process_name", t, task->process);
		put_name(ev, "thread_name", t, task->name);
		begin_event(ev, 'M', "thread_sort_index", "__metadata", t);
		sheet_printf(&ev->sheet, ",\"args\":{\"sort_index\":%u}}", l);
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
		sheet_printf(&ev->sheet, ",\"args\":{\"mode\":\"%s\",\"unfinished\":%s}}",
			     span->exclusive ? "exclusive" : "shared",
			     span->unfinished ? "true" : "false");
	else
		sheet_printf(&ev->sheet, ",\"args\":{\"unfinished\":%s}}",
			     span->unfinished ? "true" : "false");
}

static void put_span(struct events *ev, size_t s, bool nested)
{
	static const char *const categories[] = {
		[SPAN_OP] = "operation", [SPAN_LOCK] = "lock", [SPAN_WAIT] = "blocked"
	};
	const struct span *span = &ev->lanes->spans[s];
	const char *category = categories[span->kind];
	unsigned task = ev->lanes->lanes[span->lane].task;

	begin_event(ev, nested ? 'X' : 'b', span->name, category, task);
	sheet_printf(&ev->sheet, ",\"ts\":%zu", span->begin);
	if (nested)
		sheet_printf(&ev->sheet, ",\"dur\":%zu", span->end - span->begin);
	else
		sheet_printf(&ev->sheet, ",\"id\":\"%zu\"", s);
	put_mode(ev, span);
	if (nested)
		return;
	begin_event(ev, 'e', span->name, category, task);
	sheet_printf(&ev->sheet, ",\"ts\":%zu,\"id\":\"%zu\"}", span->end, s);
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
	sheet_printf(&ev->sheet, ",\"held\":[");
	for (unsigned h = 0; h < step->nheld; h++) {
		char text[64];

		snprintf(text, sizeof(text), "%s, %s", step->held[h].name,
			 step->held[h].exclusive ? "exclusive" : "shared");
		sheet_printf(&ev->sheet, "%s", h ? "," : "");
		sheet_json(&ev->sheet, text);
	}
	sheet_printf(&ev->sheet, "]");
}

/* Names need not be unique here: what stands twice in an object is read as who knows what. */
static void put_state(struct events *ev, const struct trace_step *step)
{
	bool any = false;

	sheet_printf(&ev->sheet, ",\"state\":{");
	for (unsigned s = 0; s < step->nstate; s++) {
		unsigned later = s + 1;

		while (later < step->nstate &&
		       strcmp(step->state[later].name, step->state[s].name) != 0)
			later++;
		if (later < step->nstate)
			continue;
		sheet_printf(&ev->sheet, "%s", any ? "," : "");
		any = true;
		sheet_json(&ev->sheet, step->state[s].name);
		sheet_printf(&ev->sheet, ":");
		sheet_json(&ev->sheet, step->state[s].value);
	}
	sheet_printf(&ev->sheet, "}");
}

static void put_step(struct events *ev, size_t i)
{
	const struct trace_step *step = &ev->lanes->trace->steps[i];
	bool all = step->kind == TRACE_CLOCK || step->kind == TRACE_BROKEN;

	begin_event(ev, 'i', step->what, kinds[step->kind], step->task);
	sheet_printf(&ev->sheet, ",\"ts\":%zu,\"s\":\"%s\",\"args\":{\"step\":%zu", i,
		     all ? "g" : "t", i + 1);
	if (step->file) {
		char source[160];

		snprintf(source, sizeof(source), "%s:%d", step->file, step->line);
		sheet_printf(&ev->sheet, ",\"source\":");
		sheet_json(&ev->sheet, source);
	}
	sheet_printf(&ev->sheet, ",\"preempts\":%s", step->preempts ? "true" : "false");
	put_held(ev, step);
	put_state(ev, step);
	sheet_printf(&ev->sheet, "}}");
}

static void put_member(struct events *ev, const char *name, const char *value, bool last)
{
	sheet_printf(&ev->sheet, "\"%s\":", name);
	sheet_json(&ev->sheet, value);
	sheet_printf(&ev->sheet, last ? "}" : ",");
}

static void put_all(struct events *ev, bool *nested)
{
	const struct trace *trace = ev->lanes->trace;

	sheet_printf(&ev->sheet, "{\"displayTimeUnit\":\"ns\",\n\"otherData\":{");
	put_member(ev, "scenario", trace->scenario, false);
	put_member(ev, "title", trace->title, false);
	put_member(ev, "policy", trace->policy, false);
	put_member(ev, "rule", trace->rule, false);
	put_member(ev, "broken", trace->broken, false);
	put_member(ev, "schedule", trace->schedule, true);
	sheet_printf(&ev->sheet, ",\n\"traceEvents\":[");
	put_names(ev);
	put_spans(ev, nested);
	for (size_t i = 0; i < trace->nsteps; i++)
		put_step(ev, i);
	sheet_printf(&ev->sheet, "\n]}\n");
}

int report_chrome(const struct trace *trace, FILE *out)
{
	struct events ev = { .sheet = { .out = out } };
	struct lanes *lanes = lanes_new(trace);
	bool *nested = lanes ? calloc(lanes->nspans + 1, sizeof(*nested)) : NULL;
	int err = -ENOMEM;

	if (nested) {
		ev.lanes = lanes;
		put_all(&ev, nested);
		err = sheet_finish(&ev.sheet);
	}
	free(nested);
	lanes_free(lanes);
	return err;
}
