/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * namespace.c - operations on the tree of names. Each is one transaction:
 *
 *	find	    the inodes that the names stand for, each directory's ilock shared, and let go
 *	transaction tx_begin
 *	lock	    the ilocks of all of them, exclusively, in inode order
 *	look again  whether the names still say so; if not, from the start
 *	change	    names, link counts, times, in the transaction's copies
 *	commit	    and only then unlock
 *
 * The ilock of a directory is not held while an inode is fetched: the one that is wanted may be
 * on its way out, by a thread that waits for a lane of the journal, which may be held by one that
 * waits for this directory. So a name is looked up, the inode fetched, and the name looked at again.
 *
 * Directories move only under the rename mutex, taken before the transaction. That keeps every
 * path still while a rename walks it upward to see that nothing moves below itself. Creating and
 * removing a directory need no such thing: a new one has nothing below it, nor has an empty one.
 *
 * Link counts are those of POSIX: a directory has 2 and one for each directory in it. One that was
 * removed has 0, and nothing can be entered in it any more. An inode with 0 is pending, so that a
 * crash reclaims it, and lives until its last reference is put.
 */
#include "namespace.h"

#include <assert.h>
#include <errno.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "acl.h"
#include "dir.h"
#include "get_blocks.h"
#include "inode.h"
#include "journal.h"
#include "region.h"
#include "volume.h"

#define DTYPE(mode) ((uint8_t)(((mode)&S_IFMT) >> 12)) /* DT_* of dirent.h */

/* How often a name may lead to a free inode before that is no race but damage. */
#define MAX_STALE 16

/* ---- checks --------------------------------------------------------------------------------- */

/* Whether @name can be entered in, or taken out of, @dir. */
static int name_check(const struct inode *dir, const char *name, size_t len)
{
	if (!S_ISDIR(dir->type))
		return -ENOTDIR;
	if (len > MAX_NAME_BYTES)
		return -ENAMETOOLONG;
	if (!len || (len <= 2 && name[0] == '.' && name[len - 1] == '.'))
		return -EINVAL;
	return memchr(name, '/', len) || memchr(name, '\0', len) ? -EINVAL : 0;
}

static bool is_frozen(const struct tx *tx, const struct inode *inode, uint32_t flags)
{
	return from_le32(inode_peek(tx, inode)->flags) & flags;
}

static uint32_t links_of(const struct tx *tx, const struct inode *inode)
{
	return from_le32(inode_peek(tx, inode)->nlink);
}

/* Whether names may be entered in @dir. */
static int may_enter(const struct tx *tx, const struct inode *dir)
{
	if (!links_of(tx, dir))
		return -ENOENT;
	return is_frozen(tx, dir, DINODE_IMMUTABLE) ? -EPERM : 0;
}

/* Whether the name of @inode in @dir may go away. */
static int may_remove(const struct tx *tx, const struct inode *dir, const struct inode *inode)
{
	if (is_frozen(tx, dir, DINODE_IMMUTABLE | DINODE_APPEND) ||
	    is_frozen(tx, inode, DINODE_IMMUTABLE | DINODE_APPEND))
		return -EPERM;
	return 0;
}

/* ---- small changes ---------------------------------------------------------------------------- */

static int links_add(struct tx *tx, struct inode *inode, int delta)
{
	uint32_t n = links_of(tx, inode);

	if (!delta)
		return 0;
	if (delta < 0 && n < (uint32_t)-delta)
		return volume_damaged(inode->vol, inode->off, "link count");
	if (delta > 0 && n > MAX_LINKS - (uint32_t)delta)
		return -EMLINK;
	return inode_set_nlink(tx, inode, (uint32_t)((int64_t)n + delta));
}

static int touch(struct tx *tx, struct inode *inode, unsigned which)
{
	struct dinode *di;
	int err = inode_modify(tx, inode, &di);

	if (!err)
		dinode_touch(inode->vol, di, which);
	return err;
}

