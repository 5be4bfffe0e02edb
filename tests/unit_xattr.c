/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_xattr.c - extended attributes: what may be set where, against a model, in pieces, without
 * room, and on damaged media.
 */
#include "names.h"

#include <errno.h>
#include <linux/xattr.h>
#include <unistd.h>

static int set(struct inode *inode, const char *name, const char *value, int flags)
{
	return xattr_set(inode, name, value, value ? strlen(value) : 0, flags);
}

static void assert_value(struct inode *inode, const char *name, const char *value)
{
	char buf[256];

	assert_int_equal(xattr_get(inode, name, NULL, 0), strlen(value));
	assert_int_equal(xattr_get(inode, name, buf, sizeof(buf)), strlen(value));
	assert_memory_equal(buf, value, strlen(value));
}

static uint32_t blob_bytes(struct tree *tree, const struct inode *inode)
{
	const struct dinode *di = region_ptr(tree->region, inode->off, sizeof(*di));

	return from_le32(di->xattr_bytes);
}

/* ---- setting and getting --------------------------------------------------------------------------- */

static void an_attribute_is_set_replaced_listed_and_removed(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct inode *file = mkfile_in(tree->root, "file");
	char list[64];

	(void)state;
	assert_int_equal(xattr_get(file, "user.a", NULL, 0), -ENODATA);
	assert_int_equal(xattr_list(file, NULL, 0), 0);
	assert_int_equal(set(file, "user.a", "one", 0), 0);
	assert_int_equal(set(file, "user.bb", "", 0), 0);
	assert_value(file, "user.a", "one");
	assert_value(file, "user.bb", "");
	assert_int_equal(set(file, "user.a", "another", 0), 0);
	tree_remount_keeping(tree, &file);
	assert_value(file, "user.a", "another");
	assert_value(file, "user.bb", "");
	assert_int_equal(xattr_get(file, "user.b", NULL, 0), -ENODATA);
	assert_int_equal(xattr_get(file, "user.a", list, 6), -ERANGE);

	assert_int_equal(xattr_list(file, NULL, 0), 15);
	assert_int_equal(xattr_list(file, list, 14), -ERANGE);
	assert_int_equal(xattr_list(file, list, 15), 15);
	assert_true(memcmp(list, "user.a\0user.bb", 15) == 0 ||
		    memcmp(list, "user.bb\0user.a", 15) == 0);

	assert_int_equal(set(file, "user.a", NULL, 0), 0);
	assert_int_equal(xattr_get(file, "user.a", NULL, 0), -ENODATA);
	assert_int_equal(set(file, "user.a", NULL, 0), -ENODATA);
	assert_int_equal(set(file, "user.bb", NULL, 0), 0);
	assert_int_equal(xattr_list(file, NULL, 0), 0);
	assert_int_equal(blob_bytes(tree, file), 0);
	inode_put(file);
	tree_delete(tree);
}

static void create_and_replace_ask_what_is_there(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct inode *file = mkfile_in(tree->root, "file");

	(void)state;
	assert_int_equal(set(file, "user.a", "x", XATTR_REPLACE), -ENODATA);
	assert_int_equal(set(file, "user.a", "x", XATTR_CREATE), 0);
	assert_int_equal(set(file, "user.a", "y", XATTR_CREATE), -EEXIST);
	assert_value(file, "user.a", "x");
	assert_int_equal(set(file, "user.a", "y", XATTR_REPLACE), 0);
	assert_value(file, "user.a", "y");
	inode_put(file);
	tree_delete(tree);
}

