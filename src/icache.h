/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * icache.h - the table of inodes in memory, as inode.c and itable.c see it. Everybody else uses
 * inode.h.
 */
#ifndef UDAX_ICACHE_H
#define UDAX_ICACHE_H

#include <stdint.h>
#include <sys/types.h>

struct dinode;
struct inode;
struct volume;

/** icache_insert - a handle for the fresh inode @ino, with one reference. 0, -ENOMEM. */
int icache_insert(struct volume *vol, uint64_t ino, uint32_t generation, mode_t type, uint64_t off,
		  struct inode **ret_inode);

/** inode_handle_new / _delete - a handle outside the table (the inode file). NULL without memory. */
struct inode *inode_handle_new(struct volume *vol, uint64_t ino);
void inode_handle_delete(struct inode *inode);

/** inode_free - free the blocks and the dinode of an inode without links or references. */
void inode_free(struct inode *inode);

/** dinode_check - whether @di can be inode @ino: 0, -ESTALE (free), -EUCLEAN. */
int dinode_check(const struct dinode *di, uint64_t ino);

#endif
