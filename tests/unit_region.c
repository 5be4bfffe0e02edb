/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_region.c - regions on files: domains, stores, growth, msync, damage, and what is refused.
 *
 * This program has its own msync(), found before the C library's, so that tests can see what a
 * drain syncs, make it wait, and make it fail. It still syncs.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "region.h"

#define BYTES (1u << 20)
#define PAGE 4096u
#define TMPFS_TYPE 0x01021994

/* ---- msync, watched ------------------------------------------------------------------------- */

static struct {
	pthread_mutex_t lock;
	unsigned nr;
	struct {
		const void *addr;
		size_t len;
	} calls[300];
	int fail_with;	/* errno; 0: do not fail */
	bool hold_next; /* the next call posts `held` and waits for `go_on` */
	sem_t held, go_on;
} watch = { .lock = PTHREAD_MUTEX_INITIALIZER };

int msync(void *addr, size_t len, int flags)
{
	bool hold;
	int error;

	pthread_mutex_lock(&watch.lock);
	if (watch.nr < sizeof(watch.calls) / sizeof(watch.calls[0])) {
		watch.calls[watch.nr].addr = addr;
		watch.calls[watch.nr].len = len;
	}
	watch.nr++;
	hold = watch.hold_next;
	watch.hold_next = false;
	error = watch.fail_with;
	pthread_mutex_unlock(&watch.lock);
	if (hold) {
		sem_post(&watch.held);
		while (sem_wait(&watch.go_on))
			;
	}
	if (error) {
		errno = error;
		return -1;
	}
	return (int)syscall(SYS_msync, addr, len, flags);
}

/* ---- files to work on ------------------------------------------------------------------------- */

struct fixture {
	char dir[64];
	char path[80];
	struct region *r;
};

static struct region *sigbus_region; /* whose damage the handler contains */

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	(void)context;
	if (!sigbus_region || !region_sigbus(sigbus_region, info->si_addr))
		signal(sig, SIG_DFL); /* the access is repeated, and fatal */
}

static void install_handler(void)
{
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };

	assert_int_equal(sigaction(SIGBUS, &action, NULL), 0);
}

static void make_file(const char *path, off_t bytes)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, bytes), 0);
	close(fd);
}

static struct region *open_region(const char *path, unsigned flags, uint32_t granule_bytes)
{
	struct region *r = NULL;
	char err[512] = "";
	int rc = region_open(path, flags, granule_bytes, &r, err, sizeof(err));

	if (rc)
		print_error("region_open: %d, %s\n", rc, err);
	assert_int_equal(rc, 0);
	sigbus_region = r;
	install_handler(); /* here, because cmocka puts its own in place before each test */
	return r;
}

static int setup_in(void **state, const char *parent)
{
	struct fixture *fx = calloc(1, sizeof(*fx));

	if (!fx)
		return -1;
	snprintf(fx->dir, sizeof(fx->dir), "%s/udax-unit.XXXXXX", parent);
	if (!mkdtemp(fx->dir))
		return -1;
	snprintf(fx->path, sizeof(fx->path), "%s/region", fx->dir);
	make_file(fx->path, BYTES);
	*state = fx;
	return 0;
}

static int setup_tmpfs(void **state)
{
	return setup_in(state, "/dev/shm");
}

/* A directory whose files are neither on tmpfs nor on DAX; without one, fx->path is empty. */
static int setup_disk(void **state)
{
	const char *parents[] = { getenv("TMPDIR"), "/var/tmp", "." };
	struct statfs fs;

	for (unsigned i = 0; i < 3; i++) {
		if (parents[i] && strlen(parents[i]) < 40 && !access(parents[i], W_OK) &&
		    !statfs(parents[i], &fs) && fs.f_type != TMPFS_TYPE)
			return setup_in(state, parents[i]);
	}
	*state = calloc(1, sizeof(struct fixture));
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	struct fixture *fx = *state;

	sigbus_region = NULL;
	region_close(fx->r);
	if (fx->path[0]) {
		unlink(fx->path);
		rmdir(fx->dir);
	}
	free(fx);
	return 0;
}

/* Opens the region of a disk fixture, or skips the test and says why. */
static struct region *open_on_disk(struct fixture *fx)
{
	if (!fx->path[0]) {
		print_message("# SKIP no directory on a disk filesystem is writable\n");
		skip();
	}
	fx->r = open_region(fx->path, 0, 0);
	if (fx->r->domain != DURABILITY_FILE) {
		print_message("# SKIP %s is on a DAX filesystem\n", fx->path);
		skip();
	}
	watch.nr = 0;
	return fx->r;
}

