/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * world.h - one scenario, set up: a volume made by the real core, and around it everything that the
 * core is not: a kernel with a page cache, processes with page tables, clients, a frontend.
 *
 *	operate.c	a thread's operations, one after the other
 *	kernel.c	system calls, page faults, page cache, writeback, notify
 *	client.c	processes that map files directly, and their service tasks
 *	frontend.c	requests and messages into the core, as src/fuse_*.c and src/clientd*.c do
 *	history.c	what was stored and seen; what a file could have shown
 *	rules.c		mappings and blocks: what must never be
 *	leaks.c		what is left when everything was given back
 *
 * All of it stands in one arena, so a run begins by putting that back, and the medium. Everything that
 * tasks share is an object of the scheduler's (sched.h): who looks at it or changes it has come to a
 * point for it.
 *
 * What is simplified: one page of 4 KiB has two cells, of which the first eight bytes count. A system
 * call and the request that it sends are one task, which holds the kernel's locks while it is in the
 * daemon, and one of the daemon's workers; so threads of the program and of the daemon need no two tasks.
 */
#ifndef UDAX_LAB_WORLD_H
#define UDAX_LAB_WORLD_H

#include "explore.h"
#include "format.h"
#include "grant.h"
#include "history.h"
#include "holder.h"
#include "klock.h"
#include "memory.h"
#include "scenario.h"
#include "sched.h"
#include "volume.h"

#define MAX_MESSAGES 64u

struct udax_policy;

/** A page of the kernel's page cache. */
struct folio {
	struct object object;
	struct klock lock;
	bool present, uptodate, dirty, writeback;
	bool failed; /* could not be written back: it is clean, and the medium has something else */
	unsigned instance; /* rises when it leaves the cache: who held it has another one then */
	uint64_t cells[PAGE_CELLS];
};

/** A file as the kernel knows it. */
struct kfile {
	struct klock i_rwsem;
	struct object object; /* size, writeback under way */
	unsigned size_cells;
	bool nowrite; /* a SETATTR has stopped writeback */
	unsigned nwriteback;
	/* Writes back that have failed. */
	unsigned nfailures;
	int failure, unheeded; /* the last one; the same until a flush has told of it */
	bool told;	       /* ... or an fsync(2) */
	struct folio folios[SCENARIO_MAX_PAGES];
};

/* PTE_ANON: memory of its own, which nobody is asked about; only of a client that takes back in two steps. */
enum pte_kind { PTE_NONE, PTE_READ, PTE_WRITE, PTE_ZERO, PTE_SIGBUS, PTE_ANON };

struct pte {
	struct object object;
	enum pte_kind kind;
	uint64_t pblk; /* of a direct mapping */
};

struct handle {
	bool open, direct, read_only;
	unsigned flags; /* enum mode_flags */
	enum file_mode mode;
	unsigned nfailures; /* of the file's, of which its fsync(2) has told */
	uint32_t sync_seen; /* of errors that fsync(2) tells once */
};

enum message_kind { MESSAGE_GRANT, MESSAGE_RECALL, MESSAGE_LATE };

struct message {
	enum message_kind kind;
	unsigned file, ndetached;
	uint32_t seq;
	uint64_t pos, len;
	enum grant_kind grant;
	uint64_t region_off;
};

struct process {
	struct world *w;
	unsigned index;
	const char *name;
	struct object object; /* alive, stopped, hung_up, messages */
	bool born;	      /* not yet: an operation FORK makes it */
	bool alive, stopped, hung_up;
	struct klock mmap_lock;
	struct handle handles[SCENARIO_MAX_FILES];
	struct pte kernel_ptes[SCENARIO_MAX_FILES][SCENARIO_MAX_PAGES];

	/* As a client. */
	struct client client;
	struct attachment *attachments[SCENARIO_MAX_FILES];
	struct pte ptes[SCENARIO_MAX_FILES][SCENARIO_MAX_PAGES];
	bool late[SCENARIO_MAX_FILES]; /* has missed a deadline: its stores may be lost */
	struct message messages[MAX_MESSAGES];
	unsigned first_message, nmessages;	/* numbers of the next one, and of all that came */
	struct klock faulter;			/* the daemon's thread that serves its faults */
	struct klock reader;			/* the one that reads what it sends */
	unsigned ndetached[SCENARIO_MAX_FILES]; /* what was for an attachment of before is not read */
};

struct thread {
	struct world *w;
	const struct scenario_thread *text;
	unsigned index, op;

	/* I/O under way from a mapping: what it has taken, and what the history calls that. */
	uint64_t pinned[PAGE_CELLS];
	unsigned pin_events[PAGE_CELLS];
	uint64_t pinned_blk; /* it goes on with that block: only without bounced-io */
};

struct world {
	const struct scenario *scenario;
	const struct udax_policy *policy;
	struct sched *sched;
	struct mem *mem;
	struct region *medium;
	struct sync *sync;
	struct volume *vol;
	unsigned nlive; /* pieces of memory there were before it was mounted */
	struct inode *inodes[SCENARIO_MAX_FILES];
	struct kfile files[SCENARIO_MAX_FILES];
	struct process processes[SCENARIO_MAX_PROCESSES];
	struct thread threads[SCENARIO_MAX_THREADS];
	struct object workers;
	unsigned free_workers;
	struct object synced;
	unsigned nsynced[SCENARIO_MAX_THREADS]; /* OP_SYNC, by thread */
	struct object *blocks;			/* of the medium */
	struct history history;
	struct object pending; /* stores to the medium, and drains; only if power can fail */
	struct crash *crash;   /* outlives runs; NULL: power never fails */
	bool crashed;
	uint32_t launder_failed; /* a bit for each task: a notify that it waited for has met a failed write */
	unsigned *reached; /* a bit for each expectation that some run has reached; outlives runs */
	struct object time; /* who was over before who began: part of what is judged */
};

/** What outlives runs. */
struct lab;

/**
 * lab_new - set @scenario up under @policy; @scenario stays the caller's, and outlives it. NULL with one
 * sentence in @err.
 */
struct lab *lab_new(const struct scenario *scenario, const struct udax_policy *policy, char *err,
		    size_t err_len);
void lab_delete(struct lab *lab);

/** lab_explored - what explore() runs. */
const struct explored *lab_explored(struct lab *lab);

/**
 * lab_unreached - an EXPECT_REACHED that no run so far has come to; NULL: there is none. After a search to
 * its end that found nothing, the scenario does not show what it is for.
 */
const struct scenario_expect *lab_unreached(const struct lab *lab);

/** lab_trace - run @schedule once more and write it down in *@ret, which trace_free() frees. 0, -errno. */
int lab_trace(struct lab *lab, const char *schedule, struct trace *ret);
void trace_free(struct trace *trace);

/** file_name - of file @file in @w, as the scenario calls it. */
static inline const char *file_name(const struct world *w, unsigned file)
{
	return w->scenario->files[file].name;
}

#endif
