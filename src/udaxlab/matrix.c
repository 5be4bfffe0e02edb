/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * matrix.c - `udaxlab matrix`: every scenario under every policy.
 *
 * The rows stand in memory that worker processes share: each takes the next one that nobody has, until none
 * is left. A worker that dies costs the row that it was at, and that is said.
 */
#include "matrix.h"

#include <errno.h>
#include <getopt.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "trap.h"
#include "udax/policy.h"
#include "udaxlab.h"
#include "world.h"

struct shared {
	atomic_uint next, done;
	atomic_bool enough; /* with --first: one is caught, or its worker died */
	struct matrix_row rows[];
};

struct run {
	struct matrix m;
	struct explore_options how;
	struct shared *shared;
	const char *markdown, *html;
	bool json, first;
	uint64_t jobs;
};

const char *matrix_verdict(const struct matrix_row *row)
{
	return row->ran ? lab_verdict(&row->result) : "unknown";
}

/* ---- running --------------------------------------------------------------------------------------- */

static void run_row(const struct run *run, struct matrix_row *row)
{
	struct lab *lab = lab_new(run->m.scenarios[row->scenario], run->m.policies[row->policy],
				  row->why, sizeof(row->why));

	if (!lab)
		return;
	trap_set(lab_explored(lab)->sched);
	if (explore(lab_explored(lab), &run->how, &row->result)) {
		snprintf(row->why, sizeof(row->why), "out of memory");
	} else {
		const struct scenario_expect *e = lab_unreached(lab);

		row->why[0] = 0;
		row->ran = row->result.broken || !e;
		if (!row->ran)
			snprintf(row->why, sizeof(row->why),
				 "line %d: no interleaving comes to that", e->line);
	}
	trap_set(NULL);
	lab_delete(lab);
}

static void work(const struct run *run)
{
	unsigned n = run->m.nscenarios * run->m.npolicies;

	for (;;) {
		unsigned i = atomic_fetch_add(&run->shared->next, 1);

		if (i >= n || atomic_load(&run->shared->enough))
			return;
		snprintf(run->shared->rows[i].why, sizeof(run->shared->rows[i].why),
			 "its worker died");
		run_row(run, &run->shared->rows[i]);
		if (run->first && run->shared->rows[i].result.broken)
			atomic_store(&run->shared->enough, true);
		atomic_fetch_add(&run->shared->done, 1);
	}
}

static unsigned start_workers(const struct run *run)
{
	unsigned started = 0;

	fflush(NULL);
	for (unsigned i = 0; i < run->jobs; i++) {
		pid_t pid = fork();

		if (!pid) {
			work(run);
			_exit(0);
		}
		started += pid > 0;
	}
	return started;
}

static int run_all(struct run *run)
{
	unsigned n = run->m.nscenarios * run->m.npolicies, running = start_workers(run);
	struct timespec begin, now;

	if (!running)
		return cli_error("fork: %s", strerror(errno));
	clock_gettime(CLOCK_MONOTONIC, &begin);
	while (running) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG);

		if (pid > 0) {
			running--;
			/* Somebody else goes on in its place. */
			if (WIFSIGNALED(status) && run->first)
				atomic_store(&run->shared->enough, true);
			else if (WIFSIGNALED(status) && atomic_load(&run->shared->next) < n)
				running += start_workers(&(struct run){ .m = run->m,
									.how = run->how,
									.shared = run->shared,
									.jobs = 1 });
			continue;
		}
		if (lab_on_terminal())
			fprintf(stderr, "\r%u of %u \r", atomic_load(&run->shared->done), n);
		usleep(50000);
	}
	if (lab_on_terminal())
		fputs("\r\033[K", stderr);
	clock_gettime(CLOCK_MONOTONIC, &now);
	run->m.seconds =
		(double)(now.tv_sec - begin.tv_sec) + (double)(now.tv_nsec - begin.tv_nsec) / 1e9;
	return 0;
}

