/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * lib_model_cached.c - the operations on files that are open in a mode, with the requests that the
 * kernel's page cache sends while it is the cached one: fills, writes through the cache, writebacks.
 * One thread alone, so nothing is ever parked; what the gates do among several is for others to test.
 */
#include "model_run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "file.h"
#include "gate.h"
#include "holder.h"
#include "mode.h"

#define FROZEN (DINODE_IMMUTABLE | DINODE_APPEND)

static uint64_t pages_for(uint64_t bytes)
{
	return (bytes + MPAGE_BYTES - 1) / MPAGE_BYTES;
}

/* modeopen NODE UNCACHED */
static bool choose_modeopen(struct run *run, uint64_t *rng, uint64_t *a)
{
	const struct mnode *node = pick_node(run, rng, A_FILE);

	if (!node || !free_handle(run))
		return false;
	a[0] = node->id;
	a[1] = one_in(rng, 4);
	return true;
}

static void apply_modeopen(struct run *run, const uint64_t *a)
{
	struct mnode *node = model_node(&run->m, a[0]);
	struct handle *handle = free_handle(run);
	struct inode *inode = handle ? inode_of(run, node) : NULL;
	unsigned flags = a[1] ? MODE_WANT_UNCACHED : 0;
	enum file_mode mode = MODE_NONE;
	struct waiter waiter = { NULL };
	uint64_t before = notified;
	int err;

	if (!inode)
		return;
	err = mode_open(inode, flags, &waiter, &mode);
	if (err == -EALREADY)
		mode_enter(inode);
	else if (err)
		wrong(run, "open: %s", strerror(-err));
	if (notified != before + (err == -EALREADY))
		wrong(run, "open: the kernel was told %u times", (unsigned)(notified - before));
	if (!node->opens++)
		node->mode = a[1] ? MODE_UNCACHED : MODE_CACHED;
	if (mode != node->mode || mode_of(inode) != node->mode)
		wrong(run, "open: mode %d, should be %u", mode, node->mode);
	node->handles++;
	*handle = (struct handle){ node, inode, true };
}

static struct mnode *pick_cached(struct run *run, uint64_t *rng)
{
	for (unsigned i = 0; i < MAX_HANDLES; i++) {
		struct mnode *node = run->handles[below(rng, MAX_HANDLES)].node;

		if (node && node->mode == MODE_CACHED)
			return node;
	}
	return NULL;
}

/* Whole pages, as the kernel's cache has them, within what the file has or nearly so. */
static bool choose_pages(struct run *run, uint64_t *rng, uint64_t *a)
{
	const struct mnode *node = pick_cached(run, rng);
	uint64_t pages;

	if (!node)
		return false;
	pages = pages_for(node->file.size);
	a[0] = node->id;
	a[1] = below(rng, (pages < 40 || one_in(rng, 8) ? pages : 40) + 1) * MPAGE_BYTES;
	a[2] = (1 + below(rng, one_in(rng, 4) ? 16 : 3)) * MPAGE_BYTES;
	if (a[2] > run->setup->max_len)
		a[2] = MPAGE_BYTES;
	return true;
}

static bool admit(struct run *run, struct inode *inode, struct admission *adm)
{
	int err = adm->kind == ADMIT_FILL ? 0 : gate_announce(inode, adm);

	if (!err)
		err = gate_admit(inode, adm);
	if (err)
		wrong(run, "admission: %s", strerror(-err));
	return !err;
}

/* The file of an operation that means something only while it is cached. */
static struct mnode *cached_node(struct run *run, const uint64_t *a)
{
	struct mnode *node = model_node(&run->m, a[0]);

	return node && node->mode == MODE_CACHED && a[2] && a[2] <= run->setup->max_len ? node
											: NULL;
}

/* fill NODE POS LEN */
static void apply_fill(struct run *run, const uint64_t *a)
{
	struct mnode *node = cached_node(run, a);
	struct inode *inode = inode_of(run, node);
	struct admission adm = { .kind = ADMIT_FILL, .pos = a[1], .len = a[2] };
	struct read_plan plan;
	uint64_t at = a[1], where;
	int err;

	if (!inode)
		return;
	if (admit(run, inode, &adm)) {
		err = file_read_begin(inode, a[1], a[2], IO_CACHED, &plan);
		if (err)
			wrong(run, "fill: %s", strerror(-err));
		for (unsigned i = 0; !err && i < plan.npieces; i++) {
			if (!mfile_same(&node->file, at, plan.pieces[i].iov_base,
					plan.pieces[i].iov_len, &where))
				wrong(run, "fill: wrong byte at %llu", (unsigned long long)where);
			at += plan.pieces[i].iov_len;
		}
		if (!err)
			file_read_end(inode, &plan);
		gate_leave(inode, &adm, err);
		mnode_keep(node, a[1] / MPAGE_BYTES, (a[1] + a[2]) / MPAGE_BYTES);
	}
	inode_put(inode);
}

