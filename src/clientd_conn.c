/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * clientd_conn.c - one client: its messages, the files that it has attached, its faults.
 *
 * Two threads a client. The *receiver* reads its messages and answers what needs no waiting: also a
 * fault, if no gate stands in its way and nothing has to be moved or recalled. All others it hands to
 * the *faulter*, which may wait, and so delays this client's faults and nobody else. It must not be
 * the receiver that waits: what it waits for may be this very client's acknowledgement.
 *
 * Sending never waits, because it happens under a holder's lock (grant.h): what the socket does not
 * take is queued, and the receiver sends it when there is room. A client that lets thousands of
 * messages queue up does not read, and is cut off.
 *
 * Nothing a client sends is believed: ids, ranges and numbers are checked here, and what does not fit
 * ends the stream.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clientd.h"
#include "fault.h"
#include "file.h"
#include "format.h"
#include "fuse_token.h"
#include "inode.h"
#include "region.h"
#include "volume.h"

#define MAX_OUTGOING 16384
#define MAX_JOBS 16384 /* faults that wait */

struct outgoing {
	struct outgoing *next;
	size_t len;
	unsigned char bytes[];
};

/* An attached file. Freed when it is detached and no fault of it is under way. */
struct open_file {
	struct open_file *next;
	struct attachment *att;
	uint32_t id;
	unsigned users; /* one while it is in conn->files, and one a fault */
};

struct job {
	struct job *next;
	struct fault fault;
	struct conn *conn;
	struct open_file *file;
	struct proto_grant reply;
};

/* ---- sending -------------------------------------------------------------------------------------- */

static void wake(struct conn *conn)
{
	uint64_t one = 1;

	(void)!write(conn->wake_fd, &one, sizeof(one));
}

void conn_end(struct conn *conn)
{
	sync_lock(&conn->lock, 0, HERE);
	conn->ending = true;
	sync_wake(&conn->changed);
	sync_unlock(&conn->lock, HERE);
	wake(conn);
}

static void enqueue(struct conn *conn, const void *message, size_t len)
{
	struct outgoing *out = conn->noutgoing < MAX_OUTGOING ? malloc(sizeof(*out) + len) : NULL;

	if (!out) {
		conn->ending = true; /* without this message it must not go on */
	} else {
		*out = (struct outgoing){ .len = len };
		memcpy(out->bytes, message, len);
		*conn->last_outgoing = out;
		conn->last_outgoing = &out->next;
		conn->noutgoing++;
	}
	wake(conn);
}

static bool would_block(void)
{
	return errno == EAGAIN || errno == EINTR || errno == ENOBUFS || errno == ENOMEM;
}

