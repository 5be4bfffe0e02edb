/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * clerk.h - the thread for what may wait for a daemon: closing a file of a mount (the kernel sends
 * FLUSH), asking for a token, opening a file again after the daemon was restarted.
 *
 * The service hands over a chore and finds it again, done, in another list; it never waits for it.
 */
#ifndef UDAX_CLIENT_CLERK_H
#define UDAX_CLIENT_CLERK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "udax/ioctl.h"

struct client;
struct file;

enum chore_kind {
	CHORE_CLOSE,	/* fd */
	CHORE_IDENTIFY, /* fd → path, uuid, generation */
	CHORE_TOKEN,	/* fd, path, ... → attach; fd, when it had to be opened again */
};

struct chore {
	struct chore *next;
	enum chore_kind kind;
	struct file *file;
	int fd;
	bool reopened; /* fd is a new one, to be used instead of the file's */
	bool awaited;  /* CHORE_CLOSE: by clerk_wait_closed() */
	bool writable;
	uint64_t ino;
	uint8_t uuid[16];
	uint32_t generation;
	bool identified; /* path, uuid and generation are known */
	int error;
	struct udax_ioc_attach attach;
	char path[1024];
};

struct clerk {
	_Atomic uint32_t word;
	_Atomic(struct chore *) todo, done; /* newest first; taken whole */
	_Atomic uint32_t to_close, closed;  /* of those that are awaited; they wrap */
};

void *clerk_main(void *client);

/** clerk_give - have @chore done. The service. */
void clerk_give(struct client *client, struct chore *chore);

/** clerk_will_close - a CHORE_CLOSE that is awaited will be given. The service. */
void clerk_will_close(struct client *client);

/** clerk_closed - it has been done, or could not be. */
void clerk_closed(struct client *client);

/**
 * clerk_wait_closed - wait until the descriptors of all files that were mapped no more when this was called
 * are closed, but no longer than a second: a daemon that does not answer FLUSH must not stop its clients.
 *
 * What a program's last munmap(2) of a file lets go, a lock of flock(2) for instance, is free when that
 * returns. Any thread of the program, which holds nothing.
 */
void clerk_wait_closed(struct client *client);

/** clerk_take - one chore that is done, or NULL. The service. */
struct chore *clerk_take(struct client *client);

#endif
