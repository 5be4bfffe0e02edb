/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * layout.c - udaxctl punch, zero, collapse, insert, exchange and relocate: changes of what stands
 * where in a file.
 *
 * The first two are fallocate(2) and work in both modes of a file. The others the kernel does not
 * pass on to a FUSE filesystem; they need the uncached mode, so the file is opened with O_DIRECT,
 * which decides that for one that is not open.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "udaxctl.h"

static int parse_bytes(const char *what, const char *text, uint64_t *ret)
{
	if (cli_parse_bytes(text, ret) == 0 && *ret <= INT64_MAX)
		return CTL_OK;
	cli_error("%s %s: not a size; give bytes, or a number with K, M, G or T", what, text);
	return CTL_USAGE;
}

static int refused(const struct verb *verb, const char *path, int error)
{
	switch (error) {
	case EBUSY:
		return cli_error("%s is open somewhere without O_DIRECT, so the kernel may hold "
				 "copies of it; 'udaxctl holders %s' says by whom",
				 path, path);
	case EINVAL:
		return cli_error("%s: %s: position and length must be multiples of 4096, and the "
				 "range must lie inside the file",
				 path, verb->name);
	case EPERM:
		return cli_error("%s is immutable or append-only", path);
	case EKEYREJECTED:
		return cli_error("%s: the second file went away meanwhile", path);
	default:
		return ctl_refused(path, verb->name, error);
	}
}

static int report(const struct verb *verb, const char *path, uint64_t pos, uint64_t len, bool json)
{
	struct stat st;
	json_t *out;

	if (stat(path, &st))
		return cli_error("%s: %s", path, strerror(errno));
	if (!json)
		return CTL_OK; /* as other programs that change files: no news is good news */
	out = cli_json();
	cli_set_string(out, "operation", verb->name);
	cli_set_string(out, "path", path);
	cli_set_uint(out, "pos_bytes", pos);
	cli_set_uint(out, "len_bytes", len);
	cli_set_uint(out, "size_bytes", (uint64_t)st.st_size);
	return cli_print_json(out);
}

/* ---- punch and zero ------------------------------------------------------------------------------- */

static int set_keep_size(void *ctx, int c, const char *arg)
{
	(void)c, (void)arg;
	*(bool *)ctx = true;
	return CTL_OK;
}

static int run_fallocate(const struct verb *verb, int argc, char **argv, int mode,
			 struct ctl_options *options, const bool *keep_size)
{
	int fd, status = ctl_parse(verb, argc, argv, options, 3, 3);
	uint64_t pos, len;
	const char *path;

	if (status == CTL_OK)
		status = parse_bytes("POS", argv[optind + 1], &pos);
	if (status == CTL_OK)
		status = parse_bytes("LEN", argv[optind + 2], &len);
	if (status != CTL_OK)
		return status;
	path = argv[optind];
	status = file_open(path, O_RDWR, &fd);
	if (status != CTL_OK)
		return status;
	if (fallocate(fd, mode | (*keep_size ? FALLOC_FL_KEEP_SIZE : 0), (off_t)pos, (off_t)len))
		status = ctl_refused(path, verb->name, errno);
	close(fd);
	return status == CTL_OK ? report(verb, path, pos, len, options->json) : status;
}

static int run_punch(const struct verb *verb, int argc, char **argv)
{
	static const bool keep_size = true;
	struct ctl_options options = { 0 };

	return run_fallocate(verb, argc, argv, FALLOC_FL_PUNCH_HOLE, &options, &keep_size);
}

static int run_zero(const struct verb *verb, int argc, char **argv)
{
	static const struct option extra[] = { { "keep-size", no_argument, NULL, 'k' }, { 0 } };
	bool keep_size = false;
	struct ctl_options options = { .extra = extra, .set = set_keep_size, .ctx = &keep_size };

	return run_fallocate(verb, argc, argv, FALLOC_FL_ZERO_RANGE, &options, &keep_size);
}

