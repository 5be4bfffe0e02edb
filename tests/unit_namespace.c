/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_namespace.c - the tree of names: what each operation does and refuses, against a model, and
 * with threads.
 *
 * The model is arrays of numbers with the rules of POSIX and rename(2) written down once more. With
 * threads nobody can say what an operation has to answer, so afterwards the tree is walked: every
 * link count, parent and inode has to be accounted for.
 */
#include "names.h"

#include <errno.h>
#include <linux/fs.h>
#include <unistd.h>

/* Inodes that are in use, by the maps on the medium. */
static uint64_t used_inodes(const struct tree *tree)
{
	struct icache_stat stat;

	icache_stat(tree->vol, &stat);
	return stat.ninodes - stat.ninodes_free;
}

static uint32_t nlink_of(struct inode *inode)
{
	return attr_of(inode).nlink;
}

/* Times long ago, so that a change shows. */
static void age(struct inode *inode)
{
	struct timespec old = { .tv_sec = 1000 };
	struct attr attr = { .atime = old, .mtime = old, .ctime = old };

	assert_int_equal(inode_setattr(inode, SET_ATIME | SET_MTIME | SET_CTIME, &attr), 0);
}

static void assert_touched(struct inode *inode, bool mtime, bool ctime)
{
	struct attr attr = attr_of(inode);

	assert_int_equal(attr.mtime.tv_sec != 1000, mtime);
	assert_int_equal(attr.ctime.tv_sec != 1000, ctime);
	age(inode);
}

/* ---- making ------------------------------------------------------------------------------------- */

static void every_type_of_file_can_be_made_and_found(void **state)
{
	static const mode_t types[] = { S_IFREG, S_IFDIR, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK };
	struct tree *tree = tree_new(1 << 20);
	struct inode *made, *found;

	(void)state;
	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		char name[8];
		struct attr attr;

		snprintf(name, sizeof(name), "t%u", i);
		assert_int_equal(ns_create(tree->root, name, 2, types[i] | 04751, &nobody_special,
					   12, 345, &made),
				 0);
		assert_int_equal(ns_lookup(tree->root, name, 2, &found), 0);
		assert_ptr_equal(made, found);
		attr = attr_of(made);
		assert_int_equal(attr.mode, types[i] | 04751);
		assert_int_equal(attr.uid, 1000);
		assert_int_equal(attr.gid, 100);
		assert_int_equal(attr.nlink, S_ISDIR(types[i]) ? 2 : 1);
		assert_int_equal(attr.rdev_minor, S_ISCHR(types[i]) || S_ISBLK(types[i]) ? 345 : 0);
		inode_put(made);
		inode_put(found);
		assert_int_equal(mk(tree->root, name, types[i]), -EEXIST);
	}
	assert_int_equal(mk(tree->root, "link", S_IFLNK | 0777), -EINVAL);
	assert_int_equal(mk(tree->root, "none", 0644), -EINVAL);
	assert_int_equal(nlink_of(tree->root), 3);
	tree_delete(tree);
}

static void names_that_cannot_be_are_refused(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct inode *file = mkfile_in(tree->root, "file"), *found;
	char name[300];

	(void)state;
	memset(name, 'n', sizeof(name));
	assert_int_equal(ns_create(tree->root, name, 256, S_IFREG, &nobody_special, 0, 0, &found),
			 -ENAMETOOLONG);
	assert_int_equal(ns_lookup(tree->root, name, 256, &found), -ENAMETOOLONG);
	assert_int_equal(
		put_if(ns_create(tree->root, name, 255, S_IFREG, &nobody_special, 0, 0, &found),
		       &found),
		0);
	assert_int_equal(mkfile(tree->root, ""), -EINVAL);
	assert_int_equal(mkfile(tree->root, "."), -EINVAL);
	assert_int_equal(mkfile(tree->root, ".."), -EINVAL);
	assert_int_equal(mkfile(tree->root, "a/b"), -EINVAL);
	assert_int_equal(ns_create(tree->root, "a\0b", 3, S_IFREG, &nobody_special, 0, 0, &found),
			 -EINVAL);
	assert_int_equal(rm(tree->root, ".."), -EINVAL);
	assert_int_equal(rmdir_in(tree->root, "."), -EINVAL);
	assert_int_equal(mkfile(tree->root, "..."), 0);
	assert_int_equal(mkfile(tree->root, ".x"), 0);
	assert_int_equal(mkfile(file, "x"), -ENOTDIR);
	assert_int_equal(ino_at(file, "x"), -ENOTDIR);
	assert_int_equal(rm(file, "x"), -ENOTDIR);
	inode_put(file);
	tree_delete(tree);
}

static void dot_and_dotdot_are_looked_up(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct inode *a = mkdir_in(tree->root, "a"), *b = mkdir_in(a, "b");

	(void)state;
	assert_int_equal(ino_at(b, "."), b->ino);
	assert_int_equal(ino_at(b, ".."), a->ino);
	assert_int_equal(ino_at(a, ".."), ROOT_INO);
	assert_int_equal(ino_at(tree->root, ".."), ROOT_INO);
	assert_int_equal(mv(a, "b", tree->root, "b", 0), 0);
	assert_int_equal(ino_at(b, ".."), ROOT_INO);
	inode_put(a);
	inode_put(b);
	tree_delete(tree);
}

/* That is how the kernel looks at what a file handle names (open_by_handle_at, NFS). */
static void any_inode_that_has_a_name_is_its_own_dot(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct inode *file = mkfile_in(tree->root, "file"), *dir = mkdir_in(tree->root, "dir");

	(void)state;
	assert_int_equal(ino_at(file, "."), file->ino);
	assert_int_equal(ino_at(file, ".."), -ENOTDIR);
	assert_int_equal(rm(tree->root, "file"), 0);
	assert_int_equal(ino_at(file, "."), -ENOENT);
	assert_int_equal(rmdir_in(tree->root, "dir"), 0);
	assert_int_equal(ino_at(dir, "."), -ENOENT);
	inode_put(file);
	inode_put(dir);
	tree_delete(tree);
}

static void a_directory_has_two_links_and_one_for_each_directory_in_it(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct inode *dir = mkdir_in(tree->root, "dir");

	(void)state;
	assert_int_equal(nlink_of(dir), 2);
	assert_int_equal(nlink_of(tree->root), 3);
	assert_int_equal(mk(dir, "one", S_IFDIR | 0755), 0);
	assert_int_equal(mk(dir, "two", S_IFDIR | 0755), 0);
	assert_int_equal(mkfile(dir, "file"), 0);
	assert_int_equal(nlink_of(dir), 4);
	assert_int_equal(rmdir_in(dir, "one"), 0);
	assert_int_equal(nlink_of(dir), 3);
	inode_put(dir);
	tree_delete(tree);
}

