/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fuse_attr.c - attributes of inodes, and of the volume.
 *
 * How long the kernel may believe what it was told: as long as the mount says, because everything
 * that changes attributes goes through the kernel. Only a file in uncached mode can change behind
 * its back (a client's store, a range collapsed), so there it asks each time.
 */
#include "fuse_ops.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

#include "alloc.h"
#include "format.h"
#include "fuse_arrive.h"
#include "fuse_request.h"
#include "inode.h"
#include "layout.h"
#include "mode.h"
#include "volume.h"

#define NGROUPS_FEW 64

void attr_to_stat(const struct attr *attr, struct stat *ret_st)
{
	*ret_st = (struct stat){
		.st_ino = attr->ino,
		.st_mode = attr->mode,
		.st_nlink = attr->nlink,
		.st_uid = attr->uid,
		.st_gid = attr->gid,
		.st_rdev = makedev(attr->rdev_major, attr->rdev_minor),
		.st_size = (off_t)attr->size,
		.st_blksize = BLOCK_BYTES,
		.st_blocks = (blkcnt_t)(attr->nblocks * (BLOCK_BYTES / 512)),
		.st_atim = attr->atime,
		.st_mtim = attr->mtime,
		.st_ctim = attr->ctime,
	};
}

double attr_timeout(const struct session *s, struct inode *inode)
{
	return mode_of(inode) == MODE_UNCACHED ? 0 : s->opt.attr_timeout;
}

static bool in_group(fuse_req_t req, gid_t gid)
{
	gid_t groups[NGROUPS_FEW], *list = groups;
	bool found = fuse_req_ctx(req)->gid == gid;
	int n = found ? 0 : fuse_req_getgroups(req, NGROUPS_FEW, groups), size = n;

	if (n > NGROUPS_FEW) {
		list = calloc((size_t)n, sizeof(*list));
		n = list ? fuse_req_getgroups(req, n, list) : 0;
		n = n < size ? n : size;
	}
	while (!found && n-- > 0)
		found = list[n] == gid;
	if (list != groups)
		free(list);
	return found;
}

bool inode_loses_power(fuse_req_t req, struct inode *inode)
{
	struct attr attr;

	inode_attr(inode, &attr);
	/* As on other filesystems a change of the mode of its own, before what is asked for. */
	if ((attr.mode & (S_ISGID | S_IXGRP)) == S_ISGID && !in_group(req, attr.gid))
		inode_setattr(inode, SET_KILL_SGID, &attr);
	return attr.mode & (S_ISUID | S_ISGID);
}

/* The request at hand holds the inode in the kernel, so this does not wait for its eviction. */
void power_lost(struct session *s, struct inode *inode)
{
	session_holder_ops.attr_changed(s, inode->ino);
}

/* ---- getattr, statx ------------------------------------------------------------------------------ */

static struct udax_fuse_sx_time sx_time(struct timespec t)
{
	return (struct udax_fuse_sx_time){ .tv_sec = t.tv_sec, .tv_nsec = (uint32_t)t.tv_nsec };
}

static void reply_statx(fuse_req_t req, const struct attr *attr, double timeout)
{
	struct udax_fuse_statx_out out = {
		.attr_valid = (uint64_t)timeout,
		.attr_valid_nsec = (uint32_t)((timeout - (double)(uint64_t)timeout) * 1e9),
		.stat = {
			.mask = STATX_BASIC_STATS | STATX_BTIME,
			.blksize = BLOCK_BYTES,
			.nlink = attr->nlink,
			.uid = attr->uid,
			.gid = attr->gid,
			.mode = (uint16_t)attr->mode,
			.ino = attr->ino,
			.size = attr->size,
			.blocks = attr->nblocks * (BLOCK_BYTES / 512),
			.atime = sx_time(attr->atime),
			.btime = sx_time(attr->btime),
			.ctime = sx_time(attr->ctime),
			.mtime = sx_time(attr->mtime),
			.rdev_major = attr->rdev_major,
			.rdev_minor = attr->rdev_minor,
		},
	};

	fuse_reply_buf(req, (const char *)&out, sizeof(out));
}

static void reply_attr(fuse_req_t req, struct inode *inode)
{
	double timeout = attr_timeout(session_of(req), inode);
	struct attr attr;
	struct stat st;

	inode_attr(inode, &attr);
	if (request_current(req)->a.statx) {
		reply_statx(req, &attr, timeout);
		return;
	}
	attr_to_stat(&attr, &st);
	fuse_reply_attr(req, &st, timeout);
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct inode *inode;
	int err = request_inode(req, ino, &inode);

	(void)fi;
	if (err) {
		request_reply_err(req, err);
		return;
	}
	reply_attr(req, inode);
	inode_put(inode);
}

/* ---- setattr ------------------------------------------------------------------------------------ */

/* What inode_setattr() is to change, and to what. Returns a set of enum set_attr. */
static unsigned wanted_attr(const struct request *rq, struct attr *ret_attr)
{
	const struct stat *st = &rq->a.u.setattr.attr;
	int to_set = rq->a.u.setattr.set;
	struct timespec now = sync_realtime(rq->s->sync);
	unsigned set = 0;

	ret_attr->mode = st->st_mode;
	ret_attr->uid = st->st_uid;
	ret_attr->gid = st->st_gid;
	ret_attr->atime = to_set & FUSE_SET_ATTR_ATIME_NOW ? now : st->st_atim;
	ret_attr->mtime = to_set & FUSE_SET_ATTR_MTIME_NOW ? now : st->st_mtim;
	ret_attr->ctime = st->st_ctim;
	if (to_set & FUSE_SET_ATTR_MODE)
		set |= SET_MODE;
	if (to_set & FUSE_SET_ATTR_UID)
		set |= SET_UID;
	if (to_set & FUSE_SET_ATTR_GID)
		set |= SET_GID;
	if (to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW))
		set |= SET_ATIME;
	/* A truncate sets it to now by itself. */
	if (to_set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW) &&
	    !(to_set & FUSE_SET_ATTR_SIZE && to_set & FUSE_SET_ATTR_MTIME_NOW))
		set |= SET_MTIME;
	if (to_set & FUSE_SET_ATTR_ATIME_NOW && to_set & FUSE_SET_ATTR_MTIME_NOW)
		set |= SET_TIMES_NOW;
	if (to_set & FUSE_SET_ATTR_CTIME)
		set |= SET_CTIME;
	/* A new owner does not inherit the power of the old one. */
	if (set & (SET_UID | SET_GID) && !S_ISDIR(rq->a.inode->type))
		set |= SET_KILL_PRIV;
	return set;
}

