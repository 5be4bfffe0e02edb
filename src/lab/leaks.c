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
