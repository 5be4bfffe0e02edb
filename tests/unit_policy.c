/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_policy.c - what every locking scheme has to do, sound or not: it is found by its name, releases
 * what it took, also when it fails, and keeps the order of locks (lockdep is on). And what those that are
 * said to be sound have to do: faults and layout changes of one range keep each other out. Whether a
 * scheme *is* sound is for the lab to find out.
 */
#include "bed.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format.h"
#include "holder.h"
#include "inode.h"
#include "journal.h"
#include "layout.h"
#include "mode.h"
#include "sync.h"
#include "udax/policy.h"
#include "volume.h"

#define A_WHILE 20000 /* us: who has not got through by then has to wait */
#define MANY 12	      /* faults at once, each of another page */

static struct inode *another_inode(struct bed *bed)
{
	struct cred cred = { 0 };
	struct inode *inode;
	struct tx *tx;

	assert_int_equal(tx_begin(bed->vol, 0, &tx, HERE), 0);
	assert_int_equal(inode_create(tx, NULL, S_IFREG | 0600, &cred, 0, 0, &inode), 0);
	assert_int_equal(inode_set_nlink(tx, inode, 1), 0);
	assert_int_equal(tx_end(tx, 0), 0);
	iunlock(inode, SYNC_EXCL, HERE);
	return inode;
}

static void assert_nothing_held(struct bed *bed, struct inode *inode)
{
	const struct holder *holder = holder_of(inode);

	sync_assert_none_held(bed->sync, HERE);
	assert_null(holder->gates);
	assert_true(sync_rw_trylock(&inode->iolock, SYNC_EXCL, 0, HERE));
	assert_true(sync_rw_trylock(&inode->mmaplock, SYNC_EXCL, 0, HERE));
	sync_rw_unlock(&inode->mmaplock, SYNC_EXCL, HERE);
	sync_rw_unlock(&inode->iolock, SYNC_EXCL, HERE);
}

static struct layout_change punch_of(struct inode *inode, uint64_t page)
{
	return (struct layout_change){ .op = LAYOUT_PUNCH,
				       .inode = inode,
				       .pos = page * BLOCK_BYTES,
				       .len = BLOCK_BYTES,
				       .may_wait = true };
}

/* ---- all of them ------------------------------------------------------------------------------------ */

static void each_policy_is_found_by_its_name(void **state)
{
	(void)state;
	for (const struct udax_policy *const *p = policy_list(); *p; p++) {
		assert_ptr_equal(policy_find((*p)->name), *p);
		assert_null(strchr((*p)->summary, '\n'));
		/* One that is refused says by which race. */
		assert_true((*p)->sound || strstr((*p)->summary, "row"));
	}
	assert_null(policy_find("bogus"));
	assert_ptr_equal(policy_list()[0], &policy_mmaplock);
	assert_true(policy_mmaplock.sound);
}

static void enter_and_exit(struct bed *bed, struct layout_change change)
{
	assert_int_equal(bed->policy->layout_enter(&change, HERE), 0);
	bed->policy->layout_exit(&change, HERE);
	assert_nothing_held(bed, change.inode);
	if (change.other)
		assert_nothing_held(bed, change.other);
}

static void each_policy_releases_what_it_took(void **state)
{
	(void)state;
	for (const struct udax_policy *const *p = policy_list(); *p; p++) {
		struct bed *bed = bed_new_with(*p);
		struct inode *a = bed->inode, *b = another_inode(bed);
		struct layout_change change = punch_of(a, 0);

		for (unsigned write = 0; write < 2; write++) {
			(*p)->fault_enter(a, 0, 3 * BLOCK_BYTES, write, HERE);
			(*p)->fault_exit(a, 0, 3 * BLOCK_BYTES, HERE);
			assert_nothing_held(bed, a);
		}
		for (change.op = LAYOUT_TRUNCATE; change.op <= LAYOUT_INSERT; change.op++)
			enter_and_exit(bed, change);
		change.op = LAYOUT_EXCHANGE;
		change.other = b;
		change.other_pos = 5 * BLOCK_BYTES;
		enter_and_exit(bed, change);
		change.inode = b;
		change.other = a;
		change.len = UINT64_MAX;
		enter_and_exit(bed, change);
		bed_delete(bed);
	}
}

static bool fits_never(const struct layout_change *change)
{
	(void)change;
	return false;
}

static void each_policy_holds_nothing_when_it_fails(void **state)
{
	(void)state;
	for (const struct udax_policy *const *p = policy_list(); *p; p++) {
		struct bed *bed = bed_new_with(*p);
		struct inode *inode = bed->inode;
		struct layout_change change = punch_of(inode, 0);
		struct waiter waiter;
		enum file_mode mode;

		change.op = LAYOUT_TRUNCATE;
		change.fits = fits_never;
		assert_int_equal((*p)->layout_enter(&change, HERE), -ESTALE);
		assert_nothing_held(bed, inode);
		assert_int_equal(mode_open(inode, 0, &waiter, &mode), 0);
		change.fits = NULL;
		change.needs_uncached = true;
		assert_int_equal((*p)->layout_enter(&change, HERE), -EBUSY);
		assert_nothing_held(bed, inode);
		(*p)->fault_enter(inode, 0, BLOCK_BYTES, true, HERE); /* nobody is kept out */
		(*p)->fault_exit(inode, 0, BLOCK_BYTES, HERE);
		mode_release(inode, 0);
		bed_delete(bed);
	}
}

