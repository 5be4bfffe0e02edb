/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_alloc.c - alloc.c: where blocks come from, when they may come again, and who gets them.
 *
 * The model has one state for each block of the volume and is compared with what the allocator
 * says and with the bits on the medium. Threads check each other by an owner for each block.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "alloc.h"
#include "bed.h"
#include "inode.h"
#include "journal.h"
#include "map.h"
#include "region.h"
#include "sync.h"
#include "volume.h"

/* ---- what the medium says ------------------------------------------------------------------- */

static bool on_medium(const struct bed *bed, unsigned plane, uint64_t blk)
{
	uint64_t map_blk = space_map_blk((uint32_t)(blk / MAP_BITS));
	const struct map_block *mb = region_ptr(bed->region, map_blk << BLOCK_SHIFT, sizeof(*mb));
	uint64_t bit = blk % MAP_BITS;

	return from_le64(mb->bits[plane][bit / 64]) >> bit % 64 & 1;
}

static struct space space_of(struct bed *bed)
{
	struct space space;

	alloc_space(bed->vol, &space);
	return space;
}

/* ---- one block or one run, committed -------------------------------------------------------- */

static int take(struct bed *bed, const struct alloc_request *req, uint64_t *ret_blk,
		uint32_t *ret_count)
{
	bed_begin(bed, 0);
	return bed_end(bed, alloc_blocks(bed->tx, req, ret_blk, ret_count));
}

static uint64_t take_small(struct bed *bed, uint32_t count)
{
	struct alloc_request req = { .count = count };
	uint64_t blk;
	uint32_t got;

	assert_int_equal(take(bed, &req, &blk, &got), 0);
	assert_int_equal(got, count);
	return blk;
}

static int give(struct bed *bed, uint64_t blk, uint64_t count, bool quarantine)
{
	bed_begin(bed, 0);
	return bed_end(bed, alloc_free(bed->tx, blk, count, quarantine));
}

static int release(struct bed *bed, uint64_t blk, uint64_t count)
{
	bed_begin(bed, 0);
	return bed_end(bed, alloc_release(bed->tx, blk, count));
}

/* ---- where ---------------------------------------------------------------------------------- */

static void a_free_goal_is_taken_and_a_busy_one_is_not(void **state)
{
	struct bed *bed = bed_new(16 << 20, true);
	struct alloc_request req = { .goal = 2000, .large = true, .count = 10 };
	uint64_t blk;
	uint32_t got;

	(void)state;
	assert_int_equal(take(bed, &req, &blk, &got), 0);
	assert_int_equal(blk, 2000);
	assert_int_equal(got, 10);
	assert_int_equal(take(bed, &req, &blk, &got), 0);
	assert_true(blk + got <= 2000 || blk >= 2010);
	req.goal = 1995; /* five are free, then comes what was taken */
	assert_int_equal(take(bed, &req, &blk, &got), 0);
	assert_int_equal(blk, 1995);
	assert_int_equal(got, 5);
	bed_delete(bed);
}

static void a_goal_that_cannot_be_is_only_a_hint(void **state)
{
	struct bed *bed = bed_new(64 << 20, true);
	uint64_t nblocks = atomic_load(&bed->vol->nblocks);
	const uint64_t goals[] = { 1,	    3,		 JOURNAL_BLK, MAP_BITS,
				   nblocks, nblocks + 1, nblocks * 3, UINT64_MAX };
	uint64_t blk;
	uint32_t got;

	(void)state;
	for (size_t i = 0; i < sizeof(goals) / sizeof(goals[0]); i++) {
		struct alloc_request req = { .goal = goals[i], .count = 3 };

		assert_int_equal(take(bed, &req, &blk, &got), 0);
		assert_true(volume_owns_data(bed->vol, blk, got));
	}
	bed_delete(bed);
}

static void large_files_get_addresses_congruent_modulo_2_mib(void **state)
{
	struct bed *bed = bed_new(64 << 20, true);
	uint64_t rng = bed_seed(21), blk;
	uint32_t got;

	(void)state;
	while (space_of(bed).free_huge) {
		struct alloc_request req = { .lblk = rng_below(&rng, 100000),
					     .large = true,
					     .count = 1 + (uint32_t)rng_below(&rng, 700) };

		assert_int_equal(take(bed, &req, &blk, &got), 0);
		assert_int_equal(blk % HUGE_BLOCKS, req.lblk % HUGE_BLOCKS);
	}
	bed_delete(bed);
}

