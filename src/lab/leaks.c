/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * leaks.c - see leaks.h.
 *
 * Nobody runs any more, so no lock can be waited for, and nothing here is a choice. What the core keeps
 * while a volume is mounted, buffers of lanes say, it may keep; so memory is counted after unmounting.
 */
#include "leaks.h"

#include "client.h"
#include "frontend.h"
#include "inode.h"
#include "mode.h"

/* Whether what clients map is what they were granted: all has been read, and nobody was late. */
static bool is_settled(const struct world *w)
{
	if (w->medium->granule_bytes != BLOCK_BYTES || atomic_load(&w->vol->stat.recalls_late))
		return false;
	for (unsigned i = 0; i < w->scenario->nprocesses; i++) {
		const struct process *p = &w->processes[i];

		if (p->born && (p->stopped || p->hung_up || p->first_message != p->nmessages))
			return false;
	}
	return true;
}

/* What there is of @file outside of the core, in the words of the core's figures. */
static struct holder_stat look_at(const struct world *w, unsigned file)
{
	struct holder_stat there = { .mode = MODE_NONE };

	for (unsigned i = 0; i < w->scenario->nprocesses; i++) {
		const struct process *p = &w->processes[i];

		there.nhandles += p->handles[file].open;
		there.nwriters += p->handles[file].open && !p->handles[file].read_only;
		there.nattached += p->attachments[file] != NULL;
		for (unsigned page = 0; page < SCENARIO_MAX_PAGES; page++) {
			enum pte_kind kind = p->ptes[file][page].kind;

			there.read_bytes += kind == PTE_READ ? BLOCK_BYTES : 0;
			there.write_bytes += kind == PTE_WRITE ? BLOCK_BYTES : 0;
			there.zero_bytes += kind == PTE_ZERO ? BLOCK_BYTES : 0;
		}
	}
	return there;
}

/* A page that was granted for loads first, and then for stores, counts as both. */
static bool differ(uint64_t said, uint64_t there, uint64_t mapped)
{
	return said < there || said > mapped;
}

static void check_figures(struct world *w, unsigned file)
{
	const struct holder *holder = atomic_load(&w->inodes[file]->holder);
	struct holder_stat there = look_at(w, file), said;
	uint64_t mapped = there.read_bytes + there.write_bytes + there.zero_bytes;

	holder_stat(w->inodes[file], &said);
	if (said.ngates || said.nadmitted || said.nrecalls)
		sched_fail(w->sched, NULL, "leak",
			   "of %s %u gates, %u admissions and %u recalls are left",
			   file_name(w, file), said.ngates, said.nadmitted, said.nrecalls);
	if (holder && (holder->fills || holder->parked))
		sched_fail(w->sched, NULL, "leak", "of %s %s is left", file_name(w, file),
			   holder->fills ? "an announced fill" : "a parked request");
	if (said.nhandles != there.nhandles || said.nwriters != there.nwriters ||
	    said.nattached != there.nattached)
		sched_fail(w->sched, NULL, "leak", "who has %s open is miscounted",
			   file_name(w, file));
	if (is_settled(w) && (differ(said.read_bytes, there.read_bytes, mapped) ||
			      differ(said.write_bytes, there.write_bytes, mapped) ||
			      differ(said.zero_bytes, there.zero_bytes, mapped)))
		sched_fail(w->sched, NULL, "grants-differ",
			   "of %s the core takes %u, %u and %u pages for granted for loads, stores "
			   "and as zeroes, and %u, %u and %u are mapped",
			   file_name(w, file), (unsigned)(said.read_bytes >> BLOCK_SHIFT),
			   (unsigned)(said.write_bytes >> BLOCK_SHIFT),
			   (unsigned)(said.zero_bytes >> BLOCK_SHIFT),
			   (unsigned)(there.read_bytes >> BLOCK_SHIFT),
			   (unsigned)(there.write_bytes >> BLOCK_SHIFT),
			   (unsigned)(there.zero_bytes >> BLOCK_SHIFT));
}

static void leave(struct process *p)
{
	struct world *w = p->w;

	for (unsigned file = 0; file < w->scenario->nfiles; file++) {
		if (p->attachments[file])
			front_detach(p, file);
		if (p->handles[file].open)
			front_release(p, file);
	}
}

/* All but the world's own is given back by whoever took it. */
static void put(struct world *w, unsigned file)
{
	struct inode *inode = w->inodes[file];

	if (inode->refs != 1)
		sched_fail(w->sched, NULL, "leak", "%s has %u references in the end, and not 1",
			   file_name(w, file), (unsigned)inode->refs);
	else
		inode_put(inode);
}

void leaks_check(struct world *w)
{
	unsigned late, nlive;

	for (unsigned file = 0; file < w->scenario->nfiles; file++)
		check_figures(w, file);
	for (unsigned i = 0; i < w->scenario->nprocesses; i++)
		leave(&w->processes[i]);
	late = (unsigned)atomic_load(&w->vol->nlate);
	if (late)
		sched_fail(w->sched, NULL, "leak", "%u late recalls are counted, and none is left",
			   late);
	for (unsigned file = 0; file < w->scenario->nfiles; file++)
		put(w, file);
	if (w->sched->end == RUN_BROKEN)
		return;
	volume_unmount(w->vol);
	nlive = arena_nlive(w->mem);
	if (nlive != w->nlive)
		sched_fail(w->sched, NULL, "leak", "%d pieces of memory are left after unmounting",
			   (int)(nlive - w->nlive));
}
