/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * info.c - udaxctl info and udaxctl df: what a volume is, and how full.
 *
 * A mount is asked. Of a region, info reads the superblock itself, so that it has something to say
 * about a volume that cannot be mounted; df mounts it read-only, in this process.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <uuid.h>

#include "alloc.h"
#include "format.h"
#include "inode.h"
#include "mem.h"
#include "region.h"
#include "udaxctl.h"
#include "volume.h"

/* ---- info: facts that both sources have --------------------------------------------------------- */

struct facts {
	struct udax_ioc_info info; /* of a region: what its superblock says */
	bool mounted;
	uint32_t state; /* of a region: SUPER_* */
	bool copy;	/* the first superblock is damaged, this is from the copy */
	uint32_t nlanes, lane_blocks;
};

static const struct super *find_super(const struct region *region, bool *ret_copy)
{
	static const uint64_t places[] = { SUPER_BLK, SUPER_COPY_BLK };

	for (unsigned i = 0; i < 2; i++) {
		uint64_t off = places[i] << BLOCK_SHIFT;
		const struct super *s = region_ptr(region, off, sizeof(*s));

		if (super_check(s) == 0 && region_check(region, off, sizeof(*s)) == 0) {
			*ret_copy = i > 0;
			return s;
		}
	}
	return NULL;
}

static int no_super(const struct target *target)
{
	const struct super *s = region_ptr(target->region, 0, sizeof(*s));

	if (from_le64(s->magic) == SUPER_MAGIC)
		return cli_error("%s: both superblocks are damaged: try fsck.udaxfs -y",
				 target->path);
	return cli_error("%s: there is no udaxfs on it: format it with mkfs.udaxfs", target->path);
}

static int facts_of_region(const struct target *target, struct facts *ret)
{
	const struct region *region = target->region;
	const struct super *s = find_super(region, &ret->copy);
	struct udax_ioc_info *info = &ret->info;

	if (!s)
		return no_super(target);
	ret->state = from_le32(s->state);
	ret->nlanes = from_le32(s->nlanes);
	ret->lane_blocks = from_le32(s->lane_blocks);
	info->durability = (uint32_t)region->domain;
	info->format_version = from_le32(s->version);
	info->block_bytes = BLOCK_BYTES;
	info->granule_bytes = from_le32(s->granule_bytes);
	info->size_bytes = from_le64(s->nblocks) << BLOCK_SHIFT;
	info->region_bytes = region->bytes;
	info->compat = from_le64(s->compat);
	info->ro_compat = from_le64(s->ro_compat);
	info->incompat = from_le64(s->incompat);
	info->created_ns = from_le64(s->created_ns);
	info->mounted_ns = from_le64(s->mounted_ns);
	info->mount_count = from_le32(s->mount_count);
	memcpy(info->uuid, s->uuid, sizeof(info->uuid));
	memcpy(info->label, s->label, sizeof(info->label) - 1);
	snprintf(info->region, sizeof(info->region), "%s", region->path);
	return CTL_OK;
}

static const char *state_name(const struct facts *facts)
{
	const struct udax_ioc_info *info = &facts->info;

	if (facts->mounted && info->flags & UDAX_INFO_SHUT_DOWN)
		return "shut down";
	if (facts->mounted)
		return info->flags & UDAX_INFO_READ_ONLY ? "mounted read-only" : "mounted";
	return facts->state & SUPER_CLEAN ? "clean" : "not unmounted";
}

static bool is_damaged(const struct facts *facts)
{
	return facts->info.flags & UDAX_INFO_DAMAGED || facts->state & SUPER_ERROR || facts->copy;
}

/* ---- info: text --------------------------------------------------------------------------------- */

static void print_state(const struct facts *facts)
{
	const struct udax_ioc_info *info = &facts->info;
	char process[CLI_PROCESS_LEN];

	printf("  state        %s", state_name(facts));
	if (facts->mounted)
		printf(", served by %s for user %u", cli_process((int)info->pid, process),
		       info->uid);
	else if (!(facts->state & SUPER_CLEAN))
		printf(": the next mount recovers");
	printf("%s\n", is_damaged(facts) ? "; damage was met: run fsck.udaxfs" : "");
}

static void print_size(const struct udax_ioc_info *info)
{
	char text[CLI_BYTES_LEN];

	printf("  size         %s (%llu bytes)\n", cli_bytes(info->size_bytes, text),
	       (unsigned long long)info->size_bytes);
	if (info->region_bytes >= info->size_bytes + info->block_bytes)
		printf("               the region has %s: 'udaxctl grow' makes use of them\n",
		       cli_bytes(info->region_bytes, text));
	printf("  granule      %s\n", cli_bytes(info->granule_bytes, text));
}

