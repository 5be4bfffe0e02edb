/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * history.h - what the threads of a run did to their files and saw in them, and whether that can be.
 *
 * It can be when the operations can be put into one order in which each lies between its begin and its
 * end, and in which every load and read shows what a plain file would show there (linearizable;
 * Herlihy and Wing, 1990). That one rule is: mmap agrees with read(2), nothing stored is lost, nothing
 * comes back, no byte of a former owner is seen. Checked whenever something was seen.
 *
 * One exception is the kernel's, and was measured (tests/facts.c): what was stored through its mapping behind EOF, in
 * the last page, may appear when EOF moves up. On a plain file there are zeroes.
 *
 * Every cell counts for itself, unless the run moves cells (collapse, insert, exchange, copy): what
 * changes several cells need not be seen to change them all at once.
 */
#ifndef UDAX_LAB_HISTORY_H
#define UDAX_LAB_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "scenario.h"

#define HISTORY_MAX 96u
#define FILE_CELLS (SCENARIO_MAX_PAGES * PAGE_CELLS)
#define FOR_EVER UINT32_MAX

/* What stands in a cell. Zero is zero; else who wrote it. */
#define VALUE_STORED UINT64_C(0x5704ed0000000000)  /* | operation << 16 | file << 8 | cell */
#define VALUE_INITIAL UINT64_C(0x1217000000000000) /* | file << 8 | cell */
#define VALUE_POISON UINT64_C(0xdead000000000000)  /* | block << 8 | cell: of a free block */
#define VALUE_KIND UINT64_C(0xffffff0000000000)

/** What load(s) and read(s) give where the file has ended. */
#define SEEN_NOTHING UINT64_MAX

enum event_kind {
	EVENT_STORE, /* value into the cell, through a mapping: nothing behind EOF, but see cached */
	EVENT_WRITE,	/* value into the cell, by write(2): moves EOF up */
	EVENT_APPEND,	/* a page of values at EOF */
	EVENT_LOAD,	/* shows value; SEEN_NOTHING: SIGBUS */
	EVENT_READ,	/* shows value; SEEN_NOTHING: EOF */
	EVENT_ZERO,	/* cell */
	EVENT_GROW,	/* EOF to at least behind cell */
	EVENT_TRUNCATE, /* EOF to cell */
	EVENT_COLLAPSE, /* cells [cell, end) */
	EVENT_INSERT,
	EVENT_EXCHANGE, /* [cell, end) with those of other from other_cell */
	EVENT_COPY,	/* likewise, one way */
};

struct event {
	enum event_kind kind;
	unsigned file, cell, end, other, other_cell;
	uint64_t value;
	uint32_t begin, over; /* FOR_EVER: not yet */
	bool optional;	      /* may be as if it had not been */
	bool cached;	      /* a store through the kernel's mapping */
	bool synced;	      /* a store that an fsync(2) has made durable */
	unsigned thread, op;
};

struct history {
	uint32_t time;
	unsigned nevents;
	bool moves; /* some event moves cells */
	struct event events[HISTORY_MAX];
	/* As the run began. */
	unsigned sizes[SCENARIO_MAX_FILES];
	uint64_t cells[SCENARIO_MAX_FILES][FILE_CELLS];
	unsigned nfiles;
};

/** history_begin - @event begins now. Returns its number, or HISTORY_MAX: there are too many. */
unsigned history_begin(struct history *h, const struct event *event);

/** history_end - it is over. history_drop - it failed, and has changed nothing. */
void history_end(struct history *h, unsigned number);
void history_drop(struct history *h, unsigned number);

/** history_possible - whether all that was seen so far where event @number looked can be. */
bool history_possible(const struct history *h, unsigned number);

/** value_name - what a value is, in words: "what t1.2 has stored". */
void value_name(const struct scenario *sc, uint64_t value, char *buf, unsigned len);

#endif
