/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * files.c - open(2) and its family. The first open decides a file's mode, so a regular file of a udaxfs
 * mount has to be opened with O_DIRECT from the start; the mount asks for no alignment in return.
 *
 * Whether it is one is found out before, from the directory or the file itself by a descriptor that
 * opens nothing (O_PATH). The program does not see the flag: fcntl(F_GETFL) leaves it out again, where
 * we added it. A bit a descriptor; the dup family carries it along.
 */
#include "preload.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#define FUSE_MAGIC 0x65735546
#define MAX_FDS 65536

static _Atomic uint64_t hidden[MAX_FDS / 64];

static void set_hidden(int fd, bool on)
{
	uint64_t bit = UINT64_C(1) << (fd & 63);

	if (fd < 0 || fd >= MAX_FDS)
		return;
	if (on)
		atomic_fetch_or(&hidden[fd / 64], bit);
	else
		atomic_fetch_and(&hidden[fd / 64], ~bit);
}

static bool is_hidden(int fd)
{
	return fd >= 0 && fd < MAX_FDS && atomic_load(&hidden[fd / 64]) >> (fd & 63) & 1;
}

/* ---- opening -------------------------------------------------------------------------------------- */

static bool is_fuse(int dirfd, const char *path, bool want_regular)
{
	int fd = (int)syscall(SYS_openat, dirfd, path, O_PATH | O_CLOEXEC);
	struct statfs fs;
	struct stat st;
	bool is;

	if (fd < 0)
		return false;
	is = fstatfs(fd, &fs) == 0 && fs.f_type == FUSE_MAGIC &&
	     (!want_regular || (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)));
	syscall(SYS_close, fd);
	return is;
}

/* Whether opening @path with @flags gives a regular file on some FUSE filesystem. */
static bool may_be_udaxfs(int dirfd, const char *path, int flags)
{
	char copy[PATH_MAX];

	if (flags & (O_PATH | O_DIRECTORY | O_DIRECT))
		return false;
	if ((flags & O_TMPFILE) == O_TMPFILE)
		return is_fuse(dirfd, path, false);
	if (is_fuse(dirfd, path, true))
		return true;
	if (!(flags & O_CREAT) || strlen(path) >= sizeof(copy))
		return false;
	strcpy(copy, path);
	return is_fuse(dirfd, dirname(copy), false);
}

static int open_file(int dirfd, const char *path, int flags, mode_t mode)
{
	int saved = errno, fd;
	bool try_direct = path && may_be_udaxfs(dirfd, path, flags);

	errno = saved;
	if (!try_direct) {
		fd = NEXT(openat)(dirfd, path, flags, mode);
		set_hidden(fd, false);
		return fd;
	}
	fd = NEXT(openat)(dirfd, path, flags | O_DIRECT, mode);
	if (fd < 0 && errno == EINVAL) /* another filesystem, which does not know O_DIRECT */
		return NEXT(openat)(dirfd, path, flags & ~O_EXCL, mode);
	if (fd < 0)
		return fd;
	if (preload_on_udaxfs(fd))
		set_hidden(fd, true);
	else
		syscall(SYS_fcntl, fd, F_SETFL, flags & ~O_DIRECT);
	return fd;
}

#define MODE_OF(flags)                                                                             \
	({                                                                                         \
		mode_t mode_ = 0;                                                                  \
		if ((flags)&O_CREAT || ((flags)&O_TMPFILE) == O_TMPFILE) {                         \
			va_list args_;                                                             \
			va_start(args_, flags);                                                    \
			mode_ = va_arg(args_, mode_t);                                             \
			va_end(args_);                                                             \
		}                                                                                  \
		mode_;                                                                             \
	})

int open(const char *path, int flags, ...)
{
	return open_file(AT_FDCWD, path, flags, MODE_OF(flags));
}

int open64(const char *path, int flags, ...)
{
	return open_file(AT_FDCWD, path, flags | O_LARGEFILE, MODE_OF(flags));
}

int openat(int dirfd, const char *path, int flags, ...)
{
	return open_file(dirfd, path, flags, MODE_OF(flags));
}

int openat64(int dirfd, const char *path, int flags, ...)
{
	return open_file(dirfd, path, flags | O_LARGEFILE, MODE_OF(flags));
}

