/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * inode.c - reading, changing, creating and freeing inodes. inode.h says what an inode is; the
 * table that caches them is icache.c, the one on the medium itable.c.
 *
 * A file that loses its last link is marked pending in the same transaction. It is freed, here,
 * when its last reference goes: piece by piece, in as many transactions as its extents need, each
 * of which leaves a shorter file that is still pending. Recovery does the same with what a crash
 * left.
 */
#include "inode.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "acl.h"
#include "crc.h"
#include "get_blocks.h"
#include "icache.h"
#include "itable.h"
#include "journal.h"
#include "region.h"
#include "volume.h"

/* ---- locks ------------------------------------------------------------------------------------ */

void ilock(struct inode *inode, enum sync_mode mode, const struct sync_site *site)
{
	sync_rw_lock(&inode->ilock, mode, 0, site);
}

void ilock_nested(struct inode *inode, enum sync_mode mode, unsigned subclass,
		  const struct sync_site *site)
{
	sync_rw_lock(&inode->ilock, mode, subclass, site);
}

void iunlock(struct inode *inode, enum sync_mode mode, const struct sync_site *site)
{
	sync_rw_unlock(&inode->ilock, mode, site);
}

/* The set in ascending order, each once. Returns how many. */
static unsigned sorted_set(struct inode *const inodes[ILOCK_MANY], struct inode *ret[ILOCK_MANY])
{
	unsigned n = 0;

	for (unsigned i = 0; i < ILOCK_MANY; i++) {
		unsigned at = 0;

		if (!inodes[i])
			continue;
		while (at < n && ret[at]->ino < inodes[i]->ino)
			at++;
		if (at < n && ret[at] == inodes[i])
			continue;
		memmove(&ret[at + 1], &ret[at], (n - at) * sizeof(ret[0]));
		ret[at] = inodes[i];
		n++;
	}
	return n;
}

void ilock_many(struct inode *inodes[ILOCK_MANY], const struct sync_site *site)
{
	struct inode *sorted[ILOCK_MANY + 1];
	unsigned n = sorted_set(inodes, sorted);

	for (unsigned i = 0; i < n; i++)
		ilock_nested(sorted[i], SYNC_EXCL, i, site);
}

void iunlock_many(struct inode *inodes[ILOCK_MANY], const struct sync_site *site)
{
	struct inode *sorted[ILOCK_MANY + 1];
	unsigned n = sorted_set(inodes, sorted);

	while (n-- > 0)
		iunlock(sorted[n], SYNC_EXCL, site);
}

/* ---- the dinode ---------------------------------------------------------------------------------- */

const struct dinode *inode_peek(const struct tx *tx, const struct inode *inode)
{
	sync_rw_assert(&inode->ilock, SYNC_SHARED);
	return tx_peek(tx, inode->vol, inode->off, DINODE_BYTES);
}

int inode_modify(struct tx *tx, struct inode *inode, struct dinode **ret_di)
{
	sync_rw_assert(&inode->ilock, SYNC_EXCL);
	return tx_modify(tx, inode->off, DINODE_BYTES, TX_META, (void **)ret_di);
}

void dinode_touch(struct volume *vol, struct dinode *di, unsigned which)
{
	struct timespec now = sync_realtime(vol->sync);
	le64 sec = to_le64((uint64_t)now.tv_sec);
	le32 ns = to_le32((uint32_t)now.tv_nsec);

	if (which & TOUCH_ATIME) {
		di->atime = sec;
		di->atime_ns = ns;
	}
	if (which & TOUCH_MTIME) {
		di->mtime = sec;
		di->mtime_ns = ns;
	}
	if (which & TOUCH_CTIME) {
		di->ctime = sec;
		di->ctime_ns = ns;
	}
}

static struct timespec timespec_of(le64 sec, le32 ns)
{
	return (struct timespec){ .tv_sec = (time_t)(int64_t)from_le64(sec),
				  .tv_nsec = from_le32(ns) % 1000000000u };
}

uint64_t inode_size(struct inode *inode)
{
	uint64_t size;

	ilock(inode, SYNC_SHARED, HERE);
	size = from_le64(inode_peek(NULL, inode)->size);
	iunlock(inode, SYNC_SHARED, HERE);
	return size;
}

void inode_attr(struct inode *inode, struct attr *ret)
{
	const struct dinode *di;

	ilock(inode, SYNC_SHARED, HERE);
	di = inode_peek(NULL, inode);
	*ret = (struct attr){ .ino = inode->ino,
			      .generation = inode->generation,
			      .mode = from_le32(di->mode),
			      .uid = from_le32(di->uid),
			      .gid = from_le32(di->gid),
			      .nlink = from_le32(di->nlink),
			      .flags = from_le32(di->flags),
			      .projid = from_le32(di->projid),
			      .size = from_le64(di->size),
			      .nblocks = from_le64(di->nblocks),
			      .rdev_major = from_le32(di->rdev_major),
			      .rdev_minor = from_le32(di->rdev_minor),
			      .atime = timespec_of(di->atime, di->atime_ns),
			      .mtime = timespec_of(di->mtime, di->mtime_ns),
			      .ctime = timespec_of(di->ctime, di->ctime_ns),
			      .btime = timespec_of(di->btime, di->btime_ns) };
	iunlock(inode, SYNC_SHARED, HERE);
}

