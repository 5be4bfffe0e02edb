/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * tool_trace.c - whether a file is a trace that viewers can draw.
 *
 *	tool_trace FILE
 *
 * Slices of a track lie inside each other; each asynchronous slice ends once, not before it began; every track
 * belongs to a process with a name, and what is in the first process, the daemon, to a thread with one.
 * Prints how many events of each phase there are. Status 1 with a sentence for each mistake.
 */
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct span {
	int64_t pid, tid, begin_ns, end_ns;
	const char *name;
};

struct ended {
	const char *category, *id;
	int64_t begin_ns;
	unsigned begins, ends;
};

struct trace {
	struct span *spans;
	size_t nspans;
	struct ended *async;
	size_t nasync;
	bool named_process[1024];
	int64_t named_threads[65536];
	size_t nnamed;
	unsigned phases[128], mistakes;
};

static void mistake(struct trace *t, const char *what, const char *name)
{
	if (t->mistakes++ < 10)
		fprintf(stderr, "tool_trace: %s: %s\n", what, name);
}

static int64_t integer(const json_t *e, const char *member)
{
	return json_integer_value(json_object_get(e, member));
}

static int64_t ns(const json_t *e, const char *member)
{
	return llround(json_number_value(json_object_get(e, member)) * 1000);
}

static const char *text(const json_t *e, const char *member)
{
	const char *value = json_string_value(json_object_get(e, member));

	return value ? value : "";
}

static void learn_name(struct trace *t, const json_t *e)
{
	int64_t pid = integer(e, "pid");

	if (strcmp(text(e, "name"), "process_name") == 0 && pid >= 0 && pid < 1024)
		t->named_process[pid] = true;
	if (strcmp(text(e, "name"), "thread_name") == 0 && pid == 1 && t->nnamed < 65536)
		t->named_threads[t->nnamed++] = integer(e, "tid");
}

static void check_named(struct trace *t, const json_t *e)
{
	int64_t pid = integer(e, "pid"), tid = integer(e, "tid");
	size_t i = 0;

	if (pid < 0 || pid >= 1024 || !t->named_process[pid])
		mistake(t, "its process has no name", text(e, "name"));
	if (pid != 1 || !tid)
		return;
	while (i < t->nnamed && t->named_threads[i] != tid)
		i++;
	if (i == t->nnamed)
		mistake(t, "its thread has no name", text(e, "name"));
}

static void collect(struct trace *t, const json_t *e, char phase)
{
	if (phase == 'X') {
		t->spans[t->nspans++] = (struct span){ integer(e, "pid"), integer(e, "tid"),
						       ns(e, "ts"), ns(e, "ts") + ns(e, "dur"),
						       text(e, "name") };
		if (!json_is_number(json_object_get(e, "dur")) || ns(e, "dur") < 0)
			mistake(t, "its length is none", text(e, "name"));
	} else if (phase == 'b' || phase == 'e') {
		t->async[t->nasync++] = (struct ended){ text(e, "cat"), text(e, "id"), ns(e, "ts"),
							phase == 'b', phase == 'e' };
	}
}

/* Outer ones first. */
static int by_track(const void *a, const void *b)
{
	const struct span *x = a, *y = b;

	if (x->pid != y->pid)
		return x->pid < y->pid ? -1 : 1;
	if (x->tid != y->tid)
		return x->tid < y->tid ? -1 : 1;
	if (x->begin_ns != y->begin_ns)
		return x->begin_ns < y->begin_ns ? -1 : 1;
	return x->end_ns > y->end_ns ? -1 : x->end_ns < y->end_ns;
}

static void check_nesting(struct trace *t)
{
	const struct span *open[256];
	unsigned depth = 0;

	qsort(t->spans, t->nspans, sizeof(t->spans[0]), by_track);
	for (size_t i = 0; i < t->nspans; i++) {
		const struct span *s = &t->spans[i];

		while (depth && (open[depth - 1]->pid != s->pid || open[depth - 1]->tid != s->tid ||
				 open[depth - 1]->end_ns <= s->begin_ns))
			depth--;
		if (depth && s->end_ns > open[depth - 1]->end_ns)
			mistake(t, "crosses another slice of its track", s->name);
		if (depth < 256)
			open[depth++] = s;
	}
}

static int by_id(const void *a, const void *b)
{
	const struct ended *x = a, *y = b;
	int order = strcmp(x->category, y->category);

	return order ? order : strcmp(x->id, y->id);
}

static void check_async(struct trace *t)
{
	qsort(t->async, t->nasync, sizeof(t->async[0]), by_id);
	for (size_t i = 0; i < t->nasync; i += 2) {
		const struct ended *x = &t->async[i], *y = x + 1, *begin, *end;

		if (i + 1 == t->nasync || by_id(x, y) != 0 || x->begins + y->begins != 1) {
			mistake(t, "has no beginning or no end", x->id);
			return;
		}
		begin = x->begins ? x : y;
		end = x->begins ? y : x;
		if (end->begin_ns < begin->begin_ns)
			mistake(t, "ends before it begins", x->id);
	}
}

int main(int argc, char **argv)
{
	static struct trace t;
	json_error_t error;
	json_t *json = argc == 2 ? json_load_file(argv[1], JSON_REJECT_DUPLICATES, &error) : NULL;
	const json_t *events = json_object_get(json, "traceEvents");
	size_t i;
	json_t *e;

	if (argc != 2)
		return 2;
	if (!json) {
		fprintf(stderr, "%s:%d: %s\n", argv[1], error.line, error.text);
		return 1;
	}
	t.spans = calloc(json_array_size(events) + 1, sizeof(t.spans[0]));
	t.async = calloc(json_array_size(events) + 1, sizeof(t.async[0]));
	if (!t.spans || !t.async)
		return 1;
	json_array_foreach(events, i, e)
	{
		char phase = text(e, "ph")[0];

		t.phases[phase & 127]++;
		if (phase == 'M')
			learn_name(&t, e);
		else
			collect(&t, e, phase);
	}
	json_array_foreach(events, i, e)
	{
		if (text(e, "ph")[0] != 'M')
			check_named(&t, e);
	}
	check_nesting(&t);
	check_async(&t);
	for (const char *phase = "MXbei"; *phase; phase++)
		printf("%c %u\n", *phase, t.phases[(unsigned char)*phase]);
	free(t.spans);
	free(t.async);
	json_decref(json);
	return t.mistakes ? 1 : 0;
}
