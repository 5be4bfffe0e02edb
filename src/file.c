/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * file.c - the data path: from a request down to loads and stores on the region.
 *
 * A read finds the pieces under the ilock and lets go of it; what keeps the blocks in place until
 * the reply is sent is the iolock (uncached) or the admission (cached), both of which a layout
 * change waits for.
 *
 * A write has two ways:
 *
 *   over written blocks	find them, store, fence. Nothing but timestamps changes, and these
 *			only when the clock has ticked since the last write.
 *   anything else	one transaction: get_blocks, store the data into what it gave, size,
 *			timestamps, commit. The commit's first fence makes data and log durable
 *			together, so the file never shows a block without its data.
 */
#include "file.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc.h"
#include "extent.h"
#include "fill.h"
#include "gate.h"
#include "get_blocks.h"
#include "grant.h"
#include "inode.h"
#include "journal.h"
#include "minmax.h"
#include "region.h"
#include "volume.h"
#include "zeroing.h"

/* How many runs of written blocks one overwrite can consist of; more go the other way. */
#define MAX_RUNS 16

static const unsigned char zeroes[64 << 10];

static int file_usable(const struct inode *inode, bool write)
{
	int err = volume_usable(inode->vol, write);

	if (err)
		return err;
	if (!S_ISREG(inode->type))
		return S_ISDIR(inode->type) ? -EISDIR : -EINVAL;
	return 0;
}

/* ---- reading ---------------------------------------------------------------------------------------- */

static void plan_add(struct read_plan *plan, const void *base, size_t len)
{
	plan->pieces[plan->npieces++] =
		(struct iovec){ .iov_base = (void *)(uintptr_t)base, .iov_len = len };
	plan->bytes += len;
}

/* Zeroes are sent from one constant page range, again and again. */
static uint64_t plan_add_zeroes(struct read_plan *plan, uint64_t len)
{
	uint64_t done = 0;

	while (done < len && plan->npieces < READ_MAX_PIECES) {
		size_t n = (size_t)min_u64(len - done, sizeof(zeroes));

		plan_add(plan, zeroes, n);
		done += n;
	}
	return done;
}

static int plan_fill(struct inode *inode, uint64_t pos, uint64_t end, struct read_plan *plan)
{
	while (pos < end && plan->npieces < READ_MAX_PIECES) {
		uint64_t lblk = pos >> BLOCK_SHIFT, len, off;
		struct mapping map;
		int err = get_blocks(NULL, inode, lblk, ((end - 1) >> BLOCK_SHIFT) - lblk + 1, 0, 0,
				     0, &map);

		if (err)
			return err;
		len = min_u64(end, (map.lblk + map.count) << BLOCK_SHIFT) - pos;
		if (map.state != EXTENT_WRITTEN) {
			pos += plan_add_zeroes(plan, len);
			continue;
		}
		off = (map.pblk << BLOCK_SHIFT) + pos % BLOCK_BYTES;
		if (region_check(inode->vol->region, off, len))
			return -EIO;
		plan_add(plan, region_ptr(inode->vol->region, off, len), len);
		pos += len;
	}
	return 0;
}

int file_read_begin(struct inode *inode, uint64_t pos, size_t len, unsigned flags,
		    struct read_plan *ret_plan)
{
	int err = file_usable(inode, false);
	uint64_t size;

	if (err)
		return err;
	ret_plan->npieces = 0;
	ret_plan->bytes = 0;
	ret_plan->iolocked = !(flags & IO_CACHED);
	if (ret_plan->iolocked)
		sync_rw_lock(&inode->iolock, SYNC_SHARED, 0, HERE);
	ilock(inode, SYNC_SHARED, HERE);
	size = from_le64(inode_peek(NULL, inode)->size);
	if (pos < size)
		err = plan_fill(inode, pos, pos + min_u64(len, size - pos), ret_plan);
	iunlock(inode, SYNC_SHARED, HERE);
	atomic_fetch_add_explicit(flags & IO_CACHED ? &inode->vol->stat.fills
						    : &inode->vol->stat.reads,
				  1, memory_order_relaxed);
	if (err)
		file_read_end(inode, ret_plan);
	return err;
}

