/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * lib_fsck_damage.c - see fsck_damage.h. Where the damage is in what a structure says, its checksum
 * is made right again; where it is to the checksum, a byte is flipped.
 */
#include "fsck_damage.h"

#include <sys/stat.h>

#include "dir.h"

/* Which inode is which in the image that is being damaged. */
static struct image image;

static void flip(void *p)
{
	*(unsigned char *)p ^= 0x10;
}

static struct dinode *dinode(unsigned char *b, uint64_t ino)
{
	return image_dinode(b, ino);
}

/* Superblock. */

static void super_flip(unsigned char *b)
{
	flip(b + 3000);
}

static void super_copy_flip(unsigned char *b)
{
	flip((unsigned char *)image_block(b, SUPER_COPY_BLK) + 130);
}

static void super_uuid(unsigned char *b)
{
	struct super *s = image_block(b, SUPER_BLK);

	flip(s->uuid);
	seal_super(s);
}

static void super_nblocks(unsigned char *b)
{
	struct super *s = image_block(b, SUPER_BLK);

	s->nblocks = to_le64(IMAGE_BLOCKS * 3);
	seal_super(s);
}

static void super_both(unsigned char *b, void (*fn)(struct super *s))
{
	for (uint64_t blk = SUPER_BLK; blk <= SUPER_COPY_BLK; blk += SUPER_COPY_BLK) {
		fn(image_block(b, blk));
		seal_super(image_block(b, blk));
	}
}

static void set_granule(struct super *s)
{
	s->granule_bytes = to_le32(5000);
}

static void super_granule(unsigned char *b)
{
	super_both(b, set_granule);
}

static void set_state(struct super *s)
{
	s->state = to_le32(77);
}

static void super_state(unsigned char *b)
{
	super_both(b, set_state);
}

static void set_label(struct super *s)
{
	memset(s->label, 'L', sizeof(s->label));
}

static void super_label(unsigned char *b)
{
	super_both(b, set_label);
}

static void lane_magic(unsigned char *b)
{
	flip(image_block(b, JOURNAL_BLK));
}

/* A committed transaction with a record that cannot be. */
static void lane_hostile(unsigned char *b)
{
	unsigned char *lane = image_block(b, JOURNAL_BLK);
	struct lane_header *h = (void *)lane;
	struct log_bits *rec = (void *)(lane + sizeof(*h));
	const struct super *s = image_block(b, SUPER_BLK);

	*h = (struct lane_header){ .magic = to_le32(LANE_MAGIC), .bytes = to_le64(sizeof(*rec)) };
	*rec = (struct log_bits){ .kind = to_le32(LOG_BITS), .blk = s->nblocks };
	h->csum = to_le32(fsck_image_crc(lane, sizeof(*h) + sizeof(*rec), 4));
}

/* The inode file. */

static void special_flip(unsigned char *b)
{
	flip(&dinode(b, INODE_FILE_INO)->size);
}

static void special_padding(unsigned char *b)
{
	flip((unsigned char *)image_block(b, SPECIAL_BLK) + 2000);
}

static void special_lost(unsigned char *b)
{
	memset(image_block(b, SPECIAL_BLK), 0x5a, BLOCK_BYTES);
}

/* Where the root directory's dinode is thought to be there is something else. */
static void special_extent(unsigned char *b)
{
	struct tree_rec *rec = image_data_rec(b, INODE_FILE_INO, 1);
	struct dinode *d = dinode(b, INODE_FILE_INO);

	rec->val = to_le64(from_le64(rec->val) + EXTENT_PACK(100, 0, 0));
	if (d->data.level)
		seal_node(image_block(b, from_le64(d->data_recs[0].val)));
	seal_dinode(d);
}

static void special_shorter(unsigned char *b)
{
	struct dinode *d = dinode(b, INODE_FILE_INO);
	struct tree_node *node = image_block(b, from_le64(d->data_recs[0].val));

	assert_int_equal(d->data.level, to_le16(1));
	node->nrecs = to_le16((uint16_t)(from_le16(node->nrecs) - 1));
	seal_node(node);
}

static void special_node_flip(unsigned char *b)
{
	struct dinode *d = dinode(b, INODE_FILE_INO);
	struct tree_node *node = image_block(b, from_le64(d->data_recs[0].val));

	flip(&node->recs[1].val);
}

static void special_node_lost(unsigned char *b)
{
	memset(image_block(b, from_le64(dinode(b, INODE_FILE_INO)->data_recs[0].val)), 1,
	       BLOCK_BYTES);
}

