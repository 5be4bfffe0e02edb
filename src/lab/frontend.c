/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * frontend.c - see frontend.h. Where the daemon's handlers and this differ, the daemon is right: the
 * order of admission, copy, reply and leaving is that of src/fuse_io.c.
 */
#include "frontend.h"

#include <errno.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "alloc.h"
#include "fault.h"
#include "file.h"
#include "gate.h"
#include "inode.h"
#include "kernel.h"
#include "layout.h"
#include "mode.h"
#include "region.h"
#include "rules.h"
#include "udax/policy.h"

/* One request, on the stack of the task that waits for it. */
struct request {
	struct waiter waiter;
	struct world *w;
	struct object object;
	bool resumed, working;
	uint64_t due_ns;
};

unsigned front_file(const struct world *w, uint64_t ino)
{
	unsigned file = 0;

	while (file < w->scenario->nfiles && w->inodes[file]->ino != ino)
		file++;
	return file;
}

/* ---- workers, parking ----------------------------------------------------------------------------- */

static bool worker_free(void *arg)
{
	return ((struct world *)arg)->free_workers;
}

static void work(struct request *rq)
{
	struct world *w = rq->w;

	sched_wait(w->sched, worker_free, w, &w->workers, ACCESS_WRITE, UINT64_MAX,
		   "a worker of the daemon", NULL);
	w->free_workers--;
	rq->working = true;
}

static void rest(struct request *rq)
{
	if (!rq->working)
		return;
	rq->w->free_workers++;
	sched_touch(rq->w->sched, &rq->w->workers, ACCESS_WRITE);
	rq->working = false;
}

static struct request request_begin(struct world *w)
{
	struct request rq = { .w = w };

	work(&rq);
	return rq;
}

static bool is_due(void *arg)
{
	const struct request *rq = arg;

	return rq->resumed && rq->w->sched->now_ns >= rq->due_ns;
}

static bool is_resumed(void *arg)
{
	return ((struct request *)arg)->resumed;
}

/* The core has our waiter. */
static void parked(struct request *rq)
{
	struct sched *s = rq->w->sched;

	rest(rq);
	sched_wait(s, is_resumed, rq, &rq->object, ACCESS_WRITE, UINT64_MAX,
		   "its turn: the request is parked", NULL);
	if (s->now_ns < rq->due_ns)
		sched_wait(s, is_due, rq, &rq->object, ACCESS_WRITE, rq->due_ns,
			   "its turn: the request is held over", NULL);
	rq->resumed = false;
	work(rq);
}

static void resume(void *ctx, struct waiter *waiter, uint64_t delay_ns)
{
	struct request *rq = (struct request *)waiter;
	struct world *w = ctx;

	rq->resumed = true;
	rq->due_ns = w->sched->now_ns + delay_ns;
	sched_touch(w->sched, &rq->object, ACCESS_WRITE);
}

static void notify(void *ctx, uint64_t ino, uint64_t pos, uint64_t len)
{
	struct world *w = ctx;

	kernel_notify(w, front_file(w, ino), pos, len);
}

static void attr_changed(void *ctx, uint64_t ino)
{
	(void)ctx, (void)ino; /* attributes are asked for each time here */
}

const struct holder_ops front_holder_ops = {
	.notify = notify,
	.attr_changed = attr_changed,
	.resume = resume,
};

/* A call of the core's that says -EAGAIN where it would have to wait: then in a thread that may. */
#define IN_POOL_IF_NEEDED(rq, ctx, call)                                                           \
	({                                                                                         \
		int err_ = (call);                                                                 \
                                                                                                   \
		if (err_ == -EAGAIN) {                                                             \
			rest(rq);                                                                  \
			(ctx)->may_wait = true;                                                    \
			err_ = (call);                                                             \
		}                                                                                  \
		err_;                                                                              \
	})

/* ---- opening -------------------------------------------------------------------------------------- */