static void umask_and_set_group_id_are_heeded(void **state)
{
	const struct cred cred = { .uid = 1, .gid = 2, .umask = 027 };
	struct tree *tree = tree_new(1 << 20);
	struct inode *dir = mkdir_in(tree->root, "dir"), *made;
	struct attr attr = { .mode = 02775, .gid = 555 };

	(void)state;
	assert_int_equal(inode_setattr(dir, SET_MODE | SET_GID, &attr), 0);
	assert_int_equal(ns_create(dir, "file", 4, S_IFREG | 0666, &cred, 0, 0, &made), 0);
	assert_int_equal(attr_of(made).mode, S_IFREG | 0640);
	assert_int_equal(attr_of(made).gid, 555);
	inode_put(made);
	assert_int_equal(ns_create(dir, "sub", 3, S_IFDIR | 0777, &cred, 0, 0, &made), 0);
	assert_int_equal(attr_of(made).mode, S_IFDIR | 02750);
	assert_int_equal(attr_of(made).gid, 555);
	inode_put(made);
	inode_put(dir);
	tree_delete(tree);
}

/* ---- removing ----------------------------------------------------------------------------------- */

static void what_is_no_empty_directory_is_not_removed_as_one(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct inode *dir = mkdir_in(tree->root, "dir");

	(void)state;
	assert_int_equal(mkfile(dir, "file"), 0);
	assert_int_equal(rmdir_in(tree->root, "dir"), -ENOTEMPTY);
	assert_int_equal(rm(tree->root, "dir"), -EISDIR);
	assert_int_equal(rmdir_in(dir, "file"), -ENOTDIR);
	assert_int_equal(rm(dir, "none"), -ENOENT);
	assert_int_equal(rmdir_in(dir, "none"), -ENOENT);
	assert_int_equal(rm(dir, "file"), 0);
	assert_int_equal(rmdir_in(tree->root, "dir"), 0);
	assert_int_equal(ino_at(tree->root, "dir"), -ENOENT);
	assert_int_equal(nlink_of(tree->root), 2);
	inode_put(dir);
	tree_delete(tree);
}

static void nothing_is_entered_in_a_removed_directory(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct inode *dir = mkdir_in(tree->root, "dir"), *file = mkfile_in(tree->root, "file");
	struct inode *made;

	(void)state;
	assert_int_equal(rmdir_in(tree->root, "dir"), 0);
	assert_int_equal(nlink_of(dir), 0);
	assert_int_equal(mkfile(dir, "x"), -ENOENT);
	assert_int_equal(mk(dir, "x", S_IFDIR | 0755), -ENOENT);
	assert_int_equal(ns_symlink(dir, "x", 1, "t", 1, &nobody_special, &made), -ENOENT);
	assert_int_equal(ns_tmpfile(dir, 0600, &nobody_special, &made), -ENOENT);
	assert_int_equal(ln(file, dir, "x"), -ENOENT);
	assert_int_equal(mv(tree->root, "file", dir, "x", 0), -ENOENT);
	assert_int_equal(ino_at(dir, "x"), -ENOENT);
	inode_put(dir);
	inode_put(file);
	tree_delete(tree);
}

static void a_file_lives_without_names_until_its_last_reference_goes(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	uint64_t inodes = used_inodes(tree), free_blocks;
	struct inode *file;
	char target[4000];

	(void)state;
	assert_int_equal(mkfile(tree->root, "warm up"), 0);
	assert_int_equal(rm(tree->root, "warm up"), 0);
	assert_int_equal(used_inodes(tree), inodes);
	free_blocks = tree_free_blocks(tree);

	memset(target, 't', sizeof(target));
	assert_int_equal(ns_symlink(tree->root, "file", 4, target, sizeof(target), &nobody_special,
				    &file),
			 0);
	assert_int_equal(tree_free_blocks(tree), free_blocks - 1);
	assert_int_equal(rm(tree->root, "file"), 0);
	assert_int_equal(nlink_of(file), 0);
	assert_int_equal(used_inodes(tree), inodes + 1);
	assert_int_equal(tree_free_blocks(tree), free_blocks - 1);
	inode_put(file);
	assert_int_equal(used_inodes(tree), inodes);
	assert_int_equal(tree_free_blocks(tree), free_blocks);
	tree_delete(tree);
}

static void what_has_no_name_is_reclaimed_after_a_crash(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	uint64_t inodes = used_inodes(tree);
	struct inode *file, *dir, *tmp;

	(void)state;
	file = mkfile_in(tree->root, "file");
	dir = mkdir_in(tree->root, "dir");
	assert_int_equal(ns_tmpfile(tree->root, 0600, &nobody_special, &tmp), 0);
	assert_int_equal(rm(tree->root, "file"), 0);
	assert_int_equal(rmdir_in(tree->root, "dir"), 0);
	assert_int_equal(used_inodes(tree), inodes + 3);
	volume_abandon(tree->vol);
	tree_mount(tree);
	assert_int_equal(used_inodes(tree), inodes);
	(void)file, (void)dir, (void)tmp; /* gone with the volume */
	tree_delete(tree);
}

/* ---- links, files without names ------------------------------------------------------------------------ */

static void a_file_has_as_many_links_as_names(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct inode *dir = mkdir_in(tree->root, "dir"), *file = mkfile_in(tree->root, "file");

	(void)state;
	assert_int_equal(ln(file, dir, "other"), 0);
	assert_int_equal(ln(file, tree->root, "third"), 0);
	assert_int_equal(nlink_of(file), 3);
	assert_int_equal(ino_at(dir, "other"), file->ino);
	assert_int_equal(ln(file, dir, "other"), -EEXIST);
	assert_int_equal(ln(dir, tree->root, "dir2"), -EPERM);
	assert_int_equal(rm(tree->root, "file"), 0);
	assert_int_equal(rm(tree->root, "third"), 0);
	assert_int_equal(nlink_of(file), 1);
	assert_int_equal(ino_at(dir, "other"), file->ino);
	inode_put(file);
	inode_put(dir);
	tree_delete(tree);
}

static void a_file_can_have_65000_links(void **state)
{
	enum { LINKS = 65000 };
	struct tree *tree = tree_new_with(16 << 20, false);
	struct inode *file = mkfile_in(tree->root, "file");
	char name[16];

	(void)state;
	for (unsigned i = 1; i < LINKS; i++) {
		snprintf(name, sizeof(name), "l%u", i);
		assert_int_equal(ln(file, tree->root, name), 0);
	}
	assert_int_equal(nlink_of(file), LINKS);
	inode_put(file);
	tree_delete(tree);
}

static void a_file_made_without_a_name_can_be_given_one(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	uint64_t inodes = used_inodes(tree);
	struct inode *kept, *lost;
	uint64_t ino;

	(void)state;
	assert_int_equal(ns_tmpfile(tree->root, 0640, &nobody_special, &kept), 0);
	assert_int_equal(ns_tmpfile(tree->root, 0640, &nobody_special, &lost), 0);
	assert_int_equal(nlink_of(kept), 0);
	assert_int_equal(attr_of(kept).mode, S_IFREG | 0640);
	assert_int_equal(ln(kept, tree->root, "kept"), 0);
	ino = kept->ino;
	inode_put(kept);
	inode_put(lost);
	assert_int_equal(used_inodes(tree), inodes + 1);
	volume_abandon(tree->vol);
	tree_mount(tree);
	assert_int_equal(ino_at(tree->root, "kept"), ino);
	assert_int_equal(used_inodes(tree), inodes + 1);
	tree_delete(tree);
}

/* ---- symbolic links ------------------------------------------------------------------------------------- */

