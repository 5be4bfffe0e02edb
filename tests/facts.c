/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * facts.c - see facts.h. Each experiment forces its interleaving by stages, so it has one outcome, on a mount
 * as in the lab.
 */
#include "facts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PAGE_0 0, 2 /* cells */

static void say_errno(struct bed *b, const char *key, int err)
{
	b->ops->say(b, key, err ? strerrorname_np(-err) : "0");
}

void bed_say_value(struct bed *b, const char *key, uint64_t value)
{
	static const char *const words[] = { "zero", "old", "new", "newer" };

	b->ops->say(b, key, value <= NEWER ? words[value] : "something else");
}

static void say_load(struct bed *b, const char *key, unsigned cell)
{
	uint64_t value;

	if (b->ops->load(b, cell, &value))
		bed_say_value(b, key, value);
	else
		b->ops->say(b, key, "SIGBUS");
}

static void say_read(struct bed *b, const char *key, unsigned cell)
{
	uint64_t value = 0;
	int n = b->ops->read(b, cell, &value);

	if (n < 0)
		say_errno(b, key, n);
	else if (!n)
		b->ops->say(b, key, "the end");
	else
		bed_say_value(b, key, value);
}

static uint64_t *medium(struct bed *b)
{
	unsigned *size;

	return b->ops->medium(b, &size);
}

static void say_medium(struct bed *b, const char *key, unsigned cell)
{
	bed_say_value(b, key, medium(b)[cell]);
}

/* ---- release -------------------------------------------------------------------------------------- */

enum { RELEASED };

static void release_program(struct bed *b)
{
	b->ops->store(b, 0, NEW);
	b->ops->close(b);
	b->ops->say(b, "RELEASE after close(2)", b->ops->reached(b, RELEASED) ? "yes" : "no");
	b->ops->store(b, 2, NEWER);
	b->ops->unmap(b);
	b->ops->await(b, RELEASED);
}

static int release_at(struct bed *b, enum asked asked, enum moment moment, unsigned cell)
{
	(void)cell;
	if (asked == ASKED_RELEASE && moment == ARRIVED) {
		say_medium(b, "written back before RELEASE", 2);
		b->ops->reach(b, RELEASED);
	}
	return 0;
}

/* ---- modes ---------------------------------------------------------------------------------------- */

static void direct_program(struct bed *b)
{
	say_read(b, "before", 0);
	b->ops->clear_direct(b);
	medium(b)[0] = NEW;
	say_read(b, "the medium changed, without O_DIRECT now", 0);
}

static void append_program(struct bed *b)
{
	unsigned *size;
	uint64_t *cells = b->ops->medium(b, &size);

	say_read(b, "before", 0);
	cells[2] = cells[3] = OLD;
	*size = 4; /* behind the kernel's back */
	b->ops->append(b, NEW);
	say_medium(b, "what stood at the end that the kernel knew", 2);
}

static void view_and_write(struct bed *b)
{
	say_load(b, "before", 0);
	b->ops->write(b, PAGE_0, NEW);
	say_load(b, "after a write(2)", 0);
}

static void view_and_medium(struct bed *b)
{
	say_load(b, "before", 0);
	medium(b)[0] = NEW;
	say_load(b, "after a store to the medium", 0);
}

/* ---- notify --------------------------------------------------------------------------------------- */

enum { STORED, NOTIFIED, CAME, LOADED, OVER, UNLOCKED, SECOND, MAPPED };

static void no_room_program(struct bed *b)
{
	b->ops->store(b, 0, NEW);
	b->ops->reach(b, STORED);
	b->ops->await(b, NOTIFIED);
	say_load(b, "mapping", 0);
	say_errno(b, "fsync(2)", b->ops->fsync(b));
	say_errno(b, "fsync(2) again", b->ops->fsync(b));
}

static void no_room_notifier(struct bed *b)
{
	b->ops->await(b, STORED);
	say_errno(b, "notify", b->ops->notify(b, PAGE_0));
	b->ops->reach(b, NOTIFIED);
}

static void no_room_punch(struct bed *b)
{
	b->ops->store(b, 0, NEW);
	b->ops->reach(b, STORED);
	b->ops->await(b, NOTIFIED);
	say_errno(b, "a punch of another page", b->ops->punch(b, 2, 4));
	say_errno(b, "the same again", b->ops->punch(b, 2, 4));
	say_errno(b, "fsync(2)", b->ops->fsync(b));
}

