/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * mkfs.c - mkfs.udaxfs: make an empty filesystem on a file, which it creates, or on a devdax.
 *
 * In this order, so that a refusal has changed nothing: look at the arguments, take the region's
 * lock (a mounted one is refused here, whatever was forced), look for what stands on it, and only
 * then enlarge, allocate and format. What it says at the end it has read back from the medium by
 * mounting it read-only.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uuid.h>

#include "alloc.h"
#include "cli.h"
#include "format.h"
#include "mem.h"
#include "region.h"
#include "sigbus.h"
#include "signature.h"
#include "sync.h"
#include "volume.h"

#define DEFAULT_BYTES (UINT64_C(1) << 30)
#define MAX_VOLUME_BYTES (MAX_VOLUME_BLOCKS << BLOCK_SHIFT)
#define LOCK_WAIT_MS 5000 /* for a daemon that is unmounting */

struct options {
	const char *path, *label;
	uint64_t bytes; /* 0: not given */
	uint32_t granule_bytes;
	uint8_t uuid[16];
	bool sparse, force, json;
};

/* What is being done, and what has to be undone. */
struct job {
	const struct options *opt;
	struct region *region;
	struct sync *sync;
	bool created;	    /* the file: removed on failure */
	uint64_t old_bytes; /* of a file that was there */
	bool enlarged;	    /* cut back to old_bytes on failure */
};

static void usage(FILE *out)
{
	fputs("Usage: mkfs.udaxfs [OPTION...] REGION\n"
	      "\n"
	      "Make an empty udaxfs on REGION: a file, which is created if it does not exist, or a\n"
	      "devdax such as /dev/dax0.0. A REGION on which something is found is refused.\n"
	      "\n"
	      "  -s, --size N      size of the file, such as 512M or 4G (default: 1G for a new file,\n"
	      "                    else the size that it has)\n"
	      "      --sparse      do not allocate the file's blocks: quicker, but writes can fail\n"
	      "                    when the filesystem that holds the file is full\n"
	      "  -L, --label L     name of the volume, up to 63 bytes\n"
	      "  -U, --uuid U      UUID of the volume (default: a random one)\n"
	      "  -g, --granule N   smallest piece that can be mapped directly, a power of two from\n"
	      "                    4K to 1G (default: what REGION has); a larger one than it has\n"
	      "                    imitates a devdax with that alignment\n"
	      "  -f, --force       format although something was found; never one that is in use\n"
	      "      --json        report what was made as one JSON object\n"
	      "  -h, --help        print this\n"
	      "  -V, --version     print the version\n"
	      "\n"
	      "The root directory belongs to the user who calls. Exit status: 0, or 1 with a\n"
	      "sentence that says why, and nothing changed if it was refused.\n",
	      out);
}

/* ---- arguments -------------------------------------------------------------------------------- */

static int set_size(struct options *opt, const char *arg)
{
	char min[CLI_BYTES_LEN], max[CLI_BYTES_LEN];

	if (cli_parse_bytes(arg, &opt->bytes) == -EINVAL)
		return cli_error("--size %s: not a size; give bytes, or a number with K, M, G or T",
				 arg);
	if (opt->bytes < MIN_VOLUME_BYTES || opt->bytes > MAX_VOLUME_BYTES)
		return cli_error("--size %s: a volume has between %s and %s", arg,
				 cli_bytes(MIN_VOLUME_BYTES, min),
				 cli_bytes(MAX_VOLUME_BYTES, max));
	opt->bytes &= ~(uint64_t)(BLOCK_BYTES - 1);
	return 0;
}

static int set_granule(struct options *opt, const char *arg)
{
	uint64_t bytes;

	if (cli_parse_bytes(arg, &bytes) || bytes < BLOCK_BYTES || bytes > UINT64_C(1) << 30 ||
	    (bytes & (bytes - 1)))
		return cli_error("--granule %s: must be a power of two from 4K to 1G", arg);
	opt->granule_bytes = (uint32_t)bytes;
	return 0;
}

static int set_label(struct options *opt, const char *arg)
{
	if (strlen(arg) >= sizeof(((struct super *)0)->label))
		return cli_error("--label: a label has at most 63 bytes, this one has %zu",
				 strlen(arg));
	opt->label = arg;
	return 0;
}

