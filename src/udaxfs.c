/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * udaxfs.c - the mount program: from a command line to a served mount, and back.
 *
 * In the background it forks first; only the child touches the region (locks on it belong to a
 * process), and tells its parent through a pipe when the mount is usable, or in one sentence why
 * there is none. The parent's exit status is that of mount(8): 0, 1 for the command line, 32 for a
 * mount that failed.
 *
 *	region_open, region_lock, volume_mount (recovery), session_mount, session_run
 *	session_unmount, volume_unmount, region_unlock, region_close
 *
 * Each step is undone by the one opposite, also when a later one fails. A read-only mount of what
 * was not unmounted goes through the first line twice: once to recover.
 *
 * Signals: SIGTERM, SIGINT and SIGHUP end the mount. They are read from a descriptor by the main
 * thread, which serves nothing, so it may wait for its own mount: it unmounts as umount(8) would,
 * with everything written back. If programs still have files open there, what they stored is
 * written back first, then the mount is taken away from under them.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clientd.h"
#include "format.h"
#include "fuse_session.h"
#include "inode.h"
#include "lockdep.h"
#include "mem.h"
#include "region.h"
#include "sigbus.h"
#include "udaxfs_log.h"
#include "udaxfs_options.h"
#include "volume.h"

#define EXIT_USAGE 1
#define EXIT_MOUNT 32
#define LOCK_WAIT_MS 30000

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

extern char **environ;

struct daemon {
	struct options opt;
	char err[1024];		    /* the sentence, when something failed */
	char unknown[FEATURES_LEN]; /* features because of which it is mounted read-only */
	FILE *pairs;		    /* of opt.lockdep_pairs */
	int signal_fd;
	struct sync *sync;
	struct region *region;
	struct volume *vol;
	struct session *session;
};

