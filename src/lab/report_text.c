/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * report_text.c - an interleaving as people draw it in mails.
 *
 * Time goes down, and one task acts in each line. So a line needs no more than one column's text, and
 * may run over the columns to its right: they are narrow, and lines still say what they have to.
 * Columns are '|' while their task could run, ':' while it waits. Source and locks stand at the
 * right, where who reads only the story need not look.
 *
 * A line is drawn cell by cell, each with its colour, and then written out. ASCII only.
 */
#include "lab/trace.h"

#include <errno.h>
#include <string.h>

#include "lab/lanes.h"
#include "lab/rows.h"
#include "sheet.h"

#define WIDTH_MIN 64u
#define WIDTH_MAX 240u
#define NUMBER_WIDTH 5u /* "  12 " */
#define INDENT 2u
#define DEPTH_MAX 2u /* how many operations inside each other are indented */
#define TEXT_MIN 16u /* what the last column has for its text, and indents */
#define JOINT '\1'   /* a blank at which no line is broken */

enum ink { INK_PLAIN, INK_DIM, INK_BOLD, INK_WARN, INK_RED, INK_TASK }; /* INK_TASK + lane */

struct page {
	struct sheet sheet;
	bool color;
	const struct lanes *lanes;
	const struct rows *rows;
	unsigned width, stride;
	unsigned text_end, source_at, held_at; /* columns */
	char cell[WIDTH_MAX + 1];
	unsigned char ink[WIDTH_MAX];
};

/* ---- one line ---------------------------------------------------------------------------------- */

static void clear_line(struct page *page)
{
	memset(page->cell, ' ', sizeof(page->cell));
	memset(page->ink, INK_PLAIN, sizeof(page->ink));
}

static void draw(struct page *page, unsigned at, const char *text, size_t len, unsigned ink)
{
	for (size_t i = 0; i < len && at + i < page->width; i++) {
		page->cell[at + i] = (char)(text[i] == JOINT ? ' ' : text[i]);
		page->ink[at + i] = (unsigned char)ink;
	}
}

static void set_ink(struct page *page, unsigned ink)
{
	static const char *const codes[] = { "0", "2", "1", "1;33", "1;31" };
	static const char *const tasks[] = { "36", "35", "32", "34", "33", "96", "95", "92" };

	if (page->color)
		sheet_printf(&page->sheet, "\033[%sm",
			     ink < INK_TASK ? codes[ink] : tasks[(ink - INK_TASK) % 8]);
}

static void flush_line(struct page *page)
{
	unsigned end = page->width, ink = INK_PLAIN;

	while (end && page->cell[end - 1] == ' ')
		end--;
	for (unsigned i = 0; i < end; i++) {
		if (page->ink[i] != ink && page->cell[i] != ' ') {
			set_ink(page, INK_PLAIN);
			ink = page->ink[i];
			if (ink != INK_PLAIN)
				set_ink(page, ink);
		}
		sheet_printf(&page->sheet, "%c", page->cell[i]);
	}
	if (ink != INK_PLAIN)
		set_ink(page, INK_PLAIN);
	sheet_printf(&page->sheet, "\n");
	clear_line(page);
}

static unsigned lane_at(const struct page *page, unsigned lane)
{
	return NUMBER_WIDTH + lane * page->stride;
}

/* The columns as they are while step @i is made: not begun, able to run, waiting, done. */
static void draw_lanes(struct page *page, size_t i)
{
	for (unsigned l = 0; l < page->lanes->nlanes; l++) {
		const struct lane *lane = &page->lanes->lanes[l];

		if (lanes_waits(page->lanes, l, i))
			draw(page, lane_at(page, l), ":", 1, INK_WARN);
		else if (lane->first <= i && lane->last >= i && lane->first != LANES_NONE)
			draw(page, lane_at(page, l), "|", 1, INK_TASK + l);
	}
}

/* ---- what stands in the columns ---------------------------------------------------------------- */

