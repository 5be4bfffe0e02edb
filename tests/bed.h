/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * bed.h - where a unit test of the core stands: a formatted and mounted volume on a recorder region,
 * with lockdep, and in it one regular file whose forks the test uses as it likes.
 *
 * Everything here fails the running cmocka test when it does not work.
 */
#ifndef UDAX_TESTS_BED_H
#define UDAX_TESTS_BED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct dinode;
struct inode;
struct region;
struct sync;
struct tx;
struct udax_policy;
struct volume;

struct bed {
	struct sync *sync;
	struct region *region;
	struct volume *vol;
	struct inode *inode;		  /* the file: no blocks, one link, no name */
	struct tx *tx;			  /* between bed_begin() and bed_end() */
	const struct udax_policy *policy; /* NULL: the shipped one */
	unsigned lock_reports;
};

/**
 * bed_new - a volume of @bytes; @lockdep costs time. bed_new_on - the same on @region, which
 * bed_delete() closes. bed_new_with - a small one, with lockdep and another locking scheme. bed_delete()
 * drops the volume as kill -9 would, so that the file's forks need not make sense, and fails the test if
 * lockdep has reported anything.
 */
struct bed *bed_new(uint64_t bytes, bool lockdep);
struct bed *bed_new_on(struct region *region, bool lockdep);
struct bed *bed_new_with(const struct udax_policy *policy);
void bed_delete(struct bed *bed);

/** bed_remount - drop the volume and mount it again: nothing is cached or verified. */
void bed_remount(struct bed *bed);

/**
 * bed_begin - start a transaction and take the file's ilock exclusively.
 * bed_end - commit it when @err is 0, else abort; returns what tx_end() returned.
 */
void bed_begin(struct bed *bed, unsigned flags);
int bed_end(struct bed *bed, int err);

/** bed_dinode - the file's dinode as it stands on the medium. */
const struct dinode *bed_dinode(const struct bed *bed);

/** bed_store - change the medium behind the volume's back. */
void bed_store(struct bed *bed, uint64_t off, const void *src, size_t len);

/** bed_free - blocks that are free, those in reserve included. */
uint64_t bed_free(struct bed *bed);

/** bed_leave_free - take blocks until an ordinary transaction could have @left more. */
void bed_leave_free(struct bed *bed, uint64_t left);

/** bed_image - a copy of the medium, to be freed. bed_assert_image - that it still is that. */
unsigned char *bed_image(const struct bed *bed);
void bed_assert_image(const struct bed *bed, const unsigned char *image);

/** bed_seed - @fallback, or the environment's UDAX_SEED; printed, so that a run can be repeated. */
uint64_t bed_seed(uint64_t fallback);

/** rng_next - 64 pseudo-random bits. rng_below - a number below @n. */
uint64_t rng_next(uint64_t *state);
uint64_t rng_below(uint64_t *state, uint64_t n);

#endif
