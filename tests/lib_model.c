/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * lib_model.c - the plain model of a filesystem; see model.h. Out of memory it aborts.
 */
#include "model.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

static void *copy_of(const void *bytes, size_t len)
{
	void *copy = must(malloc(len + 1));

	memcpy(copy, bytes, len);
	return copy;
}

static uint64_t min_of(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* ---- pages ------------------------------------------------------------------------------------ */

/* Where page @index is, or would be. */
static size_t page_place(const struct mfile *f, uint64_t index)
{
	size_t low = 0, high = f->npages;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (f->pages[mid].index < index)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static unsigned char *page_find(const struct mfile *f, uint64_t index)
{
	size_t at = page_place(f, index);

	return at < f->npages && f->pages[at].index == index ? f->pages[at].bytes : NULL;
}

static void page_insert(struct mfile *f, uint64_t index, unsigned char *bytes)
{
	size_t at = page_place(f, index);

	if (f->npages == f->room) {
		f->room = f->room ? 2 * f->room : 8;
		f->pages = must(realloc(f->pages, f->room * sizeof(f->pages[0])));
	}
	memmove(&f->pages[at + 1], &f->pages[at], (f->npages - at) * sizeof(f->pages[0]));
	f->pages[at] = (struct mpage){ index, bytes };
	f->npages++;
}

static unsigned char *page_make(struct mfile *f, uint64_t index)
{
	unsigned char *bytes = page_find(f, index);

	if (!bytes) {
		bytes = must(calloc(1, MPAGE_BYTES));
		page_insert(f, index, bytes);
	}
	return bytes;
}

/* Pages [@first, @end) go. */
static void pages_drop(struct mfile *f, uint64_t first, uint64_t end)
{
	size_t from = page_place(f, first), to = page_place(f, end);

	for (size_t i = from; i < to; i++)
		free(f->pages[i].bytes);
	if (to > from)
		memmove(&f->pages[from], &f->pages[to], (f->npages - to) * sizeof(f->pages[0]));
	f->npages -= to - from;
}

/* ---- files ------------------------------------------------------------------------------------ */

void mfile_allocated(struct mfile *f, uint64_t end)
{
	uint64_t pages = (end + MPAGE_BYTES - 1) / MPAGE_BYTES;

	if (pages > f->allocated)
		f->allocated = pages;
}

void mfile_write(struct mfile *f, uint64_t pos, const void *buf, uint64_t len)
{
	const unsigned char *from = buf;
	uint64_t end = pos + len;

	if (end > f->size)
		f->size = end;
	mfile_allocated(f, end);
	while (pos < end) {
		uint64_t in_page = pos % MPAGE_BYTES, n = min_of(end - pos, MPAGE_BYTES - in_page);

		memcpy(page_make(f, pos / MPAGE_BYTES) + in_page, from, n);
		from += n;
		pos += n;
	}
}

void mfile_read(const struct mfile *f, uint64_t pos, void *buf, uint64_t len)
{
	unsigned char *to = buf;
	uint64_t end = pos + len;

	while (pos < end) {
		uint64_t in_page = pos % MPAGE_BYTES, n = min_of(end - pos, MPAGE_BYTES - in_page);
		const unsigned char *bytes = page_find(f, pos / MPAGE_BYTES);

		if (bytes)
			memcpy(to, bytes + in_page, n);
		else
			memset(to, 0, n);
		to += n;
		pos += n;
	}
}

/* Zero a range inside one page. */
static void zero_in_page(struct mfile *f, uint64_t pos, uint64_t end)
{
	unsigned char *bytes = page_find(f, pos / MPAGE_BYTES);

	if (bytes)
		memset(bytes + pos % MPAGE_BYTES, 0, end - pos);
}

void mfile_zero(struct mfile *f, uint64_t pos, uint64_t len)
{
	uint64_t end = pos + len;
	uint64_t first = (pos + MPAGE_BYTES - 1) / MPAGE_BYTES, last = end / MPAGE_BYTES;

	if (first > last) { /* inside one page */
		zero_in_page(f, pos, end);
		return;
	}
	if (pos < first * MPAGE_BYTES)
		zero_in_page(f, pos, first * MPAGE_BYTES);
	if (end > last * MPAGE_BYTES)
		zero_in_page(f, last * MPAGE_BYTES, end);
	pages_drop(f, first, last);
}

void mfile_truncate(struct mfile *f, uint64_t size)
{
	uint64_t pages = (size + MPAGE_BYTES - 1) / MPAGE_BYTES;

	if (size % MPAGE_BYTES)
		zero_in_page(f, size, pages * MPAGE_BYTES);
	pages_drop(f, pages, UINT64_MAX);
	f->size = size;
	f->allocated = min_of(f->allocated, pages);
}

void mfile_collapse(struct mfile *f, uint64_t pos, uint64_t len)
{
	pages_drop(f, pos / MPAGE_BYTES, (pos + len) / MPAGE_BYTES);
	for (size_t i = page_place(f, pos / MPAGE_BYTES); i < f->npages; i++)
		f->pages[i].index -= len / MPAGE_BYTES;
	f->size -= len;
}

void mfile_insert(struct mfile *f, uint64_t pos, uint64_t len)
{
	for (size_t i = page_place(f, pos / MPAGE_BYTES); i < f->npages; i++)
		f->pages[i].index += len / MPAGE_BYTES;
	f->size += len;
	f->allocated += len / MPAGE_BYTES;
}

/* Move the pages of a range out of @f into @to, as if it began at page 0. */
static void pages_take(struct mfile *f, uint64_t first, uint64_t count, struct mfile *to)
{
	size_t from = page_place(f, first), end = page_place(f, first + count);

	for (size_t i = from; i < end; i++)
		page_insert(to, f->pages[i].index - first, f->pages[i].bytes);
	if (end > from)
		memmove(&f->pages[from], &f->pages[end], (f->npages - end) * sizeof(f->pages[0]));
	f->npages -= end - from;
}

static void pages_give(struct mfile *f, uint64_t first, struct mfile *from)
{
	for (size_t i = 0; i < from->npages; i++)
		page_insert(f, from->pages[i].index + first, from->pages[i].bytes);
	free(from->pages);
}

void mfile_exchange(struct mfile *a, uint64_t a_pos, struct mfile *b, uint64_t b_pos, uint64_t len)
{
	uint64_t count = (len + MPAGE_BYTES - 1) / MPAGE_BYTES;
	struct mfile of_a = { 0 }, of_b = { 0 };

	pages_take(a, a_pos / MPAGE_BYTES, count, &of_a);
	pages_take(b, b_pos / MPAGE_BYTES, count, &of_b);
	pages_give(a, a_pos / MPAGE_BYTES, &of_b);
	pages_give(b, b_pos / MPAGE_BYTES, &of_a);
	mfile_allocated(a, a_pos + len);
	mfile_allocated(b, b_pos + len);
}

void mfile_clone(const struct mfile *f, struct mfile *ret)
{
	*ret = *f;
	ret->room = f->npages;
	ret->pages = must(malloc((f->npages + 1) * sizeof(f->pages[0])));
	for (size_t i = 0; i < f->npages; i++)
		ret->pages[i] = (struct mpage){ f->pages[i].index,
						copy_of(f->pages[i].bytes, MPAGE_BYTES) };
}

void mfile_clear(struct mfile *f)
{
	pages_drop(f, 0, UINT64_MAX);
	free(f->pages);
	*f = (struct mfile){ 0 };
}

uint64_t mfile_data(const struct mfile *f, uint64_t pos)
{
	size_t at = page_place(f, pos / MPAGE_BYTES);
	uint64_t start;

	if (at == f->npages)
		return f->size;
	start = f->pages[at].index * MPAGE_BYTES;
	return min_of(start > pos ? start : pos, f->size);
}

uint64_t mfile_hole(const struct mfile *f, uint64_t pos)
{
	size_t at = page_place(f, pos / MPAGE_BYTES);
	uint64_t index = pos / MPAGE_BYTES;

	for (; at < f->npages && f->pages[at].index == index; at++)
		index++;
	return min_of(index == pos / MPAGE_BYTES ? pos : index * MPAGE_BYTES, f->size);
}

static bool same_zeroes(const unsigned char *buf, uint64_t len)
{
	return !len || (!buf[0] && !memcmp(buf, buf + 1, len - 1));
}

bool mfile_same(const struct mfile *f, uint64_t pos, const void *buf, uint64_t len,
		uint64_t *ret_where)
{
	const unsigned char *is = buf;
	uint64_t end = pos + len;

	while (pos < end) {
		uint64_t in_page = pos % MPAGE_BYTES, n = min_of(end - pos, MPAGE_BYTES - in_page);
		const unsigned char *bytes = page_find(f, pos / MPAGE_BYTES);

		if (bytes ? memcmp(is, bytes + in_page, n) != 0 : !same_zeroes(is, n)) {
			for (uint64_t i = 0; i < n; i++) {
				*ret_where = pos + i;
				if (is[i] != (bytes ? bytes[in_page + i] : 0))
					return false;
			}
		}
		is += n;
		pos += n;
	}
	return true;
}

/* ---- discarded pages ------------------------------------------------------------------------- */

void mnode_keep(struct mnode *node, uint64_t first, uint64_t end)
{
	struct mdiscard **link = &node->discards, *d;

	while ((d = *link)) {
		if (d->end <= first || d->first >= end) {
			link = &d->next;
			continue;
		}
		if (d->first < first) { /* its head stays, as a piece of its own */
			struct mdiscard *head = must(malloc(sizeof(*head)));

			*head = (struct mdiscard){ d, d->first, first };
			*link = head;
			link = &head->next;
		}
		d->first = end;
		if (d->first < d->end) {
			link = &d->next;
			continue;
		}
		*link = d->next;
		free(d);
	}
}

void mnode_discard(struct mnode *node, uint64_t first, uint64_t end)
{
	struct mdiscard *d;

	if (first >= end)
		return;
	mnode_keep(node, first, end);
	d = must(malloc(sizeof(*d)));
	*d = (struct mdiscard){ node->discards, first, end };
	node->discards = d;
}

bool mnode_discards(const struct mnode *node, uint64_t index)
{
	const struct mdiscard *d = node->discards;

	while (d && (index < d->first || index >= d->end))
		d = d->next;
	return d;
}

/* ---- attributes ------------------------------------------------------------------------------- */

struct mxattr *mxattr_find(const struct mnode *node, const char *name)
{
	struct mxattr *x = node->xattrs;

	while (x && strcmp(x->name, name) != 0)
		x = x->next;
	return x;
}

void mxattr_remove(struct mnode *node, const char *name)
{
	struct mxattr **link = &node->xattrs, *x;

	while (*link && strcmp((*link)->name, name) != 0)
		link = &(*link)->next;
	x = *link;
	if (!x)
		return;
	*link = x->next;
	free(x->value);
	free(x);
}

void mxattr_set(struct mnode *node, const char *name, const void *value, size_t len)
{
	struct mxattr *x = must(calloc(1, sizeof(*x)));

	mxattr_remove(node, name);
	assert(strlen(name) < sizeof(x->name));
	memcpy(x->name, name, strlen(name) + 1);
	x->value = must(malloc(len + 1));
	memcpy(x->value, value, len);
	x->len = len;
	x->next = node->xattrs;
	node->xattrs = x;
}

/* ---- directories ------------------------------------------------------------------------------ */

struct mnode *mdir_find(const struct mnode *dir, unsigned name)
{
	for (size_t i = 0; i < dir->nentries; i++)
		if (dir->entries[i].name == name)
			return dir->entries[i].node;
	return NULL;
}

void mdir_enter(struct mnode *dir, unsigned name, struct mnode *node)
{
	if (dir->nentries == dir->room) {
		dir->room = dir->room ? 2 * dir->room : 8;
		dir->entries = must(realloc(dir->entries, dir->room * sizeof(dir->entries[0])));
	}
	dir->entries[dir->nentries++] = (struct mentry){ name, node };
}

void mdir_remove(struct mnode *dir, unsigned name)
{
	for (size_t i = 0; i < dir->nentries; i++) {
		if (dir->entries[i].name != name)
			continue;
		dir->entries[i] = dir->entries[--dir->nentries];
		return;
	}
	abort();
}

bool mdir_is_below(const struct mnode *dir, const struct mnode *top)
{
	for (; dir; dir = dir->parent)
		if (dir == top)
			return true;
	return false;
}

/* ---- nodes ------------------------------------------------------------------------------------ */

static void node_free(struct mnode *node)
{
	while (node->xattrs)
		mxattr_remove(node, node->xattrs->name);
	mnode_keep(node, 0, UINT64_MAX);
	mfile_clear(&node->file);
	free(node->entries);
	free(node->target);
	free(node);
}

struct mnode *model_add(struct model *m, uint64_t id, mode_t type, mode_t perm)
{
	struct mnode *node = must(calloc(1, sizeof(*node)));

	node->id = id;
	node->type = type;
	node->perm = perm;
	if (m->nnodes == m->room) {
		m->room = m->room ? 2 * m->room : 64;
		m->nodes = must(realloc(m->nodes, m->room * sizeof(m->nodes[0])));
	}
	m->nodes[m->nnodes++] = node;
	return node;
}

void model_init(struct model *m, mode_t root_perm, uint32_t uid, uint32_t gid)
{
	struct mnode *root;

	*m = (struct model){ 0 };
	root = model_add(m, 0, S_IFDIR, root_perm);
	root->nlink = 2;
	root->uid = uid;
	root->gid = gid;
}

void model_clear(struct model *m)
{
	for (size_t i = 0; i < m->nnodes; i++)
		node_free(m->nodes[i]);
	free(m->nodes);
	*m = (struct model){ 0 };
}

struct mnode *model_node(const struct model *m, uint64_t id)
{
	for (size_t i = 0; i < m->nnodes; i++)
		if (m->nodes[i]->id == id)
			return m->nodes[i];
	return NULL;
}

void model_settle(struct model *m, struct mnode *node)
{
	if (node->nlink || node->handles)
		return;
	for (size_t i = 0; i < m->nnodes; i++) {
		if (m->nodes[i] != node)
			continue;
		m->nodes[i] = m->nodes[--m->nnodes];
		break;
	}
	node_free(node);
}

/* All but the pointers to other nodes. */
static struct mnode *node_clone(const struct mnode *node)
{
	struct mnode *copy = copy_of(node, sizeof(*node));

	mfile_clone(&node->file, &copy->file);
	if (node->target)
		copy->target = copy_of(node->target, strlen(node->target) + 1);
	if (node->nentries)
		copy->entries = copy_of(node->entries, node->nentries * sizeof(node->entries[0]));
	else
		copy->entries = NULL;
	copy->room = node->nentries;
	copy->discards = NULL; /* nobody has it open in a copy */
	copy->xattrs = NULL;
	for (const struct mxattr *x = node->xattrs; x; x = x->next)
		mxattr_set(copy, x->name, x->value, x->len);
	return copy;
}

void model_clone(const struct model *m, struct model *ret)
{
	struct model copy = { .nnodes = m->nnodes, .room = m->nnodes };

	copy.nodes = must(malloc(m->nnodes * sizeof(copy.nodes[0])));
	for (size_t i = 0; i < m->nnodes; i++)
		copy.nodes[i] = node_clone(m->nodes[i]);
	for (size_t i = 0; i < m->nnodes; i++) {
		struct mnode *node = copy.nodes[i];

		if (node->parent)
			node->parent = model_node(&copy, node->parent->id);
		for (size_t e = 0; e < node->nentries; e++)
			node->entries[e].node = model_node(&copy, node->entries[e].node->id);
	}
	*ret = copy;
}
