/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_fsck_bytes.c - every byte of metadata is damaged, one after the other. The checker names
 * something, mends it, and then finds nothing; and the core can mount what is left.
 *
 * All of them take an hour, so some are chosen, others in each run, more if UDAX_TEST_LEVEL is
 * "full"; UDAX_BYTES=all takes all. The seed is printed, and UDAX_SEED repeats it. UDAX_BYTE tries
 * one byte only.
 *
 * What a checksum does not cover (docs/FORMAT.md has the list) is damaged too: there nothing needs
 * to be named, but nothing may go wrong either.
 */
#include "fsck_image.h"

#include <time.h>

#include "bed.h"
#include "region.h"

static struct image image;
static struct region *region;

struct found {
	uint64_t problems;
	char text[2048];
};

static void note_problem(void *ctx, const struct fsck_problem *problem)
{
	struct found *found = ctx;
	size_t n = strlen(found->text);

	snprintf(found->text + n, sizeof(found->text) - n, "  %s: %s\n",
		 fsck_code_name(problem->code), problem->text);
}

static void check(enum fsck_repair repair, struct found *found, struct fsck_report *report)
{
	struct fsck_options opt = { .repair = repair, .problem = note_problem, .ctx = found };
	int err;

	*found = (struct found){ 0 };
	err = fsck_check(region, &opt, report);
	if (err)
		fail_msg("the checker gives up: %d %s\n%s", err, report->message, found->text);
	found->problems = report->problems;
}

/* Damage one byte. @covered: that has to be noticed. */
static void try_byte(uint64_t off, unsigned char how, bool covered, bool mount)
{
	unsigned char *bytes = image.bytes, old = bytes[off];
	struct fsck_report report;
	struct found first, found;
	char why[256];

	bytes[off] ^= how;
	region_record_reset(region, bytes);
	bytes[off] = old;
	check(FSCK_REPAIR_NONE, &first, &report);
	if (covered && !first.problems)
		fail_msg("byte %llu (block %llu, byte %llu in it) ^ 0x%02x: not noticed",
			 (unsigned long long)off, (unsigned long long)(off >> BLOCK_SHIFT),
			 (unsigned long long)(off % BLOCK_BYTES), how);
	check(FSCK_REPAIR_ALL, &found, &report);
	if (report.left)
		fail_msg("byte %llu ^ 0x%02x: not mended:\n%s", (unsigned long long)off, how,
			 found.text);
	if (report.pending && fsck_recover(region, why, sizeof(why)))
		fail_msg("byte %llu ^ 0x%02x: no recovery: %s", (unsigned long long)off, how, why);
	check(FSCK_REPAIR_NONE, &found, &report);
	if (report.problems || report.notes)
		fail_msg("byte %llu ^ 0x%02x: after mending:\n%s", (unsigned long long)off, how,
			 found.text);
	if (mount)
		image_walk(region);
}

static unsigned choose_stride(unsigned quick, unsigned full, unsigned all)
{
	const char *level = getenv("UDAX_TEST_LEVEL"), *bytes = getenv("UDAX_BYTES");

	if (bytes && strcmp(bytes, "all") == 0)
		return all;
	return level && strcmp(level, "full") == 0 ? full : quick;
}

/* Damage some bytes of every block for which @covered is what image_is_metadata() says. */
static unsigned try_blocks(bool covered, unsigned stride)
{
	uint64_t seed = bed_seed(time(NULL) & 0xffff);
	unsigned n = 0;

	for (uint64_t blk = 0; blk < IMAGE_BLOCKS; blk++) {
		uint32_t len = image_is_metadata(image.bytes, blk);

		if ((len != 0) != covered)
			continue;
		for (uint64_t at = rng_below(&seed, stride); at < BLOCK_BYTES;
		     at += 1 + rng_below(&seed, 2 * (uint64_t)stride - 1)) {
			unsigned char how = (unsigned char)(1 + rng_below(&seed, 255));

			try_byte((blk << BLOCK_SHIFT) + at, how, covered, n % 16 == 0);
			n++;
		}
	}
	return n;
}

static void each_damaged_byte_is_noticed_and_mended(void **state)
{
	const char *byte = getenv("UDAX_BYTE"), *how = getenv("UDAX_HOW");

	(void)state;
	if (byte) {
		try_byte(strtoull(byte, NULL, 0), (unsigned char)(how ? strtoul(how, NULL, 0) : 16),
			 true, true);
		return;
	}
	print_message("%u bytes damaged\n", try_blocks(true, choose_stride(400, 20, 1)));
}

static void a_damaged_byte_elsewhere_does_no_harm(void **state)
{
	(void)state;
	print_message("%u bytes damaged\n", try_blocks(false, choose_stride(20000, 2000, 300)));
}

static int setup(void **state)
{
	(void)state;
	image_make(&image);
	region = region_record_new(image.bytes, IMAGE_BYTES, BLOCK_BYTES);
	return region ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	region_close(region);
	image_free(&image);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_damaged_byte_is_noticed_and_mended),
		cmocka_unit_test(a_damaged_byte_elsewhere_does_no_harm),
	};

	return cmocka_run_group_tests_name("unit_fsck_bytes", tests, setup, teardown);
}
