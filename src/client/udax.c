/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * udax.c - the functions of udax/udax.h: arguments are looked at, what may wait for a daemon (ioctl on the
 * mount) is done here, in the program's thread, and the rest is a call to the service.
 *
 * `the_client` is set once, under `starting`, and replaced in the child of a fork, which has one
 * thread. A process that finds another one's (vfork, clone) leaves it alone.
 */
#include "udax/udax.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "client.h"
#include "flush.h"
#include "fork.h"
#include "service.h"
#include "sys.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

static _Atomic(struct client *) the_client;
static _Atomic int start_error; /* it is not tried again */
static _Atomic uint32_t starting;
static _Atomic uint64_t refused[UDAX_NR_REASONS];
static __thread enum udax_reason last_reason;
static __thread int fork_sockets[2];

static int fail(int err)
{
	errno = -err;
	return -1;
}

/* ---- fork ------------------------------------------------------------------------------------ */

static struct client *client_of_process(void)
{
	struct client *client = atomic_load(&the_client);

	return client && client->pid == sys_pid() ? client : NULL;
}

static void before_fork(void)
{
	struct client *client = client_of_process();
	struct call *call;

	fork_sockets[0] = fork_sockets[1] = -1;
	if (!client)
		return;
	if (sys_socketpair(fork_sockets))
		fork_sockets[0] = fork_sockets[1] = -1;
	call = call_new(client, CALL_FORK);
	call->fd = fork_sockets[1];
	call_run(client, call);
	call_free(client, call);
}

static void close_fork_sockets(void)
{
	for (unsigned i = 0; i < 2; i++) {
		if (fork_sockets[i] >= 0)
			sys_close(fork_sockets[i]);
	}
}

static void after_fork_in_parent(void)
{
	struct client *client = client_of_process();
	struct call *call;

	if (!client)
		return;
	close_fork_sockets();
	call = call_new(client, CALL_FORKED);
	call_run(client, call);
	call_free(client, call);
}

static void after_fork_in_child(void)
{
	struct client *parent = atomic_load(&the_client), *child = NULL;
	int err;

	for (unsigned i = 0; i < UDAX_NR_REASONS; i++)
		atomic_store(&refused[i], 0);
	if (!parent)
		return;
	fork_hold_places(parent);
	err = service_start(parent, fork_sockets[0], &child);
	atomic_store(&start_error, err);
	atomic_store(&the_client, err ? NULL : child);
	close_fork_sockets();
}

/* ---- the client ------------------------------------------------------------------------------ */

