/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * region.c - what all regions have in common: which kind a path is, bounds, damage, and the locks
 * between processes.
 *
 * Damage. One bit for each page of 4 KiB says that the page cannot be trusted; a counter says
 * whether any bit is set, so that a healthy region pays one load for a check. Bits are set from a
 * SIGBUS handler, with atomic operations only, and never cleared while the region is open: a page
 * that was replaced stays replaced. The order in region_sigbus() is: bit, counter, replacement. A
 * thread that reads zeroes out of the replacement therefore finds the bit in region_check().
 *
 * Locks between processes stand on the first bytes of the region's file:
 *
 *	byte 0	exclusion: a lock of the open file description. It survives fork() and the closing
 *		of other descriptors, but does not tell who holds it.
 *	byte 1	who: a lock of the process, there only so that F_GETLK gives its pid.
 *	byte 2	"serves a mount": a lock of the process, from the moment the mount works until
 *		unmounting begins. Whoever waits learns from it whether waiting makes sense.
 *
 * They are taken in this order and let go in the opposite one, so that whoever gets byte 0 finds the
 * others free. A region opened read-only takes all three shared.
 */
#include "region.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "format.h"
#include "region_impl.h"

const char *durability_name(enum durability domain)
{
	switch (domain) {
	case DURABILITY_PMEM:
		return "pmem";
	case DURABILITY_FILE:
		return "file";
	case DURABILITY_VOLATILE:
		return "volatile";
	}
	return "?";
}

/* ---- open and close ----------------------------------------------------------------------- */

int region_fail(const struct region_request *req, int error, const char *fmt, ...)
{
	va_list args;

	if (req->err_len > 0) {
		va_start(args, fmt);
		vsnprintf(req->err, req->err_len, fmt, args);
		va_end(args);
	}
	return error;
}

static int cannot_look(const struct region_request *req, int error)
{
	const char *path = req->path;

	switch (error) {
	case ENOENT:
		return region_fail(req, -error,
				   "%s does not exist; create it with 'mkfs.udaxfs --size N %s'",
				   path, path);
	case EACCES:
		return region_fail(
			req, -error,
			"%s cannot be reached: permission to search a directory on the way "
			"is missing",
			path);
	default:
		return region_fail(req, -error, "%s cannot be looked at: %s", path,
				   strerror(error));
	}
}

static int open_by_type(const struct region_request *req, mode_t type, struct region **ret_region)
{
	const char *path = req->path;

	switch (type) {
	case S_IFREG:
		return region_file_open(req, ret_region);
	case S_IFCHR:
		return region_devdax_open(req, ret_region);
	case S_IFDIR:
		return region_fail(req, -EISDIR,
				   "%s is a directory; give a file or a devdax such as /dev/dax0.0",
				   path);
	case S_IFBLK:
		return region_fail(
			req, -ENODEV,
			"%s is a block device, which cannot be mapped directly; give a file "
			"on a filesystem on it, or make it a devdax with 'ndctl "
			"create-namespace -m devdax'",
			path);
	default:
		return region_fail(req, -ENODEV,
				   "%s is neither a file nor a devdax; give one of these", path);
	}
}

int region_open(const char *path, unsigned flags, uint32_t granule_bytes,
		struct region **ret_region, char *err, size_t err_len)
{
	const struct region_request req = {
		.path = path,
		.flags = flags,
		.granule_bytes = granule_bytes,
		.err = err,
		.err_len = err_len,
	};
	struct region *r;
	struct stat st;
	int rc;

	if (granule_bytes &&
	    (granule_bytes < REGION_PAGE_BYTES || (granule_bytes & (granule_bytes - 1))))
		return region_fail(
			&req, -EINVAL,
			"a granule of %u bytes is not possible; give a power of two from "
			"%u up",
			granule_bytes, REGION_PAGE_BYTES);
	if (stat(path, &st))
		return cannot_look(&req, errno);
	rc = open_by_type(&req, st.st_mode & S_IFMT, &r);
	if (rc)
		return rc;
	if (r->bytes < MIN_VOLUME_BYTES) {
		uint64_t bytes = r->bytes;

		region_close(r);
		return region_fail(
			&req, -EINVAL,
			"%s has room for %llu bytes, and the smallest volume takes %u; make "
			"it larger, for example with 'mkfs.udaxfs --size 64M %s'",
			path, (unsigned long long)bytes, MIN_VOLUME_BYTES, path);
	}
	*ret_region = r;
	return 0;
}

void region_close(struct region *r)
{
	if (r)
		r->ops->close(r);
}

