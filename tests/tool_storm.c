/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * tool_storm.c - processes that store into files through their own mappings, while others change what
 * stands where, are stopped, or die. To be run under `udaxrun --require-direct`:
 *
 *	tool_storm DIRECTORY SECONDS [SEED]
 *
 * Every 8 bytes of every page say whose they are, so that one that came from elsewhere is recognised
 * at once:
 *
 *	torn/N	  storers store words of family TORN anywhere; changers truncate, punch, zero, collapse,
 *		  insert, exchange, and copy from one to the other. Any word there is 0 or of that family.
 *	kept	  each storer has a word of its own in each page, and remembers what it stored; changers
 *		  only move the file (relocate), which nobody may notice. No store may be lost. (Its
 *		  last page is punched each time, so that there is a reason to move it again.)
 *	foreign/N fillers write files through write(2), of words that name file and page, remove them and
 *		  write others: they get the blocks that the changers have freed. Whatever they read
 *		  back is exactly what they wrote: else somebody has stored into a block that was not his
 *		  any more. And who loads a foreign word from torn/N has a mapping of a foreign block.
 *
 * The kernel copies bytes, not words: read(2) beside a store can give half of the old word and half of the
 * new one, on any filesystem. So a word carries a check sum. One that is not whole says nothing about where it
 * is from, and is looked at again; one that does not become whole is a failure, and so are more of them in
 * a page than there are storers.
 *
 * A copy is the daemon's, which moves whole words where both ends are at a multiple of a cache line: so a word
 * that stays half a word is none of its making.
 *
 * Each storer proves at its end that it ran direct (maps.h).
 *
 * A storer that does not answer a recall in time, because it was stopped or found no CPU, loses stores: but not
 * without being told. Its library has counted that (udax_stats.late) before a page that was taken from it can be
 * touched again, because the daemon says both on one stream. Then it forgets what it remembers.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "maps.h"
#include "udax/ioctl.h"
#include "udax/udax.h"

#define PAGE 4096u
#define WORDS (PAGE / 8)
#define NTORN 3
#define TORN_PAGES 1024u
#define KEPT_PAGES 512u
#define FOREIGN_PAGES 300u
#define NSTORERS 8
#define NCHANGERS 2
#define NFILLERS 2
#define NREADERS 1
#define NCHILDREN (NSTORERS + NCHANGERS + NFILLERS + NREADERS)

#define FAMILY_TORN 0x70u
#define FAMILY_FOREIGN 0xf0u
#define MAX_LOOKS 100u

struct shared {
	atomic_bool stop, failed;
	char why[256];
	atomic_ullong halves, stores, loads, changes, copies, moves, files, deaths, stops, faults,
		recalls, late;
};

static struct shared *shared;
static uint64_t seed;

/* ---- small things --------------------------------------------------------------------------------- */

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static uint64_t below(uint64_t n)
{
	return next_random() % n;
}

static bool is_first_wrong(void)
{
	bool first = false;

	return atomic_compare_exchange_strong(&shared->failed, &first, true);
}

static void wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void wrong(const char *format, ...)
{
	va_list args;

	if (!is_first_wrong())
		return;
	va_start(args, format);
	vsnprintf(shared->why, sizeof(shared->why), format, args);
	va_end(args);
	atomic_store(&shared->stop, true);
}

/* ---- words ---------------------------------------------------------------------------------------- */

/* From the highest bit: family, content, check sum. */
enum { CONTENT_BITS = 32, SUM_BITS = 24 };

static uint64_t sum_of(uint64_t content)
{
	return (content + 1) * UINT64_C(0x9e3779b97f4a7c15) >> (64 - SUM_BITS);
}

static uint64_t word_make(unsigned family, uint32_t content)
{
	uint64_t word = (uint64_t)family << CONTENT_BITS | content;

	return word << SUM_BITS | sum_of(word);
}

static unsigned family_of(uint64_t word)
{
	return (unsigned)(word >> (CONTENT_BITS + SUM_BITS));
}

