/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * crash_fsck.c - the power fails while damage is being mended.
 *
 * For each kind of damage the checker mends a recorder region, and at each of its fences the images
 * are made that a crash may leave: with all that was stored since the fence before, with none of
 * it, and with single lines of it lost. Mending each of those has to come to an end too: nothing
 * is left, and a second run finds nothing. Where the damage costs nothing, the crash costs nothing
 * either.
 *
 * Of the lines the first two are lost, and three chosen at random; each one if UDAX_TEST_LEVEL is
 * "full". UDAX_SEED repeats a run.
 */
#include "fsck_damage.h"

#include "bed.h"
#include "crash.h"
#include "mem.h"
#include "region.h"
#include "sync.h"
#include "volume.h"

static struct image image;
static struct view sound; /* what is visible in it */

struct crasher {
	const struct damage *damage;
	struct region *crashed;
	unsigned char *bytes;
	uint64_t seed;
	unsigned fence, images;
	bool all_lines;
};

struct said {
	char text[2048];
};

static void note_problem(void *ctx, const struct fsck_problem *problem)
{
	struct said *said = ctx;
	size_t n = strlen(said->text);

	snprintf(said->text + n, sizeof(said->text) - n, "  %s: %s\n",
		 fsck_code_name(problem->code), problem->text);
}

static void view_of(struct region *region, struct view *ret)
{
	struct volume_env env = { .sync = sync_pthread_new(NULL), .mem = mem_heap() };
	struct volume *vol;
	char err[256];

	if (volume_mount(region, &env, &vol, err, sizeof(err)))
		fail_msg("mount: %s", err);
	view_take(vol, ret);
	volume_unmount(vol);
	sync_delete(env.sync);
}

static void assert_same_view(const struct crasher *c, const char *where)
{
	struct view view;

	view_of(c->crashed, &view);
	if (view.len != sound.len || memcmp(view.text, sound.text, view.len) != 0)
		fail_msg("%s: %s: something was lost", c->damage->name, where);
	view_free(&view);
}

static void mend_crashed(struct crasher *c, size_t skip)
{
	struct said said = { "" };
	struct fsck_options opt = { .repair = FSCK_REPAIR_ALL,
				    .problem = note_problem,
				    .ctx = &said };
	struct fsck_report report;
	char where[80], why[256];
	int err;

	snprintf(where, sizeof(where), "fence %u, without line %zd", c->fence, (ssize_t)skip);
	region_record_reset(c->crashed, c->bytes);
	err = fsck_check(c->crashed, &opt, &report);
	if (err || report.left)
		fail_msg("%s: %s: %d %s, %llu left\n%s", c->damage->name, where, err,
			 report.message, (unsigned long long)report.left, said.text);
	if (report.pending && fsck_recover(c->crashed, why, sizeof(why)))
		fail_msg("%s: %s: recovery: %s", c->damage->name, where, why);
	opt.repair = FSCK_REPAIR_NONE;
	said = (struct said){ "" };
	err = fsck_check(c->crashed, &opt, &report);
	if (err || report.problems || report.notes)
		fail_msg("%s: %s: a second run finds: %d\n%s", c->damage->name, where, err,
			 said.text);
	if (c->damage->keeps)
		assert_same_view(c, where);
	c->images++;
}

static void on_drain(void *ctx, struct region *region)
{
	struct crasher *c = ctx;
	size_t n = region_record_nr_pending(region);

	c->fence++;
	if (!n)
		return;
	memcpy(c->bytes, region_record_durable(region), IMAGE_BYTES);
	mend_crashed(c, SIZE_MAX - 1);
	region_record_crash_image(region, SIZE_MAX, c->bytes);
	mend_crashed(c, SIZE_MAX);
	for (size_t i = 0; i < n && (c->all_lines || i < 5); i++) {
		size_t skip = c->all_lines || i < 2 ? i : rng_below(&c->seed, n);

		region_record_crash_image(region, skip, c->bytes);
		mend_crashed(c, skip);
	}
}

static void a_crash_while_mending_does_no_harm(void **state)
{
	const struct damage *damage = *state;
	const char *level = getenv("UDAX_TEST_LEVEL");
	struct crasher c = { .damage = damage, .all_lines = level && strcmp(level, "full") == 0 };
	struct fsck_options opt = { .repair = FSCK_REPAIR_ALL };
	unsigned char *damaged = malloc(IMAGE_BYTES);
	struct fsck_report report;
	struct region *region;

	c.seed = bed_seed(7);
	c.bytes = malloc(IMAGE_BYTES);
	assert_non_null(damaged);
	assert_non_null(c.bytes);
	memcpy(damaged, image.bytes, IMAGE_BYTES);
	damage_do(damage, &image, damaged);
	region = region_record_new(damaged, IMAGE_BYTES, BLOCK_BYTES);
	c.crashed = region_record_new(damaged, IMAGE_BYTES, BLOCK_BYTES);
	region_record_on_drain(region, on_drain, &c);
	assert_int_equal(fsck_check(region, &opt, &report), 0);
	assert_int_equal(report.left, 0);
	assert_true(c.images > 0);
	print_message("%u fences, %u images\n", c.fence, c.images);
	region_close(region);
	region_close(c.crashed);
	free(damaged);
	free(c.bytes);
}

#define MAX_TESTS 200

int main(int argc, char **argv)
{
	struct CMUnitTest tests[MAX_TESTS];
	struct region *region;
	size_t n = 0;
	int failed;

	image_make(&image);
	region = region_record_new(image.bytes, IMAGE_BYTES, BLOCK_BYTES);
	view_of(region, &sound);
	region_close(region);
	for (size_t i = 0; i < nr_damages && n < MAX_TESTS; i++)
		if (argc < 2 || strstr(damages[i].name, argv[1]))
			tests[n++] = (struct CMUnitTest){
				.name = damages[i].name,
				.test_func = a_crash_while_mending_does_no_harm,
				.initial_state = (void *)(uintptr_t)&damages[i]
			};
	failed = _cmocka_run_group_tests("crash_fsck", tests, n, NULL, NULL);
	view_free(&sound);
	image_free(&image);
	return failed;
}
