/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * udax/udax.h - libudax: files of a udaxfs mount, mapped directly.
 *
 * A mapping made here is the medium itself: loads and stores reach it, with no page cache between. It
 * agrees with read(2) and write(2) of everybody and stays valid while the file is truncated,
 * punched or otherwise changed, by whomever: what is taken away is touched again and found where it is
 * then, and beyond the end of the file a touch is a SIGBUS, as for any mapping.
 *
 *	int fd = open("/mnt/file", O_RDWR | O_DIRECT);
 *	char *p = udax_mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
 *	memcpy(p, record, size);
 *	udax_persist(p, size);
 *
 * What a direct mapping needs: MAP_SHARED; a regular file on a udaxfs mount of one's own user (or
 * root), opened with O_DIRECT when nobody had it open without; on a device with a granule of 2 MiB,
 * addresses, lengths and offsets in such multiples. Where one of these is missing udax_mmap() fails
 * and udax_why() says which; with UDAX_FALLBACK it makes a mapping of the kernel's instead.
 *
 * Rules for a range that is mapped here:
 *   - change it with the functions of this header, not with mmap(2), munmap(2), mprotect(2) or
 *     mremap(2) by their own names. The functions here take any range, direct or not.
 *   - The first touch of a page should come from the program, not from the kernel: read(2) into
 *     a page that is not mapped yet is EFAULT, mlock(2) is ENOMEM. udax_populate() helps.
 *   - Nothing in it may be the buffer of an operation that outlasts the call which began it:
 *     vmsplice(2), io_uring's registered buffers, asynchronous O_DIRECT. They would keep hold of
 *     blocks that have been given to somebody else.
 *   - Neither a stack nor the data of a signal handler's stack belong there.
 *   - After fork(2) the child's mappings work. A child of vfork(2) or clone(2) has none.
 *
 * All functions may be called by any thread, also in signal handlers, except in a handler of
 * pthread_atfork(3). The library has three threads of its own, with all signals blocked and
 * descriptors of their own, from the first udax_mmap() on. It sets errno like a system call.
 *
 * Environment: UDAX_RECONNECT_MS, how long a mapping waits for a daemon that has died (5000) before a
 * touch is a SIGBUS; UDAX_MAX_PIECES, how many pieces of the region a process maps at most (24000; the
 * kernel allows a process vm.max_map_count mappings, and a piece costs up to two): above, the
 * oldest are given back.
 */
#ifndef UDAX_UDAX_H
#define UDAX_UDAX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/** In the flags of udax_mmap(): if it cannot be direct, let it be a mapping of the kernel's. */
#define UDAX_FALLBACK 0x02000000

/** Why a mapping is not direct. Numbers keep their meaning. */
enum udax_reason {
	UDAX_DIRECT = 0,	  /* it is */
	UDAX_BAD_ARGUMENT = 1,	  /* errno says it: nothing to do with being direct */
	UDAX_NOT_SHARED = 2,	  /* MAP_PRIVATE, MAP_ANONYMOUS, MAP_HUGETLB */
	UDAX_NOT_UDAXFS = 3,	  /* the file is on something else, or not a regular one */
	UDAX_NOT_O_DIRECT = 4,	  /* the descriptor was opened without O_DIRECT */
	UDAX_CACHED = 5,	  /* somebody has the file open without O_DIRECT */
	UDAX_OTHER_USER = 6,	  /* the mount's daemon runs as another user */
	UDAX_NO_SERVICE = 7,	  /* the mount serves no clients */
	UDAX_NO_DAEMON = 8,	  /* the daemon does not answer as it should, or is gone */
	UDAX_GRANULE = 9,	  /* address, length or offset is not a multiple of the granule */
	UDAX_NOT_SYNC = 10,	  /* MAP_SYNC, and stores are not durable once flushed */
	UDAX_NO_USERFAULTFD = 11, /* the kernel has none, or forbids it */
	UDAX_NO_MEMORY = 12,	  /* also: no address space, or no mappings left */
	UDAX_NO_CLIENT = 13,	  /* in a child of vfork(2) or clone(2) */
	UDAX_NR_REASONS = 14,
};

/**
 * udax_mmap - map @len bytes of @fd from offset @off on. As mmap(2), with these @flags: MAP_SHARED or
 * MAP_SHARED_VALIDATE; MAP_FIXED, MAP_FIXED_NOREPLACE, MAP_POPULATE, MAP_SYNC, MAP_NORESERVE,
 * MAP_NONBLOCK, MAP_32BIT; MAP_LOCKED acts as MAP_POPULATE; UDAX_FALLBACK. @fd may be closed afterwards.
 *
 * Returns the address, or MAP_FAILED and errno:
 *   EBADF, EACCES, EINVAL, EEXIST, EOVERFLOW	as for mmap(2)
 *   ENOMEM	no memory, no address space
 *   ENODEV	it cannot be direct: udax_why() says why
 *   EOPNOTSUPP	the same, of a mapping with MAP_SYNC, which never falls back; or a flag that is
 *		not known, with MAP_SHARED_VALIDATE
 * With UDAX_FALLBACK, whatever mmap(2) says about the same arguments.
 */
