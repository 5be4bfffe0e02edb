/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * tool_exerciser.c - random operations on two files of a mount, every byte checked against a shadow:
 * for mount_exerciser.sh.
 *
 *	tool_exerciser [OPTIONS] DIR
 *
 *	-s SEED    where the random numbers begin (default: the clock); a run prints its seed
 *	-n OPS     operations of each process (default 2000), or
 *	-t SECONDS until then
 *	-p N       so many processes, each with two files of its own and seed SEED + its number
 *	-l BYTES   how large a file may become (default 1 MiB)
 *	-m MODE    cached, uncached, or mixed: closing and opening again may change it (default);
 *	           or direct, under `udaxrun --require-direct`
 *	-k PREFIX  keep the shadows in files PREFIX..., and go on from them: what stands in DIR must be
 *	           what a run before this one left, also after a remount
 *	-w SECONDS after which an operation hangs (default 30)
 *	-v         print every operation
 *
 * Each process works alone on its files, so whatever differs from the shadow is a bug. The shadow
 * knows for each byte which operation wrote it. In cached mode there are three handles (ordinary,
 * O_DIRECT, O_APPEND) and one shared mapping that lives as long as they do; in uncached mode
 * collapse, insert and exchange range by ioctl instead of that mapping; in direct mode there is all of it.
 *
 * A failure prints the operation, the bytes, the last operations, and how to repeat the run.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "maps.h"
#include "udax/ioctl.h"
#include "watch.h"

#define PAGE 4096u

enum { CACHED = 1, UNCACHED = 2, BOTH = CACHED | UNCACHED, DIRECT = 4, ANY = BOTH | DIRECT };

struct file {
	char path[4096], kept[4096];
	const char *name; /* "a" or "b" */
	unsigned char *shadow;
	uint32_t *who; /* number of the operation that wrote each byte */
	uint64_t size;
	unsigned mode;
	int fds[3]; /* ordinary, O_DIRECT, O_APPEND */
	unsigned char *map;
};

static struct options {
	uint64_t seed, nops, max;
	unsigned seconds, nprocesses, limit;
	unsigned modes;
	bool verbose;
	const char *dir, *keep;
} opt = { .nprocesses = 1, .max = 1 << 20, .limit = 30, .modes = BOTH };

static struct exerciser {
	struct worker *w;
	unsigned index; /* of the process */
	struct file files[2];
	struct file *f, *other; /* of the operation at hand */
	unsigned char *buf;
	uint32_t nr;
} ex;

/* ---- failing and comparing ---------------------------------------------------------------------- */

#define FAIL(fmt, ...)                                                                             \
	worker_fail(ex.w,                                                                          \
		    "operation %u: " fmt                                                           \
		    "\nrepeat: tool_exerciser -s %llu -n %u -l %llu -m %s DIR%s",                  \
		    ex.nr, ##__VA_ARGS__, (unsigned long long)(opt.seed + ex.index), ex.nr + 1,    \
		    (unsigned long long)opt.max, mode_name(opt.modes),                             \
		    opt.keep ? " (it went on from a kept shadow)" : "")

static const char *mode_name(unsigned mode)
{
	return mode == BOTH	? "mixed"
	       : mode == CACHED ? "cached"
	       : mode == DIRECT ? "direct"
				: "uncached";
}

