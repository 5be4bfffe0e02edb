/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fsck.c - fsck.udaxfs: check a volume, and mend it.
 *
 * The checker is a library (fsck.h). Here are its options, who may run it on which region, what is
 * shown while it runs, and what remains to be said afterwards: exit statuses are those of fsck(8).
 *
 * Being interrupted is like a crash, from which every repair recovers; so the signal's handler
 * simply ends the process, with the status that says so.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "format.h"
#include "fsck.h"
#include "region.h"
#include "sigbus.h"
#include "signature.h"

#define LOCK_WAIT_MS 5000 /* for a daemon that is unmounting */

/* Of one kind, so many findings are shown; all are counted. */
#define MAX_SHOWN 100u

enum status {
	STATUS_CLEAN = 0,
	STATUS_MENDED = 1,
	STATUS_LEFT = 4,
	STATUS_FAILED = 8,
	STATUS_USAGE = 16,
	STATUS_CANCELLED = 32,
};

struct options {
	const char *path;
	enum fsck_repair repair;
	char mode; /* the letter that was given; 0: none */
	bool force, json, progress, verbose, preen;
};

struct job {
	const struct options *opt;
	struct region *region;
	json_t *problems; /* NULL: not JSON */
	uint64_t shown[FSCK_NR_CODES];
	bool line_open; /* the cursor stands behind a line of progress */
	struct fsck_report report;
	bool recovered;
};

static void usage(FILE *out)
{
	fputs("Usage: fsck.udaxfs [OPTION...] REGION\n"
	      "\n"
	      "Check the udaxfs on REGION, a file or a devdax, and mend it.\n"
	      "\n"
	      "  -n             only check; nothing is written, and REGION may be mounted (then\n"
	      "                 what changes during the check may look like damage)\n"
	      "  -p, -a         mend what can be mended without loss and without doubt: replay\n"
	      "                 the journal, finish what was pending, counters, blocks owned by\n"
	      "                 nobody. A volume that was unmounted cleanly is not checked\n"
	      "  -y             mend everything that can be mended\n"
	      "  -f             check, with -p, even if the volume is clean\n"
	      "  -C             show progress even if standard error is no terminal\n"
	      "  -v             show every finding, however many there are of its kind\n"
	      "      --json     report as one JSON object\n"
	      "  -h, --help     print this\n"
	      "  -V, --version  print the version\n"
	      "\n"
	      "Without -n, -p or -y it only checks, as with -n.\n"
	      "\n"
	      "Exit status: 0 nothing wrong, 1 damage was mended, 4 damage is left, 8 the check\n"
	      "could not be done, 16 usage, 32 interrupted.\n",
	      out);
}

/* ---- arguments ------------------------------------------------------------------------------- */

enum { OPT_JSON = 256 };