static int no_room_at(struct bed *b, enum asked asked, enum moment moment, unsigned cell)
{
	(void)b, (void)moment, (void)cell;
	return asked == ASKED_WRITEBACK ? -ENOSPC : 0;
}

static void load_program(struct bed *b)
{
	say_load(b, "load", 0);
}

static void notifier_with_the_lock(struct bed *b)
{
	b->ops->await(b, CAME);
	b->ops->notify(b, PAGE_0);
	b->ops->reach(b, UNLOCKED);
}

static int lock_at(struct bed *b, enum asked asked, enum moment moment, unsigned cell)
{
	(void)cell;
	/* When the notify has dropped the page after all, there is another READ. */
	if (asked == ASKED_READ && moment == ARRIVED && !b->ops->reached(b, CAME)) {
		b->ops->reach(b, CAME);
		b->ops->say(b, "a notify for whose end READ waits",
			    b->ops->await(b, UNLOCKED) ? "returns" : "hangs");
	}
	return 0;
}

static int no_lock_at(struct bed *b, enum asked asked, enum moment moment, unsigned cell)
{
	(void)cell;
	if (asked == ASKED_READ && moment == ARRIVED)
		b->ops->reach(b, CAME);
	return 0;
}

static void size_program(struct bed *b)
{
	b->ops->store(b, 0, NEW);
	b->ops->truncate(b, 3);
}

static void size_clean_program(struct bed *b)
{
	say_load(b, "load", 0);
	b->ops->truncate(b, 3);
}

static int size_at(struct bed *b, enum asked asked, enum moment moment, unsigned cell)
{
	(void)cell;
	if (asked == ASKED_SIZE && moment == ARRIVED) {
		b->ops->reach(b, CAME);
		b->ops->say(b, "a notify for whose end SETATTR waits",
			    b->ops->await(b, UNLOCKED) ? "returns" : "hangs");
	}
	return 0;
}

/* A fault that has been told EIO once goes on with the lock of its mappings, and does not let go of it. */
static void fault_program(struct bed *b)
{
	uint64_t value;

	b->ops->load(b, 0, &value);
	b->ops->load(b, 0, &value);
}

static void mapper(struct bed *b)
{
	b->ops->await(b, SECOND);
	b->ops->change_mappings(b);
	b->ops->reach(b, MAPPED);
}

static int fault_at(struct bed *b, enum asked asked, enum moment moment, unsigned cell)
{
	(void)cell;
	if (asked != ASKED_READ || moment != ARRIVED)
		return 0;
	if (!b->ops->reached(b, CAME)) {
		b->ops->reach(b, CAME);
		return -EIO;
	}
	if (!b->ops->reached(b, SECOND)) {
		b->ops->reach(b, SECOND);
		b->ops->say(b, "mmap(2) beside a fault",
			    b->ops->await(b, MAPPED) ? "goes on" : "waits for it");
	}
	return 0;
}

/* ---- workers ------------------------------------------------------------------------------------- */

static void dirty_program(struct bed *b)
{
	b->ops->store(b, 0, NEW);
	b->ops->reach(b, STORED);
}

static void other_page_program(struct bed *b)
{
	uint64_t value;

	b->ops->await(b, STORED);
	b->ops->load(b, 2, &value);
}

static int workers_at(struct bed *b, enum asked asked, enum moment moment, unsigned cell)
{
	if (asked == ASKED_READ && moment == ARRIVED && cell == 2) {
		b->ops->reach(b, CAME);
		b->ops->say(b, "the write for which a notify waits",
			    b->ops->await(b, OVER) ? "is served" : "finds no worker");
	} else if (asked == ASKED_WRITEBACK) {
		b->ops->reach(b, OVER);
	}
	return 0;
}

/* ---- punch ----------------------------------------------------------------------------------------- */

enum { READY = STORED, ZEROED = CAME, WRITTEN = LOADED };

static void punch_program(struct bed *b)
{
	b->ops->await(b, READY);
	b->ops->punch(b, PAGE_0);
	say_medium(b, "0a on the medium", 0);
	say_medium(b, "0b on the medium", 1);
	say_read(b, "0a by read(2)", 0);
	b->ops->reach(b, OVER);
}

