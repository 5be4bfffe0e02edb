/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * region_devdax.c - a region that is a device-dax such as /dev/dax0.0.
 *
 * A devdax is mapped whole, in pages of its own alignment (4 KiB, 2 MiB or 1 GiB): that is the
 * granule a client can map, and also what has to be replaced at once when one byte of it raises
 * SIGBUS. It cannot grow while it is in use.
 *
 * Not everything with this interface is persistent: memory that the firmware set aside, or CXL
 * memory, has it too. Below an nvdimm bus the durability domain is "pmem"; elsewhere "volatile".
 *
 * Bad blocks that the kernel already knows are entered into the map at once. Comparing addresses
 * takes a privilege (sysfs shows them to root only); without it they are met as SIGBUS, later.
 */
#include <assert.h>
#include <daxctl/libdaxctl.h>
#include <errno.h>
#include <limits.h>
#include <ndctl/libndctl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "region_impl.h"

#define MIN_ALIGN_BYTES (UINT64_C(2) << 20)
#define SECTOR_BYTES 512u

/* What sysfs says about a device. */
struct devdax_facts {
	uint64_t bytes;
	uint64_t resource; /* physical address; ULLONG_MAX: not told */
	uint64_t align;
	bool enabled;
	bool system_ram;
	bool persistent;
};

/* ---- stores: only closing differs from a file's ---------------------------------------------- */

static void devdax_close(struct region *r)
{
	struct mapped_region *m = (struct mapped_region *)r;

	r->ops->drain(r, NULL);
	mapped_release(m);
	free(m);
}

static const struct region_ops pmem_ops = {
	.name = "devdax",
	.store = pmem_store,
	.zero = pmem_zero,
	.store64 = pmem_store64,
	.flush = pmem_flush_range,
	.drain = fence_drain,
	.close = devdax_close,
};

static const struct region_ops volatile_ops = {
	.name = "devdax",
	.store = volatile_store,
	.zero = volatile_zero,
	.store64 = volatile_store64,
	.flush = volatile_flush,
	.drain = fence_drain,
	.close = devdax_close,
};

/* ---- what the device is ---------------------------------------------------------------------- */

static struct daxctl_dev *find_device(struct daxctl_ctx *ctx, dev_t rdev)
{
	struct daxctl_region *region;
	struct daxctl_dev *dev;

	daxctl_region_foreach(ctx, region)
	{
		daxctl_dev_foreach(region, dev)
		{
			if (daxctl_dev_get_major(dev) == (int)major(rdev) &&
			    daxctl_dev_get_minor(dev) == (int)minor(rdev))
				return dev;
		}
	}
	return NULL;
}

static int get_facts(dev_t rdev, struct devdax_facts *ret)
{
	struct daxctl_ctx *ctx;
	struct daxctl_dev *dev;
	const char *path;
	int rc = daxctl_new(&ctx);

	if (rc)
		return rc;
	dev = find_device(ctx, rdev);
	if (!dev) {
		daxctl_unref(ctx);
		return -ENODEV;
	}
	path = daxctl_region_get_path(daxctl_dev_get_region(dev));
	*ret = (struct devdax_facts){
		.bytes = daxctl_dev_get_size(dev),
		.resource = daxctl_dev_get_resource(dev),
		.align = daxctl_dev_get_align(dev),
		.enabled = daxctl_dev_is_enabled(dev),
		.system_ram = daxctl_dev_get_memory(dev) != NULL,
		.persistent = path && strstr(path, "/ndbus"),
	};
	daxctl_unref(ctx);
	return 0;
}

static int check_facts(const struct region_request *req, const struct devdax_facts *facts)
{
	const char *path = req->path;

	if (facts->system_ram)
		return region_fail(req, -ENXIO,
				   "%s is in use as system memory; give it back with 'daxctl "
				   "reconfigure-device --mode=devdax'",
				   path);
	if (facts->bytes == 0)
		return region_fail(req, -ENXIO,
				   "%s has size 0; give it memory with 'daxctl create-device'",
				   path);
	if (!facts->enabled)
		return region_fail(req, -ENXIO,
				   "%s is disabled; enable it with 'daxctl enable-device'", path);
	/* Also sorts out the all-ones that libdaxctl returns for what it cannot read. */
	if (facts->align < REGION_PAGE_BYTES || facts->align > UINT32_MAX ||
	    (facts->align & (facts->align - 1)) || facts->bytes % facts->align)
		return region_fail(
			req, -ENXIO,
			"%s reports %llu bytes with alignment %llu, which is not possible; "
			"look at 'daxctl list -u'",
			path, (unsigned long long)facts->bytes, (unsigned long long)facts->align);
	return 0;
}

