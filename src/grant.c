/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * grant.c - grants of one inode to its clients; see grant.h.
 *
 * An attachment's chunks stand in a hash table by index, so that a file of any size costs what is
 * granted of it, and neighbours need no merging: they are bits. A recall that reaches to the end of
 * the file looks at the chunks there are, not at the range.
 */
#include "grant.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "format.h"
#include "gate.h"
#include "inode.h"
#include "mem.h"
#include "mode.h"
#include "region.h"
#include "volume.h"

#define CHUNK_BLOCKS 512u
#define WORDS (CHUNK_BLOCKS / 64)
#define FIRST_ROOM 16u
#define ALL_KINDS ((1u << GRANT_NR_KINDS) - 1)

struct grant_chunk {
	struct grant_chunk *next;
	uint64_t index; /* block / CHUNK_BLOCKS */
	uint64_t bits[GRANT_NR_KINDS][WORDS];
};

struct recall {
	struct recall *next;
	uint32_t seq;
	bool late;
	uint64_t pos, end;
	uint64_t deadline; /* of the operation that sent it */
};

static bool overlap(uint64_t pos, uint64_t end, uint64_t other_pos, uint64_t other_end)
{
	return pos < other_end && other_pos < end;
}

static uint64_t round_down(uint64_t pos, uint64_t unit)
{
	return pos - pos % unit;
}

static uint64_t round_up(uint64_t pos, uint64_t unit)
{
	return round_down(pos + unit - 1, unit);
}

/* ---- bits --------------------------------------------------------------------------------------- */

static struct grant_chunk **chunk_slot(const struct attachment *att, uint64_t index)
{
	return &att->chunks[index * UINT64_C(0x9e3779b97f4a7c15) >> 32 & (att->room - 1)];
}

static struct grant_chunk *chunk_find(const struct attachment *att, uint64_t index)
{
	struct grant_chunk *chunk = att->room ? *chunk_slot(att, index) : NULL;

	while (chunk && chunk->index != index)
		chunk = chunk->next;
	return chunk;
}

static int chunks_grow(struct attachment *att)
{
	struct mem *mem = att->inode->vol->mem;
	unsigned room = att->room ? 2 * att->room : FIRST_ROOM, old_room = att->room;
	struct grant_chunk **chunks = mem_alloc(mem, room * sizeof(*chunks)), **old = att->chunks;

	if (!chunks)
		return -ENOMEM;
	att->chunks = chunks;
	att->room = room;
	for (unsigned i = 0; i < old_room; i++)
		for (struct grant_chunk *chunk = old[i], *next; chunk; chunk = next) {
			struct grant_chunk **slot = chunk_slot(att, chunk->index);

			next = chunk->next;
			chunk->next = *slot;
			*slot = chunk;
		}
	mem_free(mem, old);
	return 0;
}

static struct grant_chunk *chunk_get(struct attachment *att, uint64_t index)
{
	struct grant_chunk *chunk = chunk_find(att, index), **slot;

	if (chunk)
		return chunk;
	if (att->nchunks >= att->room && chunks_grow(att))
		return NULL;
	chunk = mem_alloc(att->inode->vol->mem, sizeof(*chunk));
	if (!chunk)
		return NULL;
	slot = chunk_slot(att, index);
	*chunk = (struct grant_chunk){ .next = *slot, .index = index };
	*slot = chunk;
	att->nchunks++;
	return chunk;
}

/* The bits of word @w of a chunk that lie in blocks [@first, @end). */
static uint64_t word_mask(const struct grant_chunk *chunk, unsigned w, uint64_t first, uint64_t end)
{
	uint64_t base = chunk->index * CHUNK_BLOCKS + w * 64u;
	uint64_t from = first > base ? first - base : 0, to = end > base ? end - base : 0;

	if (from >= 64 || to <= from)
		return 0;
	return (to >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << to) - 1) & ~UINT64_C(0) << from;
}

/* Go over the words that hold blocks [@first, @end): clear what they have of @kinds, if @clear.
 * Returns whether there was any. */
static bool chunk_bits(struct grant_chunk *chunk, unsigned kinds, uint64_t first, uint64_t end,
		       bool clear)
{
	bool any = false;

	for (unsigned w = 0; w < WORDS; w++) {
		uint64_t mask = word_mask(chunk, w, first, end);

		for (unsigned kind = 0; mask && kind < GRANT_NR_KINDS; kind++) {
			if (!(kinds >> kind & 1) || !(chunk->bits[kind][w] & mask))
				continue;
			any = true;
			if (clear)
				chunk->bits[kind][w] &= ~mask;
		}
	}
	return any;
}