/* Ageing: small files come and go everywhere, and then somebody wants to map something huge. */
static void large_files_stay_congruent_on_an_aged_volume(void **state)
{
	struct bed *bed = bed_new(64 << 20, true);
	uint64_t rng = bed_seed(22), blks[4000], blk;
	unsigned huge = 0;
	uint32_t got;

	(void)state;
	for (unsigned i = 0; i < 4000; i++)
		blks[i] = take_small(bed, 1);
	for (unsigned i = 0; i < 20000; i++) {
		unsigned at = (unsigned)rng_below(&rng, 4000);

		assert_int_equal(give(bed, blks[at], 1, false), 0);
		blks[at] = take_small(bed, 1);
	}
	for (uint64_t lblk = 0; alloc_nfree(bed->vol) >= HUGE_BLOCKS && space_of(bed).free_huge;
	     lblk += got, huge++) {
		struct alloc_request req = { .lblk = lblk, .large = true, .count = HUGE_BLOCKS };

		assert_int_equal(take(bed, &req, &blk, &got), 0);
		assert_int_equal(got, HUGE_BLOCKS);
		assert_int_equal(blk % HUGE_BLOCKS, 0);
	}
	/* 4000 small blocks fit in 8 pieces, with the volume's own 2 more: 32 are there. */
	assert_true(huge >= 20);
	bed_delete(bed);
}

static void small_things_do_not_break_a_whole_piece_while_a_broken_one_has_room(void **state)
{
	struct bed *bed = bed_new(64 << 20, true);
	struct space before = space_of(bed), after;
	uint64_t broken = before.free - before.free_huge;

	(void)state;
	for (uint64_t i = 0; i < broken; i++)
		take_small(bed, 1);
	after = space_of(bed);
	assert_int_equal(after.free_huge, before.free_huge);
	assert_int_equal(after.free, before.free_huge);
	take_small(bed, 1);
	after = space_of(bed);
	assert_int_equal(after.free_huge, before.free_huge - HUGE_BLOCKS);
	bed_delete(bed);
}

static void a_small_thing_does_not_break_a_whole_piece_for_its_goal(void **state)
{
	struct bed *bed = bed_new(64 << 20, true);
	struct alloc_request req = { .goal = 20 * HUGE_BLOCKS, .count = 1 };
	uint64_t before = space_of(bed).free_huge, blk;
	uint32_t got;

	(void)state;
	assert_int_equal(take(bed, &req, &blk, &got), 0);
	assert_int_equal(space_of(bed).free_huge, before);
	req.large = true;
	assert_int_equal(take(bed, &req, &blk, &got), 0);
	assert_int_equal(blk, req.goal);
	bed_delete(bed);
}

static void freed_blocks_become_whole_pieces_again(void **state)
{
	struct bed *bed = bed_new(64 << 20, true);
	struct space before = space_of(bed);
	uint64_t blks[3000];

	(void)state;
	for (unsigned i = 0; i < 3000; i++)
		blks[i] = take_small(bed, 1);
	for (unsigned i = 0; i < 3000; i++)
		assert_int_equal(give(bed, blks[(i * 7) % 3000], 1, false), 0);
	assert_int_equal(space_of(bed).free, before.free);
	assert_int_equal(space_of(bed).free_huge, before.free_huge);
	bed_delete(bed);
}

/* ---- when ----------------------------------------------------------------------------------- */

/* All that is free, in transactions of their own, until -ENOSPC. Returns whether @blk was in it. */
static bool take_everything(struct bed *bed, unsigned flags, uint64_t blk)
{
	struct alloc_request req = { .count = MAP_BITS };
	bool met = false;
	uint64_t first;
	uint32_t got;
	int err;

	do {
		struct tx *tx;

		assert_int_equal(tx_begin(bed->vol, flags, &tx, HERE), 0);
		err = tx_end(tx, alloc_blocks(tx, &req, &first, &got));
		if (!err && blk >= first && blk < first + got)
			met = true;
	} while (!err);
	assert_int_equal(err, -ENOSPC);
	return met;
}

struct other {
	struct bed *bed;
	uint64_t blk;
	bool met;
};

static void other_thread(void *arg)
{
	struct other *other = arg;

	other->met = take_everything(other->bed, TX_RESERVE, other->blk);
}