int front_open(struct process *p, unsigned file, bool direct, bool read_only)
{
	struct request rq = request_begin(p->w);
	struct inode *inode = p->w->inodes[file];
	unsigned flags = (direct ? MODE_WANT_UNCACHED : 0u) |
			 (read_only ? 0u : MODE_WRITER | MODE_STORER);
	enum file_mode mode;
	int err;

	do {
		err = mode_open(inode, flags, &rq.waiter, &mode);
		if (err == -EINPROGRESS)
			parked(&rq);
	} while (err == -EINPROGRESS);
	if (err == -EALREADY) {
		rest(&rq);
		mode_enter(inode);
		err = 0;
	}
	rest(&rq);
	if (!err)
		p->handles[file] = (struct handle){ .open = true,
						    .direct = direct,
						    .read_only = read_only,
						    .flags = flags,
						    .mode = mode,
						    .sync_seen = grant_sync_seen(inode) };
	return err;
}

void front_release(struct process *p, unsigned file)
{
	struct request rq = request_begin(p->w);

	mode_release(p->w->inodes[file], p->handles[file].flags);
	p->handles[file].open = false;
	rest(&rq);
}

unsigned front_size(struct world *w, unsigned file)
{
	struct request rq = request_begin(w);
	uint64_t size = inode_size(w->inodes[file]);

	rest(&rq);
	return (unsigned)((size + CELL_BYTES - 1) / CELL_BYTES);
}

/* ---- data ----------------------------------------------------------------------------------------- */

/* The words of the cells in one piece, which stands at file byte @pos. */
static void copy_piece(struct world *w, const struct iovec *piece, uint64_t pos, unsigned first,
		       uint64_t *ret_cells)
{
	const unsigned char *base = piece->iov_base;
	uint64_t end = pos + piece->iov_len;

	/* The reply is sent from where the bytes stand, and that is not at once. */
	if (base >= w->medium->base && base < w->medium->base + w->medium->bytes)
		sched_point(w->sched,
			    world_block(w, (uint64_t)(base - w->medium->base) >> BLOCK_SHIFT),
			    ACCESS_READ);
	for (uint64_t cell = (pos + CELL_BYTES - 1) / CELL_BYTES; cell * CELL_BYTES < end; cell++)
		memcpy(&ret_cells[cell - first], base + (cell * CELL_BYTES - pos),
		       sizeof(*ret_cells));
}

static int copy_out(struct world *w, unsigned file, unsigned first, unsigned end, unsigned flags,
		    uint64_t *ret_cells)
{
	struct inode *inode = w->inodes[file];
	uint64_t pos = (uint64_t)first * CELL_BYTES;
	struct read_plan plan;
	int err = file_read_begin(inode, pos, (size_t)(end - first) * CELL_BYTES, flags, &plan);

	if (err)
		return err;
	for (unsigned i = 0; i < plan.npieces; i++) {
		copy_piece(w, &plan.pieces[i], pos, first, ret_cells);
		pos += plan.pieces[i].iov_len;
	}
	file_read_end(inode, &plan);
	return (int)((plan.bytes + CELL_BYTES - 1) / CELL_BYTES);
}

int front_read(struct world *w, unsigned file, unsigned first, unsigned end, int kind,
	       uint64_t *ret_cells)
{
	struct request rq = request_begin(w);
	struct admission adm = { .kind = (enum admission_kind)kind,
				 .pos = (uint64_t)first * CELL_BYTES,
				 .len = (uint64_t)(end - first) * CELL_BYTES,
				 .waiter = &rq.waiter };
	int n;

	memset(ret_cells, 0, (end - first) * sizeof(*ret_cells));
	if (kind == ADMIT_UNCACHED) {
		n = copy_out(w, file, first, end, IO_UNCACHED, ret_cells);
		rest(&rq);
		return n;
	}
	while ((n = w->policy->fill_enter(w->inodes[file], &adm)) == -EINPROGRESS)
		parked(&rq);
	if (!n) {
		n = copy_out(w, file, first, end, IO_CACHED, ret_cells);
		w->policy->fill_exit(w->inodes[file], &adm, 0);
	}
	rest(&rq);
	return n;
}

