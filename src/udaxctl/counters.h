/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * counters.h - the counters of a mount, as udaxctl stat and udaxctl top read them.
 */
#ifndef UDAX_UDAXCTL_COUNTERS_H
#define UDAX_UDAXCTL_COUNTERS_H

#include <stdint.h>

#include "udax/ioctl.h"

struct target;

struct counters {
	struct udax_ioc_stat pages[4]; /* more than there will be */
	unsigned npages;
};

/** counters_read - all of them, now. CTL_OK, or CTL_FAILED with a message. */
int counters_read(const struct target *target, struct counters *ret);

/** counters_get - the one called @name; 0 when there is none. */
uint64_t counters_get(const struct counters *counters, const char *name);

#endif
