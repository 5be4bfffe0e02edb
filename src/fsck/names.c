/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * names.c - the tree of names as a whole: every directory is reached from the root, knows its
 * parent, and every inode has as many names as it says.
 *
 * dirs.c has left, for each inode, how many names were found, and of a directory where. What
 * no name leads to is given one in lost+found.
 */
#include <stddef.h>
#include <sys/stat.h>

#include "impl.h"

#define TYPE_DIR (S_IFDIR >> 12)

/* Marks of a directory while paths are followed. */
enum { MARK_NEW, MARK_ON_PATH, MARK_DONE };

static const struct dinode *dinode_of(const struct fsck *f, uint64_t ino)
{
	return region_ptr(f->region, fsck_ino_off(f, ino), sizeof(struct dinode));
}

static bool is_dir(const struct fsck *f, uint64_t ino)
{
	return fsck_in_use(f, ino) && fsck_iinfo(f, ino)->type == TYPE_DIR;
}

/* ---- the root -------------------------------------------------------------------------------- */

static void root_new(struct fsck *f)
{
	uint64_t off = fsck_ino_off(f, ROOT_INO), map_blk;
	const struct dinode *old = dinode_of(f, ROOT_INO);
	struct dinode d = { .magic = to_le32(DINODE_MAGIC),
			    .ino = to_le64(ROOT_INO),
			    .generation = to_le32(from_le32(old->generation) + 1),
			    .mode = to_le32(S_IFDIR | 0755),
			    .uid = to_le32(f->opt->uid),
			    .gid = to_le32(f->opt->gid),
			    .nlink = to_le32(2),
			    .parent = to_le64(ROOT_INO) };
	struct fix_store stores[2];
	struct map_block map;

	d.atime = d.mtime = d.ctime = d.btime =
		to_le64(from_le64(f->super.mounted_ns) / 1000000000u);
	dinode_seal_copy(&d);
	stores[0] = (struct fix_store){ off, &d, sizeof(d) };
	map_blk = fsck_map_copy(f, ROOT_INO, true, false, &map);
	stores[1] = (struct fix_store){ map_blk << BLOCK_SHIFT, &map, sizeof(map) };
	fsck_store(f, stores, map_blk ? 2 : 1);
}

int fsck_root(struct fsck *f)
{
	if (is_dir(f, ROOT_INO))
		return 0;
	if (fsck_found(f, FSCK_ROOT, ROOT_INO, FSCK_NOWHERE,
		       "there is no root directory; an empty one is made") &&
	    fsck_ino_off(f, ROOT_INO)) {
		fsck_iinfo(f, ROOT_INO)->fix = 0;
		root_new(f);
	}
	return 0;
}

/* ---- paths ----------------------------------------------------------------------------------- */

static int disconnected(struct fsck *f, uint64_t ino, const char *what)
{
	fsck_found(f, FSCK_DISCONNECTED, ino, FSCK_NOWHERE,
		   "directory inode %llu %s; it goes to lost+found", (unsigned long long)ino, what);
	return vec_push(&f->orphans, &ino, sizeof(ino));
}

/* Follow parents from @ino up to the root, to what was followed before, or in a circle. */
static int follow(struct fsck *f, uint64_t ino)
{
	uint64_t at = ino;
	int err = 0;

	while (at != ROOT_INO && fsck_iinfo(f, at)->mark == MARK_NEW) {
		fsck_iinfo(f, at)->mark = MARK_ON_PATH;
		if (fsck_iinfo(f, at)->parent == FSCK_NOWHERE)
			break;
		at = fsck_iinfo(f, at)->parent;
		if (at == ROOT_INO || fsck_iinfo(f, at)->mark != MARK_ON_PATH)
			continue;
		/* Its name in the circle is taken away: it is the way in that is missing. */
		err = fsck_remove_later(f, fsck_iinfo(f, at)->parent, FSCK_NOWHERE, at);
		if (!err)
			err = disconnected(f, at, "is part of a circle of directories");
		if (err)
			return err;
		fsck_iinfo(f, fsck_iinfo(f, at)->parent)->links--;
		fsck_iinfo(f, at)->parent = FSCK_NOWHERE;
		break;
	}
	for (at = ino;
	     at != ROOT_INO && at != FSCK_NOWHERE && fsck_iinfo(f, at)->mark == MARK_ON_PATH;
	     at = fsck_iinfo(f, at)->parent)
		fsck_iinfo(f, at)->mark = MARK_DONE;
	return err;
}