static enum outcome run_setattr(struct request *rq)
{
	struct layout_ctx ctx = { .may_wait = rq->a.may_wait, .kill_priv = request_kills_priv(rq) };
	struct inode *inode = rq->a.inode;
	struct attr attr;
	struct stat st;
	unsigned set;
	int err = 0;

	if (rq->a.u.setattr.set & FUSE_SET_ATTR_SIZE) {
		if (ctx.kill_priv)
			inode_loses_power(rq->a.req, inode);
		err = layout_truncate(inode, (uint64_t)rq->a.u.setattr.attr.st_size, &ctx);
		if (err == -EAGAIN && !rq->a.may_wait)
			return NEEDS_POOL;
	}
	set = wanted_attr(rq, &attr);
	if (!err && set)
		err = inode_setattr(inode, set, &attr);
	if (err) {
		request_reply_err(rq->a.req, err);
		return REPLIED;
	}
	inode_attr(inode, &attr);
	attr_to_stat(&attr, &st);
	fuse_reply_attr(rq->a.req, &st, attr_timeout(rq->s, inode));
	return REPLIED;
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int set,
		struct fuse_file_info *fi)
{
	struct request *rq = request_current(req);
	int err = request_inode(req, ino, &rq->a.inode);

	(void)fi;
	if (err) {
		request_reply_err(req, err);
		return;
	}
	rq->a.u.setattr.attr = *attr;
	rq->a.u.setattr.set = set;
	request_start(rq, run_setattr);
}

/* ---- statfs ------------------------------------------------------------------------------------- */

void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct volume *vol = session_of(req)->vol;
	struct space space;
	struct icache_stat icache;
	struct statvfs st;

	(void)ino;
	alloc_space(vol, &space);
	icache_stat(vol, &icache);
	st = (struct statvfs){
		.f_bsize = BLOCK_BYTES,
		.f_frsize = BLOCK_BYTES,
		.f_blocks = space.total,
		.f_bfree = space.free,
		.f_bavail = space.free > space.reserve ? space.free - space.reserve : 0,
		/* The table grows as needed: every free block could hold inodes. */
		.f_files = icache.ninodes + space.free * DINODES_PER_BLOCK,
		.f_ffree = icache.ninodes_free + space.free * DINODES_PER_BLOCK,
		.f_namemax = MAX_NAME_BYTES,
	};
	st.f_favail = st.f_ffree;
	fuse_reply_statfs(req, &st);
}
