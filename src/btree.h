/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * btree.h - sorted 16-byte records, rooted in a dinode: the tree under extent maps and directory
 * indexes.
 *
 * The root is a small array in the dinode (a fork). While the records fit there, the tree has no
 * blocks. When a node is full it splits in two halves, or, when appending, stays full and a new
 * one begins; when it and a neighbour fit into three quarters of one, they merge; when a fork has
 * one child whose records fit, the child moves in. Depth is at most TREE_MAX_LEVEL.
 *
 * Locks: the inode's ilock, shared to look, exclusive to change. @tx may be NULL when looking; in
 * a transaction that has changed the tree it must be given, because its changes are in copies.
 */
#ifndef UDAX_BTREE_H
#define UDAX_BTREE_H

#include <stdbool.h>
#include <stdint.h>

#include "format.h"

struct inode;
struct tx;

/** A record in host order. */
struct rec {
	uint64_t key, val;
};

/*
 * btree_le - the last record with a key <= @key. btree_ge - the first with a key >= @key.
 * Return 0, -ENOENT when there is none, -EIO when the tree is damaged.
 */
int btree_le(struct tx *tx, struct inode *inode, enum fork_id fork, uint64_t key,
	     struct rec *ret_rec);
int btree_ge(struct tx *tx, struct inode *inode, enum fork_id fork, uint64_t key,
	     struct rec *ret_rec);

/* Two neighbours; what is not there is zero. */
struct rec_pair {
	bool has_le, has_gt;
	struct rec le, gt;
};

/**
 * btree_around - both sides of @key in one walk: the last record with a key <= @key, and the first
 * with a larger one. 0 or -EIO.
 */
int btree_around(struct tx *tx, struct inode *inode, enum fork_id fork, uint64_t key,
		 struct rec_pair *ret_pair);

/*
 * Changes. The caller aborts @tx on any error.
 * btree_insert: -EEXIST when the key is there. btree_delete: -ENOENT when it is not.
 * btree_replace - the record @key becomes @rec, whose key must keep its place in the order.
 * All: -ENOSPC, -EIO, -ENOMEM, -EFBIG.
 */
int btree_insert(struct tx *tx, struct inode *inode, enum fork_id fork, const struct rec *rec);
int btree_delete(struct tx *tx, struct inode *inode, enum fork_id fork, uint64_t key);
int btree_replace(struct tx *tx, struct inode *inode, enum fork_id fork, uint64_t key,
		  const struct rec *rec);

/**
 * btree_step_blocks - how many blocks one change may touch: what to ask tx_room() for.
 * btree_steps_blocks - the same for @steps changes of neighbouring records.
 */
unsigned btree_step_blocks(struct tx *tx, struct inode *inode, enum fork_id fork);
unsigned btree_steps_blocks(struct tx *tx, struct inode *inode, enum fork_id fork, unsigned steps);

/** btree_node_check - whether @node, read from @blk, can be a node: 0 or -EUCLEAN. For fsck too. */
int btree_node_check(const struct tree_node *node, uint64_t blk);

#endif
