/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * facts_lab.c - the simulated bed: src/lab/kernel.c as the lab has it, and behind frontend.h the daemon of
 * facts.h instead of the core. Every interleaving up to PREEMPTIONS is run, and what each has come to is noted.
 */
#include "facts.h"

#include <errno.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "explore.h"
#include "frontend.h"
#include "gate.h"
#include "kernel.h"
#include "trap.h"

#define PREEMPTIONS 2
#define MAX_OUTCOMES 64

/* One run begins with a copy of it as it was set up. */
struct plain {
	struct world w;
	uint64_t cells[FACT_CELLS];
	unsigned size;
	struct object medium, stages[FACT_STAGES];
	bool reached[FACT_STAGES];
	bool asked[SCHED_MAX_TASKS]; /* it is in `at` */
	bool stuck;		     /* nobody can go on */
	char outcome[OUTCOME];
};

static struct {
	struct bed bed;
	struct scenario scenario;
	struct sched *sched;
	struct plain *now, *first;
	char outcomes[MAX_OUTCOMES][OUTCOME];
	unsigned noutcomes;
} lab;

/* ---- stages ----------------------------------------------------------------------------------------- */

static void reach(struct bed *b, unsigned stage)
{
	(void)b;
	sched_point(lab.sched, &lab.now->stages[stage], ACCESS_WRITE);
	lab.now->reached[stage] = true;
}

static bool is_reached(void *arg)
{
	return *(const bool *)arg;
}

static bool reached(struct bed *b, unsigned stage)
{
	(void)b;
	sched_point(lab.sched, &lab.now->stages[stage], ACCESS_READ);
	return lab.now->reached[stage];
}

/* Time is asked for by who awaits something in `at`, and helps when nobody else can go on. */
static bool only_time_helps(void *ctx, char *buf, size_t len)
{
	(void)ctx, (void)buf, (void)len;
	lab.now->stuck = true;
	return false;
}

static bool await(struct bed *b, unsigned stage)
{
	bool asked = lab.now->asked[lab.sched->current->id], ok;

	(void)b;
	do
		ok = sched_wait(lab.sched, is_reached, &lab.now->reached[stage],
				&lab.now->stages[stage], ACCESS_READ,
				asked ? lab.sched->now_ns + 1 : UINT64_MAX, "a stage", NULL);
	while (!ok && !lab.now->stuck);
	lab.now->stuck &= ok;
	return ok;
}

static void say(struct bed *b, const char *key, const char *value)
{
	(void)b;
	outcome_add(lab.now->outcome, OUTCOME, key, value);
}

/* ---- the program ------------------------------------------------------------------------------------ */

static struct process *program(void)
{
	return &lab.now->w.processes[0];
}

static bool bed_load(struct bed *b, unsigned cell, uint64_t *ret)
{
	(void)b;
	return kernel_load(program(), 0, cell, ret);
}

static bool bed_store(struct bed *b, unsigned cell, uint64_t value)
{
	(void)b;
	return kernel_store(program(), 0, cell, value);
}

static int bed_read(struct bed *b, unsigned cell, uint64_t *ret)
{
	(void)b;
	return kernel_read(program(), 0, cell, cell + 1, false, ret);
}

static int bed_write(struct bed *b, unsigned first, unsigned end, uint64_t value)
{
	uint64_t cells[FACT_CELLS];
	int n;

	(void)b;
	for (unsigned i = first; i < end; i++)
		cells[i - first] = value;
	n = kernel_write(program(), 0, first, end, false, false, cells);
	return n < 0 ? n : 0;
}

static int bed_append(struct bed *b, uint64_t value)
{
	const uint64_t cells[PAGE_CELLS] = { value, value };
	int n = kernel_write(program(), 0, 0, PAGE_CELLS, false, true, cells);

	(void)b;
	return n < 0 ? n : 0;
}

static int bed_truncate(struct bed *b, unsigned cells)
{
	(void)b;
	return kernel_truncate(program(), 0, cells);
}

static int bed_punch(struct bed *b, unsigned first, unsigned end)
{
	(void)b;
	return kernel_fallocate(program(), 0, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, first,
				end);
}

static int bed_fsync(struct bed *b)
{
	(void)b;
	return kernel_fsync(program(), 0);
}

static void bed_writeback(struct bed *b, unsigned cell)
{
	unsigned page = cell / PAGE_CELLS * PAGE_CELLS;

	(void)b;
	kernel_writeback(&lab.now->w, 0, page, page + PAGE_CELLS);
}

static void bed_change_mappings(struct bed *b)
{
	(void)b;
	klock_excl(lab.sched, &program()->mmap_lock, "mmap_lock");
	klock_unexcl(lab.sched, &program()->mmap_lock);
}

static void bed_open_again(struct bed *b)
{
	(void)b;
	kernel_open(program(), 0, false, false);
}

