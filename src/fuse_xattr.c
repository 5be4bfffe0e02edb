/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fuse_xattr.c - extended attributes. Most requests are for attributes that nobody set
 * (security.capability, ACLs), so that answer is the shortest way through.
 */
#include "fuse_ops.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "acl.h"
#include "format.h"
#include "fuse_arrive.h"
#include "fuse_request.h"
#include "inode.h"
#include "xattr.h"

/* Names and values up to this size are read into the stack. */
#define SMALL_BYTES 1024

/* Reply with what @read puts into a buffer of @size bytes; with 0, with how many they are. */
static void reply_read(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size,
		       ssize_t (*read)(struct inode *inode, const char *name, void *buf,
				       size_t size))
{
	char small[SMALL_BYTES], *large = NULL;
	struct inode *inode;
	ssize_t n = request_inode(req, ino, &inode);

	if (size > MAX_XATTR_BLOB_BYTES)
		size = MAX_XATTR_BLOB_BYTES;
	if (!n) {
		if (size > sizeof(small))
			large = malloc(size);
		if (size > sizeof(small) && !large)
			n = -ENOMEM;
		else
			n = read(inode, name, large ? large : small, size);
		inode_put(inode);
	}
	if (n < 0)
		request_reply_err(req, (int)n);
	else if (!size)
		fuse_reply_xattr(req, (size_t)n);
	else
		fuse_reply_buf(req, large ? large : small, (size_t)n);
	free(large);
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	reply_read(req, ino, name, size, xattr_get);
}

static ssize_t read_list(struct inode *inode, const char *name, void *buf, size_t size)
{
	(void)name;
	return xattr_list(inode, buf, size);
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	reply_read(req, ino, NULL, size, read_list);
}

static int drop_sgid(struct inode *inode)
{
	struct attr attr;

	inode_attr(inode, &attr);
	attr.mode &= ~(uint32_t)S_ISGID;
	return inode_setattr(inode, SET_MODE, &attr);
}

/* The arguments come from the message itself: fuse_arrive.c says why. */
void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
		 int flags)
{
	struct arrived_xattr xattr;
	struct inode *inode = NULL;
	int err = request_xattr(request_current(req), &xattr);

	(void)name, (void)value, (void)size, (void)flags;
	if (!err)
		err = request_inode(req, ino, &inode);
	if (!err)
		err = xattr_set(inode, xattr.name, xattr.value, xattr.size, xattr.flags);
	/* A group that the caller is not in must not get the group's power by an ACL. */
	if (!err && xattr.kill_sgid && strcmp(xattr.name, ACL_ACCESS) == 0)
		err = drop_sgid(inode);
	request_reply_err(req, err);
	if (inode)
		inode_put(inode);
}

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct inode *inode;
	int err = request_inode(req, ino, &inode);

	if (!err) {
		err = xattr_set(inode, name, NULL, 0, XATTR_REPLACE);
		inode_put(inode);
	}
	request_reply_err(req, err);
}

void capability_lost(struct inode *inode)
{
	uint32_t bytes;

	ilock(inode, SYNC_SHARED, HERE);
	bytes = from_le32(inode_peek(NULL, inode)->xattr_bytes);
	iunlock(inode, SYNC_SHARED, HERE);
	if (bytes)
		xattr_set(inode, "security.capability", NULL, 0, XATTR_REPLACE);
}
