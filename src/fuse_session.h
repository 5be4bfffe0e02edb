/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fuse_session.h - one mounted volume as the kernel's FUSE sees it: the connection, the threads
 * that serve it, and how the core reaches the kernel's page cache through it.
 */
#ifndef UDAX_FUSE_SESSION_H
#define UDAX_FUSE_SESSION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "holder.h"
#include "sync.h"

struct clientd;
struct fuse_args;
struct fuse_session;
struct recorder;
struct request;
struct requests;
struct serve;
struct tokens;
struct volume;

struct session_options {
	double attr_timeout, entry_timeout, negative_timeout; /* seconds */
	unsigned max_threads; /* that receive and serve requests; 0: chosen */
	unsigned spin_us;     /* how long to look for a request before sleeping (fuse_device.h) */
	bool noatime;
	bool nodiratime;
};

/* What was agreed with the kernel in INIT beside what libfuse knows. */
struct agreed {
	uint64_t init_unique; /* the INIT request whose reply is still to be amended; 0: none */
	uint32_t offered;     /* flags of the kernel */
	bool killpriv;	      /* FUSE_HANDLE_KILLPRIV_V2 */
	bool setxattr_ext;    /* FUSE_SETXATTR_EXT */
};

struct session {
	struct fuse_session *se;
	struct volume *vol; /* set before session_mount() */
	struct sync *sync;
	struct session_options opt;
	struct agreed agreed;
	struct serve *serve;	   /* threads that receive (fuse_session.c) */
	struct requests *requests; /* those that were parked or may wait (fuse_request.c) */
	struct clientd *clientd;   /* clients that map files (clientd.h), or NULL */
	struct tokens *tokens; /* that name files to ioctls (fuse_token.h), from session_new() */
	struct recorder *recorder; /* who records (fuse_record.h), from session_new() */
};

/** How the core reaches the kernel; the context is the struct session. */
extern const struct holder_ops session_holder_ops;

/**
 * session_new - a session that is not mounted yet. @args has libfuse's own options; unknown ones
 * make it fail, and libfuse says so through its log. 0, -EINVAL, -ENOMEM. Freed by session_delete().
 */
int session_new(struct sync *sync, struct fuse_args *args, const struct session_options *opt,
		struct session **ret_session);
void session_delete(struct session *s);

/**
 * session_mount - mount s->vol on @mountpoint. 0, or -EIO when libfuse could not: it has said why
 * through its log.
 */
int session_mount(struct session *s, const char *mountpoint);

/**
 * session_run - serve until the filesystem is unmounted or session_stop() was called: start all
 * threads, call @idle(@arg) in this one every now and then (at once when @wake_fd becomes readable),
 * and join them. Afterwards nothing of the session is under way. 0, -EAGAIN, -ENOMEM.
 */
int session_run(struct session *s, int wake_fd, void (*idle)(void *arg), void *arg);

/** session_stop - let session_run() return although the filesystem is still mounted. */
void session_stop(struct session *s);

/** session_unmount - take the mount away if it is still there. */
void session_unmount(struct session *s);

#endif
