/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * sync_pthread.c - sync.h over POSIX threads.
 *
 * What a lock remembers beside the pthread object: its environment, its class, and its exclusive
 * owner. The owner is the address of the owning thread's `self`, stored after the lock is taken
 * and cleared before it is released, so a thread that reads its own address there does hold the
 * lock, whatever other threads do meanwhile. That makes "not yours to unlock" and "you hold this
 * already" certain, and both abort: going on would corrupt the lock or wait for ever.
 *
 * What a thread remembers: how many locks it holds, how many of them shared, and, while somebody
 * watches, the locks themselves. This is the one file with thread-local state; it stands behind
 * the seam, where the lab has its own threads and its own way to know which one runs.
 *
 * Cost: with lockdep, statistics and recording off an operation is the pthread call (a try, which succeeds
 * unless somebody has to wait), one branch on sync->watch, which no cache line but a clean shared one
 * is read for, a store into a line that the lock has just brought in, and the nops of the probes.
 * Everything else is kept out of line. All who watch share these hooks: watch_before(), watch_after(),
 * watch_release() and what surrounds a wait.
 *
 * Statistics: a thread adds into one of several shards with relaxed atomics, so that counting
 * does not itself become the contention that is counted. A hold is timed only if it began after
 * statistics were last enabled (epoch_ns): an older timestamp is a leftover of a lock that was
 * released while nobody watched.
 *
 * A recording is a ring (events.h) that sync->events points to. It may be freed when it is unlinked and
 * nobody is putting; so who puts counts himself before he looks, and who frees unlinks before he looks
 * at that count, both in one order for all (seq_cst).
 */
#include "sync.h"

#include "events.h"
#include "lockdep.h"
#include "probes.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define unlikely(x) __builtin_expect(!!(x), 0)
#define cold __attribute__((noinline, cold))

#define NSEC_PER_SEC 1000000000ull

#define WATCH_LOCKDEP 1u
#define WATCH_STAT 2u
#define WATCH_EVENTS 4u

#define NR_SHARDS 16

/*
 * One class in one mode in one shard: two cache lines of its own. The minima are UINT64_MAX until there is a
 * first value.
 */
struct shard_class {
	alignas(64) _Atomic uint64_t con_bounces, contentions;
	_Atomic uint64_t wait_min_ns, wait_max_ns, wait_total_ns;
	_Atomic uint64_t acq_bounces, acquisitions;
	_Atomic uint64_t hold_min_ns, hold_max_ns, hold_total_ns;
};

struct site_count {
	_Atomic(const struct sync_site *) site;
	_Atomic uint64_t count;
};

struct sync {
	alignas(64) atomic_uint watch; /* WATCH_ bits; read by every operation, hardly written */
	struct lockdep *lockdep;
	_Atomic uint64_t epoch_ns;
	struct shard_class shards[NR_SHARDS][LOCK_NR_CLASSES][2]; /* by enum sync_mode */
	struct site_count waiters[LOCK_NR_CLASSES][SYNC_NR_CONTENTION_SITES];
	struct site_count holders[LOCK_NR_CLASSES][SYNC_NR_CONTENTION_SITES];

	_Atomic(struct events *) events; /* NULL: nothing is recorded */
	atomic_uint putting;		 /* threads that may be using it */
	_Atomic uint64_t recording;	 /* this recording, or the last one: when it began */
	_Atomic uint64_t taken_ns;	 /* when something was last taken from it */
};

/* When a watched thread took a lock. */
struct timed_hold {
	const void *lock;
	uint64_t since_ns;
};

struct self {
	unsigned nr_held;
	unsigned nr_shared;
	uint64_t recording; /* in which its name was put last */
	pid_t tid;	    /* 0: not asked yet */
	struct lockdep_task task;
	int nr_timed;
	struct timed_hold timed[LOCKDEP_MAX_HELD];
};

static _Thread_local struct self self;

/* The common head of both kinds of locks. */
struct base {
	struct sync *sync;
	_Atomic(struct self *) owner; /* exclusive */
	enum lock_class class;
	atomic_int last_cpu;			     /* of the last taker, and where it took it; */
	_Atomic(const struct sync_site *) last_site; /* written while statistics are taken */
	uint64_t number;
};

struct mutex {
	struct base base;
	pthread_mutex_t lock;
};

struct rwlock {
	struct base base;
	pthread_rwlock_t lock;
};

struct cond {
	pthread_cond_t cond;
};

_Static_assert(sizeof(struct mutex) <= sizeof(struct sync_mutex), "sync_mutex is too small");
_Static_assert(sizeof(struct rwlock) <= sizeof(struct sync_rwlock), "sync_rwlock is too small");
_Static_assert(sizeof(struct cond) <= sizeof(struct sync_cond), "sync_cond is too small");

static struct mutex *mutex_of(const struct sync_mutex *m)
{
	return (struct mutex *)m->opaque;
}

