/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * rows.c - folding of steps that tell nothing.
 */
#include "lab/rows.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lab/lanes.h"

/* Of a row: bounds its text, which names each lock once. */
#define LOCKS_MAX 12

struct touch {
	const struct trace_held *lock; /* taken and released */
	unsigned times;
};

static bool same_lock(const struct trace_held *a, const struct trace_held *b)
{
	return a->exclusive == b->exclusive && !strcmp(a->name, b->name);
}

/* ---- what may be folded ---------------------------------------------------------------------- */

static bool same_states(const struct trace_step *a, const struct trace_step *b)
{
	if (a->nstate != b->nstate)
		return false;
	for (unsigned s = 0; s < a->nstate; s++) {
		if (strcmp(a->state[s].name, b->state[s].name) != 0 ||
		    strcmp(a->state[s].value, b->state[s].value) != 0)
			return false;
	}
	return true;
}

/* Whether @text has @name as whole words: "ilock a" is not in "takes ilock ab". */
static bool names(const char *text, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = text; len && (p = strstr(p, name)); p++) {
		if ((p == text || !isalnum((unsigned char)p[-1])) &&
		    !isalnum((unsigned char)p[len]))
			return true;
	}
	return false;
}

static bool is_waited_for(const struct lanes *lanes, const char *name)
{
	for (size_t s = 0; s < lanes->nspans; s++) {
		if (lanes->spans[s].kind == SPAN_WAIT && names(lanes->spans[s].name, name))
			return true;
	}
	return false;
}

/* The lock that step @i takes, or releases: that and nothing else. NULL: it does something else. */
static const struct trace_held *moved(const struct lanes *lanes, size_t i, enum trace_kind kind)
{
	const struct trace_step *steps = lanes->trace->steps;
	bool taken;
	const struct trace_held *lock;

	if (i >= lanes->trace->nsteps || steps[i].kind != kind ||
	    (i && !same_states(&steps[i], &steps[i - 1])))
		return NULL;
	lock = lanes_moved_lock(lanes, i, &taken);
	return lock && taken == (kind == TRACE_LOCK) ? lock : NULL;
}

/* The lock that is taken in step @i and released in the next one, if that tells nothing. Or NULL. */
static const struct trace_held *touched(const struct lanes *lanes, size_t i)
{
	const struct trace_step *steps = lanes->trace->steps;
	const struct trace_held *lock = moved(lanes, i, TRACE_LOCK);
	const struct trace_held *released = lock ? moved(lanes, i + 1, TRACE_UNLOCK) : NULL;

	if (!released || !same_lock(lock, released) || steps[i].task != steps[i + 1].task ||
	    steps[i + 1].preempts || is_waited_for(lanes, lock->name))
		return NULL;
	return lock;
}

/* The locks that are so touched from step @first on, one after the other. Returns how many steps. */
static size_t find_touches(const struct lanes *lanes, size_t first, struct touch *touches,
			   size_t *ret_n)
{
	const struct trace_step *steps = lanes->trace->steps;
	size_t i = first, n = 0, t;

	for (;; i += 2) {
		const struct trace_held *lock = touched(lanes, i);

		if (!lock || steps[i].task != steps[first].task || (i > first && steps[i].preempts))
			break;
		for (t = 0; t < n && !same_lock(touches[t].lock, lock);)
			t++;
		if (t == LOCKS_MAX)
			break;
		if (t == n)
			touches[n++] = (struct touch){ lock, 0 };
		touches[t].times++;
	}
	*ret_n = n;
	return i - first;
}

/* ---- what a folded row says ------------------------------------------------------------------ */

static char *tell_touches(const struct touch *touches, size_t n)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	for (size_t t = 0; t < n; t++) {
		fprintf(f, "%s%s%s", t ? ", " : "takes and releases ", touches[t].lock->name,
			touches[t].lock->exclusive ? "" : " (shared)");
		if (touches[t].times > 1)
			fprintf(f, " %u times", touches[t].times);
	}
	if (fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}

/* ---- rows -------------------------------------------------------------------------------------- */

/* The row that begins with step @first. -1: no memory. */
static int make_row(const struct lanes *lanes, size_t first, bool fold, struct row *row)
{
	struct touch touches[LOCKS_MAX];
	size_t n, count = fold ? find_touches(lanes, first, touches, &n) : 0;

	*row = (struct row){ .first = first, .count = count ? count : 1 };
	if (!count)
		return 0;
	row->fold = tell_touches(touches, n);
	return row->fold ? 0 : -1;
}

static void set_depths(struct rows *rows)
{
	const struct lanes *lanes = rows->lanes;
	unsigned depth[TRACE_MAX_TASKS] = { 0 };

	for (size_t r = 0; r < rows->nrows; r++) {
		struct row *row = &rows->rows[r];
		const struct trace_step *step = &lanes->trace->steps[row->first];

		if (step->kind == TRACE_OP_END && depth[step->task])
			depth[step->task]--;
		row->depth = depth[step->task];
		if (step->kind == TRACE_OP_BEGIN)
			depth[step->task]++;
	}
}

struct rows *rows_new(const struct lanes *lanes, bool fold)
{
	size_t nsteps = lanes->trace->nsteps;
	struct rows *rows = calloc(1, sizeof(*rows));

	if (!rows)
		return NULL;
	rows->lanes = lanes;
	rows->rows = calloc(nsteps + 1, sizeof(*rows->rows));
	rows->row_of = calloc(nsteps + 1, sizeof(*rows->row_of));
	if (!rows->rows || !rows->row_of)
		goto fail;
	for (size_t i = 0; i < nsteps; rows->nrows++) {
		struct row *row = &rows->rows[rows->nrows];

		if (make_row(lanes, i, fold, row))
			goto fail;
		for (size_t end = i + row->count; i < end; i++)
			rows->row_of[i] = rows->nrows;
	}
	set_depths(rows);
	return rows;
fail:
	rows_free(rows);
	return NULL;
}

void rows_free(struct rows *rows)
{
	if (!rows)
		return;
	for (size_t r = 0; rows->rows && r < rows->nrows; r++)
		free(rows->rows[r].fold);
	free(rows->rows);
	free(rows->row_of);
	free(rows);
}

const struct trace_step *rows_step(const struct rows *rows, const struct row *row)
{
	return &rows->lanes->trace->steps[row->first + row->count - 1];
}

const char *rows_what(const struct rows *rows, const struct row *row)
{
	return row->fold ? row->fold : rows->lanes->trace->steps[row->first].what;
}

void rows_source(const struct rows *rows, const struct row *row, char *buf, size_t len)
{
	const struct trace_step *a = &rows->lanes->trace->steps[row->first];
	const struct trace_step *b = rows_step(rows, row);

	buf[0] = '\0';
	if (!a->file)
		return;
	if (row->count == 1)
		snprintf(buf, len, "%s:%d", lanes_source(a), a->line);
	else if (row->count == 2 && b->file && !strcmp(a->file, b->file) && b->line > a->line)
		snprintf(buf, len, "%s:%d-%d", lanes_source(a), a->line, b->line);
	else
		snprintf(buf, len, "%s:%d ...", lanes_source(a), a->line);
}