void file_read_end(struct inode *inode, struct read_plan *plan)
{
	if (plan->iolocked)
		sync_rw_unlock(&inode->iolock, SYNC_SHARED, HERE);
	plan->iolocked = false;
}

static bool later(struct timespec a, struct timespec b)
{
	return a.tv_sec != b.tv_sec ? a.tv_sec > b.tv_sec : a.tv_nsec > b.tv_nsec;
}

void file_touch_atime(struct inode *inode)
{
	struct volume *vol = inode->vol;
	struct attr attr;
	struct dinode *di;
	struct tx *tx;
	int err;

	if (volume_usable(vol, true))
		return;
	inode_attr(inode, &attr);
	if (attr.flags & DINODE_NOATIME ||
	    (later(attr.atime, attr.mtime) && later(attr.atime, attr.ctime) &&
	     sync_realtime(vol->sync).tv_sec - attr.atime.tv_sec < 24 * 60 * 60))
		return;
	if (tx_begin(vol, 0, &tx, HERE))
		return;
	ilock(inode, SYNC_EXCL, HERE);
	err = inode_modify(tx, inode, &di);
	if (!err)
		dinode_touch(vol, di, TOUCH_ATIME);
	tx_end(tx, err);
	iunlock(inode, SYNC_EXCL, HERE);
}

/* ---- writing over what is written ------------------------------------------------------------------------ */

struct run {
	uint64_t off, len; /* in the region */
};

/* Whether the times, and the privilege bits, are already what a write now would make them. */
static bool times_current(struct volume *vol, const struct dinode *di, unsigned flags)
{
	struct timespec now = sync_realtime(vol->sync);

	if (flags & IO_KILL_PRIV && from_le32(di->mode) & (S_ISUID | S_ISGID))
		return false;
	return (int64_t)from_le64(di->mtime) == now.tv_sec &&
	       from_le32(di->mtime_ns) == (uint32_t)now.tv_nsec && di->ctime == di->mtime &&
	       di->ctime_ns == di->mtime_ns;
}

/*
 * The runs behind [@pos, @pos + @len) if all of it is written and inside EOF. Returns their number;
 * 0: something is missing.
 */
static int find_runs(struct inode *inode, uint64_t pos, uint64_t len, unsigned flags,
		     struct run runs[MAX_RUNS], bool *ret_current)
{
	uint64_t end = pos + len;
	int n = 0;

	ilock(inode, SYNC_SHARED, HERE);
	*ret_current = times_current(inode->vol, inode_peek(NULL, inode), flags);
	if (end > from_le64(inode_peek(NULL, inode)->size))
		pos = end;
	while (pos < end) {
		uint64_t lblk = pos >> BLOCK_SHIFT, bytes;
		struct mapping map;

		if (n == MAX_RUNS ||
		    get_blocks(NULL, inode, lblk, ((end - 1) >> BLOCK_SHIFT) - lblk + 1, 0, 0, 0,
			       &map) ||
		    map.state != EXTENT_WRITTEN) {
			n = 0;
			break;
		}
		bytes = min_u64(end, (map.lblk + map.count) << BLOCK_SHIFT) - pos;
		runs[n++] = (struct run){ (map.pblk << BLOCK_SHIFT) + pos % BLOCK_BYTES, bytes };
		pos += bytes;
	}
	iunlock(inode, SYNC_SHARED, HERE);
	return n;
}

static int touch_written(struct inode *inode, unsigned flags)
{
	struct dinode *di;
	struct tx *tx;
	int err = tx_begin(inode->vol, 0, &tx, HERE);

	if (err)
		return err;
	ilock(inode, SYNC_EXCL, HERE);
	err = inode_modify(tx, inode, &di);
	if (!err) {
		dinode_touch(inode->vol, di, TOUCH_MTIME | TOUCH_CTIME);
		if (flags & IO_KILL_PRIV)
			dinode_kill_priv(di);
	}
	err = tx_end(tx, err);
	iunlock(inode, SYNC_EXCL, HERE);
	return err;
}

