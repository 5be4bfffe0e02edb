/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * tool_journal REGION - what a daemon leaves that died between a commit and its retirement: one sound
 * transaction in the journal of a volume that is not mounted. It says that the first line of the
 * volume's last block, which has to be free, has the content 0x5a.
 */
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crc.h"
#include "format.h"

#define LINE_BYTES 64

static void commit(unsigned char *bytes)
{
	const struct super *s = (const void *)(bytes + (SUPER_BLK << BLOCK_SHIFT));
	unsigned char *lane = bytes + (JOURNAL_BLK << BLOCK_SHIFT);
	struct lane_header *h = (void *)lane;
	struct log_lines *record = (void *)(h + 1);

	*record = (struct log_lines){
		.kind = to_le32(LOG_LINES),
		.off = to_le64((from_le64(s->nblocks) - 1) << BLOCK_SHIFT),
		.mask = to_le64(1),
	};
	memset(record + 1, 0x5a, LINE_BYTES);
	*h = (struct lane_header){
		.magic = to_le32(LANE_MAGIC),
		.bytes = to_le64(sizeof(*record) + LINE_BYTES),
		.seq = to_le64(1),
	};
	h->csum = to_le32(crc32c_skip(lane, sizeof(*h) + sizeof(*record) + LINE_BYTES,
				      offsetof(struct lane_header, csum)));
}

int main(int argc, char **argv)
{
	unsigned char *bytes;
	struct stat st;
	int fd;

	if (argc != 2) {
		fputs("usage: tool_journal REGION\n", stderr);
		return 2;
	}
	fd = open(argv[1], O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st)) {
		perror(argv[1]);
		return 1;
	}
	bytes = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (bytes == MAP_FAILED) {
		perror(argv[1]);
		return 1;
	}
	commit(bytes);
	return 0;
}
