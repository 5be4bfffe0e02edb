/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_btree.c - btree.c against a sorted array, on a real volume in memory.
 *
 * The array shares nothing with the tree. After each transaction the whole tree is walked from
 * the bytes of the medium, by FORMAT.md and not by btree.c, and compared with it; an aborted
 * transaction must leave every byte as it was. Seeds are printed; UDAX_SEED repeats one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alloc.h"
#include "bed.h"
#include "btree.h"
#include "crc.h"
#include "inode.h"
#include "journal.h"
#include "region.h"
#include "verified.h"
#include "volume.h"

/* ---- walking a tree by its bytes ------------------------------------------------------------ */

struct walk {
	const struct bed *bed;
	enum fork_id fork;
	struct rec *recs; /* of all leaves, in order */
	size_t nrecs, room;
	unsigned nodes, leaves, level;
};

static void walk_leaf_rec(struct walk *w, const struct tree_rec *rec, uint64_t low, uint64_t last)
{
	uint64_t key = from_le64(rec->key);

	if (key < low || key > last)
		fail_msg("key %llu is not between %llu and %llu", (unsigned long long)key,
			 (unsigned long long)low, (unsigned long long)last);
	if (w->nrecs)
		assert_true(w->recs[w->nrecs - 1].key < key);
	if (w->nrecs == w->room) {
		w->room = w->room ? 2 * w->room : 1024;
		w->recs = realloc(w->recs, w->room * sizeof(*w->recs));
	}
	w->recs[w->nrecs++] = (struct rec){ key, from_le64(rec->val) };
}

static void walk_node(struct walk *w, uint64_t blk, unsigned level, uint64_t low, uint64_t last);

static void walk_recs(struct walk *w, const struct tree_rec *recs, unsigned nrecs, unsigned level,
		      uint64_t low, uint64_t last)
{
	for (unsigned i = 0; i < nrecs; i++) {
		uint64_t from = i ? from_le64(recs[i].key) : low;
		uint64_t to = i + 1 < nrecs ? from_le64(recs[i + 1].key) - 1 : last;

		if (!level) {
			walk_leaf_rec(w, &recs[i], low, last);
			continue;
		}
		assert_true(i ? from > low && from <= to : !recs[0].key);
		walk_node(w, from_le64(recs[i].val), level - 1, from, to);
	}
}

static void walk_node(struct walk *w, uint64_t blk, unsigned level, uint64_t low, uint64_t last)
{
	const struct tree_node *node;
	unsigned nrecs;

	assert_true(volume_owns_data(w->bed->vol, blk, 1));
	node = region_ptr(w->bed->region, blk << BLOCK_SHIFT, sizeof(*node));
	nrecs = from_le16(node->nrecs);
	assert_int_equal(from_le32(node->magic), NODE_MAGIC);
	assert_int_equal(from_le32(node->csum), crc32c_skip(node, sizeof(*node), 4));
	assert_int_equal(btree_node_check(node, blk), 0);
	assert_int_equal(from_le64(node->owner), w->bed->inode->ino);
	assert_int_equal(from_le32(node->generation), w->bed->inode->generation);
	assert_int_equal(from_le16(node->level), level);
	assert_int_equal(node->fork, w->fork);
	assert_in_range(nrecs, 1, NODE_RECS);
	w->nodes++;
	w->leaves += !level;
	walk_recs(w, node->recs, nrecs, level, low, last);
}

static void walk_tree(struct walk *w, const struct bed *bed, enum fork_id fork)
{
	const struct dinode *di = bed_dinode(bed);
	const struct fork_header *header = &di->data;
	const struct tree_rec *recs = di->data_recs;

	if (fork == FORK_INDEX) {
		header = &di->index;
		recs = di->index_recs;
	} else if (fork == FORK_ATTR) {
		header = &di->attr;
		recs = di->attr_recs;
	}
	w->bed = bed;
	w->fork = fork;
	w->nrecs = 0;
	w->nodes = w->leaves = 0;
	w->level = from_le16(header->level);
	assert_in_range(w->level, 0, 3);
	assert_true(!w->level || header->nrecs);
	walk_recs(w, recs, from_le16(header->nrecs), w->level, 0, UINT64_MAX);
	assert_int_equal(from_le64(di->nblocks), w->nodes);
	/* However the deletions fell, leaves are not left nearly empty in numbers. */
	assert_true(w->leaves <= 4 + w->nrecs / 40);
}

/* ---- the model ------------------------------------------------------------------------------ */

struct model {
	struct rec *recs; /* sorted */
	size_t n, room;
};

