/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fsck_damage.h - kinds of damage to the image of fsck_image.h, each with the finding that has to
 * name it.
 */
#ifndef UDAX_TESTS_FSCK_DAMAGE_H
#define UDAX_TESTS_FSCK_DAMAGE_H

#include "fsck_image.h"

struct damage {
	const char *name; /* of the test */
	enum fsck_code code;
	void (*fn)(unsigned char *bytes);
	enum { LOSES, KEEPS } keeps; /* whether everything visible is as before afterwards */
};

extern const struct damage damages[];
extern const size_t nr_damages;

/** damage_do - do it to @bytes, a copy of what @image has. */
void damage_do(const struct damage *damage, const struct image *image, unsigned char *bytes);

#endif
