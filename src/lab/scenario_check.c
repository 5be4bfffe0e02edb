/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * scenario_check.c - what no line of a scenario shows by itself: whether files are opened before they are
 * used, may grow too far, and whether every thread can come to its end.
 */
#include <stdio.h>
#include <string.h>

#include "scenario_parser.h"

/* ---- who uses a file has opened it -------------------------------------------------------------------- */

/* Truncate is by name; the rest is the kernel's own doing, or of no file. */
static bool needs_open(enum op_kind kind)
{
	switch (kind) {
	case OP_OPEN:
	case OP_TRUNCATE:
	case OP_WRITEBACK:
	case OP_DROP:
	case OP_SPOIL:
	case OP_FORK:
	case OP_STOP:
	case OP_CONTINUE:
	case OP_HANG_UP:
	case OP_KILL:
	case OP_RESTART:
	case OP_CRASH:
	case OP_SYNC:
		return false;
	default:
		return true;
	}
}

static bool needs_write(enum op_kind kind)
{
	switch (kind) {
	case OP_STORE:
	case OP_WRITE:
	case OP_APPEND:
	case OP_PUNCH:
	case OP_ZERO:
	case OP_ALLOCATE:
	case OP_COLLAPSE:
	case OP_INSERT:
	case OP_EXCHANGE:
		return true;
	default:
		return false;
	}
}

enum opened { NEVER, FOR_READING, FOR_WRITING };

/* How a process opens a file at most, at the start or later; a child has what its parents have. */
static enum opened how_opened(const struct scenario *s, unsigned process, unsigned file,
			      unsigned depth)
{
	const struct scenario_open *open = &s->processes[process].files[file];
	enum opened how = !open->open ? NEVER : open->read_only ? FOR_READING : FOR_WRITING;

	for (unsigned i = 0; i < s->nthreads; i++)
		for (unsigned j = 0; j < s->threads[i].nops; j++) {
			const struct scenario_op *op = &s->threads[i].ops[j];
			enum opened its = NEVER;

			if (op->kind == OP_OPEN && op->file == file &&
			    s->threads[i].process == process)
				its = op->flags & OPF_READ_ONLY ? FOR_READING : FOR_WRITING;
			else if (op->kind == OP_FORK && op->process == process && depth)
				its = how_opened(s, s->threads[i].process, file, depth - 1);
			if (its > how)
				how = its;
		}
	return how;
}

static bool check_file_open(struct parser *p, unsigned thread, unsigned op, unsigned file,
			    bool write)
{
	const struct scenario_thread *t = &p->s->threads[thread];
	const char *process = p->s->processes[t->process].name, *name = p->s->files[file].name;
	enum opened how = how_opened(p->s, t->process, file, SCENARIO_MAX_PROCESSES);
	const char *at = p->file_at[thread][op].at;

	if (how == NEVER)
		return text_fail(&p->t, at, "process '%s' never opens '%s'", process, name);
	if (write && how != FOR_WRITING)
		return text_fail(&p->t, at, "process '%s' opens '%s' only for reading", process,
				 name);
	return true;
}

static bool check_opens(struct parser *p)
{
	for (unsigned i = 0; i < p->s->nthreads; i++)
		for (unsigned j = 0; j < p->s->threads[i].nops; j++) {
			const struct scenario_op *op = &p->s->threads[i].ops[j];

			if (needs_open(op->kind) &&
			    !check_file_open(p, i, j, op->file, needs_write(op->kind)))
				return false;
			/* Exchange names its second file by a token, which outlives a close. */
			if (op->kind == OP_COPY && !check_file_open(p, i, j, op->other_file, true))
				return false;
		}
	return true;
}

/* ---- no file grows beyond what is looked at ------------------------------------------------------------ */

static bool is_of(const struct scenario_op *op, unsigned file)
{
	return needs_open(op->kind) || op->kind == OP_TRUNCATE ? op->file == file : false;
}

/* Where @op may leave cells or EOF by itself. */
static unsigned furthest(const struct scenario_op *op, unsigned file)
{
	if ((op->kind == OP_COPY || op->kind == OP_EXCHANGE) && op->other_file == file)
		return op->other_first + op->end - op->first;
	if (!is_of(op, file))
		return 0;
	if (op->kind == OP_TRUNCATE)
		return op->first;
	if (op->kind == OP_WRITE || op->kind == OP_ZERO || op->kind == OP_ALLOCATE)
		return op->end;
	return 0;
}

/* How far @op may move what is there. */
static unsigned growth(const struct scenario_op *op, unsigned file)
{
	if (!is_of(op, file))
		return 0;
	if (op->kind == OP_APPEND)
		return PAGE_CELLS;
	return op->kind == OP_INSERT ? op->end - op->first : 0;
}

static unsigned initial_end(const struct scenario_file *file)
{
	unsigned end = file->size_cells;

	for (unsigned page = 0; page < SCENARIO_MAX_PAGES; page++)
		if (file->pages[page] != PAGE_HOLE && (page + 1) * PAGE_CELLS > end)
			end = (page + 1) * PAGE_CELLS;
	return end;
}

