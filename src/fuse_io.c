/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fuse_io.c - data: read, write, fsync, fallocate, data and holes, copying.
 *
 * The mode of the handle says what keeps the blocks in place meanwhile:
 *
 *   cached    the request is of the kernel's page cache: fill, write(2), writeback. It is admitted
 *             past the gates (policy->fill_enter), or parked, and counted until its reply is with
 *             the kernel. A page fault cannot be told from read(2) here, so no iolock is taken.
 *   uncached  file.c takes the iolock.
 *
 * A read is one copy: its reply is sent from where the bytes stand in the region. A write is one
 * copy from the message into the region. Where the region cannot be read, a system call would only
 * say EFAULT, so each page is touched before (region_touch), which turns that into EIO.
 *
 * After the reply the kernel may release the handle at once: the request counts itself as a user.
 */
#include "fuse_ops.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "fuse_request.h"
#include "inode.h"
#include "layout.h"
#include "mode.h"
#include "region.h"
#include "udax/policy.h"
#include "volume.h"

/* copy_file_range(2) may do less than asked; others wait for the iolock meanwhile. */
#define MAX_COPY_BYTES (8u << 20)

static struct request *begin_io(fuse_req_t req, const struct fuse_file_info *fi)
{
	struct request *rq = request_current(req);

	/* Of a write it is known since its arrival. */
	if (!rq->a.handle) {
		rq->a.handle = handle_of(fi);
		handle_get(rq->a.handle);
	}
	return rq;
}

static bool is_cached(const struct request *rq)
{
	return rq->a.handle->mode == MODE_CACHED;
}

/* ---- reading ------------------------------------------------------------------------------------ */

/* Make sure that the kernel can copy from all pieces of the region: 0 or -EIO. */
static int touch_pieces(struct region *region, const struct read_plan *plan)
{
	int err = 0;

	for (unsigned i = 0; !err && i < plan->npieces; i++) {
		const unsigned char *base = plan->pieces[i].iov_base;

		if (base >= region->base && base < region->base + region->bytes)
			err = region_touch(region, (uint64_t)(base - region->base),
					   plan->pieces[i].iov_len);
	}
	return err;
}

/* Copy what is left of a read in too many pieces for one plan. Returns the bytes in @buf. */
static int64_t gather(const struct request *rq, unsigned flags, unsigned char *buf)
{
	struct inode *inode = rq->a.handle->inode;
	size_t done = 0;

	while (done < rq->a.u.io.len) {
		struct read_plan plan;
		int err = file_read_begin(inode, rq->a.u.io.pos + done, rq->a.u.io.len - done,
					  flags, &plan);

		if (err)
			return err;
		err = touch_pieces(rq->s->vol->region, &plan);
		for (unsigned i = 0; !err && i < plan.npieces; i++) {
			memcpy(buf + done, plan.pieces[i].iov_base, plan.pieces[i].iov_len);
			done += plan.pieces[i].iov_len;
		}
		file_read_end(inode, &plan);
		if (err)
			return err;
		if (!plan.bytes)
			break; /* EOF */
	}
	return (int64_t)done;
}

static void reply_gathered(struct request *rq, unsigned flags)
{
	unsigned char *buf = malloc(rq->a.u.io.len);
	int64_t n = buf ? gather(rq, flags, buf) : -ENOMEM;

	if (n < 0)
		request_reply_err(rq->a.req, (int)n);
	else
		fuse_reply_buf(rq->a.req, (const char *)buf, (size_t)n);
	free(buf);
}

static void reply_read(struct request *rq, unsigned flags)
{
	struct inode *inode = rq->a.handle->inode;
	struct read_plan plan;
	int err = file_read_begin(inode, rq->a.u.io.pos, rq->a.u.io.len, flags, &plan);

	if (err) {
		request_reply_err(rq->a.req, err);
		return;
	}
	if (plan.npieces == READ_MAX_PIECES && plan.bytes < rq->a.u.io.len) {
		file_read_end(inode, &plan);
		reply_gathered(rq, flags);
		return;
	}
	err = touch_pieces(rq->s->vol->region, &plan);
	if (err)
		request_reply_err(rq->a.req, err);
	else if (plan.npieces == 1)
		fuse_reply_buf(rq->a.req, plan.pieces[0].iov_base, plan.pieces[0].iov_len);
	else
		fuse_reply_iov(rq->a.req, plan.pieces, (int)plan.npieces);
	file_read_end(inode, &plan);
}

/* For whoever watches: the kernel takes a copy of what @rq asks for. */
static void tell_fill(const struct request *rq, enum sync_step step)
{
	sync_tell(rq->s->sync,
		  &(struct sync_told){
			  .kind = SYNC_FILL,
			  .step = step,
			  .ino = rq->a.handle->inode->ino,
			  .pos = rq->a.adm.pos,
			  .len = rq->a.adm.len,
		  },
		  HERE);
}

