/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * lib_fsck_image.c - see fsck_image.h.
 */
#include "fsck_image.h"

#include <errno.h>
#include <linux/falloc.h>
#include <sys/stat.h>

#include "crc.h"
#include "dir.h"
#include "file.h"
#include "inode.h"
#include "layout.h"
#include "mem.h"
#include "namespace.h"
#include "region.h"
#include "sync.h"
#include "volume.h"
#include "xattr.h"

#ifndef FALLOC_FL_KEEP_SIZE
#define FALLOC_FL_KEEP_SIZE 1
#endif

/* ---- making it ------------------------------------------------------------------------------- */

static struct inode *make(struct inode *dir, const char *name, mode_t mode)
{
	struct cred cred = { .uid = 1000, .gid = 1000, .umask = 022 };
	struct inode *inode;

	assert_int_equal(ns_create(dir, name, strlen(name), mode, &cred, 3, 7, &inode), 0);
	return inode;
}

/* Make it and let go of it. */
static uint64_t make_name(struct inode *dir, const char *name, mode_t mode)
{
	struct inode *inode = make(dir, name, mode);
	uint64_t ino = inode->ino;

	inode_put(inode);
	return ino;
}

static uint64_t make_link(struct inode *dir, const char *name, size_t len)
{
	struct cred cred = { 0 };
	char target[4096];
	struct inode *inode;
	uint64_t ino;

	memset(target, 'x', sizeof(target));
	assert_int_equal(ns_symlink(dir, name, strlen(name), target, len, &cred, &inode), 0);
	ino = inode->ino;
	inode_put(inode);
	return ino;
}

static void write_at(struct inode *inode, uint64_t pos, size_t len)
{
	char buf[8192];

	memset(buf, 'd', sizeof(buf));
	assert_int_equal(file_write(inode, pos, buf, len, IO_UNCACHED), len);
}

static uint64_t make_file(struct inode *dir, const char *name, size_t len)
{
	struct inode *inode = make(dir, name, S_IFREG | 0644);
	uint64_t ino = inode->ino;

	write_at(inode, 0, len);
	inode_put(inode);
	return ino;
}

static uint64_t make_with_attr(struct inode *dir, const char *name, size_t len)
{
	struct inode *inode = make(dir, name, S_IFREG | 0644);
	uint64_t ino = inode->ino;
	char *value = calloc(1, len);

	assert_non_null(value);
	memset(value, 'v', len);
	assert_int_equal(xattr_set(inode, "user.one", value, len, 0), 0);
	assert_int_equal(xattr_set(inode, "trusted.two", value, 3, 0), 0);
	free(value);
	inode_put(inode);
	return ino;
}

static void make_directories(struct image *image, struct inode *root)
{
	struct inode *a = make(root, "a", S_IFDIR | 0755), *b = make(a, "b", S_IFDIR | 0755);
	struct inode *many = make(root, "many", S_IFDIR | 0755);
	char name[64];

	image->a = a->ino;
	image->a_b = b->ino;
	image->a_b_c = make_name(b, "c", S_IFDIR | 0755);
	image->empty = make_name(root, "empty", S_IFDIR | 0700);
	make_file(a, "in-a", 10);
	make_file(b, "in-b", 10);
	image->many = many->ino;
	for (unsigned i = 0; i < MANY_NAMES; i++) {
		snprintf(name, sizeof(name), "name-%u-with-some-length", i);
		make_name(many, name, S_IFREG | 0600);
	}
	/* Free space between names. */
	for (unsigned i = 0; i < MANY_NAMES; i += 7) {
		snprintf(name, sizeof(name), "name-%u-with-some-length", i);
		assert_int_equal(ns_unlink(many, name, strlen(name)), 0);
	}
	inode_put(many);
	inode_put(b);
	inode_put(a);
}