static void content(unsigned char *buf, uint64_t len, uint64_t id)
{
	for (uint64_t i = 0; i < len; i++)
		buf[i] = (unsigned char)(id * 13 + i / 16 + 1);
}

/* cwrite NODE POS LEN: write(2) through the cache */
static bool choose_cwrite(struct run *run, uint64_t *rng, uint64_t *a)
{
	if (!choose_pages(run, rng, a))
		return false;
	a[1] += below(rng, MPAGE_BYTES);
	a[2] -= below(rng, MPAGE_BYTES);
	return true;
}

static void apply_cwrite(struct run *run, const uint64_t *a)
{
	struct mnode *node = cached_node(run, a);
	struct inode *inode = inode_of(run, node);
	struct admission adm = { .kind = ADMIT_WRITE, .pos = a[1], .len = a[2] };
	struct verdict v = { .n = 0 };
	int64_t result;

	if (!inode)
		return;
	if (admit(run, inode, &adm)) {
		content(run->buf, a[2], run->op->id);
		forbid(&v, node->flags & FROZEN, EPERM);
		forbid(&v, a[1] >= MFILE_MAX, EFBIG);
		result = file_write(inode, a[1], run->buf, a[2], IO_CACHED);
		gate_leave(inode, &adm, result < 0 ? (int)result : 0);
		if (result >= 0)
			mnode_keep(node, a[1] / MPAGE_BYTES, pages_for(a[1] + a[2]));
		if (judge(run, &v, result, a[2] / MPAGE_BYTES + 20)) {
			mfile_write(&node->file, a[1], run->buf, (uint64_t)result);
			touched(run, node, TOUCH_MTIME | TOUCH_CTIME);
		}
		touched_range(run, node, 0, a[1], a[2]);
	}
	inode_put(inode);
}

/* What a writeback of whole pages changes: nothing behind EOF, nothing of what is discarded. */
static bool write_back_in_model(struct mnode *node, uint64_t pos, const unsigned char *buf,
				uint64_t len)
{
	uint64_t size = node->file.size;
	bool any = false;

	for (uint64_t at = pos; at < pos + len && at < size; at += MPAGE_BYTES) {
		uint64_t n = size - at < MPAGE_BYTES ? size - at : MPAGE_BYTES;

		if (mnode_discards(node, at / MPAGE_BYTES))
			continue;
		mfile_write(&node->file, at, buf + (at - pos), n);
		any = true;
	}
	return any;
}

/* wback NODE POS LEN */
static void apply_wback(struct run *run, const uint64_t *a)
{
	struct mnode *node = cached_node(run, a);
	struct inode *inode = inode_of(run, node);
	struct admission adm = { .kind = ADMIT_WRITEBACK, .pos = a[1], .len = a[2] };
	struct verdict v = { .n = 0 };
	struct mfile before;
	int64_t result;

	if (!inode)
		return;
	mfile_clone(&node->file, &before);
	if (a[1] % MPAGE_BYTES == 0 && a[2] % MPAGE_BYTES == 0 && admit(run, inode, &adm)) {
		content(run->buf, a[2], run->op->id);
		result = file_write(inode, a[1], run->buf, a[2], IO_CACHED | IO_WRITEBACK);
		gate_leave(inode, &adm, result < 0 ? (int)result : 0);
		if (write_back_in_model(node, a[1], run->buf, a[2]) && result == (int64_t)a[2])
			touched(run, node, TOUCH_MTIME | TOUCH_CTIME);
		/* Without room a part of it may be written: the kernel keeps the rest, and says so. */
		if (!judge(run, &v, result, a[2] / MPAGE_BYTES + 20))
			take_part(run, node, &before);
		touched_range(run, node, 0, a[1], a[2]);
	}
	mfile_clear(&before);
	inode_put(inode);
}

const struct op_kind cached_ops[] = {
	{ "modeopen", 2, 1, 6, NOT_CUT, choose_modeopen, apply_modeopen },
	{ "fill", 3, 1, 12, NOT_CUT, choose_pages, apply_fill },
	{ "cwrite", 3, 1, 12, NOT_CUT, choose_cwrite, apply_cwrite },
	{ "wback", 3, 1, 16, NOT_CUT, choose_pages, apply_wback },
	{ 0 },
};
