/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * tool_ioctl.c - the ioctls of a mount, well-formed and not, for mount_udaxctl.sh:
 *
 *	tool_ioctl --list		names of the cases
 *	tool_ioctl CASE DIR		run one in DIR, an empty directory on a mount
 *
 * A case that is not as it should be says so and ends the program with status 1.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "udax/ioctl.h"

#define BLOCK 4096u

static void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
static void fail(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	exit(1);
}

/* @wanted: 0, or the errno that the call must fail with. */
#define EXPECT(wanted, call)                                                                       \
	do {                                                                                       \
		int got_ = (call) < 0 ? errno : 0;                                                 \
		if (got_ != (wanted))                                                              \
			fail("line %d: %s: wanted %d (%s), got %d (%s)", __LINE__, #call,          \
			     (wanted), strerror(wanted), got_, strerror(got_));                    \
	} while (0)

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			fail("line %d: not so: %s", __LINE__, #condition);                         \
	} while (0)

/* ---- files ------------------------------------------------------------------------------------- */

static int must_open(const char *name, int flags)
{
	int fd = open(name, flags | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0)
		fail("%s: %s", name, strerror(errno));
	return fd;
}

static int open_uncached(const char *name)
{
	return must_open(name, O_RDWR | O_DIRECT);
}

static void must_write(int fd, uint64_t pos, char c, size_t len)
{
	char *buf = malloc(len);

	memset(buf, c, len);
	if (pwrite(fd, buf, len, (off_t)pos) != (ssize_t)len)
		fail("write at %llu: %s", (unsigned long long)pos, strerror(errno));
	free(buf);
}

/* Each block of the file begins with one letter of @letters; '0' stands for a zero byte. */
static void expect_blocks(int fd, const char *letters)
{
	struct stat st;

	for (size_t i = 0; letters[i]; i++) {
		char c = 'x', wanted = (char)(letters[i] == '0' ? 0 : letters[i]);

		if (pread(fd, &c, 1, (off_t)(i * BLOCK)) != 1 || c != wanted)
			fail("block %zu: wanted '%c', got '%c'", i, letters[i], c);
	}
	EXPECT(0, fstat(fd, &st));
	if ((size_t)st.st_size != strlen(letters) * BLOCK)
		fail("size: wanted %zu, got %lld", strlen(letters) * BLOCK, (long long)st.st_size);
}

static void write_blocks(int fd, const char *letters)
{
	for (size_t i = 0; letters[i]; i++)
		must_write(fd, i * BLOCK, letters[i], BLOCK);
}

static struct udax_ioc_range range(uint64_t pos, uint64_t len)
{
	return (struct udax_ioc_range){ .version = UDAX_IOC_VERSION, .pos = pos, .len = len };
}

static int collapse(int fd, uint64_t pos, uint64_t len)
{
	struct udax_ioc_range r = range(pos, len);

	return ioctl(fd, UDAX_IOC_COLLAPSE, &r);
}

static int insert(int fd, uint64_t pos, uint64_t len)
{
	struct udax_ioc_range r = range(pos, len);

	return ioctl(fd, UDAX_IOC_INSERT, &r);
}

static struct udax_ioc_token token_of(int fd)
{
	struct udax_ioc_token token = { .version = UDAX_IOC_VERSION };

	EXPECT(0, ioctl(fd, UDAX_IOC_TOKEN, &token));
	return token;
}

static int exchange_with(int fd, uint64_t pos, const struct udax_ioc_token *token,
			 uint64_t other_pos, uint64_t len)
{
	struct udax_ioc_exchange e = {
		.version = UDAX_IOC_VERSION, .pos = pos, .len = len, .other_pos = other_pos
	};

	memcpy(e.token, token->token, sizeof(e.token));
	return ioctl(fd, UDAX_IOC_EXCHANGE, &e);
}

static int exchange(int fd, uint64_t pos, int other_fd, uint64_t other_pos, uint64_t len)
{
	struct udax_ioc_token token = token_of(other_fd);

	return exchange_with(fd, pos, &token, other_pos, len);
}

