/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * client.c - see client.h.
 *
 * A touch looks at the page table entry and goes to memory in one step, as the processor does. What is
 * missing is asked of the daemon; its answer comes as a message, so that it cannot be overtaken by the
 * recall that takes it back.
 */
#include "client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "frontend.h"
#include "region.h"
#include "rules.h"
#include "sync_lab.h"

static struct pte *pte_of(struct process *p, unsigned file, unsigned cell)
{
	return &p->ptes[file][cell / PAGE_CELLS];
}

static unsigned char *memory_of(struct world *w, const struct pte *pte, unsigned cell)
{
	return medium_base(w->medium) + (pte->pblk << BLOCK_SHIFT) +
	       (uint64_t)(cell % PAGE_CELLS) * CELL_BYTES;
}

/* ---- the service task ------------------------------------------------------------------------------- */

/* Pages [*first, *end) of the range, as far as there can be any. */
static void pages_of(const struct message *m, unsigned *first, unsigned *end)
{
	uint64_t stop = m->len > UINT64_MAX - m->pos ? UINT64_MAX : m->pos + m->len;

	*first = m->pos >> BLOCK_SHIFT < SCENARIO_MAX_PAGES ? (unsigned)(m->pos >> BLOCK_SHIFT)
							    : SCENARIO_MAX_PAGES;
	stop = stop >> BLOCK_SHIFT;
	*end = stop < SCENARIO_MAX_PAGES ? (unsigned)stop : SCENARIO_MAX_PAGES;
}

static enum pte_kind kind_of(enum grant_kind grant)
{
	switch (grant) {
	case GRANT_READ:
		return PTE_READ;
	case GRANT_WRITE:
		return PTE_WRITE;
	case GRANT_ZERO:
		return PTE_ZERO;
	default:
		return PTE_SIGBUS;
	}
}

static void map_granted(struct process *p, const struct message *m)
{
	unsigned first, end;

	pages_of(m, &first, &end);
	for (unsigned page = first; page < end; page++) {
		struct pte *pte = &p->ptes[m->file][page];

		pte->kind = kind_of(m->grant);
		pte->pblk = (m->region_off >> BLOCK_SHIFT) + (page - (m->pos >> BLOCK_SHIFT));
		sched_touch(p->w->sched, &pte->object, ACCESS_WRITE);
	}
	sched_log(p->w->sched, TRACE_CLIENT, NULL, "maps %s[%u..%u)", file_name(p->w, m->file),
		  first, end);
}

static void take_back(struct process *p, const struct message *m)
{
	const uint64_t granule = p->w->medium->granule_bytes;
	unsigned first, end;

	pages_of(m, &first, &end);
	/* What is mapped of a device in one piece is unmapped in one. */
	if (m->pos % granule || (m->len < UINT64_MAX - m->pos && (m->pos + m->len) % granule))
		sched_fail(p->w->sched, NULL, "part-of-granule",
			   "%s is asked for a part of a granule of %s, and maps whole ones",
			   p->name, file_name(p->w, m->file));
	if (m->pos + m->len < m->pos || (m->pos + m->len) % BLOCK_BYTES)
		end += end < SCENARIO_MAX_PAGES; /* rounded up */
	for (unsigned page = first; page < end; page++) {
		struct pte *pte = &p->ptes[m->file][page];

		if (p->w->scenario->without & WITHOUT_ATOMIC_TAKE_BACK && pte->kind != PTE_NONE) {
			pte->kind = PTE_ANON;
			sched_touch(p->w->sched, &pte->object, ACCESS_WRITE);
			sched_point(p->w->sched, &pte->object, ACCESS_WRITE);
		}
		pte->kind = PTE_NONE;
		sched_touch(p->w->sched, &pte->object, ACCESS_WRITE);
	}
	sched_log(p->w->sched, TRACE_CLIENT, NULL, "takes back %s[%u..%u)",
		  file_name(p->w, m->file), first, end);
}

static bool has_message(void *arg)
{
	const struct process *p = arg;

	return (p->nmessages != p->first_message && p->alive && !p->stopped) || !p->alive ||
	       p->hung_up;
}

