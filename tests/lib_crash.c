/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * lib_crash.c - the crash explorer. What it does, and what it leaves out, is in crash.h.
 */
#include "crash.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "dir.h"
#include "extent.h"
#include "file.h"
#include "format.h"
#include "fsck.h"
#include "inode.h"
#include "mem.h"
#include "namespace.h"
#include "region.h"
#include "sync.h"
#include "volume.h"
#include "xattr.h"

/* More lines than this at one fence are sampled; the fence of a commit has far fewer. */
#define MAX_LINES 192u
#define MAX_VIEW_BYTES_PER_FILE (1u << 20)

/* ---- views ------------------------------------------------------------------------------------------ */

static void view_add(struct view *view, const void *data, size_t len)
{
	if (view->len + len > view->room) {
		view->room = 2 * (view->len + len) + 4096;
		view->text = realloc(view->text, view->room);
		assert_non_null(view->text);
	}
	memcpy(view->text + view->len, data, len);
	view->len += len;
}

static void __attribute__((format(printf, 2, 3)))
view_print(struct view *view, const char *fmt, ...)
{
	char line[1024];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	assert_in_range(n, 0, sizeof(line) - 1);
	view_add(view, line, (size_t)n);
}

static void view_contents(struct view *view, struct inode *inode, uint64_t size)
{
	uint64_t pos = 0;

	assert_in_range(size, 0, MAX_VIEW_BYTES_PER_FILE);
	while (pos < size) {
		struct read_plan plan;

		assert_int_equal(file_read_begin(inode, pos, size - pos, 0, &plan), 0);
		assert_true(plan.bytes > 0);
		for (unsigned i = 0; i < plan.npieces; i++)
			view_add(view, plan.pieces[i].iov_base, plan.pieces[i].iov_len);
		pos += plan.bytes;
		file_read_end(inode, &plan);
	}
}

static void view_xattrs(struct view *view, struct inode *inode)
{
	static char names[65536], value[65536];
	ssize_t len = xattr_list(inode, names, sizeof(names));

	assert_true(len >= 0);
	for (const char *name = names; name < names + len; name += strlen(name) + 1) {
		ssize_t n = xattr_get(inode, name, value, sizeof(value));

		assert_true(n >= 0);
		view_print(view, " xattr %s %zd ", name, n);
		view_add(view, value, (size_t)n);
	}
}

static void view_inode(struct view *view, const char *path, struct inode *inode)
{
	struct attr a;

	inode_attr(inode, &a);
	view_print(view,
		   "\n%s ino %llu gen %u mode %o uid %u gid %u nlink %u flags %x size %llu "
		   "mtime %lld.%09ld ctime %lld.%09ld rdev %u:%u",
		   path, (unsigned long long)a.ino, a.generation, a.mode, a.uid, a.gid, a.nlink,
		   a.flags, (unsigned long long)a.size, (long long)a.mtime.tv_sec, a.mtime.tv_nsec,
		   (long long)a.ctime.tv_sec, a.ctime.tv_nsec, a.rdev_major, a.rdev_minor);
	view_xattrs(view, inode);
	if (S_ISREG(a.mode)) {
		view_contents(view, inode, a.size);
	} else if (S_ISLNK(a.mode)) {
		char target[MAX_SYMLINK_BYTES + 1];

		assert_int_equal(ns_readlink(inode, target, sizeof(target)), 0);
		view_print(view, " -> %.900s", target);
	}
}

static void view_tree(struct view *view, const char *path, struct inode *inode)
{
	struct dir_entry entry = { 0 };
	uint64_t pos = 0;

	view_inode(view, path, inode);
	if (!S_ISDIR(inode->type))
		return;
	for (;;) {
		struct inode *child;
		char child_path[700];
		int err;

		ilock(inode, SYNC_SHARED, HERE);
		err = dir_iterate(inode, pos, &entry);
		iunlock(inode, SYNC_SHARED, HERE);
		if (err == -ENOENT)
			return;
		assert_int_equal(err, 0);
		pos = entry.pos + 1;
		assert_int_equal(inode_get(inode->vol, entry.ino, &child), 0);
		snprintf(child_path, sizeof(child_path), "%.300s/%.300s", path, entry.name);
		view_tree(view, child_path, child);
		inode_put(child);
	}
}

void view_take(struct volume *vol, struct view *ret)
{
	struct inode *root;

	*ret = (struct view){ 0 };
	assert_int_equal(inode_get(vol, ROOT_INO, &root), 0);
	view_tree(ret, "", root);
	inode_put(root);
}

void view_free(struct view *view)
{
	free(view->text);
	*view = (struct view){ 0 };
}

static bool view_equal(const struct view *a, const struct view *b)
{
	return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
}

/* Every byte is that of @a or of @b. */
static bool view_between(const struct view *v, const struct view *a, const struct view *b)
{
	if (v->len != a->len || v->len != b->len)
		return false;
	for (size_t i = 0; i < v->len; i++)
		if (v->text[i] != a->text[i] && v->text[i] != b->text[i])
			return false;
	return true;
}