static void print_mount(const struct udax_ioc_info *info)
{
	printf("  program      udaxfs %s\n", info->program_version);
	printf("  mmaplock     %s\n", info->policy);
	printf("  lockdep      ");
	if (info->flags & UDAX_INFO_LOCKDEP)
		printf("on, %u reports\n", info->lockdep_reports);
	else
		printf("off\n");
	printf("  lockstat     %s\n", info->flags & UDAX_INFO_LOCKSTAT ? "on" : "off");
	if (info->flags & UDAX_INFO_RECORDING)
		printf("  recording    on\n");
}

static void print_info(const struct facts *facts)
{
	const struct udax_ioc_info *info = &facts->info;
	char uuid[UUID_STR_LEN], when[CTL_TIME_LEN], features[FEATURES_LEN];

	uuid_unparse_lower(info->uuid, uuid);
	printf("%s\n", info->region);
	print_state(facts);
	print_size(info);
	printf("  durability   %s\n", cli_durability((enum durability)info->durability));
	printf("  label        %s\n", info->label[0] ? info->label : "(none)");
	printf("  uuid         %s\n", uuid);
	printf("  format       version %u, features: %s\n", info->format_version,
	       features_text(info->compat, info->ro_compat, info->incompat, features));
	printf("  created      %s\n", ctl_time(info->created_ns, when));
	printf("  mounted      %s, %u times in all\n", ctl_time(info->mounted_ns, when),
	       info->mount_count);
	if (facts->mounted)
		print_mount(info);
	else
		printf("  journal      %u lanes of %u blocks\n", facts->nlanes, facts->lane_blocks);
}

/* ---- info: JSON ----------------------------------------------------------------------------------- */

static void json_mount(json_t *out, const struct udax_ioc_info *info)
{
	cli_set_uint(out, "pid", info->pid);
	cli_set_uint(out, "uid", info->uid);
	cli_set_bool(out, "read_only", info->flags & UDAX_INFO_READ_ONLY);
	cli_set_string(out, "program_version", info->program_version);
	cli_set_string(out, "mmaplock", info->policy);
	cli_set_bool(out, "lockdep", info->flags & UDAX_INFO_LOCKDEP);
	cli_set_uint(out, "lockdep_reports", info->lockdep_reports);
	cli_set_bool(out, "lockstat", info->flags & UDAX_INFO_LOCKSTAT);
	cli_set_bool(out, "recording", info->flags & UDAX_INFO_RECORDING);
}

static int json_info(const struct facts *facts)
{
	const struct udax_ioc_info *info = &facts->info;
	json_t *out = cli_json();
	char uuid[UUID_STR_LEN];

	uuid_unparse_lower(info->uuid, uuid);
	cli_set_string(out, "region", info->region);
	cli_set_string(out, "state", state_name(facts));
	cli_set_bool(out, "mounted", facts->mounted);
	cli_set_bool(out, "damage_met", is_damaged(facts));
	cli_set_uint(out, "size_bytes", info->size_bytes);
	cli_set_uint(out, "region_bytes", info->region_bytes);
	cli_set_uint(out, "block_bytes", info->block_bytes);
	cli_set_uint(out, "granule_bytes", info->granule_bytes);
	cli_set_string(out, "durability", durability_name((enum durability)info->durability));
	cli_set_string(out, "label", info->label);
	cli_set_string(out, "uuid", uuid);
	cli_set_uint(out, "format_version", info->format_version);
	cli_set_uint(out, "compat", info->compat);
	cli_set_uint(out, "ro_compat", info->ro_compat);
	cli_set_uint(out, "incompat", info->incompat);
	cli_set_uint(out, "created_ns", info->created_ns);
	cli_set_uint(out, "mounted_ns", info->mounted_ns);
	cli_set_uint(out, "mount_count", info->mount_count);
	if (facts->mounted)
		json_mount(out, info);
	return cli_print_json(out);
}

static int run_info(const struct verb *verb, int argc, char **argv)
{
	struct ctl_options options = { 0 };
	struct facts facts = { 0 };
	struct target target;
	int status = ctl_parse(verb, argc, argv, &options, 1, 1);

	if (status != CTL_OK)
		return status;
	status = target_open(&target, argv[optind], TARGET_MOUNT | TARGET_REGION);
	if (status == CTL_OK && target.region) {
		status = facts_of_region(&target, &facts);
	} else if (status == CTL_OK) {
		facts.info = target.info;
		facts.mounted = true;
	}
	if (status == CTL_OK && options.json)
		status = json_info(&facts);
	else if (status == CTL_OK)
		print_info(&facts);
	target_close(&target);
	return status;
}

const struct verb verb_info = {
	.name = "info",
	.args = "MOUNT|REGION",
	.summary = "Facts about a volume, mounted or not",
	.run = run_info,
};

/* ---- df ----------------------------------------------------------------------------------------- */

