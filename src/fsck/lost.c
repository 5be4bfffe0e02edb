/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * lost.c - lost+found: a name for what has lost its own.
 *
 * The directory is made when it is first needed, with mode 0700 and the root's owner, so that
 * nothing becomes readable by being lost. Names are "#" and the inode number. If it cannot be had
 * (the name belongs to a file, no inode is free) the root takes them.
 *
 * Order: names first, in blocks that the directory's own dinode then takes in; what was given a
 * name is changed last. A crash in between leaves names whose inodes do not know of them: wrong
 * link counts and parents, which the next run puts right.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "dir.h"
#include "impl.h"

#define TYPE_DIR (S_IFDIR >> 12)

static const struct dinode *dinode_of(const struct fsck *f, uint64_t ino)
{
	return region_ptr(f->region, fsck_ino_off(f, ino), sizeof(struct dinode));
}

/* ---- entering names -------------------------------------------------------------------------- */

/* A directory being filled from its last block on. */
struct fill {
	struct fsck *f;
	uint64_t dir;
	struct dinode d;
	struct vec blocks; /* struct ext: those it had */
	struct vec hashes; /* uint32_t: of the names that it had, sorted */
	struct dirblock db;
	uint64_t pblk, lblk; /* of db; pblk 0: none yet */
	bool fresh;	     /* nothing refers to it yet */
};

