/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fake_daemon.h - what libudax talks to, without a filesystem: src/proto.h in a thread.
 *
 * A file is a memfd, whose pages the daemon maps to pages of a region (another memfd) as a test
 * wants. It is strict: a page that is recalled, or given back, and granted to nobody any more is
 * filled with POISON at once, and a client that does what the protocol does not allow ends the test.
 * The ioctls that the library would ask a mount are answered here, for every descriptor.
 */
#ifndef UDAX_TESTS_FAKE_DAEMON_H
#define UDAX_TESTS_FAKE_DAEMON_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define FAKE_PAGE 4096u
#define FAKE_POISON 0xde

/** CHECK - in a process of its own (fake_isolated): say what was wrong, and end it. */
#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			fake_fail(__FILE__, __LINE__, #condition);                                 \
	} while (0)
void fake_fail(const char *file, int line, const char *what) __attribute__((noreturn));

/**
 * fake_isolated - run @body in a child, which has @seconds; fails the cmocka test if it does not exit 0.
 *
 * After @body that process proves that it ran direct: it has mapped something directly, nothing that could
 * have been direct was refused or left to the kernel, and in a new file a store shows the region in
 * /proc/self/maps, until a punch takes it away and the next touch is a fault. fake_refusals_are_meant() - but
 * @body was to be refused something.
 */
void fake_isolated(void (*body)(void), unsigned seconds);
void fake_refusals_are_meant(void);

struct fake_options {
	unsigned region_pages;	/* 4096 if 0 */
	unsigned granule_bytes; /* 4096 if 0 */
	unsigned run_pages;	/* longest grant; 0: as long as the layout allows */
	bool scattered;		/* no two blocks of a file are neighbours */
	uint32_t flags;		/* of WELCOME */
};

/** fake_start - one daemon a process; never ends. */
void fake_start(const struct fake_options *options);

/** fake_file - a new file of @pages, all holes. Returns its descriptor. */
int fake_file(unsigned pages);

/* What others do to the file; each returns when it is done. */
void fake_write(int fd, uint64_t pos, const void *buf, size_t len);
void fake_read(int fd, uint64_t pos, void *buf, size_t len);
void fake_punch(int fd, uint64_t pos, uint64_t len);
void fake_move(int fd, uint64_t pos, uint64_t len); /* to other blocks */
void fake_resize(int fd, uint64_t pages);

/** fake_error - FAULTs are answered with this (-errno) until it is 0. */
void fake_error(int err);

/** fake_refuse - ATTACH and the ioctl for it fail with this until it is 0. */
void fake_refuse(int attach_err, int ioctl_err);

/** fake_fail_remaps - the library's next @n mremap(2) find no memory; how many are still to come. */
void fake_fail_remaps(int n);
int fake_failing_remaps(void);

/** fake_disconnect - end all connections. */
void fake_disconnect(void);

/** fake_hold_welcome - let clients wait for their WELCOME until it is false again. */
void fake_hold_welcome(bool hold);

/** fake_granule - of clients that connect from now on. */
void fake_granule(unsigned bytes);

/** fake_lie - the next grant is for a range that nobody asked for. */
void fake_lie(void);

/** fake_recall_later - send a RECALL and do not wait; fake_acknowledged() says whether it is answered. */
void fake_recall_later(int fd, uint64_t pos, uint64_t len);
bool fake_acknowledged(void);

struct fake_counts {
	unsigned faults, recalls, returns, detaches, attaches, syncs, connections;
	unsigned granted_pages; /* now, of all clients */
	unsigned attached;	/* now */
};
struct fake_counts fake_counts(void);

#endif