static void storer_beside_punch(struct bed *b)
{
	say_load(b, "0a before", 0);
	b->ops->reach(b, READY);
	b->ops->await(b, ZEROED);
	b->ops->store(b, 1, NEW);
	b->ops->writeback(b, 1);
	b->ops->reach(b, WRITTEN);
}

static void storer_of_zeroes(struct bed *b)
{
	b->ops->reach(b, READY);
	b->ops->await(b, ZEROED);
	say_load(b, "0a before the punch returned", 0);
	b->ops->store(b, 0, NEW);
	b->ops->reach(b, WRITTEN);
	b->ops->await(b, OVER);
	say_load(b, "0a then", 0);
}

static int punch_at(struct bed *b, enum asked asked, enum moment moment, unsigned cell)
{
	(void)cell;
	if (asked == ASKED_PUNCH && moment == DONE) {
		b->ops->reach(b, ZEROED);
		b->ops->await(b, WRITTEN);
	}
	return 0;
}

static void flush_program(struct bed *b)
{
	b->ops->store(b, 0, NEW);
	b->ops->store(b, 2, NEW);
	b->ops->punch(b, PAGE_0);
}

static int flush_at(struct bed *b, enum asked asked, enum moment moment, unsigned cell)
{
	(void)cell;
	if (asked == ASKED_PUNCH && moment == ARRIVED) {
		say_medium(b, "the page, on the medium before FALLOCATE", 0);
		say_medium(b, "the page behind it", 2);
	}
	return 0;
}

/* ---- write(2) -------------------------------------------------------------------------------------- */

static void write_program(struct bed *b)
{
	b->ops->write(b, PAGE_0, NEW);
	say_medium(b, "the medium, when write(2) returns", 0);
	b->ops->reach(b, OVER);
}

static void write_notifier(struct bed *b)
{
	b->ops->await(b, CAME);
	b->ops->notify(b, PAGE_0);
	b->ops->reach(b, NOTIFIED);
}

static void loader_beside_write(struct bed *b)
{
	b->ops->await(b, NOTIFIED);
	say_load(b, "a mapping, beside write(2)", 0);
	b->ops->reach(b, LOADED);
	b->ops->await(b, OVER);
	say_load(b, "a mapping, after it", 0);
}

static void opener_beside_write(struct bed *b)
{
	b->ops->await(b, CAME);
	b->ops->open_again(b);
	say_load(b, "a mapping, beside write(2)", 0);
	b->ops->reach(b, LOADED);
	b->ops->await(b, OVER);
	say_load(b, "a mapping, after it", 0);
}

static void storer_beside_write(struct bed *b)
{
	b->ops->await(b, CAME);
	say_load(b, "a mapping, beside write(2)", 0);
	b->ops->store(b, 0, NEWER);
	b->ops->writeback(b, 0);
	b->ops->reach(b, LOADED);
}

static int write_at(struct bed *b, enum asked asked, enum moment moment, unsigned cell)
{
	(void)cell;
	if (asked == ASKED_WRITE && moment == ARRIVED) {
		b->ops->reach(b, CAME);
		b->ops->await(b, LOADED);
	}
	return 0;
}

/* ---- size ------------------------------------------------------------------------------------------ */

static void cut_program(struct bed *b)
{
	b->ops->truncate(b, 1);
	b->ops->reach(b, OVER);
}

static void loader_beside_cut(struct bed *b)
{
	b->ops->await(b, CAME);
	say_load(b, "what was cut off, by a mapping", 1);
	b->ops->reach(b, LOADED);
}

static void reader_beside_cut(struct bed *b)
{
	b->ops->await(b, CAME);
	say_read(b, "what was cut off, by read(2)", 1);
	b->ops->reach(b, LOADED);
}

static void cut_and_up_program(struct bed *b)
{
	cut_program(b);
	b->ops->truncate(b, 2);
	say_read(b, "what stays, by read(2)", 0);
	say_read(b, "what was cut off, by read(2)", 1);
	say_errno(b, "fsync(2)", b->ops->fsync(b));
	say_medium(b, "what stays, on the medium", 0);
	say_medium(b, "what was cut off, on the medium", 1);
}

