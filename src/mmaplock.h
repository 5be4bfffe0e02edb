/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * mmaplock.h - the lock that keeps page faults out of every change of a file's layout: shared for
 * faults, exclusive for truncate (down and up), punch, zero, collapse, insert and exchange, from
 * the first invalidation to the end of the manipulation.
 *
 * Calls are typed by range and carry their source position, so that a policy with finer locks has
 * the same shape; this one locks the whole inode.
 */
#ifndef UDAX_MMAPLOCK_H
#define UDAX_MMAPLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "change.h"
#include "sync.h"

struct inode;

/** mmaplock_shared - what a fault takes (policy->fault_enter). mmaplock_unshared - release it. */
void mmaplock_shared(struct inode *inode, uint64_t pos, uint64_t len, bool write,
		     const struct sync_site *site);
void mmaplock_unshared(struct inode *inode, uint64_t pos, uint64_t len,
		       const struct sync_site *site);

/**
 * mmaplock_excl - what a layout change takes: exclude I/O (iolock) and faults (mmaplock), in inode
 * order. mmaplock_unexcl releases the same; mmaplock_assert_excl aborts unless it is held.
 */
void mmaplock_excl(struct layout_change *change, const struct sync_site *site);
void mmaplock_unexcl(struct layout_change *change, const struct sync_site *site);
void mmaplock_assert_excl(const struct layout_change *change);

#endif
