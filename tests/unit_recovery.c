/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_recovery.c - journals that nobody of us has written: a committed transaction, with a right
 * checksum, whose records lead into the journal itself, to the superblocks, behind the volume, or
 * over the edge of what they name. Mount refuses them, the checker names them, and neither writes a
 * byte: not even what a sound transaction beside it says.
 */
#include "fsck_image.h"

#include <errno.h>

#include "mem.h"
#include "region.h"
#include "sync.h"
#include "volume.h"

#define GOOD_LANE 1u /* holds the sound transaction; the other one is in lane 0 */
#define LAST_LINE (BLOCK_BYTES - 64)

static struct image image;

/* One record, and what the header says of its length besides. */
struct record {
	const char *what;
	uint32_t kind;
	uint64_t off, mask; /* LOG_LINES */
	uint32_t plane, set, first, count;
	uint64_t blk; /* LOG_BITS */
	unsigned cut; /* bytes missing at its end */
};

static uint64_t lane_off(const unsigned char *bytes, uint32_t i)
{
	const struct super *s = (const void *)(bytes + ((size_t)SUPER_BLK << BLOCK_SHIFT));

	return (JOURNAL_BLK + (uint64_t)i * from_le32(s->lane_blocks)) << BLOCK_SHIFT;
}

/* Commit @rec in lane @i of an image. */
static void commit(unsigned char *bytes, uint32_t i, const struct record *rec)
{
	unsigned char *lane = bytes + lane_off(bytes, i);
	struct lane_header *h = (void *)lane;
	size_t len;

	memset(lane + sizeof(*h), 0x5a, 4 * BLOCK_BYTES - sizeof(*h)); /* what lines hold */
	if (rec->kind == LOG_LINES) {
		*(struct log_lines *)(h + 1) = (struct log_lines){ .kind = to_le32(rec->kind),
								   .off = to_le64(rec->off),
								   .mask = to_le64(rec->mask) };
		len = sizeof(struct log_lines) + 64 * (size_t)__builtin_popcountll(rec->mask);
	} else {
		*(struct log_bits *)(h + 1) = (struct log_bits){ .kind = to_le32(rec->kind),
								 .plane = (uint8_t)rec->plane,
								 .set = (uint8_t)rec->set,
								 .blk = to_le64(rec->blk),
								 .first = to_le32(rec->first),
								 .count = to_le32(rec->count) };
		len = sizeof(struct log_bits);
	}
	len -= rec->cut;
	*h = (struct lane_header){ .magic = to_le32(LANE_MAGIC),
				   .bytes = to_le64(len),
				   .seq = to_le64(i + 1) };
	h->csum =
		to_le32(fsck_image_crc(lane, sizeof(*h) + len, offsetof(struct lane_header, csum)));
}

/* A free block is written: nothing that anybody would miss. */
static uint64_t commit_sound(unsigned char *bytes)
{
	struct record rec = { .kind = LOG_LINES, .mask = 3 };

	rec.off = image_free_blk(bytes, IMAGE_BLOCKS / 2) << BLOCK_SHIFT;
	commit(bytes, GOOD_LANE, &rec);
	return rec.off;
}

/* ---- mount and check ----------------------------------------------------------------------------- */

static struct region *region;
static char said[2048];

static int mount(bool read_only, char *err, size_t err_len)
{
	struct sync *sync = sync_pthread_new(NULL);
	struct volume_env env = { .sync = sync, .mem = mem_heap(), .read_only = read_only };
	struct volume *vol;
	int result = volume_mount(region, &env, &vol, err, err_len);

	if (!result)
		volume_abandon(vol);
	sync_delete(sync);
	return result;
}

static void note_problem(void *ctx, const struct fsck_problem *problem)
{
	size_t n = strlen(said);

	(void)ctx;
	snprintf(said + n, sizeof(said) - n, "%s: %s\n", fsck_code_name(problem->code),
		 problem->text);
}

static void check(enum fsck_repair repair, struct fsck_report *ret)
{
	struct fsck_options opt = { .repair = repair,
				    .pending = FSCK_PENDING_NOTE,
				    .problem = note_problem };

	said[0] = '\0';
	assert_int_equal(fsck_check(region, &opt, ret), 0);
}

static void assert_unwritten(const unsigned char *bytes, const char *what)
{
	if (memcmp(bytes, region_ptr(region, 0, IMAGE_BYTES), IMAGE_BYTES) != 0)
		fail_msg("%s: something was written", what);
}

static void assert_refused(const unsigned char *bytes, const struct record *rec)
{
	struct fsck_report report;
	char err[256] = "";
	int result = mount(false, err, sizeof(err));

	if (result != -EUCLEAN || !strstr(err, "journal is damaged"))
		fail_msg("%s: mount said %d, \"%s\"", rec->what, result, err);
	assert_unwritten(bytes, rec->what);
	assert_int_equal(mount(true, err, sizeof(err)), -EROFS);
	check(FSCK_REPAIR_NONE, &report);
	if (!report.by_code[FSCK_LANE] || !strstr(said, "lane-damaged: lane 0 of the journal"))
		fail_msg("%s: fsck said\n%s", rec->what, said);
	assert_unwritten(bytes, rec->what);
}

