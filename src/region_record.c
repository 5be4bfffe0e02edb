/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * region_record.c - a region in memory that knows, at each moment, what a crash would leave.
 *
 * Two images: `image` is what the program sees, `durable` what the medium surely holds. They can
 * differ only in the pending lines, of which there is a list in the order of their first store, and
 * for each line of the region its place in the list, so that a store finds it at once and a drain
 * copies the list and nothing else. The cost of a store is that of the lines it touches, whatever
 * the size of the region.
 *
 * The lists have room for every line from the start (untouched memory costs nothing), so that no
 * store can fail. One mutex protects the lists; it is a leaf, and not held while the hook runs.
 */
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "region_impl.h"

struct pending_line {
	uint32_t line;
	const struct sync_site *site; /* of the last store */
};

struct record_region {
	struct region r;
	unsigned char *image;
	unsigned char *durable;
	pthread_mutex_t lock;
	struct pending_line *pending;
	uint32_t *place; /* of each line in pending, plus one; 0: not pending */
	size_t nr_pending;
	uint64_t nr_drains;
	void (*on_drain)(void *ctx, struct region *r);
	void *on_drain_ctx;
};

static struct record_region *record_region(struct region *r)
{
	return (struct record_region *)r;
}

static const struct record_region *record_region_const(const struct region *r)
{
	return (const struct record_region *)r;
}

/* ---- stores ------------------------------------------------------------------------------- */

static void record_flush(struct region *r, uint64_t off, size_t len, const struct sync_site *site)
{
	struct record_region *rec = record_region(r);
	uint32_t line = (uint32_t)(off / CACHELINE_BYTES);
	uint32_t last = (uint32_t)((off + len - 1) / CACHELINE_BYTES);

	pthread_mutex_lock(&rec->lock);
	for (; line <= last; line++) {
		if (!rec->place[line]) {
			rec->pending[rec->nr_pending++].line = line;
			rec->place[line] = (uint32_t)rec->nr_pending;
		}
		rec->pending[rec->place[line] - 1].site = site;
	}
	pthread_mutex_unlock(&rec->lock);
}

static void record_store(struct region *r, uint64_t off, const void *src, size_t len,
			 const struct sync_site *site)
{
	memcpy(record_region(r)->image + off, src, len);
	record_flush(r, off, len, site);
}

static void record_zero(struct region *r, uint64_t off, size_t len, const struct sync_site *site)
{
	memset(record_region(r)->image + off, 0, len);
	record_flush(r, off, len, site);
}

static void record_store64(struct region *r, uint64_t off, uint64_t value,
			   const struct sync_site *site)
{
	__atomic_store_n((uint64_t *)(record_region(r)->image + off), value, __ATOMIC_RELEASE);
	record_flush(r, off, sizeof(value), site);
}

static void record_drain(struct region *r, const struct sync_site *site)
{
	struct record_region *rec = record_region(r);

	(void)site;
	if (rec->on_drain)
		rec->on_drain(rec->on_drain_ctx, r);
	pthread_mutex_lock(&rec->lock);
	for (size_t i = 0; i < rec->nr_pending; i++) {
		uint32_t line = rec->pending[i].line;
		size_t off = (size_t)line * CACHELINE_BYTES;

		memcpy(rec->durable + off, rec->image + off, CACHELINE_BYTES);
		rec->place[line] = 0;
	}
	rec->nr_pending = 0;
	rec->nr_drains++;
	pthread_mutex_unlock(&rec->lock);
}

/* ---- create and destroy --------------------------------------------------------------------- */

static void record_close(struct region *r)
{
	struct record_region *rec = record_region(r);

	pthread_mutex_destroy(&rec->lock);
	bad_map_delete(r->bad);
	free(rec->place);
	free(rec->pending);
	free(rec->durable);
	free(rec->image);
	free(rec);
}

static const struct region_ops record_ops = {
	.name = "record",
	.store = record_store,
	.zero = record_zero,
	.store64 = record_store64,
	.flush = record_flush,
	.drain = record_drain,
	.close = record_close,
};

struct region *region_record_new(const void *image, uint64_t bytes, uint32_t granule_bytes)
{
	size_t nr_lines = bytes / CACHELINE_BYTES;
	struct record_region *rec;

	assert(bytes > 0 && bytes % REGION_PAGE_BYTES == 0 && nr_lines < UINT32_MAX);
	rec = calloc(1, sizeof(*rec));
	if (!rec)
		return NULL;
	pthread_mutex_init(&rec->lock, NULL);
	rec->image = aligned_alloc(REGION_PAGE_BYTES, bytes);
	rec->durable = aligned_alloc(REGION_PAGE_BYTES, bytes);
	rec->pending = malloc(nr_lines * sizeof(rec->pending[0]));
	rec->place = calloc(nr_lines, sizeof(rec->place[0]));
	rec->r = (struct region){
		.ops = &record_ops,
		.base = rec->image,
		.bytes = bytes,
		.granule_bytes = granule_bytes ? granule_bytes : REGION_PAGE_BYTES,
		.domain = DURABILITY_PMEM,
		.fd = -1,
		.probe_fd = -1,
		.path = "(memory)",
		.bad = bad_map_new(bytes),
	};
	if (!rec->image || !rec->durable || !rec->pending || !rec->place || !rec->r.bad) {
		record_close(&rec->r);
		return NULL;
	}
	region_record_reset(&rec->r, image);
	return &rec->r;
}

void region_record_reset(struct region *r, const void *image)
{
	struct record_region *rec = record_region(r);

	assert(r->ops == &record_ops);
	for (size_t i = 0; i < rec->nr_pending; i++)
		rec->place[rec->pending[i].line] = 0;
	rec->nr_pending = 0;
	rec->nr_drains = 0;
	bad_map_clear(r->bad);
	if (image)
		memcpy(rec->image, image, r->bytes);
	else
		memset(rec->image, 0, r->bytes);
	memcpy(rec->durable, rec->image, r->bytes);
}

/* ---- what tests ask -------------------------------------------------------------------------- */

void region_record_on_drain(struct region *r, void (*fn)(void *ctx, struct region *r), void *ctx)
{
	struct record_region *rec = record_region(r);

	assert(r->ops == &record_ops);
	rec->on_drain = fn;
	rec->on_drain_ctx = ctx;
}

const unsigned char *region_record_durable(const struct region *r)
{
	assert(r->ops == &record_ops);
	return record_region_const(r)->durable;
}

bool region_record_pending(const struct region *r, size_t i, uint64_t *ret_off,
			   const struct sync_site **ret_site)
{
	const struct record_region *rec = record_region_const(r);

	assert(r->ops == &record_ops);
	if (i >= rec->nr_pending)
		return false;
	*ret_off = (uint64_t)rec->pending[i].line * CACHELINE_BYTES;
	*ret_site = rec->pending[i].site;
	return true;
}

size_t region_record_nr_pending(const struct region *r)
{
	assert(r->ops == &record_ops);
	return record_region_const(r)->nr_pending;
}

void region_record_crash_image(const struct region *r, size_t skip, unsigned char *buf)
{
	const struct record_region *rec = record_region_const(r);

	assert(r->ops == &record_ops);
	memcpy(buf, rec->durable, r->bytes);
	for (size_t i = 0; i < rec->nr_pending; i++) {
		size_t off = (size_t)rec->pending[i].line * CACHELINE_BYTES;

		if (i != skip)
			memcpy(buf + off, rec->image + off, CACHELINE_BYTES);
	}
}

uint64_t region_record_nr_drains(const struct region *r)
{
	assert(r->ops == &record_ops);
	return record_region_const(r)->nr_drains;
}
