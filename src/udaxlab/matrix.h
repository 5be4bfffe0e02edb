/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * matrix.h - every scenario under every policy: the rows, and how they are shown.
 */
#ifndef UDAX_UDAXLAB_MATRIX_H
#define UDAX_UDAXLAB_MATRIX_H

#include <stdio.h>

#include "explore.h"
#include "scenario.h"

struct udax_policy;

struct matrix_row {
	unsigned scenario, policy; /* indices */
	bool ran;		   /* else `why` says why not */
	char why[160];
	struct explore_result result;
};

struct matrix {
	unsigned nscenarios, npolicies;
	struct scenario **scenarios;
	const struct udax_policy **policies;
	struct matrix_row *rows; /* by scenario, then policy */
	unsigned preemptions;
	double seconds;
	unsigned jobs;
};

/** matrix_verdict - of a row: "safe", "caught", "unknown". */
const char *matrix_verdict(const struct matrix_row *row);

/* How it is shown; 0, or LAB_ERROR after a message. */
int matrix_terminal(const struct matrix *m, FILE *out);
int matrix_markdown(const struct matrix *m, FILE *out);
int matrix_html(const struct matrix *m, FILE *out);
int matrix_json(const struct matrix *m);

#endif
