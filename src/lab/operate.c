/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * operate.c - see operate.h. An operation is told to the history when it begins and when it is over, and
 * what it showed is judged at once (rules.h).
 */
#include "operate.h"

#include <errno.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "frontend.h"
#include "inode.h"
#include "kernel.h"
#include "memory.h"
#include "region.h"
#include "rules.h"

/* One operation under way. */
struct operation {
	struct world *w;
	struct process *p;
	const struct scenario_op *op;
	unsigned thread, index;
	int result;
	unsigned events[FILE_CELLS], nevents;
};

static uint64_t stored_value(const struct operation *o, unsigned cell)
{
	return VALUE_STORED | (uint64_t)(o->thread << 8 | o->index) << 16 |
	       (uint64_t)o->op->file << 8 | cell;
}

/* ---- history ---------------------------------------------------------------------------------------- */

static unsigned begin(struct operation *o, enum event_kind kind, unsigned cell, uint64_t value)
{
	struct event event = { .kind = kind,
			       .file = o->op->file,
			       .cell = cell,
			       .end = o->op->end,
			       .other = o->op->other_file,
			       .other_cell = o->op->other_first,
			       .value = value,
			       .thread = o->thread,
			       .op = o->index };
	unsigned number;

	sched_touch(o->w->sched, &o->w->time, ACCESS_READ);
	number = history_begin(&o->w->history, &event);
	if (number == HISTORY_MAX)
		sched_fail(o->w->sched, NULL, "no-progress", "the history is full");
	o->events[o->nevents++] = number;
	return number;
}

/* For an operation that does the same to every cell of its range. */
static void begin_each(struct operation *o, enum event_kind kind)
{
	for (unsigned cell = o->op->first; cell < o->op->end; cell++)
		begin(o, kind, cell, stored_value(o, cell));
}

static void end_one(struct operation *o, unsigned number, bool done)
{
	sched_touch(o->w->sched, &o->w->time, ACCESS_WRITE);
	if (done)
		history_end(&o->w->history, number);
	else
		history_drop(&o->w->history, number);
}

static void end_all(struct operation *o, bool done)
{
	for (unsigned i = 0; i < o->nevents; i++)
		end_one(o, o->events[i], done);
}

/* Whether an error of a load may be one of memory, and not what a plain file would give. */
static bool may_have_failed(const struct operation *o)
{
	return o->w->sched->failures < o->w->scenario->nfailures;
}

/*
 * A change of the layout that has failed half-way goes on some day: until then it is under way. One that has
 * failed otherwise has changed nothing.
 */
static void end_change(struct operation *o)
{
	if (!o->result || !atomic_load(&o->w->inodes[o->op->file]->half_changed))
		end_all(o, !o->result);
}

static struct event *event_of(struct operation *o, unsigned i)
{
	return &o->w->history.events[o->events[i]];
}

/* ---- mappings --------------------------------------------------------------------------------------- */

static bool is_attached(const struct operation *o)
{
	return o->p->attachments[o->op->file];
}

/*
 * A limit of FUSE, and of the kernel's mapping only: what is stored to a page while that page is being
 * punched can be dropped with the kernel's copy (docs/RACES.md, "What is left").
 */
static bool may_be_wiped(const struct history *h, const struct event *store)
{
	for (unsigned i = 0; i < h->nevents; i++) {
		const struct event *e = &h->events[i];

		if (e->kind == EVENT_ZERO && e->file == store->file && e->over > store->begin &&
		    e->cell / PAGE_CELLS == store->cell / PAGE_CELLS)
			return true;
	}
	return false;
}

/*
 * Another limit, of the kernel's copies: a truncate cuts the medium first and the cache after the reply; what
 * is read in between has no bytes behind the new EOF, and is filled up with zeroes to the old one.
 */