static struct rwlock *rwlock_of(const struct sync_rwlock *rw)
{
	return (struct rwlock *)rw->opaque;
}

static struct cond *cond_of(struct sync_cond *c)
{
	return (struct cond *)c->opaque;
}

static void must(int err)
{
	assert(err == 0);
}

cold static _Noreturn void die(const struct base *base, const struct sync_site *site,
			       const char *what)
{
	fprintf(stderr, "udaxfs: BUG: %s: %s", lock_class_name(base->class), what);
	if (site)
		fprintf(stderr, ", at %s:%d", site->file, site->line);
	fputc('\n', stderr);
	abort();
}

/* Clock and randomness. */

uint64_t sync_now_ns(struct sync *sync)
{
	struct timespec ts;

	(void)sync;
	must(clock_gettime(CLOCK_MONOTONIC, &ts));
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

struct timespec sync_realtime(struct sync *sync)
{
	struct timespec ts;

	(void)sync;
	must(clock_gettime(CLOCK_REALTIME, &ts));
	return ts;
}

void sync_random(struct sync *sync, void *buf, size_t len)
{
	char *next = buf;

	(void)sync;
	while (len > 0) {
		ssize_t n = getrandom(next, len, 0);

		if (n < 0) {
			/* The kernels that we run on have the call; only a signal stops it. */
			assert(errno == EINTR);
			continue;
		}
		next += n;
		len -= (size_t)n;
	}
}

/* Statistics. */

static void raise_max(_Atomic uint64_t *max, uint64_t value)
{
	uint64_t old = atomic_load_explicit(max, memory_order_relaxed);

	while (value > old && !atomic_compare_exchange_weak_explicit(
				      max, &old, value, memory_order_relaxed, memory_order_relaxed))
		;
}

static void lower_min(_Atomic uint64_t *min, uint64_t value)
{
	uint64_t old = atomic_load_explicit(min, memory_order_relaxed);

	while (value < old && !atomic_compare_exchange_weak_explicit(
				      min, &old, value, memory_order_relaxed, memory_order_relaxed))
		;
}

static void add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* Threads lie far apart in memory: the address of `self` spreads them over the shards. */
static struct shard_class *shard_of(const struct base *base, enum sync_mode mode)
{
	uint64_t hash = ((uintptr_t)&self >> 12) * 0x9e3779b97f4a7c15ull;

	return &base->sync->shards[hash >> 60][base->class][mode];
}

static void count_site(struct site_count *sites, const struct sync_site *site)
{
	for (int i = 0; i < SYNC_NR_CONTENTION_SITES; i++) {
		const struct sync_site *old = NULL;

		if (atomic_compare_exchange_strong(&sites[i].site, &old, site) || old == site) {
			add(&sites[i].count, 1);
			return;
		}
	}
}

/* Somebody begins to wait; last_cpu and last_site are still those of who has it. */
static void stat_contended(const struct base *base, enum sync_mode mode,
			   const struct sync_site *site)
{
	struct shard_class *s = shard_of(base, mode);
	const struct sync_site *holder =
		atomic_load_explicit(&base->last_site, memory_order_relaxed);

	add(&s->contentions, 1);
	if (atomic_load_explicit(&base->last_cpu, memory_order_relaxed) != sched_getcpu())
		add(&s->con_bounces, 1);
	count_site(base->sync->waiters[base->class], site);
	if (holder)
		count_site(base->sync->holders[base->class], holder);
}

static void stat_waited(const struct base *base, enum sync_mode mode, uint64_t waited_ns)
{
	struct shard_class *s = shard_of(base, mode);

	add(&s->wait_total_ns, waited_ns);
	lower_min(&s->wait_min_ns, waited_ns);
	raise_max(&s->wait_max_ns, waited_ns);
}

static void stat_acquired(struct base *base, enum sync_mode mode, uint64_t now_ns,
			  const struct sync_site *site)
{
	struct shard_class *s = shard_of(base, mode);
	int cpu = sched_getcpu();

	add(&s->acquisitions, 1);
	if (atomic_load_explicit(&base->last_cpu, memory_order_relaxed) != cpu) {
		/* A lock that nobody took while statistics were taken was nowhere. */
		if (atomic_load_explicit(&base->last_site, memory_order_relaxed))
			add(&s->acq_bounces, 1);
		atomic_store_explicit(&base->last_cpu, cpu, memory_order_relaxed);
	}
	atomic_store_explicit(&base->last_site, site, memory_order_relaxed);

	/* Full of leftovers of locks that were released unwatched: start afresh. */
	if (self.nr_timed == LOCKDEP_MAX_HELD)
		self.nr_timed = 0;
	self.timed[self.nr_timed++] = (struct timed_hold){ base, now_ns };
}

static void stat_held(const struct base *base, enum sync_mode mode, uint64_t held_ns)
{
	struct shard_class *s = shard_of(base, mode);

	add(&s->hold_total_ns, held_ns);
	lower_min(&s->hold_min_ns, held_ns);
	raise_max(&s->hold_max_ns, held_ns);
}

static void stat_released(const struct base *base, enum sync_mode mode)
{
	uint64_t epoch_ns = atomic_load(&base->sync->epoch_ns);

	for (int i = self.nr_timed - 1; i >= 0; i--) {
		uint64_t since_ns = self.timed[i].since_ns;

		if (self.timed[i].lock != base)
			continue;
		self.nr_timed--;
		memmove(&self.timed[i], &self.timed[i + 1],
			(size_t)(self.nr_timed - i) * sizeof(self.timed[0]));
		if (since_ns >= epoch_ns)
			stat_held(base, mode, sync_now_ns(base->sync) - since_ns);
		return;
	}
}

void sync_stat_enable(struct sync *sync, bool on)
{
	if (!on) {
		atomic_fetch_and(&sync->watch, ~WATCH_STAT);
		return;
	}
	atomic_store(&sync->epoch_ns, sync_now_ns(sync));
	atomic_fetch_or(&sync->watch, WATCH_STAT);
}

bool sync_stat_enabled(const struct sync *sync)
{
	return atomic_load_explicit(&sync->watch, memory_order_relaxed) & WATCH_STAT;
}

static void stat_clear_class(struct shard_class *s)
{
	s->con_bounces = 0;
	s->contentions = 0;
	s->wait_min_ns = UINT64_MAX;
	s->wait_max_ns = 0;
	s->wait_total_ns = 0;
	s->acq_bounces = 0;
	s->acquisitions = 0;
	s->hold_min_ns = UINT64_MAX;
	s->hold_max_ns = 0;
	s->hold_total_ns = 0;
}

static void stat_clear_sites(struct site_count *sites)
{
	for (int i = 0; i < SYNC_NR_CONTENTION_SITES; i++) {
		sites[i].count = 0;
		sites[i].site = NULL;
	}
}

static void stat_clear(struct sync *sync)
{
	for (int c = 0; c < LOCK_NR_CLASSES; c++) {
		for (int i = 0; i < NR_SHARDS; i++) {
			stat_clear_class(&sync->shards[i][c][SYNC_SHARED]);
			stat_clear_class(&sync->shards[i][c][SYNC_EXCL]);
		}
		stat_clear_sites(sync->waiters[c]);
		stat_clear_sites(sync->holders[c]);
	}
}

void sync_stat_reset(struct sync *sync)
{
	/* Holds that began before do not count: see stat_released(). */
	atomic_store(&sync->epoch_ns, sync_now_ns(sync));
	stat_clear(sync);
}

static void stat_add_shard(const struct shard_class *s, struct sync_mode_stat *sum)
{
	uint64_t wait_min_ns = s->wait_min_ns, hold_min_ns = s->hold_min_ns;
	uint64_t wait_max_ns = s->wait_max_ns, hold_max_ns = s->hold_max_ns;

	sum->con_bounces += s->con_bounces;
	sum->contentions += s->contentions;
	sum->wait_total_ns += s->wait_total_ns;
	sum->acq_bounces += s->acq_bounces;
	sum->acquisitions += s->acquisitions;
	sum->hold_total_ns += s->hold_total_ns;
	if (wait_min_ns < sum->wait_min_ns)
		sum->wait_min_ns = wait_min_ns;
	if (wait_max_ns > sum->wait_max_ns)
		sum->wait_max_ns = wait_max_ns;
	if (hold_min_ns < sum->hold_min_ns)
		sum->hold_min_ns = hold_min_ns;
	if (hold_max_ns > sum->hold_max_ns)
		sum->hold_max_ns = hold_max_ns;
}

static void stat_sum(const struct sync *sync, enum lock_class class, enum sync_mode mode,
		     struct sync_mode_stat *ret)
{
	struct sync_mode_stat sum = { .wait_min_ns = UINT64_MAX, .hold_min_ns = UINT64_MAX };

	for (int i = 0; i < NR_SHARDS; i++)
		stat_add_shard(&sync->shards[i][class][mode], &sum);
	if (sum.wait_min_ns == UINT64_MAX)
		sum.wait_min_ns = 0;
	if (sum.hold_min_ns == UINT64_MAX)
		sum.hold_min_ns = 0;
	*ret = sum;
}

static void stat_sites(const struct site_count *sites, struct sync_site_stat *ret)
{
	for (int i = 0; i < SYNC_NR_CONTENTION_SITES; i++) {
		ret[i].site = sites[i].site;
		ret[i].count = sites[i].count;
	}
}

void sync_stat_read(struct sync *sync, enum lock_class class, struct sync_class_stat *ret)
{
	ret->name = lock_class_name(class);
	stat_sum(sync, class, SYNC_SHARED, &ret->modes[SYNC_SHARED]);
	stat_sum(sync, class, SYNC_EXCL, &ret->modes[SYNC_EXCL]);
	stat_sites(sync->waiters[class], ret->waiters);
	stat_sites(sync->holders[class], ret->holders);
}

/* Recording. */

cold static void put_thread(struct sync *sync, struct events *events, struct event event)
{
	char name[16] = "";

	pthread_getname_np(pthread_self(), name, sizeof(name));
	event = (struct event){
		.time_ns = event.time_ns,
		.thread = event.thread,
		.kind = EVENT_THREAD,
	};
	static_assert(sizeof(name) == 2 * sizeof(event.pos), "fits");
	memcpy(&event.pos, name, 8);
	memcpy(&event.len, name + 8, 8);
	if (events_put(events, &event))
		self.recording = atomic_load_explicit(&sync->recording, memory_order_relaxed);
}

/* Nobody takes what is put: once is enough to find that out. */
cold static void put_in_vain(struct sync *sync, uint64_t now_ns)
{
	if (now_ns - atomic_load(&sync->taken_ns) > SYNC_RECORD_IDLE_NS)
		atomic_fetch_and(&sync->watch, ~WATCH_EVENTS);
}

cold static void put(struct sync *sync, struct event event)
{
	struct events *events;

	if (!self.tid)
		self.tid = gettid();
	event.thread = (uint32_t)self.tid;
	if (!event.time_ns)
		event.time_ns = sync_now_ns(sync);

	atomic_fetch_add(&sync->putting, 1);
	events = atomic_load(&sync->events);
	if (events) {
		if (self.recording != atomic_load_explicit(&sync->recording, memory_order_relaxed))
			put_thread(sync, events, event);
		if (!events_put(events, &event))
			put_in_vain(sync, event.time_ns);
	}
	atomic_fetch_sub(&sync->putting, 1);
}

static void put_lock(const struct base *base, enum event_kind kind, enum sync_mode mode,
		     uint64_t now_ns, const struct sync_site *site)
{
	put(base->sync, (struct event){
				.time_ns = now_ns,
				.object = (uintptr_t)base,
				.pos = base->number,
				.site = site,
				.kind = (uint8_t)kind,
				.class = (uint8_t)base->class,
				.exclusive = mode == SYNC_EXCL,
			});
}

int sync_record_start(struct sync *sync, uint32_t capacity)
{
	uint32_t room = EVENTS_MIN;
	struct events *events;

	if (atomic_load(&sync->events))
		return -EBUSY;
	while (room < capacity && room < EVENTS_MAX)
		room *= 2;
	events = events_new(room);
	if (!events)
		return -ENOMEM;
	atomic_store(&sync->taken_ns, sync_now_ns(sync));
	atomic_store(&sync->recording, sync_now_ns(sync));
	atomic_store(&sync->events, events);
	atomic_fetch_or(&sync->watch, WATCH_EVENTS);
	return 0;
}

unsigned sync_record_take(struct sync *sync, struct event *ret, unsigned max, uint64_t *ret_dropped)
{
	struct events *events = atomic_load(&sync->events);

	*ret_dropped = 0;
	if (!events)
		return 0;
	atomic_store(&sync->taken_ns, sync_now_ns(sync));
	*ret_dropped = events_dropped(events);
	return events_take(events, ret, max);
}

void sync_record_stop(struct sync *sync)
{
	struct events *events;

	atomic_fetch_and(&sync->watch, ~WATCH_EVENTS);
	events = atomic_exchange(&sync->events, NULL);
	while (atomic_load(&sync->putting))
		sched_yield();
	events_delete(events);
}

bool sync_recording(const struct sync *sync)
{
	return atomic_load_explicit(&sync->watch, memory_order_relaxed) & WATCH_EVENTS;
}

static void probe_told(const struct sync_told *t)
{
	switch (t->kind) {
	case SYNC_FAULT:
		PROBE6(fault, t->step, t->ino, t->pos, t->len, t->who, t->result);
		break;
	case SYNC_FILL:
		PROBE6(fill, t->step, t->ino, t->pos, t->len, t->who, t->result);
		break;
	case SYNC_RECALL:
		PROBE6(recall, t->step, t->ino, t->pos, t->len, t->who, t->code);
		break;
	case SYNC_GATE:
		PROBE6(gate, t->step, t->ino, t->pos, t->len, t->who, t->result);
		break;
	default:
		break;
	}
}

void sync_tell(struct sync *sync, const struct sync_told *told, const struct sync_site *site)
{
	probe_told(told);
	if (unlikely(sync_recording(sync)))
		put(sync, (struct event){
				  .object = told->ino,
				  .pos = told->pos,
				  .len = told->len,
				  .site = site,
				  .who = told->who,
				  .code = told->code,
				  .result = told->result,
				  .kind = (uint8_t)(EVENT_TOLD + told->kind),
				  .step = (uint8_t)told->step,
			  });
}

/* What both kinds of locks share. */

static struct lockdep_task *task_self(void)
{
	if (!self.task.name[0])
		pthread_getname_np(pthread_self(), self.task.name, sizeof(self.task.name));
	return &self.task;
}

static unsigned watched(const struct base *base)
{
	return atomic_load_explicit(&base->sync->watch, memory_order_relaxed);
}

static struct self *owner_of(const struct base *base)
{
	return atomic_load_explicit(&base->owner, memory_order_relaxed);
}

static void set_owner(struct base *base, struct self *owner)
{
	atomic_store_explicit(&base->owner, owner, memory_order_relaxed);
}

static void base_init(struct base *base, struct sync *sync, enum lock_class class)
{
	assert((unsigned)class < LOCK_NR_CLASSES);
	base->sync = sync;
	base->class = class;
	base->number = 0;
	atomic_init(&base->owner, NULL);
	atomic_init(&base->last_cpu, -1);
	atomic_init(&base->last_site, NULL);
}

static void got(struct base *base, enum sync_mode mode)
{
	self.nr_held++;
	if (mode == SYNC_SHARED)
		self.nr_shared++;
	else
		set_owner(base, &self);
}

/* The lock is about to be released: whose it is has been checked. */
static void lost(struct base *base, enum sync_mode mode)
{
	self.nr_held--;
	if (mode == SYNC_SHARED)
		self.nr_shared--;
	else
		set_owner(base, NULL);
}

/* A waiting thread that holds what it waits for can never be woken. lockdep has had its say. */
static void check_not_mine(const struct base *base, const struct sync_site *site)
{
	if (unlikely(owner_of(base) == &self))
		die(base, site, "taken by the thread that holds it");
}

/* Each is one nop, or nothing. */
#define PROBE_LOCK(name, base, mode, site)                                                         \
	PROBE6(name, (base), (base)->class, (mode), (base)->number, (site)->file, (site)->line)

/* Before a lock is tried. */
cold static void watch_before(struct base *base, enum sync_mode mode, unsigned watch,
			      unsigned subclass, bool try, const struct sync_site *site)
{
	if (watch & WATCH_LOCKDEP)
		lockdep_acquire(base->sync->lockdep, task_self(), base, base->class, subclass, mode,
				try, site);
}

/* When it was taken. */
cold static void watch_after(struct base *base, enum sync_mode mode, unsigned watch,
			     const struct sync_site *site)
{
	uint64_t now_ns;

	if (!(watch & (WATCH_STAT | WATCH_EVENTS)))
		return;
	now_ns = sync_now_ns(base->sync);
	if (watch & WATCH_STAT)
		stat_acquired(base, mode, now_ns, site);
	if (watch & WATCH_EVENTS)
		put_lock(base, EVENT_ACQUIRED, mode, now_ns, site);
}

/* It has to be waited for. Returns since when. */
cold static uint64_t watch_contended(struct base *base, enum sync_mode mode, unsigned watch,
				     const struct sync_site *site)
{
	uint64_t now_ns = 0;

	PROBE_LOCK(contend, base, mode, site);
	if (watch & (WATCH_STAT | WATCH_EVENTS))
		now_ns = sync_now_ns(base->sync);
	if (watch & WATCH_STAT)
		stat_contended(base, mode, site);
	if (watch & WATCH_EVENTS)
		put_lock(base, EVENT_CONTENDED, mode, now_ns, site);
	return now_ns;
}

cold static void watch_waited(struct base *base, enum sync_mode mode, unsigned watch,
			      uint64_t since_ns)
{
	if (watch & WATCH_STAT)
		stat_waited(base, mode, sync_now_ns(base->sync) - since_ns);
}

cold static void watch_release(struct base *base, enum sync_mode mode, unsigned watch,
			       const struct sync_site *site)
{
	if (watch & WATCH_EVENTS)
		put_lock(base, EVENT_RELEASED, mode, 0, site);
	if (watch & WATCH_STAT)
		stat_released(base, mode);
	if (watch & WATCH_LOCKDEP)
		lockdep_release(base->sync->lockdep, task_self(), base, site);
}

cold static _Noreturn void bad_unlock(struct base *base, const struct sync_site *site)
{
	if (base->sync->lockdep && !lockdep_holds(task_self(), base, SYNC_SHARED))
		lockdep_release(base->sync->lockdep, task_self(), base, site);
	die(base, site, "unlocked by a thread that does not hold it in that mode");
}

/* Mutexes. */

void sync_mutex_init(struct sync *sync, struct sync_mutex *m, enum lock_class class)
{
	struct mutex *mutex = mutex_of(m);

	base_init(&mutex->base, sync, class);
	must(pthread_mutex_init(&mutex->lock, NULL));
}

void sync_mutex_destroy(struct sync_mutex *m)
{
	must(pthread_mutex_destroy(&mutex_of(m)->lock));
}

void sync_mutex_number(struct sync_mutex *m, uint64_t number)
{
	mutex_of(m)->base.number = number;
}

cold static void mutex_wait(struct mutex *mutex, unsigned watch, const struct sync_site *site)
{
	uint64_t since_ns = watch_contended(&mutex->base, SYNC_EXCL, watch, site);

	must(pthread_mutex_lock(&mutex->lock));
	watch_waited(&mutex->base, SYNC_EXCL, watch, since_ns);
}

static bool mutex_try(struct mutex *mutex)
{
	int err = pthread_mutex_trylock(&mutex->lock);

	assert(err == 0 || err == EBUSY);
	return err == 0;
}

void sync_lock(struct sync_mutex *m, unsigned subclass, const struct sync_site *site)
{
	struct mutex *mutex = mutex_of(m);
	unsigned watch = watched(&mutex->base);

	PROBE_LOCK(acquire, &mutex->base, SYNC_EXCL, site);
	if (unlikely(watch))
		watch_before(&mutex->base, SYNC_EXCL, watch, subclass, false, site);
	check_not_mine(&mutex->base, site);
	if (unlikely(!mutex_try(mutex)))
		mutex_wait(mutex, watch, site);
	if (unlikely(watch))
		watch_after(&mutex->base, SYNC_EXCL, watch, site);
	PROBE_LOCK(acquired, &mutex->base, SYNC_EXCL, site);
	got(&mutex->base, SYNC_EXCL);
}

bool sync_trylock(struct sync_mutex *m, unsigned subclass, const struct sync_site *site)
{
	struct mutex *mutex = mutex_of(m);
	unsigned watch = watched(&mutex->base);

	if (!mutex_try(mutex))
		return false;
	if (unlikely(watch)) {
		watch_before(&mutex->base, SYNC_EXCL, watch, subclass, true, site);
		watch_after(&mutex->base, SYNC_EXCL, watch, site);
	}
	PROBE_LOCK(acquired, &mutex->base, SYNC_EXCL, site);
	got(&mutex->base, SYNC_EXCL);
	return true;
}

void sync_unlock(struct sync_mutex *m, const struct sync_site *site)
{
	struct mutex *mutex = mutex_of(m);
	unsigned watch = watched(&mutex->base);

	if (unlikely(owner_of(&mutex->base) != &self))
		bad_unlock(&mutex->base, site);
	if (unlikely(watch))
		watch_release(&mutex->base, SYNC_EXCL, watch, site);
	PROBE_LOCK(release, &mutex->base, SYNC_EXCL, site);
	lost(&mutex->base, SYNC_EXCL);
	must(pthread_mutex_unlock(&mutex->lock));
}

void sync_assert_locked(const struct sync_mutex *m)
{
	const struct mutex *mutex = mutex_of(m);

	if (unlikely(owner_of(&mutex->base) != &self))
		die(&mutex->base, NULL, "not held by this thread, and must be");
}

/* Reader/writer locks. */

void sync_rw_init(struct sync *sync, struct sync_rwlock *rw, enum lock_class class)
{
	struct rwlock *rwlock = rwlock_of(rw);
	pthread_rwlockattr_t attr;

	base_init(&rwlock->base, sync, class);
	must(pthread_rwlockattr_init(&attr));
	/* glibc's kind without "nonrecursive" in its name does not prefer writers at all */
	must(pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP));
	must(pthread_rwlock_init(&rwlock->lock, &attr));
	must(pthread_rwlockattr_destroy(&attr));
}

