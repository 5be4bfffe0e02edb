/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fuse_session.c - the connection to the kernel and the threads that serve it.
 *
 * One thread at a time *receives*; the others serve what they received, or are idle. That gives
 * messages an order (fuse_arrive.c), and it is fast: waking a thread on another CPU costs ten times
 * what a short request does, so a request is served where it was received, and nobody is woken
 * for it.
 *
 * Who receives is one word, `turn`. It is RECEIVING while somebody is in read(2) on the device,
 * otherwise the number of the message that the last receiver is serving. Any thread that has
 * nothing to do may take the turn by exchanging that number for RECEIVING; the last receiver
 * itself tries the same when it is done, so with one client nothing but that exchange happens
 * between two requests. An idle thread is woken in two cases only:
 *
 *   a backlog   several messages in a row were there already when asked for, and a CPU is free to
 *               serve another one. The woken thread takes the turn while this one serves.
 *   no progress a monitor that ticks while there is traffic sees the same message being served
 *               for a whole tick: it was not short. So a long request delays others by two ticks
 *               at most, whatever makes it long, and nobody has to guess beforehand.
 *
 * Why this cannot deadlock: no request served here waits for anything but locks of the core, whose
 * holders run and wait for no message (what would wait for one goes elsewhere: fuse_request.c). A
 * notify made by a pool thread waits for reads and writes of that file; these arrive because the
 * turn is always either with a thread in read(2), or free for the thread that serves the last
 * message, for any other that gets free, and for the one that the monitor wakes.
 *
 * Locks: serve->lock, a plain mutex over the idle threads, inside which nothing else is taken.
 */
#include "fuse_session.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <fuse3/fuse_lowlevel.h>

#include "fuse_arrive.h"
#include "fuse_device.h"
#include "fuse_ops.h"
#include "fuse_record.h"
#include "fuse_request.h"
#include "fuse_token.h"
#include "mem.h"

#define RECEIVING UINT64_C(0) /* of serve->turn */
#define DEFAULT_THREADS 10u
#define TICK_NS 4000000
#define QUIET_TICKS 50 /* without traffic, after which the monitor sleeps */
#define BACKLOG 4      /* messages in a row that had been waiting */
#define KICK_SIGNAL SIGUSR1

struct worker {
	struct session *s;
	struct worker *next_idle;
	struct sync_thread *thread;
	pthread_t self; /* under serve->lock, with `started` */
	bool started;
	pthread_cond_t wake;
	bool woken;
};

struct serve {
	atomic_ullong turn;
	atomic_bool ending;	 /* no more messages are taken */
	atomic_uint nserving;	 /* threads that serve a message now */
	atomic_ullong nmessages; /* written by the receiver */
	unsigned streak;	 /* of the receiver: messages in a row that had been waiting */
	struct device device;	 /* of the receiver */
	unsigned ncpus;

	pthread_mutex_t lock;
	struct worker *idle; /* last come, first woken: its caches are warm */
	pthread_cond_t tick;
	atomic_bool dozing; /* the monitor waits for traffic */

	struct sync_thread *monitor;
	struct worker *workers;
	unsigned nworkers;
	atomic_uint nrunning;
	int done_fd; /* readable when all workers have ended */
};

/* ---- the turn ----------------------------------------------------------------------------------- */

/* serve->lock held. */
static void wake_idle(struct serve *serve)
{
	struct worker *w = serve->idle;

	if (!w)
		return;
	serve->idle = w->next_idle;
	w->woken = true;
	pthread_cond_signal(&w->wake);
}

static void be_idle(struct serve *serve, struct worker *w)
{
	pthread_mutex_lock(&serve->lock);
	if (atomic_load(&serve->turn) == RECEIVING && !atomic_load(&serve->ending)) {
		w->woken = false;
		w->next_idle = serve->idle;
		serve->idle = w;
		while (!w->woken)
			pthread_cond_wait(&w->wake, &serve->lock);
	}
	pthread_mutex_unlock(&serve->lock);
}

