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
		char *text, script[8192], got[1024] = "";
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

/* ---- all of them ------------------------------------------------------------------------------------ */

static int report_text_100(const struct trace *trace, FILE *out)
{
	return report_text(trace, 100, false, out);
}

static int (*const reports[])(const struct trace *, FILE *) = { report_text_100 };
#define NREPORTS (sizeof(reports) / sizeof(*reports))

static void a_full_disk_is_an_error(void **state)
{
	struct trace *trace = trace_crowd(5, 150);

	(void)state;
	for (unsigned n = 0; n < NREPORTS; n++) {
		FILE *full = fopen("/dev/full", "w");

		assert_non_null(full);
		assert_int_equal(reports[n](trace, full), -ENOSPC);
		fclose(full);
		full = fopen("/dev/full", "w");
		assert_non_null(full);
		setvbuf(full, NULL, _IONBF, 0);
		assert_int_equal(reports[n](trace, full), -ENOSPC);
		fclose(full);
	}
	trace_fixture_free(trace);
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
		cmocka_unit_test(a_lock_that_others_take_is_not_folded_away),
		cmocka_unit_test(a_full_disk_is_an_error),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