/* Whether @att has any of @kinds in bytes [@pos, @end); @clear: not any more. */
static bool att_bits(const struct attachment *att, unsigned kinds, uint64_t pos, uint64_t end,
		     bool clear)
{
	uint64_t first = pos >> BLOCK_SHIFT;
	uint64_t stop = end > MAX_FILE_BYTES ? UINT64_MAX : (end + BLOCK_BYTES - 1) >> BLOCK_SHIFT;
	bool any = false;

	sync_assert_locked(&holder_of(att->inode)->lock);
	if (!att->nchunks || first >= stop)
		return false;
	if ((stop - 1) / CHUNK_BLOCKS - first / CHUNK_BLOCKS < att->nchunks) {
		for (uint64_t i = first / CHUNK_BLOCKS; i <= (stop - 1) / CHUNK_BLOCKS; i++) {
			struct grant_chunk *chunk = chunk_find(att, i);

			if (chunk)
				any |= chunk_bits(chunk, kinds, first, stop, clear);
		}
		return any;
	}
	for (unsigned i = 0; i < att->room; i++)
		for (struct grant_chunk *chunk = att->chunks[i]; chunk; chunk = chunk->next)
			any |= chunk_bits(chunk, kinds, first, stop, clear);
	return any;
}

/* Cut [*pos, *end) down to what was granted of it, as one range. */
static void att_span(const struct attachment *att, uint64_t *pos, uint64_t *end)
{
	uint64_t first = UINT64_MAX, stop = 0;

	sync_assert_locked(&holder_of(att->inode)->lock);
	for (unsigned i = 0; i < att->room; i++)
		for (struct grant_chunk *chunk = att->chunks[i]; chunk; chunk = chunk->next) {
			uint64_t from = chunk->index * CHUNK_BLOCKS, to = from + CHUNK_BLOCKS;

			if (!chunk_bits(chunk, ALL_KINDS, *pos >> BLOCK_SHIFT,
					((*end - 1) >> BLOCK_SHIFT) + 1, false))
				continue;
			while (!chunk_bits(chunk, ALL_KINDS, from, from + 1, false))
				from++;
			while (!chunk_bits(chunk, ALL_KINDS, to - 1, to, false))
				to--;
			first = from < first ? from : first;
			stop = to > stop ? to : stop;
		}
	if (first >= stop)
		return;
	*pos = first << BLOCK_SHIFT > *pos ? first << BLOCK_SHIFT : *pos;
	*end = stop << BLOCK_SHIFT < *end ? stop << BLOCK_SHIFT : *end;
}

static int att_set(struct attachment *att, enum grant_kind kind, uint64_t pos, uint64_t len)
{
	uint64_t first = pos >> BLOCK_SHIFT, stop = (pos + len + BLOCK_BYTES - 1) >> BLOCK_SHIFT;

	sync_assert_locked(&holder_of(att->inode)->lock);
	/* All memory first: a grant is recorded wholly, or not. */
	for (uint64_t i = first / CHUNK_BLOCKS; i <= (stop - 1) / CHUNK_BLOCKS; i++)
		if (!chunk_get(att, i))
			return -ENOMEM;
	for (uint64_t i = first / CHUNK_BLOCKS; i <= (stop - 1) / CHUNK_BLOCKS; i++) {
		struct grant_chunk *chunk = chunk_find(att, i);

		for (unsigned w = 0; w < WORDS; w++)
			chunk->bits[kind][w] |= word_mask(chunk, w, first, stop);
	}
	return 0;
}

/* ---- attaching ------------------------------------------------------------------------------------ */

int attach(struct inode *inode, struct client *client, uint32_t id, bool writable,
	   struct attachment **ret_att)
{
	struct holder *holder = holder_of(inode);
	struct attachment *att = holder ? mem_alloc(inode->vol->mem, sizeof(*att)) : NULL;
	int err = 0;

