/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * sync.h - locks, waits, threads, clock and randomness: the first of the three seams.
 *
 * The core never touches pthreads, time() or rand(). It calls these functions, and what stands
 * behind them is chosen by whoever creates the environment: pthreads in the daemon
 * (sync_pthread.c), a deterministic scheduler in the lab. So:
 *
 *   - every function is extern and every type opaque: nothing is inlined past the seam;
 *   - each lock operation carries its source position, which lockdep, lock statistics and the
 *     lab print;
 *   - there is no mutable global: all state hangs off one struct sync, or off the locks.
 *
 * Every lock has a class (enum lock_class, in lock order) and is taken with a subclass, which
 * tells apart several locks of one class held at once (0 for the first inode, 1 for the second).
 */
#ifndef UDAX_SYNC_H
#define UDAX_SYNC_H

#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct event;
struct lockdep;
struct mem;

/** The place in the source that takes or releases a lock. */
struct sync_site {
	const char *file;
	int line;
};

/** A pointer to a constant sync_site for the line that this macro stands on. */
#define HERE                                                                                       \
	({                                                                                         \
		static const struct sync_site here_ = { __FILE__, __LINE__ };                      \
		&here_;                                                                            \
	})

/**
 * Lock classes, in lock order: a lock may be taken only while every lock held has a smaller
 * class, or the same class and a smaller subclass. docs/LOCKING.md argues each position.
 *
 * The first three are never taken by us. They are held by others (the kernel, a client) before a
 * request reaches us, and notify and recall wait for them: sync_pretend() models that.
 */
enum lock_class {
	LOCK_KERNEL_IRWSEM, /* the kernel's inode lock */
	LOCK_CLIENT_MMAP,   /* a client's mmap_lock */
	LOCK_KERNEL_FOLIO,  /* a folio lock, or the writeback stop of a SETATTR */
	LOCK_RENAME,	    /* one per volume: the shape of the directory tree */
	LOCK_IOLOCK,	    /* inode: uncached I/O against layout changes */
	LOCK_MMAPLOCK,	    /* inode: page faults against layout changes */
	LOCK_JOURNAL,	    /* a journal lane: held from tx_begin to tx_commit or tx_abort */
	LOCK_ILOCK,	    /* inode: dinode, extent map, directory and attribute contents */
	LOCK_ALLOC,	    /* a group of blocks or inodes */
	LOCK_HOLDER,	    /* inode: gate, mode, admissions, grants */
	LOCK_ICACHE,	    /* the table of cached inodes */
	LOCK_LEAF,	    /* anything below which no other lock is taken */
	LOCK_NR_CLASSES
};

#define LOCK_NR_SUBCLASSES 8

/** The name of a lock class as it stands in reports and in docs/LOCKING.md. */
const char *lock_class_name(enum lock_class class);

/* Storage for the locks; the implementation asserts that its own types fit. */
struct sync_mutex {
	alignas(16) unsigned char opaque[80];
};
struct sync_rwlock {
	alignas(16) unsigned char opaque[112];
};
struct sync_cond {
	alignas(16) unsigned char opaque[64];
};

struct sync; /* the environment */
struct sync_thread;

/**
 * sync_now_ns - monotonic time in nanoseconds, for deadlines and statistics.
 * sync_realtime - wall-clock time, for timestamps on the medium.
 * sync_random - fill @buf with @len unpredictable bytes.
 * All three are safe from any thread.
 */
uint64_t sync_now_ns(struct sync *sync);
struct timespec sync_realtime(struct sync *sync);
void sync_random(struct sync *sync, void *buf, size_t len);

/*
 * Mutexes. Not recursive. sync_trylock() returns true when it took the lock. Unlocking a mutex
 * that the calling thread does not hold is a bug and aborts, and so is taking one that it holds.
 */
void sync_mutex_init(struct sync *sync, struct sync_mutex *m, enum lock_class class);
void sync_mutex_destroy(struct sync_mutex *m);
void sync_lock(struct sync_mutex *m, unsigned subclass, const struct sync_site *site);
bool sync_trylock(struct sync_mutex *m, unsigned subclass, const struct sync_site *site);
void sync_unlock(struct sync_mutex *m, const struct sync_site *site);
void sync_assert_locked(const struct sync_mutex *m);

