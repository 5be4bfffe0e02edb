/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * sync_lab.h - sync.h over the lab's scheduler. A program that links this is not linked with
 * sync_pthread.c; the core cannot tell.
 */
#ifndef UDAX_LAB_SYNC_LAB_H
#define UDAX_LAB_SYNC_LAB_H

#include "mem.h"
#include "sched.h"

/** sync_lab_new - an environment in @mem, freed with it. NULL without memory. */
struct sync *sync_lab_new(struct sched *s, struct mem *mem);

/** sync_lab_look - whoever examines looks at what @m protects, without taking it: part of this step. */
void sync_lab_look(const struct sync_mutex *m);

#endif
