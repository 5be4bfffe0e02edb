/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * layout.h - operations that change what stands where in a file: truncate, punch, zero, collapse,
 * insert, exchange, relocate, preallocate.
 *
 * Each is wholly there or not at all, also after a crash: one that takes several transactions
 * writes what is left of it into the dinode with its first step, and recovery goes on from there.
 *
 * They exclude faults, fills and I/O through the policy (udax/policy.h, change.h). The caller
 * holds no lock and is in no transaction. Where the operation would have to wait and
 * ctx.may_wait is false, they return -EAGAIN and nothing has happened: call again from a thread
 * that may wait and serves no requests.
 *
 * Errors of all: -EAGAIN, -EIO, -EROFS, -ENOSPC (nothing changed), -ENOMEM, -EPERM (immutable or
 * append-only), -EINVAL (arguments), -EFBIG, and the error of a write that the kernel sent
 * meanwhile and that failed (nothing changed).
 */
#ifndef UDAX_LAYOUT_H
#define UDAX_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "gate.h"

struct inode;

enum layout_op {
	LAYOUT_TRUNCATE,
	LAYOUT_PUNCH,
	LAYOUT_ZERO,
	LAYOUT_COLLAPSE,
	LAYOUT_INSERT,
	LAYOUT_EXCHANGE,
	LAYOUT_RELOCATE,
	LAYOUT_FILL, /* changes nothing: takes back zeroes where blocks are about to come (fill.h) */
};

/** Who asks. */
struct layout_ctx {
	bool may_wait;
	bool kill_priv; /* drop set-user-ID and set-group-ID bits */
};

/** One change under way: what policy->layout_enter() gets. len UINT64_MAX: to the end. */
struct layout_change {
	enum layout_op op;
	struct inode *inode;
	uint64_t pos, len;   /* bytes that are invalidated and kept invalid */
	struct inode *other; /* of an exchange, else NULL */
	uint64_t other_pos;
	uint64_t free_pos, free_end; /* bytes of it whose blocks go away: none of them is kept */
	bool moves;		     /* blocks that stay the file's, or become another's, move */
	bool may_wait;
	bool needs_uncached; /* -EBUSY while the file is in cached mode */
	/*
	 * Whether the range is (still) the right one; NULL: always. Asked when the gates stand and
	 * nobody has been recalled yet: if not, -ESTALE. So nobody is recalled, or waited for, twice.
	 */
	bool (*fits)(const struct layout_change *change);
	/* The pages at the ends of a punch of which only a part goes: 0, 1 or 2 ranges of bytes. */
	struct {
		uint64_t pos, end;
	} edges[2];
	unsigned nedges;
	/* The policy's own, from enter to exit. */
	uint64_t deadline;  /* for every recall of this change: sync_now_ns() time */
	uint64_t waited_ns; /* for clients */
	struct gate gates[2];
	enum file_mode mode; /* when the gate was closed */
};

/** layout_truncate - set the size: down frees, up leaves a hole. Also -EISDIR. */
int layout_truncate(struct inode *inode, uint64_t size, const struct layout_ctx *ctx);

/**
 * layout_fallocate - @mode of fallocate(2): 0, KEEP_SIZE, PUNCH_HOLE|KEEP_SIZE, ZERO_RANGE with or
 * without KEEP_SIZE, COLLAPSE_RANGE, INSERT_RANGE (both: uncached mode, multiples of 4096, within
 * EOF: -EINVAL; -EBUSY). Others: -EOPNOTSUPP.
 */
int layout_fallocate(struct inode *inode, int mode, uint64_t pos, uint64_t len,
		     const struct layout_ctx *ctx);

/**
 * layout_exchange - swap the blocks of two ranges of @len bytes, multiples of 4096 (or both ending
 * at EOF), of two different files in uncached mode. -EBUSY.
 */
int layout_exchange(struct inode *a, uint64_t a_pos, struct inode *b, uint64_t b_pos, uint64_t len,
		    const struct layout_ctx *ctx);

/**
 * layout_relocate - see to it that each 2 MiB piece of the file that [@pos, @pos + @len) touches, and
 * that is not a hole from end to end, can be mapped huge: it moves into an aligned run of its own
 * where it does not stand in one. Uncached mode: -EBUSY. A piece that has moved stays moved when a
 * later one fails; *@ret_moved: their bytes, also on failure. -ENOSPC also when no whole run is free.
 * Each piece recalls for itself; -ETIMEDOUT when the next one would have to, and clients were waited for
 * as long as a deadline already.
 */
int layout_relocate(struct inode *inode, uint64_t pos, uint64_t len, const struct layout_ctx *ctx,
		    uint64_t *ret_moved);

/**
 * layout_begin - exclude everybody from @change, finish what is pending, and replace what a late client
 * may still map: blocks in the granules of the range that stay (all but those that the change frees) get
 * copies in their place, and go to quarantine. What the file reads as does not change. So what a late
 * client stores from now on is in no file. Blocks that move are replaced for clients that outlived an
 * earlier daemon, too.
 *
 * 0: layout_end() undoes it. Else nothing is held, and nothing has changed that could be read: as
 * policy->layout_enter(), -ESTALE, -ENOSPC, -EIO, -ENOMEM.
 */
int layout_begin(struct layout_change *change);
void layout_end(struct layout_change *change);

/**
 * layout_copy_out - that, for blocks of [@pos, @end): the range is excluded. @moves: as in struct
 * layout_change. -ENOSPC, -EIO, -ENOMEM.
 */
int layout_copy_out(struct inode *inode, uint64_t pos, uint64_t end, bool moves);

/** layout_resume - finish what the dinode says is pending. For recovery, and before a new change. */
int layout_resume(struct inode *inode);

#endif