static bool another_thread_gets(struct bed *bed, uint64_t blk)
{
	struct other other = { bed, blk, false };
	struct sync_thread *thread;

	assert_int_equal(sync_thread_start(bed->sync, "other", other_thread, &other, &thread), 0);
	sync_thread_join(thread);
	return other.met;
}

static void a_freed_block_is_not_handed_out_before_the_commit(void **state)
{
	struct bed *bed = bed_new(2 << 20, true);
	uint64_t blk = take_small(bed, 3), other_blk;
	struct alloc_request req = { .goal = blk, .count = 3 };
	uint32_t got;

	(void)state;
	bed_begin(bed, 0);
	assert_int_equal(alloc_free(bed->tx, blk, 3, false), 0);
	/* Not even to the one who frees it. */
	assert_int_equal(alloc_blocks(bed->tx, &req, &other_blk, &got), 0);
	assert_true(other_blk + got <= blk || other_blk >= blk + 3);
	assert_false(another_thread_gets(bed, blk + 1));
	assert_int_equal(bed_end(bed, 0), 0);
	assert_true(another_thread_gets(bed, blk + 1));
	bed_delete(bed);
}

/* Between commit and the last fence recovery may still replay the freeing. */
struct watch {
	struct bed *bed;
	uint64_t blk;
	unsigned drains;
	bool free_early;
};

static void on_drain(void *ctx, struct region *r)
{
	struct watch *w = ctx;

	(void)r;
	w->drains++;
	/* alloc_nfree() counts what could be taken this moment. */
	if (alloc_nfree(w->bed->vol))
		w->free_early = true;
}

static void a_freed_block_is_not_free_before_the_last_fence(void **state)
{
	struct bed *bed = bed_new(2 << 20, true);
	struct watch watch = { .bed = bed, .blk = take_small(bed, 1) };

	(void)state;
	bed_leave_free(bed, 0);
	region_record_on_drain(bed->region, on_drain, &watch);
	assert_int_equal(give(bed, watch.blk, 1, false), 0);
	region_record_on_drain(bed->region, NULL, NULL);
	assert_true(watch.drains >= 3);
	assert_false(watch.free_early);
	assert_int_equal(alloc_nfree(bed->vol), 1);
	bed_delete(bed);
}

static void an_abort_gives_back_what_was_taken_and_keeps_what_was_freed(void **state)
{
	struct bed *bed = bed_new(2 << 20, true);
	uint64_t mine = take_small(bed, 5), blk, before;
	struct alloc_request req = { .count = 20 };
	unsigned char *image = bed_image(bed);
	uint32_t got;

	(void)state;
	before = bed_free(bed);
	bed_begin(bed, 0);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(alloc_blocks(bed->tx, &req, &blk, &got), 0);
	assert_int_equal(alloc_free(bed->tx, mine, 5, false), 0);
	assert_int_equal(bed_end(bed, -ECANCELED), -ECANCELED);
	assert_int_equal(bed_free(bed), before);
	bed_assert_image(bed, image);
	assert_false(take_everything(bed, TX_RESERVE, mine));
	free(image);
	bed_delete(bed);
}

static void blocks_may_come_and_go_in_one_transaction(void **state)
{
	struct bed *bed = bed_new(2 << 20, true);
	uint64_t before = bed_free(bed), blk;
	struct alloc_request req = { .count = 20 };
	uint32_t got;

	(void)state;
	for (int aborted = 0; aborted < 2; aborted++) {
		bed_begin(bed, 0);
		assert_int_equal(alloc_blocks(bed->tx, &req, &blk, &got), 0);
		assert_int_equal(alloc_free(bed->tx, blk + 5, got - 5, false), 0);
		assert_int_equal(alloc_free(bed->tx, blk, 5, false), 0);
		assert_int_equal(bed_end(bed, aborted ? -ECANCELED : 0), aborted ? -ECANCELED : 0);
		assert_int_equal(bed_free(bed), before);
		assert_false(on_medium(bed, PLANE_USED, blk));
	}
	assert_true(another_thread_gets(bed, blk));
	bed_delete(bed);
}

