/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * super.c - formatting, mounting, unmounting and growing a volume.
 *
 * The superblock has a copy. It is written rarely (format, mount, unmount, grow), the first one
 * durably before the second, so at any moment one of the two is whole. Whoever finds the first
 * damaged uses the second and writes both.
 *
 * Mounting: superblock, then the journal's lanes, then the maps, then whatever was pending. After
 * a clean unmount the last three find nothing to do. Nothing here looks at every inode.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "crc.h"
#include "icache.h"
#include "inode.h"
#include "itable.h"
#include "journal.h"
#include "map.h"
#include "mem.h"
#include "region.h"
#include "udax/policy.h"
#include "verified.h"
#include "volume.h"

#define RECALL_TIMEOUT_NS UINT64_C(1000000000) /* unless the mount says otherwise */

#define TINY_BLOCKS 1024u   /* below 4 MiB everything is small */
#define SMALL_BLOCKS 16384u /* below 64 MiB */

/* ---- the superblock ----------------------------------------------------------------------------- */

static const struct super *super_at(const struct region *region, uint64_t blk)
{
	return region_ptr(region, blk << BLOCK_SHIFT, sizeof(struct super));
}

int super_check(const struct super *s)
{
	if (from_le64(s->magic) != SUPER_MAGIC)
		return -EINVAL;
	if (from_le32(s->csum) != crc32c_skip(s, sizeof(*s), offsetof(struct super, csum)))
		return -EUCLEAN;
	return 0;
}

/* Both copies, each durable before the next is touched. */
static void super_write(struct region *region, struct super *s)
{
	s->csum = to_le32(crc32c_skip(s, sizeof(*s), offsetof(struct super, csum)));
	region_store(region, (uint64_t)SUPER_BLK << BLOCK_SHIFT, s, sizeof(*s), HERE);
	region_drain(region, HERE);
	region_store(region, (uint64_t)SUPER_COPY_BLK << BLOCK_SHIFT, s, sizeof(*s), HERE);
	region_drain(region, HERE);
}

/* The good one of the two. */
static int super_read(const struct region *region, struct super *ret)
{
	int err = super_check(super_at(region, SUPER_BLK));

	if (!err) {
		*ret = *super_at(region, SUPER_BLK);
		return 0;
	}
	if (super_check(super_at(region, SUPER_COPY_BLK)))
		return err;
	*ret = *super_at(region, SUPER_COPY_BLK);
	return 0;
}

/* ---- formatting ----------------------------------------------------------------------------------- */

static void choose_lanes(uint64_t nblocks, const struct format_options *options, struct super *s)
{
	uint32_t nlanes = nblocks < TINY_BLOCKS ? 2 : nblocks < SMALL_BLOCKS ? 4 : 16;
	uint32_t lane_blocks = nblocks < TINY_BLOCKS ? 12 : nblocks < SMALL_BLOCKS ? 16 : 32;

	s->nlanes = to_le32(options->nlanes ? options->nlanes : nlanes);
	s->lane_blocks = to_le32(options->lane_blocks ? options->lane_blocks : lane_blocks);
}

static uint32_t reserve_of(uint64_t nblocks)
{
	return nblocks < TINY_BLOCKS ? 4 : nblocks < SMALL_BLOCKS ? 32 : 128;
}

/* A group of which only the map would fit is not worth having. */
static uint64_t usable_blocks(const struct region *region)
{
	uint64_t nblocks = region->bytes >> BLOCK_SHIFT;

	if (nblocks > MAX_VOLUME_BLOCKS)
		nblocks = MAX_VOLUME_BLOCKS;
	return nblocks % MAP_BITS == 1 ? nblocks - 1 : nblocks;
}

static void write_space_map(struct region *region, uint32_t g, uint64_t used)
{
	struct map_block mb;

	map_format(&mb, MAP_SPACE, g);
	for (uint64_t bit = 0; bit < used; bit++)
		mb.bits[PLANE_USED][bit / 64] |= to_le64(UINT64_C(1) << bit % 64);
	map_seal(&mb);
	region_store(region, space_map_blk(g) << BLOCK_SHIFT, &mb, sizeof(mb), HERE);
}

