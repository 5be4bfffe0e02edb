/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * extent.h - the extent map: which blocks of the medium stand behind which blocks of a file, and
 * whether they are written. What is not in the map is a hole. Neighbours that continue each
 * other, in both address spaces and in state, are kept as one.
 *
 * Locks and @tx as in btree.h.
 */
#ifndef UDAX_EXTENT_H
#define UDAX_EXTENT_H

#include <stdint.h>

#include "format.h"

struct inode;
struct tx;

enum extent_state { EXTENT_HOLE, EXTENT_UNWRITTEN, EXTENT_WRITTEN };

struct extent {
	uint64_t lblk;	/* first block in the file */
	uint64_t count; /* blocks */
	uint64_t pblk;	/* first block on the medium; 0 for a hole */
	enum extent_state state;
};

/**
 * extent_lookup - the piece of the map that holds @lblk, as long as it goes: it may begin before
 * @lblk. A hole reaches to the next extent, or to MAX_FILE_BLOCKS. Returns 0 or -EIO.
 */
int extent_lookup(struct tx *tx, struct inode *inode, enum fork_id fork, uint64_t lblk,
		  struct extent *ret_ext);

/** extent_next - the first extent that ends behind @lblk: 0, -ENOENT or -EIO. */
int extent_next(struct tx *tx, struct inode *inode, enum fork_id fork, uint64_t lblk,
		struct extent *ret_ext);

/** extent_insert - put @ext, whose range is a hole, into the map; merges with its neighbours. */
int extent_insert(struct tx *tx, struct inode *inode, enum fork_id fork, const struct extent *ext);

/**
 * extent_remove - make [@lblk, @lblk + @count), which lies inside one extent, a hole. The blocks
 * are the caller's to free or to insert elsewhere.
 */
int extent_remove(struct tx *tx, struct inode *inode, enum fork_id fork, uint64_t lblk,
		  uint64_t count);

/** extent_convert - set the state of a range that lies inside one extent. */
int extent_convert(struct tx *tx, struct inode *inode, enum fork_id fork, uint64_t lblk,
		   uint64_t count, enum extent_state state);

/** extent_step_blocks - what one of these changes may touch, for tx_room(). */
unsigned extent_step_blocks(struct tx *tx, struct inode *inode, enum fork_id fork);

#endif
