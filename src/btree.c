/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * btree.c - sorted records in nodes of one block, rooted in a dinode.
 *
 * The key that stands beside a child bounds what is below it: every record there has a key that
 * is not smaller, and smaller than the key beside the next child. Nothing says that a record with
 * just this key exists. The first child of a node takes whatever its node's own bounds allow, so
 * its key says nothing; it is always 0, and deleting or inserting at the front of a node never
 * has to correct an ancestor.
 *
 * An operation walks down once and remembers the nodes on its way, with their bounds (struct
 * path). A change works upward from the leaf: it changes one node, and goes on in the parent only
 * when a child came or went. Nodes are read where they stand on the medium, or in the copy that
 * the transaction has of them; a change asks for such a copy first (level_modify).
 *
 * Trust. A node is checked wholly, checksum included, when it is read first (verified.h). The mark
 * is set only here, by a read that came from the parent, and taken back by the freeing of the
 * node, so a marked block is a live node: a block that is freed and comes back as something
 * else starts unmarked. A freeing that is then aborted costs one more check and no more. Copies
 * have no valid checksum before commit and are not checked for one.
 *
 * On a hostile image a block can be a node and the data of some file at once, and change under
 * our eyes. So the header is compared with what the parent leads to expect at every visit, each
 * count and pointer is loaded once and bounded before it is used, and levels strictly fall: the
 * worst that a lie can do is -EIO or a wrong answer about the liar's own file.
 *
 * Locks: the inode's ilock, which the caller holds. There is no state outside the medium.
 */
#include "btree.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "alloc.h"
#include "crc.h"
#include "inode.h"
#include "journal.h"
#include "region.h"
#include "verified.h"
#include "volume.h"

/* Two neighbours that fill three quarters of a node or less become one. */
#define MERGE_RECS (NODE_RECS * 3 / 4)

/* A node, or the fork, as an operation sees it. */
struct level {
	uint64_t blk;	    /* 0: the fork */
	uint64_t low, last; /* the smallest and the largest key that may stand in it */
	const struct tree_rec *recs;
	unsigned nrecs;
	/* Of an inner node: the child the path goes through. Of a leaf: how many keys are <= the
	 * one sought. */
	unsigned idx;
	/* To change it by, once level_modify() has made a copy. */
	struct tree_rec *to;
	le16 *to_nrecs, *to_level;
};

/* From the fork at lv[top] to a leaf at lv[0]. */
struct path {
	struct tx *tx;
	struct inode *inode;
	enum fork_id fork;
	unsigned top;
	struct level lv[TREE_MAX_LEVEL + 1];
};

/* ---- records -------------------------------------------------------------------------------- */

static uint64_t load64(const le64 *p)
{
	return from_le64(__atomic_load_n(p, __ATOMIC_RELAXED));
}

static unsigned load16(const le16 *p)
{
	return from_le16(__atomic_load_n(p, __ATOMIC_RELAXED));
}

static struct rec rec_load(const struct level *lv, unsigned at)
{
	return (struct rec){ load64(&lv->recs[at].key), load64(&lv->recs[at].val) };
}

static uint64_t key_load(const struct level *lv, unsigned at)
{
	return load64(&lv->recs[at].key);
}

/* The position behind the last record from @from on with a key <= @key. */
static unsigned search(const struct level *lv, unsigned from, uint64_t key)
{
	unsigned end = lv->nrecs;

	while (from < end) {
		unsigned mid = from + (end - from) / 2;

		if (key_load(lv, mid) <= key)
			from = mid + 1;
		else
			end = mid;
	}
	return from;
}

/* Whether keys ascend, as they must in a node or fork at @level. */
static bool keys_ascend(const struct tree_rec *recs, unsigned nrecs, unsigned level)
{
	if (level && nrecs && load64(&recs[0].key))
		return false;
	for (unsigned i = 1; i < nrecs; i++)
		if (load64(&recs[i - 1].key) >= load64(&recs[i].key))
			return false;
	return true;
}

/* ---- reading -------------------------------------------------------------------------------- */

static int damaged(const struct path *p, uint64_t blk, const char *what)
{
	return volume_damaged(p->inode->vol, blk ? blk << BLOCK_SHIFT : p->inode->off, what);
}

