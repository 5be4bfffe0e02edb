/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * operate.h - what the threads of a scenario do.
 */
#ifndef UDAX_LAB_OPERATE_H
#define UDAX_LAB_OPERATE_H

#include "world.h"

/** operate_thread - all operations of one thread, in order: a task's function; @arg: struct thread. */
void operate_thread(void *arg);

/** operate_supported - NULL, or why the lab cannot run this operation. */
const char *operate_supported(enum op_kind kind);

#endif
