/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * scenario.c - the text of a scenario, line by line. docs/SCENARIOS.md is the specification.
 *
 * A line is words between blanks; a comma is a word of its own, and '#' begins a comment. The first word
 * says what the line is. Whoever finds something wrong says where and what would be right (fail), and all
 * above it only return false.
 */
#include "scenario.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_WORDS 32u
#define WORD_LEN 64u
#define MIN_VOLUME UINT64_C(262144)
#define MAX_VOLUME (UINT64_C(32) << 20)

struct word {
	char text[WORD_LEN];
	int column;
};

struct parser {
	const char *path, *line_text;
	int line;
	struct word words[MAX_WORDS];
	unsigned nwords, at;
	struct scenario *sc;
	struct scenario_thread *thread; /* whose operations follow */
	bool titled;
	char *err;
	size_t err_len;
};

/* ---- errors --------------------------------------------------------------------------------------- */

static bool fail_at(struct parser *p, int column, const char *fmt, va_list args)
{
	int n = snprintf(p->err, p->err_len, "%s:%d:%d: ", p->path, p->line, column);

	if (n >= 0 && (size_t)n < p->err_len)
		vsnprintf(p->err + n, p->err_len - (size_t)n, fmt, args);
	return false;
}

/* Something is wrong with the word at hand, or missing behind the last one. */
static bool __attribute__((format(printf, 2, 3))) fail(struct parser *p, const char *fmt, ...)
{
	int column = p->at < p->nwords ? p->words[p->at].column
				       : (int)strcspn(p->line_text, "#\n") + 1;
	va_list args;

	va_start(args, fmt);
	fail_at(p, column, fmt, args);
	va_end(args);
	return false;
}

/* ---- words ---------------------------------------------------------------------------------------- */

static bool split(struct parser *p, const char *line)
{
	const char *c = line;

	p->line_text = line;
	p->nwords = p->at = 0;
	for (;;) {
		struct word *word = &p->words[p->nwords];
		size_t len;

		while (*c == ' ' || *c == '\t' || *c == '\r')
			c++;
		if (!*c || *c == '\n' || *c == '#')
			return true;
		len = *c == ',' ? 1 : strcspn(c, " \t\r\n#,");
		if (p->nwords == MAX_WORDS || len >= WORD_LEN) {
			p->at = p->nwords;
			return fail(p, "%s",
				    len >= WORD_LEN ? "a word of more than 63 bytes"
						    : "too many words in one line");
		}
		memcpy(word->text, c, len);
		word->text[len] = 0;
		word->column = (int)(c - line) + 1;
		p->nwords++;
		c += len;
	}
}

static const char *peek(const struct parser *p)
{
	return p->at < p->nwords ? p->words[p->at].text : "";
}

static bool at_end(const struct parser *p)
{
	return p->at == p->nwords;
}

/* Take the next word if it is that. */
static bool accept(struct parser *p, const char *text)
{
	if (at_end(p) || strcmp(peek(p), text) != 0)
		return false;
	p->at++;
	return true;
}

static bool done(struct parser *p)
{
	return at_end(p) || fail(p, "'%s' does not belong here", peek(p));
}

static bool take_number(struct parser *p, uint64_t least, uint64_t most, uint64_t *ret)
{
	const char *text = peek(p);
	char *end;

	errno = 0;
	*ret = strtoull(text, &end, 10);
	if (!isdigit((unsigned char)*text) || *end || errno || *ret < least || *ret > most)
		return fail(p, "expected a number from %llu to %llu", (unsigned long long)least,
			    (unsigned long long)most);
	p->at++;
	return true;
}