/* Where @key is or would be. */
static size_t model_find(const struct model *m, uint64_t key)
{
	size_t low = 0, high = m->n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (m->recs[mid].key < key)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool model_has(const struct model *m, uint64_t key)
{
	size_t at = model_find(m, key);

	return at < m->n && m->recs[at].key == key;
}

static void model_insert(struct model *m, struct rec rec)
{
	size_t at = model_find(m, rec.key);

	if (m->n == m->room) {
		m->room = m->room ? 2 * m->room : 1024;
		m->recs = realloc(m->recs, m->room * sizeof(*m->recs));
	}
	memmove(&m->recs[at + 1], &m->recs[at], (m->n - at) * sizeof(*m->recs));
	m->recs[at] = rec;
	m->n++;
}

static void model_delete(struct model *m, uint64_t key)
{
	size_t at = model_find(m, key);

	memmove(&m->recs[at], &m->recs[at + 1], (m->n - at - 1) * sizeof(*m->recs));
	m->n--;
}

static void model_copy(struct model *to, const struct model *from)
{
	to->recs = realloc(to->recs, (from->room ? from->room : 1) * sizeof(*to->recs));
	if (from->n)
		memcpy(to->recs, from->recs, from->n * sizeof(*to->recs));
	to->n = from->n;
	to->room = from->room ? from->room : 1;
}

/* ---- random operations, compared ------------------------------------------------------------ */

struct run {
	struct bed *bed;
	enum fork_id fork;
	uint64_t rng, keys; /* keys are below this */
	uint64_t next_append;
	struct model model, before;
	struct walk walk;
};

static void compare_rec(int err, const struct rec *rec, const struct model *m, bool exists,
			size_t at)
{
	assert_int_equal(err, exists ? 0 : -ENOENT);
	if (!exists)
		return;
	assert_int_equal(rec->key, m->recs[at].key);
	assert_int_equal(rec->val, m->recs[at].val);
}

static void run_look(struct run *r, struct tx *tx)
{
	uint64_t key = rng_below(&r->rng, r->keys + 2);
	const struct model *m = &r->model;
	size_t ge = model_find(m, key), gt = ge + model_has(m, key);
	struct rec_pair pair;
	struct rec rec;
	int err;

	err = btree_le(tx, r->bed->inode, r->fork, key, &rec);
	compare_rec(err, &rec, m, gt > 0, gt - 1);
	err = btree_ge(tx, r->bed->inode, r->fork, key, &rec);
	compare_rec(err, &rec, m, ge < m->n, ge);
	assert_int_equal(btree_around(tx, r->bed->inode, r->fork, key, &pair), 0);
	compare_rec(pair.has_le ? 0 : -ENOENT, &pair.le, m, gt > 0, gt - 1);
	compare_rec(pair.has_gt ? 0 : -ENOENT, &pair.gt, m, gt < m->n, gt);
}

static void run_insert(struct run *r)
{
	struct rec rec = { rng_below(&r->rng, r->keys), rng_next(&r->rng) };
	bool there;

	if (rng_below(&r->rng, 4) == 0 && r->model.n) /* at the end */
		rec.key = r->model.recs[r->model.n - 1].key + 1 + rng_below(&r->rng, 3);
	there = model_has(&r->model, rec.key);
	assert_int_equal(btree_insert(r->bed->tx, r->bed->inode, r->fork, &rec),
			 there ? -EEXIST : 0);
	if (!there)
		model_insert(&r->model, rec);
}

static void run_delete(struct run *r)
{
	uint64_t key = rng_below(&r->rng, r->keys);
	size_t at = model_find(&r->model, key);

	if (rng_below(&r->rng, 8) && at < r->model.n) /* mostly one that is there */
		key = r->model.recs[at].key;
	if (!model_has(&r->model, key)) {
		assert_int_equal(btree_delete(r->bed->tx, r->bed->inode, r->fork, key), -ENOENT);
		return;
	}
	assert_int_equal(btree_delete(r->bed->tx, r->bed->inode, r->fork, key), 0);
	model_delete(&r->model, key);
}

static void run_replace(struct run *r)
{
	struct model *m = &r->model;
	struct rec rec = { 0, rng_next(&r->rng) };
	uint64_t low, high;
	size_t at;

	if (!m->n)
		return;
	at = rng_below(&r->rng, m->n);
	low = at ? m->recs[at - 1].key + 1 : 0;
	high = at + 1 < m->n ? m->recs[at + 1].key : m->recs[at].key + 3;
	rec.key = low + rng_below(&r->rng, high - low);
	if (rng_below(&r->rng, 3) == 0) /* as far as it goes */
		rec.key = rng_below(&r->rng, 2) ? low : high - 1;
	assert_int_equal(btree_replace(r->bed->tx, r->bed->inode, r->fork, m->recs[at].key, &rec),
			 0);
	m->recs[at] = rec;
}

static void run_compare(struct run *r)
{
	walk_tree(&r->walk, r->bed, r->fork);
	assert_int_equal(r->walk.nrecs, r->model.n);
	if (r->model.n)
		assert_memory_equal(r->walk.recs, r->model.recs, r->model.n * sizeof(struct rec));
}

static unsigned run_step(struct run *r, unsigned percent_insert)
{
	uint64_t dice = rng_below(&r->rng, 100);

	if (dice < 15)
		run_replace(r);
	else if (dice < 15 + 85 * percent_insert / 100)
		run_insert(r);
	else
		run_delete(r);
	if (dice % 4 == 0)
		run_look(r, r->bed->tx);
	return 1;
}

/* One transaction of up to @max steps; some are aborted. Returns the steps done. */
static unsigned run_tx(struct run *r, unsigned max, unsigned percent_insert)
{
	struct bed *bed = r->bed;
	bool abort_it = rng_below(&r->rng, 10) == 0;
	unsigned char *image = NULL;
	uint64_t free_before = 0;
	unsigned steps = 0;

	if (abort_it) {
		image = bed_image(bed);
		model_copy(&r->before, &r->model);
		free_before = bed_free(bed);
	}
	bed_begin(bed, 0);
	while (steps < max && tx_room(bed->tx, btree_step_blocks(bed->tx, bed->inode, r->fork)))
		steps += run_step(r, percent_insert);
	assert_true(steps > 0);
	assert_int_equal(bed_end(bed, abort_it ? -ECANCELED : 0), abort_it ? -ECANCELED : 0);
	if (abort_it) {
		bed_assert_image(bed, image);
		free(image);
		model_copy(&r->model, &r->before);
		assert_int_equal(bed_free(bed), free_before);
	}
	ilock(bed->inode, SYNC_SHARED, HERE);
	run_look(r, NULL);
	iunlock(bed->inode, SYNC_SHARED, HERE);
	return steps;
}

static void run_drain(struct run *r)
{
	while (r->model.n) {
		bed_begin(r->bed, 0);
		while (r->model.n &&
		       tx_room(r->bed->tx, btree_step_blocks(r->bed->tx, r->bed->inode, r->fork))) {
			uint64_t key = r->model.recs[rng_below(&r->rng, r->model.n)].key;

			assert_int_equal(btree_delete(r->bed->tx, r->bed->inode, r->fork, key), 0);
			model_delete(&r->model, key);
		}
		assert_int_equal(bed_end(r->bed, 0), 0);
		run_compare(r);
	}
}

static struct run *run_new(uint64_t seed, enum fork_id fork, uint64_t keys, uint64_t bytes)
{
	struct run *r = calloc(1, sizeof(*r));

	r->bed = bed_new(bytes, true);
	r->fork = fork;
	r->keys = keys;
	r->rng = seed;
	return r;
}

static void run_delete_all(struct run *r)
{
	bed_delete(r->bed);
	free(r->model.recs);
	free(r->before.recs);
	free(r->walk.recs);
	free(r);
}

static void random_run(uint64_t seed, enum fork_id fork, uint64_t keys, unsigned steps)
{
	struct run *r = run_new(bed_seed(seed), fork, keys, 2 << 20);
	uint64_t free_before = bed_free(r->bed);
	unsigned done = 0, txs = 0;

	while (done < steps) {
		/* Long times of growing and of shrinking, and short ones of neither. */
		unsigned phase = done / 4000 % 4;
		unsigned percent = phase == 0 ? 80 : phase == 2 ? 25 : 50;

		done += run_tx(r, 1 + (unsigned)rng_below(&r->rng, 40), percent);
		if (++txs % 4 == 0 || r->model.n < 600)
			run_compare(r);
		if (txs % 500 == 0)
			bed_remount(r->bed);
	}
	run_compare(r);
	run_drain(r);
	assert_int_equal(r->walk.nodes, 0);
	assert_int_equal(r->walk.level, 0);
	assert_int_equal(bed_free(r->bed), free_before);
	run_delete_all(r);
}

static void a_tree_is_its_sorted_array_after_any_operations_in_the_data_fork(void **state)
{
	(void)state;
	random_run(1, FORK_DATA, 20000, 50000);
	random_run(2, FORK_DATA, 600, 20000);
}

static void a_tree_is_its_sorted_array_after_any_operations_in_the_index_fork(void **state)
{
	(void)state;
	random_run(3, FORK_INDEX, 30000, 50000);
}

static void a_tree_is_its_sorted_array_after_any_operations_in_the_attribute_fork(void **state)
{
	(void)state;
	random_run(4, FORK_ATTR, 3000, 30000);
	random_run(5, FORK_ATTR, 40, 10000);
}

/* ---- shapes --------------------------------------------------------------------------------- */

static void insert_one(struct bed *bed, enum fork_id fork, uint64_t key, uint64_t val)
{
	struct rec rec = { key, val };

	bed_begin(bed, 0);
	assert_int_equal(bed_end(bed, btree_insert(bed->tx, bed->inode, fork, &rec)), 0);
}

static void who_appends_leaves_full_nodes_behind(void **state)
{
	struct bed *bed = bed_new(2 << 20, true);
	struct walk w = { 0 };

	(void)state;
	for (uint64_t key = 0; key < 20 * NODE_RECS; key++)
		insert_one(bed, FORK_INDEX, key, key);
	walk_tree(&w, bed, FORK_INDEX);
	assert_int_equal(w.nrecs, 20 * NODE_RECS);
	assert_int_equal(w.leaves, 20);
	free(w.recs);
	bed_delete(bed);
}

static void inserting_downwards_leaves_nodes_at_least_half_full(void **state)
{
	struct bed *bed = bed_new(2 << 20, true);
	struct walk w = { 0 };

	(void)state;
	for (uint64_t key = 20 * NODE_RECS; key > 0; key--)
		insert_one(bed, FORK_INDEX, key, key);
	walk_tree(&w, bed, FORK_INDEX);
	assert_int_equal(w.nrecs, 20 * NODE_RECS);
	assert_true(w.leaves <= 40);
	free(w.recs);
	bed_delete(bed);
}

/* Were it taken for appending, each of these would begin a node of its own. */
static void inserting_downwards_in_a_gap_leaves_nodes_at_least_half_full(void **state)
{
	struct bed *bed = bed_new(2 << 20, true);
	struct walk w = { 0 };

	(void)state;
	for (uint64_t key = 0; key < 2 * NODE_RECS; key++)
		insert_one(bed, FORK_INDEX, key < NODE_RECS ? key : 100000 + key, key);
	for (uint64_t key = 100000; key > 100000 - 10 * NODE_RECS; key--)
		insert_one(bed, FORK_INDEX, key, key);
	walk_tree(&w, bed, FORK_INDEX);
	assert_int_equal(w.nrecs, 12 * NODE_RECS);
	assert_true(w.leaves <= 24);
	free(w.recs);
	bed_delete(bed);
}

#define TALL 200000u

/* Delete what @goes says, from the end. */
static void thin_out(struct bed *bed, bool (*goes)(uint64_t key))
{
	for (uint64_t key = TALL; key > 0;) {
		bed_begin(bed, 0);
		for (;
		     key > 0 && tx_room(bed->tx, btree_step_blocks(bed->tx, bed->inode, FORK_DATA));
		     key--)
			if (goes(key - 1))
				assert_int_equal(
					btree_delete(bed->tx, bed->inode, FORK_DATA, key - 1), 0);
		assert_int_equal(bed_end(bed, 0), 0);
	}
}

static bool not_a_sixteenth(uint64_t key)
{
	return key % 16 != 0;
}

static bool a_sixteenth_in_the_middle(uint64_t key)
{
	return key % 16 == 0 && key > TALL / 10 && key < TALL - TALL / 10;
}

static void inner_nodes_merge_too_and_lead_to_every_record(void **state)
{
	struct bed *bed = bed_new(16 << 20, false);
	struct walk w = { 0 };
	unsigned nodes;

	(void)state;
	/* From both ends of each thousand, so that there are splits of either kind. */
	for (uint64_t i = 0; i < TALL;) {
		bed_begin(bed, 0);
		for (unsigned n = 0; n < 500 && tx_room(bed->tx, 12); n++, i++) {
			uint64_t key = i % 2 ? i : i - i % 1000 + 998 - i % 1000;
			struct rec rec = { key, i };

			assert_int_equal(btree_insert(bed->tx, bed->inode, FORK_DATA, &rec), 0);
		}
		assert_int_equal(bed_end(bed, 0), 0);
	}
	walk_tree(&w, bed, FORK_DATA);
	assert_int_equal(w.nrecs, TALL);
	nodes = w.nodes;
	assert_true(nodes - w.leaves >= 4);

	thin_out(bed, not_a_sixteenth);
	walk_tree(&w, bed, FORK_DATA);
	assert_int_equal(w.nrecs, TALL / 16);
	for (size_t i = 0; i < w.nrecs; i++)
		assert_int_equal(w.recs[i].key, 16 * i);
	assert_true(w.nodes < nodes / 4);

	thin_out(bed, a_sixteenth_in_the_middle);
	walk_tree(&w, bed, FORK_DATA);
	assert_int_equal(w.nrecs, 2 * (TALL / 160) + 1);
	free(w.recs);
	bed_delete(bed);
}

/* A million records, in random order: what one more costs does not grow. */
static void one_insert_among_a_million_touches_a_path_and_no_more(void **state)
{
	struct bed *bed = bed_new(64 << 20, false);
	uint64_t most_log = 0, most_blocks = 0;
	struct walk w = { 0 };

	(void)state;
	for (uint64_t i = 0; i < 1000000;) {
		bed_begin(bed, 0);
		for (unsigned n = 0; n < 100 && i < 1000000; n++, i++) {
			/* A bijection of 20 bits, so that no key comes twice. */
			struct rec rec = { i * 0x9e3b5 % (1 << 20), i };

			if (!tx_room(bed->tx, btree_step_blocks(bed->tx, bed->inode, FORK_INDEX)))
				break;
			assert_int_equal(btree_insert(bed->tx, bed->inode, FORK_INDEX, &rec), 0);
		}
		assert_int_equal(bed_end(bed, 0), 0);
	}
	walk_tree(&w, bed, FORK_INDEX);
	assert_int_equal(w.nrecs, 1000000);
	assert_true(w.level <= 3);

	for (uint64_t i = 1000000; i < 1010000; i++) {
		uint64_t log = atomic_load(&bed->vol->stat.tx_log_bytes);
		uint64_t blocks = atomic_load(&bed->vol->stat.blocks_allocated);

		insert_one(bed, FORK_INDEX, i * 0x9e3b5 % (1 << 20), i);
		log = atomic_load(&bed->vol->stat.tx_log_bytes) - log;
		blocks = atomic_load(&bed->vol->stat.blocks_allocated) - blocks;
		most_log = log > most_log ? log : most_log;
		most_blocks = blocks > most_blocks ? blocks : most_blocks;
	}
	print_message("level %u, %u nodes; at most %llu bytes logged, %llu nodes new\n", w.level,
		      w.nodes, (unsigned long long)most_log, (unsigned long long)most_blocks);
	/* One node on each level, and the dinode. */
	assert_true(most_log <= (w.level + 1) * (BLOCK_BYTES + 64));
	assert_true(most_blocks <= w.level + 1);
	free(w.recs);
	bed_delete(bed);
}

/* ---- no room -------------------------------------------------------------------------------- */

/* Insert records until one finds no room for its @need new nodes, with only @need - 1 there. */
static void no_room_in_the_middle(unsigned need, uint64_t nrecs, uint64_t key)
{
	struct bed *bed = bed_new(2 << 20, true);
	unsigned char *image;
	struct rec rec = { key, 7 };
	struct walk w = { 0 };

	for (uint64_t i = 0; i < nrecs; i++)
		insert_one(bed, FORK_INDEX, 2 * i, i);
	bed_leave_free(bed, need - 1);
	image = bed_image(bed);

	bed_begin(bed, 0);
	assert_int_equal(bed_end(bed, btree_insert(bed->tx, bed->inode, FORK_INDEX, &rec)),
			 -ENOSPC);
	bed_assert_image(bed, image);
	assert_int_equal(alloc_nfree(bed->vol), need - 1);
	walk_tree(&w, bed, FORK_INDEX);
	assert_int_equal(w.nrecs, nrecs);

	/* What is kept in reserve makes it possible. */
	bed_begin(bed, TX_RESERVE);
	assert_int_equal(bed_end(bed, btree_insert(bed->tx, bed->inode, FORK_INDEX, &rec)), 0);
	walk_tree(&w, bed, FORK_INDEX);
	assert_int_equal(w.nrecs, nrecs + 1);
	free(w.recs);
	free(image);
	bed_delete(bed);
}

static void no_room_for_a_first_node_changes_nothing(void **state)
{
	(void)state;
	no_room_in_the_middle(1, FORK_INDEX_RECS, 3);
}

static void no_room_for_half_a_leaf_changes_nothing(void **state)
{
	(void)state;
	no_room_in_the_middle(1, NODE_RECS, 3);
}

static void no_room_in_the_middle_of_a_split_changes_nothing(void **state)
{
	(void)state;
	/* Four full leaves below a full fork: the leaf splits, then the root has to grow. */
	no_room_in_the_middle(2, FORK_INDEX_RECS * NODE_RECS, 3);
}

/* ---- damage --------------------------------------------------------------------------------- */

/* All ways of looking and changing, of which each must say -EIO or do right. */
static bool everything_is_eio(struct bed *bed, enum fork_id fork, uint64_t key)
{
	struct rec rec = { key, 1 };
	struct rec_pair pair;
	bool eio;

	ilock(bed->inode, SYNC_SHARED, HERE);
	eio = btree_le(NULL, bed->inode, fork, key, &rec) == -EIO &&
	      btree_ge(NULL, bed->inode, fork, key, &rec) == -EIO &&
	      btree_around(NULL, bed->inode, fork, key, &pair) == -EIO;
	iunlock(bed->inode, SYNC_SHARED, HERE);

	rec = (struct rec){ key, 1 };
	bed_begin(bed, 0);
	eio = bed_end(bed, btree_insert(bed->tx, bed->inode, fork, &rec)) == -EIO && eio;
	bed_begin(bed, 0);
	eio = bed_end(bed, btree_delete(bed->tx, bed->inode, fork, key)) == -EIO && eio;
	bed_begin(bed, 0);
	eio = bed_end(bed, btree_replace(bed->tx, bed->inode, fork, key, &rec)) == -EIO && eio;
	return eio;
}

static struct bed *bed_with_tree(uint64_t nrecs)
{
	struct bed *bed = bed_new(2 << 20, false);

	for (uint64_t i = 0; i < nrecs; i++)
		insert_one(bed, FORK_INDEX, 2 * i, i);
	return bed;
}

static uint64_t first_child(const struct bed *bed)
{
	return from_le64(bed_dinode(bed)->index_recs[0].val);
}

static void a_wrong_byte_anywhere_in_a_node_is_an_io_error(void **state)
{
	struct bed *bed = bed_with_tree(100);
	uint64_t off = first_child(bed) << BLOCK_SHIFT;

	(void)state;
	for (unsigned at = 0; at < BLOCK_BYTES; at++) {
		unsigned char good, bad;

		memcpy(&good, region_ptr(bed->region, off + at, 1), 1);
		bad = (unsigned char)(good ^ (1u << at % 8));
		bed_store(bed, off + at, &bad, 1);
		verified_clear(bed->vol, off >> BLOCK_SHIFT);
		if (!everything_is_eio(bed, FORK_INDEX, 100))
			fail_msg("byte %u was believed", at);
		bed_store(bed, off + at, &good, 1);
	}
	assert_true(atomic_load(&bed->vol->stat.errors) >= BLOCK_BYTES);
	insert_one(bed, FORK_INDEX, 1001, 1);
	bed_delete(bed);
}

struct lie {
	const char *what;
	void (*tell)(struct bed *bed, struct tree_node *node);
};

static void lie_magic(struct bed *bed, struct tree_node *node)
{
	(void)bed;
	node->magic = to_le32(DIRBLOCK_MAGIC);
}

static void lie_blk(struct bed *bed, struct tree_node *node)
{
	(void)bed;
	node->blk = to_le64(from_le64(node->blk) + 1);
}

static void lie_owner(struct bed *bed, struct tree_node *node)
{
	node->owner = to_le64(bed->inode->ino + 1);
}

static void lie_generation(struct bed *bed, struct tree_node *node)
{
	node->generation = to_le32(bed->inode->generation + 1);
}

static void lie_fork(struct bed *bed, struct tree_node *node)
{
	(void)bed;
	node->fork = FORK_DATA;
}

static void lie_level_up(struct bed *bed, struct tree_node *node)
{
	(void)bed;
	node->level = to_le16((uint16_t)(from_le16(node->level) + 1));
}

static void lie_level_huge(struct bed *bed, struct tree_node *node)
{
	(void)bed;
	node->level = to_le16(0xffff);
}

static void lie_empty(struct bed *bed, struct tree_node *node)
{
	(void)bed;
	node->nrecs = 0;
}

static void lie_too_many(struct bed *bed, struct tree_node *node)
{
	(void)bed;
	node->nrecs = to_le16(NODE_RECS + 1);
}

static void lie_all_bits(struct bed *bed, struct tree_node *node)
{
	(void)bed;
	node->nrecs = to_le16(0xffff);
}

static void lie_order(struct bed *bed, struct tree_node *node)
{
	(void)bed;
	node->recs[1].key = node->recs[2].key;
}

/* The leaf's own: these lies are about the first leaf of several. */
static void lie_beyond_bounds(struct bed *bed, struct tree_node *node)
{
	(void)bed;
	node->recs[from_le16(node->nrecs) - 1].key = to_le64(UINT64_MAX);
}

static const struct lie header_lies[] = {
	{ "magic", lie_magic },
	{ "blk", lie_blk },
	{ "owner", lie_owner },
	{ "generation", lie_generation },
	{ "fork", lie_fork },
	{ "level + 1", lie_level_up },
	{ "level 65535", lie_level_huge },
	{ "no records", lie_empty },
	{ "253 records", lie_too_many },
	{ "65535 records", lie_all_bits },
	{ "two equal keys", lie_order },
	{ "a key beyond the parent's next", lie_beyond_bounds },
};

/* Tell @lie in node @blk, with a right checksum. */
static void tell(struct bed *bed, const struct lie *lie, uint64_t blk)
{
	struct tree_node node;

	memcpy(&node, region_ptr(bed->region, blk << BLOCK_SHIFT, sizeof(node)), sizeof(node));
	lie->tell(bed, &node);
	node.csum = to_le32(crc32c_skip(&node, sizeof(node), 4));
	bed_store(bed, blk << BLOCK_SHIFT, &node, sizeof(node));
}

static void a_node_that_lies_with_a_right_checksum_is_an_io_error(void **state)
{
	struct bed *bed = bed_with_tree(3 * NODE_RECS);
	uint64_t blk = first_child(bed);
	struct tree_node good;

	(void)state;
	memcpy(&good, region_ptr(bed->region, blk << BLOCK_SHIFT, sizeof(good)), sizeof(good));
	for (size_t i = 0; i < sizeof(header_lies) / sizeof(header_lies[0]); i++) {
		tell(bed, &header_lies[i], blk);
		verified_clear(bed->vol, blk);
		if (!everything_is_eio(bed, FORK_INDEX, 100))
			fail_msg("believed: %s", header_lies[i].what);
		bed_store(bed, blk << BLOCK_SHIFT, &good, sizeof(good));
	}
	insert_one(bed, FORK_INDEX, 1001, 1);
	bed_delete(bed);
}

/* What an overlapping file could do to a node behind the mark that says it is good. */
static void a_node_that_starts_to_lie_after_it_was_verified_cannot_lead_astray(void **state)
{
	struct bed *bed = bed_with_tree(3 * NODE_RECS);
	uint64_t blk = first_child(bed);
	struct tree_node good;

	(void)state;
	memcpy(&good, region_ptr(bed->region, blk << BLOCK_SHIFT, sizeof(good)), sizeof(good));
	for (size_t i = 0; i < sizeof(header_lies) / sizeof(header_lies[0]); i++) {
		verified_set(bed->vol, blk);
		tell(bed, &header_lies[i], blk);
		if (!everything_is_eio(bed, FORK_INDEX, 100) && header_lies[i].tell != lie_order)
			fail_msg("believed: %s", header_lies[i].what);
		bed_store(bed, blk << BLOCK_SHIFT, &good, sizeof(good));
	}
	bed_delete(bed);
}

static void set_first_child(struct bed *bed, uint64_t blk)
{
	struct dinode di = *bed_dinode(bed);

	di.index_recs[0].val = to_le64(blk);
	di.csum = to_le32(crc32c_skip(&di, sizeof(di), 4));
	bed_store(bed, bed->inode->off, &di, sizeof(di));
}

static void a_pointer_that_leads_outside_or_to_another_structure_is_an_io_error(void **state)
{
	struct bed *bed = bed_with_tree(3 * NODE_RECS);
	uint64_t nblocks = atomic_load(&bed->vol->nblocks);
	uint64_t second = from_le64(bed_dinode(bed)->index_recs[1].val);
	const uint64_t wrong[] = {
		0,
		SUPER_BLK,
		1,
		SUPER_COPY_BLK,
		SPECIAL_BLK,
		JOURNAL_BLK,
		nblocks,
		nblocks + 1,
		MAP_BITS,
		UINT64_MAX,
		UINT64_MAX >> BLOCK_SHIFT,
		second,
		UINT64_C(1) << 52,
		bed->inode->off >> BLOCK_SHIFT,
		bed->vol->first_data_blk - 1,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		set_first_child(bed, wrong[i]);
		if (!everything_is_eio(bed, FORK_INDEX, 100))
			fail_msg("followed a pointer to block %llu", (unsigned long long)wrong[i]);
	}
	bed_delete(bed);
}

/* A node that is right in itself, but stands where a later transaction will write its log. */
static void a_good_node_in_the_journal_is_an_io_error(void **state)
{
	struct bed *bed = bed_with_tree(3 * NODE_RECS);
	uint64_t blk = bed->vol->first_data_blk - 1;
	struct tree_node node;

	(void)state;
	memcpy(&node, region_ptr(bed->region, first_child(bed) << BLOCK_SHIFT, sizeof(node)),
	       sizeof(node));
	node.blk = to_le64(blk);
	node.csum = to_le32(crc32c_skip(&node, sizeof(node), 4));
	assert_int_equal(btree_node_check(&node, blk), 0);
	bed_store(bed, blk << BLOCK_SHIFT, &node, sizeof(node));
	set_first_child(bed, blk);
	assert_true(everything_is_eio(bed, FORK_INDEX, 100));
	bed_delete(bed);
}

static void a_root_that_lies_is_an_io_error(void **state)
{
	struct bed *bed = bed_with_tree(3 * NODE_RECS);
	const struct dinode good = *bed_dinode(bed);
	struct dinode bad[6];

	(void)state;
	for (int i = 0; i < 6; i++)
		bad[i] = good;
	bad[0].index.level = to_le16(TREE_MAX_LEVEL + 1);
	bad[1].index.level = to_le16(0xffff);
	bad[2].index.nrecs = to_le16(FORK_INDEX_RECS + 1);
	bad[3].index.nrecs = to_le16(0xffff);
	bad[4].index.nrecs = 0;
	bad[5].index_recs[0].key = to_le64(1);
	for (int i = 0; i < 6; i++) {
		bad[i].csum = to_le32(crc32c_skip(&bad[i], sizeof(bad[i]), 4));
		bed_store(bed, bed->inode->off, &bad[i], sizeof(bad[i]));
		if (!everything_is_eio(bed, FORK_INDEX, 100))
			fail_msg("believed root %d", i);
	}
	bed_delete(bed);
}

/* Random bytes in all nodes, with right checksums; whatever happens is not a crash. */
static void fuzz_nodes(struct bed *bed, uint64_t *rng, const struct tree_node *good,
		       const uint64_t *blks, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct tree_node node = good[i];
		unsigned char *bytes = (unsigned char *)&node;

		for (uint64_t hits = rng_below(rng, 4); hits > 0; hits--) {
			/* Mostly where it hurts. */
			uint64_t at = rng_below(rng, rng_below(rng, 2) ? 128 : BLOCK_BYTES);

			bytes[at] =
				(unsigned char)(rng_below(rng, 3) ? rng_next(rng) : bytes[at] + 1u);
		}
		if (rng_below(rng, 8) == 0) /* a child of another */
			node.recs[rng_below(rng, 4)].val = to_le64(blks[rng_below(rng, n)]);
		node.csum = to_le32(crc32c_skip(&node, sizeof(node), 4));
		bed_store(bed, blks[i] << BLOCK_SHIFT, &node, sizeof(node));
		if (rng_below(rng, 2))
			verified_clear(bed->vol, blks[i]);
		else
			verified_set(bed->vol, blks[i]);
	}
}

