/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * sigbus.h - a SIGBUS on the region becomes EIO for that range, not the daemon's death.
 */
#ifndef UDAX_SIGBUS_H
#define UDAX_SIGBUS_H

struct region;

/**
 * sigbus_contain - from now on a SIGBUS at an address in @region is contained (region_sigbus()) and
 * the access repeated; any other one ends the process as usual. NULL: none is contained. One
 * region a process; call it before the first access, and with NULL before region_close().
 */
void sigbus_contain(struct region *region);

#endif
