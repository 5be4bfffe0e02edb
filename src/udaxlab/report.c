/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * report.c - see report.h.
 */
#include "report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli.h"
#include "trace.h"

#define MAIL_WIDTH 100u

int report_terminal(const struct trace *trace)
{
	struct winsize size;
	bool terminal = isatty(STDOUT_FILENO);
	unsigned width = MAIL_WIDTH;
	int err;

	if (terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > MAIL_WIDTH)
		width = size.ws_col;
	err = report_text(trace, width, terminal && !getenv("NO_COLOR"), stdout);
	return err ? cli_error("standard output: %s", strerror(-err)) : 0;
}

static int write_one(const struct trace *trace, const char *path,
		     int (*report)(const struct trace *trace, FILE *out))
{
	FILE *out = path ? fopen(path, "we") : NULL;
	int err;

	if (!path)
		return 0;
	if (!out)
		return cli_error("%s: %s", path, strerror(errno));
	err = report(trace, out);
	if (fclose(out) && !err)
		err = -errno;
	return err ? cli_error("%s: %s", path, strerror(-err)) : 0;
}

int report_write(const struct trace *trace, const struct report_files *files)
{
	int status = write_one(trace, files->html, report_html);

	if (!status)
		status = write_one(trace, files->svg, report_svg);
	if (!status)
		status = write_one(trace, files->chrome, report_chrome);
	return status;
}
