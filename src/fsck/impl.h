/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * impl.h - what the parts of the checker share, and nobody else includes.
 *
 * One struct fsck is one call of fsck_check(). Nothing in it is protected: one thread uses it.
 */
#ifndef UDAX_FSCK_IMPL_H
#define UDAX_FSCK_IMPL_H

#include <errno.h>
#include <string.h>

#include "crc.h"
#include "format.h"
#include "fsck.h"
#include "region.h"

/* ---- mem.c: bits and growing arrays ----------------------------------------------------- */

struct bits {
	uint64_t *words;
	uint64_t n;
};

int bits_init(struct bits *b, uint64_t n); /* all clear; 0 or -ENOMEM */
void bits_free(struct bits *b);
bool bits_test(const struct bits *b, uint64_t i);
void bits_set(struct bits *b, uint64_t i);
void bits_clear(struct bits *b, uint64_t i);
bool bits_any(const struct bits *b, uint64_t first, uint64_t count);

struct vec {
	void *items;
	size_t n, space;
};

/** vec_push - append a copy of the @bytes at @item. 0 or -ENOMEM. vec_at - element @i. */
int vec_push(struct vec *v, const void *item, size_t bytes);
void vec_free(struct vec *v);
void vec_sort(struct vec *v, size_t bytes, int (*compare)(const void *a, const void *b));
#define vec_at(v, type, i) (&((type *)(v)->items)[i])

/* ---- what is known --------------------------------------------------------------------------- */

/* What a repair of an inode has to do, one bit each. */
enum fix {
	FIX_DINODE = 1,	  /* fields, which dinode_audit() knows */
	FIX_DATA = 2,	  /* write the data fork's tree anew */
	FIX_INDEX = 4,	  /* make a directory's index anew from its names */
	FIX_ATTR = 8,	  /* write the attribute fork's tree anew */
	FIX_NO_ATTR = 16, /* drop the attributes */
	FIX_DROP = 32,	  /* give the inode up */
	FIX_COUNT = 64,	  /* count a directory's names */
};

enum slot {
	SLOT_NONE,  /* no block of the inode file */
	SLOT_NEVER, /* zeroes */
	SLOT_FREE,
	SLOT_USED,
};

/* One inode, as far as has been seen in this round. */
struct iinfo {
	uint8_t slot;	 /* enum slot */
	uint8_t type;	 /* DT_*, of SLOT_USED */
	uint8_t fix;	 /* enum fix */
	uint8_t mark;	 /* names.c's */
	uint32_t links;	 /* names found; of a directory: directories found in it */
	uint64_t parent; /* of a directory: where its name was found; FSCK_NOWHERE: nowhere yet */
};

struct ichunk {
	uint64_t map_blk; /* 0: not there */
	bool map_good;
	struct iinfo info[MAP_BITS];
};

/* An extent of a fork, checked to lie in the volume. */
struct ext {
	uint64_t lblk, pblk, count;
	bool unwritten;
};

/* A part of a fork that has to go, or to get blocks of its own. */
struct edit {
	uint64_t ino, lblk, count;
	uint8_t fork;
	bool clone;
};

/* An extent that was read without a checksum to vouch for it. */
struct suspect {
	uint64_t ino;
	uint8_t fork;
	struct ext ext;
};

/* A directory entry that has to go: the one at @pos, or (FSCK_NOWHERE) that names @ino. */
struct removal {
	uint64_t dir, pos, ino;
};

/* A fresh block to become part of a directory. */
struct addition {
	uint64_t dir, lblk, pblk;
};

struct fsck {
	struct region *region;
	const struct fsck_options *opt;
	struct fsck_report *report;
	unsigned round;
	bool repairing;		      /* this round mends what it finds */
	bool mute;		      /* this round only counts */
	bool changed;		      /* this round has stored something */
	uint64_t found, found_unsafe; /* problems of this round */
	uint64_t notes;
	uint64_t *seen; /* hashes of the findings of all rounds: an open-addressed table */
	size_t nseen, seen_space;

