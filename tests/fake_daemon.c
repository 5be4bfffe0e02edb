/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fake_daemon.c - see fake_daemon.h. One mutex for all; the daemon's thread reads messages, the test's
 * thread changes layouts. Gates are as in the real one, in small: while somebody is recalled from a
 * range, FAULTs of it are parked.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fake_daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "maps.h"
#include "proto.h"
#include "sys.h"
#include "udax/ioctl.h"
#include "udax/udax.h"

#define MAX_FILES 8
#define MAX_PAGES 16384
#define MAX_CLIENTS 16
#define MAX_ATTACHED 64
#define MAX_PARKED 256
#define MAX_GATES 64
#define HOLE 0

struct fake_file {
	uint64_t ino;
	unsigned size;		   /* pages */
	uint32_t block[MAX_PAGES]; /* of the region; HOLE */
};

struct attached {
	bool used, writable;
	int client;
	uint32_t id;
	struct fake_file *file;
	uint8_t granted[MAX_PAGES]; /* 1 + enum proto_grant_kind */
};

struct gate {
	bool used;
	struct fake_file *file;
	uint64_t first, end; /* pages */
	struct {
		struct attached *att;
		uint32_t seq;
	} waiting[MAX_ATTACHED];
	unsigned nwaiting;
};

struct parked {
	bool used;
	struct attached *att;
	struct proto_fault msg;
};

static struct {
	struct fake_options options;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	int region, listener, socks[MAX_CLIENTS];
	bool welcome[MAX_CLIENTS], held[MAX_CLIENTS];
	uint8_t *mem;
	uint8_t *block_used;
	uint32_t next_block, next_seq;
	char name[64];
	struct fake_file files[MAX_FILES];
	struct attached attached[MAX_ATTACHED];
	struct gate gates[MAX_GATES];
	struct parked parked[MAX_PARKED];
	struct fake_counts counts;
	atomic_int fault_error, attach_error,
		ioctl_error; /* a child of fork may not ask the mutex */
	atomic_int failing_remaps;
	bool lie, hold, refusals;
	uint32_t later_seq;
	bool later_answered;
} * fake;

void fake_fail(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: %s\n", file, line, what);
	_exit(1);
}

/* ---- that it ran direct ------------------------------------------------------------------------ */

static struct udax_stats counted(void)
{
	struct udax_stats stats;

	udax_stats(&stats, sizeof(stats));
	return stats;
}

static void nothing_fell_back(void)
{
	const struct udax_stats stats = counted();

	for (unsigned i = 0; i < UDAX_NR_REASONS && !fake->refusals; i++)
		CHECK(!stats.refused[i] || i == UDAX_BAD_ARGUMENT);
	CHECK(!maps_shared("fake-file"));
}

