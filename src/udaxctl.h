/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * udaxctl.h - what the verbs of udaxctl share. Each file of udaxctl/ holds a family of verbs; the
 * table of all of them is in udaxctl.c.
 *
 * Exit statuses: CTL_OK, CTL_FAILED with a sentence on stderr, CTL_USAGE for a wrong command line.
 */
#ifndef UDAX_UDAXCTL_H
#define UDAX_UDAXCTL_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "cli.h"
#include "udax/ioctl.h"

enum { CTL_OK = 0, CTL_FAILED = 1, CTL_USAGE = 2 };

/* ---- verbs ------------------------------------------------------------------------------------ */

struct verb {
	const char *name;
	const char *args;    /* "FILE POS LEN" */
	const char *summary; /* one line */
	const char *options; /* what --help says about them; may be NULL */
	const char *details; /* what else --help says; may be NULL */
	int (*run)(const struct verb *verb, int argc, char **argv);
};

extern const struct verb verb_info, verb_df, verb_map, verb_stat, verb_lockstat, verb_holders;
extern const struct verb verb_top, verb_record;
extern const struct verb verb_grow, verb_shutdown, verb_check;
extern const struct verb verb_collapse, verb_insert, verb_exchange, verb_punch, verb_zero,
	verb_relocate;

/** What all verbs understand, and an option of their own to look at. */
struct ctl_options {
	bool json;
	const struct option *extra; /* long options, ended by zeroes; may be NULL */
	const char *shorts;	    /* their short forms, as for getopt(3); may be NULL */
	int (*set)(void *ctx, int c, const char *arg); /* CTL_OK or CTL_USAGE */
	void *ctx;
};

/**
 * ctl_parse - read the options of @verb and check that between @min and @max arguments are left,
 * from argv[optind] on. CTL_OK or CTL_USAGE; --help does not return.
 */
int ctl_parse(const struct verb *verb, int argc, char **argv, struct ctl_options *options, int min,
	      int max);

/* ---- what a path names: udaxctl/target.c ------------------------------------------------------- */

struct region;
struct sync;

struct target {
	const char *path;

	/* A mount, reached through a directory on it. */
	int fd; /* -1: it is not mounted */
	struct udax_ioc_info info;

	/* Or a region that nobody has mounted. */
	struct region *region;
	struct sync *sync;
};

enum target_flags {
	TARGET_MOUNT = 1,  /* a path on a mount will do */
	TARGET_REGION = 2, /* a region will do; one that is mounted is reached through its mount */
	TARGET_WRITE = 4,  /* the region is going to be changed */
};

/** target_open - CTL_OK, or CTL_FAILED with a message. target_close: also of a zeroed target. */
int target_open(struct target *target, const char *path, unsigned flags);
void target_close(struct target *target);

/**
 * file_open - open a file on a mount with @flags of open(2). CTL_OK, or CTL_FAILED with a message,
 * also when it is not on a udaxfs.
 */
int file_open(const char *path, int flags, int *ret_fd);

/** ctl_refused - a message for the error of an ioctl on @path. Returns CTL_FAILED. */
int ctl_refused(const char *path, const char *what, int error);

/** ctl_time - "2026-01-31 12:00:00" for nanoseconds since the epoch, "never" for 0. */
#define CTL_TIME_LEN 32
const char *ctl_time(uint64_t ns, char buf[CTL_TIME_LEN]);

/** ctl_mode_name - "not open", "cached" or "uncached". */
const char *ctl_mode_name(uint32_t mode);

/* ---- who has a file open: udaxctl/proc.c -------------------------------------------------------- */

/** A process that has a file open, or mapped. */
struct user {
	int pid;
	char name[32];
	int fd;		/* -1: a mapping */
	bool write;	/* opened for writing; a shared writable mapping */
	bool direct;	/* opened with O_DIRECT */
	char path[256]; /* as that process knows it */
};

/**
 * proc_users - call @fn for everybody who has inode @ino of the filesystem @dev open or mapped. Says
 * in *@ret_hidden how many processes could not be looked into. Never asks the filesystem.
 */
void proc_users(dev_t dev, uint64_t ino, void (*fn)(void *ctx, const struct user *user), void *ctx,
		unsigned *ret_hidden);

#endif
