/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * world.c - see world.h. Set up once, outside of any run, by the core's own functions; then saved, and put
 * back before each run.
 */
#include "world.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "alloc.h"
#include "client.h"
#include "crash.h"
#include "file.h"
#include "frontend.h"
#include "inode.h"
#include "kernel.h"
#include "leaks.h"
#include "layout.h"
#include "namespace.h"
#include "operate.h"
#include "region.h"
#include "rules.h"
#include "sync_lab.h"
#include "udax/policy.h"

#define ARENA_BYTES ((size_t)8 << 20)
#define LANE_BLOCKS 6 /* what a lane buffers is put back before each run */

struct lab {
	struct world *w; /* in the arena */
	struct sched *sched;
	struct mem *mem;
	struct region *medium;
	struct crash *crash; /* NULL: power never fails */
	struct explored explored;
	unsigned reached;
	char *err;
	size_t err_len;
};

static int fail(struct lab *lab, int err, const char *what)
{
	snprintf(lab->err, lab->err_len, "%s: %s", what, strerror(-err));
	return err;
}

/* ---- names, for those who look ------------------------------------------------------------------------ */

static void lock_name(void *ctx, const void *lock, enum lock_class class, char *buf, size_t len)
{
	const struct world *w = ctx;

	for (unsigned file = 0; file < w->scenario->nfiles; file++) {
		const struct inode *inode = w->inodes[file];
		const struct holder *holder = inode ? atomic_load(&inode->holder) : NULL;

		if (!inode)
			continue;
		if (lock == &inode->iolock || lock == &inode->mmaplock || lock == &inode->ilock ||
		    (holder && lock == &holder->lock)) {
			snprintf(buf, len, "%s %s", lock_class_name(class), file_name(w, file));
			return;
		}
	}
	snprintf(buf, len, "%s", lock_class_name(class));
}

static struct trace_state *add_state(struct trace_step *step)
{
	return step->nstate < TRACE_MAX_STATE ? &step->state[step->nstate++]
					      : &step->state[TRACE_MAX_STATE - 1];
}

static void describe_ptes(const struct process *p, unsigned file, unsigned page,
			  struct trace_step *step)
{
	static const char *const kinds[] = { "",       "read-only", "writable",
					     "zeroes", "SIGBUS",    "memory of its own" };
	const struct pte *direct = &p->ptes[file][page], *cached = &p->kernel_ptes[file][page];
	struct trace_state *state;

	if (direct->kind == PTE_NONE && cached->kind == PTE_NONE)
		return;
	state = add_state(step);
	snprintf(state->name, sizeof(state->name), "%.12s maps %.8s[%u]", p->name,
		 file_name(p->w, file), page);
	if (cached->kind != PTE_NONE)
		snprintf(state->value, sizeof(state->value), "folio, %s", kinds[cached->kind]);
	else if (direct->kind == PTE_READ || direct->kind == PTE_WRITE)
		snprintf(state->value, sizeof(state->value), "block %" PRIu64 ", %s", direct->pblk,
			 kinds[direct->kind]);
	else
		snprintf(state->value, sizeof(state->value), "%s", kinds[direct->kind]);
}

static void describe_folio(const struct world *w, unsigned file, unsigned page,
			   struct trace_step *step)
{
	const struct folio *folio = &w->files[file].folios[page];
	struct trace_state *state;

	if (!folio->present)
		return;
	state = add_state(step);
	snprintf(state->name, sizeof(state->name), "folio %.16s[%u]", file_name(w, file), page);
	snprintf(state->value, sizeof(state->value), "%s%s%s%s",
		 folio->uptodate ? "up to date" : "not up to date", folio->dirty ? ", dirty" : "",
		 folio->writeback ? ", written back" : "", folio->lock.owned ? ", locked" : "");
}

/* As the medium says, whatever a transaction is about to change. */
static void describe_block(struct world *w, unsigned file, unsigned page, struct trace_step *step)
{
	uint64_t pblk;
	const char *page_state = rules_page_state(w, file, page, &pblk);
	struct trace_state *state;

	if (!page_state)
		return;
	state = add_state(step);
	snprintf(state->name, sizeof(state->name), "%.16s[%u]", file_name(w, file), page);
	snprintf(state->value, sizeof(state->value), "block %" PRIu64 ", %s", pblk, page_state);
}

static void describe(void *ctx, struct trace_step *step)
{
	struct world *w = ctx;

	for (unsigned file = 0; file < w->scenario->nfiles; file++)
		for (unsigned page = 0; page < SCENARIO_MAX_PAGES; page++) {
			for (unsigned i = 0; i < w->scenario->nprocesses; i++)
				describe_ptes(&w->processes[i], file, page, step);
			describe_folio(w, file, page, step);
			describe_block(w, file, page, step);
		}
}

