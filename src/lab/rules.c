/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * rules.c - see rules.h.
 *
 * Whoever examines looks at the core's state as it stands, without its locks (sched->quiet). A state in
 * which a transaction is half-way on the medium is not looked at: somebody holds a journal lane.
 */
#include "rules.h"

#include <stdio.h>
#include <string.h>

#include "crash.h"
#include "extent.h"
#include "file.h"
#include "gate.h"
#include "inode.h"
#include "kernel.h"
#include "region.h"

static bool in_transaction(const struct world *w)
{
	for (unsigned i = 0; i < w->sched->ntasks; i++) {
		const struct task *task = &w->sched->tasks[i];

		for (unsigned j = 0; !task->ended && j < task->nheld; j++)
			if (task->held[j].class == LOCK_JOURNAL ||
			    task->held[j].class == LOCK_ALLOC)
				return true;
	}
	return false;
}

/* ---- mappings -------------------------------------------------------------------------------------- */

/* The block behind a page, or 0. */
static uint64_t block_of(struct world *w, unsigned file, unsigned page)
{
	struct extent ext;

	if (extent_lookup(NULL, w->inodes[file], FORK_DATA, page, &ext) || ext.state == EXTENT_HOLE)
		return 0;
	return ext.pblk + (page - ext.lblk);
}

/* Whose block it is: fills in @buf; false: nobody's. */
static bool owner_of(struct world *w, uint64_t pblk, char *buf, size_t len)
{
	for (unsigned file = 0; file < w->scenario->nfiles; file++)
		for (unsigned page = 0; page < SCENARIO_MAX_PAGES; page++)
			if (block_of(w, file, page) == pblk) {
				snprintf(buf, len, "%s[%u]", file_name(w, file), page);
				return true;
			}
	return false;
}

static bool plane_has(const struct world *w, unsigned plane, uint64_t pblk)
{
	uint64_t map = space_map_blk((uint32_t)(pblk / MAP_BITS));
	const struct map_block *mb = region_ptr(w->medium, map << BLOCK_SHIFT, BLOCK_BYTES);
	uint64_t bit = pblk % MAP_BITS;

	return from_le64(mb->bits[plane][bit / 64]) >> bit % 64 & 1;
}

bool rules_block_is_free(const struct world *w, uint64_t pblk)
{
	return !plane_has(w, PLANE_USED, pblk) && !plane_has(w, PLANE_QUARANTINED, pblk);
}

bool rules_block_is_unwritten(struct world *w, uint64_t pblk)
{
	for (unsigned file = 0; file < w->scenario->nfiles; file++)
		for (unsigned page = 0; page < SCENARIO_MAX_PAGES; page++) {
			uint64_t its;
			const char *state = rules_page_state(w, file, page, &its);

			if (state && its == pblk)
				return state[0] == 'u';
		}
	return false;
}

const char *rules_page_state(struct world *w, unsigned file, unsigned page, uint64_t *ret_pblk)
{
	bool quiet = w->sched->quiet;
	struct extent ext;
	int err;

	w->sched->quiet = true;
	err = extent_lookup(NULL, w->inodes[file], FORK_DATA, page, &ext);
	w->sched->quiet = quiet;
	if (err || ext.state == EXTENT_HOLE)
		return NULL;
	*ret_pblk = ext.pblk + (page - ext.lblk);
	return ext.state == EXTENT_UNWRITTEN ? "unwritten" : "written";
}

bool rules_page_is_bad(struct world *w, unsigned file, unsigned page)
{
	uint64_t pblk;

	return region_bad_ranges(w->medium, NULL, 0) && rules_page_state(w, file, page, &pblk) &&
	       region_check(w->medium, pblk << BLOCK_SHIFT, BLOCK_BYTES);
}

static void check_mapping(struct world *w, const struct process *p, unsigned file, unsigned page)
{
	const struct pte *pte = &p->ptes[file][page];
	char owner[32];

	if ((pte->kind != PTE_READ && pte->kind != PTE_WRITE) ||
	    block_of(w, file, page) == pte->pblk)
		return;
	if (owner_of(w, pte->pblk, owner, sizeof(owner))) {
		sched_fail(w->sched, NULL, "mapping-to-foreign-block",
			   "%s maps %s[%u] to block %llu, which is %s", p->name, file_name(w, file),
			   page, (unsigned long long)pte->pblk, owner);
		return;
	}
	if (plane_has(w, PLANE_QUARANTINED, pte->pblk))
		return;
	sched_fail(w->sched, NULL, "mapping-to-free-block",
		   "%s maps %s[%u] to block %llu, which is free", p->name, file_name(w, file), page,
		   (unsigned long long)pte->pblk);
}

