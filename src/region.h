/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * region.h - the persistent-memory region under a volume: the second of the three seams.
 *
 * A region is a range of bytes that can be loaded directly and stored to only through the
 * functions below, each of which takes the source position of its caller. Behind them stands a
 * mapped file or devdax written with libpmem (region.c, region_file.c, region_devdax.c) or a
 * recorder in memory that crash tests explore (region_record.c).
 *
 * Persistence model. A store is *pending* from region_store() until the region_drain() that
 * follows it; pending cache lines may reach the medium in any order, or not at all. After
 * region_drain() returns, everything that this thread stored before is durable, in the sense of
 * the region's durability domain. Only region_store64() is atomic, and only for its 8 bytes.
 *
 * Damage. A load or store that the medium refuses (host out of space below a sparse file, a
 * media error) raises SIGBUS. region_sigbus() then puts zeroed private memory in place of the
 * page and remembers it in the map of bad ranges. Whoever moved data must ask region_check()
 * afterwards, before acting on what was read or reporting what was written.
 */
#ifndef UDAX_REGION_H
#define UDAX_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "sync.h"

#define CACHELINE_BYTES 64

/** What "durable" means on this region. */
enum durability {
	DURABILITY_PMEM,     /* survives power loss once flushed from the CPU's caches */
	DURABILITY_FILE,     /* survives power loss once msync has returned */
	DURABILITY_VOLATILE, /* survives the process, not the machine (tmpfs, RAM) */
};

/** The name of a durability domain: "pmem", "file" or "volatile". */
const char *durability_name(enum durability domain);

struct region;

struct region_ops {
	const char *name; /* "file", "devdax" or "record" */
	void (*store)(struct region *r, uint64_t off, const void *src, size_t len,
		      const struct sync_site *site);
	void (*zero)(struct region *r, uint64_t off, size_t len, const struct sync_site *site);
	void (*store64)(struct region *r, uint64_t off, uint64_t value,
			const struct sync_site *site);
	void (*flush)(struct region *r, uint64_t off, size_t len, const struct sync_site *site);
	void (*drain)(struct region *r, const struct sync_site *site);
	void (*close)(struct region *r);
	int (*grow)(struct region *r); /* NULL: it cannot grow */
};

/** A range of the region that cannot be used, in bytes. */
struct bad_range {
	uint64_t off, len;
};

/* Implementations embed this as their first member; others use the functions only. */
struct region {
	const struct region_ops *ops;
	const unsigned char *base; /* the first byte, for loads */
	uint64_t bytes;		   /* how much is mapped */
	uint32_t granule_bytes;	   /* the smallest piece that a client can map */
	uint32_t page_bytes;	   /* what region_sigbus() replaces at once; 0: no SIGBUS comes */
	enum durability domain;
	int fd;		       /* -1: none */
	uint32_t first_client; /* that number and those behind it are of this mount; 0: none yet */
	int probe_fd; /* a second open of the same file, to look at the clients' flock; -1: none */
	const char *path;
	bool read_only;
	struct bad_map *bad; /* ranges that raised SIGBUS or that the device lists as bad */
};

/*
 * region_open - map the pmem file or devdax @path.
 *
 * @flags: REGION_RDONLY maps it read-only. REGION_ASSUME_PMEM treats a file as if it were real
 * persistent memory (for tests and measurements). @granule_bytes: 0 for what the region has, or
 * a power of two from 4096 up that simulates a device with that alignment.
 *
 * Returns 0 and sets *@ret_region, to be freed by region_close(). On failure returns -errno and
 * writes one sentence that says what is wrong and what to do to @err (a buffer of @err_len
 * bytes): -ENOENT, -EACCES, -EISDIR or -ENODEV (not a file or devdax), -ENXIO (a devdax of size
 * 0, or in another mode), -EINVAL (too small, bad granule), -ENOMEM, or what open or mmap said.
 */
enum { REGION_RDONLY = 1, REGION_ASSUME_PMEM = 2 };

int region_open(const char *path, unsigned flags, uint32_t granule_bytes,
		struct region **ret_region, char *err, size_t err_len);
void region_close(struct region *r);

/**
 * region_grow - map what the region's file has grown to since it was opened.
 *
 * Existing addresses stay valid. Returns 0 and updates r->bytes, -EOPNOTSUPP where a region
 * cannot grow, -ENOMEM when the reserved address space behind it is used up, or -errno from mmap.
 */
int region_grow(struct region *r);

/**
 * region_ptr - the address of [@off, @off + @len), for loads. The range must lie in the region;
 * that is the caller's bug, not the medium's, and asserted.
 */
const void *region_ptr(const struct region *r, uint64_t off, size_t len);

/* Stores. The source must not overlap the destination. Thread-safe for disjoint ranges. */
void region_store(struct region *r, uint64_t off, const void *src, size_t len,
		  const struct sync_site *site);
void region_zero(struct region *r, uint64_t off, size_t len, const struct sync_site *site);
void region_store64(struct region *r, uint64_t off, uint64_t value, const struct sync_site *site);

