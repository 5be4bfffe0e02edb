/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * explore.c - `udaxlab explore`: search, and say what was found and what was covered.
 */
#include "udaxlab.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "explore.h"
#include "report.h"
#include "scenario.h"
#include "trap.h"
#include "udax/policy.h"
#include "world.h"

#define ANY_PREEMPTIONS 250u

struct request {
	const struct udax_policy *policy;
	struct explore_options how;
	struct report_files files;
	uint64_t jobs;
	bool json;
};

enum {
	OPT_EXHAUSTIVE = 256,
	OPT_RANDOM,
	OPT_PCT,
	OPT_PLAIN,
	OPT_HTML,
	OPT_SVG,
	OPT_TRACE,
	OPT_DIR
};

static const struct option options[] = {
	{ "policy", required_argument, NULL, 'p' },
	{ "preemptions", required_argument, NULL, 'n' },
	{ "exhaustive", no_argument, NULL, OPT_EXHAUSTIVE },
	{ "random", required_argument, NULL, OPT_RANDOM },
	{ "pct", required_argument, NULL, OPT_PCT },
	{ "timeout", required_argument, NULL, 't' },
	{ "jobs", required_argument, NULL, 'J' },
	{ "no-reduction", no_argument, NULL, OPT_PLAIN },
	{ "html", required_argument, NULL, OPT_HTML },
	{ "svg", required_argument, NULL, OPT_SVG },
	{ "trace", required_argument, NULL, OPT_TRACE },
	{ "scenarios", required_argument, NULL, OPT_DIR },
	{ "json", no_argument, NULL, 'j' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

/* "SEED,RUNS" */
static bool parse_random(const char *text, struct explore_options *how)
{
	char *end;

	how->how = EXPLORE_RANDOM;
	how->seed = strtoull(text, &end, 0);
	if (end != text && *end == ',')
		return lab_parse_unsigned("--random", end + 1, UINT64_MAX, &how->runs);
	cli_error("--random: '%s' is not SEED,RUNS, such as 1,100000", text);
	return false;
}

static bool set_option(struct request *rq, const struct lab_verb *verb, int c)
{
	uint64_t n;

	switch (c) {
	case 'p':
		rq->policy = lab_policy(optarg);
		return rq->policy;
	case 'n':
		if (!lab_parse_unsigned("--preemptions", optarg, ANY_PREEMPTIONS, &n))
			return false;
		rq->how.preemptions = (unsigned)n;
		return true;
	case OPT_EXHAUSTIVE:
		rq->how.preemptions = ANY_PREEMPTIONS;
		return true;
	case OPT_RANDOM:
		return parse_random(optarg, &rq->how);
	case OPT_PCT:
		if (!lab_parse_unsigned("--pct", optarg, 32, &n))
			return false;
		rq->how.how = EXPLORE_PCT;
		rq->how.depth = n ? (unsigned)n : 1;
		return true;
	case 't':
		if (!lab_parse_unsigned("--timeout", optarg, 1000000, &n))
			return false;
		rq->how.timeout = (double)n;
		return true;
	case 'J':
		return lab_parse_unsigned("--jobs", optarg, 256, &rq->jobs);
	case OPT_PLAIN:
		rq->how.reduce = false;
		return true;
	case OPT_HTML:
		rq->files.html = optarg;
		return true;
	case OPT_SVG:
		rq->files.svg = optarg;
		return true;
	case OPT_TRACE:
		rq->files.chrome = optarg;
		return true;
	case OPT_DIR:
		lab_scenario_dir(optarg);
		return true;
	case 'j':
		rq->json = true;
		return true;
	case 'h':
		lab_verb_usage(stdout, verb);
		exit(LAB_SAFE);
	default:
		return false;
	}
}

static bool on_progress(void *ctx, uint64_t interleavings, unsigned preemptions, double seconds)
{
	static double last;
	char number[LAB_NUMBER_LEN];

	(void)ctx;
	if (seconds - last < 0.25 && seconds >= last)
		return false;
	last = seconds;
	fprintf(stderr, "\r%s interleavings, up to %u preemptions, %.0f s \r",
		lab_number(interleavings, number), preemptions, seconds);
	return false;
}

static json_t *result_json(const struct scenario *sc, const struct request *rq,
			   const struct explore_result *r)
{
	json_t *object = cli_json();

	cli_set_string(object, "scenario", sc->name);
	cli_set_string(object, "policy", rq->policy->name);
	cli_set_string(object, "verdict", lab_verdict(r));
	cli_set_string(object, "rule", r->rule);
	cli_set_string(object, "broken", r->text);
	cli_set_string(object, "schedule", r->schedule);
	cli_set_uint(object, "interleavings", r->interleavings);
	cli_set_uint(object, "cut", r->cut);
	cli_set_uint(object, "outcomes", r->outcomes);
	cli_set_uint(object, "outcomes_sum", r->outcomes_sum & INT64_MAX);
	cli_set_uint(object, "preemptions", r->preemptions);
	cli_set_bool(object, "exhaustive", r->finished && rq->how.how == EXPLORE_EXHAUSTIVE);
	cli_set_uint(object, "max_steps", r->max_steps);
	cli_set(object, "seconds", json_real(r->seconds));
	return object;
}

static void print_result(const struct scenario *sc, const struct request *rq,
			 const struct explore_result *r)
{
	char covered[160], number[LAB_NUMBER_LEN];

	lab_covered(r, rq->how.how != EXPLORE_EXHAUSTIVE, covered, sizeof(covered));
	if (!r->broken) {
		printf("%s, policy %s: no violation in %s (%.1f s)\n", sc->name, rq->policy->name,
		       covered, r->seconds);
		return;
	}
	printf("%s, policy %s: %s, found in %s interleavings (%.1f s), with %u preemption%s\n",
	       sc->name, rq->policy->name, r->rule, lab_number(r->interleavings, number),
	       r->seconds, r->preemptions, r->preemptions == 1 ? "" : "s");
}

static int report(struct lab *lab, const char *name, const struct request *rq,
		  const struct explore_result *r)
{
	struct trace trace;
	int err = lab_trace(lab, r->schedule, &trace);

	if (err)
		return cli_error("the interleaving could not be run again: %s", strerror(-err));
	snprintf(trace.schedule, sizeof(trace.schedule), "%.200s:%.60s:%.3800s", name,
		 rq->policy->name, r->schedule);
	err = rq->json ? 0 : report_terminal(&trace);
	if (!err)
		err = report_write(&trace, &rq->files);
	trace_free(&trace);
	return err;
}

/* Nothing is wrong, but does the scenario come to what it is for? */
static int judge_reached(const struct lab *lab, const struct scenario *sc)
{
	const struct scenario_expect *e = lab_unreached(lab);

	if (!e)
		return LAB_SAFE;
	cli_error("%s, line %d: no interleaving comes to that: it does not show what it is for",
		  sc->name, e->line);
	return LAB_UNKNOWN;
}

/* One scenario, in this process. */
static int explore_one(const char *name, const struct request *rq)
{
	struct scenario *sc = lab_scenario(name);
	struct explore_result r;
	struct lab *lab;
	char err[512];
	int status = LAB_SAFE;

	if (!sc)
		return LAB_ERROR;
	lab = lab_new(sc, rq->policy, err, sizeof(err));
	if (!lab) {
		free(sc);
		return cli_error("%s", err);
	}
	trap_set(lab_explored(lab)->sched);
	if (explore(lab_explored(lab), &rq->how, &r)) {
		status = cli_error("out of memory");
	} else {
		if (lab_on_terminal())
			fputs("\r\033[K", stderr);
		if (rq->json)
			cli_print_json(result_json(sc, rq, &r));
		else
			print_result(sc, rq, &r);
		status = r.broken ? LAB_BROKEN : r.finished ? judge_reached(lab, sc) : LAB_UNKNOWN;
		if (r.broken && report(lab, name, rq, &r))
			status = LAB_ERROR;
	}
	trap_set(NULL);
	lab_delete(lab);
	free(sc);
	return status;
}

/* What is worst for who hopes for safety. */
static int worse(int a, int b)
{
	static const int rank[] = {
		[LAB_SAFE] = 0, [LAB_UNKNOWN] = 1, [LAB_BROKEN] = 2, [LAB_USAGE] = 3, [LAB_ERROR] = 4
	};

	return rank[a] > rank[b] ? a : b;
}

static int wait_one(void)
{
	int status;

	if (wait(&status) < 0)
		return LAB_ERROR;
	return WIFEXITED(status) && WEXITSTATUS(status) <= LAB_UNKNOWN ? WEXITSTATUS(status)
								       : LAB_ERROR;
}

static int explore_many(char **names, unsigned n, const struct request *rq)
{
	unsigned running = 0;
	int status = LAB_SAFE;

	for (unsigned i = 0; i < n; i++) {
		pid_t pid;

		if (running == rq->jobs) {
			status = worse(status, wait_one());
			running--;
		}
		fflush(NULL);
		pid = fork();
		if (!pid)
			exit(explore_one(names[i], rq));
		if (pid < 0)
			status = worse(status, cli_error("fork: %s", strerror(errno)));
		else
			running++;
	}
	while (running--)
		status = worse(status, wait_one());
	return status;
}

static int run(const struct lab_verb *verb, int argc, char **argv)
{
	struct request rq = { .policy = &policy_mmaplock,
			      .how = { .reduce = true, .preemptions = 2, .seed = 1, .runs = 10000 },
			      .jobs = 1 };
	int c, status = LAB_SAFE;

	optind = 1;
	argv[0] = (char *)"udaxlab";
	while ((c = getopt_long(argc, argv, "p:n:t:J:jh", options, NULL)) != -1)
		if (!set_option(&rq, verb, c))
			return lab_try_help(verb);
	if (optind == argc) {
		cli_error("which scenario? 'udaxlab scenarios' lists them");
		return lab_try_help(verb);
	}
	if (lab_on_terminal() && rq.jobs <= 1)
		rq.how.progress = on_progress;
	if (rq.jobs > 1)
		return explore_many(argv + optind, (unsigned)(argc - optind), &rq);
	for (; optind < argc; optind++)
		status = worse(status, explore_one(argv[optind], &rq));
	return status;
}

const struct lab_verb verb_explore = {
	.name = "explore",
	.args = "SCENARIO...",
	.summary = "Search the interleavings of scenarios for one that breaks a rule",
	.details = "  -p, --policy P       the locking policy (default mmaplock)\n"
		   "  -n, --preemptions N  all interleavings with up to N preemptions (default 2)\n"
		   "      --exhaustive     with any number of preemptions\n"
		   "      --random SEED,RUNS  instead: so many, each choice at random\n"
		   "      --pct DEPTH      instead: random priorities that change DEPTH - 1 times\n"
		   "  -t, --timeout T      stop after T seconds\n"
		   "  -J, --jobs N         N scenarios at a time\n"
		   "      --no-reduction   also interleavings that differ in nothing that matters\n"
		   "      --html FILE      the counterexample as a page to look at\n"
		   "      --svg FILE       ... as a picture\n"
		   "      --trace FILE     ... as a trace for Perfetto\n"
		   "      --scenarios DIR  where scenarios are\n"
		   "  -j, --json           print one JSON object for each scenario\n"
		   "  -h, --help           print this\n",
	.run = run,
};
