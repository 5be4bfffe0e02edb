/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fuse_names.c - operations on names. The kernel holds the directories' i_rwsem and has checked
 * permissions; each handler is one call of namespace.h.
 */
#include "fuse_ops.h"

#include <errno.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "format.h"
#include "fuse_request.h"
#include "inode.h"
#include "namespace.h"
#include "volume.h"

struct cred request_cred(fuse_req_t req)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	return (struct cred){ .uid = ctx->uid, .gid = ctx->gid, .umask = ctx->umask };
}

/* ---- entries ------------------------------------------------------------------------------------ */

void entry_fill(const struct session *s, struct inode *inode, struct fuse_entry_param *ret_entry)
{
	struct attr attr;

	inode_attr(inode, &attr);
	*ret_entry = (struct fuse_entry_param){
		.ino = inode->ino,
		.generation = inode->generation,
		.attr_timeout = attr_timeout(s, inode),
		.entry_timeout = s->opt.entry_timeout,
	};
	attr_to_stat(&attr, &ret_entry->attr);
	inode_lookup_add(inode, 1);
}

void entry_undo(const struct session *s, const struct fuse_entry_param *entry)
{
	inode_lookup_drop(s->vol, entry->ino, 1);
}

/* Reply with a name that was found or made, and drop the reference to its inode. */
static void reply_entry(fuse_req_t req, struct inode *inode)
{
	struct session *s = session_of(req);
	struct fuse_entry_param entry;

	entry_fill(s, inode, &entry);
	if (fuse_reply_entry(req, &entry))
		entry_undo(s, &entry);
	inode_put(inode);
}

static void reply_no_entry(fuse_req_t req)
{
	struct fuse_entry_param entry = { .entry_timeout = session_of(req)->opt.negative_timeout };

	fuse_reply_entry(req, &entry);
}

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct inode *dir, *inode;
	int err = request_inode(req, parent, &dir);

	if (!err) {
		err = ns_lookup(dir, name, strlen(name), &inode);
		inode_put(dir);
	}
	if (err == -ENOENT && session_of(req)->opt.negative_timeout > 0)
		reply_no_entry(req);
	else if (err)
		request_reply_err(req, err);
	else
		reply_entry(req, inode);
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	inode_lookup_drop(session_of(req)->vol, ino, nlookup);
	fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		inode_lookup_drop(session_of(req)->vol, forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

/* ---- new names ---------------------------------------------------------------------------------- */

static void make_node(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct cred cred = request_cred(req);
	struct inode *dir, *inode;
	int err = request_inode(req, parent, &dir);

	if (!err) {
		err = ns_create(dir, name, strlen(name), mode, &cred, major(rdev), minor(rdev),
				&inode);
		inode_put(dir);
	}
	if (err)
		request_reply_err(req, err);
	else
		reply_entry(req, inode);
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	make_node(req, parent, name, mode & S_IFMT ? mode : mode | S_IFREG, rdev);
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	make_node(req, parent, name, (mode & ~(mode_t)S_IFMT) | S_IFDIR, 0);
}

void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct cred cred = request_cred(req);
	struct inode *dir, *inode;
	int err = request_inode(req, parent, &dir);

	if (!err) {
		err = ns_symlink(dir, name, strlen(name), target, strlen(target), &cred, &inode);
		inode_put(dir);
	}
	if (err)
		request_reply_err(req, err);
	else
		reply_entry(req, inode);
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	char target[MAX_SYMLINK_BYTES + 1];
	struct inode *inode;
	int err = request_inode(req, ino, &inode);

	if (!err) {
		err = ns_readlink(inode, target, sizeof(target));
		inode_put(inode);
	}
	if (err < 0)
		request_reply_err(req, err);
	else
		fuse_reply_readlink(req, target);
}

void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct inode *dir, *inode;
	int err = request_inode(req, ino, &inode);

	if (err) {
		request_reply_err(req, err);
		return;
	}
	err = request_inode(req, parent, &dir);
	if (!err) {
		err = ns_link(inode, dir, name, strlen(name));
		inode_put(dir);
	}
	if (err) {
		inode_put(inode);
		request_reply_err(req, err);
	} else {
		reply_entry(req, inode);
	}
}

/* ---- names that go ------------------------------------------------------------------------------- */

static void remove_name(fuse_req_t req, fuse_ino_t parent, const char *name,
			int (*remove)(struct inode *dir, const char *name, size_t len))
{
	struct inode *dir;
	int err = request_inode(req, parent, &dir);

	if (!err) {
		err = remove(dir, name, strlen(name));
		inode_put(dir);
	}
	request_reply_err(req, err);
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	remove_name(req, parent, name, ns_unlink);
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	remove_name(req, parent, name, ns_rmdir);
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
	       const char *new_name, unsigned flags)
{
	struct cred cred = request_cred(req);
	struct inode *dir, *new_dir;
	size_t len = strlen(name), new_len = strlen(new_name);
	int err = request_inode(req, parent, &dir);

	if (err) {
		request_reply_err(req, err);
		return;
	}
	err = request_inode(req, new_parent, &new_dir);
	if (!err) {
		err = flags & RENAME_WHITEOUT
			      ? ns_rename_whiteout(dir, name, len, new_dir, new_name, new_len,
						   flags, &cred)
			      : ns_rename(dir, name, len, new_dir, new_name, new_len, flags);
		inode_put(new_dir);
	}
	inode_put(dir);
	request_reply_err(req, err);
}