static void inode_map_flip(unsigned char *b)
{
	flip(&image_inode_map(b)->bits[0][3]);
}

static void map_bit(struct map_block *m, unsigned plane, uint64_t bit)
{
	m->bits[plane][bit / 64] ^= to_le64(UINT64_C(1) << bit % 64);
	seal_map(m);
}

static void inode_marked_free(unsigned char *b)
{
	map_bit(image_inode_map(b), PLANE_USED, image.small);
}

static void inode_marked_used(unsigned char *b)
{
	uint64_t ino = image.small;

	while (image_dinode(b, ino)->mode)
		ino++;
	map_bit(image_inode_map(b), PLANE_USED, ino);
}

static void pending_without_reason(unsigned char *b)
{
	map_bit(image_inode_map(b), PLANE_PENDING, image.small);
}

static void inode_map_tail(unsigned char *b)
{
	map_bit(image_inode_map(b), PLANE_USED, MAP_BITS - 1);
}

/* Dinodes. */

static void dinode_flip(unsigned char *b)
{
	flip(&dinode(b, image.small)->uid);
}

static void dinode_lost(unsigned char *b)
{
	memset(dinode(b, image.small), 0xee, DINODE_BYTES);
}

static void dinode_zeroed(unsigned char *b)
{
	memset(dinode(b, image.small), 0, DINODE_BYTES);
}

static void dinode_generation_flip(unsigned char *b)
{
	flip(&dinode(b, image.pieces)->generation);
}

static void dinode_level_flip(unsigned char *b)
{
	dinode(b, image.pieces)->data.level ^= to_le16(1);
}

static void directory_dinode_flip(unsigned char *b)
{
	flip(&dinode(b, image.many)->generation);
}

static void free_dinode(unsigned char *b)
{
	uint64_t ino = image.many;

	while (!image_dinode(b, ino)->magic || image_dinode(b, ino)->mode)
		ino++;
	flip(&dinode(b, ino)->generation);
}

static void slot_zero(unsigned char *b)
{
	flip((unsigned char *)dinode(b, ROOT_INO) - DINODE_BYTES + 40);
}

static void changed(unsigned char *b, uint64_t ino, void (*fn)(struct dinode *d))
{
	fn(dinode(b, ino));
	seal_dinode(dinode(b, ino));
}

static void set_ns(struct dinode *d)
{
	d->mtime_ns = to_le32(1000000000);
}

static void dinode_time(unsigned char *b)
{
	changed(b, image.small, set_ns);
}

static void set_flags(struct dinode *d)
{
	d->flags |= to_le32(0x400);
}

static void dinode_flags(unsigned char *b)
{
	changed(b, image.small, set_flags);
}

static void set_inline(struct dinode *d)
{
	d->flags |= to_le32(DINODE_INLINE_LINK);
}

static void dinode_inline(unsigned char *b)
{
	changed(b, image.small, set_inline);
}

static void set_rdev(struct dinode *d)
{
	d->rdev_major = to_le32(8);
}

static void dinode_rdev(unsigned char *b)
{
	changed(b, image.small, set_rdev);
}

static void set_mode(struct dinode *d)
{
	d->mode |= to_le32(0x100000);
}

static void dinode_mode(unsigned char *b)
{
	changed(b, image.small, set_mode);
}

static void set_type(struct dinode *d)
{
	d->mode = to_le32(0644);
}

static void dinode_type(unsigned char *b)
{
	changed(b, image.small, set_type);
}

static void set_fifo_blocks(struct dinode *d)
{
	d->mode = to_le32(S_IFIFO | 0644);
}

static void fifo_with_blocks(unsigned char *b)
{
	changed(b, image.small, set_fifo_blocks);
}

static void set_pending(struct dinode *d)
{
	d->pending.kind = to_le32(99);
}

static void pending_kind(unsigned char *b)
{
	changed(b, image.small, set_pending);
}

static void set_stale_pending(struct dinode *d)
{
	d->pending.pos = to_le64(3);
}

static void pending_not_empty(unsigned char *b)
{
	changed(b, image.small, set_stale_pending);
}

static void set_size(struct dinode *d)
{
	d->size = to_le64(from_le64(d->size) + 4096);
}

static void directory_size(unsigned char *b)
{
	changed(b, image.many, set_size);
}

static void set_huge(struct dinode *d)
{
	d->size = to_le64(MAX_FILE_BYTES + 1);
}

