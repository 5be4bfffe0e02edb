/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * lib_model_names.c - the operations on names, attributes and extended attributes, as the model test
 * does them: what is chosen, which errors are justified, what then is true in the model.
 */
#include "model_run.h"

#include <errno.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "namespace.h"
#include "volume.h"
#include "xattr.h"

#define FROZEN (DINODE_IMMUTABLE | DINODE_APPEND)
#define ROOM_FOR_INODE 32 /* blocks that a new inode, and a name for it, may need */

/* ---- choosing ----------------------------------------------------------------------------------- */

static unsigned pick_name(const struct run *run, uint64_t *rng)
{
	if (one_in(rng, 200))
		return ODD_NAMES + (unsigned)below(rng, NR_ODD_NAMES);
	return (unsigned)below(rng, run->setup->nnames);
}

/* A directory, now and then something else. Where there are many names, most are in the root. */
static struct mnode *pick_dir(const struct run *run, uint64_t *rng)
{
	if (run->setup->nnames > 1000 && !one_in(rng, 5))
		return run->m.nodes[0];
	return pick_node(run, rng, one_in(rng, 60) ? ANY : A_DIR);
}

/* A name that is there, of @types if one is found soon. */
static bool pick_entry(const struct run *run, uint64_t *rng, unsigned types, struct mnode **ret_dir,
		       unsigned *ret_name)
{
	for (unsigned i = 0; i < 8; i++) {
		struct mnode *dir = pick_dir(run, rng);
		const struct mentry *entry;

		if (!dir || !dir->nentries)
			continue;
		entry = &dir->entries[below(rng, dir->nentries)];
		*ret_dir = dir;
		*ret_name = entry->name;
		if (node_kind(entry->node) & types)
			return true;
	}
	*ret_dir = pick_dir(run, rng);
	*ret_name = pick_name(run, rng);
	return *ret_dir && one_in(rng, 8);
}

static bool crowded(const struct run *run, uint64_t *rng)
{
	return run->m.nnodes > run->setup->max_nodes && !one_in(rng, 16);
}

/* ---- names ------------------------------------------------------------------------------------------ */

/* Errors of entering @name in @dir. */
static void forbid_entering(struct verdict *v, const struct mnode *dir, unsigned name)
{
	if (name >= ODD_NAMES)
		forbid(v, true, odd_name_error(name));
	forbid(v, !S_ISDIR(dir->type), ENOTDIR);
	if (!S_ISDIR(dir->type))
		return;
	forbid(v, !dir->nlink, ENOENT);
	forbid(v, dir->flags & DINODE_IMMUTABLE, EPERM);
	forbid(v, mdir_find(dir, name), EEXIST);
}

static void enter(struct run *run, struct mnode *dir, unsigned name, struct mnode *node)
{
	mdir_enter(dir, name, node);
	if (S_ISDIR(node->type)) {
		node->parent = dir;
		dir->nlink++;
	}
	touched(run, dir, TOUCH_MTIME | TOUCH_CTIME);
}

static void leave(struct run *run, struct mnode *dir, unsigned name)
{
	struct mnode *node = mdir_find(dir, name);

	mdir_remove(dir, name);
	if (S_ISDIR(node->type))
		dir->nlink--;
	touched(run, dir, TOUCH_MTIME | TOUCH_CTIME);
}

/* One name less. */
static void drop_link(struct run *run, struct mnode *node)
{
	if (S_ISDIR(node->type)) {
		node->nlink = 0;
		node->parent = NULL;
	} else {
		node->nlink--;
	}
	touched(run, node, TOUCH_CTIME);
}

static struct mnode *made(struct run *run, const struct mnode *dir, mode_t mode, mode_t umask,
			  uint32_t uid, uint32_t gid, const struct inode *inode)
{
	struct mnode *node = model_add(&run->m, run->op->id, mode & S_IFMT, mode & 07777 & ~umask);

	node->uid = uid;
	node->gid = gid;
	if (dir->perm & S_ISGID) {
		node->gid = dir->gid;
		if (S_ISDIR(mode))
			node->perm |= S_ISGID;
	}
	node->nlink = S_ISDIR(mode) ? 2 : 1;
	node->ino = inode->ino;
	touched(run, node, TOUCH_MTIME | TOUCH_CTIME);
	return node;
}