static int set_parent(struct tx *tx, struct inode *inode, const struct inode *parent)
{
	struct dinode *di;
	int err = inode_modify(tx, inode, &di);

	if (!err)
		di->parent = to_le64(parent->ino);
	return err;
}

/* ---- finding ----------------------------------------------------------------------------------- */

/* Fetch the inode that @entry of @dir names. -EAGAIN: the name has changed meanwhile. */
static int entry_inode(struct inode *dir, const struct dir_entry *entry, struct inode **ret_inode)
{
	struct inode *inode = NULL;
	int got = inode_get(dir->vol, entry->ino, &inode), err;

	if (got && got != -ESTALE)
		return got;
	ilock(dir, SYNC_SHARED, HERE);
	err = dir_holds(NULL, dir, entry);
	iunlock(dir, SYNC_SHARED, HERE);
	if (!err && !got && DTYPE(inode->type) != entry->type)
		err = volume_damaged(dir->vol, inode->off, "type of a directory entry");
	if (!err)
		err = got;
	if (err) {
		if (inode)
			inode_put(inode);
		return err == -ENOENT ? -EAGAIN : err;
	}
	*ret_inode = inode;
	return 0;
}

/* What @name in @dir stands for: 0 with a reference, -ENOENT, -EIO, -ENOMEM. */
static int find(struct inode *dir, const char *name, size_t len, struct dir_entry *ret_entry,
		struct inode **ret_inode)
{
	unsigned stale = 0;
	int err;

	for (;;) {
		ilock(dir, SYNC_SHARED, HERE);
		err = dir_lookup(NULL, dir, name, len, ret_entry);
		iunlock(dir, SYNC_SHARED, HERE);
		if (err)
			return err;
		err = entry_inode(dir, ret_entry, ret_inode);
		if (err == -ESTALE && ++stale == MAX_STALE)
			return volume_damaged(dir->vol, dir->off, "name of a free inode");
		if (err != -EAGAIN && err != -ESTALE)
			return err;
	}
}

static void parent_of(struct inode *dir, uint64_t *ret_ino, uint32_t *ret_nlink)
{
	ilock(dir, SYNC_SHARED, HERE);
	*ret_ino = from_le64(inode_peek(NULL, dir)->parent);
	*ret_nlink = links_of(NULL, dir);
	iunlock(dir, SYNC_SHARED, HERE);
}

/* -ENOENT: it has no name any more, and is gone as soon as nobody has it open. */
static int find_self(struct inode *inode, struct inode **ret_inode)
{
	uint32_t nlink;

	ilock(inode, SYNC_SHARED, HERE);
	nlink = links_of(NULL, inode);
	iunlock(inode, SYNC_SHARED, HERE);
	if (!nlink)
		return -ENOENT;
	inode_ref(inode);
	*ret_inode = inode;
	return 0;
}

/* The directory that @dir is in, the root for itself. -ENOENT: @dir was removed. */
static int find_parent(struct inode *dir, struct inode **ret_parent)
{
	for (unsigned stale = 0; stale < MAX_STALE; stale++) {
		struct inode *parent;
		uint64_t ino, again;
		uint32_t nlink;
		int err;

		parent_of(dir, &ino, &nlink);
		err = inode_get(dir->vol, ino, &parent);
		if (err && err != -ESTALE)
			return err;
		parent_of(dir, &again, &nlink);
		if (!err && ino == again && S_ISDIR(parent->type)) {
			*ret_parent = parent;
			return 0;
		}
		if (!err)
			inode_put(parent);
		if (!nlink)
			return -ENOENT;
	}
	return volume_damaged(dir->vol, dir->off, "parent of a directory");
}

int ns_lookup(struct inode *dir, const char *name, size_t len, struct inode **ret_inode)
{
	struct dir_entry entry;
	int err = volume_usable(dir->vol, false);

	if (err)
		return err;
	if (len == 1 && name[0] == '.')
		return find_self(dir, ret_inode);
	if (!S_ISDIR(dir->type))
		return -ENOTDIR;
	if (len > MAX_NAME_BYTES)
		return -ENAMETOOLONG;
	if (len == 2 && name[0] == '.' && name[1] == '.')
		return find_parent(dir, ret_inode);
	return find(dir, name, len, &entry, ret_inode);
}

