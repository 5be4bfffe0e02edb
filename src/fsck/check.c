/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * check.c - the rounds of a check. fsck.h says what they consist of and why.
 */
#include <assert.h>
#include <stdlib.h>

#include "impl.h"
#include "journal.h"

/* Each mends something, so few are needed; a volume that needs more is not worth more. */
#define MAX_ROUNDS 24u

/* Nodes that may be met below damaged keys, beyond one for each block. See tree.c. */
#define WIDE_BUDGET 100000u

static void forget_round(struct fsck *f)
{
	for (uint32_t c = 0; c < f->nchunks; c++)
		free(f->chunks[c]);
	free(f->chunks);
	free(f->table);
	bits_free(&f->owned);
	bits_free(&f->twice);
	vec_free(&f->suspects);
	vec_free(&f->edits);
	vec_free(&f->removals);
	vec_free(&f->additions);
	vec_free(&f->orphans);
	f->chunks = NULL;
	f->table = NULL;
	f->nchunks = 0;
	f->table_blocks = 0;
}

static int begin_round(struct fsck *f)
{
	int err = bits_init(&f->owned, f->nblocks);

	if (!err)
		err = bits_init(&f->twice, f->nblocks);
	f->claims_done = f->table_damaged = false;
	f->alloc_from = 0;
	f->alloc_dry = false;
	f->known_group = FSCK_NOWHERE;
	f->wide_budget = (unsigned long)f->nblocks + WIDE_BUDGET;
	if (!err)
		fsck_claim_fixed(f);
	return err;
}

static int stage_inodes(struct fsck *f)
{
	int err = fsck_table_load(f);

	if (!err)
		err = fsck_inodes(f);
	if (!err && f->repairing && f->table_damaged)
		err = fsck_table_mend(f);
	if (!err)
		err = fsck_mend_marked(f);
	return err ? err : fsck_root(f);
}

static int stage_maps(struct fsck *f)
{
	fsck_table_maps(f);
	return 0;
}

static int stage_space(struct fsck *f)
{
	fsck_space(f);
	return 0;
}

/* One walk over everything. A stage that has changed something ends it. */
static int do_round(struct fsck *f)
{
	static int (*const stages[])(struct fsck * f) = { stage_inodes, fsck_dirs, fsck_names,
							  stage_maps, stage_space };
	int err;

	f->changed = false;
	f->found = f->found_unsafe = 0;
	err = fsck_super(f);
	if (!err)
		err = begin_round(f);
	if (!err)
		err = fsck_journal(f);
	for (unsigned i = 0; !err && !f->changed && i < sizeof(stages) / sizeof(stages[0]); i++)
		err = stages[i](f);
	forget_round(f);
	f->report->rounds++;
	return err;
}

/* Rounds until one changes nothing. */
static int do_rounds(struct fsck *f)
{
	int err;

	do {
		err = do_round(f);
	} while (!err && f->changed && f->report->rounds < MAX_ROUNDS);
	/* The findings of a round that has changed something say nothing about what is left. */
	if (!err && f->repairing && f->changed) {
		f->repairing = false;
		err = do_round(f);
	}
	f->report->left = f->found;
	f->report->left_unsafe = f->found_unsafe;
	return err;
}

/* Nothing is left: the volume is clean, unless somebody has still to finish what is pending. */
static void finish(struct fsck *f)
{
	if (f->repairing && !f->found && !f->opt->mounted)
		fsck_super_finish(f);
}

static int check_safe(struct fsck *f)
{
	int err;

	/*
	 * What can be mended without a doubt is so only if nothing else is wrong: blocks without an
	 * owner may be all that is left of a file whose tree is damaged.
	 */
	f->mute = true;
	f->repairing = false;
	err = do_round(f);
	f->mute = false;
	f->repairing = !err && !f->found_unsafe;
	f->report->rounds = 0;
	if (!err)
		err = do_rounds(f);
	return err;
}

static int check_on(struct fsck *f)
{
	int err;

	if (f->opt->repair == FSCK_REPAIR_SAFE) {
		err = check_safe(f);
	} else {
		f->repairing = f->opt->repair == FSCK_REPAIR_ALL;
		err = do_rounds(f);
	}
	if (!err)
		finish(f);
	return err;
}

bool fsck_says_clean(struct region *region)
{
	struct fsck_report report = { 0 };
	struct fsck_options silent = { 0 };
	struct fsck probe = { .region = region, .opt = &silent, .report = &report, .mute = true };

	return fsck_super(&probe) == 0 && !probe.found &&
	       probe.super.state == to_le32(SUPER_CLEAN) && journal_is_empty(region, &probe.super);
}

/* A check that must not write, of a volume with something to replay, is done on an overlay. */
static bool wants_overlay(struct region *region)
{
	struct fsck_report report = { 0 };
	struct fsck_options silent = { .mounted = true };
	struct fsck probe = { .region = region, .opt = &silent, .report = &report, .mute = true };

	return fsck_super(&probe) == 0 && !journal_is_empty(region, &probe.super);
}

int fsck_check(struct region *region, const struct fsck_options *opt, struct fsck_report *ret)
{
	struct fsck f = { .region = region, .opt = opt, .report = ret };
	struct region *overlay = NULL;
	int err;

	*ret = (struct fsck_report){ 0 };
	assert(!opt->mounted || opt->repair == FSCK_REPAIR_NONE);
	if (opt->uses)
		opt->uses(opt->ctx, region);
	if (opt->repair == FSCK_REPAIR_NONE && wants_overlay(region)) {
		overlay = fsck_overlay_new(region);
		if (!overlay)
			return fsck_fatal(&f, -ENOMEM, "there is no memory for a private copy");
		f.region = overlay;
		if (opt->uses)
			opt->uses(opt->ctx, overlay);
	}
	err = check_on(&f);
	if (err == -ENOMEM)
		fsck_fatal(&f, err, "out of memory");
	if (overlay) {
		ret->stored = false;
		if (opt->uses)
			opt->uses(opt->ctx, region);
		region_close(overlay);
	}
	free(f.seen);
	return err;
}
