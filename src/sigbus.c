/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * sigbus.c - the one signal handler of the daemon.
 *
 * Signal handlers belong to the process and get no argument, so this is the one place that keeps a
 * global: which region the process serves. The handler only asks region_sigbus(), which is
 * async-signal-safe. What is not in the region is a bug of ours: the default action is restored,
 * and the access, repeated on return, ends the process with the right address in the core dump.
 */
#include "sigbus.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>

#include "region.h"

static struct region *_Atomic contained;

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	struct region *region = atomic_load(&contained);

	(void)context;
	if (region && region_sigbus(region, info->si_addr))
		return;
	signal(sig, SIG_DFL);
}

void sigbus_contain(struct region *region)
{
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };

	atomic_store(&contained, region);
	if (!region)
		action = (struct sigaction){ .sa_handler = SIG_DFL };
	sigemptyset(&action.sa_mask);
	sigaction(SIGBUS, &action, NULL);
}