static bool may_be_cut_off(const struct history *h, const struct event *seen)
{
	for (unsigned i = 0; i < h->nevents; i++) {
		const struct event *e = &h->events[i];

		if (e->kind == EVENT_TRUNCATE && e->file == seen->file && e->over > seen->begin &&
		    e->cell <= seen->cell)
			return !seen->value;
	}
	return false;
}

static bool is_cached(const struct operation *o)
{
	return !is_attached(o) && o->p->handles[o->op->file].mode == MODE_CACHED;
}

static void op_load(struct operation *o)
{
	struct process *p = o->p;

	for (unsigned cell = o->op->first; cell < o->op->end; cell++) {
		unsigned number = begin(o, EVENT_LOAD, cell, 0);
		struct event *e = &o->w->history.events[number];
		uint64_t value = 0;
		bool direct = is_attached(o);
		bool there = direct ? client_load(p, o->op->file, cell, &value)
				    : kernel_load(p, o->op->file, cell, &value);

		/*
		 * Of one who is dead, or late, nothing is promised but that he sees nobody else's; nor
		 * of a private view of a file in uncached mode.
		 */
		e->value = there ? value : SEEN_NOTHING;
		e->optional = !p->alive || p->hung_up ||
			      client_is_late(p, o->op->file, cell / PAGE_CELLS) ||
			      (!is_attached(o) && !is_cached(o)) ||
			      (is_cached(o) && may_be_cut_off(&o->w->history, e));
		o->result = there ? 0 : -EFAULT;
		/* What another thread has detached is not there any more. */
		if (!there &&
		    (may_have_failed(o) || (direct && !front_is_attached(p, o->op->file)) ||
		     rules_page_is_bad(o->w, o->op->file, cell / PAGE_CELLS))) {
			end_one(o, number, false);
			continue;
		}
		end_one(o, number, true);
		rules_check_seen(o->w, number);
	}
	o->nevents = 0;
}

static void op_store(struct operation *o)
{
	struct process *p = o->p;

	for (unsigned cell = o->op->first; cell < o->op->end; cell++) {
		uint64_t value = stored_value(o, cell);
		unsigned number = begin(o, EVENT_STORE, cell, value);
		struct event *e = &o->w->history.events[number];
		bool direct = is_attached(o);
		bool late = client_is_late(p, o->op->file, cell / PAGE_CELLS);
		bool there = direct ? client_store(p, o->op->file, cell, value)
				    : kernel_store(p, o->op->file, cell, value);

		e->cached = !direct;
		e->optional = !there || late || !p->alive ||
			      client_is_late(p, o->op->file, cell / PAGE_CELLS) ||
			      (!direct && may_be_wiped(&o->w->history, e));
		end_one(o, number, true);
		o->result = there ? 0 : -EFAULT;
	}
	o->nevents = 0;
}

/* ---- system calls ----------------------------------------------------------------------------------- */

static void op_read(struct operation *o)
{
	uint64_t cells[FILE_CELLS] = { 0 };
	int n;

	begin_each(o, EVENT_READ);
	n = kernel_read(o->p, o->op->file, o->op->first, o->op->end, o->op->flags & OPF_DIRECT,
			cells);
	o->result = n < 0 ? n : 0;
	for (unsigned i = 0; i < o->nevents; i++) {
		struct event *e = event_of(o, i);

		e->value = n > (int)i ? cells[i] : SEEN_NOTHING;
		e->optional = is_cached(o) && !(o->op->flags & OPF_DIRECT) &&
			      may_be_cut_off(&o->w->history, e);
	}
	end_all(o, n >= 0);
	for (unsigned i = 0; n >= 0 && i < o->nevents; i++)
		rules_check_seen(o->w, o->events[i]);
}

