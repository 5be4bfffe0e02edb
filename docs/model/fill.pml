/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fill.pml - a hole gets a block, or EOF moves up, while clients show zeroes, or SIGBUS, where that
 * is: fill_begin() and fill_end() of src/fill.c, and who calls them: fill_window() of src/fault.c, write_uncached() and fill_for() of src/file.c, allocate() of
 * src/layout.c. One page of one file in uncached mode; two clients.
 *
 * Unlike a change of the layout, a fill keeps nobody out: it is announced, in one step with seeing
 * that nobody shows what it changes. If somebody does, he is recalled first, as by a change of the
 * layout, and it is announced while that excludes everybody. A FAULT that found a hole is not granted zeroes while a fill is announced, nor when
 * one has ended since it began to look.
 *
 * The rule: when the write(2), or the store, that put something there has returned, nobody who is
 * not late reads zeroes there, or is told that it lies behind EOF.
 *
 * What is chosen on the command line (docs/model/run):
 *
 *   BEHIND_EOF              the page lies behind EOF in the beginning; else it is a hole
 *   WRITES=n                write(2)s that fill it, and with BEHIND_EOF move EOF up
 *   ALLOCATE                fallocate(2) moves EOF up, and leaves it a hole
 *   TRUNCATE                somebody truncates the file to nothing, once
 *   LOADS=n STORES=n        accesses of the first client, which only loads, and of the second one
 *   DEADLINE                a client may be late
 *   NO_MEMORY               once, there is no memory for a recall
 *   ANNOUNCED_FIRST         in another order than that of the program, as safe
 *   BROKEN_*                a protection is left out; rows are those of docs/RACES.md
 */

#ifndef LOADS
#define LOADS 2
#endif
#ifndef STORES
#define STORES 1
#endif
#ifndef WRITES
#define WRITES 0
#endif

bool zeroes_shown; /* a client read zeroes where somebody has written */
bool eof_not_seen; /* a client was told that it is behind EOF, and it is not any more */
bool freed_while_mapped;

#define BREAK_IF(condition, rule)                                                                 \
	if                                                                                        \
	:: condition -> rule = true                                                               \
	:: else                                                                                   \
	fi;                                                                                       \
	assert(!rule)

/* ---- the medium ------------------------------------------------------------------------------ */

/* Of mappings and grants too. */
#define NOTHING 0
#define BEYOND	1 /* behind EOF: GRANT_BEHIND_EOF */
#define HOLE	2 /* GRANT_ZERO */
#define BLOCK	3 /* GRANT_READ, GRANT_WRITE */

byte page; /* what the page is */

/* What has returned, and was not truncated since. */
bool written, grown;
bool truncated; /* tells a write(2) that what it wrote is gone already */

/* ---- the daemon: struct holder --------------------------------------------------------------- */

bool gate, closed;
byte generation;
byte fills, extending; /* announced: of the page; that move EOF up */
bool iolock, mmaplock_excl;
byte mmaplock_shared;

/* Of each attachment: its bits; the recall that is waited for; how many are late: these are older. */
byte given[2];
bool waited[2];
byte nlate[2];

#define LATE(c) (nlate[c] > 0)

/* ---- clients --------------------------------------------------------------------------------- */

mtype = { GRANT, RECALL };
chan stream0 = [3] of { mtype, byte };
chan stream1 = [3] of { mtype, byte };

byte mapped[2];
bool fault[2], for_writing[2]; /* the daemon has a FAULT to serve */
bool asked[2];		       /* a FAULT was sent, and its GRANT not seen */
byte finished;
bool no_memory_yet = true;

#define UNREAD(c) ((c == 0) -> len(stream0) : len(stream1))

inline send(c, what, b) /* within atomic: under holder->lock */
{
	if
	:: c == 0 -> stream0!what(b)
	:: else -> stream1!what(b)
	fi
}

/* A thread of each client. The first one loads, the second one loads or stores. */
proctype Program(byte c)
{
	byte left = (c == 0 -> LOADS : STORES);
	bool store;

	do
	:: left > 0 ->
		left--;
		if
		:: store = false
		:: c == 1 -> store = true
		fi;
again:		if
		:: atomic { mapped[c] == BLOCK ->
			if
			:: store && !LATE(c) -> written = true; grown = true
			:: else /* what one who is late stores is lost */
			fi }
		:: atomic { mapped[c] == HOLE && !store ->
			BREAK_IF(written && !LATE(c), zeroes_shown) }
		:: atomic { mapped[c] == BEYOND -> /* SIGBUS */
			BREAK_IF(grown && !LATE(c), eof_not_seen) }
		:: atomic { (mapped[c] == NOTHING || (mapped[c] == HOLE && store)) && !asked[c] ->
			asked[c] = true; for_writing[c] = store; fault[c] = true };
		   !asked[c]; goto again
		fi
	:: else -> break
	od;
	finished++
}

