/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * region_devdax_none.c - stands in for region_devdax.c in a build without libdaxctl and libndctl.
 */
#include <errno.h>

#include "region_impl.h"

int region_devdax_open(const struct region_request *req, struct region **ret_region)
{
	(void)ret_region;
	return region_fail(
		req, -ENODEV,
		"%s is a character device, and this udaxfs was built without devdax; build "
		"it with libdaxctl-dev and libndctl-dev installed, or give a file",
		req->path);
}
