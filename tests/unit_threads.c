/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_threads.c - several threads on one volume. Each has a subtree of its own, where it does random
 * operations and compares with a model of its own (model_run.h), as if it were alone; and in
 * between all of them do what they like in shared directories and on shared files, where no model
 * can say what comes out, but these hold at any moment:
 *
 *	an operation succeeds, or fails for a reason that somebody else can have given it
 *	a page of a shared file was written by one write, or is zero
 *	names that nobody touches are found by every walk over their directory, once
 *
 * and at the end the checker finds nothing, and each model is right after a remount.
 *
 * Meant for ThreadSanitizer, and for the lock checker. UDAX_THREAD_OPS: operations of each thread.
 */
#include "bed.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc.h"
#include "dir.h"
#include "file.h"
#include "fsck.h"
#include "layout.h"
#include "mem.h"
#include "model_run.h"
#include "namespace.h"
#include "region.h"
#include "volume.h"
#include "xattr.h"

#define NR_THREADS 4u
#define NR_SHARED_DIRS 2u
#define NR_SHARED_FILES 3u
#define NR_NAMES 6u   /* fought for in each shared directory */
#define NR_PINNED 40u /* never touched */
#define PAGES 24u     /* of a shared file */

static const struct model_setup setup = { "threads", UINT64_C(64) << 20, 30, 30, 64 << 10, 0, 1,
					  false };
static const struct layout_ctx waits = { .may_wait = true };

struct arena {
	struct run *host; /* the volume; its model is not used */
	struct inode *dirs[NR_SHARED_DIRS], *files[NR_SHARED_FILES];
};

struct worker {
	struct arena *arena;
	struct run *run;
	struct sync_thread *thread;
	uint64_t rng, nops;
	unsigned number;
	struct op op;
	unsigned char page[PAGES * MPAGE_BYTES];
};

/* ---- shared directories -------------------------------------------------------------------------- */

static void shared_name(unsigned number, char name[16])
{
	snprintf(name, 16, "c%u", number);
}

/* Whether @err is one that others' doings explain. */
static void excuse(struct worker *w, const char *what, int64_t err, const int *excuses)
{
	if (err >= 0 || err == -ENOSPC)
		return;
	for (; *excuses; excuses++)
		if (err == -*excuses)
			return;
	wrong(w->run, "shared %s: %s", what, strerror((int)-err));
}

static void put_if_made(int err, struct inode *inode)
{
	if (!err)
		inode_put(inode);
}

static void make_shared(struct worker *w, struct inode *dir, const char *name)
{
	struct cred cred = { w->number, w->number, 0 };
	struct inode *inode;
	mode_t type = one_in(&w->rng, 3) ? S_IFDIR : one_in(&w->rng, 3) ? S_IFIFO : S_IFREG;
	int err = one_in(&w->rng, 6)
			  ? ns_symlink(dir, name, strlen(name), "target", 6, &cred, &inode)
			  : ns_create(dir, name, strlen(name), type | 0644, &cred, 0, 0, &inode);

	put_if_made(err, inode);
	excuse(w, "create", err, (const int[]){ EEXIST, 0 });
}

static void remove_shared(struct worker *w, struct inode *dir, const char *name)
{
	if (one_in(&w->rng, 2))
		excuse(w, "unlink", ns_unlink(dir, name, strlen(name)),
		       (const int[]){ ENOENT, EISDIR, 0 });
	else
		excuse(w, "rmdir", ns_rmdir(dir, name, strlen(name)),
		       (const int[]){ ENOENT, ENOTDIR, ENOTEMPTY, 0 });
}

static void rename_shared(struct worker *w, struct inode *dir, const char *name)
{
	static const unsigned flags[] = { 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE };
	struct inode *to = w->arena->dirs[below(&w->rng, NR_SHARED_DIRS)];
	char other[16];

	shared_name((unsigned)below(&w->rng, NR_NAMES), other);
	excuse(w, "rename",
	       ns_rename(dir, name, strlen(name), to, other, strlen(other),
			 flags[below(&w->rng, 4)]),
	       (const int[]){ ENOENT, EEXIST, EISDIR, ENOTDIR, ENOTEMPTY, EINVAL, 0 });
}

/* Move something between the directories that stand in the shared ones: deep renames. */
static void rename_below(struct worker *w, struct inode *dir, const char *name)
{
	struct inode *inner, *outer;
	char other[16];
	int err = ns_lookup(dir, name, strlen(name), &inner);

	if (err) {
		excuse(w, "lookup", err, (const int[]){ ENOENT, 0 });
		return;
	}
	outer = w->arena->dirs[below(&w->rng, NR_SHARED_DIRS)];
	shared_name((unsigned)below(&w->rng, NR_NAMES), other);
	err = one_in(&w->rng, 2)
		      ? ns_rename(outer, other, strlen(other), inner, other, strlen(other), 0)
		      : ns_rename(inner, other, strlen(other), outer, other, strlen(other), 0);
	excuse(w, "rename below", err,
	       (const int[]){ ENOENT, EEXIST, EISDIR, ENOTDIR, ENOTEMPTY, EINVAL, 0 });
	inode_put(inner);
}

