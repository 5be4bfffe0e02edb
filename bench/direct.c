/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * direct.c - what bench/run times of mappings, one a call:
 *
 *	bench_direct FILE ROW
 *
 * maps FILE shared, does ROW, and prints one number: bytes or operations per second. The same program
 * maps a file of a udaxfs mount directly (under udaxrun), the same file through the kernel, or a file
 * on tmpfs; it knows nothing of the difference but how a store is made durable: by udax_persist() if
 * the mapping is libudax's, by flushing the CPU's caches with "raw_" rows, by msync(2) with "msync_".
 * Memory that stands behind the file has been touched by whoever made it.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <libpmem.h>
#include <linux/falloc.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096ul
#define MIB (1ul << 20)
#define WORKING_BYTES (256 * MIB)
#define TOUCHED_BYTES (1024 * MIB)
#define STORES 20000
#define MSYNC_STORES 2000
#define ACCESSES 4000000
#define PUNCHES 200
#define FAULTS 10000ul /* pieces: libudax maps 24000 at most */
#define MAPPERS 64

static int fd;
static unsigned char *map;
static double started;

static void die(const char *what)
{
	fprintf(stderr, "bench_direct: %s: %s\n", what, strerror(errno));
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

static void report(double amount)
{
	printf("%.3f\n", amount / (now() - started));
}

static uint64_t next_random(void)
{
	static uint64_t state = 88172645463325252u;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static void map_bytes(size_t bytes)
{
	map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		die("mmap");
}

static void touch_all(size_t bytes)
{
	for (size_t at = 0; at < bytes; at += PAGE)
		((volatile unsigned char *)map)[at] = 1;
}

/* A file of @bytes, with blocks behind it, of which no page is mapped. */
static void make_file(size_t bytes, int preallocated)
{
	if (ftruncate(fd, 0) || ftruncate(fd, (off_t)bytes))
		die("truncate");
	if (preallocated && fallocate(fd, 0, 0, (off_t)bytes))
		die("fallocate");
}

static void row_load(void)
{
	volatile uint64_t sum = 0;
	uint64_t s = 0;

	make_file(WORKING_BYTES, 1);
	map_bytes(WORKING_BYTES);
	touch_all(WORKING_BYTES);
	start();
	for (unsigned round = 0; round < 4; round++)
		for (size_t i = 0; i < WORKING_BYTES / 8; i++)
			s += ((uint64_t *)map)[i];
	sum = s;
	(void)sum;
	report(4.0 * WORKING_BYTES);
}

static void row_store(void)
{
	make_file(WORKING_BYTES, 1);
	map_bytes(WORKING_BYTES);
	touch_all(WORKING_BYTES);
	start();
	for (unsigned round = 0; round < 4; round++)
		memset(map, (int)round, WORKING_BYTES);
	report(4.0 * WORKING_BYTES);
}

static void row_random(void)
{
	uint64_t sum = 0;

	make_file(WORKING_BYTES, 1);
	map_bytes(WORKING_BYTES);
	touch_all(WORKING_BYTES);
	start();
	for (unsigned i = 0; i < ACCESSES; i++)
		sum += map[next_random() % (WORKING_BYTES / 64) * 64];
	report(ACCESSES);
	if (sum == 1) /* so that the loads are not dropped */
		puts("");
}

static int persist_msync(const void *addr, size_t len)
{
	return msync((void *)(uintptr_t)addr, len, MS_SYNC);
}

static int persist_raw(const void *addr, size_t len)
{
	pmem_persist(addr, len);
	return 0;
}

static void durable(int (*persist)(const void *addr, size_t len), unsigned count)
{
	unsigned char page[PAGE];

	make_file(WORKING_BYTES, 1);
	map_bytes(WORKING_BYTES);
	touch_all(WORKING_BYTES);
	memset(page, 0x5a, sizeof(page));
	start();
	for (unsigned i = 0; i < count; i++) {
		unsigned char *to = map + next_random() % (WORKING_BYTES / PAGE) * PAGE;

		memcpy(to, page, PAGE);
		if (persist(to, PAGE))
			die("persist");
	}
	report(count);
}

static void row_durable(void)
{
	int (*persist)(const void *, size_t) = dlsym(RTLD_DEFAULT, "udax_persist");

	if (!persist) {
		fputs("bench_direct: not under udaxrun\n", stderr);
		exit(1);
	}
	durable(persist, STORES);
}

static void row_raw_durable(void)
{
	durable(persist_raw, STORES);
}

static void row_msync_durable(void)
{
	durable(persist_msync, MSYNC_STORES);
}

static void first_touch(int preallocated)
{
	make_file(TOUCHED_BYTES, preallocated);
	if (preallocated) { /* the memory is there; whether it is mapped is what counts */
		map_bytes(TOUCHED_BYTES);
		touch_all(TOUCHED_BYTES);
		munmap(map, TOUCHED_BYTES);
	}
	map_bytes(TOUCHED_BYTES);
	start();
	touch_all(TOUCHED_BYTES);
	report((double)TOUCHED_BYTES / PAGE);
}

static void row_first_touch(void)
{
	first_touch(1);
}

static void row_first_write_touch(void)
{
	first_touch(0);
}

/* Every second page is a hole, so that no fault is answered with more than its page. */
static void row_fault(void)
{
	uint64_t sum = 0;

	if (ftruncate(fd, 0) || ftruncate(fd, (off_t)(2 * FAULTS * PAGE)))
		die("truncate");
	for (unsigned i = 0; i < FAULTS; i++)
		if (pwrite(fd, "x", 1, (off_t)(2 * i * PAGE)) != 1)
			die("write");
	map = mmap(NULL, 2 * FAULTS * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		die("mmap");
	start();
	for (unsigned i = 0; i < FAULTS; i++)
		sum += map[2 * i * PAGE];
	report(FAULTS);
	if (sum != FAULTS * 'x') {
		fputs("bench_direct: other bytes\n", stderr);
		exit(1);
	}
}

/* The other process: wait for a touch, put a page there, which wakes. Ends with the one that touches. */
static void serve_faults(int uffd)
{
	static unsigned char page[PAGE] __attribute__((aligned(PAGE))) = { 'x' };
	struct uffd_msg msg;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(uffd, &msg, sizeof(msg)) == (ssize_t)sizeof(msg)) {
		struct uffdio_copy copy = { .dst = msg.arg.pagefault.address & ~(PAGE - 1),
					    .src = (uintptr_t)page,
					    .len = PAGE };

		if (ioctl(uffd, UFFDIO_COPY, &copy))
			die("UFFDIO_COPY");
	}
	die("userfaultfd");
}

static int userfaultfd_of(void *mem, size_t bytes)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .range = { (uintptr_t)mem, bytes },
				       .mode = UFFDIO_REGISTER_MODE_MISSING };
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) || ioctl(uffd, UFFDIO_REGISTER, &reg))
		die("userfaultfd");
	return uffd;
}

