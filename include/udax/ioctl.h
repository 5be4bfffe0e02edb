/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * udax/ioctl.h - what a udaxfs mount understands through ioctl(2), beside what every filesystem
 * does (FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR,
 * FS_IOC_GETVERSION of linux/fs.h, and XFS_IOC_GOINGDOWN, below).
 *
 * Calls about the volume work on any file or directory that was opened on the mount. A file
 * that is on something else answers with ENOTTY (or EINVAL, EOPNOTSUPP: some filesystems do):
 * UDAX_IOC_INFO is the way to find out.
 *
 * Rules for all calls:
 *   - Members have fixed widths and no padding; the same program works with 32 and 64 bits.
 *   - `version` is set by the caller to UDAX_IOC_VERSION; another one is refused with EINVAL. The
 *     size of a structure is part of the request's number, so one that grows gets a new number.
 *   - Members named `reserved` are zero, in both directions; anything else is EINVAL.
 *   - Bytes unless a name says blocks (of 4096 bytes) or ns. Strings end with NUL.
 *   - No payload reaches 16 KiB, which is what a FUSE ioctl can carry. It cannot carry a
 *     descriptor either: a second file is named by a token (UDAX_IOC_TOKEN).
 *   - EINTR: interrupted. EIO: damage on the medium, or the volume was shut down.
 *
 * "The owner of the mount" is the user that the daemon runs as.
 */
#ifndef UDAX_IOCTL_H
#define UDAX_IOCTL_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define UDAX_IOC_MAGIC 0xda
#define UDAX_IOC_VERSION 1

/* ---- facts ------------------------------------------------------------------------------------ */

enum udax_ioc_durability {
	UDAX_DURABILITY_PMEM = 0,     /* survives power loss once flushed from the CPU's caches */
	UDAX_DURABILITY_FILE = 1,     /* survives power loss; each operation ends with an msync */
	UDAX_DURABILITY_VOLATILE = 2, /* survives the daemon, not the machine */
};

enum udax_ioc_info_flags {
	UDAX_INFO_READ_ONLY = 1,
	UDAX_INFO_SHUT_DOWN = 2,  /* every operation gives EIO until the next mount */
	UDAX_INFO_DAMAGED = 4,	  /* damage was met: run fsck.udaxfs */
	UDAX_INFO_LOCKDEP = 8,	  /* mounted with -o lockdep */
	UDAX_INFO_LOCKSTAT = 16,  /* lock statistics are being taken */
	UDAX_INFO_RECORDING = 32, /* somebody records (UDAX_IOC_RECORD_START) */
};

struct udax_ioc_info {
	__u32 version;	  /* in */
	__u32 flags;	  /* enum udax_ioc_info_flags */
	__u32 durability; /* enum udax_ioc_durability */
	__u32 format_version;
	__u32 block_bytes;
	__u32 granule_bytes;		   /* smallest piece that can be mapped directly */
	__u32 pid;			   /* of the daemon, in its own namespace */
	__u32 uid;			   /* of the daemon: the owner of the mount */
	__u64 size_bytes;		   /* of the volume */
	__u64 region_bytes;		   /* of what it stands on: larger when it can grow */
	__u64 compat, ro_compat, incompat; /* feature flags */
	__u64 created_ns, mounted_ns;	   /* since the epoch */
	__u32 mount_count;
	__u32 lockdep_reports; /* given since mount */
	__u8 uuid[16];
	char label[64];
	char policy[32]; /* the one that -o mmaplock= names */
	char program_version[32];
	char region[1024]; /* its path; cut off when it is longer */
};

/** Facts about the mount. Anybody may ask, also after a shutdown. */
#define UDAX_IOC_INFO _IOWR(UDAX_IOC_MAGIC, 1, struct udax_ioc_info)

struct udax_ioc_space {
	__u32 version; /* in */
	__u32 reserved;
	__u64 total_bytes;
	__u64 free_bytes;	 /* nobody has them; reserve_bytes of these are kept back */
	__u64 reserve_bytes;	 /* for operations that free space */
	__u64 quarantined_bytes; /* freed, but a client that does not answer may map them */
	__u64 free_huge_bytes;	 /* free in whole aligned pieces of 2 MiB */
	__u64 inodes;		 /* that have a place on the medium; it grows as needed */
	__u64 inodes_free;
};

