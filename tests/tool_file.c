/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * tool_file.c - what a shell cannot do to a file: for tests/mount_*.sh.
 *
 *	tool_file [OPTIONS] FILE COMMAND...
 *
 * opens FILE and runs the commands in order; the first that fails ends it with status 1 and
 * "COMMAND: ERRNAME" on stdout, so that a test can ask for the error that it wants. Numbers may end
 * in K, M, G or T.
 *
 * Options: -c create, -x exclusively, -T O_TMPFILE, -d O_DIRECT, -a O_APPEND, -r read-only, -t
 * O_TRUNC, -A O_NOATIME.
 *
 *	write POS LEN CHAR	pwrite(2); append LEN CHAR: write(2)
 *	read POS LEN		prints runs of equal bytes: "5x2" is five bytes '2', "3x." three zeroes
 *	map | mapro | mapprivate LEN	mmap the first LEN bytes; the commands below use it
 *	store POS LEN CHAR	to the mapping
 *	load POS LEN		from the mapping, printed as for read
 *	sync | fsync		msync(MS_SYNC); fsync(2)
 *	truncate SIZE		ftruncate(2)
 *	punch | zero | zerokeep | falloc | fallockeep | collapse | insert POS LEN
 *	data | hole POS		lseek(2), prints the position
 *	copy FILE POS TO LEN	copy_file_range(2) from FILE, prints how much
 *	size | blocks | mode | links | nsec	from fstat(2)
 *	link PATH		give the file a name (O_TMPFILE)
 *	whiteout PATH		rename it, RENAME_WHITEOUT
 *	flock | lock		flock(2), fcntl(2): exclusive, without waiting
 *	unlink			the file's path
 *	reopen			close and open as before, without -c, -x, -t, -T
 *	sleep MS
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
	const char *path;
	int flags, fd;
	unsigned char *map;
	size_t map_len;
	char **args; /* of the command at hand */
} tool;

static void usage(const char *what)
{
	fprintf(stderr, "tool_file: %s; see the head of tests/tool_file.c\n", what);
	exit(2);
}

static const char *arg(void)
{
	if (!*tool.args)
		usage("an argument is missing");
	return *tool.args++;
}

static int64_t number(void)
{
	const char *text = arg();
	char *end;
	int64_t n = strtoll(text, &end, 0);
	const char *units = "KMGT", *unit = *end ? strchr(units, *end) : NULL;

	if (end == text || (*end && (!unit || end[1])))
		usage(text);
	return unit ? n << (10 * (unit - units + 1)) : n;
}

/* Where a range of the mapping stands. */
static unsigned char *mapped(int64_t pos, int64_t len)
{
	if (!tool.map || (uint64_t)pos > tool.map_len ||
	    (uint64_t)len > tool.map_len - (uint64_t)pos)
		usage("outside the mapping");
	return tool.map + pos;
}

static void print_runs(const unsigned char *buf, size_t len)
{
	for (size_t i = 0, n; i < len; i += n) {
		n = 1;
		while (i + n < len && buf[i + n] == buf[i])
			n++;
		if (!buf[i])
			printf("%zux. ", n);
		else if (isgraph(buf[i]))
			printf("%zux%c ", n, buf[i]);
		else
			printf("%zux\\%d ", n, buf[i]);
	}
	printf("\n");
}

static unsigned char *filled(size_t len, int c)
{
	/* With O_DIRECT some kernels want an aligned buffer; FUSE does not. */
	unsigned char *buf = aligned_alloc(4096, (len + 4095) / 4096 * 4096 + 4096);

	if (!buf)
		usage("out of memory");
	memset(buf, c, len);
	return buf;
}

static int whole(int64_t done, int64_t len)
{
	if (done < 0)
		return -1;
	if (done == len)
		return 0;
	printf("only %lld bytes\n", (long long)done);
	errno = ENOSPC;
	return -1;
}

static int do_write(bool append)
{
	int64_t pos = append ? 0 : number(), len = number();
	unsigned char *buf = filled((size_t)len, arg()[0]);
	int result = whole(append ? write(tool.fd, buf, (size_t)len)
				  : pwrite(tool.fd, buf, (size_t)len, pos),
			   len);

	free(buf);
	return result;
}

static int do_read(void)
{
	int64_t pos = number(), len = number();
	unsigned char *buf = filled((size_t)len, 0);
	ssize_t n = pread(tool.fd, buf, (size_t)len, pos);

	if (n >= 0)
		print_runs(buf, (size_t)n);
	free(buf);
	return n < 0 ? -1 : 0;
}

static int do_map(int prot, int type)
{
	tool.map_len = (size_t)number();
	tool.map = mmap(NULL, tool.map_len, prot, type, tool.fd, 0);
	return tool.map == MAP_FAILED ? -1 : 0;
}

static int do_store(void)
{
	int64_t pos = number(), len = number();

	memset(mapped(pos, len), arg()[0], (size_t)len);
	return 0;
}

static int do_load(void)
{
	int64_t pos = number(), len = number();

	print_runs(mapped(pos, len), (size_t)len);
	return 0;
}

static int do_fallocate(int mode)
{
	int64_t pos = number();

	return fallocate(tool.fd, mode, pos, number());
}

