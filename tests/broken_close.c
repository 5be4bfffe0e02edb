/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * broken_close.c - a daemon whose gates do not stay closed: when the clients have answered, a gate stands on nothing
 * any more, so that it neither keeps faults away nor finds what they were granted meanwhile, and the layout
 * changes beneath them. For tests/direct_storm.sh, which must find that out.
 */
#include "gate.h"
#include "inode.h"
#include "sync.h"

void __real_gate_recall_wait(struct inode *inode, struct gate *gate, uint64_t deadline);
void __wrap_gate_recall_wait(struct inode *inode, struct gate *gate, uint64_t deadline);

void __wrap_gate_recall_wait(struct inode *inode, struct gate *gate, uint64_t deadline)
{
	struct holder *holder = holder_of(inode);

	__real_gate_recall_wait(inode, gate, deadline);
	sync_lock(&holder->lock, 0, HERE);
	gate->end = gate->pos;
	holder_unlock_and_resume(inode, holder, HERE);
}
