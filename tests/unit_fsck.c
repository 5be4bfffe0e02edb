/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_fsck.c - each kind of damage is done to a populated image, and has to be named, mended, and
 * gone: a second run finds nothing, and the core can mount the volume and read all of it.
 *
 * Where the damage is in what a structure says, its checksum is made right again; where it is to
 * the checksum, a byte is flipped.
 */
#include "fsck_damage.h"

#include "crash.h"
#include "inode.h"
#include "layout.h"
#include "mem.h"
#include "namespace.h"
#include "region.h"
#include "sync.h"
#include "volume.h"

static struct image image;

/* ---- running the checker --------------------------------------------------------------------- */

struct run {
	struct fsck_report report;
	char said[4096]; /* what was found, for a failing test */
};

static void note_problem(void *ctx, const struct fsck_problem *problem)
{
	struct run *run = ctx;
	size_t n = strlen(run->said);

	snprintf(run->said + n, sizeof(run->said) - n, "  %s%s: %s\n",
		 fsck_code_name(problem->code), problem->repaired ? " (repaired)" : "",
		 problem->text);
}

static int check(struct region *region, enum fsck_repair repair, struct run *run)
{
	struct fsck_options opt = { .repair = repair, .problem = note_problem, .ctx = run };

	*run = (struct run){ 0 };
	return fsck_check(region, &opt, &run->report);
}

static void assert_nothing(struct region *region, const char *when)
{
	struct run run;
	int err = check(region, FSCK_REPAIR_NONE, &run);

	if (err || run.report.problems || run.report.notes)
		fail_msg("%s the checker says %d %s\n%s", when, err, run.report.message, run.said);
}

/* Everything is mended, stays so, and is to the core's liking. */
static void assert_mended(struct region *region)
{
	char why[256];
	struct run run;
	int err = check(region, FSCK_REPAIR_ALL, &run);

	if (err || run.report.left)
		fail_msg("mending: %d %s, %llu left\n%s", err, run.report.message,
			 (unsigned long long)run.report.left, run.said);
	if (run.report.pending && fsck_recover(region, why, sizeof(why)))
		fail_msg("recovery: %s", why);
	assert_nothing(region, "after mending");
	image_walk(region);
	assert_nothing(region, "after a mount");
}

static struct region *region_of_image(void)
{
	struct region *region = region_record_new(image.bytes, IMAGE_BYTES, BLOCK_BYTES);

	assert_non_null(region);
	return region;
}

static void view_of(struct region *region, struct view *ret)
{
	struct volume_env env = { .sync = sync_pthread_new(NULL), .mem = mem_heap() };
	struct volume *vol;
	char err[256];

	assert_int_equal(volume_mount(region, &env, &vol, err, sizeof(err)), 0);
	view_take(vol, ret);
	volume_unmount(vol);
	sync_delete(env.sync);
}

/* Every name, attribute and byte is what it was before the damage. */
static void assert_nothing_lost(struct region *region)
{
	struct region *sound = region_of_image();
	struct view before, after;

	view_of(sound, &before);
	view_of(region, &after);
	assert_int_equal(after.len, before.len);
	assert_memory_equal(after.text, before.text, before.len);
	view_free(&before);
	view_free(&after);
	region_close(sound);
}

static void damage_is_named_and_mended(void **state)
{
	const struct damage *damage = *state;
	unsigned char *bytes = malloc(IMAGE_BYTES);
	struct region *region;
	struct run run;
	int err;

	assert_non_null(bytes);
	memcpy(bytes, image.bytes, IMAGE_BYTES);
	damage_do(damage, &image, bytes);
	region = region_record_new(bytes, IMAGE_BYTES, BLOCK_BYTES);
	err = check(region, FSCK_REPAIR_NONE, &run);
	assert_int_equal(err, 0);
	if (!run.report.by_code[damage->code])
		fail_msg("not named %s:\n%s", fsck_code_name(damage->code), run.said);
	assert_int_equal(run.report.left, run.report.problems);
	assert_memory_equal(region_ptr(region, 0, IMAGE_BYTES), bytes, IMAGE_BYTES);
	assert_mended(region);
	if (damage->keeps)
		assert_nothing_lost(region);
	region_close(region);
	free(bytes);
}

static void a_sound_image_has_no_findings(void **state)
{
	struct region *region = region_of_image();

	(void)state;
	assert_nothing(region, "on a sound image");
	region_close(region);
}

#define MAX_TESTS 200

int main(int argc, char **argv)
{
	struct CMUnitTest tests[MAX_TESTS];
	size_t n = 0;
	int failed;

	image_make(&image);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(a_sound_image_has_no_findings);
	for (size_t i = 0; i < nr_damages; i++)
		if (argc < 2 || strstr(damages[i].name, argv[1]))
			tests[n++] = (struct CMUnitTest){ .name = damages[i].name,
							  .test_func = damage_is_named_and_mended,
							  .initial_state =
								  (void *)(uintptr_t)&damages[i] };
	failed = _cmocka_run_group_tests("unit_fsck", tests, n, NULL, NULL);
	image_free(&image);
	return failed;
}
