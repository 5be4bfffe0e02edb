/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * top.c - udaxctl top: what a mount is busy with, again and again.
 *
 * A view is made of two samples, and of the time between them: on a terminal a page that is drawn anew
 * (screen.h), elsewhere one text after the other, or one JSON object. Lock statistics are left as they
 * were found.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "udaxctl.h"
#include "udaxctl/counters.h"
#include "udaxctl/lockstat.h"
#include "udaxctl/screen.h"

#define NS_PER_S 1000000000.0

/* ---- samples ----------------------------------------------------------------------------------------- */

struct files {
	bool known; /* else one may not ask */
	unsigned open, cached, uncached, gates, recalls, late;
};

struct sample {
	uint64_t time_ns;
	struct counters counters;
	struct lockstat locks;
	struct udax_ioc_space space;
	struct files files;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void count_file(struct files *files, const struct udax_ioc_holder *holder)
{
	files->open += holder->mode != UDAX_MODE_NONE;
	files->cached += holder->mode == UDAX_MODE_CACHED;
	files->uncached += holder->mode == UDAX_MODE_UNCACHED;
	files->gates += holder->gates;
	files->recalls += holder->recalls;
	files->late += holder->late;
}

/* Not known to everybody: that is no failure. */
static void read_files(const struct target *target, struct files *ret)
{
	static struct udax_ioc_holders page;
	struct files files = { .known = true };
	uint64_t ino = 0;

	*ret = (struct files){ 0 };
	do {
		memset(&page, 0, sizeof(page));
		page.version = UDAX_IOC_VERSION;
		page.ino = ino;
		page.all = 1;
		if (ioctl(target->fd, UDAX_IOC_HOLDERS, &page))
			return;
		for (uint32_t i = 0; i < page.count; i++) {
			count_file(&files, &page.entries[i]);
			ino = page.entries[i].ino + 1;
		}
	} while (page.more && page.count);
	*ret = files;
}

static int read_sample(const struct target *target, struct sample *ret)
{
	int status = counters_read(target, &ret->counters);

	if (status == CTL_OK)
		status = lockstat_read(target, &ret->locks);
	if (status != CTL_OK)
		return status;
	ret->space = (struct udax_ioc_space){ .version = UDAX_IOC_VERSION };
	if (ioctl(target->fd, UDAX_IOC_SPACE, &ret->space))
		return ctl_refused(target->path, "reading space", errno);
	read_files(target, &ret->files);
	ret->time_ns = now_ns();
	return CTL_OK;
}

/* ---- what was between two ------------------------------------------------------------------------------ */

struct top {
	struct target target;
	double interval_s;
	unsigned count; /* of views; 0: until it is ended */
	bool json, with_locks;
	bool locks_were_on;
	unsigned order; /* index into orders */
	struct sample samples[2];
	const struct sample *now, *then;
};

static double seconds(const struct top *top)
{
	return (double)(top->now->time_ns - top->then->time_ns) / NS_PER_S;
}

/* Somebody else may have begun again at zero. */
static uint64_t added(uint64_t now, uint64_t then)
{
	return now >= then ? now - then : now;
}

static double rate(const struct top *top, uint64_t now, uint64_t then)
{
	return seconds(top) > 0 ? (double)added(now, then) / seconds(top) : 0;
}

static double rate_of(const struct top *top, const char *counter)
{
	return rate(top, counters_get(&top->now->counters, counter),
		    counters_get(&top->then->counters, counter));
}

/* A class of locks between two samples. */
struct lock_row {
	const struct udax_ioc_lockstat *class;
	double waits, takes; /* a second */
	double waiting;	     /* threads that wait, in the mean */
	double wait_avg_us, hold_avg_us;
	uint64_t wait_max_ns; /* since statistics began */
	const char *site;     /* that waited most; "" for none */
};

static const char *busiest_site(const struct udax_ioc_lockstat *now,
				const struct udax_ioc_lockstat *then)
{
	const char *site = "";
	uint64_t most = 0;

	for (unsigned i = 0; i < UDAX_LOCKSTAT_SITES; i++) {
		uint64_t before = 0;

		for (unsigned j = 0; j < UDAX_LOCKSTAT_SITES; j++)
			if (strcmp(then->waiters[j].site, now->waiters[i].site) == 0)
				before = then->waiters[j].count;
		if (added(now->waiters[i].count, before) > most) {
			most = added(now->waiters[i].count, before);
			site = now->waiters[i].site;
		}
	}
	return site;
}

static struct lock_row lock_row(const struct top *top, unsigned index)
{
	const struct udax_ioc_lockstat *class = &top->now->locks.classes[index];
	const struct udax_ioc_lockstat *before = &top->then->locks.classes[index];
	const struct udax_ioc_lockstat_mode now = lockstat_sum(class), then = lockstat_sum(before);
	const uint64_t waits = added(now.contentions, then.contentions);
	const uint64_t takes = added(now.acquisitions, then.acquisitions);
	const uint64_t wait_ns = added(now.wait_total_ns, then.wait_total_ns);
	const uint64_t hold_ns = added(now.hold_total_ns, then.hold_total_ns);