/* ---- setting up ---------------------------------------------------------------------------------------- */

static int make_volume(struct lab *lab)
{
	struct world *w = lab->w;
	struct format_options format = { .label = "lab",
					 .uuid = { 1 },
					 .lane_blocks = LANE_BLOCKS };
	struct volume_env env = { .sync = w->sync,
				  .mem = lab->mem,
				  .policy = w->policy,
				  .holder_ops = &front_holder_ops,
				  .holder_ctx = w };
	char why[256];
	int err = volume_format(lab->medium, w->sync, lab->mem, &format);

	if (err)
		return fail(lab, err, "the volume cannot be formatted");
	w->nlive = arena_nlive(lab->mem);
	err = volume_mount(lab->medium, &env, &w->vol, why, sizeof(why));
	if (err)
		snprintf(lab->err, lab->err_len, "the volume cannot be mounted: %s", why);
	return err;
}

static int write_page(struct world *w, unsigned file, unsigned page)
{
	unsigned char data[BLOCK_BYTES] = { 0 };
	int64_t n;

	for (unsigned i = 0; i < PAGE_CELLS; i++) {
		uint64_t value = VALUE_INITIAL | file << 8 | (page * PAGE_CELLS + i);

		w->history.cells[file][page * PAGE_CELLS + i] = value;
		memcpy(data + (size_t)i * CELL_BYTES, &value, sizeof(value));
	}
	n = file_write(w->inodes[file], (uint64_t)page * BLOCK_BYTES, data, sizeof(data),
		       IO_UNCACHED | IO_MAY_WAIT);
	return n < 0 ? (int)n : 0;
}

static int make_file(struct lab *lab, unsigned file)
{
	struct world *w = lab->w;
	const struct scenario_file *text = &w->scenario->files[file];
	struct layout_ctx ctx = { .may_wait = true };
	struct cred cred = { 0 };
	struct inode *root;
	int err = inode_get(w->vol, ROOT_INO, &root);

	if (!err) {
		err = ns_create(root, text->name, strlen(text->name), S_IFREG | 0600, &cred, 0, 0,
				&w->inodes[file]);
		inode_put(root);
	}
	for (unsigned page = 0; !err && page < SCENARIO_MAX_PAGES; page++) {
		if (text->pages[page] == PAGE_WRITTEN)
			err = write_page(w, file, page);
		else if (text->pages[page] == PAGE_UNWRITTEN)
			err = layout_fallocate(w->inodes[file], FALLOC_FL_KEEP_SIZE,
					       (uint64_t)page * BLOCK_BYTES, BLOCK_BYTES, &ctx);
	}
	if (!err && inode_size(w->inodes[file]) != (uint64_t)text->size_cells * CELL_BYTES)
		err = layout_truncate(w->inodes[file], (uint64_t)text->size_cells * CELL_BYTES,
				      &ctx);
	if (err)
		return fail(lab, err, text->name);
	for (unsigned cell = text->size_cells; cell < FILE_CELLS; cell++)
		w->history.cells[file][cell] = 0;
	w->history.sizes[file] = w->files[file].size_cells = text->size_cells;
	return 0;
}

/* All but @wanted of the free blocks are taken, by a file that nobody looks at. */
static int leave_free(struct lab *lab, unsigned wanted)
{
	struct world *w = lab->w;
	struct layout_ctx ctx = { .may_wait = true };
	struct cred cred = { 0 };
	struct inode *root, *ballast = NULL;
	uint64_t page = 0;
	int err = inode_get(w->vol, ROOT_INO, &root);

	if (err)
		return err;
	err = ns_create(root, ".ballast", 8, S_IFREG | 0600, &cred, 0, 0, &ballast);
	inode_put(root);
	while (!err && alloc_nfree(w->vol) > wanted)
		err = layout_fallocate(ballast, FALLOC_FL_KEEP_SIZE, page++ * BLOCK_BYTES,
				       BLOCK_BYTES, &ctx);
	if (ballast)
		inode_put(ballast);
	return err;
}

/* What free blocks hold must never be seen. */
static void poison_free_blocks(struct world *w)
{
	uint64_t nblocks = atomic_load(&w->vol->nblocks);

	for (uint64_t pblk = w->vol->first_data_blk; pblk < nblocks; pblk++) {
		if (!rules_block_is_free(w, pblk) && !rules_block_is_unwritten(w, pblk))
			continue;
		for (unsigned i = 0; i < PAGE_CELLS; i++) {
			uint64_t value = VALUE_POISON | pblk << 8 | i;

			memcpy(medium_base(w->medium) + (pblk << BLOCK_SHIFT) +
				       (size_t)i * CELL_BYTES,
			       &value, sizeof(value));
		}
	}
}