static int do_seek(int whence)
{
	off_t pos = lseek(tool.fd, number(), whence);

	if (pos >= 0)
		printf("%lld\n", (long long)pos);
	return pos < 0 ? -1 : 0;
}

static int do_copy(void)
{
	int from = open(arg(), O_RDONLY);
	off_t pos = number(), to = number();
	ssize_t n = from < 0 ? -1 : copy_file_range(from, &pos, tool.fd, &to, (size_t)number(), 0);

	if (n >= 0)
		printf("%zd\n", n);
	return n < 0 ? -1 : close(from);
}

static int do_stat(const char *what)
{
	struct stat st;

	if (fstat(tool.fd, &st))
		return -1;
	if (strcmp(what, "size") == 0)
		printf("%lld\n", (long long)st.st_size);
	else if (strcmp(what, "blocks") == 0)
		printf("%lld\n", (long long)st.st_blocks);
	else if (strcmp(what, "mode") == 0)
		printf("%o\n", st.st_mode & 07777);
	else if (strcmp(what, "links") == 0)
		printf("%lu\n", (unsigned long)st.st_nlink);
	else
		printf("%ld\n", st.st_mtim.tv_nsec);
	return 0;
}

static int do_link(void)
{
	char self[64];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", tool.fd);
	return linkat(AT_FDCWD, self, AT_FDCWD, arg(), AT_SYMLINK_FOLLOW);
}

static int do_lock(void)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return fcntl(tool.fd, F_SETLK, &lock);
}

static int do_reopen(void)
{
	close(tool.fd);
	tool.fd = open(tool.path, tool.flags & ~(O_CREAT | O_EXCL | O_TRUNC));
	return tool.fd < 0 ? -1 : 0;
}

static int run(const char *command)
{
	static const struct {
		const char *name;
		int mode;
	} fallocates[] = {
		{ "punch", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE },
		{ "zero", FALLOC_FL_ZERO_RANGE },
		{ "zerokeep", FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE },
		{ "falloc", 0 },
		{ "fallockeep", FALLOC_FL_KEEP_SIZE },
		{ "collapse", FALLOC_FL_COLLAPSE_RANGE },
		{ "insert", FALLOC_FL_INSERT_RANGE },
	};

	for (size_t i = 0; i < sizeof(fallocates) / sizeof(fallocates[0]); i++)
		if (strcmp(command, fallocates[i].name) == 0)
			return do_fallocate(fallocates[i].mode);
#define IS(name) (strcmp(command, name) == 0)
	if (IS("write") || IS("append"))
		return do_write(IS("append"));
	if (IS("read"))
		return do_read();
	if (IS("map") || IS("mapro"))
		return do_map(IS("map") ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED);
	if (IS("mapprivate"))
		return do_map(PROT_READ | PROT_WRITE, MAP_PRIVATE);
	if (IS("store"))
		return do_store();
	if (IS("load"))
		return do_load();
	if (IS("sync"))
		return msync(tool.map, tool.map_len, MS_SYNC);
	if (IS("fsync"))
		return fsync(tool.fd);
	if (IS("truncate"))
		return ftruncate(tool.fd, number());
	if (IS("data") || IS("hole"))
		return do_seek(IS("data") ? SEEK_DATA : SEEK_HOLE);
	if (IS("copy"))
		return do_copy();
	if (IS("size") || IS("blocks") || IS("mode") || IS("links") || IS("nsec"))
		return do_stat(command);
	if (IS("link"))
		return do_link();
	if (IS("whiteout"))
		return renameat2(AT_FDCWD, tool.path, AT_FDCWD, arg(), RENAME_WHITEOUT);
	if (IS("flock"))
		return flock(tool.fd, LOCK_EX | LOCK_NB);
	if (IS("lock"))
		return do_lock();
	if (IS("unlink"))
		return unlink(tool.path);
	if (IS("reopen"))
		return do_reopen();
	if (IS("sleep"))
		return usleep((useconds_t)number() * 1000);
#undef IS
	usage(command);
	return -1;
}

static int failed(const char *what)
{
	printf("%s: %s\n", what, strerrorname_np(errno));
	return 1;
}

int main(int argc, char **argv)
{
	int c;

	tool.flags = O_RDWR | O_CLOEXEC;
	while ((c = getopt(argc, argv, "+cxTdartA")) != -1) {
		switch (c) {
		case 'c':
			tool.flags |= O_CREAT;
			break;
		case 'x':
			tool.flags |= O_CREAT | O_EXCL;
			break;
		case 'T':
			tool.flags |= O_TMPFILE;
			break;
		case 'd':
			tool.flags |= O_DIRECT;
			break;
		case 'a':
			tool.flags |= O_APPEND;
			break;
		case 'r':
			tool.flags &= ~O_ACCMODE;
			break;
		case 't':
			tool.flags |= O_TRUNC;
			break;
		case 'A':
			tool.flags |= O_NOATIME;
			break;
		default:
			usage("an unknown option");
		}
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	tool.args = argv + optind;
	tool.path = arg();
	tool.fd = open(tool.path, tool.flags, 0644);
	if (tool.fd < 0)
		return failed("open");
	while (*tool.args) {
		const char *command = arg();

		if (run(command))
			return failed(command);
	}
	return close(tool.fd) ? failed("close") : 0;
}
