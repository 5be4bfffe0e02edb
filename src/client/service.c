/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * service.c - see service.h. One round: connections first, because a recall has a deadline and a
 * grant that arrived saves a question; then what the clerk has done and the program wants; then
 * touches.
 *
 * While INFLIGHT_MAX questions have no answer, touches are left where they are: in the kernel's queue.
 */
#include "service.h"

#include <errno.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "client.h"
#include "conn.h"
#include "file.h"
#include "fork.h"
#include "mapping.h"
#include "sys.h"
#include "touch.h"
#include "work.h"

#define CONNS_MAX 64
#define STACK_BYTES (1u << 20) /* a program's static TLS is in there, too */
#define RECONNECT_MS 5000

/* ---- one round ------------------------------------------------------------------------------- */

static int timeout_ms(uint64_t now, uint64_t due)
{
	if (!due)
		return -1;
	return due <= now ? 0 : (int)((due - now + 999999) / 1000000);
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return !a || (b && b < a) ? b : a;
}

static void read_touches(struct client *client)
{
	struct uffd_msg msgs[16];
	ssize_t n = sys_read(client->uffd, msgs, sizeof(msgs));

	for (ssize_t i = 0; i < n / (ssize_t)sizeof(msgs[0]); i++) {
		if (msgs[i].event == UFFD_EVENT_PAGEFAULT)
			touch(client, msgs[i].arg.pagefault.address,
			      msgs[i].arg.pagefault.flags &
				      (UFFD_PAGEFAULT_FLAG_WRITE | UFFD_PAGEFAULT_FLAG_WP));
	}
}

static void handle_touches(struct client *client, bool readable)
{
	struct touch_event event;

	while (client->inflight < INFLIGHT_MAX && bell_take(client, &event))
		touch(client, event.addr, event.write);
	if (readable)
		read_touches(client);
}

static void handle_wakeup(struct client *client)
{
	uint64_t value;
	struct chore *chore;

	sys_read(client->bell.wakeup, &value, sizeof(value));
	while ((chore = clerk_take(client)))
		file_chore_done(client, chore);
	work_take(client);
}

static void round_of(struct client *client)
{
	struct pollfd fds[2 + CONNS_MAX];
	struct conn *conns[CONNS_MAX];
	uint64_t now = sys_now_ns(), due;
	unsigned n = 0;

	conn_reap(client);
	due = sooner(files_tick(client, now), piece_expire(client, now));
	fds[0] = (struct pollfd){ .fd = client->bell.wakeup, .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = client->inflight < INFLIGHT_MAX ? client->uffd : -1,
				  .events = POLLIN };
	for (struct conn *conn = client->conns; conn && n < CONNS_MAX; conn = conn->next) {
		if (conn->broken)
			due = now;
		conns[n] = conn;
		fds[2 + n++] = (struct pollfd){
			.fd = conn->sock,
			.events = (short)(POLLIN | (conn_wants_out(conn) ? POLLOUT : 0)),
		};
	}
	if (sys_poll(fds, 2 + n, timeout_ms(now, due)) <= 0)
		return;
	for (unsigned i = 0; i < n; i++) {
		if (fds[2 + i].revents & POLLOUT)
			conn_flush(client, conns[i]);
		if (fds[2 + i].revents & ~POLLOUT)
			conn_receive(client, conns[i]);
	}
	if (fds[0].revents)
		handle_wakeup(client);
	handle_touches(client, fds[1].revents);
}

/* ---- starting -------------------------------------------------------------------------------- */

static int open_userfaultfd(void)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_PAGEFAULT_FLAG_WP,
	};
	int fd = sys_userfaultfd(), err;

	if (fd < 0)
		return fd;
	err = sys_ioctl(fd, UFFDIO_API, &api);
	if (!err)
		return fd;
	sys_close(fd);
	return err;
}

/* Leave the program's table of descriptors, and take nothing along but the socket of a parent. */
static int own_table(struct client *client)
{
	int err = sys_unshare_files();

	if (err)
		return err;
	if (client->inherit < 0)
		return sys_close_range(0, ~0u);
	if (client->inherit)
		sys_close_range(0, (unsigned)client->inherit - 1);
	return sys_close_range((unsigned)client->inherit + 1, ~0u);
}

static int open_descriptors(struct client *client)
{
	int *const fds[] = { &client->bell.wakeup, &client->bell.kick, &client->nothing,
			     &client->uffd };

	client->bell.wakeup = sys_eventfd();
	client->bell.kick = sys_eventfd();
	client->nothing = sys_memfd("udax-nothing");
	client->uffd = open_userfaultfd();
	for (unsigned i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		if (*fds[i] < 0)
			return *fds[i];
	}
	return 0;
}

static int start_thread(void *(*main)(void *), struct client *client)
{
	pthread_attr_t attr;
	pthread_t thread;
	int err;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	err = -pthread_create(&thread, &attr, main, client);
	pthread_attr_destroy(&attr);
	return err;
}

static int begin(struct client *client)
{
	int err = own_table(client);

	if (!err)
		err = open_descriptors(client);
	if (!err)
		err = start_thread(bell_main, client);
	if (!err)
		err = start_thread(clerk_main, client);
	if (!err)
		err = spares_init(client);
	client->zeroes = err ? NULL : arena_alloc(&client->arena, ZERO_BYTES);
	if (!err && !client->zeroes)
		err = -ENOMEM;
	if (!err && client->parent)
		fork_adopt(client);
	return err;
}

static void *service_main(void *arg)
{
	struct client *client = arg;

	sys_thread_name("udax-service");
	client->start_error = begin(client);
	atomic_store(&client->started, 1);
	sys_wake(&client->started);
	while (!client->start_error)
		round_of(client);
	return NULL;
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);
	char *end;
	unsigned long long value;

	if (!text || !*text)
		return otherwise;
	value = strtoull(text, &end, 10);
	return *end ? otherwise : value;
}

/* All signals stay away from our threads; they inherit the mask. */
static int start_masked(struct client *client)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = start_thread(service_main, client);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	while (!err && !atomic_load(&client->started))
		sys_wait(&client->started, 0);
	return err ? err : client->start_error;
}

/*
 * When it fails the client is not freed: threads of it may be running. It happens once a process; nobody
 * tries again.
 */
int service_start(struct client *parent, int inherit, struct client **ret_client)
{
	struct client *client = sys_mmap(NULL, sizeof(*client), PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int err = sys_failed(client);

	if (err)
		return err;
	client->pid = sys_pid();
	client->parent = parent;
	client->inherit = inherit;
	client->costly_limit = (unsigned)number_from("UDAX_MAX_PIECES", COSTLY_LIMIT);
	client->reconnect_ns = number_from("UDAX_RECONNECT_MS", RECONNECT_MS) * 1000000u;
	err = start_masked(client);
	if (!err)
		*ret_client = client;
	return err;
}
