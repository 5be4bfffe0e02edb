/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * scenario_operation.c - the operations of a thread: one table says how each is written. See
 * docs/SCENARIOS.md.
 */
#include <stdio.h>
#include <string.h>

#include "scenario_parser.h"

/* What follows the word, in this order. */
enum takes {
	TAKES_PROCESS = 1,
	TAKES_FILE = 2,
	TAKES_RANGE = 4,  /* cells */
	TAKES_PAGES = 8,  /* whole pages */
	TAKES_PAGE = 16,  /* one whole page */
	TAKES_PLACE = 32, /* one cell, or the first one of a page */
	TAKES_SIZE = 64,
	TAKES_WITH = 128, /* "with FILE PAGE" */
	TAKES_TO = 256,	  /* "to FILE PLACE" */
};

struct syntax {
	const char *word;
	unsigned takes, flags;
	const char *usage;
};

static const struct syntax syntaxes[OP_NR_KINDS] = {
	[OP_OPEN] = { "open", TAKES_FILE, OPF_DIRECT | OPF_READ_ONLY,
		      "open FILE [direct] [read-only]" },
	[OP_CLOSE] = { "close", TAKES_FILE, 0, "close FILE" },
	[OP_ATTACH] = { "attach", TAKES_FILE, OPF_READ_ONLY, "attach FILE [read-only]" },
	[OP_DETACH] = { "detach", TAKES_FILE, 0, "detach FILE" },
	[OP_LOAD] = { "load", TAKES_FILE | TAKES_RANGE, 0, "load FILE RANGE" },
	[OP_STORE] = { "store", TAKES_FILE | TAKES_RANGE, 0, "store FILE RANGE" },
	[OP_READ] = { "read", TAKES_FILE | TAKES_RANGE, OPF_DIRECT, "read FILE RANGE [direct]" },
	[OP_WRITE] = { "write", TAKES_FILE | TAKES_RANGE, OPF_DIRECT, "write FILE RANGE [direct]" },
	[OP_APPEND] = { "append", TAKES_FILE, OPF_DIRECT, "append FILE [direct]" },
	[OP_TRUNCATE] = { "truncate", TAKES_FILE | TAKES_SIZE, 0, "truncate FILE SIZE" },
	[OP_PUNCH] = { "punch", TAKES_FILE | TAKES_RANGE, 0, "punch FILE RANGE" },
	[OP_ZERO] = { "zero", TAKES_FILE | TAKES_RANGE, OPF_GROW, "zero FILE RANGE [grow]" },
	[OP_ALLOCATE] = { "allocate", TAKES_FILE | TAKES_RANGE, OPF_GROW,
			  "allocate FILE RANGE [grow]" },
	[OP_COLLAPSE] = { "collapse", TAKES_FILE | TAKES_PAGES, 0, "collapse FILE PAGES" },
	[OP_INSERT] = { "insert", TAKES_FILE | TAKES_PAGES, 0, "insert FILE PAGES" },
	[OP_EXCHANGE] = { "exchange", TAKES_FILE | TAKES_PAGES | TAKES_WITH, 0,
			  "exchange FILE PAGES with FILE PAGE" },
	[OP_COPY] = { "copy", TAKES_FILE | TAKES_RANGE | TAKES_TO, 0,
		      "copy FILE RANGE to FILE PLACE" },
	[OP_FSYNC] = { "fsync", TAKES_FILE, 0, "fsync FILE" },
	[OP_SEEK_DATA] = { "seek-data", TAKES_FILE | TAKES_PLACE, 0, "seek-data FILE PLACE" },
	[OP_READAHEAD] = { "readahead", TAKES_FILE | TAKES_PAGES, 0, "readahead FILE PAGES" },
	[OP_WRITEBACK] = { "writeback", TAKES_FILE | TAKES_PAGES, 0, "writeback FILE PAGES" },
	[OP_DROP] = { "drop", TAKES_FILE | TAKES_PAGES, 0, "drop FILE PAGES" },
	[OP_PIN] = { "pin", TAKES_FILE | TAKES_PAGE, 0, "pin FILE PAGE" },
	[OP_UNPIN] = { "unpin", TAKES_FILE | TAKES_PAGE, 0, "unpin FILE PAGE" },
	[OP_UNMAP] = { "unmap", TAKES_FILE | TAKES_PAGES, 0, "unmap FILE PAGES" },
	[OP_SPOIL] = { "spoil", TAKES_FILE | TAKES_PAGE, 0, "spoil FILE PAGE" },
	[OP_FORK] = { "fork", TAKES_PROCESS, 0, "fork PROCESS" },
	[OP_STOP] = { "stop", TAKES_PROCESS, 0, "stop PROCESS" },
	[OP_CONTINUE] = { "continue", TAKES_PROCESS, 0, "continue PROCESS" },
	[OP_HANG_UP] = { "hang-up", TAKES_PROCESS, 0, "hang-up PROCESS" },
	[OP_KILL] = { "kill", TAKES_PROCESS, 0, "kill PROCESS" },
	[OP_RESTART] = { "restart", 0, 0, "restart" },
	[OP_CRASH] = { "crash", 0, 0, "crash" },
	[OP_SYNC] = { "sync", 0, 0, "sync" },
};