static void symbolic_links_of_every_length_are_read_back(void **state)
{
	static const unsigned lengths[] = { 1, 2, 100, 222, 223, 224, 225, 1000, 4094, 4095 };
	struct tree *tree = tree_new(1 << 20);
	char target[4200], buf[MAX_SYMLINK_BYTES + 1], name[8];
	struct inode *link;

	(void)state;
	memset(target, 'x', sizeof(target));
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		snprintf(name, sizeof(name), "l%u", i);
		target[0] = (char)('a' + i);
		assert_int_equal(ns_symlink(tree->root, name, 2, target, lengths[i],
					    &nobody_special, &link),
				 0);
		assert_int_equal(attr_of(link).size, lengths[i]);
		assert_int_equal(attr_of(link).mode, S_IFLNK | 0777);
		inode_put(link);
	}
	tree_remount(tree);
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		snprintf(name, sizeof(name), "l%u", i);
		target[0] = (char)('a' + i);
		assert_int_equal(ns_lookup(tree->root, name, 2, &link), 0);
		assert_int_equal(ns_readlink(link, buf, lengths[i]), -ERANGE);
		assert_int_equal(ns_readlink(link, buf, lengths[i] + 1), 0);
		assert_int_equal(strlen(buf), lengths[i]);
		assert_memory_equal(buf, target, lengths[i]);
		inode_put(link);
	}
	assert_int_equal(ns_symlink(tree->root, "l", 1, target, 4096, &nobody_special, &link),
			 -ENAMETOOLONG);
	assert_int_equal(ns_symlink(tree->root, "l", 1, target, 0, &nobody_special, &link),
			 -EINVAL);
	assert_int_equal(ns_readlink(tree->root, buf, sizeof(buf)), -EINVAL);
	tree_delete(tree);
}

static void reading_a_link_is_noted_once(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct inode *link;
	struct timespec first, second;
	char buf[16];

	(void)state;
	assert_int_equal(ns_symlink(tree->root, "l", 1, "t", 1, &nobody_special, &link), 0);
	age(link);
	assert_int_equal(ns_readlink(link, buf, sizeof(buf)), 0);
	first = attr_of(link).atime;
	assert_true(first.tv_sec > 1000);
	assert_int_equal(attr_of(link).mtime.tv_sec, 1000);
	assert_int_equal(attr_of(link).ctime.tv_sec, 1000);
	assert_int_equal(ns_readlink(link, buf, sizeof(buf)), 0);
	second = attr_of(link).atime;
	assert_memory_equal(&first, &second, sizeof(first));
	inode_put(link);
	tree_delete(tree);
}

/* ---- renaming ------------------------------------------------------------------------------------------- */

/* /a/f, /a/sub/inner, /b/g, /b/empty, /b/full/x, and references to the directories. */
struct scene {
	struct tree *tree;
	struct inode *root, *a, *b, *sub, *inner, *empty, *full;
	int64_t f, g;
};

static struct scene scene_new(void)
{
	struct scene s = { .tree = tree_new(1 << 20) };

	s.root = s.tree->root;
	s.a = mkdir_in(s.root, "a");
	s.b = mkdir_in(s.root, "b");
	s.sub = mkdir_in(s.a, "sub");
	s.inner = mkdir_in(s.sub, "inner");
	s.empty = mkdir_in(s.b, "empty");
	s.full = mkdir_in(s.b, "full");
	assert_int_equal(mkfile(s.full, "x"), 0);
	assert_int_equal(mkfile(s.a, "f"), 0);
	assert_int_equal(mkfile(s.b, "g"), 0);
	s.f = ino_at(s.a, "f");
	s.g = ino_at(s.b, "g");
	return s;
}

static void scene_delete(struct scene *s)
{
	struct inode *dirs[] = { s->a, s->b, s->sub, s->inner, s->empty, s->full };

	for (unsigned i = 0; i < 6; i++)
		inode_put(dirs[i]);
	tree_delete(s->tree);
}

static void a_file_is_renamed_within_and_across_directories(void **state)
{
	struct scene s = scene_new();

	(void)state;
	assert_int_equal(mv(s.a, "f", s.a, "f2", 0), 0);
	assert_int_equal(ino_at(s.a, "f"), -ENOENT);
	assert_int_equal(ino_at(s.a, "f2"), s.f);
	assert_int_equal(mv(s.a, "f2", s.b, "f3", RENAME_NOREPLACE), 0);
	assert_int_equal(ino_at(s.a, "f2"), -ENOENT);
	assert_int_equal(ino_at(s.b, "f3"), s.f);
	assert_int_equal(mv(s.a, "none", s.b, "x", 0), -ENOENT);
	scene_delete(&s);
}

static void a_rename_replaces_a_file_and_frees_it(void **state)
{
	struct scene s = scene_new();
	uint64_t inodes = used_inodes(s.tree);

	(void)state;
	assert_int_equal(mv(s.a, "f", s.b, "g", RENAME_NOREPLACE), -EEXIST);
	assert_int_equal(mv(s.a, "f", s.b, "g", 0), 0);
	assert_int_equal(ino_at(s.b, "g"), s.f);
	assert_int_equal(ino_at(s.a, "f"), -ENOENT);
	assert_int_equal(used_inodes(s.tree), inodes - 1);
	scene_delete(&s);
}

static void a_rename_replaces_only_an_empty_directory(void **state)
{
	struct scene s = scene_new();

	(void)state;
	assert_int_equal(mv(s.a, "sub", s.b, "full", 0), -ENOTEMPTY);
	assert_int_equal(mv(s.a, "sub", s.b, "g", 0), -ENOTDIR);
	assert_int_equal(mv(s.a, "f", s.b, "empty", 0), -EISDIR);
	assert_int_equal(mv(s.a, "sub", s.b, "empty", 0), 0);
	assert_int_equal(ino_at(s.b, "empty"), s.sub->ino);
	assert_int_equal(ino_at(s.sub, ".."), s.b->ino);
	assert_int_equal(nlink_of(s.empty), 0);
	assert_int_equal(nlink_of(s.a), 2);
	assert_int_equal(nlink_of(s.b), 4);
	assert_int_equal(mkfile(s.empty, "x"), -ENOENT);
	/* Within one directory: one of two goes. */
	assert_int_equal(mk(s.b, "empty2", S_IFDIR | 0755), 0);
	assert_int_equal(mv(s.b, "empty", s.b, "empty2", 0), 0);
	assert_int_equal(nlink_of(s.b), 4);
	scene_delete(&s);
}

static void a_directory_does_not_move_below_itself(void **state)
{
	struct scene s = scene_new();

	(void)state;
	assert_int_equal(mv(s.root, "a", s.a, "x", 0), -EINVAL);
	assert_int_equal(mv(s.root, "a", s.sub, "x", 0), -EINVAL);
	assert_int_equal(mv(s.root, "a", s.inner, "x", 0), -EINVAL);
	assert_int_equal(mv(s.a, "sub", s.inner, "x", 0), -EINVAL);
	assert_int_equal(mv(s.a, "f", s.inner, "x", 0), 0);
	/* Nor does what is above change places with what is below. */
	assert_int_equal(mv(s.root, "a", s.sub, "inner", RENAME_EXCHANGE), -EINVAL);
	assert_int_equal(mv(s.inner, "x", s.root, "a", RENAME_EXCHANGE), -EINVAL);
	assert_int_equal(mv(s.inner, "x", s.a, "sub", 0), -EISDIR);
	assert_int_equal(mv(s.inner, "x", s.sub, "inner", 0), -EISDIR);
	assert_int_equal(mv(s.sub, "inner", s.a, "sub", 0), -ENOTEMPTY);
	assert_int_equal(mv(s.sub, "inner", s.root, "a", 0), -ENOTEMPTY);
	/* Upward and beside is allowed. */
	assert_int_equal(mv(s.sub, "inner", s.root, "inner", 0), 0);
	assert_int_equal(mv(s.root, "a", s.inner, "a", 0), 0);
	assert_int_equal(ino_at(s.a, ".."), s.inner->ino);
	scene_delete(&s);
}

