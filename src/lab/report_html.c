/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * report_html.c - an interleaving as one page that needs nothing beside itself.
 *
 * Lanes and a line for each step, none folded; at the side, where the cursor is: the step, what its
 * task holds, and the state of everything, with what the step has changed. The page is XML as well as
 * HTML, so that any parser can check it, and forbids itself the network.
 */
#include "lab/trace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lab/lanes.h"
#include "lab/report_page.h"
#include "lab/rows.h"
#include "sheet.h"
#include "lab/timeline.h"

#define ROW 22.0 /* as in report_page_style */
#define NUMBERS 38.0
#define TEXT_MIN 400.0 /* what a line has beside the lanes, however many they are */

struct html {
	struct sheet sheet;
	struct timeline timeline;
	const struct trace *trace;
	double *top;
	const char **names; /* of all states, in the order in which they appear */
	size_t nnames;
};

static void put(struct html *html, const char *before, const char *text, const char *after)
{
	sheet_printf(&html->sheet, "%s", before);
	sheet_xml(&html->sheet, text);
	sheet_printf(&html->sheet, "%s", after);
}

static const char *title_of(const struct trace *trace)
{
	return *trace->title ? trace->title : trace->scenario;
}

/* ---- head ---------------------------------------------------------------------------------------- */

static void put_head(struct html *html)
{
	sheet_printf(
		&html->sheet,
		"<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\">\n<head>\n"
		"<meta charset=\"utf-8\"/>\n"
		"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
		"style-src 'unsafe-inline'; script-src 'unsafe-inline'\"/>\n"
		"<meta name=\"viewport\" content=\"width=device-width\"/>\n");
	put(html, "<title>", title_of(html->trace), "</title>\n<style>\n");
	timeline_style(&html->sheet);
	sheet_printf(&html->sheet, "%s</style>\n</head>\n", report_page_style);
}

static void put_header(struct html *html)
{
	const struct trace *trace = html->trace;

	put(html, "<body>\n<header>\n<h1>", title_of(trace), "</h1>\n");
	put(html, "<p class=\"meta\">", trace->scenario, ", policy ");
	put(html, "", trace->policy, "");
	sheet_printf(&html->sheet, ": %zu steps, %u preemption%s</p>\n", trace->nsteps,
		     trace->preemptions, trace->preemptions == 1 ? "" : "s");
	if (*trace->rule) {
		put(html, "<p class=\"verdict\"><b>", trace->rule, "</b> is broken. ");
		put(html, "", trace->broken, "</p>\n");
	} else {
		sheet_printf(&html->sheet, "<p>No rule is broken.</p>\n");
	}
	/* The shell's quoting: what stands in quotes is one argument. */
	sheet_printf(&html->sheet, "<p class=\"meta\">Again: <code>udaxlab replay '");
	for (const char *p = trace->schedule; *p;) {
		size_t len = strcspn(p, "'");

		while (len) {
			size_t part = len < 200 ? len : 200;

			sheet_xml_part(&html->sheet, p, part);
			p += part;
			len -= part;
		}
		if (*p) {
			sheet_printf(&html->sheet, "&#39;\\&#39;&#39;");
			p++;
		}
	}
	sheet_printf(&html->sheet,
		     "'</code> &#160; Cursor: mouse, or <kbd>&#8592;</kbd> "
		     "<kbd>&#8594;</kbd> <kbd>Home</kbd> <kbd>End</kbd></p>\n</header>\n");
}

/* ---- chart --------------------------------------------------------------------------------------- */

static const char *class_of(const struct trace_step *step)
{
	switch (step->kind) {
	case TRACE_OP_BEGIN:
	case TRACE_OP_END:
		return "head";
	case TRACE_LOCK:
	case TRACE_UNLOCK:
		return "lock";
	case TRACE_BLOCKED:
		return "blocked";
	case TRACE_CLOCK:
		return "clock";
	case TRACE_BROKEN:
		return "broken";
	default:
		return "step";
	}
}

