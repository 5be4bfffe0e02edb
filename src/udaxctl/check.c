/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * check.c - udaxctl check: can this machine, and this user, do what udaxfs needs? Each
 * finding that is not good comes with what to do about it.
 *
 * Where it can be tried it is tried, not guessed from a configuration: a container may have the
 * device but not the permission, a seccomp filter the setting but not the system call.
 *
 *   ok    nothing to do
 *   note  works, but knowing it may save time
 *   warn  a part does not work: said which
 *   fail  mounting does not work
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "region.h"
#include "udaxctl.h"

enum level { LEVEL_OK, LEVEL_NOTE, LEVEL_WARN, LEVEL_FAIL };

static const char *const level_names[] = { "ok", "note", "warn", "fail" };

struct findings {
	json_t *json; /* NULL: print */
	unsigned counts[4];
};

/* @advice: NULL where nothing needs to be done. */
static void found(struct findings *f, const char *name, enum level level, const char *advice,
		  const char *fmt, ...) __attribute__((format(printf, 5, 6)));

static void found(struct findings *f, const char *name, enum level level, const char *advice,
		  const char *fmt, ...)
{
	char text[512];
	va_list args;
	json_t *out;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	f->counts[level]++;
	if (!f->json) {
		printf("%-4s  %-16s %s\n", level_names[level], name, text);
		if (advice)
			printf("%-4s  %-16s -> %s\n", "", "", advice);
		return;
	}
	out = json_object();
	cli_set_string(out, "name", name);
	cli_set_string(out, "level", level_names[level]);
	cli_set_string(out, "text", text);
	if (advice)
		cli_set_string(out, "advice", advice);
	cli_append(f->json, out);
}

/* The number in a file of /proc or /sys, or @otherwise. */
static long read_number(const char *path, long otherwise)
{
	FILE *file = fopen(path, "re");
	char line[64], *end;
	long n;

	if (!file)
		return otherwise;
	line[0] = '\0';
	if (!fgets(line, sizeof(line), file))
		line[0] = '\0';
	fclose(file);
	n = strtol(line, &end, 10);
	return end == line ? otherwise : n;
}

/* ---- FUSE ----------------------------------------------------------------------------------------- */

static void check_fuse_device(struct findings *f)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd >= 0) {
		close(fd);
		found(f, "fuse", LEVEL_OK, NULL, "/dev/fuse can be opened");
		return;
	}
	switch (errno) {
	case ENOENT:
		found(f, "fuse", LEVEL_FAIL,
		      "load it with 'modprobe fuse'; in a container, start that with "
		      "'--device /dev/fuse'",
		      "/dev/fuse does not exist");
		break;
	case ENODEV:
	case ENXIO:
		found(f, "fuse", LEVEL_FAIL, "load it with 'modprobe fuse'",
		      "/dev/fuse exists, but the kernel has no FUSE behind it");
		break;
	default:
		found(f, "fuse", LEVEL_FAIL,
		      "'chmod 666 /dev/fuse' as root, which is what distributions set; in a "
		      "container, allow the device",
		      "/dev/fuse cannot be opened: %s", strerror(errno));
	}
}

/* Where @program is in PATH or the usual places; false: nowhere. */
static bool find_program(const char *program, char *ret, size_t len, struct stat *ret_st)
{
	const char *path = getenv("PATH");
	char *list, *save = NULL;
	bool is_there = false;

	if (asprintf(&list, "%s:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", path ? path : "") <
	    0)
		return false;
	for (char *dir = strtok_r(list, ":", &save); dir && !is_there;
	     dir = strtok_r(NULL, ":", &save)) {
		snprintf(ret, len, "%s/%s", dir, program);
		is_there = stat(ret, ret_st) == 0 && S_ISREG(ret_st->st_mode) &&
			   access(ret, X_OK) == 0;
	}
	free(list);
	return is_there;
}

