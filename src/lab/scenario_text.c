/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * scenario_text.c - lines and words of a scenario, and where in them an error is. See
 * scenario_text.h. Positions are computed when there is an error, from the text before it.
 */
#include "scenario_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool ends_word(char c)
{
	return is_blank(c) || c == ',' || c == '=';
}

void text_init(struct text *t, const char *path, const char *start, char *err, size_t err_len)
{
	*t = (struct text){ .path = path, .start = start, .err = err, .err_len = err_len };
	t->at = t->line_end = t->next_line = start;
}

bool text_fail(struct text *t, const char *at, const char *format, ...)
{
	int line = 1, column = 1, len;
	va_list args;

	if (t->failed)
		return false;
	t->failed = true;
	for (const char *p = t->start; p < at; p++) {
		column++;
		if (*p == '\n') {
			line++;
			column = 1;
		}
	}
	len = snprintf(t->err, t->err_len, "%s:%d:%d: ", t->path, line, column);
	if (len < 0 || (size_t)len >= t->err_len)
		return false;
	va_start(args, format);
	vsnprintf(t->err + len, t->err_len - (size_t)len, format, args);
	va_end(args);
	return false;
}

int text_line(const struct text *t)
{
	int line = 1;

	for (const char *p = t->start; p < t->at; p++)
		line += *p == '\n';
	return line;
}

/* Comments may say what they like, but not steer a terminal. */
static bool check_bytes(struct text *t, const char *from, const char *to)
{
	for (; from < to; from++) {
		unsigned char c = (unsigned char)*from;

		if ((c < ' ' && c != '\t') || c == 0x7f)
			return text_fail(t, from,
					 "byte 0x%02x is no text; a scenario is lines of "
					 "printable characters, blanks and tabs",
					 c);
	}
	return true;
}

bool text_next_line(struct text *t)
{
	while (!t->failed && *t->next_line) {
		const char *from = t->next_line, *end = from + strcspn(from, "\n");
		const char *comment;

		t->next_line = *end ? end + 1 : end;
		if (end > from && end[-1] == '\r')
			end--;
		if (!check_bytes(t, from, end))
			return false;
		comment = memchr(from, '#', (size_t)(end - from));
		if (comment)
			end = comment;
		while (end > from && is_blank(end[-1]))
			end--;
		t->at = from;
		t->line_end = end;
		if (text_peek(t).len)
			return true;
	}
	return false;
}

struct token text_peek(const struct text *t)
{
	struct token token = { t->at, 0 };

	while (token.at < t->line_end && is_blank(*token.at))
		token.at++;
	if (token.at < t->line_end && ends_word(*token.at)) {
		token.len = 1;
		return token;
	}
	while (token.at + token.len < t->line_end && !ends_word(token.at[token.len]))
		token.len++;
	return token;
}

struct token text_take(struct text *t)
{
	struct token token = text_peek(t);

	t->at = token.at + token.len;
	return token;
}

struct token text_rest(struct text *t)
{
	struct token token = text_peek(t);

	token.len = (size_t)(t->line_end - token.at);
	t->at = t->line_end;
	return token;
}

bool token_is(struct token token, const char *word)
{
	return strlen(word) == token.len && !memcmp(token.at, word, token.len);
}

const char *token_quote(struct token token, char buf[QUOTE_ROOM])
{
	const size_t most = QUOTE_ROOM - sizeof("'...'");
	size_t len = token.len < most ? token.len : most;

	buf[0] = '\'';
	for (size_t i = 0; i < len; i++)
		buf[i + 1] = token.at[i] >= ' ' && token.at[i] < 0x7f ? token.at[i] : '?';
	strcpy(buf + 1 + len, token.len > most ? "...'" : "'");
	return buf;
}

bool text_accept(struct text *t, const char *word)
{
	if (!token_is(text_peek(t), word))
		return false;
	text_take(t);
	return true;
}

bool text_some(struct text *t, const char *what, const char *usage, struct token *ret)
{
	char quote[QUOTE_ROOM];

	*ret = text_peek(t);
	if (!ret->len)
		return text_fail(t, ret->at, "%s is missing here: %s", what, usage);
	if (token_is(*ret, ",") || token_is(*ret, "="))
		return text_fail(t, ret->at, "%s is missing before %s: %s", what,
				 token_quote(*ret, quote), usage);
	text_take(t);
	return true;
}

bool text_expect(struct text *t, const char *word, const char *usage)
{
	struct token token = text_peek(t);
	char quote[QUOTE_ROOM];

	if (text_accept(t, word))
		return true;
	if (!token.len)
		return text_fail(t, token.at, "'%s' is missing here: %s", word, usage);
	return text_fail(t, token.at, "%s stands where '%s' belongs: %s", token_quote(token, quote),
			 word, usage);
}

bool text_end(struct text *t, const char *usage)
{
	struct token token = text_peek(t);
	char quote[QUOTE_ROOM];

	if (!token.len)
		return true;
	return text_fail(t, token.at, "%s is too much here: %s", token_quote(token, quote), usage);
}
