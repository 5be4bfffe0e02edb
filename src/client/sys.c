/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * sys.c - the system calls, by number. See sys.h.
 */
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL /* Linux 6.9 */
#endif

long sys_direct(long nr, const long args[6])
{
	int saved = errno;
	long result = syscall(nr, args[0], args[1], args[2], args[3], args[4], args[5]);

	if (result == -1)
		result = -errno;
	errno = saved;
	return result;
}

long (*sys_call)(long nr, const long args[6]) = sys_direct;

#define CALL(nr, ...) sys_call((nr), (const long[6]){ __VA_ARGS__ })

void *sys_mmap(void *addr, size_t len, int prot, int flags, int fd, uint64_t off)
{
	return (void *)CALL(SYS_mmap, (long)addr, (long)len, prot, flags, fd, (long)off);
}

int sys_munmap(void *addr, size_t len)
{
	return (int)CALL(SYS_munmap, (long)addr, (long)len);
}

int sys_mprotect(void *addr, size_t len, int prot)
{
	return (int)CALL(SYS_mprotect, (long)addr, (long)len, prot);
}

void *sys_mremap(void *addr, size_t len, size_t new_len, int flags, void *to)
{
	return (void *)CALL(SYS_mremap, (long)addr, (long)len, (long)new_len, flags, (long)to);
}

int sys_madvise(void *addr, size_t len, int advice)
{
	return (int)CALL(SYS_madvise, (long)addr, (long)len, advice);
}

int sys_munlock(void *addr, size_t len)
{
	return (int)CALL(SYS_munlock, (long)addr, (long)len);
}

int sys_msync(void *addr, size_t len, int flags)
{
	return (int)CALL(SYS_msync, (long)addr, (long)len, flags);
}

int sys_open(const char *path, int flags)
{
	return (int)CALL(SYS_openat, AT_FDCWD, (long)path, flags | O_CLOEXEC);
}

int sys_close(int fd)
{
	return (int)CALL(SYS_close, fd);
}

int sys_ioctl(int fd, unsigned long request, void *arg)
{
	return (int)CALL(SYS_ioctl, fd, (long)request, (long)arg);
}

int sys_fcntl(int fd, int cmd, long arg)
{
	return (int)CALL(SYS_fcntl, fd, cmd, arg);
}

ssize_t sys_read(int fd, void *buf, size_t len)
{
	return CALL(SYS_read, fd, (long)buf, (long)len);
}

ssize_t sys_write(int fd, const void *buf, size_t len)
{
	return CALL(SYS_write, fd, (long)buf, (long)len);
}

ssize_t sys_readlink(const char *path, char *buf, size_t len)
{
	return CALL(SYS_readlinkat, AT_FDCWD, (long)path, (long)buf, (long)len);
}

int sys_poll(struct pollfd *fds, unsigned nfds, int timeout_ms)
{
	struct timespec ts = { timeout_ms / 1000, timeout_ms % 1000 * 1000000L };

	return (int)CALL(SYS_ppoll, (long)fds, nfds, timeout_ms < 0 ? 0 : (long)&ts, 0, 8);
}

int sys_eventfd(void)
{
	return (int)CALL(SYS_eventfd2, 0, O_CLOEXEC | O_NONBLOCK);
}

/* Empty, and stays so. */
int sys_memfd(const char *name)
{
	const unsigned cloexec = 1, allow_sealing = 2;
	const int seals = 1 | 2 | 4; /* F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW */
	int fd = (int)CALL(SYS_memfd_create, (long)name, cloexec | allow_sealing);

	if (fd >= 0)
		sys_fcntl(fd, F_ADD_SEALS, seals);
	return fd;
}

int sys_userfaultfd(void)
{
	return (int)CALL(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
}

int sys_identity(int fd, uint64_t *ret_dev, uint64_t *ret_ino, unsigned *ret_mode)
{
	struct statx stx;
	int err = (int)CALL(SYS_statx, fd, (long)"", AT_EMPTY_PATH | AT_STATX_DONT_SYNC,
			    STATX_TYPE | STATX_INO, (long)&stx);

	if (err)
		return err;
	*ret_dev = makedev(stx.stx_dev_major, stx.stx_dev_minor);
	*ret_ino = stx.stx_ino;
	*ret_mode = stx.stx_mode;
	return 0;
}

int sys_socket(void)
{
	return (int)CALL(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

int sys_socketpair(int fds[2])
{
	return (int)CALL(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
			 (long)fds);
}

int sys_connect_abstract(int sock, const char *name)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t len = strnlen(name, sizeof(addr.sun_path) - 1);

	memcpy(addr.sun_path + 1, name, len);
	return (int)CALL(SYS_connect, sock, (long)&addr,
			 (long)(offsetof(struct sockaddr_un, sun_path) + 1 + len));
}

ssize_t sys_sendmsg(int sock, const struct msghdr *msg, int flags)
{
	return CALL(SYS_sendmsg, sock, (long)msg, flags);
}

ssize_t sys_recvmsg(int sock, struct msghdr *msg, int flags)
{
	return CALL(SYS_recvmsg, sock, (long)msg, flags);
}

int sys_pid(void)
{
	return (int)CALL(SYS_getpid, 0);
}

int sys_tid(void)
{
	return (int)CALL(SYS_gettid, 0);
}

int sys_unshare_files(void)
{
	const long clone_files = 0x400;

	return (int)CALL(SYS_unshare, clone_files);
}

int sys_close_range(unsigned first, unsigned last)
{
	return first > last ? 0 : (int)CALL(SYS_close_range, first, last, 0);
}

void sys_thread_name(const char *name)
{
	CALL(SYS_prctl, PR_SET_NAME, (long)name);
}

static int take_from(int id, int flags, int fd)
{
	int pidfd = (int)CALL(SYS_pidfd_open, id, flags), got;

	if (pidfd < 0)
		return pidfd;
	got = (int)CALL(SYS_pidfd_getfd, pidfd, fd, 0);
	sys_close(pidfd);
	return got;
}

/* The main thread stands for the process's descriptors, unless it has ended before the others. */
int sys_take_fd(int tid, int fd)
{
	int got = take_from(tid, PIDFD_THREAD, fd);

	return got == -EINVAL ? take_from(sys_pid(), 0, fd) : got;
}

void sys_wait(_Atomic uint32_t *word, uint32_t value)
{
	CALL(SYS_futex, (long)word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, value, 0);
}

void sys_wait_for(_Atomic uint32_t *word, uint32_t value, uint64_t ns)
{
	const struct timespec t = { (time_t)(ns / 1000000000), (long)(ns % 1000000000) };

	CALL(SYS_futex, (long)word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, value, (long)&t);
}

void sys_wake(_Atomic uint32_t *word)
{
	CALL(SYS_futex, (long)word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT32_MAX);
}

uint64_t sys_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}
