/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * cli.c - see cli.h.
 */
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static const char *program = "udaxfs";

void cli_program(const char *name)
{
	program = name;
}

int cli_error(const char *fmt, ...)
{
	va_list args;

	fflush(stdout);
	fprintf(stderr, "%s: ", program);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	return EXIT_FAILURE;
}

/* ---- sizes ------------------------------------------------------------------------------------ */

static const char units[] = "KMGTP";

int cli_parse_bytes(const char *text, uint64_t *ret_bytes)
{
	unsigned long long n;
	unsigned shift = 0;
	const char *unit;
	char *end;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno)
		return -ERANGE;
	unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
	if (unit) {
		shift = 10 * (unsigned)(unit - units + 1);
		end++;
		if (strcasecmp(end, "iB") == 0 || strcasecmp(end, "B") == 0)
			end = "";
	}
	if (*end)
		return -EINVAL;
	if (n > UINT64_MAX >> shift)
		return -ERANGE;
	*ret_bytes = (uint64_t)n << shift;
	return 0;
}

const char *cli_bytes(uint64_t bytes, char buf[CLI_BYTES_LEN])
{
	double n = (double)bytes;
	int unit = -1;

	while (n >= 1024 && units[unit + 1]) {
		n /= 1024;
		unit++;
	}
	if (unit < 0)
		snprintf(buf, CLI_BYTES_LEN, "%llu bytes", (unsigned long long)bytes);
	else if (n == (double)(uint64_t)n)
		snprintf(buf, CLI_BYTES_LEN, "%.0f %ciB", n, units[unit]);
	else
		snprintf(buf, CLI_BYTES_LEN, "%.1f %ciB", n, units[unit]);
	return buf;
}

/* ---- words ------------------------------------------------------------------------------------ */

const char *cli_durability(enum durability domain)
{
	switch (domain) {
	case DURABILITY_PMEM:
		return "pmem: what was written survives power loss";
	case DURABILITY_FILE:
		return "file: what was written survives power loss, at the price of an msync each time";
	case DURABILITY_VOLATILE:
		return "volatile: what was written survives the daemon, not the machine";
	}
	return "?";
}

const char *cli_process(int pid, char buf[CLI_PROCESS_LEN])
{
	char path[32], name[32] = "";
	FILE *f;

	if (pid <= 0)
		return "another process";
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	f = fopen(path, "re");
	if (f) {
		if (!fgets(name, sizeof(name), f))
			name[0] = '\0';
		fclose(f);
		name[strcspn(name, "\n")] = '\0';
	}
	if (name[0])
		snprintf(buf, CLI_PROCESS_LEN, "process %d (%s)", pid, name);
	else
		snprintf(buf, CLI_PROCESS_LEN, "process %d", pid);
	return buf;
}

/* ---- JSON ------------------------------------------------------------------------------------- */

static void need(bool done)
{
	if (!done)
		exit(cli_error("out of memory"));
}

json_t *cli_json(void)
{
	json_t *object = json_object();

	need(object);
	cli_set_uint(object, "schema_version", CLI_SCHEMA_VERSION);
	return object;
}

void cli_set(json_t *object, const char *key, json_t *value)
{
	need(json_object_set_new(object, key, value) == 0);
}

void cli_set_uint(json_t *object, const char *key, uint64_t value)
{
	cli_set(object, key, json_integer((json_int_t)value));
}

void cli_set_bool(json_t *object, const char *key, bool value)
{
	cli_set(object, key, json_boolean(value));
}

/* A JSON string is UTF-8, a path or label any bytes: those that do not fit in become U+FFFD. */
void cli_set_string(json_t *object, const char *key, const char *value)
{
	json_t *string = json_string(value);
	char *clean, *to;

	if (!string) {
		clean = malloc(3 * strlen(value) + 1);
		need(clean);
		to = clean;
		for (const char *c = value; *c; c++)
			to = (unsigned char)*c < 0x80 ? (*to = *c, to + 1)
						      : stpcpy(to, "\xef\xbf\xbd");
		*to = '\0';
		string = json_string(clean);
		free(clean);
	}
	cli_set(object, key, string);
}

void cli_append(json_t *array, json_t *value)
{
	need(json_array_append_new(array, value) == 0);
}

int cli_print_json(json_t *object)
{
	int failed = json_dumpf(object, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);

	json_decref(object);
	putchar('\n');
	if (failed || fflush(stdout) || ferror(stdout))
		return cli_error("cannot write to standard output");
	return EXIT_SUCCESS;
}
