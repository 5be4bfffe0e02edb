/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fuse_request.h - one request of the kernel, from its arrival to its reply, and what the handlers
 * of the operations table share.
 *
 * Most requests are served where they arrive, and their handlers only reply. Those that may have to
 * wait for somebody (for a gate, for another open, for a notify) are written as a function
 *
 *	enum outcome run(struct request *rq)
 *
 * whose arguments stand in the request, so that it can be called again, in another thread. Names
 * and data of the arguments stay where the kernel's message was received: the buffer belongs to the
 * request and travels with it.
 */
#ifndef UDAX_FUSE_REQUEST_H
#define UDAX_FUSE_REQUEST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <fuse3/fuse_lowlevel.h>

#include "fuse_session.h"
#include "gate.h"
#include "holder.h"
#include "mode.h"

struct inode;

/* ---- open files -------------------------------------------------------------------------------- */

/** What fi->fh of an open regular file points to. Directories have none. */
struct handle {
	struct inode *inode; /* a reference */
	atomic_uint users;   /* the kernel, and requests under way */
	unsigned mode_flags; /* enum mode_flags, as mode_open() was called */
	enum file_mode mode; /* for the life of the handle */
	int flags;	     /* of open(2) */
	uint32_t sync_seen;  /* of stores that were lost: grant_sync_seen() */
};

/** handle_of - of an open regular file, or NULL for a directory or without @fi. */
static inline struct handle *handle_of(const struct fuse_file_info *fi)
{
	return fi ? (struct handle *)(uintptr_t)fi->fh : NULL;
}

/**
 * handle_get, handle_put - the kernel may release a handle as soon as it has its reply: whoever
 * goes on using it, or its inode, after replying counts himself. The last one frees it.
 */
static inline void handle_get(struct handle *handle)
{
	atomic_fetch_add_explicit(&handle->users, 1, memory_order_relaxed);
}
void handle_put(struct handle *handle);

/* ---- requests ---------------------------------------------------------------------------------- */

enum outcome {
	REPLIED,    /* the kernel has its answer */
	PARKED,	    /* somebody has rq->waiter and will resume it: it may run elsewhere already */
	NEEDS_POOL, /* would have to wait: once more, in a thread that may */
};

struct request {
	struct waiter waiter;
	struct session *s;
	struct fuse_buf buf; /* the kernel's message */
	struct request *next;
	uint64_t due_ns;

	/* Of the message at hand; cleared between two. */
	struct arrived {
		fuse_req_t req;
		enum outcome (*run)(struct request *rq);
		struct inode *inode;   /* a reference, dropped at the end; may be NULL */
		struct handle *handle; /* likewise */
		bool may_wait;	       /* in a thread that may wait and serves nobody */
		bool announced;	       /* adm has its place in the order of writes */
		bool kill_priv;	       /* the kernel wants set-user-ID and set-group-ID dropped */
		bool tmpfile;	       /* CREATE was TMPFILE: without a name */
		bool statx;	       /* GETATTR was STATX */
		struct admission adm;
		union {
			struct {
				uint64_t pos;
				size_t len;
				const void *data; /* of a write */
				unsigned flags;	  /* enum io_flags */
			} io;
			struct {
				struct stat attr;
				int set;
			} setattr;
			struct {
				struct fuse_file_info fi;
				struct fuse_entry_param entry; /* of a create */
				bool create, entering;
			} open;
			struct {
				int mode; /* of fallocate; or whence */
				uint64_t pos, len;
			} range;
			struct {
				struct handle *out; /* counted */
				uint64_t in_pos, out_pos;
				size_t len;
			} copy;
			struct {
				unsigned cmd, flags;
				const void *in;
				size_t in_len, out_len;
				uint64_t u64[4]; /* fuse_ioctl.c's own */
			} ioctl;
		} u;
	} a;
};

/** session_of - the session that @req came through. */
static inline struct session *session_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/** request_current - the request that this thread received last, for the handler of @req. */
struct request *request_current(fuse_req_t req);

/** request_start - run @run for @rq, here; and elsewhere, if it has to be parked. */
void request_start(struct request *rq, enum outcome (*run)(struct request *rq));

/** request_inode - a reference to inode @ino. 0, or -errno (-ESTALE, -EIO, -ENOMEM). */
int request_inode(fuse_req_t req, fuse_ino_t ino, struct inode **ret_inode);

/** request_reply_err - reply with @err, which is 0 or -errno. */
void request_reply_err(fuse_req_t req, int err);

/** request_is_privileged - whether the caller would have CAP_FSETID, as far as we can know. */
bool request_is_privileged(fuse_req_t req);

/**
 * request_kills_priv - whether a write or truncate by @rq drops set-user-ID and set-group-ID: the
 * kernel says so, or, where it does not, we guess by the caller.
 */
bool request_kills_priv(const struct request *rq);

/* ---- for fuse_session.c ------------------------------------------------------------------------- */

/** request_new - an empty request. NULL without memory. request_free() may keep it for the next. */
struct request *request_new(struct session *s);
void request_free(struct request *rq);

/**
 * request_process - let libfuse decode the message in @rq and call its handler. Returns the
 * request, to be used again, or NULL when it was parked and is no longer the caller's.
 */
struct request *request_process(struct request *rq);

/** requests_new - what parked requests need; requests_start() starts its threads. -ENOMEM, -EAGAIN */
int requests_new(struct session *s);
int requests_start(struct session *s);

/**
 * requests_drain - wait until nothing is parked any more, then end the threads. Nothing arrives
 * any more and the connection is gone, so all answers go nowhere and nobody waits for the kernel.
 * 0, or -ETIMEDOUT when something is stuck: then the threads still run.
 */
int requests_drain(struct session *s);
void requests_delete(struct session *s);

/** requests_resume - what holder_ops.resume does. */
void requests_resume(struct session *s, struct waiter *waiter, uint64_t delay_ns);

/** requests_stat - how many are parked, or wait for or run in the threads that may wait, now. */
unsigned long requests_stat(struct session *s);

#endif
