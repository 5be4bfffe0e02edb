/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * lockdep.c - finds a deadlock from the order of locks, before two threads meet in it.
 *
 * A node is a (class, subclass). When a task that holds A takes B, the edge A -> B says "B is
 * waited for while A is held". Threads can stop each other for ever only along a cycle of such
 * edges, and the edges need not come from one run or from one moment, which is why one pass
 * through each path is enough evidence.
 *
 * The bit matrix `seen` has every pair ever observed, so a pair is judged once and costs one
 * relaxed load from then on. The lists `edges` are what the search for a cycle walks. A pair that
 * would close a cycle is reported and kept out of them. So they never contain a cycle, and one
 * that is found later is a new one. A pair against the declared order that closes none is reported
 * and does go in: the pair that makes it deadly may come later, and is worth its own report with
 * a scenario.
 *
 * Why modes are not part of a node: the reader/writer locks of sync.h keep readers out while a
 * writer waits. A thread that wants a lock shared can therefore wait for one that holds it
 * shared, with an innocent third as the writer between them.
 *
 * Reports have the shape of the kernel's, because the readers of ours read that one all day.
 * They name no addresses: a lab run that is replayed must print the same text.
 *
 * Locks: `busy` is a spinning flag, taken for pairs that are new and while reporting, so that the
 * lines of two reports do not mix. It is no lock of sync.h, which would ask lockdep about itself.
 */
#include "lockdep.h"

#include <assert.h>
#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define NR_NODES (LOCK_NR_CLASSES * LOCK_NR_SUBCLASSES)
#define ROW_WORDS ((NR_NODES + 63) / 64)

/* How an edge was first seen. */
struct edge {
	struct edge *next;
	struct lockdep_held outer, inner;
	char task[16];
};

struct lockdep {
	void (*report)(void *ctx, const char *line);
	void *ctx;
	_Atomic uint64_t nr_reports;
	_Atomic uint64_t seen[NR_NODES][ROW_WORDS];
	_Atomic uint64_t recursed[ROW_WORDS]; /* nodes whose recursion was reported */

	atomic_flag busy;	      /* protects what follows, and the setting of bits above */
	struct edge *edges[NR_NODES]; /* by outer node; free of cycles */
};

/* A way through the edges: from[n] is the node before n, -1 for the start and what is not reached. */
struct path {
	int start;
	int from[NR_NODES];
};

struct lock_name {
	char text[32];
};

static const char *const class_names[LOCK_NR_CLASSES] = {
	[LOCK_KERNEL_IRWSEM] = "i_rwsem", [LOCK_CLIENT_MMAP] = "mmap_lock",
	[LOCK_KERNEL_FOLIO] = "folio",	  [LOCK_RENAME] = "rename",
	[LOCK_IOLOCK] = "iolock",	  [LOCK_MMAPLOCK] = "mmaplock",
	[LOCK_JOURNAL] = "journal",	  [LOCK_ILOCK] = "ilock",
	[LOCK_ALLOC] = "alloc",		  [LOCK_HOLDER] = "holder",
	[LOCK_ICACHE] = "icache",	  [LOCK_LEAF] = "leaf",
};

const char *lock_class_name(enum lock_class class)
{
	assert((unsigned)class < LOCK_NR_CLASSES);
	return class_names[class];
}

static int node_of(const struct lockdep_held *h)
{
	return (int)h->class * LOCK_NR_SUBCLASSES + (int)h->subclass;
}

static struct lock_name name_of(int node)
{
	const char *class = lock_class_name((enum lock_class)(node / LOCK_NR_SUBCLASSES));
	int subclass = node % LOCK_NR_SUBCLASSES;
	struct lock_name name;

	if (subclass)
		snprintf(name.text, sizeof(name.text), "%s/%d", class, subclass);
	else
		snprintf(name.text, sizeof(name.text), "%s", class);
	return name;
}

static void lockdep_enter(struct lockdep *dep)
{
	while (atomic_flag_test_and_set_explicit(&dep->busy, memory_order_acquire))
		sched_yield();
}

static void lockdep_leave(struct lockdep *dep)
{
	atomic_flag_clear_explicit(&dep->busy, memory_order_release);
}

static bool bit_seen(const _Atomic uint64_t *row, int node)
{
	return atomic_load_explicit(&row[node / 64], memory_order_relaxed) >> (node % 64) & 1;
}

/* Returns whether the bit was clear. */
static bool bit_first(_Atomic uint64_t *row, int node)
{
	uint64_t bit = 1ull << (node % 64);

	return !(atomic_fetch_or_explicit(&row[node / 64], bit, memory_order_relaxed) & bit);
}

