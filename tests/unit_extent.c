/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_extent.c - extent.c against an array with one entry for each block of the file.
 *
 * The array knows nothing of extents: what a lookup must say is found by looking how far its
 * neighbours go on alike. So a map that is right but not in its normal form (two extents that
 * could be one) fails too.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alloc.h"
#include "bed.h"
#include "btree.h"
#include "extent.h"
#include "inode.h"
#include "journal.h"
#include "region.h"
#include "volume.h"

#define FORK FORK_DATA

/* ---- the model ------------------------------------------------------------------------------ */

#define MODEL_BLOCKS 12000u

struct block {
	uint64_t pblk; /* 0: hole */
	enum extent_state state;
};

struct run {
	struct bed *bed;
	uint64_t rng;
	struct block blocks[MODEL_BLOCKS], before[MODEL_BLOCKS];
};

/* Whether block @l + 1 continues block @l. */
static bool goes_on(const struct run *r, uint64_t l)
{
	const struct block *a = &r->blocks[l], *b = &r->blocks[l + 1];

	return a->state == b->state &&
	       (a->state == EXTENT_HOLE ? !b->pblk : b->pblk == a->pblk + 1);
}

/* What the map must say about @lblk. */
static struct extent model_lookup(const struct run *r, uint64_t lblk)
{
	uint64_t first = lblk, last = lblk;
	struct extent ext;

	while (first > 0 && goes_on(r, first - 1))
		first--;
	while (last + 1 < MODEL_BLOCKS && goes_on(r, last))
		last++;
	ext = (struct extent){ first, last + 1 - first, r->blocks[first].pblk,
			       r->blocks[first].state };
	if (ext.state == EXTENT_HOLE && last + 1 == MODEL_BLOCKS)
		ext.count = MAX_FILE_BLOCKS - first;
	return ext;
}

static void model_set(struct run *r, uint64_t lblk, uint64_t count, uint64_t pblk,
		      enum extent_state state)
{
	for (uint64_t i = 0; i < count; i++)
		r->blocks[lblk + i] = (struct block){ pblk ? pblk + i : 0, state };
}

static void assert_extent_equal(const struct extent *a, const struct extent *b)
{
	assert_int_equal(a->lblk, b->lblk);
	assert_int_equal(a->count, b->count);
	assert_int_equal(a->pblk, b->pblk);
	assert_int_equal(a->state, b->state);
}

/* ---- random operations, compared ------------------------------------------------------------ */

static void run_look(struct run *r, struct tx *tx)
{
	uint64_t lblk = rng_below(&r->rng, MODEL_BLOCKS);
	struct extent ext, want = model_lookup(r, lblk);
	int err = 0;

	assert_int_equal(extent_lookup(tx, r->bed->inode, FORK, lblk, &ext), 0);
	assert_extent_equal(&ext, &want);

	if (want.state == EXTENT_HOLE) {
		if (want.lblk + want.count >= MODEL_BLOCKS)
			err = -ENOENT;
		else
			want = model_lookup(r, want.lblk + want.count);
	}
	assert_int_equal(extent_next(tx, r->bed->inode, FORK, lblk, &ext), err);
	if (!err)
		assert_extent_equal(&ext, &want);
}

/* Every extent there is, in order. */
static void run_compare(struct run *r)
{
	uint64_t lblk = 0;
	struct extent ext, want;

	ilock(r->bed->inode, SYNC_SHARED, HERE);
	while (extent_next(NULL, r->bed->inode, FORK, lblk, &ext) == 0) {
		for (; lblk < ext.lblk; lblk++)
			assert_int_equal(r->blocks[lblk].state, EXTENT_HOLE);
		want = model_lookup(r, lblk);
		assert_extent_equal(&ext, &want);
		lblk = ext.lblk + ext.count;
	}
	for (; lblk < MODEL_BLOCKS; lblk++)
		assert_int_equal(r->blocks[lblk].state, EXTENT_HOLE);
	iunlock(r->bed->inode, SYNC_SHARED, HERE);
}

