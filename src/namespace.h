/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * namespace.h - operations on names: each is one transaction, there wholly or not at all.
 *
 * Locks: rename (where a directory may move) → transaction → ilocks of the directories and the
 * inodes concerned, in inode order. Inodes returned carry a reference. Names are given without
 * NUL, 1 to 255 bytes, not "." or ".."; violations are -EINVAL, -ENAMETOOLONG. All may return
 * -EIO, -EROFS, -ENOSPC, -ENOMEM. Permissions were checked by the kernel (default_permissions);
 * what the kernel cannot know (immutable and append-only inodes, sticky is the kernel's) is
 * checked here: -EPERM.
 */
#ifndef UDAX_NAMESPACE_H
#define UDAX_NAMESPACE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct cred;
struct inode;
struct volume;

/**
 * ns_lookup - 0 and the inode, -ENOENT, -ENOTDIR. "." and ".." are understood here only; "." is any
 * inode itself, directory or not, as long as it has a name.
 */
int ns_lookup(struct inode *dir, const char *name, size_t len, struct inode **ret_inode);

/**
 * ns_create - a new file, directory, device, fifo or socket, as S_IFMT of @mode says. Ownership,
 * set-group-ID inheritance, umask and default ACL (acl.h) as POSIX has them. -EEXIST, -EMLINK.
 */
int ns_create(struct inode *dir, const char *name, size_t len, mode_t mode, const struct cred *cred,
	      uint32_t rdev_major, uint32_t rdev_minor, struct inode **ret_inode);

/** ns_symlink - a symbolic link to @target (1 to 4095 bytes). */
int ns_symlink(struct inode *dir, const char *name, size_t len, const char *target,
	       size_t target_len, const struct cred *cred, struct inode **ret_inode);

/** ns_readlink - the target into @buf (MAX_SYMLINK_BYTES + 1), NUL-terminated; updates atime. */
int ns_readlink(struct inode *inode, char *buf, size_t size);

/** ns_tmpfile - a regular file without a name (O_TMPFILE); ns_link() may give it one. */
int ns_tmpfile(struct inode *dir, mode_t mode, const struct cred *cred, struct inode **ret_inode);

/** ns_link - one more name for @inode. -EEXIST, -EMLINK, -EPERM (a directory). */
int ns_link(struct inode *inode, struct inode *dir, const char *name, size_t len);

/**
 * ns_unlink / ns_rmdir - remove a name. -ENOENT, -EISDIR / -ENOTDIR, -ENOTEMPTY. A file without
 * names lives until its last reference is put.
 */
int ns_unlink(struct inode *dir, const char *name, size_t len);
int ns_rmdir(struct inode *dir, const char *name, size_t len);

/**
 * ns_rename - @flags: RENAME_NOREPLACE or RENAME_EXCHANGE of linux/fs.h, or 0; else -EINVAL.
 * Renaming between two names of one inode does nothing, as POSIX wants. -EINVAL when a directory
 * would move below itself.
 */
int ns_rename(struct inode *old_dir, const char *old_name, size_t old_len, struct inode *new_dir,
	      const char *new_name, size_t new_len, unsigned flags);

/**
 * ns_rename_whiteout - as ns_rename(), and in the same step the old name gets a whiteout: a character
 * device 0:0 of mode 0 that belongs to @cred. What overlayfs wants of its upper layer. @flags:
 * RENAME_WHITEOUT, alone or with RENAME_NOREPLACE; else -EINVAL.
 */
int ns_rename_whiteout(struct inode *old_dir, const char *old_name, size_t old_len,
		       struct inode *new_dir, const char *new_name, size_t new_len, unsigned flags,
		       const struct cred *cred);

#endif
