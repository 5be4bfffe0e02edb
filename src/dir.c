/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * dir.c - the contents of a directory: blocks of names, an index, and a memory of where room is.
 *
 * A name is entered once and never moves, so its position is good as a readdir cookie for as long
 * as it lives. What moves is free space: an entry that is taken out becomes a free entry, and a
 * free entry is swallowed by a free one before it. The index (a tree of hash and position) gives
 * the position of a name; several names may share a hash, so the name itself decides.
 *
 * A block whose last name goes away is given back and leaves a hole in the directory, which a
 * later insert fills again. Two blocks are kept although empty, because giving them back would
 * only be followed by taking them again: the first one, and the one that inserts go to now.
 *
 * Where there is room is remembered in memory (struct dir_hints), one byte a block. These are
 * hints and nothing more: an aborted transaction leaves them wrong, so each is checked against
 * the block before it is acted on, and corrected.
 *
 * Everything that is read may be hostile. A block is checked wholly when it is met first since
 * mount; after that each use still keeps to the bounds of the block by itself, because file data
 * may alias it on a damaged volume and a failing medium may turn it into zeroes at any moment.
 *
 * Locks: the ilock of the directory, shared to look, exclusive to change. It protects the hints too.
 */
#include "dir.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <xxhash.h>

#include "alloc.h"
#include "btree.h"
#include "crc.h"
#include "extent.h"
#include "get_blocks.h"
#include "inode.h"
#include "journal.h"
#include "mem.h"
#include "region.h"
#include "verified.h"
#include "volume.h"

#define POS_UNIT 8u
#define POS_PER_BLOCK (BLOCK_BYTES / POS_UNIT)
#define ENTRY_MIN_BYTES ((uint32_t)sizeof(struct dirent_disk))
#define EMPTY_BLOCK_ROOM (BLOCK_BYTES - DIRBLOCK_HEADER_BYTES)

uint32_t dir_hash(uint64_t seed, const char *name, size_t len)
{
	return (uint32_t)(XXH3_64bits_withSeed(name, len, seed) >> 32);
}

static uint64_t index_key(uint32_t hash, uint64_t pos)
{
	return (uint64_t)hash << 32 | pos;
}

static uint64_t position_of(uint64_t lblk, uint32_t off)
{
	return lblk * POS_PER_BLOCK + off / POS_UNIT;
}

static uint32_t offset_of(uint64_t pos)
{
	return (uint32_t)(pos % POS_PER_BLOCK) * POS_UNIT;
}

/* How many blocks the directory reaches over, holes included. */
static uint64_t dir_blocks(const struct tx *tx, const struct inode *dir)
{
	uint64_t n = from_le64(inode_peek(tx, dir)->size) >> BLOCK_SHIFT;

	return n < MAX_DIR_BLOCKS ? n : MAX_DIR_BLOCKS;
}

/* ---- one block ------------------------------------------------------------------------------ */

/* The entry at @off, or NULL when what stands there cannot be one. */
static const struct dirent_disk *entry_at(const struct dirblock *db, uint32_t off,
					  uint32_t *ret_bytes)
{
	const struct dirent_disk *de;
	uint32_t bytes;

	if (off < DIRBLOCK_HEADER_BYTES || off > BLOCK_BYTES - ENTRY_MIN_BYTES || off % POS_UNIT)
		return NULL;
	de = (const void *)((const unsigned char *)db + off);
	bytes = from_le16(de->bytes);
	if (bytes < ENTRY_MIN_BYTES || bytes % POS_UNIT || bytes > BLOCK_BYTES - off)
		return NULL;
	if (de->ino && (!de->name_bytes || ENTRY_MIN_BYTES + de->name_bytes > bytes))
		return NULL;
	*ret_bytes = bytes;
	return de;
}

static struct dirent_disk *entry_in(struct dirblock *db, uint32_t off)
{
	return (void *)((unsigned char *)db + off);
}