static void link_shared(struct worker *w, struct inode *dir, const char *name)
{
	struct inode *inode;
	char other[16];
	int err = ns_lookup(dir, name, strlen(name), &inode);

	if (!err) {
		shared_name((unsigned)below(&w->rng, NR_NAMES), other);
		err = ns_link(inode, w->arena->dirs[below(&w->rng, NR_SHARED_DIRS)], other,
			      strlen(other));
		inode_put(inode);
	}
	excuse(w, "link", err, (const int[]){ ENOENT, EEXIST, EPERM, 0 });
}

/* Every pinned name once, while others come and go. The lock is released between the steps. */
static void walk_shared(struct worker *w, struct inode *dir)
{
	bool seen[NR_PINNED] = { false };
	struct dir_entry entry = { .pos = 0 };
	unsigned found = 0;
	uint64_t pos = 0, number;
	int err;

	for (;;) {
		ilock(dir, SYNC_SHARED, HERE);
		err = dir_iterate(dir, pos, &entry);
		iunlock(dir, SYNC_SHARED, HERE);
		if (err)
			break;
		pos = entry.pos + 1;
		if (entry.name[0] != 'p')
			continue;
		found++;
		number = strtoul(entry.name + 1, NULL, 10);
		if (number >= NR_PINNED)
			wrong(w->run, "%s was never made", entry.name);
		else if (seen[number])
			wrong(w->run, "%s was found twice", entry.name);
		else
			seen[number] = true;
	}
	excuse(w, "walk", err, (const int[]){ ENOENT, 0 });
	if (found != NR_PINNED)
		wrong(w->run, "%u of %u pinned names were found", found, NR_PINNED);
}

static void fight_for_names(struct worker *w)
{
	struct inode *dir = w->arena->dirs[below(&w->rng, NR_SHARED_DIRS)];
	char name[16];

	shared_name((unsigned)below(&w->rng, NR_NAMES), name);
	switch (below(&w->rng, 10)) {
	case 0:
	case 1:
	case 2:
		make_shared(w, dir, name);
		break;
	case 3:
	case 4:
		remove_shared(w, dir, name);
		break;
	case 5:
	case 6:
		rename_shared(w, dir, name);
		break;
	case 7:
		rename_below(w, dir, name);
		break;
	case 8:
		link_shared(w, dir, name);
		break;
	default:
		walk_shared(w, dir);
		break;
	}
}

/* ---- shared files ------------------------------------------------------------------------------------ */

/* A page is one byte all over: of one write, or zero. */
static void check_pages(struct worker *w, const unsigned char *bytes, size_t len)
{
	for (size_t at = 0; at < len; at += MPAGE_BYTES)
		if (memcmp(bytes + at, bytes + at + 1, MPAGE_BYTES - 1) != 0)
			wrong(w->run, "a page of a shared file has two owners");
}

static void read_shared(struct worker *w, struct inode *inode)
{
	uint64_t pos = below(&w->rng, PAGES) * MPAGE_BYTES;
	struct read_plan plan;
	int err = file_read_begin(inode, pos, (PAGES * MPAGE_BYTES) - pos, IO_UNCACHED, &plan);

	if (err) {
		wrong(w->run, "shared read: %s", strerror(-err));
		return;
	}
	for (unsigned i = 0; i < plan.npieces; i++)
		check_pages(w, plan.pieces[i].iov_base, plan.pieces[i].iov_len);
	file_read_end(inode, &plan);
}

static void write_shared(struct worker *w, struct inode *inode)
{
	uint64_t first = below(&w->rng, PAGES), n = 1 + below(&w->rng, PAGES - first);
	unsigned flags = one_in(&w->rng, 8) ? IO_KILL_PRIV : 0;

	memset(w->page, (int)below(&w->rng, 256), n * MPAGE_BYTES);
	excuse(w, "write", file_write(inode, first * MPAGE_BYTES, w->page, n * MPAGE_BYTES, flags),
	       (const int[]){ 0 });
}

