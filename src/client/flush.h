/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * flush.h - stores leave the CPU's caches.
 */
#ifndef UDAX_CLIENT_FLUSH_H
#define UDAX_CLIENT_FLUSH_H

#include <stdbool.h>
#include <stddef.h>

/** flush_lines - write back the cache lines of [@addr, @addr + @len), and wait for it. */
void flush_lines(const void *addr, size_t len);

#endif
