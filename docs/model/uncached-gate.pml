/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * uncached-gate.pml - a file in uncached mode: clients that map the region directly, recalled
 * through the gate: src/grant.c, src/fault.c and src/gate.c on one side, src/client on the other.
 * One page of one file, three states of it (two blocks, or three, and a hole), two clients.
 *
 * A FAULT looks at the gate, takes mmaplock shared, looks up the block, and records its grant in
 * one step with looking at the gate again, and at the generation. Closing a gate, in turn, finds
 * grants. A client that does not answer a recall in time is late, and what it may still map is kept
 * out of use. What happens where a hole gets a block is fill.pml.
 *
 * What is chosen on the command line (docs/model/run):
 *
 *   PUNCH, MOVE, EXCHANGE   what the layout change does to the block: frees it, moves its content to
 *   KEEP                    another one, gives it to another file, keeps it (zero range, the page at the
 *                           edge of a punch, or of a truncate); CHANGES=n: so many times
 *   CLIENTS=n ACCESSES=n    how many clients, and what each does
 *   PRIVATE_VIEW            a MAP_PRIVATE mapping in the process of the first client
 *   WRITE                   write(2) with O_DIRECT; FROM_MAPPING: its buffer is a direct mapping
 *   DEADLINE                a client may be late
 *   DEATH                   the first client may die at any time
 *   STREAM_ENDS             the first client may close its descriptors at any time, and live on
 *   BROKEN_*                a protection is left out; the comment there says which row of
 *                           docs/RACES.md that shows
 */

#ifndef CLIENTS
#define CLIENTS 2
#endif
#ifndef ACCESSES
#define ACCESSES 2
#endif
#ifndef CHANGES
#define CHANGES 1
#endif

bool wrong_block_used;	/* a client used a block that is not the file's (any more) */
bool freed_while_mapped; /* a block became free while somebody still maps it */
bool foreign_bytes_seen; /* a client read what belongs to another file */
bool write_not_seen;	/* a load after write(2) returned did not see what it wrote */
bool store_not_seen;	/* one client did not see what another one stored before */
bool private_view_wrong; /* the kernel filled a page from a block that is not the file's */
bool grant_to_the_dead; /* recorded in an attachment that is gone */
bool space_lost;	/* nobody is late, and what was in quarantine stays there */
bool late_store_seen;	/* stored after the deadline, and in the file */
bool write_lost, store_lost; /* in the end */

#define BREAK_IF(condition, rule)                                                                 \
	if                                                                                        \
	:: condition -> rule = true                                                               \
	:: else                                                                                   \
	fi;                                                                                       \
	assert(!rule)

/* ---- the medium ------------------------------------------------------------------------------ */

#ifdef EXCHANGE
#define BLOCKS 3
#else
#define BLOCKS 2
#endif
#define HOLE	BLOCKS /* of `map`, of grants and of mappings: zeroes */
#define NOTHING (BLOCKS + 1)

#define FREE	    0
#define OURS	    1
#define QUARANTINED 2 /* freed, but a late client may still map it */
#define OTHERS	    3

/* What a block contains, as a set. */
#define STORED	1 /* by the first client */
#define WRITTEN 2 /* by write(2) */
#define FOREIGN 4 /* bytes of another file */

byte owner[BLOCKS], medium[BLOCKS];
byte map; /* of our page */

/* ---- the daemon ------------------------------------------------------------------------------ */

#define NO_GATE 0
#define OPEN	1
#define CLOSING 2
#define CLOSED	3

byte gate = NO_GATE;
byte generation; /* of the holder */
bool filling;	 /* holder->fills */
byte inside;	 /* admitted fills */
bool iolock, mmaplock_excl, mmaplock_wanted;
byte mmaplock_shared;

#define LETS_IN (gate != CLOSING && gate != CLOSED)

/*
 * Of each attachment: its bits, and the recalls that are not answered. Answers come in order, so
 * the late ones are the oldest; and only one gate stands on the page, so at most one is waited for.
 */
