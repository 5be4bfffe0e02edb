/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * mend.c - doing what was marked: making inodes anew. inode.c says why in this order.
 */
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "impl.h"

/* ---- edits ----------------------------------------------------------------------------------- */

static int by_place(const void *a, const void *b)
{
	const struct edit *x = a, *y = b;

	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	if (x->fork != y->fork)
		return x->fork - y->fork;
	if (x->lblk != y->lblk)
		return x->lblk < y->lblk ? -1 : 1;
	return x->clone - y->clone; /* a cut goes before a copy of the same */
}

/* Where the edits of a fork begin. They are sorted. */
static size_t edits_begin(const struct fsck *f, uint64_t ino, uint8_t fork)
{
	struct edit key = { .ino = ino, .fork = fork };
	size_t low = 0, high = f->edits.n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (by_place(vec_at(&f->edits, struct edit, mid), &key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* ---- one fork -------------------------------------------------------------------------------- */

/* A fork being collected, to be written anew. */
struct rework {
	struct extents e;
	struct vec recs; /* struct tree_rec */
	uint64_t blocks, end;
	size_t edit; /* edits before this one end at or before @lblk */
	uint64_t lblk;
};

/* The first edit of the fork that reaches behind @lblk, or NULL. */
static const struct edit *edit_at(struct rework *r, uint64_t lblk)
{
	const struct fsck *f = r->e.walk.f;

	/* A damaged tree may lead back; then look from the start again. */
	if (lblk < r->lblk)
		r->edit = edits_begin(f, r->e.walk.ino, (uint8_t)r->e.walk.fork);
	r->lblk = lblk;
	for (; r->edit < f->edits.n; r->edit++) {
		const struct edit *e = vec_at(&f->edits, struct edit, r->edit);

		if (e->ino != r->e.walk.ino || e->fork != r->e.walk.fork)
			return NULL;
		if (e->lblk + e->count > lblk)
			return e;
	}
	return NULL;
}

static int emit(struct rework *r, uint64_t lblk, uint64_t pblk, uint64_t count, bool unwritten)
{
	struct tree_rec rec = { to_le64(lblk), to_le64(EXTENT_PACK(pblk, count, unwritten)) };

	if (!count)
		return 0;
	r->blocks += count;
	r->end = lblk + count > r->end ? lblk + count : r->end;
	return vec_push(&r->recs, &rec, sizeof(rec));
}

/* Blocks of its own for [@lblk, @lblk + @count), with the content of those at @pblk. */
static int emit_copy(struct rework *r, uint64_t lblk, uint64_t pblk, uint64_t count, bool unwritten)
{
	struct fsck *f = r->e.walk.f;

	while (count) {
		uint64_t to, n;
		int err = fsck_alloc(f, count, &to, &n);

		if (err) {
			fsck_failed(
				f, r->e.walk.ino,
				"inode %llu: there is no room for a copy of %llu blocks at file "
				"block %llu; they are cut",
				(unsigned long long)r->e.walk.ino, (unsigned long long)count,
				(unsigned long long)lblk);
			return 0;
		}
		for (uint64_t i = 0; i < n; i++)
			fsck_store_fresh(f, to + i, fsck_block(f, pblk + i));
		err = emit(r, lblk, to, n, unwritten);
		if (err)
			return err;
		lblk += n;
		pblk += n;
		count -= n;
	}
	return 0;
}

static int rework_extent(struct extents *e, const struct ext *ext, bool suspect)
{
	struct rework *r = (struct rework *)e;
	uint64_t lblk = ext->lblk, end = ext->lblk + ext->count;
	int err = 0;

	(void)suspect;
	while (!err && lblk < end) {
		const struct edit *edit = edit_at(r, lblk);
		uint64_t pblk = ext->pblk + (lblk - ext->lblk), stop = end, n;

		if (edit && edit->lblk < end)
			stop = edit->lblk > lblk ? edit->lblk : lblk;
		err = emit(r, lblk, pblk, stop - lblk, ext->unwritten);
		lblk = stop;
		if (err || lblk == end)
			break;
		n = (edit->lblk + edit->count < end ? edit->lblk + edit->count : end) - lblk;
		if (edit->clone)
			err = emit_copy(r, lblk, ext->pblk + (lblk - ext->lblk), n, ext->unwritten);
		lblk += n;
	}
	return err;
}

static int emit_additions(struct rework *r)
{
	const struct vec *v = &r->e.walk.f->additions;
	int err = 0;

	for (size_t i = 0; !err && i < v->n; i++) {
		const struct addition *a = vec_at(v, struct addition, i);

		if (a->dir == r->e.walk.ino)
			err = emit(r, a->lblk, a->pblk, 1, false);
	}
	return err;
}

static int by_key(const void *a, const void *b)
{
	uint64_t x = from_le64(((const struct tree_rec *)a)->key);
	uint64_t y = from_le64(((const struct tree_rec *)b)->key);

	return (x > y) - (x < y);
}

/* Of the dinode @d, which is being made anew. */
struct mend {
	struct fsck *f;
	uint64_t ino;
	struct dinode d;
	bool suspect;	      /* it had no good checksum */
	uint64_t blocks, end; /* so far; end of the data fork */
	struct vec old;	      /* nodes of trees that were written anew */
};

static int mend_fork(struct mend *m, enum fork_id fork, bool anew)
{
	struct vec nodes = { 0 };
	struct rework r = { .e = { .walk = { .f = m->f,
					     .ino = m->ino,
					     .generation = from_le32(m->d.generation),
					     .fork = fork,
					     .suspect = m->suspect,
					     .quiet = true },
				   .fn = rework_extent,
				   .node_list = &nodes } };
	uint64_t new_nodes = 0;
	int err;

	r.edit = edits_begin(m->f, m->ino, (uint8_t)fork);
	err = fsck_extents(&r.e, &m->d);
	if (anew && !err && fork == FORK_DATA)
		err = emit_additions(&r);
	if (anew && !err) {
		vec_sort(&r.recs, sizeof(struct tree_rec), by_key);
		err = fsck_tree_build(m->f, &m->d, fork, r.recs.items, r.recs.n, &nodes,
				      &new_nodes);
		for (size_t i = 0; !err && i < nodes.n; i++)
			err = vec_push(&m->old, vec_at(&nodes, uint64_t, i), sizeof(uint64_t));
	}
	m->blocks += anew ? r.blocks + new_nodes : r.e.blocks + r.e.nodes;
	if (fork == FORK_DATA)
		m->end = anew ? r.end : r.e.end;
	vec_free(&r.recs);
	vec_free(&nodes);
	return err;
}

static int list_node(struct walk *w, uint64_t blk)
{
	return vec_push(w->ctx, &blk, sizeof(blk));
}

static int mend_index(struct mend *m, bool anew, bool count)
{
	struct vec nodes = { 0 }, recs = { 0 };
	struct walk w = { .f = m->f,
			  .ino = m->ino,
			  .generation = from_le32(m->d.generation),
			  .fork = FORK_INDEX,
			  .suspect = m->suspect,
			  .quiet = true,
			  .on_node = list_node,
			  .ctx = &nodes };
	uint64_t new_nodes = 0;
	int err = fsck_walk(&w, &m->d);

	m->blocks += anew ? 0 : nodes.n;
	if ((anew || count) && !err)
		err = fsck_dir_index(m->f, m->ino, &m->d, &recs);
	if ((anew || count) && !err)
		m->d.nentries = to_le64(recs.n);
	if (anew && !err)
		err = fsck_tree_build(m->f, &m->d, FORK_INDEX, recs.items, recs.n, &nodes,
				      &new_nodes);
	m->blocks += new_nodes;
	for (size_t i = 0; anew && !err && i < nodes.n; i++)
		err = vec_push(&m->old, vec_at(&nodes, uint64_t, i), sizeof(uint64_t));
	vec_free(&nodes);
	vec_free(&recs);
	return err;
}

/* ---- one inode ------------------------------------------------------------------------------- */

static void drop(struct fsck *f, uint64_t ino)
{
	struct fix_store stores[2];
	struct map_block map;
	struct dinode d;
	uint64_t off = fsck_ino_off(f, ino), map_blk;
	bool known;

	memcpy(&d, region_ptr(f->region, off, sizeof(d)), sizeof(d));
	known = from_le32(d.magic) == DINODE_MAGIC;
	if (known)
		d = (struct dinode){ .magic = to_le32(DINODE_MAGIC),
				     .ino = to_le64(ino),
				     .generation = to_le32(from_le32(d.generation) + 1) };
	else
		memset(&d, 0, sizeof(d));
	if (known)
		dinode_seal_copy(&d);
	stores[0] = (struct fix_store){ off, &d, sizeof(d) };
	map_blk = fsck_map_copy(f, ino, false, false, &map);
	stores[1] = (struct fix_store){ map_blk << BLOCK_SHIFT, &map, sizeof(map) };
	fsck_store(f, stores, map_blk ? 2 : 1);
}

static int mend_forks(struct mend *m, uint8_t fix)
{
	bool dir = S_ISDIR(from_le32(m->d.mode));
	int err = 0;

	if (fix & FIX_NO_ATTR) {
		memset(&m->d.attr, 0, sizeof(m->d.attr));
		m->d.xattr_bytes = 0;
	}
	if (!(from_le32(m->d.flags) & DINODE_INLINE_LINK)) {
		err = mend_fork(m, FORK_DATA, fix & FIX_DATA);
		if (!err)
			err = mend_index(m, dir && fix & FIX_INDEX, dir && fix & FIX_COUNT);
	}
	return err ? err : mend_fork(m, FORK_ATTR, fix & FIX_ATTR && !(fix & FIX_NO_ATTR));
}

int fsck_inode_mend(struct fsck *f, uint64_t ino)
{
	struct mend m = { .f = f, .ino = ino };
	uint8_t fix = fsck_iinfo(f, ino)->fix;
	bool changed = f->changed;
	int err;

	fsck_iinfo(f, ino)->fix = 0;
	if (!fsck_ino_off(f, ino))
		return 0; /* its place could not be made */
	if (fix & FIX_DROP) {
		drop(f, ino);
		return 0;
	}
	fsck_inode_copy(f, ino, &m.d, &m.suspect);
	err = mend_forks(&m, fix);
	if (err == -ENOSPC) {
		fsck_failed(f, ino, "inode %llu: there is no free block to mend its tree with",
			    (unsigned long long)ino);
		f->changed =
			changed; /* what was tried only took blocks, which are free again now */
		vec_free(&m.old);
		return 0;
	}
	if (!err) {
		if (S_ISDIR(from_le32(m.d.mode)))
			m.d.size = to_le64(m.end << BLOCK_SHIFT);
		m.d.nblocks = to_le64(m.blocks);
		dinode_seal_copy(&m.d);
		fsck_store_one(f, fsck_ino_off(f, ino), &m.d, sizeof(m.d));
		for (size_t i = 0; i < m.old.n; i++)
			if (!bits_test(&f->twice, *vec_at(&m.old, uint64_t, i)))
				fsck_unalloc(f, *vec_at(&m.old, uint64_t, i), 1);
	}
	vec_free(&m.old);
	return err;
}

int fsck_mend_marked(struct fsck *f)
{
	uint64_t max = fsck_ino_max(f);
	int err = 0;

	if (!f->repairing)
		return 0;
	vec_sort(&f->edits, sizeof(struct edit), by_place);
	for (uint64_t ino = ROOT_INO; !err && ino < max; ino++)
		if (fsck_iinfo(f, ino)->fix)
			err = fsck_inode_mend(f, ino);
	return err;
}
