/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fork.h - the mappings of a child.
 *
 * A child inherits nothing of a direct mapping: not the pieces, which it was never granted, and not
 * the reservations, whose registration does not travel; there are holes. So around fork(2)
 *
 *	prepare		the service stops changing mappings (faults and recalls go on), and leaves
 *			duplicates of the files in a socket that the child inherits
 *	parent		the service goes on
 *	child		new threads; the records of the parent, which the child has a copy of, are
 *			read, and every mapping is reserved again at its place. A file is attached when a page
 *			of it is touched.
 *
 * The duplicates travel in a socket because the service's descriptors are in no table that a child
 * gets, and because closing them in the program's table would release its POSIX locks.
 *
 * A child made by other means (clone(2), vfork(2)) has holes where mappings were, and no service.
 */
#ifndef UDAX_CLIENT_FORK_H
#define UDAX_CLIENT_FORK_H

struct client;

/** fork_leave_files - send all files' descriptors into socket @fd of thread @tid. The service. */
void fork_leave_files(struct client *client, int tid, int fd);

/**
 * fork_hold_places - in a new child, before anything else is mapped: occupy the places where @parent
 * had mappings. Where that fails somebody else's memory is, and the process ends.
 */
void fork_hold_places(const struct client *parent);

/** fork_adopt - make the mappings of client->parent. The child's service, before it serves. */
void fork_adopt(struct client *client);

#endif
