/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * volume.h - a mounted filesystem: what everything in the core hangs off. There is no other
 * global state, so several volumes, or several runs of one, live side by side.
 *
 * super.c implements formatting, mounting (with recovery), unmounting, growing.
 */
#ifndef UDAX_VOLUME_H
#define UDAX_VOLUME_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "format.h"
#include "sync.h"

struct alloc;
struct holder_ops;
struct icache;
struct itable;
struct journal;
struct mem;
struct region;
struct udax_policy;
struct verified;

/* Counted since mount, shown by `udaxctl stat`. */
struct volume_stat {
	atomic_ullong tx_commits, tx_aborts, tx_log_bytes;
	atomic_ullong blocks_allocated, blocks_freed, blocks_zeroed;
	atomic_ullong fills, reads, writes, writebacks, writebacks_discarded;
	atomic_ullong layout_changes, gate_rounds, gate_gave_up, parked;
	atomic_ullong faults, recalls, recalls_late;
	atomic_ullong errors; /* damage met on the medium */
};

struct volume {
	struct region *region;
	struct sync *sync;
	struct mem *mem;
	const struct udax_policy *policy;
	const struct holder_ops *holder_ops; /* how to reach the kernel's page cache and clients */
	void *holder_ctx;

	/* From the superblock, in host order. nblocks and ngroups change only in volume_grow(). */
	atomic_ullong nblocks;
	atomic_uint ngroups;
	uint64_t first_data_blk; /* behind the journal */
	uint32_t granule_blocks;
	uint32_t reserve_blocks;
	uint64_t hash_seed;
	uint8_t uuid[16];
	char label[64];

	uint64_t recall_timeout_ns; /* how long a client has to answer a recall */
	atomic_uint nlate;	    /* recalls not answered in time: quarantine does not end */
	atomic_llong nquarantined;  /* blocks; counted when the transaction is over (alloc.c) */
	atomic_bool orphans;	    /* clients of an earlier daemon may map anything (grant.h) */

	bool read_only;
	atomic_bool shut_down; /* every operation gives EIO, as if power had gone */

	struct journal *journal;
	struct alloc *alloc;
	struct icache *icache;
	struct itable *itable;
	struct verified *verified; /* which metadata blocks were checked since mount */
	void (*log)(void *ctx, const char *line);
	void *log_ctx;
	struct sync_mutex rename; /* LOCK_RENAME: directories move only under it */
	struct volume_stat stat;
};

struct volume_env {
	struct sync *sync;
	struct mem *mem;
	const struct udax_policy *policy;    /* NULL: the shipped one */
	const struct holder_ops *holder_ops; /* NULL: nobody but the core touches files */
	void *holder_ctx;
	uint64_t recall_timeout_ns; /* 0: a second */
	bool read_only;
	void (*log)(void *ctx, const char *line); /* damage met, recovery done; NULL: silent */
	void *log_ctx;
};

struct format_options {
	uint8_t uuid[16]; /* all zero: made from sync_random() */
	const char *label;
	uint32_t lane_blocks, nlanes; /* 0: chosen by size */
	uint32_t root_uid, root_gid;  /* who owns the root directory */
};

/*
 * volume_format - write an empty filesystem over the whole of @region.
 *
 * The superblock goes first and comes last: a crash leaves no filesystem, or the new one.
 * Returns 0, -EINVAL when the region is too small or the label too long, -EIO when it cannot be
 * written, -ENOMEM.
 */
int volume_format(struct region *region, struct sync *sync, struct mem *mem,
		  const struct format_options *options);

#define FEATURES_LEN 1280

/**
 * features_text - feature flags by their names: the first letter of their set and the number of their bit,
 * as in "ro_compat R3, incompat I40 I41". "none" if there are none. Returns @buf.
 */
const char *features_text(uint64_t compat, uint64_t ro_compat, uint64_t incompat,
			  char buf[FEATURES_LEN]);

