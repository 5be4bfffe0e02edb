/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * trap.h - a failed assertion of the core, and a wild access, are broken rules ("assertion",
 * "wild-access") and not the end of the lab.
 */
#ifndef UDAX_LAB_TRAP_H
#define UDAX_LAB_TRAP_H

#include "sched.h"

/** trap_set - from now on they end the run of @s, in this thread. NULL: the process again. */
void trap_set(struct sched *s);

#endif
