/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * dirs.c - every directory: its blocks, what each name leads to, and its index.
 *
 * The blocks are the truth; an index can be made from them at any time, and is, when it differs in
 * a single record. Index and names are compared with one bit for each position of the directory
 * where a name begins: an index record takes the bit of its name away, and what is left has none.
 *
 * A name is believed about which inode it names as far as that inode exists and has the type that
 * stands beside the name. Whether all of this makes a tree is names.c's business.
 */
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "dir.h"
#include "impl.h"

#define POS_PER_BLOCK (BLOCK_BYTES / 8)
#define TYPE_DIR (S_IFDIR >> 12)

/* ---- a directory's blocks -------------------------------------------------------------------- */

struct listing {
	struct extents e;
	struct vec *blocks;
};

static int list_blocks(struct extents *e, const struct ext *ext, bool suspect)
{
	struct listing *l = (struct listing *)e;
	int err = 0;

	(void)suspect;
	for (uint64_t i = 0; !err && !ext->unwritten && i < ext->count; i++) {
		struct ext one = { ext->lblk + i, ext->pblk + i, 1, false };

		if (one.lblk < MAX_DIR_BLOCKS)
			err = vec_push(l->blocks, &one, sizeof(one));
	}
	return err;
}

int fsck_dir_blocks(struct fsck *f, uint64_t ino, const struct dinode *d, struct vec *ret)
{
	struct listing l = { .e = { .walk = { .f = f,
					      .ino = ino,
					      .generation = from_le32(d->generation),
					      .fork = FORK_DATA,
					      .quiet = true },
				    .fn = list_blocks },
			     .blocks = ret };

	return fsck_extents(&l.e, d);
}

static int by_key(const void *a, const void *b)
{
	uint64_t x = from_le64(((const struct tree_rec *)a)->key);
	uint64_t y = from_le64(((const struct tree_rec *)b)->key);

	return (x > y) - (x < y);
}

static uint64_t index_key(uint32_t hash, uint64_t lblk, uint32_t off)
{
	return (uint64_t)hash << 32 | (lblk * POS_PER_BLOCK + off / 8);
}

int fsck_dir_index(struct fsck *f, uint64_t ino, const struct dinode *d, struct vec *ret)
{
	struct vec blocks = { 0 };
	int err = fsck_dir_blocks(f, ino, d, &blocks);

	for (size_t i = 0; !err && i < blocks.n; i++) {
		const struct ext *at = vec_at(&blocks, struct ext, i);
		struct dirblock db = *(const struct dirblock *)fsck_block(f, at->pblk);
		const struct dirent_disk *de;
		uint32_t off = 0;

		if (fsck_dirblock_audit(f, ino, from_le32(d->generation), at->lblk, at->pblk, &db,
					true) == DIRBLOCK_LOST)
			continue;
		while (!err && (de = fsck_dirblock_next(&db, &off))) {
			uint64_t key = index_key(from_le32(de->hash), at->lblk, off);
			struct tree_rec rec = { to_le64(key), 0 };

			err = vec_push(ret, &rec, sizeof(rec));
		}
	}
	vec_free(&blocks);
	vec_sort(ret, sizeof(struct tree_rec), by_key);
	return err;
}

/* ---- one directory --------------------------------------------------------------------------- */

struct dircheck {
	struct fsck *f;
	uint64_t ino;
	struct dinode d;
	struct iinfo *info;
	struct vec blocks; /* struct ext */
	struct bits names; /* positions of names without an index record */
	uint64_t npos;	   /* how many bits */
	uint64_t nentries;
	uint64_t run_hash; /* of the index records in run */
	struct vec run;	   /* uint64_t: positions of names with one hash */
	bool index_wrong;
};