/* "mmaplock:s ilock b:x". Whose lock it is goes without saying where there is but one of the kind. */
static void tell_held(const struct page *page, const struct trace_step *step, char *buf, size_t len)
{
	buf[0] = '\0';
	for (unsigned h = 0; h < step->nheld; h++) {
		const struct trace_held *held = &step->held[h];
		size_t at = strlen(buf), shown = lanes_is_only(page->lanes, held->name)
							 ? strcspn(held->name, " ")
							 : strlen(held->name);
		char name[sizeof(held->name)];

		sheet_ascii(held->name, name, shown + 1);
		for (char *blank = name; (blank = strchr(blank, ' '));)
			*blank = JOINT;
		snprintf(buf + at, len - at, "%s%s:%c", at ? " " : "", name,
			 held->exclusive ? 'x' : 's');
	}
}

/* Whether a rule was found broken by nobody's doing: by who waits, as in a deadlock. */
static bool is_nobodys(const struct page *page, size_t step)
{
	return lanes_waits(page->lanes, lanes_at(page->lanes, step), step);
}

/* A row's text in its lane, its source and locks beside it: as many lines as the longest needs. */
static void put_row(struct page *page, const struct row *row)
{
	const struct trace_step *step = rows_step(page->rows, row);
	const unsigned lane = is_nobodys(page, row->first) ? 0 : lanes_at(page->lanes, row->first);
	const bool broken = step->kind == TRACE_BROKEN;
	unsigned depth = row->depth < DEPTH_MAX ? row->depth : DEPTH_MAX;
	unsigned indent = broken ? 0 : depth * INDENT, at = lane_at(page, lane) + indent;
	char number[32], source[128], text[1024], held[TRACE_MAX_HELD * 40];
	const char *t = text, *s = source, *h = held;

	snprintf(number, sizeof(number), "%*zu", (int)NUMBER_WIDTH - 2, row->first + 1);
	rows_source(page->rows, row, source, sizeof(source));
	sheet_ascii(source, source, sizeof(source));
	tell_held(page, step, held, sizeof(held));
	snprintf(text, sizeof(text), "%s", broken ? "*** " : "");
	sheet_ascii(rows_what(page->rows, row), text + strlen(text), sizeof(text) - strlen(text));
	draw(page, 0, number, strlen(number), INK_DIM);
	do {
		const char *line = t;
		size_t len = sheet_wrap(line, page->text_end - at, &t);

		draw_lanes(page, row->first);
		if (len) {
			memset(page->cell + lane_at(page, lane), ' ', at - lane_at(page, lane));
			draw(page, at + (unsigned)len, " ", 1, INK_PLAIN); /* no bar at its end */
			draw(page, at, line, len,
			     broken			   ? INK_RED
			     : row->depth == 0		   ? INK_BOLD
			     : step->kind == TRACE_BLOCKED ? INK_WARN
							   : INK_TASK + lane);
		}
		line = s;
		len = sheet_wrap(line, page->held_at - page->source_at - 1, &s);
		draw(page, page->source_at, line, len, INK_DIM);
		line = h;
		len = sheet_wrap(line, page->width - page->held_at, &h);
		draw(page, page->held_at, line, len, INK_DIM);
		flush_line(page);
		at = lane_at(page, lane) + indent + INDENT;
	} while (*t || *s || *h);
}

/* Time passes for everybody. */
static void put_clock(struct page *page, const struct row *row)
{
	char text[160], what[112];

	sheet_ascii(rows_what(page->rows, row), what, sizeof(what));
	snprintf(text, sizeof(text), "%*zu  --- %s ---", (int)NUMBER_WIDTH - 2, row->first + 1,
		 what);
	draw(page, 0, text, strlen(text), INK_DIM);
	flush_line(page);
}

static void put_rows(struct page *page)
{
	static const char preempted[] = "<preempted>";

	for (size_t r = 0; r < page->rows->nrows; r++) {
		const struct row *row = &page->rows->rows[r];
		size_t lane = lanes_preempted(page->lanes, row->first);

		if (lane != LANES_NONE) {
			draw_lanes(page, row->first);
			draw(page, lane_at(page, (unsigned)lane), preempted, strlen(preempted),
			     INK_WARN);
			flush_line(page);
		}
		if (rows_step(page->rows, row)->kind == TRACE_CLOCK)
			put_clock(page, row);
		else
			put_row(page, row);
	}
}

/* ---- above and below ----------------------------------------------------------------------------- */