static void a_fault_follows_a_punch(void)
{
	const unsigned granule = fake->options.granule_bytes;
	int fd = fake_file(granule / FAKE_PAGE);
	struct udax_stats before;
	volatile char *p = udax_mmap(NULL, granule, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	CHECK(p != MAP_FAILED);
	*p = 'a';
	CHECK(maps_show((char *)p, "fake-region"));
	before = counted();
	fake_punch(fd, 0, granule);
	CHECK(!maps_show((char *)p, "fake-region") && *p == 0);
	CHECK(counted().recalls > before.recalls && counted().faults > before.faults);
}

/* Whatever the body has made of the daemon and of signals ends here. */
static void prove(void)
{
	sigset_t all;

	sigfillset(&all);
	sigdelset(&all, SIGALRM);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	CHECK(fake && counted().mmaps);
	nothing_fell_back();
	fake_error(0);
	fake_refuse(0, 0);
	a_fault_follows_a_punch();
}

void fake_refusals_are_meant(void)
{
	fake->refusals = true;
}

void fake_isolated(void (*body)(void), unsigned seconds)
{
	int status = 0;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		alarm(seconds);
		for (int sig = 1; sig < 32; sig++)
			signal(sig, SIG_DFL); /* cmocka has handlers of its own */
		body();
		prove();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		print_error("ended by signal %d\n", WTERMSIG(status));
	assert_int_equal(status, 0);
}

/* ---- the mount's ioctls ------------------------------------------------------------------------ */

/*
 * By plain system calls: ThreadSanitizer knows one table of descriptors a process, and the library's threads
 * have one of their own.
 */
static int answer_attach(int fd, struct udax_ioc_attach *attach)
{
	uint64_t dev, ino;
	unsigned mode;
	int err = atomic_load(&fake->ioctl_error);

	if (!err)
		err = sys_identity(fd, &dev, &ino, &mode);
	if (err)
		return err;
	memcpy(attach->token, &ino, sizeof(ino));
	attach->writable = (sys_fcntl(fd, F_GETFL, 0) & O_ACCMODE) == O_RDWR;
	snprintf(attach->socket, sizeof(attach->socket), "%s", fake->name);
	return 0;
}

/* One of those that are to fail. */
static bool remap_fails(void)
{
	int left = atomic_load(&fake->failing_remaps);

	while (left > 0 && !atomic_compare_exchange_weak(&fake->failing_remaps, &left, left - 1))
		;
	return left > 0;
}

/* What an assertion or a sanitizer has to say in the library's threads must come out somewhere. */
static long close_all_but_stderr(const long args[6])
{
	unsigned first = (unsigned)args[0], last = (unsigned)args[1];
	long err = 0;

	if (first < 2)
		err = syscall(SYS_close_range, first, last < 2 ? last : 1, 0);
	if (!err && last > 2)
		err = syscall(SYS_close_range, first > 2 ? first : 3, last, 0);
	return err ? -errno : 0;
}

static long answer(long nr, const long args[6])
{
	if (nr == SYS_close_range)
		return close_all_but_stderr(args);
	if (nr == SYS_mremap && remap_fails())
		return -ENOMEM;
	if (nr == SYS_ioctl && (unsigned long)args[1] == UDAX_IOC_ATTACH)
		return answer_attach((int)args[0], (struct udax_ioc_attach *)args[2]);
	return sys_direct(nr, args);
}

/* ---- sending ----------------------------------------------------------------------------------- */

static void transmit(int client, const struct proto_head *msg, int fd)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { { 0 } };
	struct iovec iov = { (void *)msg, msg->bytes };
	struct msghdr hdr = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		hdr.msg_control = &control;
		hdr.msg_controllen = sizeof(control);
		control.head = (struct cmsghdr){
			.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS,
			.cmsg_len = CMSG_LEN(sizeof(int)),
		};
		memcpy(CMSG_DATA(&control.head), &fd, sizeof(int));
	}
	sendmsg(fake->socks[client], &hdr, MSG_NOSIGNAL);
}

static unsigned granule_pages(void)
{
	return fake->options.granule_bytes / FAKE_PAGE;
}

/* ---- blocks ------------------------------------------------------------------------------------ */

static uint8_t *block_mem(uint32_t block)
{
	return fake->mem + (size_t)block * FAKE_PAGE;
}

/* A run of a granule, at its alignment. */
static uint32_t block_new(void)
{
	const unsigned n = granule_pages();
	uint32_t step = fake->options.scattered ? 2 * n : n;

	fake->next_block += (n - fake->next_block % n) % n; /* granules have become larger */
	for (unsigned tries = 0; tries < fake->options.region_pages; tries++) {
		uint32_t block = fake->next_block;

		fake->next_block += step;
		if (fake->next_block + n > fake->options.region_pages)
			fake->next_block = n;
		if (block && !fake->block_used[block]) {
			memset(fake->block_used + block, 1, n);
			return block;
		}
	}
	fake_fail(__FILE__, __LINE__, "the fake region is full");
}