static unsigned fork_capacity(enum fork_id fork)
{
	switch (fork) {
	case FORK_DATA:
		return FORK_DATA_RECS;
	case FORK_INDEX:
		return FORK_INDEX_RECS;
	case FORK_ATTR:
		return FORK_ATTR_RECS;
	}
	assert(!"a fork");
	return 0;
}

static const struct fork_header *fork_of(const struct dinode *di, enum fork_id fork,
					 const struct tree_rec **ret_recs)
{
	switch (fork) {
	case FORK_DATA:
		*ret_recs = di->data_recs;
		return &di->data;
	case FORK_INDEX:
		*ret_recs = di->index_recs;
		return &di->index;
	default:
		*ret_recs = di->attr_recs;
		return &di->attr;
	}
}

static bool plausible_child(uint64_t blk)
{
	return blk > JOURNAL_BLK && blk < MAX_VOLUME_BLOCKS;
}

int btree_node_check(const struct tree_node *node, uint64_t blk)
{
	unsigned nrecs = load16(&node->nrecs), level = load16(&node->level);

	if (from_le32(node->magic) != NODE_MAGIC || from_le64(node->blk) != blk || !nrecs ||
	    nrecs > NODE_RECS || level >= TREE_MAX_LEVEL || node->fork > FORK_ATTR)
		return -EUCLEAN;
	if (from_le32(node->csum) !=
	    crc32c_skip(node, sizeof(*node), offsetof(struct tree_node, csum)))
		return -EUCLEAN;
	if (!keys_ascend(node->recs, nrecs, level))
		return -EUCLEAN;
	for (unsigned i = 0; level && i < nrecs; i++)
		if (!plausible_child(load64(&node->recs[i].val)))
			return -EUCLEAN;
	return 0;
}

/* Whether @node's header is that of the node at @l which @p is looking for at @blk. */
static bool node_expected(const struct path *p, unsigned l, uint64_t blk,
			  const struct tree_node *node)
{
	return from_le32(node->magic) == NODE_MAGIC && from_le64(node->blk) == blk &&
	       from_le64(node->owner) == p->inode->ino &&
	       from_le32(node->generation) == p->inode->generation && load16(&node->level) == l &&
	       node->fork == p->fork;
}

/* Whether the keys of a node at @l stand between those of its parent. */
static bool within_bounds(const struct level *lv, unsigned l)
{
	unsigned first = l ? 1 : 0; /* the first key of an inner node says nothing */

	if (first >= lv->nrecs)
		return true;
	return (l ? key_load(lv, first) > lv->low : key_load(lv, first) >= lv->low) &&
	       key_load(lv, lv->nrecs - 1) <= lv->last;
}

/* Read the node at level @l whose place and bounds are in @lv. */
static int node_read(const struct path *p, unsigned l, struct level *lv)
{
	struct volume *vol = p->inode->vol;
	const struct tree_node *node;
	uint64_t off = lv->blk << BLOCK_SHIFT;
	bool on_medium;

	if (!volume_owns_data(vol, lv->blk, 1))
		return damaged(p, 0, "pointer to a tree node");
	node = tx_peek(p->tx, vol, off, BLOCK_BYTES);
	on_medium = node == region_ptr(vol->region, off, BLOCK_BYTES);
	if (on_medium && !verified_test(vol, lv->blk)) {
		if (btree_node_check(node, lv->blk))
			return damaged(p, lv->blk, "tree node");
		verified_set(vol, lv->blk);
	}
	lv->recs = node->recs;
	lv->nrecs = load16(&node->nrecs);
	if (!node_expected(p, l, lv->blk, node) || !lv->nrecs || lv->nrecs > NODE_RECS)
		return damaged(p, lv->blk, "tree node that is another's");
	if (!within_bounds(lv, l))
		return damaged(p, lv->blk, "tree node out of order");
	return region_check(vol->region, off, BLOCK_BYTES);
}

