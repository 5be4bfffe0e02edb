/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_format.c - docs/FORMAT.md says what the compiler says: each field of each structure of
 * format.h has a row with its offset and size, and no row says anything else.
 *
 * Run from the top of the source.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format.h"

#define PATH "docs/FORMAT.md"

struct field {
	const char *structure, *name;
	size_t off, size; /* size 0: of any length */
};

#define F(structure, name)                                                                         \
	{                                                                                          \
#structure, #name, offsetof(struct structure, name),                               \
			sizeof(((struct structure *)0)->name)                                      \
	}
#define FLEX(structure, name)                                                                      \
	{                                                                                          \
#structure, #name, offsetof(struct structure, name), 0                             \
	}

static const struct field fields[] = {
	F(super, magic),
	F(super, csum),
	F(super, version),
	F(super, compat),
	F(super, ro_compat),
	F(super, incompat),
	F(super, uuid),
	F(super, label),
	F(super, nblocks),
	F(super, granule_bytes),
	F(super, nlanes),
	F(super, lane_blocks),
	F(super, reserve_blocks),
	F(super, hash_seed),
	F(super, created_ns),
	F(super, state),
	F(super, mount_count),
	F(super, mounted_ns),
	F(super, unused),
	F(map_block, magic),
	F(map_block, csum),
	F(map_block, kind),
	F(map_block, unused0),
	F(map_block, index),
	F(map_block, unused),
	F(map_block, bits),
	F(lane_header, magic),
	F(lane_header, csum),
	F(lane_header, bytes),
	F(lane_header, seq),
	F(lane_header, unused),
	F(log_lines, kind),
	F(log_lines, unused),
	F(log_lines, off),
	F(log_lines, mask),
	F(log_bits, kind),
	F(log_bits, plane),
	F(log_bits, set),
	F(log_bits, unused),
	F(log_bits, blk),
	F(log_bits, first),
	F(log_bits, count),
	F(tree_rec, key),
	F(tree_rec, val),
	F(fork_header, level),
	F(fork_header, nrecs),
	F(fork_header, unused),
	F(tree_node, magic),
	F(tree_node, csum),
	F(tree_node, blk),
	F(tree_node, owner),
	F(tree_node, generation),
	F(tree_node, level),
	F(tree_node, nrecs),
	F(tree_node, fork),
	F(tree_node, unused),
	F(tree_node, recs),
	F(dinode, magic),
	F(dinode, csum),
	F(dinode, ino),
	F(dinode, generation),
	F(dinode, mode),
	F(dinode, uid),
	F(dinode, gid),
	F(dinode, nlink),
	F(dinode, flags),
	F(dinode, size),
	F(dinode, nblocks),
	F(dinode, atime),
	F(dinode, mtime),
	F(dinode, ctime),
	F(dinode, btime),
	F(dinode, atime_ns),
	F(dinode, mtime_ns),
	F(dinode, ctime_ns),
	F(dinode, btime_ns),
	F(dinode, rdev_major),
	F(dinode, rdev_minor),
	F(dinode, projid),
	F(dinode, xattr_bytes),
	F(dinode, parent),
	F(dinode, pending),
	F(dinode, data),
	F(dinode, data_recs),
	F(dinode, index),
	F(dinode, index_recs),
	F(dinode, link),
	F(dinode, attr),
	F(dinode, attr_recs),
	F(dinode, nentries),
	F(dinode, unused),
	F(xattr_header, magic),
	F(xattr_header, csum),
	F(xattr_header, owner),
	F(xattr_header, nentries),
	F(xattr_header, unused),
	F(xattr_entry, value_bytes),
	F(xattr_entry, name_bytes),
	F(xattr_entry, unused),
	FLEX(xattr_entry, name),
	F(dirblock, magic),
	F(dirblock, csum),
	F(dirblock, owner),
	F(dirblock, generation),
	F(dirblock, lblk),
	F(dirblock, nentries),
	F(dirblock, max_free),
	F(dirblock, unused),
	F(dirblock, entries),
	F(dirent_disk, ino),
	F(dirent_disk, bytes),
	F(dirent_disk, name_bytes),
	F(dirent_disk, type),
	F(dirent_disk, hash),
	FLEX(dirent_disk, name),
	F(dpending, kind),
	F(dpending, flags),
	F(dpending, pos),
	F(dpending, len),
	F(dpending, cursor),
	F(dpending, partner_ino),
	F(dpending, partner_pos),
};