static void granule_free(struct fake_file *file, unsigned page)
{
	const unsigned n = granule_pages();
	uint32_t block = file->block[page];

	if (block == HOLE)
		return;
	memset(block_mem(block), FAKE_POISON, (size_t)n * FAKE_PAGE);
	memset(fake->block_used + block, 0, n);
	memset(file->block + page, 0, n * sizeof(file->block[0]));
}

static void granule_fill(struct fake_file *file, unsigned page)
{
	const unsigned n = granule_pages();
	uint32_t block;

	if (file->block[page] != HOLE)
		return;
	block = block_new();
	memset(block_mem(block), 0, (size_t)n * FAKE_PAGE);
	for (unsigned i = 0; i < n; i++)
		file->block[page + i] = block + i;
}

/* With the mutex. */
static struct fake_file *file_of_ino(uint64_t ino)
{
	for (unsigned i = 0; i < MAX_FILES; i++) {
		if (fake->files[i].ino == ino)
			return &fake->files[i];
	}
	fake_fail(__FILE__, __LINE__, "no such file");
}

static struct fake_file *file_of(int fd)
{
	struct fake_file *file;
	struct stat st;

	CHECK(!fstat(fd, &st));
	pthread_mutex_lock(&fake->mutex);
	file = file_of_ino(st.st_ino);
	pthread_mutex_unlock(&fake->mutex);
	return file;
}

/* ---- gates and recalls ------------------------------------------------------------------------- */

static void serve(struct attached *att, const struct proto_fault *msg);

static struct gate *gate_at(const struct fake_file *file, uint64_t first, uint64_t end)
{
	for (unsigned i = 0; i < MAX_GATES; i++) {
		struct gate *gate = &fake->gates[i];

		if (gate->used && gate->file == file && gate->first < end && first < gate->end)
			return gate;
	}
	return NULL;
}

static uint32_t recall_one(struct attached *att, uint64_t first, uint64_t end)
{
	struct proto_range msg = {
		.head = { PROTO_RECALL, sizeof(msg), att->id },
		.seq = ++fake->next_seq,
		.pos = first * FAKE_PAGE,
		.len = (end - first) * FAKE_PAGE,
	};

	fake->counts.recalls++;
	transmit(att->client, &msg.head, -1);
	return msg.seq;
}

static bool holds(const struct attached *att, uint64_t first, uint64_t end, int kind)
{
	for (uint64_t page = first; page < end; page++) {
		if (att->granted[page] && (kind < 0 || att->granted[page] == 1 + kind))
			return true;
	}
	return false;
}

/* Opens a gate and recalls those who hold something (of @kind, or anything: -1). */
static struct gate *gate_open(struct fake_file *file, uint64_t first, uint64_t end, int kind)
{
	struct gate *gate = fake->gates;

	while (gate->used)
		CHECK(++gate < fake->gates + MAX_GATES);
	*gate = (struct gate){ .used = true, .file = file, .first = first, .end = end };
	for (unsigned i = 0; i < MAX_ATTACHED; i++) {
		struct attached *att = &fake->attached[i];

		if (!att->used || att->file != file || !holds(att, first, end, kind))
			continue;
		gate->waiting[gate->nwaiting].att = att;
		gate->waiting[gate->nwaiting++].seq = recall_one(att, first, end);
	}
	return gate;
}

static void gate_close(struct gate *gate)
{
	gate->used = false;
	pthread_cond_broadcast(&fake->changed);
	for (unsigned i = 0; i < MAX_PARKED; i++) {
		struct parked *parked = &fake->parked[i];

		if (!parked->used || parked->att->file != gate->file)
			continue;
		parked->used = false;
		if (parked->att->used)
			serve(parked->att, &parked->msg);
	}
}

