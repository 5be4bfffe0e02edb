/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * xattr.c - extended attributes: one blob for all of an inode's.
 *
 * A change composes the whole blob anew in memory, stores it to blocks that nobody refers to yet,
 * and lets one transaction put those in the place of the old ones. The stores need no journal:
 * the commit's first fence makes them durable before the extent that leads to them. Attributes
 * are few, small and seldom written, so there is nothing cleverer to gain.
 *
 * Most files have none, and the kernel asks for security.capability at every write: that is
 * answered from the dinode alone (xattr_bytes is 0).
 *
 * A blob is checked wholly when it is met first since mount, and remembered by its first block. It
 * never changes in place. Every use still keeps to the bounds, as in dir.c.
 *
 * Locks: the ilock, shared to read, exclusive to change.
 */
#include "xattr.h"

#include <assert.h>
#include <errno.h>
#include <linux/xattr.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include "acl.h"
#include "alloc.h"
#include "crc.h"
#include "extent.h"
#include "get_blocks.h"
#include "inode.h"
#include "journal.h"
#include "mem.h"
#include "region.h"
#include "verified.h"
#include "volume.h"

#define HEADER_BYTES ((uint32_t)sizeof(struct xattr_header))

static uint64_t blocks_for(uint32_t bytes)
{
	return ((uint64_t)bytes + BLOCK_BYTES - 1) >> BLOCK_SHIFT;
}

/* ---- a blob, in memory or on the medium --------------------------------------------------------- */

struct blob {
	const unsigned char *bytes; /* NULL: no attributes */
	uint32_t size, nentries;
	void *copy; /* of a blob in several pieces: to be freed */
};

/* An entry of a blob, within bounds. */
struct entry {
	const char *name;
	const unsigned char *value;
	uint32_t name_bytes, value_bytes;
	uint32_t bytes; /* to the next one */
};

static bool entry_at(const struct blob *blob, uint32_t off, struct entry *ret)
{
	struct xattr_entry disk;
	struct entry e;

	if (off > blob->size || blob->size - off < sizeof(disk))
		return false;
	memcpy(&disk, blob->bytes + off, sizeof(disk));
	e.name_bytes = from_le16(disk.name_bytes);
	e.value_bytes = from_le32(disk.value_bytes);
	if (!e.name_bytes || e.name_bytes > MAX_NAME_BYTES || e.value_bytes > MAX_XATTR_VALUE_BYTES)
		return false;
	e.bytes = XATTR_ENTRY_BYTES(e.name_bytes, e.value_bytes);
	if (e.bytes > blob->size - off)
		return false;
	e.name = (const char *)blob->bytes + off + sizeof(disk);
	e.value = (const unsigned char *)e.name + e.name_bytes;
	*ret = e;
	return true;
}

static bool entry_is_named(const struct entry *e, const char *name)
{
	return strlen(name) == e->name_bytes && memcmp(name, e->name, e->name_bytes) == 0;
}

int xattr_blob_check(const void *blob, uint32_t bytes, uint64_t ino)
{
	const struct xattr_header *header = blob;
	struct blob b = { .bytes = blob, .size = bytes };
	uint32_t off = HEADER_BYTES;
	struct entry e;

	if (bytes < HEADER_BYTES || bytes > MAX_XATTR_BLOB_BYTES ||
	    from_le32(header->magic) != XATTR_MAGIC || from_le64(header->owner) != ino ||
	    !header->nentries)
		return -EUCLEAN;
	if (from_le32(header->csum) !=
	    crc32c_skip(blob, bytes, offsetof(struct xattr_header, csum)))
		return -EUCLEAN;
	for (uint32_t i = 0; i < from_le32(header->nentries); i++, off += e.bytes)
		if (!entry_at(&b, off, &e) || memchr(e.name, '\0', e.name_bytes))
			return -EUCLEAN;
	return off == bytes ? 0 : -EUCLEAN;
}

static int blob_damaged(const struct inode *inode)
{
	return volume_damaged(inode->vol, inode->off, "extended attributes");
}