static bool is_whole(uint64_t word)
{
	return !word || word == (word >> SUM_BITS << SUM_BITS | sum_of(word >> SUM_BITS));
}

/*
 * Words of torn/N: whether all were whole, and so have been judged. Else look again; @looks counts that.
 */
static bool judged(const char *how, const uint64_t *words, size_t n, unsigned *looks)
{
	unsigned halves = 0;

	for (size_t i = 0; i < n; i++) {
		if (!is_whole(words[i]))
			halves++;
		else if (words[i] && family_of(words[i]) != FAMILY_TORN)
			wrong("%s gives a foreign word %016llx", how, (unsigned long long)words[i]);
		if (!is_whole(words[i]) && (halves > NSTORERS || *looks == MAX_LOOKS))
			wrong("%s gives %016llx, which is no word: %u of them, look %u", how,
			      (unsigned long long)words[i], halves, *looks);
	}
	++*looks;
	atomic_fetch_add(&shared->halves, halves);
	return !halves || *looks > MAX_LOOKS;
}

static bool running(void)
{
	return !atomic_load(&shared->stop);
}

static int open_or_fail(const char *path, int flags)
{
	int fd = open(path, flags, 0644);

	if (fd < 0)
		wrong("open %s: %s", path, strerror(errno));
	return fd;
}

/* A touch behind EOF is a SIGBUS, which a file that is truncated beneath one has to be ready for. */
static sigjmp_buf on_bus;
static volatile sig_atomic_t bus_is_expected;

static void bus(int sig)
{
	static const char why[] = "a SIGBUS where none should be";

	(void)sig;
	if (!bus_is_expected) { /* in a signal handler nothing may be formatted */
		if (is_first_wrong())
			memcpy(shared->why, why, sizeof(why));
		atomic_store(&shared->stop, true);
		_exit(1);
	}
	siglongjmp(on_bus, 1);
}

