/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * tool_sparse.c - a large sparse file, touched all over:
 *
 *	tool_sparse FILE TOUCHES EVERY
 *
 * maps FILE, of 64 GiB, directly, and touches so many random pages of it; one in EVERY is stored to, into a page of
 * 2000 that are far from each other, the others are loaded: zero, or what was stored. The process must stay
 * within libudax's bound of pieces (UDAX_MAX_PIECES), and so far from vm.max_map_count, and the zeroes
 * that it is shown must not cost as much memory as the file has holes. At its end it proves that
 * it ran direct (maps.h).
 */
#include <err.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "maps.h"
#include "udax/udax.h"

#define PAGE 4096ul
#define MOST_KIB (100u << 10)
#define BYTES (64ul << 30)
#define NSTORED 2000ul
#define STRIDE (BYTES / NSTORED / PAGE * PAGE)

static volatile uint64_t *base;
static uint64_t stored[NSTORED], state = 88172645463325252u;

static uint64_t next_random(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static volatile uint64_t *word_of(uint64_t slot)
{
	return base + slot * STRIDE / 8;
}

static void touch(uint64_t every)
{
	uint64_t slot = next_random() % NSTORED, page;

	if (next_random() % every == 0) {
		stored[slot] = next_random();
		*word_of(slot) = stored[slot];
		return;
	}
	page = next_random() % (BYTES / PAGE);
	if (page * PAGE % STRIDE == 0) {
		slot = page * PAGE / STRIDE;
		if (slot < NSTORED && base[page * PAGE / 8] != stored[slot])
			errx(1, "page %ju has other bytes", (uintmax_t)page);
	} else if (base[page * PAGE / 8]) {
		errx(1, "page %ju is not zero", (uintmax_t)page);
	}
	if (*word_of(slot % NSTORED) != stored[slot % NSTORED])
		errx(1, "what was stored in slot %ju is not there", (uintmax_t)slot);
}

static unsigned long own_kib(void)
{
	FILE *status = fopen("/proc/self/status", "re");
	unsigned long kib = 0;
	char line[256];

	while (status && fgets(line, sizeof(line), status))
		sscanf(line, "RssAnon: %lu", &kib);
	if (status)
		fclose(status);
	return kib;
}

static void within_bounds(void)
{
	const char *text = getenv("UDAX_MAX_PIECES");
	unsigned long bound = text ? strtoul(text, NULL, 0) : 24000;
	struct udax_stats stats;
	unsigned maps = maps_count();

	udax_stats(&stats, sizeof(stats));
	printf("%u mappings, %ju faults, %ju evicted, %lu KiB of its own\n", maps,
	       (uintmax_t)stats.faults, (uintmax_t)stats.evicted, own_kib());
	if (maps > 2 * bound + 300)
		errx(1, "the bound is %lu pieces", bound);
	if (own_kib() > MOST_KIB)
		errx(1, "zeroes cost more than %u KiB", MOST_KIB);
	if (!stats.faults || (text && !stats.evicted))
		errx(1, "nothing was given back");
}

int main(int argc, char **argv)
{
	unsigned long touches = argc > 3 ? strtoul(argv[2], NULL, 0) : 0;
	const char *wrong;
	int fd;

	if (!touches)
		errx(2, "usage: tool_sparse FILE TOUCHES EVERY");
	fd = open(argv[1], O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0644);
	if (fd < 0 || ftruncate(fd, (off_t)BYTES))
		err(1, "%s", argv[1]);
	base = udax_mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (base == MAP_FAILED)
		errx(1, "%s: %s", argv[1], udax_reason_text(udax_why()));
	for (unsigned long i = 0; i < touches; i++)
		touch(strtoul(argv[3], NULL, 0));
	within_bounds();
	if (!maps_shared(MAPS_REGION) || maps_shared(argv[1]))
		errx(1, "not direct");
	wrong = maps_prove(dirname(argv[1]));
	if (wrong)
		errx(1, "not direct: %s", wrong);
	return 0;
}
