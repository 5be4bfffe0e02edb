/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_report.c - what the lab's reports show of a trace, and that they show it whatever is in it.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>
#include <libxml/parser.h>
#include <libxml/xpath.h>

#include "lab/lanes.h"
#include "lab/rows.h"
#include "lab/trace.h"
#include "trace_fixture.h"

/* All that a report must survive: markup, quotes of four languages, ends of lines, a terminal's
 * escape, bytes that are no UTF-8 (alone, overlong, half), and characters that are. */
#define HOSTILE "<script>&'\"]]>\\\n\033[2J\xff\xc0\xaf\xe2\x82 \xe2\x82\xac--></td>"

static char *text_of(const struct trace *trace, unsigned width, bool color)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	assert_int_equal(report_text(trace, width, color, out), 0);
	fclose(out);
	assert_int_equal(strlen(text), len); /* no NUL inside */
	return text;
}

/* ---- text ---------------------------------------------------------------------------------------- */

static void a_race_is_drawn_as_in_mails(void **state)
{
	static const char expected[] =
#include "report_fault_punch.inc"
		;
	struct trace *trace = trace_fault_punch();
	char *text = text_of(trace, 100, false);

	(void)state;
	assert_string_equal(text, expected);
	free(text);
	trace_fixture_free(trace);
}

static size_t longest_line(const char *text)
{
	size_t longest = 0;

	for (; *text; text += strcspn(text, "\n") + 1) {
		size_t len = strcspn(text, "\n");

		assert_true(!len || text[len - 1] != ' ');
		longest = len > longest ? len : longest;
	}
	return longest;
}

static void lines_are_as_short_as_was_asked_for_and_ascii(void **state)
{
	static const unsigned widths[] = { 64, 72, 80, 100, 132, 240 };

	(void)state;
	for (unsigned n = 0; n < sizeof(widths) / sizeof(*widths) * TRACE_MAX_TASKS; n++) {
		unsigned width = widths[n / TRACE_MAX_TASKS], ntasks = n % TRACE_MAX_TASKS + 1;
		struct trace *trace = trace_crowd(ntasks, 150);
		char *text = text_of(trace, width, false);

		assert_true(longest_line(text) <= width);
		for (const char *p = text; *p; p++)
			assert_true(*p == '\n' || (*p >= ' ' && *p <= '~'));
		free(text);
		trace_fixture_free(trace);
	}
}

static void a_width_that_is_none_is_put_right(void **state)
{
	struct trace *trace = trace_fault_punch();

	(void)state;
	for (unsigned n = 0; n < 2; n++) {
		char *text = text_of(trace, n ? UINT32_MAX : 0, false);

		assert_true(longest_line(text) <= (n ? 240 : 64));
		assert_non_null(strstr(text, "BROKEN mapping-to-free-block"));
		free(text);
	}
	trace_fixture_free(trace);
}

/* Without what colours the terminal it is the same text. */
static void colour_changes_nothing_else(void **state)
{
	struct trace *trace = trace_fault_punch();
	char *plain = text_of(trace, 100, false), *color = text_of(trace, 100, true);
	char *to = color;
	unsigned escapes = 0;

	(void)state;
	for (const char *from = color; *from; from++) {
		if (*from == '\033') {
			escapes++;
			from += strcspn(from, "m");
		} else {
			*to++ = *from;
		}
	}
	*to = '\0';
	assert_true(escapes > 38);
	assert_string_equal(color, plain);
	free(plain);
	free(color);
	trace_fixture_free(trace);
}

static void what_is_hostile_does_not_reach_the_terminal(void **state)
{
	struct trace *trace = trace_hostile(HOSTILE);
	char *text = text_of(trace, 100, false);

	(void)state;
	for (const char *p = text; *p; p++)
		assert_true(*p == '\n' || (*p >= ' ' && *p <= '~'));
	assert_non_null(strstr(text, "<script>"));
	free(text);
	trace_fixture_free(trace);
}

