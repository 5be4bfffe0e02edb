/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * twice.c - blocks that more than one inode owns.
 *
 * The first walk has seen that there are such blocks, and not whose they are. A second one collects
 * everybody who claims one of them. The claims are cut at each other's ends, so that those of a
 * piece of blocks are all of it; then each piece has one winner:
 *
 *	the inode file
 *	tree nodes, directory blocks and attributes whose content says that they are the inode's
 *	data, of the inode with the smallest number
 *	a directory block that says something else
 *
 * A loser of data against data gets a copy: one of the two files had these bytes, and which one is
 * for their owners to tell. Against anything else it has lost its data already, and is cut.
 */
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "impl.h"

/* So many at once; a round that mends is followed by another. */
#define MAX_CLAIMS 4096u

enum rank { RANK_LIAR, RANK_DATA, RANK_PROVEN, RANK_TABLE };

struct claim {
	uint64_t blk, count;
	uint64_t ino, lblk;
	uint8_t fork, rank;
	bool node;
};

struct census {
	struct extents e;
	struct fsck *f;
	struct dinode d;
	uint64_t ino;
	struct vec claims;
	bool attr_good;
};

/* ---- collecting ------------------------------------------------------------------------------ */

static int add(struct census *c, const struct claim *claim)
{
	return c->claims.n < MAX_CLAIMS ? vec_push(&c->claims, claim, sizeof(*claim)) : 0;
}

static enum rank rank_of(const struct census *c, const struct claim *claim)
{
	const struct dirblock *db = fsck_block(c->f, claim->blk);

	if (claim->fork == FORK_ATTR)
		return c->attr_good ? RANK_PROVEN : RANK_LIAR;
	if (!S_ISDIR(from_le32(c->d.mode)))
		return RANK_DATA;
	return fsck_dirblock_is(db, c->ino, from_le32(c->d.generation), claim->lblk) ? RANK_PROVEN
										     : RANK_LIAR;
}

/* Each run of blocks with several owners in an extent. */
static int claim_extent(struct extents *e, const struct ext *ext, bool suspect)
{
	struct census *c = (struct census *)e;
	bool one_by_one = S_ISDIR(from_le32(c->d.mode));
	int err = 0;

	(void)suspect;
	for (uint64_t i = 0; !err && i < ext->count;) {
		struct claim claim = { .blk = ext->pblk + i,
				       .ino = c->ino,
				       .lblk = ext->lblk + i,
				       .fork = (uint8_t)e->walk.fork };

		while (i + claim.count < ext->count &&
		       bits_test(&c->f->twice, claim.blk + claim.count) &&
		       !(one_by_one && claim.count))
			claim.count++;
		i += claim.count ? claim.count : 1;
		if (!claim.count)
			continue;
		claim.rank = (uint8_t)rank_of(c, &claim);
		err = add(c, &claim);
	}
	return err;
}

static int claim_nodes(struct census *c, struct vec *nodes, enum fork_id fork)
{
	int err = 0;

	for (size_t i = 0; !err && i < nodes->n; i++) {
		struct claim claim = { .blk = *vec_at(nodes, uint64_t, i),
				       .count = 1,
				       .ino = c->ino,
				       .fork = (uint8_t)fork,
				       .rank = RANK_PROVEN,
				       .node = true };

		if (bits_test(&c->f->twice, claim.blk))
			err = add(c, &claim);
	}
	vec_free(nodes);
	return err;
}

static int claim_fork(struct census *c, enum fork_id fork, bool suspect)
{
	struct vec nodes = { 0 };
	int err;

	c->e = (struct extents){ .walk = { .f = c->f,
					   .ino = c->ino,
					   .generation = from_le32(c->d.generation),
					   .fork = fork,
					   .suspect = suspect,
					   .quiet = true },
				 .fn = claim_extent,
				 .node_list = &nodes };
	err = fsck_extents(&c->e, &c->d);
	return err ? (vec_free(&nodes), err) : claim_nodes(c, &nodes, fork);
}

static int list_node(struct walk *w, uint64_t blk)
{
	return vec_push(w->ctx, &blk, sizeof(blk));
}

static int claim_tree(struct census *c, enum fork_id fork, bool suspect)
{
	struct vec nodes = { 0 };
	struct walk w = { .f = c->f,
			  .ino = c->ino,
			  .generation = from_le32(c->d.generation),
			  .fork = fork,
			  .suspect = suspect,
			  .quiet = true,
			  .on_node = list_node,
			  .ctx = &nodes };
	int err = fsck_walk(&w, &c->d);

	return err ? (vec_free(&nodes), err) : claim_nodes(c, &nodes, fork);
}

static int claim_inode(struct census *c)
{
	bool suspect;
	char why[80];
	int err = 0;

	fsck_inode_copy(c->f, c->ino, &c->d, &suspect);
	c->attr_good = fsck_xattr_good(c->f, c->ino, &c->d, why, sizeof(why));
	if (!(from_le32(c->d.flags) & DINODE_INLINE_LINK)) {
		err = claim_fork(c, FORK_DATA, suspect);
		if (!err)
			err = claim_tree(c, FORK_INDEX, suspect);
	}
	return err ? err : claim_fork(c, FORK_ATTR, suspect);
}

