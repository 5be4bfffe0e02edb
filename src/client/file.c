/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * file.c - see file.h.
 */
#include "file.h"

#include <errno.h>
#include <string.h>

#include "client.h"
#include "conn.h"
#include "mapping.h"
#include "sys.h"
#include "touch.h"
#include "work.h"

#define RETRY_NS 50000000u
#define OWED_NS 10000000u

/* A recall that found no memory or no mapping of the kernel's left: tried again until it works. */
struct owed {
	struct owed *next;
	uint32_t seq;
	uint64_t pos, len;
};

struct file *file_find(struct client *client, uint64_t dev, uint64_t ino, bool writable)
{
	for (struct file *file = client->files; file; file = file->next) {
		if (file->dev == dev && file->ino == ino && file->writable >= writable &&
		    !file->gone && file->state != DEAD)
			return file;
	}
	return NULL;
}

struct file *file_by_id(struct client *client, struct conn *conn, uint32_t id)
{
	for (struct file *file = client->files; file; file = file->next) {
		if (file->conn == conn && file->id == id &&
		    (file->state == ATTACHING || file->state == ATTACHED))
			return file;
	}
	return NULL;
}

struct file *file_new(struct client *client, uint64_t dev, uint64_t ino, bool writable)
{
	struct file *file = arena_alloc(&client->arena, sizeof(*file));

	if (!file)
		return NULL;
	file->dev = dev;
	file->ino = ino;
	file->writable = writable;
	file->granule_bytes = PAGE_BYTES;
	file->fd = -1;
	file->next = client->files;
	client->files = file;
	count_add(client, COUNT_FILES, 1);
	return file;
}

static void file_free(struct client *client, struct file *file)
{
	struct file **at = &client->files;

	while (*at != file)
		at = &(*at)->next;
	*at = file->next;
	arena_free(&client->arena, file->path, FILE_PATH_BYTES);
	arena_free(&client->arena, file, sizeof(*file));
	count_sub(client, COUNT_FILES, 1);
}

/* ---- messages out ---------------------------------------------------------------------------- */

static void send_detach(struct client *client, struct file *file)
{
	struct proto_plain msg = {
		.head = { PROTO_DETACH, sizeof(msg), file->id },
	};

	if (file->conn && (file->state == ATTACHING || file->state == ATTACHED))
		conn_send(client, file->conn, &msg.head);
}

static void send_range(struct client *client, struct file *file, unsigned type, uint32_t seq,
		       uint64_t pos, uint64_t len)
{
	struct proto_range msg = {
		.head = { (uint16_t)type, sizeof(msg), file->id },
		.seq = seq,
		.pos = pos,
		.len = len,
	};

	conn_send(client, file->conn, &msg.head);
}

static void send_attach(struct client *client, struct file *file)
{
	struct proto_attach msg = {
		.head = { PROTO_ATTACH, sizeof(msg), ++client->next_id },
		.writable = file->writable,
	};

	file->id = msg.head.id;
	file->state = ATTACHING;
	memcpy(msg.token, file->token, sizeof(msg.token));
	conn_send(client, file->conn, &msg.head);
}

/* ---- chores ---------------------------------------------------------------------------------- */

static struct chore *new_chore(struct client *client, struct file *file, enum chore_kind kind)
{
	struct chore *chore = arena_alloc(&client->arena, sizeof(*chore));

	if (!chore)
		return NULL;
	chore->kind = kind;
	chore->fd = file->fd;
	chore->file = file;
	chore->ino = file->ino;
	chore->writable = file->writable;
	chore->identified = file->identified;
	chore->generation = file->generation;
	memcpy(chore->uuid, file->uuid, sizeof(chore->uuid));
	if (file->path)
		memcpy(chore->path, file->path, FILE_PATH_BYTES);
	return chore;
}

/* The file's descriptor is not needed any more. The chore is not the file's: that may be freed. */
static void close_fd(struct client *client, struct file *file)
{
	struct chore *chore = file->fd < 0 ? NULL : new_chore(client, file, CHORE_CLOSE);
	bool awaited = file->awaited;

	file->fd = -1;
	file->awaited = false;
	if (!chore) {
		if (awaited)
			clerk_closed(client);
		return;
	}
	chore->file = NULL;
	chore->awaited = awaited;
	clerk_give(client, chore);
}

