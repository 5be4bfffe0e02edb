/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * coroutine.h - a stack of its own that is switched to by a function call. What the lab's tasks run
 * on: one thread of the operating system, so nothing happens that the scheduler did not choose.
 */
#ifndef UDAX_LAB_COROUTINE_H
#define UDAX_LAB_COROUTINE_H

#include <stddef.h>

struct coroutine {
	void *sp; /* while it does not run */
	unsigned char *stack;
};

/** coroutine_stack - memory for @co's stack, kept over many starts. 0 or -ENOMEM. */
int coroutine_stack_new(struct coroutine *co);
void coroutine_stack_delete(struct coroutine *co);

/** coroutine_start - the next switch to @co calls @fn(@arg), which must not return. */
void coroutine_start(struct coroutine *co, void (*fn)(void *arg), void *arg);

/** coroutine_switch - save the caller as @from, and go on as @to. */
void coroutine_switch(struct coroutine *from, struct coroutine *to);

#endif
