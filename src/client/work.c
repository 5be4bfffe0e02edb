/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * work.c - see work.h.
 *
 * What changes memory does so first and records it afterwards, in one go: nobody else looks at the
 * records, and a touch that happens in between is an event that is read later. Records that could
 * not be made for want of memory are made before (mapping_split), so that nothing fails half-way.
 *
 * While a fork is under way (between CALL_FORK and CALL_FORKED) mappings stay as they are, because the
 * child will read the records; faults and recalls go on, they only change pieces.
 */
#include "work.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "client.h"
#include "conn.h"
#include "file.h"
#include "flush.h"
#include "fork.h"
#include "mapping.h"
#include "sys.h"
#include "touch.h"

#define FLUSH_BYTES (UINT64_C(1) << 20)

static bool is_aligned(const struct file *file, uint64_t value)
{
	return value % file->granule_bytes == 0;
}

/* ---- map ------------------------------------------------------------------------------------- */

static enum udax_reason reason_of(int err)
{
	switch (err) {
	case -EBUSY:
		return UDAX_CACHED;
	case -EACCES:
		return UDAX_OTHER_USER;
	case -ENOMEM:
		return UDAX_NO_MEMORY;
	default:
		return UDAX_NO_DAEMON;
	}
}

static void refuse(struct call *call, enum udax_reason reason, int err)
{
	call->reason = reason;
	call_done(call, err);
}

void work_refuse(struct client *client, struct call *call, int err)
{
	(void)client;
	refuse(call, reason_of(err), err == -ENOMEM ? err : -ENODEV);
}

/* Over whatever is there, in one step. */
static void *place_over(struct client *client, uint64_t addr, uint64_t len, int prot)
{
	int err = mapping_split(client, addr);
	void *mem;

	if (!err)
		err = mapping_split(client, addr + len);
	if (err)
		return (void *)(intptr_t)err;
	mem = spare_reserve(client, NULL, len, prot, 0);
	if (sys_failed(mem))
		return mem;
	err = spare_move(client, mem, len, (void *)addr);
	if (err) {
		sys_munmap(mem, len);
		return (void *)(intptr_t)err;
	}
	mapping_forget(client, addr, addr + len);
	return (void *)addr;
}

static void *place_at(struct client *client, uint64_t addr, uint64_t len, int prot, int flags)
{
	void *mem = spare_reserve(client, (void *)addr, len, prot, flags);

	if (sys_failed(mem) || (uintptr_t)mem == addr)
		return mem;
	sys_munmap(mem, len);
	return (void *)(intptr_t)-EEXIST;
}

/*
 * So that address and position agree modulo 2 MiB, where there is so much of it: then the kernel can
 * map huge pages, if the file's blocks lie so, too.
 */
static void *place_somewhere(struct client *client, uint64_t len, uint64_t pos, int prot, int flags)
{
	if (len < HUGE_BYTES || flags & MAP_32BIT)
		return spare_reserve(client, NULL, len, prot, flags & MAP_32BIT);
	return spare_reserve_aligned(client, len, prot, HUGE_BYTES, pos & (HUGE_BYTES - 1));
}

static void *place(struct client *client, uint64_t addr, uint64_t len, uint64_t pos, int prot,
		   int flags)
{
	void *mem;

	if (flags & MAP_FIXED_NOREPLACE)
		return place_at(client, addr, len, prot, MAP_FIXED_NOREPLACE);
	if (flags & MAP_FIXED)
		return place_over(client, addr, len, prot);
	mem = addr ? place_at(client, addr, len, prot, 0) : NULL;
	return mem && !sys_failed(mem) ? mem : place_somewhere(client, len, pos, prot, flags);
}

/* A reservation and its record. */
static void *make_mapping(struct client *client, uint64_t addr, uint64_t len, uint64_t pos,
			  int flags, const struct mapping *like)
{
	void *mem = place(client, addr, len, pos, like->prot, flags);
	int err = sys_failed(mem);

	if (err)
		return mem;
	err = mapping_add(client, (uintptr_t)mem, (uintptr_t)mem + len, pos, like);
	if (!err)
		return mem;
	sys_munmap(mem, len);
	return (void *)(intptr_t)err;
}

