/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * coroutine.c - switching stacks on x86-64: the callee-saved registers go onto the old stack, and come
 * from the new one. ucontext would do the same with two system calls to save a signal mask that never
 * changes here; a lab run switches some hundred times and lasts twenty microseconds.
 *
 * Below each stack lies a page without access, so that one that grows too far is met at once.
 */
#include "coroutine.h"

#include <errno.h>
#include <sanitizer/asan_interface.h>
#include <stdint.h>
#include <sys/mman.h>

/* There is one where AddressSanitizer is. */
#pragma weak __asan_unpoison_memory_region

#define STACK_BYTES ((size_t)256 << 10)
#define GUARD_BYTES ((size_t)4096)

#ifndef __x86_64__
#error "the lab switches stacks by hand, and knows how to on x86-64 only"
#endif

void lab_switch_stacks(void **save_sp, void *load_sp);
void lab_enter_coroutine(void);

__asm__(".text\n"
	".type lab_switch_stacks, @function\n"
	"lab_switch_stacks:\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	ret\n"
	".size lab_switch_stacks, . - lab_switch_stacks\n"
	/* The first time: r12 is the function, r13 its argument. */
	".type lab_enter_coroutine, @function\n"
	"lab_enter_coroutine:\n"
	"	movq %r13, %rdi\n"
	"	xorl %ebp, %ebp\n"
	"	callq *%r12\n"
	"	ud2\n"
	".size lab_enter_coroutine, . - lab_enter_coroutine\n");

int coroutine_stack_new(struct coroutine *co)
{
	void *mem = mmap(NULL, GUARD_BYTES + STACK_BYTES, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);

	if (mem == MAP_FAILED)
		return -ENOMEM;
	mprotect(mem, GUARD_BYTES, PROT_NONE);
	co->stack = mem;
	return 0;
}

void coroutine_stack_delete(struct coroutine *co)
{
	if (co->stack)
		munmap(co->stack, GUARD_BYTES + STACK_BYTES);
	co->stack = NULL;
}

void coroutine_start(struct coroutine *co, void (*fn)(void *arg), void *arg)
{
	void **sp = (void **)(co->stack + GUARD_BYTES + STACK_BYTES);

	/* A run that is cut leaves functions that never return: what they had there is the next run's. */
	if (__asan_unpoison_memory_region)
		__asan_unpoison_memory_region(co->stack + GUARD_BYTES, STACK_BYTES);
	*--sp = (void *)(uintptr_t)lab_enter_coroutine; /* returned to with the stack aligned */
	*--sp = NULL;					/* rbp */
	*--sp = NULL;					/* rbx */
	*--sp = (void *)(uintptr_t)fn;
	*--sp = arg;
	*--sp = NULL; /* r14 */
	*--sp = NULL; /* r15 */
	co->sp = sp;
}

void coroutine_switch(struct coroutine *from, struct coroutine *to)
{
	lab_switch_stacks(&from->sp, to->sp);
}
