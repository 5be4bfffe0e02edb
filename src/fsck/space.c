/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * space.c - who owns which block, blocks for repairs, and the space maps.
 *
 * The owners that a round has found are the truth; a space map is only what they are compared with,
 * and is made anew from them. A block is allocated for a repair when no owner was found for it,
 * which is known once all inodes have been walked. One that its map calls free is preferred,
 * because what is in a used one may be all that is left of something. The map is changed at once,
 * so a crash leaves a leaked block and no more.
 */
#include <assert.h>
#include <stddef.h>
#include <stdio.h>

#include "impl.h"

bool fsck_data_range(const struct fsck *f, uint64_t blk, uint64_t count)
{
	return count && blk >= f->first_data && blk < f->nblocks && count <= f->nblocks - blk &&
	       blk % MAP_BITS && blk % MAP_BITS + count <= MAP_BITS;
}

void fsck_claim(struct fsck *f, uint64_t blk, uint64_t count)
{
	for (uint64_t b = blk; b < blk + count; b++) {
		if (bits_test(&f->owned, b))
			bits_set(&f->twice, b);
		bits_set(&f->owned, b);
	}
}

void fsck_claim_fixed(struct fsck *f)
{
	fsck_claim(f, 0, f->first_data);
	for (uint64_t g = 1; g < f->ngroups; g++)
		fsck_claim(f, fsck_map_blk(g), 1);
}

/* ---- maps as they stand ---------------------------------------------------------------------- */

static const struct map_block *map_of(const struct fsck *f, uint64_t group)
{
	return fsck_block(f, fsck_map_blk(group));
}

static bool map_good(const struct fsck *f, uint64_t group)
{
	const struct map_block *m = map_of(f, group);

	return fsck_readable(f, fsck_map_blk(group)) && from_le32(m->magic) == MAP_MAGIC &&
	       from_le32(m->kind) == MAP_SPACE && from_le64(m->index) == group &&
	       from_le32(m->csum) == crc32c_skip(m, sizeof(*m), offsetof(struct map_block, csum));
}

static bool map_bit(const struct map_block *m, unsigned plane, uint32_t bit)
{
	return from_le64(m->bits[plane][bit / 64]) >> bit % 64 & 1;
}

static void map_set(struct map_block *m, unsigned plane, uint32_t bit, bool on)
{
	uint64_t mask = UINT64_C(1) << bit % 64;
	uint64_t word = from_le64(m->bits[plane][bit / 64]);

	m->bits[plane][bit / 64] = to_le64(on ? word | mask : word & ~mask);
}

bool fsck_marked_used(const struct fsck *f, uint64_t blk, uint64_t count)
{
	const struct map_block *m = map_of(f, blk / MAP_BITS);

	if (!map_good(f, blk / MAP_BITS))
		return true;
	for (uint64_t i = 0; i < count; i++)
		if (!map_bit(m, PLANE_USED, (uint32_t)(blk % MAP_BITS + i)))
			return false;
	return true;
}

/* ---- allocating ------------------------------------------------------------------------------ */

static void mark(struct fsck *f, uint64_t blk, uint64_t count, bool used)
{
	uint64_t group = blk / MAP_BITS;
	struct map_block m;

	if (!map_good(f, group))
		return; /* it will be made anew */
	m = *map_of(f, group);
	for (uint64_t i = 0; i < count; i++)
		map_set(&m, PLANE_USED, (uint32_t)(blk % MAP_BITS + i), used);
	map_seal_copy(&m);
	fsck_store_one(f, fsck_map_blk(group) << BLOCK_SHIFT, &m, sizeof(m));
}

static bool is_free(struct fsck *f, uint64_t blk, bool marked_too)
{
	const struct map_block *m = map_of(f, blk / MAP_BITS);
	uint32_t bit = (uint32_t)(blk % MAP_BITS);

	if (!bit || bits_test(&f->owned, blk) || !fsck_readable(f, blk))
		return false;
	if (f->known_group != blk / MAP_BITS) {
		f->known_group = blk / MAP_BITS;
		f->known_good = map_good(f, f->known_group);
	}
	return !f->known_good || (!map_bit(m, PLANE_QUARANTINED, bit) &&
				  (marked_too || !map_bit(m, PLANE_USED, bit)));
}

/* The first run from @from on, in one group. */
static uint64_t find_run(struct fsck *f, uint64_t from, uint64_t want, bool marked_too,
			 uint64_t *ret_blk)
{
	uint64_t n = 0;

	while (from < f->nblocks && !is_free(f, from, marked_too))
		from++;
	while (n < want && from + n < f->nblocks && is_free(f, from + n, marked_too))
		n++;
	*ret_blk = from;
	return n;
}

int fsck_alloc(struct fsck *f, uint64_t want, uint64_t *ret_blk, uint64_t *ret_count)
{
	uint64_t start = f->alloc_from > f->first_data ? f->alloc_from : f->first_data;
	uint64_t blk, n = 0;

	assert(f->claims_done && f->repairing && want);
	for (unsigned pass = 0; !n && !f->alloc_dry && pass < 4; pass++)
		n = find_run(f, pass % 2 ? f->first_data : start, want, pass >= 2, &blk);
	f->alloc_dry = !n;
	if (!n)
		return -ENOSPC;
	for (uint64_t i = 0; i < n; i++)
		bits_set(&f->owned, blk + i);
	mark(f, blk, n, true);
	f->alloc_from = blk + n;
	*ret_blk = blk;
	*ret_count = n;
	return 0;
}

