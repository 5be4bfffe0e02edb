/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * audit.c - the fields of one dinode, each by itself and against each other.
 *
 * Two questions. A dinode whose checksum is wrong: is enough of it right to believe the rest
 * (fsck_salvage)? One flipped bit should not cost a file, so it may be wrong in one of the fields
 * that identify it; its type and generation, where in doubt, are taken from what it leads to. And
 * for every dinode: which fields have values that cannot be, and what should they be (fsck_audit)?
 * Both work on a copy, and are repeated, silently, when the copy is to be stored.
 */
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>

#include "impl.h"

#define KNOWN_FLAGS                                                                                \
	(DINODE_IMMUTABLE | DINODE_APPEND | DINODE_NODUMP | DINODE_NOATIME | DINODE_SYNC |         \
	 DINODE_INLINE_LINK)
#define NS_PER_S 1000000000u

bool fsck_dinode_good(const struct dinode *d, uint64_t ino)
{
	return from_le32(d->magic) == DINODE_MAGIC && from_le64(d->ino) == ino &&
	       from_le32(d->csum) == crc32c_skip(d, sizeof(*d), offsetof(struct dinode, csum));
}

/* ---- salvage --------------------------------------------------------------------------------- */

static bool known_type(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFLNK:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		return true;
	default:
		return false;
	}
}

/* The tree node that @blk is, if it is one of this inode's. */
static const struct tree_node *own_node(const struct fsck *f, uint64_t ino, enum fork_id fork,
					uint64_t blk)
{
	const struct tree_node *node;

	if (!fsck_data_range(f, blk, 1))
		return NULL;
	node = fsck_block(f, blk);
	if (from_le32(node->magic) != NODE_MAGIC || from_le64(node->blk) != blk ||
	    from_le64(node->owner) != ino || node->fork != fork ||
	    from_le32(node->csum) !=
		    crc32c_skip(node, sizeof(*node), offsetof(struct tree_node, csum)))
		return NULL;
	return node;
}

/* What the first record of a fork leads to says which level it has, and which generation. */
static void guess_fork(const struct fsck *f, uint64_t ino, struct dinode *d, enum fork_id fork)
{
	const struct tree_rec *recs;
	struct fork_header *header = (struct fork_header *)fsck_fork(d, fork, &recs);
	const struct tree_node *node = own_node(f, ino, fork, from_le64(recs[0].val));

	if (node && from_le16(node->level) < TREE_MAX_LEVEL) {
		header->level = to_le16((uint16_t)(from_le16(node->level) + 1));
		d->generation = node->generation;
	} else {
		header->level = 0;
	}
}

/* A directory without a tree: its first block says its generation. */
static bool guess_directory(const struct fsck *f, uint64_t ino, struct dinode *d)
{
	uint64_t blk = EXTENT_PBLK(from_le64(d->data_recs[0].val));
	const struct dirblock *db;

	if (d->data.level || !fsck_data_range(f, blk, 1))
		return false;
	db = fsck_block(f, blk);
	if (from_le32(db->magic) != DIRBLOCK_MAGIC || from_le64(db->owner) != ino ||
	    !fsck_dirblock_sealed(db))
		return false;
	d->generation = db->generation;
	return true;
}

static bool has_blocks(const struct dinode *d)
{
	return d->data.nrecs || d->data.level;
}

static void guess_type(struct dinode *d, bool is_directory)
{
	uint32_t mode = from_le32(d->mode) & 07777, type = from_le32(d->mode) & S_IFMT;
	uint64_t size = from_le64(d->size);

	if (from_le32(d->flags) & DINODE_INLINE_LINK)
		type = S_IFLNK;
	else if (is_directory || from_le64(d->index_recs[0].key) || d->parent || d->nentries)
		type = S_IFDIR;
	else if (type == S_IFLNK && has_blocks(d) && size && size <= MAX_SYMLINK_BYTES)
		type = S_IFLNK;
	else if (has_blocks(d) || size || !known_type(type) || type == S_IFDIR)
		type = type == S_IFDIR && !has_blocks(d) ? S_IFDIR : S_IFREG;
	d->mode = to_le32(type | mode);
}

bool fsck_salvage(struct fsck *f, uint64_t ino, struct dinode *d)
{
	unsigned wrong = (from_le32(d->magic) != DINODE_MAGIC) + (from_le64(d->ino) != ino) +
			 (!known_type(from_le32(d->mode)) || from_le32(d->mode) >> 16) +
			 (from_le64(d->size) > MAX_FILE_BYTES) + (from_le32(d->nlink) > MAX_LINKS) +
			 (from_le64(d->nblocks) > f->nblocks) +
			 (from_le32(d->pending.kind) > PENDING_EXCHANGE) +
			 (from_le32(d->xattr_bytes) > MAX_XATTR_BLOB_BYTES);

	if (wrong > 1 || fsck_zero(d, sizeof(*d)))
		return false;
	d->magic = to_le32(DINODE_MAGIC);
	d->ino = to_le64(ino);
	if (!(from_le32(d->flags) & DINODE_INLINE_LINK)) {
		guess_fork(f, ino, d, FORK_DATA);
		guess_fork(f, ino, d, FORK_INDEX);
	}
	guess_fork(f, ino, d, FORK_ATTR);
	guess_type(d, !(from_le32(d->flags) & DINODE_INLINE_LINK) && guess_directory(f, ino, d));
	return true;
}

/* ---- fields ---------------------------------------------------------------------------------- */

struct audit {
	struct fsck *f;
	uint64_t ino;
	struct dinode *d;
	bool quiet, fixed;
};

