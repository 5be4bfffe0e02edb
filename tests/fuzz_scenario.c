/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fuzz_scenario.c - any text, through scenario_parse(), for libFuzzer. Built when UDAX_SANITIZE contains
 * fuzzer-no-link; the scenarios that are shipped are a good corpus to begin with:
 *
 *	tests/fuzz_scenario -max_len=2000 CORPUS scenarios
 *
 * What is accepted must be within the bounds that the lab relies on; what is refused has a message.
 */
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scenario.h"

#define REQUIRE(condition)                                                                         \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "not so: %s\n", #condition);                               \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

#define MAX_CELLS (SCENARIO_MAX_PAGES * PAGE_CELLS)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_op(const struct scenario *s, const struct scenario_op *op)
{
	REQUIRE(op->kind < OP_NR_KINDS && op->line > 0 && op->text[0]);
	REQUIRE(memchr(op->text, '\0', sizeof(op->text)));
	REQUIRE(op->file < s->nfiles || !op->file);
	REQUIRE(op->other_file < s->nfiles || !op->other_file);
	REQUIRE(op->process < s->nprocesses);
	REQUIRE(op->first <= MAX_CELLS && op->end <= MAX_CELLS);
	REQUIRE(op->other_first + (op->end - op->first) <= MAX_CELLS || op->first >= op->end);
	REQUIRE(op->end > op->first || (op->kind != OP_LOAD && op->kind != OP_PUNCH));
}

static void check(const struct scenario *s)
{
	REQUIRE(s->title[0] && memchr(s->title, '\0', sizeof(s->title)));
	REQUIRE(s->nthreads > 0 && s->nthreads <= SCENARIO_MAX_THREADS);
	REQUIRE(s->nfiles <= SCENARIO_MAX_FILES && s->nprocesses <= SCENARIO_MAX_PROCESSES);
	REQUIRE(s->nexpects <= SCENARIO_MAX_EXPECTS && s->nraces <= SCENARIO_MAX_RACES);
	REQUIRE(s->volume_bytes >= 256 << 10 && s->volume_bytes <= 64 << 20);
	REQUIRE(s->nworkers > 0);
	for (unsigned i = 0; i < s->nfiles; i++) {
		REQUIRE(s->files[i].name[0] && s->files[i].size_cells <= MAX_CELLS);
		REQUIRE(memchr(s->files[i].name, '\0', SCENARIO_NAME));
	}
	for (unsigned i = 0; i < s->nthreads; i++) {
		REQUIRE(s->threads[i].nops > 0 && s->threads[i].nops <= SCENARIO_MAX_OPS);
		REQUIRE(s->threads[i].process < s->nprocesses);
		for (unsigned j = 0; j < s->threads[i].nops; j++)
			check_op(s, &s->threads[i].ops[j]);
	}
	for (unsigned i = 0; i < s->nexpects; i++) {
		const struct scenario_expect *e = &s->expects[i];

		REQUIRE(e->thread < s->nthreads || !e->thread);
		REQUIRE(e->op < s->threads[e->thread].nops && e->cell < MAX_CELLS);
		REQUIRE(e->kind != EXPECT_CONTENT || e->file < s->nfiles);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), err[600] = "";
	struct scenario *s;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	s = scenario_parse("fuzz", text, err, sizeof(err));
	if (s)
		check(s);
	else
		REQUIRE(!strncmp(err, "fuzz:", 5));
	free(s);
	free(text);
	return 0;
}
