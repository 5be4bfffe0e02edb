/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * stat.c - udaxctl stat: counters of a mount.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "udaxctl.h"
#include "udaxctl/counters.h"

static void print_counters(const struct counters *now, const struct counters *before)
{
	for (unsigned p = 0; p < now->npages; p++) {
		for (unsigned i = 0; i < now->pages[p].count; i++) {
			uint64_t value = now->pages[p].entries[i].value;

			printf("  %-28s %16llu", now->pages[p].entries[i].name,
			       (unsigned long long)value);
			if (before)
				printf(" %+16lld",
				       (long long)(value - before->pages[p].entries[i].value));
			putchar('\n');
		}
	}
	fflush(stdout);
}

static int json_counters(const struct target *target, const struct counters *now)
{
	json_t *out = cli_json(), *values = json_object();

	for (unsigned p = 0; p < now->npages; p++)
		for (unsigned i = 0; i < now->pages[p].count; i++)
			cli_set_uint(values, now->pages[p].entries[i].name,
				     now->pages[p].entries[i].value);
	cli_set_string(out, "path", target->path);
	cli_set(out, "counters", values);
	return cli_print_json(out);
}

/* Counters, and what was added to them, every @interval_s seconds until interrupted. */
static int watch_counters(const struct target *target, unsigned interval_s)
{
	struct counters both[2];
	unsigned turn = 0;
	int status = counters_read(target, &both[0]);

	if (status == CTL_OK)
		print_counters(&both[0], NULL);
	while (status == CTL_OK) {
		sleep(interval_s);
		turn = !turn;
		status = counters_read(target, &both[turn]);
		if (status == CTL_OK) {
			putchar('\n');
			print_counters(&both[turn], &both[!turn]);
		}
	}
	return status;
}

static int set_interval(void *ctx, int c, const char *arg)
{
	unsigned long seconds;
	char *end;

	(void)c;
	seconds = strtoul(arg, &end, 10);
	if (*end || !seconds || seconds > 86400) {
		cli_error("--interval %s: give seconds, from 1 to 86400", arg);
		return CTL_USAGE;
	}
	*(unsigned *)ctx = (unsigned)seconds;
	return CTL_OK;
}

static int run_stat(const struct verb *verb, int argc, char **argv)
{
	static const struct option extra[] = { { "interval", required_argument, NULL, 'i' },
					       { 0 } };
	unsigned interval_s = 0;
	struct ctl_options options = { .extra = extra, .set = set_interval, .ctx = &interval_s };
	struct counters counters;
	struct target target;
	int status = ctl_parse(verb, argc, argv, &options, 1, 1);

	if (status == CTL_OK && options.json && interval_s) {
		cli_error("--json and --interval do not go together");
		status = CTL_USAGE;
	}
	if (status != CTL_OK)
		return status;
	status = target_open(&target, argv[optind], TARGET_MOUNT);
	if (status == CTL_OK && interval_s) {
		status = watch_counters(&target, interval_s);
	} else if (status == CTL_OK) {
		status = counters_read(&target, &counters);
		if (status == CTL_OK && options.json)
			status = json_counters(&target, &counters);
		else if (status == CTL_OK)
			print_counters(&counters, NULL);
	}
	target_close(&target);
	return status;
}

const struct verb verb_stat = {
	.name = "stat",
	.args = "MOUNT",
	.summary = "Counters of a mount",
	.options = "      --interval S  again every S seconds, with what was added meanwhile\n",
	.run = run_stat,
};