/* Each word at the start of its cell. */
static void pack(unsigned char *data, const uint64_t *cells, unsigned n)
{
	memset(data, 0, (size_t)n * CELL_BYTES);
	for (unsigned i = 0; i < n; i++)
		memcpy(data + (size_t)i * CELL_BYTES, &cells[i], sizeof(cells[i]));
}

/* What a request carries, that has just been sent. */
static void pack_cached(struct request *rq, unsigned char *data, const uint64_t *cells,
			unsigned first, unsigned n, struct folio *folio, unsigned instance)
{
	if (folio)
		sched_touch(rq->w->sched, &folio->object, ACCESS_READ);
	if (folio && folio->instance == instance)
		cells = &folio->cells[first % PAGE_CELLS];
	pack(data, cells, n);
}

static int write_cached(struct request *rq, unsigned file, unsigned first, unsigned ncells,
			int kind, const uint64_t *cells, struct folio *folio)
{
	unsigned char data[SCENARIO_MAX_PAGES * BLOCK_BYTES];
	uint64_t pos = (uint64_t)first * CELL_BYTES;
	size_t len = (size_t)ncells * CELL_BYTES;
	unsigned instance = folio ? folio->instance : 0;
	struct world *w = rq->w;
	struct admission adm = {
		.kind = (enum admission_kind)kind, .pos = pos, .len = len, .waiter = &rq->waiter
	};
	unsigned flags = IO_CACHED | (kind == ADMIT_WRITEBACK ? IO_WRITEBACK : 0u);
	int64_t n;
	int err;

	/* It takes its place in the order in which the kernel has sent them. */
	err = gate_announce(w->inodes[file], &adm);
	if (err)
		return err;
	pack_cached(rq, data, cells, first, ncells, folio, instance);
	work(rq);
	while ((err = w->policy->fill_enter(w->inodes[file], &adm)) == -EINPROGRESS)
		parked(rq);
	if (err) {
		gate_leave(w->inodes[file], &adm, err);
		return err;
	}
	n = file_write(w->inodes[file], pos, data, len, flags);
	if (n >= 0 && (size_t)n < len && kind == ADMIT_WRITEBACK)
		n = -ENOSPC;
	w->policy->fill_exit(w->inodes[file], &adm, n < 0 ? (int)n : 0);
	return (int)n;
}

static int write_uncached(struct request *rq, unsigned file, unsigned first, unsigned ncells,
			  bool append, const uint64_t *cells)
{
	unsigned char data[SCENARIO_MAX_PAGES * BLOCK_BYTES];
	uint64_t pos = (uint64_t)first * CELL_BYTES;
	size_t len = (size_t)ncells * CELL_BYTES;
	unsigned flags = IO_UNCACHED | (append ? IO_APPEND : 0u);
	int64_t n;

	pack(data, cells, ncells);
	work(rq);
	n = file_write(rq->w->inodes[file], pos, data, len, flags);
	if (n == -EAGAIN) {
		rest(rq);
		n = file_write(rq->w->inodes[file], pos, data, len, flags | IO_MAY_WAIT);
	}
	return (int)n;
}

int front_write(struct world *w, unsigned file, unsigned first, unsigned end, int kind, bool append,
		const uint64_t *cells, struct folio *folio)
{
	struct request rq = { .w = w };
	int n;

	if (kind == ADMIT_UNCACHED)
		n = write_uncached(&rq, file, first, end - first, append, cells);
	else
		n = write_cached(&rq, file, first, end - first, kind, cells, folio);
	rest(&rq);
	return n < 0 ? n : n / (int)CELL_BYTES;
}

