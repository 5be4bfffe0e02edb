/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * zeroing.c - fresh blocks, edges and tails. zeroing.h says when each is used, and why a crash
 * never shows a byte that should have been zero, nor a zero that should not.
 */
#include "zeroing.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "get_blocks.h"
#include "inode.h"
#include "journal.h"
#include "region.h"
#include "volume.h"

void zero_fresh(struct volume *vol, uint64_t pblk, uint64_t count, uint64_t skip_off,
		uint64_t skip_len)
{
	uint64_t off = pblk << BLOCK_SHIFT, end = (pblk + count) << BLOCK_SHIFT;
	uint64_t stop = end, go_on = end; /* zero [off, stop) and [go_on, end) */

	if (skip_len && skip_off < end && skip_off + skip_len > off) {
		stop = skip_off > off ? skip_off : off;
		go_on = skip_off + skip_len < end ? skip_off + skip_len : end;
	}
	if (stop > off)
		region_zero(vol->region, off, stop - off, HERE);
	if (go_on < end)
		region_zero(vol->region, go_on, end - go_on, HERE);
	atomic_fetch_add(&vol->stat.blocks_zeroed,
			 (stop - off + end - go_on + BLOCK_BYTES - 1) >> BLOCK_SHIFT);
}

/* The region offset of file byte @pos if it lies in a written block; 0 if not. */
static int written_off(struct tx *tx, struct inode *inode, uint64_t pos, uint64_t *ret_off)
{
	struct mapping map;
	int err = get_blocks(tx, inode, pos >> BLOCK_SHIFT, 1, 0, 0, 0, &map);

	if (err)
		return err;
	*ret_off = map.state == EXTENT_WRITTEN ? (map.pblk << BLOCK_SHIFT) + pos % BLOCK_BYTES : 0;
	return 0;
}

int zero_edge(struct tx *tx, struct inode *inode, uint64_t pos, uint64_t len)
{
	uint32_t in_block = (uint32_t)(pos % BLOCK_BYTES);
	uint64_t off;
	void *copy;
	int err;

	assert(len && in_block + len <= BLOCK_BYTES);
	sync_rw_assert(&inode->ilock, SYNC_EXCL);
	err = written_off(tx, inode, pos, &off);
	if (err || !off)
		return err;
	err = tx_modify(tx, off - in_block, BLOCK_BYTES, TX_DATA, &copy);
	if (err)
		return err;
	memset((unsigned char *)copy + in_block, 0, len);
	return 0;
}

int zero_tail(struct tx *tx, struct inode *inode, uint64_t size, uint64_t new_size)
{
	struct region *region = inode->vol->region;
	uint64_t block_end = (size + BLOCK_BYTES - 1) & ~(uint64_t)(BLOCK_BYTES - 1);
	uint64_t stop = new_size > block_end ? new_size : block_end, end;
	int err = 0;

	sync_rw_assert(&inode->ilock, SYNC_EXCL);
	for (uint64_t pos = size; !err && pos < stop; pos = end) {
		uint64_t lblk = pos >> BLOCK_SHIFT, off;
		struct mapping map;

		err = get_blocks(tx, inode, lblk, ((stop - 1) >> BLOCK_SHIFT) - lblk + 1, 0, 0, 0,
				 &map);
		if (err)
			break;
		end = (map.lblk + map.count) << BLOCK_SHIFT;
		if (end > stop)
			end = stop;
		if (map.state != EXTENT_WRITTEN)
			continue;
		off = (map.pblk << BLOCK_SHIFT) + pos % BLOCK_BYTES;
		region_zero(region, off, end - pos, HERE);
		err = region_check(region, off, end - pos);
	}
	return err;
}
