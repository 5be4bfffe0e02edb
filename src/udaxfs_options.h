/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * udaxfs_options.h - the daemon's command line, as a program and as a helper of mount(8).
 */
#ifndef UDAX_UDAXFS_OPTIONS_H
#define UDAX_UDAXFS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <fuse3/fuse_opt.h>

#include "fuse_session.h"

struct udax_policy;

struct options {
	struct fuse_args fuse; /* what is libfuse's */
	char *region, *mountpoint;
	const struct udax_policy *policy;
	struct session_options session;
	uint32_t granule_bytes;
	double recall_timeout; /* seconds */
	char *lockdep_pairs;   /* a file for the pairs that were observed, or NULL */
	bool foreground, debug, lockdep, assume_pmem, read_only;
	bool fake;		/* mount -f: do everything but mount */
	bool remount;		/* only change the flags of the mount that is there */
	unsigned long ms_flags; /* for remount */

	/* As fuse_opt has it. */
	int opt_foreground, opt_debug, opt_help, opt_version, opt_lockdep, opt_assume_pmem, opt_ro;
	int opt_noatime, opt_nodiratime, opt_remount;
	char *opt_policy, *opt_granule;
};

enum options_result {
	OPTIONS_RUN,  /* *@ret is filled in */
	OPTIONS_DONE, /* --help or --version was answered */
	OPTIONS_BAD,  /* a message went to stderr */
};

/** options_parse - read the command line. Freed by options_free() in any case. */
enum options_result options_parse(int argc, char **argv, struct options *ret);
void options_free(struct options *opt);

/** options_read_only - as if `-o ro` had been given. Returns 0, or -1 after a message. */
int options_read_only(struct options *opt);

#endif
