/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * replay.c - `udaxlab replay`: one interleaving again, as a counterexample's last line names it:
 * SCENARIO:POLICY:SCHEDULE, or a file that holds that.
 */
#include "udaxlab.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "explore.h"
#include "report.h"
#include "scenario.h"
#include "trace.h"
#include "trap.h"
#include "world.h"

#define MAX_TEXT 4096u

struct replay {
	char text[MAX_TEXT];
	const char *scenario, *policy, *schedule; /* in text */
	struct report_files files;
	bool gdb, step;
};

enum { OPT_HTML = 256, OPT_SVG, OPT_TRACE, OPT_GDB, OPT_STEP, OPT_DIR };

static const struct option options[] = {
	{ "html", required_argument, NULL, OPT_HTML },
	{ "svg", required_argument, NULL, OPT_SVG },
	{ "trace", required_argument, NULL, OPT_TRACE },
	{ "gdb", no_argument, NULL, OPT_GDB },
	{ "step", no_argument, NULL, OPT_STEP },
	{ "scenarios", required_argument, NULL, OPT_DIR },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

/* What was given is the text itself, or the name of a file with it. */
static int read_text(const char *arg, char *text)
{
	FILE *in = fopen(arg, "re");

	if (!in) {
		snprintf(text, MAX_TEXT, "%s", arg);
		return 0;
	}
	if (!fgets(text, MAX_TEXT, in))
		text[0] = 0;
	fclose(in);
	text[strcspn(text, "\n")] = 0;
	return 0;
}

/* The schedule and the policy have no colon in them; a path may. */
static int split(struct replay *r)
{
	char *schedule = strrchr(r->text, ':'), *policy;

	if (schedule)
		*schedule++ = 0;
	policy = schedule ? strrchr(r->text, ':') : NULL;
	if (!policy)
		return cli_error("this is no interleaving; one is SCENARIO:POLICY:SCHEDULE, as the "
				 "last line of a counterexample has it");
	*policy++ = 0;
	r->scenario = r->text;
	r->policy = policy;
	r->schedule = schedule;
	return 0;
}

/* The debugger stops where the rule is found to be broken, in the task that broke it. */
static int run_gdb(const char *arg)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0)
		return cli_error("/proc/self/exe: %s", strerror(errno));
	self[n] = 0;
	execlp("gdb", "gdb", "-q", "-ex", "break sched_fail", "-ex", "run", "--args", self,
	       "replay", arg, (char *)NULL);
	return cli_error("gdb cannot be started: %s; install the package gdb", strerror(errno));
}

/* One step a line, each when Enter is pressed. */
static void show_steps(const struct trace *trace)
{
	for (size_t i = 0; i < trace->nsteps; i++) {
		const struct trace_step *step = &trace->steps[i];

		printf("%4zu  %-16s %s", i, trace->tasks[step->task].name, step->what);
		if (step->file)
			printf("   %s:%d", step->file, step->line);
		putchar('\n');
		for (unsigned j = 0; j < step->nstate; j++)
			printf("        %s: %s\n", step->state[j].name, step->state[j].value);
		fflush(stdout);
		if (isatty(STDIN_FILENO))
			(void)!getchar();
	}
}

static int show(struct lab *lab, struct replay *r)
{
	struct trace trace;
	int err = lab_trace(lab, r->schedule, &trace), status;

	if (err == -EINVAL)
		return cli_error("'%s' is no schedule of this scenario under this policy; it "
				 "belongs to another version of either",
				 r->schedule);
	if (err)
		return cli_error("%s", strerror(-err));
	snprintf(trace.schedule, sizeof(trace.schedule), "%.200s:%.60s:%.3800s", r->scenario,
		 r->policy, r->schedule);
	status = trace.rule[0] ? LAB_BROKEN : LAB_SAFE;
	if (r->step)
		show_steps(&trace);
	else if (report_terminal(&trace))
		status = LAB_ERROR;
	if (report_write(&trace, &r->files))
		status = LAB_ERROR;
	trace_free(&trace);
	return status;
}

static int replay(struct replay *r)
{
	const struct udax_policy *policy = lab_policy(r->policy);
	struct scenario *sc = policy ? lab_scenario(r->scenario) : NULL;
	struct lab *lab;
	char err[512];
	int status;

	if (!sc)
		return LAB_ERROR;
	lab = lab_new(sc, policy, err, sizeof(err));
	if (!lab) {
		free(sc);
		return cli_error("%s", err);
	}
	trap_set(lab_explored(lab)->sched);
	status = show(lab, r);
	trap_set(NULL);
	lab_delete(lab);
	free(sc);
	return status;
}

static int run(const struct lab_verb *verb, int argc, char **argv)
{
	struct replay r = { .gdb = false };
	int c, err;

	optind = 1;
	argv[0] = (char *)"udaxlab";
	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == OPT_HTML) {
			r.files.html = optarg;
		} else if (c == OPT_SVG) {
			r.files.svg = optarg;
		} else if (c == OPT_TRACE) {
			r.files.chrome = optarg;
		} else if (c == OPT_GDB) {
			r.gdb = true;
		} else if (c == OPT_STEP) {
			r.step = true;
		} else if (c == OPT_DIR) {
			lab_scenario_dir(optarg);
		} else if (c == 'h') {
			lab_verb_usage(stdout, verb);
			return LAB_SAFE;
		} else {
			return lab_try_help(verb);
		}
	}
	if (optind + 1 != argc)
		return lab_try_help(verb);
	if (r.gdb)
		return run_gdb(argv[optind]);
	err = read_text(argv[optind], r.text);
	if (!err)
		err = split(&r);
	return err ? err : replay(&r);
}

const struct lab_verb verb_replay = {
	.name = "replay",
	.args = "FILE|STRING",
	.summary = "Run one interleaving again, as the last line of a counterexample names it",
	.details = "      --step           step by step; Enter goes on\n"
		   "      --gdb            in the debugger, which stops where the rule is broken\n"
		   "      --html FILE      as a page to look at\n"
		   "      --svg FILE       as a picture\n"
		   "      --trace FILE     as a trace for Perfetto\n"
		   "      --scenarios DIR  where scenarios are\n"
		   "  -h, --help           print this\n",
	.run = run,
};