static bool take_bytes(struct parser *p, uint64_t least, uint64_t most, uint64_t *ret)
{
	const char *text = peek(p);
	char *end;
	uint64_t n = strtoull(text, &end, 10);
	unsigned shift = *end == 'K' ? 10 : *end == 'M' ? 20 : 0;

	end += shift != 0;
	if (!isdigit((unsigned char)*text) || *end || n > UINT64_MAX >> shift ||
	    n << shift < least || n << shift > most)
		return fail(p, "expected a size from %lluK to %lluM",
			    (unsigned long long)(least >> 10), (unsigned long long)(most >> 20));
	*ret = n << shift;
	p->at++;
	return true;
}

static bool is_name(const char *text)
{
	if (!isalpha((unsigned char)*text))
		return false;
	while (isalnum((unsigned char)*text) || *text == '_' || *text == '-')
		text++;
	return !*text;
}

static bool new_name(struct parser *p, const char *what, char *ret)
{
	const char *text = peek(p);

	if (!is_name(text) || strlen(text) >= SCENARIO_NAME)
		return fail(p,
			    "expected a name for the %s: a letter, then letters, digits, - and _, "
			    "up to %d",
			    what, SCENARIO_NAME - 1);
	snprintf(ret, SCENARIO_NAME, "%s", text);
	p->at++;
	return true;
}

/* ---- names ---------------------------------------------------------------------------------------- */

/* The index of a name in an array of things that begin with it; n: it is not there. */
static unsigned find(const void *things, size_t size, unsigned n, const char *name)
{
	const char *thing = things;

	for (unsigned i = 0; i < n; i++, thing += size)
		if (strcmp(thing, name) == 0)
			return i;
	return n;
}

static bool take_known(struct parser *p, const char *what, const void *things, size_t size,
		       unsigned n, unsigned *ret)
{
	const char *thing = things;
	char known[256] = "";

	*ret = find(things, size, n, peek(p));
	if (*ret < n) {
		p->at++;
		return true;
	}
	for (unsigned i = 0; i < n; i++, thing += size)
		snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%s",
			 i ? ", " : "", thing);
	if (at_end(p))
		return fail(p, "expected a %s: %s", what, n ? known : "there is none yet");
	return fail(p, "there is no %s '%s'; there %s %s", what, peek(p), n ? "is" : "are",
		    n ? known : "none yet");
}

static bool take_file(struct parser *p, unsigned *ret)
{
	struct scenario *sc = p->sc;

	return take_known(p, "file", sc->files, sizeof(sc->files[0]), sc->nfiles, ret);
}

static bool take_process(struct parser *p, unsigned *ret)
{
	struct scenario *sc = p->sc;

	return take_known(p, "process", sc->processes, sizeof(sc->processes[0]), sc->nprocesses,
			  ret);
}

/* ---- places --------------------------------------------------------------------------------------- */

/* "3", "3a", "3b": cells [*first, *end). */
static bool parse_place(const char *text, size_t len, unsigned *first, unsigned *end)
{
	unsigned page = 0;
	size_t i = 0;

	while (i < len && isdigit((unsigned char)text[i]) && page < 1000)
		page = page * 10 + (unsigned)(text[i++] - '0');
	if (!i || page >= SCENARIO_MAX_PAGES)
		return false;
	*first = page * PAGE_CELLS;
	*end = *first + PAGE_CELLS;
	if (i + 1 == len && text[i] == 'b')
		*first += 1;
	else if (i + 1 == len && text[i] == 'a')
		*end -= 1;
	else if (i != len)
		return false;
	return true;
}

/* A place, or "2..5": from the first of one place to the last of another. */
static bool take_range(struct parser *p, bool whole_pages, unsigned *first, unsigned *end)
{
	const char *text = peek(p), *dots = strstr(text, "..");
	size_t len = dots ? (size_t)(dots - text) : strlen(text);
	unsigned last_first;

	if (!parse_place(text, len, first, end) ||
	    (dots && !parse_place(dots + 2, strlen(dots + 2), &last_first, end)))
		return fail(p, "expected a place such as 0, 0b or 0..2, in pages from 0 to %d",
			    SCENARIO_MAX_PAGES - 1);
	if (*end <= *first)
		return fail(p, "the range ends before it begins");
	if (whole_pages && (*first % PAGE_CELLS || *end % PAGE_CELLS))
		return fail(p, "only whole pages can be %s here", "given");
	p->at++;
	return true;
}

