/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fuse_request.c - requests that do not end where they arrived.
 *
 * A thread that receives requests never waits for a gate, a notify or a recall: what it would wait
 * for may need the very next request. So a handler's function returns instead:
 *
 *   PARKED      the core keeps the waiter in the request, and resumes it once (holder_ops.resume).
 *               It then goes into a list by time, and one thread, the resumer, runs it again.
 *   NEEDS_POOL  the operation has to wait by itself. One of a few pool threads runs it with
 *               may_wait set. They hold nothing and serve nobody, so there notify is legal. What a
 *               pool thread waits for is never a job in the same queue: a gate belongs to somebody
 *               who runs, a notify waits for reads and writes, which the receiving threads serve.
 *
 * From the moment a function returned PARKED, the request may be running in another thread, or be
 * freed: nobody touches it any more. That is why the receiving thread finds its request through
 * `current`, which is cleared without looking at the request.
 *
 * Locks: requests->lock (LOCK_LEAF) over the lists. Resuming takes nothing else, so the core may do
 * it with locks held.
 */
#include "fuse_request.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "fuse_arrive.h"
#include "inode.h"
#include "udax/policy.h"
#include "volume.h"

#define POOL_THREADS 4
#define MAX_SPARE 32
#define DRAIN_NS UINT64_C(30000000000)

struct requests {
	struct sync_mutex lock;
	struct sync_cond resumed_changed, jobs_changed;
	struct request *resumed; /* by due_ns */
	struct request *jobs, *last_job;
	struct request *spare;
	unsigned nspare;
	bool ending;
	atomic_long ndetached; /* left the thread that received them, and have not ended */
	struct sync_thread *resumer, *pool[POOL_THREADS];
};

/* The request that this thread received and still owns. */
static _Thread_local struct request *current;

/* ---- objects ----------------------------------------------------------------------------------- */

struct request *request_new(struct session *s)
{
	struct requests *rs = s->requests;
	struct request *rq;

	sync_lock(&rs->lock, 0, HERE);
	rq = rs->spare;
	if (rq) {
		rs->spare = rq->next;
		rs->nspare--;
	}
	sync_unlock(&rs->lock, HERE);
	if (rq)
		return rq;
	rq = calloc(1, sizeof(*rq));
	if (rq)
		rq->s = s;
	return rq;
}

static void request_delete(struct request *rq)
{
	free(rq->buf.mem);
	free(rq);
}

void request_free(struct request *rq)
{
	struct requests *rs = rq->s->requests;
	bool keep;

	sync_lock(&rs->lock, 0, HERE);
	keep = rs->nspare < MAX_SPARE;
	if (keep) {
		rq->next = rs->spare;
		rs->spare = rq;
		rs->nspare++;
	}
	sync_unlock(&rs->lock, HERE);
	if (!keep)
		request_delete(rq);
}

/* The message was dealt with: let go of what it used. */
static void request_clear(struct request *rq)
{
	/* Announced on arrival, but libfuse never called the handler. */
	if (rq->a.announced)
		gate_leave(rq->a.handle->inode, &rq->a.adm, -EIO);
	if (rq->a.inode)
		inode_put(rq->a.inode);
	if (rq->a.handle)
		handle_put(rq->a.handle);
	rq->a = (struct arrived){ 0 };
}

void handle_put(struct handle *handle)
{
	if (atomic_fetch_sub_explicit(&handle->users, 1, memory_order_acq_rel) > 1)
		return;
	inode_put(handle->inode);
	free(handle);
}

/* ---- what handlers use -------------------------------------------------------------------------- */

struct request *request_current(fuse_req_t req)
{
	current->a.req = req;
	return current;
}

int request_inode(fuse_req_t req, fuse_ino_t ino, struct inode **ret_inode)
{
	return inode_get(session_of(req)->vol, ino, ret_inode);
}

void request_reply_err(fuse_req_t req, int err)
{
	fuse_reply_err(req, -err);
}

bool request_is_privileged(fuse_req_t req)
{
	return fuse_req_ctx(req)->uid == 0;
}

bool request_kills_priv(const struct request *rq)
{
	return rq->s->agreed.killpriv ? rq->a.kill_priv : !request_is_privileged(rq->a.req);
}

/* ---- running ------------------------------------------------------------------------------------ */

static void pool_push(struct requests *rs, struct request *rq)
{
	rq->next = NULL;
	sync_lock(&rs->lock, 0, HERE);
	if (rs->jobs)
		rs->last_job->next = rq;
	else
		rs->jobs = rq;
	rs->last_job = rq;
	sync_wake(&rs->jobs_changed);
	sync_unlock(&rs->lock, HERE);
}

/*
 * For whoever watches: @rq is served by this thread, from SYNC_BEGIN to SYNC_END. Afterwards it may be another
 * thread's, or freed: so what is told then is kept by the caller.
 */
static void tell_begin(const struct request *rq, struct sync_told *ret_told)
{
	if (!sync_recording(rq->s->sync)) {
		ret_told->code = 0; /* of no request */
		return;
	}
	request_told(rq, ret_told);
	sync_tell(rq->s->sync, ret_told, NULL);
}

static void tell_end(struct session *s, struct sync_told *told)
{
	if (!told->code)
		return;
	told->step = SYNC_END;
	sync_tell(s->sync, told, NULL);
}

static void request_run(struct request *rq)
{
	struct requests *rs = rq->s->requests;
	enum outcome outcome = rq->a.run(rq);

	if (outcome == REPLIED) {
		if (rq == current)
			return; /* request_process() goes on with it */
		request_clear(rq);
		request_free(rq);
		atomic_fetch_sub(&rs->ndetached, 1);
		return;
	}
	if (rq == current) {
		current = NULL;
		atomic_fetch_add(&rs->ndetached, 1);
	}
	if (outcome == NEEDS_POOL)
		pool_push(rs, rq);
}

