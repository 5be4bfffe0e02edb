/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * matrix_show.c - the matrix for terminals, in Markdown, HTML and JSON.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "matrix.h"
#include "udax/policy.h"
#include "udaxlab.h"

static const struct matrix_row *row_at(const struct matrix *m, unsigned s, unsigned p)
{
	return &m->rows[s * m->npolicies + p];
}

/* What a cell says: the rule, "safe", or "?". */
static const char *cell_text(const struct matrix_row *row)
{
	if (!row->ran)
		return "?";
	if (row->result.broken)
		return row->result.rule;
	return row->result.finished ? "safe" : "safe?";
}

static void races_text(const struct scenario *sc, char *buf, size_t len)
{
	size_t n = 0;

	buf[0] = 0;
	for (unsigned i = 0; i < sc->nraces && n < len; i++)
		n += (size_t)snprintf(buf + n, len - n, "%s%u", i ? ", " : "", sc->races[i]);
}

static uint64_t total_interleavings(const struct matrix *m)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < m->nscenarios * m->npolicies; i++)
		n += m->rows[i].result.interleavings;
	return n;
}

static void summary(const struct matrix *m, FILE *out)
{
	char number[LAB_NUMBER_LEN];

	fprintf(out,
		"%u scenarios, %u policies, up to %u preemptions: %s interleavings in %.0f s, %u at a "
		"time\n",
		m->nscenarios, m->npolicies, m->preemptions,
		lab_number(total_interleavings(m), number), m->seconds, m->jobs);
}

int matrix_terminal(const struct matrix *m, FILE *out)
{
	unsigned width = 10;

	for (unsigned s = 0; s < m->nscenarios; s++)
		if (strlen(m->scenarios[s]->name) > width)
			width = (unsigned)strlen(m->scenarios[s]->name);
	for (unsigned p = 0; p < m->npolicies; p++) {
		const struct udax_policy *policy = m->policies[p];
		unsigned ncaught = 0, nsafe = 0, nunknown = 0;

		fprintf(out, "%s (%s)\n", policy->name, policy->sound ? "sound" : "unsound");
		for (unsigned s = 0; s < m->nscenarios; s++) {
			const struct matrix_row *row = row_at(m, s, p);
			char covered[160] = "", races[64];

			if (row->ran)
				lab_covered(&row->result, false, covered, sizeof(covered));
			races_text(m->scenarios[s], races, sizeof(races));
			fprintf(out, "  %-*s  %-10s %-24s %s\n", (int)width, m->scenarios[s]->name,
				races, cell_text(row),
				!row->ran	     ? row->why
				: row->result.broken ? row->result.text
						     : covered);
			ncaught += row->ran && row->result.broken;
			nsafe += row->ran && !row->result.broken && row->result.finished;
			nunknown += !row->ran || (!row->result.broken && !row->result.finished);
		}
		fprintf(out, "  %u safe, %u caught, %u unknown\n\n", nsafe, ncaught, nunknown);
	}
	summary(m, out);
	return ferror(out) ? LAB_ERROR : 0;
}

int matrix_markdown(const struct matrix *m, FILE *out)
{
	fputs("# What the lab says\n\nWritten by `udaxlab matrix --markdown FILE`: each scenario under each "
	      "policy. *safe*: nothing was found, and everything within the bound was searched; **a rule**: it "
	      "is broken in some interleaving; ?: not searched to its end. The rows are those of "
	      "[RACES.md](RACES.md).\n\n",
	      out);
	fputs("| scenario | rows |", out);
	for (unsigned p = 0; p < m->npolicies; p++)
		fprintf(out, " %s |", m->policies[p]->name);
	fputs("\n|---|---|", out);
	for (unsigned p = 0; p < m->npolicies; p++)
		fputs("---|", out);
	fputc('\n', out);
	for (unsigned s = 0; s < m->nscenarios; s++) {
		char races[64];

		races_text(m->scenarios[s], races, sizeof(races));
		fprintf(out, "| %s | %s |", m->scenarios[s]->name, races);
		for (unsigned p = 0; p < m->npolicies; p++) {
			const struct matrix_row *row = row_at(m, s, p);

			fprintf(out, row->ran && row->result.broken ? " **%s** |" : " %s |",
				cell_text(row));
		}
		fputc('\n', out);
	}
	fputs("\nSound: ", out);
	for (unsigned p = 0, n = 0; p < m->npolicies; p++)
		if (m->policies[p]->sound)
			fprintf(out, "%s%s", n++ ? ", " : "", m->policies[p]->name);
	fputs(".\n\n", out);
	summary(m, out);
	return ferror(out) ? LAB_ERROR : 0;
}