static void copy_shared(struct worker *w, struct inode *inode)
{
	struct inode *other = w->arena->files[below(&w->rng, NR_SHARED_FILES)];
	uint64_t from = below(&w->rng, PAGES), to = below(&w->rng, PAGES);
	uint64_t n = below(&w->rng, PAGES - (from > to ? from : to)) * MPAGE_BYTES;
	static const int excuses[] = { EINVAL, 0 };

	if (one_in(&w->rng, 2))
		excuse(w, "copy",
		       file_copy(inode, from * MPAGE_BYTES, other, to * MPAGE_BYTES, n, 0),
		       excuses);
	else
		excuse(w, "exchange",
		       layout_exchange(inode, from * MPAGE_BYTES, other, to * MPAGE_BYTES, n,
				       &waits),
		       excuses);
}

static void change_shared(struct worker *w, struct inode *inode)
{
	static const int modes[] = { 0,
				     FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_ZERO_RANGE,
				     FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_COLLAPSE_RANGE,
				     FALLOC_FL_INSERT_RANGE };
	uint64_t first = below(&w->rng, PAGES), n = 1 + below(&w->rng, PAGES - first);

	excuse(w, "fallocate",
	       layout_fallocate(inode, modes[below(&w->rng, 8)], first * MPAGE_BYTES,
				n * MPAGE_BYTES, &waits),
	       (const int[]){ EINVAL, 0 });
}

static void seek_shared(struct worker *w, struct inode *inode)
{
	uint64_t pos = below(&w->rng, PAGES * MPAGE_BYTES), at = pos;
	int err = file_seek(inode, pos, one_in(&w->rng, 2) ? SEEK_DATA : SEEK_HOLE, &at);

	excuse(w, "seek", err, (const int[]){ ENXIO, 0 });
	if (!err && at < pos)
		wrong(w->run, "seek went back");
}

/* The value tells its length, so that one half of another is noticed. */
static void attributes_shared(struct worker *w, struct inode *inode)
{
	unsigned char value[64];
	size_t len = 1 + below(&w->rng, 63);
	struct attr attr = { .mode = (uint32_t)below(&w->rng, 01000) };
	ssize_t n;

	memset(value, (int)len, len);
	excuse(w, "setattr", inode_setattr(inode, SET_MODE, &attr), (const int[]){ 0 });
	excuse(w, "setxattr", xattr_set(inode, "user.shared", value, len, 0), (const int[]){ 0 });
	n = xattr_get(inode, "user.shared", value, sizeof(value));
	excuse(w, "getxattr", n, (const int[]){ ENODATA, 0 });
	if (n > 0 && (value[0] != n || value[n - 1] != n))
		wrong(w->run, "a shared xattr of %zd bytes says %u", n, value[0]);
	if (one_in(&w->rng, 4))
		excuse(w, "removexattr", xattr_set(inode, "user.shared", NULL, 0, 0),
		       (const int[]){ ENODATA, 0 });
}

static void fight_for_files(struct worker *w)
{
	struct inode *inode = w->arena->files[below(&w->rng, NR_SHARED_FILES)];

	switch (below(&w->rng, 12)) {
	case 0:
	case 1:
	case 2:
		read_shared(w, inode);
		break;
	case 3:
	case 4:
	case 5:
		write_shared(w, inode);
		break;
	case 6:
		copy_shared(w, inode);
		break;
	case 7:
	case 8:
		change_shared(w, inode);
		break;
	case 9:
		excuse(w, "truncate",
		       layout_truncate(inode, below(&w->rng, PAGES) * MPAGE_BYTES, &waits),
		       (const int[]){ 0 });
		break;
	case 10:
		seek_shared(w, inode);
		break;
	default:
		attributes_shared(w, inode);
		break;
	}
}

/* ---- the run --------------------------------------------------------------------------------------------- */

static void work(void *arg)
{
	struct worker *w = arg;

	for (uint64_t i = 1; i <= w->nops && !failed(w->run); i++) {
		if (one_in(&w->rng, 3)) {
			fight_for_names(w);
		} else if (one_in(&w->rng, 2)) {
			fight_for_files(w);
		} else {
			op_choose(w->run, &w->rng, (uint32_t)i, &w->op);
			run_step(w->run, &w->op);
		}
	}
}

static void arena_open(struct arena *arena, struct run *host)
{
	struct cred cred = { 0 };
	struct inode *root, *inode;
	char name[16];

	arena->host = host;
	assert_int_equal(inode_get(host->vol, ROOT_INO, &root), 0);
	for (unsigned i = 0; i < NR_SHARED_DIRS; i++) {
		snprintf(name, sizeof(name), "dir%u", i);
		assert_int_equal(ns_create(root, name, strlen(name), S_IFDIR | 0755, &cred, 0, 0,
					   &arena->dirs[i]),
				 0);
		for (unsigned p = 0; p < NR_PINNED; p++) {
			snprintf(name, sizeof(name), "p%u", p);
			assert_int_equal(ns_create(arena->dirs[i], name, strlen(name),
						   S_IFREG | 0600, &cred, 0, 0, &inode),
					 0);
			inode_put(inode);
		}
	}
	for (unsigned i = 0; i < NR_SHARED_FILES; i++) {
		snprintf(name, sizeof(name), "file%u", i);
		assert_int_equal(ns_create(root, name, strlen(name), S_IFREG | 0644, &cred, 0, 0,
					   &arena->files[i]),
				 0);
	}
	inode_put(root);
}

