/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * signature.h - what is on a region before it is formatted: a udaxfs, or anything that libblkid
 * recognises (filesystems, RAID and LVM members, swap, partition tables).
 *
 * libblkid reads with read(2). A devdax can only be mapped, so there its beginning and end, where
 * signatures stand, are copied to a memory file first.
 */
#ifndef UDAX_SIGNATURE_H
#define UDAX_SIGNATURE_H

#include <stddef.h>

struct region;

/**
 * signature_find - look for the first signature on @region. Returns 1 and describes it in @what
 * ("an ext4 filesystem", "a gpt partition table", "a udaxfs with the label backup"), 0 when there
 * is none, or -errno when the region cannot be examined.
 */
int signature_find(const struct region *region, char *what, size_t what_len);

/** signature_find_fd - the same for a file that is too small to be a region. */
int signature_find_fd(int fd, char *what, size_t what_len);

/**
 * signature_wipe - zero every foreign signature, so that nobody takes what is formatted afterwards
 * for what stood there. 0, -EIO, or what signature_find() gives.
 */
int signature_wipe(struct region *region);

#endif
