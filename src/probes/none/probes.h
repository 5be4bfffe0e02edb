/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * probes.h - no USDT probes: there was no <sys/sdt.h> when this was built. See probes/sdt/probes.h.
 */
#ifndef UDAX_PROBES_H
#define UDAX_PROBES_H

#define PROBE6(name, a, b, c, d, e, f)                                                             \
	((void)(a), (void)(b), (void)(c), (void)(d), (void)(e), (void)(f))

#endif