static void arena_close(struct arena *arena)
{
	for (unsigned i = 0; i < NR_SHARED_DIRS; i++)
		inode_put(arena->dirs[i]);
	for (unsigned i = 0; i < NR_SHARED_FILES; i++)
		inode_put(arena->files[i]);
}

static void on_problem(void *ctx, const struct fsck_problem *problem)
{
	(void)ctx;
	if (fsck_code_class(problem->code) != FSCK_CLASS_NOTE)
		print_error("fsck: %s: %s\n", fsck_code_name(problem->code), problem->text);
}

static void assert_sound(struct region *region)
{
	struct fsck_options options = { .pending = FSCK_PENDING_NONE, .problem = on_problem };
	struct fsck_report report;

	assert_int_equal(fsck_check(region, &options, &report), 0);
	assert_int_equal(report.problems, 0);
}

static uint64_t ops_of_each(void)
{
	const char *level = getenv("UDAX_TEST_LEVEL"), *text = getenv("UDAX_THREAD_OPS");
	uint64_t n = level && strcmp(level, "full") == 0 ? 60000 : 12000;

	return text ? strtoull(text, NULL, 0) : n;
}

static void remount_and_compare(struct run *host, struct worker *workers)
{
	for (unsigned i = 0; i < NR_THREADS; i++)
		for (unsigned h = 0; h < MAX_HANDLES; h++)
			handle_drop(workers[i].run, &workers[i].run->handles[h], true);
	assert_int_equal(atomic_load(&host->vol->stat.errors), 0);
	volume_unmount(host->vol);
	assert_sound(host->region);
	run_mount(host);
	assert_string_equal(host->why, "");
	for (unsigned i = 0; i < NR_THREADS; i++) {
		workers[i].run->vol = host->vol;
		check_all(workers[i].run);
		assert_string_equal(workers[i].run->why, "");
	}
}

static void threads_on(struct run *host, uint64_t seed, uint64_t nops)
{
	struct worker *workers = calloc(NR_THREADS, sizeof(*workers));
	struct arena arena;
	unsigned bad = 0;
	char name[16];

	assert_non_null(workers);
	arena_open(&arena, host);
	for (unsigned i = 0; i < NR_THREADS; i++) {
		struct worker *w = &workers[i];

		snprintf(name, sizeof(name), "own%u", i);
		*w = (struct worker){ .arena = &arena, .rng = seed + i, .nops = nops, .number = i };
		w->run = run_join(host, &setup, name);
	}
	for (unsigned i = 0; i < NR_THREADS; i++)
		assert_int_equal(sync_thread_start(host->sync, "worker", work, &workers[i],
						   &workers[i].thread),
				 0);
	for (unsigned i = 0; i < NR_THREADS; i++)
		sync_thread_join(workers[i].thread);
	for (unsigned i = 0; i < NR_THREADS; i++) {
		char line[200] = "(none)";

		if (!failed(workers[i].run))
			continue;
		op_print(&workers[i].op, line, sizeof(line));
		print_error("thread %u, its last own operation %s: %s\n", i, line,
			    workers[i].run->why);
		bad++;
	}
	assert_string_equal(host->why, "");
	assert_int_equal(bad, 0);
	arena_close(&arena);
	remount_and_compare(host, workers);
	for (unsigned i = 0; i < NR_THREADS; i++)
		run_delete(workers[i].run);
	free(workers);
}

static void threads_and_lockdep(bool lockdep, unsigned percent)
{
	struct region *region = region_record_new(NULL, setup.bytes, 4096);
	struct run *host;
	uint64_t seed = bed_seed(20240608);

	assert_non_null(region);
	host = run_new(&setup, region, lockdep);
	assert_string_equal(host->why, "");
	threads_on(host, seed, ops_of_each() * percent / 100);
	assert_int_equal(host->lock_reports, 0);
	run_delete(host);
	region_close(region);
}

static void threads_agree_with_their_models_and_leave_the_volume_sound(void **state)
{
	(void)state;
	threads_and_lockdep(false, 80);
}

static void the_lock_checker_has_nothing_to_say_about_them(void **state)
{
	(void)state;
	threads_and_lockdep(true, 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_agree_with_their_models_and_leave_the_volume_sound),
		cmocka_unit_test(the_lock_checker_has_nothing_to_say_about_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
