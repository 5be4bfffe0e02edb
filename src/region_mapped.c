/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * region_mapped.c - a region that is a mapping of a file or devdax: its address space, and stores
 * through libpmem.
 *
 * Address space. The region's first byte is aligned to 2 MiB (or the device's alignment), so that
 * offsets and addresses agree modulo 2 MiB and huge pages are possible. Behind the region lies
 * reserved space without access rights, into which it grows in place: addresses that were given out
 * stay valid, and no lock is needed between growing and loading.
 *
 * Stores. pmem_*: the lines are on their way out of the caches when the call returns, and
 * fence_drain() waits for them. volatile_*: the page cache keeps them, only the order of stores
 * matters. From 4 KiB on both go past the caches. On tmpfs that takes half the time where the target
 * is not cached (4 KiB: 350 against 570 ns; 1 MiB: 49 against 91 us) and twice the time where it
 * is; a volume is much larger than the caches, and its small, hot parts are stored in small pieces,
 * where a plain store takes 10 ns and one past the caches 110 (AMD EPYC, 64 bytes).
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libpmem.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "region_impl.h"

/* ---- open --------------------------------------------------------------------------------- */

static int cannot_open(const struct region_request *req, int error)
{
	const char *path = req->path;

	switch (error) {
	case EACCES:
	case EPERM:
		return region_fail(
			req, -error,
			req->flags & REGION_RDONLY
				? "%s cannot be opened: read permission is missing"
				: "%s cannot be opened: read or write permission is missing; "
				  "change it, or mount read-only with '-o ro'",
			path);
	case EROFS:
		return region_fail(req, -error,
				   "%s is on a read-only filesystem; mount the volume with '-o ro'",
				   path);
	case ENXIO:
		return region_fail(
			req, -error,
			"%s has no device behind it; enable it with 'daxctl enable-device', "
			"or load its driver",
			path);
	default:
		return region_fail(req, -error, "%s cannot be opened: %s", path, strerror(error));
	}
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_mode == b->st_mode;
}

