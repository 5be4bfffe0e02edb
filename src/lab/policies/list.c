/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * list.c - the policies by name: for `udaxfs -o mmaplock=`, which takes the sound ones, and for the lab,
 * which takes all. The core knows the default only.
 */
#include <string.h>

#include "policies.h"

static const struct udax_policy *const policies[] = {
	&policy_mmaplock,
	&policy_range,
	&policy_entry,
	&policy_page_eof,
	&policy_imapping,
	&policy_fault_zeroing,
	&policy_invalidate_late,
	&policy_release_early,
	&policy_notify_under_lock,
	&policy_none,
	NULL,
};

const struct udax_policy *const *policy_list(void)
{
	return policies;
}

const struct udax_policy *policy_find(const char *name)
{
	for (const struct udax_policy *const *policy = policies; *policy; policy++)
		if (strcmp((*policy)->name, name) == 0)
			return *policy;
	return NULL;
}