void work_map(struct client *client, struct call *call, struct file *file)
{
	struct mapping like = {
		.prot = call->prot,
		.may_write = call->writable,
		.file = file,
	};
	void *mem;

	if (!is_aligned(file, call->pos) || !is_aligned(file, call->len) ||
	    !is_aligned(file, call->addr)) {
		refuse(call, UDAX_GRANULE, -ENODEV);
		return;
	}
	if (call->flags & MAP_SYNC && !(file->conn->flags & PROTO_SYNC_OK)) {
		refuse(call, UDAX_NOT_SYNC, -EOPNOTSUPP);
		return;
	}
	mem = make_mapping(client, call->addr, call->len, call->pos, call->flags, &like);
	if (sys_failed(mem)) {
		refuse(call, UDAX_NO_MEMORY, sys_failed(mem));
		return;
	}
	count_add(client, COUNT_MMAPS, 1);
	call->addr = (uintptr_t)mem;
	if (call->flags & (MAP_POPULATE | MAP_LOCKED) && call->prot & (PROT_READ | PROT_WRITE))
		populate_start(client, call, (intptr_t)mem);
	else
		call_done(call, (intptr_t)mem);
}

/* The program may close or change its descriptor while we look at it: take what is the file. */
static int take_descriptor(struct call *call, struct file *file)
{
	int fd = sys_take_fd(call->tid, call->fd), err;
	uint64_t dev, ino;
	unsigned mode;

	if (fd < 0)
		return fd;
	err = sys_identity(fd, &dev, &ino, &mode);
	file->fd = fd;
	if (err)
		return err;
	return dev == file->dev && ino == file->ino ? 0 : -EBADF;
}

static void map(struct client *client, struct call *call)
{
	struct file *file = file_find(client, call->dev, call->ino, call->writable);
	int err;

	if (!file && !call->has_token) {
		call_done(call, -EAGAIN);
		return;
	}
	if (file && file->state == ATTACHED) {
		work_map(client, call, file);
		return;
	}
	if (!file) {
		file = file_new(client, call->dev, call->ino, call->writable);
		err = file ? take_descriptor(call, file) : -ENOMEM;
		if (!err)
			err = file_attach(client, file, call->attach.token, call->attach.socket);
		if (err) {
			if (file)
				file_release(client, file);
			work_refuse(client, call, err);
			return;
		}
	}
	call->next = file->waiting;
	file->waiting = call;
	file_want(client, file);
}

/* ---- unmap, protect -------------------------------------------------------------------------- */

/* Cut the records at both ends. -EINVAL: inside a granule. */
static int cut(struct client *client, uint64_t start, uint64_t end)
{
	const uint64_t ends[2] = { start, end };
	int err = 0;

	for (unsigned i = 0; i < 2 && !err; i++) {
		struct mapping *m = mapping_at(client, ends[i]);

		if (m && !is_aligned(m->file, mapping_pos(m, ends[i])))
			return -EINVAL;
		err = mapping_split(client, ends[i]);
	}
	return err;
}

static uint64_t covered(struct client *client, uint64_t start, uint64_t end);

static int clear_one(struct client *client, uint64_t start, uint64_t end)
{
	int err = sys_failed(sys_mmap((void *)start, end - start, PROT_NONE,
				      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
				      0));

	if (err)
		return err;
	mapping_forget(client, start, end);
	spare_wake(client, start, end - start);
	return 0;
}

/* Reserve, without access, what was direct. */
static int clear(struct client *client, uint64_t start, uint64_t len)
{
	int err = cut(client, start, start + len);
	struct mapping *m;

	for (uint64_t at = start; !err && (m = mapping_in(client, at, start + len));) {
		at = m->span.end;
		err = clear_one(client, m->span.start, at);
	}
	return err;
}

/*
 * 1: the rest is the caller's. Other mappings in the range are left to the program's thread: to unmap
 * one of a file on a FUSE mount can wait for its daemon.
 */
static int unmap(struct client *client, uint64_t start, uint64_t len)
{
	int err;

	if (covered(client, start, start + len) < len) {
		err = clear(client, start, len);
		return err ? err : 1;
	}
	err = cut(client, start, start + len);
	if (!err)
		err = sys_munmap((void *)start, len);
	if (err)
		return err;
	mapping_forget(client, start, start + len);
	spare_wake(client, start, len);
	return 0;
}

/*
 * Before stores are allowed, what only loads may use goes away: pieces granted for loads, and the kernel's
 * zero pages. (There is no fault at which it could be replaced later.)
 */
static int make_room_for_stores(struct client *client, const struct mapping *m)
{
	struct piece *piece;

	if (m->prot & PROT_WRITE)
		return 0;
	for (uint64_t at = m->span.start; (piece = piece_in(client, at, m->span.end));
	     at = piece->span.end) {
		if (piece->kind == PIECE_READ || piece->kind == PIECE_ZERO)
			return piece_take_back(client, m->span.start, m->span.end);
	}
	return 0;
}