/* ---- bad blocks ------------------------------------------------------------------------------ */

/* The bad block [@off, @off + @len), in bytes from the physical address @base, clipped to @r. */
static void mark_bad_block(struct region *r, uint64_t resource, uint64_t base, uint64_t off,
			   uint64_t len)
{
	uint64_t from = base + off, to = from + len;
	uint64_t end = resource + r->bytes;

	if (from < resource)
		from = resource;
	if (to > end)
		to = end;
	if (from < to)
		region_mark_bad(r, from - resource, to - from);
}

/* libndctl gives bad blocks in sectors from the beginning of the nvdimm region. */
static void mark_bad_blocks(struct region *r, uint64_t resource)
{
	struct ndctl_region *region;
	struct ndctl_ctx *ctx;
	struct ndctl_bus *bus;
	struct badblock *bb;

	if (resource == ULLONG_MAX || ndctl_new(&ctx))
		return;
	ndctl_bus_foreach(ctx, bus)
	{
		ndctl_region_foreach(bus, region)
		{
			uint64_t base = ndctl_region_get_resource(region);

			if (base == ULLONG_MAX)
				continue;
			ndctl_region_badblock_foreach(region, bb)
			{
				mark_bad_block(r, resource, base, bb->offset * SECTOR_BYTES,
					       (uint64_t)bb->len * SECTOR_BYTES);
			}
		}
	}
	ndctl_unref(ctx);
}

/* ---- open ------------------------------------------------------------------------------------ */

static int devdax_setup(struct mapped_region *m, const struct region_request *req,
			const struct devdax_facts *facts)
{
	uint64_t align = facts->align > MIN_ALIGN_BYTES ? facts->align : MIN_ALIGN_BYTES;
	bool pmem = facts->persistent || (req->flags & REGION_ASSUME_PMEM);
	struct region *r = &m->r;
	int rc;

	rc = mapped_granule(m, req, (uint32_t)facts->align);
	if (rc)
		return rc;
	r->domain = pmem ? DURABILITY_PMEM : DURABILITY_VOLATILE;
	r->ops = pmem ? &pmem_ops : &volatile_ops;
	r->page_bytes = (uint32_t)facts->align;
	rc = mapped_map(m, facts->bytes, facts->bytes, align, MAP_SHARED);
	if (rc)
		return region_fail(req, rc, "%s cannot be mapped (%llu bytes): %s", req->path,
				   (unsigned long long)facts->bytes, strerror(-rc));
	mark_bad_blocks(r, facts->resource);
	return 0;
}

int region_devdax_open(const struct region_request *req, struct region **ret_region)
{
	struct devdax_facts facts;
	struct mapped_region *m;
	struct stat st;
	int rc;

	/* Look before opening: to open some character devices is to do something. */
	if (stat(req->path, &st))
		return region_fail(req, -errno, "%s cannot be looked at: %s", req->path,
				   strerror(errno));
	rc = get_facts(st.st_rdev, &facts);
	if (rc)
		return region_fail(
			req, -ENODEV,
			"%s is a character device, but not a devdax; 'daxctl list' names "
			"those that there are",
			req->path);
	rc = check_facts(req, &facts);
	if (rc)
		return rc;
	m = calloc(1, sizeof(*m));
	if (!m)
		return region_fail(req, -ENOMEM, "%s: no memory left", req->path);
	rc = mapped_open(m, req, &st);
	if (rc)
		goto fail;
	rc = devdax_setup(m, req, &facts);
	if (rc) {
		mapped_release(m);
		goto fail;
	}
	*ret_region = &m->r;
	return 0;
fail:
	free(m);
	return rc;
}