static bool give_chore(struct client *client, struct file *file, enum chore_kind kind)
{
	struct chore *chore = new_chore(client, file, kind);

	if (!chore)
		return false;
	file->chores++;
	clerk_give(client, chore);
	return true;
}

static void identified(struct client *client, struct file *file, const struct chore *chore)
{
	if (chore->error)
		return;
	if (!file->path)
		file->path = arena_alloc(&client->arena, FILE_PATH_BYTES);
	if (!file->path)
		return;
	memcpy(file->path, chore->path, FILE_PATH_BYTES);
	memcpy(file->uuid, chore->uuid, sizeof(file->uuid));
	file->generation = chore->generation;
	file->identified = true;
}

/* ---- attaching ------------------------------------------------------------------------------- */

static void fail_waiting(struct client *client, struct file *file, int err)
{
	while (file->waiting) {
		struct call *call = file->waiting;

		file->waiting = call->next;
		work_refuse(client, call, err);
	}
}

static void fail_syncing(struct file *file)
{
	while (file->syncing) {
		struct call *call = file->syncing;

		file->syncing = call->next;
		call_done(call, -EIO);
	}
}

static void die(struct client *client, struct file *file)
{
	send_detach(client, file);
	file->conn = NULL;
	file->state = DEAD;
	count_add(client, COUNT_LOST, 1);
	fail_waiting(client, file, -ECONNRESET);
	fail_syncing(file);
	touch_wake_file(client, file);
	file_release(client, file);
}

/* It did not work. Who was never attached is refused; the others try again, for a while. */
static void try_again(struct client *client, struct file *file, int err)
{
	uint64_t now = sys_now_ns();

	if (file->state == DEAD)
		return;
	file->conn = NULL;
	file->state = WAITING;
	if (!file->found_before) {
		fail_waiting(client, file, err);
		file_release(client, file);
		return;
	}
	if (!file->deadline_ns)
		file->deadline_ns = now + client->reconnect_ns;
	file->retry_ns = now + RETRY_NS;
	if (now >= file->deadline_ns)
		die(client, file);
}

int file_attach(struct client *client, struct file *file, const uint8_t *token, const char *name)
{
	int err = 0;

	memcpy(file->token, token, sizeof(file->token));
	file->conn = conn_get(client, name, &err);
	if (!file->conn)
		return err;
	file->state = CONNECTING;
	if (file->conn->ready)
		send_attach(client, file);
	return 0;
}

static void ask(struct client *client, struct file *file)
{
	if (file->take_back)
		return; /* files_tick() goes on when nothing is mapped */
	file->state = ASKING;
	if (!give_chore(client, file, CHORE_TOKEN))
		try_again(client, file, -ENOMEM);
}

void file_want(struct client *client, struct file *file)
{
	if (file->state != IDLE)
		return;
	file->deadline_ns = sys_now_ns() + client->reconnect_ns;
	ask(client, file);
}

static void token_came(struct client *client, struct file *file, const struct chore *chore)
{
	unsigned mode;
	int err = chore->error;

	if (chore->reopened) {
		close_fd(client, file);
		file->fd = chore->fd;
		sys_identity(file->fd, &file->dev, &file->ino, &mode);
	}
	if (file->state != ASKING)
		return;
	if (!err)
		err = file_attach(client, file, chore->attach.token, chore->attach.socket);
	if (err)
		try_again(client, file, err);
}

void file_chore_done(struct client *client, struct chore *chore)
{
	struct file *file = chore->file;

	if (file) {
		if (chore->kind == CHORE_IDENTIFY)
			identified(client, file, chore);
		else
			token_came(client, file, chore);
		/* Only now: until here the chore keeps the file, whatever it led to. */
		if (!--file->chores && file->gone) {
			close_fd(client, file);
			file_free(client, file);
		}
	}
	arena_free(&client->arena, chore, sizeof(*chore));
}

void files_welcome(struct client *client, struct conn *conn)
{
	for (struct file *file = client->files; file; file = file->next) {
		if (file->conn == conn && file->state == CONNECTING)
			send_attach(client, file);
	}
}

static void send_sync(struct client *client, struct file *file, struct call *call)
{
	struct proto_plain msg = { .head = { PROTO_SYNC, sizeof(msg), file->id } };

	msg.seq = call->seq = ++client->next_seq;
	conn_send(client, file->conn, &msg.head);
}