static void must(bool ok, const char *what)
{
	if (!ok)
		FAIL("%s: %s", what, strerror(errno));
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void hex(char *out, const unsigned char *bytes, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		sprintf(out + 3 * i, "%02x ", bytes[i]);
}

/* What was read from @pos by @how must be what the shadow has; behind EOF: zeroes. */
static void compare(const struct file *f, const char *how, uint64_t pos, const unsigned char *got,
		    uint64_t len)
{
	uint64_t first = 0, last = len, n, nbad = 0;
	char wanted_hex[64] = "", got_hex[64] = "";

	if (memcmp(got, f->shadow + pos, len) == 0)
		return;
	while (got[first] == f->shadow[pos + first])
		first++;
	while (got[last - 1] == f->shadow[pos + last - 1])
		last--;
	for (uint64_t i = first; i < last; i++)
		nbad += got[i] != f->shadow[pos + i];
	n = min_u64(16, last - first);
	hex(wanted_hex, f->shadow + pos + first, n);
	hex(got_hex, got + first, n);
	FAIL("file %s, %s mode, size 0x%llx, %s [0x%llx, 0x%llx): %llu bytes in [0x%llx, 0x%llx) differ\n"
	     "  wanted %s(of operation %u)\n  got    %s",
	     f->name, mode_name(f->mode), (unsigned long long)f->size, how, (unsigned long long)pos,
	     (unsigned long long)(pos + len), (unsigned long long)nbad,
	     (unsigned long long)(pos + first), (unsigned long long)(pos + last), wanted_hex,
	     f->who[pos + first], got_hex);
}

/* ---- the shadow --------------------------------------------------------------------------------- */

static unsigned char byte_at(uint64_t pos)
{
	return (unsigned char)((ex.nr * 131 + pos * 7 + (pos >> 12) * 29) | 1);
}

static void shadow_fill(struct file *f, uint64_t pos, uint64_t len)
{
	for (uint64_t i = pos; i < pos + len; i++) {
		f->shadow[i] = byte_at(i);
		f->who[i] = ex.nr;
	}
	if (pos + len > f->size)
		f->size = pos + len;
}

static void shadow_zero(struct file *f, uint64_t pos, uint64_t end)
{
	if (end <= pos)
		return;
	memset(f->shadow + pos, 0, end - pos);
	for (uint64_t i = pos; i < end; i++)
		f->who[i] = ex.nr;
}

/* Bytes behind EOF are always zero in the shadow. */
static void shadow_resize(struct file *f, uint64_t size)
{
	shadow_zero(f, size, f->size);
	f->size = size;
}

static void shadow_copy(struct file *to, uint64_t to_pos, const struct file *from, uint64_t pos,
			uint64_t len)
{
	memmove(to->shadow + to_pos, from->shadow + pos, len);
	memmove(to->who + to_pos, from->who + pos, len * sizeof(*to->who));
	if (to_pos + len > to->size)
		to->size = to_pos + len;
}

static void shadow_swap(struct file *a, uint64_t a_pos, struct file *b, uint64_t b_pos,
			uint64_t len)
{
	for (uint64_t i = 0; i < len; i++) {
		unsigned char byte = a->shadow[a_pos + i];
		uint32_t who = a->who[a_pos + i];

		a->shadow[a_pos + i] = b->shadow[b_pos + i];
		a->who[a_pos + i] = b->who[b_pos + i];
		b->shadow[b_pos + i] = byte;
		b->who[b_pos + i] = who;
	}
}

/* ---- ranges ------------------------------------------------------------------------------------- */

struct range {
	uint64_t pos, len;
};

/* Below @max, half of the ranges with ends at pages, most of them short. At least one byte. */
static struct range random_range(uint64_t max)
{
	uint64_t reach = worker_once_in(ex.w, 4) ? max : worker_once_in(ex.w, 2) ? 64 << 10 : 9000;
	struct range r = { .pos = worker_below(ex.w, max) };

	if (worker_once_in(ex.w, 2))
		r.pos &= ~(uint64_t)(PAGE - 1);
	r.len = 1 + worker_below(ex.w, min_u64(reach, max - r.pos));
	if (worker_once_in(ex.w, 2))
		r.len = min_u64((r.len + PAGE - 1) & ~(uint64_t)(PAGE - 1), max - r.pos);
	return r;
}

/* Near or before EOF: where something can be read. */
static struct range random_inside(const struct file *f)
{
	return random_range(f->size ? min_u64(f->size + worker_below(ex.w, 2) * 5000, opt.max) : 1);
}

static void log_range(const char *what, struct range r)
{
	worker_op(ex.w, "%s %s [0x%llx, 0x%llx) size 0x%llx", ex.f->name, what,
		  (unsigned long long)r.pos, (unsigned long long)r.pos + r.len,
		  (unsigned long long)ex.f->size);
}

static const char *const fd_names[] = { "ordinary", "O_DIRECT", "O_APPEND" };

static void check_size(const struct file *f)
{
	struct stat st;

	must(fstat(f->fds[0], &st) == 0, "fstat");
	if ((uint64_t)st.st_size != f->size)
		FAIL("file %s: size is 0x%llx, should be 0x%llx", f->name,
		     (unsigned long long)st.st_size, (unsigned long long)f->size);
}

/* ---- reading ------------------------------------------------------------------------------------ */

static void read_range(const struct file *f, unsigned which, struct range r)
{
	uint64_t wanted = r.pos < f->size ? min_u64(r.len, f->size - r.pos) : 0;
	ssize_t n = pread(f->fds[which], ex.buf, r.len, (off_t)r.pos);

	must(n >= 0, "pread");
	if ((uint64_t)n != wanted)
		FAIL("file %s: %s read of [0x%llx, 0x%llx) gave 0x%zx bytes, size is 0x%llx",
		     f->name, fd_names[which], (unsigned long long)r.pos,
		     (unsigned long long)r.pos + r.len, (size_t)n, (unsigned long long)f->size);
	compare(f, fd_names[which], r.pos, ex.buf, wanted);
}

static void op_read(void)
{
	struct range r = random_inside(ex.f);
	unsigned which = (unsigned)worker_below(ex.w, 3);

	log_range(fd_names[which], r);
	read_range(ex.f, which, r);
}

/* To the end of the last page: what is behind EOF there must be zero. */
static uint64_t mapped_end(const struct file *f, struct range r)
{
	uint64_t pages = (f->size + PAGE - 1) & ~(uint64_t)(PAGE - 1);

	return min_u64(r.pos + r.len, pages);
}

static void map_read(const struct file *f, const char *how, const unsigned char *map,
		     struct range r)
{
	uint64_t end = mapped_end(f, r);

	if (r.pos >= end)
		return;
	memcpy(ex.buf, map + r.pos, end - r.pos);
	compare(f, how, r.pos, ex.buf, end - r.pos);
}

static void op_map_read(void)
{
	struct range r = random_inside(ex.f);

	log_range("load", r);
	map_read(ex.f, "load", ex.f->map, r);
}

/* A private mapping shows the file as it is when it is made and first touched. */
static void op_private_read(void)
{
	struct range r = random_inside(ex.f);
	unsigned char *map;

	log_range("load from a private mapping", r);
	map = mmap(NULL, opt.max, PROT_READ, MAP_PRIVATE, ex.f->fds[worker_below(ex.w, 2)], 0);
	must(map != MAP_FAILED, "mmap");
	map_read(ex.f, "private load", map, r);
	munmap(map, opt.max);
}

static void check_data(const struct file *f, uint64_t pos)
{
	off_t data = lseek(f->fds[0], (off_t)pos, SEEK_DATA);
	uint64_t end = data < 0 ? f->size : (uint64_t)data;

	must(data >= 0 || errno == ENXIO, "SEEK_DATA");
	if (data >= 0 && ((uint64_t)data < pos || (uint64_t)data >= f->size))
		FAIL("SEEK_DATA from 0x%llx gave 0x%llx, size 0x%llx", (unsigned long long)pos,
		     (unsigned long long)data, (unsigned long long)f->size);
	for (uint64_t i = pos; i < end; i++)
		if (f->shadow[i])
			FAIL("SEEK_DATA from 0x%llx gave 0x%llx (-1: nothing), but there is data at "
			     "0x%llx, of operation %u",
			     (unsigned long long)pos, (unsigned long long)data,
			     (unsigned long long)i, f->who[i]);
}

static void check_hole(const struct file *f, uint64_t pos)
{
	off_t hole = lseek(f->fds[0], (off_t)pos, SEEK_HOLE);
	uint64_t i = (uint64_t)hole;

	must(hole >= 0, "SEEK_HOLE");
	if (i < pos || i > f->size)
		FAIL("SEEK_HOLE from 0x%llx gave 0x%llx, size 0x%llx", (unsigned long long)pos,
		     (unsigned long long)i, (unsigned long long)f->size);
	for (; i < f->size && (i == (uint64_t)hole || i % PAGE); i++)
		if (f->shadow[i])
			FAIL("SEEK_HOLE from 0x%llx gave 0x%llx, but there is data at 0x%llx",
			     (unsigned long long)pos, (unsigned long long)hole,
			     (unsigned long long)i);
}

static void op_seek(void)
{
	struct range r = random_inside(ex.f);

	log_range("seek", r);
	if (r.pos < ex.f->size) {
		check_data(ex.f, r.pos);
		check_hole(ex.f, r.pos);
		return;
	}
	must(lseek(ex.f->fds[0], (off_t)r.pos, SEEK_DATA) < 0 && errno == ENXIO,
	     "SEEK_DATA behind EOF should fail with ENXIO");
	must(lseek(ex.f->fds[0], (off_t)r.pos, SEEK_HOLE) < 0 && errno == ENXIO,
	     "SEEK_HOLE behind EOF should fail with ENXIO");
}

/* Every byte, in every way. */
static void check_all(const struct file *f)
{
	struct range all = { 0, opt.max };

	check_size(f);
	for (unsigned i = 0; i < 3; i++)
		read_range(f, i, all);
	if (f->map)
		map_read(f, "load", f->map, all);
}

static void op_check(void)
{
	log_range("check all", (struct range){ 0, ex.f->size });
	check_all(ex.f);
	if (worker_once_in(ex.w, 2)) {
		must(posix_fadvise(ex.f->fds[0], 0, 0, POSIX_FADV_DONTNEED) == 0, "fadvise");
		check_all(ex.f);
	}
}

/* ---- writing ------------------------------------------------------------------------------------ */

static void op_write(void)
{
	struct range r = random_range(opt.max);
	unsigned which = (unsigned)worker_below(ex.w, 2);

	log_range(which ? "O_DIRECT write" : "write", r);
	shadow_fill(ex.f, r.pos, r.len);
	memcpy(ex.buf, ex.f->shadow + r.pos, r.len);
	must(pwrite(ex.f->fds[which], ex.buf, r.len, (off_t)r.pos) == (ssize_t)r.len, "pwrite");
}

static void op_append(void)
{
	struct range r = { .pos = ex.f->size };

	if (r.pos == opt.max)
		return;
	r.len = 1 + worker_below(ex.w, min_u64(opt.max - r.pos, 10000));
	log_range("append", r);
	shadow_fill(ex.f, r.pos, r.len);
	must(write(ex.f->fds[2], ex.f->shadow + r.pos, r.len) == (ssize_t)r.len, "append");
	check_size(ex.f);
}

static void op_map_write(void)
{
	struct range r = random_inside(ex.f);

	if (r.pos >= ex.f->size)
		return;
	r.len = min_u64(r.len, ex.f->size - r.pos);
	log_range("store", r);
	shadow_fill(ex.f, r.pos, r.len);
	memcpy(ex.f->map + r.pos, ex.f->shadow + r.pos, r.len);
}

static void op_sync(void)
{
	bool map = ex.f->map && worker_once_in(ex.w, 2);

	worker_op(ex.w, "%s %s", ex.f->name, map ? "msync" : "fsync");
	if (map)
		must(msync(ex.f->map, opt.max, MS_SYNC) == 0, "msync");
	else
		must(fsync(ex.f->fds[worker_below(ex.w, 3)]) == 0, "fsync");
}

static void op_drop(void)
{
	worker_op(ex.w, "%s fadvise DONTNEED", ex.f->name);
	must(posix_fadvise(ex.f->fds[0], 0, 0, POSIX_FADV_DONTNEED) == 0, "fadvise");
}

static void op_copy(void)
{
	struct range r = random_inside(ex.f);
	struct file *to = worker_once_in(ex.w, 2) ? ex.f : ex.other;
	uint64_t to_pos = worker_below(ex.w, opt.max - r.len + 1);

	if (worker_once_in(ex.w, 2))
		to_pos &= ~(uint64_t)(PAGE - 1);
	if (r.pos >= ex.f->size)
		return;
	r.len = min_u64(r.len, ex.f->size - r.pos);
	if (to == ex.f && r.pos < to_pos + r.len && to_pos < r.pos + r.len)
		return;
	worker_op(ex.w, "copy %s [0x%llx, 0x%llx) to %s 0x%llx, sizes 0x%llx 0x%llx", ex.f->name,
		  (unsigned long long)r.pos, (unsigned long long)r.pos + r.len, to->name,
		  (unsigned long long)to_pos, (unsigned long long)ex.f->size,
		  (unsigned long long)to->size);
	while (r.len) {
		off_t in = (off_t)r.pos, out = (off_t)to_pos;
		ssize_t n = copy_file_range(ex.f->fds[worker_below(ex.w, 2)], &in,
					    to->fds[worker_below(ex.w, 2)], &out, r.len, 0);

		must(n > 0, "copy_file_range");
		shadow_copy(to, to_pos, ex.f, r.pos, (uint64_t)n);
		r.pos += (uint64_t)n;
		to_pos += (uint64_t)n;
		r.len -= (uint64_t)n;
	}
	check_size(to);
}

/* ---- changes of the layout ---------------------------------------------------------------------- */

static void op_truncate(void)
{
	struct range r = { .pos = worker_below(ex.w, opt.max + 1) };
	struct stat st;

	if (worker_once_in(ex.w, 4)) /* within the last page, or not far */
		r.pos = min_u64(ex.f->size + worker_below(ex.w, 6000), opt.max);
	else if (worker_once_in(ex.w, 16))
		r.pos = 0;
	log_range("truncate", r);
	shadow_resize(ex.f, r.pos);
	must(ftruncate(ex.f->fds[worker_below(ex.w, 2)], (off_t)r.pos) == 0, "ftruncate");
	check_size(ex.f);
	if (!r.pos) {
		must(fstat(ex.f->fds[0], &st) == 0, "fstat");
		if (st.st_blocks)
			FAIL("an empty file has %llu blocks", (unsigned long long)st.st_blocks);
	}
}

static void do_fallocate(int mode, const char *what, struct range r)
{
	log_range(what, r);
	must(fallocate(ex.f->fds[worker_below(ex.w, 2)], mode, (off_t)r.pos, (off_t)r.len) == 0,
	     what);
}

static void op_punch(void)
{
	struct range r = random_range(opt.max);

	do_fallocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, "punch", r);
	shadow_zero(ex.f, r.pos, min_u64(r.pos + r.len, ex.f->size));
	check_size(ex.f);
}

