/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * ops.c - the loops that bench/run times, one a call:
 *
 *	bench_ops DIR ROW COUNT
 *
 * does ROW in the directory DIR and prints one number: operations per second, or bytes per second
 * for the rows that move data in large pieces. Everything it needs is prepared before the clock
 * starts and removed after it stops. Random positions come from a fixed seed, so two filesystems
 * get the same ones.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define KIB 1024L
#define MIB (1024L * KIB)
#define FILE_BYTES (128 * MIB)
#define PAGE 4096L

static unsigned char *buffer; /* 1 MiB, aligned for O_DIRECT */
static double started;

static void die(const char *what)
{
	fprintf(stderr, "bench_ops: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void start(void)
{
	started = now();
}

/* Let the kernel forget names and inodes, while the clock stands. */
static void forget_names(void)
{
	double began = now();
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);

	if (fd < 0 || write(fd, "2", 1) != 1)
		die("/proc/sys/vm/drop_caches");
	close(fd);
	started += now() - began;
}

/*
 * passthrough_ll keeps a descriptor for each file that the kernel remembers, and there are only so
 * many. So after each BENCH_BATCH names the kernel is made to forget, for everybody alike, while the
 * clock stands.
 */
static void take_breath(long done)
{
	static long batch = -1;

	if (batch < 0)
		batch = getenv("BENCH_BATCH") ? atol(getenv("BENCH_BATCH")) : 0;
	if (batch && (done + 1) % batch == 0)
		forget_names();
}

static void report(double amount)
{
	printf("%.3f\n", amount / (now() - started));
}

static long next_random(long below)
{
	static uint64_t state = 0x9e3779b97f4a7c15u;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (long)(state % (uint64_t)below);
}

static void must_move(ssize_t n, long want, const char *what)
{
	if (n != want)
		die(what);
}

/* A written file of FILE_BYTES, of which the kernel has no copy. */
static int data_file(int flags)
{
	int fd = open("data", O_RDWR | O_CREAT | O_TRUNC, 0644);

	if (fd < 0)
		die("create data");
	for (long at = 0; at < FILE_BYTES; at += MIB)
		must_move(pwrite(fd, buffer, (size_t)MIB, at), MIB, "fill data");
	if (fsync(fd) || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED))
		die("fsync data");
	close(fd);
	fd = open("data", O_RDWR | flags);
	if (fd < 0)
		die("open data");
	return fd;
}

static void random_io(int flags, int write_it, long count)
{
	int fd = data_file(flags);

	start();
	for (long i = 0; i < count; i++) {
		long at = next_random(FILE_BYTES / PAGE) * PAGE;

		if (write_it)
			must_move(pwrite(fd, buffer, (size_t)PAGE, at), PAGE, "write");
		else
			must_move(pread(fd, buffer, (size_t)PAGE, at), PAGE, "read");
	}
	report((double)count);
	close(fd);
	unlink("data");
}

static void sequential(int flags, int write_it, long count)
{
	int fd = data_file(flags);

	start();
	for (long i = 0; i < count; i++) {
		long at = i % (FILE_BYTES / MIB) * MIB;

		if (!write_it && at == 0 && !(flags & O_DIRECT))
			posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		if (write_it)
			must_move(pwrite(fd, buffer, (size_t)MIB, at), MIB, "write");
		else
			must_move(pread(fd, buffer, (size_t)MIB, at), MIB, "read");
	}
	report((double)count * (double)MIB);
	close(fd);
	unlink("data");
}

static void name_of(char *path, long i)
{
	snprintf(path, 64, "names/%08lx", (unsigned long)i);
}

static void make_names(long first, long count)
{
	char path[64];

	for (long i = first; i < first + count; i++) {
		int fd;

		name_of(path, i);
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
		if (fd < 0)
			die("create");
		close(fd);
		take_breath(i);
	}
}

static void remove_names(long count)
{
	char path[64];

	for (long i = 0; i < count; i++) {
		name_of(path, i);
		unlink(path);
		take_breath(i);
	}
}

static void row_create(long count)
{
	if (mkdir("names", 0755))
		die("mkdir");
	start();
	make_names(0, count);
	report((double)count);
}

/* The names of row_create stand; the caller has made the kernel forget them. */
static void row_stat(long count)
{
	struct stat st;
	char path[64];

	start();
	for (long i = 0; i < count; i++) {
		name_of(path, i);
		if (stat(path, &st))
			die("stat");
		take_breath(i);
	}
	report((double)count);
}