static bool name_is_valid(const char *name, size_t len)
{
	if (len <= 2 && name[0] == '.' && (len == 1 || name[1] == '.'))
		return false;
	return !memchr(name, '/', len) && !memchr(name, '\0', len);
}

static bool header_matches(const struct dirblock *db, uint64_t ino, uint32_t generation,
			   uint64_t lblk)
{
	return from_le32(db->magic) == DIRBLOCK_MAGIC && from_le64(db->owner) == ino &&
	       from_le32(db->generation) == generation && from_le32(db->lblk) == lblk;
}

int dir_block_check(const struct dirblock *db, uint64_t ino, uint32_t generation, uint64_t lblk)
{
	uint32_t nentries = 0, max_free = 0, bytes;
	bool after_free = false;

	if (!header_matches(db, ino, generation, lblk) ||
	    from_le32(db->csum) != crc32c_skip(db, sizeof(*db), offsetof(struct dirblock, csum)))
		return -EUCLEAN;
	for (uint32_t off = DIRBLOCK_HEADER_BYTES; off < BLOCK_BYTES; off += bytes) {
		const struct dirent_disk *de = entry_at(db, off, &bytes);

		if (!de)
			return -EUCLEAN;
		if (de->ino) {
			if (!name_is_valid(de->name, de->name_bytes))
				return -EUCLEAN;
			nentries++;
		} else {
			if (after_free)
				return -EUCLEAN;
			max_free = bytes > max_free ? bytes : max_free;
		}
		after_free = !de->ino;
	}
	if (nentries != from_le16(db->nentries) || max_free != from_le16(db->max_free))
		return -EUCLEAN;
	return 0;
}

/* A directory block as one transaction sees it. */
struct view {
	uint64_t lblk, blk;
	const struct dirblock *db;
};

static int view_damaged(const struct inode *dir, const struct view *v, const char *what)
{
	return volume_damaged(dir->vol, v->blk << BLOCK_SHIFT, what);
}

/* Look at block @blk of the medium, which the extent map gives for block @lblk of the directory. */
static int view_load(const struct tx *tx, struct inode *dir, uint64_t lblk, uint64_t blk,
		     struct view *ret_view)
{
	struct volume *vol = dir->vol;
	uint64_t off = blk << BLOCK_SHIFT;
	struct view v = { .lblk = lblk, .blk = blk };

	if (!volume_owns_data(vol, blk, 1))
		return volume_damaged(vol, dir->off, "pointer to a directory block");
	v.db = tx_peek(tx, vol, off, BLOCK_BYTES);
	/* What the transaction made or changed was good, and has no checksum before it commits. */
	if (v.db == region_ptr(vol->region, off, BLOCK_BYTES) && !verified_test(vol, blk)) {
		if (dir_block_check(v.db, dir->ino, dir->generation, lblk))
			return view_damaged(dir, &v, "directory block");
		verified_set(vol, blk);
	}
	/* Verified, but perhaps for somebody else who owns it too. */
	if (!header_matches(v.db, dir->ino, dir->generation, lblk))
		return view_damaged(dir, &v, "owner of a directory block");
	*ret_view = v;
	return 0;
}

static int view_at(struct tx *tx, struct inode *dir, uint64_t lblk, struct view *ret_view)
{
	struct extent ext;
	int err = extent_lookup(tx, dir, FORK_DATA, lblk, &ext);

	if (err)
		return err;
	if (ext.state != EXTENT_WRITTEN)
		return volume_damaged(dir->vol, dir->off, "hole in a directory");
	return view_load(tx, dir, lblk, ext.pblk + (lblk - ext.lblk), ret_view);
}

static int view_modify(struct tx *tx, const struct view *v, struct dirblock **ret_db)
{
	void *copy;
	int err = tx_modify(tx, v->blk << BLOCK_SHIFT, BLOCK_BYTES, TX_META, &copy);

	if (!err)
		*ret_db = copy;
	return err;
}

static void entry_export(const struct dirent_disk *de, uint64_t pos, struct dir_entry *ret)
{
	uint8_t len = de->name_bytes;

	ret->ino = from_le64(de->ino);
	ret->pos = pos;
	ret->type = de->type;
	ret->name_len = len;
	memcpy(ret->name, de->name, len);
	ret->name[len] = '\0';
}