static void make_files(struct image *image, struct inode *root)
{
	struct layout_ctx ctx = { .may_wait = true };
	struct inode *inode;

	image->small = make_file(root, "small", 5000);
	assert_int_equal(inode_get(root->vol, image->small, &inode), 0);
	assert_int_equal(ns_link(inode, root, "hard", 4), 0);
	inode_put(inode);

	inode = make(root, "pieces", S_IFREG | 0644);
	image->pieces = inode->ino;
	assert_int_equal(layout_fallocate(inode, 0, 0, PIECES * BLOCK_BYTES, &ctx), 0);
	for (uint64_t i = 1; i < PIECES; i += 2)
		write_at(inode, i * BLOCK_BYTES, BLOCK_BYTES);
	inode_put(inode);

	inode = make(root, "prealloc", S_IFREG | 0644);
	image->prealloc = inode->ino;
	assert_int_equal(layout_fallocate(inode, FALLOC_FL_KEEP_SIZE, 0, 40960, &ctx), 0);
	write_at(inode, 0, 8192);
	inode_put(inode);

	image->link = make_link(root, "link", 100);
	image->long_link = make_link(root, "long-link", 3000);
	image->fifo = make_name(root, "fifo", S_IFIFO | 0600);
	image->device = make_name(root, "device", S_IFCHR | 0600);
	image->attrs = make_with_attr(root, "attrs", 100);
	image->big_attrs = make_with_attr(root, "big-attrs", 65536);
}

static struct volume *mount_on(struct region *region, struct sync *sync)
{
	struct volume_env env = { .sync = sync, .mem = mem_heap() };
	struct volume *vol;
	char err[256];

	if (volume_mount(region, &env, &vol, err, sizeof(err)))
		fail_msg("mount: %s", err);
	return vol;
}

void image_make(struct image *ret)
{
	struct region *region = region_record_new(NULL, IMAGE_BYTES, BLOCK_BYTES);
	struct sync *sync = sync_pthread_new(NULL);
	struct format_options options = { .label = "checked" };
	struct volume *vol;
	struct inode *root;

	*ret = (struct image){ 0 };
	assert_int_equal(volume_format(region, sync, mem_heap(), &options), 0);
	vol = mount_on(region, sync);
	assert_int_equal(inode_get(vol, ROOT_INO, &root), 0);
	make_directories(ret, root);
	make_files(ret, root);
	inode_put(root);
	volume_unmount(vol);
	ret->bytes = malloc(IMAGE_BYTES);
	assert_non_null(ret->bytes);
	memcpy(ret->bytes, region_ptr(region, 0, IMAGE_BYTES), IMAGE_BYTES);
	region_close(region);
	sync_delete(sync);
}

void image_free(struct image *image)
{
	free(image->bytes);
}

/* ---- looking at all of it -------------------------------------------------------------------- */

static volatile unsigned char sink; /* where bytes go that only had to be loaded */

static void read_all(struct inode *inode, uint64_t size)
{
	uint64_t pos = 0;

	/* A repaired size may be anything: look at the beginning, and at data only. */
	while (pos < size && file_seek(inode, pos, SEEK_DATA, &pos) == 0) {
		struct read_plan plan;

		assert_int_equal(file_read_begin(inode, pos, 65536, IO_UNCACHED, &plan), 0);
		for (unsigned i = 0; i < plan.npieces; i++)
			sink = *(const unsigned char *)plan.pieces[i].iov_base;
		assert_true(plan.bytes > 0);
		pos += plan.bytes;
		file_read_end(inode, &plan);
	}
}

static void read_attrs(struct inode *inode)
{
	static char names[65536], value[65536];
	ssize_t len = xattr_list(inode, names, sizeof(names));

	assert_true(len >= 0);
	for (const char *name = names; name < names + len; name += strlen(name) + 1)
		assert_true(xattr_get(inode, name, value, sizeof(value)) >= 0);
}

static void walk(struct inode *inode, unsigned depth)
{
	struct dir_entry entry = { 0 };
	char target[MAX_SYMLINK_BYTES + 1];
	uint64_t pos = 0;
	struct attr attr;
	int err;

	assert_true(depth < 100);
	inode_attr(inode, &attr);
	read_attrs(inode);
	if (S_ISREG(attr.mode))
		read_all(inode, attr.size);
	if (S_ISLNK(attr.mode))
		assert_int_equal(ns_readlink(inode, target, sizeof(target)), 0);
	while (S_ISDIR(attr.mode)) {
		struct inode *child;

		ilock(inode, SYNC_SHARED, HERE);
		err = dir_iterate(inode, pos, &entry);
		iunlock(inode, SYNC_SHARED, HERE);
		if (err == -ENOENT)
			return;
		assert_int_equal(err, 0);
		pos = entry.pos + 1;
		assert_int_equal(ns_lookup(inode, entry.name, entry.name_len, &child), 0);
		walk(child, depth + 1);
		inode_put(child);
	}
}

void image_walk(struct region *region)
{
	struct sync *sync = sync_pthread_new(NULL);
	struct volume *vol = mount_on(region, sync);
	struct inode *root;

	assert_int_equal(inode_get(vol, ROOT_INO, &root), 0);
	walk(root, 0);
	inode_put(root);
	assert_int_equal(atomic_load(&vol->stat.errors), 0);
	volume_unmount(vol);
	sync_delete(sync);
}

