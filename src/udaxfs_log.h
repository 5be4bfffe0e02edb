/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * udaxfs_log.h - what the daemon has to say: to stderr in the foreground, to syslog otherwise.
 */
#ifndef UDAX_UDAXFS_LOG_H
#define UDAX_UDAXFS_LOG_H

#include <stddef.h>

/** log_to_syslog - from now on. @what names the mount in each line. */
void log_to_syslog(const char *what);

/** log_line - one line, without newline. Rate-limited in syslog. @ctx is not used: a callback. */
void log_line(void *ctx, const char *line);

/** log_lockdep - the same for a line of a lockdep report, which gets a prefix. */
void log_lockdep(void *ctx, const char *line);

/** log_errorf - a formatted line that is never suppressed. */
void log_errorf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/**
 * log_capture_fuse - let libfuse's messages go into @buf (@len bytes, an empty string now; one
 * line) until it is called with NULL; then into the log.
 */
void log_capture_fuse(char *buf, size_t len);

#endif