static void start(void)
{
	static atomic_bool registered;
	struct client *client = NULL;
	int err = service_start(NULL, -1, &client);

	atomic_store(&start_error, err);
	atomic_store(&the_client, client);
	if (!err && !atomic_exchange(&registered, true))
		pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

/* Not pthread_once: a child of fork must be able to start again what its parent was starting. */
static struct client *client_get(void)
{
	uint32_t idle = 0;

	while (!atomic_load(&the_client) && !atomic_load(&start_error)) {
		if (!atomic_compare_exchange_strong(&starting, &idle, (uint32_t)sys_pid())) {
			if (idle != (uint32_t)sys_pid())
				atomic_compare_exchange_strong(&starting, &idle, 0);
			else
				sys_wait(&starting, idle);
			idle = 0;
			continue;
		}
		if (!atomic_load(&the_client) && !atomic_load(&start_error))
			start();
		atomic_store(&starting, 0);
		sys_wake(&starting);
	}
	return client_of_process();
}

/* The client, if [start, start + len) may have direct mappings. Costs next to nothing if not. */
static struct client *client_for(const void *addr, size_t len)
{
	struct client *client = atomic_load(&the_client);
	uint64_t start = (uintptr_t)addr;

	if (!client || start >= atomic_load(&client->high) ||
	    start + len <= atomic_load(&client->low))
		return NULL;
	return client_of_process();
}

static size_t page_up(size_t len)
{
	return (len + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1);
}

static bool is_page(const void *addr)
{
	return (uintptr_t)addr % PAGE_BYTES == 0;
}

/* A call about a range; its result. */
static int64_t range_call(struct client *client, enum call_type type, const void *addr, size_t len,
			  int prot)
{
	struct call *call = call_new(client, type);
	int64_t result;

	call->addr = (uintptr_t)addr;
	call->len = page_up(len);
	call->prot = prot;
	call->write = prot;
	result = call_run(client, call);
	call_free(client, call);
	return result;
}

static uint64_t covered(struct client *client, const void *addr, size_t len)
{
	return (uint64_t)range_call(client, CALL_COVERED, addr, len, 0);
}

/* The client, if [addr, addr + len) has direct mappings. */
static struct client *owner_of(const void *addr, size_t len)
{
	struct client *client = is_page(addr) && len && page_up(len) >= len ? client_for(addr, len)
									    : NULL;

	return client && covered(client, addr, len) ? client : NULL;
}

/* ---- mmap ------------------------------------------------------------------------------------ */

#define KNOWN_FLAGS                                                                                \
	(MAP_TYPE | MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_POPULATE | MAP_SYNC | MAP_NORESERVE |    \
	 MAP_NONBLOCK | MAP_LOCKED | MAP_DENYWRITE | MAP_EXECUTABLE | MAP_STACK | MAP_32BIT |      \
	 MAP_GROWSDOWN | MAP_HUGETLB)
#define NOT_FOR_FILES (MAP_GROWSDOWN | MAP_HUGETLB)
#define ADDRESSES (UINT64_C(1) << 47) /* more than there are */

struct request {
	void *addr;
	size_t len;
	int prot, flags, fd;
	off_t off;
	uint64_t dev, ino;
	bool writable;
};

static enum udax_reason look_at_flags(const struct request *req, int *ret_err)
{
	int type = req->flags & MAP_TYPE;

	*ret_err = -ENODEV;
	if (type == MAP_PRIVATE || req->flags & MAP_ANONYMOUS)
		return UDAX_NOT_SHARED;
	if (type != MAP_SHARED && type != MAP_SHARED_VALIDATE) {
		*ret_err = -EINVAL;
		return UDAX_BAD_ARGUMENT;
	}
	if (type == MAP_SHARED_VALIDATE && req->flags & ~KNOWN_FLAGS) {
		*ret_err = -EOPNOTSUPP;
		return UDAX_BAD_ARGUMENT;
	}
	if (req->flags & MAP_SYNC && type != MAP_SHARED_VALIDATE)
		*ret_err = -EINVAL; /* the kernel ignores it; who asks for it should get it */
	else if (!req->len || req->off % PAGE_BYTES || req->flags & NOT_FOR_FILES ||
		 (req->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE) && !is_page(req->addr)))
		*ret_err = -EINVAL;
	else if (page_up(req->len) < req->len || req->len > ADDRESSES)
		*ret_err = -ENOMEM;
	else if (req->off < 0 || (uint64_t)req->off + page_up(req->len) > INT64_MAX)
		*ret_err = -EOVERFLOW;
	else
		return UDAX_DIRECT;
	return UDAX_BAD_ARGUMENT;
}

static enum udax_reason look_at_descriptor(struct request *req, int *ret_err)
{
	int flags = sys_fcntl(req->fd, F_GETFL, 0), err;
	unsigned mode;

	*ret_err = -ENODEV;
	err = flags < 0 ? flags : sys_identity(req->fd, &req->dev, &req->ino, &mode);
	if (!err && (flags & O_PATH))
		err = -EBADF;
	if (!err && ((flags & O_ACCMODE) == O_WRONLY ||
		     (req->prot & PROT_WRITE && (flags & O_ACCMODE) == O_RDONLY)))
		err = -EACCES;
	if (err) {
		*ret_err = err;
		return UDAX_BAD_ARGUMENT;
	}
	req->writable = (flags & O_ACCMODE) == O_RDWR;
	return S_ISREG(mode) ? UDAX_DIRECT : UDAX_NOT_UDAXFS;
}

static enum udax_reason reason_of_ioctl(int fd, int err)
{
	switch (err) {
	case -EBUSY:
		return sys_fcntl(fd, F_GETFL, 0) & O_DIRECT ? UDAX_CACHED : UDAX_NOT_O_DIRECT;
	case -EACCES:
	case -EPERM:
		return UDAX_OTHER_USER;
	case -ENOSYS:
		return UDAX_NO_SERVICE;
	case -ENOMEM:
		return UDAX_NO_MEMORY;
	case -ENOTTY:
	case -EINVAL:
	case -EOPNOTSUPP:
	case -EISDIR:
	case -EBADF:
		return UDAX_NOT_UDAXFS;
	default:
		return UDAX_NO_DAEMON;
	}
}

/* Tokens can be used up by others for a moment. */
static int get_token(int fd, struct udax_ioc_attach *attach)
{
	int err = -EAGAIN;

	for (unsigned tries = 0; err == -EAGAIN && tries < 100; tries++) {
		if (tries)
			sys_poll(NULL, 0, 10);
		memset(attach, 0, sizeof(*attach));
		attach->version = UDAX_IOC_VERSION;
		err = sys_ioctl(fd, UDAX_IOC_ATTACH, attach);
	}
	return err;
}