/** features_unknown - those of @s that this program does not know and that matter; NULL if it knows all. */
const char *features_unknown(const struct super *s, char buf[FEATURES_LEN]);

/**
 * volume_is_for_reading - does the volume on @region use features with which this program must not
 * write to it, but may read it? Their names go to @names. False as well when there is no volume, or one
 * that volume_mount() refuses: that one says why.
 */
bool volume_is_for_reading(struct region *region, char names[FEATURES_LEN]);

/**
 * volume_mount - recover and open the filesystem on @region, which stays the caller's.
 *
 * Recovery replays committed transactions and finishes what was pending; it is idempotent. On a
 * read-only mount of a region that needs recovery, nothing can be replayed and -EROFS results.
 *
 * Returns 0 and sets *@ret_vol, to be closed by volume_unmount(). On failure one sentence that
 * says what is wrong goes to @err. -EINVAL: no udaxfs here. -EUCLEAN: damaged. -ENOTSUP: a
 * feature or version that this program does not know. -EROFS. -EIO. -ENOMEM.
 */
int volume_mount(struct region *region, const struct volume_env *env, struct volume **ret_vol,
		 char *err, size_t err_len);

/**
 * volume_unmount - close @vol and free its memory. No operation may be under way. The volume is
 * marked clean unless it was shut down or read-only. Inodes still referenced are dropped; those
 * without a name are reclaimed at the next mount.
 */
void volume_unmount(struct volume *vol);

/**
 * volume_abandon - as volume_unmount(), writing nothing: what kill -9 leaves.
 */
void volume_abandon(struct volume *vol);

/**
 * volume_grow - use what the region has grown to (region_grow() first). Returns 0 and the new
 * size in *@ret_blocks; -EROFS, -EIO, -ENOMEM.
 */
int volume_grow(struct volume *vol, uint64_t *ret_blocks);

/**
 * volume_orphans_gone - look again whether clients of an earlier daemon live; if not, their quarantine
 * ends. To be called now and then while vol->orphans is set, by a thread that holds nothing. 0, -EIO.
 */
int volume_orphans_gone(struct volume *vol);

/** volume_shutdown - from now on every operation gives -EIO and nothing is written. */
void volume_shutdown(struct volume *vol);

/** volume_usable - 0, -EIO after a shutdown, or -EROFS for @write on a read-only volume. */
int volume_usable(const struct volume *vol, bool write);

/**
 * volume_damaged - record that metadata at @off failed its check; returns -EIO (for
 * `return volume_damaged(...)`). @what is a short phrase, such as "dinode checksum". The first
 * few go to the log, and the superblock asks for a full check at the next unmount.
 */
int volume_damaged(struct volume *vol, uint64_t off, const char *what);

/* Layout of a volume of @nblocks blocks. */
static inline uint32_t volume_groups(uint64_t nblocks)
{
	return (uint32_t)((nblocks + MAP_BITS - 1) / MAP_BITS);
}

/** space_map_blk - where the space map of group @g stands. */
static inline uint64_t space_map_blk(uint32_t g)
{
	return g ? (uint64_t)g * MAP_BITS : 1;
}

/**
 * volume_owns_data - whether [@blk, @blk + @count) can belong to a file: inside the volume, behind
 * the journal, and without a map in it. What a pointer on the medium must pass before use.
 */
static inline bool volume_owns_data(const struct volume *vol, uint64_t blk, uint64_t count)
{
	uint64_t nblocks = atomic_load_explicit(&vol->nblocks, memory_order_relaxed);

	return count && blk >= vol->first_data_blk && blk < nblocks && count <= nblocks - blk &&
	       blk % MAP_BITS && blk % MAP_BITS + count <= MAP_BITS;
}

/** super_check - whether @s is a superblock with a right checksum; 0, -EINVAL or -EUCLEAN. */
int super_check(const struct super *s);

#endif