/* What one walk over a block finds out: the first free entry for @need bytes, and the largest. */
struct room {
	uint32_t off;	   /* of the first entry with at least @need bytes; 0: none */
	uint32_t bytes;	   /* of it */
	uint32_t max_free; /* of all */
	uint32_t max_rest; /* of all but that one */
};

static int block_room(const struct dirblock *db, uint32_t need, struct room *ret)
{
	struct room room = { 0 };
	uint32_t bytes;

	for (uint32_t off = DIRBLOCK_HEADER_BYTES; off < BLOCK_BYTES; off += bytes) {
		const struct dirent_disk *de = entry_at(db, off, &bytes);

		if (!de)
			return -EUCLEAN;
		if (de->ino)
			continue;
		if (bytes > room.max_free)
			room.max_free = bytes;
		if (!room.off && bytes >= need) {
			room.off = off;
			room.bytes = bytes;
		} else if (bytes > room.max_rest) {
			room.max_rest = bytes;
		}
	}
	*ret = room;
	return 0;
}

/* ---- hints: where there is room --------------------------------------------------------------- */

/*
 * room[lblk] is the largest free entry of the block in units of 16 bytes, rounded down; at most
 * 252. ROOM_HOLE: there is no block.
 */
#define ROOM_UNIT 16u
#define ROOM_HOLE 255u

/*
 * How many blocks one insert looks at. When it finds none it starts a new block, and the next
 * hundred inserts need not search: so the cost of the search does not grow with the directory,
 * and on average is small.
 */
#define ROOM_SEARCH_BLOCKS 1024u

struct dir_hints {
	uint32_t nblocks; /* how many are known: those of the directory */
	uint32_t space;	  /* how many there is memory for */
	uint32_t rotor;	  /* where the last insert went */
	uint8_t *room;
};

static uint8_t room_of(uint32_t max_free)
{
	uint32_t units = max_free / ROOM_UNIT;

	return units < ROOM_HOLE ? (uint8_t)units : ROOM_HOLE - 1;
}

void dir_forget(struct inode *dir)
{
	if (!dir->dir)
		return;
	mem_free(dir->vol->mem, dir->dir->room);
	mem_free(dir->vol->mem, dir->dir);
	dir->dir = NULL;
}

static int hints_resize(struct volume *vol, struct dir_hints *hints, uint64_t nblocks)
{
	uint32_t space = hints->space ? hints->space : 64;
	uint8_t *room;

	if (nblocks > hints->space) {
		while (space < nblocks)
			space *= 2;
		room = mem_alloc(vol->mem, space);
		if (!room)
			return -ENOMEM;
		if (hints->nblocks)
			memcpy(room, hints->room, hints->nblocks);
		mem_free(vol->mem, hints->room);
		hints->room = room;
		hints->space = space;
	}
	if (nblocks > hints->nblocks)
		memset(hints->room + hints->nblocks, ROOM_HOLE, nblocks - hints->nblocks);
	hints->nblocks = (uint32_t)nblocks;
	return 0;
}

/* Ask every block's header, without checking the block: whoever uses the hint checks it. */
static int hints_read(struct tx *tx, struct inode *dir, struct dir_hints *hints)
{
	struct extent ext;
	uint64_t lblk = 0;
	int err = 0;

	while (lblk < hints->nblocks) {
		err = extent_next(tx, dir, FORK_DATA, lblk, &ext);
		if (err)
			break;
		if (!volume_owns_data(dir->vol, ext.pblk, ext.count))
			return volume_damaged(dir->vol, dir->off, "pointer to directory blocks");
		for (uint64_t i = 0; i < ext.count && ext.lblk + i < hints->nblocks; i++) {
			uint64_t off = (ext.pblk + i) << BLOCK_SHIFT;
			const struct dirblock *db = tx_peek(tx, dir->vol, off, BLOCK_BYTES);

			hints->room[ext.lblk + i] = room_of(from_le16(db->max_free));
		}
		lblk = ext.lblk + ext.count;
	}
	return err == -ENOENT ? 0 : err;
}