static void op_zero(void)
{
	struct range r = random_range(opt.max);
	bool keep = worker_once_in(ex.w, 2);

	do_fallocate(FALLOC_FL_ZERO_RANGE | (keep ? FALLOC_FL_KEEP_SIZE : 0),
		     keep ? "zero, keep size" : "zero", r);
	shadow_zero(ex.f, r.pos, min_u64(r.pos + r.len, ex.f->size));
	if (!keep && r.pos + r.len > ex.f->size)
		ex.f->size = r.pos + r.len;
	check_size(ex.f);
}

static void op_allocate(void)
{
	struct range r = random_range(opt.max);
	bool keep = worker_once_in(ex.w, 2);

	do_fallocate(keep ? FALLOC_FL_KEEP_SIZE : 0, keep ? "allocate, keep size" : "allocate", r);
	if (!keep && r.pos + r.len > ex.f->size)
		ex.f->size = r.pos + r.len;
	check_size(ex.f);
}

static struct range aligned_range(uint64_t max)
{
	struct range r = { .pos = worker_below(ex.w, max / PAGE) * PAGE };

	r.len = (1 + worker_below(ex.w, min_u64((max - r.pos) / PAGE, 20))) * PAGE;
	return r;
}

static void op_collapse(void)
{
	struct range r = aligned_range(opt.max);
	struct udax_ioc_range arg = { .version = UDAX_IOC_VERSION, .pos = r.pos, .len = r.len };
	uint64_t size = ex.f->size;
	int result;

	log_range("collapse", r);
	result = ioctl(ex.f->fds[worker_below(ex.w, 2)], UDAX_IOC_COLLAPSE, &arg);
	if (r.pos + r.len >= size) {
		must(result < 0 && errno == EINVAL, "a collapse to EOF should fail with EINVAL");
		return;
	}
	must(result == 0, "collapse");
	shadow_copy(ex.f, r.pos, ex.f, r.pos + r.len, size - r.pos - r.len);
	shadow_resize(ex.f, size - r.len);
	check_size(ex.f);
}