/* Become the one who receives. False: the session ends. */
static bool take_turn(struct serve *serve, struct worker *w)
{
	while (!atomic_load(&serve->ending)) {
		unsigned long long turn = atomic_load(&serve->turn);

		if (turn == RECEIVING)
			be_idle(serve, w);
		else if (atomic_compare_exchange_weak(&serve->turn, &turn, RECEIVING))
			return true;
	}
	return false;
}

/* The message is in its place; whoever is free may receive the next one. Returns its number. */
static unsigned long long give_turn(struct serve *serve)
{
	bool crowded = serve->streak >= BACKLOG && atomic_load(&serve->nserving) < serve->ncpus;
	unsigned long long number = atomic_load(&serve->nmessages) + 1;

	if (crowded)
		serve->streak = 0;
	atomic_store(&serve->nmessages, number);
	atomic_store(&serve->turn, number);
	if (crowded || atomic_load(&serve->dozing)) {
		pthread_mutex_lock(&serve->lock);
		if (crowded)
			wake_idle(serve);
		pthread_cond_broadcast(&serve->tick);
		pthread_mutex_unlock(&serve->lock);
	}
	return number;
}

static void end_serving(struct serve *serve)
{
	atomic_store(&serve->ending, true);
	pthread_mutex_lock(&serve->lock);
	while (serve->idle)
		wake_idle(serve);
	pthread_cond_broadcast(&serve->tick);
	pthread_mutex_unlock(&serve->lock);
}

/* ---- the threads -------------------------------------------------------------------------------- */

/* One message into @rq. False: none came; the session may have ended. */
static bool receive(struct session *s, struct request *rq)
{
	struct serve *serve = s->serve;
	int n = fuse_session_receive_buf(s->se, &rq->buf);

	if (n <= 0) {
		if (fuse_session_exited(s->se) || (n != -EINTR && n != -EAGAIN))
			end_serving(serve);
		return false;
	}
	serve->streak = serve->device.was_there ? serve->streak + 1 : 0;
	request_arrived(rq);
	return true;
}

/* Receive and serve one message. Returns the request to go on with; NULL: it went elsewhere. */
static struct request *serve_one(struct session *s, struct request *rq)
{
	struct serve *serve = s->serve;
	bool first;

	if (!receive(s, rq)) {
		atomic_store(&serve->turn, atomic_load(&serve->nmessages) + 1);
		return rq;
	}
	atomic_fetch_add(&serve->nserving, 1);
	first = give_turn(serve) == 1;
	rq = request_process(rq);
	if (first && rq) {
		/* INIT has settled how large messages can be: make the buffer anew. */
		free(rq->buf.mem);
		rq->buf.mem = NULL;
	}
	atomic_fetch_sub(&serve->nserving, 1);
	return rq;
}