void rules_check_mappings(struct world *w)
{
	if (in_transaction(w))
		return;
	w->sched->quiet = true;
	for (unsigned i = 0; i < w->scenario->nprocesses; i++)
		for (unsigned file = 0; file < w->scenario->nfiles; file++)
			for (unsigned page = 0; page < SCENARIO_MAX_PAGES; page++)
				if (w->processes[i].ptes[file][page].kind != PTE_NONE)
					check_mapping(w, &w->processes[i], file, page);
	w->sched->quiet = false;
}

/* If it is only one, whoever is late is he. */
static const struct process *only_stopped(const struct world *w)
{
	const struct process *found = NULL;

	for (unsigned i = 0; i < w->scenario->nprocesses; i++) {
		if (!w->processes[i].stopped)
			continue;
		if (found)
			return NULL;
		found = &w->processes[i];
	}
	return found;
}

void rules_check_late_mappings(struct world *w, unsigned file, unsigned first, unsigned end)
{
	const struct process *p = only_stopped(w);

	if (!p || !p->alive || !p->attachments[file] || in_transaction(w))
		return;
	w->sched->quiet = true;
	for (unsigned page = first; page < end && page < SCENARIO_MAX_PAGES; page++) {
		const struct pte *pte = &p->ptes[file][page];
		uint64_t pos = (uint64_t)page << BLOCK_SHIFT;

		if ((pte->kind != PTE_READ && pte->kind != PTE_WRITE) ||
		    block_of(w, file, page) != pte->pblk ||
		    !grant_is_late(w->inodes[file], pos, pos + BLOCK_BYTES))
			continue;
		w->sched->quiet = false;
		sched_fail(w->sched, NULL, "mapped-by-late",
			   "%s is late, and maps %s[%u] to block %llu, which is still there",
			   p->name, file_name(w, file), page, (unsigned long long)pte->pblk);
	}
	w->sched->quiet = false;
}

const struct process *rules_is_unanswered(struct world *w, unsigned file, unsigned *nasked)
{
	struct holder *holder = atomic_load(&w->inodes[file]->holder);
	struct grant_stat grants = { 0 };

	if (!holder)
		return NULL;
	w->sched->quiet = true;
	grant_stat(holder, &grants);
	w->sched->quiet = false;
	*nasked += grants.nrecalls;
	for (unsigned i = 0; i < w->scenario->nprocesses && grants.nrecalls; i++) {
		const struct process *p = &w->processes[i];

		if (p->attachments[file] && p->attachments[file]->recalls && !p->stopped &&
		    !p->hung_up)
			return p;
	}
	return NULL;
}

/* ---- what was seen ---------------------------------------------------------------------------------- */

static bool was_stored(const struct history *h, const struct event *seen)
{
	for (unsigned i = 0; i < h->nevents; i++)
		if (&h->events[i] != seen && h->events[i].file == seen->file &&
		    h->events[i].cell == seen->cell && h->events[i].over < seen->begin &&
		    (h->events[i].kind == EVENT_STORE || h->events[i].kind == EVENT_WRITE))
			return true;
	return false;
}

/* The name of the rule that is broken, if the history is impossible. */
static const char *rule_of(const struct history *h, const struct event *seen)
{
	if (seen->value != SEEN_NOTHING && (seen->value & VALUE_KIND) == VALUE_POISON)
		return "stale-byte";
	if (!h->moves && seen->value && seen->value != SEEN_NOTHING &&
	    (seen->value >> 8 & 0xff) != seen->file)
		return "foreign-byte";
	return was_stored(h, seen) ? "lost-store" : "not-coherent";
}

void rules_check_seen(struct world *w, unsigned number)
{
	const struct history *h = &w->history;
	const struct event *seen = &h->events[number];
	const char *rule = rule_of(h, seen);
	bool never = rule[0] == 's' || rule[0] == 'f'; /* whoever looked */
	char value[64];

	if ((seen->optional && !never) || (!never && history_possible(h, number)))
		return;
	value_name(w->scenario, seen->value, value, sizeof(value));
	sched_fail(w->sched, NULL, rule, "%s.%u sees %s in %s[%u%c]",
		   w->scenario->threads[seen->thread].name, seen->op + 1, value,
		   file_name(w, seen->file), seen->cell / PAGE_CELLS,
		   seen->cell % PAGE_CELLS ? 'b' : 'a');
}