/* ---- making ------------------------------------------------------------------------------------ */

/* What is to be made, and under which name; without one it is an O_TMPFILE. */
struct making {
	const char *name;
	size_t len;
	mode_t mode;
	const struct cred *cred;
	uint32_t rdev_major, rdev_minor;
	const char *target; /* of a symlink */
	size_t target_len;
};

/* A short target stands in the dinode, a long one in a block of its own. */
static int symlink_fill(struct tx *tx, struct inode *inode, const struct making *m)
{
	struct mapping map;
	struct dinode *di;
	int err = inode_modify(tx, inode, &di);

	if (err)
		return err;
	di->size = to_le64(m->target_len);
	if (m->target_len < INLINE_LINK_BYTES) {
		di->flags = to_le32(from_le32(di->flags) | DINODE_INLINE_LINK);
		memcpy(di->link, m->target, m->target_len);
		return 0;
	}
	err = get_blocks(tx, inode, 0, 1, GET_CREATE, 0, m->target_len, &map);
	if (err)
		return err;
	/* The block is fresh, so nothing but the commit can lead to it: no journal is needed. */
	region_store(inode->vol->region, map.pblk << BLOCK_SHIFT, m->target, m->target_len, HERE);
	return region_check(inode->vol->region, map.pblk << BLOCK_SHIFT, m->target_len);
}

/* Enter the new @inode in @dir. */
static int make_name(struct tx *tx, struct inode *dir, struct inode *inode, const struct making *m)
{
	bool is_dir = S_ISDIR(inode->type);
	int err = dir_add(tx, dir, m->name, m->len, inode->ino, DTYPE(inode->type));

	if (!err)
		err = inode_set_nlink(tx, inode, is_dir ? 2 : 1);
	if (!err && is_dir)
		err = set_parent(tx, inode, dir);
	if (!err)
		err = links_add(tx, dir, is_dir);
	if (!err)
		err = touch(tx, dir, TOUCH_MTIME | TOUCH_CTIME);
	return err;
}

/* *@ret_inode is set as soon as there is one, on failure too. */
static int make_in(struct tx *tx, struct inode *dir, const struct making *m,
		   struct inode **ret_inode)
{
	struct dir_entry entry;
	struct inode *inode;
	int err = may_enter(tx, dir);

	if (!err && m->name) {
		err = dir_lookup(tx, dir, m->name, m->len, &entry);
		err = err == -ENOENT ? 0 : err ? err : -EEXIST;
	}
	if (!err && S_ISDIR(m->mode) && links_of(tx, dir) >= MAX_LINKS)
		err = -EMLINK;
	if (!err)
		err = inode_create(tx, dir, m->mode, m->cred, m->rdev_major, m->rdev_minor, &inode);
	if (err)
		return err;
	*ret_inode = inode;
	err = acl_inherit(tx, dir, inode, m->cred->umask);
	if (!err && S_ISLNK(m->mode))
		err = symlink_fill(tx, inode, m);
	if (err)
		return err;
	return m->name ? make_name(tx, dir, inode, m) : inode_set_pending(tx, inode, true);
}

static int make_once(struct inode *dir, const struct making *m, struct inode **ret_inode)
{
	struct inode *inode = NULL;
	struct tx *tx;
	int err = inode_prepare(dir->vol);

	if (!err)
		err = tx_begin(dir->vol, 0, &tx, HERE);
	if (err)
		return err;
	ilock(dir, SYNC_EXCL, HERE);
	err = tx_end(tx, make_in(tx, dir, m, &inode));
	if (inode && err)
		inode_discard(inode);
	else if (inode)
		iunlock(inode, SYNC_EXCL, HERE);
	iunlock(dir, SYNC_EXCL, HERE);
	if (!err)
		*ret_inode = inode;
	return err;
}