static int open_files(struct lab *lab, struct process *p)
{
	const struct scenario_process *text = &lab->w->scenario->processes[p->index];
	int err = 0;

	for (unsigned file = 0; !err && file < lab->w->scenario->nfiles; file++) {
		const struct scenario_open *open = &text->files[file];

		if (open->open)
			err = kernel_open(p, file, open->direct, open->read_only);
		if (!err && open->attached)
			err = client_attach(p, file, !open->read_only);
		if (err)
			return fail(lab, err, file_name(lab->w, file));
	}
	return 0;
}

static int make_world(struct lab *lab, const struct scenario *sc, const struct udax_policy *policy)
{
	struct world *w = mem_alloc(lab->mem, sizeof(*w));
	int err;

	if (!w)
		return -ENOMEM;
	lab->w = w;
	*w = (struct world){ .scenario = sc,
			     .policy = policy,
			     .sched = lab->sched,
			     .mem = lab->mem,
			     .medium = lab->medium,
			     .sync = sync_lab_new(lab->sched, lab->mem),
			     .free_workers = sc->nworkers,
			     .reached = &lab->reached };
	w->blocks = mem_alloc(lab->mem, (sc->volume_bytes >> BLOCK_SHIFT) * sizeof(*w->blocks));
	w->history.nfiles = sc->nfiles;
	if (!w->sync || !w->blocks)
		return -ENOMEM;
	if (crash_wanted(sc)) {
		lab->crash = w->crash = crash_new(w);
		if (!w->crash)
			return -ENOMEM;
	}
	err = make_volume(lab);
	for (unsigned file = 0; !err && file < sc->nfiles; file++)
		err = make_file(lab, file);
	if (!err && sc->free_pages != UINT_MAX)
		err = leave_free(lab, sc->free_pages);
	for (unsigned i = 0; !err && i < sc->nprocesses; i++) {
		w->processes[i] = (struct process){ .w = w,
						    .index = i,
						    .name = sc->processes[i].name,
						    .born = !sc->processes[i].forked,
						    .alive = !sc->processes[i].forked,
						    .client.ops = &front_client_ops };
		err = open_files(lab, &w->processes[i]);
	}
	if (!err)
		poison_free_blocks(w);
	return err;
}

/* ---- running -------------------------------------------------------------------------------------------- */

static void prepare(void *ctx)
{
	struct lab *lab = ctx;
	struct world *w = lab->w;

	arena_restore(lab->mem);
	medium_restore(lab->medium);
	sched_reset(lab->sched);
	lab->sched->failures = w->scenario->nfailures;
	for (unsigned i = 0; i < w->scenario->nthreads; i++) {
		const struct scenario_thread *text = &w->scenario->threads[i];

		w->threads[i] = (struct thread){ .w = w, .text = text, .index = i };
		sched_spawn(lab->sched, text->name, w->scenario->processes[text->process].name,
			    false, operate_thread, &w->threads[i]);
	}
	for (unsigned i = 0; i < w->scenario->nprocesses; i++)
		client_start(&w->processes[i]);
}

/* Whether a fault of the process's own waits for its answer: when it is dead, only a deadline ends that. */
static bool waits_for_itself(const struct world *w, const struct process *p)
{
	for (unsigned i = 0; i < w->sched->ntasks; i++) {
		const struct task *task = &w->sched->tasks[i];

		if (!task->ended && task->deadline_ns != UINT64_MAX &&
		    strcmp(task->process, p->name) == 0)
			return true;
	}
	return false;
}

/*
 * Deadlines are for clients that are stopped or deaf. One that runs must come to an answer by itself, one
 * that is dead must be forgotten, and nobody waits for a deadline when nobody is asked.
 */
static bool only_time_helps(void *ctx, char *buf, size_t len)
{
	struct world *w = ctx;
	unsigned nasked = 0;

	for (unsigned file = 0; file < w->scenario->nfiles; file++) {
		const struct process *able = rules_is_unanswered(w, file, &nasked);

		if (!able || (!able->alive && waits_for_itself(w, able)))
			continue;
		snprintf(buf, len, "%s cannot answer a recall of %s before its deadline",
			 able->name, file_name(w, file));
		return true;
	}
	for (unsigned i = 0; i < w->sched->ntasks && !nasked; i++) {
		const struct task *task = &w->sched->tasks[i];

		if (task->ended || task->deadline_ns == UINT64_MAX ||
		    strcmp(task->waits_for, "a wake-up") != 0)
			continue;
		snprintf(buf, len, "%s waits for a deadline, and nobody has anything to answer",
			 task->name);
		return true;
	}
	return false;
}

static bool memory_fails(void *sched)
{
	return sched_fails(sched, "there is no memory");
}