/* Where block @lblk of the attributes stands, and how many of @count follow it there. */
static int blob_piece(struct tx *tx, struct inode *inode, uint64_t lblk, uint64_t count,
		      uint64_t *ret_pblk, uint64_t *ret_count)
{
	struct extent ext;
	uint64_t pblk, n;
	int err = extent_lookup(tx, inode, FORK_ATTR, lblk, &ext);

	if (err)
		return err;
	if (ext.state != EXTENT_WRITTEN)
		return blob_damaged(inode);
	pblk = ext.pblk + (lblk - ext.lblk);
	n = ext.count - (lblk - ext.lblk);
	n = n < count ? n : count;
	if (!volume_owns_data(inode->vol, pblk, n))
		return blob_damaged(inode);
	*ret_pblk = pblk;
	*ret_count = n;
	return 0;
}

/* Bring the pieces of a blob together in memory. */
static int blob_gather(struct tx *tx, struct inode *inode, struct blob *blob)
{
	struct volume *vol = inode->vol;
	uint64_t nblocks = blocks_for(blob->size), pblk, count;
	unsigned char *copy = mem_alloc(vol->mem, nblocks << BLOCK_SHIFT);
	int err = copy ? 0 : -ENOMEM;

	for (uint64_t lblk = 0; !err && lblk < nblocks; lblk += count) {
		err = blob_piece(tx, inode, lblk, nblocks - lblk, &pblk, &count);
		if (err)
			break;
		memcpy(copy + (lblk << BLOCK_SHIFT),
		       region_ptr(vol->region, pblk << BLOCK_SHIFT, count << BLOCK_SHIFT),
		       count << BLOCK_SHIFT);
		err = region_check(vol->region, pblk << BLOCK_SHIFT, count << BLOCK_SHIFT);
	}
	if (err) {
		mem_free(vol->mem, copy);
		return err;
	}
	blob->copy = copy;
	blob->bytes = copy;
	return 0;
}

static void blob_close(struct inode *inode, struct blob *blob)
{
	mem_free(inode->vol->mem, blob->copy);
}

/*
 * Check what was read. In a transaction nothing is remembered as verified: should it abort, the
 * block would be free and the memory of it wrong.
 */
static int blob_verify(struct tx *tx, struct inode *inode, uint64_t pblk, struct blob *blob)
{
	const struct xattr_header *header = (const void *)blob->bytes;

	if (!verified_test(inode->vol, pblk)) {
		if (xattr_blob_check(blob->bytes, blob->size, inode->ino))
			return blob_damaged(inode);
		if (!tx)
			verified_set(inode->vol, pblk);
	}
	if (from_le32(header->magic) != XATTR_MAGIC || from_le64(header->owner) != inode->ino)
		return blob_damaged(inode);
	blob->nentries = from_le32(header->nentries);
	return 0;
}

static int blob_open(struct tx *tx, struct inode *inode, struct blob *ret_blob)
{
	struct volume *vol = inode->vol;
	struct blob blob = { .size = from_le32(inode_peek(tx, inode)->xattr_bytes) };
	uint64_t pblk, count;
	int err;

	if (!blob.size) {
		*ret_blob = blob;
		return 0;
	}
	if (blob.size < HEADER_BYTES || blob.size > MAX_XATTR_BLOB_BYTES)
		return blob_damaged(inode);
	err = blob_piece(tx, inode, 0, blocks_for(blob.size), &pblk, &count);
	if (err)
		return err;
	if (count == blocks_for(blob.size))
		blob.bytes = region_ptr(vol->region, pblk << BLOCK_SHIFT, blob.size);
	else
		err = blob_gather(tx, inode, &blob);
	if (!err)
		err = blob_verify(tx, inode, pblk, &blob);
	if (!err)
		err = region_check(vol->region, pblk << BLOCK_SHIFT, count << BLOCK_SHIFT);
	if (err) {
		blob_close(inode, &blob);
		return err;
	}
	*ret_blob = blob;
	return 0;
}

/* 0, -ENODATA, or -EIO where the blob's own counters lead out of it. */
static int blob_find(struct inode *inode, const struct blob *blob, const char *name,
		     struct entry *ret_entry)
{
	uint32_t off = HEADER_BYTES;
	struct entry e;

	for (uint32_t i = 0; i < blob->nentries; i++, off += e.bytes) {
		if (!entry_at(blob, off, &e))
			return blob_damaged(inode);
		if (!entry_is_named(&e, name))
			continue;
		*ret_entry = e;
		return 0;
	}
	return -ENODATA;
}

/* ---- reading --------------------------------------------------------------------------------- */

