/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * clerk.c - see clerk.h. Two lists, each pushed to by one thread and taken whole by the other, so
 * neither ever waits for the other.
 */
#include "clerk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "client.h"
#include "sys.h"

static void push(_Atomic(struct chore *) *list, struct chore *chore)
{
	chore->next = atomic_load(list);
	while (!atomic_compare_exchange_weak(list, &chore->next, chore))
		;
}

#define CLOSE_WAIT_NS UINT64_C(1000000000)

void clerk_give(struct client *client, struct chore *chore)
{
	push(&client->clerk.todo, chore);
	atomic_fetch_add(&client->clerk.word, 1);
	sys_wake(&client->clerk.word);
}

void clerk_will_close(struct client *client)
{
	atomic_fetch_add(&client->clerk.to_close, 1);
}

void clerk_closed(struct client *client)
{
	atomic_fetch_add(&client->clerk.closed, 1);
	sys_wake(&client->clerk.closed);
}

void clerk_wait_closed(struct client *client)
{
	struct clerk *clerk = &client->clerk;
	uint32_t wanted = atomic_load(&clerk->to_close), closed;
	uint64_t end = sys_now_ns() + CLOSE_WAIT_NS, now;

	while ((int32_t)(wanted - (closed = atomic_load(&clerk->closed))) > 0 &&
	       (now = sys_now_ns()) < end)
		sys_wait_for(&clerk->closed, closed, end - now);
}

struct chore *clerk_take(struct client *client)
{
	struct chore *chore = atomic_load(&client->clerk.done);

	while (chore && !atomic_compare_exchange_weak(&client->clerk.done, &chore, chore->next))
		;
	return chore;
}

/* ---- chores ---------------------------------------------------------------------------------- */

static int volume_of(int fd, uint8_t uuid[16])
{
	struct udax_ioc_info info = { .version = UDAX_IOC_VERSION };
	int err = sys_ioctl(fd, UDAX_IOC_INFO, &info);

	if (!err)
		memcpy(uuid, info.uuid, 16);
	return err;
}

static void fd_path(int fd, char text[64])
{
	static const char prefix[] = "/proc/thread-self/fd/";
	char digits[12];
	unsigned n = 0;

	memcpy(text, prefix, sizeof(prefix));
	text += sizeof(prefix) - 1;
	do
		digits[n++] = (char)('0' + fd % 10);
	while (fd /= 10);
	while (n)
		*text++ = digits[--n];
	*text = 0;
}

static void identify(struct chore *chore)
{
	char link[64];
	ssize_t n;
	long generation = 0;

	fd_path(chore->fd, link);
	n = sys_readlink(link, chore->path, sizeof(chore->path) - 1);
	chore->error = n < 0 ? (int)n : volume_of(chore->fd, chore->uuid);
	if (!chore->error)
		chore->error = sys_ioctl(chore->fd, FS_IOC_GETVERSION, &generation);
	if (chore->error)
		return;
	chore->path[n] = 0;
	chore->generation = (uint32_t)generation;
	chore->identified = true;
}

/* Whether @fd is the file that the chore is about, and not another one of its name. */
static bool same_file(const struct chore *chore, int fd)
{
	uint64_t dev, ino;
	unsigned mode;
	uint8_t uuid[16];
	long generation = 0;

	return !sys_identity(fd, &dev, &ino, &mode) && S_ISREG(mode) && ino == chore->ino &&
	       !volume_of(fd, uuid) && !memcmp(uuid, chore->uuid, 16) &&
	       !sys_ioctl(fd, FS_IOC_GETVERSION, &generation) &&
	       (uint32_t)generation == chore->generation;
}

static int token(int fd, struct udax_ioc_attach *attach)
{
	memset(attach, 0, sizeof(*attach));
	attach->version = UDAX_IOC_VERSION;
	return sys_ioctl(fd, UDAX_IOC_ATTACH, attach);
}

/* The daemon's mount is gone: perhaps there is a new one in its place. */
static void token_by_path(struct chore *chore)
{
	int flags = (chore->writable ? O_RDWR : O_RDONLY) | O_DIRECT | O_NOFOLLOW | O_NONBLOCK;
	int fd = sys_open(chore->path, flags);

	if (fd < 0)
		return;
	if (!same_file(chore, fd) || token(fd, &chore->attach)) {
		sys_close(fd);
		return;
	}
	chore->fd = fd;
	chore->reopened = true;
	chore->error = 0;
}

static void execute(struct chore *chore)
{
	switch (chore->kind) {
	case CHORE_CLOSE:
		sys_close(chore->fd);
		break;
	case CHORE_IDENTIFY:
		identify(chore);
		break;
	case CHORE_TOKEN:
		chore->error = chore->fd < 0 ? -EBADF : token(chore->fd, &chore->attach);
		if (chore->error && chore->identified)
			token_by_path(chore);
		break;
	}
}

static struct chore *oldest_first(struct chore *list)
{
	struct chore *reversed = NULL;

	while (list) {
		struct chore *next = list->next;

		list->next = reversed;
		reversed = list;
		list = next;
	}
	return reversed;
}

void *clerk_main(void *arg)
{
	struct client *client = arg;
	struct clerk *clerk = &client->clerk;

	sys_thread_name("udax-clerk");
	for (;;) {
		uint32_t word = atomic_load(&clerk->word);
		struct chore *list = oldest_first(atomic_exchange(&clerk->todo, NULL));

		if (!list)
			sys_wait(&clerk->word, word);
		while (list) {
			struct chore *chore = list;

			list = list->next;
			execute(chore);
			if (chore->awaited)
				clerk_closed(client);
			push(&clerk->done, chore);
			bell_wake_service(client);
		}
	}
}
