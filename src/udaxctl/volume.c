/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * volume.c - udaxctl grow and udaxctl shutdown.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format.h"
#include "mem.h"
#include "region.h"
#include "udaxctl.h"
#include "volume.h"

/* ---- grow ----------------------------------------------------------------------------------------- */

/* Make the region's file at least @bytes long, with blocks. */
static int enlarge_file(const char *path, uint64_t bytes)
{
	int error, fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st)) {
		error = errno;
		if (fd >= 0)
			close(fd);
		return cli_error("%s cannot be opened: %s", path, strerror(error));
	}
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > bytes) {
		close(fd);
		return cli_error(S_ISREG(st.st_mode) ? "%s is larger than that already"
						     : "%s is a device: leave out --size",
				 path);
	}
	error = posix_fallocate(fd, st.st_size, (off_t)(bytes - (uint64_t)st.st_size));
	if (error == EINVAL && (uint64_t)st.st_size == bytes)
		error = 0;
	if (error && ftruncate(fd, st.st_size))
		cli_error("%s cannot be cut back: %s", path, strerror(errno));
	close(fd);
	return error ? cli_error("%s cannot be enlarged: %s", path, strerror(error)) : CTL_OK;
}

static int grow_mount(const struct target *target, uint64_t bytes, struct udax_ioc_grow *ret)
{
	if (bytes && enlarge_file(target->info.region, bytes) != CTL_OK)
		return CTL_FAILED;
	*ret = (struct udax_ioc_grow){ .version = UDAX_IOC_VERSION };
	if (ioctl(target->fd, UDAX_IOC_GROW, ret) == 0)
		return CTL_OK;
	switch (errno) {
	case EPERM:
		return cli_error("%s: only root and user %u, who mounted it, may do that",
				 target->path, target->info.uid);
	case EROFS:
		return cli_error("%s is mounted read-only", target->path);
	case ENOMEM:
		return cli_error("%s: no memory, or the address space behind the region is used "
				 "up; unmount it and grow the region",
				 target->path);
	default:
		return ctl_refused(target->path, "growing", errno);
	}
}

static int grow_region(struct target *target, struct udax_ioc_grow *ret)
{
	const struct volume_env env = { .sync = target->sync, .mem = mem_heap() };
	uint64_t nblocks;
	struct volume *vol;
	char err[512];
	int result = volume_mount(target->region, &env, &vol, err, sizeof(err));

	if (result)
		return cli_error("%s: %s", target->path, err);
	ret->old_bytes = atomic_load(&vol->nblocks) << BLOCK_SHIFT;
	result = volume_grow(vol, &nblocks);
	volume_unmount(vol);
	if (result)
		return cli_error("%s cannot grow: %s", target->path, strerror(-result));
	ret->new_bytes = nblocks << BLOCK_SHIFT;
	return CTL_OK;
}

/*
 * The file is enlarged with the region closed and then opened anew: to close another descriptor of
 * it would drop the part of the region's lock that names us. Before, see that it is ours.
 */
static int enlarge_region(struct target *target, uint64_t bytes, unsigned flags)
{
	const struct super *s = region_ptr(target->region, 0, sizeof(*s));
	const char *path = target->path;
	int status = CTL_OK;

	if (super_check(s))
		status = cli_error("%s: there is no udaxfs on it, or it is damaged", path);
	target_close(target);
	*target = (struct target){ .fd = -1 };
	if (status == CTL_OK)
		status = enlarge_file(path, bytes);
	return status == CTL_OK ? target_open(target, path, flags) : status;
}

static int report_growth(const struct target *target, const struct udax_ioc_grow *grow, bool json)
{
	char old_text[CLI_BYTES_LEN], new_text[CLI_BYTES_LEN];
	json_t *out;

	if (json) {
		out = cli_json();
		cli_set_string(out, "path", target->path);
		cli_set_uint(out, "old_bytes", grow->old_bytes);
		cli_set_uint(out, "new_bytes", grow->new_bytes);
		return cli_print_json(out);
	}
	if (grow->new_bytes > grow->old_bytes)
		printf("%s: grown from %s to %s\n", target->path,
		       cli_bytes(grow->old_bytes, old_text), cli_bytes(grow->new_bytes, new_text));
	else
		printf("%s: nothing to grow into; it has %s. Make the region larger first, or give "
		       "--size\n",
		       target->path, cli_bytes(grow->old_bytes, old_text));
	return CTL_OK;
}

static int set_size(void *ctx, int c, const char *arg)
{
	(void)c;
	if (cli_parse_bytes(arg, ctx) == 0 && *(uint64_t *)ctx > 0 &&
	    *(uint64_t *)ctx <= MAX_VOLUME_BLOCKS << BLOCK_SHIFT)
		return CTL_OK;
	cli_error("--size %s: not a size; give bytes, or a number with K, M, G or T", arg);
	return CTL_USAGE;
}

static int run_grow(const struct verb *verb, int argc, char **argv)
{
	static const struct option extra[] = { { "size", required_argument, NULL, 's' }, { 0 } };
	uint64_t bytes = 0;
	struct ctl_options options = { .extra = extra, .set = set_size, .ctx = &bytes };
	const unsigned flags = TARGET_MOUNT | TARGET_REGION | TARGET_WRITE;
	struct udax_ioc_grow grow = { 0 };
	struct target target;
	int status = ctl_parse(verb, argc, argv, &options, 1, 1);

	if (status != CTL_OK)
		return status;
	status = target_open(&target, argv[optind], flags);
	if (status == CTL_OK && target.region && bytes)
		status = enlarge_region(&target, bytes, flags);
	if (status == CTL_OK)
		status = target.region ? grow_region(&target, &grow)
				       : grow_mount(&target, bytes, &grow);
	if (status == CTL_OK)
		status = report_growth(&target, &grow, options.json);
	target_close(&target);
	return status;
}

const struct verb verb_grow = {
	.name = "grow",
	.args = "MOUNT|REGION",
	.summary = "Use what a volume's region has grown to, mounted or not",
	.options = "      --size N   make the region's file that large first\n",
	.run = run_grow,
};

/* ---- shutdown ------------------------------------------------------------------------------------- */

static int run_shutdown(const struct verb *verb, int argc, char **argv)
{
	struct ctl_options options = { 0 };
	struct target target;
	int status = ctl_parse(verb, argc, argv, &options, 1, 1);
	uint32_t ignored = 0;
	json_t *out;

	if (status != CTL_OK)
		return status;
	status = target_open(&target, argv[optind], TARGET_MOUNT);
	if (status == CTL_OK && ioctl(target.fd, UDAX_IOC_SHUTDOWN, &ignored)) {
		if (errno == EPERM)
			status = cli_error("%s: only root and user %u, who mounted it, may do that",
					   target.path, target.info.uid);
		else
			status = ctl_refused(target.path, "shutting down", errno);
	}
	if (status == CTL_OK && options.json) {
		out = cli_json();
		cli_set_string(out, "path", target.path);
		cli_set_bool(out, "shut_down", true);
		status = cli_print_json(out);
	} else if (status == CTL_OK) {
		printf("%s is shut down: unmount it, and mount it again\n", target.path);
	}
	target_close(&target);
	return status;
}

const struct verb verb_shutdown = {
	.name = "shutdown",
	.args = "MOUNT",
	.summary = "Stop a mount as if power had gone, for tests",
	.details =
		"Every later operation on it gives an I/O error, and nothing more is written. The\n"
		"next mount recovers what was acknowledged.\n",
	.run = run_shutdown,
};
