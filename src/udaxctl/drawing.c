/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * drawing.c - events to slices, as they come: what is remembered is what is open.
 *
 * What a thread has open is a stack: an operation, locks in it, a wait in these. A slice is written when it
 * ends. Locks need not be released in the opposite order; those that were taken after one that is
 * released, and are still held, lie neither inside it nor around it, and get tracks of their own, as in
 * the lab's drawings. What belongs to no thread (gates, recalls, a client's fault) is asynchronous
 * from the start. A thread that sleeps with nothing open is not kept from anything: it is idle.
 */
#include "udaxctl/drawing.h"

#include <inttypes.h>
#include <linux/fuse.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "trace_events.h"

#define PAGE 4096u
#define MAX_DEPTH 64u
#define NAME_LEN 96

enum { PID_DAEMON = 1, PID_FILES = 2, PID_CLIENTS = 3 };

/* Something that has begun. */
struct open {
	const char *category;
	char name[NAME_LEN];
	uint64_t begin_ns;
	uint64_t key;	/* of a lock: which one; else its kind */
	bool crossing;	/* lies neither inside nor around another slice of its thread */
	bool exclusive; /* of a lock */
	uint32_t site;
};

struct thread {
	uint32_t tid;
	unsigned depth;
	struct open stack[MAX_DEPTH];
};

/* A gate, a recall, a client's fault. */
struct pending {
	struct pending *next;
	enum udax_ioc_event_kind kind;
	struct trace_track track;
	uint64_t ino, pos, len, id;
	uint32_t who, code;
	bool late;
	char name[NAME_LEN];
};

struct drawing {
	struct trace_events out;
	const struct drawing_class *classes;
	unsigned nclasses;
	bool begun;
	uint64_t first_ns, last_ns;
	uint64_t next_id;
	struct thread **threads;
	unsigned nthreads;
	struct pending *pending;
	char (*sites)[UDAX_EVENT_TEXT]; /* by number */
	uint32_t nsites;
	uint64_t *files;
	size_t nfiles;
	uint32_t *clients;
	size_t nclients;
};

static void *more(void *old, size_t n, size_t bytes)
{
	void *new = reallocarray(old, n, bytes);

	if (!new) {
		cli_error("out of memory");
		exit(1);
	}
	return new;
}

struct drawing *drawing_new(FILE *out, const struct drawing_class *classes, unsigned nclasses)
{
	struct drawing *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->classes = classes;
	d->nclasses = nclasses;
	trace_begin(&d->out, out);
	return d;
}

/* From when the recording began. An event may be put a moment after a later one. */
static uint64_t when(struct drawing *d, const struct udax_ioc_event *event)
{
	if (!d->begun) {
		d->begun = true;
		d->first_ns = event->time_ns;
		trace_name_process(&d->out, (struct trace_track){ PID_DAEMON, 0 }, "the daemon");
	}
	if (event->time_ns < d->first_ns)
		return 0;
	if (event->time_ns - d->first_ns > d->last_ns)
		d->last_ns = event->time_ns - d->first_ns;
	return event->time_ns - d->first_ns;
}

/* ---- words ------------------------------------------------------------------------------------------ */

/* "5[0..2)": pages of a file, as in the lab. */
static void put_range(char buf[NAME_LEN], const char *before, const struct udax_ioc_event *e)
{
	uint64_t pos = e->u.told.pos, len = e->u.told.len ? e->u.told.len : 1;

	if (len == UINT64_MAX || pos > UINT64_MAX - len - PAGE)
		snprintf(buf, NAME_LEN, "%s %" PRIu64 "[%" PRIu64 "..end)", before,
			 (uint64_t)e->u.told.ino, pos / PAGE);
	else
		snprintf(buf, NAME_LEN, "%s %" PRIu64 "[%" PRIu64 "..%" PRIu64 ")", before,
			 (uint64_t)e->u.told.ino, pos / PAGE, (pos + len + PAGE - 1) / PAGE);
}