/* Four bytes of poison in a row are no coincidence: the test data has none. */
static bool view_poisoned(const struct view *v)
{
	static const unsigned char poison[4] = { CRASH_POISON, CRASH_POISON, CRASH_POISON,
						 CRASH_POISON };

	return memmem(v->text, v->len, poison, sizeof(poison)) != NULL;
}

/* ---- the explorer ----------------------------------------------------------------------------------------- */

/* What an image looked like that did not look like before: it has to look like after. */
struct found {
	struct found *next;
	struct view view;
	char where[200];
};

struct explorer {
	const struct crash_case *c;
	struct sync *sync;
	struct region *checked; /* the crashed image under examination */
	struct region *again;	/* one whose recovery was crashed, too */
	unsigned char *image, *again_image;
	struct view before, after;
	struct found *found;
	unsigned fence;
	uint64_t images;
	char where[200];
};

static uint64_t all_images;

uint64_t crash_images(void)
{
	return all_images;
}

static void print_problem(void *ctx, const struct fsck_problem *problem)
{
	const struct explorer *ex = ctx;

	print_error("%s: %s: %s\n", ex->where, fsck_code_name(problem->code), problem->text);
}

static void check_clean(struct explorer *ex, struct region *region)
{
	struct fsck_options options = {
		.pending = FSCK_PENDING_NONE, .mounted = true, .problem = print_problem, .ctx = ex
	};
	struct fsck_report report;

	if (fsck_check(region, &options, &report) || report.problems)
		fail_msg("%s: %s: the checker finds %llu problems %s", ex->c->name, ex->where,
			 (unsigned long long)report.problems, report.message);
}

static struct volume *mount_image(struct explorer *ex, struct region *region)
{
	struct volume_env env = { .sync = ex->sync, .mem = mem_heap() };
	struct volume *vol;
	char err[256];

	if (volume_mount(region, &env, &vol, err, sizeof(err)))
		fail_msg("%s: %s: cannot be mounted: %s", ex->c->name, ex->where, err);
	return vol;
}

static void dump_view(const char *what, const struct view *view)
{
	FILE *out;
	char path[64];

	snprintf(path, sizeof(path), "crash-%s.view", what);
	out = fopen(path, "w");
	if (!out)
		return;
	fwrite(view->text, 1, view->len, out);
	fclose(out);
}

/* Whether the view is that of before, or has to be compared with after when that is known. */
static void judge(struct explorer *ex, struct view *view)
{
	struct found *found;

	if (view_poisoned(view))
		fail_msg("%s: %s: bytes of a free block can be read", ex->c->name, ex->where);
	if (view_equal(view, &ex->before)) {
		view_free(view);
		return;
	}
	for (found = ex->found; found; found = found->next) {
		if (view_equal(view, &found->view)) {
			view_free(view);
			return;
		}
	}
	found = calloc(1, sizeof(*found));
	assert_non_null(found);
	found->view = *view;
	memcpy(found->where, ex->where, sizeof(found->where));
	found->next = ex->found;
	ex->found = found;
}

static void examine(struct explorer *ex, struct region *region)
{
	struct volume *vol = mount_image(ex, region);
	struct view view;

	ex->images++;
	all_images++;
	view_take(vol, &view);
	volume_abandon(vol);
	check_clean(ex, region);
	judge(ex, &view);
}

/*
 * Recovery finishes long operations in pieces that are all alike: crash it at each of its first
 * fences, and at a few later ones. The same goes for which fences' recovery is crashed at all.
 */
static bool worth_it(uint64_t fence)
{
	return fence <= 12 || fence % 29 == 0;
}

/* A fence of the recovery of an image: crash there too. */
static void on_recovery_drain(void *ctx, struct region *region)
{
	struct explorer *ex = ctx;
	char outer[sizeof(ex->where)];

	if (!worth_it(region_record_nr_drains(region)))
		return;
	memcpy(outer, ex->where, sizeof(outer));
	snprintf(ex->where, sizeof(ex->where), "%.120s, then in recovery at its fence %llu", outer,
		 (unsigned long long)region_record_nr_drains(region));
	region_record_crash_image(region, SIZE_MAX, ex->again_image);
	region_record_reset(ex->again, ex->again_image);
	examine(ex, ex->again);
	memcpy(ex->where, outer, sizeof(outer));
}

static void examine_image(struct explorer *ex, bool crash_recovery)
{
	region_record_reset(ex->checked, ex->image);
	region_record_on_drain(ex->checked, crash_recovery ? on_recovery_drain : NULL, ex);
	examine(ex, ex->checked);
	region_record_on_drain(ex->checked, NULL, NULL);
}