ssize_t xattr_get_tx(struct tx *tx, struct inode *inode, const char *name, void *buf, size_t size)
{
	struct blob blob;
	struct entry e = { 0 };
	ssize_t ret;

	sync_rw_assert(&inode->ilock, SYNC_SHARED);
	ret = blob_open(tx, inode, &blob);
	if (ret)
		return ret;
	ret = blob_find(inode, &blob, name, &e);
	if (!ret) {
		ret = e.value_bytes;
		if (size && size < e.value_bytes)
			ret = -ERANGE;
		else if (size)
			memcpy(buf, e.value, e.value_bytes);
	}
	blob_close(inode, &blob);
	return ret;
}

ssize_t xattr_get(struct inode *inode, const char *name, void *buf, size_t size)
{
	ssize_t ret = volume_usable(inode->vol, false);

	if (ret)
		return ret;
	ilock(inode, SYNC_SHARED, HERE);
	ret = xattr_get_tx(NULL, inode, name, buf, size);
	iunlock(inode, SYNC_SHARED, HERE);
	return ret;
}

static ssize_t blob_list(struct inode *inode, const struct blob *blob, char *buf, size_t size)
{
	uint32_t off = HEADER_BYTES;
	size_t len = 0;
	struct entry e;

	for (uint32_t i = 0; i < blob->nentries; i++, off += e.bytes) {
		if (!entry_at(blob, off, &e))
			return blob_damaged(inode);
		if (size) {
			if (size - len < e.name_bytes + 1)
				return -ERANGE;
			memcpy(buf + len, e.name, e.name_bytes);
			buf[len + e.name_bytes] = '\0';
		}
		len += e.name_bytes + 1;
	}
	return (ssize_t)len;
}

ssize_t xattr_list(struct inode *inode, char *buf, size_t size)
{
	struct blob blob;
	ssize_t ret = volume_usable(inode->vol, false);

	if (ret)
		return ret;
	ilock(inode, SYNC_SHARED, HERE);
	ret = blob_open(NULL, inode, &blob);
	if (!ret) {
		ret = blob_list(inode, &blob, buf, size);
		blob_close(inode, &blob);
	}
	iunlock(inode, SYNC_SHARED, HERE);
	return ret;
}

/* ---- composing ------------------------------------------------------------------------------- */

/* A blob being written in memory. With no memory it only counts. */
struct draft {
	unsigned char *bytes;
	uint32_t size, nentries, space;
};

static bool draft_add(struct draft *d, const char *name, uint32_t name_bytes, const void *value,
		      uint32_t value_bytes)
{
	uint32_t bytes = XATTR_ENTRY_BYTES(name_bytes, value_bytes);

	if (d->bytes) {
		struct xattr_entry disk = { .value_bytes = to_le32(value_bytes),
					    .name_bytes = to_le16((uint16_t)name_bytes) };
		unsigned char *at = d->bytes + d->size;

		/* The old blob may have changed since it was counted, where something aliases it. */
		if (bytes > d->space - d->size)
			return false;
		memcpy(at, &disk, sizeof(disk));
		memcpy(at + sizeof(disk), name, name_bytes);
		memcpy(at + sizeof(disk) + name_bytes, value, value_bytes);
	}
	d->size += bytes;
	d->nentries++;
	return true;
}

static bool is_changed(const struct xattr_change *changes, unsigned n, const struct entry *e)
{
	for (unsigned i = 0; i < n; i++)
		if (entry_is_named(e, changes[i].name))
			return true;
	return false;
}

/* Put what stays of @blob, and what @changes set, into @d. *@ret_changed: something differs. */
static int draft_compose(struct draft *d, struct inode *inode, const struct blob *blob,
			 const struct xattr_change *changes, unsigned n, bool *ret_changed)
{
	uint32_t off = HEADER_BYTES;
	struct entry e;

	*ret_changed = false;
	d->size = HEADER_BYTES;
	d->nentries = 0;
	for (uint32_t i = 0; i < blob->nentries; i++, off += e.bytes) {
		if (!entry_at(blob, off, &e))
			return blob_damaged(inode);
		if (is_changed(changes, n, &e))
			*ret_changed = true;
		else if (!draft_add(d, e.name, e.name_bytes, e.value, e.value_bytes))
			return blob_damaged(inode);
	}
	for (unsigned i = 0; i < n; i++) {
		if (!changes[i].value)
			continue;
		if (!draft_add(d, changes[i].name, (uint32_t)strlen(changes[i].name),
			       changes[i].value, (uint32_t)changes[i].size))
			return blob_damaged(inode);
		*ret_changed = true;
	}
	return 0;
}

