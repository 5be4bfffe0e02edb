/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * lib_model_crash.c - an operation that is cut off at one of its fences. What the medium then has is
 * what is durable and any part of the lines that were still pending. After recovery the volume is as
 * before the operation, or as after it, wholly; a write or a copy may be there in part, but each byte
 * is the old one or the new one, and the file has not become longer than it was to be.
 *
 * The operation itself goes on to its end on the live volume, so that the model knows what it does;
 * only then is the image of the crash put in its place.
 */
#include "model_run.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bed.h"
#include "file.h"
#include "region.h"
#include "volume.h"

struct cut {
	struct run *run;
	uint64_t drains;
	unsigned char *image; /* NULL: the operation had fewer fences */
};

/* How much of what is pending reaches the medium: nothing, all, all but one line, or any part. */
static bool reaches(uint64_t *rng, unsigned how, size_t i, size_t lost)
{
	switch (how) {
	case 0:
		return false;
	case 1:
		return true;
	case 2:
		return i != lost;
	default:
		return rng_next(rng) & 1;
	}
}

static void on_drain(void *ctx, struct region *region)
{
	struct cut *cut = ctx;
	uint64_t rng = cut->run->cut_seed, off;
	size_t n = region_record_nr_pending(region), lost = n ? rng_below(&rng, n) : 0;
	unsigned how = (unsigned)rng_below(&rng, 4);
	const struct sync_site *site;

	if (++cut->drains != cut->run->cut_at)
		return;
	cut->image = malloc(region->bytes);
	if (!cut->image)
		abort();
	memcpy(cut->image, region_record_durable(region), region->bytes);
	for (size_t i = 0; region_record_pending(region, i, &off, &site); i++)
		if (reaches(&rng, how, i, lost))
			memcpy(cut->image + off, region_ptr(region, off, CACHELINE_BYTES),
			       CACHELINE_BYTES);
}

/* ---- a write that is there in part -------------------------------------------------------------- */

static void check_mixture(struct run *run, const struct mfile *old, const struct mfile *new,
			  uint64_t pos, const unsigned char *bytes, size_t len)
{
	unsigned char was[MPAGE_BYTES], is_to_be[MPAGE_BYTES];

	for (size_t at = 0; at < len && !failed(run); at++) {
		if ((pos + at) % MPAGE_BYTES == 0 || !at) {
			uint64_t page = (pos + at) / MPAGE_BYTES * MPAGE_BYTES;

			mfile_read(old, page, was, MPAGE_BYTES);
			mfile_read(new, page, is_to_be, MPAGE_BYTES);
		}
		if (bytes[at] != was[(pos + at) % MPAGE_BYTES] &&
		    bytes[at] != is_to_be[(pos + at) % MPAGE_BYTES])
			wrong(run, "done in part: byte %" PRIu64 " is neither old nor new",
			      pos + at);
	}
}

/* Read [@pos, @end) of the core into @ret, comparing. */
static void take_data(struct run *run, struct inode *inode, const struct mfile *old,
		      const struct mfile *new, uint64_t pos, uint64_t end, struct mfile *ret)
{
	while (pos < end && !failed(run)) {
		struct read_plan plan;

		if (file_read_begin(inode, pos, end - pos, IO_UNCACHED, &plan) || !plan.bytes) {
			wrong(run, "done in part: it cannot be read");
			return;
		}
		for (unsigned i = 0; i < plan.npieces; i++) {
			check_mixture(run, old, new, pos, plan.pieces[i].iov_base,
				      plan.pieces[i].iov_len);
			mfile_write(ret, pos, plan.pieces[i].iov_base, plan.pieces[i].iov_len);
			pos += plan.pieces[i].iov_len;
		}
		file_read_end(inode, &plan);
	}
}

void take_part(struct run *run, struct mnode *node, const struct mfile *old)
{
	struct inode *inode = inode_of(run, node);
	struct mfile part = { .allocated = node->file.allocated };
	uint64_t pos = 0, data, hole;
	struct attr attr;

	if (!inode)
		return;
	inode_attr(inode, &attr);
	if (attr.size < old->size || attr.size > node->file.size)
		wrong(run, "done in part: %" PRIu64 " bytes, from %" PRIu64 " to %" PRIu64,
		      attr.size, old->size, node->file.size);
	while (!file_seek(inode, pos, SEEK_DATA, &data) && !failed(run)) {
		if (file_seek(inode, data, SEEK_HOLE, &hole))
			break;
		take_data(run, inode, old, &node->file, data, hole, &part);
		pos = hole;
	}
	part.size = attr.size;
	for (size_t i = 0; i < old->npages && !failed(run); i++)
		if (mfile_data(&part, old->pages[i].index * MPAGE_BYTES) !=
		    old->pages[i].index * MPAGE_BYTES)
			wrong(run, "done in part: an old page is gone");
	mfile_clear(&node->file);
	node->file = part;
	node->perm = attr.mode & 07777;
	node->mtime = attr.mtime;
	node->ctime = attr.ctime;
	inode_put(inode);
}

/* ---- the crash ------------------------------------------------------------------------------------- */

/* Nobody has anything open after a crash. */
static void forget_handles(struct run *run, struct model *before)
{
	for (unsigned i = 0; i < MAX_HANDLES; i++)
		handle_drop(run, &run->handles[i], false);
	for (size_t i = before->nnodes; i-- > 0;) {
		before->nodes[i]->handles = 0;
		before->nodes[i]->opens = 0;
		before->nodes[i]->mode = 0;
		model_settle(before, before->nodes[i]);
	}
}

static void compare_either(struct run *run, struct model *before)
{
	char after[sizeof(run->why)];
	struct model m = run->m;

	check_all(run);
	if (!failed(run))
		return;
	memcpy(after, run->why, sizeof(after));
	run->why[0] = '\0';
	run->m = *before;
	*before = m;
	check_all(run);
	if (failed(run)) {
		char why[sizeof(run->why)];

		memcpy(why, run->why, sizeof(why));
		run->why[0] = '\0';
		wrong(run, "after a crash it is neither as before (%.150s) nor as after (%.150s)",
		      why, after);
	}
}

static void compare_gradual(struct run *run, const struct op *op, struct model *before)
{
	uint64_t id = op->a[op_nodes(op) == 9 ? 3 : 0]; /* of a copy: the second node */
	struct mnode *node = model_node(&run->m, id);
	const struct mnode *old = model_node(before, id);

	if (node && old && S_ISREG(node->type))
		take_part(run, node, &old->file);
	check_all(run);
}

static void come_back(struct run *run, struct cut *cut)
{
	volume_abandon(run->vol);
	region_record_reset(run->region, cut->image);
	run_mount(run);
	if (!failed(run))
		check_medium(run, true);
}

void run_cut(struct run *run, const struct op_kind *kind)
{
	struct cut cut = { .run = run };
	struct model before;

	model_clone(&run->m, &before);
	region_record_on_drain(run->region, on_drain, &cut);
	run_do(run, kind);
	region_record_on_drain(run->region, NULL, NULL);
	run->cut_at = 0;
	if (cut.image && !failed(run)) {
		run->cuts++;
		forget_handles(run, &before);
		come_back(run, &cut);
		if (!failed(run) && kind->crash == GRADUAL)
			compare_gradual(run, run->op, &before);
		else if (!failed(run))
			compare_either(run, &before);
	}
	free(cut.image);
	model_clear(&before);
}
