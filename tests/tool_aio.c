/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * tool_aio.c - tool_aio FILE ROUNDS: asynchronous O_DIRECT writes while others read the same file
 * through the page cache. When a write has completed, a read through the cache has to see it; a
 * page that was filled meanwhile from before the write must not have stayed. Exit status 1 with a
 * sentence if one did.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILE_BYTES (640 << 10)
#define NREADERS 2

struct race {
	int cached_fd, direct_fd;
	atomic_bool ending;
};

static void die(const char *what)
{
	perror(what);
	exit(2);
}

static void *reader(void *arg)
{
	struct race *race = arg;
	char *buf = malloc(FILE_BYTES);

	while (buf && !atomic_load(&race->ending))
		if (pread(race->cached_fd, buf, FILE_BYTES, 0) < 0)
			die("read by a reader");
	free(buf);
	return NULL;
}

static void write_async(aio_context_t ctx, int fd, const char *buf)
{
	struct iocb cb = {
		.aio_lio_opcode = IOCB_CMD_PWRITE,
		.aio_fildes = (__u32)fd,
		.aio_buf = (__u64)(uintptr_t)buf,
		.aio_nbytes = FILE_BYTES,
	};
	struct iocb *cbs[] = { &cb };
	struct io_event event;

	if (syscall(SYS_io_submit, ctx, 1, cbs) != 1)
		die("io_submit");
	if (syscall(SYS_io_getevents, ctx, 1, 1, &event, NULL) != 1)
		die("io_getevents");
	if (event.res != FILE_BYTES) {
		errno = event.res < 0 ? (int)-event.res : EIO;
		die("asynchronous write");
	}
}

/* 0, or 1 when a read found old bytes. */
static int run_round(struct race *race, aio_context_t ctx, char *written, char *seen, int round)
{
	memset(written, 'a' + round % 26, FILE_BYTES);
	write_async(ctx, race->direct_fd, written);
	if (pread(race->cached_fd, seen, FILE_BYTES, 0) != FILE_BYTES)
		die("read");
	for (int i = 0; i < FILE_BYTES; i++) {
		if (seen[i] != written[i]) {
			fprintf(stderr, "round %d: byte %d is '%c', but '%c' was written\n", round,
				i, seen[i], written[i]);
			return 1;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct race race = { .ending = false };
	pthread_t threads[NREADERS];
	aio_context_t ctx = 0;
	char *written, *seen;
	int status = 0;
	long rounds;

	if (argc != 3) {
		fprintf(stderr, "usage: tool_aio FILE ROUNDS\n");
		return 2;
	}
	rounds = strtol(argv[2], NULL, 10);
	race.cached_fd = open(argv[1], O_RDWR | O_CREAT, 0600);
	race.direct_fd = open(argv[1], O_RDWR | O_DIRECT);
	if (race.cached_fd < 0 || race.direct_fd < 0)
		die(argv[1]);
	if (ftruncate(race.cached_fd, FILE_BYTES) || syscall(SYS_io_setup, 1, &ctx) ||
	    posix_memalign((void **)&written, 4096, FILE_BYTES) || !(seen = malloc(FILE_BYTES)))
		die("setting up");
	for (int i = 0; i < NREADERS; i++)
		if (pthread_create(&threads[i], NULL, reader, &race))
			die("pthread_create");
	for (int i = 0; !status && i < (int)rounds; i++)
		status = run_round(&race, ctx, written, seen, i);
	atomic_store(&race.ending, true);
	for (int i = 0; i < NREADERS; i++)
		pthread_join(threads[i], NULL);
	free(written);
	free(seen);
	return status;
}