static void an_exchange_swaps_files_and_directories(void **state)
{
	struct scene s = scene_new();

	(void)state;
	assert_int_equal(mv(s.a, "f", s.b, "none", RENAME_EXCHANGE), -ENOENT);
	assert_int_equal(mv(s.a, "f", s.b, "g", RENAME_EXCHANGE), 0);
	assert_int_equal(ino_at(s.a, "f"), s.g);
	assert_int_equal(ino_at(s.b, "g"), s.f);
	/* A file for a directory that is not empty. */
	assert_int_equal(mv(s.a, "f", s.b, "full", RENAME_EXCHANGE), 0);
	assert_int_equal(ino_at(s.a, "f"), s.full->ino);
	assert_int_equal(ino_at(s.b, "full"), s.g);
	assert_int_equal(ino_at(s.full, ".."), s.a->ino);
	assert_int_equal(nlink_of(s.a), 4);
	assert_int_equal(nlink_of(s.b), 3);
	/* Two directories, in two directories and in one. */
	assert_int_equal(mv(s.a, "sub", s.b, "empty", RENAME_EXCHANGE), 0);
	assert_int_equal(ino_at(s.sub, ".."), s.b->ino);
	assert_int_equal(ino_at(s.empty, ".."), s.a->ino);
	assert_int_equal(nlink_of(s.a), 4);
	assert_int_equal(nlink_of(s.b), 3);
	assert_int_equal(mv(s.root, "a", s.root, "b", RENAME_EXCHANGE), 0);
	assert_int_equal(ino_at(s.root, "a"), s.b->ino);
	assert_int_equal(nlink_of(s.root), 4);
	scene_delete(&s);
}

static void two_names_of_one_file_both_stay(void **state)
{
	struct scene s = scene_new();
	struct inode *f;

	(void)state;
	assert_int_equal(ns_lookup(s.a, "f", 1, &f), 0);
	assert_int_equal(ln(f, s.b, "f"), 0);
	assert_int_equal(mv(s.a, "f", s.b, "f", 0), 0);
	assert_int_equal(mv(s.a, "f", s.a, "f", 0), 0);
	assert_int_equal(mv(s.root, "a", s.root, "a", 0), 0);
	assert_int_equal(mv(s.a, "f", s.b, "f", RENAME_EXCHANGE), 0);
	assert_int_equal(mv(s.a, "f", s.b, "f", RENAME_NOREPLACE), -EEXIST);
	assert_int_equal(nlink_of(f), 2);
	assert_int_equal(ino_at(s.a, "f"), s.f);
	assert_int_equal(ino_at(s.b, "f"), s.f);
	inode_put(f);
	scene_delete(&s);
}

/* The whiteout that stands for @name in @dir; its number. */
static int64_t assert_whiteout(struct inode *dir, const char *name)
{
	struct inode *inode;
	struct attr attr;
	int64_t ino;

	assert_int_equal(ns_lookup(dir, name, strlen(name), &inode), 0);
	attr = attr_of(inode);
	assert_int_equal(attr.mode, S_IFCHR);
	assert_int_equal(attr.rdev_major, 0);
	assert_int_equal(attr.rdev_minor, 0);
	assert_int_equal(attr.nlink, 1);
	assert_int_equal(attr.uid, nobody_special.uid);
	ino = (int64_t)inode->ino;
	inode_put(inode);
	return ino;
}

static void a_whiteout_takes_the_old_name(void **state)
{
	struct scene s = scene_new();
	uint64_t inodes = used_inodes(s.tree);

	(void)state;
	assert_int_equal(mv_whiteout(s.a, "f", s.a, "f2", 0), 0);
	assert_int_equal(ino_at(s.a, "f2"), s.f);
	assert_whiteout(s.a, "f");
	/* Over a file, which goes, and beside a whiteout that is there already. */
	assert_int_equal(mv_whiteout(s.a, "f2", s.b, "g", RENAME_NOREPLACE), -EEXIST);
	assert_int_equal(mv_whiteout(s.a, "f2", s.b, "g", 0), 0);
	assert_int_equal(ino_at(s.b, "g"), s.f);
	assert_true(assert_whiteout(s.a, "f") != assert_whiteout(s.a, "f2"));
	assert_int_equal(used_inodes(s.tree), inodes + 1);
	/* A directory leaves a device, which is no directory to count. */
	assert_int_equal(mv_whiteout(s.a, "sub", s.b, "empty", 0), 0);
	assert_int_equal(ino_at(s.sub, ".."), s.b->ino);
	assert_whiteout(s.a, "sub");
	assert_int_equal(nlink_of(s.a), 2);
	assert_int_equal(nlink_of(s.b), 4);
	assert_int_equal(rm(s.a, "sub"), 0);
	scene_delete(&s);
}

static void a_rename_that_fails_or_does_nothing_leaves_no_whiteout(void **state)
{
	struct scene s = scene_new();
	uint64_t inodes = used_inodes(s.tree);

	(void)state;
	assert_int_equal(mv_whiteout(s.a, "f", s.a, "f", 0), 0);
	assert_int_equal(mv_whiteout(s.a, "none", s.a, "f", 0), -ENOENT);
	assert_int_equal(mv_whiteout(s.a, "sub", s.b, "full", 0), -ENOTEMPTY);
	assert_int_equal(mv_whiteout(s.a, "sub", s.inner, "x", 0), -EINVAL);
	assert_int_equal(mv_whiteout(s.a, "f", s.b, "x", RENAME_EXCHANGE), -EINVAL);
	assert_int_equal(ino_at(s.a, "f"), s.f);
	assert_int_equal(used_inodes(s.tree), inodes);
	scene_delete(&s);
}

static void flags_that_rename_does_not_know_are_refused(void **state)
{
	struct scene s = scene_new();

	(void)state;
	assert_int_equal(mv(s.a, "f", s.b, "x", RENAME_WHITEOUT), -EINVAL);
	assert_int_equal(mv(s.a, "f", s.b, "g", RENAME_NOREPLACE | RENAME_EXCHANGE), -EINVAL);
	assert_int_equal(mv(s.a, "f", s.b, "x", 1u << 30), -EINVAL);
	assert_int_equal(mv(s.a, "..", s.b, "x", 0), -EINVAL);
	assert_int_equal(mv(s.a, "f", s.b, ".", 0), -EINVAL);
	assert_int_equal(ino_at(s.a, "f"), s.f);
	scene_delete(&s);
}

/* ---- times, flags ---------------------------------------------------------------------------------------- */