static void *map(int fd, unsigned pages)
{
	void *p = mmap(NULL, (size_t)pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		wrong("mmap: %s", strerror(errno));
	return p;
}

/* ---- storers -------------------------------------------------------------------------------------- */

struct storer {
	unsigned number;
	volatile uint64_t *torn[NTORN], *kept;
	uint64_t remembered[KEPT_PAGES];
	uint64_t late; /* as counted when remembered[] was begun */
};

static void load_torn(const volatile uint64_t *words, uint64_t at)
{
	uint64_t seen[16];
	unsigned looks = 0;

	do {
		for (unsigned i = 0; i < 16; i++)
			seen[i] = words[(at + i * 37) % WORDS];
	} while (!judged("a load", seen, 16, &looks) && running());
	atomic_fetch_add(&shared->loads, 16);
}

static void touch_torn(struct storer *s)
{
	volatile uint64_t *words = s->torn[below(NTORN)] + below(TORN_PAGES) * WORDS;
	uint64_t at = below(WORDS);

	bus_is_expected = 1;
	if (sigsetjmp(on_bus, 1) == 0) {
		if (below(3) == 0) {
			words[at] = word_make(FAMILY_TORN, (uint32_t)next_random());
			atomic_fetch_add(&shared->stores, 1);
		}
		load_torn(words, at);
	}
	bus_is_expected = 0;
}

/* What udaxrun's library counts, if it is there. */
static struct udax_stats counted(void)
{
	static void (*stats)(struct udax_stats *, size_t);
	struct udax_stats s = { 0 };

	if (!stats)
		*(void **)&stats = dlsym(RTLD_DEFAULT, "udax_stats");
	if (stats)
		stats(&s, sizeof(s));
	else
		wrong("libudax is not there: run this under udaxrun");
	return s;
}

static void touch_kept(struct storer *s)
{
	unsigned page = (unsigned)below(KEPT_PAGES - 1);
	volatile uint64_t *word = s->kept + page * WORDS + s->number;
	uint64_t is = *word, late = counted().late; /* in this order */

	if (late != s->late)
		memset(s->remembered, 0, sizeof(s->remembered));
	s->late = late;
	if (s->remembered[page] && is != s->remembered[page])
		wrong("storer %u: page %u has %llx, stored was %llx", s->number, page,
		      (unsigned long long)is, (unsigned long long)s->remembered[page]);
	is = next_random() | 1;
	s->remembered[page] = is;
	*word = is;
	atomic_fetch_add(&shared->stores, 1);
}

static void count_faults(void)
{
	const struct udax_stats s = counted();

	if (s.mmaps < NTORN + 1)
		wrong("%llu mappings are direct, not %d", (unsigned long long)s.mmaps, NTORN + 1);
	if (!s.faults)
		wrong("no faults");
	atomic_fetch_add(&shared->faults, s.faults);
	atomic_fetch_add(&shared->recalls, s.recalls);
	atomic_fetch_add(&shared->late, s.late);
}

static void ran_direct(volatile uint64_t *kept)
{
	const char *why;

	/* In the page that nobody remembers, and that a changer may still punch. */
	for (unsigned tries = 0; !maps_show((void *)(uintptr_t)kept, MAPS_REGION); tries++) {
		if (tries == 100) {
			wrong("what was stored last is not in the region");
			return;
		}
		*kept = 0;
	}
	if (maps_shared("/torn") || maps_shared("/kept"))
		wrong("files are mapped by the kernel");
	why = maps_prove(".");
	if (why)
		wrong("not direct: %s", why);
	count_faults();
}

static void storer(unsigned number)
{
	static struct storer s;
	char path[32];

	s.number = number;
	for (unsigned i = 0; i < NTORN && running(); i++) {
		snprintf(path, sizeof(path), "torn%u", i);
		s.torn[i] = map(open_or_fail(path, O_RDWR), TORN_PAGES);
	}
	if (running())
		s.kept = map(open_or_fail("kept", O_RDWR), KEPT_PAGES);
	while (running()) {
		if (below(4))
			touch_torn(&s);
		else
			touch_kept(&s);
	}
	if (s.kept) /* else it was over before it began */
		ran_direct(s.kept + (KEPT_PAGES - 1) * WORDS);
}

/* ---- changers ------------------------------------------------------------------------------------- */

static void exchange(int a, int b)
{
	struct udax_ioc_token token = { .version = UDAX_IOC_VERSION };
	struct udax_ioc_exchange e = { .version = UDAX_IOC_VERSION,
				       .pos = below(TORN_PAGES / 2) * PAGE,
				       .len = (1 + below(TORN_PAGES / 4)) * PAGE,
				       .other_pos = below(TORN_PAGES / 2) * PAGE };

	if (ioctl(b, UDAX_IOC_TOKEN, &token))
		return;
	memcpy(e.token, token.token, sizeof(e.token));
	ioctl(a, UDAX_IOC_EXCHANGE, &e);
}

/* Cache lines, from anywhere to anywhere: holes get blocks, and who shows their zeroes is recalled. */
static void copy(int from, int to)
{
	loff_t pos = (loff_t)(below(TORN_PAGES / 2 * PAGE) & ~63ull);
	loff_t other = (loff_t)(below(TORN_PAGES / 2 * PAGE) & ~63ull);

	if (copy_file_range(from, &pos, to, &other, (1 + below(64 * PAGE)) & ~63ull, 0) > 0)
		atomic_fetch_add(&shared->copies, 1);
}

static void change(const int *torn)
{
	uint64_t first = below(TORN_PAGES), n = 1 + below(64);
	struct udax_ioc_range range = { .version = UDAX_IOC_VERSION,
					.pos = first * PAGE,
					.len = n * PAGE };
	int fd = torn[below(NTORN)];

	switch (below(10)) {
	case 0:
		(void)!ftruncate(fd, (off_t)(first * PAGE + below(WORDS) * 8));
		(void)!ftruncate(fd, (off_t)TORN_PAGES * PAGE);
		break;
	case 1:
	case 2:
		fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)range.pos,
			  (off_t)range.len);
		break;
	case 3:
		fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, (off_t)range.pos,
			  (off_t)range.len);
		break;
	case 4:
		ioctl(fd, UDAX_IOC_COLLAPSE, &range);
		(void)!ftruncate(fd, (off_t)TORN_PAGES * PAGE);
		break;
	case 5:
		ioctl(fd, UDAX_IOC_INSERT, &range);
		(void)!ftruncate(fd, (off_t)TORN_PAGES * PAGE);
		break;
	case 6:
	case 7:
		copy(torn[below(NTORN)], fd);
		break;
	default:
		exchange(fd, torn[below(NTORN)]);
		break;
	}
	atomic_fetch_add(&shared->changes, 1);
}

