/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * grant.h - what clients may map of an inode: recorded, recalled, acknowledged.
 *
 * A client (one process) attaches a file; from then on it is given *grants*: it may map these
 * blocks, or show zeroes for this hole, or let a touch of these pages behind EOF end in SIGBUS. A
 * grant lasts until the client gives it back, unasked or because it is recalled, or is known to be
 * dead. Kept in granule-sized bits, 512 blocks a chunk.
 *
 * Everything here lives under the holder's lock, with the gates: that a fault looks at the gates
 * and records its grant in one step is what keeps it from a range that is being invalidated
 * (RACES.md, row 56). So is what a client hears: struct client_ops is called under that lock and
 * never waits, which is why a recall cannot overtake the grant that it takes back (row 41).
 *
 * A recall happens under an open gate on its range, so nothing is granted there meanwhile, and an
 * acknowledgement is for all that was granted. A client that does not answer in time is *late*: the
 * gate goes on without it, and until it answers
 *   - blocks that are freed in that range go to quarantine: on the medium they are neither used nor
 *     free (plane 1 of the space maps), so that a crash does not set them free either;
 *   - blocks in it that stay the file's, wherever they then stand, are replaced by copies first and go
 *     to quarantine too (layout_begin): what a late client stores reaches nobody.
 *
 * An operation asks everybody whom it has to recall at once, and waits for all of them until one
 * deadline. Each recall has the deadline of the operation that sent it, and only that makes its client
 * late: another operation on the same granule, that began earlier, does not take time away.
 *
 * Quarantine ends (alloc_release_all) when no recall of any client is late (vol->nlate). Clients that
 * outlived an earlier daemon are unknown; while one of them may map the region, all of it is taken
 * for late (vol->orphans) where blocks are freed or move.
 */
#ifndef UDAX_GRANT_H
#define UDAX_GRANT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "holder.h"

struct inode;
struct client;

enum grant_kind { GRANT_READ, GRANT_WRITE, GRANT_ZERO, GRANT_BEHIND_EOF, GRANT_NR_KINDS };

struct client_ops {
	/* @pos, @len: bytes; @len UINT64_MAX: to the end. The answer is grant_acknowledged(@seq). */
	void (*recall)(struct client *client, uint32_t id, uint32_t seq, uint64_t pos,
		       uint64_t len);
	/* The client has answered a recall after its deadline. */
	void (*late)(struct client *client, uint32_t id, uint32_t seq, uint64_t pos, uint64_t len);
};

/** A process that maps files. The frontend embeds it, and detaches everything before it frees it. */
struct client {
	const struct client_ops *ops;
	atomic_bool gone; /* its stream has ended: nothing more is granted */
	uint32_t number;  /* for whoever watches: which one it is */
};

/** One file attached by one client. */
struct attachment {
	struct attachment *next; /* of the holder's */
	struct client *client;
	struct inode *inode; /* a reference */
	uint32_t id;	     /* the client's name for it */
	bool writable;
	bool abandoned; /* the client has said that it maps nothing of it any more */
	uint32_t last_seq;
	struct grant_chunk **chunks; /* by hash of their index */
	unsigned nchunks, room;
	struct recall *recalls; /* not answered yet */
};

/**
 * attach - count @client in as one who may map @inode; takes a reference of its own. -EBUSY: the file
 * is not in uncached mode. -ENOMEM. Undone by detach(), which forgets what was granted.
 */
int attach(struct inode *inode, struct client *client, uint32_t id, bool writable,
	   struct attachment **ret_att);
void detach(struct attachment *att);

/**
 * grant_abandon - the client maps nothing of it any more: forget what was granted and recalled, grant
 * nothing more. detach() may be late, because a fault is under way.
 * grant_wake - faults that wait look again whether the client is gone.
 */
void grant_abandon(struct attachment *att);
void grant_wake(struct attachment *att);