static void an_operation_updates_the_times_of_what_it_changes(void **state)
{
	struct scene s = scene_new();
	struct inode *f;

	(void)state;
	assert_int_equal(ns_lookup(s.a, "f", 1, &f), 0);
	age(f), age(s.a), age(s.b), age(s.sub), age(s.empty);
	assert_int_equal(mkfile(s.a, "new"), 0);
	assert_touched(s.a, true, true);
	assert_int_equal(ln(f, s.b, "link"), 0);
	assert_touched(f, false, true);
	assert_touched(s.b, true, true);
	assert_int_equal(mv(s.a, "f", s.b, "link2", 0), 0);
	assert_touched(f, false, true);
	assert_touched(s.a, true, true);
	assert_touched(s.b, true, true);
	assert_int_equal(rm(s.b, "link"), 0);
	assert_touched(f, false, true);
	assert_touched(s.b, true, true);
	assert_int_equal(mv(s.a, "sub", s.b, "empty", 0), 0);
	assert_touched(s.sub, false, true);
	assert_touched(s.empty, false, true);
	assert_int_equal(mkfile(s.b, "g"), -EEXIST);
	assert_int_equal(rmdir_in(s.b, "full"), -ENOTEMPTY);
	age(s.b);
	assert_int_equal(rm(s.b, "none"), -ENOENT);
	assert_touched(s.b, false, false);
	inode_put(f);
	scene_delete(&s);
}

static void immutable_and_append_only_inodes_keep_their_names(void **state)
{
	struct scene s = scene_new();
	struct inode *f, *made;

	(void)state;
	assert_int_equal(ns_lookup(s.a, "f", 1, &f), 0);
	for (unsigned flag = DINODE_IMMUTABLE; flag <= DINODE_APPEND; flag *= 2) {
		assert_int_equal(set_flags(f, flag), 0);
		assert_int_equal(rm(s.a, "f"), -EPERM);
		assert_int_equal(mv(s.a, "f", s.b, "x", 0), -EPERM);
		assert_int_equal(mv(s.b, "g", s.a, "f", 0), -EPERM);
		assert_int_equal(mv(s.b, "g", s.a, "f", RENAME_EXCHANGE), -EPERM);
		assert_int_equal(ln(f, s.b, "x"), -EPERM);
		assert_int_equal(set_flags(f, 0), 0);
	}
	assert_int_equal(set_flags(s.a, DINODE_IMMUTABLE), 0);
	assert_int_equal(mkfile(s.a, "x"), -EPERM);
	assert_int_equal(ns_tmpfile(s.a, 0600, &nobody_special, &made), -EPERM);
	assert_int_equal(rm(s.a, "f"), -EPERM);
	assert_int_equal(mv(s.b, "g", s.a, "x", 0), -EPERM);
	assert_int_equal(set_flags(s.a, DINODE_APPEND), 0);
	assert_int_equal(mkfile(s.a, "x"), 0);
	assert_int_equal(rm(s.a, "x"), -EPERM);
	assert_int_equal(mv(s.a, "f", s.a, "y", 0), -EPERM);
	assert_int_equal(set_flags(s.a, 0), 0);
	assert_int_equal(rm(s.a, "f"), 0);
	inode_put(f);
	scene_delete(&s);
}

/* ---- without room, shut down, read-only -------------------------------------------------------------------- */

static void a_full_volume_refuses_new_files_and_lets_go_of_old_ones(void **state)
{
	struct tree *tree = tree_new(MIN_VOLUME_BYTES);
	uint64_t inodes = used_inodes(tree);
	struct inode *link;
	char target[4000], name[16];
	unsigned n = 0;
	int err = 0;

	(void)state;
	memset(target, 't', sizeof(target));
	for (; !err; n += !err) {
		snprintf(name, sizeof(name), "%u", n);
		err = put_if(ns_symlink(tree->root, name, strlen(name), target, sizeof(target),
					&nobody_special, &link),
			     &link);
	}
	assert_int_equal(err, -ENOSPC);
	assert_true(n > 4);
	assert_int_equal(ino_at(tree->root, name), -ENOENT);
	assert_int_equal(used_inodes(tree), inodes + n);
	for (unsigned i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%u", i);
		assert_int_equal(rm(tree->root, name), 0);
	}
	assert_int_equal(used_inodes(tree), inodes);
	assert_int_equal(put_if(ns_symlink(tree->root, "x", 1, target, sizeof(target),
					   &nobody_special, &link),
				&link),
			 0);
	tree_delete(tree);
}

static void after_a_shutdown_every_operation_fails(void **state)
{
	struct scene s = scene_new();
	char buf[8];

	(void)state;
	volume_shutdown(s.tree->vol);
	assert_int_equal(ino_at(s.a, "f"), -EIO);
	assert_int_equal(mkfile(s.a, "x"), -EIO);
	assert_int_equal(rm(s.a, "f"), -EIO);
	assert_int_equal(mv(s.a, "f", s.b, "x", 0), -EIO);
	assert_int_equal(ns_readlink(s.a, buf, sizeof(buf)), -EIO);
	scene_delete(&s);
}

/* ---- against a model ------------------------------------------------------------------------------------------ */

#define NODES 40
#define SLOTS 6

struct node {
	bool used, dir;
	unsigned nlink, parent;
	int child[SLOTS]; /* node, or -1 */
	uint64_t ino;
	struct inode *inode; /* of a directory */
};

struct world {
	struct tree *tree;
	uint64_t seed;
	struct node node[NODES]; /* 0: the root */
};

static const char *slot_name(unsigned slot)
{
	static const char *const names[SLOTS] = { "a",	"bb", "ccc", "long name number four",
						  "ee", "f" };

	return names[slot];
}

static void node_init(struct node *node, bool dir, unsigned parent)
{
	*node = (struct node){ .used = true, .dir = dir, .parent = parent };
	for (unsigned k = 0; k < SLOTS; k++)
		node->child[k] = -1;
}

static unsigned count_children(const struct world *w, unsigned at, bool dirs_only)
{
	unsigned n = 0;

	for (unsigned k = 0; k < SLOTS; k++) {
		int child = w->node[at].child[k];

		n += child >= 0 && (!dirs_only || w->node[child].dir);
	}
	return n;
}

static bool is_below(const struct world *w, unsigned at, unsigned top)
{
	for (; at != top; at = w->node[at].parent)
		if (at == 0)
			return false;
	return true;
}

static unsigned random_node(struct world *w, bool dir)
{
	for (;;) {
		unsigned at = pick(&w->seed, NODES);

		if (w->node[at].used && w->node[at].dir == dir)
			return at;
		if (!dir && pick(&w->seed, NODES) == 0)
			return NODES; /* there may be none */
	}
}

static void world_create(struct world *w)
{
	unsigned at = random_node(w, true), slot = pick(&w->seed, SLOTS), i = 1;
	bool dir = pick(&w->seed, 2);
	const char *name = slot_name(slot);
	struct inode *made;
	int err;

	while (i < NODES && w->node[i].used)
		i++;
	if (i == NODES)
		return;
	err = ns_create(w->node[at].inode, name, strlen(name), (dir ? S_IFDIR : S_IFREG) | 0755,
			&nobody_special, 0, 0, &made);
	assert_int_equal(err, w->node[at].child[slot] >= 0 ? -EEXIST : 0);
	if (err)
		return;
	node_init(&w->node[i], dir, at);
	w->node[at].child[slot] = (int)i;
	w->node[i].nlink = 1;
	w->node[i].ino = made->ino;
	if (dir)
		w->node[i].inode = made;
	else
		inode_put(made);
}