static int make(struct inode *dir, const struct making *m, struct inode **ret_inode)
{
	int err;

	/* Others may take all the inodes that were prepared: few tries tell that from a full volume. */
	for (unsigned i = 0; i < 3; i++) {
		err = make_once(dir, m, ret_inode);
		if (err != -ENOSPC)
			break;
	}
	return err;
}

int ns_create(struct inode *dir, const char *name, size_t len, mode_t mode, const struct cred *cred,
	      uint32_t rdev_major, uint32_t rdev_minor, struct inode **ret_inode)
{
	struct making m = { .name = name, .len = len, .mode = mode, .cred = cred };
	int err = name_check(dir, name, len);

	if (err)
		return err;
	switch (mode & S_IFMT) {
	case S_IFCHR:
	case S_IFBLK:
		m.rdev_major = rdev_major;
		m.rdev_minor = rdev_minor;
		break;
	case S_IFREG:
	case S_IFDIR:
	case S_IFIFO:
	case S_IFSOCK:
		break;
	default:
		return -EINVAL;
	}
	m.mode &= S_IFMT | 07777;
	return make(dir, &m, ret_inode);
}

int ns_symlink(struct inode *dir, const char *name, size_t len, const char *target,
	       size_t target_len, const struct cred *cred, struct inode **ret_inode)
{
	struct making m = { .name = name,
			    .len = len,
			    .mode = S_IFLNK | 0777,
			    .cred = cred,
			    .target = target,
			    .target_len = target_len };
	int err = name_check(dir, name, len);

	if (err)
		return err;
	if (target_len > MAX_SYMLINK_BYTES)
		return -ENAMETOOLONG;
	if (!target_len || memchr(target, '\0', target_len))
		return -EINVAL;
	return make(dir, &m, ret_inode);
}

int ns_tmpfile(struct inode *dir, mode_t mode, const struct cred *cred, struct inode **ret_inode)
{
	struct making m = { .mode = S_IFREG | (mode & 07777), .cred = cred };

	if (!S_ISDIR(dir->type))
		return -ENOTDIR;
	return make(dir, &m, ret_inode);
}

/* ---- symbolic links ------------------------------------------------------------------------------ */

/* As mount option relatime: when it was read is of interest once after a change, and once a day. */
static bool atime_is_due(struct inode *inode, const struct dinode *di)
{
	int64_t atime = (int64_t)from_le64(di->atime);

	if (inode->vol->read_only || (from_le32(di->flags) & DINODE_NOATIME))
		return false;
	return atime <= (int64_t)from_le64(di->mtime) || atime <= (int64_t)from_le64(di->ctime) ||
	       sync_realtime(inode->vol->sync).tv_sec - atime >= 24 * 60 * 60;
}

/* That a link was read could not be noted: no reason to fail reading it. */
static void touch_atime(struct inode *inode)
{
	struct tx *tx;

	if (tx_begin(inode->vol, 0, &tx, HERE))
		return;
	ilock(inode, SYNC_EXCL, HERE);
	(void)tx_end(tx, touch(tx, inode, TOUCH_ATIME));
	iunlock(inode, SYNC_EXCL, HERE);
}

static int link_read(struct inode *inode, const struct dinode *di, char *buf, size_t size)
{
	struct volume *vol = inode->vol;
	uint64_t len = from_le64(di->size);
	struct mapping map;
	int err;

	if (!len || len > MAX_SYMLINK_BYTES)
		return volume_damaged(vol, inode->off, "length of a symbolic link");
	if (len >= size)
		return -ERANGE;
	buf[len] = '\0';
	if (from_le32(di->flags) & DINODE_INLINE_LINK) {
		if (len >= INLINE_LINK_BYTES)
			return volume_damaged(vol, inode->off, "length of a symbolic link");
		memcpy(buf, di->link, len);
		return region_check(vol->region, inode->off, DINODE_BYTES);
	}
	err = get_blocks(NULL, inode, 0, 1, 0, 0, 0, &map);
	if (err)
		return err;
	if (map.state != EXTENT_WRITTEN || !volume_owns_data(vol, map.pblk, 1))
		return volume_damaged(vol, inode->off, "target of a symbolic link");
	memcpy(buf, region_ptr(vol->region, map.pblk << BLOCK_SHIFT, len), len);
	return region_check(vol->region, map.pblk << BLOCK_SHIFT, len);
}

