/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_layout.c - reading, writing and changing the layout of one file or two, step by step with the
 * result of each step written down. What random operations found (unit_model.c) stays here as a test
 * of its own.
 */
#include "bed.h"

#include <errno.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "extent.h"
#include "file.h"
#include "inode.h"
#include "journal.h"
#include "layout.h"
#include "mem.h"
#include "region.h"
#include "volume.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * KIB)

static const struct layout_ctx waits = { .may_wait = true };

/* ---- short ways to say it --------------------------------------------------------------------- */

static int64_t put(struct inode *inode, uint64_t pos, char c, size_t len)
{
	char *buf = malloc(len);
	int64_t n;

	assert_non_null(buf);
	memset(buf, c, len);
	n = file_write(inode, pos, buf, len, IO_UNCACHED);
	free(buf);
	return n;
}

/* All of [@pos, @pos + @len) reads as @c. */
static void expect(struct inode *inode, uint64_t pos, char c, size_t len)
{
	while (len) {
		struct read_plan plan;

		assert_int_equal(file_read_begin(inode, pos, len, IO_UNCACHED, &plan), 0);
		assert_int_not_equal(plan.bytes, 0);
		for (unsigned i = 0; i < plan.npieces; i++) {
			const char *base = plan.pieces[i].iov_base;

			for (size_t at = 0; at < plan.pieces[i].iov_len; at++)
				if (base[at] != c)
					fail_msg("byte %llu: 0x%02x instead of 0x%02x",
						 (unsigned long long)(pos + at),
						 (unsigned char)base[at], (unsigned char)c);
			pos += plan.pieces[i].iov_len;
		}
		len -= plan.bytes;
		file_read_end(inode, &plan);
	}
}

static uint64_t size_of(struct inode *inode)
{
	struct attr attr;

	inode_attr(inode, &attr);
	return attr.size;
}

static int truncate_to(struct inode *inode, uint64_t size)
{
	return layout_truncate(inode, size, &waits);
}

static int fallocate_on(struct inode *inode, int mode, uint64_t pos, uint64_t len)
{
	return layout_fallocate(inode, mode, pos, len, &waits);
}

static int punch(struct inode *inode, uint64_t pos, uint64_t len)
{
	return fallocate_on(inode, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, pos, len);
}

static struct inode *second_file(struct bed *bed)
{
	struct cred cred = { 0 };
	struct inode *inode;

	assert_int_equal(inode_prepare(bed->vol), 0);
	assert_int_equal(tx_begin(bed->vol, 0, &bed->tx, HERE), 0);
	assert_int_equal(inode_create(bed->tx, NULL, S_IFREG | 0600, &cred, 0, 0, &inode), 0);
	assert_int_equal(inode_set_nlink(bed->tx, inode, 1), 0);
	assert_int_equal(tx_commit(bed->tx), 0);
	iunlock(inode, SYNC_EXCL, HERE);
	return inode;
}

/* ---- tests ---------------------------------------------------------------------------------------- */

static void a_file_is_written_read_cut_and_kept_over_a_remount(void **state)
{
	struct bed *bed = bed_new(8 * MIB, true);

	(void)state;
	assert_int_equal(put(bed->inode, 0, 'a', 10000), 10000);
	assert_int_equal(put(bed->inode, 20000, 'b', 10000), 10000);
	expect(bed->inode, 0, 'a', 10000);
	expect(bed->inode, 10000, 0, 10000);
	expect(bed->inode, 20000, 'b', 10000);
	assert_int_equal(truncate_to(bed->inode, 5000), 0);
	assert_int_equal(size_of(bed->inode), 5000);
	assert_int_equal(truncate_to(bed->inode, 30000), 0);
	bed_remount(bed);
	assert_int_equal(size_of(bed->inode), 30000);
	expect(bed->inode, 0, 'a', 5000);
	expect(bed->inode, 5000, 0, 25000);
	bed_delete(bed);
}

static void punch_and_zero_leave_the_bytes_around_them(void **state)
{
	struct bed *bed = bed_new(8 * MIB, true);

	(void)state;
	assert_int_equal(put(bed->inode, 0, 'a', 64 * KIB), 64 * KIB);
	assert_int_equal(punch(bed->inode, 5000, 10000), 0);
	expect(bed->inode, 0, 'a', 5000);
	expect(bed->inode, 5000, 0, 10000);
	expect(bed->inode, 15000, 'a', 64 * KIB - 15000);
	assert_int_equal(fallocate_on(bed->inode, FALLOC_FL_ZERO_RANGE, 30000, 40000), 0);
	assert_int_equal(size_of(bed->inode), 70000);
	bed_remount(bed);
	expect(bed->inode, 15000, 'a', 15000);
	expect(bed->inode, 30000, 0, 40000);
	bed_delete(bed);
}

