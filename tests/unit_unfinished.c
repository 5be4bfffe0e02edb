/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_unfinished.c - changes of a layout that take many transactions and stop after the first: what
 * the files concerned refuse until the change is finished, and that the next layout change, or the
 * next mount, finishes it.
 *
 * The journal's lanes are as small as they can be. What stops a change is the volume: it is shut down
 * at the first fence, and for the test is brought back afterwards as no program could.
 */
#include "bed.h"

#include <errno.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "file.h"
#include "format.h"
#include "inode.h"
#include "journal.h"
#include "layout.h"
#include "mem.h"
#include "region.h"
#include "sync.h"
#include "volume.h"

#define REGION_BYTES (16u << 20)
#define PAIRS 400u /* of a written block and a hole: a tree with several nodes */
#define BLOCKS (2 * PAIRS)

static const struct layout_ctx waits = { .may_wait = true };

struct two_files {
	struct sync *sync;
	struct region *region;
	struct volume *vol;
	struct inode *a, *b;
	uint64_t a_ino, b_ino;
};

/* ---- a volume with two files -------------------------------------------------------------------- */

static void lock_report(void *ctx, const char *line)
{
	(void)ctx;
	fail_msg("%s", line);
}

static int try_mount(struct two_files *two, bool read_only, char *err, size_t err_len)
{
	struct volume_env env = { .sync = two->sync, .mem = mem_heap(), .read_only = read_only };

	return volume_mount(two->region, &env, &two->vol, err, err_len);
}

static void mount_again(struct two_files *two)
{
	char err[256];

	volume_abandon(two->vol);
	if (try_mount(two, false, err, sizeof(err)))
		fail_msg("mount: %s", err);
	assert_int_equal(inode_get(two->vol, two->a_ino, &two->a), 0);
	assert_int_equal(inode_get(two->vol, two->b_ino, &two->b), 0);
}

static int64_t put(struct inode *inode, uint64_t block, char c)
{
	char buf[BLOCK_BYTES];

	memset(buf, c, sizeof(buf));
	return file_write(inode, block * BLOCK_BYTES, buf, sizeof(buf), IO_UNCACHED);
}

static char first_byte(struct inode *inode, uint64_t block)
{
	struct read_plan plan;
	char c;

	assert_int_equal(file_read_begin(inode, block * BLOCK_BYTES, 1, IO_UNCACHED, &plan), 0);
	assert_int_equal(plan.bytes, 1);
	c = *(const char *)plan.pieces[0].iov_base;
	file_read_end(inode, &plan);
	return c;
}

/* Every second block is written, with what its number and @base make of it. */
static char content(char base, uint64_t block)
{
	return block % 2 ? 0 : (char)(base + block / 2 % 20);
}

static struct inode *new_file(struct two_files *two, char base)
{
	struct cred cred = { 0 };
	struct inode *inode;
	struct tx *tx;

	assert_int_equal(inode_prepare(two->vol), 0);
	assert_int_equal(tx_begin(two->vol, 0, &tx, HERE), 0);
	assert_int_equal(inode_create(tx, NULL, S_IFREG | 0600, &cred, 0, 0, &inode), 0);
	assert_int_equal(inode_set_nlink(tx, inode, 1), 0);
	assert_int_equal(tx_commit(tx), 0);
	iunlock(inode, SYNC_EXCL, HERE);
	for (uint64_t block = 0; block < BLOCKS; block += 2)
		assert_int_equal(put(inode, block, content(base, block)), BLOCK_BYTES);
	assert_int_equal(layout_truncate(inode, BLOCKS * BLOCK_BYTES, &waits), 0);
	return inode;
}

static int make_two_files(void **state)
{
	struct format_options options = { .label = "unfinished", .lane_blocks = 4 };
	struct sync_options lockdep = { true, lock_report, NULL };
	struct two_files *two = calloc(1, sizeof(*two));
	char err[256];

	assert_non_null(two);
	two->sync = sync_pthread_new(&lockdep);
	two->region = region_record_new(NULL, REGION_BYTES, BLOCK_BYTES);
	assert_non_null(two->sync);
	assert_non_null(two->region);
	assert_int_equal(volume_format(two->region, two->sync, mem_heap(), &options), 0);
	assert_int_equal(try_mount(two, false, err, sizeof(err)), 0);
	two->a = new_file(two, 'a');
	two->b = new_file(two, 'A');
	two->a_ino = two->a->ino;
	two->b_ino = two->b->ino;
	*state = two;
	return 0;
}