/* ---- zeroing ------------------------------------------------------------------------------------------ */

static bool is_mapped(const struct world *w, uint64_t pblk, const struct process **ret_who)
{
	for (unsigned i = 0; i < w->scenario->nprocesses; i++)
		for (unsigned file = 0; file < w->scenario->nfiles; file++)
			for (unsigned page = 0; page < SCENARIO_MAX_PAGES; page++) {
				const struct pte *pte = &w->processes[i].ptes[file][page];

				if ((pte->kind == PTE_READ || pte->kind == PTE_WRITE) &&
				    pte->pblk == pblk) {
					*ret_who = &w->processes[i];
					return true;
				}
			}
	return false;
}

/* No recall was sent before the clock began. */
void rules_check_late(const struct process *p)
{
	struct sched *s = p->w->sched;

	if (s->now_ns < p->w->vol->recall_timeout_ns)
		sched_fail(s, NULL, "late-too-soon",
			   "%s is called late, and no recall's time can be over", p->name);
}

static bool holds_excl(const struct task *task, const void *lock)
{
	for (unsigned i = 0; task && i < task->nheld; i++)
		if (task->held[i].lock == lock && task->held[i].mode == SYNC_EXCL)
			return true;
	return false;
}

/* A copy of a dinode that is published without its lock undoes what was changed after it was made. */
static void check_dinode_store(struct world *w, uint64_t off, size_t len,
			       const struct sync_site *site)
{
	for (unsigned file = 0; file < w->scenario->nfiles; file++) {
		const struct inode *inode = w->inodes[file];

		if (off < inode->off + DINODE_BYTES && inode->off < off + len &&
		    !holds_excl(w->sched->current, &inode->ilock))
			sched_fail(w->sched, site, "unlocked-store",
				   "stores to the dinode of %s without its ilock",
				   file_name(w, file));
	}
}

void rules_watch_store(void *world, uint64_t off, size_t len, bool zero,
		       const struct sync_site *site)
{
	struct world *w = world;
	uint64_t last = (off + len - 1) >> BLOCK_SHIFT;

	if (w->sched->current)
		check_dinode_store(w, off, len, site);
	if (w->crash)
		sched_touch(w->sched, &w->pending, ACCESS_READ);
	for (uint64_t pblk = off >> BLOCK_SHIFT; pblk <= last; pblk++) {
		const struct process *who;

		/* Somebody can see it happen: that is a point. */
		if (is_mapped(w, pblk, &who)) {
			sched_log(w->sched, TRACE_ACCESS, site, "%s block %llu, which %s maps",
				  zero ? "zeroes" : "stores to", (unsigned long long)pblk,
				  who->name);
			sched_point(w->sched, world_block(w, pblk), ACCESS_WRITE);
		} else {
			sched_touch(w->sched, world_block(w, pblk), ACCESS_WRITE);
		}
	}
}

/* ---- the end ------------------------------------------------------------------------------------------ */

static void look_once_more(struct world *w, unsigned file, unsigned cell, uint64_t value,
			   bool is_load)
{
	struct event event = { .kind = is_load ? EVENT_LOAD : EVENT_READ,
			       .file = file,
			       .cell = cell,
			       .value = value };
	unsigned number = history_begin(&w->history, &event);

	history_end(&w->history, number);
	if (number == HISTORY_MAX)
		return;
	if (!history_possible(&w->history, number) ||
	    (value != SEEN_NOTHING && (value & VALUE_KIND) == VALUE_POISON)) {
		char name[64];

		value_name(w->scenario, value, name, sizeof(name));
		sched_fail(w->sched, NULL, rule_of(&w->history, &w->history.events[number]),
			   "at the end %s[%u%c] shows %s", file_name(w, file), cell / PAGE_CELLS,
			   cell % PAGE_CELLS ? 'b' : 'a', name);
	}
}

/* Whether the kernel's copies of it count: those from uncached mode are of private views. */
static bool is_cached_file(struct world *w, unsigned file)
{
	const struct holder *holder = atomic_load(&w->inodes[file]->holder);

	if (!holder)
		return false;
	return holder->mode == MODE_CACHED ||
	       (holder->mode == MODE_NONE && holder->last_mode == MODE_CACHED);
}