/* Only for checks that abort when it is: for a moment this holds the lock. */
static bool rw_is_free(struct rwlock *rwlock)
{
	if (pthread_rwlock_trywrlock(&rwlock->lock) != 0)
		return false;
	must(pthread_rwlock_unlock(&rwlock->lock));
	return true;
}

void sync_rw_destroy(struct sync_rwlock *rw)
{
	struct rwlock *rwlock = rwlock_of(rw);

	if (!rw_is_free(rwlock))
		die(&rwlock->base, NULL, "destroyed while held");
	must(pthread_rwlock_destroy(&rwlock->lock));
}

static void rw_take(struct rwlock *rwlock, enum sync_mode mode)
{
	if (mode == SYNC_SHARED)
		must(pthread_rwlock_rdlock(&rwlock->lock));
	else
		must(pthread_rwlock_wrlock(&rwlock->lock));
}

static bool rw_try(struct rwlock *rwlock, enum sync_mode mode)
{
	int err;

	if (mode == SYNC_SHARED)
		err = pthread_rwlock_tryrdlock(&rwlock->lock);
	else
		err = pthread_rwlock_trywrlock(&rwlock->lock);
	assert(err == 0 || err == EBUSY);
	return err == 0;
}

void sync_rw_number(struct sync_rwlock *rw, uint64_t number)
{
	rwlock_of(rw)->base.number = number;
}

