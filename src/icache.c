/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * icache.c - which inodes are in memory. Hashed by number into shards, each with a lock and a
 * table that doubles, so that a million cached inodes cost a million handles and a few megabytes.
 *
 * An entry whose `loading` is set belongs to the one thread that reads its dinode, or frees it;
 * others that want it wait for that to end, and look again. So nobody sees an inode half-read,
 * or gets a reference to one that is being freed.
 */
#include "icache.h"

#include <assert.h>
#include <errno.h>
#include <sys/stat.h>

#include "dir.h"
#include "holder.h"
#include "inode.h"
#include "itable.h"
#include "journal.h"
#include "layout.h"
#include "mem.h"
#include "region.h"
#include "udax/policy.h"
#include "volume.h"

#define NR_SHARDS 32u
#define FIRST_BUCKETS 8u

struct shard {
	struct sync_mutex lock; /* LOCK_ICACHE */
	struct sync_cond loaded;
	struct inode **buckets;
	uint64_t nbuckets, ninodes;
	uint64_t hits, misses;
};

struct icache {
	struct shard shards[NR_SHARDS];
};

static struct shard *shard_of(struct volume *vol, uint64_t ino)
{
	return &vol->icache->shards[ino % NR_SHARDS];
}

static struct inode **bucket_of(const struct shard *shard, uint64_t ino)
{
	return &shard->buckets[ino / NR_SHARDS % shard->nbuckets];
}

static struct inode *shard_find(const struct shard *shard, uint64_t ino)
{
	struct inode *inode;

	sync_assert_locked(&shard->lock);
	inode = *bucket_of(shard, ino);
	while (inode && inode->ino != ino)
		inode = inode->hash_next;
	return inode;
}

/* Twice the buckets when there is an inode for each. Without memory the chains get longer. */
static void shard_widen(struct volume *vol, struct shard *shard)
{
	struct shard old = *shard;
	struct inode **buckets;

	if (shard->ninodes < shard->nbuckets)
		return;
	buckets = mem_alloc(vol->mem, 2 * old.nbuckets * sizeof(*buckets));
	if (!buckets)
		return;
	shard->buckets = buckets;
	shard->nbuckets = 2 * old.nbuckets;
	for (uint64_t i = 0; i < old.nbuckets; i++) {
		while (old.buckets[i]) {
			struct inode *inode = old.buckets[i];
			struct inode **bucket = bucket_of(shard, inode->ino);

			old.buckets[i] = inode->hash_next;
			inode->hash_next = *bucket;
			*bucket = inode;
		}
	}
	mem_free(vol->mem, old.buckets);
}

static void shard_add(struct shard *shard, struct inode *inode)
{
	struct inode **bucket;

	sync_assert_locked(&shard->lock);
	shard_widen(inode->vol, shard);
	bucket = bucket_of(shard, inode->ino);
	inode->hash_next = *bucket;
	*bucket = inode;
	shard->ninodes++;
}

static void shard_del(struct shard *shard, struct inode *inode)
{
	struct inode **link = bucket_of(shard, inode->ino);

	sync_assert_locked(&shard->lock);
	while (*link != inode)
		link = &(*link)->hash_next;
	*link = inode->hash_next;
	shard->ninodes--;
}

/* ---- handles --------------------------------------------------------------------------------------- */

struct inode *inode_handle_new(struct volume *vol, uint64_t ino)
{
	struct inode *inode = mem_alloc(vol->mem, sizeof(*inode));

	if (!inode)
		return NULL;
	inode->vol = vol;
	inode->ino = ino;
	inode->refs = 1;
	if (vol->policy->inode_new && vol->policy->inode_new(inode)) {
		mem_free(vol->mem, inode);
		return NULL;
	}
	sync_rw_init(vol->sync, &inode->iolock, LOCK_IOLOCK);
	sync_rw_init(vol->sync, &inode->mmaplock, LOCK_MMAPLOCK);
	sync_rw_init(vol->sync, &inode->ilock, LOCK_ILOCK);
	sync_rw_number(&inode->iolock, ino);
	sync_rw_number(&inode->mmaplock, ino);
	sync_rw_number(&inode->ilock, ino);
	return inode;
}

