/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * sheet.c - a stream that remembers its first error, and escaping.
 */
#include "sheet.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define REPLACEMENT 0xfffdu

static void keep_error(struct sheet *sheet)
{
	if (!sheet->err)
		sheet->err = errno ? -errno : -EIO;
}

void sheet_printf(struct sheet *sheet, const char *format, ...)
{
	va_list ap;

	if (sheet->err)
		return;
	va_start(ap, format);
	errno = 0;
	if (vfprintf(sheet->out, format, ap) < 0)
		keep_error(sheet);
	va_end(ap);
}

static void put_bytes(struct sheet *sheet, const char *bytes, size_t len)
{
	if (sheet->err)
		return;
	errno = 0;
	if (fwrite(bytes, 1, len, sheet->out) != len)
		keep_error(sheet);
}

int sheet_finish(struct sheet *sheet)
{
	errno = 0;
	if (!sheet->err && fflush(sheet->out))
		keep_error(sheet);
	return sheet->err;
}

/* What may stand in XML 1.0, less what would not be seen, or would turn what stands beside it. */
static bool is_fit(uint32_t c)
{
	if (c < 0x20)
		return c == '\t' || c == '\n' || c == '\r';
	return !(c >= 0x7f && c <= 0x9f) && !(c >= 0xd800 && c <= 0xdfff) &&
	       !(c >= 0x2028 && c <= 0x202e) && !(c >= 0x2066 && c <= 0x2069) &&
	       (c & 0xfffe) != 0xfffe && c <= 0x10ffff;
}

/* The next character of *@text, which is moved behind it; 0 at the end. */
static uint32_t next_char(const char **text)
{
	static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };
	const unsigned char *p = (const unsigned char *)*text;
	unsigned more = 0, n;
	uint32_t c = *p;

	if (!c)
		return 0;
	if (c >= 0xf0 && c < 0xf8)
		more = 3;
	else if (c >= 0xe0 && c < 0xf0)
		more = 2;
	else if (c >= 0xc0 && c < 0xe0)
		more = 1;
	else if (c >= 0x80)
		c = REPLACEMENT;
	if (more)
		c &= 0x3fu >> more;
	for (n = 1; n <= more && (p[n] & 0xc0) == 0x80; n++)
		c = c << 6 | (p[n] & 0x3f);
	*text += n;
	if (n <= more || c < least[more] || !is_fit(c))
		return REPLACEMENT;
	return c;
}

static void put_utf8(struct sheet *sheet, uint32_t c)
{
	static const unsigned char lead[] = { 0, 0xc0, 0xe0, 0xf0 };
	char bytes[4];
	unsigned more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;

	for (unsigned n = more; n > 0; n--) {
		bytes[n] = (char)(0x80 | (c & 0x3f));
		c >>= 6;
	}
	bytes[0] = (char)(lead[more] | c);
	put_bytes(sheet, bytes, more + 1);
}

void sheet_xml(struct sheet *sheet, const char *text)
{
	uint32_t c;

	while ((c = next_char(&text))) {
		if (c < 0x20 || strchr("<>&\"'", (int)c))
			sheet_printf(sheet, "&#%u;", c);
		else
			put_utf8(sheet, c);
	}
}

void sheet_xml_part(struct sheet *sheet, const char *text, size_t len)
{
	char part[256];

	snprintf(part, sizeof(part), "%.*s", (int)len, text);
	sheet_xml(sheet, part);
}

void sheet_json(struct sheet *sheet, const char *text)
{
	uint32_t c;

	put_bytes(sheet, "\"", 1);
	while ((c = next_char(&text))) {
		if (c >= 0x10000)
			sheet_printf(sheet, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
				     0xdc00 + (c & 0x3ff));
		else if (c < 0x20 || c >= 0x7f || strchr("<>&\"'\\", (int)c))
			sheet_printf(sheet, "\\u%04x", c);
		else
			put_utf8(sheet, c);
	}
	put_bytes(sheet, "\"", 1);
}

void sheet_ascii(const char *text, char *buf, size_t len)
{
	uint32_t c;

	for (; len > 1 && (c = next_char(&text)); len--)
		*buf++ = c < 0x20 || c >= 0x7f ? '?' : (char)c;
	*buf = '\0';
}

/* Bytes of the first @width characters of @text, or of all. */
static size_t bytes_of(const char *text, size_t width)
{
	size_t n = 0;

	while (text[n] && (width || (text[n] & 0xc0) == 0x80)) {
		width -= (text[n] & 0xc0) != 0x80;
		n++;
	}
	return n;
}

size_t sheet_wrap(const char *text, size_t width, const char **ret_next)
{
	const size_t len = bytes_of(text, width);
	size_t cut = len;

	*ret_next = text + len;
	if (!text[len])
		return len;
	while (cut > len / 3 && text[cut] != ' ')
		cut--;
	if (text[cut] != ' ')
		return len;
	for (*ret_next = text + cut; **ret_next == ' ';)
		++*ret_next;
	return cut;
}