/* What a shell makes of the last command of the report, which is put together from several lines. */
static void the_shell_gives_replay_the_schedule(void **state)
{
	static const char *const schedules[] = { "a'b\"c $HOME `id` \\ *", "'", "", NULL };
	struct trace *trace = trace_crowd(5, 60);

	(void)state;
	for (unsigned n = 0; n < sizeof(schedules) / sizeof(*schedules); n++) {
		char *text, script[32768], got[8192] = "";
		FILE *shell;

		if (schedules[n])
			snprintf(trace->schedule, sizeof(trace->schedule), "%s", schedules[n]);
		else
			memset(trace->schedule, '\'', sizeof(trace->schedule) - 1);
		text = text_of(trace, 80, false);
		snprintf(script, sizeof(script),
			 "udaxlab() { printf '%%s:%%s:%%d' \"$1\" \"$2\" $#; }; %s",
			 strstr(text, "udaxlab replay"));
		shell = popen(script, "r");
		assert_non_null(shell);
		assert_true(fread(got, 1, sizeof(got) - 1, shell) > 0);
		assert_int_equal(pclose(shell), 0);
		snprintf(script, sizeof(script), "replay:%s:2", trace->schedule);
		assert_string_equal(got, script);
		free(text);
	}
	trace_fixture_free(trace);
}

static void an_interleaving_that_breaks_nothing_says_so(void **state)
{
	struct trace *trace = trace_fault_punch();
	char *text;

	(void)state;
	trace->rule[0] = '\0';
	trace->nsteps = 0;
	text = text_of(trace, 80, false);
	assert_non_null(strstr(text, "0 steps"));
	assert_non_null(strstr(text, "No rule is broken."));
	free(text);
	trace_fixture_free(trace);
}

/* ---- lanes and rows -------------------------------------------------------------------------------- */

static void a_bar_stands_where_a_lock_was_held(void **state)
{
	struct trace *trace = trace_fault_punch();
	struct lanes *lanes = lanes_new(trace);
	unsigned seen = 0;

	(void)state;
	assert_int_equal(lanes->nlanes, 3);
	for (size_t s = 0; s < lanes->nspans; s++) {
		const struct span *span = &lanes->spans[s];

		for (size_t t = 0; t < s; t++) { /* no two bars on one place */
			const struct span *other = &lanes->spans[t];

			assert_false(span->kind == SPAN_LOCK && other->kind == SPAN_LOCK &&
				     span->lane == other->lane && span->track == other->track &&
				     span->begin < other->end && other->begin < span->end);
		}
		if (span->kind == SPAN_LOCK && !strcmp(span->name, "mmaplock a")) {
			seen++;
			assert_int_equal(span->begin, span->lane == 1 ? 6 : 17);
			assert_int_equal(span->end, span->lane == 1 ? 10 : 29);
			assert_int_equal(span->exclusive, span->lane == 2);
			assert_false(span->unfinished);
		}
		if (span->kind == SPAN_WAIT) {
			assert_int_equal(span->begin, 2);
			assert_int_equal(span->end, 35);
		}
	}
	assert_int_equal(seen, 2);
	assert_int_equal(lanes_preempted(lanes, 11), 1);
	assert_int_equal(lanes_preempted(lanes, 12), LANES_NONE);
	assert_true(lanes_waits(lanes, 0, 20));
	assert_false(lanes_waits(lanes, 0, 36));
	lanes_free(lanes);
	trace_fixture_free(trace);
}