/* Lines between the columns @at and @page->width; the lines after the first one begin at @then. */
static void put_wrapped(struct page *page, unsigned at, unsigned then, unsigned ink,
			const char *text)
{
	while (*text) {
		const char *line = text;
		size_t len = sheet_wrap(line, page->width - at, &text);

		draw(page, at, line, len, ink);
		flush_line(page);
		at = then;
	}
}

static void put_title(struct page *page)
{
	const struct trace *trace = page->lanes->trace;
	char name[sizeof(trace->scenario)], title[sizeof(trace->title)];
	char policy[sizeof(trace->policy)], line[512];

	sheet_ascii(trace->scenario, name, sizeof(name));
	sheet_ascii(trace->title, title, sizeof(title));
	sheet_ascii(trace->policy, policy, sizeof(policy));
	snprintf(line, sizeof(line), "%s%s%s", name, *title ? ": " : "", title);
	put_wrapped(page, 0, 4, INK_BOLD, line);
	snprintf(line, sizeof(line),
		 "policy %s; %zu step%s, %u preemption%s; locks held: x exclusive, s shared",
		 policy, trace->nsteps, trace->nsteps == 1 ? "" : "s", trace->preemptions,
		 trace->preemptions == 1 ? "" : "s");
	put_wrapped(page, 0, 4, INK_PLAIN, line);
	flush_line(page);
}

/* Where headings of the gutter go, whatever the last column's name would have there. */
static void clear_gutter(struct page *page)
{
	memset(page->cell + page->text_end, ' ', page->width - page->text_end);
}

/* The columns' names, one below the other: they are longer than the columns are wide. */
static void put_heading(struct page *page)
{
	const unsigned n = page->lanes->nlanes;

	for (unsigned l = 0; l < n; l++) {
		const struct trace_task *task =
			&page->lanes->trace->tasks[page->lanes->lanes[l].task];
		char name[sizeof(task->name)], process[sizeof(task->process)], label[96];

		sheet_ascii(task->name, name, sizeof(name));
		sheet_ascii(task->process, process, sizeof(process));
		snprintf(label, sizeof(label), "CPU%u %s%s%s%s", l, name, *process ? " (" : "",
			 process, *process ? ")" : "");
		for (unsigned other = 0; other < l; other++)
			draw(page, lane_at(page, other), "|", 1, INK_TASK + other);
		draw(page, lane_at(page, l), label, strlen(label), INK_TASK + l);
		if (l + 1 == n) {
			clear_gutter(page);
			draw(page, page->source_at, "source", 6, INK_DIM);
			draw(page, page->held_at, "locks held", 10, INK_DIM);
		}
		flush_line(page);
	}
}

static const char *state_of(const struct trace_step *step, const char *name)
{
	for (unsigned s = 0; s < step->nstate; s++) {
		if (!strcmp(step->state[s].name, name))
			return step->state[s].value;
	}
	return "-";
}

static void put_change(struct page *page, const char *state, const char *before, const char *after)
{
	const size_t size = sizeof(struct trace_state);
	char name[sizeof(struct trace_state)], was[sizeof(struct trace_state)];
	char is[sizeof(struct trace_state)], line[3 * sizeof(struct trace_state) + 8];

	sheet_ascii(state, name, size);
	sheet_ascii(before, was, size);
	sheet_ascii(after, is, size);
	snprintf(line, sizeof(line), "%-20s %s -> %s", name, was, is);
	put_wrapped(page, INDENT, INDENT + 21, INK_PLAIN, line);
}

/* What is at the end and was not at the beginning, or the other way round. */
static void put_changes(struct page *page)
{
	const struct trace *trace = page->lanes->trace;
	const struct trace_step *first = trace->steps, *last = first + trace->nsteps - 1;

	put_wrapped(page, 0, 0, INK_PLAIN, "What has changed since step 1:");
	for (unsigned s = 0; s < first->nstate; s++) {
		const struct trace_state *state = &first->state[s];
		const char *after = state_of(last, state->name);

		if (strcmp(after, state->value) != 0)
			put_change(page, state->name, state->value, after);
	}
	for (unsigned s = 0; s < last->nstate; s++) {
		const struct trace_state *state = &last->state[s];

		if (!strcmp(state_of(first, state->name), "-"))
			put_change(page, state->name, "-", state->value);
	}
	flush_line(page);
}

