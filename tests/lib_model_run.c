/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * lib_model_run.c - the volume and its model through the life of a run: made, mounted, killed, emptied;
 * choosing and doing one operation; operations as text. See model_run.h.
 */
#include "model_run.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "alloc.h"
#include "bed.h"
#include "fsck.h"
#include "holder.h"
#include "journal.h"
#include "mem.h"
#include "mode.h"
#include "namespace.h"
#include "region.h"
#include "volume.h"
#include "xattr.h"

#define SLACK 24u /* blocks that fragments of an operation, or what is prepared, may take */
#define POISON 0xa5

void wrong(struct run *run, const char *format, ...)
{
	va_list args;

	if (failed(run))
		return; /* the first thing found counts */
	va_start(args, format);
	vsnprintf(run->why, sizeof(run->why), format, args);
	va_end(args);
}

static void on_report(void *ctx, const char *line)
{
	struct run *run = ctx;

	run->lock_reports++;
	wrong(run, "lockdep: %s", line);
	fprintf(stderr, "%s\n", line);
}

_Thread_local uint64_t notified;

/* The kernel's page cache, as far as the core asks it for anything. */
static void on_notify(void *ctx, uint64_t ino, uint64_t pos, uint64_t len)
{
	(void)ctx, (void)ino, (void)pos, (void)len;
	notified++;
}

static void on_attr_changed(void *ctx, uint64_t ino)
{
	(void)ctx, (void)ino;
}

static void on_resume(void *ctx, struct waiter *waiter, uint64_t delay_ns)
{
	(void)waiter, (void)delay_ns;
	wrong(ctx, "a request was parked, and nobody is in its way");
}

static const struct holder_ops holders = {
	.notify = on_notify,
	.attr_changed = on_attr_changed,
	.resume = on_resume,
};

static void on_log(void *ctx, const char *line)
{
	if (strncmp(line, "damage", 6) == 0)
		wrong(ctx, "%s", line);
}

/* ---- the volume --------------------------------------------------------------------------------- */

void run_mount(struct run *run)
{
	struct volume_env env = { .sync = run->sync,
				  .mem = mem_heap(),
				  .holder_ops = &holders,
				  .holder_ctx = run,
				  .log = on_log,
				  .log_ctx = run };
	char err[256];

	run->vol = NULL;
	if (volume_mount(run->region, &env, &run->vol, err, sizeof(err)))
		wrong(run, "mount: %s", err);
}

static void poison(struct region *region)
{
	unsigned char *image = malloc(region->bytes);

	if (!image)
		abort();
	memset(image, POISON, region->bytes);
	region_record_reset(region, image);
	free(image);
}

static struct run *run_alloc(const struct model_setup *setup, struct region *region)
{
	struct run *run = calloc(1, sizeof(*run));

	if (!run)
		abort();
	run->setup = setup;
	run->region = region;
	run->buf = malloc(setup->max_len);
	if (!run->buf)
		abort();
	return run;
}

/* The model of an empty directory. */
static void model_from(struct run *run, struct inode *root)
{
	struct mnode *node;
	struct attr attr;

	inode_attr(root, &attr);
	model_init(&run->m, attr.mode & 07777, attr.uid, attr.gid);
	node = run->m.nodes[0];
	node->ino = root->ino;
	node->mtime = attr.mtime;
	node->ctime = attr.ctime;
	run->parent_ino = ROOT_INO;
}

struct run *run_new(const struct model_setup *setup, struct region *region, bool lockdep)
{
	struct format_options format = {
		.label = "model", .lane_blocks = setup->lane_blocks, .root_uid = 3, .root_gid = 4
	};
	struct run *run = run_alloc(setup, region);
	struct sync_options options = { lockdep, on_report, run };
	struct inode *root;

	run->sync = sync_pthread_new(&options);
	if (!run->sync)
		abort();
	if (setup->poisoned)
		poison(region);
	if (volume_format(region, run->sync, mem_heap(), &format))
		wrong(run, "format");
	else
		run_mount(run);
	if (!run->vol)
		return run;
	if (inode_get(run->vol, ROOT_INO, &root))
		abort();
	model_from(run, root);
	inode_put(root);
	run->space = space_in_sight(run);
	return run;
}