static void bad(struct audit *a, enum fsck_code code, const char *what)
{
	a->fixed = true;
	if (!a->quiet)
		fsck_found(a->f, code, a->ino, fsck_ino_off(a->f, a->ino) >> BLOCK_SHIFT,
			   "inode %llu: %s", (unsigned long long)a->ino, what);
}

static void audit_ns(struct audit *a, le32 *ns, const char *what)
{
	if (from_le32(*ns) < NS_PER_S)
		return;
	bad(a, FSCK_DINODE_FIELD, what);
	*ns = 0;
}

static void audit_times(struct audit *a)
{
	audit_ns(a, &a->d->atime_ns, "atime_ns is a second or more");
	audit_ns(a, &a->d->mtime_ns, "mtime_ns is a second or more");
	audit_ns(a, &a->d->ctime_ns, "ctime_ns is a second or more");
	audit_ns(a, &a->d->btime_ns, "btime_ns is a second or more");
}

static void audit_flags(struct audit *a)
{
	uint32_t flags = from_le32(a->d->flags), mode = from_le32(a->d->mode);

	if (mode >> 16) {
		bad(a, FSCK_DINODE_FIELD, "mode has more bits than a mode");
		a->d->mode = to_le32(mode & 0xffff);
	}
	if (flags & ~KNOWN_FLAGS) {
		bad(a, FSCK_DINODE_FIELD, "flags has bits that mean nothing");
		a->d->flags = to_le32(flags & KNOWN_FLAGS);
	}
	if (flags & DINODE_INLINE_LINK && !S_ISLNK(mode)) {
		bad(a, FSCK_DINODE_FIELD, "only a symbolic link can have its target inside");
		a->d->flags = to_le32(flags & KNOWN_FLAGS & ~DINODE_INLINE_LINK);
		memset(a->d->link, 0, sizeof(a->d->link));
	}
}

static bool is_inline(const struct dinode *d)
{
	return from_le32(d->flags) & DINODE_INLINE_LINK;
}

/* What only some types have. */
static void audit_by_type(struct audit *a)
{
	struct dinode *d = a->d;
	uint32_t mode = from_le32(d->mode);
	bool file = S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode);

	if (!S_ISDIR(mode) && (d->parent || d->nentries)) {
		bad(a, FSCK_DINODE_FIELD, "only a directory has a parent and entries");
		d->parent = d->nentries = 0;
	}
	if (!S_ISCHR(mode) && !S_ISBLK(mode) && (d->rdev_major || d->rdev_minor)) {
		bad(a, FSCK_DINODE_FIELD, "only a device has a device number");
		d->rdev_major = d->rdev_minor = 0;
	}
	if (!file && has_blocks(d)) {
		bad(a, FSCK_DINODE_FIELD, "a device, fifo or socket has data blocks; they are cut");
		memset(&d->data, 0, sizeof(d->data));
	}
	if (!S_ISDIR(mode) && !is_inline(d) && (d->index.nrecs || d->index.level)) {
		bad(a, FSCK_DINODE_FIELD, "only a directory has an index");
		memset(&d->index, 0, sizeof(d->index));
	}
	if (!file && d->size) {
		bad(a, FSCK_SIZE, "a device, fifo or socket has a size");
		d->size = 0;
	}
}

static void audit_size(struct audit *a)
{
	uint64_t size = from_le64(a->d->size);

	if (S_ISREG(from_le32(a->d->mode)) && size > MAX_FILE_BYTES) {
		bad(a, FSCK_SIZE, "it is larger than the largest file");
		a->d->size = to_le64(MAX_FILE_BYTES);
	}
}

static bool range_possible(const struct dpending *p)
{
	uint64_t pos = from_le64(p->pos), len = from_le64(p->len), cursor = from_le64(p->cursor);

	return pos <= MAX_FILE_BLOCKS && len <= MAX_FILE_BLOCKS - pos &&
	       cursor <= MAX_FILE_BLOCKS && from_le64(p->partner_pos) <= MAX_FILE_BLOCKS - len;
}

static bool pending_possible(const struct audit *a)
{
	const struct dpending *p = &a->d->pending;
	uint64_t partner = from_le64(p->partner_ino);

	if (!S_ISREG(from_le32(a->d->mode)) || !range_possible(p) ||
	    (from_le32(p->kind) != PENDING_EXCHANGE &&
	     from_le32(p->flags) > (from_le32(p->kind) == PENDING_COLLAPSE)))
		return false;
	switch (from_le32(p->kind)) {
	case PENDING_TRUNCATE:
	case PENDING_PUNCH:
	case PENDING_UNWRITE:
	case PENDING_COLLAPSE:
	case PENDING_INSERT:
		return !partner;
	case PENDING_EXCHANGE:
		return partner && partner != a->ino && fsck_ino_off(a->f, partner);
	default:
		return false;
	}
}

static void audit_pending(struct audit *a)
{
	struct dpending *p = &a->d->pending;

	if (!p->kind && fsck_zero(p, sizeof(*p)))
		return;
	if (p->kind && pending_possible(a))
		return;
	bad(a, FSCK_PENDING_FIELD,
	    p->kind ? "what is pending makes no sense; it is given up, and the file left as it is"
		    : "nothing is pending, but its record is not empty");
	memset(p, 0, sizeof(*p));
}

bool fsck_audit(struct fsck *f, uint64_t ino, struct dinode *d, bool suspect, bool quiet)
{
	struct audit a = { .f = f, .ino = ino, .d = d, .quiet = quiet };

	if (suspect)
		bad(&a, FSCK_DINODE_CSUM,
		    "the dinode has a wrong checksum; what agrees with everything else is kept");
	audit_flags(&a);
	audit_by_type(&a);
	audit_size(&a);
	audit_times(&a);
	audit_pending(&a);
	return a.fixed;
}