	return (struct lock_row){
		.class = class,
		.waits = rate(top, now.contentions, then.contentions),
		.takes = rate(top, now.acquisitions, then.acquisitions),
		.waiting = rate(top, now.wait_total_ns, then.wait_total_ns) / NS_PER_S,
		.wait_avg_us = waits ? (double)wait_ns / (double)waits / 1000 : 0,
		.hold_avg_us = takes ? (double)hold_ns / (double)takes / 1000 : 0,
		.wait_max_ns = now.wait_max_ns,
		.site = busiest_site(class, before),
	};
}

static double by_waiting(const struct lock_row *row)
{
	return row->waiting;
}

static double by_waits(const struct lock_row *row)
{
	return row->waits;
}

static double by_takes(const struct lock_row *row)
{
	return row->takes;
}

static const struct order {
	const char *name;
	double (*value)(const struct lock_row *row);
} orders[] = { { "waiting", by_waiting }, { "waits", by_waits }, { "taken", by_takes } };

#define NORDERS (sizeof(orders) / sizeof(orders[0]))

/* Largest first; those that are equal in lock order. */
static int compare_rows(const void *a, const void *b, void *ctx)
{
	const struct order *order = ctx;
	const struct lock_row *x = a, *y = b;
	double of_x = order->value(x), of_y = order->value(y);

	if (of_x != of_y)
		return of_x < of_y ? 1 : -1;
	return x->class->index < y->class->index ? -1 : 1;
}

static unsigned lock_rows(const struct top *top, struct lock_row rows[LOCKSTAT_MAX_CLASSES])
{
	unsigned n = top->now->locks.nclasses;

	for (unsigned i = 0; i < n; i++)
		rows[i] = lock_row(top, i);
	qsort_r(rows, n, sizeof(rows[0]), compare_rows, (void *)&orders[top->order]);
	return n;
}

/* ---- as text ------------------------------------------------------------------------------------------- */

/* What is shown of the counters, in two columns; names of the counter and on the page. */
static const struct shown {
	const char *counter, *title;
} shown[] = {
	{ "reads", "reads" },
	{ "writes", "writes" },
	{ "fills", "fills" },
	{ "writebacks", "writebacks" },
	{ "faults", "faults" },
	{ "recalls", "recalls" },
	{ "layout_changes", "layout changes" },
	{ "recalls_late", "recalls late" },
	{ "gate_rounds", "gate rounds" },
	{ "parked", "parked" },
	{ "tx_commits", "commits" },
	{ "blocks_zeroed", "blocks zeroed" },
	{ "blocks_allocated", "blocks allocated" },
	{ "blocks_freed", "blocks freed" },
};

#define NSHOWN (sizeof(shown) / sizeof(shown[0]))

static void text_heading(FILE *out, bool screen, const char *text)
{
	if (screen)
		fputc(SCREEN_HEADING, out);
	fprintf(out, "%s\n", text);
}

static void text_state(FILE *out, const struct top *top)
{
	const struct udax_ioc_space *space = &top->now->space;
	const struct files *files = &top->now->files;
	char total[CLI_BYTES_LEN], quarantined[CLI_BYTES_LEN];
	double used = space->total_bytes
			      ? 100 - 100.0 * (double)space->free_bytes / (double)space->total_bytes
			      : 0;

	fprintf(out, "space    %s, %.1f%% used, %s in quarantine\n",
		cli_bytes(space->total_bytes, total), used,
		cli_bytes(space->quarantined_bytes, quarantined));
	fprintf(out,
		"clients  %" PRIu64 " connected, %" PRIu64 " lost, %" PRIu64 " recalls late now\n",
		counters_get(&top->now->counters, "clients"),
		counters_get(&top->now->counters, "clients_lost"),
		counters_get(&top->now->counters, "recalls_late_now"));
	if (files->known)
		fprintf(out,
			"files    %u open: %u cached, %u uncached; %u gates open, %u recalls under way\n",
			files->open, files->cached, files->uncached, files->gates, files->recalls);
	else
		fprintf(out, "files    only root and user %u are told\n", top->target.info.uid);
}

static void text_counter(FILE *out, const struct top *top, unsigned i, const char *end)
{
	fprintf(out, "%-16s %9.0f %11" PRIu64 "%s", shown[i].title, rate_of(top, shown[i].counter),
		counters_get(&top->now->counters, shown[i].counter), end);
}

static void text_locks(FILE *out, const struct top *top, bool screen)
{
	struct lock_row rows[LOCKSTAT_MAX_CLASSES];
	unsigned n = lock_rows(top, rows);

	if (!top->now->locks.enabled) {
		text_heading(out, screen, "LOCKS");
		fprintf(out, "statistics are not being taken: %s\n",
			screen ? "press l to begin" : "--locks begins, for as long as this runs");
		return;
	}
	text_heading(out, screen,
		     "LOCKS       waits/s  waiting  avg us     max us   taken/s held us  where");
	for (unsigned i = 0; i < n; i++) {
		const struct lock_row *row = &rows[i];

		if (row->waits > 0 || row->takes > 0)
			fprintf(out, "%-10s %8.0f %8.3f %7.1f %10.1f %9.0f %7.2f%s%s\n",
				row->class->name, row->waits, row->waiting, row->wait_avg_us,
				(double)row->wait_max_ns / 1000, row->takes, row->hold_avg_us,
				*row->site ? "  " : "", row->site);
	}
}

static void text_view(FILE *out, const struct top *top, bool screen)
{
	if (screen)
		fprintf(out,
			"udaxctl top, over %.1f s, locks by %s    q: quit  s: sort  l: locks\n",
			seconds(top), orders[top->order].name);
	fprintf(out, "mount    %s, by process %u", top->target.path, top->target.info.pid);
	fprintf(out, screen ? "\n" : ", over %.1f s\n", seconds(top));
	text_state(out, top);
	fputc('\n', out);
	text_heading(out, screen,
		     "OPERATIONS      /second      in all  OPERATIONS      /second      in all");
	for (unsigned i = 0; i < NSHOWN; i += 2) {
		text_counter(out, top, i, "  ");
		text_counter(out, top, i + 1, "\n");
	}
	fputc('\n', out);
	text_locks(out, top, screen);
}

/* ---- as JSON ------------------------------------------------------------------------------------------- */

static void set_real(json_t *object, const char *key, double value)
{
	cli_set(object, key, json_real(value));
}

static json_t *json_space(const struct udax_ioc_space *space)
{
	json_t *out = json_object();

	cli_set_uint(out, "total_bytes", space->total_bytes);
	cli_set_uint(out, "free_bytes", space->free_bytes);
	cli_set_uint(out, "quarantined_bytes", space->quarantined_bytes);
	return out;
}

static json_t *json_files(const struct files *files)
{
	json_t *out;

	if (!files->known)
		return json_null();
	out = json_object();
	cli_set_uint(out, "open", files->open);
	cli_set_uint(out, "cached", files->cached);
	cli_set_uint(out, "uncached", files->uncached);
	cli_set_uint(out, "gates", files->gates);
	cli_set_uint(out, "recalls", files->recalls);
	cli_set_uint(out, "recalls_late", files->late);
	return out;
}

static json_t *json_clients(const struct counters *counters)
{
	json_t *out = json_object();

	cli_set_uint(out, "connected", counters_get(counters, "clients"));
	cli_set_uint(out, "lost", counters_get(counters, "clients_lost"));
	return out;
}

static json_t *json_rates(const struct top *top)
{
	json_t *out = json_object();

	for (unsigned i = 0; i < NSHOWN; i++)
		set_real(out, shown[i].counter, rate_of(top, shown[i].counter));
	return out;
}

static json_t *json_locks(const struct top *top)
{
	struct lock_row rows[LOCKSTAT_MAX_CLASSES];
	unsigned n = lock_rows(top, rows);
	json_t *out = json_array();

	for (unsigned i = 0; i < n; i++) {
		json_t *row = json_object();

		cli_set_string(row, "name", rows[i].class->name);
		set_real(row, "waits_per_second", rows[i].waits);
		set_real(row, "waiting", rows[i].waiting);
		set_real(row, "taken_per_second", rows[i].takes);
		cli_set_uint(row, "wait_avg_ns", (uint64_t)(rows[i].wait_avg_us * 1000));
		cli_set_uint(row, "wait_max_ns", rows[i].wait_max_ns);
		cli_set_uint(row, "hold_avg_ns", (uint64_t)(rows[i].hold_avg_us * 1000));
		cli_set_string(row, "site", rows[i].site);
		cli_append(out, row);
	}
	return out;
}

static int json_view(const struct top *top)
{
	json_t *out = cli_json();

	cli_set_string(out, "path", top->target.path);
	cli_set_uint(out, "pid", top->target.info.pid);
	cli_set_uint(out, "interval_ns", top->now->time_ns - top->then->time_ns);
	cli_set_bool(out, "lockstat", top->now->locks.enabled);
	cli_set(out, "space", json_space(&top->now->space));
	cli_set(out, "clients", json_clients(&top->now->counters));
	cli_set(out, "files", json_files(&top->now->files));
	cli_set(out, "rates", json_rates(top));
	cli_set(out, "locks", json_locks(top));
	return cli_print_json(out);
}

/* ---- again and again ----------------------------------------------------------------------------------- */

static int text_show(const struct top *top, bool first)
{
	if (!first)
		putchar('\n');
	text_view(stdout, top, false);
	return fflush(stdout) ? cli_error("standard output: %s", strerror(errno)) : CTL_OK;
}

static int screen_draw(const struct top *top)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return cli_error("out of memory");
	text_view(out, top, true);
	if (fclose(out) == 0)
		screen_show(text);
	free(text);
	return CTL_OK;
}

