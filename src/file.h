/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * file.h - reading and writing files, finding data and holes, copying ranges.
 *
 * Data moves between the region and a buffer of the caller, which never faults on a file of this
 * volume. Locking depends on who asks:
 *
 *   IO_UNCACHED  read(2) and write(2) of an uncached file: iolock, shared or exclusive
 *   IO_CACHED    requests of the kernel's page cache: no iolock, they were admitted (gate.h)
 *
 * A write is durable when it returns.
 */
#ifndef UDAX_FILE_H
#define UDAX_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct inode;

enum io_flags {
	IO_UNCACHED = 0,
	IO_CACHED = 1,
	IO_APPEND = 2, /* write at the true end of the file, whatever pos says */
	IO_WRITEBACK =
		4, /* of a folio that a store dirtied: never grows the file, may be discarded */
	IO_KILL_PRIV = 8, /* drop set-user-ID and set-group-ID bits */
	IO_MAY_WAIT = 16, /* for clients that show zeroes where this puts blocks; else -EAGAIN */
};

#define READ_MAX_PIECES 64

/** Where the bytes of a read stand; valid until file_read_end(). */
struct read_plan {
	struct iovec pieces[READ_MAX_PIECES];
	unsigned npieces;
	size_t bytes;
	bool iolocked;
};

/**
 * file_read_begin - find [@pos, @pos + @len), cut at EOF; bytes that were never written are zero.
 * The pieces point into the region: the caller sends them, then calls file_read_end(), which
 * returns -EIO if the medium refused a load meanwhile (the reply must then not be sent: give the
 * pieces to the kernel only after asking file_read_check()).
 * May give fewer bytes than there are when they stand in more than READ_MAX_PIECES pieces and
 * @partial is true; with false such a read is continued with later calls by the caller.
 * Returns 0, -EIO, -EISDIR.
 */
int file_read_begin(struct inode *inode, uint64_t pos, size_t len, unsigned flags,
		    struct read_plan *ret_plan);
void file_read_end(struct inode *inode, struct read_plan *plan);

/**
 * file_write - store @len bytes of @buf at @pos. Returns the number of bytes written, durable;
 * fewer than @len only when the volume became full. -ENOSPC, -EFBIG, -EIO, -EROFS, -EPERM (append
 * -only and not IO_APPEND), -EISDIR, -ENOMEM; uncached without IO_MAY_WAIT: -EAGAIN, nothing done.
 */
int64_t file_write(struct inode *inode, uint64_t pos, const void *buf, size_t len, unsigned flags);

/**
 * file_sync - make durable what clients have stored through their mappings. What was written by calls is
 * durable already. 0; -ENOMEM; -EIO: something could not be made durable, now or at another call, and
 * *@seen, which began as grant_sync_seen() when the file was opened, did not know of it: each open file
 * learns of it once. @seen NULL: of this call only, and that counts for nobody.
 */
int file_sync(struct inode *inode, uint32_t *seen);

/**
 * file_seek - SEEK_DATA or SEEK_HOLE from @pos: 0 and the position, -ENXIO, -EINVAL, -EIO.
 * Written blocks are data; holes and unwritten blocks are not.
 */
int file_seek(struct inode *inode, uint64_t pos, int whence, uint64_t *ret_pos);

/**
 * file_copy - copy @len bytes between two ranges of two files, or of one (overlap: -EINVAL), cut at
 * the source's EOF. Returns the number of bytes copied. Errors as file_write().
 */
int64_t file_copy(struct inode *in, uint64_t in_pos, struct inode *out, uint64_t out_pos,
		  size_t len, unsigned flags);

/** file_touch_written - mtime and ctime are now, as after a write: somebody is about to store. */
int file_touch_written(struct inode *inode);

/** file_touch_atime - relatime: note an access if the last one noted is older than a change, or a day. */
void file_touch_atime(struct inode *inode);

#endif
