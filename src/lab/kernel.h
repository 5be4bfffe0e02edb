/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * kernel.h - the simulated kernel: system calls on files of the mount, faults of its own mappings,
 * the page cache, writeback, and what the daemon asks of it.
 *
 * As Linux has them (fs/fuse/file.c, dir.c, mm/truncate.c, mm/filemap.c of 6.12), as far as the protocols
 * depend on it: which locks are held while the daemon is asked, in which order the cache and the daemon
 * learn of a change, what is written back when. docs/LAB.md lists what was left out.
 *
 * Ranges are in cells, results 0 or -errno unless said otherwise.
 */
#ifndef UDAX_LAB_KERNEL_H
#define UDAX_LAB_KERNEL_H

#include "world.h"

int kernel_open(struct process *p, unsigned file, bool direct, bool read_only);
int kernel_close(struct process *p, unsigned file);

/** kernel_load, kernel_store - through a shared mapping; false: SIGBUS. */
bool kernel_load(struct process *p, unsigned file, unsigned cell, uint64_t *ret_value);
bool kernel_store(struct process *p, unsigned file, unsigned cell, uint64_t value);

/** kernel_read - read(2): returns how many cells there are before EOF. */
int kernel_read(struct process *p, unsigned file, unsigned first, unsigned end, bool direct,
		uint64_t *ret_cells);

/** kernel_write - write(2): returns how many cells; @append: at EOF, whatever @first says. */
int kernel_write(struct process *p, unsigned file, unsigned first, unsigned end, bool direct,
		 bool append, const uint64_t *cells);

int kernel_truncate(struct process *p, unsigned file, unsigned cells);

/** kernel_fallocate - @mode of fallocate(2), without collapse and insert. */
int kernel_fallocate(struct process *p, unsigned file, int mode, unsigned first, unsigned end);

int kernel_copy(struct process *p, unsigned file, unsigned first, unsigned end, unsigned other,
		unsigned other_first);
int kernel_fsync(struct process *p, unsigned file);
int kernel_seek(struct process *p, unsigned file, unsigned first, unsigned *ret_cell);

/** The kernel by itself: reads ahead (or faults for a private view, with mmap_lock), writes back, drops what is clean. */
void kernel_readahead(struct process *p, unsigned file, unsigned first, unsigned end);
void kernel_writeback(struct world *w, unsigned file, unsigned first, unsigned end);
void kernel_drop(struct world *w, unsigned file, unsigned first, unsigned end);

/** kernel_notify - fuse_lowlevel_notify_inval_inode(): bytes; @len 0: to the end. */
void kernel_notify(struct world *w, unsigned file, uint64_t pos, uint64_t len);

/** kernel_exit - @p is killed: its mappings and handles go. */
void kernel_exit(struct process *p);

#endif
