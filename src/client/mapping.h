/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * mapping.h - what is mapped where: mappings, as the program made them, and the pieces in them that
 * are not reservations any more.
 *
 * A mapping is what the kernel calls a vma: one file, one protection, one run of file positions. A
 * mapping's memory faults, except where there is a piece:
 *
 *	PIECE_READ, PIECE_WRITE	  the region itself, mapped for a grant of that kind
 *	PIECE_ZERO		  a hole: the pages that were touched are write-protected zeroes, the
 *				  others fault still, but the service knows the answer
 *	PIECE_BEHIND_EOF	  a touch is a SIGBUS, until it is recalled
 *	PIECE_FAILED		  a touch is a SIGBUS, for FAILED_NS
 *
 * A piece lies in one mapping. All but zeroes cost the kernel a mapping or two, of which a process has
 * 65,530; so neighbours that continue each other in the region are one piece (and one mapping of the
 * kernel's), and above a limit the oldest are given back.
 *
 * The service's.
 */
#ifndef UDAX_CLIENT_MAPPING_H
#define UDAX_CLIENT_MAPPING_H

#include <stdbool.h>
#include <stdint.h>

#include "span.h"

struct client;
struct file;

#define COSTLY_LIMIT 24000u
#define FAILED_NS 200000000u

struct mapping {
	struct span span;
	uint64_t pos; /* of the first byte, in the file */
	int prot;
	bool may_write;	       /* the descriptor was open for writing */
	bool not_for_children; /* MADV_DONTFORK */
	struct file *file;
	struct mapping *next, **link; /* of the file */
};

enum piece_kind { PIECE_READ, PIECE_WRITE, PIECE_ZERO, PIECE_BEHIND_EOF, PIECE_FAILED };

struct piece {
	struct span span;
	enum piece_kind kind;
	uint64_t region_off; /* of READ and WRITE: of the first byte */
	uint64_t expires_ns; /* of FAILED */
	struct piece *older, *newer;
};

struct mapping *mapping_at(const struct client *client, uint64_t addr);
struct mapping *mapping_in(const struct client *client, uint64_t start, uint64_t end);
struct piece *piece_at(const struct client *client, uint64_t addr);
struct piece *piece_in(const struct client *client, uint64_t start, uint64_t end);

static inline uint64_t mapping_pos(const struct mapping *mapping, uint64_t addr)
{
	return mapping->pos + (addr - mapping->span.start);
}

/** mapping_range - the addresses at which [@pos, @end) of the file is mapped; false: at none. */
bool mapping_range(const struct mapping *mapping, uint64_t pos, uint64_t end, uint64_t *ret_start,
		   uint64_t *ret_end);

/** mapping_add - a record of new memory at [@start, @end), @like another one as to the rest. -ENOMEM. */
int mapping_add(struct client *client, uint64_t start, uint64_t end, uint64_t pos,
		const struct mapping *like);

/** mapping_split - let no mapping and no piece reach across @addr. -ENOMEM. */
int mapping_split(struct client *client, uint64_t addr);

/**
 * mapping_forget - the memory is gone, or somebody else's: drop the records of [@start, @end), give
 * back what was granted there and is not mapped elsewhere, let go of files that are not mapped any
 * more. No mapping reaches across the ends.
 */
void mapping_forget(struct client *client, uint64_t start, uint64_t end);

/** mapping_protect - the protection of [@start, @end) is @prot now; neighbours may become one. */
void mapping_protect(struct client *client, uint64_t start, uint64_t end, int prot);

/** piece_add - [@start, @end) is such a piece now, whatever it was. -ENOMEM: nothing is recorded. */
int piece_add(struct client *client, uint64_t start, uint64_t end, enum piece_kind kind,
	      uint64_t region_off);

/**
 * piece_take_back - all pieces in [@start, @end), which lies in one mapping, fault again; those that
 * reach out of it perhaps as a whole. -errno: they are as they were.
 */
int piece_take_back(struct client *client, uint64_t start, uint64_t end);

/** piece_evict - give back the oldest @n pieces that cost mappings of the kernel's. */
void piece_evict(struct client *client, unsigned n);

/** piece_expire - take back failures that are old enough. Returns when the next one will be, or 0. */
uint64_t piece_expire(struct client *client, uint64_t now_ns);

#endif
