/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * uncached-gate.pml - a file in uncached mode: clients that map the region directly, recalled
 * through the gate of src/gate.h. One page of one file, three states of it (two blocks, and a
 * hole), two clients.
 *
 * Clients are not in the daemon yet: this is the protocol that they will follow, checked before it
 * is written. A FAULT looks at the gate, takes mmaplock shared, looks up the block, and records its
 * grant in one step with looking at the gate again. Closing a gate, in turn, finds grants. A client
 * that does not answer a recall in time is late, and what it may still map is kept out of use.
 *
 * What is chosen on the command line (docs/model/run):
 *
 *   PUNCH, MOVE, EXCHANGE   what the layout change does to the block: frees it, moves its content to
 *                           another one, gives it to another file
 *   HOLE_FIRST              the page is a hole in the beginning
 *   CLIENTS=n ACCESSES=n    how many clients, and what each does
 *   PRIVATE_VIEW            a MAP_PRIVATE mapping in the process of the first client
 *   WRITE                   write(2) with O_DIRECT; FROM_MAPPING: its buffer is a direct mapping
 *   DEADLINE                a client may be late
 *   DEATH                   the first client may die at any time
 *   BROKEN_*                a protection is left out; the comment there says which row of
 *                           docs/RACES.md that shows
 */

#ifndef CLIENTS
#define CLIENTS 2
#endif
#ifndef ACCESSES
#define ACCESSES 2
#endif

bool wrong_block_used;	/* a client used a block that is not the file's (any more) */
bool freed_while_mapped; /* a block became free while somebody still maps it */
bool foreign_bytes_seen; /* a client read what belongs to another file */
bool write_not_seen;	/* a load after write(2) returned did not see what it wrote */
bool store_not_seen;	/* one client did not see what another one stored before */
bool private_view_wrong; /* the kernel filled a page from a block that is not the file's */
bool grant_to_the_dead; /* nobody will ever acknowledge it */
bool write_lost, store_lost; /* in the end */

#define BREAK_IF(condition, rule)                                                                 \
	if                                                                                        \
	:: condition -> rule = true                                                               \
	:: else                                                                                   \
	fi;                                                                                       \
	assert(!rule)

/* ---- the medium ------------------------------------------------------------------------------ */

#define BLOCKS	2
#define HOLE	2 /* of `map`, of grants and of mappings: zeroes */
#define NOTHING 3

#define FREE	    0
#define OURS	    1
#define QUARANTINED 2 /* free, but a late client may still map it */
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
byte inside; /* admitted fills */
bool iolock, mmaplock_excl, mmaplock_wanted;
byte mmaplock_shared;

#define LETS_IN (gate != CLOSING && gate != CLOSED)

#define NO_GRANT 0
#define GIVEN	 1
#define RECALLED 2
#define LATE	 3

byte grant[2], granted[2]; /* to each client, and which block */
bool known_dead;	   /* the first client */

#define HOLDS(c) (grant[c] == GIVEN || grant[c] == RECALLED)

/* ---- clients --------------------------------------------------------------------------------- */

mtype = { GRANT, RECALL };
chan stream0 = [2] of { mtype, byte };
chan stream1 = [2] of { mtype, byte };

byte mapped[2];	  /* what the client maps */
bool fault[2];	  /* a FAULT was sent and not answered */
bool dead;	  /* the first client */
bool io_in_flight; /* a system call of the first client that uses its mapping */

#define DEAD(c)	    (dead && c == 0)
#define UNREAD(c)   ((c == 0) -> len(stream0) : len(stream1))
#define MAPS(b)	    (mapped[0] == b || mapped[1] == b)
#define ANSWERED(c) (!fault[c] && UNREAD(c) == 0 && grant[c] == NO_GRANT)

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
byte finished;

inline send(c, what, b) /* within atomic */
{
	if
	:: c == 0 -> stream0!what(b)
	:: else -> stream1!what(b)
	fi
}