static const struct option long_options[] = {
	{ "json", no_argument, NULL, OPT_JSON },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

static int set_mode(struct options *opt, char mode)
{
	if (opt->mode && opt->mode != mode) {
		cli_error("-%c and -%c exclude each other", opt->mode, mode);
		return STATUS_USAGE;
	}
	opt->mode = mode;
	opt->preen = mode == 'p';
	opt->repair = mode == 'p'   ? FSCK_REPAIR_SAFE
		      : mode == 'y' ? FSCK_REPAIR_ALL
				    : FSCK_REPAIR_NONE;
	return 0;
}

/* 0, -1 to end the program with success, or a status. */
static int parse_one(struct options *opt, int c)
{
	switch (c) {
	case 'n':
	case 'y':
	case 'p':
		return set_mode(opt, (char)c);
	case 'a':
		return set_mode(opt, 'p');
	case 'f':
		opt->force = true;
		return 0;
	case 'C':
		opt->progress = true;
		return 0;
	case 'v':
		opt->verbose = true;
		return 0;
	case OPT_JSON:
		opt->json = true;
		return 0;
	case 'h':
		usage(stdout);
		return -1;
	case 'V':
		puts("fsck.udaxfs " UDAX_VERSION);
		return -1;
	default:
		usage(stderr);
		return STATUS_USAGE;
	}
}

static int parse(struct options *opt, int argc, char **argv)
{
	int c, result;

	/* fsck(8) hands on -C with the number of a descriptor behind it; it is not needed. */
	while ((c = getopt_long(argc, argv, "nypafC::vhV", long_options, NULL)) != -1) {
		result = parse_one(opt, c);
		if (result)
			return result;
	}
	if (optind != argc - 1) {
		cli_error(optind == argc ? "which region? give a file or a devdax"
					 : "give one region");
		return STATUS_USAGE;
	}
	opt->path = argv[optind];
	return 0;
}

/* ---- while it runs --------------------------------------------------------------------------- */

static void end_progress(struct job *job)
{
	if (!job->line_open)
		return;
	fputs("\r\033[K", stderr);
	fflush(stderr);
	job->line_open = false;
}

static void show_progress(void *ctx, const char *stage, uint64_t done, uint64_t total)
{
	struct job *job = ctx;

	if (!job->opt->progress || !total)
		return;
	fprintf(stderr, "\r\033[K%s: %llu%%", stage, (unsigned long long)(done * 100 / total));
	fflush(stderr);
	job->line_open = true;
}

static json_t *place(uint64_t n)
{
	return n == FSCK_NOWHERE ? json_null() : json_integer((json_int_t)n);
}

static void add_json(struct job *job, const struct fsck_problem *problem)
{
	static const char *const classes[] = { "note", "safe", "damage" };
	json_t *entry = json_object();

	cli_set_string(entry, "code", fsck_code_name(problem->code));
	cli_set_string(entry, "class", classes[fsck_code_class(problem->code)]);
	cli_set(entry, "inode", place(problem->ino));
	cli_set(entry, "block", place(problem->blk));
	cli_set_bool(entry, "repaired", problem->repaired);
	cli_set_string(entry, "text", problem->text);
	cli_append(job->problems, entry);
}

/* Names on a damaged volume may be anything: what is no printable ASCII is shown as '?'. */
static void print_safely(const char *text)
{
	for (; *text; text++)
		putchar(*text >= ' ' && *text <= '~' ? *text : '?');
}

static void show_problem(void *ctx, const struct fsck_problem *problem)
{
	struct job *job = ctx;
	bool note = fsck_code_class(problem->code) == FSCK_CLASS_NOTE;
	uint64_t n = ++job->shown[problem->code];

	if (n > MAX_SHOWN && !job->opt->verbose)
		return;
	end_progress(job);
	if (job->problems) {
		add_json(job, problem);
		return;
	}
	printf("%s: ", fsck_code_name(problem->code));
	print_safely(problem->text);
	puts(note ? "" : problem->repaired ? ": mended" : ": NOT mended");
	if (n == MAX_SHOWN && !job->opt->verbose)
		printf("%s: there may be more of these; -v shows them all\n",
		       fsck_code_name(problem->code));
}

static void use_region(void *ctx, struct region *region)
{
	(void)ctx;
	sigbus_contain(region);
}

static void on_interrupt(int sig)
{
	static const char text[] = "\nfsck.udaxfs: interrupted; run it again\n";
	ssize_t ignored = write(STDERR_FILENO, text, sizeof(text) - 1);

	(void)ignored;
	(void)sig;
	_exit(STATUS_CANCELLED);
}

/* ---- the region ------------------------------------------------------------------------------ */

static int lock_region(struct job *job)
{
	const char *path = job->opt->path;
	bool mends = job->opt->repair != FSCK_REPAIR_NONE;
	char process[CLI_PROCESS_LEN];
	int pid = 0, result = region_lock(job->region, LOCK_WAIT_MS, &pid);

	if (result == -EBUSY && !mends) {
		fprintf(stderr,
			"fsck.udaxfs: %s is in use by %s: what changes during the check may look "
			"like damage\n",
			path, cli_process(pid, process));
		return 0;
	}
	if (result == -EBUSY)
		return cli_error("%s is in use by %s: unmount it first, or only check it with -n",
				 path, cli_process(pid, process));
	if (result)
		return cli_error("%s cannot be locked: %s", path, strerror(-result));
	if (mends && region_clients_alive(job->region))
		return cli_error("%s is still mapped by a program that used it directly; end that "
				 "program first",
				 path);
	return 0;
}

static int open_region(struct job *job)
{
	unsigned flags = job->opt->repair == FSCK_REPAIR_NONE ? REGION_RDONLY : 0;
	char err[512];

	if (region_open(job->opt->path, flags, 0, &job->region, err, sizeof(err)))
		return cli_error("%s", err);
	sigbus_contain(job->region);
	return lock_region(job);
}

/* ---- the check ------------------------------------------------------------------------------- */

static int check_failed(struct job *job, int result)
{
	char what[128];

	end_progress(job);
	if (result == -EINVAL && signature_find(job->region, what, sizeof(what)) > 0)
		return cli_error("%s: there is no udaxfs on it, but %s", job->opt->path, what);
	return cli_error("%s: %s", job->opt->path, job->report.message);
}

static int check(struct job *job, enum fsck_repair repair, struct fsck_report *ret)
{
	const struct fsck_options opt = { .repair = repair,
					  .uid = getuid(),
					  .gid = getgid(),
					  .problem = show_problem,
					  .progress = show_progress,
					  .uses = use_region,
					  .ctx = job };

	return fsck_check(job->region, &opt, ret);
}

/* Nothing is wrong any more, but some operations are half done: the core finishes them. */
static int recover(struct job *job)
{
	struct fsck_report again;
	char err[512];
	int result = fsck_recover(job->region, err, sizeof(err));

	if (result)
		return cli_error("%s: what is pending cannot be finished: %s", job->opt->path, err);
	job->recovered = true;
	result = check(job, FSCK_REPAIR_NONE, &again);
	if (result)
		return check_failed(job, result);
	job->report.problems += again.problems;
	job->report.left += again.left;
	job->report.left_unsafe += again.left_unsafe;
	job->report.blocks_owned = again.blocks_owned;
	job->report.blocks_quarantined = again.blocks_quarantined;
	job->report.inodes = again.inodes;
	job->report.pending = again.pending;
	return 0;
}

static int run(struct job *job)
{
	bool mends = job->opt->repair != FSCK_REPAIR_NONE;
	int result = check(job, job->opt->repair, &job->report);

	if (result)
		return check_failed(job, result);
	if (mends && !job->report.left && job->report.pending && recover(job))
		return EXIT_FAILURE;
	end_progress(job);
	return 0;
}

/* ---- the report ------------------------------------------------------------------------------ */

static enum status status_of(const struct job *job)
{
	if (job->report.left)
		return STATUS_LEFT;
	return job->report.problems ? STATUS_MENDED : STATUS_CLEAN;
}

static const char *result_of(const struct job *job)
{
	switch (status_of(job)) {
	case STATUS_CLEAN:
		return "clean";
	case STATUS_MENDED:
		return "mended";
	default:
		return "damaged";
	}
}

static void report_text(const struct job *job)
{
	const struct fsck_report *r = &job->report;

	printf("%s: %s; %llu inodes (%llu files, %llu directories), %llu of %llu blocks in use\n",
	       job->opt->path, result_of(job), (unsigned long long)r->inodes,
	       (unsigned long long)r->files, (unsigned long long)r->directories,
	       (unsigned long long)r->blocks_owned, (unsigned long long)r->blocks);
	if (job->recovered)
		printf("%s: what was pending has been finished\n", job->opt->path);
	if (!r->left)
		return;
	printf("%s: %llu finding%s left", job->opt->path, (unsigned long long)r->left,
	       r->left == 1 ? " is" : "s are");
	puts(job->opt->repair == FSCK_REPAIR_ALL ? " that could not be mended"
	     : r->left_unsafe			 ? "; mend them with fsck.udaxfs -y"
						 : "; mend them with fsck.udaxfs -p");
}

static void report_json(const struct job *job)
{
	const struct fsck_report *r = &job->report;
	json_t *out = cli_json(), *counts = json_object();

	cli_set_string(out, "region", job->opt->path);
	cli_set_string(out, "result", result_of(job));
	cli_set_uint(out, "exit_status", status_of(job));
	cli_set_uint(out, "problems", r->problems);
	cli_set_uint(out, "problems_left", r->left);
	cli_set_uint(out, "notes", r->notes);
	cli_set_bool(out, "recovered", job->recovered);
	cli_set_uint(out, "rounds", r->rounds);
	cli_set_uint(out, "blocks", r->blocks);
	cli_set_uint(out, "blocks_in_use", r->blocks_owned);
	cli_set_uint(out, "blocks_quarantined", r->blocks_quarantined);
	cli_set_uint(out, "inodes", r->inodes);
	cli_set_uint(out, "files", r->files);
	cli_set_uint(out, "directories", r->directories);
	cli_set_uint(out, "pending", r->pending);
	for (int code = 0; code < FSCK_NR_CODES; code++)
		if (r->by_code[code])
			cli_set_uint(counts, fsck_code_name((enum fsck_code)code),
				     r->by_code[code]);
	cli_set(out, "by_code", counts);
	cli_set(out, "findings", job->problems);
	cli_print_json(out);
}

static int report_clean(const struct job *job)
{
	if (job->problems)
		report_json(job);
	else
		printf("%s: clean; not checked\n", job->opt->path);
	return STATUS_CLEAN;
}

static int work(struct job *job)
{
	if (open_region(job))
		return STATUS_FAILED;
	if (job->opt->preen && !job->opt->force && fsck_says_clean(job->region))
		return report_clean(job);
	if (run(job))
		return STATUS_FAILED;
	if (job->problems)
		report_json(job);
	else
		report_text(job);
	return (int)status_of(job);
}

int main(int argc, char **argv)
{
	struct options opt = { .progress = isatty(STDERR_FILENO) };
	struct job job = { .opt = &opt };
	int status;

	cli_program("fsck.udaxfs");
	status = parse(&opt, argc, argv);
	if (status)
		return status < 0 ? STATUS_CLEAN : status;
	signal(SIGINT, on_interrupt);
	signal(SIGTERM, on_interrupt);
	if (opt.json)
		job.problems = json_array();
	status = work(&job);
	if (job.region) {
		region_unlock(job.region);
		sigbus_contain(NULL);
		region_close(job.region);
	}
	return fflush(stdout) ? STATUS_FAILED : status;
}
