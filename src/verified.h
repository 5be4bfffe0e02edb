/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * verified.h - which metadata blocks were checked since mount. A block is verified (checksum,
 * bounds, owner) when it is read first; after that only this program changes it, so it is not
 * verified again until it is freed. One bit a block, atomic, no lock.
 *
 * On a hostile image two structures may claim one block, so code that reads a verified block
 * still bounds every count and pointer that it takes from it.
 */
#ifndef UDAX_VERIFIED_H
#define UDAX_VERIFIED_H

#include <stdbool.h>
#include <stdint.h>

struct volume;

bool verified_test(const struct volume *vol, uint64_t blk);
void verified_set(struct volume *vol, uint64_t blk);
void verified_clear(struct volume *vol, uint64_t blk);

/** verified_grow - cover a volume of @nblocks. 0, -ENOMEM. verified_delete frees it all. */
int verified_grow(struct volume *vol, uint64_t nblocks);
void verified_delete(struct volume *vol);

#endif