int ns_readlink(struct inode *inode, char *buf, size_t size)
{
	const struct dinode *di;
	bool due;
	int err = volume_usable(inode->vol, false);

	if (err)
		return err;
	if (!S_ISLNK(inode->type))
		return -EINVAL;
	ilock(inode, SYNC_SHARED, HERE);
	di = inode_peek(NULL, inode);
	err = link_read(inode, di, buf, size);
	due = atime_is_due(inode, di);
	iunlock(inode, SYNC_SHARED, HERE);
	if (!err && due)
		touch_atime(inode);
	return err;
}

/* ---- linking -------------------------------------------------------------------------------------- */

static int link_in(struct tx *tx, struct inode *inode, struct inode *dir, const char *name,
		   size_t len)
{
	struct dir_entry entry;
	int err = may_enter(tx, dir);

	if (err)
		return err;
	err = dir_lookup(tx, dir, name, len, &entry);
	if (err != -ENOENT)
		return err ? err : -EEXIST;
	if (is_frozen(tx, inode, DINODE_IMMUTABLE | DINODE_APPEND))
		return -EPERM;
	err = links_add(tx, inode, 1);
	if (!err)
		err = dir_add(tx, dir, name, len, inode->ino, DTYPE(inode->type));
	if (!err)
		err = touch(tx, inode, TOUCH_CTIME);
	if (!err)
		err = touch(tx, dir, TOUCH_MTIME | TOUCH_CTIME);
	return err;
}

int ns_link(struct inode *inode, struct inode *dir, const char *name, size_t len)
{
	struct inode *set[ILOCK_MANY] = { inode, dir };
	struct tx *tx;
	int err = name_check(dir, name, len);

	if (!err && S_ISDIR(inode->type))
		err = -EPERM;
	if (!err)
		err = tx_begin(dir->vol, 0, &tx, HERE);
	if (err)
		return err;
	ilock_many(set, HERE);
	err = tx_end(tx, link_in(tx, inode, dir, name, len));
	iunlock_many(set, HERE);
	return err;
}

/* ---- removing ------------------------------------------------------------------------------------- */

/* -EAGAIN: the name has changed since it was found. */
static int remove_in(struct tx *tx, struct inode *dir, struct inode *inode,
		     const struct dir_entry *entry)
{
	bool is_dir = S_ISDIR(inode->type);
	int err = dir_holds(tx, dir, entry);

	if (err)
		return err == -ENOENT ? -EAGAIN : err;
	err = may_remove(tx, dir, inode);
	if (!err && is_dir && !dir_is_empty(tx, inode))
		err = -ENOTEMPTY;
	if (!err)
		err = dir_remove(tx, dir, entry);
	if (!err)
		err = is_dir ? inode_set_nlink(tx, inode, 0) : links_add(tx, inode, -1);
	if (!err)
		err = links_add(tx, dir, -is_dir);
	if (!err)
		err = touch(tx, inode, TOUCH_CTIME);
	if (!err)
		err = touch(tx, dir, TOUCH_MTIME | TOUCH_CTIME);
	return err;
}

static int remove_once(struct inode *dir, const char *name, size_t len, bool want_dir)
{
	struct inode *set[ILOCK_MANY] = { dir };
	struct dir_entry entry;
	struct tx *tx;
	int err = find(dir, name, len, &entry, &set[1]);

	if (err)
		return err;
	if (S_ISDIR(set[1]->type) != want_dir)
		err = want_dir ? -ENOTDIR : -EISDIR;
	else if (set[1] == dir)
		err = volume_damaged(dir->vol, dir->off, "directory in itself");
	if (!err)
		err = tx_begin(dir->vol, TX_RESERVE, &tx, HERE);
	if (!err) {
		ilock_many(set, HERE);
		err = tx_end(tx, remove_in(tx, dir, set[1], &entry));
		iunlock_many(set, HERE);
	}
	inode_put(set[1]);
	return err;
}

