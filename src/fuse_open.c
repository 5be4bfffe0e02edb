/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fuse_open.c - opening and closing regular files.
 *
 * The first open decides the file's mode (mode.h). An open that enters a mode in which the kernel
 * may have stale copies has to notify the kernel before it is answered: in a pool thread. Opens
 * that come meanwhile are parked. What the answer says about the kernel's cache:
 *
 *   cached    KEEP_CACHE: the kernel's own invalidation at open holds no lock that would keep
 *             write(2) out, and what is cached is right. An O_DIRECT open of a cached file gets
 *             the same answer; the kernel then takes care of its cache for each transfer.
 *   uncached  DIRECT_IO for every handle, also one opened without O_DIRECT.
 */
#include "fuse_ops.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "fuse_request.h"
#include "grant.h"
#include "inode.h"
#include "mode.h"
#include "namespace.h"
#include "volume.h"

static bool for_writing(int flags)
{
	return (flags & O_ACCMODE) != O_RDONLY;
}

/* What the kernel cannot know about the permission to open. */
static int may_open(struct inode *inode, int flags)
{
	int err = volume_usable(inode->vol, for_writing(flags));
	struct attr attr;

	if (err || !for_writing(flags))
		return err;
	inode_attr(inode, &attr);
	if (attr.flags & DINODE_IMMUTABLE)
		return -EPERM;
	if (attr.flags & DINODE_APPEND && (!(flags & O_APPEND) || flags & O_TRUNC))
		return -EPERM;
	return 0;
}

/* A handle, with a reference to @inode of its own, for the kernel and for @rq. 0, -ENOMEM. */
static int handle_new(struct request *rq, struct inode *inode, int flags)
{
	struct handle *handle = calloc(1, sizeof(*handle));

	if (!handle)
		return -ENOMEM;
	inode_ref(inode);
	handle->inode = inode;
	handle->flags = flags;
	atomic_init(&handle->users, 2);
	if (for_writing(flags))
		handle->mode_flags |= MODE_WRITER;
	if ((flags & O_ACCMODE) == O_RDWR)
		handle->mode_flags |= MODE_STORER;
	if (flags & O_DIRECT)
		handle->mode_flags |= MODE_WANT_UNCACHED;
	rq->a.handle = handle;
	return 0;
}

/* The kernel does not have the handle, or does not have it any more. */
static void handle_close(struct handle *handle)
{
	mode_release(handle->inode, handle->mode_flags);
	handle_put(handle);
}

static void reply_open(struct request *rq)
{
	struct handle *handle = rq->a.handle;
	struct fuse_file_info *fi = &rq->a.u.open.fi;
	struct fuse_entry_param *entry = &rq->a.u.open.entry;
	bool uncached = handle->mode == MODE_UNCACHED;
	int lost;

	fi->fh = (uint64_t)(uintptr_t)handle;
	fi->keep_cache = !uncached;
	fi->direct_io = uncached;
	if (uncached)
		entry->attr_timeout = 0;
	if (rq->a.u.open.create)
		lost = fuse_reply_create(rq->a.req, entry, fi);
	else
		lost = fuse_reply_open(rq->a.req, fi);
	if (!lost)
		return;
	handle_close(handle);
	if (rq->a.u.open.create)
		entry_undo(rq->s, entry);
}

static enum outcome run_open(struct request *rq)
{
	struct handle *handle = rq->a.handle;
	struct inode *inode = handle->inode;
	int err;

	if (rq->a.u.open.entering) {
		mode_enter(inode);
		handle->sync_seen = grant_sync_seen(inode);
		reply_open(rq);
		return REPLIED;
	}
	err = mode_open(inode, handle->mode_flags, &rq->waiter, &handle->mode);
	if (err == -EINPROGRESS)
		return PARKED;
	if (err == -EALREADY) {
		rq->a.u.open.entering = true;
		return NEEDS_POOL;
	}
	if (err) {
		if (rq->a.u.open.create)
			entry_undo(rq->s, &rq->a.u.open.entry);
		handle_put(handle); /* the kernel's */
		request_reply_err(rq->a.req, err);
		return REPLIED;
	}
	handle->sync_seen = grant_sync_seen(inode);
	/* It may have been told attributes for long, which may now change without it. */
	if (handle->mode == MODE_UNCACHED && !rq->a.u.open.create)
		session_holder_ops.attr_changed(rq->s, inode->ino);
	reply_open(rq);
	return REPLIED;
}

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct request *rq = request_current(req);
	int err = request_inode(req, ino, &rq->a.inode);

	if (!err)
		err = may_open(rq->a.inode, fi->flags);
	if (!err)
		err = handle_new(rq, rq->a.inode, fi->flags);
	if (err) {
		request_reply_err(req, err);
		return;
	}
	rq->a.u.open.fi = *fi;
	request_start(rq, run_open);
}

/* A new file, with a name or (O_TMPFILE) without. */
static int create_file(struct request *rq, struct inode *dir, const char *name, mode_t mode,
		       struct inode **ret_inode)
{
	struct cred cred = request_cred(rq->a.req);

	if (rq->a.tmpfile)
		return ns_tmpfile(dir, mode, &cred, ret_inode);
	return ns_create(dir, name, strlen(name), (mode & ~(mode_t)S_IFMT) | S_IFREG, &cred, 0, 0,
			 ret_inode);
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       struct fuse_file_info *fi)
{
	struct request *rq = request_current(req);
	struct inode *dir;
	int err = request_inode(req, parent, &dir);

	if (!err) {
		err = create_file(rq, dir, name, mode, &rq->a.inode);
		inode_put(dir);
	}
	if (!err)
		err = handle_new(rq, rq->a.inode, fi->flags);
	if (err) {
		request_reply_err(req, err);
		return;
	}
	rq->a.u.open.fi = *fi;
	rq->a.u.open.create = true;
	entry_fill(rq->s, rq->a.inode, &rq->a.u.open.entry);
	request_start(rq, run_open);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	handle_close(handle_of(fi));
	fuse_reply_err(req, 0);
}