/* A random part of what surrounds a random block, of up to @most blocks. */
static struct extent random_part(struct run *r, uint64_t most)
{
	struct extent ext = model_lookup(r, rng_below(&r->rng, MODEL_BLOCKS));
	uint64_t skip, end = ext.lblk + ext.count;

	if (end > MODEL_BLOCKS)
		end = MODEL_BLOCKS;
	skip = rng_below(&r->rng, 3) ? rng_below(&r->rng, end - ext.lblk) : 0;
	ext.lblk += skip;
	ext.pblk += ext.pblk ? skip : 0;
	ext.count = end - ext.lblk;
	if (rng_below(&r->rng, 3))
		ext.count = 1 + rng_below(&r->rng, ext.count);
	if (ext.count > most)
		ext.count = most;
	return ext;
}

static void step_insert(struct run *r, struct extent ext)
{
	/* Some places to be, in each of which neighbours continue each other. */
	ext.pblk = r->bed->vol->first_data_blk + ext.lblk + 1500 * rng_below(&r->rng, 3);
	ext.state = rng_below(&r->rng, 2) ? EXTENT_WRITTEN : EXTENT_UNWRITTEN;
	assert_int_equal(extent_insert(r->bed->tx, r->bed->inode, FORK, &ext), 0);
	model_set(r, ext.lblk, ext.count, ext.pblk, ext.state);
}

static void step_remove(struct run *r, struct extent ext)
{
	assert_int_equal(extent_remove(r->bed->tx, r->bed->inode, FORK, ext.lblk, ext.count), 0);
	model_set(r, ext.lblk, ext.count, 0, EXTENT_HOLE);
}

static void step_convert(struct run *r, struct extent ext)
{
	enum extent_state state = rng_below(&r->rng, 2) ? EXTENT_WRITTEN : EXTENT_UNWRITTEN;

	assert_int_equal(
		extent_convert(r->bed->tx, r->bed->inode, FORK, ext.lblk, ext.count, state), 0);
	model_set(r, ext.lblk, ext.count, ext.pblk, state);
}

static void run_step(struct run *r, unsigned percent_remove)
{
	struct extent ext = random_part(r, 1 + rng_below(&r->rng, 12));

	if (ext.state == EXTENT_HOLE)
		step_insert(r, ext);
	else if (rng_below(&r->rng, 100) < percent_remove)
		step_remove(r, ext);
	else
		step_convert(r, ext);
	if (rng_below(&r->rng, 4) == 0)
		run_look(r, r->bed->tx);
}

static unsigned run_tx(struct run *r, unsigned max, unsigned percent_remove)
{
	struct bed *bed = r->bed;
	bool abort_it = rng_below(&r->rng, 50) == 0;
	unsigned char *image = abort_it ? bed_image(bed) : NULL;
	uint64_t free_before = bed_free(bed);
	unsigned steps = 0;

	memcpy(r->before, r->blocks, sizeof(r->before));
	bed_begin(bed, 0);
	for (; steps < max && tx_room(bed->tx, extent_step_blocks(bed->tx, bed->inode, FORK));
	     steps++)
		run_step(r, percent_remove);
	assert_true(steps > 0);
	assert_int_equal(bed_end(bed, abort_it ? -ECANCELED : 0), abort_it ? -ECANCELED : 0);
	if (abort_it) {
		bed_assert_image(bed, image);
		assert_int_equal(bed_free(bed), free_before);
		memcpy(r->blocks, r->before, sizeof(r->blocks));
		free(image);
	}
	return steps;
}

static void run_empty(struct run *r)
{
	struct bed *bed = r->bed;
	bool done = false;

	while (!done) {
		bed_begin(bed, 0);
		while (!done && tx_room(bed->tx, extent_step_blocks(bed->tx, bed->inode, FORK))) {
			struct extent ext;

			done = extent_next(bed->tx, bed->inode, FORK, 0, &ext) == -ENOENT;
			if (!done)
				step_remove(r, ext);
		}
		assert_int_equal(bed_end(bed, 0), 0);
	}
	run_compare(r);
}

