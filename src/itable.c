/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * itable.c - free, used and pending inodes, and where each dinode stands. itable.h has the shape.
 *
 * The inode file is dense: every block before its end exists. So whether an inode has a place
 * follows from the file's size, and growing is: new zeroed blocks at the end, then the size, in
 * one transaction.
 */
#include "itable.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "alloc.h"
#include "crc.h"
#include "extent.h"
#include "icache.h"
#include "inode.h"
#include "journal.h"
#include "map.h"
#include "mem.h"
#include "region.h"
#include "volume.h"
#include "zeroing.h"

/* Blocks by which the inode file grows: 8 inodes each. */
#define GROW_BLOCKS 16u
#define GROW_BLOCKS_TINY 2u

/* Free inodes that inode_prepare() guarantees: one for each transaction that may be under way. */
#define ENOUGH_FREE 64u

/* Piece i of the table of chunks holds 2^i maps; none ever moves. */
#define MAX_PIECES 21u
static_assert(MAX_INO / MAP_BITS < (UINT64_C(1) << MAX_PIECES) - 1, "room for all chunks");

struct itable {
	struct inode *file; /* inode 0 */
	struct map *pieces[MAX_PIECES];
	atomic_uint nchunks;
	atomic_llong nfree;
	atomic_ullong ntotal;
	atomic_uint rotor; /* the chunk where the last free inode was found */
};

static struct itable *table(const struct volume *vol)
{
	return vol->itable;
}

static struct map *chunk_map(const struct volume *vol, uint64_t chunk)
{
	uint32_t piece = 31u - (uint32_t)__builtin_clz((uint32_t)chunk + 1);

	return &table(vol)->pieces[piece][chunk + 1 - (UINT64_C(1) << piece)];
}

/* The block of the inode file that holds @ino. */
static uint64_t ino_lblk(uint64_t ino)
{
	return ino / MAP_BITS * INODE_CHUNK_BLOCKS + 1 + ino % MAP_BITS / DINODES_PER_BLOCK;
}

/* How many of chunk @chunk's inodes have a place in a file of @file_blocks. */
static uint32_t chunk_inodes(uint64_t file_blocks, uint64_t chunk)
{
	uint64_t first = chunk * INODE_CHUNK_BLOCKS + 1;

	if (file_blocks <= first)
		return 0;
	if (file_blocks - first >= INODE_CHUNK_BLOCKS - 1)
		return MAP_BITS;
	return (uint32_t)(file_blocks - first) * DINODES_PER_BLOCK;
}

static uint64_t file_blocks(const struct tx *tx, struct inode *file)
{
	return from_le64(inode_peek(tx, file)->size) >> BLOCK_SHIFT;
}

static int file_block(struct volume *vol, struct tx *tx, uint64_t lblk, uint64_t *ret_pblk)
{
	struct extent ext;
	int err = extent_lookup(tx, table(vol)->file, FORK_DATA, lblk, &ext);

	if (err)
		return err;
	if (ext.state != EXTENT_WRITTEN)
		return volume_damaged(vol, table(vol)->file->off, "hole in the inode file");
	*ret_pblk = ext.pblk + (lblk - ext.lblk);
	return 0;
}

int itable_off(struct volume *vol, uint64_t ino, uint64_t *ret_off)
{
	struct inode *file = table(vol)->file;
	uint64_t lblk = ino_lblk(ino), pblk;
	int err = -ESTALE;

	ilock_nested(file, SYNC_SHARED, ITABLE_SUBCLASS, HERE);
	if (lblk < file_blocks(NULL, file))
		err = file_block(vol, NULL, lblk, &pblk);
	iunlock(file, SYNC_SHARED, HERE);
	if (!err)
		*ret_off = (pblk << BLOCK_SHIFT) + ino % DINODES_PER_BLOCK * DINODE_BYTES;
	return err;
}

/* ---- chunks in memory ------------------------------------------------------------------------------ */

