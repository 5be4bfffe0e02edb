/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fault.h - a client touched a page that it has not mapped: what may it map there?
 */
#ifndef UDAX_FAULT_H
#define UDAX_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "grant.h"

struct fault {
	/* Asked. [@first, @end), whole granules, holds @pos: what could be mapped in one piece. */
	struct attachment *att;
	uint64_t pos, first, end;
	bool write;
	bool before_stores; /* a load in a mapping for stores: see fault_serve() */
	bool may_wait; /* for gates, recalls and moves: in a thread whose waiting delays this client only */
	/* Called under the holder's lock when the grant is recorded; never waits. */
	void (*granted)(struct fault *fault);
	bool touched; /* the fault's own: the file's times have moved */
	/* Answered, before granted(). */
	enum grant_kind kind;
	uint64_t grant_pos, grant_len;
	uint64_t region_off; /* of GRANT_READ and GRANT_WRITE */
};

/**
 * fault_serve - find or make what stands behind the fault, record the grant and have it sent.
 *
 * A read fault changes nothing: a hole, or what is unwritten, is granted as zeroes. A write fault
 * makes blocks (get_blocks), and moves the file's times. A read fault @before_stores is granted what is
 * written as a write fault would be, so that the stores which its mapping is for need no second one; to
 * one who may not store it is a read fault. Where the region's granule is larger than a
 * block, a granule is granted that stands in one aligned run; it is moved into one if need be.
 *
 * 0: granted() was called. -EAGAIN: it would have to wait and may not. -ECONNRESET: the client is
 * gone. -EACCES: a write fault of one who attached for reading. -EIO, -ENOSPC, -EROFS, -ENOMEM.
 */
int fault_serve(struct fault *fault);

#endif