/* ---- structures ------------------------------------------------------------------------------ */

void *image_block(unsigned char *bytes, uint64_t blk)
{
	assert_true(blk < IMAGE_BLOCKS);
	return bytes + (blk << BLOCK_SHIFT);
}

/* The last of @n records that begins at or before @key. */
static struct tree_rec *rec_le(struct tree_rec *recs, unsigned n, uint64_t key)
{
	struct tree_rec *found = NULL;

	for (unsigned i = 0; i < n; i++)
		if (from_le64(recs[i].key) <= key)
			found = &recs[i];
	assert_non_null(found);
	return found;
}

static struct tree_rec *find_rec(unsigned char *bytes, struct dinode *d, uint64_t lblk)
{
	struct tree_rec *rec = rec_le(d->data_recs, from_le16(d->data.nrecs), lblk);

	for (unsigned level = from_le16(d->data.level); level; level--) {
		struct tree_node *node = image_block(bytes, from_le64(rec->val));

		rec = rec_le(node->recs, from_le16(node->nrecs), lblk);
	}
	return rec;
}

static uint64_t find_extent(unsigned char *bytes, struct dinode *d, uint64_t lblk)
{
	const struct tree_rec *rec = find_rec(bytes, d, lblk);
	uint64_t at = lblk - from_le64(rec->key);

	assert_true(at < EXTENT_COUNT(from_le64(rec->val)));
	return EXTENT_PBLK(from_le64(rec->val)) + at;
}

static struct dinode *special(unsigned char *bytes)
{
	return image_block(bytes, SPECIAL_BLK);
}

struct dinode *image_dinode(unsigned char *bytes, uint64_t ino)
{
	uint64_t lblk = 1 + ino / DINODES_PER_BLOCK;

	if (ino == INODE_FILE_INO)
		return special(bytes);
	return (struct dinode *)image_block(bytes, find_extent(bytes, special(bytes), lblk)) +
	       ino % DINODES_PER_BLOCK;
}

struct map_block *image_inode_map(unsigned char *bytes)
{
	return image_block(bytes, find_extent(bytes, special(bytes), 0));
}

uint64_t image_extent_blk(unsigned char *bytes, uint64_t ino, uint64_t lblk)
{
	return find_extent(bytes, image_dinode(bytes, ino), lblk);
}

struct tree_rec *image_data_rec(unsigned char *bytes, uint64_t ino, uint64_t lblk)
{
	return find_rec(bytes, image_dinode(bytes, ino), lblk);
}

uint64_t image_free_blk(unsigned char *bytes, uint64_t from)
{
	const struct map_block *m = image_block(bytes, 1);

	while (from_le64(m->bits[PLANE_USED][from / 64]) >> from % 64 & 1)
		from++;
	assert_true(from < IMAGE_BLOCKS);
	return from;
}

#define SEAL(p) ((p)->csum = to_le32(crc32c_skip((p), sizeof(*(p)), offsetof(typeof(*(p)), csum))))

void seal_super(struct super *s)
{
	SEAL(s);
}

void seal_map(struct map_block *m)
{
	SEAL(m);
}

void seal_dinode(struct dinode *d)
{
	SEAL(d);
}

void seal_node(struct tree_node *n)
{
	SEAL(n);
}

void seal_dirblock(struct dirblock *db)
{
	SEAL(db);
}

uint32_t fsck_image_crc(const void *buf, size_t len, size_t csum_off)
{
	return crc32c_skip(buf, len, csum_off);
}

uint32_t image_is_metadata(unsigned char *bytes, uint64_t blk)
{
	const struct super *s = image_block(bytes, SUPER_BLK);
	uint64_t data = JOURNAL_BLK + (uint64_t)from_le32(s->nlanes) * from_le32(s->lane_blocks);
	uint64_t table_blocks = from_le64(special(bytes)->size) >> BLOCK_SHIFT;
	uint32_t magic = from_le32(*(le32 *)image_block(bytes, blk));

	if (blk < JOURNAL_BLK)
		return BLOCK_BYTES;
	if (blk < data)
		return 0;
	for (uint64_t lblk = 0; lblk < table_blocks; lblk++)
		if (find_extent(bytes, special(bytes), lblk) == blk)
			return BLOCK_BYTES;
	return magic == NODE_MAGIC || magic == DIRBLOCK_MAGIC ? BLOCK_BYTES : 0;
}
