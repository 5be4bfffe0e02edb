/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * touch.c - see touch.h.
 *
 * No wake-up is lost. Who waits is woken whenever something about his range has changed, by a range
 * that is at least as large as what was asked for, and touches again; if that faults, a new event
 * comes. So an event may always be answered by "touch again" when its page looks mapped, and be
 * left alone when something is under way that will end in a wake-up: a FAULT of the range, or a file
 * that is being attached.
 */
#include "touch.h"

#include <errno.h>
#include <linux/userfaultfd.h>
#include <sys/mman.h>

#include "client.h"
#include "conn.h"
#include "file.h"
#include "mapping.h"
#include "sys.h"
#include "zeroes.h"

#define WINDOWS_AHEAD 16
#define EVICT_SOME 64
#define EVICT_MANY 256

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t granule_down(const struct file *file, uint64_t pos)
{
	return pos - pos % file->granule_bytes;
}

/* ---- putting something where it faults --------------------------------------------------------- */

static int map_once(struct client *client, const struct mapping *m, uint64_t start, uint64_t end,
		    int fd, uint64_t off, int prot)
{
	void *aside = sys_mmap(NULL, end - start, prot,
			       MAP_SHARED | (fd == client->nothing ? 0 : MAP_POPULATE), fd, off);
	int err = sys_failed(aside);

	if (err)
		return err;
	err = sys_madvise(aside, end - start, MADV_DONTFORK);
	if (!err)
		return spare_replace(client, aside, end - start, start, m->prot);
	sys_munmap(aside, end - start);
	return err;
}

/*
 * A piece, aside first, so that no child of a fork ever sees it; recorded first, so that nothing is ever
 * mapped that a recall would not find.
 */
static int put_once(struct client *client, struct mapping *m, uint64_t start, uint64_t end,
		    enum piece_kind kind, int fd, uint64_t off)
{
	int prot = kind == PIECE_READ ? m->prot & ~PROT_WRITE : m->prot;
	int err = piece_add(client, start, end, kind, off);

	if (err)
		return err;
	err = map_once(client, m, start, end, fd, off, prot);
	if (err)
		piece_take_back(client, start, end);
	return err;
}

static int put_piece(struct client *client, struct mapping *m, uint64_t start, uint64_t end,
		     enum piece_kind kind, int fd, uint64_t off)
{
	int err;

	if (client->costly >= client->costly_limit)
		piece_evict(client, EVICT_SOME);
	err = put_once(client, m, start, end, kind, fd, off);
	if (err != -ENOMEM)
		return err;
	piece_evict(client, EVICT_MANY);
	return put_once(client, m, start, end, kind, fd, off);
}

static void put_failure(struct client *client, struct mapping *m, uint64_t addr)
{
	uint64_t pos = granule_down(m->file, mapping_pos(m, addr)), start, end;

	count_add(client, COUNT_GRANTS_FAILED, 1);
	if (mapping_range(m, pos, pos + m->file->granule_bytes, &start, &end))
		put_piece(client, m, start, end, PIECE_FAILED, client->nothing, 0);
	spare_wake(client, addr, PAGE_BYTES);
}

/*
 * Zeroes for [start, end) of a hole. Where stores are allowed they must come as events: pages of our
 * own, write-protected. Elsewhere the kernel's zero page does, and costs nothing. Pages that are
 * there already are left alone. The kernel refuses a range that lies in more than one of its mappings (ENOENT),
 * as memory that was taken back and its neighbours may do: then it is page by page.
 */
static void put_zeroes(struct client *client, const struct mapping *m, uint64_t start, uint64_t end)
{
	const bool writable = m->prot & PROT_WRITE;
	uint64_t most = ZERO_BYTES;

	for (uint64_t at = start; at < end;) {
		uint64_t n = min_u64(end - at, most);
		struct uffdio_copy copy = {
			.dst = at,
			.src = (uintptr_t)client->zeroes,
			.len = n,
			.mode = UFFDIO_COPY_MODE_WP,
		};
		struct uffdio_zeropage zero = { .range = { at, n } };
		int err = writable ? sys_ioctl(client->uffd, UFFDIO_COPY, &copy)
				   : sys_ioctl(client->uffd, UFFDIO_ZEROPAGE, &zero);
		int64_t done = writable ? copy.copy : zero.zeropage;

		if (done > 0)
			at += (uint64_t)done;
		else if (err == -EEXIST)
			at += PAGE_BYTES;
		else if (err == -ENOENT && n > PAGE_BYTES)
			most = PAGE_BYTES;
		else if (err)
			break; /* EAGAIN: somebody is in mremap(2); the next touch is another try */
	}
	spare_wake(client, start, end - start);
}