static void op_insert(void)
{
	struct range r = aligned_range(opt.max);
	struct udax_ioc_range arg = { .version = UDAX_IOC_VERSION, .pos = r.pos, .len = r.len };
	uint64_t size = ex.f->size;
	int result;

	if (size + r.len > opt.max)
		return;
	log_range("insert", r);
	result = ioctl(ex.f->fds[worker_below(ex.w, 2)], UDAX_IOC_INSERT, &arg);
	if (r.pos >= size) {
		must(result < 0 && errno == EINVAL, "an insert at EOF should fail with EINVAL");
		return;
	}
	must(result == 0, "insert");
	shadow_copy(ex.f, r.pos + r.len, ex.f, r.pos, size - r.pos);
	shadow_zero(ex.f, r.pos, r.pos + r.len);
	check_size(ex.f);
}

static void op_exchange(void)
{
	struct file *a = ex.f, *b = ex.other;
	uint64_t max = min_u64(a->size, b->size);
	struct udax_ioc_token token = { .version = UDAX_IOC_VERSION };
	struct udax_ioc_exchange arg = { .version = UDAX_IOC_VERSION };
	struct range r;

	if (max < 2 * PAGE || b->mode == CACHED)
		return;
	r = aligned_range(max / 2);
	arg.pos = r.pos;
	arg.len = r.len;
	arg.other_pos = worker_below(ex.w, (max - r.len) / PAGE + 1) * PAGE;
	worker_op(ex.w, "exchange %s [0x%llx, 0x%llx) with %s 0x%llx", a->name,
		  (unsigned long long)r.pos, (unsigned long long)r.pos + r.len, b->name,
		  (unsigned long long)arg.other_pos);
	must(ioctl(b->fds[0], UDAX_IOC_TOKEN, &token) == 0, "token");
	memcpy(arg.token, token.token, sizeof(arg.token));
	must(ioctl(a->fds[worker_below(ex.w, 2)], UDAX_IOC_EXCHANGE, &arg) == 0, "exchange");
	shadow_swap(a, r.pos, b, arg.other_pos, r.len);
	check_size(a);
	check_size(b);
}