/** How much room there is. Anybody may ask. EIO. */
#define UDAX_IOC_SPACE _IOWR(UDAX_IOC_MAGIC, 2, struct udax_ioc_space)

/* ---- counters --------------------------------------------------------------------------------- */

#define UDAX_STAT_ENTRIES 64

struct udax_ioc_stat {
	__u32 version; /* in */
	__u32 first;   /* in: number of the first counter wanted */
	__u32 total;   /* how many there are */
	__u32 count;   /* how many follow */
	struct {
		char name[40]; /* ends in _bytes or _ns where it does not count things */
		__u64 value;
	} entries[UDAX_STAT_ENTRIES];
};

/**
 * Counters since mount, in pages: ask again with first + count until that is total. The set of
 * names may grow with any version; none changes its meaning. Anybody may ask.
 */
#define UDAX_IOC_STAT _IOWR(UDAX_IOC_MAGIC, 3, struct udax_ioc_stat)

/* A bounce: the lock's last taker was on another CPU. */
struct udax_ioc_lockstat_mode {
	__u64 con_bounces, contentions;
	__u64 wait_min_ns, wait_max_ns, wait_total_ns;
	__u64 acq_bounces, acquisitions;
	__u64 hold_min_ns, hold_max_ns, hold_total_ns;
};

struct udax_ioc_lockstat_site {
	char site[56]; /* "src/file.c:123"; empty: unused */
	__u64 count;
};

#define UDAX_LOCKSTAT_SITES 4

struct udax_ioc_lockstat {
	__u32 version; /* in */
	__u32 index;   /* in: which class of locks, from 0, in lock order */
	__u32 total;   /* how many there are */
	__u32 enabled; /* whether statistics are being taken */
	char name[32];
	struct udax_ioc_lockstat_mode shared, exclusive; /* of mutexes all is exclusive */
	struct udax_ioc_lockstat_site waiters[UDAX_LOCKSTAT_SITES]; /* where it had to wait, */
	struct udax_ioc_lockstat_site holders[UDAX_LOCKSTAT_SITES]; /* and for a lock taken where */
};

/** Statistics of one class of locks. Anybody may ask. EINVAL: index is not below total. */
#define UDAX_IOC_LOCKSTAT _IOWR(UDAX_IOC_MAGIC, 4, struct udax_ioc_lockstat)

enum udax_ioc_lockstat_control_flags {
	UDAX_LOCKSTAT_ON = 1,
	UDAX_LOCKSTAT_OFF = 2,
	UDAX_LOCKSTAT_RESET = 4, /* begin again at zero; with ON or OFF or alone */
};

struct udax_ioc_lockstat_control {
	__u32 version;
	__u32 flags; /* enum udax_ioc_lockstat_control_flags, at least one */
};

/** Switch lock statistics. For the owner of the mount and root: EPERM. EINVAL: ON and OFF. */
#define UDAX_IOC_LOCKSTAT_CONTROL _IOW(UDAX_IOC_MAGIC, 5, struct udax_ioc_lockstat_control)

/* ---- recording ------------------------------------------------------------------------------------ */

enum udax_ioc_event_kind {
	UDAX_EVENT_THREAD = 0, /* text: the name of `thread`; before its other events */
	UDAX_EVENT_SITE = 1, /* text: "src/file.c:123", which `thread` stands for; before its use */
	UDAX_EVENT_CONTENDED = 2, /* of a lock: the thread begins to wait for it, */
	UDAX_EVENT_ACQUIRED = 3,  /* has it, */
	UDAX_EVENT_RELEASED = 4,  /* had it */
	UDAX_EVENT_SLEEPS = 5,	  /* on a condition that the lock protects, */
	UDAX_EVENT_WOKEN = 6,	  /* until here */
	UDAX_EVENT_OPERATION =
		7, /* a request of the kernel is served; code: its opcode (linux/fuse.h) */
	UDAX_EVENT_FAULT = 8,	/* of a client, who: which; code: 1 for stores */
	UDAX_EVENT_FILL = 9,	/* the kernel is given a copy */
	UDAX_EVENT_RECALL = 10, /* a client, who, is asked for what it holds; code: its sequence */
	UDAX_EVENT_GATE = 11,	/* a range is about to change its layout */
};

