/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * crash.h - the crash explorer: what a power failure at any fence of an operation leaves behind.
 *
 * A case is a volume with some files and one operation on it. The operation runs on a recorder
 * (region.h). At each fence the explorer makes the images that a crash there may leave: everything
 * before the fence is durable, and so are all cache lines stored since, or all but one, for each
 * of them. Every image is mounted, which recovers it, and then
 *
 *   - the checker (fsck.h) finds nothing;
 *   - what is visible is what was visible before the operation, or what is visible after it;
 *   - no poison can be read: all free blocks were filled with it;
 *   - and recovery itself is crashed at each of its fences, with the same result in the end.
 *
 * Fault model, and what is not in it: a line is lost or kept whole, and one line is lost at a time.
 * Tearing within a line, and losing two lines at once, is what the checksums of the journal are
 * for; tests of the journal tear its lanes byte by byte.
 *
 * "Visible" is a text: every name with its inode number, attributes, times, target, attributes of
 * its inode, and contents.
 */
#ifndef UDAX_TESTS_CRASH_H
#define UDAX_TESTS_CRASH_H

#include <stddef.h>
#include <stdint.h>

struct inode;
struct region;
struct volume;

#define CRASH_VOLUME_BYTES (2u << 20)
#define CRASH_POISON 0xa5

/** A text that says what is visible on a volume. */
struct view {
	unsigned char *text;
	size_t len, room;
};

/** view_take - what is visible on @vol now; view_free() frees it. Fails the test on an error. */
void view_take(struct volume *vol, struct view *ret);
void view_free(struct view *view);

struct crash_case {
	const char *name;		   /* a sentence; of the test too */
	void (*setup)(struct volume *vol); /* NULL: the common files only */
	void (*op)(struct volume *vol);
	/*
	 * The operation stores over bytes that are visible: those need not be all old or all new.
	 * The two views have the same length.
	 */
	int torn;
	uint32_t lane_blocks; /* of the journal's lanes; small ones split an operation; 0: as usual */
	uint64_t bytes;	      /* of the volume; 0: CRASH_VOLUME_BYTES */
	int invisible;	      /* it changes only where things stand */
};

/**
 * crash_explore - run one case; fails the running cmocka test with the operation, the fence, the
 * source line whose store was lost, and what differs.
 */
void crash_explore(const struct crash_case *c);

/** crash_images - how many images have been checked in this process. */
uint64_t crash_images(void);

/** crash_open - the inode of @path ("a/b"), with a reference. Fails the test if it is not there. */
struct inode *crash_open(struct volume *vol, const char *path);

#endif
