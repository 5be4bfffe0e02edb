/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * xattr.h - extended attributes: all of an inode's in one blob, written anew in fresh blocks at
 * each change and put in place by the same transaction that frees the old one.
 *
 * Names carry their namespace (user., trusted., security., system.posix_acl_*). Values to 64 KiB,
 * all together MAX_XATTR_BLOB_BYTES (-ENOSPC). The functions take the ilock themselves, except
 * those with tx, whose caller holds it exclusively.
 */
#ifndef UDAX_XATTR_H
#define UDAX_XATTR_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct inode;
struct tx;

/**
 * xattr_get - the value of @name into @buf. Returns its length; with @size 0 only that.
 * -ENODATA, -ERANGE (@size too small), -EIO.
 */
ssize_t xattr_get(struct inode *inode, const char *name, void *buf, size_t size);

/** xattr_list - names, each with its NUL, into @buf. Returns the length; -ERANGE, -EIO. */
ssize_t xattr_list(struct inode *inode, char *buf, size_t size);

/**
 * xattr_set - @flags: XATTR_CREATE (-EEXIST), XATTR_REPLACE (-ENODATA) or 0. @value NULL removes
 * (-ENODATA). ctime changes. Setting an access ACL changes the mode (acl.h); one that says no more
 * than the mode is not stored. Removing an ACL that is not there succeeds.
 *
 * -ENOSPC, -E2BIG (value), -ERANGE (name), -EOPNOTSUPP (namespace), -EPERM (immutable or
 * append-only; user. on what is neither file nor directory), -EINVAL (nothing behind the prefix; a
 * malformed ACL), -EACCES (a default ACL on what is no directory), -EROFS, -EIO, -ENOMEM.
 */
int xattr_set(struct inode *inode, const char *name, const void *value, size_t size, int flags);

/* The same inside a transaction. */
ssize_t xattr_get_tx(struct tx *tx, struct inode *inode, const char *name, void *buf, size_t size);
int xattr_set_tx(struct tx *tx, struct inode *inode, const char *name, const void *value,
		 size_t size, int flags);

/**
 * xattr_change_tx - set or (@value NULL) remove @n attributes in one rewrite, without asking what
 * may be set where, and without touching ctime or mode: for those who have asked, and for ACLs.
 * What is to be removed need not be there. -ENOSPC, -EIO, -ENOMEM, -EFBIG.
 */
struct xattr_change {
	const char *name;
	const void *value;
	size_t size;
};
int xattr_change_tx(struct tx *tx, struct inode *inode, const struct xattr_change *changes,
		    unsigned n);

/**
 * xattr_blob_check - whether the @bytes at @blob can be the attributes of inode @ino: checksum,
 * bounds, names. 0 or -EUCLEAN. For fsck too.
 */
int xattr_blob_check(const void *blob, uint32_t bytes, uint64_t ino);

#endif
