/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * lib_fuzz_image.c - see fuzz_image.h.
 *
 * Random bytes rarely get past a checksum. So an input is not an image but what is done to one:
 *
 *	byte 0	    what: set 1, 2, 4 or 8 bytes; add to them; copy 16 bytes or a block from
 *		    elsewhere; fill a block; set the bytes to a telling number (of a block, of an
 *		    inode, a limit)
 *	bytes 1-3   where: an offset in the image; with bit 23, an offset in its metadata only
 *	bytes 4-7   with what
 *
 * Unless bit 7 of byte 0 is set, the checksum of what stands in a damaged block, as it was before,
 * is made right again at the end: the lie gets where it is read.
 *
 * The base image is made by the core with a clock and random numbers of its own here, so an input
 * means the same in every run.
 */
#include "fuzz_image.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crc.h"
#include "dir.h"
#include "file.h"
#include "format.h"
#include "fsck.h"
#include "inode.h"
#include "layout.h"
#include "mem.h"
#include "namespace.h"
#include "region.h"
#include "sync.h"
#include "volume.h"
#include "xattr.h"

#define FUZZ_BYTES (512u << 10)
#define FUZZ_BLOCKS (FUZZ_BYTES >> BLOCK_SHIFT)

/* Entries, and bytes of a file, that a walk looks at. A damaged image may claim any number. */
#define WALK_ENTRIES 3000u
#define WALK_READS 64u
#define WALK_DEPTH 12u

enum block_type { TYPE_OTHER, TYPE_SUPER, TYPE_MAP, TYPE_DINODES, TYPE_NODE, TYPE_DIR, TYPE_XATTR };

struct fuzz {
	struct sync *sync;
	struct region *region;
	struct mem *mem;
	unsigned char *base, *bytes;
	uint8_t type[FUZZ_BLOCKS];
	uint16_t meta[FUZZ_BLOCKS]; /* the blocks that are metadata */
	unsigned nmeta;
	uint32_t xattr_bytes;
	uint64_t ninodes;
	unsigned entries; /* left to look at */
};

static struct fuzz *fuzz;

#define REQUIRE(cond, ...)                                                                         \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, __VA_ARGS__);                                              \
			fputc('\n', stderr);                                                       \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* ---- the base image -------------------------------------------------------------------------- */

static char mount_error[256];

static struct volume *mount(void)
{
	struct volume_env env = { .sync = fuzz->sync, .mem = fuzz->mem };
	struct volume *vol;

	if (volume_mount(fuzz->region, &env, &vol, mount_error, sizeof(mount_error)))
		return NULL;
	return vol;
}

static struct inode *make(struct inode *dir, const char *name, mode_t mode)
{
	struct cred cred = { .uid = 1, .gid = 1 };
	struct inode *inode;

	REQUIRE(ns_create(dir, name, strlen(name), mode, &cred, 1, 2, &inode) == 0, "create %s",
		name);
	return inode;
}

static void make_files(struct inode *root)
{
	struct layout_ctx ctx = { .may_wait = true };
	struct cred cred = { 0 };
	struct inode *inode = make(root, "pieces", S_IFREG | 0644), *link;
	char buf[4096], name[40];

	memset(buf, 'p', sizeof(buf));
	for (uint64_t i = 0; i < 12; i++)
		REQUIRE(file_write(inode, i * 2 * BLOCK_BYTES, buf, 4096, IO_UNCACHED) == 4096,
			"write");
	REQUIRE(layout_fallocate(inode, 1, 1 << 20, 8192, &ctx) == 0, "fallocate");
	REQUIRE(xattr_set(inode, "user.name", "value", 5, 0) == 0, "xattr");
	REQUIRE(ns_link(inode, root, "second", 6) == 0, "link");
	inode_put(inode);
	REQUIRE(ns_symlink(root, "short", 5, "target", 6, &cred, &link) == 0, "symlink");
	inode_put(link);
	REQUIRE(ns_symlink(root, "long", 4, buf, 600, &cred, &link) == 0, "symlink");
	inode_put(link);
	inode_put(make(root, "fifo", S_IFIFO | 0600));
	inode = make(root, "many", S_IFDIR | 0755);
	for (unsigned i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "a-name-to-be-found-%u", i);
		REQUIRE(ns_link(root, inode, name, strlen(name)) == -EPERM, "link of a directory");
		inode_put(make(inode, name, S_IFREG | 0600));
	}
	link = make(inode, "below", S_IFDIR | 0755);
	inode_put(make(link, "deep", S_IFREG | 0600));
	inode_put(link);
	inode_put(inode);
}

