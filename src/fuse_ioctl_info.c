/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fuse_ioctl_info.c - ioctls about the volume: facts, room, counters, locks, holders, growing,
 * shutting down.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clientd.h"
#include "alloc.h"
#include "fuse_ioctl_call.h"
#include "holder.h"
#include "inode.h"
#include "lockdep.h"
#include "region.h"
#include "sync.h"
#include "udax/ioctl.h"
#include "udax/policy.h"
#include "volume.h"

/* ---- facts ------------------------------------------------------------------------------------ */

static __u32 info_flags(struct volume *vol)
{
	__u32 flags = 0;

	if (vol->read_only)
		flags |= UDAX_INFO_READ_ONLY;
	if (atomic_load(&vol->shut_down))
		flags |= UDAX_INFO_SHUT_DOWN;
	if (atomic_load(&vol->stat.errors))
		flags |= UDAX_INFO_DAMAGED;
	if (sync_lockdep(vol->sync))
		flags |= UDAX_INFO_LOCKDEP;
	if (sync_stat_enabled(vol->sync))
		flags |= UDAX_INFO_LOCKSTAT;
	if (sync_recording(vol->sync))
		flags |= UDAX_INFO_RECORDING;
	return flags;
}

/* Only growing writes the superblock while the volume is mounted, and it holds this lock. */
static void info_from_super(struct volume *vol, struct udax_ioc_info *info)
{
	static const uint64_t places[] = { SUPER_BLK, SUPER_COPY_BLK };

	sync_lock(&vol->rename, 0, HERE);
	for (unsigned i = 0; i < 2; i++) {
		uint64_t off = places[i] << BLOCK_SHIFT;
		const struct super *s = region_ptr(vol->region, off, sizeof(*s));

		if (super_check(s) || region_check(vol->region, off, sizeof(*s)))
			continue;
		info->format_version = from_le32(s->version);
		info->compat = from_le64(s->compat);
		info->ro_compat = from_le64(s->ro_compat);
		info->incompat = from_le64(s->incompat);
		info->created_ns = from_le64(s->created_ns);
		info->mounted_ns = from_le64(s->mounted_ns);
		info->mount_count = from_le32(s->mount_count);
		if (from_le32(s->state) & SUPER_ERROR)
			info->flags |= UDAX_INFO_DAMAGED;
		break;
	}
	sync_unlock(&vol->rename, HERE);
}

int ioctl_info(struct ioctl_call *call)
{
	struct udax_ioc_info *info = (void *)call->arg;
	struct volume *vol = call->vol;
	const struct region *region = vol->region;
	const struct lockdep *dep = sync_lockdep(vol->sync);

	*info = (struct udax_ioc_info){
		.version = UDAX_IOC_VERSION,
		.flags = info_flags(vol),
		.durability = (__u32)region->domain,
		.block_bytes = BLOCK_BYTES,
		.granule_bytes = vol->granule_blocks << BLOCK_SHIFT,
		.pid = (__u32)getpid(),
		.uid = geteuid(),
		.size_bytes = atomic_load(&vol->nblocks) << BLOCK_SHIFT,
		.region_bytes = region->bytes,
		.lockdep_reports = dep ? (__u32)lockdep_nr_reports(dep) : 0,
	};
	info_from_super(vol, info);
	memcpy(info->uuid, vol->uuid, sizeof(info->uuid));
	memcpy(info->label, vol->label, sizeof(info->label));
	snprintf(info->policy, sizeof(info->policy), "%s", vol->policy->name);
	snprintf(info->program_version, sizeof(info->program_version), "%s", UDAX_VERSION);
	snprintf(info->region, sizeof(info->region), "%s", region->path ? region->path : "");
	return 0;
}

int ioctl_space(struct ioctl_call *call)
{
	struct udax_ioc_space *out = (void *)call->arg;
	struct icache_stat inodes;
	struct space space;

	alloc_space(call->vol, &space);
	icache_stat(call->vol, &inodes);
	*out = (struct udax_ioc_space){
		.version = UDAX_IOC_VERSION,
		.total_bytes = space.total << BLOCK_SHIFT,
		.free_bytes = space.free << BLOCK_SHIFT,
		.reserve_bytes = space.reserve << BLOCK_SHIFT,
		.quarantined_bytes = space.quarantined << BLOCK_SHIFT,
		.free_huge_bytes = space.free_huge << BLOCK_SHIFT,
		.inodes = inodes.ninodes,
		.inodes_free = inodes.ninodes_free,
	};
	return 0;
}

/* ---- counters --------------------------------------------------------------------------------- */

#define COUNTER(name)                                                                              \
	{                                                                                          \
#name, offsetof(struct volume_stat, name)                                          \
	}
#define COUNTER_AS(name, member)                                                                   \
	{                                                                                          \
		name, offsetof(struct volume_stat, member)                                         \
	}