static void changer(void)
{
	int torn[NTORN], kept = open_or_fail("kept", O_RDWR);
	char path[32];

	for (unsigned i = 0; i < NTORN; i++) {
		snprintf(path, sizeof(path), "torn%u", i);
		torn[i] = open_or_fail(path, O_RDWR);
	}
	while (running()) {
		if (below(20)) {
			change(torn);
		} else {
			struct udax_ioc_relocate r = { .version = UDAX_IOC_VERSION,
						       .len = KEPT_PAGES * PAGE };

			if (ioctl(kept, UDAX_IOC_RELOCATE, &r) == 0 && r.moved_bytes)
				atomic_fetch_add(&shared->moves, 1);
			fallocate(kept, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				  (off_t)(KEPT_PAGES - 1) * PAGE, PAGE);
		}
		usleep((useconds_t)below(2000));
	}
}

/* ---- fillers and readers -------------------------------------------------------------------------- */

static uint64_t foreign_word(uint64_t file, uint64_t page)
{
	return word_make(FAMILY_FOREIGN, (uint32_t)(file * FOREIGN_PAGES + page));
}

static void fill_file(int fd, uint64_t number, uint64_t pages)
{
	uint64_t words[WORDS];

	for (uint64_t page = 0; page < pages && running(); page++) {
		for (unsigned i = 0; i < WORDS; i++)
			words[i] = foreign_word(number, page);
		if (pwrite(fd, words, PAGE, (off_t)(page * PAGE)) != PAGE && errno != ENOSPC)
			wrong("write: %s", strerror(errno));
	}
}

static void check_file(int fd, uint64_t number, uint64_t pages)
{
	uint64_t words[WORDS];

	for (uint64_t page = 0; page < pages; page++) {
		if (pread(fd, words, PAGE, (off_t)(page * PAGE)) != PAGE)
			return; /* the volume was full */
		for (unsigned i = 0; i < WORDS; i++)
			if (words[i] && words[i] != foreign_word(number, page))
				wrong("a foreign file has %016llx in page %llu",
				      (unsigned long long)words[i], (unsigned long long)page);
	}
}

static void filler(unsigned which)
{
	uint64_t number = (uint64_t)getpid() << 12;
	char path[32];

	snprintf(path, sizeof(path), "foreign%u", which);
	while (running()) {
		uint64_t pages = 1 + below(FOREIGN_PAGES);
		int fd;

		unlink(path);
		fd = open_or_fail(path, O_RDWR | O_CREAT | O_TRUNC);
		fill_file(fd, ++number, pages);
		usleep((useconds_t)below(3000));
		check_file(fd, number, pages);
		close(fd);
		atomic_fetch_add(&shared->files, 1);
	}
}

static void read_torn(int fd)
{
	off_t pos = (off_t)(below(TORN_PAGES) * PAGE);
	uint64_t words[WORDS];
	unsigned looks = 0;
	ssize_t got;

	do {
		got = pread(fd, words, PAGE, pos);
	} while (got > 0 && !judged("read(2)", words, (size_t)got / 8, &looks) && running());
}

static void reader(void)
{
	char path[32];

	while (running()) {
		int fd;

		snprintf(path, sizeof(path), "torn%u", (unsigned)below(NTORN));
		fd = open_or_fail(path, O_RDWR);
		for (unsigned n = 0; n < 50; n++)
			read_torn(fd);
		close(fd);
		usleep(500);
	}
}

