/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * tree.c - walking the trees of docs/FORMAT.md, also damaged ones, and writing them anew.
 *
 * A walk gives every record that can be had. What it leaves out:
 *   - a node whose header does not say that it belongs here, with all below it. A node with a wrong
 *     checksum is read nevertheless if at most one field of its header is wrong: one flipped byte
 *     should not cost 252 extents. Its records are passed on as suspect.
 *   - a record that breaks the order.
 *
 * It ends, on any image. Levels fall with each step, and since each record lies in the bounds of
 * its node, which do not overlap those of another, a leaf is good in one place only. Where an inner
 * node's keys are damaged its children get the bounds of the node itself instead; that could lead
 * to one node along many ways, so the number of nodes that are met like that is limited for the
 * whole check (wide_budget).
 */
#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

#include "impl.h"

unsigned fsck_fork_capacity(enum fork_id fork)
{
	return fork == FORK_DATA    ? FORK_DATA_RECS
	       : fork == FORK_INDEX ? FORK_INDEX_RECS
				    : FORK_ATTR_RECS;
}

const struct fork_header *fsck_fork(const struct dinode *d, enum fork_id fork,
				    const struct tree_rec **ret_recs)
{
	switch (fork) {
	case FORK_DATA:
		*ret_recs = d->data_recs;
		return &d->data;
	case FORK_INDEX:
		*ret_recs = d->index_recs;
		return &d->index;
	default:
		*ret_recs = d->attr_recs;
		return &d->attr;
	}
}

/* ---- walking --------------------------------------------------------------------------------- */

/* The records of a node or fork, and what bounds them. */
struct place {
	const struct tree_rec *recs;
	unsigned nrecs, level;
	uint64_t low, high;
	bool suspect;
	uint64_t blk; /* FSCK_NOWHERE: the fork */
};

static const char *const fork_names[] = { "data", "index", "attribute" };

static void walk_bad(struct walk *w, enum fsck_code code, uint64_t blk, const char *what)
{
	w->damaged = true;
	if (w->quiet)
		return;
	fsck_found(w->f, code, w->ino, blk, "inode %llu: %s tree: %s", (unsigned long long)w->ino,
		   fork_names[w->fork], what);
}

/* How many fields of the header are not as they must be here. */
static unsigned header_misfits(const struct walk *w, const struct tree_node *node, uint64_t blk,
			       unsigned level)
{
	return (from_le32(node->magic) != NODE_MAGIC) + (from_le64(node->blk) != blk) +
	       (from_le64(node->owner) != w->ino) + (from_le32(node->generation) != w->generation) +
	       (from_le16(node->level) != level) + (node->fork != w->fork) +
	       (!node->nrecs || from_le16(node->nrecs) > NODE_RECS);
}

/* How many records from the first on ascend: what is left of a count that cannot be believed. */
static unsigned ascending(const struct tree_rec *recs, unsigned capacity)
{
	unsigned n = recs[0].val || recs[0].key;

	while (n && n < capacity && from_le64(recs[n].key) > from_le64(recs[n - 1].key))
		n++;
	return n;
}

/* Look at the node that a record leads to. False: there is none to be used. */
static bool node_open(struct walk *w, struct place *p)
{
	const struct tree_node *node;
	unsigned misfits;
	bool sealed;

	if (!fsck_data_range(w->f, p->blk, 1)) {
		walk_bad(w, FSCK_NODE, p->blk,
			 "a record leads out of the blocks that a node can have; "
			 "what was below it is lost");
		return false;
	}
	node = fsck_block(w->f, p->blk);
	misfits = header_misfits(w, node, p->blk, p->level);
	sealed = from_le32(node->csum) ==
		 crc32c_skip(node, sizeof(*node), offsetof(struct tree_node, csum));
	if (!fsck_readable(w->f, p->blk) || misfits > (sealed ? 0 : 1)) {
		walk_bad(w, FSCK_NODE, p->blk,
			 "what a record leads to is not its node; what was below "
			 "it is lost");
		return false;
	}
	p->suspect = !sealed;
	p->recs = node->recs;
	p->nrecs = from_le16(node->nrecs);
	if (!p->nrecs || p->nrecs > NODE_RECS)
		p->nrecs = ascending(node->recs, NODE_RECS);
	if (!sealed)
		walk_bad(w, FSCK_NODE, p->blk,
			 "a node has a wrong checksum; what in it agrees with "
			 "everything else is kept");
	return true;
}

/* Whether record @i can stay: above the one before, below the one behind it, and within bounds. */
static bool in_order(const struct place *p, unsigned i, uint64_t prev, bool has_prev)
{
	uint64_t key = from_le64(p->recs[i].key);
	uint64_t next = i + 1 < p->nrecs ? from_le64(p->recs[i + 1].key) : UINT64_MAX;

	if (key < p->low || key > p->high || (has_prev && key <= prev))
		return false;
	/* Of two that are out of order the one that disagrees with the one before has to go. */
	return i + 1 == p->nrecs || key < next || (has_prev && next <= prev) || next < p->low;
}