/* The child that record @at of the node above leads to. */
static int child_read(const struct path *p, unsigned l, unsigned at, struct level *ret)
{
	const struct level *up = &p->lv[l + 1];
	struct level lv = { .blk = rec_load(up, at).val, .low = up->low, .last = up->last };
	int err;

	if (at)
		lv.low = key_load(up, at);
	if (at + 1 < up->nrecs)
		lv.last = key_load(up, at + 1) - 1;
	err = node_read(p, l, &lv);
	if (!err)
		*ret = lv;
	return err;
}

static int path_start(struct path *p, struct tx *tx, struct inode *inode, enum fork_id fork)
{
	struct level *lv;
	const struct fork_header *header;
	const struct tree_rec *recs;
	unsigned nrecs, level;

	header = fork_of(inode_peek(tx, inode), fork, &recs);
	nrecs = load16(&header->nrecs);
	level = load16(&header->level);
	p->tx = tx;
	p->inode = inode;
	p->fork = fork;
	if (nrecs > fork_capacity(fork) || level > TREE_MAX_LEVEL || (level && !nrecs) ||
	    !keys_ascend(recs, nrecs, level))
		return damaged(p, 0, "root of a tree");
	p->top = level;
	lv = &p->lv[level];
	*lv = (struct level){ .last = UINT64_MAX, .recs = recs, .nrecs = nrecs };
	return 0;
}

/* Walk down to where @key is or would be. */
static int path_seek(struct path *p, uint64_t key)
{
	unsigned l = p->top;
	int err;

	for (; l; l--) {
		p->lv[l].idx = search(&p->lv[l], 1, key) - 1;
		err = child_read(p, l - 1, p->lv[l].idx, &p->lv[l - 1]);
		if (err)
			return err;
	}
	p->lv[0].idx = search(&p->lv[0], 0, key);
	/* A page that went bad under the search reads as zeroes: nothing found means nothing. */
	return p->lv[0].blk ? region_check(p->inode->vol->region, p->lv[0].blk << BLOCK_SHIFT,
					   BLOCK_BYTES)
			    : 0;
}

/* The leaf next to the path's on the right or left. -ENOENT: there is none. */
static int leaf_beside(const struct path *p, bool right, struct level *ret)
{
	struct path q = *p;
	unsigned l = 1;
	int err;

	while (l <= q.top && (right ? q.lv[l].idx + 1 >= q.lv[l].nrecs : q.lv[l].idx == 0))
		l++;
	if (l > q.top)
		return -ENOENT;
	q.lv[l].idx += right ? 1 : -1;
	while (l-- > 0) {
		err = child_read(&q, l, q.lv[l + 1].idx, &q.lv[l]);
		if (err)
			return err;
		q.lv[l].idx = right ? 0 : q.lv[l].nrecs - 1;
	}
	*ret = q.lv[0];
	return 0;
}

/* The last record with a key <= the one sought, or the first behind it. */
static int path_le(const struct path *p, struct rec *ret_rec)
{
	struct level beside;
	int err;

	if (p->lv[0].idx) {
		*ret_rec = rec_load(&p->lv[0], p->lv[0].idx - 1);
		return 0;
	}
	err = leaf_beside(p, false, &beside);
	if (!err)
		*ret_rec = rec_load(&beside, beside.nrecs - 1);
	return err;
}

static int path_gt(const struct path *p, struct rec *ret_rec)
{
	struct level beside;
	int err;

	if (p->lv[0].idx < p->lv[0].nrecs) {
		*ret_rec = rec_load(&p->lv[0], p->lv[0].idx);
		return 0;
	}
	err = leaf_beside(p, true, &beside);
	if (!err)
		*ret_rec = rec_load(&beside, 0);
	return err;
}

static int path_to(struct path *p, struct tx *tx, struct inode *inode, enum fork_id fork,
		   uint64_t key, enum sync_mode mode)
{
	int err;

	sync_rw_assert(&inode->ilock, mode);
	assert(tx || mode == SYNC_SHARED);
	err = path_start(p, tx, inode, fork);
	return err ? err : path_seek(p, key);
}

int btree_le(struct tx *tx, struct inode *inode, enum fork_id fork, uint64_t key,
	     struct rec *ret_rec)
{
	struct path p;
	int err = path_to(&p, tx, inode, fork, key, SYNC_SHARED);

