/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * tool_direct.c - what a program that links libudax sees of a real mount.
 *
 *	tool_direct FILE VERB...	maps the first 16 MiB of FILE for loads and stores
 *
 *	store POS TEXT		with stores, made durable
 *	load POS TEXT		must be there; "" is zeroes
 *	bus POS			a touch must be a SIGBUS at that address
 *	sh COMMAND		must succeed; then faults must follow where it changed something
 *	faults			there were some since the last `faults`
 *	fork			go on in a child, and wait for it
 *	reattached		the file was attached again, and not lost
 *
 * At its end, and in each child, it proves that it ran direct (maps.h): what it touched last shows the region.
 */
#include <err.h>
#include <fcntl.h>
#include <libgen.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "maps.h"
#include "udax/udax.h"

#define LEN (16u << 20)

static char *base;
static sigjmp_buf jump;
static void *volatile bus_addr;

static void on_bus(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	bus_addr = info->si_addr;
	siglongjmp(jump, 1);
}

static char *at(const char *pos)
{
	return base + strtoul(pos, NULL, 0);
}

static void bus(char *p)
{
	struct sigaction action = { .sa_sigaction = on_bus, .sa_flags = SA_SIGINFO };

	sigaction(SIGBUS, &action, NULL);
	if (!sigsetjmp(jump, 1)) {
		*(volatile char *)p = 1;
		errx(1, "no SIGBUS");
	}
	if (bus_addr != p)
		errx(1, "SIGBUS at %p, not %p", bus_addr, (void *)p);
	signal(SIGBUS, SIG_DFL);
}

static void faults(void)
{
	static uint64_t before;
	struct udax_stats stats;

	udax_stats(&stats, sizeof(stats));
	if (stats.faults == before)
		errx(1, "no faults: %ju", (uintmax_t)before);
	before = stats.faults;
}

static void reattached(void)
{
	struct udax_stats stats;

	udax_stats(&stats, sizeof(stats));
	if (!stats.reconnects || stats.lost)
		errx(1, "reconnects %ju, lost %ju", (uintmax_t)stats.reconnects,
		     (uintmax_t)stats.lost);
}

static void in_child(void)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		err(1, "fork");
	if (!pid)
		return;
	if (waitpid(pid, &status, 0) != pid || status)
		errx(1, "the child ended with %#x", status);
	exit(0);
}

static void load(const char *pos, const char *text)
{
	if (strcmp(at(pos), text) != 0)
		errx(1, "at %s: not \"%s\" but \"%s\"", pos, text, at(pos));
}

static void ran_direct(char *file)
{
	const char *wrong;

	*(volatile char *)base = *(volatile char *)base;
	if (!udax_is_direct(base, LEN) || !maps_show(base, MAPS_REGION))
		errx(1, "not direct");
	if (maps_shared(file))
		errx(1, "mapped by the kernel");
	wrong = maps_prove(dirname(file));
	if (wrong)
		errx(1, "not direct: %s", wrong);
}

static int verb(char **args)
{
	if (!strcmp(args[0], "store") && args[1] && args[2]) {
		strcpy(at(args[1]), args[2]);
		if (udax_persist(at(args[1]), strlen(args[2]) + 1))
			err(1, "udax_persist");
		return 3;
	}
	if (!strcmp(args[0], "load") && args[1] && args[2])
		return load(args[1], args[2]), 3;
	if (!strcmp(args[0], "bus") && args[1])
		return bus(at(args[1])), 2;
	if (!strcmp(args[0], "sh") && args[1]) {
		if (system(args[1]))
			errx(1, "failed: %s", args[1]);
		return 2;
	}
	if (!strcmp(args[0], "faults"))
		return faults(), 1;
	if (!strcmp(args[0], "fork"))
		return in_child(), 1;
	if (!strcmp(args[0], "reattached"))
		return reattached(), 1;
	errx(2, "unknown verb: %s", args[0]);
}

int main(int argc, char **argv)
{
	int fd;

	if (argc < 3)
		errx(2, "usage: tool_direct FILE VERB...");
	fd = open(argv[1], O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0644);
	if (fd < 0)
		err(1, "%s", argv[1]);
	base = udax_mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (base == MAP_FAILED)
		errx(1, "%s: %s", argv[1], udax_reason_text(udax_why()));
	close(fd);
	for (char **args = argv + 2; *args;)
		args += verb(args);
	if (udax_msync(base, LEN, MS_SYNC))
		err(1, "%s", argv[1]);
	ran_direct(argv[1]);
	if (udax_munmap(base, LEN))
		err(1, "%s", argv[1]);
	return 0;
}
