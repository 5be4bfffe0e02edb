/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * scenario_text.h - the text of a scenario, word by word: what scenario.c and its sisters read it
 * with. Nothing here knows what a scenario is.
 *
 * A text is lines, a line is words. Blanks, tabs, ',' and '=' end a word; the last two are words by
 * themselves; '#' begins a comment. Whoever takes words asks for what must stand there, and the
 * first thing that does not is the error: later ones are not recorded. Every function that can fail
 * returns false then, so that callers can say `a && b && c`.
 */
#ifndef UDAX_LAB_SCENARIO_TEXT_H
#define UDAX_LAB_SCENARIO_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/** A piece of the text, not terminated. Empty (and at the end of the line) if there are no more. */
struct token {
	const char *at;
	size_t len;
};

struct text {
	const char *path, *start;
	const char *at, *line_end; /* of the line being read: what is left of it */
	const char *next_line;
	char *err;
	size_t err_len;
	bool failed;
};

/** text_init - read @start, which @path is said to hold; the first error goes to @err. */
void text_init(struct text *t, const char *path, const char *start, char *err, size_t err_len);

/** text_next_line - go to the next line that has a word. False at the end, or after an error. */
bool text_next_line(struct text *t);

/** text_line - the number of the line being read, from 1. */
int text_line(const struct text *t);

/** text_fail - record "PATH:LINE:COLUMN: " and what @format says, for @at in the text. False. */
bool text_fail(struct text *t, const char *at, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/** text_peek, text_take - the next word of the line; take goes on behind it. */
struct token text_peek(const struct text *t);
struct token text_take(struct text *t);

/** text_rest - all that is left of the line, without blanks at its ends. */
struct token text_rest(struct text *t);

/** text_accept - take the next word if it is @word. Else false, which is no error. */
bool text_accept(struct text *t, const char *word);

/** text_expect - the next word must be @word; @usage: how the line is written. */
bool text_expect(struct text *t, const char *word, const char *usage);

/** text_some - there must be a next word, @what; it is taken. */
bool text_some(struct text *t, const char *what, const char *usage, struct token *ret);

/** text_end - the line must end here. */
bool text_end(struct text *t, const char *usage);

/** token_is - whether it is this word. */
bool token_is(struct token token, const char *word);

#define QUOTE_ROOM 40
/** token_quote - the word for an error: 'word', shortened, unprintable bytes as '?'. */
const char *token_quote(struct token token, char buf[QUOTE_ROOM]);

/** token_number - its value, @min to @max; @what it is, for the error. Digits and nothing else. */
bool token_number(struct text *t, struct token token, const char *what, unsigned min, unsigned max,
		  unsigned *ret);

/** token_cells - a place ("1", "1a") or range ("0..2", "0b..1"): cells [*first, *end). */
bool token_cells(struct text *t, struct token token, unsigned *first, unsigned *end);

/** token_pages - the same, of whole pages only. */
bool token_pages(struct text *t, struct token token, unsigned *first, unsigned *end);

/** token_size - a size in pages ("3", "1.5"): cells. */
bool token_size(struct text *t, struct token token, unsigned *ret_cells);

#endif
