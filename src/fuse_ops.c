/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fuse_ops.c - the operations table, and what is agreed with the kernel for a mount.
 *
 * What is not in the table is left out on purpose: libfuse answers ENOSYS, and the kernel does
 * without from then on.
 *
 *   fsyncdir         A change of names is durable before it is answered.
 *   flush            Nothing is kept for a descriptor.
 *   syncfs           The kernel asks a FUSE daemon for it only where that is its virtiofs; before, it
 *                    has written back what it had.
 *   access           The kernel checks permissions by itself (default_permissions).
 *   getlk, setlk,    The kernel keeps the locks of its programs itself; nobody else has any.
 *   flock
 *
 * opendir says ENOSYS itself, because libfuse would not. Directories have no handles: a position in
 * one is valid for ever (dir.h). The kernel may cache what it read; nobody changes names behind its
 * back.
 */
#include "fuse_ops.h"

#include <errno.h>

#include "fuse_ioctl.h"
#include "fuse_request.h"

#define MAX_WRITE_BYTES (1u << 20)
#define MAX_BACKGROUND 64

static void want(struct fuse_conn_info *conn, unsigned capability, bool wanted)
{
	if (wanted)
		conn->want |= conn->capable & capability;
	else
		conn->want &= ~capability;
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	/* Each write through the cache is sent at once: what write(2) returned for is durable. */
	want(conn, FUSE_CAP_WRITEBACK_CACHE, false);
	/* Else an open would be a truncate in disguise, without the exclusion of one. */
	want(conn, FUSE_CAP_ATOMIC_O_TRUNC, false);
	/* Pages go when we say so (mode.h, gate.h), not when a timestamp looks new. */
	want(conn, FUSE_CAP_AUTO_INVAL_DATA, false);
	want(conn, FUSE_CAP_EXPLICIT_INVAL_DATA, true);
	want(conn, FUSE_CAP_SPLICE_MOVE | FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE, false);
	/*
	 * After an O_DIRECT write the kernel drops the pages that were filled meanwhile from before
	 * it, but not when the write goes on after the system call (generic_file_direct_write,
	 * fuse_direct_IO): a reader of the cache would see them for good.
	 */
	want(conn, FUSE_CAP_ASYNC_DIO, false);
	/* The umask counts only where there is no default ACL, so we apply it. */
	want(conn, FUSE_CAP_DONT_MASK | FUSE_CAP_POSIX_ACL, true);
	want(conn,
	     FUSE_CAP_HANDLE_KILLPRIV | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ASYNC_READ |
		     FUSE_CAP_EXPORT_SUPPORT | FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_READDIRPLUS |
		     FUSE_CAP_READDIRPLUS_AUTO,
	     true);
	conn->max_write = MAX_WRITE_BYTES;
	conn->max_background = MAX_BACKGROUND;
	conn->congestion_threshold = MAX_BACKGROUND * 3 / 4;
	conn->time_gran = 1;
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino, (void)fi;
	fuse_reply_err(req, ENOSYS);
}

const struct fuse_lowlevel_ops fuse_operations = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.statfs = op_statfs,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.symlink = op_symlink,
	.readlink = op_readlink,
	.link = op_link,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.rename = op_rename,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.open = op_open,
	.create = op_create,
	.release = op_release,
	.fsync = op_fsync,
	.read = op_read,
	.write = op_write,
	.fallocate = op_fallocate,
	.lseek = op_lseek,
	.copy_file_range = op_copy_file_range,
	.setxattr = op_setxattr,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.removexattr = op_removexattr,
	.ioctl = fuse_ioctl,
};
