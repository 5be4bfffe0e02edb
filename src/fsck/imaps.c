/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * imaps.c - the maps of used and pending inodes, against the dinodes.
 *
 * Dinodes are the truth, and have been put right when this is looked at: link counts above all,
 * because recovery frees what is pending for the lack of one.
 */
#include <stddef.h>

#include "impl.h"

static const struct map_block *imap(const struct fsck *f, uint64_t ino)
{
	const struct ichunk *chunk = f->chunks[ino / MAP_BITS];

	return chunk->map_good ? fsck_block(f, chunk->map_blk) : NULL;
}

bool fsck_map_bit(const struct fsck *f, uint64_t ino, unsigned plane)
{
	const struct map_block *m = imap(f, ino);
	uint32_t bit = (uint32_t)(ino % MAP_BITS);

	return m && from_le64(m->bits[plane][bit / 64]) >> bit % 64 & 1;
}

static void set_bit(struct map_block *m, unsigned plane, uint64_t ino, bool on)
{
	uint32_t bit = (uint32_t)(ino % MAP_BITS);
	uint64_t mask = UINT64_C(1) << bit % 64, word = from_le64(m->bits[plane][bit / 64]);

	m->bits[plane][bit / 64] = to_le64(on ? word | mask : word & ~mask);
}

uint64_t fsck_map_copy(const struct fsck *f, uint64_t ino, bool used, bool pending,
		       struct map_block *ret)
{
	const struct map_block *m = imap(f, ino);

	if (!m)
		return 0;
	*ret = *m;
	set_bit(ret, PLANE_USED, ino, used);
	set_bit(ret, PLANE_PENDING, ino, pending);
	map_seal_copy(ret);
	return f->chunks[ino / MAP_BITS]->map_blk;
}

/* Whether recovery has to look at the inode. */
static bool is_pending(const struct fsck *f, uint64_t ino)
{
	uint64_t off = fsck_ino_off(f, ino);
	const struct dinode *d;

	if (!off || !fsck_in_use(f, ino) || ino == INODE_FILE_INO)
		return false;
	d = region_ptr(f->region, off, sizeof(*d));
	return !d->nlink || d->pending.kind;
}

static bool should_be_used(const struct fsck *f, uint64_t ino)
{
	return ino == INODE_FILE_INO || fsck_in_use(f, ino);
}

static void report_pending(struct fsck *f, uint64_t ino)
{
	const struct dinode *d = region_ptr(f->region, fsck_ino_off(f, ino), sizeof(*d));
	bool allowed = f->opt->pending == FSCK_PENDING_NOTE ||
		       (f->opt->pending == FSCK_PENDING_ORPHANS && !d->pending.kind);
	const char *what = d->nlink ? "has an operation to be finished"
				    : "has no name and is to be freed";

	f->report->pending++;
	if (f->opt->pending == FSCK_PENDING_ORPHANS && allowed)
		return;
	fsck_found(f, allowed ? FSCK_PENDING : FSCK_PENDING_FIELD, ino, FSCK_NOWHERE,
		   "inode %llu %s", (unsigned long long)ino, what);
}

/* Compare the bits of one inode. Returns whether they are wrong. */
static bool check_bits(struct fsck *f, uint64_t ino)
{
	bool used = fsck_map_bit(f, ino, PLANE_USED), pending = fsck_map_bit(f, ino, PLANE_PENDING);
	bool want_used = should_be_used(f, ino), want_pending = is_pending(f, ino);

	if (want_pending)
		report_pending(f, ino);
	if (used != want_used)
		fsck_found(f, FSCK_INODE_MAP_BIT, ino, f->chunks[ino / MAP_BITS]->map_blk,
			   "inode %llu is %s, but marked %s", (unsigned long long)ino,
			   want_used ? "in use" : "free", used ? "used" : "free");
	if (pending != want_pending)
		fsck_found(f, FSCK_PENDING_BIT, ino, f->chunks[ino / MAP_BITS]->map_blk,
			   "inode %llu is %spending, but %s", (unsigned long long)ino,
			   want_pending ? "" : "not ", pending ? "marked so" : "not marked so");
	return used != want_used || pending != want_pending;
}

static uint64_t chunk_end(const struct fsck *f, uint32_t c)
{
	uint64_t end = fsck_ino_max(f), last = ((uint64_t)c + 1) * MAP_BITS;

	return last < end ? last : end;
}

static bool check_tail(struct fsck *f, uint32_t c)
{
	uint64_t end = ((uint64_t)c + 1) * MAP_BITS;

	for (uint64_t ino = chunk_end(f, c); ino < end; ino++) {
		if (!fsck_map_bit(f, ino, PLANE_USED) && !fsck_map_bit(f, ino, PLANE_PENDING))
			continue;
		fsck_found(f, FSCK_MAP_TAIL, ino, f->chunks[c]->map_blk,
			   "inode %llu has no place yet, but is marked", (unsigned long long)ino);
		return true;
	}
	return false;
}

static void make_imap(const struct fsck *f, uint32_t c, struct map_block *ret)
{
	uint64_t first = (uint64_t)c * MAP_BITS;

	*ret = (struct map_block){ .magic = to_le32(MAP_MAGIC),
				   .kind = to_le32(MAP_INODES),
				   .index = to_le64(c) };
	for (uint64_t ino = first; ino < chunk_end(f, c); ino++) {
		set_bit(ret, PLANE_USED, ino, should_be_used(f, ino));
		set_bit(ret, PLANE_PENDING, ino, is_pending(f, ino));
	}
	map_seal_copy(ret);
}

static void check_chunk(struct fsck *f, uint32_t c)
{
	struct ichunk *chunk = f->chunks[c];
	struct map_block m;
	bool wrong = false;

	if (!chunk->map_good) {
		fsck_found(f, FSCK_INODE_MAP, FSCK_NOWHERE, chunk->map_blk,
			   "the inode map of chunk %u is damaged", c);
		wrong = true;
	} else {
		for (uint64_t ino = (uint64_t)c * MAP_BITS; ino < chunk_end(f, c); ino++)
			wrong |= check_bits(f, ino);
		wrong |= check_tail(f, c);
	}
	if (!wrong || !f->repairing || !chunk->map_blk)
		return;
	make_imap(f, c, &m);
	fsck_store_one(f, chunk->map_blk << BLOCK_SHIFT, &m, sizeof(m));
}

void fsck_table_maps(struct fsck *f)
{
	f->report->pending = 0;
	for (uint32_t c = 0; c < f->nchunks; c++) {
		fsck_progress(f, "inode maps", c, f->nchunks);
		check_chunk(f, c);
	}
}