static int64_t map_once(struct client *client, const struct request *req,
			const struct udax_ioc_attach *attach, enum udax_reason *ret_reason)
{
	struct call *call = call_new(client, CALL_MAP);
	int64_t result;

	call->addr = (uintptr_t)req->addr & ~(uintptr_t)(PAGE_BYTES - 1);
	call->len = page_up(req->len);
	call->prot = req->prot;
	call->flags = req->flags;
	call->fd = req->fd;
	call->pos = (uint64_t)req->off;
	call->dev = req->dev;
	call->ino = req->ino;
	call->writable = req->writable;
	if (attach) {
		call->has_token = true;
		call->attach = *attach;
	}
	result = call_run(client, call);
	*ret_reason = call->reason;
	call_free(client, call);
	return result;
}

static enum udax_reason map_direct(struct request *req, int64_t *ret_result)
{
	struct client *client = client_get();
	struct udax_ioc_attach attach;
	enum udax_reason reason;
	int err;

	*ret_result = -ENODEV;
	if (!client)
		return !atomic_load(&start_error)	      ? UDAX_NO_CLIENT
		       : atomic_load(&start_error) == -ENOMEM ? UDAX_NO_MEMORY
							      : UDAX_NO_USERFAULTFD;
	*ret_result = map_once(client, req, NULL, &reason);
	if (*ret_result != -EAGAIN)
		return reason;
	err = get_token(req->fd, &attach);
	if (!err) {
		*ret_result = map_once(client, req, &attach, &reason);
		return reason;
	}
	*ret_result = -ENODEV;
	return reason_of_ioctl(req->fd, err);
}

static enum udax_reason try_direct(struct request *req, int64_t *ret_result)
{
	int err;
	enum udax_reason reason = look_at_flags(req, &err);

	if (reason == UDAX_DIRECT)
		reason = look_at_descriptor(req, &err);
	if (reason == UDAX_DIRECT)
		return map_direct(req, ret_result);
	*ret_result = err;
	return reason;
}

static void count_refusal(enum udax_reason reason)
{
	last_reason = reason;
	if (reason != UDAX_DIRECT)
		atomic_fetch_add(&refused[reason], 1);
}

/* Where a direct mapping was, one of the kernel's is to be: let go first, but let nobody in. */
static int clear(const void *addr, size_t len)
{
	struct client *client = owner_of(addr, len);

	return client ? (int)range_call(client, CALL_CLEAR, addr, len, 0) : 0;
}

static void *map_by_kernel(const struct request *req)
{
	void *mem;
	int err = req->flags & MAP_FIXED ? clear(req->addr, req->len) : 0;

	if (err) {
		fail(err);
		return MAP_FAILED;
	}
	mem = sys_mmap(req->addr, req->len, req->prot, req->flags, req->fd, (uint64_t)req->off);
	if (!sys_failed(mem))
		return mem;
	fail(sys_failed(mem));
	return MAP_FAILED;
}

void *udax_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	struct request req = {
		.addr = addr,
		.len = len,
		.prot = prot,
		.flags = flags & ~UDAX_FALLBACK,
		.fd = fd,
		.off = off,
	};
	int64_t result;
	enum udax_reason reason = try_direct(&req, &result);

	if (reason == UDAX_DIRECT && result < 0 && result > -4096)
		reason = UDAX_BAD_ARGUMENT;
	count_refusal(reason);
	if (reason == UDAX_DIRECT)
		return (void *)(intptr_t)result;
	if (flags & UDAX_FALLBACK && !(req.flags & MAP_SYNC))
		return map_by_kernel(&req);
	if (req.flags & MAP_SYNC && result == -ENODEV)
		result = -EOPNOTSUPP;
	fail((int)result);
	return MAP_FAILED;
}

/* ---- the other calls about memory ------------------------------------------------------------- */

/* As owner_of(), where the service finds out itself whether there are any. */
static struct client *perhaps_owner_of(const void *addr, size_t len)
{
	return is_page(addr) && len && page_up(len) >= len ? client_for(addr, len) : NULL;
}

int udax_munmap(void *addr, size_t len)
{
	struct client *client = perhaps_owner_of(addr, len);
	int err = client ? (int)range_call(client, CALL_UNMAP, addr, len, 0) : 1;

	if (err == 1)
		err = sys_munmap(addr, len);
	if (client)
		clerk_wait_closed(client);
	return err ? fail(err) : 0;
}

