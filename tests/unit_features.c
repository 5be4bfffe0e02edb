/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_features.c - volumes from later versions of this program. An unknown version or incompat
 * feature is refused; with an unknown ro_compat feature the volume is mounted, but nothing is ever
 * written, not even to recover it; an unknown compat feature changes nothing. What is said names them.
 */
#include "fsck_image.h"

#include <errno.h>

#include "crc.h"
#include "inode.h"
#include "mem.h"
#include "region.h"
#include "sync.h"
#include "volume.h"

struct fixture {
	struct image image;
	unsigned char *bytes;
	struct super *super; /* in bytes; sealed by mount() */
	struct region *region;
	struct sync *sync;
	struct volume *vol;
	char said[256];
};

static int setup(void **state)
{
	struct fixture *fx = calloc(1, sizeof(*fx));

	assert_non_null(fx);
	image_make(&fx->image);
	fx->bytes = malloc(IMAGE_BYTES);
	assert_non_null(fx->bytes);
	memcpy(fx->bytes, fx->image.bytes, IMAGE_BYTES);
	fx->super = (struct super *)fx->bytes;
	fx->sync = sync_pthread_new(NULL);
	fx->region = region_record_new(fx->bytes, IMAGE_BYTES, BLOCK_BYTES);
	assert_non_null(fx->region);
	*state = fx;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fx = *state;

	if (fx->vol)
		volume_unmount(fx->vol);
	region_close(fx->region);
	sync_delete(fx->sync);
	free(fx->bytes);
	image_free(&fx->image);
	free(fx);
	return 0;
}

/* Mount what fx->bytes say. */
static int mount(struct fixture *fx, bool read_only)
{
	struct volume_env env = { .sync = fx->sync, .mem = mem_heap(), .read_only = read_only };

	seal_super(fx->super);
	region_record_reset(fx->region, fx->bytes);
	return volume_mount(fx->region, &env, &fx->vol, fx->said, sizeof(fx->said));
}

static void unmount(struct fixture *fx)
{
	volume_unmount(fx->vol);
	fx->vol = NULL;
}

static void assert_unwritten(const struct fixture *fx)
{
	assert_memory_equal(fx->bytes, region_ptr(fx->region, 0, IMAGE_BYTES), IMAGE_BYTES);
}

/* A transaction in the journal, sound and committed: something to recover. */
static void leave_a_transaction(struct fixture *fx)
{
	unsigned char *lane = fx->bytes + (JOURNAL_BLK << BLOCK_SHIFT);
	struct lane_header *h = (void *)lane;
	struct log_lines *record = (void *)(h + 1);
	size_t len = sizeof(*record) + 64;

	*record = (struct log_lines){
		.kind = to_le32(LOG_LINES),
		.off = to_le64(image_free_blk(fx->bytes, IMAGE_BLOCKS / 2) << BLOCK_SHIFT),
		.mask = to_le64(1),
	};
	memset(record + 1, 0x5a, 64);
	*h = (struct lane_header){ .magic = to_le32(LANE_MAGIC),
				   .bytes = to_le64(len),
				   .seq = to_le64(1) };
	h->csum = to_le32(crc32c_skip(lane, sizeof(*h) + len, offsetof(struct lane_header, csum)));
}

/* ---- tests ------------------------------------------------------------------------------------------ */

static void a_later_version_is_refused(void **state)
{
	struct fixture *fx = *state;

	fx->super->version = to_le32(FORMAT_VERSION + 1);
	for (int read_only = 0; read_only < 2; read_only++) {
		assert_int_equal(mount(fx, read_only), -ENOTSUP);
		assert_non_null(strstr(fx->said, "format version 2 is not known here"));
		assert_unwritten(fx);
	}
}

static void an_unknown_incompat_feature_is_refused_by_its_bit(void **state)
{
	struct fixture *fx = *state;

	fx->super->incompat = to_le64(UINT64_C(1) << 40);
	for (int read_only = 0; read_only < 2; read_only++) {
		assert_int_equal(mount(fx, read_only), -ENOTSUP);
		assert_non_null(strstr(fx->said, "(incompat I40)"));
		assert_unwritten(fx);
	}
}

static void an_unknown_ro_compat_feature_makes_it_read_only(void **state)
{
	struct fixture *fx = *state;
	struct inode *inode;

	fx->super->ro_compat = to_le64(UINT64_C(1) << 41);
	assert_int_equal(mount(fx, false), 0);
	assert_non_null(strstr(fx->said, "mounted read-only"));
	assert_non_null(strstr(fx->said, "(ro_compat R41)"));
	assert_int_equal(volume_usable(fx->vol, false), 0);
	assert_int_equal(volume_usable(fx->vol, true), -EROFS);
	assert_int_equal(inode_get(fx->vol, fx->image.small, &inode), 0);
	inode_put(inode);
	unmount(fx);
	assert_unwritten(fx);
}

static void who_mounts_it_read_only_hears_nothing_of_it(void **state)
{
	struct fixture *fx = *state;

	fx->super->ro_compat = to_le64(UINT64_C(1) << 41);
	assert_int_equal(mount(fx, true), 0);
	assert_string_equal(fx->said, "");
	unmount(fx);
	assert_unwritten(fx);
}

static void with_an_unknown_ro_compat_feature_nothing_is_recovered(void **state)
{
	struct fixture *fx = *state;

	leave_a_transaction(fx);
	assert_int_equal(mount(fx, true), -EROFS);
	fx->super->ro_compat = to_le64(UINT64_C(1) << 41);
	assert_int_equal(mount(fx, false), -ENOTSUP);
	assert_non_null(strstr(fx->said, "needs recovery"));
	assert_non_null(strstr(fx->said, "(ro_compat R41)"));
	assert_non_null(strstr(fx->said, "newer udaxfs"));
	assert_unwritten(fx);
}

static void an_unknown_compat_feature_changes_nothing(void **state)
{
	struct fixture *fx = *state;

	fx->super->compat = to_le64(UINT64_C(1) << 42);
	assert_int_equal(mount(fx, false), 0);
	assert_string_equal(fx->said, "");
	assert_int_equal(volume_usable(fx->vol, true), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_later_version_is_refused),
		TEST(an_unknown_incompat_feature_is_refused_by_its_bit),
		TEST(an_unknown_ro_compat_feature_makes_it_read_only),
		TEST(who_mounts_it_read_only_hears_nothing_of_it),
		TEST(with_an_unknown_ro_compat_feature_nothing_is_recovered),
		TEST(an_unknown_compat_feature_changes_nothing),
	};

	return cmocka_run_group_tests_name("features", tests, NULL, NULL);
}
