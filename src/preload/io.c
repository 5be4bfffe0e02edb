/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * io.c - system calls whose buffer is a direct mapping.
 *
 * The kernel would find a page that is not mapped yet, and say EFAULT. And a call that waits for a file
 * (for its i_rwsem, for a gate) must not hold on to a direct mapping: what it waits for may be that
 * this process gives the mapping back (RACES.md, row 62). So data goes through a buffer of our own, and
 * is moved to or from the mapping by the program's own thread, for which a fault is a fault.
 *
 * What cannot be done so (vmsplice, which gives pages away) is refused.
 */
#include "preload.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define BOUNCE_BYTES (256u << 10)

static bool any_direct(const struct iovec *iov, int n)
{
	for (int i = 0; i < n; i++)
		if (preload_touches_direct((uintptr_t)iov[i].iov_base, iov[i].iov_len))
			return true;
	return false;
}

/* ---- one buffer ----------------------------------------------------------------------------------- */

static ssize_t call_read(int fd, void *buf, size_t len, off_t pos)
{
	return pos < 0 ? NEXT(read)(fd, buf, len) : NEXT(pread)(fd, buf, len, pos);
}

static ssize_t call_write(int fd, void *buf, size_t len, off_t pos)
{
	return pos < 0 ? NEXT(write)(fd, buf, len) : NEXT(pwrite)(fd, buf, len, pos);
}

/* As many calls as the buffer needs; a short one ends it, as the kernel would have ended. */
static ssize_t bounce(int fd, void *data, size_t len, off_t pos, bool writes)
{
	char *own = malloc(len < BOUNCE_BYTES ? len : BOUNCE_BYTES);
	size_t done = 0;
	ssize_t n = 0;

	if (!own) {
		errno = ENOMEM;
		return -1;
	}
	while (done < len) {
		size_t piece = len - done < BOUNCE_BYTES ? len - done : BOUNCE_BYTES;
		off_t at = pos < 0 ? pos : pos + (off_t)done;

		if (writes)
			memcpy(own, (char *)data + done, piece);
		n = writes ? call_write(fd, own, piece, at) : call_read(fd, own, piece, at);
		if (n <= 0)
			break;
		if (!writes)
			memcpy((char *)data + done, own, (size_t)n);
		done += (size_t)n;
		if ((size_t)n < piece)
			break;
	}
	free(own);
	return done ? (ssize_t)done : n;
}

ssize_t read(int fd, void *buf, size_t len)
{
	return preload_touches_direct((uintptr_t)buf, len) ? bounce(fd, buf, len, -1, false)
							   : call_read(fd, buf, len, -1);
}

ssize_t write(int fd, const void *buf, size_t len)
{
	return preload_touches_direct((uintptr_t)buf, len)
		       ? bounce(fd, (void *)(uintptr_t)buf, len, -1, true)
		       : call_write(fd, (void *)(uintptr_t)buf, len, -1);
}

static ssize_t at(int fd, void *buf, size_t len, off_t pos, bool writes)
{
	if (pos < 0) {
		errno = EINVAL;
		return -1;
	}
	if (preload_touches_direct((uintptr_t)buf, len))
		return bounce(fd, buf, len, pos, writes);
	return writes ? call_write(fd, buf, len, pos) : call_read(fd, buf, len, pos);
}

ssize_t pread(int fd, void *buf, size_t len, off_t pos)
{
	return at(fd, buf, len, pos, false);
}

ssize_t pread64(int fd, void *buf, size_t len, off64_t pos)
{
	return at(fd, buf, len, pos, false);
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t pos)
{
	return at(fd, (void *)(uintptr_t)buf, len, pos, true);
}

ssize_t pwrite64(int fd, const void *buf, size_t len, off64_t pos)
{
	return at(fd, (void *)(uintptr_t)buf, len, pos, true);
}

