/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * holder.c - what the core knows about those who may hold a piece of an inode; see holder.h.
 *
 * An inode has a holder from its first open on, until it leaves the cache. The pointer is set
 * once, by compare and exchange, and then only read.
 */
#include "holder.h"

#include <assert.h>
#include <stdatomic.h>

#include "grant.h"
#include "inode.h"
#include "mem.h"
#include "volume.h"

static struct holder *holder_new(struct volume *vol, uint64_t ino)
{
	struct holder *holder = mem_alloc(vol->mem, sizeof(*holder));

	if (!holder)
		return NULL;
	sync_mutex_init(vol->sync, &holder->lock, LOCK_HOLDER);
	sync_mutex_number(&holder->lock, ino);
	sync_cond_init(vol->sync, &holder->changed);
	return holder;
}

static void holder_free(struct volume *vol, struct holder *holder)
{
	sync_mutex_destroy(&holder->lock);
	sync_cond_destroy(&holder->changed);
	mem_free(vol->mem, holder->discards);
	mem_free(vol->mem, holder);
}

struct holder *holder_of(struct inode *inode)
{
	struct holder *holder = atomic_load_explicit(&inode->holder, memory_order_acquire);
	struct holder *none = NULL;

	if (holder)
		return holder;
	holder = holder_new(inode->vol, inode->ino);
	if (!holder)
		return NULL;
	if (atomic_compare_exchange_strong(&inode->holder, &none, holder))
		return holder;
	/* Somebody else was faster. */
	holder_free(inode->vol, holder);
	return none;
}

void holder_delete(struct inode *inode)
{
	struct holder *holder = atomic_load(&inode->holder);

	if (!holder)
		return;
	holder_free(inode->vol, holder);
	atomic_store(&inode->holder, NULL);
}

void holder_park(struct holder *holder, struct waiter *waiter)
{
	sync_assert_locked(&holder->lock);
	waiter->next = holder->parked;
	holder->parked = waiter;
}

void holder_unlock_and_resume(struct inode *inode, struct holder *holder,
			      const struct sync_site *site)
{
	struct volume *vol = inode->vol;
	struct waiter *parked = NULL;

	sync_assert_locked(&holder->lock);
	/* Parked in the order of arrival last first: resume them the other way round. */
	while (holder->parked) {
		struct waiter *waiter = holder->parked;

		holder->parked = waiter->next;
		waiter->next = parked;
		parked = waiter;
	}
	sync_wake(&holder->changed);
	sync_unlock(&holder->lock, site);
	while (parked) {
		struct waiter *next = parked->next;

		vol->holder_ops->resume(vol->holder_ctx, parked, 0);
		parked = next;
	}
}

void holder_stat(struct inode *inode, struct holder_stat *ret)
{
	struct holder *holder = atomic_load(&inode->holder);
	struct grant_stat grants;

	*ret = (struct holder_stat){ .mode = MODE_NONE };
	if (!holder)
		return;
	sync_lock(&holder->lock, 0, HERE);
	ret->mode = holder->mode;
	ret->nhandles = holder->nhandles;
	ret->nwriters = holder->nwriters;
	ret->nattached = holder->nattached;
	ret->generation = holder->generation;
	grant_stat(holder, &grants);
	ret->nrecalls = grants.nrecalls;
	ret->nlate = grants.nlate;
	ret->read_bytes = grants.bytes[GRANT_READ];
	ret->write_bytes = grants.bytes[GRANT_WRITE];
	ret->zero_bytes = grants.bytes[GRANT_ZERO];
	for (const struct gate *gate = holder->gates; gate; gate = gate->next)
		ret->ngates++;
	for (const struct admission *adm = holder->admissions; adm; adm = adm->next)
		ret->nadmitted += adm->admitted;
	sync_unlock(&holder->lock, HERE);
}