void inode_handle_delete(struct inode *inode)
{
	dir_forget(inode);
	holder_delete(inode);
	if (inode->vol->policy->inode_delete)
		inode->vol->policy->inode_delete(inode);
	sync_rw_destroy(&inode->iolock);
	sync_rw_destroy(&inode->mmaplock);
	sync_rw_destroy(&inode->ilock);
	mem_free(inode->vol->mem, inode);
}

/* Read the dinode of a handle that nobody else can use yet. */
static int inode_load(struct inode *inode)
{
	struct volume *vol = inode->vol;
	const struct dinode *di;
	int err = itable_off(vol, inode->ino, &inode->off);

	if (err)
		return err;
	di = region_ptr(vol->region, inode->off, DINODE_BYTES);
	err = dinode_check(di, inode->ino);
	if (err == -EUCLEAN || region_check(vol->region, inode->off, DINODE_BYTES))
		return volume_damaged(vol, inode->off, "dinode");
	if (err)
		return err;
	inode->generation = from_le32(di->generation);
	inode->type = (mode_t)from_le32(di->mode) & S_IFMT;
	/* A change may have failed half-way, and the inode been forgotten since. */
	atomic_store(&inode->half_changed, di->pending.kind != 0);
	return 0;
}

/* ---- getting, putting --------------------------------------------------------------------------------- */

/* The cached inode, usable, with one more reference; NULL: not cached. shard->lock held. */
static struct inode *shard_get(struct shard *shard, uint64_t ino)
{
	struct inode *inode;

	for (;;) {
		inode = shard_find(shard, ino);
		if (!inode)
			return NULL;
		if (!inode->loading)
			break;
		sync_wait(&shard->loaded, &shard->lock, HERE);
	}
	inode->refs++;
	shard->hits++;
	return inode;
}

struct inode *inode_find(struct volume *vol, uint64_t ino)
{
	struct shard *shard = shard_of(vol, ino);
	struct inode *inode;

	sync_lock(&shard->lock, 0, HERE);
	inode = shard_get(shard, ino);
	sync_unlock(&shard->lock, HERE);
	return inode;
}

/* The thread that set `loading` is done: keep the inode, or drop it. */
static void load_done(struct shard *shard, struct inode *inode, bool keep)
{
	sync_lock(&shard->lock, 0, HERE);
	inode->loading = false;
	if (!keep)
		shard_del(shard, inode);
	sync_wake(&shard->loaded);
	sync_unlock(&shard->lock, HERE);
	if (!keep)
		inode_handle_delete(inode);
}

int inode_get(struct volume *vol, uint64_t ino, struct inode **ret_inode)
{
	struct shard *shard = shard_of(vol, ino);
	struct inode *inode;
	int err = 0;

	if (ino == INODE_FILE_INO || ino >= MAX_INO)
		return -ESTALE;
	sync_lock(&shard->lock, 0, HERE);
	inode = shard_get(shard, ino);
	if (inode) {
		sync_unlock(&shard->lock, HERE);
		*ret_inode = inode;
		return 0;
	}
	inode = inode_handle_new(vol, ino);
	if (inode) {
		inode->loading = true;
		shard_add(shard, inode);
		shard->misses++;
	}
	sync_unlock(&shard->lock, HERE);
	if (!inode)
		return -ENOMEM;
	err = inode_load(inode);
	load_done(shard, inode, !err);
	if (!err)
		*ret_inode = inode;
	return err;
}

int icache_insert(struct volume *vol, uint64_t ino, uint32_t generation, mode_t type, uint64_t off,
		  struct inode **ret_inode)
{
	struct shard *shard = shard_of(vol, ino);
	struct inode *inode = inode_handle_new(vol, ino), *old;