static uint32_t next_random(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

/* ---- domains ---------------------------------------------------------------------------------- */

static void a_file_on_tmpfs_is_volatile(void **state)
{
	struct fixture *fx = *state;

	fx->r = open_region(fx->path, 0, 0);
	assert_int_equal(fx->r->domain, DURABILITY_VOLATILE);
	assert_string_equal(durability_name(fx->r->domain), "volatile");
	assert_string_equal(fx->r->ops->name, "file");
	assert_int_equal(fx->r->bytes, BYTES);
	assert_int_equal(fx->r->granule_bytes, PAGE);
	assert_false(fx->r->read_only);
}

static void a_file_on_a_disk_filesystem_is_file(void **state)
{
	struct region *r = open_on_disk(*state);

	assert_string_equal(durability_name(r->domain), "file");
}

static void a_file_is_pmem_when_told_to_assume_so(void **state)
{
	struct fixture *fx = *state;

	fx->r = open_region(fx->path, REGION_ASSUME_PMEM, 0);
	assert_int_equal(fx->r->domain, DURABILITY_PMEM);
	assert_string_equal(durability_name(fx->r->domain), "pmem");
}

static void a_memfd_is_volatile(void **state)
{
	struct fixture *fx = *state;
	char path[64];
	int fd = memfd_create("region", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, BYTES), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fx->r = open_region(path, 0, 0);
	assert_int_equal(fx->r->domain, DURABILITY_VOLATILE);
	region_store(fx->r, 5, "memfd", 5, HERE);
	region_drain(fx->r, HERE);
	assert_int_equal(pread(fd, path, 5, 5), 5);
	assert_memory_equal(path, "memfd", 5);
	close(fd);
}

static void the_first_byte_is_aligned_to_two_megabytes(void **state)
{
	struct fixture *fx = *state;

	fx->r = open_region(fx->path, 0, 0);
	assert_int_equal((uintptr_t)fx->r->base % (2u << 20), 0);
}

static void the_path_stays_right_when_the_working_directory_changes(void **state)
{
	struct fixture *fx = *state;
	char cwd[4096];

	assert_non_null(getcwd(cwd, sizeof(cwd)));
	assert_int_equal(chdir(fx->dir), 0);
	fx->r = open_region("region", 0, 0);
	assert_int_equal(chdir(cwd), 0);
	assert_string_equal(fx->r->path, fx->path);
	assert_false(region_clients_alive(fx->r));
}

static void a_tail_smaller_than_a_page_is_not_used(void **state)
{
	struct fixture *fx = *state;

	make_file(fx->path, BYTES + 1000);
	fx->r = open_region(fx->path, 0, 0);
	assert_int_equal(fx->r->bytes, BYTES);
}

/* ---- stores ----------------------------------------------------------------------------------- */

/* Every kind of store, at all sizes and alignments, against plain memory and through the file. */
static void check_stores(struct region *r)
{
	unsigned char *model = calloc(1, BYTES), *src = malloc(70000), *file = malloc(BYTES);
	uint32_t seed = 4242;

	assert_true(model && src && file);
	for (int i = 0; i < 4000; i++) {
		size_t max = i % 8 ? 300 : i % 16 ? 9000 : 70000;
		size_t len = next_random(&seed) % max;
		uint64_t off = next_random(&seed) % (BYTES - len);

		memset(src, (int)(seed % 255) + 1, len);
		switch (next_random(&seed) % 4) {
		case 0:
			region_zero(r, off, len, HERE);
			memset(model + off, 0, len);
			break;
		case 1:
			off &= ~UINT64_C(7);
			region_store64(r, off, seed, HERE);
			memcpy(model + off, &(uint64_t){ seed }, 8);
			break;
		default:
			region_store(r, off, src, len, HERE);
			memcpy(model + off, src, len);
		}
		if (i % 500 == 0)
			region_drain(r, HERE);
	}
	region_flush(r, 0, BYTES, HERE);
	region_drain(r, HERE);
	assert_memory_equal(region_ptr(r, 0, BYTES), model, BYTES);
	assert_int_equal(pread(r->fd, file, BYTES, 0), BYTES);
	assert_memory_equal(file, model, BYTES);
	free(model);
	free(src);
	free(file);
}

static void stores_reach_a_volatile_region_exactly(void **state)
{
	struct fixture *fx = *state;

	fx->r = open_region(fx->path, 0, 0);
	check_stores(fx->r);
}

static void stores_reach_a_pmem_region_exactly(void **state)
{
	struct fixture *fx = *state;

	fx->r = open_region(fx->path, REGION_ASSUME_PMEM, 0);
	check_stores(fx->r);
}

static void stores_reach_a_region_on_disk_exactly(void **state)
{
	check_stores(open_on_disk(*state));
}

static void stores_survive_closing_and_opening(void **state)
{
	struct fixture *fx = *state;

	fx->r = open_region(fx->path, 0, 0);
	region_store(fx->r, 70000, "again", 5, HERE);
	region_close(fx->r);
	fx->r = open_region(fx->path, REGION_RDONLY, 0);
	assert_true(fx->r->read_only);
	assert_memory_equal(region_ptr(fx->r, 70000, 5), "again", 5);
}

/* ---- msync ------------------------------------------------------------------------------------ */

static bool was_synced(const struct region *r, uint64_t page)
{
	const unsigned char *at = r->base + page * PAGE;

	for (unsigned i = 0; i < watch.nr; i++) {
		const unsigned char *from = watch.calls[i].addr;

		if (from <= at && at + PAGE <= from + watch.calls[i].len)
			return true;
	}
	return false;
}

static void a_drain_syncs_the_pages_that_were_touched_and_no_others(void **state)
{
	struct region *r = open_on_disk(*state);

	region_store(r, 3 * PAGE + 4090, "123456789", 9, HERE); /* pages 3 and 4 */
	region_store64(r, 9 * PAGE, 1, HERE);
	region_zero(r, 8 * PAGE, 1, HERE); /* next to 9 on either side: one call */
	region_zero(r, 10 * PAGE, 1, HERE);
	region_store(r, 3 * PAGE, "x", 1, HERE); /* again */
	region_flush(r, 20 * PAGE, PAGE, HERE);
	assert_int_equal(watch.nr, 0);
	region_drain(r, HERE);
	assert_int_equal(watch.nr, 3);
	for (uint64_t page = 0; page < BYTES / PAGE; page++) {
		bool touched = page == 3 || page == 4 || (page >= 8 && page <= 10) || page == 20;

		assert_int_equal(was_synced(r, page), touched);
	}
	region_drain(r, HERE);
	assert_int_equal(watch.nr, 3);
}

static void scattered_stores_are_all_synced_in_few_calls(void **state)
{
	struct region *r = open_on_disk(*state);

	for (uint64_t i = 0; i < BYTES / PAGE; i += 2) /* 128 ranges */
		region_store(r, (i * 37 % (BYTES / PAGE)) * PAGE, "x", 1, HERE);
	region_drain(r, HERE);
	for (uint64_t i = 0; i < BYTES / PAGE; i += 2)
		assert_true(was_synced(r, i * 37 % (BYTES / PAGE)));
	assert_in_range(watch.nr, 1, 64);
}

static void random_stores_are_synced_without_a_gap(void **state)
{
	struct region *r = open_on_disk(*state);
	uint32_t seed = 99;

	for (int round = 0; round < 200; round++) {
		bool touched[BYTES / PAGE] = { false };
		unsigned stores = next_random(&seed) % 60, extra = 0;

		watch.nr = 0;
		for (unsigned i = 0; i < stores; i++) {
			uint64_t off = next_random(&seed) % (BYTES - 5 * PAGE);
			size_t len = next_random(&seed) % (5 * PAGE) + 1;

			region_zero(r, off, len, HERE);
			for (uint64_t page = off / PAGE; page <= (off + len - 1) / PAGE; page++)
				touched[page] = true;
		}
		region_drain(r, HERE);
		for (uint64_t page = 0; page < BYTES / PAGE; page++) {
			if (touched[page])
				assert_true(was_synced(r, page));
			else
				extra += was_synced(r, page);
		}
		assert_int_equal(extra, 0); /* at most 60 ranges: none had to be joined */
	}
}

static void a_failed_msync_makes_its_range_bad_and_only_that(void **state)
{
	struct region *r = open_on_disk(*state);

	region_store(r, 5 * PAGE, "lost", 4, HERE);
	watch.fail_with = EIO;
	region_drain(r, HERE);
	watch.fail_with = 0;
	assert_int_equal(region_check(r, 5 * PAGE, 1), -EIO);
	assert_int_equal(region_check(r, 4 * PAGE, PAGE), 0);
	assert_int_equal(region_check(r, 6 * PAGE, PAGE), 0);
	region_drain(r, HERE); /* a later success proves nothing */
	assert_int_equal(region_check(r, 5 * PAGE, 1), -EIO);
}

struct drainer {
	pthread_t thread;
	struct region *r;
	bool done;
};

static void *drain_in_thread(void *arg)
{
	struct drainer *drainer = arg;

	region_drain(drainer->r, HERE);
	__atomic_store_n(&drainer->done, true, __ATOMIC_SEQ_CST);
	return NULL;
}

static void a_drain_waits_for_the_one_that_took_its_pages(void **state)
{
	struct region *r = open_on_disk(*state);
	struct drainer first = { .r = r }, second = { .r = r };

	sem_init(&watch.held, 0, 0);
	sem_init(&watch.go_on, 0, 0);
	region_store(r, 0, "mine", 4, HERE);
	watch.hold_next = true;
	assert_int_equal(pthread_create(&first.thread, NULL, drain_in_thread, &first), 0);
	while (sem_wait(&watch.held)) /* it has taken our page and is in msync */
		;
	assert_int_equal(pthread_create(&second.thread, NULL, drain_in_thread, &second), 0);
	nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
	assert_false(__atomic_load_n(&second.done, __ATOMIC_SEQ_CST));
	sem_post(&watch.go_on);
	pthread_join(first.thread, NULL);
	pthread_join(second.thread, NULL);
	assert_int_equal(watch.nr, 1);
	assert_int_equal(region_check(r, 0, 4), 0);
}

static void *store_and_drain(void *arg)
{
	struct drainer *drainer = arg;
	uint64_t base = drainer->done ? 0 : BYTES / 2;

	for (uint64_t i = 0; i < 100; i++) {
		region_store(drainer->r, base + i * 4096, &i, sizeof(i), HERE);
		region_drain(drainer->r, HERE);
	}
	return NULL;
}

static void threads_that_store_and_drain_at_once_lose_nothing(void **state)
{
	struct region *r = open_on_disk(*state);
	struct drainer low = { .r = r, .done = true }, high = { .r = r };

	assert_int_equal(pthread_create(&low.thread, NULL, store_and_drain, &low), 0);
	assert_int_equal(pthread_create(&high.thread, NULL, store_and_drain, &high), 0);
	pthread_join(low.thread, NULL);
	pthread_join(high.thread, NULL);
	for (uint64_t i = 0; i < 100; i++) {
		assert_true(was_synced(r, i));
		assert_true(was_synced(r, BYTES / 2 / PAGE + i));
	}
}

/* ---- growth ----------------------------------------------------------------------------------- */

static void a_region_grows_in_place(void **state)
{
	struct fixture *fx = *state;
	const unsigned char *base, *old;

	fx->r = open_region(fx->path, 0, 0);
	base = fx->r->base;
	region_store(fx->r, BYTES - 3, "end", 3, HERE);
	old = region_ptr(fx->r, BYTES - 3, 3);
	assert_int_equal(truncate(fx->path, 8 * (off_t)BYTES + 100), 0);
	assert_int_equal(region_grow(fx->r), 0);
	assert_int_equal(fx->r->bytes, 8 * BYTES);
	assert_ptr_equal(fx->r->base, base);
	assert_memory_equal(old, "end", 3);
	region_store(fx->r, BYTES - 2, "across", 6, HERE);
	assert_memory_equal(region_ptr(fx->r, BYTES - 2, 6), "across", 6);
	region_store(fx->r, 8 * BYTES - 4, "last", 4, HERE);
	assert_int_equal(region_check(fx->r, 0, 8 * BYTES), 0);
	assert_int_equal(region_grow(fx->r), 0); /* nothing new */
	assert_int_equal(fx->r->bytes, 8 * BYTES);
}

static void a_region_on_disk_grows_too(void **state)
{
	struct region *r = open_on_disk(*state);

	assert_int_equal(truncate(r->path, 2 * (off_t)BYTES), 0);
	assert_int_equal(region_grow(r), 0);
	region_store(r, BYTES + PAGE, "new", 3, HERE);
	region_drain(r, HERE);
	assert_true(was_synced(r, BYTES / PAGE + 1));
}

static void a_region_cannot_outgrow_the_reserved_addresses(void **state)
{
	struct fixture *fx = *state;

	fx->r = open_region(fx->path, 0, 0);
	assert_int_equal(truncate(fx->path, (off_t)1 << 40), 0);
	assert_int_equal(region_grow(fx->r), -ENOMEM);
	assert_int_equal(fx->r->bytes, BYTES);
}

static void a_shrunken_file_does_not_shrink_its_region(void **state)
{
	struct fixture *fx = *state;

	fx->r = open_region(fx->path, 0, 0);
	assert_int_equal(truncate(fx->path, BYTES / 2), 0);
	assert_int_equal(region_grow(fx->r), 0);
	assert_int_equal(fx->r->bytes, BYTES);
}

/* ---- damage ----------------------------------------------------------------------------------- */

static unsigned char load(const struct region *r, uint64_t off)
{
	return *(const volatile unsigned char *)region_ptr(r, off, 1);
}

static void a_load_from_a_truncated_file_is_contained(void **state)
{
	struct fixture *fx = *state;
	struct bad_range bad[2];

	fx->r = open_region(fx->path, 0, 0);
	region_store(fx->r, BYTES - 1, "x", 1, HERE);
	region_store(fx->r, 0, "kept", 4, HERE);
	assert_int_equal(truncate(fx->path, 10 * PAGE), 0);
	assert_int_equal(region_check(fx->r, 0, BYTES), 0);

	assert_int_equal(load(fx->r, 100 * PAGE + 5), 0);
	assert_int_equal(region_check(fx->r, 100 * PAGE, 1), -EIO);
	assert_int_equal(region_check(fx->r, 101 * PAGE - 1, 1), -EIO);
	assert_int_equal(region_check(fx->r, 0, BYTES), -EIO);
	assert_int_equal(region_check(fx->r, 0, 100 * PAGE), 0);
	assert_int_equal(region_check(fx->r, 101 * PAGE, BYTES - 101 * PAGE), 0);
	assert_memory_equal(region_ptr(fx->r, 0, 4), "kept", 4);

	assert_int_equal(load(fx->r, 101 * PAGE), 0);
	assert_int_equal(load(fx->r, BYTES - 1), 0);
	assert_int_equal(region_bad_ranges(fx->r, bad, 2), 2);
	assert_int_equal(bad[0].off, 100 * PAGE);
	assert_int_equal(bad[0].len, 2 * PAGE);
	assert_int_equal(bad[1].off, BYTES - PAGE);
	assert_int_equal(bad[1].len, PAGE);
}

static void a_store_to_a_truncated_file_is_contained(void **state)
{
	struct fixture *fx = *state;
	unsigned char *data = malloc(8 * PAGE);

	assert_non_null(data);
	memset(data, 'd', 8 * PAGE);
	fx->r = open_region(fx->path, 0, 0);
	assert_int_equal(truncate(fx->path, 4 * PAGE), 0);
	region_store(fx->r, 2 * PAGE, data, 4 * PAGE, HERE); /* two pages are there, two are not */
	region_store64(fx->r, 20 * PAGE, 1, HERE);
	region_zero(fx->r, 30 * PAGE, 100, HERE);
	region_drain(fx->r, HERE);
	assert_int_equal(region_check(fx->r, 0, 4 * PAGE), 0);
	assert_memory_equal(region_ptr(fx->r, 2 * PAGE, 2 * PAGE), data, 2 * PAGE);
	assert_int_equal(region_check(fx->r, 4 * PAGE, PAGE), -EIO);
	assert_int_equal(region_check(fx->r, 5 * PAGE, PAGE), -EIO);
	assert_int_equal(region_check(fx->r, 6 * PAGE, 14 * PAGE), 0);
	assert_int_equal(region_check(fx->r, 20 * PAGE, 8), -EIO);
	assert_int_equal(region_check(fx->r, 30 * PAGE, 1), -EIO);
	free(data);
}

static void damage_of_a_region_opened_read_only_is_contained(void **state)
{
	struct fixture *fx = *state;

	fx->r = open_region(fx->path, REGION_RDONLY, 0);
	assert_int_equal(truncate(fx->path, PAGE), 0);
	assert_int_equal(load(fx->r, PAGE), 0);
	assert_int_equal(region_check(fx->r, PAGE, 1), -EIO);
	assert_int_equal(region_check(fx->r, 0, PAGE), 0);
}

static void damage_behind_grown_space_is_contained(void **state)
{
	struct fixture *fx = *state;

	fx->r = open_region(fx->path, 0, 0);
	assert_int_equal(truncate(fx->path, 4 * (off_t)BYTES), 0);
	assert_int_equal(region_grow(fx->r), 0);
	assert_int_equal(truncate(fx->path, 2 * (off_t)BYTES), 0);
	assert_int_equal(load(fx->r, 3 * BYTES), 0);
	assert_int_equal(region_check(fx->r, 3 * BYTES, 1), -EIO);
	assert_int_equal(region_check(fx->r, 0, 3 * BYTES), 0);
}

static void a_sigbus_elsewhere_is_not_ours(void **state)
{
	struct fixture *fx = *state;
	int local = 0;

	fx->r = open_region(fx->path, 0, 0);
	assert_false(region_sigbus(fx->r, &local));
	assert_false(region_sigbus(fx->r, fx->r->base - 1));
	assert_false(region_sigbus(fx->r, fx->r->base + BYTES));
	assert_false(region_sigbus(fx->r, NULL));
	assert_int_equal(region_bad_ranges(fx->r, NULL, 0), 0);
	errno = ENOTTY;
	assert_true(region_sigbus(fx->r, fx->r->base + BYTES - 1));
	assert_int_equal(errno, ENOTTY);
	assert_int_equal(region_bad_ranges(fx->r, NULL, 0), 1);
}

static void damage_met_by_the_kernel_is_found_by_touching(void **state)
{
	struct fixture *fx = *state;
	int ends[2];

	fx->r = open_region(fx->path, 0, 0);
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(truncate(fx->path, 4 * PAGE), 0);
	assert_int_equal(write(ends[1], region_ptr(fx->r, 6 * PAGE, 10), 10), -1);
	assert_int_equal(errno, EFAULT);
	assert_int_equal(region_check(fx->r, 6 * PAGE, 10), 0); /* nobody was told */
	assert_int_equal(region_touch(fx->r, 0, 4 * PAGE), 0);
	assert_int_equal(region_touch(fx->r, 4 * PAGE - 1, 1), 0);
	assert_int_equal(region_touch(fx->r, 6 * PAGE, 10), -EIO);
	assert_int_equal(region_check(fx->r, 6 * PAGE, 10), -EIO);
	assert_int_equal(write(ends[1], region_ptr(fx->r, 6 * PAGE, 10), 10), 10);
	close(ends[0]);
	close(ends[1]);
}

static void bad_ranges_are_widened_to_pages_and_merged(void **state)
{
	struct fixture *fx = *state;
	struct bad_range bad[3] = { { 0 } };

	fx->r = open_region(fx->path, 0, 0);
	assert_int_equal(region_mark_bad(fx->r, 10 * PAGE + 512, 512), 0);
	assert_int_equal(region_mark_bad(fx->r, 12 * PAGE - 1, 2), 0);
	assert_int_equal(region_mark_bad(fx->r, 200 * PAGE, 3 * PAGE), 0);
	assert_int_equal(region_mark_bad(fx->r, 50 * PAGE, 0), 0);
	assert_int_equal(region_mark_bad(fx->r, BYTES - 1, 2), -EINVAL);
	assert_int_equal(region_mark_bad(fx->r, UINT64_MAX, 1), -EINVAL);
	assert_int_equal(region_bad_ranges(fx->r, bad, 1), 2);
	assert_int_equal(bad[0].off, 10 * PAGE);
	assert_int_equal(bad[0].len, 3 * PAGE);
	assert_int_equal(bad[1].len, 0);
	assert_int_equal(region_bad_ranges(fx->r, bad, 3), 2);
	assert_int_equal(bad[1].off, 200 * PAGE);
	assert_int_equal(bad[1].len, 3 * PAGE);
	assert_int_equal(region_check(fx->r, 10 * PAGE, 0), 0);
	assert_int_equal(region_check(fx->r, 9 * PAGE, PAGE), 0);
	assert_int_equal(region_check(fx->r, 9 * PAGE, PAGE + 1), -EIO);
	assert_int_equal(region_check(fx->r, 13 * PAGE, 187 * PAGE), 0);
	assert_int_equal(region_check(fx->r, 13 * PAGE, 187 * PAGE + 1), -EIO);
}

static void the_map_of_bad_pages_matches_a_plain_list(void **state)
{
	struct fixture *fx = *state;
	bool bad[BYTES / PAGE] = { false };
	uint32_t seed = 7;

	fx->r = open_region(fx->path, 0, 0);
	for (int i = 0; i < 60; i++) {
		uint32_t first = next_random(&seed) % (BYTES / PAGE);
		uint32_t nr = next_random(&seed) % 3 + 1;

		if (first + nr > BYTES / PAGE)
			nr = BYTES / PAGE - first;
		assert_int_equal(region_mark_bad(fx->r, first * PAGE, nr * PAGE), 0);
		memset(bad + first, true, nr);
		for (uint32_t from = 0; from < BYTES / PAGE; from += 3) {
			bool any = false;

			for (uint32_t to = from; to < BYTES / PAGE; to++) {
				any |= bad[to];
				assert_int_equal(region_check(fx->r, from * PAGE,
							      (to + 1 - from) * PAGE),
						 any ? -EIO : 0);
			}
		}
	}
}

/* Several threads run into the same damage: each comes out of it, and the page counts once. */
static void *load_everything(void *arg)
{
	struct region *r = arg;
	uint64_t sum = 0;

	for (uint64_t off = 0; off < BYTES; off += PAGE)
		sum += load(r, off);
	return (void *)(uintptr_t)sum;
}

static void threads_that_meet_the_same_damage_all_go_on(void **state)
{
	struct fixture *fx = *state;
	pthread_t threads[4];
	struct bad_range bad;

	fx->r = open_region(fx->path, 0, 0);
	assert_int_equal(truncate(fx->path, 16 * PAGE), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, load_everything, fx->r), 0);
	for (int i = 0; i < 4; i++) {
		void *sum = fx;

		pthread_join(threads[i], &sum);
		assert_null(sum);
	}
	assert_int_equal(region_bad_ranges(fx->r, &bad, 1), 1);
	assert_int_equal(bad.off, 16 * PAGE);
	assert_int_equal(bad.len, BYTES - 16 * PAGE);
}

