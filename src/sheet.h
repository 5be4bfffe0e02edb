/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * sheet.h - what reports are written on: a stream that remembers its first error, and the ways to
 * write a string of which nobody knows what is in it.
 *
 * Names and titles come from scenarios that others wrote. Bytes that are no UTF-8, control
 * characters and those that turn the direction of writing become U+FFFD, or '?' in ASCII.
 * After the first error nothing more is written. One thread.
 */
#ifndef UDAX_SHEET_H
#define UDAX_SHEET_H

#include <stddef.h>
#include <stdio.h>

struct sheet {
	FILE *out;
	int err;
};

/** sheet_printf - @format must hold nothing that needs escaping, nor may what it inserts. */
void sheet_printf(struct sheet *sheet, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/** sheet_xml - @text as content or attribute value in XML and HTML. */
void sheet_xml(struct sheet *sheet, const char *text);

/** sheet_xml_part - the same of its first @len bytes, 255 at most. */
void sheet_xml_part(struct sheet *sheet, const char *text, size_t len);

/** sheet_json - @text as a JSON string with its quotes, in ASCII, harmless inside a <script> too. */
void sheet_json(struct sheet *sheet, const char *text);

/** sheet_finish - flush. 0, or -errno of the first write that failed. */
int sheet_finish(struct sheet *sheet);

/** sheet_ascii - @text into @buf, one '?' for each character that is not printable ASCII. Cut at @len. */
void sheet_ascii(const char *text, char *buf, size_t len);

/**
 * sheet_wrap - how many bytes of @text stand on a line of @width characters (at least one): up to a
 * blank, if there is one behind its first third. *@ret_next: where the next line begins.
 */
size_t sheet_wrap(const char *text, size_t width, const char **ret_next);

#endif
