/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * report_svg.c - an interleaving as a picture for a document.
 *
 * Lanes at the left, what happens beside them, wrapped; source at the right. 800 pixels wide, if that
 * leaves enough for the text: on a page that is 17 cm, and the text then has 8 points. Nothing in it
 * needs a script, a font of its own or the network.
 */
#include "lab/trace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lab/lanes.h"
#include "lab/rows.h"
#include "sheet.h"
#include "lab/timeline.h"

#define WIDTH 800.0
#define MARGIN 16.0
#define NUMBERS 26.0 /* the column of step numbers */
#define LINE 14.0
#define LETTER 5.9  /* width of the text's mean letter, of 11 px */
#define NARROW 5.45 /* ... of the source's, 9 px, all of one width */
#define TEXT_MIN 200.0

struct picture {
	struct sheet sheet;
	struct timeline timeline;
	const struct trace *trace;
	double *top;
	double width, text_at, title_height;
	unsigned chars; /* of a line of text */
};

static unsigned lines_of(const char *text, unsigned chars)
{
	unsigned n = 0;

	do {
		sheet_wrap(text, chars, &text);
		n++;
	} while (*text);
	return n;
}

/* @text from (@x, @y) on in lines of @chars. Returns where the line after them stands. */
static double put_text(struct sheet *sheet, const char *class, double x, double y, unsigned chars,
		       const char *text)
{
	do {
		const char *line = text;
		size_t len = sheet_wrap(line, chars, &text);

		sheet_printf(sheet, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">", class, x, y);
		sheet_xml_part(sheet, line, len);
		sheet_printf(sheet, "</text>\n");
		y += LINE;
	} while (*text);
	return y;
}

/* ---- rows ---------------------------------------------------------------------------------------- */

static const char *class_of(const struct trace_step *step)
{
	if (step->kind == TRACE_BROKEN)
		return "what bad";
	if (step->kind == TRACE_BLOCKED)
		return "what alert";
	return step->kind == TRACE_OP_BEGIN || step->kind == TRACE_OP_END ? "task" : "what";
}

static void put_row(struct picture *p, const struct row *row, double y)
{
	const struct rows *rows = p->timeline.rows;
	const struct trace_step *step = rows_step(rows, row);
	char source[128], class[32];

	sheet_printf(&p->sheet, "<text class=\"dim num\" x=\"%.1f\" y=\"%.1f\">%zu</text>\n",
		     MARGIN + NUMBERS - 8, y, row->first + 1);
	if (step->kind != TRACE_CLOCK)
		snprintf(class, sizeof(class), "%s t%u", class_of(step),
			 lanes_at(rows->lanes, row->first) % TIMELINE_COLORS);
	else
		snprintf(class, sizeof(class), "what dim");
	put_text(&p->sheet, class, p->text_at, y, p->chars, rows_what(rows, row));
	rows_source(rows, row, source, sizeof(source));
	if (!*source)
		return;
	sheet_printf(&p->sheet, "<text class=\"dim src\" x=\"%.1f\" y=\"%.1f\">", p->width - MARGIN,
		     y);
	sheet_xml(&p->sheet, source);
	sheet_printf(&p->sheet, "</text>\n");
}

static void put_rows(struct picture *p)
{
	const struct rows *rows = p->timeline.rows;

	for (size_t r = 0; r < rows->nrows; r++) {
		if (rows_step(rows, &rows->rows[r])->kind == TRACE_BROKEN)
			sheet_printf(
				&p->sheet,
				"<rect class=\"bad band\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
				"height=\"%.1f\" rx=\"3\"/>\n",
				MARGIN - 6, p->top[r], p->width - 2 * MARGIN + 12,
				p->top[r + 1] - p->top[r]);
	}
	timeline_draw(&p->sheet, &p->timeline);
	for (size_t r = 0; r < rows->nrows; r++)
		put_row(p, &rows->rows[r], p->top[r] + 13);
}

/* ---- above and below ------------------------------------------------------------------------------- */

static void put_heading(struct picture *p)
{
	const struct trace *trace = p->trace;
	double y = MARGIN + 12;
	char line[512];

	y = put_text(&p->sheet, "what title", MARGIN, y, (unsigned)((p->width - 2 * MARGIN) / 7.6),
		     *trace->title ? trace->title : trace->scenario);
	snprintf(line, sizeof(line), "%s, policy %s: %zu steps, %u preemption%s", trace->scenario,
		 trace->policy, trace->nsteps, trace->preemptions,
		 trace->preemptions == 1 ? "" : "s");
	put_text(&p->sheet, "dim", MARGIN, y + 2, (unsigned)((p->width - 2 * MARGIN) / LETTER),
		 line);
	if (!trace->nsteps)
		return;
	timeline_heading(&p->sheet, &p->timeline, p->top[0] - 8);
	sheet_printf(&p->sheet, "<path class=\"rule\" d=\"M%.1f %.1fH%.1f\"/>\n", MARGIN,
		     p->top[0] - 2, p->width - MARGIN);
}