/* Where @page is touched. */
static void show_zeroes(struct client *client, const struct mapping *m, uint64_t page, uint64_t end)
{
	end = min_u64(end, page + ZEROES_AROUND);
	if (m->prot & PROT_WRITE)
		zeroes_put(client, page, end);
	put_zeroes(client, m, page, end);
}

/* ---- asking ---------------------------------------------------------------------------------- */

static struct pending *pending_at(const struct file *file, uint64_t addr)
{
	for (struct pending *p = file->pendings; p; p = p->next) {
		if (p->lo <= addr && addr < p->hi)
			return p;
	}
	return NULL;
}

static void cut_around(uint64_t page, uint64_t start, uint64_t end, uint64_t *lo, uint64_t *hi)
{
	if (end <= page)
		*lo = max_u64(*lo, end);
	else if (start > page)
		*hi = min_u64(*hi, start);
}

/* What could be mapped at once around @page. */
static void window(struct client *client, const struct mapping *m, uint64_t page, bool write,
		   uint64_t *lo, uint64_t *hi)
{
	uint64_t pos = mapping_pos(m, page), huge = pos - pos % HUGE_BYTES;
	struct piece *piece;

	mapping_range(m, huge, huge + HUGE_BYTES, lo, hi);
	for (uint64_t at = *lo; (piece = piece_in(client, at, *hi)); at = piece->span.end) {
		if (!write || piece->kind != PIECE_ZERO)
			cut_around(page, piece->span.start, piece->span.end, lo, hi);
	}
	for (struct pending *p = m->file->pendings; p; p = p->next)
		cut_around(page, p->lo, p->hi, lo, hi);
}

static enum proto_touch touch_of(const struct mapping *m, bool write)
{
	if (write)
		return PROTO_STORE;
	return m->prot & PROT_WRITE ? PROTO_LOAD_BEFORE_STORES : PROTO_LOAD;
}

static bool ask(struct client *client, struct mapping *m, uint64_t page, bool write, uint64_t lo,
		uint64_t hi)
{
	struct file *file = m->file;
	struct pending *p = arena_alloc(&client->arena, sizeof(*p));
	struct proto_fault msg = {
		.head = { PROTO_FAULT, sizeof(msg), file->id },
		.seq = ++client->next_seq,
		.write = touch_of(m, write),
		.pos = mapping_pos(m, page),
		.first = mapping_pos(m, lo),
		.end = mapping_pos(m, hi),
	};

	if (!p)
		return false;
	p->seq = msg.seq;
	p->write = write;
	p->addr = page;
	p->pos = msg.pos;
	p->lo = lo;
	p->hi = hi;
	p->next = file->pendings;
	file->pendings = p;
	client->inflight++;
	count_add(client, COUNT_FAULTS, 1);
	conn_send(client, file->conn, &msg.head);
	return true;
}

static bool ask_around(struct client *client, struct mapping *m, uint64_t page, bool write)
{
	uint64_t lo = 0, hi = 0;

	window(client, m, page, write, &lo, &hi);
	return ask(client, m, page, write, lo, hi);
}

void touch(struct client *client, uint64_t addr, bool write)
{
	uint64_t page = addr & ~(uint64_t)(PAGE_BYTES - 1);
	struct mapping *m = mapping_at(client, page);
	struct piece *piece = piece_at(client, page);

	if (!m || (piece && piece->kind != PIECE_ZERO)) {
		spare_wake(client, page, PAGE_BYTES);
		return;
	}
	if (piece && !write) {
		show_zeroes(client, m, page, piece->span.end);
		return;
	}
	if (m->file->state == DEAD) {
		put_failure(client, m, page);
		return;
	}
	if (m->file->state != ATTACHED) {
		file_want(client, m->file);
		return;
	}
	if (!pending_at(m->file, page) && !ask_around(client, m, page, write))
		spare_wake(client, page, PAGE_BYTES);
}