/* The hints of @dir, for as many blocks as it has now. */
static int hints_get(struct tx *tx, struct inode *dir, struct dir_hints **ret_hints)
{
	uint64_t nblocks = dir_blocks(tx, dir);
	struct dir_hints *hints = dir->dir;
	int err;

	if (hints && nblocks <= hints->nblocks) {
		hints->nblocks = (uint32_t)nblocks;
		*ret_hints = hints;
		return 0;
	}
	dir_forget(dir);
	hints = mem_alloc(dir->vol->mem, sizeof(*hints));
	if (!hints)
		return -ENOMEM;
	dir->dir = hints;
	err = hints_resize(dir->vol, hints, nblocks);
	if (!err)
		err = hints_read(tx, dir, hints);
	if (err) {
		dir_forget(dir);
		return err;
	}
	*ret_hints = hints;
	return 0;
}

static void hints_set(struct inode *dir, uint64_t lblk, uint8_t room)
{
	if (dir->dir && lblk < dir->dir->nblocks)
		dir->dir->room[lblk] = room;
}

/* A block where @need bytes may fit, else a hole, else the end of the directory. */
static uint64_t hints_search(const struct dir_hints *hints, uint32_t need)
{
	uint32_t units = (need + ROOM_UNIT - 1) / ROOM_UNIT;
	uint32_t limit = hints->nblocks, hole = hints->nblocks;
	uint32_t lblk = hints->rotor;

	/* At its greatest length, every hole has to be found. */
	if (limit > ROOM_SEARCH_BLOCKS && hints->nblocks < MAX_DIR_BLOCKS)
		limit = ROOM_SEARCH_BLOCKS;
	for (uint32_t i = 0; i < limit; i++, lblk++) {
		if (lblk >= hints->nblocks)
			lblk = 0;
		if (hints->room[lblk] < units)
			continue;
		if (hints->room[lblk] != ROOM_HOLE)
			return lblk;
		if (hole == hints->nblocks)
			hole = lblk;
	}
	return hole;
}

/* ---- looking -------------------------------------------------------------------------------- */

/* Whether the entry that the index gives for @hash at @pos has that name. */
static int entry_compare(struct tx *tx, struct inode *dir, uint64_t pos, uint32_t hash,
			 const char *name, size_t len, struct dir_entry *ret_entry, bool *ret_same)
{
	const struct dirent_disk *de;
	struct view v;
	uint32_t bytes;
	int err;

	err = view_at(tx, dir, pos / POS_PER_BLOCK, &v);
	if (err)
		return err;
	de = entry_at(v.db, offset_of(pos), &bytes);
	if (!de || !de->ino || from_le32(de->hash) != hash)
		return view_damaged(dir, &v, "directory entry in the index");
	*ret_same = de->name_bytes == len && memcmp(de->name, name, len) == 0;
	if (*ret_same)
		entry_export(de, pos, ret_entry);
	return 0;
}

int dir_lookup(struct tx *tx, struct inode *dir, const char *name, size_t len,
	       struct dir_entry *ret_entry)
{
	uint32_t hash = dir_hash(dir->vol->hash_seed, name, len);
	struct rec rec = { .key = index_key(hash, 0) };
	bool same;
	int err;

	sync_rw_assert(&dir->ilock, SYNC_SHARED);
	for (uint64_t key = rec.key;; key = rec.key + 1) {
		err = btree_ge(tx, dir, FORK_INDEX, key, &rec);
		if (err)
			return err;
		if (rec.key < key)
			return volume_damaged(dir->vol, dir->off, "order of a directory index");
		if (rec.key >> 32 != hash)
			return -ENOENT;
		err = entry_compare(tx, dir, (uint32_t)rec.key, hash, name, len, ret_entry, &same);
		if (err || same)
			return err;
		if (rec.key == UINT64_MAX)
			return -ENOENT;
	}
}