/* Of the kinds from OPERATION on. */
enum udax_ioc_event_step {
	UDAX_STEP_BEGIN = 0,
	UDAX_STEP_END = 1,	/* with a result: 0 or -errno */
	UDAX_STEP_LATE = 2,	/* of a recall: the client has not answered in time */
	UDAX_STEP_NOTIFY = 3,	/* of a gate: the kernel is asked to drop its copies, */
	UDAX_STEP_CLOSING = 4,	/* who is in is waited for, */
	UDAX_STEP_CLOSED = 5,	/* nobody is in, */
	UDAX_STEP_REOPENED = 6, /* or it was not to be, and it is open again */
};

#define UDAX_EVENT_TEXT 40

struct udax_ioc_event {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u32 thread;  /* of the daemon, in its own namespace */
	__u8 kind;     /* enum udax_ioc_event_kind */
	__u8 step;     /* enum udax_ioc_event_step */
	__u8 class;    /* of a lock, as UDAX_IOC_LOCKSTAT numbers them */
	__u8 exclusive;
	union {
		char text[UDAX_EVENT_TEXT]; /* ends with NUL; cut off where it is longer */
		struct {
			__u64 lock;   /* which one; means nothing but that it is the same */
			__u64 number; /* which one of its class: an inode's number, if it has one */
			__u64 reserved;
			__u32 site; /* where; 0: not known */
		} lock;
		struct {
			__u64 ino;
			__u64 pos, len; /* len: all ones to the end of the file */
			__u32 site;
			__u32 who, code;
			__s32 result;
		} told;
	} u;
};

struct udax_ioc_record {
	__u32 version;	/* in */
	__u32 capacity; /* in: events that may wait to be read, 1024 to 1048576; 72 bytes each */
	__u64 id;	/* of the recording */
};

/**
 * Begin to record what locks, requests, faults, fills, recalls and gates do, into a ring in the daemon's
 * memory. It ends with UDAX_IOC_RECORD_STOP, or when its reader has read nothing for ten seconds and another
 * one begins; until then it is the only one: EBUSY. For the owner of the mount and root: EPERM. EINVAL:
 * the capacity. ENOMEM.
 */
#define UDAX_IOC_RECORD_START _IOWR(UDAX_IOC_MAGIC, 15, struct udax_ioc_record)

#define UDAX_RECORD_EVENTS 280

struct udax_ioc_record_read {
	__u32 version; /* in */
	__u32 count;
	__u64 id;      /* in */
	__u64 dropped; /* events that found the ring full, since the beginning: they are missing */
	__u64 now_ns;  /* CLOCK_MONOTONIC, after the last of these events */
	struct udax_ioc_event events[UDAX_RECORD_EVENTS];
};

/**
 * The next events, and their end: fewer than UDAX_RECORD_EVENTS less one, and there are no more for now. Never
 * waits. For the owner of the mount and root: EPERM. ESTALE: that recording has ended.
 */
#define UDAX_IOC_RECORD_READ _IOWR(UDAX_IOC_MAGIC, 16, struct udax_ioc_record_read)

/** End the recording `id`, and drop what was not read. EPERM; ESTALE: it has ended. */
#define UDAX_IOC_RECORD_STOP _IOW(UDAX_IOC_MAGIC, 17, struct udax_ioc_record)

/* ---- who holds what --------------------------------------------------------------------------- */

enum udax_ioc_mode {
	UDAX_MODE_NONE = 0,	/* not open */
	UDAX_MODE_CACHED = 1,	/* the first open was an ordinary one */
	UDAX_MODE_UNCACHED = 2, /* the first open was with O_DIRECT */
};