static enum outcome run_read(struct request *rq)
{
	struct inode *inode = rq->a.handle->inode;
	const struct udax_policy *policy = rq->s->vol->policy;

	if (is_cached(rq)) {
		int err = policy->fill_enter(inode, &rq->a.adm);

		if (err == -EINPROGRESS)
			return PARKED;
		if (err) {
			request_reply_err(rq->a.req, err);
			return REPLIED;
		}
		tell_fill(rq, SYNC_BEGIN);
		reply_read(rq, IO_CACHED);
		policy->fill_exit(inode, &rq->a.adm, 0);
		tell_fill(rq, SYNC_END);
	} else {
		reply_read(rq, IO_UNCACHED);
	}
	if (!rq->s->opt.noatime && !(rq->a.handle->flags & O_NOATIME))
		file_touch_atime(inode);
	return REPLIED;
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t len, off_t pos, struct fuse_file_info *fi)
{
	struct request *rq = begin_io(req, fi);

	(void)ino;
	rq->a.u.io.pos = (uint64_t)pos;
	rq->a.u.io.len = len;
	/* Only what a process reads past the page cache comes with an owner. */
	rq->a.adm = (struct admission){
		.kind = fi->lock_owner ? ADMIT_DIRECT_READ : ADMIT_FILL,
		.pos = (uint64_t)pos,
		.len = len,
		.waiter = &rq->waiter,
	};
	request_start(rq, run_read);
}

/* ---- writing ------------------------------------------------------------------------------------ */

/* Returns the bytes written, or -errno. A page that was stored to is written back wholly or not. */
static int64_t do_write(struct request *rq)
{
	struct inode *inode = rq->a.handle->inode;
	bool power = rq->a.u.io.flags & IO_KILL_PRIV && inode_loses_power(rq->a.req, inode);
	int64_t n = file_write(inode, rq->a.u.io.pos, rq->a.u.io.data, rq->a.u.io.len,
			       rq->a.u.io.flags);

	if (power)
		power_lost(rq->s, inode);
	if (n > 0 && (!is_cached(rq) || rq->a.handle->flags & O_DIRECT))
		capability_lost(inode);
	if (n >= 0 && (size_t)n < rq->a.u.io.len && rq->a.u.io.flags & IO_WRITEBACK)
		return -ENOSPC;
	return n;
}

static void reply_written(fuse_req_t req, int64_t n)
{
	if (n < 0)
		request_reply_err(req, (int)n);
	else
		fuse_reply_write(req, (size_t)n);
}

static enum outcome run_write(struct request *rq)
{
	struct inode *inode = rq->a.handle->inode;
	const struct udax_policy *policy = rq->s->vol->policy;
	int64_t n;

	if (is_cached(rq)) {
		int err = policy->fill_enter(inode, &rq->a.adm);

		if (err == -EINPROGRESS)
			return PARKED;
		if (err) {
			request_reply_err(rq->a.req, err);
			return REPLIED;
		}
		n = do_write(rq);
		reply_written(rq->a.req, n);
		policy->fill_exit(inode, &rq->a.adm, n < 0 ? (int)n : 0);
		rq->a.announced = false;
		return REPLIED;
	}
	if (rq->a.may_wait)
		rq->a.u.io.flags |= IO_MAY_WAIT;
	n = do_write(rq);
	if (n == -EAGAIN && !rq->a.may_wait)
		return NEEDS_POOL; /* clients show zeroes there, and have to be told */
	reply_written(rq->a.req, n);
	return REPLIED;
}

static unsigned write_flags(const struct request *rq, const struct fuse_file_info *fi)
{
	unsigned flags = is_cached(rq) ? IO_CACHED : IO_UNCACHED;

	if (fi->writepage)
		return flags | IO_WRITEBACK;
	if (request_kills_priv(rq))
		flags |= IO_KILL_PRIV;
	/* Whoever appends to an uncached file may have an old idea of where its end is. */
	if (fi->flags & O_APPEND)
		flags |= IO_APPEND;
	return flags;
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t len, off_t pos,
	      struct fuse_file_info *fi)
{
	struct request *rq = begin_io(req, fi);

	(void)ino;
	if (is_cached(rq) && !rq->a.announced) {
		request_reply_err(req, -ENOMEM); /* there was none when it arrived */
		return;
	}
	rq->a.u.io.pos = (uint64_t)pos;
	rq->a.u.io.len = len;
	rq->a.u.io.data = data;
	rq->a.u.io.flags = write_flags(rq, fi);
	request_start(rq, run_write);
}

/*
 * Every write is durable before it is answered, and the kernel writes its dirty pages back before it
 * asks: what is left are stores of clients. But it has to ask. When the connection breaks, it drops the
 * pages that it could not send, and fsync(2) and msync(2) learn of that only because this request fails
 * too.
 */
void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	int err = volume_usable(session_of(req)->vol, false);

	(void)ino, (void)datasync;
	if (!err && handle_of(fi))
		err = file_sync(handle_of(fi)->inode, &handle_of(fi)->sync_seen);
	request_reply_err(req, err);
}

