/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * region_impl.h - what the implementations of a region share, and nobody above them includes.
 */
#ifndef UDAX_REGION_IMPL_H
#define UDAX_REGION_IMPL_H

#include <sys/stat.h>

#include "region.h"

#define REGION_PAGE_BYTES 4096u
#define REGION_PAGE_SHIFT 12

/* ---- region.c ----------------------------------------------------------------------------- */

/** What region_open() was asked for, and where its error sentence goes. */
struct region_request {
	const char *path;
	unsigned flags;
	uint32_t granule_bytes; /* 0: the region's own */
	char *err;
	size_t err_len;
};

/** region_fail - write the sentence to @req's error buffer and return @error, which is -errno. */
int region_fail(const struct region_request *req, int error, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/** bad_map_new - a map without bad pages for a region of up to @bytes; NULL without memory. */
struct bad_map *bad_map_new(uint64_t bytes);
void bad_map_delete(struct bad_map *map);
void bad_map_clear(struct bad_map *map);

/* ---- region_mapped.c: what file and devdax share ------------------------------------------ */

/** A region that is a mapping of a descriptor. */
struct mapped_region {
	struct region r;
	unsigned char *reserved; /* all of the address space that is ours */
	size_t reserved_bytes;
	uint64_t room_bytes; /* how far the region can grow, from r.base */
	int map_flags;
};

/**
 * mapped_open - open @req->path twice and fill in path, descriptors and read_only of @m, which is
 * zeroed. Also sets *@ret_st. On failure nothing is left open and the sentence is written.
 */
int mapped_open(struct mapped_region *m, const struct region_request *req, struct stat *ret_st);

/**
 * mapped_map - reserve address space aligned to @align, at least @room_bytes if there is that
 * much, map the first @bytes of the descriptor with @map_flags, and create the map of bad ranges.
 * 0 or -errno.
 */
int mapped_map(struct mapped_region *m, uint64_t bytes, uint64_t room_bytes, uint64_t align,
	       int map_flags);

/** mapped_extend - map the bytes from r.bytes to @bytes too. 0, -ENOMEM (no room), or -errno. */
int mapped_extend(struct mapped_region *m, uint64_t bytes);

/** mapped_release - undo mapped_map() and mapped_open(), whichever were done. */
void mapped_release(struct mapped_region *m);

/** mapped_granule - check @req->granule_bytes against what the medium has, and set it. */
int mapped_granule(struct mapped_region *m, const struct region_request *req, uint32_t own_bytes);

/* Stores with the durability domains "pmem" and "volatile". */
void pmem_store(struct region *r, uint64_t off, const void *src, size_t len,
		const struct sync_site *site);
void pmem_zero(struct region *r, uint64_t off, size_t len, const struct sync_site *site);
void pmem_store64(struct region *r, uint64_t off, uint64_t value, const struct sync_site *site);
void pmem_flush_range(struct region *r, uint64_t off, size_t len, const struct sync_site *site);
void volatile_store(struct region *r, uint64_t off, const void *src, size_t len,
		    const struct sync_site *site);
void volatile_zero(struct region *r, uint64_t off, size_t len, const struct sync_site *site);
void volatile_store64(struct region *r, uint64_t off, uint64_t value, const struct sync_site *site);
void volatile_flush(struct region *r, uint64_t off, size_t len, const struct sync_site *site);
void fence_drain(struct region *r, const struct sync_site *site);

/* ---- the kinds ---------------------------------------------------------------------------- */

/** region_file_open - a regular file. As region_open(). */
int region_file_open(const struct region_request *req, struct region **ret_region);

/**
 * region_devdax_open - a character device. As region_open(). In a build without libdaxctl and
 * libndctl (region_devdax_none.c) it refuses and says so.
 */
int region_devdax_open(const struct region_request *req, struct region **ret_region);

#endif