void fsck_unalloc(struct fsck *f, uint64_t blk, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		bits_clear(&f->owned, blk + i);
	f->alloc_dry = false;
	mark(f, blk, count, false);
}

/* ---- comparing ------------------------------------------------------------------------------- */

/* What is wrong with one bit of a space map. */
static enum fsck_code bit_verdict(const struct fsck *f, const struct map_block *m, uint64_t group,
				  uint32_t bit)
{
	uint64_t blk = group * MAP_BITS + bit;
	bool used = map_bit(m, PLANE_USED, bit), quarantined = map_bit(m, PLANE_QUARANTINED, bit);
	bool owned;

	if (blk >= f->nblocks)
		return used || quarantined ? FSCK_MAP_TAIL : FSCK_NR_CODES;
	owned = bits_test(&f->owned, blk);
	if (quarantined && (owned || used))
		return FSCK_QUARANTINE_BIT;
	if (used && !owned)
		return FSCK_LEAKED;
	if (owned && !used)
		return FSCK_NOT_MARKED;
	return quarantined ? FSCK_QUARANTINE : FSCK_NR_CODES;
}

static const char *verdict_text(enum fsck_code code)
{
	switch (code) {
	case FSCK_MAP_TAIL:
		return "behind the end of the volume but marked";
	case FSCK_QUARANTINE_BIT:
		return "quarantined and used at once";
	case FSCK_LEAKED:
		return "marked used, but nothing owns them";
	case FSCK_NOT_MARKED:
		return "in use, but marked free";
	default:
		return "quarantined: freed, and to be released by the next mount";
	}
}

static void report_run(struct fsck *f, enum fsck_code code, uint64_t first, uint64_t count)
{
	if (code == FSCK_QUARANTINE)
		f->report->blocks_quarantined += count;
	if (code == FSCK_NR_CODES || (code == FSCK_QUARANTINE && f->opt->mounted))
		return;
	fsck_found(f, code, FSCK_NOWHERE, first, "blocks %llu to %llu are %s",
		   (unsigned long long)first, (unsigned long long)(first + count - 1),
		   verdict_text(code));
}

/* Report every run of bits with one fault. Returns whether the map has to be made anew. */
static bool compare_map(struct fsck *f, const struct map_block *m, uint64_t group)
{
	enum fsck_code run = FSCK_NR_CODES;
	uint32_t first = 0;
	bool wrong = false;

	for (uint32_t bit = 0; bit <= MAP_BITS; bit++) {
		enum fsck_code code = bit < MAP_BITS ? bit_verdict(f, m, group, bit)
						     : FSCK_NR_CODES;

		if (code == run && bit < MAP_BITS)
			continue;
		report_run(f, run, group * MAP_BITS + first, bit - first);
		wrong = wrong || (run != FSCK_NR_CODES && run != FSCK_QUARANTINE);
		run = code;
		first = bit;
	}
	return wrong;
}

/* @m becomes what it has to be. Of quarantine it keeps what is possible. */
static void make_map(const struct fsck *f, struct map_block *m, uint64_t group, bool keep)
{
	struct map_block new = { .magic = to_le32(MAP_MAGIC),
				 .kind = to_le32(MAP_SPACE),
				 .index = to_le64(group) };

	for (uint32_t bit = 0; bit < MAP_BITS; bit++) {
		uint64_t blk = group * MAP_BITS + bit;

		if (blk >= f->nblocks)
			break;
		if (bits_test(&f->owned, blk))
			map_set(&new, PLANE_USED, bit, true);
		else if (keep && map_bit(m, PLANE_QUARANTINED, bit) && !map_bit(m, PLANE_USED, bit))
			map_set(&new, PLANE_QUARANTINED, bit, true);
	}
	map_seal_copy(&new);
	*m = new;
}

static void check_map(struct fsck *f, uint64_t group)
{
	uint64_t blk = fsck_map_blk(group);
	bool good = map_good(f, group), mend;
	struct map_block m = *map_of(f, group);

	if (!fsck_readable(f, blk)) {
		fsck_found(f, FSCK_MEDIA, FSCK_NOWHERE, blk,
			   "the space map of group %llu cannot be read", (unsigned long long)group);
		return;
	}
	if (good)
		mend = compare_map(f, &m, group) && f->repairing;
	else
		mend = fsck_found(f, FSCK_SPACE_MAP, FSCK_NOWHERE, blk,
				  "the space map of group %llu is damaged",
				  (unsigned long long)group);
	if (!mend)
		return;
	make_map(f, &m, group, good);
	fsck_store_one(f, blk << BLOCK_SHIFT, &m, sizeof(m));
}

void fsck_space(struct fsck *f)
{
	f->report->blocks_owned = f->report->blocks_quarantined = 0;
	for (uint64_t w = 0; w < (f->nblocks + 63) / 64; w++)
		f->report->blocks_owned += (uint64_t)__builtin_popcountll(f->owned.words[w]);
	for (uint64_t g = 0; g < f->ngroups; g++) {
		fsck_progress(f, "space", g, f->ngroups);
		check_map(f, g);
	}
}