static void put_verdict(struct page *page)
{
	const struct trace *trace = page->lanes->trace;
	char rule[sizeof(trace->rule)], broken[sizeof(trace->broken)], line[512];

	if (!*trace->rule) {
		put_wrapped(page, 0, 0, INK_BOLD, "No rule is broken.");
		return;
	}
	sheet_ascii(trace->rule, rule, sizeof(rule));
	sheet_ascii(trace->broken, broken, sizeof(broken));
	snprintf(line, sizeof(line), "BROKEN %s: %s", rule, broken);
	put_wrapped(page, 0, 7, INK_RED, line);
}

/*
 * A command that survives being copied: one line, or several of which each but the last ends in a
 * backslash that the shell takes away, between quotes. Nothing is set before a further line, because
 * a blank there would end the argument.
 */
static void put_replay(struct page *page)
{
	static const char command[] = "udaxlab replay ";
	char schedule[sizeof(page->lanes->trace->schedule)];
	unsigned used = (unsigned)strlen(command) + 1;

	sheet_ascii(page->lanes->trace->schedule, schedule, sizeof(schedule));
	sheet_printf(&page->sheet, "\n%s'", command);
	for (const char *p = schedule; *p; p++) {
		const char *piece = *p == '\'' ? "'\\''" : NULL;
		unsigned len = piece ? 4 : 1;

		if (used + len + 2 > page->width) {
			sheet_printf(&page->sheet, "'\\\n'");
			used = 1;
		}
		if (piece)
			sheet_printf(&page->sheet, "%s", piece);
		else
			sheet_printf(&page->sheet, "%c", *p);
		used += len;
	}
	sheet_printf(&page->sheet, "'\n");
}

/* ---- the page ------------------------------------------------------------------------------------ */

/* At the right what source and locks need, three tenths for each at most; columns share the rest. */
static void measure(struct page *page)
{
	const unsigned n = page->lanes->nlanes, least = n <= 6 ? 3 : n <= 10 ? 2 : 1;
	const unsigned rest = page->width - NUMBER_WIDTH - 2 - n * least - TEXT_MIN;
	const unsigned most = page->width * 3 / 10 < rest / 2 ? page->width * 3 / 10 : rest / 2;
	unsigned source_width = 6, held_width = 10, text, last;

	for (size_t r = 0; r < page->rows->nrows; r++) {
		const struct row *row = &page->rows->rows[r];
		char source[128], held[TRACE_MAX_HELD * 40];

		rows_source(page->rows, row, source, sizeof(source));
		tell_held(page, rows_step(page->rows, row), held, sizeof(held));
		if (strlen(source) > source_width)
			source_width = (unsigned)strlen(source);
		if (strlen(held) > held_width)
			held_width = (unsigned)strlen(held);
	}
	held_width = held_width < most ? held_width : most;
	source_width = source_width < most ? source_width : most;
	page->held_at = page->width - held_width;
	page->source_at = page->held_at - source_width - 1;
	page->text_end = page->source_at - 1;
	text = page->text_end - NUMBER_WIDTH;
	last = text * 3 / 5 > 24 ? text * 3 / 5 : 24;
	page->stride = n > 1 && text > last ? (text - last) / (n - 1) : 0;
	if (page->stride > 28)
		page->stride = 28;
	if (page->stride < least)
		page->stride = least;
}

int report_text(const struct trace *trace, unsigned width, bool color, FILE *out)
{
	struct page page = { .sheet = { .out = out }, .color = color };
	struct lanes *lanes = lanes_new(trace);
	struct rows *rows = lanes ? rows_new(lanes, true) : NULL;
	int err = -ENOMEM;

	if (rows) {
		page.lanes = lanes;
		page.rows = rows;
		page.width = width < WIDTH_MIN ? WIDTH_MIN : width > WIDTH_MAX ? WIDTH_MAX : width;
		clear_line(&page);
		measure(&page);
		put_title(&page);
		if (trace->nsteps) {
			put_heading(&page);
			put_rows(&page);
			flush_line(&page);
			put_changes(&page);
		}
		put_verdict(&page);
		put_replay(&page);
		err = sheet_finish(&page.sheet);
	}
	rows_free(rows);
	lanes_free(lanes);
	return err;
}
