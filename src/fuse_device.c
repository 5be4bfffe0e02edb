/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fuse_device.c - waiting for the next message, asleep or awake.
 *
 * A program that waits for each of its requests makes two threads take turns. On one CPU a turn is
 * a context switch. On two, each turn wakes an idle CPU, which takes ten times as long as the
 * request itself. We cannot help the program's half of that; but for our half we can look for the
 * next message for a short while instead of sleeping: nobody has to wake us then.
 *
 * Looking is right only if the message can come meanwhile, and if nobody else needs the CPU. Both are
 * found out by trying:
 *
 *   - Now and then one wait is a probe. If its message comes while we look, we go on looking from
 *     then on; if not, the next probe comes twice as late. With the program on our own CPU none can
 *     succeed.
 *   - Several misses in a row end it: nobody is waiting for us.
 *   - If the clock jumps while we look, somebody else ran on our CPU, and would run more without
 *     us: no probe for a second.
 *
 * Looking is read(2) without blocking; asleep we are in a blocking read(2), one system call a message.
 * The descriptor is switched between the two only when the answer changes.
 */
#include "fuse_device.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "sync.h"

#define MAX_MISSES 8
#define MIN_INTERVAL 32u
#define MAX_INTERVAL 4096u
#define JUMP_NS 100000	    /* between two looks: we did not run */
#define PAUSE_NS 1000000000 /* after such a jump */

/* A blocking read that took no longer than a copy does: the message had been there. */
#define COPY_NS(bytes) (2000 + (uint64_t)(bytes) / 4)

void device_init(struct device *d, struct sync *sync, unsigned spin_us)
{
	*d = (struct device){ .sync = sync,
			      .spin_ns = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? spin_us * 1000ull : 0,
			      .interval = MIN_INTERVAL,
			      .until_probe = MIN_INTERVAL };
}

static void set_nonblocking(struct device *d, int fd, bool nonblocking)
{
	int flags;

	if (d->nonblocking == nonblocking)
		return;
	flags = fcntl(fd, F_GETFL);
	fcntl(fd, F_SETFL, nonblocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
	d->nonblocking = nonblocking;
}

static ssize_t read_asleep(struct device *d, int fd, void *buf, size_t len)
{
	uint64_t before;
	ssize_t n;

	set_nonblocking(d, fd, false);
	before = sync_now_ns(d->sync);
	n = read(fd, buf, len);
	d->was_there = n > 0 && sync_now_ns(d->sync) - before < COPY_NS(n);
	return n;
}

/* Look until there is a message or the time is over (EAGAIN). */
static ssize_t read_awake(struct device *d, int fd, void *buf, size_t len)
{
	uint64_t start, now, last;
	ssize_t n;

	set_nonblocking(d, fd, true);
	n = read(fd, buf, len);
	d->was_there = n > 0;
	if (n >= 0 || errno != EAGAIN)
		return n;
	start = now = sync_now_ns(d->sync);
	while (now - start < d->spin_ns) {
		n = read(fd, buf, len);
		if (n >= 0 || errno != EAGAIN)
			return n;
		last = now;
		now = sync_now_ns(d->sync);
		if (now - last > JUMP_NS)
			d->resume_ns = now + PAUSE_NS;
	}
	errno = EAGAIN;
	return -1;
}

static void stop_spinning(struct device *d, unsigned interval)
{
	d->spinning = false;
	d->misses = 0;
	d->interval = interval < MAX_INTERVAL ? interval : MAX_INTERVAL;
	d->until_probe = d->interval;
}

static bool time_to_look(struct device *d)
{
	if (!d->spin_ns)
		return false;
	if (d->spinning)
		return true;
	if (--d->until_probe)
		return false;
	d->until_probe = d->interval;
	return sync_now_ns(d->sync) >= d->resume_ns;
}

ssize_t device_read(struct device *d, int fd, void *buf, size_t len)
{
	ssize_t n;

	if (!time_to_look(d))
		return read_asleep(d, fd, buf, len);
	n = read_awake(d, fd, buf, len);
	if (n >= 0 || errno != EAGAIN) {
		if (!d->was_there) { /* else it says nothing */
			d->spinning = true;
			d->misses = 0;
		}
	} else if (!d->spinning) {
		stop_spinning(d, 2 * d->interval);
	} else if (++d->misses == MAX_MISSES) {
		stop_spinning(d, MIN_INTERVAL);
	}
	if (d->spinning && d->resume_ns > sync_now_ns(d->sync))
		stop_spinning(d, MIN_INTERVAL);
	if (n >= 0 || errno != EAGAIN)
		return n;
	return read_asleep(d, fd, buf, len);
}
