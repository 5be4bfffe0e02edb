/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * seen_maps.c - put in front of a program that nobody here wrote, and that runs under udaxrun: looks at
 * /proc/self/maps each time before something is unmapped, and when the program ends, and then proves (maps.h)
 * that in this very process a fault follows a punch. For `direct` in lib.sh.
 *
 * $SEEN_MOUNT is where the mount is, $SEEN_REPORT a file that gets one line for each process that ended and
 * had a shared mapping of a file there, direct or not:
 *
 *	NAME PID: direct N, by the kernel N, WHAT IS WRONG
 *
 * where N is how many the last look that found any has found, and what is wrong is "well" if nothing is.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "maps.h"

static atomic_uint direct, kernels;

static const char *mount_point(void)
{
	return getenv("SEEN_MOUNT");
}

static void look(void)
{
	int saved = errno;
	char files[4096];
	unsigned n;

	if (!mount_point())
		return;
	snprintf(files, sizeof(files), "%s/", mount_point());
	n = maps_shared(MAPS_REGION);
	if (n)
		atomic_store(&direct, n);
	n = maps_shared(files);
	if (n)
		atomic_store(&kernels, n);
	errno = saved;
}

__attribute__((visibility("default"))) int munmap(void *addr, size_t len)
{
	static _Atomic(void *) next;
	int (*function)(void *addr, size_t len);

	if (!atomic_load(&next))
		atomic_store(&next, dlsym(RTLD_NEXT, "munmap"));
	*(void **)&function = atomic_load(&next);
	look();
	return function(addr, len);
}

__attribute__((destructor)) static void end(void)
{
	const char *report = getenv("SEEN_REPORT"), *wrong;
	char line[1024];
	int fd, n;

	look();
	if (!report || !(atomic_load(&direct) + atomic_load(&kernels)))
		return;
	wrong = maps_prove(mount_point());
	n = snprintf(line, sizeof(line), "%s %d: direct %u, by the kernel %u, %s\n",
		     program_invocation_short_name, (int)getpid(), atomic_load(&direct),
		     atomic_load(&kernels), wrong ? wrong : "well");
	fd = open(report, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, line, (size_t)n) != n)
		abort();
	close(fd);
}