/* ---- fallocate ---------------------------------------------------------------------------------- */

static enum outcome run_fallocate(struct request *rq)
{
	struct layout_ctx ctx = { .may_wait = rq->a.may_wait,
				  .kill_priv = !request_is_privileged(rq->a.req) };
	struct inode *inode = rq->a.handle->inode;
	bool power = ctx.kill_priv && inode_loses_power(rq->a.req, inode);
	int err = layout_fallocate(inode, rq->a.u.range.mode, rq->a.u.range.pos, rq->a.u.range.len,
				   &ctx);

	if (err == -EAGAIN && !rq->a.may_wait)
		return NEEDS_POOL;
	if (power)
		power_lost(rq->s, inode);
	request_reply_err(rq->a.req, err);
	return REPLIED;
}

void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t pos, off_t len,
		  struct fuse_file_info *fi)
{
	struct request *rq = begin_io(req, fi);

	(void)ino;
	rq->a.u.range.mode = mode;
	rq->a.u.range.pos = (uint64_t)pos;
	rq->a.u.range.len = (uint64_t)len;
	request_start(rq, run_fallocate);
}

/* ---- data and holes ----------------------------------------------------------------------------- */

/*
 * SEEK_DATA and SEEK_HOLE do not flush the kernel's dirty folios, so what a store through a mapping
 * put into a hole would be skipped by whoever copies by them. The kernel holds i_rwsem here, so it
 * may be notified (gate.h); not by a thread that serves, because that waits for writes.
 */
static enum outcome run_lseek(struct request *rq)
{
	struct volume *vol = rq->s->vol;
	struct inode *inode = rq->a.handle->inode;
	uint64_t pos;
	int err;

	if (mode_may_have_stores(inode)) {
		if (!rq->a.may_wait)
			return NEEDS_POOL;
		sync_assert_none_held(vol->sync, HERE);
		sync_pretend(vol->sync, LOCK_KERNEL_FOLIO, HERE);
		vol->holder_ops->notify(vol->holder_ctx, inode->ino, 0, 0);
	}
	err = file_seek(inode, rq->a.u.range.pos, rq->a.u.range.mode, &pos);
	if (err)
		request_reply_err(rq->a.req, err);
	else
		fuse_reply_lseek(rq->a.req, (off_t)pos);
	return REPLIED;
}

void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t pos, int whence, struct fuse_file_info *fi)
{
	struct request *rq;

	(void)ino;
	if (!handle_of(fi)) { /* a directory has neither */
		request_reply_err(req, -EINVAL);
		return;
	}
	rq = begin_io(req, fi);
	rq->a.u.range.mode = whence;
	rq->a.u.range.pos = (uint64_t)pos;
	request_start(rq, run_lseek);
}

/* ---- copying ------------------------------------------------------------------------------------ */

static enum outcome run_copy(struct request *rq)
{
	struct inode *in = rq->a.handle->inode, *out = rq->a.u.copy.out->inode;
	unsigned flags = rq->a.may_wait ? IO_MAY_WAIT : 0;
	bool kill = !request_is_privileged(rq->a.req);
	bool power = kill && inode_loses_power(rq->a.req, out);
	int64_t n;

	/*
	 * The kernel truncates its cache of the range after our reply. An old folio that is written
	 * back before that would undo the copy: then the kernel copies, through its cache.
	 */
	if (mode_may_have_stores(out)) {
		request_reply_err(rq->a.req, -EOPNOTSUPP);
	} else {
		n = file_copy(in, rq->a.u.copy.in_pos, out, rq->a.u.copy.out_pos,
			      rq->a.u.copy.len < MAX_COPY_BYTES ? rq->a.u.copy.len : MAX_COPY_BYTES,
			      flags | (kill ? IO_KILL_PRIV : 0));
		if (n == -EAGAIN && !rq->a.may_wait)
			return NEEDS_POOL;
		if (power)
			power_lost(rq->s, out);
		reply_written(rq->a.req, n);
	}
	handle_put(rq->a.u.copy.out);
	return REPLIED;
}

void op_copy_file_range(fuse_req_t req, fuse_ino_t in_ino, off_t in_pos,
			struct fuse_file_info *in_fi, fuse_ino_t out_ino, off_t out_pos,
			struct fuse_file_info *out_fi, size_t len, int flags)
{
	struct request *rq;

	(void)in_ino, (void)out_ino;
	if (flags) {
		request_reply_err(req, -EINVAL);
		return;
	}
	rq = begin_io(req, in_fi);
	rq->a.u.copy.out = handle_of(out_fi);
	handle_get(rq->a.u.copy.out);
	rq->a.u.copy.in_pos = (uint64_t)in_pos;
	rq->a.u.copy.out_pos = (uint64_t)out_pos;
	rq->a.u.copy.len = len;
	request_start(rq, run_copy);
}