void touch_forget(struct client *client, struct file *file)
{
	while (file->pendings) {
		struct pending *p = file->pendings;

		file->pendings = p->next;
		arena_free(&client->arena, p, sizeof(*p));
		client->inflight--;
	}
}

void touch_wake_file(struct client *client, struct file *file)
{
	for (struct mapping *m = file->mappings; m; m = m->next)
		spare_wake(client, m->span.start, m->span.end - m->span.start);
}

/* ---- the answer ------------------------------------------------------------------------------ */

static bool is_sane(const struct conn *conn, const struct pending *p, const struct proto_grant *msg)
{
	uint64_t first = p->pos - (p->addr - p->lo), end = p->pos + (p->hi - p->addr);
	bool region = msg->kind == PROTO_READ || msg->kind == PROTO_WRITE;

	if (msg->kind == PROTO_FAILED)
		return msg->status < 0;
	return msg->kind <= PROTO_BEHIND_EOF && msg->pos <= p->pos && msg->pos >= first &&
	       msg->len <= end - msg->pos && msg->pos + msg->len > p->pos &&
	       !((msg->pos | msg->len) % conn->granule_bytes) &&
	       !(region &&
		 (msg->region_off % conn->granule_bytes || msg->region_off > conn->region_bytes ||
		  msg->len > conn->region_bytes - msg->region_off)) &&
	       !(msg->kind == PROTO_ZERO && p->write);
}

static int map_region(struct client *client, struct mapping *m, enum piece_kind kind,
		      uint64_t start, uint64_t end, const struct proto_grant *msg)
{
	uint64_t off = msg->region_off + (mapping_pos(m, start) - msg->pos);
	int err = put_piece(client, m, start, end, kind, m->file->conn->region, off);

	if (!err)
		count_add(client, COUNT_DIRECT_BYTES, end - start);
	return err;
}

/* Map what was granted for [start, end) of @m. false: it was asked for anew, nobody is woken. */
static bool apply(struct client *client, struct mapping *m, const struct pending *p, uint64_t start,
		  uint64_t end, const struct proto_grant *msg)
{
	int err = 0;

	switch ((enum proto_grant_kind)msg->kind) {
	case PROTO_READ:
		count_add(client, COUNT_GRANTS_READ, 1);
		if (m->prot & PROT_WRITE)
			return !ask(client, m, p->addr, true, start, end);
		err = map_region(client, m, PIECE_READ, start, end, msg);
		break;
	case PROTO_WRITE:
		count_add(client, COUNT_GRANTS_WRITE, 1);
		err = map_region(client, m, PIECE_WRITE, start, end, msg);
		break;
	case PROTO_ZERO:
		count_add(client, COUNT_GRANTS_ZERO, 1);
		err = piece_add(client, start, end, PIECE_ZERO, 0);
		if (!err)
			show_zeroes(client, m, p->addr, end);
		break;
	case PROTO_BEHIND_EOF:
		count_add(client, COUNT_GRANTS_BEHIND_EOF, 1);
		err = put_piece(client, m, start, end, PIECE_BEHIND_EOF, client->nothing, 0);
		break;
	case PROTO_FAILED:
		put_failure(client, m, p->addr);
		return true;
	}
	if (err)
		put_failure(client, m, p->addr);
	return true;
}

/* The mapping that the fault was about, unless it is not there any more. */
static struct mapping *asked_for(struct client *client, struct file *file, const struct pending *p)
{
	struct mapping *m = mapping_at(client, p->addr);

	return m && m->file == file && mapping_pos(m, p->addr) == p->pos ? m : NULL;
}

static void wake_range(struct client *client, uint64_t start, uint64_t end)
{
	if (start < end)
		spare_wake(client, start, end - start);
}

