/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * itable.h - the inode table on the medium: a file (inode 0, "the inode file") of chunks, each a
 * map of used and pending inodes followed by the dinodes. It only grows.
 *
 * Locks: the inode file's ilock, subclass ITABLE_SUBCLASS, over its extent map and size; each
 * chunk's map lock (LOCK_ALLOC) over its bits. Both inside any other inode's ilock.
 */
#ifndef UDAX_ITABLE_H
#define UDAX_ITABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "sync.h"

struct inode;
struct region;
struct super;
struct tx;
struct volume;

#define ITABLE_SUBCLASS (LOCK_NR_SUBCLASSES - 1)

/** itable_new - open the table of a mounted volume: 0, -EIO, -ENOMEM. itable_delete frees it. */
int itable_new(struct volume *vol);
void itable_delete(struct volume *vol);

/** itable_off - where the dinode of @ino stands, in the region: 0, -ESTALE (no such place), -EIO. */
int itable_off(struct volume *vol, uint64_t ino, uint64_t *ret_off);

/**
 * itable_take - a free inode, used from @tx's commit on; given back if it aborts. The handle has
 * one reference and is in the cache. *@ret_generation differs from that of any former owner.
 * -ENOSPC: inode_prepare() is to be called, with no transaction open. -ENOMEM, -EIO, -EFBIG.
 */
int itable_take(struct tx *tx, mode_t mode, struct inode **ret_inode, uint32_t *ret_generation);

/** itable_put - @ino is free when @tx commits, and not pending. */
int itable_put(struct tx *tx, uint64_t ino);

/** itable_set_pending - the inode's bit in the pending plane. */
int itable_set_pending(struct tx *tx, uint64_t ino, bool pending);

/** itable_next_pending - the first pending inode from @ino on: 0, -ENOENT, -EIO. */
int itable_next_pending(struct volume *vol, uint64_t ino, uint64_t *ret_ino);

/** itable_count - inodes that have a place, and of those the free ones. */
void itable_count(struct volume *vol, uint64_t *ret_total, uint64_t *ret_free);

/**
 * itable_format - write the first @nblocks blocks of the inode file at @blk, its dinode and the
 * root directory. For volume_format().
 */
void itable_format(struct region *region, uint64_t blk, uint32_t nblocks, const struct super *super,
		   uint32_t generation, uint32_t uid, uint32_t gid);

#endif
