/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * model_run.h - one run: a volume in memory and the plain model of it (model.h), the operations done
 * to both, and what is compared.
 *
 * An operation is a kind and numbers. It names an object by the operation that made it, and an entry
 * by a number, so an operation keeps its meaning when others are left out of the list; one whose
 * object does not exist then does nothing. That is what makes a failing list shrinkable.
 *
 * The model says for each operation which errors are justified, by all the conditions that are
 * violated, in no order: the core must fail with one of them if there are any, and must succeed if
 * there are none. -ENOSPC is justified whenever there is little room, and must have changed
 * nothing; only writes and copies may be short.
 */
#ifndef UDAX_TESTS_MODEL_RUN_H
#define UDAX_TESTS_MODEL_RUN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include "inode.h"
#include "model.h"

#define OP_ARGS 7

struct op {
	uint32_t kind; /* in op_kinds[] */
	uint32_t id;   /* position in the list as it was generated, from 1 on */
	uint64_t a[OP_ARGS];
};

struct model_setup {
	const char *name;
	uint64_t bytes;	       /* of the volume */
	unsigned nnames;       /* different names in a directory */
	unsigned max_nodes;    /* above that, more is removed than made */
	uint64_t max_len;      /* of one write */
	uint32_t lane_blocks;  /* of the journal; 0: as mkfs chooses */
	unsigned names_weight; /* how much more often names are worked on than files */
	bool poisoned; /* free space is not zero at the start, and a kill loses what is pending */
};

#define MAX_HANDLES 12

struct handle {
	struct mnode *node; /* NULL: free */
	struct inode *inode;
	bool has_mode; /* it counts in the file's mode */
};

struct run {
	const struct model_setup *setup;
	struct sync *sync;
	struct region *region;
	struct volume *vol;
	struct model m;
	uint64_t parent_ino; /* of the model's root: another one where it is only a part of the volume */
	bool joined;	     /* others use the volume too */
	struct handle handles[MAX_HANDLES];
	uint64_t space; /* free blocks when empty, and what is never given back */
	unsigned lock_reports;
	unsigned char *buf;   /* of setup->max_len bytes */
	struct inode *all[2]; /* references that an operation holds */

	/* The next operation is cut off at this fence, counted from 1 on; 0: it is not. */
	uint64_t cut_at, cut_seed;

	/* Of the operation under way. */
	const struct op *op;
	uint64_t nfree; /* when it began */
	struct timespec began;
	struct {
		struct mnode *node;
		unsigned times; /* TOUCH_* that must be new */
		uint64_t pos, len;
	} touched[8];
	unsigned ntouched;
	char why[400]; /* it failed: what was found */

	/* Over all operations. */
	uint64_t done, refused, full, shorts, cuts,
		pieces; /* operations of more than one transaction */
};

struct op_kind {
	const char *name;
	unsigned nargs;
	unsigned nodes; /* bit i: argument i names a node */
	unsigned weight;
	enum { NOT_CUT, ATOMIC, GRADUAL } crash; /* what a crash in the middle of it may leave */
	/* Choose the arguments for the state that @run is in; false: nothing fits it. */
	bool (*choose)(struct run *run, uint64_t *rng, uint64_t *a);
	/* Do it to both. What is wrong goes to wrong(). */
	void (*apply)(struct run *run, const uint64_t *a);
};

/* How often calls of this thread told the kernel to drop something. */
extern _Thread_local uint64_t notified;

extern const struct op_kind name_ops[], file_ops[], cached_ops[],
	volume_ops[]; /* ended by .name NULL */

/* ---- running (lib_model_run.c) ------------------------------------------------------------------ */

struct run *run_new(const struct model_setup *setup, struct region *region, bool lockdep);

/* A run of another thread on the volume of @host: its root is a new directory @name there. */
struct run *run_join(struct run *host, const struct model_setup *setup, const char *name);

void run_delete(struct run *run);

/*
 * op_choose - the next operation at random. op_choose_kind - one of a kind; false: nothing fits it now.
 * op_kind - the number of a kind, one that does not exist for an unknown name.
 */
uint32_t op_kind(const char *name);
bool op_choose_kind(struct run *run, uint64_t *rng, uint32_t id, const char *name,
		    struct op *ret_op);
void op_choose(struct run *run, uint64_t *rng, uint32_t id, struct op *ret_op);

/* op_nodes - which arguments name nodes: bit i for argument i. */
unsigned op_nodes(const struct op *op);

/* run_step - do it; false: run->why says what is wrong. */
bool run_step(struct run *run, const struct op *op);

/* op_print - as a line without its end. op_parse - from one; false: it is none. */
void op_print(const struct op *op, char *buf, size_t size);
bool op_parse(const char *text, struct op *ret_op);

void run_mount(struct run *run);

/* run_do - do run->op. run_cut - do it, with a crash at the fence run->cut_at (lib_model_crash.c). */
void run_do(struct run *run, const struct op_kind *kind);
void run_cut(struct run *run, const struct op_kind *kind);

/* ---- for the operations ---------------------------------------------------------------------------- */

void wrong(struct run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));

static inline bool failed(const struct run *run)
{
	return run->why[0];
}

struct verdict {
	int errors[24];
	unsigned n;
};

static inline void forbid(struct verdict *v, bool when, int error)
{
	if (when)
		v->errors[v->n++] = error;
}

#define NEVER_FULL UINT64_MAX

/* Whether it happened. @blocks: what it may need, or NEVER_FULL where ENOSPC is no excuse. */
bool judge(struct run *run, const struct verdict *v, int64_t result, uint64_t blocks);

/* Compare @node at the end of the operation; @times: those that it has to have set (TOUCH_*). */
void touched(struct run *run, struct mnode *node, unsigned times);
void touched_range(struct run *run, struct mnode *node, unsigned times, uint64_t pos, uint64_t len);

/* The core's inode of @node with a reference, or NULL and a failure. */
struct inode *inode_of(struct run *run, const struct mnode *node);

enum { A_FILE = 1, A_DIR = 2, A_LINK = 4, ANOTHER = 8, ANY = 15 };

struct mnode *pick_node(const struct run *run, uint64_t *rng, unsigned types);
unsigned node_kind(const struct mnode *node);
bool one_in(uint64_t *rng, unsigned n);
uint64_t below(uint64_t *rng, uint64_t n);
struct handle *free_handle(struct run *run);
void handle_drop(struct run *run, struct handle *handle, bool put);

void check_medium(struct run *run, bool mounted);

/* Give @node what the core has, if that is a mixture of @old and what @node is to be. */
void take_part(struct run *run, struct mnode *node, const struct mfile *old);

/* The bytes of a name by its number; returns their count. Those from ODD_NAMES on are not allowed. */
#define ODD_NAMES 1000000u
#define NR_ODD_NAMES 6u
#define NAME_BUF 300
size_t model_name(unsigned name, char buf[NAME_BUF]);
int odd_name_error(unsigned name);

/* ---- comparing (lib_model_check.c) --------------------------------------------------------------------- */

void check_node(struct run *run, struct mnode *node, unsigned new_times, bool whole, uint64_t pos,
		uint64_t len);
void check_all(struct run *run);
void check_read(struct run *run, struct mnode *node, struct inode *inode, uint64_t pos,
		uint64_t len);
void check_seek(struct run *run, struct mnode *node, struct inode *inode, uint64_t pos);
uint64_t space_in_sight(struct run *run);

#endif
