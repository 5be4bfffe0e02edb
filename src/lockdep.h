/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * lockdep.h - the lock order, checked while the program runs.
 *
 * Each environment may have one checker. It remembers every pair "held A, then took B" of
 * (class, subclass) that it has seen, with the modes and the two source positions, and reports,
 * in the shape of the kernel's lockdep. The mode tells no pairs apart: a waiting writer keeps
 * readers out, so a shared lock can close a cycle as well as an exclusive one. Reported are:
 *
 *   - a pair that closes a cycle with pairs seen before (possible circular locking dependency);
 *   - the same lock, or the same class and subclass, taken twice (possible recursive locking);
 *   - a pair against the declared order of enum lock_class;
 *   - a release of what is not held, and a lock held where none may be.
 *
 * It knows no threads: whoever calls it passes the task, so the lab can use it with its own.
 */
#ifndef UDAX_LOCKDEP_H
#define UDAX_LOCKDEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "sync.h"

#define LOCKDEP_MAX_HELD 32

struct lockdep;

/** The locks that one thread holds, oldest first. Zeroed by whoever creates the thread. */
struct lockdep_task {
	char name[16];
	int nr_held;
	struct lockdep_held {
		const void *lock;
		enum lock_class class;
		unsigned subclass;
		enum sync_mode mode;
		const struct sync_site *site;
	} held[LOCKDEP_MAX_HELD];
};

/**
 * lockdep_new - a checker that has seen nothing. NULL without memory. @report gets each line of
 * each report (NULL: stderr) and may take no lock that is checked; a cycle is reported once.
 * lockdep_delete() frees it.
 */
struct lockdep *lockdep_new(void (*report)(void *ctx, const char *line), void *ctx);
void lockdep_delete(struct lockdep *dep);

/**
 * lockdep_acquire - @task is about to wait for @lock: check, and add it to the held locks.
 * @try: a trylock cannot deadlock; it is recorded as held but adds no dependency.
 * lockdep_release - @task releases @lock; reported when it does not hold it.
 * lockdep_pretend - as acquire and release at once, of a lock that stands outside the program.
 * All are safe from several threads, each with its own task.
 */
void lockdep_acquire(struct lockdep *dep, struct lockdep_task *task, const void *lock,
		     enum lock_class class, unsigned subclass, enum sync_mode mode, bool try,
		     const struct sync_site *site);
void lockdep_release(struct lockdep *dep, struct lockdep_task *task, const void *lock,
		     const struct sync_site *site);
void lockdep_pretend(struct lockdep *dep, struct lockdep_task *task, enum lock_class class,
		     const struct sync_site *site);

/**
 * lockdep_check_none - whether @task holds nothing; if it does hold something, report it.
 * The program says at @site that no lock may be held there.
 */
bool lockdep_check_none(struct lockdep *dep, const struct lockdep_task *task,
			const struct sync_site *site);

/** lockdep_holds - whether @task holds @lock at least in @mode. */
bool lockdep_holds(const struct lockdep_task *task, const void *lock, enum sync_mode mode);

/** lockdep_nr_reports - how many reports were given so far. */
uint64_t lockdep_nr_reports(const struct lockdep *dep);

/**
 * lockdep_print_pairs - one line per observed dependency, `outer -> inner`, with the names of
 * docs/LOCKING.md (`ilock`, `ilock/1` for subclass 1), sorted, without duplicates.
 */
void lockdep_print_pairs(const struct lockdep *dep, FILE *out);

#endif
