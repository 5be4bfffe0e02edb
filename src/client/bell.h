/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * bell.h - the thread that tells the service of calls, and reads userfaultfd events while the service
 * moves registered memory.
 *
 * mremap(2) of registered memory returns only when somebody has read the event of it, so the service
 * cannot be its reader at that moment. Otherwise it is: a fault that went through two threads would
 * take twice as long. What the bell reads meanwhile it hands over in a ring.
 *
 * The program's threads cannot write to the service's eventfd, which is not in their table: they
 * wake the bell (futex), and the bell writes.
 */
#ifndef UDAX_CLIENT_BELL_H
#define UDAX_CLIENT_BELL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct client;

#define BELL_RING 1024u

struct touch_event {
	uint64_t addr;
	uint64_t write;
};

struct bell {
	_Atomic uint32_t word; /* raised by whoever wants the bell */
	_Atomic uint32_t call; /* a call was posted */
	_Atomic uint32_t read; /* the service is remapping */
	int wakeup;	       /* eventfd that the service polls */
	int kick;	       /* eventfd that ends the reading */
	_Atomic uint32_t head, tail;
	struct touch_event ring[BELL_RING];
};

/** bell_main - the thread. */
void *bell_main(void *client);

/** bell_ring - a call was posted. Any thread. */
void bell_ring(struct client *client);

/** bell_read_begin, bell_read_end - around mremap of registered memory. The service. */
void bell_read_begin(struct client *client);
void bell_read_end(struct client *client);

/** bell_take - the oldest fault that was read. The service. */
bool bell_take(struct client *client, struct touch_event *ret_event);

/** bell_wake_service - make the service look around. Bell and clerk. */
void bell_wake_service(struct client *client);

#endif