/**
 * grant_generation - what a fault remembers before it looks at the extents. -EAGAIN when a gate
 * stands on the granule at @pos: with @may_wait it waits for its end. *@first, *@end: whole granules
 * around it, cut so that no other gate stands on them. -ECONNRESET: the client is gone.
 */
int grant_generation(struct attachment *att, uint64_t pos, bool may_wait, uint64_t *first,
		     uint64_t *end, uint64_t *ret_generation);

/**
 * grant_record - grant [@pos, @pos + @len), unless a gate stands on it or what was looked up at
 * @generation may be wrong: -EAGAIN, look again. -EBUSY: the same, when grant_wait_fill() returns;
 * whoever calls that holds nothing. -ECONNRESET, -ENOMEM. @send is called under the
 * lock, so that the client hears of it before it hears of a recall; it never waits.
 */
int grant_record(struct attachment *att, enum grant_kind kind, uint64_t pos, uint64_t len,
		 uint64_t generation, void (*send)(void *arg), void *arg);

void grant_wait_fill(struct attachment *att, uint64_t generation);

/** grant_returned - the client maps nothing of the range any more. */
void grant_returned(struct attachment *att, uint64_t pos, uint64_t len);

/**
 * grant_acknowledged - the client has given back what recall @seq asked for. Returns false when there
 * is no such recall: the client is lying.
 */
bool grant_acknowledged(struct attachment *att, uint32_t seq);

/**
 * grant_recall - ask for all that was granted in [@pos, @end), a range under an open gate. Never waits.
 * The clients have until @deadline, which the caller waits for with grant_recall_wait(), whatever this
 * returns: 0, or -ENOMEM, when not all could be asked.
 * grant_recall_wait - returns when every client has answered, is gone, or is late. Holds nothing.
 */
int grant_recall(struct inode *inode, uint64_t pos, uint64_t end, uint64_t deadline);
void grant_recall_wait(struct inode *inode, uint64_t pos, uint64_t end, uint64_t deadline);

/** grant_exists - whether a grant is left in the range, of a client that is not late. Locked. */
bool grant_exists(const struct holder *holder, uint64_t pos, uint64_t end);

/**
 * grant_is_late - whether somebody may still map what was in the range: a late client, or one that
 * outlived an earlier daemon. grant_late_part - cut [*pos, *end) down to the first part of it that a late
 * client may map; false: there is none.
 */
bool grant_is_late(struct inode *inode, uint64_t pos, uint64_t end);
bool grant_late_part(struct inode *inode, uint64_t *pos, uint64_t *end);

/**
 * grant_stores - whether a client may have stored something that is not durable yet: then the caller makes
 * it so, and says that with grant_flushed(*@ret_mark). It stays true while anybody may go on storing, and
 * for others until then. @lost: it could not be made durable, and that will not be tried again.
 */
bool grant_stores(struct inode *inode, uint64_t *ret_mark);
void grant_flushed(struct inode *inode, uint64_t mark, bool lost);

/**
 * Who learns of stores that were lost: each open file once, as of any error of writeback in Linux (errseq).
 * grant_sync_seen - what a file that is being opened knows already: all, but the last one if nobody was
 * told of it. grant_sync_lost - whether there is something that *@seen does not know; now it does.
 */
uint32_t grant_sync_seen(struct inode *inode);
bool grant_sync_lost(struct inode *inode, uint32_t *seen);

/**
 * grant_conflicts - whether somebody shows zeroes in [@pos, @end), or, with @extends, that something at
 * @pos or behind it lies behind EOF. Locked.
 */
bool grant_conflicts(const struct holder *holder, uint64_t pos, uint64_t end, bool extends);

/** What `udaxctl holders` shows of an inode: bytes by kind, and recalls under way and late. */
struct grant_stat {
	uint64_t bytes[GRANT_NR_KINDS]; /* summed over the clients */
	unsigned nrecalls, nlate;
};

/** grant_stat - of all attachments. The holder's lock is held. */
void grant_stat(const struct holder *holder, struct grant_stat *ret);

#endif
