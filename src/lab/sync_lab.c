/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * sync_lab.c - sync.h over the lab's scheduler. Taking a lock is a point (sched.h); releasing one is
 * not, because whoever would go on then can be chosen at the next point as well.
 *
 * Rules that are checked here, in every run: locks are taken in the declared order (lock-order), none
 * is released that is not held, or kept by a task that ends (lock-balance), what a function asserts
 * about locks holds (lock-assert), and nothing is held over a wait for others (held-over-wait).
 *
 * The state of a lock lives in the lock, so it is restored with the memory that it stands in.
 */
#include "sync_lab.h"

#include <errno.h>
#include <string.h>

#define REALTIME_SECONDS 1700000000 /* the lab's clock starts here */

struct sync {
	struct sched *sched;
	uint64_t random;
	struct task outside; /* who holds locks outside of tasks */
};

struct mutex {
	struct sync *sync;
	struct task *owner;
	enum lock_class class;
	struct object object;
};

struct rwlock {
	struct sync *sync;
	struct task *owner; /* exclusive */
	uint32_t readers;   /* a bit for each task; the last one: outside of tasks */
	unsigned nwriters;  /* that wait, and keep new readers out */
	enum lock_class class;
	struct object object;
};

struct cond {
	struct sync *sync;
	uint32_t waiters; /* a bit for each task that sleeps */
	struct object object;
};

_Static_assert(sizeof(struct mutex) <= sizeof(struct sync_mutex), "sync_mutex is too small");
_Static_assert(sizeof(struct rwlock) <= sizeof(struct sync_rwlock), "sync_rwlock is too small");
_Static_assert(sizeof(struct cond) <= sizeof(struct sync_cond), "sync_cond is too small");

#define OUTSIDE_BIT (UINT32_C(1) << SCHED_MAX_TASKS)

static struct mutex *mutex_of(const struct sync_mutex *m)
{
	return (struct mutex *)m->opaque;
}

static struct rwlock *rwlock_of(const struct sync_rwlock *rw)
{
	return (struct rwlock *)rw->opaque;
}

static struct cond *cond_of(const struct sync_cond *c)
{
	return (struct cond *)c->opaque;
}

struct sync *sync_lab_new(struct sched *s, struct mem *mem)
{
	struct sync *sync = mem_alloc(mem, sizeof(*sync));

	if (sync)
		sync->sched = s;
	return sync;
}

static struct task *self(struct sync *sync)
{
	return sync->sched->current ? sync->sched->current : &sync->outside;
}

static uint32_t self_bit(struct sync *sync)
{
	return sync->sched->current ? UINT32_C(1) << sync->sched->current->id : OUTSIDE_BIT;
}

/* ---- clock, random numbers, threads ---------------------------------------------------------------- */

uint64_t sync_now_ns(struct sync *sync)
{
	sched_touch(sync->sched, &sync->sched->clock, ACCESS_READ);
	return sync->sched->now_ns;
}

struct timespec sync_realtime(struct sync *sync)
{
	uint64_t now = sync->sched->now_ns;

	return (struct timespec){ REALTIME_SECONDS + (time_t)(now / 1000000000),
				  (long)(now % 1000000000) };
}

void sync_random(struct sync *sync, void *buf, size_t len)
{
	for (unsigned char *byte = buf; len; len--)
		*byte++ = (unsigned char)(++sync->random * UINT64_C(0x9e3779b97f4a7c15) >> 56);
}

/* The core starts none. */
int sync_thread_start(struct sync *sync, const char *name, void (*fn)(void *), void *arg,
		      struct sync_thread **ret_thread)
{
	(void)sync, (void)name, (void)fn, (void)arg, (void)ret_thread;
	return -EAGAIN;
}

void sync_thread_join(struct sync_thread *thread)
{
	(void)thread;
}

struct lockdep *sync_lockdep(struct sync *sync)
{
	(void)sync;
	return NULL;
}

void sync_delete(struct sync *sync)
{
	(void)sync; /* it stands in memory that is reset */
}

/* ---- what a task holds ------------------------------------------------------------------------------ */

