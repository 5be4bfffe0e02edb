/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * preload.c - see preload.h. Nothing here may call a function that we stand in for.
 */
#include "preload.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "udax/ioctl.h"
#include "udax/udax.h"

static bool requires_direct, wants_stats;

void *preload_next(const char *name, _Atomic(void *) *cache)
{
	static const char message[] = "udaxrun: libc lacks a function that it should have\n";
	void *next = atomic_load_explicit(cache, memory_order_relaxed);

	if (next)
		return next;
	next = dlsym(RTLD_NEXT, name);
	if (!next) {
		syscall(SYS_write, 2, message, sizeof(message) - 1);
		_exit(127);
	}
	atomic_store_explicit(cache, next, memory_order_relaxed);
	return next;
}

bool preload_requires_direct(void)
{
	return requires_direct;
}

bool preload_on_udaxfs(int fd)
{
	struct udax_ioc_info info = { .version = UDAX_IOC_VERSION };
	int saved = errno;
	struct stat st;
	bool is;

	is = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	     syscall(SYS_ioctl, fd, UDAX_IOC_INFO, &info) == 0;
	errno = saved;
	return is;
}

bool preload_touches_direct(uintptr_t addr, size_t len)
{
	return len && (udax_is_direct((const void *)addr, 1) ||
		       udax_is_direct((const void *)(addr + len - 1), 1));
}

/* ---- the report ----------------------------------------------------------------------------------- */

static const char *program(void)
{
	return program_invocation_short_name;
}

static void report(void)
{
	struct udax_stats s;
	char line[1024];
	int n;

	udax_stats(&s, sizeof(s));
	n = snprintf(line, sizeof(line),
		     "udaxrun: %s (%d): %llu direct mappings, %llu faults, %llu KiB granted "
		     "(to load %llu, to store %llu, holes %llu, behind EOF %llu, failed %llu), "
		     "%llu recalls, %llu late\n",
		     program(), (int)getpid(), (unsigned long long)s.mmaps,
		     (unsigned long long)s.faults, (unsigned long long)s.direct_bytes >> 10,
		     (unsigned long long)s.grants_read, (unsigned long long)s.grants_write,
		     (unsigned long long)s.grants_zero, (unsigned long long)s.grants_behind_eof,
		     (unsigned long long)s.grants_failed, (unsigned long long)s.recalls,
		     (unsigned long long)s.late);
	syscall(SYS_write, 2, line, (size_t)n);
	for (unsigned i = 0; i < UDAX_NR_REASONS; i++) {
		/* What is on another filesystem nobody expected to be direct. */
		if (!s.refused[i] || i == UDAX_NOT_UDAXFS)
			continue;
		n = snprintf(line, sizeof(line), "udaxrun: %s (%d): %llu mappings not direct: %s\n",
			     program(), (int)getpid(), (unsigned long long)s.refused[i],
			     udax_reason_text((enum udax_reason)i));
		syscall(SYS_write, 2, line, (size_t)n);
	}
}

__attribute__((constructor)) static void begin(void)
{
	requires_direct = getenv("UDAXRUN_REQUIRE_DIRECT") != NULL;
	wants_stats = getenv("UDAXRUN_STATS") != NULL;
}

__attribute__((destructor)) static void end(void)
{
	if (wants_stats)
		report();
}