	if (!inode)
		return -ENOMEM;
	inode->generation = generation;
	inode->type = type & S_IFMT;
	inode->off = off;
	sync_lock(&shard->lock, 0, HERE);
	/* A former owner of the number that is still being dropped, or a stale handle's look-up. */
	while ((old = shard_find(shard, ino)) && old->loading)
		sync_wait(&shard->loaded, &shard->lock, HERE);
	if (!old)
		shard_add(shard, inode);
	sync_unlock(&shard->lock, HERE);
	if (old) { /* somebody has it open, and the medium has forgotten it */
		inode_handle_delete(inode);
		return volume_damaged(vol, off, "an inode in use that is marked free");
	}
	*ret_inode = inode;
	return 0;
}

void inode_ref(struct inode *inode)
{
	struct shard *shard = shard_of(inode->vol, inode->ino);

	sync_lock(&shard->lock, 0, HERE);
	assert(inode->refs);
	inode->refs++;
	sync_unlock(&shard->lock, HERE);
}

static void inode_put_n(struct inode *inode, uint64_t n, uint64_t nlookup)
{
	struct shard *shard = shard_of(inode->vol, inode->ino);
	const struct dinode *di;
	bool last;

	sync_lock(&shard->lock, 0, HERE);
	assert(inode->refs >= n && inode->nlookup >= nlookup);
	inode->refs -= n;
	inode->nlookup -= nlookup;
	last = inode->refs == 0;
	inode->loading = last;
	sync_unlock(&shard->lock, HERE);
	if (!last)
		return;
	if (inode->discarded) {
		inode_handle_delete(inode);
		return;
	}
	/* Nobody else can reach it now: its dinode may be read without the ilock. */
	di = tx_peek(NULL, inode->vol, inode->off, DINODE_BYTES);
	if (!di->nlink && !volume_usable(inode->vol, true))
		inode_free(inode);
	load_done(shard, inode, false);
}

void inode_put(struct inode *inode)
{
	inode_put_n(inode, 1, 0);
}

void inode_discard(struct inode *inode)
{
	struct shard *shard = shard_of(inode->vol, inode->ino);
	bool last;

	iunlock(inode, SYNC_EXCL, HERE);
	sync_lock(&shard->lock, 0, HERE);
	shard_del(shard, inode);
	inode->discarded = true;
	last = --inode->refs == 0;
	/* Somebody may wait to enter the number anew. */
	sync_wake(&shard->loaded);
	sync_unlock(&shard->lock, HERE);
	/* Others may have found it by its number; the last of them deletes the handle. */
	if (last)
		inode_handle_delete(inode);
}

void inode_lookup_add(struct inode *inode, uint64_t n)
{
	struct shard *shard = shard_of(inode->vol, inode->ino);

	sync_lock(&shard->lock, 0, HERE);
	inode->refs += n;
	inode->nlookup += n;
	sync_unlock(&shard->lock, HERE);
}

void inode_lookup_drop(struct volume *vol, uint64_t ino, uint64_t n)
{
	struct inode *inode = inode_find(vol, ino);

	if (!inode)
		return;
	/* Ours, and as many as the kernel had: a lying one cannot take others' away. */
	if (n > inode->nlookup)
		n = inode->nlookup;
	inode_put_n(inode, n + 1, n);
}

/* ---- the whole ---------------------------------------------------------------------------------------- */

void icache_stat(struct volume *vol, struct icache_stat *ret)
{
	*ret = (struct icache_stat){ .bytes_each = sizeof(struct inode) };
	for (unsigned i = 0; i < NR_SHARDS; i++) {
		struct shard *shard = &vol->icache->shards[i];

		sync_lock(&shard->lock, 0, HERE);
		ret->cached += shard->ninodes;
		ret->hits += shard->hits;
		ret->misses += shard->misses;
		sync_unlock(&shard->lock, HERE);
	}
	itable_count(vol, &ret->ninodes, &ret->ninodes_free);
}

/* A reference to some inode of the shard behind bucket *@at, which moves on. */
static struct inode *shard_next(struct shard *shard, uint64_t *at, uint64_t *skip)
{
	struct inode *inode = NULL;

