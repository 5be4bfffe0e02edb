/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fuse_ops.h - the operations table, and the handlers it is made of, by file.
 *
 * A handler decodes, calls one core function, and replies once; or starts a request that may be
 * parked (fuse_request.h).
 */
#ifndef UDAX_FUSE_OPS_H
#define UDAX_FUSE_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <fuse3/fuse_lowlevel.h>

struct attr;
struct inode;
struct request;
struct session;

extern const struct fuse_lowlevel_ops fuse_operations;

/* fuse_attr.c: attributes of inodes and of the volume */
void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int set,
		struct fuse_file_info *fi);
void op_statfs(fuse_req_t req, fuse_ino_t ino);

/** attr_to_stat - what stat(2) says. */
void attr_to_stat(const struct attr *attr, struct stat *ret_st);

/** attr_timeout - how long the kernel may believe the attributes of @inode, in seconds. */
double attr_timeout(const struct session *s, struct inode *inode);

/**
 * inode_loses_power - @inode is about to be changed by an unprivileged @req, for which the core drops
 * set-user-ID, and set-group-ID where group-executable: whether it has any of these. Without
 * group-executable, set-group-ID is dropped here if it is somebody from outside the group who asks.
 * power_lost - tell the kernel afterwards: it would go on believing in these bits.
 */
bool inode_loses_power(fuse_req_t req, struct inode *inode);
void power_lost(struct session *s, struct inode *inode);

/* fuse_names.c: the directory tree */
void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup);
void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void op_readlink(fuse_req_t req, fuse_ino_t ino);
void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name);
void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
	       const char *new_name, unsigned flags);

struct cred;

/** request_cred - who asks, for new files. */
struct cred request_cred(fuse_req_t req);

/**
 * entry_fill - what the kernel is told of a name: number, attributes, timeouts. The kernel's lookup
 * is counted; entry_undo() takes that back when it did not get the reply.
 */
void entry_fill(const struct session *s, struct inode *inode, struct fuse_entry_param *ret_entry);
void entry_undo(const struct session *s, const struct fuse_entry_param *entry);

/* fuse_dir.c: reading directories */
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi);

/* fuse_open.c: handles and the mode of a file */
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

/* fuse_io.c: data */
void op_read(fuse_req_t req, fuse_ino_t ino, size_t len, off_t pos, struct fuse_file_info *fi);
void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t len, off_t pos,
	      struct fuse_file_info *fi);
void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t pos, off_t len,
		  struct fuse_file_info *fi);
void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t pos, int whence, struct fuse_file_info *fi);
void op_copy_file_range(fuse_req_t req, fuse_ino_t in_ino, off_t in_pos,
			struct fuse_file_info *in_fi, fuse_ino_t out_ino, off_t out_pos,
			struct fuse_file_info *out_fi, size_t len, int flags);

/* fuse_xattr.c: extended attributes */
void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
		 int flags);
void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);

/**
 * capability_lost - @inode was written to: it is no longer the program that was given a capability.
 * For writes past the page cache; before others the kernel removes it.
 */
void capability_lost(struct inode *inode);

#endif
