/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * timeline.c - lanes, bars and marks.
 *
 * Colours are written out at each class: viewers that turn an SVG into something for print know
 * neither variables nor media queries, and show the light ones.
 */
#include "lab/timeline.h"

#include <string.h>

#include "lab/lanes.h"
#include "lab/rows.h"
#include "sheet.h"

#define LANE_MIN 66.0
#define LINE_AT 9.0   /* of a lane: its life line */
#define TRACK_AT 20.0 /* ... the first lock's bar */
#define TRACK 12.0
#define BAR 10.0
#define NAME_CHARS 12u /* of a line of a lane's name */
#define NAME_LETTER 6.1
#define NAME_LINE 11.0
#define LETTER 5.0 /* width of one on a bar */

/* ---- where ------------------------------------------------------------------------------------- */

/* Of the longest line of the lane's name. */
static size_t name_chars(const struct timeline *timeline, unsigned l)
{
	const struct lanes *lanes = timeline->rows->lanes;
	const struct trace_task *task = &lanes->trace->tasks[lanes->lanes[l].task];
	const char *texts[] = { task->name, task->process };
	size_t longest = 0;

	for (unsigned n = 0; n < 2; n++) {
		while (*texts[n]) {
			size_t len = sheet_wrap(texts[n], NAME_CHARS, &texts[n]);

			longest = len > longest ? len : longest;
		}
	}
	return longest;
}

void timeline_place(struct timeline *timeline, double left)
{
	const struct lanes *lanes = timeline->rows->lanes;

	for (unsigned l = 0; l < lanes->nlanes; l++) {
		double width = TRACK_AT + TRACK * lanes->lanes[l].ntracks + 8;

		double name = (double)name_chars(timeline, l) * NAME_LETTER + 10;

		width = width > name ? width : name;
		timeline->lane[l] = left;
		left += width > LANE_MIN ? width : LANE_MIN;
	}
	timeline->lane[lanes->nlanes] = left;
}

/* The mark of a step; behind the last step, the end of the drawing. */
static double y_of(const struct timeline *timeline, size_t step)
{
	const struct rows *rows = timeline->rows;

	if (step == rows->lanes->trace->nsteps)
		return timeline->top[rows->nrows];
	return timeline->top[rows->row_of[step]] + timeline->mark;
}

static double x_of(const struct timeline *timeline, unsigned lane)
{
	return timeline->lane[lane] + LINE_AT;
}

static void put_line(struct sheet *sheet, const char *class, double x, double y, double to)
{
	sheet_printf(sheet, "<path class=\"%s\" d=\"M%.1f %.1fV%.1f\"/>\n", class, x, y, to);
}

/* ---- lanes ------------------------------------------------------------------------------------- */

static void put_title(struct sheet *sheet, const struct span *span)
{
	sheet_printf(sheet, "<title>");
	sheet_xml(sheet, span->name);
	if (span->kind == SPAN_LOCK)
		sheet_printf(sheet, ", %s", span->exclusive ? "exclusive" : "shared");
	sheet_printf(sheet, ": %s %zu to %zu</title>",
		     span->unfinished ? "never ends; steps" : "steps", span->begin + 1,
		     span->unfinished ? span->end : span->end + 1);
}

/* A lock's name stands on its bar if it fits, or at least its first word. */
static void put_bar_name(struct sheet *sheet, const struct span *span, double x, double y,
			 double height)
{
	size_t len = strlen(span->name);

	if ((double)len * LETTER + 6 > height)
		len = strcspn(span->name, " ");
	if (!len || (double)len * LETTER + 6 > height)
		return;
	sheet_printf(sheet, "<text class=\"on\" transform=\"translate(%.1f %.1f)rotate(90)\">",
		     x + 2.3, y + 4);
	sheet_xml_part(sheet, span->name, len);
	sheet_printf(sheet, "</text>");
}

static void put_bar(struct sheet *sheet, const struct timeline *timeline, const struct span *span)
{
	double x = timeline->lane[span->lane] + TRACK_AT + TRACK * span->track;
	double y = y_of(timeline, span->begin), height = y_of(timeline, span->end) - y;

	if (height < 1) /* folded */
		return;
	sheet_printf(sheet,
		     "<g class=\"bar k%u%s\"><rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
		     "height=\"%.1f\" rx=\"2\"/>",
		     span->class % TIMELINE_COLORS, span->exclusive ? "" : " shared", x, y, BAR,
		     height);
	put_bar_name(sheet, span, x, y, height);
	if (timeline->hover)
		put_title(sheet, span);
	sheet_printf(sheet, "</g>\n");
}

