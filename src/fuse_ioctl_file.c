/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fuse_ioctl_file.c - ioctls about one file: its extents, changes of its layout that the kernel
 * does not pass on, its flags.
 */
#include <errno.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "clientd.h"
#include "extent.h"
#include "fuse_ioctl_call.h"
#include "fuse_token.h"
#include "holder.h"
#include "inode.h"
#include "layout.h"
#include "mode.h"
#include "udax/ioctl.h"
#include "volume.h"

/* ---- extents ---------------------------------------------------------------------------------- */

static void map_put(struct udax_ioc_map *out, const struct extent *ext)
{
	out->extents[out->count++] = (struct udax_ioc_extent){
		.lblk = ext->lblk,
		.pblk = ext->pblk,
		.count = ext->count,
		.state = ext->state == EXTENT_WRITTEN ? UDAX_EXTENT_WRITTEN : UDAX_EXTENT_UNWRITTEN,
	};
}

/* The ilock is held, so that one page of the map is of one moment. */
static int map_fill(struct inode *inode, struct udax_ioc_map *out)
{
	uint64_t lblk = out->start_blk;
	struct extent ext;
	int err;

	out->size_bytes = from_le64(inode_peek(NULL, inode)->size);
	while (!(err = extent_next(NULL, inode, FORK_DATA, lblk, &ext))) {
		if (out->count == UDAX_MAP_EXTENTS) {
			out->more = 1;
			return 0;
		}
		map_put(out, &ext);
		lblk = ext.lblk + ext.count;
	}
	return err == -ENOENT ? 0 : err;
}

int ioctl_map(struct ioctl_call *call)
{
	struct udax_ioc_map *out = (void *)call->arg;
	struct inode *inode = call->inode;
	uint64_t start_blk = out->start_blk;
	int err = 0;

	if (out->reserved)
		return -EINVAL;
	if (!S_ISREG(inode->type) && !S_ISDIR(inode->type))
		return -ENOTTY;
	memset(out, 0, sizeof(*out));
	out->version = UDAX_IOC_VERSION;
	out->start_blk = start_blk;
	if (start_blk >= MAX_FILE_BLOCKS)
		return 0;
	ilock(inode, SYNC_SHARED, HERE);
	err = map_fill(inode, out);
	iunlock(inode, SYNC_SHARED, HERE);
	return err;
}

/* ---- changes of the layout --------------------------------------------------------------------- */

static struct layout_ctx layout_ctx_of(const struct ioctl_call *call)
{
	/* As write(2): who is not root loses the file's set-user-ID bits. */
	return (struct layout_ctx){ .may_wait = call->may_wait, .kill_priv = call->uid != 0 };
}

/* Size and times changed without a request of the kernel's that would tell it. */
static void attr_changed(struct inode *inode)
{
	const struct holder_ops *ops = inode->vol->holder_ops;

	if (ops)
		ops->attr_changed(inode->vol->holder_ctx, inode->ino);
}

/*
 * The kernel knows nothing of what happened to an uncached file, but private mappings and splice(2)
 * may have put pages of it into its cache. In a thread that may wait: notify waits for fills. While
 * it runs the mode stays, because in cached mode it would not be allowed (change.h). If nobody has
 * the file open, the change has made sure that the next cached open notifies.
 */
static void drop_copies(struct inode *inode)
{
	struct volume *vol = inode->vol;

	if (!mode_hold_uncached(inode))
		return;
	sync_assert_none_held(vol->sync, HERE);
	sync_pretend(vol->sync, LOCK_KERNEL_FOLIO, HERE);
	vol->holder_ops->notify(vol->holder_ctx, inode->ino, 0, 0);
	mode_release(inode, 0);
}

static void layout_changed(struct inode *inode)
{
	attr_changed(inode);
	drop_copies(inode);
}

