/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * crash.c - see crash.h. Recovered is in an arena and a region of their own, so that the run's stay as they
 * were. Nobody else runs meanwhile, and locks are not taken (sched->quiet).
 */
#include "crash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "file.h"
#include "fsck.h"
#include "inode.h"
#include "namespace.h"
#include "region.h"
#include "seen.h"
#include "sync_lab.h"

#define ARENA_BYTES ((size_t)8 << 20)
#define MOST_IMAGES ((size_t)1 << 22)

struct crash {
	struct mem *mem;
	struct region *medium;
	struct sync *sync; /* in the arena */
	struct seen looked_at;
	char problem[320]; /* what the checker said first */
};

struct crash *crash_new(struct world *w)
{
	struct crash *crash = calloc(1, sizeof(*crash));

	if (!crash)
		return NULL;
	crash->mem = arena_new(ARENA_BYTES);
	crash->medium = medium_new(w->medium->bytes, w->medium->granule_bytes);
	crash->sync = crash->mem ? sync_lab_new(w->sched, crash->mem) : NULL;
	if (!crash->sync || !crash->medium || arena_save(crash->mem) ||
	    seen_new(&crash->looked_at, MOST_IMAGES)) {
		crash_delete(crash);
		return NULL;
	}
	return crash;
}

void crash_delete(struct crash *crash)
{
	if (!crash)
		return;
	seen_delete(&crash->looked_at);
	if (crash->medium)
		region_close(crash->medium);
	if (crash->mem)
		arena_delete(crash->mem);
	free(crash);
}

bool crash_wanted(const struct scenario *sc)
{
	for (unsigned i = 0; i < sc->nthreads; i++)
		for (unsigned j = 0; j < sc->threads[i].nops; j++)
			if (sc->threads[i].ops[j].kind == OP_CRASH)
				return true;
	return false;
}

static void watch_drain(void *world, const struct sync_site *site)
{
	struct world *w = world;

	(void)site;
	sched_point(w->sched, &w->pending, ACCESS_WRITE);
}

void crash_watch(struct world *w)
{
	medium_watch_drains(w->medium, watch_drain, w);
}

/* ---- what may be left ------------------------------------------------------------------------------- */

/*
 * The history without what was seen in it, which has been judged; what was stored through mappings need
 * not be there unless it was synced.
 */
static void durable_history(const struct world *w, struct history *ret)
{
	*ret = w->history;
	ret->nevents = 0;
	for (unsigned i = 0; i < w->history.nevents; i++) {
		const struct event *e = &w->history.events[i];

		if (e->kind == EVENT_LOAD || e->kind == EVENT_READ)
			continue;
		ret->events[ret->nevents] = *e;
		ret->events[ret->nevents++].optional |= e->kind == EVENT_STORE && !e->synced;
	}
}

static uint64_t seen_in(struct inode *inode, unsigned cell, uint64_t size)
{
	uint64_t pos = (uint64_t)cell * CELL_BYTES, value = 0;
	struct read_plan plan;

	if (pos >= size)
		return SEEN_NOTHING;
	if (file_read_begin(inode, pos, sizeof(value), IO_CACHED, &plan))
		return VALUE_POISON;
	memcpy(&value, plan.pieces[0].iov_base, sizeof(value));
	file_read_end(inode, &plan);
	return value;
}

static void fail_at(struct world *w, const char *rule, unsigned file, unsigned cell, uint64_t value)
{
	char name[64];

	value_name(w->scenario, value, name, sizeof(name));
	sched_fail(w->sched, NULL, rule, "after the crash %s[%u%c] shows %s", file_name(w, file),
		   cell / PAGE_CELLS, cell % PAGE_CELLS ? 'b' : 'a', name);
}

