/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * map.c - bits on the medium, and their busy copy in memory. The protocol is in map.h.
 *
 * The medium is changed in two situations only, by the same functions: at commit, behind fence 1,
 * and in recovery. Both set bits first (map_apply) and then the checksum that belongs to them
 * (map_reseal). A crash between the two leaves a wrong checksum; it cannot be met
 * unrepaired, because the lane that says what was going on is not retired by then, and replaying
 * it ends with map_reseal again.
 */
#include "map.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "crc.h"
#include "mem.h"
#include "region.h"
#include "volume.h"

#define WORD_BITS 64u
#define MAP_WORDS (MAP_BITS / WORD_BITS)

static uint64_t map_off(uint64_t blk)
{
	return blk << BLOCK_SHIFT;
}

static const struct map_block *map_on_medium(const struct region *r, uint64_t blk)
{
	return region_ptr(r, map_off(blk), BLOCK_BYTES);
}

void map_format(struct map_block *mb, enum map_kind kind, uint64_t index)
{
	memset(mb, 0, sizeof(*mb));
	mb->magic = to_le32(MAP_MAGIC);
	mb->kind = to_le32(kind);
	mb->index = to_le64(index);
	map_seal(mb);
}

void map_seal(struct map_block *mb)
{
	mb->csum = to_le32(crc32c_skip(mb, sizeof(*mb), offsetof(struct map_block, csum)));
}

int map_check(const struct map_block *mb, enum map_kind kind, uint64_t index)
{
	if (from_le32(mb->magic) != MAP_MAGIC || from_le32(mb->kind) != kind ||
	    from_le64(mb->index) != index ||
	    from_le32(mb->csum) != crc32c_skip(mb, sizeof(*mb), offsetof(struct map_block, csum)))
		return -EUCLEAN;
	return 0;
}

void map_init(struct volume *vol, struct map *map, enum map_kind kind, uint64_t index, uint64_t blk,
	      uint32_t nbits)
{
	assert(nbits <= MAP_BITS);
	memset(map, 0, sizeof(*map));
	sync_mutex_init(vol->sync, &map->lock, LOCK_ALLOC);
	sync_mutex_number(&map->lock, index);
	map->kind = kind;
	map->index = index;
	map->blk = blk;
	map->nbits = nbits;
}

void map_destroy(struct volume *vol, struct map *map)
{
	sync_mutex_destroy(&map->lock);
	mem_free(vol->mem, map->busy);
	mem_free(vol->mem, map->huge_free);
}

/* Count the free bits of [@from, map->nbits), when they come into use. */
static uint32_t map_count(struct map *map, uint32_t from)
{
	uint32_t nfree = 0;

	for (uint32_t bit = from; bit < map->nbits; bit++) {
		if (map->busy[bit / WORD_BITS] >> bit % WORD_BITS & 1)
			continue;
		nfree++;
		if (map->huge_free)
			map->huge_free[bit / HUGE_BLOCKS]++;
	}
	return nfree;
}

int map_load(struct volume *vol, struct map *map)
{
	const struct map_block *mb;

	sync_assert_locked(&map->lock);
	if (map->busy)
		return 0;

	mb = map_on_medium(vol->region, map->blk);
	if (map_check(mb, map->kind, map->index) ||
	    region_check(vol->region, map_off(map->blk), BLOCK_BYTES))
		return volume_damaged(vol, map_off(map->blk), "map of used blocks or inodes");
	if (map->kind == MAP_SPACE) {
		map->huge_free = mem_alloc(vol->mem, MAP_HUGE_RUNS * sizeof(*map->huge_free));
		if (!map->huge_free)
			return -ENOMEM;
	}
	map->busy = mem_alloc(vol->mem, MAP_BYTES);
	if (!map->busy)
		return -ENOMEM;
	for (uint32_t w = 0; w < MAP_WORDS; w++) {
		map->busy[w] = from_le64(mb->bits[PLANE_USED][w]);
		if (map->kind == MAP_SPACE)
			map->busy[w] |= from_le64(mb->bits[PLANE_QUARANTINED][w]);
	}
	atomic_store(&map->nfree, map_count(map, 0));
	return 0;
}

static void map_add_free(struct map *map, int32_t n)
{
	atomic_fetch_add(&map->nfree, (uint32_t)n);
	if (map->total)
		atomic_fetch_add(map->total, n);
}

