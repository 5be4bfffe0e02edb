/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * model.h - what a filesystem is to those who use it, as plainly as it can be said: files are pages in
 * a sorted array, directories are lists of names, everything is an object in memory. It shares no
 * code with the core, knows nothing of blocks of the medium, transactions or locks, and is slow
 * where slow is simple. unit_model.c does the same to it and to the core, and compares.
 *
 * Nothing here checks whether an operation is allowed: whoever calls has decided that it happens.
 */
#ifndef UDAX_TESTS_MODEL_H
#define UDAX_TESTS_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#define MPAGE_BYTES 4096u
#define MFILE_MAX (UINT64_C(1) << 44) /* 16 TiB */

/* A page that has data; what has none is a hole, or was only allocated: it reads as zeroes. */
struct mpage {
	uint64_t index;
	unsigned char *bytes;
};

struct mnode;

struct mfile {
	uint64_t size;
	struct mpage *pages; /* by index */
	size_t npages, room;
	uint64_t allocated; /* nothing was ever allocated from this page on */
};

/* Pages [@first, @end) are discarded from now on, or not any longer. */
void mnode_discard(struct mnode *node, uint64_t first, uint64_t end);
void mnode_keep(struct mnode *node, uint64_t first, uint64_t end);
bool mnode_discards(const struct mnode *node, uint64_t index);

void mfile_write(struct mfile *f, uint64_t pos, const void *buf, uint64_t len);
void mfile_read(const struct mfile *f, uint64_t pos, void *buf, uint64_t len);
void mfile_truncate(struct mfile *f, uint64_t size);
/* mfile_zero: what is wholly in the range loses its pages; the size stays. */
void mfile_zero(struct mfile *f, uint64_t pos, uint64_t len);
void mfile_collapse(struct mfile *f, uint64_t pos, uint64_t len);
void mfile_insert(struct mfile *f, uint64_t pos, uint64_t len);
void mfile_exchange(struct mfile *a, uint64_t a_pos, struct mfile *b, uint64_t b_pos, uint64_t len);
void mfile_clone(const struct mfile *f, struct mfile *ret);
void mfile_clear(struct mfile *f);
void mfile_allocated(struct mfile *f, uint64_t end);

/* The first byte from @pos on that is in a page with data, or (hole) in none. EOF counts as a hole. */
uint64_t mfile_data(const struct mfile *f, uint64_t pos);
uint64_t mfile_hole(const struct mfile *f, uint64_t pos);

/* Whether the @len bytes of @buf are what stands at @pos; if not, where the first differs. */
bool mfile_same(const struct mfile *f, uint64_t pos, const void *buf, uint64_t len,
		uint64_t *ret_where);

struct mxattr {
	struct mxattr *next;
	char name[64];
	unsigned char *value;
	size_t len;
};

struct mentry {
	unsigned name; /* a number: see model_name() */
	struct mnode *node;
};

/* Pages that were punched as a whole: old copies of them that are written back are dropped. */
struct mdiscard {
	struct mdiscard *next;
	uint64_t first, end; /* pages */
};

struct mnode {
	uint64_t id;  /* of the operation that made it; 0: the root */
	uint64_t ino; /* what the core calls it */
	mode_t type, perm;
	uint32_t uid, gid, nlink, flags, rdev_major, rdev_minor;
	unsigned handles;
	unsigned opens, mode;	   /* handles that have a mode, and which: as in enum file_mode */
	struct mdiscard *discards; /* only while somebody has a handle */
	struct timespec mtime, ctime; /* last seen */

	struct mfile file;	/* of a regular file */
	char *target;		/* of a symbolic link */
	struct mnode *parent;	/* of a directory; NULL once it is removed */
	struct mentry *entries; /* of a directory */
	size_t nentries, room;
	struct mxattr *xattrs;
};

struct model {
	struct mnode **nodes; /* nodes[0] is the root */
	size_t nnodes, room;
};

void model_init(struct model *m, mode_t root_perm, uint32_t uid, uint32_t gid);
void model_clear(struct model *m);

/* A second model that is the same. */
void model_clone(const struct model *m, struct model *ret);

/* The node that operation @id made, or NULL: never made, or gone. */
struct mnode *model_node(const struct model *m, uint64_t id);
struct mnode *model_add(struct model *m, uint64_t id, mode_t type, mode_t perm);

/* Free @node if it has neither names nor handles. */
void model_settle(struct model *m, struct mnode *node);

struct mnode *mdir_find(const struct mnode *dir, unsigned name);
void mdir_enter(struct mnode *dir, unsigned name, struct mnode *node);
void mdir_remove(struct mnode *dir, unsigned name);

/* Whether @dir is @top or lies below it. */
bool mdir_is_below(const struct mnode *dir, const struct mnode *top);

struct mxattr *mxattr_find(const struct mnode *node, const char *name);
void mxattr_set(struct mnode *node, const char *name, const void *value, size_t len);
void mxattr_remove(struct mnode *node, const char *name);

#endif
