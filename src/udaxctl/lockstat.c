/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * lockstat.c - udaxctl lockstat: what the locks of a mount cost.
 *
 * As in /proc/lock_stat a class that is taken shared too has lines of its own for readers (-R) and
 * writers (-W); before them stands their sum, by which classes are sorted.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "udaxctl/lockstat.h"
#include "udaxctl.h"

typedef struct udax_ioc_lockstat_mode mode_stat;

/* ---- reading -------------------------------------------------------------------------------------- */

static int read_class(const struct target *target, uint32_t index, struct udax_ioc_lockstat *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->version = UDAX_IOC_VERSION;
	ret->index = index;
	if (ioctl(target->fd, UDAX_IOC_LOCKSTAT, ret))
		return ctl_refused(target->path, "reading lock statistics", errno);
	return CTL_OK;
}

int lockstat_read(const struct target *target, struct lockstat *ret)
{
	uint32_t total;

	ret->nclasses = 0;
	do {
		struct udax_ioc_lockstat *class = &ret->classes[ret->nclasses];

		if (read_class(target, ret->nclasses, class) != CTL_OK)
			return CTL_FAILED;
		total = class->total;
		ret->enabled = class->enabled;
	} while (++ret->nclasses < total && ret->nclasses < LOCKSTAT_MAX_CLASSES);
	return CTL_OK;
}