static void fuzz_operations(struct bed *bed, uint64_t *rng)
{
	int err = 0;

	bed_begin(bed, 0);
	for (unsigned i = 0; i < 20 && !err; i++) {
		struct rec rec = { rng_below(rng, 3000), rng_next(rng) };
		uint64_t key = rng_below(rng, 3000);

		if (!tx_room(bed->tx, btree_step_blocks(bed->tx, bed->inode, FORK_INDEX)))
			break;
		switch (rng_below(rng, 4)) {
		case 0:
			err = btree_insert(bed->tx, bed->inode, FORK_INDEX, &rec);
			break;
		case 1:
			err = btree_delete(bed->tx, bed->inode, FORK_INDEX, key);
			break;
		case 2:
			err = btree_ge(bed->tx, bed->inode, FORK_INDEX, key, &rec);
			break;
		default:
			err = btree_replace(bed->tx, bed->inode, FORK_INDEX, key, &rec);
		}
		if (err == -ENOENT || err == -EEXIST)
			err = 0;
	}
	bed_end(bed, err);
}

#define FUZZ_NODES 16

static void no_tree_however_damaged_ends_the_program(void **state)
{
	uint64_t rng = bed_seed(6);

	(void)state;
	for (unsigned round = 0; round < 40; round++) {
		/* Two levels of nodes. */
		struct bed *bed = bed_with_tree(5 * NODE_RECS);
		const struct tree_node *root =
			region_ptr(bed->region, first_child(bed) << BLOCK_SHIFT, BLOCK_BYTES);
		const struct dinode di = *bed_dinode(bed);
		struct tree_node good[FUZZ_NODES];
		uint64_t blks[FUZZ_NODES];
		unsigned n = 0;

		assert_int_equal(from_le16(di.index.level), 2);
		for (; n < from_le16(root->nrecs); n++)
			blks[n] = from_le64(root->recs[n].val);
		blks[n++] = first_child(bed);
		for (unsigned i = 0; i < n; i++)
			memcpy(&good[i],
			       region_ptr(bed->region, blks[i] << BLOCK_SHIFT, BLOCK_BYTES),
			       BLOCK_BYTES);
		for (unsigned i = 0; i < 100; i++) {
			bed_store(bed, bed->inode->off, &di, sizeof(di));
			fuzz_nodes(bed, &rng, good, blks, n);
			fuzz_operations(bed, &rng);
		}
		bed_delete(bed);
	}
}

