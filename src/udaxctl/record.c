/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * record.c - udaxctl record: what a mount does for a while, as a trace to look at.
 *
 * The daemon puts events into a ring, from which they are read here and drawn at once (drawing.h): so
 * neither side keeps more than its share, however long it takes. A signal ends the recording as its
 * time does, with all that was seen until then.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <time.h>

#include "udaxctl.h"
#include "udaxctl/drawing.h"
#include "udaxctl/lockstat.h"

#define DEFAULT_SECONDS 10
#define MAX_SECONDS 86400
#define DEFAULT_EVENTS 131072u
#define MIN_EVENTS 1024u
#define MAX_EVENTS (1u << 20)
#define PAUSE_NS 5000000 /* between two looks, when there is nothing more for now */
#define BUFFER_BYTES (1u << 20)

struct record {
	const char *output;
	unsigned seconds; /* 0: until it is interrupted */
	uint32_t capacity;

	struct target target;
	struct drawing_class classes[LOCKSTAT_MAX_CLASSES];
	unsigned nclasses;
	FILE *out;
	char *buffer;
	struct drawing *drawing;
	uint64_t id, nevents, dropped, began_ns, ended_ns;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	(void)sig;
	interrupted = 1;
}

static void catch_signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal }; /* no SA_RESTART: pauses end */

	sigemptyset(&sa.sa_mask);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ---- recording -------------------------------------------------------------------------------------- */

static int start(struct record *r)
{
	struct udax_ioc_record arg = { .version = UDAX_IOC_VERSION, .capacity = r->capacity };

	if (ioctl(r->target.fd, UDAX_IOC_RECORD_START, &arg)) {
		if (errno == EBUSY)
			return cli_error("%s is being recorded already", r->target.path);
		return ctl_refused(r->target.path, "recording", errno);
	}
	r->id = arg.id;
	return CTL_OK;
}

static void stop(struct record *r)
{
	struct udax_ioc_record arg = { .version = UDAX_IOC_VERSION, .id = r->id };

	if (r->id)
		(void)ioctl(r->target.fd, UDAX_IOC_RECORD_STOP, &arg);
	r->id = 0;
}

/* What there is now. *@ret_more: there may be more at once. */
static int read_some(struct record *r, bool *ret_more)
{
	static struct udax_ioc_record_read read;

	memset(&read, 0, sizeof(read));
	read.version = UDAX_IOC_VERSION;
	read.id = r->id;
	if (ioctl(r->target.fd, UDAX_IOC_RECORD_READ, &read)) {
		if (errno != EINTR)
			return ctl_refused(r->target.path, "recording", errno);
		*ret_more = false;
		return CTL_OK;
	}
	for (unsigned i = 0; i < read.count && i < UDAX_RECORD_EVENTS; i++)
		drawing_add(r->drawing, &read.events[i]);
	r->nevents += read.count;
	if (read.dropped > r->dropped)
		drawing_gap(r->drawing, read.dropped - r->dropped);
	r->dropped = read.dropped;
	*ret_more = read.count >= UDAX_RECORD_EVENTS - 1;
	return ferror(r->out) ? CTL_FAILED : CTL_OK;
}

static int read_all(struct record *r)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };
	int status = CTL_OK;

	r->began_ns = now_ns();
	while (status == CTL_OK && !interrupted) {
		bool more;

		if (r->seconds && now_ns() - r->began_ns >= r->seconds * UINT64_C(1000000000))
			break;
		status = read_some(r, &more);
		if (status == CTL_OK && !more)
			nanosleep(&pause, NULL);
	}
	r->ended_ns = now_ns();
	/* The rest: no more than can wait there, or this would never end. */
	for (uint32_t n = 0; status == CTL_OK && n < r->capacity; n += UDAX_RECORD_EVENTS) {
		bool more;

		status = read_some(r, &more);
		if (!more)
			break;
	}
	return status;
}

/* ---- the file --------------------------------------------------------------------------------------- */

static int open_output(struct record *r)
{
	bool to_stdout = strcmp(r->output, "-") == 0;

	r->out = to_stdout ? stdout : fopen(r->output, "we");
	if (!r->out)
		return cli_error("%s: %s", r->output, strerror(errno));
	r->buffer = malloc(BUFFER_BYTES);
	if (r->buffer)
		setvbuf(r->out, r->buffer, _IOFBF, BUFFER_BYTES);
	return CTL_OK;
}

static int class_names(struct record *r)
{
	static struct lockstat all;
	int status = lockstat_read(&r->target, &all);

	for (unsigned i = 0; status == CTL_OK && i < all.nclasses; i++)
		snprintf(r->classes[i].name, sizeof(r->classes[i].name), "%s", all.classes[i].name);
	r->nclasses = status == CTL_OK ? all.nclasses : 0;
	return status;
}

static void about_number(struct record *r, const char *name, uint64_t value)
{
	char text[32];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	drawing_about(r->drawing, name, text);
}

static void about(struct record *r)
{
	struct utsname host;

	drawing_finish(r->drawing);
	drawing_about(r->drawing, "title", "recorded by udaxctl record");
	drawing_about(r->drawing, "mount", r->target.path);
	drawing_about(r->drawing, "region", r->target.info.region);
	drawing_about(r->drawing, "policy", r->target.info.policy);
	drawing_about(r->drawing, "version", r->target.info.program_version);
	if (uname(&host) == 0)
		drawing_about(r->drawing, "kernel", host.release);
	about_number(r, "pid", r->target.info.pid);
	about_number(r, "began_monotonic_ns", r->began_ns);
	about_number(r, "events", r->nevents);
	about_number(r, "dropped", r->dropped);
}