/* Colours of locks, and what the other signs mean. */
static double put_legend(struct picture *p, double y)
{
	const struct lanes *lanes = p->timeline.rows->lanes;
	double x = MARGIN;

	for (unsigned c = 0; c < lanes->nclasses; c++) {
		const struct lock_class_name *class = &lanes->classes[c];
		double width = 26 + class->len * 6.8;

		if (x + width > p->width - MARGIN) {
			x = MARGIN;
			y += LINE;
		}
		sheet_printf(
			&p->sheet,
			"<g class=\"bar k%u\"><rect x=\"%.1f\" y=\"%.1f\" width=\"10\" "
			"height=\"10\" rx=\"2\"/></g><text class=\"dim\" x=\"%.1f\" y=\"%.1f\">",
			c % TIMELINE_COLORS, x, y - 9, x + 14, y);
		sheet_xml_part(&p->sheet, class->name, class->len);
		sheet_printf(&p->sheet, "</text>\n");
		x += width;
	}
	return put_text(&p->sheet, "dim", MARGIN, y + LINE + 2,
			(unsigned)((p->width - 2 * MARGIN) / LETTER),
			"Bars: locks held, filled exclusive, pale shared. Dotted: waits. Dashed: "
			"preempted.");
}

static void put_foot(struct picture *p, double y)
{
	const struct trace *trace = p->trace;
	char line[sizeof(trace->schedule) + 32];

	if (*trace->rule)
		snprintf(line, sizeof(line), "Broken: %s. %s", trace->rule, trace->broken);
	else
		snprintf(line, sizeof(line), "No rule is broken.");
	y = put_text(&p->sheet, *trace->rule ? "bad head" : "what head", MARGIN, y,
		     (unsigned)((p->width - 2 * MARGIN) / 6.5), line);
	y = put_legend(p, y + 4);
	snprintf(line, sizeof(line), "udaxlab replay '%s'", trace->schedule);
	put_text(&p->sheet, "dim mono", MARGIN, y + 2, (unsigned)((p->width - 2 * MARGIN) / NARROW),
		 line);
}

static double foot_height(const struct picture *p)
{
	/* Bounds: a sentence, a legend of three lines, a schedule. */
	double room = p->width - 2 * MARGIN;

	return LINE * (lines_of(p->trace->broken, (unsigned)(room / 6.5)) + 6 +
		       (double)strlen(p->trace->schedule) * NARROW / room);
}

/* ---- the picture ----------------------------------------------------------------------------------- */

static void measure(struct picture *p)
{
	const struct rows *rows = p->timeline.rows;
	const struct trace *trace = p->trace;
	double source_width = 0, y = MARGIN;

	timeline_place(&p->timeline, MARGIN + NUMBERS);
	for (size_t r = 0; r < rows->nrows; r++) {
		char source[128];

		rows_source(rows, &rows->rows[r], source, sizeof(source));
		if ((double)strlen(source) * NARROW > source_width)
			source_width = (double)strlen(source) * NARROW;
	}
	p->text_at = p->timeline.lane[rows->lanes->nlanes] + 6;
	p->width = p->text_at + TEXT_MIN + source_width + 10 + MARGIN;
	p->width = p->width > WIDTH ? p->width : WIDTH;
	p->chars = (unsigned)((p->width - MARGIN - source_width - 10 - p->text_at) / LETTER);
	y += LINE * (lines_of(*trace->title ? trace->title : trace->scenario,
			      (unsigned)((p->width - 2 * MARGIN) / 7.6)) +
		     2);
	y += 11 * timeline_heading_lines(&p->timeline) + 12;
	for (size_t r = 0; r < rows->nrows; r++) {
		p->top[r] = y;
		y += LINE * lines_of(rows_what(rows, &rows->rows[r]), p->chars) + 4;
	}
	p->top[rows->nrows] = y;
	p->timeline.top = p->top;
	p->timeline.mark = 9;
}

static void put_picture(struct picture *p)
{
	const double bottom = p->top[p->timeline.rows->nrows],
		     height = bottom + 14 + foot_height(p);

	sheet_printf(&p->sheet,
		     "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
		     "viewBox=\"0 0 %.0f %.0f\" role=\"img\">\n<title>",
		     p->width, height, p->width, height);
	sheet_xml(&p->sheet, *p->trace->title ? p->trace->title : p->trace->scenario);
	sheet_printf(
		&p->sheet,
		"</title>\n<style>\ntext{font:11px sans-serif}.num{text-anchor:end;"
		"font-size:9px}.src{font:9px monospace;text-anchor:end}.mono{font:9px monospace}\n"
		".title{font:bold 14px sans-serif}.head{font-weight:bold}.band{opacity:.12}\n");
	timeline_style(&p->sheet);
	sheet_printf(&p->sheet,
		     "</style>\n<rect class=\"back\" width=\"100%%\" height=\"100%%\"/>\n");
	put_heading(p);
	put_rows(p);
	put_foot(p, bottom + 20);
	sheet_printf(&p->sheet, "</svg>\n");
}

int report_svg(const struct trace *trace, FILE *out)
{
	struct picture p = { .sheet = { .out = out }, .trace = trace };
	struct lanes *lanes = lanes_new(trace);
	struct rows *rows = lanes ? rows_new(lanes, true) : NULL;
	int err = -ENOMEM;

	p.timeline.rows = rows;
	p.top = rows ? calloc(rows->nrows + 1, sizeof(*p.top)) : NULL;
	if (p.top) {
		measure(&p);
		put_picture(&p);
		err = sheet_finish(&p.sheet);
	}
	free(p.top);
	rows_free(rows);
	lanes_free(lanes);
	return err;
}