/* ---- malformed ---------------------------------------------------------------------------------- */

static const unsigned long own[] = {
	UDAX_IOC_INFO,
	UDAX_IOC_SPACE,
	UDAX_IOC_STAT,
	UDAX_IOC_LOCKSTAT,
	UDAX_IOC_LOCKSTAT_CONTROL,
	UDAX_IOC_HOLDERS,
	UDAX_IOC_MAP,
	UDAX_IOC_COLLAPSE,
	UDAX_IOC_INSERT,
	UDAX_IOC_TOKEN,
	UDAX_IOC_EXCHANGE,
	UDAX_IOC_GROW,
};

#define NR_OWN (sizeof(own) / sizeof(own[0]))

static char payload[16384];

static void a_foreign_version_is_refused(void)
{
	static const uint32_t versions[] = { 0, 2, UINT32_MAX };
	int fd = open_uncached("f");

	for (unsigned i = 0; i < NR_OWN; i++) {
		for (unsigned v = 0; v < 3; v++) {
			memset(payload, 0, sizeof(payload));
			memcpy(payload, &versions[v], 4);
			EXPECT(EINVAL, ioctl(fd, own[i], payload));
		}
	}
}

static void another_size_or_direction_is_refused(void)
{
	static const unsigned sizes[] = { 1, 4, 8, 100, 16383 };
	int fd = open_uncached("f");

	memset(payload, 0, sizeof(payload));
	payload[0] = UDAX_IOC_VERSION;
	for (unsigned i = 0; i < NR_OWN; i++) {
		unsigned nr = _IOC_NR(own[i]);

		for (unsigned s = 0; s < 5; s++)
			EXPECT(EINVAL,
			       ioctl(fd, _IOC(_IOC_READ | _IOC_WRITE, UDAX_IOC_MAGIC, nr, sizes[s]),
				     payload));
		EXPECT(EINVAL, ioctl(fd, _IO(UDAX_IOC_MAGIC, nr), payload));
		EXPECT(EINVAL,
		       ioctl(fd, _IOC(_IOC_READ, UDAX_IOC_MAGIC, nr, _IOC_SIZE(own[i])), payload));
	}
}

static void what_is_not_ours_is_no_ioctl(void)
{
	int fd = open_uncached("f"), dir = open(".", O_RDONLY | O_DIRECTORY);

	EXPECT(ENOTTY, ioctl(fd, _IO(UDAX_IOC_MAGIC, 200), 0));
	EXPECT(ENOTTY, ioctl(fd, _IOWR(UDAX_IOC_MAGIC, 0, uint64_t), payload));
	EXPECT(ENOTTY, ioctl(fd, TCGETS, payload));
	EXPECT(ENOTTY, ioctl(dir, _IO(UDAX_IOC_MAGIC, 200), 0));
	CHECK(!isatty(fd));
}

static void reserved_members_must_be_zero(void)
{
	int fd = open_uncached("f");
	struct udax_ioc_range r = range(0, BLOCK);
	struct udax_ioc_map map = { .version = UDAX_IOC_VERSION, .reserved = 1 };
	struct udax_ioc_exchange e = { .version = UDAX_IOC_VERSION, .reserved = 1 };
	struct udax_ioc_holders h = { .version = UDAX_IOC_VERSION, .all = 2 };

	r.reserved = 1;
	EXPECT(EINVAL, ioctl(fd, UDAX_IOC_COLLAPSE, &r));
	EXPECT(EINVAL, ioctl(fd, UDAX_IOC_INSERT, &r));
	EXPECT(EINVAL, ioctl(fd, UDAX_IOC_MAP, &map));
	EXPECT(EINVAL, ioctl(fd, UDAX_IOC_EXCHANGE, &e));
	EXPECT(EINVAL, ioctl(fd, UDAX_IOC_HOLDERS, &h));
}

static void a_bad_address_is_an_error(void)
{
	int fd = open_uncached("f");

	for (unsigned i = 0; i < NR_OWN; i++)
		EXPECT(EFAULT, ioctl(fd, own[i], 0));
	EXPECT(EFAULT, ioctl(fd, FS_IOC_GETFLAGS, 0));
}

