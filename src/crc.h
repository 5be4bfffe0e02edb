/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * crc.h - CRC32C (Castagnoli, as in iSCSI, RFC 3720 appendix B.4), the checksum of everything on
 * the medium. Reflected, starts from all ones, ends inverted: crc32c("123456789") is 0xe3069283.
 * Pure functions, safe from any thread.
 */
#ifndef UDAX_CRC_H
#define UDAX_CRC_H

#include <stddef.h>
#include <stdint.h>

/** crc32c - the checksum of @len bytes at @buf; 0 for no bytes. */
uint32_t crc32c(const void *buf, size_t len);

/**
 * crc32c_extend - the checksum of some bytes whose checksum is @crc, followed by @len bytes at
 * @buf: crc32c_extend(crc32c(a, n), b, m) is crc32c of a and b in one piece.
 */
uint32_t crc32c_extend(uint32_t crc, const void *buf, size_t len);

/**
 * crc32c_skip - the checksum of @len bytes at @buf with the four bytes at @csum_off taken as
 * zero: where a structure holds its own checksum. Reads @buf in place, so it can be the medium.
 */
uint32_t crc32c_skip(const void *buf, size_t len, size_t csum_off);

#endif