/*
 * Reader/writer locks. Not recursive in either mode. A waiting writer keeps new readers out, so
 * a thread may not take a lock shared twice, and a stream of faults cannot starve a truncate.
 */
enum sync_mode { SYNC_SHARED, SYNC_EXCL };

void sync_rw_init(struct sync *sync, struct sync_rwlock *rw, enum lock_class class);
void sync_rw_destroy(struct sync_rwlock *rw);
void sync_rw_lock(struct sync_rwlock *rw, enum sync_mode mode, unsigned subclass,
		  const struct sync_site *site);
bool sync_rw_trylock(struct sync_rwlock *rw, enum sync_mode mode, unsigned subclass,
		     const struct sync_site *site);
void sync_rw_unlock(struct sync_rwlock *rw, enum sync_mode mode, const struct sync_site *site);

/**
 * sync_rw_assert - abort unless the calling thread holds @rw at least in @mode.
 *
 * SYNC_SHARED is satisfied by either mode. Which thread holds a lock shared is known where lockdep
 * is on; without it the assertion checks that somebody does. The exclusive holder is always known.
 */
void sync_rw_assert(const struct sync_rwlock *rw, enum sync_mode mode);

/*
 * Condition variables, always used with the mutex that protects the condition, in a loop.
 * sync_wake() wakes every waiter: there is no way to wake just one, because a wake-up that goes
 * to a thread waiting for something else is lost (dax-races in docs/LOCKING.md, rows 29 and 30).
 * sync_wait_until() returns false when @deadline_ns (sync_now_ns time) has passed.
 */
void sync_cond_init(struct sync *sync, struct sync_cond *c);
void sync_cond_destroy(struct sync_cond *c);
void sync_wait(struct sync_cond *c, struct sync_mutex *m, const struct sync_site *site);
bool sync_wait_until(struct sync_cond *c, struct sync_mutex *m, uint64_t deadline_ns,
		     const struct sync_site *site);
void sync_wake(struct sync_cond *c);

/**
 * sync_mutex_number, sync_rw_number - say which one of its class a lock is: an inode's number. For whoever
 * watches; 0 until it is said. Before the lock is used by several threads.
 */
void sync_mutex_number(struct sync_mutex *m, uint64_t number);
void sync_rw_number(struct sync_rwlock *rw, uint64_t number);

/**
 * sync_pretend - tell lockdep that the calling thread is about to wait for a lock of @class that
 * somebody else holds (a folio lock in a notify, a client's mmap_lock in a recall).
 *
 * Nothing is taken. Where lockdep is on, holding anything of the same or a larger class while
 * calling this is reported as an inversion.
 */
void sync_pretend(struct sync *sync, enum lock_class class, const struct sync_site *site);

/** sync_assert_none_held - abort with a report if the calling thread holds any lock. */
void sync_assert_none_held(struct sync *sync, const struct sync_site *site);

/**
 * sync_thread_start - run @fn(@arg) in a new thread.
 *
 * @name is at most 15 bytes and is what ps and gdb show. All signals are blocked in the new
 * thread but those that a fault raises in the thread itself (SIGBUS, SIGSEGV and their like): the
 * kernel kills a process that blocks one of these and meets it, and a SIGBUS on the region has to
 * become EIO. @fn returns with no lock held. Returns 0 and sets *@ret_thread, which
 * sync_thread_join() waits for and frees, or -EAGAIN when the system has no room for another
 * thread, or -ENOMEM.
 */
int sync_thread_start(struct sync *sync, const char *name, void (*fn)(void *), void *arg,
		      struct sync_thread **ret_thread);
void sync_thread_join(struct sync_thread *thread);

/** sync_lockdep - the lock checker of this environment, or NULL when it is off. */
struct lockdep *sync_lockdep(struct sync *sync);

/*
 * What one class of locks has seen, in the columns of the kernel's lock_stat. A bounce is a lock whose
 * last taker was on another CPU, so that its cache line had to come from there.
 */
#define SYNC_NR_CONTENTION_SITES 4

struct sync_mode_stat {
	uint64_t con_bounces, contentions;
	uint64_t wait_min_ns, wait_max_ns, wait_total_ns;
	uint64_t acq_bounces, acquisitions;
	uint64_t hold_min_ns, hold_max_ns, hold_total_ns;
};

struct sync_site_stat {
	const struct sync_site *site; /* NULL: unused */
	uint64_t count;
};