/* A length in pages: "0", "2", or "1.5". */
static bool take_length(struct parser *p, unsigned *ret_cells)
{
	const char *text = peek(p);
	char *end;
	unsigned long pages = strtoul(text, &end, 10);

	if (!isdigit((unsigned char)*text) || (*end && strcmp(end, ".5") != 0) ||
	    pages > SCENARIO_MAX_PAGES || (pages == SCENARIO_MAX_PAGES && *end))
		return fail(p, "expected a length in pages such as 2 or 1.5, up to %d",
			    SCENARIO_MAX_PAGES);
	*ret_cells = (unsigned)pages * PAGE_CELLS + (*end != 0);
	p->at++;
	return true;
}

/* ---- operations ----------------------------------------------------------------------------------- */

enum form {
	FORM_OPEN,  /* FILE [direct] [read-only] */
	FORM_FILE,  /* FILE */
	FORM_RANGE, /* FILE RANGE */
	FORM_GROW,  /* FILE RANGE [grow] */
	FORM_IO,    /* FILE RANGE [direct] */
	FORM_PAGES, /* FILE RANGE of whole pages */
	FORM_SIZE,  /* FILE LENGTH */
	FORM_TWO,   /* FILE RANGE with|to FILE PLACE */
	FORM_PROCESS,
	FORM_NOTHING,
};

static const struct grammar {
	const char *word;
	enum form form;
} grammar[OP_NR_KINDS] = {
	[OP_OPEN] = { "open", FORM_OPEN },
	[OP_CLOSE] = { "close", FORM_FILE },
	[OP_ATTACH] = { "attach", FORM_OPEN },
	[OP_DETACH] = { "detach", FORM_FILE },
	[OP_LOAD] = { "load", FORM_RANGE },
	[OP_STORE] = { "store", FORM_RANGE },
	[OP_READ] = { "read", FORM_IO },
	[OP_WRITE] = { "write", FORM_IO },
	[OP_APPEND] = { "append", FORM_OPEN },
	[OP_TRUNCATE] = { "truncate", FORM_SIZE },
	[OP_PUNCH] = { "punch", FORM_RANGE },
	[OP_ZERO] = { "zero", FORM_GROW },
	[OP_ALLOCATE] = { "allocate", FORM_GROW },
	[OP_COLLAPSE] = { "collapse", FORM_PAGES },
	[OP_INSERT] = { "insert", FORM_PAGES },
	[OP_EXCHANGE] = { "exchange", FORM_TWO },
	[OP_COPY] = { "copy", FORM_TWO },
	[OP_FSYNC] = { "fsync", FORM_FILE },
	[OP_SEEK_DATA] = { "seek-data", FORM_RANGE },
	[OP_READAHEAD] = { "readahead", FORM_RANGE },
	[OP_WRITEBACK] = { "writeback", FORM_RANGE },
	[OP_DROP] = { "drop", FORM_RANGE },
	[OP_PIN] = { "pin", FORM_RANGE },
	[OP_UNPIN] = { "unpin", FORM_RANGE },
	[OP_FORK] = { "fork", FORM_PROCESS },
	[OP_STOP] = { "stop", FORM_PROCESS },
	[OP_CONTINUE] = { "continue", FORM_PROCESS },
	[OP_HANG_UP] = { "hang-up", FORM_PROCESS },
	[OP_KILL] = { "kill", FORM_PROCESS },
	[OP_RESTART] = { "restart", FORM_NOTHING },
	[OP_CRASH] = { "crash", FORM_NOTHING },
	[OP_SYNC] = { "sync", FORM_NOTHING },
};

const char *scenario_op_name(enum op_kind kind)
{
	return grammar[kind].word;
}

