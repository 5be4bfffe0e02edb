/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fsck_image.h - a populated volume for tests of the checker, and ways to get at its structures
 * behind everybody's back.
 *
 * The image is made once by the core and holds something of everything: directories (one with an
 * index of several nodes), files of every type, a file with an extent tree, preallocated blocks,
 * hard links, short and long symbolic links, attributes in one block and in many.
 */
#ifndef UDAX_TESTS_FSCK_IMAGE_H
#define UDAX_TESTS_FSCK_IMAGE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format.h"
#include "fsck.h"

struct region;
struct volume;

#define IMAGE_BYTES (4u << 20)
#define IMAGE_BLOCKS (IMAGE_BYTES >> BLOCK_SHIFT)

/* Inode numbers of what is in the image. */
struct image {
	unsigned char *bytes;	/* IMAGE_BYTES of them, unmounted */
	uint64_t a, a_b, a_b_c; /* directories in each other */
	uint64_t empty, many;	/* directories; "many" has MANY_NAMES names */
	uint64_t small;		/* a file of some bytes, with a second name "hard" */
	uint64_t pieces;	/* a file of PIECES extents of one block: it has tree nodes */
	uint64_t prealloc;	/* a file with unwritten blocks */
	uint64_t link, long_link;
	uint64_t fifo, device;
	uint64_t attrs, big_attrs; /* files with attributes in one block, and in 17 */
};

#define MANY_NAMES 700u
#define PIECES 256u

/** image_make - the image; image_free() frees it. Fails the test when something does not work. */
void image_make(struct image *ret);
void image_free(struct image *image);

/** image_walk - mount @region, look at every name, byte and attribute, and unmount. Fails the test
 * when anything cannot be read, or a lock rule is broken. */
void image_walk(struct region *region);

/* Structures in the memory of an image, to be changed in place. */
struct dinode *image_dinode(unsigned char *bytes, uint64_t ino);
void *image_block(unsigned char *bytes, uint64_t blk);
struct map_block *image_inode_map(unsigned char *bytes);

/** image_data_rec - the extent record that holds block @lblk of a file, or would. */
struct tree_rec *image_data_rec(unsigned char *bytes, uint64_t ino, uint64_t lblk);

/** image_extent_blk - where block @lblk of a file stands; fails when nowhere. */
uint64_t image_extent_blk(unsigned char *bytes, uint64_t ino, uint64_t lblk);

/** image_free_blk - the first block from @from on that the space map calls free. */
uint64_t image_free_blk(unsigned char *bytes, uint64_t from);

/* The checksum of a structure that was changed. */
void seal_super(struct super *s);
void seal_map(struct map_block *m);
void seal_dinode(struct dinode *d);
void seal_node(struct tree_node *n);
void seal_dirblock(struct dirblock *db);
uint32_t fsck_image_crc(const void *buf, size_t len, size_t csum_off);

/** image_is_metadata - what a block is: 0 for data and free blocks, else how many of its bytes are
 * covered by a checksum or known to be zero. The journal is not metadata here. */
uint32_t image_is_metadata(unsigned char *bytes, uint64_t blk);

#endif
