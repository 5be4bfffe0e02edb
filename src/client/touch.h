/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * touch.h - a page was touched that is not mapped: ask the daemon, map what it grants, wake.
 *
 * A FAULT asks for as much as could be mapped in one piece: the 2 MiB of the file around the page, cut
 * to the mapping, to what is mapped already, and to what is being asked for. Threads that touch pages
 * of a range that was asked for wait with it; when the answer was about less, or about loads only,
 * they touch again.
 *
 * In a mapping for loads and stores a piece that only loads may use does not exist, because the kernel
 * would answer the store with SIGSEGV instead of telling us: a load there is asked for as a load first, so
 * that it fills no holes, and again as a store if there are blocks.
 *
 * The service's.
 */
#ifndef UDAX_CLIENT_TOUCH_H
#define UDAX_CLIENT_TOUCH_H

#include <stdbool.h>
#include <stdint.h>

#include "proto.h"

struct call;
struct client;
struct conn;
struct file;
struct mapping;

#define INFLIGHT_MAX 256u

/** A FAULT without an answer. */
struct pending {
	struct pending *next;
	uint32_t seq;
	bool write;
	uint64_t addr;	 /* that was touched */
	uint64_t lo, hi; /* addresses of the range that was asked for */
	uint64_t pos;	 /* of addr, in the file */
};

/** touch - the page at @addr was touched. */
void touch(struct client *client, uint64_t addr, bool write);

/** touch_granted - the answer. 0, or -EBADMSG. */
int touch_granted(struct client *client, struct conn *conn, const struct proto_grant *msg);

/** touch_forget - no answer will come for @file any more. */
void touch_forget(struct client *client, struct file *file);

/** touch_wake_file - everybody who waits in a mapping of it touches again. */
void touch_wake_file(struct client *client, struct file *file);

/**
 * populate_start - have all pages of the call's [addr, addr + len) mapped, for stores if it says
 * so; answers the call with @result, or an error, at once or later.
 */
void populate_start(struct client *client, struct call *call, int64_t result);

/** populate_step - go on with all of them, after something has changed. */
void populate_step(struct client *client);

#endif
