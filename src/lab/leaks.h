/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * leaks.h - whether the core has given back what it took: rule "leak".
 */
#ifndef UDAX_LAB_LEAKS_H
#define UDAX_LAB_LEAKS_H

#include "world.h"

/**
 * leaks_check - end a complete run as the daemon ends: clients detach, files are closed, inodes put, the
 * volume is unmounted. Breaks the rule "leak" when a reference, or memory, is left then. Afterwards only
 * the next run's beginning makes the world whole again.
 */
void leaks_check(struct world *w);

#endif