static void random_run(uint64_t seed, unsigned steps)
{
	struct run *r = calloc(1, sizeof(*r));
	uint64_t free_before;
	unsigned txs = 0;

	r->bed = bed_new(63 << 20, true); /* with the lanes of a small volume */
	r->rng = bed_seed(seed);
	free_before = bed_free(r->bed);
	for (unsigned done = 0; done < steps; txs++) {
		/* Sometimes as many as the lane holds. */
		unsigned max = rng_below(&r->rng, 4) ? 1 + (unsigned)rng_below(&r->rng, 40) : 1000;

		done += run_tx(r, max, done / 8000 % 2 ? 60 : 15);
		if (txs % 16 == 0)
			run_compare(r);
	}
	run_compare(r);
	run_empty(r);
	assert_int_equal(bed_dinode(r->bed)->nblocks, 0);
	assert_int_equal(bed_free(r->bed), free_before);
	bed_delete(r->bed);
	free(r);
}

static void a_map_is_its_array_of_blocks_after_any_operations(void **state)
{
	(void)state;
	random_run(11, 40000);
	random_run(12, 30000);
	random_run(13, 30000);
}

/* ---- single cases --------------------------------------------------------------------------- */

static struct extent ext_at(const struct bed *bed, uint64_t lblk, uint64_t count, uint64_t pblk,
			    enum extent_state state)
{
	return (struct extent){ lblk, count, bed->vol->first_data_blk + pblk, state };
}

static void insert(struct bed *bed, uint64_t lblk, uint64_t count, uint64_t pblk,
		   enum extent_state state)
{
	struct extent ext = ext_at(bed, lblk, count, pblk, state);

	bed_begin(bed, 0);
	assert_int_equal(bed_end(bed, extent_insert(bed->tx, bed->inode, FORK, &ext)), 0);
}

static void expect(struct bed *bed, uint64_t at, struct extent want)
{
	struct extent ext;

	ilock(bed->inode, SYNC_SHARED, HERE);
	assert_int_equal(extent_lookup(NULL, bed->inode, FORK, at, &ext), 0);
	iunlock(bed->inode, SYNC_SHARED, HERE);
	assert_extent_equal(&ext, &want);
}

static unsigned nr_extents(const struct bed *bed)
{
	assert_int_equal(bed_dinode(bed)->data.level, 0);
	return from_le16(bed_dinode(bed)->data.nrecs);
}

static void an_empty_map_is_one_hole_to_the_largest_file(void **state)
{
	struct bed *bed = bed_new(1 << 20, true);
	struct extent ext;

	(void)state;
	expect(bed, 0, (struct extent){ 0, MAX_FILE_BLOCKS, 0, EXTENT_HOLE });
	expect(bed, MAX_FILE_BLOCKS - 1, (struct extent){ 0, MAX_FILE_BLOCKS, 0, EXTENT_HOLE });
	ilock(bed->inode, SYNC_SHARED, HERE);
	assert_int_equal(extent_next(NULL, bed->inode, FORK, 0, &ext), -ENOENT);
	iunlock(bed->inode, SYNC_SHARED, HERE);
	bed_delete(bed);
}

static void the_last_block_of_the_largest_file_can_be_mapped(void **state)
{
	struct bed *bed = bed_new(1 << 20, true);

	(void)state;
	insert(bed, MAX_FILE_BLOCKS - 1, 1, 5, EXTENT_WRITTEN);
	expect(bed, MAX_FILE_BLOCKS - 1, ext_at(bed, MAX_FILE_BLOCKS - 1, 1, 5, EXTENT_WRITTEN));
	expect(bed, 7, (struct extent){ 0, MAX_FILE_BLOCKS - 1, 0, EXTENT_HOLE });
	bed_delete(bed);
}