static int drop_two_files(void **state)
{
	struct two_files *two = *state;

	if (two->vol)
		volume_abandon(two->vol);
	region_close(two->region);
	sync_delete(two->sync);
	free(two);
	return 0;
}

/* ---- stopping --------------------------------------------------------------------------------------- */

static void shut_down(void *ctx, struct region *region)
{
	struct two_files *two = ctx;

	(void)region;
	atomic_store(&two->vol->shut_down, true);
}

static const struct dinode *dinode_of(struct two_files *two, struct inode *inode)
{
	return region_ptr(two->region, inode->off, sizeof(struct dinode));
}

/* From here to stop_end() every transaction but the first is refused. */
static void stop_begin(struct two_files *two)
{
	region_record_on_drain(two->region, shut_down, two);
}

static void stop_end(struct two_files *two, int err)
{
	region_record_on_drain(two->region, NULL, NULL);
	atomic_store(&two->vol->shut_down, false);
	assert_int_equal(err, -EIO);
	assert_int_not_equal(dinode_of(two, two->a)->pending.kind, PENDING_NONE);
}

#define GONE 10u /* blocks that the collapse takes out, at the start of the file */

static int collapse(struct two_files *two)
{
	return layout_fallocate(two->a, FALLOC_FL_COLLAPSE_RANGE, 0, GONE * BLOCK_BYTES, &waits);
}

static void half_collapse(struct two_files *two)
{
	stop_begin(two);
	stop_end(two, collapse(two));
}

static void half_exchange(struct two_files *two)
{
	stop_begin(two);
	stop_end(two, layout_exchange(two->a, 0, two->b, 0, BLOCKS * BLOCK_BYTES, &waits));
}

/* A layout change that changes nothing: but whatever is unfinished comes first. */
static int finish(struct inode *inode)
{
	return layout_fallocate(inode, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				BLOCKS * BLOCK_BYTES, BLOCK_BYTES, &waits);
}

/* The blocks of @inode are those of a file made with @base, but for the first @gone. */
static void assert_content(struct inode *inode, char base, uint64_t gone)
{
	struct attr attr;

	inode_attr(inode, &attr);
	assert_int_equal(attr.size, (BLOCKS - gone) * BLOCK_BYTES);
	for (uint64_t block = 0; block < BLOCKS - gone; block++)
		assert_int_equal(first_byte(inode, block), content(base, block + gone));
}

static void assert_refuses_data(struct two_files *two, struct inode *inode)
{
	struct inode *other = inode == two->a ? two->b : two->a;

	assert_int_equal(put(inode, 0, '!'), -EIO);
	assert_int_equal(put(inode, BLOCKS - 1, '!'), -EIO);
	assert_int_equal(file_write(inode, 0, "!", 1, IO_UNCACHED | IO_APPEND), -EIO);
	assert_int_equal(file_write(inode, 0, "!", 1, IO_CACHED), -EIO);
	assert_int_equal(file_write(inode, 0, "!", 1, IO_CACHED | IO_WRITEBACK), -EIO);
	assert_int_equal(file_copy(other, 0, inode, BLOCK_BYTES, BLOCK_BYTES, IO_UNCACHED), -EIO);
	assert_int_equal(layout_fallocate(inode, 0, 0, BLOCKS * BLOCK_BYTES, &waits), -EIO);
}

/* ---- tests ------------------------------------------------------------------------------------------ */

static void a_half_collapsed_file_takes_no_data_until_it_is_finished(void **state)
{
	struct two_files *two = *state;

	half_collapse(two);
	assert_refuses_data(two, two->a);
	assert_int_equal(put(two->b, 1, '!'), BLOCK_BYTES);
	assert_int_equal(finish(two->a), 0);
	assert_int_equal(dinode_of(two, two->a)->pending.kind, PENDING_NONE);
	assert_content(two->a, 'a', GONE);
	assert_int_equal(put(two->a, 1, '!'), BLOCK_BYTES);
	assert_int_equal(first_byte(two->a, 1), '!');
}

