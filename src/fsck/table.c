/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * table.c - the inode file: where each dinode stands, and the maps of used and pending inodes.
 *
 * Everything hangs on this file, so it is not simply cut where it is damaged. Dinodes and inode
 * maps say themselves which place of it they stand in; when its own dinode or tree cannot be
 * trusted, the whole volume is searched for them. Blocks without a used dinode in them cannot be
 * recognised and are made anew.
 *
 * The search believes what it finds. A file that contains an image of a volume has blocks that look
 * like ours; of two candidates for one place the one that the space map calls used is taken, and of
 * two such the first.
 */
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "impl.h"

static uint64_t ino_lblk(uint64_t ino)
{
	return ino / MAP_BITS * INODE_CHUNK_BLOCKS + 1 + ino % MAP_BITS / DINODES_PER_BLOCK;
}

uint64_t fsck_ino_max(const struct fsck *f)
{
	uint64_t rest = f->table_blocks % INODE_CHUNK_BLOCKS;

	return f->table_blocks / INODE_CHUNK_BLOCKS * MAP_BITS +
	       (rest ? (rest - 1) * DINODES_PER_BLOCK : 0);
}

uint64_t fsck_ino_off(const struct fsck *f, uint64_t ino)
{
	uint64_t lblk = ino_lblk(ino);

	if (ino == INODE_FILE_INO)
		return (uint64_t)SPECIAL_BLK << BLOCK_SHIFT;
	if (lblk >= f->table_blocks || !f->table[lblk])
		return 0;
	return (f->table[lblk] << BLOCK_SHIFT) + ino % DINODES_PER_BLOCK * DINODE_BYTES;
}

struct iinfo *fsck_iinfo(const struct fsck *f, uint64_t ino)
{
	if (ino >= fsck_ino_max(f))
		return NULL;
	return &f->chunks[ino / MAP_BITS]->info[ino % MAP_BITS];
}

bool fsck_in_use(const struct fsck *f, uint64_t ino)
{
	const struct iinfo *info = fsck_iinfo(f, ino);

	return info && info->slot == SLOT_USED && !(info->fix & FIX_DROP);
}

/* ---- reading it ------------------------------------------------------------------------------ */

static int table_set(struct fsck *f, uint64_t lblk, uint64_t pblk)
{
	if (lblk >= f->table_blocks) {
		uint64_t *table = realloc(f->table, (lblk + 1) * sizeof(*table));

		if (!table)
			return -ENOMEM;
		memset(table + f->table_blocks, 0, (lblk + 1 - f->table_blocks) * sizeof(*table));
		f->table = table;
		f->table_blocks = lblk + 1;
	}
	f->table[lblk] = pblk;
	return 0;
}

/* What a block of the inode file may be: a map, or eight dinodes, each good or zero. */
static bool map_is(const struct map_block *m, uint64_t chunk)
{
	return from_le32(m->magic) == MAP_MAGIC && from_le32(m->kind) == MAP_INODES &&
	       from_le64(m->index) == chunk &&
	       from_le32(m->csum) == crc32c_skip(m, sizeof(*m), offsetof(struct map_block, csum));
}

static int table_extent(struct extents *e, const struct ext *ext, bool suspect)
{
	struct fsck *f = e->walk.f;

	if (ext->lblk != f->table_blocks || ext->unwritten || suspect)
		f->table_damaged = true;
	/* A file without holes cannot be longer than the volume. */
	if (ext->lblk + ext->count > f->nblocks)
		return 0;
	for (uint64_t i = ext->count; i-- > 0;) {
		int err = table_set(f, ext->lblk + i, ext->pblk + i);

		if (err)
			return err;
	}
	return 0;
}

/* ---- searching for it ------------------------------------------------------------------------ */