cold static void rw_wait(struct rwlock *rwlock, enum sync_mode mode, unsigned watch,
			 const struct sync_site *site)
{
	uint64_t since_ns = watch_contended(&rwlock->base, mode, watch, site);

	rw_take(rwlock, mode);
	watch_waited(&rwlock->base, mode, watch, since_ns);
}

void sync_rw_lock(struct sync_rwlock *rw, enum sync_mode mode, unsigned subclass,
		  const struct sync_site *site)
{
	struct rwlock *rwlock = rwlock_of(rw);
	unsigned watch = watched(&rwlock->base);

	PROBE_LOCK(acquire, &rwlock->base, mode, site);
	if (unlikely(watch))
		watch_before(&rwlock->base, mode, watch, subclass, false, site);
	check_not_mine(&rwlock->base, site);
	if (unlikely(!rw_try(rwlock, mode)))
		rw_wait(rwlock, mode, watch, site);
	if (unlikely(watch))
		watch_after(&rwlock->base, mode, watch, site);
	PROBE_LOCK(acquired, &rwlock->base, mode, site);
	got(&rwlock->base, mode);
}

bool sync_rw_trylock(struct sync_rwlock *rw, enum sync_mode mode, unsigned subclass,
		     const struct sync_site *site)
{
	struct rwlock *rwlock = rwlock_of(rw);
	unsigned watch = watched(&rwlock->base);

	if (!rw_try(rwlock, mode))
		return false;
	if (unlikely(watch)) {
		watch_before(&rwlock->base, mode, watch, subclass, true, site);
		watch_after(&rwlock->base, mode, watch, site);
	}
	PROBE_LOCK(acquired, &rwlock->base, mode, site);
	got(&rwlock->base, mode);
	return true;
}

