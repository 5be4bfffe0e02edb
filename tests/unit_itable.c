/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_itable.c - which inode numbers are given out when the map of used inodes is damaged, and what
 * becomes of a number whose inode never came into being: never are there two inodes of one number.
 */
#include "names.h"

#include <errno.h>
#include <unistd.h>

#include "fsck.h"
#include "itable.h"

#define FILES 10u
#define MORE 200u /* files, for which the table of inodes has to grow */

/* ---- the map of the first inodes ----------------------------------------------------------------- */

static uint64_t map_off(struct tree *tree)
{
	for (uint64_t off = 0;; off += BLOCK_BYTES) {
		const struct map_block *mb = region_ptr(tree->region, off, BLOCK_BYTES);

		if (from_le32(mb->magic) == MAP_MAGIC && from_le32(mb->kind) == MAP_INODES)
			return off;
	}
}

/* Say that @ino is free: with a right checksum, as a bug would, or with a wrong one, as a medium. */
static void clear_used(struct tree *tree, uint64_t ino, bool sealed)
{
	uint64_t off = map_off(tree);
	struct map_block mb;

	memcpy(&mb, region_ptr(tree->region, off, sizeof(mb)), sizeof(mb));
	mb.bits[PLANE_USED][ino / 64] &= to_le64(~(UINT64_C(1) << ino % 64));
	if (sealed)
		mb.csum = to_le32(crc32c_skip(&mb, sizeof(mb), offsetof(struct map_block, csum)));
	overwrite(tree, off, &mb, sizeof(mb));
}

/* ---- files ------------------------------------------------------------------------------------------ */

static const char *name_of(unsigned i)
{
	static char name[16];

	snprintf(name, sizeof(name), "file%u", i);
	return name;
}

/* FILES files; returns the number of the one in the middle. */
static uint64_t make_files(struct tree *tree)
{
	for (unsigned i = 0; i < FILES; i++)
		assert_int_equal(mkfile(tree->root, name_of(i)), 0);
	return (uint64_t)ino_at(tree->root, name_of(FILES / 2));
}

static struct fsck_report check(struct tree *tree, enum fsck_repair repair)
{
	struct fsck_options options = { .repair = repair, .pending = FSCK_PENDING_NOTE };
	struct fsck_report report;

	assert_int_equal(fsck_check(tree->region, &options, &report), 0);
	return report;
}

/* Unmount, mend, and mount again what must now be sound. */
static void mend(struct tree *tree, enum fsck_code expected)
{
	tree_unmount(tree);
	assert_int_not_equal(check(tree, FSCK_REPAIR_NONE).by_code[expected], 0);
	assert_int_equal(check(tree, FSCK_REPAIR_ALL).left, 0);
	assert_int_equal(check(tree, FSCK_REPAIR_NONE).problems, 0);
	tree_mount(tree);
	tree->expect_damage = false;
}

/* What hangs for ever is to fail. */
static int set_alarm(void **state)
{
	(void)state;
	alarm(60);
	return 0;
}

/* ---- tests ------------------------------------------------------------------------------------------ */

static void make_more_files_than_there_are_numbers(struct tree *tree, uint64_t victim)
{
	for (unsigned i = FILES; i < FILES + MORE; i++) {
		assert_int_equal(mkfile(tree->root, name_of(i)), 0);
		assert_int_not_equal(ino_at(tree->root, name_of(i)), victim);
	}
	assert_int_not_equal(atomic_load(&tree->vol->stat.errors), 0);
}

static void a_number_in_use_that_is_marked_free_is_not_given_out(void **state)
{
	struct tree *tree = tree_new(4 << 20);
	uint64_t victim = make_files(tree);
	struct inode *inode;
	uint32_t generation;

	(void)state;
	clear_used(tree, victim, true);
	tree_remount(tree);
	assert_int_equal(inode_get(tree->vol, victim, &inode), 0);
	generation = inode->generation;
	inode_put(inode);
	make_more_files_than_there_are_numbers(tree, victim);
	assert_int_equal(inode_get(tree->vol, victim, &inode), 0);
	assert_int_equal(inode->generation, generation);
	inode_put(inode);
	mend(tree, FSCK_INODE_MAP_BIT);
	assert_int_equal(ino_at(tree->root, name_of(FILES / 2)), victim);
	tree_delete(tree);
}

