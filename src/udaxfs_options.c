/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * udaxfs_options.c - the command line.
 *
 * Two dialects. As udaxfs: `udaxfs [-f] [-d] [-o OPT,...] REGION MOUNTPOINT`, libfuse's own -o
 * options included. As mount.udaxfs or mount.fuse.udaxfs: what mount(8) passes to its helpers,
 * where -f means "fake" and options that concern only mount(8) or fstab come along. What is nobody's
 * is refused by libfuse.
 */
#include "udaxfs_options.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <fuse3/fuse_lowlevel.h>

#include "udax/policy.h"

#define DEFAULT_TIMEOUT 86400.0
#define MAX_THREADS 1024u
#define DEFAULT_SPIN_US 100u
#define DEFAULT_RECALL_TIMEOUT 1.0

enum key { KEY_IGNORE, KEY_RO, KEY_RW, KEY_KEEP };

#define FIELD(text, member, value)                                                                 \
	{                                                                                          \
		text, offsetof(struct options, member), value                                      \
	}

static const struct fuse_opt option_table[] = {
	FIELD("-f", opt_foreground, 1), FIELD("-d", opt_debug, 1), FIELD("debug", opt_debug, 1),
	FIELD("-h", opt_help, 1), FIELD("--help", opt_help, 1), FIELD("-V", opt_version, 1),
	FIELD("--version", opt_version, 1), FIELD("lockdep", opt_lockdep, 1),
	FIELD("lockdep_pairs=%s", lockdep_pairs, 0), FIELD("assume_pmem", opt_assume_pmem, 1),
	FIELD("mmaplock=%s", opt_policy, 0), FIELD("granule=%s", opt_granule, 0),
	FIELD("max_threads=%u", session.max_threads, 0), FIELD("spin_us=%u", session.spin_us, 0),
	FIELD("attr_timeout=%lf", session.attr_timeout, 0),
	FIELD("entry_timeout=%lf", session.entry_timeout, 0),
	FIELD("negative_timeout=%lf", session.negative_timeout, 0),
	FIELD("recall_timeout=%lf", recall_timeout, 0), FIELD("nodiratime", opt_nodiratime, 1),
	FIELD("noatime", opt_noatime, 1), FUSE_OPT_KEY("noatime", KEY_KEEP),
	FIELD("remount", opt_remount, 1), FUSE_OPT_KEY("ro", KEY_RO), FUSE_OPT_KEY("-r", KEY_RO),
	FUSE_OPT_KEY("rw", KEY_RW), FUSE_OPT_KEY("-w", KEY_RW),
	/* For mount(8) and fstab, or what holds anyway. */
	FUSE_OPT_KEY("default_permissions", KEY_IGNORE), FUSE_OPT_KEY("subtype=", KEY_IGNORE),
	FUSE_OPT_KEY("defaults", KEY_IGNORE), FUSE_OPT_KEY("auto", KEY_IGNORE),
	FUSE_OPT_KEY("noauto", KEY_IGNORE), FUSE_OPT_KEY("user", KEY_IGNORE),
	FUSE_OPT_KEY("nouser", KEY_IGNORE), FUSE_OPT_KEY("users", KEY_IGNORE),
	FUSE_OPT_KEY("owner", KEY_IGNORE), FUSE_OPT_KEY("group", KEY_IGNORE),
	FUSE_OPT_KEY("_netdev", KEY_IGNORE), FUSE_OPT_KEY("nofail", KEY_IGNORE),
	FUSE_OPT_KEY("relatime", KEY_IGNORE), FUSE_OPT_KEY("norelatime", KEY_IGNORE),
	FUSE_OPT_KEY("diratime", KEY_IGNORE), FUSE_OPT_KEY("silent", KEY_IGNORE),
	FUSE_OPT_KEY("loud", KEY_IGNORE), FUSE_OPT_KEY("comment=", KEY_IGNORE),
	FUSE_OPT_KEY("helper=", KEY_IGNORE), FUSE_OPT_KEY("uhelper=", KEY_IGNORE), FUSE_OPT_END
};

