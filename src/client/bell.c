/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * bell.c - see bell.h. This thread touches the userfaultfd, two eventfds and the ring, never maps
 * and never sends, so nothing that it does can wait for anybody.
 */
#include "bell.h"

#include <linux/userfaultfd.h>
#include <poll.h>

#include "client.h"
#include "sys.h"

void bell_wake_service(struct client *client)
{
	uint64_t one = 1;

	sys_write(client->bell.wakeup, &one, sizeof(one));
}

static void raise(struct bell *bell)
{
	atomic_fetch_add(&bell->word, 1);
	sys_wake(&bell->word);
}

void bell_ring(struct client *client)
{
	atomic_store(&client->bell.call, 1);
	raise(&client->bell);
}

void bell_read_begin(struct client *client)
{
	atomic_store(&client->bell.read, 1);
	raise(&client->bell);
}

void bell_read_end(struct client *client)
{
	uint64_t one = 1;

	atomic_store(&client->bell.read, 0);
	sys_write(client->bell.kick, &one, sizeof(one));
}

/* No room: the thread shall touch again, and the event comes once more. */
static void push(struct client *client, uint64_t addr, bool write)
{
	struct bell *bell = &client->bell;
	uint32_t head = atomic_load_explicit(&bell->head, memory_order_relaxed);

	if (head - atomic_load_explicit(&bell->tail, memory_order_acquire) == BELL_RING) {
		spare_wake(client, addr & ~(uint64_t)(PAGE_BYTES - 1), PAGE_BYTES);
		return;
	}
	bell->ring[head % BELL_RING] = (struct touch_event){ addr, write };
	atomic_store_explicit(&bell->head, head + 1, memory_order_release);
}

bool bell_take(struct client *client, struct touch_event *ret_event)
{
	struct bell *bell = &client->bell;
	uint32_t tail = atomic_load_explicit(&bell->tail, memory_order_relaxed);

	if (tail == atomic_load_explicit(&bell->head, memory_order_acquire))
		return false;
	*ret_event = bell->ring[tail % BELL_RING];
	atomic_store_explicit(&bell->tail, tail + 1, memory_order_release);
	return true;
}

static bool read_events(struct client *client)
{
	struct uffd_msg msgs[16];
	ssize_t n = sys_read(client->uffd, msgs, sizeof(msgs));
	bool any = false;

	for (ssize_t i = 0; i < n / (ssize_t)sizeof(msgs[0]); i++) {
		if (msgs[i].event != UFFD_EVENT_PAGEFAULT)
			continue; /* a remap: reading it was what it waited for */
		push(client, msgs[i].arg.pagefault.address,
		     msgs[i].arg.pagefault.flags &
			     (UFFD_PAGEFAULT_FLAG_WRITE | UFFD_PAGEFAULT_FLAG_WP));
		any = true;
	}
	return any;
}

static void read_while_remapping(struct client *client)
{
	struct pollfd fds[2] = {
		{ .fd = client->uffd, .events = POLLIN },
		{ .fd = client->bell.kick, .events = POLLIN },
	};
	bool any = false;
	uint64_t value;

	while (atomic_load(&client->bell.read)) {
		sys_poll(fds, 2, -1);
		if (fds[1].revents)
			sys_read(client->bell.kick, &value, sizeof(value));
		if (fds[0].revents && read_events(client))
			any = true;
	}
	if (any)
		bell_wake_service(client);
}

void *bell_main(void *arg)
{
	struct client *client = arg;
	struct bell *bell = &client->bell;
	uint32_t seen = 0;

	sys_thread_name("udax-bell");
	for (;;) {
		uint32_t now = atomic_load(&bell->word);

		if (now == seen) {
			sys_wait(&bell->word, seen);
			continue;
		}
		seen = now;
		if (atomic_exchange(&bell->call, 0))
			bell_wake_service(client);
		if (atomic_load(&bell->read))
			read_while_remapping(client);
	}
}