/* Whatever comes, the mount answers and goes on. The seed is fixed: a failure repeats. */
static void noise_is_survived(void)
{
	int fd = open_uncached("f");
	struct stat st;

	srandom(4711);
	for (unsigned i = 0; i < 5000; i++) {
		unsigned long cmd = own[(unsigned long)random() % NR_OWN];
		unsigned size = random() % 2 ? _IOC_SIZE(cmd) : (unsigned)random() % 16384;

		if (random() % 4 == 0)
			cmd = _IOC((unsigned)random() % 4, UDAX_IOC_MAGIC, (unsigned)random() % 256,
				   size);
		for (unsigned b = 0; b < 256; b++)
			payload[b] = (char)(random() % 3 ? 0 : random());
		payload[0] = (char)(random() % 8 ? UDAX_IOC_VERSION : random());
		memset(payload + 1, 0, 3);
		ioctl(fd, cmd, payload);
	}
	EXPECT(0, fstat(fd, &st));
}

/* ---- who may, and on what ------------------------------------------------------------------------ */

static void changes_need_a_descriptor_for_writing(void)
{
	int fd = open_uncached("f"), dir = open(".", O_RDONLY | O_DIRECTORY);
	struct udax_ioc_token token = { .version = UDAX_IOC_VERSION };
	int ro = open("f", O_RDONLY | O_DIRECT);

	write_blocks(fd, "abc");
	EXPECT(EBADF, collapse(ro, 0, BLOCK));
	EXPECT(EBADF, insert(ro, 0, BLOCK));
	EXPECT(EBADF, ioctl(ro, UDAX_IOC_TOKEN, &token));
	EXPECT(EBADF, exchange_with(ro, 0, &token, 0, BLOCK));
	EXPECT(EBADF, collapse(dir, 0, BLOCK));
	EXPECT(EBADF, ioctl(dir, UDAX_IOC_TOKEN, &token));
	expect_blocks(fd, "abc");
}

static void facts_come_from_files_and_directories(void)
{
	struct udax_ioc_info info = { .version = UDAX_IOC_VERSION }, again = info;
	int fd = must_open("f", O_RDWR), dir = open(".", O_RDONLY | O_DIRECTORY);

	EXPECT(0, ioctl(fd, UDAX_IOC_INFO, &info));
	EXPECT(0, ioctl(dir, UDAX_IOC_INFO, &again));
	CHECK(memcmp(&info, &again, sizeof(info)) == 0);
	CHECK(info.format_version == 1 && info.block_bytes == BLOCK);
	CHECK(info.size_bytes && info.size_bytes <= info.region_bytes);
	CHECK(info.pid && info.policy[0] && info.program_version[0] && info.region[0] == '/');
}

static void files_in_cached_mode_are_busy(void)
{
	int fd = must_open("f", O_RDWR), other = open_uncached("g"), direct;

	write_blocks(fd, "abc");
	write_blocks(other, "uvw");
	EXPECT(EBUSY, collapse(fd, 0, BLOCK));
	EXPECT(EBUSY, insert(fd, 0, BLOCK));
	EXPECT(EBUSY, exchange(fd, 0, other, 0, BLOCK));
	EXPECT(EBUSY, exchange(other, 0, fd, 0, BLOCK));
	direct = open_uncached("f"); /* too late to decide the mode */
	EXPECT(EBUSY, collapse(direct, 0, BLOCK));
	expect_blocks(fd, "abc");
	close(fd);
	close(direct);
	direct = open_uncached("f");
	EXPECT(0, collapse(direct, 0, BLOCK));
	expect_blocks(direct, "bc");
}

/* ---- collapse and insert -------------------------------------------------------------------------- */

static void collapse_moves_down_what_follows(void)
{
	int fd = open_uncached("f");

	write_blocks(fd, "abcdefgh");
	EXPECT(0, collapse(fd, 2 * BLOCK, 3 * BLOCK));
	expect_blocks(fd, "abfgh");
	EXPECT(0, collapse(fd, 0, BLOCK));
	expect_blocks(fd, "bfgh");
}