static void gate_forget(struct attached *att)
{
	for (struct gate *gate = fake->gates; gate < fake->gates + MAX_GATES; gate++) {
		for (unsigned i = 0; gate->used && i < gate->nwaiting; i++) {
			if (gate->waiting[i].att == att)
				gate->waiting[i--] = gate->waiting[--gate->nwaiting];
		}
	}
	pthread_cond_broadcast(&fake->changed);
}

static void count_grants(struct attached *att, uint64_t first, uint64_t end, int value)
{
	for (uint64_t page = first; page < end && page < MAX_PAGES; page++) {
		fake->counts.granted_pages -= att->granted[page] != 0;
		att->granted[page] = (uint8_t)value;
		fake->counts.granted_pages += value != 0;
	}
}

static void acknowledged(struct attached *att, const struct proto_range *msg)
{
	uint64_t first = msg->pos / FAKE_PAGE, end = first + msg->len / FAKE_PAGE;

	if (msg->seq == fake->later_seq)
		fake->later_answered = true;
	count_grants(att, first, end, 0);
	for (struct gate *gate = fake->gates; gate < fake->gates + MAX_GATES; gate++) {
		for (unsigned i = 0; gate->used && i < gate->nwaiting; i++) {
			if (gate->waiting[i].att == att && gate->waiting[i].seq == msg->seq)
				gate->waiting[i--] = gate->waiting[--gate->nwaiting];
		}
	}
	pthread_cond_broadcast(&fake->changed);
}

/* ---- faults ------------------------------------------------------------------------------------ */

static void park(struct attached *att, const struct proto_fault *msg)
{
	struct parked *parked = fake->parked;

	while (parked->used)
		CHECK(++parked < fake->parked + MAX_PARKED);
	*parked = (struct parked){ .used = true, .att = att, .msg = *msg };
}

static void grant(struct attached *att, const struct proto_fault *fault, unsigned kind,
		  uint64_t first, uint64_t end, int status)
{
	struct proto_grant msg = {
		.head = { PROTO_GRANT, sizeof(msg), att->id },
		.seq = fault->seq,
		.kind = kind,
		.status = status,
		.pos = first * FAKE_PAGE,
		.len = (end - first) * FAKE_PAGE,
	};

	if (kind == PROTO_READ || kind == PROTO_WRITE)
		msg.region_off = (uint64_t)att->file->block[first] * FAKE_PAGE;
	if (fake->lie) {
		msg.pos += 1ull << 40;
		fake->lie = false;
	} else if (kind != PROTO_FAILED) {
		count_grants(att, first, end, 1 + (int)kind);
	}
	transmit(att->client, &msg.head, -1);
}

static bool same_run(const struct fake_file *file, uint64_t page, uint64_t next)
{
	if (file->block[page] == HOLE || file->block[next] == HOLE)
		return file->block[page] == file->block[next];
	return file->block[next] == file->block[page] + 1;
}

static void grant_run(struct attached *att, const struct proto_fault *fault, uint64_t first,
		      uint64_t end)
{
	struct fake_file *file = att->file;
	uint64_t page = fault->pos / FAKE_PAGE, lo = page - page % granule_pages(), hi = lo + 1;
	uint64_t longest = fake->options.run_pages;

	while (hi < end && (!longest || hi - lo < longest) && same_run(file, hi - 1, hi))
		hi++;
	while (lo > first && (!longest || hi - lo < longest) && same_run(file, lo - 1, lo))
		lo--;
	if (file->block[page] == HOLE)
		grant(att, fault, PROTO_ZERO, lo, hi, 0);
	else
		grant(att, fault, fault->write == PROTO_LOAD ? PROTO_READ : PROTO_WRITE, lo, hi, 0);
}