static void names_and_values_have_limits(void **state)
{
	struct tree *tree = tree_new(4 << 20);
	struct inode *file = mkfile_in(tree->root, "file");
	char *big = calloc(1, MAX_XATTR_VALUE_BYTES + 1), *back = calloc(1, MAX_XATTR_VALUE_BYTES);
	char name[300] = "user.";

	(void)state;
	memset(name + 5, 'n', sizeof(name) - 6);
	assert_int_equal(set(file, name, "x", 0), -ERANGE);
	name[256] = '\0';
	assert_int_equal(set(file, name, "x", 0), -ERANGE);
	name[255] = '\0';
	assert_int_equal(set(file, name, "x", 0), 0);
	assert_value(file, name, "x");
	assert_int_equal(set(file, "", "x", 0), -ERANGE);
	assert_int_equal(set(file, "user.", "x", 0), -EINVAL);

	memset(big, 'v', MAX_XATTR_VALUE_BYTES + 1);
	assert_int_equal(xattr_set(file, "user.v", big, MAX_XATTR_VALUE_BYTES + 1, 0), -E2BIG);
	assert_int_equal(xattr_set(file, "user.v", big, MAX_XATTR_VALUE_BYTES, 0), 0);
	tree_remount_keeping(tree, &file);
	assert_int_equal(xattr_get(file, "user.v", back, MAX_XATTR_VALUE_BYTES),
			 MAX_XATTR_VALUE_BYTES);
	assert_memory_equal(big, back, MAX_XATTR_VALUE_BYTES);
	free(big);
	free(back);
	inode_put(file);
	tree_delete(tree);
}

static void all_attributes_together_have_a_limit(void **state)
{
	struct tree *tree = tree_new(8 << 20);
	struct inode *file = mkfile_in(tree->root, "file");
	char *big = calloc(1, MAX_XATTR_VALUE_BYTES), name[16];
	unsigned n = 0;
	int err = 0;

	(void)state;
	for (; !err; n += !err) {
		snprintf(name, sizeof(name), "user.%u", n);
		err = xattr_set(file, name, big, MAX_XATTR_VALUE_BYTES, 0);
	}
	assert_int_equal(err, -ENOSPC);
	assert_int_equal(n, 15); /* of 64 KiB and a name in 1 MiB */
	assert_int_equal(xattr_get(file, "user.14", NULL, 0), MAX_XATTR_VALUE_BYTES);
	assert_int_equal(xattr_get(file, "user.15", NULL, 0), -ENODATA);
	free(big);
	inode_put(file);
	tree_delete(tree);
}

static void namespaces_are_kept_apart(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct inode *file = mkfile_in(tree->root, "file"), *fifo, *link;

	(void)state;
	assert_int_equal(
		ns_create(tree->root, "fifo", 4, S_IFIFO | 0600, &nobody_special, 0, 0, &fifo), 0);
	assert_int_equal(ns_symlink(tree->root, "link", 4, "t", 1, &nobody_special, &link), 0);
	assert_int_equal(set(file, "trusted.a", "t", 0), 0);
	assert_int_equal(set(file, "security.a", "s", 0), 0);
	assert_int_equal(set(file, "user.a", "u", 0), 0);
	assert_int_equal(set(tree->root, "user.a", "r", 0), 0);
	assert_value(file, "trusted.a", "t");
	assert_value(file, "security.a", "s");
	assert_value(file, "user.a", "u");
	assert_int_equal(set(file, "system.a", "x", 0), -EOPNOTSUPP);
	assert_int_equal(set(file, "a", "x", 0), -EOPNOTSUPP);
	assert_int_equal(set(file, "users.a", "x", 0), -EOPNOTSUPP);
	assert_int_equal(set(fifo, "user.a", "x", 0), -EPERM);
	assert_int_equal(set(link, "user.a", "x", 0), -EPERM);
	assert_int_equal(set(fifo, "trusted.a", "x", 0), 0);
	assert_int_equal(set(link, "security.a", "x", 0), 0);
	inode_put(file);
	inode_put(fifo);
	inode_put(link);
	tree_delete(tree);
}

static void frozen_inodes_keep_their_attributes(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct inode *file = mkfile_in(tree->root, "file");

	(void)state;
	assert_int_equal(set(file, "user.a", "x", 0), 0);
	for (unsigned flag = DINODE_IMMUTABLE; flag <= DINODE_APPEND; flag *= 2) {
		assert_int_equal(set_flags(file, flag), 0);
		assert_int_equal(set(file, "user.a", "y", 0), -EPERM);
		assert_int_equal(set(file, "user.a", NULL, 0), -EPERM);
		assert_int_equal(set(file, "user.b", "y", 0), -EPERM);
	}
	assert_int_equal(set_flags(file, 0), 0);
	assert_value(file, "user.a", "x");
	inode_put(file);
	tree_delete(tree);
}