static bool take_two(struct parser *p, struct scenario_op *op)
{
	bool exchange = op->kind == OP_EXCHANGE;
	unsigned end;

	if (!take_range(p, exchange, &op->first, &op->end))
		return false;
	if (!accept(p, exchange ? "with" : "to"))
		return fail(p, "expected '%s', then a file and a place in it",
			    exchange ? "with" : "to");
	if (!take_file(p, &op->other_file) || !take_range(p, exchange, &op->other_first, &end))
		return false;
	if (op->other_first + (op->end - op->first) > SCENARIO_MAX_PAGES * PAGE_CELLS)
		return fail(p, "the other range ends behind page %d", SCENARIO_MAX_PAGES - 1);
	return true;
}

static bool take_flags(struct parser *p, enum form form, struct scenario_op *op)
{
	for (;;) {
		if ((form == FORM_OPEN || form == FORM_IO) && accept(p, "direct"))
			op->flags |= OPF_DIRECT;
		else if (form == FORM_OPEN && accept(p, "read-only"))
			op->flags |= OPF_READ_ONLY;
		else if (form == FORM_GROW && accept(p, "grow"))
			op->flags |= OPF_GROW;
		else
			return done(p);
	}
}

static bool take_arguments(struct parser *p, struct scenario_op *op)
{
	enum form form = grammar[op->kind].form;

	if (form == FORM_NOTHING)
		return done(p);
	if (form == FORM_PROCESS)
		return take_process(p, &op->process) && done(p);
	if (!take_file(p, &op->file))
		return false;
	switch (form) {
	case FORM_RANGE:
	case FORM_GROW:
	case FORM_IO:
		if (!take_range(p, false, &op->first, &op->end))
			return false;
		break;
	case FORM_PAGES:
		if (!take_range(p, true, &op->first, &op->end))
			return false;
		break;
	case FORM_SIZE:
		if (!take_length(p, &op->first))
			return false;
		break;
	case FORM_TWO:
		if (!take_two(p, op))
			return false;
		break;
	default:
		break;
	}
	return take_flags(p, form, op);
}

static bool parse_operation(struct parser *p, enum op_kind kind)
{
	struct scenario_op *op;

	if (!p->thread)
		return fail(p,
			    "'%s' is an operation; a line 'thread NAME in PROCESS' comes before it",
			    peek(p));
	if (p->thread->nops == SCENARIO_MAX_OPS)
		return fail(p, "a thread has at most %d operations", SCENARIO_MAX_OPS);
	op = &p->thread->ops[p->thread->nops++];
	*op = (struct scenario_op){ .kind = kind, .line = p->line };
	for (unsigned i = 0; i < p->nwords; i++)
		snprintf(op->text + strlen(op->text), sizeof(op->text) - strlen(op->text), "%s%s",
			 i ? " " : "", p->words[i].text);
	p->at++;
	return take_arguments(p, op);
}

/* ---- lines ---------------------------------------------------------------------------------------- */

static bool line_title(struct parser *p)
{
	const char *text = p->line_text + p->words[0].column - 1 + strlen("title");
	size_t len;

	if (p->titled)
		return fail(p, "there is a title already");
	text += strspn(text, " \t");
	len = strcspn(text, "\r\n");
	if (!len || len >= sizeof(p->sc->title))
		return fail(p, "a title is one line of 1 to %zu bytes", sizeof(p->sc->title) - 1);
	memcpy(p->sc->title, text, len);
	p->titled = true;
	return true;
}

static bool line_races(struct parser *p)
{
	struct scenario *sc = p->sc;
	uint64_t n;

	do {
		if (sc->nraces == SCENARIO_MAX_RACES)
			return fail(p, "at most %d rows", SCENARIO_MAX_RACES);
		if (!take_number(p, 1, 999, &n))
			return false;
		sc->races[sc->nraces++] = (unsigned)n;
	} while (accept(p, ","));
	return done(p);
}