/* create DIR NAME MODE UID GID UMASK RDEV */
static bool choose_create(struct run *run, uint64_t *rng, uint64_t *a)
{
	static const mode_t types[] = { S_IFREG, S_IFREG, S_IFREG,  S_IFREG, S_IFDIR,
					S_IFDIR, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK };
	const struct mnode *dir = pick_dir(run, rng);

	if (!dir || crowded(run, rng))
		return false;
	a[0] = dir->id;
	a[1] = pick_name(run, rng);
	a[2] = types[below(rng, sizeof(types) / sizeof(types[0]))] | below(rng, 010000);
	a[3] = below(rng, 3) * 1000;
	a[4] = below(rng, 3) * 100;
	a[5] = one_in(rng, 2) ? 022 : below(rng, 01000);
	a[6] = below(rng, 1000);
	return true;
}

static void apply_create(struct run *run, const uint64_t *a)
{
	struct mnode *dir = model_node(&run->m, a[0]), *node;
	struct cred cred = { (uid_t)a[3], (gid_t)a[4], (mode_t)a[5] };
	struct inode *parent = inode_of(run, dir), *inode = NULL;
	struct verdict v = { .n = 0 };
	char name[NAME_BUF];
	size_t len = model_name((unsigned)a[1], name);

	if (!parent)
		return;
	forbid_entering(&v, dir, (unsigned)a[1]);
	if (judge(run, &v,
		  ns_create(parent, name, len, (mode_t)a[2], &cred, (uint32_t)a[6], 7, &inode),
		  ROOM_FOR_INODE)) {
		node = made(run, dir, (mode_t)a[2], cred.umask & 0777, cred.uid, cred.gid, inode);
		if (S_ISCHR(node->type) || S_ISBLK(node->type)) {
			node->rdev_major = (uint32_t)a[6];
			node->rdev_minor = 7;
		}
		enter(run, dir, (unsigned)a[1], node);
		inode_put(inode);
	}
	touched(run, dir, 0);
	inode_put(parent);
}

static void fill_target(char *target, size_t len, uint64_t id)
{
	for (size_t i = 0; i < len; i++)
		target[i] = (char)('a' + (id + i) % 26);
	target[len] = '\0';
}

/* symlink DIR NAME LENGTH */
static bool choose_symlink(struct run *run, uint64_t *rng, uint64_t *a)
{
	const struct mnode *dir = pick_dir(run, rng);

	if (!dir || crowded(run, rng))
		return false;
	a[0] = dir->id;
	a[1] = pick_name(run, rng);
	a[2] = one_in(rng, 2)	 ? 1 + below(rng, 300)
	       : one_in(rng, 30) ? (one_in(rng, 2) ? 0 : MAX_SYMLINK_BYTES + 1)
				 : 1 + below(rng, MAX_SYMLINK_BYTES);
	return true;
}

static void apply_symlink(struct run *run, const uint64_t *a)
{
	struct mnode *dir = model_node(&run->m, a[0]), *node;
	struct inode *parent = inode_of(run, dir), *inode = NULL;
	struct cred cred = { 5, 6, 077 };
	struct verdict v = { .n = 0 };
	char name[NAME_BUF], *target = malloc(a[2] + 1);
	size_t len = model_name((unsigned)a[1], name);

	if (!parent || !target)
		goto out;
	fill_target(target, a[2], run->op->id);
	forbid_entering(&v, dir, (unsigned)a[1]);
	forbid(&v, !a[2], EINVAL);
	forbid(&v, a[2] > MAX_SYMLINK_BYTES, ENAMETOOLONG);
	if (judge(run, &v, ns_symlink(parent, name, len, target, a[2], &cred, &inode),
		  ROOM_FOR_INODE)) {
		node = made(run, dir, S_IFLNK | 0777, 0, cred.uid, cred.gid, inode);
		node->target = target;
		target = NULL;
		enter(run, dir, (unsigned)a[1], node);
		inode_put(inode);
	}
	touched(run, dir, 0);
	inode_put(parent);
out:
	free(target);
}

/* link NODE DIR NAME */
static bool choose_link(struct run *run, uint64_t *rng, uint64_t *a)
{
	const struct mnode *node =
		pick_node(run, rng, one_in(rng, 30) ? ANY : A_FILE | A_LINK | ANOTHER);
	const struct mnode *dir = pick_dir(run, rng);

	if (!dir || !node)
		return false;
	a[0] = node->id;
	a[1] = dir->id;
	a[2] = pick_name(run, rng);
	return true;
}

