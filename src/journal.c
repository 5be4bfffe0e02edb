/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * journal.c - transactions and their lanes. The protocol, with the reason for each fence, is in
 * journal.h.
 *
 * A lane is a piece of the medium, a mutex (LOCK_JOURNAL) and the memory of the one transaction
 * that can be in it. The mutex is held from tx_begin() to the end of the transaction, so nothing
 * else here needs a lock.
 */
#include "journal.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "crc.h"
#include "format.h"
#include "map.h"
#include "mem.h"
#include "region.h"
#include "volume.h"

#define TX_MAX_BUFS 96
#define TX_MAX_BITS 512

/* A structure of the medium that the transaction changes. */
struct tx_buf {
	uint64_t off;
	uint32_t len;
	enum tx_kind kind;
	bool fresh; /* nothing refers to it yet: written in place, not logged */
	unsigned char *copy;
};

struct tx_bits {
	struct map *map;
	unsigned plane;
	bool set, keep_busy;
	uint32_t first, count;
};

struct tx {
	struct volume *vol;
	struct lane *lane;
	unsigned flags;
	unsigned nbufs, nbits;
	size_t log_bound; /* of the records, in bytes, if everything changed */
	struct tx_buf bufs[TX_MAX_BUFS];
	struct tx_bits bits[TX_MAX_BITS];
};

struct lane {
	struct sync_mutex lock;
	uint64_t off;	    /* in the region */
	size_t bytes;	    /* room for records */
	unsigned char *log; /* header and records are composed here */
	unsigned char *copies[TX_MAX_BUFS];
	struct tx tx;
};

struct journal {
	uint32_t nlanes;
	atomic_uint next_lane;
	atomic_ullong next_seq;
	struct lane lanes[];
};

/* ---- begin, copies -------------------------------------------------------------------------- */

static struct lane *lane_take(struct volume *vol, const struct sync_site *site)
{
	struct journal *journal = vol->journal;
	unsigned start = atomic_fetch_add(&journal->next_lane, 1);

	/* Whichever lane we get, we may have to wait for one. */
	sync_pretend(vol->sync, LOCK_JOURNAL, site);
	for (unsigned i = 0; i < journal->nlanes; i++) {
		struct lane *lane = &journal->lanes[(start + i) % journal->nlanes];

		if (sync_trylock(&lane->lock, 0, site))
			return lane;
	}
	sync_lock(&journal->lanes[start % journal->nlanes].lock, 0, site);
	return &journal->lanes[start % journal->nlanes];
}

int tx_begin(struct volume *vol, unsigned flags, struct tx **ret_tx, const struct sync_site *site)
{
	struct lane *lane;
	int err = volume_usable(vol, true);

	if (err)
		return err;
	lane = lane_take(vol, site);
	lane->tx.vol = vol;
	lane->tx.lane = lane;
	lane->tx.flags = flags;
	lane->tx.nbufs = lane->tx.nbits = 0;
	lane->tx.log_bound = 0;
	*ret_tx = &lane->tx;
	return 0;
}

struct volume *tx_volume(const struct tx *tx)
{
	return tx->vol;
}

unsigned tx_flags(const struct tx *tx)
{
	return tx->flags;
}

static struct tx_buf *buf_find(const struct tx *tx, uint64_t off)
{
	/* The newest first: that is the likely one. */
	for (unsigned i = tx->nbufs; i-- > 0;)
		if (tx->bufs[i].off == off)
			return (struct tx_buf *)&tx->bufs[i];
	return NULL;
}

static int buf_add(struct tx *tx, uint64_t off, uint32_t len, enum tx_kind kind,
		   struct tx_buf **ret_buf)
{
	struct lane *lane = tx->lane;
	struct tx_buf *buf;

	if (tx->nbufs == TX_MAX_BUFS)
		return -EFBIG;
	if (!lane->copies[tx->nbufs]) {
		lane->copies[tx->nbufs] = mem_alloc(tx->vol->mem, BLOCK_BYTES);
		if (!lane->copies[tx->nbufs])
			return -ENOMEM;
	}
	buf = &tx->bufs[tx->nbufs];
	*buf = (struct tx_buf){ .off = off, .len = len, .kind = kind };
	buf->copy = lane->copies[tx->nbufs++];
	*ret_buf = buf;
	return 0;
}