/*
 * Whether the calling thread can hold @rwlock in @mode. Of shared holders only the number is
 * known, and of the calling thread only how many locks it holds shared, unless lockdep looks.
 */
static bool rw_may_be_mine(const struct rwlock *rwlock, enum sync_mode mode)
{
	const struct base *base = &rwlock->base;

	if (mode == SYNC_EXCL)
		return owner_of(base) == &self;
	if (self.nr_shared == 0 || owner_of(base))
		return false;
	return !base->sync->lockdep || lockdep_holds(task_self(), base, SYNC_SHARED);
}

void sync_rw_unlock(struct sync_rwlock *rw, enum sync_mode mode, const struct sync_site *site)
{
	struct rwlock *rwlock = rwlock_of(rw);
	unsigned watch = watched(&rwlock->base);

	if (unlikely(!rw_may_be_mine(rwlock, mode)))
		bad_unlock(&rwlock->base, site);
	if (unlikely(watch))
		watch_release(&rwlock->base, mode, watch, site);
	PROBE_LOCK(release, &rwlock->base, mode, site);
	lost(&rwlock->base, mode);
	must(pthread_rwlock_unlock(&rwlock->lock));
}

void sync_rw_assert(const struct sync_rwlock *rw, enum sync_mode mode)
{
	struct rwlock *rwlock = rwlock_of(rw);

	if (rw_may_be_mine(rwlock, SYNC_EXCL))
		return;
	if (mode == SYNC_EXCL)
		die(&rwlock->base, NULL, "not held exclusively by this thread, and must be");
	if (!rw_may_be_mine(rwlock, SYNC_SHARED) || rw_is_free(rwlock))
		die(&rwlock->base, NULL, "not held by this thread, and must be");
}