byte given[2]; /* what it was granted, or NOTHING */
bool waited[2];
byte nlate[2];
bool gone, detached; /* the first client: its stream has ended, its attachment is forgotten */

#define HOLDS(c) (given[c] != NOTHING)
#define LATE(c)	 (nlate[c] > 0)
#define SOMEBODY_LATE (LATE(0) || LATE(1)) /* vol->nlate; and, with one page, grant_is_late() */

/* ---- clients --------------------------------------------------------------------------------- */

mtype = { GRANT, RECALL };
chan stream0 = [2] of { mtype, byte };
chan stream1 = [2] of { mtype, byte };

byte mapped[2];	  /* what the client maps */
bool fault[2];	  /* the daemon has a FAULT to serve */
bool asked[2];	  /* a FAULT was sent, and its GRANT not seen */
bool dead;	  /* the first client */
bool io_in_flight; /* a system call of the first client that uses its mapping */

#define DEAD(c)	    (dead && c == 0)
#define CONNECTED(c) (!gone || c != 0)
#define UNREAD(c)   ((c == 0) -> len(stream0) : len(stream1))
#define MAPS(b)	    (mapped[0] == b || mapped[1] == b)

/* A process's mmap_lock. A waiting writer keeps new readers out. */
byte mm_readers[2];
bool mm_writer[2], mm_writer_waits[2];

inline mmap_lock(c)
{
	mm_writer_waits[c] = true;
	atomic { mm_readers[c] == 0 && !mm_writer[c] ->
		mm_writer[c] = true; mm_writer_waits[c] = false }
}

bool i_rwsem, change_returned, write_returned, store_done;
bool kept; /* a change of what is in the block was made */
byte finished;

inline send(c, what, b) /* within atomic: under holder->lock, and never waits */
{
	if
	:: c == 0 && !gone -> stream0!what(b)
	:: c == 0 && gone -> skip
	:: else -> stream1!what(b)
	fi
}

/* grant_acknowledged() */
inline acknowledge(c) /* within atomic */
{
	if
	:: LATE(c) -> nlate[c]--
#ifdef BROKEN_LATE_ANSWER_FORGETS
		/* Row 71: what it was granted since goes with what it gave back. */
		; given[c] = NOTHING
#endif
	:: else -> waited[c] = false; given[c] = NOTHING
	fi
}

/* detach() */
inline forget(c) /* within atomic */
{
	waited[c] = false; nlate[c] = 0; given[c] = NOTHING; detached = true
}

inline allocate() /* within atomic: a zeroed block for our page */
{
	if
	:: owner[0] == FREE -> map = 0
	:: owner[0] != FREE && owner[1] == FREE -> map = 1
	fi;
	owner[map] = OURS; medium[map] = 0
}

/* ---- a client's threads ---------------------------------------------------------------------- */

/* The first client stores, the second one loads. */
proctype Program(byte c)
{
	byte left = ACCESSES;

	do
	:: left > 0 && !DEAD(c) ->
		left--;
again:		if
		:: atomic { DEAD(c) -> break }
		:: atomic { !DEAD(c) && mapped[c] < BLOCKS ->
			BREAK_IF(!(owner[mapped[c]] == OURS ||
				   (owner[mapped[c]] == QUARANTINED && LATE(c))) ||
				 (mapped[c] != map && !LATE(c)), wrong_block_used);
			BREAK_IF(medium[mapped[c]] & FOREIGN, foreign_bytes_seen);
			if
			:: !LATE(c) ->
#ifdef CONTENT_STAYS
				BREAK_IF(write_returned && !(medium[mapped[c]] & WRITTEN), write_not_seen);
				BREAK_IF(store_done && !(medium[mapped[c]] & STORED), store_not_seen);
#endif
				store_done = store_done || c == 0
			:: else /* a late client's view is old, and its stores are lost */
				BREAK_IF(c == 0 && kept && mapped[c] == map, late_store_seen)
			fi;
			if
			:: c == 0 -> medium[mapped[c]] = medium[mapped[c]] | STORED
			:: else
			fi }
		:: atomic { !DEAD(c) && mapped[c] == HOLE ->
#ifdef CONTENT_STAYS
			BREAK_IF(!LATE(c) && (write_returned || store_done), write_not_seen);
#endif
			skip }
		:: atomic { !DEAD(c) && mapped[c] == NOTHING && CONNECTED(c) && !asked[c] ->
			asked[c] = true; fault[c] = true; goto again }
		:: atomic { !DEAD(c) && mapped[c] == NOTHING && CONNECTED(c) && asked[c] -> skip };
		   (DEAD(c) || mapped[c] != NOTHING || !asked[c] || !CONNECTED(c)); goto again
		:: atomic { !DEAD(c) && mapped[c] == NOTHING && !CONNECTED(c) -> break }
		fi
	:: else -> break
	od;
	finished++
}

