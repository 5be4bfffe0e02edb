/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * clientd.c - who may connect, and what becomes of a client whose stream has ended.
 *
 * A stream that ends proves nothing (RACES.md, row 61): the process may have closed its descriptors
 * and kept its mappings, or may be stopped. So the *reaper* takes what the connection had for granted
 * until the client's lock on the region is gone, and with it the last mapping. Only then its grants
 * are forgotten, and what was freed on its account is released. Recalls of such a client go nowhere
 * and run into their deadline, which makes it late; grant.h says what that means.
 *
 * The reaper also looks after clients of an earlier daemon (vol->orphans), and ends the quarantine
 * when nobody is late any more.
 *
 * Locks: d->lock (LOCK_LEAF) over the list of connections. The reaper alone removes from it.
 */
#include "clientd.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "alloc.h"
#include "region.h"
#include "volume.h"

#define BACKLOG 64
#define TICK_MS 10   /* while somebody is lost, late, or an orphan */
#define IDLE_MS 250  /* a client may become late, or die, without a word to us */
#define LEAVE_MS 500 /* for clients to let go when the mount ends */
#define RANDOM_BYTES 16

struct clientd {
	struct volume *vol;
	struct tokens *tokens;
	char name[CLIENTD_NAME_LEN];
	int listen_fd, wake_fd;
	uint32_t next_number; /* the acceptor's */
	struct sync_thread *acceptor, *reaper;
	struct sync_mutex lock;
	struct conn *conns;
	atomic_bool ending;
};

struct volume *clientd_volume(struct clientd *d)
{
	return d->vol;
}

struct tokens *clientd_tokens(struct clientd *d)
{
	return d->tokens;
}

const char *clientd_name(const struct clientd *d)
{
	return d->name;
}

static void wake(struct clientd *d)
{
	uint64_t one = 1;

	(void)!write(d->wake_fd, &one, sizeof(one));
}

void clientd_lost(struct clientd *d)
{
	wake(d);
}

/* ---- accepting ------------------------------------------------------------------------------------ */

/* Whoever has the region's descriptor has all of it: only the daemon's own user, and root. */
static bool is_trusted(int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 &&
	       (cred.uid == geteuid() || cred.uid == 0);
}

static void accept_one(struct clientd *d)
{
	int fd = accept4(d->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct conn *conn;

	if (fd < 0)
		return;
	if (!is_trusted(fd)) {
		close(fd);
		return;
	}
	if (conn_start(d, fd, d->next_number++, &conn))
		return;
	sync_lock(&d->lock, 0, HERE);
	conn->next = d->conns;
	d->conns = conn;
	sync_unlock(&d->lock, HERE);
	wake(d); /* it may have been lost already */
}

static void acceptor(void *arg)
{
	struct clientd *d = arg;
	struct pollfd fd = { .fd = d->listen_fd, .events = POLLIN };

	while (!atomic_load(&d->ending))
		if (poll(&fd, 1, 1000) > 0 && !atomic_load(&d->ending))
			accept_one(d);
}

/* ---- reaping -------------------------------------------------------------------------------------- */

/*
 * Take a lost connection out of the list whose client is gone. *@ret_waiting: some are lost and not. A
 * client can be gone whose stream has not ended: a child of its has a copy of the socket.
 */
static struct conn *take_gone(struct clientd *d, bool *ret_waiting)
{
	struct conn **link, *conn;

	*ret_waiting = false;
	sync_lock(&d->lock, 0, HERE);
	for (link = &d->conns; (conn = *link); link = &conn->next) {
		bool lost = atomic_load(&conn->lost);

		if (!lost && !atomic_load(&conn->welcome))
			continue;
		if (region_client_alive(d->vol->region, conn->number))
			*ret_waiting |= lost;
		else if (lost)
			break;
		else
			shutdown(conn->fd, SHUT_RDWR);
	}
	if (conn)
		*link = conn->next;
	sync_unlock(&d->lock, HERE);
	return conn;
}

/* Returns whether there is reason to look again soon. */
static bool reap(struct clientd *d)
{
	struct volume *vol = d->vol;
	struct conn *conn;
	bool waiting;

	while ((conn = take_gone(d, &waiting)))
		conn_delete(conn);
	if (atomic_load(&vol->orphans)) {
		volume_orphans_gone(vol);
		waiting |= atomic_load(&vol->orphans);
	}
	if (!atomic_load(&vol->nlate) && !atomic_load(&vol->orphans) &&
	    atomic_load(&vol->nquarantined) > 0 && alloc_release_all(vol))
		return waiting; /* no use in trying that every moment */
	return waiting || atomic_load(&vol->nlate);
}

static void reaper(void *arg)
{
	struct clientd *d = arg;
	struct pollfd fd = { .fd = d->wake_fd, .events = POLLIN };

	while (!atomic_load(&d->ending)) {
		uint64_t count;

		poll(&fd, 1, reap(d) ? TICK_MS : IDLE_MS);
		(void)!read(d->wake_fd, &count, sizeof(count));
	}
}

void clientd_stat(struct clientd *d, struct clientd_stat *ret)
{
	*ret = (struct clientd_stat){ 0 };
	sync_lock(&d->lock, 0, HERE);
	for (struct conn *conn = d->conns; conn; conn = conn->next) {
		ret->nlost += atomic_load(&conn->lost);
		ret->nclients += !atomic_load(&conn->lost);
	}
	sync_unlock(&d->lock, HERE);
}

/* ---- beginning and end ---------------------------------------------------------------------------- */

/* A name that nobody can guess, so that nobody else can take it first. */
static int listen_somewhere(struct clientd *d)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	unsigned char random[RANDOM_BYTES];
	size_t len = 0;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	d->listen_fd = fd;
	sync_random(d->vol->sync, random, sizeof(random));
	len += (size_t)snprintf(d->name, sizeof(d->name), "udaxfs-");
	for (unsigned i = 0; i < RANDOM_BYTES; i++)
		len += (size_t)snprintf(d->name + len, sizeof(d->name) - len, "%02x", random[i]);
	memcpy(addr.sun_path + 1, d->name, len);
	if (bind(fd, (struct sockaddr *)&addr,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len)) ||
	    listen(fd, BACKLOG))
		return -errno;
	return 0;
}

