/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * journal.c - the lanes: replay what is committed, and see that there is nothing else.
 *
 * Replay is the core's (journal_recover), because it is the definition of what the lanes mean. A
 * committed lane that breaks the rules stops it; then that lane is given up, with what was in it.
 */
#include <stddef.h>

#include "impl.h"
#include "journal.h"

static uint64_t lane_blk(const struct fsck *f, uint32_t i)
{
	return JOURNAL_BLK + (uint64_t)i * from_le32(f->super.lane_blocks);
}

static const struct lane_header *lane_at(const struct fsck *f, uint32_t i)
{
	return region_ptr(f->region, lane_blk(f, i) << BLOCK_SHIFT, sizeof(struct lane_header));
}

static bool lane_committed(const struct fsck *f, uint32_t i)
{
	uint64_t room = ((uint64_t)from_le32(f->super.lane_blocks) << BLOCK_SHIFT) -
			sizeof(struct lane_header);
	const struct lane_header *h = lane_at(f, i);
	uint64_t bytes = from_le64(h->bytes);

	return from_le32(h->magic) == LANE_MAGIC && bytes && bytes <= room &&
	       from_le32(h->csum) ==
		       crc32c_skip(region_ptr(f->region, lane_blk(f, i) << BLOCK_SHIFT,
					      sizeof(*h) + bytes),
				   sizeof(*h) + bytes, offsetof(struct lane_header, csum));
}

/* Make a lane as it is after formatting, but for what stands behind its header. */
static void lane_clear(struct fsck *f, uint32_t i)
{
	region_zero(f->region, lane_blk(f, i) << BLOCK_SHIFT, sizeof(struct lane_header), HERE);
	region_drain(f->region, HERE);
	f->report->stored = true;
	f->changed = true;
}

/*
 * After the replay a header begins with zeroes (never used, or retired), or is of a transaction
 * whose log was being written when the end came: that one never happened, and the lane's next user
 * writes over it.
 */
static void check_lane(struct fsck *f, uint32_t i)
{
	const struct lane_header *h = lane_at(f, i);

	if (!fsck_readable(f, lane_blk(f, i))) {
		fsck_found(f, FSCK_MEDIA, FSCK_NOWHERE, lane_blk(f, i),
			   "lane %u of the journal cannot be read", i);
		return;
	}
	if (from_le32(h->magic) == LANE_MAGIC || (!h->magic && !h->csum))
		return;
	if (fsck_found(f, FSCK_LANE, FSCK_NOWHERE, lane_blk(f, i),
		       "lane %u of the journal has no valid header; it is made empty", i))
		lane_clear(f, i);
}

/* What could be put in place was, unless a record breaks the rules: then nothing was. */
static void give_up_committed(struct fsck *f, int why)
{
	const char *what = why == -EIO ? "cannot be applied, because of a media error"
				       : "cannot be applied, or stands beside one";

	for (uint32_t i = 0; i < from_le32(f->super.nlanes); i++) {
		if (!lane_committed(f, i))
			continue;
		if (fsck_found(f, FSCK_LANE, FSCK_NOWHERE, lane_blk(f, i),
			       "lane %u of the journal holds a transaction that %s; it is given up",
			       i, what))
			lane_clear(f, i);
	}
}

int fsck_journal(struct fsck *f)
{
	uint32_t nlanes = from_le32(f->super.nlanes);
	unsigned committed = 0;
	int replayed;

	for (uint32_t i = 0; i < nlanes; i++)
		committed += lane_committed(f, i);
	if (committed) {
		replayed = journal_recover(f->region, &f->super);
		if (replayed < 0) {
			give_up_committed(f, replayed);
		} else {
			fsck_found(f, FSCK_REPLAY, FSCK_NOWHERE, JOURNAL_BLK,
				   "%u committed transactions were replayed", committed);
			f->report->stored = true;
		}
	}
	for (uint32_t i = 0; i < nlanes; i++)
		check_lane(f, i);
	return 0;
}