/* Serves the stream from the daemon. Each message needs the mmap_lock. */
proctype Service(byte c)
{
	byte b;
	mtype what;

end:	do
	:: atomic { DEAD(c) -> mapped[c] = NOTHING; break }
	:: atomic { !DEAD(c) && !CONNECTED(c) -> break }
#ifdef BROKEN_RECALL_OVERTAKES
	/* Row 41: two streams, or a datagram: the recall arrives before the grant that it revokes. */
	:: atomic { !DEAD(c) && c == 0 && stream0??[RECALL, _] -> stream0??RECALL(b); what = RECALL };
	   goto serve
#endif
	:: atomic { !DEAD(c) && CONNECTED(c) && UNREAD(c) > 0 ->
		if
		:: c == 0 -> stream0?what(b)
		:: else -> stream1?what(b)
		fi;
#ifndef PRIVATE_VIEW
		/* Nobody else takes the mmap_lock: all in one step. */
		if
		:: what == GRANT -> mapped[c] = b; asked[c] = false; b = 0; what = 0; goto end
		:: what == RECALL
#ifndef BROKEN_ACKNOWLEDGES_AFTER_IO
		   -> mapped[c] = NOTHING; goto answered
#endif
		fi
#endif
		};
serve:	   if
	   :: what == GRANT ->
		mmap_lock(c);
		atomic {
			if
			:: !DEAD(c) -> mapped[c] = b; asked[c] = false
			:: else
			fi;
			mm_writer[c] = false; b = 0 }
	   :: what == RECALL ->
#ifdef BROKEN_ACKNOWLEDGES_AFTER_IO
		/* Row 62: the I/O waits for i_rwsem, whose holder waits for this acknowledgement. */
		(c != 0 || !io_in_flight);
#endif
		mmap_lock(c);
		atomic { mapped[c] = NOTHING; mm_writer[c] = false };
answered:	atomic {
			b = 0; what = 0;
			if
			:: !DEAD(c) && CONNECTED(c) -> acknowledge(c)
			:: else
			fi }
	   fi
	od
}

#if defined(DEATH) || defined(STREAM_ENDS)
/*
 * The process exits: its mappings are gone, and with the last one its lock on the region.
 * receiver() sees the end of the stream and waits for faulter(); reap() sees that the lock is gone.
 */
proctype Death()
{
#if defined(STREAM_ENDS)
	gone = true /* it has only closed its descriptors, and keeps its mappings */
#elif defined(BROKEN_END_OF_STREAM_IS_DEATH)
	/* Row 61: as above, and it is taken for dead. */
	gone = true;
	atomic { !fault[0] -> forget(0) }
#else
	atomic { dead = true; mapped[0] = NOTHING; mm_writer[0] = false; mm_writer_waits[0] = false };
	gone = true;
#ifdef BROKEN_GRANTS_TO_THE_DEAD
	/* Row 60: nobody waits for the FAULT that is being served, nor does that look. */
	atomic { forget(0) }
#else
	atomic { !fault[0] -> forget(0) }
#endif
#endif
}
#define WITH_DEATH 1
#else
#define WITH_DEATH 0
#endif