	if (!att)
		return -ENOMEM;
	*att = (struct attachment){
		.client = client, .inode = inode, .id = id, .writable = writable
	};
	/* The mode is looked at and counted in under one lock: RACES.md, row 59. */
	sync_lock(&holder->lock, 0, HERE);
	if (holder->mode != MODE_UNCACHED) {
		err = -EBUSY;
	} else {
		att->next = holder->attachments;
		holder->attachments = att;
		holder->nattached++;
	}
	sync_unlock(&holder->lock, HERE);
	if (err) {
		mem_free(inode->vol->mem, att);
		return err;
	}
	inode_ref(inode);
	*ret_att = att;
	return 0;
}

static void att_free(struct attachment *att)
{
	struct mem *mem = att->inode->vol->mem;

	for (unsigned i = 0; i < att->room; i++)
		for (struct grant_chunk *chunk = att->chunks[i], *next; chunk; chunk = next) {
			next = chunk->next;
			mem_free(mem, chunk);
		}
	mem_free(mem, att->chunks);
	mem_free(mem, att);
}

/* For whoever watches; under holder->lock, so in the order in which it happens. */
static void tell_watchers(const struct attachment *att, const struct recall *recall,
			  enum sync_step step)
{
	sync_tell(att->inode->vol->sync,
		  &(struct sync_told){
			  .kind = SYNC_RECALL,
			  .step = step,
			  .who = att->client->number,
			  .code = recall->seq,
			  .ino = att->inode->ino,
			  .pos = recall->pos,
			  .len = recall->end == UINT64_MAX ? UINT64_MAX : recall->end - recall->pos,
		  },
		  HERE);
}

static void recall_free(struct attachment *att, struct recall **link)
{
	struct recall *recall = *link;

	sync_assert_locked(&holder_of(att->inode)->lock);
	*link = recall->next;
	tell_watchers(att, recall, SYNC_END);
	if (recall->late)
		atomic_fetch_sub(&att->inode->vol->nlate, 1);
	mem_free(att->inode->vol->mem, recall);
}

void grant_abandon(struct attachment *att)
{
	struct holder *holder = holder_of(att->inode);

	sync_lock(&holder->lock, 0, HERE);
	att->abandoned = true;
	while (att->recalls)
		recall_free(att, &att->recalls);
	att_bits(att, ALL_KINDS, 0, UINT64_MAX, true);
	holder_unlock_and_resume(att->inode, holder, HERE);
}

void grant_wake(struct attachment *att)
{
	struct holder *holder = holder_of(att->inode);

	sync_lock(&holder->lock, 0, HERE);
	sync_wake(&holder->changed);
	sync_unlock(&holder->lock, HERE);
}

void detach(struct attachment *att)
{
	struct inode *inode = att->inode;
	struct holder *holder = holder_of(inode);
	struct attachment **link = &holder->attachments;

	sync_lock(&holder->lock, 0, HERE);
	while (*link != att)
		link = &(*link)->next;
	*link = att->next;
	while (att->recalls)
		recall_free(att, &att->recalls);
	mode_detached(holder);
	holder_unlock_and_resume(inode, holder, HERE);
	att_free(att);
	inode_put(inode);
}

/* ---- granting ------------------------------------------------------------------------------------- */

static bool gate_on(const struct holder *holder, uint64_t pos, uint64_t end)
{
	sync_assert_locked(&holder->lock);
	for (const struct gate *gate = holder->gates; gate; gate = gate->next)
		if (overlap(gate->pos, gate->end, pos, end))
			return true;
	return false;
}

/* Cut [*first, *end), which holds the granule at @pos, to granules on which no gate stands. */
static void cut_by_gates(const struct holder *holder, uint64_t granule, uint64_t pos,
			 uint64_t *first, uint64_t *end)
{
	sync_assert_locked(&holder->lock);
	for (const struct gate *gate = holder->gates; gate; gate = gate->next) {
		if (gate->end <= pos && gate->end > *first)
			*first = round_up(gate->end, granule);
		if (gate->pos > pos && gate->pos < *end)
			*end = round_down(gate->pos, granule);
	}
}

/* Whether nobody would ever give back what is granted now: RACES.md, row 60. */
static bool is_gone(const struct attachment *att)
{
	return att->abandoned || atomic_load(&att->client->gone);
}