static void check_order(struct sync *sync, enum lock_class class, unsigned subclass,
			const struct sync_site *site)
{
	const struct task *task = self(sync);

	for (unsigned i = 0; i < task->nheld; i++) {
		const struct held *held = &task->held[i];

		if (held->class < class || (held->class == class && held->subclass < subclass))
			continue;
		sched_fail(sync->sched, site, "lock-order", "takes %s while it holds %s",
			   lock_class_name(class), lock_class_name(held->class));
		return;
	}
}

static void hold(struct sync *sync, const void *lock, enum lock_class class, unsigned subclass,
		 enum sync_mode mode, const struct sync_site *site)
{
	struct task *task = self(sync);

	if (task->nheld == SCHED_MAX_HELD) {
		sched_fail(sync->sched, site, "lock-balance", "holds too many locks");
		return;
	}
	task->held[task->nheld++] = (struct held){ lock, class, subclass, mode, site };
	if (sync->sched->trace) {
		char name[32];

		sched_lock_name(sync->sched, lock, class, name, sizeof(name));
		sched_log_step(sync->sched, TRACE_LOCK, site, "takes %s%s", name,
			       mode == SYNC_SHARED ? ", shared" : "");
	}
}

static void let_go(struct sync *sync, const void *lock, enum lock_class class,
		   const struct sync_site *site)
{
	struct task *task = self(sync);
	unsigned i = task->nheld;

	while (i && task->held[i - 1].lock != lock)
		i--;
	if (!i) {
		sched_fail(sync->sched, site, "lock-balance", "releases %s, which it does not hold",
			   lock_class_name(class));
		return;
	}
	memmove(&task->held[i - 1], &task->held[i], (task->nheld - i) * sizeof(task->held[0]));
	task->nheld--;
	if (sync->sched->trace) {
		char name[32];

		sched_lock_name(sync->sched, lock, class, name, sizeof(name));
		sched_log_step(sync->sched, TRACE_UNLOCK, site, "releases %s", name);
	}
}

/* ---- mutexes -------------------------------------------------------------------------------------- */

void sync_mutex_init(struct sync *sync, struct sync_mutex *m, enum lock_class class)
{
	*mutex_of(m) = (struct mutex){ .sync = sync, .class = class };
}

void sync_mutex_destroy(struct sync_mutex *m)
{
	struct mutex *mutex = mutex_of(m);

	if (mutex->owner)
		sched_fail(mutex->sync->sched, NULL, "lock-balance", "%s is destroyed while held",
			   lock_class_name(mutex->class));
}

static bool mutex_free(void *arg)
{
	return !((struct mutex *)arg)->owner;
}

void sync_lock(struct sync_mutex *m, unsigned subclass, const struct sync_site *site)
{
	struct mutex *mutex = mutex_of(m);
	struct sync *sync = mutex->sync;

	if (sync->sched->quiet)
		return;
	check_order(sync, mutex->class, subclass, site);
	sched_wait(sync->sched, mutex_free, mutex, &mutex->object, ACCESS_WRITE, UINT64_MAX,
		   lock_class_name(mutex->class), site);
	mutex->owner = self(sync);
	hold(sync, mutex, mutex->class, subclass, SYNC_EXCL, site);
}

bool sync_trylock(struct sync_mutex *m, unsigned subclass, const struct sync_site *site)
{
	struct mutex *mutex = mutex_of(m);
	struct sync *sync = mutex->sync;

	if (sync->sched->quiet)
		return true;
	sched_point(sync->sched, &mutex->object, ACCESS_WRITE);
	if (mutex->owner)
		return false;
	mutex->owner = self(sync);
	hold(sync, mutex, mutex->class, subclass, SYNC_EXCL, site);
	return true;
}

static void mutex_release(struct mutex *mutex, const struct sync_site *site)
{
	struct sync *sync = mutex->sync;

	if (mutex->owner != self(sync)) {
		sched_fail(sync->sched, site, "lock-balance", "releases %s, which it does not hold",
			   lock_class_name(mutex->class));
		return;
	}
	let_go(sync, mutex, mutex->class, site);
	mutex->owner = NULL;
	sched_touch(sync->sched, &mutex->object, ACCESS_WRITE);
}

void sync_unlock(struct sync_mutex *m, const struct sync_site *site)
{
	if (!mutex_of(m)->sync->sched->quiet)
		mutex_release(mutex_of(m), site);
}

