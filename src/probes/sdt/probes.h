/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * probes.h - USDT probes, where <sys/sdt.h> of systemtap-sdt-dev was there when this was built. Each is one
 * nop in the code, and a note in the ELF file that says where its arguments stand (docs/WATCHING.md).
 * probes/none/probes.h is the variant without.
 */
#ifndef UDAX_PROBES_H
#define UDAX_PROBES_H

#include <sys/sdt.h>

/** PROBE6 - the probe @name of the provider udaxfs, with six arguments: integers, or pointers. */
#define PROBE6(name, a, b, c, d, e, f) DTRACE_PROBE6(udaxfs, name, a, b, c, d, e, f)

#endif
