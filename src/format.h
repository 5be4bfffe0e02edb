/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * format.h - every byte on the medium. docs/FORMAT.md says what each field means and changes in
 * the same commit.
 *
 * All integers are little-endian and of fixed width. Everything but file data and journal
 * records carries a CRC32C (Castagnoli, as in iSCSI, RFC 3720 appendix B.4) over the whole
 * structure with the checksum field taken as zero. Nothing read from the medium is used before
 * it was checked.
 *
 *	block 0			superblock
 *	block 1			space map of group 0
 *	block 2			copy of the superblock
 *	block 3			special inodes (the inode file)
 *	block 4...		journal: nlanes lanes of lane_blocks blocks
 *	...			data, inode blocks, trees, directories: wherever the allocator put them
 *	block g * 15872		(g > 0) space map of group g
 */
#ifndef UDAX_FORMAT_H
#define UDAX_FORMAT_H

#include <assert.h>
#include <endian.h>
#include <stdint.h>

#define BLOCK_BYTES 4096u
#define BLOCK_SHIFT 12
#define HUGE_BLOCKS 512u /* blocks of 2 MiB: what a huge mapping covers */
#define MIN_VOLUME_BYTES (256u << 10)
#define MAX_VOLUME_BLOCKS (UINT64_C(1) << 36) /* 256 TiB */
#define MAX_FILE_BLOCKS (UINT64_C(1) << 32)   /* 16 TiB */
#define MAX_FILE_BYTES (MAX_FILE_BLOCKS << BLOCK_SHIFT)
#define MAX_NAME_BYTES 255u
#define MAX_SYMLINK_BYTES 4095u
#define MAX_LINKS 2000000000u
#define MAX_XATTR_VALUE_BYTES 65536u
#define MAX_XATTR_BLOB_BYTES (1u << 20)

typedef uint16_t le16;
typedef uint32_t le32;
typedef uint64_t le64;

/* Magic numbers, one for each kind of structure, so that a stray pointer is recognised. */
#define SUPER_MAGIC UINT64_C(0x0153465841445500) /* "\0UDAXFS\1" */
#define MAP_MAGIC 0x504d4455u			 /* "UDMP" */
#define DINODE_MAGIC 0x4e494455u		 /* "UDIN" */
#define NODE_MAGIC 0x4e544455u			 /* "UDTN" */
#define DIRBLOCK_MAGIC 0x42444455u		 /* "UDDB" */
#define LANE_MAGIC 0x4e4c4455u			 /* "UDLN" */
#define XATTR_MAGIC 0x54584455u			 /* "UDXT" */

/* ---- superblock -------------------------------------------------------------------------- */

#define SUPER_BLK 0u
#define SUPER_COPY_BLK 2u
#define SPECIAL_BLK 3u
#define JOURNAL_BLK 4u

#define FORMAT_VERSION 1u

/* Unknown compat: ignored. Unknown ro_compat: mounted read-only. Unknown incompat: refused. */
#define FEATURE_COMPAT_KNOWN UINT64_C(0)
#define FEATURE_RO_COMPAT_KNOWN UINT64_C(0)
#define FEATURE_INCOMPAT_KNOWN UINT64_C(0)

#define SUPER_CLEAN 1u /* state: was unmounted, or never mounted */
#define SUPER_DIRTY 2u /* state: is mounted, or was not unmounted */
#define SUPER_ERROR 4u /* state flag: damage was met; a full check is due */

struct super {
	le64 magic;
	le32 csum;
	le32 version;
	le64 compat, ro_compat, incompat;
	uint8_t uuid[16];
	char label[64]; /* NUL-terminated */
	le64 nblocks;
	le32 granule_bytes;
	le32 nlanes;
	le32 lane_blocks;
	le32 reserve_blocks; /* kept for operations that free space */
	uint8_t hash_seed[8];
	le64 created_ns; /* since the epoch */
	le32 state;
	le32 mount_count;
	le64 mounted_ns; /* when last mounted */
	uint8_t unused[3920];
};
static_assert(sizeof(struct super) == BLOCK_BYTES, "a superblock is one block");

/* ---- maps: which blocks of a group, or which inodes of a chunk, are taken ------------------- */

/*
 * One block, two planes of bits. Space map of group g: bit i is block g * MAP_BITS + i; plane 0
 * is "used", plane 1 "quarantined": freed, but a client that has not answered may map it. Inode
 * map of chunk c: bit i is inode c * MAP_BITS + i; plane 0 is "used", plane 1 "pending": an
 * operation on it has to be finished by recovery, or it has no name and waits for its last user.
 *
 * Bits of blocks behind the end of the volume, and of inodes behind the end of the inode file, are
 * zero and mean nothing: so a volume grows by its superblock alone.
 */
#define MAP_BITS 15872u /* 31 granules of 2 MiB */
#define MAP_BYTES (MAP_BITS / 8)
#define MAP_PLANES 2

#define PLANE_USED 0u
#define PLANE_QUARANTINED 1u
#define PLANE_PENDING 1u

enum map_kind { MAP_SPACE = 1, MAP_INODES = 2 };