static const char *opcode_name(uint32_t opcode)
{
	static const char *const names[] = {
		[FUSE_LOOKUP] = "FUSE_LOOKUP",
		[FUSE_FORGET] = "FUSE_FORGET",
		[FUSE_GETATTR] = "FUSE_GETATTR",
		[FUSE_SETATTR] = "FUSE_SETATTR",
		[FUSE_READLINK] = "FUSE_READLINK",
		[FUSE_SYMLINK] = "FUSE_SYMLINK",
		[FUSE_MKNOD] = "FUSE_MKNOD",
		[FUSE_MKDIR] = "FUSE_MKDIR",
		[FUSE_UNLINK] = "FUSE_UNLINK",
		[FUSE_RMDIR] = "FUSE_RMDIR",
		[FUSE_RENAME] = "FUSE_RENAME",
		[FUSE_LINK] = "FUSE_LINK",
		[FUSE_OPEN] = "FUSE_OPEN",
		[FUSE_READ] = "FUSE_READ",
		[FUSE_WRITE] = "FUSE_WRITE",
		[FUSE_STATFS] = "FUSE_STATFS",
		[FUSE_RELEASE] = "FUSE_RELEASE",
		[FUSE_FSYNC] = "FUSE_FSYNC",
		[FUSE_SETXATTR] = "FUSE_SETXATTR",
		[FUSE_GETXATTR] = "FUSE_GETXATTR",
		[FUSE_LISTXATTR] = "FUSE_LISTXATTR",
		[FUSE_REMOVEXATTR] = "FUSE_REMOVEXATTR",
		[FUSE_FLUSH] = "FUSE_FLUSH",
		[FUSE_INIT] = "FUSE_INIT",
		[FUSE_READDIR] = "FUSE_READDIR",
		[FUSE_ACCESS] = "FUSE_ACCESS",
		[FUSE_CREATE] = "FUSE_CREATE",
		[FUSE_INTERRUPT] = "FUSE_INTERRUPT",
		[FUSE_IOCTL] = "FUSE_IOCTL",
		[FUSE_BATCH_FORGET] = "FUSE_BATCH_FORGET",
		[FUSE_FALLOCATE] = "FUSE_FALLOCATE",
		[FUSE_READDIRPLUS] = "FUSE_READDIRPLUS",
		[FUSE_RENAME2] = "FUSE_RENAME2",
		[FUSE_LSEEK] = "FUSE_LSEEK",
		[FUSE_COPY_FILE_RANGE] = "FUSE_COPY_FILE_RANGE",
	};

	return opcode < sizeof(names) / sizeof(names[0]) ? names[opcode] : NULL;
}

static void name_operation(char buf[NAME_LEN], const struct udax_ioc_event *e)
{
	const char *name = opcode_name(e->u.told.code);
	char text[24];

	if (!name) {
		snprintf(text, sizeof(text), "FUSE %u", e->u.told.code);
		name = text;
	}
	if (e->u.told.len)
		put_range(buf, name, e);
	else if (e->u.told.ino)
		snprintf(buf, NAME_LEN, "%s %" PRIu64, name, (uint64_t)e->u.told.ino);
	else
		snprintf(buf, NAME_LEN, "%s", name);
	if (e->u.told.code == FUSE_WRITE && e->u.told.who)
		strncat(buf, ", written back", NAME_LEN - strlen(buf) - 1);
}

static void name_lock(const struct drawing *d, char buf[NAME_LEN], const char *before,
		      const struct udax_ioc_event *e)
{
	const char *name = e->class < d->nclasses ? d->classes[e->class].name : "lock";

	/* Classes of which there is one for each mount, or any number without a name. */
	if (strcmp(name, "rename") == 0 || strcmp(name, "leaf") == 0)
		snprintf(buf, NAME_LEN, "%s%s", before, name);
	else
		snprintf(buf, NAME_LEN, "%s%s %" PRIu64, before, name, (uint64_t)e->u.lock.number);
}

static const char *site_name(const struct drawing *d, uint32_t site)
{
	return site && site <= d->nsites ? d->sites[site - 1] : "";
}

static void arg_site(struct drawing *d, const char *name, uint32_t site)
{
	const char *text = site_name(d, site);

	if (*text)
		trace_arg_text(&d->out, name, text);
}

/* ---- threads ---------------------------------------------------------------------------------------- */

static struct trace_track track_of(const struct thread *t)
{
	return (struct trace_track){ PID_DAEMON, t->tid };
}

static struct thread *thread_of(struct drawing *d, uint32_t tid)
{
	struct thread *t;