static const struct {
	const char *name;
	size_t off;
} counters[] = {
	COUNTER(tx_commits),
	COUNTER(tx_aborts),
	COUNTER(tx_log_bytes),
	COUNTER(blocks_allocated),
	COUNTER(blocks_freed),
	COUNTER(blocks_zeroed),
	COUNTER(fills),
	COUNTER(reads),
	COUNTER(writes),
	COUNTER(writebacks),
	COUNTER(writebacks_discarded),
	COUNTER(layout_changes),
	COUNTER(gate_rounds),
	COUNTER(gate_gave_up),
	COUNTER(parked),
	COUNTER(faults),
	COUNTER(recalls),
	COUNTER(recalls_late),
	COUNTER_AS("damage_met", errors),
};

#define NCOUNTERS (sizeof(counters) / sizeof(counters[0]))

struct stat_page {
	struct udax_ioc_stat *out;
	__u32 first;
};

static void stat_put(struct stat_page *page, const char *name, uint64_t value)
{
	struct udax_ioc_stat *out = page->out;
	__u32 at = out->total++;

	if (at < page->first || out->count == UDAX_STAT_ENTRIES)
		return;
	snprintf(out->entries[out->count].name, sizeof(out->entries[0].name), "%s", name);
	out->entries[out->count++].value = value;
}

static void stat_put_all(const struct ioctl_call *call, struct stat_page *page)
{
	struct volume *vol = call->vol;
	struct clientd_stat clients = { 0 };
	struct icache_stat icache;

	for (unsigned i = 0; i < NCOUNTERS; i++) {
		const char *base = (const char *)&vol->stat + counters[i].off;

		stat_put(page, counters[i].name, atomic_load((const atomic_ullong *)base));
	}
	icache_stat(vol, &icache);
	stat_put(page, "inodes_cached", icache.cached);
	stat_put(page, "inode_cache_bytes", icache.cached * icache.bytes_each);
	stat_put(page, "inode_cache_hits", icache.hits);
	stat_put(page, "inode_cache_misses", icache.misses);
	if (call->clientd)
		clientd_stat(call->clientd, &clients);
	stat_put(page, "clients", clients.nclients);
	stat_put(page, "clients_lost", clients.nlost);
	stat_put(page, "recalls_late_now", atomic_load(&vol->nlate));
	stat_put(page, "orphans", atomic_load(&vol->orphans));
	stat_put(page, "bad_ranges", region_bad_ranges(vol->region, NULL, 0));
}

int ioctl_stat(struct ioctl_call *call)
{
	struct udax_ioc_stat *out = (void *)call->arg;
	struct stat_page page = { .out = out, .first = out->first };

	memset(out, 0, sizeof(*out));
	out->version = UDAX_IOC_VERSION;
	out->first = page.first;
	stat_put_all(call, &page);
	return 0;
}

/* ---- locks ------------------------------------------------------------------------------------ */

static void lockstat_mode(const struct sync_mode_stat *stat, struct udax_ioc_lockstat_mode *ret)
{
	*ret = (struct udax_ioc_lockstat_mode){
		.con_bounces = stat->con_bounces,
		.contentions = stat->contentions,
		.wait_min_ns = stat->wait_min_ns,
		.wait_max_ns = stat->wait_max_ns,
		.wait_total_ns = stat->wait_total_ns,
		.acq_bounces = stat->acq_bounces,
		.acquisitions = stat->acquisitions,
		.hold_min_ns = stat->hold_min_ns,
		.hold_max_ns = stat->hold_max_ns,
		.hold_total_ns = stat->hold_total_ns,
	};
}

static void lockstat_sites(const struct sync_site_stat *stat, struct udax_ioc_lockstat_site *ret)
{
	static_assert(UDAX_LOCKSTAT_SITES == SYNC_NR_CONTENTION_SITES, "one for one");
	for (unsigned i = 0; i < UDAX_LOCKSTAT_SITES; i++) {
		const struct sync_site *site = stat[i].site;

		if (!site)
			continue;
		snprintf(ret[i].site, sizeof(ret[i].site), "%s:%d", site->file, site->line);
		ret[i].count = stat[i].count;
	}
}

int ioctl_lockstat(struct ioctl_call *call)
{
	struct udax_ioc_lockstat *out = (void *)call->arg;
	struct sync *sync = call->vol->sync;
	struct sync_class_stat stat;
	__u32 index = out->index;

	if (index >= LOCK_NR_CLASSES)
		return -EINVAL;
	sync_stat_read(sync, (enum lock_class)index, &stat);
	*out = (struct udax_ioc_lockstat){
		.version = UDAX_IOC_VERSION,
		.index = index,
		.total = LOCK_NR_CLASSES,
		.enabled = sync_stat_enabled(sync),
	};
	snprintf(out->name, sizeof(out->name), "%s", stat.name);
	lockstat_mode(&stat.modes[SYNC_SHARED], &out->shared);
	lockstat_mode(&stat.modes[SYNC_EXCL], &out->exclusive);
	lockstat_sites(stat.waiters, out->waiters);
	lockstat_sites(stat.holders, out->holders);
	return 0;
}