/** region_flush - make stores that others did through a mapping pending, as region_store() is. */
void region_flush(struct region *r, uint64_t off, size_t len, const struct sync_site *site);
void region_drain(struct region *r, const struct sync_site *site);

/**
 * region_check - 0, or -EIO when [@off, @off + @len) touches a bad range. Costs one load while
 * no range is bad.
 */
int region_check(const struct region *r, uint64_t off, uint64_t len);

/**
 * region_sigbus - a SIGBUS was raised at @addr: contain it if it lies in @r.
 *
 * Async-signal-safe. Returns true when the page has been replaced and the access can be
 * repeated, false when @addr is not in the region.
 */
bool region_sigbus(struct region *r, const void *addr);

/**
 * region_touch - load one byte of each page of [@off, @off + @len), then region_check() it.
 *
 * For whoever hands the kernel an address in the region: where a load would raise SIGBUS, a system
 * call only fails with EFAULT, and nothing is contained or remembered. 0 or -EIO.
 */
int region_touch(struct region *r, uint64_t off, uint64_t len);

/** region_bad_ranges - copy up to @nr ranges to @ret, returns how many there are. */
size_t region_bad_ranges(const struct region *r, struct bad_range *ret, size_t nr);

/**
 * region_mark_bad - add a range (a device's badblocks list, a test), widened to pages of 4 KiB.
 * -EINVAL when it does not lie in the region.
 */
int region_mark_bad(struct region *r, uint64_t off, uint64_t len);

/*
 * Locks on the region itself, between processes.
 *
 * The *daemon's* lock says who serves or repairs the region: one process at a time. It is a
 * record lock, so that the holder's pid can be asked for, and falls when its process ends. The
 * clients' lock is a different one: a shared flock on a descriptor of its own, which outlives
 * the daemon as long as any client maps the region.
 *
 * What names the holder belongs to the process: it is lost when *any* descriptor of the region's
 * file is closed in this process (a libblkid probe, a second struct region), and fork() does not
 * pass it on. Exclusion stands on the region's own descriptor and outlasts both.
 *
 * region_lock - become the region's only user; of a region opened read-only: one of its readers,
 * with no writer beside them. @wait_ms bounds how long to wait for a holder
 * that is starting or unmounting; one that is serving is not waited for longer than a moment.
 * Returns 0, or -EBUSY with the holder's pid in *@ret_pid (0: unknown).
 * region_set_serving - tell others that this process serves a mount (false: it is ending).
 * region_unlock - let go. region_clients_alive - whether a client of an earlier daemon may still
 * map the region. Those that region_share() was called for do not count after
 * region_clients_begin().
 */
int region_lock(struct region *r, unsigned wait_ms, int *ret_pid);
void region_set_serving(struct region *r, bool serving);
void region_unlock(struct region *r);
bool region_clients_alive(struct region *r);

/**
 * region_clients_begin - the first number for a client of this mount: none from there on is in use by
 * one of before. region_clients_end - whoever is left is one of before.
 */
uint32_t region_clients_begin(struct region *r);
void region_clients_end(struct region *r);

/**
 * region_share - a descriptor of the region for client number @client, with the clients' flock and a
 * lock of this client alone on its open file description, which the client's mappings keep alive.
 * region_share_end - close it here, when the client has its own. region_client_alive - whether any
 * mapping or descriptor that came from it is left. 0, or -errno; -ENODEV where there is no file.
 */
int region_share(struct region *r, uint32_t client, int *ret_fd);
void region_share_end(struct region *r, int fd);
bool region_client_alive(const struct region *r, uint32_t client);

/*
 * The recorder: a region in memory that remembers every store since the last drain, in program
 * order, with its source position. Crash tests take a snapshot at each drain.
 *
 * region_record_new - a recorder over a copy of @image (or zeroes, when NULL) of @bytes.
 * region_record_on_drain - call @fn before each drain takes effect. It may read the three below.
 * region_record_durable - the bytes that a crash now leaves in any case.
 * region_record_pending - the @i-th cache line stored to since the last drain: its offset, and
 * who stored it last; false when there is no such line. Its new content is in region_ptr().
 * region_record_nr_pending - how many such lines there are.
 * region_record_crash_image - write to @buf what a crash leaves when every pending line but the
 * @skip-th reached the medium (SIZE_MAX: every one).
 * region_record_reset - as new over @image, without allocating: for thousands of runs.
 *
 * A drain makes the pending lines of all threads durable, not only those of its caller; a line is
 * lost or kept whole, with its last content. Tests that need less tear the lines themselves.
 */
struct region *region_record_new(const void *image, uint64_t bytes, uint32_t granule_bytes);
void region_record_on_drain(struct region *r, void (*fn)(void *ctx, struct region *r), void *ctx);
const unsigned char *region_record_durable(const struct region *r);
bool region_record_pending(const struct region *r, size_t i, uint64_t *ret_off,
			   const struct sync_site **ret_site);
size_t region_record_nr_pending(const struct region *r);
void region_record_crash_image(const struct region *r, size_t skip, unsigned char *buf);
void region_record_reset(struct region *r, const void *image);
uint64_t region_record_nr_drains(const struct region *r);

#endif
