/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_fuzz_image.c - the inputs that a fuzzer found worth keeping (tests/corpus/image), and random
 * ones, through the same function that tests/fuzz_image.c gives to libFuzzer.
 *
 * Run from the top of the source. UDAX_SEED repeats the random inputs; UDAX_FUZZ_INPUT=FILE tries
 * one; UDAX_FUZZ_SAVE=FILE keeps each random one before it is tried.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <glob.h>
#include <time.h>

#include "bed.h"
#include "fuzz_image.h"

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
	fuzz_image_one(data, size);
}

static void the_corpus_is_handled(void **state)
{
	const char *one = getenv("UDAX_FUZZ_INPUT");
	glob_t found;

	(void)state;
	if (one) {
		try_file(one);
		return;
	}
	if (glob("tests/corpus/image/*", 0, NULL, &found))
		fail_msg("tests/corpus/image is not there: run this from the top of the source");
	for (size_t i = 0; i < found.gl_pathc; i++)
		try_file(found.gl_pathv[i]);
	globfree(&found);
}

static void random_damage_is_handled(void **state)
{
	const char *level = getenv("UDAX_TEST_LEVEL");
	unsigned n = level && strcmp(level, "full") == 0 ? 20000 : 500;
	uint64_t seed = bed_seed((uint64_t)time(NULL));

	(void)state;
	for (unsigned i = 0; i < n; i++) {
		uint64_t words[6];
		size_t count = 1 + rng_below(&seed, 6);

		for (size_t w = 0; w < count; w++)
			words[w] = rng_next(&seed) | (rng_below(&seed, 4) ? 0x80000000u : 0);
		/* The process may end in there: then this is what to repeat. */
		if (getenv("UDAX_FUZZ_SAVE")) {
			FILE *file = fopen(getenv("UDAX_FUZZ_SAVE"), "wb");

			assert_non_null(file);
			fwrite(words, sizeof(words[0]), count, file);
			fclose(file);
		}
		fuzz_image_one((const uint8_t *)words, count * sizeof(words[0]));
	}
}

static int teardown(void **state)
{
	(void)state;
	fuzz_image_end();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_corpus_is_handled),
		cmocka_unit_test(random_damage_is_handled),
	};

	return cmocka_run_group_tests_name("unit_fuzz_image", tests, NULL, teardown);
}