static void apply_link(struct run *run, const uint64_t *a)
{
	struct mnode *node = model_node(&run->m, a[0]), *dir = model_node(&run->m, a[1]);
	struct verdict v = { .n = 0 };
	struct inode *inode, *parent;
	char name[NAME_BUF];
	size_t len = model_name((unsigned)a[2], name);

	inode = inode_of(run, node);
	parent = inode ? inode_of(run, dir) : NULL;
	if (!parent)
		goto out;
	forbid_entering(&v, dir, (unsigned)a[2]);
	forbid(&v, S_ISDIR(node->type), EPERM);
	forbid(&v, node->flags & FROZEN, EPERM);
	if (judge(run, &v, ns_link(inode, parent, name, len), ROOM_FOR_INODE)) {
		node->nlink++;
		touched(run, node, TOUCH_CTIME);
		enter(run, dir, (unsigned)a[2], node);
	}
	touched(run, node, 0);
	touched(run, dir, 0);
	inode_put(parent);
out:
	if (inode)
		inode_put(inode);
}

static bool choose_remove(struct run *run, uint64_t *rng, unsigned types, uint64_t *a)
{
	struct mnode *dir;
	unsigned name;

	if (!pick_entry(run, rng, one_in(rng, 30) ? ANY : types, &dir, &name))
		return false;
	a[0] = dir->id;
	a[1] = name;
	return true;
}

static void apply_remove(struct run *run, const uint64_t *a, bool want_dir)
{
	struct mnode *dir = model_node(&run->m, a[0]);
	struct mnode *node = dir ? mdir_find(dir, (unsigned)a[1]) : NULL;
	struct inode *parent = inode_of(run, dir);
	struct verdict v = { .n = 0 };
	char name[NAME_BUF];
	size_t len = model_name((unsigned)a[1], name);

	if (!parent)
		return;
	if (a[1] >= ODD_NAMES)
		forbid(&v, true, odd_name_error((unsigned)a[1]));
	forbid(&v, !S_ISDIR(dir->type), ENOTDIR);
	forbid(&v, !node, ENOENT);
	forbid(&v, dir->flags & FROZEN, EPERM);
	forbid(&v, node && node->flags & FROZEN, EPERM);
	forbid(&v, node && want_dir && !S_ISDIR(node->type), ENOTDIR);
	forbid(&v, node && !want_dir && S_ISDIR(node->type), EISDIR);
	forbid(&v, node && want_dir && node->nentries, ENOTEMPTY);
	if (judge(run, &v, want_dir ? ns_rmdir(parent, name, len) : ns_unlink(parent, name, len),
		  NEVER_FULL)) {
		leave(run, dir, (unsigned)a[1]);
		drop_link(run, node);
	}
	touched(run, dir, 0);
	if (node)
		touched(run, node, 0);
	inode_put(parent);
}

/* unlink DIR NAME */
static bool choose_unlink(struct run *run, uint64_t *rng, uint64_t *a)
{
	return choose_remove(run, rng, A_FILE | A_LINK | ANOTHER, a);
}

static void apply_unlink(struct run *run, const uint64_t *a)
{
	apply_remove(run, a, false);
}

/* rmdir DIR NAME */
static bool choose_rmdir(struct run *run, uint64_t *rng, uint64_t *a)
{
	return choose_remove(run, rng, A_DIR, a);
}

static void apply_rmdir(struct run *run, const uint64_t *a)
{
	apply_remove(run, a, true);
}

/* rename DIR NAME NEWDIR NEWNAME FLAGS */
static bool choose_rename(struct run *run, uint64_t *rng, uint64_t *a)
{
	struct mnode *dir, *new_dir;
	unsigned name, new_name;

	if (!pick_entry(run, rng, ANY, &dir, &name))
		return false;
	if (one_in(rng, 2) || !pick_entry(run, rng, ANY, &new_dir, &new_name)) {
		new_dir = one_in(rng, 2) ? dir : pick_dir(run, rng);
		new_name = pick_name(run, rng);
	}
	if (!new_dir)
		return false;
	a[0] = dir->id;
	a[1] = name;
	a[2] = new_dir->id;
	a[3] = new_name;
	a[4] = one_in(rng, 3)	  ? RENAME_EXCHANGE
	       : one_in(rng, 6)	  ? RENAME_NOREPLACE
	       : one_in(rng, 100) ? RENAME_EXCHANGE | RENAME_NOREPLACE
				  : 0;
	return true;
}

