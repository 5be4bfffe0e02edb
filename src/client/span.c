/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * span.c - a treap: a search tree by address that is a heap by a random priority, so that it stays
 * shallow whatever the order of insertion.
 */
#include "span.h"

#include <assert.h>
#include <stddef.h>

static uint32_t next_random(struct span_tree *tree)
{
	uint32_t x = tree->seed ? tree->seed : 2463534242u;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return tree->seed = x;
}

/* What ends at or before @addr goes left. */
static void split(struct span *node, uint64_t addr, struct span **left, struct span **right)
{
	while (node) {
		if (node->end <= addr) {
			*left = node;
			left = &node->right;
			node = node->right;
		} else {
			*right = node;
			right = &node->left;
			node = node->left;
		}
	}
	*left = *right = NULL;
}

static struct span *merge(struct span *left, struct span *right)
{
	struct span *root = NULL, **at = &root;

	while (left && right) {
		if (left->priority > right->priority) {
			*at = left;
			at = &left->right;
			left = left->right;
		} else {
			*at = right;
			at = &right->left;
			right = right->left;
		}
	}
	*at = left ? left : right;
	return root;
}

void span_insert(struct span_tree *tree, struct span *node)
{
	struct span **at = &tree->root;

	assert(node->start < node->end);
	assert(!span_in(tree, node->start, node->end));
	node->priority = next_random(tree);
	while (*at && (*at)->priority >= node->priority)
		at = node->start < (*at)->start ? &(*at)->left : &(*at)->right;
	split(*at, node->start, &node->left, &node->right);
	*at = node;
	tree->count++;
}

void span_remove(struct span_tree *tree, struct span *node)
{
	struct span **at = &tree->root;

	while (*at && *at != node)
		at = node->start < (*at)->start ? &(*at)->left : &(*at)->right;
	assert(*at == node);
	*at = merge(node->left, node->right);
	tree->count--;
}

struct span *span_from(const struct span_tree *tree, uint64_t addr)
{
	struct span *best = NULL;

	for (struct span *node = tree->root; node;) {
		if (node->end > addr) {
			best = node;
			node = node->left;
		} else {
			node = node->right;
		}
	}
	return best;
}

struct span *span_last(const struct span_tree *tree)
{
	struct span *node = tree->root;

	while (node && node->right)
		node = node->right;
	return node;
}