int region_grow(struct region *r)
{
	return r->ops->grow ? r->ops->grow(r) : -EOPNOTSUPP;
}

/* ---- loads and stores --------------------------------------------------------------------- */

static bool in_region(const struct region *r, uint64_t off, uint64_t len)
{
	/* Relaxed: region_grow() only raises it, and who learnt of the growth learnt it by a lock. */
	uint64_t bytes = __atomic_load_n(&r->bytes, __ATOMIC_RELAXED);

	return off <= bytes && len <= bytes - off;
}

const void *region_ptr(const struct region *r, uint64_t off, size_t len)
{
	assert(in_region(r, off, len));
	return r->base + off;
}

void region_store(struct region *r, uint64_t off, const void *src, size_t len,
		  const struct sync_site *site)
{
	assert(in_region(r, off, len) && !r->read_only);
	if (len > 0)
		r->ops->store(r, off, src, len, site);
}

void region_zero(struct region *r, uint64_t off, size_t len, const struct sync_site *site)
{
	assert(in_region(r, off, len) && !r->read_only);
	if (len > 0)
		r->ops->zero(r, off, len, site);
}

void region_store64(struct region *r, uint64_t off, uint64_t value, const struct sync_site *site)
{
	assert(in_region(r, off, sizeof(value)) && !r->read_only);
	assert(off % sizeof(value) == 0);
	r->ops->store64(r, off, value, site);
}

void region_flush(struct region *r, uint64_t off, size_t len, const struct sync_site *site)
{
	assert(in_region(r, off, len) && !r->read_only);
	if (len > 0)
		r->ops->flush(r, off, len, site);
}

void region_drain(struct region *r, const struct sync_site *site)
{
	r->ops->drain(r, site);
}

/* ---- damage ------------------------------------------------------------------------------- */

struct bad_map {
	_Atomic uint64_t nr;	 /* bits that are set */
	_Atomic uint64_t lowest; /* no bad page below: nearly always there is nothing to search */
	uint64_t npages;
	_Atomic uint64_t words[];
};

static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_LONG_LOCK_FREE == 2,
	      "a SIGBUS handler may only use atomics without locks");

struct bad_map *bad_map_new(uint64_t bytes)
{
	uint64_t npages = (bytes + REGION_PAGE_BYTES - 1) >> REGION_PAGE_SHIFT;
	struct bad_map *map;

	/* calloc of much memory costs nothing until it is touched. */
	map = calloc(1, sizeof(*map) + (npages + 63) / 64 * sizeof(map->words[0]));
	if (!map)
		return NULL;
	map->npages = npages;
	atomic_init(&map->lowest, npages);
	return map;
}

void bad_map_delete(struct bad_map *map)
{
	free(map);
}

void bad_map_clear(struct bad_map *map)
{
	if (atomic_load(&map->nr) == 0)
		return;
	memset((void *)map->words, 0, (map->npages + 63) / 64 * sizeof(map->words[0]));
	atomic_store(&map->lowest, map->npages);
	atomic_store(&map->nr, 0);
}

/* Async-signal-safe. */
static void bad_map_set(struct bad_map *map, uint64_t page)
{
	uint64_t bit = UINT64_C(1) << (page % 64);
	uint64_t lowest = atomic_load(&map->lowest);

	assert(page < map->npages);
	while (page < lowest && !atomic_compare_exchange_weak(&map->lowest, &lowest, page))
		;
	if (!(atomic_fetch_or(&map->words[page / 64], bit) & bit))
		atomic_fetch_add(&map->nr, 1);
}

/* The first page in [@page, @end) whose bit is @bad, or @end. */
static uint64_t bad_map_find(const struct bad_map *map, uint64_t page, uint64_t end, bool bad)
{
	while (page < end) {
		uint64_t word = atomic_load(&map->words[page / 64]);

		word = (bad ? word : ~word) >> (page % 64);
		if (word) {
			page += (uint64_t)__builtin_ctzll(word);
			return page < end ? page : end;
		}
		page = (page / 64 + 1) * 64;
	}
	return end;
}

static uint64_t last_page_end(uint64_t off, uint64_t len)
{
	return (off + len + REGION_PAGE_BYTES - 1) >> REGION_PAGE_SHIFT;
}

int region_check(const struct region *r, uint64_t off, uint64_t len)
{
	const struct bad_map *map = r->bad;
	uint64_t page = off >> REGION_PAGE_SHIFT;
	uint64_t lowest;

	if (atomic_load_explicit(&map->nr, memory_order_acquire) == 0)
		return 0;
	assert(in_region(r, off, len));
	if (len == 0)
		return 0;
	lowest = atomic_load(&map->lowest);
	if (page < lowest)
		page = lowest;
	return bad_map_find(map, page, last_page_end(off, len), true) < last_page_end(off, len)
		       ? -EIO
		       : 0;
}