static void filling_the_gap_between_two_extents_makes_them_one(void **state)
{
	struct bed *bed = bed_new(1 << 20, true);

	(void)state;
	insert(bed, 10, 5, 10, EXTENT_WRITTEN);
	insert(bed, 20, 5, 20, EXTENT_WRITTEN);
	assert_int_equal(nr_extents(bed), 2);
	insert(bed, 15, 5, 15, EXTENT_WRITTEN);
	assert_int_equal(nr_extents(bed), 1);
	expect(bed, 17, ext_at(bed, 10, 15, 10, EXTENT_WRITTEN));
	bed_delete(bed);
}

static void neighbours_in_the_file_that_are_apart_on_the_medium_stay_two(void **state)
{
	struct bed *bed = bed_new(1 << 20, true);

	(void)state;
	insert(bed, 10, 5, 10, EXTENT_WRITTEN);
	insert(bed, 15, 5, 16, EXTENT_WRITTEN);
	insert(bed, 5, 5, 20, EXTENT_WRITTEN);
	assert_int_equal(nr_extents(bed), 3);
	bed_delete(bed);
}

static void neighbours_on_the_medium_that_are_apart_in_the_file_stay_two(void **state)
{
	struct bed *bed = bed_new(1 << 20, true);

	(void)state;
	insert(bed, 10, 5, 10, EXTENT_WRITTEN);
	insert(bed, 16, 5, 15, EXTENT_WRITTEN);
	assert_int_equal(nr_extents(bed), 2);
	bed_delete(bed);
}

static int convert(struct bed *bed, uint64_t lblk, uint64_t count, enum extent_state state)
{
	bed_begin(bed, 0);
	return bed_end(bed, extent_convert(bed->tx, bed->inode, FORK, lblk, count, state));
}

static void writing_an_unwritten_extent_from_the_left_keeps_two_records(void **state)
{
	struct bed *bed = bed_new(1 << 20, true);

	(void)state;
	insert(bed, 0, 100, 50, EXTENT_UNWRITTEN);
	for (uint64_t l = 0; l < 99; l++) {
		assert_int_equal(convert(bed, l, 1, EXTENT_WRITTEN), 0);
		assert_int_equal(nr_extents(bed), 2);
		expect(bed, 0, ext_at(bed, 0, l + 1, 50, EXTENT_WRITTEN));
		expect(bed, 99, ext_at(bed, l + 1, 99 - l, 51 + l, EXTENT_UNWRITTEN));
	}
	assert_int_equal(convert(bed, 99, 1, EXTENT_WRITTEN), 0);
	assert_int_equal(nr_extents(bed), 1);
	expect(bed, 0, ext_at(bed, 0, 100, 50, EXTENT_WRITTEN));
	bed_delete(bed);
}

static void a_conversion_in_the_middle_makes_three_and_back_one(void **state)
{
	struct bed *bed = bed_new(1 << 20, true);

	(void)state;
	insert(bed, 0, 100, 50, EXTENT_UNWRITTEN);
	assert_int_equal(convert(bed, 40, 10, EXTENT_WRITTEN), 0);
	assert_int_equal(nr_extents(bed), 3);
	expect(bed, 45, ext_at(bed, 40, 10, 90, EXTENT_WRITTEN));
	assert_int_equal(convert(bed, 40, 10, EXTENT_UNWRITTEN), 0);
	assert_int_equal(nr_extents(bed), 1);
	expect(bed, 0, ext_at(bed, 0, 100, 50, EXTENT_UNWRITTEN));
	bed_delete(bed);
}

/* ---- a large file --------------------------------------------------------------------------- */

#define MANY 1000000u