void *udax_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off);

/**
 * udax_munmap - as munmap(2), for any range. EINVAL, also: an end lies inside a granule of a direct
 * mapping. ENOMEM.
 */
int udax_munmap(void *addr, size_t len);

/**
 * udax_mprotect - as mprotect(2), for any range. EACCES: stores into a direct mapping whose descriptor
 * was not open for writing. EINVAL as for udax_munmap(). ENOMEM.
 */
int udax_mprotect(void *addr, size_t len, int prot);

/**
 * udax_mremap - as mremap(2), for any range. Takes a new
 * address if @flags has MREMAP_FIXED. EFAULT, EINVAL, ENOMEM.
 */
void *udax_mremap(void *old, size_t old_len, size_t new_len, int flags, ...);

/**
 * udax_msync - as msync(2), for any range: with MS_SYNC stores are as durable as the region makes
 * them, and the file's times move. EINVAL, ENOMEM, EIO: also, the daemon is gone.
 */
int udax_msync(void *addr, size_t len, int flags);

/**
 * udax_persist - make stores to [@addr, @addr + @len) durable: flushes the CPU's caches and waits;
 * where the region is only durable after msync(2), calls that. Any alignment; costs no system call
 * on persistent memory. File times do not move. Returns 0, or -1 and errno of msync(2).
 */
int udax_persist(const void *addr, size_t len);

enum udax_populate_mode {
	UDAX_POPULATE_READ = 0,	 /* holes stay holes */
	UDAX_POPULATE_WRITE = 1, /* holes get blocks */
};

/**
 * udax_populate - have all pages of [@addr, @addr + @len) mapped, so that the next touch is no fault.
 * They may be taken away again at any time. @addr is a multiple of the page size. EINVAL; ENOMEM: part
 * of the range is not a direct mapping; EFAULT: part of it lies behind the end of the file, or failed.
 * EINVAL, also: the mapping's protection does not allow it.
 */
int udax_populate(void *addr, size_t len, enum udax_populate_mode mode);

/**
 * udax_madvise - as madvise(2), for any range. On direct mappings MADV_POPULATE_READ, MADV_POPULATE_WRITE
 * are udax_populate(), MADV_WILLNEED populates what it can; MADV_DONTFORK and MADV_DOFORK say whether children of
 * fork(2) have it. MADV_REMOVE is EINVAL: fallocate(2) punches holes. The other advice has no effect.
 * What is direct in part can be advised of all but these three.
 */
int udax_madvise(void *addr, size_t len, int advice);

/** udax_is_direct - 1 when all of [@addr, @addr + @len) is direct mappings, 0 when not. */
int udax_is_direct(const void *addr, size_t len);

/** udax_why - what became of this thread's last udax_mmap(). */
enum udax_reason udax_why(void);

/** udax_reason_text - a reason in words, such as "the file is open without O_DIRECT". Static. */
const char *udax_reason_text(enum udax_reason reason);

struct udax_stats {
	uint64_t mappings; /* now; a range with two protections counts as two */
	uint64_t pieces;   /* now: runs of pages that are mapped, or known to be holes */
	uint64_t files;	   /* now */
	uint64_t mmaps;	   /* direct mappings made, those that a fork inherits not counted */
	uint64_t faults;   /* questions to a daemon */
	uint64_t grants_read, grants_write, grants_zero, grants_behind_eof;
	uint64_t grants_failed; /* touches that ended in a SIGBUS for want of space, memory, ... */
	uint64_t direct_bytes;	/* made accessible by grants, summed */
	uint64_t recalls;	/* ranges that a daemon has asked back */
	uint64_t late;		/* of these, answered after the deadline: stores may be lost */
	uint64_t returns;	/* ranges given back unasked */
	uint64_t evicted;	/* pieces given back for UDAX_MAX_PIECES */
	uint64_t reconnects;	/* files attached again, after a daemon's end or in a child */
	uint64_t lost;		/* files that could not be attached again */
	uint64_t refused[UDAX_NR_REASONS]; /* udax_mmap() that was not direct, by reason */
};

/**
 * udax_stats - what this process has done so far, and since which fork: a child begins with zeroes. Of
 * @size bytes, the size of the structure that the caller knows; a newer library may know more
 * members, they are added at the end.
 */
void udax_stats(struct udax_stats *stats, size_t size);

#ifdef __cplusplus
}
#endif

#endif