static void a_run_of_old_and_new_blocks_can_be_freed_at_once(void **state)
{
	struct bed *bed = bed_new(2 << 20, true);
	uint64_t before = bed_free(bed), old = take_small(bed, 4), blk;
	struct alloc_request req = { .goal = old + 4, .count = 4 };
	uint32_t got;

	(void)state;
	bed_begin(bed, 0);
	assert_int_equal(alloc_blocks(bed->tx, &req, &blk, &got), 0);
	assert_int_equal(blk, old + 4);
	assert_int_equal(bed_end(bed, alloc_free(bed->tx, old, 8, false)), 0);
	assert_int_equal(bed_free(bed), before);
	assert_false(on_medium(bed, PLANE_USED, old));
	assert_false(on_medium(bed, PLANE_USED, blk));
	bed_delete(bed);
}

static void more_bits_than_a_transaction_holds_are_efbig_and_come_back(void **state)
{
	struct bed *bed = bed_new(16 << 20, true);
	uint64_t before = bed_free(bed), blk;
	int err = 0;

	(void)state;
	bed_begin(bed, 0);
	for (uint64_t goal = 1000; !err && goal < 4000; goal += 2) {
		struct alloc_request req = { .goal = goal, .large = true, .count = 1 };
		uint32_t got;

		err = alloc_blocks(bed->tx, &req, &blk, &got);
	}
	assert_int_equal(err, -EFBIG);
	assert_int_equal(bed_end(bed, err), -EFBIG);
	assert_int_equal(bed_free(bed), before);
	bed_delete(bed);
}

/* ---- who ------------------------------------------------------------------------------------ */

static void the_reserve_is_for_operations_that_free(void **state)
{
	struct bed *bed = bed_new(2 << 20, true);
	uint32_t reserve = bed->vol->reserve_blocks;

	(void)state;
	assert_true(reserve > 0);
	take_everything(bed, 0, 0);
	assert_int_equal(alloc_nfree(bed->vol), 0);
	assert_int_equal(bed_free(bed), reserve);
	assert_int_equal(space_of(bed).reserve, reserve);
	take_everything(bed, TX_RESERVE, 0);
	assert_int_equal(bed_free(bed), 0);
	bed_delete(bed);
}

static void freeing_what_is_not_used_or_not_a_files_is_an_io_error(void **state)
{
	struct bed *bed = bed_new(64 << 20, false);
	uint64_t nblocks = atomic_load(&bed->vol->nblocks), mine = take_small(bed, 4);
	const struct {
		uint64_t blk, count;
	} bad[] = {
		{ 0, 1 },
		{ 1, 1 },
		{ SUPER_COPY_BLK, 1 },
		{ SPECIAL_BLK, 1 },
		{ JOURNAL_BLK, 1 },
		{ bed->vol->first_data_blk - 1, 2 },
		{ MAP_BITS, 1 },
		{ MAP_BITS - 1, 3 },
		{ nblocks, 1 },
		{ nblocks - 1, 2 },
		{ UINT64_MAX, 1 },
		{ mine, UINT64_MAX },
		{ mine, 0 },
		{ mine, 5 },
		{ 9000, 1 },
	};
	unsigned char *image = bed_image(bed);

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (give(bed, bad[i].blk, bad[i].count, false) != -EIO)
			fail_msg("freed %llu blocks at %llu", (unsigned long long)bad[i].count,
				 (unsigned long long)bad[i].blk);
		assert_int_equal(release(bed, bad[i].blk, bad[i].count), -EIO);
	}
	bed_assert_image(bed, image);
	assert_int_equal(give(bed, mine, 4, false), 0);
	assert_int_equal(give(bed, mine, 4, false), -EIO);
	free(image);
	bed_delete(bed);
}

static void a_group_with_a_damaged_map_is_left_alone(void **state)
{
	struct bed *bed = bed_new(128 << 20, false);
	uint64_t blk = take_small(bed, 1);
	uint64_t off = (UINT64_C(1) * MAP_BITS << BLOCK_SHIFT) + 1000;
	unsigned char byte;
	struct alloc_request req = { .goal = MAP_BITS + 100, .count = 5 };
	uint32_t got;

	(void)state;
	memcpy(&byte, region_ptr(bed->region, off, 1), 1);
	byte ^= 0x10;
	bed_store(bed, off, &byte, 1);
	bed_remount(bed);
	assert_int_equal(take(bed, &req, &blk, &got), 0);
	assert_int_not_equal(blk / MAP_BITS, 1);
	assert_int_equal(give(bed, MAP_BITS + 100, 1, false), -EIO);
	assert_false(take_everything(bed, TX_RESERVE, MAP_BITS + 100));
	bed_delete(bed);
}