static int walk_leaf(struct walk *w, const struct place *p)
{
	bool has_prev = false;
	uint64_t prev = 0;

	for (unsigned i = 0; i < p->nrecs; i++) {
		int err;

		if (!in_order(p, i, prev, has_prev)) {
			walk_bad(w, p->blk == FSCK_NOWHERE ? FSCK_FORK : FSCK_NODE, p->blk,
				 "a record is out of order and left out");
			continue;
		}
		prev = from_le64(p->recs[i].key);
		has_prev = true;
		err = w->on_rec ? w->on_rec(w, prev, from_le64(p->recs[i].val), p->suspect) : 0;
		if (err)
			return err;
	}
	return 0;
}

static bool keys_good(const struct place *p)
{
	for (unsigned i = 0; i < p->nrecs; i++) {
		uint64_t key = from_le64(p->recs[i].key);

		if (i == 0 ? key != 0
			   : key <= p->low || key > p->high ||
				     (i > 1 && key <= from_le64(p->recs[i - 1].key)))
			return false;
	}
	return true;
}

static int walk_place(struct walk *w, const struct place *p);

static int walk_child(struct walk *w, const struct place *p, unsigned i, bool wide)
{
	struct place child = { .level = p->level - 1, .low = p->low, .high = p->high };
	int err;

	child.blk = from_le64(p->recs[i].val);
	if (!wide && i)
		child.low = from_le64(p->recs[i].key);
	if (!wide && i + 1 < p->nrecs)
		child.high = from_le64(p->recs[i + 1].key) - 1;
	if (!node_open(w, &child))
		return 0;
	err = w->on_node ? w->on_node(w, child.blk) : 0;
	return err ? err : walk_place(w, &child);
}

static int walk_inner(struct walk *w, const struct place *p)
{
	bool wide = p->suspect || !keys_good(p);
	int err = 0;

	if (wide && !p->suspect)
		walk_bad(w, p->blk == FSCK_NOWHERE ? FSCK_FORK : FSCK_NODE, p->blk,
			 "keys are out of order");
	for (unsigned i = 0; !err && i < p->nrecs; i++) {
		if (wide && !w->f->wide_budget) {
			walk_bad(w, FSCK_NODE, p->blk, "too much is damaged; the rest is lost");
			break;
		}
		w->f->wide_budget -= wide;
		err = walk_child(w, p, i, wide);
	}
	return err;
}

static int walk_place(struct walk *w, const struct place *p)
{
	return p->level ? walk_inner(w, p) : walk_leaf(w, p);
}

int fsck_walk(struct walk *w, const struct dinode *d)
{
	struct place root = { .high = UINT64_MAX, .suspect = w->suspect, .blk = FSCK_NOWHERE };
	const struct fork_header *header = fsck_fork(d, w->fork, &root.recs);

	root.nrecs = from_le16(header->nrecs);
	root.level = from_le16(header->level);
	w->damaged = w->suspect;
	if (w->suspect && (!root.nrecs || root.nrecs > fsck_fork_capacity(w->fork)))
		root.nrecs = ascending(root.recs, fsck_fork_capacity(w->fork));
	if (root.nrecs > fsck_fork_capacity(w->fork) || root.level > TREE_MAX_LEVEL ||
	    (root.level && !root.nrecs)) {
		walk_bad(w, FSCK_FORK, FSCK_NOWHERE, "the root is damaged; all of it is lost");
		return 0;
	}
	return walk_place(w, &root);
}

/* ---- extents --------------------------------------------------------------------------------- */

static void extent_bad(struct extents *e, const struct ext *ext, const char *what)
{
	struct walk *w = &e->walk;

	w->damaged = true;
	if (!w->quiet)
		fsck_found(w->f, FSCK_EXTENT, w->ino, ext->pblk,
			   "inode %llu: %s extent of %llu blocks at file block %llu %s",
			   (unsigned long long)w->ino, fork_names[w->fork],
			   (unsigned long long)ext->count, (unsigned long long)ext->lblk, what);
}

static int extent_give(struct extents *e)
{
	if (!e->has_held)
		return 0;
	e->has_held = false;
	e->blocks += e->held.count;
	e->end = e->held.lblk + e->held.count;
	return e->fn ? e->fn(e, &e->held, e->held_suspect) : 0;
}

/* An extent is held back until the next one shows how long it can be. */
static int extent_rec(struct walk *w, uint64_t key, uint64_t val, bool suspect)
{
	struct extents *e = (struct extents *)((char *)w - offsetof(struct extents, walk));
	struct ext ext = { key, EXTENT_PBLK(val), EXTENT_COUNT(val), EXTENT_UNWRITTEN(val) };
	int err;

	if (!fsck_data_range(w->f, ext.pblk, ext.count)) {
		extent_bad(e, &ext, "points outside the blocks that a file can have; it is cut");
		return 0;
	}
	if (ext.lblk >= MAX_FILE_BLOCKS || ext.count > MAX_FILE_BLOCKS - ext.lblk) {
		extent_bad(e, &ext, "lies behind the largest file; it is cut");
		return 0;
	}
	if (e->has_held && e->held.lblk + e->held.count > ext.lblk) {
		extent_bad(e, &e->held, "reaches into the next one; it is shortened");
		e->held.count = ext.lblk - e->held.lblk;
	}
	err = extent_give(e);
	e->held = ext;
	e->held_suspect = suspect;
	e->has_held = true;
	return err;
}