static void check_fusermount(struct findings *f)
{
	enum level level = geteuid() ? LEVEL_FAIL : LEVEL_NOTE;
	struct stat st;
	char path[512];

	if (!find_program("fusermount3", path, sizeof(path), &st))
		found(f, "fusermount3", level,
		      "install the package fuse3; or mount as root, or in a user namespace",
		      "fusermount3 is not installed; only root can mount");
	else if (st.st_uid != 0 || !(st.st_mode & S_ISUID))
		found(f, "fusermount3", level,
		      "'chown root:root' and 'chmod 4755' it, or mount as root, or in a user "
		      "namespace",
		      "%s is not set-user-ID root; only root can mount", path);
	else
		found(f, "fusermount3", LEVEL_OK, NULL, "%s is set-user-ID root", path);
	/* It keeps no list there any more, but gives up without. */
	if (geteuid() && access("/etc/mtab", R_OK))
		found(f, "mtab", LEVEL_WARN, "as root: ln -s /proc/self/mounts /etc/mtab",
		      "there is no /etc/mtab, without which fusermount3 unmounts nothing");
}

static bool fuse_conf_has(const char *word)
{
	FILE *file = fopen("/etc/fuse.conf", "re");
	char line[256];
	bool has = false;

	while (file && fgets(line, sizeof(line), file))
		has |= strncmp(line, word, strlen(word)) == 0 &&
		       strspn(line + strlen(word), " \t\r\n") == strlen(line + strlen(word));
	if (file)
		fclose(file);
	return has;
}

static void check_allow_other(struct findings *f)
{
	if (fuse_conf_has("user_allow_other"))
		found(f, "allow_other", LEVEL_OK, NULL,
		      "ordinary users may mount with -o allow_other");
	else
		found(f, "allow_other", LEVEL_NOTE,
		      "if others shall see an ordinary user's mount: a line 'user_allow_other' in "
		      "/etc/fuse.conf",
		      "only root may mount with -o allow_other");
}

static int try_user_namespace(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(unshare(CLONE_NEWUSER | CLONE_NEWNS) ? errno : 0);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return ECHILD;
	return WEXITSTATUS(status);
}

static void check_user_namespaces(struct findings *f)
{
	int error = try_user_namespace();

	if (!error)
		found(f, "user namespaces", LEVEL_OK, NULL,
		      "can be created: mounting works there without fusermount3");
	else
		found(f, "user namespaces", LEVEL_NOTE,
		      "only needed to mount without fusermount3: look at "
		      "user.max_user_namespaces, kernel.unprivileged_userns_clone and "
		      "kernel.apparmor_restrict_unprivileged_userns",
		      "cannot be created: %s", strerror(error));
}

/* ---- the kernel, direct mappings ------------------------------------------------------------------ */

static bool kernel_is_at_least(const char *release, unsigned long version, unsigned long patch)
{
	char *end;
	unsigned long v = strtoul(release, &end, 10), p = 0;

	if (*end == '.')
		p = strtoul(end + 1, NULL, 10);
	return v > version || (v == version && p >= patch);
}

static void check_kernel(struct findings *f)
{
	struct utsname name;

	uname(&name);
	if (kernel_is_at_least(name.release, 5, 11))
		found(f, "kernel", LEVEL_OK, NULL, "Linux %s", name.release);
	else
		found(f, "kernel", LEVEL_WARN, "use 5.11 or later",
		      "Linux %s cannot give direct mappings to unprivileged programs",
		      name.release);
}

/* What the client library does: no privilege, write protection, and moves that are told of. */
static int try_userfaultfd(void)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_EVENT_REMAP |
			    UFFD_FEATURE_MISSING_SHMEM,
	};
	int error = 0, fd;

	fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	if (fd < 0)
		return errno;
	if (ioctl(fd, UFFDIO_API, &api))
		error = errno;
	close(fd);
	return error;
}

