/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * inode.h - inodes: in memory, on the medium, and the table between.
 *
 * An inode in memory is a handle: locks, reference counts, the place of its dinode. What a file
 * *is* stays in the dinode on the medium, which is memory too; it is read under ilock and changed
 * in transactions. So caching a million inodes costs a million handles and no second copy of the
 * truth.
 *
 * Locks of an inode, in order: iolock, mmaplock, (a transaction), ilock, holder lock.
 *   iolock    uncached reads shared; uncached writes, copies and layout changes exclusive
 *   mmaplock  page faults shared, layout changes exclusive (mmaplock.h)
 *   ilock     the dinode, extent map, directory entries and attributes: shared to read,
 *             exclusive from the first tx_modify() to the return of tx_commit()
 * Of two inodes the one with the smaller number is locked first; the second with subclass 1, ...
 *
 * References: an inode with any is cached. The last inode_put() drops it, and frees it on the
 * medium when it has no links.
 */
#ifndef UDAX_INODE_H
#define UDAX_INODE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "format.h"
#include "sync.h"

struct dir_hints;
struct holder;
struct tx;
struct volume;

struct inode {
	struct volume *vol;
	uint64_t ino;
	uint32_t generation;
	mode_t type;  /* S_IFMT bits; never change */
	uint64_t off; /* of the dinode, in the region */
	struct sync_rwlock iolock, mmaplock, ilock;
	atomic_bool
		half_changed; /* a layout change failed half-way, and waits for pending_resume() */
	struct holder *_Atomic holder; /* gate, mode, admissions (holder.h); NULL until needed */
	void *policy_state;	       /* of the locking scheme (udax/policy.h) */
	struct dir_hints *dir; /* where a directory has room (dir.c); NULL until first needed */

	/* Under the icache lock. */
	uint64_t refs;	  /* of any kind */
	uint64_t nlookup; /* of those, the kernel's (FUSE lookup count) */
	bool loading;	  /* not usable yet */
	bool discarded;	  /* never came into being; no longer in the table */
	struct inode *hash_next;
};

/** Who asks, for new files: ownership and umask. */
struct cred {
	uid_t uid;
	gid_t gid;
	mode_t umask;
};

struct attr {
	uint64_t ino;
	uint32_t generation;
	uint32_t mode, uid, gid, nlink, flags, projid;
	uint64_t size, nblocks; /* bytes, 4 KiB blocks */
	uint32_t rdev_major, rdev_minor;
	struct timespec atime, mtime, ctime, btime;
};

/**
 * inode_get - a reference to inode @ino, from the cache or the medium.
 * Returns 0; -ESTALE when @ino is free or outside the table; -EIO when its dinode is damaged.
 * inode_put - drop a reference. May run transactions (freeing the file): no lock is held.
 * inode_ref - one more reference to an inode that the caller has one to.
 */
int inode_get(struct volume *vol, uint64_t ino, struct inode **ret_inode);
void inode_put(struct inode *inode);
void inode_ref(struct inode *inode);

/** inode_lookup_add / inode_lookup_drop - the kernel's references, counted beside. */
void inode_lookup_add(struct inode *inode, uint64_t n);
void inode_lookup_drop(struct volume *vol, uint64_t ino, uint64_t n);

/** inode_size - in bytes, of this moment: takes the ilock, shared. */
uint64_t inode_size(struct inode *inode);

/** inode_find - the cached inode @ino with a new reference, or NULL. Never reads the medium. */
struct inode *inode_find(struct volume *vol, uint64_t ino);

/* Locking by name, with position. Two inodes: inode_lock_two sorts them; a == b is allowed. */
void ilock(struct inode *inode, enum sync_mode mode, const struct sync_site *site);
void ilock_nested(struct inode *inode, enum sync_mode mode, unsigned subclass,
		  const struct sync_site *site);
void iunlock(struct inode *inode, enum sync_mode mode, const struct sync_site *site);

/**
 * ilock_many - lock up to 4 inodes exclusively in inode order. NULL and repeated entries are
 * skipped. iunlock_many releases the same set.
 */
#define ILOCK_MANY 4
void ilock_many(struct inode *inodes[ILOCK_MANY], const struct sync_site *site);
void iunlock_many(struct inode *inodes[ILOCK_MANY], const struct sync_site *site);