static void storer_beside_cut(struct bed *b)
{
	b->ops->await(b, CAME);
	b->ops->store(b, 0, NEW);
	b->ops->store(b, 1, NEWER);
	b->ops->reach(b, LOADED);
}

static int cut_at(struct bed *b, enum asked asked, enum moment moment, unsigned cell)
{
	(void)cell;
	if (asked == ASKED_SIZE && moment == DONE) {
		b->ops->reach(b, CAME);
		b->ops->await(b, LOADED);
	}
	return 0;
}

static void say_tail(struct bed *b)
{
	b->ops->truncate(b, 2);
	say_load(b, "behind the old end, by a mapping", 1);
	say_read(b, "... by read(2)", 1);
	say_medium(b, "... on the medium", 1);
}

static void tail_program(struct bed *b)
{
	b->ops->store(b, 1, NEW);
	say_tail(b);
}

static void tail_written_program(struct bed *b)
{
	b->ops->store(b, 1, NEW);
	b->ops->writeback(b, 1);
	say_medium(b, "(written back before)", 1);
	say_tail(b);
}

/* ---- all ------------------------------------------------------------------------------------------- */

#define PROGRAM(main)                                                                              \
	{                                                                                          \
		main, false                                                                        \
	}
#define DAEMON(main)                                                                               \
	{                                                                                          \
		main, true                                                                         \
	}