void dinode_kill_priv(struct dinode *di)
{
	uint32_t mode = from_le32(di->mode);

	if (!S_ISREG(mode))
		return;
	mode &= ~(uint32_t)S_ISUID;
	if (mode & S_IXGRP)
		mode &= ~(uint32_t)S_ISGID;
	di->mode = to_le32(mode);
}

/* Copy the members that @set names. */
static void dinode_set(struct volume *vol, struct dinode *di, unsigned set, const struct attr *attr)
{
	if (set & SET_MODE)
		di->mode =
			to_le32((from_le32(di->mode) & S_IFMT) | (attr->mode & ~(uint32_t)S_IFMT));
	if (set & SET_KILL_PRIV)
		dinode_kill_priv(di);
	if (set & SET_KILL_SGID && S_ISREG(from_le32(di->mode)))
		di->mode = to_le32(from_le32(di->mode) & ~(uint32_t)S_ISGID);
	if (set & SET_UID)
		di->uid = to_le32(attr->uid);
	if (set & SET_GID)
		di->gid = to_le32(attr->gid);
	if (set & SET_FLAGS) /* where the target of a symlink stands is not for anybody to say */
		di->flags = to_le32((attr->flags & ~DINODE_INLINE_LINK) |
				    (from_le32(di->flags) & DINODE_INLINE_LINK));
	if (set & SET_PROJID)
		di->projid = to_le32(attr->projid);
	dinode_touch(vol, di, TOUCH_CTIME);
	if (set & SET_ATIME) {
		di->atime = to_le64((uint64_t)attr->atime.tv_sec);
		di->atime_ns = to_le32((uint32_t)attr->atime.tv_nsec);
	}
	if (set & SET_MTIME) {
		di->mtime = to_le64((uint64_t)attr->mtime.tv_sec);
		di->mtime_ns = to_le32((uint32_t)attr->mtime.tv_nsec);
	}
	if (set & SET_CTIME) {
		di->ctime = to_le64((uint64_t)attr->ctime.tv_sec);
		di->ctime_ns = to_le32((uint32_t)attr->ctime.tv_nsec);
	}
}

/*
 * Immutable and append-only inodes keep everything but the flags themselves. But who may append may
 * touch(1): an append would have moved the times as well.
 */
static bool set_allowed(const struct dinode *di, unsigned set)
{
	uint32_t frozen = from_le32(di->flags) & (DINODE_IMMUTABLE | DINODE_APPEND);
	unsigned allowed = SET_FLAGS | SET_PROJID | SET_KILL_PRIV | SET_KILL_SGID | SET_TIMES_NOW;

	if (frozen == DINODE_APPEND && set & SET_TIMES_NOW)
		allowed |= SET_ATIME | SET_MTIME;
	return !frozen || !(set & ~allowed);
}

int inode_setattr(struct inode *inode, unsigned set, const struct attr *attr)
{
	struct dinode *di;
	struct tx *tx;
	int err = tx_begin(inode->vol, 0, &tx, HERE);

	if (err)
		return err;
	ilock(inode, SYNC_EXCL, HERE);
	err = set_allowed(inode_peek(tx, inode), set) ? 0 : -EPERM;
	if (!err)
		err = inode_modify(tx, inode, &di);
	if (!err) {
		dinode_set(inode->vol, di, set, attr);
		if (set & SET_MODE)
			err = acl_chmod(tx, inode, (mode_t)from_le32(di->mode));
	}
	err = tx_end(tx, err);
	iunlock(inode, SYNC_EXCL, HERE);
	return err;
}

/* ---- creating, linking --------------------------------------------------------------------------- */

/* The group and set-group-ID bit of a new file, as XFS and POSIX have them. */
static void inherit_group(struct inode *parent, const struct cred *cred, struct dinode *di,
			  const struct tx *tx)
{
	const struct dinode *pdi = parent ? inode_peek(tx, parent) : NULL;

	di->gid = to_le32(cred->gid);
	if (!pdi || !(from_le32(pdi->mode) & S_ISGID))
		return;
	di->gid = pdi->gid;
	if (S_ISDIR(from_le32(di->mode)))
		di->mode = to_le32(from_le32(di->mode) | S_ISGID);
}

