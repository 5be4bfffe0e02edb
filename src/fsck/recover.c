/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * recover.c - the one place where the checker leaves work to the core: finishing what is
 * pending is what every mount does, and there is only one right way to do it.
 *
 * It is called when nothing is wrong any more, so the core meets a sound volume.
 */
#include <stdio.h>

#include "impl.h"
#include "mem.h"
#include "sync.h"
#include "volume.h"

int fsck_recover(struct region *region, char *err, size_t err_len)
{
	struct volume_env env = { .mem = mem_heap() };
	struct volume *vol;
	int result;

	env.sync = sync_pthread_new(NULL);
	if (!env.sync) {
		snprintf(err, err_len, "out of memory");
		return -ENOMEM;
	}
	result = volume_mount(region, &env, &vol, err, err_len);
	if (!result)
		volume_unmount(vol);
	sync_delete(env.sync);
	return result;
}
