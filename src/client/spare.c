/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * spare.c - see spare.h.
 *
 * mremap(2) can fail after it has unmapped what it was to replace (no memory for page tables). The
 * range would then be open to any mmap, so it is reserved again at once, and if somebody else was
 * faster the process ends: it could not tell whose memory it would be storing into.
 *
 * A process has vm.max_map_count mappings. When there are none left, those "in hand" are given up, so
 * that a recall can be answered even then.
 */
#include "spare.h"

#include <errno.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "client.h"
#include "sys.h"

#define POOL_BYTES ((size_t)64 << 20)

static int make_faulting(struct client *client, void *addr, size_t len)
{
	struct uffdio_register reg = {
		.range = { (uintptr_t)addr, len },
		.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP,
	};
	int err = sys_madvise(addr, len, MADV_DONTFORK);

	if (!err)
		err = sys_munlock(addr, len);
	return err ? err : sys_ioctl(client->uffd, UFFDIO_REGISTER, &reg);
}

/*
 * Made without access: after mlockall(MCL_FUTURE) the kernel fills what may be touched at once, and it would
 * never fault.
 */
static int open_up(struct client *client, void *addr, size_t len, int prot)
{
	int err = make_faulting(client, addr, len);

	return err || prot == PROT_NONE ? err : sys_mprotect(addr, len, prot);
}

void *spare_reserve(struct client *client, void *addr, size_t len, int prot, int flags)
{
	void *mem = sys_mmap(addr, len, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);
	int err = sys_failed(mem);

	if (err)
		return mem;
	err = open_up(client, mem, len, prot);
	if (!err)
		return mem;
	sys_munmap(mem, len);
	return (void *)(intptr_t)err;
}

void *spare_reserve_aligned(struct client *client, size_t len, int prot, size_t align, size_t phase)
{
	char *mem = sys_mmap(NULL, len + align, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t head;
	int err = sys_failed(mem);

	if (err)
		return mem;
	head = (phase - (uintptr_t)mem) & (align - 1);
	if (head)
		sys_munmap(mem, head);
	sys_munmap(mem + head + len, align - head);
	err = open_up(client, mem + head, len, prot);
	if (!err)
		return mem + head;
	sys_munmap(mem + head, len);
	return (void *)(intptr_t)err;
}

int spare_adopt(struct client *client, uint64_t addr, uint64_t len, int prot)
{
	return open_up(client, (void *)addr, len, prot);
}

/* ---- in hand --------------------------------------------------------------------------------- */

/* Pages with alternating protection, so that the kernel does not merge them. */
static void take_in_hand(struct client *client)
{
	char *mem = sys_mmap(NULL, SPARES_HAND * PAGE_BYTES, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (sys_failed(mem))
		return;
	sys_madvise(mem, SPARES_HAND * PAGE_BYTES, MADV_DONTFORK);
	for (unsigned i = 0; i < SPARES_HAND; i += 2)
		sys_mprotect(mem + i * PAGE_BYTES, PAGE_BYTES, PROT_READ);
	client->spares.hand = mem;
}

static bool open_hand(struct client *client)
{
	if (!client->spares.hand)
		return false;
	sys_munmap(client->spares.hand, SPARES_HAND * PAGE_BYTES);
	client->spares.hand = NULL;
	return true;
}

/* ---- the pool -------------------------------------------------------------------------------- */

/*
 * Without access, so that the kernel does not make one mapping of the pool and of a reservation next to
 * it. Memory that was part of a mapping in which somebody has faulted (anon_vma) never merges with what
 * it is moved to, and each piece that is taken back would cost a mapping for good.
 */
static int refill(struct client *client)
{
	void *mem = spare_reserve(client, NULL, POOL_BYTES, PROT_NONE, 0);
	int err = sys_failed(mem);

	if (err)
		return err;
	if (client->spares.left)
		sys_munmap(client->spares.pool, client->spares.left);
	client->spares.pool = mem;
	client->spares.left = POOL_BYTES;
	return 0;
}

int spares_init(struct client *client)
{
	take_in_hand(client);
	return refill(client);
}

/* The memory that is to cover something: out of the pool, or of its own when that is too small. */
static void *take_spare(struct client *client, uint64_t len, int prot)
{
	struct spares *spares = &client->spares;
	void *mem;
	int err;

	if (len > POOL_BYTES / 4)
		return spare_reserve(client, NULL, len, prot, 0);
	if (len > spares->left) {
		err = refill(client);
		if (err)
			return (void *)(intptr_t)err;
	}
	spares->left -= len;
	mem = spares->pool + spares->left;
	err = sys_mprotect(mem, len, prot);
	if (!err)
		return mem;
	spares->left += len;
	return (void *)(intptr_t)err;
}

/* ---- moving ---------------------------------------------------------------------------------- */

/* After a failed mremap over @addr: is it still there? */
static void restore(struct client *client, uint64_t addr, uint64_t len, int prot)
{
	void *mem = spare_reserve(client, (void *)addr, len, prot, MAP_FIXED_NOREPLACE);
	int err = sys_failed(mem);

	if (!err && (uintptr_t)mem != addr)
		abort();
	if (err && err != -EEXIST)
		abort();
}

int spare_move(struct client *client, void *from, size_t len, void *to)
{
	void *moved;

	bell_read_begin(client);
	moved = sys_mremap(from, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	bell_read_end(client);
	return sys_failed(moved);
}

static int cover_once(struct client *client, uint64_t addr, uint64_t len, int prot)
{
	void *mem = take_spare(client, len, prot);
	int err = sys_failed(mem);

	if (err)
		return err;
	err = spare_move(client, mem, len, (void *)addr);
	if (!err)
		return 0;
	sys_munmap(mem, len);
	restore(client, addr, len, prot);
	return err;
}

int spare_cover(struct client *client, uint64_t addr, uint64_t len, int prot)
{
	int err = cover_once(client, addr, len, prot);

	if (err == -ENOMEM && open_hand(client)) {
		err = cover_once(client, addr, len, prot);
		take_in_hand(client);
	}
	return err;
}

int spare_replace(struct client *client, void *from, uint64_t len, uint64_t to, int prot)
{
	void *moved = sys_mremap(from, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)to);
	int err = sys_failed(moved);

	if (!err)
		return 0;
	sys_munmap(from, len);
	restore(client, to, len, prot);
	return err;
}

void spare_wake(struct client *client, uint64_t addr, uint64_t len)
{
	struct uffdio_range range = { addr, len };

	sys_ioctl(client->uffd, UFFDIO_WAKE, &range);
}