static void file_size(unsigned char *b)
{
	changed(b, image.small, set_huge);
}

static void set_nblocks(struct dinode *d)
{
	d->nblocks = to_le64(from_le64(d->nblocks) + 3);
}

static void dinode_nblocks(unsigned char *b)
{
	changed(b, image.small, set_nblocks);
}

/* Trees. */

static void set_nrecs(struct dinode *d)
{
	d->data.nrecs = to_le16(9);
}

static void fork_nrecs(unsigned char *b)
{
	changed(b, image.small, set_nrecs);
}

static void set_level(struct dinode *d)
{
	d->data.level = to_le16(7);
}

static void fork_level(unsigned char *b)
{
	changed(b, image.small, set_level);
}

static struct tree_node *leaf_of(unsigned char *b, uint64_t ino, bool index)
{
	struct dinode *d = dinode(b, ino);
	struct tree_rec *recs = index ? d->index_recs : d->data_recs;

	assert_int_equal(index ? d->index.level : d->data.level, to_le16(1));
	return image_block(b, from_le64(recs[0].val));
}

static void node_flip(unsigned char *b)
{
	flip(&leaf_of(b, image.pieces, false)->recs[20].val);
}

static void node_magic_flip(unsigned char *b)
{
	flip(&leaf_of(b, image.pieces, false)->magic);
}

static void node_owner(unsigned char *b)
{
	struct tree_node *n = leaf_of(b, image.pieces, false);

	n->owner = to_le64(image.small);
	seal_node(n);
}

static void node_order(unsigned char *b)
{
	struct tree_node *n = leaf_of(b, image.pieces, false);

	n->recs[10].key = to_le64(0);
	seal_node(n);
}

static void node_nrecs(unsigned char *b)
{
	struct tree_node *n = leaf_of(b, image.pieces, false);

	n->nrecs = 0;
	seal_node(n);
}

static void node_pointer(unsigned char *b)
{
	struct dinode *d = dinode(b, image.pieces);

	d->data_recs[1].val = to_le64(3);
	seal_dinode(d);
}

static void fork_keys(unsigned char *b)
{
	struct dinode *d = dinode(b, image.pieces);

	d->data_recs[0].key = to_le64(5);
	seal_dinode(d);
}

static void extent_outside(unsigned char *b)
{
	struct dinode *d = dinode(b, image.small);

	d->data_recs[0].val = to_le64(EXTENT_PACK(IMAGE_BLOCKS - 1, 2, 0));
	seal_dinode(d);
}

static void extent_in_super(unsigned char *b)
{
	struct dinode *d = dinode(b, image.small);

	d->data_recs[0].val = to_le64(EXTENT_PACK(0, 2, 0));
	seal_dinode(d);
}

static void extent_overlap(unsigned char *b)
{
	struct tree_node *n = leaf_of(b, image.pieces, false);
	uint64_t val = from_le64(n->recs[5].val);

	n->recs[5].val = to_le64(EXTENT_PACK(EXTENT_PBLK(val), 4, 0));
	seal_node(n);
}

static void extent_behind(unsigned char *b)
{
	struct dinode *d = dinode(b, image.small);

	d->data_recs[0].key = to_le64(MAX_FILE_BLOCKS);
	seal_dinode(d);
}

static void directory_unwritten(unsigned char *b)
{
	struct dinode *d = dinode(b, image.a);

	d->data_recs[0].val |= to_le64(1);
	seal_dinode(d);
}

/* Owners. */

static void two_files(unsigned char *b)
{
	struct dinode *d = dinode(b, image.small);

	d->data_recs[0].val = to_le64(EXTENT_PACK(image_extent_blk(b, image.prealloc, 0), 2, 0));
	seal_dinode(d);
}

static void file_and_node(unsigned char *b)
{
	struct dinode *d = dinode(b, image.small);
	uint64_t blk = from_le64(dinode(b, image.pieces)->data_recs[0].val);

	d->data_recs[0].val = to_le64(EXTENT_PACK(blk, 1, 0));
	d->nblocks = to_le64(1);
	seal_dinode(d);
}

static void file_and_directory(unsigned char *b)
{
	struct dinode *d = dinode(b, image.small);

	d->data_recs[0].val = to_le64(EXTENT_PACK(image_extent_blk(b, image.a, 0), 1, 0));
	d->nblocks = to_le64(1);
	seal_dinode(d);
}

