/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fork.c - see fork.h. The parent's memory is read as it was when fork(2) copied it: mappings and the files
 * behind them stood still, everything else may have been half-way.
 */
#include "fork.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "client.h"
#include "file.h"
#include "mapping.h"
#include "sys.h"

union fd_control {
	struct cmsghdr head;
	char bytes[CMSG_SPACE(sizeof(int))];
};

static void leave(int sock, const struct file *file)
{
	union fd_control control = { 0 };
	struct iovec iov = { &file, sizeof(file) };
	struct msghdr hdr = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};

	control.head.cmsg_level = SOL_SOCKET;
	control.head.cmsg_type = SCM_RIGHTS;
	control.head.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.head), &file->fd, sizeof(int));
	sys_sendmsg(sock, &hdr, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void fork_leave_files(struct client *client, int tid, int fd)
{
	int sock = sys_take_fd(tid, fd);

	if (sock < 0)
		return;
	for (struct file *file = client->files; file; file = file->next) {
		if (file->mappings && file->fd >= 0)
			leave(sock, file);
	}
	sys_close(sock);
}

/* ---- the child ------------------------------------------------------------------------------- */

static struct file *adopt_file(struct client *client, const struct file *from)
{
	struct file *file = client->files;

	while (file && file->from != from)
		file = file->next;
	if (file)
		return file;
	file = file_new(client, from->dev, from->ino, from->writable);
	if (!file)
		return NULL;
	file->from = from;
	file->granule_bytes = from->granule_bytes;
	file->found_before = true;
	if (!from->identified)
		return file;
	file->path = arena_alloc(&client->arena, FILE_PATH_BYTES);
	if (!file->path)
		return file;
	memcpy(file->path, from->path, FILE_PATH_BYTES);
	memcpy(file->uuid, from->uuid, sizeof(file->uuid));
	file->generation = from->generation;
	file->identified = true;
	return file;
}

static void adopt_mapping(struct client *client, const struct mapping *from)
{
	uint64_t start = from->span.start, len = from->span.end - start;
	struct mapping like = *from;

	like.file = adopt_file(client, from->file);
	if (!like.file || mapping_add(client, start, start + len, from->pos, &like))
		return; /* the place stays held: a touch is a SIGSEGV */
	if (spare_adopt(client, start, len, like.prot))
		mapping_forget(client, start, start + len);
}

void fork_hold_places(const struct client *parent)
{
	struct span *span;

	for (uint64_t at = 0; (span = span_from(&parent->mappings, at)); at = span->end) {
		void *mem;

		if (container_of(span, struct mapping, span)->not_for_children)
			continue;
		mem = sys_mmap((void *)span->start, span->end - span->start, PROT_NONE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE,
			       -1, 0);
		if ((uintptr_t)mem != span->start)
			abort();
	}
}

/* A file that the socket has and no mapping needs was unmapped; it is closed with the socket. */
static bool receive(struct client *client)
{
	const struct file *from;
	union fd_control control;
	struct iovec iov = { &from, sizeof(from) };
	struct msghdr hdr = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	int fd;

	if (sys_recvmsg(client->inherit, &hdr, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != sizeof(from))
		return false;
	if (hdr.msg_controllen < CMSG_LEN(sizeof(int)))
		return true;
	memcpy(&fd, CMSG_DATA(&control.head), sizeof(fd));
	for (struct file *file = client->files; file; file = file->next) {
		if (file->from == from) {
			file->fd = fd;
			return true;
		}
	}
	sys_close(fd);
	return true;
}

void fork_adopt(struct client *client)
{
	struct client *parent = client->parent;
	struct span *span;

	for (uint64_t at = 0; (span = span_from(&parent->mappings, at)); at = span->end) {
		const struct mapping *mapping = container_of(span, struct mapping, span);

		if (!mapping->not_for_children)
			adopt_mapping(client, mapping);
	}
	while (receive(client))
		;
	if (client->inherit >= 0)
		sys_close(client->inherit);
	client->inherit = -1;
	for (struct file *file = client->files; file; file = file->next)
		file->from = NULL;
	arena_destroy(&parent->arena);
	sys_munmap(parent->zeroes, ZERO_BYTES);
	sys_munmap(parent, sizeof(*parent));
	client->parent = NULL;
}