static void an_extent_more_among_a_million_costs_a_path_and_no_more(void **state)
{
	struct bed *bed = bed_new(64 << 20, false);
	uint64_t most_log = 0, most_blocks = 0;

	(void)state;
	for (uint64_t i = 0; i < MANY;) {
		bed_begin(bed, 0);
		for (; i < MANY && tx_room(bed->tx, extent_step_blocks(bed->tx, bed->inode, FORK));
		     i++) {
			struct extent ext = ext_at(bed, 4 * i, 2, i % 9000, EXTENT_WRITTEN);

			assert_int_equal(extent_insert(bed->tx, bed->inode, FORK, &ext), 0);
			if (i % 1000 == 999) {
				i++;
				break;
			}
		}
		assert_int_equal(bed_end(bed, 0), 0);
	}
	assert_int_equal(from_le16(bed_dinode(bed)->data.level), 3);
	assert_in_range(from_le64(bed_dinode(bed)->nblocks), MANY / NODE_RECS,
			MANY / NODE_RECS + 30);

	/* All leaves are full: each of these goes where nothing fits any more. */
	for (unsigned n = 0; n < 20000; n++) {
		uint64_t i = n * 47u % MANY;
		uint64_t log = atomic_load(&bed->vol->stat.tx_log_bytes);
		uint64_t blocks = atomic_load(&bed->vol->stat.blocks_allocated);

		insert(bed, 4 * i + 3, 1, 5, EXTENT_UNWRITTEN);
		log = atomic_load(&bed->vol->stat.tx_log_bytes) - log;
		blocks = atomic_load(&bed->vol->stat.blocks_allocated) - blocks;
		most_log = log > most_log ? log : most_log;
		most_blocks = blocks > most_blocks ? blocks : most_blocks;
		expect(bed, 4 * i + 1, ext_at(bed, 4 * i, 2, i % 9000, EXTENT_WRITTEN));
		expect(bed, 4 * i + 2, (struct extent){ 4 * i + 2, 1, 0, EXTENT_HOLE });
		expect(bed, 4 * i + 3, ext_at(bed, 4 * i + 3, 1, 5, EXTENT_UNWRITTEN));
	}
	print_message("at most %llu bytes logged, %llu nodes new\n", (unsigned long long)most_log,
		      (unsigned long long)most_blocks);
	/* One node on each level, a new one beside each, and the dinode. */
	assert_in_range(most_log, 64, 4 * (BLOCK_BYTES + 64));
	assert_in_range(most_blocks, 1, 3);
	bed_delete(bed);
}

/* ---- no room -------------------------------------------------------------------------------- */

/* As many extents as fit into one leaf, every other one unwritten, then no free block. */
static struct bed *bed_with_a_full_leaf(void)
{
	struct bed *bed = bed_new(1 << 20, true);

	for (uint64_t i = 0; i < NODE_RECS; i++)
		insert(bed, 10 * i, 5, 5 * (i % 20), i % 2 ? EXTENT_UNWRITTEN : EXTENT_WRITTEN);
	assert_int_equal(from_le16(bed_dinode(bed)->data.level), 1);
	assert_int_equal(from_le64(bed_dinode(bed)->nblocks), 1);
	bed_leave_free(bed, 0);
	return bed;
}

static void without_room_an_extent_more_is_enospc_and_nothing_changes(void **state)
{
	struct bed *bed = bed_with_a_full_leaf();
	unsigned char *image = bed_image(bed);
	struct extent ext = ext_at(bed, 16, 1, 60, EXTENT_WRITTEN);

	(void)state;
	bed_begin(bed, 0);
	assert_int_equal(bed_end(bed, extent_insert(bed->tx, bed->inode, FORK, &ext)), -ENOSPC);
	bed_assert_image(bed, image);

	bed_begin(bed, 0); /* a hole in the middle makes two of one */
	assert_int_equal(bed_end(bed, extent_remove(bed->tx, bed->inode, FORK, 12, 1)), -ENOSPC);
	bed_assert_image(bed, image);

	assert_int_equal(convert(bed, 12, 1, EXTENT_WRITTEN), -ENOSPC);
	bed_assert_image(bed, image);

	/* With the reserve both work. */
	bed_begin(bed, TX_RESERVE);
	assert_int_equal(bed_end(bed, extent_remove(bed->tx, bed->inode, FORK, 12, 1)), 0);
	free(image);
	bed_delete(bed);
}

