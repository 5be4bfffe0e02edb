/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * direct_client.c - libudax against a daemon that is a thread of the test (fake_daemon.h), so that what
 * the daemon says, and when, is in the test's hand.
 *
 * Each test is a process of its own: the library has one client a process. Every one of them proves at
 * its end that it ran direct (fake_isolated).
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fake_daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "maps.h"
#include "proto.h"
#include "sys.h"
#include "udax/udax.h"

#define PAGE FAKE_PAGE
#define RW (PROT_READ | PROT_WRITE)

static struct udax_stats stats(void)
{
	struct udax_stats s;

	udax_stats(&s, sizeof(s));
	return s;
}

static char *map(int fd, unsigned pages, int prot)
{
	char *p = udax_mmap(NULL, (size_t)pages * PAGE, prot, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		fprintf(stderr, "udax_mmap: %s, %s\n", strerror(errno),
			udax_reason_text(udax_why()));
	CHECK(p != MAP_FAILED);
	CHECK(udax_is_direct(p, (size_t)pages * PAGE));
	return p;
}

static bool shows_region(const void *addr)
{
	return maps_show(addr, "fake-region");
}

static void nap(unsigned ms)
{
	usleep(ms * 1000);
}

/* A child that outlives the test's time must not stay. */
static pid_t fork_a_while(void)
{
	pid_t pid = fork();

	if (!pid)
		alarm(60);
	return pid;
}

#define EVENTUALLY(condition)                                                                      \
	do {                                                                                       \
		for (unsigned eventually = 0; !(condition) && eventually < 2000; eventually++)     \
			nap(1);                                                                    \
		CHECK(condition);                                                                  \
	} while (0)

/* ---- SIGBUS ------------------------------------------------------------------------------------ */

static sigjmp_buf bus_jump;
static void *volatile bus_addr;
static volatile int bus_code;

static void on_bus(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	bus_addr = info->si_addr;
	bus_code = info->si_code;
	siglongjmp(bus_jump, 1);
}

/* Touches, and says whether it was a SIGBUS at that very address. */
static bool is_bus(volatile char *p, bool write)
{
	struct sigaction action = { .sa_sigaction = on_bus, .sa_flags = SA_SIGINFO };

	sigaction(SIGBUS, &action, NULL);
	if (sigsetjmp(bus_jump, 1)) {
		CHECK(bus_addr == p);
		CHECK(bus_code == BUS_ADRERR);
		return true;
	}
	if (write)
		*p = 1;
	else
		(void)*p;
	return false;
}

static bool is_segv(volatile char *p)
{
	pid_t pid;
	struct sigaction action = { .sa_sigaction = on_bus, .sa_flags = SA_SIGINFO };

	(void)pid;
	sigaction(SIGSEGV, &action, NULL);
	if (sigsetjmp(bus_jump, 1)) {
		signal(SIGSEGV, SIG_DFL);
		return true;
	}
	*p = 1;
	signal(SIGSEGV, SIG_DFL);
	return false;
}

/* ---- loads and stores -------------------------------------------------------------------------- */

static void stores_and_loads(void)
{
	char buf[8] = { 0 }, *p;
	int fd;

	fake_start(NULL);
	fd = fake_file(64);
	fake_write(fd, 5 * PAGE + 7, "written", 8);
	p = map(fd, 64, RW);
	CHECK(!strcmp(p + 5 * PAGE + 7, "written"));
	strcpy(p + 9 * PAGE, "stored");
	fake_read(fd, 9 * PAGE, buf, 8);
	CHECK(!strcmp(buf, "stored"));
	CHECK(!strcmp(p + 5 * PAGE + 7, "written"));
	CHECK(shows_region(p + 9 * PAGE));
	CHECK(stats().grants_write >= 1 && stats().mmaps == 1);
	CHECK(!udax_persist(p + 9 * PAGE, 7));
	CHECK(!udax_msync(p, 64 * PAGE, MS_SYNC));
	CHECK(fake_counts().syncs == 1);
}

static void a_store_reaches_the_medium_and_a_load_sees_it(void **state)
{
	(void)state;
	fake_isolated(stores_and_loads, 20);
}

static void holes(void)
{
	char *p, *q, *r;
	int fd;

	fake_start(&(struct fake_options){ .run_pages = 8 });
	fd = fake_file(64);
	p = map(fd, 64, RW);
	q = map(fd, 64, RW);
	r = map(fd, 64, PROT_READ);
	for (unsigned i = 0; i < 64; i++)
		CHECK(p[i * PAGE] == 0 && q[i * PAGE] == 0 && r[i * PAGE] == 0);
	CHECK(!shows_region(p));
	CHECK(fake_counts().attaches == 1);
	for (unsigned i = 0; i < 64; i++) {
		p[i * PAGE + 1] = (char)(i + 1);
		CHECK(q[i * PAGE + 1] == (char)(i + 1) && r[i * PAGE + 1] == (char)(i + 1));
	}
	CHECK(stats().grants_zero > 0 && stats().recalls > 0);
}

static void a_store_into_a_hole_is_seen_by_all_who_had_zeroes(void **state)
{
	(void)state;
	fake_isolated(holes, 20);
}

/* What a load in a mapping for stores costs: one question where it is written, two where it is not. */
static void round_trips(void)
{
	struct udax_stats s;
	char *p, *q, *r;
	int fd;

	fake_start(&(struct fake_options){ .run_pages = 1 });
	fd = fake_file(16);
	fake_write(fd, 0, "written", 8);
	fake_write(fd, 8 * PAGE, "written", 8);
	p = map(fd, 16, RW);
	CHECK(!strcmp(p, "written"));
	p[0] = 'W';
	s = stats();
	CHECK(s.faults == 1 && s.grants_write == 1 && !s.grants_read && shows_region(p));
	CHECK(p[PAGE] == 0 && p[PAGE + 1] == 0);
	s = stats();
	CHECK(s.faults == 2 && s.grants_zero == 1 && !shows_region(p + PAGE));
	p[PAGE] = 1;
	CHECK(stats().faults == 3);
	q = map(fd, 16, PROT_READ);
	CHECK(!strcmp(q, "Written") && q[PAGE] == 1);
	s = stats();
	CHECK(s.faults == 5 && s.grants_read == 2);
	r = map(fd, 16, RW);
	CHECK(!udax_populate(r + 8 * PAGE, PAGE, UDAX_POPULATE_READ));
	r[8 * PAGE] = 'w';
	CHECK(stats().faults == 6 && !strcmp(p, "Written"));
}

static void a_load_of_what_is_written_is_one_question(void **state)
{
	(void)state;
	fake_isolated(round_trips, 20);
}

static void punch(void)
{
	char *p;
	int fd;
	uint64_t faults;

	fake_start(NULL);
	fd = fake_file(64);
	p = map(fd, 64, RW);
	memset(p, 'x', 64 * PAGE);
	faults = stats().faults;
	fake_punch(fd, 8 * PAGE, 16 * PAGE);
	CHECK(shows_region(p) && shows_region(p + 30 * PAGE) && !shows_region(p + 8 * PAGE));
	for (unsigned i = 0; i < 64; i++)
		CHECK(p[i * PAGE] == (i >= 8 && i < 24 ? 0 : 'x'));
	CHECK(stats().faults > faults && stats().recalls >= 1);
	p[10 * PAGE] = 'y';
	CHECK(p[10 * PAGE] == 'y' && p[9 * PAGE] == 0 && p[11 * PAGE] == 0);
}

static void a_punch_takes_away_what_it_punches_and_no_more(void **state)
{
	(void)state;
	fake_isolated(punch, 20);
}

/*
 * What was taken back is memory of its own for the kernel (a vma) beside what was never mapped, and the kernel fills
 * no range that lies in two of them.
 */
static void patchwork(void)
{
	unsigned seed = 1;
	char shadow[64] = { 0 }, *p;
	int fd;

	fake_start(NULL);
	fd = fake_file(64);
	p = map(fd, 64, RW);
	for (unsigned i = 0; i < 4000; i++) {
		unsigned page = (unsigned)rand_r(&seed) % 64, n;

		switch (rand_r(&seed) % 4) {
		case 0:
			n = 1 + (unsigned)rand_r(&seed) % (64 - page);
			n = n > 8 ? 8 : n;
			fake_punch(fd, page * PAGE, n * PAGE);
			memset(shadow + page, 0, n);
			break;
		case 1:
			shadow[page] = p[page * PAGE] = (char)i;
			break;
		default:
			CHECK(p[page * PAGE] == shadow[page]);
			break;
		}
	}
	CHECK(stats().recalls > 100 && stats().grants_zero > 100);
}

static void zeroes_are_shown_wherever_memory_was_taken_back(void **state)
{
	(void)state;
	fake_isolated(patchwork, 30);
}

static void end_of_file(void)
{
	char *p;
	int fd;

	fake_start(NULL);
	fd = fake_file(4);
	p = map(fd, 16, RW);
	p[3 * PAGE] = 1;
	CHECK(is_bus(p + 4 * PAGE + 17, false) && is_bus(p + 15 * PAGE + 1, true));
	fake_resize(fd, 8);
	CHECK(!is_bus(p + 4 * PAGE + 17, false) && !is_bus(p + 7 * PAGE, true));
	CHECK(is_bus(p + 8 * PAGE, true));
	fake_resize(fd, 1);
	CHECK(is_bus(p + 3 * PAGE, false) && is_bus(p + PAGE, false) && !is_bus(p, true));
	fake_resize(fd, 16);
	CHECK(p[3 * PAGE] == 0);
	CHECK(stats().grants_behind_eof >= 2);
}

static void behind_the_end_a_touch_is_a_SIGBUS_until_the_file_grows(void **state)
{
	(void)state;
	fake_isolated(end_of_file, 20);
}

static void failures(void)
{
	char *p;
	int fd;

	fake_start(NULL);
	fd = fake_file(4);
	p = map(fd, 4, RW);
	fake_error(-ENOSPC);
	CHECK(is_bus(p + PAGE + 3, true));
	fake_error(0);
	nap(300);
	CHECK(!is_bus(p + PAGE + 3, true));
	CHECK(stats().grants_failed == 1);
}

static void a_failure_is_a_SIGBUS_and_not_for_ever(void **state)
{
	(void)state;
	fake_isolated(failures, 20);
}

/* ---- recalls ----------------------------------------------------------------------------------- */

#define COUNTERS 16

static atomic_bool stop;

struct adder {
	volatile uint64_t *word;
	uint64_t added;
};

static void *add(void *arg)
{
	struct adder *adder = arg;

	while (!atomic_load(&stop)) {
		*adder->word = *adder->word + 1;
		adder->added++;
	}
	return NULL;
}

/* Each word has one writer; pages move under them. A store that is lost leaves a word behind for ever. */
static void storm_of_moves(void)
{
	struct adder adders[4];
	pthread_t threads[4];
	const time_t end = time(NULL) + 8; /* on a busy machine it is fewer */
	uint64_t value;
	char *p;
	int fd;

	fake_start(&(struct fake_options){ .run_pages = 4 });
	fd = fake_file(16);
	p = map(fd, 16, RW);
	memset(p, 0, 16 * PAGE);
	for (unsigned i = 0; i < 4; i++) {
		adders[i].word = (uint64_t *)(p + (i / 2) * PAGE + i * 64);
		adders[i].added = 0;
		CHECK(!pthread_create(&threads[i], NULL, add, &adders[i]));
	}
	for (unsigned i = 0; stats().recalls < 500 && time(NULL) < end; i++) {
		uint64_t faults = stats().faults;

		fake_move(fd, i % 3 ? 0 : PAGE, (1 + i % 2) * PAGE);
		for (unsigned j = 0; stats().faults == faults && j < 1000; j++)
			sched_yield();
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < 4; i++) {
		CHECK(!pthread_join(threads[i], NULL));
		CHECK(*adders[i].word == adders[i].added);
		fake_read(fd, (uint64_t)((char *)adders[i].word - p), &value, 8);
		CHECK(value == adders[i].added && value);
	}
	CHECK(stats().recalls >= 20);
}

static void no_store_is_lost_while_pages_are_taken_back(void **state)
{
	(void)state;
	fake_isolated(storm_of_moves, 60);
}

static void recall_without_memory(void)
{
	char *p;
	int fd;

	fake_start(NULL);
	fd = fake_file(4);
	p = map(fd, 4, RW);
	p[0] = 'a';
	fake_fail_remaps(9);
	fake_recall_later(fd, 0, PAGE);
	EVENTUALLY(fake_acknowledged());
	CHECK(fake_failing_remaps() == 0);
	CHECK(!shows_region(p) && shows_region(p + PAGE));
	CHECK(p[0] == 'a');
}

static void a_recall_that_finds_no_memory_is_answered_when_there_is_some(void **state)
{
	(void)state;
	fake_isolated(recall_without_memory, 20);
}

static void fault_without_memory(void)
{
	char *p;
	int fd;

	fake_start(NULL);
	fd = fake_file(4);
	p = map(fd, 4, RW);
	fake_fail_remaps(1); /* a second try is made */
	p[0] = 'a';
	CHECK(fake_failing_remaps() == 0 && shows_region(p) && p[0] == 'a');
}

static void a_fault_that_finds_no_memory_tries_again(void **state)
{
	(void)state;
	fake_isolated(fault_without_memory, 20);
}

/* ---- memory calls ------------------------------------------------------------------------------ */

static void unmapping(void)
{
	char *p, *q;
	int fd;

	fake_start(NULL);
	fd = fake_file(16);
	p = map(fd, 16, RW);
	q = map(fd, 16, RW);
	memset(p, 'a', 16 * PAGE);
	CHECK(!udax_munmap(p + 4 * PAGE, 4 * PAGE));
	CHECK(udax_is_direct(p, 4 * PAGE) && !udax_is_direct(p + 3 * PAGE, 2 * PAGE));
	CHECK(is_segv(p + 5 * PAGE) && p[9 * PAGE] == 'a');
	EVENTUALLY(fake_counts().returns == 1 && fake_counts().granted_pages == 12);
	CHECK(q[5 * PAGE] == 'a');
	EVENTUALLY(fake_counts().granted_pages == 16);
	CHECK(!udax_munmap(p, 16 * PAGE));
	nap(20);
	CHECK(fake_counts().returns == 1 && !fake_counts().detaches && q[5 * PAGE] == 'a');
	CHECK(!udax_munmap(q, 16 * PAGE));
	EVENTUALLY(fake_counts().detaches == 1 && fake_counts().attached == 0);
	CHECK(stats().mappings == 0 && stats().pieces == 0 && stats().files == 0);
	p = map(fd, 16, RW);
	CHECK(p[15 * PAGE] == 'a' && fake_counts().attaches == 2);
}

static void what_is_unmapped_everywhere_is_given_back(void **state)
{
	(void)state;
	fake_isolated(unmapping, 20);
}

static void protecting(void)
{
	char *p;
	int fd, ro;
	char path[64];

	fake_start(NULL);
	fd = fake_file(16);
	fake_write(fd, 0, "data", 5);
	p = map(fd, 16, PROT_READ);
	CHECK(!strcmp(p, "data") && p[8 * PAGE] == 0 && is_segv(p));
	CHECK(!udax_mprotect(p, 8 * PAGE, RW));
	p[1] = 'A';
	CHECK(!strcmp(p, "dAta") && is_segv(p + 8 * PAGE));
	CHECK(!udax_mprotect(p + 8 * PAGE, 8 * PAGE, RW) && stats().mappings == 1);
	p[8 * PAGE] = 'h';
	fake_read(fd, 8 * PAGE, path, 1);
	CHECK(path[0] == 'h');
	CHECK(!udax_mprotect(p + PAGE, PAGE, PROT_NONE) && is_segv(p + PAGE));
	CHECK(!udax_mprotect(p, 16 * PAGE, PROT_READ) && is_segv(p) && is_segv(p + 8 * PAGE));
	CHECK(!strcmp(p, "dAta") && p[8 * PAGE] == 'h');
	fake_punch(fd, 8 * PAGE, PAGE);
	CHECK(p[8 * PAGE] == 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ro = open(path, O_RDONLY);
	p = map(ro, 16, PROT_READ);
	CHECK(udax_mprotect(p, PAGE, RW) == -1 && errno == EACCES && p[0] == 'd');
}

static void protection_changes_with_its_grants(void **state)
{
	(void)state;
	fake_isolated(protecting, 20);
}

static void moving(void)
{
	char *p, *q, *r;
	int fd;

	fake_start(NULL);
	fd = fake_file(64);
	p = map(fd, 16, RW);
	memset(p, 'a', 16 * PAGE);
	CHECK(udax_mremap(p, 16 * PAGE, 8 * PAGE, 0) == p && is_segv(p + 8 * PAGE));
	q = udax_mremap(p, 8 * PAGE, 48 * PAGE, MREMAP_MAYMOVE);
	CHECK(q != MAP_FAILED && q[15 * PAGE] == 'a');
	q[40 * PAGE] = 'b';
	CHECK(udax_is_direct(q, 48 * PAGE) && stats().mappings == 1);
	r = mmap(NULL, 64 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(udax_mremap(q + 8 * PAGE, 8 * PAGE, 16 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
			  r + 8 * PAGE) == r + 8 * PAGE);
	CHECK(r[8 * PAGE] == 'a' && r[15 * PAGE] == 'a' && r[16 * PAGE] == 0);
	CHECK(is_segv(q + 8 * PAGE) && q[7 * PAGE] == 'a' && q[40 * PAGE] == 'b');
	CHECK(udax_mremap(q, 4 * PAGE, 128 * PAGE, 0) == MAP_FAILED && errno == ENOMEM);
}

static void a_mapping_is_resized_and_moved(void **state)
{
	(void)state;
	fake_isolated(moving, 20);
}

static void fixed_places(void)
{
	char *p, *r;
	int fd, other;

	fake_start(NULL);
	fake_refusals_are_meant();
	fd = fake_file(16);
	other = fake_file(16);
	fake_write(other, 0, "other", 6);
	p = map(fd, 16, RW);
	memset(p, 'a', 16 * PAGE);
	r = udax_mmap(p + 4 * PAGE, 4 * PAGE, RW, MAP_SHARED | MAP_FIXED, other, 0);
	CHECK(r == p + 4 * PAGE && !strcmp(r, "other") && p[3 * PAGE] == 'a' && p[8 * PAGE] == 'a');
	CHECK(udax_mmap(p, PAGE, RW, MAP_SHARED | MAP_FIXED_NOREPLACE, other, 0) == MAP_FAILED &&
	      errno == EEXIST);
	r = udax_mmap(p, 2 * PAGE, RW, MAP_PRIVATE | MAP_FIXED | UDAX_FALLBACK, other, 0);
	CHECK(r == p && udax_why() == UDAX_NOT_SHARED && !udax_is_direct(p, PAGE));
	CHECK(udax_is_direct(p + 2 * PAGE, 14 * PAGE));
	fake_punch(fd, 0, 4 * PAGE);
	CHECK(p[2 * PAGE] == 0);
	CHECK(!udax_munmap(p, 4 * PAGE) && is_segv(p) && is_segv(p + 2 * PAGE)); /* mixed */
	CHECK(udax_mmap(p + 1, PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED &&
	      errno == EINVAL);
}

static void a_fixed_mapping_replaces_what_was_there(void **state)
{
	(void)state;
	fake_isolated(fixed_places, 20);
}

static void populating(void)
{
	unsigned char vec[64];
	uint64_t faults;
	char *p;
	int fd;

	fake_start(&(struct fake_options){ .run_pages = 5 });
	fd = fake_file(64);
	fake_write(fd, 0, "x", 1);
	p = udax_mmap(NULL, 64 * PAGE, RW, MAP_SHARED | MAP_POPULATE, fd, 0);
	CHECK(p != MAP_FAILED);
	faults = stats().faults;
	for (unsigned i = 0; i < 64; i++)
		CHECK(p[i * PAGE] == (i ? 0 : 'x'));
	CHECK(stats().faults == faults && faults > 1);
	CHECK(!udax_populate(p, 64 * PAGE, UDAX_POPULATE_WRITE));
	faults = stats().faults;
	for (unsigned i = 0; i < 64; i++)
		p[i * PAGE] = 1;
	CHECK(stats().faults == faults);
	CHECK(!mincore(p, 64 * PAGE, vec) && shows_region(p + 63 * PAGE));
	CHECK(udax_populate(p + 60 * PAGE, 64 * PAGE, UDAX_POPULATE_READ) == -1 && errno == ENOMEM);
}

static void what_is_populated_faults_no_more(void **state)
{
	(void)state;
	fake_isolated(populating, 20);
}

static void refusals(void)
{
	char *p;
	int fd, null = open("/dev/null", O_RDWR);

	fake_start(NULL);
	fake_refusals_are_meant();
	fd = fake_file(16);
	CHECK(udax_mmap(NULL, PAGE, RW, MAP_PRIVATE, fd, 0) == MAP_FAILED && errno == ENODEV);
	CHECK(udax_why() == UDAX_NOT_SHARED);
	CHECK(udax_mmap(NULL, PAGE, RW, MAP_SHARED, null, 0) == MAP_FAILED && errno == ENODEV);
	CHECK(udax_why() == UDAX_NOT_UDAXFS);
	CHECK(udax_mmap(NULL, PAGE, RW, MAP_SHARED, 999, 0) == MAP_FAILED && errno == EBADF);
	CHECK(udax_mmap(NULL, 0, RW, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EINVAL);
	CHECK(udax_mmap(NULL, PAGE, RW, MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0) == MAP_FAILED);
	CHECK(errno == EOPNOTSUPP && udax_why() == UDAX_NOT_SYNC);
	fake_refuse(0, -EBUSY);
	CHECK(udax_mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0) == MAP_FAILED && errno == ENODEV);
	CHECK(udax_why() == UDAX_NOT_O_DIRECT);
	fake_refuse(-EBUSY, 0);
	CHECK(udax_mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0) == MAP_FAILED && errno == ENODEV);
	CHECK(udax_why() == UDAX_CACHED);
	p = udax_mmap(NULL, PAGE, RW, MAP_SHARED | UDAX_FALLBACK, fd, 0);
	CHECK(p != MAP_FAILED && !udax_is_direct(p, PAGE) && udax_why() == UDAX_CACHED);
	CHECK(stats().refused[UDAX_CACHED] == 2 && stats().refused[UDAX_NOT_SHARED] == 1);
	CHECK(!udax_munmap(p, PAGE));
	fake_refuse(0, 0);
	map(fd, 16, RW);
	CHECK(udax_why() == UDAX_DIRECT);
}

static void what_cannot_be_direct_fails_with_its_reason(void **state)
{
	(void)state;
	fake_isolated(refusals, 20);
}

static void granules(void)
{
	const size_t huge = 2u << 20;
	char *p;
	int fd;

	fake_start(&(struct fake_options){ .granule_bytes = 2u << 20, .region_pages = 8192 });
	fake_refusals_are_meant();
	fd = fake_file(2048);
	CHECK(udax_mmap(NULL, huge + PAGE, RW, MAP_SHARED, fd, 0) == MAP_FAILED);
	CHECK(errno == ENODEV && udax_why() == UDAX_GRANULE);
	CHECK(udax_mmap(NULL, huge, RW, MAP_SHARED, fd, PAGE) == MAP_FAILED);
	CHECK(udax_why() == UDAX_GRANULE);
	p = map(fd, 2048, RW);
	CHECK((uintptr_t)p % huge == 0 && p[huge] == 0);
	p[3 * PAGE] = 'a';
	p[huge + 5] = 'b';
	CHECK(udax_munmap(p + PAGE, PAGE) == -1 && errno == EINVAL);
	CHECK(udax_mprotect(p, PAGE, PROT_READ) == -1 && errno == EINVAL);
	fake_move(fd, 0, 2 * huge);
	CHECK(p[3 * PAGE] == 'a' && p[huge + 5] == 'b');
	fake_punch(fd, 0, huge);
	CHECK(p[3 * PAGE] == 0 && p[huge + 5] == 'b');
	CHECK(!udax_munmap(p, huge) && p[huge + 5] == 'b');
}

static void a_granule_of_2_MiB_is_mapped_whole_or_refused(void **state)
{
	(void)state;
	fake_isolated(granules, 20);
}

/* ---- bounds ------------------------------------------------------------------------------------ */

static void many_pieces(void)
{
	const unsigned pages = 2000;
	char *p;
	int fd;

	setenv("UDAX_MAX_PIECES", "200", 1);
	fake_start(
		&(struct fake_options){ .scattered = true, .run_pages = 1, .region_pages = 8192 });
	fd = fake_file(pages);
	p = map(fd, pages, RW);
	for (unsigned i = 0; i < pages; i++)
		*(unsigned *)(p + (size_t)(i * 7 % pages) * PAGE) = i;
	CHECK(maps_count() < 2 * 200 + 200);
	CHECK(stats().pieces <= 200 && stats().evicted >= 1800);
	for (unsigned i = 0; i < pages; i++)
		CHECK(*(unsigned *)(p + (size_t)(i * 7 % pages) * PAGE) == i);
	EVENTUALLY(fake_counts().granted_pages <= 200);
}

static void pieces_of_the_region_are_bounded(void **state)
{
	(void)state;
	fake_isolated(many_pieces, 60);
}

static void neighbours(void)
{
	char *p;
	int fd;

	fake_start(&(struct fake_options){ .run_pages = 1 });
	fd = fake_file(256);
	p = map(fd, 256, RW);
	for (unsigned i = 0; i < 256; i++)
		p[i * PAGE] = 1;
	CHECK(stats().pieces == 1);
	fake_punch(fd, 100 * PAGE, PAGE);
	CHECK(stats().pieces == 2 && p[100 * PAGE] == 0 && p[101 * PAGE] == 1);
}

static void pieces_that_continue_each_other_become_one(void **state)
{
	(void)state;
	fake_isolated(neighbours, 20);
}

static size_t resident(char *p, size_t pages)
{
	static unsigned char vec[16384];
	size_t n = 0;

	CHECK(pages <= sizeof(vec) && !mincore(p, pages * PAGE, vec));
	for (size_t i = 0; i < pages; i++)
		n += vec[i] & 1;
	return n;
}

/* Pages of zeroes that can be stored over are memory of the process's own. */
static void many_zeroes(void)
{
	enum { PAGES = 16384, MAPPINGS = 3, MOST = 64 << 20 };
	char *p[MAPPINGS];
	size_t n = 0;
	int fd;

	fake_start(&(struct fake_options){ .run_pages = 16 });
	fd = fake_file(PAGES);
	for (unsigned i = 0; i < MAPPINGS; i++) {
		p[i] = map(fd, PAGES, RW);
		for (size_t page = 0; page < PAGES; page++)
			CHECK(p[i][page * PAGE] == 0);
	}
	for (unsigned i = 0; i < MAPPINGS; i++)
		n += resident(p[i], PAGES);
	CHECK(n <= MOST / PAGE && n > MOST / PAGE / 2);
	for (size_t page = 0; page < PAGES; page += 1000) {
		p[0][page * PAGE] = (char)(page / 1000 + 1);
		CHECK(p[1][page * PAGE] == (char)(page / 1000 + 1) && p[1][page * PAGE + 1] == 0);
	}
	CHECK(!udax_populate(p[2], (size_t)PAGES * PAGE, UDAX_POPULATE_READ));
	CHECK(resident(p[2], PAGES) == PAGES); /* who asks for it has it */
}

static void zeroes_do_not_cost_as_much_as_the_hole_is_large(void **state)
{
	(void)state;
	fake_isolated(many_zeroes, 60);
}

/* ---- descriptors ------------------------------------------------------------------------------- */

static void closing(void)
{
	struct flock lock = { .l_type = F_WRLCK, .l_len = 1 };
	char *p, *q;
	int fd, before, after;
	pid_t pid;
	int status;

	fake_start(NULL);
	fd = fake_file(16);
	before = dup(fd);
	p = map(fd, 16, RW);
	after = dup(fd);
	CHECK(after ==
	      before + 2); /* the fake daemon's one; the library's are in no table of ours */
	CHECK(!fcntl(fd, F_SETLK, &lock));
	q = map(fd, 16, RW);
	CHECK(!udax_munmap(q, 16 * PAGE) && !udax_munmap(p, 16 * PAGE));
	EVENTUALLY(fake_counts().detaches == 1);
	nap(50);
	pid = (pid_t)syscall(SYS_fork);
	if (!pid)
		_exit(fcntl(fd, F_SETLK, &lock) == 0);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0); /* our lock is still there */
	p = map(fd, 16, RW);
	p[0] = 'a';
	close(fd);
	close(before);
	close(after);
	p[8 * PAGE] = 'b';
	CHECK(p[0] == 'a' && p[8 * PAGE] == 'b');
}

static void descriptors_and_locks_of_the_program_are_its_own(void **state)
{
	(void)state;
	fake_isolated(closing, 20);
}

static void only_threads_of_the_daemon(unsigned first)
{
	/* The fake daemon lives in this table, too: leave it its own. */
	syscall(SYS_close_range, first, ~0u, 0);
}

static void closing_all(void)
{
	char *p;
	int fd;

	fake_start(NULL);
	fd = fake_file(16);
	CHECK(dup2(fd, 400) == 400);
	p = map(400, 16, RW);
	only_threads_of_the_daemon(400);
	p[0] = 'a';
	fake_move(fd, 0, PAGE);
	CHECK(p[0] == 'a' && stats().recalls == 1 && fake_counts().attached == 1);
}

static void a_program_that_closes_everything_keeps_its_mappings(void **state)
{
	(void)state;
	fake_isolated(closing_all, 20);
}

/* ---- fork -------------------------------------------------------------------------------------- */

static void in_the_child(char *p, char *q, int depth)
{
	CHECK(!strcmp(p, "parent") && p[8 * PAGE] == 0);
	strcpy(p + PAGE, "child");
	CHECK(q[0] == 'q' && is_segv(q));
	CHECK(udax_is_direct(p, 16 * PAGE) && shows_region(p));
	CHECK(stats().mappings == 2 && stats().grants_write >= 1);
	if (depth) {
		pid_t pid = fork_a_while();
		int status;

		if (!pid) {
			in_the_child(p, q, depth - 1);
			_exit(0);
		}
		CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	}
	CHECK(!udax_munmap(p, 16 * PAGE) && !udax_munmap(q, PAGE));
}

static void forking(void)
{
	char *p, *q;
	int fd, other, status;
	pid_t pid;

	fake_start(NULL);
	fd = fake_file(16);
	other = fake_file(16);
	fake_write(other, 0, "q", 1);
	p = map(fd, 16, RW);
	q = map(other, 1, PROT_READ);
	strcpy(p, "parent");
	close(fd);
	for (unsigned i = 0; i < 5; i++) {
		pid = fork_a_while();
		if (!pid) {
			in_the_child(p, q, 1);
			_exit(0);
		}
		CHECK(waitpid(pid, &status, 0) == pid && status == 0);
		CHECK(!strcmp(p + PAGE, "child"));
		memset(p + PAGE, 0, 6);
	}
	CHECK(fake_counts().connections == 11);
	EVENTUALLY(fake_counts().attached == 2);
}

static void the_mappings_of_a_child_work(void **state)
{
	(void)state;
	fake_isolated(forking, 60);
}

static void raw_child(void)
{
	char *p;
	int fd, status;
	pid_t pid;

	fake_start(NULL);
	fd = fake_file(16);
	p = map(fd, 16, RW);
	p[0] = 'a';
	pid = (pid_t)syscall(SYS_fork);
	if (!pid) {
		CHECK(is_segv(p) && is_segv(p + PAGE));
		CHECK(udax_mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0) == MAP_FAILED);
		CHECK(udax_why() == UDAX_NO_CLIENT);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(p[0] == 'a');
}

static void a_child_that_the_library_does_not_know_of_has_holes(void **state)
{
	(void)state;
	fake_isolated(raw_child, 20);
}

static void *fork_and_map(void *arg)
{
	int fd = *(int *)arg;

	while (!atomic_load(&stop)) {
		char *p = map(fd, 16, RW);

		p[0]++;
		CHECK(!udax_munmap(p, 16 * PAGE));
	}
	return NULL;
}

static void forking_under_load(void)
{
	pthread_t thread;
	char *p;
	int fd, other, status;

	fake_start(NULL);
	fd = fake_file(16);
	other = fake_file(16);
	p = map(fd, 16, RW);
	CHECK(!pthread_create(&thread, NULL, fork_and_map, &other));
	for (unsigned i = 0; i < 40; i++) {
		pid_t pid = fork_a_while();

		if (!pid) {
			p[PAGE]++;
			_exit(p[PAGE] != (char)(i + 1));
		}
		CHECK(waitpid(pid, &status, 0) == pid && status == 0);
		CHECK(p[PAGE] == (char)(i + 1));
	}
	atomic_store(&stop, true);
	CHECK(!pthread_join(thread, NULL));
}

/*
 * A fork while other threads allocate leaves AddressSanitizer's allocator locked in the child (until gcc 14,
 * LLVM 17), where pthread_create needs it.
 */
extern void __asan_init(void) __attribute__((weak));

static bool may_fork_beside_threads(void)
{
	return !__asan_init;
}

static void a_fork_goes_well_while_others_map(void **state)
{
	(void)state;
	if (!may_fork_beside_threads())
		skip();
	fake_isolated(forking_under_load, 60);
}

/* ---- the end of the stream --------------------------------------------------------------------- */

static void reconnecting(void)
{
	char *p, *q;
	int fd;

	fake_start(NULL);
	fd = fake_file(16);
	p = map(fd, 16, RW);
	q = map(fd, 16, PROT_READ);
	strcpy(p, "before");
	CHECK(!strcmp(q, "before"));
	close(fd);
	for (unsigned i = 0; i < 10; i++) {
		fake_disconnect();
		p[PAGE + i] = 'x';
		CHECK(!strcmp(p, "before") && q[PAGE + i] == 'x');
		EVENTUALLY(stats().reconnects == i + 1);
	}
	fake_lie(); /* as good as the end of the stream */
	EVENTUALLY(fake_counts().attached == 1);
	CHECK(p[15 * PAGE] == 0 && !strcmp(p, "before"));
	CHECK(stats().reconnects >= 10 && stats().lost == 0);
}

static void a_client_finds_its_daemon_again(void **state)
{
	(void)state;
	fake_isolated(reconnecting, 30);
}

static void *synchronise(void *p)
{
	CHECK(!udax_msync(p, 8 * PAGE, MS_SYNC));
	return NULL;
}

/* The connection is there, and has not been welcomed: nothing is known of the region yet. */
static void calls_while_connecting(void)
{
	unsigned connections;
	pthread_t thread;
	char *p;
	int fd;

	fake_start(NULL);
	fd = fake_file(16);
	p = map(fd, 16, RW);
	p[3 * PAGE] = 'a';
	connections = fake_counts().connections;
	fake_hold_welcome(true);
	fake_disconnect();
	EVENTUALLY(fake_counts().connections > connections);
	CHECK(!udax_mprotect(p + PAGE, PAGE, PROT_READ) && !udax_munmap(p + 15 * PAGE, PAGE));
	CHECK(udax_mremap(p, PAGE, PAGE, 0) == p && udax_is_direct(p, 15 * PAGE));
	CHECK(!pthread_create(&thread, NULL, synchronise, p));
	nap(50);
	CHECK(fake_counts().syncs == 0);
	fake_hold_welcome(false);
	CHECK(!pthread_join(thread, NULL) && fake_counts().syncs > 0);
	CHECK(p[3 * PAGE] == 'a' && is_segv(p + PAGE) && stats().reconnects == 1);
}

static void memory_calls_do_not_need_the_daemon(void **state)
{
	(void)state;
	fake_isolated(calls_while_connecting, 20);
}

static void sync_across(void)
{
	pthread_t thread;
	char *p;
	int fd;

	fake_start(NULL);
	fd = fake_file(16);
	p = map(fd, 16, RW);
	p[0] = 'a';
	fake_refuse(0, -ENOTCONN);
	fake_disconnect();
	EVENTUALLY(!shows_region(p));
	CHECK(!pthread_create(&thread, NULL, synchronise, p));
	nap(50);
	fake_refuse(0, 0);
	CHECK(!pthread_join(thread, NULL) && fake_counts().syncs == 1 && stats().reconnects == 1);
}

static void msync_waits_for_a_daemon_that_is_started_again(void **state)
{
	(void)state;
	fake_isolated(sync_across, 20);
}

static void granules_of_a_daemon_that_is_looked_for(void)
{
	const size_t huge = 2u << 20;
	unsigned connections;
	char *p;
	int fd;

	fake_start(&(struct fake_options){ .granule_bytes = 2u << 20, .region_pages = 8192 });
	fd = fake_file(1024);
	p = map(fd, 1024, RW);
	p[0] = 'a';
	connections = fake_counts().connections;
	fake_hold_welcome(true);
	fake_disconnect();
	EVENTUALLY(fake_counts().connections > connections);
	CHECK(udax_munmap(p + PAGE, PAGE) == -1 && errno == EINVAL);
	CHECK(udax_mprotect(p + huge, PAGE, PROT_READ) == -1 && errno == EINVAL);
	fake_hold_welcome(false);
	CHECK(p[0] == 'a' && p[huge] == 0 && stats().reconnects == 1);
}

static void a_granule_stays_whole_while_its_daemon_is_looked_for(void **state)
{
	(void)state;
	fake_isolated(granules_of_a_daemon_that_is_looked_for, 20);
}

static void larger_granule(void)
{
	char *p;
	int fd;

	fake_start(NULL);
	fd = fake_file(16);
	p = map(fd, 16, RW);
	p[0] = 'a';
	fake_granule(2u << 20);
	fake_disconnect();
	EVENTUALLY(stats().lost == 1);
	CHECK(is_bus(p, true) && fake_counts().faults == 1);
}

static void a_daemon_with_a_larger_granule_does_not_serve_what_is_mapped(void **state)
{
	(void)state;
	fake_isolated(larger_granule, 20);
}

static void losing(void)
{
	char *p;
	int fd;

	setenv("UDAX_RECONNECT_MS", "300", 1);
	fake_start(NULL);
	fd = fake_file(16);
	p = map(fd, 16, RW);
	p[0] = 1;
	fake_refuse(-EBUSY, -ENOTCONN);
	fake_disconnect();
	EVENTUALLY(!shows_region(p));
	CHECK(is_bus(p, true) && is_bus(p + 3 * PAGE, false));
	CHECK(stats().lost == 1);
	fake_refuse(0, 0);
	p = map(fd, 16, RW);
	CHECK(p[0] == 1);
}

static void without_a_daemon_a_touch_ends_in_a_SIGBUS(void **state)
{
	(void)state;
	fake_isolated(losing, 20);
}

static void *map_in_vain(void *fd)
{
	CHECK(udax_mmap(NULL, PAGE, RW, MAP_SHARED, *(int *)fd, 0) == MAP_FAILED);
	CHECK(errno == ENODEV && udax_why() == UDAX_NO_DAEMON);
	return NULL;
}

/* The only mapping goes away while the file is lost and a call waits for it. */
static void losing_unmapped(void)
{
	pthread_t thread;
	char *p;
	int fd;

	setenv("UDAX_RECONNECT_MS", "300", 1);
	fake_start(NULL);
	fake_refusals_are_meant();
	fd = fake_file(16);
	p = map(fd, 16, RW);
	p[0] = 1;
	fake_refuse(-EBUSY, -ENOTCONN);
	fake_disconnect();
	EVENTUALLY(!shows_region(p));
	CHECK(!pthread_create(&thread, NULL, map_in_vain, &fd));
	nap(50);
	CHECK(!udax_munmap(p, 16 * PAGE));
	CHECK(!pthread_join(thread, NULL));
	EVENTUALLY(stats().files == 0);
	fake_refuse(0, 0);
	p = map(fd, 16, RW);
	CHECK(p[0] == 1);
}

static void a_lost_file_that_nobody_maps_is_forgotten(void **state)
{
	(void)state;
	fake_isolated(losing_unmapped, 20);
}

/* ---- threads, signals -------------------------------------------------------------------------- */

static char *signal_page;
static atomic_uint signals;

static void on_alarm(int sig)
{
	(void)sig;
	signal_page[(atomic_load(&signals) % 16) * PAGE]++;
	atomic_fetch_add(&signals, 1);
}

static void with_signals(void)
{
	struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	struct itimerval timer = { { 0, 500 }, { 0, 500 } };
	sigset_t prof;
	int fd;

	sigemptyset(&prof);
	sigaddset(&prof, SIGPROF);
	fake_start(NULL);
	fd = fake_file(16);
	signal_page = map(fd, 16, RW);
	sigaction(SIGPROF, &action, NULL);
	setitimer(ITIMER_PROF, &timer, NULL);
	while (atomic_load(&signals) < 100) {
		char *p = map(fd, 16, RW);

		p[100]++;
		CHECK(!udax_munmap(p, 16 * PAGE));
		sigprocmask(SIG_BLOCK, &prof, NULL); /* what others do, they do elsewhere */
		fake_move(fd, 0, 16 * PAGE);
		sigprocmask(SIG_UNBLOCK, &prof, NULL);
	}
	CHECK(stats().mmaps > 10);
}

static void a_signal_handler_may_touch_a_mapping_during_a_call(void **state)
{
	(void)state;
	fake_isolated(with_signals, 60);
}

/* ---- everything at once ------------------------------------------------------------------------ */

#define BUSY_PAGES 64u
#define BUSY_THREADS 4u

/* A thread with a mapping of its own, and a word of its own in each page of the file. */
struct busy {
	unsigned number, seed;
	int fd;
	char *p;
	unsigned pages; /* of the mapping, from the start of the file */
	uint64_t remembered[BUSY_PAGES], calls;
};

static void busy_look(struct busy *b)
{
	for (unsigned i = 0; i < b->pages; i++) {
		volatile uint64_t *word = (uint64_t *)(b->p + i * PAGE) + b->number;

		CHECK(*word == b->remembered[i]);
		*word = ++b->remembered[i];
	}
}

static void busy_protect(struct busy *b, unsigned first)
{
	CHECK(!udax_mprotect(b->p + first * PAGE, PAGE, PROT_READ));
	CHECK(((volatile uint64_t *)(b->p + first * PAGE))[b->number] == b->remembered[first]);
	CHECK(!udax_mprotect(b->p, b->pages * PAGE, RW));
}

static void busy_resize(struct busy *b, unsigned pages)
{
	b->p = udax_mremap(b->p, b->pages * PAGE, pages * PAGE, MREMAP_MAYMOVE);
	CHECK(b->p != MAP_FAILED);
	b->pages = pages;
}

static void busy_map(struct busy *b, int flags)
{
	b->p = udax_mmap(b->p, BUSY_PAGES * PAGE, RW, MAP_SHARED | flags, b->fd, 0);
	CHECK(b->p != MAP_FAILED);
	b->pages = BUSY_PAGES;
}

static void busy_step(struct busy *b)
{
	unsigned first = (unsigned)rand_r(&b->seed) % b->pages;

	switch (rand_r(&b->seed) % 8) {
	case 0:
		CHECK(!udax_munmap(b->p, b->pages * PAGE));
		busy_map(b, MAP_POPULATE);
		break;
	case 1:
		if (b->pages == BUSY_PAGES)
			busy_map(b, MAP_FIXED);
		break;
	case 2:
		busy_protect(b, first);
		break;
	case 3:
		busy_resize(b, 1 + first);
		break;
	case 4:
		busy_resize(b, BUSY_PAGES);
		break;
	case 5:
		CHECK(!udax_msync(b->p, b->pages * PAGE, MS_SYNC));
		break;
	case 6:
		CHECK(!udax_populate(b->p, (1 + first) * PAGE, UDAX_POPULATE_WRITE));
		break;
	default:
		CHECK(udax_is_direct(b->p, b->pages * PAGE) && stats().mappings);
		break;
	}
	b->calls++;
}

static void *busy_main(void *arg)
{
	struct busy *b = arg;

	busy_map(b, 0);
	while (!atomic_load(&stop)) {
		busy_step(b);
		busy_look(b);
	}
	return NULL;
}

/* The end of the stream is the end of all grants for this daemon, so nothing may move until it is noticed. */
static void disconnect_all(void)
{
	uint64_t reconnects = stats().reconnects;

	fake_disconnect();
	EVENTUALLY(stats().reconnects > reconnects);
}

static void *disturb(void *arg)
{
	for (unsigned i = 0; !atomic_load(&stop); i++) {
		fake_move(*(int *)arg, i % BUSY_PAGES * PAGE, PAGE);
		if (i % 64 == 63)
			disconnect_all();
		nap(1);
	}
	return NULL;
}

static void fork_one(char *p)
{
	int status;
	pid_t pid = fork_a_while();

	if (!pid)
		_exit(!udax_is_direct(p, PAGE) || *(volatile char *)p != 'p');
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static void everything_at_once(void)
{
	static struct busy busy[BUSY_THREADS];
	pthread_t threads[BUSY_THREADS], disturber;
	const char *level = getenv("UDAX_TEST_LEVEL");
	const time_t end = time(NULL) + (level && !strcmp(level, "full") ? 30 : 5);
	int fd, other;
	char *p;

	fake_start(&(struct fake_options){ .run_pages = 5 });
	fd = fake_file(BUSY_PAGES);
	other = fake_file(1);
	p = map(other, 1, RW);
	*p = 'p';
	for (unsigned i = 0; i < BUSY_THREADS; i++) {
		busy[i].number = busy[i].seed = i;
		busy[i].fd = fd;
		CHECK(!pthread_create(&threads[i], NULL, busy_main, &busy[i]));
	}
	CHECK(!pthread_create(&disturber, NULL, disturb, &fd));
	while (time(NULL) < end) {
		if (may_fork_beside_threads())
			fork_one(p);
		nap(20);
	}
	atomic_store(&stop, true);
	CHECK(!pthread_join(disturber, NULL));
	for (unsigned i = 0; i < BUSY_THREADS; i++) {
		CHECK(!pthread_join(threads[i], NULL));
		CHECK(busy[i].calls > 20);
	}
	CHECK(stats().recalls > 20 && stats().reconnects > 0 && stats().faults > 100);
}

/* flock(2) is of the open file, which lives as long as a mapping of it, and no longer. */
static void locking(void)
{
	char path[64];
	int base;

	fake_start(NULL);
	base = fake_file(1);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", base);
	for (unsigned i = 0; i < 300; i++) {
		int fd = open(path, O_RDWR | O_CLOEXEC), other;
		char *p;

		CHECK(fd >= 0 && !flock(fd, LOCK_EX | LOCK_NB));
		p = map(fd, 1, RW);
		*p = 'l';
		close(fd);
		other = open(path, O_RDWR | O_CLOEXEC);
		CHECK(other >= 0 && flock(other, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK);
		close(other);
		CHECK(!udax_munmap(p, PAGE));
	}
}

static void a_lock_of_the_file_ends_with_its_last_mapping(void **state)
{
	(void)state;
	fake_isolated(locking, 60);
}

static void threads_may_do_everything_at_once(void **state)
{
	(void)state;
	fake_isolated(everything_at_once, 60);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_store_reaches_the_medium_and_a_load_sees_it),
		cmocka_unit_test(a_store_into_a_hole_is_seen_by_all_who_had_zeroes),
		cmocka_unit_test(a_load_of_what_is_written_is_one_question),
		cmocka_unit_test(a_punch_takes_away_what_it_punches_and_no_more),
		cmocka_unit_test(zeroes_are_shown_wherever_memory_was_taken_back),
		cmocka_unit_test(behind_the_end_a_touch_is_a_SIGBUS_until_the_file_grows),
		cmocka_unit_test(a_failure_is_a_SIGBUS_and_not_for_ever),
		cmocka_unit_test(no_store_is_lost_while_pages_are_taken_back),
		cmocka_unit_test(a_recall_that_finds_no_memory_is_answered_when_there_is_some),
		cmocka_unit_test(a_fault_that_finds_no_memory_tries_again),
		cmocka_unit_test(what_is_unmapped_everywhere_is_given_back),
		cmocka_unit_test(protection_changes_with_its_grants),
		cmocka_unit_test(a_mapping_is_resized_and_moved),
		cmocka_unit_test(a_fixed_mapping_replaces_what_was_there),
		cmocka_unit_test(what_is_populated_faults_no_more),
		cmocka_unit_test(what_cannot_be_direct_fails_with_its_reason),
		cmocka_unit_test(a_granule_of_2_MiB_is_mapped_whole_or_refused),
		cmocka_unit_test(pieces_of_the_region_are_bounded),
		cmocka_unit_test(pieces_that_continue_each_other_become_one),
		cmocka_unit_test(zeroes_do_not_cost_as_much_as_the_hole_is_large),
		cmocka_unit_test(descriptors_and_locks_of_the_program_are_its_own),
		cmocka_unit_test(a_program_that_closes_everything_keeps_its_mappings),
		cmocka_unit_test(the_mappings_of_a_child_work),
		cmocka_unit_test(a_child_that_the_library_does_not_know_of_has_holes),
		cmocka_unit_test(a_fork_goes_well_while_others_map),
		cmocka_unit_test(a_client_finds_its_daemon_again),
		cmocka_unit_test(memory_calls_do_not_need_the_daemon),
		cmocka_unit_test(msync_waits_for_a_daemon_that_is_started_again),
		cmocka_unit_test(a_granule_stays_whole_while_its_daemon_is_looked_for),
		cmocka_unit_test(a_daemon_with_a_larger_granule_does_not_serve_what_is_mapped),
		cmocka_unit_test(without_a_daemon_a_touch_ends_in_a_SIGBUS),
		cmocka_unit_test(a_lost_file_that_nobody_maps_is_forgotten),
		cmocka_unit_test(a_signal_handler_may_touch_a_mapping_during_a_call),
		cmocka_unit_test(a_lock_of_the_file_ends_with_its_last_mapping),
		cmocka_unit_test(threads_may_do_everything_at_once),
	};

	if (argc > 1) /* a pattern */
		cmocka_set_test_filter(argv[1]);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