int grant_generation(struct attachment *att, uint64_t pos, bool may_wait, uint64_t *first,
		     uint64_t *end, uint64_t *ret_generation)
{
	const uint64_t granule = att->inode->vol->region->granule_bytes;
	struct holder *holder = holder_of(att->inode);
	int err = 0;

	sync_lock(&holder->lock, 0, HERE);
	while (gate_on(holder, pos, pos + granule) && may_wait && !is_gone(att))
		sync_wait(&holder->changed, &holder->lock, HERE);
	if (is_gone(att))
		err = -ECONNRESET;
	else if (gate_on(holder, pos, pos + granule))
		err = -EAGAIN;
	cut_by_gates(holder, granule, pos, first, end);
	*ret_generation = holder->generation;
	sync_unlock(&holder->lock, HERE);
	return err;
}

/* Whether blocks are being put where @kind says that there are none. */
static bool is_being_filled(const struct holder *holder, enum grant_kind kind, uint64_t pos,
			    uint64_t end)
{
	sync_assert_locked(&holder->lock);
	for (const struct fill *fill = holder->fills; fill; fill = fill->next) {
		if (kind == GRANT_BEHIND_EOF && fill->extends)
			return true;
		if (kind == GRANT_ZERO && overlap(fill->pos, fill->end, pos, end))
			return true;
	}
	return false;
}

int grant_record(struct attachment *att, enum grant_kind kind, uint64_t pos, uint64_t len,
		 uint64_t generation, void (*send)(void *arg), void *arg)
{
	struct holder *holder = holder_of(att->inode);
	int err = 0;

	sync_lock(&holder->lock, 0, HERE);
	if (is_gone(att))
		err = -ECONNRESET;
	else if (gate_on(holder, pos, pos + len) || holder->generation != generation)
		err = -EAGAIN;
	else if (is_being_filled(holder, kind, pos, pos + len))
		err = -EBUSY;
	else
		err = att_set(att, kind, pos, len);
	if (!err && kind == GRANT_WRITE)
		holder->nstored++;
	if (!err)
		send(arg);
	sync_unlock(&holder->lock, HERE);
	return err;
}

void grant_wait_fill(struct attachment *att, uint64_t generation)
{
	struct holder *holder = holder_of(att->inode);

	sync_lock(&holder->lock, 0, HERE);
	while (holder->fills && holder->generation == generation && !is_gone(att))
		sync_wait(&holder->changed, &holder->lock, HERE);
	sync_unlock(&holder->lock, HERE);
}

void grant_returned(struct attachment *att, uint64_t pos, uint64_t len)
{
	struct holder *holder = holder_of(att->inode);

	sync_lock(&holder->lock, 0, HERE);
	att_bits(att, ALL_KINDS, pos, len > UINT64_MAX - pos ? UINT64_MAX : pos + len, true);
	holder_unlock_and_resume(att->inode, holder, HERE);
}

/* ---- taking back ---------------------------------------------------------------------------------- */

/* Whatever was granted in the range was granted before the recall: a gate stands on it since. */
bool grant_acknowledged(struct attachment *att, uint32_t seq)
{
	struct holder *holder = holder_of(att->inode);
	struct recall **link = &att->recalls, *recall;

	sync_lock(&holder->lock, 0, HERE);
	while (*link && (*link)->seq != seq)
		link = &(*link)->next;
	recall = *link;
	if (!recall) {
		sync_unlock(&holder->lock, HERE);
		return false;
	}
	if (recall->late)
		att->client->ops->late(att->client, att->id, seq, recall->pos,
				       recall->end == UINT64_MAX ? UINT64_MAX
								 : recall->end - recall->pos);
	else
		att_bits(att, ALL_KINDS, recall->pos, recall->end, true);
	recall_free(att, link);
	holder_unlock_and_resume(att->inode, holder, HERE);
	return true;
}

static int recall_one(struct attachment *att, uint64_t pos, uint64_t end, uint64_t deadline)
{
	struct recall *recall = mem_alloc(att->inode->vol->mem, sizeof(*recall)), **link;

	sync_assert_locked(&holder_of(att->inode)->lock);
	if (!recall)
		return -ENOMEM;
	*recall = (struct recall){
		.seq = ++att->last_seq, .pos = pos, .end = end, .deadline = deadline
	};
	for (link = &att->recalls; *link; link = &(*link)->next)
		;
	*link = recall;
	tell_watchers(att, recall, SYNC_BEGIN);
	att->client->ops->recall(att->client, att->id, recall->seq, pos,
				 end == UINT64_MAX ? UINT64_MAX : end - pos);
	return 0;
}

