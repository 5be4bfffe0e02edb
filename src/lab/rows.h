/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * rows.h - the lines of a report: a step each, but for runs of lock operations that tell nothing.
 *
 * Folded into one line are consecutive takes of a lock, each with its release right behind it, by one
 * task, with nobody else between them and no state changed. A lock inside which anything happens has
 * lines of its own, also if it is only that another lock is taken; so has one that anybody is ever
 * seen to wait for. So no order of two tasks, and nothing that one did to the other, is hidden.
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

/** rows_source - where: "fault.c:116", "fault.c:116-120", "gate.c:66 ..."; "" if unknown. */
void rows_source(const struct rows *rows, const struct row *row, char *buf, size_t len);

#endif