/* ---- the gate -------------------------------------------------------------------------------- */

inline recall_one(c) /* within atomic */
{
	if
	:: HOLDS(c) -> assert(!waited[c]); waited[c] = true; send(c, RECALL, 0)
	:: else
	fi
}

inline give_up_on(c) /* within atomic */
{
	if
	:: waited[c] -> waited[c] = false; nlate[c]++; given[c] = NOTHING
	:: else
	fi
}

/*
 * grant_recall(): all are asked, and waited for, at once. The deadline may end at any time; so this
 * is also what becomes of a client that is silent, for which there is none.
 */
inline recall()
{
	atomic { recall_one(0); recall_one(1) };
	if
	:: !waited[0] && !waited[1]
#if defined(DEADLINE)
	:: atomic { waited[0] || waited[1] -> give_up_on(0); give_up_on(1) }
#elif defined(STREAM_ENDS)
	:: atomic { waited[0] && gone -> give_up_on(0) };
	   !waited[1]
#endif
	fi
}

inline take_mmaplock()
{
	mmaplock_wanted = true;
	atomic { !mmaplock_excl && mmaplock_shared == 0 ->
		mmaplock_excl = true; mmaplock_wanted = false }
}

/* layout_enter(): gate_open(); gate_recall(), the locks, gate_close(), until nobody has grants */
inline close_gate()
{
	atomic { gate == NO_GATE -> gate = OPEN };
	do
	:: true ->
#ifdef BROKEN_RECALLS_UNDER_LOCK
		/* Row 48: a fill, with the mmap_lock of the process held, waits for this lock. */
		take_mmaplock();
#endif
		recall();
#ifdef BROKEN_RECALLS_UNDER_LOCK
		mmaplock_excl = false;
#endif
		atomic { !iolock -> iolock = true };
		take_mmaplock();
		gate = CLOSING;
		inside == 0;
		atomic {
			if
#if !defined(ONLY_FAULTS_LOOK) && !defined(BROKEN_NOBODY_LOOKS)
			:: HOLDS(0) || HOLDS(1) -> gate = OPEN; iolock = false; mmaplock_excl = false
#endif
			:: else -> gate = CLOSED; break
			fi }
	od
}

/* put_blocks(), and the commit */
inline free_block(b)
{
#ifdef BROKEN_NO_QUARANTINE
	/* Row 40: a client was recalled and has not acknowledged. */
	late = false;
#else
	late = SOMEBODY_LATE;
#endif
	atomic {
		if
		:: late -> owner[b] = QUARANTINED
		:: else -> owner[b] = FREE; BREAK_IF(MAPS(b), freed_while_mapped)
		fi;
		late = false }
}

/*
 * layout_begin(): what a late client may map, and stays the file's, is replaced. Without room: ENOSPC, and
 * nothing changes.
 */
inline replace_held()
{
	no_room = false;
#ifndef BROKEN_KEEPS_HELD_BLOCK
	/* Without it, row 73: what is stored after the deadline is in the file. */
	if
	:: SOMEBODY_LATE && map < BLOCKS ->
		old = map;
		if
		:: atomic { owner[1 - old] == FREE -> owner[1 - old] = OURS };
		   medium[1 - old] = medium[old];
		   map = 1 - old;
		   free_block(old)
		:: atomic { owner[1 - old] != FREE -> no_room = true }
		fi;
		old = 0
	:: !SOMEBODY_LATE || map >= BLOCKS
	fi
#endif
}

/* layout_exit(): the locks, gate_end() */
inline end_gate()
{
	atomic { gate = NO_GATE; generation++; iolock = false; mmaplock_excl = false }
}

/* ---- FAULT: fault_serve() -------------------------------------------------------------------- */

