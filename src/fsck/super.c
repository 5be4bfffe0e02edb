/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * super.c - the superblock and its copy.
 *
 * One of the two, whose checksum is right and whose numbers describe a possible volume, gives the
 * geometry that everything else is read by; block 0 is asked first. A crash between the two stores
 * of an update leaves one torn or the copy stale: that is no damage, and any mount puts it right.
 * Two good ones that disagree about what never changes are damage.
 */
#include <stddef.h>

#include "impl.h"
#include "volume.h"

static const struct super *super_at(const struct fsck *f, uint64_t blk)
{
	return fsck_block(f, blk);
}

static bool super_sealed(const struct fsck *f, uint64_t blk)
{
	const struct super *s = super_at(f, blk);

	return fsck_readable(f, blk) && from_le64(s->magic) == SUPER_MAGIC &&
	       from_le32(s->csum) == crc32c_skip(s, sizeof(*s), offsetof(struct super, csum));
}

/* Whether the volume that @s describes is possible, whatever the size of the region. */
static bool geometry_possible(const struct super *s)
{
	uint64_t nblocks = from_le64(s->nblocks);
	uint64_t nlanes = from_le32(s->nlanes), lane_blocks = from_le32(s->lane_blocks);
	uint64_t data = JOURNAL_BLK + nlanes * lane_blocks;

	return nblocks >= MIN_VOLUME_BYTES >> BLOCK_SHIFT && nblocks <= MAX_VOLUME_BLOCKS &&
	       nblocks % MAP_BITS != 1 && nlanes && nlanes <= 64 && lane_blocks >= 2 &&
	       lane_blocks <= 256 && data < nblocks && data < MAP_BITS;
}

static bool fits(const struct fsck *f, const struct super *s)
{
	return from_le64(s->nblocks) <= f->region->bytes >> BLOCK_SHIFT;
}

static int check_features(struct fsck *f, const struct super *s)
{
	char names[FEATURES_LEN];

	if (from_le32(s->version) != FORMAT_VERSION)
		return fsck_fatal(f, -ENOTSUP,
				  "the volume has format version %u, this program knows %u: use a "
				  "newer fsck.udaxfs",
				  from_le32(s->version), FORMAT_VERSION);
	if (features_unknown(s, names))
		return fsck_fatal(f, -ENOTSUP,
				  "the volume uses features that are not known here (%s): use a "
				  "newer fsck.udaxfs",
				  names);
	return 0;
}

/* The copy of what changes at a mount or when a volume grows, from @from to @to. */
static void copy_volatile(struct super *to, const struct super *from)
{
	to->state = from->state;
	to->mount_count = from->mount_count;
	to->mounted_ns = from->mounted_ns;
	to->nblocks = from->nblocks;
	to->csum = from->csum;
}

static void compare_copies(struct fsck *f)
{
	struct super other = *super_at(f, SUPER_COPY_BLK);

	if (memcmp(&other, &f->super, sizeof(other)) == 0)
		return;
	copy_volatile(&other, &f->super);
	if (memcmp(&other, &f->super, sizeof(other)) == 0)
		fsck_found(f, FSCK_SUPER_STALE, FSCK_NOWHERE, SUPER_COPY_BLK,
			   "the copy of the superblock is older than the superblock");
	else
		fsck_found(f, FSCK_SUPER_DIFFERS, FSCK_NOWHERE, SUPER_COPY_BLK,
			   "the superblock and its copy describe different volumes; the superblock "
			   "counts");
}

/* A volume only grows, and the first superblock knows of it before the copy does. */
static bool is_better(const struct fsck *f, const struct super *copy, const struct super *first)
{
	if (!geometry_possible(copy) || !fits(f, copy))
		return false;
	return !geometry_possible(first) || !fits(f, first) ||
	       from_le64(copy->nblocks) > from_le64(first->nblocks);
}

