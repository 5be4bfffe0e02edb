/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fuse_device.h - how the receiving thread waits for the next message.
 */
#ifndef UDAX_FUSE_DEVICE_H
#define UDAX_FUSE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct sync;

/* Used by one thread at a time: the one that receives. */
struct device {
	struct sync *sync;
	uint64_t spin_ns; /* how long to look for a message before sleeping; 0: not at all */
	bool nonblocking; /* the descriptor's state */
	bool spinning;
	bool was_there;	   /* the last message had been waiting for us */
	unsigned misses;   /* in a row, while spinning */
	unsigned interval; /* messages between two probes, while not spinning */
	unsigned until_probe;
	uint64_t resume_ns; /* no probe before this time */
};

/** device_init - @spin_us: see spin_ns. */
void device_init(struct device *d, struct sync *sync, unsigned spin_us);

/** device_read - as read(2) on the blocking descriptor @fd; also says d->was_there. */
ssize_t device_read(struct device *d, int fd, void *buf, size_t len);

#endif
