/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * trap.c - see trap.h. assert() calls __assert_fail(), which this program has instead of the C library.
 *
 * A signal is taken on a stack of its own. Its handler never returns: the scheduler goes on as after any
 * broken rule, on its own stack, and the task that was interrupted is forgotten. So the handler must not
 * block its signal.
 */
#include "trap.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define STACK_BYTES 65536

static _Thread_local struct sched *trapped;

void __assert_fail(const char *assertion, const char *file, unsigned line, const char *function)
{
	struct sched *s = trapped;

	if (s && s->current) {
		struct sync_site site = { file, (int)line };

		s->quiet = false;
		sched_fail(s, &site, "assertion", "%s: %s (%s:%u)", function, assertion, file,
			   line);
	}
	fprintf(stderr, "%s:%u: %s: Assertion `%s' failed.\n", file, line, function, assertion);
	abort();
}

static void on_signal(int sig)
{
	struct sched *s = trapped;

	if (s && s->current) {
		s->quiet = false;
		sched_fail(s, NULL, "wild-access", "the core has touched memory that is not there");
	}
	signal(sig, SIG_DFL); /* and again */
}

void trap_set(struct sched *s)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE };
	struct sigaction action = { .sa_handler = s ? on_signal : SIG_DFL,
				    .sa_flags = SA_NODEFER | SA_ONSTACK };
	stack_t stack = { .ss_size = STACK_BYTES };

	trapped = s;
	if (s) {
		static _Thread_local char memory[STACK_BYTES];

		stack.ss_sp = memory;
		sigaltstack(&stack, NULL);
	}
	sigemptyset(&action.sa_mask);
	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &action, NULL);
}
