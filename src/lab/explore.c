/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * explore.c - see explore.h. One `struct search` is the state of any of the strategies: the path of
 * decisions of the run under way, and what is still to be tried at each.
 */
#include "explore.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "seen.h"

#define MOST_STATES ((size_t)1 << 24)
#define PROGRESS_EVERY 1024u
#define CLOCK_BIT (UINT32_C(1) << SCHED_CLOCK)

struct decision {
	uint32_t enabled, todo;
	uint8_t current, chosen; /* 255: nobody could go on */
	uint16_t preemptions;	 /* before it */
};

struct search {
	struct strategy strategy;
	const struct explored *what;
	const struct explore_options *opt;
	struct explore_result *ret;
	struct decision *path;
	unsigned depth, replay; /* decisions of this run; how many of them are given */
	unsigned bound;
	bool bound_met; /* something was left out because of it */
	bool confused;	/* a replay came to other decisions than before */
	struct seen seen, outcomes;
	struct timespec begin;

	uint64_t random; /* the other strategies */
	unsigned priorities[SCHED_FAILURE + 1];
	uint64_t changes[32];
	const char *schedule; /* what is left of it */
};

static double seconds_since(const struct timespec *begin)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - begin->tv_sec) + (double)(now.tv_nsec - begin->tv_nsec) / 1e9;
}