static void turn(struct top *top)
{
	const struct sample *then = top->then;

	top->then = top->now;
	top->now = then;
}

static struct sample *next_sample(struct top *top)
{
	return top->then == &top->samples[0] ? &top->samples[0] : &top->samples[1];
}

static int switch_locks(struct top *top, bool on)
{
	return lockstat_switch(&top->target, on ? UDAX_LOCKSTAT_ON : UDAX_LOCKSTAT_OFF);
}

/* Returns whether there is something new to draw; *@ret_status when the program is to end. */
static bool press(struct top *top, int key, bool *ret_quit, int *ret_status)
{
	switch (key) {
	case 'q':
	case 'Q':
		*ret_quit = true;
		return false;
	case 's':
		top->order = (top->order + 1) % NORDERS;
		return true;
	case 'l':
		*ret_status = switch_locks(top, !top->now->locks.enabled);
		return false;
	case SCREEN_RESIZED:
		return true;
	default:
		return false;
	}
}

/* Until the next sample is due. True: the program is to end. */
static bool pause_until(struct top *top, uint64_t due_ns, bool screen, int *ret_status)
{
	bool quit = false;

	while (!quit && *ret_status == CTL_OK) {
		int key = screen_wait(due_ns);

		if (key == SCREEN_TIME)
			return false;
		if (key == SCREEN_ENDED)
			return true;
		if (screen && press(top, key, &quit, ret_status))
			*ret_status = screen_draw(top);
		if (screen && (key == ' ' || key == 'l'))
			return false; /* at once */
	}
	return true;
}