int udax_mprotect(void *addr, size_t len, int prot)
{
	struct client *client = perhaps_owner_of(addr, len);
	int err = client ? (int)range_call(client, CALL_PROTECT, addr, len, prot)
			 : sys_mprotect(addr, len, prot);

	return err ? fail(err) : 0;
}

static void *remap(struct client *client, const struct request *req, size_t new_len, void *to)
{
	struct call *call;
	void *mem;

	if (page_up(new_len) < new_len || !is_page(to))
		return (void *)(intptr_t)-EINVAL;
	call = call_new(client, CALL_REMAP);
	call->addr = (uintptr_t)req->addr;
	call->len = page_up(req->len);
	call->new_len = page_up(new_len);
	call->flags = req->flags;
	call->new_addr = (uintptr_t)to;
	mem = (void *)(intptr_t)call_run(client, call);
	call_free(client, call);
	return mem;
}

void *udax_mremap(void *old, size_t old_len, size_t new_len, int flags, ...)
{
	const struct request req = { .addr = old, .len = old_len, .flags = flags };
	struct client *client = owner_of(old, old_len ? old_len : 1);
	void *to = NULL, *mem;
	va_list args;
	int err;

	va_start(args, flags);
	if (flags & MREMAP_FIXED)
		to = va_arg(args, void *);
	va_end(args);
	err = !client && flags & MREMAP_FIXED && flags & MREMAP_MAYMOVE ? clear(to, new_len) : 0;
	if (err)
		mem = (void *)(intptr_t)err;
	else if (client)
		mem = remap(client, &req, new_len, to);
	else
		mem = sys_mremap(old, old_len, new_len, flags, to);
	if (!sys_failed(mem))
		return mem;
	fail(sys_failed(mem));
	return MAP_FAILED;
}

/* ---- durability ------------------------------------------------------------------------------ */

/*
 * What was stored can only be where a piece for stores is, or was taken back, which keeps it. The service does
 * it, because only there a piece stays while it is flushed; for this thread it would be a touch, which can
 * be a SIGBUS.
 */
static void flush_written(struct client *client, uint64_t start, uint64_t end)
{
	while (start < end)
		start = (uint64_t)range_call(client, CALL_FLUSH, (void *)start, end - start, 0);
}

static int sync_times(struct client *client, uint64_t start, uint64_t end)
{
	while (start < end) {
		int64_t at = range_call(client, CALL_SYNC, (void *)start, end - start, 0);

		if (at < 0)
			return (int)at;
		start = (uint64_t)at;
	}
	return 0;
}

/* What is not mapped is an error, but what is mapped is synchronised all the same. */
int udax_msync(void *addr, size_t len, int flags)
{
	struct client *client = owner_of(addr, len);
	uint64_t start = (uintptr_t)addr, end = start + page_up(len);
	int err, times;

	if (!client || !(flags & MS_SYNC) || flags & ~(MS_SYNC | MS_INVALIDATE)) {
		err = sys_msync(addr, len, flags);
		return err ? fail(err) : 0;
	}
	flush_written(client, start, end);
	err = atomic_load(&client->needs_msync) || covered(client, addr, len) != page_up(len)
		      ? sys_msync(addr, len, flags)
		      : 0;
	times = sync_times(client, start, end);
	return err || times ? fail(err ? err : times) : 0;
}

int udax_persist(const void *addr, size_t len)
{
	struct client *client = atomic_load(&the_client);
	uintptr_t start = (uintptr_t)addr & ~(uintptr_t)(PAGE_BYTES - 1);
	int err;

	flush_lines(addr, len);
	if (!client || !atomic_load(&client->needs_msync) || !len)
		return 0;
	err = sys_msync((void *)start, (uintptr_t)addr + len - start, MS_SYNC);
	return err ? fail(err) : 0;
}

/* ---- advice ---------------------------------------------------------------------------------- */

int udax_populate(void *addr, size_t len, enum udax_populate_mode mode)
{
	struct client *client;
	int err;

	if (!is_page(addr) || page_up(len) < len ||
	    (mode != UDAX_POPULATE_READ && mode != UDAX_POPULATE_WRITE))
		return fail(-EINVAL);
	if (!len)
		return 0;
	client = client_for(addr, len);
	err = client ? (int)range_call(client, CALL_POPULATE, addr, len,
				       mode == UDAX_POPULATE_WRITE)
		     : -ENOMEM;
	return err ? fail(err) : 0;
}