int tx_modify(struct tx *tx, uint64_t off, uint32_t len, enum tx_kind kind, void **ret_copy)
{
	struct tx_buf *buf = buf_find(tx, off);
	size_t bound = sizeof(struct log_lines) + len;
	int err;

	assert(off % CACHELINE_BYTES == 0 && len % CACHELINE_BYTES == 0 && len <= BLOCK_BYTES);
	if (!buf) {
		if (tx->log_bound + bound > tx->lane->bytes)
			return -EFBIG;
		err = buf_add(tx, off, len, kind, &buf);
		if (err)
			return err;
		memcpy(buf->copy, region_ptr(tx->vol->region, off, len), len);
		err = region_check(tx->vol->region, off, len);
		if (err) {
			tx->nbufs--;
			return err;
		}
		tx->log_bound += bound;
	}
	/* On a damaged volume two structures may claim one block. */
	if (buf->len != len || buf->kind != kind)
		return volume_damaged(tx->vol, off, "block with two owners");
	*ret_copy = buf->copy;
	return 0;
}

int tx_create(struct tx *tx, uint64_t blk, enum tx_kind kind, void **ret_copy)
{
	struct tx_buf *buf;
	int err;

	/* A damaged map gave out a block that is in use. */
	if (buf_find(tx, blk << BLOCK_SHIFT))
		return volume_damaged(tx->vol, blk << BLOCK_SHIFT, "block allocated twice");
	err = buf_add(tx, blk << BLOCK_SHIFT, BLOCK_BYTES, kind, &buf);
	if (err)
		return err;
	buf->fresh = true;
	memset(buf->copy, 0, BLOCK_BYTES);
	*ret_copy = buf->copy;
	return 0;
}

const void *tx_peek(const struct tx *tx, const struct volume *vol, uint64_t off, uint32_t len)
{
	if (tx) {
		const struct tx_buf *buf = buf_find(tx, off);

		if (buf)
			return buf->copy;
	}
	return region_ptr(vol->region, off, len);
}

void tx_forget(struct tx *tx, uint64_t blk)
{
	struct tx_buf *buf = buf_find(tx, blk << BLOCK_SHIFT);
	struct tx_buf *last = &tx->bufs[tx->nbufs - 1];
	unsigned char *copy;

	if (!buf)
		return;
	if (!buf->fresh)
		tx->log_bound -= sizeof(struct log_lines) + buf->len;
	/* The last one takes its place, and the memory changes hands with it. */
	copy = buf->copy;
	*buf = *last;
	tx->lane->copies[buf - tx->bufs] = buf->copy;
	tx->lane->copies[last - tx->bufs] = copy;
	tx->nbufs--;
}

static bool bits_extend(struct tx_bits *last, const struct tx_bits *add)
{
	if (last->map != add->map || last->plane != add->plane || last->set != add->set ||
	    last->keep_busy != add->keep_busy || last->first + last->count != add->first)
		return false;
	last->count += add->count;
	return true;
}

static void bits_give_back(const struct tx_bits *bits)
{
	sync_lock(&bits->map->lock, 0, HERE);
	map_release(bits->map, bits->first, bits->count);
	sync_unlock(&bits->map->lock, HERE);
}

int tx_bits(struct tx *tx, struct map *map, unsigned plane, bool set, uint32_t first,
	    uint32_t count, bool keep_busy)
{
	struct tx_bits add = { map, plane, set, keep_busy, first, count };

	if (tx->nbits && bits_extend(&tx->bits[tx->nbits - 1], &add))
		return 0;
	if (tx->nbits == TX_MAX_BITS || tx->log_bound + sizeof(struct log_bits) > tx->lane->bytes) {
		if (set && plane == PLANE_USED && !keep_busy)
			bits_give_back(&add);
		return -EFBIG;
	}
	tx->bits[tx->nbits++] = add;
	tx->log_bound += sizeof(struct log_bits);
	return 0;
}

bool tx_room(const struct tx *tx, unsigned blocks)
{
	size_t each = sizeof(struct log_lines) + BLOCK_BYTES + 2 * sizeof(struct log_bits);

	/* One that has changed a dinode at most has all the room that there is: go on, or fail. */
	if (tx->log_bound <= sizeof(struct log_lines) + DINODE_BYTES && tx->nbufs <= 1)
		return true;
	return tx->nbufs + 2 * blocks <= TX_MAX_BUFS && tx->nbits + 2 * blocks <= TX_MAX_BITS &&
	       tx->log_bound + blocks * each <= tx->lane->bytes;
}