static void forbid_replacing(struct verdict *v, const struct mnode *src, const struct mnode *dst)
{
	bool from = S_ISDIR(src->type), to = S_ISDIR(dst->type);

	forbid(v, from && !to, ENOTDIR);
	forbid(v, !from && to, EISDIR);
	forbid(v, to && dst->nentries, ENOTEMPTY);
}

static void forbid_renaming(struct verdict *v, const struct mnode *dir, unsigned name,
			    const struct mnode *new_dir, unsigned new_name, unsigned flags)
{
	const struct mnode *src = mdir_find(dir, name), *dst = mdir_find(new_dir, new_name);
	bool exchange = flags & RENAME_EXCHANGE;

	if (name >= ODD_NAMES)
		forbid(v, true, odd_name_error(name));
	if (new_name >= ODD_NAMES)
		forbid(v, true, odd_name_error(new_name));
	forbid(v, !S_ISDIR(dir->type) || !S_ISDIR(new_dir->type), ENOTDIR);
	forbid(v, flags == (RENAME_EXCHANGE | RENAME_NOREPLACE), EINVAL);
	forbid(v, !src, ENOENT);
	forbid(v, dst && flags & RENAME_NOREPLACE, EEXIST);
	forbid(v, !dst && exchange, ENOENT);
	if (!src || src == dst) /* two names of one inode: nothing happens */
		return;
	forbid(v, !new_dir->nlink, ENOENT);
	forbid(v, !new_dir->nlink, EINVAL); /* it may have been below what is moved */
	forbid(v, mdir_is_below(new_dir, src), EINVAL);
	forbid(v, exchange && dst && mdir_is_below(dir, dst), EINVAL);
	forbid(v, (dir->flags | src->flags) & FROZEN, EPERM);
	forbid(v, new_dir->flags & DINODE_IMMUTABLE, EPERM);
	forbid(v, dst && (new_dir->flags | dst->flags) & FROZEN, EPERM);
	if (dst && !exchange)
		forbid_replacing(v, src, dst);
}

static void rename_in_model(struct run *run, struct mnode *dir, unsigned name,
			    struct mnode *new_dir, unsigned new_name, bool exchange)
{
	struct mnode *src = mdir_find(dir, name), *dst = mdir_find(new_dir, new_name);

	if (src == dst)
		return;
	leave(run, dir, name);
	if (dst)
		leave(run, new_dir, new_name);
	enter(run, new_dir, new_name, src);
	if (dst && exchange)
		enter(run, dir, name, dst);
	touched(run, src, TOUCH_CTIME);
	if (dst && exchange)
		touched(run, dst, TOUCH_CTIME);
	else if (dst)
		drop_link(run, dst);
}

static void apply_rename(struct run *run, const uint64_t *a)
{
	struct mnode *dir = model_node(&run->m, a[0]), *new_dir = model_node(&run->m, a[2]);
	unsigned name = (unsigned)a[1], new_name = (unsigned)a[3], flags = (unsigned)a[4];
	struct inode *from = inode_of(run, dir), *to = from ? inode_of(run, new_dir) : NULL;
	struct mnode *src, *dst;
	struct verdict v = { .n = 0 };
	char old_bytes[NAME_BUF], new_bytes[NAME_BUF];
	size_t old_len = model_name(name, old_bytes), new_len = model_name(new_name, new_bytes);

	if (!to)
		goto out;
	src = mdir_find(dir, name);
	dst = mdir_find(new_dir, new_name);
	forbid_renaming(&v, dir, name, new_dir, new_name, flags);
	if (judge(run, &v, ns_rename(from, old_bytes, old_len, to, new_bytes, new_len, flags),
		  ROOM_FOR_INODE))
		rename_in_model(run, dir, name, new_dir, new_name, flags & RENAME_EXCHANGE);
	touched(run, dir, 0);
	touched(run, new_dir, 0);
	if (src)
		touched(run, src, 0);
	if (dst)
		touched(run, dst, 0);
	inode_put(to);
out:
	if (from)
		inode_put(from);
}

