/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * holder.h - everything outside the core that may hold a piece of a file: the third of the three
 * seams, and what the core knows about it for each inode.
 *
 * Holders are the kernel's page cache (folios, and mappings of them) and clients that map the
 * region directly. struct holder_ops is how the core reaches the kernel, struct client_ops (grant.h)
 * how it reaches clients: FUSE and sockets in the daemon, simulated ones in the lab.
 *
 * Each inode that was ever opened has a struct holder: its mode (mode.h), the gates open on it and
 * the requests admitted past them (gate.h). All of it is protected by one lock, so that looking at
 * the gate and being counted is one step.
 */
#ifndef UDAX_HOLDER_H
#define UDAX_HOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sync.h"

struct attachment;
struct inode;

/** A request that was parked. The frontend embeds it, and goes on when it is resumed. */
struct waiter {
	struct waiter *next;
};

struct holder_ops {
	/*
	 * Make the kernel drop its copies of [@pos, @pos + @len) of inode @ino (@len 0: to the end).
	 * Waits for folio locks and writes dirty folios back, so requests of that inode are served
	 * meanwhile; the caller holds nothing. The result proves nothing about those writes.
	 */
	void (*notify)(void *ctx, uint64_t ino, uint64_t pos, uint64_t len);
	/* The attributes of @ino changed behind the kernel's back. Never waits. */
	void (*attr_changed)(void *ctx, uint64_t ino);
	/* A parked request may try again, not before @delay_ns from now. Never waits. */
	void (*resume)(void *ctx, struct waiter *waiter, uint64_t delay_ns);
};

enum file_mode {
	MODE_NONE,     /* nobody has it open */
	MODE_CACHED,   /* the kernel may hold copies; no client maps it directly */
	MODE_UNCACHED, /* the kernel holds no shared copy; clients may map it directly */
};

enum admission_kind {
	ADMIT_FILL,	   /* FUSE_READ into the page cache */
	ADMIT_DIRECT_READ, /* FUSE_READ past it: O_DIRECT on a file in cached mode */
	ADMIT_WRITE,	   /* FUSE_WRITE of write(2), through the page cache */
	ADMIT_WRITEBACK,   /* FUSE_WRITE of a dirty folio */
};

/** A request of the kernel's page cache, from its arrival to its reply. The frontend owns it. */
struct admission {
	struct admission *next;
	enum admission_kind kind;
	uint64_t pos, len;
	bool admitted;	/* else only announced: it has a place in the order of writes */
	bool held_over; /* has waited its while for a notify: is not made to wait again */
	struct waiter *waiter;
};

enum gate_state {
	GATE_OPEN,	/* intent announced: no new grants, no second gate on the range */
	GATE_NOTIFYING, /* a notify or recall runs */
	GATE_CLOSED, /* newcomers are parked; those admitted before are waited for by gate_close() */
};

struct gate {
	struct gate *next;
	uint64_t pos, end;
	enum gate_state state;
	bool seen;     /* a fill or write(2) was admitted since the notify began */
	bool recalled; /* somebody was asked, and is to be waited for */
	int failed;    /* the error of a write that came in meanwhile */
};

/* Pages that were punched as a whole: an old copy of them that is written back is discarded. */
struct discard {
	uint64_t first, end; /* file blocks */
};

/** An announcement that holes become blocks, or that EOF moves up: fill.h. The caller's. */
struct fill {
	struct fill *next;
	uint64_t pos, end;
	bool extends, announced;
};

struct holder {
	struct sync_mutex lock;	  /* LOCK_HOLDER */
	struct sync_cond changed; /* an admission ended, a gate went away */

	enum file_mode mode, last_mode;
	bool entering; /* the mode was just decided; the kernel is being notified */
	unsigned nhandles, nwriters, nstorers, nattached;

	struct attachment *attachments; /* clients that may map it (grant.h) */
	struct fill *fills;
	/* Grants for stores, and how many of them were behind when an fsync had made all durable. */
	uint64_t nstored, nflushed;
	uint32_t nsync_errors; /* what clients stored and was lost */
	bool sync_error_told;  /* somebody knows of the last one */
	struct gate *gates;
	struct admission *admissions; /* oldest first */
	struct waiter *parked;
	uint64_t generation; /* rises with each layout change and each fill */

	struct discard *discards;
	size_t ndiscards, discard_room;
};

/** holder_of - the holder of @inode, made when first asked for. NULL without memory. */
struct holder *holder_of(struct inode *inode);

/** holder_delete - free it with its inode. Nothing is open or admitted. */
void holder_delete(struct inode *inode);

/**
 * holder_park - remember @waiter; holder->lock is held. holder_unlock_and_resume - let go of the
 * lock and resume everything that was parked: whatever it waited for may have changed.
 */
void holder_park(struct holder *holder, struct waiter *waiter);
void holder_unlock_and_resume(struct inode *inode, struct holder *holder,
			      const struct sync_site *site);

/** What `udaxctl holders` shows about one inode. */
struct holder_stat {
	enum file_mode mode;
	unsigned nhandles, nwriters, nattached, ngates, nadmitted;
	unsigned nrecalls, nlate;
	uint64_t read_bytes, write_bytes, zero_bytes; /* granted to clients */
	uint64_t generation;
};
void holder_stat(struct inode *inode, struct holder_stat *ret);

#endif