/* Whatever a damaged map says: nobody is given the inode file or the root for a new inode. */
static void keep_special(struct volume *vol, struct map *map)
{
	for (uint32_t bit = INODE_FILE_INO; bit <= ROOT_INO && bit < map->nbits; bit++) {
		if (map_is_busy(map, bit))
			continue;
		volume_damaged(vol, map->blk << BLOCK_SHIFT, "map of used inodes");
		map_take(map, bit, 1);
	}
}

static int chunk_open(struct volume *vol, struct tx *tx, uint64_t chunk, uint64_t nblocks)
{
	uint32_t piece = 31u - (uint32_t)__builtin_clz((uint32_t)chunk + 1);
	struct map **maps = &table(vol)->pieces[piece];
	struct map *map;
	uint64_t pblk;
	int err = file_block(vol, tx, chunk * INODE_CHUNK_BLOCKS, &pblk);

	if (err)
		return err;
	if (!*maps)
		*maps = mem_alloc(vol->mem, sizeof(**maps) << piece);
	if (!*maps)
		return -ENOMEM;
	map = chunk_map(vol, chunk);
	map_init(vol, map, MAP_INODES, chunk, pblk, chunk_inodes(nblocks, chunk));
	map->total = &table(vol)->nfree;
	sync_lock(&map->lock, 0, HERE);
	err = map_load(vol, map);
	if (!err)
		atomic_fetch_add(&table(vol)->nfree, atomic_load(&map->nfree));
	if (!err && chunk == 0)
		keep_special(vol, map);
	sync_unlock(&map->lock, HERE);
	/* A damaged map takes its chunk out of use for new inodes; the others live. */
	if (err == -EIO) {
		map->nbits = 0;
		err = 0;
	}
	atomic_fetch_add(&table(vol)->ntotal, chunk_inodes(nblocks, chunk));
	atomic_store(&table(vol)->nchunks, (uint32_t)chunk + 1);
	return err;
}

int itable_new(struct volume *vol)
{
	struct inode *file;
	const struct dinode *di;
	uint64_t nblocks;
	int err = 0;

	vol->itable = mem_alloc(vol->mem, sizeof(*vol->itable));
	if (!vol->itable)
		return -ENOMEM;
	file = inode_handle_new(vol, INODE_FILE_INO);
	if (!file)
		return -ENOMEM;
	table(vol)->file = file;
	file->off = (uint64_t)SPECIAL_BLK << BLOCK_SHIFT;
	di = region_ptr(vol->region, file->off, DINODE_BYTES);
	if (dinode_check(di, INODE_FILE_INO) || !S_ISREG(from_le32(di->mode)) ||
	    from_le64(di->size) >> BLOCK_SHIFT > ino_lblk(MAX_INO))
		return volume_damaged(vol, file->off, "dinode of the inode file");
	file->generation = from_le32(di->generation);
	file->type = S_IFREG;

	ilock_nested(file, SYNC_SHARED, ITABLE_SUBCLASS, HERE);
	nblocks = file_blocks(NULL, file);
	for (uint64_t chunk = 0; !err && chunk * INODE_CHUNK_BLOCKS < nblocks; chunk++)
		err = chunk_open(vol, NULL, chunk, nblocks);
	iunlock(file, SYNC_SHARED, HERE);
	return err;
}

void itable_delete(struct volume *vol)
{
	if (!vol->itable)
		return;
	for (uint32_t chunk = 0; chunk < atomic_load(&table(vol)->nchunks); chunk++)
		map_destroy(vol, chunk_map(vol, chunk));
	for (unsigned piece = 0; piece < MAX_PIECES; piece++)
		mem_free(vol->mem, table(vol)->pieces[piece]);
	if (table(vol)->file)
		inode_handle_delete(table(vol)->file);
	mem_free(vol->mem, vol->itable);
	vol->itable = NULL;
}

/* ---- growing ------------------------------------------------------------------------------------------ */

/* An empty map in the fresh block @pblk. */
static void write_map(struct region *region, uint64_t pblk, uint64_t chunk)
{
	struct map_block mb;

	map_format(&mb, MAP_INODES, chunk);
	region_store(region, pblk << BLOCK_SHIFT, &mb, sizeof(mb), HERE);
}