static int space_of_region(const struct target *target, struct udax_ioc_space *ret)
{
	const struct volume_env env = { .sync = target->sync,
					.mem = mem_heap(),
					.read_only = true };
	struct icache_stat inodes;
	struct volume *vol;
	struct space space;
	char err[512];
	int result = volume_mount(target->region, &env, &vol, err, sizeof(err));

	if (result == -EROFS)
		return cli_error("%s was not unmounted: how full it is will be known when it was "
				 "mounted once more",
				 target->path);
	if (result)
		return cli_error("%s: %s", target->path, err);
	alloc_space(vol, &space);
	icache_stat(vol, &inodes);
	*ret = (struct udax_ioc_space){
		.total_bytes = space.total << BLOCK_SHIFT,
		.free_bytes = space.free << BLOCK_SHIFT,
		.reserve_bytes = space.reserve << BLOCK_SHIFT,
		.quarantined_bytes = space.quarantined << BLOCK_SHIFT,
		.free_huge_bytes = space.free_huge << BLOCK_SHIFT,
		.inodes = inodes.ninodes,
		.inodes_free = inodes.ninodes_free,
	};
	volume_unmount(vol);
	return CTL_OK;
}

static int space_of_mount(const struct target *target, struct udax_ioc_space *ret)
{
	*ret = (struct udax_ioc_space){ .version = UDAX_IOC_VERSION };
	if (ioctl(target->fd, UDAX_IOC_SPACE, ret))
		return ctl_refused(target->path, "asking for free space", errno);
	return CTL_OK;
}

static uint64_t available(const struct udax_ioc_space *space)
{
	return space->free_bytes > space->reserve_bytes ? space->free_bytes - space->reserve_bytes
							: 0;
}

static void print_amount(const char *name, uint64_t bytes, uint64_t of)
{
	char text[CLI_BYTES_LEN];

	printf("  %-12s %10s  %5.1f%%  (%llu bytes)\n", name, cli_bytes(bytes, text),
	       of ? 100.0 * (double)bytes / (double)of : 0, (unsigned long long)bytes);
}

static void print_space(const struct target *target, const struct udax_ioc_space *space)
{
	uint64_t total = space->total_bytes;

	printf("%s\n", target->path);
	print_amount("size", total, total);
	print_amount("used", total - space->free_bytes - space->quarantined_bytes, total);
	print_amount("available", available(space), total);
	print_amount("in 2 MiB", space->free_huge_bytes, total);
	print_amount("reserve", space->reserve_bytes, total);
	print_amount("quarantined", space->quarantined_bytes, total);
	printf("  %-12s %llu used, %llu free without growing the table\n", "inodes",
	       (unsigned long long)(space->inodes - space->inodes_free),
	       (unsigned long long)space->inodes_free);
}

static int json_space(const struct target *target, const struct udax_ioc_space *space)
{
	json_t *out = cli_json();

	cli_set_string(out, "path", target->path);
	cli_set_uint(out, "total_bytes", space->total_bytes);
	cli_set_uint(out, "used_bytes",
		     space->total_bytes - space->free_bytes - space->quarantined_bytes);
	cli_set_uint(out, "free_bytes", space->free_bytes);
	cli_set_uint(out, "available_bytes", available(space));
	cli_set_uint(out, "reserve_bytes", space->reserve_bytes);
	cli_set_uint(out, "quarantined_bytes", space->quarantined_bytes);
	cli_set_uint(out, "free_huge_bytes", space->free_huge_bytes);
	cli_set_uint(out, "inodes_used", space->inodes - space->inodes_free);
	cli_set_uint(out, "inodes_free", space->inodes_free);
	return cli_print_json(out);
}

static int run_df(const struct verb *verb, int argc, char **argv)
{
	struct ctl_options options = { 0 };
	struct udax_ioc_space space;
	struct target target;
	int status = ctl_parse(verb, argc, argv, &options, 1, 1);

	if (status != CTL_OK)
		return status;
	status = target_open(&target, argv[optind], TARGET_MOUNT | TARGET_REGION);
	if (status == CTL_OK && target.region)
		status = space_of_region(&target, &space);
	else if (status == CTL_OK)
		status = space_of_mount(&target, &space);
	if (status == CTL_OK && options.json)
		status = json_space(&target, &space);
	else if (status == CTL_OK)
		print_space(&target, &space);
	target_close(&target);
	return status;
}

const struct verb verb_df = {
	.name = "df",
	.args = "MOUNT|REGION",
	.summary = "How full a volume is, mounted or not",
	.details = "available  what files can still get\n"
		   "in 2 MiB   free in whole aligned pieces, which can be mapped huge\n"
		   "reserve    kept back for operations that free space\n"
		   "quarantined  freed, but a program that does not answer may still map it\n",
	.run = run_df,
};
