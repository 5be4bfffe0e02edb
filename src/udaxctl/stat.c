/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * stat.c - udaxctl stat and udaxctl lockstat: counters of a mount, and what its locks cost.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "udaxctl.h"

/* ---- stat --------------------------------------------------------------------------------------- */

struct counters {
	struct udax_ioc_stat pages[4]; /* more than there will be */
	unsigned npages;
};

static int read_counters(const struct target *target, struct counters *ret)
{
	uint32_t first = 0;

	ret->npages = 0;
	while (ret->npages < sizeof(ret->pages) / sizeof(ret->pages[0])) {
		struct udax_ioc_stat *page = &ret->pages[ret->npages++];

		memset(page, 0, sizeof(*page));
		page->version = UDAX_IOC_VERSION;
		page->first = first;
		if (ioctl(target->fd, UDAX_IOC_STAT, page))
			return ctl_refused(target->path, "reading counters", errno);
		first += page->count;
		if (!page->count || first >= page->total)
			break;
	}
	return CTL_OK;
}

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
	int status = read_counters(target, &both[0]);

	if (status == CTL_OK)
		print_counters(&both[0], NULL);
	while (status == CTL_OK) {
		sleep(interval_s);
		turn = !turn;
		status = read_counters(target, &both[turn]);
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
		status = read_counters(&target, &counters);
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

/* ---- lockstat ----------------------------------------------------------------------------------- */

struct lockstat_options {
	uint32_t flags; /* enum udax_ioc_lockstat_control_flags */
};

static int read_class(const struct target *target, uint32_t index, struct udax_ioc_lockstat *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->version = UDAX_IOC_VERSION;
	ret->index = index;
	if (ioctl(target->fd, UDAX_IOC_LOCKSTAT, ret))
		return ctl_refused(target->path, "reading lock statistics", errno);
	return CTL_OK;
}

static double us(uint64_t ns)
{
	return (double)ns / 1000;
}

static double average_us(uint64_t total_ns, uint64_t n)
{
	return n ? us(total_ns) / (double)n : 0;
}

static void print_class(const struct udax_ioc_lockstat *s)
{
	printf("%20s: %11llu %12.2f %12.2f %14.2f %12.2f %14llu %12.2f %12.2f %14.2f %12.2f\n",
	       s->name, (unsigned long long)s->contentions, us(s->wait_min_ns), us(s->wait_max_ns),
	       us(s->wait_total_ns), average_us(s->wait_total_ns, s->contentions),
	       (unsigned long long)s->acquisitions, us(s->hold_min_ns), us(s->hold_max_ns),
	       us(s->hold_total_ns), average_us(s->hold_total_ns, s->acquisitions));
	for (unsigned i = 0; i < UDAX_LOCKSTAT_SITES; i++)
		if (s->sites[i].site[0])
			printf("%20s  %11llu          [%s]\n", s->name,
			       (unsigned long long)s->sites[i].count, s->sites[i].site);
}

static int text_classes(const struct target *target)
{
	struct udax_ioc_lockstat s;
	uint32_t index = 0;

	printf("%20s  %11s %12s %12s %14s %12s %14s %12s %12s %14s %12s\n", "class name",
	       "contentions", "waittime-min", "waittime-max", "waittime-total", "waittime-avg",
	       "acquisitions", "holdtime-min", "holdtime-max", "holdtime-total", "holdtime-avg");
	do {
		if (read_class(target, index, &s) != CTL_OK)
			return CTL_FAILED;
		if (s.acquisitions || s.contentions)
			print_class(&s);
	} while (++index < s.total);
	if (!s.enabled)
		printf("\nStatistics are not being taken: 'udaxctl lockstat --on %s' begins.\n",
		       target->path);
	return CTL_OK;
}

static json_t *json_class(const struct udax_ioc_lockstat *s)
{
	json_t *out = json_object(), *sites = json_array();

	cli_set_string(out, "name", s->name);
	cli_set_uint(out, "contentions", s->contentions);
	cli_set_uint(out, "wait_min_ns", s->wait_min_ns);
	cli_set_uint(out, "wait_max_ns", s->wait_max_ns);
	cli_set_uint(out, "wait_total_ns", s->wait_total_ns);
	cli_set_uint(out, "acquisitions", s->acquisitions);
	cli_set_uint(out, "hold_min_ns", s->hold_min_ns);
	cli_set_uint(out, "hold_max_ns", s->hold_max_ns);
	cli_set_uint(out, "hold_total_ns", s->hold_total_ns);
	for (unsigned i = 0; i < UDAX_LOCKSTAT_SITES; i++) {
		json_t *site = json_object();

		if (!s->sites[i].site[0]) {
			json_decref(site);
			continue;
		}
		cli_set_string(site, "site", s->sites[i].site);
		cli_set_uint(site, "contentions", s->sites[i].count);
		cli_append(sites, site);
	}
	cli_set(out, "contention_points", sites);
	return out;
}

static int json_classes(const struct target *target)
{
	json_t *out = cli_json(), *classes = json_array();
	struct udax_ioc_lockstat s;
	uint32_t index = 0;

	do {
		if (read_class(target, index, &s) != CTL_OK) {
			json_decref(classes);
			json_decref(out);
			return CTL_FAILED;
		}
		cli_append(classes, json_class(&s));
	} while (++index < s.total);
	cli_set_string(out, "path", target->path);
	cli_set_bool(out, "enabled", s.enabled);
	cli_set(out, "classes", classes);
	return cli_print_json(out);
}

/* Switch, and say what holds from now on. */
static int control(const struct target *target, uint32_t flags, bool json)
{
	struct udax_ioc_lockstat_control in = { .version = UDAX_IOC_VERSION, .flags = flags };
	struct udax_ioc_lockstat s;
	json_t *out;

	if (ioctl(target->fd, UDAX_IOC_LOCKSTAT_CONTROL, &in))
		return ctl_refused(target->path, "switching lock statistics", errno);
	if (read_class(target, 0, &s) != CTL_OK)
		return CTL_FAILED;
	if (!json) {
		printf("%s: lock statistics are %s%s\n", target->path, s.enabled ? "on" : "off",
		       flags & UDAX_LOCKSTAT_RESET ? ", and begin at zero" : "");
		return CTL_OK;
	}
	out = cli_json();
	cli_set_string(out, "path", target->path);
	cli_set_bool(out, "enabled", s.enabled);
	cli_set_bool(out, "reset", flags & UDAX_LOCKSTAT_RESET);
	return cli_print_json(out);
}

static int set_control(void *ctx, int c, const char *arg)
{
	uint32_t *flags = ctx;

	(void)arg;
	*flags |= (uint32_t)c;
	if (*flags & UDAX_LOCKSTAT_ON && *flags & UDAX_LOCKSTAT_OFF) {
		cli_error("--on and --off do not go together");
		return CTL_USAGE;
	}
	return CTL_OK;
}

static int run_lockstat(const struct verb *verb, int argc, char **argv)
{
	static const struct option extra[] = { { "on", no_argument, NULL, UDAX_LOCKSTAT_ON },
					       { "off", no_argument, NULL, UDAX_LOCKSTAT_OFF },
					       { "reset", no_argument, NULL, UDAX_LOCKSTAT_RESET },
					       { 0 } };
	uint32_t flags = 0;
	struct ctl_options options = { .extra = extra, .set = set_control, .ctx = &flags };
	struct target target;
	int status = ctl_parse(verb, argc, argv, &options, 1, 1);

	if (status != CTL_OK)
		return status;
	status = target_open(&target, argv[optind], TARGET_MOUNT);
	if (status == CTL_OK && flags)
		status = control(&target, flags, options.json);
	else if (status == CTL_OK)
		status = options.json ? json_classes(&target) : text_classes(&target);
	target_close(&target);
	return status;
}

const struct verb verb_lockstat = {
	.name = "lockstat",
	.args = "MOUNT",
	.summary = "What the locks of a mount cost, and where it waits for them",
	.options = "      --on       begin to take statistics\n"
		   "      --off      stop\n"
		   "      --reset    begin again at zero\n",
	.details =
		"The columns are those of the kernel's /proc/lock_stat, times in microseconds.\n"
		"Below a class: the places in the source that had to wait, and how often. Taking\n"
		"statistics costs two looks at the clock for each lock; it is off until it is\n"
		"switched on, by the owner of the mount or root.\n",
	.run = run_lockstat,
};