/* Of those that are due by @deadline: the others are another operation's, which began later. */
static bool is_due(const struct recall *recall, uint64_t pos, uint64_t end, uint64_t deadline)
{
	return !recall->late && recall->deadline <= deadline &&
	       overlap(recall->pos, recall->end, pos, end);
}

static bool recall_unanswered(const struct holder *holder, uint64_t pos, uint64_t end,
			      uint64_t deadline)
{
	sync_assert_locked(&holder->lock);
	for (const struct attachment *att = holder->attachments; att; att = att->next)
		for (const struct recall *recall = att->recalls; recall; recall = recall->next)
			if (is_due(recall, pos, end, deadline))
				return true;
	return false;
}

/* The deadline is over: what is not answered counts no more, but is remembered. */
static void give_up(struct holder *holder, uint64_t pos, uint64_t end, uint64_t deadline)
{
	sync_assert_locked(&holder->lock);
	for (struct attachment *att = holder->attachments; att; att = att->next)
		for (struct recall *recall = att->recalls; recall; recall = recall->next) {
			if (!is_due(recall, pos, end, deadline))
				continue;
			att_span(att, &recall->pos, &recall->end);
			recall->late = true;
			tell_watchers(att, recall, SYNC_LATE);
			atomic_fetch_add(&att->inode->vol->nlate, 1);
			atomic_fetch_add(&att->inode->vol->stat.recalls_late, 1);
			att_bits(att, ALL_KINDS, recall->pos, recall->end, true);
		}
}

/*
 * Clients map whole granules, and give back whole ones. None of them is granted meanwhile: the gate stands
 * on a part of each.
 */
static void whole_granules(const struct inode *inode, uint64_t *pos, uint64_t *end)
{
	const uint64_t granule = inode->vol->region->granule_bytes;

	*pos = round_down(*pos, granule);
	*end = *end > MAX_FILE_BYTES ? UINT64_MAX : round_up(*end, granule);
}

int grant_recall(struct inode *inode, uint64_t pos, uint64_t end, uint64_t deadline)
{
	struct holder *holder = holder_of(inode);
	int err = 0;

	whole_granules(inode, &pos, &end);
	sync_lock(&holder->lock, 0, HERE);
	for (struct attachment *att = holder->attachments; att && !err; att = att->next) {
		if (!att_bits(att, ALL_KINDS, pos, end, false))
			continue;
		err = recall_one(att, pos, end, deadline);
		atomic_fetch_add(&inode->vol->stat.recalls, !err);
	}
	sync_unlock(&holder->lock, HERE);
	return err;
}

void grant_recall_wait(struct inode *inode, uint64_t pos, uint64_t end, uint64_t deadline)
{
	struct holder *holder = holder_of(inode);
	bool waiting = true;

	whole_granules(inode, &pos, &end);
	sync_lock(&holder->lock, 0, HERE);
	while (waiting && recall_unanswered(holder, pos, end, deadline))
		waiting = sync_wait_until(&holder->changed, &holder->lock, deadline, HERE);
	give_up(holder, pos, end, deadline);
	sync_unlock(&holder->lock, HERE);
}

bool grant_exists(const struct holder *holder, uint64_t pos, uint64_t end)
{
	sync_assert_locked(&holder->lock);
	for (const struct attachment *att = holder->attachments; att; att = att->next)
		if (att_bits(att, ALL_KINDS, pos, end, false))
			return true;
	return false;
}

/* The part of the range that comes first of all that @holder's late recalls have of it. */
static bool late_part(const struct holder *holder, uint64_t *pos, uint64_t *end)
{
	uint64_t first = UINT64_MAX, stop = 0;

	sync_assert_locked(&holder->lock);
	for (const struct attachment *att = holder->attachments; att; att = att->next)
		for (const struct recall *recall = att->recalls; recall; recall = recall->next) {
			uint64_t from = recall->pos > *pos ? recall->pos : *pos;

			if (!recall->late || !overlap(recall->pos, recall->end, *pos, *end) ||
			    from >= first)
				continue;
			first = from;
			stop = recall->end < *end ? recall->end : *end;
		}
	if (!stop)
		return false;
	*pos = first;
	*end = stop;
	return true;
}