int file_touch_written(struct inode *inode)
{
	bool current;

	ilock(inode, SYNC_SHARED, HERE);
	current = times_current(inode->vol, inode_peek(NULL, inode), 0);
	iunlock(inode, SYNC_SHARED, HERE);
	return current ? 0 : touch_written(inode, 0);
}

/* Returns @len, 0 when the range is not wholly written, or -errno. */
static int64_t overwrite(struct inode *inode, uint64_t pos, const unsigned char *buf, size_t len,
			 unsigned flags)
{
	struct region *region = inode->vol->region;
	struct run runs[MAX_RUNS];
	bool current;
	int n = find_runs(inode, pos, len, flags, runs, &current), err = 0;

	if (!n)
		return 0;
	for (int i = 0; i < n; i++) {
		region_store(region, runs[i].off, buf, runs[i].len, HERE);
		buf += runs[i].len;
	}
	/* A transaction fences what was stored before it. */
	if (current)
		region_drain(region, HERE);
	else
		err = touch_written(inode, flags);
	for (int i = 0; !err && i < n; i++)
		err = region_check(region, runs[i].off, runs[i].len);
	return err ? err : (int64_t)len;
}

/* ---- writing into what is new ------------------------------------------------------------------------------- */

/* Store the part of the buffer that belongs into @map. Returns its length. */
static uint64_t store_into(struct inode *inode, const struct mapping *map, uint64_t pos,
			   const unsigned char *buf, uint64_t len)
{
	uint64_t n = min_u64(len, ((map->lblk + map->count) << BLOCK_SHIFT) - pos);
	uint64_t off = (map->pblk << BLOCK_SHIFT) + (pos - (map->lblk << BLOCK_SHIFT));

	region_store(inode->vol->region, off, buf, n, HERE);
	return n;
}

/*
 * As much of the write as @tx has room for. *@ret_done is set on failure too: so many bytes have
 * got blocks, and what of these was written before has been stored to.
 */
static int write_step(struct tx *tx, struct inode *inode, uint64_t pos, const unsigned char *buf,
		      size_t len, unsigned flags, size_t *ret_done)
{
	uint64_t end = pos + len, size = from_le64(inode_peek(tx, inode)->size);
	struct dinode *di;
	size_t done = 0;
	int err = 0;

	if (end > size && pos + 1 > size) /* the gap between EOF and pos, or nothing */
		err = zero_tail(tx, inode, size, pos);
	while (!err && done < len && get_blocks_room(tx, inode)) {
		uint64_t lblk = (pos + done) >> BLOCK_SHIFT;
		struct mapping map;

		err = get_blocks(tx, inode, lblk, ((end - 1) >> BLOCK_SHIFT) - lblk + 1, GET_CREATE,
				 pos + done, len - done, &map);
		if (!err)
			done += store_into(inode, &map, pos + done, buf + done, len - done);
		if (!err)
			err = region_check(inode->vol->region, map.pblk << BLOCK_SHIFT,
					   map.count << BLOCK_SHIFT);
	}
	*ret_done = done;
	if (!err)
		err = inode_modify(tx, inode, &di);
	if (err)
		return err;
	if (pos + done > size)
		di->size = to_le64(pos + done);
	dinode_touch(inode->vol, di, TOUCH_MTIME | TOUCH_CTIME);
	if (flags & IO_KILL_PRIV)
		dinode_kill_priv(di);
	return 0;
}

/* One transaction of a write that allocates, converts or extends. */
static int write_once(struct inode *inode, uint64_t pos, const unsigned char *buf, size_t len,
		      unsigned flags, size_t *ret_done)
{
	struct tx *tx;
	int err = tx_begin(inode->vol, 0, &tx, HERE);

	if (err)
		return err;
	ilock(inode, SYNC_EXCL, HERE);
	err = write_step(tx, inode, pos, buf, len, flags, ret_done);
	err = tx_end(tx, err);
	iunlock(inode, SYNC_EXCL, HERE);
	return err;
}