/* ---- commit --------------------------------------------------------------------------------- */

static void buf_seal(struct tx_buf *buf)
{
	le32 csum;

	if (buf->kind != TX_META)
		return;
	csum = to_le32(crc32c_skip(buf->copy, buf->len, sizeof(le32)));
	memcpy(buf->copy + sizeof(le32), &csum, sizeof(csum));
}

/* One bit for each cache line in which the copy differs from the medium. */
static uint64_t buf_diff(const struct volume *vol, const struct tx_buf *buf)
{
	const unsigned char *home = region_ptr(vol->region, buf->off, buf->len);
	uint64_t mask = 0;

	for (uint32_t at = 0; at < buf->len; at += CACHELINE_BYTES)
		if (memcmp(home + at, buf->copy + at, CACHELINE_BYTES) != 0)
			mask |= UINT64_C(1) << at / CACHELINE_BYTES;
	return mask;
}

static size_t log_buf(struct tx *tx, const struct tx_buf *buf, unsigned char *out)
{
	uint64_t mask = buf_diff(tx->vol, buf);
	struct log_lines rec = { .kind = to_le32(LOG_LINES),
				 .off = to_le64(buf->off),
				 .mask = to_le64(mask) };
	unsigned char *start = out;

	if (!mask)
		return 0;
	memcpy(out, &rec, sizeof(rec));
	out += sizeof(rec);
	for (; mask; mask &= mask - 1) {
		memcpy(out, buf->copy + __builtin_ctzll(mask) * CACHELINE_BYTES, CACHELINE_BYTES);
		out += CACHELINE_BYTES;
	}
	return (size_t)(out - start);
}

/* Compose header and records in lane->log. Returns the bytes of the records. */
static size_t tx_compose(struct tx *tx)
{
	struct lane *lane = tx->lane;
	struct lane_header *header = (struct lane_header *)lane->log;
	unsigned char *out = lane->log + sizeof(*header);
	size_t bytes;

	for (unsigned i = 0; i < tx->nbufs; i++)
		if (!tx->bufs[i].fresh)
			out += log_buf(tx, &tx->bufs[i], out);
	for (unsigned i = 0; i < tx->nbits; i++) {
		const struct tx_bits *bits = &tx->bits[i];
		struct log_bits rec = { .kind = to_le32(LOG_BITS),
					.plane = (uint8_t)bits->plane,
					.set = bits->set,
					.blk = to_le64(bits->map->blk),
					.first = to_le32(bits->first),
					.count = to_le32(bits->count) };

		memcpy(out, &rec, sizeof(rec));
		out += sizeof(rec);
	}
	bytes = (size_t)(out - lane->log) - sizeof(*header);
	assert(bytes <= lane->bytes);

	memset(header, 0, sizeof(*header));
	header->magic = to_le32(LANE_MAGIC);
	header->bytes = to_le64(bytes);
	header->seq = to_le64(atomic_fetch_add(&tx->vol->journal->next_seq, 1));
	header->csum = to_le32(crc32c_skip(lane->log, sizeof(*header) + bytes,
					   offsetof(struct lane_header, csum)));
	return bytes;
}

/* Put one logged cache line after the other into place. */
static void publish_lines(struct region *region, const struct log_lines *rec)
{
	const unsigned char *line = (const unsigned char *)(rec + 1);

	for (uint64_t mask = from_le64(rec->mask); mask; mask &= mask - 1) {
		uint64_t at = (uint64_t)__builtin_ctzll(mask) * CACHELINE_BYTES;

		region_store(region, from_le64(rec->off) + at, line, CACHELINE_BYTES, HERE);
		line += CACHELINE_BYTES;
	}
}

static size_t record_bytes(const void *rec)
{
	const struct log_lines *lines = rec;

	if (from_le32(lines->kind) == LOG_BITS)
		return sizeof(struct log_bits);
	return sizeof(*lines) +
	       (size_t)__builtin_popcountll(from_le64(lines->mask)) * CACHELINE_BYTES;
}

static void publish_bits(struct tx *tx)
{
	for (unsigned i = 0; i < tx->nbits;) {
		struct map *map = tx->bits[i].map;

		sync_lock(&map->lock, 0, HERE);
		for (; i < tx->nbits && tx->bits[i].map == map; i++)
			map_apply(tx->vol->region, map->blk, tx->bits[i].plane, tx->bits[i].set,
				  tx->bits[i].first, tx->bits[i].count);
		map_reseal(tx->vol->region, map->blk);
		sync_unlock(&map->lock, HERE);
	}
}

