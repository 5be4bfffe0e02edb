/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_clientd.c - the daemon's side of the socket, spoken to by a client that is a few lines here: it
 * says what it wants, also what no client would say.
 */
#include "bed.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "alloc.h"
#include "clientd.h"
#include "file.h"
#include "fuse_token.h"
#include "inode.h"
#include "layout.h"
#include "mem.h"
#include "mode.h"
#include "proto.h"
#include "region.h"
#include "volume.h"

#define PAGE UINT64_C(4096)
#define PATIENCE_MS 5000
#define RECALL_MS 50

static const struct layout_ctx waits = { .may_wait = true };

/* ---- a mount without a kernel ------------------------------------------------------------------- */

struct mount {
	struct bed *bed;
	struct tokens *tokens;
	struct clientd *d;
};

static void serve(struct mount *m)
{
	struct waiter waiter = { NULL };
	enum file_mode mode;

	assert_int_equal(mode_open(m->bed->inode, MODE_WANT_UNCACHED, &waiter, &mode), 0);
	m->bed->vol->recall_timeout_ns = RECALL_MS * UINT64_C(1000000);
	m->tokens = tokens_new(m->bed->sync, mem_heap());
	assert_non_null(m->tokens);
	assert_int_equal(clientd_new(m->bed->vol, m->tokens, &m->d), 0);
}

static struct mount mount_new(void)
{
	struct mount m = { .bed = NULL };
	char path[] = "/tmp/unit_clientd.XXXXXX", err[256];
	struct region *region;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 16 << 20), 0);
	close(fd);
	if (region_open(path, 0, 0, &region, err, sizeof(err)))
		fail_msg("%s", err);
	unlink(path);
	m.bed = bed_new_on(region, true);
	serve(&m);
	return m;
}

static void stop(struct mount *m)
{
	clientd_delete(m->d);
	tokens_delete(m->tokens);
	mode_release(m->bed->inode, 0);
}

static void mount_delete(struct mount *m)
{
	stop(m);
	bed_delete(m->bed);
}

static void put(struct mount *m, uint64_t pos, char c, size_t len)
{
	char *buf = malloc(len);

	assert_non_null(buf);
	memset(buf, c, len);
	assert_int_equal(file_write(m->bed->inode, pos, buf, len, IO_MAY_WAIT), len);
	free(buf);
}

static uint64_t quarantined(struct mount *m)
{
	struct space space;

	alloc_space(m->bed->vol, &space);
	return space.quarantined;
}

/* ---- a client ----------------------------------------------------------------------------------- */

struct peer {
	int fd, region_fd;
	uint32_t number;
};