static void insert_moves_up_what_follows(void)
{
	int fd = open_uncached("f");

	write_blocks(fd, "abcd");
	EXPECT(0, insert(fd, 2 * BLOCK, 2 * BLOCK));
	expect_blocks(fd, "ab00cd");
	EXPECT(0, insert(fd, 0, BLOCK));
	expect_blocks(fd, "0ab00cd");
}

static void ranges_out_of_bounds_are_refused(void)
{
	static const struct {
		uint64_t pos, len;
		int collapse, insert;
	} cases[] = {
		{ 0, 0, EINVAL, EINVAL },
		{ 1, BLOCK, EINVAL, EINVAL },
		{ 0, 1, EINVAL, EINVAL },
		{ 0, 3 * BLOCK, EINVAL, -1 }, /* -1: is not tried */
		{ 2 * BLOCK, BLOCK, EINVAL, -1 },
		{ 3 * BLOCK, BLOCK, EINVAL, EINVAL },
		{ UINT64_C(1) << 44, BLOCK, EFBIG, EFBIG },
		{ 0, UINT64_C(1) << 44, EINVAL, EFBIG },
		{ UINT64_MAX - BLOCK + 1, 2 * BLOCK, EFBIG, EFBIG },
		{ BLOCK, UINT64_MAX - BLOCK + 1, EFBIG, EFBIG },
	};
	int fd = open_uncached("f");

	write_blocks(fd, "abc");
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		EXPECT(cases[i].collapse, collapse(fd, cases[i].pos, cases[i].len));
		if (cases[i].insert >= 0)
			EXPECT(cases[i].insert, insert(fd, cases[i].pos, cases[i].len));
	}
	expect_blocks(fd, "abc");
}

/* ---- exchange -------------------------------------------------------------------------------------- */

static void exchange_swaps_ranges(void)
{
	int a = open_uncached("a"), b = open_uncached("b");

	write_blocks(a, "abcd");
	write_blocks(b, "tuvwx");
	EXPECT(0, exchange(a, BLOCK, b, 3 * BLOCK, 2 * BLOCK));
	expect_blocks(a, "awxd");
	expect_blocks(b, "tuvbc");
}

static void exchange_takes_an_odd_length_at_both_ends(void)
{
	int a = open_uncached("a"), b = open_uncached("b");
	char c;

	must_write(a, 0, 'a', BLOCK + 100);
	must_write(b, 0, 'b', 2 * BLOCK + 100);
	EXPECT(EINVAL, exchange(a, 0, b, 0, BLOCK + 100)); /* b goes on */
	EXPECT(0, exchange(a, BLOCK, b, 2 * BLOCK, 100));
	CHECK(pread(a, &c, 1, BLOCK + 99) == 1 && c == 'b');
	CHECK(pread(b, &c, 1, 2 * BLOCK + 99) == 1 && c == 'a');
}

static void a_token_works_once(void)
{
	int a = open_uncached("a"), b = open_uncached("b");
	struct udax_ioc_token token;

	write_blocks(a, "ab");
	write_blocks(b, "xy");
	token = token_of(b);
	CHECK(token.lifetime_ms > 0);
	EXPECT(0, exchange_with(a, 0, &token, 0, BLOCK));
	EXPECT(EKEYREJECTED, exchange_with(a, 0, &token, 0, BLOCK));
	expect_blocks(a, "xb");

	token = token_of(b); /* one that was shown in vain is used up too */
	EXPECT(EINVAL, exchange_with(a, 1, &token, 0, BLOCK));
	EXPECT(EKEYREJECTED, exchange_with(a, 0, &token, 0, BLOCK));

	token = token_of(b);
	token.token[7] ^= 1;
	EXPECT(EKEYREJECTED, exchange_with(a, 0, &token, 0, BLOCK));
	token.token[7] ^= 1;
	EXPECT(0, exchange_with(a, 0, &token, 0, BLOCK));
	expect_blocks(a, "ab");
}