/* Put up to @want blocks behind the end of the inode file. */
static int append_blocks(struct volume *vol, struct tx *tx, uint32_t want, uint32_t *ret_got)
{
	struct inode *file = table(vol)->file;
	uint64_t end = file_blocks(tx, file);
	struct alloc_request req = { .lblk = end, .count = want };
	struct extent ext = { .lblk = end, .state = EXTENT_WRITTEN };
	struct dinode *di;
	int err;

	if (end) {
		err = file_block(vol, tx, end - 1, &req.goal);
		if (err)
			return err;
		req.goal++;
	}
	err = alloc_blocks(tx, &req, &ext.pblk, ret_got);
	if (err)
		return err;
	ext.count = *ret_got;
	zero_fresh(vol, ext.pblk, ext.count, 0, 0);
	for (uint64_t i = 0; i < ext.count; i++)
		if ((end + i) % INODE_CHUNK_BLOCKS == 0)
			write_map(vol->region, ext.pblk + i, (end + i) / INODE_CHUNK_BLOCKS);
	err = extent_insert(tx, file, FORK_DATA, &ext);
	if (!err)
		err = inode_modify(tx, file, &di);
	if (err)
		return err;
	di->size = to_le64((end + ext.count) << BLOCK_SHIFT);
	di->nblocks = to_le64(from_le64(di->nblocks) + ext.count);
	return 0;
}

/* The file has grown from @old to @now blocks, durably: let its new inodes be taken. */
static int open_new_inodes(struct volume *vol, uint64_t old, uint64_t now)
{
	int err = 0;

	for (uint64_t chunk = old ? (old - 1) / INODE_CHUNK_BLOCKS : 0;
	     !err && chunk * INODE_CHUNK_BLOCKS < now; chunk++) {
		struct map *map;

		if (chunk >= atomic_load(&table(vol)->nchunks)) {
			err = chunk_open(vol, NULL, chunk, now);
			continue;
		}
		map = chunk_map(vol, chunk);
		sync_lock(&map->lock, 0, HERE);
		if (map->busy)
			map_extend(map, chunk_inodes(now, chunk));
		sync_unlock(&map->lock, HERE);
		atomic_fetch_add(&table(vol)->ntotal,
				 chunk_inodes(now, chunk) - chunk_inodes(old, chunk));
	}
	return err;
}

/* Behind a damaged map there is no inode that could be taken, however far the file grows. */
static int check_last_map(struct volume *vol)
{
	struct map *map = chunk_map(vol, atomic_load(&table(vol)->nchunks) - 1);

	if (map->busy)
		return 0;
	return volume_damaged(vol, map->blk << BLOCK_SHIFT, "map of used inodes");
}

static int itable_grow(struct volume *vol)
{
	bool tiny = atomic_load(&vol->nblocks) < 4096;
	struct inode *file = table(vol)->file;
	uint64_t old;
	uint32_t got;
	struct tx *tx;
	int err = tx_begin(vol, 0, &tx, HERE);

	if (err)
		return err;
	ilock_nested(file, SYNC_EXCL, ITABLE_SUBCLASS, HERE);
	old = file_blocks(tx, file);
	/* Somebody else may have grown it while we waited. */
	if (atomic_load(&table(vol)->nfree) >= ENOUGH_FREE / 2) {
		tx_abort(tx);
		iunlock(file, SYNC_EXCL, HERE);
		return 0;
	}
	err = check_last_map(vol);
	if (!err)
		err = append_blocks(vol, tx, tiny ? GROW_BLOCKS_TINY : GROW_BLOCKS, &got);
	err = tx_end(tx, err);
	if (!err)
		err = open_new_inodes(vol, old, old + got);
	iunlock(file, SYNC_EXCL, HERE);
	return err;
}

