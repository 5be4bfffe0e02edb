/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * scenario.c - reads the text of a scenario, line by line; see scenario_parser.h for the parts, and
 * docs/SCENARIOS.md for the text. The text is not trusted: every number is bounded, every name known,
 * and what is returned fits together (scenario_check.c).
 */
#include "scenario.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scenario_parser.h"

#define DEFAULT_VOLUME (256u << 10)
#define MAX_VOLUME (64u << 20)
#define DEFAULT_GRANULE 4096u
#define MAX_GRANULE (2u << 20)
#define DEFAULT_WORKERS 10
#define MAX_WORKERS 64
#define MAX_RACE 999
#define MAX_FAILURES 2

/* ---- names ------------------------------------------------------------------------------------------ */

const char *scenario_name_list(const char *first, size_t stride, unsigned n, char *buf, size_t len)
{
	size_t used = 0;

	snprintf(buf, len, "none yet");
	for (unsigned i = 0; i < n && used < len; i++)
		used += (size_t)snprintf(buf + used, len - used, "%s%s", i ? ", " : "",
					 first + i * stride);
	return buf;
}

static unsigned find_name(const char *first, size_t stride, unsigned n, struct token token)
{
	unsigned i = 0;

	while (i < n && !token_is(token, first + i * stride))
		i++;
	return i;
}

/* The next word is the name of one of @n things, called @what and @plural. */
static bool parse_known(struct parser *p, const char *what, const char *plural, const char *first,
			size_t stride, unsigned n, const char *usage, unsigned *ret)
{
	char quote[QUOTE_ROOM], names[SCENARIO_MAX_THREADS * (SCENARIO_NAME + 2)];
	struct token token;

	if (!text_some(&p->t, what, usage, &token))
		return false;
	*ret = find_name(first, stride, n, token);
	if (*ret < n)
		return true;
	return text_fail(&p->t, token.at, "there is no %s %s; %s are %s", strchr(what, ' ') + 1,
			 token_quote(token, quote), plural,
			 scenario_name_list(first, stride, n, names, sizeof(names)));
}

bool parse_file(struct parser *p, const char *usage, unsigned *ret)
{
	return parse_known(p, "a file", "files", p->s->files[0].name, sizeof(p->s->files[0]),
			   p->s->nfiles, usage, ret);
}