/* With _FORTIFY_SOURCE: the size of the buffer was looked at by the compiler. */
ssize_t __read_chk(int fd, void *buf, size_t len, size_t room);
ssize_t __pread_chk(int fd, void *buf, size_t len, off_t pos, size_t room);
ssize_t __pread64_chk(int fd, void *buf, size_t len, off64_t pos, size_t room);

static void check_room(size_t len, size_t room)
{
	if (len > room)
		abort();
}

ssize_t __read_chk(int fd, void *buf, size_t len, size_t room)
{
	check_room(len, room);
	return read(fd, buf, len);
}

ssize_t __pread_chk(int fd, void *buf, size_t len, off_t pos, size_t room)
{
	check_room(len, room);
	return pread(fd, buf, len, pos);
}

ssize_t __pread64_chk(int fd, void *buf, size_t len, off64_t pos, size_t room)
{
	check_room(len, room);
	return pread(fd, buf, len, pos);
}

/* ---- several -------------------------------------------------------------------------------------- */

static ssize_t vector(int fd, const struct iovec *iov, int n, off_t pos, bool writes)
{
	size_t done = 0;

	for (int i = 0; i < n; i++) {
		off_t where = pos < 0 ? pos : pos + (off_t)done;
		ssize_t got = iov[i].iov_len
				      ? bounce(fd, iov[i].iov_base, iov[i].iov_len, where, writes)
				      : 0;

		if (got < 0)
			return done ? (ssize_t)done : got;
		done += (size_t)got;
		if ((size_t)got < iov[i].iov_len)
			break;
	}
	return (ssize_t)done;
}

static bool must_bounce(const struct iovec *iov, int n)
{
	return n > 0 && n <= IOV_MAX && any_direct(iov, n);
}

ssize_t readv(int fd, const struct iovec *iov, int n)
{
	return must_bounce(iov, n) ? vector(fd, iov, n, -1, false) : NEXT(readv)(fd, iov, n);
}

ssize_t writev(int fd, const struct iovec *iov, int n)
{
	return must_bounce(iov, n) ? vector(fd, iov, n, -1, true) : NEXT(writev)(fd, iov, n);
}

ssize_t preadv(int fd, const struct iovec *iov, int n, off_t pos)
{
	return must_bounce(iov, n) && pos >= 0 ? vector(fd, iov, n, pos, false)
					       : NEXT(preadv)(fd, iov, n, pos);
}

ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t pos)
{
	return must_bounce(iov, n) && pos >= 0 ? vector(fd, iov, n, pos, true)
					       : NEXT(pwritev)(fd, iov, n, pos);
}

ssize_t preadv64(int fd, const struct iovec *iov, int n, off64_t pos)
{
	return preadv(fd, iov, n, pos);
}

ssize_t pwritev64(int fd, const struct iovec *iov, int n, off64_t pos)
{
	return pwritev(fd, iov, n, pos);
}

/*
 * Without flags these are the ones above, or readv(2) and writev(2) at position -1. With flags they cannot be
 * taken apart and stay what they are.
 */
static ssize_t vector2(int fd, const struct iovec *iov, int n, off_t pos, int flags, bool writes)
{
	if (flags) {
		errno = EOPNOTSUPP;
		return -1;
	}
	if (pos < -1) {
		errno = EINVAL;
		return -1;
	}
	return vector(fd, iov, n, pos, writes);
}

ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t pos, int flags)
{
	return must_bounce(iov, n) ? vector2(fd, iov, n, pos, flags, false)
				   : NEXT(preadv2)(fd, iov, n, pos, flags);
}

ssize_t pwritev2(int fd, const struct iovec *iov, int n, off_t pos, int flags)
{
	return must_bounce(iov, n) ? vector2(fd, iov, n, pos, flags, true)
				   : NEXT(pwritev2)(fd, iov, n, pos, flags);
}

ssize_t preadv64v2(int fd, const struct iovec *iov, int n, off64_t pos, int flags)
{
	return preadv2(fd, iov, n, pos, flags);
}

