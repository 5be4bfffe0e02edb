/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_gate.c - discards: what a punch leaves for the kernel to drop, and what ends that. What gates
 * do among several threads is for docs/model/ and the mount suite.
 */
#include "bed.h"

#include <errno.h>
#include <linux/falloc.h>
#include <string.h>

#include "file.h"
#include "gate.h"
#include "holder.h"
#include "inode.h"
#include "layout.h"
#include "mode.h"

#define PAGE 4096u

static const struct layout_ctx waits = { .may_wait = true };

static void open_cached(struct inode *inode)
{
	struct waiter waiter = { NULL };
	enum file_mode mode;
	int err = mode_open(inode, 0, &waiter, &mode);

	if (err == -EALREADY)
		mode_enter(inode);
	else
		assert_int_equal(err, 0);
	assert_int_equal(mode_of(inode), MODE_CACHED);
}

/* What the kernel asks of one page, as fuse_io.c answers it. */
static void page_request(struct inode *inode, enum admission_kind kind, uint64_t index, char c)
{
	struct admission adm = { .kind = kind, .pos = index * PAGE, .len = PAGE };
	unsigned flags = IO_CACHED | (kind == ADMIT_WRITEBACK ? IO_WRITEBACK : 0);
	char page[PAGE];

	memset(page, c, sizeof(page));
	if (kind != ADMIT_FILL)
		assert_int_equal(gate_announce(inode, &adm), 0);
	assert_int_equal(gate_admit(inode, &adm), 0);
	if (kind != ADMIT_FILL)
		assert_int_equal(file_write(inode, adm.pos, page, PAGE, flags), PAGE);
	gate_leave(inode, &adm, 0);
}

static char first_byte(struct inode *inode, uint64_t index)
{
	struct read_plan plan;
	char c;

	assert_int_equal(file_read_begin(inode, index * PAGE, PAGE, IO_CACHED, &plan), 0);
	assert_int_equal(plan.bytes, PAGE);
	c = *(const char *)plan.pieces[0].iov_base;
	file_read_end(inode, &plan);
	return c;
}

/* 400 punched pages, of which the kernel gets every other one back in the way of @kind. */
static void punch_and_take_back(enum admission_kind kind)
{
	struct bed *bed = bed_new(8u << 20, true);
	const unsigned pages = 400;

	open_cached(bed->inode);
	for (unsigned i = 0; i < pages; i++)
		page_request(bed->inode, ADMIT_WRITE, i, 'a');
	assert_int_equal(layout_fallocate(bed->inode, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
					  pages * PAGE, &waits),
			 0);
	for (unsigned i = 1; i < pages; i += 2)
		page_request(bed->inode, kind, i, 'b');
	for (unsigned i = 0; i < pages; i++)
		page_request(bed->inode, ADMIT_WRITEBACK, i, 'c');
	for (unsigned i = 0; i < pages; i++)
		assert_int_equal(first_byte(bed->inode, i), i % 2 ? 'c' : 0);
	mode_release(bed->inode, 0);
	bed_delete(bed);
}

static void a_punch_is_remembered_however_often_fills_cut_it(void **state)
{
	(void)state;
	punch_and_take_back(ADMIT_FILL);
}

static void a_punch_is_remembered_however_often_writes_cut_it(void **state)
{
	(void)state;
	punch_and_take_back(ADMIT_WRITE);
}

static void punches_one_by_one_are_all_remembered(void **state)
{
	struct bed *bed = bed_new(8u << 20, true);
	const unsigned pages = 100;

	(void)state;
	open_cached(bed->inode);
	for (unsigned i = 0; i < pages; i++)
		page_request(bed->inode, ADMIT_WRITE, i, 'a');
	for (unsigned i = 0; i < pages; i += 2)
		assert_int_equal(layout_fallocate(bed->inode,
						  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
						  i * PAGE, PAGE, &waits),
				 0);
	for (unsigned i = 0; i < pages; i++)
		page_request(bed->inode, ADMIT_WRITEBACK, i, 'c');
	for (unsigned i = 0; i < pages; i++)
		assert_int_equal(first_byte(bed->inode, i), i % 2 ? 'c' : 0);
	mode_release(bed->inode, 0);
	bed_delete(bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_punch_is_remembered_however_often_fills_cut_it),
		cmocka_unit_test(a_punch_is_remembered_however_often_writes_cut_it),
		cmocka_unit_test(punches_one_by_one_are_all_remembered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