static void serve(struct process *p, const struct message *m)
{
	struct sched *s = p->w->sched;
	char what[48];

	snprintf(what, sizeof(what), "mmap_lock of %s", p->name);
	klock_excl(s, &p->mmap_lock, what);
	if (!p->alive || m->ndetached != p->ndetached[m->file]) {
		klock_unexcl(s, &p->mmap_lock);
		return;
	}
	if (m->kind == MESSAGE_GRANT)
		map_granted(p, m);
	else
		take_back(p, m);
	if (m->kind == MESSAGE_LATE)
		p->late[m->file] = false;
	klock_unexcl(s, &p->mmap_lock);
	if (m->kind == MESSAGE_RECALL) {
		sched_log(s, TRACE_CLIENT, NULL, "acknowledges");
		front_acknowledge(p, m->file, m->seq);
	}
}

bool client_is_born(void *process)
{
	return ((struct process *)process)->born;
}

static void service(void *arg)
{
	struct process *p = arg;

	if (!p->born)
		sched_wait(p->w->sched, client_is_born, p, &p->object, ACCESS_READ, UINT64_MAX,
			   "its fork", NULL);
	for (;;) {
		struct message m;

		sched_wait(p->w->sched, has_message, p, &p->object, ACCESS_WRITE, UINT64_MAX,
			   "a message", NULL);
		if (!p->alive || p->hung_up)
			return;
		m = p->messages[p->first_message % MAX_MESSAGES];
		serve(p, &m);
		p->first_message++;
		sched_touch(p->w->sched, &p->object, ACCESS_WRITE);
	}
}

void client_start(struct process *p)
{
	char name[32];

	snprintf(name, sizeof(name), "service of %.19s", p->name);
	sched_spawn(p->w->sched, name, p->name, true, service, p);
}

bool client_runs(void *process)
{
	return !((struct process *)process)->stopped;
}

bool client_is_late(struct process *p, unsigned file, unsigned page)
{
	uint64_t pos = (uint64_t)page << BLOCK_SHIFT;
	struct sched *s = p->w->sched;
	bool late = p->late[file];

	sched_touch(s, &p->object, ACCESS_READ);
	if (!late && p->attachments[file]) {
		sync_lab_look(&holder_of(p->w->inodes[file])->lock);
		s->quiet = true;
		late = grant_is_late(p->w->inodes[file], pos, pos + BLOCK_BYTES);
		s->quiet = false;
		if (late && !atomic_load(&p->w->vol->orphans))
			rules_check_late(p);
	}
	return late;
}

/* A point that is not passed while the process is stopped. */
static void touch_point(struct process *p, struct pte *pte)
{
	sched_wait(p->w->sched, client_runs, p, &pte->object, ACCESS_READ, UINT64_MAX, "SIGCONT",
		   NULL);
}

/* ---- touching --------------------------------------------------------------------------------------- */

struct answer {
	struct process *p;
	unsigned until;
};

static bool is_answered(void *arg)
{
	const struct answer *answer = arg;

	return answer->p->first_message >= answer->until || !answer->p->alive || answer->p->hung_up;
}

/* Returns false when there will never be a mapping. */
static bool fault(struct process *p, unsigned file, unsigned page, bool write)
{
	struct answer answer = { .p = p };
	int err;

	sched_point(p->w->sched, &p->object, ACCESS_READ);
	if (p->hung_up || !p->alive || !front_is_attached(p, file))
		return false;
	err = front_fault(p, file, page, write);
	if (err)
		return false;
	answer.until = p->nmessages;
	sched_wait(p->w->sched, is_answered, &answer, &p->object, ACCESS_READ, UINT64_MAX,
		   "its mapping", NULL);
	return true;
}

bool client_load(struct process *p, unsigned file, unsigned cell, uint64_t *ret_value)
{
	struct world *w = p->w;
	struct pte *pte = pte_of(p, file, cell);

	for (;;) {
		touch_point(p, pte);
		switch (pte->kind) {
		case PTE_READ:
		case PTE_WRITE:
			sched_touch(w->sched, world_block(w, pte->pblk), ACCESS_READ);
			memcpy(ret_value, memory_of(w, pte, cell), sizeof(*ret_value));
			return true;
		case PTE_ZERO:
		case PTE_ANON:
			*ret_value = 0;
			return true;
		case PTE_SIGBUS:
			return false;
		case PTE_NONE:
			if (!fault(p, file, cell / PAGE_CELLS, false))
				return false;
		}
	}
}