/* grant_record(): whether the grant would be wrong */
#if defined(ONLY_CLOSE_LOOKS) || defined(BROKEN_NOBODY_LOOKS)
#define MUST_LOOK_AGAIN false
#else
#define MUST_LOOK_AGAIN (gate != NO_GATE || generation != seen || (filling && b == HOLE))
#endif

#ifdef BROKEN_NOT_WOKEN
/*
 * Row 70: a FAULT of the dead client waits for a gate, the gate for its answer, and what would tell
 * us of its death for the end of that FAULT.
 */
#define TOLD_OF_THE_END false
#else
#define TOLD_OF_THE_END !CONNECTED(c) /* is_gone(), grant_wake() */
#endif

proctype FaultWorker(byte c)
{
	byte b, seen;

end:	do
	:: fault[c] ->
again:		atomic { gate == NO_GATE || TOLD_OF_THE_END -> /* grant_generation() */
			if
#ifndef BROKEN_GRANTS_TO_THE_DEAD
			:: !CONNECTED(c) -> fault[c] = false; goto end
#endif
			:: else -> seen = generation
			fi };
		/* fault_enter, look(); who enters has nothing to do with anybody before he looks */
		atomic { !mmaplock_excl && !mmaplock_wanted -> mmaplock_shared++; b = map };
		atomic { /* grant_record(): under holder->lock */
			if
#ifndef BROKEN_GRANTS_TO_THE_DEAD
			:: !CONNECTED(c) -> fault[c] = false; mmaplock_shared--
#endif
			/*
			 * Here, or in close_gate(), or rows 16 and 56: a FAULT that saw no gate is granted
			 * after the recall, and its block is freed while mapped.
			 */
			:: MUST_LOOK_AGAIN -> mmaplock_shared--; b = 0; seen = 0; goto again
			:: else ->
				given[c] = b;
#ifndef BROKEN_SENT_AFTER_UNLOCKING
				send(c, GRANT, b);
				fault[c] = false;
				mmaplock_shared-- /* fault_exit */
#endif
			fi;
#ifndef BROKEN_SENT_AFTER_UNLOCKING
			b = 0;
#endif
			seen = 0 }
#ifdef BROKEN_SENT_AFTER_UNLOCKING
		/* Row 41: the recall of this very grant may be sent before it. */
		; atomic { send(c, GRANT, b); fault[c] = false; mmaplock_shared--; b = 0 }
#endif
	od
}

/* ---- write(2) with O_DIRECT ------------------------------------------------------------------ */

#ifdef WRITE
proctype Writer()
{
	byte old;
	bool late, no_room;

#ifdef FROM_MAPPING
	io_in_flight = (mapped[0] != NOTHING); /* its buffer lies there */
#endif
	atomic { !i_rwsem -> i_rwsem = true };

	/* FUSE_WRITE: write_uncached(). fill_begin() */
	if
	:: atomic { given[0] != HOLE && given[1] != HOLE -> filling = true }
	:: atomic { given[0] == HOLE || given[1] == HOLE -> skip };
	   close_gate();
	   replace_held(); /* without room it would end here */
	   filling = true;
	   end_gate()
	fi;
	atomic { !iolock -> /* taken, and let go of, in this step */
		if
		:: map == HOLE -> allocate()
		:: else
		fi;
		BREAK_IF(owner[map] != OURS, wrong_block_used);
		medium[map] = medium[map] | WRITTEN };
	atomic { filling = false; generation++ }; /* fill_end() */
	atomic { i_rwsem = false; io_in_flight = false; write_returned = true; finished++ }
}
#endif

/* ---- a private mapping through the kernel, in the process of the first client ------------------- */

#ifdef PRIVATE_VIEW
#define ABSENT	0
#define FILLING 1
#define READY	2

byte folio = ABSENT;

proctype PrivateView()
{
	/* mmap() drops what is there, with the mmap_lock held for writing */
	mmap_lock(0);
	folio != FILLING;
	atomic { folio = ABSENT; mm_writer[0] = false };
	/* a load faults with the mmap_lock held for reading */
	atomic { !mm_writer[0] && !mm_writer_waits[0] -> mm_readers[0]++ };
	folio = FILLING;
	folio != FILLING;
	atomic { mm_readers[0]--; finished++ }
}