static void a_file_is_not_exchanged_with_itself(void)
{
	int a = open_uncached("a"), again = open_uncached("a");

	write_blocks(a, "ab");
	EXPECT(EINVAL, exchange(a, 0, again, BLOCK, BLOCK));
	expect_blocks(a, "ab");
}

static void a_token_dies_with_its_file(void)
{
	struct udax_ioc_holders h = { .version = UDAX_IOC_VERSION };
	int a = open_uncached("a"), b = open_uncached("b");
	struct stat st;
	struct udax_ioc_token token;

	write_blocks(a, "ab");
	write_blocks(b, "xy");
	token = token_of(b);
	EXPECT(0, fstat(b, &st));
	h.ino = st.st_ino;
	unlink("b");
	close(b);
	/* The kernel lets go of it some time after close(2) has returned. */
	for (unsigned i = 0; i < 5000 && !ioctl(a, UDAX_IOC_HOLDERS, &h); i++) {
		h = (struct udax_ioc_holders){ .version = UDAX_IOC_VERSION, .ino = st.st_ino };
		usleep(1000);
	}
	EXPECT(EKEYREJECTED, exchange_with(a, 0, &token, 0, BLOCK));
	expect_blocks(a, "ab");
}

static void the_oldest_of_too_many_tokens_goes(void)
{
	int a = open_uncached("a"), b = open_uncached("b");
	struct udax_ioc_token first, last;

	write_blocks(a, "ab");
	write_blocks(b, "xy");
	first = last = token_of(b);
	for (unsigned i = 0; i < 300; i++) {
		struct udax_ioc_token next = token_of(b);

		CHECK(memcmp(next.token, last.token, sizeof(last.token)) != 0);
		last = next;
	}
	EXPECT(EKEYREJECTED, exchange_with(a, 0, &first, 0, BLOCK));
	EXPECT(0, exchange_with(a, 0, &last, 0, BLOCK));
}

/* ---- map, counters, locks -------------------------------------------------------------------------- */

static void a_map_goes_over_several_pages(void)
{
	struct udax_ioc_map map;
	int fd = open_uncached("f");
	uint64_t start_blk = 0, found = 0, pages = 0;
	const unsigned n = 2 * UDAX_MAP_EXTENTS + 10;

	for (unsigned i = 0; i < n; i++)
		must_write(fd, (uint64_t)i * 2 * BLOCK, 'a', BLOCK);
	do {
		map = (struct udax_ioc_map){ .version = UDAX_IOC_VERSION, .start_blk = start_blk };
		EXPECT(0, ioctl(fd, UDAX_IOC_MAP, &map));
		CHECK(map.size_bytes == (uint64_t)(2 * n - 1) * BLOCK && map.count);
		for (unsigned i = 0; i < map.count; i++, found++) {
			CHECK(map.extents[i].lblk == 2 * found && map.extents[i].count == 1);
			CHECK(map.extents[i].pblk && map.extents[i].state == UDAX_EXTENT_WRITTEN);
			start_blk = map.extents[i].lblk + 1;
		}
		pages++;
	} while (map.more);
	CHECK(found == n && pages == 3);

	map = (struct udax_ioc_map){ .version = UDAX_IOC_VERSION, .start_blk = 4 };
	EXPECT(0, ioctl(fd, UDAX_IOC_MAP, &map));
	CHECK(map.extents[0].lblk == 4);
	map = (struct udax_ioc_map){ .version = UDAX_IOC_VERSION, .start_blk = UINT64_MAX };
	EXPECT(0, ioctl(fd, UDAX_IOC_MAP, &map));
	CHECK(!map.count && !map.more);
}

static void counters_come_in_pages(void)
{
	struct udax_ioc_stat all = { .version = UDAX_IOC_VERSION }, tail = all, none = all;
	int fd = must_open("f", O_RDWR);

	EXPECT(0, ioctl(fd, UDAX_IOC_STAT, &all));
	CHECK(all.count > 10 && all.count <= all.total);
	for (unsigned i = 0; i < all.count; i++)
		for (unsigned j = 0; j < i; j++)
			CHECK(strcmp(all.entries[i].name, all.entries[j].name) != 0);
	tail.first = all.count - 1;
	EXPECT(0, ioctl(fd, UDAX_IOC_STAT, &tail));
	CHECK(strcmp(tail.entries[0].name, all.entries[all.count - 1].name) == 0);
	none.first = UINT32_MAX;
	EXPECT(0, ioctl(fd, UDAX_IOC_STAT, &none));
	CHECK(!none.count && none.total == all.total);
}

