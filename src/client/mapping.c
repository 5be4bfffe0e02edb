/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * mapping.c - see mapping.h.
 */
#include "mapping.h"

#include <assert.h>
#include <errno.h>

#include "client.h"
#include "file.h"
#include "sys.h"

#define piece_of(node) container_of(node, struct piece, span)
#define mapping_of(node) container_of(node, struct mapping, span)

struct mapping *mapping_at(const struct client *client, uint64_t addr)
{
	struct span *span = span_at(&client->mappings, addr);

	return span ? mapping_of(span) : NULL;
}

struct mapping *mapping_in(const struct client *client, uint64_t start, uint64_t end)
{
	struct span *span = span_in(&client->mappings, start, end);

	return span ? mapping_of(span) : NULL;
}

struct piece *piece_at(const struct client *client, uint64_t addr)
{
	struct span *span = span_at(&client->pieces, addr);

	return span ? piece_of(span) : NULL;
}

struct piece *piece_in(const struct client *client, uint64_t start, uint64_t end)
{
	struct span *span = span_in(&client->pieces, start, end);

	return span ? piece_of(span) : NULL;
}

bool mapping_range(const struct mapping *mapping, uint64_t pos, uint64_t end, uint64_t *ret_start,
		   uint64_t *ret_end)
{
	uint64_t len = mapping->span.end - mapping->span.start;
	uint64_t first = pos > mapping->pos ? pos : mapping->pos;
	uint64_t last = end < mapping->pos + len ? end : mapping->pos + len;

	if (first >= last)
		return false;
	*ret_start = mapping->span.start + (first - mapping->pos);
	*ret_end = mapping->span.start + (last - mapping->pos);
	return true;
}

/* ---- by age ---------------------------------------------------------------------------------- */

static bool is_costly(const struct piece *piece)
{
	return piece->kind != PIECE_ZERO;
}

static void age_add(struct client *client, struct piece *piece)
{
	client->failed += piece->kind == PIECE_FAILED;
	if (!is_costly(piece))
		return;
	piece->older = client->newest;
	piece->newer = NULL;
	*(client->newest ? &client->newest->newer : &client->oldest) = piece;
	client->newest = piece;
	client->costly++;
}

static void age_remove(struct client *client, struct piece *piece)
{
	client->failed -= piece->kind == PIECE_FAILED;
	if (!is_costly(piece))
		return;
	*(piece->older ? &piece->older->newer : &client->oldest) = piece->newer;
	*(piece->newer ? &piece->newer->older : &client->newest) = piece->older;
	client->costly--;
}

/* ---- pieces ---------------------------------------------------------------------------------- */

static void piece_insert(struct client *client, struct piece *piece)
{
	span_insert(&client->pieces, &piece->span);
	age_add(client, piece);
	count_add(client, COUNT_PIECES, 1);
}

static void piece_drop(struct client *client, struct piece *piece)
{
	span_remove(&client->pieces, &piece->span);
	age_remove(client, piece);
	arena_free(&client->arena, piece, sizeof(*piece));
	count_sub(client, COUNT_PIECES, 1);
}

static int piece_split(struct client *client, uint64_t addr)
{
	struct piece *piece = piece_at(client, addr), *upper;

	if (!piece || piece->span.start == addr)
		return 0;
	upper = arena_alloc(&client->arena, sizeof(*upper));
	if (!upper)
		return -ENOMEM;
	upper->span.start = addr;
	upper->span.end = piece->span.end;
	upper->kind = piece->kind;
	upper->region_off = piece->region_off + (addr - piece->span.start);
	upper->expires_ns = piece->expires_ns;
	piece->span.end = addr;
	piece_insert(client, upper);
	return 0;
}

static void drop_pieces(struct client *client, uint64_t start, uint64_t end)
{
	struct piece *piece;

	while ((piece = piece_in(client, start, end)))
		piece_drop(client, piece);
}