int creat(const char *path, mode_t mode)
{
	return open_file(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}

int creat64(const char *path, mode_t mode)
{
	return open_file(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_LARGEFILE, mode);
}

/* With _FORTIFY_SOURCE programs call these where no mode is given. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dirfd, const char *path, int flags);
int __openat64_2(int dirfd, const char *path, int flags);

int __open_2(const char *path, int flags)
{
	return open_file(AT_FDCWD, path, flags, 0);
}

int __open64_2(const char *path, int flags)
{
	return open_file(AT_FDCWD, path, flags | O_LARGEFILE, 0);
}

int __openat_2(int dirfd, const char *path, int flags)
{
	return open_file(dirfd, path, flags, 0);
}

int __openat64_2(int dirfd, const char *path, int flags)
{
	return open_file(dirfd, path, flags | O_LARGEFILE, 0);
}

/* ---- streams -------------------------------------------------------------------------------------- */

/* The flags that fopen(3) opens with; -1: not a mode. */
static int stream_flags(const char *mode)
{
	int flags = mode[0] == 'r'   ? O_RDONLY
		    : mode[0] == 'w' ? O_WRONLY | O_CREAT | O_TRUNC
		    : mode[0] == 'a' ? O_WRONLY | O_CREAT | O_APPEND
				     : -1;

	if (flags < 0)
		return flags;
	if (strchr(mode, '+'))
		flags = (flags & ~O_ACCMODE) | O_RDWR;
	if (strchr(mode, 'x'))
		flags |= O_EXCL;
	if (strchr(mode, 'e'))
		flags |= O_CLOEXEC;
	return flags;
}

static FILE *open_stream(const char *path, const char *mode)
{
	int flags = stream_flags(mode), fd = open_file(AT_FDCWD, path, flags, 0666), saved;
	FILE *file = fd < 0 ? NULL : fdopen(fd, mode);

	if (fd >= 0 && !file) {
		saved = errno;
		close(fd);
		errno = saved;
	}
	return file;
}

/* Only where it makes a difference: libc's own has more to it (wide characters, conversions). */
FILE *fopen(const char *path, const char *mode)
{
	if (stream_flags(mode) < 0 || !may_be_udaxfs(AT_FDCWD, path, stream_flags(mode)))
		return NEXT(fopen)(path, mode);
	return open_stream(path, mode);
}

FILE *fopen64(const char *path, const char *mode)
{
	if (stream_flags(mode) < 0 || !may_be_udaxfs(AT_FDCWD, path, stream_flags(mode)))
		return NEXT(fopen64)(path, mode);
	return open_stream(path, mode);
}

/* ---- what the program sees of the flag ------------------------------------------------------------ */

int close(int fd)
{
	set_hidden(fd, false);
	return NEXT(close)(fd);
}

int dup(int fd)
{
	int to = (int)syscall(SYS_dup, fd);

	set_hidden(to, is_hidden(fd));
	return to;
}

int dup3(int fd, int to, int flags)
{
	int got = (int)syscall(SYS_dup3, fd, to, flags);

	if (got >= 0)
		set_hidden(got, is_hidden(fd));
	return got;
}

int dup2(int fd, int to)
{
	if (fd == to)
		return syscall(SYS_fcntl, fd, F_GETFD) < 0 ? -1 : fd;
	return dup3(fd, to, 0);
}

static int control(int fd, int cmd, long arg)
{
	long result;

	if (cmd == F_SETFL && is_hidden(fd))
		arg |= O_DIRECT;
	result = syscall(SYS_fcntl, fd, cmd, arg);
	if (cmd == F_GETFL && result >= 0 && is_hidden(fd))
		result &= ~(long)O_DIRECT;
	if ((cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC) && result >= 0)
		set_hidden((int)result, is_hidden(fd));
	return (int)result;
}

int fcntl(int fd, int cmd, ...)
{
	va_list args;
	long arg;

	va_start(args, cmd);
	arg = va_arg(args, long);
	va_end(args);
	return control(fd, cmd, arg);
}

int fcntl64(int fd, int cmd, ...)
{
	va_list args;
	long arg;

	va_start(args, cmd);
	arg = va_arg(args, long);
	va_end(args);
	return control(fd, cmd, arg);
}
