/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * list.c - `udaxlab policies` and `udaxlab scenarios`: what there is, one line each.
 */
#include "udaxlab.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "scenario.h"
#include "udax/policy.h"

static const struct option options[] = {
	{ "scenarios", required_argument, NULL, 's' },
	{ "json", no_argument, NULL, 'j' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

static int parse(const struct lab_verb *verb, int argc, char **argv, bool *ret_json)
{
	int c;

	optind = 1;
	argv[0] = (char *)"udaxlab";
	while ((c = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
		if (c == 's') {
			lab_scenario_dir(optarg);
		} else if (c == 'j') {
			*ret_json = true;
		} else if (c == 'h') {
			lab_verb_usage(stdout, verb);
			exit(LAB_SAFE);
		} else {
			return lab_try_help(verb);
		}
	}
	return optind == argc ? LAB_SAFE : lab_try_help(verb);
}

static int print(json_t *list, const char *key)
{
	json_t *object = cli_json();

	cli_set(object, key, list);
	return cli_print_json(object);
}

static int run_policies(const struct lab_verb *verb, int argc, char **argv)
{
	bool json = false;
	int status = parse(verb, argc, argv, &json);
	json_t *list = json_array();

	if (status)
		return status;
	for (const struct udax_policy *const *p = policy_list(); *p; p++) {
		json_t *row = json_object();

		if (!json)
			printf("%-16s %-8s %s\n", (*p)->name, (*p)->sound ? "sound" : "unsound",
			       (*p)->summary);
		cli_set_string(row, "name", (*p)->name);
		cli_set_bool(row, "sound", (*p)->sound);
		cli_set_string(row, "summary", (*p)->summary);
		cli_append(list, row);
	}
	if (json)
		return print(list, "policies");
	json_decref(list);
	return LAB_SAFE;
}

static void print_scenario(const struct scenario *sc)
{
	char races[64] = "";

	for (unsigned i = 0; i < sc->nraces; i++)
		snprintf(races + strlen(races), sizeof(races) - strlen(races), "%s%u", i ? "," : "",
			 sc->races[i]);
	printf("%-36s %-8s %s\n", sc->name, races, sc->title);
}

static json_t *scenario_row(const struct scenario *sc)
{
	json_t *row = json_object(), *races = json_array();

	cli_set_string(row, "name", sc->name);
	cli_set_string(row, "title", sc->title);
	for (unsigned i = 0; i < sc->nraces; i++)
		cli_append(races, json_integer(sc->races[i]));
	cli_set(row, "races", races);
	return row;
}

static int run_scenarios(const struct lab_verb *verb, int argc, char **argv)
{
	bool json = false;
	int status = parse(verb, argc, argv, &json);
	json_t *list = json_array();
	char **paths;

	if (status)
		return status;
	paths = lab_scenario_paths();
	if (!paths)
		return LAB_ERROR;
	for (char **path = paths; *path; path++) {
		struct scenario *sc = lab_scenario(*path);

		if (!sc) {
			status = LAB_ERROR;
		} else {
			if (!json)
				print_scenario(sc);
			cli_append(list, scenario_row(sc));
		}
		free(sc);
		free(*path);
	}
	free(paths);
	if (json)
		return print(list, "scenarios");
	json_decref(list);
	return status;
}

static const char details[] = "  --scenarios DIR  where scenarios are\n"
			      "  -j, --json       print one JSON object\n"
			      "  -h, --help       print this\n";

const struct lab_verb verb_policies = {
	.name = "policies",
	.args = "",
	.summary = "List the locking policies, sound and unsound",
	.details = details,
	.run = run_policies,
};

const struct lab_verb verb_scenarios = {
	.name = "scenarios",
	.args = "",
	.summary = "List the scenarios, and the races that they show",
	.details = details,
	.run = run_scenarios,
};