/* A range that is direct as a whole. */
static int advise(struct client *client, void *addr, size_t len, int advice)
{
	switch (advice) {
	case MADV_POPULATE_READ:
	case MADV_POPULATE_WRITE:
		return (int)range_call(client, CALL_POPULATE, addr, len,
				       advice == MADV_POPULATE_WRITE);
	case MADV_WILLNEED:
		range_call(client, CALL_POPULATE, addr, len, 0);
		return 0;
	case MADV_DONTFORK:
	case MADV_DOFORK:
		return (int)range_call(client, CALL_INHERIT, addr, len, advice == MADV_DOFORK);
	case MADV_NORMAL:
	case MADV_RANDOM:
	case MADV_SEQUENTIAL:
	case MADV_DONTDUMP:
	case MADV_DODUMP:
	case MADV_HUGEPAGE:
	case MADV_NOHUGEPAGE:
	case MADV_DONTNEED: /* a mapping is a cache of nothing: what there is stays */
	case MADV_COLD:
	case MADV_PAGEOUT:
		return 0;
	default:
		return -EINVAL;
	}
}

/* Of a range that is not direct as a whole, or has holes, the kernel gets what may be told it. */
static int advise_mixed(void *addr, size_t len, int advice)
{
	switch (advice) {
	case MADV_DONTFORK:
	case MADV_DOFORK: /* what is direct is never inherited by the kernel's means */
	case MADV_REMOVE:
	case MADV_FREE:
	case MADV_WIPEONFORK:
		return -EINVAL;
	default:
		return sys_madvise(addr, len, advice);
	}
}

int udax_madvise(void *addr, size_t len, int advice)
{
	struct client *client = owner_of(addr, len);
	int err;

	if (!client)
		err = sys_madvise(addr, len, advice);
	else if (covered(client, addr, len) == page_up(len))
		err = advise(client, addr, len, advice);
	else
		err = advise_mixed(addr, len, advice);
	return err ? fail(err) : 0;
}

/* ---- facts ----------------------------------------------------------------------------------- */

int udax_is_direct(const void *addr, size_t len)
{
	const char *start = (const char *)((uintptr_t)addr & ~(uintptr_t)(PAGE_BYTES - 1));
	size_t bytes = page_up((size_t)((const char *)addr + len - start));
	struct client *client = len ? client_for(start, bytes) : NULL;

	return client && covered(client, start, bytes) == bytes;
}

enum udax_reason udax_why(void)
{
	return last_reason;
}

const char *udax_reason_text(enum udax_reason reason)
{
	static const char *const texts[UDAX_NR_REASONS] = {
		[UDAX_DIRECT] = "the mapping is direct",
		[UDAX_BAD_ARGUMENT] = "the call is wrong, as errno says",
		[UDAX_NOT_SHARED] = "the mapping is not a shared one of a file",
		[UDAX_NOT_UDAXFS] = "not a regular file on a udaxfs mount",
		[UDAX_NOT_O_DIRECT] = "the descriptor was opened without O_DIRECT",
		[UDAX_CACHED] = "the file is open without O_DIRECT",
		[UDAX_OTHER_USER] = "the mount belongs to another user",
		[UDAX_NO_SERVICE] = "the mount does not serve direct mappings",
		[UDAX_NO_DAEMON] = "the mount's daemon does not answer",
		[UDAX_GRANULE] = "address, length or offset is not a multiple of the granule",
		[UDAX_NOT_SYNC] = "MAP_SYNC, but the region is not persistent memory",
		[UDAX_NO_USERFAULTFD] = "the kernel has no userfaultfd, or forbids it",
		[UDAX_NO_MEMORY] = "no memory, address space or mappings left",
		[UDAX_NO_CLIENT] = "a process made by vfork or clone",
	};

	return (unsigned)reason < UDAX_NR_REASONS ? texts[reason] : "unknown";
}

void udax_stats(struct udax_stats *stats, size_t size)
{
	struct client *client = client_of_process();
	struct udax_stats all;
	uint64_t *member = &all.mappings;

	_Static_assert(offsetof(struct udax_stats, refused) == COUNT_NR * sizeof(uint64_t),
		       "enum count numbers the members of struct udax_stats");
	memset(&all, 0, sizeof(all));
	for (unsigned i = 0; client && i < COUNT_NR; i++)
		member[i] = atomic_load_explicit(&client->counts[i], memory_order_relaxed);
	for (unsigned i = 0; i < UDAX_NR_REASONS; i++)
		all.refused[i] = atomic_load(&refused[i]);
	memset(stats, 0, size);
	memcpy(stats, &all, size < sizeof(all) ? size : sizeof(all));
}