/* btree.c never leaves a root with so little below it, but nothing is wrong with it. */
static void the_last_record_of_a_leaf_below_the_root_can_be_deleted(void **state)
{
	struct bed *bed = bed_with_tree(FORK_INDEX_RECS + 1);
	uint64_t blk = first_child(bed), free_before = bed_free(bed);
	struct tree_node node;

	(void)state;
	memcpy(&node, region_ptr(bed->region, blk << BLOCK_SHIFT, sizeof(node)), sizeof(node));
	node.nrecs = to_le16(1);
	node.csum = to_le32(crc32c_skip(&node, sizeof(node), 4));
	bed_store(bed, blk << BLOCK_SHIFT, &node, sizeof(node));
	bed_begin(bed, 0);
	assert_int_equal(bed_end(bed, btree_delete(bed->tx, bed->inode, FORK_INDEX, 0)), 0);
	assert_int_equal(bed_dinode(bed)->index.level, 0);
	assert_int_equal(bed_dinode(bed)->index.nrecs, 0);
	assert_int_equal(bed_dinode(bed)->nblocks, 0);
	assert_int_equal(bed_free(bed), free_before + 1);
	insert_one(bed, FORK_INDEX, 5, 5);
	bed_delete(bed);
}

/* A full node at @level, whose last record leads to @child; the others lead astray. */
static void plant_full_node(struct bed *bed, uint64_t blk, unsigned level, uint64_t child)
{
	struct tree_node node = { .magic = to_le32(NODE_MAGIC),
				  .blk = to_le64(blk),
				  .owner = to_le64(bed->inode->ino),
				  .generation = to_le32(bed->inode->generation),
				  .level = to_le16((uint16_t)level),
				  .nrecs = to_le16(NODE_RECS),
				  .fork = FORK_INDEX };

	for (unsigned i = 0; i < NODE_RECS; i++) {
		/* Each level ends where the one below it begins. */
		uint64_t key = (TREE_MAX_LEVEL - level) * 1000 + i;

		node.recs[i].key = to_le64(level && !i ? 0 : key);
		node.recs[i].val = to_le64(bed->vol->first_data_blk);
	}
	node.recs[NODE_RECS - 1].val = to_le64(child);
	node.csum = to_le32(crc32c_skip(&node, sizeof(node), 4));
	bed_store(bed, blk << BLOCK_SHIFT, &node, sizeof(node));
}