static bool line_volume(struct parser *p)
{
	return take_bytes(p, MIN_VOLUME, MAX_VOLUME, &p->sc->volume_bytes) && done(p);
}

static bool line_granule(struct parser *p)
{
	uint64_t bytes;

	if (!take_bytes(p, 4096, 2u << 20, &bytes))
		return false;
	if (bytes & (bytes - 1)) {
		p->at--;
		return fail(p, "a granule is a power of two");
	}
	p->sc->granule_bytes = (uint32_t)bytes;
	return done(p);
}

static bool line_workers(struct parser *p)
{
	uint64_t n;

	if (!take_number(p, 1, 64, &n))
		return false;
	p->sc->nworkers = (unsigned)n;
	return done(p);
}

static bool line_free(struct parser *p)
{
	uint64_t n;

	if (!take_number(p, 0, 1000, &n))
		return false;
	p->sc->free_pages = (unsigned)n;
	return done(p);
}

static bool take_state(struct parser *p, struct scenario_file *file)
{
	enum page_state state = PAGE_HOLE;
	unsigned first, end;

	if (accept(p, "size"))
		return take_length(p, &file->size_cells);
	if (accept(p, "written"))
		state = PAGE_WRITTEN;
	else if (accept(p, "unwritten"))
		state = PAGE_UNWRITTEN;
	else if (!accept(p, "hole"))
		return fail(p, "expected written, unwritten or hole with pages, or size");
	if (!take_range(p, true, &first, &end))
		return false;
	for (unsigned page = first / PAGE_CELLS; page < end / PAGE_CELLS; page++)
		file->pages[page] = state;
	if (end > file->size_cells)
		file->size_cells = end;
	return true;
}

static bool line_file(struct parser *p)
{
	struct scenario *sc = p->sc;
	struct scenario_file *file = &sc->files[sc->nfiles];

	if (sc->nfiles == SCENARIO_MAX_FILES)
		return fail(p, "at most %d files", SCENARIO_MAX_FILES);
	if (find(sc->files, sizeof(*file), sc->nfiles, peek(p)) < sc->nfiles)
		return fail(p, "there is a file '%s' already", peek(p));
	if (!new_name(p, "file", file->name))
		return false;
	sc->nfiles++;
	while (!at_end(p)) {
		if (!take_state(p, file))
			return false;
		if (!accept(p, ",") && !at_end(p))
			return fail(p, "expected a comma");
	}
	return true;
}

static bool take_clause(struct parser *p, struct scenario_process *process)
{
	bool attaches = accept(p, "attaches");
	struct scenario_open *open;
	unsigned file;

	if (!attaches && accept(p, "forked")) {
		process->forked = true;
		return true;
	}
	if (!attaches && !accept(p, "opens"))
		return fail(
			p,
			"expected 'opens FILE [direct] [read-only]', 'attaches FILE' or 'forked'");
	if (!take_file(p, &file))
		return false;
	open = &process->files[file];
	if (attaches && (!open->open || !open->direct))
		return fail(p, "only a file that the process 'opens %s direct' can be attached",
			    p->sc->files[file].name);
	if (attaches) {
		open->attached = true;
		return true;
	}
	open->open = true;
	while (!at_end(p) && strcmp(peek(p), ",") != 0) {
		if (accept(p, "direct"))
			open->direct = true;
		else if (accept(p, "read-only"))
			open->read_only = true;
		else
			return fail(p, "expected direct, read-only, or a comma");
	}
	return true;
}

static bool line_process(struct parser *p)
{
	struct scenario *sc = p->sc;
	struct scenario_process *process = &sc->processes[sc->nprocesses];

	if (sc->nprocesses == SCENARIO_MAX_PROCESSES)
		return fail(p, "at most %d processes", SCENARIO_MAX_PROCESSES);
	if (find(sc->processes, sizeof(*process), sc->nprocesses, peek(p)) < sc->nprocesses)
		return fail(p, "there is a process '%s' already", peek(p));
	if (!new_name(p, "process", process->name))
		return false;
	sc->nprocesses++;
	while (!at_end(p)) {
		if (!take_clause(p, process))
			return false;
		if (!accept(p, ",") && !at_end(p))
			return fail(p, "expected a comma");
	}
	return true;
}