static void lock_classes_are_numbered(void)
{
	struct udax_ioc_lockstat s = { .version = UDAX_IOC_VERSION };
	int fd = must_open("f", O_RDWR);
	uint32_t total;

	EXPECT(0, ioctl(fd, UDAX_IOC_LOCKSTAT, &s));
	total = s.total;
	for (uint32_t i = 0; i < total; i++) {
		s = (struct udax_ioc_lockstat){ .version = UDAX_IOC_VERSION, .index = i };
		EXPECT(0, ioctl(fd, UDAX_IOC_LOCKSTAT, &s));
		CHECK(s.name[0] && s.index == i);
	}
	s = (struct udax_ioc_lockstat){ .version = UDAX_IOC_VERSION, .index = total };
	EXPECT(EINVAL, ioctl(fd, UDAX_IOC_LOCKSTAT, &s));
}

static void lock_statistics_count_and_begin_again(void)
{
	struct udax_ioc_lockstat_control c = { .version = UDAX_IOC_VERSION };
	struct udax_ioc_lockstat s;
	int fd = must_open("f", O_RDWR);
	uint64_t sum = 0;

	EXPECT(EINVAL, ioctl(fd, UDAX_IOC_LOCKSTAT_CONTROL, &c));
	c.flags = UDAX_LOCKSTAT_ON | UDAX_LOCKSTAT_OFF;
	EXPECT(EINVAL, ioctl(fd, UDAX_IOC_LOCKSTAT_CONTROL, &c));
	c.flags = 8;
	EXPECT(EINVAL, ioctl(fd, UDAX_IOC_LOCKSTAT_CONTROL, &c));
	c.flags = UDAX_LOCKSTAT_ON | UDAX_LOCKSTAT_RESET;
	EXPECT(0, ioctl(fd, UDAX_IOC_LOCKSTAT_CONTROL, &c));
	for (unsigned i = 0; i < 50; i++)
		must_write(fd, (uint64_t)i * BLOCK, 'a', BLOCK);
	c.flags = UDAX_LOCKSTAT_OFF;
	EXPECT(0, ioctl(fd, UDAX_IOC_LOCKSTAT_CONTROL, &c));
	for (uint32_t i = 0; i == 0 || i < s.total; i++) {
		s = (struct udax_ioc_lockstat){ .version = UDAX_IOC_VERSION, .index = i };
		EXPECT(0, ioctl(fd, UDAX_IOC_LOCKSTAT, &s));
		CHECK(!s.enabled && s.shared.wait_min_ns <= s.shared.wait_max_ns &&
		      s.exclusive.wait_min_ns <= s.exclusive.wait_max_ns);
		CHECK(s.exclusive.acq_bounces <= s.exclusive.acquisitions);
		sum += s.shared.acquisitions + s.exclusive.acquisitions;
	}
	CHECK(sum >= 100); /* each write takes a few */
}

static void holders_tell_mode_and_handles(void)
{
	struct udax_ioc_holders h = { .version = UDAX_IOC_VERSION };
	int dir = open(".", O_RDONLY | O_DIRECTORY), fd = must_open("f", O_RDWR), ro, direct;
	struct stat st;

	EXPECT(0, fstat(fd, &st));
	ro = open("f", O_RDONLY);
	h.ino = st.st_ino;
	EXPECT(0, ioctl(dir, UDAX_IOC_HOLDERS, &h));
	CHECK(h.count == 1 && h.entries[0].ino == st.st_ino);
	CHECK(h.entries[0].mode == UDAX_MODE_CACHED && h.entries[0].handles == 2);
	CHECK(h.entries[0].writers == 1 && !h.entries[0].attached);

	direct = open_uncached("g");
	EXPECT(0, fstat(direct, &st));
	h = (struct udax_ioc_holders){ .version = UDAX_IOC_VERSION, .ino = st.st_ino };
	EXPECT(0, ioctl(dir, UDAX_IOC_HOLDERS, &h));
	CHECK(h.count == 1 && h.entries[0].mode == UDAX_MODE_UNCACHED);
	close(ro);

	h = (struct udax_ioc_holders){ .version = UDAX_IOC_VERSION, .ino = UINT64_MAX };
	EXPECT(ENOENT, ioctl(dir, UDAX_IOC_HOLDERS, &h));
}