/* Printing. All of it runs inside `busy`. */

__attribute__((format(printf, 2, 3))) static void say(struct lockdep *dep, const char *format, ...)
{
	char line[512];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	dep->report(dep->ctx, line);
}

static void say_rule(struct lockdep *dep, char c, size_t width)
{
	char rule[80];

	assert(width < sizeof(rule));
	memset(rule, c, width);
	rule[width] = '\0';
	say(dep, "%s", rule);
}

static void say_title(struct lockdep *dep, const char *title)
{
	size_t width = strlen("WARNING: ") + strlen(title);

	atomic_fetch_add_explicit(&dep->nr_reports, 1, memory_order_relaxed);
	say(dep, "%s", "");
	say_rule(dep, '=', width);
	say(dep, "WARNING: %s", title);
	say_rule(dep, '-', width);
}

static void say_lock(struct lockdep *dep, const char *before, const struct lockdep_held *h)
{
	say(dep, "%s(%s){%s}, at: %s:%d", before, name_of(node_of(h)).text,
	    h->mode == SYNC_SHARED ? "shared" : "excl", h->site->file, h->site->line);
}

static void say_held(struct lockdep *dep, const struct lockdep_task *task)
{
	char before[16];

	say(dep, "%s", "");
	if (task->nr_held == 0) {
		say(dep, "no locks held by %s.", task->name);
		return;
	}
	say(dep, "%d lock%s held by %s:", task->nr_held, task->nr_held == 1 ? "" : "s", task->name);
	for (int i = 0; i < task->nr_held; i++) {
		snprintf(before, sizeof(before), " #%d: ", i);
		say_lock(dep, before, &task->held[i]);
	}
}

static void say_conflict(struct lockdep *dep, const struct lockdep_task *task,
			 const struct lockdep_held *held, const struct lockdep_held *new)
{
	say(dep, "%s is trying to acquire lock:", task->name);
	say_lock(dep, " ", new);
	say(dep, "%s", "");
	say(dep, "but task is already holding lock:");
	say_lock(dep, " ", held);
}

/* Recursion. */

static void report_recursion(struct lockdep *dep, const struct lockdep_task *task,
			     const struct lockdep_held *held, const struct lockdep_held *new)
{
	say_title(dep, "possible recursive locking detected");
	say_conflict(dep, task, held, new);
	say(dep, "%s", "");
	say(dep, "other info that might help us debug this:");
	say(dep, " Possible unsafe locking scenario:");
	say(dep, "%s", "");
	say(dep, "       CPU0");
	say(dep, "       ----");
	say(dep, "  lock(%s);", name_of(node_of(held)).text);
	say(dep, "  lock(%s);", name_of(node_of(new)).text);
	say(dep, "%s", "");
	say(dep, " *** DEADLOCK ***");
	say(dep, "%s", "");
	if (held->lock != new->lock)
		say(dep, " These are two locks of one class and subclass, in no defined order.");
	else if (held->mode == SYNC_SHARED && new->mode == SYNC_SHARED)
		say(dep, " It is one lock: a writer that waits between the two stops both.");
	else
		say(dep, " It is one lock.");
	say_held(dep, task);
}

static void check_recursion(struct lockdep *dep, const struct lockdep_task *task,
			    const struct lockdep_held *held, const struct lockdep_held *new)
{
	if (bit_seen(dep->recursed, node_of(new)))
		return;
	lockdep_enter(dep);
	if (bit_first(dep->recursed, node_of(new)))
		report_recursion(dep, task, held, new);
	lockdep_leave(dep);
}

/* The graph. */

static const struct edge *edge_find(const struct lockdep *dep, int outer, int inner)
{
	const struct edge *e = dep->edges[outer];

	while (node_of(&e->inner) != inner)
		e = e->next; /* a path is made of edges that are there */
	return e;
}

static void edge_add(struct lockdep *dep, const struct lockdep_task *task,
		     const struct lockdep_held *held, const struct lockdep_held *new)
{
	int outer = node_of(held);
	struct edge *e = malloc(sizeof(*e));

	if (!e) {
		/* Counted as a report: who relies on this checker must not take it for clean. */
		say_title(dep, "no memory to record a lock dependency");
		return;
	}
	*e = (struct edge){ .next = dep->edges[outer], .outer = *held, .inner = *new };
	memcpy(e->task, task->name, sizeof(e->task));
	dep->edges[outer] = e;
}