int front_fsync(struct process *p, unsigned file)
{
	struct request rq = request_begin(p->w);
	int err = file_sync(p->w->inodes[file], &p->handles[file].sync_seen);

	rest(&rq);
	return err;
}

int front_copy(struct world *w, unsigned file, unsigned first, unsigned end, unsigned other,
	       unsigned other_first)
{
	struct request rq = request_begin(w);
	size_t len = (size_t)(end - first) * CELL_BYTES;
	uint64_t from = (uint64_t)first * CELL_BYTES, to = (uint64_t)other_first * CELL_BYTES;
	int64_t n = -EOPNOTSUPP;

	if (!mode_may_have_stores(w->inodes[other])) {
		n = file_copy(w->inodes[file], from, w->inodes[other], to, len, 0);
		if (n == -EAGAIN) {
			rest(&rq);
			n = file_copy(w->inodes[file], from, w->inodes[other], to, len,
				      IO_MAY_WAIT);
		}
	}
	rest(&rq);
	return (int)n;
}

int front_seek(struct world *w, unsigned file, unsigned first, unsigned *ret_cell)
{
	struct request rq = request_begin(w);
	uint64_t pos;
	int err;

	if (mode_may_have_stores(w->inodes[file])) {
		rest(&rq);
		kernel_notify(w, file, 0, 0);
	}
	err = file_seek(w->inodes[file], (uint64_t)first * CELL_BYTES, SEEK_DATA, &pos);
	rest(&rq);
	if (!err)
		*ret_cell = (unsigned)(pos / CELL_BYTES);
	return err;
}

/* ---- layout ---------------------------------------------------------------------------------------- */

int front_truncate(struct world *w, unsigned file, unsigned cells)
{
	struct request rq = request_begin(w);
	struct layout_ctx ctx = { .may_wait = false };
	int err = IN_POOL_IF_NEEDED(
		&rq, &ctx, layout_truncate(w->inodes[file], (uint64_t)cells * CELL_BYTES, &ctx));

	rest(&rq);
	rules_check_mappings(w);
	return err;
}

/* What a notify has met is told to nobody but the gate: who goes on all the same has not asked it. */
static void check_failure_heeded(struct world *w, unsigned file, int err)
{
	if (!err && w->sched->current && w->launder_failed >> w->sched->current->id & 1)
		sched_fail(w->sched, NULL, "failure-ignored",
			   "a write that a notify of %s made has failed, and the change is made",
			   file_name(w, file));
}

/* What private views have put into the kernel's cache; while that lasts, the mode is kept. */
static void drop_copies(struct world *w, unsigned file)
{
	if (!mode_hold_uncached(w->inodes[file]))
		return;
	kernel_notify(w, file, 0, 0);
	mode_release(w->inodes[file], 0);
}

int front_fallocate(struct world *w, unsigned file, int mode, unsigned first, unsigned end)
{
	struct request rq = request_begin(w);
	struct layout_ctx ctx = { .may_wait = false };
	uint64_t pos = (uint64_t)first * CELL_BYTES, len = (uint64_t)(end - first) * CELL_BYTES;
	int err;

	if (w->sched->current)
		w->launder_failed &= ~(UINT32_C(1) << w->sched->current->id);
	err = IN_POOL_IF_NEEDED(&rq, &ctx, layout_fallocate(w->inodes[file], mode, pos, len, &ctx));

	check_failure_heeded(w, file, err);
	rest(&rq);
	if (!err && mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE))
		drop_copies(w, file);
	rules_check_mappings(w);
	if (!err)
		rules_check_late_mappings(w, file, first / PAGE_CELLS,
					  (end + PAGE_CELLS - 1) / PAGE_CELLS);
	return err;
}