struct run *run_join(struct run *host, const struct model_setup *setup, const char *name)
{
	struct run *run = run_alloc(setup, host->region);
	struct cred cred = { 0 };
	struct inode *root, *dir;

	run->joined = true;
	run->sync = host->sync;
	run->vol = host->vol;
	if (inode_get(run->vol, ROOT_INO, &root) ||
	    ns_create(root, name, strlen(name), S_IFDIR | 0755, &cred, 0, 0, &dir))
		abort();
	model_from(run, dir);
	inode_put(dir);
	inode_put(root);
	return run;
}

void handle_drop(struct run *run, struct handle *handle, bool put)
{
	struct mnode *node = handle->node;

	if (!node)
		return;
	if (put && handle->has_mode)
		mode_release(handle->inode, 0);
	if (put)
		inode_put(handle->inode);
	node->handles--;
	node->opens -= handle->has_mode;
	if (!node->opens)
		node->mode = MODE_NONE;
	if (!node->handles)
		mnode_keep(node, 0, UINT64_MAX);
	*handle = (struct handle){ 0 };
	for (unsigned i = 0; i < run->ntouched && !node->handles && !node->nlink; i++)
		if (run->touched[i].node == node)
			run->touched[i].node = NULL;
	model_settle(&run->m, node);
}

static void drop_handles(struct run *run, bool put)
{
	for (unsigned i = 0; i < MAX_HANDLES; i++)
		handle_drop(run, &run->handles[i], put);
}

void run_delete(struct run *run)
{
	drop_handles(run, run->joined);
	if (run->vol && !run->joined)
		volume_abandon(run->vol);
	model_clear(&run->m);
	if (!run->joined)
		sync_delete(run->sync);
	free(run->buf);
	free(run);
}

/* ---- for the operations ----------------------------------------------------------------------------- */

/* There is no telling how far an allocation comes among fragments; near the end all is excused. */
static bool is_full(const struct run *run, uint64_t blocks)
{
	return blocks != NEVER_FULL && (run->joined || run->nfree < blocks + SLACK);
}

bool judge(struct run *run, const struct verdict *v, int64_t result, uint64_t blocks)
{
	if (result >= 0) {
		if (v->n)
			wrong(run, "it succeeded, should be %s", strerror(v->errors[0]));
		return !failed(run);
	}
	run->refused++;
	for (unsigned i = 0; i < v->n; i++)
		if (result == -v->errors[i])
			return false;
	if (result == -ENOSPC && is_full(run, blocks))
		run->full++;
	else
		wrong(run, "it gave %s, should be %s (%" PRIu64 " blocks are free)",
		      strerror((int)-result), v->n ? strerror(v->errors[0]) : "success",
		      run->nfree);
	return false;
}

void touched_range(struct run *run, struct mnode *node, unsigned times, uint64_t pos, uint64_t len)
{
	unsigned i = 0;

	while (i < run->ntouched && run->touched[i].node != node)
		i++;
	if (i == run->ntouched) {
		run->touched[i].node = node;
		run->touched[i].times = 0;
		run->touched[i].len = 0;
		run->ntouched++;
	}
	run->touched[i].times |= times;
	if (len) {
		run->touched[i].pos = pos;
		run->touched[i].len = len;
	}
}

void touched(struct run *run, struct mnode *node, unsigned times)
{
	touched_range(run, node, times, 0, 0);
}

struct inode *inode_of(struct run *run, const struct mnode *node)
{
	struct inode *inode;
	int err;

	if (!node) /* made by an operation that is not in the list any more */
		return NULL;
	err = inode_get(run->vol, node->ino, &inode);
	if (!err)
		return inode;
	wrong(run, "node %" PRIu64 " (inode %" PRIu64 ") is gone: %s", node->id, node->ino,
	      strerror(-err));
	return NULL;
}

unsigned node_kind(const struct mnode *node)
{
	return S_ISREG(node->type)   ? A_FILE
	       : S_ISDIR(node->type) ? A_DIR
	       : S_ISLNK(node->type) ? A_LINK
				     : ANOTHER;
}

struct mnode *pick_node(const struct run *run, uint64_t *rng, unsigned types)
{
	size_t at = below(rng, run->m.nnodes);

	for (size_t i = 0; i < run->m.nnodes; i++) {
		struct mnode *node = run->m.nodes[(at + i) % run->m.nnodes];

		if (node_kind(node) & types)
			return node;
	}
	return NULL;
}