static int fail(struct daemon *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int fail(struct daemon *d, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(d->err, sizeof(d->err), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* ---- region and volume -------------------------------------------------------------------------- */

static int make_sync(struct daemon *d)
{
	struct sync_options options = { .lockdep = d->opt.lockdep, .report = log_lockdep };

	if (d->opt.lockdep_pairs) {
		d->pairs = fopen(d->opt.lockdep_pairs, "we");
		if (!d->pairs)
			return fail(d, "%s: %s", d->opt.lockdep_pairs, strerror(errno));
	}
	d->sync = sync_pthread_new(&options);
	return d->sync ? 0 : fail(d, "out of memory");
}

static int open_region(struct daemon *d, bool read_only)
{
	unsigned flags = (read_only ? REGION_RDONLY : 0) |
			 (d->opt.assume_pmem ? REGION_ASSUME_PMEM : 0);
	int pid = 0, err;

	err = region_open(d->opt.region, flags, d->opt.granule_bytes, &d->region, d->err,
			  sizeof(d->err));
	if (err)
		return err;
	sigbus_contain(d->region);
	err = region_lock(d->region, LOCK_WAIT_MS, &pid);
	if (!err)
		return 0;
	if (pid)
		fail(d, "%s is in use by process %d: unmount it there first", d->opt.region, pid);
	else
		fail(d, "%s is in use by another process: unmount it there first", d->opt.region);
	return err;
}

static void close_region(struct daemon *d)
{
	if (!d->region)
		return;
	region_unlock(d->region);
	sigbus_contain(NULL);
	region_close(d->region);
	d->region = NULL;
}

static int open_volume(struct daemon *d, bool read_only)
{
	struct volume_env env = {
		.sync = d->sync,
		.mem = mem_heap(),
		.policy = d->opt.policy,
		.holder_ops = &session_holder_ops,
		.holder_ctx = d->session,
		.read_only = read_only,
		.recall_timeout_ns = (uint64_t)(d->opt.recall_timeout * 1e9),
		.log = log_line,
	};
	char reason[768] = "";
	int err = volume_mount(d->region, &env, &d->vol, reason, sizeof(reason));

	if (err) {
		fail(d, "%s: %s", d->opt.region, reason);
		return err;
	}
	if (*reason)
		log_errorf("%s: %s", d->opt.region, reason);
	d->session->vol = d->vol;
	return 0;
}

/*
 * The region comes before the session, because what is in it can make the whole mount read-only, for the
 * kernel too, and libfuse is told that with the session's options.
 */
static int open_region_first(struct daemon *d)
{
	int err = open_region(d, d->opt.read_only);

	if (err || d->opt.read_only || !volume_is_for_reading(d->region, d->unknown))
		return err;
	close_region(d);
	if (options_read_only(&d->opt))
		return fail(d, "out of memory");
	return open_region(d, true);
}

/*
 * As with other filesystems, `ro` is about files: what was not unmounted is recovered first, and
 * that writes. The region is opened for it, and once more for reading: what is served is a
 * region that this process cannot store to.
 */
static int recover_for_reading(struct daemon *d)
{
	int err;

	close_region(d);
	err = open_region(d, false);
	if (!err)
		err = open_volume(d, false);
	if (err == -EACCES || err == -EPERM || err == -EROFS)
		return fail(d,
			    "%s was not unmounted and needs recovery, which writes, and it cannot "
			    "be written: allow that, or copy it and mount the copy",
			    d->opt.region);
	if (!err) {
		log_errorf("%s was not unmounted: recovered before it is mounted read-only",
			   d->opt.region);
		volume_unmount(d->vol);
		d->vol = d->session->vol = NULL;
	} else if (err != -EBUSY) { /* busy: somebody else may be at the same */
		return err;
	}
	close_region(d);
	err = open_region(d, true);
	return err ? err : open_volume(d, true);
}

static int open_and_recover(struct daemon *d)
{
	int err = open_volume(d, d->opt.read_only);

	return err == -EROFS && d->opt.read_only ? recover_for_reading(d) : err;
}

/* A file without names that somebody still had open: free it now, not at the next mount. */
static void reclaim(struct inode *inode, void *ctx)
{
	struct attr attr;

	inode_attr(inode, &attr);
	if (!attr.nlink)
		inode_lookup_drop(ctx, inode->ino, UINT64_MAX);
}

static void close_volume(struct daemon *d)
{
	if (!d->vol)
		return;
	icache_for_each(d->vol, reclaim, d->vol);
	volume_unmount(d->vol);
}

/* ---- mounting ----------------------------------------------------------------------------------- */

static bool have_fusermount(void)
{
	const char *path = getenv("PATH");
	char *copy = strdup(path && *path ? path : "/usr/bin:/bin"), *rest = copy, *dir;
	bool found = access("/usr/bin/fusermount3", X_OK) == 0;

	while (!found && (dir = strsep(&rest, ":"))) {
		char file[4096];

		snprintf(file, sizeof(file), "%s/fusermount3", dir);
		found = access(file, X_OK) == 0;
	}
	free(copy);
	return found;
}

/* What would make libfuse fail with less to say about it. */
static int check_mountable(struct daemon *d)
{
	const char *mountpoint = d->opt.mountpoint;
	struct stat st;
	int fd;

	if (strncmp(mountpoint, "/dev/fd/", 8) == 0)
		return 0;
	if (stat(mountpoint, &st))
		return fail(d, "%s: %s", mountpoint, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return fail(d, "%s is not a directory", mountpoint);
	fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd >= 0) {
		close(fd);
	} else if (errno == ENOENT || errno == ENXIO || errno == ENODEV) {
		return fail(d,
			    "there is no FUSE here: `modprobe fuse` as root; in a container, start "
			    "it with --device /dev/fuse");
	} else if (geteuid() != 0 || errno != EACCES) {
		return fail(d, "/dev/fuse: %s", strerror(errno));
	}
	return 0;
}

static int mount_session(struct daemon *d)
{
	char said[512] = "";
	int err = check_mountable(d);

	if (err)
		return err;
	log_capture_fuse(said, sizeof(said));
	err = session_mount(d->session, d->opt.mountpoint);
	log_capture_fuse(NULL, 0);
	if (err && geteuid() != 0 && !have_fusermount())
		return fail(d, "fusermount3 is missing, which mounts for ordinary users: install "
			       "the package fuse3");
	if (err)
		return fail(d, "cannot mount on %s%s%s", d->opt.mountpoint, *said ? ": " : "",
			    said);
	region_set_serving(d->region, true);
	/* Files can be used without: then the kernel's mapping is all that there is. */
	err = clientd_new(d->vol, d->session->tokens, &d->session->clientd);
	if (err)
		log_errorf("no direct mapping: clients cannot connect: %s", strerror(-err));
	return 0;
}

static int make_session(struct daemon *d)
{
	char said[512] = "";
	int err;

	log_capture_fuse(said, sizeof(said));
	err = session_new(d->sync, &d->opt.fuse, &d->opt.session, &d->session);
	log_capture_fuse(NULL, 0);
	if (err == -EINVAL)
		return fail(d, "%s; try --help", *said ? said : "an option is not known");
	return err ? fail(d, "%s", strerror(-err)) : 0;
}

static int start(struct daemon *d)
{
	int err = make_sync(d);

	if (!err)
		err = open_region_first(d);
	if (!err)
		err = make_session(d);
	if (!err)
		err = open_and_recover(d);
	if (!err)
		err = mount_session(d);
	if (!err && *d->unknown)
		log_errorf("%s: mounted read-only: the volume uses features that are not known "
			   "here (%s)",
			   d->opt.region, d->unknown);
	return err;
}

static void stop(struct daemon *d)
{
	if (d->session)
		session_unmount(d->session);
	close_volume(d);
	close_region(d);
	if (d->session)
		session_delete(d->session);
	if (d->pairs && d->sync && sync_lockdep(d->sync))
		lockdep_print_pairs(sync_lockdep(d->sync), d->pairs);
	if (d->pairs)
		fclose(d->pairs);
	if (d->sync)
		sync_delete(d->sync);
	options_free(&d->opt);
}

/* ---- serving ------------------------------------------------------------------------------------ */

static int run_fusermount(const char *mountpoint)
{
	char *argv[] = { "fusermount3", "-u", "-q", "--", (char *)mountpoint, NULL };
	int status;
	pid_t pid;

	if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ))
		return -ENOENT;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EBUSY;
}

static int unmount(const char *mountpoint)
{
	if (umount2(mountpoint, UMOUNT_NOFOLLOW) == 0)
		return 0;
	if (errno != EPERM)
		return -errno;
	return run_fusermount(mountpoint);
}

static void end_mount(struct daemon *d)
{
	int fd;

	if (unmount(d->opt.mountpoint) == 0)
		return; /* the kernel ends the session */
	fd = open(d->opt.mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		syncfs(fd);
		close(fd);
	}
	log_errorf("ending although %s is in use", d->opt.mountpoint);
	session_stop(d->session);
}

static void on_idle(void *arg)
{
	struct daemon *d = arg;
	struct signalfd_siginfo info;

	if (read(d->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		end_mount(d);
}

static int serve(struct daemon *d)
{
	int err = session_run(d->session, d->signal_fd, on_idle, d);

	if (d->session->clientd && err != -ETIMEDOUT)
		clientd_delete(d->session->clientd);
	d->session->clientd = NULL;
	region_set_serving(d->region, false);
	if (err == -ETIMEDOUT) {
		/* Something is stuck: leave the volume as a crash would, to be recovered. */
		log_errorf("requests did not end; the volume is left to recovery");
		_exit(EXIT_MOUNT);
	}
	return err;
}

static int block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* ---- the background ------------------------------------------------------------------------------ */

/* In the parent: wait for the child's word. Returns the exit status. */
static int wait_for_child(int fd)
{
	char message[1024];
	size_t n = 0;
	ssize_t got;

	while (n < sizeof(message) - 1 &&
	       ((got = read(fd, message + n, sizeof(message) - 1 - n)) > 0 ||
		(got < 0 && errno == EINTR)))
		n += got > 0 ? (size_t)got : 0;
	message[n] = '\0';
	if (n == 1 && message[0] == '\n')
		return 0;
	fprintf(stderr, "udaxfs: %s\n", n ? message : "the daemon died while it was starting");
	return EXIT_MOUNT;
}

/* In the child: a lone newline means that the mount is usable. */
static void tell_parent(int fd, const char *message)
{
	if (write(fd, message, strlen(message)) < 0)
		log_errorf("whoever called mount has gone");
	close(fd);
}

static void leave_terminal(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return;
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	if (null > STDERR_FILENO)
		close(null);
}

static int run_background(struct daemon *d)
{
	int fds[2], err;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC)) {
		fprintf(stderr, "udaxfs: %s\n", strerror(errno));
		return EXIT_MOUNT;
	}
	pid = fork();
	if (pid < 0) {
		fprintf(stderr, "udaxfs: %s\n", strerror(errno));
		return EXIT_MOUNT;
	}
	if (pid > 0) {
		close(fds[1]);
		options_free(&d->opt);
		return wait_for_child(fds[0]);
	}
	close(fds[0]);
	setsid();
	d->signal_fd = block_signals();
	err = start(d);
	if (!err) {
		log_to_syslog(d->opt.mountpoint);
		tell_parent(fds[1], "\n");
		leave_terminal();
		err = serve(d);
	} else {
		tell_parent(fds[1], d->err);
	}
	stop(d);
	_exit(err ? EXIT_MOUNT : 0);
}

static int run_foreground(struct daemon *d)
{
	int err;

	d->signal_fd = block_signals();
	err = start(d);
	if (err)
		log_errorf("%s", d->err);
	else
		err = serve(d);
	stop(d);
	return err ? EXIT_MOUNT : 0;
}

/*
 * Many small objects that live long (inodes), made and freed by whichever thread is at it: one
 * arena, grown in steps that are worth a system call. Buffers of requests stay in it too.
 */
static void tune_malloc(void)
{
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_TOP_PAD, 1 << 20);
	mallopt(M_TRIM_THRESHOLD, 64 << 20);
	mallopt(M_MMAP_THRESHOLD, 4 << 20);
}

static int remount(struct options *opt)
{
	int status = 0;

	if (mount(NULL, opt->mountpoint, NULL, opt->ms_flags, NULL)) {
		fprintf(stderr, "udaxfs: remounting %s: %s\n", opt->mountpoint, strerror(errno));
		status = EXIT_MOUNT;
	}
	options_free(opt);
	return status;
}

int main(int argc, char **argv)
{
	struct daemon d = { .signal_fd = -1 };

	switch (options_parse(argc, argv, &d.opt)) {
	case OPTIONS_DONE:
		options_free(&d.opt);
		return 0;
	case OPTIONS_BAD:
		options_free(&d.opt);
		return EXIT_USAGE;
	default:
		break;
	}
	if (d.opt.fake) {
		options_free(&d.opt);
		return 0;
	}
	if (d.opt.remount)
		return remount(&d.opt);
	umask(0);
	tune_malloc();
	/* Under memory pressure our allocations must not wait for our own mount; needs privilege. */
	prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
	return d.opt.foreground ? run_foreground(&d) : run_background(&d);
}