static void row_unlink(long count)
{
	start();
	remove_names(count);
	report((double)count);
	rmdir("names");
}

static void row_readdir(long count)
{
	DIR *dir = opendir("names");
	long n = 0;

	if (!dir)
		die("opendir");
	start();
	while (readdir(dir))
		take_breath(n++);
	report((double)n);
	closedir(dir);
	if (n < count)
		die("names are missing");
}

/* 10,000 more names in a directory that has @count. */
static void row_grow(long count)
{
	start();
	make_names(count, 10000);
	report(10000);
}

/* 10,000 lookups among @count names, each of one that the kernel does not know (any more). */
static void row_stat_some(long count)
{
	struct stat st;
	char path[64];

	start();
	for (long i = 0; i < 10000; i++) {
		if (i % count == 0 && i)
			forget_names();
		name_of(path, count > 10000 ? next_random(count) : i % count);
		if (stat(path, &st))
			die("stat");
	}
	report(10000);
}

static void row_append(long count)
{
	int fd = open("data", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0644);

	if (fd < 0)
		die("create data");
	start();
	for (long i = 0; i < count; i++) {
		must_move(write(fd, buffer, (size_t)PAGE), PAGE, "append");
		if (fsync(fd))
			die("fsync");
	}
	report((double)count);
	close(fd);
	unlink("data");
}

static void row_punch(long count)
{
	int fd = data_file(0);

	start();
	for (long i = 0; i < count; i++)
		if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			      i % (FILE_BYTES / PAGE) * PAGE, PAGE))
			die("punch");
	report((double)count);
	close(fd);
	unlink("data");
}

static void row_mmap(long count)
{
	int fd = data_file(0);
	volatile unsigned char *map = mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	unsigned sum = 0;

	if (map == MAP_FAILED)
		die("mmap");
	start();
	for (long i = 0; i < count; i++)
		sum += map[i % (FILE_BYTES / PAGE) * PAGE];
	report((double)count);
	munmap((void *)(uintptr_t)map, FILE_BYTES);
	close(fd);
	unlink("data");
	if (sum == 1) /* so that the loads are not dropped */
		puts("");
}

static void row_read_4k(long n)
{
	random_io(0, 0, n);
}
static void row_write_4k(long n)
{
	random_io(0, 1, n);
}
static void row_read_4k_direct(long n)
{
	random_io(O_DIRECT, 0, n);
}
static void row_write_4k_direct(long n)
{
	random_io(O_DIRECT, 1, n);
}
static void row_read_1m(long n)
{
	sequential(0, 0, n);
}
static void row_write_1m(long n)
{
	sequential(0, 1, n);
}
static void row_read_1m_direct(long n)
{
	sequential(O_DIRECT, 0, n);
}
static void row_write_1m_direct(long n)
{
	sequential(O_DIRECT, 1, n);
}

static const struct {
	const char *name;
	void (*run)(long count);
} rows[] = {
	{ "read_4k", row_read_4k },
	{ "write_4k", row_write_4k },
	{ "read_4k_direct", row_read_4k_direct },
	{ "write_4k_direct", row_write_4k_direct },
	{ "read_1m", row_read_1m },
	{ "write_1m", row_write_1m },
	{ "read_1m_direct", row_read_1m_direct },
	{ "write_1m_direct", row_write_1m_direct },
	{ "create", row_create },
	{ "stat", row_stat },
	{ "readdir", row_readdir },
	{ "unlink", row_unlink },
	{ "grow", row_grow },
	{ "stat_some", row_stat_some },
	{ "append_fsync", row_append },
	{ "punch_4k", row_punch },
	{ "mmap_first_touch", row_mmap },
};

int main(int argc, char **argv)
{
	if (argc != 4 || chdir(argv[1])) {
		fprintf(stderr, "usage: bench_ops DIR ROW COUNT\n");
		return 2;
	}
	buffer = aligned_alloc((size_t)PAGE, (size_t)MIB);
	if (!buffer)
		die("memory");
	memset(buffer, 0x5a, (size_t)MIB);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (strcmp(argv[2], rows[i].name) == 0) {
			rows[i].run(atol(argv[3]));
			return 0;
		}
	}
	fprintf(stderr, "bench_ops: no row %s\n", argv[2]);
	return 2;
}