	for (unsigned i = 0; i < d->nthreads; i++)
		if (d->threads[i]->tid == tid)
			return d->threads[i];
	t = more(NULL, 1, sizeof(*t));
	memset(t, 0, sizeof(*t));
	t->tid = tid;
	d->threads = more(d->threads, d->nthreads + 1, sizeof(*d->threads));
	d->threads[d->nthreads++] = t;
	return t;
}

static void name_thread(struct drawing *d, const struct udax_ioc_event *e)
{
	struct thread *t = thread_of(d, e->thread);

	when(d, e);
	trace_name_thread(&d->out, track_of(t), e->u.text, d->nthreads);
}

static struct open *push(struct thread *t, const char *category, uint64_t key, uint64_t now,
			 const struct udax_ioc_event *e)
{
	struct open *o;

	if (t->depth == MAX_DEPTH) /* beginnings whose end never came */
		t->depth = 0;
	o = &t->stack[t->depth++];
	*o = (struct open){
		.category = category,
		.key = key,
		.begin_ns = now,
		.exclusive = e->exclusive,
		.site = e->kind < UDAX_EVENT_OPERATION ? e->u.lock.site : e->u.told.site,
	};
	return o;
}

static struct open *find(struct thread *t, const char *category, uint64_t key)
{
	for (unsigned i = t->depth; i-- > 0;)
		if (t->stack[i].key == key && t->stack[i].category == category)
			return &t->stack[i];
	return NULL;
}

/* Begin the event of a slice that ends now; its arguments follow. */
static void begin_slice(struct drawing *d, const struct thread *t, const struct open *o,
			uint64_t now)
{
	if (now < o->begin_ns)
		now = o->begin_ns;
	if (o->crossing)
		trace_async_begin(&d->out, track_of(t), o->name, o->category, d->next_id,
				  o->begin_ns);
	else
		trace_slice(&d->out, track_of(t), o->name, o->category, o->begin_ns, now);
}

static void end_slice(struct drawing *d, const struct thread *t, const struct open *o, uint64_t now)
{
	trace_done(&d->out);
	if (!o->crossing)
		return;
	trace_async_end(&d->out, track_of(t), o->name, o->category, d->next_id++,
			now < o->begin_ns ? o->begin_ns : now);
	trace_done(&d->out);
}

/* It ends now: it is taken out of the stack, and those above it cross it. */
static void take_out(struct thread *t, struct open *o)
{
	unsigned at = (unsigned)(o - t->stack);

	for (unsigned i = at + 1; i < t->depth; i++)
		t->stack[i].crossing = true;
	memmove(o, o + 1, (t->depth - at - 1) * sizeof(*o));
	t->depth--;
}

static void close_all(struct drawing *d)
{
	for (unsigned i = 0; i < d->nthreads; i++) {
		struct thread *t = d->threads[i];

		while (t->depth) {
			struct open *o = &t->stack[--t->depth];

			begin_slice(d, t, o, d->last_ns);
			if (strcmp(o->category, "lock") == 0)
				trace_arg_text(&d->out, "mode",
					       o->exclusive ? "exclusive" : "shared");
			arg_site(d, "source", o->site);
			trace_arg_bool(&d->out, "unfinished", true);
			end_slice(d, t, o, d->last_ns);
		}
	}
}

/* ---- locks ------------------------------------------------------------------------------------------ */

static const char lock_category[] = "lock", blocked_category[] = "blocked",
		  idle_category[] = "idle", operation_category[] = "operation",
		  kernel_category[] = "kernel", client_category[] = "client";

static void wait_begins(struct drawing *d, const struct udax_ioc_event *e)
{
	struct thread *t = thread_of(d, e->thread);
	bool idle = e->kind == UDAX_EVENT_SLEEPS && !t->depth;
	struct open *o =
		push(t, idle ? idle_category : blocked_category, e->u.lock.lock, when(d, e), e);

	if (idle)
		snprintf(o->name, sizeof(o->name), "idle");
	else if (e->kind == UDAX_EVENT_SLEEPS)
		snprintf(o->name, sizeof(o->name), "waits for a wake-up");
	else
		name_lock(d, o->name, "waits for ", e);
}