/* Which block holds what, so that its checksum can be made right. */
static void classify(void)
{
	const struct super *s = (const struct super *)fuzz->base;
	uint64_t data = JOURNAL_BLK + (uint64_t)from_le32(s->nlanes) * from_le32(s->lane_blocks);

	for (unsigned blk = 0; blk < FUZZ_BLOCKS; blk++) {
		const unsigned char *p = fuzz->base + ((size_t)blk << BLOCK_SHIFT);
		uint8_t type = TYPE_OTHER;
		le32 magic;

		for (unsigned i = 0; i < DINODES_PER_BLOCK; i++) {
			memcpy(&magic, p + i * DINODE_BYTES, sizeof(magic));
			if (magic == to_le32(DINODE_MAGIC))
				type = TYPE_DINODES;
		}
		memcpy(&magic, p, sizeof(magic));
		if (blk == SUPER_BLK || blk == SUPER_COPY_BLK)
			type = TYPE_SUPER;
		else if (magic == to_le32(MAP_MAGIC))
			type = TYPE_MAP;
		else if (magic == to_le32(NODE_MAGIC))
			type = TYPE_NODE;
		else if (magic == to_le32(DIRBLOCK_MAGIC))
			type = TYPE_DIR;
		else if (magic == to_le32(XATTR_MAGIC))
			type = TYPE_XATTR;
		if (blk >= JOURNAL_BLK && blk < data)
			type = TYPE_OTHER;
		fuzz->type[blk] = type;
		if (type != TYPE_OTHER || blk == JOURNAL_BLK)
			fuzz->meta[fuzz->nmeta++] = (uint16_t)blk;
	}
}

static void begin(void)
{
	struct format_options options = { .uuid = { 1 }, .label = "fuzz" };
	struct volume *vol;
	struct inode *root;
	le64 seed = to_le64(42);

	fuzz = calloc(1, sizeof(*fuzz));
	REQUIRE(fuzz, "no memory");
	fuzz->sync = sync_pthread_new(NULL);
	fuzz->mem = mem_heap();
	fuzz->region = region_record_new(NULL, FUZZ_BYTES, BLOCK_BYTES);
	fuzz->base = malloc(FUZZ_BYTES);
	fuzz->bytes = malloc(FUZZ_BYTES);
	REQUIRE(fuzz->base && fuzz->bytes && fuzz->region && fuzz->sync, "no memory");
	REQUIRE(volume_format(fuzz->region, fuzz->sync, fuzz->mem, &options) == 0, "format");
	/* The hash seed decides the order of the indexes. */
	memcpy(fuzz->base, region_ptr(fuzz->region, 0, FUZZ_BYTES), FUZZ_BYTES);
	for (unsigned blk = 0; blk <= SUPER_COPY_BLK; blk += SUPER_COPY_BLK) {
		struct super *s = (void *)(fuzz->base + ((size_t)blk << BLOCK_SHIFT));

		memcpy(s->hash_seed, &seed, sizeof(seed));
		s->csum = to_le32(crc32c_skip(s, sizeof(*s), offsetof(struct super, csum)));
	}
	region_record_reset(fuzz->region, fuzz->base);
	vol = mount();
	REQUIRE(vol, "the base image cannot be mounted");
	REQUIRE(inode_get(vol, ROOT_INO, &root) == 0, "no root");
	make_files(root);
	fuzz->ninodes = 80;
	inode_put(root);
	volume_unmount(vol);
	memcpy(fuzz->base, region_ptr(fuzz->region, 0, FUZZ_BYTES), FUZZ_BYTES);
	/* header, entry with "user.name" and "value" */
	fuzz->xattr_bytes = sizeof(struct xattr_header) + XATTR_ENTRY_BYTES(9, 5);
	classify();
}

