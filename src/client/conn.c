/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * conn.c - see conn.h.
 */
#include "conn.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "client.h"
#include "file.h"
#include "sys.h"
#include "touch.h"

#define FDS_MAX 8

struct outgoing {
	struct outgoing *next;
	union {
		struct proto_head head;
		char bytes[sizeof(union proto_message)];
	};
};

static struct conn *conn_open(struct client *client, const char *name, int *ret_error)
{
	struct proto_hello hello = {
		.head = { .type = PROTO_HELLO, .bytes = sizeof(hello) },
		.version = PROTO_VERSION,
	};
	struct conn *conn = arena_alloc(&client->arena, sizeof(*conn));
	int err;

	if (!conn) {
		*ret_error = -ENOMEM;
		return NULL;
	}
	conn->region = -1;
	conn->last = &conn->first;
	memcpy(conn->socket, name, strnlen(name, sizeof(conn->socket) - 1));
	conn->sock = sys_socket();
	err = conn->sock < 0 ? conn->sock : sys_connect_abstract(conn->sock, conn->socket);
	if (err < 0) {
		if (conn->sock >= 0)
			sys_close(conn->sock);
		arena_free(&client->arena, conn, sizeof(*conn));
		*ret_error = err;
		return NULL;
	}
	conn->next = client->conns;
	client->conns = conn;
	conn_send(client, conn, &hello.head);
	return conn;
}

struct conn *conn_get(struct client *client, const char *name, int *ret_error)
{
	for (struct conn *conn = client->conns; conn; conn = conn->next) {
		if (!conn->broken && !strncmp(conn->socket, name, sizeof(conn->socket) - 1))
			return conn;
	}
	return conn_open(client, name, ret_error);
}

/* ---- out ------------------------------------------------------------------------------------- */

/* 0 sent, -EAGAIN later, otherwise the connection is broken. */
static int send_now(struct conn *conn, struct proto_head *msg)
{
	struct iovec iov = { msg, msg->bytes };
	struct msghdr hdr = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n = sys_sendmsg(conn->sock, &hdr, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n == msg->bytes)
		return 0;
	if (n == -EAGAIN || n == -EINTR || n == -ENOBUFS || n == -ENOMEM)
		return -EAGAIN;
	conn->broken = true;
	return -EPIPE;
}

void conn_send(struct client *client, struct conn *conn, struct proto_head *msg)
{
	struct outgoing *out;

	if (conn->broken || (!conn->first && send_now(conn, msg) != -EAGAIN))
		return;
	out = arena_alloc(&client->arena, sizeof(*out));
	if (!out) {
		conn->broken = true; /* a message less, and nothing would be true any more */
		return;
	}
	memcpy(out->bytes, msg, msg->bytes);
	*conn->last = out;
	conn->last = &out->next;
}

static void drop_first(struct client *client, struct conn *conn)
{
	struct outgoing *out = conn->first;

	conn->first = out->next;
	if (!conn->first)
		conn->last = &conn->first;
	arena_free(&client->arena, out, sizeof(*out));
}

void conn_flush(struct client *client, struct conn *conn)
{
	while (conn->first && !conn->broken && send_now(conn, &conn->first->head) == 0)
		drop_first(client, conn);
}

/* ---- in -------------------------------------------------------------------------------------- */

struct incoming {
	union proto_message msg;
	int fds[FDS_MAX];
	unsigned nfds;
};

static void take_fds(struct msghdr *hdr, struct incoming *in)
{
	in->nfds = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(hdr); c; c = CMSG_NXTHDR(hdr, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n && in->nfds < FDS_MAX; i++)
			memcpy(&in->fds[in->nfds++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
	}
}

static size_t size_of(unsigned type)
{
	switch (type) {
	case PROTO_WELCOME:
		return sizeof(struct proto_welcome);
	case PROTO_ATTACHED:
		return sizeof(struct proto_attached);
	case PROTO_GRANT:
		return sizeof(struct proto_grant);
	case PROTO_RECALL:
	case PROTO_LATE:
		return sizeof(struct proto_range);
	case PROTO_SYNCED:
		return sizeof(struct proto_plain);
	default:
		return 0;
	}
}

/* 0 with a message, -EAGAIN without one, -EPIPE at the end, -EBADMSG. */
static int receive_one(struct conn *conn, struct incoming *in)
{
	char control[CMSG_SPACE(FDS_MAX * sizeof(int))];
	struct iovec iov = { &in->msg, sizeof(in->msg) };
	struct msghdr hdr = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n = sys_recvmsg(conn->sock, &hdr, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n == -EAGAIN || n == -EINTR)
		return -EAGAIN;
	if (n <= 0)
		return -EPIPE;
	take_fds(&hdr, in);
	if (hdr.msg_flags & (MSG_TRUNC | MSG_CTRUNC) || (size_t)n < sizeof(in->msg.head) ||
	    in->msg.head.bytes != n || (size_t)n != size_of(in->msg.head.type))
		return -EBADMSG;
	return 0;
}

static int welcome(struct client *client, struct conn *conn, struct incoming *in)
{
	const struct proto_welcome *msg = &in->msg.welcome;

	if (conn->ready || in->nfds != 1 || msg->version != PROTO_VERSION ||
	    msg->granule_bytes < PAGE_BYTES || msg->granule_bytes > HUGE_BYTES ||
	    msg->granule_bytes & (msg->granule_bytes - 1))
		return -EBADMSG;
	conn->ready = true;
	conn->region = in->fds[0];
	in->nfds = 0;
	conn->flags = msg->flags;
	conn->granule_bytes = msg->granule_bytes;
	conn->region_bytes = msg->region_bytes;
	if (msg->flags & PROTO_NEEDS_SYNC)
		atomic_store(&client->needs_msync, true);
	files_welcome(client, conn);
	return 0;
}

static int dispatch(struct client *client, struct conn *conn, struct incoming *in)
{
	union proto_message *msg = &in->msg;

	if (msg->head.type == PROTO_WELCOME)
		return welcome(client, conn, in);
	if (!conn->ready)
		return -EBADMSG;
	switch (msg->head.type) {
	case PROTO_ATTACHED:
		return file_attached(client, conn, &msg->attached);
	case PROTO_GRANT:
		return touch_granted(client, conn, &msg->grant);
	case PROTO_RECALL:
		return file_recalled(client, conn, &msg->range);
	case PROTO_LATE:
		count_add(client, COUNT_LATE, 1);
		return 0;
	default:
		return file_synced(client, conn, &msg->plain);
	}
}

void conn_receive(struct client *client, struct conn *conn)
{
	struct incoming in;
	int err = 0;

	while (!err && !conn->broken) {
		in.nfds = 0;
		err = receive_one(conn, &in);
		if (!err)
			err = dispatch(client, conn, &in);
		for (unsigned i = 0; i < in.nfds; i++)
			sys_close(in.fds[i]);
	}
	if (err && err != -EAGAIN)
		conn->broken = true;
}

static void conn_end(struct client *client, struct conn *conn)
{
	sys_close(conn->sock);
	files_lost(client, conn);
	if (conn->region >= 0)
		sys_close(conn->region);
	while (conn->first)
		drop_first(client, conn);
	arena_free(&client->arena, conn, sizeof(*conn));
}

void conn_reap(struct client *client)
{
	struct conn **at = &client->conns;

	while (*at) {
		struct conn *conn = *at;

		if (!conn->broken) {
			at = &conn->next;
			continue;
		}
		*at = conn->next;
		conn_end(client, conn);
		at = &client->conns; /* the list may have changed */
	}
}