static void file_and_inode_file(unsigned char *b)
{
	struct dinode *d = dinode(b, image.small);

	d->data_recs[0].val = to_le64(EXTENT_PACK(image_extent_blk(b, INODE_FILE_INO, 1), 1, 0));
	d->nblocks = to_le64(1);
	seal_dinode(d);
}

static void one_file_twice(unsigned char *b)
{
	struct dinode *d = dinode(b, image.small);
	uint64_t blk = EXTENT_PBLK(from_le64(d->data_recs[0].val));

	d->data.nrecs = to_le16(2);
	d->data_recs[1] = (struct tree_rec){ to_le64(9), to_le64(EXTENT_PACK(blk, 1, 0)) };
	d->nblocks = to_le64(3);
	seal_dinode(d);
}

/* Links and attributes. */

static void set_link_length(struct dinode *d)
{
	d->size = to_le64(INLINE_LINK_BYTES);
}

static void link_length(unsigned char *b)
{
	changed(b, image.link, set_link_length);
}

static void set_nul(struct dinode *d)
{
	d->link[5] = '\0';
}

static void link_nul(unsigned char *b)
{
	changed(b, image.link, set_nul);
}

static void set_empty(struct dinode *d)
{
	d->data.nrecs = 0;
	d->nblocks = 0;
}

static void link_block(unsigned char *b)
{
	changed(b, image.long_link, set_empty);
}

static void *blob(unsigned char *b, uint64_t ino)
{
	return image_block(b, EXTENT_PBLK(from_le64(dinode(b, ino)->attr_recs[0].val)));
}

static void attrs_flip(unsigned char *b)
{
	flip((unsigned char *)blob(b, image.attrs) + 60);
}

static void big_attrs_flip(unsigned char *b)
{
	flip((unsigned char *)blob(b, image.big_attrs) + 3000);
}

static void set_attr_bytes(struct dinode *d)
{
	d->xattr_bytes = to_le32(12);
}

static void attrs_length(unsigned char *b)
{
	changed(b, image.attrs, set_attr_bytes);
}

static void attrs_twice(unsigned char *b)
{
	struct xattr_header *h = blob(b, image.attrs);
	struct dinode *d = dinode(b, image.attrs);
	unsigned char *p = (unsigned char *)h;

	/* One more entry, as the first. */
	memcpy(p + from_le32(d->xattr_bytes), p + sizeof(*h), XATTR_ENTRY_BYTES(8, 100));
	h->nentries = to_le32(from_le32(h->nentries) + 1);
	d->xattr_bytes = to_le32(from_le32(d->xattr_bytes) + XATTR_ENTRY_BYTES(8, 100));
	h->csum = to_le32(fsck_image_crc(h, from_le32(d->xattr_bytes), 4));
	seal_dinode(d);
}

/* Directories. */

static struct dirblock *dirblock(unsigned char *b, uint64_t ino, uint64_t lblk)
{
	return image_block(b, image_extent_blk(b, ino, lblk));
}

/* The @n-th name of a block. */
static struct dirent_disk *entry(struct dirblock *db, unsigned n)
{
	unsigned char *p = db->entries;

	for (;; p += from_le16(((struct dirent_disk *)p)->bytes)) {
		assert_true(p < (unsigned char *)db + BLOCK_BYTES);
		if (((struct dirent_disk *)p)->ino && !n--)
			return (struct dirent_disk *)p;
	}
}

static void dirblock_flip(unsigned char *b)
{
	flip(dirblock(b, image.many, 1)->entries + 700);
}

static void dirblock_owner(unsigned char *b)
{
	struct dirblock *db = dirblock(b, image.many, 1);

	db->owner = to_le64(image.a);
	seal_dirblock(db);
}

static void dirblock_chain(unsigned char *b)
{
	struct dirblock *db = dirblock(b, image.many, 1);

	entry(db, 3)->bytes = to_le16(20);
	seal_dirblock(db);
}

static void entry_slash(unsigned char *b)
{
	struct dirblock *db = dirblock(b, image.many, 0);

	entry(db, 3)->name[2] = '/';
	seal_dirblock(db);
}

static void entry_hash(unsigned char *b)
{
	struct dirblock *db = dirblock(b, image.many, 0);

	entry(db, 3)->hash ^= to_le32(1);
	seal_dirblock(db);
}

static void dirblock_counters(unsigned char *b)
{
	struct dirblock *db = dirblock(b, image.many, 0);

	db->nentries = to_le16((uint16_t)(from_le16(db->nentries) + 1));
	seal_dirblock(db);
}