/*
 * Without room for all of it: as much as there is room for. At least what has been stored to in
 * place, because that can be seen; it needs no room.
 */
static int64_t write_new(struct inode *inode, uint64_t pos, const unsigned char *buf, size_t len,
			 unsigned flags)
{
	size_t done = 0;
	int err = write_once(inode, pos, buf, len, flags, &done);

	while (err == -ENOSPC && (done || len > BLOCK_BYTES)) {
		len = done && done < len ? done : len / 2;
		done = 0;
		err = write_once(inode, pos, buf, len, flags, &done);
	}
	return err ? err : (int64_t)done;
}

static int64_t write_range(struct inode *inode, uint64_t pos, const unsigned char *buf, size_t len,
			   unsigned flags)
{
	size_t done = 0;

	/*
	 * What is written now could land in blocks that the rest of that change frees. Looked at here,
	 * where changes are kept out by whatever lock or admission the caller has.
	 */
	if (atomic_load(&inode->half_changed))
		return -EIO;
	while (done < len) {
		int64_t n = overwrite(inode, pos + done, buf + done, len - done, flags);

		if (!n)
			n = write_new(inode, pos + done, buf + done, len - done, flags);
		if (n <= 0)
			return done ? (int64_t)done : n;
		done += (size_t)n;
	}
	return (int64_t)done;
}

/* ---- write(2) and writeback ------------------------------------------------------------------------------------- */

static uint64_t file_size(struct inode *inode, uint32_t *ret_flags)
{
	uint64_t size;

	ilock(inode, SYNC_SHARED, HERE);
	size = from_le64(inode_peek(NULL, inode)->size);
	*ret_flags = from_le32(inode_peek(NULL, inode)->flags);
	iunlock(inode, SYNC_SHARED, HERE);
	return size;
}

/*
 * A folio that a store dirtied: what lies behind EOF was never stored, and what was punched since
 * is discarded. The whole of it counts as written.
 */
static int64_t write_back(struct inode *inode, uint64_t pos, const unsigned char *buf, size_t len,
			  unsigned flags)
{
	uint32_t dflags;
	uint64_t size = file_size(inode, &dflags), end = min_u64(pos + len, size);

	atomic_fetch_add(&inode->vol->stat.writebacks, 1);
	for (uint64_t at = pos, n; at < end; at += n) {
		int64_t result;

		if (gate_discarded(inode, at, end - at, &n)) {
			atomic_fetch_add(&inode->vol->stat.writebacks_discarded, 1);
			continue;
		}
		result = write_range(inode, at, buf + (at - pos), n, flags);
		if (result != (int64_t)n)
			return result < 0 ? result : -ENOSPC;
	}
	return (int64_t)len;
}

static int64_t write_locked(struct inode *inode, uint64_t pos, const unsigned char *buf, size_t len,
			    unsigned flags)
{
	uint32_t dflags;
	uint64_t size = file_size(inode, &dflags);

	if (dflags & DINODE_IMMUTABLE || (dflags & DINODE_APPEND && !(flags & IO_APPEND)))
		return -EPERM;
	/* In cached mode the kernel knows where the end is, and has that folio locked. */
	if (flags & IO_APPEND && !(flags & IO_CACHED))
		pos = size;
	if (pos >= MAX_FILE_BYTES)
		return -EFBIG;
	len = (size_t)min_u64(len, MAX_FILE_BYTES - pos);
	atomic_fetch_add_explicit(&inode->vol->stat.writes, 1, memory_order_relaxed);
	return write_range(inode, pos, buf, len, flags);
}

/*
 * What a write of [@pos, @pos + @len) fills, as far as can be said without the iolock. An append goes
 * where EOF is then. @again: the file was cut off meanwhile; announced is all that there can be, so that it
 * does not have to be said a third time, and clients are not waited for for ever.
 */