static int by_hash(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int list_hashes(struct fill *fill)
{
	int err = 0;

	for (size_t i = 0; !err && i < fill->blocks.n; i++) {
		const struct ext *at = vec_at(&fill->blocks, struct ext, i);
		struct dirblock db = *(const struct dirblock *)fsck_block(fill->f, at->pblk);
		const struct dirent_disk *de;
		uint32_t off = 0;

		while (!err && (de = fsck_dirblock_next(&db, &off))) {
			uint32_t hash = from_le32(de->hash);

			err = vec_push(&fill->hashes, &hash, sizeof(hash));
		}
	}
	vec_sort(&fill->hashes, sizeof(uint32_t), by_hash);
	return err;
}

static void fill_free(struct fill *fill)
{
	vec_free(&fill->blocks);
	vec_free(&fill->hashes);
}

static int fill_begin(struct fill *fill, struct fsck *f, uint64_t dir)
{
	const struct ext *last;
	bool suspect;
	int err;

	*fill = (struct fill){ .f = f, .dir = dir };
	fsck_inode_copy(f, dir, &fill->d, &suspect);
	err = fsck_dir_blocks(f, dir, &fill->d, &fill->blocks);
	if (!err)
		err = list_hashes(fill);
	if (err)
		fill_free(fill);
	if (err || !fill->blocks.n)
		return err;
	last = vec_at(&fill->blocks, struct ext, fill->blocks.n - 1);
	fill->lblk = last->lblk;
	fill->pblk = last->pblk;
	fill->db = *(const struct dirblock *)fsck_block(f, last->pblk);
	return 0;
}

static void fill_flush(struct fill *fill)
{
	if (!fill->pblk)
		return;
	if (fill->fresh)
		fsck_store_fresh(fill->f, fill->pblk, &fill->db);
	else
		fsck_store_one(fill->f, fill->pblk << BLOCK_SHIFT, &fill->db, sizeof(fill->db));
}

static int fill_next_block(struct fill *fill)
{
	struct addition a = { .dir = fill->dir };
	uint64_t n;
	int err = fsck_alloc(fill->f, 1, &a.pblk, &n);

	if (err)
		return err;
	fill_flush(fill);
	a.lblk = fill->pblk ? fill->lblk + 1 : 0;
	fill->lblk = a.lblk;
	fill->pblk = a.pblk;
	fill->fresh = true;
	fsck_dirblock_new(&fill->db, fill->dir, from_le32(fill->d.generation), a.lblk);
	return vec_push(&fill->f->additions, &a, sizeof(a));
}

static int fill_name(struct fill *fill, const char *name, uint64_t ino, uint8_t type)
{
	int err;

	if (fill->pblk && fsck_dirblock_add(fill->f, &fill->db, name, ino, type))
		return 0;
	err = fill_next_block(fill);
	if (!err && !fsck_dirblock_add(fill->f, &fill->db, name, ino, type))
		err = -ENOSPC; /* not possible: the block is empty */
	return err;
}

/* Write the blocks and let the directory take them in. */
static int fill_end(struct fill *fill)
{
	int err;

	fill_flush(fill);
	fill_free(fill);
	fsck_iinfo(fill->f, fill->dir)->fix |= FIX_DATA | FIX_INDEX;
	err = fsck_inode_mend(fill->f, fill->dir);
	fill->f->additions.n = 0;
	return err;
}

static bool name_taken(struct fill *fill, const char *name, uint64_t *ret_ino, uint8_t *ret_type)
{
	uint32_t hash = dir_hash(fill->f->seed, name, strlen(name));
	bool maybe = fill->hashes.n &&
		     bsearch(&hash, fill->hashes.items, fill->hashes.n, sizeof(hash), by_hash);

	for (size_t i = 0; maybe && i < fill->blocks.n; i++) {
		const struct ext *at = vec_at(&fill->blocks, struct ext, i);
		struct dirblock db = *(const struct dirblock *)fsck_block(fill->f, at->pblk);
		const struct dirent_disk *de;
		uint32_t off = 0;

		while ((de = fsck_dirblock_next(&db, &off))) {
			if (de->name_bytes != strlen(name) ||
			    memcmp(de->name, name, de->name_bytes) != 0)
				continue;
			*ret_ino = from_le64(de->ino);
			*ret_type = de->type;
			return true;
		}
	}
	return false;
}

/* ---- the directory --------------------------------------------------------------------------- */

static void add_links(struct fsck *f, uint64_t dir, uint32_t n)
{
	struct dinode d = *dinode_of(f, dir);

	if (!n)
		return;
	d.nlink = to_le32(from_le32(d.nlink) + n);
	dinode_seal_copy(&d);
	fsck_store_one(f, fsck_ino_off(f, dir), &d, sizeof(d));
}

static uint64_t free_inode(const struct fsck *f)
{
	uint64_t max = fsck_ino_max(f);

	for (uint64_t ino = ROOT_INO + 1; ino < max; ino++) {
		const struct iinfo *info = fsck_iinfo(f, ino);

		if ((info->slot == SLOT_FREE || info->slot == SLOT_NEVER) && !info->fix &&
		    !fsck_map_bit(f, ino, PLANE_USED) && f->chunks[ino / MAP_BITS]->map_good)
			return ino;
	}
	return 0;
}

static void make_dinode(struct fsck *f, uint64_t ino)
{
	const struct dinode *root = dinode_of(f, ROOT_INO), *old = dinode_of(f, ino);
	struct dinode d = { .magic = to_le32(DINODE_MAGIC),
			    .ino = to_le64(ino),
			    .generation = old->generation,
			    .mode = to_le32(S_IFDIR | 0700),
			    .uid = root->uid,
			    .gid = root->gid,
			    .nlink = to_le32(2),
			    .atime = root->ctime,
			    .mtime = root->ctime,
			    .ctime = root->ctime,
			    .btime = root->ctime,
			    .parent = to_le64(ROOT_INO) };
	struct fix_store stores[2];
	struct map_block map;
	uint64_t map_blk;

	dinode_seal_copy(&d);
	stores[0] = (struct fix_store){ fsck_ino_off(f, ino), &d, sizeof(d) };
	map_blk = fsck_map_copy(f, ino, true, false, &map);
	stores[1] = (struct fix_store){ map_blk << BLOCK_SHIFT, &map, sizeof(map) };
	fsck_store(f, stores, 2);
	*fsck_iinfo(f, ino) =
		(struct iinfo){ .slot = SLOT_USED, .type = TYPE_DIR, .parent = ROOT_INO };
}

/* Find or make lost+found. *@ret_dir is the root when there is no other way. */
static int lost_found(struct fsck *f, uint64_t *ret_dir)
{
	static const char name[] = "lost+found";
	struct fill fill;
	uint8_t type = 0;
	uint64_t ino;
	int err = fill_begin(&fill, f, ROOT_INO);

	*ret_dir = ROOT_INO;
	if (err)
		return err;
	if (name_taken(&fill, name, &ino, &type)) {
		if (type == TYPE_DIR && fsck_in_use(f, ino))
			*ret_dir = ino;
		fill_free(&fill);
		return 0;
	}
	ino = free_inode(f);
	if (ino) {
		make_dinode(f, ino);
		err = fill_name(&fill, name, ino, TYPE_DIR);
	}
	if (!ino || err) {
		fill_free(&fill);
		return err;
	}
	err = fill_end(&fill);
	if (err)
		return err;
	add_links(f, ROOT_INO, 1);
	*ret_dir = ino;
	return 0;
}

/* ---- what is lost ---------------------------------------------------------------------------- */

/* It has a name now, in @dir. */
static void settle(struct fsck *f, uint64_t ino, uint64_t dir)
{
	struct iinfo *info = fsck_iinfo(f, ino);
	struct dinode d = *dinode_of(f, ino);
	struct fix_store stores[2];
	struct map_block map;
	uint64_t map_blk;

	if (info->type == TYPE_DIR)
		d.parent = to_le64(dir);
	d.nlink = to_le32(info->type == TYPE_DIR ? 2 + info->links : 1);
	dinode_seal_copy(&d);
	stores[0] = (struct fix_store){ fsck_ino_off(f, ino), &d, sizeof(d) };
	map_blk = fsck_map_copy(f, ino, true, d.pending.kind != 0, &map);
	stores[1] = (struct fix_store){ map_blk << BLOCK_SHIFT, &map, sizeof(map) };
	fsck_store(f, stores, map_blk ? 2 : 1);
}

static int enter(struct fill *fill, uint64_t ino)
{
	char name[48];
	uint64_t other;
	uint8_t type;

	snprintf(name, sizeof(name), "#%llu", (unsigned long long)ino);
	for (unsigned i = 2; name_taken(fill, name, &other, &type); i++)
		snprintf(name, sizeof(name), "#%llu-%u", (unsigned long long)ino, i);
	return fill_name(fill, name, ino, fsck_iinfo(fill->f, ino)->type);
}

static int enter_all(struct fsck *f, uint64_t dir)
{
	struct fill fill;
	uint32_t dirs = 0;
	size_t n = 0;
	int err = fill_begin(&fill, f, dir);

	while (!err && n < f->orphans.n) {
		uint64_t ino = *vec_at(&f->orphans, uint64_t, n);

		err = enter(&fill, ino);
		if (err)
			break;
		dirs += fsck_iinfo(f, ino)->type == TYPE_DIR;
		n++;
	}
	if (err == -ENOSPC)
		fsck_failed(f, dir, "there is no room in lost+found for %llu inodes",
			    (unsigned long long)(f->orphans.n - n));
	if (err && err != -ENOSPC) {
		fill_free(&fill);
		return err;
	}
	err = fill_end(&fill);
	for (size_t i = 0; !err && i < n; i++)
		settle(f, *vec_at(&f->orphans, uint64_t, i), dir);
	add_links(f, dir, dirs);
	return err;
}

int fsck_lost(struct fsck *f)
{
	bool changed = f->changed;
	uint64_t dir;
	int err;

	if (!fsck_in_use(f, ROOT_INO))
		return 0;
	err = lost_found(f, &dir);
	if (!err)
		err = enter_all(f, dir);
	if (err == -ENOSPC) {
		f->changed = changed;
		fsck_failed(f, FSCK_NOWHERE, "there is no free block for lost+found");
		err = 0;
	}
	return err;
}
