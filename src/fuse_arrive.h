/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fuse_arrive.h - what has to be known about a message before libfuse decodes it.
 */
#ifndef UDAX_FUSE_ARRIVE_H
#define UDAX_FUSE_ARRIVE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct request;
struct session;
struct sync_told;

/* Of newer kernel headers than Debian 12 has (linux/fuse.h, protocol 7.39). */
#define UDAX_FUSE_STATX 52u

struct udax_fuse_sx_time {
	int64_t tv_sec;
	uint32_t tv_nsec;
	int32_t reserved;
};

struct udax_fuse_statx {
	uint32_t mask, blksize;
	uint64_t attributes;
	uint32_t nlink, uid, gid;
	uint16_t mode, spare0;
	uint64_t ino, size, blocks, attributes_mask;
	struct udax_fuse_sx_time atime, btime, ctime, mtime;
	uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
	uint64_t spare2[14];
};

struct udax_fuse_statx_out {
	uint64_t attr_valid; /* seconds */
	uint32_t attr_valid_nsec, flags;
	uint64_t spare[2];
	struct udax_fuse_statx stat;
};

/**
 * request_arrived - look at the message in @rq. Called in the order in which the kernel sent them,
 * by one thread at a time. A write through the page cache gets its place in the order of writes.
 */
void request_arrived(struct request *rq);

/** request_told - what there is to tell of the message in @rq: SYNC_OPERATION, SYNC_BEGIN. */
void request_told(const struct request *rq, struct sync_told *ret_told);

/** An attribute that is being set, as the message has it. */
struct arrived_xattr {
	const char *name;
	const void *value;
	size_t size;
	int flags;
	int kill_sgid; /* the kernel wants set-group-ID dropped */
};

/** request_xattr - the arguments of the SETXATTR in @rq. 0, or -EINVAL when it is malformed. */
int request_xattr(const struct request *rq, struct arrived_xattr *ret_xattr);

/**
 * session_writev - send a reply; libfuse sends all of them through this. The reply to INIT is
 * amended on its way.
 */
ssize_t session_writev(int fd, struct iovec *iov, int count, void *userdata);

#endif
