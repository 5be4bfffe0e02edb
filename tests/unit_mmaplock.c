/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_mmaplock.c - a layout change that needs another round while a fill of the page cache is parked
 * at its gate. A notify waits for the folio of that fill, so the gate has to be open again, and the
 * fill resumed, before the next round begins (row 67 of docs/RACES.md).
 *
 * This thread is the kernel: it has the file opened in cached mode while a punch closes its gate,
 * which is a reason for another round, and asks for pages meanwhile.
 */
#include "bed.h"

#include <errno.h>
#include <linux/falloc.h>
#include <unistd.h>

#include "format.h"
#include "gate.h"
#include "holder.h"
#include "inode.h"
#include "layout.h"
#include "mode.h"
#include "region.h"
#include "sync.h"
#include "volume.h"

#define WANTED 20u    /* rounds with a fill parked at the gate that is closed */
#define TRIES 20000u  /* whether it comes so far is for the scheduler to say */
#define PATIENCE 2000 /* ms */

struct kernel {
	struct waiter waiter; /* of the fill that is parked: the first member */
	struct inode *inode;
	atomic_bool resumed; /* the fill may try again */
	atomic_bool filled;  /* it has its page */
	atomic_bool stuck;   /* a notify has waited for it in vain */
	int result;	     /* of the punch */
};

static bool comes_true(atomic_bool *flag)
{
	for (unsigned i = 0; i < PATIENCE * 10; i++) {
		if (atomic_load(flag))
			return true;
		usleep(100);
	}
	return false;
}

static void notify(void *ctx, uint64_t ino, uint64_t pos, uint64_t len)
{
	struct kernel *kernel = ctx;

	(void)ino, (void)pos, (void)len;
	if (!comes_true(&kernel->filled))
		atomic_store(&kernel->stuck, true);
}

static void attr_changed(void *ctx, uint64_t ino)
{
	(void)ctx, (void)ino;
}

static void resume(void *ctx, struct waiter *waiter, uint64_t delay_ns)
{
	(void)ctx, (void)delay_ns;
	atomic_store(&((struct kernel *)waiter)->resumed, true);
}

static const struct holder_ops ops = { notify, attr_changed, resume };

static void punch(void *arg)
{
	const struct layout_ctx ctx = { .may_wait = true };
	struct kernel *kernel = arg;

	kernel->result = layout_fallocate(kernel->inode, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					  100, 2 * BLOCK_BYTES, &ctx);
}

static void wait_for_closing_gate(struct inode *inode)
{
	struct holder *holder = holder_of(inode);
	bool closing = false;

	while (!closing) {
		sync_lock(&holder->lock, 0, HERE);
		closing = holder->gates && holder->gates->state == GATE_CLOSED;
		sync_unlock(&holder->lock, HERE);
	}
}

/* Try until the page is there. Returns how often the fill was parked before. */
static unsigned fill(struct kernel *kernel, struct admission *adm)
{
	unsigned parked = 0;

	while (comes_true(&kernel->resumed)) {
		int err;

		atomic_store(&kernel->resumed, false);
		err = gate_admit(kernel->inode, adm);
		if (!err) {
			gate_leave(kernel->inode, adm, 0);
			break;
		}
		assert_int_equal(err, -EINPROGRESS);
		parked += !adm->held_over;
	}
	atomic_store(&kernel->filled, true);
	return parked;
}

/* Returns whether a fill was parked when the gate was closed in vain. */
static bool one_punch(struct bed *bed, struct kernel *kernel)
{
	struct admission first = { .kind = ADMIT_FILL, .len = BLOCK_BYTES };
	struct admission second = { .kind = ADMIT_FILL,
				    .len = BLOCK_BYTES,
				    .waiter = &kernel->waiter };
	struct waiter waiter = { NULL };
	struct sync_thread *thread;
	enum file_mode mode;
	unsigned parked;

	*kernel = (struct kernel){ .inode = bed->inode };
	assert_int_equal(gate_admit(bed->inode, &first), 0);
	assert_int_equal(sync_thread_start(bed->sync, "punch", punch, kernel, &thread), 0);
	wait_for_closing_gate(bed->inode);
	assert_int_equal(mode_open(bed->inode, 0, &waiter, &mode), 0);
	assert_int_equal(mode, MODE_CACHED);
	assert_int_equal(gate_admit(bed->inode, &second), -EINPROGRESS);
	gate_leave(bed->inode, &first, 0); /* which resumes the second, to be parked again or not */
	parked = fill(kernel, &second);
	sync_thread_join(thread);
	mode_release(bed->inode, 0);
	assert_int_equal(kernel->result, 0);
	assert_false(atomic_load(&kernel->stuck));
	return parked > 0;
}

static void a_round_begins_with_open_gates_and_nobody_parked(void **state)
{
	struct bed *bed = bed_new(1 << 20, true);
	struct kernel kernel;
	unsigned seen = 0;

	(void)state;
	bed->vol->holder_ops = &ops;
	bed->vol->holder_ctx = &kernel;
	for (unsigned i = 0; i < TRIES && seen < WANTED; i++)
		seen += one_punch(bed, &kernel);
	print_message("a fill was parked in %u rounds\n", seen);
	assert_int_equal(seen, WANTED);
	bed_delete(bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_round_begins_with_open_gates_and_nobody_parked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