static void draft_seal(struct draft *d, uint64_t ino)
{
	struct xattr_header header = { .magic = to_le32(XATTR_MAGIC),
				       .owner = to_le64(ino),
				       .nentries = to_le32(d->nentries) };

	memcpy(d->bytes, &header, sizeof(header));
	header.csum = to_le32(crc32c_skip(d->bytes, d->size, offsetof(struct xattr_header, csum)));
	memcpy(d->bytes, &header, sizeof(header));
}

/* ---- putting in place --------------------------------------------------------------------------- */

static int attr_free(struct tx *tx, struct inode *inode)
{
	struct extent ext;
	bool done;
	int err = extent_lookup(tx, inode, FORK_ATTR, 0, &ext);

	if (err)
		return err;
	if (ext.state != EXTENT_HOLE && volume_owns_data(inode->vol, ext.pblk, 1))
		verified_clear(inode->vol, ext.pblk);
	err = put_blocks(tx, inode, FORK_ATTR, 0, MAX_FILE_BLOCKS, false, &done);
	return err || done ? err : -EFBIG;
}

/* Store a sealed draft, zero behind its end, to fresh blocks of the inode. */
static int attr_store(struct tx *tx, struct inode *inode, const struct draft *d)
{
	struct volume *vol = inode->vol;
	uint64_t lblk = 0, nblocks = blocks_for(d->size);

	while (lblk < nblocks) {
		struct alloc_request req = { .count = (uint32_t)(nblocks - lblk) };
		struct extent ext = { .lblk = lblk, .state = EXTENT_WRITTEN };
		uint32_t count;
		int err = alloc_blocks(tx, &req, &ext.pblk, &count);

		if (err)
			return err;
		ext.count = count;
		region_store(vol->region, ext.pblk << BLOCK_SHIFT, d->bytes + (lblk << BLOCK_SHIFT),
			     (size_t)count << BLOCK_SHIFT, HERE);
		err = region_check(vol->region, ext.pblk << BLOCK_SHIFT,
				   (uint64_t)count << BLOCK_SHIFT);
		if (!err)
			err = extent_insert(tx, inode, FORK_ATTR, &ext);
		if (err)
			return err;
		lblk += count;
	}
	return 0;
}

static int attr_replace(struct tx *tx, struct inode *inode, const struct draft *d)
{
	struct dinode *di;
	int err = inode_modify(tx, inode, &di);

	if (!err)
		err = attr_free(tx, inode);
	if (!err && d->nentries)
		err = attr_store(tx, inode, d);
	if (err)
		return err;
	if (d->nentries)
		di->nblocks = to_le64(from_le64(di->nblocks) + blocks_for(d->size));
	di->xattr_bytes = to_le32(d->nentries ? d->size : 0);
	return 0;
}

/* Compose the new blob and put it in the place of @blob. */
static int blob_rewrite(struct tx *tx, struct inode *inode, const struct blob *blob,
			const struct xattr_change *changes, unsigned n)
{
	struct volume *vol = inode->vol;
	struct draft d = { 0 };
	bool changed;
	int err = draft_compose(&d, inode, blob, changes, n, &changed);

	if (err || !changed)
		return err;
	if (d.size > MAX_XATTR_BLOB_BYTES)
		return -ENOSPC;
	d.space = d.size;
	d.bytes = mem_alloc(vol->mem, blocks_for(d.size) << BLOCK_SHIFT);
	if (!d.bytes)
		return -ENOMEM;
	err = draft_compose(&d, inode, blob, changes, n, &changed);
	if (!err) {
		draft_seal(&d, inode->ino);
		err = attr_replace(tx, inode, &d);
	}
	mem_free(vol->mem, d.bytes);
	return err;
}

int xattr_change_tx(struct tx *tx, struct inode *inode, const struct xattr_change *changes,
		    unsigned n)
{
	struct blob blob;
	int err;

	sync_rw_assert(&inode->ilock, SYNC_EXCL);
	err = blob_open(tx, inode, &blob);
	if (err)
		return err;
	err = blob_rewrite(tx, inode, &blob, changes, n);
	blob_close(inode, &blob);
	return err;
}

