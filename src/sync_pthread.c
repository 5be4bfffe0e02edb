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
 * Cost: with lockdep and statistics off an operation is the pthread call, one branch on
 * sync->watch, which no cache line but a clean shared one is read for, and a store into a line
 * that the lock has just brought in. Everything else is kept out of line.
 *
 * Statistics: a thread adds into one of several shards with relaxed atomics, so that counting
 * does not itself become the contention that is counted. A hold is timed only if it began after
 * statistics were last enabled (epoch_ns): an older timestamp is a leftover of a lock that was
 * released while nobody watched.
 */
#include "sync.h"

#include "lockdep.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define unlikely(x) __builtin_expect(!!(x), 0)
#define cold __attribute__((noinline, cold))

#define NSEC_PER_SEC 1000000000ull

#define WATCH_LOCKDEP 1u
#define WATCH_STAT 2u

#define NR_SHARDS 16

/* One class in one shard: a cache line. The minima are UINT64_MAX until there is a first value. */
struct shard_class {
	alignas(64) _Atomic uint64_t contentions;
	_Atomic uint64_t wait_min_ns, wait_max_ns, wait_total_ns;
	_Atomic uint64_t acquisitions;
	_Atomic uint64_t hold_min_ns, hold_max_ns, hold_total_ns;
};

struct waiter {
	_Atomic(const struct sync_site *) site;
	_Atomic uint64_t count;
};

struct sync {
	alignas(64) atomic_uint watch; /* WATCH_ bits; read by every operation, hardly written */
	struct lockdep *lockdep;
	_Atomic uint64_t epoch_ns;
	struct shard_class shards[NR_SHARDS][LOCK_NR_CLASSES];
	struct waiter waiters[LOCK_NR_CLASSES][SYNC_NR_CONTENTION_SITES];
};

/* When a watched thread took a lock. */
struct timed_hold {
	const void *lock;
	uint64_t since_ns;
};

struct self {
	unsigned nr_held;
	unsigned nr_shared;
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
static struct shard_class *shard_of(const struct base *base)
{
	uint64_t hash = ((uintptr_t)&self >> 12) * 0x9e3779b97f4a7c15ull;

	return &base->sync->shards[hash >> 60][base->class];
}

static void stat_site(const struct base *base, const struct sync_site *site)
{
	for (int i = 0; i < SYNC_NR_CONTENTION_SITES; i++) {
		struct waiter *w = &base->sync->waiters[base->class][i];
		const struct sync_site *old = NULL;

		if (atomic_compare_exchange_strong(&w->site, &old, site) || old == site) {
			add(&w->count, 1);
			return;
		}
	}
}

static void stat_waited(const struct base *base, uint64_t waited_ns, const struct sync_site *site)
{
	struct shard_class *s = shard_of(base);

	add(&s->contentions, 1);
	add(&s->wait_total_ns, waited_ns);
	lower_min(&s->wait_min_ns, waited_ns);
	raise_max(&s->wait_max_ns, waited_ns);
	stat_site(base, site);
}

static void stat_acquired(const struct base *base, uint64_t now_ns)
{
	add(&shard_of(base)->acquisitions, 1);

	/* Full of leftovers of locks that were released unwatched: start afresh. */
	if (self.nr_timed == LOCKDEP_MAX_HELD)
		self.nr_timed = 0;
	self.timed[self.nr_timed++] = (struct timed_hold){ base, now_ns };
}

static void stat_held(const struct base *base, uint64_t held_ns)
{
	struct shard_class *s = shard_of(base);

	add(&s->hold_total_ns, held_ns);
	lower_min(&s->hold_min_ns, held_ns);
	raise_max(&s->hold_max_ns, held_ns);
}

static void stat_released(const struct base *base)
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
			stat_held(base, sync_now_ns(base->sync) - since_ns);
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
	s->contentions = 0;
	s->wait_min_ns = UINT64_MAX;
	s->wait_max_ns = 0;
	s->wait_total_ns = 0;
	s->acquisitions = 0;
	s->hold_min_ns = UINT64_MAX;
	s->hold_max_ns = 0;
	s->hold_total_ns = 0;
}

static void stat_clear(struct sync *sync)
{
	for (int c = 0; c < LOCK_NR_CLASSES; c++) {
		for (int i = 0; i < NR_SHARDS; i++)
			stat_clear_class(&sync->shards[i][c]);
		for (int i = 0; i < SYNC_NR_CONTENTION_SITES; i++) {
			sync->waiters[c][i].count = 0;
			sync->waiters[c][i].site = NULL;
		}
	}
}

void sync_stat_reset(struct sync *sync)
{
	/* Holds that began before do not count: see stat_released(). */
	atomic_store(&sync->epoch_ns, sync_now_ns(sync));
	stat_clear(sync);
}

