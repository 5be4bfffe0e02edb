/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * report_page.h - what is the same in every page of report_html(): its style and its script.
 */
#ifndef UDAX_LAB_REPORT_PAGE_H
#define UDAX_LAB_REPORT_PAGE_H

extern const char report_page_style[];
extern const char report_page_script[]; /* stands in a CDATA section */

#endif
