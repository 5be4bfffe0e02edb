/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * region_file.c - a region that is a regular file, mapped shared.
 *
 * The durability domain follows from what the file stands on: a DAX filesystem that grants
 * MAP_SYNC is "pmem"; tmpfs, ramfs and memfds are "volatile"; everything else is "file", where
 * only msync makes stores durable.
 *
 * Domain "file". Each store notes the pages it touched in one small set for all threads. A drain
 * takes the whole set and syncs it:
 *
 *	drain_lock	held from taking the set until its last msync has returned
 *	set_lock	inside it, for a moment, protects the set
 *
 * So a drain that finds its pages already taken by another thread's drain has waited for that one
 * to finish, and many threads that drain at once share the work of one. These are plain mutexes,
 * not sync.h: they stand behind a seam of their own, no other lock is taken under them, and the lab
 * does not run this file. A failed msync makes its range bad: the host's page cache may forget the
 * data, so that trying again and succeeding would prove nothing.
 */
#include <assert.h>
#include <errno.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "region_impl.h"

#define ALIGN_BYTES (UINT64_C(2) << 20)
#define MIN_GROWTH_BYTES (UINT64_C(64) << 30)
#define MAX_DIRTY 64

/* Pages [first, end). */
struct dirty_range {
	uint64_t first, end;
};

struct file_region {
	struct mapped_region m;
	pthread_mutex_t drain_lock;
	pthread_mutex_t set_lock;
	unsigned nr_dirty;
	struct dirty_range dirty[MAX_DIRTY]; /* sorted, disjoint, not adjacent */
};

static struct file_region *file_region(struct region *r)
{
	return (struct file_region *)r;
}

/* ---- domain "file": the set of dirty pages -------------------------------------------------- */

static void remove_ranges(struct file_region *f, unsigned at, unsigned nr)
{
	memmove(&f->dirty[at], &f->dirty[at + nr], (f->nr_dirty - at - nr) * sizeof(f->dirty[0]));
	f->nr_dirty -= nr;
}

/* Room for one more: join the two neighbours with the fewest clean pages between them. */
static void join_closest(struct file_region *f)
{
	unsigned best = 0;

	for (unsigned i = 1; i + 1 < f->nr_dirty; i++) {
		if (f->dirty[i + 1].first - f->dirty[i].end <
		    f->dirty[best + 1].first - f->dirty[best].end)
			best = i;
	}
	f->dirty[best].end = f->dirty[best + 1].end;
	remove_ranges(f, best + 1, 1);
}

static void add_range(struct file_region *f, struct dirty_range range)
{
	unsigned at = 0, end;

	if (f->nr_dirty == MAX_DIRTY)
		join_closest(f);
	while (at < f->nr_dirty && f->dirty[at].end < range.first)
		at++;
	end = at;
	while (end < f->nr_dirty && f->dirty[end].first <= range.end) {
		if (f->dirty[end].first < range.first)
			range.first = f->dirty[end].first;
		if (f->dirty[end].end > range.end)
			range.end = f->dirty[end].end;
		end++;
	}
	if (end > at) {
		remove_ranges(f, at + 1, end - at - 1);
	} else {
		memmove(&f->dirty[at + 1], &f->dirty[at], (f->nr_dirty - at) * sizeof(f->dirty[0]));
		f->nr_dirty++;
	}
	f->dirty[at] = range;
}

static void file_flush(struct region *r, uint64_t off, size_t len, const struct sync_site *site)
{
	struct file_region *f = file_region(r);

	/* Another thread may sync these pages for us: let it see what was stored past the caches. */
	fence_drain(r, site);
	pthread_mutex_lock(&f->set_lock);
	add_range(f, (struct dirty_range){
			     .first = off >> REGION_PAGE_SHIFT,
			     .end = ((off + len - 1) >> REGION_PAGE_SHIFT) + 1,
		     });
	pthread_mutex_unlock(&f->set_lock);
}

static void sync_range(struct region *r, const struct dirty_range *range)
{
	uint64_t off = range->first << REGION_PAGE_SHIFT;
	uint64_t len = (range->end - range->first) << REGION_PAGE_SHIFT;

	if (msync((void *)(uintptr_t)(r->base + off), len, MS_SYNC))
		region_mark_bad(r, off, len);
}

static void file_drain(struct region *r, const struct sync_site *site)
{
	struct file_region *f = file_region(r);
	struct dirty_range taken[MAX_DIRTY];
	unsigned nr;

	(void)site;
	pthread_mutex_lock(&f->drain_lock);
	pthread_mutex_lock(&f->set_lock);
	nr = f->nr_dirty;
	memcpy(taken, f->dirty, nr * sizeof(taken[0]));
	f->nr_dirty = 0;
	pthread_mutex_unlock(&f->set_lock);
	for (unsigned i = 0; i < nr; i++)
		sync_range(r, &taken[i]);
	pthread_mutex_unlock(&f->drain_lock);
}

static void file_store(struct region *r, uint64_t off, const void *src, size_t len,
		       const struct sync_site *site)
{
	volatile_store(r, off, src, len, site);
	file_flush(r, off, len, site);
}

static void file_zero(struct region *r, uint64_t off, size_t len, const struct sync_site *site)
{
	volatile_zero(r, off, len, site);
	file_flush(r, off, len, site);
}