/* ---- a full host ------------------------------------------------------------------------------ */

enum { CHILD_OK = 0, CHILD_WRONG = 1, CHILD_CANNOT_MOUNT = 77 };

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

/* Who is not root becomes root of a user namespace, in which only this one user exists. */
static bool become_root_of_a_namespace(void)
{
	unsigned uid = getuid(), gid = getgid();
	char map[32];

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
		return false;
	snprintf(map, sizeof(map), "0 %u 1", uid);
	if (!write_text("/proc/self/uid_map", map) || !write_text("/proc/self/setgroups", "deny"))
		return false;
	snprintf(map, sizeof(map), "0 %u 1", gid);
	return write_text("/proc/self/gid_map", map);
}

/* In a mount namespace of its own, so that nothing is left behind whatever happens. */
static bool mount_small_tmpfs(const char *dir)
{
	if (unshare(CLONE_NEWNS) && !become_root_of_a_namespace())
		return false;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return false;
	return !mount("small", dir, "tmpfs", 0, "size=512k");
}

static int fill_sparse_region(const char *dir)
{
	static unsigned char data[PAGE];
	struct region *r;
	char path[80], err[256];
	unsigned bad = 0;
	int fd;

	memset(data, 'd', sizeof(data));
	snprintf(path, sizeof(path), "%s/region", dir);
	if (!mount_small_tmpfs(dir))
		return CHILD_CANNOT_MOUNT;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, BYTES) || region_open(path, 0, 0, &r, err, sizeof(err)))
		return CHILD_WRONG;
	sigbus_region = r;
	install_handler();
	for (uint64_t off = 0; off < BYTES; off += PAGE)
		region_store(r, off, data, sizeof(data), HERE);
	region_drain(r, HERE);
	for (uint64_t off = 0; off < BYTES; off += PAGE) {
		unsigned char there[PAGE] = { 0 };
		bool kept = pread(fd, there, PAGE, (off_t)off) == PAGE &&
			    !memcmp(there, data, PAGE);

		/* What is not said to be bad has to be there, and the other way round. */
		if (kept != (region_check(r, off, PAGE) == 0))
			return CHILD_WRONG;
		bad += !kept;
	}
	return bad > 100 && bad < 156 ? CHILD_OK : CHILD_WRONG;
}

