/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * tool_facts.c - run one of the experiments of facts.h or facts_memory.h; for mount_facts.sh.
 *
 *	tool_facts --list		those of facts.h: name, what it says, the outcome that is wanted, between tabs
 *	tool_facts mount NAME DIR [RUNS]	on a mount at DIR: each outcome once, one a line
 *	tool_facts lab NAME		in the lab: likewise, of all interleavings
 *	tool_facts --list-memory	those of facts_memory.h; behind the outcome: scenario, protection ("-": none)
 *	tool_facts memory NAME		on this kernel: the outcome
 */
#include "facts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "facts_memory.h"

static const struct fact *find(const char *name)
{
	for (unsigned i = 0; i < nfacts; i++)
		if (strcmp(facts[i].name, name) == 0)
			return &facts[i];
	return NULL;
}

static int list(void)
{
	for (unsigned i = 0; i < nfacts; i++)
		printf("%s\t%s\t%s\n", facts[i].name, facts[i].says, facts[i].wanted);
	return 0;
}

static int list_memory(void)
{
	for (unsigned i = 0; i < nmemory_facts; i++) {
		const struct memory_fact *fact = &memory_facts[i];

		printf("%s\t%s\t%s\t%s\t%s\n", fact->name, fact->says, fact->wanted,
		       fact->scenario ? fact->scenario : "-", fact->without ? fact->without : "-");
	}
	return 0;
}

static int run_memory(const char *name)
{
	for (unsigned i = 0; i < nmemory_facts; i++)
		if (strcmp(memory_facts[i].name, name) == 0)
			return puts(memory_facts[i].run()) < 0;
	return 2;
}

int main(int argc, char **argv)
{
	const struct fact *fact = argc > 2 ? find(argv[2]) : NULL;

	if (argc == 2 && strcmp(argv[1], "--list") == 0)
		return list();
	if (argc == 2 && strcmp(argv[1], "--list-memory") == 0)
		return list_memory();
	if (argc == 3 && strcmp(argv[1], "memory") == 0)
		return run_memory(argv[2]);
	if (fact && argc == 3 && strcmp(argv[1], "lab") == 0)
		return fact_in_lab(fact);
	if (fact && argc >= 4 && strcmp(argv[1], "mount") == 0)
		return fact_on_mount(fact, argv[3],
				     argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 1);
	fprintf(stderr,
		"usage: tool_facts --list | --list-memory | mount NAME DIR [RUNS] | lab NAME | "
		"memory NAME\n");
	return 2;
}
