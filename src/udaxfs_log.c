/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * udaxfs_log.c - the daemon's log. There is one for the process, like stderr and syslog, so it is
 * a file-scope object. Locks: log.lock, inside which nothing else is taken.
 *
 * In syslog a burst of lines is let through, then so many a second; how many were held back is said
 * with the next one. A damaged volume under load must not fill the host's disk.
 */
#include "udaxfs_log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include <fuse3/fuse_log.h>

#define BURST_LINES 50
#define LINES_PER_SECOND 5

static struct {
	pthread_mutex_t lock;
	bool to_syslog;
	char what[256];
	int credit; /* lines that may still be written */
	time_t filled;
	unsigned long held_back;
	char *capture;
	size_t capture_len;
} the_log = { .lock = PTHREAD_MUTEX_INITIALIZER, .credit = BURST_LINES };

void log_to_syslog(const char *what)
{
	pthread_mutex_lock(&the_log.lock);
	the_log.to_syslog = true;
	snprintf(the_log.what, sizeof(the_log.what), "%s", what);
	openlog("udaxfs", LOG_PID, LOG_DAEMON);
	pthread_mutex_unlock(&the_log.lock);
}

/* Whether one more line may be written now. the_log.lock held. */
static bool take_credit(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec > the_log.filled) {
		time_t more = (now.tv_sec - the_log.filled) * LINES_PER_SECOND;

		the_log.credit = more > BURST_LINES - the_log.credit ? BURST_LINES
								     : the_log.credit + (int)more;
		the_log.filled = now.tv_sec;
	}
	if (the_log.credit == 0) {
		the_log.held_back++;
		return false;
	}
	the_log.credit--;
	return true;
}

static void write_line(int priority, bool limited, const char *prefix, const char *line)
{
	pthread_mutex_lock(&the_log.lock);
	if (!the_log.to_syslog) {
		fprintf(stderr, "udaxfs: %s%s\n", prefix, line);
	} else if (!limited || take_credit()) {
		if (the_log.held_back)
			syslog(priority, "%s: %lu lines were left out", the_log.what,
			       the_log.held_back);
		the_log.held_back = 0;
		syslog(priority, "%s: %s%s", the_log.what, prefix, line);
	}
	pthread_mutex_unlock(&the_log.lock);
}

void log_line(void *ctx, const char *line)
{
	(void)ctx;
	write_line(LOG_WARNING, true, "", line);
}

void log_lockdep(void *ctx, const char *line)
{
	(void)ctx;
	write_line(LOG_WARNING, false, "lockdep: ", line);
}

void log_errorf(const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	write_line(LOG_ERR, false, "", line);
}

static void on_fuse_log(enum fuse_log_level level, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));
static void on_fuse_log(enum fuse_log_level level, const char *fmt, va_list ap)
{
	char line[1024];
	size_t used;

	vsnprintf(line, sizeof(line), fmt, ap);
	if (!the_log.capture) {
		line[strcspn(line, "\n")] = '\0';
		write_line(level <= FUSE_LOG_ERR ? LOG_ERR : LOG_INFO, true, "", line);
		return;
	}
	/* It may come in pieces, and one message on top of another: all in one line. */
	used = strlen(the_log.capture);
	snprintf(the_log.capture + used, the_log.capture_len - used, "%s", line);
	for (char *c = the_log.capture; *c; c++)
		if (*c == '\n')
			*c = c[1] ? ';' : '\0';
}

void log_capture_fuse(char *buf, size_t len)
{
	the_log.capture = buf;
	the_log.capture_len = len;
	fuse_set_log_func(on_fuse_log);
}