static int remove_name(struct inode *dir, const char *name, size_t len, bool want_dir)
{
	int err = name_check(dir, name, len);

	if (!err)
		err = volume_usable(dir->vol, true);
	if (err)
		return err;
	do {
		err = remove_once(dir, name, len, want_dir);
	} while (err == -EAGAIN);
	return err;
}

int ns_unlink(struct inode *dir, const char *name, size_t len)
{
	return remove_name(dir, name, len, false);
}

int ns_rmdir(struct inode *dir, const char *name, size_t len)
{
	return remove_name(dir, name, len, true);
}

/* ---- renaming -------------------------------------------------------------------------------------- */

struct renaming {
	struct inode *old_dir, *new_dir;
	const char *old_name, *new_name;
	size_t old_len, new_len;
	unsigned flags;
	const struct cred *cred; /* with RENAME_WHITEOUT: whose the whiteout is */

	/* What was found. */
	struct inode *src, *dst; /* dst NULL: the new name is free */
	struct dir_entry src_entry, dst_entry;

	struct inode *whiteout; /* what was made: takes the old name */
};

static bool is_dir(const struct inode *inode)
{
	return inode && S_ISDIR(inode->type);
}

/* Whether a directory gets another parent. */
static bool rename_moves_dir(const struct renaming *r)
{
	return r->old_dir != r->new_dir &&
	       (is_dir(r->src) || ((r->flags & RENAME_EXCHANGE) && is_dir(r->dst)));
}

/*
 * Whether @dir is @top or lies below it: -EINVAL. The rename mutex keeps the path as it is. On a
 * damaged volume it may run in a circle, which Brent's method finds without memory.
 */
static int refuse_below(struct inode *dir, const struct inode *top)
{
	uint64_t mark = dir->ino, steps = 0, limit = 1;
	struct inode *parent;
	int err = 0;

	inode_ref(dir);
	while (dir != top && dir->ino != ROOT_INO) {
		err = find_parent(dir, &parent);
		inode_put(dir);
		if (err)
			return err;
		dir = parent;
		if (dir->ino == mark) {
			err = volume_damaged(dir->vol, dir->off, "circle of directories");
			break;
		}
		if (++steps == limit) {
			limit *= 2;
			steps = 0;
			mark = dir->ino;
		}
	}
	if (!err && dir == top)
		err = -EINVAL;
	inode_put(dir);
	return err;
}

static int rename_check_paths(const struct renaming *r)
{
	int err = 0;

	sync_assert_locked(&r->old_dir->vol->rename);
	if (is_dir(r->src))
		err = refuse_below(r->new_dir, r->src);
	if (!err && (r->flags & RENAME_EXCHANGE) && is_dir(r->dst))
		err = refuse_below(r->old_dir, r->dst);
	return err;
}

/* Whether the names still stand for what was found: 0, or -EAGAIN. */
static int rename_names_hold(struct tx *tx, const struct renaming *r)
{
	struct dir_entry entry;
	int err = dir_holds(tx, r->old_dir, &r->src_entry);

	if (!err && r->dst)
		err = dir_holds(tx, r->new_dir, &r->dst_entry);
	if (err)
		return err == -ENOENT ? -EAGAIN : err;
	if (r->dst)
		return 0;
	err = dir_lookup(tx, r->new_dir, r->new_name, r->new_len, &entry);
	return err == -ENOENT ? 0 : err ? err : -EAGAIN;
}

static int rename_allowed(struct tx *tx, const struct renaming *r)
{
	bool replaces = r->dst && !(r->flags & RENAME_EXCHANGE);
	int err = may_remove(tx, r->old_dir, r->src);

	if (!err)
		err = may_enter(tx, r->new_dir);
	if (!err && r->dst)
		err = may_remove(tx, r->new_dir, r->dst);
	if (err || !replaces)
		return err;
	if (is_dir(r->src) != is_dir(r->dst))
		return is_dir(r->dst) ? -EISDIR : -ENOTDIR;
	return is_dir(r->dst) && !dir_is_empty(tx, r->dst) ? -ENOTEMPTY : 0;
}