const struct fact facts[] = {
	{ .name = "release_comes_after_the_last_mapping",
	  .says = "FUSE_RELEASE comes when the last mapping of a handle is gone, dirty folios before it",
	  .size_cells = 4,
	  .nworkers = 2,
	  .wanted = "RELEASE after close(2): no; written back before RELEASE: newer",
	  .threads = { PROGRAM(release_program) },
	  .at = release_at },
	{ .name = "a_handle_keeps_its_mode",
	  .says = "a handle that was answered FOPEN_DIRECT_IO goes past the cache also without O_DIRECT",
	  .size_cells = 2,
	  .nworkers = 2,
	  .direct = true,
	  .wanted = "before: old; the medium changed, without O_DIRECT now: new",
	  .threads = { PROGRAM(direct_program) } },
	{ .name = "an_append_goes_to_the_end_that_the_kernel_knows",
	  .says = "in cached mode an append at a stale end overwrites",
	  .size_cells = 2,
	  .nworkers = 2,
	  .wanted = "before: old; what stood at the end that the kernel knew: new",
	  .threads = { PROGRAM(append_program) } },
	{ .name = "a_notify_tells_nothing_of_a_write_that_failed",
	  .says = "the write that a notify makes fails: notify says 0, the store is gone, fsync(2) tells once",
	  .size_cells = 2,
	  .nworkers = 2,
	  .wanted = "fsync(2) again: 0; fsync(2): ENOSPC; mapping: old; notify: 0",
	  .threads = { PROGRAM(no_room_program), DAEMON(no_room_notifier) },
	  .at = no_room_at },
	{ .name = "a_punch_tells_of_a_write_that_failed",
	  .says = "a call that flushes tells of a write that failed before, of whichever page, once",
	  .size_cells = 4,
	  .nworkers = 2,
	  .wanted =
		  "a punch of another page: ENOSPC; fsync(2): ENOSPC; notify: 0; the same again: 0",
	  .threads = { PROGRAM(no_room_punch), DAEMON(no_room_notifier) },
	  .at = no_room_at },
	{ .name = "a_fault_keeps_its_mappings_locked",
	  .says = "a process can sit in a fault with its mmap_lock held",
	  .size_cells = 2,
	  .nworkers = 2,
	  .wanted = "mmap(2) beside a fault: waits for it",
	  .threads = { PROGRAM(fault_program), PROGRAM(mapper) },
	  .at = fault_at },
	{ .name = "one_worker_that_waits_is_all",
	  .says = "a READ that waits in the last worker, and a notify of another page, hang",
	  .size_cells = 4,
	  .nworkers = 1,
	  .wanted = "the write for which a notify waits: finds no worker",
	  .threads = { PROGRAM(dirty_program), PROGRAM(other_page_program),
		       DAEMON(write_notifier) },
	  .at = workers_at },
	{ .name = "another_worker_serves_the_write",
	  .says = "... with one more they do not",
	  .size_cells = 4,
	  .nworkers = 2,
	  .wanted = "the write for which a notify waits: is served",
	  .threads = { PROGRAM(dirty_program), PROGRAM(other_page_program),
		       DAEMON(write_notifier) },
	  .at = workers_at },
	{ .name = "a_notify_waits_for_a_read_under_way",
	  .says = "READ comes with its folio locked, and a notify waits for that",
	  .size_cells = 2,
	  .nworkers = 2,
	  .wanted = "a notify for whose end READ waits: hangs; load: old",
	  .threads = { PROGRAM(load_program), DAEMON(notifier_with_the_lock) },
	  .at = lock_at },
	{ .name = "a_notify_goes_on_when_the_read_does",
	  .says = "... and goes on when it is answered",
	  .size_cells = 2,
	  .nworkers = 2,
	  .wanted = "load: old",
	  .threads = { PROGRAM(load_program), DAEMON(notifier_with_the_lock) },
	  .at = no_lock_at },
	{ .name = "a_setattr_stops_writeback",
	  .says = "SETATTR with a size stops writeback: a notify that has a dirty folio to launder hangs",
	  .size_cells = 4,
	  .nworkers = 3,
	  .wanted = "a notify for whose end SETATTR waits: hangs",
	  .threads = { PROGRAM(size_program), DAEMON(notifier_with_the_lock) },
	  .at = size_at },
	{ .name = "a_setattr_stops_no_notify_of_clean_pages",
	  .says = "... one that has none does not",
	  .size_cells = 4,
	  .nworkers = 3,
	  .wanted = "a notify for whose end SETATTR waits: returns; load: old",
	  .threads = { PROGRAM(size_clean_program), DAEMON(notifier_with_the_lock) },
	  .at = size_at },
	{ .name = "punched_bytes_come_back",
	  .says = "what is written back between the punch and its answer brings the punched bytes back",
	  .size_cells = 2,
	  .nworkers = 3,
	  .wanted =
		  "0a before: old; 0a by read(2): old; 0a on the medium: old; 0b on the medium: new",
	  .threads = { PROGRAM(punch_program), PROGRAM(storer_beside_punch) },
	  .at = punch_at },
	{ .name = "a_store_to_punched_zeroes_is_dropped",
	  .says = "a store to zeroes that were seen before the punch returned is dropped with the page",
	  .size_cells = 2,
	  .nworkers = 3,
	  .wanted =
		  "0a before the punch returned: zero; 0a by read(2): zero; 0a on the medium: zero; "
		  "0a then: zero; 0b on the medium: zero",
	  .threads = { PROGRAM(punch_program), PROGRAM(storer_of_zeroes) },
	  .at = punch_at },
	{ .name = "a_punch_flushes_to_the_end",
	  .says = "before FALLOCATE is sent, what is dirty from its range to the end of the file is written",
	  .size_cells = 4,
	  .nworkers = 3,
	  .wanted = "the page behind it: new; the page, on the medium before FALLOCATE: new",
	  .threads = { PROGRAM(flush_program) },
	  .at = flush_at },
	{ .name = "a_notify_beside_write_leaves_the_mapping_old",
	  .says = "write(2) has its folio in the cache, unlocked, before WRITE is sent; a notify drops it",
	  .size_cells = 2,
	  .nworkers = 3,
	  .wanted = "a mapping, after it: old; a mapping, beside write(2): old; "
		    "the medium, when write(2) returns: new",
	  .threads = { PROGRAM(write_program), PROGRAM(loader_beside_write),
		       DAEMON(write_notifier) },
	  .at = write_at },
	{ .name = "an_open_without_keep_cache_does_the_same",
	  .says = "the kernel's own invalidation at an open holds no i_rwsem",
	  .size_cells = 2,
	  .nworkers = 3,
	  .no_keep = true,
	  .wanted = "a mapping, after it: old; a mapping, beside write(2): old; "
		    "the medium, when write(2) returns: new",
	  .threads = { PROGRAM(write_program), PROGRAM(opener_beside_write) },
	  .at = write_at },
	{ .name = "an_open_that_keeps_the_cache_does_not",
	  .says = "... which FOPEN_KEEP_CACHE keeps away",
	  .size_cells = 2,
	  .nworkers = 3,
	  .wanted = "a mapping, after it: new; a mapping, beside write(2): new; "
		    "the medium, when write(2) returns: new",
	  .threads = { PROGRAM(write_program), PROGRAM(opener_beside_write) },
	  .at = write_at },
	{ .name = "a_store_overtakes_the_write_before_it",
	  .says = "a folio is written back while WRITE of an older write(2) to it is under way",
	  .size_cells = 2,
	  .nworkers = 3,
	  .wanted = "a mapping, beside write(2): new; the medium, when write(2) returns: new",
	  .threads = { PROGRAM(write_program), PROGRAM(storer_beside_write) },
	  .at = write_at },
	{ .name = "a_load_beside_a_truncate_sees_zeroes",
	  .says = "a fill between the cut of the medium and the answer is filled up with zeroes",
	  .size_cells = 2,
	  .nworkers = 3,
	  .wanted = "what was cut off, by a mapping: zero",
	  .threads = { PROGRAM(cut_program), PROGRAM(loader_beside_cut) },
	  .at = cut_at },
	{ .name = "a_read_beside_a_truncate_sees_zeroes",
	  .says = "... for read(2) too",
	  .size_cells = 2,
	  .nworkers = 3,
	  .wanted = "what was cut off, by read(2): zero",
	  .threads = { PROGRAM(cut_program), PROGRAM(reader_beside_cut) },
	  .at = cut_at },
	{ .name = "a_store_beside_a_truncate_stays_or_is_cut_off",
	  .says = "a store between the cut of the medium and the answer stays where the file stays",
	  .size_cells = 2,
	  .nworkers = 3,
	  .wanted = "fsync(2): 0; what stays, by read(2): new; what stays, on the medium: new; "
		    "what was cut off, by read(2): zero; what was cut off, on the medium: zero",
	  .threads = { PROGRAM(cut_and_up_program), PROGRAM(storer_beside_cut) },
	  .at = cut_at },
	{ .name = "a_store_behind_the_end_appears_when_it_moves_up",
	  .says = "what was stored behind the end of the last page is laundered after the size has changed",
	  .size_cells = 1,
	  .nworkers = 2,
	  .wanted =
		  "... by read(2): new; ... on the medium: new; behind the old end, by a mapping: new",
	  .threads = { PROGRAM(tail_program) } },
	{ .name = "what_is_behind_the_end_is_not_written_back",
	  .says = "... by itself it is not written back",
	  .size_cells = 1,
	  .nworkers = 2,
	  .wanted = "(written back before): zero; ... by read(2): zero; ... on the medium: zero; "
		    "behind the old end, by a mapping: zero",
	  .threads = { PROGRAM(tail_written_program) } },
	{ .name = "a_private_view_and_a_write",
	  .says = "in uncached mode write(2) through this kernel renews private views",
	  .size_cells = 2,
	  .nworkers = 2,
	  .direct = true,
	  .wanted = "after a write(2): new; before: old",
	  .threads = { PROGRAM(view_and_write) } },
	{ .name = "a_private_view_and_the_medium",
	  .says = "... a store to the medium, as clients make it, does not",
	  .size_cells = 2,
	  .nworkers = 2,
	  .direct = true,
	  .wanted = "after a store to the medium: old; before: old",
	  .threads = { PROGRAM(view_and_medium) } },
};

const unsigned nfacts = sizeof(facts) / sizeof(facts[0]);

/* ---- outcomes -------------------------------------------------------------------------------------- */

void outcome_add(char *buf, unsigned len, const char *key, const char *value)
{
	char line[160], rest[OUTCOME];
	char *at = buf;
	int n = snprintf(line, sizeof(line), "%s: %s", key, value);

	while (*at && strcmp(line, at) > 0) {
		at += strcspn(at, ";");
		at += *at ? 2 : 0;
	}
	if (!*at) {
		snprintf(at, len - (unsigned)(at - buf), "%s%.*s", at == buf ? "" : "; ", n, line);
		return;
	}
	snprintf(rest, sizeof(rest), "%s", at);
	snprintf(at, len - (unsigned)(at - buf), "%.*s; %s", n, line, rest);
}