struct sync_class_stat {
	const char *name;
	struct sync_mode_stat modes[2]; /* by enum sync_mode; of mutexes all is SYNC_EXCL */
	struct sync_site_stat waiters[SYNC_NR_CONTENTION_SITES]; /* who had to wait, */
	struct sync_site_stat holders[SYNC_NR_CONTENTION_SITES]; /* for whom: the last taker */
};

/**
 * sync_stat_enable - start or stop timing locks; off by default. sync_stat_enabled - which it is.
 * sync_stat_reset - begin again at zero. What other threads add meanwhile may be lost.
 * sync_stat_read - copy the statistics of @class to *@ret. Figures of several threads are summed
 * without stopping them.
 */
void sync_stat_enable(struct sync *sync, bool on);
bool sync_stat_enabled(const struct sync *sync);
void sync_stat_reset(struct sync *sync);
void sync_stat_read(struct sync *sync, enum lock_class class, struct sync_class_stat *ret);

/*
 * What happens beside locks that whoever watches wants to see. Each is told twice or more often, in steps; who
 * tells it passes everything that is known, zeroes otherwise.
 */
enum sync_told_kind {
	SYNC_OPERATION, /* a request of the kernel is served in this thread; code: its opcode */
	SYNC_FAULT,	/* a client's fault is served; who: the client, code: 1 for stores */
	SYNC_FILL,	/* the kernel is given a copy */
	SYNC_RECALL, /* a client is asked for what it holds; who: the client, code: its sequence */
	SYNC_GATE,   /* a range is about to change its layout */
	SYNC_NR_TOLD
};

enum sync_step {
	SYNC_BEGIN,    /* served, admitted, asked; a gate is open */
	SYNC_END,      /* with a result: 0, or -errno */
	SYNC_LATE,     /* of a recall: the client has not answered in time */
	SYNC_NOTIFY,   /* of a gate: the kernel is asked to drop its copies, */
	SYNC_CLOSING,  /* newcomers are parked, those who are in are waited for, */
	SYNC_CLOSED,   /* nobody is in, */
	SYNC_REOPENED, /* or it was not to be, and it is open again */
	SYNC_NR_STEPS
};

struct sync_told {
	enum sync_told_kind kind;
	enum sync_step step;
	uint32_t who, code;
	int32_t result;
	uint64_t ino, pos, len; /* len: UINT64_MAX to the end of the file */
};

/**
 * sync_tell - tell whoever watches: probes, and a recording. Never waits, from any thread, with any locks
 * held. It is no step in an interleaving: the lab does not hear it.
 */
void sync_tell(struct sync *sync, const struct sync_told *told, const struct sync_site *site);

/**
 * sync_record_start - begin to put locks and what is told into a ring of @capacity events (events.h),
 * bounded by EVENTS_MIN and EVENTS_MAX. 0, -EBUSY when a recording is under way, -ENOMEM. Of a thread that
 * already holds locks their release comes without their taking.
 * sync_record_take - up to @max events, oldest first; how many. *@ret_dropped: how many found the ring
 * full since the beginning, and are missing. 0 and 0 when nothing is recorded.
 * sync_record_stop - end, and free the ring. No-op when nothing is recorded.
 * sync_recording - whether a recording is under way and somebody takes it: one from which nothing was taken
 * for SYNC_RECORD_IDLE_NS ends by itself when it is full; sync_record_stop() has still to be called.
 * Start, take and stop are called by one thread at a time; sync_recording by any.
 */
#define SYNC_RECORD_IDLE_NS UINT64_C(10000000000)

int sync_record_start(struct sync *sync, uint32_t capacity);
unsigned sync_record_take(struct sync *sync, struct event *ret, unsigned max,
			  uint64_t *ret_dropped);
void sync_record_stop(struct sync *sync);
bool sync_recording(const struct sync *sync);

/*
 * The pthread implementation. @lockdep turns the checker on: a report goes to @report (one call
 * a line, without newline; NULL: stderr) and the process goes on, as the kernel does.
 */
struct sync_options {
	bool lockdep;
	void (*report)(void *ctx, const char *line);
	void *report_ctx;
};

/** sync_pthread_new - a new environment, or NULL without memory. Freed by sync_delete(). */
struct sync *sync_pthread_new(const struct sync_options *options);
void sync_delete(struct sync *sync);

#endif