static void op_write(struct operation *o)
{
	uint64_t cells[FILE_CELLS];
	unsigned len = o->op->end - o->op->first;
	int n;

	for (unsigned i = 0; i < len; i++)
		cells[i] = stored_value(o, o->op->first + i);
	begin_each(o, EVENT_WRITE);
	n = kernel_write(o->p, o->op->file, o->op->first, o->op->end, o->op->flags & OPF_DIRECT,
			 false, cells);
	o->result = n < 0 ? n : 0;
	for (unsigned i = 0; i < o->nevents; i++)
		end_one(o, o->events[i], n > (int)i);
}

static void op_append(struct operation *o)
{
	uint64_t value = stored_value(o, 0), cells[PAGE_CELLS] = { value, value | 1 };
	int n;

	begin(o, EVENT_APPEND, 0, value);
	n = kernel_write(o->p, o->op->file, 0, PAGE_CELLS, o->op->flags & OPF_DIRECT, true, cells);
	o->result = n < 0 ? n : 0;
	end_all(o, n >= 0);
}

static void op_truncate(struct operation *o)
{
	begin(o, EVENT_TRUNCATE, o->op->first, 0);
	o->result = kernel_truncate(o->p, o->op->file, o->op->first);
	end_change(o);
}

static void op_fallocate(struct operation *o)
{
	bool grow = o->op->flags & OPF_GROW;
	int mode = grow ? 0 : FALLOC_FL_KEEP_SIZE;

	if (o->op->kind == OP_PUNCH)
		mode |= FALLOC_FL_PUNCH_HOLE;
	else if (o->op->kind == OP_ZERO)
		mode |= FALLOC_FL_ZERO_RANGE;
	if (o->op->kind != OP_ALLOCATE)
		begin_each(o, EVENT_ZERO);
	if (grow)
		begin(o, EVENT_GROW, o->op->end, 0);
	o->result = kernel_fallocate(o->p, o->op->file, mode, o->op->first, o->op->end);
	end_change(o);
}

static void op_shift(struct operation *o)
{
	bool insert = o->op->kind == OP_INSERT;

	begin(o, insert ? EVENT_INSERT : EVENT_COLLAPSE, o->op->first, 0);
	o->result = front_fallocate(o->w, o->op->file,
				    insert ? FALLOC_FL_INSERT_RANGE : FALLOC_FL_COLLAPSE_RANGE,
				    o->op->first, o->op->end);
	end_change(o);
}

static void op_exchange(struct operation *o)
{
	begin(o, EVENT_EXCHANGE, o->op->first, 0);
	o->result = front_exchange(o->w, o->op->file, o->op->first, o->op->end, o->op->other_file,
				   o->op->other_first);
	end_change(o);
}

static void op_copy(struct operation *o)
{
	int n;

	begin(o, EVENT_COPY, o->op->first, 0);
	n = kernel_copy(o->p, o->op->file, o->op->first, o->op->end, o->op->other_file,
			o->op->other_first);
	o->result = n < 0 ? n : 0;
	end_all(o, n >= 0);
}

static void op_seek(struct operation *o)
{
	unsigned cell;

	o->result = kernel_seek(o->p, o->op->file, o->op->first, &cell);
}

/* ---- opening, attaching ------------------------------------------------------------------------------ */

static void op_open(struct operation *o)
{
	const struct scenario_op *op = o->op;

	if (op->kind == OP_OPEN)
		o->result = kernel_open(o->p, op->file, op->flags & OPF_DIRECT,
					op->flags & OPF_READ_ONLY);
	else
		o->result = kernel_close(o->p, op->file);
}

static void op_attach(struct operation *o)
{
	if (o->op->kind == OP_ATTACH)
		o->result = client_attach(o->p, o->op->file, !(o->op->flags & OPF_READ_ONLY));
	else
		client_detach(o->p, o->op->file);
}

/* ---- the kernel by itself ----------------------------------------------------------------------------- */