/* The old name goes, or gets what comes in exchange, or the whiteout. */
static int rename_old_name(struct tx *tx, const struct renaming *r)
{
	const struct inode *next = r->flags & RENAME_EXCHANGE ? r->dst : r->whiteout;

	if (!next)
		return dir_remove(tx, r->old_dir, &r->src_entry);
	return dir_change(tx, r->old_dir, &r->src_entry, next->ino, DTYPE(next->type));
}

static int rename_names(struct tx *tx, const struct renaming *r)
{
	uint8_t type = DTYPE(r->src->type);
	int err;

	if (r->dst) {
		err = dir_change(tx, r->new_dir, &r->dst_entry, r->src->ino, type);
		return err ? err : rename_old_name(tx, r);
	}
	/* Taken out first, so that its place can be had again. */
	err = rename_old_name(tx, r);
	return err ? err : dir_add(tx, r->new_dir, r->new_name, r->new_len, r->src->ino, type);
}

/* What each directory gains and loses in directories, and what a replaced inode loses. */
static int rename_links(struct tx *tx, const struct renaming *r)
{
	bool exchange = r->flags & RENAME_EXCHANGE;
	int leave = is_dir(r->src), come = exchange && is_dir(r->dst);
	int lost = !exchange && is_dir(r->dst);
	int err;

	if (r->old_dir == r->new_dir) {
		err = links_add(tx, r->new_dir, -lost);
	} else {
		err = links_add(tx, r->old_dir, come - leave);
		if (!err)
			err = links_add(tx, r->new_dir, leave - come - lost);
	}
	if (err || !r->dst || exchange)
		return err;
	return is_dir(r->dst) ? inode_set_nlink(tx, r->dst, 0) : links_add(tx, r->dst, -1);
}

static int rename_inodes(struct tx *tx, const struct renaming *r)
{
	bool exchange = r->flags & RENAME_EXCHANGE;
	int err = touch(tx, r->src, TOUCH_CTIME);

	if (!err && r->dst)
		err = touch(tx, r->dst, TOUCH_CTIME);
	if (!err && r->old_dir != r->new_dir && is_dir(r->src))
		err = set_parent(tx, r->src, r->new_dir);
	if (!err && r->old_dir != r->new_dir && exchange && is_dir(r->dst))
		err = set_parent(tx, r->dst, r->old_dir);
	if (!err)
		err = touch(tx, r->old_dir, TOUCH_MTIME | TOUCH_CTIME);
	if (!err && r->new_dir != r->old_dir)
		err = touch(tx, r->new_dir, TOUCH_MTIME | TOUCH_CTIME);
	return err;
}

/*
 * A whiteout says "this name is gone" to a union of directories (overlayfs): a device 0:0, which
 * nobody may open, so neither its mode nor an ACL says anything.
 */
static int make_whiteout(struct tx *tx, struct renaming *r)
{
	int err = inode_create(tx, r->old_dir, S_IFCHR, r->cred, 0, 0, &r->whiteout);

	return err ? err : inode_set_nlink(tx, r->whiteout, 1);
}

static int rename_in(struct tx *tx, struct renaming *r)
{
	int err = rename_names_hold(tx, r);

	if (err)
		return err;
	if (r->src == r->dst)
		return 0; /* two names of one inode: both stay */
	err = rename_allowed(tx, r);
	if (!err && (r->flags & RENAME_WHITEOUT))
		err = make_whiteout(tx, r);
	if (!err)
		err = rename_names(tx, r);
	if (!err)
		err = rename_links(tx, r);
	if (!err)
		err = rename_inodes(tx, r);
	return err;
}

/* After the transaction, with the result @err: it is known to others now, or never was. */
static void release_whiteout(struct inode *whiteout, int err)
{
	if (err) {
		inode_discard(whiteout);
		return;
	}
	iunlock(whiteout, SYNC_EXCL, HERE);
	inode_put(whiteout);
}