void sync_assert_locked(const struct sync_mutex *m)
{
	struct mutex *mutex = mutex_of(m);

	if (mutex->owner != self(mutex->sync) && !mutex->sync->sched->quiet)
		sched_fail(mutex->sync->sched, NULL, "lock-assert",
			   "%s is not held where it has to be", lock_class_name(mutex->class));
}

void sync_lab_look(const struct sync_mutex *m)
{
	struct mutex *mutex = mutex_of(m);

	sched_touch(mutex->sync->sched, &mutex->object, ACCESS_READ);
}

/* ---- reader/writer locks -------------------------------------------------------------------------- */

void sync_rw_init(struct sync *sync, struct sync_rwlock *rw, enum lock_class class)
{
	*rwlock_of(rw) = (struct rwlock){ .sync = sync, .class = class };
}

void sync_rw_destroy(struct sync_rwlock *rw)
{
	struct rwlock *lock = rwlock_of(rw);

	if (lock->owner || lock->readers)
		sched_fail(lock->sync->sched, NULL, "lock-balance", "%s is destroyed while held",
			   lock_class_name(lock->class));
}

static bool may_read(void *arg)
{
	const struct rwlock *lock = arg;

	return !lock->owner && !lock->nwriters;
}

static bool may_write(void *arg)
{
	const struct rwlock *lock = arg;

	return !lock->owner && !lock->readers;
}

/* From when it has come to wait, a writer keeps new readers out: two steps, if it is not free. */
static void write_lock(struct rwlock *lock, const struct sync_site *site)
{
	struct sched *s = lock->sync->sched;

	sched_point(s, &lock->object, ACCESS_WRITE);
	if (may_write(lock))
		return;
	lock->nwriters++;
	sched_wait(s, may_write, lock, &lock->object, ACCESS_WRITE, UINT64_MAX,
		   lock_class_name(lock->class), site);
	lock->nwriters--;
}

void sync_rw_lock(struct sync_rwlock *rw, enum sync_mode mode, unsigned subclass,
		  const struct sync_site *site)
{
	struct rwlock *lock = rwlock_of(rw);
	struct sync *sync = lock->sync;

	if (sync->sched->quiet)
		return;
	check_order(sync, lock->class, subclass, site);
	if (mode == SYNC_EXCL) {
		write_lock(lock, site);
		lock->owner = self(sync);
	} else {
		sched_wait(sync->sched, may_read, lock, &lock->object, ACCESS_READ, UINT64_MAX,
			   lock_class_name(lock->class), site);
		lock->readers |= self_bit(sync);
	}
	hold(sync, lock, lock->class, subclass, mode, site);
}

bool sync_rw_trylock(struct sync_rwlock *rw, enum sync_mode mode, unsigned subclass,
		     const struct sync_site *site)
{
	struct rwlock *lock = rwlock_of(rw);
	struct sync *sync = lock->sync;

	if (sync->sched->quiet)
		return true;
	sched_point(sync->sched, &lock->object, mode == SYNC_EXCL ? ACCESS_WRITE : ACCESS_READ);
	if (mode == SYNC_EXCL ? !may_write(lock) : !may_read(lock))
		return false;
	if (mode == SYNC_EXCL)
		lock->owner = self(sync);
	else
		lock->readers |= self_bit(sync);
	hold(sync, lock, lock->class, subclass, mode, site);
	return true;
}

void sync_rw_unlock(struct sync_rwlock *rw, enum sync_mode mode, const struct sync_site *site)
{
	struct rwlock *lock = rwlock_of(rw);
	struct sync *sync = lock->sync;
	bool held = mode == SYNC_EXCL ? lock->owner == self(sync) : lock->readers & self_bit(sync);

	if (sync->sched->quiet)
		return;
	if (!held) {
		sched_fail(sync->sched, site, "lock-balance",
			   "releases %s%s, which it does not hold", lock_class_name(lock->class),
			   mode == SYNC_SHARED ? ", shared" : "");
		return;
	}
	let_go(sync, lock, lock->class, site);
	if (mode == SYNC_EXCL)
		lock->owner = NULL;
	else
		lock->readers &= ~self_bit(sync);
	sched_touch(sync->sched, &lock->object, mode == SYNC_EXCL ? ACCESS_WRITE : ACCESS_READ);
}

