/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * signature.c - see signature.h.
 */
#include "signature.h"

#include <blkid.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format.h"
#include "region.h"
#include "volume.h"

#define COPIED_BYTES (UINT64_C(8) << 20) /* of a devdax, at its beginning and at its end */
#define MAX_SIGNATURES 64		 /* more than that is not data that anybody meant */

/* ---- libblkid --------------------------------------------------------------------------------- */

/* A probe for everything, also for what is damaged: its owner may still want to rescue it. */
static int probe_open(int fd, blkid_probe *ret_probe)
{
	blkid_probe probe = blkid_new_probe();

	if (!probe)
		return -ENOMEM;
	if (blkid_probe_set_device(probe, fd, 0, 0)) {
		blkid_free_probe(probe);
		return errno ? -errno : -EIO;
	}
	blkid_probe_enable_superblocks(probe, 1);
	blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE |
							 BLKID_SUBLKS_MAGIC | BLKID_SUBLKS_BADCSUM);
	blkid_probe_enable_partitions(probe, 1);
	blkid_probe_set_partitions_flags(probe, BLKID_PARTS_MAGIC | BLKID_PARTS_FORCE_GPT);
	*ret_probe = probe;
	return 0;
}

static const char *probe_value(blkid_probe probe, const char *name)
{
	const char *value = NULL;

	return blkid_probe_lookup_value(probe, name, &value, NULL) ? NULL : value;
}

static const char *article(const char *noun)
{
	return strchr("aeiouAEIOU", noun[0]) ? "an" : "a";
}

static void describe(blkid_probe probe, char *what, size_t what_len)
{
	const char *type = probe_value(probe, "TYPE"), *usage = probe_value(probe, "USAGE");
	const char *table = probe_value(probe, "PTTYPE");

	if (!type)
		snprintf(what, what_len, "%s %s partition table", article(table), table);
	else if (usage && strcmp(usage, "filesystem") == 0)
		snprintf(what, what_len, "%s %s filesystem", article(type), type);
	else
		snprintf(what, what_len, "%s %s signature (%s)", article(type), type,
			 usage ? usage : "unknown use");
}

/* The next signature: 1, 0 (no more) or -EIO. */
static int probe_next(blkid_probe probe)
{
	for (;;) {
		int result = blkid_do_probe(probe);

		if (result)
			return result > 0 ? 0 : -EIO;
		if (probe_value(probe, "TYPE") || probe_value(probe, "PTTYPE"))
			return 1;
	}
}

int signature_find_fd(int fd, char *what, size_t what_len)
{
	blkid_probe probe;
	int result = probe_open(fd, &probe);

	if (result)
		return result;
	result = probe_next(probe);
	if (result > 0)
		describe(probe, what, what_len);
	blkid_free_probe(probe);
	return result;
}

/* ---- a descriptor that can be read ------------------------------------------------------------ */

static int copy_part(int fd, const struct region *region, uint64_t off, uint64_t len)
{
	if (region_touch((struct region *)region, off, len))
		return -EIO;
	if (pwrite(fd, region_ptr(region, off, len), len, (off_t)off) != (ssize_t)len)
		return -EIO;
	return 0;
}