struct map_block {
	le32 magic;
	le32 csum;
	le32 kind; /* enum map_kind */
	le32 unused0;
	le64 index; /* g or c */
	uint8_t unused[104];
	le64 bits[MAP_PLANES][MAP_BYTES / 8];
};
static_assert(sizeof(struct map_block) == BLOCK_BYTES, "a map is one block");

/* ---- journal ----------------------------------------------------------------------------- */

/*
 * A lane holds one transaction at a time: a header, then records, each 8-byte aligned. The
 * transaction is committed when the header with its checksum, and all records, are durable; it
 * is retired when `bytes` is zero. Recovery applies committed lanes in order of `seq`.
 */
struct lane_header {
	le32 magic;
	le32 csum;  /* over the first 64 + bytes bytes, this field taken as zero */
	le64 bytes; /* of records; 0: nothing to do */
	le64 seq;
	uint8_t unused[40];
};
static_assert(sizeof(struct lane_header) == 64, "a lane header is one cache line");

enum log_kind {
	LOG_LINES = 1, /* cache lines to copy to their place */
	LOG_BITS = 2,  /* bits of a map to set or clear */
};

/* Followed by 64 bytes for each bit in mask: bit i is the line at off + 64 * i. */
struct log_lines {
	le32 kind; /* LOG_LINES */
	le32 unused;
	le64 off; /* in the region, a multiple of 64 */
	le64 mask;
};
static_assert(sizeof(struct log_lines) == 24, "size on the medium");

struct log_bits {
	le32 kind; /* LOG_BITS */
	uint8_t plane;
	uint8_t set; /* 1: set, 0: clear */
	le16 unused;
	le64 blk; /* the map block */
	le32 first, count;
};
static_assert(sizeof(struct log_bits) == 24, "size on the medium");

/* ---- trees ------------------------------------------------------------------------------- */

/*
 * One kind of B+tree serves extent maps and directory indexes: records of 16 bytes sorted by key.
 * The root is an array of records in the dinode ("fork"); at level 0 they are the contents, at
 * level n their values are blocks of level n - 1. Below record i of an inner node (or fork) stand
 * keys from its own key on, all smaller than that of record i + 1. The key of record 0 is always 0:
 * its child is bounded by what bounds the node.
 *
 * Extent: key = first file block; value = EXTENT_PACK(pblk, count, unwritten).
 * Directory index: key = hash << 32 | position; value = 0.
 */
struct tree_rec {
	le64 key;
	le64 val;
};
static_assert(sizeof(struct tree_rec) == 16, "size on the medium");

struct tree_node {
	le32 magic;
	le32 csum;
	le64 blk;	 /* this block */
	le64 owner;	 /* inode number */
	le32 generation; /* of the owner */
	le16 level;	 /* 0: leaf */
	le16 nrecs;
	uint8_t fork; /* enum fork_id */
	uint8_t unused[31];
	struct tree_rec recs[252];
};
static_assert(sizeof(struct tree_node) == BLOCK_BYTES, "a node is one block");
#define NODE_RECS 252u
#define TREE_MAX_LEVEL 6u

#define EXTENT_MAX_COUNT ((1u << 23) - 1)
#define EXTENT_PACK(pblk, count, unwritten)                                                        \
	((uint64_t)(pblk) << 24 | (uint64_t)(count) << 1 | ((unwritten) ? 1u : 0u))
#define EXTENT_PBLK(val) ((val) >> 24)
#define EXTENT_COUNT(val) ((uint32_t)((val) >> 1) & EXTENT_MAX_COUNT)
#define EXTENT_UNWRITTEN(val) ((val)&1)

/* ---- inodes ------------------------------------------------------------------------------ */

/*
 * Inodes live in the inode file, whose own dinode stands in block SPECIAL_BLK. Its block
 * c * INODE_CHUNK_BLOCKS is the inode map of chunk c, followed by the chunk's dinodes, eight to a
 * block. Inode 0 is the inode file itself, 1 the root directory.
 */
#define DINODE_BYTES 512u
#define DINODES_PER_BLOCK (BLOCK_BYTES / DINODE_BYTES)
#define INODE_CHUNK_BLOCKS (1 + MAP_BITS / DINODES_PER_BLOCK)
#define INODE_FILE_INO 0u
#define ROOT_INO 1u
#define MAX_INO (UINT64_C(1) << 34)

enum fork_id { FORK_DATA = 0, FORK_INDEX = 1, FORK_ATTR = 2 };
#define FORK_DATA_RECS 8u
#define FORK_INDEX_RECS 4u
#define FORK_ATTR_RECS 4u

struct fork_header {
	le16 level;
	le16 nrecs;
	uint8_t unused[12];
};
static_assert(sizeof(struct fork_header) == 16, "size on the medium");

