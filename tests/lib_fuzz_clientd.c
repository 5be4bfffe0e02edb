/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * lib_fuzz_clientd.c - see fuzz_clientd.h.
 *
 * The daemon here is clientd.c and clientd_conn.c with their threads, and the core, on a region of its
 * own; only FUSE is missing. Two clients: the honest one has a file of its own mapped from the first input
 * to the last; the liar says what the input has. An input is a list of commands of 8 bytes:
 *
 *	byte 0	  bits 0 to 3: what (enum command); bit 4: the message lies about its length; bit 5: it
 *		  is cut or lengthened by byte 7; bit 6: a descriptor comes with it; bit 7: numbers are
 *		  telling() ones, not small
 *	byte 1	  which file of the client's, and its rights
 *	byte 2	  of the token: fresh, used, not ours; of a recall: which
 *	bytes 3-6 ranges: where and how long, in pages
 *	byte 7	  how many bytes more or less; what a raw message begins with
 *
 * The liar's file is changed by commands too, in this thread or in one beside it, with a deadline for
 * recalls that is short. What the threads of both sides do is not repeatable: an input that has found
 * something may have to be tried often.
 */
#include "fuzz_clientd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "alloc.h"
#include "clientd.h"
#include "file.h"
#include "format.h"
#include "fuse_token.h"
#include "inode.h"
#include "layout.h"
#include "mem.h"
#include "mode.h"
#include "namespace.h"
#include "proto.h"
#include "region.h"
#include "sync.h"
#include "volume.h"

#define PAGE UINT64_C(4096)
#define PATIENCE_MS 20000
#define RECALL_NS UINT64_C(1000000)
#define LIAR_PAGES 24
#define MAX_COMMANDS 256
#define MAX_HEARD 64

enum command {
	SAY_HELLO,
	SAY_ATTACH,
	SAY_DETACH,
	SAY_FAULT,
	SAY_ACK,
	SAY_RETURN,
	SAY_SYNC,
	SAY_RAW,
	SAY_ACK_ALL,
	CHANGE,
	CHANGE_BESIDE,
	LISTEN,
	CONNECT,
	DROP_REGION,
	HANG_UP,
	PAUSE,
};

struct peer {
	int fd, region_fd;
	struct proto_range heard[MAX_HEARD]; /* recalls */
	unsigned nheard;
};

struct fuzz {
	struct sync *sync;
	struct region *region;
	struct volume *vol;
	struct tokens *tokens;
	struct clientd *d;
	struct inode *honest_file, *liar_file;
	struct peer honest, liar;
	struct proto_grant grant; /* the honest one's */
	uint8_t token[TOKEN_BYTES];
	uint64_t nfree;
	unsigned nfds;
	struct sync_thread *beside;
	uint8_t beside_cmd[8];
	char path[64];
};

static struct fuzz *fuzz;

#define REQUIRE(cond, ...)                                                                         \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, __VA_ARGS__);                                              \
			fputc('\n', stderr);                                                       \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* Wait until @cond, or say that it never came. */
#define AWAIT(cond, what)                                                                          \
	do {                                                                                       \
		for (unsigned us = 0; !(cond); us += 200) {                                        \
			REQUIRE(us < PATIENCE_MS * 1000, "in vain: %s", what);                     \
			usleep(200);                                                               \
		}                                                                                  \
	} while (0)

/* ---- a client ----------------------------------------------------------------------------------- */

static struct peer dial(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const char *name = clientd_name(fuzz->d);
	struct peer peer = { .fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0),
			     .region_fd = -1 };

	REQUIRE(peer.fd >= 0, "no socket");
	memcpy(addr.sun_path + 1, name, strlen(name));
	while (connect(peer.fd, (struct sockaddr *)&addr,
		       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name))))
		REQUIRE(errno == EINTR, "the daemon does not accept: %s", strerror(errno));
	return peer;
}

static void drop_region(struct peer *peer)
{
	if (peer->region_fd >= 0)
		close(peer->region_fd);
	peer->region_fd = -1;
}

