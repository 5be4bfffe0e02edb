/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * tool_feature REGION compat|ro_compat|incompat BIT - what a later version leaves that uses a feature which
 * this one does not know: its flag, in both superblocks of a volume that is not mounted.
 */
#include "fsck_image.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format.h"

static le64 *set_of(struct super *s, const char *name)
{
	if (strcmp(name, "compat") == 0)
		return &s->compat;
	if (strcmp(name, "ro_compat") == 0)
		return &s->ro_compat;
	return strcmp(name, "incompat") == 0 ? &s->incompat : NULL;
}

static int set_flag(int fd, off_t at, const char *set, unsigned bit)
{
	struct super s;
	le64 *flags = set_of(&s, set);

	if (!flags || bit > 63)
		return -1;
	if (pread(fd, &s, sizeof(s), at) != (ssize_t)sizeof(s))
		return -1;
	*flags = to_le64(from_le64(*flags) | UINT64_C(1) << bit);
	seal_super(&s);
	return pwrite(fd, &s, sizeof(s), at) == (ssize_t)sizeof(s) ? 0 : -1;
}

int main(int argc, char **argv)
{
	unsigned bit;
	int fd;

	if (argc != 4) {
		fputs("usage: tool_feature REGION compat|ro_compat|incompat BIT\n", stderr);
		return 2;
	}
	bit = (unsigned)strtoul(argv[3], NULL, 10);
	fd = open(argv[1], O_RDWR | O_CLOEXEC);
	if (fd < 0 || set_flag(fd, (off_t)SUPER_BLK << BLOCK_SHIFT, argv[2], bit) ||
	    set_flag(fd, (off_t)SUPER_COPY_BLK << BLOCK_SHIFT, argv[2], bit)) {
		perror(argv[1]);
		return 1;
	}
	return close(fd) ? 1 : 0;
}
