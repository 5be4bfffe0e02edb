/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * conn.h - the connection to one daemon: messages (../proto.h) in and out, and the region.
 *
 * Sending never waits: what the socket does not take now is queued. A daemon that sends nonsense is
 * as good as dead: the connection ends, its files are lost (file.h) and looked for again.
 *
 * The service's.
 */
#ifndef UDAX_CLIENT_CONN_H
#define UDAX_CLIENT_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto.h"

struct client;

struct conn {
	struct conn *next;
	int sock;
	int region;	/* -1 until WELCOME */
	bool ready;	/* WELCOME has come */
	bool broken;	/* to be ended by conn_reap() */
	uint32_t flags; /* enum proto_welcome_flags */
	uint32_t granule_bytes;
	uint64_t region_bytes;
	char socket[65];
	struct outgoing *first, **last; /* not sent yet */
};

/** conn_get - the connection to the socket of that name, new if need be. NULL: *@ret_error. */
struct conn *conn_get(struct client *client, const char *name, int *ret_error);

/** conn_send - @msg, of msg->bytes bytes, behind all that was sent before. */
void conn_send(struct client *client, struct conn *conn, struct proto_head *msg);

/** conn_wants_out - whether there is something left to send. */
static inline bool conn_wants_out(const struct conn *conn)
{
	return conn->first != NULL;
}

/** conn_flush - send what is queued, as far as it goes. */
void conn_flush(struct client *client, struct conn *conn);

/** conn_receive - handle what has arrived. */
void conn_receive(struct client *client, struct conn *conn);

/** conn_reap - end connections that are broken, and lose their files. */
void conn_reap(struct client *client);

#endif