/* ---- quarantine ----------------------------------------------------------------------------- */

static void a_quarantined_block_is_neither_free_nor_used_until_it_is_released(void **state)
{
	struct bed *bed = bed_new(2 << 20, true);
	uint64_t blk = take_small(bed, 6);

	(void)state;
	assert_int_equal(give(bed, blk, 6, true), 0);
	assert_false(on_medium(bed, PLANE_USED, blk));
	assert_true(on_medium(bed, PLANE_QUARANTINED, blk));
	assert_int_equal(space_of(bed).quarantined, 6);
	assert_false(take_everything(bed, TX_RESERVE, blk));

	assert_int_equal(release(bed, blk, 2), 0);
	assert_int_equal(release(bed, blk, 6), -EIO); /* not all of it still is */
	assert_int_equal(space_of(bed).quarantined, 4);
	assert_true(take_everything(bed, TX_RESERVE, blk + 1));
	assert_int_equal(release(bed, blk + 2, 4), 0);
	assert_true(take_everything(bed, TX_RESERVE, blk + 5));
	assert_int_equal(space_of(bed).quarantined, 0);
	bed_delete(bed);
}

static void an_aborted_quarantine_or_release_changes_nothing(void **state)
{
	struct bed *bed = bed_new(2 << 20, true);
	uint64_t blk = take_small(bed, 6);

	(void)state;
	bed_begin(bed, 0);
	assert_int_equal(alloc_free(bed->tx, blk, 6, true), 0);
	assert_int_equal(bed_end(bed, -ECANCELED), -ECANCELED);
	assert_true(on_medium(bed, PLANE_USED, blk));
	assert_int_equal(space_of(bed).quarantined, 0);

	assert_int_equal(give(bed, blk, 6, true), 0);
	bed_begin(bed, 0);
	assert_int_equal(alloc_release(bed->tx, blk, 6), 0);
	assert_int_equal(bed_end(bed, -ECANCELED), -ECANCELED);
	assert_int_equal(space_of(bed).quarantined, 6);
	assert_false(take_everything(bed, TX_RESERVE, blk));
	bed_delete(bed);
}

static void a_quarantined_block_cannot_be_freed_again(void **state)
{
	struct bed *bed = bed_new(2 << 20, true);
	uint64_t blk = take_small(bed, 6);

	(void)state;
	assert_int_equal(give(bed, blk, 6, true), 0);
	assert_int_equal(give(bed, blk, 6, false), -EIO);
	assert_int_equal(give(bed, blk + 1, 1, true), -EIO);
	assert_int_equal(space_of(bed).quarantined, 6);
	assert_false(take_everything(bed, TX_RESERVE, blk));
	bed_delete(bed);
}

/* A region in a file, because only there can clients of an earlier daemon live on. */
static struct bed *bed_in_file(char *path)
{
	struct region *region;
	char err[256];
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 4 << 20), 0);
	close(fd);
	if (region_open(path, 0, 0, &region, err, sizeof(err)))
		fail_msg("%s", err);
	return bed_new_on(region, true);
}

static void quarantine_survives_a_remount_while_a_client_of_before_lives(void **state)
{
	char path[] = "/tmp/unit_alloc.XXXXXX";
	struct bed *bed = bed_in_file(path);
	uint64_t blk = take_small(bed, 6);
	int client = open(path, O_RDWR);

	(void)state;
	assert_true(client >= 0);
	assert_int_equal(flock(client, LOCK_SH), 0);
	assert_int_equal(give(bed, blk, 6, true), 0);
	bed_remount(bed);
	assert_int_equal(space_of(bed).quarantined, 6);
	assert_false(take_everything(bed, TX_RESERVE, blk));

	assert_int_equal(close(client), 0);
	bed_remount(bed);
	assert_int_equal(space_of(bed).quarantined, 0);
	assert_true(take_everything(bed, TX_RESERVE, blk));
	unlink(path);
	bed_delete(bed);
}

/* ---- random operations against a model ------------------------------------------------------ */

enum block_state { B_FREE, B_USED, B_QUARANTINED };

struct run {
	uint64_t run_blk;
	uint32_t run_count;
};

struct model {
	struct bed *bed;
	uint64_t rng, nblocks;
	uint8_t *blocks, *before; /* enum block_state */
	struct run mine[20000];	  /* what the test has taken, used or quarantined */
	unsigned nmine, nbefore;
	struct run mine_before[20000];
};