static bool line_thread(struct parser *p)
{
	struct scenario *sc = p->sc;
	struct scenario_thread *thread = &sc->threads[sc->nthreads];

	if (sc->nthreads == SCENARIO_MAX_THREADS)
		return fail(p, "at most %d threads", SCENARIO_MAX_THREADS);
	if (find(sc->threads, sizeof(*thread), sc->nthreads, peek(p)) < sc->nthreads)
		return fail(p, "there is a thread '%s' already", peek(p));
	if (!new_name(p, "thread", thread->name))
		return false;
	if (!accept(p, "in"))
		return fail(p, "expected 'in', and the process that the thread belongs to");
	if (!take_process(p, &thread->process))
		return false;
	sc->nthreads++;
	p->thread = thread;
	return done(p);
}

/* "t1.2": operation 2 of thread t1, counted from 1. */
static bool take_operation(struct parser *p, unsigned *ret_thread, unsigned *ret_op)
{
	const struct scenario *sc = p->sc;
	char name[WORD_LEN], *dot;
	unsigned long n;

	snprintf(name, sizeof(name), "%s", peek(p));
	dot = strrchr(name, '.');
	if (!dot || !isdigit((unsigned char)dot[1]))
		return fail(p, "expected an operation such as t1.2: the second of thread t1");
	*dot = 0;
	*ret_thread = find(sc->threads, sizeof(sc->threads[0]), sc->nthreads, name);
	n = strtoul(dot + 1, NULL, 10);
	if (*ret_thread == sc->nthreads || n < 1 || n > sc->threads[*ret_thread].nops)
		return fail(p, "there is no operation '%s'", peek(p));
	*ret_op = (unsigned)n - 1;
	p->at++;
	return true;
}