static uint64_t random_next(struct search *search)
{
	uint64_t z = search->random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* ---- decisions ---------------------------------------------------------------------------------- */

static bool is_choice(uint32_t enabled)
{
	return enabled & (enabled - 1);
}

static unsigned first_of(uint32_t tasks)
{
	return (unsigned)__builtin_ctz(tasks);
}

/* What goes on when nobody thinks about it. */
static unsigned usual(uint32_t enabled, unsigned current)
{
	return current != SCHED_NOBODY ? current : first_of(enabled);
}

static unsigned cost(uint32_t enabled, unsigned current, unsigned chosen)
{
	if (current != SCHED_NOBODY)
		return chosen != current;
	return chosen == SCHED_CLOCK && enabled != CLOCK_BIT;
}

static struct decision *push(struct search *search, uint32_t enabled, unsigned current,
			     unsigned chosen)
{
	struct decision *d = &search->path[search->depth];
	unsigned before = 0;

	if (search->depth) {
		const struct decision *last = d - 1;

		before = last->preemptions +
			 cost(last->enabled, last->current == 255 ? SCHED_NOBODY : last->current,
			      last->chosen);
	}
	*d = (struct decision){ .enabled = enabled,
				.current = current == SCHED_NOBODY ? 255 : (uint8_t)current,
				.chosen = (uint8_t)chosen,
				.preemptions = (uint16_t)before };
	search->depth++;
	return d;
}

static unsigned path_preemptions(const struct search *search)
{
	const struct decision *last = &search->path[search->depth - 1];

	if (!search->depth)
		return 0;
	return last->preemptions + cost(last->enabled,
					last->current == 255 ? SCHED_NOBODY : last->current,
					last->chosen);
}

/* ---- exhaustive --------------------------------------------------------------------------------- */

static unsigned choose_next(struct strategy *st, struct sched *s, uint32_t enabled,
			    unsigned current)
{
	struct search *search = (struct search *)st;
	struct decision *d;
	uint64_t key;

	if (!is_choice(enabled))
		return first_of(enabled);
	if (search->depth < search->replay) {
		d = &search->path[search->depth++];
		if (d->enabled == enabled)
			return d->chosen;
		search->confused = true;
		return SCHED_NOBODY;
	}
	d = push(search, enabled, current, usual(enabled, current));
	/* Who ran is a part of the state: from there on, going on with somebody else costs. */
	key = (sched_state(s) + d->current) * UINT64_C(0x9e3779b97f4a7c15);
	if (search->opt->reduce && seen_before(&search->seen, key ^ key >> 31, d->preemptions)) {
		search->depth--;
		return SCHED_NOBODY;
	}
	for (uint32_t others = enabled & ~(UINT32_C(1) << d->chosen); others;
	     others &= others - 1) {
		unsigned other = first_of(others);

		if (d->preemptions + cost(enabled, current, other) <= search->bound)
			d->todo |= UINT32_C(1) << other;
		else
			search->bound_met = true;
	}
	return d->chosen;
}

/* Go back to the last decision at which something is left to try. False: there is none. */
static bool backtrack(struct search *search)
{
	while (search->depth) {
		struct decision *d = &search->path[search->depth - 1];

		if (d->todo) {
			d->chosen = (uint8_t)first_of(d->todo);
			d->todo &= d->todo - 1;
			search->replay = search->depth;
			return true;
		}
		search->depth--;
	}
	return false;
}

static void note_outcome(struct search *search, uint64_t outcome)
{
	if (seen_before(&search->outcomes, outcome, 0))
		return;
	search->ret->outcomes++;
	search->ret->outcomes_sum += outcome;
}

static enum run_end run_once(struct search *search)
{
	struct sched *s = search->what->sched;
	enum run_end end;

	search->depth = 0;
	search->what->prepare(search->what->ctx);
	end = sched_run(s, &search->strategy);
	if (end == RUN_COMPLETE) {
		search->what->examine(search->what->ctx);
		end = s->end;
	}
	if (end == RUN_COMPLETE && search->what->outcome && search->outcomes.keys)
		note_outcome(search, search->what->outcome(search->what->ctx));
	if (s->nsteps > search->ret->max_steps)
		search->ret->max_steps = s->nsteps;
	if (search->depth > search->ret->max_decisions)
		search->ret->max_decisions = search->depth;
	return end;
}

static void write_schedule(const struct search *search, char *buf, size_t len)
{
	size_t n = 0;

	buf[0] = 0;
	for (unsigned i = 0; i < search->depth && n < len; i++) {
		const struct decision *d = &search->path[i];
		unsigned current = d->current == 255 ? SCHED_NOBODY : d->current;

		if (d->chosen != usual(d->enabled, current))
			n += (size_t)snprintf(buf + n, len - n, "%s%u.%u", n ? "," : "", i,
					      d->chosen);
	}
}

static void note_broken(struct search *search)
{
	struct explore_result *ret = search->ret;
	const struct sched *s = search->what->sched;

	ret->broken = true;
	snprintf(ret->rule, sizeof(ret->rule), "%s", s->rule);
	snprintf(ret->text, sizeof(ret->text), "%s", s->broken);
	write_schedule(search, ret->schedule, sizeof(ret->schedule));
	ret->preemptions = path_preemptions(search);
}

static bool enough(struct search *search, unsigned preemptions)
{
	const struct explore_options *opt = search->opt;
	struct explore_result *ret = search->ret;
	uint64_t n = ret->interleavings + ret->cut;

	if (opt->max_runs && n >= opt->max_runs)
		return true;
	if (n % PROGRESS_EVERY)
		return false;
	ret->seconds = seconds_since(&search->begin);
	if (opt->timeout > 0 && ret->seconds > opt->timeout)
		return true;
	return opt->progress &&
	       opt->progress(opt->progress_ctx, ret->interleavings, preemptions, ret->seconds);
}

/* All interleavings within search->bound. False: a rule is broken, or it was enough. */
static bool search_level(struct search *search)
{
	struct explore_result *ret = search->ret;

	seen_clear(&search->seen);
	seen_clear(&search->outcomes);
	ret->outcomes = ret->outcomes_sum = 0;
	search->bound_met = false;
	search->replay = 0;
	ret->interleavings = ret->cut = 0;
	do {
		enum run_end end = run_once(search);

		if (search->confused) {
			struct sched *s = search->what->sched;

			s->end = RUN_COMPLETE;
			sched_fail(s, NULL, "not-deterministic",
				   "the same choices led to another decision");
			end = RUN_BROKEN;
		}
		if (end == RUN_BROKEN) {
			ret->interleavings++;
			note_broken(search);
			return false;
		}
		if (end == RUN_CUT)
			ret->cut++;
		else
			ret->interleavings++;
		if (enough(search, search->bound))
			return false;
	} while (backtrack(search));
	return true;
}

static void search_exhaustively(struct search *search)
{
	struct explore_result *ret = search->ret;

	search->strategy.choose = choose_next;
	for (search->bound = 0;; search->bound++) {
		bool done = search_level(search);

		ret->forgot |= search->seen.full;
		if (!done)
			return;
		ret->preemptions = search->bound;
		ret->finished = true;
		ret->unbounded = !search->bound_met;
		if (ret->unbounded || search->bound == search->opt->preemptions)
			return;
		ret->finished = false;
	}
}

/* ---- at random ---------------------------------------------------------------------------------- */

static unsigned choose_random(struct strategy *st, struct sched *s, uint32_t enabled,
			      unsigned current)
{
	struct search *search = (struct search *)st;
	uint32_t rest = enabled;

	(void)s;
	if (!is_choice(enabled))
		return first_of(enabled);
	for (unsigned skip =
		     (unsigned)(random_next(search) % (unsigned)__builtin_popcount(enabled));
	     skip; skip--)
		rest &= rest - 1;
	push(search, enabled, current, first_of(rest));
	return first_of(rest);
}

/*
 * PCT (Burckhardt, Kothari, Musuvathi, Nagarakatti, ASPLOS 2010): random priorities, the highest goes
 * on; at depth - 1 random decisions whoever runs falls below all others.
 */
static unsigned choose_by_priority(struct strategy *st, struct sched *s, uint32_t enabled,
				   unsigned current)
{
	struct search *search = (struct search *)st;
	unsigned best = SCHED_NOBODY;

	(void)s;
	if (!is_choice(enabled))
		return first_of(enabled);
	for (unsigned i = 0; i + 1 < search->opt->depth; i++)
		if (search->changes[i] == search->depth && current != SCHED_NOBODY)
			search->priorities[current] = i;
	for (uint32_t rest = enabled; rest; rest &= rest - 1) {
		unsigned task = first_of(rest);

		if (best == SCHED_NOBODY || search->priorities[task] > search->priorities[best])
			best = task;
	}
	push(search, enabled, current, best);
	return best;
}

static void draw_priorities(struct search *search)
{
	unsigned depth = search->opt->depth, longest = search->ret->max_decisions;

	for (unsigned i = 0; i <= SCHED_FAILURE; i++)
		search->priorities[i] = depth + (unsigned)(random_next(search) % 1000000);
	for (unsigned i = 0; i + 1 < depth && i < sizeof(search->changes) / 8; i++)
		search->changes[i] = random_next(search) % (longest ? longest : 1);
}

static void search_some(struct search *search)
{
	const struct explore_options *opt = search->opt;
	struct explore_result *ret = search->ret;

	search->strategy.choose = opt->how == EXPLORE_RANDOM ? choose_random : choose_by_priority;
	search->random = opt->seed;
	while (ret->interleavings < opt->runs) {
		if (opt->how == EXPLORE_PCT)
			draw_priorities(search);
		if (run_once(search) == RUN_BROKEN) {
			ret->interleavings++;
			note_broken(search);
			return;
		}
		ret->interleavings++;
		if (enough(search, 0))
			return;
	}
	ret->finished = true;
}

/* ---- one schedule ------------------------------------------------------------------------------- */

/* The next deviation of the schedule, if it is at decision @at. */
static bool deviates(struct search *search, unsigned at, unsigned *ret_task)
{
	unsigned long decision, task;
	char *dot, *end;

	decision = strtoul(search->schedule, &dot, 10);
	if (dot == search->schedule || *dot != '.' || decision != at)
		return false;
	task = strtoul(dot + 1, &end, 10);
	if (end == dot + 1)
		return false;
	search->schedule = end;
	if (*search->schedule == ',')
		search->schedule++;
	*ret_task = (unsigned)task;
	return true;
}

static unsigned choose_given(struct strategy *st, struct sched *s, uint32_t enabled,
			     unsigned current)
{
	struct search *search = (struct search *)st;
	unsigned chosen;

	(void)s;
	if (!is_choice(enabled))
		return first_of(enabled);
	if (!deviates(search, search->depth, &chosen))
		chosen = usual(enabled, current);
	if (chosen > SCHED_FAILURE || !(enabled >> chosen & 1)) {
		search->confused = true;
		return SCHED_NOBODY;
	}
	push(search, enabled, current, chosen);
	return chosen;
}

static int search_begin(struct search *search, const struct explored *what,
			const struct explore_options *opt, struct explore_result *ret)
{
	*search = (struct search){ .what = what, .opt = opt, .ret = ret };
	*ret = (struct explore_result){ 0 };
	clock_gettime(CLOCK_MONOTONIC, &search->begin);
	search->path = calloc(SCHED_MAX_STEPS + 1, sizeof(*search->path));
	return search->path ? 0 : -ENOMEM;
}

int explore_replay(const struct explored *what, const char *schedule, unsigned *ret_preemptions)
{
	struct explore_result result;
	struct search search;
	int end = search_begin(&search, what, NULL, &result);

	if (end)
		return end;
	search.strategy.choose = choose_given;
	search.schedule = schedule;
	end = (int)run_once(&search);
	if (search.confused || (*search.schedule && end != RUN_BROKEN))
		end = -EINVAL;
	if (ret_preemptions)
		*ret_preemptions = path_preemptions(&search);
	free(search.path);
	return end;
}

/* ---- making a random counterexample smaller ------------------------------------------------------ */

/* Copy @schedule to @buf without its @skip-th deviation. False: it has not so many. */
static bool without(const char *schedule, unsigned skip, char *buf)
{
	bool skipped = false;
	char *end = buf;

	*buf = 0;
	for (unsigned i = 0; *schedule; i++) {
		size_t n = strcspn(schedule, ",");

		if (i == skip) {
			skipped = true;
		} else {
			if (end != buf)
				*end++ = ',';
			memcpy(end, schedule, n);
			end += n;
			*end = 0;
		}
		schedule += n + (schedule[n] == ',');
	}
	return skipped;
}

/* Leave out what the broken rule does not need, one deviation after the other. */
static void shrink(const struct explored *what, struct explore_result *ret)
{
	char shorter[SCHEDULE_LEN];

	for (unsigned i = 0; without(ret->schedule, i, shorter);) {
		unsigned preemptions;

		if (explore_replay(what, shorter, &preemptions) == RUN_BROKEN &&
		    strcmp(what->sched->rule, ret->rule) == 0) {
			snprintf(ret->schedule, sizeof(ret->schedule), "%s", shorter);
			snprintf(ret->text, sizeof(ret->text), "%s", what->sched->broken);
			ret->preemptions = preemptions;
		} else {
			i++;
		}
	}
}

int explore(const struct explored *what, const struct explore_options *options,
	    struct explore_result *ret)
{
	struct search search;
	int err = search_begin(&search, what, options, ret);

	if (!err)
		err = seen_new(&search.seen,
			       options->cache_states ? options->cache_states : MOST_STATES);
	if (!err)
		err = seen_new(&search.outcomes, MOST_STATES);
	if (!err && options->how == EXPLORE_EXHAUSTIVE)
		search_exhaustively(&search);
	else if (!err)
		search_some(&search);
	ret->seconds = seconds_since(&search.begin);
	if (!err && ret->broken && options->how != EXPLORE_EXHAUSTIVE)
		shrink(what, ret);
	seen_delete(&search.outcomes);
	seen_delete(&search.seen);
	free(search.path);
	return err;
}