ssize_t pwritev64v2(int fd, const struct iovec *iov, int n, off64_t pos, int flags)
{
	return pwritev2(fd, iov, n, pos, flags);
}

/* ---- streams: libc hands large buffers to the kernel as they are ----------------------------------- */

static size_t stream(char *data, size_t len, FILE *file, bool writes)
{
	char *own = malloc(len < BOUNCE_BYTES ? len : BOUNCE_BYTES);
	size_t done = 0, piece = 1, n = 1;

	if (!own) {
		errno = ENOMEM;
		return 0;
	}
	for (; done < len && n == piece; done += n) {
		piece = len - done < BOUNCE_BYTES ? len - done : BOUNCE_BYTES;
		if (writes)
			memcpy(own, data + done, piece);
		n = writes ? NEXT(fwrite)(own, 1, piece, file) : NEXT(fread)(own, 1, piece, file);
		if (!writes)
			memcpy(data + done, own, n);
	}
	free(own);
	return done;
}

size_t fread(void *buf, size_t size, size_t n, FILE *file)
{
	return preload_touches_direct((uintptr_t)buf, size * n)
		       ? stream(buf, size * n, file, false) / size
		       : NEXT(fread)(buf, size, n, file);
}

size_t fwrite(const void *buf, size_t size, size_t n, FILE *file)
{
	return preload_touches_direct((uintptr_t)buf, size * n)
		       ? stream((char *)(uintptr_t)buf, size * n, file, true) / size
		       : NEXT(fwrite)(buf, size, n, file);
}

/* ---- sockets and pages ---------------------------------------------------------------------------- */

/* A copy of what lies in a direct mapping; NULL and errno: no memory. */
static void *copy_of(const void *buf, size_t len)
{
	void *own = malloc(len);

	if (!own)
		errno = ENOMEM;
	else
		memcpy(own, buf, len);
	return own;
}

ssize_t sendto(int sock, const void *buf, size_t len, int flags, __CONST_SOCKADDR_ARG to,
	       socklen_t to_len)
{
	void *own;
	ssize_t n;

	if (!preload_touches_direct((uintptr_t)buf, len))
		return NEXT(sendto)(sock, buf, len, flags, to, to_len);
	own = copy_of(buf, len);
	n = own ? NEXT(sendto)(sock, own, len, flags, to, to_len) : -1;
	free(own);
	return n;
}

ssize_t send(int sock, const void *buf, size_t len, int flags)
{
	if (!preload_touches_direct((uintptr_t)buf, len))
		return NEXT(send)(sock, buf, len, flags);
	return sendto(sock, buf, len, flags, (__CONST_SOCKADDR_ARG){ NULL }, 0);
}

ssize_t recvfrom(int sock, void *buf, size_t len, int flags, __SOCKADDR_ARG from,
		 socklen_t *from_len)
{
	char *own;
	ssize_t n;

	if (!preload_touches_direct((uintptr_t)buf, len))
		return NEXT(recvfrom)(sock, buf, len, flags, from, from_len);
	own = malloc(len);
	if (!own) {
		errno = ENOMEM;
		return -1;
	}
	n = NEXT(recvfrom)(sock, own, len, flags, from, from_len);
	if (n > 0)
		memcpy(buf, own, (size_t)n < len ? (size_t)n : len);
	free(own);
	return n;
}

ssize_t recv(int sock, void *buf, size_t len, int flags)
{
	if (!preload_touches_direct((uintptr_t)buf, len))
		return NEXT(recv)(sock, buf, len, flags);
	return recvfrom(sock, buf, len, flags, (__SOCKADDR_ARG){ NULL }, NULL);
}

/* It would go on showing the block to whoever reads the pipe, whoever owns the block by then: row 50. */
ssize_t vmsplice(int fd, const struct iovec *iov, size_t n, unsigned flags)
{
	if (n <= IOV_MAX && any_direct(iov, (int)n)) {
		errno = EINVAL;
		return -1;
	}
	return NEXT(vmsplice)(fd, iov, n, flags);
}