static void a_half_changed_file_that_was_forgotten_takes_no_data_either(void **state)
{
	struct two_files *two = *state;

	half_collapse(two);
	inode_put(two->a);
	assert_null(inode_find(two->vol, two->a_ino));
	assert_int_equal(inode_get(two->vol, two->a_ino, &two->a), 0);
	assert_refuses_data(two, two->a);
	assert_int_equal(finish(two->a), 0);
	assert_content(two->a, 'a', GONE);
	assert_int_equal(put(two->a, 1, '!'), BLOCK_BYTES);
}

static void both_files_of_a_half_exchange_take_no_data_until_it_is_finished(void **state)
{
	struct two_files *two = *state;

	half_exchange(two);
	assert_refuses_data(two, two->a);
	assert_refuses_data(two, two->b);
	/* Which of them has the record is not for the other one to know. */
	assert_int_equal(finish(two->b), -EIO);
	assert_int_equal(layout_truncate(two->b, 0, &waits), -EIO);
	assert_int_equal(finish(two->a), 0);
	assert_content(two->a, 'A', 0);
	assert_content(two->b, 'a', 0);
	assert_int_equal(put(two->a, 1, '!'), BLOCK_BYTES);
	assert_int_equal(put(two->b, 1, '!'), BLOCK_BYTES);
	assert_int_equal(finish(two->b), 0);
}

static void the_partner_of_a_half_exchange_is_not_forgotten(void **state)
{
	struct two_files *two = *state;

	half_exchange(two);
	inode_put(two->b);
	assert_int_equal(inode_get(two->vol, two->b_ino, &two->b), 0);
	assert_refuses_data(two, two->b);
	assert_int_equal(finish(two->a), 0);
	assert_content(two->b, 'a', 0);
	inode_put(two->b);
	assert_null(inode_find(two->vol, two->b_ino));
	inode_put(two->a);
	assert_null(inode_find(two->vol, two->a_ino));
}

static void the_next_mount_finishes_what_stopped_half_way(void **state)
{
	struct two_files *two = *state;

	half_exchange(two);
	mount_again(two);
	assert_content(two->a, 'A', 0);
	assert_content(two->b, 'a', 0);
	assert_int_equal(put(two->b, 1, '!'), BLOCK_BYTES);
	half_collapse(two);
	mount_again(two);
	assert_content(two->a, 'A', GONE);
	assert_int_equal(put(two->a, 1, '!'), BLOCK_BYTES);
}

static void a_read_only_mount_of_something_unfinished_is_refused_and_writes_nothing(void **state)
{
	struct two_files *two = *state;
	unsigned char *image = malloc(REGION_BYTES);
	char err[256];

	assert_non_null(image);
	half_collapse(two);
	volume_unmount(two->vol);
	two->vol = NULL;
	memcpy(image, region_ptr(two->region, 0, REGION_BYTES), REGION_BYTES);
	assert_int_equal(try_mount(two, true, err, sizeof(err)), -EROFS);
	assert_non_null(strstr(err, "mount it once without ro"));
	assert_memory_equal(image, region_ptr(two->region, 0, REGION_BYTES), REGION_BYTES);

	assert_int_equal(try_mount(two, false, err, sizeof(err)), 0);
	volume_unmount(two->vol);
	memcpy(image, region_ptr(two->region, 0, REGION_BYTES), REGION_BYTES);
	assert_int_equal(try_mount(two, true, err, sizeof(err)), 0);
	assert_int_equal(inode_get(two->vol, two->a_ino, &two->a), 0);
	assert_content(two->a, 'a', GONE);
	assert_int_equal(put(two->a, 1, '!'), -EROFS);
	inode_put(two->a);
	volume_unmount(two->vol);
	two->vol = NULL;
	assert_memory_equal(image, region_ptr(two->region, 0, REGION_BYTES), REGION_BYTES);
	free(image);
}

#define UNFINISHED_TEST(name) cmocka_unit_test_setup_teardown(name, make_two_files, drop_two_files)

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNFINISHED_TEST(a_half_collapsed_file_takes_no_data_until_it_is_finished),
		UNFINISHED_TEST(a_half_changed_file_that_was_forgotten_takes_no_data_either),
		UNFINISHED_TEST(both_files_of_a_half_exchange_take_no_data_until_it_is_finished),
		UNFINISHED_TEST(the_partner_of_a_half_exchange_is_not_forgotten),
		UNFINISHED_TEST(the_next_mount_finishes_what_stopped_half_way),
		UNFINISHED_TEST(
			a_read_only_mount_of_something_unfinished_is_refused_and_writes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