struct udax_ioc_holder {
	__u64 ino;
	__u32 mode;		 /* enum udax_ioc_mode */
	__u32 handles;		 /* open files, including those that only a mapping keeps */
	__u32 writers;		 /* of these, open for writing */
	__u32 attached;		 /* clients that map it directly */
	__u32 gates;		 /* layout changes under way */
	__u32 admitted;		 /* requests of the kernel's page cache under way */
	__u32 recalls;		 /* not answered yet */
	__u32 late;		 /* not answered in time: quarantine stands on their account */
	__u64 read_bytes;	 /* that clients may map for loads only, */
	__u64 write_bytes;	 /* for stores too, */
	__u64 zero_bytes;	 /* or show as zeroes; summed over the clients */
	__u64 layout_generation; /* rises with each layout change */
};

#define UDAX_HOLDERS_ENTRIES 64

struct udax_ioc_holders {
	__u32 version; /* in */
	__u32 count;
	__u64 ino;  /* in: this file, or with all: files with this number or a larger one */
	__u32 all;  /* in: 1 for every file that is open, 0 for the one named by ino */
	__u32 more; /* with all: ask again with the last entry's ino + 1 */
	struct udax_ioc_holder entries[UDAX_HOLDERS_ENTRIES]; /* by rising ino */
};

/**
 * Who has files open, and in which mode. For one file: its owner, the owner of the mount, and
 * root; for all: only the last two. EPERM. ENOENT: no such inode. Handles count every
 * descriptor's open file, also the caller's own.
 */
#define UDAX_IOC_HOLDERS _IOWR(UDAX_IOC_MAGIC, 6, struct udax_ioc_holders)

/* ---- the layout of a file ---------------------------------------------------------------------- */

enum udax_ioc_extent_state {
	UDAX_EXTENT_UNWRITTEN = 1, /* allocated, reads as zeroes */
	UDAX_EXTENT_WRITTEN = 2,
};

struct udax_ioc_extent {
	__u64 lblk;  /* first block in the file */
	__u64 pblk;  /* first block in the region */
	__u64 count; /* blocks */
	__u32 state; /* enum udax_ioc_extent_state */
	__u32 reserved;
};

#define UDAX_MAP_EXTENTS 256

struct udax_ioc_map {
	__u32 version;	 /* in */
	__u32 count;	 /* extents that follow; what lies between them is a hole */
	__u64 start_blk; /* in: from the extent on that holds this block of the file or lies behind */
	__u64 size_bytes; /* of the file */
	__u32 more;	  /* 1: ask again from the end of the last extent */
	__u32 reserved;
	struct udax_ioc_extent extents[UDAX_MAP_EXTENTS];
};

/**
 * Where the file's blocks are, on a descriptor open for reading. Several calls see the file at
 * several moments. Files and directories; others: ENOTTY.
 */
#define UDAX_IOC_MAP _IOWR(UDAX_IOC_MAGIC, 7, struct udax_ioc_map)

struct udax_ioc_range {
	__u32 version;
	__u32 reserved;
	__u64 pos, len; /* multiples of 4096 */
};

/**
 * UDAX_IOC_COLLAPSE - take [pos, pos + len) out of the file: what follows moves down.
 * UDAX_IOC_INSERT - put a hole of len bytes in at pos: what follows moves up.
 *
 * As fallocate(2) with FALLOC_FL_COLLAPSE_RANGE and FALLOC_FL_INSERT_RANGE, which the kernel does
 * not pass on to a FUSE filesystem. Durable, and wholly done or not at all, also after a crash.
 *
 * EBADF: not open for writing. EBUSY: the file is in cached mode (somebody has it open without
 * O_DIRECT; UDAX_IOC_HOLDERS). EINVAL: not multiples, or not inside the file: a collapse must
 * end, an insert begin, before the end of the file. EFBIG, ENOSPC, EPERM (immutable or
 * append-only), EROFS, EIO, EISDIR.
 */
#define UDAX_IOC_COLLAPSE _IOW(UDAX_IOC_MAGIC, 8, struct udax_ioc_range)
#define UDAX_IOC_INSERT _IOW(UDAX_IOC_MAGIC, 9, struct udax_ioc_range)

/* ---- naming a second file ---------------------------------------------------------------------- */

#define UDAX_TOKEN_BYTES 16

struct udax_ioc_token {
	__u32 version;	   /* in */
	__u32 lifetime_ms; /* after which it is worth nothing */
	__u8 token[UDAX_TOKEN_BYTES];
};