static int fill_for(struct inode *inode, uint64_t pos, uint64_t len, unsigned flags, bool again,
		    struct fill *ret_fill)
{
	bool may_wait = flags & IO_MAY_WAIT, append = flags & IO_APPEND;
	uint32_t dflags;
	uint64_t size = file_size(inode, &dflags);

	if (again)
		return fill_begin(inode, ret_fill, 0, MAX_FILE_BYTES, true, may_wait);
	if (append)
		return fill_begin(inode, ret_fill, size, MAX_FILE_BYTES, true, may_wait);
	return fill_begin(inode, ret_fill, min_u64(pos, size), pos + len, pos + len > size,
			  may_wait);
}

/* Whether that still holds, with the iolock. */
static bool fill_holds(struct inode *inode, const struct fill *fill, uint64_t pos, uint64_t len,
		       unsigned flags)
{
	uint32_t dflags;
	uint64_t size = file_size(inode, &dflags);

	if (flags & IO_APPEND)
		return fill->extends && size >= fill->pos;
	return pos + len <= size || (fill->extends && size >= fill->pos);
}

static int64_t write_uncached(struct inode *inode, uint64_t pos, const unsigned char *buf,
			      size_t len, unsigned flags)
{
	for (bool again = false;; again = true) {
		struct fill fill;
		int64_t result = fill_for(inode, pos, len, flags, again, &fill);
		bool holds;

		if (result)
			return result;
		sync_rw_lock(&inode->iolock, SYNC_EXCL, 0, HERE);
		holds = fill_holds(inode, &fill, pos, len, flags);
		if (holds)
			result = write_locked(inode, pos, buf, len, flags);
		sync_rw_unlock(&inode->iolock, SYNC_EXCL, HERE);
		fill_end(inode, &fill);
		if (holds)
			return result;
	}
}

int64_t file_write(struct inode *inode, uint64_t pos, const void *buf, size_t len, unsigned flags)
{
	int64_t result = file_usable(inode, true);

	if (result || !len)
		return result;
	if (flags & IO_WRITEBACK)
		return write_back(inode, pos, buf, len, flags);
	if (flags & IO_CACHED)
		return write_locked(inode, pos, buf, len, flags);
	return write_uncached(inode, pos, buf, len, flags);
}

/* ---- stores of clients ------------------------------------------------------------------------------------------- */

/* All that is written: where a client stored is not known. */
static int flush_written(struct inode *inode)
{
	struct region *region = inode->vol->region;
	uint64_t lblk = 0;
	int err = 0;

	while (!err) {
		struct extent ext = { 0 };
		uint64_t off, bytes;

		/* While the extent is flushed it is the file's. */
		ilock(inode, SYNC_SHARED, HERE);
		err = extent_next(NULL, inode, FORK_DATA, lblk, &ext);
		off = ext.pblk << BLOCK_SHIFT;
		bytes = ext.count << BLOCK_SHIFT;
		if (!err && ext.state == EXTENT_WRITTEN) {
			region_flush(region, off, bytes, HERE);
			region_drain(region, HERE);
			err = region_check(region, off, bytes);
		}
		iunlock(inode, SYNC_SHARED, HERE);
		lblk = ext.lblk + ext.count;
	}
	return err == -ENOENT ? 0 : err;
}

int file_sync(struct inode *inode, uint32_t *seen)
{
	uint64_t mark;
	int err = 0;

	if (!S_ISREG(inode->type))
		return 0;
	if (grant_stores(inode, &mark)) {
		err = flush_written(inode);
		if (err && err != -EIO)
			return err; /* the next one tries again */
		grant_flushed(inode, mark, err);
	}
	if (!seen)
		return err;
	return grant_sync_lost(inode, seen) ? -EIO : 0;
}

/* ---- data and holes -------------------------------------------------------------------------------------------------- */