static void put_row(struct html *html, size_t i, double lanes_width)
{
	const struct row *row = &html->timeline.rows->rows[i];
	const struct lanes *lanes = html->timeline.rows->lanes;
	const struct trace_step *step = &html->trace->steps[i];
	char source[128];

	rows_source(html->timeline.rows, row, source, sizeof(source));
	sheet_printf(&html->sheet, "<li class=\"%s", class_of(step));
	if (step->kind != TRACE_CLOCK)
		sheet_printf(&html->sheet, " t%u", lanes_at(lanes, i) % TIMELINE_COLORS);
	sheet_printf(&html->sheet,
		     "%s\" title=\"%zu: ", lanes_preempted(lanes, i) == LANES_NONE ? "" : " pre",
		     i + 1);
	put(html, "", step->what, *source ? "&#10;" : "");
	put(html, "", source, "\">");
	sheet_printf(&html->sheet,
		     "<span class=\"num\">%zu</span><span class=\"gap0\" "
		     "style=\"width:%.1fpx\"></span>",
		     i + 1, lanes_width);
	put(html,
	    step->kind == TRACE_OP_BEGIN || step->kind == TRACE_OP_END ||
			    step->kind == TRACE_BROKEN || step->kind == TRACE_CLOCK
		    ? "<span class=\"txt\">"
		    : "<span class=\"txt what\">",
	    step->what, "</span>");
	put(html, "<span class=\"src\">", source, "</span></li>\n");
}

static void put_chart(struct html *html)
{
	const struct rows *rows = html->timeline.rows;
	const double right = html->timeline.lane[rows->lanes->nlanes];
	const double heads = 11.0 * timeline_heading_lines(&html->timeline) + 14;

	sheet_printf(
		&html->sheet,
		"<main style=\"--wide:%.0fpx\">\n<div class=\"chart\">\n<div class=\"heads\"><svg "
		"xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\">\n",
		right + TEXT_MIN, right, heads);
	timeline_heading(&html->sheet, &html->timeline, heads - 6);
	sheet_printf(&html->sheet,
		     "</svg></div>\n<svg class=\"lanes\" xmlns=\"http://www.w3.org/2000/svg\" "
		     "width=\"%.0f\" height=\"%.0f\">\n",
		     right, html->top[rows->nrows]);
	timeline_draw(&html->sheet, &html->timeline);
	sheet_printf(&html->sheet, "</svg>\n<ol>\n");
	for (size_t i = 0; i < html->trace->nsteps; i++)
		put_row(html, i, right - NUMBERS);
	sheet_printf(&html->sheet, "</ol>\n</div>\n");
}

/* ---- side ---------------------------------------------------------------------------------------- */

static void put_side(struct html *html)
{
	const struct trace *trace = html->trace;
	const struct trace_step *last = &trace->steps[trace->nsteps - 1];

	sheet_printf(&html->sheet, "<aside>\n<h2 id=\"at\">Step %zu of %zu</h2>\n", trace->nsteps,
		     trace->nsteps);
	put(html, "<p class=\"now\" id=\"what\">", last->what,
	    "</p>\n<p class=\"src\" id=\"where\">");
	put(html, "", lanes_source(last), "</p>\n<h2>Locks held</h2>\n<ul id=\"held\">");
	for (unsigned h = 0; h < last->nheld; h++) {
		put(html, "<li>", last->held[h].name, ", ");
		sheet_printf(&html->sheet, "%s</li>",
			     last->held[h].exclusive ? "exclusive" : "shared");
	}
	sheet_printf(&html->sheet, "</ul>\n<h2>State after it</h2>\n<table><tbody id=\"state\">\n");
	for (unsigned s = 0; s < last->nstate; s++) {
		put(html, "<tr><td>", last->state[s].name, "</td><td>");
		put(html, "", last->state[s].value, "</td></tr>\n");
	}
	sheet_printf(&html->sheet, "</tbody></table>\n</aside>\n</main>\n");
}

/* ---- data for the script --------------------------------------------------------------------------- */

/* The value of the state @name after step @i, or NULL; before the first step there is none. */
static const char *value_at(const struct trace *trace, size_t i, const char *name)
{
	const char *value = NULL;

	for (unsigned s = 0; i < trace->nsteps && s < trace->steps[i].nstate; s++) {
		if (!strcmp(trace->steps[i].state[s].name, name))
			value = trace->steps[i].state[s].value;
	}
	return value;
}

