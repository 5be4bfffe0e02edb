/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fuse_dir.c - reading directories.
 *
 * The kernel's offset says where to go on: 0 begins with ".", 1 with "..", from 2 on it is a
 * position in the directory (dir.h) plus 2. Entries never move, so an offset stays valid while
 * others come and go, and nothing is kept between two calls.
 *
 * Entries are taken from the directory in batches, under its ilock. What is said about the inodes
 * behind them is read afterwards: one ilock at a time.
 */
#include "fuse_ops.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dir.h"
#include "file.h"
#include "format.h"
#include "fuse_request.h"
#include "inode.h"
#include "volume.h"

#define FIRST_POS 2 /* the offset of position 0 */
#define BATCH 64

struct listing {
	fuse_req_t req;
	struct session *s;
	struct inode *dir;
	bool plus;
	char *buf;
	size_t size, used;
};

/* Add one entry; @next is the offset behind it. False: it does not fit any more. */
static bool list_plain(struct listing *l, const struct dir_entry *entry, off_t next)
{
	struct stat st = { .st_ino = entry->ino, .st_mode = (mode_t)DTTOIF(entry->type) };
	size_t room = l->size - l->used;
	size_t bytes = fuse_add_direntry(l->req, l->buf + l->used, room, entry->name, &st, next);

	if (bytes > room)
		return false;
	l->used += bytes;
	return true;
}

/*
 * The same with attributes, counted as a lookup. An inode that cannot be had (unlinked meanwhile,
 * damaged), "." and ".." come without: the kernel then looks them up if it wants them.
 */
static bool list_plus(struct listing *l, const struct dir_entry *entry, off_t next)
{
	struct fuse_entry_param param = { .attr = { .st_ino = entry->ino,
						    .st_mode = (mode_t)DTTOIF(entry->type) } };
	size_t room = l->size - l->used, bytes;
	struct inode *inode = NULL;

	if (next > FIRST_POS && inode_get(l->s->vol, entry->ino, &inode) == 0)
		entry_fill(l->s, inode, &param);
	bytes = fuse_add_direntry_plus(l->req, l->buf + l->used, room, entry->name, &param, next);
	if (inode && bytes > room)
		entry_undo(l->s, &param);
	if (inode)
		inode_put(inode);
	if (bytes > room)
		return false;
	l->used += bytes;
	return true;
}

static bool list(struct listing *l, const struct dir_entry *entry, off_t next)
{
	return l->plus ? list_plus(l, entry, next) : list_plain(l, entry, next);
}

static uint64_t parent_of(struct inode *dir)
{
	uint64_t parent;

	ilock(dir, SYNC_SHARED, HERE);
	parent = from_le64(inode_peek(NULL, dir)->parent);
	iunlock(dir, SYNC_SHARED, HERE);
	return parent;
}

/* "." and "..". False: the buffer is full. */
static bool list_dots(struct listing *l, off_t *off)
{
	struct dir_entry dot = { .ino = l->dir->ino, .type = DT_DIR, .name = "." };
	struct dir_entry dotdot = { .type = DT_DIR, .name = ".." };

	if (*off == 0) {
		if (!list(l, &dot, 1))
			return false;
		*off = 1;
	}
	if (*off == 1) {
		dotdot.ino = parent_of(l->dir);
		if (!list(l, &dotdot, FIRST_POS))
			return false;
		*off = FIRST_POS;
	}
	return true;
}

/* Up to @n entries from @pos on. Returns how many, or -EIO when the first cannot be read. */
static int read_batch(struct inode *dir, uint64_t pos, struct dir_entry *entries, int n)
{
	int i = 0, err;

	ilock(dir, SYNC_SHARED, HERE);
	err = dir_iterate(dir, pos, &entries[0]);
	while (!err) {
		if (++i == n)
			break;
		entries[i] = entries[i - 1];
		err = dir_next(dir, &entries[i]);
	}
	iunlock(dir, SYNC_SHARED, HERE);
	return i || err == -ENOENT ? i : err;
}

static int list_entries(struct listing *l, off_t off)
{
	struct dir_entry entries[BATCH];
	int n = BATCH;

	while (n == BATCH) {
		n = read_batch(l->dir, (uint64_t)(off - FIRST_POS), entries, BATCH);
		if (n < 0)
			return l->used ? 0 : n;
		for (int i = 0; i < n; i++) {
			off = (off_t)entries[i].pos + 1 + FIRST_POS;
			if (!list(l, &entries[i], off))
				return 0;
		}
	}
	return 0;
}

static void read_dir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	struct session *s = session_of(req);
	struct listing l = { .req = req, .s = s, .plus = plus, .size = size, .buf = malloc(size) };
	int err = l.buf ? request_inode(req, ino, &l.dir) : -ENOMEM;

	if (!err && !S_ISDIR(l.dir->type))
		err = -ENOTDIR;
	if (!err)
		err = volume_usable(s->vol, false);
	if (!err && list_dots(&l, &off))
		err = list_entries(&l, off);
	if (err)
		request_reply_err(req, err);
	else
		fuse_reply_buf(req, l.buf, l.used);
	free(l.buf);
	if (!l.dir)
		return;
	if (!err && !s->opt.noatime && !s->opt.nodiratime)
		file_touch_atime(l.dir);
	inode_put(l.dir);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)fi;
	read_dir(req, ino, size, off, false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	(void)fi;
	read_dir(req, ino, size, off, true);
}