int dir_holds(struct tx *tx, struct inode *dir, const struct dir_entry *entry)
{
	uint32_t hash = dir_hash(dir->vol->hash_seed, entry->name, entry->name_len);
	uint64_t lblk = entry->pos / POS_PER_BLOCK;
	const struct dirent_disk *de;
	struct extent ext;
	struct view v;
	uint32_t bytes;
	int err;

	sync_rw_assert(&dir->ilock, SYNC_SHARED);
	err = extent_lookup(tx, dir, FORK_DATA, lblk, &ext);
	if (err)
		return err;
	if (ext.state == EXTENT_HOLE)
		return -ENOENT;
	err = view_load(tx, dir, lblk, ext.pblk + (lblk - ext.lblk), &v);
	if (err)
		return err;
	/*
	 * Its place may by now be the inside of another entry, whose name somebody chose. No name
	 * has the zeroes of an inode number in it, or knows the hash.
	 */
	de = entry_at(v.db, offset_of(entry->pos), &bytes);
	if (!de || from_le64(de->ino) != entry->ino || from_le32(de->hash) != hash ||
	    de->type != entry->type || /* the number may be that of a new inode by now */
	    de->name_bytes != entry->name_len ||
	    memcmp(de->name, entry->name, entry->name_len) != 0)
		return -ENOENT;
	return 0;
}

/* The first entry in @v at an offset >= @from; @off is that of an entry. -ENOENT: none. */
static int view_scan(struct inode *dir, const struct view *v, uint32_t off, uint32_t from,
		     struct dir_entry *ret_entry)
{
	uint32_t bytes;

	for (; off < BLOCK_BYTES; off += bytes) {
		const struct dirent_disk *de = entry_at(v->db, off, &bytes);

		if (!de)
			return view_damaged(dir, v, "directory entry");
		if (off >= from && de->ino) {
			entry_export(de, position_of(v->lblk, off), ret_entry);
			return 0;
		}
	}
	return -ENOENT;
}

int dir_iterate(struct inode *dir, uint64_t pos, struct dir_entry *ret_entry)
{
	uint64_t end, lblk = pos / POS_PER_BLOCK;
	uint32_t from = offset_of(pos);
	struct extent ext;
	struct view v;
	int err;

	sync_rw_assert(&dir->ilock, SYNC_SHARED);
	end = dir_blocks(NULL, dir);
	for (; lblk < end; lblk++, from = 0) {
		err = extent_next(NULL, dir, FORK_DATA, lblk, &ext);
		if (err)
			return err;
		if (ext.lblk > lblk) {
			from = 0;
			lblk = ext.lblk;
			if (lblk >= end)
				break;
		}
		err = view_load(NULL, dir, lblk, ext.pblk + (lblk - ext.lblk), &v);
		if (!err)
			err = view_scan(dir, &v, DIRBLOCK_HEADER_BYTES, from, ret_entry);
		if (err != -ENOENT)
			return err;
	}
	return -ENOENT;
}

int dir_next(struct inode *dir, struct dir_entry *entry)
{
	uint64_t lblk = entry->pos / POS_PER_BLOCK;
	uint32_t off = offset_of(entry->pos);
	struct view v;
	int err;

	sync_rw_assert(&dir->ilock, SYNC_SHARED);
	err = view_at(NULL, dir, lblk, &v);
	if (!err)
		err = view_scan(dir, &v, off, off + 1, entry);
	if (err != -ENOENT)
		return err;
	return dir_iterate(dir, (lblk + 1) * POS_PER_BLOCK, entry);
}

bool dir_is_empty(const struct tx *tx, struct inode *dir)
{
	sync_rw_assert(&dir->ilock, SYNC_SHARED);
	return inode_peek(tx, dir)->nentries == 0;
}

/* ---- entering ------------------------------------------------------------------------------- */

/* What is to be entered. */
struct new_entry {
	const char *name;
	size_t len;
	uint64_t ino;
	uint32_t hash;
	uint8_t type;
};