void fuzz_image_end(void)
{
	if (!fuzz)
		return;
	region_close(fuzz->region);
	sync_delete(fuzz->sync);
	free(fuzz->base);
	free(fuzz->bytes);
	free(fuzz);
	fuzz = NULL;
}

/* ---- damage ---------------------------------------------------------------------------------- */

static uint32_t place_of(const uint8_t *cmd)
{
	uint32_t at = cmd[1] | (uint32_t)cmd[2] << 8 | (uint32_t)cmd[3] << 16;

	if (at & 0x800000)
		return ((uint32_t)fuzz->meta[(at >> 12 & 0x7ff) % fuzz->nmeta] << BLOCK_SHIFT) +
		       at % BLOCK_BYTES;
	return at % FUZZ_BYTES;
}

/* Numbers that lead somewhere, and those just behind a limit. */
static uint64_t telling(uint32_t arg)
{
	static const uint64_t limits[] = { 0,
					   1,
					   7,
					   8,
					   16,
					   223,
					   224,
					   252,
					   253,
					   255,
					   4032,
					   4095,
					   4096,
					   15872,
					   65535,
					   65536,
					   MAX_FILE_BLOCKS,
					   MAX_FILE_BYTES,
					   MAX_LINKS,
					   UINT32_MAX,
					   UINT64_MAX,
					   INT64_MAX };
	uint32_t n = arg >> 2;

	switch (arg % 4) {
	case 0:
		return limits[n % (sizeof(limits) / sizeof(limits[0]))];
	case 1:
		return n % FUZZ_BLOCKS;
	case 2:
		return n % fuzz->ninodes;
	default:
		return EXTENT_PACK(n % FUZZ_BLOCKS, 1 + n / FUZZ_BLOCKS % 8, n >> 20 & 1);
	}
}

static void put(uint32_t at, uint64_t value, unsigned width, bool add)
{
	unsigned char *p = fuzz->bytes + at % (FUZZ_BYTES - 8) / width * width;
	uint64_t old = 0;

	if (add)
		memcpy(&old, p, width);
	value += old;
	memcpy(p, &value, width);
}

static void damage(const uint8_t *cmd)
{
	uint32_t at = place_of(cmd), arg;
	unsigned width = 1u << (cmd[0] >> 3 & 3);
	uint32_t from;

	memcpy(&arg, cmd + 4, sizeof(arg));
	arg = from_le32(arg);
	from = arg % FUZZ_BYTES;
	switch (cmd[0] & 7) {
	case 0:
	case 1:
		put(at, arg, width, false);
		break;
	case 2:
		put(at, (uint64_t)(int64_t)(int32_t)arg, width, true);
		break;
	case 3:
		memmove(fuzz->bytes + at / 16 * 16, fuzz->bytes + from / 16 * 16, 16);
		break;
	case 4:
		memmove(fuzz->bytes + at / BLOCK_BYTES * BLOCK_BYTES,
			fuzz->bytes + from / BLOCK_BYTES * BLOCK_BYTES, BLOCK_BYTES);
		break;
	case 5:
		memset(fuzz->bytes + at / BLOCK_BYTES * BLOCK_BYTES, (int)(arg & 0xff),
		       BLOCK_BYTES);
		break;
	default:
		put(at, telling(arg), width, false);
	}
}

static void seal(void *p, size_t len, size_t csum_off)
{
	le32 csum = to_le32(crc32c_skip(p, len, csum_off));

	memcpy((unsigned char *)p + csum_off, &csum, sizeof(csum));
}

static void seal_block(unsigned blk)
{
	unsigned char *p = fuzz->bytes + ((size_t)blk << BLOCK_SHIFT);

	switch (fuzz->type[blk]) {
	case TYPE_SUPER:
		seal(p, BLOCK_BYTES, offsetof(struct super, csum));
		break;
	case TYPE_MAP:
	case TYPE_NODE:
	case TYPE_DIR:
		seal(p, BLOCK_BYTES, 4);
		break;
	case TYPE_XATTR:
		seal(p, fuzz->xattr_bytes, 4);
		break;
	case TYPE_DINODES:
		for (unsigned i = 0; i < DINODES_PER_BLOCK; i++)
			if (memcmp(p + i * DINODE_BYTES,
				   fuzz->base + ((size_t)blk << BLOCK_SHIFT) + i * DINODE_BYTES,
				   DINODE_BYTES) != 0)
				seal(p + i * DINODE_BYTES, DINODE_BYTES, 4);
		break;
	default:
		break;
	}
}