/* A tick is noted as a step of the first task, without its locks, whoever holds what. */
static void time_belongs_to_nobody(void **state)
{
	struct trace *trace = trace_fault_punch();
	struct lanes *lanes;
	char *text;

	(void)state;
	trace->steps[15].kind = TRACE_CLOCK; /* while t1 waits */
	trace->steps[15].task = 0;
	trace->steps[24].kind = TRACE_CLOCK; /* while the punch has locks */
	trace->steps[24].nheld = 0;
	lanes = lanes_new(trace);
	for (size_t s = 0; s < lanes->nspans; s++) {
		const struct span *span = &lanes->spans[s];

		if (span->kind == SPAN_WAIT)
			assert_int_equal(span->end, 35);
		if (span->kind == SPAN_LOCK && !strcmp(span->name, "iolock a"))
			assert_int_equal(span->end, 30);
	}
	text = text_of(trace, 100, false);
	assert_non_null(strstr(text, "\n 16  --- recalls a[0]: nobody has a grant ---\n"));
	free(text);
	lanes_free(lanes);
	trace_fixture_free(trace);
}

static void a_deadlock_shows_who_waits(void **state)
{
	struct trace *trace = trace_fault_punch();
	struct lanes *lanes;
	unsigned unfinished = 0;
	char *text;

	(void)state;
	trace->nsteps = 17;
	trace->steps[16].kind = TRACE_BROKEN; /* noted as t1's, which waits */
	trace->steps[16].task = 0;
	trace->steps[15].kind = TRACE_BLOCKED;
	lanes = lanes_new(trace);
	for (size_t s = 0; s < lanes->nspans; s++)
		unfinished += lanes->spans[s].kind == SPAN_WAIT && lanes->spans[s].unfinished;
	assert_int_equal(unfinished, 2);
	text = text_of(trace, 100, false);
	assert_non_null(strstr(text, "\n 17  *** takes iolock a"));
	free(text);
	lanes_free(lanes);
	trace_fixture_free(trace);
}

/* How many rows show steps [6, 11) of the fixture: mmaplock, ilock, ilock, found, mmaplock. */
static size_t rows_of_the_lookup(const struct trace *trace)
{
	struct lanes *lanes = lanes_new(trace);
	struct rows *rows = rows_new(lanes, true);
	size_t n = rows->row_of[10] - rows->row_of[6] + 1;

	rows_free(rows);
	lanes_free(lanes);
	return n;
}

static void only_what_tells_nothing_is_folded(void **state)
{
	struct trace *trace = trace_fault_punch();
	struct trace_step *take = &trace->steps[7], *drop = &trace->steps[8];

	(void)state;
	assert_int_equal(rows_of_the_lookup(trace), 4);

	drop->preempts = true; /* somebody came between */
	assert_int_equal(rows_of_the_lookup(trace), 5);
	drop->preempts = false;

	snprintf(trace->steps[2].what, sizeof(trace->steps[2].what), "waits for ilock a");
	assert_int_equal(rows_of_the_lookup(trace), 5);
	snprintf(trace->steps[2].what, sizeof(trace->steps[2].what), "waits for ilock ab");
	assert_int_equal(rows_of_the_lookup(trace), 4);

	snprintf(drop->state[0].value, sizeof(drop->state[0].value), "hole"); /* it did something */
	assert_int_equal(rows_of_the_lookup(trace), 5);
	drop->state[0] = take->state[0];

	take->kind = TRACE_KERNEL;
	assert_int_equal(rows_of_the_lookup(trace), 5);
	trace_fixture_free(trace);
}

/* Although nothing but locks is taken inside of the mmaplock here. */
static void a_lock_around_locks_is_not_folded_away(void **state)
{
	struct trace *trace = trace_fault_punch();
	struct lanes *lanes;
	struct rows *rows;

	(void)state;
	trace->nsteps--;
	memmove(&trace->steps[9], &trace->steps[10], (trace->nsteps - 9) * sizeof(*trace->steps));
	lanes = lanes_new(trace);
	rows = rows_new(lanes, true);
	assert_string_equal(rows_what(rows, &rows->rows[rows->row_of[6]]),
			    "takes mmaplock a, shared");
	assert_string_equal(rows_what(rows, &rows->rows[rows->row_of[7]]),
			    "takes and releases ilock a (shared)");
	assert_string_equal(rows_what(rows, &rows->rows[rows->row_of[9]]), "releases mmaplock a");
	rows_free(rows);
	lanes_free(lanes);
	trace_fixture_free(trace);
}

