/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fuzz_clientd.c - fuzz_clientd_one() for libFuzzer. Built when UDAX_SANITIZE contains fuzzer-no-link;
 * docs/TESTING.md has the commands.
 */
#include "fuzz_clientd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_clientd_one(data, size);
	return 0;
}