static void without_room_what_needs_none_still_works(void **state)
{
	struct bed *bed = bed_with_a_full_leaf();

	(void)state;
	for (uint64_t i = 1; i < NODE_RECS; i += 2)
		assert_int_equal(convert(bed, 10 * i, 5, EXTENT_WRITTEN), 0);
	insert(bed, 5, 1, 5, EXTENT_WRITTEN); /* goes on where another ends */
	bed_begin(bed, 0);
	assert_int_equal(bed_end(bed, extent_remove(bed->tx, bed->inode, FORK, 20, 2)), 0);
	bed_begin(bed, 0);
	assert_int_equal(bed_end(bed, extent_remove(bed->tx, bed->inode, FORK, 30, 5)), 0);
	bed_delete(bed);
}

static void without_room_the_only_extent_of_a_leaf_can_be_converted(void **state)
{
	struct bed *bed = bed_new(1 << 20, true);

	(void)state;
	for (uint64_t i = 0; i <= NODE_RECS; i++) /* a full leaf, and one more */
		insert(bed, 10 * i, 5, 5 * (i % 20), EXTENT_UNWRITTEN);
	assert_int_equal(from_le64(bed_dinode(bed)->nblocks), 2);
	bed_leave_free(bed, 0);
	assert_int_equal(convert(bed, 10 * NODE_RECS, 5, EXTENT_WRITTEN), 0);
	bed_delete(bed);
}

/* ---- damage --------------------------------------------------------------------------------- */

/* Everything that meets the record planted at block 100 must say -EIO. */
static bool everything_is_eio(struct bed *bed)
{
	struct extent ext, more = ext_at(bed, 90, 1, 3, EXTENT_WRITTEN);
	bool eio;

	ilock(bed->inode, SYNC_SHARED, HERE);
	eio = extent_lookup(NULL, bed->inode, FORK, 100, &ext) == -EIO &&
	      extent_next(NULL, bed->inode, FORK, 100, &ext) == -EIO &&
	      extent_lookup(NULL, bed->inode, FORK, 50, &ext) == -EIO;
	iunlock(bed->inode, SYNC_SHARED, HERE);
	bed_begin(bed, 0);
	eio = bed_end(bed, extent_insert(bed->tx, bed->inode, FORK, &more)) == -EIO && eio;
	bed_begin(bed, 0);
	eio = bed_end(bed, extent_remove(bed->tx, bed->inode, FORK, 100, 1)) == -EIO && eio;
	return convert(bed, 100, 1, EXTENT_UNWRITTEN) == -EIO && eio;
}