static void a_punch_inside_one_block_ends(void **state)
{
	struct bed *bed = bed_new(8 * MIB, true);

	(void)state;
	assert_int_equal(put(bed->inode, 0, 'a', 64 * KIB), 64 * KIB);
	assert_int_equal(punch(bed->inode, 5000, 100), 0);
	assert_int_equal(fallocate_on(bed->inode, FALLOC_FL_ZERO_RANGE, 10000, 100), 0);
	expect(bed->inode, 0, 'a', 5000);
	expect(bed->inode, 5000, 0, 100);
	expect(bed->inode, 5100, 'a', 4900);
	expect(bed->inode, 10000, 0, 100);
	expect(bed->inode, 10100, 'a', 64 * KIB - 10100);
	bed_delete(bed);
}

static void collapse_and_insert_move_what_is_behind(void **state)
{
	struct bed *bed = bed_new(8 * MIB, true);

	(void)state;
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(put(bed->inode, i * 4096, (char)('a' + i), 4096), 4096);
	assert_int_equal(fallocate_on(bed->inode, FALLOC_FL_COLLAPSE_RANGE, 4096, 8192), 0);
	assert_int_equal(size_of(bed->inode), 6 * 4096);
	expect(bed->inode, 0, 'a', 4096);
	expect(bed->inode, 4096, 'd', 4096);
	expect(bed->inode, 5 * 4096, 'h', 4096);
	assert_int_equal(fallocate_on(bed->inode, FALLOC_FL_INSERT_RANGE, 8192, 4096), 0);
	bed_remount(bed);
	assert_int_equal(size_of(bed->inode), 7 * 4096);
	expect(bed->inode, 4096, 'd', 4096);
	expect(bed->inode, 8192, 0, 4096);
	expect(bed->inode, 3 * 4096, 'e', 4096);
	expect(bed->inode, 6 * 4096, 'h', 4096);
	bed_delete(bed);
}

static void exchange_swaps_two_ranges(void **state)
{
	struct bed *bed = bed_new(8 * MIB, true);
	struct inode *other = second_file(bed);

	(void)state;
	assert_int_equal(put(bed->inode, 0, 'a', 32 * KIB), 32 * KIB);
	assert_int_equal(put(other, 4096, 'b', 28 * KIB), 28 * KIB);
	assert_int_equal(layout_exchange(bed->inode, 8192, other, 0, 12 * KIB, &waits), 0);
	expect(bed->inode, 0, 'a', 8192);
	expect(bed->inode, 8192, 0, 4096);
	expect(bed->inode, 12 * KIB, 'b', 8192);
	expect(bed->inode, 20 * KIB, 'a', 12 * KIB);
	expect(other, 0, 'a', 12 * KIB);
	expect(other, 12 * KIB, 'b', 20 * KIB);
	inode_put(other);
	bed_delete(bed);
}

static void zero_range_behind_eof_zeroes_the_tail_too(void **state)
{
	struct bed *bed = bed_new(8 * MIB, true);

	(void)state;
	assert_int_equal(put(bed->inode, 0, 'a', 4096), 4096);
	assert_int_equal(truncate_to(bed->inode, 1000), 0);
	assert_int_equal(fallocate_on(bed->inode, FALLOC_FL_ZERO_RANGE, 2000, 8000), 0);
	expect(bed->inode, 0, 'a', 1000);
	expect(bed->inode, 1000, 0, 9000);
	bed_remount(bed);
	expect(bed->inode, 1000, 0, 9000);
	bed_delete(bed);
}

static void a_write_that_finds_no_room_says_what_it_has_written(void **state)
{
	struct bed *bed = bed_new(8 * MIB, true);

	(void)state;
	assert_int_equal(put(bed->inode, 0, 'a', 4096), 4096);
	bed_leave_free(bed, 0);
	/* Half into the written block, half into a hole. */
	assert_int_equal(put(bed->inode, 2048, 'b', 4096), 2048);
	expect(bed->inode, 0, 'a', 2048);
	expect(bed->inode, 2048, 'b', 2048);
	assert_int_equal(put(bed->inode, 4096, 'c', 4096), -ENOSPC);
	assert_int_equal(size_of(bed->inode), 4096);
	expect(bed->inode, 0, 'a', 2048);
	expect(bed->inode, 2048, 'b', 2048);
	bed_delete(bed);
}

