/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * udaxlab.h - what the verbs of udaxlab share: finding scenarios and policies, verdicts, exit statuses.
 */
#ifndef UDAX_UDAXLAB_H
#define UDAX_UDAXLAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct explore_result;
struct scenario;
struct udax_policy;

/** Exit statuses: of explore and replay the verdict, of matrix whether it is as it should be. */
enum lab_status {
	LAB_SAFE = 0,	 /* no violation, and all that was asked for was searched */
	LAB_ERROR = 1,	 /* it could not be run; a sentence says why */
	LAB_USAGE = 2,	 /* a wrong command line */
	LAB_BROKEN = 3,	 /* a counterexample */
	LAB_UNKNOWN = 4, /* no violation, but not everything was searched */
};

struct lab_verb {
	const char *name, *args, *summary, *details;
	int (*run)(const struct lab_verb *verb, int argc, char **argv);
};

extern const struct lab_verb verb_explore, verb_replay, verb_matrix, verb_policies, verb_scenarios;

/** lab_verb_usage - what `udaxlab VERB --help` prints. lab_try_help - to stderr; LAB_USAGE. */
void lab_verb_usage(FILE *out, const struct lab_verb *verb);
int lab_try_help(const struct lab_verb *verb);

/**
 * lab_scenario - load a scenario by path, or by name from the directory of scenarios. Freed by free();
 * NULL after a message.
 */
struct scenario *lab_scenario(const char *name);

/** lab_scenario_paths - all scenarios of the directory, sorted; NULL-terminated. NULL after a message. */
char **lab_scenario_paths(void);
void lab_scenario_dir(const char *dir); /* --scenarios */

/** lab_policy - the policy of that name; NULL after a message that lists them. */
const struct udax_policy *lab_policy(const char *name);

/** lab_verdict - "safe", "caught" or "unknown". lab_covered - what was searched, as a sentence. */
const char *lab_verdict(const struct explore_result *r);
void lab_covered(const struct explore_result *r, bool random, char *buf, size_t len);

/** lab_number - "184,203". */
#define LAB_NUMBER_LEN 32
const char *lab_number(uint64_t n, char buf[LAB_NUMBER_LEN]);

/** lab_parse_unsigned - a number up to @most; false after a message. */
bool lab_parse_unsigned(const char *option, const char *text, uint64_t most, uint64_t *ret);

/** lab_on_terminal - whether progress may be drawn over itself on stderr. */
bool lab_on_terminal(void);

#endif