static bool take_result(struct parser *p, int *ret_err)
{
	static const int errors[] = { ENOSPC, EBUSY, EIO,    EINVAL, EFAULT, ENODEV,
				      ENXIO,  EPERM, EACCES, EBADF,  EEXIST, EOPNOTSUPP };

	if (accept(p, "0")) {
		*ret_err = 0;
		return true;
	}
	for (unsigned i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		if (accept(p, strerrorname_np(errors[i]))) {
			*ret_err = errors[i];
			return true;
		}
	return fail(p, "expected 0, or the name of an error such as ENOSPC");
}

static bool line_expect(struct parser *p)
{
	struct scenario *sc = p->sc;
	struct scenario_expect *e = &sc->expects[sc->nexpects];
	unsigned end;

	if (sc->nexpects == SCENARIO_MAX_EXPECTS)
		return fail(p, "at most %d expectations", SCENARIO_MAX_EXPECTS);
	e->line = p->line;
	sc->nexpects++;
	if (find(sc->files, sizeof(sc->files[0]), sc->nfiles, peek(p)) < sc->nfiles) {
		e->kind = EXPECT_CONTENT;
		if (!take_file(p, &e->file) || !take_range(p, false, &e->cell, &end))
			return false;
		if (!accept(p, "="))
			return fail(p, "expected '=', then zero or an operation");
		e->zero = accept(p, "zero");
		return (e->zero || take_operation(p, &e->thread, &e->op)) && done(p);
	}
	if (!take_operation(p, &e->thread, &e->op))
		return false;
	e->kind = accept(p, "reaches") ? EXPECT_REACHED : EXPECT_RESULT;
	if (e->kind == EXPECT_RESULT && !accept(p, "="))
		return fail(p, "expected '=' or 'reaches', then 0 or an error");
	return take_result(p, &e->err) && done(p);
}

static const struct line {
	const char *word;
	bool (*parse)(struct parser *p);
} lines[] = {
	{ "title", line_title },     { "races", line_races },	  { "volume", line_volume },
	{ "granule", line_granule }, { "workers", line_workers }, { "free", line_free },
	{ "file", line_file },	     { "process", line_process }, { "thread", line_thread },
	{ "expect", line_expect },
};

static bool parse_line(struct parser *p)
{
	if (at_end(p))
		return true;
	for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (strcmp(peek(p), lines[i].word) == 0) {
			p->at++;
			return lines[i].parse(p);
		}
	for (unsigned kind = 0; kind < OP_NR_KINDS; kind++)
		if (strcmp(peek(p), grammar[kind].word) == 0)
			return parse_operation(p, (enum op_kind)kind);
	return fail(p,
		    "'%s' is neither an operation nor one of title, races, volume, granule, "
		    "workers, free, file, process, thread, expect",
		    peek(p));
}

/* ---- the whole ------------------------------------------------------------------------------------ */

static bool is_complete(struct parser *p)
{
	const struct scenario *sc = p->sc;

	p->nwords = p->at = 0;
	p->line_text = "";
	if (!p->titled)
		return fail(p, "a line 'title ...' is missing");
	if (!sc->nthreads)
		return fail(p, "there is no thread: 'thread t1 in p', then its operations");
	for (unsigned i = 0; i < sc->nthreads; i++)
		if (!sc->threads[i].nops)
			return fail(p, "thread %s does nothing", sc->threads[i].name);
	return true;
}

static bool parse_text(struct parser *p, const char *text)
{
	if (strlen(text) > SCENARIO_MAX_BYTES)
		return fail(p, "a scenario has at most %u bytes", SCENARIO_MAX_BYTES);
	while (*text) {
		size_t len = strcspn(text, "\n");
		char line[1024];

		p->line++;
		p->line_text = "";
		if (len >= sizeof(line)) {
			p->nwords = p->at = 0;
			return fail(p, "a line of more than %zu bytes", sizeof(line) - 1);
		}
		memcpy(line, text, len);
		line[len] = 0;
		if (!split(p, line) || !parse_line(p))
			return false;
		text += len + (text[len] == '\n');
	}
	return is_complete(p);
}

/* The name of a file, without its directory and ending. */
static void set_name(struct scenario *sc, const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	const char *dot = strrchr(name, '.');

	snprintf(sc->name, sizeof(sc->name), "%.*s", dot ? (int)(dot - name) : (int)strlen(name),
		 name);
}

struct scenario *scenario_parse(const char *path, const char *text, char *err, size_t err_len)
{
	struct parser *p = calloc(1, sizeof(*p));
	struct scenario *sc = calloc(1, sizeof(*sc));

	if (p && sc) {
		*p = (struct parser){
			.path = path, .sc = sc, .err = err, .err_len = err_len, .line_text = ""
		};
		sc->volume_bytes = MIN_VOLUME;
		sc->granule_bytes = 4096;
		sc->nworkers = 10;
		sc->free_pages = UINT_MAX;
		set_name(sc, path);
		if (parse_text(p, text)) {
			free(p);
			return sc;
		}
	} else {
		snprintf(err, err_len, "%s: out of memory", path);
	}
	free(sc);
	free(p);
	return NULL;
}

struct scenario *scenario_load(const char *path, char *err, size_t err_len)
{
	char *text = calloc(1, SCENARIO_MAX_BYTES + 2);
	struct scenario *sc = NULL;
	FILE *in = fopen(path, "re");

	if (!text)
		snprintf(err, err_len, "%s: out of memory", path);
	else if (!in || (fread(text, 1, SCENARIO_MAX_BYTES + 1, in) == 0 && ferror(in)))
		snprintf(err, err_len, "%s: %s", path, strerror(errno));
	else
		sc = scenario_parse(path, text, err, err_len);
	if (in)
		fclose(in);
	free(text);
	return sc;
}
