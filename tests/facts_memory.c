/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * facts_memory.c - see facts_memory.h. A page of a reservation that is registered with userfaultfd is touched by
 * a thread, and a service thread looks for the event; no event in EVENT_MS is none.
 */
#include "facts_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096u
#define EVENT_MS 300
#define OURS 0x11
#define THEIRS 0x22

static int uffd = -1;

static unsigned char *fresh(void)
{
	void *map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED)
		abort();
	return map;
}

static int open_uffd(uint64_t features, int flags)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY | flags);

	if (fd >= 0 && ioctl(fd, UFFDIO_API, &api)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static void register_page(unsigned char *page)
{
	struct uffdio_register reg = { .range = { (uintptr_t)page, PAGE },
				       .mode = UFFDIO_REGISTER_MODE_MISSING |
					       UFFDIO_REGISTER_MODE_WP };

	if (ioctl(uffd, UFFDIO_REGISTER, &reg))
		abort();
}

static unsigned char *reserve(uint64_t features)
{
	unsigned char *page = fresh();

	uffd = open_uffd(features, O_NONBLOCK);
	if (uffd < 0)
		abort();
	register_page(page);
	return page;
}

static void wake(unsigned char *page)
{
	struct uffdio_range range = { (uintptr_t)page, PAGE };

	ioctl(uffd, UFFDIO_WAKE, &range);
}

/* The next event; 0: there is none. */
static unsigned next_event(uint64_t *ret_flags)
{
	struct pollfd pollfd = { .fd = uffd, .events = POLLIN };
	struct uffd_msg msg;

	if (poll(&pollfd, 1, EVENT_MS) != 1 || read(uffd, &msg, sizeof(msg)) != sizeof(msg))
		return 0;
	*ret_flags = msg.event == UFFD_EVENT_PAGEFAULT ? msg.arg.pagefault.flags : 0;
	return msg.event;
}

static void *store_there(void *page)
{
	*(volatile unsigned char *)page = OURS;
	return NULL;
}

static void *load_there(void *page)
{
	return (void *)(uintptr_t) * (volatile unsigned char *)page;
}

/* Whether a store to @page is an event, of the write-protecting kind if @wp; then it is let go on in ordinary memory. */
static bool store_is_event(unsigned char *page, bool wp)
{
	unsigned char *plain = fresh();
	pthread_t thread;
	uint64_t flags = 0;
	bool is;

	if (pthread_create(&thread, NULL, store_there, page))
		abort();
	is = next_event(&flags) == UFFD_EVENT_PAGEFAULT && !!(flags & UFFD_PAGEFAULT_FLAG_WP) == wp;
	if (is) {
		if (mremap(plain, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, page) == MAP_FAILED)
			abort();
		wake(page);
	}
	pthread_join(thread, NULL);
	return is;
}

/* ---- zeroes ---------------------------------------------------------------------------------------- */

static const char *zero_page(void)
{
	unsigned char *page = reserve(0);
	struct uffdio_zeropage zero = { .range = { (uintptr_t)page, PAGE } };

	if (ioctl(uffd, UFFDIO_ZEROPAGE, &zero))
		abort();
	return store_is_event(page, true) ? "safe" : "lost-store";
}

static const char *protected_zeroes(void)
{
	unsigned char *page = reserve(UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	struct uffdio_copy copy = { .dst = (uintptr_t)page,
				    .src = (uintptr_t)fresh(),
				    .len = PAGE,
				    .mode = UFFDIO_COPY_MODE_WP };

	memset((void *)(uintptr_t)copy.src, 0, PAGE);
	if (ioctl(uffd, UFFDIO_COPY, &copy))
		abort();
	return store_is_event(page, true) ? "safe" : "lost-store";
}

/* ---- mapping, taking back --------------------------------------------------------------------------- */

static int region(unsigned char byte)
{
	unsigned char buf[PAGE];
	int fd = memfd_create("region", MFD_CLOEXEC);

	memset(buf, byte, sizeof(buf));
	if (fd < 0 || write(fd, buf, sizeof(buf)) != sizeof(buf))
		abort();
	return fd;
}

static void map_region(int fd, unsigned char *page)
{
	if (mmap(page, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
		abort();
}

static const char *overmapped(void)
{
	unsigned char *page = reserve(0);
	pthread_t thread;
	uint64_t flags;
	void *seen;

	if (pthread_create(&thread, NULL, load_there, page))
		abort();
	if (next_event(&flags) != UFFD_EVENT_PAGEFAULT)
		return "no event";
	map_region(region(THEIRS), page);
	wake(page);
	pthread_join(thread, &seen);
	return (uintptr_t)seen == THEIRS ? "safe" : "not-coherent";
}

static const char *two_steps(void)
{
	unsigned char *page = reserve(0);
	bool event;

	map_region(region(THEIRS), page);
	if (mmap(page, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		 0) == MAP_FAILED)
		abort();
	event = store_is_event(page, false); /* it falls between */
	register_page(page);
	return event ? "safe" : "lost-store";
}

static void *move_over(void *arg)
{
	unsigned char **pages = arg;

	return mremap(pages[0], PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, pages[1]);
}

static const char *moved_over(void)
{
	unsigned char *spare = reserve(UFFD_FEATURE_EVENT_REMAP), *page = fresh();
	unsigned char *pages[] = { spare, page };
	pthread_t thread;
	uint64_t flags;

	map_region(region(THEIRS), page);
	if (pthread_create(&thread, NULL, move_over, pages))
		abort();
	/* It waits until somebody has read this. */
	if (next_event(&flags) != UFFD_EVENT_REMAP)
		return "no event";
	pthread_join(thread, NULL);
	return store_is_event(page, false) ? "safe" : "lost-store";
}

/* ---- pins, fork -------------------------------------------------------------------------------------- */

/* The page is given back and is another's before what was put into the pipe is read. */
static const char *through_a_pipe(bool pinned)
{
	unsigned char *page = fresh(), buf[PAGE], theirs[PAGE];
	struct iovec iov = { page, PAGE };
	int fd = region(OURS), pipes[2];

	map_region(fd, page);
	if (pipe2(pipes, O_CLOEXEC) ||
	    (pinned ? vmsplice(pipes[1], &iov, 1, 0) : write(pipes[1], page, PAGE)) != PAGE)
		abort();
	munmap(page, PAGE);
	memset(theirs, THEIRS, PAGE);
	if (pwrite(fd, theirs, PAGE, 0) != PAGE || read(pipes[0], buf, PAGE) != PAGE)
		abort();
	return buf[0] == OURS ? "safe" : "foreign-byte";
}

static const char *pinned(void)
{
	return through_a_pipe(true);
}

static const char *copied(void)
{
	return through_a_pipe(false);
}

static const char *inherited(void)
{
	unsigned char *page = reserve(0);
	uint64_t flags;
	pid_t child = fork();

	if (child == 0) {
		store_there(page);
		_exit(*page == OURS ? 0 : 1);
	}
	/* It is over, and nobody was asked. */
	if (next_event(&flags))
		return kill(child, SIGKILL) ? "" : "safe";
	return waitpid(child, NULL, 0) == child ? "lost-store" : "";
}

static const char *fork_event(void)
{
	if (geteuid() == 0 && setresuid(65534, 65534, 65534))
		abort();
	errno = 0;
	return open_uffd(UFFD_FEATURE_EVENT_FORK, O_NONBLOCK) < 0 && errno == EPERM ? "EPERM"
										    : "allowed";
}

/* ---- behind EOF --------------------------------------------------------------------------------------- */

static sigjmp_buf on_sigbus;
static siginfo_t sigbus_info;

static void sigbus(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)context;
	sigbus_info = *info;
	siglongjmp(on_sigbus, 1);
}

static const char *behind_the_end(void)
{
	struct sigaction action = { .sa_sigaction = sigbus, .sa_flags = SA_SIGINFO };
	unsigned char *page = fresh();
	int fd = memfd_create("nothing", MFD_CLOEXEC | MFD_ALLOW_SEALING), pipes[2];

	if (fd < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) ||
	    pipe2(pipes, O_CLOEXEC))
		abort();
	map_region(fd, page);
	sigaction(SIGBUS, &action, NULL);
	if (!sigsetjmp(on_sigbus, 1)) {
		load_there(page + 5);
		return "no SIGBUS";
	}
	if (sigbus_info.si_code != BUS_ADRERR || sigbus_info.si_addr != page + 5)
		return "another SIGBUS";
	return write(pipes[1], page, 1) < 0 && errno == EFAULT ? "safe" : "no EFAULT";
}

/* ---- what the lab has nothing of ------------------------------------------------------------------------ */

static const char *kernel_access(void)
{
	unsigned char *page = reserve(0);
	int fd = region(OURS);
	bool fault = pread(fd, page, 1, 0) < 0 && errno == EFAULT;

	/* AddressSanitizer has an mlock() of its own, which does nothing. */
	return fault && syscall(SYS_mlock, page, PAGE) && errno == ENOMEM ? "EFAULT, ENOMEM"
									  : "allowed";
}

static const char *blocking(void)
{
	struct pollfd pollfd = { .fd = open_uffd(0, 0), .events = POLLIN };

	return poll(&pollfd, 1, 0) == 1 && pollfd.revents == POLLERR ? "POLLERR" : "polled";
}

static const char *lock_of_a_mapping(void)
{
	char path[] = "/tmp/udaxfact.XXXXXX";
	unsigned char *page = fresh();
	int fd = mkostemp(path, O_CLOEXEC), other = open(path, O_RDWR | O_CLOEXEC);
	bool held;

	if (fd < 0 || other < 0 || ftruncate(fd, PAGE) || flock(fd, LOCK_SH))
		abort();
	unlink(path);
	map_region(fd, page);
	close(fd);
	held = flock(other, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK;
	munmap(page, PAGE);
	return held && flock(other, LOCK_EX | LOCK_NB) == 0 ? "as long as the mapping" : "not so";
}

/* ---- all --------------------------------------------------------------------------------------------------- */

const struct memory_fact memory_facts[] = {
	{ "a_store_to_a_zero_page_is_no_event", "UFFDIO_ZEROPAGE: a later store asks nobody",
	  "lost-store", "51-store-to-zeroes", "protected-zeroes", zero_page },
	{ "a_store_to_protected_zeroes_is_an_event", "UFFDIO_COPY_MODE_WP: it asks", "safe",
	  "51-store-to-zeroes", NULL, protected_zeroes },
	{ "a_reservation_is_overmapped", "who waits in a fault there goes on in the new mapping",
	  "safe", "16-punch-against-fault", NULL, overmapped },
	{ "taking_back_in_two_steps_has_a_window",
	  "mmap and then register: a store between is lost", "lost-store", "42-taken-back-at-once",
	  "atomic-take-back", two_steps },
	{ "taking_back_by_mremap_has_none",
	  "a registered spare is moved over the page, and stays so", "safe",
	  "42-taken-back-at-once", NULL, moved_over },
	{ "a_pinned_page_shows_its_next_owner", "vmsplice before, the next owner's byte behind",
	  "foreign-byte", "50-pinned-and-punched", "bounced-io", pinned },
	{ "what_was_copied_does_not", "... which a buffer of its own prevents", "safe",
	  "50-pinned-and-punched", NULL, copied },
	{ "a_child_stores_to_memory_of_its_own", "what is registered is plain memory in a child",
	  "lost-store", "52-fork", "own-fork", inherited },
	{ "a_touch_behind_the_end_is_sigbus",
	  "an empty memfd: SIGBUS with its address; write(2): EFAULT", "safe",
	  "04-fault-behind-the-end", NULL, behind_the_end },
	{ "to_hear_of_forks_needs_privilege", "UFFD_FEATURE_EVENT_FORK", "EPERM", NULL, NULL,
	  fork_event },
	{ "system_calls_do_not_fault_pages_in", "read(2) and mlock(2) of what is registered",
	  "EFAULT, ENOMEM", NULL, NULL, kernel_access },
	{ "a_userfaultfd_that_blocks_is_not_polled", "without O_NONBLOCK", "POLLERR", NULL, NULL,
	  blocking },
	{ "a_lock_lives_as_long_as_a_mapping",
	  "flock(2) of a description that only a mapping keeps", "as long as the mapping", NULL,
	  NULL, lock_of_a_mapping },
};

const unsigned nmemory_facts = sizeof(memory_facts) / sizeof(memory_facts[0]);