static int claim_table(struct census *c)
{
	int err = 0;

	for (uint64_t lblk = 0; !err && lblk < c->f->table_blocks; lblk++) {
		struct claim claim = { .blk = c->f->table[lblk], .count = 1, .lblk = lblk };

		claim.rank = fsck_place_credible(c->f, lblk) ? RANK_TABLE : RANK_LIAR;
		if (claim.blk && bits_test(&c->f->twice, claim.blk))
			err = add(c, &claim);
	}
	if (err || c->f->table_damaged)
		return err;
	c->ino = INODE_FILE_INO;
	c->d = *(const struct dinode *)fsck_block(c->f, SPECIAL_BLK);
	return claim_tree(c, FORK_DATA, false);
}

/* ---- judging --------------------------------------------------------------------------------- */

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int by_rank(const void *a, const void *b)
{
	const struct claim *x = a, *y = b;

	if (x->blk != y->blk)
		return x->blk < y->blk ? -1 : 1;
	if (x->rank != y->rank)
		return y->rank - x->rank;
	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	if (x->fork != y->fork)
		return x->fork - y->fork;
	return (x->lblk > y->lblk) - (x->lblk < y->lblk);
}

/* Cut every claim where another one begins or ends. */
static int cut_claims(const struct vec *claims, struct vec *ret)
{
	struct vec ends = { 0 };
	int err = 0;

	for (size_t i = 0; !err && i < claims->n; i++) {
		const struct claim *c = vec_at(claims, struct claim, i);
		uint64_t end = c->blk + c->count;

		err = vec_push(&ends, &c->blk, sizeof(end));
		if (!err)
			err = vec_push(&ends, &end, sizeof(end));
	}
	vec_sort(&ends, sizeof(uint64_t), by_number);
	for (size_t i = 0; !err && i < claims->n; i++) {
		struct claim rest = *vec_at(claims, struct claim, i), piece;

		for (size_t e = 0; !err && rest.count && e < ends.n; e++) {
			uint64_t end = *vec_at(&ends, uint64_t, e);

			if (end <= rest.blk)
				continue;
			piece = rest;
			piece.count = end - rest.blk < rest.count ? end - rest.blk : rest.count;
			err = vec_push(ret, &piece, sizeof(piece));
			rest.blk += piece.count;
			rest.lblk += piece.count;
			rest.count -= piece.count;
		}
	}
	vec_free(&ends);
	return err;
}

static const char *role(const struct claim *c)
{
	return c->node ? "the tree" : c->fork == FORK_ATTR ? "the attributes" : "the data";
}

static uint8_t fix_of(const struct fsck *f, const struct claim *c)
{
	bool dir = c->ino && fsck_iinfo(f, c->ino)->type == (S_IFDIR >> 12);

	if (c->fork == FORK_INDEX)
		return FIX_INDEX;
	if (c->fork == FORK_ATTR)
		return FIX_ATTR;
	return dir ? FIX_DATA | FIX_INDEX : FIX_DATA;
}

static int judge(struct fsck *f, const struct claim *winner, const struct claim *loser)
{
	struct edit edit = { loser->ino, loser->lblk, loser->count, loser->fork, false };

	edit.clone = winner->rank <= RANK_DATA && loser->rank == RANK_DATA;
	fsck_found(
		f, FSCK_TWICE, loser->ino, loser->blk,
		"blocks %llu to %llu belong to %s of inode %llu and to %s of inode %llu, at file "
		"block %llu; the latter %s",
		(unsigned long long)loser->blk, (unsigned long long)(loser->blk + loser->count - 1),
		role(winner), (unsigned long long)winner->ino, role(loser),
		(unsigned long long)loser->ino, (unsigned long long)loser->lblk,
		loser->node  ? "is written anew"
		: edit.clone ? "gets a copy"
			     : "is cut");
	if (loser->ino == INODE_FILE_INO) {
		f->table_damaged = true;
		if (!loser->node)
			memset(&f->table[loser->lblk], 0, loser->count * sizeof(*f->table));
		return 0;
	}
	fsck_iinfo(f, loser->ino)->fix |= fix_of(f, loser);
	return loser->node ? 0 : vec_push(&f->edits, &edit, sizeof(edit));
}

static int judge_all(struct fsck *f, const struct vec *pieces)
{
	const struct claim *winner = NULL;
	int err = 0;

	for (size_t i = 0; !err && i < pieces->n; i++) {
		const struct claim *c = vec_at(pieces, struct claim, i);

		if (!winner || winner->blk != c->blk)
			winner = c;
		else
			err = judge(f, winner, c);
	}
	return err;
}

int fsck_twice(struct fsck *f)
{
	struct census c = { .f = f };
	struct vec pieces = { 0 };
	uint64_t max = fsck_ino_max(f);
	int err;

	if (!bits_any(&f->twice, 0, f->nblocks))
		return 0;
	err = claim_table(&c);
	for (uint64_t ino = ROOT_INO; !err && ino < max; ino++) {
		if (ino % 1024 == 1)
			fsck_progress(f, "owners", ino, max);
		c.ino = ino;
		if (fsck_in_use(f, ino))
			err = claim_inode(&c);
	}
	if (!err)
		err = cut_claims(&c.claims, &pieces);
	vec_sort(&pieces, sizeof(struct claim), by_rank);
	if (!err)
		err = judge_all(f, &pieces);
	vec_free(&c.claims);
	vec_free(&pieces);
	return err;
}