void map_extend(struct map *map, uint32_t nbits)
{
	uint32_t old = map->nbits;

	sync_assert_locked(&map->lock);
	assert(nbits >= old && nbits <= MAP_BITS);
	map->nbits = nbits;
	map_add_free(map, (int32_t)map_count(map, old));
}

bool map_is_busy(const struct map *map, uint32_t bit)
{
	return map->busy[bit / WORD_BITS] >> bit % WORD_BITS & 1;
}

/* The first bit from @from on that is @busy, or @to. */
static uint32_t next_bit(const struct map *map, uint32_t from, uint32_t to, bool busy)
{
	while (from < to) {
		uint64_t word = map->busy[from / WORD_BITS];

		if (!busy)
			word = ~word;
		word >>= from % WORD_BITS;
		if (word) {
			from += (uint32_t)__builtin_ctzll(word);
			return from < to ? from : to;
		}
		from += WORD_BITS - from % WORD_BITS;
	}
	return to;
}

uint32_t map_find_run(const struct map *map, uint32_t from, uint32_t to, uint32_t want,
		      uint32_t *ret_first)
{
	uint32_t best = 0, first = 0;

	sync_assert_locked(&map->lock);
	if (to > map->nbits)
		to = map->nbits;
	while (best < want) {
		uint32_t start = next_bit(map, from, to, false);
		uint32_t stop, limit = to - start < want ? to : start + want;

		if (start >= to)
			break;
		stop = next_bit(map, start, limit, true);
		if (stop - start > best) {
			best = stop - start;
			first = start;
		}
		from = stop;
	}
	if (best)
		*ret_first = first;
	return best;
}

uint32_t map_run_at(const struct map *map, uint32_t first, uint32_t want)
{
	uint32_t limit;

	sync_assert_locked(&map->lock);
	if (first >= map->nbits)
		return 0;
	limit = map->nbits - first < want ? map->nbits : first + want;
	return next_bit(map, first, limit, true) - first;
}

/* Flip one bit of busy and what is counted about it, but for the sums. */
static void flip_busy(struct map *map, uint32_t bit)
{
	uint64_t mask = UINT64_C(1) << bit % WORD_BITS;

	map->busy[bit / WORD_BITS] ^= mask;
	if (map->huge_free)
		map->huge_free[bit / HUGE_BLOCKS] += map_is_busy(map, bit) ? -1 : 1;
}

void map_take(struct map *map, uint32_t first, uint32_t count)
{
	sync_assert_locked(&map->lock);
	assert(count <= map->nbits && first <= map->nbits - count);
	for (uint32_t bit = first; bit < first + count; bit++) {
		assert(!map_is_busy(map, bit));
		flip_busy(map, bit);
	}
	map_add_free(map, -(int32_t)count);
}

void map_release(struct map *map, uint32_t first, uint32_t count)
{
	int32_t released = 0;

	sync_assert_locked(&map->lock);
	assert(count <= map->nbits && first <= map->nbits - count);
	for (uint32_t bit = first; bit < first + count; bit++) {
		if (!map_is_busy(map, bit))
			continue;
		flip_busy(map, bit);
		released++;
	}
	map_add_free(map, released);
}

bool map_test(const struct volume *vol, const struct map *map, unsigned plane, uint32_t bit)
{
	const struct map_block *mb = map_on_medium(vol->region, map->blk);

	return from_le64(mb->bits[plane][bit / WORD_BITS]) >> bit % WORD_BITS & 1;
}

void map_apply(struct region *r, uint64_t blk, unsigned plane, bool set, uint32_t first,
	       uint32_t count)
{
	const struct map_block *mb = map_on_medium(r, blk);

	while (count) {
		uint32_t w = first / WORD_BITS, shift = first % WORD_BITS;
		uint32_t n = WORD_BITS - shift < count ? WORD_BITS - shift : count;
		uint64_t mask = (n == WORD_BITS ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1) << shift;
		uint64_t word = from_le64(mb->bits[plane][w]);
		uint64_t off = map_off(blk) + offsetof(struct map_block, bits) + plane * MAP_BYTES +
			       w * sizeof(uint64_t);

		word = set ? word | mask : word & ~mask;
		region_store64(r, off, to_le64(word), HERE);
		first += n;
		count -= n;
	}
}

void map_reseal(struct region *r, uint64_t blk)
{
	const struct map_block *mb = map_on_medium(r, blk);
	le32 csum = to_le32(crc32c_skip(mb, sizeof(*mb), offsetof(struct map_block, csum)));

	region_store(r, map_off(blk) + offsetof(struct map_block, csum), &csum, sizeof(csum), HERE);
}
