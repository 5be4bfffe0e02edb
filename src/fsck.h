/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fsck.h - checking a volume and mending it, for fsck.udaxfs and for tests in process.
 *
 * The checker shares with the core what defines the format (format.h, the checksum, the hash of
 * names), the region, and the replay of the journal. It reads everything else by itself: a mistake
 * in the core's reading code is not repeated here.
 *
 * One call checks everything, in rounds. A round walks the whole volume:
 *
 *	super	   the superblock and its copy; then the journal's lanes, which are replayed
 *	inodes	   the inode file, each dinode, each tree: who owns which block
 *	dirs	   directory blocks, entries, indexes
 *	names	   what is reached from the root, link counts, pending inodes
 *	space	   space maps against the owners that were found
 *
 * When it mends, a stage that has changed something ends its round and the next one begins from
 * the start; so each stage may rely on those before it, and whatever a repair has broken in passing
 * is found. The last round changes nothing: its findings are what is left.
 *
 * Memory: two bits for each block of the volume, and 17 bytes for each inode that has a
 * place in the inode file, used or not. The largest directory costs 8 bytes for each of its blocks
 * more, and while its index is rebuilt 16 bytes for each name.
 *
 * Repairs are crash-safe: what is changed in place goes through lane 0 of the journal, new
 * structures are durable before anything refers to them. After a crash, check again.
 */
#ifndef UDAX_FSCK_H
#define UDAX_FSCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct region;

/*
 * Every kind of finding: its name, which does not change between versions, and its class.
 *   NOTE     no damage: what any mount would put right by itself
 *   SAFE     damage that can be mended without a loss and without a doubt (-p does it)
 *   DAMAGE   damage whose repair may lose something (-y does it)
 * docs/FSCK.md explains each.
 */
#define FSCK_CODES(X)                                                                              \
	X(NOT_CLEAN, "not-clean", NOTE)                                                            \
	X(REPLAY, "journal-replay", NOTE)                                                          \
	X(SUPER_STALE, "super-copy-stale", NOTE)                                                   \
	X(PENDING, "needs-recovery", NOTE)                                                         \
	X(ERROR_FLAG, "error-flag", NOTE)                                                          \
	X(QUARANTINE, "quarantined-blocks", NOTE)                                                  \
	X(SUPER, "super-damaged", SAFE)                                                            \
	X(SUPER_COPY, "super-copy-damaged", SAFE)                                                  \
	X(SUPER_DIFFERS, "super-copy-differs", DAMAGE)                                             \
	X(SUPER_FIELD, "super-field", DAMAGE)                                                      \
	X(LANE, "lane-damaged", DAMAGE)                                                            \
	X(PADDING, "padding-not-zero", DAMAGE)                                                     \
	X(INODE_FILE, "inode-file-damaged", DAMAGE)                                                \
	X(INODE_MAP, "inode-map-damaged", DAMAGE)                                                  \
	X(INODE_MAP_BIT, "inode-map-wrong", DAMAGE)                                                \
	X(PENDING_BIT, "pending-bit-wrong", DAMAGE)                                                \
	X(DINODE_CSUM, "dinode-checksum", DAMAGE)                                                  \
	X(DINODE, "dinode-damaged", DAMAGE)                                                        \
	X(DINODE_FREE, "free-dinode-damaged", DAMAGE)                                              \
	X(DINODE_FIELD, "dinode-field", DAMAGE)                                                    \
	X(PENDING_FIELD, "pending-record", DAMAGE)                                                 \
	X(SIZE, "inode-size", DAMAGE)                                                              \
	X(NBLOCKS, "inode-blocks", SAFE)                                                           \
	X(FORK, "fork-damaged", DAMAGE)                                                            \
	X(NODE, "tree-node-damaged", DAMAGE)                                                       \
	X(EXTENT, "extent-damaged", DAMAGE)                                                        \
	X(TWICE, "doubly-owned-block", DAMAGE)                                                     \
	X(SYMLINK, "symlink-damaged", DAMAGE)                                                      \
	X(XATTR, "xattr-damaged", DAMAGE)                                                          \
	X(DIR_BLOCK, "directory-block-damaged", DAMAGE)                                            \
	X(DIR_ENTRY, "directory-entry-damaged", DAMAGE)                                            \
	X(DIR_COUNTERS, "directory-block-counters", SAFE)                                          \
	X(DIR_NENTRIES, "directory-entry-count", SAFE)                                             \
	X(DANGLING, "dangling-entry", DAMAGE)                                                      \
	X(ENTRY_TYPE, "entry-type-wrong", DAMAGE)                                                  \
	X(DUPLICATE_NAME, "duplicate-name", DAMAGE)                                                \
	X(INDEX_MISSING, "index-missing-entry", DAMAGE)                                            \
	X(INDEX_STRAY, "index-stray-record", DAMAGE)                                               \
	X(ROOT, "root-missing", DAMAGE)                                                            \
	X(LINKED_TWICE, "directory-linked-twice", DAMAGE)                                          \
	X(PARENT, "parent-wrong", DAMAGE)                                                          \
	X(DISCONNECTED, "disconnected-directory", DAMAGE)                                          \
	X(ORPHAN, "orphan-inode", DAMAGE)                                                          \
	X(LINKS, "wrong-link-count", SAFE)                                                         \
	X(SPACE_MAP, "space-map-damaged", DAMAGE)                                                  \
	X(LEAKED, "leaked-block", SAFE)                                                            \
	X(NOT_MARKED, "owned-block-free", DAMAGE)                                                  \
	X(QUARANTINE_BIT, "quarantine-wrong", DAMAGE)                                              \
	X(MAP_TAIL, "map-tail", DAMAGE)                                                            \
	X(MEDIA, "media-error", DAMAGE)                                                            \
	X(NOT_MENDED, "repair-failed", DAMAGE)