int region_touch(struct region *r, uint64_t off, uint64_t len)
{
	uint64_t at = off & ~(uint64_t)(REGION_PAGE_BYTES - 1);

	assert(in_region(r, off, len));
	for (; at < off + len; at += REGION_PAGE_BYTES)
		(void)*(const volatile unsigned char *)(r->base + at);
	return region_check(r, off, len);
}

int region_mark_bad(struct region *r, uint64_t off, uint64_t len)
{
	if (!in_region(r, off, len))
		return -EINVAL;
	if (len == 0)
		return 0;
	for (uint64_t page = off >> REGION_PAGE_SHIFT; page < last_page_end(off, len); page++)
		bad_map_set(r->bad, page);
	return 0;
}

size_t region_bad_ranges(const struct region *r, struct bad_range *ret, size_t nr)
{
	const struct bad_map *map = r->bad;
	uint64_t page, end;
	size_t found = 0;

	if (atomic_load(&map->nr) == 0)
		return 0;
	for (page = atomic_load(&map->lowest);; page = end) {
		page = bad_map_find(map, page, map->npages, true);
		if (page == map->npages)
			return found;
		end = bad_map_find(map, page, map->npages, false);
		if (found < nr) {
			ret[found].off = page << REGION_PAGE_SHIFT;
			ret[found].len = (end - page) << REGION_PAGE_SHIFT;
		}
		found++;
	}
}

/*
 * Runs in a signal handler, where POSIX does not list mmap: so it is called as what it is on Linux, a
 * bare system call, past the C library and whatever sanitizers put around it. When it fails (no more
 * mappings allowed) the answer is false: to go on would only repeat the fault.
 */
bool region_sigbus(struct region *r, const void *addr)
{
	uint64_t bytes = __atomic_load_n(&r->bytes, __ATOMIC_RELAXED);
	uint64_t off = (uint64_t)((uintptr_t)addr - (uintptr_t)r->base);
	int prot = r->read_only ? PROT_READ : PROT_READ | PROT_WRITE;
	int saved_errno = errno;
	int flags = MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	long rc;

	if (r->page_bytes == 0 || off >= bytes)
		return false;
	off -= off % r->page_bytes;
	for (uint64_t at = off; at < off + r->page_bytes && at < bytes; at += REGION_PAGE_BYTES)
		bad_map_set(r->bad, at >> REGION_PAGE_SHIFT);
	rc = syscall(SYS_mmap, r->base + off, (size_t)r->page_bytes, prot, flags, -1, 0L);
	errno = saved_errno;
	return rc != -1;
}

/* ---- locks between processes --------------------------------------------------------------- */

enum { LOCK_BYTE_EXCLUSION = 0, LOCK_BYTE_WHO = 1, LOCK_BYTE_SERVING = 2 };

#define LOCK_POLL_MS 5
/* umount(8) returns before the daemon has noticed, and on a busy machine that takes a while. */
#define LOCK_SERVING_PATIENCE_MS 2000

static int record_lock(const struct region *r, int cmd, short type, int byte)
{
	struct flock fl = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = byte,
		.l_len = 1,
	};

	return fcntl(r->fd, cmd, &fl) ? -errno : 0;
}

/* The pid of another process that holds @byte against @type: 0 unknown, -1 nobody. */
static int record_lock_holder(const struct region *r, short type, int byte)
{
	struct flock fl = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = byte,
		.l_len = 1,
	};

	if (fcntl(r->fd, F_GETLK, &fl))
		return 0;
	if (fl.l_type == F_UNLCK)
		return -1;
	return fl.l_pid > 0 ? fl.l_pid : 0;
}

static int try_lock(struct region *r)
{
	short type = r->read_only ? F_RDLCK : F_WRLCK;
	int rc = record_lock(r, F_OFD_SETLK, type, LOCK_BYTE_EXCLUSION);

	if (rc)
		return rc;
	rc = record_lock(r, F_SETLK, type, LOCK_BYTE_WHO);
	if (rc)
		record_lock(r, F_OFD_SETLK, F_UNLCK, LOCK_BYTE_EXCLUSION);
	return rc;
}