static void usage(FILE *out)
{
	fputs("usage: udaxfs [-f] [-d] [-o OPTION,...] REGION MOUNTPOINT\n"
	      "\n"
	      "Mount the udaxfs filesystem on REGION, a file or device made by mkfs.udaxfs.\n"
	      "Unmount with: umount MOUNTPOINT, or as an ordinary user fusermount3 -u MOUNTPOINT.\n"
	      "\n"
	      "  -f, -d                  stay in the foreground; -d: and show every request\n"
	      "  -h, --help              this text\n"
	      "  -V, --version           version\n"
	      "  -o ro                   read-only\n"
	      "  -o noatime, nodiratime  do not note when files, directories were read\n"
	      "  -o mmaplock=POLICY      what keeps page faults and layout changes apart:\n",
	      out);
	for (const struct udax_policy *const *policy = policy_list(); *policy; policy++)
		if ((*policy)->sound)
			fprintf(out, "                            %s: %s\n", (*policy)->name,
				(*policy)->summary);
	fputs("  -o lockdep              check the order of locks while running\n"
	      "  -o lockdep_pairs=FILE   write the pairs of locks that were seen to FILE at the end\n"
	      "  -o assume_pmem          treat a file as persistent memory (not safe in power loss)\n"
	      "  -o granule=BYTES        simulate a device that can only be mapped in such pieces\n"
	      "  -o max_threads=N        threads that serve requests (10)\n"
	      "  -o spin_us=N            look for the next request so long before sleeping (100)\n"
	      "  -o attr_timeout=S       how long the kernel may believe attributes,\n"
	      "  -o entry_timeout=S      names,\n"
	      "  -o negative_timeout=S   and missing names, in seconds (86400)\n"
	      "  -o recall_timeout=S     how long a program that maps files directly has to give back\n"
	      "                          what a truncate or punch takes away, in seconds (1)\n"
	      "\n"
	      "Options of FUSE:\n",
	      out);
	fuse_lowlevel_help();
}

static int on_option(void *data, const char *arg, int key, struct fuse_args *outargs)
{
	struct options *opt = data;

	(void)outargs;
	switch (key) {
	case KEY_IGNORE:
		return 0;
	case KEY_RO:
		opt->opt_ro = 1;
		return 0;
	case KEY_RW:
		opt->opt_ro = 0;
		return 0;
	case FUSE_OPT_KEY_NONOPT:
		if (!opt->region)
			opt->region = strdup(arg);
		else if (!opt->mountpoint)
			opt->mountpoint = strdup(arg);
		else
			return -1;
		return 0;
	default:
		/* fstab's x-systemd... and their like; anything else is libfuse's. */
		return strncmp(arg, "x-", 2) != 0;
	}
}