static void a_tree_of_the_largest_height_does_not_grow_over_it(void **state)
{
	struct bed *bed = bed_new(2 << 20, false);
	struct dinode di = *bed_dinode(bed);
	struct alloc_request req = { .count = TREE_MAX_LEVEL };
	struct rec rec = { 1000000, 1 };
	unsigned char *image;
	uint64_t blk;
	uint32_t got;

	(void)state;
	bed_begin(bed, 0);
	assert_int_equal(bed_end(bed, alloc_blocks(bed->tx, &req, &blk, &got)), 0);
	assert_int_equal(got, TREE_MAX_LEVEL);
	for (unsigned l = 0; l < TREE_MAX_LEVEL; l++)
		plant_full_node(bed, blk + l, l, blk + l - 1);
	di.index.level = to_le16(TREE_MAX_LEVEL);
	di.index.nrecs = to_le16(FORK_INDEX_RECS);
	for (unsigned i = 0; i < FORK_INDEX_RECS; i++)
		di.index_recs[i] = (struct tree_rec){ to_le64(i), to_le64(blk) };
	di.index_recs[FORK_INDEX_RECS - 1].val = to_le64(blk + TREE_MAX_LEVEL - 1);
	di.csum = to_le32(crc32c_skip(&di, sizeof(di), 4));
	bed_store(bed, bed->inode->off, &di, sizeof(di));
	image = bed_image(bed);

	bed_begin(bed, 0);
	assert_int_equal(bed_end(bed, btree_insert(bed->tx, bed->inode, FORK_INDEX, &rec)), -EFBIG);
	bed_assert_image(bed, image);
	ilock(bed->inode, SYNC_SHARED, HERE);
	assert_int_equal(btree_le(NULL, bed->inode, FORK_INDEX, UINT64_MAX, &rec), 0);
	assert_int_equal(rec.key, TREE_MAX_LEVEL * 1000 + NODE_RECS - 1);
	iunlock(bed->inode, SYNC_SHARED, HERE);
	free(image);
	bed_delete(bed);
}

