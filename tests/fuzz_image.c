/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fuzz_image.c - fuzz_image_one() for libFuzzer. Built when UDAX_SANITIZE contains fuzzer-no-link;
 * docs/FSCK.md has the commands.
 */
#include "fuzz_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_image_one(data, size);
	return 0;
}