/* Write @e into the free entry that @room describes; what is left behind it stays free. */
static void block_put(struct dirblock *db, const struct room *room, const struct new_entry *e)
{
	uint32_t bytes = DIRENT_BYTES((uint32_t)e->len), rest = room->bytes - bytes;
	struct dirent_disk *de = entry_in(db, room->off);
	uint32_t max_free = room->max_rest;

	if (rest < ENTRY_MIN_BYTES) {
		bytes = room->bytes; /* too little for an entry of its own */
	} else {
		struct dirent_disk *left = entry_in(db, room->off + bytes);

		memset(left, 0, sizeof(*left));
		left->bytes = to_le16((uint16_t)rest);
		max_free = rest > max_free ? rest : max_free;
	}
	de->ino = to_le64(e->ino);
	de->bytes = to_le16((uint16_t)bytes);
	de->name_bytes = (uint8_t)e->len;
	de->type = e->type;
	de->hash = to_le32(e->hash);
	memcpy(de->name, e->name, e->len);
	memset(de->name + e->len, 0, bytes - sizeof(*de) - e->len);
	db->nentries = to_le16((uint16_t)(from_le16(db->nentries) + 1));
	db->max_free = to_le16((uint16_t)max_free);
}

/* A block of its own for block @lblk of the directory, where there is none. */
static int block_create(struct tx *tx, struct inode *dir, uint64_t lblk, struct dirblock **ret_db)
{
	struct alloc_request req = { .count = 1 };
	struct extent ext = { .lblk = lblk, .count = 1, .state = EXTENT_WRITTEN };
	struct extent before;
	struct dirblock *db;
	struct dinode *di;
	uint32_t count;
	void *copy;
	int err;

	if (lblk && extent_lookup(tx, dir, FORK_DATA, lblk - 1, &before) == 0 && before.pblk)
		req.goal = before.pblk + before.count;
	err = alloc_blocks(tx, &req, &ext.pblk, &count);
	if (err)
		return err;
	err = extent_insert(tx, dir, FORK_DATA, &ext);
	if (!err)
		err = tx_create(tx, ext.pblk, TX_META, &copy);
	if (!err)
		err = inode_modify(tx, dir, &di);
	if (err)
		return err;
	di->nblocks = to_le64(from_le64(di->nblocks) + 1);
	db = copy;
	db->magic = to_le32(DIRBLOCK_MAGIC);
	db->owner = to_le64(dir->ino);
	db->generation = to_le32(dir->generation);
	db->lblk = to_le32((uint32_t)lblk);
	db->max_free = to_le16(EMPTY_BLOCK_ROOM);
	entry_in(db, DIRBLOCK_HEADER_BYTES)->bytes = to_le16(EMPTY_BLOCK_ROOM);
	*ret_db = db;
	return 0;
}

/* Where an entry goes: a block that is being changed, and room in it. */
struct slot {
	uint64_t lblk;
	struct dirblock *db;
	struct room room; /* room.off is 0: nothing found yet */
};

/* See whether block @slot->lblk has @need bytes. -ENOENT: it is a hole. */
static int slot_look(struct tx *tx, struct inode *dir, uint32_t need, struct slot *slot)
{
	uint64_t lblk = slot->lblk;
	struct extent ext;
	struct view v;
	int err = extent_lookup(tx, dir, FORK_DATA, lblk, &ext);

	if (err)
		return err;
	if (ext.state == EXTENT_HOLE)
		return -ENOENT;
	err = view_load(tx, dir, lblk, ext.pblk + (lblk - ext.lblk), &v);
	if (err)
		return err;
	if (block_room(v.db, need, &slot->room))
		return view_damaged(dir, &v, "directory entry");
	return slot->room.off ? view_modify(tx, &v, &slot->db) : 0;
}

/*
 * Find a block with room for @need bytes, or make one. A hint that turns out wrong (an aborted
 * transaction left it) is put right and never rises above @need in here, so the search ends.
 */
