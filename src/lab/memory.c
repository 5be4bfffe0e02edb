/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * memory.c - see memory.h.
 *
 * The arena never reuses what was freed: it is filled with a pattern, so whoever goes on using it is
 * soon noticed, and the same calls give the same addresses in each run.
 *
 * The medium keeps two lists of lines: those that differ from the saved image, to put them back, and
 * those that are pending, which a crash may lose.
 */
#include "memory.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "region_impl.h"

/* ---- arena --------------------------------------------------------------------------------------- */

#define ALIGNMENT ((size_t)64)
#define FREED 0x6b

struct range {
	size_t off, len;
};

struct arena {
	struct mem mem;
	unsigned char *base;
	size_t used, room;
	unsigned nlive; /* pieces that are handed out */
	bool (*fails)(void *ctx);
	void *fails_ctx;
	/* What was in use when it was saved: the bytes, one range behind the other, and where they go. */
	unsigned char *saved;
	struct range *ranges;
	size_t saved_used, nranges;
	unsigned saved_nlive;
};

struct block {
	size_t bytes;
	bool freed;
	unsigned char pad[ALIGNMENT - sizeof(size_t) - sizeof(bool)];
};

static void *arena_alloc(struct mem *mem, size_t bytes)
{
	struct arena *arena = (struct arena *)mem;
	size_t span = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	struct block *block = (struct block *)(arena->base + arena->used);

	if (arena->fails && arena->fails(arena->fails_ctx))
		return NULL;
	if (bytes > arena->room || sizeof(*block) + span > arena->room - arena->used)
		return NULL;
	arena->used += sizeof(*block) + span;
	arena->nlive++;
	block->bytes = span;
	block->freed = false;
	return memset(block + 1, 0, span);
}

static void arena_free(struct mem *mem, void *ptr)
{
	struct arena *arena = (struct arena *)mem;
	struct block *block = (struct block *)ptr - 1;

	arena->nlive--;
	block->freed = true;
	memset(ptr, FREED, block->bytes);
}

struct mem *arena_new(size_t bytes)
{
	struct arena *arena = calloc(1, sizeof(*arena));

	if (!arena)
		return NULL;
	arena->base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (arena->base == MAP_FAILED) {
		free(arena);
		return NULL;
	}
	arena->room = bytes;
	arena->mem = (struct mem){ arena_alloc, arena_free };
	return &arena->mem;
}

void arena_delete(struct mem *mem)
{
	struct arena *arena = (struct arena *)mem;

	if (!arena)
		return;
	munmap(arena->base, arena->room);
	free(arena->ranges);
	free(arena->saved);
	free(arena);
}

/* The next range of blocks that are in use, from *@off on; neighbours are one. */
static bool next_range(const struct arena *arena, size_t *off, struct range *ret)
{
	*ret = (struct range){ 0 };
	while (*off < arena->used) {
		const struct block *block = (const struct block *)(arena->base + *off);
		size_t span = sizeof(*block) + block->bytes;

		if (block->freed && ret->len)
			break;
		if (!block->freed && !ret->len)
			ret->off = *off;
		ret->len += block->freed ? 0 : span;
		*off += span;
	}
	return ret->len;
}

int arena_save(struct mem *mem)
{
	struct arena *arena = (struct arena *)mem;
	struct range range;
	size_t n = 0, bytes = 0;

	for (size_t off = 0; next_range(arena, &off, &range); n++)
		bytes += range.len;
	free(arena->saved);
	free(arena->ranges);
	arena->saved = malloc(bytes + 1); /* nothing may be in use */
	arena->ranges = calloc(n + 1, sizeof(*arena->ranges));
	if (!arena->saved || !arena->ranges)
		return -ENOMEM;
	arena->nranges = n;
	arena->saved_used = arena->used;
	arena->saved_nlive = arena->nlive;
	n = bytes = 0;
	for (size_t off = 0; next_range(arena, &off, &range); bytes += range.len) {
		arena->ranges[n++] = range;
		memcpy(arena->saved + bytes, arena->base + range.off, range.len);
	}
	return 0;
}

void arena_restore(struct mem *mem)
{
	struct arena *arena = (struct arena *)mem;
	const unsigned char *from = arena->saved;

	for (size_t i = 0; i < arena->nranges; i++) {
		memcpy(arena->base + arena->ranges[i].off, from, arena->ranges[i].len);
		from += arena->ranges[i].len;
	}
	arena->used = arena->saved_used;
	arena->nlive = arena->saved_nlive;
}

void arena_watch(struct mem *mem, bool (*fails)(void *ctx), void *ctx)
{
	struct arena *arena = (struct arena *)mem;

	arena->fails = fails;
	arena->fails_ctx = ctx;
}

unsigned arena_nlive(const struct mem *mem)
{
	return ((const struct arena *)mem)->nlive;
}

/* ---- medium -------------------------------------------------------------------------------------- */

/* Dirty: stored by a client, which nobody has flushed: a drain does not wait for it. */
enum { LINE_CHANGED = 1, LINE_PENDING = 2, LINE_DIRTY = 4 };

struct medium {
	struct region r;
	unsigned char *image, *saved, *durable;
	unsigned char *lines; /* LINE_ bits of each */
	uint32_t *changed, *pending;
	size_t nchanged, npending;
	medium_watch watch;
	medium_drain_watch drain_watch;
	void *watch_ctx, *drain_watch_ctx;
};

static struct medium *medium_of(const struct region *r)
{
	return (struct medium *)r;
}