/* The client's service thread: src/client/service.c. */
proctype Service(byte c)
{
	byte b;
	mtype what;

end:	do
	:: atomic { UNREAD(c) > 0 ->
		if
		:: c == 0 -> stream0?what(b)
		:: else -> stream1?what(b)
		fi;
		if
		:: what == GRANT -> mapped[c] = b; asked[c] = false
		:: else -> mapped[c] = NOTHING
		fi };
	   atomic {
		if
		:: what == RECALL -> /* grant_acknowledged() */
			if
			:: LATE(c) -> nlate[c]--
			:: else -> waited[c] = false; given[c] = NOTHING
			fi
		:: else
		fi;
		b = 0; what = 0 }
	od
}

/* ---- recalls --------------------------------------------------------------------------------- */

inline recall_one(c) /* within atomic */
{
	if
	:: given[c] != NOTHING -> assert(!waited[c]); waited[c] = true; send(c, RECALL, 0)
#ifdef NO_MEMORY
	:: given[c] != NOTHING && no_memory_yet -> no_memory_yet = false
#endif
	:: given[c] == NOTHING
	fi
}

inline give_up_on(c) /* within atomic */
{
	if
	:: waited[c] -> waited[c] = false; nlate[c]++; given[c] = NOTHING
	:: else
	fi
}

/* grant_recall() */
inline recall()
{
	atomic { recall_one(0); recall_one(1) };
	if
	:: !waited[0] && !waited[1]
#ifdef DEADLINE
	:: atomic { waited[0] || waited[1] -> give_up_on(0); give_up_on(1) }
#endif
	fi
}

/* ---- filling --------------------------------------------------------------------------------- */

#define SHOWS(c, what) (given[c] == what)

/* fill_conflicts(). @of_page: a block comes; @extends: EOF moves up */
#define CONFLICTS(of_page, extends)                                                               \
	((of_page && (SHOWS(0, HOLE) || SHOWS(1, HOLE))) ||                                       \
	 (extends && (SHOWS(0, BEYOND) || SHOWS(1, BEYOND))))

inline announce(of_page, extends) /* fill_announce(), within atomic */
{
#ifndef BROKEN_NO_ANNOUNCEMENT
	/* Row 9: zeroes are granted between the recall and the block. */
	fills = fills + of_page; extending = extending + extends;
#endif
	announced = true
}

inline fill_begin(of_page, extends)
{
	announced = false;
#ifdef BROKEN_ANNOUNCED_AFTER_ALLOCATION
	/* Row 11: as without it, for who looked before the allocation and records before this. */
	do
	:: atomic { !CONFLICTS(of_page, extends) -> break }
	:: atomic { CONFLICTS(of_page, extends) -> skip };
	   atomic { !gate -> gate = true };
	   recall();
	   gate = false
	od
#elif defined(BROKEN_NO_RECALL)
	/* Row 10: what is mapped goes on showing zeroes. */
	atomic { announce(of_page, extends) }
#elif defined(ANNOUNCED_FIRST)
	atomic { announce(of_page, extends) };
	do
	:: atomic { !CONFLICTS(of_page, extends) -> break }
	:: atomic { CONFLICTS(of_page, extends) -> skip };
	   atomic { !gate -> gate = true };
	   recall();
	   gate = false
	od
#else
	do
	:: atomic { announced -> break }
	:: atomic { !announced && !CONFLICTS(of_page, extends) -> announce(of_page, extends); break }
	:: atomic { !announced && CONFLICTS(of_page, extends) -> skip };
	   /* recall_and_announce() */
	   atomic { !gate -> gate = true };
	   recall();
	   atomic { !iolock -> iolock = true };
	   atomic { mmaplock_shared == 0 && !mmaplock_excl -> mmaplock_excl = true };
#ifdef BROKEN_ANNOUNCED_AFTER_THE_GATE
	   /* Row 11: what was recalled is granted again between the two. */
	   atomic { gate = false; generation++; iolock = false; mmaplock_excl = false };
	   atomic { announce(of_page, extends) }
#else
	   atomic {
		if
#ifdef BROKEN_ANNOUNCED_UNSEEN
		/* Row 10: there was no memory for the recall. */
		:: true -> announce(of_page, extends)
#else
		:: !CONFLICTS(of_page, extends) -> announce(of_page, extends)
		:: else
#endif
		fi };
	   atomic { gate = false; generation++; iolock = false; mmaplock_excl = false } /* layout_end() */
#endif
	od
#endif
}

inline fill_end(of_page, extends)
{
	atomic {
#ifndef BROKEN_NO_ANNOUNCEMENT
		fills = fills - of_page; extending = extending - extends;
#endif
#ifndef BROKEN_GENERATION_STAYS
		/* Without it, row 9: a FAULT found the hole before this fill, and records after it. */
		generation++;
#endif
		announced = false }
}

/* ---- FAULT: fault_serve() -------------------------------------------------------------------- */

#ifdef BROKEN_FILLS_NOT_LOOKED_AT
/* Row 9: the FAULT found the hole when the fill was announced, and is granted before it ends. */
#define BEING_FILLED(found) false
#else
/* is_being_filled() */
#define BEING_FILLED(found) ((found == HOLE && fills > 0) || (found == BEYOND && extending > 0))
#endif