bool client_store(struct process *p, unsigned file, unsigned cell, uint64_t value)
{
	struct world *w = p->w;
	struct pte *pte = pte_of(p, file, cell);

	for (;;) {
		touch_point(p, pte);
		if (pte->kind == PTE_SIGBUS)
			return false;
		if (pte->kind == PTE_ZERO && w->scenario->without & WITHOUT_PROTECTED_ZEROES)
			pte->kind = PTE_ANON; /* a copy of the zero page */
		if (pte->kind == PTE_ANON)
			return true; /* and nobody will ever know */
		if (pte->kind == PTE_WRITE) {
			unsigned char *memory = memory_of(w, pte, cell);

			sched_touch(w->sched, world_block(w, pte->pblk), ACCESS_WRITE);
			memcpy(memory, &value, sizeof(value));
			medium_dirty(w->medium, (uint64_t)(memory - w->medium->base));
			if (w->crash)
				sched_touch(w->sched, &w->pending, ACCESS_READ);
			return true;
		}
		if (!fault(p, file, cell / PAGE_CELLS, true))
			return false;
	}
}

/* ---- attaching -------------------------------------------------------------------------------------- */

int client_attach(struct process *p, unsigned file, bool writable)
{
	if (p->attachments[file])
		return -EEXIST;
	return front_attach(p, file, writable);
}

void client_detach(struct process *p, unsigned file)
{
	char what[48];

	if (!p->attachments[file])
		return;
	snprintf(what, sizeof(what), "mmap_lock of %s", p->name);
	klock_excl(p->w->sched, &p->mmap_lock, what);
	for (unsigned page = 0; page < SCENARIO_MAX_PAGES; page++) {
		p->ptes[file][page].kind = PTE_NONE;
		sched_touch(p->w->sched, &p->ptes[file][page].object, ACCESS_WRITE);
	}
	p->ndetached[file]++;
	sched_touch(p->w->sched, &p->object, ACCESS_WRITE);
	klock_unexcl(p->w->sched, &p->mmap_lock);
	front_reader(p);
	if (p->attachments[file]) /* it may have been killed meanwhile */
		grant_abandon(p->attachments[file]);
	klock_unexcl(p->w->sched, &p->reader);
	/* The reader does not wait for a fault that is under way; who is the last to need it, forgets it. */
	front_faulter(p);
	front_reader(p);
	if (p->attachments[file])
		front_detach(p, file);
	klock_unexcl(p->w->sched, &p->reader);
	klock_unexcl(p->w->sched, &p->faulter);
}

/* ---- unmapping ----------------------------------------------------------------------------------- */

static bool has_read_all(void *arg)
{
	const struct process *p = arg;

	return p->first_message == p->nmessages || !p->alive || p->hung_up;
}

/* As libudax does: not while a fault of its own is under way, whose grant would be mapped afterwards. */
void client_unmap(struct process *p, unsigned file, unsigned first, unsigned end)
{
	struct sched *s = p->w->sched;
	char what[48];

	front_faulter(p);
	sched_wait(s, has_read_all, p, &p->object, ACCESS_READ, UINT64_MAX, "its messages", NULL);
	snprintf(what, sizeof(what), "mmap_lock of %s", p->name);
	klock_excl(s, &p->mmap_lock, what);
	for (unsigned page = first; page < end; page++) {
		p->ptes[file][page].kind = PTE_NONE;
		sched_touch(s, &p->ptes[file][page].object, ACCESS_WRITE);
	}
	klock_unexcl(s, &p->mmap_lock);
	front_return(p, file, first, end);
	klock_unexcl(s, &p->faulter);
}

/* ---- fork --------------------------------------------------------------------------------------- */

int client_fork(struct process *p, struct process *child)
{
	struct world *w = p->w;
	int err = 0;

	/* Nothing that is mapped through us is inherited: it attaches, and faults, by itself. */
	for (unsigned file = 0; !err && file < w->scenario->nfiles; file++) {
		const struct handle *handle = &p->handles[file];

		if (!handle->open)
			continue;
		err = front_open(child, file, handle->direct, handle->read_only);
		for (unsigned page = 0; page < SCENARIO_MAX_PAGES; page++) {
			sched_touch(w->sched, &w->files[file].folios[page].object, ACCESS_WRITE);
			child->kernel_ptes[file][page] = p->kernel_ptes[file][page];
		}
		if (!err && p->attachments[file])
			err = client_attach(child, file, !handle->read_only);
		for (unsigned page = 0; page < SCENARIO_MAX_PAGES; page++)
			if (w->scenario->without & WITHOUT_OWN_FORK)
				child->ptes[file][page].kind = PTE_ANON;
	}
	sched_touch(w->sched, &child->object, ACCESS_WRITE);
	child->alive = child->born = true;
	return err;
}