static void publish(struct tx *tx, size_t bytes)
{
	const unsigned char *rec = tx->lane->log + sizeof(struct lane_header);
	const unsigned char *end = rec + bytes - tx->nbits * sizeof(struct log_bits);

	for (; rec < end; rec += record_bytes(rec))
		publish_lines(tx->vol->region, (const struct log_lines *)rec);
	publish_bits(tx);
}

/*
 * Clear the word that holds magic and checksum. Were it another, a header that is torn while the
 * next transaction is logged could bring this one back to life.
 */
static void lane_retire(struct region *region, uint64_t lane_off)
{
	static_assert(offsetof(struct lane_header, csum) == 4, "magic and checksum are one word");
	region_store64(region, lane_off, 0, HERE);
}

/* Whether the medium has refused some of what was published. */
static bool homes_bad(const struct tx *tx)
{
	const struct region *region = tx->vol->region;
	int err = 0;

	for (unsigned i = 0; !err && i < tx->nbufs; i++)
		err = region_check(region, tx->bufs[i].off, tx->bufs[i].len);
	for (unsigned i = 0; !err && i < tx->nbits; i++)
		err = region_check(region, tx->bits[i].map->blk << BLOCK_SHIFT, BLOCK_BYTES);
	return err;
}

static bool fresh_bad(const struct tx *tx)
{
	int err = 0;

	for (unsigned i = 0; !err && i < tx->nbufs; i++)
		if (tx->bufs[i].fresh)
			err = region_check(tx->vol->region, tx->bufs[i].off, BLOCK_BYTES);
	return err;
}

/* Counted when it stands on the medium, so that who sees the count finds the blocks. */
static void count_quarantine(const struct tx *tx, const struct tx_bits *bits)
{
	if (bits->plane == PLANE_QUARANTINED && bits->map->kind == MAP_SPACE)
		atomic_fetch_add(&tx->vol->nquarantined,
				 bits->set ? (long long)bits->count : -(long long)bits->count);
}

static void tx_finish(struct tx *tx, bool committed)
{
	for (unsigned i = 0; i < tx->nbits; i++) {
		const struct tx_bits *bits = &tx->bits[i];

		if (committed)
			count_quarantine(tx, bits);
		if (bits->keep_busy)
			continue;
		if (committed ? !bits->set : bits->set)
			bits_give_back(bits);
	}
	sync_unlock(&tx->lane->lock, HERE);
}

void tx_abort(struct tx *tx)
{
	atomic_fetch_add(&tx->vol->stat.tx_aborts, 1);
	tx_finish(tx, false);
}

/* Log, fence 2. -EIO: the lane is damaged and nothing may go on. */
static int lane_write(struct tx *tx, size_t bytes)
{
	struct region *region = tx->vol->region;
	uint64_t off = tx->lane->off;

	region_store(region, off, tx->lane->log, sizeof(struct lane_header) + bytes, HERE);
	region_drain(region, HERE);
	if (!region_check(region, off, sizeof(struct lane_header) + bytes))
		return 0;
	/* What a later recovery would find there is unknown: stop everything. */
	volume_shutdown(tx->vol);
	return volume_damaged(tx->vol, off, "journal lane");
}

int tx_commit(struct tx *tx)
{
	struct volume *vol = tx->vol;
	struct region *region = vol->region;
	size_t bytes;
	int err = volume_usable(vol, true);

	if (err) {
		tx_abort(tx);
		return err;
	}
	for (unsigned i = 0; i < tx->nbufs; i++) {
		buf_seal(&tx->bufs[i]);
		if (tx->bufs[i].fresh)
			region_store(region, tx->bufs[i].off, tx->bufs[i].copy, BLOCK_BYTES, HERE);
	}
	bytes = tx_compose(tx);
	if (!bytes) {
		region_drain(region, HERE);
		tx_finish(tx, true);
		return 0;
	}
	region_drain(region, HERE); /* fence 1 */
	if (fresh_bad(tx)) {
		tx_abort(tx);
		return -EIO;
	}
	err = lane_write(tx, bytes); /* fence 2 */
	if (err) {
		tx_abort(tx);
		return err;
	}
	publish(tx, bytes);
	region_drain(region, HERE); /* fence 3 */
	if (homes_bad(tx)) {
		/* The lane is the only good copy: it stays, and nothing may change what is in it. */
		volume_shutdown(vol);
		tx_finish(tx, false);
		return volume_damaged(vol, tx->lane->off, "blocks of a transaction");
	}
	lane_retire(region, tx->lane->off);
	region_drain(region, HERE); /* fence 4 */

	atomic_fetch_add(&vol->stat.tx_commits, 1);
	atomic_fetch_add(&vol->stat.tx_log_bytes, bytes);
	tx_finish(tx, true);
	return 0;
}