/* A sample is shown when there was one before; the first one follows after a tenth of a second. */
static int loop(struct top *top, bool screen)
{
	uint64_t interval_ns = (uint64_t)(top->interval_s * NS_PER_S);
	uint64_t first_ns = screen && interval_ns > 100000000 ? 100000000 : interval_ns;
	int status = read_sample(&top->target, &top->samples[1]);

	top->now = &top->samples[1];
	top->then = &top->samples[0];
	for (unsigned n = 0; status == CTL_OK && (!top->count || n < top->count); n++) {
		uint64_t due_ns = top->now->time_ns + (n ? interval_ns : first_ns);

		if (n == 0)
			top->samples[0] = top->samples[1]; /* what 's' would draw meanwhile */
		if (pause_until(top, due_ns, screen, &status))
			break;
		status = read_sample(&top->target, next_sample(top));
		if (status != CTL_OK)
			break;
		turn(top);
		if (top->json)
			status = json_view(top);
		else
			status = screen ? screen_draw(top) : text_show(top, n == 0);
	}
	return status;
}

/* What is said of errors meanwhile stands in nobody's way, and is there when the terminal is as it was. */
static int loop_on_screen(struct top *top)
{
	FILE *shell = stderr, *kept;
	char *said = NULL;
	size_t len;
	int status;

	kept = open_memstream(&said, &len);
	if (!kept)
		return cli_error("out of memory");
	stderr = kept;
	screen_open();
	status = loop(top, true);
	screen_close();
	stderr = shell;
	if (fclose(kept) == 0)
		fputs(said, stderr);
	free(said);
	return status;
}