/* What was stored before it began, and is not stored to any more, is durable when it returns. */
static void op_fsync(struct operation *o)
{
	struct history *h = &o->w->history;
	unsigned nevents = h->nevents;
	bool over[HISTORY_MAX];

	sched_touch(o->w->sched, &o->w->time, ACCESS_READ);
	for (unsigned i = 0; i < nevents; i++)
		over[i] = h->events[i].over != FOR_EVER;
	o->result = kernel_fsync(o->p, o->op->file);
	for (unsigned i = 0; !o->result && i < nevents; i++)
		if (over[i] && h->events[i].file == o->op->file)
			h->events[i].synced = true;
	sched_touch(o->w->sched, &o->w->time, ACCESS_WRITE);
}

static void op_kernel(struct operation *o)
{
	const struct scenario_op *op = o->op;

	if (op->kind == OP_READAHEAD)
		kernel_readahead(o->p, op->file, op->first, op->end);
	else if (op->kind == OP_WRITEBACK)
		kernel_writeback(o->w, op->file, op->first, op->end);
	else if (op->kind == OP_DROP)
		kernel_drop(o->w, op->file, op->first, op->end);
	else
		op_fsync(o);
}

/* ---- signals ------------------------------------------------------------------------------------------ */

/* All that it had mapped is gone with it. */
static void kill_process(struct process *p)
{
	struct sched *s = p->w->sched;

	p->alive = false;
	for (unsigned file = 0; file < p->w->scenario->nfiles; file++)
		for (unsigned page = 0; page < SCENARIO_MAX_PAGES; page++) {
			p->ptes[file][page].kind = PTE_NONE;
			sched_touch(s, &p->ptes[file][page].object, ACCESS_WRITE);
		}
	front_gone(p);
	kernel_exit(p);
}

static void op_signal(struct operation *o)
{
	struct process *target = &o->w->processes[o->op->process];
	struct sched *s = o->w->sched;

	sched_point(s, &target->object, ACCESS_WRITE);
	switch (o->op->kind) {
	case OP_STOP:
		target->stopped = true;
		break;
	case OP_CONTINUE:
		target->stopped = false;
		break;
	case OP_HANG_UP:
		target->hung_up = true;
		atomic_store(&target->client.gone, true);
		for (unsigned file = 0; file < o->w->scenario->nfiles; file++)
			if (target->attachments[file])
				grant_wake(target->attachments[file]);
		break;
	default:
		if (target->alive)
			kill_process(target);
	}
}

/* ---- I/O from a mapping, fork --------------------------------------------------------------------------- */

static uint64_t pinned_block(const struct pte *pte)
{
	return pte->kind == PTE_READ || pte->kind == PTE_WRITE ? pte->pblk : 0;
}

/*
 * It goes through a buffer of its own: who handed out the page of a mapping would go on with it when it is
 * somebody else's, and an acknowledgement cannot wait for that.
 */
static void op_pin(struct operation *o)
{
	struct thread *t = &o->w->threads[o->thread];
	unsigned page = o->op->first / PAGE_CELLS;

	for (unsigned i = 0; i < PAGE_CELLS; i++) {
		unsigned cell = o->op->first + i, number = begin(o, EVENT_LOAD, cell, 0);
		bool there = is_attached(o) ? client_load(o->p, o->op->file, cell, &t->pinned[i])
					    : kernel_load(o->p, o->op->file, cell, &t->pinned[i]);

		if (!there)
			t->pinned[i] = SEEN_NOTHING;
		t->pin_events[i] = number;
		t->pinned_blk = pinned_block(&o->p->ptes[o->op->file][page]);
		o->w->history.events[number].optional = client_is_late(o->p, o->op->file, page);
		o->result = there ? 0 : -EFAULT;
	}
}

/* What stands now in the block that was mapped then. */
static void look_through_pin(struct operation *o, struct thread *t)
{
	struct world *w = o->w;

	sched_point(w->sched, world_block(w, t->pinned_blk), ACCESS_READ);
	for (unsigned i = 0; i < PAGE_CELLS; i++)
		memcpy(&t->pinned[i],
		       medium_base(w->medium) + (t->pinned_blk << BLOCK_SHIFT) +
			       (size_t)i * CELL_BYTES,
		       sizeof(t->pinned[i]));
}