int inode_create(struct tx *tx, struct inode *parent, mode_t mode, const struct cred *cred,
		 uint32_t rdev_major, uint32_t rdev_minor, struct inode **ret_inode)
{
	struct volume *vol = tx_volume(tx);
	struct inode *inode;
	struct dinode *di;
	uint32_t generation;
	int err = itable_take(tx, mode, &inode, &generation);

	if (err)
		return err;
	ilock_nested(inode, SYNC_EXCL, ILOCK_MANY, HERE);
	err = inode_modify(tx, inode, &di);
	if (err) {
		inode_discard(inode);
		return err;
	}
	memset(di, 0, sizeof(*di));
	di->magic = to_le32(DINODE_MAGIC);
	di->ino = to_le64(inode->ino);
	di->generation = to_le32(generation);
	di->mode = to_le32(mode);
	di->uid = to_le32(cred->uid);
	di->rdev_major = to_le32(rdev_major);
	di->rdev_minor = to_le32(rdev_minor);
	inherit_group(parent, cred, di, tx);
	dinode_touch(vol, di, TOUCH_ATIME | TOUCH_MTIME | TOUCH_CTIME);
	di->btime = di->ctime;
	di->btime_ns = di->ctime_ns;
	*ret_inode = inode;
	return 0;
}

int inode_set_pending(struct tx *tx, struct inode *inode, bool pending)
{
	return itable_set_pending(tx, inode->ino, pending);
}

int inode_set_nlink(struct tx *tx, struct inode *inode, uint32_t nlink)
{
	struct dinode *di;
	bool had_links;
	int err = inode_modify(tx, inode, &di);

	if (err)
		return err;
	had_links = di->nlink != 0;
	di->nlink = to_le32(nlink);
	if (had_links == (nlink != 0) || di->pending.kind)
		return 0;
	return itable_set_pending(tx, inode->ino, nlink == 0);
}

/* ---- freeing -------------------------------------------------------------------------------------- */

static const enum fork_id forks[] = { FORK_DATA, FORK_INDEX, FORK_ATTR };

/*
 * The blocks of every fork but the index, which for an empty directory has none. A symlink with
 * its target inside has no forks to free.
 */
static int put_all_blocks(struct tx *tx, struct inode *inode, bool *ret_done)
{
	bool inline_link = from_le32(inode_peek(tx, inode)->flags) & DINODE_INLINE_LINK;
	int err = 0;

	*ret_done = true;
	for (unsigned i = 0; !err && *ret_done && i < sizeof(forks) / sizeof(forks[0]); i++) {
		if (forks[i] == FORK_INDEX || (forks[i] == FORK_DATA && inline_link))
			continue;
		err = put_blocks(tx, inode, forks[i], 0, MAX_FILE_BLOCKS,
				 atomic_load(&inode->vol->orphans), ret_done);
	}
	return err;
}

static int free_dinode(struct tx *tx, struct inode *inode)
{
	uint32_t generation = inode->generation + 1;
	struct dinode *di;
	int err = inode_modify(tx, inode, &di);

	if (err)
		return err;
	memset(di, 0, sizeof(*di));
	di->magic = to_le32(DINODE_MAGIC);
	di->ino = to_le64(inode->ino);
	di->generation = to_le32(generation);
	return itable_put(tx, inode->ino);
}

static int inode_free_step(struct inode *inode, bool *ret_done)
{
	struct tx *tx;
	int err = tx_begin(inode->vol, TX_RESERVE, &tx, HERE);

	if (err)
		return err;
	ilock(inode, SYNC_EXCL, HERE);
	err = put_all_blocks(tx, inode, ret_done);
	if (!err && *ret_done)
		err = free_dinode(tx, inode);
	err = tx_end(tx, err);
	iunlock(inode, SYNC_EXCL, HERE);
	return err;
}

void inode_free(struct inode *inode)
{
	bool done = false;
	int err = 0;

	/* On an error the inode stays pending: the next mount, or fsck, tries again. */
	while (!done && !err)
		err = inode_free_step(inode, &done);
}

/* ---- verification ---------------------------------------------------------------------------------- */

static bool fork_sane(const struct fork_header *fork, unsigned capacity)
{
	return from_le16(fork->level) <= TREE_MAX_LEVEL && from_le16(fork->nrecs) <= capacity &&
	       (!fork->level || fork->nrecs);
}

static bool type_sane(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFLNK:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		return true;
	default:
		return false;
	}
}

int dinode_check(const struct dinode *di, uint64_t ino)
{
	uint32_t mode = from_le32(di->mode);
	bool inline_link = from_le32(di->flags) & DINODE_INLINE_LINK;

	if (from_le32(di->magic) != DINODE_MAGIC ||
	    from_le32(di->csum) != crc32c_skip(di, sizeof(*di), offsetof(struct dinode, csum)) ||
	    from_le64(di->ino) != ino)
		return -EUCLEAN;
	if (!mode)
		return -ESTALE;
	if (!type_sane(mode) || from_le64(di->size) > MAX_FILE_BYTES ||
	    from_le32(di->pending.kind) > PENDING_EXCHANGE ||
	    from_le32(di->xattr_bytes) > MAX_XATTR_BLOB_BYTES ||
	    !fork_sane(&di->attr, FORK_ATTR_RECS))
		return -EUCLEAN;
	if (inline_link)
		return S_ISLNK(mode) && from_le64(di->size) < INLINE_LINK_BYTES ? 0 : -EUCLEAN;
	if (!fork_sane(&di->data, FORK_DATA_RECS) || !fork_sane(&di->index, FORK_INDEX_RECS))
		return -EUCLEAN;
	return 0;
}