/* ---- opening and closing ------------------------------------------------------------------------ */

static int open_as(const struct file *f, unsigned which)
{
	static const int flags[] = { 0, O_DIRECT, O_APPEND };
	int fd = open(f->path, O_RDWR | O_CREAT | O_CLOEXEC | flags[which], 0644);

	must(fd >= 0, f->path);
	return fd;
}

static bool can_be_shared(int fd)
{
	void *map = mmap(NULL, opt.max, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		return false;
	munmap(map, opt.max);
	return true;
}

/*
 * The first open decides the mode. The kernel releases a handle some time after close(2): as long as
 * it has not, the mode before is still there.
 */
static int open_in_mode(const struct file *f, unsigned mode)
{
	unsigned which = mode == UNCACHED;

	for (unsigned i = 0; i < 5000; i++) {
		int fd = open_as(f, which);

		if (can_be_shared(fd) == (mode != UNCACHED))
			return fd;
		close(fd);
		usleep(1000);
	}
	FAIL("file %s does not enter %s mode", f->name, mode_name(mode));
}

static void file_open(struct file *f, unsigned mode)
{
	unsigned first = mode == UNCACHED;

	f->fds[first] = open_in_mode(f, mode);
	f->mode = mode;
	f->fds[1 - first] = open_as(f, 1 - first);
	f->fds[2] = open_as(f, 2);
	if (mode == UNCACHED)
		return;
	f->map = mmap(NULL, opt.max, PROT_READ | PROT_WRITE, MAP_SHARED, f->fds[0], 0);
	must(f->map != MAP_FAILED, "mmap");
}

static void file_close(struct file *f)
{
	if (f->map)
		munmap(f->map, opt.max);
	f->map = NULL;
	for (unsigned i = 0; i < 3; i++)
		must(close(f->fds[i]) == 0, "close");
}

static unsigned random_mode(void)
{
	return opt.modes != BOTH ? opt.modes : worker_once_in(ex.w, 2) ? CACHED : UNCACHED;
}

static void op_reopen(void)
{
	unsigned mode = random_mode();

	worker_op(ex.w, "%s reopen, %s", ex.f->name, mode_name(mode));
	file_close(ex.f);
	file_open(ex.f, mode);
	check_size(ex.f);
}

/* ---- running ------------------------------------------------------------------------------------ */

static const struct op {
	void (*run)(void);
	unsigned weight, modes;
} ops[] = {
	{ op_read, 12, ANY },
	{ op_map_read, 12, CACHED | DIRECT },
	{ op_private_read, 4, ANY },
	{ op_seek, 5, ANY },
	{ op_check, 1, ANY },
	{ op_write, 14, ANY },
	{ op_append, 5, ANY },
	{ op_map_write, 16, CACHED | DIRECT },
	{ op_sync, 4, ANY },
	{ op_drop, 2, ANY },
	{ op_copy, 6, ANY },
	{ op_truncate, 6, ANY },
	{ op_punch, 6, ANY },
	{ op_zero, 5, ANY },
	{ op_allocate, 4, ANY },
	{ op_collapse, 6, UNCACHED | DIRECT },
	{ op_insert, 6, UNCACHED | DIRECT },
	{ op_exchange, 6, UNCACHED | DIRECT },
	{ op_reopen, 2, ANY },
};

static void one_operation(void)
{
	unsigned a = (unsigned)worker_below(ex.w, 2), sum = 0, pick;

	ex.f = &ex.files[a];
	ex.other = &ex.files[1 - a];
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		sum += ops[i].modes & ex.f->mode ? ops[i].weight : 0;
	pick = (unsigned)worker_below(ex.w, sum);
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		unsigned weight = ops[i].modes & ex.f->mode ? ops[i].weight : 0;

		if (pick < weight) {
			ops[i].run();
			return;
		}
		pick -= weight;
	}
}

