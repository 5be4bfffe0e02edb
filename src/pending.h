/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * pending.h - changes of an extent map that may take several transactions, and are atomic all the
 * same: the first one writes into the dinode what is to be done, each does a piece and writes
 * what is left, the last one clears it. After a crash, recovery goes on where it was. One that
 * fits a single transaction leaves no trace of this on the medium.
 */
#ifndef UDAX_PENDING_H
#define UDAX_PENDING_H

#include <stdbool.h>
#include <stdint.h>

#include "format.h"

struct inode;
struct tx;

/** A pending operation in host order; in blocks. See enum pending_kind in format.h. */
struct pending {
	enum pending_kind kind;
	uint64_t pos, len;
	uint64_t partner_pos;
};

/**
 * What else belongs to the first transaction: called with both ilocks held exclusively, before
 * the first piece. An error aborts the operation.
 */
typedef int (*pending_begin_fn)(struct tx *tx, struct inode *inode, struct dinode *di, void *arg);

/**
 * pending_run - do @op on @inode (and @other, its partner, or NULL).
 *
 * The caller keeps I/O, faults and fills of the ranges out (layout.c), and holds no ilock. Errors
 * before the first commit leave everything as it was. After a later one the inode, and @other, are
 * half_changed until a pending_resume() succeeds. -ENOSPC, -EIO, -EROFS, -ENOMEM.
 */
int pending_run(struct inode *inode, struct inode *other, const struct pending *op,
		pending_begin_fn begin, void *arg);

/**
 * pending_resume - finish what @inode's dinode says, if anything. Same conditions. -EIO, too, when an
 * exchange that stopped half-way has to be finished from the other file first.
 */
int pending_resume(struct inode *inode);

#endif
