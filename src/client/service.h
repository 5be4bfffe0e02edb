/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * service.h - the thread that owns a process's direct mappings. See client.h.
 */
#ifndef UDAX_CLIENT_SERVICE_H
#define UDAX_CLIENT_SERVICE_H

struct client;

/**
 * service_start - a client for this process, with its threads. With @parent, after fork: takes over
 * its mappings and frees it; @inherit is the socket with its files, or -1, in the caller's table.
 * -errno: there is none (ENOSYS, EPERM: no userfaultfd; EINVAL: one that is too old; ENOMEM, EAGAIN).
 */
int service_start(struct client *parent, int inherit, struct client **ret_client);

#endif