/* ---- those that are sound --------------------------------------------------------------------------- */

struct visitor {
	struct bed *bed;
	uint64_t page;
	bool changes; /* the layout; else it faults */
	atomic_bool in;
	atomic_bool *may_leave;
	struct sync_thread *thread;
};

static void visit(void *arg)
{
	struct visitor *v = arg;
	const struct udax_policy *policy = v->bed->policy;
	struct layout_change change = punch_of(v->bed->inode, v->page);
	uint64_t pos = v->page * BLOCK_BYTES;
	int err = 0;

	if (v->changes)
		err = policy->layout_enter(&change, HERE);
	else
		policy->fault_enter(v->bed->inode, pos, BLOCK_BYTES, true, HERE);
	atomic_store(&v->in, !err);
	while (!atomic_load(v->may_leave))
		usleep(100);
	if (!v->changes)
		policy->fault_exit(v->bed->inode, pos, BLOCK_BYTES, HERE);
	else if (!err)
		policy->layout_exit(&change, HERE);
}

static void start(struct visitor *v, struct bed *bed, uint64_t page, bool changes,
		  atomic_bool *may_leave)
{
	*v = (struct visitor){
		.bed = bed, .page = page, .changes = changes, .may_leave = may_leave
	};
	assert_int_equal(sync_thread_start(bed->sync, "visitor", visit, v, &v->thread), 0);
}

static void wait_until_in(struct visitor *v)
{
	for (unsigned i = 0; i < 100000 && !atomic_load(&v->in); i++)
		usleep(100);
	assert_true(atomic_load(&v->in));
}

/* @first comes, and @second of the same range has to wait for it. */
static void check_exclusion(const struct udax_policy *policy, bool change_first)
{
	struct bed *bed = bed_new_with(policy);
	atomic_bool first_may = false, second_may = true;
	struct visitor first, second;

	start(&first, bed, 1, change_first, &first_may);
	wait_until_in(&first);
	start(&second, bed, 1, !change_first, &second_may);
	usleep(A_WHILE);
	assert_false(atomic_load(&second.in));
	atomic_store(&first_may, true);
	wait_until_in(&second);
	sync_thread_join(first.thread);
	sync_thread_join(second.thread);
	assert_nothing_held(bed, bed->inode);
	bed_delete(bed);
}

static void faults_and_layout_changes_of_a_range_keep_each_other_out(void **state)
{
	(void)state;
	for (const struct udax_policy *const *p = policy_list(); *p; p++)
		for (unsigned i = 0; (*p)->sound && i < 2; i++)
			check_exclusion(*p, i);
}

static void a_fault_does_not_wait_for_a_change_of_another_range(void **state)
{
	struct bed *bed = bed_new_with(policy_find("range"));
	atomic_bool change_may = false, fault_may = true;
	struct visitor change, fault;

	(void)state;
	start(&change, bed, 1, true, &change_may);
	wait_until_in(&change);
	start(&fault, bed, 2, false, &fault_may);
	wait_until_in(&fault);
	atomic_store(&change_may, true);
	sync_thread_join(change.thread);
	sync_thread_join(fault.thread);
	bed_delete(bed);
}

static void more_faults_than_there_are_places_take_turns(void **state)
{
	struct bed *bed = bed_new_with(policy_find("range"));
	atomic_bool may_leave = false;
	struct visitor faults[MANY], change;
	unsigned in = 0;

	(void)state;
	for (unsigned i = 0; i < MANY; i++)
		start(&faults[i], bed, i, false, &may_leave);
	usleep(A_WHILE);
	for (unsigned i = 0; i < MANY; i++)
		in += atomic_load(&faults[i].in);
	assert_true(in < MANY);
	start(&change, bed, MANY + 1, true, &may_leave); /* has a place of its own */
	wait_until_in(&change);
	atomic_store(&may_leave, true);
	for (unsigned i = 0; i < MANY; i++) {
		wait_until_in(&faults[i]);
		sync_thread_join(faults[i].thread);
	}
	sync_thread_join(change.thread);
	assert_nothing_held(bed, bed->inode);
	bed_delete(bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_policy_is_found_by_its_name),
		cmocka_unit_test(each_policy_releases_what_it_took),
		cmocka_unit_test(each_policy_holds_nothing_when_it_fails),
		cmocka_unit_test(faults_and_layout_changes_of_a_range_keep_each_other_out),
		cmocka_unit_test(a_fault_does_not_wait_for_a_change_of_another_range),
		cmocka_unit_test(more_faults_than_there_are_places_take_turns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
