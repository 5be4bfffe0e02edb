/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_fsck_modes.c - what the checker does besides finding damage: replays without writing, waits
 * with what is pending, mends only what is safe, refuses what it cannot know, gets along with bad
 * media and full volumes, and puts what is lost where it can be found.
 */
#include "fsck_damage.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "inode.h"
#include "mem.h"
#include "namespace.h"
#include "region.h"
#include "sync.h"
#include "volume.h"

static struct image image;

struct fixture {
	struct region *region;
	struct sync *sync;
	struct volume *vol;
	struct fsck_report report;
	char said[4096];
	unsigned steps; /* of progress */
};

static void note_problem(void *ctx, const struct fsck_problem *problem)
{
	struct fixture *fx = ctx;
	size_t n = strlen(fx->said);

	snprintf(fx->said + n, sizeof(fx->said) - n, "  %s: %s\n", fsck_code_name(problem->code),
		 problem->text);
}

static void note_progress(void *ctx, const char *stage, uint64_t done, uint64_t total)
{
	struct fixture *fx = ctx;

	assert_true(*stage && done <= total);
	fx->steps++;
}

static int check_on(struct fixture *fx, struct region *region, enum fsck_repair repair,
		    enum fsck_pending pending)
{
	struct fsck_options opt = { .repair = repair,
				    .pending = pending,
				    .problem = note_problem,
				    .progress = note_progress,
				    .ctx = fx };

	fx->said[0] = '\0';
	return fsck_check(region, &opt, &fx->report);
}

static int check(struct fixture *fx, enum fsck_repair repair)
{
	return check_on(fx, fx->region, repair, FSCK_PENDING_NOTE);
}

static void assert_nothing(struct fixture *fx)
{
	int err = check(fx, FSCK_REPAIR_NONE);

	if (err || fx->report.problems || fx->report.notes)
		fail_msg("%d %s\n%s", err, fx->report.message, fx->said);
}

static void assert_mended(struct fixture *fx)
{
	int err = check(fx, FSCK_REPAIR_ALL);

	if (err || fx->report.left)
		fail_msg("%d %s\n%s", err, fx->report.message, fx->said);
	assert_nothing(fx);
}

static void mount(struct fixture *fx)
{
	struct volume_env env = { .sync = fx->sync, .mem = mem_heap() };
	char err[256];

	if (volume_mount(fx->region, &env, &fx->vol, err, sizeof(err)))
		fail_msg("mount: %s", err);
}

static void unmount(struct fixture *fx)
{
	volume_unmount(fx->vol);
	fx->vol = NULL;
}

static struct inode *lookup(struct fixture *fx, const char *dir, const char *name)
{
	struct inode *at, *next;

	assert_int_equal(inode_get(fx->vol, ROOT_INO, &at), 0);
	if (dir) {
		assert_int_equal(ns_lookup(at, dir, strlen(dir), &next), 0);
		inode_put(at);
		at = next;
	}
	if (ns_lookup(at, name, strlen(name), &next))
		next = NULL;
	inode_put(at);
	return next;
}

static int setup(void **state)
{
	struct fixture *fx = calloc(1, sizeof(*fx));

	assert_non_null(fx);
	fx->region = region_record_new(image.bytes, IMAGE_BYTES, BLOCK_BYTES);
	fx->sync = sync_pthread_new(NULL);
	assert_non_null(fx->region);
	assert_non_null(fx->sync);
	*state = fx;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fx = *state;

	if (fx->vol)
		volume_abandon(fx->vol);
	region_close(fx->region);
	sync_delete(fx->sync);
	free(fx);
	return 0;
}

/* Change the image before it becomes the region. */
static void do_damage(struct fixture *fx, const char *name)
{
	unsigned char *bytes = malloc(IMAGE_BYTES);

	assert_non_null(bytes);
	memcpy(bytes, region_ptr(fx->region, 0, IMAGE_BYTES), IMAGE_BYTES);
	for (size_t i = 0; i < nr_damages; i++)
		if (strcmp(damages[i].name, name) == 0)
			damage_do(&damages[i], &image, bytes);
	assert_memory_not_equal(bytes, region_ptr(fx->region, 0, IMAGE_BYTES), IMAGE_BYTES);
	region_record_reset(fx->region, bytes);
	free(bytes);
}