static int shift(struct ioctl_call *call, int mode)
{
	const struct udax_ioc_range *in = (void *)call->arg;
	struct layout_ctx ctx = layout_ctx_of(call);
	int err;

	if (in->reserved)
		return -EINVAL;
	if (!call->may_wait)
		return -EAGAIN;
	err = layout_fallocate(call->inode, mode, in->pos, in->len, &ctx);
	if (!err)
		layout_changed(call->inode);
	return err;
}

int ioctl_collapse(struct ioctl_call *call)
{
	return shift(call, FALLOC_FL_COLLAPSE_RANGE);
}

int ioctl_insert(struct ioctl_call *call)
{
	return shift(call, FALLOC_FL_INSERT_RANGE);
}

int ioctl_token(struct ioctl_call *call)
{
	struct udax_ioc_token *out = (void *)call->arg;

	if (!S_ISREG(call->inode->type))
		return S_ISDIR(call->inode->type) ? -EISDIR : -EINVAL;
	static_assert(UDAX_TOKEN_BYTES == TOKEN_BYTES, "one for one");
	out->lifetime_ms = (__u32)(TOKEN_LIFETIME_NS / 1000000);
	return token_issue(call->tokens, call->inode, call->uid, TOKEN_EXCHANGE, out->token);
}

int ioctl_attach(struct ioctl_call *call)
{
	struct udax_ioc_attach *out = (void *)call->arg;
	unsigned rights = TOKEN_MAP_READ | (call->writable ? TOKEN_MAP_WRITE : 0);

	if (!S_ISREG(call->inode->type))
		return S_ISDIR(call->inode->type) ? -EISDIR : -EINVAL;
	if (!call->clientd)
		return -ENOSYS;
	if (!ioctl_is_owner(call))
		return -EACCES;
	if (mode_of(call->inode) != MODE_UNCACHED)
		return -EBUSY;
	memset(out, 0, sizeof(*out));
	out->version = UDAX_IOC_VERSION;
	out->lifetime_ms = (__u32)(TOKEN_LIFETIME_NS / 1000000);
	out->writable = call->writable;
	snprintf(out->socket, sizeof(out->socket), "%s", clientd_name(call->clientd));
	return token_issue(call->tokens, call->inode, call->uid, rights, out->token);
}

/* Once for both attempts: the first one used the token up. */
static int find_other(struct ioctl_call *call, const uint8_t *token)
{
	uint32_t generation;
	uint64_t ino;
	int err;

	if (call->other)
		return 0;
	err = token_redeem(call->tokens, token, TOKEN_EXCHANGE, &ino, &generation);
	if (err == -EACCES)
		err = -EKEYREJECTED;
	if (err)
		return err;
	call->other = inode_find(call->vol, ino);
	if (!call->other || call->other->generation != generation)
		return -EKEYREJECTED; /* the descriptor it came from is closed */
	return 0;
}

int ioctl_exchange(struct ioctl_call *call)
{
	const struct udax_ioc_exchange *in = (void *)call->arg;
	struct layout_ctx ctx = layout_ctx_of(call);
	int err;

	if (in->reserved)
		return -EINVAL;
	if (!call->may_wait)
		return -EAGAIN;
	err = find_other(call, in->token);
	if (!err)
		err = layout_exchange(call->inode, in->pos, call->other, in->other_pos, in->len,
				      &ctx);
	if (err)
		return err;
	layout_changed(call->inode);
	layout_changed(call->other);
	return 0;
}

int ioctl_relocate(struct ioctl_call *call)
{
	struct udax_ioc_relocate *arg = (void *)call->arg;
	struct layout_ctx ctx = layout_ctx_of(call);
	uint64_t moved;
	int err;

	if (arg->reserved)
		return -EINVAL;
	if (!call->may_wait)
		return -EAGAIN;
	err = layout_relocate(call->inode, arg->pos, arg->len, &ctx, &moved);
	if (!err)
		arg->moved_bytes = moved;
	return err;
}

/* ---- flags ------------------------------------------------------------------------------------- */

