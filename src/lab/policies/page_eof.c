/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * page_eof.c - the page lock, and a second look at the end of the file with the lock held.
 *
 * History: what mm/ had for truncate until 5.15, for all filesystems that brought no lock of their own
 * (730633f0b7f9, d4f5258eae7b). The new size is published first, then pages are invalidated one by one,
 * each with its lock; whoever faults takes the page's lock and fails when it lies behind the end. So no
 * page behind the new end is mapped again, and its blocks can be freed: truncate is safe.
 *
 * Not sound for all that happens inside the file: "this does not work for operations like hole punching"
 * (the mail of 2015). Refuted by rows 16 and 17: a page inside the file that was invalidated is mapped
 * again before its block is freed; the end of the file says nothing about it.
 *
 * The new end is remembered here while a truncate runs, because its size is on the medium only with the
 * first of its transactions: a fault behind it waits, and then looks at the real one.
 */
#include "policies.h"

#include <errno.h>

#include "gate.h"
#include "inode.h"
#include "mem.h"
#include "volume.h"

struct state {
	struct page_locks pages;
	struct sync_mutex lock;
	struct sync_cond changed;
	uint64_t end; /* where the file ends soon; UINT64_MAX: nobody truncates */
};

static int inode_new(struct inode *inode)
{
	struct sync *sync = inode->vol->sync;
	struct state *state = mem_alloc(inode->vol->mem, sizeof(*state));

	if (!state)
		return -ENOMEM;
	page_locks_init(&state->pages, sync);
	sync_mutex_init(sync, &state->lock, LOCK_LEAF);
	sync_cond_init(sync, &state->changed);
	state->end = UINT64_MAX;
	inode->policy_state = state;
	return 0;
}

static void inode_delete(struct inode *inode)
{
	struct state *state = inode->policy_state;

	page_locks_destroy(&state->pages);
	sync_cond_destroy(&state->changed);
	sync_mutex_destroy(&state->lock);
	mem_free(inode->vol->mem, state);
}

static void set_end(struct state *state, uint64_t end, const struct sync_site *site)
{
	sync_lock(&state->lock, 0, site);
	state->end = end;
	sync_wake(&state->changed);
	sync_unlock(&state->lock, site);
}

/* lock_page(page); if (page is beyond EOF) ... */
static void fault_enter(struct inode *inode, uint64_t pos, uint64_t len, bool write,
			const struct sync_site *site)
{
	struct state *state = inode->policy_state;

	(void)write;
	for (;;) {
		bool behind;

		pages_lock(&state->pages, pos, len, site);
		sync_lock(&state->lock, 0, site);
		behind = pos + len > state->end;
		sync_unlock(&state->lock, site);
		if (!behind)
			return;
		pages_unlock(&state->pages, pos, len, site);
		sync_lock(&state->lock, 0, site);
		while (pos + len > state->end)
			sync_wait(&state->changed, &state->lock, site);
		sync_unlock(&state->lock, site);
	}
}

static void fault_exit(struct inode *inode, uint64_t pos, uint64_t len,
		       const struct sync_site *site)
{
	struct state *state = inode->policy_state;

	pages_unlock(&state->pages, pos, len, site);
}

static void wait_for_pages(struct layout_change *change, const struct sync_site *site)
{
	for (unsigned i = 0; i < 2 && change_inode(change, i); i++) {
		struct state *state = change_inode(change, i)->policy_state;

		pages_wait(&state->pages, change->gates[i].pos, change->gates[i].end, site);
	}
}

static int layout_enter(struct layout_change *change, const struct sync_site *site)
{
	struct state *state = change->inode->policy_state;
	int err;

	if (change->op == LAYOUT_TRUNCATE)
		set_end(state, change->pos, site);
	err = invalidate_once(change, wait_for_pages, site);
	if (!err)
		err = begin_alone(change, site);
	if (err && change->op == LAYOUT_TRUNCATE)
		set_end(state, UINT64_MAX, site);
	return err;
}

static void layout_exit(struct layout_change *change, const struct sync_site *site)
{
	change_iounlock(change, site);
	if (change->op == LAYOUT_TRUNCATE)
		set_end(change->inode->policy_state, UINT64_MAX, site);
}

const struct udax_policy policy_page_eof = {
	.name = "page-eof",
	.summary = "a page's lock and another look at EOF: no protection inside the file (row 16)",
	.inode_new = inode_new,
	.inode_delete = inode_delete,
	.fault_enter = fault_enter,
	.fault_exit = fault_exit,
	.fill_enter = gate_admit,
	.fill_exit = gate_leave,
	.layout_enter = layout_enter,
	.layout_exit = layout_exit,
};
