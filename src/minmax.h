/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * minmax.h - the smaller and the larger of two.
 */
#ifndef UDAX_MINMAX_H
#define UDAX_MINMAX_H

#include <stdint.h>

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

#endif