static void answered(struct client *client, struct file *file, const struct pending *p,
		     const struct proto_grant *msg)
{
	struct mapping *m = asked_for(client, file, p);
	uint64_t start = p->addr - (p->pos - msg->pos), end = start + msg->len;
	bool again = false;

	if (m) {
		start = max_u64(start, m->span.start);
		end = min_u64(end, m->span.end);
		again = !apply(client, m, p, start, end, msg);
	}
	if (again) { /* who waits for another part than the one that is asked for now */
		wake_range(client, p->lo, start);
		wake_range(client, end, p->hi);
		return;
	}
	/* What could not be mapped, because the mapping has changed meanwhile. */
	if (msg->kind != PROTO_FAILED)
		file_return(client, file, msg->pos, msg->pos + msg->len);
	wake_range(client, p->lo, p->hi);
}

int touch_granted(struct client *client, struct conn *conn, const struct proto_grant *msg)
{
	struct file *file = file_by_id(client, conn, msg->head.id);
	struct pending **at, *p;

	if (!file)
		return 0; /* detached meanwhile */
	for (at = &file->pendings; *at && (*at)->seq != msg->seq; at = &(*at)->next)
		;
	p = *at;
	if (!p || !is_sane(conn, p, msg))
		return -EBADMSG;
	*at = p->next;
	client->inflight--;
	answered(client, file, p, msg);
	arena_free(&client->arena, p, sizeof(*p));
	populate_step(client);
	return 0;
}

/* ---- populate -------------------------------------------------------------------------------- */

/* What is at @at: 0 mapped up to *ret_end, -EAGAIN will be, -errno. */
static int populate_one(struct client *client, struct call *call, uint64_t at, uint64_t *ret_end)
{
	struct mapping *m = mapping_at(client, at);
	struct piece *piece = piece_at(client, at);
	struct pending *p;

	if (!m)
		return -ENOMEM;
	if (!(m->prot & (call->write ? PROT_WRITE : PROT_READ | PROT_WRITE)))
		return -EINVAL;
	if (piece && (piece->kind != PIECE_ZERO || !call->write)) {
		*ret_end = min_u64(piece->span.end, call->stop);
		if (piece->kind == PIECE_ZERO)
			put_zeroes(client, m, at, *ret_end);
		return piece->kind == PIECE_FAILED || piece->kind == PIECE_BEHIND_EOF ? -EFAULT : 0;
	}
	if (m->file->state == DEAD)
		return -EFAULT;
	if (m->file->state != ATTACHED) {
		file_want(client, m->file);
		*ret_end = min_u64(m->span.end, call->stop);
		return -EAGAIN;
	}
	p = pending_at(m->file, at);
	if (!p && client->inflight < INFLIGHT_MAX && ask_around(client, m, at, call->write))
		p = m->file->pendings;
	*ret_end = min_u64(p ? p->hi : m->span.end, call->stop);
	return -EAGAIN;
}

/* 0 when all is mapped, -EAGAIN, -errno. */
static int populate_some(struct client *client, struct call *call)
{
	unsigned ahead = 0;

	for (uint64_t at = call->cursor, end; at < call->stop; at = end) {
		int err = populate_one(client, call, at, &end);

		if (err && err != -EAGAIN)
			return err;
		if (!err && at == call->cursor)
			call->cursor = end;
		if (err && ++ahead == WINDOWS_AHEAD)
			break;
	}
	return call->cursor < call->stop ? -EAGAIN : 0;
}

void populate_start(struct client *client, struct call *call, int64_t result)
{
	call->result = result;
	call->cursor = call->addr;
	call->stop = call->addr + call->len;
	call->next = client->populating;
	client->populating = call;
	populate_step(client);
}

void populate_step(struct client *client)
{
	struct call **at = &client->populating;

	while (*at) {
		struct call *call = *at;
		int err = populate_some(client, call);

		if (err == -EAGAIN) {
			at = &call->next;
			continue;
		}
		*at = call->next;
		/* As for mmap(2): MAP_POPULATE is a wish. */
		call_done(call, err && call->type == CALL_POPULATE ? err : call->result);
	}
}