	return err ? err : path_le(&p, ret_rec);
}

int btree_ge(struct tx *tx, struct inode *inode, enum fork_id fork, uint64_t key,
	     struct rec *ret_rec)
{
	struct path p;
	const struct level *leaf = &p.lv[0];
	int err = path_to(&p, tx, inode, fork, key, SYNC_SHARED);

	if (err)
		return err;
	if (leaf->idx && key_load(leaf, leaf->idx - 1) == key) {
		*ret_rec = rec_load(leaf, leaf->idx - 1);
		return 0;
	}
	return path_gt(&p, ret_rec);
}

int btree_around(struct tx *tx, struct inode *inode, enum fork_id fork, uint64_t key,
		 struct rec_pair *ret_pair)
{
	struct rec_pair pair = { 0 };
	struct path p;
	int err = path_to(&p, tx, inode, fork, key, SYNC_SHARED);

	if (err)
		return err;
	err = path_le(&p, &pair.le);
	if (err && err != -ENOENT)
		return err;
	pair.has_le = !err;
	err = path_gt(&p, &pair.gt);
	if (err && err != -ENOENT)
		return err;
	pair.has_gt = !err;
	*ret_pair = pair;
	return 0;
}

/* ---- changing one node ---------------------------------------------------------------------- */

static int fork_modify(struct path *p, struct level *lv)
{
	const struct tree_rec *recs;
	const struct fork_header *header;
	struct dinode *di;
	int err = inode_modify(p->tx, p->inode, &di);

	if (err)
		return err;
	/* What fork_of() finds in a dinode that may be changed may be changed. */
	header = fork_of(di, p->fork, &recs);
	lv->recs = recs;
	lv->to = (struct tree_rec *)recs;
	lv->to_nrecs = (le16 *)&header->nrecs;
	lv->to_level = (le16 *)&header->level;
	return load16(lv->to_nrecs) == lv->nrecs ? 0 : damaged(p, 0, "root of a tree");
}

/* Make @lv, a node at level @l or the fork, ready to be changed. */
static int level_modify(struct path *p, unsigned l, struct level *lv)
{
	struct tree_node *node;
	void *copy;
	int err;

	if (lv->to)
		return 0;
	if (!lv->blk)
		return fork_modify(p, lv);
	err = tx_modify(p->tx, lv->blk << BLOCK_SHIFT, BLOCK_BYTES, TX_META, &copy);
	if (err)
		return err;
	node = copy;
	if (!node_expected(p, l, lv->blk, node) || load16(&node->nrecs) != lv->nrecs)
		return damaged(p, lv->blk, "tree node that changed by itself");
	lv->recs = lv->to = node->recs;
	lv->to_nrecs = &node->nrecs;
	lv->to_level = &node->level;
	return 0;
}

static void level_set_nrecs(struct level *lv, unsigned nrecs)
{
	lv->nrecs = nrecs;
	*lv->to_nrecs = to_le16((uint16_t)nrecs);
}

static void level_put(struct level *lv, unsigned at, const struct rec *rec)
{
	lv->to[at] = (struct tree_rec){ to_le64(rec->key), to_le64(rec->val) };
}

static void level_insert(struct level *lv, unsigned at, const struct rec *rec)
{
	memmove(&lv->to[at + 1], &lv->to[at], (lv->nrecs - at) * sizeof(lv->to[0]));
	level_put(lv, at, rec);
	level_set_nrecs(lv, lv->nrecs + 1);
}

static void level_remove(struct level *lv, unsigned l, unsigned at)
{
	memmove(&lv->to[at], &lv->to[at + 1], (lv->nrecs - at - 1) * sizeof(lv->to[0]));
	level_set_nrecs(lv, lv->nrecs - 1);
	if (l)
		lv->to[0].key = 0;
}

/* Put the records of @from, from @first on, behind those of @to. */
static void level_append(struct level *to, const struct level *from, unsigned first)
{
	unsigned n = from->nrecs - first;

	memcpy(&to->to[to->nrecs], &from->recs[first], n * sizeof(to->to[0]));
	level_set_nrecs(to, to->nrecs + n);
}