/* A descriptor alone is nothing in the lab: the handle lives as long as its last mapping. */
static void bed_close(struct bed *b)
{
	(void)b;
}

static void bed_unmap(struct bed *b)
{
	(void)b;
	kernel_close(program(), 0);
}

/* ---- the daemon ------------------------------------------------------------------------------------- */

static int bed_notify(struct bed *b, unsigned first, unsigned end)
{
	(void)b;
	kernel_notify(&lab.now->w, 0, (uint64_t)first * CELL_BYTES,
		      (uint64_t)(end - first) * CELL_BYTES);
	return 0; /* whatever came of it */
}

static uint64_t *bed_medium(struct bed *b, unsigned **ret_size)
{
	(void)b;
	sched_point(lab.sched, &lab.now->medium, ACCESS_WRITE);
	*ret_size = &lab.now->size;
	return lab.now->cells;
}

static bool worker_free(void *arg)
{
	return ((struct world *)arg)->free_workers;
}

static int ask(enum asked asked, enum moment moment, unsigned cell)
{
	const struct fact *fact = lab.bed.fact;
	int err = 0;

	if (lab.sched->current && fact->at) {
		unsigned id = lab.sched->current->id;

		lab.now->asked[id] = true;
		err = fact->at(&lab.bed, asked, moment, cell);
		lab.now->asked[id] = false;
	}
	return err;
}

static void work(struct world *w)
{
	sched_wait(w->sched, worker_free, w, &w->workers, ACCESS_WRITE, UINT64_MAX, "a worker",
		   NULL);
	w->free_workers--;
}

static void rest(struct world *w)
{
	w->free_workers++;
	sched_touch(w->sched, &w->workers, ACCESS_WRITE);
}

int front_open(struct process *p, unsigned file, bool direct, bool read_only)
{
	p->handles[file] = (struct handle){ .open = true,
					    .direct = direct,
					    .read_only = read_only,
					    .mode = direct ? MODE_UNCACHED : MODE_CACHED };
	return 0;
}

void front_release(struct process *p, unsigned file)
{
	work(p->w);
	ask(ASKED_RELEASE, ARRIVED, 0);
	p->handles[file].open = false;
	rest(p->w);
}

unsigned front_size(struct world *w, unsigned file)
{
	(void)file;
	sched_point(w->sched, &lab.now->medium, ACCESS_READ);
	return lab.now->size;
}

int front_read(struct world *w, unsigned file, unsigned first, unsigned end, int kind,
	       uint64_t *ret_cells)
{
	unsigned n = 0;
	int err;

	(void)file, (void)kind;
	work(w);
	memset(ret_cells, 0, (end - first) * sizeof(*ret_cells));
	err = ask(ASKED_READ, ARRIVED, first);
	sched_point(w->sched, &lab.now->medium, ACCESS_READ);
	for (; !err && first + n < end && first + n < lab.now->size; n++)
		ret_cells[n] = lab.now->cells[first + n];
	if (!err)
		err = ask(ASKED_READ, DONE, first);
	rest(w);
	return err ? err : (int)n;
}

int front_write(struct world *w, unsigned file, unsigned first, unsigned end, int kind, bool append,
		const uint64_t *cells, struct folio *folio)
{
	enum asked asked = kind == ADMIT_WRITEBACK ? ASKED_WRITEBACK : ASKED_WRITE;
	int err;

	(void)file, (void)append, (void)folio;
	work(w);
	err = ask(asked, ARRIVED, first);
	if (!err) {
		sched_point(w->sched, &lab.now->medium, ACCESS_WRITE);
		memcpy(&lab.now->cells[first], cells, (end - first) * sizeof(*cells));
		if (end > lab.now->size)
			lab.now->size = end;
		err = ask(asked, DONE, first);
	}
	rest(w);
	return err ? err : (int)(end - first);
}

int front_truncate(struct world *w, unsigned file, unsigned cells)
{
	int err;

	(void)file;
	work(w);
	err = ask(ASKED_SIZE, ARRIVED, cells);
	if (!err) {
		sched_point(w->sched, &lab.now->medium, ACCESS_WRITE);
		for (unsigned i = cells < lab.now->size ? cells : lab.now->size; i < FACT_CELLS;
		     i++)
			lab.now->cells[i] = 0;
		lab.now->size = cells;
		err = ask(ASKED_SIZE, DONE, cells);
	}
	rest(w);
	return err;
}

int front_fallocate(struct world *w, unsigned file, int mode, unsigned first, unsigned end)
{
	int err;

	(void)file, (void)mode;
	work(w);
	err = ask(ASKED_PUNCH, ARRIVED, first);
	if (!err) {
		sched_point(w->sched, &lab.now->medium, ACCESS_WRITE);
		memset(&lab.now->cells[first], 0, (end - first) * sizeof(uint64_t));
		err = ask(ASKED_PUNCH, DONE, first);
	}
	rest(w);
	return err;
}

