/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * lib_maps.c - see maps.h. libudax is found by dlsym: it is linked to the program, or inside of what udaxrun
 * has put in front of it.
 */
#include "maps.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "udax/udax.h"

/* ---- /proc/self/maps ------------------------------------------------------------------------------ */

struct line {
	uintptr_t start, end;
	bool shared;
	const char *name;
};

/* "START-END PERMISSIONS OFFSET DEVICE INODE NAME" */
static bool parse(char *text, struct line *ret)
{
	char permissions[8];
	int name = 0;

	text[strcspn(text, "\n")] = '\0';
	if (sscanf(text, "%lx-%lx %7s %*s %*s %*s %n", &ret->start, &ret->end, permissions, &name) <
		    3 ||
	    !name)
		return false;
	ret->shared = permissions[3] == 's';
	ret->name = text + name;
	return true;
}

/* How many lines there are of which @wanted says so. */
static unsigned count(bool (*wanted)(const struct line *line, const void *arg, const char *text),
		      const void *arg, const char *text)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char buf[4500];
	unsigned n = 0;

	if (!maps)
		abort();
	while (fgets(buf, sizeof(buf), maps)) {
		struct line line;

		n += parse(buf, &line) && wanted(&line, arg, text);
	}
	fclose(maps);
	return n;
}

static bool holds(const struct line *line, const void *addr, const char *text)
{
	return line->start <= (uintptr_t)addr && (uintptr_t)addr < line->end &&
	       strstr(line->name, text);
}

static bool is_shared(const struct line *line, const void *unused, const char *text)
{
	(void)unused;
	return line->shared && strstr(line->name, text);
}

static bool any(const struct line *line, const void *unused, const char *text)
{
	(void)line;
	(void)unused;
	(void)text;
	return true;
}

bool maps_show(const void *addr, const char *text)
{
	return count(holds, addr, text);
}

unsigned maps_count(void)
{
	return count(any, NULL, NULL);
}

unsigned maps_shared(const char *text)
{
	return count(is_shared, NULL, text);
}

/* ---- the proof ------------------------------------------------------------------------------------ */

#define LEN ((size_t)4 << 20) /* two granules, of the largest */

static struct {
	void *(*mmap)(void *addr, size_t len, int prot, int flags, int fd, off_t off);
	int (*munmap)(void *addr, size_t len);
	void (*stats)(struct udax_stats *stats, size_t size);
} lib;

static char why[4500];

#define REQUIRE(condition)                                                                         \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			snprintf(why, sizeof(why), "%s:%d: %s (%s)", __FILE__, __LINE__,           \
				 #condition, strerror(errno));                                     \
			return false;                                                              \
		}                                                                                  \
	} while (0)

static bool find_library(void)
{
	*(void **)&lib.mmap = dlsym(RTLD_DEFAULT, "udax_mmap");
	*(void **)&lib.munmap = dlsym(RTLD_DEFAULT, "udax_munmap");
	*(void **)&lib.stats = dlsym(RTLD_DEFAULT, "udax_stats");
	REQUIRE(lib.mmap && lib.munmap && lib.stats);
	return true;
}

static struct udax_stats counted(void)
{
	struct udax_stats stats;

	lib.stats(&stats, sizeof(stats));
	return stats;
}

/* What was never to be direct is no fallback. */
static bool nothing_fell_back(void)
{
	const struct udax_stats stats = counted();

	for (unsigned i = 0; i < UDAX_NR_REASONS; i++) {
		if (!stats.refused[i] || i == UDAX_BAD_ARGUMENT || i == UDAX_NOT_UDAXFS)
			continue;
		snprintf(why, sizeof(why), "%llu mappings were not direct, reason %u",
			 (unsigned long long)stats.refused[i], i);
		return false;
	}
	return true;
}

static bool a_fault_follows_a_punch(int fd, volatile char *p)
{
	struct udax_stats before, after;

	*p = 'a';
	REQUIRE(maps_show((char *)p, MAPS_REGION));
	before = counted();
	REQUIRE(before.faults);
	REQUIRE(!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)LEN));
	REQUIRE(!maps_show((char *)p, MAPS_REGION));
	REQUIRE(*p == 0);
	after = counted();
	REQUIRE(after.recalls > before.recalls && after.faults > before.faults);
	*p = 'b';
	REQUIRE(maps_show((char *)p, MAPS_REGION));
	return true;
}

static bool prove_with(int fd)
{
	char *p;
	bool well;

	REQUIRE(!ftruncate(fd, (off_t)LEN));
	p = lib.mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	REQUIRE(p != MAP_FAILED);
	well = a_fault_follows_a_punch(fd, p);
	REQUIRE(!lib.munmap(p, LEN));
	return well && nothing_fell_back();
}

const char *maps_prove(const char *dir)
{
	char path[4096];
	bool well;
	int fd;

	if (!find_library())
		return why;
	snprintf(path, sizeof(path), "%s/maps.XXXXXX", dir);
	fd = mkostemp(path, O_DIRECT | O_CLOEXEC);
	if (fd < 0) {
		snprintf(why, sizeof(why), "%s: %s", path, strerror(errno));
		return why;
	}
	unlink(path);
	well = prove_with(fd);
	close(fd);
	return well ? NULL : why;
}
