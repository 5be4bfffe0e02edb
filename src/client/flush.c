/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * flush.c - the best instruction that the CPU has: one that keeps the line (clwb), one that need not
 * wait for others (clflushopt), or any (clflush).
 */
#include "flush.h"

#include <stdint.h>

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

#define LINE 64u

__attribute__((target("clwb"))) static void lines_clwb(const char *at, const char *end)
{
	for (; at < end; at += LINE)
		_mm_clwb((void *)(uintptr_t)at);
}

__attribute__((target("clflushopt"))) static void lines_clflushopt(const char *at, const char *end)
{
	for (; at < end; at += LINE)
		_mm_clflushopt((void *)(uintptr_t)at);
}

static void lines_clflush(const char *at, const char *end)
{
	for (; at < end; at += LINE)
		_mm_clflush(at);
}

/* Found out again by several threads at once, it is the same. */
static void (*lines)(const char *at, const char *end);

static void choose(void)
{
	unsigned a, b = 0, c, d;

	if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
		b = 0;
	__atomic_store_n(&lines,
			 b & bit_CLWB	      ? lines_clwb
			 : b & bit_CLFLUSHOPT ? lines_clflushopt
					      : lines_clflush,
			 __ATOMIC_RELAXED);
}

void flush_lines(const void *addr, size_t len)
{
	const char *first = (const char *)((uintptr_t)addr & ~(uintptr_t)(LINE - 1));

	if (!__atomic_load_n(&lines, __ATOMIC_RELAXED))
		choose();
	__atomic_load_n(&lines, __ATOMIC_RELAXED)(first, (const char *)addr + len);
	_mm_sfence();
}

#elif defined(__aarch64__)

#define LINE 16u /* the smallest that there is; a line cleaned twice costs little */

void flush_lines(const void *addr, size_t len)
{
	uintptr_t first = (uintptr_t)addr & ~(uintptr_t)(LINE - 1), end = (uintptr_t)addr + len;

	for (uintptr_t at = first; at < end; at += LINE)
		__asm__ volatile("dc cvac, %0" : : "r"(at) : "memory");
	__asm__ volatile("dsb ish" : : : "memory");
}

#else
#error "no instruction is known that writes back a cache line of this CPU"
#endif