int front_fsync(struct process *p, unsigned file)
{
	(void)p, (void)file;
	return 0;
}

int front_copy(struct world *w, unsigned file, unsigned first, unsigned end, unsigned other,
	       unsigned other_first)
{
	(void)w, (void)file, (void)first, (void)end, (void)other, (void)other_first;
	return -EOPNOTSUPP;
}

int front_seek(struct world *w, unsigned file, unsigned first, unsigned *ret_cell)
{
	(void)w, (void)file, (void)first, (void)ret_cell;
	return -EOPNOTSUPP;
}

/* ---- runs ------------------------------------------------------------------------------------------- */

static const struct bed_ops ops = {
	.load = bed_load,
	.store = bed_store,
	.read = bed_read,
	.write = bed_write,
	.append = bed_append,
	.truncate = bed_truncate,
	.punch = bed_punch,
	.fsync = bed_fsync,
	.writeback = bed_writeback,
	.change_mappings = bed_change_mappings,
	.open_again = bed_open_again,
	.close = bed_close,
	.unmap = bed_unmap,
	.clear_direct = bed_close, /* what is so is not looked at again */
	.notify = bed_notify,
	.medium = bed_medium,
	.reach = reach,
	.await = await,
	.reached = reached,
	.say = say,
};

static void thread_main(void *arg)
{
	((const struct fact_thread *)arg)->main(&lab.bed);
}

static void prepare(void *ctx)
{
	(void)ctx;
	memcpy(lab.now, lab.first, sizeof(*lab.now));
	sched_reset(lab.sched);
	for (unsigned i = 0; i < FACT_THREADS && lab.bed.fact->threads[i].main; i++) {
		char name[8];

		snprintf(name, sizeof(name), "t%u", i + 1);
		sched_spawn(lab.sched, name, "p", false, thread_main,
			    (void *)(uintptr_t)&lab.bed.fact->threads[i]);
	}
}

static void examine(void *ctx)
{
	(void)ctx;
}

static uint64_t note(const char *outcome)
{
	unsigned i = 0;

	while (i < lab.noutcomes && strcmp(lab.outcomes[i], outcome) != 0)
		i++;
	if (i == lab.noutcomes && i < MAX_OUTCOMES)
		snprintf(lab.outcomes[lab.noutcomes++], OUTCOME, "%s", outcome);
	return i;
}

static uint64_t outcome(void *ctx)
{
	(void)ctx;
	return note(lab.now->outcome);
}

static bool set_up(const struct fact *fact)
{
	lab.first = calloc(2, sizeof(*lab.first));
	lab.sched = sched_new();
	if (!lab.first || !lab.sched)
		return false;
	lab.now = lab.first + 1;
	lab.bed = (struct bed){ &ops, fact };
	lab.scenario = (struct scenario){ .nfiles = 1,
					  .nprocesses = 1,
					  .nworkers = fact->nworkers,
					  .without = fact->no_keep ? WITHOUT_KEEP_CACHE : 0 };
	snprintf(lab.scenario.files[0].name, SCENARIO_NAME, "a");
	lab.now->w = (struct world){ .scenario = &lab.scenario,
				     .sched = lab.sched,
				     .free_workers = fact->nworkers };
	lab.now->w.processes[0] =
		(struct process){ .w = &lab.now->w, .name = "p", .born = true, .alive = true };
	lab.now->size = fact->size_cells;
	for (unsigned i = 0; i < fact->size_cells; i++)
		lab.now->cells[i] = OLD;
	lab.sched->only_time_helps = only_time_helps;
	if (kernel_open(program(), 0, fact->direct, false))
		return false;
	memcpy(lab.first, lab.now, sizeof(*lab.first));
	return true;
}

int fact_in_lab(const struct fact *fact)
{
	struct explore_options options = {
		.how = EXPLORE_EXHAUSTIVE, .reduce = true, .preemptions = PREEMPTIONS, .timeout = 60
	};
	struct explored what = { .prepare = prepare, .examine = examine, .outcome = outcome };
	struct explore_result result;

	if (!set_up(fact))
		return 1;
	what.sched = lab.sched;
	if (explore(&what, &options, &result))
		return 1;
	if (result.broken) {
		char text[OUTCOME];

		snprintf(text, sizeof(text), "%s: %s (%.200s)", result.rule, result.text,
			 result.schedule);
		note(text);
	}
	for (unsigned i = 0; i < lab.noutcomes; i++)
		puts(lab.outcomes[i]);
	if (!result.broken && !result.finished)
		fprintf(stderr, "%s: not searched to the end\n", fact->name);
	sched_delete(lab.sched);
	free(lab.first);
	return !result.broken && !result.finished;
}
