/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * client.h - a process that maps files directly: what libudax does for it (src/client/), as far as others
 * can notice. Its service task reads the daemon's messages in order: a grant is mapped, a recalled
 * range is taken back in one step and acknowledged.
 */
#ifndef UDAX_LAB_CLIENT_H
#define UDAX_LAB_CLIENT_H

#include "world.h"

/** client_start - make its service task, if it ever attaches a file. */
void client_start(struct process *p);

int client_attach(struct process *p, unsigned file, bool writable);
void client_detach(struct process *p, unsigned file);

/** client_unmap - pages [@first, @end) are unmapped, and mapped anew: nothing of them is granted any more. */
void client_unmap(struct process *p, unsigned file, unsigned first, unsigned end);

/** client_load, client_store - through a direct mapping; false: SIGBUS. */
bool client_load(struct process *p, unsigned file, unsigned cell, uint64_t *ret_value);
bool client_store(struct process *p, unsigned file, unsigned cell, uint64_t value);

/** client_runs - whether @process (struct process) is not stopped: what its tasks wait for. */
bool client_runs(void *process);

/**
 * client_is_late - whether @p, or somebody else who maps the page, has missed a deadline for it: what it
 * stores there may be lost, and what it sees there may be old. Looks without locks.
 */
bool client_is_late(struct process *p, unsigned file, unsigned page);

/** client_is_born - whether @process is there: it need not have been forked yet. */
bool client_is_born(void *process);

/**
 * client_fork - @child begins, with what @p has open and attached. Its descriptors are counted as opens of
 * their own. 0 or -errno of one.
 */
int client_fork(struct process *p, struct process *child);

#endif