static void a_record_that_cannot_be_is_an_io_error(void **state)
{
	struct bed *bed = bed_new(64 << 20, false);
	uint64_t nblocks = atomic_load(&bed->vol->nblocks);
	uint64_t first = bed->vol->first_data_blk;
	const struct {
		const char *what;
		uint64_t pblk, count;
	} bad[] = {
		{ "no blocks", first, 0 },
		{ "block 0", 0, 1 },
		{ "a space map", 1, 1 },
		{ "the superblock's copy", SUPER_COPY_BLK, 1 },
		{ "the inode file's dinode", SPECIAL_BLK, 1 },
		{ "the journal", JOURNAL_BLK, 1 },
		{ "the end of the journal", first - 1, 2 },
		{ "another group's map", MAP_BITS, 1 },
		{ "across another group's map", MAP_BITS - 2, 4 },
		{ "behind the volume", nblocks, 1 },
		{ "across the end of the volume", nblocks - 1, 2 },
		{ "as many as a record can count", first, EXTENT_MAX_COUNT },
		{ "the last block there can be", (UINT64_C(1) << 40) - 1, 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct rec rec = { 100, EXTENT_PACK(bad[i].pblk, bad[i].count, 0) };

		bed_begin(bed, 0);
		assert_int_equal(bed_end(bed, btree_insert(bed->tx, bed->inode, FORK, &rec)), 0);
		if (!everything_is_eio(bed))
			fail_msg("believed: %s", bad[i].what);
		bed_begin(bed, 0);
		assert_int_equal(bed_end(bed, btree_delete(bed->tx, bed->inode, FORK, 100)), 0);
	}
	bed_delete(bed);
}

static void plant(struct bed *bed, uint64_t lblk, uint64_t count)
{
	struct rec rec = { lblk, EXTENT_PACK(bed->vol->first_data_blk + 20, count, 0) };

	bed_begin(bed, 0);
	assert_int_equal(bed_end(bed, btree_insert(bed->tx, bed->inode, FORK, &rec)), 0);
}

static void two_extents_that_overlap_are_an_io_error(void **state)
{
	struct bed *bed = bed_new(1 << 20, false);
	struct extent ext;

	(void)state;
	plant(bed, 100, 3);
	plant(bed, 102, 1);
	ilock(bed->inode, SYNC_SHARED, HERE);
	for (uint64_t lblk = 100; lblk < 102; lblk++) {
		assert_int_equal(extent_lookup(NULL, bed->inode, FORK, lblk, &ext), -EIO);
		assert_int_equal(extent_next(NULL, bed->inode, FORK, lblk, &ext), -EIO);
	}
	iunlock(bed->inode, SYNC_SHARED, HERE);
	bed_begin(bed, 0);
	assert_int_equal(bed_end(bed, extent_remove(bed->tx, bed->inode, FORK, 100, 1)), -EIO);
	bed_begin(bed, 0);
	ext = ext_at(bed, 101, 1, 3, EXTENT_WRITTEN);
	assert_int_equal(bed_end(bed, extent_insert(bed->tx, bed->inode, FORK, &ext)), -EIO);
	assert_int_equal(convert(bed, 100, 1, EXTENT_UNWRITTEN), -EIO);
	bed_delete(bed);
}

static void an_extent_behind_the_largest_file_is_an_io_error(void **state)
{
	const uint64_t at[] = { MAX_FILE_BLOCKS, MAX_FILE_BLOCKS - 1, UINT64_MAX };
	struct extent ext;

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct bed *bed = bed_new(1 << 20, false);

		plant(bed, at[i], 2);
		ilock(bed->inode, SYNC_SHARED, HERE);
		assert_int_equal(extent_lookup(NULL, bed->inode, FORK, 100, &ext), -EIO);
		assert_int_equal(extent_next(NULL, bed->inode, FORK, 0, &ext), -EIO);
		iunlock(bed->inode, SYNC_SHARED, HERE);
		bed_delete(bed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_map_is_its_array_of_blocks_after_any_operations),
		cmocka_unit_test(an_empty_map_is_one_hole_to_the_largest_file),
		cmocka_unit_test(the_last_block_of_the_largest_file_can_be_mapped),
		cmocka_unit_test(filling_the_gap_between_two_extents_makes_them_one),
		cmocka_unit_test(neighbours_in_the_file_that_are_apart_on_the_medium_stay_two),
		cmocka_unit_test(neighbours_on_the_medium_that_are_apart_in_the_file_stay_two),
		cmocka_unit_test(writing_an_unwritten_extent_from_the_left_keeps_two_records),
		cmocka_unit_test(a_conversion_in_the_middle_makes_three_and_back_one),
		cmocka_unit_test(an_extent_more_among_a_million_costs_a_path_and_no_more),
		cmocka_unit_test(without_room_an_extent_more_is_enospc_and_nothing_changes),
		cmocka_unit_test(without_room_what_needs_none_still_works),
		cmocka_unit_test(without_room_the_only_extent_of_a_leaf_can_be_converted),
		cmocka_unit_test(a_record_that_cannot_be_is_an_io_error),
		cmocka_unit_test(two_extents_that_overlap_are_an_io_error),
		cmocka_unit_test(an_extent_behind_the_largest_file_is_an_io_error),
	};

	alarm(300);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