/* ---- the parent ----------------------------------------------------------------------------------- */

static pid_t start(unsigned i)
{
	uint64_t child_seed = next_random();
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	seed = child_seed;
	signal(SIGBUS, bus);
	if (i < NSTORERS)
		storer(i);
	else if (i < NSTORERS + NCHANGERS)
		changer();
	else if (i < NSTORERS + NCHANGERS + NFILLERS)
		filler(i);
	else
		reader();
	_exit(0);
}

static void make_files(void)
{
	char path[32];

	for (unsigned i = 0; i < NTORN; i++) {
		snprintf(path, sizeof(path), "torn%u", i);
		if (ftruncate(open_or_fail(path, O_RDWR | O_CREAT), (off_t)TORN_PAGES * PAGE))
			wrong("truncate: %s", strerror(errno));
	}
	if (ftruncate(open_or_fail("kept", O_RDWR | O_CREAT), (off_t)KEPT_PAGES * PAGE))
		wrong("truncate: %s", strerror(errno));
}

/* Kill one, or stop one for a while, longer than the recall's deadline now and then. */
static void disturb(pid_t *pids)
{
	unsigned i = (unsigned)below(NSTORERS);

	if (below(2)) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
		atomic_fetch_add(&shared->deaths, 1);
		pids[i] = start(i);
		return;
	}
	kill(pids[i], SIGSTOP);
	usleep((useconds_t)below(600000));
	kill(pids[i], SIGCONT);
	atomic_fetch_add(&shared->stops, 1);
}

static bool end(const pid_t *pids)
{
	time_t deadline = time(NULL) + 20; /* for all of them */
	bool well = true;

	atomic_store(&shared->stop, true);
	for (unsigned i = 0; i < NCHILDREN; i++) {
		int status = 0;

		while (waitpid(pids[i], &status, WNOHANG) == 0 && time(NULL) < deadline)
			usleep(10000);
		if (kill(pids[i], 0) == 0) {
			wrong("process %u does not end", i);
			kill(pids[i], SIGKILL);
			waitpid(pids[i], NULL, 0);
		} else if (status) {
			wrong("process %u ended with status %x", i, (unsigned)status);
		}
		well &= !status;
	}
	return well && !atomic_load(&shared->failed);
}

int main(int argc, char **argv)
{
	pid_t pids[NCHILDREN];
	time_t until;
	bool well;

	if (argc < 3 || chdir(argv[1])) {
		fprintf(stderr, "usage: tool_storm DIRECTORY SECONDS [SEED]\n");
		return 2;
	}
	seed = argc > 3 ? strtoull(argv[3], NULL, 0) : (uint64_t)time(NULL) * 2654435761u;
	printf("seed %llu\n", (unsigned long long)seed);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	make_files();
	fflush(stdout);
	for (unsigned i = 0; i < NCHILDREN; i++)
		pids[i] = start(i);
	until = time(NULL) + strtol(argv[2], NULL, 10);
	while (time(NULL) < until && running()) {
		usleep((useconds_t)(100000 + below(400000)));
		disturb(pids);
	}
	well = end(pids);
	printf("%llu stores, %llu loads, %llu changes, of them %llu copies, %llu moves, %llu foreign files, %llu deaths, "
	       "%llu stops, %llu half words; %llu faults, %llu recalls, %llu late\n",
	       (unsigned long long)shared->stores, (unsigned long long)shared->loads,
	       (unsigned long long)shared->changes, (unsigned long long)shared->copies,
	       (unsigned long long)shared->moves, (unsigned long long)shared->files,
	       (unsigned long long)shared->deaths, (unsigned long long)shared->stops,
	       (unsigned long long)shared->halves, (unsigned long long)shared->faults,
	       (unsigned long long)shared->recalls, (unsigned long long)shared->late);
	if (!well)
		printf("FAILED: %s\n", shared->why);
	return well ? 0 : 1;
}