int tx_end(struct tx *tx, int err)
{
	if (!err)
		return tx_commit(tx);
	tx_abort(tx);
	return err;
}

/* ---- recovery ------------------------------------------------------------------------------- */

static uint64_t lane_off(const struct super *super, uint32_t i)
{
	return (JOURNAL_BLK + (uint64_t)i * from_le32(super->lane_blocks)) << BLOCK_SHIFT;
}

static size_t lane_room(const struct super *super)
{
	return ((size_t)from_le32(super->lane_blocks) << BLOCK_SHIFT) - sizeof(struct lane_header);
}

/* The header of a lane that holds a committed transaction, or NULL. */
static const struct lane_header *lane_committed(const struct region *region,
						const struct super *super, uint32_t i)
{
	const struct lane_header *header =
		region_ptr(region, lane_off(super, i), sizeof(*header) + lane_room(super));
	uint64_t bytes = from_le64(header->bytes);

	if (from_le32(header->magic) != LANE_MAGIC || !bytes || bytes > lane_room(super))
		return NULL;
	/* A log that was being written when power went has no valid checksum: not committed. */
	if (from_le32(header->csum) !=
	    crc32c_skip(header, sizeof(*header) + bytes, offsetof(struct lane_header, csum)))
		return NULL;
	return header;
}

static bool lines_valid(const struct log_lines *rec, uint64_t first_data, uint64_t volume_bytes)
{
	uint64_t off = from_le64(rec->off), mask = from_le64(rec->mask);

	return mask && off % CACHELINE_BYTES == 0 &&
	       (off >> BLOCK_SHIFT == SPECIAL_BLK || off >> BLOCK_SHIFT >= first_data) &&
	       off < volume_bytes && volume_bytes - off >= BLOCK_BYTES - off % BLOCK_BYTES &&
	       off % BLOCK_BYTES + (64 - (uint64_t)__builtin_clzll(mask)) * CACHELINE_BYTES <=
		       BLOCK_BYTES;
}

static bool bits_valid(const struct log_bits *rec, uint64_t first_data, uint64_t volume_bytes)
{
	return rec->plane < MAP_PLANES && rec->set <= 1 &&
	       (from_le64(rec->blk) == space_map_blk(0) || from_le64(rec->blk) >= first_data) &&
	       from_le64(rec->blk) < volume_bytes >> BLOCK_SHIFT &&
	       from_le32(rec->count) <= MAP_BITS &&
	       from_le32(rec->first) <= MAP_BITS - from_le32(rec->count);
}

/*
 * Look at every record before any is applied. None may lead into the journal, where it could
 * change records that were looked at already.
 */
static bool records_valid(const struct lane_header *header, uint64_t first_data,
			  uint64_t volume_bytes)
{
	const unsigned char *rec = (const unsigned char *)(header + 1);
	const unsigned char *end = rec + from_le64(header->bytes);

	while (rec < end) {
		le32 kind;
		size_t left = (size_t)(end - rec);

		if (left < sizeof(struct log_bits))
			return false;
		memcpy(&kind, rec, sizeof(kind));
		if (from_le32(kind) == LOG_BITS) {
			if (!bits_valid((const struct log_bits *)rec, first_data, volume_bytes))
				return false;
		} else if (from_le32(kind) == LOG_LINES) {
			if (left < record_bytes(rec) ||
			    !lines_valid((const struct log_lines *)rec, first_data, volume_bytes))
				return false;
		} else {
			return false;
		}
		rec += record_bytes(rec);
	}
	return true;
}

