/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * udaxlab.c - udaxlab: runs the core under every interleaving, and shows the one that breaks a rule.
 *
 * This file has the table of verbs and what they share; each verb is a file in src/udaxlab/. How it is done
 * is in src/lab/.
 */
#include "udaxlab.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "explore.h"
#include "scenario.h"
#include "udax/policy.h"

static const struct lab_verb *const verbs[] = {
	&verb_explore, &verb_replay, &verb_matrix, &verb_policies, &verb_scenarios,
};

#define NVERBS (sizeof(verbs) / sizeof(verbs[0]))

static void usage(FILE *out)
{
	fputs("Usage: udaxlab VERB [OPTION...] [ARGUMENT...]\n"
	      "\n"
	      "Search the interleavings of a scenario under a locking policy for one that breaks a rule.\n"
	      "\n",
	      out);
	for (unsigned i = 0; i < NVERBS; i++)
		fprintf(out, "  %-10s %-24s %s\n", verbs[i]->name, verbs[i]->args,
			verbs[i]->summary);
	fputs("\n"
	      "SCENARIO is a file (docs/SCENARIOS.md), or the name of one that came with udaxlab.\n"
	      "\n"
	      "  -h, --help     print this; after a verb: about that verb\n"
	      "  -V, --version  print the version\n"
	      "\n"
	      "Exit status: 0 no violation, and all was searched; 1 with a sentence that says why it\n"
	      "could not be; 2 for a wrong command line; 3 a counterexample; 4 not all was searched.\n",
	      out);
}

void lab_verb_usage(FILE *out, const struct lab_verb *verb)
{
	fprintf(out, "Usage: udaxlab %s [OPTION...] %s\n\n%s.\n\n%s", verb->name, verb->args,
		verb->summary, verb->details);
}

int lab_try_help(const struct lab_verb *verb)
{
	fprintf(stderr, "Try 'udaxlab %s --help'.\n", verb->name);
	return LAB_USAGE;
}

/* ---- scenarios ------------------------------------------------------------------------------------ */

static const char *chosen_dir;

void lab_scenario_dir(const char *dir)
{
	chosen_dir = dir;
}

/* Of an installed program: a package may be put elsewhere than it was built for. */
static const char *dir_beside_program(void)
{
	static char path[PATH_MAX];
	char own[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", own, sizeof(own) - 1);
	char *slash;

	if (n <= 0)
		return NULL;
	own[n] = '\0';
	slash = strrchr(own, '/');
	if (!slash)
		return NULL;
	*slash = '\0';
	if (snprintf(path, sizeof(path), "%s/%s", own, UDAX_SCENARIOS_FROM_PROGRAM) >=
	    (int)sizeof(path))
		return NULL;
	return access(path, R_OK) == 0 ? path : NULL;
}

/* The one that was asked for; else that of a source tree one stands in; else the installed one. */
static const char *scenario_dir(void)
{
	const char *dir = chosen_dir ? chosen_dir : getenv("UDAXLAB_SCENARIOS");

	if (!dir && access("scenarios", R_OK) == 0)
		dir = "scenarios";
	if (!dir)
		dir = dir_beside_program();
	return dir ? dir : UDAX_SCENARIO_DIR;
}

struct scenario *lab_scenario(const char *name)
{
	struct scenario *sc;
	char path[4096], err[512];

	snprintf(path, sizeof(path), "%s", name);
	if (access(path, R_OK) != 0 && !strchr(name, '/'))
		snprintf(path, sizeof(path), "%s/%s.lab", scenario_dir(), name);
	sc = scenario_load(path, err, sizeof(err));
	if (!sc)
		cli_error("%s", err);
	return sc;
}

static int is_scenario(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);

	return len > 4 && strcmp(entry->d_name + len - 4, ".lab") == 0;
}

char **lab_scenario_paths(void)
{
	const char *dir = scenario_dir();
	struct dirent **entries;
	int n = scandir(dir, &entries, is_scenario, versionsort);
	char **paths = n < 0 ? NULL : calloc((size_t)n + 1, sizeof(*paths));

	if (n <= 0 || !paths) {
		cli_error("%s: %s; --scenarios DIR says where scenarios are", dir,
			  n < 0 ? strerror(errno) : "there are no scenarios in it");
		return NULL;
	}
	for (int i = 0; i < n; i++) {
		if (asprintf(&paths[i], "%s/%s", dir, entries[i]->d_name) < 0)
			paths[i] = NULL;
		free(entries[i]);
	}
	free(entries);
	return paths;
}

/* ---- policies ------------------------------------------------------------------------------------- */

const struct udax_policy *lab_policy(const char *name)
{
	const struct udax_policy *policy = policy_find(name);
	char names[512] = "";

	if (policy)
		return policy;
	for (const struct udax_policy *const *p = policy_list(); *p; p++)
		snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s",
			 names[0] ? ", " : "", (*p)->name);
	cli_error("there is no policy '%s'; there are %s", name, names);
	return NULL;
}

/* ---- words ---------------------------------------------------------------------------------------- */

const char *lab_number(uint64_t n, char buf[LAB_NUMBER_LEN])
{
	char digits[LAB_NUMBER_LEN];
	int len = snprintf(digits, sizeof(digits), "%" PRIu64, n), out = 0;

	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			buf[out++] = ',';
		buf[out++] = digits[i];
	}
	buf[out] = 0;
	return buf;
}

const char *lab_verdict(const struct explore_result *r)
{
	return r->broken ? "caught" : r->finished ? "safe" : "unknown";
}

void lab_covered(const struct explore_result *r, bool random, char *buf, size_t len)
{
	char number[LAB_NUMBER_LEN];

	lab_number(r->interleavings, number);
	if (random)
		snprintf(buf, len, "%s interleavings, chosen at random", number);
	else if (!r->finished)
		snprintf(buf, len, "%s interleavings with up to %u preemptions, not all of them",
			 number, r->preemptions + (r->interleavings > 0));
	else if (r->unbounded)
		snprintf(buf, len, "%s interleavings: exhaustive, with any number of preemptions",
			 number);
	else
		snprintf(buf, len, "%s interleavings: exhaustive up to %u preemption%s", number,
			 r->preemptions, r->preemptions == 1 ? "" : "s");
}

bool lab_parse_unsigned(const char *option, const char *text, uint64_t most, uint64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(text, &end, 10);
	if (*text >= '0' && *text <= '9' && !*end && !errno && *ret <= most)
		return true;
	cli_error("%s: '%s' is no number from 0 to %" PRIu64, option, text, most);
	return false;
}

bool lab_on_terminal(void)
{
	return isatty(STDERR_FILENO);
}

/* ---- main ------------------------------------------------------------------------------------------ */

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";

	cli_program("udaxlab");
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
		usage(stdout);
		return LAB_SAFE;
	}
	if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
		printf("udaxlab %s\n", UDAX_VERSION);
		return LAB_SAFE;
	}
	for (unsigned i = 0; i < NVERBS; i++)
		if (strcmp(name, verbs[i]->name) == 0)
			return verbs[i]->run(verbs[i], argc - 1, argv + 1);
	if (name[0])
		cli_error("there is no verb '%s'", name);
	usage(stderr);
	return LAB_USAGE;
}
