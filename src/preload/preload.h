/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * preload.h - libudaxrun.so, which udaxrun(1) puts in front of a program that knows nothing of it.
 *
 *	preload.c	what is asked for (environment), the functions behind ours, the report at exit
 *	files.c		open and its family: a file of a udaxfs mount is opened with O_DIRECT, unnoticed
 *	memory.c	mmap and its family: to libudax
 *	io.c		system calls whose buffer is a direct mapping
 *
 * Each function here stands in for one of libc's and does what that does, but for files and addresses
 * that are udaxfs's. libc itself, and the dynamic linker, do not call through here: what they map or
 * open stays as it is.
 */
#ifndef UDAX_PRELOAD_H
#define UDAX_PRELOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/** What a function of this name is without us; looked up once. Ends the process if there is none. */
void *preload_next(const char *name, _Atomic(void *) *cache);

#define NEXT(name)                                                                                 \
	({                                                                                         \
		static _Atomic(void *) next_;                                                      \
		(__typeof__(&(name)))preload_next(#name, &next_);                                  \
	})

/** Asked for by udaxrun: what can be direct must be; and a report at the end. */
bool preload_requires_direct(void);

/** preload_on_udaxfs - whether @fd is a regular file of a udaxfs mount. Leaves errno alone. */
bool preload_on_udaxfs(int fd);

/** preload_touches_direct - whether the range begins or ends in a direct mapping. */
bool preload_touches_direct(uintptr_t addr, size_t len);

#endif