/* ---- a crash, nothing worse ------------------------------------------------------------------ */

/* What a crash at the @fence-th fence of creating a directory leaves. */
struct crash {
	unsigned char *bytes;
	unsigned fence, want;
};

static void on_drain(void *ctx, struct region *region)
{
	struct crash *crash = ctx;

	if (crash->fence++ == crash->want)
		region_record_crash_image(region, SIZE_MAX, crash->bytes);
}

/* Leaves fx->region as after the crash. False: there are fewer fences. */
static bool crash_at(struct fixture *fx, unsigned fence)
{
	struct cred cred = { 0 };
	struct crash crash = { .bytes = malloc(IMAGE_BYTES), .want = fence };
	struct inode *root, *inode;

	assert_non_null(crash.bytes);
	region_record_reset(fx->region, image.bytes);
	mount(fx);
	assert_int_equal(inode_get(fx->vol, ROOT_INO, &root), 0);
	region_record_on_drain(fx->region, on_drain, &crash);
	assert_int_equal(ns_create(root, "new", 3, S_IFDIR | 0755, &cred, 0, 0, &inode), 0);
	region_record_on_drain(fx->region, NULL, NULL);
	inode_put(inode);
	inode_put(root);
	volume_abandon(fx->vol);
	fx->vol = NULL;
	if (crash.fence > fence)
		region_record_reset(fx->region, crash.bytes);
	free(crash.bytes);
	return crash.fence > fence;
}

static void a_crash_is_no_damage_and_a_check_writes_nothing(void **state)
{
	struct fixture *fx = *state;
	unsigned char *before = malloc(IMAGE_BYTES);
	unsigned fence, replays = 0;

	assert_non_null(before);
	for (fence = 0; crash_at(fx, fence); fence++) {
		memcpy(before, region_ptr(fx->region, 0, IMAGE_BYTES), IMAGE_BYTES);
		assert_int_equal(check(fx, FSCK_REPAIR_NONE), 0);
		if (fx->report.problems)
			fail_msg("fence %u:\n%s", fence, fx->said);
		assert_true(fx->report.by_code[FSCK_NOT_CLEAN]);
		assert_false(fx->report.stored);
		replays += fx->report.by_code[FSCK_REPLAY] != 0;
		assert_memory_equal(before, region_ptr(fx->region, 0, IMAGE_BYTES), IMAGE_BYTES);
		assert_mended(fx);
		image_walk(fx->region);
	}
	assert_true(fence >= 3);
	assert_true(replays >= 1);
	free(before);
}

static void a_read_only_file_is_checked_as_after_the_replay(void **state)
{
	struct fixture *fx = *state;
	char path[] = "/tmp/unit_fsck_XXXXXX", err[256];
	int fd = mkstemp(path);
	struct region *region;
	unsigned fence = 0;

	assert_true(fd >= 0);
	do {
		assert_true(crash_at(fx, fence++));
		assert_int_equal(check(fx, FSCK_REPAIR_NONE), 0);
	} while (!fx->report.by_code[FSCK_REPLAY]);
	assert_int_equal(pwrite(fd, region_ptr(fx->region, 0, IMAGE_BYTES), IMAGE_BYTES, 0),
			 IMAGE_BYTES);
	assert_int_equal(region_open(path, REGION_RDONLY, 0, &region, err, sizeof(err)), 0);
	assert_int_equal(check_on(fx, region, FSCK_REPAIR_NONE, FSCK_PENDING_NOTE), 0);
	if (fx->report.problems)
		fail_msg("%s", fx->said);
	assert_true(fx->report.by_code[FSCK_REPLAY]);
	assert_memory_equal(region_ptr(region, 0, IMAGE_BYTES),
			    region_ptr(fx->region, 0, IMAGE_BYTES), IMAGE_BYTES);
	region_close(region);
	close(fd);
	unlink(path);
}