static void setting_an_attribute_changes_ctime_alone(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct inode *file = mkfile_in(tree->root, "file");
	struct timespec old = { .tv_sec = 1000 };
	struct attr attr = { .mtime = old, .ctime = old };

	(void)state;
	assert_int_equal(inode_setattr(file, SET_MTIME | SET_CTIME, &attr), 0);
	assert_int_equal(set(file, "user.a", "x", 0), 0);
	assert_int_equal(attr_of(file).mtime.tv_sec, 1000);
	assert_true(attr_of(file).ctime.tv_sec > 1000);
	inode_put(file);
	tree_delete(tree);
}

static void after_a_shutdown_attributes_are_errors(void **state)
{
	struct tree *tree = tree_new(1 << 20);

	(void)state;
	assert_int_equal(set(tree->root, "user.a", "x", 0), 0);
	volume_shutdown(tree->vol);
	assert_int_equal(set(tree->root, "user.a", "y", 0), -EIO);
	assert_int_equal(xattr_get(tree->root, "user.a", NULL, 0), -EIO);
	assert_int_equal(xattr_list(tree->root, NULL, 0), -EIO);
	tree_delete(tree);
}

/* ---- space -------------------------------------------------------------------------------------------- */

static void blocks_are_counted_and_given_back(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct inode *file = mkfile_in(tree->root, "file");
	uint64_t free_blocks = tree_free_blocks(tree);
	char big[10000];

	(void)state;
	memset(big, 'b', sizeof(big));
	assert_int_equal(set(file, "user.a", "x", 0), 0);
	assert_int_equal(attr_of(file).nblocks, 1);
	assert_int_equal(xattr_set(file, "user.b", big, sizeof(big), 0), 0);
	assert_int_equal(attr_of(file).nblocks, 3);
	assert_int_equal(tree_free_blocks(tree), free_blocks - 3);
	assert_int_equal(set(file, "user.b", NULL, 0), 0);
	assert_int_equal(attr_of(file).nblocks, 1);
	assert_int_equal(set(file, "user.a", NULL, 0), 0);
	assert_int_equal(attr_of(file).nblocks, 0);
	assert_int_equal(tree_free_blocks(tree), free_blocks);

	assert_int_equal(xattr_set(file, "user.b", big, sizeof(big), 0), 0);
	assert_int_equal(rm(tree->root, "file"), 0);
	inode_put(file);
	assert_int_equal(tree_free_blocks(tree), free_blocks);
	tree_delete(tree);
}

/* Fill the volume with symbolic links of a block each. Returns how many. */
static unsigned fill(struct tree *tree)
{
	char target[4000], name[16];
	struct inode *link;
	unsigned n = 0;

	memset(target, 't', sizeof(target));
	for (;; n++) {
		int err;

		snprintf(name, sizeof(name), "%u", n);
		err = put_if(ns_symlink(tree->root, name, strlen(name), target, sizeof(target),
					&nobody_special, &link),
			     &link);
		if (!err)
			continue;
		assert_int_equal(err, -ENOSPC);
		return n;
	}
}

static void values_are_kept_in_pieces_where_space_is_scattered(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct inode *file = mkfile_in(tree->root, "file");
	unsigned n = fill(tree);
	char big[40000], back[40000], name[16];
	struct extent first;
	uint64_t seed = 1;

	(void)state;
	assert_true(n > 60);
	for (unsigned i = 0; i < n; i += 2) {
		snprintf(name, sizeof(name), "%u", i);
		assert_int_equal(rm(tree->root, name), 0);
	}
	for (unsigned i = 0; i < sizeof(big); i++)
		big[i] = (char)pick(&seed, 256);
	assert_int_equal(xattr_set(file, "user.big", big, sizeof(big), 0), 0);
	ilock(file, SYNC_SHARED, HERE);
	assert_int_equal(extent_lookup(NULL, file, FORK_ATTR, 0, &first), 0);
	iunlock(file, SYNC_SHARED, HERE);
	assert_true(first.count < 10); /* else this test says nothing */
	assert_int_equal(xattr_get(file, "user.big", back, sizeof(back)), sizeof(back));
	assert_memory_equal(big, back, sizeof(back));
	tree_remount_keeping(tree, &file);
	assert_int_equal(xattr_get(file, "user.big", back, sizeof(back)), sizeof(back));
	assert_memory_equal(big, back, sizeof(back));
	assert_int_equal(set(file, "user.small", "s", 0), 0);
	assert_int_equal(set(file, "user.big", NULL, 0), 0);
	assert_value(file, "user.small", "s");
	inode_put(file);
	tree_delete(tree);
}

