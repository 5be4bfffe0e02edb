/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * crash_operations.c - every operation, crashed at each of its fences (crash.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "crash.h"
#include "fault.h"
#include "file.h"
#include "format.h"
#include "inode.h"
#include "layout.h"
#include "mode.h"
#include "namespace.h"
#include "volume.h"
#include "xattr.h"

static const struct cred user = { .uid = 1000, .gid = 100, .umask = 022 };
static const struct layout_ctx may_wait = { .may_wait = true };

/* ---- short words ------------------------------------------------------------------------------------ */

/* The directory of @path, and its last name. */
static struct inode *parent(struct volume *vol, const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	char dir[256] = "";

	if (slash)
		memcpy(dir, path, (size_t)(slash - path));
	*ret_name = slash ? slash + 1 : path;
	return crash_open(vol, dir);
}

static void make(struct volume *vol, const char *path, mode_t mode)
{
	const char *name;
	struct inode *inode, *dir = parent(vol, path, &name);

	assert_int_equal(ns_create(dir, name, strlen(name), mode, &user, 8, 1, &inode), 0);
	inode_put(inode);
	inode_put(dir);
}

static void link_to(struct volume *vol, const char *path, const char *target)
{
	const char *name;
	struct inode *inode, *dir = parent(vol, path, &name);

	assert_int_equal(ns_symlink(dir, name, strlen(name), target, strlen(target), &user, &inode),
			 0);
	inode_put(inode);
	inode_put(dir);
}

static void unlink_path(struct volume *vol, const char *path)
{
	const char *name;
	struct inode *dir = parent(vol, path, &name);

	assert_int_equal(ns_unlink(dir, name, strlen(name)), 0);
	inode_put(dir);
}

static void rename_paths(struct volume *vol, const char *from, const char *to, unsigned flags)
{
	const char *from_name, *to_name;
	struct inode *from_dir = parent(vol, from, &from_name);
	struct inode *to_dir = parent(vol, to, &to_name);

	assert_int_equal(ns_rename(from_dir, from_name, strlen(from_name), to_dir, to_name,
				   strlen(to_name), flags),
			 0);
	inode_put(from_dir);
	inode_put(to_dir);
}

/* Data that differs from byte to byte and write to write, and is never poison. */
static void fill(unsigned char *buf, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = (unsigned char)(1 + (i * 7 + i / 251 + seed * 31) % 127);
}

static void store(struct volume *vol, const char *path, uint64_t pos, size_t len, unsigned seed)
{
	struct inode *inode = crash_open(vol, path);
	unsigned char *buf = malloc(len);

	assert_non_null(buf);
	fill(buf, len, seed);
	assert_int_equal(file_write(inode, pos, buf, len, 0), (int64_t)len);
	free(buf);
	inode_put(inode);
}

static void falloc(struct volume *vol, const char *path, int mode, uint64_t pos, uint64_t len)
{
	struct inode *inode = crash_open(vol, path);

	assert_int_equal(layout_fallocate(inode, mode, pos, len, &may_wait), 0);
	inode_put(inode);
}

static void resize(struct volume *vol, const char *path, uint64_t size)
{
	struct inode *inode = crash_open(vol, path);

	assert_int_equal(layout_truncate(inode, size, &may_wait), 0);
	inode_put(inode);
}

static void set_xattr(struct volume *vol, const char *path, const char *name, size_t len,
		      unsigned seed)
{
	struct inode *inode = crash_open(vol, path);
	unsigned char *value = malloc(len + 1);

	assert_non_null(value);
	fill(value, len, seed);
	assert_int_equal(xattr_set(inode, name, value, len, 0), 0);
	free(value);
	inode_put(inode);
}

/* ---- what stands on the volume ------------------------------------------------------------------------ */

static void one_file(struct volume *vol)
{
	make(vol, "file", S_IFREG | 0644);
	store(vol, "file", 0, 30000, 1);
}

static void two_files(struct volume *vol)
{
	one_file(vol);
	make(vol, "other", S_IFREG | 04755);
	store(vol, "other", 0, 50000, 2);
}

static void some_tree(struct volume *vol)
{
	two_files(vol);
	make(vol, "dir", S_IFDIR | 0755);
	make(vol, "dir/sub", S_IFDIR | 0755);
	make(vol, "dir/sub/file", S_IFREG | 0600);
	store(vol, "dir/sub/file", 0, 5000, 3);
	make(vol, "empty", S_IFDIR | 0755);
	link_to(vol, "link", "file");
}

/* A directory whose next entry splits a node of its index. */
static void full_dir(struct volume *vol)
{
	make(vol, "dir", S_IFDIR | 0755);
	for (unsigned i = 0; i < NODE_RECS; i++) {
		char path[32];

		snprintf(path, sizeof(path), "dir/f%03u", i);
		make(vol, path, S_IFIFO | 0600);
	}
}

/* A file of @n extents: every other block. */
static void scatter(struct volume *vol, const char *path, unsigned n)
{
	make(vol, path, S_IFREG | 0644);
	for (unsigned i = 0; i < n; i++)
		store(vol, path, (uint64_t)i * 2 * BLOCK_BYTES, 100, i);
}

#define MANY_EXTENTS 30

static void fragmented(struct volume *vol)
{
	scatter(vol, "file", MANY_EXTENTS);
}

static void two_fragmented(struct volume *vol)
{
	scatter(vol, "file", MANY_EXTENTS);
	scatter(vol, "other", MANY_EXTENTS);
}

/* More than a transaction in a tiny lane can free. */
#define TINY_LANE 4

static void scattered(struct volume *vol)
{
	scatter(vol, "file", 40);
}

static void with_xattrs(struct volume *vol)
{
	one_file(vol);
	set_xattr(vol, "file", "user.small", 10, 1);
	set_xattr(vol, "file", "user.large", 9000, 2);
}

static void with_holes(struct volume *vol)
{
	make(vol, "file", S_IFREG | 0644);
	store(vol, "file", 5 * BLOCK_BYTES, 6000, 1);
	resize(vol, "file", 20 * BLOCK_BYTES);
}

static void preallocated(struct volume *vol)
{
	make(vol, "file", S_IFREG | 0644);
	falloc(vol, "file", 0, 0, 40000);
}

/* EOF in mid-block, with old bytes behind it in that block. */
static void shortened(struct volume *vol)
{
	one_file(vol);
	resize(vol, "file", 5000);
}

/* ---- operations on names -------------------------------------------------------------------------------- */

static void op_create(struct volume *vol)
{
	make(vol, "new", S_IFREG | 0644);
}
static void op_mkdir(struct volume *vol)
{
	make(vol, "new", S_IFDIR | 0755);
}
static void op_mknod(struct volume *vol)
{
	make(vol, "new", S_IFCHR | 0600);
}
static void op_create_in_full(struct volume *vol)
{
	make(vol, "dir/new", S_IFREG | 0644);
}
static void op_symlink(struct volume *vol)
{
	link_to(vol, "new", "file");
}
static void op_unlink(struct volume *vol)
{
	unlink_path(vol, "file");
}
static void op_rename(struct volume *vol)
{
	rename_paths(vol, "file", "dir/moved", 0);
}
static void op_rename_over(struct volume *vol)
{
	rename_paths(vol, "file", "other", 0);
}
static void op_rename_dir(struct volume *vol)
{
	rename_paths(vol, "dir/sub", "moved", 0);
}
static void op_rename_dir_over(struct volume *vol)
{
	rename_paths(vol, "dir/sub", "empty", 0);
}

static void op_rename_whiteout(struct volume *vol)
{
	static const struct cred owner = { .uid = 1000, .gid = 1000 };
	struct inode *root;

	assert_int_equal(inode_get(vol, ROOT_INO, &root), 0);
	assert_int_equal(
		ns_rename_whiteout(root, "file", 4, root, "other", 5, RENAME_WHITEOUT, &owner), 0);
	inode_put(root);
}

static void op_rename_exchange(struct volume *vol)
{
	rename_paths(vol, "file", "dir/sub", RENAME_EXCHANGE);
}

static void op_unlink_many(struct volume *vol)
{
	/* Enough for nodes of the index to merge. */
	unlink_path(vol, "dir/f100");
}

static void op_symlink_long(struct volume *vol)
{
	char target[800];

	memset(target, 'x', sizeof(target) - 1);
	target[sizeof(target) - 1] = '\0';
	link_to(vol, "new", target);
}

static void op_link(struct volume *vol)
{
	struct inode *dir = crash_open(vol, "dir"), *inode = crash_open(vol, "file");

	assert_int_equal(ns_link(inode, dir, "second", 6), 0);
	inode_put(inode);
	inode_put(dir);
}

static void op_rmdir(struct volume *vol)
{
	struct inode *root = crash_open(vol, "");

	assert_int_equal(ns_rmdir(root, "empty", 5), 0);
	inode_put(root);
}

static void op_unlink_open(struct volume *vol)
{
	struct inode *inode = crash_open(vol, "file");

	unlink_path(vol, "file");
	assert_int_equal(file_write(inode, 40000, "more", 4, 0), 4);
	inode_put(inode);
}

static void op_tmpfile(struct volume *vol)
{
	struct inode *root = crash_open(vol, ""), *inode;

	assert_int_equal(ns_tmpfile(root, S_IFREG | 0600, &user, &inode), 0);
	assert_int_equal(file_write(inode, 0, "unseen until it has a name", 26, 0), 26);
	assert_int_equal(ns_link(inode, root, "named", 5), 0);
	inode_put(inode);
	inode_put(root);
}

/* ---- operations on attributes ----------------------------------------------------------------------------- */

static void op_setattr(struct volume *vol)
{
	struct inode *inode = crash_open(vol, "file");
	struct attr attr = { .mode = 0600, .uid = 7, .gid = 8, .mtime = { 1000, 5 } };

	assert_int_equal(inode_setattr(inode, SET_MODE | SET_UID | SET_GID | SET_MTIME, &attr), 0);
	inode_put(inode);
}

static void op_xattr_new(struct volume *vol)
{
	set_xattr(vol, "file", "user.first", 20, 9);
}
static void op_xattr_replace(struct volume *vol)
{
	set_xattr(vol, "file", "user.small", 5000, 9);
}
static void op_xattr_large(struct volume *vol)
{
	set_xattr(vol, "file", "user.large", 60000, 9);
}

static void op_xattr_remove(struct volume *vol)
{
	struct inode *inode = crash_open(vol, "file");

	assert_int_equal(xattr_set(inode, "user.small", NULL, 0, 0), 0);
	inode_put(inode);
}

/* ---- operations on data ---------------------------------------------------------------------------------------- */

static void op_append(struct volume *vol)
{
	store(vol, "file", 30000, 100, 5);
}
static void op_append_blocks(struct volume *vol)
{
	store(vol, "file", 30000, 100000, 5);
}
static void op_write_far(struct volume *vol)
{
	store(vol, "file", 90000, 5000, 5);
}
static void op_write_hole(struct volume *vol)
{
	store(vol, "file", 1000, 10000, 5);
}
static void op_write_unwritten(struct volume *vol)
{
	store(vol, "file", 6000, 9000, 5);
}
static void op_overwrite(struct volume *vol)
{
	store(vol, "file", 5000, 10000, 5);
}
static void op_truncate_down(struct volume *vol)
{
	resize(vol, "file", 5000);
}
static void op_truncate_zero(struct volume *vol)
{
	resize(vol, "file", 0);
}
static void op_truncate_up(struct volume *vol)
{
	resize(vol, "file", 100000);
}

#define KEEP FALLOC_FL_KEEP_SIZE

static void op_punch(struct volume *vol)
{
	falloc(vol, "file", FALLOC_FL_PUNCH_HOLE | KEEP, 8192, 8192);
}

static void op_punch_edges(struct volume *vol)
{
	falloc(vol, "file", FALLOC_FL_PUNCH_HOLE | KEEP, 5000, 14000);
}

static void op_punch_inside(struct volume *vol)
{
	falloc(vol, "file", FALLOC_FL_PUNCH_HOLE | KEEP, 5000, 100);
}

static void op_zero(struct volume *vol)
{
	falloc(vol, "file", FALLOC_FL_ZERO_RANGE, 5000, 60000);
}

static void op_fallocate(struct volume *vol)
{
	falloc(vol, "file", 0, 20000, 60000);
}

static void op_collapse(struct volume *vol)
{
	falloc(vol, "file", FALLOC_FL_COLLAPSE_RANGE, 4096, 8192);
}

static void op_insert(struct volume *vol)
{
	falloc(vol, "file", FALLOC_FL_INSERT_RANGE, 4096, 8192);
}

static void op_punch_many(struct volume *vol)
{
	falloc(vol, "file", FALLOC_FL_PUNCH_HOLE | KEEP, 3 * 4096 + 50, 40 * 4096);
}

static void op_zero_many(struct volume *vol)
{
	falloc(vol, "file", FALLOC_FL_ZERO_RANGE | KEEP, 3 * 4096 + 50, 20 * 4096);
}

static void op_punch_all(struct volume *vol)
{
	falloc(vol, "file", FALLOC_FL_PUNCH_HOLE | KEEP, 4096 + 50, 70 * 4096);
}

/* Everything preallocated already: what is left is to make it unwritten. */
static void op_zero_all(struct volume *vol)
{
	falloc(vol, "file", FALLOC_FL_ZERO_RANGE | KEEP, 50, 40 * 4096);
}

static void exchange(struct volume *vol, uint64_t pos, uint64_t other_pos, uint64_t len)
{
	struct inode *a = crash_open(vol, "file"), *b = crash_open(vol, "other");

	assert_int_equal(layout_exchange(a, pos, b, other_pos, len, &may_wait), 0);
	inode_put(a);
	inode_put(b);
}

static void op_exchange(struct volume *vol)
{
	exchange(vol, 4096, 8192, 16384);
}
static void op_exchange_many(struct volume *vol)
{
	exchange(vol, 4096, 0, 50 * 4096);
}

/* The usual way to replace a file's contents: in a nameless one, which then vanishes. */
static void op_exchange_nameless(struct volume *vol)
{
	struct inode *root = crash_open(vol, ""), *file = crash_open(vol, "file"), *nameless;

	assert_int_equal(ns_tmpfile(root, S_IFREG | 0600, &user, &nameless), 0);
	for (unsigned i = 0; i < 12; i++)
		assert_int_equal(file_write(nameless, (uint64_t)i * 2 * BLOCK_BYTES, "new", 3, 0),
				 3);
	assert_int_equal(layout_truncate(nameless, 24 * BLOCK_BYTES, &may_wait), 0);
	assert_int_equal(layout_exchange(file, 0, nameless, 0, 24 * BLOCK_BYTES, &may_wait), 0);
	inode_put(nameless);
	inode_put(file);
	inode_put(root);
}

static void asked(struct client *client, uint32_t id, uint32_t seq, uint64_t pos, uint64_t len)
{
	(void)client, (void)id, (void)seq, (void)pos, (void)len;
}

static void granted(struct fault *fault)
{
	(void)fault;
}

/* What a client that never answers maps is replaced, and quarantined, before the file is changed. */
static void while_late(struct volume *vol, int mode, uint64_t pos, uint64_t len)
{
	static const struct client_ops ops = { asked, asked };
	struct client client = { .ops = &ops };
	struct inode *inode = crash_open(vol, "file");
	struct fault fault = { .end = 16 * BLOCK_BYTES, .may_wait = true, .granted = granted };
	struct waiter waiter = { NULL };
	enum file_mode file_mode;

	vol->recall_timeout_ns = 1;
	assert_int_equal(mode_open(inode, MODE_WANT_UNCACHED, &waiter, &file_mode), 0);
	assert_int_equal(attach(inode, &client, 1, false, &fault.att), 0);
	assert_int_equal(fault_serve(&fault), 0);
	assert_int_equal(fault.kind, GRANT_READ);
	assert_int_equal(layout_fallocate(inode, mode, pos, len, &may_wait), 0);
	assert_int_equal(atomic_load(&vol->nlate), 1);
	detach(fault.att);
	mode_release(inode, 0);
	inode_put(inode);
}

static void op_zero_late(struct volume *vol)
{
	while_late(vol, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 0, 2 * BLOCK_BYTES);
}

static void op_punch_edges_late(struct volume *vol)
{
	while_late(vol, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100, 2 * BLOCK_BYTES);
}

static void op_relocate(struct volume *vol)
{
	struct inode *inode = crash_open(vol, "file");
	uint64_t moved;

	assert_int_equal(layout_relocate(inode, 0, UINT64_MAX, &may_wait, &moved), 0);
	assert_int_equal(moved, 2u << 20);
	inode_put(inode);
}

static void op_copy(struct volume *vol)
{
	struct inode *a = crash_open(vol, "file"), *b = crash_open(vol, "other");

	assert_int_equal(file_copy(a, 0, b, 60000, 20000, 0), 20000);
	inode_put(a);
	inode_put(b);
}

/* ---- the table -------------------------------------------------------------------------------------------------- */

#define CASE(sentence, setup_fn, op_fn) .name = (sentence), .setup = (setup_fn), .op = (op_fn)

static const struct crash_case cases[] = {
	{ CASE("create_is_atomic", NULL, op_create) },
	{ CASE("mkdir_is_atomic", NULL, op_mkdir) },
	{ CASE("mknod_is_atomic", NULL, op_mknod) },
	{ CASE("create_that_splits_the_index_is_atomic", full_dir, op_create_in_full) },
	{ CASE("unlink_from_a_large_directory_is_atomic", full_dir, op_unlink_many) },
	{ CASE("symlink_is_atomic", NULL, op_symlink) },
	{ CASE("symlink_with_a_block_is_atomic", NULL, op_symlink_long) },
	{ CASE("link_is_atomic", some_tree, op_link) },
	{ CASE("unlink_is_atomic", one_file, op_unlink) },
	{ CASE("rmdir_is_atomic", some_tree, op_rmdir) },
	{ CASE("a_file_unlinked_while_open_is_reclaimed", one_file, op_unlink_open) },
	{ CASE("tmpfile_appears_only_with_its_name", one_file, op_tmpfile) },
	{ CASE("rename_is_atomic", some_tree, op_rename) },
	{ CASE("rename_over_a_file_is_atomic", some_tree, op_rename_over) },
	{ CASE("rename_of_a_directory_is_atomic", some_tree, op_rename_dir) },
	{ CASE("rename_over_a_directory_is_atomic", some_tree, op_rename_dir_over) },
	{ CASE("rename_exchange_is_atomic", some_tree, op_rename_exchange) },
	{ CASE("rename_with_a_whiteout_is_atomic", some_tree, op_rename_whiteout) },
	{ CASE("setattr_is_atomic", one_file, op_setattr) },
	{ CASE("first_xattr_is_atomic", one_file, op_xattr_new) },
	{ CASE("xattr_replaced_is_atomic", with_xattrs, op_xattr_replace) },
	{ CASE("large_xattr_is_atomic", with_xattrs, op_xattr_large) },
	{ CASE("xattr_removed_is_atomic", with_xattrs, op_xattr_remove) },
	{ CASE("append_is_atomic", one_file, op_append) },
	{ CASE("append_of_many_blocks_is_atomic", one_file, op_append_blocks) },
	{ CASE("append_over_old_bytes_behind_eof_is_atomic", shortened, op_write_far) },
	{ CASE("write_behind_eof_is_atomic", one_file, op_write_far) },
	{ CASE("write_into_a_hole_is_atomic", with_holes, op_write_hole) },
	{ CASE("write_into_unwritten_blocks_is_atomic", preallocated, op_write_unwritten) },
	{ CASE("overwrite_leaves_old_or_new_bytes", one_file, op_overwrite), .torn = 1 },
	{ CASE("truncate_down_is_atomic", one_file, op_truncate_down) },
	{ CASE("truncate_to_nothing_is_atomic", one_file, op_truncate_zero) },
	{ CASE("truncate_up_is_atomic", one_file, op_truncate_up) },
	{ CASE("truncate_up_over_old_bytes_shows_zeroes", shortened, op_truncate_up) },
	{ CASE("truncate_of_many_extents_is_atomic", fragmented, op_truncate_down) },
	{ CASE("punch_is_atomic", one_file, op_punch) },
	{ CASE("punch_with_edges_is_atomic", one_file, op_punch_edges) },
	{ CASE("punch_inside_a_block_is_atomic", one_file, op_punch_inside) },
	{ CASE("punch_of_many_extents_is_atomic", fragmented, op_punch_many) },
	{ CASE("zero_range_is_atomic", one_file, op_zero) },
	{ CASE("zero_range_of_many_extents_is_atomic", fragmented, op_zero_many) },
	{ CASE("zero_range_of_what_a_late_client_maps_is_atomic", one_file, op_zero_late) },
	{ CASE("punch_of_what_a_late_client_maps_is_atomic", one_file, op_punch_edges_late) },
	{ CASE("fallocate_is_atomic", one_file, op_fallocate) },
	{ CASE("collapse_is_atomic", one_file, op_collapse) },
	{ CASE("collapse_of_many_extents_is_atomic", fragmented, op_collapse) },
	{ CASE("insert_is_atomic", one_file, op_insert) },
	{ CASE("insert_before_many_extents_is_atomic", fragmented, op_insert) },
	{ CASE("exchange_is_atomic", two_files, op_exchange) },
	{ CASE("exchange_of_many_extents_is_atomic", two_fragmented, op_exchange_many) },
	{ CASE("truncate_in_many_transactions_is_atomic", scattered, op_truncate_down),
	  .lane_blocks = TINY_LANE },
	{ CASE("punch_in_many_transactions_is_atomic", scattered, op_punch_all),
	  .lane_blocks = TINY_LANE },
	{ CASE("zero_range_in_many_transactions_is_atomic", scattered, op_zero_all),
	  .lane_blocks = TINY_LANE },
	{ CASE("collapse_in_many_transactions_is_atomic", scattered, op_collapse),
	  .lane_blocks = TINY_LANE },
	{ CASE("insert_in_many_transactions_is_atomic", scattered, op_insert),
	  .lane_blocks = TINY_LANE },
	{ CASE("exchange_with_a_nameless_file_is_atomic", scattered, op_exchange_nameless),
	  .lane_blocks = TINY_LANE },
	{ CASE("unlink_in_many_transactions_is_atomic", scattered, op_unlink),
	  .lane_blocks = TINY_LANE },
	{ CASE("copy_at_the_end_is_atomic", two_files, op_copy) },
	{ CASE("relocation_shows_nothing_of_itself", fragmented, op_relocate), .bytes = 8 << 20,
	  .invisible = 1 },
};

#define NR_CASES (sizeof(cases) / sizeof(cases[0]))

static void explore(void **state)
{
	crash_explore(*state);
}

static void images_were_checked(void **state)
{
	(void)state;
	print_message("%llu images in all\n", (unsigned long long)crash_images());
	assert_true(crash_images() > 1000);
}

int main(void)
{
	struct CMUnitTest tests[NR_CASES + 1];

	for (size_t i = 0; i < NR_CASES; i++)
		tests[i] = (struct CMUnitTest){ cases[i].name, explore, NULL, NULL,
						(void *)&cases[i] };
	tests[NR_CASES] = (struct CMUnitTest)cmocka_unit_test(images_were_checked);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
