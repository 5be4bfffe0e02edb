/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * facts_memory.h - what libudax takes for granted of the kernel's memory management, as experiments on this
 * kernel. What libudax makes of it is a few steps of the lab's clients (src/lab/client.c), so the lab's side is a
 * scenario, from which a protection may be taken away. Both say in the same words what comes of it: "safe", or
 * the name of the rule that is broken.
 */
#ifndef UDAX_TESTS_FACTS_MEMORY_H
#define UDAX_TESTS_FACTS_MEMORY_H

struct memory_fact {
	const char *name, *says;
	const char *wanted;
	const char *scenario; /* NULL: the lab has nothing of it, docs/LAB.md says why */
	const char *without;  /* the protection that is taken away; NULL: none */
	const char *(*run)(void);
};

extern const struct memory_fact memory_facts[];
extern const unsigned nmemory_facts;

#endif