static void make_input(const uint8_t *data, size_t size)
{
	bool sealed[FUZZ_BLOCKS] = { false };

	memcpy(fuzz->bytes, fuzz->base, FUZZ_BYTES);
	for (; size >= 8; data += 8, size -= 8) {
		damage(data);
		if (!(data[0] & 0x80))
			sealed[place_of(data) >> BLOCK_SHIFT] = true;
	}
	for (unsigned blk = 0; blk < FUZZ_BLOCKS; blk++)
		if (sealed[blk])
			seal_block(blk);
}

/* ---- use ------------------------------------------------------------------------------------- */

static volatile unsigned char sink; /* where bytes go that only had to be loaded */

static void read_some(struct inode *inode, uint64_t size)
{
	uint64_t pos = 0;

	for (unsigned i = 0; i < WALK_READS && pos < size; i++) {
		struct read_plan plan;

		if (file_read_begin(inode, pos, 32768, IO_UNCACHED, &plan))
			return;
		for (unsigned p = 0; p < plan.npieces; p++)
			for (size_t b = 0; b < plan.pieces[p].iov_len; b += 512)
				sink = ((const unsigned char *)plan.pieces[p].iov_base)[b];
		pos += plan.bytes;
		file_read_end(inode, &plan);
		if (!plan.bytes || file_seek(inode, pos, SEEK_DATA, &pos))
			return;
	}
}

static void read_attrs(struct inode *inode)
{
	static char names[1 << 20], value[1 << 16];
	ssize_t len = xattr_list(inode, names, sizeof(names));

	for (const char *name = names; len > 0 && name < names + len; name += strlen(name) + 1)
		xattr_get(inode, name, value, sizeof(value));
}

static void walk(struct inode *inode, unsigned depth)
{
	struct dir_entry entry = { 0 };
	static char target[MAX_SYMLINK_BYTES + 1];
	struct attr attr;
	uint64_t pos = 0;

	inode_attr(inode, &attr);
	read_attrs(inode);
	if (S_ISREG(attr.mode))
		read_some(inode, attr.size);
	if (S_ISLNK(attr.mode))
		ns_readlink(inode, target, sizeof(target));
	while (S_ISDIR(attr.mode) && depth < WALK_DEPTH && fuzz->entries) {
		struct inode *child;
		int err;

		ilock(inode, SYNC_SHARED, HERE);
		err = dir_iterate(inode, pos, &entry);
		iunlock(inode, SYNC_SHARED, HERE);
		if (err)
			return;
		fuzz->entries--;
		pos = entry.pos + 1;
		if (ns_lookup(inode, entry.name, entry.name_len, &child))
			continue;
		walk(child, depth + 1);
		inode_put(child);
	}
}

/* Change this and that; whatever fails may fail. */
static void scribble(struct inode *root)
{
	struct layout_ctx ctx = { .may_wait = true };
	struct cred cred = { 0 };
	struct inode *inode, *many;
	static char buf[20000];

	if (ns_create(root, "new", 3, S_IFREG | 0600, &cred, 0, 0, &inode) == 0) {
		file_write(inode, 3, buf, sizeof(buf), IO_UNCACHED);
		xattr_set(inode, "user.x", buf, 5000, 0);
		ns_unlink(root, "new", 3);
		inode_put(inode);
	}
	if (ns_lookup(root, "pieces", 6, &inode) == 0) {
		file_write(inode, 5000, buf, sizeof(buf), IO_UNCACHED);
		layout_fallocate(inode, 3, 8192, 16384, &ctx);
		layout_fallocate(inode, 8, 4096, 8192, &ctx);
		layout_truncate(inode, 30000, &ctx);
		xattr_set(inode, "user.name", NULL, 0, 0);
		inode_put(inode);
	}
	if (ns_lookup(root, "many", 4, &many) == 0) {
		ns_rename(root, "short", 5, many, "a-name-to-be-found-7", 20, 0);
		ns_unlink(many, "a-name-to-be-found-8", 20);
		ns_rmdir(many, "below", 5);
		ns_rename(many, "below", 5, root, "below", 5, 0);
		if (ns_create(many, "dir", 3, S_IFDIR | 0700, &cred, 0, 0, &inode) == 0)
			inode_put(inode);
		inode_put(many);
	}
	ns_unlink(root, "second", 6);
	ns_unlink(root, "pieces", 6);
}