/* Whether @upper goes on where @lower ends, also in the region. */
static bool continues(const struct piece *lower, const struct piece *upper)
{
	if (lower->kind != upper->kind || lower->span.end != upper->span.start)
		return false;
	switch (lower->kind) {
	case PIECE_READ:
	case PIECE_WRITE:
		return lower->region_off + (lower->span.end - lower->span.start) ==
		       upper->region_off;
	case PIECE_ZERO:
		return true;
	default:
		return false; /* each maps the empty file from its start */
	}
}

/* Neighbours of another mapping stay apart, whatever they show. */
static void piece_merge(struct client *client, struct piece *piece)
{
	const struct mapping *mapping = mapping_at(client, piece->span.start);
	struct piece *upper = piece_at(client, piece->span.end), *lower;

	if (upper && piece->span.end < mapping->span.end && continues(piece, upper)) {
		uint64_t end = upper->span.end;

		piece_drop(client, upper);
		piece->span.end = end;
	}
	lower = piece->span.start > mapping->span.start ? piece_at(client, piece->span.start - 1)
							: NULL;
	if (lower && continues(lower, piece)) {
		uint64_t start = lower->span.start, region_off = lower->region_off;

		piece_drop(client, lower);
		piece->span.start = start;
		piece->region_off = region_off;
	}
}

int piece_add(struct client *client, uint64_t start, uint64_t end, enum piece_kind kind,
	      uint64_t region_off)
{
	struct piece *piece = arena_alloc(&client->arena, sizeof(*piece));

	if (!piece)
		return -ENOMEM;
	if (piece_split(client, start) || piece_split(client, end)) {
		arena_free(&client->arena, piece, sizeof(*piece));
		return -ENOMEM;
	}
	drop_pieces(client, start, end);
	piece->span.start = start;
	piece->span.end = end;
	piece->kind = kind;
	piece->region_off = region_off;
	piece->expires_ns = kind == PIECE_FAILED ? sys_now_ns() + FAILED_NS : 0;
	piece_insert(client, piece);
	piece_merge(client, piece);
	return 0;
}

/* Where the last piece that reaches into [start, end) ends. */
static uint64_t pieces_end(struct client *client, uint64_t start, uint64_t end)
{
	uint64_t last = start;
	struct piece *piece;

	while ((piece = piece_in(client, last, end)))
		last = piece->span.end;
	return last;
}

int piece_take_back(struct client *client, uint64_t start, uint64_t end)
{
	struct mapping *mapping = mapping_at(client, start);
	struct piece *first;
	uint64_t from, to;
	int err;

	/* No memory for the records of what is left of a piece: then nothing is left of it. */
	piece_split(client, start);
	piece_split(client, end);
	first = piece_in(client, start, end);
	if (!first)
		return 0;
	from = first->span.start;
	to = pieces_end(client, start, end);
	err = spare_cover(client, from, to - from, mapping->prot);
	if (!err)
		drop_pieces(client, from, to);
	return err;
}

void piece_evict(struct client *client, unsigned n)
{
	while (n-- && client->oldest) {
		uint64_t start = client->oldest->span.start, end = client->oldest->span.end;
		struct mapping *mapping = mapping_at(client, start);
		uint64_t pos = mapping_pos(mapping, start);

		if (piece_take_back(client, start, end))
			return;
		file_return(client, mapping->file, pos, pos + (end - start));
		count_add(client, COUNT_EVICTED, 1);
	}
}

uint64_t piece_expire(struct client *client, uint64_t now_ns)
{
	uint64_t next = 0;
	struct piece *piece = client->failed ? client->newest : NULL;

	while (piece) {
		struct piece *older = piece->older;

		if (piece->kind == PIECE_FAILED && piece->expires_ns <= now_ns)
			piece_take_back(client, piece->span.start, piece->span.end);
		else if (piece->kind == PIECE_FAILED && (!next || piece->expires_ns < next))
			next = piece->expires_ns;
		piece = older;
	}
	return next;
}

/* ---- mappings -------------------------------------------------------------------------------- */

static void link_to_file(struct mapping *mapping)
{
	struct file *file = mapping->file;

	mapping->next = file->mappings;
	mapping->link = &file->mappings;
	if (file->mappings)
		file->mappings->link = &mapping->next;
	file->mappings = mapping;
}

