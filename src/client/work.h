/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * work.h - what the service does for the program's calls: map, unmap, protect, move, synchronise.
 *
 * The service's.
 */
#ifndef UDAX_CLIENT_WORK_H
#define UDAX_CLIENT_WORK_H

struct call;
struct client;
struct file;

/** work_take - do, or begin, all calls that are posted. */
void work_take(struct client *client);

/** work_map - CALL_MAP, whose file is attached. */
void work_map(struct client *client, struct call *call, struct file *file);

/** work_refuse - CALL_MAP cannot be direct: -errno of the attempt to attach. */
void work_refuse(struct client *client, struct call *call, int err);

#endif
