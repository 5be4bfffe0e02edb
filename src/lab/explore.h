/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * explore.h - which interleavings are run: all of them up to a number of preemptions, or some.
 *
 * A *decision* is a point of the scheduler where more than one could go on. Going on with whoever ran is
 * free, and so is choosing anybody when that one cannot; everything else is a preemption (also to let
 * time pass while somebody could run, or something fail). An interleaving is written as a *schedule*: the decisions,
 * counted from 0, at which somebody else was chosen than the one who ran, or the first who can:
 * "12.2,40.0" chooses task 2 at decision 12 and task 0 at decision 40. Task 15 is the clock, 16 a failure.
 *
 * Exhaustive search goes depth first through all decisions within a bound of preemptions, and raises the
 * bound, so the first counterexample has the fewest. A state that was reached before with as few
 * preemptions, by the same steps in another order of what does not touch the same objects
 * (sched_state), is not searched again: everything behind it has been. That is the partial-order
 * reduction; without it (`reduce` false) every interleaving is run.
 */
#ifndef UDAX_LAB_EXPLORE_H
#define UDAX_LAB_EXPLORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sched.h"

#define SCHEDULE_LEN 8192

/** What is run again and again. */
struct explored {
	struct sched *sched;
	void *ctx;
	/* Put everything back, and spawn the tasks. */
	void (*prepare)(void *ctx);
	/* A run is complete: look at what is left. May sched_fail(). */
	void (*examine)(void *ctx);
	/* ... as a number: the same for the same results and final state. May be NULL. */
	uint64_t (*outcome)(void *ctx);
};

enum explore_how { EXPLORE_EXHAUSTIVE, EXPLORE_RANDOM, EXPLORE_PCT };

struct explore_options {
	enum explore_how how;
	bool reduce;
	unsigned preemptions; /* exhaustive: the highest bound */
	uint64_t seed;	      /* random, PCT */
	uint64_t runs;
	unsigned depth;	     /* PCT: changes of priority, plus one */
	double timeout;	     /* seconds; 0: none */
	uint64_t max_runs;   /* 0: no limit */
	size_t cache_states; /* how many states to remember at most; 0: a default */
	/* Called every now and then; true: stop. May be NULL. */
	bool (*progress)(void *ctx, uint64_t interleavings, unsigned preemptions, double seconds);
	void *progress_ctx;
};

struct explore_result {
	bool broken;
	char rule[48], text[256];
	char schedule[SCHEDULE_LEN]; /* of the counterexample */
	unsigned preemptions;	     /* in it; or the bound that was searched to its end */
	uint64_t interleavings;	     /* complete runs, at the last bound */
	uint64_t cut;		     /* runs that the reduction ended */
	uint64_t outcomes;	     /* how many different ones, at the last bound ... */
	uint64_t outcomes_sum;	     /* ... and all of them in one number */
	bool finished;		     /* nothing was left out within `preemptions` */
	bool unbounded;		     /* ... and no interleaving has more of them */
	bool forgot;		     /* the states did not all fit: more runs, nothing left out */
	unsigned max_steps, max_decisions;
	double seconds;
};

/** explore - search, and fill in *@ret. 0 or -ENOMEM. */
int explore(const struct explored *what, const struct explore_options *options,
	    struct explore_result *ret);

/**
 * explore_replay - run one schedule. Returns its end, or -EINVAL when @schedule is no schedule, or chooses
 * somebody who cannot be chosen there. @ret_preemptions may be NULL.
 */
int explore_replay(const struct explored *what, const char *schedule, unsigned *ret_preemptions);

#endif
