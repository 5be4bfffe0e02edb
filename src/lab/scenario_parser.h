/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * scenario_parser.h - what the parts of the parser share: the text, the scenario so far, and where in
 * the text its operations stand.
 *
 *	scenario.c		lines: title, file, process, thread, ...
 *	scenario_operation.c	operations of a thread
 *	scenario_expect.c	what must hold beyond the standing rules
 *	scenario_check.c	what no line shows by itself
 *	scenario_text.c, scenario_place.c	words, numbers, places
 *
 * Everything is declared before it is used, so each line is judged when it is read. Functions return
 * false after the first error, which text_fail() has recorded.
 */
#ifndef UDAX_LAB_SCENARIO_PARSER_H
#define UDAX_LAB_SCENARIO_PARSER_H

#include "scenario.h"
#include "scenario_text.h"

struct parser {
	struct text t;
	struct scenario *s;
	bool in_thread; /* the last one: operations are its */
	unsigned seen;	/* lines that may stand once only, by their place in the table */
	/* Words of operations, for errors that turn up later: the operation, and the file in it. */
	struct token op_at[SCENARIO_MAX_THREADS][SCENARIO_MAX_OPS];
	struct token file_at[SCENARIO_MAX_THREADS][SCENARIO_MAX_OPS];
	struct token thread_at[SCENARIO_MAX_THREADS];
};

/** The next word is a name that was declared: its index. */
bool parse_file(struct parser *p, const char *usage, unsigned *ret);
bool parse_process(struct parser *p, const char *usage, unsigned *ret);

/** scenario_name_list - "a, b" of @n names @stride bytes apart, or "none"; in @buf. */
const char *scenario_name_list(const char *first, size_t stride, unsigned n, char *buf, size_t len);

/** parse_operation - the line is one of the last thread's. */
bool parse_operation(struct parser *p);

/** parse_expect - the line behind "expect". */
bool parse_expect(struct parser *p);

/** check_scenario - the text is read: does it fit together? */
bool check_scenario(struct parser *p);

#endif
