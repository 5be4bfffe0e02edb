/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_crc.c - the checksum against RFC 3720's examples and a bit-by-bit computation.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crc.h"

/* The definition: divide by the Castagnoli polynomial, reflected, one bit after the other. */
static uint32_t crc_by_definition(const unsigned char *p, size_t len)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ UINT32_C(0x82f63b78) : crc >> 1;
	}
	return ~crc;
}

static void fill(unsigned char *p, size_t len)
{
	uint32_t x = 2463534242u;

	for (size_t i = 0; i < len; i++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		p[i] = (unsigned char)x;
	}
}

static void the_examples_of_rfc_3720_come_out(void **state)
{
	static const unsigned char read_command[48] = {
		[0] = 0x01,  [1] = 0xc0,  [16] = 0x14, [22] = 0x04,
		[27] = 0x14, [31] = 0x18, [32] = 0x28, [40] = 0x02,
	};
	unsigned char buf[32];

	(void)state;
	memset(buf, 0, sizeof(buf));
	assert_int_equal(crc32c(buf, sizeof(buf)), 0x8a9136aa);
	memset(buf, 0xff, sizeof(buf));
	assert_int_equal(crc32c(buf, sizeof(buf)), 0x62a8ab43);
	for (unsigned i = 0; i < sizeof(buf); i++)
		buf[i] = (unsigned char)i;
	assert_int_equal(crc32c(buf, sizeof(buf)), 0x46dd794e);
	for (unsigned i = 0; i < sizeof(buf); i++)
		buf[i] = (unsigned char)(31 - i);
	assert_int_equal(crc32c(buf, sizeof(buf)), 0x113fdb5c);
	assert_int_equal(crc32c(read_command, sizeof(read_command)), 0xd9963a56);
	assert_int_equal(crc32c("123456789", 9), 0xe3069283);
	assert_int_equal(crc32c("", 0), 0);
}

static void every_length_and_alignment_matches_the_definition(void **state)
{
	unsigned char *buf = malloc(700);

	(void)state;
	assert_non_null(buf);
	fill(buf, 700);
	for (size_t start = 0; start < 17; start++) {
		for (size_t len = 0; len <= 680; len++)
			assert_int_equal(crc32c(buf + start, len),
					 crc_by_definition(buf + start, len));
	}
	free(buf);
}

static void a_checksum_can_be_extended_at_every_place(void **state)
{
	unsigned char buf[300];
	uint32_t whole;

	(void)state;
	fill(buf, sizeof(buf));
	whole = crc32c(buf, sizeof(buf));
	for (size_t cut = 0; cut <= sizeof(buf); cut++) {
		uint32_t crc = crc32c_extend(0, buf, cut);

		assert_int_equal(crc32c_extend(crc, buf + cut, sizeof(buf) - cut), whole);
	}
}

static void the_own_checksum_counts_as_zero_wherever_it_stands(void **state)
{
	unsigned char buf[128], zeroed[128];

	(void)state;
	fill(buf, sizeof(buf));
	for (size_t len = 4; len <= sizeof(buf); len++) {
		for (size_t off = 0; off + 4 <= len; off++) {
			memcpy(zeroed, buf, sizeof(buf));
			memset(zeroed + off, 0, 4);
			assert_int_equal(crc32c_skip(buf, len, off),
					 crc_by_definition(zeroed, len));
		}
	}
}

static void each_flipped_bit_of_a_block_is_noticed(void **state)
{
	unsigned char block[4096];
	uint32_t crc;

	(void)state;
	fill(block, sizeof(block));
	crc = crc32c_skip(block, sizeof(block), 8);
	for (size_t bit = 0; bit < sizeof(block) * 8; bit++) {
		uint32_t damaged;

		block[bit / 8] ^= (unsigned char)(1u << (bit % 8));
		damaged = crc32c_skip(block, sizeof(block), 8);
		block[bit / 8] ^= (unsigned char)(1u << (bit % 8));
		if (bit / 8 >= 8 && bit / 8 < 12)
			assert_int_equal(damaged, crc);
		else
			assert_int_not_equal(damaged, crc);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_examples_of_rfc_3720_come_out),
		cmocka_unit_test(every_length_and_alignment_matches_the_definition),
		cmocka_unit_test(a_checksum_can_be_extended_at_every_place),
		cmocka_unit_test(the_own_checksum_counts_as_zero_wherever_it_stands),
		cmocka_unit_test(each_flipped_bit_of_a_block_is_noticed),
	};

	return cmocka_run_group_tests_name("crc", tests, NULL, NULL);
}