static void worker_introduce(struct worker *w)
{
	sigset_t kick;

	pthread_mutex_lock(&w->s->serve->lock);
	w->self = pthread_self();
	w->started = true;
	pthread_mutex_unlock(&w->s->serve->lock);
	sigemptyset(&kick);
	sigaddset(&kick, KICK_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
}

static void worker(void *arg)
{
	const struct timespec a_while = { .tv_nsec = 1000000 };
	struct worker *w = arg;
	struct serve *serve = w->s->serve;
	struct request *rq = NULL;

	worker_introduce(w);
	for (;;) {
		while (!rq && !(rq = request_new(w->s)))
			nanosleep(&a_while, NULL); /* nothing can be received without memory */
		if (!take_turn(serve, w))
			break;
		rq = serve_one(w->s, rq);
	}
	request_free(rq);
	if (atomic_fetch_sub(&serve->nrunning, 1) == 1)
		eventfd_write(serve->done_fd, 1);
}

static struct timespec tick_end(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += TICK_NS;
	if (t.tv_nsec >= 1000000000) {
		t.tv_nsec -= 1000000000;
		t.tv_sec++;
	}
	return t;
}

/* See that no message is served for long without another thread receiving. */
static void monitor(void *arg)
{
	struct serve *serve = ((struct session *)arg)->serve;
	unsigned long long last_turn = RECEIVING, last_messages = 0;
	unsigned quiet = 0;

	pthread_mutex_lock(&serve->lock);
	while (!atomic_load(&serve->ending)) {
		unsigned long long turn = atomic_load(&serve->turn);
		unsigned long long messages = atomic_load(&serve->nmessages);
		struct timespec end = tick_end();

		if (turn != RECEIVING && turn == last_turn)
			wake_idle(serve);
		quiet = turn == RECEIVING && messages == last_messages ? quiet + 1 : 0;
		last_turn = turn;
		last_messages = messages;
		if (quiet < QUIET_TICKS) {
			pthread_cond_timedwait(&serve->tick, &serve->lock, &end);
			continue;
		}
		quiet = 0;
		atomic_store(&serve->dozing, true);
		if (atomic_load(&serve->nmessages) == messages && !atomic_load(&serve->ending))
			pthread_cond_wait(&serve->tick, &serve->lock);
		atomic_store(&serve->dozing, false);
	}
	pthread_mutex_unlock(&serve->lock);
}

/* ---- starting and ending ------------------------------------------------------------------------ */

static void on_kick(int sig)
{
	(void)sig; /* its purpose is that read(2) returns EINTR */
}

static void kick_workers(struct serve *serve)
{
	pthread_mutex_lock(&serve->lock);
	for (unsigned i = 0; i < serve->nworkers; i++)
		if (serve->workers[i].started)
			pthread_kill(serve->workers[i].self, KICK_SIGNAL);
	pthread_mutex_unlock(&serve->lock);
}

void session_stop(struct session *s)
{
	end_serving(s->serve);
}

static void init_cond(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

static unsigned usable_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set))
		return 1;
	return (unsigned)CPU_COUNT(&set);
}

static int serve_new(struct session *s)
{
	struct serve *serve = calloc(1, sizeof(*serve));
	unsigned n = s->opt.max_threads ? s->opt.max_threads : DEFAULT_THREADS;

	if (!serve)
		return -ENOMEM;
	s->serve = serve;
	atomic_store(&serve->turn, 1); /* nobody receives */
	serve->ncpus = usable_cpus();
	device_init(&serve->device, s->sync, s->opt.spin_us);
	pthread_mutex_init(&serve->lock, NULL);
	init_cond(&serve->tick);
	serve->done_fd = eventfd(0, EFD_CLOEXEC);
	serve->workers = calloc(n, sizeof(*serve->workers));
	if (!serve->workers || serve->done_fd < 0)
		return -ENOMEM;
	serve->nworkers = n;
	for (unsigned i = 0; i < n; i++) {
		serve->workers[i].s = s;
		init_cond(&serve->workers[i].wake);
	}
	return 0;
}

static int start_threads(struct session *s)
{
	struct sigaction kick = { .sa_handler = on_kick };
	struct serve *serve = s->serve;
	int err = requests_start(s);

	sigemptyset(&kick.sa_mask);
	sigaction(KICK_SIGNAL, &kick, NULL);
	if (!err)
		err = sync_thread_start(s->sync, "udaxfs-monitor", monitor, s, &serve->monitor);
	for (unsigned i = 0; !err && i < serve->nworkers; i++) {
		atomic_fetch_add(&serve->nrunning, 1);
		err = sync_thread_start(s->sync, "udaxfs-serve", worker, &serve->workers[i],
					&serve->workers[i].thread);
		if (err)
			atomic_fetch_sub(&serve->nrunning, 1);
	}
	return err;
}