static void wait_ends(struct drawing *d, struct thread *t, const struct udax_ioc_event *e)
{
	struct open *found = find(t, blocked_category, e->u.lock.lock), o;
	uint64_t now = when(d, e);

	if (!found)
		found = find(t, idle_category, e->u.lock.lock);
	if (!found)
		return;
	o = *found;
	take_out(t, found);
	begin_slice(d, t, &o, now);
	arg_site(d, "source", o.site);
	trace_arg_bool(&d->out, "unfinished", false);
	end_slice(d, t, &o, now);
}

static void lock_taken(struct drawing *d, const struct udax_ioc_event *e)
{
	struct thread *t = thread_of(d, e->thread);

	wait_ends(d, t, e);
	name_lock(d, push(t, lock_category, e->u.lock.lock, when(d, e), e)->name, "", e);
}

static void lock_released(struct drawing *d, const struct udax_ioc_event *e)
{
	struct thread *t = thread_of(d, e->thread);
	struct open *found = find(t, lock_category, e->u.lock.lock), o;
	uint64_t now = when(d, e);

	if (found) {
		o = *found;
		take_out(t, found);
	} else {
		/* It was taken before the recording began, or where events are missing. */
		o = (struct open){ .category = lock_category,
				   .crossing = true,
				   .exclusive = e->exclusive };
		name_lock(d, o.name, "", e);
	}
	begin_slice(d, t, &o, now);
	trace_arg_text(&d->out, "mode", o.exclusive ? "exclusive" : "shared");
	arg_site(d, "source", o.site);
	arg_site(d, "released", e->u.lock.site);
	trace_arg_bool(&d->out, "unfinished", false);
	if (!found)
		trace_arg_bool(&d->out, "began_before", true);
	end_slice(d, t, &o, now);
}

/* ---- what a thread serves ----------------------------------------------------------------------------- */

static void arg_range(struct drawing *d, const struct udax_ioc_event *e)
{
	trace_arg_uint(&d->out, "ino", e->u.told.ino);
	if (!e->u.told.len)
		return;
	trace_arg_uint(&d->out, "pos_bytes", e->u.told.pos);
	if (e->u.told.len != UINT64_MAX)
		trace_arg_uint(&d->out, "len_bytes", e->u.told.len);
}

static void served(struct drawing *d, const struct udax_ioc_event *e, const char *category)
{
	struct thread *t = thread_of(d, e->thread);
	uint64_t now = when(d, e);
	struct open *found, o;

	if (e->step == UDAX_STEP_BEGIN) {
		found = push(t, category, e->kind, now, e);
		if (e->kind == UDAX_EVENT_OPERATION)
			name_operation(found->name, e);
		else if (e->kind == UDAX_EVENT_FAULT)
			put_range(found->name, e->u.told.code ? "write fault" : "fault", e);
		else
			put_range(found->name, "fill", e);
		return;
	}
	found = find(t, category, e->kind);
	if (!found)
		return;
	o = *found;
	take_out(t, found);
	begin_slice(d, t, &o, now);
	arg_range(d, e);
	if (e->kind != UDAX_EVENT_OPERATION)
		trace_arg_int(&d->out, "result", e->u.told.result);
	arg_site(d, "source", o.site);
	trace_arg_bool(&d->out, "unfinished", false);
	end_slice(d, t, &o, now);
}

/* ---- gates, recalls, clients --------------------------------------------------------------------------- */

static struct trace_track track_of_file(struct drawing *d, uint64_t ino)
{
	struct trace_track track = { PID_FILES, 0 };
	char name[32];

	for (size_t i = 0; i < d->nfiles; i++)
		if (d->files[i] == ino)
			return (struct trace_track){ PID_FILES, (unsigned)i + 1 };
	if (!d->nfiles)
		trace_name_process(&d->out, track, "files");
	d->files = more(d->files, d->nfiles + 1, sizeof(*d->files));
	d->files[d->nfiles++] = ino;
	track.tid = (unsigned)d->nfiles;
	snprintf(name, sizeof(name), "inode %" PRIu64, ino);
	trace_name_thread(&d->out, track, name, track.tid);
	return track;
}

static struct trace_track track_of_client(struct drawing *d, uint32_t who)
{
	struct trace_track track = { PID_CLIENTS, 1 };
	char name[32];