/* Some of it has the new protection, some the old one: give all of it the old one. */
static void unprotect(struct client *client, uint64_t start, uint64_t end)
{
	struct mapping *m;

	for (uint64_t at = start; (m = mapping_in(client, at, end)); at = m->span.end) {
		piece_take_back(client, m->span.start, m->span.end);
		spare_cover(client, m->span.start, m->span.end - m->span.start, m->prot);
	}
}

static int protect(struct client *client, uint64_t start, uint64_t len, int prot)
{
	uint64_t end = start + len;
	struct mapping *m;
	int err;

	for (uint64_t at = start; (m = mapping_in(client, at, end)); at = m->span.end) {
		if (prot & PROT_WRITE && !m->may_write)
			return -EACCES;
	}
	err = cut(client, start, end);
	for (uint64_t at = start; !err && (m = mapping_in(client, at, end)); at = m->span.end) {
		if (prot & PROT_WRITE)
			err = make_room_for_stores(client, m);
	}
	if (err)
		return err;
	err = sys_mprotect((void *)start, len, prot);
	if (err)
		unprotect(client, start, end);
	else
		mapping_protect(client, start, end, prot);
	return err;
}

/* ---- remap ----------------------------------------------------------------------------------- */

static int64_t grow_in_place(struct client *client, struct mapping *m, uint64_t addr,
			     uint64_t extra)
{
	uint64_t end = m->span.end;
	void *mem = place_at(client, end, extra, m->prot, MAP_FIXED_NOREPLACE);
	int err = sys_failed(mem);

	if (err)
		return err;
	err = mapping_add(client, end, end + extra, mapping_pos(m, end), m);
	if (err) {
		sys_munmap(mem, extra);
		return err;
	}
	mapping_protect(client, end, end + extra, m->prot); /* makes one of both */
	return (int64_t)addr;
}

/* The new place faults; what it shows is on the medium, so there is nothing to carry over. */
static int64_t move(struct client *client, struct call *call, const struct mapping *m)
{
	struct mapping like = *m;
	uint64_t pos = mapping_pos(m, call->addr);
	bool fixed = call->flags & MREMAP_FIXED;
	void *mem = make_mapping(client, fixed ? call->new_addr : 0, call->new_len, pos,
				 fixed ? MAP_FIXED : 0, &like);

	if (!sys_failed(mem) && call->len && !(call->flags & MREMAP_DONTUNMAP))
		unmap(client, call->addr, call->len);
	return (intptr_t)mem;
}

static bool remap_is_sane(const struct call *call, const struct mapping *m)
{
	const int all = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;

	if (call->flags & ~all || !call->new_len ||
	    (call->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) && !(call->flags & MREMAP_MAYMOVE)) ||
	    (call->flags & MREMAP_DONTUNMAP && call->len != call->new_len))
		return false;
	return is_aligned(m->file, call->addr - m->span.start) && is_aligned(m->file, call->len) &&
	       is_aligned(m->file, call->new_len) && is_aligned(m->file, call->new_addr);
}

static int64_t remap(struct client *client, struct call *call)
{
	struct mapping *m = mapping_at(client, call->addr);
	uint64_t end = call->addr + call->len;
	int64_t result = -ENOMEM;

	if (!m || end > m->span.end)
		return -EFAULT;
	if (!remap_is_sane(call, m))
		return -EINVAL;
	if (call->flags & MREMAP_FIXED) {
		if (call->new_addr < end && call->addr < call->new_addr + call->new_len)
			return -EINVAL;
		return move(client, call, m);
	}
	if (call->flags & MREMAP_DONTUNMAP)
		return move(client, call, m);
	if (call->len && call->new_len <= call->len) {
		if (call->new_len < call->len)
			result = unmap(client, call->addr + call->new_len,
				       call->len - call->new_len);
		else
			result = 0;
		return result ? result : (int64_t)call->addr;
	}
	if (call->len && end == m->span.end)
		result = grow_in_place(client, m, call->addr, call->new_len - call->len);
	if (result < 0 && call->flags & MREMAP_MAYMOVE)
		result = move(client, call, m);
	return result;
}

static int inherit(struct client *client, uint64_t start, uint64_t len, bool on)
{
	int err = cut(client, start, start + len);
	struct mapping *m;

	for (uint64_t at = start; !err && (m = mapping_in(client, at, start + len));
	     at = m->span.end)
		m->not_for_children = !on;
	return err;
}