/* ---- what was checked stays checked, and no more -------------------------------------------- */

static void a_new_node_is_not_verified_before_it_was_read_and_a_freed_one_no_more(void **state)
{
	struct bed *bed = bed_with_tree(FORK_INDEX_RECS + 1);
	uint64_t blk = first_child(bed);
	struct rec rec;

	(void)state;
	assert_false(verified_test(bed->vol, blk));
	ilock(bed->inode, SYNC_SHARED, HERE);
	assert_int_equal(btree_ge(NULL, bed->inode, FORK_INDEX, 0, &rec), 0);
	iunlock(bed->inode, SYNC_SHARED, HERE);
	assert_true(verified_test(bed->vol, blk));

	bed_begin(bed, 0); /* the fork takes the rest back */
	assert_int_equal(bed_end(bed, btree_delete(bed->tx, bed->inode, FORK_INDEX, 0)), 0);
	assert_int_equal(bed_dinode(bed)->index.level, 0);
	assert_false(verified_test(bed->vol, blk));
	bed_delete(bed);
}

static void a_node_may_come_and_go_in_one_transaction(void **state)
{
	struct bed *bed = bed_with_tree(FORK_INDEX_RECS);
	uint64_t free_before = bed_free(bed);
	struct rec rec = { 1, 1 };
	struct walk w = { 0 };
	unsigned char *image = bed_image(bed);
	uint64_t data = bed->vol->first_data_blk << BLOCK_SHIFT;
	int err;

	(void)state;
	bed_begin(bed, 0);
	err = btree_insert(bed->tx, bed->inode, FORK_INDEX, &rec);
	if (!err)
		err = btree_delete(bed->tx, bed->inode, FORK_INDEX, 1);
	assert_int_equal(bed_end(bed, err), 0);
	walk_tree(&w, bed, FORK_INDEX);
	assert_int_equal(w.nrecs, FORK_INDEX_RECS);
	assert_int_equal(w.level, 0);
	assert_int_equal(bed_free(bed), free_before);
	/* Nor was it written: what comes and goes unseen costs nothing. */
	assert_memory_equal(image + data, region_ptr(bed->region, data, 1),
			    bed->region->bytes - data);
	free(image);
	free(w.recs);
	bed_delete(bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tree_is_its_sorted_array_after_any_operations_in_the_data_fork),
		cmocka_unit_test(a_tree_is_its_sorted_array_after_any_operations_in_the_index_fork),
		cmocka_unit_test(
			a_tree_is_its_sorted_array_after_any_operations_in_the_attribute_fork),
		cmocka_unit_test(who_appends_leaves_full_nodes_behind),
		cmocka_unit_test(inserting_downwards_leaves_nodes_at_least_half_full),
		cmocka_unit_test(inserting_downwards_in_a_gap_leaves_nodes_at_least_half_full),
		cmocka_unit_test(inner_nodes_merge_too_and_lead_to_every_record),
		cmocka_unit_test(one_insert_among_a_million_touches_a_path_and_no_more),
		cmocka_unit_test(no_room_for_a_first_node_changes_nothing),
		cmocka_unit_test(no_room_for_half_a_leaf_changes_nothing),
		cmocka_unit_test(no_room_in_the_middle_of_a_split_changes_nothing),
		cmocka_unit_test(a_wrong_byte_anywhere_in_a_node_is_an_io_error),
		cmocka_unit_test(a_node_that_lies_with_a_right_checksum_is_an_io_error),
		cmocka_unit_test(
			a_node_that_starts_to_lie_after_it_was_verified_cannot_lead_astray),
		cmocka_unit_test(
			a_pointer_that_leads_outside_or_to_another_structure_is_an_io_error),
		cmocka_unit_test(a_good_node_in_the_journal_is_an_io_error),
		cmocka_unit_test(a_root_that_lies_is_an_io_error),
		cmocka_unit_test(the_last_record_of_a_leaf_below_the_root_can_be_deleted),
		cmocka_unit_test(a_tree_of_the_largest_height_does_not_grow_over_it),
		cmocka_unit_test(no_tree_however_damaged_ends_the_program),
		cmocka_unit_test(
			a_new_node_is_not_verified_before_it_was_read_and_a_freed_one_no_more),
		cmocka_unit_test(a_node_may_come_and_go_in_one_transaction),
	};

	alarm(300);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