/* In order; never waits. May be called under a holder's lock. */
static void send_message(struct conn *conn, void *message, uint16_t type, uint32_t id, size_t len)
{
	struct proto_head *head = message;

	*head = (struct proto_head){ .type = type, .bytes = (uint16_t)len, .id = id };
	sync_lock(&conn->lock, 0, HERE);
	if (conn->outgoing) {
		enqueue(conn, message, len);
	} else if (send(conn->fd, message, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
		if (would_block())
			enqueue(conn, message, len);
		/* else the stream has ended: the receiver learns of it too */
	}
	sync_unlock(&conn->lock, HERE);
}

/* Returns whether something is left. */
static bool send_outgoing(struct conn *conn)
{
	bool left;

	sync_lock(&conn->lock, 0, HERE);
	while (conn->outgoing) {
		struct outgoing *out = conn->outgoing;

		if (send(conn->fd, out->bytes, out->len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
		    would_block())
			break;
		conn->outgoing = out->next;
		if (!conn->outgoing)
			conn->last_outgoing = &conn->outgoing;
		conn->noutgoing--;
		free(out);
	}
	left = conn->outgoing;
	sync_unlock(&conn->lock, HERE);
	return left;
}

static void send_range(struct client *client, enum proto_type type, uint32_t id, uint32_t seq,
		       uint64_t pos, uint64_t len)
{
	struct proto_range message = { .seq = seq, .pos = pos, .len = len };

	send_message((struct conn *)client, &message, (uint16_t)type, id, sizeof(message));
}

static void send_recall(struct client *client, uint32_t id, uint32_t seq, uint64_t pos,
			uint64_t len)
{
	send_range(client, PROTO_RECALL, id, seq, pos, len);
}

static void send_late(struct client *client, uint32_t id, uint32_t seq, uint64_t pos, uint64_t len)
{
	send_range(client, PROTO_LATE, id, seq, pos, len);
}

static const struct client_ops ops = { .recall = send_recall, .late = send_late };

/* ---- attached files ------------------------------------------------------------------------------- */

static struct open_file *file_get(struct conn *conn, uint32_t id)
{
	struct open_file *file;

	sync_lock(&conn->lock, 0, HERE);
	file = conn->files;
	while (file && file->id != id)
		file = file->next;
	if (file)
		file->users++;
	sync_unlock(&conn->lock, HERE);
	return file;
}

static void file_put(struct conn *conn, struct open_file *file)
{
	bool last;

	sync_lock(&conn->lock, 0, HERE);
	last = --file->users == 0;
	sync_unlock(&conn->lock, HERE);
	if (!last)
		return;
	detach(file->att);
	free(file);
}

/* Take it out of the list; the list's reference is the caller's now. */
static struct open_file *file_remove(struct conn *conn, uint32_t id, bool any)
{
	struct open_file **link = &conn->files, *file;

	sync_lock(&conn->lock, 0, HERE);
	while (*link && !any && (*link)->id != id)
		link = &(*link)->next;
	file = *link;
	if (file)
		*link = file->next;
	sync_unlock(&conn->lock, HERE);
	return file;
}

static int redeem(struct conn *conn, const struct proto_attach *m, struct inode **ret_inode)
{
	unsigned rights = m->writable ? TOKEN_MAP_WRITE : TOKEN_MAP_READ;
	uint32_t generation;
	uint64_t ino;
	int err = token_redeem(conn->tokens, m->token, rights, &ino, &generation);

	if (err)
		return err;
	*ret_inode = inode_find(conn->vol, ino);
	if (!*ret_inode)
		return -EKEYREJECTED; /* the descriptor that it came from is closed */
	if ((*ret_inode)->generation == generation)
		return 0;
	inode_put(*ret_inode);
	return -EKEYREJECTED;
}

static int attach_file(struct conn *conn, const struct proto_attach *m, uint64_t *ret_ino)
{
	struct open_file *file = malloc(sizeof(*file));
	struct inode *inode;
	int err = file ? redeem(conn, m, &inode) : -ENOMEM;

	if (err) {
		free(file);
		return err;
	}
	*file = (struct open_file){ .id = m->head.id, .users = 1 };
	err = attach(inode, &conn->client, file->id, m->writable, &file->att);
	*ret_ino = inode->ino;
	inode_put(inode);
	if (err) {
		free(file);
		return err;
	}
	sync_lock(&conn->lock, 0, HERE);
	file->next = conn->files;
	conn->files = file;
	sync_unlock(&conn->lock, HERE);
	return 0;
}

static int on_attach(struct conn *conn, const struct proto_attach *m)
{
	struct proto_attached reply = { .status = 0 };
	struct open_file *file = file_get(conn, m->head.id);

	if (m->writable > 1 || m->reserved || file) {
		if (file)
			file_put(conn, file);
		return -EPROTO;
	}
	reply.status = attach_file(conn, m, &reply.ino);
	send_message(conn, &reply, PROTO_ATTACHED, m->head.id, sizeof(reply));
	return 0;
}

static int on_detach(struct conn *conn, const struct proto_plain *m)
{
	struct open_file *file = file_remove(conn, m->head.id, false);

	if (!file)
		return -EPROTO;
	/* A fault of it may be under way, and what recalls it must not wait for that. */
	grant_abandon(file->att);
	file_put(conn, file);
	return 0;
}

/* ---- faults --------------------------------------------------------------------------------------- */

static const uint32_t grant_kinds[] = {
	[GRANT_READ] = PROTO_READ,
	[GRANT_WRITE] = PROTO_WRITE,
	[GRANT_ZERO] = PROTO_ZERO,
	[GRANT_BEHIND_EOF] = PROTO_BEHIND_EOF,
};

static void send_grant(struct fault *fault)
{
	struct job *job = (struct job *)((char *)fault - offsetof(struct job, fault));
	struct proto_grant *m = &job->reply;

	m->kind = grant_kinds[fault->kind];
	m->pos = fault->grant_pos;
	m->len = fault->grant_len;
	m->region_off = fault->kind == GRANT_READ || fault->kind == GRANT_WRITE ? fault->region_off
										: 0;
	send_message(job->conn, m, PROTO_GRANT, job->file->id, sizeof(*m));
}

static void send_failure(struct job *job, int err)
{
	const uint64_t granule = job->conn->vol->region->granule_bytes;
	struct proto_grant *m = &job->reply;

	m->kind = PROTO_FAILED;
	m->status = err;
	m->pos = job->fault.pos - job->fault.pos % granule;
	m->len = granule;
	send_message(job->conn, m, PROTO_GRANT, job->file->id, sizeof(*m));
}

/* For whoever watches: the fault is served by this thread, from SYNC_BEGIN to SYNC_END. */
static void tell_fault(const struct job *job, enum sync_step step, int result)
{
	sync_tell(job->conn->vol->sync,
		  &(struct sync_told){
			  .kind = SYNC_FAULT,
			  .step = step,
			  .who = job->conn->number,
			  .code = job->fault.write,
			  .result = result,
			  .ino = job->fault.att->inode->ino,
			  .pos = step == SYNC_END ? job->reply.pos : job->fault.pos,
			  .len = step == SYNC_END ? job->reply.len : 0,
		  },
		  HERE);
}

/* Returns false when it has to be done where waiting is allowed. */
static bool serve_fault(struct job *job, bool may_wait)
{
	uint64_t first = job->fault.first, end = job->fault.end;
	int err;

	job->fault.may_wait = may_wait;
	tell_fault(job, SYNC_BEGIN, 0);
	err = fault_serve(&job->fault);
	tell_fault(job, SYNC_END, err);
	if (err == -EAGAIN && !may_wait) {
		job->fault.first = first;
		job->fault.end = end;
		return false;
	}
	if (err && err != -ECONNRESET)
		send_failure(job, err);
	return true;
}

static bool fault_is_sane(const struct conn *conn, const struct proto_fault *m)
{
	const uint64_t granule = conn->vol->region->granule_bytes;

	return m->write <= PROTO_LOAD_BEFORE_STORES && m->first % granule == 0 &&
	       m->end % granule == 0 && m->first <= m->pos && m->pos < m->end &&
	       m->end <= MAX_FILE_BYTES;
}

/* Returns false when too many wait: a client has not so many threads. */
static bool push_job(struct conn *conn, struct job *job)
{
	bool room;

	job->next = NULL;
	sync_lock(&conn->lock, 0, HERE);
	room = conn->njobs < MAX_JOBS;
	if (room) {
		*conn->last_job = job;
		conn->last_job = &job->next;
		conn->njobs++;
		sync_wake(&conn->changed);
	}
	sync_unlock(&conn->lock, HERE);
	return room;
}

static int on_fault(struct conn *conn, const struct proto_fault *m)
{
	struct open_file *file = fault_is_sane(conn, m) ? file_get(conn, m->head.id) : NULL;
	struct job *job, here = {
		.conn = conn,
		.file = file,
		.reply = { .seq = m->seq },
		.fault = { .pos = m->pos,
			   .first = m->first,
			   .end = m->end,
			   .write = m->write == PROTO_STORE,
			   .before_stores = m->write == PROTO_LOAD_BEFORE_STORES,
			   .granted = send_grant },
	};

	if (!file)
		return -EPROTO;
	here.fault.att = file->att;
	if (serve_fault(&here, false)) {
		file_put(conn, file);
		return 0;
	}
	job = malloc(sizeof(*job));
	if (job) {
		*job = here;
		if (push_job(conn, job))
			return 0;
		free(job);
		file_put(conn, file);
		return -EPROTO;
	}
	send_failure(&here, -ENOMEM);
	file_put(conn, file);
	return 0;
}

static struct job *next_job(struct conn *conn)
{
	struct job *job;

	sync_lock(&conn->lock, 0, HERE);
	while (!conn->jobs && !conn->ending)
		sync_wait(&conn->changed, &conn->lock, HERE);
	job = conn->jobs;
	if (job) {
		conn->jobs = job->next;
		conn->njobs--;
		if (!conn->jobs)
			conn->last_job = &conn->jobs;
	}
	sync_unlock(&conn->lock, HERE);
	return job;
}

static void faulter(void *arg)
{
	struct conn *conn = arg;
	struct job *job;

	while ((job = next_job(conn))) {
		serve_fault(job, true);
		file_put(conn, job->file);
		free(job);
	}
}

/* ---- the other messages --------------------------------------------------------------------------- */

static bool range_is_sane(const struct conn *conn, const struct proto_range *m)
{
	const uint64_t granule = conn->vol->region->granule_bytes;

	return !m->reserved && m->pos % granule == 0 && m->pos <= MAX_FILE_BYTES && m->len &&
	       (m->len == UINT64_MAX || (m->len % granule == 0 && m->len <= MAX_FILE_BYTES));
}

static int on_return(struct conn *conn, const struct proto_range *m)
{
	struct open_file *file = range_is_sane(conn, m) ? file_get(conn, m->head.id) : NULL;

	if (!file)
		return -EPROTO;
	grant_returned(file->att, m->pos, m->len);
	file_put(conn, file);
	return 0;
}

static int on_ack(struct conn *conn, const struct proto_range *m)
{
	struct open_file *file = file_get(conn, m->head.id);
	bool known = file && grant_acknowledged(file->att, m->seq);

	if (file)
		file_put(conn, file);
	return known ? 0 : -EPROTO;
}

static int on_sync(struct conn *conn, const struct proto_plain *m)
{
	struct proto_plain reply = { .seq = m->seq };
	struct open_file *file = file_get(conn, m->head.id);

	if (!file)
		return -EPROTO;
	reply.status = file->att->writable ? file_touch_written(file->att->inode) : 0;
	file_put(conn, file);
	send_message(conn, &reply, PROTO_SYNCED, m->head.id, sizeof(reply));
	return 0;
}

/* The region's descriptor goes with this one message, which is the first: there is room for it. */
static int send_welcome(struct conn *conn, int region_fd)
{
	struct region *region = conn->vol->region;
	struct proto_welcome m = {
		.head = { .type = PROTO_WELCOME, .bytes = sizeof(m) },
		.version = PROTO_VERSION,
		.flags = region->domain == DURABILITY_PMEM   ? PROTO_SYNC_OK
			 : region->domain == DURABILITY_FILE ? PROTO_NEEDS_SYNC
							     : 0,
		.client = conn->number,
		.granule_bytes = region->granule_bytes,
		.region_bytes = region->bytes,
	};
	union {
		struct cmsghdr head;
		unsigned char bytes[CMSG_SPACE(sizeof(int))];
	} control = { .head = { .cmsg_len = CMSG_LEN(sizeof(int)),
				.cmsg_level = SOL_SOCKET,
				.cmsg_type = SCM_RIGHTS } };
	struct iovec iov = { &m, sizeof(m) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };

	memcpy(CMSG_DATA(&control.head), &region_fd, sizeof(int));
	return sendmsg(conn->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int on_hello(struct conn *conn, const struct proto_hello *m)
{
	int fd, err;

	if (atomic_load(&conn->welcome) || m->version != PROTO_VERSION || m->reserved)
		return -EPROTO;
	err = region_share(conn->vol->region, conn->number, &fd);
	if (err)
		return err;
	err = send_welcome(conn, fd);
	region_share_end(conn->vol->region, fd);
	atomic_store(&conn->welcome, !err);
	return err;
}

/* ---- receiving ------------------------------------------------------------------------------------ */

static int dispatch(struct conn *conn, const union proto_message *m, size_t len)
{
	if (len < sizeof(m->head) || m->head.bytes != len)
		return -EPROTO;
	if (!atomic_load(&conn->welcome) && m->head.type != PROTO_HELLO)
		return -EPROTO;
	switch (m->head.type) {
	case PROTO_HELLO:
		return len == sizeof(m->hello) ? on_hello(conn, &m->hello) : -EPROTO;
	case PROTO_ATTACH:
		return len == sizeof(m->attach) ? on_attach(conn, &m->attach) : -EPROTO;
	case PROTO_DETACH:
		return len == sizeof(m->plain) ? on_detach(conn, &m->plain) : -EPROTO;
	case PROTO_FAULT:
		return len == sizeof(m->fault) ? on_fault(conn, &m->fault) : -EPROTO;
	case PROTO_ACK:
		return len == sizeof(m->range) ? on_ack(conn, &m->range) : -EPROTO;
	case PROTO_RETURN:
		return len == sizeof(m->range) ? on_return(conn, &m->range) : -EPROTO;
	case PROTO_SYNC:
		return len == sizeof(m->plain) ? on_sync(conn, &m->plain) : -EPROTO;
	default:
		return -EPROTO;
	}
}

/* Returns -errno when the stream has ended, or has to. */
static int receive(struct conn *conn)
{
	union proto_message m;
	ssize_t n = recv(conn->fd, &m, sizeof(m), MSG_DONTWAIT | MSG_TRUNC);

	if (n < 0)
		return would_block() ? 0 : -errno;
	if (n == 0 || (size_t)n > sizeof(m))
		return -EPROTO;
	return dispatch(conn, &m, (size_t)n);
}

static bool is_ending(struct conn *conn)
{
	bool ending;

	sync_lock(&conn->lock, 0, HERE);
	ending = conn->ending;
	sync_unlock(&conn->lock, HERE);
	return ending;
}

/* It may wait at a gate whose owner waits for what this client will never answer. */
static void wake_faulter(struct conn *conn)
{
	/* Only this thread adds and removes files, while it lives. */
	for (struct open_file *file = conn->files; file; file = file->next)
		grant_wake(file->att);
}

static void receiver(void *arg)
{
	struct conn *conn = arg;
	bool left = false;
	int err = 0;

	while (!err && !is_ending(conn)) {
		struct pollfd fds[] = { { conn->fd, (short)(POLLIN | (left ? POLLOUT : 0)), 0 },
					{ conn->wake_fd, POLLIN, 0 } };
		uint64_t count;

		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			break;
		if (fds[1].revents)
			(void)!read(conn->wake_fd, &count, sizeof(count));
		left = send_outgoing(conn);
		if (fds[0].revents & (POLLIN | POLLHUP | POLLERR))
			err = receive(conn);
	}
	shutdown(conn->fd, SHUT_RDWR);
	/*
	 * And the socket is closed, with what nobody has read: the client's own socket may be among it, with
	 * the region's descriptor unread in that one. The number stays taken, others may be using it.
	 */
	dup3(conn->wake_fd, conn->fd, O_CLOEXEC);
	atomic_store(&conn->client.gone, true);
	conn_end(conn);
	/* Nothing more is granted to it, so a fault that waits ends; but what it maps, it maps. */
	wake_faulter(conn);
	sync_thread_join(conn->faulter);
	atomic_store(&conn->lost, true);
	clientd_lost(conn->d);
}

/* ---- beginning and end ---------------------------------------------------------------------------- */

static void conn_free(struct conn *conn)
{
	while (conn->outgoing) {
		struct outgoing *out = conn->outgoing;

		conn->outgoing = out->next;
		free(out);
	}
	while (conn->jobs) {
		struct job *job = conn->jobs;

		conn->jobs = job->next;
		file_put(conn, job->file);
		free(job);
	}
	sync_cond_destroy(&conn->changed);
	sync_mutex_destroy(&conn->lock);
	if (conn->wake_fd >= 0)
		close(conn->wake_fd);
	close(conn->fd);
	free(conn);
}

int conn_start(struct clientd *d, int fd, uint32_t number, struct conn **ret_conn)
{
	struct conn *conn = calloc(1, sizeof(*conn));
	struct volume *vol = clientd_volume(d);
	int err;

	if (!conn) {
		close(fd);
		return -ENOMEM;
	}
	conn->client.ops = &ops;
	conn->d = d;
	conn->vol = vol;
	conn->tokens = clientd_tokens(d);
	conn->number = conn->client.number = number;
	conn->fd = fd;
	conn->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	conn->last_outgoing = &conn->outgoing;
	conn->last_job = &conn->jobs;
	sync_mutex_init(vol->sync, &conn->lock, LOCK_LEAF);
	sync_cond_init(vol->sync, &conn->changed);
	err = conn->wake_fd < 0 ? -errno : 0;
	if (!err)
		err = sync_thread_start(vol->sync, "udaxfs-fault", faulter, conn, &conn->faulter);
	if (!err)
		err = sync_thread_start(vol->sync, "udaxfs-client", receiver, conn,
					&conn->receiver);
	if (!err) {
		*ret_conn = conn;
		return 0;
	}
	if (conn->faulter) {
		conn_end(conn);
		sync_thread_join(conn->faulter);
	}
	conn_free(conn);
	return err;
}

void conn_delete(struct conn *conn)
{
	struct open_file *file;

	sync_thread_join(conn->receiver);
	while ((file = file_remove(conn, 0, true)))
		file_put(conn, file);
	conn_free(conn);
}
