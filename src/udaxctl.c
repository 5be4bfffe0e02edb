/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * udaxctl.c - udaxctl: look at volumes and mounts, and do to files what no system call does.
 *
 * It talks to a mount by ioctl on a file or directory of it (udax/ioctl.h), and reads a region that
 * is not mounted itself. This file has the table of verbs and what is common to their command
 * lines.
 */
#include "udaxctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct verb *const verbs[] = {
	&verb_info,	&verb_df,      &verb_map,      &verb_stat,     &verb_lockstat, &verb_top,
	&verb_record,	&verb_holders, &verb_grow,     &verb_check,    &verb_punch,    &verb_zero,
	&verb_collapse, &verb_insert,  &verb_exchange, &verb_relocate, &verb_shutdown,
};

#define NVERBS (sizeof(verbs) / sizeof(verbs[0]))

static void usage(FILE *out)
{
	fputs("Usage: udaxctl VERB [OPTION...] [ARGUMENT...]\n"
	      "\n"
	      "Look at udaxfs volumes and mounts, and change the layout of files.\n"
	      "\n",
	      out);
	for (unsigned i = 0; i < NVERBS; i++)
		fprintf(out, "  %-9s %-24s %s\n", verbs[i]->name, verbs[i]->args,
			verbs[i]->summary);
	fputs("\n"
	      "MOUNT is the mount point, or anything on the mount; REGION the file or devdax that\n"
	      "holds a volume; sizes are bytes, or a number with K, M, G or T.\n"
	      "\n"
	      "  -j, --json     print one JSON object; bytes and nanoseconds as integers\n"
	      "  -h, --help     print this; after a verb: about that verb\n"
	      "  -V, --version  print the version\n"
	      "\n"
	      "Exit status: 0; 1 with a sentence that says why; 2 for a wrong command line.\n",
	      out);
}

static void verb_usage(FILE *out, const struct verb *verb)
{
	fprintf(out, "Usage: udaxctl %s [OPTION...] %s\n\n%s.\n", verb->name, verb->args,
		verb->summary);
	if (verb->details)
		fprintf(out, "\n%s", verb->details);
	fprintf(out, "\n%s%s", verb->options ? verb->options : "",
		"  -j, --json     print one JSON object\n"
		"  -h, --help     print this\n");
}

/* ---- options ---------------------------------------------------------------------------------- */

#define MAX_LONG_OPTIONS 16

static const struct option common_options[] = {
	{ "json", no_argument, NULL, 'j' },
	{ "help", no_argument, NULL, 'h' },
};

static void collect_options(const struct ctl_options *options, struct option *ret)
{
	unsigned n = sizeof(common_options) / sizeof(common_options[0]);

	memcpy(ret, common_options, sizeof(common_options));
	for (const struct option *o = options->extra; o && o->name; o++)
		if (n < MAX_LONG_OPTIONS - 1)
			ret[n++] = *o;
	memset(&ret[n], 0, sizeof(ret[n]));
}

static int try_help(const struct verb *verb)
{
	fprintf(stderr, "Try 'udaxctl %s --help'.\n", verb->name);
	return CTL_USAGE;
}

int ctl_parse(const struct verb *verb, int argc, char **argv, struct ctl_options *options, int min,
	      int max)
{
	struct option longs[MAX_LONG_OPTIONS];
	char shorts[16];
	int c, status = CTL_OK;

	collect_options(options, longs);
	snprintf(shorts, sizeof(shorts), "jh%s", options->shorts ? options->shorts : "");
	optind = 1;
	argv[0] = (char *)"udaxctl"; /* in front of getopt's messages */
	while (status == CTL_OK && (c = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		if (c == 'j') {
			options->json = true;
		} else if (c == 'h') {
			verb_usage(stdout, verb);
			exit(CTL_OK);
		} else {
			status = c == '?' ? try_help(verb) : options->set(options->ctx, c, optarg);
		}
	}
	if (status != CTL_OK)
		return status;
	if (argc - optind >= min && argc - optind <= max)
		return CTL_OK;
	cli_error("%s arguments: udaxctl %s %s", argc - optind < min ? "missing" : "too many",
		  verb->name, verb->args);
	return try_help(verb);
}

/* ---- words ------------------------------------------------------------------------------------ */

const char *ctl_time(uint64_t ns, char buf[CTL_TIME_LEN])
{
	time_t seconds = (time_t)(ns / 1000000000u);
	struct tm tm;

	if (!ns || !localtime_r(&seconds, &tm) ||
	    !strftime(buf, CTL_TIME_LEN, "%Y-%m-%d %H:%M:%S", &tm))
		return "never";
	return buf;
}

const char *ctl_mode_name(uint32_t mode)
{
	switch (mode) {
	case UDAX_MODE_CACHED:
		return "cached";
	case UDAX_MODE_UNCACHED:
		return "uncached";
	default:
		return "not open";
	}
}

/* ---- main ------------------------------------------------------------------------------------- */

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";

	cli_program("udaxctl");
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
		usage(stdout);
		return CTL_OK;
	}
	if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
		printf("udaxctl %s\n", UDAX_VERSION);
		return CTL_OK;
	}
	for (unsigned i = 0; i < NVERBS; i++)
		if (strcmp(name, verbs[i]->name) == 0)
			return verbs[i]->run(verbs[i], argc - 1, argv + 1);
	if (name[0])
		cli_error("there is no verb '%s'", name);
	usage(stderr);
	return CTL_USAGE;
}
