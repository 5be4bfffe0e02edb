/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * names.h - what the tests of directories, names, attributes and ACLs share: a volume in memory
 * with its lock checker on, and short ways to say what is done with it.
 *
 * tree_new() formats and mounts; tree_delete() unmounts, and fails the test when the lock checker
 * has reported anything or the volume has met damage that the test did not announce.
 */
#ifndef UDAX_TESTS_NAMES_H
#define UDAX_TESTS_NAMES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bed.h" /* cmocka, seeds, random numbers */

#include "alloc.h"
#include "crc.h"
#include "dir.h"
#include "extent.h"
#include "inode.h"
#include "journal.h"
#include "mem.h"
#include "namespace.h"
#include "region.h"
#include "sync.h"
#include "verified.h"
#include "volume.h"
#include "xattr.h"

struct tree {
	struct sync *sync;
	struct region *region;
	struct volume *vol;
	struct inode *root;
	unsigned lock_reports;
	bool expect_damage;   /* set by a test that makes some */
	uint64_t free_blocks; /* when it was mounted empty */
};

static inline void tree_lock_report(void *ctx, const char *line)
{
	struct tree *tree = ctx;

	tree->lock_reports++;
	print_error("%s\n", line);
}

static inline void tree_mount(struct tree *tree)
{
	struct volume_env env = { .sync = tree->sync, .mem = mem_heap() };
	char err[256];

	if (volume_mount(tree->region, &env, &tree->vol, err, sizeof(err)))
		fail_msg("mount: %s", err);
	assert_int_equal(inode_get(tree->vol, ROOT_INO, &tree->root), 0);
}

static inline uint64_t tree_free_blocks(const struct tree *tree)
{
	struct space space;

	alloc_space(tree->vol, &space);
	return space.free;
}

static inline struct tree *tree_new_with(uint64_t bytes, bool lockdep)
{
	struct format_options options = { .label = "names" };
	struct tree *tree = calloc(1, sizeof(*tree));
	struct sync_options sync = { lockdep, tree_lock_report, tree };

	assert_non_null(tree);
	tree->sync = sync_pthread_new(&sync);
	assert_non_null(tree->sync);
	tree->region = region_record_new(NULL, bytes, BLOCK_BYTES);
	assert_non_null(tree->region);
	assert_int_equal(volume_format(tree->region, tree->sync, mem_heap(), &options), 0);
	tree_mount(tree);
	tree->free_blocks = tree_free_blocks(tree);
	return tree;
}

static inline struct tree *tree_new(uint64_t bytes)
{
	return tree_new_with(bytes, true);
}

static inline void tree_unmount(struct tree *tree)
{
	if (!tree->expect_damage)
		assert_int_equal(atomic_load(&tree->vol->stat.errors), 0);
	inode_put(tree->root);
	volume_unmount(tree->vol);
}

/* Forget everything that is remembered in memory. */
static inline void tree_remount(struct tree *tree)
{
	tree_unmount(tree);
	tree_mount(tree);
}

/* The same, with one inode's reference renewed. */
static inline void tree_remount_keeping(struct tree *tree, struct inode **inode)
{
	uint64_t ino = (*inode)->ino;

	inode_put(*inode);
	tree_remount(tree);
	assert_int_equal(inode_get(tree->vol, ino, inode), 0);
}

static inline void tree_delete(struct tree *tree)
{
	tree_unmount(tree);
	region_close(tree->region);
	sync_delete(tree->sync);
	assert_int_equal(tree->lock_reports, 0);
	free(tree);
}

static inline unsigned pick(uint64_t *seed, unsigned below)
{
	return (unsigned)rng_below(seed, below);
}

/* ---- operations by short names ------------------------------------------------------------------ */

static const struct cred nobody_special = { .uid = 1000, .gid = 100, .umask = 0 };

/* Let go of what a call has put into *@inode, if it did. */
static inline int put_if(int err, struct inode **inode)
{
	if (!err)
		inode_put(*inode);
	return err;
}