int ioctl_lockstat_control(struct ioctl_call *call)
{
	const struct udax_ioc_lockstat_control *in = (void *)call->arg;
	const __u32 on_off = UDAX_LOCKSTAT_ON | UDAX_LOCKSTAT_OFF;
	struct sync *sync = call->vol->sync;

	if (!in->flags || in->flags & ~(on_off | UDAX_LOCKSTAT_RESET) ||
	    (in->flags & on_off) == on_off)
		return -EINVAL;
	if (in->flags & UDAX_LOCKSTAT_OFF)
		sync_stat_enable(sync, false);
	if (in->flags & UDAX_LOCKSTAT_RESET)
		sync_stat_reset(sync);
	if (in->flags & UDAX_LOCKSTAT_ON)
		sync_stat_enable(sync, true);
	return 0;
}

/* ---- holders ---------------------------------------------------------------------------------- */

static void holder_entry(struct inode *inode, struct udax_ioc_holder *ret)
{
	struct holder_stat stat;

	holder_stat(inode, &stat);
	*ret = (struct udax_ioc_holder){
		.ino = inode->ino,
		.mode = (__u32)stat.mode,
		.handles = stat.nhandles,
		.writers = stat.nwriters,
		.attached = stat.nattached,
		.gates = stat.ngates,
		.admitted = stat.nadmitted,
		.recalls = stat.nrecalls,
		.late = stat.nlate,
		.read_bytes = stat.read_bytes,
		.write_bytes = stat.write_bytes,
		.zero_bytes = stat.zero_bytes,
		.layout_generation = stat.generation,
	};
}

static int holders_of_one(struct ioctl_call *call, uint64_t ino, struct udax_ioc_holders *out)
{
	struct inode *inode;
	struct attr attr;
	int err = inode_get(call->vol, ino, &inode);

	if (err)
		return err == -ESTALE ? -ENOENT : err;
	inode_attr(inode, &attr);
	if (ioctl_is_owner(call) || call->uid == attr.uid)
		holder_entry(inode, &out->entries[out->count++]);
	else
		err = -EPERM;
	inode_put(inode);
	return err;
}

struct collect {
	struct udax_ioc_holders *out;
	uint64_t from;
};

/*
 * Keep the UDAX_HOLDERS_ENTRIES smallest inode numbers from @from on, sorted. The table of inodes
 * has no order of its own.
 */
static void collect_holder(struct inode *inode, void *ctx)
{
	struct collect *collect = ctx;
	struct udax_ioc_holders *out = collect->out;
	struct udax_ioc_holder entry;
	__u32 at = out->count;

	if (inode->ino < collect->from)
		return;
	holder_entry(inode, &entry);
	if (!entry.handles && !entry.attached && !entry.gates)
		return;
	while (at > 0 && out->entries[at - 1].ino > entry.ino)
		at--;
	if (out->count == UDAX_HOLDERS_ENTRIES) {
		out->more = 1;
		if (at == out->count)
			return;
		out->count--;
	}
	memmove(&out->entries[at + 1], &out->entries[at],
		(out->count - at) * sizeof(out->entries[0]));
	out->entries[at] = entry;
	out->count++;
}

int ioctl_holders(struct ioctl_call *call)
{
	struct udax_ioc_holders *out = (void *)call->arg;
	struct collect collect = { .out = out, .from = out->ino };
	__u32 all = out->all;

	if (all > 1)
		return -EINVAL;
	if (all && !ioctl_is_owner(call))
		return -EPERM;
	memset(out, 0, sizeof(*out));
	out->version = UDAX_IOC_VERSION;
	out->ino = collect.from;
	out->all = all;
	if (!all)
		return holders_of_one(call, collect.from, out);
	icache_for_each(call->vol, collect_holder, &collect);
	return 0;
}

/* ---- growing, shutting down -------------------------------------------------------------------- */

/* One at a time. The lock is one below which a transaction and every allocator lock may be taken. */
static int grow_locked(struct volume *vol, struct udax_ioc_grow *out)
{
	uint64_t nblocks;
	int err = region_grow(vol->region);

	/* What cannot grow may still be larger than the volume that was made on it. */
	if (!err || err == -EOPNOTSUPP)
		err = volume_grow(vol, &nblocks);
	if (!err)
		out->new_bytes = nblocks << BLOCK_SHIFT;
	return err;
}

int ioctl_grow(struct ioctl_call *call)
{
	struct udax_ioc_grow *out = (void *)call->arg;
	struct volume *vol = call->vol;
	int err;

	if (out->reserved)
		return -EINVAL;
	sync_lock(&vol->rename, 0, HERE);
	out->old_bytes = atomic_load(&vol->nblocks) << BLOCK_SHIFT;
	err = volume_usable(vol, true);
	if (!err)
		err = grow_locked(vol, out);
	sync_unlock(&vol->rename, HERE);
	return err;
}

int ioctl_shutdown(struct ioctl_call *call)
{
	volume_shutdown(call->vol);
	return 0;
}