static void examine(void *ctx)
{
	struct lab *lab = ctx;

	rules_check_end(lab->w);
	if (lab->sched->end == RUN_COMPLETE && !lab->w->crashed)
		leaks_check(lab->w);
}

static uint64_t outcome(void *ctx)
{
	return rules_outcome(((struct lab *)ctx)->w);
}

static bool is_supported(struct lab *lab, const struct scenario *sc)
{
	for (unsigned i = 0; i < sc->nthreads; i++)
		for (unsigned j = 0; j < sc->threads[i].nops; j++) {
			const struct scenario_op *op = &sc->threads[i].ops[j];
			const char *why = operate_supported(op->kind);

			if (!why)
				continue;
			snprintf(lab->err, lab->err_len, "%s, line %d: '%s' %s", sc->name, op->line,
				 scenario_op_name(op->kind), why);
			return false;
		}
	return true;
}

struct lab *lab_new(const struct scenario *scenario, const struct udax_policy *policy, char *err,
		    size_t err_len)
{
	struct lab *lab = calloc(1, sizeof(*lab));

	if (!lab)
		return NULL;
	lab->err = err;
	lab->err_len = err_len;
	lab->sched = sched_new();
	lab->mem = arena_new(ARENA_BYTES);
	lab->medium = medium_new(scenario->volume_bytes, scenario->granule_bytes);
	snprintf(err, err_len, "out of memory");
	if (!lab->sched || !lab->mem || !lab->medium || !is_supported(lab, scenario) ||
	    make_world(lab, scenario, policy) || arena_save(lab->mem)) {
		lab_delete(lab);
		return NULL;
	}
	if (lab->sched->end == RUN_BROKEN) {
		snprintf(err, err_len, "setting up: %.200s", lab->sched->broken);
		lab_delete(lab);
		return NULL;
	}
	medium_save(lab->medium);
	medium_watch_stores(lab->medium, rules_watch_store, lab->w);
	arena_watch(lab->mem, memory_fails, lab->sched);
	if (lab->w->crash)
		crash_watch(lab->w);
	lab->sched->lock_name = lock_name;
	lab->sched->describe = describe;
	lab->sched->look_ctx = lab->w;
	lab->sched->only_time_helps = only_time_helps;
	lab->explored = (struct explored){ lab->sched, lab, prepare, examine, outcome };
	return lab;
}

void lab_delete(struct lab *lab)
{
	if (!lab)
		return;
	crash_delete(lab->crash);
	if (lab->medium)
		region_close(lab->medium);
	arena_delete(lab->mem);
	sched_delete(lab->sched);
	free(lab);
}

const struct scenario_expect *lab_unreached(const struct lab *lab)
{
	const struct scenario *sc = lab->w->scenario;

	for (unsigned i = 0; i < sc->nexpects; i++)
		if (sc->expects[i].kind == EXPECT_REACHED && !(lab->reached >> i & 1))
			return &sc->expects[i];
	return NULL;
}

const struct explored *lab_explored(struct lab *lab)
{
	return &lab->explored;
}

/* ---- looking at one run ---------------------------------------------------------------------------------- */

int lab_trace(struct lab *lab, const char *schedule, struct trace *ret)
{
	const struct scenario *sc = lab->w->scenario;
	struct sched *s = lab->sched;
	int end;

	*ret = (struct trace){ .nsteps = 0 };
	s->trace = ret;
	s->trace_room = 0;
	end = explore_replay(&lab->explored, schedule, &ret->preemptions);
	s->trace = NULL;
	if (end < 0) {
		trace_free(ret);
		return end;
	}
	snprintf(ret->scenario, sizeof(ret->scenario), "%s", sc->name);
	snprintf(ret->title, sizeof(ret->title), "%s", sc->title);
	snprintf(ret->policy, sizeof(ret->policy), "%s", lab->w->policy->name);
	snprintf(ret->schedule, sizeof(ret->schedule), "%s", schedule);
	snprintf(ret->rule, sizeof(ret->rule), "%s", s->rule);
	snprintf(ret->broken, sizeof(ret->broken), "%s", s->broken);
	ret->ntasks = s->ntasks < TRACE_MAX_TASKS ? s->ntasks : TRACE_MAX_TASKS;
	for (unsigned i = 0; i < ret->ntasks; i++) {
		memcpy(ret->tasks[i].name, s->tasks[i].name, sizeof(ret->tasks[i].name));
		memcpy(ret->tasks[i].process, s->tasks[i].process, sizeof(ret->tasks[i].process));
	}
	for (size_t i = 0; i < ret->nsteps; i++)
		ret->tasks[ret->steps[i].task].shown = true;
	return 0;
}

void trace_free(struct trace *trace)
{
	free(trace->steps);
	trace->steps = NULL;
	trace->nsteps = 0;
}
