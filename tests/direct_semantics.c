/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * direct_semantics.c - "mmap means mmap": what libudax makes of arguments and orders of calls, against
 * mmap(2), mprotect(2), mremap(2), msync(2), madvise(2) and their like.
 *
 * Where a call has one answer the kernel is asked the same about a mapping of a memfd, and the answers have
 * to be equal, down to errno. Each test is a process of its own, and proves at its end that it ran direct
 * (fake_isolated).
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
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "udax/udax.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

#define PAGE FAKE_PAGE
#define PAGES 16u
#define LEN ((size_t)PAGES * PAGE)
#define RW (PROT_READ | PROT_WRITE)

static sigjmp_buf jump;

static void on_signal(int sig)
{
	siglongjmp(jump, sig);
}

/* 0, or the signal that a store there is answered with. */
static int signal_of_store(volatile char *p)
{
	struct sigaction action = { .sa_handler = on_signal };
	int sig;

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	sig = sigsetjmp(jump, 1);
	if (!sig)
		*p = 1;
	return sig;
}

/* ---- the same question to the kernel and to libudax -------------------------------------------- */

struct calls {
	void *(*map)(void *addr, size_t len, int prot, int flags, int fd, off_t off);
	int (*unmap)(void *addr, size_t len);
	int (*protect)(void *addr, size_t len, int prot);
	void *(*remap)(void *old, size_t old_len, size_t new_len, int flags, ...);
	int (*sync)(void *addr, size_t len, int flags);
	int (*advise)(void *addr, size_t len, int advice);
};

static const struct calls kernels = { mmap, munmap, mprotect, mremap, msync, madvise };
static const struct calls ours = { udax_mmap,	udax_munmap, udax_mprotect,
				   udax_mremap, udax_msync,  udax_madvise };

/* PAGES pages that are mapped for loads and stores, at @p, and as many after them that are not. */
struct place {
	const struct calls *c;
	char *p;
	int fd, reader, writer, path;
};

static int of(int result)
{
	return result ? errno : 0;
}

static int of_map(const void *mem)
{
	return mem == MAP_FAILED ? errno : 0;
}

static int map_as(const struct place *s, size_t len, int flags, off_t off)
{
	return of_map(s->c->map(NULL, len, RW, flags, s->fd, off));
}

#define SHARED_OF(prot, fd) of_map(s->c->map(NULL, PAGE, prot, MAP_SHARED, fd, 0))

