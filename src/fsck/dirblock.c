/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * dirblock.c - one directory block: what is wrong with it, and a good one made out of it.
 *
 * Names never move, so a block is mended in place: the names that can be believed keep their
 * offsets, everything between them becomes free space. In a block with a good checksum a name is
 * believed, and its hash is computed anew if it does not agree. In one without, only a name that
 * agrees with its hash is; and since the chain of entries may be broken, names are looked for at
 * every multiple of 8.
 */
#include <assert.h>
#include <stddef.h>

#include "dir.h"
#include "impl.h"

#define ENTRY_MIN ((uint32_t)sizeof(struct dirent_disk))

static struct dirent_disk *entry_at(struct dirblock *db, uint32_t off)
{
	return (struct dirent_disk *)((unsigned char *)db + off);
}

bool fsck_dirblock_sealed(const struct dirblock *db)
{
	return from_le32(db->csum) == crc32c_skip(db, sizeof(*db), offsetof(struct dirblock, csum));
}

static unsigned header_misfits(const struct dirblock *db, uint64_t ino, uint32_t generation,
			       uint64_t lblk)
{
	return (from_le32(db->magic) != DIRBLOCK_MAGIC) + (from_le64(db->owner) != ino) +
	       (from_le32(db->generation) != generation) + (from_le32(db->lblk) != lblk);
}

bool fsck_dirblock_is(const struct dirblock *db, uint64_t ino, uint32_t generation, uint64_t lblk)
{
	return header_misfits(db, ino, generation, lblk) == 0;
}

/* Whether the bytes at @off can be an entry: its length and, of a name, what it may consist of. */
static bool entry_whole(const struct dirent_disk *de, uint32_t off)
{
	uint32_t bytes = from_le16(de->bytes);

	return bytes >= ENTRY_MIN && bytes % 8 == 0 && bytes <= BLOCK_BYTES - off &&
	       (!de->ino || (de->name_bytes && ENTRY_MIN + de->name_bytes <= bytes));
}

static bool name_good(const struct dirent_disk *de)
{
	uint32_t len = de->name_bytes;
	bool dots = len <= 2 && de->name[0] == '.' && (len == 1 || de->name[1] == '.');

	return !dots && !memchr(de->name, '/', len) && !memchr(de->name, '\0', len);
}

static uint32_t hash_of(const struct fsck *f, const struct dirent_disk *de)
{
	return dir_hash(f->seed, de->name, de->name_bytes);
}

/* ---- laying out ------------------------------------------------------------------------------ */

static void put_free(struct dirblock *db, uint32_t off, uint32_t bytes)
{
	memset(entry_at(db, off), 0, bytes);
	entry_at(db, off)->bytes = to_le16((uint16_t)bytes);
}

void fsck_dirblock_relay(struct dirblock *db, const uint16_t *offs, unsigned n)
{
	uint32_t at = DIRBLOCK_HEADER_BYTES, max_free = 0;

	for (unsigned i = 0; i <= n; i++) {
		uint32_t next = i < n ? offs[i] : BLOCK_BYTES;
		struct dirent_disk *de;
		uint32_t end;

		if (next > at) {
			put_free(db, at, next - at);
			max_free = next - at > max_free ? next - at : max_free;
		}
		if (i == n)
			break;
		de = entry_at(db, next);
		end = i + 1 < n ? offs[i + 1] : BLOCK_BYTES;
		at = next + DIRENT_BYTES(de->name_bytes);
		/* Less than an entry cannot stand alone: it stays with the name. */
		if (at > end || end - at < ENTRY_MIN)
			at = end;
		memset(de->name + de->name_bytes, 0, at - next - ENTRY_MIN - de->name_bytes);
		de->bytes = to_le16((uint16_t)(at - next));
	}
	db->nentries = to_le16((uint16_t)n);
	db->max_free = to_le16((uint16_t)max_free);
	db->csum = to_le32(crc32c_skip(db, sizeof(*db), offsetof(struct dirblock, csum)));
}

void fsck_dirblock_new(struct dirblock *db, uint64_t ino, uint32_t generation, uint64_t lblk)
{
	memset(db, 0, sizeof(*db));
	db->magic = to_le32(DIRBLOCK_MAGIC);
	db->owner = to_le64(ino);
	db->generation = to_le32(generation);
	db->lblk = to_le32((uint32_t)lblk);
	fsck_dirblock_relay(db, NULL, 0);
}

struct dirent_disk *fsck_dirblock_next(struct dirblock *db, uint32_t *off)
{
	uint32_t at = *off ? *off + from_le16(entry_at(db, *off)->bytes) : DIRBLOCK_HEADER_BYTES;

	for (; at <= BLOCK_BYTES - ENTRY_MIN; at += from_le16(entry_at(db, at)->bytes)) {
		if (!entry_whole(entry_at(db, at), at))
			return NULL;
		if (entry_at(db, at)->ino) {
			*off = at;
			return entry_at(db, at);
		}
	}
	return NULL;
}