static inline int mk(struct inode *dir, const char *name, mode_t mode)
{
	struct inode *inode;

	return put_if(ns_create(dir, name, strlen(name), mode, &nobody_special, 0, 0, &inode),
		      &inode);
}

static inline int mkfile(struct inode *dir, const char *name)
{
	return mk(dir, name, S_IFREG | 0644);
}

/* A new directory, with a reference. */
static inline struct inode *mkdir_in(struct inode *dir, const char *name)
{
	struct inode *inode = NULL;

	assert_int_equal(ns_create(dir, name, strlen(name), S_IFDIR | 0755, &nobody_special, 0, 0,
				   &inode),
			 0);
	return inode;
}

static inline struct inode *mkfile_in(struct inode *dir, const char *name)
{
	struct inode *inode = NULL;

	assert_int_equal(ns_create(dir, name, strlen(name), S_IFREG | 0644, &nobody_special, 0, 0,
				   &inode),
			 0);
	return inode;
}

/* The number of what @name stands for, or -errno. */
static inline int64_t ino_at(struct inode *dir, const char *name)
{
	struct inode *inode;
	int err = ns_lookup(dir, name, strlen(name), &inode);
	int64_t ino;

	if (err)
		return err;
	ino = (int64_t)inode->ino;
	inode_put(inode);
	return ino;
}

static inline int rm(struct inode *dir, const char *name)
{
	return ns_unlink(dir, name, strlen(name));
}

static inline int rmdir_in(struct inode *dir, const char *name)
{
	return ns_rmdir(dir, name, strlen(name));
}

static inline int ln(struct inode *inode, struct inode *dir, const char *name)
{
	return ns_link(inode, dir, name, strlen(name));
}

static inline int mv(struct inode *from, const char *old, struct inode *to, const char *new,
		     unsigned flags)
{
	return ns_rename(from, old, strlen(old), to, new, strlen(new), flags);
}

static inline int mv_whiteout(struct inode *from, const char *old, struct inode *to,
			      const char *new, unsigned flags)
{
	return ns_rename_whiteout(from, old, strlen(old), to, new, strlen(new),
				  RENAME_WHITEOUT | flags, &nobody_special);
}

static inline struct attr attr_of(struct inode *inode)
{
	struct attr attr;

	inode_attr(inode, &attr);
	return attr;
}

static inline int set_flags(struct inode *inode, uint32_t flags)
{
	struct attr attr = { .flags = flags };

	return inode_setattr(inode, SET_FLAGS, &attr);
}

/* ---- damage ------------------------------------------------------------------------------------------ */

/* Where block @lblk of a fork stands on the medium. */
static inline uint64_t block_of(struct inode *inode, enum fork_id fork, uint64_t lblk)
{
	struct extent ext;

	ilock(inode, SYNC_SHARED, HERE);
	assert_int_equal(extent_lookup(NULL, inode, fork, lblk, &ext), 0);
	iunlock(inode, SYNC_SHARED, HERE);
	assert_int_not_equal(ext.state, EXTENT_HOLE);
	return ext.pblk + (lblk - ext.lblk);
}

/* Put @bytes over the medium, as somebody else would, and let them be read anew. */
static inline void overwrite(struct tree *tree, uint64_t off, const void *bytes, size_t len)
{
	tree->expect_damage = true;
	region_store(tree->region, off, bytes, len, HERE);
	region_drain(tree->region, HERE);
	verified_clear(tree->vol, off >> BLOCK_SHIFT);
}

/* Change an inode's dinode as a hostile image would have it: with a right checksum. */
static inline void forge_dinode(struct tree *tree, const struct inode *inode, struct dinode *di)
{
	di->csum = to_le32(crc32c_skip(di, sizeof(*di), offsetof(struct dinode, csum)));
	overwrite(tree, inode->off, di, sizeof(*di));
}

#endif