int file_seek(struct inode *inode, uint64_t pos, int whence, uint64_t *ret_pos)
{
	uint64_t size, at = pos;
	int err = file_usable(inode, false);

	if (!err && whence != SEEK_DATA && whence != SEEK_HOLE)
		err = -EINVAL;
	if (err)
		return err;
	ilock(inode, SYNC_SHARED, HERE);
	size = from_le64(inode_peek(NULL, inode)->size);
	if (pos >= size)
		err = -ENXIO;
	while (!err && at < size) {
		struct mapping map;

		err = get_blocks(NULL, inode, at >> BLOCK_SHIFT,
				 ((size - 1) >> BLOCK_SHIFT) - (at >> BLOCK_SHIFT) + 1, 0, 0, 0,
				 &map);
		if (err || (map.state == EXTENT_WRITTEN) == (whence == SEEK_DATA))
			break;
		at = (map.lblk + map.count) << BLOCK_SHIFT;
	}
	iunlock(inode, SYNC_SHARED, HERE);
	if (err)
		return err;
	if (at >= size && whence == SEEK_DATA)
		return -ENXIO;
	*ret_pos = min_u64(at, size);
	return 0;
}

/* ---- copying ----------------------------------------------------------------------------------------------------------- */

static void copy_lock(struct inode *in, struct inode *out)
{
	if (in == out || out->ino < in->ino)
		sync_rw_lock(&out->iolock, SYNC_EXCL, 0, HERE);
	if (in != out)
		sync_rw_lock(&in->iolock, SYNC_SHARED, out->ino < in->ino, HERE);
	if (in != out && out->ino > in->ino)
		sync_rw_lock(&out->iolock, SYNC_EXCL, 1, HERE);
}

static void copy_unlock(struct inode *in, struct inode *out)
{
	sync_rw_unlock(&out->iolock, SYNC_EXCL, HERE);
	if (in != out)
		sync_rw_unlock(&in->iolock, SYNC_SHARED, HERE);
}

/* What one plan of pieces covers. Holes are copied as zeroes, as read and write would. */
static int64_t copy_some(struct inode *in, uint64_t in_pos, struct inode *out, uint64_t out_pos,
			 size_t len, unsigned flags)
{
	struct read_plan plan;
	size_t done = 0;
	int err = file_read_begin(in, in_pos, len, IO_CACHED, &plan);

	if (err)
		return err;
	for (unsigned i = 0; i < plan.npieces; i++) {
		const struct iovec *piece = &plan.pieces[i];
		int64_t n =
			write_locked(out, out_pos + done, piece->iov_base, piece->iov_len, flags);

		if (n < 0)
			return done ? (int64_t)done : n;
		done += (size_t)n;
		if ((size_t)n < piece->iov_len)
			break;
	}
	return (int64_t)done;
}

static int64_t copy_locked(struct inode *in, uint64_t in_pos, struct inode *out, uint64_t out_pos,
			   size_t len, unsigned flags)
{
	size_t done = 0;
	int64_t n = 0;
	uint32_t dflags;
	/* Where the source ends now: a copy to the same file may move that. */
	uint64_t size = file_size(in, &dflags);

	len = in_pos < size ? (size_t)min_u64(len, size - in_pos) : 0;
	while (done < len) {
		n = copy_some(in, in_pos + done, out, out_pos + done, len - done, flags);
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	return done ? (int64_t)done : n;
}

int64_t file_copy(struct inode *in, uint64_t in_pos, struct inode *out, uint64_t out_pos,
		  size_t len, unsigned flags)
{
	int64_t n = file_usable(in, false);
	struct fill fill;
	bool holds = true;

	if (!n)
		n = file_usable(out, true);
	if (n)
		return n;
	if (in == out && in_pos < out_pos + len && out_pos < in_pos + len)
		return -EINVAL;
	do {
		n = fill_for(out, out_pos, len, flags, !holds, &fill);
		if (n)
			return n;
		copy_lock(in, out);
		holds = fill_holds(out, &fill, out_pos, len, flags);
		if (holds)
			n = copy_locked(in, in_pos, out, out_pos, len, flags);
		copy_unlock(in, out);
		fill_end(out, &fill);
	} while (!holds);
	return n;
}