int inode_prepare(struct volume *vol)
{
	long long enough = atomic_load(&vol->nblocks) < 4096 ? 2 : ENOUGH_FREE / 2;
	int err;

	if (atomic_load_explicit(&table(vol)->nfree, memory_order_relaxed) >= enough)
		return 0;
	err = itable_grow(vol);
	/* No room for more, or a damaged map at the end, is no error while there are some left. */
	if ((err == -ENOSPC || err == -EIO) && atomic_load(&table(vol)->nfree) > 0)
		return 0;
	return err;
}

/* ---- taking, putting ------------------------------------------------------------------------------------ */

static uint32_t take_in_chunk(struct volume *vol, uint64_t chunk, uint64_t *ret_ino)
{
	struct map *map = chunk_map(vol, chunk);
	uint32_t bit = 0, n = 0;

	if (!atomic_load_explicit(&map->nfree, memory_order_relaxed))
		return 0;
	sync_lock(&map->lock, 0, HERE);
	if (map->busy)
		n = map_find_run(map, 0, map->nbits, 1, &bit);
	if (n)
		map_take(map, bit, 1);
	sync_unlock(&map->lock, HERE);
	*ret_ino = chunk * MAP_BITS + bit;
	return n;
}

/* In memory: whoever takes the number either logs the bit or gives it back. */
static int take_number(struct volume *vol, uint64_t *ret_ino)
{
	uint32_t nchunks = atomic_load(&table(vol)->nchunks);
	uint32_t start = atomic_load_explicit(&table(vol)->rotor, memory_order_relaxed);

	for (uint32_t i = 0; i < nchunks; i++) {
		uint32_t chunk = (start + i) % nchunks;

		if (!take_in_chunk(vol, chunk, ret_ino))
			continue;
		atomic_store_explicit(&table(vol)->rotor, chunk, memory_order_relaxed);
		return 0;
	}
	return -ENOSPC;
}

/* The map says that @ino is free, and its dinode is that of a file. */
static bool is_in_use(struct volume *vol, uint64_t off, uint64_t ino)
{
	if (dinode_check(region_ptr(vol->region, off, DINODE_BYTES), ino))
		return false;
	volume_damaged(vol, off, "an inode in use that is marked free");
	return true;
}

/* A dinode that was never used, or is damaged, has no generation to go on from. */
static uint32_t next_generation(struct volume *vol, uint64_t off, uint64_t ino)
{
	const struct dinode *di = region_ptr(vol->region, off, DINODE_BYTES);
	uint32_t generation;

	if (dinode_check(di, ino) == -ESTALE)
		return from_le32(di->generation);
	sync_random(vol->sync, &generation, sizeof(generation));
	return generation;
}

int itable_take(struct tx *tx, mode_t mode, struct inode **ret_inode, uint32_t *ret_generation)
{
	struct volume *vol = tx_volume(tx);
	uint64_t ino, off;
	int err;

	/* One that is in use stays taken in memory: nobody is to meet it again before fsck. */
	do {
		err = take_number(vol, &ino);
		if (!err)
			err = itable_off(vol, ino, &off);
	} while (!err && is_in_use(vol, off, ino));
	if (!err)
		err = tx_bits(tx, chunk_map(vol, ino / MAP_BITS), PLANE_USED, true,
			      (uint32_t)(ino % MAP_BITS), 1, false);
	if (err)
		return err;
	*ret_generation = next_generation(vol, off, ino);
	return icache_insert(vol, ino, *ret_generation, mode, off, ret_inode);
}

int itable_set_pending(struct tx *tx, uint64_t ino, bool pending)
{
	struct map *map = chunk_map(tx_volume(tx), ino / MAP_BITS);

	/* To change a damaged map would be to give it a good checksum. */
	if (!map->busy)
		return volume_damaged(tx_volume(tx), map->blk << BLOCK_SHIFT, "map of used inodes");
	return tx_bits(tx, map, PLANE_PENDING, pending, (uint32_t)(ino % MAP_BITS), 1, true);
}

int itable_put(struct tx *tx, uint64_t ino)
{
	struct map *map = chunk_map(tx_volume(tx), ino / MAP_BITS);
	int err = itable_set_pending(tx, ino, false);

	if (!err)
		err = tx_bits(tx, map, PLANE_USED, false, (uint32_t)(ino % MAP_BITS), 1, false);
	return err;
}

