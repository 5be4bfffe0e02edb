/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * rows.h - the lines of a report: a step each, but for runs of lock operations that tell nothing.
 *
 * Folded into one line are consecutive takes and drops of locks by one task, with nobody else
 * between them and no state changed, of locks that
 *	no other task ever holds, or that are taken and dropped inside the run,
 *	and that nobody is ever seen to wait for.
 * So no order of two tasks, and nothing that one did to the other, is hidden in a line.
 */
#ifndef UDAX_LAB_ROWS_H
#define UDAX_LAB_ROWS_H

#include <stdbool.h>
#include <stddef.h>

struct lanes;
struct trace_step;

struct row {
	size_t first, count; /* steps */
	unsigned depth;	     /* in how many operations of the scenario */
	char *fold;	     /* what a row of several steps says; NULL: what its step says */
};

struct rows {
	const struct lanes *lanes;
	size_t nrows;
	struct row *rows;
	size_t *row_of; /* step -> row */
};

/** rows_new - the rows of a trace; @fold: else each step is one. NULL: no memory. */
struct rows *rows_new(const struct lanes *lanes, bool fold);
void rows_free(struct rows *rows);

/** rows_step - the last step of a row, whose locks and states the row shows. */
const struct trace_step *rows_step(const struct rows *rows, const struct row *row);

/** rows_what - what a row says. */
const char *rows_what(const struct rows *rows, const struct row *row);

/** rows_source - where: "fault.c:116", "fault.c:116-120"; "" if unknown. */
void rows_source(const struct rows *rows, const struct row *row, char *buf, size_t len);

#endif