/* Condition variables. */

void sync_cond_init(struct sync *sync, struct sync_cond *c)
{
	pthread_condattr_t attr;

	(void)sync;
	must(pthread_condattr_init(&attr));
	must(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
	must(pthread_cond_init(&cond_of(c)->cond, &attr));
	must(pthread_condattr_destroy(&attr));
}

void sync_cond_destroy(struct sync_cond *c)
{
	must(pthread_cond_destroy(&cond_of(c)->cond));
}

/*
 * To lockdep a wait releases the mutex and takes it again. The taking is announced before the
 * sleep, so that whoever waits while holding a lock that orders after the mutex is reported even
 * if the sleep never ends.
 */
cold static void watch_sleep(struct base *base, unsigned watch, const struct sync_site *site)
{
	struct lockdep_task *task = task_self();
	unsigned subclass = 0;

	if (watch & WATCH_EVENTS) {
		put_lock(base, EVENT_RELEASED, SYNC_EXCL, 0, site);
		put_lock(base, EVENT_SLEEPS, SYNC_EXCL, 0, site);
	}
	if (watch & WATCH_STAT)
		stat_released(base, SYNC_EXCL);
	if (!(watch & WATCH_LOCKDEP))
		return;

	for (int i = 0; i < task->nr_held; i++)
		if (task->held[i].lock == base)
			subclass = task->held[i].subclass;
	lockdep_release(base->sync->lockdep, task, base, site);
	lockdep_acquire(base->sync->lockdep, task, base, base->class, subclass, SYNC_EXCL, false,
			site);
}

static void before_wait(struct mutex *mutex, const struct sync_site *site)
{
	unsigned watch = watched(&mutex->base);

	if (unlikely(owner_of(&mutex->base) != &self))
		die(&mutex->base, site, "waited with by a thread that does not hold it");
	if (unlikely(watch))
		watch_sleep(&mutex->base, watch, site);
	PROBE_LOCK(release, &mutex->base, SYNC_EXCL, site);
	set_owner(&mutex->base, NULL);
}

static void after_wait(struct mutex *mutex, const struct sync_site *site)
{
	unsigned watch = watched(&mutex->base);

	set_owner(&mutex->base, &self);
	if (unlikely(watch & WATCH_EVENTS))
		put_lock(&mutex->base, EVENT_WOKEN, SYNC_EXCL, 0, site);
	if (unlikely(watch))
		watch_after(&mutex->base, SYNC_EXCL, watch, site);
	PROBE_LOCK(acquired, &mutex->base, SYNC_EXCL, site);
}

void sync_wait(struct sync_cond *c, struct sync_mutex *m, const struct sync_site *site)
{
	struct mutex *mutex = mutex_of(m);

	before_wait(mutex, site);
	must(pthread_cond_wait(&cond_of(c)->cond, &mutex->lock));
	after_wait(mutex, site);
}

bool sync_wait_until(struct sync_cond *c, struct sync_mutex *m, uint64_t deadline_ns,
		     const struct sync_site *site)
{
	struct mutex *mutex = mutex_of(m);
	struct timespec deadline = {
		.tv_sec = (time_t)(deadline_ns / NSEC_PER_SEC),
		.tv_nsec = (long)(deadline_ns % NSEC_PER_SEC),
	};
	int err;

	before_wait(mutex, site);
	err = pthread_cond_timedwait(&cond_of(c)->cond, &mutex->lock, &deadline);
	after_wait(mutex, site);
	assert(err == 0 || err == ETIMEDOUT);
	return err == 0;
}

void sync_wake(struct sync_cond *c)
{
	must(pthread_cond_broadcast(&cond_of(c)->cond));
}

/* lockdep's other questions. */

void sync_pretend(struct sync *sync, enum lock_class class, const struct sync_site *site)
{
	if (sync->lockdep)
		lockdep_pretend(sync->lockdep, task_self(), class, site);
}

void sync_assert_none_held(struct sync *sync, const struct sync_site *site)
{
	if (self.nr_held == 0)
		return;
	if (sync->lockdep)
		lockdep_check_none(sync->lockdep, task_self(), site);
	fprintf(stderr, "udaxfs: BUG: %u locks held where none may be, at %s:%d\n", self.nr_held,
		site->file, site->line);
	abort();
}

struct lockdep *sync_lockdep(struct sync *sync)
{
	return sync->lockdep;
}

/* Threads. */

struct sync_thread {
	struct sync *sync;
	pthread_t pthread;
	char name[16];
	void (*fn)(void *arg);
	void *arg;
};

static void *thread_main(void *arg)
{
	struct sync_thread *thread = arg;

	pthread_setname_np(pthread_self(), thread->name);
	thread->fn(thread->arg);
	sync_assert_none_held(thread->sync, HERE);
	return NULL;
}

/* All but those that a fault raises in the thread that made it. */
static void signals_to_block(sigset_t *ret_set)
{
	static const int faults[] = { SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT };

	sigfillset(ret_set);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		sigdelset(ret_set, faults[i]);
}

int sync_thread_start(struct sync *sync, const char *name, void (*fn)(void *), void *arg,
		      struct sync_thread **ret_thread)
{
	struct sync_thread *thread;
	sigset_t block, saved;
	int err;

	assert(strlen(name) < sizeof(thread->name));
	thread = calloc(1, sizeof(*thread));
	if (!thread)
		return -ENOMEM;
	*thread = (struct sync_thread){ .sync = sync, .fn = fn, .arg = arg };
	strcpy(thread->name, name);

	/* A thread inherits the mask: so there is no moment in which it has the caller's. */
	signals_to_block(&block);
	must(pthread_sigmask(SIG_SETMASK, &block, &saved));
	err = pthread_create(&thread->pthread, NULL, thread_main, thread);
	must(pthread_sigmask(SIG_SETMASK, &saved, NULL));
	if (err) {
		free(thread);
		return -err;
	}
	*ret_thread = thread;
	return 0;
}

void sync_thread_join(struct sync_thread *thread)
{
	must(pthread_join(thread->pthread, NULL));
	free(thread);
}

/* The environment. */

struct sync *sync_pthread_new(const struct sync_options *options)
{
	struct sync *sync = aligned_alloc(alignof(struct sync), sizeof(*sync));

	if (!sync)
		return NULL;
	memset(sync, 0, sizeof(*sync));
	stat_clear(sync);
	if (!options || !options->lockdep)
		return sync;

	sync->lockdep = lockdep_new(options->report, options->report_ctx);
	if (!sync->lockdep) {
		free(sync);
		return NULL;
	}
	atomic_store(&sync->watch, WATCH_LOCKDEP);
	return sync;
}

void sync_delete(struct sync *sync)
{
	if (!sync)
		return;
	sync_record_stop(sync);
	lockdep_delete(sync->lockdep);
	free(sync);
}