static int finish(struct record *r, int status)
{
	int err = 0;

	stop(r);
	if (r->drawing) {
		if (status == CTL_OK)
			about(r);
		err = drawing_delete(r->drawing);
	}
	if (r->out && r->out != stdout && fclose(r->out) && !err)
		err = -errno;
	if (r->out == stdout)
		setvbuf(stdout, NULL, _IOLBF, 0);
	free(r->buffer);
	return err ? cli_error("%s: %s", r->output, strerror(-err)) : status;
}

/* ---- the verb --------------------------------------------------------------------------------------- */

static int report(const struct record *r, bool json)
{
	json_t *out;
	FILE *to = strcmp(r->output, "-") == 0 ? stderr : stdout;

	if (!json) {
		fprintf(to, "%s: %" PRIu64 " events in %.1f s into %s\n", r->target.path,
			r->nevents, (double)(r->ended_ns - r->began_ns) / 1e9, r->output);
		if (r->dropped)
			fprintf(to,
				"%" PRIu64 " more were dropped, because they came faster than they "
				"could be read: --events %u\n",
				r->dropped, r->capacity < MAX_EVENTS ? MAX_EVENTS : r->capacity);
		return CTL_OK;
	}
	out = cli_json();
	cli_set_string(out, "path", r->target.path);
	cli_set_string(out, "output", r->output);
	cli_set_uint(out, "duration_ns", r->ended_ns - r->began_ns);
	cli_set_uint(out, "events", r->nevents);
	cli_set_uint(out, "dropped", r->dropped);
	return cli_print_json(out);
}

static int set_number(const char *option, const char *arg, unsigned long min, unsigned long max,
		      unsigned *ret)
{
	char *end;
	unsigned long value = strtoul(arg, &end, 10);

	if (*end || end == arg || *arg == '-' || value < min || value > max) {
		cli_error("%s %s: give a number from %lu to %lu", option, arg, min, max);
		return CTL_USAGE;
	}
	*ret = (unsigned)value;
	return CTL_OK;
}

static int set_option(void *ctx, int c, const char *arg)
{
	struct record *r = ctx;

	if (c == 's')
		return set_number("--seconds", arg, 0, MAX_SECONDS, &r->seconds);
	if (c == 'e')
		return set_number("--events", arg, MIN_EVENTS, MAX_EVENTS, &r->capacity);
	r->output = arg;
	return CTL_OK;
}

static int record(struct record *r, const char *path)
{
	int status = target_open(&r->target, path, TARGET_MOUNT);

	if (status == CTL_OK)
		status = class_names(r);
	if (status == CTL_OK)
		status = start(r); /* before the output is overwritten */
	if (status == CTL_OK)
		status = open_output(r);
	if (status == CTL_OK) {
		r->drawing = drawing_new(r->out, r->classes, r->nclasses);
		status = r->drawing ? read_all(r) : cli_error("out of memory");
	}
	return finish(r, status);
}

static int run_record(const struct verb *verb, int argc, char **argv)
{
	static const struct option extra[] = { { "output", required_argument, NULL, 'o' },
					       { "seconds", required_argument, NULL, 's' },
					       { "events", required_argument, NULL, 'e' },
					       { 0 } };
	static struct record r = { .seconds = DEFAULT_SECONDS, .capacity = DEFAULT_EVENTS };
	struct ctl_options options = {
		.extra = extra, .shorts = "o:", .set = set_option, .ctx = &r
	};
	int status = ctl_parse(verb, argc, argv, &options, 1, 1);

	if (status == CTL_OK && !r.output) {
		cli_error("missing --output FILE: udaxctl record -o FILE MOUNT");
		status = CTL_USAGE;
	}
	if (status == CTL_OK && options.json && strcmp(r.output, "-") == 0) {
		cli_error("--json and --output - do not go together");
		status = CTL_USAGE;
	}
	if (status != CTL_OK)
		return status;
	catch_signals();
	status = record(&r, argv[optind]);
	if (status == CTL_OK)
		status = report(&r, options.json);
	target_close(&r.target);
	return status;
}

const struct verb verb_record = {
	.name = "record",
	.args = "MOUNT",
	.summary = "What a mount does for a while, as a trace to look at",
	.options =
		"  -o, --output FILE  where to; '-' is the standard output\n"
		"      --seconds N    how long: 10 if nothing is said; 0: until it is interrupted\n"
		"      --events N     how many may wait in the daemon to be read (131072), of 72\n"
		"                     bytes each; more are dropped, and counted\n",
	.details =
		"The file is a trace in JSON for Perfetto (https://ui.perfetto.dev reads it in the\n"
		"browser, nothing is uploaded) or chrome://tracing. It shows who held which lock\n"
		"when, and who waited for it where, requests of the kernel, faults and recalls of\n"
		"clients, and the gates of files, drawn like udaxlab draws an interleaving. It costs\n"
		"a look at the clock for each lock that is taken or released, while it lasts. For the\n"
		"owner of the mount and root. An interrupt (^C) ends it early, with what there is.\n",
	.run = run_record,
};
