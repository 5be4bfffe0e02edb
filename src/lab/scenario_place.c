/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * scenario_place.c - numbers, places and sizes in the text of a scenario. Pages are counted, halves
 * have letters: "1" is page 1, "1a" its first half, "0b..1" from the second half of page 0 to the
 * end of page 1. A size is a number of pages and may end in ".5". See scenario_text.h.
 */
#include "scenario_text.h"

#include <string.h>

#include "scenario.h"

#define MAX_DIGITS 9 /* so that no number overflows */

static size_t count_digits(struct token token)
{
	size_t n = 0;

	while (n < token.len && token.at[n] >= '0' && token.at[n] <= '9')
		n++;
	return n;
}

static unsigned digits_value(const char *at, size_t n)
{
	unsigned value = 0;

	for (size_t i = 0; i < n; i++)
		value = value * 10 + (unsigned)(at[i] - '0');
	return value;
}

bool token_number(struct text *t, struct token token, const char *what, unsigned min, unsigned max,
		  unsigned *ret)
{
	size_t n = count_digits(token);
	char quote[QUOTE_ROOM];
	unsigned value;

	if (!n || n != token.len || (n > 1 && token.at[0] == '0'))
		return text_fail(t, token.at, "%s is no number; %s is %u to %u",
				 token_quote(token, quote), what, min, max);
	value = n > MAX_DIGITS ? 0 : digits_value(token.at, n);
	if (n > MAX_DIGITS || value < min || value > max)
		return text_fail(t, token.at, "%s is %u to %u, and %s is not", what, min, max,
				 token_quote(token, quote));
	*ret = value;
	return true;
}

/* "1", "1a", "1b": cells [*first, *end). */
static bool place(struct text *t, struct token token, unsigned *first, unsigned *end)
{
	struct token digits = { token.at, count_digits(token) };
	char quote[QUOTE_ROOM], half = 0;
	unsigned page;

	if (digits.len && digits.len + 1 == token.len)
		half = token.at[digits.len];
	if (!digits.len || (digits.len < token.len && half != 'a' && half != 'b'))
		return text_fail(
			t, token.at,
			"%s is no place in a file; write a page (1), half of one (1a, 1b), "
			"or a range (0..2, 0b..1)",
			token_quote(token, quote));
	if (!token_number(t, digits, "a page", 0, SCENARIO_MAX_PAGES - 1, &page))
		return false;
	*first = page * PAGE_CELLS + (half == 'b');
	*end = (page + 1) * PAGE_CELLS - (half == 'a');
	return true;
}

bool token_cells(struct text *t, struct token token, unsigned *first, unsigned *end)
{
	const char *dots = memmem(token.at, token.len, "..", 2);
	struct token left = token, right;
	unsigned from, to, ignored;

	if (!dots)
		return place(t, token, first, end);
	left.len = (size_t)(dots - token.at);
	right = (struct token){ dots + 2, token.len - left.len - 2 };
	if (!place(t, left, &from, &ignored) || !place(t, right, &ignored, &to))
		return false;
	if (to <= from)
		return text_fail(t, right.at, "a range cannot end (%.*s) before it begins (%.*s)",
				 (int)right.len, right.at, (int)left.len, left.at);
	*first = from;
	*end = to;
	return true;
}

bool token_pages(struct text *t, struct token token, unsigned *first, unsigned *end)
{
	unsigned from, to;
	char quote[QUOTE_ROOM];

	if (!token_cells(t, token, &from, &to))
		return false;
	if (from % PAGE_CELLS || to % PAGE_CELLS)
		return text_fail(t, token.at,
				 "%s has half a page; only whole pages are possible here (1, 0..2)",
				 token_quote(token, quote));
	*first = from;
	*end = to;
	return true;
}

bool token_size(struct text *t, struct token token, unsigned *ret_cells)
{
	struct token pages = token;
	char quote[QUOTE_ROOM];
	unsigned n, half = 0;

	if (token.len > 2 && !memcmp(token.at + token.len - 2, ".5", 2)) {
		half = 1;
		pages.len -= 2;
	}
	if (!count_digits(pages) || count_digits(pages) != pages.len)
		return text_fail(t, token.at,
				 "%s is no size; write a number of pages, or of pages and a half "
				 "(0, 3, 1.5)",
				 token_quote(token, quote));
	if (!token_number(t, pages, "a size in pages", 0, SCENARIO_MAX_PAGES, &n))
		return false;
	if (n * PAGE_CELLS + half > SCENARIO_MAX_PAGES * PAGE_CELLS)
		return text_fail(t, token.at, "a file has at most %u pages", SCENARIO_MAX_PAGES);
	*ret_cells = n * PAGE_CELLS + half;
	return true;
}