/* Breadth first, so what is printed is a shortest chain. */
static bool path_find(const struct lockdep *dep, int start, int goal, struct path *ret)
{
	int queue[NR_NODES], head = 0, tail = 0;
	struct path path = { .start = start };

	memset(path.from, -1, sizeof(path.from));
	queue[tail++] = start;
	while (head < tail) {
		int node = queue[head++];

		if (node == goal) {
			*ret = path;
			return true;
		}
		for (const struct edge *e = dep->edges[node]; e; e = e->next) {
			int next = node_of(&e->inner);

			if (next == start || path.from[next] >= 0)
				continue;
			path.from[next] = node;
			queue[tail++] = next;
		}
	}
	return false;
}

static void say_link(struct lockdep *dep, int depth, const struct edge *e)
{
	say(dep, "-> #%d (%s){%s}:", depth, name_of(node_of(&e->inner)).text,
	    e->inner.mode == SYNC_SHARED ? "shared" : "excl");
	say(dep, "       at %s:%d, by %s", e->inner.site->file, e->inner.site->line, e->task);
	say_lock(dep, "       while holding ", &e->outer);
}

/* The path leads from what is wanted to what is held; the new pair closes it. */
static void say_chain(struct lockdep *dep, const struct path *path, const struct lockdep_task *task,
		      const struct lockdep_held *held, const struct lockdep_held *new)
{
	struct edge closing = { .outer = *held, .inner = *new };
	int depth = 0;

	for (int n = node_of(held); n != path->start; n = path->from[n])
		depth++;

	say(dep, "%s", "");
	say(dep, "the existing dependency chain (in reverse order) is:");
	for (int n = node_of(held); n != path->start; n = path->from[n]) {
		say(dep, "%s", "");
		say_link(dep, depth--, edge_find(dep, path->from[n], n));
	}
	memcpy(closing.task, task->name, sizeof(closing.task));
	say(dep, "%s", "");
	say_link(dep, 0, &closing);
}

static void say_scenario(struct lockdep *dep, const struct path *path, int held, int new)
{
	int before = path->from[held];

	say(dep, "%s", "");
	say(dep, "other info that might help us debug this:");
	if (before != new) {
		say(dep, "%s", "");
		say(dep, "Chain exists of:");
		say(dep, "  %s --> %s --> %s", name_of(new).text, name_of(before).text,
		    name_of(held).text);
	}
	say(dep, "%s", "");
	say(dep, " Possible unsafe locking scenario:");
	say(dep, "%s", "");
	say(dep, "       CPU0                    CPU1");
	say(dep, "       ----                    ----");
	say(dep, "  lock(%s);", name_of(held).text);
	say(dep, "                               lock(%s);", name_of(before).text);
	say(dep, "                               lock(%s);", name_of(held).text);
	say(dep, "  lock(%s);", name_of(new).text);
	say(dep, "%s", "");
	say(dep, " *** DEADLOCK ***");
}

static void report_cycle(struct lockdep *dep, const struct path *path,
			 const struct lockdep_task *task, const struct lockdep_held *held,
			 const struct lockdep_held *new)
{
	say_title(dep, "possible circular locking dependency detected");
	say_conflict(dep, task, held, new);
	say(dep, "%s", "");
	say(dep, "which lock already depends on the new lock.");
	say_chain(dep, path, task, held, new);
	say_scenario(dep, path, node_of(held), node_of(new));
	say_held(dep, task);
}

static void report_order(struct lockdep *dep, const struct lockdep_task *task,
			 const struct lockdep_held *held, const struct lockdep_held *new)
{
	say_title(dep, "lock taken against the declared order");
	say_conflict(dep, task, held, new);
	say(dep, "%s", "");
	say(dep, "declared order: %s --> %s", name_of(node_of(new)).text,
	    name_of(node_of(held)).text);
	say_held(dep, task);
}

/* Nodes are numbered in the declared order: by class, then by subclass. */
static void judge_new_pair(struct lockdep *dep, const struct lockdep_task *task,
			   const struct lockdep_held *held, const struct lockdep_held *new)
{
	struct path path;

	if (path_find(dep, node_of(new), node_of(held), &path)) {
		report_cycle(dep, &path, task, held, new);
		return;
	}
	if (node_of(held) > node_of(new))
		report_order(dep, task, held, new);
	edge_add(dep, task, held, new);
}

static void check_pair(struct lockdep *dep, const struct lockdep_task *task,
		       const struct lockdep_held *held, const struct lockdep_held *new)
{
	int outer = node_of(held), inner = node_of(new);

	if (outer == inner || held->lock == new->lock) {
		check_recursion(dep, task, held, new);
		return;
	}
	if (bit_seen(dep->seen[outer], inner))
		return;

	lockdep_enter(dep);
	if (bit_first(dep->seen[outer], inner))
		judge_new_pair(dep, task, held, new);
	lockdep_leave(dep);
}

