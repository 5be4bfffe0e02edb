/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * overlay.c - a region that shows another one and keeps stores to itself, so that a volume
 * can be checked as it will be after its journal is replayed, without writing to it.
 *
 * A region with a file is mapped a second time, shared and read-only, and a piece (a page; on a
 * devdax a granule, because it maps nothing smaller) is replaced by private memory when it is
 * stored to. A private file mapping would do the same for files, but a devdax allows none. A
 * region in memory is copied.
 *
 * A store to a page that cannot be read gets zeroes instead, as region_sigbus() leaves them.
 */
#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "impl.h"
#include "region_impl.h"

struct overlay {
	struct region r;
	unsigned char *mapped; /* what munmap() gets; NULL: memory from malloc */
	size_t mapped_bytes;
	uint64_t unit;	     /* bytes of a piece; 0: everything is private */
	struct bits private; /* pieces that are */
};

static struct overlay *overlay_of(struct region *r)
{
	return (struct overlay *)r;
}

static unsigned char *memory_of(struct region *r)
{
	return (unsigned char *)(uintptr_t)r->base;
}

/* Make one piece private. Out of memory there is no way to go on, and nothing to be lost. */
static void piece_take(struct overlay *o, uint64_t piece)
{
	uint64_t off = piece * o->unit;
	size_t len = o->r.bytes - off < o->unit ? o->r.bytes - off : o->unit;
	unsigned char *at = memory_of(&o->r) + off, *aside;
	void *got;

	if (bits_test(&o->private, piece))
		return;
	aside = malloc(len);
	if (!aside)
		abort();
	memcpy(aside, at, len);
	got = mmap(at, o->unit, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
	if (got == MAP_FAILED)
		abort();
	memcpy(at, aside, len);
	free(aside);
	bits_set(&o->private, piece);
}

static unsigned char *writable(struct region *r, uint64_t off, size_t len)
{
	struct overlay *o = overlay_of(r);

	for (uint64_t p = o->unit ? off / o->unit : 1; o->unit && p <= (off + len - 1) / o->unit;
	     p++)
		piece_take(o, p);
	return memory_of(r) + off;
}

static void overlay_store(struct region *r, uint64_t off, const void *src, size_t len,
			  const struct sync_site *site)
{
	(void)site;
	memcpy(writable(r, off, len), src, len);
}

static void overlay_zero(struct region *r, uint64_t off, size_t len, const struct sync_site *site)
{
	(void)site;
	memset(writable(r, off, len), 0, len);
}

static void overlay_store64(struct region *r, uint64_t off, uint64_t value,
			    const struct sync_site *site)
{
	(void)site;
	memcpy(writable(r, off, sizeof(value)), &value, sizeof(value));
}

static void overlay_flush(struct region *r, uint64_t off, size_t len, const struct sync_site *site)
{
	(void)r, (void)off, (void)len, (void)site;
}

static void overlay_drain(struct region *r, const struct sync_site *site)
{
	(void)r, (void)site;
}

static void overlay_close(struct region *r)
{
	struct overlay *o = overlay_of(r);

	if (o->mapped)
		munmap(o->mapped, o->mapped_bytes);
	else
		free(memory_of(r));
	bits_free(&o->private);
	bad_map_delete(r->bad);
	free(o);
}

static const struct region_ops overlay_ops = {
	.name = "overlay",
	.store = overlay_store,
	.zero = overlay_zero,
	.store64 = overlay_store64,
	.flush = overlay_flush,
	.drain = overlay_drain,
	.close = overlay_close,
};

/* Map @base's file where a piece can be replaced: at a multiple of the piece. */
static bool overlay_map(struct overlay *o, const struct region *base)
{
	unsigned char *at;

	o->unit = strcmp(base->ops->name, "devdax") == 0 ? base->granule_bytes : BLOCK_BYTES;
	o->mapped_bytes = (base->bytes + 2 * o->unit - 1) / o->unit * o->unit;
	if (bits_init(&o->private, o->mapped_bytes / o->unit))
		return false;
	at = mmap(NULL, o->mapped_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		  0);
	if (at == MAP_FAILED)
		return false;
	o->mapped = at;
	at += (o->unit - (uintptr_t)at % o->unit) % o->unit;
	o->r.base = at;
	return mmap(at, base->bytes, PROT_READ, MAP_SHARED | MAP_FIXED, base->fd, 0) != MAP_FAILED;
}

static bool overlay_copy(struct overlay *o, const struct region *base)
{
	unsigned char *copy = malloc(base->bytes);

	if (!copy)
		return false;
	memcpy(copy, base->base, base->bytes);
	o->r.base = copy;
	return true;
}

/* What is known to be bad stays so. */
static void inherit_damage(struct region *r, const struct region *base)
{
	struct bad_range ranges[64];
	size_t n = region_bad_ranges(base, ranges, 64);

	for (size_t i = 0; i < n && i < 64; i++)
		region_mark_bad(r, ranges[i].off, ranges[i].len);
}

struct region *fsck_overlay_new(struct region *base)
{
	struct overlay *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->r = (struct region){ .ops = &overlay_ops,
				.bytes = base->bytes,
				.granule_bytes = base->granule_bytes,
				.page_bytes = base->fd >= 0 ? base->page_bytes : 0,
				.domain = DURABILITY_VOLATILE,
				.fd = -1,
				.probe_fd = -1,
				.path = base->path };
	o->r.bad = bad_map_new(base->bytes);
	if (!o->r.bad || !(base->fd >= 0 ? overlay_map(o, base) : overlay_copy(o, base))) {
		overlay_close(&o->r);
		return NULL;
	}
	inherit_damage(&o->r, base);
	return &o->r;
}