/* Two times the lookup's ilock, and a third time, in front of which somebody else was. */
static void folded_locks_are_counted(void **state)
{
	struct trace *trace = trace_fault_punch();
	struct lanes *lanes;
	struct rows *rows;

	(void)state;
	trace->steps[9] = trace->steps[7];
	trace->steps[10] = trace->steps[8];
	trace->steps[11] = trace->steps[7];
	trace->steps[12] = trace->steps[8];
	trace->steps[11].preempts = true;
	lanes = lanes_new(trace);
	rows = rows_new(lanes, true);
	assert_string_equal(rows_what(rows, &rows->rows[rows->row_of[7]]),
			    "takes and releases ilock a (shared) 2 times");
	assert_int_equal(rows->rows[rows->row_of[7]].count, 4);
	assert_int_equal(rows->rows[rows->row_of[11]].count, 2);
	rows_free(rows);
	lanes_free(lanes);
	trace_fixture_free(trace);
}

/* A lock that others have too, taken and kept, stands in a line of its own. */
static void a_lock_that_others_take_is_not_folded_away(void **state)
{
	struct trace *trace = trace_fault_punch();
	struct lanes *lanes = lanes_new(trace);
	struct rows *rows = rows_new(lanes, true);

	(void)state;
	assert_int_equal(rows->rows[rows->row_of[16]].count, 1); /* iolock, then ... */
	assert_int_equal(rows->rows[rows->row_of[17]].count, 1); /* ... mmaplock */
	rows_free(rows);
	rows = rows_new(lanes, false);
	assert_int_equal(rows->nrows, trace->nsteps);
	rows_free(rows);
	lanes_free(lanes);
	trace_fixture_free(trace);
}

/* ---- pages and pictures ---------------------------------------------------------------------------- */

static char *written_by(int (*report)(const struct trace *, FILE *), const struct trace *trace)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	assert_int_equal(report(trace, out), 0);
	fclose(out);
	assert_int_equal(strlen(text), len);
	return text;
}

static xmlDocPtr parsed(int (*report)(const struct trace *, FILE *), const struct trace *trace)
{
	char *text = written_by(report, trace);
	xmlDocPtr doc = xmlReadMemory(text, (int)strlen(text), "report", NULL, XML_PARSE_NONET);

	assert_non_null(doc);
	free(text);
	return doc;
}

/* How many nodes of the document an XPath expression finds. */
static int found(xmlDocPtr doc, const char *path)
{
	xmlXPathContextPtr ctx = xmlXPathNewContext(doc);
	xmlXPathObjectPtr result = xmlXPathEval((const xmlChar *)path, ctx);
	int n;

	assert_non_null(result);
	n = result->nodesetval ? result->nodesetval->nodeNr : 0;
	xmlXPathFreeObject(result);
	xmlXPathFreeContext(ctx);
	return n;
}

static void a_page_shows_each_step_and_each_bar(void **state)
{
	struct trace *trace = trace_fault_punch();
	xmlDocPtr doc = parsed(report_html, trace);

	(void)state;
	assert_int_equal(found(doc, "//*[local-name()='ol']/*[local-name()='li']"), 38);
	assert_int_equal(found(doc, "//*[local-name()='li'][contains(@class, 'broken')]"), 1);
	assert_int_equal(found(doc, "//*[local-name()='li'][contains(@class, ' pre')]"), 1);
	/* holder, mmaplock, ilock; holder, iolock, mmaplock, holder, journal, ilock, alloc; holder */
	assert_int_equal(found(doc, "//*[contains(@class, 'bar ')]"), 11);
	assert_int_equal(found(doc, "//*[contains(@class, 'bar ')]/*[local-name()='title']"), 11);
	assert_int_equal(found(doc, "//*[@class='wait']"), 1);
	assert_int_equal(found(doc, "//*[@class='preempt']"), 1);
	assert_int_equal(found(doc, "//*[@id='state']/*[local-name()='tr']"), 5);
	xmlFreeDoc(doc);
	trace_fixture_free(trace);
}