static int copy_ends(const struct region *region, int *ret_fd)
{
	uint64_t head = region->bytes < COPIED_BYTES ? region->bytes : COPIED_BYTES;
	uint64_t tail = region->bytes - head < COPIED_BYTES ? region->bytes - head : COPIED_BYTES;
	int err, fd = memfd_create("udaxfs-signatures", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	err = ftruncate(fd, (off_t)region->bytes) ? -errno : 0;
	if (!err)
		err = copy_part(fd, region, 0, head);
	if (!err && tail)
		err = copy_part(fd, region, region->bytes - tail, tail);
	if (err) {
		close(fd);
		return err;
	}
	*ret_fd = fd;
	return 0;
}

/*
 * A file is read through the region's own descriptor: to close another one would drop the lock
 * that tells who holds the region.
 */
static int readable_fd(const struct region *region, int *ret_fd, bool *ret_close)
{
	struct stat st;

	if (region->fd >= 0 && !fstat(region->fd, &st) && S_ISREG(st.st_mode)) {
		*ret_fd = region->fd;
		*ret_close = false;
		return 0;
	}
	*ret_close = true;
	return copy_ends(region, ret_fd);
}

/* ---- our own ---------------------------------------------------------------------------------- */

static const struct super *own_super(const struct region *region, bool *ret_damaged)
{
	static const uint64_t places[] = { SUPER_BLK, SUPER_COPY_BLK };
	const struct super *found = NULL;

	*ret_damaged = true;
	for (unsigned i = 0; i < 2; i++) {
		uint64_t off = places[i] << BLOCK_SHIFT;
		const struct super *s = region_ptr(region, off, sizeof(*s));
		int err = region_touch((struct region *)region, off, sizeof(*s));

		if (err || from_le64(s->magic) != SUPER_MAGIC)
			continue;
		if (super_check(s) == 0) {
			*ret_damaged = false;
			return s;
		}
		found = s;
	}
	return found;
}

static bool find_own(const struct region *region, char *what, size_t what_len)
{
	bool damaged;
	const struct super *s = own_super(region, &damaged);

	if (!s)
		return false;
	if (damaged)
		snprintf(what, what_len, "a udaxfs with a damaged superblock");
	else if (s->label[0])
		snprintf(what, what_len, "a udaxfs with the label %.63s", s->label);
	else
		snprintf(what, what_len, "a udaxfs");
	return true;
}

/* ---- all of them ------------------------------------------------------------------------------ */

int signature_find(const struct region *region, char *what, size_t what_len)
{
	bool close_fd;
	int fd, result;

	if (find_own(region, what, what_len))
		return 1;
	result = readable_fd(region, &fd, &close_fd);
	if (result)
		return result;
	result = signature_find_fd(fd, what, what_len);
	if (close_fd)
		close(fd);
	return result;
}

/* Where the signature that the probe stands on begins: its magic number. */
static bool magic_range(blkid_probe probe, uint64_t *ret_off, size_t *ret_len)
{
	bool super = probe_value(probe, "TYPE") != NULL;
	const char *offset = probe_value(probe, super ? "SBMAGIC_OFFSET" : "PTMAGIC_OFFSET");
	const char *magic;

	if (!offset ||
	    blkid_probe_lookup_value(probe, super ? "SBMAGIC" : "PTMAGIC", &magic, ret_len))
		return false;
	*ret_off = strtoull(offset, NULL, 10);
	return *ret_len > 0;
}

/* Zero the first signature that can be zeroed: 1, 0 (there is none) or -errno. */
static int wipe_one(struct region *region)
{
	blkid_probe probe;
	bool close_fd;
	uint64_t off;
	size_t len;
	int fd, result = readable_fd(region, &fd, &close_fd);

	if (result)
		return result;
	result = probe_open(fd, &probe);
	if (result)
		goto out_fd;
	do {
		result = probe_next(probe);
	} while (result > 0 && !magic_range(probe, &off, &len));
	if (result > 0 && (off >= region->bytes || len > region->bytes - off))
		result = -EIO;
	if (result > 0) {
		region_zero(region, off, len, HERE);
		region_drain(region, HERE);
		if (region_check(region, off, len))
			result = -EIO;
	}
	blkid_free_probe(probe);
out_fd:
	if (close_fd)
		close(fd);
	return result;
}

/* One at a time: what stands behind the first (a copy, a table's backup) shows only then. */
int signature_wipe(struct region *region)
{
	for (unsigned i = 0; i < MAX_SIGNATURES; i++) {
		int result = wipe_one(region);

		if (result <= 0)
			return result;
	}
	return -EIO;
}
