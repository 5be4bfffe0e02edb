/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * store.c - how the checker changes the medium.
 *
 * In place only through lane 0 of the journal, by the protocol of docs/FORMAT.md: log, fence,
 * publish, fence, retire, fence. The checker is alone and has replayed all lanes, so lane 0 is
 * empty. A crash leaves the old structure or the new one, never half of each, which would look like
 * damage to the next run and might cost more than what was to be mended.
 *
 * Stores to block 1 go straight to their place, because a log may not name it: a space map that a
 * crash has torn is made anew from the owners, like any damaged one. And so do all where the lane
 * itself cannot be written (a media error): better mended without a net than not at all.
 */
#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

#include "impl.h"

void dinode_seal_copy(struct dinode *d)
{
	d->csum = to_le32(crc32c_skip(d, sizeof(*d), offsetof(struct dinode, csum)));
}

void map_seal_copy(struct map_block *m)
{
	m->csum = to_le32(crc32c_skip(m, sizeof(*m), offsetof(struct map_block, csum)));
}

static uint64_t lane_off(void)
{
	return (uint64_t)JOURNAL_BLK << BLOCK_SHIFT;
}

static size_t lane_bytes(const struct fsck *f)
{
	return (size_t)from_le32(f->super.lane_blocks) << BLOCK_SHIFT;
}

/* Write the lines in which @s differs from the medium as a record at @out. Returns its length. */
static size_t compose(const struct fsck *f, const struct fix_store *s, unsigned char *out)
{
	const unsigned char *home = region_ptr(f->region, s->off, s->len), *new = s->buf;
	struct log_lines rec = { .kind = to_le32(LOG_LINES), .off = to_le64(s->off) };
	size_t bytes = sizeof(rec);
	uint64_t mask = 0;

	assert(s->off % CACHELINE_BYTES == 0 && s->len % CACHELINE_BYTES == 0 &&
	       s->len <= BLOCK_BYTES);
	for (uint32_t at = 0; at < s->len; at += CACHELINE_BYTES) {
		if (memcmp(home + at, new + at, CACHELINE_BYTES) == 0)
			continue;
		mask |= UINT64_C(1) << at / CACHELINE_BYTES;
		memcpy(out + bytes, new + at, CACHELINE_BYTES);
		bytes += CACHELINE_BYTES;
	}
	if (!mask)
		return 0;
	rec.mask = to_le64(mask);
	memcpy(out, &rec, sizeof(rec));
	return bytes;
}

static void publish(struct fsck *f, const struct fix_store *stores, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		region_store(f->region, stores[i].off, stores[i].buf, stores[i].len, HERE);
	region_drain(f->region, HERE);
}

static bool may_be_logged(const struct fix_store *stores, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (stores[i].off < (uint64_t)SPECIAL_BLK << BLOCK_SHIFT)
			return false;
	return true;
}

static bool through_lane(struct fsck *f, const struct fix_store *stores, unsigned n)
{
	size_t room = sizeof(struct lane_header) + n * (sizeof(struct log_lines) + BLOCK_BYTES);
	struct lane_header *header;
	unsigned char *log;
	size_t bytes = 0;

	if (!may_be_logged(stores, n) || room > lane_bytes(f) ||
	    region_check(f->region, lane_off(), lane_bytes(f)))
		return false;
	log = calloc(1, room);
	if (!log)
		return false;
	header = (struct lane_header *)log;
	for (unsigned i = 0; i < n; i++)
		bytes += compose(f, &stores[i], log + sizeof(*header) + bytes);
	header->magic = to_le32(LANE_MAGIC);
	header->bytes = to_le64(bytes);
	header->csum = to_le32(
		crc32c_skip(log, sizeof(*header) + bytes, offsetof(struct lane_header, csum)));
	if (bytes) {
		region_store(f->region, lane_off(), log, sizeof(*header) + bytes, HERE);
		region_drain(f->region, HERE);
		publish(f, stores, n);
		region_store64(f->region, lane_off(), 0, HERE); /* magic and checksum */
		region_drain(f->region, HERE);
	}
	free(log);
	return true;
}

void fsck_store(struct fsck *f, const struct fix_store *stores, unsigned n)
{
	assert(f->repairing);
	f->changed = true;
	f->report->stored = true;
	region_drain(f->region, HERE); /* what these stores will refer to */
	if (!through_lane(f, stores, n))
		publish(f, stores, n);
}

void fsck_store_one(struct fsck *f, uint64_t off, const void *buf, uint32_t len)
{
	struct fix_store store = { off, buf, len };

	fsck_store(f, &store, 1);
}

void fsck_store_fresh(struct fsck *f, uint64_t blk, const void *buf)
{
	assert(f->repairing);
	f->report->stored = true;
	region_store(f->region, blk << BLOCK_SHIFT, buf, BLOCK_BYTES, HERE);
}
