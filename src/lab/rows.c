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

/* Of a run: bounds the text of a line, which names each lock once or twice. */
#define RUN_MAX 12

struct move {
	const struct trace_held *lock;
	bool taken, dropped; /* both: one after the other, with nothing between */
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

static bool is_held_elsewhere(const struct lanes *lanes, const char *name, unsigned lane)
{
	for (size_t s = 0; s < lanes->nspans; s++) {
		const struct span *span = &lanes->spans[s];

		if (span->kind == SPAN_LOCK && span->lane != lane && !strcmp(span->name, name))
			return true;
	}
	return false;
}

/* Whether step @i does no more than to move one lock that nobody waits for. */
static bool is_lock_move(const struct lanes *lanes, size_t i, struct move *ret_move)
{
	const struct trace_step *steps = lanes->trace->steps;
	bool taken;
	const struct trace_held *lock = lanes_moved_lock(lanes, i, &taken);

	if (!lock || steps[i].kind != (taken ? TRACE_LOCK : TRACE_UNLOCK) ||
	    is_waited_for(lanes, lock->name))
		return false;
	if (i && !same_states(&steps[i], &steps[i - 1]))
		return false;
	*ret_move = (struct move){ lock, taken, !taken, 1 };
	return true;
}

/* From step @i on: lock moves of one task, with no preemption behind the first. */
static size_t find_run(const struct lanes *lanes, size_t i, struct move *moves)
{
	const struct trace_step *steps = lanes->trace->steps;
	size_t n = 0;

	while (n < RUN_MAX && i + n < lanes->trace->nsteps && steps[i + n].task == steps[i].task &&
	       !(n && steps[i + n].preempts) && is_lock_move(lanes, i + n, &moves[n]))
		n++;
	return n;
}

/* Shortens a run in front of the first lock that must be seen: shared with others, and kept. */
static size_t cut_run(const struct lanes *lanes, size_t first, const struct move *moves, size_t n)
{
	size_t partner[RUN_MAX];

	for (size_t i = 0; i < n; i++) {
		partner[i] = n;
		for (size_t j = i; moves[i].dropped && j-- > 0;) {
			if (moves[j].taken && partner[j] == n &&
			    same_lock(moves[j].lock, moves[i].lock)) {
				partner[i] = j;
				partner[j] = i;
				break;
			}
		}
	}
	for (size_t i = 0; i < n; i++) {
		if (partner[i] == n &&
		    is_held_elsewhere(lanes, moves[i].lock->name, lanes_at(lanes, first)))
			return cut_run(lanes, first, moves, i);
	}
	return n;
}

/* ---- what a folded row says ------------------------------------------------------------------ */

/* A take and the drop right behind it become one move, and equal ones one with a count. */
static size_t merge_moves(struct move *moves, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		struct move *last = kept ? &moves[kept - 1] : NULL;

		if (last && !last->dropped && moves[i].dropped &&
		    same_lock(last->lock, moves[i].lock))
			last->dropped = true;
		else
			moves[kept++] = moves[i];
	}
	n = kept;
	kept = 0;
	for (size_t i = 0; i < n; i++) {
		struct move *last = kept ? &moves[kept - 1] : NULL;

		if (last && last->taken == moves[i].taken && last->dropped == moves[i].dropped &&
		    same_lock(last->lock, moves[i].lock))
			last->times++;
		else
			moves[kept++] = moves[i];
	}
	return kept;
}

static char *tell_moves(const struct move *moves, size_t n)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		const struct move *m = &moves[i];

		if (i && m->taken == m[-1].taken && m->dropped == m[-1].dropped)
			fprintf(f, ", ");
		else
			fprintf(f, "%s%s%s%s ", i ? "; " : "", m->taken ? "takes" : "",
				m->taken && m->dropped ? " and " : "",
				m->dropped ? "releases" : "");
		fprintf(f, "%s%s", m->lock->name, m->lock->exclusive ? "" : " (shared)");
		if (m->times > 1)
			fprintf(f, " %u times", m->times);
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
	struct move moves[RUN_MAX];
	size_t n = fold ? cut_run(lanes, first, moves, find_run(lanes, first, moves)) : 0;

	*row = (struct row){ .first = first, .count = n > 1 ? n : 1 };
	if (row->count == 1)
		return 0;
	row->fold = tell_moves(moves, merge_moves(moves, n));
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
	if (!b->file || (a->line == b->line && !strcmp(a->file, b->file)))
		snprintf(buf, len, "%s:%d", lanes_source(a), a->line);
	else if (!strcmp(a->file, b->file))
		snprintf(buf, len, "%s:%d-%d", lanes_source(a), a->line, b->line);
	else
		snprintf(buf, len, "%s:%d, %s:%d", lanes_source(a), a->line, lanes_source(b),
			 b->line);
}