const char *scenario_op_name(enum op_kind kind)
{
	return kind < OP_NR_KINDS ? syntaxes[kind].word : "?";
}

static enum op_kind find_kind(struct token token)
{
	enum op_kind kind = 0;

	while (kind < OP_NR_KINDS && !token_is(token, syntaxes[kind].word))
		kind++;
	return kind;
}

static bool no_such_operation(struct parser *p, struct token token)
{
	char words[512] = "", quote[QUOTE_ROOM];
	size_t len = 0;

	for (unsigned kind = 0; kind < OP_NR_KINDS && len < sizeof(words); kind++)
		len += (size_t)snprintf(words + len, sizeof(words) - len, "%s%s", kind ? ", " : "",
					syntaxes[kind].word);
	return text_fail(&p->t, token.at, "there is no operation %s; operations are %s",
			 token_quote(token, quote), words);
}

/* ---- what follows the word ------------------------------------------------------------------------ */

static bool parse_one_page(struct parser *p, const char *usage, unsigned *first, unsigned *end)
{
	struct token token;
	char quote[QUOTE_ROOM];

	if (!text_some(&p->t, "a page", usage, &token) || !token_pages(&p->t, token, first, end))
		return false;
	if (*end - *first != PAGE_CELLS)
		return text_fail(&p->t, token.at, "%s is more than one page: %s",
				 token_quote(token, quote), usage);
	return true;
}

static bool parse_place(struct parser *p, const char *usage, unsigned *first)
{
	struct token token;
	unsigned end;
	char quote[QUOTE_ROOM];

	if (!text_some(&p->t, "a place", usage, &token) || !token_cells(&p->t, token, first, &end))
		return false;
	if (memmem(token.at, token.len, "..", 2))
		return text_fail(&p->t, token.at, "%s is a range, and one place belongs here: %s",
				 token_quote(token, quote), usage);
	return true;
}

static bool parse_where(struct parser *p, const struct syntax *syntax, struct scenario_op *op)
{
	struct token token;

	if (syntax->takes & TAKES_RANGE)
		return text_some(&p->t, "a range", syntax->usage, &token) &&
		       token_cells(&p->t, token, &op->first, &op->end);
	if (syntax->takes & TAKES_PAGES)
		return text_some(&p->t, "a range of pages", syntax->usage, &token) &&
		       token_pages(&p->t, token, &op->first, &op->end);
	if (syntax->takes & TAKES_PAGE)
		return parse_one_page(p, syntax->usage, &op->first, &op->end);
	if (syntax->takes & TAKES_PLACE)
		return parse_place(p, syntax->usage, &op->first);
	if (syntax->takes & TAKES_SIZE)
		return text_some(&p->t, "a size", syntax->usage, &token) &&
		       token_size(&p->t, token, &op->first);
	return true;
}

/* "with FILE PAGE" and "to FILE PLACE". */
static bool parse_other(struct parser *p, const struct syntax *syntax, struct scenario_op *op)
{
	bool with = syntax->takes & TAKES_WITH;
	struct token at;
	unsigned end;

	if (!(syntax->takes & (TAKES_WITH | TAKES_TO)))
		return true;
	if (!text_expect(&p->t, with ? "with" : "to", syntax->usage) ||
	    !parse_file(p, syntax->usage, &op->other_file))
		return false;
	at = text_peek(&p->t);
	if (with ? !parse_one_page(p, syntax->usage, &op->other_first, &end)
		 : !parse_place(p, syntax->usage, &op->other_first))
		return false;
	end = op->other_first + op->end - op->first;
	if (end > SCENARIO_MAX_PAGES * PAGE_CELLS)
		return text_fail(&p->t, at.at, "from here the range goes beyond page %u",
				 SCENARIO_MAX_PAGES - 1);
	if (op->file == op->other_file && op->first < end && op->other_first < op->end)
		return text_fail(&p->t, at.at, "the two ranges of '%s' overlap",
				 p->s->files[op->file].name);
	return true;
}

static bool parse_flags(struct parser *p, const struct syntax *syntax, struct scenario_op *op)
{
	static const struct {
		const char *word;
		unsigned flag;
	} flags[] = { { "direct", OPF_DIRECT },
		      { "read-only", OPF_READ_ONLY },
		      { "grow", OPF_GROW } };
	unsigned before;

	do { /* in any order, each once */
		before = op->flags;
		for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
			if (syntax->flags & ~op->flags & flags[i].flag &&
			    text_accept(&p->t, flags[i].word))
				op->flags |= flags[i].flag;
	} while (op->flags != before);
	return text_end(&p->t, syntax->usage);
}