static void free_all(struct clientd *d)
{
	region_clients_end(d->vol->region);
	if (d->listen_fd >= 0)
		close(d->listen_fd);
	if (d->wake_fd >= 0)
		close(d->wake_fd);
	sync_mutex_destroy(&d->lock);
	free(d);
}

int clientd_new(struct volume *vol, struct tokens *tokens, struct clientd **ret_d)
{
	const struct region *region = vol->region;
	struct clientd *d;
	int err;

	/* Of a larger granule than what layout_relocate() makes, most could never be granted. */
	if (region->fd < 0 || region->granule_bytes > HUGE_BLOCKS << BLOCK_SHIFT)
		return -ENODEV;
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->vol = vol;
	d->tokens = tokens;
	d->listen_fd = -1;
	d->next_number = region_clients_begin(vol->region);
	sync_mutex_init(vol->sync, &d->lock, LOCK_LEAF);
	d->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = d->wake_fd < 0 ? -errno : listen_somewhere(d);
	if (!err)
		err = sync_thread_start(vol->sync, "udaxfs-accept", acceptor, d, &d->acceptor);
	if (!err)
		err = sync_thread_start(vol->sync, "udaxfs-reap", reaper, d, &d->reaper);
	if (!err) {
		*ret_d = d;
		return 0;
	}
	atomic_store(&d->ending, true);
	if (d->acceptor)
		sync_thread_join(d->acceptor);
	free_all(d);
	return err;
}

/* Acceptor and reaper have ended: the list is ours. Its lock is a leaf, and so is a connection's. */
static void end_streams(struct clientd *d)
{
	for (struct conn *conn = d->conns; conn; conn = conn->next)
		conn_end(conn);
}

void clientd_delete(struct clientd *d)
{
	uint64_t deadline = sync_now_ns(d->vol->sync) + LEAVE_MS * UINT64_C(1000000);

	atomic_store(&d->ending, true);
	wake(d);
	shutdown(d->listen_fd, SHUT_RDWR);
	sync_thread_join(d->acceptor);
	sync_thread_join(d->reaper);
	end_streams(d);
	while (d->conns && sync_now_ns(d->vol->sync) < deadline) {
		struct pollfd fd = { .fd = d->wake_fd, .events = POLLIN };
		uint64_t count;

		reap(d);
		if (d->conns)
			poll(&fd, 1, TICK_MS);
		(void)!read(d->wake_fd, &count, sizeof(count));
	}
	/* Those that are left: what they map must not be used again before they are gone. */
	if (d->conns)
		atomic_store(&d->vol->orphans, true);
	while (d->conns) {
		struct conn *conn = d->conns;

		d->conns = conn->next;
		conn_delete(conn);
	}
	free_all(d);
}