bool grant_late_part(struct inode *inode, uint64_t *pos, uint64_t *end)
{
	struct holder *holder = atomic_load(&inode->holder);
	bool late;

	if (!holder || !atomic_load(&inode->vol->nlate))
		return false;
	sync_lock(&holder->lock, 0, HERE);
	late = late_part(holder, pos, end);
	sync_unlock(&holder->lock, HERE);
	return late;
}

bool grant_is_late(struct inode *inode, uint64_t pos, uint64_t end)
{
	return atomic_load(&inode->vol->orphans) || grant_late_part(inode, &pos, &end);
}

/* ---- what was stored ------------------------------------------------------------------------------ */

static bool may_store(const struct holder *holder)
{
	sync_assert_locked(&holder->lock);
	for (const struct attachment *att = holder->attachments; att; att = att->next)
		if (att_bits(att, 1u << GRANT_WRITE, 0, UINT64_MAX, false))
			return true;
	return false;
}

bool grant_stores(struct inode *inode, uint64_t *ret_mark)
{
	struct holder *holder = atomic_load(&inode->holder);
	bool stores;

	if (!holder)
		return false;
	sync_lock(&holder->lock, 0, HERE);
	stores = holder->nflushed < holder->nstored;
	/* Who may store may do so behind the flush, unnoticed. */
	*ret_mark = may_store(holder) ? holder->nflushed : holder->nstored;
	sync_unlock(&holder->lock, HERE);
	return stores;
}

void grant_flushed(struct inode *inode, uint64_t mark, bool lost)
{
	struct holder *holder = holder_of(inode);

	sync_lock(&holder->lock, 0, HERE);
	if (holder->nflushed < mark)
		holder->nflushed = mark;
	if (lost) {
		holder->nsync_errors++;
		holder->sync_error_told = false;
	}
	sync_unlock(&holder->lock, HERE);
}

uint32_t grant_sync_seen(struct inode *inode)
{
	struct holder *holder = atomic_load(&inode->holder);
	uint32_t seen;

	if (!holder)
		return 0;
	sync_lock(&holder->lock, 0, HERE);
	seen = holder->nsync_errors - (holder->nsync_errors && !holder->sync_error_told);
	sync_unlock(&holder->lock, HERE);
	return seen;
}

bool grant_sync_lost(struct inode *inode, uint32_t *seen)
{
	struct holder *holder = atomic_load(&inode->holder);
	bool lost;

	if (!holder)
		return false;
	sync_lock(&holder->lock, 0, HERE);
	lost = *seen != holder->nsync_errors;
	*seen = holder->nsync_errors;
	holder->sync_error_told |= lost;
	sync_unlock(&holder->lock, HERE);
	return lost;
}

/* ---- filling -------------------------------------------------------------------------------------- */

bool grant_conflicts(const struct holder *holder, uint64_t pos, uint64_t end, bool extends)
{
	sync_assert_locked(&holder->lock);
	for (const struct attachment *att = holder->attachments; att; att = att->next) {
		if (att_bits(att, 1u << GRANT_ZERO, pos, end, false))
			return true;
		if (extends && att_bits(att, 1u << GRANT_BEHIND_EOF, pos, UINT64_MAX, false))
			return true;
	}
	return false;
}

/* ---- for people ----------------------------------------------------------------------------------- */

static uint64_t chunk_bytes(const struct grant_chunk *chunk, enum grant_kind kind)
{
	uint64_t n = 0;

	for (unsigned w = 0; w < WORDS; w++)
		n += (uint64_t)__builtin_popcountll(chunk->bits[kind][w]);
	return n << BLOCK_SHIFT;
}

static void add_attachment(const struct attachment *att, struct grant_stat *ret)
{
	sync_assert_locked(&holder_of(att->inode)->lock);
	for (unsigned i = 0; i < att->room; i++)
		for (const struct grant_chunk *chunk = att->chunks[i]; chunk; chunk = chunk->next)
			for (unsigned kind = 0; kind < GRANT_NR_KINDS; kind++)
				ret->bytes[kind] += chunk_bytes(chunk, kind);
	for (const struct recall *recall = att->recalls; recall; recall = recall->next) {
		ret->nrecalls += !recall->late;
		ret->nlate += recall->late;
	}
}

void grant_stat(const struct holder *holder, struct grant_stat *ret)
{
	sync_assert_locked(&holder->lock);
	*ret = (struct grant_stat){ 0 };
	for (const struct attachment *att = holder->attachments; att; att = att->next)
		add_attachment(att, ret);
}