static uint64_t model_count(const struct model *m, enum block_state state)
{
	uint64_t n = 0;

	for (uint64_t blk = 0; blk < m->nblocks; blk++)
		n += m->blocks[blk] == state;
	return n;
}

static uint64_t model_free_huge(const struct model *m)
{
	uint64_t n = 0;

	for (uint64_t blk = 0; blk + HUGE_BLOCKS <= m->nblocks; blk += HUGE_BLOCKS) {
		uint64_t i = 0;

		while (i < HUGE_BLOCKS && m->blocks[blk + i] == B_FREE)
			i++;
		n += i == HUGE_BLOCKS ? HUGE_BLOCKS : 0;
	}
	return n;
}

static void model_compare(const struct model *m)
{
	struct space space = space_of(m->bed);

	assert_int_equal(space.total, m->nblocks);
	assert_int_equal(space.free, model_count(m, B_FREE));
	assert_int_equal(space.quarantined, model_count(m, B_QUARANTINED));
	assert_int_equal(space.free_huge, model_free_huge(m));
	for (uint64_t blk = 0; blk < m->nblocks; blk++) {
		assert_int_equal(on_medium(m->bed, PLANE_USED, blk), m->blocks[blk] == B_USED);
		assert_int_equal(on_medium(m->bed, PLANE_QUARANTINED, blk),
				 m->blocks[blk] == B_QUARANTINED);
	}
	for (uint32_t g = 0; g < volume_groups(m->nblocks); g++)
		assert_int_equal(map_check(region_ptr(m->bed->region,
						      space_map_blk(g) << BLOCK_SHIFT, BLOCK_BYTES),
					   MAP_SPACE, g),
				 0);
}

static void model_set(struct model *m, const struct run *run, enum block_state state)
{
	memset(&m->blocks[run->run_blk], (int)state, run->run_count);
}

static void model_take(struct model *m)
{
	struct alloc_request req = { .goal = rng_below(&m->rng, 3)
						     ? 0
						     : rng_below(&m->rng, m->nblocks + 9),
				     .lblk = rng_below(&m->rng, 5000),
				     .large = rng_below(&m->rng, 4) == 0,
				     .count = 1 + (uint32_t)rng_below(&m->rng, 9) };
	uint64_t nfree = alloc_nfree(m->bed->vol);
	struct run run;
	int err;

	if (rng_below(&m->rng, 10) == 0)
		req.count = 1 + (uint32_t)rng_below(&m->rng, 2000);
	err = alloc_blocks(m->bed->tx, &req, &run.run_blk, &run.run_count);
	assert_int_equal(err, nfree ? 0 : -ENOSPC);
	if (err)
		return;
	assert_in_range(run.run_count, 1, req.count);
	assert_true(volume_owns_data(m->bed->vol, run.run_blk, run.run_count));
	for (uint32_t i = 0; i < run.run_count; i++)
		assert_int_equal(m->before[run.run_blk + i], B_FREE);
	for (uint32_t i = 0; i < run.run_count; i++)
		assert_int_equal(m->blocks[run.run_blk + i], B_FREE);
	model_set(m, &run, B_USED);
	m->mine[m->nmine++] = run;
}

static void model_give(struct model *m)
{
	unsigned at;
	struct run *run;
	bool quarantine = rng_below(&m->rng, 3) == 0;

	if (!m->nmine)
		return;
	at = (unsigned)rng_below(&m->rng, m->nmine);
	run = &m->mine[at];
	if (m->blocks[run->run_blk] == B_QUARANTINED) {
		/* What this transaction put there is not there yet. */
		if (m->before[run->run_blk] != B_QUARANTINED)
			return;
		assert_int_equal(alloc_release(m->bed->tx, run->run_blk, run->run_count), 0);
		model_set(m, run, B_FREE);
		*run = m->mine[--m->nmine];
		return;
	}
	if (quarantine && m->before[run->run_blk] != B_USED)
		quarantine = false; /* nobody can map what is not committed */
	assert_int_equal(alloc_free(m->bed->tx, run->run_blk, run->run_count, quarantine), 0);
	model_set(m, run, quarantine ? B_QUARANTINED : B_FREE);
	if (!quarantine)
		*run = m->mine[--m->nmine];
}