/* Which place of the inode file block @blk says it stands in; FSCK_NOWHERE: it says nothing. */
static uint64_t place_of(const struct fsck *f, uint64_t blk)
{
	const struct map_block *m = fsck_block(f, blk);
	const struct dinode *d = fsck_block(f, blk);
	uint64_t lblk = FSCK_NOWHERE;

	if (from_le32(m->magic) == MAP_MAGIC && from_le64(m->index) < MAX_INO / MAP_BITS)
		return map_is(m, from_le64(m->index)) ? from_le64(m->index) * INODE_CHUNK_BLOCKS
						      : FSCK_NOWHERE;
	for (unsigned i = 0; i < DINODES_PER_BLOCK; i++) {
		uint64_t ino = from_le64(d[i].ino);

		if (from_le32(d[i].magic) != DINODE_MAGIC || !fsck_dinode_good(&d[i], ino) ||
		    ino >= MAX_INO || ino % DINODES_PER_BLOCK != i || ino == INODE_FILE_INO)
			continue;
		if (lblk != FSCK_NOWHERE && lblk != ino_lblk(ino))
			return FSCK_NOWHERE;
		lblk = ino_lblk(ino);
	}
	return lblk;
}

static int search(struct fsck *f)
{
	int err = 0;

	for (uint64_t blk = f->first_data; !err && blk < f->nblocks; blk++) {
		uint64_t lblk;

		if (blk % 4096 == 0)
			fsck_progress(f, "searching", blk, f->nblocks);
		if (blk % MAP_BITS == 0)
			continue;
		lblk = place_of(f, blk);
		if (lblk >= f->nblocks || !fsck_readable(f, blk))
			continue;
		if (lblk >= f->table_blocks || !f->table[lblk] ||
		    (!fsck_marked_used(f, f->table[lblk], 1) && fsck_marked_used(f, blk, 1)))
			err = table_set(f, lblk, blk);
	}
	return err;
}

/* Whether the map of a chunk calls one of the eight inodes in this block used. */
static bool block_marked(const struct fsck *f, uint64_t lblk)
{
	uint64_t map_blk = f->table[lblk / INODE_CHUNK_BLOCKS * INODE_CHUNK_BLOCKS];
	const struct map_block *m = map_blk ? fsck_block(f, map_blk) : NULL;
	const uint8_t *bits;

	if (!m || !map_is(m, lblk / INODE_CHUNK_BLOCKS))
		return false;
	bits = (const uint8_t *)m->bits[PLANE_USED];
	/* Inode 0 is used and stands elsewhere. */
	return bits[lblk % INODE_CHUNK_BLOCKS - 1] & ~(lblk == 1 ? 1u : 0u);
}

/* Whether what stands in place @lblk can be it. */
bool fsck_place_credible(const struct fsck *f, uint64_t lblk)
{
	uint64_t blk = f->table[lblk];

	if (!blk || place_of(f, blk) == lblk)
		return blk;
	return lblk % INODE_CHUNK_BLOCKS && fsck_zero(fsck_block(f, blk), BLOCK_BYTES) &&
	       !block_marked(f, lblk);
}

/*
 * Search for what has no credible place. Where nothing better is found, the old place is kept,
 * unless the tree that named it is damaged itself.
 */
static int search_missing(struct fsck *f)
{
	uint64_t n = f->table_blocks;
	uint64_t *old = calloc(n ? n : 1, sizeof(*old));
	bool *missing = calloc(n ? n : 1, sizeof(*missing));
	int err = old && missing ? 0 : -ENOMEM;

	for (uint64_t lblk = 0; !err && lblk < n; lblk++) {
		old[lblk] = f->table[lblk];
		missing[lblk] = !fsck_place_credible(f, lblk) ||
				(f->table_damaged && !fsck_marked_used(f, old[lblk], 1));
	}
	for (uint64_t lblk = 0; !err && lblk < n; lblk++)
		if (missing[lblk])
			f->table[lblk] = 0;
	if (!err)
		err = search(f);
	for (uint64_t lblk = 0; !err && lblk < n; lblk++) {
		if (!f->table[lblk] && !f->table_damaged)
			f->table[lblk] = old[lblk];
		else if (f->table[lblk] != old[lblk])
			f->table_damaged = true;
	}
	if (!err && f->table_blocks > n)
		f->table_damaged = true;
	free(old);
	free(missing);
	return err;
}

