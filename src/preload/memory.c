/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * memory.c - mmap(2) and its family, to libudax: a shared mapping of a file of a udaxfs mount becomes a
 * direct one, and what is done to a direct mapping later is done by libudax.
 */
#include "preload.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "udax/udax.h"

static bool is_shared_file(int flags, int fd)
{
	int type = flags & MAP_TYPE;

	return fd >= 0 && !(flags & MAP_ANONYMOUS) &&
	       (type == MAP_SHARED || type == MAP_SHARED_VALIDATE);
}

static void *map(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	if (is_shared_file(flags, fd) && preload_on_udaxfs(fd))
		return udax_mmap(addr, len, prot,
				 flags | (preload_requires_direct() ? 0 : UDAX_FALLBACK), fd, off);
	/* Something else over a direct mapping: libudax has to know that it is gone. */
	if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE))
		return udax_mmap(addr, len, prot, flags | UDAX_FALLBACK, fd, off);
	return (void *)syscall(SYS_mmap, addr, len, prot, flags, fd, off);
}

void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	return map(addr, len, prot, flags, fd, off);
}

void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off64_t off)
{
	return map(addr, len, prot, flags, fd, off);
}

int munmap(void *addr, size_t len)
{
	return udax_munmap(addr, len);
}

int mprotect(void *addr, size_t len, int prot)
{
	return udax_mprotect(addr, len, prot);
}

void *mremap(void *old, size_t old_len, size_t new_len, int flags, ...)
{
	void *to = NULL;
	va_list args;

	if (flags & MREMAP_FIXED) {
		va_start(args, flags);
		to = va_arg(args, void *);
		va_end(args);
	}
	return udax_mremap(old, old_len, new_len, flags, to);
}

int msync(void *addr, size_t len, int flags)
{
	return udax_msync(addr, len, flags);
}

int madvise(void *addr, size_t len, int advice)
{
	return udax_madvise(addr, len, advice);
}

/* Only advice, so on a direct mapping it may be nothing. */
int posix_madvise(void *addr, size_t len, int advice)
{
	if (preload_touches_direct((uintptr_t)addr, len))
		return 0;
	return NEXT(posix_madvise)(addr, len, advice);
}

/* ---- locking: what is direct cannot be paged out, it only has to be there --------------------------- */

static int lock_direct(const void *addr, size_t len)
{
	uintptr_t start = (uintptr_t)addr & ~(uintptr_t)4095;

	if (!udax_populate((void *)start, len + ((uintptr_t)addr - start), UDAX_POPULATE_READ))
		return 0;
	errno = ENOMEM;
	return -1;
}

int mlock(const void *addr, size_t len)
{
	if (!preload_touches_direct((uintptr_t)addr, len))
		return (int)syscall(SYS_mlock, addr, len);
	return lock_direct(addr, len);
}

int mlock2(const void *addr, size_t len, unsigned flags)
{
	if (flags & ~(unsigned)MLOCK_ONFAULT || !preload_touches_direct((uintptr_t)addr, len))
		return flags ? (int)syscall(SYS_mlock2, addr, len, flags) : mlock(addr, len);
	return flags ? 0 : lock_direct(addr, len);
}

int munlock(const void *addr, size_t len)
{
	return preload_touches_direct((uintptr_t)addr, len) ? 0
							    : (int)syscall(SYS_munlock, addr, len);
}

/* ---- what must not reach the kernel: it would change pieces of the region behind libudax's back ------ */

int pkey_mprotect(void *addr, size_t len, int prot, int key)
{
	if (!preload_touches_direct((uintptr_t)addr, len))
		return (int)syscall(SYS_pkey_mprotect, addr, len, prot, key);
	if (key == -1)
		return udax_mprotect(addr, len, prot);
	errno = EINVAL;
	return -1;
}

/* Its pages are those of the region, in the region's order. */
int remap_file_pages(void *addr, size_t len, int prot, size_t page, int flags)
{
	if (!preload_touches_direct((uintptr_t)addr, len))
		return (int)syscall(SYS_remap_file_pages, addr, len, prot, page, flags);
	errno = EINVAL;
	return -1;
}
