/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * inode.c - every inode: its dinode, its trees, and so: who owns which block.
 *
 * Checking only marks what an inode needs (enum fix) and which parts of its extents have to go
 * (struct edit). Mending follows when all owners are known, because it takes blocks that nobody
 * owns: it makes each marked inode anew, in memory and in fresh tree nodes, and then puts the
 * dinode in place by one store. Until that store the old state stands, untouched.
 *
 * Extents read without a good checksum are not believed at once: when all others have been claimed,
 * they get their blocks if those are marked used and nobody else's.
 */
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "impl.h"

#define DTYPE(mode) ((uint8_t)(((mode)&S_IFMT) >> 12))

/* ---- what stands in a slot ------------------------------------------------------------------- */

static bool known_type(uint32_t mode)
{
	uint32_t type = mode & S_IFMT;

	return type == S_IFREG || type == S_IFDIR || type == S_IFLNK || type == S_IFCHR ||
	       type == S_IFBLK || type == S_IFIFO || type == S_IFSOCK;
}

/*
 * The dinode of @ino, made credible if need be. *@ret_suspect: its checksum is wrong; of a free
 * one: it has to be made anew.
 */
static enum slot read_slot(struct fsck *f, uint64_t ino, struct dinode *d, bool *ret_suspect)
{
	uint64_t off = fsck_ino_off(f, ino);
	bool good, marked = fsck_map_bit(f, ino, PLANE_USED);

	*ret_suspect = false;
	if (!off)
		return SLOT_NONE;
	memcpy(d, region_ptr(f->region, off, sizeof(*d)), sizeof(*d));
	if (fsck_zero(d, sizeof(*d))) {
		*ret_suspect = marked;
		return marked ? SLOT_FREE : SLOT_NEVER;
	}
	good = fsck_dinode_good(d, ino) && fsck_readable(f, off >> BLOCK_SHIFT);
	if (good && !d->mode)
		return SLOT_FREE;
	if (good && known_type(from_le32(d->mode)))
		return SLOT_USED;
	*ret_suspect = true;
	if (!marked && f->chunks[ino / MAP_BITS]->map_good)
		return SLOT_FREE;
	return fsck_salvage(f, ino, d) ? SLOT_USED : SLOT_FREE;
}

void fsck_inode_copy(struct fsck *f, uint64_t ino, struct dinode *ret, bool *ret_suspect)
{
	read_slot(f, ino, ret, ret_suspect);
	fsck_audit(f, ino, ret, false, true);
}

/* ---- checking one ---------------------------------------------------------------------------- */

struct check {
	struct extents e;
	struct fsck *f;
	uint64_t ino;
	struct dinode d;
	struct iinfo *info;
	bool suspect;
	uint64_t nodes, blocks;
};

static bool is_inline(const struct dinode *d)
{
	return from_le32(d->flags) & DINODE_INLINE_LINK;
}

static int cut(struct check *c, const struct ext *ext, const char *why)
{
	struct edit edit = { c->ino, ext->lblk, ext->count, (uint8_t)c->e.walk.fork, false };

	fsck_found(c->f, FSCK_EXTENT, c->ino, ext->pblk,
		   "inode %llu: the extent of %llu blocks at file block %llu %s; it is cut",
		   (unsigned long long)c->ino, (unsigned long long)ext->count,
		   (unsigned long long)ext->lblk, why);
	c->e.walk.damaged = true;
	return vec_push(&c->f->edits, &edit, sizeof(edit));
}

static int check_extent(struct extents *e, const struct ext *ext, bool suspect)
{
	struct check *c = (struct check *)e;
	struct suspect s = { c->ino, (uint8_t)e->walk.fork, *ext };

	if (S_ISDIR(from_le32(c->d.mode)) && e->walk.fork == FORK_DATA) {
		if (ext->unwritten)
			return cut(c, ext, "is unwritten, in a directory");
		if (ext->lblk + ext->count > MAX_DIR_BLOCKS)
			return cut(c, ext, "lies behind the largest directory");
	}
	if (suspect)
		return vec_push(&c->f->suspects, &s, sizeof(s));
	fsck_claim(c->f, ext->pblk, ext->count);
	return 0;
}

static int claim_node(struct walk *w, uint64_t blk)
{
	fsck_claim(w->f, blk, 1);
	return 0;
}