static bool all_credible(const struct fsck *f)
{
	for (uint64_t lblk = 0; lblk < f->table_blocks; lblk++)
		if (!fsck_place_credible(f, lblk))
			return false;
	return true;
}

/* ---- loading --------------------------------------------------------------------------------- */

static bool fork_empty(const struct fork_header *fork)
{
	return !fork->level && !fork->nrecs;
}

/* Whether the inode file's dinode says nothing that it should not, its data fork aside. */
static bool special_sane(struct fsck *f, const struct dinode *d)
{
	struct dinode copy = *d;

	return fsck_dinode_good(d, INODE_FILE_INO) && S_ISREG(from_le32(d->mode)) &&
	       !d->pending.kind && !d->xattr_bytes && d->nlink == to_le32(1) &&
	       fork_empty(&d->index) && fork_empty(&d->attr) &&
	       !fsck_audit(f, INODE_FILE_INO, &copy, false, true);
}

static void check_padding(struct fsck *f)
{
	struct dinode block[DINODES_PER_BLOCK];

	memcpy(block, fsck_block(f, SPECIAL_BLK), sizeof(block));
	if (fsck_zero(&block[1], sizeof(block) - sizeof(block[0])))
		return;
	if (!fsck_found(f, FSCK_PADDING, INODE_FILE_INO, SPECIAL_BLK,
			"bytes behind the dinode of the inode file are not zero"))
		return;
	memset(&block[1], 0, sizeof(block) - sizeof(block[0]));
	fsck_store_one(f, (uint64_t)SPECIAL_BLK << BLOCK_SHIFT, block, sizeof(block));
}

static int chunks_new(struct fsck *f)
{
	f->nchunks = (uint32_t)((f->table_blocks + INODE_CHUNK_BLOCKS - 1) / INODE_CHUNK_BLOCKS);
	f->chunks = calloc(f->nchunks ? f->nchunks : 1, sizeof(*f->chunks));
	if (!f->chunks)
		return -ENOMEM;
	for (uint32_t c = 0; c < f->nchunks; c++) {
		struct ichunk *chunk = calloc(1, sizeof(*chunk));
		uint64_t blk = f->table[(uint64_t)c * INODE_CHUNK_BLOCKS];

		if (!chunk)
			return -ENOMEM;
		f->chunks[c] = chunk;
		chunk->map_blk = blk;
		chunk->map_good = blk && fsck_readable(f, blk) && map_is(fsck_block(f, blk), c);
	}
	return 0;
}

static int claim_node(struct walk *w, uint64_t blk)
{
	fsck_claim(w->f, blk, 1);
	return 0;
}

static int claim_all(struct fsck *f, const struct dinode *d)
{
	struct walk w = {
		.f = f, .generation = from_le32(d->generation), .quiet = true, .on_node = claim_node
	};

	for (uint64_t lblk = 0; lblk < f->table_blocks; lblk++)
		if (f->table[lblk])
			fsck_claim(f, f->table[lblk], 1);
	/* A damaged tree is written anew; its nodes are nobody's from now on. */
	return f->table_damaged ? 0 : fsck_walk(&w, d);
}