int region_lock(struct region *r, unsigned wait_ms, int *ret_pid)
{
	const struct timespec pause = { .tv_nsec = LOCK_POLL_MS * 1000000L };
	short type = r->read_only ? F_RDLCK : F_WRLCK;
	unsigned waited_ms = 0, serving_ms = 0;

	if (r->fd < 0)
		return 0;
	for (;;) {
		int rc = try_lock(r);
		int pid;

		if (rc != -EAGAIN && rc != -EACCES)
			return rc;
		/* Ask before judging: what is not there any more by now is tried again. */
		pid = record_lock_holder(r, type, LOCK_BYTE_WHO);
		if (record_lock_holder(r, F_WRLCK, LOCK_BYTE_SERVING) < 0)
			serving_ms = 0;
		else
			serving_ms += LOCK_POLL_MS;
		if (waited_ms >= wait_ms || serving_ms > LOCK_SERVING_PATIENCE_MS) {
			*ret_pid = pid > 0 ? pid : 0;
			return -EBUSY;
		}
		nanosleep(&pause, NULL);
		waited_ms += LOCK_POLL_MS;
	}
}

void region_set_serving(struct region *r, bool serving)
{
	short type = r->read_only ? F_RDLCK : F_WRLCK;

	/*
	 * Nobody else can hold this byte while we hold byte 0. Should the system refuse all the
	 * same (no locks left), others wait longer than they need: no reason to fail a mount.
	 */
	if (r->fd >= 0)
		record_lock(r, F_SETLK, serving ? type : F_UNLCK, LOCK_BYTE_SERVING);
}

void region_unlock(struct region *r)
{
	if (r->fd < 0)
		return;
	record_lock(r, F_SETLK, F_UNLCK, LOCK_BYTE_SERVING);
	record_lock(r, F_SETLK, F_UNLCK, LOCK_BYTE_WHO);
	record_lock(r, F_OFD_SETLK, F_UNLCK, LOCK_BYTE_EXCLUSION);
}

#define CLIENT_LOCKS (INT64_C(1) << 61) /* the byte of client 0: far behind any region */

static struct flock client_lock(uint32_t client, short type)
{
	return (struct flock){
		.l_type = type, .l_whence = SEEK_SET, .l_start = CLIENT_LOCKS + client, .l_len = 1
	};
}

int region_share(struct region *r, uint32_t client, int *ret_fd)
{
	struct flock fl = client_lock(client, F_RDLCK);
	char path[32];
	int fd, err = 0;

	if (r->fd < 0)
		return -ENODEV;
	/* Opened anew, not duplicated: locks belong to the open file description. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", r->fd);
	fd = open(path, (r->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_SH | LOCK_NB) || fcntl(fd, F_OFD_SETLK, &fl))
		err = -errno;
	if (err)
		region_share_end(r, fd);
	else
		*ret_fd = fd;
	return err;
}

void region_share_end(struct region *r, int fd)
{
	short type = r->read_only ? F_RDLCK : F_WRLCK;

	/*
	 * Closing any descriptor of the file takes away what names this process; exclusion stands.
	 * Only who serves shares.
	 */
	close(fd);
	record_lock(r, F_SETLK, type, LOCK_BYTE_WHO);
	record_lock(r, F_SETLK, type, LOCK_BYTE_SERVING);
}

bool region_client_alive(const struct region *r, uint32_t client)
{
	struct flock fl = client_lock(client, F_WRLCK);

	return fcntl(r->fd, F_OFD_GETLK, &fl) || fl.l_type != F_UNLCK;
}

/* Whether anybody holds the bytes of clients [@first, @end); then *@ret_client is one of them. */
static bool clients_alive(const struct region *r, uint32_t first, uint32_t end,
			  uint32_t *ret_client)
{
	struct flock fl = client_lock(first, F_WRLCK);

	fl.l_len = end - first;
	if (fcntl(r->fd, F_OFD_GETLK, &fl) || fl.l_type == F_UNLCK)
		return false;
	*ret_client = (uint32_t)(fl.l_start - CLIENT_LOCKS);
	return true;
}

uint32_t region_clients_begin(struct region *r)
{
	uint32_t next = 1, client;

	while (r->fd >= 0 && clients_alive(r, next, UINT32_MAX, &client))
		next = client + 1;
	r->first_client = next;
	return next;
}

void region_clients_end(struct region *r)
{
	r->first_client = 0;
}

bool region_clients_alive(struct region *r)
{
	uint32_t client;

	if (r->probe_fd < 0)
		return false;
	/* The flock is of all clients, and ours have it too. */
	if (r->first_client > 1)
		return clients_alive(r, 1, r->first_client, &client);
	/* Any failure but success leaves the possibility open, and "may" is the question. */
	if (flock(r->probe_fd, LOCK_EX | LOCK_NB))
		return true;
	flock(r->probe_fd, LOCK_UN);
	return false;
}
