/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * proto.h - what a client that maps files directly and the daemon say to each other.
 *
 * A client is a process. It asks for a token by ioctl (UDAX_IOC_ATTACH) on a file that it opened
 * through the mount with O_DIRECT, which also names the daemon's socket: SOCK_SEQPACKET, in the
 * abstract namespace, so a message is a packet and packets keep their order. The daemon talks to
 * processes of its own user and of root only (SO_PEERCRED).
 *
 *	client                                  daemon
 *	HELLO                              ->
 *	                                   <-   WELCOME, with the region's descriptor (SCM_RIGHTS)
 *	ATTACH token, id                   ->
 *	                                   <-   ATTACHED id, status
 *	FAULT id, range, wanted            ->                        a page was touched
 *	                                   <-   GRANT id, range, where
 *	                                   <-   RECALL id, range     somebody changes the layout
 *	ACK recall                         ->                        no mapping of it is left
 *	RETURN id, range                   ->                        given back unasked
 *	SYNC id                            ->                        msync(2): times
 *	                                   <-   SYNCED
 *	DETACH id                          ->                        the last mapping is gone
 *
 * Order. A grant is recorded before it is sent, and what is sent to a client arrives in order. So a
 * RECALL that follows a GRANT is for it too; a RECALL of a range with a FAULT under way says nothing
 * about that FAULT's answer, which comes behind it.
 *
 * A client does not RETURN a range that overlaps a FAULT of its own under way: the answer could be on
 * its way already. It does not ACK a recall that follows a DETACH: the DETACH says it all.
 *
 * Who is recalled replaces its mappings of the range by ones that fault, and answers ACK when that is
 * done, without waiting for anything that could wait for the daemon. After the deadline the daemon
 * goes on without: then the client is late, what it has mapped is in quarantine, and its stores
 * since are lost; the ACK's answer is LATE, whenever it comes.
 *
 * The region's descriptor comes with locks of this client on its open file description, which every
 * mapping keeps alive: a shared flock, and a shared lock on one byte, LOCK_BYTE + client, so that the
 * daemon can tell whether any mapping is left, whoever holds it (a child, after fork). A client that
 * loses the connection gives everything back and connects anew.
 *
 * Every malformed message ends the connection, and that connection only. Integers are in the
 * machine's order: both ends run on it.
 */
#ifndef UDAX_PROTO_H
#define UDAX_PROTO_H

#include <stdint.h>

#define PROTO_VERSION 1u

/* Far behind any region, and behind the byte of the daemon's own lock. */
#define PROTO_LOCK_BYTE (INT64_C(1) << 61)

enum proto_type {
	/* client to daemon */
	PROTO_HELLO = 1,
	PROTO_ATTACH,
	PROTO_DETACH,
	PROTO_FAULT,
	PROTO_ACK,
	PROTO_RETURN,
	PROTO_SYNC,
	/* daemon to client */
	PROTO_WELCOME = 64,
	PROTO_ATTACHED,
	PROTO_GRANT,
	PROTO_RECALL,
	PROTO_LATE,
	PROTO_SYNCED,
};

struct proto_head {
	uint16_t type;
	uint16_t bytes; /* of the whole message */
	uint32_t id;	/* of the attached file, chosen by the client; 0 where there is none */
};

struct proto_hello {
	struct proto_head head;
	uint32_t version;
	uint32_t reserved; /* 0 */
};

enum proto_welcome_flags {
	PROTO_SYNC_OK = 1,    /* MAP_SYNC: flushed caches are durable */
	PROTO_NEEDS_SYNC = 2, /* durable only after msync(2) of the mapping */
};

struct proto_welcome {
	struct proto_head head;
	uint32_t version;
	uint32_t flags; /* enum proto_welcome_flags */
	uint32_t client;
	uint32_t granule_bytes; /* unit of all ranges below */
	uint64_t region_bytes;
};

#define PROTO_TOKEN_BYTES 16

struct proto_attach {
	struct proto_head head; /* id: not in use by this client */
	uint8_t token[PROTO_TOKEN_BYTES];
	uint32_t writable; /* 1: stores will be wanted; the token's descriptor must be open for it */
	uint32_t reserved;
};

struct proto_attached {
	struct proto_head head;
	int32_t status; /* 0, or -errno: EBUSY cached mode, EKEYREJECTED, EACCES, EEXIST, ENOMEM */
	uint32_t reserved;
	uint64_t ino;
};

enum proto_touch {
	PROTO_LOAD,
	PROTO_STORE,
	PROTO_LOAD_BEFORE_STORES, /* in a mapping for stores: what is written is granted for them at once */
};

/*
 * A page at @pos was touched, as @write (enum proto_touch) says. [@first, @end) holds it: what the client could
 * map in one piece now, so the answer may be larger than the page, and never exceeds it. All are
 * multiples of the granule.
 */
struct proto_fault {
	struct proto_head head;
	uint32_t seq; /* comes back in the answer; at most one FAULT with it is under way */
	uint32_t write;
	uint64_t pos, first, end;
};

enum proto_grant_kind {
	PROTO_FAILED,	  /* status says why: SIGBUS */
	PROTO_READ,	  /* map [region_off, ...) for loads */
	PROTO_WRITE,	  /* for loads and stores */
	PROTO_ZERO,	  /* a hole: map zeroes, write-protected so that a store faults again */
	PROTO_BEHIND_EOF, /* no page of the file: a touch is a SIGBUS, until this is recalled */
};

struct proto_grant {
	struct proto_head head;
	uint32_t seq;
	uint32_t kind;
	int32_t status; /* of FAILED: -EIO, -ENOSPC, -EROFS, -EACCES, -ENOMEM, -ESTALE */
	uint32_t reserved;
	uint64_t pos, len;   /* of the file; holds the page that was touched */
	uint64_t region_off; /* of READ and WRITE */
};

/* Of a recall, its acknowledgement, a LATE in answer to that, and of RETURN (seq 0). */
struct proto_range {
	struct proto_head head;
	uint32_t seq;
	uint32_t reserved;
	uint64_t pos, len; /* len UINT64_MAX: to the end */
};

/* SYNC and SYNCED; DETACH (seq 0). */
struct proto_plain {
	struct proto_head head;
	uint32_t seq;
	int32_t status;
};

union proto_message {
	struct proto_head head;
	struct proto_hello hello;
	struct proto_welcome welcome;
	struct proto_attach attach;
	struct proto_attached attached;
	struct proto_fault fault;
	struct proto_grant grant;
	struct proto_range range;
	struct proto_plain plain;
};

#endif
