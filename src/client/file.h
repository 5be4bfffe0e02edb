/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * file.h - the files that are mapped: attached, recalled, given back, detached, lost and found.
 *
 *	IDLE		has no token; nobody needed one yet (after fork)
 *	ASKING		the clerk gets a token from the mount
 *	CONNECTING	has a token; the connection is not ready
 *	ATTACHING	ATTACH is sent
 *	ATTACHED
 *	WAITING		it did not work; again at retry_ns
 *	DEAD		it did not work until deadline_ns: every touch is a SIGBUS
 *
 * A file stays as long as a mapping of it or a call that waits for it. However often it is mapped, it
 * is attached once; twice when it was attached for reading and is then wanted for writing. One that
 * loses its connection takes all of its pieces back and starts again at ASKING; who touches it
 * meanwhile waits.
 *
 * A duplicate of the program's descriptor is kept for that (the program may close its own), and for
 * the children of a fork. If the mount is another one by then, the file is opened by the path that
 * it had, and taken when volume, inode and generation are the same. A daemon whose granule is larger
 * than the one before cannot serve its mappings: then the file is lost.
 *
 * The service's.
 */
#ifndef UDAX_CLIENT_FILE_H
#define UDAX_CLIENT_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "proto.h"

struct call;
struct chore;
struct client;
struct conn;

enum file_state { IDLE, ASKING, CONNECTING, ATTACHING, ATTACHED, WAITING, DEAD };

struct file {
	struct file *next;
	struct conn *conn;
	uint32_t id;
	enum file_state state;
	uint64_t dev, ino;
	uint64_t granule_bytes; /* what its mappings are multiples of, with or without a connection */
	bool writable;
	bool gone;	   /* wanted by nobody; freed when the clerk is done with it */
	bool found_before; /* has been attached: from now on it is found again, not new */
	bool identify;	   /* the clerk has yet to find out its path */
	unsigned chores;   /* that the clerk has */
	bool awaited;	   /* somebody may wait until its descriptor is closed */
	int fd;		   /* -1: none */
	uint64_t retry_ns, deadline_ns;
	uint8_t token[PROTO_TOKEN_BYTES];
	const struct file *from; /* the parent's record of it, while a child takes over */
	struct mapping *mappings;
	struct pending *pendings; /* FAULTs without an answer */
	struct owed *owed;	  /* recalls that could not be obeyed yet */
	bool take_back;		  /* all of it, before anything else */
	struct call *waiting;	  /* CALL_MAP */
	struct call *syncing;	  /* CALL_SYNC */
	/* what it is found by */
	bool identified;
	uint8_t uuid[16];
	uint32_t generation;
	char *path;
};

#define FILE_PATH_BYTES 1024

/** file_find - one that can serve; NULL. */
struct file *file_find(struct client *client, uint64_t dev, uint64_t ino, bool writable);

/** file_new - a file without descriptor, idle. NULL: no memory. */
struct file *file_new(struct client *client, uint64_t dev, uint64_t ino, bool writable);

/** file_attach - ATTACH it with a token: with @name, the daemon's socket. 0, -errno. */
int file_attach(struct client *client, struct file *file, const uint8_t *token, const char *name);

/** file_want - somebody needs it: have it attached, if that is not under way. */
void file_want(struct client *client, struct file *file);

/** file_release - free it, unless somebody needs it. */
void file_release(struct client *client, struct file *file);

/**
 * file_sync - a CALL_SYNC of its mappings: answered when the daemon has answered, be it one that has to be
 * found again first.
 */
void file_sync(struct client *client, struct file *file, struct call *call);

/** file_return - [@pos, @end) is not mapped here any more: RETURN what is not mapped elsewhere. */
void file_return(struct client *client, struct file *file, uint64_t pos, uint64_t end);

/** file_chore_done - the clerk has finished one. */
void file_chore_done(struct client *client, struct chore *chore);

/** files_thaw - answer the calls that a fork had to delay. */
void files_thaw(struct client *client);

/** files_tick - what is due now. Returns when something will be due, or 0. */
uint64_t files_tick(struct client *client, uint64_t now_ns);

/* Messages. 0, or -EBADMSG. */
void files_welcome(struct client *client, struct conn *conn);
int file_attached(struct client *client, struct conn *conn, const struct proto_attached *msg);
int file_recalled(struct client *client, struct conn *conn, const struct proto_range *msg);
int file_synced(struct client *client, struct conn *conn, const struct proto_plain *msg);
void files_lost(struct client *client, struct conn *conn);

/** file_by_id - of @conn; NULL. */
struct file *file_by_id(struct client *client, struct conn *conn, uint32_t id);

#endif