static int rename_locked(struct renaming *r)
{
	struct inode *set[ILOCK_MANY] = { r->old_dir, r->new_dir, r->src, r->dst };
	struct tx *tx;
	int err = tx_begin(r->old_dir->vol, 0, &tx, HERE);

	if (err)
		return err;
	r->whiteout = NULL;
	ilock_many(set, HERE);
	err = tx_end(tx, rename_in(tx, r));
	if (r->whiteout)
		release_whiteout(r->whiteout, err);
	iunlock_many(set, HERE);
	return err;
}

/* What can be said before anything is locked. */
static int rename_check_found(const struct renaming *r)
{
	if (r->dst && (r->flags & RENAME_NOREPLACE))
		return -EEXIST;
	if (!r->dst && (r->flags & RENAME_EXCHANGE))
		return -ENOENT;
	if (r->src == r->new_dir || r->src == r->old_dir)
		return -EINVAL;
	if ((r->flags & RENAME_EXCHANGE) && (r->dst == r->old_dir || r->dst == r->new_dir))
		return -EINVAL;
	return 0; /* without exchange it is not empty, and stays for that reason */
}

static int rename_found(struct renaming *r)
{
	struct sync_mutex *mutex = &r->old_dir->vol->rename;
	int err = rename_check_found(r);

	if (err || !rename_moves_dir(r))
		return err ? err : rename_locked(r);
	sync_lock(mutex, 0, HERE);
	err = rename_check_paths(r);
	if (!err)
		err = rename_locked(r);
	sync_unlock(mutex, HERE);
	return err;
}

static int rename_once(struct renaming *r)
{
	int err = find(r->old_dir, r->old_name, r->old_len, &r->src_entry, &r->src);

	if (err)
		return err;
	r->dst = NULL;
	err = find(r->new_dir, r->new_name, r->new_len, &r->dst_entry, &r->dst);
	if (!err || err == -ENOENT)
		err = rename_found(r);
	if (r->dst)
		inode_put(r->dst);
	inode_put(r->src);
	return err;
}

/* Names, locks and all: until the names hold still. */
static int rename_checked(struct renaming *r)
{
	bool whiteout = r->flags & RENAME_WHITEOUT;
	unsigned tries = 3;
	int err = name_check(r->old_dir, r->old_name, r->old_len);

	if (!err)
		err = name_check(r->new_dir, r->new_name, r->new_len);
	if (!err)
		err = volume_usable(r->old_dir->vol, true);
	if (err)
		return err;
	do {
		err = whiteout ? inode_prepare(r->old_dir->vol) : 0;
		if (!err)
			err = rename_once(r);
	} while (err == -EAGAIN || (err == -ENOSPC && whiteout && --tries)); /* as make() */
	return err;
}

int ns_rename(struct inode *old_dir, const char *old_name, size_t old_len, struct inode *new_dir,
	      const char *new_name, size_t new_len, unsigned flags)
{
	struct renaming r = { .old_dir = old_dir,
			      .new_dir = new_dir,
			      .old_name = old_name,
			      .old_len = old_len,
			      .new_name = new_name,
			      .new_len = new_len,
			      .flags = flags };

	if (flags && flags != RENAME_NOREPLACE && flags != RENAME_EXCHANGE)
		return -EINVAL;
	return rename_checked(&r);
}

int ns_rename_whiteout(struct inode *old_dir, const char *old_name, size_t old_len,
		       struct inode *new_dir, const char *new_name, size_t new_len, unsigned flags,
		       const struct cred *cred)
{
	struct renaming r = { .old_dir = old_dir,
			      .new_dir = new_dir,
			      .old_name = old_name,
			      .old_len = old_len,
			      .new_name = new_name,
			      .new_len = new_len,
			      .flags = flags,
			      .cred = cred };

	if (flags != RENAME_WHITEOUT && flags != (RENAME_WHITEOUT | RENAME_NOREPLACE))
		return -EINVAL;
	return rename_checked(&r);
}