/* What it has taken goes on its way: any moment since the pin may be when it was so. */
static void op_unpin(struct operation *o)
{
	struct thread *t = &o->w->threads[o->thread];

	if (o->w->scenario->without & WITHOUT_BOUNCED_IO && t->pinned_blk)
		look_through_pin(o, t);
	for (unsigned i = 0; i < PAGE_CELLS; i++) {
		struct event *e = &o->w->history.events[t->pin_events[i]];

		e->value = t->pinned[i];
		e->optional |= !o->p->alive ||
			       client_is_late(o->p, e->file, e->cell / PAGE_CELLS) ||
			       (is_cached(o) && may_be_cut_off(&o->w->history, e));
		end_one(o, t->pin_events[i], true);
		rules_check_seen(o->w, t->pin_events[i]);
	}
}

static void op_unmap(struct operation *o)
{
	client_unmap(o->p, o->op->file, o->op->first / PAGE_CELLS, o->op->end / PAGE_CELLS);
}

/* ---- the medium ------------------------------------------------------------------------------------------ */

/* What was stored there is lost, and whoever looks is told: EIO. */
static void op_spoil(struct operation *o)
{
	struct world *w = o->w;
	struct history *h = &w->history;
	unsigned page = o->op->first / PAGE_CELLS;
	uint64_t pblk;

	sched_point(w->sched, &w->time, ACCESS_WRITE);
	if (!rules_page_state(w, o->op->file, page, &pblk))
		return;
	sched_log(w->sched, TRACE_KERNEL, NULL, "block %llu goes bad", (unsigned long long)pblk);
	region_mark_bad(w->medium, pblk << BLOCK_SHIFT, BLOCK_BYTES);
	sched_touch(w->sched, world_block(w, pblk), ACCESS_WRITE);
	for (unsigned i = 0; i < h->nevents; i++)
		if (h->events[i].file == o->op->file && h->events[i].cell / PAGE_CELLS == page)
			h->events[i].optional = true;
}

static void op_fork(struct operation *o)
{
	sched_point(o->w->sched, &o->p->object, ACCESS_READ);
	o->result = client_fork(o->p, &o->w->processes[o->op->process]);
}

/* ---- power ------------------------------------------------------------------------------------------ */

/* What is left is looked at when nobody runs any more (crash.c). */
static void op_crash(struct operation *o)
{
	sched_point(o->w->sched, &o->w->pending, ACCESS_WRITE);
	sched_log(o->w->sched, TRACE_KERNEL, NULL, "power fails");
	o->w->crashed = true;
	sched_stop(o->w->sched);
}

/* ---- waiting for each other ----------------------------------------------------------------------------- */

static unsigned syncs_of(const struct scenario_thread *thread)
{
	unsigned n = 0;

	for (unsigned i = 0; i < thread->nops; i++)
		n += thread->ops[i].kind == OP_SYNC;
	return n;
}

struct round {
	struct world *w;
	unsigned number;
};

static bool all_have_come(void *arg)
{
	const struct round *round = arg;
	const struct world *w = round->w;

	for (unsigned i = 0; i < w->scenario->nthreads; i++)
		if (syncs_of(&w->scenario->threads[i]) >= round->number &&
		    w->nsynced[i] < round->number)
			return false;
	return true;
}

static void op_sync(struct operation *o)
{
	struct round round = { o->w, ++o->w->nsynced[o->thread] };

	sched_touch(o->w->sched, &o->w->synced, ACCESS_WRITE);
	sched_wait(o->w->sched, all_have_come, &round, &o->w->synced, ACCESS_WRITE, UINT64_MAX,
		   "the others", NULL);
}

/* ---- all --------------------------------------------------------------------------------------------------- */

