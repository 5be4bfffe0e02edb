/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * call.h - how a thread of the program has the service do something.
 *
 * A call lies in a slot, not on the caller's stack: that could be a direct mapping, which the
 * service must not touch. FREE → CLAIMED (by the caller, who fills it in) → POSTED → TAKEN (by the
 * service) → DONE (filled in) → FREE. Who sleeps on it holds nothing, so a signal handler may
 * interrupt a call and make one of its own, and a fork may happen at any moment.
 */
#ifndef UDAX_CLIENT_CALL_H
#define UDAX_CLIENT_CALL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "udax/ioctl.h"
#include "udax/udax.h"

struct client;
struct file;

enum call_type {
	CALL_MAP,     /* addr, len, prot, flags, fd, dev, ino, writable, pos [, token] → addr */
	CALL_UNMAP,   /* addr, len → 0 done; 1 as CALL_CLEAR: munmap(2) all of it */
	CALL_CLEAR,   /* addr, len: leave what was direct reserved (PROT_NONE) for who maps there */
	CALL_PROTECT, /* addr, len, prot */
	CALL_REMAP,   /* addr, len, new_len, flags, new_addr → addr */
	CALL_INHERIT, /* addr, len, write: whether a child of fork has it, too */
	CALL_POPULATE, /* addr, len, write */
	CALL_COVERED,  /* addr, len → how many bytes are direct mappings */
	CALL_FLUSH,    /* addr, len: stores there leave the CPU's caches; result: where to go on */
	CALL_SYNC,     /* addr, len: the times of the first file there; result: where to go on */
	CALL_FORK,     /* fd: a socket for the child's files. Mappings stay as they are until */
	CALL_FORKED,
};

#define CALL_SLOTS 64

struct call {
	_Atomic uint32_t state;
	enum call_type type;
	/* in */
	int tid;
	int fd, prot, flags;
	bool writable, has_token, write;
	uint64_t addr, len, pos, new_addr, new_len, dev, ino;
	struct udax_ioc_attach attach;
	/* out */
	int64_t result; /* or -errno; -EAGAIN of CALL_MAP: bring a token */
	enum udax_reason reason;
	/* the service's */
	struct call *next;
	struct file *file;
	uint64_t cursor, stop;
	uint32_t seq;
};

struct calls {
	_Atomic uint32_t freed;
	struct call slots[CALL_SLOTS];
};

/** call_new - a slot to fill in; sleeps while there is none. */
struct call *call_new(struct client *client, enum call_type type);

/** call_run - have it done; sleeps. Then read the results, and call_free() it. */
int64_t call_run(struct client *client, struct call *call);
void call_free(struct client *client, struct call *call);

/** call_take - a call that was posted, or NULL. The service. */
struct call *call_take(struct client *client);

/** call_done - answer it. The service. */
void call_done(struct call *call, int64_t result);

#endif