static int join_threads(struct session *s)
{
	struct serve *serve = s->serve;

	for (unsigned i = 0; i < serve->nworkers; i++)
		if (serve->workers[i].thread)
			sync_thread_join(serve->workers[i].thread);
	if (serve->monitor)
		sync_thread_join(serve->monitor);
	return requests_drain(s);
}

int session_run(struct session *s, int wake_fd, void (*idle)(void *arg), void *arg)
{
	struct serve *serve = s->serve;
	struct pollfd fds[2] = { { .fd = serve->done_fd, .events = POLLIN },
				 { .fd = wake_fd, .events = POLLIN } };
	int err = start_threads(s), drained;

	if (err)
		end_serving(serve);
	while (atomic_load(&serve->nrunning)) {
		bool ending = atomic_load(&serve->ending);

		/* A signal may come just before read(2) is entered: send it until it is heard. */
		if (ending)
			kick_workers(serve);
		poll(fds, 2, ending ? 10 : 1000);
		idle(arg);
	}
	drained = join_threads(s);
	return err ? err : drained;
}

/* ---- the session -------------------------------------------------------------------------------- */

static void notify(void *ctx, uint64_t ino, uint64_t pos, uint64_t len)
{
	struct session *s = ctx;
	bool to_end = !len || len > INT64_MAX || pos > INT64_MAX - len;

	fuse_lowlevel_notify_inval_inode(s->se, ino, (off_t)pos, to_end ? 0 : (off_t)len);
}

static void attr_changed(void *ctx, uint64_t ino)
{
	struct session *s = ctx;

	fuse_lowlevel_notify_inval_inode(s->se, ino, -1, 0);
}

static void resume(void *ctx, struct waiter *waiter, uint64_t delay_ns)
{
	requests_resume(ctx, waiter, delay_ns);
}

const struct holder_ops session_holder_ops = {
	.notify = notify,
	.attr_changed = attr_changed,
	.resume = resume,
};

int session_new(struct sync *sync, struct fuse_args *args, const struct session_options *opt,
		struct session **ret_session)
{
	struct session *s = calloc(1, sizeof(*s));
	int err = -ENOMEM;

	if (!s)
		return -ENOMEM;
	s->sync = sync;
	s->opt = *opt;
	s->tokens = tokens_new(sync, mem_heap());
	s->recorder = recorder_new(sync);
	if (!s->tokens || !s->recorder)
		goto fail;
	err = requests_new(s);
	if (!err)
		err = serve_new(s);
	if (err)
		goto fail;
	s->se = fuse_session_new(args, &fuse_operations, sizeof(fuse_operations), s);
	if (!s->se) {
		err = -EINVAL;
		goto fail;
	}
	*ret_session = s;
	return 0;
fail:
	session_delete(s);
	return err;
}

static void serve_delete(struct serve *serve)
{
	if (!serve)
		return;
	for (unsigned i = 0; i < serve->nworkers; i++)
		pthread_cond_destroy(&serve->workers[i].wake);
	free(serve->workers);
	if (serve->done_fd >= 0)
		close(serve->done_fd);
	pthread_cond_destroy(&serve->tick);
	pthread_mutex_destroy(&serve->lock);
	free(serve);
}

void session_delete(struct session *s)
{
	if (s->se)
		fuse_session_destroy(s->se);
	serve_delete(s->serve);
	requests_delete(s);
	tokens_delete(s->tokens);
	recorder_delete(s->recorder);
	free(s);
}

static ssize_t session_read(int fd, void *buf, size_t len, void *userdata)
{
	struct session *s = userdata;

	return device_read(&s->serve->device, fd, buf, len);
}

int session_mount(struct session *s, const char *mountpoint)
{
	static const struct fuse_custom_io io = { .writev = session_writev, .read = session_read };

	if (fuse_session_mount(s->se, mountpoint))
		return -EIO;
	return fuse_session_custom_io(s->se, &io, fuse_session_fd(s->se)) ? -EIO : 0;
}

void session_unmount(struct session *s)
{
	fuse_session_unmount(s->se);
}