static void mark(struct medium *m, uint64_t off, size_t len)
{
	uint64_t last = (off + len - 1) / CACHELINE_BYTES;

	for (uint64_t line = off / CACHELINE_BYTES; line <= last; line++) {
		if (!(m->lines[line] & LINE_CHANGED))
			m->changed[m->nchanged++] = (uint32_t)line;
		if (!(m->lines[line] & LINE_PENDING))
			m->pending[m->npending++] = (uint32_t)line;
		m->lines[line] = LINE_CHANGED | LINE_PENDING;
	}
}

static void medium_store(struct region *r, uint64_t off, const void *src, size_t len,
			 const struct sync_site *site)
{
	struct medium *m = medium_of(r);

	if (m->watch)
		m->watch(m->watch_ctx, off, len, false, site);
	memcpy(m->image + off, src, len);
	mark(m, off, len);
}

static void medium_zero(struct region *r, uint64_t off, size_t len, const struct sync_site *site)
{
	struct medium *m = medium_of(r);

	if (m->watch)
		m->watch(m->watch_ctx, off, len, true, site);
	memset(m->image + off, 0, len);
	mark(m, off, len);
}

static void medium_store64(struct region *r, uint64_t off, uint64_t value,
			   const struct sync_site *site)
{
	medium_store(r, off, &value, sizeof(value), site);
}

static void medium_flush(struct region *r, uint64_t off, size_t len, const struct sync_site *site)
{
	(void)site;
	mark(medium_of(r), off, len);
}

static void medium_drain(struct region *r, const struct sync_site *site)
{
	struct medium *m = medium_of(r);

	size_t left = 0;

	if (m->drain_watch)
		m->drain_watch(m->drain_watch_ctx, site);
	for (size_t i = 0; i < m->npending; i++) {
		size_t off = (size_t)m->pending[i] * CACHELINE_BYTES;

		if (m->lines[m->pending[i]] & LINE_DIRTY) {
			m->pending[left++] = m->pending[i];
			continue;
		}
		memcpy(m->durable + off, m->image + off, CACHELINE_BYTES);
		m->lines[m->pending[i]] &= (unsigned char)~LINE_PENDING;
	}
	m->npending = left;
}

static void medium_close(struct region *r)
{
	struct medium *m = medium_of(r);

	bad_map_delete(r->bad);
	free(m->pending);
	free(m->changed);
	free(m->lines);
	free(m->durable);
	free(m->saved);
	free(m->image);
	free(m);
}

static const struct region_ops medium_ops = {
	.name = "lab",
	.store = medium_store,
	.zero = medium_zero,
	.store64 = medium_store64,
	.flush = medium_flush,
	.drain = medium_drain,
	.close = medium_close,
};

struct region *medium_new(uint64_t bytes, uint32_t granule_bytes)
{
	size_t nlines = bytes / CACHELINE_BYTES;
	struct medium *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->image = aligned_alloc(granule_bytes, bytes);
	m->saved = aligned_alloc(REGION_PAGE_BYTES, bytes);
	m->durable = aligned_alloc(REGION_PAGE_BYTES, bytes);
	m->lines = calloc(nlines, sizeof(*m->lines));
	m->changed = calloc(nlines, sizeof(*m->changed));
	m->pending = calloc(nlines, sizeof(*m->pending));
	m->r = (struct region){ .ops = &medium_ops,
				.base = m->image,
				.bytes = bytes,
				.granule_bytes = granule_bytes,
				.domain = DURABILITY_PMEM,
				.fd = -1,
				.probe_fd = -1,
				.path = "(lab)",
				.bad = bad_map_new(bytes) };
	if (!m->image || !m->saved || !m->durable || !m->lines || !m->changed || !m->pending ||
	    !m->r.bad) {
		medium_close(&m->r);
		return NULL;
	}
	memset(m->image, 0, bytes);
	medium_save(&m->r);
	return &m->r;
}

void medium_watch_stores(struct region *r, medium_watch watch, void *ctx)
{
	medium_of(r)->watch = watch;
	medium_of(r)->watch_ctx = ctx;
}

void medium_watch_drains(struct region *r, medium_drain_watch watch, void *ctx)
{
	medium_of(r)->drain_watch = watch;
	medium_of(r)->drain_watch_ctx = ctx;
}

void medium_save(struct region *r)
{
	struct medium *m = medium_of(r);

	memcpy(m->saved, m->image, r->bytes);
	memcpy(m->durable, m->image, r->bytes);
	memset(m->lines, 0, r->bytes / CACHELINE_BYTES);
	m->nchanged = m->npending = 0;
}

void medium_restore(struct region *r)
{
	struct medium *m = medium_of(r);

	bad_map_clear(r->bad);
	for (size_t i = 0; i < m->nchanged; i++) {
		size_t off = (size_t)m->changed[i] * CACHELINE_BYTES;

		memcpy(m->image + off, m->saved + off, CACHELINE_BYTES);
		memcpy(m->durable + off, m->saved + off, CACHELINE_BYTES);
		m->lines[m->changed[i]] = 0;
	}
	m->nchanged = m->npending = 0;
}

unsigned char *medium_base(struct region *r)
{
	return medium_of(r)->image;
}

void medium_dirty(struct region *r, uint64_t off)
{
	struct medium *m = medium_of(r);

	mark(m, off, 1);
	m->lines[off / CACHELINE_BYTES] |= LINE_DIRTY;
}

size_t medium_pending(const struct region *r)
{
	return medium_of(r)->npending;
}

void medium_crash(const struct region *r, uint64_t keep, unsigned char *image)
{
	const struct medium *m = medium_of(r);

	memcpy(image, m->durable, r->bytes);
	for (size_t i = 0; i < m->npending; i++) {
		size_t off = (size_t)m->pending[i] * CACHELINE_BYTES;

		if (keep >> (i < 63 ? i : 63) & 1)
			memcpy(image + off, m->image + off, CACHELINE_BYTES);
	}
}
