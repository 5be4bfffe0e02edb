/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * report.h - where a counterexample goes.
 */
#ifndef UDAX_UDAXLAB_REPORT_H
#define UDAX_UDAXLAB_REPORT_H

struct trace;

/** Files to be written; NULL: not that one. */
struct report_files {
	const char *html, *svg, *chrome;
};

/** report_terminal - to stdout, as wide as the terminal. 0, or LAB_ERROR after a message. */
int report_terminal(const struct trace *trace);

/** report_write - all files asked for. 0, or LAB_ERROR after a message. */
int report_write(const struct trace *trace, const struct report_files *files);

#endif
