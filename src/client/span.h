/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * span.h - disjoint ranges of addresses, ordered: a treap of nodes that their owners embed.
 *
 * A node's start and end may be changed in place as long as the order stays what it was. One thread
 * uses a tree; another may look up in it while nobody changes it.
 */
#ifndef UDAX_CLIENT_SPAN_H
#define UDAX_CLIENT_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct span {
	struct span *left, *right;
	uint64_t start, end; /* [start, end) */
	uint32_t priority;
};

struct span_tree {
	struct span *root;
	uint32_t seed;
	uint32_t count;
};

/** span_insert - @node, which overlaps none that is in @tree. */
void span_insert(struct span_tree *tree, struct span *node);
void span_remove(struct span_tree *tree, struct span *node);

/** span_from - the first that ends behind @addr: it holds @addr, or comes after it. */
struct span *span_from(const struct span_tree *tree, uint64_t addr);

/** span_last - the last of all. */
struct span *span_last(const struct span_tree *tree);

/** span_at - the one that holds @addr, or NULL. */
static inline struct span *span_at(const struct span_tree *tree, uint64_t addr)
{
	struct span *span = span_from(tree, addr);

	return span && span->start <= addr ? span : NULL;
}

/** span_in - the first that overlaps [@start, @end), or NULL. */
static inline struct span *span_in(const struct span_tree *tree, uint64_t start, uint64_t end)
{
	struct span *span = start < end ? span_from(tree, start) : NULL;

	return span && span->start < end ? span : NULL;
}

/** span_next - the one after @span. */
static inline struct span *span_next(const struct span_tree *tree, const struct span *span)
{
	return span_from(tree, span->end);
}

#endif
