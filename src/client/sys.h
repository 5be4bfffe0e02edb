/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * sys.h - the system calls of libudax, without libc's wrappers.
 *
 * The library is meant to stand in front of mmap(2) and its family for programs that know nothing of
 * it, so it must not call those by name. Everything goes through one pointer, sys_call, which tests
 * turn to a function of their own: to make a call fail, or to answer the ioctl of a mount that is
 * not there. All calls return a result or -errno and leave errno alone.
 */
#ifndef UDAX_CLIENT_SYS_H
#define UDAX_CLIENT_SYS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct iovec;
struct msghdr;
struct pollfd;

/** A system call: a result, or -errno. Set before the first udax_* call, by tests only. */
extern long (*sys_call)(long nr, const long args[6]);

/** sys_direct - what sys_call is at first. */
long sys_direct(long nr, const long args[6]);

/** sys_failed - whether an address that a call returned is an error; then it is -errno. */
static inline int sys_failed(const void *addr)
{
	return (uintptr_t)addr > (uintptr_t)-4096 ? (int)(intptr_t)addr : 0;
}

void *sys_mmap(void *addr, size_t len, int prot, int flags, int fd, uint64_t off);
int sys_munmap(void *addr, size_t len);
int sys_mprotect(void *addr, size_t len, int prot);
void *sys_mremap(void *addr, size_t len, size_t new_len, int flags, void *to);
int sys_madvise(void *addr, size_t len, int advice);
int sys_munlock(void *addr, size_t len);
int sys_msync(void *addr, size_t len, int flags);

int sys_open(const char *path, int flags);
int sys_close(int fd);
int sys_ioctl(int fd, unsigned long request, void *arg);
int sys_fcntl(int fd, int cmd, long arg);
ssize_t sys_read(int fd, void *buf, size_t len);
ssize_t sys_write(int fd, const void *buf, size_t len);
ssize_t sys_readlink(const char *path, char *buf, size_t len);
int sys_poll(struct pollfd *fds, unsigned nfds, int timeout_ms);
int sys_eventfd(void);
int sys_memfd(const char *name);
int sys_userfaultfd(void);

/** sys_identity - device, inode number and mode of a descriptor, as the kernel remembers them: never
 * asks the filesystem, so it does not wait for a daemon. */
int sys_identity(int fd, uint64_t *ret_dev, uint64_t *ret_ino, unsigned *ret_mode);

int sys_socket(void); /* AF_UNIX, SOCK_SEQPACKET, non-blocking */
int sys_socketpair(int fds[2]);
int sys_connect_abstract(int sock, const char *name);
ssize_t sys_sendmsg(int sock, const struct msghdr *msg, int flags);
ssize_t sys_recvmsg(int sock, struct msghdr *msg, int flags);

int sys_pid(void);
int sys_tid(void);
int sys_unshare_files(void);
int sys_close_range(unsigned first, unsigned last);
void sys_thread_name(const char *name);

/** sys_take_fd - a duplicate of descriptor @fd of thread @tid (its process, before Linux 6.9). */
int sys_take_fd(int tid, int fd);

/** sys_wait, sys_wake - sleep while *@word is @value (spurious returns happen); wake all sleepers. */
void sys_wait(_Atomic uint32_t *word, uint32_t value);
void sys_wait_for(_Atomic uint32_t *word, uint32_t value, uint64_t ns); /* at most so long */
void sys_wake(_Atomic uint32_t *word);

uint64_t sys_now_ns(void);

#endif