static int count_blocks(struct path *p, int n)
{
	struct dinode *di;
	int err = inode_modify(p->tx, p->inode, &di);

	if (err)
		return err;
	if (n < 0 && !di->nblocks)
		return damaged(p, 0, "number of blocks");
	di->nblocks = to_le64(from_le64(di->nblocks) + (uint64_t)n);
	return 0;
}

/* A new and empty node at level @l, near block @goal. */
static int node_new(struct path *p, unsigned l, uint64_t goal, struct level *ret)
{
	struct alloc_request req = { .goal = goal, .count = 1 };
	struct tree_node *node;
	uint64_t blk;
	uint32_t got;
	void *copy;
	int err = alloc_blocks(p->tx, &req, &blk, &got);

	if (!err)
		err = tx_create(p->tx, blk, TX_META, &copy);
	if (!err)
		err = count_blocks(p, 1);
	if (err)
		return err;
	node = copy;
	node->magic = to_le32(NODE_MAGIC);
	node->blk = to_le64(blk);
	node->owner = to_le64(p->inode->ino);
	node->generation = to_le32(p->inode->generation);
	node->level = to_le16((uint16_t)l);
	node->fork = (uint8_t)p->fork;
	*ret = (struct level){ .blk = blk,
			       .recs = node->recs,
			       .to = node->recs,
			       .to_nrecs = &node->nrecs,
			       .to_level = &node->level };
	return 0;
}

static int node_free(struct path *p, const struct level *lv)
{
	int err = alloc_free(p->tx, lv->blk, 1, false);

	if (!err)
		err = count_blocks(p, -1);
	if (err)
		return err;
	tx_forget(p->tx, lv->blk);
	verified_clear(p->inode->vol, lv->blk);
	return 0;
}

/* ---- insert --------------------------------------------------------------------------------- */

/* Move what is in the full fork into a node below it: the tree grows by a level. */
static int root_grow(struct path *p)
{
	struct level *root = &p->lv[p->top], node;
	struct rec rec = { 0 };
	int err;

	if (p->top == TREE_MAX_LEVEL)
		return -EFBIG;
	err = node_new(p, p->top, (p->inode->off >> BLOCK_SHIFT) + 1, &node);
	if (!err)
		err = level_modify(p, p->top, root);
	if (err)
		return err;
	level_append(&node, root, 0);
	node.last = UINT64_MAX;
	node.idx = root->idx;
	rec.val = node.blk;
	level_put(root, 0, &rec);
	level_set_nrecs(root, 1);
	*root->to_level = to_le16((uint16_t)(p->top + 1));
	root->idx = 0;
	p->lv[p->top + 1] = *root;
	p->lv[p->top] = node;
	p->top++;
	return 0;
}

/*
 * Put @rec at @at into the full node at level @l, half of which goes to a new node on its right.
 * At the end of the tree nothing goes there but @rec: who appends leaves full nodes behind.
 * *@ret_up is the record that leads to the new node.
 */
static int node_split(struct path *p, unsigned l, unsigned at, const struct rec *rec,
		      struct rec *ret_up)
{
	struct level *left = &p->lv[l], right;
	bool append = at == left->nrecs && left->last == UINT64_MAX;
	unsigned keep = append ? left->nrecs : left->nrecs / 2;
	struct rec up;
	int err = node_new(p, l, left->blk + 1, &right);

	if (!err && !append)
		err = level_modify(p, l, left);
	if (err)
		return err;
	if (!append) {
		level_append(&right, left, keep);
		level_set_nrecs(left, keep);
	}
	if (at < keep || (at == keep && !append))
		level_insert(left, at, rec);
	else
		level_insert(&right, at - keep, rec);
	up = (struct rec){ key_load(&right, 0), right.blk };
	if (l)
		right.to[0].key = 0;
	*ret_up = up;
	return 0;
}