static int learn_names(struct html *html)
{
	const struct trace *trace = html->trace;

	for (size_t i = 0; i < trace->nsteps; i++) {
		for (unsigned s = 0; s < trace->steps[i].nstate; s++) {
			const char *name = trace->steps[i].state[s].name;
			const char **names;
			size_t n = 0;

			while (n < html->nnames && strcmp(html->names[n], name) != 0)
				n++;
			if (n < html->nnames)
				continue;
			names = realloc(html->names, (n + 1) * sizeof(*names));
			if (!names)
				return -ENOMEM;
			names[html->nnames++] = name;
			html->names = names;
		}
	}
	return 0;
}

static void put_delta(struct html *html, size_t i)
{
	bool any = false;

	sheet_printf(&html->sheet, ",\"d\":{");
	for (size_t n = 0; n < html->nnames; n++) {
		const char *now = value_at(html->trace, i, html->names[n]);
		const char *was = value_at(html->trace, i - 1, html->names[n]);

		if (now == was || (now && was && !strcmp(now, was)))
			continue;
		sheet_printf(&html->sheet, "%s\"%zu\":", any ? "," : "", n);
		any = true;
		if (now)
			sheet_json(&html->sheet, now);
		else
			sheet_printf(&html->sheet, "null");
	}
	sheet_printf(&html->sheet, "}");
}

static void put_step(struct html *html, size_t i)
{
	const struct trace_step *step = &html->trace->steps[i];
	char text[160] = "";

	sheet_printf(&html->sheet, "%s\n{\"t\":", i ? "," : "");
	sheet_json(&html->sheet,
		   step->kind == TRACE_CLOCK ? "" : html->trace->tasks[step->task].name);
	sheet_printf(&html->sheet, ",\"w\":");
	sheet_json(&html->sheet, step->what);
	if (step->file)
		snprintf(text, sizeof(text), "%s:%d", step->file, step->line);
	sheet_printf(&html->sheet, ",\"s\":");
	sheet_json(&html->sheet, text);
	sheet_printf(&html->sheet, ",\"h\":[");
	for (unsigned h = 0; h < step->nheld; h++) {
		snprintf(text, sizeof(text), "%s, %s", step->held[h].name,
			 step->held[h].exclusive ? "exclusive" : "shared");
		sheet_printf(&html->sheet, "%s", h ? "," : "");
		sheet_json(&html->sheet, text);
	}
	sheet_printf(&html->sheet, "]");
	put_delta(html, i);
	sheet_printf(&html->sheet, "}");
}

/* JSON with neither '<' nor '&' in it, so it is the same to parsers of HTML and of XML. */
static void put_script(struct html *html)
{
	sheet_printf(&html->sheet, "<script type=\"application/json\" id=\"data\">{\"what\":[");
	for (size_t n = 0; n < html->nnames; n++) {
		sheet_printf(&html->sheet, "%s", n ? "," : "");
		sheet_json(&html->sheet, html->names[n]);
	}
	sheet_printf(&html->sheet, "],\"steps\":[");
	for (size_t i = 0; i < html->trace->nsteps; i++)
		put_step(html, i);
	sheet_printf(&html->sheet, "]}</script>\n<script>//<![CDATA[\n%s//]]></script>\n",
		     report_page_script);
}

/* ---- the page ------------------------------------------------------------------------------------ */

static void put_page(struct html *html)
{
	const struct rows *rows = html->timeline.rows;

	for (size_t r = 0; r <= rows->nrows; r++)
		html->top[r] = ROW * (double)r;
	html->timeline.top = html->top;
	html->timeline.hover = true;
	html->timeline.mark = ROW / 2;
	timeline_place(&html->timeline, NUMBERS);
	put_head(html);
	put_header(html);
	if (html->trace->nsteps) {
		put_chart(html);
		put_side(html);
		put_script(html);
	}
	sheet_printf(&html->sheet, "</body>\n</html>\n");
}

int report_html(const struct trace *trace, FILE *out)
{
	struct html html = { .sheet = { .out = out }, .trace = trace };
	struct lanes *lanes = lanes_new(trace);
	struct rows *rows = lanes ? rows_new(lanes, false) : NULL;
	int err = -ENOMEM;

	html.timeline.rows = rows;
	html.top = rows ? calloc(rows->nrows + 1, sizeof(*html.top)) : NULL;
	if (html.top)
		err = learn_names(&html);
	if (!err) {
		put_page(&html);
		err = sheet_finish(&html.sheet);
	}
	free(html.names);
	free(html.top);
	rows_free(rows);
	lanes_free(lanes);
	return err;
}