#define NR_FIELDS (sizeof(fields) / sizeof(fields[0]))

/* The structure named in the last line that names one, as `struct NAME`, outside a table. */
static void note_structure(const char *line, char structure[64])
{
	const char *at = strstr(line, "`struct ");

	if (at && line[0] != '|')
		sscanf(at, "`struct %63[a-z_]", structure);
}

/* A row `| offset | size | `name` | ...`. */
static bool read_row(const char *line, size_t *ret_off, size_t *ret_size, char name[64])
{
	char off[16], size[16];

	if (sscanf(line, "| %15[0-9] | %15[a-z0-9] | `%63[a-z_0-9]` |", off, size, name) != 3)
		return false;
	*ret_off = strtoul(off, NULL, 10);
	*ret_size = strcmp(size, "any") == 0 ? 0 : strtoul(size, NULL, 10);
	return true;
}

static const struct field *find(const char *structure, const char *name)
{
	for (size_t i = 0; i < NR_FIELDS; i++)
		if (strcmp(fields[i].structure, structure) == 0 &&
		    strcmp(fields[i].name, name) == 0)
			return &fields[i];
	return NULL;
}

static void the_tables_are_the_structures(void **state)
{
	bool seen[NR_FIELDS] = { false };
	char line[1024], structure[64] = "", name[64];
	FILE *file = fopen(PATH, "r");
	size_t off, size;

	(void)state;
	if (!file)
		fail_msg(PATH " is not there: run this from the top of the source");
	while (fgets(line, sizeof(line), file)) {
		const struct field *field;

		note_structure(line, structure);
		if (!read_row(line, &off, &size, name))
			continue;
		field = find(structure, name);
		if (!field)
			fail_msg("struct %s has no field %s: %s", structure, name, line);
		if (field->off != off || field->size != size)
			fail_msg("struct %s, %s: offset %zu, size %zu, but the page says: %s",
				 structure, name, field->off, field->size, line);
		seen[field - fields] = true;
	}
	fclose(file);
	for (size_t i = 0; i < NR_FIELDS; i++)
		if (!seen[i])
			fail_msg("struct %s, %s: no row", fields[i].structure, fields[i].name);
}

/* Every byte of a structure belongs to a field that has a row. */
static void no_byte_is_left_out(void **state)
{
	static const struct {
		const char *name;
		size_t bytes;
	} structures[] = {
		{ "super", sizeof(struct super) },
		{ "map_block", sizeof(struct map_block) },
		{ "lane_header", sizeof(struct lane_header) },
		{ "log_lines", sizeof(struct log_lines) },
		{ "log_bits", sizeof(struct log_bits) },
		{ "tree_rec", sizeof(struct tree_rec) },
		{ "fork_header", sizeof(struct fork_header) },
		{ "tree_node", sizeof(struct tree_node) },
		{ "dinode", sizeof(struct dinode) },
		{ "xattr_header", sizeof(struct xattr_header) },
		{ "xattr_entry", sizeof(struct xattr_entry) },
		{ "dirblock", sizeof(struct dirblock) },
		{ "dirent_disk", sizeof(struct dirent_disk) },
		{ "dpending", sizeof(struct dpending) },
	};

	(void)state;
	for (size_t s = 0; s < sizeof(structures) / sizeof(structures[0]); s++) {
		unsigned char covered[BLOCK_BYTES] = { 0 };

		for (size_t i = 0; i < NR_FIELDS; i++)
			if (strcmp(fields[i].structure, structures[s].name) == 0)
				memset(covered + fields[i].off, 1, fields[i].size);
		for (size_t b = 0; b < structures[s].bytes; b++)
			if (!covered[b])
				fail_msg("struct %s: byte %zu is in no field", structures[s].name,
					 b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_tables_are_the_structures),
		cmocka_unit_test(no_byte_is_left_out),
	};

	return cmocka_run_group_tests_name("unit_format", tests, NULL, NULL);
}
