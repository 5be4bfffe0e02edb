/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * frontend.h - the daemon's side of requests and messages: what src/fuse_*.c and src/clientd*.c do
 * with them, without FUSE and without sockets. A request takes one of the daemon's workers; it gives it
 * back when it is parked, and when it goes on in a thread that may wait.
 *
 * All take and return bytes and -errno as the core does, and are called by the task of whoever waits for
 * the answer.
 */
#ifndef UDAX_LAB_FRONTEND_H
#define UDAX_LAB_FRONTEND_H

#include "world.h"

/** How a request for data came: enum admission_kind, or past the kernel's cache altogether. */
#define ADMIT_UNCACHED 100

extern const struct holder_ops front_holder_ops;
extern const struct client_ops front_client_ops;

/** front_open - open for @p; fills its handle in. front_release - undo that. */
int front_open(struct process *p, unsigned file, bool direct, bool read_only);
void front_release(struct process *p, unsigned file);

/** front_size - what GETATTR says, in cells. */
unsigned front_size(struct world *w, unsigned file);

/** front_read - cells [@first, @end) to @ret_cells; returns how many there are before EOF. */
int front_read(struct world *w, unsigned file, unsigned first, unsigned end, int kind,
	       uint64_t *ret_cells);

/**
 * front_write - @cells to [@first, @end), or to EOF (@append); returns how many. @folio: the request carries
 * this folio of one page, as it is when the request is sent, and @cells only once it has left the cache.
 */
int front_write(struct world *w, unsigned file, unsigned first, unsigned end, int kind, bool append,
		const uint64_t *cells, struct folio *folio);

int front_truncate(struct world *w, unsigned file, unsigned cells);
int front_fallocate(struct world *w, unsigned file, int mode, unsigned first, unsigned end);
int front_exchange(struct world *w, unsigned file, unsigned first, unsigned end, unsigned other,
		   unsigned other_first);
int front_copy(struct world *w, unsigned file, unsigned first, unsigned end, unsigned other,
	       unsigned other_first);
int front_fsync(struct process *p, unsigned file);
int front_seek(struct world *w, unsigned file, unsigned first, unsigned *ret_cell);

/** front_attach - @p may map @file. front_detach - it maps nothing of it any more. */
int front_attach(struct process *p, unsigned file, bool writable);
void front_detach(struct process *p, unsigned file);

/** front_is_attached - @p has attached @file, and no thread of its has begun to detach it. */
bool front_is_attached(const struct process *p, unsigned file);

/** front_faulter - become the daemon's thread that serves @p's faults; klock_unexcl(&p->faulter) ends it. */
void front_faulter(struct process *p);

/** front_reader - become the one that reads what @p sends: one message comes after the other. */
void front_reader(struct process *p);

/** front_fault - @p has touched a page; the answer comes as a message. */
int front_fault(struct process *p, unsigned file, unsigned page, bool write);

/** front_return - @p maps nothing of pages [@first, @end) any more, and says so unasked. */
void front_return(struct process *p, unsigned file, unsigned first, unsigned end);

/** front_acknowledge - @p has given back what recall @seq asked for. */
void front_acknowledge(struct process *p, unsigned file, uint32_t seq);

/** front_gone - @p is dead, with all its mappings. front_reap - end a quarantine that nobody needs. */
void front_gone(struct process *p);
void front_reap(struct world *w);

/** front_file - the file with that inode number. */
unsigned front_file(const struct world *w, uint64_t ino);

#endif