static void a_file_copied_behind_its_own_end_is_copied_once(void **state)
{
	struct bed *bed = bed_new(8 * MIB, true);

	(void)state;
	assert_int_equal(put(bed->inode, 0, 'a', 5000), 5000);
	assert_int_equal(file_copy(bed->inode, 0, bed->inode, 100000, 100000, IO_UNCACHED), 5000);
	assert_int_equal(size_of(bed->inode), 105000);
	assert_int_equal(file_copy(bed->inode, 105000, bed->inode, 0, 100, IO_UNCACHED), 0);
	bed_delete(bed);
}

/* ---- relocate -------------------------------------------------------------------------------- */

static uint64_t relocate(struct inode *inode, int should)
{
	uint64_t moved;

	assert_int_equal(layout_relocate(inode, 0, UINT64_MAX, &waits, &moved), should);
	return moved;
}

static struct extent extent_at(struct inode *inode, uint64_t lblk)
{
	struct extent ext;

	ilock(inode, SYNC_SHARED, HERE);
	assert_int_equal(extent_lookup(NULL, inode, FORK_DATA, lblk, &ext), 0);
	iunlock(inode, SYNC_SHARED, HERE);
	return ext;
}

/* Every other block of a whole piece: as many extents as a piece can have. */
static void a_piece_of_256_extents_is_moved_in_one_transaction(void **state)
{
	struct bed *bed = bed_new(16 * MIB, true);
	uint64_t left;

	(void)state;
	for (unsigned i = 0; i < HUGE_BLOCKS; i += 2)
		assert_int_equal(put(bed->inode, i * 4096, (char)('a' + i % 26), 4096), 4096);
	left = bed_free(bed);
	assert_int_equal(relocate(bed->inode, 0), 2 * MIB);
	/* The holes take space; nodes of the tree, which has one extent now, give some back. */
	assert_in_range(bed_free(bed), left - HUGE_BLOCKS / 2, left - HUGE_BLOCKS / 2 + 3);
	assert_int_equal(extent_at(bed->inode, 0).count, HUGE_BLOCKS);
	assert_int_equal(extent_at(bed->inode, 0).pblk % HUGE_BLOCKS, 0);
	for (unsigned i = 0; i + 1 < HUGE_BLOCKS; i++)
		expect(bed->inode, i * 4096, i % 2 ? 0 : (char)('a' + i % 26), 4096);
	assert_int_equal(relocate(bed->inode, 0), 0);
	bed_delete(bed);
}

/* Whoever maps the piece sees all of it. */
static void what_lies_behind_eof_is_zero_after_a_relocation(void **state)
{
	struct bed *bed = bed_new(16 * MIB, true);

	(void)state;
	assert_int_equal(put(bed->inode, 0, 'a', 8192), 8192);
	assert_int_equal(layout_truncate(bed->inode, 5000, &waits), 0);
	assert_int_equal(relocate(bed->inode, 0), 2 * MIB);
	for (const char *c = region_ptr(bed->region, extent_at(bed->inode, 0).pblk << BLOCK_SHIFT,
					2 * MIB),
			*end = c + 2 * MIB, *at = c + 5000;
	     at < end; at++)
		assert_int_equal(*at, 0);
	expect(bed->inode, 0, 'a', 5000);
	bed_delete(bed);
}

/* Free blocks enough, but no whole run: nothing changes, and nothing is lost. */
static void a_relocation_without_a_whole_run_is_refused(void **state)
{
	struct bed *bed = bed_new(4 * MIB, true);
	uint64_t left;

	(void)state;
	assert_int_equal(put(bed->inode, 4096, 'b', 4096), 4096);
	while (put(bed->inode, bed_free(bed) * 8192, 'c', 4096) == 4096 && bed_free(bed) > 400)
		;
	left = bed_free(bed);
	relocate(bed->inode, -ENOSPC);
	assert_int_equal(bed_free(bed), left);
	expect(bed->inode, 4096, 'b', 4096);
	bed_delete(bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_is_written_read_cut_and_kept_over_a_remount),
		cmocka_unit_test(punch_and_zero_leave_the_bytes_around_them),
		cmocka_unit_test(a_punch_inside_one_block_ends),
		cmocka_unit_test(collapse_and_insert_move_what_is_behind),
		cmocka_unit_test(exchange_swaps_two_ranges),
		cmocka_unit_test(zero_range_behind_eof_zeroes_the_tail_too),
		cmocka_unit_test(a_write_that_finds_no_room_says_what_it_has_written),
		cmocka_unit_test(a_file_copied_behind_its_own_end_is_copied_once),
		cmocka_unit_test(a_piece_of_256_extents_is_moved_in_one_transaction),
		cmocka_unit_test(what_lies_behind_eof_is_zero_after_a_relocation),
		cmocka_unit_test(a_relocation_without_a_whole_run_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
