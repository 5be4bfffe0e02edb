/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * tool_unaware.c - a program that knows nothing of udaxfs, and hands a mapping of its file to whatever takes a
 * buffer:
 *
 *	tool_unaware DIRECTORY [direct]		direct: the mapping must show no file of that directory
 *
 * Every call gets pages that nobody has touched yet, and its bytes are compared with those that it should
 * have moved. The same program passes on any filesystem.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "maps.h"

#define STEP 16384u
#define BYTES 9001u /* more than a page, and no multiple of one */
#define FILE_BYTES (256 * (size_t)STEP)

static char pattern[BYTES];
static char *base, *next;
static int source, sink, socks[2];
static FILE *in, *out;
static bool direct;

#define MUST(condition)                                                                            \
	do {                                                                                       \
		if (!(condition))                                                                  \
			err(1, "line %d: %s", __LINE__, #condition);                               \
	} while (0)

/* Pages of the mapping that nobody has touched. */
static char *fresh(void)
{
	char *p = next;

	next += STEP;
	MUST(next <= base + FILE_BYTES);
	return p;
}

/* The same, where the file has the pattern. */
static char *filled(int fd)
{
	char *p = fresh();

	MUST(pwrite(fd, pattern, BYTES, p - base) == BYTES);
	return p;
}

static void rewind_all(void)
{
	MUST(lseek(source, 0, SEEK_SET) == 0 && lseek(sink, 0, SEEK_SET) == 0);
	MUST(ftruncate(sink, 0) == 0);
	rewind(in);
	rewind(out);
}

static void in_sink(void)
{
	static char buf[BYTES];

	MUST(pread(sink, buf, BYTES, 0) == BYTES && !memcmp(buf, pattern, BYTES));
}

#define READS(call)                                                                                \
	do {                                                                                       \
		char *p = fresh();                                                                 \
		struct iovec iov[2] = { { p, 100 }, { p + 100, BYTES - 100 } };                    \
		(void)iov;                                                                         \
		rewind_all();                                                                      \
		MUST((call) == BYTES);                                                             \
		if (memcmp(p, pattern, BYTES) != 0)                                                \
			errx(1, "line %d: other bytes", __LINE__);                                 \
	} while (0)

#define WRITES(call)                                                                               \
	do {                                                                                       \
		char *p = filled(fd);                                                              \
		struct iovec iov[2] = { { p, 100 }, { p + 100, BYTES - 100 } };                    \
		(void)iov;                                                                         \
		rewind_all();                                                                      \
		MUST((call) == BYTES);                                                             \
		in_sink();                                                                         \
	} while (0)

static void files(int fd)
{
	READS(read(source, p, BYTES));
	READS(pread(source, p, BYTES, 0));
	READS(readv(source, iov, 2));
	READS(preadv(source, iov, 2, 0));
	READS(preadv2(source, iov, 2, 0, 0));
	READS(preadv2(source, iov, 2, -1, 0));
	READS(fread(p, 1, BYTES, in));
	WRITES(write(sink, p, BYTES));
	WRITES(pwrite(sink, p, BYTES, 0));
	WRITES(writev(sink, iov, 2));
	WRITES(pwritev(sink, iov, 2, 0));
	WRITES(pwritev2(sink, iov, 2, 0, 0));
	WRITES(pwritev2(sink, iov, 2, -1, 0));
	WRITES(fwrite(p, 1, BYTES, out) + (size_t)fflush(out));
}

static void sockets(int fd)
{
	READS(send(socks[0], pattern, BYTES, 0) == BYTES ? recv(socks[1], p, BYTES, 0) : -1);
	READS(send(socks[0], pattern, BYTES, 0) == BYTES
		      ? recvfrom(socks[1], p, BYTES, 0, NULL, NULL)
		      : -1);
	READS(send(socks[0], filled(fd), BYTES, 0) == BYTES ? read(socks[1], p, BYTES) : -1);
	READS(sendto(socks[0], filled(fd), BYTES, 0, NULL, 0) == BYTES ? read(socks[1], p, BYTES)
								       : -1);
}

/* From the file into its own mapping, and back, past the end of what was there. */
static void itself(int fd)
{
	char *p = filled(fd), *q = fresh(), *r = fresh();

	MUST(pread(fd, q, BYTES, p - base) == BYTES && !memcmp(q, pattern, BYTES));
	MUST(pwrite(fd, q, BYTES, r - base) == BYTES && !memcmp(r, pattern, BYTES));
}

static void locking(void)
{
	char *p = fresh();

	MUST(mlock(p + 1, 10) == 0 && munlock(p + 1, 10) == 0);
	MUST(mlock2(fresh(), 10, MLOCK_ONFAULT) == 0);
	MUST(posix_madvise(p, STEP, POSIX_MADV_WILLNEED) == 0);
	p = fresh();
	MUST(pkey_mprotect(p, STEP, PROT_READ, -1) == 0 && p[0] == 0);
	MUST(pkey_mprotect(p, STEP, PROT_READ | PROT_WRITE, -1) == 0);
	p[0] = 'w'; /* must not stay in a page of zeroes */
}

static void flags(int fd)
{
	int copy = dup(fd), other = dup2(fd, 100);

	MUST(other == 100 && !(fcntl(fd, F_GETFL) & O_DIRECT) &&
	     !(fcntl(copy, F_GETFL) & O_DIRECT));
	MUST(fcntl(copy, F_SETFL, O_APPEND) == 0 && fcntl(fd, F_GETFL) & O_APPEND);
	MUST(fcntl(fd, F_SETFL, 0) == 0 && !(fcntl(100, F_GETFL) & (O_DIRECT | O_APPEND)));
	MUST(close(copy) == 0 && close(100) == 0);
}

/* What would keep hold of a block, or mix the region's pages up. */
static void refused(void)
{
	int pipes[2];
	struct iovec iov = { fresh(), 100 };

	MUST(pipe(pipes) == 0);
	MUST(vmsplice(pipes[1], &iov, 1, 0) == -1 && errno == EINVAL);
	MUST(remap_file_pages(iov.iov_base, STEP, 0, 0, 0) == -1 && errno == EINVAL);
	iov.iov_base = fresh();
	MUST(pwritev2(sink, &iov, 1, 0, RWF_DSYNC) == -1 && errno == EOPNOTSUPP);
}

static void open_all(void)
{
	for (unsigned i = 0; i < BYTES; i++)
		pattern[i] = (char)(i * 7 + i / 256 + 1);
	source = open("source", O_RDWR | O_CREAT | O_TRUNC, 0644);
	MUST(write(source, pattern, BYTES) == BYTES);
	sink = open("sink", O_RDWR | O_CREAT | O_TRUNC, 0644);
	in = fopen("source", "r");
	out = fopen("sink", "r+");
	MUST(in && out && socketpair(AF_UNIX, SOCK_STREAM, 0, socks) == 0);
}

int main(int argc, char **argv)
{
	int fd;

	if (argc < 2 || chdir(argv[1]))
		errx(2, "usage: tool_unaware DIRECTORY [direct]");
	direct = argc > 2;
	open_all();
	fd = open("mapped", O_RDWR | O_CREAT | O_TRUNC, 0644);
	MUST(fd >= 0 && ftruncate(fd, (off_t)FILE_BYTES) == 0);
	base = next = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(base != MAP_FAILED);
	files(fd);
	sockets(fd);
	itself(fd);
	locking();
	flags(fd);
	if (direct)
		refused();
	MUST(maps_show(base, "/mapped") == !direct && maps_show(base, MAPS_REGION) == direct);
	MUST(msync(base, FILE_BYTES, MS_SYNC) == 0);
	MUST(fwrite(base, 1, FILE_BYTES, stdout) == FILE_BYTES && fflush(stdout) == 0);
	return 0;
}