/* ---- setting --------------------------------------------------------------------------------- */

static bool has_prefix(const char *name, const char *prefix)
{
	return strncmp(name, prefix, strlen(prefix)) == 0;
}

static bool is_acl(const char *name)
{
	return strcmp(name, ACL_ACCESS) == 0 || strcmp(name, ACL_DEFAULT) == 0;
}

/* Whether an attribute of that name may be set on the inode. */
static int name_check(const struct inode *inode, const char *name)
{
	static const char *const prefixes[] = { "user.", "trusted.", "security." };
	size_t len = strnlen(name, MAX_NAME_BYTES + 1);

	if (!len || len > MAX_NAME_BYTES)
		return -ERANGE;
	if (is_acl(name))
		return S_ISLNK(inode->type) ? -EOPNOTSUPP : 0;
	for (unsigned i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		if (!has_prefix(name, prefixes[i]))
			continue;
		if (!name[strlen(prefixes[i])])
			return -EINVAL;
		/* Else everybody could fill the disk through a device or a symlink (xattr(7)). */
		if (i == 0 && !S_ISREG(inode->type) && !S_ISDIR(inode->type))
			return -EPERM;
		return 0;
	}
	return -EOPNOTSUPP;
}

/* Check an ACL to be set, and give the mode what it says. *@value becomes NULL: nothing to store. */
static int acl_prepare(struct tx *tx, struct inode *inode, struct xattr_change *change)
{
	struct dinode *di;
	bool trivial;
	mode_t mode;
	int err;

	if (!change->value || change->size <= 4) { /* a header alone: no entries */
		change->value = NULL;
		return 0;
	}
	if (strcmp(change->name, ACL_DEFAULT) == 0 && !S_ISDIR(inode->type))
		return -EACCES;
	err = acl_check(change->value, change->size);
	if (err || strcmp(change->name, ACL_DEFAULT) == 0)
		return err;
	err = inode_modify(tx, inode, &di);
	if (err)
		return err;
	mode = from_le32(di->mode);
	acl_to_mode(change->value, change->size, &mode, &trivial);
	di->mode = to_le32(mode);
	if (trivial)
		change->value = NULL;
	return 0;
}

/* Whether @flags and removal allow what is (not) there. */
static int presence_check(struct tx *tx, struct inode *inode, const struct xattr_change *change,
			  int flags)
{
	ssize_t n = xattr_get_tx(tx, inode, change->name, NULL, 0);

	if (n < 0 && n != -ENODATA)
		return (int)n;
	if (n >= 0)
		return flags & XATTR_CREATE ? -EEXIST : 0;
	if (!change->value)
		return is_acl(change->name) ? 0 : -ENODATA;
	return flags & XATTR_REPLACE ? -ENODATA : 0;
}

int xattr_set_tx(struct tx *tx, struct inode *inode, const char *name, const void *value,
		 size_t size, int flags)
{
	struct xattr_change change = { name, value, size };
	struct dinode *di;
	int err = name_check(inode, name);

	sync_rw_assert(&inode->ilock, SYNC_EXCL);
	if (err)
		return err;
	if (size > MAX_XATTR_VALUE_BYTES)
		return -E2BIG;
	if (from_le32(inode_peek(tx, inode)->flags) & (DINODE_IMMUTABLE | DINODE_APPEND))
		return -EPERM;
	err = presence_check(tx, inode, &change, flags);
	if (!err && is_acl(name))
		err = acl_prepare(tx, inode, &change);
	if (!err)
		err = xattr_change_tx(tx, inode, &change, 1);
	if (!err)
		err = inode_modify(tx, inode, &di);
	if (!err)
		dinode_touch(inode->vol, di, TOUCH_CTIME);
	/* A blob in very many pieces is a full volume, not a file that is too large. */
	return err == -EFBIG ? -ENOSPC : err;
}

int xattr_set(struct inode *inode, const char *name, const void *value, size_t size, int flags)
{
	struct tx *tx;
	int err;

	/* Removing needs room for what stays, and gives back more. */
	err = tx_begin(inode->vol, value ? 0 : TX_RESERVE, &tx, HERE);
	if (err)
		return err;
	ilock(inode, SYNC_EXCL, HERE);
	err = tx_end(tx, xattr_set_tx(tx, inode, name, value, size, flags));
	iunlock(inode, SYNC_EXCL, HERE);
	return err;
}
