/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * imapping.c - the lock of the whole mapping, held by faults over get_blocks.
 *
 * History: 843172978bb9 and 46c043ede471, Linux 4.3, undone before 4.4 (0f90cc6609c7). A fault takes the
 * mapping's i_mmap_rwsem, exclusively, and holds it over the filesystem's get_block(), which begins a
 * transaction. Whoever frees blocks unmaps them, under the same lock, and has begun its transaction by
 * then. The mmaplock stands in for the i_mmap_rwsem here: it is the inode's, and nobody else takes it.
 *
 * Refuted by row 7: a fault has the mapping's lock and wants a transaction, a punch has a transaction and
 * wants the mapping's lock. Row 28 is the same with the entry lock. And "the i_mmap_rwsem is not a
 * replacement for the page lock": it is released when the range is unmapped, so row 16 as well.
 */
#include "policies.h"

#include <stddef.h>

#include "gate.h"
#include "inode.h"
#include "journal.h"
#include "volume.h"

static void fault_enter(struct inode *inode, uint64_t pos, uint64_t len, bool write,
			const struct sync_site *site)
{
	(void)pos, (void)len, (void)write;
	sync_rw_lock(&inode->mmaplock, SYNC_EXCL, 0, site);
}

static void fault_exit(struct inode *inode, uint64_t pos, uint64_t len,
		       const struct sync_site *site)
{
	(void)pos, (void)len;
	sync_rw_unlock(&inode->mmaplock, SYNC_EXCL, site);
}

/* unmap_mapping_range(), by a filesystem that has begun what it is about to commit. */
static int unmap(struct layout_change *change, const struct sync_site *site)
{
	struct tx *tx;
	int err = tx_begin(change->inode->vol, 0, &tx, site);

	if (err)
		return err;
	for (unsigned i = 0; i < 2 && change_inode(change, i); i++) {
		sync_rw_lock(&change_inode(change, i)->mmaplock, SYNC_EXCL, i, site);
		sync_rw_unlock(&change_inode(change, i)->mmaplock, SYNC_EXCL, site);
	}
	tx_abort(tx); /* the core makes those that it commits itself */
	return 0;
}

static int layout_enter(struct layout_change *change, const struct sync_site *site)
{
	int err = invalidate_once(change, NULL, site);

	if (!err)
		err = begin_alone(change, site);
	if (err)
		return err;
	if (change->mode != MODE_NONE) /* else nobody maps it */
		err = unmap(change, site);
	if (err)
		change_iounlock(change, site);
	return err;
}

const struct udax_policy policy_imapping = {
	.name = "imapping",
	.summary =
		"the mapping's lock, held by faults over get_blocks: transactions and that lock are taken "
		"in both orders (row 7)",
	.fault_enter = fault_enter,
	.fault_exit = fault_exit,
	.fill_enter = gate_admit,
	.fill_exit = gate_leave,
	.layout_enter = layout_enter,
	.layout_exit = change_iounlock,
};
