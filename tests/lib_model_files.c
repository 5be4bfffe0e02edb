/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * lib_model_files.c - the operations on the content and the layout of files, as the model test does
 * them: what is chosen, which errors are justified, what then is true in the model.
 */
#include "model_run.h"

#include <errno.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/stat.h>

#include "alloc.h"
#include "file.h"
#include "holder.h"
#include "layout.h"
#include "volume.h"

#define FROZEN (DINODE_IMMUTABLE | DINODE_APPEND)

static const struct layout_ctx waits = { .may_wait = true };

static uint64_t min_of(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Blocks of data, and of the tree, that a change of so many bytes may need. */
static uint64_t blocks_for(uint64_t bytes)
{
	uint64_t n = bytes / BLOCK_BYTES + 2;

	return n + n / 64 + 16;
}

/* ---- choosing ------------------------------------------------------------------------------------ */

static struct mnode *pick_file(const struct run *run, uint64_t *rng)
{
	return pick_node(run, rng, one_in(rng, 100) ? ANY : A_FILE);
}

/* Near the end, at the beginning, anywhere in it, far out. */
static uint64_t pick_pos(const struct mnode *node, uint64_t *rng)
{
	uint64_t size = node->file.size, pos;

	switch (below(rng, 8)) {
	case 0:
		pos = size + below(rng, 3 * MPAGE_BYTES);
		break;
	case 1:
		pos = size - min_of(size, below(rng, 3 * MPAGE_BYTES));
		break;
	case 2: /* behind the first 2 MiB, or near the last possible byte */
		pos = one_in(rng, 6) ? MFILE_MAX - below(rng, 3 * MPAGE_BYTES)
				     : (UINT64_C(1) << (12 + below(rng, 33))) + below(rng, 65536);
		break;
	case 3:
		pos = below(rng, size + 1);
		break;
	default:
		pos = below(rng, min_of(size + MPAGE_BYTES, 128 * 1024));
		break;
	}
	if (one_in(rng, 3))
		pos -= pos % MPAGE_BYTES;
	return pos;
}

static uint64_t pick_len(uint64_t *rng, uint64_t max)
{
	uint64_t len = one_in(rng, 16) ? max : one_in(rng, 3) ? 65536 : 6000;

	len = 1 + below(rng, min_of(len, max));
	if (len > MPAGE_BYTES && one_in(rng, 3))
		len -= len % MPAGE_BYTES;
	return one_in(rng, 300) ? 0 : len;
}

static bool choose_range(struct run *run, uint64_t *rng, uint64_t *a, uint64_t max)
{
	const struct mnode *node = pick_file(run, rng);

	if (!node)
		return false;
	a[0] = node->id;
	a[1] = pick_pos(node, rng);
	a[2] = pick_len(rng, max);
	return true;
}

/* Content that tells where and by whom it was written; never a page of zeroes. */
static void fill(unsigned char *buf, uint64_t len, uint64_t id)
{
	uint64_t word = id * UINT64_C(0x9e3779b97f4a7c15) | 1;

	for (uint64_t at = 0; at < len; at += sizeof(word)) {
		memcpy(buf + at, &word, min_of(sizeof(word), len - at));
		word += UINT64_C(0x0101010101010101);
	}
}

/* ---- errors that many have in common ---------------------------------------------------------------- */

static void forbid_type(struct verdict *v, const struct mnode *node)
{
	forbid(v, S_ISDIR(node->type), EISDIR);
	forbid(v, !S_ISDIR(node->type) && !S_ISREG(node->type), EINVAL);
}

static void kill_priv(struct mnode *node)
{
	node->perm &= ~(mode_t)S_ISUID;
	if (node->perm & S_IXGRP)
		node->perm &= ~(mode_t)S_ISGID;
}

/* ---- reading, writing ----------------------------------------------------------------------------------- */

/* write NODE POS LEN FLAGS */
static bool choose_write(struct run *run, uint64_t *rng, uint64_t *a)
{
	if (!choose_range(run, rng, a, run->setup->max_len))
		return false;
	a[3] = (one_in(rng, 6) ? IO_APPEND : 0) | (one_in(rng, 8) ? IO_KILL_PRIV : 0);
	return true;
}

/*
 * What a write or copy of @len bytes, of which @is were done, makes of the model. Less than all is
 * all right where there was no room for the rest.
 */
static void written(struct run *run, struct mnode *node, uint64_t pos, uint64_t len, int64_t is,
		    bool kill)
{
	if (is > (int64_t)len || is <= 0) {
		wrong(run, "%lld bytes were written of %llu", (long long)is,
		      (unsigned long long)len);
		return;
	}
	if (is < (int64_t)len) {
		run->shorts++;
		if (run->nfree > blocks_for(len) && !run->joined)
			wrong(run, "%lld bytes of %llu were written, and %llu blocks were free",
			      (long long)is, (unsigned long long)len,
			      (unsigned long long)run->nfree);
	}
	mfile_write(&node->file, pos, run->buf, (uint64_t)is);
	if (kill)
		kill_priv(node);
	touched_range(run, node, TOUCH_MTIME | TOUCH_CTIME, pos, len);
}

static void apply_write(struct run *run, const uint64_t *a)
{
	struct mnode *node = model_node(&run->m, a[0]);
	struct inode *inode = inode_of(run, node);
	bool append = a[3] & IO_APPEND, kill = a[3] & IO_KILL_PRIV;
	struct verdict v = { .n = 0 };
	uint64_t pos, len;
	int64_t result;

	if (!inode || a[2] > run->setup->max_len)
		return;
	pos = append ? node->file.size : a[1];
	len = min_of(a[2], MFILE_MAX - min_of(pos, MFILE_MAX));
	forbid_type(&v, node);
	if (a[2]) {
		forbid(&v, node->flags & DINODE_IMMUTABLE, EPERM);
		forbid(&v, node->flags & DINODE_APPEND && !append, EPERM);
		forbid(&v, pos >= MFILE_MAX, EFBIG);
	}
	fill(run->buf, len, run->op->id);
	result = file_write(inode, a[1], run->buf, a[2], (unsigned)a[3]);
	if (judge(run, &v, result, blocks_for(len)) && len)
		written(run, node, pos, len, result, kill);
	touched_range(run, node, 0, pos, len);
	inode_put(inode);
}

/* comb NODE POS COUNT STRIDE HOW: single blocks, COUNT of them, each STRIDE behind the last */
static bool choose_comb(struct run *run, uint64_t *rng, uint64_t *a)
{
	const struct mnode *node = pick_node(run, rng, A_FILE);

	if (!node)
		return false;
	a[0] = node->id;
	a[1] = one_in(rng, 2) ? 0 : pick_pos(node, rng);
	a[2] = 1 + below(rng, one_in(rng, 8) ? run->setup->bytes / (3 * BLOCK_BYTES) : 60);
	a[3] = (1 + below(rng, 3)) * BLOCK_BYTES;
	a[4] = one_in(rng, 3);
	if (a[4] && a[2] > 400)
		a[2] = 400;
	return true;
}

/* One block of it; false: it was not done. */
static bool comb_one(struct run *run, struct mnode *node, struct inode *inode, uint64_t pos,
		     bool data)
{
	uint64_t len = data ? 100 : MPAGE_BYTES - pos % MPAGE_BYTES;
	struct verdict v = { .n = 0 };
	int64_t result;

	forbid_type(&v, node);
	forbid(&v, node->flags & DINODE_IMMUTABLE, EPERM);
	forbid(&v, data && node->flags & DINODE_APPEND, EPERM);
	forbid(&v, pos + len > MFILE_MAX, EFBIG);
	if (pos + len > MFILE_MAX)
		return false;
	fill(run->buf, len, pos);
	run->nfree = alloc_nfree(run->vol);
	result = data ? file_write(inode, pos, run->buf, len, 0)
		      : layout_fallocate(inode, FALLOC_FL_KEEP_SIZE, pos, len, &waits);
	if (!judge(run, &v, result, blocks_for(len)))
		return false;
	if (data)
		written(run, node, pos, len, result, false);
	mfile_allocated(&node->file, pos + len);
	touched(run, node, TOUCH_MTIME | TOUCH_CTIME);
	return true;
}

static void apply_comb(struct run *run, const uint64_t *a)
{
	struct mnode *node = model_node(&run->m, a[0]);
	struct inode *inode = inode_of(run, node);

	if (!inode)
		return;
	for (uint64_t i = 0; i < a[2]; i++)
		if (!comb_one(run, node, inode, a[1] + i * a[3], a[4]))
			break;
	touched_range(run, node, 0, a[1], a[2] * a[3]);
	inode_put(inode);
}

/* read NODE POS LEN */
static bool choose_read(struct run *run, uint64_t *rng, uint64_t *a)
{
	return choose_range(run, rng, a, 1024 * 1024);
}

static void apply_read(struct run *run, const uint64_t *a)
{
	struct mnode *node = model_node(&run->m, a[0]);
	struct inode *inode = inode_of(run, node);
	struct verdict v = { .n = 0 };
	struct read_plan plan;

	if (!inode)
		return;
	forbid_type(&v, node);
	if (judge(run, &v, file_read_begin(inode, a[1], a[2], IO_UNCACHED, &plan), NEVER_FULL)) {
		file_read_end(inode, &plan);
		check_read(run, node, inode, a[1], a[2]);
		check_seek(run, node, inode, a[1]);
	}
	inode_put(inode);
}

/* copy NODE POS LEN NODE POS FLAGS */
static bool choose_copy(struct run *run, uint64_t *rng, uint64_t *a)
{
	const struct mnode *to = pick_file(run, rng);

	if (!to || !choose_range(run, rng, a, run->setup->max_len))
		return false;
	if (one_in(rng, 3))
		a[1] -= a[1] % MPAGE_BYTES;
	a[3] = to->id;
	a[4] = pick_pos(to, rng);
	a[5] = one_in(rng, 8) ? IO_KILL_PRIV : 0;
	return true;
}

static void apply_copy(struct run *run, const uint64_t *a)
{
	struct mnode *in = model_node(&run->m, a[0]), *out = model_node(&run->m, a[3]);
	struct inode *from = inode_of(run, in), *to = from ? inode_of(run, out) : NULL;
	uint64_t len, in_pos = a[1], out_pos = a[4];
	struct verdict v = { .n = 0 };
	int64_t result;

	if (!to || a[2] > run->setup->max_len)
		goto out;
	len = in_pos < in->file.size ? min_of(a[2], in->file.size - in_pos) : 0;
	forbid_type(&v, in);
	forbid_type(&v, out);
	forbid(&v, in == out && in_pos < out_pos + a[2] && out_pos < in_pos + a[2], EINVAL);
	if (len) {
		forbid(&v, out->flags & FROZEN, EPERM);
		forbid(&v, out_pos >= MFILE_MAX, EFBIG);
		len = min_of(len, MFILE_MAX - min_of(out_pos, MFILE_MAX));
		mfile_read(&in->file, in_pos, run->buf, len);
	}
	result = file_copy(from, in_pos, to, out_pos, a[2], (unsigned)a[5]);
	if (judge(run, &v, result, blocks_for(len)) && len)
		written(run, out, out_pos, len, result, a[5] & IO_KILL_PRIV);
	touched_range(run, in, 0, in_pos, len);
	touched_range(run, out, 0, out_pos, len);
out:
	if (to)
		inode_put(to);
	if (from)
		inode_put(from);
}

/* ---- layout ------------------------------------------------------------------------------------------------ */

/* truncate NODE SIZE KILL */
static bool choose_truncate(struct run *run, uint64_t *rng, uint64_t *a)
{
	const struct mnode *node = pick_file(run, rng);

	if (!node)
		return false;
	a[0] = node->id;
	a[1] = one_in(rng, 12) ? 0 : pick_pos(node, rng);
	if (one_in(rng, 100))
		a[1] = MFILE_MAX + below(rng, 2);
	a[2] = one_in(rng, 8);
	return true;
}

static void apply_truncate(struct run *run, const uint64_t *a)
{
	struct mnode *node = model_node(&run->m, a[0]);
	struct inode *inode = inode_of(run, node);
	struct layout_ctx ctx = { .may_wait = true, .kill_priv = a[2] };
	struct verdict v = { .n = 0 };

	if (!inode)
		return;
	forbid_type(&v, node);
	forbid(&v, node->flags & FROZEN, EPERM);
	forbid(&v, a[1] > MFILE_MAX, EFBIG);
	if (judge(run, &v, layout_truncate(inode, a[1], &ctx), NEVER_FULL)) {
		mfile_truncate(&node->file, a[1]);
		if (ctx.kill_priv)
			kill_priv(node);
		touched(run, node, TOUCH_MTIME | TOUCH_CTIME);
	}
	touched_range(run, node, 0, a[1], MPAGE_BYTES);
	inode_put(inode);
}

/* Common errors of fallocate(). */
static void forbid_range(struct verdict *v, const struct mnode *node, uint64_t pos, uint64_t len)
{
	forbid_type(v, node);
	forbid(v, !len, EINVAL);
	forbid(v, pos > MFILE_MAX || len > MFILE_MAX - pos, EFBIG);
}

/* fallocate NODE POS LEN MODE */
static bool choose_fallocate(struct run *run, uint64_t *rng, uint64_t *a)
{
	if (!choose_range(run, rng, a, one_in(rng, 10) ? run->setup->bytes / 8 : 256 * 1024))
		return false;
	if (one_in(rng, 50)) /* all there is, or a little more */
		a[2] = alloc_nfree(run->vol) * BLOCK_BYTES + below(rng, 3 * BLOCK_BYTES);
	a[3] = one_in(rng, 3) ? FALLOC_FL_KEEP_SIZE : 0;
	return true;
}

static void apply_fallocate(struct run *run, const uint64_t *a)
{
	struct mnode *node = model_node(&run->m, a[0]);
	struct inode *inode = inode_of(run, node);
	struct verdict v = { .n = 0 };
	uint64_t end = a[1] + a[2];

	if (!inode)
		return;
	forbid_range(&v, node, a[1], a[2]);
	forbid(&v, node->flags & DINODE_IMMUTABLE, EPERM);
	if (judge(run, &v, layout_fallocate(inode, (int)a[3], a[1], a[2], &waits),
		  blocks_for(a[2]))) {
		if (!a[3] && end > node->file.size)
			node->file.size = end;
		touched(run, node, TOUCH_MTIME | TOUCH_CTIME);
	}
	if (S_ISREG(node->type) && end <= MFILE_MAX) /* also when it stopped half-way */
		mfile_allocated(&node->file, end);
	touched_range(run, node, 0, a[1], a[2]);
	inode_put(inode);
}

/* zero NODE POS LEN MODE: punch, or zero range */
static bool choose_zero(struct run *run, uint64_t *rng, uint64_t *a)
{
	if (!choose_range(run, rng, a, one_in(rng, 4) ? MFILE_MAX : 256 * 1024))
		return false;
	a[3] = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	if (one_in(rng, 2) && a[2] <= 1024 * 1024)
		a[3] = FALLOC_FL_ZERO_RANGE | (one_in(rng, 2) ? FALLOC_FL_KEEP_SIZE : 0);
	return true;
}

static void apply_zero(struct run *run, const uint64_t *a)
{
	struct mnode *node = model_node(&run->m, a[0]);
	struct inode *inode = inode_of(run, node);
	bool punch = a[3] & FALLOC_FL_PUNCH_HOLE;
	struct verdict v = { .n = 0 };
	uint64_t end = a[1] + a[2];

	if (!inode)
		return;
	forbid_range(&v, node, a[1], a[2]);
	forbid(&v, node->flags & FROZEN, EPERM);
	if (judge(run, &v, layout_fallocate(inode, (int)a[3], a[1], a[2], &waits),
		  punch ? 0 : blocks_for(a[2]))) {
		mfile_zero(&node->file, a[1], a[2]);
		if (node->mode == MODE_CACHED)
			mnode_discard(node, (a[1] + MPAGE_BYTES - 1) / MPAGE_BYTES,
				      end / MPAGE_BYTES);
		if (!(a[3] & FALLOC_FL_KEEP_SIZE) && end > node->file.size)
			node->file.size = end;
		touched(run, node, TOUCH_MTIME | TOUCH_CTIME);
	}
	if (S_ISREG(node->type) && !punch && end <= MFILE_MAX)
		mfile_allocated(&node->file, end);
	touched_range(run, node, 0, a[1], a[2]);
	inode_put(inode);
}

/* shift NODE POS LEN MODE: collapse, or insert */
static bool choose_shift(struct run *run, uint64_t *rng, uint64_t *a)
{
	if (!choose_range(run, rng, a, one_in(rng, 10) ? MFILE_MAX : 128 * 1024))
		return false;
	if (!one_in(rng, 16)) {
		a[1] -= a[1] % MPAGE_BYTES;
		a[2] += MPAGE_BYTES - 1 - (a[2] + MPAGE_BYTES - 1) % MPAGE_BYTES;
	}
	a[3] = one_in(rng, 2) ? FALLOC_FL_COLLAPSE_RANGE : FALLOC_FL_INSERT_RANGE;
	return true;
}

static void forbid_shift(struct verdict *v, const struct mnode *node, uint64_t pos, uint64_t len,
			 bool collapse)
{
	const struct mfile *f = &node->file;

	forbid_range(v, node, pos, len);
	forbid(v, node->flags & FROZEN, EPERM);
	forbid(v, pos % MPAGE_BYTES || len % MPAGE_BYTES, EINVAL);
	forbid(v, collapse ? pos + len >= f->size : pos >= f->size, EINVAL);
	forbid(v, !collapse && f->size + len > MFILE_MAX, EFBIG);
}

static void apply_shift(struct run *run, const uint64_t *a)
{
	struct mnode *node = model_node(&run->m, a[0]);
	struct inode *inode = inode_of(run, node);
	bool collapse = a[3] == FALLOC_FL_COLLAPSE_RANGE;
	struct verdict v = { .n = 0 };
	int err;

	if (!inode)
		return;
	forbid_shift(&v, node, a[1], a[2], collapse);
	forbid(&v, node->mode == MODE_CACHED, EBUSY);
	err = layout_fallocate(inode, (int)a[3], a[1], a[2], &waits);
	/* What was allocated behind EOF has to stay below the limit too. */
	forbid(&v,
	       !collapse && err == -EFBIG &&
		       node->file.allocated + a[2] / MPAGE_BYTES > MFILE_MAX / MPAGE_BYTES,
	       EFBIG);
	if (judge(run, &v, err, 16)) {
		if (collapse)
			mfile_collapse(&node->file, a[1], a[2]);
		else
			mfile_insert(&node->file, a[1], a[2]);
		touched(run, node, TOUCH_MTIME | TOUCH_CTIME);
	}
	touched_range(run, node, 0, a[1], a[2]);
	inode_put(inode);
}

/* exchange NODE POS LEN NODE POS */
static bool choose_exchange(struct run *run, uint64_t *rng, uint64_t *a)
{
	const struct mnode *a_node = pick_file(run, rng), *b_node = pick_file(run, rng);
	uint64_t a_size, b_size;

	if (!a_node || !b_node)
		return false;
	a_size = a_node->file.size;
	b_size = b_node->file.size;
	a[0] = a_node->id;
	a[1] = below(rng, a_size + 1);
	a[3] = b_node->id;
	a[4] = below(rng, b_size + 1);
	if (!one_in(rng, 20)) {
		a[1] -= a[1] % MPAGE_BYTES;
		a[4] -= a[4] % MPAGE_BYTES;
	}
	a[2] = below(rng, min_of(a_size - a[1], b_size - a[4]) + 1);
	if (!one_in(rng, 8))
		a[2] -= a[2] % MPAGE_BYTES;
	if (one_in(rng, 4)) /* to the end of one, and perhaps of both */
		a[2] = a_size - a[1];
	return true;
}

static bool exchangeable(const struct mnode *node, uint64_t pos, uint64_t len)
{
	uint64_t size = node->file.size;

	return pos <= size && len <= size - pos && (len % MPAGE_BYTES == 0 || pos + len == size);
}

static void apply_exchange(struct run *run, const uint64_t *a)
{
	struct mnode *x = model_node(&run->m, a[0]), *y = model_node(&run->m, a[3]);
	struct inode *xi = inode_of(run, x), *yi = xi ? inode_of(run, y) : NULL;
	struct verdict v = { .n = 0 };

	if (!yi)
		goto out;
	forbid_type(&v, x);
	forbid_type(&v, y);
	forbid(&v, (x->flags | y->flags) & FROZEN, EPERM);
	forbid(&v, x->mode == MODE_CACHED || y->mode == MODE_CACHED, EBUSY);
	forbid(&v, x == y || !a[2] || a[1] % MPAGE_BYTES || a[4] % MPAGE_BYTES, EINVAL);
	forbid(&v, !exchangeable(x, a[1], a[2]) || !exchangeable(y, a[4], a[2]), EINVAL);
	if (judge(run, &v, layout_exchange(xi, a[1], yi, a[4], a[2], &waits), 32)) {
		mfile_exchange(&x->file, a[1], &y->file, a[4], a[2]);
		touched(run, x, TOUCH_MTIME | TOUCH_CTIME);
		touched(run, y, TOUCH_MTIME | TOUCH_CTIME);
	}
	touched_range(run, x, 0, a[1], a[2]);
	touched_range(run, y, 0, a[4], a[2]);
out:
	if (yi)
		inode_put(yi);
	if (xi)
		inode_put(xi);
}

/* badfall NODE POS LEN MODE: modes that do not exist */
static bool choose_badfall(struct run *run, uint64_t *rng, uint64_t *a)
{
	static const int modes[] = { FALLOC_FL_PUNCH_HOLE, FALLOC_FL_UNSHARE_RANGE,
				     FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_INSERT_RANGE | FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_ZERO_RANGE | FALLOC_FL_PUNCH_HOLE };

	if (!choose_range(run, rng, a, 65536))
		return false;
	a[3] = (uint64_t)modes[below(rng, sizeof(modes) / sizeof(modes[0]))];
	return true;
}

static void apply_badfall(struct run *run, const uint64_t *a)
{
	struct mnode *node = model_node(&run->m, a[0]);
	struct inode *inode = inode_of(run, node);
	bool shift = a[3] & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE);
	struct verdict v = { .n = 0 };

	if (!inode)
		return;
	forbid_range(&v, node, a[1], a[2]);
	forbid(&v, node->flags & FROZEN, EPERM);
	forbid(&v, true, shift ? EINVAL : EOPNOTSUPP);
	judge(run, &v, layout_fallocate(inode, (int)a[3], a[1], a[2], &waits), NEVER_FULL);
	touched(run, node, 0);
	inode_put(inode);
}

const struct op_kind file_ops[] = {
	{ "write", 4, 1, 110, GRADUAL, choose_write, apply_write },
	{ "read", 3, 1, 20, NOT_CUT, choose_read, apply_read },
	{ "comb", 5, 1, 8, NOT_CUT, choose_comb, apply_comb },
	{ "copy", 6, 9, 20, GRADUAL, choose_copy, apply_copy },
	{ "truncate", 3, 1, 40, ATOMIC, choose_truncate, apply_truncate },
	{ "fallocate", 4, 1, 25, ATOMIC, choose_fallocate, apply_fallocate },
	{ "zero", 4, 1, 50, ATOMIC, choose_zero, apply_zero },
	{ "shift", 4, 1, 35, ATOMIC, choose_shift, apply_shift },
	{ "exchange", 5, 9, 20, ATOMIC, choose_exchange, apply_exchange },
	{ "badfall", 4, 1, 1, ATOMIC, choose_badfall, apply_badfall },
	{ 0 },
};