/* FUSE_READ, admitted past the gate. It never waits for a recall. */
proctype FillWorker()
{
	byte b;

end:	do
	:: folio == FILLING ->
#if defined(BROKEN_FILLS_WAIT_FOR_RECALL)
		/* Row 48: the recall waits for the mmap_lock of the process that waits for this fill. */
		atomic { gate == NO_GATE -> inside++ };
#elif defined(BROKEN_RECALLS_UNDER_LOCK)
		atomic { LETS_IN && !mmaplock_excl -> inside++ };
#elif defined(BROKEN_FILLS_NOT_COUNTED)
		/* Row 17: the block is freed between looking it up and reading it. */
		LETS_IN;
#else
		atomic { LETS_IN -> inside++ };
#endif
		b = map;
		atomic {
			if
			:: b < BLOCKS ->
				BREAK_IF(owner[b] != OURS || (medium[b] & FOREIGN), private_view_wrong)
			:: else
			fi;
			b = 0 };
		atomic {
#ifndef BROKEN_FILLS_NOT_COUNTED
			inside--;
#endif
			folio = READY }
	od
}
#define WITH_VIEW 1
#else
#define WITH_VIEW 0
#endif

/* ---- the layout change ----------------------------------------------------------------------- */

#if defined(PUNCH) || defined(MOVE) || defined(EXCHANGE) || defined(KEEP)
proctype Change()
{
	byte old, left = CHANGES;
	bool late, no_room;

#if defined(PUNCH) || defined(KEEP)
	atomic { !i_rwsem -> i_rwsem = true }; /* FALLOCATE; the others are ioctls */
#endif
again:	close_gate();
	old = map;
	if
	:: old < BLOCKS ->
#if defined(PUNCH)
		map = HOLE;
		free_block(old)
#elif defined(KEEP)
		replace_held();
		atomic {
			if
			:: !no_room -> kept = true
			:: else
			fi }
#elif defined(MOVE)
		if
		:: atomic { owner[1 - old] == FREE -> owner[1 - old] = OURS };
		   medium[1 - old] = medium[old];
		   map = 1 - old;
		   free_block(old)
		:: atomic { owner[1 - old] != FREE -> skip } /* ENOSPC: nothing changed */
		fi
#else
#ifndef BROKEN_EXCHANGES_HELD_BLOCK
		/* Without it, row 55: a stopped client maps the block that another file gets. */
		if
		:: SOMEBODY_LATE -> /* layout_copy_out() */
			atomic { owner[2] == FREE -> owner[2] = OURS };
			medium[2] = medium[old];
			map = 2;
			free_block(old);
			old = 2
		:: !SOMEBODY_LATE
		fi;
#endif
		atomic {
			owner[old] = OTHERS; owner[1] = OURS;
			medium[old] = FOREIGN; medium[1] = medium[1] & ~FOREIGN;
			map = 1 }
#endif
	:: else
	fi;
	old = 0;
	end_gate();
	left--;
	if
	:: left > 0 -> goto again
	:: else
	fi;
	atomic { i_rwsem = false; change_returned = true; finished++ }
}
#define WITH_CHANGE 1
#else
#define WITH_CHANGE 0
#endif

/* ---- the end of quarantine ------------------------------------------------------------------- */

#if defined(DEADLINE) || WITH_DEATH == 1
#define FIRST_QUARANTINED ((owner[0] == QUARANTINED) -> 0 : 1)
#define ANY_QUARANTINED	  (owner[0] == QUARANTINED || owner[1] == QUARANTINED)

bool releasing, had_late;

/* reap(), now and then; in alloc_release_all() quarantined_run(), with the map locked */
inline look_for_quarantine() /* within atomic */
{
	if
	:: ANY_QUARANTINED -> releasing = true; b = FIRST_QUARANTINED
	:: else
	fi
}