/* ---- what cannot be in this thread ------------------------------------------------------------------ */

/* Who is forked is nobody before that. */
static bool check_fork(struct parser *p, const struct scenario_thread *thread,
		       const struct scenario_op *op, struct token at)
{
	struct scenario_process *child = &p->s->processes[op->process];

	if (op->process == thread->process)
		return text_fail(&p->t, at.at, "'%s' cannot fork itself into being", child->name);
	if (child->forked)
		return text_fail(&p->t, at.at, "'%s' is forked already; each process begins once",
				 child->name);
	for (unsigned file = 0; file < p->s->nfiles; file++)
		if (child->files[file].open)
			return text_fail(&p->t, at.at,
					 "'%s' opens files by itself; a child has its parent's",
					 child->name);
	child->forked = true;
	return true;
}

/* How often the page is pinned by the operations of the thread so far. */
static bool check_unpin(struct parser *p, const struct scenario_thread *thread,
			const struct scenario_op *op, struct token at)
{
	int pins = 0;

	for (unsigned i = 0; i < thread->nops; i++) {
		const struct scenario_op *before = &thread->ops[i];

		if (before->file == op->file && before->first == op->first)
			pins += (before->kind == OP_PIN) - (before->kind == OP_UNPIN);
	}
	return pins > 0 || text_fail(&p->t, at.at, "this thread has not pinned that page of '%s'",
				     p->s->files[op->file].name);
}

static bool check_crash(struct parser *p, struct token at)
{
	for (unsigned i = 0; i < p->s->nthreads; i++)
		for (unsigned j = 0; j < p->s->threads[i].nops; j++)
			if (p->s->threads[i].ops[j].kind == OP_CRASH)
				return text_fail(&p->t, at.at,
						 "there is a crash in line %d already, and a "
						 "scenario ends with it",
						 p->s->threads[i].ops[j].line);
	return true;
}

static bool check_in_thread(struct parser *p, const struct scenario_thread *thread,
			    const struct scenario_op *op, struct token word, struct token where)
{
	if (thread->nops && thread->ops[thread->nops - 1].kind == OP_CRASH)
		return text_fail(&p->t, word.at, "nothing can follow 'crash', with which all ends");
	if (op->kind == OP_FORK)
		return check_fork(p, thread, op, where);
	if (op->kind == OP_UNPIN)
		return check_unpin(p, thread, op, where);
	if (op->kind == OP_CRASH)
		return check_crash(p, word);
	return true;
}

/* ---- a line ------------------------------------------------------------------------------------------- */

/* As written, blanks squeezed. */
static void copy_text(struct scenario_op *op, const char *at, const char *end)
{
	size_t len = 0;

	for (; at < end && len + 1 < sizeof(op->text); at++) {
		bool blank = *at == ' ' || *at == '\t';

		if (blank && op->text[len - 1] == ' ')
			continue;
		op->text[len++] = blank ? ' ' : *at;
	}
}

static struct scenario_thread *current_thread(struct parser *p, struct token word)
{
	struct scenario_thread *thread;

	if (!p->in_thread) {
		text_fail(&p->t, word.at,
			  "an operation belongs to a thread: 'thread NAME in PROCESS' comes first");
		return NULL;
	}
	thread = &p->s->threads[p->s->nthreads - 1];
	if (thread->nops < SCENARIO_MAX_OPS)
		return thread;
	text_fail(&p->t, word.at, "a thread has at most %u operations", SCENARIO_MAX_OPS);
	return NULL;
}

bool parse_operation(struct parser *p)
{
	struct scenario_op op = { .line = text_line(&p->t) };
	struct token word = text_take(&p->t), where;
	struct scenario_thread *thread;
	const struct syntax *syntax;

	op.kind = find_kind(word);
	if (op.kind == OP_NR_KINDS)
		return no_such_operation(p, word);
	thread = current_thread(p, word);
	if (!thread)
		return false;
	syntax = &syntaxes[op.kind];
	copy_text(&op, word.at, p->t.line_end);
	where = text_peek(&p->t);
	if (syntax->takes & TAKES_PROCESS && !parse_process(p, syntax->usage, &op.process))
		return false;
	if (syntax->takes & TAKES_FILE && !parse_file(p, syntax->usage, &op.file))
		return false;
	if (!parse_where(p, syntax, &op) || !parse_other(p, syntax, &op) ||
	    !parse_flags(p, syntax, &op) || !check_in_thread(p, thread, &op, word, where))
		return false;
	p->op_at[p->s->nthreads - 1][thread->nops] = word;
	p->file_at[p->s->nthreads - 1][thread->nops] = where;
	thread->ops[thread->nops++] = op;
	return true;
}