static void a_store_is_contained_when_the_host_is_full(void **state)
{
	struct fixture *fx = *state;
	char dir[80];
	int status;
	pid_t pid;

	snprintf(dir, sizeof(dir), "%s/small", fx->dir);
	assert_int_equal(mkdir(dir, 0700), 0);
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(fill_sparse_region(dir));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	rmdir(dir);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == CHILD_CANNOT_MOUNT) {
		print_message("# SKIP a tmpfs cannot be mounted here: neither root nor user "
			      "namespaces\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), CHILD_OK);
}

/* ---- what is refused -------------------------------------------------------------------------- */

static void assert_refused(const char *path, unsigned flags, uint32_t granule_bytes, int error,
			   const char *says)
{
	struct region *r = NULL;
	char err[512] = "";

	assert_int_equal(region_open(path, flags, granule_bytes, &r, err, sizeof(err)), error);
	assert_null(r);
	if (!strstr(err, says))
		fail_msg("\"%s\" does not say \"%s\"", err, says);
}

static void what_is_no_region_is_refused_with_a_reason(void **state)
{
	struct fixture *fx = *state;
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	char path[100];
	int sock;

	assert_refused(fx->dir, 0, 0, -EISDIR, "is a directory");
	assert_refused("/dev/null", 0, 0, -ENODEV, "/dev/null is a character device");
	snprintf(path, sizeof(path), "%s/nothing", fx->dir);
	assert_refused(path, 0, 0, -ENOENT, "does not exist; create it with 'mkfs.udaxfs");
	snprintf(path, sizeof(path), "%s/file/below", fx->path);
	assert_refused(path, 0, 0, -ENOTDIR, "cannot be looked at");

	snprintf(name.sun_path, sizeof(name.sun_path), "%s/socket", fx->dir);
	sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(sock, (struct sockaddr *)&name, sizeof(name)), 0);
	assert_refused(name.sun_path, 0, 0, -ENODEV, "neither a file nor a devdax");
	close(sock);
	unlink(name.sun_path);
}