static void world_link(struct world *w)
{
	unsigned at = random_node(w, true), slot = pick(&w->seed, SLOTS);
	unsigned file = random_node(w, false);
	struct inode *inode;
	int err;

	if (file == NODES)
		return;
	assert_int_equal(inode_get(w->tree->vol, w->node[file].ino, &inode), 0);
	err = ln(inode, w->node[at].inode, slot_name(slot));
	inode_put(inode);
	assert_int_equal(err, w->node[at].child[slot] >= 0 ? -EEXIST : 0);
	if (err)
		return;
	w->node[at].child[slot] = (int)file;
	w->node[file].nlink++;
}

static void node_drop(struct node *node)
{
	if (node->dir)
		inode_put(node->inode);
	if (node->dir || --node->nlink == 0)
		node->used = false;
}

static void world_remove(struct world *w)
{
	unsigned at = random_node(w, true), slot = pick(&w->seed, SLOTS);
	bool dir = pick(&w->seed, 2);
	int child = w->node[at].child[slot], want = 0, err;

	if (child < 0)
		want = -ENOENT;
	else if (w->node[child].dir != dir)
		want = dir ? -ENOTDIR : -EISDIR;
	else if (dir && count_children(w, (unsigned)child, false))
		want = -ENOTEMPTY;
	err = dir ? rmdir_in(w->node[at].inode, slot_name(slot))
		  : rm(w->node[at].inode, slot_name(slot));
	assert_int_equal(err, want);
	if (err)
		return;
	node_drop(&w->node[child]);
	w->node[at].child[slot] = -1;
}

/* What rename(2) has to say. */
static int rename_verdict(const struct world *w, unsigned from, int src, unsigned to, int dst,
			  unsigned flags)
{
	bool exchange = flags & RENAME_EXCHANGE;

	if (src < 0)
		return -ENOENT;
	if (dst >= 0 && (flags & RENAME_NOREPLACE))
		return -EEXIST;
	if (dst < 0 && exchange)
		return -ENOENT;
	if (w->node[src].dir && is_below(w, to, (unsigned)src))
		return -EINVAL;
	if (exchange && w->node[dst].dir && is_below(w, from, (unsigned)dst))
		return -EINVAL;
	if (dst < 0 || exchange || src == dst)
		return 0;
	if (w->node[src].dir != w->node[dst].dir)
		return w->node[dst].dir ? -EISDIR : -ENOTDIR;
	return count_children(w, (unsigned)dst, false) ? -ENOTEMPTY : 0;
}

static void world_rename(struct world *w)
{
	static const unsigned all_flags[] = { 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE };
	unsigned from = random_node(w, true), to = random_node(w, true);
	unsigned old = pick(&w->seed, SLOTS), new = pick(&w->seed, SLOTS);
	unsigned flags = all_flags[pick(&w->seed, 4)];
	int src = w->node[from].child[old], dst = w->node[to].child[new];
	int want = rename_verdict(w, from, src, to, dst, flags);
	int err = mv(w->node[from].inode, slot_name(old), w->node[to].inode, slot_name(new), flags);

	assert_int_equal(err, want);
	if (err || src == dst)
		return;
	w->node[from].child[old] = flags & RENAME_EXCHANGE ? dst : -1;
	w->node[to].child[new] = src;
	w->node[src].parent = to;
	if (dst >= 0 && (flags & RENAME_EXCHANGE))
		w->node[dst].parent = from;
	else if (dst >= 0)
		node_drop(&w->node[dst]);
}

static void world_compare_dir(struct world *w, unsigned at)
{
	struct node *node = &w->node[at];
	struct dir_entry entry;
	unsigned n = 0;
	int err;

	assert_int_equal(nlink_of(node->inode), 2 + count_children(w, at, true));
	assert_int_equal(ino_at(node->inode, ".."), w->node[node->parent].ino);
	for (unsigned k = 0; k < SLOTS; k++)
		assert_int_equal(ino_at(node->inode, slot_name(k)),
				 node->child[k] < 0 ? -ENOENT
						    : (int64_t)w->node[node->child[k]].ino);
	ilock(node->inode, SYNC_SHARED, HERE);
	for (err = dir_iterate(node->inode, 0, &entry); !err; err = dir_next(node->inode, &entry))
		n++;
	iunlock(node->inode, SYNC_SHARED, HERE);
	assert_int_equal(n, count_children(w, at, false));
}

static void world_compare(struct world *w)
{
	unsigned used = 0;

	for (unsigned i = 0; i < NODES; i++) {
		struct inode *inode;

		used += w->node[i].used;
		if (!w->node[i].used)
			continue;
		if (w->node[i].dir) {
			world_compare_dir(w, i);
			continue;
		}
		assert_int_equal(inode_get(w->tree->vol, w->node[i].ino, &inode), 0);
		assert_int_equal(nlink_of(inode), w->node[i].nlink);
		inode_put(inode);
	}
	assert_int_equal(used_inodes(w->tree), used + 1); /* the inode file */
}

static void world_put_dirs(struct world *w)
{
	for (unsigned i = 1; i < NODES; i++)
		if (w->node[i].used && w->node[i].dir)
			inode_put(w->node[i].inode);
}

static void world_remount(struct world *w)
{
	world_put_dirs(w);
	tree_remount(w->tree);
	w->node[0].inode = w->tree->root;
	for (unsigned i = 1; i < NODES; i++)
		if (w->node[i].used && w->node[i].dir)
			assert_int_equal(inode_get(w->tree->vol, w->node[i].ino, &w->node[i].inode),
					 0);
}

static void the_tree_behaves_as_arrays_of_numbers(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	(void)state;
	w->seed = bed_seed(1);
	w->tree = tree_new(1 << 20);
	node_init(&w->node[0], true, 0);
	w->node[0].ino = ROOT_INO;
	w->node[0].inode = w->tree->root;
	for (unsigned step = 0; step < 20000; step++) {
		unsigned what = pick(&w->seed, 100);

		if (what < 30)
			world_create(w);
		else if (what < 40)
			world_link(w);
		else if (what < 65)
			world_remove(w);
		else
			world_rename(w);
		if (step % 50 == 0)
			world_compare(w);
		if (step % 2000 == 1999)
			world_remount(w);
	}
	world_compare(w);
	world_put_dirs(w);
	tree_delete(w->tree);
	free(w);
}

/* ---- with threads -------------------------------------------------------------------------------------------------- */

struct worker {
	struct tree *tree;
	uint64_t seed;
	unsigned bad; /* answers that no order of the operations explains */
};

/* A random directory: down from the root, as far as luck leads. */
static struct inode *wander(struct worker *worker)
{
	struct inode *dir = worker->tree->root, *next;

	inode_ref(dir);
	while (pick(&worker->seed, 4)) {
		const char *name = slot_name(pick(&worker->seed, SLOTS));

		if (ns_lookup(dir, name, strlen(name), &next))
			break;
		if (!S_ISDIR(next->type)) {
			inode_put(next);
			break;
		}
		inode_put(dir);
		dir = next;
	}
	return dir;
}