/* The client acknowledged, or is dead: its grant is gone, and its quarantine. */
inline release_grant(c) /* within atomic */
{
	if
	:: granted[c] < BLOCKS && owner[granted[c]] == QUARANTINED &&
	   !(grant[1 - c] == LATE && granted[1 - c] == granted[c]) ->
		owner[granted[c]] = FREE;
		BREAK_IF(mapped[1 - c] == granted[c] || (mapped[c] == granted[c] && !DEAD(c)),
			 freed_while_mapped)
	:: else
	fi;
	grant[c] = NO_GRANT; granted[c] = NOTHING
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
				   (owner[mapped[c]] == QUARANTINED && grant[c] == LATE)) ||
				 (mapped[c] != map && grant[c] != LATE), wrong_block_used);
			BREAK_IF(medium[mapped[c]] & FOREIGN, foreign_bytes_seen);
			if
			:: grant[c] != LATE ->
#ifdef CONTENT_STAYS
				BREAK_IF(write_returned && !(medium[mapped[c]] & WRITTEN), write_not_seen);
				BREAK_IF(store_done && !(medium[mapped[c]] & STORED), store_not_seen);
#endif
				store_done = store_done || c == 0
			:: else /* a late client's view is old, and its stores are lost */
			fi;
			if
			:: c == 0 -> medium[mapped[c]] = medium[mapped[c]] | STORED
			:: else
			fi }
		:: atomic { !DEAD(c) && mapped[c] == HOLE && c != 0 ->
#ifdef CONTENT_STAYS
			BREAK_IF(grant[c] != LATE && write_returned, write_not_seen);
			BREAK_IF(grant[c] != LATE && store_done, store_not_seen);
#endif
			skip }
#ifdef HOLE_FIRST
		/* a store to write-protected zeroes: gives them up and faults for writing */
		:: atomic { !DEAD(c) && mapped[c] == HOLE && c == 0 && grant[c] == GIVEN &&
			    UNREAD(c) == 0 ->
			mapped[c] = NOTHING; release_grant(c); goto again }
		:: atomic { !DEAD(c) && mapped[c] == HOLE && c == 0 && grant[c] != GIVEN -> skip };
		   (DEAD(c) || mapped[c] != HOLE); goto again
#else
		:: atomic { !DEAD(c) && mapped[c] == HOLE && c == 0 -> skip }
#endif
		:: atomic { !DEAD(c) && mapped[c] == NOTHING && ANSWERED(c) -> fault[c] = true };
		   (DEAD(c) || mapped[c] != NOTHING || ANSWERED(c)); goto again
		:: atomic { !DEAD(c) && mapped[c] == NOTHING && !ANSWERED(c) -> skip };
		   (DEAD(c) || mapped[c] != NOTHING || ANSWERED(c)); goto again
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
#ifdef BROKEN_RECALL_OVERTAKES
	/* Row 41: two streams, or a datagram: the recall arrives before the grant that it revokes. */
	:: atomic { !DEAD(c) && c == 0 && stream0??[RECALL, _] -> stream0??RECALL(b); what = RECALL };
	   goto serve
#endif
	:: atomic { !DEAD(c) && UNREAD(c) > 0 ->
		if
		:: c == 0 -> stream0?what(b)
		:: else -> stream1?what(b)
		fi };
serve:	   if
	   :: what == GRANT ->
		mmap_lock(c);
		atomic {
			if
			:: !DEAD(c) -> mapped[c] = b
			:: else
			fi;
			mm_writer[c] = false; b = 0 }
	   :: what == RECALL ->
#ifdef BROKEN_ACKNOWLEDGES_AFTER_IO
		/* Row 62: the I/O waits for i_rwsem, whose holder waits for this acknowledgement. */
		(c != 0 || !io_in_flight);
#endif
		mmap_lock(c);
		atomic { mapped[c] = NOTHING; mm_writer[c] = false; b = 0 };
		atomic {
			if
			:: !DEAD(c) -> release_grant(c)
			:: else
			fi }
	   fi
	od
}

