/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fuzz_clientd.h - a client that lies, on the daemon's real socket, beside one that does not.
 */
#ifndef UDAX_TESTS_FUZZ_CLIENTD_H
#define UDAX_TESTS_FUZZ_CLIENTD_H

#include <stddef.h>
#include <stdint.h>

/**
 * fuzz_clientd_one - try one input; aborts with a message when a rule is broken.
 *
 * An input is what a client says, and what happens to its file meanwhile: lib_fuzz_clientd.c has the
 * form. Rules: the daemon does not crash; another client is served as before, and what it maps is
 * untouched; and when the liar is gone, nothing of it is left: no attachment, grant, recall, gate,
 * descriptor, or block in quarantine.
 */
void fuzz_clientd_one(const uint8_t *data, size_t size);

/** fuzz_clientd_end - free what is kept from one call to the next. */
void fuzz_clientd_end(void);

#endif