/* ---- what is run ----------------------------------------------------------------------------------- */

static int add_scenario(struct matrix *m, const char *name)
{
	struct scenario **scenarios =
		realloc(m->scenarios, (m->nscenarios + 1) * sizeof(*scenarios));

	if (!scenarios)
		return cli_error("out of memory");
	m->scenarios = scenarios;
	scenarios[m->nscenarios] = lab_scenario(name);
	if (!scenarios[m->nscenarios])
		return LAB_ERROR;
	m->nscenarios++;
	return 0;
}

static int all_scenarios(struct matrix *m)
{
	char **paths = lab_scenario_paths();
	int err = paths ? 0 : LAB_ERROR;

	for (char **path = paths; path && *path; path++) {
		if (!err)
			err = add_scenario(m, *path);
		free(*path);
	}
	free(paths);
	return err;
}

static int add_policy(struct matrix *m, const struct udax_policy *policy)
{
	const struct udax_policy **policies;

	if (!policy)
		return LAB_ERROR;
	policies = realloc(m->policies, (m->npolicies + 1) * sizeof(*policies));
	if (!policies)
		return cli_error("out of memory");
	m->policies = policies;
	policies[m->npolicies++] = policy;
	return 0;
}

static int all_policies(struct matrix *m)
{
	int err = 0;

	for (const struct udax_policy *const *p = policy_list(); !err && *p; p++)
		err = add_policy(m, *p);
	return err;
}

/* The rows stay: they are the process's. */
static void matrix_free(struct matrix *m)
{
	for (unsigned i = 0; i < m->nscenarios; i++)
		free(m->scenarios[i]);
	free(m->scenarios);
	free(m->policies);
}

static int make_rows(struct run *run)
{
	unsigned n = run->m.nscenarios * run->m.npolicies;
	size_t bytes = sizeof(*run->shared) + n * sizeof(run->shared->rows[0]);

	run->shared = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (run->shared == MAP_FAILED)
		return cli_error("out of memory");
	for (unsigned i = 0; i < n; i++) {
		run->shared->rows[i].scenario = i / run->m.npolicies;
		run->shared->rows[i].policy = i % run->m.npolicies;
		snprintf(run->shared->rows[i].why, sizeof(run->shared->rows[i].why),
			 "not searched");
	}
	run->m.rows = run->shared->rows;
	return 0;
}

/* ---- showing ---------------------------------------------------------------------------------------- */

static int write_file(const struct matrix *m, const char *path,
		      int (*show)(const struct matrix *m, FILE *out))
{
	FILE *out = path ? fopen(path, "we") : NULL;

	if (!path)
		return 0;
	if (!out || show(m, out) || fclose(out))
		return cli_error("%s: %s", path, strerror(errno));
	return 0;
}

/*
 * Whether it is as it should be: nothing is found in a policy that says it is sound, and each that says it
 * is not is caught by some scenario.
 */
static int judge(const struct matrix *m)
{
	int status = LAB_SAFE;

	for (unsigned p = 0; p < m->npolicies; p++) {
		unsigned ncaught = 0, nunknown = 0;

		for (unsigned s = 0; s < m->nscenarios; s++) {
			const struct matrix_row *row = &m->rows[s * m->npolicies + p];

			ncaught += row->ran && row->result.broken;
			nunknown += !row->ran || (!row->result.broken && !row->result.finished);
		}
		if (m->policies[p]->sound ? ncaught != 0 : ncaught == 0)
			status = LAB_BROKEN;
		else if (m->policies[p]->sound && nunknown && status == LAB_SAFE)
			status = LAB_UNKNOWN;
	}
	return status;
}

static int show(const struct run *run)
{
	int status = run->json ? matrix_json(&run->m) : matrix_terminal(&run->m, stdout);

	if (!status)
		status = write_file(&run->m, run->markdown, matrix_markdown);
	if (!status)
		status = write_file(&run->m, run->html, matrix_html);
	return status ? status : judge(&run->m);
}

