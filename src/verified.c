/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * verified.c - one bit for each block of the volume, in pieces that never move, so that a volume
 * can grow while others look. Piece i covers 2^i spans of SPAN_BLOCKS.
 */
#include "verified.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>

#include "format.h"
#include "mem.h"
#include "volume.h"

#define SPAN_BLOCKS UINT64_C(4096)
#define MAX_PIECES 25u
#define WORD_BITS 64u
static_assert(MAX_VOLUME_BLOCKS / SPAN_BLOCKS < UINT64_C(1) << MAX_PIECES, "room for all blocks");

struct verified {
	atomic_ullong *pieces[MAX_PIECES];
};

static uint32_t piece_of(uint64_t blk)
{
	return 31u - (uint32_t)__builtin_clz((uint32_t)(blk / SPAN_BLOCKS) + 1);
}

static atomic_ullong *word_of(const struct volume *vol, uint64_t blk)
{
	uint32_t piece = piece_of(blk);
	uint64_t in_piece = blk - ((UINT64_C(1) << piece) - 1) * SPAN_BLOCKS;

	return &vol->verified->pieces[piece][in_piece / WORD_BITS];
}

bool verified_test(const struct volume *vol, uint64_t blk)
{
	return atomic_load_explicit(word_of(vol, blk), memory_order_acquire) >> blk % WORD_BITS & 1;
}

void verified_set(struct volume *vol, uint64_t blk)
{
	atomic_fetch_or(word_of(vol, blk), 1ull << blk % WORD_BITS);
}

void verified_clear(struct volume *vol, uint64_t blk)
{
	atomic_fetch_and(word_of(vol, blk), ~(1ull << blk % WORD_BITS));
}

int verified_grow(struct volume *vol, uint64_t nblocks)
{
	if (!vol->verified)
		vol->verified = mem_alloc(vol->mem, sizeof(*vol->verified));
	if (!vol->verified)
		return -ENOMEM;
	for (uint32_t piece = 0; piece <= piece_of(nblocks - 1); piece++) {
		atomic_ullong **words = &vol->verified->pieces[piece];

		if (!*words)
			*words = mem_alloc(vol->mem, (SPAN_BLOCKS << piece) / 8);
		if (!*words)
			return -ENOMEM;
	}
	return 0;
}

void verified_delete(struct volume *vol)
{
	if (!vol->verified)
		return;
	for (uint32_t piece = 0; piece < MAX_PIECES; piece++)
		mem_free(vol->mem, vol->verified->pieces[piece]);
	mem_free(vol->mem, vol->verified);
	vol->verified = NULL;
}
