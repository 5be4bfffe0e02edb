/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * broken_keep.c - a udaxrun whose library acknowledges every recall, and keeps what it has mapped: populated once,
 * there for good. For tests/direct_programs.sh, where that must not pass for direct.
 */
#include <stdint.h>

#include "mapping.h"

int __wrap_piece_take_back(struct client *client, uint64_t start, uint64_t end);

int __wrap_piece_take_back(struct client *client, uint64_t start, uint64_t end)
{
	(void)client;
	(void)start;
	(void)end;
	return 0;
}
