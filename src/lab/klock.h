/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * klock.h - locks of the simulated kernel: i_rwsem, mmap_lock, folio locks. They are held by system calls
 * and page faults while the daemon serves these, and are none of the core's.
 */
#ifndef UDAX_LAB_KLOCK_H
#define UDAX_LAB_KLOCK_H

#include "sched.h"

struct klock {
	struct object object;
	char name[32]; /* as it was last taken */
	bool owned;
	unsigned readers, nwriters; /* nwriters: that wait, and keep new readers out */
};

/** klock_excl, klock_shared - take it; @what: "i_rwsem a". klock_try_excl - false: it is not free. */
void klock_excl(struct sched *s, struct klock *lock, const char *what);
void klock_shared(struct sched *s, struct klock *lock, const char *what);
bool klock_try_excl(struct sched *s, struct klock *lock);
void klock_unexcl(struct sched *s, struct klock *lock);
void klock_unshared(struct sched *s, struct klock *lock);

#endif