enum fsck_code {
#define FSCK_CODE_ENUM(id, name, class) FSCK_##id,
	FSCK_CODES(FSCK_CODE_ENUM)
#undef FSCK_CODE_ENUM
		FSCK_NR_CODES
};

enum fsck_class { FSCK_CLASS_NOTE, FSCK_CLASS_SAFE, FSCK_CLASS_DAMAGE };

/** fsck_code_name, fsck_code_class - of a kind of finding. */
const char *fsck_code_name(enum fsck_code code);
enum fsck_class fsck_code_class(enum fsck_code code);

#define FSCK_NOWHERE UINT64_MAX

struct fsck_problem {
	enum fsck_code code;
	uint64_t ino;	/* the inode concerned; FSCK_NOWHERE: none */
	uint64_t blk;	/* the first block of the region concerned; FSCK_NOWHERE: none */
	bool repaired;	/* it is being mended; false in a check, or when mending did not help */
	char text[320]; /* one sentence */
};

enum fsck_repair {
	FSCK_REPAIR_NONE, /* the region is not written to, not even for a replay */
	FSCK_REPAIR_SAFE, /* replay, and mend if all that is found is SAFE; else change no more */
	FSCK_REPAIR_ALL,
};

enum fsck_pending {
	FSCK_PENDING_NOTE,    /* a pending inode waits for recovery: a note */
	FSCK_PENDING_ORPHANS, /* the volume has recovered: inodes without a name are in use, the
				 rest of what is pending is damage */
	FSCK_PENDING_NONE, /* it has recovered and nobody uses it: all that is pending is damage */
};

struct fsck_options {
	enum fsck_repair repair;
	enum fsck_pending pending;
	bool mounted;	   /* this process has it mounted (and idle): it need not be marked clean */
	uint32_t uid, gid; /* who owns a root directory that has to be made anew */

	/* Called for each finding, at once. NULL: they are only counted. */
	void (*problem)(void *ctx, const struct fsck_problem *problem);
	/* Called now and then: @stage is a word; @done of @total steps of it. NULL: not wanted. */
	void (*progress)(void *ctx, const char *stage, uint64_t done, uint64_t total);
	/* The region that is loaded from now on: what a SIGBUS handler has to know. May be NULL. */
	void (*uses)(void *ctx, struct region *region);
	void *ctx;
};

struct fsck_report {
	uint64_t notes;			 /* findings that are no damage */
	uint64_t problems;		 /* all others, in all rounds, each counted once */
	uint64_t left;			 /* of those, still there */
	uint64_t left_unsafe;		 /* of those, not SAFE */
	uint64_t by_code[FSCK_NR_CODES]; /* in all rounds, each counted once */
	unsigned rounds;
	bool stored; /* the region was written to */

	/* What is there, as the last round saw it. */
	uint64_t blocks, blocks_owned, blocks_quarantined;
	uint64_t inodes, files, directories, pending;
	char message[320]; /* one sentence, when the call fails */
};

/**
 * fsck_check - check the volume on @region, and mend it as @opt->repair says.
 *
 * With FSCK_REPAIR_NONE a volume with transactions to replay is checked as it would be after the
 * replay, which happens in private memory (DAX regions: 2 MiB for each piece that changes).
 *
 * Returns 0 when the check went to its end: what it found is in *@ret, which is always filled.
 * Else one sentence is in @ret->message: -EINVAL: there is no udaxfs. -ENOTSUP: a version or
 * feature that this program does not know. -EUCLEAN: both superblocks are lost, or the region was
 * cut off, and nothing can be said. -EIO: a fixed block cannot be read. -ENOMEM.
 *
 * The caller holds the region's lock for writing when it mends. Not thread-safe for one region.
 */
int fsck_check(struct region *region, const struct fsck_options *opt, struct fsck_report *ret);

/** fsck_says_clean - a sound superblock says that it was unmounted and met no damage. */
bool fsck_says_clean(struct region *region);

/**
 * fsck_recover - let the core finish what is pending: mount and unmount. 0, or as volume_mount()
 * with one sentence in @err.
 */
int fsck_recover(struct region *region, char *err, size_t err_len);

/**
 * fsck_overlay_new - a region that shows @base and keeps what is stored to it in private memory.
 * Freed by region_close(), before @base. NULL without memory.
 */
struct region *fsck_overlay_new(struct region *base);

#endif