/* Others may have files open too: those that count are the ones opened here. */
static void all_holders_come_sorted_in_pages(void)
{
	enum { N = UDAX_HOLDERS_ENTRIES + 20 };
	struct udax_ioc_holders h;
	int dir = open(".", O_RDONLY | O_DIRECTORY);
	uint64_t inos[N], ino = 0, last = 0;
	unsigned found = 0, pages = 0;
	struct stat st;
	char name[16];

	for (unsigned i = 0; i < N; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		EXPECT(0, fstat(must_open(name, O_RDWR), &st));
		inos[i] = st.st_ino;
	}
	do {
		h = (struct udax_ioc_holders){ .version = UDAX_IOC_VERSION, .ino = ino, .all = 1 };
		EXPECT(0, ioctl(dir, UDAX_IOC_HOLDERS, &h));
		for (unsigned i = 0; i < h.count; i++) {
			CHECK(h.entries[i].ino > last && h.entries[i].ino >= ino);
			last = h.entries[i].ino;
			for (unsigned j = 0; j < N; j++)
				found += inos[j] == last && h.entries[i].handles == 1;
		}
		ino = last + 1;
		pages++;
	} while (h.more);
	CHECK(found == N && pages >= 2);
}

/* ---- flags ------------------------------------------------------------------------------------------ */

static unsigned get_flags(int fd)
{
	unsigned flags = 0;

	EXPECT(0, ioctl(fd, FS_IOC_GETFLAGS, &flags));
	return flags;
}

