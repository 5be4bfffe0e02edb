/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * facts.h - what the protocols take for granted of the kernel, as experiments: each is written once and run
 * twice, on this machine's kernel and on the lab's.
 *
 *	facts.c		the experiments, and what each is to show
 *	facts_mount.c	the bed that is real: a mount, system calls, threads
 *	facts_lab.c	the bed that is simulated: src/lab/kernel.c under the lab's scheduler, every interleaving
 *
 * An experiment is about the kernel alone. So the daemon in both beds is the simplest there can be, one file
 * held in memory; what it does at the wrong moment (notify, wait, fail) is the experiment's. What a run has
 * come to is its *outcome*: what was said, sorted by key, as "key: value; key: value".
 *
 * Places are cells, as in the lab's scenarios: two to a page, of each of which the first eight bytes count.
 * At first each cell is OLD.
 *
 * Stages put parts of a run in order: who reaches one goes on, who awaits one waits until it was reached. In
 * the daemon only `at` may await, and what it awaits, with the kernel waiting for its answer, is
 * what "hangs" means: in the lab that nobody can go on, on a mount that for HANG_MS nothing came of it.
 */
#ifndef UDAX_TESTS_FACTS_H
#define UDAX_TESTS_FACTS_H

#include <stdbool.h>
#include <stdint.h>

#define FACT_CELLS 16u
#define FACT_THREADS 4
#define FACT_STAGES 8

#define OLD 1u
#define NEW 2u
#define NEWER 3u

#define HANG_MS 1500

struct bed;

/** What the daemon is asked, and when. */
enum asked { ASKED_READ, ASKED_WRITE, ASKED_WRITEBACK, ASKED_SIZE, ASKED_PUNCH, ASKED_RELEASE };
enum moment { ARRIVED, DONE }; /* nothing has been done yet; all has, but the answer */

/** A thread: of the program, or of the daemon, where it serves no requests. */
struct fact_thread {
	void (*main)(struct bed *b);
	bool daemon;
};

struct fact {
	const char *name;
	const char *says;    /* in one sentence */
	unsigned size_cells; /* of the file */
	unsigned nworkers;   /* threads of the daemon that serve requests */
	bool direct;	     /* the file is opened with O_DIRECT, and answered FOPEN_DIRECT_IO */
	bool no_keep;	     /* opens are answered without FOPEN_KEEP_CACHE */
	const char *wanted;  /* the outcome */
	struct fact_thread threads[FACT_THREADS];
	/* The daemon is asked for @cell. Returns 0, or the error that it is to answer. May be NULL. */
	int (*at)(struct bed *b, enum asked asked, enum moment moment, unsigned cell);
};

extern const struct fact facts[];
extern const unsigned nfacts;

/** bed_fact_mount, bed_fact_lab - run @fact; prints each outcome once, one a line. 0, or 1 with a reason. */
int fact_on_mount(const struct fact *fact, const char *mountpoint, unsigned runs);
int fact_in_lab(const struct fact *fact);

/* ---- what an experiment is made of; each bed has its own, and they are called by its threads only -------- */

struct bed_ops {
	/* Of the program. false: SIGBUS. */
	bool (*load)(struct bed *b, unsigned cell, uint64_t *ret);
	bool (*store)(struct bed *b, unsigned cell, uint64_t value);
	/* One cell: 1, 0 at EOF, -errno. */
	int (*read)(struct bed *b, unsigned cell, uint64_t *ret);
	/* The same into each cell; 0 or -errno. */
	int (*write)(struct bed *b, unsigned first, unsigned end, uint64_t value);
	int (*append)(struct bed *b, uint64_t value); /* a page */
	int (*truncate)(struct bed *b, unsigned cells);
	int (*punch)(struct bed *b, unsigned first, unsigned end);
	int (*fsync)(struct bed *b);
	void (*writeback)(struct bed *b, unsigned cell); /* of its page, without i_rwsem */
	void (*change_mappings)(struct bed *b); /* mmap(2) and munmap(2) of something else */
	void (*open_again)(struct bed *b);	/* and close */
	void (*close)(struct bed *b);		/* the descriptor; mappings stay */
	void (*unmap)(struct bed *b);		/* the file's mapping */
	void (*clear_direct)(struct bed *b);	/* O_DIRECT, by fcntl(2) */
	/* Of the daemon. 0 or -errno. */
	int (*notify)(struct bed *b, unsigned first, unsigned end);
	uint64_t *(*medium)(struct bed *b,
			    unsigned **ret_size); /* the file, as the daemon has it */
	/* Of both. */
	void (*reach)(struct bed *b, unsigned stage);
	bool (*await)(struct bed *b, unsigned stage);
	bool (*reached)(struct bed *b, unsigned stage);
	void (*say)(struct bed *b, const char *key, const char *value);
};

struct bed {
	const struct bed_ops *ops;
	const struct fact *fact;
};

/** bed_say_value - 0, OLD, NEW, NEWER in words. */
void bed_say_value(struct bed *b, const char *key, uint64_t value);

/** outcome_add - "key: value" goes into @buf of @len bytes, in the order of keys. */
void outcome_add(char *buf, unsigned len, const char *key, const char *value);

#define OUTCOME 512

#endif