static void say(const struct peer *peer, enum proto_type type, uint32_t id, void *message,
		size_t len)
{
	*(struct proto_head *)message =
		(struct proto_head){ .type = (uint16_t)type, .bytes = (uint16_t)len, .id = id };
	assert_int_equal(send(peer->fd, message, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* The next message; its type, or 0 when the stream has ended. */
static unsigned hear(struct peer *peer, union proto_message *ret)
{
	union {
		struct cmsghdr head;
		unsigned char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { ret, sizeof(*ret) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	struct pollfd fd = { peer->fd, POLLIN, 0 };
	ssize_t n;

	assert_int_equal(poll(&fd, 1, PATIENCE_MS), 1);
	n = recvmsg(peer->fd, &msg, MSG_CMSG_CLOEXEC);
	if (n <= 0)
		return 0;
	assert_int_equal(n, ret->head.bytes);
	if (CMSG_FIRSTHDR(&msg))
		memcpy(&peer->region_fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
	return ret->head.type;
}

static struct peer dial(struct mount *m)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const char *name = clientd_name(m->d);
	struct peer peer = { socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), -1, 0 };

	assert_true(peer.fd >= 0);
	memcpy(addr.sun_path + 1, name, strlen(name));
	assert_int_equal(
		connect(peer.fd, (struct sockaddr *)&addr,
			(socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name))),
		0);
	return peer;
}

static struct peer join(struct mount *m)
{
	struct proto_hello hello = { .version = PROTO_VERSION };
	struct peer peer = dial(m);
	union proto_message reply;

	say(&peer, PROTO_HELLO, 0, &hello, sizeof(hello));
	assert_int_equal(hear(&peer, &reply), PROTO_WELCOME);
	assert_true(peer.region_fd >= 0);
	peer.number = reply.welcome.client;
	return peer;
}

static void leave(struct peer *peer)
{
	close(peer->fd);
	if (peer->region_fd >= 0)
		close(peer->region_fd);
}

static int attach_file(struct mount *m, struct peer *peer, uint32_t id)
{
	struct proto_attach message = { .writable = 1 };
	union proto_message reply;

	assert_int_equal(token_issue(m->tokens, m->bed->inode, getuid(),
				     TOKEN_MAP_READ | TOKEN_MAP_WRITE, message.token),
			 0);
	say(peer, PROTO_ATTACH, id, &message, sizeof(message));
	assert_int_equal(hear(peer, &reply), PROTO_ATTACHED);
	return reply.attached.status;
}

static struct proto_grant touch(struct peer *peer, uint32_t id, uint64_t first, uint64_t end)
{
	struct proto_fault message = {
		.seq = 7, .write = 1, .pos = first, .first = first, .end = end
	};
	union proto_message reply;

	say(peer, PROTO_FAULT, id, &message, sizeof(message));
	assert_int_equal(hear(peer, &reply), PROTO_GRANT);
	assert_int_equal(reply.grant.seq, 7);
	return reply.grant;
}

/* ---- tests -------------------------------------------------------------------------------------- */

static void a_client_maps_what_the_file_has(void **state)
{
	struct mount m = mount_new();
	struct peer peer = join(&m);
	struct proto_grant grant;
	const char *at;

	(void)state;
	put(&m, 0, 'a', 2 * PAGE);
	assert_int_equal(attach_file(&m, &peer, 5), 0);
	grant = touch(&peer, 5, 0, 2 * PAGE);
	assert_int_equal(grant.kind, PROTO_WRITE);
	assert_int_equal(grant.len, 2 * PAGE);
	at = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, peer.region_fd, (off_t)grant.region_off);
	assert_true(at != MAP_FAILED);
	assert_int_equal(at[0], 'a');
	munmap((void *)(uintptr_t)at, PAGE);
	leave(&peer);
	mount_delete(&m);
}

/* mount_delete() fails when the lock order was violated. */
static void a_mount_ends_while_clients_are_connected(void **state)
{
	struct mount m = mount_new();
	struct peer peer = join(&m), other = join(&m);
	union proto_message message;

	(void)state;
	assert_int_equal(attach_file(&m, &peer, 1), 0);
	close(peer.region_fd);
	close(other.region_fd);
	peer.region_fd = other.region_fd = -1;
	mount_delete(&m);
	assert_int_equal(hear(&peer, &message), 0);
	leave(&peer);
	leave(&other);
}

static void truncated(void *arg)
{
	assert_int_equal(layout_truncate(((struct mount *)arg)->bed->inode, 0, &waits), 0);
}

/* The reaper looks now and then only: late and not late any more between two looks counts too. */
static void quarantine_ends_when_a_client_was_late_for_a_moment(void **state)
{
	struct mount m = mount_new();
	struct peer peer = join(&m);
	struct sync_thread *thread;
	union proto_message message;

	(void)state;
	for (unsigned round = 0; round < 8; round++) {
		put(&m, 0, 'a', 8 * PAGE);
		if (!round)
			assert_int_equal(attach_file(&m, &peer, 1), 0);
		assert_int_equal(touch(&peer, 1, 0, 8 * PAGE).kind, PROTO_WRITE);
		assert_int_equal(sync_thread_start(m.bed->sync, "truncate", truncated, &m, &thread),
				 0);
		assert_int_equal(hear(&peer, &message), PROTO_RECALL);
		sync_thread_join(thread);
		assert_int_equal(quarantined(&m), 8);
		say(&peer, PROTO_ACK, 1, &message, sizeof(message.range));
		assert_int_equal(hear(&peer, &message), PROTO_LATE);
		for (unsigned ms = 0; quarantined(&m) && ms < PATIENCE_MS; ms += 10)
			usleep(10000);
		assert_int_equal(quarantined(&m), 0);
	}
	leave(&peer);
	mount_delete(&m);
}

/* A child has a copy of the socket, so the stream does not end with its parent. */
static void a_client_without_the_region_is_gone_whatever_its_stream_says(void **state)
{
	struct mount m = mount_new();
	struct peer peer = join(&m);
	union proto_message message;

	(void)state;
	assert_int_equal(attach_file(&m, &peer, 1), 0);
	close(peer.region_fd);
	peer.region_fd = -1;
	assert_int_equal(hear(&peer, &message), 0);
	leave(&peer);
	mount_delete(&m);
}

static void clients_of_before_are_gone_although_new_ones_are_there(void **state)
{
	struct mount m = mount_new();
	struct peer old = join(&m), fresh;

	(void)state;
	stop(&m); /* the old one keeps its descriptor of the region */
	bed_remount(m.bed);
	assert_true(atomic_load(&m.bed->vol->orphans));
	serve(&m);
	fresh = join(&m);
	assert_int_not_equal(fresh.number, old.number);
	usleep(100000);
	assert_true(atomic_load(&m.bed->vol->orphans));
	leave(&old);
	for (unsigned ms = 0; atomic_load(&m.bed->vol->orphans) && ms < PATIENCE_MS; ms += 10)
		usleep(10000);
	assert_false(atomic_load(&m.bed->vol->orphans));
	leave(&fresh);
	mount_delete(&m);
}

static void a_recall_does_not_wait_for_a_file_that_was_detached(void **state)
{
	struct mount m = mount_new();
	struct peer peer = join(&m);
	struct proto_plain detach = { .seq = 0 };
	struct proto_plain sync = { .seq = 9 };
	union proto_message message;

	(void)state;
	put(&m, 0, 'a', PAGE);
	assert_int_equal(attach_file(&m, &peer, 1), 0);
	assert_int_equal(attach_file(&m, &peer, 2), 0);
	touch(&peer, 1, 0, PAGE);
	say(&peer, PROTO_DETACH, 1, &detach, sizeof(detach));
	say(&peer, PROTO_SYNC, 2, &sync, sizeof(sync));
	assert_int_equal(hear(&peer, &message), PROTO_SYNCED);
	truncated(&m);
	assert_int_equal(atomic_load(&m.bed->vol->stat.recalls), 0);
	leave(&peer);
	mount_delete(&m);
}

static void expect_hung_up(struct mount *m, enum proto_type type, uint32_t id, void *said,
			   size_t len)
{
	struct peer peer = join(m);
	union proto_message message;

	assert_int_equal(attach_file(m, &peer, 1), 0);
	say(&peer, type, id, said, len);
	assert_int_equal(hear(&peer, &message), 0);
	leave(&peer);
}

static void whoever_lies_is_hung_up_on_and_nobody_else(void **state)
{
	struct mount m = mount_new();
	struct peer honest = join(&m);
	struct proto_fault odd = { .pos = 1, .first = 1, .end = PAGE };
	struct proto_fault outside = { .pos = PAGE, .first = 0, .end = PAGE };
	struct proto_fault endless = { .pos = 0, .first = 0, .end = UINT64_MAX - PAGE + 1 };
	struct proto_fault foreign = { .pos = 0, .first = 0, .end = PAGE };
	struct proto_range nothing = { .seq = 3, .len = PAGE };
	struct proto_range overflow = { .pos = UINT64_MAX - PAGE + 1, .len = PAGE };
	struct proto_hello again = { .version = PROTO_VERSION };
	struct proto_plain plain = { .seq = 0 };

	(void)state;
	put(&m, 0, 'a', PAGE);
	assert_int_equal(attach_file(&m, &honest, 1), 0);
	expect_hung_up(&m, PROTO_FAULT, 1, &odd, sizeof(odd));
	expect_hung_up(&m, PROTO_FAULT, 1, &outside, sizeof(outside));
	expect_hung_up(&m, PROTO_FAULT, 1, &endless, sizeof(endless));
	expect_hung_up(&m, PROTO_FAULT, 2, &foreign, sizeof(foreign));
	expect_hung_up(&m, PROTO_ACK, 1, &nothing, sizeof(nothing));
	expect_hung_up(&m, PROTO_RETURN, 1, &overflow, sizeof(overflow));
	expect_hung_up(&m, PROTO_HELLO, 0, &again, sizeof(again));
	expect_hung_up(&m, PROTO_DETACH, 2, &plain, sizeof(plain));
	expect_hung_up(&m, PROTO_GRANT, 1, &plain, sizeof(plain));
	expect_hung_up(&m, PROTO_FAULT, 1, &foreign, sizeof(foreign) - 8);
	assert_int_equal(touch(&honest, 1, 0, PAGE).kind, PROTO_WRITE);
	leave(&honest);
	mount_delete(&m);
}

static void a_token_is_good_for_one_file_once(void **state)
{
	struct mount m = mount_new();
	struct peer peer = join(&m);
	struct proto_attach message = { .writable = 1 };
	union proto_message reply;

	(void)state;
	assert_int_equal(
		token_issue(m.tokens, m.bed->inode, getuid(), TOKEN_MAP_READ, message.token), 0);
	say(&peer, PROTO_ATTACH, 1, &message, sizeof(message));
	assert_int_equal(hear(&peer, &reply), PROTO_ATTACHED);
	assert_int_equal(reply.attached.status, -EACCES);
	message.writable = 0;
	say(&peer, PROTO_ATTACH, 1, &message, sizeof(message));
	assert_int_equal(hear(&peer, &reply), PROTO_ATTACHED);
	assert_int_equal(reply.attached.status, -EKEYREJECTED);
	leave(&peer);
	mount_delete(&m);
}

/*
 * What was sent and is not read any more may hold the sender's own socket, in which the region's descriptor
 * waits to be received: then it would be held by what only its end lets go of.
 */
static void a_client_that_sends_its_own_socket_is_forgotten(void **state)
{
	struct mount m = mount_new();
	struct clientd_stat stat = { .nclients = 1 };

	(void)state;
	for (unsigned i = 0; i < 50; i++) {
		struct proto_hello hello = { .version = PROTO_VERSION };
		struct proto_plain lie = { .seq = 0 };
		struct peer peer = dial(&m);
		union {
			struct cmsghdr head;
			unsigned char bytes[CMSG_SPACE(sizeof(int))];
		} control = { .head = { .cmsg_len = CMSG_LEN(sizeof(int)),
					.cmsg_level = SOL_SOCKET,
					.cmsg_type = SCM_RIGHTS } };
		struct iovec iov = { &lie, sizeof(lie) };
		struct msghdr msg = { .msg_iov = &iov,
				      .msg_iovlen = 1,
				      .msg_control = &control,
				      .msg_controllen = sizeof(control) };

		memcpy(CMSG_DATA(&control.head), &peer.fd, sizeof(int));
		say(&peer, PROTO_HELLO, 0, &hello, sizeof(hello));
		say(&peer, PROTO_GRANT, 0, &lie, sizeof(lie));
		for (unsigned n = 0; n < 4; n++)
			(void)!sendmsg(peer.fd, &msg, MSG_NOSIGNAL);
		leave(&peer);
	}
	for (unsigned ms = 0; stat.nclients + stat.nlost && ms < PATIENCE_MS; ms += 10) {
		usleep(10000);
		clientd_stat(m.d, &stat);
	}
	assert_int_equal(stat.nclients + stat.nlost, 0);
	mount_delete(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_client_maps_what_the_file_has),
		cmocka_unit_test(a_mount_ends_while_clients_are_connected),
		cmocka_unit_test(quarantine_ends_when_a_client_was_late_for_a_moment),
		cmocka_unit_test(a_client_without_the_region_is_gone_whatever_its_stream_says),
		cmocka_unit_test(clients_of_before_are_gone_although_new_ones_are_there),
		cmocka_unit_test(a_recall_does_not_wait_for_a_file_that_was_detached),
		cmocka_unit_test(whoever_lies_is_hung_up_on_and_nobody_else),
		cmocka_unit_test(a_token_is_good_for_one_file_once),
		cmocka_unit_test(a_client_that_sends_its_own_socket_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