static int choose(struct fsck *f)
{
	bool first = super_sealed(f, SUPER_BLK), copy = super_sealed(f, SUPER_COPY_BLK);
	bool take_copy = !first || (copy && is_better(f, super_at(f, SUPER_COPY_BLK),
						      super_at(f, SUPER_BLK)));

	if (!first && !copy && from_le64(super_at(f, SUPER_BLK)->magic) != SUPER_MAGIC &&
	    from_le64(super_at(f, SUPER_COPY_BLK)->magic) != SUPER_MAGIC)
		return fsck_fatal(f, -EINVAL, "there is no udaxfs here");
	if (!first && !copy)
		return fsck_fatal(f, -EUCLEAN,
				  "both superblocks are damaged: the volume cannot be read without "
				  "one of them");
	f->super = *super_at(f, take_copy ? SUPER_COPY_BLK : SUPER_BLK);
	if (check_features(f, &f->super))
		return -ENOTSUP;
	if (!geometry_possible(&f->super))
		return fsck_fatal(f, -EUCLEAN, "the superblock describes an impossible volume");
	if (!fits(f, &f->super))
		return fsck_fatal(
			f, -EUCLEAN,
			"the region has %llu bytes, the volume in it %llu: the region was "
			"cut off",
			(unsigned long long)f->region->bytes,
			(unsigned long long)from_le64(f->super.nblocks) << BLOCK_SHIFT);
	if (take_copy)
		fsck_found(f, FSCK_SUPER, FSCK_NOWHERE, SUPER_BLK,
			   "the superblock is damaged; its copy is good");
	else if (!copy)
		fsck_found(f, FSCK_SUPER_COPY, FSCK_NOWHERE, SUPER_COPY_BLK,
			   "the copy of the superblock is damaged");
	else
		compare_copies(f);
	return 0;
}

static void bad_field(struct fsck *f, const char *field)
{
	fsck_found(f, FSCK_SUPER_FIELD, FSCK_NOWHERE, SUPER_BLK,
		   "the superblock's field %s has an impossible value", field);
}

/* Fields that nothing depends on but themselves: to be put right in f->super. */
static void check_fields(struct fsck *f)
{
	struct super *s = &f->super;
	uint32_t granule = from_le32(s->granule_bytes), state = from_le32(s->state);

	if (granule < BLOCK_BYTES || granule & (granule - 1)) {
		bad_field(f, "granule_bytes");
		s->granule_bytes = to_le32(f->region->granule_bytes);
	}
	if (from_le32(s->reserve_blocks) > from_le64(s->nblocks)) {
		bad_field(f, "reserve_blocks");
		s->reserve_blocks = to_le32((uint32_t)(from_le64(s->nblocks) / 128));
	}
	if (!memchr(s->label, 0, sizeof(s->label))) {
		bad_field(f, "label");
		s->label[sizeof(s->label) - 1] = '\0';
	}
	if ((state & ~SUPER_ERROR) != SUPER_CLEAN && (state & ~SUPER_ERROR) != SUPER_DIRTY) {
		bad_field(f, "state");
		s->state = to_le32(SUPER_DIRTY);
	}
}

static void note_state(struct fsck *f)
{
	uint32_t state = from_le32(f->super.state);

	if (state & SUPER_ERROR)
		fsck_found(f, FSCK_ERROR_FLAG, FSCK_NOWHERE, SUPER_BLK,
			   "damage was met while the volume was mounted");
	if (state & SUPER_DIRTY && !f->opt->mounted)
		fsck_found(f, FSCK_NOT_CLEAN, FSCK_NOWHERE, SUPER_BLK,
			   "the volume was not unmounted");
}

/* Both, the good one last: if block 0 is torn by a crash, the copy has its content already. */
static void store_both(struct fsck *f)
{
	struct super *s = &f->super;
	uint64_t first = super_sealed(f, SUPER_BLK) ? SUPER_COPY_BLK : SUPER_BLK;

	s->csum = to_le32(crc32c_skip(s, sizeof(*s), offsetof(struct super, csum)));
	for (unsigned i = 0; i < 2; i++) {
		uint64_t blk = i ? SUPER_BLK + SUPER_COPY_BLK - first : first;

		if (memcmp(super_at(f, blk), s, sizeof(*s)) == 0)
			continue;
		region_store(f->region, blk << BLOCK_SHIFT, s, sizeof(*s), HERE);
		region_drain(f->region, HERE);
		f->report->stored = true;
	}
}

int fsck_super(struct fsck *f)
{
	int err;

	if (f->region->bytes < MIN_VOLUME_BYTES)
		return fsck_fatal(f, -EINVAL, "there is no udaxfs here: the region is too small");
	err = choose(f);
	if (err)
		return err;
	check_fields(f);
	note_state(f);
	if (f->repairing && f->found) {
		store_both(f);
		f->changed = true;
	}
	memcpy(&f->seed, f->super.hash_seed, sizeof(f->seed));
	f->seed = from_le64(f->seed);
	f->nblocks = from_le64(f->super.nblocks);
	f->ngroups = (uint32_t)((f->nblocks + MAP_BITS - 1) / MAP_BITS);
	f->first_data = JOURNAL_BLK +
			(uint64_t)from_le32(f->super.nlanes) * from_le32(f->super.lane_blocks);
	f->report->blocks = f->nblocks;
	return 0;
}

void fsck_super_finish(struct fsck *f)
{
	f->super.state = to_le32(SUPER_CLEAN);
	store_both(f);
}