static void an_overlay_keeps_stores_to_itself(void **state)
{
	struct fixture *fx = *state;
	char path[] = "/tmp/unit_fsck_XXXXXX", err[256];
	int fd = mkstemp(path);
	struct region *region, *overlay;

	(void)fx;
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, image.bytes, IMAGE_BYTES, 0), IMAGE_BYTES);
	assert_int_equal(region_open(path, REGION_RDONLY, 0, &region, err, sizeof(err)), 0);
	overlay = fsck_overlay_new(region);
	assert_non_null(overlay);
	assert_memory_equal(region_ptr(overlay, 0, IMAGE_BYTES), image.bytes, IMAGE_BYTES);
	region_store(overlay, 4090, "0123456789ab", 12, HERE);
	region_store64(overlay, IMAGE_BYTES - 8, 77, HERE);
	region_zero(overlay, 65536, 10000, HERE);
	region_drain(overlay, HERE);
	assert_memory_equal(region_ptr(overlay, 4090, 12), "0123456789ab", 12);
	assert_memory_equal(region_ptr(overlay, 4102, 2000), image.bytes + 4102, 2000);
	assert_int_equal(*(const unsigned char *)region_ptr(overlay, 65536 + 9999, 1), 0);
	assert_memory_equal(region_ptr(region, 0, IMAGE_BYTES), image.bytes, IMAGE_BYTES);
	region_close(overlay);
	region_close(region);
	close(fd);
	unlink(path);
}

/* ---- pending --------------------------------------------------------------------------------- */

/* Unlink "small" and "hard" while the file is open, and die. */
static void leave_orphan(struct fixture *fx)
{
	struct inode *root, *small;

	mount(fx);
	small = lookup(fx, NULL, "small");
	assert_non_null(small);
	assert_int_equal(inode_get(fx->vol, ROOT_INO, &root), 0);
	assert_int_equal(ns_unlink(root, "small", 5), 0);
	assert_int_equal(ns_unlink(root, "hard", 4), 0);
	volume_abandon(fx->vol);
	fx->vol = NULL;
}

static void an_open_file_without_a_name_waits_for_recovery(void **state)
{
	struct fixture *fx = *state;
	char err[256];

	leave_orphan(fx);
	assert_int_equal(check(fx, FSCK_REPAIR_NONE), 0);
	assert_int_equal(fx->report.problems, 0);
	assert_int_equal(fx->report.by_code[FSCK_PENDING], 1);
	assert_int_equal(fx->report.pending, 1);
	assert_int_equal(check_on(fx, fx->region, FSCK_REPAIR_NONE, FSCK_PENDING_ORPHANS), 0);
	assert_int_equal(fx->report.problems, 0);
	assert_int_equal(check_on(fx, fx->region, FSCK_REPAIR_NONE, FSCK_PENDING_NONE), 0);
	assert_int_equal(fx->report.by_code[FSCK_PENDING_FIELD], 1);

	assert_int_equal(check(fx, FSCK_REPAIR_ALL), 0);
	assert_int_equal(fx->report.left, 0);
	assert_int_equal(fx->report.pending, 1);
	assert_int_equal(fsck_recover(fx->region, err, sizeof(err)), 0);
	assert_nothing(fx);
	assert_int_equal(image_dinode((unsigned char *)(uintptr_t)region_ptr(fx->region, 0, 1),
				      image.small)
				 ->mode,
			 0);
}

static void a_half_done_truncate_waits_for_recovery(void **state)
{
	struct fixture *fx = *state;
	unsigned char *bytes = malloc(IMAGE_BYTES);
	struct dinode *d;
	struct map_block *m;
	char err[256];

	assert_non_null(bytes);
	memcpy(bytes, image.bytes, IMAGE_BYTES);
	d = image_dinode(bytes, image.pieces);
	d->pending = (struct dpending){ .kind = to_le32(PENDING_TRUNCATE),
					.pos = to_le64(100),
					.len = to_le64(MAX_FILE_BLOCKS - 100),
					.cursor = to_le64(100) };
	d->size = to_le64(100 * BLOCK_BYTES);
	seal_dinode(d);
	m = image_inode_map(bytes);
	m->bits[PLANE_PENDING][image.pieces / 64] |= to_le64(UINT64_C(1) << image.pieces % 64);
	seal_map(m);
	region_record_reset(fx->region, bytes);
	free(bytes);
	assert_int_equal(check(fx, FSCK_REPAIR_NONE), 0);
	if (fx->report.problems)
		fail_msg("%s", fx->said);
	assert_int_equal(fx->report.pending, 1);
	assert_int_equal(check_on(fx, fx->region, FSCK_REPAIR_NONE, FSCK_PENDING_ORPHANS), 0);
	assert_int_equal(fx->report.by_code[FSCK_PENDING_FIELD], 1);
	assert_int_equal(fsck_recover(fx->region, err, sizeof(err)), 0);
	assert_nothing(fx);
}