static void hang_up(struct peer *peer)
{
	if (peer->fd >= 0)
		close(peer->fd);
	peer->fd = -1;
}

static void take_descriptor(struct peer *peer, struct msghdr *msg)
{
	struct cmsghdr *head = CMSG_FIRSTHDR(msg);

	if (!head || head->cmsg_type != SCM_RIGHTS)
		return;
	drop_region(peer);
	memcpy(&peer->region_fd, CMSG_DATA(head), sizeof(int));
}

/* The next message of the daemon; its type, 0 when there is none (any more). */
static unsigned hear(struct peer *peer, union proto_message *ret, int patience_ms)
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
	int ready;

	/* A fuzzer has a clock that interrupts. */
	do
		ready = peer->fd < 0 ? 0 : poll(&fd, 1, patience_ms);
	while (ready < 0 && errno == EINTR);
	if (ready <= 0)
		return 0;
	n = recvmsg(peer->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n <= 0)
		return 0;
	take_descriptor(peer, &msg);
	REQUIRE((size_t)n == ret->head.bytes, "the daemon lies about a length: %zd", n);
	return ret->head.type;
}

static void say(const struct peer *peer, enum proto_type type, uint32_t id, void *message,
		size_t len)
{
	*(struct proto_head *)message =
		(struct proto_head){ .type = (uint16_t)type, .bytes = (uint16_t)len, .id = id };
	REQUIRE(send(peer->fd, message, len, MSG_NOSIGNAL) == (ssize_t)len,
		"the honest client was hung up on");
}

/* ---- the honest one ----------------------------------------------------------------------------- */

static void expect(unsigned type, union proto_message *reply)
{
	unsigned heard = hear(&fuzz->honest, reply, PATIENCE_MS);

	REQUIRE(heard == type, "the honest client hears %u, not %u", heard, type);
}

static struct proto_grant honest_touch(void)
{
	struct proto_fault message = { .seq = 7, .write = 1, .end = PAGE };
	union proto_message reply;

	say(&fuzz->honest, PROTO_FAULT, 1, &message, sizeof(message));
	expect(PROTO_GRANT, &reply);
	return reply.grant;
}

static void honest_begin(void)
{
	struct proto_hello hello = { .version = PROTO_VERSION };
	struct proto_attach attach = { .writable = 1 };
	union proto_message reply;

	fuzz->honest = dial();
	say(&fuzz->honest, PROTO_HELLO, 0, &hello, sizeof(hello));
	expect(PROTO_WELCOME, &reply);
	REQUIRE(token_issue(fuzz->tokens, fuzz->honest_file, getuid(),
			    TOKEN_MAP_READ | TOKEN_MAP_WRITE, attach.token) == 0,
		"no token");
	say(&fuzz->honest, PROTO_ATTACH, 1, &attach, sizeof(attach));
	expect(PROTO_ATTACHED, &reply);
	REQUIRE(reply.attached.status == 0, "not attached: %d", reply.attached.status);
	fuzz->grant = honest_touch();
	REQUIRE(fuzz->grant.kind == PROTO_WRITE, "not granted");
}

static void honest_is_served(void)
{
	struct proto_plain sync = { .seq = 3 };
	struct proto_range back = { .len = PAGE };
	union proto_message reply;
	struct proto_grant grant;
	struct holder_stat stat;

	holder_stat(fuzz->honest_file, &stat);
	REQUIRE(stat.write_bytes == PAGE && !stat.nrecalls && !stat.nlate,
		"the honest client's grant is not what it was");
	say(&fuzz->honest, PROTO_SYNC, 1, &sync, sizeof(sync));
	expect(PROTO_SYNCED, &reply);
	say(&fuzz->honest, PROTO_RETURN, 1, &back, sizeof(back));
	grant = honest_touch();
	REQUIRE(grant.kind == PROTO_WRITE && grant.region_off == fuzz->grant.region_off,
		"the honest client is granted something else");
	REQUIRE(memcmp(region_ptr(fuzz->region, grant.region_off, PAGE), "honest", 6) == 0,
		"what the honest client maps has changed");
}

