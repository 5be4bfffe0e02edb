/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * xattr.c - whether an inode's attribute blob is one. It has a checksum over all of it and is
 * never changed in place, so there is nothing in between: it is good, or it is dropped.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "impl.h"

struct blob {
	struct extents e;
	unsigned char *bytes;
	uint64_t nblocks, next;
};

static int gather(struct extents *e, const struct ext *ext, bool suspect)
{
	struct blob *b = (struct blob *)e;

	(void)suspect;
	if (ext->lblk != b->next || ext->unwritten || ext->count > b->nblocks - b->next)
		return -EUCLEAN;
	for (uint64_t i = 0; i < ext->count; i++)
		if (!fsck_readable(e->walk.f, ext->pblk + i))
			return -EIO;
	memcpy(b->bytes + (b->next << BLOCK_SHIFT),
	       region_ptr(e->walk.f->region, ext->pblk << BLOCK_SHIFT, ext->count << BLOCK_SHIFT),
	       ext->count << BLOCK_SHIFT);
	b->next += ext->count;
	return 0;
}

struct attr_name {
	const char *name;
	uint16_t len;
};

static int by_name(const void *a, const void *b)
{
	const struct attr_name *x = a, *y = b;
	size_t n = x->len < y->len ? x->len : y->len;
	int diff = memcmp(x->name, y->name, n);

	return diff ? diff : (x->len > y->len) - (x->len < y->len);
}

/* The length of the entry at @p, of which @left bytes are there; 0: it is none. */
static uint64_t entry_bytes(const unsigned char *p, uint64_t left, struct attr_name *ret)
{
	struct xattr_entry e;
	uint64_t bytes;

	if (left < sizeof(e))
		return 0;
	memcpy(&e, p, sizeof(e));
	ret->name = (const char *)p + sizeof(e);
	ret->len = from_le16(e.name_bytes);
	if (!ret->len || ret->len > MAX_NAME_BYTES ||
	    from_le32(e.value_bytes) > MAX_XATTR_VALUE_BYTES)
		return 0;
	bytes = XATTR_ENTRY_BYTES(ret->len, from_le32(e.value_bytes));
	if (bytes > left || memchr(ret->name, '\0', ret->len))
		return 0;
	return bytes;
}

static const char *check_entries(const unsigned char *bytes, uint32_t size, uint32_t n)
{
	struct attr_name *names;
	uint64_t off = sizeof(struct xattr_header), len = 1;
	const char *what = NULL;

	if (!n || n > size / sizeof(struct xattr_entry))
		return "their number is impossible";
	names = calloc(n, sizeof(*names));
	if (!names)
		return "there is no memory to check them";
	for (uint32_t i = 0; len && i < n; i++, off += len)
		len = entry_bytes(bytes + off, size - off, &names[i]);
	if (!len || off != size) {
		what = "an entry is malformed";
	} else {
		qsort(names, n, sizeof(*names), by_name);
		for (uint32_t i = 1; i < n; i++)
			if (by_name(&names[i - 1], &names[i]) == 0)
				what = "a name is there twice";
	}
	free(names);
	return what;
}

static const char *check_blob(uint64_t ino, const unsigned char *bytes, uint32_t size)
{
	struct xattr_header header;

	memcpy(&header, bytes, sizeof(header));
	if (from_le32(header.magic) != XATTR_MAGIC || from_le64(header.owner) != ino)
		return "what stands in their place is something else";
	if (from_le32(header.csum) != crc32c_skip(bytes, size, offsetof(struct xattr_header, csum)))
		return "the checksum is wrong";
	return check_entries(bytes, size, from_le32(header.nentries));
}

bool fsck_xattr_good(struct fsck *f, uint64_t ino, const struct dinode *d, char *why,
		     size_t why_len)
{
	struct blob b = { .e = { .walk = { .f = f, .ino = ino, .fork = FORK_ATTR, .quiet = true },
				 .fn = gather } };
	uint32_t size = from_le32(d->xattr_bytes);
	const char *what = NULL;

	if (!size && !d->attr.nrecs && !d->attr.level)
		return true;
	b.e.walk.generation = from_le32(d->generation);
	b.nblocks = ((uint64_t)size + BLOCK_BYTES - 1) >> BLOCK_SHIFT;
	if (size < sizeof(struct xattr_header) || size > MAX_XATTR_BLOB_BYTES) {
		snprintf(why, why_len, "their length is impossible");
		return false;
	}
	b.bytes = malloc(b.nblocks << BLOCK_SHIFT);
	if (!b.bytes || fsck_extents(&b.e, d) || b.next != b.nblocks || b.e.walk.damaged)
		what = "their blocks are not all there";
	else
		what = check_blob(ino, b.bytes, size);
	free(b.bytes);
	if (what)
		snprintf(why, why_len, "%s", what);
	return !what;
}