/* ---- what is safe ---------------------------------------------------------------------------- */

static void what_is_safe_is_mended_when_nothing_else_is_wrong(void **state)
{
	static const char *const safe[] = {
		"a wrong link count",	      "a block used by nobody",
		"a wrong number of names",    "a wrong number of blocks",
		"a wrong largest free entry", "a flipped byte in the superblock"
	};
	struct fixture *fx = *state;

	for (size_t i = 0; i < sizeof(safe) / sizeof(safe[0]); i++)
		do_damage(fx, safe[i]);
	assert_int_equal(check(fx, FSCK_REPAIR_SAFE), 0);
	if (fx->report.left)
		fail_msg("%s", fx->said);
	assert_true(fx->report.problems >= 6);
	assert_nothing(fx);
}

static void what_is_safe_stays_when_something_else_is_wrong(void **state)
{
	struct fixture *fx = *state;
	unsigned char *before = malloc(IMAGE_BYTES);

	assert_non_null(before);
	do_damage(fx, "a block used by nobody");
	do_damage(fx, "a name with a slash");
	memcpy(before, region_ptr(fx->region, 0, IMAGE_BYTES), IMAGE_BYTES);
	assert_int_equal(check(fx, FSCK_REPAIR_SAFE), 0);
	assert_true(fx->report.left >= 2);
	assert_true(fx->report.left_unsafe >= 1);
	assert_memory_equal(before, region_ptr(fx->region, 0, IMAGE_BYTES), IMAGE_BYTES);
	free(before);
	assert_mended(fx);
}

static void a_volume_says_whether_it_is_clean(void **state)
{
	struct fixture *fx = *state;

	assert_true(fsck_says_clean(fx->region));
	mount(fx);
	assert_false(fsck_says_clean(fx->region));
	unmount(fx);
	assert_true(fsck_says_clean(fx->region));
	do_damage(fx, "a flipped byte in the copy of the superblock");
	assert_false(fsck_says_clean(fx->region));
}

