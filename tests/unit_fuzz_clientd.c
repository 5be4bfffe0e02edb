/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_fuzz_clientd.c - the inputs that a fuzzer found worth keeping (tests/corpus/clientd), and random
 * ones, through the same function that tests/fuzz_clientd.c gives to libFuzzer.
 *
 * Run from the top of the source. UDAX_SEED repeats the random inputs; UDAX_FUZZ_INPUT=FILE tries one;
 * UDAX_FUZZ_SAVE=FILE keeps each random one before it is tried.
 */
#include "bed.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fuzz_clientd.h"

#define MAX_INPUT 4096

static void try_file(const char *path)
{
	uint8_t data[MAX_INPUT];
	FILE *file = fopen(path, "rb");
	size_t size;

	if (!file)
		fail_msg("%s cannot be opened", path);
	size = fread(data, 1, sizeof(data), file);
	fclose(file);
	/* The process may end in there: then this says where. */
	print_message("UDAX_FUZZ_INPUT=%s\n", path);
	fuzz_clientd_one(data, size);
}

static void whatever_was_worth_keeping_does_no_harm(void **state)
{
	const char *one = getenv("UDAX_FUZZ_INPUT");
	glob_t found;

	(void)state;
	if (one) {
		try_file(one);
		return;
	}
	if (glob("tests/corpus/clientd/*", 0, NULL, &found))
		fail_msg("tests/corpus/clientd is not there: run this from the top of the source");
	for (size_t i = 0; i < found.gl_pathc; i++)
		try_file(found.gl_pathv[i]);
	globfree(&found);
}

/* A beginning that gets somewhere, and then anything. */
static void random_conversations_do_no_harm(void **state)
{
	static const uint8_t opening[4][8] = { { 0 }, { 1, 9 }, { 3, 9, 1, 0, 7 }, { 11, 0, 1 } };
	const char *level = getenv("UDAX_TEST_LEVEL"), *save = getenv("UDAX_FUZZ_SAVE");
	unsigned n = level && strcmp(level, "full") == 0 ? 20000 : 500;
	uint64_t seed = bed_seed((uint64_t)time(NULL));

	(void)state;
	for (unsigned i = 0; i < n; i++) {
		uint8_t data[24][8];
		size_t count = sizeof(opening) / 8 + rng_below(&seed, 20);

		memcpy(data, opening, sizeof(opening));
		for (size_t c = sizeof(opening) / 8; c < count; c++) {
			uint64_t word = rng_next(&seed);

			memcpy(data[c], &word, 8);
			if (rng_below(&seed, 8))
				data[c][0] &= 0x0f; /* most are well-formed */
			if (rng_below(&seed, 4))
				data[c][1] = (uint8_t)(data[c][1] & 0xf8) | 1;
		}
		if (save) {
			FILE *file = fopen(save, "wb");

			assert_non_null(file);
			fwrite(data, 8, count, file);
			fclose(file);
		}
		fuzz_clientd_one(data[0], 8 * count);
	}
}

static int teardown(void **state)
{
	(void)state;
	fuzz_clientd_end();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whatever_was_worth_keeping_does_no_harm),
		cmocka_unit_test(random_conversations_do_no_harm),
	};

	return cmocka_run_group_tests_name("unit_fuzz_clientd", tests, NULL, teardown);
}