/* ---- what happens to the liar's file ---------------------------------------------------------------- */

static void put(struct inode *inode, const char *what, uint64_t len)
{
	char *buf = calloc(1, len);

	REQUIRE(buf, "no memory");
	memcpy(buf, what, strlen(what));
	REQUIRE(file_write(inode, 0, buf, len, IO_MAY_WAIT) == (int64_t)len, "write");
	free(buf);
}

/* Whatever may fail may fail. */
static void change(const uint8_t *cmd)
{
	static const int modes[] = { 0,
				     FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_ZERO_RANGE,
				     FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_COLLAPSE_RANGE,
				     FALLOC_FL_INSERT_RANGE };
	static const char bytes[3 * 4096];
	struct layout_ctx ctx = { .may_wait = true };
	uint64_t pos = cmd[3] % LIAR_PAGES * PAGE, len = (1 + cmd[4] % 8) * PAGE, moved;
	unsigned what = cmd[2] % 12;

	if (cmd[1] & 1)
		pos += cmd[5];
	if (cmd[1] & 2)
		len -= cmd[6];
	if (what < 7)
		layout_fallocate(fuzz->liar_file, modes[what], pos, len, &ctx);
	else if (what < 9)
		layout_truncate(fuzz->liar_file, pos, &ctx);
	else if (what == 9)
		layout_relocate(fuzz->liar_file, pos, len, &ctx, &moved);
	else
		file_write(fuzz->liar_file, pos, bytes, len < sizeof(bytes) ? len : sizeof(bytes),
			   IO_MAY_WAIT | (what == 10 ? IO_APPEND : 0));
}

static void change_beside(void *arg)
{
	change(arg);
}

static void join_beside(void)
{
	if (fuzz->beside)
		sync_thread_join(fuzz->beside);
	fuzz->beside = NULL;
}

/* ---- the liar --------------------------------------------------------------------------------------- */

static uint64_t number(const uint8_t *cmd, unsigned byte)
{
	static const uint64_t telling[] = { 0,
					    1,
					    PAGE - 1,
					    PAGE,
					    MAX_FILE_BYTES,
					    MAX_FILE_BYTES - PAGE,
					    UINT64_MAX,
					    UINT64_MAX - PAGE + 1,
					    INT64_MAX,
					    UINT64_C(1) << 32,
					    UINT32_MAX,
					    PAGE * 512 };

	if (cmd[0] & 0x80)
		return telling[cmd[byte] % (sizeof(telling) / sizeof(telling[0]))];
	return cmd[byte] % 32 * PAGE;
}

static void note(const union proto_message *m)
{
	struct peer *liar = &fuzz->liar;

	if (m->head.type == PROTO_RECALL)
		liar->heard[liar->nheard++ % MAX_HEARD] = m->range;
}

static void liar_listens(int patience_ms)
{
	union proto_message m;

	while (hear(&fuzz->liar, &m, patience_ms)) {
		note(&m);
		patience_ms = 0;
	}
}