/* Put @rec at @at into the leaf of the path, and what follows from it into the nodes above. */
static int path_insert(struct path *p, unsigned at, struct rec rec)
{
	int err;

	for (unsigned l = 0;; l++) {
		unsigned capacity = l == p->top ? fork_capacity(p->fork) : NODE_RECS;
		struct level *lv = &p->lv[l];

		if (l == p->top && lv->nrecs == capacity) {
			err = root_grow(p);
			if (err)
				return err;
			capacity = NODE_RECS;
		}
		if (lv->nrecs < capacity) {
			err = level_modify(p, l, lv);
			if (!err)
				level_insert(lv, at, &rec);
			return err;
		}
		err = node_split(p, l, at, &rec, &rec);
		if (err)
			return err;
		at = p->lv[l + 1].idx + 1;
	}
}

static bool path_found(const struct path *p, uint64_t key)
{
	return p->lv[0].idx && key_load(&p->lv[0], p->lv[0].idx - 1) == key;
}

int btree_insert(struct tx *tx, struct inode *inode, enum fork_id fork, const struct rec *rec)
{
	struct path p;
	int err = path_to(&p, tx, inode, fork, rec->key, SYNC_EXCL);

	if (err)
		return err;
	if (path_found(&p, rec->key))
		return -EEXIST;
	return path_insert(&p, p.lv[0].idx, *rec);
}

/* ---- delete --------------------------------------------------------------------------------- */

/* Move the records of @right behind those of @left, its neighbour, and free it. */
static int nodes_merge(struct path *p, unsigned l, struct level *left, const struct level *right)
{
	unsigned at = left->nrecs;
	int err = level_modify(p, l, left);

	if (err)
		return err;
	level_append(left, right, 0);
	if (l) /* no longer the first of a node: it needs its key, which stood above */
		left->to[at].key = to_le64(right->low);
	return node_free(p, right);
}

/* Merge the node at @l with a neighbour if both fit. 1: record *@ret_up above has to go. */
static int node_merge(struct path *p, unsigned l, unsigned *ret_up)
{
	struct level *lv = &p->lv[l], beside;
	unsigned up = p->lv[l + 1].idx;
	int err;

	if (lv->nrecs >= MERGE_RECS)
		return 0;
	if (up) {
		err = child_read(p, l, up - 1, &beside);
		if (err)
			return err;
		if (beside.nrecs + lv->nrecs <= MERGE_RECS) {
			*ret_up = up;
			err = nodes_merge(p, l, &beside, lv);
			return err ? err : 1;
		}
	}
	if (up + 1 < p->lv[l + 1].nrecs) {
		err = child_read(p, l, up + 1, &beside);
		if (err)
			return err;
		if (beside.nrecs + lv->nrecs <= MERGE_RECS) {
			*ret_up = up + 1;
			err = nodes_merge(p, l, lv, &beside);
			return err ? err : 1;
		}
	}
	return 0;
}

/* Take record @at out of the node at @l. 1: record *@ret_up of the node above has to go too. */
static int node_remove(struct path *p, unsigned l, unsigned at, unsigned *ret_up)
{
	struct level *lv = &p->lv[l];
	int err;

	if (lv->nrecs == 1) {
		*ret_up = p->lv[l + 1].idx;
		err = node_free(p, lv);
		return err ? err : 1;
	}
	err = level_modify(p, l, lv);
	if (err)
		return err;
	level_remove(lv, l, at);
	return node_merge(p, l, ret_up);
}

/* While the fork has one child whose records fit into it, take them in. */
static int root_shrink(struct path *p)
{
	while (p->top && p->lv[p->top].nrecs == 1) {
		struct level *root = &p->lv[p->top], node;
		int err = child_read(p, p->top - 1, 0, &node);

		if (err)
			return err;
		if (node.nrecs > fork_capacity(p->fork))
			return 0;
		err = level_modify(p, p->top, root);
		if (err)
			return err;
		level_set_nrecs(root, 0);
		level_append(root, &node, 0);
		*root->to_level = to_le16((uint16_t)--p->top);
		p->lv[p->top] = *root;
		err = node_free(p, &node);
		if (err)
			return err;
	}
	return 0;
}

static int root_remove(struct path *p, unsigned at)
{
	struct level *root = &p->lv[p->top];
	int err = level_modify(p, p->top, root);

	if (err)
		return err;
	level_remove(root, p->top, at);
	if (!root->nrecs) /* an empty tree has no levels */
		*root->to_level = 0;
	return 0;
}