static void model_tx(struct model *m, unsigned steps, unsigned percent_take)
{
	bool abort_it = rng_below(&m->rng, 6) == 0;

	memcpy(m->before, m->blocks, m->nblocks);
	memcpy(m->mine_before, m->mine, m->nmine * sizeof(m->mine[0]));
	m->nbefore = m->nmine;
	bed_begin(m->bed, 0);
	while (steps-- > 0) {
		if (rng_below(&m->rng, 100) < percent_take)
			model_take(m);
		else
			model_give(m);
	}
	assert_int_equal(bed_end(m->bed, abort_it ? -ECANCELED : 0), abort_it ? -ECANCELED : 0);
	if (!abort_it)
		return;
	memcpy(m->blocks, m->before, m->nblocks);
	memcpy(m->mine, m->mine_before, m->nbefore * sizeof(m->mine[0]));
	m->nmine = m->nbefore;
}

static struct model *model_new(uint64_t seed, uint64_t bytes)
{
	struct model *m = calloc(1, sizeof(*m));

	m->bed = bed_new(bytes, true);
	m->rng = bed_seed(seed);
	m->nblocks = atomic_load(&m->bed->vol->nblocks);
	m->blocks = calloc(1, m->nblocks);
	m->before = calloc(1, m->nblocks);
	for (uint64_t blk = 0; blk < m->nblocks; blk++)
		m->blocks[blk] = on_medium(m->bed, PLANE_USED, blk) ? B_USED : B_FREE;
	return m;
}

/* What a mount without living clients does. */
static void model_end_quarantine(struct model *m)
{
	for (unsigned i = 0; i < m->nmine;) {
		if (m->blocks[m->mine[i].run_blk] == B_QUARANTINED) {
			model_set(m, &m->mine[i], B_FREE);
			m->mine[i] = m->mine[--m->nmine];
		} else {
			i++;
		}
	}
}

static void random_run(uint64_t seed, uint64_t bytes, unsigned txs)
{
	struct model *m = model_new(seed, bytes);

	model_compare(m);
	for (unsigned i = 0; i < txs; i++) {
		model_tx(m, 1 + (unsigned)rng_below(&m->rng, 30), i / 300 % 2 ? 35 : 60);
		if (i % 32 == 0)
			model_compare(m);
		if (i % 500 == 499) {
			bed_remount(m->bed);
			model_end_quarantine(m);
		}
	}
	model_compare(m);
	bed_delete(m->bed);
	free(m->blocks);
	free(m->before);
	free(m);
}

static void the_maps_are_their_model_after_any_operations(void **state)
{
	(void)state;
	random_run(23, 4 << 20, 3000);	/* often full */
	random_run(24, 80 << 20, 3000); /* two groups */
}

/* ---- threads -------------------------------------------------------------------------------- */

#define THREADS 4
#define HELD 400

struct crew {
	struct bed *bed;
	_Atomic(unsigned char) *owner; /* of each block: 0, or a thread's number */
	atomic_uint clashes, errors;
};

struct worker {
	struct crew *crew;
	unsigned char me;
	uint64_t rng;
	struct run held[HELD];
	unsigned nheld;
};

static void worker_own(struct worker *w, const struct run *run, unsigned char from,
		       unsigned char to)
{
	for (uint32_t i = 0; i < run->run_count; i++) {
		unsigned char was = atomic_exchange(&w->crew->owner[run->run_blk + i], to);

		if (was != from)
			atomic_fetch_add(&w->crew->clashes, 1);
	}
}

static void worker_take(struct worker *w, struct tx *tx, bool abort_it)
{
	struct alloc_request req = { .lblk = rng_below(&w->rng, 2000),
				     .large = rng_below(&w->rng, 3) == 0,
				     .count = 1 + (uint32_t)rng_below(&w->rng, 20) };
	struct run run;
	int err = alloc_blocks(tx, &req, &run.run_blk, &run.run_count);

	if (err && err != -ENOSPC)
		atomic_fetch_add(&w->crew->errors, 1);
	if (!err) {
		worker_own(w, &run, 0, w->me);
		if (abort_it)
			worker_own(w, &run, w->me, 0);
		else
			w->held[w->nheld++] = run;
	}
	if (tx_end(tx, abort_it ? -ECANCELED : err) != (abort_it ? -ECANCELED : err))
		atomic_fetch_add(&w->crew->errors, 1);
}