typedef void (*op_function)(struct operation *o);

static const op_function functions[OP_NR_KINDS] = {
	[OP_OPEN] = op_open,	      [OP_CLOSE] = op_open,	  [OP_ATTACH] = op_attach,
	[OP_DETACH] = op_attach,      [OP_LOAD] = op_load,	  [OP_STORE] = op_store,
	[OP_READ] = op_read,	      [OP_WRITE] = op_write,	  [OP_APPEND] = op_append,
	[OP_TRUNCATE] = op_truncate,  [OP_PUNCH] = op_fallocate,  [OP_ZERO] = op_fallocate,
	[OP_ALLOCATE] = op_fallocate, [OP_COLLAPSE] = op_shift,	  [OP_INSERT] = op_shift,
	[OP_EXCHANGE] = op_exchange,  [OP_COPY] = op_copy,	  [OP_FSYNC] = op_kernel,
	[OP_SEEK_DATA] = op_seek,     [OP_READAHEAD] = op_kernel, [OP_WRITEBACK] = op_kernel,
	[OP_DROP] = op_kernel,	      [OP_STOP] = op_signal,	  [OP_CONTINUE] = op_signal,
	[OP_HANG_UP] = op_signal,     [OP_KILL] = op_signal,	  [OP_SYNC] = op_sync,
	[OP_CRASH] = op_crash,	      [OP_PIN] = op_pin,	  [OP_UNPIN] = op_unpin,
	[OP_UNMAP] = op_unmap,	      [OP_SPOIL] = op_spoil,	  [OP_FORK] = op_fork,
};

const char *operate_supported(enum op_kind kind)
{
	return functions[kind] ? NULL : "is not simulated yet";
}

static void check_expected(struct operation *o)
{
	const struct scenario *sc = o->w->scenario;

	for (unsigned i = 0; i < sc->nexpects; i++) {
		const struct scenario_expect *e = &sc->expects[i];

		if (e->kind == EXPECT_CONTENT || e->thread != o->thread || e->op != o->index)
			continue;
		if (e->kind == EXPECT_REACHED)
			*o->w->reached |= (unsigned)(e->err == -o->result) << i;
		else if (e->err != -o->result)
			sched_fail(o->w->sched, NULL, "unexpected-result",
				   "'%s' gave %s, and line %d expects %s", o->op->text,
				   o->result ? strerrorname_np(-o->result) : "0", e->line,
				   e->err ? strerrorname_np(e->err) : "0");
	}
}

static void operate(struct operation *o)
{
	struct sched *s = o->w->sched;
	const struct task *task = s->current;

	sched_log(s, TRACE_OP_BEGIN, NULL, "%s", o->op->text);
	functions[o->op->kind](o);
	sched_log(s, TRACE_OP_END, NULL, "%s: %s", o->op->text,
		  o->result ? strerrorname_np(-o->result) : "done");
	if (task->nheld)
		sched_fail(s, task->held[task->nheld - 1].site, "lock-balance",
			   "'%s' is over, and %s is still held", o->op->text,
			   lock_class_name(task->held[task->nheld - 1].class));
	check_expected(o);
}

void operate_thread(void *arg)
{
	struct thread *t = arg;
	struct process *p = &t->w->processes[t->text->process];

	if (!p->born)
		sched_wait(t->w->sched, client_is_born, p, &p->object, ACCESS_READ, UINT64_MAX,
			   "its fork", NULL);
	for (t->op = 0; t->op < t->text->nops; t->op++) {
		struct operation o = { .w = t->w,
				       .p = &t->w->processes[t->text->process],
				       .op = &t->text->ops[t->op],
				       .thread = t->index,
				       .index = t->op };

		sched_wait(t->w->sched, client_runs, o.p, &o.p->object, ACCESS_READ, UINT64_MAX,
			   "SIGCONT", NULL);
		if (!o.p->alive)
			return;
		operate(&o);
	}
}