enum { OPT_MARKDOWN = 256, OPT_HTML, OPT_DIR, OPT_FIRST };

static const struct option options[] = {
	{ "policy", required_argument, NULL, 'p' },
	{ "preemptions", required_argument, NULL, 'n' },
	{ "timeout", required_argument, NULL, 't' },
	{ "jobs", required_argument, NULL, 'J' },
	{ "markdown", required_argument, NULL, OPT_MARKDOWN },
	{ "html", required_argument, NULL, OPT_HTML },
	{ "scenarios", required_argument, NULL, OPT_DIR },
	{ "first", no_argument, NULL, OPT_FIRST },
	{ "json", no_argument, NULL, 'j' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

static bool set_option(struct run *run, const struct lab_verb *verb, int c)
{
	uint64_t n;

	switch (c) {
	case 'p':
		return add_policy(&run->m, lab_policy(optarg)) == 0;
	case 'n':
		if (!lab_parse_unsigned("--preemptions", optarg, 250, &n))
			return false;
		run->how.preemptions = (unsigned)n;
		return true;
	case 't':
		if (!lab_parse_unsigned("--timeout", optarg, 1000000, &n))
			return false;
		run->how.timeout = (double)n;
		return true;
	case 'J':
		return lab_parse_unsigned("--jobs", optarg, 256, &run->jobs) && run->jobs;
	case OPT_MARKDOWN:
		run->markdown = optarg;
		return true;
	case OPT_HTML:
		run->html = optarg;
		return true;
	case OPT_DIR:
		lab_scenario_dir(optarg);
		return true;
	case OPT_FIRST:
		run->first = true;
		return true;
	case 'j':
		run->json = true;
		return true;
	case 'h':
		lab_verb_usage(stdout, verb);
		exit(LAB_SAFE);
	default:
		return false;
	}
}

static int run_matrix(const struct lab_verb *verb, int argc, char **argv)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct run run = { .how = { .reduce = true, .preemptions = 2, .timeout = 60 },
			   .jobs = cpus > 0 ? (uint64_t)cpus : 1 };
	int c, err;

	optind = 1;
	argv[0] = (char *)"udaxlab";
	while ((c = getopt_long(argc, argv, "p:n:t:J:jh", options, NULL)) != -1)
		if (!set_option(&run, verb, c)) {
			matrix_free(&run.m);
			return lab_try_help(verb);
		}
	err = run.m.npolicies ? 0 : all_policies(&run.m);
	for (; !err && optind < argc; optind++)
		err = add_scenario(&run.m, argv[optind]);
	if (!err && !run.m.nscenarios)
		err = all_scenarios(&run.m);
	run.m.preemptions = run.how.preemptions;
	run.m.jobs = (unsigned)run.jobs;
	if (!err)
		err = make_rows(&run);
	if (!err)
		err = run_all(&run);
	if (!err)
		err = show(&run);
	matrix_free(&run.m);
	return err;
}

const struct lab_verb verb_matrix = {
	.name = "matrix",
	.args = "[SCENARIO...]",
	.summary = "Explore every scenario under every policy",
	.details =
		"Succeeds when nothing is found under the policies that are called sound, and something\n"
		"under each that is not.\n"
		"\n"
		"  -p, --policy P       only this policy; may be repeated\n"
		"  -n, --preemptions N  all interleavings with up to N preemptions (default 2)\n"
		"  -t, --timeout T      stop each after T seconds (default 60)\n"
		"  -J, --jobs N         N at a time (default: one for each CPU)\n"
		"      --markdown FILE  write the table in Markdown too\n"
		"      --html FILE      ... as a page\n"
		"      --scenarios DIR  where scenarios are\n"
		"      --first          stop when one is caught\n"
		"  -j, --json           print one JSON object\n"
		"  -h, --help           print this\n",
	.run = run_matrix,
};
