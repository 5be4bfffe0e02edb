/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * report.c - what was found, said once.
 *
 * A round that mends is followed by another one, which finds what is left again. A finding that
 * comes back has not been mended, whatever was said of it; so it is given out a second time, as
 * not repaired. Findings are told apart by the hash of what is said about them.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "impl.h"

static const struct {
	const char *name;
	enum fsck_class class;
} codes[] = {
#define NOTE FSCK_CLASS_NOTE
#define SAFE FSCK_CLASS_SAFE
#define DAMAGE FSCK_CLASS_DAMAGE
#define FSCK_CODE_ROW(id, name, class) { name, class },
	FSCK_CODES(FSCK_CODE_ROW)
#undef FSCK_CODE_ROW
#undef NOTE
#undef SAFE
#undef DAMAGE
};

const char *fsck_code_name(enum fsck_code code)
{
	return codes[code].name;
}

enum fsck_class fsck_code_class(enum fsck_code code)
{
	return codes[code].class;
}

/* FNV-1a; 0 is kept for "no entry". */
static uint64_t finding_hash(const struct fsck_problem *p)
{
	uint64_t words[3] = { p->code, p->ino, p->blk };
	const unsigned char *bytes = (const unsigned char *)words;
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < sizeof(words); i++)
		hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
	for (const char *c = p->text; *c; c++)
		hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
	return hash ? hash : 1;
}

static size_t seen_slot(const uint64_t *table, size_t space, uint64_t hash)
{
	size_t i = hash & (space - 1);

	while (table[i] && table[i] != hash)
		i = (i + 1) & (space - 1);
	return i;
}

static bool seen_grow(struct fsck *f)
{
	size_t space = f->seen_space ? f->seen_space * 2 : 256;
	uint64_t *table = calloc(space, sizeof(*table));

	if (!table)
		return false;
	for (size_t i = 0; i < f->seen_space; i++)
		if (f->seen[i])
			table[seen_slot(table, space, f->seen[i])] = f->seen[i];
	free(f->seen);
	f->seen = table;
	f->seen_space = space;
	return true;
}

/* Whether it was found before; from now on it was. Without memory everything is new. */
static bool seen_before(struct fsck *f, uint64_t hash)
{
	size_t i;

	if (f->nseen * 2 >= f->seen_space && !seen_grow(f))
		return false;
	i = seen_slot(f->seen, f->seen_space, hash);
	if (f->seen[i])
		return true;
	f->seen[i] = hash;
	f->nseen++;
	return false;
}

static void account(struct fsck *f, const struct fsck_problem *p, bool again)
{
	enum fsck_class class = fsck_code_class(p->code);

	if (!again) {
		f->report->by_code[p->code]++;
		if (class == FSCK_CLASS_NOTE)
			f->report->notes++;
		else
			f->report->problems++;
	}
	if (class != FSCK_CLASS_NOTE)
		f->found++;
	if (class == FSCK_CLASS_DAMAGE)
		f->found_unsafe++;
}

static void give_out(struct fsck *f, struct fsck_problem *p)
{
	bool again;

	if (f->mute) {
		enum fsck_class class = fsck_code_class(p->code);

		f->found += class != FSCK_CLASS_NOTE;
		f->found_unsafe += class == FSCK_CLASS_DAMAGE;
		return;
	}
	again = seen_before(f, finding_hash(p));
	account(f, p, again);
	if (again) {
		if (!f->opt->repair || fsck_code_class(p->code) == FSCK_CLASS_NOTE)
			return;
		p->repaired = false;
	}
	if (f->opt->problem)
		f->opt->problem(f->opt->ctx, p);
}

bool fsck_found(struct fsck *f, enum fsck_code code, uint64_t ino, uint64_t blk, const char *fmt,
		...)
{
	struct fsck_problem p = { .code = code, .ino = ino, .blk = blk };
	va_list args;

	p.repaired = f->repairing && code != FSCK_MEDIA;
	va_start(args, fmt);
	vsnprintf(p.text, sizeof(p.text), fmt, args);
	va_end(args);
	give_out(f, &p);
	return f->repairing;
}

void fsck_failed(struct fsck *f, uint64_t ino, const char *fmt, ...)
{
	struct fsck_problem p = { .code = FSCK_NOT_MENDED, .ino = ino, .blk = FSCK_NOWHERE };
	va_list args;

	va_start(args, fmt);
	vsnprintf(p.text, sizeof(p.text), fmt, args);
	va_end(args);
	give_out(f, &p);
}

int fsck_fatal(struct fsck *f, int err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(f->report->message, sizeof(f->report->message), fmt, args);
	va_end(args);
	return err;
}

void fsck_progress(struct fsck *f, const char *stage, uint64_t done, uint64_t total)
{
	if (f->opt->progress && !f->mute)
		f->opt->progress(f->opt->ctx, stage, done, total);
}