static int claim_listed(struct fsck *f, struct vec *nodes)
{
	for (size_t i = 0; i < nodes->n; i++)
		fsck_claim(f, *vec_at(nodes, uint64_t, i), 1);
	vec_free(nodes);
	return 0;
}

static int check_extents(struct check *c, enum fork_id fork, uint8_t fix)
{
	struct vec nodes = { 0 };
	int err;

	c->e = (struct extents){ .walk = { .f = c->f,
					   .ino = c->ino,
					   .generation = from_le32(c->d.generation),
					   .fork = fork,
					   .suspect = c->suspect },
				 .fn = check_extent,
				 .node_list = &nodes };
	err = fsck_extents(&c->e, &c->d);
	claim_listed(c->f, &nodes);
	if (c->e.walk.damaged)
		c->info->fix |= fix;
	c->nodes += c->e.nodes;
	c->blocks += c->e.blocks;
	return err;
}

static int count_node(struct walk *w, uint64_t blk)
{
	struct check *c = w->ctx;

	c->nodes++;
	return claim_node(w, blk);
}

static int check_index(struct check *c)
{
	struct walk w = { .f = c->f,
			  .ino = c->ino,
			  .generation = from_le32(c->d.generation),
			  .fork = FORK_INDEX,
			  .suspect = c->suspect,
			  .on_node = count_node,
			  .ctx = c };
	int err = fsck_walk(&w, &c->d);

	if (w.damaged)
		c->info->fix |= FIX_INDEX;
	return err;
}

static void check_directory(struct check *c, uint64_t end)
{
	uint64_t size = from_le64(c->d.size);

	if (c->info->fix & FIX_DATA || size == end << BLOCK_SHIFT)
		return;
	fsck_found(c->f, FSCK_SIZE, c->ino, FSCK_NOWHERE,
		   "directory inode %llu has a size of %llu bytes, its blocks end at %llu",
		   (unsigned long long)c->ino, (unsigned long long)size,
		   (unsigned long long)end << BLOCK_SHIFT);
	c->info->fix |= FIX_DINODE;
}

/* What is wrong with a symbolic link, or NULL. */
static const char *link_fault(const struct check *c, uint64_t end, uint64_t blocks)
{
	uint64_t size = from_le64(c->d.size);
	const char *target = c->d.link;

	if (!size || size > (is_inline(&c->d) ? INLINE_LINK_BYTES - 1 : MAX_SYMLINK_BYTES))
		return "its length is impossible";
	if (!is_inline(&c->d)) {
		uint64_t val = from_le64(c->d.data_recs[0].val);

		if (end != 1 || blocks != 1 || c->d.data.level || from_le16(c->d.data.nrecs) != 1 ||
		    EXTENT_UNWRITTEN(val))
			return "its target has no block";
		target = fsck_block(c->f, EXTENT_PBLK(val));
	}
	return memchr(target, '\0', size) ? "its target has a NUL byte in it" : NULL;
}

static void check_link(struct check *c, uint64_t end, uint64_t blocks)
{
	const char *fault = c->info->fix & FIX_DATA && !c->suspect ? "its target has no block"
								   : link_fault(c, end, blocks);

	if (!fault)
		return;
	fsck_found(c->f, FSCK_SYMLINK, c->ino, FSCK_NOWHERE, "symbolic link inode %llu is lost: %s",
		   (unsigned long long)c->ino, fault);
	c->info->fix |= FIX_DROP;
}

static void check_attributes(struct check *c)
{
	char why[80];

	if (fsck_xattr_good(c->f, c->ino, &c->d, why, sizeof(why)))
		return;
	fsck_found(c->f, FSCK_XATTR, c->ino, FSCK_NOWHERE,
		   "the extended attributes of inode %llu are lost: %s", (unsigned long long)c->ino,
		   why);
	c->info->fix |= FIX_NO_ATTR;
}

static void check_nblocks(struct check *c)
{
	uint64_t is = c->nodes + c->blocks;

	if (c->info->fix & ~(uint8_t)FIX_DINODE || from_le64(c->d.nblocks) == is)
		return;
	fsck_found(c->f, FSCK_NBLOCKS, c->ino, FSCK_NOWHERE,
		   "inode %llu owns %llu blocks, but says %llu", (unsigned long long)c->ino,
		   (unsigned long long)is, (unsigned long long)from_le64(c->d.nblocks));
	c->info->fix |= FIX_DINODE;
}