static int set_uuid(struct options *opt, const char *arg)
{
	if (uuid_parse(arg, opt->uuid) || uuid_is_null(opt->uuid))
		return cli_error("--uuid %s: not a UUID; leave it out for a random one", arg);
	return 0;
}

enum { OPT_SPARSE = 256, OPT_JSON };

static const struct option long_options[] = {
	{ "size", required_argument, NULL, 's' },    { "sparse", no_argument, NULL, OPT_SPARSE },
	{ "label", required_argument, NULL, 'L' },   { "uuid", required_argument, NULL, 'U' },
	{ "granule", required_argument, NULL, 'g' }, { "force", no_argument, NULL, 'f' },
	{ "json", no_argument, NULL, OPT_JSON },     { "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },	     { 0 },
};

static int set_option(struct options *opt, int c)
{
	switch (c) {
	case 's':
		return set_size(opt, optarg);
	case OPT_SPARSE:
		opt->sparse = true;
		return 0;
	case 'L':
		return set_label(opt, optarg);
	case 'U':
		return set_uuid(opt, optarg);
	case 'g':
		return set_granule(opt, optarg);
	case 'f':
		opt->force = true;
		return 0;
	case OPT_JSON:
		opt->json = true;
		return 0;
	case 'h':
		usage(stdout);
		exit(EXIT_SUCCESS);
	case 'V':
		printf("mkfs.udaxfs %s\n", UDAX_VERSION);
		exit(EXIT_SUCCESS);
	default:
		fputs("Try 'mkfs.udaxfs --help'.\n", stderr);
		return EXIT_FAILURE;
	}
}

static int parse(int argc, char **argv, struct options *opt)
{
	int c, failed = 0;

	while (!failed && (c = getopt_long(argc, argv, "s:L:U:g:fhV", long_options, NULL)) != -1)
		failed = set_option(opt, c);
	if (failed)
		return failed;
	if (optind + 1 != argc)
		return cli_error(optind == argc ? "a REGION is missing; try --help"
						: "more than one REGION; try --help");
	opt->path = argv[optind];
	return 0;
}

/* ---- the file --------------------------------------------------------------------------------- */

static int cannot_allocate(const char *path, uint64_t bytes, int error)
{
	char text[CLI_BYTES_LEN];

	return cli_error("%s: cannot allocate %s: %s%s", path, cli_bytes(bytes, text),
			 strerror(error),
			 error == ENOSPC ? "; give a smaller --size, or --sparse" : "");
}

/* Make the file @bytes long, its blocks allocated unless they may be missing. */
static int set_length(const struct options *opt, int fd, uint64_t old_bytes, uint64_t bytes)
{
	int error;

	if (bytes > old_bytes && ftruncate(fd, (off_t)bytes))
		return cannot_allocate(opt->path, bytes, errno);
	error = opt->sparse ? 0 : posix_fallocate(fd, 0, (off_t)bytes);
	return error ? cannot_allocate(opt->path, bytes, error) : 0;
}

static int create_file(struct job *job)
{
	const struct options *opt = job->opt;
	int failed, fd = open(opt->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);

	if (fd < 0)
		return cli_error("%s cannot be created: %s", opt->path, strerror(errno));
	job->created = true;
	failed = set_length(opt, fd, 0, opt->bytes ? opt->bytes : DEFAULT_BYTES);
	close(fd);
	return failed;
}

/* Nobody serves what is too small to be mapped, but somebody may want to keep it. */
static int examine_small_file(const struct job *job, int fd)
{
	const struct options *opt = job->opt;
	char what[128];
	int found;

	if (!job->old_bytes || opt->force)
		return 0;
	found = signature_find_fd(fd, what, sizeof(what));
	if (found > 0)
		return cli_error("%s holds %s; use --force to overwrite it", opt->path, what);
	return cli_error("%s holds something, and is too small for a volume; use --force, with a "
			 "--size, to overwrite it",
			 opt->path);
}

static int enlarge_small_file(struct job *job)
{
	const struct options *opt = job->opt;
	uint64_t bytes = opt->bytes ? opt->bytes : DEFAULT_BYTES;
	int failed, fd = open(opt->path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return cli_error("%s cannot be opened: %s", opt->path, strerror(errno));
	failed = examine_small_file(job, fd);
	if (!failed && job->old_bytes && !opt->bytes)
		failed = cli_error("%s is too small for a volume; give a --size", opt->path);
	if (!failed) {
		job->enlarged = true;
		failed = set_length(opt, fd, job->old_bytes, bytes);
	}
	close(fd);
	return failed;
}

/* Whatever can be said about the path before it is opened. */
static int prepare_path(struct job *job)
{
	const struct options *opt = job->opt;
	char text[CLI_BYTES_LEN];
	struct stat st;

	if (stat(opt->path, &st)) {
		if (errno == ENOENT)
			return create_file(job);
		return cli_error("%s cannot be looked at: %s", opt->path, strerror(errno));
	}
	if (!S_ISREG(st.st_mode)) {
		if (opt->bytes && S_ISCHR(st.st_mode))
			return cli_error("%s is a device: its size cannot be chosen with --size",
					 opt->path);
		return 0;
	}
	job->old_bytes = (uint64_t)st.st_size;
	if (opt->bytes && job->old_bytes > opt->bytes)
		return cli_error("%s is larger than that (%s): leave out --size, or shorten it "
				 "with truncate(1)",
				 opt->path, cli_bytes(job->old_bytes, text));
	return job->old_bytes < MIN_VOLUME_BYTES ? enlarge_small_file(job) : 0;
}

/* ---- the region ------------------------------------------------------------------------------- */

static int open_region(struct job *job)
{
	char err[512], process[CLI_PROCESS_LEN];
	int pid = 0, result;

	result = region_open(job->opt->path, 0, job->opt->granule_bytes, &job->region, err,
			     sizeof(err));
	if (result)
		return cli_error("%s", err);
	sigbus_contain(job->region);
	result = region_lock(job->region, LOCK_WAIT_MS, &pid);
	if (result == -EBUSY)
		return cli_error("%s is in use by %s: it is mounted or being checked; not even "
				 "--force formats it",
				 job->opt->path, cli_process(pid, process));
	if (result)
		return cli_error("%s cannot be locked: %s", job->opt->path, strerror(-result));
	if (region_clients_alive(job->region))
		return cli_error("%s is still mapped by a program that used it directly; end that "
				 "program first",
				 job->opt->path);
	return 0;
}

static int examine(struct job *job)
{
	const char *path = job->opt->path;
	char what[128];
	int result = 0;

	if (job->created)
		return 0;
	result = signature_find(job->region, what, sizeof(what));
	if (result > 0 && !job->opt->force)
		return cli_error("%s holds %s; use --force to overwrite it", path, what);
	if (result >= 0 || job->opt->force)
		return 0;
	return cli_error("%s cannot be examined for what it holds: %s; use --force to format it "
			 "all the same",
			 path, strerror(-result));
}

/* Now something changes: the size that was asked for, and blocks for all of it. */
static int enlarge(struct job *job)
{
	const struct options *opt = job->opt;
	uint64_t bytes = opt->bytes > job->old_bytes ? opt->bytes : job->old_bytes;
	struct region *region = job->region;
	struct stat st;
	int result;

	if (job->created || job->enlarged || fstat(region->fd, &st) || !S_ISREG(st.st_mode))
		return 0;
	job->enlarged = bytes > job->old_bytes;
	if (set_length(opt, region->fd, job->old_bytes, bytes))
		return EXIT_FAILURE;
	result = region_grow(region);
	if (result)
		return cli_error("%s cannot be mapped at its new size: %s", opt->path,
				 strerror(-result));
	return 0;
}

static int format(struct job *job)
{
	const struct options *opt = job->opt;
	struct format_options format_options = {
		.label = opt->label,
		.root_uid = geteuid(),
		.root_gid = getegid(),
	};
	int result = job->created ? 0 : signature_wipe(job->region);

	memcpy(format_options.uuid, opt->uuid, sizeof(opt->uuid));
	if (!result)
		result = volume_format(job->region, job->sync, mem_heap(), &format_options);
	if (result == -EIO)
		return cli_error(
			"%s could not be written (%s): there is no filesystem on it now", opt->path,
			opt->sparse ? "I/O error, or no room for a sparse file" : "I/O error");
	if (result)
		return cli_error("%s cannot be formatted: %s", opt->path, strerror(-result));
	return 0;
}

/* ---- the report ------------------------------------------------------------------------------- */

static void report_text(const struct job *job, const struct volume *vol, uint64_t usable)
{
	const struct region *region = job->region;
	uint64_t bytes = atomic_load(&vol->nblocks) << BLOCK_SHIFT;
	char text[CLI_BYTES_LEN], uuid[UUID_STR_LEN];

	uuid_unparse_lower(vol->uuid, uuid);
	printf("%s: made a udaxfs\n", job->opt->path);
	printf("  size        %s (%llu bytes)%s\n", cli_bytes(bytes, text),
	       (unsigned long long)bytes, job->opt->sparse ? ", sparse" : "");
	printf("  usable      %s (%llu bytes)\n", cli_bytes(usable, text),
	       (unsigned long long)usable);
	printf("  label       %s\n", vol->label[0] ? vol->label : "(none)");
	printf("  uuid        %s\n", uuid);
	printf("  granule     %s\n", cli_bytes((uint64_t)vol->granule_blocks << BLOCK_SHIFT, text));
	printf("  durability  %s\n", cli_durability(region->domain));
}

static int report_json(const struct job *job, const struct volume *vol, uint64_t usable)
{
	json_t *out = cli_json();
	char uuid[UUID_STR_LEN];

	uuid_unparse_lower(vol->uuid, uuid);
	cli_set_string(out, "region", job->opt->path);
	cli_set_bool(out, "created", job->created);
	cli_set_bool(out, "sparse", job->opt->sparse);
	cli_set_uint(out, "size_bytes", atomic_load(&vol->nblocks) << BLOCK_SHIFT);
	cli_set_uint(out, "usable_bytes", usable);
	cli_set_string(out, "label", vol->label);
	cli_set_string(out, "uuid", uuid);
	cli_set_uint(out, "granule_bytes", (uint64_t)vol->granule_blocks << BLOCK_SHIFT);
	cli_set_string(out, "durability", durability_name(job->region->domain));
	return cli_print_json(out);
}

static int report(struct job *job)
{
	const struct volume_env env = { .sync = job->sync, .mem = mem_heap(), .read_only = true };
	struct volume *vol;
	struct space space;
	char err[512];
	int failed = 0;
	uint64_t usable;

	if (volume_mount(job->region, &env, &vol, err, sizeof(err)))
		return cli_error("%s: what was made cannot be read back: %s", job->opt->path, err);
	alloc_space(vol, &space);
	usable = (space.free > space.reserve ? space.free - space.reserve : 0) << BLOCK_SHIFT;
	if (job->opt->json)
		failed = report_json(job, vol, usable);
	else
		report_text(job, vol, usable);
	volume_unmount(vol);
	return failed;
}

/* ---- all of it -------------------------------------------------------------------------------- */

static int make(struct job *job)
{
	int failed = prepare_path(job);

	if (!failed)
		failed = open_region(job);
	if (!failed)
		failed = examine(job);
	if (!failed)
		failed = enlarge(job);
	if (!failed)
		failed = format(job);
	return failed;
}

/* A file that this program made, or made longer, is as it was before. */
static void undo(const struct job *job)
{
	if (job->created)
		unlink(job->opt->path);
	else if (job->enlarged && truncate(job->opt->path, (off_t)job->old_bytes))
		cli_error("%s: cannot be cut back to its old size: %s", job->opt->path,
			  strerror(errno));
}

int main(int argc, char **argv)
{
	struct options opt = { 0 };
	struct job job = { .opt = &opt };
	int failed;

	cli_program("mkfs.udaxfs");
	if (parse(argc, argv, &opt))
		return EXIT_FAILURE;
	job.sync = sync_pthread_new(&(struct sync_options){ 0 });
	if (!job.sync)
		return cli_error("out of memory");
	failed = make(&job);
	if (failed)
		undo(&job);
	else
		failed = report(&job);
	sigbus_contain(NULL);
	region_close(job.region);
	sync_delete(job.sync);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