/* One thing under three names: in the dinode, for FS_IOC_*FLAGS, for FS_IOC_FS*XATTR. */
static const struct flag {
	uint32_t dinode, fl, xflag;
} flags[] = {
	{ DINODE_IMMUTABLE, FS_IMMUTABLE_FL, FS_XFLAG_IMMUTABLE },
	{ DINODE_APPEND, FS_APPEND_FL, FS_XFLAG_APPEND },
	{ DINODE_NODUMP, FS_NODUMP_FL, FS_XFLAG_NODUMP },
	{ DINODE_NOATIME, FS_NOATIME_FL, FS_XFLAG_NOATIME },
	{ DINODE_SYNC, FS_SYNC_FL, FS_XFLAG_SYNC },
};

#define NFLAGS (sizeof(flags) / sizeof(flags[0]))

static uint32_t to_dinode(uint32_t value, bool is_xflag, uint32_t *ret_unknown)
{
	uint32_t result = 0;

	for (unsigned i = 0; i < NFLAGS; i++) {
		uint32_t bit = is_xflag ? flags[i].xflag : flags[i].fl;

		if (value & bit)
			result |= flags[i].dinode;
		value &= ~bit;
	}
	*ret_unknown = value;
	return result;
}

static uint32_t from_dinode(uint32_t value, bool as_xflag)
{
	uint32_t result = 0;

	for (unsigned i = 0; i < NFLAGS; i++)
		if (value & flags[i].dinode)
			result |= as_xflag ? flags[i].xflag : flags[i].fl;
	return result;
}

/*
 * Set the flags that a user can set to @flags_wanted, and the project, if @set says so. As
 * everywhere: the owner of the file and root; immutable and append-only for root alone. The
 * kernel asks for the same since 5.14, and does not let anybody in between.
 */
static int change_flags(struct ioctl_call *call, uint32_t flags_wanted, uint32_t projid,
			unsigned set)
{
	const uint32_t frozen = DINODE_IMMUTABLE | DINODE_APPEND;
	uint32_t settable = 0;
	struct attr attr;

	for (unsigned i = 0; i < NFLAGS; i++)
		settable |= flags[i].dinode;
	inode_attr(call->inode, &attr);
	if (call->uid != 0 && call->uid != attr.uid)
		return -EPERM;
	if (call->uid != 0 && (attr.flags ^ flags_wanted) & frozen)
		return -EPERM;
	attr.flags = (attr.flags & ~settable) | flags_wanted;
	attr.projid = projid;
	call->attr_changed = true; /* ctime */
	return inode_setattr(call->inode, set, &attr);
}

int ioctl_getflags(struct ioctl_call *call)
{
	struct attr attr;
	uint32_t value;

	inode_attr(call->inode, &attr);
	value = from_dinode(attr.flags, false);
	memcpy(call->arg, &value, sizeof(value));
	return 0;
}

int ioctl_setflags(struct ioctl_call *call)
{
	uint32_t value, wanted, unknown;

	memcpy(&value, call->arg, sizeof(value));
	wanted = to_dinode(value, false, &unknown);
	if (unknown)
		return -EOPNOTSUPP;
	return change_flags(call, wanted, 0, SET_FLAGS);
}

int ioctl_fsgetxattr(struct ioctl_call *call)
{
	struct fsxattr *out = (void *)call->arg;
	struct attr attr;

	inode_attr(call->inode, &attr);
	memset(out, 0, sizeof(*out));
	out->fsx_xflags = from_dinode(attr.flags, true);
	out->fsx_projid = attr.projid;
	return 0;
}

int ioctl_fssetxattr(struct ioctl_call *call)
{
	const struct fsxattr *in = (void *)call->arg;
	uint32_t unknown, wanted = to_dinode(in->fsx_xflags, true, &unknown);

	if (unknown || in->fsx_extsize || in->fsx_cowextsize)
		return -EOPNOTSUPP;
	return change_flags(call, wanted, in->fsx_projid, SET_FLAGS | SET_PROJID);
}

int ioctl_getversion(struct ioctl_call *call)
{
	memcpy(call->arg, &call->inode->generation, sizeof(call->inode->generation));
	return 0;
}
