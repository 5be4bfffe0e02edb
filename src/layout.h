/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * layout.h - operations that change what stands where in a file: truncate, punch, zero, collapse,
 * insert, exchange, relocate, preallocate.
 *
 * Each is wholly there or not at all, also after a crash: one that takes several transactions
 * writes what is left of it into the dinode with its first step, and recovery goes on from there.
 *
 * They exclude faults, fills and I/O through the policy (udax/policy.h, mmaplock.h). The caller
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
	bool may_wait;
	bool needs_uncached; /* -EBUSY while the file is in cached mode */
	/* The pages at the ends of a punch of which only a part goes: 0, 1 or 2 ranges of bytes. */
	struct {
		uint64_t pos, end;
	} edges[2];
	unsigned nedges;
	/* The policy's own, from enter to exit. */
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
 * later one fails; *@ret_moved: their bytes. -ENOSPC also when no whole run is free.
 */
int layout_relocate(struct inode *inode, uint64_t pos, uint64_t len, const struct layout_ctx *ctx,
		    uint64_t *ret_moved);

/**
 * layout_copy_out - before blocks of [@pos, @pos + @len) move to another place or file: those that a
 * late client may still map are replaced by copies, and go to quarantine. The range is excluded
 * (layout_enter). What the file reads as does not change. -ENOSPC, -EIO, -ENOMEM.
 */
int layout_copy_out(struct inode *inode, uint64_t pos, uint64_t len);

/** layout_resume - finish what the dinode says is pending. For recovery, and before a new change. */
int layout_resume(struct inode *inode);

#endif