proctype Reaper()
{
	byte b;
#ifdef BROKEN_LATE_LOOKED_AT_BEFORE
	byte looks;
#endif

end:	do
#if defined(BROKEN_RELEASED_WHILE_LATE)
	/* Row 40: one of two has answered. */
	:: atomic { ANY_QUARANTINED && (!LATE(0) || !LATE(1)) -> look_for_quarantine() };
#elif defined(BROKEN_LATE_LOOKED_AT_BEFORE)
	/* Row 40: since nobody was late, somebody became so, and his block was freed. */
	:: atomic { !SOMEBODY_LATE && looks < CHANGES -> looks++ }; /* on account of another file */
end_looked: atomic { ANY_QUARANTINED -> look_for_quarantine() };
#elif defined(BROKEN_WAITS_FOR_LATE_ONES)
	/* Row 69: somebody was late between two looks, or has answered before the commit. */
	:: atomic { SOMEBODY_LATE && !had_late -> had_late = true };
	   atomic { !SOMEBODY_LATE -> had_late = false; look_for_quarantine() };
#else
	:: atomic { ANY_QUARANTINED && !SOMEBODY_LATE -> look_for_quarantine() };
#endif
	   if
	   :: atomic { releasing -> /* tx_end() */
		BREAK_IF(MAPS(b), freed_while_mapped);
		owner[b] = FREE; releasing = false; b = 0 }
	   :: !releasing
	   fi
	od
}
#define WITH_REAPER 1
#ifdef BROKEN_WAITS_FOR_LATE_ONES
#define ENDED (!releasing && (!had_late || SOMEBODY_LATE))
#else
#define ENDED (!releasing && (!ANY_QUARANTINED || SOMEBODY_LATE))
#endif
#else
#define WITH_REAPER 0
#define ANY_QUARANTINED false
#define ENDED true
#endif

/* Another file takes a block as soon as one is free. */
proctype OtherFile()
{
	byte b;

end:	atomic { change_returned && (owner[0] == FREE || owner[1] == FREE) ->
		if
		:: owner[0] == FREE -> b = 0
		:: else -> b = 1
		fi;
		owner[b] = OTHERS; medium[b] = FOREIGN;
		BREAK_IF(MAPS(b), freed_while_mapped) }
}

#ifdef WRITE
#define WITH_WRITER 1
#else
#define WITH_WRITER 0
#endif

init {
	atomic {
		mapped[0] = NOTHING; mapped[1] = NOTHING;
		given[0] = NOTHING; given[1] = NOTHING;
		owner[0] = OURS;
#ifdef EXCHANGE
		owner[1] = OTHERS; medium[1] = FOREIGN;
#endif
		run Program(0); run Service(0); run FaultWorker(0);
#if CLIENTS == 2
		run Program(1); run Service(1); run FaultWorker(1);
#endif
#ifdef WRITE
		run Writer();
#endif
#ifdef PRIVATE_VIEW
		run PrivateView(); run FillWorker();
#endif
#if WITH_CHANGE == 1
		run Change();
#endif
#if WITH_DEATH == 1
		run Death();
#endif
#if WITH_REAPER == 1
		run Reaper();
#endif
		run OtherFile()
	};
end:	atomic {
		finished == CLIENTS + WITH_WRITER + WITH_VIEW + WITH_CHANGE &&
		!fault[0] && !fault[1] && gate == NO_GATE && ENDED ->
		BREAK_IF(detached && HOLDS(0), grant_to_the_dead);
		BREAK_IF(!SOMEBODY_LATE && ANY_QUARANTINED, space_lost);
#ifdef CONTENT_STAYS
		BREAK_IF(write_returned && !(map < BLOCKS && (medium[map] & WRITTEN)), write_lost);
		BREAK_IF(store_done && !(map < BLOCKS && (medium[map] & STORED)), store_lost);
#endif
		skip }
}