static uint64_t least(uint64_t a, uint64_t na, uint64_t b, uint64_t nb)
{
	if (!na || !nb)
		return na ? a : b;
	return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

mode_stat lockstat_sum(const struct udax_ioc_lockstat *class)
{
	const mode_stat *r = &class->shared, *w = &class->exclusive;

	return (mode_stat){
		.con_bounces = r->con_bounces + w->con_bounces,
		.contentions = r->contentions + w->contentions,
		.wait_min_ns =
			least(r->wait_min_ns, r->contentions, w->wait_min_ns, w->contentions),
		.wait_max_ns = most(r->wait_max_ns, w->wait_max_ns),
		.wait_total_ns = r->wait_total_ns + w->wait_total_ns,
		.acq_bounces = r->acq_bounces + w->acq_bounces,
		.acquisitions = r->acquisitions + w->acquisitions,
		.hold_min_ns =
			least(r->hold_min_ns, r->acquisitions, w->hold_min_ns, w->acquisitions),
		.hold_max_ns = most(r->hold_max_ns, w->hold_max_ns),
		.hold_total_ns = r->hold_total_ns + w->hold_total_ns,
	};
}

/* ---- columns and sorting -------------------------------------------------------------------------- */

static uint64_t average(uint64_t total, uint64_t n)
{
	return n ? total / n : 0;
}

/* In the order of /proc/lock_stat; what is a time is printed in microseconds. */
static const struct column {
	const char *title, *json;
	size_t off; /* in mode_stat */
	size_t by;  /* of an average: what to divide by; else 0 */
	int width;
	bool is_time;
} columns[] = {
#define OFF(member) offsetof(mode_stat, member)
	{ "con-bounces", "con_bounces", OFF(con_bounces), 0, 11, false },
	{ "contentions", "contentions", OFF(contentions), 0, 11, false },
	{ "waittime-min", "wait_min_ns", OFF(wait_min_ns), 0, 12, true },
	{ "waittime-max", "wait_max_ns", OFF(wait_max_ns), 0, 12, true },
	{ "waittime-total", "wait_total_ns", OFF(wait_total_ns), 0, 14, true },
	{ "waittime-avg", "wait_avg_ns", OFF(wait_total_ns), OFF(contentions), 12, true },
	{ "acq-bounces", "acq_bounces", OFF(acq_bounces), 0, 11, false },
	{ "acquisitions", "acquisitions", OFF(acquisitions), 0, 12, false },
	{ "holdtime-min", "hold_min_ns", OFF(hold_min_ns), 0, 12, true },
	{ "holdtime-max", "hold_max_ns", OFF(hold_max_ns), 0, 12, true },
	{ "holdtime-total", "hold_total_ns", OFF(hold_total_ns), 0, 14, true },
	{ "holdtime-avg", "hold_avg_ns", OFF(hold_total_ns), OFF(acquisitions), 12, true },
#undef OFF
};

#define NCOLUMNS (sizeof(columns) / sizeof(columns[0]))

static uint64_t member(const mode_stat *stat, size_t off)
{
	uint64_t value;

	memcpy(&value, (const char *)stat + off, sizeof(value));
	return value;
}

static uint64_t value_of(const struct column *column, const mode_stat *stat)
{
	uint64_t value = member(stat, column->off);

	return column->by ? average(value, member(stat, column->by)) : value;
}

/* For qsort_r(); NULL: in lock order, which they are in. */
static int compare(const void *a, const void *b, void *ctx)
{
	const struct udax_ioc_lockstat *left = a, *right = b;
	const mode_stat l = lockstat_sum(left), r = lockstat_sum(right);
	uint64_t of_l = value_of(ctx, &l), of_r = value_of(ctx, &r);

	if (of_l != of_r)
		return of_l < of_r ? 1 : -1;
	return left->index < right->index ? -1 : left->index > right->index;
}

static void sort(struct lockstat *all, const struct column *by)
{
	if (by)
		qsort_r(all->classes, all->nclasses, sizeof(all->classes[0]), compare, (void *)by);
}

void lockstat_sort_contended(struct lockstat *all)
{
	for (size_t c = 0; c < NCOLUMNS; c++)
		if (strcmp(columns[c].json, "wait_total_ns") == 0)
			sort(all, &columns[c]);
}

/* ---- printing ------------------------------------------------------------------------------------- */

static void print_line(const char *name, const char *mode, const mode_stat *stat)
{
	char title[48];

	snprintf(title, sizeof(title), "%s%s", name, mode);
	printf("%20s:", title);
	for (size_t c = 0; c < NCOLUMNS; c++) {
		uint64_t value = value_of(&columns[c], stat);

		if (columns[c].is_time)
			printf(" %*.2f", columns[c].width, (double)value / 1000);
		else
			printf(" %*llu", columns[c].width, (unsigned long long)value);
	}
	putchar('\n');
}

static void print_sites(const char *name, const struct udax_ioc_lockstat_site *sites,
			const char *what)
{
	for (unsigned i = 0; i < UDAX_LOCKSTAT_SITES; i++)
		if (sites[i].site[0])
			printf("%20s  %11llu %-10s [%s]\n", name,
			       (unsigned long long)sites[i].count, what, sites[i].site);
}

static void print_class(const struct udax_ioc_lockstat *s)
{
	const mode_stat sum = lockstat_sum(s);

	if (!sum.acquisitions && !sum.contentions)
		return;
	print_line(s->name, "", &sum);
	if (s->shared.acquisitions || s->shared.contentions) {
		print_line(s->name, "-W", &s->exclusive);
		print_line(s->name, "-R", &s->shared);
	}
	print_sites(s->name, s->waiters, "waited at");
	print_sites(s->name, s->holders, "held from");
}

static int text_classes(const struct target *target, const struct lockstat *all)
{
	printf("%20s ", "class name");
	for (size_t c = 0; c < NCOLUMNS; c++)
		printf(" %*s", columns[c].width, columns[c].title);
	putchar('\n');
	for (unsigned i = 0; i < all->nclasses; i++)
		print_class(&all->classes[i]);
	if (!all->enabled)
		printf("\nStatistics are not being taken: 'udaxctl lockstat --on %s' begins.\n",
		       target->path);
	return CTL_OK;
}

static void json_columns(json_t *out, const mode_stat *stat)
{
	for (size_t c = 0; c < NCOLUMNS; c++)
		cli_set_uint(out, columns[c].json, value_of(&columns[c], stat));
}

static json_t *json_mode(const mode_stat *stat)
{
	json_t *out = json_object();

	json_columns(out, stat);
	return out;
}

static json_t *json_sites(const struct udax_ioc_lockstat_site *sites)
{
	json_t *out = json_array();

	for (unsigned i = 0; i < UDAX_LOCKSTAT_SITES; i++) {
		json_t *site;

		if (!sites[i].site[0])
			continue;
		site = json_object();
		cli_set_string(site, "site", sites[i].site);
		cli_set_uint(site, "contentions", sites[i].count);
		cli_append(out, site);
	}
	return out;
}

json_t *lockstat_json(const struct udax_ioc_lockstat *s)
{
	const mode_stat sum = lockstat_sum(s);
	json_t *out = json_object();

	cli_set_string(out, "name", s->name);
	json_columns(out, &sum);
	cli_set(out, "shared", json_mode(&s->shared));
	cli_set(out, "exclusive", json_mode(&s->exclusive));
	cli_set(out, "contention_points", json_sites(s->waiters));
	cli_set(out, "contended_with", json_sites(s->holders));
	return out;
}

static int json_classes(const struct target *target, const struct lockstat *all)
{
	json_t *out = cli_json(), *classes = json_array();

	for (unsigned i = 0; i < all->nclasses; i++)
		cli_append(classes, lockstat_json(&all->classes[i]));
	cli_set_string(out, "path", target->path);
	cli_set_bool(out, "enabled", all->enabled);
	cli_set(out, "classes", classes);
	return cli_print_json(out);
}

/* ---- switching ------------------------------------------------------------------------------------ */

int lockstat_switch(const struct target *target, uint32_t flags)
{
	struct udax_ioc_lockstat_control in = { .version = UDAX_IOC_VERSION, .flags = flags };

	if (ioctl(target->fd, UDAX_IOC_LOCKSTAT_CONTROL, &in))
		return ctl_refused(target->path, "switching lock statistics", errno);
	return CTL_OK;
}

/* Switch, and say what holds from now on. */
static int control(const struct target *target, uint32_t flags, bool json)
{
	struct udax_ioc_lockstat s;
	json_t *out;

	if (lockstat_switch(target, flags) != CTL_OK || read_class(target, 0, &s) != CTL_OK)
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

/* ---- the verb ------------------------------------------------------------------------------------- */

struct lockstat_options {
	uint32_t flags; /* enum udax_ioc_lockstat_control_flags */
	const struct column *by;
	bool sorted;
};

static int set_sort(struct lockstat_options *options, const char *by)
{
	options->sorted = true;
	options->by = NULL;
	if (strcmp(by, "order") == 0)
		return CTL_OK;
	for (size_t c = 0; c < NCOLUMNS; c++)
		if (strcmp(by, columns[c].title) == 0)
			options->by = &columns[c];
	if (options->by)
		return CTL_OK;
	cli_error("--sort %s: there is no such column; 'order' is the lock order", by);
	return CTL_USAGE;
}

static int set_option(void *ctx, int c, const char *arg)
{
	struct lockstat_options *options = ctx;

	if (c == 's')
		return set_sort(options, arg);
	options->flags |= (uint32_t)c;
	if (options->flags & UDAX_LOCKSTAT_ON && options->flags & UDAX_LOCKSTAT_OFF) {
		cli_error("--on and --off do not go together");
		return CTL_USAGE;
	}
	return CTL_OK;
}

static int show(const struct target *target, const struct lockstat_options *options, bool json)
{
	struct lockstat all;
	int status = lockstat_read(target, &all);

	if (status != CTL_OK)
		return status;
	sort(&all, options->by);
	return json ? json_classes(target, &all) : text_classes(target, &all);
}

static int run_lockstat(const struct verb *verb, int argc, char **argv)
{
	static const struct option extra[] = { { "on", no_argument, NULL, UDAX_LOCKSTAT_ON },
					       { "off", no_argument, NULL, UDAX_LOCKSTAT_OFF },
					       { "reset", no_argument, NULL, UDAX_LOCKSTAT_RESET },
					       { "sort", required_argument, NULL, 's' },
					       { 0 } };
	struct lockstat_options own = { 0 };
	struct ctl_options options = { .extra = extra, .set = set_option, .ctx = &own };
	struct target target;
	int status = ctl_parse(verb, argc, argv, &options, 1, 1);

	if (status == CTL_OK && own.flags && own.sorted) {
		cli_error("--sort does not go with --on, --off and --reset, which show nothing");
		status = CTL_USAGE;
	}
	if (status == CTL_OK && !own.sorted)
		status = set_sort(&own, "contentions");
	if (status != CTL_OK)
		return status;
	status = target_open(&target, argv[optind], TARGET_MOUNT);
	if (status == CTL_OK && own.flags)
		status = control(&target, own.flags, options.json);
	else if (status == CTL_OK)
		status = show(&target, &own, options.json);
	target_close(&target);
	return status;
}

const struct verb verb_lockstat = {
	.name = "lockstat",
	.args = "MOUNT",
	.summary = "What the locks of a mount cost, and where it waits for them",
	.options = "      --on       begin to take statistics\n"
		   "      --off      stop\n"
		   "      --reset    begin again at zero\n"
		   "      --sort COLUMN  largest first; by contentions if nothing is said;\n"
		   "                 'order': as locks are taken, outermost first\n",
	.details =
		"The columns are those of the kernel's /proc/lock_stat, times in microseconds; of a\n"
		"class that is taken shared too, readers (-R) and writers (-W) apart below their\n"
		"sum. A bounce is a lock whose last taker was on another CPU. Below a class: the\n"
		"places in the source that had to wait, and those where the lock had been taken\n"
		"that was waited for; the first four of each. Taking statistics costs two looks\n"
		"at the clock for each lock; it is off until it is switched on, by the owner of the\n"
		"mount or root.\n",
	.run = run_lockstat,
};