void sync_rw_assert(const struct sync_rwlock *rw, enum sync_mode mode)
{
	struct rwlock *lock = rwlock_of(rw);
	struct sync *sync = lock->sync;

	if (sync->sched->quiet || lock->owner == self(sync) ||
	    (mode == SYNC_SHARED && lock->readers & self_bit(sync)))
		return;
	sched_fail(sync->sched, NULL, "lock-assert", "%s is not held where it has to be",
		   lock_class_name(lock->class));
}

/* ---- condition variables ---------------------------------------------------------------------------- */

void sync_cond_init(struct sync *sync, struct sync_cond *c)
{
	*cond_of(c) = (struct cond){ .sync = sync };
}

void sync_cond_destroy(struct sync_cond *c)
{
	(void)c;
}

struct sleep {
	struct cond *cond;
	struct mutex *mutex;
	uint32_t bit;
};

/* Woken, and the mutex is to be had: both in one step. */
static bool may_wake(void *arg)
{
	const struct sleep *sleep = arg;

	return !(sleep->cond->waiters & sleep->bit) && !sleep->mutex->owner;
}

bool sync_wait_until(struct sync_cond *c, struct sync_mutex *m, uint64_t deadline_ns,
		     const struct sync_site *site)
{
	struct cond *cond = cond_of(c);
	struct mutex *mutex = mutex_of(m);
	struct sync *sync = cond->sync;
	struct sleep sleep = { cond, mutex, self_bit(sync) };
	unsigned subclass = 0;
	bool woken;

	for (unsigned i = 0; i < self(sync)->nheld; i++)
		if (self(sync)->held[i].lock == mutex)
			subclass = self(sync)->held[i].subclass;
	cond->waiters |= sleep.bit;
	sched_touch(sync->sched, &cond->object, ACCESS_WRITE);
	mutex_release(mutex, site);
	woken = sched_wait(sync->sched, may_wake, &sleep, &mutex->object, ACCESS_WRITE, deadline_ns,
			   "a wake-up", site);
	if (!woken) {
		cond->waiters &= ~sleep.bit;
		sched_wait(sync->sched, mutex_free, mutex, &mutex->object, ACCESS_WRITE, UINT64_MAX,
			   lock_class_name(mutex->class), site);
	}
	sched_touch(sync->sched, &cond->object, ACCESS_READ);
	mutex->owner = self(sync);
	hold(sync, mutex, mutex->class, subclass, SYNC_EXCL, site);
	return woken;
}

void sync_wait(struct sync_cond *c, struct sync_mutex *m, const struct sync_site *site)
{
	sync_wait_until(c, m, UINT64_MAX, site);
}

void sync_wake(struct sync_cond *c)
{
	struct cond *cond = cond_of(c);

	cond->waiters = 0;
	sched_touch(cond->sync->sched, &cond->object, ACCESS_WRITE);
}

/* ---- waits for others --------------------------------------------------------------------------------- */

void sync_pretend(struct sync *sync, enum lock_class class, const struct sync_site *site)
{
	check_order(sync, class, 0, site);
}

void sync_assert_none_held(struct sync *sync, const struct sync_site *site)
{
	const struct task *task = self(sync);

	if (task->nheld)
		sched_fail(sync->sched, site, "held-over-wait",
			   "is about to wait for others while it holds %s",
			   lock_class_name(task->held[task->nheld - 1].class));
}

/* ---- what others watch: the lab has a better view ----------------------------------------------------- */

void sync_mutex_number(struct sync_mutex *m, uint64_t number)
{
	(void)m, (void)number; /* it knows locks by where they stand */
}

void sync_rw_number(struct sync_rwlock *rw, uint64_t number)
{
	(void)rw, (void)number;
}

void sync_tell(struct sync *sync, const struct sync_told *told, const struct sync_site *site)
{
	(void)sync, (void)told, (void)site;
}

/* ---- statistics: nobody asks ------------------------------------------------------------------------- */

void sync_stat_enable(struct sync *sync, bool on)
{
	(void)sync, (void)on;
}

bool sync_stat_enabled(const struct sync *sync)
{
	(void)sync;
	return false;
}

void sync_stat_reset(struct sync *sync)
{
	(void)sync;
}

void sync_stat_read(struct sync *sync, enum lock_class class, struct sync_class_stat *ret)
{
	(void)sync;
	*ret = (struct sync_class_stat){ .name = lock_class_name(class) };
}