/* What a read(2) would give now: of a folio that is up to date, or of the medium. */
static void check_file(struct world *w, unsigned file)
{
	uint64_t cells[FILE_CELLS] = { 0 };
	struct kfile *kf = &w->files[file];
	unsigned size = (unsigned)((inode_size(w->inodes[file]) + CELL_BYTES - 1) / CELL_BYTES);

	for (unsigned cell = 0; cell < FILE_CELLS && cell < size; cell++) {
		struct read_plan plan;

		if (file_read_begin(w->inodes[file], (uint64_t)cell * CELL_BYTES, sizeof(uint64_t),
				    IO_CACHED, &plan) == 0) {
			memcpy(&cells[cell], plan.pieces[0].iov_base, sizeof(uint64_t));
			file_read_end(w->inodes[file], &plan);
		}
	}
	for (unsigned cell = 0; cell < FILE_CELLS; cell++) {
		if (rules_page_is_bad(w, file, cell / PAGE_CELLS))
			continue;
		const struct folio *folio = &kf->folios[cell / PAGE_CELLS];
		uint64_t cached = folio->cells[cell % PAGE_CELLS];
		bool is_cached = folio->present && folio->uptodate && cell < kf->size_cells &&
				 is_cached_file(w, file);

		if (cell >= size)
			look_once_more(w, file, cell, SEEN_NOTHING, false);
		else
			look_once_more(w, file, cell, is_cached ? cached : cells[cell], false);
		if (is_cached && !folio->dirty && !folio->failed && cell < size &&
		    cached != cells[cell])
			sched_fail(w->sched, NULL, "cache-differs",
				   "%s[%u] is clean in the page cache and differs from the medium",
				   file_name(w, file), cell / PAGE_CELLS);
	}
}

static void check_expected_content(struct world *w)
{
	for (unsigned i = 0; i < w->scenario->nexpects; i++) {
		const struct scenario_expect *e = &w->scenario->expects[i];
		uint64_t value = 0, want = 0;
		struct read_plan plan;

		if (e->kind != EXPECT_CONTENT)
			continue;
		if (file_read_begin(w->inodes[e->file], (uint64_t)e->cell * CELL_BYTES,
				    sizeof(value), IO_CACHED, &plan))
			continue;
		if (plan.npieces)
			memcpy(&value, plan.pieces[0].iov_base, sizeof(value));
		file_read_end(w->inodes[e->file], &plan);
		if (!e->zero)
			want = VALUE_STORED | (uint64_t)(e->thread << 8 | e->op) << 16 |
			       (uint64_t)e->file << 8 | e->cell;
		if (value != want)
			sched_fail(w->sched, NULL, "unexpected-content",
				   "line %d expects something else in %s[%u]", e->line,
				   file_name(w, e->file), e->cell / PAGE_CELLS);
	}
}

void rules_check_end(struct world *w)
{
	if (w->crashed) {
		crash_check(w);
		return;
	}
	rules_check_mappings(w);
	if (atomic_load(&w->vol->stat.gate_gave_up))
		sched_fail(w->sched, NULL, "gave-up",
			   "a change went on after %u rounds, and nobody comes in so often",
			   GATE_MAX_ROUNDS);
	w->sched->quiet = true;
	for (unsigned file = 0; file < w->scenario->nfiles; file++)
		check_file(w, file);
	check_expected_content(w);
	w->sched->quiet = false;
}

/* ---- the outcome -------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t a, uint64_t b)
{
	uint64_t z = (a + UINT64_C(0x9e3779b97f4a7c15)) ^ b * UINT64_C(0xbf58476d1ce4e5b9);

	return (z ^ z >> 31) * UINT64_C(0x94d049bb133111eb);
}

uint64_t rules_outcome(struct world *w)
{
	const struct history *h = &w->history;
	uint64_t sum = 0;

	/* In whichever order they came; the looks at the end (rules_check_end) are among them. */
	for (unsigned i = 0; i < h->nevents; i++) {
		const struct event *e = &h->events[i];
		uint64_t who = e->thread << 16 | e->op << 8 | e->kind;

		sum += mix(mix(who, e->file << 8 | e->cell), e->value << 1 | e->optional);
	}
	for (unsigned i = 0; i < w->scenario->nprocesses; i++)
		for (unsigned file = 0; file < w->scenario->nfiles; file++)
			for (unsigned page = 0; page < SCENARIO_MAX_PAGES; page++)
				sum += mix(i << 16 | file << 8 | page,
					   w->processes[i].ptes[file][page].kind << 4 |
						   w->processes[i].kernel_ptes[file][page].kind);
	return sum;
}