static void row_bare_fault(void)
{
	uint64_t sum = 0;
	int uffd;
	pid_t pid;

	map = mmap(NULL, FAULTS * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED)
		die("mmap");
	uffd = userfaultfd_of(map, FAULTS * PAGE);
	pid = fork();
	if (pid == 0)
		serve_faults(uffd);
	start();
	for (unsigned i = 0; i < FAULTS; i++)
		sum += map[i * PAGE];
	report(FAULTS);
	kill(pid, SIGKILL);
	if (sum != FAULTS * 'x')
		exit(1);
}

/* Punch pages that @n processes have mapped, and touch again in between. */
static void punch(unsigned n)
{
	int go[2], done[2];
	char byte = 0;

	make_file(WORKING_BYTES, 1);
	if (pipe(go) || pipe(done))
		die("pipe");
	for (unsigned i = 0; i < n; i++) {
		if (fork())
			continue;
		map_bytes(WORKING_BYTES);
		touch_all(64 * MIB);
		(void)!write(done[1], &byte, 1);
		(void)!read(go[0], &byte, 1);
		_exit(0);
	}
	for (unsigned i = 0; i < n; i++)
		(void)!read(done[0], &byte, 1);
	start();
	for (unsigned i = 0; i < PUNCHES; i++)
		if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			      (off_t)(i * 16 * PAGE), PAGE))
			die("punch");
	report(PUNCHES);
	for (unsigned i = 0; i < n; i++)
		(void)!write(go[1], &byte, 1);
	while (wait(NULL) > 0)
		;
}

static void row_punch_1(void)
{
	punch(1);
}

static void row_punch_64(void)
{
	punch(MAPPERS);
}

static const struct {
	const char *name;
	void (*run)(void);
} rows[] = {
	{ "load", row_load },
	{ "store", row_store },
	{ "random", row_random },
	{ "durable", row_durable },
	{ "raw_durable", row_raw_durable },
	{ "msync_durable", row_msync_durable },
	{ "first_touch", row_first_touch },
	{ "first_write_touch", row_first_write_touch },
	{ "fault", row_fault },
	{ "bare_fault", row_bare_fault },
	{ "punch_1", row_punch_1 },
	{ "punch_64", row_punch_64 },
};

int main(int argc, char **argv)
{
	if (argc != 3) {
		fputs("usage: bench_direct FILE ROW\n", stderr);
		return 2;
	}
	fd = open(argv[1], O_RDWR | O_CREAT, 0644);
	if (fd < 0)
		die(argv[1]);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (strcmp(argv[2], rows[i].name) == 0) {
			rows[i].run();
			unlink(argv[1]);
			return 0;
		}
	}
	fprintf(stderr, "bench_direct: no row %s\n", argv[2]);
	return 2;
}