static void load_kept(struct file *f)
{
	int fd = opt.keep ? open(f->kept, O_RDONLY | O_CLOEXEC) : -1;
	ssize_t n;

	if (fd < 0) {
		unlink(f->path);
		return;
	}
	n = read(fd, f->shadow, opt.max);
	if (n < 0 || access(f->path, F_OK))
		FAIL("%s is kept, but there is no %s", f->kept, f->path);
	f->size = (uint64_t)n;
	close(fd);
}

static void save_kept(const struct file *f)
{
	int fd = open(f->kept, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, f->shadow, f->size) != (ssize_t)f->size || close(fd))
		FAIL("%s: %s", f->kept, strerror(errno));
}

static void file_begin(struct file *f, const char *name)
{
	f->name = name;
	snprintf(f->path, sizeof(f->path), "%s/ex%u%s", opt.dir, ex.index, name);
	snprintf(f->kept, sizeof(f->kept), "%s%u%s", opt.keep ? opt.keep : "", ex.index, name);
	/* A page more, because loads go to the end of the last page. */
	f->shadow = calloc(1, opt.max + PAGE);
	f->who = calloc(opt.max + PAGE, sizeof(*f->who));
	if (!f->shadow || !f->who)
		FAIL("out of memory");
	load_kept(f);
	file_open(f, random_mode());
	check_all(f);
}