static void serve(struct attached *att, const struct proto_fault *fault)
{
	struct fake_file *file = att->file;
	uint64_t first = fault->first / FAKE_PAGE, end = fault->end / FAKE_PAGE;
	uint64_t page = fault->pos / FAKE_PAGE, longest = fake->options.run_pages;

	if (gate_at(file, first, end)) {
		park(att, fault);
		return;
	}
	if (fake->fault_error || (fault->write != PROTO_LOAD && !att->writable)) {
		grant(att, fault, PROTO_FAILED, page, page + 1,
		      fake->fault_error ? fake->fault_error : -EACCES);
		return;
	}
	if (page >= file->size) {
		grant(att, fault, PROTO_BEHIND_EOF, first > file->size ? first : file->size, end,
		      0);
		return;
	}
	if (end > file->size)
		end = file->size;
	if (fault->write == PROTO_STORE && file->block[page] == HOLE) {
		uint64_t lo = longest ? page : first, hi = longest ? page + 1 : end;
		struct gate *gate = gate_open(file, lo, hi, PROTO_ZERO);

		for (uint64_t p = lo; !gate->nwaiting && p < hi; p += granule_pages())
			granule_fill(file, (unsigned)p);
		if (gate->nwaiting) {
			park(att, fault);
			return;
		}
		gate->used = false;
	}
	grant_run(att, fault, first, end);
}

/* A gate that a write fault opened, and that all have answered. */
static void finish_fills(void)
{
	for (struct gate *gate = fake->gates; gate < fake->gates + MAX_GATES; gate++) {
		if (gate->used && !gate->nwaiting)
			gate_close(gate);
	}
}

/* ---- messages in ------------------------------------------------------------------------------- */

static struct attached *attached_by_id(int client, uint32_t id)
{
	for (unsigned i = 0; i < MAX_ATTACHED; i++) {
		struct attached *att = &fake->attached[i];

		if (att->used && att->client == client && att->id == id)
			return att;
	}
	return NULL;
}

static void welcome(int client)
{
	struct proto_welcome msg = {
		.head = { PROTO_WELCOME, sizeof(msg), 0 },
		.version = PROTO_VERSION,
		.flags = fake->options.flags,
		.client = (uint32_t)client,
		.granule_bytes = fake->options.granule_bytes,
		.region_bytes = (uint64_t)fake->options.region_pages * FAKE_PAGE,
	};

	fake->held[client] = false;
	fake->welcome[client] = true;
	transmit(client, &msg.head, fake->region);
}

static void hello(int client)
{
	CHECK(!fake->welcome[client] && !fake->held[client]);
	if (fake->hold)
		fake->held[client] = true;
	else
		welcome(client);
}

static void attach(int client, const struct proto_attach *msg)
{
	struct proto_attached reply = {
		.head = { PROTO_ATTACHED, sizeof(reply), msg->head.id },
		.status = fake->attach_error,
	};
	struct attached *att = fake->attached;

	CHECK(fake->welcome[client] && !attached_by_id(client, msg->head.id));
	memcpy(&reply.ino, msg->token, sizeof(reply.ino));
	fake->counts.attaches++;
	if (!reply.status) {
		while (att->used)
			CHECK(++att < fake->attached + MAX_ATTACHED);
		memset(att, 0, sizeof(*att));
		att->used = true;
		att->client = client;
		att->id = msg->head.id;
		att->writable = msg->writable;
		att->file = file_of_ino(reply.ino);
		fake->counts.attached++;
	}
	transmit(client, &reply.head, -1);
}

static void detach(struct attached *att)
{
	count_grants(att, 0, MAX_PAGES, 0);
	att->used = false;
	fake->counts.attached--;
	gate_forget(att);
}

static void synced(struct attached *att, const struct proto_plain *msg)
{
	struct proto_plain reply = *msg;

	reply.head.type = PROTO_SYNCED;
	fake->counts.syncs++;
	transmit(att->client, &reply.head, -1);
}