static int fill_super(struct region *region, struct sync *sync,
		      const struct format_options *options, struct super *s)
{
	static const uint8_t zero[16];
	struct timespec now = sync_realtime(sync);
	uint64_t nblocks = usable_blocks(region);

	memset(s, 0, sizeof(*s));
	if (options->label && strlen(options->label) >= sizeof(s->label))
		return -EINVAL;
	if (options->label)
		memcpy(s->label, options->label, strlen(options->label));
	s->magic = to_le64(SUPER_MAGIC);
	s->version = to_le32(FORMAT_VERSION);
	memcpy(s->uuid, options->uuid, sizeof(s->uuid));
	if (memcmp(s->uuid, zero, sizeof(zero)) == 0) {
		sync_random(sync, s->uuid, sizeof(s->uuid));
		s->uuid[6] = (s->uuid[6] & 0x0f) | 0x40; /* version 4, RFC 9562 section 5.4 */
		s->uuid[8] = (s->uuid[8] & 0x3f) | 0x80;
	}
	sync_random(sync, s->hash_seed, sizeof(s->hash_seed));
	s->nblocks = to_le64(nblocks);
	s->granule_bytes = to_le32(region->granule_bytes);
	s->reserve_blocks = to_le32(reserve_of(nblocks));
	s->created_ns = to_le64((uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec);
	s->state = to_le32(SUPER_CLEAN);
	choose_lanes(nblocks, options, s);
	return 0;
}

int volume_format(struct region *region, struct sync *sync, struct mem *mem,
		  const struct format_options *options)
{
	uint64_t first, nblocks = usable_blocks(region);
	uint32_t table_blocks = nblocks < TINY_BLOCKS ? 3 : 9;
	uint32_t generation;
	struct super s;
	int err;

	(void)mem;
	if (region->bytes < MIN_VOLUME_BYTES)
		return -EINVAL;
	err = fill_super(region, sync, options, &s);
	if (err)
		return err;
	first = JOURNAL_BLK + (uint64_t)from_le32(s.nlanes) * from_le32(s.lane_blocks);
	if (first + table_blocks + from_le32(s.reserve_blocks) > nblocks ||
	    first + table_blocks > MAP_BITS)
		return -EINVAL;

	/* No filesystem from here on ... */
	region_zero(region, (uint64_t)SUPER_BLK << BLOCK_SHIFT, BLOCK_BYTES, HERE);
	region_zero(region, (uint64_t)SUPER_COPY_BLK << BLOCK_SHIFT, BLOCK_BYTES, HERE);
	region_drain(region, HERE);
	region_zero(region, (uint64_t)JOURNAL_BLK << BLOCK_SHIFT,
		    (first - JOURNAL_BLK) << BLOCK_SHIFT, HERE);
	for (uint32_t g = 0; g < volume_groups(nblocks); g++) {
		write_space_map(region, g, g ? 1 : first + table_blocks);
		/* At once: each page that is refused costs a mapping, of which there are 65,530. */
		if (region_check(region, space_map_blk(g) << BLOCK_SHIFT, BLOCK_BYTES))
			return -EIO;
	}
	sync_random(sync, &generation, sizeof(generation));
	itable_format(region, first, table_blocks, &s, generation, options->root_uid,
		      options->root_gid);
	region_drain(region, HERE);
	/* ... to here, where it comes into being whole. */
	super_write(region, &s);
	return region_check(region, 0, nblocks << BLOCK_SHIFT);
}

/* ---- mounting --------------------------------------------------------------------------------------- */

#define FAIL(err, errno_, ...) (snprintf((err), err_len, __VA_ARGS__), -(errno_))

/* Whether the numbers in a superblock with a right checksum make sense for this region. */
static int super_sane(const struct super *s, const struct region *region, char *err, size_t err_len)
{
	uint64_t nblocks = from_le64(s->nblocks);
	uint64_t nlanes = from_le32(s->nlanes), lane_blocks = from_le32(s->lane_blocks);

	if (nblocks < MIN_VOLUME_BYTES >> BLOCK_SHIFT || nblocks > MAX_VOLUME_BLOCKS)
		return FAIL(err, EUCLEAN, "the superblock claims %llu blocks, which is impossible",
			    (unsigned long long)nblocks);
	if (nblocks > region->bytes >> BLOCK_SHIFT)
		return FAIL(
			err, EUCLEAN,
			"the region has %llu bytes, but the volume in it needs %llu: it was cut off",
			(unsigned long long)region->bytes,
			(unsigned long long)nblocks << BLOCK_SHIFT);
	if (!nlanes || nlanes > 64 || lane_blocks < 2 || lane_blocks > 256 ||
	    JOURNAL_BLK + nlanes * lane_blocks >= nblocks ||
	    JOURNAL_BLK + nlanes * lane_blocks >= MAP_BITS)
		return FAIL(err, EUCLEAN, "the superblock describes an impossible journal");
	if (from_le32(s->reserve_blocks) > nblocks)
		return FAIL(err, EUCLEAN, "the superblock describes an impossible reserve");
	if (from_le32(s->granule_bytes) < BLOCK_BYTES ||
	    from_le32(s->granule_bytes) & (from_le32(s->granule_bytes) - 1))
		return FAIL(err, EUCLEAN, "the superblock describes an impossible granule");
	if (memchr(s->label, 0, sizeof(s->label)) == NULL)
		return FAIL(err, EUCLEAN, "the label in the superblock has no end");
	return 0;
}

static size_t name_bits(const char *set, uint64_t bits, char *buf, size_t len)
{
	size_t at = (size_t)snprintf(buf + len, FEATURES_LEN - len, "%s%s", len ? ", " : "", set);

	at += len;
	for (unsigned bit = 0; bit < 64; bit++)
		if (bits >> bit & 1)
			at += (size_t)snprintf(buf + at, FEATURES_LEN - at, " %c%u",
					       *set - 'a' + 'A', bit);
	return at;
}

const char *features_text(uint64_t compat, uint64_t ro_compat, uint64_t incompat,
			  char buf[FEATURES_LEN])
{
	size_t len = 0;

	snprintf(buf, FEATURES_LEN, "none");
	if (compat)
		len = name_bits("compat", compat, buf, len);
	if (ro_compat)
		len = name_bits("ro_compat", ro_compat, buf, len);
	if (incompat)
		name_bits("incompat", incompat, buf, len);
	return buf;
}

static uint64_t unknown_incompat(const struct super *s)
{
	return from_le64(s->incompat) & ~FEATURE_INCOMPAT_KNOWN;
}

static uint64_t unknown_ro_compat(const struct super *s)
{
	return from_le64(s->ro_compat) & ~FEATURE_RO_COMPAT_KNOWN;
}

const char *features_unknown(const struct super *s, char buf[FEATURES_LEN])
{
	if (!unknown_incompat(s) && !unknown_ro_compat(s))
		return NULL;
	return features_text(0, unknown_ro_compat(s), unknown_incompat(s), buf);
}

bool volume_is_for_reading(struct region *region, char names[FEATURES_LEN])
{
	struct super s;

	if (super_read(region, &s) || from_le32(s.version) != FORMAT_VERSION ||
	    unknown_incompat(&s))
		return false;
	return features_unknown(&s, names) != NULL;
}

static int super_features(const struct super *s, bool *read_only, char *err, size_t err_len)
{
	char names[FEATURES_LEN];

	if (from_le32(s->version) != FORMAT_VERSION)
		return FAIL(err, ENOTSUP,
			    "format version %u is not known here (this program knows %u): "
			    "use a newer udaxfs",
			    from_le32(s->version), FORMAT_VERSION);
	if (unknown_incompat(s))
		return FAIL(err, ENOTSUP,
			    "the volume uses features that are not known here (%s): use a newer "
			    "udaxfs",
			    features_unknown(s, names));
	if (unknown_ro_compat(s) && !*read_only) {
		snprintf(err, err_len,
			 "mounted read-only: the volume uses features that are not known here (%s)",
			 features_unknown(s, names));
		*read_only = true;
	}
	return 0;
}

static int super_load(struct region *region, bool *read_only, struct super *s, char *err,
		      size_t err_len)
{
	int result = super_read(region, s);

	if (result == -EINVAL)
		return FAIL(err, EINVAL, "there is no udaxfs on it: format it with mkfs.udaxfs");
	if (result)
		return FAIL(err, EUCLEAN, "both superblocks are damaged: try fsck.udaxfs -y");
	result = super_features(s, read_only, err, err_len);
	return result ? result : super_sane(s, region, err, err_len);
}

static void volume_log(const struct volume *vol, const char *line)
{
	if (vol->log)
		vol->log(vol->log_ctx, line);
}

static int recover_journal(struct volume *vol, const struct super *s, char *err, size_t err_len)
{
	char line[80];
	int replayed;

	if (journal_is_empty(vol->region, s))
		return 0;
	if (vol->read_only)
		return FAIL(err, EROFS,
			    "it was not unmounted and needs recovery, which writes: "
			    "mount it once without ro");
	replayed = journal_recover(vol->region, s);
	if (replayed == -EUCLEAN)
		return FAIL(err, EUCLEAN, "the journal is damaged: run fsck.udaxfs -y");
	if (replayed < 0)
		return FAIL(err, EIO, "the journal cannot be replayed: I/O error");
	snprintf(line, sizeof(line), "recovery: replayed %d transactions", replayed);
	volume_log(vol, line);
	return 0;
}

static void volume_init(struct volume *vol, struct region *region, const struct volume_env *env,
			const struct super *s)
{
	vol->region = region;
	vol->sync = env->sync;
	vol->mem = env->mem;
	vol->policy = env->policy ? env->policy : &policy_mmaplock;
	vol->holder_ops = env->holder_ops;
	vol->recall_timeout_ns = env->recall_timeout_ns ? env->recall_timeout_ns
							: RECALL_TIMEOUT_NS;
	vol->holder_ctx = env->holder_ctx;
	vol->log = env->log;
	vol->log_ctx = env->log_ctx;
	atomic_store(&vol->nblocks, from_le64(s->nblocks));
	vol->first_data_blk =
		JOURNAL_BLK + (uint64_t)from_le32(s->nlanes) * from_le32(s->lane_blocks);
	vol->granule_blocks = from_le32(s->granule_bytes) >> BLOCK_SHIFT;
	vol->reserve_blocks = from_le32(s->reserve_blocks);
	memcpy(&vol->hash_seed, s->hash_seed, sizeof(vol->hash_seed));
	vol->hash_seed = from_le64(vol->hash_seed);
	memcpy(vol->uuid, s->uuid, sizeof(vol->uuid));
	memcpy(vol->label, s->label, sizeof(vol->label));
	sync_mutex_init(vol->sync, &vol->rename, LOCK_RENAME);
}

static void volume_free(struct volume *vol)
{
	icache_delete(vol);
	itable_delete(vol);
	alloc_delete(vol);
	verified_delete(vol);
	journal_delete(vol);
	sync_mutex_destroy(&vol->rename);
	mem_free(vol->mem, vol);
}

static void mark_mounted(struct volume *vol, struct super *s)
{
	struct timespec now = sync_realtime(vol->sync);

	s->state = to_le32((from_le32(s->state) & SUPER_ERROR) | SUPER_DIRTY);
	s->mount_count = to_le32(from_le32(s->mount_count) + 1);
	s->mounted_ns = to_le64((uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec);
	super_write(vol->region, s);
}

/* End quarantines whose holders are known to be gone. */
static int end_quarantine(struct volume *vol)
{
	if (!region_clients_alive(vol->region))
		return alloc_release_all(vol);
	atomic_store(&vol->orphans, true);
	return 0;
}

int volume_orphans_gone(struct volume *vol)
{
	if (!atomic_load(&vol->orphans) || region_clients_alive(vol->region))
		return 0;
	atomic_store(&vol->orphans, false);
	return alloc_release_all(vol);
}

static int volume_open(struct volume *vol, struct super *s)
{
	int err = verified_grow(vol, from_le64(s->nblocks));

	if (!err)
		err = journal_new(vol, s);
	if (!err)
		err = alloc_new(vol);
	if (!err)
		err = icache_new(vol);
	if (!err)
		err = itable_new(vol);
	if (err)
		return err;
	if (vol->read_only)
		return inode_has_operations(vol) ? -EROFS : 0;
	mark_mounted(vol, s);
	err = end_quarantine(vol);
	return err ? err : inode_recover(vol);
}

int volume_mount(struct region *region, const struct volume_env *env, struct volume **ret_vol,
		 char *err, size_t err_len)
{
	bool read_only = env->read_only || region->read_only;
	char names[FEATURES_LEN];
	struct volume *vol;
	struct super s;
	int result;

	err[0] = '\0';
	result = super_load(region, &read_only, &s, err, err_len);
	if (result)
		return result;
	vol = mem_alloc(env->mem, sizeof(*vol));
	if (!vol)
		return FAIL(err, ENOMEM, "out of memory");
	volume_init(vol, region, env, &s);
	vol->read_only = read_only;
	result = recover_journal(vol, &s, err, err_len);
	if (!result) {
		result = volume_open(vol, &s);
		if (result)
			snprintf(err, err_len, "cannot open the volume: %s%s", strerror(-result),
				 result == -EIO	    ? "; run fsck.udaxfs -y"
				 : result == -EROFS ? "; it needs recovery, which writes: mount it "
						      "once without ro"
						    : "");
	}
	if (result == -EROFS && !env->read_only && !region->read_only)
		result =
			FAIL(err, ENOTSUP,
			     "it was not unmounted, needs recovery, and uses features that are not "
			     "known here (%s): mount it with a newer udaxfs",
			     features_unknown(&s, names));
	if (result) {
		volume_free(vol);
		return result;
	}
	*ret_vol = vol;
	return 0;
}

void volume_abandon(struct volume *vol)
{
	volume_free(vol);
}

void volume_unmount(struct volume *vol)
{
	struct super s;

	if (!vol->read_only && !atomic_load(&vol->shut_down) && !super_read(vol->region, &s)) {
		uint32_t error = from_le32(s.state) & SUPER_ERROR;

		if (atomic_load(&vol->stat.errors))
			error = SUPER_ERROR;
		s.state = to_le32(SUPER_CLEAN | error);
		super_write(vol->region, &s);
	}
	volume_free(vol);
}

int volume_grow(struct volume *vol, uint64_t *ret_blocks)
{
	uint64_t nblocks = usable_blocks(vol->region);
	struct super s;
	int err = volume_usable(vol, true);

	if (!err)
		err = super_read(vol->region, &s);
	if (err)
		return err;
	if (nblocks <= from_le64(s.nblocks)) {
		*ret_blocks = from_le64(s.nblocks);
		return 0;
	}
	for (uint32_t g = volume_groups(from_le64(s.nblocks)); g < volume_groups(nblocks); g++)
		write_space_map(vol->region, g, 1);
	region_drain(vol->region, HERE);
	err = verified_grow(vol, nblocks);
	if (err)
		return err;
	s.nblocks = to_le64(nblocks);
	super_write(vol->region, &s);
	if (region_check(vol->region, 0, nblocks << BLOCK_SHIFT))
		return -EIO;
	atomic_store(&vol->nblocks, nblocks);
	*ret_blocks = nblocks;
	return alloc_grow(vol, nblocks);
}

/* ---- errors ------------------------------------------------------------------------------------------- */

void volume_shutdown(struct volume *vol)
{
	atomic_store(&vol->shut_down, true);
	volume_log(vol, "shut down: every operation gives an I/O error until the next mount");
}

int volume_usable(const struct volume *vol, bool write)
{
	if (atomic_load_explicit(&vol->shut_down, memory_order_relaxed))
		return -EIO;
	return write && vol->read_only ? -EROFS : 0;
}

int volume_damaged(struct volume *vol, uint64_t off, const char *what)
{
	char line[160];

	if (atomic_fetch_add(&vol->stat.errors, 1) < 16) {
		snprintf(line, sizeof(line),
			 "damage at byte %llu of the region: %s; run fsck.udaxfs",
			 (unsigned long long)off, what);
		volume_log(vol, line);
	}
	return -EIO;
}
