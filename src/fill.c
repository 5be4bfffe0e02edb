/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fill.c - see fill.h. The models are docs/model/fill.pml and, of the recall, uncached-gate.pml.
 *
 * Nobody shows what the fill changes: then it is announced, in one step with seeing that, under the
 * holder's lock. Somebody does: then he is recalled as for a change of the layout, and it is announced
 * while that excludes everybody. Clients give back whole ranges, and so what is recalled can be more than
 * zeroes: blocks that stay the file's, of one who does not answer. layout_begin() replaces them.
 */
#include "fill.h"

#include <errno.h>

#include "grant.h"
#include "inode.h"
#include "layout.h"

static bool announce(struct holder *holder, struct fill *fill)
{
	bool conflicts;

	sync_lock(&holder->lock, 0, HERE);
	/* In cached mode nobody has it attached. */
	conflicts = holder->mode != MODE_CACHED &&
		    grant_conflicts(holder, fill->pos, fill->end, fill->extends);
	if (!conflicts) {
		fill->next = holder->fills;
		holder->fills = fill;
		fill->announced = true;
	}
	sync_unlock(&holder->lock, HERE);
	return !conflicts;
}

/* What lies behind EOF is behind fill->pos: the callers see to that. */
static int recall_and_announce(struct inode *inode, struct holder *holder, struct fill *fill)
{
	struct layout_change change = { .op = LAYOUT_FILL,
					.inode = inode,
					.pos = fill->pos,
					.len = fill->extends ? UINT64_MAX : fill->end - fill->pos,
					.may_wait = true };
	int err = layout_begin(&change);

	if (err)
		return err;
	announce(holder, fill);
	layout_end(&change);
	return 0;
}

int fill_begin(struct inode *inode, struct fill *fill, uint64_t pos, uint64_t end, bool extends,
	       bool may_wait)
{
	struct holder *holder = atomic_load(&inode->holder);
	int err = 0;

	*fill = (struct fill){ .pos = pos, .end = end, .extends = extends };
	if (!holder)
		return 0; /* never opened: nobody can have it attached while the caller works on it */
	while (!err && !fill->announced && !announce(holder, fill))
		err = may_wait ? recall_and_announce(inode, holder, fill) : -EAGAIN;
	return err;
}

void fill_end(struct inode *inode, struct fill *fill)
{
	struct holder *holder = atomic_load(&inode->holder);
	struct fill **link;

	if (!fill->announced)
		return;
	sync_lock(&holder->lock, 0, HERE);
	for (link = &holder->fills; *link != fill; link = &(*link)->next)
		;
	*link = fill->next;
	holder->generation++;
	sync_wake(&holder->changed);
	sync_unlock(&holder->lock, HERE);
}
