/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fuse_ioctl.h - the ioctls that a mount understands (include/udax/ioctl.h).
 */
#ifndef UDAX_FUSE_IOCTL_H
#define UDAX_FUSE_IOCTL_H

#include <stddef.h>

#include <fuse3/fuse_lowlevel.h>

/** The handler in the operations table. Regular files have fi->fh (handle_of()), directories none. */
void fuse_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, void *arg,
		struct fuse_file_info *fi, unsigned flags, const void *in_buf, size_t in_bufsz,
		size_t out_bufsz);

#endif