int mapped_open(struct mapped_region *m, const struct region_request *req, struct stat *ret_st)
{
	struct region *r = &m->r;
	struct stat st, probe_st;

	r->probe_fd = -1;
	r->read_only = req->flags & REGION_RDONLY;
	r->fd = open(req->path, (r->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (r->fd < 0)
		return cannot_open(req, errno);
	/*
	 * Now rather than when it is needed: the path may be relative to a directory that the
	 * daemon leaves, and to close a descriptor later would drop the process's record locks.
	 */
	r->probe_fd = open(req->path, O_RDONLY | O_CLOEXEC);
	if (r->probe_fd < 0 || fstat(r->fd, &st) || fstat(r->probe_fd, &probe_st)) {
		int rc = cannot_open(req, errno);

		mapped_release(m);
		return rc;
	}
	if (!same_file(&st, &probe_st)) {
		mapped_release(m);
		return region_fail(req, -EAGAIN, "%s was replaced while it was opened; try again",
				   req->path);
	}
	r->path = realpath(req->path, NULL);
	if (!r->path) /* a file without a name, reached through /proc/self/fd */
		r->path = strdup(req->path);
	if (!r->path) {
		mapped_release(m);
		return region_fail(req, -ENOMEM, "%s: no memory left", req->path);
	}
	*ret_st = st;
	return 0;
}

int mapped_granule(struct mapped_region *m, const struct region_request *req, uint32_t own_bytes)
{
	uint32_t granule_bytes = req->granule_bytes ? req->granule_bytes : own_bytes;

	if (granule_bytes < own_bytes)
		return region_fail(
			req, -EINVAL,
			"%s can only be mapped in pieces of %u bytes; a granule of %u is too "
			"small",
			req->path, own_bytes, granule_bytes);
	m->r.granule_bytes = granule_bytes;
	return 0;
}

/* ---- address space ------------------------------------------------------------------------ */

static int map_range(struct mapped_region *m, uint64_t from, uint64_t to)
{
	int prot = m->r.read_only ? PROT_READ : PROT_READ | PROT_WRITE;
	void *at = (void *)(uintptr_t)(m->r.base + from);

	if (mmap(at, to - from, prot, m->map_flags | MAP_FIXED, m->r.fd, (off_t)from) == MAP_FAILED)
		return -errno;
	/* Advice only. A core dump of the daemon must not be a copy of everybody's files. */
	madvise(at, to - from, MADV_DONTDUMP);
	if (m->r.domain == DURABILITY_VOLATILE)
		madvise(at, to - from, MADV_HUGEPAGE);
	return 0;
}

static int reserve(struct mapped_region *m, uint64_t bytes, uint64_t room_bytes, uint64_t align)
{
	unsigned char *reserved;
	uintptr_t base;

	assert(room_bytes >= bytes);
	for (;;) {
		reserved = mmap(NULL, room_bytes + align, PROT_NONE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (reserved != MAP_FAILED)
			break;
		if (room_bytes == bytes)
			return -ENOMEM;
		/* Less room to grow is better than no volume (ulimit -v). */
		room_bytes = room_bytes / 2 > bytes ? room_bytes / 2 : bytes;
		room_bytes &= ~(uint64_t)(REGION_PAGE_BYTES - 1);
	}
	base = ((uintptr_t)reserved + align - 1) & ~(uintptr_t)(align - 1);
	m->reserved = reserved;
	m->reserved_bytes = room_bytes + align;
	m->room_bytes = room_bytes;
	m->r.base = (const unsigned char *)base;
	return 0;
}

int mapped_map(struct mapped_region *m, uint64_t bytes, uint64_t room_bytes, uint64_t align,
	       int map_flags)
{
	int rc = reserve(m, bytes, room_bytes, align);

	if (rc)
		return rc;
	m->r.bad = bad_map_new(m->room_bytes);
	if (!m->r.bad)
		return -ENOMEM;
	m->map_flags = map_flags;
	return mapped_extend(m, bytes);
}

int mapped_extend(struct mapped_region *m, uint64_t bytes)
{
	int rc;

	if (bytes <= m->r.bytes)
		return 0;
	if (bytes > m->room_bytes)
		return -ENOMEM;
	rc = map_range(m, m->r.bytes, bytes);
	if (rc)
		return rc;
	__atomic_store_n(&m->r.bytes, bytes, __ATOMIC_RELAXED);
	return 0;
}

void mapped_release(struct mapped_region *m)
{
	if (m->reserved)
		munmap(m->reserved, m->reserved_bytes);
	bad_map_delete(m->r.bad);
	free((char *)(uintptr_t)m->r.path);
	if (m->r.probe_fd >= 0)
		close(m->r.probe_fd);
	if (m->r.fd >= 0)
		close(m->r.fd);
}

/* ---- stores ------------------------------------------------------------------------------- */

#define NONTEMPORAL_BYTES 4096u /* see above */

static void *writable(struct region *r, uint64_t off)
{
	return (void *)(uintptr_t)(r->base + off);
}

void pmem_store(struct region *r, uint64_t off, const void *src, size_t len,
		const struct sync_site *site)
{
	unsigned flags = PMEM_F_MEM_NODRAIN;

	(void)site;
	if (len >= NONTEMPORAL_BYTES)
		flags |= PMEM_F_MEM_NONTEMPORAL;
	pmem_memcpy(writable(r, off), src, len, flags);
}

void pmem_zero(struct region *r, uint64_t off, size_t len, const struct sync_site *site)
{
	unsigned flags = PMEM_F_MEM_NODRAIN;

	(void)site;
	if (len >= NONTEMPORAL_BYTES)
		flags |= PMEM_F_MEM_NONTEMPORAL;
	pmem_memset(writable(r, off), 0, len, flags);
}

void volatile_store64(struct region *r, uint64_t off, uint64_t value, const struct sync_site *site)
{
	(void)site;
	/*
	 * What order there is on the medium comes from region_drain(), and what a process leaves that
	 * dies is in program order, if the compiler keeps it: more is not needed. (Nor wanted: from
	 * gcc 14 on, ThreadSanitizer does a releasing store with a lock of its own held, and if that
	 * store raises SIGBUS, the handler's atomics wait for this lock.)
	 */
	__atomic_signal_fence(__ATOMIC_RELEASE);
	__atomic_store_n((uint64_t *)writable(r, off), value, __ATOMIC_RELAXED);
}

void pmem_store64(struct region *r, uint64_t off, uint64_t value, const struct sync_site *site)
{
	volatile_store64(r, off, value, site);
	pmem_flush(writable(r, off), sizeof(value));
}

void pmem_flush_range(struct region *r, uint64_t off, size_t len, const struct sync_site *site)
{
	(void)site;
	pmem_flush(writable(r, off), len);
}

void volatile_store(struct region *r, uint64_t off, const void *src, size_t len,
		    const struct sync_site *site)
{
	if (len >= NONTEMPORAL_BYTES)
		pmem_store(r, off, src, len, site);
	else
		memcpy(writable(r, off), src, len);
}

void volatile_zero(struct region *r, uint64_t off, size_t len, const struct sync_site *site)
{
	if (len >= NONTEMPORAL_BYTES)
		pmem_zero(r, off, len, site);
	else
		memset(writable(r, off), 0, len);
}

void volatile_flush(struct region *r, uint64_t off, size_t len, const struct sync_site *site)
{
	(void)r;
	(void)off;
	(void)len;
	(void)site;
}

void fence_drain(struct region *r, const struct sync_site *site)
{
	(void)r;
	(void)site;
	pmem_drain();
}
