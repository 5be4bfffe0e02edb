/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * acl.c - POSIX access control lists: form, inheritance, agreement with the mode. The kernel
 * enforces what stands in them.
 *
 * An access ACL and the mode say the same thing twice: owner and others are in both, and the
 * mode's group bits are the ACL's mask (or its owning group's entry, where there is no mask).
 * Whoever changes one changes the other in the same transaction, so that no crash lets a file be
 * read that its owner had closed.
 *
 * Locks: the caller holds the ilock of the inode exclusively, of the parent at least shared.
 */
#include "acl.h"

#include <errno.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include "format.h"
#include "inode.h"
#include "journal.h"
#include "mem.h"
#include "volume.h"
#include "xattr.h"

#define ACL_HEADER_BYTES sizeof(struct posix_acl_xattr_header)
#define ACL_ENTRY_BYTES sizeof(struct posix_acl_xattr_entry)
#define ACL_MAX_BYTES (ACL_HEADER_BYTES + ACL_MAX_ENTRIES * ACL_ENTRY_BYTES)

/* An entry in host order. */
struct ace {
	unsigned tag, perm;
	uint32_t id;
};

static size_t ace_count(size_t size)
{
	return (size - ACL_HEADER_BYTES) / ACL_ENTRY_BYTES;
}

static struct ace ace_get(const void *value, size_t i)
{
	struct posix_acl_xattr_entry e;

	memcpy(&e, (const char *)value + ACL_HEADER_BYTES + i * ACL_ENTRY_BYTES, sizeof(e));
	return (struct ace){ from_le16(e.e_tag), from_le16(e.e_perm), from_le32(e.e_id) };
}

static void ace_set_perm(void *value, size_t i, unsigned perm)
{
	char *at = (char *)value + ACL_HEADER_BYTES + i * ACL_ENTRY_BYTES +
		   offsetof(struct posix_acl_xattr_entry, e_perm);
	le16 disk = to_le16((uint16_t)perm);

	memcpy(at, &disk, sizeof(disk));
}

/* Where an entry may stand; 0: unknown tag. Entries come in rising order of this. */
static unsigned ace_rank(unsigned tag)
{
	switch (tag) {
	case ACL_USER_OBJ:
		return 1;
	case ACL_USER:
		return 2;
	case ACL_GROUP_OBJ:
		return 3;
	case ACL_GROUP:
		return 4;
	case ACL_MASK:
		return 5;
	case ACL_OTHER:
		return 6;
	default:
		return 0;
	}
}

static bool ace_is_named(unsigned tag)
{
	return tag == ACL_USER || tag == ACL_GROUP;
}

int acl_check(const void *value, size_t size)
{
	unsigned seen = 0, last = 0;
	le32 version;

	if (size < ACL_HEADER_BYTES || size > ACL_MAX_BYTES ||
	    (size - ACL_HEADER_BYTES) % ACL_ENTRY_BYTES)
		return -EINVAL;
	memcpy(&version, value, sizeof(version));
	if (from_le32(version) != POSIX_ACL_XATTR_VERSION)
		return -EINVAL;
	for (size_t i = 0; i < ace_count(size); i++) {
		struct ace ace = ace_get(value, i);
		unsigned rank = ace_rank(ace.tag);

		if (!rank || ace.perm > 7 || rank < last ||
		    (rank == last && !ace_is_named(ace.tag)))
			return -EINVAL;
		if (ace_is_named(ace.tag) && ace.id == (uint32_t)ACL_UNDEFINED_ID)
			return -EINVAL;
		seen |= ace.tag;
		last = rank;
	}
	/* A named entry is limited by the mask, so there has to be one. */
	if ((seen & (ACL_USER | ACL_GROUP)) && !(seen & ACL_MASK))
		return -EINVAL;
	if ((seen & ACL_USER_OBJ) && (seen & ACL_GROUP_OBJ) && (seen & ACL_OTHER))
		return 0;
	return -EINVAL;
}

void acl_to_mode(const void *value, size_t size, mode_t *mode, bool *ret_trivial)
{
	unsigned user = 0, group = 0, other = 0, mask = 0;
	bool trivial = true, masked = false;

	for (size_t i = 0; i < ace_count(size); i++) {
		struct ace ace = ace_get(value, i);

		if (ace.tag == ACL_USER_OBJ)
			user = ace.perm;
		else if (ace.tag == ACL_GROUP_OBJ)
			group = ace.perm;
		else if (ace.tag == ACL_OTHER)
			other = ace.perm;
		else
			trivial = false;
		if (ace.tag == ACL_MASK) {
			mask = ace.perm;
			masked = true;
		}
	}
	*mode = (*mode & ~(mode_t)0777) | user << 6 | (masked ? mask : group) << 3 | other;
	*ret_trivial = trivial;
}

static bool acl_has_mask(const void *value, size_t size)
{
	for (size_t i = 0; i < ace_count(size); i++)
		if (ace_get(value, i).tag == ACL_MASK)
			return true;
	return false;
}

/* The bits of @mode that the entry @tag shares with it, as a shift; -1: none. */
static int mode_shift(unsigned tag, bool has_mask)
{
	if (tag == ACL_USER_OBJ)
		return 6;
	if (tag == (has_mask ? ACL_MASK : ACL_GROUP_OBJ))
		return 3;
	return tag == ACL_OTHER ? 0 : -1;
}

/* An ACL read from an inode, in memory of its own. */
struct acl {
	unsigned char *value;
	size_t size; /* 0: there is none */
};

static void acl_unload(struct volume *vol, struct acl *acl)
{
	mem_free(vol->mem, acl->value);
}

static int acl_load(struct tx *tx, struct inode *inode, const char *name, struct acl *ret_acl)
{
	struct volume *vol = inode->vol;
	struct acl acl = { 0 };
	ssize_t n;

	if (!inode_peek(tx, inode)->xattr_bytes) {
		*ret_acl = acl;
		return 0;
	}
	acl.value = mem_alloc(vol->mem, ACL_MAX_BYTES);
	if (!acl.value)
		return -ENOMEM;
	n = xattr_get_tx(tx, inode, name, acl.value, ACL_MAX_BYTES);
	if (n > 0 && acl_check(acl.value, (size_t)n) == 0) {
		acl.size = (size_t)n;
	} else if (n != -ENODATA) {
		acl_unload(vol, &acl);
		return n == -EIO ? -EIO : volume_damaged(vol, inode->off, "stored ACL");
	}
	*ret_acl = acl;
	return 0;
}

int acl_chmod(struct tx *tx, struct inode *inode, mode_t mode)
{
	struct acl acl;
	bool has_mask;
	int err;

	sync_rw_assert(&inode->ilock, SYNC_EXCL);
	err = acl_load(tx, inode, ACL_ACCESS, &acl);
	if (err)
		return err;
	if (!acl.size)
		goto out;
	has_mask = acl_has_mask(acl.value, acl.size);
	for (size_t i = 0; i < ace_count(acl.size); i++) {
		int shift = mode_shift(ace_get(acl.value, i).tag, has_mask);

		if (shift >= 0)
			ace_set_perm(acl.value, i, mode >> shift & 7);
	}
	err = xattr_change_tx(tx, inode, &(struct xattr_change){ ACL_ACCESS, acl.value, acl.size },
			      1);
out:
	acl_unload(inode->vol, &acl);
	return err;
}

/*
 * Of a default ACL make the access ACL of something created with @mode: what is not in the mode is
 * taken out of it (POSIX 1003.1e draft 17, 23.1.5).
 */
static void acl_limit(struct acl *acl, mode_t mode)
{
	bool has_mask = acl_has_mask(acl->value, acl->size);

	for (size_t i = 0; i < ace_count(acl->size); i++) {
		struct ace ace = ace_get(acl->value, i);
		int shift = mode_shift(ace.tag, has_mask);

		if (shift >= 0)
			ace_set_perm(acl->value, i, ace.perm & mode >> shift & 7);
	}
}

/* Store in @inode the ACLs that follow from @dfl, the default ACL of its directory. */
static int inherit_from(struct tx *tx, struct inode *inode, const struct acl *dfl, mode_t *mode)
{
	struct volume *vol = inode->vol;
	struct acl access = { mem_alloc(vol->mem, dfl->size), dfl->size };
	struct xattr_change changes[2];
	unsigned n = 0;
	bool trivial;
	int err = 0;

	if (!access.value)
		return -ENOMEM;
	memcpy(access.value, dfl->value, dfl->size);
	acl_limit(&access, *mode);
	acl_to_mode(access.value, access.size, mode, &trivial);
	if (!trivial)
		changes[n++] = (struct xattr_change){ ACL_ACCESS, access.value, access.size };
	if (S_ISDIR(inode->type))
		changes[n++] = (struct xattr_change){ ACL_DEFAULT, dfl->value, dfl->size };
	if (n)
		err = xattr_change_tx(tx, inode, changes, n);
	acl_unload(vol, &access);
	return err;
}

int acl_inherit(struct tx *tx, struct inode *dir, struct inode *inode, mode_t umask)
{
	struct dinode *di;
	struct acl dfl;
	mode_t mode;
	int err;

	sync_rw_assert(&dir->ilock, SYNC_SHARED);
	sync_rw_assert(&inode->ilock, SYNC_EXCL);
	if (S_ISLNK(inode->type))
		return 0;
	err = acl_load(tx, dir, ACL_DEFAULT, &dfl);
	if (err)
		return err;
	mode = from_le32(inode_peek(tx, inode)->mode);
	if (dfl.size)
		err = inherit_from(tx, inode, &dfl, &mode);
	else
		mode &= ~(umask & 0777);
	acl_unload(dir->vol, &dfl);
	if (!err)
		err = inode_modify(tx, inode, &di);
	if (!err)
		di->mode = to_le32(mode);
	return err;
}