static void put_spans(struct sheet *sheet, const struct timeline *timeline, unsigned l)
{
	const struct lanes *lanes = timeline->rows->lanes;

	for (size_t s = 0; s < lanes->nspans; s++) {
		const struct span *span = &lanes->spans[s];
		double from = y_of(timeline, span->begin), to = y_of(timeline, span->end);

		if (span->lane != l)
			continue;
		if (span->kind == SPAN_LOCK) {
			put_bar(sheet, timeline, span);
		} else if (span->kind == SPAN_OP) {
			put_line(sheet, "op", x_of(timeline, l), from, to);
		}
	}
	for (size_t s = 0; s < lanes->nspans; s++) { /* over the operations that they are in */
		const struct span *span = &lanes->spans[s];
		double from = y_of(timeline, span->begin), to = y_of(timeline, span->end);

		if (span->lane != l || span->kind != SPAN_WAIT)
			continue;
		put_line(sheet, "gap", x_of(timeline, l), from, to);
		put_line(sheet, "wait", x_of(timeline, l), from, to);
	}
}

static void put_lanes(struct sheet *sheet, const struct timeline *timeline)
{
	const struct lanes *lanes = timeline->rows->lanes;

	for (unsigned l = 0; l < lanes->nlanes; l++) {
		const struct lane *lane = &lanes->lanes[l];

		if (lane->first == LANES_NONE)
			continue;
		sheet_printf(sheet, "<g class=\"t%u\">\n", l % TIMELINE_COLORS);
		put_line(sheet, "life", x_of(timeline, l), y_of(timeline, lane->first),
			 y_of(timeline, lane->last));
		put_spans(sheet, timeline, l);
		sheet_printf(sheet, "</g>\n");
	}
}

/* ---- marks --------------------------------------------------------------------------------------- */

/* From the task that acted last to the one that acts now: plain, or in warning when that took the CPU. */
static void put_switch(struct sheet *sheet, const struct timeline *timeline, size_t before,
		       size_t i)
{
	const struct lanes *lanes = timeline->rows->lanes;
	double x = x_of(timeline, lanes_at(lanes, before)), y = y_of(timeline, before);
	double to_x = x_of(timeline, lanes_at(lanes, i)), to_y = y_of(timeline, i);

	sheet_printf(sheet, "<path class=\"%s\" d=\"M%.1f %.1fC%.1f %.1f %.1f %.1f %.1f %.1f\"/>\n",
		     lanes_preempted(lanes, i) == LANES_NONE ? "switch" : "preempt", x, y, x,
		     (y + to_y) / 2, to_x, (y + to_y) / 2, to_x, to_y);
}

static void put_mark(struct sheet *sheet, const struct timeline *timeline, size_t i)
{
	const struct lanes *lanes = timeline->rows->lanes;
	const struct trace_step *step = &lanes->trace->steps[i];
	const unsigned lane = lanes_at(lanes, i);
	double x = x_of(timeline, lane), y = y_of(timeline, i);

	if (step->kind == TRACE_BROKEN)
		sheet_printf(sheet, "<path class=\"cross\" d=\"M%.1f %.1fl9 9m0 -9l-9 9\"/>\n",
			     x - 4.5, y - 4.5);
	else if (step->kind == TRACE_ACCESS)
		sheet_printf(sheet, "<path class=\"mark t%u\" d=\"M%.1f %.1fl5 5l-5 5l-5 -5z\"/>\n",
			     lane % TIMELINE_COLORS, x, y - 5);
	else
		sheet_printf(
			sheet, "<circle class=\"mark t%u%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%s\"/>\n",
			lane % TIMELINE_COLORS,
			step->kind == TRACE_UNLOCK || step->kind == TRACE_BLOCKED ||
					step->kind == TRACE_OP_END
				? " hollow"
				: "",
			x, y,
			step->kind == TRACE_OP_BEGIN || step->kind == TRACE_OP_END ? "4.5" : "3.2");
}

static void put_marks(struct sheet *sheet, const struct timeline *timeline, bool switches)
{
	const struct rows *rows = timeline->rows;
	const struct lanes *lanes = rows->lanes;
	size_t before = LANES_NONE;

	for (size_t r = 0; r < rows->nrows; r++) {
		size_t i = rows->rows[r].first;

		if (lanes->trace->steps[i].kind == TRACE_CLOCK) {
			if (switches)
				sheet_printf(sheet,
					     "<path class=\"clock\" d=\"M%.1f %.1fH%.1f\"/>\n",
					     timeline->lane[0], y_of(timeline, i),
					     timeline->lane[lanes->nlanes] - 6);
			continue;
		}
		if (!switches)
			put_mark(sheet, timeline, i);
		else if (before != LANES_NONE && lanes_at(lanes, before) != lanes_at(lanes, i))
			put_switch(sheet, timeline, before, i);
		before = i;
	}
}

void timeline_draw(struct sheet *sheet, const struct timeline *timeline)
{
	put_marks(sheet, timeline, true);
	put_lanes(sheet, timeline);
	put_marks(sheet, timeline, false);
}

/* ---- names --------------------------------------------------------------------------------------- */

static unsigned lines_of(const char *text)
{
	unsigned n = 0;

	for (; *text; n++)
		sheet_wrap(text, NAME_CHARS, &text);
	return n;
}

static unsigned name_lines(const struct timeline *timeline, unsigned l)
{
	const struct lanes *lanes = timeline->rows->lanes;
	const struct trace_task *task = &lanes->trace->tasks[lanes->lanes[l].task];

	return 1 + lines_of(task->name) + lines_of(task->process);
}

