/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * broken_recall.c - a daemon that takes every eighth recall for answered, and does not send it: its clients keep
 * what they have mapped, and the blocks are moved or freed all the same. For tests/direct_storm.sh, which must
 * find that out.
 */
#include <stdatomic.h>

#include "grant.h"
#include "inode.h"
#include "sync.h"

#define MAX_CLIENTS 64u

int __real_grant_recall(struct inode *inode, uint64_t pos, uint64_t end, uint64_t deadline);
int __wrap_grant_recall(struct inode *inode, uint64_t pos, uint64_t end, uint64_t deadline);

int __wrap_grant_recall(struct inode *inode, uint64_t pos, uint64_t end, uint64_t deadline)
{
	static atomic_uint nrecalls;
	struct attachment *all[MAX_CLIENTS];
	struct holder *holder = holder_of(inode);
	unsigned n = 0;

	if (atomic_fetch_add(&nrecalls, 1) % 8)
		return __real_grant_recall(inode, pos, end, deadline);
	sync_lock(&holder->lock, 0, HERE);
	for (struct attachment *att = holder->attachments; att && n < MAX_CLIENTS; att = att->next)
		all[n++] = att;
	sync_unlock(&holder->lock, HERE);
	while (n)
		grant_returned(all[--n], pos, end - pos);
	return 0;
}