const struct verb verb_punch = {
	.name = "punch",
	.args = "FILE POS LEN",
	.summary = "Free a range of a file: it becomes a hole",
	.run = run_punch,
};

const struct verb verb_zero = {
	.name = "zero",
	.args = "FILE POS LEN",
	.summary = "Make a range of a file zeroes that keep their blocks",
	.options = "      --keep-size  do not make the file longer\n",
	.run = run_zero,
};

/* ---- collapse and insert -------------------------------------------------------------------------- */

static int run_shift(const struct verb *verb, int argc, char **argv, unsigned long cmd)
{
	struct ctl_options options = { 0 };
	struct udax_ioc_range range = { .version = UDAX_IOC_VERSION };
	int fd, status = ctl_parse(verb, argc, argv, &options, 3, 3);
	uint64_t pos, len;
	struct stat now;
	const char *path;

	if (status == CTL_OK)
		status = parse_bytes("POS", argv[optind + 1], &pos);
	if (status == CTL_OK)
		status = parse_bytes("LEN", argv[optind + 2], &len);
	if (status != CTL_OK)
		return status;
	path = argv[optind];
	range.pos = pos;
	range.len = len;
	status = file_open(path, O_RDWR | O_DIRECT, &fd);
	if (status != CTL_OK)
		return status;
	if (ioctl(fd, cmd, &range))
		status = refused(verb, path, errno);
	else
		(void)fstat(fd, &now); /* the kernel learns the new size, before anybody appends */
	close(fd);
	return status == CTL_OK ? report(verb, path, pos, len, options.json) : status;
}

static int run_collapse(const struct verb *verb, int argc, char **argv)
{
	return run_shift(verb, argc, argv, UDAX_IOC_COLLAPSE);
}

static int run_insert(const struct verb *verb, int argc, char **argv)
{
	return run_shift(verb, argc, argv, UDAX_IOC_INSERT);
}

#define NEEDS_UNCACHED                                                                             \
	"The file must not be open anywhere without O_DIRECT. Nothing is copied; the change is\n"  \
	"durable, and wholly done or not at all, also after a crash.\n"

const struct verb verb_collapse = {
	.name = "collapse",
	.args = "FILE POS LEN",
	.summary = "Take a range out of a file: what follows moves down",
	.details = "POS and LEN are multiples of 4096, and the range ends before the end of the\n"
		   "file.\n" NEEDS_UNCACHED,
	.run = run_collapse,
};

const struct verb verb_insert = {
	.name = "insert",
	.args = "FILE POS LEN",
	.summary = "Put a hole into a file: what follows moves up",
	.details =
		"POS and LEN are multiples of 4096, and POS lies before the end of the file.\n" //
	NEEDS_UNCACHED,
	.run = run_insert,
};

/* ---- exchange ------------------------------------------------------------------------------------- */

static int exchange(const struct verb *verb, const char *path, const char *other_path,
		    struct udax_ioc_exchange *exchange)
{
	struct udax_ioc_token token = { .version = UDAX_IOC_VERSION };
	int fd, other_fd, status = file_open(path, O_RDWR | O_DIRECT, &fd);

	if (status != CTL_OK)
		return status;
	status = file_open(other_path, O_RDWR | O_DIRECT, &other_fd);
	if (status != CTL_OK) {
		close(fd);
		return status;
	}
	if (ioctl(other_fd, UDAX_IOC_TOKEN, &token)) {
		status = ctl_refused(other_path, "asking for a token", errno);
	} else {
		memcpy(exchange->token, token.token, sizeof(exchange->token));
		if (ioctl(fd, UDAX_IOC_EXCHANGE, exchange))
			status = refused(verb, path, errno);
	}
	close(other_fd);
	close(fd);
	return status;
}

