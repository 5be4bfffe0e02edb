/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * lib_model_check.c - is the core what the model is? Everything that a program could see of an object
 * is read through the operations that it would use, and compared.
 */
#include "model_run.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc.h"
#include "dir.h"
#include "file.h"
#include "namespace.h"
#include "region.h"
#include "volume.h"
#include "xattr.h"

/* Objects of which everything is read after each operation that touched them. */
#define FEW_PAGES 24u
#define FEW_ENTRIES 40u

static bool later(struct timespec a, struct timespec b)
{
	return a.tv_sec != b.tv_sec ? a.tv_sec > b.tv_sec : a.tv_nsec > b.tv_nsec;
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* ---- attributes ------------------------------------------------------------------------------- */

static void differs(struct run *run, const struct mnode *node, const char *what, uint64_t is,
		    uint64_t should)
{
	if (is != should)
		wrong(run,
		      "node %" PRIu64 ": %s is %" PRIu64 " (0x%" PRIx64 "), should be %" PRIu64
		      " (0x%" PRIx64 ")",
		      node->id, what, is, is, should, should);
}

static void check_time(struct run *run, const struct mnode *node, const char *what, bool is_new,
		       struct timespec is, struct timespec *last)
{
	if (is_new && later(run->began, is))
		wrong(run, "node %" PRIu64 ": %s was not set", node->id, what);
	if (!is_new && !same_time(is, *last))
		wrong(run, "node %" PRIu64 ": %s was changed from %lld.%09ld to %lld.%09ld",
		      node->id, what, (long long)last->tv_sec, last->tv_nsec, (long long)is.tv_sec,
		      is.tv_nsec);
	*last = is;
}

static void check_attr(struct run *run, struct mnode *node, struct inode *inode, unsigned new_times)
{
	struct attr attr;

	inode_attr(inode, &attr);
	differs(run, node, "number", attr.ino, node->ino);
	differs(run, node, "type", attr.mode & S_IFMT, node->type);
	differs(run, node, "mode", attr.mode & 07777, node->perm);
	differs(run, node, "uid", attr.uid, node->uid);
	differs(run, node, "gid", attr.gid, node->gid);
	differs(run, node, "nlink", attr.nlink, node->nlink);
	differs(run, node, "flags", attr.flags & ~DINODE_INLINE_LINK, node->flags);
	differs(run, node, "rdev_major", attr.rdev_major, node->rdev_major);
	differs(run, node, "rdev_minor", attr.rdev_minor, node->rdev_minor);
	if (S_ISREG(node->type))
		differs(run, node, "size", attr.size, node->file.size);
	if (S_ISLNK(node->type))
		differs(run, node, "length", attr.size, strlen(node->target));
	if (S_ISREG(node->type) && attr.nblocks < node->file.npages)
		differs(run, node, "blocks", attr.nblocks, node->file.npages);
	check_time(run, node, "mtime", new_times & TOUCH_MTIME, attr.mtime, &node->mtime);
	check_time(run, node, "ctime", new_times & TOUCH_CTIME, attr.ctime, &node->ctime);
}

static void check_value(struct run *run, const struct mnode *node, struct inode *inode,
			const struct mxattr *x)
{
	unsigned char *value = malloc(x->len + 1);
	ssize_t n = xattr_get(inode, x->name, value, x->len + 1);

	if (n != (ssize_t)x->len)
		wrong(run, "node %" PRIu64 ": xattr %s: %zd, should be %zu", node->id, x->name, n,
		      x->len);
	else if (memcmp(value, x->value, x->len) != 0)
		wrong(run, "node %" PRIu64 ": xattr %s has another value", node->id, x->name);
	free(value);
}

static void check_xattrs(struct run *run, const struct mnode *node, struct inode *inode)
{
	size_t should = 0;
	ssize_t is = xattr_list(inode, NULL, 0);

	for (const struct mxattr *x = node->xattrs; x && !failed(run); x = x->next) {
		should += strlen(x->name) + 1;
		check_value(run, node, inode, x);
	}
	if (is != (ssize_t)should) /* with every one of them there: no other */
		wrong(run, "node %" PRIu64 ": names of xattrs: %zd bytes, should be %zu", node->id,
		      is, should);
}

static void check_target(struct run *run, const struct mnode *node, struct inode *inode)
{
	char target[MAX_SYMLINK_BYTES + 1];
	int err = ns_readlink(inode, target, sizeof(target));

	if (err || strcmp(target, node->target) != 0)
		wrong(run, "node %" PRIu64 ": readlink: %s", node->id,
		      err ? strerror(-err) : "another target");
}

/* ---- directories ------------------------------------------------------------------------------ */

static uint8_t dtype(mode_t type)
{
	return (uint8_t)(type >> 12);
}

static void check_entry(struct run *run, const struct mnode *dir, const struct dir_entry *entry)
{
	unsigned number = (unsigned)strtoul(entry->name + 1, NULL, 10);
	const struct mnode *node = mdir_find(dir, number);
	char name[NAME_BUF];
	size_t len = model_name(number, name);

	if (!node || len != entry->name_len || memcmp(name, entry->name, len) != 0)
		wrong(run, "directory %" PRIu64 ": holds %s", dir->id, entry->name);
	else if (node->ino != entry->ino || dtype(node->type) != entry->type)
		wrong(run, "directory %" PRIu64 ": %s is inode %" PRIu64 ", should be %" PRIu64,
		      dir->id, entry->name, entry->ino, node->ino);
}

static void check_entries(struct run *run, const struct mnode *node, struct inode *inode)
{
	struct dir_entry entry;
	size_t n = 0;
	int err;

	ilock(inode, SYNC_SHARED, HERE);
	err = dir_iterate(inode, 0, &entry);
	while (!err && !failed(run) && n <= node->nentries) {
		check_entry(run, node, &entry);
		n++;
		err = n % 2 ? dir_next(inode, &entry) : dir_iterate(inode, entry.pos + 1, &entry);
	}
	iunlock(inode, SYNC_SHARED, HERE);
	if (err && err != -ENOENT)
		wrong(run, "directory %" PRIu64 ": reading it: %s", node->id, strerror(-err));
	differs(run, node, "count of entries", n, node->nentries);
}

static void check_lookup(struct run *run, const struct mnode *dir, struct inode *inode,
			 const char *name, size_t len, uint64_t should)
{
	struct inode *found;
	int err = ns_lookup(inode, name, len, &found);

	if (err) {
		wrong(run, "directory %" PRIu64 ": %.*s: %s", dir->id, (int)len, name,
		      strerror(-err));
		return;
	}
	if (found->ino != should)
		wrong(run, "directory %" PRIu64 ": %.*s is inode %" PRIu64 ", should be %" PRIu64,
		      dir->id, (int)len, name, found->ino, should);
	inode_put(found);
}

static void check_names(struct run *run, const struct mnode *dir, struct inode *inode)
{
	char name[NAME_BUF];

	for (size_t i = 0; i < dir->nentries && !failed(run); i++) {
		size_t len = model_name(dir->entries[i].name, name);

		check_lookup(run, dir, inode, name, len, dir->entries[i].node->ino);
	}
	if (dir->nlink)
		check_lookup(run, dir, inode, "..", 2,
			     dir->parent ? dir->parent->ino : run->parent_ino);
}

/* ---- files -------------------------------------------------------------------------------------- */

void check_read(struct run *run, struct mnode *node, struct inode *inode, uint64_t pos,
		uint64_t len)
{
	uint64_t end = pos >= node->file.size	     ? pos
		       : len > node->file.size - pos ? node->file.size
						     : pos + len;
	struct read_plan plan;

	do {
		uint64_t should = end - pos, where;
		int err = file_read_begin(inode, pos, len, IO_UNCACHED, &plan);

		if (err) {
			wrong(run, "node %" PRIu64 ": read: %s", node->id, strerror(-err));
			return;
		}
		if (plan.bytes > should || (!plan.bytes && should))
			wrong(run, "node %" PRIu64 ": read at %" PRIu64 ": %zu bytes of %" PRIu64,
			      node->id, pos, plan.bytes, should);
		for (unsigned i = 0; i < plan.npieces && !failed(run); i++) {
			if (!mfile_same(&node->file, pos, plan.pieces[i].iov_base,
					plan.pieces[i].iov_len, &where))
				wrong(run,
				      "node %" PRIu64 ": wrong byte at %" PRIu64 " (%" PRIu64
				      " behind the start of its page)",
				      node->id, where, where % MPAGE_BYTES);
			pos += plan.pieces[i].iov_len;
		}
		file_read_end(inode, &plan);
		len = end > pos ? end - pos : 0;
	} while (pos < end && !failed(run));
}

static void check_one_seek(struct run *run, const struct mnode *node, struct inode *inode,
			   uint64_t pos, int whence)
{
	const struct mfile *f = &node->file;
	uint64_t should = whence == SEEK_DATA ? mfile_data(f, pos) : mfile_hole(f, pos), is = 0;
	int err = file_seek(inode, pos, whence, &is);
	bool nothing = pos >= f->size || (whence == SEEK_DATA && should >= f->size);

	if (err != (nothing ? -ENXIO : 0) || (!err && is != should))
		wrong(run,
		      "node %" PRIu64 ": SEEK_%s from %" PRIu64 ": %s %" PRIu64
		      ", should be %s %" PRIu64,
		      node->id, whence == SEEK_DATA ? "DATA" : "HOLE", pos, strerror(-err), is,
		      nothing ? "ENXIO" : "", should);
}

void check_seek(struct run *run, struct mnode *node, struct inode *inode, uint64_t pos)
{
	check_one_seek(run, node, inode, pos, SEEK_DATA);
	check_one_seek(run, node, inode, pos, SEEK_HOLE);
}

/* Each page with data, and that there is data nowhere else. */
static void check_content(struct run *run, struct mnode *node, struct inode *inode)
{
	const struct mfile *f = &node->file;
	uint64_t pos = 0;

	check_seek(run, node, inode, f->size);
	while (pos < f->size && !failed(run)) {
		uint64_t data = mfile_data(f, pos), hole;

		check_seek(run, node, inode, pos);
		check_read(run, node, inode, pos, MPAGE_BYTES); /* of a hole: its start */
		if (data >= f->size)
			break;
		check_seek(run, node, inode, data);
		hole = mfile_hole(f, data);
		check_read(run, node, inode, data, hole - data);
		pos = hole;
	}
}

static void check_around(struct run *run, struct mnode *node, struct inode *inode, uint64_t pos,
			 uint64_t len)
{
	uint64_t from = pos > 2 * MPAGE_BYTES ? pos - 2 * MPAGE_BYTES : 0, end = pos + len;

	if (len > 16 * MPAGE_BYTES) {
		check_read(run, node, inode, end - 2 * MPAGE_BYTES, 4 * MPAGE_BYTES);
		len = 14 * MPAGE_BYTES;
	}
	check_read(run, node, inode, from, len + 4 * MPAGE_BYTES);
	check_seek(run, node, inode, from);
	check_seek(run, node, inode, pos);
	check_seek(run, node, inode, end);
}

/* ---- the whole ------------------------------------------------------------------------------------ */

void check_node(struct run *run, struct mnode *node, unsigned new_times, bool whole, uint64_t pos,
		uint64_t len)
{
	struct inode *inode = inode_of(run, node);

	if (!inode)
		return;
	check_attr(run, node, inode, new_times);
	check_xattrs(run, node, inode);
	if (S_ISREG(node->type) && (whole || node->file.npages <= FEW_PAGES))
		check_content(run, node, inode);
	else if (S_ISREG(node->type) && len)
		check_around(run, node, inode, pos, len);
	if (S_ISLNK(node->type))
		check_target(run, node, inode);
	if (S_ISDIR(node->type) && (whole || node->nentries <= FEW_ENTRIES))
		check_entries(run, node, inode);
	if (S_ISDIR(node->type) && whole)
		check_names(run, node, inode);
	inode_put(inode);
}

void check_all(struct run *run)
{
	for (size_t i = 0; i < run->m.nnodes && !failed(run); i++)
		check_node(run, run->m.nodes[i], 0, true, 0, 0);
}

/* Free blocks, and those that the inode file and the root directory keep when all is removed. */
uint64_t space_in_sight(struct run *run)
{
	const struct dinode *table =
		region_ptr(run->region, (uint64_t)SPECIAL_BLK << BLOCK_SHIFT, sizeof(*table));
	struct inode *root = inode_of(run, run->m.nodes[0]);
	struct space space;
	struct attr attr = { 0 };

	alloc_space(run->vol, &space);
	if (root) {
		inode_attr(root, &attr);
		inode_put(root);
	}
	return space.free + from_le64(table->nblocks) + attr.nblocks;
}