/* Nothing that a browser would fetch. The namespaces are names, not addresses. */
static void a_page_needs_nothing_beside_itself(void **state)
{
	struct trace *trace = trace_crowd(5, 150);
	xmlDocPtr doc = parsed(report_html, trace);

	(void)state;
	assert_int_equal(found(doc, "//@src | //@href | //*[local-name()='link']"), 0);
	assert_int_equal(found(doc, "//*[@http-equiv='Content-Security-Policy']"), 1);
	xmlFreeDoc(doc);
	trace_fixture_free(trace);
}

/* The state that the page's data add up to, step by step, is that of the trace. */
static void the_data_of_a_page_add_up(void **state)
{
	struct trace *trace = trace_crowd(5, 150);
	xmlDocPtr doc;
	xmlXPathContextPtr ctx;
	xmlXPathObjectPtr data;
	json_t *all, *now = json_object();

	(void)state;
	trace->steps[100].nstate--; /* something is gone */
	doc = parsed(report_html, trace);
	ctx = xmlXPathNewContext(doc);
	data = xmlXPathEval((const xmlChar *)"string(//*[@id='data'])", ctx);
	all = json_loads((const char *)data->stringval, 0, NULL);
	assert_non_null(all);
	assert_int_equal(json_array_size(json_object_get(all, "steps")), 150);
	for (size_t i = 0; i < 150; i++) {
		json_t *step = json_array_get(json_object_get(all, "steps"), i), *value;
		const char *key;
		size_t n = 0;

		assert_string_equal(json_string_value(json_object_get(step, "w")),
				    trace->steps[i].what);
		assert_int_equal(json_array_size(json_object_get(step, "h")),
				 trace->steps[i].nheld);
		json_object_update(now, json_object_get(step, "d"));
		json_object_foreach(now, key, value)
		{
			const char *name = json_string_value(json_array_get(
				json_object_get(all, "what"), strtoul(key, NULL, 10)));

			for (unsigned s = 0; s < trace->steps[i].nstate; s++) {
				if (strcmp(trace->steps[i].state[s].name, name) != 0)
					continue;
				assert_string_equal(json_string_value(value),
						    trace->steps[i].state[s].value);
				n++;
			}
		}
		assert_int_equal(n, trace->steps[i].nstate);
	}
	json_decref(all);
	json_decref(now);
	xmlXPathFreeObject(data);
	xmlXPathFreeContext(ctx);
	xmlFreeDoc(doc);
	trace_fixture_free(trace);
}

static void a_picture_shows_each_row_and_fits_a_page(void **state)
{
	struct trace *trace = trace_fault_punch();
	struct lanes *lanes = lanes_new(trace);
	struct rows *rows = rows_new(lanes, true);
	xmlDocPtr doc = parsed(report_svg, trace);

	(void)state;
	assert_int_equal(rows->nrows, 35);
	assert_int_equal(found(doc, "//*[@class='dim num']"), 35);
	assert_int_equal(found(doc, "//*[@class='cross']"), 1);
	assert_int_equal(found(doc, "/*[@width='800']"), 1);
	xmlFreeDoc(doc);
	rows_free(rows);
	lanes_free(lanes);
	trace_fixture_free(trace);
}

/* ---- trace events ------------------------------------------------------------------------------------ */

static json_t *events_of(const struct trace *trace)
{
	char *text = written_by(report_chrome, trace);
	json_t *all = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	json_t *events;

	assert_non_null(all);
	events = json_incref(json_object_get(all, "traceEvents"));
	assert_true(json_is_array(events));
	json_decref(all);
	free(text);
	return events;
}

static const char *text_in(const json_t *event, const char *key)
{
	return json_string_value(json_object_get(event, key));
}