/* ---- looking ----------------------------------------------------------------------------------------------- */

int itable_next_pending(struct volume *vol, uint64_t ino, uint64_t *ret_ino)
{
	for (; ino / MAP_BITS < atomic_load(&table(vol)->nchunks);
	     ino = (ino / MAP_BITS + 1) * MAP_BITS) {
		struct map *map = chunk_map(vol, ino / MAP_BITS);
		uint32_t bit = (uint32_t)(ino % MAP_BITS);

		sync_lock(&map->lock, 0, HERE);
		while (bit < map->nbits && !map_test(vol, map, PLANE_PENDING, bit))
			bit++;
		sync_unlock(&map->lock, HERE);
		if (bit < map->nbits) {
			*ret_ino = ino / MAP_BITS * MAP_BITS + bit;
			return 0;
		}
	}
	return -ENOENT;
}

void itable_count(struct volume *vol, uint64_t *ret_total, uint64_t *ret_free)
{
	long long nfree = atomic_load(&table(vol)->nfree);

	*ret_total = atomic_load(&table(vol)->ntotal);
	*ret_free = nfree > 0 ? (uint64_t)nfree : 0;
}

/* ---- formatting ---------------------------------------------------------------------------------------------- */

static void dinode_seal(struct dinode *di)
{
	di->csum = to_le32(crc32c_skip(di, sizeof(*di), offsetof(struct dinode, csum)));
}

static void dinode_base(struct dinode *di, uint64_t ino, uint32_t mode, uint32_t generation,
			uint64_t now_ns)
{
	memset(di, 0, sizeof(*di));
	di->magic = to_le32(DINODE_MAGIC);
	di->ino = to_le64(ino);
	di->generation = to_le32(generation);
	di->mode = to_le32(mode);
	di->atime = di->mtime = di->ctime = di->btime = to_le64(now_ns / 1000000000u);
	di->atime_ns = di->mtime_ns = di->ctime_ns = di->btime_ns =
		to_le32((uint32_t)(now_ns % 1000000000u));
}

void itable_format(struct region *region, uint64_t blk, uint32_t nblocks, const struct super *super,
		   uint32_t generation, uint32_t uid, uint32_t gid)
{
	uint64_t now_ns = from_le64(super->created_ns);
	struct map_block mb;
	struct dinode di;

	assert(nblocks >= 2);
	region_zero(region, blk << BLOCK_SHIFT, (uint64_t)nblocks << BLOCK_SHIFT, HERE);
	map_format(&mb, MAP_INODES, 0);
	mb.bits[PLANE_USED][0] = to_le64(1u << INODE_FILE_INO | 1u << ROOT_INO);
	map_seal(&mb);
	region_store(region, blk << BLOCK_SHIFT, &mb, sizeof(mb), HERE);

	dinode_base(&di, ROOT_INO, S_IFDIR | 0755, generation, now_ns);
	di.nlink = to_le32(2);
	di.parent = to_le64(ROOT_INO);
	di.uid = to_le32(uid);
	di.gid = to_le32(gid);
	dinode_seal(&di);
	region_store(region, ((blk + 1) << BLOCK_SHIFT) + ROOT_INO * DINODE_BYTES, &di, sizeof(di),
		     HERE);

	dinode_base(&di, INODE_FILE_INO, S_IFREG | 0600, generation, now_ns);
	di.nlink = to_le32(1);
	di.size = to_le64((uint64_t)nblocks << BLOCK_SHIFT);
	di.nblocks = to_le64(nblocks);
	di.data.nrecs = to_le16(1);
	di.data_recs[0].val = to_le64(EXTENT_PACK(blk, nblocks, 0));
	dinode_seal(&di);
	region_zero(region, (uint64_t)SPECIAL_BLK << BLOCK_SHIFT, BLOCK_BYTES, HERE);
	region_store(region, (uint64_t)SPECIAL_BLK << BLOCK_SHIFT, &di, sizeof(di), HERE);
}