/** inode_peek - the dinode as @tx (or NULL) sees it. ilock held. Never NULL. */
const struct dinode *inode_peek(const struct tx *tx, const struct inode *inode);

/** inode_modify - the dinode, to be changed in @tx. ilock held exclusively. Errors of tx_modify. */
int inode_modify(struct tx *tx, struct inode *inode, struct dinode **ret_di);

/**
 * inode_prepare - make sure that the table has free inodes, before the transaction that creates
 * one. Takes a transaction of its own, so none may be open. 0, -ENOSPC, -EIO, -ENOMEM, -EROFS.
 */
int inode_prepare(struct volume *vol);

/**
 * inode_create - a new inode with no links, in @tx. The caller gives it links by inode_set_nlink()
 * in the same transaction, or marks it pending by inode_set_pending().
 *
 * @parent gives the group under set-group-ID directories; may be NULL. Returned with a reference
 * and its ilock held exclusively with subclass 4 (nobody else can know it); if @tx is aborted the
 * caller calls inode_discard(). -ENOSPC, -EIO, -ENOMEM, -EFBIG.
 */
int inode_create(struct tx *tx, struct inode *parent, mode_t mode, const struct cred *cred,
		 uint32_t rdev_major, uint32_t rdev_minor, struct inode **ret_inode);
void inode_discard(struct inode *inode);

/**
 * inode_set_nlink - set nlink in @tx, and pending with it: an inode with no links is pending.
 */
int inode_set_nlink(struct tx *tx, struct inode *inode, uint32_t nlink);

/** inode_set_pending - set or clear the inode's bit in the pending plane, in @tx. */
int inode_set_pending(struct tx *tx, struct inode *inode, bool pending);

enum touch { TOUCH_ATIME = 1, TOUCH_MTIME = 2, TOUCH_CTIME = 4 };

/** dinode_touch - set timestamps of a dinode under change to now. */
void dinode_touch(struct volume *vol, struct dinode *di, unsigned which);

/** inode_attr - read the attributes; takes ilock shared. */
void inode_attr(struct inode *inode, struct attr *ret);

enum set_attr {
	SET_MODE = 1,
	SET_UID = 2,
	SET_GID = 4,
	SET_ATIME = 8,
	SET_MTIME = 16,
	SET_CTIME = 32,
	SET_KILL_PRIV = 64,   /* drop set-user-ID, and set-group-ID where group-executable */
	SET_KILL_SGID = 1024, /* drop set-group-ID, group-executable or not */
	SET_TIMES_NOW = 512, /* atime and mtime are the present: an append-only inode allows that */
	SET_FLAGS = 128,
	SET_PROJID = 256,
};

/**
 * inode_setattr - change attributes other than size, in one transaction. @attr has the values of
 * the members in @set. ctime is set to now unless SET_CTIME gives it. 0, -EPERM (immutable or
 * append-only), -EROFS, -EIO, -ENOSPC.
 */
int inode_setattr(struct inode *inode, unsigned set, const struct attr *attr);

/** inode_kill_priv - as SET_KILL_PRIV within a transaction that holds @di. */
void dinode_kill_priv(struct dinode *di);

/**
 * The recovery step of mount: walk the pending planes and finish or free each inode that is
 * there. 0, -EIO, -ENOMEM.
 */
int inode_recover(struct volume *vol);

/** inode_has_operations - whether a change of a layout waits to be finished by recovery. */
bool inode_has_operations(struct volume *vol);

/** icache_stat - what the table holds, for `udaxctl stat`. */
struct icache_stat {
	uint64_t cached, bytes_each, hits, misses;
	uint64_t ninodes_free, ninodes; /* in chunks that exist */
};
void icache_stat(struct volume *vol, struct icache_stat *ret);

/** icache_new - the table of a mounted volume. 0, -ENOMEM, -EIO. icache_delete drops all handles. */
int icache_new(struct volume *vol);
void icache_delete(struct volume *vol);

/** icache_for_each - call @fn for every cached inode, each with a reference of its own. */
void icache_for_each(struct volume *vol, void (*fn)(struct inode *inode, void *ctx), void *ctx);

#endif