/* An open directory that was removed: no name in it or for it, and no link. */
static bool is_removed_dir(const struct fsck *f, uint64_t ino)
{
	const struct dinode *d = dinode_of(f, ino);

	return !d->nlink && !d->nentries;
}

static int check_paths(struct fsck *f)
{
	uint64_t max = fsck_ino_max(f);
	int err = 0;

	for (uint64_t ino = ROOT_INO + 1; !err && ino < max; ino++) {
		if (!is_dir(f, ino))
			continue;
		if (fsck_iinfo(f, ino)->parent == FSCK_NOWHERE && !is_removed_dir(f, ino))
			err = disconnected(f, ino, "has no name");
		if (!err)
			err = follow(f, ino);
	}
	return err;
}

/* ---- what a dinode says ---------------------------------------------------------------------- */

static void put_parent(struct fsck *f, uint64_t ino, uint64_t parent)
{
	struct dinode d = *dinode_of(f, ino);

	d.parent = to_le64(parent);
	dinode_seal_copy(&d);
	fsck_store_one(f, fsck_ino_off(f, ino), &d, sizeof(d));
}

static void check_parent(struct fsck *f, uint64_t ino)
{
	uint64_t parent = ino == ROOT_INO ? ROOT_INO : fsck_iinfo(f, ino)->parent;
	uint64_t says = from_le64(dinode_of(f, ino)->parent);

	if (parent == FSCK_NOWHERE || parent == says)
		return;
	if (fsck_found(f, FSCK_PARENT, ino, FSCK_NOWHERE,
		       "directory inode %llu is in inode %llu, but says it is in %llu",
		       (unsigned long long)ino, (unsigned long long)parent,
		       (unsigned long long)says))
		put_parent(f, ino, parent);
}

/* With the right link count the inode is not pending for the lack of one, in the same step. */
static void put_links(struct fsck *f, uint64_t ino, uint32_t links)
{
	struct dinode d = *dinode_of(f, ino);
	struct fix_store stores[2];
	struct map_block map;
	uint64_t map_blk;

	d.nlink = to_le32(links);
	dinode_seal_copy(&d);
	stores[0] = (struct fix_store){ fsck_ino_off(f, ino), &d, sizeof(d) };
	map_blk = fsck_map_copy(f, ino, true, d.pending.kind != 0, &map);
	stores[1] = (struct fix_store){ map_blk << BLOCK_SHIFT, &map, sizeof(map) };
	fsck_store(f, stores, map_blk ? 2 : 1);
}

static int check_links(struct fsck *f, uint64_t ino)
{
	const struct iinfo *info = fsck_iinfo(f, ino);
	uint32_t says = from_le32(dinode_of(f, ino)->nlink), is = info->links;

	if (info->type == TYPE_DIR) {
		if (ino != ROOT_INO && info->parent == FSCK_NOWHERE)
			return 0; /* removed, or on its way to lost+found */
		is += 2;
	} else if (!is) {
		if (!says)
			return 0; /* pending */
		fsck_found(f, FSCK_ORPHAN, ino, FSCK_NOWHERE,
			   "inode %llu has no name; it goes to lost+found",
			   (unsigned long long)ino);
		return vec_push(&f->orphans, &ino, sizeof(ino));
	}
	if (is == says)
		return 0;
	if (fsck_found(f, FSCK_LINKS, ino, FSCK_NOWHERE, "inode %llu has %u links, but says %u",
		       (unsigned long long)ino, is, says))
		put_links(f, ino, is);
	return 0;
}

int fsck_names(struct fsck *f)
{
	uint64_t max = fsck_ino_max(f);
	int err = check_paths(f);

	f->report->inodes = f->report->files = f->report->directories = 0;
	for (uint64_t ino = ROOT_INO; !err && ino < max; ino++) {
		if (ino % 1024 == 1)
			fsck_progress(f, "names", ino, max);
		if (!fsck_in_use(f, ino))
			continue;
		f->report->inodes++;
		f->report->files += fsck_iinfo(f, ino)->type == S_IFREG >> 12;
		f->report->directories += is_dir(f, ino);
		if (is_dir(f, ino))
			check_parent(f, ino);
		err = check_links(f, ino);
	}
	if (!err)
		err = fsck_remove_entries(f);
	if (!err && f->repairing && f->orphans.n)
		err = fsck_lost(f);
	return err ? err : fsck_mend_marked(f);
}