static int one_operation(struct worker *worker, struct inode *dir, struct inode *other)
{
	static const unsigned flags[] = { 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE };
	const char *name = slot_name(pick(&worker->seed, SLOTS));
	const char *name2 = slot_name(pick(&worker->seed, SLOTS));
	struct inode *inode;
	int err;

	switch (pick(&worker->seed, 10)) {
	case 0:
		return mkfile(dir, name);
	case 1:
	case 2:
		return mk(dir, name, S_IFDIR | 0755);
	case 3:
		return rm(dir, name);
	case 4:
		return rmdir_in(dir, name);
	case 5:
		err = ns_lookup(dir, name, strlen(name), &inode);
		if (err)
			return err;
		err = ln(inode, other, name2);
		inode_put(inode);
		return err;
	case 6:
		return put_if(ns_lookup(dir, "..", 2, &inode), &inode);
	default:
		return mv(dir, name, other, name2, flags[pick(&worker->seed, 4)]);
	}
}

static void work(void *arg)
{
	struct worker *worker = arg;

	for (unsigned i = 0; i < 4000; i++) {
		struct inode *dir = wander(worker), *other = wander(worker);
		int err = one_operation(worker, dir, other);

		if (err == -EIO || err == -EAGAIN || err == -EFBIG || err == -ENOMEM || err > 0)
			worker->bad++;
		inode_put(dir);
		inode_put(other);
	}
}

/*
 * Hold back an operation between its look at a name and its locks, and meanwhile let the name's
 * place be taken by another: the file's inode has a smaller number than its directory's, so it is
 * locked first, and the directory stays free to be changed.
 */
struct held_back {
	struct inode *dir;
	const char *name;
	int err;
};

static void unlink_held_back(void *arg)
{
	struct held_back *h = arg;

	h->err = rm(h->dir, h->name);
}

static void rename_held_back(void *arg)
{
	struct held_back *h = arg;

	h->err = mv(h->dir, h->name, h->dir, "renamed", 0);
}

/* Put @now in the place of @name, for the same inode, while @operation on @name waits. */
static int change_name_under(struct tree *tree, struct inode *dir, struct inode *file,
			     const char *name, const char *now, void (*operation)(void *))
{
	struct held_back h = { dir, name, 1 };
	struct dir_entry entry;
	struct sync_thread *thread;
	struct tx *tx;

	assert_true(file->ino < dir->ino);
	assert_int_equal(tx_begin(tree->vol, 0, &tx, HERE), 0);
	ilock(file, SYNC_EXCL, HERE);
	assert_int_equal(sync_thread_start(tree->sync, "held back", operation, &h, &thread), 0);
	usleep(100000); /* it has looked, and waits; if not, it will find the new name */
	ilock_nested(dir, SYNC_EXCL, 1, HERE);
	assert_int_equal(dir_lookup(tx, dir, name, strlen(name), &entry), 0);
	assert_int_equal(dir_remove(tx, dir, &entry), 0);
	assert_int_equal(dir_add(tx, dir, now, strlen(now), file->ino, 8), 0);
	assert_int_equal(tx_end(tx, 0), 0);
	iunlock(dir, SYNC_EXCL, HERE);
	iunlock(file, SYNC_EXCL, HERE);
	sync_thread_join(thread);
	return h.err;
}

static void a_name_that_changes_between_look_and_lock_is_looked_up_again(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct inode *file = mkfile_in(tree->root, "file"), *dir = mkdir_in(tree->root, "dir");

	(void)state;
	alarm(60);
	assert_int_equal(ln(file, dir, "one"), 0);
	assert_int_equal(change_name_under(tree, dir, file, "one", "two", unlink_held_back),
			 -ENOENT);
	assert_int_equal(ino_at(dir, "two"), file->ino);
	assert_int_equal(change_name_under(tree, dir, file, "two", "six", rename_held_back),
			 -ENOENT);
	assert_int_equal(ino_at(dir, "six"), file->ino);
	assert_int_equal(ino_at(dir, "renamed"), -ENOENT);
	assert_int_equal(nlink_of(file), 2);
	alarm(0);
	inode_put(file);
	inode_put(dir);
	tree_delete(tree);
}

/* What a walk over the tree has found. */
struct census {
	uint64_t names;
	struct {
		uint64_t ino;
		uint32_t nlink, names;
	} files[4096];
	unsigned nfiles, ndirs;
};

static void count_file(struct census *c, struct inode *inode)
{
	unsigned i = 0;

	while (i < c->nfiles && c->files[i].ino != inode->ino)
		i++;
	if (i == c->nfiles) {
		assert_true(c->nfiles < 4096);
		c->files[c->nfiles++].ino = inode->ino;
		c->files[i].nlink = nlink_of(inode);
	}
	c->files[i].names++;
}

static void count_dir(struct census *c, struct inode *dir, uint64_t parent)
{
	struct dir_entry entry;
	uint64_t pos = 0;
	unsigned ndirs = 0;
	int err;

	c->ndirs++;
	assert_int_equal(ino_at(dir, ".."), parent);
	for (;;) {
		struct inode *inode;

		ilock(dir, SYNC_SHARED, HERE);
		err = dir_iterate(dir, pos, &entry);
		iunlock(dir, SYNC_SHARED, HERE);
		if (err)
			break;
		pos = entry.pos + 1;
		assert_int_equal(ns_lookup(dir, entry.name, entry.name_len, &inode), 0);
		assert_int_equal(inode->ino, entry.ino);
		if (S_ISDIR(inode->type)) {
			ndirs++;
			count_dir(c, inode, dir->ino);
		} else {
			count_file(c, inode);
		}
		inode_put(inode);
	}
	assert_int_equal(err, -ENOENT);
	assert_int_equal(nlink_of(dir), 2 + ndirs);
}