/**
 * A token that names the file of this descriptor, once and for a short time: whoever shows it is
 * trusted as if he held the descriptor. EBADF: not open for writing. EISDIR. EAGAIN: too many
 * tokens are out; try again after a while.
 */
#define UDAX_IOC_TOKEN _IOWR(UDAX_IOC_MAGIC, 10, struct udax_ioc_token)

struct udax_ioc_exchange {
	__u32 version;
	__u32 reserved;
	__u64 pos, len;		      /* in this file */
	__u64 other_pos;	      /* in the other one */
	__u8 token[UDAX_TOKEN_BYTES]; /* of the other one */
};

/**
 * Swap the blocks of two ranges of two files: nothing is copied. Positions are multiples of 4096,
 * and so is the length unless both ranges end where their files do. Durable, and wholly done or
 * not at all.
 *
 * The token is used up, whatever the result. EKEYREJECTED: it is unknown, was used, or is too
 * old. Otherwise as UDAX_IOC_COLLAPSE, for both files; EINVAL also for a file and itself.
 */
#define UDAX_IOC_EXCHANGE _IOW(UDAX_IOC_MAGIC, 11, struct udax_ioc_exchange)

/* ---- attaching ---------------------------------------------------------------------------------- */

struct udax_ioc_attach {
	__u32 version;	   /* in */
	__u32 lifetime_ms; /* of the token */
	__u8 token[UDAX_TOKEN_BYTES];
	__u8 writable; /* whether the descriptor is open for writing, and so the token good for it */
	__u8 reserved[7];
	char socket[64]; /* its name in the abstract namespace, without the leading NUL */
};

/**
 * A token with which libudax attaches the file of this descriptor, to map it directly; good once.
 *
 * EBUSY: the file is in cached mode. EACCES: not the daemon's user, and not root: such a process
 * is not given the region. ENOSYS: this mount serves no clients. EISDIR. EAGAIN: as UDAX_IOC_TOKEN.
 */
#define UDAX_IOC_ATTACH _IOWR(UDAX_IOC_MAGIC, 14, struct udax_ioc_attach)

/* ---- moving --------------------------------------------------------------------------------------- */

struct udax_ioc_relocate {
	__u32 version;
	__u32 reserved;
	__u64 pos, len;	   /* in; any bytes */
	__u64 moved_bytes; /* out: of the pieces that were moved */
};

/**
 * Give each 2 MiB piece of the file that the range touches an aligned run of blocks of its own, so
 * that it can be mapped huge. Pieces that have one, and holes of 2 MiB, stay as they are; smaller
 * holes in a piece that moves become zeroes with blocks. What the file reads as does not change.
 * Each piece moves wholly or not at all, also in a crash.
 *
 * ENOSPC: no free 2 MiB run is left, although there may be free blocks. ETIMEDOUT: clients that map it
 * were waited for as long as the mount's recall_timeout; what was moved stays moved. Otherwise as
 * UDAX_IOC_COLLAPSE, except that immutable files can be moved.
 */
#define UDAX_IOC_RELOCATE _IOWR(UDAX_IOC_MAGIC, 13, struct udax_ioc_relocate)

/* ---- the volume -------------------------------------------------------------------------------- */

struct udax_ioc_grow {
	__u32 version; /* in */
	__u32 reserved;
	__u64 old_bytes, new_bytes;
};

/**
 * Use what the region's file has grown to. For the owner of the mount and root: EPERM. Nothing to
 * grow into is no error: new_bytes is old_bytes then. EROFS; ENOMEM, also when the address space
 * behind the region is used up (mount it anew); EIO.
 */
#define UDAX_IOC_GROW _IOWR(UDAX_IOC_MAGIC, 12, struct udax_ioc_grow)

/**
 * Shut the volume down as if power had gone: every later operation gives EIO, nothing more is
 * written, and the next mount recovers. The number is XFS's XFS_IOC_GOINGDOWN, so that xfstests'
 * godown works. By the direction in that number the kernel passes no argument on to a FUSE
 * filesystem: it always acts as XFS_FSOP_GOING_FLAGS_NOLOGFLUSH. For the owner of the mount and
 * root: EPERM.
 */
#define UDAX_IOC_SHUTDOWN _IOR('X', 125, __u32)

#endif