/* Sends what @m says it is, and @len bytes of it, unless the command tells it otherwise. */
static void lie(const uint8_t *cmd, void *m, uint16_t type, uint32_t id, size_t len)
{
	unsigned char bytes[512] = { 0 };
	union {
		struct cmsghdr head;
		unsigned char bytes[CMSG_SPACE(sizeof(int))];
	} control = { .head = { .cmsg_len = CMSG_LEN(sizeof(int)),
				.cmsg_level = SOL_SOCKET,
				.cmsg_type = SCM_RIGHTS } };
	struct iovec iov = { bytes, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	int fd = fuzz->liar.fd;

	*(struct proto_head *)m =
		(struct proto_head){ .type = type, .bytes = (uint16_t)len, .id = id };
	memcpy(bytes, m, len);
	if (cmd[0] & 0x10)
		((struct proto_head *)(void *)bytes)->bytes += cmd[7];
	if (cmd[0] & 0x20)
		iov.iov_len = cmd[7] & 1 ? len + cmd[7] : cmd[7] % (len + 1);
	if (cmd[0] & 0x40) {
		memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
	}
	if (fd >= 0)
		(void)!sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void say_attach(const uint8_t *cmd, uint32_t id)
{
	struct proto_attach m = { .writable = cmd[1] >> 3 & 1 };
	unsigned rights = TOKEN_MAP_READ | (cmd[1] & 0x10 ? 0 : TOKEN_MAP_WRITE);

	if (cmd[2] % 4 == 0) {
		if (token_issue(fuzz->tokens, fuzz->liar_file, getuid(), rights, fuzz->token))
			return;
	} else if (cmd[2] % 4 == 1) {
		/* One for something else. */
		if (token_issue(fuzz->tokens, fuzz->honest_file, getuid(), TOKEN_EXCHANGE,
				fuzz->token))
			return;
	}
	memcpy(m.token, fuzz->token, TOKEN_BYTES); /* else: used */
	if (cmd[2] % 4 == 3)
		m.token[cmd[7] % TOKEN_BYTES] ^= 1;
	if (cmd[0] & 0x80) {
		m.writable = cmd[4];
		m.reserved = cmd[5];
	}
	lie(cmd, &m, PROTO_ATTACH, id, sizeof(m));
}

static void fault(const uint8_t *cmd, uint32_t id)
{
	struct proto_fault m = { .seq = cmd[2], .write = cmd[1] >> 3 & 1 };

	m.first = number(cmd, 3);
	m.pos = m.first + number(cmd, 5);
	m.end = m.pos + number(cmd, 4) + PAGE;
	if (cmd[0] & 0x80) {
		m.pos = number(cmd, 5);
		m.end = number(cmd, 4);
	}
	lie(cmd, &m, PROTO_FAULT, id, sizeof(m));
}

static void acknowledge(const uint8_t *cmd, uint32_t id)
{
	struct peer *liar = &fuzz->liar;
	struct proto_range m = { .seq = cmd[2] };

	if (liar->nheard && !(cmd[0] & 0x80)) {
		m = liar->heard[(liar->nheard - 1 - cmd[2] % 4) % MAX_HEARD];
		id = m.head.id;
	}
	lie(cmd, &m, PROTO_ACK, id, sizeof(m));
}

static void acknowledge_all(void)
{
	struct peer *liar = &fuzz->liar;
	const uint8_t plain[8] = { 0 };

	liar_listens(2);
	for (unsigned i = 0; i < liar->nheard && i < MAX_HEARD; i++)
		lie(plain, &liar->heard[i], PROTO_ACK, liar->heard[i].head.id,
		    sizeof(liar->heard[i]));
	liar->nheard = 0;
}

static void say_raw(const uint8_t *cmd)
{
	unsigned char bytes[256];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = cmd[i % 8];
	lie(cmd, bytes, cmd[7], cmd[1], 8 + (cmd[3] & 0x7f));
}

static void reconnect(void)
{
	hang_up(&fuzz->liar);
	drop_region(&fuzz->liar);
	fuzz->liar = dial();
}

static void other_command(const uint8_t *cmd)
{
	switch (cmd[0] & 15) {
	case CHANGE:
		change(cmd);
		break;
	case CHANGE_BESIDE:
		join_beside();
		memcpy(fuzz->beside_cmd, cmd, sizeof(fuzz->beside_cmd));
		REQUIRE(sync_thread_start(fuzz->sync, "beside", change_beside, fuzz->beside_cmd,
					  &fuzz->beside) == 0,
			"no thread");
		break;
	case LISTEN:
		liar_listens(cmd[2] & 3);
		break;
	case CONNECT:
		reconnect();
		break;
	case DROP_REGION:
		drop_region(&fuzz->liar);
		break;
	case HANG_UP:
		hang_up(&fuzz->liar);
		break;
	default:
		usleep(cmd[2] * 8);
	}
}

static void obey(const uint8_t *cmd)
{
	struct proto_hello hello = { .version = cmd[0] & 0x80 ? cmd[3] : PROTO_VERSION };
	struct proto_range range = { .seq = cmd[0] & 0x80 ? cmd[2] : 0,
				     .pos = number(cmd, 3),
				     .len = number(cmd, 4) };
	struct proto_plain plain = { .seq = cmd[2] };
	uint32_t id = cmd[1] & 7;

	switch (cmd[0] & 15) {
	case SAY_HELLO:
		lie(cmd, &hello, PROTO_HELLO, 0, sizeof(hello));
		break;
	case SAY_ATTACH:
		say_attach(cmd, id);
		break;
	case SAY_DETACH:
		lie(cmd, &plain, PROTO_DETACH, id, sizeof(plain));
		break;
	case SAY_FAULT:
		fault(cmd, id);
		break;
	case SAY_ACK:
		acknowledge(cmd, id);
		break;
	case SAY_RETURN:
		lie(cmd, &range, PROTO_RETURN, id, sizeof(range));
		break;
	case SAY_SYNC:
		lie(cmd, &plain, PROTO_SYNC, id, sizeof(plain));
		break;
	case SAY_RAW:
		say_raw(cmd);
		break;
	case SAY_ACK_ALL:
		acknowledge_all();
		break;
	default:
		other_command(cmd);
	}
}

/* ---- afterwards ------------------------------------------------------------------------------------- */

/* Sockets, events and the region. What a fuzzer or a sanitizer opens for itself is neither. */
static bool is_ours(const char *name)
{
	char path[64], to[256];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%.20s", name);
	n = readlink(path, to, sizeof(to) - 1);
	if (n < 0)
		return false;
	to[n] = '\0';
	return strncmp(to, "socket:", 7) == 0 || strstr(to, "[eventfd]") ||
	       strstr(to, "/fuzz_clientd.");
}

static unsigned count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	unsigned n = 0;

	REQUIRE(dir, "no /proc");
	while ((entry = readdir(dir)))
		n += is_ours(entry->d_name);
	closedir(dir);
	return n;
}

static unsigned nclients(void)
{
	struct clientd_stat stat;

	clientd_stat(fuzz->d, &stat);
	return stat.nclients + stat.nlost;
}

static uint64_t nfree(void)
{
	struct space space;

	alloc_space(fuzz->vol, &space);
	return space.free;
}

/* The daemon ends it, when it forgets the liar. */
static bool quarantine_is_over(void)
{
	struct space space;

	alloc_space(fuzz->vol, &space);
	return !space.quarantined;
}

/* Connections are accepted in order: when this one was, all before are known. */
static void all_were_accepted(void)
{
	struct proto_hello hello = { .version = PROTO_VERSION };
	struct peer probe = dial();
	union proto_message reply;

	say(&probe, PROTO_HELLO, 0, &hello, sizeof(hello));
	REQUIRE(hear(&probe, &reply, PATIENCE_MS) == PROTO_WELCOME, "nobody is welcome any more");
	hang_up(&probe);
	drop_region(&probe);
}

static unsigned nattached(struct holder_stat *stat)
{
	holder_stat(fuzz->liar_file, stat);
	return stat->nattached;
}

static void nothing_is_left(void)
{
	struct layout_ctx ctx = { .may_wait = true };
	struct holder_stat stat;
	int err;

	all_were_accepted();
	AWAIT(nclients() == 1, "the liar is forgotten");
	AWAIT(nattached(&stat) == 0, "the liar is detached");
	REQUIRE(!stat.ngates && !stat.nadmitted, "gates %u, in %u", stat.ngates, stat.nadmitted);
	REQUIRE(!stat.read_bytes && !stat.write_bytes && !stat.zero_bytes, "granted to nobody");
	REQUIRE(!stat.nrecalls && !stat.nlate && !atomic_load(&fuzz->vol->nlate),
		"recalls %u, late %u, in all %u", stat.nrecalls, stat.nlate,
		(unsigned)atomic_load(&fuzz->vol->nlate));
	err = layout_truncate(fuzz->liar_file, 0, &ctx);
	REQUIRE(err == 0, "truncate: %s", strerror(-err));
	AWAIT(quarantine_is_over(), "the end of quarantine");
	REQUIRE(nfree() == fuzz->nfree, "free blocks: %llu, were %llu", (unsigned long long)nfree(),
		(unsigned long long)fuzz->nfree);
	AWAIT(count_fds() == fuzz->nfds, "as many descriptors as before");
	REQUIRE(!atomic_load(&fuzz->vol->stat.errors), "the core met damage");
}

/* ---- beginning and end ------------------------------------------------------------------------------ */

static struct inode *make(const char *name)
{
	struct cred cred = { 0 };
	struct inode *root, *inode;
	struct waiter waiter = { NULL };
	enum file_mode mode;

	REQUIRE(inode_get(fuzz->vol, ROOT_INO, &root) == 0, "no root");
	REQUIRE(ns_create(root, name, strlen(name), S_IFREG | 0600, &cred, 1, 2, &inode) == 0,
		"create %s", name);
	REQUIRE(mode_open(inode, MODE_WANT_UNCACHED, &waiter, &mode) == 0, "open %s", name);
	inode_put(root);
	return inode;
}

static void log_line(void *ctx, const char *line)
{
	(void)ctx;
	fprintf(stderr, "%s\n", line);
}

static void begin(void)
{
	struct format_options options = { .uuid = { 1 }, .label = "fuzz" };
	struct volume_env env = { .recall_timeout_ns = RECALL_NS, .log = log_line };
	char err[256];
	int fd;

	fuzz = calloc(1, sizeof(*fuzz));
	REQUIRE(fuzz, "no memory");
	/* On a disk it would wait for that at each fence. */
	snprintf(fuzz->path, sizeof(fuzz->path), "%s/fuzz_clientd.XXXXXX",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	fd = mkstemp(fuzz->path);
	REQUIRE(fd >= 0 && ftruncate(fd, 8 << 20) == 0, "%s cannot be made", fuzz->path);
	close(fd);
	REQUIRE(region_open(fuzz->path, 0, 0, &fuzz->region, err, sizeof(err)) == 0, "%s", err);
	unlink(fuzz->path);
	env.sync = fuzz->sync = sync_pthread_new(NULL);
	env.mem = mem_heap();
	REQUIRE(volume_format(fuzz->region, fuzz->sync, mem_heap(), &options) == 0, "format");
	REQUIRE(volume_mount(fuzz->region, &env, &fuzz->vol, err, sizeof(err)) == 0, "%s", err);
	fuzz->tokens = tokens_new(fuzz->sync, mem_heap());
	REQUIRE(fuzz->tokens && clientd_new(fuzz->vol, fuzz->tokens, &fuzz->d) == 0, "no daemon");
	fuzz->honest_file = make("honest");
	put(fuzz->honest_file, "honest", PAGE);
	fuzz->liar_file = make("liar");
	fuzz->liar = (struct peer){ .fd = -1, .region_fd = -1 };
	honest_begin();
	fuzz->nfree = nfree();
	fuzz->nfds = count_fds();
}

void fuzz_clientd_end(void)
{
	if (!fuzz)
		return;
	hang_up(&fuzz->honest);
	drop_region(&fuzz->honest);
	clientd_delete(fuzz->d);
	tokens_delete(fuzz->tokens);
	mode_release(fuzz->honest_file, 0);
	mode_release(fuzz->liar_file, 0);
	inode_put(fuzz->honest_file);
	inode_put(fuzz->liar_file);
	volume_unmount(fuzz->vol);
	region_close(fuzz->region);
	sync_delete(fuzz->sync);
	free(fuzz);
	fuzz = NULL;
}

void fuzz_clientd_one(const uint8_t *data, size_t size)
{
	if (!fuzz)
		begin();
	put(fuzz->liar_file, "liar", LIAR_PAGES / 2 * PAGE);
	for (unsigned n = 0; size >= 8 && n < MAX_COMMANDS; n++, data += 8, size -= 8) {
		if (fuzz->liar.fd < 0)
			reconnect();
		obey(data);
	}
	join_beside();
	hang_up(&fuzz->liar);
	drop_region(&fuzz->liar);
	fuzz->liar.nheard = 0;
	nothing_is_left();
	honest_is_served();
}