int front_exchange(struct world *w, unsigned file, unsigned first, unsigned end, unsigned other,
		   unsigned other_first)
{
	struct request rq = request_begin(w);
	struct layout_ctx ctx = { .may_wait = false };
	int err = IN_POOL_IF_NEEDED(&rq, &ctx,
				    layout_exchange(w->inodes[file], (uint64_t)first * CELL_BYTES,
						    w->inodes[other],
						    (uint64_t)other_first * CELL_BYTES,
						    (uint64_t)(end - first) * CELL_BYTES, &ctx));

	rest(&rq);
	if (!err) {
		drop_copies(w, file);
		drop_copies(w, other);
	}
	rules_check_mappings(w);
	return err;
}

/* ---- clients --------------------------------------------------------------------------------------- */

static struct process *process_of(struct client *client)
{
	return (struct process *)((char *)client - offsetof(struct process, client));
}

/* An attachment's number: no other one of the process's has it. */
static uint32_t make_id(const struct process *p, unsigned file)
{
	return p->ndetached[file] * SCENARIO_MAX_FILES + file;
}

static unsigned id_file(uint32_t id)
{
	return id % SCENARIO_MAX_FILES;
}

static unsigned id_ndetached(uint32_t id)
{
	return id / SCENARIO_MAX_FILES;
}

bool front_is_attached(const struct process *p, unsigned file)
{
	const struct attachment *att = p->attachments[file];

	return att && !att->abandoned && att->id == make_id(p, file);
}

static bool holds(const struct sched *s, enum lock_class class)
{
	for (unsigned i = 0; s->current && i < s->current->nheld; i++)
		if (s->current->held[i].class == class)
			return true;
	return false;
}

static void send(struct process *p, const struct message *message)
{
	struct sched *s = p->w->sched;

	/* Under the holder lock nobody can come between: what is sent outside of it can be overtaken. */
	if (!holds(s, LOCK_HOLDER))
		sched_point(s, &p->object, ACCESS_WRITE);
	if (p->nmessages - p->first_message == MAX_MESSAGES)
		sched_fail(s, NULL, "no-progress", "%s has %u messages to read", p->name,
			   MAX_MESSAGES);
	else
		p->messages[p->nmessages++ % MAX_MESSAGES] = *message;
	sched_touch(s, &p->object, ACCESS_WRITE);
}

static void send_recall(struct client *client, uint32_t id, uint32_t seq, uint64_t pos,
			uint64_t len)
{
	struct process *p = process_of(client);

	sched_log(p->w->sched, TRACE_CLIENT, NULL, "recalls %s from %s",
		  file_name(p->w, id_file(id)), p->name);
	send(p, &(struct message){ .kind = MESSAGE_RECALL,
				   .file = id_file(id),
				   .ndetached = id_ndetached(id),
				   .seq = seq,
				   .pos = pos,
				   .len = len });
}

static void send_late(struct client *client, uint32_t id, uint32_t seq, uint64_t pos, uint64_t len)
{
	struct process *p = process_of(client);

	sched_log(p->w->sched, TRACE_CLIENT, NULL, "tells %s that it is late", p->name);
	rules_check_late(p);
	p->late[id_file(id)] = true;
	send(p, &(struct message){ .kind = MESSAGE_LATE,
				   .file = id_file(id),
				   .ndetached = id_ndetached(id),
				   .seq = seq,
				   .pos = pos,
				   .len = len });
}

const struct client_ops front_client_ops = { .recall = send_recall, .late = send_late };

int front_attach(struct process *p, unsigned file, bool writable)
{
	int err;

	sched_point(p->w->sched, &p->object, ACCESS_WRITE);
	err = attach(p->w->inodes[file], &p->client, make_id(p, file), writable,
		     &p->attachments[file]);
	return err;
}

void front_detach(struct process *p, unsigned file)
{
	struct attachment *att = p->attachments[file];

	p->attachments[file] = NULL;
	grant_abandon(att);
	detach(att);
}

void front_faulter(struct process *p)
{
	char what[48];

	snprintf(what, sizeof(what), "faulter %s", p->name);
	klock_excl(p->w->sched, &p->faulter, what);
}