static const struct ext *block_at(const struct dircheck *c, uint64_t lblk)
{
	size_t low = 0, high = c->blocks.n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct ext *at = vec_at(&c->blocks, struct ext, mid);

		if (at->lblk == lblk)
			return at;
		if (at->lblk < lblk)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

/* The name at a position that is known to be one's. */
static const struct dirent_disk *name_at(const struct dircheck *c, uint64_t pos)
{
	const struct ext *at = block_at(c, pos / POS_PER_BLOCK);

	return (const void *)((const unsigned char *)fsck_block(c->f, at->pblk) +
			      pos % POS_PER_BLOCK * 8);
}

int fsck_remove_later(struct fsck *f, uint64_t dir, uint64_t pos, uint64_t ino)
{
	struct removal r = { dir, pos, pos == FSCK_NOWHERE ? ino : 0 };

	return vec_push(&f->removals, &r, sizeof(r));
}

/* A second name of a directory: keep the one that its dinode points back to. */
static int second_name(struct dircheck *c, const struct dirent_disk *de, uint64_t pos)
{
	uint64_t child = from_le64(de->ino), off = fsck_ino_off(c->f, child);
	struct iinfo *info = fsck_iinfo(c->f, child);
	const struct dinode *d = region_ptr(c->f->region, off, sizeof(*d));
	uint64_t before = info->parent;

	fsck_found(c->f, FSCK_LINKED_TWICE, child, FSCK_NOWHERE,
		   "directory inode %llu has a name in directory inode %llu and one more in inode "
		   "%llu; one is removed",
		   (unsigned long long)child, (unsigned long long)before,
		   (unsigned long long)c->ino);
	if (from_le64(d->parent) != c->ino || before == c->ino)
		return fsck_remove_later(c->f, c->ino, pos, child);
	fsck_iinfo(c->f, before)->links--;
	info->parent = c->ino;
	c->info->links++;
	return fsck_remove_later(c->f, before, FSCK_NOWHERE, child);
}

static int dangling(struct dircheck *c, const struct dirent_disk *de, uint64_t pos,
		    const char *what)
{
	fsck_found(c->f, FSCK_DANGLING, c->ino, FSCK_NOWHERE,
		   "directory inode %llu: the name \"%.*s\" leads to inode %llu, which %s; it is "
		   "removed",
		   (unsigned long long)c->ino, de->name_bytes, de->name,
		   (unsigned long long)from_le64(de->ino), what);
	return fsck_remove_later(c->f, c->ino, pos, from_le64(de->ino));
}

/* What one name leads to. *@ret_changed: the entry was changed. */
static int check_name(struct dircheck *c, struct dirent_disk *de, uint64_t pos, bool *ret_changed)
{
	uint64_t ino = from_le64(de->ino);
	struct iinfo *info = fsck_iinfo(c->f, ino);

	bits_set(&c->names, pos);
	c->nentries++;
	if (ino == ROOT_INO)
		return dangling(c, de, pos, "is the root");
	if (!info || !fsck_in_use(c->f, ino))
		return dangling(c, de, pos, "is not in use");
	if (de->type != info->type) {
		fsck_found(
			c->f, FSCK_ENTRY_TYPE, c->ino, FSCK_NOWHERE,
			"directory inode %llu: the name \"%.*s\" has type %u, its inode %llu type "
			"%u",
			(unsigned long long)c->ino, de->name_bytes, de->name, de->type,
			(unsigned long long)ino, info->type);
		de->type = info->type;
		*ret_changed = true;
	}
	if (info->type != TYPE_DIR) {
		info->links++;
		return 0;
	}
	if (info->parent != FSCK_NOWHERE)
		return second_name(c, de, pos);
	info->parent = c->ino;
	c->info->links++;
	return 0;
}

static int check_block(struct dircheck *c, const struct ext *at)
{
	struct fsck *f = c->f;
	struct dirblock db = *(const struct dirblock *)fsck_block(f, at->pblk);
	struct edit edit = { c->ino, at->lblk, 1, FORK_DATA, false };
	enum dirblock_state state = fsck_dirblock_audit(f, c->ino, from_le32(c->d.generation),
							at->lblk, at->pblk, &db, false);
	bool changed = false;
	struct dirent_disk *de;
	uint32_t off = 0;
	int err = 0;

	if (state == DIRBLOCK_LOST) {
		c->info->fix |= FIX_DATA | FIX_INDEX;
		return vec_push(&f->edits, &edit, sizeof(edit));
	}
	while (!err && (de = fsck_dirblock_next(&db, &off)))
		err = check_name(c, de, at->lblk * POS_PER_BLOCK + off / 8, &changed);
	if (state == DIRBLOCK_MENDED)
		c->info->fix |= FIX_INDEX;
	if (!f->repairing || (state == DIRBLOCK_GOOD && !changed))
		return err;
	db.csum = to_le32(crc32c_skip(&db, sizeof(db), offsetof(struct dirblock, csum)));
	fsck_store_one(f, at->pblk << BLOCK_SHIFT, &db, sizeof(db));
	return err;
}

/* ---- the index ------------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b, void *ctx)
{
	const struct dirent_disk *x = name_at(ctx, *(const uint64_t *)a);
	const struct dirent_disk *y = name_at(ctx, *(const uint64_t *)b);

	if (x->name_bytes != y->name_bytes)
		return x->name_bytes - y->name_bytes;
	return memcmp(x->name, y->name, x->name_bytes);
}

/* All names with one hash are known: no two may be the same. */
static int end_of_run(struct dircheck *c)
{
	uint64_t *pos = c->run.items;
	int err = 0;

	if (c->run.n > 1)
		qsort_r(pos, c->run.n, sizeof(*pos), compare_names, c);
	for (size_t i = 1; !err && i < c->run.n; i++) {
		const struct dirent_disk *de = name_at(c, pos[i]);

		if (compare_names(&pos[i - 1], &pos[i], c))
			continue;
		fsck_found(c->f, FSCK_DUPLICATE_NAME, c->ino, FSCK_NOWHERE,
			   "directory inode %llu: the name \"%.*s\" is there twice; the one for "
			   "inode %llu is removed",
			   (unsigned long long)c->ino, de->name_bytes, de->name,
			   (unsigned long long)from_le64(de->ino));
		err = fsck_remove_later(c->f, c->ino, pos[i], from_le64(de->ino));
	}
	c->run.n = 0;
	return err;
}

static int check_record(struct walk *w, uint64_t key, uint64_t val, bool suspect)
{
	struct dircheck *c = w->ctx;
	uint64_t pos = (uint32_t)key;
	const struct dirent_disk *de = NULL;
	int err = 0;

	(void)suspect;
	if (pos < c->npos && bits_test(&c->names, pos))
		de = name_at(c, pos);
	if (!de || val || dir_hash(c->f->seed, de->name, de->name_bytes) != key >> 32) {
		fsck_found(
			c->f, FSCK_INDEX_STRAY, c->ino, FSCK_NOWHERE,
			"directory inode %llu: index record for position %llu belongs to no name",
			(unsigned long long)c->ino, (unsigned long long)pos);
		c->index_wrong = true;
		return 0;
	}
	bits_clear(&c->names, pos);
	if (c->run.n && c->run_hash != key >> 32)
		err = end_of_run(c);
	c->run_hash = key >> 32;
	return err ? err : vec_push(&c->run, &pos, sizeof(pos));
}

static int check_index(struct dircheck *c)
{
	struct walk w = { .f = c->f,
			  .ino = c->ino,
			  .generation = from_le32(c->d.generation),
			  .fork = FORK_INDEX,
			  .quiet = true,
			  .on_rec = check_record,
			  .ctx = c };
	int err = fsck_walk(&w, &c->d);

	if (!err)
		err = end_of_run(c);
	for (uint64_t pos = 0; !err && pos < c->npos; pos++) {
		const struct dirent_disk *de;

		if (pos % 64 == 0 && !c->names.words[pos / 64]) {
			pos += 63;
			continue;
		}
		if (!bits_test(&c->names, pos))
			continue;
		de = name_at(c, pos);
		fsck_found(c->f, FSCK_INDEX_MISSING, c->ino, FSCK_NOWHERE,
			   "directory inode %llu: the name \"%.*s\" is not in the index",
			   (unsigned long long)c->ino, de->name_bytes, de->name);
		c->index_wrong = true;
	}
	if (c->index_wrong)
		c->info->fix |= FIX_INDEX;
	return err;
}

static int check_dir(struct dircheck *c)
{
	const struct ext *last;
	bool suspect;
	int err;

	fsck_inode_copy(c->f, c->ino, &c->d, &suspect);
	err = fsck_dir_blocks(c->f, c->ino, &c->d, &c->blocks);
	if (err)
		return err;
	if (c->blocks.n) {
		last = vec_at(&c->blocks, struct ext, c->blocks.n - 1);
		c->npos = (last->lblk + 1) * POS_PER_BLOCK;
	}
	err = bits_init(&c->names, c->npos);
	for (size_t i = 0; !err && i < c->blocks.n; i++)
		err = check_block(c, vec_at(&c->blocks, struct ext, i));
	if (!err && !(c->info->fix & FIX_INDEX))
		err = check_index(c);
	if (err || c->info->fix || from_le64(c->d.nentries) == c->nentries)
		return err;
	fsck_found(c->f, FSCK_DIR_NENTRIES, c->ino, FSCK_NOWHERE,
		   "directory inode %llu has %llu names, but says %llu", (unsigned long long)c->ino,
		   (unsigned long long)c->nentries, (unsigned long long)from_le64(c->d.nentries));
	c->info->fix |= FIX_COUNT;
	return 0;
}

/* ---- removing -------------------------------------------------------------------------------- */

static int by_place(const void *a, const void *b)
{
	const struct removal *x = a, *y = b;

	if (x->dir != y->dir)
		return x->dir < y->dir ? -1 : 1;
	if (x->pos != y->pos)
		return x->pos < y->pos ? -1 : 1;
	return (x->ino > y->ino) - (x->ino < y->ino);
}

static bool has_removal(const struct fsck *f, uint64_t dir, uint64_t pos, uint64_t ino)
{
	struct removal key = { dir, pos, ino };

	return bsearch(&key, f->removals.items, f->removals.n, sizeof(key), by_place);
}

/* Take out of one block all names that have to go. */
static void remove_from(struct fsck *f, uint64_t dir, const struct ext *at)
{
	struct dirblock db = *(const struct dirblock *)fsck_block(f, at->pblk);
	uint16_t keep[FSCK_DIRBLOCK_NAMES];
	unsigned n = 0, all = 0;
	struct dirent_disk *de;
	uint32_t off = 0;

	for (; (de = fsck_dirblock_next(&db, &off)); all++)
		if (!has_removal(f, dir, at->lblk * POS_PER_BLOCK + off / 8, 0) &&
		    !has_removal(f, dir, FSCK_NOWHERE, from_le64(de->ino)))
			keep[n++] = (uint16_t)off;
	if (n == all)
		return;
	fsck_dirblock_relay(&db, keep, n);
	fsck_store_one(f, at->pblk << BLOCK_SHIFT, &db, sizeof(db));
}

static int remove_in(struct fsck *f, uint64_t dir)
{
	struct vec blocks = { 0 };
	struct dinode d;
	bool suspect;
	int err;

	fsck_inode_copy(f, dir, &d, &suspect);
	err = fsck_dir_blocks(f, dir, &d, &blocks);
	for (size_t i = 0; !err && i < blocks.n; i++)
		remove_from(f, dir, vec_at(&blocks, struct ext, i));
	vec_free(&blocks);
	fsck_iinfo(f, dir)->fix |= FIX_INDEX;
	return err;
}

int fsck_remove_entries(struct fsck *f)
{
	uint64_t last = FSCK_NOWHERE;
	int err = 0;

	vec_sort(&f->removals, sizeof(struct removal), by_place);
	for (size_t i = 0; !err && f->repairing && i < f->removals.n; i++) {
		uint64_t dir = vec_at(&f->removals, struct removal, i)->dir;

		if (dir != last)
			err = remove_in(f, dir);
		last = dir;
	}
	f->removals.n = 0;
	return err;
}

int fsck_dirs(struct fsck *f)
{
	uint64_t max = fsck_ino_max(f);
	int err = 0;

	for (uint64_t ino = ROOT_INO; !err && ino < max; ino++) {
		struct dircheck c = { .f = f, .ino = ino, .info = fsck_iinfo(f, ino) };

		if (ino % 1024 == 1)
			fsck_progress(f, "directories", ino, max);
		if (!fsck_in_use(f, ino) || c.info->type != TYPE_DIR)
			continue;
		err = check_dir(&c);
		vec_free(&c.blocks);
		vec_free(&c.run);
		bits_free(&c.names);
	}
	if (!err)
		err = fsck_remove_entries(f);
	return err ? err : fsck_mend_marked(f);
}