static void message(int client, union proto_message *msg)
{
	struct attached *att = attached_by_id(client, msg->head.id);

	switch (msg->head.type) {
	case PROTO_HELLO:
		hello(client);
		return;
	case PROTO_ATTACH:
		attach(client, &msg->attach);
		return;
	}
	CHECK(att);
	switch (msg->head.type) {
	case PROTO_DETACH:
		fake->counts.detaches++;
		detach(att);
		break;
	case PROTO_FAULT:
		CHECK(msg->fault.first < msg->fault.end);
		CHECK(msg->fault.pos >= msg->fault.first && msg->fault.pos < msg->fault.end);
		CHECK(!((msg->fault.first | msg->fault.end) % fake->options.granule_bytes));
		fake->counts.faults++;
		serve(att, &msg->fault);
		break;
	case PROTO_ACK:
		acknowledged(att, &msg->range);
		break;
	case PROTO_RETURN:
		CHECK(msg->range.len && !(msg->range.len % fake->options.granule_bytes));
		fake->counts.returns++;
		count_grants(att, msg->range.pos / FAKE_PAGE,
			     (msg->range.pos + msg->range.len) / FAKE_PAGE, 0);
		break;
	case PROTO_SYNC:
		synced(att, &msg->plain);
		break;
	default:
		fake_fail(__FILE__, __LINE__, "unknown message");
	}
	finish_fills();
}

static void gone(int client)
{
	close(fake->socks[client]);
	fake->socks[client] = -1;
	for (unsigned i = 0; i < MAX_ATTACHED; i++) {
		if (fake->attached[i].used && fake->attached[i].client == client)
			detach(&fake->attached[i]);
	}
	finish_fills();
}

static void welcome_client(void)
{
	for (unsigned i = 0; i < MAX_CLIENTS; i++) {
		if (fake->socks[i] >= 0)
			continue;
		fake->socks[i] = accept4(fake->listener, NULL, NULL, SOCK_CLOEXEC);
		fake->welcome[i] = fake->held[i] = false;
		fake->counts.connections++;
		return;
	}
	fake_fail(__FILE__, __LINE__, "too many clients");
}

static void *daemon_main(void *unused)
{
	(void)unused;
	for (;;) {
		struct pollfd fds[MAX_CLIENTS + 1];

		pthread_mutex_lock(&fake->mutex);
		for (unsigned i = 0; i < MAX_CLIENTS; i++)
			fds[i] = (struct pollfd){ .fd = fake->socks[i], .events = POLLIN };
		pthread_mutex_unlock(&fake->mutex);
		fds[MAX_CLIENTS] = (struct pollfd){ .fd = fake->listener, .events = POLLIN };
		poll(fds, MAX_CLIENTS + 1, 20); /* clients may come to another thread's notice */
		pthread_mutex_lock(&fake->mutex);
		for (int i = 0; i < MAX_CLIENTS; i++) {
			union proto_message msg;
			ssize_t n;

			if (!fds[i].revents || fds[i].fd != fake->socks[i])
				continue;
			n = recv(fake->socks[i], &msg, sizeof(msg), MSG_DONTWAIT);
			if (n <= 0 && errno != EAGAIN)
				gone(i);
			else if (n > 0) {
				CHECK(n == msg.head.bytes);
				message(i, &msg);
			}
		}
		if (fds[MAX_CLIENTS].revents)
			welcome_client();
		pthread_mutex_unlock(&fake->mutex);
	}
	return NULL;
}

/* ---- what tests call --------------------------------------------------------------------------- */