static void worker_give(struct worker *w, struct tx *tx, bool abort_it)
{
	unsigned at = (unsigned)rng_below(&w->rng, w->nheld);
	struct run run = w->held[at];
	int err = alloc_free(tx, run.run_blk, run.run_count, false);

	if (!err && !abort_it) {
		/* From inside the commit on it may be another's. */
		worker_own(w, &run, w->me, 0);
		w->held[at] = w->held[--w->nheld];
	}
	if (tx_end(tx, abort_it ? -ECANCELED : err) != (abort_it ? -ECANCELED : 0))
		atomic_fetch_add(&w->crew->errors, 1);
}

static void worker_run(void *arg)
{
	struct worker *w = arg;

	for (unsigned i = 0; i < 3000; i++) {
		bool abort_it = rng_below(&w->rng, 5) == 0;
		struct tx *tx;

		if (tx_begin(w->crew->bed->vol, 0, &tx, HERE)) {
			atomic_fetch_add(&w->crew->errors, 1);
			return;
		}
		if (w->nheld < HELD && (!w->nheld || rng_below(&w->rng, 100) < 55))
			worker_take(w, tx, abort_it);
		else
			worker_give(w, tx, abort_it);
	}
}

static void threads_never_get_the_same_block(void **state)
{
	struct bed *bed = bed_new(64 << 20, true);
	uint64_t nblocks = atomic_load(&bed->vol->nblocks), before = bed_free(bed), held = 0;
	struct crew crew = { .bed = bed, .owner = calloc(nblocks, 1) };
	struct worker *workers = calloc(THREADS, sizeof(*workers));
	struct sync_thread *threads[THREADS];
	uint64_t seed = bed_seed(25);

	(void)state;
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] =
			(struct worker){ &crew, (unsigned char)(i + 1), seed + i, { { 0 } }, 0 };
		assert_int_equal(sync_thread_start(bed->sync, "worker", worker_run, &workers[i],
						   &threads[i]),
				 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		sync_thread_join(threads[i]);
	assert_int_equal(atomic_load(&crew.clashes), 0);
	assert_int_equal(atomic_load(&crew.errors), 0);

	for (uint64_t blk = bed->vol->first_data_blk; blk < nblocks; blk++) {
		if (!crew.owner[blk])
			continue;
		held++;
		assert_true(on_medium(bed, PLANE_USED, blk));
	}
	assert_true(held > 0);
	assert_int_equal(bed_free(bed), before - held);
	bed_remount(bed);
	assert_int_equal(bed_free(bed), before - held);
	free((void *)crew.owner);
	free(workers);
	bed_delete(bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_free_goal_is_taken_and_a_busy_one_is_not),
		cmocka_unit_test(a_goal_that_cannot_be_is_only_a_hint),
		cmocka_unit_test(large_files_get_addresses_congruent_modulo_2_mib),
		cmocka_unit_test(large_files_stay_congruent_on_an_aged_volume),
		cmocka_unit_test(
			small_things_do_not_break_a_whole_piece_while_a_broken_one_has_room),
		cmocka_unit_test(a_small_thing_does_not_break_a_whole_piece_for_its_goal),
		cmocka_unit_test(freed_blocks_become_whole_pieces_again),
		cmocka_unit_test(a_freed_block_is_not_handed_out_before_the_commit),
		cmocka_unit_test(a_freed_block_is_not_free_before_the_last_fence),
		cmocka_unit_test(an_abort_gives_back_what_was_taken_and_keeps_what_was_freed),
		cmocka_unit_test(blocks_may_come_and_go_in_one_transaction),
		cmocka_unit_test(a_run_of_old_and_new_blocks_can_be_freed_at_once),
		cmocka_unit_test(more_bits_than_a_transaction_holds_are_efbig_and_come_back),
		cmocka_unit_test(the_reserve_is_for_operations_that_free),
		cmocka_unit_test(freeing_what_is_not_used_or_not_a_files_is_an_io_error),
		cmocka_unit_test(a_group_with_a_damaged_map_is_left_alone),
		cmocka_unit_test(a_quarantined_block_is_neither_free_nor_used_until_it_is_released),
		cmocka_unit_test(an_aborted_quarantine_or_release_changes_nothing),
		cmocka_unit_test(a_quarantined_block_cannot_be_freed_again),
		cmocka_unit_test(quarantine_survives_a_remount_while_a_client_of_before_lives),
		cmocka_unit_test(the_maps_are_their_model_after_any_operations),
		cmocka_unit_test(threads_never_get_the_same_block),
	};

	alarm(300);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