void file_sync(struct client *client, struct file *file, struct call *call)
{
	call->next = file->syncing;
	file->syncing = call;
	if (file->state == ATTACHED)
		send_sync(client, file, call);
}

static void serve_waiting(struct client *client, struct file *file)
{
	while (file->waiting && !client->frozen) {
		struct call *call = file->waiting;

		file->waiting = call->next;
		work_map(client, call, file);
	}
	file_release(client, file);
}

int file_attached(struct client *client, struct conn *conn, const struct proto_attached *msg)
{
	struct file *file = file_by_id(client, conn, msg->head.id);

	if (!file)
		return 0; /* not wanted any more */
	if (file->state != ATTACHING || msg->status > 0)
		return -EBADMSG;
	if (msg->status || msg->ino != file->ino) {
		if (!msg->status)
			send_detach(client, file);
		try_again(client, file, msg->status ? msg->status : -ESTALE);
		return 0;
	}
	if (file->found_before && file->granule_bytes < conn->granule_bytes) {
		die(client, file);
		return 0;
	}
	file->state = ATTACHED;
	file->granule_bytes = conn->granule_bytes;
	file->deadline_ns = 0;
	if (file->found_before)
		count_add(client, COUNT_RECONNECTS, 1);
	file->found_before = true;
	if (!file->identified)
		give_chore(client, file, CHORE_IDENTIFY);
	for (struct call *call = file->syncing; call; call = call->next)
		send_sync(client, file, call);
	touch_wake_file(client, file);
	serve_waiting(client, file);
	populate_step(client);
	return 0;
}

void files_thaw(struct client *client)
{
	struct file *next;

	for (struct file *file = client->files; file; file = next) {
		next = file->next;
		if (file->state == ATTACHED)
			serve_waiting(client, file);
	}
}

/* ---- letting go ------------------------------------------------------------------------------ */

static void forget_owed(struct client *client, struct file *file)
{
	while (file->owed) {
		struct owed *owed = file->owed;

		file->owed = owed->next;
		arena_free(&client->arena, owed, sizeof(*owed));
	}
}

void file_release(struct client *client, struct file *file)
{
	if (file->mappings || file->waiting || file->syncing || file->gone)
		return;
	send_detach(client, file);
	touch_forget(client, file);
	forget_owed(client, file);
	file->conn = NULL;
	file->state = IDLE;
	file->gone = true;
	file->awaited = true;
	clerk_will_close(client);
	if (file->chores)
		return; /* the clerk may be using the descriptor, too */
	close_fd(client, file);
	file_free(client, file);
}

static bool is_pending(const struct file *file, uint64_t pos, uint64_t end)
{
	for (struct pending *p = file->pendings; p; p = p->next) {
		if (p->pos - (p->addr - p->lo) < end && pos < p->pos + (p->hi - p->addr))
			return true;
	}
	return false;
}

/* The first part of [pos, end) that is still mapped somewhere: false when there is none. */
static bool still_held(struct client *client, struct file *file, uint64_t pos, uint64_t end,
		       uint64_t *ret_pos, uint64_t *ret_end)
{
	bool found = false;

	for (struct mapping *m = file->mappings; m; m = m->next) {
		uint64_t lo, hi, first;
		struct piece *piece;

		if (!mapping_range(m, pos, found ? *ret_pos : end, &lo, &hi))
			continue;
		piece = piece_in(client, lo, hi);
		if (!piece)
			continue;
		first = mapping_pos(m, piece->span.start > lo ? piece->span.start : lo);
		*ret_pos = first;
		*ret_end = mapping_pos(m, piece->span.end);
		found = true;
	}
	return found;
}

/*
 * A grant that is on its way would be given back together with what is meant, and then be mapped. So
 * where something is pending nothing is returned: to hold too much harms nobody, it is recalled.
 */
void file_return(struct client *client, struct file *file, uint64_t pos, uint64_t end)
{
	uint64_t held = 0, held_end = 0;

	if (file->state != ATTACHED || is_pending(file, pos, end))
		return;
	while (pos < end) {
		if (!still_held(client, file, pos, end, &held, &held_end))
			held = held_end = end;
		if (pos < held) {
			send_range(client, file, PROTO_RETURN, 0, pos, held - pos);
			count_add(client, COUNT_RETURNS, 1);
		}
		pos = held_end;
	}
}

/* ---- recalls --------------------------------------------------------------------------------- */

