/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * spare.h - memory that faults: reserved, registered with userfaultfd, and not inherited by fork.
 *
 * A mapping starts as a reservation. To take a piece of a mapping back, memory of the same kind is
 * moved over it in one step (mremap with MREMAP_FIXED): there is no moment at which the range is
 * neither the old piece nor faulting. Mapping fresh memory over it and registering that afterwards
 * would have one, and a store in it would be lost.
 *
 * The service's, except spare_wake().
 */
#ifndef UDAX_CLIENT_SPARE_H
#define UDAX_CLIENT_SPARE_H

#include <stddef.h>
#include <stdint.h>

struct client;

#define SPARES_HAND 16

struct spares {
	char *pool; /* taken from its end */
	size_t left;
	char *hand; /* mappings of the kernel's, kept to be given up when there are no more */
};

/** spares_init - 0, or -errno. */
int spares_init(struct client *client);

/**
 * spare_reserve - @len bytes of faulting memory with protection @prot at @addr as mmap(2) treats it
 * with @flags (0, MAP_FIXED_NOREPLACE; not MAP_FIXED). Returns the address or -errno (sys_failed()).
 */
void *spare_reserve(struct client *client, void *addr, size_t len, int prot, int flags);

/** spare_reserve_aligned - somewhere, so that the address is @phase modulo @align (2 MiB). */
void *spare_reserve_aligned(struct client *client, size_t len, int prot, size_t align,
			    size_t phase);

/** spare_adopt - make faulting memory of an anonymous mapping that nobody uses. 0, -errno. */
int spare_adopt(struct client *client, uint64_t addr, uint64_t len, int prot);

/** spare_move - move a reservation over whatever is at @to, in one step. 0, or -errno: nothing moved. */
int spare_move(struct client *client, void *from, size_t len, void *to);

/**
 * spare_cover - turn [@addr, @addr + @len) into faulting memory with protection @prot, in one step for
 * whoever touches it. 0, or -errno: it is as it was.
 */
int spare_cover(struct client *client, uint64_t addr, uint64_t len, int prot);

/**
 * spare_replace - move [@from, @from + @len), which is not registered, over faulting memory at @to.
 * -errno: @from is unmapped, and @to faults as before with protection @prot.
 */
int spare_replace(struct client *client, void *from, uint64_t len, uint64_t to, int prot);

/** spare_wake - let those who wait for a page of the range touch it again. Any thread of ours. */
void spare_wake(struct client *client, uint64_t addr, uint64_t len);

#endif