static void without_room_the_old_value_stays_and_can_be_removed(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct inode *file = mkfile_in(tree->root, "file");
	uint64_t free_blocks;
	char big[40000];

	(void)state;
	memset(big, 'b', sizeof(big));
	assert_int_equal(set(file, "user.a", "old", 0), 0);
	assert_int_equal(set(file, "user.b", "other", 0), 0);
	fill(tree);
	free_blocks = tree_free_blocks(tree);
	assert_int_equal(xattr_set(file, "user.a", big, sizeof(big), 0), -ENOSPC);
	assert_value(file, "user.a", "old");
	assert_int_equal(tree_free_blocks(tree), free_blocks);
	assert_int_equal(set(file, "user.b", NULL, 0), 0);
	assert_value(file, "user.a", "old");
	tree_remount_keeping(tree, &file);
	assert_value(file, "user.a", "old");
	assert_int_equal(xattr_get(file, "user.b", NULL, 0), -ENODATA);
	inode_put(file);
	tree_delete(tree);
}

/* ---- against a model ----------------------------------------------------------------------------------------- */

#define MODEL_ATTRS 24
#define MODEL_BYTES 9000

struct model {
	struct tree *tree;
	struct inode *file;
	uint64_t seed;
	int len[MODEL_ATTRS]; /* -1: not set */
	unsigned char value[MODEL_ATTRS][MODEL_BYTES];
};

static void model_name(unsigned i, char name[64])
{
	snprintf(name, 64, "%s.%.*s%u", i % 3 ? "user" : "trusted", (int)i,
		 "xxxxxxxxxxxxxxxxxxxxxxxx", i);
}

static void model_step(struct model *m)
{
	unsigned i = pick(&m->seed, MODEL_ATTRS);
	int len = (int)pick(&m->seed, pick(&m->seed, 4) ? 60 : MODEL_BYTES), err;
	unsigned char value[MODEL_BYTES];
	char name[64];

	model_name(i, name);
	if (pick(&m->seed, 5) < 2) {
		err = xattr_set(m->file, name, NULL, 0, 0);
		assert_int_equal(err, m->len[i] < 0 ? -ENODATA : 0);
		m->len[i] = -1;
		return;
	}
	memset(value, (int)pick(&m->seed, 256), sizeof(value));
	assert_int_equal(xattr_set(m->file, name, value, (size_t)len, 0), 0);
	memcpy(m->value[i], value, (size_t)len);
	m->len[i] = len;
}

static void model_compare(struct model *m)
{
	unsigned char back[MODEL_BYTES];
	size_t list = 0;
	char name[64];

	for (unsigned i = 0; i < MODEL_ATTRS; i++) {
		model_name(i, name);
		assert_int_equal(xattr_get(m->file, name, back, sizeof(back)),
				 m->len[i] < 0 ? -ENODATA : m->len[i]);
		if (m->len[i] < 0)
			continue;
		assert_memory_equal(back, m->value[i], (size_t)m->len[i]);
		list += strlen(name) + 1;
	}
	assert_int_equal(xattr_list(m->file, NULL, 0), list);
	if (blob_bytes(m->tree, m->file)) {
		uint64_t off = block_of(m->file, FORK_ATTR, 0) << BLOCK_SHIFT;
		uint32_t bytes = blob_bytes(m->tree, m->file);

		assert_int_equal(xattr_blob_check(region_ptr(m->tree->region, off, bytes), bytes,
						  m->file->ino),
				 0);
	}
}

static void attributes_behave_as_an_array_of_values(void **state)
{
	struct model *m = calloc(1, sizeof(*m));

	(void)state;
	m->seed = bed_seed(1);
	m->tree = tree_new(4 << 20);
	m->file = mkfile_in(m->tree->root, "file");
	memset(m->len, -1, sizeof(m->len));
	for (unsigned step = 0; step < 3000; step++) {
		model_step(m);
		if (step % 10 == 0)
			model_compare(m);
		if (step % 500 == 499)
			tree_remount_keeping(m->tree, &m->file);
	}
	inode_put(m->file);
	tree_delete(m->tree);
	free(m);
}

/* ---- damage ------------------------------------------------------------------------------------------------------ */