static void dirblock_max_free(unsigned char *b)
{
	struct dirblock *db = dirblock(b, image.many, 0);

	db->max_free = to_le16(8);
	seal_dirblock(db);
}

static void set_nentries(struct dinode *d)
{
	d->nentries = to_le64(from_le64(d->nentries) - 1);
}

static void directory_nentries(unsigned char *b)
{
	changed(b, image.many, set_nentries);
}

static void entry_dangling(unsigned char *b)
{
	struct dirblock *db = dirblock(b, image.many, 0);

	entry(db, 5)->ino = to_le64(1 << 20);
	seal_dirblock(db);
}

static void entry_of_root(unsigned char *b)
{
	struct dirblock *db = dirblock(b, image.many, 0);

	entry(db, 5)->ino = to_le64(ROOT_INO);
	seal_dirblock(db);
}

static void entry_type(unsigned char *b)
{
	struct dirblock *db = dirblock(b, image.many, 0);

	entry(db, 5)->type = S_IFDIR >> 12;
	seal_dirblock(db);
}

static uint64_t seed_of(unsigned char *b)
{
	const struct super *s = image_block(b, SUPER_BLK);
	le64 seed;

	memcpy(&seed, s->hash_seed, sizeof(seed));
	return from_le64(seed);
}

/* Two entries of one name, and an index that knows both. */
static void entry_twice(unsigned char *b)
{
	struct dirblock *db = dirblock(b, ROOT_INO, 0);
	struct dirent_disk *first = NULL, *second = NULL;
	struct dinode *root = dinode(b, ROOT_INO);
	struct tree_node *leaf = leaf_of(b, ROOT_INO, true);
	uint64_t key;
	unsigned i = 0;

	for (unsigned n = 0; n < from_le16(db->nentries); n++) {
		struct dirent_disk *de = entry(db, n);

		first = from_le64(de->ino) == image.attrs ? de : first;
		second = from_le64(de->ino) == image.empty ? de : second;
	}
	assert_non_null(first);
	assert_non_null(second);
	assert_int_equal(from_le16(root->index.nrecs), 1);
	assert_int_equal(first->name_bytes, second->name_bytes); /* "attrs", "empty" */
	key = (uint64_t)from_le32(second->hash) << 32 |
	      (uint64_t)((unsigned char *)second - (unsigned char *)db) / 8;
	while (from_le64(leaf->recs[i].key) != key)
		i++;
	memcpy(second->name, first->name, first->name_bytes);
	second->hash = first->hash;
	key = (uint64_t)dir_hash(seed_of(b), first->name, first->name_bytes) << 32 | (uint32_t)key;
	/* Take the old record out and put the new one where it belongs. */
	memmove(&leaf->recs[i], &leaf->recs[i + 1], (NODE_RECS - i - 1) * sizeof(leaf->recs[0]));
	for (i = from_le16(leaf->nrecs) - 1u; i && from_le64(leaf->recs[i - 1].key) > key; i--)
		leaf->recs[i] = leaf->recs[i - 1];
	leaf->recs[i] = (struct tree_rec){ to_le64(key), 0 };
	seal_node(leaf);
	seal_dirblock(db);
}

static void index_without(unsigned char *b)
{
	struct tree_node *n = leaf_of(b, image.many, true);

	n->nrecs = to_le16((uint16_t)(from_le16(n->nrecs) - 1));
	seal_node(n);
}

static void index_stray(unsigned char *b)
{
	struct tree_node *n = leaf_of(b, image.many, true);

	n->recs[4].key = to_le64(from_le64(n->recs[4].key) + 1);
	seal_node(n);
}

static void index_value(unsigned char *b)
{
	struct tree_node *n = leaf_of(b, image.many, true);

	n->recs[4].val = to_le64(1);
	seal_node(n);
}

static void index_node_flip(unsigned char *b)
{
	flip(&leaf_of(b, image.many, true)->recs[4].key);
}

/* Names. */

static void root_lost(unsigned char *b)
{
	memset(dinode(b, ROOT_INO), 0, DINODE_BYTES);
	map_bit(image_inode_map(b), PLANE_USED, ROOT_INO);
}

static void root_is_a_file(unsigned char *b)
{
	struct dinode *d = dinode(b, ROOT_INO);

	d->mode = to_le32(S_IFREG | 0644);
	d->parent = d->nentries = 0;
	memset(&d->index, 0, sizeof(d->index));
	seal_dinode(d);
}