bool parse_process(struct parser *p, const char *usage, unsigned *ret)
{
	return parse_known(p, "a process", "processes", p->s->processes[0].name,
			   sizeof(p->s->processes[0]), p->s->nprocesses, usage, ret);
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_name(struct token token)
{
	for (size_t i = 0; i < token.len; i++) {
		char c = token.at[i];

		if (!is_letter(c) && (!i || ((c < '0' || c > '9') && c != '_' && c != '-')))
			return false;
	}
	return token.len > 0;
}

/* A new one of @n things, of which there may be @max. */
static bool parse_new_name(struct parser *p, const char *what, const char *first, size_t stride,
			   unsigned n, unsigned max, const char *usage, char *ret)
{
	char quote[QUOTE_ROOM];
	struct token token;

	if (!text_some(&p->t, "a name", usage, &token))
		return false;
	if (!is_name(token))
		return text_fail(&p->t, token.at,
				 "%s is no name; a name is letters, digits, '_' and '-', and "
				 "begins with a letter",
				 token_quote(token, quote));
	if (token.len >= SCENARIO_NAME)
		return text_fail(&p->t, token.at, "a name has at most %d characters",
				 SCENARIO_NAME - 1);
	if (find_name(first, stride, n, token) < n)
		return text_fail(&p->t, token.at, "there is a %s %s already", what,
				 token_quote(token, quote));
	if (n == max)
		return text_fail(&p->t, token.at, "%s is one %s too many; there can be %u",
				 token_quote(token, quote), what, max);
	memcpy(ret, token.at, token.len);
	return true;
}

/* ---- what is to be shown, and where -------------------------------------------------------------------- */

static bool line_title(struct parser *p, const char *usage)
{
	struct token title = text_rest(&p->t);

	if (!title.len)
		return text_fail(&p->t, title.at, "a title is missing here: %s", usage);
	if (title.len >= sizeof(p->s->title))
		return text_fail(&p->t, title.at + sizeof(p->s->title) - 1,
				 "a title has at most %zu bytes", sizeof(p->s->title) - 1);
	memcpy(p->s->title, title.at, title.len);
	return true;
}

static bool line_races(struct parser *p, const char *usage)
{
	struct scenario *s = p->s;
	struct token token;

	do {
		if (!text_some(&p->t, "a number", usage, &token))
			return false;
		if (s->nraces == SCENARIO_MAX_RACES)
			return text_fail(&p->t, token.at, "a scenario names at most %u rows",
					 SCENARIO_MAX_RACES);
		if (!token_number(&p->t, token, "a row of docs/RACES.md", 1, MAX_RACE,
				  &s->races[s->nraces]))
			return false;
		for (unsigned i = 0; i < s->nraces; i++)
			if (s->races[i] == s->races[s->nraces])
				return text_fail(&p->t, token.at, "row %u is named twice",
						 s->races[i]);
		s->nraces++;
	} while (text_accept(&p->t, ","));
	return text_end(&p->t, usage);
}

/* "256K", "1M": bytes. */
static bool parse_bytes(struct parser *p, const char *what, const char *usage, unsigned min,
			unsigned max, struct token *token, unsigned *ret)
{
	struct token digits;
	unsigned shift, n;
	char quote[QUOTE_ROOM], last;

	if (!text_some(&p->t, "a number of bytes", usage, token))
		return false;
	last = token->at[token->len - 1];
	digits = (struct token){ token->at, token->len - 1 };
	shift = last == 'M' ? 20 : 10;
	if (last != 'K' && last != 'M')
		return text_fail(&p->t, token->at, "%s is no size in bytes; write 256K, or 1M",
				 token_quote(*token, quote));
	if (!token_number(&p->t, digits, what, 1, max >> shift, &n))
		return false;
	*ret = n << shift;
	if (*ret < min)
		return text_fail(&p->t, token->at, "%s is at least %uK", what, min >> 10);
	return text_end(&p->t, usage);
}

static bool line_volume(struct parser *p, const char *usage)
{
	struct token token;
	unsigned bytes;

	if (!parse_bytes(p, "a volume", usage, DEFAULT_VOLUME, MAX_VOLUME, &token, &bytes))
		return false;
	if (bytes % DEFAULT_GRANULE)
		return text_fail(&p->t, token.at, "a volume is a multiple of 4K");
	p->s->volume_bytes = bytes;
	return true;
}

static bool line_granule(struct parser *p, const char *usage)
{
	struct token token;
	unsigned bytes;

	if (!parse_bytes(p, "a granule", usage, DEFAULT_GRANULE, MAX_GRANULE, &token, &bytes))
		return false;
	if (bytes & (bytes - 1))
		return text_fail(&p->t, token.at, "a granule is a power of two");
	p->s->granule_bytes = bytes;
	return true;
}

static bool parse_count(struct parser *p, const char *what, const char *usage, unsigned min,
			unsigned max, unsigned *ret)
{
	struct token token;

	return text_some(&p->t, "a number", usage, &token) &&
	       token_number(&p->t, token, what, min, max, ret) && text_end(&p->t, usage);
}

static bool line_workers(struct parser *p, const char *usage)
{
	return parse_count(p, "the number of workers", usage, 1, MAX_WORKERS, &p->s->nworkers);
}

static bool line_free(struct parser *p, const char *usage)
{
	return parse_count(p, "the number of free blocks", usage, 0, MAX_VOLUME / 4096,
			   &p->s->free_pages);
}

static const struct {
	const char *word;
	enum scenario_without bit;
} protections[] = {
	{ "keep-cache", WITHOUT_KEEP_CACHE },
	{ "atomic-take-back", WITHOUT_ATOMIC_TAKE_BACK },
	{ "protected-zeroes", WITHOUT_PROTECTED_ZEROES },
	{ "bounced-io", WITHOUT_BOUNCED_IO },
	{ "own-fork", WITHOUT_OWN_FORK },
};

#define NPROTECTIONS (sizeof(protections) / sizeof(protections[0]))

static bool parse_protection(struct parser *p, const char *usage)
{
	struct token token;
	char quote[QUOTE_ROOM];
	unsigned i = 0;

	if (!text_some(&p->t, "a protection", usage, &token))
		return false;
	while (i < NPROTECTIONS && !token_is(token, protections[i].word))
		i++;
	if (i == NPROTECTIONS)
		return text_fail(&p->t, token.at,
				 "%s cannot be taken away; keep-cache, atomic-take-back, "
				 "protected-zeroes, bounced-io and own-fork can",
				 token_quote(token, quote));
	p->s->without |= protections[i].bit;
	return true;
}

static bool line_without(struct parser *p, const char *usage)
{
	do
		if (!parse_protection(p, usage))
			return false;
	while (text_accept(&p->t, ","));
	return text_end(&p->t, usage);
}

static bool line_failures(struct parser *p, const char *usage)
{
	return parse_count(p, "the number of failures", usage, 0, MAX_FAILURES, &p->s->nfailures);
}

static bool line_window(struct parser *p, const char *usage)
{
	return parse_count(p, "a window", usage, 1, SCENARIO_MAX_PAGES, &p->s->window_pages);
}

/* ---- files ------------------------------------------------------------------------------------------- */

static bool parse_pages_state(struct parser *p, struct scenario_file *file, enum page_state state,
			      bool *named, const char *usage)
{
	unsigned first, end;
	struct token token;

	if (!text_some(&p->t, "a range of pages", usage, &token) ||
	    !token_pages(&p->t, token, &first, &end))
		return false;
	for (unsigned page = first / PAGE_CELLS; page < end / PAGE_CELLS; page++) {
		if (named[page])
			return text_fail(&p->t, token.at, "page %u is described twice", page);
		named[page] = true;
		file->pages[page] = state;
	}
	return true;
}

static bool parse_size(struct parser *p, struct scenario_file *file, bool *has_size,
		       const char *usage)
{
	struct token token;

	if (!text_some(&p->t, "a size", usage, &token) ||
	    !token_size(&p->t, token, &file->size_cells))
		return false;
	if (*has_size)
		return text_fail(&p->t, token.at, "a file has one size");
	*has_size = true;
	return true;
}

static bool parse_file_item(struct parser *p, struct scenario_file *file, bool *named,
			    bool *has_size, const char *usage)
{
	struct token token;
	char quote[QUOTE_ROOM];

	if (!text_some(&p->t, "a description", usage, &token))
		return false;
	if (token_is(token, "size"))
		return parse_size(p, file, has_size, usage);
	if (token_is(token, "written"))
		return parse_pages_state(p, file, PAGE_WRITTEN, named, usage);
	if (token_is(token, "unwritten"))
		return parse_pages_state(p, file, PAGE_UNWRITTEN, named, usage);
	if (token_is(token, "hole"))
		return parse_pages_state(p, file, PAGE_HOLE, named, usage);
	return text_fail(&p->t, token.at,
			 "%s says nothing about a file; written, unwritten, hole and size do: %s",
			 token_quote(token, quote), usage);
}

static bool line_file(struct parser *p, const char *usage)
{
	struct scenario_file *file = &p->s->files[p->s->nfiles];
	bool named[SCENARIO_MAX_PAGES] = { false }, has_size = false;
	char name[SCENARIO_NAME] = "";

	if (!parse_new_name(p, "file", p->s->files[0].name, sizeof(*file), p->s->nfiles,
			    SCENARIO_MAX_FILES, usage, name))
		return false;
	memcpy(file->name, name, sizeof(name));
	p->s->nfiles++;
	if (text_peek(&p->t).len)
		do
			if (!parse_file_item(p, file, named, &has_size, usage))
				return false;
		while (text_accept(&p->t, ","));
	for (unsigned page = 0; !has_size && page < SCENARIO_MAX_PAGES; page++)
		if (named[page])
			file->size_cells = (page + 1) * PAGE_CELLS;
	return text_end(&p->t, usage);
}

/* ---- processes, threads ---------------------------------------------------------------------------------- */

static bool parse_opens(struct parser *p, struct scenario_process *process, const char *usage)
{
	struct token at = text_peek(&p->t);
	struct scenario_open *open;
	unsigned file;
	bool again;

	if (!parse_file(p, usage, &file))
		return false;
	open = &process->files[file];
	if (open->open)
		return text_fail(&p->t, at.at, "'%s' opens '%s' already", process->name,
				 p->s->files[file].name);
	open->open = true;
	do {
		again = false;
		if (!open->direct && text_accept(&p->t, "direct"))
			again = open->direct = true;
		if (!open->read_only && text_accept(&p->t, "read-only"))
			again = open->read_only = true;
	} while (again);
	return true;
}

/* Files are opened in the order of the processes, and the first open decides the mode. */
static const struct scenario_process *first_opener(const struct scenario *s, unsigned file)
{
	const struct scenario_process *process = s->processes;

	while (!process->files[file].open)
		process++;
	return process;
}

static bool parse_attaches(struct parser *p, struct scenario_process *process, const char *usage)
{
	struct token at = text_peek(&p->t);
	const struct scenario_process *first;
	unsigned file;

	if (!parse_file(p, usage, &file))
		return false;
	if (!process->files[file].open)
		return text_fail(&p->t, at.at,
				 "'%s' has to open '%s' before it attaches it: opens %s direct",
				 process->name, p->s->files[file].name, p->s->files[file].name);
	first = first_opener(p->s, file);
	if (!first->files[file].direct)
		return text_fail(&p->t, at.at,
				 "'%s' is opened first by '%s', and not direct: a file in cached "
				 "mode cannot be attached",
				 p->s->files[file].name, first->name);
	if (process->files[file].attached)
		return text_fail(&p->t, at.at, "'%s' attaches '%s' already", process->name,
				 p->s->files[file].name);
	process->files[file].attached = true;
	return true;
}

static bool parse_process_item(struct parser *p, struct scenario_process *process,
			       const char *usage)
{
	struct token token;
	char quote[QUOTE_ROOM];

	if (!text_some(&p->t, "'opens' or 'attaches'", usage, &token))
		return false;
	if (token_is(token, "opens"))
		return parse_opens(p, process, usage);
	if (token_is(token, "attaches"))
		return parse_attaches(p, process, usage);
	return text_fail(&p->t, token.at,
			 "a process 'opens' or 'attaches' a file, and %s is "
			 "neither: %s",
			 token_quote(token, quote), usage);
}

static bool line_process(struct parser *p, const char *usage)
{
	struct scenario_process *process = &p->s->processes[p->s->nprocesses];
	char name[SCENARIO_NAME] = "";

	if (!parse_new_name(p, "process", p->s->processes[0].name, sizeof(*process),
			    p->s->nprocesses, SCENARIO_MAX_PROCESSES, usage, name))
		return false;
	memcpy(process->name, name, sizeof(name));
	p->s->nprocesses++;
	if (text_peek(&p->t).len)
		do
			if (!parse_process_item(p, process, usage))
				return false;
		while (text_accept(&p->t, ","));
	return text_end(&p->t, usage);
}

static bool line_thread(struct parser *p, const char *usage)
{
	struct scenario_thread *thread = &p->s->threads[p->s->nthreads];
	char name[SCENARIO_NAME] = "";
	struct token at = text_peek(&p->t);

	if (!parse_new_name(p, "thread", p->s->threads[0].name, sizeof(*thread), p->s->nthreads,
			    SCENARIO_MAX_THREADS, usage, name) ||
	    !text_expect(&p->t, "in", usage) || !parse_process(p, usage, &thread->process) ||
	    !text_end(&p->t, usage))
		return false;
	memcpy(thread->name, name, sizeof(name));
	p->thread_at[p->s->nthreads++] = at;
	p->in_thread = true;
	return true;
}

static bool line_expect(struct parser *p, const char *usage)
{
	(void)usage;
	return parse_expect(p);
}

/* ---- lines --------------------------------------------------------------------------------------------- */

static const struct {
	const char *word;
	bool once;
	bool (*parse)(struct parser *p, const char *usage);
	const char *usage;
} lines[] = {
	{ "title", true, line_title, "title TEXT" },
	{ "races", true, line_races, "races NUMBER, ..." },
	{ "volume", true, line_volume, "volume BYTES" },
	{ "granule", true, line_granule, "granule BYTES" },
	{ "workers", true, line_workers, "workers NUMBER" },
	{ "free", true, line_free, "free BLOCKS" },
	{ "without", true, line_without, "without PROTECTION, ..." },
	{ "failures", true, line_failures, "failures NUMBER" },
	{ "window", true, line_window, "window PAGES" },
	{ "file", false, line_file,
	  "file NAME [written PAGES] [, unwritten PAGES] [, hole PAGES] [, size SIZE]" },
	{ "process", false, line_process,
	  "process NAME [opens FILE [direct] [read-only]] [, attaches FILE]" },
	{ "thread", false, line_thread, "thread NAME in PROCESS" },
	{ "expect", false, line_expect, "" },
};

#define NLINES (sizeof(lines) / sizeof(lines[0]))

static bool parse_line(struct parser *p)
{
	struct token word = text_peek(&p->t);
	unsigned i = 0;

	while (i < NLINES && !token_is(word, lines[i].word))
		i++;
	if (i == NLINES)
		return parse_operation(p);
	text_take(&p->t);
	p->in_thread = false;
	if (lines[i].once && p->seen & 1u << i)
		return text_fail(&p->t, word.at, "there is a '%s' already, and one is all there is",
				 lines[i].word);
	p->seen |= 1u << i;
	return lines[i].parse(p, lines[i].usage);
}

static void set_name(struct scenario *s, const char *path)
{
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	const char *dot = strrchr(base, '.');
	size_t len = dot && dot != base ? (size_t)(dot - base) : strlen(base);

	if (len >= sizeof(s->name))
		len = sizeof(s->name) - 1;
	memcpy(s->name, base, len);
}

struct scenario *scenario_parse(const char *path, const char *text, char *err, size_t err_len)
{
	struct parser *p = calloc(1, sizeof(*p));
	struct scenario *s = calloc(1, sizeof(*s));
	bool good = p && s;

	if (!good) {
		snprintf(err, err_len, "%s: %s", path, strerror(ENOMEM));
	} else {
		p->s = s;
		text_init(&p->t, path, text, err, err_len);
		set_name(s, path);
		s->volume_bytes = DEFAULT_VOLUME;
		s->granule_bytes = DEFAULT_GRANULE;
		s->nworkers = DEFAULT_WORKERS;
		s->free_pages = UINT_MAX;
		s->window_pages = 1;
		good = strnlen(text, SCENARIO_MAX_BYTES + 1) <= SCENARIO_MAX_BYTES ||
		       text_fail(&p->t, text, "a scenario has at most %u bytes",
				 SCENARIO_MAX_BYTES);
		while (good && text_next_line(&p->t))
			good = parse_line(p);
		good = good && check_scenario(p);
	}
	free(p);
	if (good)
		return s;
	free(s);
	return NULL;
}

struct scenario *scenario_load(const char *path, char *err, size_t err_len)
{
	char *text = malloc(SCENARIO_MAX_BYTES + 2);
	FILE *file = text ? fopen(path, "re") : NULL;
	struct scenario *s = NULL;
	size_t len;

	errno = text ? errno : ENOMEM;
	if (!file) {
		snprintf(err, err_len, "%s: %s", path, strerror(errno));
		free(text);
		return NULL;
	}
	len = fread(text, 1, SCENARIO_MAX_BYTES + 1, file);
	text[len] = '\0';
	if (ferror(file))
		snprintf(err, err_len, "%s: %s", path, strerror(errno));
	else if (memchr(text, '\0', len))
		snprintf(err, err_len, "%s: this is no text; it has a zero byte", path);
	else
		s = scenario_parse(path, text, err, err_len);
	fclose(file);
	free(text);
	return s;
}