static void a_file_that_is_too_small_is_refused(void **state)
{
	struct fixture *fx = *state;

	make_file(fx->path, 0);
	assert_refused(fx->path, 0, 0, -EINVAL, "has room for 0 bytes");
	make_file(fx->path, (256 << 10) - 1);
	assert_refused(fx->path, 0, 0, -EINVAL, "the smallest volume takes 262144");
	make_file(fx->path, 256 << 10);
	fx->r = open_region(fx->path, 0, 0);
}

static void a_granule_has_to_be_a_power_of_two_of_a_page_or_more(void **state)
{
	struct fixture *fx = *state;

	assert_refused(fx->path, 0, 1, -EINVAL, "a granule of 1 bytes");
	assert_refused(fx->path, 0, 2048, -EINVAL, "a granule of 2048 bytes");
	assert_refused(fx->path, 0, 12288, -EINVAL, "give a power of two");
	fx->r = open_region(fx->path, 0, 2u << 20);
	assert_int_equal(fx->r->granule_bytes, 2u << 20);
}

/* Root may open everything, so that the attempt is made as somebody else. */
static int open_as_nobody(const char *path)
{
	struct region *r;
	char err[256];
	int rc;

	if (geteuid() == 0 && (setgid(65534) || setuid(65534)))
		return CHILD_WRONG;
	rc = region_open(path, 0, 0, &r, err, sizeof(err));
	if (rc != -EACCES || !strstr(err, "permission is missing") || !strstr(err, "-o ro"))
		return CHILD_WRONG;
	if (region_open(path, REGION_RDONLY, 0, &r, err, sizeof(err)))
		return CHILD_WRONG;
	region_close(r);
	return CHILD_OK;
}