static int check_used(struct check *c)
{
	uint32_t mode;
	uint64_t end = 0, blocks = 0;
	int err = 0;

	if (fsck_audit(c->f, c->ino, &c->d, c->suspect, false))
		c->info->fix |= FIX_DINODE;
	mode = from_le32(c->d.mode);
	c->info->type = DTYPE(mode);
	if (!is_inline(&c->d)) {
		err = check_extents(c, FORK_DATA, FIX_DATA | (S_ISDIR(mode) ? FIX_INDEX : 0));
		end = c->e.end;
		blocks = c->e.blocks;
		if (!err)
			err = check_index(c);
	}
	if (!err)
		err = check_extents(c, FORK_ATTR, FIX_ATTR);
	if (err)
		return err;
	if (S_ISDIR(mode))
		check_directory(c, end);
	if (S_ISLNK(mode))
		check_link(c, end, blocks);
	check_attributes(c);
	check_nblocks(c);
	return 0;
}

static int check_inode(struct fsck *f, uint64_t ino)
{
	struct check c = { .f = f, .ino = ino, .info = fsck_iinfo(f, ino) };
	uint64_t off = fsck_ino_off(f, ino);

	c.info->parent = FSCK_NOWHERE;
	c.info->slot = (uint8_t)read_slot(f, ino, &c.d, &c.suspect);
	if (off && !fsck_readable(f, off >> BLOCK_SHIFT))
		fsck_found(f, FSCK_MEDIA, ino, off >> BLOCK_SHIFT, "inode %llu cannot be read",
			   (unsigned long long)ino);
	if (c.info->slot == SLOT_USED)
		return check_used(&c);
	if (!c.suspect)
		return 0;
	if (fsck_map_bit(f, ino, PLANE_USED))
		fsck_found(f, FSCK_DINODE, ino, off >> BLOCK_SHIFT,
			   "inode %llu is damaged beyond recognition; it is given up",
			   (unsigned long long)ino);
	else
		fsck_found(f, FSCK_DINODE_FREE, ino, off >> BLOCK_SHIFT,
			   "the dinode of inode %llu, which is free, is damaged",
			   (unsigned long long)ino);
	c.info->fix = FIX_DROP;
	return 0;
}

/* ---- extents that nothing vouches for -------------------------------------------------------- */

static int judge_suspect(struct fsck *f, const struct suspect *s)
{
	struct edit edit = { s->ino, s->ext.lblk, s->ext.count, s->fork, false };

	if (!bits_any(&f->owned, s->ext.pblk, s->ext.count) &&
	    fsck_marked_used(f, s->ext.pblk, s->ext.count)) {
		fsck_claim(f, s->ext.pblk, s->ext.count);
		return 0;
	}
	fsck_found(
		f, FSCK_EXTENT, s->ino, s->ext.pblk,
		"inode %llu: %llu blocks at file block %llu were read without a good checksum, and "
		"are free or another's; they are cut",
		(unsigned long long)s->ino, (unsigned long long)s->ext.count,
		(unsigned long long)s->ext.lblk);
	return vec_push(&f->edits, &edit, sizeof(edit));
}

/* The slot of inode 0, which stands elsewhere. */
static void check_slot_zero(struct fsck *f)
{
	static const struct dinode zero;
	uint64_t off = f->table_blocks > 1 ? f->table[1] << BLOCK_SHIFT : 0;

	fsck_iinfo(f, INODE_FILE_INO)->parent = FSCK_NOWHERE;
	if (!off || fsck_zero(region_ptr(f->region, off, sizeof(zero)), sizeof(zero)))
		return;
	if (fsck_found(f, FSCK_DINODE_FREE, INODE_FILE_INO, off >> BLOCK_SHIFT,
		       "the slot of inode 0, which stands elsewhere, is not empty"))
		fsck_store_one(f, off, &zero, sizeof(zero));
}

int fsck_inodes(struct fsck *f)
{
	uint64_t max = fsck_ino_max(f);
	int err = 0;

	check_slot_zero(f);
	for (uint64_t ino = ROOT_INO; !err && ino < max; ino++) {
		if (ino % 1024 == 1)
			fsck_progress(f, "inodes", ino, max);
		err = check_inode(f, ino);
	}
	for (size_t i = 0; !err && i < f->suspects.n; i++)
		err = judge_suspect(f, vec_at(&f->suspects, struct suspect, i));
	if (!err)
		err = fsck_twice(f);
	f->claims_done = true;
	return err;
}