/* ---- facts, synchronising -------------------------------------------------------------------- */

static uint64_t covered(struct client *client, uint64_t start, uint64_t end)
{
	uint64_t bytes = 0;
	struct mapping *m;

	for (uint64_t at = start; (m = mapping_in(client, at, end)); at = m->span.end) {
		uint64_t from = m->span.start > start ? m->span.start : start;
		uint64_t to = m->span.end < end ? m->span.end : end;

		bytes += to - from;
	}
	return bytes;
}

/* Of a piece for stores. Where its protection forbids every touch, through another mapping of the region. */
static void flush_part(const struct mapping *m, const struct piece *piece, uint64_t start,
		       uint64_t end)
{
	uint64_t off = piece->region_off + (start - piece->span.start), len = end - start;
	void *mem;

	if (m->prot & (PROT_READ | PROT_WRITE)) {
		flush_lines((void *)start, len);
		return;
	}
	mem = sys_mmap(NULL, len, PROT_READ, MAP_SHARED, m->file->conn->region, off);
	if (sys_failed(mem))
		return;
	flush_lines(mem, len);
	sys_munmap(mem, len);
}

/* Not more than FLUSH_BYTES at once: recalls are waiting, perhaps. */
static int64_t flush(struct client *client, uint64_t start, uint64_t end)
{
	uint64_t left = FLUSH_BYTES;
	struct piece *piece;

	for (uint64_t at = start; (piece = piece_in(client, at, end)); at = piece->span.end) {
		const struct mapping *m = mapping_at(client, piece->span.start);
		uint64_t from = piece->span.start > at ? piece->span.start : at;
		uint64_t to = piece->span.end < end ? piece->span.end : end;

		if (piece->kind != PIECE_WRITE || m->file->state != ATTACHED)
			continue;
		if (to - from > left)
			to = from + left;
		flush_part(m, piece, from, to);
		left -= to - from;
		if (!left)
			return (int64_t)to;
	}
	return (int64_t)end;
}

static void synchronise(struct client *client, struct call *call)
{
	uint64_t end = call->addr + call->len;
	struct mapping *m = mapping_in(client, call->addr, end);

	if (!m) {
		call_done(call, (int64_t)end);
		return;
	}
	call->cursor = m->span.end < end ? m->span.end : end;
	if (m->file->state == DEAD)
		call_done(call, -EIO);
	else if (m->file->state == IDLE) /* of a child that has not touched it yet */
		call_done(call, (int64_t)call->cursor);
	else
		file_sync(client, m->file, call);
}

/* ---- calls ----------------------------------------------------------------------------------- */

static bool changes_mappings(const struct call *call)
{
	return call->type <= CALL_INHERIT;
}

static void execute(struct client *client, struct call *call);

static void run_deferred(struct client *client)
{
	while (client->deferred && !client->frozen) {
		struct call *call = client->deferred;

		client->deferred = call->next;
		execute(client, call);
	}
	files_thaw(client);
}

static void execute(struct client *client, struct call *call)
{
	switch (call->type) {
	case CALL_MAP:
		map(client, call);
		return;
	case CALL_UNMAP:
		call_done(call, unmap(client, call->addr, call->len));
		return;
	case CALL_CLEAR:
		call_done(call, clear(client, call->addr, call->len));
		return;
	case CALL_PROTECT:
		call_done(call, protect(client, call->addr, call->len, call->prot));
		return;
	case CALL_REMAP:
		call_done(call, remap(client, call));
		return;
	case CALL_INHERIT:
		call_done(call, inherit(client, call->addr, call->len, call->write));
		return;
	case CALL_POPULATE:
		populate_start(client, call, 0);
		return;
	case CALL_COVERED:
		call_done(call, (int64_t)covered(client, call->addr, call->addr + call->len));
		return;
	case CALL_FLUSH:
		call_done(call, flush(client, call->addr, call->addr + call->len));
		return;
	case CALL_SYNC:
		synchronise(client, call);
		return;
	case CALL_FORK:
		fork_leave_files(client, call->tid, call->fd);
		client->frozen++;
		call_done(call, 0);
		return;
	case CALL_FORKED:
		client->frozen--;
		call_done(call, 0);
		if (!client->frozen)
			run_deferred(client);
		return;
	}
}

void work_take(struct client *client)
{
	struct call *call;

	while ((call = call_take(client))) {
		if (client->frozen && changes_mappings(call)) {
			call->next = client->deferred;
			client->deferred = call;
			continue;
		}
		execute(client, call);
	}
}
