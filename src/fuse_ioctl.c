/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fuse_ioctl.c - which ioctls there are, what each may be asked by whom, and the way from the
 * kernel's request to the function that serves it and back.
 *
 * The kernel takes the lengths of the payload from the bits of the request's number and copies
 * accordingly; of numbers that it knows itself (FS_IOC_GETFLAGS, ...) it sends what it means,
 * which is 4 bytes where the number says long. So a length is checked against what is needed.
 *
 * An ioctl holds no lock of the kernel's inode. Those that change a layout may have to wait for
 * others: they are tried first, and go on in a thread that may wait.
 */
#include "fuse_ioctl.h"

#include <errno.h>
#include <linux/fs.h>
#include <string.h>
#include <unistd.h>

#include "fuse_ioctl_call.h"
#include "fuse_request.h"
#include "fuse_session.h"
#include "inode.h"
#include "mem.h"
#include "udax/ioctl.h"
#include "volume.h"

enum op_flags {
	OP_VERSION = 1,	 /* the payload begins with a version */
	OP_OWNER = 2,	 /* for the owner of the mount and root */
	OP_WRITABLE = 4, /* on a file that is open for writing */
	OP_WAITS = 8,	 /* -EAGAIN means: where waiting is allowed */
	OP_ALWAYS = 16,	 /* also after a shutdown */
};

static const struct op {
	unsigned cmd;
	unsigned flags;
	size_t in_bytes, out_bytes;
	int (*run)(struct ioctl_call *call);
} ops[] = {
#define IN(type) sizeof(type), 0
#define OUT(type) 0, sizeof(type)
#define IN_OUT(type) sizeof(type), sizeof(type)
	{ UDAX_IOC_INFO, OP_VERSION | OP_ALWAYS, IN_OUT(struct udax_ioc_info), ioctl_info },
	{ UDAX_IOC_SPACE, OP_VERSION, IN_OUT(struct udax_ioc_space), ioctl_space },
	{ UDAX_IOC_STAT, OP_VERSION | OP_ALWAYS, IN_OUT(struct udax_ioc_stat), ioctl_stat },
	{ UDAX_IOC_LOCKSTAT, OP_VERSION | OP_ALWAYS, IN_OUT(struct udax_ioc_lockstat),
	  ioctl_lockstat },
	{ UDAX_IOC_LOCKSTAT_CONTROL, OP_VERSION | OP_OWNER | OP_ALWAYS,
	  IN(struct udax_ioc_lockstat_control), ioctl_lockstat_control },
	{ UDAX_IOC_RECORD_START, OP_VERSION | OP_OWNER | OP_ALWAYS, IN_OUT(struct udax_ioc_record),
	  ioctl_record_start },
	{ UDAX_IOC_RECORD_READ, OP_VERSION | OP_OWNER | OP_ALWAYS,
	  IN_OUT(struct udax_ioc_record_read), ioctl_record_read },
	{ UDAX_IOC_RECORD_STOP, OP_VERSION | OP_OWNER | OP_ALWAYS, IN(struct udax_ioc_record),
	  ioctl_record_stop },
	{ UDAX_IOC_HOLDERS, OP_VERSION, IN_OUT(struct udax_ioc_holders), ioctl_holders },
	{ UDAX_IOC_MAP, OP_VERSION, IN_OUT(struct udax_ioc_map), ioctl_map },
	{ UDAX_IOC_COLLAPSE, OP_VERSION | OP_WRITABLE | OP_WAITS, IN(struct udax_ioc_range),
	  ioctl_collapse },
	{ UDAX_IOC_INSERT, OP_VERSION | OP_WRITABLE | OP_WAITS, IN(struct udax_ioc_range),
	  ioctl_insert },
	{ UDAX_IOC_TOKEN, OP_VERSION | OP_WRITABLE, IN_OUT(struct udax_ioc_token), ioctl_token },
	{ UDAX_IOC_EXCHANGE, OP_VERSION | OP_WRITABLE | OP_WAITS, IN(struct udax_ioc_exchange),
	  ioctl_exchange },
	{ UDAX_IOC_RELOCATE, OP_VERSION | OP_WRITABLE | OP_WAITS, IN_OUT(struct udax_ioc_relocate),
	  ioctl_relocate },
	{ UDAX_IOC_ATTACH, OP_VERSION, IN_OUT(struct udax_ioc_attach), ioctl_attach },
	{ UDAX_IOC_GROW, OP_VERSION | OP_OWNER, IN_OUT(struct udax_ioc_grow), ioctl_grow },
	{ UDAX_IOC_SHUTDOWN, OP_OWNER | OP_ALWAYS, 0, 0, ioctl_shutdown },
	{ FS_IOC_GETFLAGS, 0, OUT(uint32_t), ioctl_getflags },
	{ FS_IOC_SETFLAGS, 0, IN(uint32_t), ioctl_setflags },
	{ FS_IOC_FSGETXATTR, 0, OUT(struct fsxattr), ioctl_fsgetxattr },
	{ FS_IOC_FSSETXATTR, 0, IN(struct fsxattr), ioctl_fssetxattr },
	{ FS_IOC_GETVERSION, 0, OUT(uint32_t), ioctl_getversion },
#undef IN
#undef OUT
#undef IN_OUT
};