static void unlink_from_file(struct mapping *mapping)
{
	*mapping->link = mapping->next;
	if (mapping->next)
		mapping->next->link = mapping->link;
}

static void widen_bounds(struct client *client, uint64_t start, uint64_t end)
{
	if (!atomic_load(&client->low) || start < atomic_load(&client->low))
		atomic_store(&client->low, start);
	if (end > atomic_load(&client->high))
		atomic_store(&client->high, end);
}

int mapping_add(struct client *client, uint64_t start, uint64_t end, uint64_t pos,
		const struct mapping *like)
{
	struct mapping *mapping = arena_alloc(&client->arena, sizeof(*mapping));

	if (!mapping)
		return -ENOMEM;
	mapping->span.start = start;
	mapping->span.end = end;
	mapping->pos = pos;
	mapping->prot = like->prot;
	mapping->may_write = like->may_write;
	mapping->not_for_children = like->not_for_children;
	mapping->file = like->file;
	link_to_file(mapping);
	span_insert(&client->mappings, &mapping->span);
	widen_bounds(client, start, end);
	count_add(client, COUNT_MAPPINGS, 1);
	return 0;
}

static void mapping_drop(struct client *client, struct mapping *mapping)
{
	unlink_from_file(mapping);
	span_remove(&client->mappings, &mapping->span);
	arena_free(&client->arena, mapping, sizeof(*mapping));
	count_sub(client, COUNT_MAPPINGS, 1);
}

int mapping_split(struct client *client, uint64_t addr)
{
	struct mapping *mapping = mapping_at(client, addr);
	uint64_t end;
	int err;

	if (!mapping || mapping->span.start == addr)
		return 0;
	err = piece_split(client, addr);
	if (err)
		return err;
	end = mapping->span.end;
	mapping->span.end = addr;
	err = mapping_add(client, addr, end, mapping_pos(mapping, addr), mapping);
	if (err)
		mapping->span.end = end;
	return err;
}

static void forget_one(struct client *client, struct mapping *mapping)
{
	struct file *file = mapping->file;
	uint64_t pos = mapping->pos, len = mapping->span.end - mapping->span.start;
	bool granted = piece_in(client, mapping->span.start, mapping->span.end);

	drop_pieces(client, mapping->span.start, mapping->span.end);
	mapping_drop(client, mapping);
	if (granted && file->mappings)
		file_return(client, file, pos, pos + len);
	file_release(client, file);
}

void mapping_forget(struct client *client, uint64_t start, uint64_t end)
{
	struct mapping *mapping;

	while ((mapping = mapping_in(client, start, end))) {
		assert(mapping->span.start >= start && mapping->span.end <= end);
		forget_one(client, mapping);
	}
}

static bool mapping_continues(const struct mapping *lower, const struct mapping *upper)
{
	return lower && upper && lower->span.end == upper->span.start &&
	       lower->file == upper->file && lower->prot == upper->prot &&
	       lower->may_write == upper->may_write &&
	       lower->not_for_children == upper->not_for_children &&
	       mapping_pos(lower, lower->span.end) == upper->pos;
}

static void merge_at(struct client *client, uint64_t addr)
{
	struct mapping *lower = addr ? mapping_at(client, addr - 1) : NULL;
	struct mapping *upper = mapping_at(client, addr);
	uint64_t end;

	if (lower == upper || !mapping_continues(lower, upper))
		return;
	end = upper->span.end;
	mapping_drop(client, upper);
	lower->span.end = end;
}

void mapping_protect(struct client *client, uint64_t start, uint64_t end, int prot)
{
	struct mapping *mapping;

	for (uint64_t at = start; (mapping = mapping_in(client, at, end)); at = mapping->span.end)
		mapping->prot = prot;
	for (uint64_t at = start, next; (mapping = mapping_in(client, at, end)); at = next) {
		next = mapping->span.end;
		merge_at(client, mapping->span.start);
	}
	merge_at(client, end);
}