static struct dirent_disk *entry_for(struct dirblock *db, uint64_t ino)
{
	for (unsigned n = 0; n < from_le16(db->nentries); n++)
		if (from_le64(entry(db, n)->ino) == ino)
			return entry(db, n);
	fail_msg("inode %llu has no name there", (unsigned long long)ino);
	return NULL;
}

/* The name of another inode leads to @to. */
static void redirect(unsigned char *b, uint64_t dir, uint64_t from, uint64_t to)
{
	struct dirblock *db = dirblock(b, dir, 0);
	struct dirent_disk *de = entry_for(db, from);

	de->ino = to_le64(to);
	de->type = (uint8_t)((from_le32(dinode(b, to)->mode) & S_IFMT) >> 12);
	seal_dirblock(db);
}

static void directory_twice(unsigned char *b)
{
	redirect(b, ROOT_INO, image.empty, image.a_b);
}

static void set_parent(struct dinode *d)
{
	d->parent = to_le64(image.empty);
}

static void parent_wrong(unsigned char *b)
{
	changed(b, image.a_b, set_parent);
}

/* a/b/c leads to a, and the name a leads away: a circle that the root does not reach. */
static void circle(unsigned char *b)
{
	redirect(b, image.a_b, image.a_b_c, image.a);
	redirect(b, ROOT_INO, image.a, image.a_b_c);
}

static void itself(unsigned char *b)
{
	redirect(b, image.a_b, image.a_b_c, image.a_b);
	redirect(b, image.a, image.a_b, image.a_b_c);
}

/* Its only name leads to another file. */
static void file_without_name(unsigned char *b)
{
	redirect(b, ROOT_INO, image.prealloc, image.small);
}

static void directory_without_name(unsigned char *b)
{
	redirect(b, ROOT_INO, image.a, image.small);
}

static void set_nlink(struct dinode *d)
{
	d->nlink = to_le32(5);
}

static void link_count(unsigned char *b)
{
	changed(b, image.small, set_nlink);
}

static void directory_link_count(unsigned char *b)
{
	changed(b, image.a, set_nlink);
}

static void set_no_links(struct dinode *d)
{
	d->nlink = 0;
}

/* Recovery would free it, although it has names. */
static void no_links_and_pending(unsigned char *b)
{
	changed(b, image.small, set_no_links);
	map_bit(image_inode_map(b), PLANE_PENDING, image.small);
}

static void no_links_not_pending(unsigned char *b)
{
	file_without_name(b);
	changed(b, image.prealloc, set_no_links);
}

/* Space. */

static void space_map_flip(unsigned char *b)
{
	flip((unsigned char *)image_block(b, 1) + 300);
}

static void leaked(unsigned char *b)
{
	map_bit(image_block(b, 1), PLANE_USED, image_free_blk(b, 600));
}

static void marked_free(unsigned char *b)
{
	map_bit(image_block(b, 1), PLANE_USED, image_extent_blk(b, image.small, 0));
}

static void quarantined_and_used(unsigned char *b)
{
	map_bit(image_block(b, 1), PLANE_QUARANTINED, image_extent_blk(b, image.small, 0));
}

static void space_map_tail(unsigned char *b)
{
	map_bit(image_block(b, 1), PLANE_USED, IMAGE_BLOCKS + 9);
}