static int take_back(struct client *client, struct file *file, uint64_t pos, uint64_t len)
{
	uint64_t end = len > UINT64_MAX - pos ? UINT64_MAX : pos + len, lo, hi;
	int err = 0;

	for (struct mapping *m = file->mappings; m && !err; m = m->next) {
		if (mapping_range(m, pos, end, &lo, &hi))
			err = piece_take_back(client, lo, hi);
	}
	return err;
}

static void owe(struct client *client, struct conn *conn, struct file *file,
		const struct proto_range *msg)
{
	struct owed *owed = arena_alloc(&client->arena, sizeof(*owed));

	if (!owed) {
		conn->broken = true; /* then all of it is taken back, when that works */
		return;
	}
	owed->seq = msg->seq;
	owed->pos = msg->pos;
	owed->len = msg->len;
	owed->next = file->owed;
	file->owed = owed;
}

int file_recalled(struct client *client, struct conn *conn, const struct proto_range *msg)
{
	struct file *file = file_by_id(client, conn, msg->head.id);

	if (!file)
		return 0; /* the DETACH that is on its way says all */
	count_add(client, COUNT_RECALLS, 1);
	if (take_back(client, file, msg->pos, msg->len))
		owe(client, conn, file, msg);
	else
		send_range(client, file, PROTO_ACK, msg->seq, msg->pos, msg->len);
	return 0;
}

static void pay_owed(struct client *client, struct file *file)
{
	struct owed **at = &file->owed;

	while (*at) {
		struct owed *owed = *at;

		if (take_back(client, file, owed->pos, owed->len)) {
			at = &owed->next;
			continue;
		}
		send_range(client, file, PROTO_ACK, owed->seq, owed->pos, owed->len);
		*at = owed->next;
		arena_free(&client->arena, owed, sizeof(*owed));
	}
}

/* ---- the end of the stream ------------------------------------------------------------------- */

static void lose(struct client *client, struct file *file)
{
	touch_forget(client, file);
	forget_owed(client, file);
	file->conn = NULL;
	file->take_back = take_back(client, file, 0, UINT64_MAX) != 0;
	file->state = WAITING;
	if (!file->found_before) {
		try_again(client, file, -ECONNRESET);
		return;
	}
	if (!file->deadline_ns)
		file->deadline_ns = sys_now_ns() + client->reconnect_ns;
	ask(client, file);
}

void files_lost(struct client *client, struct conn *conn)
{
	struct file *next;

	for (struct file *file = client->files; file; file = next) {
		next = file->next;
		if (file->conn == conn)
			lose(client, file);
	}
	populate_step(client);
}

/* ---- SYNC ------------------------------------------------------------------------------------ */

int file_synced(struct client *client, struct conn *conn, const struct proto_plain *msg)
{
	struct file *file = file_by_id(client, conn, msg->head.id);
	struct call **at, *call;

	if (!file)
		return 0;
	for (at = &file->syncing; *at && (*at)->seq != msg->seq; at = &(*at)->next)
		;
	call = *at;
	if (!call || msg->status > 0)
		return -EBADMSG;
	*at = call->next;
	call_done(call, msg->status ? msg->status : (int64_t)call->cursor);
	file_release(client, file);
	return 0;
}

/* ---- time ------------------------------------------------------------------------------------ */

static void soonest(uint64_t *next, uint64_t when)
{
	if (!*next || when < *next)
		*next = when;
}

static void tick(struct client *client, struct file *file, uint64_t now, uint64_t *next)
{
	if (file->take_back) {
		file->take_back = take_back(client, file, 0, UINT64_MAX) != 0;
		soonest(next, now + OWED_NS);
		return;
	}
	if (file->owed) {
		pay_owed(client, file);
		soonest(next, now + OWED_NS);
	}
	if (!file->deadline_ns || file->state == DEAD || file->gone)
		return;
	if (now >= file->deadline_ns) {
		die(client, file);
		return;
	}
	soonest(next, file->deadline_ns);
	if (file->state != WAITING)
		return;
	if (now >= file->retry_ns)
		ask(client, file);
	else
		soonest(next, file->retry_ns);
}

uint64_t files_tick(struct client *client, uint64_t now_ns)
{
	uint64_t next = 0;
	struct file *following;

	for (struct file *file = client->files; file; file = following) {
		following = file->next;
		tick(client, file, now_ns, &next);
	}
	return next;
}
