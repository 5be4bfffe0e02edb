/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * dir.h - what is in a directory: names, and how to find them.
 *
 * Names stand in data blocks (struct dirblock) and never move, so the position of an entry is a
 * readdir cookie that stays valid while others come and go. A tree of (hash, position) in the
 * index fork finds a name in O(log n). Blocks with room are remembered in memory.
 *
 * Every function here works on one directory whose ilock the caller holds: shared to look,
 * exclusive to change. Operations on the tree of names (create, rename, ...) are in namespace.h.
 */
#ifndef UDAX_DIR_H
#define UDAX_DIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dirblock;
struct inode;
struct tx;

struct dir_entry {
	uint64_t ino;
	uint64_t pos;	  /* of the entry: what dir_iterate() takes to go on after it */
	uint8_t type;	  /* DT_* */
	uint8_t name_len; /* bytes */
	char name[256];	  /* NUL-terminated */
};

/**
 * dir_lookup - find @name. 0 with *@ret_entry, -ENOENT, -EIO.
 */
int dir_lookup(struct tx *tx, struct inode *dir, const char *name, size_t len,
	       struct dir_entry *ret_entry);

/**
 * dir_holds - whether @entry, found before the lock was released and taken again, still stands
 * where it did, with the same name and inode. Much cheaper than to look it up. 0, -ENOENT, -EIO.
 */
int dir_holds(struct tx *tx, struct inode *dir, const struct dir_entry *entry);

/**
 * dir_add - enter @name for @ino. The caller has seen that it is not there. 0, -ENOSPC (also: the
 * directory has reached MAX_DIR_BLOCKS), -EIO, -ENOMEM, -EFBIG.
 * dir_remove - take out the entry at @entry (from dir_lookup under the same lock).
 * dir_change - let the entry at @entry name another inode.
 */
int dir_add(struct tx *tx, struct inode *dir, const char *name, size_t len, uint64_t ino,
	    uint8_t type);
int dir_remove(struct tx *tx, struct inode *dir, const struct dir_entry *entry);
int dir_change(struct tx *tx, struct inode *dir, const struct dir_entry *entry, uint64_t ino,
	       uint8_t type);

/**
 * dir_iterate - the first entry at a position >= @pos. 0, -ENOENT at the end, -EIO. "." and ".."
 * are not stored; the frontend gives them. To go on: @pos = ret_entry->pos + 1.
 */
int dir_iterate(struct inode *dir, uint64_t pos, struct dir_entry *ret_entry);

/**
 * dir_next - from @entry, as dir_iterate() or this function filled it in, to the one behind it. The
 * lock was not released in between, so that no walk over the block is needed. Errors as above.
 */
int dir_next(struct inode *dir, struct dir_entry *entry);

/** dir_is_empty - whether no name is in it. */
bool dir_is_empty(const struct tx *tx, struct inode *dir);

/** dir_forget - free what is remembered in memory about @dir. */
void dir_forget(struct inode *dir);

/**
 * dir_block_check - whether @db can be block @lblk of directory @ino: checksum, bounds and order
 * of its entries, names, counters. 0 or -EUCLEAN. For fsck too.
 */
int dir_block_check(const struct dirblock *db, uint64_t ino, uint32_t generation, uint64_t lblk);

/** dir_hash - the hash of a name under the volume's seed, as it stands on the medium. For fsck too. */
uint32_t dir_hash(uint64_t seed, const char *name, size_t len);

#endif