static void html_text(const char *text, FILE *out)
{
	for (; *text; text++) {
		if (*text == '<')
			fputs("&lt;", out);
		else if (*text == '&')
			fputs("&amp;", out);
		else if (*text == '"')
			fputs("&quot;", out);
		else
			fputc(*text, out);
	}
}

static void html_cell(const struct matrix *m, const struct matrix_row *row, FILE *out)
{
	char covered[160];

	lab_covered(&row->result, false, covered, sizeof(covered));
	fprintf(out, "<td class=\"%s\" title=\"", matrix_verdict(row));
	html_text(m->scenarios[row->scenario]->title, out);
	fputs("&#10;", out);
	html_text(!row->ran ? row->why : row->result.broken ? row->result.text : covered, out);
	fputs("\">", out);
	html_text(cell_text(row), out);
	fputs("</td>", out);
}

int matrix_html(const struct matrix *m, FILE *out)
{
	fputs("<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>udaxlab: scenarios "
	      "and policies</title><style>:root{color-scheme:light dark}body{font:14px "
	      "system-ui,sans-serif;margin:2em}table{border-collapse:collapse}th,td{padding:.25em "
	      ".6em;border:1px solid #8885;text-align:left}thead th{position:sticky;top:0;background:"
	      "Canvas}.safe{color:#2a7}.caught{background:#d334;font-weight:600}.unknown{color:#888}"
	      "</style><h1>Scenarios and policies</h1><table><thead><tr><th>scenario<th>rows",
	      out);
	for (unsigned p = 0; p < m->npolicies; p++)
		fprintf(out, "<th>%s%s", m->policies[p]->name,
			m->policies[p]->sound ? "" : "<br><small>unsound</small>");
	fputs("</thead><tbody>", out);
	for (unsigned s = 0; s < m->nscenarios; s++) {
		char races[64];

		races_text(m->scenarios[s], races, sizeof(races));
		fputs("<tr><th>", out);
		html_text(m->scenarios[s]->name, out);
		fprintf(out, "<td>%s", races);
		for (unsigned p = 0; p < m->npolicies; p++)
			html_cell(m, row_at(m, s, p), out);
		fputs("</tr>\n", out);
	}
	fputs("</tbody></table><p>", out);
	summary(m, out);
	fputs("</html>\n", out);
	return ferror(out) ? LAB_ERROR : 0;
}

static json_t *row_json(const struct matrix *m, const struct matrix_row *row)
{
	const struct scenario *sc = m->scenarios[row->scenario];
	json_t *object = json_object(), *races = json_array();

	for (unsigned i = 0; i < sc->nraces; i++)
		cli_append(races, json_integer(sc->races[i]));
	cli_set_string(object, "scenario", sc->name);
	cli_set(object, "races", races);
	cli_set_string(object, "policy", m->policies[row->policy]->name);
	cli_set_bool(object, "sound", m->policies[row->policy]->sound);
	cli_set_string(object, "verdict", matrix_verdict(row));
	cli_set_string(object, "rule", row->result.rule);
	cli_set_string(object, "text", row->ran ? row->result.text : row->why);
	cli_set_string(object, "schedule", row->result.schedule);
	cli_set_uint(object, "interleavings", row->result.interleavings);
	cli_set_uint(object, "preemptions", row->result.preemptions);
	cli_set_bool(object, "exhaustive", row->ran && row->result.finished);
	cli_set(object, "seconds", json_real(row->result.seconds));
	return object;
}

int matrix_json(const struct matrix *m)
{
	json_t *object = cli_json(), *rows = json_array();

	for (unsigned i = 0; i < m->nscenarios * m->npolicies; i++)
		cli_append(rows, row_json(m, &m->rows[i]));
	cli_set(object, "rows", rows);
	cli_set_uint(object, "preemptions", m->preemptions);
	cli_set(object, "seconds", json_real(m->seconds));
	return cli_print_json(object);
}
