/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * scenario_expect.c - what must hold beyond the standing rules:
 *
 *	expect t1.2 = ENOSPC		the second operation of t1 always ends so (0: success)
 *	expect t1.2 reaches ENOSPC	in some interleaving it does
 *	expect a 0b = zero		at the end
 *	expect a 0..1 = t1.2		at the end: what that operation has stored
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "scenario_parser.h"

#define USAGE "expect THREAD.N = ERRNO, THREAD.N reaches ERRNO, or FILE RANGE = zero|THREAD.N"

static const struct {
	const char *name;
	int err;
} errors[] = {
	{ "0", 0 },	      { "EACCES", EACCES },
	{ "EAGAIN", EAGAIN }, { "EBADF", EBADF },
	{ "EBUSY", EBUSY },   { "EFAULT", EFAULT },
	{ "EFBIG", EFBIG },   { "EINTR", EINTR },
	{ "EINVAL", EINVAL }, { "EIO", EIO },
	{ "ENODEV", ENODEV }, { "ENOMEM", ENOMEM },
	{ "ENOSPC", ENOSPC }, { "ENOTCONN", ENOTCONN },
	{ "ENXIO", ENXIO },   { "EOPNOTSUPP", EOPNOTSUPP },
	{ "EPERM", EPERM },   { "EROFS", EROFS },
};

#define NERRORS (sizeof(errors) / sizeof(errors[0]))

static bool parse_error(struct parser *p, int *ret)
{
	char names[256] = "", quote[QUOTE_ROOM];
	struct token token;
	size_t len = 0;

	if (!text_some(&p->t, "a result", USAGE, &token))
		return false;
	for (size_t i = 0; i < NERRORS; i++) {
		if (token_is(token, errors[i].name)) {
			*ret = errors[i].err;
			return true;
		}
		len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s", i ? ", " : "",
					errors[i].name);
	}
	return text_fail(&p->t, token.at, "%s is no result; results are %s",
			 token_quote(token, quote), names);
}

/* "t1.2" */
static bool parse_op_name(struct parser *p, struct token token, unsigned *ret_thread,
			  unsigned *ret_op)
{
	const char *dot = memchr(token.at, '.', token.len);
	struct token name = { token.at, dot ? (size_t)(dot - token.at) : token.len }, number;
	char quote[QUOTE_ROOM], names[SCENARIO_MAX_THREADS * (SCENARIO_NAME + 2)];
	unsigned thread = 0, n;

	while (thread < p->s->nthreads && !token_is(name, p->s->threads[thread].name))
		thread++;
	if (thread == p->s->nthreads)
		return text_fail(&p->t, token.at, "there is no thread %s; threads are %s",
				 token_quote(name, quote),
				 scenario_name_list(p->s->threads[0].name, sizeof(p->s->threads[0]),
						    p->s->nthreads, names, sizeof(names)));
	if (!dot)
		return text_fail(&p->t, token.at, "%s is a thread; its first operation is '%s.1'",
				 token_quote(name, quote), p->s->threads[thread].name);
	if (!p->s->threads[thread].nops)
		return text_fail(&p->t, token.at, "'%s' has no operations",
				 p->s->threads[thread].name);
	number = (struct token){ dot + 1, token.len - name.len - 1 };
	if (!token_number(&p->t, number, "an operation of that thread", 1,
			  p->s->threads[thread].nops, &n))
		return false;
	*ret_thread = thread;
	*ret_op = n - 1;
	return true;
}

static bool add(struct parser *p, const struct scenario_expect *expect, const char *at)
{
	if (p->s->nexpects == SCENARIO_MAX_EXPECTS)
		return text_fail(&p->t, at,
				 "at most %u things can be expected, each cell being one",
				 SCENARIO_MAX_EXPECTS);
	p->s->expects[p->s->nexpects++] = *expect;
	return true;
}

static bool parse_result(struct parser *p, struct token token)
{
	struct scenario_expect expect = { .kind = EXPECT_REACHED, .line = text_line(&p->t) };
	enum op_kind kind;

	if (!parse_op_name(p, token, &expect.thread, &expect.op))
		return false;
	kind = p->s->threads[expect.thread].ops[expect.op].kind;
	if (kind == OP_CRASH || kind == OP_SYNC)
		return text_fail(&p->t, token.at, "'%s' has no result", scenario_op_name(kind));
	if (!text_accept(&p->t, "reaches")) {
		expect.kind = EXPECT_RESULT;
		if (!text_expect(&p->t, "=", USAGE))
			return false;
	}
	return parse_error(p, &expect.err) && text_end(&p->t, USAGE) && add(p, &expect, token.at);
}

static bool parse_stored(struct parser *p, struct token token, struct scenario_expect *expect)
{
	const struct scenario_op *op;

	if (!parse_op_name(p, token, &expect->thread, &expect->op))
		return false;
	op = &p->s->threads[expect->thread].ops[expect->op];
	if (op->kind != OP_STORE && op->kind != OP_WRITE && op->kind != OP_APPEND)
		return text_fail(&p->t, token.at,
				 "'%s' stores nothing of its own; 'store', 'write' and 'append' do",
				 op->text);
	return true;
}

static bool parse_content(struct parser *p)
{
	struct scenario_expect expect = { .kind = EXPECT_CONTENT, .line = text_line(&p->t) };
	struct token range, value;
	unsigned first, end;

	if (!parse_file(p, USAGE, &expect.file) || !text_some(&p->t, "a range", USAGE, &range) ||
	    !token_cells(&p->t, range, &first, &end) || !text_expect(&p->t, "=", USAGE) ||
	    !text_some(&p->t, "'zero' or THREAD.N", USAGE, &value))
		return false;
	expect.zero = token_is(value, "zero");
	if (!expect.zero && !parse_stored(p, value, &expect))
		return false;
	for (expect.cell = first; expect.cell < end; expect.cell++)
		if (!add(p, &expect, range.at))
			return false;
	return text_end(&p->t, USAGE);
}

bool parse_expect(struct parser *p)
{
	struct token token = text_peek(&p->t);

	if (!memchr(token.at, '.', token.len))
		return parse_content(p);
	text_take(&p->t);
	return parse_result(p, token);
}
