/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * lib_bed.c - a volume to test on. See bed.h.
 */
#include "bed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "alloc.h"
#include "inode.h"
#include "journal.h"
#include "mem.h"
#include "region.h"
#include "sync.h"
#include "volume.h"

static void on_lock_report(void *ctx, const char *line)
{
	struct bed *bed = ctx;

	bed->lock_reports++;
	print_error("%s\n", line);
}

static void bed_mount(struct bed *bed)
{
	struct volume_env env = { .sync = bed->sync, .mem = mem_heap(), .policy = bed->policy };
	char err[256];

	if (volume_mount(bed->region, &env, &bed->vol, err, sizeof(err)))
		fail_msg("mount: %s", err);
}

struct bed *bed_new(uint64_t bytes, bool lockdep)
{
	return bed_new_on(region_record_new(NULL, bytes, BLOCK_BYTES), lockdep);
}

static struct bed *make_bed(struct region *region, bool lockdep, const struct udax_policy *policy)
{
	struct bed *bed = calloc(1, sizeof(*bed));
	struct sync_options sync_options = { lockdep, on_lock_report, bed };
	struct format_options options = { .label = "bed" };
	struct cred cred = { 0 };

	assert_non_null(bed);
	bed->sync = sync_pthread_new(&sync_options);
	bed->region = region;
	bed->policy = policy;
	assert_non_null(bed->sync);
	assert_non_null(bed->region);
	assert_int_equal(volume_format(bed->region, bed->sync, mem_heap(), &options), 0);
	bed_mount(bed);
	assert_int_equal(inode_prepare(bed->vol), 0);
	assert_int_equal(tx_begin(bed->vol, 0, &bed->tx, HERE), 0);
	assert_int_equal(inode_create(bed->tx, NULL, S_IFREG | 0600, &cred, 0, 0, &bed->inode), 0);
	assert_int_equal(inode_set_nlink(bed->tx, bed->inode, 1), 0);
	assert_int_equal(bed_end(bed, 0), 0);
	return bed;
}

struct bed *bed_new_on(struct region *region, bool lockdep)
{
	return make_bed(region, lockdep, NULL);
}

struct bed *bed_new_with(const struct udax_policy *policy)
{
	return make_bed(region_record_new(NULL, 1 << 20, BLOCK_BYTES), true, policy);
}

void bed_delete(struct bed *bed)
{
	unsigned reports = bed->lock_reports;

	volume_abandon(bed->vol);
	region_close(bed->region);
	sync_delete(bed->sync);
	free(bed);
	assert_int_equal(reports, 0);
}

void bed_remount(struct bed *bed)
{
	uint64_t ino = bed->inode->ino;

	volume_abandon(bed->vol);
	bed_mount(bed);
	assert_int_equal(inode_get(bed->vol, ino, &bed->inode), 0);
}

void bed_begin(struct bed *bed, unsigned flags)
{
	assert_int_equal(tx_begin(bed->vol, flags, &bed->tx, HERE), 0);
	ilock(bed->inode, SYNC_EXCL, HERE);
}

int bed_end(struct bed *bed, int err)
{
	int result = tx_end(bed->tx, err);

	iunlock(bed->inode, SYNC_EXCL, HERE);
	bed->tx = NULL;
	return result;
}

const struct dinode *bed_dinode(const struct bed *bed)
{
	return region_ptr(bed->region, bed->inode->off, sizeof(struct dinode));
}

void bed_store(struct bed *bed, uint64_t off, const void *src, size_t len)
{
	region_store(bed->region, off, src, len, HERE);
	region_drain(bed->region, HERE);
}

uint64_t bed_free(struct bed *bed)
{
	struct space space;

	alloc_space(bed->vol, &space);
	return space.free;
}

void bed_leave_free(struct bed *bed, uint64_t left)
{
	while (alloc_nfree(bed->vol) > left) {
		struct alloc_request req = { .count = 1 };
		uint64_t blk, more = alloc_nfree(bed->vol) - left;
		uint32_t got;

		req.count = more < MAP_BITS ? (uint32_t)more : MAP_BITS;
		bed_begin(bed, 0);
		assert_int_equal(alloc_blocks(bed->tx, &req, &blk, &got), 0);
		assert_int_equal(bed_end(bed, 0), 0);
	}
	assert_int_equal(alloc_nfree(bed->vol), left);
}

unsigned char *bed_image(const struct bed *bed)
{
	unsigned char *image = malloc(bed->region->bytes);

	assert_non_null(image);
	memcpy(image, region_ptr(bed->region, 0, bed->region->bytes), bed->region->bytes);
	return image;
}

void bed_assert_image(const struct bed *bed, const unsigned char *image)
{
	const unsigned char *now = region_ptr(bed->region, 0, bed->region->bytes);

	if (memcmp(image, now, bed->region->bytes) == 0)
		return;
	for (uint64_t off = 0; off < bed->region->bytes; off++)
		if (image[off] != now[off])
			fail_msg("the medium has changed at byte %llu", (unsigned long long)off);
}

uint64_t bed_seed(uint64_t fallback)
{
	const char *text = getenv("UDAX_SEED");
	uint64_t seed = text ? strtoull(text, NULL, 0) : fallback;

	print_message("UDAX_SEED=%llu\n", (unsigned long long)seed);
	return seed;
}

uint64_t rng_next(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint64_t rng_below(uint64_t *state, uint64_t n)
{
	return rng_next(state) % n;
}