/* That the files were mapped directly until here, by what the kernel says. */
static void ran_direct(void)
{
	const char *wrong;

	for (unsigned i = 0; i < 2; i++)
		if (ex.files[i].size) {
			*(volatile unsigned char *)ex.files[i].map = ex.files[i].shadow[0];
			must(maps_show(ex.files[i].map, MAPS_REGION), "the region is mapped");
		}
	must(!maps_shared("/ex"), "the kernel maps no file");
	wrong = maps_prove(opt.dir);
	if (wrong)
		FAIL("not direct: %s", wrong);
}

static void process(struct worker *w, void *arg)
{
	char name[32];

	(void)arg;
	ex.w = w;
	ex.index = (unsigned)(w - w->watch->workers);
	snprintf(name, sizeof(name), "process %u", ex.index);
	worker_begin(w, name, opt.seed + ex.index);
	ex.buf = malloc(opt.max + PAGE);
	if (!ex.buf)
		FAIL("out of memory");
	worker_op(w, "begin");
	file_begin(&ex.files[0], "a");
	file_begin(&ex.files[1], "b");
	for (ex.nr = 1; ex.nr <= opt.nops && !atomic_load(&w->watch->stop); ex.nr++)
		one_operation();
	worker_op(w, "end");
	if (opt.modes == DIRECT)
		ran_direct();
	for (unsigned i = 0; i < 2; i++) {
		check_all(&ex.files[i]);
		file_close(&ex.files[i]);
		if (opt.keep)
			save_kept(&ex.files[i]);
	}
	worker_rest(w);
}