const struct damage damages[] = {
	{ "a flipped byte in the superblock", FSCK_SUPER, super_flip, KEEPS },
	{ "a flipped byte in the copy of the superblock", FSCK_SUPER_COPY, super_copy_flip, KEEPS },
	{ "superblocks of two volumes", FSCK_SUPER_DIFFERS, super_uuid, KEEPS },
	{ "a superblock of a larger volume", FSCK_SUPER, super_nblocks, KEEPS },
	{ "an impossible granule", FSCK_SUPER_FIELD, super_granule, KEEPS },
	{ "an impossible state", FSCK_SUPER_FIELD, super_state, KEEPS },
	{ "a label without end", FSCK_SUPER_FIELD, super_label, KEEPS },
	{ "a lane without magic", FSCK_LANE, lane_magic, KEEPS },
	{ "a committed transaction that cannot be applied", FSCK_LANE, lane_hostile, KEEPS },
	{ "a flipped byte in the inode file's dinode", FSCK_INODE_FILE, special_flip, KEEPS },
	{ "a byte behind the inode file's dinode", FSCK_PADDING, special_padding, KEEPS },
	{ "the inode file's dinode overwritten", FSCK_INODE_FILE, special_lost, KEEPS },
	{ "an inode file that leads elsewhere", FSCK_INODE_FILE, special_extent, KEEPS },
	{ "an inode file without its last extent", FSCK_INODE_FILE, special_shorter, KEEPS },
	{ "a flipped byte in the inode file's tree", FSCK_INODE_FILE, special_node_flip, KEEPS },
	{ "the inode file's tree overwritten", FSCK_INODE_FILE, special_node_lost, KEEPS },
	{ "a flipped byte in an inode map", FSCK_INODE_MAP, inode_map_flip, KEEPS },
	{ "an inode in use but marked free", FSCK_INODE_MAP_BIT, inode_marked_free, KEEPS },
	{ "an inode free but marked used", FSCK_INODE_MAP_BIT, inode_marked_used, KEEPS },
	{ "an inode pending for no reason", FSCK_PENDING_BIT, pending_without_reason, KEEPS },
	{ "an inode marked behind the last one", FSCK_MAP_TAIL, inode_map_tail, KEEPS },
	{ "a flipped byte in a dinode", FSCK_DINODE_CSUM, dinode_flip, LOSES },
	{ "a dinode overwritten", FSCK_DINODE, dinode_lost, LOSES },
	{ "a dinode zeroed", FSCK_INODE_MAP_BIT, dinode_zeroed, LOSES },
	{ "a flipped generation of a file with a tree", FSCK_DINODE_CSUM, dinode_generation_flip,
	  KEEPS },
	{ "a flipped level of a file with a tree", FSCK_DINODE_CSUM, dinode_level_flip, KEEPS },
	{ "a flipped generation of a directory", FSCK_DINODE_CSUM, directory_dinode_flip, KEEPS },
	{ "a flipped byte in a free dinode", FSCK_DINODE_FREE, free_dinode, KEEPS },
	{ "a byte in the slot of inode 0", FSCK_DINODE_FREE, slot_zero, KEEPS },
	{ "a time with too many nanoseconds", FSCK_DINODE_FIELD, dinode_time, LOSES },
	{ "an unknown inode flag", FSCK_DINODE_FIELD, dinode_flags, KEEPS },
	{ "a file with an inline target", FSCK_DINODE_FIELD, dinode_inline, LOSES },
	{ "a file with a device number", FSCK_DINODE_FIELD, dinode_rdev, KEEPS },
	{ "a mode with too many bits", FSCK_DINODE_FIELD, dinode_mode, KEEPS },
	{ "a file without a type", FSCK_DINODE_CSUM, dinode_type, LOSES },
	{ "a fifo with blocks", FSCK_DINODE_FIELD, fifo_with_blocks, LOSES },
	{ "an unknown pending operation", FSCK_PENDING_FIELD, pending_kind, KEEPS },
	{ "a pending record without operation", FSCK_PENDING_FIELD, pending_not_empty, KEEPS },
	{ "a directory longer than its blocks", FSCK_SIZE, directory_size, KEEPS },
	{ "a file larger than the largest", FSCK_SIZE, file_size, LOSES },
	{ "a wrong number of blocks", FSCK_NBLOCKS, dinode_nblocks, KEEPS },
	{ "a root with too many records", FSCK_FORK, fork_nrecs, LOSES },
	{ "a root that is too high", FSCK_FORK, fork_level, LOSES },
	{ "a flipped byte in a tree node", FSCK_NODE, node_flip, LOSES },
	{ "a flipped magic of a tree node", FSCK_NODE, node_magic_flip, KEEPS },
	{ "a tree node of another inode", FSCK_NODE, node_owner, LOSES },
	{ "a tree node out of order", FSCK_NODE, node_order, LOSES },
	{ "a tree node without records", FSCK_NODE, node_nrecs, LOSES },
	{ "a pointer to a node that cannot be", FSCK_NODE, node_pointer, LOSES },
	{ "a root whose first key is not 0", FSCK_FORK, fork_keys, KEEPS },
	{ "an extent that leaves the volume", FSCK_EXTENT, extent_outside, LOSES },
	{ "an extent over the superblock", FSCK_EXTENT, extent_in_super, LOSES },
	{ "an extent that reaches into the next", FSCK_EXTENT, extent_overlap, LOSES },
	{ "an extent behind the largest file", FSCK_EXTENT, extent_behind, LOSES },
	{ "an unwritten directory", FSCK_EXTENT, directory_unwritten, LOSES },
	{ "two files with the same blocks", FSCK_TWICE, two_files, LOSES },
	{ "a file over a tree node", FSCK_TWICE, file_and_node, LOSES },
	{ "a file over a directory", FSCK_TWICE, file_and_directory, LOSES },
	{ "a file over the inode file", FSCK_TWICE, file_and_inode_file, LOSES },
	{ "a file with one block twice", FSCK_TWICE, one_file_twice, LOSES },
	{ "a symbolic link of impossible length", FSCK_SYMLINK, link_length, LOSES },
	{ "a symbolic link with a NUL in it", FSCK_SYMLINK, link_nul, LOSES },
	{ "a symbolic link without its block", FSCK_SYMLINK, link_block, LOSES },
	{ "a flipped byte in attributes", FSCK_XATTR, attrs_flip, LOSES },
	{ "a flipped byte in large attributes", FSCK_XATTR, big_attrs_flip, LOSES },
	{ "attributes of impossible length", FSCK_XATTR, attrs_length, LOSES },
	{ "an attribute twice", FSCK_XATTR, attrs_twice, LOSES },
	{ "a flipped byte in a directory block", FSCK_DIR_BLOCK, dirblock_flip, LOSES },
	{ "a block of another directory", FSCK_DIR_BLOCK, dirblock_owner, LOSES },
	{ "a broken chain of entries", FSCK_DIR_BLOCK, dirblock_chain, KEEPS },
	{ "a name with a slash", FSCK_DIR_ENTRY, entry_slash, LOSES },
	{ "a name with a wrong hash", FSCK_DIR_ENTRY, entry_hash, KEEPS },
	{ "a wrong count in a directory block", FSCK_DIR_COUNTERS, dirblock_counters, KEEPS },
	{ "a wrong largest free entry", FSCK_DIR_COUNTERS, dirblock_max_free, KEEPS },
	{ "a wrong number of names", FSCK_DIR_NENTRIES, directory_nentries, KEEPS },
	{ "a name of no inode", FSCK_DANGLING, entry_dangling, LOSES },
	{ "a name of the root", FSCK_DANGLING, entry_of_root, LOSES },
	{ "a name with a wrong type", FSCK_ENTRY_TYPE, entry_type, KEEPS },
	{ "the same name twice", FSCK_DUPLICATE_NAME, entry_twice, LOSES },
	{ "a name that is not in the index", FSCK_INDEX_MISSING, index_without, KEEPS },
	{ "an index record of no name", FSCK_INDEX_STRAY, index_stray, KEEPS },
	{ "an index record with a value", FSCK_INDEX_STRAY, index_value, KEEPS },
	{ "a flipped byte in an index node", FSCK_NODE, index_node_flip, KEEPS },
	{ "no root directory", FSCK_ROOT, root_lost, LOSES },
	{ "a root that is a file", FSCK_ROOT, root_is_a_file, LOSES },
	{ "a directory with two names", FSCK_LINKED_TWICE, directory_twice, LOSES },
	{ "a wrong parent", FSCK_PARENT, parent_wrong, KEEPS },
	{ "a circle of directories", FSCK_DISCONNECTED, circle, LOSES },
	{ "a directory in itself", FSCK_DISCONNECTED, itself, LOSES },
	{ "a file without a name", FSCK_ORPHAN, file_without_name, LOSES },
	{ "a directory without a name", FSCK_DISCONNECTED, directory_without_name, LOSES },
	{ "a wrong link count", FSCK_LINKS, link_count, KEEPS },
	{ "a wrong link count of a directory", FSCK_LINKS, directory_link_count, KEEPS },
	{ "a file with names, to be freed", FSCK_LINKS, no_links_and_pending, KEEPS },
	{ "a file without links that is not pending", FSCK_PENDING_BIT, no_links_not_pending,
	  LOSES },
	{ "a flipped byte in a space map", FSCK_SPACE_MAP, space_map_flip, KEEPS },
	{ "a block used by nobody", FSCK_LEAKED, leaked, KEEPS },
	{ "a block in use but marked free", FSCK_NOT_MARKED, marked_free, KEEPS },
	{ "a block used and quarantined", FSCK_QUARANTINE_BIT, quarantined_and_used, KEEPS },
	{ "a block marked behind the end", FSCK_MAP_TAIL, space_map_tail, KEEPS },
};

const size_t nr_damages = sizeof(damages) / sizeof(damages[0]);

void damage_do(const struct damage *damage, const struct image *sound, unsigned char *bytes)
{
	image = *sound;
	damage->fn(bytes);
}