#define QUESTIONS(ASK)                                                                             \
	ASK(map_as(s, 0, MAP_SHARED, 0))                                                           \
	ASK(map_as(s, PAGE, 0, 0))                                                                 \
	ASK(map_as(s, PAGE, 7, 0))                                                                 \
	ASK(map_as(s, PAGE, MAP_SHARED, 1))                                                        \
	ASK(map_as(s, 2 * PAGE, MAP_SHARED, INT64_MAX - PAGE + 1))                                 \
	ASK(map_as(s, PAGE, MAP_SHARED, -(off_t)PAGE))                                             \
	ASK(map_as(s, (size_t)1 << 62, MAP_SHARED, 0))                                             \
	ASK(map_as(s, SIZE_MAX, MAP_SHARED, 0))                                                    \
	ASK(map_as(s, PAGE, MAP_SHARED | MAP_GROWSDOWN, 0))                                        \
	ASK(map_as(s, PAGE, MAP_SHARED_VALIDATE | MAP_GROWSDOWN, 0))                               \
	ASK(map_as(s, PAGE, MAP_SHARED_VALIDATE | 1 << 22, 0))                                     \
	ASK(map_as(s, PAGE, MAP_SHARED_VALIDATE | MAP_SYNC, 0))                                    \
	ASK(map_as(s, PAGE, MAP_SHARED | MAP_HUGETLB, 0))                                          \
	ASK(map_as(s, PAGE, MAP_SHARED | MAP_32BIT, 0))                                            \
	ASK(map_as(s, PAGE + 1, MAP_SHARED | MAP_NONBLOCK | MAP_POPULATE | MAP_STACK, PAGE))       \
	ASK(of_map(s->c->map(s->p + 1, PAGE, RW, MAP_SHARED | MAP_FIXED, s->fd, 0)))               \
	ASK(of_map(s->c->map(s->p, PAGE, RW, MAP_SHARED | MAP_FIXED_NOREPLACE, s->fd, 0)))         \
	ASK(of_map(s->c->map(s->p + 1, PAGE, RW, MAP_SHARED | MAP_FIXED_NOREPLACE, s->fd, 0)))     \
	ASK(of_map(s->c->map(s->p, PAGE, RW, MAP_SHARED, s->fd, 0))) /* a hint */                  \
	ASK(SHARED_OF(RW, s->reader))                                                              \
	ASK(SHARED_OF(PROT_READ, s->reader))                                                       \
	ASK(SHARED_OF(PROT_READ, s->writer))                                                       \
	ASK(SHARED_OF(PROT_NONE, s->writer))                                                       \
	ASK(SHARED_OF(PROT_READ, s->path))                                                         \
	ASK(SHARED_OF(PROT_READ, 999))                                                             \
	ASK(of(s->c->protect(s->p + 1, PAGE, PROT_READ)))                                          \
	ASK(of(s->c->protect(s->p, 0, PROT_READ)))                                                 \
	ASK(of(s->c->protect(s->p, PAGE, 0x100)))                                                  \
	ASK(of(s->c->protect(s->p, PAGE, PROT_READ | PROT_GROWSDOWN)))                             \
	ASK(of(s->c->protect(s->p + LEN - PAGE, 2 * PAGE, RW)))                                    \
	ASK(of(s->c->protect(s->p, PAGE, PROT_NONE)))                                              \
	ASK(of(s->c->advise(s->p, PAGE, MADV_POPULATE_READ)))                                      \
	ASK(of(s->c->protect(s->p, PAGE, PROT_READ)))                                              \
	ASK(of(s->c->advise(s->p, PAGE, MADV_POPULATE_READ)))                                      \
	ASK(of(s->c->advise(s->p, PAGE, MADV_POPULATE_WRITE)))                                     \
	ASK(of(s->c->protect(s->p, PAGE, RW)))                                                     \
	ASK(of(s->c->advise(s->p, LEN, MADV_POPULATE_WRITE)))                                      \
	ASK(of(s->c->advise(s->p, LEN + PAGE, MADV_POPULATE_READ)))                                \
	ASK(of(s->c->advise(s->p + 1, PAGE, MADV_NORMAL)))                                         \
	ASK(of(s->c->advise(s->p, 0, MADV_NORMAL)))                                                \
	ASK(of(s->c->advise(s->p, PAGE, 9999)))                                                    \
	ASK(of(s->c->advise(s->p, LEN, MADV_NORMAL)))                                              \
	ASK(of(s->c->advise(s->p, LEN, MADV_RANDOM)))                                              \
	ASK(of(s->c->advise(s->p, LEN, MADV_SEQUENTIAL)))                                          \
	ASK(of(s->c->advise(s->p, LEN, MADV_WILLNEED)))                                            \
	ASK(of(s->c->advise(s->p, LEN, MADV_DONTNEED)))                                            \
	ASK(of(s->c->advise(s->p, LEN, MADV_COLD)))                                                \
	ASK(of(s->c->advise(s->p, LEN, MADV_PAGEOUT)))                                             \
	ASK(of(s->c->advise(s->p, LEN, MADV_DONTDUMP)))                                            \
	ASK(of(s->c->advise(s->p, LEN, MADV_DODUMP)))                                              \
	ASK(of(s->c->advise(s->p, LEN, MADV_DONTFORK)))                                            \
	ASK(of(s->c->advise(s->p, LEN, MADV_DOFORK)))                                              \
	ASK(of(s->c->advise(s->p, LEN, MADV_FREE)))                                                \
	ASK(of(s->c->advise(s->p, LEN, MADV_WIPEONFORK)))                                          \
	ASK(of(s->c->advise(s->p, LEN + PAGE, MADV_NORMAL)))                                       \
	ASK(of(s->c->advise(s->p, LEN + PAGE, MADV_DONTNEED)))                                     \
	ASK(of(s->c->sync(s->p + 1, PAGE, MS_SYNC)))                                               \
	ASK(of(s->c->sync(s->p, 0, MS_SYNC)))                                                      \
	ASK(of(s->c->sync(s->p, LEN, MS_SYNC)))                                                    \
	ASK(of(s->c->sync(s->p, LEN, MS_ASYNC)))                                                   \
	ASK(of(s->c->sync(s->p, LEN, MS_INVALIDATE)))                                              \
	ASK(of(s->c->sync(s->p, LEN, MS_SYNC | MS_INVALIDATE)))                                    \
	ASK(of(s->c->sync(s->p, LEN, MS_SYNC | MS_ASYNC)))                                         \
	ASK(of(s->c->sync(s->p, LEN, MS_SYNC | 64)))                                               \
	ASK(of(s->c->sync(s->p, LEN, 0)))                                                          \
	ASK(of(s->c->sync(s->p, LEN + PAGE, MS_SYNC)))                                             \
	ASK(of(s->c->sync(s->p, LEN + PAGE, MS_ASYNC)))                                            \
	ASK(of_map(s->c->remap(s->p, PAGE, 0, MREMAP_MAYMOVE)))                                    \
	ASK(of_map(s->c->remap(s->p + 1, PAGE, PAGE, MREMAP_MAYMOVE)))                             \
	ASK(of_map(s->c->remap(s->p, PAGE, PAGE, 64)))                                             \
	ASK(of_map(s->c->remap(s->p, PAGE, PAGE, MREMAP_FIXED, s->p + LEN)))                       \
	ASK(of_map(s->c->remap(s->p, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, s->p + LEN + 1)))  \
	ASK(of_map(s->c->remap(s->p, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,            \
			       s->p + PAGE)))                                                      \
	ASK(of_map(s->c->remap(s->p, PAGE, 2 * PAGE, 0)))                                          \
	ASK(of_map(s->c->remap(s->p, 0, PAGE, 0)))                                                 \
	ASK(of_map(s->c->remap(s->p, 0, PAGE, MREMAP_MAYMOVE)))                                    \
	ASK(of_map(s->c->remap(s->p, PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL)))    \
	ASK(of_map(s->c->remap(s->p, PAGE, PAGE, MREMAP_DONTUNMAP, NULL)))                         \
	ASK(of_map(s->c->remap(s->p, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL)))        \
	ASK(of_map(s->c->remap(s->p, LEN + PAGE, LEN + 2 * PAGE, MREMAP_MAYMOVE)))                 \
	ASK(of_map(s->c->remap(s->p + LEN, PAGE, PAGE, MREMAP_MAYMOVE)))                           \
	ASK(of(s->c->unmap(s->p, 0)))                                                              \
	ASK(of(s->c->unmap(s->p + 1, PAGE)))                                                       \
	ASK(of(s->c->unmap(s->p + LEN, PAGE)))                                                     \
	ASK(of(s->c->unmap(s->p, LEN + PAGE)))