proctype FaultWorker(byte c)
{
	byte found, seen;
	bool announced;

end:	do
	:: fault[c] ->
again:		atomic { !gate -> seen = generation }; /* grant_generation() */
		/* fault_enter, look() */
		if
		:: atomic { !mmaplock_excl && page == HOLE && for_writing[c] -> seen = 0 };
			fill_begin(1, 0); /* fault_exit; make(), fill_window() */
			atomic { !mmaplock_excl -> /* fill_blocks(): up to EOF */
				if
				:: page == HOLE -> page = BLOCK
				:: else
				fi };
#ifdef BROKEN_ANNOUNCED_AFTER_ALLOCATION
			atomic { announce(1, 0) };
#endif
			fill_end(1, 0);
			goto again
		:: atomic { !mmaplock_excl && !(page == HOLE && for_writing[c]) ->
			mmaplock_shared++; found = page }
		fi;
		atomic { /* grant_record() */
			if
			:: gate || generation != seen ->
				mmaplock_shared--; found = 0; seen = 0; goto again
			:: !(gate || generation != seen) && BEING_FILLED(found) ->
				mmaplock_shared--; found = 0; goto wait
			:: else ->
				given[c] = found;
				send(c, GRANT, found);
				fault[c] = false
			fi;
			mmaplock_shared--; found = 0; seen = 0 }; /* fault_exit */
			goto end;
wait:		/* grant_wait_fill() */
		atomic { (fills == 0 && extending == 0) || generation != seen -> seen = 0; goto again }
	od
}

/* ---- write(2), fallocate(2) ------------------------------------------------------------------ */

/* write_uncached() */
proctype Writer()
{
	bool announced, extends, when;

again:	extends = (page == BEYOND); /* fill_for() */
	if
	:: extends -> fill_begin(1, 1)
	:: else -> fill_begin(1, 0)
	fi;
	if
#ifndef BROKEN_NOT_LOOKED_AT_AGAIN
	/* fill_holds(). Without it, row 72: truncated meanwhile, it is EOF that moves. */
	:: atomic { !iolock && page == BEYOND && !extends -> skip }; fill_end(1, 0); goto again
	:: atomic { !iolock && !(page == BEYOND && !extends) -> page = BLOCK; when = truncated }
#else
	:: atomic { !iolock -> page = BLOCK; when = truncated } /* write_once() */
#endif
	fi;
#ifdef BROKEN_ANNOUNCED_AFTER_ALLOCATION
	if
	:: extends -> atomic { announce(1, 1) }
	:: else -> atomic { announce(1, 0) }
	fi;
#endif
	if
	:: extends -> fill_end(1, 1)
	:: else -> fill_end(1, 0)
	fi;
	atomic {
		if
		:: when == truncated -> written = true; grown = true
		:: else
		fi;
		finished++ }
}

#ifdef ALLOCATE
#define WITH_ALLOCATE 1

/* allocate(), without KEEP_SIZE */
proctype Allocator()
{
	bool announced, extends;

	extends = (page == BEYOND);
	if
	:: extends -> fill_begin(0, 1)
	:: else
	fi;
	atomic { !iolock ->
		if
		:: page == BEYOND -> page = HOLE /* unwritten blocks, and EOF */
		:: else
		fi };
	if
	:: extends -> fill_end(0, 1)
	:: else
	fi;
	atomic { grown = true; finished++ }
}
#else
#define WITH_ALLOCATE 0
#endif

/* ---- truncate -------------------------------------------------------------------------------- */

#ifdef TRUNCATE
#define WITH_TRUNCATE 1

/* layout_truncate(); layout_enter() as in uncached-gate.pml */
proctype Truncate()
{
	atomic { !gate -> gate = true };
	do
	:: true ->
		recall();
		atomic { !iolock -> iolock = true };
		atomic { mmaplock_shared == 0 -> mmaplock_excl = true };
		atomic { /* gate_close() */
			if
			:: given[0] != NOTHING || given[1] != NOTHING ->
				iolock = false; mmaplock_excl = false
			:: else -> break
			fi }
	od;
	atomic {
		page = BEYOND; truncated = true; written = false; grown = false;
		BREAK_IF(mapped[0] == BLOCK || mapped[1] == BLOCK, freed_while_mapped) };
	atomic { gate = false; generation++; iolock = false; mmaplock_excl = false; finished++ }
}
#else
#define WITH_TRUNCATE 0
#endif

init {
	atomic {
#ifdef BEHIND_EOF
		page = BEYOND;
#else
		page = HOLE;
#endif
		run Program(0); run Service(0); run FaultWorker(0);
#if STORES > 0
		run Program(1); run Service(1); run FaultWorker(1);
#else
		finished++;
#endif
#if WRITES > 0
		run Writer();
#endif
#if WRITES > 1
		run Writer();
#endif
#if WITH_ALLOCATE == 1
		run Allocator();
#endif
#if WITH_TRUNCATE == 1
		run Truncate();
#endif
		skip
	};
end:	finished == 2 + WRITES + WITH_ALLOCATE + WITH_TRUNCATE
}