	for (size_t i = 0; i < d->nclients; i++)
		if (d->clients[i] == who)
			return (struct trace_track){ PID_CLIENTS + (unsigned)i, 1 };
	d->clients = more(d->clients, d->nclients + 1, sizeof(*d->clients));
	track.pid += (unsigned)d->nclients;
	d->clients[d->nclients++] = who;
	snprintf(name, sizeof(name), "client %u", who);
	trace_name_process(&d->out, track, name);
	trace_name_thread(&d->out, track, "its files", 1);
	return track;
}

static struct pending **find_pending(struct drawing *d, const struct udax_ioc_event *e)
{
	struct pending **link = &d->pending;

	for (; *link; link = &(*link)->next) {
		const struct pending *p = *link;

		if (p->kind != e->kind || p->ino != e->u.told.ino || p->who != e->u.told.who)
			continue;
		if (e->kind == UDAX_EVENT_RECALL && p->code == e->u.told.code)
			break;
		if (e->kind == UDAX_EVENT_FAULT && p->code == e->thread)
			break;
		if (e->kind == UDAX_EVENT_GATE && p->pos == e->u.told.pos &&
		    p->len == e->u.told.len)
			break;
	}
	return link;
}

static void begin_pending(struct drawing *d, const struct udax_ioc_event *e, const char *name,
			  struct trace_track track, const char *category)
{
	struct pending *p = more(NULL, 1, sizeof(*p));

	*p = (struct pending){
		.next = d->pending,
		.kind = e->kind,
		.track = track,
		.ino = e->u.told.ino,
		.pos = e->u.told.pos,
		.len = e->u.told.len,
		.id = d->next_id++,
		.who = e->u.told.who,
		.code = e->u.told.code,
	};
	snprintf(p->name, sizeof(p->name), "%s", name);
	d->pending = p;
	trace_async_begin(&d->out, track, name, category, p->id, when(d, e));
	arg_range(d, e);
	arg_site(d, "source", e->u.told.site);
	trace_done(&d->out);
}

static void end_pending(struct drawing *d, struct pending **link, const char *category,
			uint64_t now, bool unfinished)
{
	struct pending *p = *link;

	*link = p->next;
	trace_async_end(&d->out, p->track, p->name, category, p->id, now);
	trace_arg_bool(&d->out, "late", p->late);
	trace_arg_bool(&d->out, "unfinished", unfinished);
	trace_done(&d->out);
	free(p);
}

/* A step on the way of something, on the thread that makes it. */
static void instant(struct drawing *d, const struct udax_ioc_event *e, const char *name,
		    const char *category)
{
	trace_instant(&d->out, track_of(thread_of(d, e->thread)), name, category, when(d, e), 't');
	arg_range(d, e);
	if (e->u.told.result)
		trace_arg_int(&d->out, "result", e->u.told.result);
	arg_site(d, "source", e->u.told.site);
	trace_done(&d->out);
}

/* As its client sees it: the thread that serves it is the daemon's. */
static void fault(struct drawing *d, const struct udax_ioc_event *e)
{
	struct pending **link = find_pending(d, e);
	char name[NAME_LEN];

	served(d, e, client_category);
	if (e->step == UDAX_STEP_BEGIN) {
		put_range(name, e->u.told.code ? "write fault" : "fault", e);
		begin_pending(d, e, name, track_of_client(d, e->u.told.who), client_category);
		d->pending->code = e->thread;
	} else if (*link && e->step == UDAX_STEP_END) {
		end_pending(d, link, client_category, when(d, e), false);
	}
}

static void gate(struct drawing *d, const struct udax_ioc_event *e)
{
	static const char *const steps[] = {
		[UDAX_STEP_BEGIN] = "opens gate",
		[UDAX_STEP_END] = "ends gate",
		[UDAX_STEP_NOTIFY] = "notify: invalidates",
		[UDAX_STEP_CLOSING] = "closes gate",
		[UDAX_STEP_CLOSED] = "has closed gate",
		[UDAX_STEP_REOPENED] = "opens again gate",
	};
	struct pending **link = find_pending(d, e);
	char name[NAME_LEN];

	if (e->step >= sizeof(steps) / sizeof(steps[0]) || !steps[e->step])
		return;
	put_range(name, steps[e->step], e);
	instant(d, e, name, kernel_category);
	if (e->step == UDAX_STEP_BEGIN) {
		put_range(name, "gate", e);
		begin_pending(d, e, name, track_of_file(d, e->u.told.ino), kernel_category);
	} else if (e->step == UDAX_STEP_END && *link) {
		end_pending(d, link, kernel_category, when(d, e), false);
	}
}