static int bad(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int bad(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("udaxfs: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputs("\n", stderr);
	va_end(ap);
	return -EINVAL;
}

/* A size with an optional K or M. */
static int parse_granule(struct options *opt)
{
	char *end;
	unsigned long n;

	if (!opt->opt_granule)
		return 0;
	n = strtoul(opt->opt_granule, &end, 10);
	if (strcmp(end, "K") == 0)
		n <<= 10;
	else if (strcmp(end, "M") == 0)
		n <<= 20;
	else if (*end)
		n = 0;
	if (n < 4096 || n > 2u << 20 || n & (n - 1))
		return bad("granule=%s: a power of two from 4K to 2M is needed", opt->opt_granule);
	opt->granule_bytes = (uint32_t)n;
	return 0;
}

static int parse_policy(struct options *opt)
{
	opt->policy = &policy_mmaplock;
	if (!opt->opt_policy)
		return 0;
	opt->policy = policy_find(opt->opt_policy);
	if (!opt->policy)
		return bad("mmaplock=%s: there is no such policy; --help lists them",
			   opt->opt_policy);
	if (!opt->policy->sound)
		return bad("mmaplock=%s is not sound: %s; it is there to be refuted by the lab, "
			   "not to hold data",
			   opt->opt_policy, opt->policy->summary);
	return 0;
}

static int check_values(struct options *opt)
{
	const struct session_options *session = &opt->session;

	if (session->max_threads > MAX_THREADS)
		return bad("max_threads=%u: at most %u", session->max_threads, MAX_THREADS);
	if (session->attr_timeout < 0 || session->entry_timeout < 0 ||
	    session->negative_timeout < 0)
		return bad("a timeout cannot be negative");
	if (opt->recall_timeout <= 0 || opt->recall_timeout > 3600)
		return bad("recall_timeout: more than 0 and at most 3600 seconds");
	return 0;
}

/* Add `-o OPTION` to libfuse's arguments. */
static int add_option(struct options *opt, const char *option)
{
	if (fuse_opt_add_arg(&opt->fuse, "-o") || fuse_opt_add_arg(&opt->fuse, option))
		return bad("out of memory");
	return 0;
}

int options_read_only(struct options *opt)
{
	opt->read_only = true;
	return add_option(opt, "ro");
}

/* What is shown as the source of the mount; a comma in it would end the option. */
static int add_fsname(struct options *opt)
{
	char *opts = NULL, *fsname;
	int err = -1;

	if (asprintf(&fsname, "fsname=%s", opt->region) < 0)
		return bad("out of memory");
	if (!fuse_opt_add_opt_escaped(&opts, fsname))
		err = add_option(opt, opts);
	free(fsname);
	free(opts);
	return err;
}

/* Absolute, because the daemon's directory will be the root. */
static int make_absolute(char **path, const char *what)
{
	struct statfs fs;
	char *absolute;

	if (strncmp(*path, "/dev/fd/", 8) == 0)
		return 0;
	absolute = realpath(*path, NULL);
	/* The kernel may still have attributes of what is dead; this asks its daemon. */
	if ((!absolute || statfs(absolute, &fs)) && errno == ENOTCONN) {
		free(absolute);
		return bad("%s is a mount whose daemon has died: take it away with `fusermount3 "
			   "-uz %s` or, as root, `umount -l %s`",
			   *path, *path, *path);
	}
	if (!absolute)
		return bad("%s %s: %s", what, *path, strerror(errno));
	free(*path);
	*path = absolute;
	return 0;
}

static int finish(struct options *opt)
{
	if (!opt->region || !opt->mountpoint)
		return bad("a region and a mount point are needed; try --help");
	if (parse_policy(opt) || parse_granule(opt) || check_values(opt) ||
	    make_absolute(&opt->region, "the region") ||
	    make_absolute(&opt->mountpoint, "the mount point"))
		return -EINVAL;
	opt->foreground = opt->opt_foreground || opt->opt_debug;
	opt->lockdep = opt->opt_lockdep || opt->lockdep_pairs;
	opt->assume_pmem = opt->opt_assume_pmem;
	opt->read_only = opt->opt_ro;
	opt->remount = opt->opt_remount;
	opt->session.noatime = opt->opt_noatime;
	opt->session.nodiratime = opt->opt_nodiratime;
	if (opt->read_only && options_read_only(opt))
		return -EINVAL;
	if (opt->opt_debug && fuse_opt_add_arg(&opt->fuse, "-d"))
		return bad("out of memory");
	return add_option(opt, "default_permissions,subtype=udaxfs") || add_fsname(opt);
}

/* ---- mount(8) ----------------------------------------------------------------------------------- */

static bool is_mount_helper(const char *program)
{
	const char *slash = strrchr(program, '/');

	return strncmp(slash ? slash + 1 : program, "mount.", 6) == 0;
}

/*
 * `mount.udaxfs SRC DIR [-sfnvrw] [-N NS] [-t TYPE] [-o OPTS]` as if it were for udaxfs. Whatever
 * is only mount(8)'s goes. libfuse starts from nosuid and nodev, mount(8) does not for root, and
 * for others it says so.
 */
static int translate_helper(int argc, char **argv, struct fuse_args *args, struct options *opt)
{
	int c, failed = fuse_opt_add_arg(args, argv[0]);

	if (!failed && geteuid() == 0)
		failed = fuse_opt_add_arg(args, "-o") || fuse_opt_add_arg(args, "suid,dev");
	opterr = 0;
	while (!failed && (c = getopt(argc, argv, "sfnvrwhVo:t:N:")) != -1) {
		char dash[] = { '-', (char)c, '\0' };

		if (c == '?')
			return bad("-%c: mount(8) passes no such option", optopt);
		if (c == 'f')
			opt->fake = true;
		else if (c == 'o')
			failed = fuse_opt_add_arg(args, "-o") || fuse_opt_add_arg(args, optarg);
		else if (strchr("rwhV", c))
			failed = fuse_opt_add_arg(args, dash);
	}
	for (; !failed && optind < argc; optind++)
		failed = fuse_opt_add_arg(args, argv[optind]);
	return failed ? bad("out of memory") : 0;
}

/* What `mount -o remount,...` can change: the flags that the kernel keeps. */
static unsigned long remount_flags(const struct options *opt)
{
	return MS_REMOUNT | (opt->opt_ro ? MS_RDONLY : 0) | (opt->opt_noatime ? MS_NOATIME : 0) |
	       (opt->opt_nodiratime ? MS_NODIRATIME : 0);
}

enum options_result options_parse(int argc, char **argv, struct options *ret)
{
	struct fuse_args args = FUSE_ARGS_INIT(argc, argv);

	*ret = (struct options){ 0 };
	ret->session.spin_us = DEFAULT_SPIN_US;
	ret->session.attr_timeout = DEFAULT_TIMEOUT;
	ret->session.entry_timeout = DEFAULT_TIMEOUT;
	ret->session.negative_timeout = DEFAULT_TIMEOUT;
	ret->recall_timeout = DEFAULT_RECALL_TIMEOUT;
	if (is_mount_helper(argv[0])) {
		args = (struct fuse_args){ 0 };
		if (translate_helper(argc, argv, &args, ret)) {
			fuse_opt_free_args(&args);
			return OPTIONS_BAD;
		}
	}
	if (fuse_opt_parse(&args, ret, option_table, on_option)) {
		fuse_opt_free_args(&args);
		return OPTIONS_BAD;
	}
	ret->fuse = args;
	if (ret->opt_help)
		usage(stdout);
	if (ret->opt_version)
		printf("udaxfs %s (libfuse %s)\n", UDAX_VERSION, fuse_pkgversion());
	if (ret->opt_help || ret->opt_version)
		return OPTIONS_DONE;
	ret->ms_flags = remount_flags(ret);
	return finish(ret) ? OPTIONS_BAD : OPTIONS_RUN;
}

void options_free(struct options *opt)
{
	fuse_opt_free_args(&opt->fuse);
	free(opt->region);
	free(opt->mountpoint);
	free(opt->lockdep_pairs);
	free(opt->opt_policy);
	free(opt->opt_granule);
}