static int slot_find(struct tx *tx, struct inode *dir, uint32_t need, struct slot *slot)
{
	struct dir_hints *hints;
	int err = hints_get(tx, dir, &hints);

	if (err)
		return err;
	for (;;) {
		slot->lblk = hints_search(hints, need);
		if (slot->lblk == MAX_DIR_BLOCKS)
			return -ENOSPC;
		err = slot_look(tx, dir, need, slot);
		if (err == -ENOENT &&
		    (slot->lblk == hints->nblocks || hints->room[slot->lblk] == ROOM_HOLE))
			break;
		if (err && err != -ENOENT)
			return err;
		if (slot->lblk == hints->nblocks)
			return volume_damaged(dir->vol, dir->off, "size of a directory");
		if (!err && slot->room.off)
			return 0;
		hints->room[slot->lblk] = err ? ROOM_HOLE : room_of(slot->room.max_free);
	}
	slot->room = (struct room){ .off = DIRBLOCK_HEADER_BYTES, .bytes = EMPTY_BLOCK_ROOM };
	return block_create(tx, dir, slot->lblk, &slot->db);
}

/* After an insert into @lblk: size and number of names, and what to remember. */
static int account_added(struct tx *tx, struct inode *dir, uint64_t lblk, uint32_t max_free)
{
	struct dir_hints *hints = dir->dir;
	struct dinode *di;
	int err = inode_modify(tx, dir, &di);

	if (err)
		return err;
	di->nentries = to_le64(from_le64(di->nentries) + 1);
	if (from_le64(di->size) < (lblk + 1) << BLOCK_SHIFT)
		di->size = to_le64((lblk + 1) << BLOCK_SHIFT);
	if (lblk >= hints->nblocks) {
		err = hints_resize(dir->vol, hints, lblk + 1);
		if (err)
			return err;
	}
	hints->room[lblk] = room_of(max_free);
	hints->rotor = (uint32_t)lblk;
	return 0;
}

int dir_add(struct tx *tx, struct inode *dir, const char *name, size_t len, uint64_t ino,
	    uint8_t type)
{
	struct new_entry e = { name, len, ino, dir_hash(dir->vol->hash_seed, name, len), type };
	struct slot slot = { 0 };
	struct rec rec = { 0 };
	int err;

	sync_rw_assert(&dir->ilock, SYNC_EXCL);
	assert(len && len <= MAX_NAME_BYTES && ino);
	err = slot_find(tx, dir, DIRENT_BYTES((uint32_t)len), &slot);
	if (err)
		return err;
	block_put(slot.db, &slot.room, &e);
	rec.key = index_key(e.hash, position_of(slot.lblk, slot.room.off));
	err = btree_insert(tx, dir, FORK_INDEX, &rec);
	if (err == -EEXIST)
		return volume_damaged(dir->vol, dir->off, "index of a directory");
	if (err)
		return err;
	return account_added(tx, dir, slot.lblk, from_le16(slot.db->max_free));
}

/* ---- taking out ------------------------------------------------------------------------------- */

/* Make the entry at @off free and merge it with free neighbours. -EUCLEAN: it is not there. */
static int block_take(struct dirblock *db, uint32_t off)
{
	uint32_t before = 0, bytes, at, max_free = 0;
	struct dirent_disk *de;
	const struct dirent_disk *next;

	for (at = DIRBLOCK_HEADER_BYTES; at < off; at += bytes) {
		const struct dirent_disk *prev = entry_at(db, at, &bytes);

		if (!prev)
			return -EUCLEAN;
		before = prev->ino ? 0 : at;
	}
	if (at != off || !entry_at(db, off, &bytes) || !entry_in(db, off)->ino ||
	    !from_le16(db->nentries))
		return -EUCLEAN;
	next = off + bytes < BLOCK_BYTES ? entry_at(db, off + bytes, &at) : NULL;
	if (next && !next->ino)
		bytes += at;
	de = entry_in(db, off);
	if (before) {
		de = entry_in(db, before);
		bytes += off - before;
	}
	memset(de, 0, bytes);
	de->bytes = to_le16((uint16_t)bytes);
	db->nentries = to_le16((uint16_t)(from_le16(db->nentries) - 1));
	max_free = from_le16(db->max_free);
	db->max_free = to_le16((uint16_t)(bytes > max_free ? bytes : max_free));
	return 0;
}

