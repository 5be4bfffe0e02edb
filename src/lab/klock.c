/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * klock.c - see klock.h. A writer that waits keeps new readers out, as an rwsem does.
 */
#include "klock.h"

static bool may_write(void *arg)
{
	const struct klock *lock = arg;

	return !lock->owned && !lock->readers;
}

static bool may_read(void *arg)
{
	const struct klock *lock = arg;

	return !lock->owned && !lock->nwriters;
}

void klock_excl(struct sched *s, struct klock *lock, const char *what)
{
	sched_point(s, &lock->object, ACCESS_WRITE);
	if (!may_write(lock)) {
		lock->nwriters++;
		sched_wait(s, may_write, lock, &lock->object, ACCESS_WRITE, UINT64_MAX, what, NULL);
		lock->nwriters--;
	}
	lock->owned = true;
	sched_log(s, TRACE_KERNEL, NULL, "takes %s", what);
}

bool klock_try_excl(struct sched *s, struct klock *lock)
{
	sched_point(s, &lock->object, ACCESS_WRITE);
	if (!may_write(lock))
		return false;
	lock->owned = true;
	return true;
}

void klock_shared(struct sched *s, struct klock *lock, const char *what)
{
	sched_wait(s, may_read, lock, &lock->object, ACCESS_READ, UINT64_MAX, what, NULL);
	lock->readers++;
}

void klock_unexcl(struct sched *s, struct klock *lock)
{
	lock->owned = false;
	sched_touch(s, &lock->object, ACCESS_WRITE);
}

void klock_unshared(struct sched *s, struct klock *lock)
{
	lock->readers--;
	sched_touch(s, &lock->object, ACCESS_READ);
}
