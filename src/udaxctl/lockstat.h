/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * lockstat.h - lock statistics of a mount, as udaxctl lockstat and udaxctl top read them.
 */
#ifndef UDAX_UDAXCTL_LOCKSTAT_H
#define UDAX_UDAXCTL_LOCKSTAT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "udax/ioctl.h"

struct target;

#define LOCKSTAT_MAX_CLASSES 32 /* more than there will be */

struct lockstat {
	bool enabled;
	unsigned nclasses;
	struct udax_ioc_lockstat classes[LOCKSTAT_MAX_CLASSES];
};

/** lockstat_read - all classes, in lock order. CTL_OK, or CTL_FAILED with a message. */
int lockstat_read(const struct target *target, struct lockstat *ret);

/** lockstat_switch - with flags of enum udax_ioc_lockstat_control_flags; likewise. */
int lockstat_switch(const struct target *target, uint32_t flags);

/** lockstat_sort_contended - those first that were waited for longest. */
void lockstat_sort_contended(struct lockstat *all);

/** lockstat_sum - of readers and writers. */
struct udax_ioc_lockstat_mode lockstat_sum(const struct udax_ioc_lockstat *class);

/** lockstat_json - a new object with everything about a class. */
json_t *lockstat_json(const struct udax_ioc_lockstat *class);

#endif