/* lookup DIR NAME */
static bool choose_lookup(struct run *run, uint64_t *rng, uint64_t *a)
{
	const struct mnode *dir = pick_dir(run, rng);

	if (!dir)
		return false;
	a[0] = dir->id;
	a[1] = pick_name(run, rng);
	return true;
}

static void apply_lookup(struct run *run, const uint64_t *a)
{
	const struct mnode *dir = model_node(&run->m, a[0]), *node;
	struct inode *parent = inode_of(run, dir), *inode = NULL;
	unsigned name = (unsigned)a[1];
	struct verdict v = { .n = 0 };
	char bytes[NAME_BUF];
	size_t len = model_name(name, bytes);
	uint64_t ino;

	if (!parent)
		return;
	node = mdir_find(dir, name);
	ino = node ? node->ino : 0;
	if (len == 1 && bytes[0] == '.')
		ino = dir->ino;
	if (len == 2 && bytes[0] == '.' && bytes[1] == '.')
		ino = dir->parent ? dir->parent->ino : dir->id ? 0 : run->parent_ino;
	forbid(&v, !S_ISDIR(dir->type), ENOTDIR);
	forbid(&v, len > MAX_NAME_BYTES, ENAMETOOLONG);
	forbid(&v, !ino, ENOENT);
	if (judge(run, &v, ns_lookup(parent, bytes, len, &inode), NEVER_FULL)) {
		if (inode->ino != ino)
			wrong(run, "found inode %llu", (unsigned long long)inode->ino);
		inode_put(inode);
	}
	inode_put(parent);
}

/* ---- files without a name ------------------------------------------------------------------------------ */

struct handle *free_handle(struct run *run)
{
	for (unsigned i = 0; i < MAX_HANDLES; i++)
		if (!run->handles[i].node)
			return &run->handles[i];
	return NULL;
}

/* tmpfile DIR MODE */
static bool choose_tmpfile(struct run *run, uint64_t *rng, uint64_t *a)
{
	const struct mnode *dir = pick_dir(run, rng);

	if (!dir || !free_handle(run))
		return false;
	a[0] = dir->id;
	a[1] = below(rng, 010000);
	return true;
}

static void apply_tmpfile(struct run *run, const uint64_t *a)
{
	struct mnode *dir = model_node(&run->m, a[0]), *node;
	struct inode *parent = inode_of(run, dir), *inode = NULL;
	struct handle *handle = free_handle(run);
	struct cred cred = { 1, 2, 022 };
	struct verdict v = { .n = 0 };

	if (parent && handle) {
		forbid(&v, !S_ISDIR(dir->type), ENOTDIR);
		forbid(&v, !dir->nlink, ENOENT);
		forbid(&v, dir->flags & DINODE_IMMUTABLE, EPERM);
		if (judge(run, &v, ns_tmpfile(parent, (mode_t)a[1], &cred, &inode),
			  ROOM_FOR_INODE)) {
			node = made(run, dir, S_IFREG | (mode_t)a[1], 022, cred.uid, cred.gid,
				    inode);
			node->nlink = 0;
			node->handles = 1;
			*handle = (struct handle){ .node = node, .inode = inode };
		}
	}
	if (parent)
		inode_put(parent);
}

/* open NODE */
static bool choose_open(struct run *run, uint64_t *rng, uint64_t *a)
{
	const struct mnode *node = pick_node(run, rng, one_in(rng, 8) ? ANY : A_FILE | A_DIR);

	if (!node || !free_handle(run))
		return false;
	a[0] = node->id;
	return true;
}

static void apply_open(struct run *run, const uint64_t *a)
{
	struct mnode *node = model_node(&run->m, a[0]);
	struct handle *handle = free_handle(run);
	struct inode *inode = handle ? inode_of(run, node) : NULL;

	if (!inode)
		return;
	node->handles++;
	*handle = (struct handle){ .node = node, .inode = inode };
}

/* close INDEX */
static bool choose_close(struct run *run, uint64_t *rng, uint64_t *a)
{
	a[0] = below(rng, MAX_HANDLES);
	return run->handles[a[0]].node;
}

static void apply_close(struct run *run, const uint64_t *a)
{
	if (a[0] < MAX_HANDLES && run->handles[a[0]].node)
		handle_drop(run, &run->handles[a[0]], true);
}

/* ---- attributes ---------------------------------------------------------------------------------------- */

