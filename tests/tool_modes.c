/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * tool_modes.c - nobody maps directly what the kernel caches, and nobody has the kernel cache what somebody maps
 * directly (row 59 of docs/RACES.md):
 *
 *	tool_modes FILE SECONDS
 *
 * Three processes open FILE, map it and close it, as fast as they can, two through the kernel, one directly. Each
 * counts itself while it has its mapping, and looks whether the other kind is counted. That an open in either
 * mode meets releases and attaches of the other is the point: each kind must have had it a hundred times.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "udax/udax.h"

#define PAGE 4096ul
#define ENOUGH 100u

static struct shared {
	atomic_uint cached, direct;	    /* how many have a mapping of the kind now */
	atomic_uint was_cached, was_direct; /* how often there was one */
} * shared;

/* Returns how many of the other kind there were while we had ours. */
static unsigned count_in(atomic_uint *ours, atomic_uint *how_often, atomic_uint *theirs,
			 volatile char *p)
{
	unsigned seen;

	atomic_fetch_add(ours, 1);
	atomic_fetch_add(how_often, 1);
	*p;
	seen = atomic_load(theirs);
	usleep(50);
	seen += atomic_load(theirs);
	atomic_fetch_sub(ours, 1);
	return seen;
}

/* The kernel maps a file for sharing in cached mode only. */
static void map_by_kernel(int fd)
{
	void *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return;
	if (count_in(&shared->cached, &shared->was_cached, &shared->direct, p))
		errx(1, "the kernel maps what somebody else maps directly");
	munmap(p, PAGE);
}

static void map_directly(int fd)
{
	void *p = udax_mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return;
	if (count_in(&shared->direct, &shared->was_direct, &shared->cached, p))
		errx(1, "mapped directly, while the kernel has a mapping of its cache");
	udax_munmap(p, PAGE);
}

static pid_t start(const char *path, int flags, void (*map)(int fd), time_t end)
{
	pid_t pid = fork();

	if (pid < 0)
		err(1, "fork");
	if (pid)
		return pid;
	while (time(NULL) < end) {
		int fd = open(path, O_RDWR | O_CLOEXEC | flags);

		if (fd < 0)
			err(1, "%s", path);
		map(fd);
		close(fd);
		usleep((useconds_t)(rand() % 300)); /* else the file would never be closed by all */
	}
	_exit(0);
}

static int wait_for(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) != pid || status != 0;
}

int main(int argc, char **argv)
{
	pid_t pids[3];
	time_t end;
	int fd, bad = 0;

	if (argc != 3)
		errx(2, "usage: tool_modes FILE SECONDS");
	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	fd = open(argv[1], O_RDWR | O_CREAT, 0644);
	if (shared == MAP_FAILED || fd < 0 || ftruncate(fd, PAGE))
		err(1, "%s", argv[1]);
	close(fd);
	end = time(NULL) + atoi(argv[2]);
	pids[0] = start(argv[1], 0, map_by_kernel, end);
	pids[1] = start(argv[1], 0, map_by_kernel, end);
	pids[2] = start(argv[1], O_DIRECT, map_directly, end);
	for (unsigned i = 0; i < 3; i++)
		bad |= wait_for(pids[i]);
	if (!bad && (shared->was_cached < ENOUGH || shared->was_direct < ENOUGH))
		errx(1, "mapped %u times by the kernel, %u times directly: too few to say anything",
		     shared->was_cached, shared->was_direct);
	return bad;
}