uint64_t below(uint64_t *rng, uint64_t n)
{
	return rng_below(rng, n);
}

bool one_in(uint64_t *rng, unsigned n)
{
	return !rng_below(rng, n);
}

static const struct {
	const char *bytes;
	size_t len;
	int error;
} odd_names[NR_ODD_NAMES] = {
	{ "", 0, EINVAL },    { ".", 1, EINVAL },    { "..", 2, EINVAL },
	{ "a/b", 3, EINVAL }, { "a\0b", 3, EINVAL }, { NULL, MAX_NAME_BYTES + 1, ENAMETOOLONG },
};

size_t model_name(unsigned name, char buf[NAME_BUF])
{
	size_t len;

	memset(buf, 'x', NAME_BUF);
	if (name >= ODD_NAMES) {
		len = odd_names[name - ODD_NAMES].len;
		if (odd_names[name - ODD_NAMES].bytes)
			memcpy(buf, odd_names[name - ODD_NAMES].bytes, len);
		return len;
	}
	len = (size_t)snprintf(buf, NAME_BUF, "n%u_", name);
	buf[len] = 'x';
	if (name % 5 == 0)
		len += (name * 37) % 245;
	return len > MAX_NAME_BYTES ? MAX_NAME_BYTES : len;
}

int odd_name_error(unsigned name)
{
	return odd_names[name - ODD_NAMES].error;
}

/* ---- operations on the whole volume ---------------------------------------------------------------- */

/* remount HOW: 0 cleanly, 1 cleanly with files open, 2 killed, 3 killed and what is pending is lost */
static bool choose_remount(struct run *run, uint64_t *rng, uint64_t *a)
{
	if (run->joined)
		return false;
	a[0] = below(rng, run->setup->poisoned ? 4 : 3);
	return true;
}

static void apply_remount(struct run *run, const uint64_t *a)
{
	drop_handles(run, a[0] == 0);
	if (a[0] < 2)
		volume_unmount(run->vol);
	else
		volume_abandon(run->vol);
	if (a[0] == 3)
		region_record_reset(run->region, region_record_durable(run->region));
	run_mount(run);
	if (!failed(run))
		check_all(run);
}

/* check */
static bool choose_check(struct run *run, uint64_t *rng, uint64_t *a)
{
	(void)run, (void)rng, (void)a;
	return true;
}

static void apply_check(struct run *run, const uint64_t *a)
{
	(void)a;
	check_all(run);
}

static void thaw(struct run *run, struct mnode *node)
{
	struct inode *inode = node->flags ? inode_of(run, node) : NULL;
	struct attr none = { .flags = 0 };

	if (!inode)
		return;
	if (inode_setattr(inode, SET_FLAGS, &none))
		wrong(run, "the flags of node %" PRIu64 " cannot be cleared", node->id);
	node->flags = 0;
	inode_put(inode);
}

static void empty_dir(struct run *run, struct mnode *dir)
{
	struct inode *inode;
	char name[NAME_BUF];

	thaw(run, dir);
	inode = inode_of(run, dir);
	while (dir->nentries && !failed(run)) {
		struct mentry entry = dir->entries[0];
		bool is_dir = S_ISDIR(entry.node->type);
		size_t len = model_name(entry.name, name);
		int err;

		if (is_dir)
			empty_dir(run, entry.node);
		thaw(run, entry.node);
		if (failed(run))
			break;
		err = is_dir ? ns_rmdir(inode, name, len) : ns_unlink(inode, name, len);
		if (err)
			wrong(run, "%.*s cannot be removed: %s", (int)len, name, strerror(-err));
		mdir_remove(dir, entry.name);
		dir->nlink -= is_dir;
		entry.node->nlink = is_dir ? 0 : entry.node->nlink - 1;
		model_settle(&run->m, entry.node);
	}
	if (inode)
		inode_put(inode);
}

/* spoil NODE: put a wrong byte into the model's file: a difference that must be found */
static void apply_spoil(struct run *run, const uint64_t *a)
{
	struct mnode *node = model_node(&run->m, a[0]);
	struct inode *inode = inode_of(run, node);

	if (!inode)
		return;
	if (S_ISREG(node->type) && node->file.npages) {
		struct mpage *page = &node->file.pages[0];

		page->bytes[0] ^= 1;
		touched(run, node, 0);
	}
	inode_put(inode);
}