/* An operation that takes several transactions says here what is left of it. */
enum pending_kind {
	PENDING_NONE = 0,
	PENDING_TRUNCATE = 1, /* free all blocks from pos on */
	PENDING_PUNCH = 2,    /* free the blocks of [pos, pos + len) */
	PENDING_UNWRITE = 3,  /* make the blocks of [pos, pos + len) unwritten (zero range) */
	PENDING_COLLAPSE = 4, /* move everything from cursor on down by len, to cursor - len */
	PENDING_INSERT = 5,   /* move everything in [pos, cursor) up by len */
	PENDING_EXCHANGE = 6, /* swap [cursor, pos + len) with the partner's range; `flags` has the
				 partner's generation */
};

struct dpending {
	le32 kind; /* enum pending_kind */
	le32 flags;
	le64 pos, len; /* in blocks */
	le64 cursor;   /* in blocks */
	le64 partner_ino;
	le64 partner_pos; /* in blocks */
};
static_assert(sizeof(struct dpending) == 48, "size on the medium");

#define DINODE_IMMUTABLE 0x1u
#define DINODE_APPEND 0x2u
#define DINODE_NODUMP 0x4u
#define DINODE_NOATIME 0x8u
#define DINODE_SYNC 0x10u
#define DINODE_INLINE_LINK 0x10000u /* a symlink's target stands in `link` */

struct dinode {
	le32 magic;
	le32 csum;
	le64 ino;
	le32 generation; /* rises when the inode is freed */
	le32 mode;	 /* S_IFMT and permissions; 0: free */
	le32 uid, gid;
	le32 nlink;
	le32 flags;
	le64 size;			 /* bytes; of a directory: bytes of its data blocks */
	le64 nblocks;			 /* blocks of data, trees and attributes */
	le64 atime, mtime, ctime, btime; /* seconds since the epoch, signed */
	le32 atime_ns, mtime_ns, ctime_ns, btime_ns;
	le32 rdev_major, rdev_minor;
	le32 projid;
	le32 xattr_bytes; /* of the attribute blob; 0: no attributes */
	le64 parent;	  /* of a directory: the inode of ".." */
	struct dpending pending;
	union {
		struct {
			struct fork_header data;
			struct tree_rec data_recs[FORK_DATA_RECS];
			struct fork_header index;
			struct tree_rec index_recs[FORK_INDEX_RECS];
		};
		char link[224];
	};
	struct fork_header attr;
	struct tree_rec attr_recs[FORK_ATTR_RECS];
	le64 nentries; /* of a directory: names in it */
	uint8_t unused[24];
};
static_assert(sizeof(struct dinode) == DINODE_BYTES, "eight dinodes to a block");
#define INLINE_LINK_BYTES 224u

/* ---- directories ------------------------------------------------------------------------- */

/*
 * Names stand in data blocks and never move; the tree of the index fork finds them by hash. The
 * position of an entry is its offset in the directory divided by 8: also readdir's cookie.
 * Entries fill the block without a gap; ino 0 is free space. Of two neighbours that are free,
 * the first swallows the second.
 */
struct dirblock {
	le32 magic;
	le32 csum;
	le64 owner; /* inode number of the directory */
	le32 generation;
	le32 lblk;
	le16 nentries;
	le16 max_free; /* bytes of the largest free entry */
	uint8_t unused[36];
	uint8_t entries[BLOCK_BYTES - 64];
};
static_assert(sizeof(struct dirblock) == BLOCK_BYTES, "one block");
#define DIRBLOCK_HEADER_BYTES 64u

struct dirent_disk {
	le64 ino;   /* 0: free */
	le16 bytes; /* of this entry, a multiple of 8, at least 16 */
	uint8_t name_bytes;
	uint8_t type; /* DT_* of dirent.h */
	le32 hash;
	char name[]; /* not NUL-terminated */
};
static_assert(sizeof(struct dirent_disk) == 16, "size on the medium");

#define DIRENT_BYTES(name_bytes) ((16u + (name_bytes) + 7u) & ~7u)
#define MAX_DIR_BLOCKS (UINT64_C(1) << 22) /* 16 GiB of names: positions fit in 31 bits */

/* ---- extended attributes ----------------------------------------------------------------- */

/*
 * All attributes of an inode in one blob, rewritten in new blocks at each change: a header, then
 * entries, each 8-byte aligned, in no order.
 */
struct xattr_header {
	le32 magic;
	le32 csum; /* over all xattr_bytes of the dinode */
	le64 owner;
	le32 nentries;
	le32 unused;
};
static_assert(sizeof(struct xattr_header) == 24, "size on the medium");

struct xattr_entry {
	le32 value_bytes;
	le16 name_bytes; /* with the namespace prefix, without NUL */
	le16 unused;
	char name[]; /* then the value, then zeroes up to a multiple of 8 */
};
static_assert(sizeof(struct xattr_entry) == 8, "size on the medium");
#define XATTR_ENTRY_BYTES(name_bytes, value_bytes)                                                 \
	((8u + (uint32_t)(name_bytes) + (uint32_t)(value_bytes) + 7u) & ~7u)

/* ---- access to little-endian fields ------------------------------------------------------- */

#define from_le16(x) le16toh(x)
#define from_le32(x) le32toh(x)
#define from_le64(x) le64toh(x)
#define to_le16(x) htole16(x)
#define to_le32(x) htole32(x)
#define to_le64(x) htole64(x)

#endif