static bool check_growth(struct parser *p)
{
	for (unsigned file = 0; file < p->s->nfiles; file++) {
		unsigned end = initial_end(&p->s->files[file]), more = 0;
		const char *at = NULL;

		for (unsigned i = 0; i < p->s->nthreads; i++)
			for (unsigned j = 0; j < p->s->threads[i].nops; j++) {
				const struct scenario_op *op = &p->s->threads[i].ops[j];

				if (furthest(op, file) > end)
					end = furthest(op, file);
				more += growth(op, file);
				if (growth(op, file))
					at = p->op_at[i][j].at;
			}
		if (at && end + more > SCENARIO_MAX_PAGES * PAGE_CELLS)
			return text_fail(
				&p->t, at,
				"with this, '%s' may grow beyond %u pages, and they are all "
				"it can have",
				p->s->files[file].name, SCENARIO_MAX_PAGES);
	}
	return true;
}

/* ---- every thread comes to its end ---------------------------------------------------------------------- */

/* A run in which whoever can go on does, and only forks and barriers make anybody wait. */
struct rehearsal {
	struct parser *p;
	unsigned next[SCENARIO_MAX_THREADS];   /* its operation */
	unsigned rounds[SCENARIO_MAX_THREADS]; /* barriers that it has passed */
	bool there[SCENARIO_MAX_PROCESSES];
};

static unsigned count_syncs(const struct scenario_thread *thread)
{
	unsigned n = 0;

	for (unsigned i = 0; i < thread->nops; i++)
		n += thread->ops[i].kind == OP_SYNC;
	return n;
}

static bool at_sync(const struct rehearsal *r, unsigned thread)
{
	const struct scenario_thread *t = &r->p->s->threads[thread];

	return r->there[t->process] && r->next[thread] < t->nops &&
	       t->ops[r->next[thread]].kind == OP_SYNC;
}

static bool go_on(struct rehearsal *r, unsigned thread)
{
	const struct scenario_thread *t = &r->p->s->threads[thread];
	bool moved = false;

	while (r->there[t->process] && r->next[thread] < t->nops && !at_sync(r, thread)) {
		const struct scenario_op *op = &t->ops[r->next[thread]++];

		moved = true;
		if (op->kind == OP_FORK)
			r->there[op->process] = true;
	}
	return moved;
}

/* All that have one more barrier than @round stand at it: they pass. */
static bool pass(struct rehearsal *r, unsigned round)
{
	const struct scenario *s = r->p->s;

	for (unsigned i = 0; i < s->nthreads; i++)
		if (count_syncs(&s->threads[i]) > round &&
		    (r->rounds[i] != round || !at_sync(r, i)))
			return false;
	for (unsigned i = 0; i < s->nthreads; i++)
		if (count_syncs(&s->threads[i]) > round) {
			r->rounds[i]++;
			r->next[i]++;
		}
	return true;
}

/* A barrier of one thread waits for nobody, which cannot be what is meant. */
static bool check_company(struct parser *p, unsigned thread)
{
	unsigned round = 0;

	for (unsigned j = 0; j < p->s->threads[thread].nops; j++) {
		unsigned others = 0;

		if (p->s->threads[thread].ops[j].kind != OP_SYNC)
			continue;
		round++;
		for (unsigned i = 0; i < p->s->nthreads; i++)
			others += i != thread && count_syncs(&p->s->threads[i]) >= round;
		if (!others)
			return text_fail(&p->t, p->op_at[thread][j].at,
					 "no other thread has a 'sync' number %u to meet this one",
					 round);
	}
	return true;
}

static bool check_ends(struct parser *p)
{
	const struct scenario *s = p->s;
	struct rehearsal r = { .p = p };
	unsigned round = 0;
	bool moved;

	for (unsigned i = 0; i < s->nprocesses; i++)
		r.there[i] = !s->processes[i].forked;
	do {
		moved = false;
		for (unsigned i = 0; i < s->nthreads; i++)
			moved |= go_on(&r, i);
		if (!moved && round < SCENARIO_MAX_OPS)
			moved = pass(&r, round++);
	} while (moved);
	for (unsigned i = 0; i < s->nthreads; i++) {
		const struct scenario_thread *t = &s->threads[i];

		if (r.next[i] == t->nops)
			continue;
		if (!r.there[t->process])
			return text_fail(&p->t, p->thread_at[i].at,
					 "'%s' never begins: process '%s' is not forked by anybody "
					 "who comes that far",
					 t->name, s->processes[t->process].name);
		return text_fail(&p->t, p->op_at[i][r.next[i]].at,
				 "not every thread that has this 'sync' can come to it");
	}
	return true;
}

/* ---- all ------------------------------------------------------------------------------------------------- */

static bool check_threads(struct parser *p)
{
	for (unsigned i = 0; i < p->s->nthreads; i++)
		if (!p->s->threads[i].nops)
			return text_fail(&p->t, p->thread_at[i].at, "thread '%s' does nothing",
					 p->s->threads[i].name);
		else if (!check_company(p, i))
			return false;
	return true;
}

bool check_scenario(struct parser *p)
{
	const char *end = p->t.next_line;

	if (!p->s->title[0])
		return text_fail(&p->t, end, "there is no title: 'title TEXT' says what is shown");
	if (!p->s->nthreads)
		return text_fail(&p->t, end,
				 "nobody does anything: 'thread NAME in PROCESS', and operations");
	return check_threads(p) && check_opens(p) && check_growth(p) && check_ends(p);
}
