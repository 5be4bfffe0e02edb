/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fill.h - announcing that holes get blocks, or that EOF moves up, where clients may show zeroes or end
 * in SIGBUS.
 *
 * Whoever puts a block into a hole of a file that clients may have attached, or moves EOF up, announces it
 * before, which recalls such grants first. While it is announced none are given, and a fault that found a
 * hole meanwhile looks again (grant_record).
 */
#ifndef UDAX_FILL_H
#define UDAX_FILL_H

#include <stdbool.h>
#include <stdint.h>

#include "holder.h"

struct inode;

/**
 * fill_begin - before blocks are put into holes of [@pos, @end), or, with @extends, EOF moves up. It
 * recalls at most once, and waits for that until one deadline. -EAGAIN when it would have to and
 * @may_wait is false; otherwise as layout_begin(), with nothing announced. The caller holds nothing;
 * *@fill is its until fill_end().
 */
int fill_begin(struct inode *inode, struct fill *fill, uint64_t pos, uint64_t end, bool extends,
	       bool may_wait);

/** fill_end - the blocks are there, or will not come. Does nothing for what was not announced. */
void fill_end(struct inode *inode, struct fill *fill);

#endif