static void threads_leave_a_tree_in_which_everything_is_accounted_for(void **state)
{
	enum { THREADS = 4 };
	struct tree *tree = tree_new(4 << 20);
	struct census *c = calloc(1, sizeof(*c));
	struct sync_thread *threads[THREADS];
	struct worker workers[THREADS];
	uint64_t seed = bed_seed(1);

	(void)state;
	alarm(120); /* a deadlock is a failure, not a wait */
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){ tree, seed * 1000 + i, 0 };
		assert_int_equal(
			sync_thread_start(tree->sync, "worker", work, &workers[i], &threads[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		sync_thread_join(threads[i]);
		assert_int_equal(workers[i].bad, 0);
	}
	alarm(0);
	for (unsigned round = 0; round < 2; round++) {
		memset(c, 0, sizeof(*c));
		count_dir(c, tree->root, ROOT_INO);
		for (unsigned i = 0; i < c->nfiles; i++)
			assert_int_equal(c->files[i].nlink, c->files[i].names);
		assert_int_equal(used_inodes(tree), c->nfiles + c->ndirs + 1);
		tree_remount(tree);
	}
	free(c);
	tree_delete(tree);
}

/* ---- damage -------------------------------------------------------------------------------------------------------- */

static void dinode_copy(struct tree *tree, const struct inode *inode, struct dinode *ret)
{
	memcpy(ret, region_ptr(tree->region, inode->off, sizeof(*ret)), sizeof(*ret));
}

static void a_circle_of_directories_is_an_error_and_not_a_loop(void **state)
{
	struct scene s = scene_new();
	struct dinode di;

	(void)state;
	alarm(30);
	dinode_copy(s.tree, s.a, &di);
	di.parent = to_le64(s.inner->ino);
	forge_dinode(s.tree, s.a, &di);
	assert_int_equal(mv(s.b, "full", s.inner, "x", 0), -EIO);
	di.parent = to_le64(s.a->ino);
	forge_dinode(s.tree, s.a, &di);
	assert_int_equal(mv(s.b, "full", s.inner, "x", 0), -EIO);
	di.parent = to_le64((uint64_t)s.f); /* no directory */
	forge_dinode(s.tree, s.a, &di);
	assert_int_equal(mv(s.b, "full", s.inner, "x", 0), -EIO);
	assert_int_equal(ino_at(s.a, ".."), -EIO);
	di.parent = to_le64(MAX_INO - 1); /* nothing at all */
	forge_dinode(s.tree, s.a, &di);
	assert_int_equal(mv(s.b, "full", s.inner, "x", 0), -EIO);
	assert_int_equal(ino_at(s.a, ".."), -EIO);
	di.parent = to_le64(ROOT_INO);
	forge_dinode(s.tree, s.a, &di);
	assert_int_equal(mv(s.b, "full", s.inner, "x", 0), 0);
	alarm(0);
	scene_delete(&s);
}

/* Enter a name for whatever, as only damage can. */
static void enter(struct scene *s, struct inode *dir, const char *name, uint64_t ino, uint8_t type)
{
	struct tx *tx;

	s->tree->expect_damage = true;
	assert_int_equal(tx_begin(s->tree->vol, 0, &tx, HERE), 0);
	ilock(dir, SYNC_EXCL, HERE);
	assert_int_equal(dir_add(tx, dir, name, strlen(name), ino, type), 0);
	assert_int_equal(tx_end(tx, 0), 0);
	iunlock(dir, SYNC_EXCL, HERE);
}

static void names_that_lead_nowhere_are_errors(void **state)
{
	enum { FILE_TYPE = 8, DIR_TYPE = 4 };
	struct scene s = scene_new();

	(void)state;
	alarm(30);
	enter(&s, s.a, "free", 1000000, FILE_TYPE);
	enter(&s, s.a, "wrong type", (uint64_t)s.f, DIR_TYPE);
	enter(&s, s.a, "itself", s.a->ino, DIR_TYPE);
	enter(&s, s.a, "table", INODE_FILE_INO + MAX_INO, FILE_TYPE);
	assert_int_equal(ino_at(s.a, "free"), -EIO);
	assert_int_equal(rm(s.a, "free"), -EIO);
	assert_int_equal(mv(s.a, "free", s.b, "x", 0), -EIO);
	assert_int_equal(mv(s.b, "g", s.a, "free", 0), -EIO);
	assert_int_equal(ino_at(s.a, "table"), -EIO);
	assert_int_equal(ino_at(s.a, "wrong type"), -EIO);
	assert_int_equal(rmdir_in(s.a, "wrong type"), -EIO);
	assert_int_equal(rmdir_in(s.a, "itself"), -EIO);
	assert_int_equal(mv(s.a, "itself", s.b, "x", 0), -EINVAL);
	assert_int_equal(ino_at(s.a, "f"), s.f);
	alarm(0);
	scene_delete(&s);
}

static void a_forged_symbolic_link_is_an_error(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	char target[1000], buf[MAX_SYMLINK_BYTES + 1];
	struct inode *inl, *blk;
	struct dinode di;

	(void)state;
	memset(target, 't', sizeof(target));
	assert_int_equal(ns_symlink(tree->root, "i", 1, target, 20, &nobody_special, &inl), 0);
	assert_int_equal(ns_symlink(tree->root, "b", 1, target, 1000, &nobody_special, &blk), 0);
	dinode_copy(tree, inl, &di);
	di.size = to_le64(INLINE_LINK_BYTES);
	forge_dinode(tree, inl, &di);
	assert_int_equal(ns_readlink(inl, buf, sizeof(buf)), -EIO);
	di.size = 0;
	forge_dinode(tree, inl, &di);
	assert_int_equal(ns_readlink(inl, buf, sizeof(buf)), -EIO);
	dinode_copy(tree, blk, &di);
	di.size = to_le64(UINT64_MAX);
	forge_dinode(tree, blk, &di);
	assert_int_equal(ns_readlink(blk, buf, sizeof(buf)), -EIO);
	di.size = to_le64(1000);
	di.data_recs[0].val = to_le64(EXTENT_PACK(UINT64_C(1) << 39, 1, 0));
	forge_dinode(tree, blk, &di);
	assert_int_equal(ns_readlink(blk, buf, sizeof(buf)), -EIO);
	inode_put(inl);
	inode_put(blk);
	tree_delete(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_type_of_file_can_be_made_and_found),
		cmocka_unit_test(names_that_cannot_be_are_refused),
		cmocka_unit_test(dot_and_dotdot_are_looked_up),
		cmocka_unit_test(any_inode_that_has_a_name_is_its_own_dot),
		cmocka_unit_test(a_directory_has_two_links_and_one_for_each_directory_in_it),
		cmocka_unit_test(umask_and_set_group_id_are_heeded),
		cmocka_unit_test(what_is_no_empty_directory_is_not_removed_as_one),
		cmocka_unit_test(nothing_is_entered_in_a_removed_directory),
		cmocka_unit_test(a_file_lives_without_names_until_its_last_reference_goes),
		cmocka_unit_test(what_has_no_name_is_reclaimed_after_a_crash),
		cmocka_unit_test(a_file_has_as_many_links_as_names),
		cmocka_unit_test(a_file_can_have_65000_links),
		cmocka_unit_test(a_file_made_without_a_name_can_be_given_one),
		cmocka_unit_test(symbolic_links_of_every_length_are_read_back),
		cmocka_unit_test(reading_a_link_is_noted_once),
		cmocka_unit_test(a_file_is_renamed_within_and_across_directories),
		cmocka_unit_test(a_rename_replaces_a_file_and_frees_it),
		cmocka_unit_test(a_rename_replaces_only_an_empty_directory),
		cmocka_unit_test(a_directory_does_not_move_below_itself),
		cmocka_unit_test(an_exchange_swaps_files_and_directories),
		cmocka_unit_test(two_names_of_one_file_both_stay),
		cmocka_unit_test(a_whiteout_takes_the_old_name),
		cmocka_unit_test(a_rename_that_fails_or_does_nothing_leaves_no_whiteout),
		cmocka_unit_test(flags_that_rename_does_not_know_are_refused),
		cmocka_unit_test(an_operation_updates_the_times_of_what_it_changes),
		cmocka_unit_test(immutable_and_append_only_inodes_keep_their_names),
		cmocka_unit_test(a_full_volume_refuses_new_files_and_lets_go_of_old_ones),
		cmocka_unit_test(after_a_shutdown_every_operation_fails),
		cmocka_unit_test(the_tree_behaves_as_arrays_of_numbers),
		cmocka_unit_test(a_name_that_changes_between_look_and_lock_is_looked_up_again),
		cmocka_unit_test(threads_leave_a_tree_in_which_everything_is_accounted_for),
		cmocka_unit_test(a_circle_of_directories_is_an_error_and_not_a_loop),
		cmocka_unit_test(names_that_lead_nowhere_are_errors),
		cmocka_unit_test(a_forged_symbolic_link_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