static bool choose_spoil(struct run *run, uint64_t *rng, uint64_t *a)
{
	const struct mnode *node = pick_node(run, rng, A_FILE);

	a[0] = node ? node->id : 0;
	return node && node->file.npages &&
	       node->file.size > node->file.pages[0].index * MPAGE_BYTES;
}

/* empty: everything goes, and all space comes back */
static void apply_empty(struct run *run, const uint64_t *a)
{
	struct mnode *root = run->m.nodes[0];
	uint64_t space;

	(void)a;
	drop_handles(run, true);
	empty_dir(run, root);
	if (failed(run))
		return;
	for (struct mxattr *x = root->xattrs, *next; x; x = next) {
		struct inode *inode = inode_of(run, root);

		next = x->next;
		if (xattr_set(inode, x->name, NULL, 0, 0))
			wrong(run, "an xattr of the root cannot be removed");
		inode_put(inode);
		mxattr_remove(root, x->name);
	}
	space = space_in_sight(run);
	if (space != run->space)
		wrong(run, "all was removed: %" PRIu64 " blocks in sight, at first %" PRIu64, space,
		      run->space);
	check_node(run, root, TOUCH_CTIME | TOUCH_MTIME, true, 0, 0);
}

/* ---- checking the medium ------------------------------------------------------------------------ */

static void on_problem(void *ctx, const struct fsck_problem *problem)
{
	if (fsck_code_class(problem->code) != FSCK_CLASS_NOTE)
		wrong(ctx, "fsck: %s: %.300s", fsck_code_name(problem->code), problem->text);
}

void check_medium(struct run *run, bool mounted)
{
	struct fsck_options options = {
		.pending = mounted ? FSCK_PENDING_ORPHANS : FSCK_PENDING_NONE,
		.mounted = mounted,
		.problem = on_problem,
		.ctx = run,
	};
	struct fsck_report report;

	if (fsck_check(run->region, &options, &report))
		wrong(run, "fsck: %.300s", report.message);
	else if (report.problems)
		wrong(run, "fsck: %llu problems", (unsigned long long)report.problems);
}

/* fsck HOW: 0 while it is mounted, 1 after it was unmounted cleanly */
static bool choose_fsck(struct run *run, uint64_t *rng, uint64_t *a)
{
	a[0] = below(rng, 2);
	return !run->joined;
}

static void apply_fsck(struct run *run, const uint64_t *a)
{
	if (a[0]) {
		drop_handles(run, true);
		volume_unmount(run->vol);
		run->vol = NULL;
	}
	check_medium(run, !a[0]);
	if (!run->vol)
		run_mount(run);
}

/* crash FENCE SEED: in the next operation that can be cut */
static bool choose_crash(struct run *run, uint64_t *rng, uint64_t *a)
{
	a[0] = 1 + below(rng, one_in(rng, 4) ? 60 : 8);
	a[1] = below(rng, 1000);
	return run->setup->poisoned;
}

static void apply_crash(struct run *run, const uint64_t *a)
{
	run->cut_at = run->setup->poisoned ? a[0] : 0;
	run->cut_seed = a[1];
}

const struct op_kind volume_ops[] = {
	{ "crash", 2, 0, 5, NOT_CUT, choose_crash, apply_crash },
	{ "remount", 1, 0, 2, NOT_CUT, choose_remount, apply_remount },
	{ "check", 0, 0, 1, NOT_CUT, choose_check, apply_check },
	{ "empty", 0, 0, 0, NOT_CUT, choose_check, apply_empty },
	{ "fsck", 1, 0, 1, NOT_CUT, choose_fsck, apply_fsck },
	{ "spoil", 1, 1, 0, NOT_CUT, choose_spoil, apply_spoil },
	{ 0 },
};

/* ---- kinds ------------------------------------------------------------------------------------------ */

static const struct op_kind *const kinds[] = { name_ops, file_ops, cached_ops, volume_ops };
#define NR_TABLES (sizeof(kinds) / sizeof(kinds[0]))

static size_t kinds_in(const struct op_kind *table)
{
	size_t n = 0;

	while (table[n].name)
		n++;
	return n;
}