static void on_drain(void *ctx, struct region *region)
{
	struct explorer *ex = ctx;
	size_t n = region_record_nr_pending(region);
	size_t stride = n > MAX_LINES ? n / MAX_LINES + 1 : 1;

	ex->fence++;
	snprintf(ex->where, sizeof(ex->where), "crash at fence %u", ex->fence);
	region_record_crash_image(region, SIZE_MAX, ex->image);
	examine_image(ex, worth_it(ex->fence));
	for (size_t i = ex->fence % stride; i < n; i += stride) {
		const struct sync_site *site;
		uint64_t off;

		assert_true(region_record_pending(region, i, &off, &site));
		snprintf(ex->where, sizeof(ex->where),
			 "crash at fence %u without the line at %llu (%.60s:%d)", ex->fence,
			 (unsigned long long)off, site->file, site->line);
		region_record_crash_image(region, i, ex->image);
		examine_image(ex, false);
	}
}

/* ---- a case ------------------------------------------------------------------------------------------------- */

/* Fill what is free with poison, behind the volume's back. */
static void poison_free_blocks(struct region *region)
{
	const struct map_block *map =
		region_ptr(region, space_map_blk(0) << BLOCK_SHIFT, BLOCK_BYTES);
	unsigned char poison[BLOCK_BYTES];

	memset(poison, CRASH_POISON, sizeof(poison));
	for (uint64_t blk = 0; blk < region->bytes >> BLOCK_SHIFT; blk++)
		if (!(from_le64(map->bits[PLANE_USED][blk / 64]) >> blk % 64 & 1))
			region_store(region, blk << BLOCK_SHIFT, poison, sizeof(poison), HERE);
	region_drain(region, HERE);
}

static void run_op(struct explorer *ex, struct region *region)
{
	struct volume *vol = mount_image(ex, region);

	view_take(vol, &ex->before);
	region_record_on_drain(region, on_drain, ex);
	ex->c->op(vol);
	region_record_on_drain(region, NULL, NULL);
	view_take(vol, &ex->after);
	volume_abandon(vol);
}

static void compare_with_after(struct explorer *ex)
{
	for (struct found *found = ex->found; found; found = found->next) {
		if (view_equal(&found->view, &ex->after) ||
		    (ex->c->torn && view_between(&found->view, &ex->before, &ex->after)))
			continue;
		dump_view("before", &ex->before);
		dump_view("after", &ex->after);
		dump_view("found", &found->view);
		fail_msg("%s: %s: neither as before nor as after (crash-*.view)", ex->c->name,
			 found->where);
	}
	if (view_poisoned(&ex->after))
		fail_msg("%s: afterwards, bytes of a free block can be read", ex->c->name);
	if (view_equal(&ex->before, &ex->after) && !ex->c->torn && !ex->c->invisible)
		fail_msg("%s: the operation changed nothing", ex->c->name);
	if (!view_equal(&ex->before, &ex->after) && ex->c->invisible)
		fail_msg("%s: the operation changed what is visible", ex->c->name);
}

static void explorer_free(struct explorer *ex)
{
	while (ex->found) {
		struct found *next = ex->found->next;

		view_free(&ex->found->view);
		free(ex->found);
		ex->found = next;
	}
	view_free(&ex->before);
	view_free(&ex->after);
	region_close(ex->checked);
	region_close(ex->again);
	free(ex->image);
	free(ex->again_image);
	sync_delete(ex->sync);
}

void crash_explore(const struct crash_case *c)
{
	struct explorer ex = { .c = c, .where = "before the operation" };
	struct sync_options sync_options = { 0 };
	struct format_options format = { .label = "crash", .lane_blocks = c->lane_blocks };
	const uint64_t bytes = c->bytes ? c->bytes : CRASH_VOLUME_BYTES;
	struct region *region = region_record_new(NULL, bytes, BLOCK_BYTES);
	struct volume *vol;

	ex.sync = sync_pthread_new(&sync_options);
	ex.checked = region_record_new(NULL, bytes, BLOCK_BYTES);
	ex.again = region_record_new(NULL, bytes, BLOCK_BYTES);
	ex.image = malloc(bytes);
	ex.again_image = malloc(bytes);
	assert_non_null(ex.sync);
	assert_non_null(region);
	assert_non_null(ex.checked);
	assert_non_null(ex.again);
	assert_non_null(ex.image);
	assert_non_null(ex.again_image);

	assert_int_equal(volume_format(region, ex.sync, mem_heap(), &format), 0);
	vol = mount_image(&ex, region);
	if (c->setup)
		c->setup(vol);
	volume_unmount(vol);
	poison_free_blocks(region);
	run_op(&ex, region);
	compare_with_after(&ex);
	print_message("%s: %u fences, %llu images\n", c->name, ex.fence,
		      (unsigned long long)ex.images);
	region_close(region);
	explorer_free(&ex);
}

struct inode *crash_open(struct volume *vol, const char *path)
{
	struct inode *inode;

	assert_int_equal(inode_get(vol, ROOT_INO, &inode), 0);
	while (*path) {
		size_t len = strcspn(path, "/");
		struct inode *child;

		assert_int_equal(ns_lookup(inode, path, len, &child), 0);
		inode_put(inode);
		inode = child;
		path += len + (path[len] == '/');
	}
	return inode;
}
