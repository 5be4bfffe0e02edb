/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * map.c - udaxctl map: where in the region a file's bytes are, and how well they can be
 * mapped.
 *
 * The alignment of an extent is the largest power of two, up to 2 MiB, modulo which its place in the
 * file and its place in the region agree: with pages of that size it can be mapped. What can be
 * mapped huge are the whole aligned 2 MiB pieces of an extent for which it is 2 MiB.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "format.h"
#include "udaxctl.h"

#define HUGE_BYTES ((uint64_t)HUGE_BLOCKS << BLOCK_SHIFT)

struct summary {
	uint64_t size_bytes, extents, allocated_bytes, unwritten_bytes, huge_bytes;
};

static uint64_t alignment_bytes(const struct udax_ioc_extent *ext)
{
	uint64_t difference = (ext->lblk ^ ext->pblk) << BLOCK_SHIFT;

	return difference & (HUGE_BYTES - 1) ? difference & -difference : HUGE_BYTES;
}

static uint64_t huge_bytes(const struct udax_ioc_extent *ext)
{
	uint64_t first = (ext->lblk + HUGE_BLOCKS - 1) / HUGE_BLOCKS;
	uint64_t end = (ext->lblk + ext->count) / HUGE_BLOCKS;

	return alignment_bytes(ext) == HUGE_BYTES && end > first ? (end - first) * HUGE_BYTES : 0;
}

static void sum_up(struct summary *sum, const struct udax_ioc_extent *ext)
{
	sum->extents++;
	sum->allocated_bytes += ext->count << BLOCK_SHIFT;
	if (ext->state == UDAX_EXTENT_UNWRITTEN)
		sum->unwritten_bytes += ext->count << BLOCK_SHIFT;
	sum->huge_bytes += huge_bytes(ext);
}

static const char *state_name(const struct udax_ioc_extent *ext)
{
	return ext->state == UDAX_EXTENT_UNWRITTEN ? "unwritten" : "written";
}

static void print_extent(uint64_t n, const struct udax_ioc_extent *ext)
{
	char align[CLI_BYTES_LEN];
	uint64_t huge = huge_bytes(ext) / HUGE_BYTES;

	printf("%6llu: %12llu..%12llu: %12llu..%12llu: %10llu: %-9s %8s", (unsigned long long)n,
	       (unsigned long long)ext->lblk, (unsigned long long)(ext->lblk + ext->count - 1),
	       (unsigned long long)ext->pblk, (unsigned long long)(ext->pblk + ext->count - 1),
	       (unsigned long long)ext->count, state_name(ext),
	       cli_bytes(alignment_bytes(ext), align));
	if (huge)
		printf("  %llu huge", (unsigned long long)huge);
	putchar('\n');
}

static json_t *json_extent(const struct udax_ioc_extent *ext)
{
	json_t *out = json_object();

	cli_set_uint(out, "pos_bytes", ext->lblk << BLOCK_SHIFT);
	cli_set_uint(out, "region_bytes", ext->pblk << BLOCK_SHIFT);
	cli_set_uint(out, "len_bytes", ext->count << BLOCK_SHIFT);
	cli_set_string(out, "state", state_name(ext));
	cli_set_uint(out, "alignment_bytes", alignment_bytes(ext));
	cli_set_uint(out, "huge_bytes", huge_bytes(ext));
	return out;
}

/* One page of the map after the other; @extents: collect for JSON, NULL: print. */
static int walk(int fd, const char *path, json_t *extents, struct summary *sum)
{
	struct udax_ioc_map map = { 0 };
	uint64_t start_blk = 0;

	do {
		map = (struct udax_ioc_map){ .version = UDAX_IOC_VERSION, .start_blk = start_blk };
		if (ioctl(fd, UDAX_IOC_MAP, &map))
			return ctl_refused(path, "reading its extents", errno);
		sum->size_bytes = map.size_bytes;
		for (uint32_t i = 0; i < map.count; i++) {
			const struct udax_ioc_extent *ext = &map.extents[i];

			if (extents)
				cli_append(extents, json_extent(ext));
			else
				print_extent(sum->extents, ext);
			sum_up(sum, ext);
			start_blk = ext->lblk + ext->count;
		}
	} while (map.more && map.count);
	return CTL_OK;
}

static int map_text(int fd, const char *path)
{
	struct summary sum = { 0 };
	char size[CLI_BYTES_LEN], allocated[CLI_BYTES_LEN], huge[CLI_BYTES_LEN];
	int status;

	printf("%s: extents in blocks of %u bytes\n", path, BLOCK_BYTES);
	printf("%6s  %26s  %26s  %10s  %-9s %9s\n", "ext", "in the file", "in the region", "count",
	       "state", "alignment");
	status = walk(fd, path, NULL, &sum);
	if (status == CTL_OK)
		printf("size %s, %llu extents, %s allocated, %s of it can be mapped huge\n",
		       cli_bytes(sum.size_bytes, size), (unsigned long long)sum.extents,
		       cli_bytes(sum.allocated_bytes, allocated), cli_bytes(sum.huge_bytes, huge));
	return status;
}

static int map_json(int fd, const char *path)
{
	json_t *out = cli_json(), *extents = json_array();
	struct summary sum = { 0 };
	int status = walk(fd, path, extents, &sum);

	if (status != CTL_OK) {
		json_decref(extents);
		json_decref(out);
		return status;
	}
	cli_set_string(out, "path", path);
	cli_set_uint(out, "size_bytes", sum.size_bytes);
	cli_set_uint(out, "allocated_bytes", sum.allocated_bytes);
	cli_set_uint(out, "unwritten_bytes", sum.unwritten_bytes);
	cli_set_uint(out, "huge_bytes", sum.huge_bytes);
	cli_set(out, "extents", extents);
	return cli_print_json(out);
}

static int run_map(const struct verb *verb, int argc, char **argv)
{
	struct ctl_options options = { 0 };
	int fd, status = ctl_parse(verb, argc, argv, &options, 1, 1);

	if (status == CTL_OK)
		status = file_open(argv[optind], O_RDONLY, &fd);
	if (status != CTL_OK)
		return status;
	status = options.json ? map_json(fd, argv[optind]) : map_text(fd, argv[optind]);
	close(fd);
	return status;
}

const struct verb verb_map = {
	.name = "map",
	.args = "FILE",
	.summary = "Where in the region a file's extents are",
	.details =
		"What lies between extents is a hole. The alignment is that of file and region\n"
		"to each other: an extent with 2 MiB can be mapped with huge pages, \"N huge\" of\n"
		"them.\n",
	.run = run_map,
};