static void lane_replay(struct region *region, const struct lane_header *header)
{
	const unsigned char *rec = (const unsigned char *)(header + 1);
	const unsigned char *end = rec + from_le64(header->bytes);

	for (; rec < end; rec += record_bytes(rec)) {
		const struct log_bits *bits = (const struct log_bits *)rec;

		if (from_le32(bits->kind) == LOG_LINES) {
			publish_lines(region, (const struct log_lines *)rec);
			continue;
		}
		map_apply(region, from_le64(bits->blk), bits->plane, bits->set,
			  from_le32(bits->first), from_le32(bits->count));
		map_reseal(region, from_le64(bits->blk));
	}
}

/* Whether the medium has refused what was put into place. */
static bool replay_failed(const struct region *region, const struct lane_header *header)
{
	const unsigned char *rec = (const unsigned char *)(header + 1);
	const unsigned char *end = rec + from_le64(header->bytes);
	int err = 0;

	for (; !err && rec < end; rec += record_bytes(rec)) {
		const struct log_lines *lines = (const struct log_lines *)rec;
		const struct log_bits *bits = (const struct log_bits *)rec;
		bool is_lines = from_le32(lines->kind) == LOG_LINES;
		uint64_t off = is_lines ? from_le64(lines->off)
					: from_le64(bits->blk) << BLOCK_SHIFT;

		err = region_check(region, off & ~(uint64_t)(BLOCK_BYTES - 1), BLOCK_BYTES);
	}
	return err;
}

bool journal_is_empty(const struct region *region, const struct super *super)
{
	for (uint32_t i = 0; i < from_le32(super->nlanes); i++)
		if (lane_committed(region, super, i))
			return false;
	return true;
}

int journal_recover(struct region *region, const struct super *super)
{
	uint64_t volume_bytes = from_le64(super->nblocks) << BLOCK_SHIFT;
	uint32_t nlanes = from_le32(super->nlanes);
	uint64_t first_data = JOURNAL_BLK + (uint64_t)nlanes * from_le32(super->lane_blocks);
	int replayed = 0;

	for (uint32_t i = 0; i < nlanes; i++) {
		const struct lane_header *header = lane_committed(region, super, i);

		if (header && !records_valid(header, first_data, volume_bytes))
			return -EUCLEAN;
	}
	for (uint32_t i = 0; i < nlanes; i++) {
		const struct lane_header *header = lane_committed(region, super, i);

		if (!header)
			continue;
		lane_replay(region, header);
		replayed++;
	}
	if (!replayed)
		return 0;
	/* Everything replayed is durable before the first lane says that it need not be. */
	region_drain(region, HERE);
	for (uint32_t i = 0; i < nlanes; i++) {
		const struct lane_header *header = lane_committed(region, super, i);

		if (header && replay_failed(region, header))
			return -EIO;
	}
	for (uint32_t i = 0; i < nlanes; i++)
		lane_retire(region, lane_off(super, i));
	region_drain(region, HERE);
	return replayed;
}

/* ---- the journal of a mounted volume ---------------------------------------------------------- */

int journal_new(struct volume *vol, const struct super *super)
{
	uint32_t nlanes = from_le32(super->nlanes);
	struct journal *journal;

	journal = mem_alloc(vol->mem, sizeof(*journal) + nlanes * sizeof(struct lane));
	if (!journal)
		return -ENOMEM;
	vol->journal = journal;
	journal->nlanes = nlanes;
	atomic_init(&journal->next_seq, 1);
	for (uint32_t i = 0; i < nlanes; i++) {
		struct lane *lane = &journal->lanes[i];

		sync_mutex_init(vol->sync, &lane->lock, LOCK_JOURNAL);
		sync_mutex_number(&lane->lock, i);
		lane->off = lane_off(super, i);
		lane->bytes = lane_room(super);
		lane->log = mem_alloc(vol->mem, sizeof(struct lane_header) + lane->bytes);
		if (!lane->log)
			return -ENOMEM; /* journal_delete() follows */
	}
	return 0;
}

void journal_delete(struct volume *vol)
{
	struct journal *journal = vol->journal;

	if (!journal)
		return;
	for (uint32_t i = 0; i < journal->nlanes; i++) {
		struct lane *lane = &journal->lanes[i];

		if (lane->log)
			sync_mutex_destroy(&lane->lock);
		mem_free(vol->mem, lane->log);
		for (unsigned b = 0; b < TX_MAX_BUFS; b++)
			mem_free(vol->mem, lane->copies[b]);
	}
	mem_free(vol->mem, journal);
	vol->journal = NULL;
}
