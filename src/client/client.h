/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * client.h - libudax in one process: who does what, and what belongs to whom.
 *
 *	program's threads	udax.c, call.c: post a call, sleep until it is answered
 *	bell			bell.c: tells the service of calls; reads events while it remaps
 *	service			service.c: everything else, and the only one to touch the state below
 *	clerk			clerk.c: what may wait for a daemon: ioctl, open, close of its files
 *
 * One owner instead of locks: mappings, pieces, attached files and connections are the service's
 * alone. So a program's thread never holds anything that the service could wait for, and may be
 * interrupted by a signal, touch a mapping in its handler, be killed or cancelled anywhere. The
 * service in turn waits for nobody but the kernel: it neither calls the program's malloc, nor touches
 * its memory, nor a file of a mount, and its sockets do not block. What it owes a recall it can
 * always do at once.
 *
 * The three threads have a table of descriptors of their own (unshare(2)). Sockets, the region and
 * the duplicates of files are invisible to the program and safe from its close_range(2); closing a
 * duplicate there does not release the program's POSIX locks, as it would in its own table; and none
 * of it is inherited by fork or exec.
 */
#ifndef UDAX_CLIENT_CLIENT_H
#define UDAX_CLIENT_CLIENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "bell.h"
#include "call.h"
#include "clerk.h"
#include "span.h"
#include "spare.h"
#include "zeroes.h"

#define PAGE_BYTES 4096u
#define HUGE_BYTES (2u << 20)

/** Numbered as in struct udax_stats, from `mappings` on. */
enum count {
	COUNT_MAPPINGS, /* now */
	COUNT_PIECES,	/* now */
	COUNT_FILES,	/* now */
	COUNT_MMAPS,
	COUNT_FAULTS,
	COUNT_GRANTS_READ,
	COUNT_GRANTS_WRITE,
	COUNT_GRANTS_ZERO,
	COUNT_GRANTS_BEHIND_EOF,
	COUNT_GRANTS_FAILED,
	COUNT_DIRECT_BYTES, /* that grants made accessible, summed */
	COUNT_RECALLS,
	COUNT_LATE,
	COUNT_RETURNS,
	COUNT_EVICTED,
	COUNT_RECONNECTS,
	COUNT_LOST,
	COUNT_NR
};

struct client {
	int pid;

	/* ---- anybody: atomics ---- */
	_Atomic uint64_t counts[COUNT_NR];
	_Atomic uint64_t low, high; /* all mappings that there were lie in here */
	atomic_bool needs_msync;    /* some region is durable only after msync(2) */
	_Atomic uint32_t started;   /* 1 when the service is ready, or has failed */
	int start_error;
	struct calls calls;
	struct bell bell;
	struct clerk clerk;

	/* ---- the service's ---- */
	int uffd;
	int nothing; /* an empty memfd: a mapping of it is all SIGBUS */
	int inherit; /* a socket in which the parent left its files, or -1 */
	struct client *parent;
	struct arena arena;
	struct spares spares;
	struct span_tree mappings, pieces;
	struct piece *oldest, *newest; /* by age: those that cost the kernel a mapping */
	unsigned costly, costly_limit;
	unsigned failed; /* pieces that stand for a failure, and go away by themselves */
	struct file *files;
	struct conn *conns;
	unsigned inflight; /* FAULTs without an answer */
	uint32_t next_seq, next_id;
	unsigned frozen; /* a fork is under way: mappings stay as they are */
	struct call *populating, *deferred;
	uint64_t reconnect_ns;
	char *zeroes; /* ZERO_BYTES of them */
	struct zeroes shown;
};

#define ZERO_BYTES 65536u

static inline void count_add(struct client *client, enum count which, uint64_t n)
{
	atomic_fetch_add_explicit(&client->counts[which], n, memory_order_relaxed);
}

static inline void count_sub(struct client *client, enum count which, uint64_t n)
{
	atomic_fetch_sub_explicit(&client->counts[which], n, memory_order_relaxed);
}

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#endif
