/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * crc.c - CRC32C over ISA-L's crc32_iscsi(), which picks the best instructions of this CPU.
 *
 * ISA-L computes the bare polynomial division: the inversion before and after is the caller's, and
 * because the final inversion undoes the initial one of a continuation, a finished checksum can be
 * extended. Its length is an int, so longer buffers go in pieces.
 */
#include "crc.h"

#include <assert.h>
#include <isa-l/crc.h>

#define PIECE_BYTES ((size_t)1 << 30)

uint32_t crc32c_extend(uint32_t crc, const void *buf, size_t len)
{
	/* The prototype lacks a const; ISA-L only reads. */
	unsigned char *p = (unsigned char *)(uintptr_t)buf;

	crc = ~crc;
	while (len > 0) {
		size_t piece = len < PIECE_BYTES ? len : PIECE_BYTES;

		crc = crc32_iscsi(p, (int)piece, crc);
		p += piece;
		len -= piece;
	}
	return ~crc;
}

uint32_t crc32c(const void *buf, size_t len)
{
	return crc32c_extend(0, buf, len);
}

uint32_t crc32c_skip(const void *buf, size_t len, size_t csum_off)
{
	static const unsigned char zeroes[4];
	const unsigned char *p = buf;
	uint32_t crc;

	assert(len >= sizeof(zeroes) && csum_off <= len - sizeof(zeroes));
	crc = crc32c(p, csum_off);
	crc = crc32c_extend(crc, zeroes, sizeof(zeroes));
	csum_off += sizeof(zeroes);
	return crc32c_extend(crc, p + csum_off, len - csum_off);
}