void fake_start(const struct fake_options *options)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	pthread_t thread;
	sigset_t all, before;
	socklen_t len;

	fake = mmap(NULL, sizeof(*fake), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0);
	CHECK(fake != MAP_FAILED);
	if (options)
		fake->options = *options;
	if (!fake->options.region_pages)
		fake->options.region_pages = 4096;
	if (!fake->options.granule_bytes)
		fake->options.granule_bytes = FAKE_PAGE;
	pthread_mutex_init(&fake->mutex, NULL);
	pthread_cond_init(&fake->changed, NULL);
	fake->next_block = granule_pages();
	fake->next_seq = 1000;
	fake->region = memfd_create("fake-region", MFD_CLOEXEC);
	CHECK(!ftruncate(fake->region, (off_t)fake->options.region_pages * FAKE_PAGE));
	fake->mem = mmap(NULL, (size_t)fake->options.region_pages * FAKE_PAGE,
			 PROT_READ | PROT_WRITE, MAP_SHARED, fake->region, 0);
	CHECK(fake->mem != MAP_FAILED);
	fake->block_used = calloc(1, fake->options.region_pages + 1024);
	memset(fake->socks, 0xff, sizeof(fake->socks));
	snprintf(fake->name, sizeof(fake->name), "udax-fake-%d", getpid());
	fake->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	memcpy(addr.sun_path + 1, fake->name, strlen(fake->name));
	len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(fake->name));
	CHECK(!bind(fake->listener, (struct sockaddr *)&addr, len));
	CHECK(!listen(fake->listener, 16));
	sys_call = answer;
	sigfillset(&all); /* a handler must not touch a mapping in the daemon's thread */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	CHECK(!pthread_create(&thread, NULL, daemon_main, NULL));
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

int fake_file(unsigned pages)
{
	int fd = memfd_create("fake-file", MFD_CLOEXEC);
	struct fake_file *file;
	struct stat st;

	CHECK(fd >= 0 && pages <= MAX_PAGES && !fstat(fd, &st));
	pthread_mutex_lock(&fake->mutex);
	file = file_of_ino(0); /* one that is not used yet */
	file->ino = st.st_ino;
	file->size = pages;
	pthread_mutex_unlock(&fake->mutex);
	return fd;
}

/* With the mutex, which is let go while it waits. */
static struct gate *recall(struct fake_file *file, uint64_t first, uint64_t end, int kind)
{
	struct gate *gate;

	while (gate_at(file, first, end))
		pthread_cond_wait(&fake->changed, &fake->mutex);
	gate = gate_open(file, first, end, kind);
	gate->nwaiting++; /* so that finish_fills() leaves it alone */
	gate->waiting[gate->nwaiting - 1].att = NULL;
	while (gate->nwaiting > 1)
		pthread_cond_wait(&fake->changed, &fake->mutex);
	return gate;
}

static void change(int fd, uint64_t pos, uint64_t len, void (*one)(struct fake_file *, unsigned))
{
	uint64_t first = pos / FAKE_PAGE, end = first + len / FAKE_PAGE;
	struct fake_file *file = file_of(fd);
	struct gate *gate;

	pthread_mutex_lock(&fake->mutex);
	gate = recall(file, first, end, -1);
	for (uint64_t page = first; page < end; page += granule_pages())
		one(file, (unsigned)page);
	gate_close(gate);
	pthread_mutex_unlock(&fake->mutex);
}

static void granule_move(struct fake_file *file, unsigned page)
{
	const unsigned n = granule_pages();
	uint32_t from = file->block[page], to;

	if (from == HOLE)
		return;
	to = block_new();
	memcpy(block_mem(to), block_mem(from), (size_t)n * FAKE_PAGE);
	granule_free(file, page);
	for (unsigned i = 0; i < n; i++)
		file->block[page + i] = to + i;
}

void fake_punch(int fd, uint64_t pos, uint64_t len)
{
	change(fd, pos, len, granule_free);
}

void fake_move(int fd, uint64_t pos, uint64_t len)
{
	change(fd, pos, len, granule_move);
}

void fake_resize(int fd, uint64_t pages)
{
	struct fake_file *file = file_of(fd);
	struct gate *gate;

	pthread_mutex_lock(&fake->mutex);
	gate = recall(file, pages < file->size ? pages : file->size, MAX_PAGES, -1);
	for (uint64_t page = pages; page < file->size; page += granule_pages())
		granule_free(file, (unsigned)page);
	file->size = (unsigned)pages;
	gate_close(gate);
	pthread_mutex_unlock(&fake->mutex);
}