static void nobody_waits_for_a_number_that_an_open_file_has(void **state)
{
	struct tree *tree = tree_new(4 << 20);
	uint64_t victim = make_files(tree);
	struct inode *inode;
	uint64_t off;

	(void)state;
	assert_int_equal(inode_get(tree->vol, victim, &inode), 0);
	off = inode->off;
	inode_put(inode);
	clear_used(tree, victim, true);
	tree_remount(tree);
	assert_int_equal(inode_get(tree->vol, victim, &inode), 0);
	/* Now the dinode goes as well, and only memory knows that there is somebody. */
	overwrite(tree, off, (char[DINODE_BYTES]){ 0 }, DINODE_BYTES);
	for (unsigned i = FILES; i < FILES + MORE; i++) {
		int err = mkfile(tree->root, name_of(i));

		if (err)
			assert_int_equal(err, -EIO);
		else
			assert_int_not_equal(ino_at(tree->root, name_of(i)), victim);
	}
	assert_ptr_equal(inode_find(tree->vol, victim), inode);
	volume_abandon(tree->vol); /* it is beyond an orderly end */
	region_close(tree->region);
	sync_delete(tree->sync);
	free(tree);
}

static void a_damaged_map_is_neither_used_nor_changed(void **state)
{
	struct tree *tree = tree_new(4 << 20);
	uint64_t victim = make_files(tree), off = map_off(tree), free_blocks;
	struct map_block before;

	(void)state;
	clear_used(tree, victim, false);
	tree_remount(tree);
	memcpy(&before, region_ptr(tree->region, off, sizeof(before)), sizeof(before));
	free_blocks = tree_free_blocks(tree);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(mkfile(tree->root, "new"), -EIO);
	for (unsigned i = 0; i < FILES; i++) {
		assert_true(ino_at(tree->root, name_of(i)) > 0);
		assert_int_equal(rm(tree->root, name_of(i)), -EIO);
		assert_true(ino_at(tree->root, name_of(i)) > 0);
	}
	assert_int_equal(tree_free_blocks(tree), free_blocks);
	assert_memory_equal(&before, region_ptr(tree->region, off, sizeof(before)), sizeof(before));
	mend(tree, FSCK_INODE_MAP);
	assert_int_equal(ino_at(tree->root, name_of(FILES / 2)), victim);
	assert_int_equal(rm(tree->root, name_of(FILES / 2)), 0);
	assert_int_equal(mkfile(tree->root, "new"), 0);
	tree_delete(tree);
}

/* Make an inode in a transaction, let it be found by its number, and abort. */
static uint64_t make_none(struct tree *tree, struct inode **ret_found)
{
	struct inode *inode;
	struct tx *tx;
	uint64_t ino;

	assert_int_equal(inode_prepare(tree->vol), 0);
	assert_int_equal(tx_begin(tree->vol, 0, &tx, HERE), 0);
	assert_int_equal(inode_create(tx, NULL, S_IFREG | 0600, &nobody_special, 0, 0, &inode), 0);
	ino = inode->ino;
	*ret_found = inode_find(tree->vol, ino);
	assert_ptr_equal(*ret_found, inode);
	tx_abort(tx);
	inode_discard(inode);
	return ino;
}

static void an_inode_that_never_was_stays_with_who_has_found_it(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct inode *found, *inode;
	uint64_t ino = make_none(tree, &found), inodes, inodes_free, inodes_free_then;
	struct attr attr;

	(void)state;
	assert_null(inode_find(tree->vol, ino));
	assert_int_equal(found->ino, ino);
	/* The number has an owner again before the last one lets go of the handle. */
	inode = mkfile_in(tree->root, "file");
	assert_int_equal(inode->ino, ino);
	assert_ptr_not_equal(inode, found);
	itable_count(tree->vol, &inodes, &inodes_free);
	inode_put(found);
	assert_ptr_equal(inode_find(tree->vol, ino), inode);
	inode_put(inode);
	inode_attr(inode, &attr);
	assert_int_equal(attr.nlink, 1);
	itable_count(tree->vol, &inodes, &inodes_free_then);
	assert_int_equal(inodes_free_then, inodes_free);
	inode_put(inode);
	tree_remount(tree);
	assert_int_equal(ino_at(tree->root, "file"), ino);
	tree_delete(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_number_in_use_that_is_marked_free_is_not_given_out,
				       set_alarm),
		cmocka_unit_test_setup(nobody_waits_for_a_number_that_an_open_file_has, set_alarm),
		cmocka_unit_test_setup(a_damaged_map_is_neither_used_nor_changed, set_alarm),
		cmocka_unit_test_setup(an_inode_that_never_was_stays_with_who_has_found_it,
				       set_alarm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