static size_t events_in_phase(const json_t *events, const char *phase)
{
	size_t i, n = 0;
	json_t *event;

	json_array_foreach(events, i, event) n += !strcmp(text_in(event, "ph"), phase);
	return n;
}

static void trace_events_are_all_there(void **state)
{
	struct trace *trace = trace_fault_punch();
	json_t *events = events_of(trace);

	(void)state;
	assert_int_equal(events_in_phase(events, "M"), 3 * 3);
	assert_int_equal(events_in_phase(events, "i"), 38);
	/* two operations (one unfinished), one wait, eleven locks, all of them nested */
	assert_int_equal(events_in_phase(events, "X"), 2 + 1 + 11);
	assert_int_equal(events_in_phase(events, "b"), 0);
	assert_int_equal(json_array_size(events), 9 + 38 + 14);
	json_decref(events);
	trace_fixture_free(trace);
}

static long number_in(const json_t *event, const char *key)
{
	return (long)json_integer_value(json_object_get(event, key));
}

/* Slices of a thread lie inside each other or beside; the outer one comes first. */
static void assert_nested(const json_t *events)
{
	size_t i, j;
	json_t *a, *b;

	json_array_foreach(events, i, a)
	{
		long from = number_in(a, "ts"), to = from + number_in(a, "dur");

		for (j = i + 1; j < json_array_size(events); j++) {
			long begin, end;

			b = json_array_get(events, j);
			if (strcmp(text_in(a, "ph"), "X") != 0 ||
			    strcmp(text_in(b, "ph"), "X") != 0 ||
			    number_in(a, "tid") != number_in(b, "tid"))
				continue;
			begin = number_in(b, "ts");
			end = begin + number_in(b, "dur");
			assert_true(begin >= from && (begin >= to || end <= to));
		}
	}
}

static void locks_that_outlive_each_other_have_tracks_of_their_own(void **state)
{
	struct trace *trace = trace_fault_punch();
	json_t *events = events_of(trace);

	(void)state;
	assert_nested(events);
	json_decref(events);
	/* Step 27 releases the journal lane and 28 the ilock, instead of the other way round. */
	assert_string_equal(trace->steps[26].held[2].name, "journal 0");
	snprintf(trace->steps[26].held[2].name, sizeof(trace->steps[26].held[2].name), "ilock a");
	events = events_of(trace);
	assert_nested(events);
	assert_int_equal(events_in_phase(events, "X"), 2 + 1 + 10);
	assert_int_equal(events_in_phase(events, "b"), 1);
	assert_int_equal(events_in_phase(events, "e"), 1);
	json_decref(events);
	trace_fixture_free(trace);
}

/* ---- all of them ------------------------------------------------------------------------------------ */

static int report_text_100(const struct trace *trace, FILE *out)
{
	return report_text(trace, 100, false, out);
}

static int (*const reports[])(const struct trace *, FILE *) = { report_text_100, report_html,
								report_svg, report_chrome };
#define NREPORTS (sizeof(reports) / sizeof(*reports))

/* Written at once, when a buffer is full, or, if it never is, at the end. */
static void a_full_disk_is_an_error(void **state)
{
	struct trace *traces[] = { trace_crowd(5, 150), trace_hostile("") };

	(void)state;
	for (unsigned n = 0; n < NREPORTS * 4; n++) {
		FILE *full = fopen("/dev/full", "w");

		assert_non_null(full);
		if (n / NREPORTS % 2)
			setvbuf(full, NULL, _IONBF, 0);
		assert_int_equal(reports[n % NREPORTS](traces[n / NREPORTS / 2], full), -ENOSPC);
		fclose(full);
	}
	trace_fixture_free(traces[0]);
	trace_fixture_free(traces[1]);
}