static void recall(struct drawing *d, const struct udax_ioc_event *e)
{
	struct pending **link = find_pending(d, e);
	char range[NAME_LEN], name[NAME_LEN + 32];

	put_range(range, "recalls", e);
	if (e->step == UDAX_STEP_BEGIN) {
		snprintf(name, sizeof(name), "%s from client %u", range, e->u.told.who);
		instant(d, e, name, client_category);
		put_range(range, "recall of", e);
		begin_pending(d, e, range, track_of_client(d, e->u.told.who), client_category);
	} else if (*link && e->step == UDAX_STEP_LATE) {
		(*link)->late = true;
		snprintf(name, sizeof(name), "client %u is late", e->u.told.who);
		instant(d, e, name, client_category);
	} else if (*link && e->step == UDAX_STEP_END) {
		snprintf(name, sizeof(name), "client %u acknowledges", e->u.told.who);
		instant(d, e, name, client_category);
		end_pending(d, link, client_category, when(d, e), false);
	}
}

/* ---- all of it ---------------------------------------------------------------------------------------- */

static void learn_site(struct drawing *d, const struct udax_ioc_event *e)
{
	if (e->thread != d->nsites + 1)
		return; /* they come in order */
	d->sites = more(d->sites, d->nsites + 1, sizeof(d->sites[0]));
	memcpy(d->sites[d->nsites], e->u.text, UDAX_EVENT_TEXT);
	d->sites[d->nsites++][UDAX_EVENT_TEXT - 1] = '\0';
}

void drawing_add(struct drawing *d, const struct udax_ioc_event *e)
{
	switch (e->kind) {
	case UDAX_EVENT_THREAD:
		name_thread(d, e);
		break;
	case UDAX_EVENT_SITE:
		learn_site(d, e);
		break;
	case UDAX_EVENT_CONTENDED:
	case UDAX_EVENT_SLEEPS:
		wait_begins(d, e);
		break;
	case UDAX_EVENT_WOKEN:
		wait_ends(d, thread_of(d, e->thread), e);
		break;
	case UDAX_EVENT_ACQUIRED:
		lock_taken(d, e);
		break;
	case UDAX_EVENT_RELEASED:
		lock_released(d, e);
		break;
	case UDAX_EVENT_OPERATION:
		served(d, e, operation_category);
		break;
	case UDAX_EVENT_FAULT:
		fault(d, e);
		break;
	case UDAX_EVENT_FILL:
		served(d, e, kernel_category);
		break;
	case UDAX_EVENT_RECALL:
		recall(d, e);
		break;
	case UDAX_EVENT_GATE:
		gate(d, e);
		break;
	default:
		break; /* of a later version */
	}
}

void drawing_gap(struct drawing *d, uint64_t missing)
{
	char name[64];

	close_all(d);
	snprintf(name, sizeof(name), "%" PRIu64 " events are missing", missing);
	trace_instant(&d->out, (struct trace_track){ PID_DAEMON, 0 }, name, "missing", d->last_ns,
		      'g');
	trace_done(&d->out);
}

void drawing_finish(struct drawing *d)
{
	close_all(d);
	while (d->pending)
		end_pending(d, &d->pending,
			    d->pending->kind == UDAX_EVENT_GATE ? kernel_category : client_category,
			    d->last_ns, true);
}

void drawing_about(struct drawing *d, const char *name, const char *value)
{
	trace_about(&d->out, name, value);
}

int drawing_delete(struct drawing *d)
{
	int err = trace_end(&d->out);

	while (d->pending) {
		struct pending *p = d->pending;

		d->pending = p->next;
		free(p);
	}
	for (unsigned i = 0; i < d->nthreads; i++)
		free(d->threads[i]);
	free(d->threads);
	free(d->sites);
	free(d->files);
	free(d->clients);
	free(d);
	return err;
}
