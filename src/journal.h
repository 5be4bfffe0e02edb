/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * journal.h - atomic, durable changes of metadata.
 *
 * A transaction works on copies. tx_modify() gives a copy in memory of a structure on the medium;
 * the medium is untouched until tx_commit(). So an operation that fails half-way calls tx_abort()
 * and nothing has happened: no undo, no leak, and ENOSPC always comes before any change.
 *
 * tx_commit() compares each copy with the medium, cache line by cache line, and writes what
 * differs to the transaction's lane of the journal: nobody can forget to mark a change.
 *
 *	reserve	  tx_begin takes a lane (LOCK_JOURNAL)
 *	zero      fresh data blocks are zeroed or written (get_blocks), fresh metadata blocks are
 *	          written to their place: nothing refers to them yet
 *	log       the changed lines and bits, and a header with a checksum, go to the lane
 *	fence     1: all of the above is durable. The transaction is committed.
 *	publish   the changed lines and bits go to their place
 *	fence     2
 *	retire    the lane is marked empty: magic and checksum become zero
 *	fence     3: now, and not before, the caller lets go of its locks and freed bits may be taken
 *
 * Fence 3 is needed because replaying a lane whose lines somebody else has changed since would
 * undo that change.
 *
 * Lanes are independent. Whatever a transaction changes is protected by a lock that its caller
 * holds exclusively until tx_commit() returns, so no two lanes ever hold the same line or bit,
 * and recovery may replay them in any order.
 */
#ifndef UDAX_JOURNAL_H
#define UDAX_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sync.h"

struct map;
struct region;
struct super;
struct tx;
struct volume;

enum tx_flags {
	TX_RESERVE = 1, /* may use the blocks kept for operations that free space */
};

/**
 * tx_begin - start a transaction: wait for a lane and take it.
 *
 * The thread must not be in a transaction, and holds no ilock. Returns 0 and sets *@ret_tx, which
 * tx_commit() or tx_abort() frees; -EIO after a shutdown, -EROFS.
 */
int tx_begin(struct volume *vol, unsigned flags, struct tx **ret_tx, const struct sync_site *site);

/** tx_volume, tx_flags - what @tx belongs to, and how it was begun. */
struct volume *tx_volume(const struct tx *tx);
unsigned tx_flags(const struct tx *tx);

enum tx_kind {
	TX_META, /* has its CRC32C in bytes 4 to 7, which tx_commit() sets */
	TX_DATA, /* plain bytes */
};

/**
 * tx_modify - a copy of [@off, @off + @len) of the medium, to be changed in place.
 *
 * @off is a multiple of 64; @len is 512 or 4096. The caller has verified what stands there, and
 * holds its lock exclusively. A second call for the same structure returns the same copy, valid
 * until commit or abort. Returns 0, -ENOMEM, -EIO, or -EFBIG when the transaction would not fit
 * its lane (a caller that can take many steps asks tx_room() before each).
 */
int tx_modify(struct tx *tx, uint64_t off, uint32_t len, enum tx_kind kind, void **ret_copy);

/**
 * tx_create - a zeroed block in memory that tx_commit() writes whole to the fresh block @blk,
 * which this transaction allocated. Costs no room in the lane. Errors as tx_modify().
 */
int tx_create(struct tx *tx, uint64_t blk, enum tx_kind kind, void **ret_copy);

/** tx_peek - as this transaction sees [@off, @off + @len): its copy, or the medium. @tx may be NULL. */
const void *tx_peek(const struct tx *tx, const struct volume *vol, uint64_t off, uint32_t len);

/** tx_forget - drop the copy of block @blk, which this transaction frees. */
void tx_forget(struct tx *tx, uint64_t blk);

/**
 * tx_bits - set or clear @count bits of @plane of @map from @first on, at commit.
 *
 * Bits set in plane PLANE_USED were taken by map_take(); an abort gives them back. Bits cleared
 * there become free for others when the transaction is retired, unless @keep_busy (quarantine).
 * Returns 0, -ENOMEM or -EFBIG; on failure, bits to be set have been given back.
 */
int tx_bits(struct tx *tx, struct map *map, unsigned plane, bool set, uint32_t first,
	    uint32_t count, bool keep_busy);

/** tx_room - whether @blocks more block-sized structures could be changed and logged. */
bool tx_room(const struct tx *tx, unsigned blocks);

/**
 * tx_commit - make it durable and visible. Returns 0, or -EIO when the lane could not be
 * written: then nothing happened. Frees @tx in either case.
 * tx_abort - as if it had never begun.
 */
int tx_commit(struct tx *tx);
void tx_abort(struct tx *tx);

/** tx_end - tx_commit() when @err is 0, else tx_abort(); returns the first error. */
int tx_end(struct tx *tx, int err);

/**
 * journal_recover - replay what is committed and not retired in the lanes that @super names.
 *
 * Idempotent; a crash during it is one more crash. Returns the number of transactions replayed,
 * or -EUCLEAN when a committed record points outside the volume, -EIO.
 * journal_is_empty - whether there is nothing to replay.
 */
int journal_recover(struct region *region, const struct super *super);
bool journal_is_empty(const struct region *region, const struct super *super);

/** journal_new - the journal of a mounted volume. journal_delete frees it. 0 or -ENOMEM. */
int journal_new(struct volume *vol, const struct super *super);
void journal_delete(struct volume *vol);

#endif