static void a_mounted_volume_is_checked_by_its_own_process(void **state)
{
	struct fsck_options opt = { .mounted = true };
	struct fixture *fx = *state;

	mount(fx);
	assert_int_equal(fsck_check(fx->region, &opt, &fx->report), 0);
	assert_int_equal(fx->report.problems, 0);
	assert_int_equal(fx->report.notes, 0);
	unmount(fx);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static int check_image(struct fixture *fx, const unsigned char *bytes, uint64_t len)
{
	struct region *region = region_record_new(bytes, len, BLOCK_BYTES);
	int err = check_on(fx, region, FSCK_REPAIR_ALL, FSCK_PENDING_NOTE);

	assert_memory_equal(region_ptr(region, 0, len), bytes, len);
	assert_int_equal(err == 0, fx->report.message[0] == '\0');
	region_close(region);
	return err;
}

static void what_is_no_udaxfs_is_left_alone(void **state)
{
	unsigned char *bytes = calloc(1, IMAGE_BYTES);

	assert_non_null(bytes);
	assert_int_equal(check_image(*state, bytes, IMAGE_BYTES), -EINVAL);
	memset(bytes, 0xff, IMAGE_BYTES);
	assert_int_equal(check_image(*state, bytes, IMAGE_BYTES), -EINVAL);
	assert_int_equal(check_image(*state, bytes, 4096), -EINVAL);
	free(bytes);
}

static void a_region_that_was_cut_off_is_left_alone(void **state)
{
	assert_int_equal(check_image(*state, image.bytes, IMAGE_BYTES / 2), -EUCLEAN);
}

static void without_a_superblock_there_is_nothing_to_go_by(void **state)
{
	unsigned char *bytes = malloc(IMAGE_BYTES);

	assert_non_null(bytes);
	memcpy(bytes, image.bytes, IMAGE_BYTES);
	bytes[100] ^= 1;
	bytes[SUPER_COPY_BLK * BLOCK_BYTES + 100] ^= 1;
	assert_int_equal(check_image(*state, bytes, IMAGE_BYTES), -EUCLEAN);
	free(bytes);
}

static void a_volume_from_the_future_is_left_alone(void **state)
{
	unsigned char *bytes = malloc(IMAGE_BYTES);
	struct super *s = (struct super *)bytes;

	assert_non_null(bytes);
	memcpy(bytes, image.bytes, IMAGE_BYTES);
	s->incompat = to_le64(1);
	seal_super(s);
	assert_int_equal(check_image(*state, bytes, IMAGE_BYTES), -ENOTSUP);
	s->incompat = 0;
	s->version = to_le32(2);
	seal_super(s);
	assert_int_equal(check_image(*state, bytes, IMAGE_BYTES), -ENOTSUP);
	free(bytes);
}

/* ---- bad media, no room ---------------------------------------------------------------------- */

static void a_directory_block_that_cannot_be_read_is_cut(void **state)
{
	struct fixture *fx = *state;
	uint64_t blk = image_extent_blk(image.bytes, image.many, 1);

	assert_int_equal(region_mark_bad(fx->region, blk << BLOCK_SHIFT, BLOCK_BYTES), 0);
	assert_int_equal(check(fx, FSCK_REPAIR_NONE), 0);
	assert_true(fx->report.by_code[FSCK_DIR_BLOCK]);
	assert_mended(fx);
}

static void a_space_map_that_cannot_be_read_is_left(void **state)
{
	struct fixture *fx = *state;

	assert_int_equal(region_mark_bad(fx->region, BLOCK_BYTES, BLOCK_BYTES), 0);
	assert_int_equal(check(fx, FSCK_REPAIR_ALL), 0);
	assert_true(fx->report.by_code[FSCK_MEDIA]);
	assert_int_equal(fx->report.left, 1);
}

/* Give every free block to the file "prealloc". */
static void fill_up(struct fixture *fx)
{
	struct inode *inode;
	char block[BLOCK_BYTES];
	uint64_t pos = 1 << 20;

	memset(block, 'f', sizeof(block));
	mount(fx);
	inode = lookup(fx, NULL, "prealloc");
	assert_non_null(inode);
	while (file_write(inode, pos, block, sizeof(block), IO_UNCACHED) == sizeof(block))
		pos += sizeof(block);
	inode_put(inode);
	unmount(fx);
	assert_nothing(fx);
}

static void a_tree_is_mended_on_a_full_volume(void **state)
{
	static const char *const trees[] = { "a flipped byte in a tree node",
					     "a tree node of another inode",
					     "a name that is not in the index",
					     "a root whose first key is not 0",
					     "the inode file's tree overwritten" };
	struct fixture *fx = *state;

	fill_up(fx);
	for (size_t i = 0; i < sizeof(trees) / sizeof(trees[0]); i++) {
		do_damage(fx, trees[i]);
		assert_mended(fx);
	}
	image_walk(fx->region);
}

static void a_lost_name_is_found_on_a_full_volume(void **state)
{
	struct fixture *fx = *state;

	fill_up(fx);
	do_damage(fx, "a file without a name");
	assert_int_equal(check(fx, FSCK_REPAIR_ALL), 0);
	/* There is room in a block of the root for "lost+found", but perhaps none for more. */
	if (fx->report.left)
		assert_true(fx->report.by_code[FSCK_NOT_MENDED]);
}

/* ---- lost and found -------------------------------------------------------------------------- */

static void a_lost_file_is_found_in_lost_found(void **state)
{
	struct fixture *fx = *state;
	struct inode *inode;
	struct attr attr;
	char name[32];

	do_damage(fx, "a file without a name");
	assert_mended(fx);
	mount(fx);
	inode = lookup(fx, NULL, "lost+found");
	assert_non_null(inode);
	inode_attr(inode, &attr);
	assert_int_equal(attr.mode, S_IFDIR | 0700);
	inode_put(inode);
	snprintf(name, sizeof(name), "#%llu", (unsigned long long)image.prealloc);
	inode = lookup(fx, "lost+found", name);
	assert_non_null(inode);
	assert_int_equal(inode->ino, image.prealloc);
	inode_put(inode);
	unmount(fx);
}

static void what_was_in_a_lost_block_is_found_again(void **state)
{
	struct fixture *fx = *state;
	uint64_t before, files;

	assert_nothing(fx);
	before = fx->report.inodes;
	files = fx->report.files;
	do_damage(fx, "a block of another directory");
	assert_mended(fx);
	assert_int_equal(fx->report.files, files);
	assert_int_equal(fx->report.inodes, before + 1); /* lost+found */
	image_walk(fx->region);
	/* And once more, with lost+found in place and full of names. */
	do_damage(fx, "a file without a name");
	assert_mended(fx);
	assert_int_equal(fx->report.inodes, before + 1);
	image_walk(fx->region);
}

static void a_shared_block_is_copied(void **state)
{
	struct fixture *fx = *state;
	unsigned char *bytes;
	uint64_t a, b;

	do_damage(fx, "two files with the same blocks");
	assert_mended(fx);
	bytes = (unsigned char *)(uintptr_t)region_ptr(fx->region, 0, IMAGE_BYTES);
	a = image_extent_blk(bytes, image.small, 0);
	b = image_extent_blk(bytes, image.prealloc, 0);
	assert_int_not_equal(a, b);
	assert_memory_equal(image_block(bytes, a), image_block(bytes, b), BLOCK_BYTES);
}

/* ---- the rest -------------------------------------------------------------------------------- */

static void codes_have_names_of_their_own(void **state)
{
	(void)state;
	for (int a = 0; a < FSCK_NR_CODES; a++)
		for (int b = 0; b < a; b++)
			assert_string_not_equal(fsck_code_name((enum fsck_code)a),
						fsck_code_name((enum fsck_code)b));
}

static void progress_is_shown(void **state)
{
	struct fixture *fx = *state;

	assert_nothing(fx);
	assert_true(fx->steps >= 4);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_crash_is_no_damage_and_a_check_writes_nothing),
		TEST(a_read_only_file_is_checked_as_after_the_replay),
		TEST(an_overlay_keeps_stores_to_itself),
		TEST(an_open_file_without_a_name_waits_for_recovery),
		TEST(a_half_done_truncate_waits_for_recovery),
		TEST(what_is_safe_is_mended_when_nothing_else_is_wrong),
		TEST(what_is_safe_stays_when_something_else_is_wrong),
		TEST(a_volume_says_whether_it_is_clean),
		TEST(a_mounted_volume_is_checked_by_its_own_process),
		TEST(what_is_no_udaxfs_is_left_alone),
		TEST(a_region_that_was_cut_off_is_left_alone),
		TEST(without_a_superblock_there_is_nothing_to_go_by),
		TEST(a_volume_from_the_future_is_left_alone),
		TEST(a_directory_block_that_cannot_be_read_is_cut),
		TEST(a_space_map_that_cannot_be_read_is_left),
		TEST(a_tree_is_mended_on_a_full_volume),
		TEST(a_lost_name_is_found_on_a_full_volume),
		TEST(a_lost_file_is_found_in_lost_found),
		TEST(what_was_in_a_lost_block_is_found_again),
		TEST(a_shared_block_is_copied),
		TEST(codes_have_names_of_their_own),
		TEST(progress_is_shown),
	};
	int failed;

	image_make(&image);
	failed = cmocka_run_group_tests_name("unit_fsck_modes", tests, NULL, NULL);
	image_free(&image);
	return failed;
}