int fsck_table_load(struct fsck *f)
{
	struct dinode d = *(const struct dinode *)fsck_block(f, SPECIAL_BLK);
	struct extents e = { .walk = { .f = f, .generation = from_le32(d.generation) },
			     .fn = table_extent };
	bool sane = special_sane(f, &d);
	int err;

	if (!fsck_readable(f, SPECIAL_BLK))
		return fsck_fatal(f, -EIO, "the block of the inode file's dinode cannot be read");
	check_padding(f);
	e.walk.suspect = !sane;
	err = fsck_extents(&e, &d);
	if (err)
		return err;
	f->table_damaged = f->table_damaged || !sane || e.walk.damaged || !f->table_blocks ||
			   from_le64(d.size) != f->table_blocks << BLOCK_SHIFT ||
			   from_le64(d.nblocks) != e.blocks + e.nodes;
	if (f->table_damaged || !all_credible(f))
		err = search_missing(f);
	if (!err && f->table_damaged)
		fsck_found(f, FSCK_INODE_FILE, INODE_FILE_INO, SPECIAL_BLK,
			   "the inode file's dinode or extent tree is damaged; the volume was "
			   "searched for inodes");
	if (!err && f->table_blocks < 2)
		err = fsck_fatal(f, -EUCLEAN, "not a single inode can be found");
	if (!err)
		err = claim_all(f, &d);
	return err ? err : chunks_new(f);
}

/* ---- mending it ------------------------------------------------------------------------------ */

static int fill_hole(struct fsck *f, uint64_t lblk)
{
	struct map_block m = { 0 };
	uint64_t got;
	int err = fsck_alloc(f, 1, &f->table[lblk], &got);

	if (err) {
		f->table[lblk] = 0;
		return err;
	}
	if (lblk % INODE_CHUNK_BLOCKS == 0) {
		m.magic = to_le32(MAP_MAGIC);
		m.kind = to_le32(MAP_INODES);
		m.index = to_le64(lblk / INODE_CHUNK_BLOCKS);
		map_seal_copy(&m);
	}
	fsck_store_fresh(f, f->table[lblk], &m);
	return 0;
}

static int table_recs(const struct fsck *f, struct vec *ret)
{
	uint64_t lblk = 0;

	while (lblk < f->table_blocks) {
		uint64_t n = 1, pblk = f->table[lblk];
		struct tree_rec rec;
		int err;

		while (lblk + n < f->table_blocks && f->table[lblk + n] == pblk + n)
			n++;
		rec = (struct tree_rec){ to_le64(lblk), to_le64(EXTENT_PACK(pblk, n, 0)) };
		err = vec_push(ret, &rec, sizeof(rec));
		if (err)
			return err;
		lblk += n;
	}
	return 0;
}

static void special_default(struct dinode *d)
{
	uint32_t generation = from_le32(d->generation);

	memset(d, 0, sizeof(*d));
	d->magic = to_le32(DINODE_MAGIC);
	d->mode = to_le32(S_IFREG | 0600);
	d->generation = to_le32(generation);
	d->nlink = to_le32(1);
}

/* Write the inode file's tree and dinode as f->table says. Runs when all owners are known. */
int fsck_table_mend(struct fsck *f)
{
	struct dinode d = *(const struct dinode *)fsck_block(f, SPECIAL_BLK);
	struct vec recs = { 0 };
	uint64_t nodes = 0;
	int err = 0;

	for (uint64_t lblk = 0; !err && lblk < f->table_blocks; lblk++)
		if (!f->table[lblk])
			err = fill_hole(f, lblk);
	if (!special_sane(f, &d))
		special_default(&d);
	if (!err)
		err = table_recs(f, &recs);
	if (!err)
		err = fsck_tree_build(f, &d, FORK_DATA, recs.items, recs.n, NULL, &nodes);
	vec_free(&recs);
	if (err == -ENOSPC) {
		fsck_failed(f, INODE_FILE_INO,
			    "there is no free block to mend the inode file with");
		return 0;
	}
	if (err)
		return err;
	d.size = to_le64(f->table_blocks << BLOCK_SHIFT);
	d.nblocks = to_le64(f->table_blocks + nodes);
	dinode_seal_copy(&d);
	fsck_store_one(f, (uint64_t)SPECIAL_BLK << BLOCK_SHIFT, &d, sizeof(d));
	return 0;
}
