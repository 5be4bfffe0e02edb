/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fuse_arrive.c - messages as they come from the kernel, before libfuse decodes them.
 *
 * Four things need the message itself:
 *
 *   Order.  Overlapping writes are applied in the order in which the kernel sent them (a store's
 *   writeback can overtake the older write(2) to the same page, which then would wipe the store).
 *   So a write through the page cache is announced here, where messages pass one by one.
 *
 *   What libfuse 3.14 does not pass on.  The kernel's wish to have set-user-ID and set-group-ID
 *   dropped, in the flags of WRITE, SETATTR and SETXATTR.
 *
 *   What libfuse 3.14 does not know.  TMPFILE differs from CREATE in the name only, and STATX from
 *   GETATTR in the reply: they get the older number, and a mark.
 *
 *   What the reply to INIT should say.  HANDLE_KILLPRIV_V2 (without it each write(2) asks for
 *   security.capability first), SETXATTR_EXT and PARALLEL_DIROPS, none of which libfuse 3.14 sets.
 *   SETXATTR is therefore parsed here: libfuse 3.14.0 expects the longer form always, later ones
 *   that form which they themselves agreed to.
 */
#include "fuse_arrive.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <linux/fuse.h>

#include "fuse_request.h"

static_assert(sizeof(struct udax_fuse_statx) == 256, "as the kernel has it");
static_assert(sizeof(struct udax_fuse_statx_out) == 288, "as the kernel has it");

#define WANTED_FLAGS (FUSE_HANDLE_KILLPRIV_V2 | FUSE_SETXATTR_EXT | FUSE_PARALLEL_DIROPS)
#define SETXATTR_SHORT_BYTES 8u /* struct fuse_setxattr_in without SETXATTR_EXT */

/* The arguments of the message, or NULL when it is too short for @bytes of them. */
static void *arguments(const struct request *rq, size_t bytes)
{
	if (rq->buf.size < sizeof(struct fuse_in_header) + bytes)
		return NULL;
	return (char *)rq->buf.mem + sizeof(struct fuse_in_header);
}

static void write_arrived(struct request *rq)
{
	const struct fuse_write_in *in = arguments(rq, sizeof(*in));
	struct handle *handle;

	if (!in)
		return;
	rq->a.kill_priv = in->write_flags & FUSE_WRITE_KILL_SUIDGID;
	handle = (struct handle *)(uintptr_t)in->fh;
	handle_get(handle);
	rq->a.handle = handle;
	if (handle->mode != MODE_CACHED)
		return;
	rq->a.adm = (struct admission){
		.kind = in->write_flags & FUSE_WRITE_CACHE ? ADMIT_WRITEBACK : ADMIT_WRITE,
		.pos = in->offset,
		.len = in->size,
		.waiter = &rq->waiter,
	};
	/* Without memory the handler finds it not announced, and fails. */
	rq->a.announced = gate_announce(handle->inode, &rq->a.adm) == 0;
}

static void setattr_arrived(struct request *rq)
{
	const struct fuse_setattr_in *in = arguments(rq, sizeof(*in));

	if (in)
		rq->a.kill_priv = in->valid & FATTR_KILL_SUIDGID;
}

static void init_arrived(struct request *rq, uint64_t unique)
{
	const struct fuse_init_in *in = arguments(rq, 16);

	if (!in)
		return;
	rq->s->agreed.offered = in->flags;
	rq->s->agreed.init_unique = unique;
}

void request_arrived(struct request *rq)
{
	struct fuse_in_header *header = rq->buf.mem;

	switch (header->opcode) {
	case FUSE_WRITE:
		write_arrived(rq);
		break;
	case FUSE_SETATTR:
		setattr_arrived(rq);
		break;
	case FUSE_TMPFILE:
		header->opcode = FUSE_CREATE;
		rq->a.tmpfile = true;
		break;
	case UDAX_FUSE_STATX:
		header->opcode = FUSE_GETATTR;
		rq->a.statx = true;
		break;
	case FUSE_INIT:
		init_arrived(rq, header->unique);
		break;
	default:
		break;
	}
}

void request_told(const struct request *rq, struct sync_told *ret_told)
{
	const struct fuse_in_header *header = rq->buf.mem;
	const struct fuse_read_in *read = arguments(rq, sizeof(*read));
	const struct fuse_write_in *write = arguments(rq, sizeof(*write));
	const struct fuse_fallocate_in *fallocate = arguments(rq, sizeof(*fallocate));

	*ret_told = (struct sync_told){
		.kind = SYNC_OPERATION,
		.code = header->opcode,
		.ino = header->nodeid,
	};
	if (header->opcode == FUSE_READ && read) {
		ret_told->pos = read->offset;
		ret_told->len = read->size;
	} else if (header->opcode == FUSE_WRITE && write) {
		ret_told->pos = write->offset;
		ret_told->len = write->size;
		ret_told->who = write->write_flags & FUSE_WRITE_CACHE ? 1 : 0;
	} else if (header->opcode == FUSE_FALLOCATE && fallocate) {
		ret_told->pos = fallocate->offset;
		ret_told->len = fallocate->length;
		ret_told->who = fallocate->mode;
	}
}

int request_xattr(const struct request *rq, struct arrived_xattr *ret_xattr)
{
	bool ext = rq->s->agreed.setxattr_ext;
	size_t fixed = ext ? sizeof(struct fuse_setxattr_in) : SETXATTR_SHORT_BYTES, room, name_len;
	const struct fuse_setxattr_in *in = arguments(rq, fixed);
	const char *name = (const char *)in + fixed;

	if (!in)
		return -EINVAL;
	room = rq->buf.size - sizeof(struct fuse_in_header) - fixed;
	name_len = strnlen(name, room);
	if (name_len == room || in->size > room - name_len - 1)
		return -EINVAL;
	*ret_xattr = (struct arrived_xattr){
		.name = name,
		.value = name + name_len + 1,
		.size = in->size,
		.flags = (int)in->flags,
		.kill_sgid = ext && in->setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID,
	};
	return 0;
}

/* The reply to INIT, with what we want and libfuse does not know. */
static ssize_t send_init(struct session *s, int fd, const struct iovec *iov)
{
	struct fuse_init_out out = { 0 };
	struct iovec amended[2] = { iov[0], { .iov_base = &out, .iov_len = iov[1].iov_len } };

	memcpy(&out, iov[1].iov_base, iov[1].iov_len < sizeof(out) ? iov[1].iov_len : sizeof(out));
	out.flags |= s->agreed.offered & WANTED_FLAGS;
	s->agreed.killpriv = out.flags & FUSE_HANDLE_KILLPRIV_V2;
	s->agreed.setxattr_ext = out.flags & FUSE_SETXATTR_EXT;
	return writev(fd, amended, 2);
}

ssize_t session_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	struct session *s = userdata;
	const struct fuse_out_header *header = iov[0].iov_base;

	if (s->agreed.init_unique && header->unique == s->agreed.init_unique) {
		s->agreed.init_unique = 0;
		if (!header->error && count == 2 && iov[1].iov_len <= sizeof(struct fuse_init_out))
			return send_init(s, fd, iov);
	}
	return writev(fd, iov, count);
}