/*
 * The directory's last block is gone: it ends behind the block before it, and there may be a
 * hole before that.
 */
static int end_of_rest(struct tx *tx, struct inode *dir, uint64_t lblk, uint64_t *ret_blocks)
{
	struct extent ext;
	int err;

	*ret_blocks = lblk;
	if (!lblk)
		return 0;
	err = extent_lookup(tx, dir, FORK_DATA, lblk - 1, &ext);
	if (!err && ext.state == EXTENT_HOLE)
		*ret_blocks = ext.lblk;
	return err;
}

static int block_give_back(struct tx *tx, struct inode *dir, const struct view *v,
			   struct dinode *di)
{
	uint64_t nblocks = from_le64(di->size) >> BLOCK_SHIFT;
	bool done;
	int err;

	tx_forget(tx, v->blk);
	verified_clear(dir->vol, v->blk);
	err = put_blocks(tx, dir, FORK_DATA, v->lblk, 1, false, &done);
	if (!err && !done)
		err = -EFBIG;
	if (!err && v->lblk + 1 == nblocks)
		err = end_of_rest(tx, dir, v->lblk, &nblocks);
	if (err)
		return err;
	di->size = to_le64(nblocks << BLOCK_SHIFT);
	hints_set(dir, v->lblk, ROOM_HOLE);
	return 0;
}

/* Whether an empty block stays, because the next insert would only make it again. */
static bool block_is_kept(const struct inode *dir, uint64_t lblk)
{
	return lblk == 0 || (dir->dir && dir->dir->rotor == lblk);
}

int dir_remove(struct tx *tx, struct inode *dir, const struct dir_entry *entry)
{
	uint32_t hash = dir_hash(dir->vol->hash_seed, entry->name, entry->name_len);
	struct dirblock *db;
	struct dinode *di;
	struct view v;
	int err;

	sync_rw_assert(&dir->ilock, SYNC_EXCL);
	err = view_at(tx, dir, entry->pos / POS_PER_BLOCK, &v);
	if (!err)
		err = view_modify(tx, &v, &db);
	if (err)
		return err;
	if (block_take(db, offset_of(entry->pos)))
		return view_damaged(dir, &v, "directory entry");
	err = btree_delete(tx, dir, FORK_INDEX, index_key(hash, entry->pos));
	if (err == -ENOENT)
		return view_damaged(dir, &v, "directory entry without an index record");
	if (!err)
		err = inode_modify(tx, dir, &di);
	if (err)
		return err;
	if (!di->nentries)
		return volume_damaged(dir->vol, dir->off, "number of names in a directory");
	di->nentries = to_le64(from_le64(di->nentries) - 1);
	if (!db->nentries && !block_is_kept(dir, v.lblk))
		return block_give_back(tx, dir, &v, di);
	hints_set(dir, v.lblk, room_of(from_le16(db->max_free)));
	return 0;
}

int dir_change(struct tx *tx, struct inode *dir, const struct dir_entry *entry, uint64_t ino,
	       uint8_t type)
{
	struct dirblock *db;
	struct dirent_disk *de;
	struct view v;
	uint32_t bytes;
	int err;

	sync_rw_assert(&dir->ilock, SYNC_EXCL);
	err = view_at(tx, dir, entry->pos / POS_PER_BLOCK, &v);
	if (!err)
		err = view_modify(tx, &v, &db);
	if (err)
		return err;
	if (!entry_at(db, offset_of(entry->pos), &bytes))
		return view_damaged(dir, &v, "directory entry");
	de = entry_in(db, offset_of(entry->pos));
	if (!de->ino)
		return view_damaged(dir, &v, "directory entry");
	de->ino = to_le64(ino);
	de->type = type;
	return 0;
}
