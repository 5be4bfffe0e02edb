/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * tool_stranger.c - somebody who found the name of a daemon's socket in /proc/net/unix:
 *
 *	tool_stranger NAME
 *
 * connects, says HELLO as libudax would, and tells on standard output what he got: "welcome" with the region's
 * descriptor or "nothing", and then the end of the stream.
 */
#include <err.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto.h"

static int dial(const char *name)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
	int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (sock < 0 || strlen(name) >= sizeof(addr.sun_path) - 1)
		err(2, "socket");
	memcpy(addr.sun_path + 1, name, strlen(name));
	if (connect(sock, (struct sockaddr *)&addr, len))
		err(2, "connect to @%s", name);
	return sock;
}

int main(int argc, char **argv)
{
	struct proto_hello hello = { .head = { PROTO_HELLO, sizeof(hello), 0 },
				     .version = PROTO_VERSION };
	char bytes[256];
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(8 * sizeof(int))];
	} control;
	struct iovec iov = { bytes, sizeof(bytes) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	ssize_t n;
	int sock;

	if (argc != 2)
		errx(2, "usage: tool_stranger NAME");
	alarm(20);
	sock = dial(argv[1]);
	(void)!send(sock, &hello, sizeof(hello), MSG_NOSIGNAL); /* he may be hung up on already */
	n = recvmsg(sock, &msg, 0);
	puts(n > 0 || msg.msg_controllen ? "welcome" : "nothing");
	return 0;
}