static void check_userfaultfd(struct findings *f)
{
	long unprivileged = read_number("/proc/sys/vm/unprivileged_userfaultfd", -1);
	int error = try_userfaultfd();

	if (!error)
		found(f, "userfaultfd", LEVEL_OK, NULL,
		      "works without privilege (vm.unprivileged_userfaultfd is %ld, which does not "
		      "matter for user-mode faults)",
		      unprivileged);
	else if (error == ENOSYS)
		found(f, "userfaultfd", LEVEL_WARN,
		      "use a kernel with CONFIG_USERFAULTFD; ordinary mmap works without",
		      "the kernel has none: no direct mappings");
	else if (error == EPERM)
		found(f, "userfaultfd", LEVEL_WARN,
		      "a seccomp filter forbids it, as container engines do by default: allow the "
		      "system call userfaultfd in the container's profile",
		      "not permitted: no direct mappings");
	else
		found(f, "userfaultfd", LEVEL_WARN, "use Linux 5.11 or later, on x86-64 or arm64",
		      "cannot do what direct mappings need: %s", strerror(error));
}

/* One of the words of a line of /proc/cpuinfo that begins with @key. */
static bool cpu_has(const char *key, const char *word)
{
	FILE *file = fopen("/proc/cpuinfo", "re");
	char *line = NULL, *save = NULL;
	size_t room = 0;
	bool has = false;

	while (file && !has && getline(&line, &room, file) > 0) {
		if (strncmp(line, key, strlen(key)) != 0)
			continue;
		for (char *w = strtok_r(line, " \t\n:", &save); w && !has;
		     w = strtok_r(NULL, " \t\n:", &save))
			has = strcmp(w, word) == 0;
		break;
	}
	free(line);
	if (file)
		fclose(file);
	return has;
}

static void check_cpu(struct findings *f)
{
	static const char *const x86[] = { "clwb", "clflushopt", "clflush" };

	for (unsigned i = 0; i < 3; i++) {
		if (!cpu_has("flags", x86[i]))
			continue;
		found(f, "cache flush", i < 2 ? LEVEL_OK : LEVEL_NOTE,
		      i < 2 ? NULL : "only matters on persistent memory, where it is slow",
		      "the CPU has %s", x86[i]);
		return;
	}
	if (cpu_has("Features", "dcpop"))
		found(f, "cache flush", LEVEL_OK, NULL, "the CPU has dc cvap");
	else
		found(f, "cache flush", LEVEL_NOTE, "only matters on persistent memory",
		      "no instruction is known here that makes stores durable");
}

/* ---- limits --------------------------------------------------------------------------------------- */

#define WANTED_MAPS 65530
#define WANTED_FILES 1024
#define WANTED_LOCKED_KIB 64

static void check_maps(struct findings *f)
{
	long maps = read_number("/proc/sys/vm/max_map_count", WANTED_MAPS);

	if (maps >= WANTED_MAPS)
		found(f, "mappings", LEVEL_OK, NULL, "a process may have %ld (vm.max_map_count)",
		      maps);
	else
		found(f, "mappings", LEVEL_WARN, "'sysctl vm.max_map_count=65530' as root",
		      "a process may have only %ld (vm.max_map_count): direct mappings of large, "
		      "fragmented files will fail",
		      maps);
}

static void check_files(struct findings *f)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur >= WANTED_FILES)
		found(f, "open files", LEVEL_OK, NULL, "a process may have %llu (ulimit -n)",
		      (unsigned long long)limit.rlim_cur);
	else
		found(f, "open files", LEVEL_WARN,
		      "'ulimit -n 1024', or in "
		      "/etc/security/limits.conf",
		      "a process may have only %llu (ulimit -n): each client of direct mappings "
		      "needs some in the daemon",
		      (unsigned long long)limit.rlim_cur);
}