/* What stands in the document is what the trace says, less what no document may hold. */
static void what_is_hostile_is_text_and_nothing_else(void **state)
{
	static const char shown[] = "<script>&'\"]]>\\\n\xef\xbf\xbd[2J\xef\xbf\xbd\xef\xbf\xbd"
				    "\xef\xbf\xbd \xe2\x82\xac--></td>";
	struct trace *trace = trace_hostile(HOSTILE);
	xmlDocPtr page = parsed(report_html, trace), picture = parsed(report_svg, trace);
	json_t *events = events_of(trace), *last;
	xmlXPathContextPtr ctx = xmlXPathNewContext(page);
	xmlXPathObjectPtr title =
		xmlXPathEval((const xmlChar *)"string(//*[local-name()='h1'])", ctx);

	(void)state;
	assert_int_equal(found(page, "//*[local-name()='script']"), 2); /* the data and ours */
	assert_int_equal(found(page, "//*[local-name()='td']"), 2);
	assert_int_equal(found(picture, "//*[local-name()='script']"), 0);
	assert_string_equal((const char *)title->stringval, shown);
	last = json_array_get(events, json_array_size(events) - 1);
	assert_string_equal(text_in(last, "name"), shown);
	xmlXPathFreeObject(title);
	xmlXPathFreeContext(ctx);
	xmlFreeDoc(page);
	xmlFreeDoc(picture);
	json_decref(events);
	trace_fixture_free(trace);
}

/* Traces as no lab makes them, of which reports must still make something. */
static void odd_traces_are_reported(void **state)
{
	(void)state;
	for (unsigned n = 0; n < NREPORTS * 4; n++) {
		struct trace *trace = n / NREPORTS == 0 ? trace_hostile("") : trace_crowd(16, 150);

		if (n / NREPORTS == 1) { /* nothing happens, and there is nobody */
			trace->nsteps = 0;
			trace->ntasks = 0;
		}
		if (n / NREPORTS == 2) { /* time alone passes */
			trace->nsteps = 1;
			trace->steps[0].kind = TRACE_CLOCK;
		}
		for (size_t i = 0; n / NREPORTS == 3 && i < trace->nsteps; i++) {
			trace->steps[i].preempts = true; /* and operations that end only */
			trace->steps[i].kind = i % 2 ? TRACE_OP_END : TRACE_CLOCK;
		}
		free(written_by(reports[n % NREPORTS], trace));
		trace_fixture_free(trace);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_race_is_drawn_as_in_mails),
		cmocka_unit_test(lines_are_as_short_as_was_asked_for_and_ascii),
		cmocka_unit_test(a_width_that_is_none_is_put_right),
		cmocka_unit_test(colour_changes_nothing_else),
		cmocka_unit_test(what_is_hostile_does_not_reach_the_terminal),
		cmocka_unit_test(the_shell_gives_replay_the_schedule),
		cmocka_unit_test(an_interleaving_that_breaks_nothing_says_so),
		cmocka_unit_test(a_bar_stands_where_a_lock_was_held),
		cmocka_unit_test(only_what_tells_nothing_is_folded),
		cmocka_unit_test(a_lock_around_locks_is_not_folded_away),
		cmocka_unit_test(folded_locks_are_counted),
		cmocka_unit_test(a_lock_that_others_take_is_not_folded_away),
		cmocka_unit_test(a_page_shows_each_step_and_each_bar),
		cmocka_unit_test(a_page_needs_nothing_beside_itself),
		cmocka_unit_test(the_data_of_a_page_add_up),
		cmocka_unit_test(a_picture_shows_each_row_and_fits_a_page),
		cmocka_unit_test(trace_events_are_all_there),
		cmocka_unit_test(locks_that_outlive_each_other_have_tracks_of_their_own),
		cmocka_unit_test(what_is_hostile_is_text_and_nothing_else),
		cmocka_unit_test(odd_traces_are_reported),
		cmocka_unit_test(time_belongs_to_nobody),
		cmocka_unit_test(a_deadlock_shows_who_waits),
		cmocka_unit_test(a_full_disk_is_an_error),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