static unsigned parse_mode(const char *text)
{
	for (unsigned mode = CACHED; mode <= DIRECT; mode++)
		if (strcmp(text, mode_name(mode)) == 0)
			return mode;
	fprintf(stderr, "tool_exerciser: -m %s\n", text);
	exit(2);
}

static void parse(int argc, char **argv)
{
	int c;

	opt.seed = (uint64_t)time(NULL) % 100000 * 1000;
	while ((c = getopt(argc, argv, "s:n:t:p:l:m:k:w:v")) != -1) {
		switch (c) {
		case 's':
			opt.seed = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			opt.nops = strtoull(optarg, NULL, 0);
			break;
		case 't':
			opt.seconds = (unsigned)strtoul(optarg, NULL, 0);
			break;
		case 'p':
			opt.nprocesses = (unsigned)strtoul(optarg, NULL, 0);
			break;
		case 'l':
			opt.max = strtoull(optarg, NULL, 0) & ~(uint64_t)(PAGE - 1);
			break;
		case 'm':
			opt.modes = parse_mode(optarg);
			break;
		case 'k':
			opt.keep = optarg;
			break;
		case 'w':
			opt.limit = (unsigned)strtoul(optarg, NULL, 0);
			break;
		case 'v':
			opt.verbose = true;
			break;
		default:
			exit(2);
		}
	}
	if (optind + 1 != argc || !opt.nprocesses || opt.max < 16 * PAGE) {
		fprintf(stderr,
			"usage: tool_exerciser [OPTIONS] DIR; see tests/tool_exerciser.c\n");
		exit(2);
	}
	opt.dir = argv[optind];
	if (!opt.nops)
		opt.nops = opt.seconds ? UINT32_MAX - 1 : 2000;
}

int main(int argc, char **argv)
{
	struct watch *watch;
	unsigned long long n = 0;

	parse(argc, argv);
	watch = watch_new(opt.nprocesses, opt.limit);
	watch->echo = opt.verbose;
	if (watch_run(watch, opt.nprocesses, opt.seconds, process, NULL))
		return 1;
	for (unsigned i = 0; i < opt.nprocesses; i++)
		n += atomic_load(&watch->workers[i].nops);
	printf("%llu operations, seed %llu\n", n, (unsigned long long)opt.seed);
	return 0;
}
