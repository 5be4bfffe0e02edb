/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * drawing.h - what a mount did, event by event, as a trace: the words and lanes are the lab's.
 *
 * The daemon is a process with a track for each of its threads: requests, faults and fills that it serves, locks
 * that it holds, waits. Each client is a process of its own, with the faults that it waits for and
 * what is recalled from it; files are one, with their gates.
 */
#ifndef UDAX_UDAXCTL_DRAWING_H
#define UDAX_UDAXCTL_DRAWING_H

#include <stdint.h>
#include <stdio.h>

#include "udax/ioctl.h"

struct drawing;

struct drawing_class {
	char name[32]; /* of a class of locks */
};

/** drawing_new - on @out; locks are called after @classes. NULL without memory. */
struct drawing *drawing_new(FILE *out, const struct drawing_class *classes, unsigned nclasses);

/** drawing_add - the next event. Running out of memory ends the program. */
void drawing_add(struct drawing *d, const struct udax_ioc_event *event);

/** drawing_gap - @missing events were dropped about here: what was open ends. */
void drawing_gap(struct drawing *d, uint64_t missing);

/** drawing_about - something about the whole of it; after that come no more events. */
void drawing_about(struct drawing *d, const char *name, const char *value);

/** drawing_finish - end what is still open. */
void drawing_finish(struct drawing *d);

/** drawing_delete - end the trace, and free it. 0, or -errno of the first write that failed. */
int drawing_delete(struct drawing *d);

#endif
