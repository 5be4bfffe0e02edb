/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * zeroing.h - making bytes zero, in the three ways that a filesystem needs it.
 *
 * fresh:  blocks that nothing refers to yet. Zeroed on the medium before the commit that
 *         publishes them; a crash leaves zeroes in a free block.
 * edge:   the part of a visible block that a punch covers. Goes through the journal, so that the
 *         punch is there wholly or not at all.
 * tail:   the bytes behind EOF in the last block. Undefined until the file grows; zeroed before
 *         the size rises over them.
 */
#ifndef UDAX_ZEROING_H
#define UDAX_ZEROING_H

#include <stdint.h>

struct inode;
struct tx;
struct volume;

/**
 * zero_fresh - zero [@pblk, @pblk + @count), except [@skip_off, @skip_off + @skip_len) (region
 * bytes), which the caller stores to. Pending until the commit's fence.
 */
void zero_fresh(struct volume *vol, uint64_t pblk, uint64_t count, uint64_t skip_off,
		uint64_t skip_len);

/**
 * zero_edge - zero [@pos, @pos + @len), which lies in one block of @inode's data, in @tx. Holes
 * and unwritten blocks are zero already. Same locks and errors as get_blocks().
 */
int zero_edge(struct tx *tx, struct inode *inode, uint64_t pos, uint64_t len);

/**
 * zero_tail - zero from @size to the end of the block that holds it, and what stands in blocks up to
 * @new_size, before the size rises to that: a client that maps granules can store behind EOF. The
 * caller holds the ilock exclusively, with @size the current size. 0 or -EIO.
 */
int zero_tail(struct tx *tx, struct inode *inode, uint64_t size, uint64_t new_size);

#endif
