/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * klock.c - see klock.h. A writer that waits keeps new readers out, as an rwsem does.
 */
#include "klock.h"

#include <stdio.h>

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

/* Who looks sees it among the locks of the task. */
static void note_taken(struct sched *s, struct klock *lock, const char *what)
{
	struct task *task = s->current;

	if (!task || !s->trace)
		return;
	snprintf(lock->name, sizeof(lock->name), "%s", what);
	if (task->nouter < SCHED_MAX_HELD)
		task->outer[task->nouter++] = (struct outer){ lock->name, lock->owned };
	sched_log_step(s, TRACE_LOCK, NULL, "takes %s%s", what, lock->owned ? "" : ", shared");
}

static void note_released(struct sched *s, const struct klock *lock)
{
	struct task *task = s->current;
	unsigned i = 0, n = 0;

	if (!task || !s->trace)
		return;
	for (; i < task->nouter; i++)
		if (task->outer[i].name != lock->name)
			task->outer[n++] = task->outer[i];
	task->nouter = n;
	sched_log_step(s, TRACE_UNLOCK, NULL, "releases %s", lock->name);
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
	note_taken(s, lock, what);
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
	note_taken(s, lock, what);
}

void klock_unexcl(struct sched *s, struct klock *lock)
{
	lock->owned = false;
	note_released(s, lock);
	sched_touch(s, &lock->object, ACCESS_WRITE);
}

void klock_unshared(struct sched *s, struct klock *lock)
{
	lock->readers--;
	note_released(s, lock);
	sched_touch(s, &lock->object, ACCESS_READ);
}