	struct super super; /* the good one */
	uint64_t nblocks, first_data, seed;
	uint32_t ngroups;

	struct bits owned; /* somebody owns the block */
	struct bits twice; /* at least two do */
	bool claims_done;  /* owned is complete: what is not in it can be allocated */
	uint64_t alloc_from;
	bool alloc_dry;	      /* nothing is free */
	uint64_t known_group; /* whether its space map is good is known; FSCK_NOWHERE: of none */
	bool known_good;
	unsigned long wide_budget; /* see tree.c */

	uint64_t *table; /* where each block of the inode file stands; 0: nowhere */
	uint64_t table_blocks;
	bool table_damaged;
	struct ichunk **chunks;
	uint32_t nchunks;
	struct vec suspects, edits, removals, additions;
	struct vec orphans; /* uint64_t: inodes to get a name in lost+found */
};

/* ---- report.c --------------------------------------------------------------------------- */

/**
 * fsck_found - report. Returns whether this round is to mend it.
 * fsck_failed - what was said to be mended could not be.
 */
bool fsck_found(struct fsck *f, enum fsck_code code, uint64_t ino, uint64_t blk, const char *fmt,
		...) __attribute__((format(printf, 5, 6)));
void fsck_failed(struct fsck *f, uint64_t ino, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/** fsck_fatal - the sentence for a call that fails with @err, which is returned. */
int fsck_fatal(struct fsck *f, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void fsck_progress(struct fsck *f, const char *stage, uint64_t done, uint64_t total);

/* ---- store.c: changing the medium ------------------------------------------------------- */

struct fix_store {
	uint64_t off;
	const void *buf;
	uint32_t len; /* at most a block, within one */
};

/** fsck_store - put all of @stores in place, all or (after a crash) none. */
void fsck_store(struct fsck *f, const struct fix_store *stores, unsigned n);
void fsck_store_one(struct fsck *f, uint64_t off, const void *buf, uint32_t len);
/** fsck_store_fresh - fill a block that nothing refers to. Durable at the next fsck_store(). */
void fsck_store_fresh(struct fsck *f, uint64_t blk, const void *buf);

/** The copies' checksums. */
void dinode_seal_copy(struct dinode *d);
void map_seal_copy(struct map_block *m);

/* ---- super.c, journal.c ------------------------------------------------------------ */

int fsck_super(struct fsck *f);
void fsck_super_finish(struct fsck *f); /* nothing is left: mark it clean, write the copy */
int fsck_journal(struct fsck *f);

/* ---- space.c ---------------------------------------------------------------------------- */

static inline uint64_t fsck_map_blk(uint64_t group)
{
	return group ? group * MAP_BITS : 1;
}

/** fsck_data_range - whether a run of blocks can belong to an inode. */
bool fsck_data_range(const struct fsck *f, uint64_t blk, uint64_t count);
/** fsck_claim - somebody owns these blocks. fsck_claim_fixed - of the format itself. */
void fsck_claim(struct fsck *f, uint64_t blk, uint64_t count);
void fsck_claim_fixed(struct fsck *f);
/** fsck_marked_used - what the space map says of all of a run; true where the map is damaged. */
bool fsck_marked_used(const struct fsck *f, uint64_t blk, uint64_t count);
/**
 * fsck_alloc - up to @want blocks in one run, marked used. 0, or -ENOSPC.
 * fsck_unalloc - blocks that nothing refers to any more.
 */
int fsck_alloc(struct fsck *f, uint64_t want, uint64_t *ret_blk, uint64_t *ret_count);
void fsck_unalloc(struct fsck *f, uint64_t blk, uint64_t count);
void fsck_space(struct fsck *f);

/* ---- table.c: the inode file ------------------------------------------------------------ */

int fsck_table_load(struct fsck *f);
int fsck_table_mend(struct fsck *f);
/** fsck_table_maps - inode maps against dinodes. */
void fsck_table_maps(struct fsck *f);
uint64_t fsck_ino_max(const struct fsck *f); /* numbers below it may have a place */
/** fsck_place_credible - whether what stands in place @lblk of the inode file can be it. */
bool fsck_place_credible(const struct fsck *f, uint64_t lblk);
/** fsck_ino_off - where the dinode stands; 0: nowhere. */
uint64_t fsck_ino_off(const struct fsck *f, uint64_t ino);
struct iinfo *fsck_iinfo(const struct fsck *f, uint64_t ino); /* NULL: no such number */
bool fsck_in_use(const struct fsck *f, uint64_t ino);
/** fsck_map_bit - a bit of an inode map; false where the map is damaged. */
bool fsck_map_bit(const struct fsck *f, uint64_t ino, unsigned plane);
/** fsck_map_copy - a copy of @ino's inode map with its two bits set so; 0: no map. */
uint64_t fsck_map_copy(const struct fsck *f, uint64_t ino, bool used, bool pending,
		       struct map_block *ret);

/* ---- tree.c ----------------------------------------------------------------------------- */

struct walk {
	struct fsck *f;
	uint64_t ino;
	uint32_t generation;
	enum fork_id fork;
	bool quiet;   /* what is wrong has been reported */
	bool damaged; /* result: records were left out, or read without a good checksum */
	bool suspect; /* the root has no good checksum */
	int (*on_node)(struct walk *w, uint64_t blk);
	int (*on_rec)(struct walk *w, uint64_t key, uint64_t val, bool suspect);
	void *ctx;
};

/** fsck_walk - every node and record of a fork, in order. 0, or the first error of a callback. */
int fsck_walk(struct walk *w, const struct dinode *d);
const struct fork_header *fsck_fork(const struct dinode *d, enum fork_id fork,
				    const struct tree_rec **ret_recs);
unsigned fsck_fork_capacity(enum fork_id fork);

/**
 * fsck_tree_build - store @n sorted records as a tree and set @d's fork to it (@d is a copy).
 * @spare: blocks (uint64_t) to fall back on when no block is free. *@ret_nodes: how many nodes it
 * has. 0, -ENOSPC, -ENOMEM.
 */
int fsck_tree_build(struct fsck *f, struct dinode *d, enum fork_id fork,
		    const struct tree_rec *recs, size_t n, struct vec *spare, uint64_t *ret_nodes);

/**
 * fsck_extents - every extent of a fork, in order and without overlap. @fn may be NULL.
 */
struct extents {
	struct walk walk;
	int (*fn)(struct extents *e, const struct ext *ext, bool suspect);
	void *ctx;
	uint64_t nodes;	       /* result: tree nodes */
	uint64_t blocks;       /* result: blocks of extents */
	uint64_t end;	       /* result: end of the last extent, in blocks of the file */
	struct vec *node_list; /* uint64_t: result, where not NULL */
	/* tree.c's */
	struct ext held;
	bool has_held, held_suspect;
};
int fsck_extents(struct extents *e, const struct dinode *d);

/* ---- inode.c ---------------------------------------------------------------------------- */

/** fsck_inodes - check every inode, find all owners. 0, -ENOMEM. */
int fsck_inodes(struct fsck *f);
/** fsck_inode_copy - the dinode with its fields put right; whether its checksum is wrong. */
void fsck_inode_copy(struct fsck *f, uint64_t ino, struct dinode *ret, bool *ret_suspect);
bool fsck_dinode_good(const struct dinode *d, uint64_t ino);

/* audit.c: the fields of one dinode. Returns whether something was put right in @d. */
bool fsck_audit(struct fsck *f, uint64_t ino, struct dinode *d, bool suspect, bool quiet);
/** fsck_salvage - whether a dinode with a wrong checksum can be believed; guesses what it was. */
bool fsck_salvage(struct fsck *f, uint64_t ino, struct dinode *d);

/* mend.c: do what an inode's fix bits say; the same for all. 0, -ENOMEM. */
int fsck_inode_mend(struct fsck *f, uint64_t ino);
int fsck_mend_marked(struct fsck *f);

/* xattr.c */
bool fsck_xattr_good(struct fsck *f, uint64_t ino, const struct dinode *d, char *why,
		     size_t why_len);

/* twice.c: blocks with two owners. */
int fsck_twice(struct fsck *f);

/* ---- dirs.c, dirblock.c ------------------------------------------------------------ */

int fsck_dirs(struct fsck *f);
int fsck_remove_entries(struct fsck *f); /* f->removals */
/** fsck_remove_later - note an entry for fsck_remove_entries(). 0 or -ENOMEM. */
int fsck_remove_later(struct fsck *f, uint64_t dir, uint64_t pos, uint64_t ino);
/** fsck_dir_blocks - a directory's blocks in order (struct ext of one block each). */
int fsck_dir_blocks(struct fsck *f, uint64_t ino, const struct dinode *d, struct vec *ret);
/** fsck_dir_index - the index records of all names in a directory, sorted (struct tree_rec). */
int fsck_dir_index(struct fsck *f, uint64_t ino, const struct dinode *d, struct vec *ret);

/* How many names a block can have. */
#define FSCK_DIRBLOCK_NAMES ((BLOCK_BYTES - DIRBLOCK_HEADER_BYTES) / sizeof(struct dirent_disk))

/** Whether @db's header says that it is this block. */
bool fsck_dirblock_is(const struct dirblock *db, uint64_t ino, uint32_t generation, uint64_t lblk);
bool fsck_dirblock_sealed(const struct dirblock *db);

enum dirblock_state {
	DIRBLOCK_GOOD,
	DIRBLOCK_COUNTERS, /* only its counters were wrong */
	DIRBLOCK_MENDED,   /* what could be made out of it was kept */
	DIRBLOCK_LOST,	   /* it is something else */
};
/** fsck_dirblock_audit - put a copy of a block right. Reports what was wrong unless @quiet. */
enum dirblock_state fsck_dirblock_audit(struct fsck *f, uint64_t ino, uint32_t generation,
					uint64_t lblk, uint64_t pblk, struct dirblock *db,
					bool quiet);
/** fsck_dirblock_next - the next name in a good block; *@off is 0 at first. NULL: no more. */
struct dirent_disk *fsck_dirblock_next(struct dirblock *db, uint32_t *off);
/** fsck_dirblock_relay - lay out and seal a block anew with the names that begin at @offs. */
void fsck_dirblock_relay(struct dirblock *db, const uint16_t *offs, unsigned n);
/** fsck_dirblock_new - an empty block. fsck_dirblock_add - enter a name; false: no room. */
void fsck_dirblock_new(struct dirblock *db, uint64_t ino, uint32_t generation, uint64_t lblk);
bool fsck_dirblock_add(struct fsck *f, struct dirblock *db, const char *name, uint64_t ino,
		       uint8_t type);

/* ---- names.c, lost.c --------------------------------------------------------------- */

int fsck_names(struct fsck *f);
int fsck_root(struct fsck *f);
int fsck_lost(struct fsck *f); /* give f->orphans names in lost+found */

/* ---- reading --------------------------------------------------------------------------------- */

static inline const void *fsck_block(const struct fsck *f, uint64_t blk)
{
	return region_ptr(f->region, blk << BLOCK_SHIFT, BLOCK_BYTES);
}

static inline bool fsck_readable(const struct fsck *f, uint64_t blk)
{
	return region_check(f->region, blk << BLOCK_SHIFT, BLOCK_BYTES) == 0;
}

static inline bool fsck_zero(const void *p, size_t len)
{
	const unsigned char *b = p;

	return !len || (!b[0] && !memcmp(b, b + 1, len - 1));
}

#endif
