/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * tool_xattr set FILE NAME BYTES - give FILE an attribute of that many bytes. setfattr(1) takes the
 * value as an argument, which is too short for the largest.
 * tool_xattr get FILE NAME - print how many bytes it has; fails if their content is another one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#define MOST_BYTES (1u << 20)

static int set(const char *path, const char *name, size_t bytes)
{
	char *value = malloc(MOST_BYTES);

	if (!value || bytes > MOST_BYTES) {
		fputs("tool_xattr: too large\n", stderr);
		free(value);
		return 2;
	}
	for (size_t i = 0; i < bytes; i++)
		value[i] = (char)(i * 7 % 251);
	if (setxattr(path, name, value, bytes, 0)) {
		perror(path);
		free(value);
		return 1;
	}
	free(value);
	return 0;
}

static int get(const char *path, const char *name)
{
	char *value = malloc(MOST_BYTES);
	ssize_t bytes = value ? getxattr(path, name, value, MOST_BYTES) : -1;
	int status = bytes < 0;

	if (bytes < 0)
		perror(path);
	for (ssize_t i = 0; i < bytes && !status; i++)
		status = value[i] != (char)(i * 7 % 251);
	if (!status)
		printf("%zd\n", bytes);
	free(value);
	return status;
}

int main(int argc, char **argv)
{
	if (argc == 5 && strcmp(argv[1], "set") == 0)
		return set(argv[2], argv[3], strtoul(argv[4], NULL, 10));
	if (argc == 4 && strcmp(argv[1], "get") == 0)
		return get(argv[2], argv[3]);
	fputs("usage: tool_xattr set FILE NAME BYTES | get FILE NAME\n", stderr);
	return 2;
}
