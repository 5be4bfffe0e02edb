/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_inode.c - inodes: attributes that are set and kept.
 */
#include "names.h"

static void setting_flags_of_a_symlink_keeps_its_target(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct inode *inode;
	char target[64];

	(void)state;
	assert_int_equal(ns_symlink(tree->root, "l", 1, "target", 6, &nobody_special, &inode), 0);
	assert_int_equal(set_flags(inode, 0), 0);
	assert_int_equal(ns_readlink(inode, target, sizeof(target)), 0);
	assert_string_equal(target, "target");
	inode_put(inode);
	tree_remount(tree);
	assert_int_equal(ns_lookup(tree->root, "l", 1, &inode), 0);
	assert_int_equal(set_flags(inode, DINODE_NODUMP), 0);
	assert_int_equal(ns_readlink(inode, target, sizeof(target)), 0);
	assert_string_equal(target, "target");
	inode_put(inode);
	tree_delete(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(setting_flags_of_a_symlink_keeps_its_target),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
