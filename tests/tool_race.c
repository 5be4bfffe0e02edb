/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * tool_race.c - one program for each race that this kind of filesystem has really had and that a
 * mount can show; for mount_races.sh.
 *
 *	tool_race --list		the cases: "NAME", one a line
 *	tool_race CASE DIR [SECONDS]	run it in DIR, an empty directory on a mount
 *
 * A case is a few threads that drive one interleaving again and again, and a statement that must
 * hold all the time. Each operation of each thread has 30 seconds, then it hangs (watch.h).
 *
 * Values are numbers that only rise, so that an old one is known when it is seen. Pages are filled
 * with one 8-byte word, which carries the number of its file: a foreign page is known too.
 *
 * The kernel copies and clears bytes, not words: who reads while another writes or clears can find a word torn,
 * its first bytes of one value and the rest of another (seen on tmpfs and ext4 as well, about once in a million
 * reads). 0x200 that follows 0x1ff can then look like 0x100, which is old. So a number that is written while
 * others look is sealed with a check sum, and what is not whole is looked at again.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "udax/ioctl.h"
#include "watch.h"

#define PAGE 4096u
#define WORDS (PAGE / 8)
#define MAX_THREADS 40

static const char *dir;

/* ---- what the cases are made of ------------------------------------------------------------------- */

struct thread {
	pthread_t id;
	struct worker *w;
	void (*main)(struct worker *w, void *arg);
	void *arg;
};

static struct {
	struct watch *watch;
	struct thread threads[MAX_THREADS];
	unsigned nthreads;
} run;

static void *thread_main(void *arg)
{
	struct thread *t = arg;
	char name[32];

	snprintf(name, sizeof(name), "thread %u", (unsigned)(t - run.threads) + 1);
	worker_begin(t->w, name, (uint64_t)(t - run.threads));
	t->main(t->w, t->arg);
	worker_rest(t->w);
	return NULL;
}

/* Worker 0 is the process's first thread, which starts the others. */
static void start(void (*main)(struct worker *w, void *arg), void *arg)
{
	struct thread *t = &run.threads[run.nthreads++];

	*t = (struct thread){ .w = &run.watch->workers[run.nthreads], .main = main, .arg = arg };
	if (pthread_create(&t->id, NULL, thread_main, t))
		worker_fail(&run.watch->workers[0], "no thread");
}

static void join_all(void)
{
	for (unsigned i = 0; i < run.nthreads; i++)
		pthread_join(run.threads[i].id, NULL);
	run.nthreads = 0;
}

static bool stopped(const struct worker *w)
{
	return atomic_load(&w->watch->stop);
}

#define MUST(w, call)                                                                              \
	do {                                                                                       \
		if (!(call))                                                                       \
			worker_fail(w, "line %d: %s: %s", __LINE__, #call, strerror(errno));       \
	} while (0)

static int open_file(struct worker *w, const char *name, int flags)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | flags, 0644);
	MUST(w, fd >= 0);
	return fd;
}

static uint64_t *map_shared(struct worker *w, int fd, unsigned npages)
{
	void *map = mmap(NULL, (size_t)npages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	MUST(w, map != MAP_FAILED);
	return map;
}

static void punch(struct worker *w, int fd, uint64_t pos, uint64_t len)
{
	MUST(w, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)pos, (off_t)len) ==
			0);
}

static uint64_t read_word(struct worker *w, int fd, uint64_t pos)
{
	uint64_t word = 0;

	MUST(w, pread(fd, &word, sizeof(word), (off_t)pos) == (ssize_t)sizeof(word));
	return word;
}

static void write_word(struct worker *w, int fd, uint64_t pos, uint64_t word)
{
	MUST(w, pwrite(fd, &word, sizeof(word), (off_t)pos) == (ssize_t)sizeof(word));
}

/* ---- sealed numbers ------------------------------------------------------------------------------- */

enum { SUM_BITS = 24, MAX_LOOKS = 100 };

/* Never that of zero, so a number of which the first or last bytes are cleared is told from both. */
static uint64_t sum_of(uint64_t n)
{
	return (n + 1) * UINT64_C(0x9e3779b97f4a7c15) >> (64 - SUM_BITS);
}

static uint64_t seal(uint64_t n)
{
	return n << SUM_BITS | sum_of(n);
}

/* False: it is torn. @looks counts that, because nobody tears a word for ever. */
static bool unseal(struct worker *w, const char *how, uint64_t word, unsigned *looks,
		   uint64_t *ret_n)
{
	*ret_n = word >> SUM_BITS;
	if (!word || word == seal(*ret_n))
		return true;
	if (++*looks > MAX_LOOKS)
		worker_fail(w, "%s shows %llx, which is no number, however often one looks", how,
			    (unsigned long long)word);
	return false;
}

static uint64_t read_number(struct worker *w, const char *how, int fd, uint64_t pos)
{
	unsigned looks = 0;
	uint64_t n;

	while (!unseal(w, how, read_word(w, fd, pos), &looks, &n))
		;
	return n;
}

/* ---- mappings -------------------------------------------------------------------------------------- */

/* The compiler neither keeps nor repeats these. */
static uint64_t load(const uint64_t *p)
{
	return *(const volatile uint64_t *)p;
}

static void store(uint64_t *p, uint64_t word)
{
	*(volatile uint64_t *)p = word;
}

static void fill_words(uint64_t *words, uint64_t n, uint64_t word)
{
	for (uint64_t i = 0; i < n; i++)
		words[i] = word;
}

static void write_pages(struct worker *w, int fd, unsigned first, unsigned n, uint64_t word)
{
	uint64_t *buf = malloc((size_t)n * PAGE);

	MUST(w, buf);
	fill_words(buf, (uint64_t)n * WORDS, word);
	MUST(w, pwrite(fd, buf, (size_t)n * PAGE, (off_t)first * PAGE) == (ssize_t)n * PAGE);
	free(buf);
}

