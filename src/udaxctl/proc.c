/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * proc.c - who has a file open or mapped, from /proc.
 *
 * The daemon knows how many handles there are, the kernel knows whose. Nothing here waits for the
 * filesystem: the inode number of a descriptor stands in its fdinfo, and only where that is the one
 * that is looked for is the file itself asked for its device, with what the kernel has at hand.
 */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "udaxctl.h"

struct search {
	dev_t dev;
	uint64_t ino;
	void (*fn)(void *ctx, const struct user *user);
	void *ctx;
	unsigned hidden;
};

static void read_name(int pid, char *name, size_t len)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	name[0] = '\0';
	f = fopen(path, "re");
	if (!f)
		return;
	if (fgets(name, (int)len, f))
		name[strcspn(name, "\n")] = '\0';
	fclose(f);
}

/* ---- descriptors ------------------------------------------------------------------------------- */

/* Inode number (0: not told, before Linux 5.14) and open(2)'s flags of a descriptor. */
static bool read_fdinfo(int pid, int fd, uint64_t *ret_ino, int *ret_flags)
{
	char path[64], line[128];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, fd);
	f = fopen(path, "re");
	if (!f)
		return false;
	*ret_ino = 0;
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, "flags:", 6) == 0) {
			*ret_flags = (int)strtoul(line + 6, NULL, 8);
			found = true;
		} else if (strncmp(line, "ino:", 4) == 0) {
			*ret_ino = strtoull(line + 4, NULL, 10);
		}
	}
	fclose(f);
	return found;
}

static bool is_on_device(const char *path, const struct search *search)
{
	struct statx st;

	return statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, STATX_INO, &st) == 0 &&
	       makedev(st.stx_dev_major, st.stx_dev_minor) == search->dev &&
	       st.stx_ino == search->ino;
}

static void look_at_fd(struct search *search, int pid, int fd)
{
	struct user user = { .pid = pid, .fd = fd };
	char path[64];
	uint64_t ino;
	ssize_t len;
	int flags;

	if (!read_fdinfo(pid, fd, &ino, &flags) || (ino && ino != search->ino))
		return;
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	if (!is_on_device(path, search))
		return;
	len = readlink(path, user.path, sizeof(user.path) - 1);
	if (len > 0)
		user.path[len] = '\0';
	user.write = (flags & O_ACCMODE) != O_RDONLY;
	user.direct = flags & O_DIRECT;
	read_name(pid, user.name, sizeof(user.name));
	search->fn(search->ctx, &user);
}

static bool look_at_fds(struct search *search, int pid)
{
	struct dirent *entry;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (!dir)
		return false;
	while ((entry = readdir(dir)))
		if (isdigit((unsigned char)entry->d_name[0]))
			look_at_fd(search, pid, (int)strtol(entry->d_name, NULL, 10));
	closedir(dir);
	return true;
}

/* ---- mappings ----------------------------------------------------------------------------------- */

/* One line of maps: addresses, rights, offset, device, inode, path. Returns whether it is ours. */
static bool parse_mapping(char *line, const struct search *search, struct user *user)
{
	char *field[5], *colon;
	unsigned long major_number, minor_number;

	for (unsigned i = 0; i < 5; i++) {
		field[i] = strsep(&line, " ");
		if (!line)
			return false;
	}
	if (strtoull(field[4], NULL, 10) != search->ino)
		return false;
	major_number = strtoul(field[3], &colon, 16);
	minor_number = *colon ? strtoul(colon + 1, NULL, 16) : 0;
	if (makedev(major_number, minor_number) != search->dev)
		return false;
	user->write |= field[1][1] == 'w' && field[1][3] == 's';
	line += strspn(line, " ");
	snprintf(user->path, sizeof(user->path), "%.*s", (int)strcspn(line, "\n"), line);
	return true;
}

/* However many mappings of the file a process has, it is told of once. */
static void look_at_mappings(struct search *search, int pid)
{
	struct user user = { .pid = pid, .fd = -1 };
	char path[64], *line = NULL;
	bool found = false;
	size_t room = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	if (!f)
		return;
	while (getline(&line, &room, f) > 0)
		found |= parse_mapping(line, search, &user);
	free(line);
	fclose(f);
	if (!found)
		return;
	read_name(pid, user.name, sizeof(user.name));
	search->fn(search->ctx, &user);
}

/* ---- processes ---------------------------------------------------------------------------------- */

void proc_users(dev_t dev, uint64_t ino, void (*fn)(void *ctx, const struct user *user), void *ctx,
		unsigned *ret_hidden)
{
	struct search search = { .dev = dev, .ino = ino, .fn = fn, .ctx = ctx };
	struct dirent *entry;
	DIR *proc = opendir("/proc");

	while (proc && (entry = readdir(proc))) {
		int pid = (int)strtol(entry->d_name, NULL, 10); /* 0: not a process */

		if (pid <= 0 || pid == getpid())
			continue;
		if (look_at_fds(&search, pid))
			look_at_mappings(&search, pid);
		else
			search.hidden++;
	}
	if (proc)
		closedir(proc);
	*ret_hidden = search.hidden;
}
