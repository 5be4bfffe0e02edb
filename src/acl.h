/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * acl.h - POSIX access control lists, as the kernel passes them in system.posix_acl_access and
 * system.posix_acl_default (version 2 of its xattr format: linux/posix_acl_xattr.h). The kernel
 * enforces them; here they are checked for form, inherited, and kept in step with the mode.
 */
#ifndef UDAX_ACL_H
#define UDAX_ACL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct inode;
struct tx;

#define ACL_ACCESS "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"
#define ACL_MAX_ENTRIES 1024

/** acl_check - 0 when @value is a well-formed, sorted ACL, else -EINVAL. */
int acl_check(const void *value, size_t size);

/** acl_to_mode - put the ACL's owner, mask or group, and other permissions into *@mode. *@ret_trivial:
 * the mode says everything, the ACL need not be stored. */
void acl_to_mode(const void *value, size_t size, mode_t *mode, bool *ret_trivial);

/** acl_chmod - change a stored access ACL so that it agrees with the new @mode, in @tx. */
int acl_chmod(struct tx *tx, struct inode *inode, mode_t mode);

/**
 * acl_inherit - a new @inode in @dir: with a default ACL on @dir give it its access (and, for a
 * directory, default) ACL and the mode that results; without one apply @umask. In @tx, both
 * ilocks held.
 */
int acl_inherit(struct tx *tx, struct inode *dir, struct inode *inode, mode_t umask);

#endif
