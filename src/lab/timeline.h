/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * timeline.h - the drawing that report_html() and report_svg() share: lanes side by side, time going
 * down, bars for locks, a mark where a task acts. SVG without anything around it.
 *
 * Text stands beside it, a line or more for each row. Classes carry all colours: t0 to t7 for lanes,
 * k0 to k7 for classes of locks; timeline_style() says what they are, in light and dark.
 */
#ifndef UDAX_LAB_TIMELINE_H
#define UDAX_LAB_TIMELINE_H

#include <stdbool.h>

#include "lab/trace.h"

struct rows;
struct sheet;

#define TIMELINE_COLORS 8u

struct timeline {
	const struct rows *rows;
	const double *top; /* of each row; one more: the bottom of the last one. In pixels */
	bool hover;	   /* bars and marks say what they are when pointed at */
	double mark;	   /* how far below a row's top its mark stands */
	double lane[TRACE_MAX_TASKS + 1]; /* left edges; behind the last: the right edge */
};

/** timeline_place - set ->lane for a drawing that begins at @left. ->rows is set. */
void timeline_place(struct timeline *timeline, double left);

/** timeline_draw - the lanes, as elements of an <svg> that is open. */
void timeline_draw(struct sheet *sheet, const struct timeline *timeline);

/** timeline_heading - the lanes' names; the last line of them ends at @bottom. */
void timeline_heading(struct sheet *sheet, const struct timeline *timeline, double bottom);

/** timeline_heading_lines - how many lines of 11 px the longest of these names takes. */
unsigned timeline_heading_lines(const struct timeline *timeline);

/** timeline_style - the colours, as CSS. */
void timeline_style(struct sheet *sheet);

#endif
