/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fault_zeroing.c - the fault handler converts and zeroes; everything else is as in mmaplock.c.
 *
 * History: DAX of Linux 4.0 to 4.4. A write fault that finds a hole, or an unwritten block, asks the
 * filesystem for a block, which is published as soon as that is committed, and then makes it zero: two
 * steps, and whether zeroing is due was seen before the first. Undone by 1ca191576fc8 for XFS, and
 * 3fbbbea34bac, c86d8db33a92: get_blocks() zeroes, once, before anybody can see the block.
 *
 * Refuted by rows 8 (two faults have seen the same hole: the second one zeroes what was stored after the
 * first) and 3 (a read between the two steps, or a crash, shows what was in the block before).
 * The mmaplock does not help: faults hold it shared.
 */
#include "policies.h"

#include "extent.h"
#include "gate.h"
#include "get_blocks.h"
#include "inode.h"
#include "journal.h"
#include "mmaplock.h"
#include "region.h"
#include "volume.h"
#include "zeroing.h"

/* get_block(): the first run of [@lblk, @lblk + @count). */
static int look_up(struct inode *inode, uint64_t lblk, uint64_t count, struct mapping *ret_map)
{
	int err;

	ilock(inode, SYNC_SHARED, HERE);
	err = get_blocks(NULL, inode, lblk, count, 0, 0, 0, ret_map);
	iunlock(inode, SYNC_SHARED, HERE);
	return err;
}

/* ... with create, and complete_unwritten() in the same transaction: written, and not yet zero. */
static int publish(struct inode *inode, uint64_t lblk, uint64_t *count)
{
	struct mapping map;
	struct tx *tx;
	int err = tx_begin(inode->vol, 0, &tx, HERE);

	if (err)
		return err;
	ilock(inode, SYNC_EXCL, HERE);
	err = get_blocks(tx, inode, lblk, *count, GET_CREATE | GET_UNWRITTEN, 0, 0, &map);
	if (!err)
		*count = map.count;
	if (!err && map.state == EXTENT_UNWRITTEN)
		err = extent_convert(tx, inode, FORK_DATA, lblk, map.count, EXTENT_WRITTEN);
	err = tx_end(tx, err);
	iunlock(inode, SYNC_EXCL, HERE);
	return err;
}

/* Make one run written and zero, which was not when the fault looked. *@count: how long it is. */
static int fill_run(struct inode *inode, uint64_t lblk, uint64_t *count)
{
	struct mapping map;
	int err = publish(inode, lblk, count);

	/* Where is it? The first version of the huge fault had forgotten to ask (row 1). */
	if (!err)
		err = look_up(inode, lblk, *count, &map);
	if (err)
		return err;
	*count = map.count;
	if (map.state == EXTENT_WRITTEN)
		zero_fresh(inode->vol, map.pblk, map.count, 0, 0);
	region_drain(inode->vol->region, HERE);
	return 0;
}

static int make_blocks(struct inode *inode, uint64_t lblk, uint64_t count)
{
	uint64_t end = lblk + count;
	struct mapping map;
	int err = 0;

	for (; !err && lblk < end; lblk += count) {
		err = look_up(inode, lblk, end - lblk, &map);
		if (err)
			break;
		count = map.count;
		if (map.state != EXTENT_WRITTEN)
			err = fill_run(inode, lblk, &count);
	}
	return err;
}

static const struct change_locks locks = { mmaplock_excl, mmaplock_unexcl, mmaplock_assert_excl };

static int layout_enter(struct layout_change *change, const struct sync_site *site)
{
	return change_enter(change, &locks, site);
}

static void layout_exit(struct layout_change *change, const struct sync_site *site)
{
	change_exit(change, &locks, site);
}

const struct udax_policy policy_fault_zeroing = {
	.name = "fault-zeroing",
	.summary = "the fault zeroes a block that is visible already: twice, or after it was read "
		   "(rows 3, 8)",
	.make_blocks = make_blocks,
	.fault_enter = mmaplock_shared,
	.fault_exit = mmaplock_unshared,
	.fill_enter = gate_admit,
	.fill_exit = gate_leave,
	.layout_enter = layout_enter,
	.layout_exit = layout_exit,
};