static void use_image(void)
{
	struct volume *vol;
	struct inode *root;

	region_record_reset(fuzz->region, fuzz->bytes);
	vol = mount();
	if (!vol)
		return;
	fuzz->entries = WALK_ENTRIES;
	if (inode_get(vol, ROOT_INO, &root) == 0) {
		walk(root, 0);
		if (S_ISDIR(root->type))
			scribble(root);
		inode_put(root);
	}
	volume_unmount(vol);
}

/* ---- mend ------------------------------------------------------------------------------------ */

struct log {
	char text[4096];
};

static void note_problem(void *ctx, const struct fsck_problem *problem)
{
	struct log *log = ctx;
	size_t n = strlen(log->text);

	snprintf(log->text + n, sizeof(log->text) - n, "  %s: %s\n", fsck_code_name(problem->code),
		 problem->text);
}

static int check(enum fsck_repair repair, struct fsck_report *report, struct log *log)
{
	struct fsck_options opt = { .repair = repair, .problem = note_problem, .ctx = log };

	log->text[0] = '\0';
	return fsck_check(fuzz->region, &opt, report);
}

/* A volume that the checker likes, the core has to like too. */
static void use_mended(const struct log *log)
{
	struct volume *vol = mount();
	struct inode *root;

	REQUIRE(vol, "what was mended cannot be mounted: %s\n%s", mount_error, log->text);
	REQUIRE(inode_get(vol, ROOT_INO, &root) == 0, "what was mended has no root");
	fuzz->entries = WALK_ENTRIES;
	walk(root, 0);
	scribble(root);
	inode_put(root);
	REQUIRE(atomic_load(&vol->stat.errors) == 0,
		"the core meets damage in what was mended:\n%s", log->text);
	volume_unmount(vol);
}

static void mend_image(const char *which)
{
	static struct log first, second;
	struct fsck_report report;
	char err[256];
	int result = check(FSCK_REPAIR_NONE, &report, &first);

	if (!result)
		result = check(FSCK_REPAIR_ALL, &report, &first);
	if (result) {
		REQUIRE(result == -EINVAL || result == -EUCLEAN || result == -ENOTSUP,
			"%s image: the checker fails with %d: %s", which, result, report.message);
		return;
	}
	REQUIRE(!report.left || report.by_code[FSCK_NOT_MENDED], "%s image: %llu left:\n%s", which,
		(unsigned long long)report.left, first.text);
	if (report.left)
		return;
	if (report.pending)
		REQUIRE(fsck_recover(fuzz->region, err, sizeof(err)) == 0,
			"%s image: recovery: %s\n%s", which, err, first.text);
	result = check(FSCK_REPAIR_NONE, &report, &second);
	REQUIRE(!result && !report.problems && report.notes == report.by_code[FSCK_QUARANTINE],
		"%s image: after mending the checker finds: %d\n%sand had found:\n%s", which,
		result, second.text, first.text);
	use_mended(&first);
	result = check(FSCK_REPAIR_NONE, &report, &second);
	REQUIRE(!result && !report.problems,
		"%s image: after it was used again the checker finds: %d\n%sand had found:\n%s",
		which, result, second.text, first.text);
}

void fuzz_image_one(const uint8_t *data, size_t size)
{
	if (!fuzz)
		begin();
	make_input(data, size);
	use_image();
	mend_image("used");
	region_record_reset(fuzz->region, fuzz->bytes);
	mend_image("damaged");
}