/* Kinds are numbered through all tables. */
static const struct op_kind *kind_at(uint32_t number)
{
	for (size_t t = 0; t < NR_TABLES; t++)
		for (const struct op_kind *k = kinds[t]; k->name; k++)
			if (!number--)
				return k;
	return NULL;
}

static uint64_t weight_of(const struct run *run, const struct op_kind *k)
{
	bool names = k >= name_ops && k < name_ops + kinds_in(name_ops);

	return k->weight * (names ? run->setup->names_weight : 1);
}

static uint32_t pick_kind(const struct run *run, uint64_t *rng)
{
	const struct op_kind *k;
	uint64_t total = 0;
	uint32_t number;

	for (number = 0; (k = kind_at(number)); number++)
		total += weight_of(run, k);
	total = below(rng, total);
	for (number = 0; weight_of(run, kind_at(number)) <= total; number++)
		total -= weight_of(run, kind_at(number));
	return number;
}

uint32_t op_kind(const char *name)
{
	const struct op_kind *k;
	uint32_t number = 0;

	while ((k = kind_at(number)) && strcmp(k->name, name) != 0)
		number++;
	return number;
}

bool op_choose_kind(struct run *run, uint64_t *rng, uint32_t id, const char *name,
		    struct op *ret_op)
{
	*ret_op = (struct op){ .kind = op_kind(name), .id = id };
	return kind_at(ret_op->kind)->choose(run, rng, ret_op->a);
}

void op_choose(struct run *run, uint64_t *rng, uint32_t id, struct op *ret_op)
{
	do {
		*ret_op = (struct op){ .kind = pick_kind(run, rng), .id = id };
	} while (!kind_at(ret_op->kind)->choose(run, rng, ret_op->a));
}

/* Do it, and compare what it has touched. */
void run_do(struct run *run, const struct op_kind *kind)
{
	uint64_t commits = atomic_load(&run->vol->stat.tx_commits);

	kind->apply(run, run->op->a);
	if (kind->crash == ATOMIC)
		run->pieces += atomic_load(&run->vol->stat.tx_commits) > commits + 1;
	for (unsigned i = 0; i < run->ntouched && !failed(run); i++) {
		struct mnode *node = run->touched[i].node;

		if (node && (node->nlink || node->handles))
			check_node(run, node, run->touched[i].times, run->op->id % 32 == 0,
				   run->touched[i].pos, run->touched[i].len);
		else if (node)
			model_settle(&run->m, node);
	}
}

bool run_step(struct run *run, const struct op *op)
{
	run->ntouched = 0;
	run->op = op;
	run->nfree = alloc_nfree(run->vol);
	run->began = sync_realtime(run->sync);
	if (run->cut_at && kind_at(op->kind)->crash != NOT_CUT)
		run_cut(run, kind_at(op->kind));
	else
		run_do(run, kind_at(op->kind));
	if (!failed(run) && atomic_load(&run->vol->stat.errors))
		wrong(run, "the volume has met damage");
	run->done++;
	return !failed(run);
}

unsigned op_nodes(const struct op *op)
{
	return kind_at(op->kind)->nodes;
}

/* ---- operations as text -------------------------------------------------------------------------------- */

void op_print(const struct op *op, char *buf, size_t size)
{
	const struct op_kind *k = kind_at(op->kind);
	size_t n = (size_t)snprintf(buf, size, "%" PRIu32 " %s", op->id, k->name);

	for (unsigned i = 0; i < k->nargs && n < size; i++)
		n += (size_t)snprintf(buf + n, size - n, " %" PRIu64, op->a[i]);
}

bool op_parse(const char *text, struct op *ret_op)
{
	struct op op = { 0 };
	const struct op_kind *k;
	char name[32], *at;
	unsigned long id = strtoul(text, &at, 10);
	int n = 0;

	if (at == text || id > UINT32_MAX || sscanf(at, " %31[a-z]%n", name, &n) != 1)
		return false;
	op.id = (uint32_t)id;
	op.kind = op_kind(name);
	k = kind_at(op.kind);
	if (!k)
		return false;
	at += n;
	for (unsigned i = 0; i < k->nargs; i++)
		op.a[i] = strtoull(at, &at, 10);
	*ret_op = op;
	return true;
}