static void stat_add_shard(const struct shard_class *s, struct sync_class_stat *sum)
{
	uint64_t wait_min_ns = s->wait_min_ns, hold_min_ns = s->hold_min_ns;
	uint64_t wait_max_ns = s->wait_max_ns, hold_max_ns = s->hold_max_ns;

	sum->contentions += s->contentions;
	sum->wait_total_ns += s->wait_total_ns;
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

void sync_stat_read(struct sync *sync, enum lock_class class, struct sync_class_stat *ret)
{
	struct sync_class_stat sum = {
		.name = lock_class_name(class),
		.wait_min_ns = UINT64_MAX,
		.hold_min_ns = UINT64_MAX,
	};

	for (int i = 0; i < NR_SHARDS; i++)
		stat_add_shard(&sync->shards[i][class], &sum);
	for (int i = 0; i < SYNC_NR_CONTENTION_SITES; i++) {
		sum.waiters[i].site = sync->waiters[class][i].site;
		sum.waiters[i].count = sync->waiters[class][i].count;
	}

	if (sum.wait_min_ns == UINT64_MAX)
		sum.wait_min_ns = 0;
	if (sum.hold_min_ns == UINT64_MAX)
		sum.hold_min_ns = 0;
	*ret = sum;
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
	atomic_init(&base->owner, NULL);
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

cold static void watch_release(struct base *base, unsigned watch, const struct sync_site *site)
{
	if (watch & WATCH_STAT)
		stat_released(base);
	if (watch & WATCH_LOCKDEP)
		lockdep_release(base->sync->lockdep, task_self(), base, site);
}

cold static void watch_try(struct base *base, enum sync_mode mode, unsigned watch,
			   unsigned subclass, const struct sync_site *site)
{
	if (watch & WATCH_LOCKDEP)
		lockdep_acquire(base->sync->lockdep, task_self(), base, base->class, subclass, mode,
				true, site);
	if (watch & WATCH_STAT)
		stat_acquired(base, sync_now_ns(base->sync));
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

cold static void mutex_lock_watched(struct mutex *mutex, unsigned watch, unsigned subclass,
				    const struct sync_site *site)
{
	struct base *base = &mutex->base;
	uint64_t start_ns, now_ns;

	if (watch & WATCH_LOCKDEP)
		lockdep_acquire(base->sync->lockdep, task_self(), base, base->class, subclass,
				SYNC_EXCL, false, site);
	check_not_mine(base, site);
	if (!(watch & WATCH_STAT)) {
		must(pthread_mutex_lock(&mutex->lock));
		return;
	}

	start_ns = now_ns = sync_now_ns(base->sync);
	if (pthread_mutex_trylock(&mutex->lock) != 0) {
		must(pthread_mutex_lock(&mutex->lock));
		now_ns = sync_now_ns(base->sync);
		stat_waited(base, now_ns - start_ns, site);
	}
	stat_acquired(base, now_ns);
}

void sync_lock(struct sync_mutex *m, unsigned subclass, const struct sync_site *site)
{
	struct mutex *mutex = mutex_of(m);
	unsigned watch = watched(&mutex->base);

	if (unlikely(watch)) {
		mutex_lock_watched(mutex, watch, subclass, site);
	} else {
		check_not_mine(&mutex->base, site);
		must(pthread_mutex_lock(&mutex->lock));
	}
	got(&mutex->base, SYNC_EXCL);
}

bool sync_trylock(struct sync_mutex *m, unsigned subclass, const struct sync_site *site)
{
	struct mutex *mutex = mutex_of(m);
	unsigned watch = watched(&mutex->base);
	int err = pthread_mutex_trylock(&mutex->lock);

	if (err == EBUSY)
		return false;
	must(err);
	if (unlikely(watch))
		watch_try(&mutex->base, SYNC_EXCL, watch, subclass, site);
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
		watch_release(&mutex->base, watch, site);
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

cold static void rw_lock_watched(struct rwlock *rwlock, enum sync_mode mode, unsigned watch,
				 unsigned subclass, const struct sync_site *site)
{
	struct base *base = &rwlock->base;
	uint64_t start_ns, now_ns;

	if (watch & WATCH_LOCKDEP)
		lockdep_acquire(base->sync->lockdep, task_self(), base, base->class, subclass, mode,
				false, site);
	check_not_mine(base, site);
	if (!(watch & WATCH_STAT)) {
		rw_take(rwlock, mode);
		return;
	}

	start_ns = now_ns = sync_now_ns(base->sync);
	if (!rw_try(rwlock, mode)) {
		rw_take(rwlock, mode);
		now_ns = sync_now_ns(base->sync);
		stat_waited(base, now_ns - start_ns, site);
	}
	stat_acquired(base, now_ns);
}

void sync_rw_lock(struct sync_rwlock *rw, enum sync_mode mode, unsigned subclass,
		  const struct sync_site *site)
{
	struct rwlock *rwlock = rwlock_of(rw);
	unsigned watch = watched(&rwlock->base);

	if (unlikely(watch)) {
		rw_lock_watched(rwlock, mode, watch, subclass, site);
	} else {
		check_not_mine(&rwlock->base, site);
		rw_take(rwlock, mode);
	}
	got(&rwlock->base, mode);
}

bool sync_rw_trylock(struct sync_rwlock *rw, enum sync_mode mode, unsigned subclass,
		     const struct sync_site *site)
{
	struct rwlock *rwlock = rwlock_of(rw);
	unsigned watch = watched(&rwlock->base);

	if (!rw_try(rwlock, mode))
		return false;
	if (unlikely(watch))
		watch_try(&rwlock->base, mode, watch, subclass, site);
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
		watch_release(&rwlock->base, watch, site);
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

	if (watch & WATCH_STAT)
		stat_released(base);
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
	set_owner(&mutex->base, NULL);
}

static void after_wait(struct mutex *mutex)
{
	set_owner(&mutex->base, &self);
	if (unlikely(watched(&mutex->base) & WATCH_STAT))
		stat_acquired(&mutex->base, sync_now_ns(mutex->base.sync));
}

void sync_wait(struct sync_cond *c, struct sync_mutex *m, const struct sync_site *site)
{
	struct mutex *mutex = mutex_of(m);

	before_wait(mutex, site);
	must(pthread_cond_wait(&cond_of(c)->cond, &mutex->lock));
	after_wait(mutex);
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
	after_wait(mutex);
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
	lockdep_delete(sync->lockdep);
	free(sync);
}