static void check_memory(struct findings *f)
{
	struct rlimit locked, space;
	char text[CLI_BYTES_LEN];

	getrlimit(RLIMIT_AS, &space);
	if (space.rlim_cur == RLIM_INFINITY)
		found(f, "address space", LEVEL_OK, NULL, "unlimited (ulimit -v)");
	else
		found(f, "address space", LEVEL_WARN, "'ulimit -v unlimited' before mounting",
		      "limited to %s (ulimit -v): a region is mapped whole, with room to grow",
		      cli_bytes(space.rlim_cur, text));
	getrlimit(RLIMIT_MEMLOCK, &locked);
	if (locked.rlim_cur == RLIM_INFINITY)
		found(f, "locked memory", LEVEL_OK, NULL, "unlimited (ulimit -l)");
	else
		found(f, "locked memory",
		      locked.rlim_cur >= WANTED_LOCKED_KIB * 1024 ? LEVEL_OK : LEVEL_NOTE,
		      locked.rlim_cur >= WANTED_LOCKED_KIB * 1024
			      ? NULL
			      : "raise 'ulimit -l' for programs that use mlock or io_uring",
		      "%s (ulimit -l)", cli_bytes(locked.rlim_cur, text));
}

/* ---- a region ------------------------------------------------------------------------------------- */

static void check_region(struct findings *f, const char *path)
{
	struct region *region;
	char err[512], text[CLI_BYTES_LEN];

	if (region_open(path, 0, 0, &region, err, sizeof(err))) {
		found(f, "region", LEVEL_FAIL, NULL, "%s", err);
		return;
	}
	found(f, "region", LEVEL_OK, NULL, "%s: a %s of %s, can be read and written", path,
	      region->ops->name, cli_bytes(region->bytes, text));
	found(f, "durability", region->domain == DURABILITY_VOLATILE ? LEVEL_NOTE : LEVEL_OK,
	      region->domain == DURABILITY_VOLATILE
		      ? "put it on a disk's filesystem, or on persistent memory, to survive power "
			"loss"
		      : NULL,
	      "%s", cli_durability(region->domain));
	found(f, "granule", LEVEL_OK, NULL, "%s can be mapped directly at the least",
	      cli_bytes(region->granule_bytes, text));
	region_close(region);
}

/* ---- all ------------------------------------------------------------------------------------------ */

static void check_all(struct findings *f, const char *region)
{
	check_fuse_device(f);
	check_fusermount(f);
	check_allow_other(f);
	check_user_namespaces(f);
	check_kernel(f);
	check_userfaultfd(f);
	check_cpu(f);
	check_maps(f);
	check_files(f);
	check_memory(f);
	if (region)
		check_region(f, region);
}

static int run_check(const struct verb *verb, int argc, char **argv)
{
	struct ctl_options options = { 0 };
	struct findings findings = { 0 };
	int status = ctl_parse(verb, argc, argv, &options, 0, 1);
	json_t *out;

	if (status != CTL_OK)
		return status;
	if (options.json)
		findings.json = json_array();
	check_all(&findings, argv[optind]);
	status = findings.counts[LEVEL_FAIL] ? CTL_FAILED : CTL_OK;
	if (!options.json) {
		printf("\n%s: %u problems, %u warnings\n",
		       status == CTL_OK ? "udaxfs can be used here"
					: "udaxfs cannot be mounted here",
		       findings.counts[LEVEL_FAIL], findings.counts[LEVEL_WARN]);
		return status;
	}
	out = cli_json();
	cli_set_bool(out, "usable", status == CTL_OK);
	cli_set_uint(out, "failures", findings.counts[LEVEL_FAIL]);
	cli_set_uint(out, "warnings", findings.counts[LEVEL_WARN]);
	cli_set(out, "checks", findings.json);
	return cli_print_json(out) ? CTL_FAILED : status;
}

const struct verb verb_check = {
	.name = "check",
	.args = "[REGION]",
	.summary = "Whether this machine has what udaxfs needs, and what to do",
	.details =
		"Exit status 1 when mounting cannot work. With REGION: whether that can be used.\n",
	.run = run_check,
};
