/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * target.c - from a path on the command line to a mount, or to a region that is not mounted.
 *
 * A mount is asked through a directory: to open a file would decide its mode for that moment. A
 * region is opened read-only unless it is going to be changed, with the lock that goes with it; one
 * whose lock is held is looked for in the list of mounts.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/magic.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "format.h"
#include "region.h"
#include "sigbus.h"
#include "sync.h"
#include "udaxctl.h"

#define LOCK_WAIT_MS 5000 /* for a daemon that is unmounting */

int ctl_refused(const char *path, const char *what, int error)
{
	switch (error) {
	case EPERM:
	case EACCES:
		return cli_error("%s: %s is not permitted to you", path, what);
	case EIO:
		return cli_error("%s: %s: I/O error: the medium is damaged, or the volume was shut "
				 "down; 'udaxctl info' says which",
				 path, what);
	default:
		return cli_error("%s: %s: %s", path, what, strerror(error));
	}
}

/* ---- mounts ----------------------------------------------------------------------------------- */

static bool get_info(int fd, struct udax_ioc_info *info)
{
	*info = (struct udax_ioc_info){ .version = UDAX_IOC_VERSION };
	return ioctl(fd, UDAX_IOC_INFO, info) == 0;
}

/* A descriptor of the directory @path, or of the one that @path stands in; or -1. */
static int open_directory(const char *path)
{
	char *copy;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0 || errno != ENOTDIR)
		return fd;
	copy = strdup(path);
	if (!copy)
		return -1;
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(copy);
	return fd;
}

static bool on_fuse(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && fs.f_type == FUSE_SUPER_MAGIC;
}

/* Returns whether @path is on a udaxfs mount; *@ret_error: why it could not be asked, or 0. */
static bool open_mount(struct target *target, const char *path, int *ret_error)
{
	*ret_error = 0;
	target->fd = open_directory(path);
	if (target->fd < 0) {
		*ret_error = errno;
		return false;
	}
	if (get_info(target->fd, &target->info))
		return true;
	if (errno == EIO || errno == ENOTCONN || errno == ENOMEM)
		*ret_error = errno;
	close(target->fd);
	target->fd = -1;
	return false;
}

static int no_mount(const char *path, int error)
{
	if (error == ENOTCONN)
		return cli_error("%s: its daemon is gone; unmount it with 'fusermount3 -u %s'",
				 path, path);
	if (error)
		return cli_error("%s: %s", path, strerror(error));
	return cli_error("%s is not on a udaxfs mount", path);
}

/* ---- regions ---------------------------------------------------------------------------------- */

/* Where the region @path is mounted, in memory of the caller; NULL: nowhere that we can see. */
static char *find_mount_point(const char *path)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	char *real = realpath(path, NULL), *found = NULL;
	struct mntent *entry;

	while (mounts && real && !found && (entry = getmntent(mounts)))
		if (strcmp(entry->mnt_type, "fuse.udaxfs") == 0 &&
		    strcmp(entry->mnt_fsname, real) == 0)
			found = strdup(entry->mnt_dir);
	if (mounts)
		endmntent(mounts);
	free(real);
	return found;
}

/* The region's lock is held: there should be a mount that can be asked instead. */
static int ask_mount_instead(struct target *target, const char *path, int pid, unsigned flags)
{
	char process[CLI_PROCESS_LEN], *dir = find_mount_point(path);
	int error;
	bool found = dir && flags & TARGET_MOUNT && open_mount(target, dir, &error);

	free(dir);
	if (found)
		return CTL_OK;
	return cli_error("%s is in use by %s; if that is a mount, give the mount point", path,
			 cli_process(pid, process));
}

static int open_region(struct target *target, const char *path, unsigned flags)
{
	int pid = 0, result;
	char err[512];

	result = region_open(path, flags & TARGET_WRITE ? 0 : REGION_RDONLY, 0, &target->region,
			     err, sizeof(err));
	if (result)
		return cli_error("%s", err);
	sigbus_contain(target->region);
	result = region_lock(target->region, LOCK_WAIT_MS, &pid);
	if (!result) {
		target->sync = sync_pthread_new(&(struct sync_options){ 0 });
		return target->sync ? CTL_OK : cli_error("out of memory");
	}
	sigbus_contain(NULL);
	region_close(target->region);
	target->region = NULL;
	if (result == -EBUSY)
		return ask_mount_instead(target, path, pid, flags);
	return cli_error("%s cannot be locked: %s", path, strerror(-result));
}

/* ---- either ----------------------------------------------------------------------------------- */

int target_open(struct target *target, const char *path, unsigned flags)
{
	struct stat st;
	int error;

	*target = (struct target){ .path = path, .fd = -1 };
	if (stat(path, &st))
		return no_mount(path, errno);
	/* A region can stand on a FUSE filesystem too, of another kind. */
	if (flags & TARGET_MOUNT && (S_ISDIR(st.st_mode) || on_fuse(path))) {
		if (open_mount(target, path, &error))
			return CTL_OK;
		if (S_ISDIR(st.st_mode) || error)
			return no_mount(path, error);
	}
	if (!(flags & TARGET_REGION))
		return no_mount(path, 0);
	if (S_ISREG(st.st_mode) && st.st_size < MIN_VOLUME_BYTES)
		return cli_error("%s is neither on a udaxfs mount nor large enough for a volume",
				 path);
	return open_region(target, path, flags);
}

void target_close(struct target *target)
{
	if (target->fd >= 0)
		close(target->fd);
	if (target->region) {
		sigbus_contain(NULL);
		region_close(target->region);
	}
	sync_delete(target->sync);
}

int file_open(const char *path, int flags, int *ret_fd)
{
	struct udax_ioc_info info;
	int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return cli_error("%s cannot be opened: %s", path, strerror(errno));
	if (!get_info(fd, &info)) {
		int error = errno;

		close(fd);
		return no_mount(path, error == EIO || error == ENOTCONN ? error : 0);
	}
	*ret_fd = fd;
	return CTL_OK;
}