/* setattr NODE SET MODE UID GID FLAGS MTIME */
static bool choose_setattr(struct run *run, uint64_t *rng, uint64_t *a)
{
	static const unsigned sets[] = { SET_MODE,
					 SET_UID,
					 SET_GID,
					 SET_UID | SET_GID | SET_KILL_PRIV,
					 SET_MTIME | SET_ATIME,
					 SET_FLAGS,
					 SET_MODE | SET_KILL_PRIV };
	const struct mnode *node = pick_node(run, rng, ANY);

	if (!node)
		return false;
	a[0] = node->id;
	a[1] = sets[below(rng, sizeof(sets) / sizeof(sets[0]))];
	a[2] = below(rng, 010000);
	a[3] = below(rng, 5) * 1000;
	a[4] = below(rng, 5) * 100;
	a[5] = one_in(rng, 8) && node->id ? below(rng, 32) : 0;
	a[6] = below(rng, UINT32_MAX);
	return true;
}

static void kill_priv(struct mnode *node)
{
	if (!S_ISREG(node->type))
		return;
	node->perm &= ~(mode_t)S_ISUID;
	if (node->perm & S_IXGRP)
		node->perm &= ~(mode_t)S_ISGID;
}

static void set_in_model(struct run *run, struct mnode *node, unsigned set, const struct attr *attr)
{
	if (set & SET_MODE)
		node->perm = attr->mode;
	if (set & SET_KILL_PRIV)
		kill_priv(node);
	if (set & SET_UID)
		node->uid = attr->uid;
	if (set & SET_GID)
		node->gid = attr->gid;
	if (set & SET_FLAGS)
		node->flags = attr->flags;
	if (set & SET_MTIME)
		node->mtime = attr->mtime; /* compared for equality */
	touched(run, node, TOUCH_CTIME);
}

static void apply_setattr(struct run *run, const uint64_t *a)
{
	struct mnode *node = model_node(&run->m, a[0]);
	struct attr attr = { .mode = (uint32_t)a[2],
			     .uid = (uint32_t)a[3],
			     .gid = (uint32_t)a[4],
			     .flags = (uint32_t)a[5],
			     .mtime = { (time_t)a[6], (long)a[6] % 1000 },
			     .atime = { (time_t)a[6] / 2, (long)a[6] % 999 } };
	struct inode *inode = inode_of(run, node);
	unsigned set = (unsigned)a[1];
	struct attr now;
	struct verdict v = { .n = 0 };

	if (!inode)
		return;
	forbid(&v, node->flags & FROZEN && set & (SET_MODE | SET_UID | SET_GID | SET_MTIME), EPERM);
	if (judge(run, &v, inode_setattr(inode, set, &attr), NEVER_FULL)) {
		set_in_model(run, node, set, &attr);
		inode_attr(inode, &now);
		if (set & SET_ATIME && now.atime.tv_sec != attr.atime.tv_sec)
			wrong(run, "atime was not set");
	}
	touched(run, node, 0);
	inode_put(inode);
}

/* ---- extended attributes ------------------------------------------------------------------------------- */

static const char *const prefixes[] = { "user.", "user.", "trusted.", "security.", "bogus.", "" };

static void xattr_name(uint64_t number, char name[64])
{
	snprintf(name, 64, "%s%llu%s", prefixes[number % 6], (unsigned long long)number,
		 number % 4 ? "" : "_and_a_longer_name_than_that");
	if (number % 97 == 96)
		strcpy(name, "user.");
}

static unsigned pick_xattr(uint64_t *rng)
{
	return one_in(rng, 30) ? 90 + (unsigned)below(rng, 7) : (unsigned)below(rng, 12);
}

/* setxattr NODE NUMBER LENGTH FLAGS */
static bool choose_setxattr(struct run *run, uint64_t *rng, uint64_t *a)
{
	const struct mnode *node = pick_node(run, rng, ANY);

	if (!node)
		return false;
	a[0] = node->id;
	a[1] = pick_xattr(rng);
	a[2] = below(rng, one_in(rng, 4) ? 9000 : 100);
	if (one_in(rng, 100))
		a[2] = MAX_XATTR_VALUE_BYTES - 1 + below(rng, 3);
	a[3] = one_in(rng, 4) ? XATTR_CREATE : one_in(rng, 4) ? XATTR_REPLACE : 0;
	return true;
}