bool fsck_dirblock_add(struct fsck *f, struct dirblock *db, const char *name, uint64_t ino,
		       uint8_t type)
{
	uint16_t offs[FSCK_DIRBLOCK_NAMES + 1];
	uint32_t off = 0, end = DIRBLOCK_HEADER_BYTES;
	unsigned n = 0;
	struct dirent_disk *de;

	while ((de = fsck_dirblock_next(db, &off))) {
		offs[n++] = (uint16_t)off;
		end = off + DIRENT_BYTES(de->name_bytes);
	}
	if (BLOCK_BYTES - end < DIRENT_BYTES(strlen(name)))
		return false;
	offs[n++] = (uint16_t)end;
	de = entry_at(db, end);
	de->ino = to_le64(ino);
	de->name_bytes = (uint8_t)strlen(name);
	de->type = type;
	memcpy(de->name, name, strlen(name));
	de->hash = to_le32(hash_of(f, de));
	fsck_dirblock_relay(db, offs, n);
	return true;
}

/* ---- looking --------------------------------------------------------------------------------- */

struct look {
	struct fsck *f;
	uint64_t ino, lblk, pblk;
	bool quiet;
	struct dirblock *db;
	uint16_t offs[FSCK_DIRBLOCK_NAMES]; /* of the names to keep */
	unsigned n;
	bool mended, counters;
};

static void say(struct look *l, enum fsck_code code, const char *what)
{
	if (!l->quiet)
		fsck_found(l->f, code, l->ino, l->pblk, "directory inode %llu, block %llu: %s",
			   (unsigned long long)l->ino, (unsigned long long)l->lblk, what);
}

static void say_entry(struct look *l, uint32_t off, const char *what)
{
	l->mended = true;
	if (!l->quiet)
		fsck_found(l->f, FSCK_DIR_ENTRY, l->ino, l->pblk,
			   "directory inode %llu, block %llu: the entry at byte %u %s",
			   (unsigned long long)l->ino, (unsigned long long)l->lblk, off, what);
}

/* Of a block with a good checksum. False: the chain of entries is broken. */
static bool look_along(struct look *l)
{
	uint32_t bytes, max_free = 0;
	bool after_free = false;

	for (uint32_t off = DIRBLOCK_HEADER_BYTES; off < BLOCK_BYTES; off += bytes) {
		struct dirent_disk *de = entry_at(l->db, off);

		if (BLOCK_BYTES - off < ENTRY_MIN || !entry_whole(de, off))
			return false;
		bytes = from_le16(de->bytes);
		if (!de->ino) {
			l->counters |= after_free; /* two free entries side by side */
			max_free = bytes > max_free ? bytes : max_free;
		} else if (!name_good(de)) {
			say_entry(l, off, "has a name that cannot be; it is removed");
		} else {
			if (from_le32(de->hash) != hash_of(l->f, de)) {
				say_entry(l, off, "has a wrong hash");
				de->hash = to_le32(hash_of(l->f, de));
			}
			l->offs[l->n++] = (uint16_t)off;
		}
		after_free = !de->ino;
	}
	if (!l->mended &&
	    (from_le16(l->db->nentries) != l->n || from_le16(l->db->max_free) != max_free))
		l->counters = true;
	return true;
}

/* Names that agree with their hash, wherever they stand. */
static void look_everywhere(struct look *l)
{
	uint32_t off = DIRBLOCK_HEADER_BYTES;

	l->n = 0;
	while (off <= BLOCK_BYTES - ENTRY_MIN) {
		struct dirent_disk *de = entry_at(l->db, off);
		uint32_t need = DIRENT_BYTES(de->name_bytes);

		if (!de->ino || !de->name_bytes || need > BLOCK_BYTES - off || !name_good(de) ||
		    from_le32(de->hash) != hash_of(l->f, de)) {
			off += 8;
			continue;
		}
		l->offs[l->n++] = (uint16_t)off;
		off += need;
	}
}

enum dirblock_state fsck_dirblock_audit(struct fsck *f, uint64_t ino, uint32_t generation,
					uint64_t lblk, uint64_t pblk, struct dirblock *db,
					bool quiet)
{
	struct look l = { f, ino, lblk, pblk, quiet, db, { 0 }, 0, false, false };
	unsigned misfits = header_misfits(db, ino, generation, lblk);
	bool sealed = fsck_dirblock_sealed(db);

	if (misfits > (sealed ? 0 : 1) || !fsck_readable(f, pblk)) {
		say(&l, FSCK_DIR_BLOCK, "what stands there is something else; its names are lost");
		return DIRBLOCK_LOST;
	}
	if (!sealed)
		say(&l, FSCK_DIR_BLOCK,
		    "wrong checksum; names that agree with their hash are kept");
	else if (!look_along(&l)) {
		say(&l, FSCK_DIR_BLOCK,
		    "its entries are broken; names that agree with their hash are "
		    "kept");
		sealed = false;
	}
	if (!sealed)
		look_everywhere(&l);
	else if (l.counters && !l.mended)
		say(&l, FSCK_DIR_COUNTERS, "its counters do not agree with its entries");
	if (sealed && !l.mended && !l.counters)
		return DIRBLOCK_GOOD;
	db->magic = to_le32(DIRBLOCK_MAGIC);
	db->owner = to_le64(ino);
	db->generation = to_le32(generation);
	db->lblk = to_le32((uint32_t)lblk);
	fsck_dirblock_relay(db, l.offs, l.n);
	return sealed && !l.mended ? DIRBLOCK_COUNTERS : DIRBLOCK_MENDED;
}