/* In another thread than that which received it. */
static void request_run_again(struct request *rq)
{
	struct session *s = rq->s;
	struct sync_told told;

	tell_begin(rq, &told);
	request_run(rq);
	tell_end(s, &told);
}

void request_start(struct request *rq, enum outcome (*run)(struct request *rq))
{
	rq->a.run = run;
	request_run(rq);
}

struct request *request_process(struct request *rq)
{
	struct session *s = rq->s;
	struct sync_told told;

	tell_begin(rq, &told);
	current = rq;
	fuse_session_process_buf(s->se, &rq->buf);
	rq = current;
	current = NULL;
	tell_end(s, &told);
	if (rq)
		request_clear(rq);
	return rq;
}

/* ---- the resumer -------------------------------------------------------------------------------- */

void requests_resume(struct session *s, struct waiter *waiter, uint64_t delay_ns)
{
	struct request *rq = (struct request *)((char *)waiter - offsetof(struct request, waiter));
	struct requests *rs = s->requests;
	struct request **link = &rs->resumed;

	rq->due_ns = delay_ns ? sync_now_ns(s->sync) + delay_ns : 0;
	sync_lock(&rs->lock, 0, HERE);
	while (*link && (*link)->due_ns <= rq->due_ns)
		link = &(*link)->next;
	rq->next = *link;
	*link = rq;
	if (rs->resumed == rq)
		sync_wake(&rs->resumed_changed);
	sync_unlock(&rs->lock, HERE);
}

/* The next request that is due, or NULL when the session ends. rs->lock held. */
static struct request *next_resumed(struct session *s, struct requests *rs)
{
	for (;;) {
		struct request *rq = rs->resumed;

		if (rq && rq->due_ns <= sync_now_ns(s->sync)) {
			rs->resumed = rq->next;
			return rq;
		}
		if (rq)
			sync_wait_until(&rs->resumed_changed, &rs->lock, rq->due_ns, HERE);
		else if (rs->ending)
			return NULL;
		else
			sync_wait(&rs->resumed_changed, &rs->lock, HERE);
	}
}

static void resumer(void *arg)
{
	struct session *s = arg;
	struct requests *rs = s->requests;
	struct request *rq;

	do {
		sync_lock(&rs->lock, 0, HERE);
		rq = next_resumed(s, rs);
		sync_unlock(&rs->lock, HERE);
		if (rq) {
			rq->a.may_wait = false; /* not here, whatever thread it comes from */
			request_run_again(rq);
		}
	} while (rq);
}

/* ---- the pool ----------------------------------------------------------------------------------- */

static struct request *next_job(struct requests *rs)
{
	struct request *rq;

	sync_lock(&rs->lock, 0, HERE);
	while (!rs->jobs && !rs->ending)
		sync_wait(&rs->jobs_changed, &rs->lock, HERE);
	rq = rs->jobs;
	if (rq)
		rs->jobs = rq->next;
	sync_unlock(&rs->lock, HERE);
	return rq;
}

static void pool_thread(void *arg)
{
	struct requests *rs = arg;
	struct request *rq;

	while ((rq = next_job(rs))) {
		rq->a.may_wait = true;
		request_run_again(rq);
	}
}

/* ---- beginning and end --------------------------------------------------------------------------- */

int requests_new(struct session *s)
{
	struct requests *rs = calloc(1, sizeof(*rs));

	if (!rs)
		return -ENOMEM;
	sync_mutex_init(s->sync, &rs->lock, LOCK_LEAF);
	sync_cond_init(s->sync, &rs->resumed_changed);
	sync_cond_init(s->sync, &rs->jobs_changed);
	s->requests = rs;
	return 0;
}

int requests_start(struct session *s)
{
	struct requests *rs = s->requests;
	int err = sync_thread_start(s->sync, "udaxfs-resume", resumer, s, &rs->resumer);

	for (int i = 0; !err && i < POOL_THREADS; i++)
		err = sync_thread_start(s->sync, "udaxfs-layout", pool_thread, rs, &rs->pool[i]);
	return err;
}

static void join(struct sync_thread **thread)
{
	if (*thread)
		sync_thread_join(*thread);
	*thread = NULL;
}

int requests_drain(struct session *s)
{
	const struct timespec tick = { .tv_nsec = 1000000 };
	struct requests *rs = s->requests;
	uint64_t deadline = sync_now_ns(s->sync) + DRAIN_NS;

	while (atomic_load(&rs->ndetached)) {
		if (sync_now_ns(s->sync) > deadline)
			return -ETIMEDOUT;
		nanosleep(&tick, NULL);
	}
	sync_lock(&rs->lock, 0, HERE);
	rs->ending = true;
	sync_wake(&rs->resumed_changed);
	sync_wake(&rs->jobs_changed);
	sync_unlock(&rs->lock, HERE);
	join(&rs->resumer);
	for (int i = 0; i < POOL_THREADS; i++)
		join(&rs->pool[i]);
	return 0;
}

void requests_delete(struct session *s)
{
	struct requests *rs = s->requests;

	if (!rs)
		return;
	while (rs->spare) {
		struct request *rq = rs->spare;

		rs->spare = rq->next;
		request_delete(rq);
	}
	sync_cond_destroy(&rs->resumed_changed);
	sync_cond_destroy(&rs->jobs_changed);
	sync_mutex_destroy(&rs->lock);
	free(rs);
	s->requests = NULL;
}

unsigned long requests_stat(struct session *s)
{
	return (unsigned long)atomic_load(&s->requests->ndetached);
}