#ifdef DEATH
/*
 * The process exits: its mappings are gone; afterwards the daemon learns of it.
 */
proctype Death()
{
#ifdef BROKEN_END_OF_STREAM_IS_DEATH
	/* Row 61: it has only closed its descriptors. */
	atomic { release_grant(0) }
#else
	atomic { dead = true; mapped[0] = NOTHING; mm_writer[0] = false; mm_writer_waits[0] = false };
	atomic { known_dead = true; release_grant(0) }
#endif
}
#endif

/* ---- the gate -------------------------------------------------------------------------------- */

inline recall_one(c)
{
	atomic {
		if
		:: grant[c] == GIVEN -> grant[c] = RECALLED; send(c, RECALL, 0)
		:: else
		fi };
	if
	:: grant[c] != RECALLED
#ifdef DEADLINE
	:: atomic { grant[c] == RECALLED -> grant[c] = LATE }
#endif
	fi
}

inline take_mmaplock()
{
	mmaplock_wanted = true;
	atomic { !mmaplock_excl && mmaplock_shared == 0 ->
		mmaplock_excl = true; mmaplock_wanted = false }
}

/* gate_open(), gate_recall(), the locks, gate_close(); until nobody holds anything but who is late */
inline close_gate()
{
	atomic { gate == NO_GATE -> gate = OPEN };
	do
	:: true ->
#ifdef BROKEN_RECALLS_UNDER_LOCK
		/* Row 48: a fill, with the mmap_lock of the process held, waits for this lock. */
		take_mmaplock();
#endif
		recall_one(0);
		recall_one(1);
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

inline end_gate()
{
	atomic { gate = NO_GATE; iolock = false; mmaplock_excl = false }
}

/* Filling a hole is a layout change for whoever holds its zeroes. */
inline fill_hole()
{
	close_gate();
	atomic {
		if
		:: map == HOLE -> allocate()
		:: else
		fi };
	end_gate()
}

/* ---- FAULT ----------------------------------------------------------------------------------- */

proctype FaultWorker(byte c)
{
	byte b;

end:	do
	:: fault[c] ->
again:
		gate == NO_GATE; /* else parked */
		atomic { !mmaplock_excl && !mmaplock_wanted -> mmaplock_shared++ };
		b = map; /* get_blocks() */
#ifdef HOLE_FIRST
		if
		:: atomic { b == HOLE && c == 0 -> mmaplock_shared-- };
#ifndef BROKEN_FILLS_HOLE_BESIDE_ZEROES
		   fill_hole()
#else
		   /* Row 10: who holds zeroes for the hole goes on reading them. */
		   atomic { !mmaplock_excl && gate == NO_GATE ->
			if
			:: map == HOLE -> allocate()
			:: else
			fi }
#endif
		   ; goto again
		:: else
		fi;
#endif
		atomic { /* under holder->lock */
			if
#if !defined(ONLY_CLOSE_LOOKS) && !defined(BROKEN_NOBODY_LOOKS)
			/*
			 * Here, or in close_gate(), or rows 16 and 56: a FAULT that saw no gate is granted
			 * after the recall, and its block is freed while mapped.
			 */
			:: gate != NO_GATE -> mmaplock_shared--; goto again
#endif
#ifndef BROKEN_GRANTS_TO_THE_DEAD
			/* Without it, row 60: its grants were dropped, and here comes one more. */
			:: c == 0 && known_dead -> fault[c] = false
#endif
			:: else ->
				grant[c] = GIVEN; granted[c] = b;
				send(c, GRANT, b);
				fault[c] = false
			fi;
			b = 0 };
		mmaplock_shared--
	od
}

/* ---- write(2) with O_DIRECT ------------------------------------------------------------------ */

#ifdef WRITE
proctype Writer()
{
#ifdef FROM_MAPPING
	io_in_flight = (mapped[0] != NOTHING); /* its buffer lies there */
#endif
	atomic { !i_rwsem -> i_rwsem = true };

	/* FUSE_WRITE: file_write() */
	atomic { !iolock -> iolock = true };
	if
	:: atomic { map < BLOCKS ->
		BREAK_IF(owner[map] != OURS, wrong_block_used);
		medium[map] = medium[map] | WRITTEN; iolock = false }
	:: atomic { map == HOLE -> iolock = false };
#ifndef BROKEN_FILLS_HOLE_BESIDE_ZEROES
	   close_gate();
	   atomic {
		if
		:: map == HOLE -> allocate()
		:: else
		fi;
		medium[map] = medium[map] | WRITTEN };
	   end_gate()
#else
	   atomic { gate == NO_GATE && !mmaplock_excl ->
		if
		:: map == HOLE -> allocate()
		:: else
		fi;
		medium[map] = medium[map] | WRITTEN }
#endif
	fi;
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

#define IS_LATE_ON(c, b) (grant[c] == LATE && granted[c] == b)

inline free_block(b)
{
	atomic {
		if
#ifndef BROKEN_NO_QUARANTINE
		/* Without it, row 40: a client was recalled and has not acknowledged. */
		:: IS_LATE_ON(0, b) || IS_LATE_ON(1, b) -> owner[b] = QUARANTINED
#endif
		:: else -> owner[b] = FREE; BREAK_IF(MAPS(b), freed_while_mapped)
		fi }
}

#ifdef BROKEN_EXCHANGES_HELD_BLOCK
/* Row 55: a stopped client still maps the block that another file gets. */
#define MAY_GIVE_AWAY(b) true
#else
#define MAY_GIVE_AWAY(b) (!IS_LATE_ON(0, b) && !IS_LATE_ON(1, b))
#endif

#if defined(PUNCH) || defined(MOVE) || defined(EXCHANGE)
proctype Change()
{
	byte old;

#ifdef PUNCH
	atomic { !i_rwsem -> i_rwsem = true }; /* FALLOCATE; the others are ioctls */
#endif
	close_gate();
	old = map;
	if
	:: old < BLOCKS ->
#if defined(PUNCH)
		map = HOLE;
		free_block(old)
#elif defined(MOVE)
		if
		:: atomic { owner[1 - old] == FREE -> owner[1 - old] = OURS };
		   medium[1 - old] = medium[old];
		   map = 1 - old;
		   free_block(old)
		:: atomic { owner[1 - old] != FREE -> skip } /* ENOSPC: nothing changed */
		fi
#else
		if
		:: atomic { MAY_GIVE_AWAY(old) ->
			owner[old] = OTHERS; owner[1 - old] = OURS;
			medium[old] = FOREIGN; medium[1 - old] = medium[1 - old] & ~FOREIGN;
			map = 1 - old }
		:: else /* a copy is needed, and there is no room: ENOSPC */
		fi
#endif
	:: else
	fi;
	end_gate();
	atomic { i_rwsem = false; change_returned = true; finished++ }
}
#define WITH_CHANGE 1
#else
#define WITH_CHANGE 0
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
		granted[0] = NOTHING; granted[1] = NOTHING;
#ifdef HOLE_FIRST
		map = HOLE;
#else
		owner[0] = OURS;
#endif
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
#ifdef DEATH
		run Death();
#endif
		run OtherFile()
	};
end:	atomic {
		finished == CLIENTS + WITH_WRITER + WITH_VIEW + WITH_CHANGE &&
		!fault[0] && !fault[1] && gate == NO_GATE ->
		BREAK_IF(known_dead && grant[0] != NO_GRANT, grant_to_the_dead);
#ifdef CONTENT_STAYS
		BREAK_IF(write_returned && !(map < BLOCKS && (medium[map] & WRITTEN)), write_lost);
		BREAK_IF(store_done && !(map < BLOCKS && (medium[map] & STORED)), store_lost);
#endif
		skip }
}