/* Take record @at out of the leaf of the path, and what follows from it out of those above. */
static int path_remove(struct path *p, unsigned at)
{
	int more = 1;

	for (unsigned l = 0; more && l < p->top; l++) {
		more = node_remove(p, l, at, &at);
		if (more < 0)
			return more;
	}
	if (more) {
		int err = root_remove(p, at);

		if (err)
			return err;
	}
	return root_shrink(p);
}

int btree_delete(struct tx *tx, struct inode *inode, enum fork_id fork, uint64_t key)
{
	struct path p;
	int err = path_to(&p, tx, inode, fork, key, SYNC_EXCL);

	if (err)
		return err;
	if (!path_found(&p, key))
		return -ENOENT;
	return path_remove(&p, p.lv[0].idx - 1);
}

/* ---- replace -------------------------------------------------------------------------------- */

/* Whether @key at @at would stand between its neighbours in @lv. */
static bool keeps_order(const struct level *lv, unsigned at, uint64_t key)
{
	return (!at || key_load(lv, at - 1) < key) &&
	       (at + 1 >= lv->nrecs || key_load(lv, at + 1) > key);
}

/*
 * Move the key that bounds the leaf of the path, on the side that it is to be exceeded, so that
 * @key may stand in the leaf. There is no record between the leaf's and @key, so what the
 * neighbour holds stays on its own side.
 */
static int bound_move(struct path *p, uint64_t key)
{
	bool low = key < p->lv[0].low;
	uint64_t bound = low ? key : key + 1;
	unsigned at, l = 1;
	int err;

	/* A bound comes from the lowest node in which the path has something on that side. */
	while (l < p->top && (low ? !p->lv[l].idx : p->lv[l].idx + 1 >= p->lv[l].nrecs))
		l++;
	at = low ? p->lv[l].idx : p->lv[l].idx + 1;
	if (!at || at >= p->lv[l].nrecs || !keeps_order(&p->lv[l], at, bound))
		return damaged(p, p->lv[l].blk, "order of a tree");
	err = level_modify(p, l, &p->lv[l]);
	if (!err)
		p->lv[l].to[at].key = to_le64(bound);
	return err;
}

int btree_replace(struct tx *tx, struct inode *inode, enum fork_id fork, uint64_t key,
		  const struct rec *rec)
{
	struct path p;
	struct level *leaf = &p.lv[0];
	int err = path_to(&p, tx, inode, fork, key, SYNC_EXCL);

	if (err)
		return err;
	if (!path_found(&p, key))
		return -ENOENT;
	if (!keeps_order(leaf, leaf->idx - 1, rec->key))
		return damaged(&p, leaf->blk, "order of a tree");
	if (rec->key < leaf->low || rec->key > leaf->last)
		err = bound_move(&p, rec->key);
	if (!err)
		err = level_modify(&p, 0, leaf);
	if (!err)
		level_put(leaf, leaf->idx - 1, rec);
	return err;
}

/* ---- how much a change may touch ------------------------------------------------------------ */

unsigned btree_step_blocks(struct tx *tx, struct inode *inode, enum fork_id fork)
{
	return btree_steps_blocks(tx, inode, fork, 1);
}

/*
 * A change touches one node on each level, and for a moment one more: a neighbour to merge with,
 * before the emptied one is forgotten. Several changes at neighbouring keys may each meet other
 * nodes, but no more than there are: the fork says how many stand below it.
 */
unsigned btree_steps_blocks(struct tx *tx, struct inode *inode, enum fork_id fork, unsigned steps)
{
	const struct tree_rec *recs;
	const struct fork_header *header = fork_of(inode_peek(tx, inode), fork, &recs);
	unsigned level = load16(&header->level), nrecs = load16(&header->nrecs);

	if (level > TREE_MAX_LEVEL)
		level = TREE_MAX_LEVEL;
	if (!level)
		return 1;
	if (level == 1)
		return 1 + (nrecs < steps + 1 ? nrecs : steps + 1);
	return 2 + steps * (level - 1) + (nrecs < steps ? nrecs : steps);
}