static void drop(int fd)
{
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

static _Thread_local sigjmp_buf *volatile on_sigbus;

static void sigbus(int sig)
{
	if (!on_sigbus) {
		signal(sig, SIG_DFL);
		return; /* and again, for good */
	}
	siglongjmp(*on_sigbus, 1);
}

/* False: SIGBUS, it lies behind EOF. */
static bool try_store(uint64_t *p, uint64_t word)
{
	sigjmp_buf here;

	if (sigsetjmp(here, 1)) {
		on_sigbus = NULL;
		return false;
	}
	on_sigbus = &here;
	store(p, word);
	on_sigbus = NULL;
	return true;
}

static bool try_load(const uint64_t *p, uint64_t *ret_word)
{
	sigjmp_buf here;

	if (sigsetjmp(here, 1)) {
		on_sigbus = NULL;
		return false;
	}
	on_sigbus = &here;
	*ret_word = load(p);
	on_sigbus = NULL;
	return true;
}

/* False: SIGBUS. @ret_n: 0, or what was sealed there. */
static bool load_number(struct worker *w, const char *how, const uint64_t *p, uint64_t *ret_n)
{
	unsigned looks = 0;
	uint64_t word;

	do {
		if (!try_load(p, &word))
			return false;
	} while (!unseal(w, how, word, &looks, ret_n));
	return true;
}

/* The kernel releases handles some time after close(2): try until the mode has changed. */
static int open_in_mode(struct worker *w, const char *name, bool cached)
{
	for (unsigned i = 0; i < 5000; i++) {
		int fd = open_file(w, name, cached ? 0 : O_DIRECT);
		void *map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

		if (map != MAP_FAILED)
			munmap(map, PAGE);
		if ((map != MAP_FAILED) == cached)
			return fd;
		close(fd);
		usleep(1000);
	}
	worker_fail(w, "%s does not enter %s mode", name, cached ? "cached" : "uncached");
}

/* Fill the volume until about @nblocks are left, so that what is freed is used again at once. */
static void leave_free(struct worker *w, uint64_t nblocks)
{
	int fd = open_file(w, "ballast", 0);
	struct statvfs st;

	for (unsigned i = 0; i < 1000; i++) {
		off_t end;

		MUST(w, fstatvfs(fd, &st) == 0 && (end = lseek(fd, 0, SEEK_END)) >= 0);
		if (st.f_bavail <= nblocks)
			break;
		MUST(w,
		     fallocate(fd, 0, end, (off_t)((st.f_bavail - nblocks + 1) / 2 * PAGE)) == 0);
	}
	close(fd);
}

/*
 * Numbers that rise, of one writer. A clearing that begins when @done is n must leave nothing of
 * what was written until then.
 */
static struct {
	int fd, direct, other;
	uint64_t *map;
	atomic_ullong done, started;
	pthread_barrier_t barrier;
	atomic_bool again;
	uint64_t gen;
} the;

static void open_both(struct worker *w, unsigned npages)
{
	the.fd = open_in_mode(w, "f", true);
	the.direct = open_file(w, "f", O_DIRECT);
	MUST(w, ftruncate(the.fd, (off_t)npages * PAGE) == 0);
	the.map = map_shared(w, the.fd, npages);
}

static void wait_all(void)
{
	pthread_barrier_wait(&the.barrier);
}

/* ---- 16, 17, 46: freed blocks that get another owner ---------------------------------------------- */

#define OWNER(word) ((word) >> 56)
#define WORD_OF(owner, n) ((uint64_t)(owner) << 56 | (n))
#define VICTIM_PAGES 32u

/*
 * Somebody else, who takes what is free, and gives it back. Not in turn with who punches the victim: to
 * him fallocate(2) returns only when the kernel has waited for all fills of the range.
 */
static void occupy(struct worker *w, void *arg)
{
	int other = open_file(w, "other", 0);

	(void)arg;
	for (uint64_t n = 1; !stopped(w); n++) {
		worker_op(w, "write the other file");
		write_pages(w, other, 0, VICTIM_PAGES, WORD_OF('o', n));
		worker_op(w, "truncate the other file");
		MUST(w, ftruncate(other, 0) == 0);
	}
}

/* Free the victim's blocks, and give it others. */
static void recycle(struct worker *w)
{
	start(occupy, NULL);
	for (uint64_t n = 1; !stopped(w); n++) {
		worker_op(w, "punch the victim");
		punch(w, the.fd, 0, VICTIM_PAGES * PAGE);
		worker_op(w, "write the victim");
		write_pages(w, the.fd, 0, VICTIM_PAGES, WORD_OF('v', n));
	}
}

/* The owner's is the last byte. If it is zero and others are not, the word was torn by a punch. */
static void judge_victim(struct worker *w, uint64_t word, unsigned page)
{
	if (OWNER(word) && OWNER(word) != 'v')
		worker_fail(w, "page %u of the victim shows %llx, of another file", page,
			    (unsigned long long)word);
}

static void load_victim(struct worker *w, void *arg)
{
	(void)arg;
	while (!stopped(w)) {
		worker_op(w, "load all");
		for (unsigned i = 0; i < VICTIM_PAGES; i++)
			judge_victim(w, load(the.map + i * WORDS + worker_below(w, WORDS)), i);
		if (worker_once_in(w, 3))
			drop(the.fd);
	}
}

static void read_ahead_victim(struct worker *w, void *arg)
{
	uint64_t buf[WORDS];

	(void)arg;
	while (!stopped(w)) {
		unsigned page = (unsigned)worker_below(w, VICTIM_PAGES);

		worker_op(w, "read ahead, read page %u", page);
		drop(the.fd);
		posix_fadvise(the.fd, 0, VICTIM_PAGES * PAGE, POSIX_FADV_WILLNEED);
		MUST(w, pread(the.fd, buf, PAGE, page * PAGE) == PAGE);
		for (unsigned i = 0; i < WORDS; i++)
			judge_victim(w, buf[i], page);
	}
}

static void read_victim(struct worker *w, void *arg)
{
	uint64_t *buf = malloc(VICTIM_PAGES * PAGE);
	int fd = *(int *)arg;

	MUST(w, buf);
	while (!stopped(w)) {
		worker_op(w, "read all");
		if (fd == the.fd)
			drop(fd);
		MUST(w, pread(fd, buf, VICTIM_PAGES * PAGE, 0) == VICTIM_PAGES * PAGE);
		for (unsigned i = 0; i < VICTIM_PAGES * WORDS; i++)
			judge_victim(w, buf[i], i / WORDS);
	}
	free(buf);
}

static void prepare_victim(struct worker *w)
{
	open_both(w, VICTIM_PAGES);
	write_pages(w, the.fd, 0, VICTIM_PAGES, WORD_OF('v', 0));
	leave_free(w, VICTIM_PAGES + 8);
}

static void a_mapping_never_shows_a_punched_block_again(struct worker *w)
{
	prepare_victim(w);
	start(load_victim, NULL);
	start(load_victim, NULL);
	recycle(w);
}

static void readahead_never_brings_a_punched_block(struct worker *w)
{
	prepare_victim(w);
	start(read_ahead_victim, NULL);
	start(read_ahead_victim, NULL);
	recycle(w);
}

static void a_long_read_never_copies_a_block_that_was_freed(struct worker *w)
{
	prepare_victim(w);
	start(read_victim, &the.fd);
	start(read_victim, &the.direct);
	recycle(w);
}

static void an_uncached_read_never_copies_a_block_that_was_freed(struct worker *w)
{
	the.fd = open_in_mode(w, "f", false);
	the.direct = open_file(w, "f", 0);
	write_pages(w, the.fd, 0, VICTIM_PAGES, WORD_OF('v', 0));
	leave_free(w, VICTIM_PAGES + 8);
	start(read_victim, &the.direct);
	start(read_victim, &the.direct);
	recycle(w);
}

/* ---- 18, 34, 47: what was cleared does not come back ------------------------------------------------ */

static void keep_storing(struct worker *w, void *arg)
{
	uint64_t *word = the.map + (uintptr_t)arg / 8;

	for (uint64_t n = 1; !stopped(w); n++) {
		uint64_t seen;

		worker_op(w, "store %llu", (unsigned long long)n);
		atomic_store(&the.started, n);
		/* A load first: it maps the page read-only, so that the store is an upgrade. */
		try_load(word, &seen);
		try_store(word, seal(n));
		atomic_store(&the.done, n);
	}
}

static void keep_writing_back(struct worker *w, void *arg)
{
	(void)arg;
	while (!stopped(w)) {
		worker_op(w, "start writeback");
		MUST(w, sync_file_range(the.fd, 0, 0, SYNC_FILE_RANGE_WRITE) == 0);
	}
}

static void judge_cleared(struct worker *w, const char *how, uint64_t before, uint64_t n)
{
	if (n && n <= before)
		worker_fail(w, "%s shows %llu, but %llu was stored before the clearing began", how,
			    (unsigned long long)n, (unsigned long long)before);
}

static void judge_read(struct worker *w, const char *how, uint64_t before, uint64_t pos)
{
	judge_cleared(w, how, before, read_number(w, how, the.direct, pos));
}

/* Behind EOF there is nothing to judge. */
static void judge_mapping(struct worker *w, uint64_t before, const uint64_t *p)
{
	uint64_t n;

	if (load_number(w, "the mapping", p, &n))
		judge_cleared(w, "the mapping", before, n);
}

static void a_write_upgrade_looks_at_the_end_again(struct worker *w)
{
	open_both(w, 8);
	MUST(w, load(the.map + 5 * WORDS) == 0 && ftruncate(the.fd, PAGE) == 0);
	if (try_store(the.map + 5 * WORDS, 1))
		worker_fail(w, "a store behind EOF was no SIGBUS");
	start(keep_storing, (void *)(uintptr_t)(5 * PAGE));
	while (!stopped(w)) {
		uint64_t before = atomic_load(&the.done);

		worker_op(w, "truncate down and up, stored %llu", (unsigned long long)before);
		MUST(w, ftruncate(the.fd, PAGE) == 0);
		MUST(w, ftruncate(the.fd, 8 * PAGE) == 0);
		judge_read(w, "an O_DIRECT read", before, 5 * PAGE);
		judge_mapping(w, before, the.map + 5 * WORDS);
	}
}

/* Whole pages, so nothing is notified: what counts is what the kernel writes back afterwards. */
static void a_store_during_a_punch_does_not_come_back(struct worker *w)
{
	open_both(w, 8);
	start(keep_storing, (void *)(uintptr_t)(3 * PAGE));
	start(keep_writing_back, NULL);
	while (!stopped(w)) {
		uint64_t before = atomic_load(&the.done);

		worker_op(w, "punch, stored %llu", (unsigned long long)before);
		punch(w, the.fd, 2 * PAGE, 3 * PAGE);
		judge_mapping(w, before, the.map + 3 * WORDS);
		judge_read(w, "an O_DIRECT read", before, 3 * PAGE);
		MUST(w, msync(the.map, 8 * PAGE, MS_SYNC) == 0);
		judge_read(w, "an O_DIRECT read after msync", before, 3 * PAGE);
	}
}

static void queued_writeback_does_not_undo_a_punch(struct worker *w)
{
	const unsigned npages = 256;

	open_both(w, npages);
	start(keep_writing_back, NULL);
	for (uint64_t n = 1; !stopped(w); n++) {
		unsigned page = (unsigned)worker_below(w, npages);

		worker_op(w, "store %llu everywhere", (unsigned long long)n);
		for (unsigned i = 0; i < npages; i++)
			store(the.map + i * WORDS, seal(n));
		worker_op(w, "punch everything, and look");
		punch(w, the.fd, 0, npages * PAGE);
		judge_mapping(w, n, the.map + page * WORDS);
		MUST(w, fsync(the.fd) == 0);
		for (unsigned i = 0; i < npages; i++)
			judge_read(w, "an O_DIRECT read", n, i * PAGE);
	}
}

/*
 * Not in the list, but found here: a page is punched; a store faults it in again, from a fill; the
 * store is written back while the thread that served the fill has not counted it as done. It must
 * not be taken for an old copy.
 */
static void a_store_after_a_punch_is_not_discarded(struct worker *w)
{
	open_both(w, 4);
	for (uint64_t n = 1; !stopped(w); n++) {
		worker_op(w, "punch, store %llu, msync", (unsigned long long)n);
		punch(w, the.fd, PAGE, PAGE);
		store(the.map + WORDS, n);
		MUST(w, msync(the.map, 4 * PAGE, MS_SYNC) == 0);
		if (read_word(w, the.direct, PAGE) != n)
			worker_fail(w, "stored %llu, on the medium is %llu", (unsigned long long)n,
				    (unsigned long long)read_word(w, the.direct, PAGE));
	}
}

/* ---- 19: collapse -------------------------------------------------------------------------------- */

static int shift(int fd, unsigned long request, uint64_t pos, uint64_t len)
{
	struct udax_ioc_range arg = { .version = UDAX_IOC_VERSION, .pos = pos, .len = len };

	return ioctl(fd, request, &arg);
}

static void write_once_a_round(struct worker *w, void *arg)
{
	(void)arg;
	for (;;) {
		wait_all();
		if (!atomic_load(&the.again))
			break;
		worker_op(w, "write %llu", (unsigned long long)the.gen);
		write_word(w, the.fd, 8 * PAGE, the.gen);
		wait_all();
	}
}

static void a_mapped_file_is_not_collapsed(struct worker *w)
{
	open_both(w, 16);
	store(the.map + 8 * WORDS, 1);
	if (shift(the.fd, UDAX_IOC_COLLAPSE, PAGE, PAGE) == 0 || errno != EBUSY)
		worker_fail(w, "collapse of a file in cached mode was not EBUSY");
	MUST(w, load(the.map + 8 * WORDS) == 1 && read_word(w, the.direct, 8 * PAGE) == 1);
}

/* A write that meets a collapse is there afterwards: where it was meant to be, or moved along. */
static void a_collapse_loses_no_write(struct worker *w)
{
	a_mapped_file_is_not_collapsed(w);
	munmap(the.map, 16 * PAGE);
	close(the.fd);
	close(the.direct);
	the.fd = open_in_mode(w, "f", false);
	pthread_barrier_init(&the.barrier, NULL, 2);
	start(write_once_a_round, NULL);
	for (the.gen = 2;; the.gen++) {
		atomic_store(&the.again, !stopped(w));
		worker_rest(w);
		wait_all();
		if (!atomic_load(&the.again))
			break;
		worker_op(w, "collapse, %llu", (unsigned long long)the.gen);
		MUST(w, shift(the.fd, UDAX_IOC_COLLAPSE, PAGE, PAGE) == 0);
		wait_all();
		if (read_word(w, the.fd, 8 * PAGE) != the.gen &&
		    read_word(w, the.fd, 7 * PAGE) != the.gen)
			worker_fail(w, "what was written during a collapse is gone");
		MUST(w, shift(the.fd, UDAX_IOC_INSERT, PAGE, PAGE) == 0);
	}
}

/* ---- 20, 21: the last page ------------------------------------------------------------------------ */

static void judge_zero(struct worker *w, const char *how, const unsigned char *bytes,
		       unsigned first, unsigned end)
{
	for (unsigned i = first; i < end; i++)
		if (bytes[i])
			worker_fail(w, "%s shows %x at %u, behind the old end of file", how,
				    bytes[i], i);
}

static void grow_by_truncate(struct worker *w)
{
	MUST(w, ftruncate(the.fd, 2 * PAGE) == 0);
}

static void grow_by_allocate(struct worker *w)
{
	MUST(w, fallocate(the.fd, 0, 0, 2 * PAGE) == 0);
}

static void grow_by_zero_range(struct worker *w)
{
	MUST(w, fallocate(the.fd, FALLOC_FL_ZERO_RANGE, PAGE, PAGE) == 0);
}

static void grow_by_direct_write(struct worker *w)
{
	write_pages(w, the.direct, 1, 1, 1);
}

static void what_lies_behind_the_end_is_never_seen(struct worker *w)
{
	static void (*const grow[])(struct worker * w) = { grow_by_truncate, grow_by_allocate,
							   grow_by_zero_range,
							   grow_by_direct_write };
	unsigned char buf[PAGE];

	open_both(w, 1);
	for (unsigned round = 0; !stopped(w); round++) {
		unsigned end = 8 + (unsigned)worker_below(w, PAGE - 16);

		worker_op(w, "round %u, size %u", round, end);
		MUST(w, ftruncate(the.fd, 0) == 0);
		MUST(w, fallocate(the.fd, FALLOC_FL_KEEP_SIZE, 0, 2 * PAGE) == 0);
		write_pages(w, the.fd, 0, 1, ~UINT64_C(0));
		MUST(w, ftruncate(the.fd, (off_t)end) == 0);
		judge_zero(w, "the mapping", (unsigned char *)the.map, end, PAGE);
		MUST(w, msync(the.map, PAGE, MS_SYNC) == 0);
		drop(the.fd);
		judge_zero(w, "the mapping, after writeback", (unsigned char *)the.map, end, PAGE);
		grow[round % 4](w);
		MUST(w, pread(the.direct, buf, PAGE, 0) == PAGE);
		judge_zero(w, "an O_DIRECT read", buf, end, PAGE);
		MUST(w, pread(the.fd, buf, PAGE, 0) == PAGE);
		judge_zero(w, "a read", buf, end, PAGE);
		judge_zero(w, "the mapping", (unsigned char *)the.map, end, PAGE);
	}
}

static void keep_changing_the_size(struct worker *w, void *arg)
{
	(void)arg;
	for (;;) {
		wait_all();
		if (!atomic_load(&the.again))
			break;
		worker_op(w, "truncate down and up");
		MUST(w, ftruncate(the.fd, 1000) == 0);
		MUST(w, ftruncate(the.fd, PAGE) == 0);
		wait_all();
	}
}

static void a_tail_page_is_faulted_anew_after_a_size_change(struct worker *w)
{
	open_both(w, 1);
	pthread_barrier_init(&the.barrier, NULL, 2);
	start(keep_changing_the_size, NULL);
	for (the.gen = 1;; the.gen++) {
		atomic_store(&the.again, !stopped(w));
		worker_rest(w);
		wait_all();
		if (!atomic_load(&the.again))
			break;
		worker_op(w, "store meanwhile, %llu", (unsigned long long)the.gen);
		for (unsigned i = 0; i < 20; i++)
			store(the.map + 400, the.gen);
		wait_all();
		worker_op(w, "store, %llu", (unsigned long long)the.gen);
		store(the.map + 300, the.gen);
		MUST(w, read_word(w, the.fd, 300 * 8) == the.gen);
		MUST(w, msync(the.map, PAGE, MS_SYNC) == 0);
		MUST(w, read_word(w, the.direct, 300 * 8) == the.gen);
		MUST(w, read_word(w, the.direct, 400 * 8) == load(the.map + 400));
	}
}

/* ---- 35: sizes ------------------------------------------------------------------------------------ */

static void keep_asking_for_the_size(struct worker *w, void *arg)
{
	(void)arg;
	while (!stopped(w)) {
		struct statx stx;

		worker_op(w, "statx");
		MUST(w,
		     statx(the.fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_ALL, &stx) == 0);
	}
}

static void an_old_size_does_not_cut_the_file(struct worker *w)
{
	open_both(w, 64);
	MUST(w, ftruncate(the.fd, PAGE) == 0);
	start(keep_asking_for_the_size, NULL);
	start(keep_asking_for_the_size, NULL);
	for (uint64_t n = 1; !stopped(w); n++) {
		unsigned page = (unsigned)(n % 64);
		struct stat st;

		worker_op(w, "make the file %u pages long", page + 1);
		if (!page)
			MUST(w, ftruncate(the.fd, 0) == 0);
		if (n % 3 == 0)
			MUST(w, ftruncate(the.fd, (off_t)(page + 1) * PAGE) == 0);
		else if (n % 3 == 1)
			MUST(w, fallocate(the.fd, 0, 0, (off_t)(page + 1) * PAGE) == 0);
		else
			write_pages(w, the.fd, page, 1, 0);
		if (!try_store(the.map + page * WORDS, n))
			worker_fail(
				w, "a store to the page by which the file was made longer: SIGBUS");
		MUST(w, fstat(the.fd, &st) == 0 && st.st_size == (off_t)(page + 1) * PAGE);
		MUST(w, read_word(w, the.fd, page * PAGE) == n);
	}
}

/* ---- 36, 37, 44, 53: nobody waits for himself ------------------------------------------------------ */

static void open_and_truncate(struct worker *w, void *arg)
{
	(void)arg;
	while (!stopped(w)) {
		int fd;

		worker_op(w, "open with O_TRUNC, write, close");
		fd = open_file(w, "f", O_TRUNC);
		write_pages(w, fd, 0, 4, 1);
		close(fd);
	}
}

static void open_and_store(struct worker *w, void *arg)
{
	(void)arg;
	while (!stopped(w)) {
		uint64_t *map;
		int fd;

		worker_op(w, "open, make longer, store, close");
		fd = open_file(w, "f", 0);
		MUST(w, ftruncate(fd, 16 * PAGE) == 0);
		map = map_shared(w, fd, 16);
		for (unsigned i = 0; i < 16; i++)
			try_store(map + i * WORDS, i);
		munmap(map, 16 * PAGE);
		close(fd);
	}
}

static void open_with_o_trunc_does_not_lock_up(struct worker *w)
{
	for (unsigned i = 0; i < 4; i++)
		start(i % 2 ? open_and_truncate : open_and_store, NULL);
	open_and_truncate(w, NULL);
}

#define KEPT(i) (UINT64_C(0xabcd0000) + (i))

/* The first word of each page is never touched. */
static void load_and_drop(struct worker *w, void *arg)
{
	(void)arg;
	while (!stopped(w)) {
		unsigned page = (unsigned)worker_below(w, 16);

		worker_op(w, "load page %u", page);
		if (load(the.map + page * WORDS) != KEPT(page))
			worker_fail(w, "page %u lost what was beside the punched range", page);
		drop(the.fd);
	}
}

static void store_anywhere(struct worker *w, void *arg)
{
	(void)arg;
	while (!stopped(w)) {
		worker_op(w, "store to every page");
		for (unsigned i = 0; i < 16; i++)
			try_store(the.map + i * WORDS + 300, 1);
		if (worker_once_in(w, 4))
			MUST(w, msync(the.map, 16 * PAGE, MS_SYNC) == 0);
	}
}

/* Both ends inside a page, so the kernel is notified for both. */
static void punch_edges(struct worker *w, void *arg)
{
	(void)arg;
	while (!stopped(w)) {
		unsigned page = (unsigned)worker_below(w, 16);

		worker_op(w, "punch in page %u", page);
		punch(w, the.fd, page * PAGE + 1000, 2000 + worker_below(w, 1000));
	}
}

static void prepare_kept(struct worker *w)
{
	open_both(w, 16);
	for (unsigned i = 0; i < 16; i++)
		write_word(w, the.fd, (uint64_t)i * PAGE, KEPT(i));
}

static void a_notify_does_not_wait_for_a_fill_that_waits_for_it(struct worker *w)
{
	prepare_kept(w);
	for (unsigned i = 0; i < 3; i++)
		start(load_and_drop, NULL);
	start(store_anywhere, NULL);
	punch_edges(w, NULL);
}

static void change_attributes(struct worker *w, void *arg)
{
	(void)arg;
	while (!stopped(w)) {
		worker_op(w, "truncate");
		MUST(w, ftruncate(the.fd, (off_t)(15 * PAGE + 8 + worker_below(w, PAGE - 8))) == 0);
		worker_op(w, "chmod");
		MUST(w, fchmod(the.fd, 0600 + (mode_t)worker_below(w, 2) * 044) == 0);
		worker_op(w, "SEEK_DATA");
		MUST(w, lseek(the.fd, 0, SEEK_DATA) == 0);
	}
}

static void a_truncate_with_dirty_pages_does_not_lock_up(struct worker *w)
{
	prepare_kept(w);
	start(store_anywhere, NULL);
	start(store_anywhere, NULL);
	start(punch_edges, NULL);
	start(load_and_drop, NULL);
	change_attributes(w, NULL);
}

/*
 * The daemon is stopped until as many punches as it has threads wait for it, and behind them reads of
 * the pages that these will notify: their folios are locked, so a thread that notifies gets no further
 * before another one has served the read.
 */
#define QUEUED 3u

static struct {
	pid_t daemon;
	int fds[QUEUED];
	atomic_uint step, finished;
	atomic_bool ending;
} queue;

static bool queue_wait(struct worker *w, unsigned step)
{
	worker_rest(w);
	while (atomic_load(&queue.step) < step && !atomic_load(&queue.ending))
		usleep(100);
	return !atomic_load(&queue.ending);
}

static void punch_when_told(struct worker *w, void *arg)
{
	for (unsigned round = 0; queue_wait(w, 2 * round + 1); round++) {
		worker_op(w, "punch over the end of the first page");
		punch(w, *(int *)arg, 3000, 3000);
		atomic_fetch_add(&queue.finished, 1);
	}
}

static void read_when_told(struct worker *w, void *arg)
{
	uint64_t word;

	for (unsigned round = 0; queue_wait(w, 2 * round + 2); round++) {
		worker_op(w, "read the first page");
		MUST(w, pread(*(int *)arg, &word, sizeof(word), 0) == sizeof(word));
		atomic_fetch_add(&queue.finished, 1);
	}
}

static void more_requests_than_threads_do_not_lock_up(struct worker *w)
{
	const char *daemon = getenv("RACE_DAEMON");

	MUST(w, daemon && (queue.daemon = (pid_t)atoi(daemon)) > 1);
	for (unsigned i = 0; i < QUEUED; i++) {
		char name[16];

		snprintf(name, sizeof(name), "f%u", i);
		queue.fds[i] = open_file(w, name, 0);
		write_pages(w, queue.fds[i], 0, 2, 1);
		start(punch_when_told, &queue.fds[i]);
		start(read_when_told, &queue.fds[i]);
	}
	while (!stopped(w)) {
		worker_op(w, "stop the daemon, line up, let it go on");
		for (unsigned i = 0; i < QUEUED; i++)
			drop(queue.fds[i]);
		atomic_store(&queue.finished, 0);
		MUST(w, kill(queue.daemon, SIGSTOP) == 0);
		atomic_fetch_add(&queue.step, 1);
		usleep(20000);
		atomic_fetch_add(&queue.step, 1);
		usleep(20000);
		MUST(w, kill(queue.daemon, SIGCONT) == 0);
		while (atomic_load(&queue.finished) < 2 * QUEUED)
			usleep(100);
	}
	atomic_store(&queue.ending, true);
}

/* ---- 45, 57, 58: write(2), stores and the medium --------------------------------------------------- */

static void keep_opening(struct worker *w, void *arg)
{
	(void)arg;
	while (!stopped(w)) {
		worker_op(w, "open and close");
		close(open_file(w, "f", worker_once_in(w, 2) ? O_DIRECT : 0));
	}
}

static void keep_seeking(struct worker *w, void *arg)
{
	(void)arg;
	while (!stopped(w)) {
		worker_op(w, "SEEK_DATA");
		MUST(w, lseek(the.fd, 0, SEEK_DATA) >= 0 || errno == ENXIO);
	}
}

static void a_mapping_shows_a_write_that_has_returned(struct worker *w)
{
	prepare_kept(w);
	start(punch_edges, NULL);
	start(keep_opening, NULL);
	start(keep_seeking, NULL);
	start(load_and_drop, NULL);
	for (uint64_t n = 1; !stopped(w); n++) {
		uint64_t pos = worker_below(w, 16) * PAGE + 8;

		worker_op(w, "write %llu", (unsigned long long)n);
		write_word(w, the.fd, pos, n);
		if (load(the.map + pos / 8) != n)
			worker_fail(w, "wrote %llu, the mapping shows %llu", (unsigned long long)n,
				    (unsigned long long)load(the.map + pos / 8));
	}
}

#define LONG_WRITE_PAGES 32u

/*
 * Stores as soon as the write's bytes are in the page cache, and has that written back; not by msync(2),
 * which would wait for the write.
 */
static void overtake(struct worker *w, void *arg)
{
	(void)arg;
	for (;;) {
		uint64_t *word = the.map + (LONG_WRITE_PAGES - 1) * WORDS;

		wait_all();
		if (!atomic_load(&the.again))
			break;
		worker_op(w, "wait for %llu, store, write back", (unsigned long long)the.gen);
		while (load(word) != the.gen)
			;
		store(word, the.gen | UINT64_C(1) << 63);
		MUST(w, sync_file_range(the.fd, (LONG_WRITE_PAGES - 1) * PAGE, PAGE,
					SYNC_FILE_RANGE_WRITE) == 0);
		wait_all();
	}
}

static void write_against_stores(struct worker *w)
{
	open_both(w, LONG_WRITE_PAGES);
	pthread_barrier_init(&the.barrier, NULL, 2);
	start(overtake, NULL);
	for (the.gen = 1;; the.gen++) {
		uint64_t last = (LONG_WRITE_PAGES - 1) * PAGE, word;

		atomic_store(&the.again, !stopped(w));
		worker_rest(w);
		wait_all();
		if (!atomic_load(&the.again))
			break;
		worker_op(w, "write %llu", (unsigned long long)the.gen);
		write_pages(w, the.fd, 0, LONG_WRITE_PAGES, the.gen);
		wait_all();
		word = read_word(w, the.direct, last);
		if (word != (the.gen | UINT64_C(1) << 63))
			worker_fail(w, "stored %llx after the write, on the medium is %llx",
				    (unsigned long long)(the.gen | UINT64_C(1) << 63),
				    (unsigned long long)word);
		MUST(w, load(the.map + last / 8) == word);
		word = read_word(w, the.direct, last + PAGE - sizeof(word));
		if (word != the.gen)
			worker_fail(w, "wrote %llx, beside the store there is %llx",
				    (unsigned long long)the.gen, (unsigned long long)word);
	}
}

static void a_store_is_not_wiped_by_the_write_before_it(struct worker *w)
{
	write_against_stores(w);
}

static void nothing_is_invalidated_under_a_write(struct worker *w)
{
	open_both(w, LONG_WRITE_PAGES);
	start(keep_opening, NULL);
	start(keep_seeking, NULL);
	write_against_stores(w);
}

/* ---- 49: appending --------------------------------------------------------------------------------- */

static void an_append_goes_to_the_true_end(struct worker *w)
{
	int fd = open_in_mode(w, "f", false), append = open_file(w, "f", O_APPEND);
	uint64_t size = 16 * PAGE;
	struct stat st;

	MUST(w, ftruncate(fd, (off_t)size) == 0);
	for (uint64_t n = 1; !stopped(w); n++) {
		bool insert = size < 32 * PAGE;

		worker_op(w, "%s, append %llu", insert ? "insert" : "collapse",
			  (unsigned long long)n);
		MUST(w, shift(fd, insert ? UDAX_IOC_INSERT : UDAX_IOC_COLLAPSE, 0, 8 * PAGE) == 0);
		size = insert ? size + 8 * PAGE : size - 8 * PAGE;
		MUST(w, write(append, &n, sizeof(n)) == (ssize_t)sizeof(n));
		MUST(w, read_word(w, fd, size) == n);
		size += sizeof(n);
		MUST(w, fstat(fd, &st) == 0 && (uint64_t)st.st_size == size);
	}
}

/* ---- 54: no room for what is laundered --------------------------------------------------------------- */

/* Into the hole, some time after the kernel has flushed it for the punch and before that is answered. */
static void store_once_a_round(struct worker *w, void *arg)
{
	(void)arg;
	for (;;) {
		wait_all();
		if (!atomic_load(&the.again))
			break;
		worker_op(w, "store %llu", (unsigned long long)the.gen);
		for (uint64_t n = worker_below(w, 20000); n; n--)
			atomic_load(&the.again);
		store(the.map, the.gen);
		wait_all();
	}
}

/* The file again: a hole, two pages of data, and no room for more. */
static void prepare_no_room(struct worker *w)
{
	/* The kernel may still have to tell that the last round's store found no room. */
	MUST(w, ftruncate(the.fd, 0) == 0 || (errno == ENOSPC && ftruncate(the.fd, 0) == 0));
	MUST(w, ftruncate(the.fd, 4 * PAGE) == 0);
	write_pages(w, the.fd, 1, 2, the.gen);
	leave_free(w, 0);
	load(the.map);
}

static void a_punch_stops_when_a_store_finds_no_room(struct worker *w)
{
	open_both(w, 4);
	pthread_barrier_init(&the.barrier, NULL, 2);
	start(store_once_a_round, NULL);
	for (the.gen = 1;; the.gen++) {
		bool stopped_short;

		worker_op(w, "fill the volume");
		prepare_no_room(w);
		atomic_store(&the.again, !stopped(w));
		worker_rest(w);
		wait_all();
		if (!atomic_load(&the.again))
			break;
		worker_op(w, "punch beside a store into a hole of a full volume");
		stopped_short = fallocate(the.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2048,
					  3 * PAGE - 2048) != 0;
		MUST(w, !stopped_short || errno == ENOSPC);
		wait_all();
		if (stopped_short) {
			/* What O_DIRECT flushes first has no room either; after that it is given up. */
			msync(the.map, PAGE, MS_SYNC);
			MUST(w, read_word(w, the.direct, PAGE) == the.gen);
			MUST(w, read_word(w, the.direct, 2 * PAGE) == the.gen);
		} else {
			/* There is room now. What was stored is there, or its loss is told. */
			MUST(w, msync(the.map, PAGE, MS_SYNC) == 0);
			MUST(w, read_word(w, the.direct, 0) == the.gen);
		}
	}
}

/* ---- 59, 63: from one mode to the other ------------------------------------------------------------- */

#define MODE_THREADS 4u

static atomic_ullong published[MODE_THREADS];

static void look_at_all(struct worker *w, int fd, const uint64_t *map)
{
	for (unsigned i = 0; i < MODE_THREADS; i++) {
		uint64_t before = atomic_load(&published[i]);
		const char *how = map ? "a mapping" : "a read";
		uint64_t n;

		if (!map)
			n = read_number(w, how, fd, i * PAGE);
		else
			MUST(w, load_number(w, how, map + i * WORDS, &n));
		if (n < before)
			worker_fail(w, "%s shows %llu of thread %u, which had written %llu", how,
				    (unsigned long long)n, i, (unsigned long long)before);
	}
}

static void open_in_any_mode(struct worker *w, void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg;

	for (uint64_t n = 1; !stopped(w); n++) {
		bool direct = worker_once_in(w, 2);
		uint64_t *map;
		int fd;

		worker_op(w, "open %s, look, write %llu, close", direct ? "O_DIRECT" : "ordinary",
			  (unsigned long long)n);
		fd = open_file(w, "f", direct ? O_DIRECT : 0);
		map = mmap(NULL, MODE_THREADS * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		look_at_all(w, fd, map == MAP_FAILED ? NULL : map);
		if (map == MAP_FAILED)
			write_word(w, fd, me * PAGE, seal(n));
		else
			store(map + me * WORDS, seal(n));
		atomic_store(&published[me], n);
		look_at_all(w, fd, NULL);
		if (map != MAP_FAILED)
			munmap(map, MODE_THREADS * PAGE);
		close(fd);
		if (worker_once_in(w, 4))
			usleep((useconds_t)worker_below(w, 200));
	}
}

static void a_mode_begins_where_the_one_before_has_ended(struct worker *w)
{
	int fd = open_file(w, "f", 0);

	MUST(w, ftruncate(fd, MODE_THREADS * PAGE) == 0);
	close(fd);
	for (unsigned i = 1; i < MODE_THREADS; i++)
		start(open_in_any_mode, (void *)(uintptr_t)i);
	open_in_any_mode(w, NULL);
}

static void a_private_view_does_not_outlive_its_mode(struct worker *w)
{
	for (uint64_t n = 1; !stopped(w); n++) {
		int fd;
		uint64_t *map;

		worker_op(w, "uncached: look through a private mapping, write %llu",
			  (unsigned long long)n);
		fd = open_in_mode(w, "f", false);
		write_word(w, fd, 0, n - 1);
		map = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
		MUST(w, map != MAP_FAILED && load(map) == n - 1);
		write_word(w, fd, 0, n);
		munmap(map, PAGE);
		close(fd);
		worker_op(w, "cached: read %llu", (unsigned long long)n);
		fd = open_in_mode(w, "f", true);
		MUST(w, read_word(w, fd, 0) == n);
		map = map_shared(w, fd, 1);
		MUST(w, load(map) == n);
		munmap(map, PAGE);
		close(fd);
	}
}

/*
 * Not in the list either: a private mapping or a splice(2) of an uncached file goes through the page
 * cache, and what these left there must not be seen after its layout has changed.
 */
static void splice_words(struct worker *w, int fd, unsigned npages, uint64_t *ret_words)
{
	off_t pos = 0;
	int ends[2];

	MUST(w, pipe(ends) == 0);
	for (unsigned i = 0; i < npages; i++) {
		uint64_t page[WORDS];
		size_t done = 0;

		MUST(w, splice(fd, &pos, ends[1], NULL, PAGE, 0) == PAGE);
		while (done < PAGE) {
			ssize_t n = read(ends[0], (char *)page + done, PAGE - done);

			MUST(w, n > 0);
			done += (size_t)n;
		}
		ret_words[i] = page[0];
	}
	close(ends[0]);
	close(ends[1]);
}

/* Each of the first @npages pages begins with a word: they must be @wanted, however one looks. */
static void judge_pages(struct worker *w, const char *after, int fd, unsigned npages,
			const uint64_t *wanted)
{
	uint64_t spliced[16], *map;

	/* First, because making a mapping drops what the cache has. */
	splice_words(w, fd, npages, spliced);
	map = mmap(NULL, npages * PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
	MUST(w, map != MAP_FAILED);
	for (unsigned i = 0; i < npages; i++) {
		MUST(w, read_word(w, fd, i * PAGE) == wanted[i]);
		if (load(map + i * WORDS) != wanted[i] || spliced[i] != wanted[i])
			worker_fail(
				w,
				"after %s, page %u: read %llu, a private mapping %llu, splice %llu",
				after, i, (unsigned long long)wanted[i],
				(unsigned long long)load(map + i * WORDS),
				(unsigned long long)spliced[i]);
	}
	munmap(map, npages * PAGE);
}

static void exchange(struct worker *w, int fd, int other, uint64_t pos, uint64_t len)
{
	struct udax_ioc_token token = { .version = UDAX_IOC_VERSION };
	struct udax_ioc_exchange arg = {
		.version = UDAX_IOC_VERSION, .pos = pos, .len = len, .other_pos = pos
	};

	MUST(w, ioctl(other, UDAX_IOC_TOKEN, &token) == 0);
	memcpy(arg.token, token.token, sizeof(arg.token));
	MUST(w, ioctl(fd, UDAX_IOC_EXCHANGE, &arg) == 0);
}

static void copies_of_an_uncached_file_follow_its_layout(struct worker *w)
{
	int direct = open_in_mode(w, "f", false), other_direct = open_in_mode(w, "g", false);
	int fd = open_file(w, "f", 0), other = open_file(w, "g", 0);

	for (uint64_t n = 1; !stopped(w); n += 16) {
		uint64_t words[8] = { n, n + 1, n + 2, n + 3, n + 4, n + 5, n + 6, n + 7 };
		const uint64_t inserted[8] = { n, n + 1, 0, n + 2, n + 3, n + 4, n + 5, n + 6 };
		const uint64_t others[8] = {
			n + 8, n + 8, n + 8, n + 8, n + 8, n + 8, n + 8, n + 8
		};

		worker_op(w, "insert, collapse, exchange %llu", (unsigned long long)n);
		for (unsigned i = 0; i < 8; i++)
			write_word(w, direct, i * PAGE, words[i]);
		write_pages(w, other_direct, 0, 8, n + 8);
		MUST(w, ftruncate(fd, 8 * PAGE) == 0);
		judge_pages(w, "writing", fd, 8, words);
		MUST(w, shift(direct, UDAX_IOC_INSERT, 2 * PAGE, PAGE) == 0);
		judge_pages(w, "an insert", fd, 8, inserted);
		MUST(w, shift(direct, UDAX_IOC_COLLAPSE, 2 * PAGE, PAGE) == 0);
		judge_pages(w, "a collapse", fd, 8, words);
		judge_pages(w, "nothing", other, 8, others);
		exchange(w, direct, other_direct, 0, 8 * PAGE);
		judge_pages(w, "an exchange", fd, 8, others);
		judge_pages(w, "an exchange", other, 8, words);
	}
}

/* ---- 66: a file that changes while nobody has it open ------------------------------------------- */

static void judge_opened(struct worker *w, const char *name, uint64_t wanted)
{
	int fd = open_in_mode(w, name, true); /* the handle before may not have been let go of */
	uint64_t *map, word = read_word(w, fd, PAGE);

	if (word != wanted)
		worker_fail(w, "%s: read %llu, exchanged was %llu", name, (unsigned long long)word,
			    (unsigned long long)wanted);
	map = map_shared(w, fd, 2);
	MUST(w, load(map) == wanted && load(map + WORDS) == wanted);
	munmap(map, 2 * PAGE);
	close(fd);
}

/* Fill the file, let the kernel have its pages, and close it; with a token for it in @ret. */
static void fill_and_close(struct worker *w, const char *name, uint64_t word,
			   struct udax_ioc_token *ret)
{
	int fd = open_in_mode(w, name, true);
	uint64_t *map;

	write_pages(w, fd, 0, 2, word);
	map = map_shared(w, fd, 2);
	MUST(w, load(map) == word && load(map + WORDS) == word);
	munmap(map, 2 * PAGE);
	*ret = (struct udax_ioc_token){ .version = UDAX_IOC_VERSION };
	MUST(w, ioctl(fd, UDAX_IOC_TOKEN, ret) == 0);
	close(fd);
}

/* The kernel lets go of handles some time after close(2), and a token is for one attempt. */
static bool exchange_closed(struct worker *w, int fd, const struct udax_ioc_token *token)
{
	struct udax_ioc_exchange arg = { .version = UDAX_IOC_VERSION, .len = 2 * PAGE };

	memcpy(arg.token, token->token, sizeof(arg.token));
	if (ioctl(fd, UDAX_IOC_EXCHANGE, &arg) == 0)
		return true;
	MUST(w, errno == EBUSY);
	return false;
}

static void a_file_exchanged_while_it_was_closed_is_read_anew(struct worker *w)
{
	uint64_t exchanged = 0;

	for (uint64_t n = 1; !stopped(w) || !exchanged; n += 2) {
		struct udax_ioc_token token;
		int direct;
		bool done;

		worker_op(w, "exchange %llu and %llu", (unsigned long long)n,
			  (unsigned long long)n + 1);
		fill_and_close(w, "f", n, &token);
		fill_and_close(w, "g", n + 1, &token);
		direct = open_in_mode(w, "f", false);
		done = exchange_closed(w, direct, &token);
		close(direct);
		exchanged += done;
		judge_opened(w, "g", done ? n : n + 1);
		judge_opened(w, "f", done ? n + 1 : n);
	}
}

/* ---- 68: copy_file_range ---------------------------------------------------------------------------- */

/* Dirty each page, but not the word that the copy is judged by. */
static void store_beside(struct worker *w, void *arg)
{
	for (uint64_t n = 1; !stopped(w); n++) {
		worker_op(w, "store %llu", (unsigned long long)n);
		for (unsigned page = 0; page < (unsigned)(uintptr_t)arg; page++)
			store(the.map + page * WORDS + 1, n);
	}
}

static void old_pages_do_not_come_back_over_a_copy(struct worker *w)
{
	const unsigned npages = 64;
	int from;

	open_both(w, npages);
	from = open_file(w, "from", 0);
	start(store_beside, (void *)(uintptr_t)npages);
	start(keep_writing_back, NULL);
	for (uint64_t n = 1; !stopped(w); n++) {
		off_t pos = 0, to = 0;

		worker_op(w, "copy %llu", (unsigned long long)n);
		write_pages(w, from, 0, npages, n);
		while (pos < (off_t)npages * PAGE)
			MUST(w, copy_file_range(from, &pos, the.fd, &to,
						npages * PAGE - (size_t)pos, 0) > 0);
		MUST(w, msync(the.map, npages * PAGE, MS_SYNC) == 0);
		for (unsigned page = 0; page < npages; page++) {
			uint64_t seen = load(the.map + page * WORDS);
			uint64_t word = read_word(w, the.direct, page * PAGE);

			if (seen != n || word != n)
				worker_fail(w,
					    "page %u: copied %llu, mapped %llu, on the medium %llu",
					    page, (unsigned long long)n, (unsigned long long)seen,
					    (unsigned long long)word);
		}
	}
}

/* ---- running ------------------------------------------------------------------------------------ */

static const struct race {
	const char *name;
	void (*main)(struct worker *w);
} races[] = {
#define RACE(name)                                                                                 \
	{                                                                                          \
#name, name                                                                        \
	}
	/* in the order of docs/LOCKING.md */
	RACE(a_mapping_never_shows_a_punched_block_again),	    /* 16 */
	RACE(readahead_never_brings_a_punched_block),		    /* 17 */
	RACE(a_write_upgrade_looks_at_the_end_again),		    /* 18 */
	RACE(a_collapse_loses_no_write),			    /* 19 */
	RACE(what_lies_behind_the_end_is_never_seen),		    /* 20 */
	RACE(a_tail_page_is_faulted_anew_after_a_size_change),	    /* 21 */
	RACE(queued_writeback_does_not_undo_a_punch),		    /* 34 */
	RACE(an_old_size_does_not_cut_the_file),		    /* 35 */
	RACE(open_with_o_trunc_does_not_lock_up),		    /* 36 */
	RACE(a_notify_does_not_wait_for_a_fill_that_waits_for_it),  /* 37 */
	RACE(a_truncate_with_dirty_pages_does_not_lock_up),	    /* 44 */
	RACE(a_mapping_shows_a_write_that_has_returned),	    /* 45 */
	RACE(a_long_read_never_copies_a_block_that_was_freed),	    /* 46 */
	RACE(an_uncached_read_never_copies_a_block_that_was_freed), /* 46 */
	RACE(a_store_during_a_punch_does_not_come_back),	    /* 47 */
	RACE(an_append_goes_to_the_true_end),			    /* 49 */
	RACE(more_requests_than_threads_do_not_lock_up),	    /* 53 */
	RACE(a_punch_stops_when_a_store_finds_no_room),		    /* 54 */
	RACE(a_store_is_not_wiped_by_the_write_before_it),	    /* 57 */
	RACE(nothing_is_invalidated_under_a_write),		    /* 58 */
	RACE(a_mode_begins_where_the_one_before_has_ended),	    /* 59 */
	RACE(a_private_view_does_not_outlive_its_mode),		    /* 63 */
	RACE(copies_of_an_uncached_file_follow_its_layout),
	RACE(a_store_after_a_punch_is_not_discarded),		 /* 64 */
	RACE(a_file_exchanged_while_it_was_closed_is_read_anew), /* 66 */
	RACE(old_pages_do_not_come_back_over_a_copy),		 /* 68 */
};

static void process(struct worker *w, void *arg)
{
	const struct race *race = arg;

	signal(SIGBUS, sigbus);
	worker_begin(w, "thread 0", 0);
	race->main(w);
	join_all();
	worker_rest(w);
}

int main(int argc, char **argv)
{
	size_t n = sizeof(races) / sizeof(races[0]);

	if (argc == 2 && strcmp(argv[1], "--list") == 0) {
		for (size_t i = 0; i < n; i++)
			printf("%s\n", races[i].name);
		return 0;
	}
	if (argc < 3) {
		fprintf(stderr, "usage: tool_race --list | CASE DIR [SECONDS]\n");
		return 2;
	}
	dir = argv[2];
	for (size_t i = 0; i < n; i++) {
		if (strcmp(races[i].name, argv[1]) != 0)
			continue;
		run.watch = watch_new(MAX_THREADS + 1, 30);
		run.watch->log_shown = 8;
		return watch_run(run.watch, 1, argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 1,
				 process, (void *)(uintptr_t)&races[i]);
	}
	fprintf(stderr, "tool_race: no case %s\n", argv[1]);
	return 2;
}