static void any_damaged_byte_of_the_blob_is_an_error(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct inode *file = mkfile_in(tree->root, "file");
	uint64_t off;
	uint32_t bytes;

	(void)state;
	assert_int_equal(set(file, "user.a", "some value", 0), 0);
	assert_int_equal(set(file, "user.bcd", "some other value", 0), 0);
	off = block_of(file, FORK_ATTR, 0) << BLOCK_SHIFT;
	bytes = blob_bytes(tree, file);
	for (uint32_t at = 0; at < bytes; at++) {
		uint8_t byte = *(const uint8_t *)region_ptr(tree->region, off + at, 1);
		uint8_t wrong = byte ^ (uint8_t)(1u << at % 8);

		overwrite(tree, off + at, &wrong, 1);
		assert_int_equal(xattr_get(file, "user.a", NULL, 0), -EIO);
		assert_int_equal(xattr_list(file, NULL, 0), -EIO);
		assert_int_equal(set(file, "user.a", "x", 0), -EIO);
		assert_int_equal(set(file, "user.a", NULL, 0), -EIO);
		overwrite(tree, off + at, &byte, 1);
	}
	assert_value(file, "user.a", "some value");
	inode_put(file);
	tree_delete(tree);
}

/* Give the first entry of the blob other lengths, and a right checksum. */
static void forge_lengths(struct tree *tree, struct inode *file, uint32_t value_bytes,
			  uint16_t name_bytes)
{
	uint64_t off = block_of(file, FORK_ATTR, 0) << BLOCK_SHIFT;
	uint32_t bytes = blob_bytes(tree, file);
	struct xattr_entry e = { .value_bytes = to_le32(value_bytes),
				 .name_bytes = to_le16(name_bytes) };
	unsigned char blob[BLOCK_BYTES];
	le32 csum;

	memcpy(blob, region_ptr(tree->region, off, sizeof(blob)), sizeof(blob));
	memcpy(blob + sizeof(struct xattr_header), &e, sizeof(e));
	csum = to_le32(crc32c_skip(blob, bytes, offsetof(struct xattr_header, csum)));
	memcpy(blob + offsetof(struct xattr_header, csum), &csum, sizeof(csum));
	overwrite(tree, off, blob, sizeof(blob));
}

static void lengths_that_lead_out_of_the_blob_are_errors(void **state)
{
	static const struct {
		uint32_t value;
		uint16_t name;
	} lengths[] = { { 11, 6 }, { 200, 6 }, { UINT32_MAX, 6 }, { 10, 0 }, { 10, 7 }, { 0, 256 } };
	struct tree *tree = tree_new(1 << 20);
	struct inode *file = mkfile_in(tree->root, "file");
	char buf[300];

	(void)state;
	assert_int_equal(set(file, "user.a", "some value", 0), 0); /* 8 + 6 + 10, without padding */
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
		for (unsigned verified = 0; verified < 2; verified++) {
			forge_lengths(tree, file, lengths[i].value, lengths[i].name);
			if (verified)
				verified_set(tree->vol, block_of(file, FORK_ATTR, 0));
			assert_int_equal(xattr_get(file, "user.a", buf, sizeof(buf)), -EIO);
			assert_int_equal(xattr_list(file, buf, sizeof(buf)), -EIO);
			assert_int_equal(set(file, "user.b", "x", 0), -EIO);
		}
	forge_lengths(tree, file, 10, 6);
	assert_value(file, "user.a", "some value");
	inode_put(file);
	tree_delete(tree);
}

/* Only crashing or hanging is wrong here. */
static void try_everything(struct tree *tree, struct inode *file)
{
	char buf[300];
	struct tx *tx;

	(void)xattr_get(file, "user.a", buf, sizeof(buf));
	(void)xattr_get(file, "user.bcd", buf, 3);
	(void)xattr_list(file, buf, sizeof(buf));
	assert_int_equal(tx_begin(tree->vol, 0, &tx, HERE), 0);
	ilock(file, SYNC_EXCL, HERE);
	(void)xattr_set_tx(tx, file, "user.new", "value", 5, 0);
	tx_abort(tx);
	iunlock(file, SYNC_EXCL, HERE);
}