static int set_flags(int fd, unsigned flags)
{
	return ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

static void flags_are_kept(void)
{
	const unsigned some = FS_NODUMP_FL | FS_NOATIME_FL | FS_SYNC_FL;
	int fd = must_open("f", O_RDWR), dir = open(".", O_RDONLY | O_DIRECTORY);
	struct fsxattr attr;

	CHECK(get_flags(fd) == 0);
	EXPECT(0, set_flags(fd, some));
	CHECK(get_flags(fd) == some);
	EXPECT(0, ioctl(fd, FS_IOC_FSGETXATTR, &attr));
	CHECK(attr.fsx_xflags == (FS_XFLAG_NODUMP | FS_XFLAG_NOATIME | FS_XFLAG_SYNC));
	EXPECT(EOPNOTSUPP, set_flags(fd, FS_COMPR_FL));
	EXPECT(EOPNOTSUPP, set_flags(fd, some | FS_NOCOW_FL));
	CHECK(get_flags(fd) == some);
	EXPECT(0, set_flags(fd, 0));
	CHECK(get_flags(fd) == 0);
	EXPECT(0, set_flags(dir, FS_NODUMP_FL));
	CHECK(get_flags(dir) == FS_NODUMP_FL);
	EXPECT(0, set_flags(dir, 0));
}

static void a_project_is_kept(void)
{
	int fd = must_open("f", O_RDWR);
	struct fsxattr attr = { 0 };

	EXPECT(0, ioctl(fd, FS_IOC_FSGETXATTR, &attr));
	CHECK(attr.fsx_projid == 0);
	attr.fsx_projid = 77;
	attr.fsx_xflags = FS_XFLAG_NODUMP;
	EXPECT(0, ioctl(fd, FS_IOC_FSSETXATTR, &attr));
	memset(&attr, 0, sizeof(attr));
	EXPECT(0, ioctl(fd, FS_IOC_FSGETXATTR, &attr));
	CHECK(attr.fsx_projid == 77 && attr.fsx_xflags == FS_XFLAG_NODUMP);
	CHECK(get_flags(fd) == FS_NODUMP_FL);
	attr.fsx_xflags = FS_XFLAG_REALTIME;
	EXPECT(EOPNOTSUPP, ioctl(fd, FS_IOC_FSSETXATTR, &attr));
}

static void immutable_is_for_root(void)
{
	int fd = must_open("f", O_RDWR);
	int wanted = geteuid() ? EPERM : 0;

	must_write(fd, 0, 'a', BLOCK);
	EXPECT(wanted, set_flags(fd, FS_IMMUTABLE_FL));
	if (wanted)
		return;
	EXPECT(EPERM, unlink("f"));
	EXPECT(EPERM, rename("f", "g"));
	EXPECT(EPERM, chmod("f", 0600));
	EXPECT(EPERM, truncate("f", 0));
	EXPECT(EPERM, open("f", O_WRONLY));
	EXPECT(EPERM, link("f", "g"));
	EXPECT(0, set_flags(fd, FS_APPEND_FL));
	EXPECT(EPERM, open("f", O_WRONLY));
	EXPECT(EPERM, open("f", O_WRONLY | O_APPEND | O_TRUNC));
	fd = open("f", O_WRONLY | O_APPEND);
	CHECK(fd >= 0 && write(fd, "b", 1) == 1);
	EXPECT(0, set_flags(fd, 0));
	EXPECT(0, unlink("f"));
}

static void a_generation_is_kept(void)
{
	int fd = must_open("f", O_RDWR);
	unsigned first = 0, second = 0;

	EXPECT(0, ioctl(fd, FS_IOC_GETVERSION, &first));
	close(fd);
	fd = must_open("f", O_RDWR);
	EXPECT(0, ioctl(fd, FS_IOC_GETVERSION, &second));
	CHECK(first == second);
}

/* ---- main -------------------------------------------------------------------------------------------- */

#define CASE(fn)                                                                                   \
	{                                                                                          \
#fn, fn                                                                            \
	}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	CASE(a_foreign_version_is_refused),
	CASE(another_size_or_direction_is_refused),
	CASE(what_is_not_ours_is_no_ioctl),
	CASE(reserved_members_must_be_zero),
	CASE(a_bad_address_is_an_error),
	CASE(noise_is_survived),
	CASE(changes_need_a_descriptor_for_writing),
	CASE(facts_come_from_files_and_directories),
	CASE(files_in_cached_mode_are_busy),
	CASE(collapse_moves_down_what_follows),
	CASE(insert_moves_up_what_follows),
	CASE(ranges_out_of_bounds_are_refused),
	CASE(exchange_swaps_ranges),
	CASE(exchange_takes_an_odd_length_at_both_ends),
	CASE(a_token_works_once),
	CASE(a_file_is_not_exchanged_with_itself),
	CASE(a_token_dies_with_its_file),
	CASE(the_oldest_of_too_many_tokens_goes),
	CASE(a_map_goes_over_several_pages),
	CASE(counters_come_in_pages),
	CASE(lock_classes_are_numbered),
	CASE(lock_statistics_count_and_begin_again),
	CASE(holders_tell_mode_and_handles),
	CASE(all_holders_come_sorted_in_pages),
	CASE(flags_are_kept),
	CASE(a_project_is_kept),
	CASE(immutable_is_for_root),
	CASE(a_generation_is_kept),
};

#define NR_CASES (sizeof(cases) / sizeof(cases[0]))

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--list") == 0) {
		for (unsigned i = 0; i < NR_CASES; i++)
			puts(cases[i].name);
		return 0;
	}
	if (argc != 3 || chdir(argv[2]))
		fail("usage: tool_ioctl --list | CASE DIR");
	for (unsigned i = 0; i < NR_CASES; i++) {
		if (strcmp(argv[1], cases[i].name) == 0) {
			cases[i].run();
			return 0;
		}
	}
	fail("no such case: %s", argv[1]);
}