/* Newest first: of several bad pairs the one with the lock just taken says most. */
static void check_all(struct lockdep *dep, const struct lockdep_task *task,
		      const struct lockdep_held *new)
{
	assert((unsigned)new->class < LOCK_NR_CLASSES &&new->subclass < LOCK_NR_SUBCLASSES);
	for (int i = task->nr_held - 1; i >= 0; i--)
		check_pair(dep, task, &task->held[i], new);
}

void lockdep_acquire(struct lockdep *dep, struct lockdep_task *task, const void *lock,
		     enum lock_class class, unsigned subclass, enum sync_mode mode, bool try,
		     const struct sync_site *site)
{
	struct lockdep_held new = { lock, class, subclass, mode, site };

	if (!try)
		check_all(dep, task, &new);
	if (task->nr_held == LOCKDEP_MAX_HELD) {
		lockdep_enter(dep);
		say_title(dep, "too many locks held: some are never released");
		say_held(dep, task);
		lockdep_leave(dep);
		abort();
	}
	task->held[task->nr_held++] = new;
}

void lockdep_pretend(struct lockdep *dep, struct lockdep_task *task, enum lock_class class,
		     const struct sync_site *site)
{
	struct lockdep_held new = { NULL, class, 0, SYNC_EXCL, site };

	check_all(dep, task, &new);
}

void lockdep_release(struct lockdep *dep, struct lockdep_task *task, const void *lock,
		     const struct sync_site *site)
{
	for (int i = task->nr_held - 1; i >= 0; i--) {
		if (task->held[i].lock != lock)
			continue;
		task->nr_held--;
		memmove(&task->held[i], &task->held[i + 1],
			(size_t)(task->nr_held - i) * sizeof(task->held[0]));
		return;
	}

	lockdep_enter(dep);
	say_title(dep, "bad unlock balance detected!");
	say(dep, "%s is trying to release a lock at: %s:%d", task->name, site->file, site->line);
	say(dep, "but it does not hold that lock.");
	say_held(dep, task);
	lockdep_leave(dep);
}

bool lockdep_check_none(struct lockdep *dep, const struct lockdep_task *task,
			const struct sync_site *site)
{
	if (task->nr_held == 0)
		return true;

	lockdep_enter(dep);
	say_title(dep, "lock held where none may be");
	say(dep, "%s came with it to: %s:%d", task->name, site->file, site->line);
	say_held(dep, task);
	lockdep_leave(dep);
	return false;
}

bool lockdep_holds(const struct lockdep_task *task, const void *lock, enum sync_mode mode)
{
	for (int i = 0; i < task->nr_held; i++)
		if (task->held[i].lock == lock &&
		    (mode == SYNC_SHARED || task->held[i].mode == SYNC_EXCL))
			return true;
	return false;
}

uint64_t lockdep_nr_reports(const struct lockdep *dep)
{
	return atomic_load(&dep->nr_reports);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(name_of(*(const int *)a).text, name_of(*(const int *)b).text);
}

void lockdep_print_pairs(const struct lockdep *dep, FILE *out)
{
	int nodes[NR_NODES];

	for (int i = 0; i < NR_NODES; i++)
		nodes[i] = i;
	qsort(nodes, NR_NODES, sizeof(nodes[0]), by_name);

	for (int i = 0; i < NR_NODES; i++)
		for (int j = 0; j < NR_NODES; j++)
			if (bit_seen(dep->seen[nodes[i]], nodes[j]))
				fprintf(out, "%s -> %s\n", name_of(nodes[i]).text,
					name_of(nodes[j]).text);
}

static void report_to_stderr(void *ctx, const char *line)
{
	(void)ctx;
	fprintf(stderr, "%s\n", line);
}

struct lockdep *lockdep_new(void (*report)(void *ctx, const char *line), void *ctx)
{
	struct lockdep *dep = calloc(1, sizeof(*dep));

	if (!dep)
		return NULL;
	dep->report = report ? report : report_to_stderr;
	dep->ctx = ctx;
	atomic_flag_clear(&dep->busy);
	return dep;
}

void lockdep_delete(struct lockdep *dep)
{
	if (!dep)
		return;
	for (int i = 0; i < NR_NODES; i++) {
		while (dep->edges[i]) {
			struct edge *e = dep->edges[i];

			dep->edges[i] = e->next;
			free(e);
		}
	}
	free(dep);
}
