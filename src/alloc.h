/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * alloc.h - free space. A block is free, used or quarantined (freed, but a client that has not
 * answered its recall may still map it).
 *
 * A volume is divided into groups of 15872 blocks (31 granules of 2 MiB), each with its own map
 * and lock, so threads allocate side by side. Small things (metadata, small files) go where a
 * 2 MiB piece is broken already; large files get whole 2 MiB pieces, at an address congruent
 * with the file offset, so that they can be mapped huge, also after the volume has aged.
 */
#ifndef UDAX_ALLOC_H
#define UDAX_ALLOC_H

#include <stdbool.h>
#include <stdint.h>

struct tx;
struct volume;

struct alloc_request {
	uint64_t goal;	/* take this block if it is free (the one behind its neighbour); 0: none */
	uint64_t lblk;	/* for a large file: the file block, for congruence modulo 2 MiB */
	bool large;	/* prefer whole 2 MiB pieces */
	uint32_t count; /* how many are wanted, at least 1 */
};

/**
 * alloc_blocks - take up to @req->count blocks in one run.
 *
 * Returns 0 with the run in *@ret_blk, *@ret_count (1 to req->count; the caller asks again for the
 * rest); -ENOSPC, -EIO, -ENOMEM, -EFBIG. The blocks' content is undefined. They are used when @tx
 * commits and free again when it aborts.
 */
int alloc_blocks(struct tx *tx, const struct alloc_request *req, uint64_t *ret_blk,
		 uint32_t *ret_count);

/**
 * alloc_free - give back blocks when @tx commits; other transactions get them after that is
 * durable. @quarantine: not before alloc_release(). 0, -EIO (not used, or outside: damage), -EFBIG.
 */
int alloc_free(struct tx *tx, uint64_t blk, uint64_t count, bool quarantine);

/** alloc_release - end the quarantine of a range (all of it quarantined). 0, -EIO, -EFBIG. */
int alloc_release(struct tx *tx, uint64_t blk, uint64_t count);

/**
 * alloc_space - blocks free and quarantined now, and free in whole 2 MiB pieces.
 */
struct space {
	uint64_t total, free, reserve, quarantined, free_huge;
};
void alloc_space(struct volume *vol, struct space *ret);

/**
 * alloc_release_all - end every quarantine, unless some client is late or an orphan (grant.h), or
 * becomes so meanwhile: what goes into quarantine then stays. One thread at a time. 0, -EIO.
 */
int alloc_release_all(struct volume *vol);

/** alloc_nfree - blocks that an ordinary allocation could have now. Cheap; a hint, not a promise. */
uint64_t alloc_nfree(struct volume *vol);

/** alloc_new - read the maps of all groups. 0, -ENOMEM. alloc_delete frees. */
int alloc_new(struct volume *vol);
void alloc_delete(struct volume *vol);

/**
 * alloc_grow - take in the blocks and groups of a volume of @nblocks, whose new maps are on the
 * medium. Called by volume_grow(). 0, -ENOMEM.
 */
int alloc_grow(struct volume *vol, uint64_t nblocks);

#endif