void fake_write(int fd, uint64_t pos, const void *buf, size_t len)
{
	struct fake_file *file = file_of(fd);
	const uint64_t granule = fake->options.granule_bytes;
	uint64_t first = pos - pos % granule, end = (pos + len + granule - 1) / granule * granule;
	struct gate *gate;

	pthread_mutex_lock(&fake->mutex);
	gate = recall(file, first / FAKE_PAGE, end / FAKE_PAGE, PROTO_ZERO);
	for (uint64_t p = first / FAKE_PAGE; p < end / FAKE_PAGE; p += granule_pages())
		granule_fill(file, (unsigned)p);
	for (size_t i = 0; i < len; i++)
		block_mem(file->block[(pos + i) / FAKE_PAGE])[(pos + i) % FAKE_PAGE] =
			((const uint8_t *)buf)[i];
	gate_close(gate);
	pthread_mutex_unlock(&fake->mutex);
}

void fake_read(int fd, uint64_t pos, void *buf, size_t len)
{
	struct fake_file *file = file_of(fd);

	pthread_mutex_lock(&fake->mutex);
	for (size_t i = 0; i < len; i++) {
		uint32_t block = file->block[(pos + i) / FAKE_PAGE];

		((uint8_t *)buf)[i] = block ? block_mem(block)[(pos + i) % FAKE_PAGE] : 0;
	}
	pthread_mutex_unlock(&fake->mutex);
}

void fake_error(int err)
{
	atomic_store(&fake->fault_error, err);
}

void fake_refuse(int attach_err, int ioctl_err)
{
	atomic_store(&fake->attach_error, attach_err);
	atomic_store(&fake->ioctl_error, ioctl_err);
}

void fake_fail_remaps(int n)
{
	atomic_store(&fake->failing_remaps, n);
}

int fake_failing_remaps(void)
{
	return atomic_load(&fake->failing_remaps);
}

void fake_disconnect(void)
{
	pthread_mutex_lock(&fake->mutex);
	for (int i = 0; i < MAX_CLIENTS; i++) {
		if (fake->socks[i] >= 0)
			gone(i);
	}
	pthread_mutex_unlock(&fake->mutex);
}

void fake_hold_welcome(bool hold)
{
	pthread_mutex_lock(&fake->mutex);
	fake->hold = hold;
	for (int i = 0; !hold && i < MAX_CLIENTS; i++) {
		if (fake->socks[i] >= 0 && fake->held[i])
			welcome(i);
	}
	pthread_mutex_unlock(&fake->mutex);
}

void fake_granule(unsigned bytes)
{
	pthread_mutex_lock(&fake->mutex);
	fake->options.granule_bytes = bytes;
	pthread_mutex_unlock(&fake->mutex);
}

void fake_lie(void)
{
	pthread_mutex_lock(&fake->mutex);
	fake->lie = true;
	pthread_mutex_unlock(&fake->mutex);
}

void fake_recall_later(int fd, uint64_t pos, uint64_t len)
{
	struct fake_file *file = file_of(fd);

	pthread_mutex_lock(&fake->mutex);
	fake->later_answered = false;
	for (unsigned i = 0; i < MAX_ATTACHED; i++) {
		if (fake->attached[i].used && fake->attached[i].file == file)
			fake->later_seq = recall_one(&fake->attached[i], pos / FAKE_PAGE,
						     (pos + len) / FAKE_PAGE);
	}
	pthread_mutex_unlock(&fake->mutex);
}

bool fake_acknowledged(void)
{
	bool answered;

	pthread_mutex_lock(&fake->mutex);
	answered = fake->later_answered;
	pthread_mutex_unlock(&fake->mutex);
	return answered;
}

struct fake_counts fake_counts(void)
{
	struct fake_counts counts;

	pthread_mutex_lock(&fake->mutex);
	counts = fake->counts;
	pthread_mutex_unlock(&fake->mutex);
	return counts;
}