#define NOPS (sizeof(ops) / sizeof(ops[0]))

/* -EINVAL: a number of ours with another size, so a caller of another version or a mistaken one. */
static int op_find(unsigned cmd, const struct op **ret_op)
{
	int err = -ENOTTY;

	for (unsigned i = 0; i < NOPS; i++) {
		if (ops[i].cmd == cmd) {
			*ret_op = &ops[i];
			return 0;
		}
		if (_IOC_TYPE(cmd) == UDAX_IOC_MAGIC && _IOC_TYPE(ops[i].cmd) == UDAX_IOC_MAGIC &&
		    _IOC_NR(cmd) == _IOC_NR(ops[i].cmd))
			err = -EINVAL;
	}
	return err;
}

bool ioctl_is_owner(const struct ioctl_call *call)
{
	return call->uid == 0 || call->uid == geteuid();
}

static int check(const struct op *op, const struct ioctl_call *call)
{
	__u32 version;

	if (op->flags & OP_VERSION) {
		memcpy(&version, call->arg, sizeof(version));
		if (version != UDAX_IOC_VERSION)
			return -EINVAL;
	}
	if (op->flags & OP_OWNER && !ioctl_is_owner(call))
		return -EPERM;
	if (op->flags & OP_WRITABLE && !call->writable)
		return -EBADF;
	return op->flags & OP_ALWAYS ? 0 : volume_usable(call->vol, false);
}

/* ---- calls ------------------------------------------------------------------------------------ */

static void call_delete(struct ioctl_call *call)
{
	if (call->other)
		inode_put(call->other);
	mem_free(call->vol->mem, call);
}

static struct ioctl_call *call_new(struct request *rq, const struct op *op, const void *in)
{
	size_t bytes = op->in_bytes > op->out_bytes ? op->in_bytes : op->out_bytes;
	struct volume *vol = rq->s->vol;
	struct ioctl_call *call = mem_alloc(vol->mem, sizeof(*call) + bytes);

	if (!call)
		return NULL;
	call->vol = vol;
	call->tokens = rq->s->tokens;
	call->recorder = rq->s->recorder;
	call->clientd = rq->s->clientd;
	call->inode = rq->a.handle ? rq->a.handle->inode : rq->a.inode;
	call->writable = rq->a.handle && rq->a.handle->mode_flags & MODE_WRITER;
	call->uid = fuse_req_ctx(rq->a.req)->uid;
	call->in_bytes = op->in_bytes;
	call->out_bytes = op->out_bytes;
	if (op->in_bytes)
		memcpy(call->arg, in, op->in_bytes);
	return call;
}

static enum outcome run_call(struct request *rq)
{
	struct ioctl_call *call = (struct ioctl_call *)(uintptr_t)rq->a.u.ioctl.u64[0];
	const struct op *op = (const struct op *)(uintptr_t)rq->a.u.ioctl.u64[1];
	int err;

	call->may_wait = rq->a.may_wait;
	err = op->run(call);
	if (err == -EAGAIN && op->flags & OP_WAITS && !rq->a.may_wait)
		return NEEDS_POOL;
	if (call->attr_changed)
		session_holder_ops.attr_changed(rq->s, call->inode->ino);
	if (err)
		request_reply_err(rq->a.req, err);
	else
		fuse_reply_ioctl(rq->a.req, 0, call->arg, call->out_bytes);
	call_delete(call);
	return REPLIED;
}

static int prepare(struct request *rq, fuse_ino_t ino, const struct fuse_file_info *fi,
		   const struct op *op, const void *in)
{
	struct handle *handle = handle_of(fi);
	struct ioctl_call *call;
	int err = 0;

	if (handle) {
		handle_get(handle);
		rq->a.handle = handle;
	} else {
		err = request_inode(rq->a.req, ino, &rq->a.inode);
	}
	if (err)
		return err;
	call = call_new(rq, op, in);
	if (!call)
		return -ENOMEM;
	err = check(op, call);
	if (err) {
		call_delete(call);
		return err;
	}
	rq->a.u.ioctl.u64[0] = (uintptr_t)call;
	rq->a.u.ioctl.u64[1] = (uintptr_t)op;
	return 0;
}

void fuse_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, void *arg,
		struct fuse_file_info *fi, unsigned flags, const void *in_buf, size_t in_bufsz,
		size_t out_bufsz)
{
	struct request *rq = request_current(req);
	const struct op *op;
	int err = op_find(cmd, &op);

	(void)arg, (void)flags;
	if (!err && (in_bufsz < op->in_bytes || out_bufsz < op->out_bytes))
		err = -EINVAL;
	if (!err)
		err = prepare(rq, ino, fi, op, in_buf);
	if (err)
		request_reply_err(req, err);
	else
		request_start(rq, run_call);
}