#define TEXT(question) #question,
#define ANSWER(question) question,

static const char *const texts[] = { QUESTIONS(TEXT) };
#define NQUESTIONS (sizeof(texts) / sizeof(texts[0]))

static void ask_all(const struct place *s, int answers[NQUESTIONS])
{
	const int all[NQUESTIONS] = { QUESTIONS(ANSWER) };

	memcpy(answers, all, sizeof(all));
}

static int reopen(int fd, int flags)
{
	char path[64];
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, flags | O_CLOEXEC);
	CHECK(again >= 0);
	return again;
}

static void make_place(struct place *s, const struct calls *c, int fd)
{
	s->c = c;
	s->fd = fd;
	s->reader = reopen(fd, O_RDONLY);
	s->writer = reopen(fd, O_WRONLY);
	s->path = reopen(fd, O_PATH);
	s->p = mmap(NULL, 2 * LEN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(s->p != MAP_FAILED);
	CHECK(c->map(s->p, LEN, RW, MAP_SHARED | MAP_FIXED, fd, 0) == s->p);
	CHECK(!munmap(s->p + LEN, LEN));
}

static void questions(void)
{
	struct place theirs, mine;
	int should[NQUESTIONS], is[NQUESTIONS], memfd = memfd_create("file", MFD_CLOEXEC);
	bool same = true;

	fake_start(NULL);
	fake_refusals_are_meant();
	CHECK(!ftruncate(memfd, (off_t)LEN));
	make_place(&mine, &ours, fake_file(PAGES));
	CHECK(udax_is_direct(mine.p, LEN));
	ask_all(&mine, is); /* first: the place behind it is free */
	make_place(&theirs, &kernels, memfd);
	ask_all(&theirs, should);
	for (unsigned i = 0; i < NQUESTIONS; i++) {
		if (is[i] == should[i])
			continue;
		fprintf(stderr, "%s: the kernel says %s, libudax %s\n", texts[i],
			strerrorname_np(should[i]), strerrorname_np(is[i]));
		same = false;
	}
	CHECK(same);
}

static void what_the_kernel_answers_is_what_libudax_answers(void **state)
{
	(void)state;
	fake_isolated(questions, 30);
}

/* ---- orders of calls ---------------------------------------------------------------------------- */

static char *map(int fd)
{
	char *p = udax_mmap(NULL, LEN, RW, MAP_SHARED, fd, 0);

	CHECK(p != MAP_FAILED && udax_is_direct(p, LEN));
	return p;
}

static char byte_of(int fd, uint64_t pos)
{
	char c;

	fake_read(fd, pos, &c, 1);
	return c;
}

static void protections(void)
{
	int fd;
	char *p;

	fake_start(NULL);
	fd = fake_file(PAGES);
	fake_write(fd, 0, "a", 1);
	p = udax_mmap(NULL, LEN, PROT_NONE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED && signal_of_store(p) == SIGSEGV);
	CHECK(!udax_mprotect(p, LEN, PROT_READ) && p[0] == 'a' && p[PAGE] == 0);
	CHECK(signal_of_store(p) == SIGSEGV && signal_of_store(p + PAGE) == SIGSEGV);
	CHECK(!udax_mprotect(p, LEN, PROT_NONE) && signal_of_store(p) == SIGSEGV);
	CHECK(!udax_mprotect(p, LEN, PROT_WRITE) && !signal_of_store(p + PAGE));
	CHECK(byte_of(fd, PAGE) == 1 && byte_of(fd, 0) == 'a');
	CHECK(!udax_mprotect(p, LEN, RW) && p[2 * PAGE] == 0); /* zeroes that can be stored over */
	CHECK(!udax_mprotect(p, LEN, PROT_READ) && p[3 * PAGE] == 0);
	CHECK(!udax_mprotect(p, LEN, RW));
	CHECK(!signal_of_store(p + 2 * PAGE) && !signal_of_store(p + 3 * PAGE));
	CHECK(byte_of(fd, 2 * PAGE) == 1 && byte_of(fd, 3 * PAGE) == 1);
}

static void protections_go_down_and_up_again(void **state)
{
	(void)state;
	fake_isolated(protections, 20);
}

static void *synchronise(void *p)
{
	for (unsigned i = 0; i < 3000; i++)
		CHECK(!udax_msync(p, LEN, MS_SYNC));
	return NULL;
}

/* msync(2) is no touch: it may be called for what lies behind EOF, or must not be touched at all. */
static void sync_without_touch(void)
{
	pthread_t thread;
	char *p;
	int fd;

	fake_start(NULL);
	fd = fake_file(PAGES);
	p = map(fd);
	p[0] = p[PAGE] = 'a';
	CHECK(!udax_mprotect(p, PAGE, PROT_NONE) && !udax_msync(p, LEN, MS_SYNC));
	CHECK(!udax_mprotect(p, PAGE, RW) && p[0] == 'a');
	CHECK(!pthread_create(&thread, NULL, synchronise, p));
	while (pthread_tryjoin_np(thread, NULL)) {
		udax_populate(p, LEN, UDAX_POPULATE_WRITE);
		fake_resize(fd, 2);
		fake_resize(fd, PAGES);
	}
	CHECK(p[0] == 'a' && p[PAGE] == 'a' && p[2 * PAGE] == 0);
}

static void msync_touches_nothing(void **state)
{
	(void)state;
	fake_isolated(sync_without_touch, 60);
}

static void executing(void)
{
	static const unsigned char code[] = { 0xb8, 42, 0, 0, 0, 0xc3 }; /* mov $42, %eax; ret */
	int fd, (*function)(void);
	char *p;

	fake_start(NULL);
	fd = fake_file(PAGES);
	fake_write(fd, PAGE, code, sizeof(code));
	p = udax_mmap(NULL, LEN, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	*(void **)&function = p + PAGE;
	CHECK(function() == 42);
	fake_move(fd, 0, LEN);
	CHECK(function() == 42);
	CHECK(!udax_mprotect(p, LEN, PROT_READ) && !udax_mprotect(p, LEN, PROT_READ | PROT_EXEC));
	CHECK(function() == 42);
}

static void code_runs_from_a_mapping(void **state)
{
	(void)state;
#ifdef __x86_64__
	fake_isolated(executing, 20);
#else
	(void)executing;
	skip();
#endif
}

static void advice_that_keeps(void)
{
	static const int kinds[] = { MADV_DONTNEED, MADV_COLD, MADV_PAGEOUT, MADV_HUGEPAGE };
	unsigned char resident[PAGES];
	int fd;
	char *p;

	fake_start(NULL);
	fd = fake_file(PAGES);
	p = mmap(NULL, LEN + PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(p != MAP_FAILED);
	CHECK(udax_mmap(p, LEN, RW, MAP_SHARED | MAP_FIXED, fd, 0) == p);
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		p[0] = (char)('a' + i);
		CHECK(p[PAGE] == 0);
		udax_madvise(p, LEN, kinds[i]);
		udax_madvise(p, LEN + PAGE, kinds[i]); /* not all of it is direct */
		CHECK(p[0] == (char)('a' + i) && byte_of(fd, 0) == p[0] && p[PAGE] == 0);
	}
	CHECK(!signal_of_store(p + PAGE) && byte_of(fd, PAGE) == 1);
	CHECK(udax_madvise(p, LEN, MADV_REMOVE) == -1 && errno == EINVAL && p[0]);
	CHECK(!mincore(p, LEN, resident) && resident[0] & 1);
}

static void advice_changes_no_byte(void **state)
{
	(void)state;
	fake_isolated(advice_that_keeps, 20);
}

/* Where a child has no mapping anything else may come to lie, so nothing is touched there. */
static void child_has(char *p, bool first)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		alarm(20);
		CHECK(udax_is_direct(p, PAGE) == first);
		CHECK(udax_is_direct(p + PAGE, LEN - PAGE) && !signal_of_store(p + PAGE));
		CHECK(!first || !signal_of_store(p));
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static void not_inherited(void)
{
	int fd;
	char *p;

	fake_start(NULL);
	fd = fake_file(PAGES);
	p = map(fd);
	p[0] = p[PAGE] = 'a';
	CHECK(!udax_madvise(p, PAGE, MADV_DONTFORK));
	child_has(p, false);
	CHECK(p[0] == 'a' && p[PAGE] == 1);
	CHECK(!udax_madvise(p, LEN, MADV_DOFORK));
	child_has(p, true);
	CHECK(p[0] == 1);
}

static void a_child_has_no_mapping_that_is_not_for_it(void **state)
{
	(void)state;
	fake_isolated(not_inherited, 30);
}

static void twice(void)
{
	int fd;
	char *p, *q, *r;

	fake_start(NULL);
	fd = fake_file(PAGES);
	p = map(fd);
	strcpy(p + PAGE, "here");
	q = udax_mremap(p + PAGE, 0, PAGE, MREMAP_MAYMOVE);
	CHECK(q != MAP_FAILED && q != p + PAGE && !strcmp(q, "here"));
	r = udax_mremap(p, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
	CHECK(r != MAP_FAILED && !strcmp(r + PAGE, "here"));
	strcpy(q, "there");
	CHECK(!strcmp(p + PAGE, "there") && !strcmp(r + PAGE, "there"));
	CHECK(udax_is_direct(p, LEN) && udax_is_direct(q, PAGE) && udax_is_direct(r, 2 * PAGE));
}

static void a_remap_may_leave_the_old_one_there(void **state)
{
	(void)state;
	fake_isolated(twice, 20);
}

/* What was direct is not, and what comes later must not hit who is there now. */
static void moved_over(void)
{
	int fd;
	char *p, *other = mmap(NULL, 2 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	fake_start(NULL);
	fd = fake_file(PAGES);
	p = map(fd);
	memset(p, 'a', LEN);
	strcpy(other, "other");
	CHECK(udax_mremap(other, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + PAGE) ==
	      p + PAGE);
	CHECK(!strcmp(p + PAGE, "other") && !udax_is_direct(p + PAGE, PAGE));
	fake_punch(fd, 0, LEN);
	CHECK(!strcmp(p + PAGE, "other") && p[0] == 0 && p[3 * PAGE] == 0);
	CHECK(!udax_munmap(p, LEN) && signal_of_store(p + PAGE) == SIGSEGV);
}

static void other_memory_moves_over_a_mapping(void **state)
{
	(void)state;
	fake_isolated(moved_over, 20);
}

static void locked(int flags)
{
	int fd;
	char *p;

	fake_start(NULL);
	fd = fake_file(PAGES);
	CHECK(!mlockall(flags));
	p = map(fd);
	CHECK(!signal_of_store(p + PAGE) && byte_of(fd, PAGE) == 1 && p[2 * PAGE] == 0);
	fake_write(fd, 2 * PAGE, "b", 1);
	CHECK(p[2 * PAGE] == 'b');
	CHECK(!mlockall(MCL_CURRENT));
	fake_punch(fd, 0, LEN);
	CHECK(p[PAGE] == 0 && !signal_of_store(p + 5 * PAGE) && byte_of(fd, 5 * PAGE) == 1);
}

static void locked_all(void)
{
	locked(MCL_CURRENT | MCL_FUTURE);
}

static void locked_on_fault(void)
{
	locked(MCL_FUTURE | MCL_ONFAULT);
}

static void a_program_that_locks_its_memory_loses_nothing(void **state)
{
	struct rlimit limit;

	(void)state;
	getrlimit(RLIMIT_MEMLOCK, &limit);
	if (geteuid() && limit.rlim_cur != RLIM_INFINITY)
		skip();
	fake_isolated(locked_all, 20);
	fake_isolated(locked_on_fault, 20);
}

/* What the manual page says of those who cannot fault: they see an error, never another byte. */
static void from_outside(void)
{
	char buf[8];
	int fd;
	char *p;
	struct iovec here = { buf, 8 }, there;

	fake_start(NULL);
	fd = fake_file(PAGES);
	fake_write(fd, PAGE, "outside", 8);
	p = map(fd);
	there = (struct iovec){ p + PAGE, 8 };
	CHECK(process_vm_readv(getpid(), &here, 1, &there, 1, 0) == -1 && errno == EFAULT);
	CHECK(!udax_populate(p, LEN, UDAX_POPULATE_READ));
	CHECK(process_vm_readv(getpid(), &here, 1, &there, 1, 0) == 8 && !strcmp(buf, "outside"));
	fake_punch(fd, PAGE, PAGE);
	CHECK(process_vm_readv(getpid(), &here, 1, &there, 1, 0) == -1 && errno == EFAULT);
	CHECK(p[PAGE] == 0 && process_vm_readv(getpid(), &here, 1, &there, 1, 0) == 8 && !buf[0]);
}

static void who_reads_from_outside_sees_what_is_there_or_an_error(void **state)
{
	(void)state;
	fake_isolated(from_outside, 20);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_kernel_answers_is_what_libudax_answers),
		cmocka_unit_test(protections_go_down_and_up_again),
		cmocka_unit_test(msync_touches_nothing),
		cmocka_unit_test(code_runs_from_a_mapping),
		cmocka_unit_test(advice_changes_no_byte),
		cmocka_unit_test(a_child_has_no_mapping_that_is_not_for_it),
		cmocka_unit_test(a_remap_may_leave_the_old_one_there),
		cmocka_unit_test(other_memory_moves_over_a_mapping),
		cmocka_unit_test(a_program_that_locks_its_memory_loses_nothing),
		cmocka_unit_test(who_reads_from_outside_sees_what_is_there_or_an_error),
	};

	if (argc > 1) /* a pattern */
		cmocka_set_test_filter(argv[1]);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
