/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * policies.h - the policies that are not the core's.
 */
#ifndef UDAX_LAB_POLICIES_H
#define UDAX_LAB_POLICIES_H

#include "udax/policy.h"

extern const struct udax_policy policy_range;

#endif