static int run_exchange(const struct verb *verb, int argc, char **argv)
{
	struct ctl_options options = { 0 };
	struct udax_ioc_exchange args = { .version = UDAX_IOC_VERSION };
	int status = ctl_parse(verb, argc, argv, &options, 5, 5);
	uint64_t pos, other_pos, len;

	if (status == CTL_OK)
		status = parse_bytes("POS", argv[optind + 1], &pos);
	if (status == CTL_OK)
		status = parse_bytes("POS2", argv[optind + 3], &other_pos);
	if (status == CTL_OK)
		status = parse_bytes("LEN", argv[optind + 4], &len);
	if (status != CTL_OK)
		return status;
	args.pos = pos;
	args.other_pos = other_pos;
	args.len = len;
	status = exchange(verb, argv[optind], argv[optind + 2], &args);
	if (status != CTL_OK)
		return status;
	return report(verb, argv[optind], pos, len, options.json);
}

const struct verb verb_exchange = {
	.name = "exchange",
	.args = "FILE POS FILE2 POS2 LEN",
	.summary = "Swap ranges of two files of one mount",
	.details =
		"POS, POS2 and LEN are multiples of 4096, and the ranges lie inside the files; LEN\n"
		"may be another number where both files end with the range.\n" NEEDS_UNCACHED,
	.run = run_exchange,
};

/* ---- relocate ------------------------------------------------------------------------------------- */

static int relocate_refused(const struct verb *verb, const char *path, int error)
{
	if (error == ETIMEDOUT)
		return cli_error(
			"%s: programs that map it directly kept it waiting for the mount's "
			"recall_timeout; what was moved before stays moved ('udaxctl holders' shows "
			"who is late)",
			path);
	if (error != ENOSPC)
		return refused(verb, path, error);
	return cli_error(
		"%s: no free run of 2 MiB is left for the next piece; what was moved before "
		"stays moved ('udaxctl df' shows how much is free in such runs)",
		path);
}

static int report_relocate(const char *path, const struct udax_ioc_relocate *args, bool json)
{
	json_t *out;

	if (!json) {
		printf("%s: %llu pieces of 2 MiB moved\n", path,
		       (unsigned long long)(args->moved_bytes >> 21));
		return CTL_OK;
	}
	out = cli_json();
	cli_set_string(out, "operation", "relocate");
	cli_set_string(out, "path", path);
	cli_set_uint(out, "moved_bytes", args->moved_bytes);
	return cli_print_json(out);
}

static int run_relocate(const struct verb *verb, int argc, char **argv)
{
	struct ctl_options options = { 0 };
	struct udax_ioc_relocate args = { .version = UDAX_IOC_VERSION };
	int fd, status = ctl_parse(verb, argc, argv, &options, 1, 3);
	uint64_t pos = 0, len = INT64_MAX;
	const char *path;

	if (status == CTL_OK && argc - optind > 1)
		status = parse_bytes("POS", argv[optind + 1], &pos);
	if (status == CTL_OK && argc - optind > 2)
		status = parse_bytes("LEN", argv[optind + 2], &len);
	if (status != CTL_OK)
		return status;
	path = argv[optind];
	args.pos = pos;
	args.len = len;
	status = file_open(path, O_RDWR | O_DIRECT, &fd);
	if (status != CTL_OK)
		return status;
	if (ioctl(fd, UDAX_IOC_RELOCATE, &args))
		status = relocate_refused(verb, path, errno);
	close(fd);
	return status == CTL_OK ? report_relocate(path, &args, options.json) : status;
}

const struct verb verb_relocate = {
	.name = "relocate",
	.args = "FILE [POS [LEN]]",
	.summary = "Move a file into whole 2 MiB runs, so that it can be mapped huge",
	.details =
		"Each piece of 2 MiB that the range touches (default: the whole file) gets an\n"
		"aligned run of blocks of its own, unless it has one or is a hole; smaller\n"
		"holes, and what lies between the end of the file and that of its last piece,\n"
		"become zeroes that take space. 'udaxctl map' shows the result.\n"
		"The file must not be open anywhere without O_DIRECT. Each piece is moved wholly\n"
		"or not at all, also after a crash.\n",
	.run = run_relocate,
};