static void a_hostile_blob_with_a_right_checksum_does_no_harm(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct inode *file = mkfile_in(tree->root, "file");
	unsigned char good[BLOCK_BYTES], bad[BLOCK_BYTES];
	uint64_t seed = bed_seed(1), off;
	uint32_t bytes;
	le32 csum;

	(void)state;
	assert_int_equal(set(file, "user.a", "some value", 0), 0);
	assert_int_equal(set(file, "user.bcd", "some other value", 0), 0);
	off = block_of(file, FORK_ATTR, 0) << BLOCK_SHIFT;
	bytes = blob_bytes(tree, file);
	memcpy(good, region_ptr(tree->region, off, BLOCK_BYTES), BLOCK_BYTES);
	for (unsigned round = 0; round < 4000; round++) {
		memcpy(bad, good, sizeof(bad));
		for (unsigned i = 1 + pick(&seed, 4); i; i--)
			bad[8 + pick(&seed, bytes - 8)] =
				pick(&seed, 3) ? (unsigned char)pick(&seed, 256) : 0;
		csum = to_le32(crc32c_skip(bad, bytes, offsetof(struct xattr_header, csum)));
		memcpy(bad + offsetof(struct xattr_header, csum), &csum, sizeof(csum));
		overwrite(tree, off, bad, sizeof(bad));
		/* As if it had been good when it was checked, and changed since. */
		if (pick(&seed, 2))
			verified_set(tree->vol, off >> BLOCK_SHIFT);
		try_everything(tree, file);
	}
	overwrite(tree, off, good, sizeof(good));
	assert_value(file, "user.a", "some value");
	inode_put(file);
	tree_delete(tree);
}

static void a_dinode_that_lies_about_its_attributes_is_an_error(void **state)
{
	static const uint32_t sizes[] = {
		1, 23, 24, 4096, 5000, MAX_XATTR_BLOB_BYTES, MAX_XATTR_BLOB_BYTES + 1, UINT32_MAX
	};
	struct tree *tree = tree_new(1 << 20);
	struct inode *file = mkfile_in(tree->root, "file");
	struct dinode good, di;

	(void)state;
	assert_int_equal(set(file, "user.a", "some value", 0), 0);
	memcpy(&good, region_ptr(tree->region, file->off, sizeof(good)), sizeof(good));
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		di = good;
		di.xattr_bytes = to_le32(sizes[i]);
		forge_dinode(tree, file, &di);
		verified_clear(tree->vol, block_of(file, FORK_ATTR, 0));
		assert_int_equal(xattr_get(file, "user.a", NULL, 0), -EIO);
		assert_int_equal(set(file, "user.a", "x", 0), -EIO);
	}
	di = good;
	di.attr_recs[0].val = to_le64(EXTENT_PACK(UINT64_C(1) << 39, 1, 0));
	forge_dinode(tree, file, &di);
	assert_int_equal(xattr_get(file, "user.a", NULL, 0), -EIO);
	di.attr_recs[0].val = to_le64(EXTENT_PACK(SUPER_BLK, 1, 0));
	forge_dinode(tree, file, &di);
	assert_int_equal(xattr_get(file, "user.a", NULL, 0), -EIO);
	forge_dinode(tree, file, &good);
	assert_value(file, "user.a", "some value");
	inode_put(file);
	tree_delete(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_attribute_is_set_replaced_listed_and_removed),
		cmocka_unit_test(create_and_replace_ask_what_is_there),
		cmocka_unit_test(names_and_values_have_limits),
		cmocka_unit_test(all_attributes_together_have_a_limit),
		cmocka_unit_test(namespaces_are_kept_apart),
		cmocka_unit_test(frozen_inodes_keep_their_attributes),
		cmocka_unit_test(setting_an_attribute_changes_ctime_alone),
		cmocka_unit_test(after_a_shutdown_attributes_are_errors),
		cmocka_unit_test(blocks_are_counted_and_given_back),
		cmocka_unit_test(values_are_kept_in_pieces_where_space_is_scattered),
		cmocka_unit_test(without_room_the_old_value_stays_and_can_be_removed),
		cmocka_unit_test(attributes_behave_as_an_array_of_values),
		cmocka_unit_test(any_damaged_byte_of_the_blob_is_an_error),
		cmocka_unit_test(lengths_that_lead_out_of_the_blob_are_errors),
		cmocka_unit_test(a_hostile_blob_with_a_right_checksum_does_no_harm),
		cmocka_unit_test(a_dinode_that_lies_about_its_attributes_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