static void a_file_that_may_not_be_written_opens_read_only(void **state)
{
	struct fixture *fx = *state;
	int status;
	pid_t pid;

	assert_int_equal(chmod(fx->path, 0444), 0);
	assert_int_equal(chmod(fx->dir, 0755), 0);
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(open_as_nobody(fx->path));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), CHILD_OK);
}

static void an_error_buffer_may_be_short_or_missing(void **state)
{
	struct fixture *fx = *state;
	struct region *r = NULL;
	char err[8] = "#######";

	assert_int_equal(region_open(fx->dir, 0, 0, &r, err, 5), -EISDIR);
	assert_int_equal(strlen(err), 4);
	assert_int_equal(err[5], '#');
	assert_int_equal(region_open(fx->dir, 0, 0, &r, NULL, 0), -EISDIR);
	assert_null(r);
}

static unsigned nr_descriptors(void)
{
	unsigned nr = 0;

	for (int fd = 0; fd < 256; fd++)
		nr += fcntl(fd, F_GETFD) >= 0;
	return nr;
}

static void a_refusal_leaves_no_descriptor_open(void **state)
{
	struct fixture *fx = *state;
	unsigned before = nr_descriptors();

	make_file(fx->path, 100);
	assert_refused(fx->path, 0, 0, -EINVAL, "the smallest volume");
	assert_refused(fx->dir, 0, 0, -EISDIR, "directory");
	make_file(fx->path, BYTES);
	fx->r = open_region(fx->path, 0, 0);
	assert_int_equal(nr_descriptors(), before + 2);
	region_close(fx->r);
	fx->r = NULL;
	assert_int_equal(nr_descriptors(), before);
}

