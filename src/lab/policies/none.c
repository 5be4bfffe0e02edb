/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * none.c - nothing keeps faults and layout changes apart.
 *
 * History: DAX as it was merged, in Linux 4.0 (d475c6346a38), where faults relied on a page lock that they
 * did not have. A fault locks nothing. A layout change takes back what is mapped, once, and goes on.
 *
 * Refuted by rows 16 and 17 (a fault maps the old block again before it is freed), 56 (a fault that had
 * looked it up before), and all that come of these.
 */
#include "policies.h"

#include <stddef.h>

#include "gate.h"

static int layout_enter(struct layout_change *change, const struct sync_site *site)
{
	int err = invalidate_once(change, NULL, site);

	return err ? err : begin_alone(change, site);
}

const struct udax_policy policy_none = {
	.name = "none",
	.summary = "nothing is locked: a fault maps a block that a punch is about to free (row 16)",
	.fault_enter = fault_enter_unlocked,
	.fault_exit = fault_exit_unlocked,
	.fill_enter = gate_admit,
	.fill_exit = gate_leave,
	.layout_enter = layout_enter,
	.layout_exit = change_iounlock,
};