static void file_store64(struct region *r, uint64_t off, uint64_t value,
			 const struct sync_site *site)
{
	volatile_store64(r, off, value, site);
	file_flush(r, off, sizeof(value), site);
}

/* ---- open, grow, close ---------------------------------------------------------------------- */

static void file_close(struct region *r)
{
	struct file_region *f = file_region(r);

	if (r->base && !r->read_only)
		r->ops->drain(r, NULL);
	mapped_release(&f->m);
	pthread_mutex_destroy(&f->set_lock);
	pthread_mutex_destroy(&f->drain_lock);
	free(f);
}

static int file_grow(struct region *r)
{
	struct stat st;

	if (fstat(r->fd, &st))
		return -errno;
	return mapped_extend(&file_region(r)->m,
			     (uint64_t)st.st_size & -(uint64_t)REGION_PAGE_BYTES);
}

static const struct region_ops pmem_ops = {
	.name = "file",
	.store = pmem_store,
	.zero = pmem_zero,
	.store64 = pmem_store64,
	.flush = pmem_flush_range,
	.drain = fence_drain,
	.close = file_close,
	.grow = file_grow,
};

static const struct region_ops volatile_ops = {
	.name = "file",
	.store = volatile_store,
	.zero = volatile_zero,
	.store64 = volatile_store64,
	.flush = volatile_flush,
	.drain = fence_drain,
	.close = file_close,
	.grow = file_grow,
};

static const struct region_ops file_ops = {
	.name = "file",
	.store = file_store,
	.zero = file_zero,
	.store64 = file_store64,
	.flush = file_flush,
	.drain = file_drain,
	.close = file_close,
	.grow = file_grow,
};

static const struct region_ops *ops_of(enum durability domain)
{
	switch (domain) {
	case DURABILITY_PMEM:
		return &pmem_ops;
	case DURABILITY_VOLATILE:
		return &volatile_ops;
	case DURABILITY_FILE:
		break;
	}
	return &file_ops;
}

/* Only the kernel knows whether a file's pages are the medium itself: ask for it, and see. */
static bool grants_map_sync(const struct region *r)
{
	int prot = r->read_only ? PROT_READ : PROT_READ | PROT_WRITE;
	void *p = mmap(NULL, REGION_PAGE_BYTES, prot, MAP_SHARED_VALIDATE | MAP_SYNC, r->fd, 0);

	if (p == MAP_FAILED)
		return false;
	munmap(p, REGION_PAGE_BYTES);
	return true;
}

static int find_domain(struct region *r, unsigned flags, int *ret_map_flags)
{
	struct statfs fs;

	if (fstatfs(r->fd, &fs))
		return -errno;
	*ret_map_flags = MAP_SHARED;
	if (grants_map_sync(r)) {
		*ret_map_flags = MAP_SHARED_VALIDATE | MAP_SYNC;
		r->domain = DURABILITY_PMEM;
	} else if (flags & REGION_ASSUME_PMEM) {
		r->domain = DURABILITY_PMEM;
	} else if (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC) {
		r->domain = DURABILITY_VOLATILE;
	} else {
		r->domain = DURABILITY_FILE;
	}
	return 0;
}

static int file_setup(struct file_region *f, const struct region_request *req, uint64_t bytes)
{
	struct region *r = &f->m.r;
	uint64_t room_bytes = bytes + MIN_GROWTH_BYTES;
	int map_flags = MAP_SHARED, rc;

	rc = mapped_granule(&f->m, req, REGION_PAGE_BYTES);
	if (rc)
		return rc;
	rc = find_domain(r, req->flags, &map_flags);
	if (rc)
		return region_fail(req, rc, "%s: its filesystem cannot be examined: %s", req->path,
				   strerror(-rc));
	r->ops = ops_of(r->domain);
	if (room_bytes < 4 * bytes)
		room_bytes = 4 * bytes;
	rc = mapped_map(&f->m, bytes, room_bytes, ALIGN_BYTES, map_flags);
	if (rc == -ENOMEM)
		return region_fail(
			req, rc, "%s: no memory or address space for %llu bytes; raise 'ulimit -v'",
			req->path, (unsigned long long)bytes);
	if (rc)
		return region_fail(req, rc,
				   "%s cannot be mapped: %s; its filesystem may not allow "
				   "shared writable mappings",
				   req->path, strerror(-rc));
	return 0;
}

int region_file_open(const struct region_request *req, struct region **ret_region)
{
	struct file_region *f = calloc(1, sizeof(*f));
	struct stat st;
	uint64_t bytes;
	int rc;

	if (!f)
		return region_fail(req, -ENOMEM, "%s: no memory left", req->path);
	rc = mapped_open(&f->m, req, &st);
	if (rc) {
		free(f);
		return rc;
	}
	pthread_mutex_init(&f->set_lock, NULL);
	pthread_mutex_init(&f->drain_lock, NULL);
	bytes = (uint64_t)st.st_size & -(uint64_t)REGION_PAGE_BYTES;
	f->m.r.page_bytes = REGION_PAGE_BYTES;
	rc = file_setup(f, req, bytes);
	if (rc)
		goto fail;
	*ret_region = &f->m.r;
	return 0;
fail:
	mapped_release(&f->m);
	pthread_mutex_destroy(&f->set_lock);
	pthread_mutex_destroy(&f->drain_lock);
	free(f);
	return rc;
}
