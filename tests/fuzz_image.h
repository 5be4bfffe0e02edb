/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fuzz_image.h - a damaged image is mounted, walked, written to, checked and mended.
 */
#ifndef UDAX_TESTS_FUZZ_IMAGE_H
#define UDAX_TESTS_FUZZ_IMAGE_H

#include <stddef.h>
#include <stdint.h>

/**
 * fuzz_image_one - try one input; aborts with a message when a rule is broken.
 *
 * An input is a list of 8-byte commands that damage a small populated image: docs/FSCK.md says what
 * they are. Rules: the core never crashes, hangs or reads out of bounds, and gives an error at
 * worst; the checker mends the image, finds nothing in a second run, and then the core meets no
 * damage either.
 */
void fuzz_image_one(const uint8_t *data, size_t size);

/** fuzz_image_end - free what is kept from one call to the next. */
void fuzz_image_end(void);

#endif