static void forbid_xattr(struct verdict *v, const struct mnode *node, const char *name)
{
	bool user = !strncmp(name, "user.", 5);

	forbid(v, user && !S_ISREG(node->type) && !S_ISDIR(node->type), EPERM);
	forbid(v, !user && strncmp(name, "trusted.", 8) != 0 && strncmp(name, "security.", 9) != 0,
	       EOPNOTSUPP);
	forbid(v, user && !name[5], EINVAL);
	forbid(v, node->flags & FROZEN, EPERM);
}

static uint64_t xattr_blocks(const struct mnode *node, uint64_t more)
{
	for (const struct mxattr *x = node->xattrs; x; x = x->next)
		more += x->len + 100;
	return more / BLOCK_BYTES + 8;
}

static void apply_setxattr(struct run *run, const uint64_t *a)
{
	struct mnode *node = model_node(&run->m, a[0]);
	struct inode *inode = inode_of(run, node);
	unsigned char *value = malloc(a[2] + 1);
	struct verdict v = { .n = 0 };
	char name[64];

	if (!inode || !value)
		goto out;
	for (size_t i = 0; i < a[2]; i++)
		value[i] = (unsigned char)(run->op->id + i * 7);
	xattr_name(a[1], name);
	forbid_xattr(&v, node, name);
	forbid(&v, a[2] > MAX_XATTR_VALUE_BYTES, E2BIG);
	forbid(&v, a[3] & XATTR_CREATE && mxattr_find(node, name), EEXIST);
	forbid(&v, a[3] & XATTR_REPLACE && !mxattr_find(node, name), ENODATA);
	if (judge(run, &v, xattr_set(inode, name, value, a[2], (int)a[3]),
		  xattr_blocks(node, a[2]))) {
		mxattr_set(node, name, value, a[2]);
		touched(run, node, TOUCH_CTIME);
	}
	touched(run, node, 0);
out:
	free(value);
	if (inode)
		inode_put(inode);
}

/* removexattr NODE NUMBER */
static bool choose_removexattr(struct run *run, uint64_t *rng, uint64_t *a)
{
	const struct mnode *node = pick_node(run, rng, ANY);

	if (!node || (!node->xattrs && !one_in(rng, 10)))
		return false;
	a[0] = node->id;
	a[1] = pick_xattr(rng);
	return true;
}

static void apply_removexattr(struct run *run, const uint64_t *a)
{
	struct mnode *node = model_node(&run->m, a[0]);
	struct inode *inode = inode_of(run, node);
	struct verdict v = { .n = 0 };
	char name[64];

	if (!inode)
		return;
	xattr_name(a[1], name);
	forbid_xattr(&v, node, name);
	forbid(&v, !mxattr_find(node, name), ENODATA);
	if (judge(run, &v, xattr_set(inode, name, NULL, 0, 0), xattr_blocks(node, 0))) {
		mxattr_remove(node, name);
		touched(run, node, TOUCH_CTIME);
	}
	touched(run, node, 0);
	inode_put(inode);
}

const struct op_kind name_ops[] = {
	{ "create", 7, 1, 50, ATOMIC, choose_create, apply_create },
	{ "symlink", 3, 1, 10, ATOMIC, choose_symlink, apply_symlink },
	{ "link", 3, 3, 12, ATOMIC, choose_link, apply_link },
	{ "unlink", 2, 1, 36, ATOMIC, choose_unlink, apply_unlink },
	{ "rmdir", 2, 1, 12, ATOMIC, choose_rmdir, apply_rmdir },
	{ "rename", 5, 5, 30, ATOMIC, choose_rename, apply_rename },
	{ "lookup", 2, 1, 8, NOT_CUT, choose_lookup, apply_lookup },
	{ "tmpfile", 2, 1, 5, ATOMIC, choose_tmpfile, apply_tmpfile },
	{ "open", 1, 1, 10, ATOMIC, choose_open, apply_open },
	{ "close", 1, 0, 30, ATOMIC, choose_close, apply_close },
	{ "setattr", 7, 1, 16, ATOMIC, choose_setattr, apply_setattr },
	{ "setxattr", 4, 1, 20, ATOMIC, choose_setxattr, apply_setxattr },
	{ "removexattr", 2, 1, 10, ATOMIC, choose_removexattr, apply_removexattr },
	{ 0 },
};