unsigned timeline_heading_lines(const struct timeline *timeline)
{
	unsigned most = 0;

	for (unsigned l = 0; l < timeline->rows->lanes->nlanes; l++) {
		unsigned lines = name_lines(timeline, l);

		most = lines > most ? lines : most;
	}
	return most;
}

static double put_name(struct sheet *sheet, const char *class, double x, double y, const char *text)
{
	while (*text) {
		const char *line = text;
		size_t len = sheet_wrap(line, NAME_CHARS, &text);

		sheet_printf(sheet, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">", class, x, y);
		sheet_xml_part(sheet, line, len);
		sheet_printf(sheet, "</text>\n");
		y += NAME_LINE;
	}
	return y;
}

void timeline_heading(struct sheet *sheet, const struct timeline *timeline, double bottom)
{
	const struct lanes *lanes = timeline->rows->lanes;

	for (unsigned l = 0; l < lanes->nlanes; l++) {
		const struct trace_task *task = &lanes->trace->tasks[lanes->lanes[l].task];
		double x = timeline->lane[l] + 4;
		double y = bottom - NAME_LINE * (name_lines(timeline, l) - 1);
		char cpu[16];

		snprintf(cpu, sizeof(cpu), "CPU%u", l);
		sheet_printf(sheet, "<g class=\"name t%u\">\n", l % TIMELINE_COLORS);
		y = put_name(sheet, "dim", x, y, cpu);
		y = put_name(sheet, "task", x, y, task->name);
		put_name(sheet, "dim", x, y, task->process);
		sheet_printf(sheet, "</g>\n");
	}
}

/* ---- colours ------------------------------------------------------------------------------------- */

struct theme {
	const char *tasks[TIMELINE_COLORS], *locks[TIMELINE_COLORS];
	const char *back, *fore, *dim, *faint, *warn, *red, *on;
};

static const struct theme light = {
	.tasks = { "#0b5cad", "#8a3ffc", "#1a7f37", "#a8540a", "#bf3989", "#0e7490", "#5b6b00",
		   "#7a4b2a" },
	.locks = { "#4c78a8", "#e07b39", "#54a24b", "#9467bd", "#d1495b", "#2a9d8f", "#8c6d31",
		   "#6b7a8f" },
	.back = "#ffffff",
	.fore = "#1b1f24",
	.dim = "#626b75",
	.faint = "#d5dae0",
	.warn = "#b45309",
	.red = "#cf222e",
	.on = "#ffffff",
};

static const struct theme dark = {
	.tasks = { "#6cb6ff", "#c297ff", "#57d364", "#f0a35e", "#f778ba", "#56d4dd", "#c5d03a",
		   "#d9a57c" },
	.locks = { "#6f9fd0", "#f0955a", "#74c269", "#b48ee0", "#ea7283", "#4fc4b5", "#c9a458",
		   "#93a4ba" },
	.back = "#14171c",
	.fore = "#e6e9ee",
	.dim = "#9aa4b0",
	.faint = "#39414c",
	.warn = "#f5b041",
	.red = "#ff6b66",
	.on = "#0d1014",
};

static void put_theme(struct sheet *sheet, const struct theme *theme)
{
	for (unsigned n = 0; n < TIMELINE_COLORS; n++)
		sheet_printf(sheet, ".t%u{color:%s}.k%u{color:%s}\n", n, theme->tasks[n], n,
			     theme->locks[n]);
	sheet_printf(
		sheet,
		".life,.op,.bar rect{stroke:currentColor}.bar rect,.mark,.task{fill:currentColor}\n"
		".mark{stroke:currentColor}.hollow,.back{fill:%s}.gap{stroke:%s}\n"
		".wait,.preempt{stroke:%s}.switch,.clock,.rule{stroke:%s}.cross{stroke:%s}\n"
		".what{fill:%s}.dim,.shared .on{fill:%s}.shared .on{fill:%s}.on{fill:%s}.bad{fill:%s}"
		".alert{fill:%s}\n",
		theme->back, theme->back, theme->warn, theme->faint, theme->red, theme->fore,
		theme->dim, theme->fore, theme->on, theme->red, theme->warn);
}

void timeline_style(struct sheet *sheet)
{
	sheet_printf(
		sheet,
		"path{fill:none;stroke-width:1.2}.life{opacity:.35}.op{stroke-width:3;opacity:.5}\n"
		".gap{stroke-width:5}.wait{stroke-width:1.8;stroke-dasharray:2 3}\n"
		".preempt{stroke-width:2;stroke-dasharray:5 3}.clock{stroke-dasharray:1 3}\n"
		".cross{stroke-width:2.6}.mark{stroke-width:1.6}path.mark{stroke-width:1}\n"
		".bar rect{stroke-width:1;fill-opacity:.85}.shared rect{fill-opacity:.22}\n"
		".on{font:8px sans-serif}.name{font:9.5px sans-serif}.task{font-weight:bold}\n");
	put_theme(sheet, &light);
	sheet_printf(sheet, "@media (prefers-color-scheme:dark){\n");
	put_theme(sheet, &dark);
	sheet_printf(sheet, "}\n");
}