static int extent_node(struct walk *w, uint64_t blk)
{
	struct extents *e = (struct extents *)((char *)w - offsetof(struct extents, walk));

	e->nodes++;
	return e->node_list ? vec_push(e->node_list, &blk, sizeof(blk)) : 0;
}

int fsck_extents(struct extents *e, const struct dinode *d)
{
	int err;

	e->walk.on_rec = extent_rec;
	e->walk.on_node = extent_node;
	e->nodes = e->blocks = e->end = 0;
	e->has_held = false;
	err = fsck_walk(&e->walk, d);
	return err ? err : extent_give(e);
}

/* ---- building -------------------------------------------------------------------------------- */

struct build {
	struct fsck *f;
	const struct dinode *d;
	enum fork_id fork;
	struct vec *spare;
	uint64_t nodes, wanted; /* so far, and in all */
	uint64_t run_blk, run_left;
};

/* How many nodes a tree of @n records has below a fork. */
static uint64_t nodes_for(uint64_t n, unsigned capacity)
{
	uint64_t nodes = 0;

	while (n > capacity) {
		n = (n + NODE_RECS - 1) / NODE_RECS;
		nodes += n;
	}
	return nodes;
}

static int build_alloc(struct build *b, uint64_t *ret_blk)
{
	if (!b->run_left) {
		int err = fsck_alloc(b->f, b->wanted - b->nodes, &b->run_blk, &b->run_left);

		if (err && (!b->spare || !b->spare->n))
			return err;
		if (err) {
			/* Over the old tree: a crash now would cost it, but what else is there? */
			b->run_blk = *vec_at(b->spare, uint64_t, --b->spare->n);
			b->run_left = 1;
		}
	}
	b->run_left--;
	*ret_blk = b->run_blk++;
	return 0;
}

static int build_node(struct build *b, unsigned level, const struct tree_rec *recs, size_t n,
		      struct tree_rec *ret_up)
{
	struct tree_node node = { .magic = to_le32(NODE_MAGIC),
				  .owner = b->d->ino,
				  .generation = b->d->generation,
				  .level = to_le16((uint16_t)level),
				  .nrecs = to_le16((uint16_t)n),
				  .fork = (uint8_t)b->fork };
	uint64_t blk;
	int err = build_alloc(b, &blk);

	if (err)
		return err;
	memcpy(node.recs, recs, n * sizeof(*recs));
	*ret_up = (struct tree_rec){ recs[0].key, to_le64(blk) };
	if (level)
		node.recs[0].key = 0;
	node.blk = to_le64(blk);
	node.csum = to_le32(crc32c_skip(&node, sizeof(node), offsetof(struct tree_node, csum)));
	fsck_store_fresh(b->f, blk, &node);
	b->nodes++;
	return 0;
}

/* One level of nodes over @recs; the records that lead to them take their place. */
static int build_level(struct build *b, unsigned level, struct tree_rec *recs, size_t *n)
{
	size_t up = 0;

	for (size_t i = 0; i < *n; i += NODE_RECS) {
		size_t some = *n - i < NODE_RECS ? *n - i : NODE_RECS;
		struct tree_rec rec;
		int err = build_node(b, level, recs + i, some, &rec);

		if (err)
			return err;
		recs[up++] = rec;
	}
	*n = up;
	return 0;
}

int fsck_tree_build(struct fsck *f, struct dinode *d, enum fork_id fork,
		    const struct tree_rec *recs, size_t n, struct vec *spare, uint64_t *ret_nodes)
{
	struct build b = { .f = f,
			   .d = d,
			   .fork = fork,
			   .spare = spare,
			   .wanted = nodes_for(n, fsck_fork_capacity(fork)) };
	struct tree_rec *level_recs = calloc(n ? n : 1, sizeof(*recs)), *root;
	const struct tree_rec *const_root;
	struct fork_header *header;
	unsigned level = 0;
	int err = 0;

	if (!level_recs)
		return -ENOMEM;
	if (n)
		memcpy(level_recs, recs, n * sizeof(*recs));
	while (!err && n > fsck_fork_capacity(fork))
		err = build_level(&b, level++, level_recs, &n);
	if (!err) {
		header = (struct fork_header *)fsck_fork(d, fork, &const_root);
		root = (struct tree_rec *)const_root;
		memset(root, 0, fsck_fork_capacity(fork) * sizeof(*root));
		memset(header, 0, sizeof(*header));
		if (n)
			memcpy(root, level_recs, n * sizeof(*root));
		if (level)
			root[0].key = 0;
		header->level = to_le16((uint16_t)level);
		header->nrecs = to_le16((uint16_t)n);
		*ret_nodes = b.nodes;
	}
	free(level_recs);
	return err;
}