void front_reader(struct process *p)
{
	char what[48];

	snprintf(what, sizeof(what), "reader %s", p->name);
	klock_excl(p->w->sched, &p->reader, what);
}

struct served {
	struct fault fault;
	struct process *p;
	unsigned id;
};

static void granted(struct fault *fault)
{
	struct served *served = (struct served *)fault;

	send(served->p, &(struct message){ .kind = MESSAGE_GRANT,
					   .file = id_file(served->id),
					   .ndetached = id_ndetached(served->id),
					   .pos = fault->grant_pos,
					   .len = fault->grant_len,
					   .grant = fault->kind,
					   .region_off = fault->region_off });
}

static int serve(struct served *served, unsigned file, bool may_wait)
{
	struct fault fault = served->fault;
	int err;

	served->fault.att = served->p->attachments[file]; /* it may have died, and be detached */
	if (!served->fault.att)
		return -ECONNRESET;
	served->id = served->fault.att->id;
	served->fault.may_wait = may_wait;
	err = fault_serve(&served->fault);
	if (err == -EAGAIN)
		served->fault = fault;
	return err;
}

/*
 * Whoever reads what the client sends serves it, if that needs no wait; else it is the faulter's, who
 * delays only this client.
 */
int front_fault(struct process *p, unsigned file, unsigned page, bool write)
{
	struct world *w = p->w;
	uint64_t granule = w->medium->granule_bytes, pos = (uint64_t)page << BLOCK_SHIFT;
	uint64_t window = (uint64_t)w->scenario->window_pages << BLOCK_SHIFT;
	struct served served = { .p = p };
	int err;

	if (window < granule)
		window = granule;
	served.fault = (struct fault){ .pos = pos,
				       .first = pos / window * window,
				       .end = pos / window * window + window,
				       .write = write,
				       .granted = granted };
	front_reader(p);
	err = serve(&served, file, false);
	klock_unexcl(w->sched, &p->reader);
	if (err != -EAGAIN)
		return err;
	front_faulter(p);
	err = serve(&served, file, true);
	klock_unexcl(w->sched, &p->faulter);
	return err;
}

void front_return(struct process *p, unsigned file, unsigned first, unsigned end)
{
	front_reader(p);
	if (p->attachments[file])
		grant_returned(p->attachments[file], (uint64_t)first << BLOCK_SHIFT,
			       (uint64_t)(end - first) << BLOCK_SHIFT);
	klock_unexcl(p->w->sched, &p->reader);
}

void front_acknowledge(struct process *p, unsigned file, uint32_t seq)
{
	front_reader(p);
	/* Who was killed, or has hung up, before this is read has not sent it: what was sent is read first. */
	sched_touch(p->w->sched, &p->object, ACCESS_READ);
	if (p->attachments[file] && p->alive && !p->hung_up)
		grant_acknowledged(p->attachments[file], seq);
	klock_unexcl(p->w->sched, &p->reader);
	front_reap(p->w);
}

void front_reap(struct world *w)
{
	struct volume *vol = w->vol;

	if (!atomic_load(&vol->nlate) && !atomic_load(&vol->orphans) &&
	    atomic_load(&vol->nquarantined) > 0)
		alloc_release_all(vol);
}

void front_gone(struct process *p)
{
	atomic_store(&p->client.gone, true);
	front_reader(p);
	for (unsigned file = 0; file < p->w->scenario->nfiles; file++)
		if (p->attachments[file])
			grant_wake(p->attachments[file]);
	klock_unexcl(p->w->sched, &p->reader);
	/* Its faulter ends before what it was granted is forgotten. */
	front_faulter(p);
	front_reader(p);
	for (unsigned file = 0; file < p->w->scenario->nfiles; file++)
		if (p->attachments[file])
			front_detach(p, file);
	klock_unexcl(p->w->sched, &p->reader);
	klock_unexcl(p->w->sched, &p->faulter);
	front_reap(p->w);
}