static void judge_cell(struct world *w, struct history *h, unsigned file, unsigned cell,
		       uint64_t value)
{
	struct event event = { .kind = EVENT_READ, .file = file, .cell = cell, .value = value };
	unsigned number = history_begin(h, &event);

	history_end(h, number);
	if (value != SEEN_NOTHING && (value & VALUE_KIND) == (VALUE_POISON & VALUE_KIND))
		fail_at(w, "stale-byte", file, cell, value);
	else if (!history_possible(h, number))
		fail_at(w, "lost-in-crash", file, cell, value);
	/* Where nothing moves, cells have nothing to do with each other. */
	if (!h->moves && number < HISTORY_MAX)
		h->nevents--;
}

static void judge_files(struct world *w, struct volume *vol)
{
	struct inode *root, *inode;
	struct history h;

	durable_history(w, &h);
	if (inode_get(vol, ROOT_INO, &root)) {
		sched_fail(w->sched, NULL, "damaged-by-crash", "there is no root directory");
		return;
	}
	for (unsigned file = 0; file < w->scenario->nfiles; file++) {
		const char *name = file_name(w, file);
		uint64_t size;

		if (ns_lookup(root, name, strlen(name), &inode)) {
			sched_fail(w->sched, NULL, "damaged-by-crash", "%s is not there", name);
			continue;
		}
		size = inode_size(inode);
		for (unsigned cell = 0; cell < FILE_CELLS; cell++)
			judge_cell(w, &h, file, cell, seen_in(inode, cell, size));
		inode_put(inode);
	}
	inode_put(root);
}

/* ---- recovery ----------------------------------------------------------------------------------------- */

static void note_problem(void *ctx, const struct fsck_problem *problem)
{
	struct crash *crash = ctx;

	if (!crash->problem[0] && fsck_code_class(problem->code) != FSCK_CLASS_NOTE)
		snprintf(crash->problem, sizeof(crash->problem), "%.300s", problem->text);
}

static void check_volume(struct world *w)
{
	struct crash *crash = w->crash;
	struct fsck_options options = { .repair = FSCK_REPAIR_NONE,
					.problem = note_problem,
					.ctx = crash };
	struct fsck_report report;

	crash->problem[0] = 0;
	if (fsck_check(crash->medium, &options, &report) || report.problems)
		sched_fail(w->sched, NULL, "damaged-by-crash", "after the crash: %s",
			   crash->problem[0] ? crash->problem : report.message);
}

static void recover(struct world *w)
{
	struct crash *crash = w->crash;
	struct volume_env env = { .sync = crash->sync, .mem = crash->mem, .policy = w->policy };
	struct volume *vol;
	char why[160];

	check_volume(w);
	if (volume_mount(crash->medium, &env, &vol, why, sizeof(why))) {
		sched_fail(w->sched, NULL, "damaged-by-crash", "it cannot be mounted: %s", why);
		return;
	}
	judge_files(w, vol);
	volume_abandon(vol);
}

static uint64_t history_hash(const struct history *h)
{
	uint64_t hash = h->nevents;

	for (unsigned i = 0; i < h->nevents; i++) {
		const struct event *e = &h->events[i];
		uint64_t words[] = { hash,     e->kind, e->file << 16 | e->cell,     e->value,
				     e->begin, e->over, e->optional | e->synced << 1 };

		hash = XXH3_64bits(words, sizeof(words));
	}
	return hash;
}

static void check_image(struct world *w, uint64_t keep, uint64_t history)
{
	struct crash *crash = w->crash;
	unsigned char *image = medium_base(crash->medium);

	medium_crash(w->medium, keep, image);
	if (seen_before(&crash->looked_at, XXH3_64bits_withSeed(image, w->medium->bytes, history),
			0))
		return;
	medium_save(crash->medium);
	arena_restore(crash->mem);
	recover(w);
}

void crash_check(struct world *w)
{
	uint64_t history = history_hash(&w->history);
	size_t n = medium_pending(w->medium);

	w->sched->quiet = true;
	check_image(w, 0, history);
	check_image(w, UINT64_MAX, history);
	for (size_t i = 0; i < n && i < CRASH_MAX_LINES && w->sched->end != RUN_BROKEN; i++)
		check_image(w, ~(UINT64_C(1) << i), history);
	w->sched->quiet = false;
}