static int run(struct top *top)
{
	bool screen = !top->json && !top->count && screen_possible();
	struct lockstat found;
	int status = lockstat_read(&top->target, &found);

	if (status != CTL_OK)
		return status;
	top->locks_were_on = found.enabled;
	screen_catch_signals();
	if (top->with_locks && !found.enabled)
		status = switch_locks(top, true);
	if (status != CTL_OK)
		return status;
	status = screen ? loop_on_screen(top) : loop(top, false);
	/* As it was found; if the mount is gone, that has been said. */
	if (status == CTL_OK && lockstat_read(&top->target, &found) == CTL_OK &&
	    found.enabled != top->locks_were_on)
		status = switch_locks(top, top->locks_were_on);
	return status;
}

/* ---- the verb ------------------------------------------------------------------------------------------- */

static int set_interval(struct top *top, const char *arg)
{
	char *end;

	top->interval_s = strtod(arg, &end);
	if (*end || end == arg || !(top->interval_s >= 0.1 && top->interval_s <= 3600)) {
		cli_error("--interval %s: give seconds, from 0.1 to 3600", arg);
		return CTL_USAGE;
	}
	return CTL_OK;
}

static int set_count(struct top *top, const char *arg)
{
	char *end;
	unsigned long n = strtoul(arg, &end, 10);

	if (*end || end == arg || !n || n > 1000000) {
		cli_error("--count %s: give a number from 1 to 1000000", arg);
		return CTL_USAGE;
	}
	top->count = (unsigned)n;
	return CTL_OK;
}

static int set_order(struct top *top, const char *arg)
{
	for (unsigned i = 0; i < NORDERS; i++) {
		if (strcmp(orders[i].name, arg) == 0) {
			top->order = i;
			return CTL_OK;
		}
	}
	cli_error("--sort %s: locks can be sorted by waiting, waits or taken", arg);
	return CTL_USAGE;
}

static int set_option(void *ctx, int c, const char *arg)
{
	struct top *top = ctx;

	switch (c) {
	case 'i':
		return set_interval(top, arg);
	case 'n':
		return set_count(top, arg);
	case 's':
		return set_order(top, arg);
	case 'l':
		top->with_locks = true;
		return CTL_OK;
	default:
		top->count = 1;
		return CTL_OK;
	}
}

static int run_top(const struct verb *verb, int argc, char **argv)
{
	static const struct option extra[] = { { "once", no_argument, NULL, '1' },
					       { "count", required_argument, NULL, 'n' },
					       { "interval", required_argument, NULL, 'i' },
					       { "locks", no_argument, NULL, 'l' },
					       { "sort", required_argument, NULL, 's' },
					       { 0 } };
	static struct top top = { .interval_s = 1 };
	struct ctl_options options = { .extra = extra, .set = set_option, .ctx = &top };
	int status = ctl_parse(verb, argc, argv, &options, 1, 1);

	if (status == CTL_OK && options.json && top.count > 1) {
		cli_error("--json prints one object, so it does not go with --count");
		status = CTL_USAGE;
	}
	if (status != CTL_OK)
		return status;
	if (options.json) {
		top.json = true;
		top.count = 1;
	}
	status = target_open(&top.target, argv[optind], TARGET_MOUNT);
	if (status == CTL_OK)
		status = run(&top);
	target_close(&top.target);
	return status;
}

const struct verb verb_top = {
	.name = "top",
	.args = "MOUNT",
	.summary = "What a mount is busy with, again and again",
	.options =
		"      --interval S  a new look every S seconds (1); fractions are possible\n"
		"      --once        one look, as text, over one interval\n"
		"      --count N     N looks, as text\n"
		"      --locks       take lock statistics as long as this runs\n"
		"      --sort BY     locks that most threads wait for first (waiting), or those\n"
		"                    waited for most often (waits), or taken most often (taken)\n",
	.details =
		"On a terminal: q quits, s sorts by another column, l switches lock statistics, the\n"
		"space bar looks again at once. Elsewhere one text follows the other. Of a lock, all\n"
		"but 'max' is of the last interval: 'waiting' is how many threads wait for one of its\n"
		"class in the mean, 'where' the place in the source that waited most often. Anybody\n"
		"may look; who has files open, and switching lock statistics, is for the owner of the\n"
		"mount and root. They are left as they were found.\n",
	.run = run_top,
};
