/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * direct_log.c - an example of libudax: a log of lines in a file of a udaxfs mount, mapped directly.
 *
 *	cc -o direct_log direct_log.c $(pkg-config --cflags --libs udax)
 *	./direct_log /mnt/log "first line" "second line"
 *
 * The file begins with the number of bytes in use. A line is made durable before that number is, so
 * a log that was interrupted, even by power failure, ends with a whole line.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* O_DIRECT */
#endif
#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <udax/udax.h>

#define LOG_BYTES (1 << 20)

struct log {
	uint64_t used;
	char text[LOG_BYTES - sizeof(uint64_t)];
};

static void append(struct log *log, const char *line)
{
	size_t len = strlen(line);

	if (len + 1 > sizeof(log->text) - log->used)
		errx(1, "the log is full");
	memcpy(log->text + log->used, line, len);
	log->text[log->used + len] = '\n';
	udax_persist(log->text + log->used, len + 1);
	log->used += len + 1;
	udax_persist(&log->used, sizeof(log->used));
}

int main(int argc, char **argv)
{
	struct log *log;
	int fd;

	if (argc < 2)
		errx(2, "usage: direct_log FILE [LINE...]");
	fd = open(argv[1], O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0644);
	if (fd < 0 || ftruncate(fd, LOG_BYTES))
		err(1, "%s", argv[1]);
	log = udax_mmap(NULL, sizeof(*log), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (log == MAP_FAILED)
		errx(1, "%s cannot be mapped directly: %s", argv[1], udax_reason_text(udax_why()));
	close(fd); /* the mapping stays */
	if (log->used > sizeof(log->text))
		errx(1, "%s is not a log", argv[1]);
	for (int i = 2; i < argc; i++)
		append(log, argv[i]);
	fwrite(log->text, 1, log->used, stdout);
	return 0;
}
