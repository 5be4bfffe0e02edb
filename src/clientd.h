/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * clientd.h - the daemon's side of the socket through which clients map files (proto.h).
 *
 *	clientd.c	who may connect, and what becomes of a client whose stream has ended
 *	clientd_conn.c	one client: its messages, its files, its faults
 */
#ifndef UDAX_CLIENTD_H
#define UDAX_CLIENTD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "grant.h"
#include "proto.h"
#include "sync.h"

struct clientd;
struct conn;
struct tokens;
struct volume;

#define CLIENTD_NAME_LEN 40

/**
 * clientd_new - listen for clients of @vol, whose files @tokens name. The volume must outlive it.
 * 0, -ENODEV where the region is nothing that a client could map, -ENOMEM, or -errno of a socket.
 */
int clientd_new(struct volume *vol, struct tokens *tokens, struct clientd **ret_d);

/**
 * clientd_delete - close all streams and wait a moment for the clients to let go. What those that do
 * not may still map stays in quarantine (vol->orphans).
 */
void clientd_delete(struct clientd *d);

/** clientd_name - of the socket, in the abstract namespace, without the leading NUL. */
const char *clientd_name(const struct clientd *d);

/* What `udaxctl holders` and `udaxctl stat` show. */
struct clientd_stat {
	unsigned nclients, nlost; /* connected; not connected any more, but still mapping */
};
void clientd_stat(struct clientd *d, struct clientd_stat *ret);

/* ---- between the two files ------------------------------------------------------------------------- */

struct outgoing;
struct open_file;

/** One connected process. */
struct conn {
	struct client client; /* first */
	struct conn *next;
	struct clientd *d;
	struct volume *vol;
	struct tokens *tokens;
	uint32_t number; /* of its lock on the region */
	int fd;
	int wake_fd;	     /* something stands in outgoing, or the stream shall end */
	atomic_bool welcome; /* HELLO was answered */
	atomic_bool lost;    /* the stream has ended, and all of its threads: the reaper's now */
	struct sync_thread *receiver, *faulter;

	struct sync_mutex lock; /* LOCK_LEAF; over what follows */
	struct sync_cond changed;
	struct outgoing *outgoing, **last_outgoing;
	unsigned noutgoing, njobs;
	struct open_file *files;
	struct job *jobs, **last_job;
	bool ending;
};

/** conn_start - serve a new connection in threads of its own; the connection's fd is its. -errno. */
int conn_start(struct clientd *d, int fd, uint32_t number, struct conn **ret_conn);

/** conn_end - ask its threads to end. Never waits. */
void conn_end(struct conn *conn);

/** conn_delete - of a lost one: everything it had attached is detached. Runs transactions. */
void conn_delete(struct conn *conn);

struct volume *clientd_volume(struct clientd *d);
struct tokens *clientd_tokens(struct clientd *d);

/** clientd_lost - a connection's threads have ended; called by the last of them. */
void clientd_lost(struct clientd *d);

#endif
