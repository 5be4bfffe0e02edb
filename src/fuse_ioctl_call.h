/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fuse_ioctl_call.h - one ioctl under way, and the functions that serve them, by family.
 *
 * fuse_ioctl.c decodes a request into a struct ioctl_call, checks size, version and who asks, and
 * calls the function that belongs to the number. Nothing behind it knows libfuse.
 */
#ifndef UDAX_FUSE_IOCTL_CALL_H
#define UDAX_FUSE_IOCTL_CALL_H

#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct clientd;
struct inode;
struct recorder;
struct tokens;
struct volume;

struct ioctl_call {
	struct volume *vol;
	struct tokens *tokens;
	struct recorder *recorder;
	struct clientd *clientd; /* NULL: no clients */
	struct inode *inode;	 /* the request's */
	struct inode *other;	 /* the second file of an exchange, once found; a reference */
	uid_t uid;		 /* who asks */
	bool writable;		 /* the descriptor was opened for writing */
	bool may_wait;		 /* else -EAGAIN where it would have to: it is then run once more */
	size_t in_bytes;	 /* what came with the request */
	size_t out_bytes;	 /* what is answered, after success */
	bool attr_changed;	 /* what the kernel believes of the inode is old */
	/* The payload, in place: zeroed behind in_bytes, and at least out_bytes long. */
	alignas(8) unsigned char arg[];
};

/** ioctl_is_owner - whether root or the owner of the mount asks. */
bool ioctl_is_owner(const struct ioctl_call *call);

/*
 * The families. Each gets a payload of the right size and version, on a volume that is not shut
 * down (but for facts and counters), and returns 0 or -errno.
 */

/* fuse_ioctl_info.c */
int ioctl_info(struct ioctl_call *call);
int ioctl_space(struct ioctl_call *call);
int ioctl_stat(struct ioctl_call *call);
int ioctl_lockstat(struct ioctl_call *call);
int ioctl_lockstat_control(struct ioctl_call *call);
int ioctl_holders(struct ioctl_call *call);
int ioctl_grow(struct ioctl_call *call);
int ioctl_shutdown(struct ioctl_call *call);

/* fuse_record.c */
int ioctl_record_start(struct ioctl_call *call);
int ioctl_record_read(struct ioctl_call *call);
int ioctl_record_stop(struct ioctl_call *call);

/* fuse_ioctl_file.c */
int ioctl_map(struct ioctl_call *call);
int ioctl_collapse(struct ioctl_call *call);
int ioctl_insert(struct ioctl_call *call);
int ioctl_token(struct ioctl_call *call);
int ioctl_exchange(struct ioctl_call *call);
int ioctl_relocate(struct ioctl_call *call);
int ioctl_attach(struct ioctl_call *call);
int ioctl_getflags(struct ioctl_call *call);
int ioctl_setflags(struct ioctl_call *call);
int ioctl_fsgetxattr(struct ioctl_call *call);
int ioctl_fssetxattr(struct ioctl_call *call);
int ioctl_getversion(struct ioctl_call *call);

#endif