static void assert_mended(const struct record *rec)
{
	struct fsck_report report;
	char err[256];

	check(FSCK_REPAIR_ALL, &report);
	if (report.left)
		fail_msg("%s: left by fsck\n%s", rec->what, said);
	check(FSCK_REPAIR_NONE, &report);
	if (report.problems)
		fail_msg("%s: found again by fsck\n%s", rec->what, said);
	assert_int_equal(mount(false, err, sizeof(err)), 0);
}

/* ---- tests ------------------------------------------------------------------------------------------ */

/* Otherwise the others would show nothing. */
static void a_sound_transaction_is_replayed(void **state)
{
	unsigned char *bytes = malloc(IMAGE_BYTES);
	uint64_t off;
	char err[256];

	(void)state;
	assert_non_null(bytes);
	memcpy(bytes, image.bytes, IMAGE_BYTES);
	off = commit_sound(bytes);
	assert_int_not_equal(*(unsigned char *)(bytes + off), 0x5a);
	region_record_reset(region, bytes);
	assert_int_equal(mount(false, err, sizeof(err)), 0);
	assert_int_equal(*(const unsigned char *)region_ptr(region, off, 1), 0x5a);
	free(bytes);
}

static void records_that_lead_astray_are_refused_and_named(void **state)
{
	uint64_t first_data =
		lane_off(image.bytes, from_le32(((const struct super *)image.bytes)->nlanes));
	uint64_t last_lane = first_data - BLOCK_BYTES;
	uint64_t free_off = image_free_blk(image.bytes, IMAGE_BLOCKS / 2) << BLOCK_SHIFT;
	uint64_t map_blk = 1; /* of the first group's space */
	const struct record records[] = {
		{ "lines in its own lane", LOG_LINES, .off = lane_off(image.bytes, 0), .mask = 1 },
		{ "lines in the next lane", LOG_LINES, .off = lane_off(image.bytes, GOOD_LANE),
		  .mask = 1 },
		{ "lines in the last lane", LOG_LINES, .off = last_lane + LAST_LINE, .mask = 1 },
		{ "lines of the superblock", LOG_LINES, .off = 0, .mask = 1 },
		{ "lines of its copy", LOG_LINES, .off = (uint64_t)SUPER_COPY_BLK << BLOCK_SHIFT,
		  .mask = 1 },
		{ "lines of a space map", LOG_LINES, .off = map_blk << BLOCK_SHIFT, .mask = 1 },
		{ "lines behind the volume", LOG_LINES, .off = IMAGE_BYTES, .mask = 1 },
		{ "lines far behind the volume", LOG_LINES, .off = UINT64_C(1) << 60, .mask = 1 },
		{ "lines at the end of numbers", LOG_LINES, .off = UINT64_MAX - 63, .mask = 1 },
		{ "lines at no multiple of 64", LOG_LINES, .off = free_off + 8, .mask = 1 },
		{ "lines over the end of a block", LOG_LINES, .off = free_off + LAST_LINE,
		  .mask = 3 },
		{ "no lines", LOG_LINES, .off = free_off, .mask = 0 },
		{ "lines cut off", LOG_LINES, .off = free_off, .mask = 1, .cut = 1 },
		{ "bits in the journal", LOG_BITS, .blk = JOURNAL_BLK, .count = 1 },
		{ "bits in the last lane", LOG_BITS, .blk = last_lane >> BLOCK_SHIFT, .count = 1 },
		{ "bits of the superblock", LOG_BITS, .blk = SUPER_BLK, .count = 1 },
		{ "bits of its copy", LOG_BITS, .blk = SUPER_COPY_BLK, .count = 1 },
		{ "bits of the inode file's dinode", LOG_BITS, .blk = SPECIAL_BLK, .count = 1 },
		{ "bits behind the volume", LOG_BITS, .blk = IMAGE_BLOCKS, .count = 1 },
		{ "bits at the end of numbers", LOG_BITS, .blk = UINT64_MAX, .count = 1 },
		{ "bits of no plane", LOG_BITS, .plane = MAP_PLANES, .blk = map_blk, .count = 1 },
		{ "bits set to two", LOG_BITS, .set = 2, .blk = map_blk, .count = 1 },
		{ "bits over the end of a map", LOG_BITS, .first = MAP_BITS, .blk = map_blk,
		  .count = 1 },
		{ "bits from far behind it", LOG_BITS, .first = UINT32_MAX, .blk = map_blk,
		  .count = 2 },
		{ "more bits than there are", LOG_BITS, .blk = map_blk, .count = UINT32_MAX },
		{ "bits cut off", LOG_BITS, .blk = map_blk, .count = 1, .cut = 1 },
		{ "records of no kind", 3, .blk = map_blk, .count = 1 },
	};
	unsigned char *bytes = malloc(IMAGE_BYTES);

	(void)state;
	assert_non_null(bytes);
	for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
		memcpy(bytes, image.bytes, IMAGE_BYTES);
		commit_sound(bytes);
		commit(bytes, 0, &records[i]);
		region_record_reset(region, bytes);
		assert_refused(bytes, &records[i]);
		assert_mended(&records[i]);
	}
	free(bytes);
}

static int set_up(void **state)
{
	(void)state;
	image_make(&image);
	region = region_record_new(image.bytes, IMAGE_BYTES, BLOCK_BYTES);
	return !region;
}

static int tear_down(void **state)
{
	(void)state;
	region_close(region);
	image_free(&image);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sound_transaction_is_replayed),
		cmocka_unit_test(records_that_lead_astray_are_refused_and_named),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