	sync_lock(&shard->lock, 0, HERE);
	for (; *at < shard->nbuckets && !inode; *at += !inode, *skip = inode ? *skip : 0) {
		uint64_t n = 0;

		for (inode = shard->buckets[*at]; inode; inode = inode->hash_next)
			if (!inode->loading && n++ == *skip)
				break;
	}
	if (inode) {
		inode->refs++;
		(*skip)++;
	}
	sync_unlock(&shard->lock, HERE);
	return inode;
}

void icache_for_each(struct volume *vol, void (*fn)(struct inode *inode, void *ctx), void *ctx)
{
	for (unsigned i = 0; i < NR_SHARDS; i++) {
		uint64_t at = 0, skip = 0;
		struct inode *inode;

		while ((inode = shard_next(&vol->icache->shards[i], &at, &skip))) {
			fn(inode, ctx);
			inode_put(inode);
		}
	}
}

int icache_new(struct volume *vol)
{
	vol->icache = mem_alloc(vol->mem, sizeof(*vol->icache));
	if (!vol->icache)
		return -ENOMEM;
	for (unsigned i = 0; i < NR_SHARDS; i++) {
		struct shard *shard = &vol->icache->shards[i];

		shard->buckets = mem_alloc(vol->mem, FIRST_BUCKETS * sizeof(*shard->buckets));
		if (!shard->buckets)
			return -ENOMEM;
		shard->nbuckets = FIRST_BUCKETS;
		sync_mutex_init(vol->sync, &shard->lock, LOCK_ICACHE);
		sync_mutex_number(&shard->lock, i);
		sync_cond_init(vol->sync, &shard->loaded);
	}
	return 0;
}

void icache_delete(struct volume *vol)
{
	if (!vol->icache)
		return;
	for (unsigned i = 0; i < NR_SHARDS; i++) {
		struct shard *shard = &vol->icache->shards[i];

		if (!shard->buckets)
			continue;
		for (uint64_t b = 0; b < shard->nbuckets; b++) {
			while (shard->buckets[b]) {
				struct inode *inode = shard->buckets[b];

				shard->buckets[b] = inode->hash_next;
				inode_handle_delete(inode);
			}
		}
		mem_free(vol->mem, shard->buckets);
		sync_mutex_destroy(&shard->lock);
		sync_cond_destroy(&shard->loaded);
	}
	mem_free(vol->mem, vol->icache);
	vol->icache = NULL;
}

/* ---- recovery --------------------------------------------------------------------------------------------- */

/* Whether inode @ino has an operation to finish. No reference is taken: its put could free it. */
static bool has_operation(struct volume *vol, uint64_t ino)
{
	const struct dinode *di;
	uint64_t off;

	if (itable_off(vol, ino, &off))
		return false;
	di = region_ptr(vol->region, off, DINODE_BYTES);
	return !dinode_check(di, ino) && di->pending.kind;
}

bool inode_has_operations(struct volume *vol)
{
	for (uint64_t ino = 0; !itable_next_pending(vol, ino, &ino); ino++)
		if (has_operation(vol, ino))
			return true;
	return false;
}

/* Finish the operation of @ino, if it has one, and free it if it has no links. */
static int recover_one(struct volume *vol, uint64_t ino)
{
	struct inode *inode;
	int err = inode_get(vol, ino, &inode);

	if (err)
		return err; /* damaged: reported, and left to fsck */
	err = layout_resume(inode);
	inode_put(inode);
	/* One file's trouble is not the volume's. */
	if (err && err != -ENOMEM)
		volume_damaged(vol, 0, "an operation that cannot be finished");
	return err;
}

int inode_recover(struct volume *vol)
{
	/* Operations first: the partner of an exchange may have no links, and would be freed. */
	for (int pass = 0; pass < 2; pass++) {
		for (uint64_t ino = 0; !itable_next_pending(vol, ino, &ino); ino++) {
			if (pass == 0 && !has_operation(vol, ino))
				continue;
			if (recover_one(vol, ino) == -ENOMEM)
				return -ENOMEM;
		}
	}
	return 0;
}