#define ON_TMPFS(name) cmocka_unit_test_setup_teardown(name, setup_tmpfs, teardown)
#define ON_DISK(name) cmocka_unit_test_setup_teardown(name, setup_disk, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_TMPFS(a_file_on_tmpfs_is_volatile),
		ON_DISK(a_file_on_a_disk_filesystem_is_file),
		ON_TMPFS(a_file_is_pmem_when_told_to_assume_so),
		ON_TMPFS(a_memfd_is_volatile),
		ON_TMPFS(the_first_byte_is_aligned_to_two_megabytes),
		ON_TMPFS(the_path_stays_right_when_the_working_directory_changes),
		ON_TMPFS(a_tail_smaller_than_a_page_is_not_used),
		ON_TMPFS(stores_reach_a_volatile_region_exactly),
		ON_TMPFS(stores_reach_a_pmem_region_exactly),
		ON_DISK(stores_reach_a_region_on_disk_exactly),
		ON_TMPFS(stores_survive_closing_and_opening),
		ON_DISK(a_drain_syncs_the_pages_that_were_touched_and_no_others),
		ON_DISK(scattered_stores_are_all_synced_in_few_calls),
		ON_DISK(random_stores_are_synced_without_a_gap),
		ON_DISK(a_failed_msync_makes_its_range_bad_and_only_that),
		ON_DISK(a_drain_waits_for_the_one_that_took_its_pages),
		ON_DISK(threads_that_store_and_drain_at_once_lose_nothing),
		ON_TMPFS(a_region_grows_in_place),
		ON_DISK(a_region_on_disk_grows_too),
		ON_TMPFS(a_region_cannot_outgrow_the_reserved_addresses),
		ON_TMPFS(a_shrunken_file_does_not_shrink_its_region),
		ON_TMPFS(a_load_from_a_truncated_file_is_contained),
		ON_TMPFS(a_store_to_a_truncated_file_is_contained),
		ON_TMPFS(damage_of_a_region_opened_read_only_is_contained),
		ON_TMPFS(damage_behind_grown_space_is_contained),
		ON_TMPFS(a_sigbus_elsewhere_is_not_ours),
		ON_TMPFS(damage_met_by_the_kernel_is_found_by_touching),
		ON_TMPFS(bad_ranges_are_widened_to_pages_and_merged),
		ON_TMPFS(the_map_of_bad_pages_matches_a_plain_list),
		ON_TMPFS(threads_that_meet_the_same_damage_all_go_on),
		ON_TMPFS(a_store_is_contained_when_the_host_is_full),
		ON_TMPFS(what_is_no_region_is_refused_with_a_reason),
		ON_TMPFS(a_file_that_is_too_small_is_refused),
		ON_TMPFS(a_granule_has_to_be_a_power_of_two_of_a_page_or_more),
		ON_TMPFS(a_file_that_may_not_be_written_opens_read_only),
		ON_TMPFS(an_error_buffer_may_be_short_or_missing),
		ON_TMPFS(a_refusal_leaves_no_descriptor_open),
	};

	return cmocka_run_group_tests_name("region", tests, NULL, NULL);
}
