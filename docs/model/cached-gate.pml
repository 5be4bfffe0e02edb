/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * cached-gate.pml - a file in cached mode: the kernel's page cache on one side, the gate of
 * src/gate.h on the other, one page between them.
 *
 * Actors of the kernel: a program that loads and stores through its mapping, readahead, write(2),
 * background writeback, and the system call that changes the layout. Actors of the daemon: a
 * worker for each kind of request (FUSE_READ, FUSE_WRITE of write(2), FUSE_WRITE of a dirty folio)
 * and the thread that serves the change. Each statement is a step that the others see whole;
 * between any two, anybody else may run, for any time.
 *
 * What is chosen on the command line (docs/model/run):
 *
 *   PUNCH or TRUNCATE    which system call changes the layout
 *   WHOLE or EDGE        whether all of the page goes, or a part of it
 *   ACCESSES=n WRITES=n FLUSHES=n READAHEAD    how much the kernel's actors do
 *   MAX_ROUNDS=n         after n rounds the change goes on without a clean notify
 *   OLD_KERNEL           up to Linux 6.15: writeback from temporary pages
 *   FAILING              a writeback may fail
 *   DIRECT_READ          a read(2) of a handle with O_DIRECT
 *   SHOW_LIMIT           count what can happen when the rounds are used up as a failure
 *   BROKEN_*             a protection is left out; the comment there says which row of docs/RACES.md
 *                        that shows
 *
 * A rule is a flag that becomes true when the rule is broken. The names are what docs/model/run
 * looks for in the verifier's message.
 */

#ifndef ACCESSES
#define ACCESSES 3
#endif
#ifndef WRITES
#define WRITES 0
#endif
#ifndef FLUSHES
#define FLUSHES 1
#endif

/*
 * What a copy of the page contains, as a set. write(2) covers the whole page. A store covers a few
 * bytes of one part: of the part that the change removes, or (EDGE) of the part that stays.
 */
#define BEFORE	    1 /* the part to be removed, as it was before the change */
#define WRITTEN	    2 /* what write(2) wrote */
#define STORED	    4 /* a store to the part that is removed */
#define KEPT_STORED 8 /* a store to the part that stays */

#ifdef EDGE
#define STAYS (WRITTEN | KEPT_STORED)
#else
#define STAYS 0
#endif

bool old_bytes_seen;		/* a load after the change returned saw what it removed */
bool write_not_seen;		/* a load after write(2) returned did not see what it wrote */
bool store_not_seen;		/* a load did not see an earlier store */
bool removed_bytes_came_back;	/* on the medium, after they had been removed */
bool layout_changed_under_request; /* a request used blocks that are no longer the file's */
bool write_lost;		/* in the end the medium lacks what write(2) wrote */
bool store_lost;		/* in the end the medium lacks a store */
bool cache_differs;		/* in the end a clean folio differs from the medium */
bool changed_after_failed_write; /* the change was made although a write to its range failed */

byte finished; /* actors that have nothing left to do */

#define BREAK_IF(condition, rule)                                                                 \
	if                                                                                        \
	:: condition -> rule = true                                                               \
	:: else                                                                                   \
	fi;                                                                                       \
	assert(!rule)

/* ---- the daemon's state -------------------------------------------------------------------- */

#define NO_GATE	  0
#define OPEN	  1
#define NOTIFYING 2 /* from the start of a notify to gate_close() */
#define CLOSING	  3
#define CLOSED	  4

byte medium = BEFORE;
bool changed;	/* the extents have been manipulated */
byte gate = NO_GATE;
bool seen;	/* gate->seen */
bool failed;	/* gate->failed */
bool kernel_invalidates; /* a notify is under way */
byte inside;	/* admitted and not left */
bool discard;	/* our page is in holder->discards */
bool went_on;	/* the change was made without a clean notify */
#ifdef SHOW_LIMIT
#define EXCUSED false
#else
#define EXCUSED went_on
#endif
bool change_failed;
bool some_write_failed, failed_under_gate;
bool layout_lock; /* BROKEN_READ_TAKES_LOCK */

/* ---- the kernel ---------------------------------------------------------------------------- */

#define ABSENT	0
#define FILLING 1 /* locked, FUSE_READ sent */
#define READY	2 /* up to date */

byte folio = ABSENT, content;
bool locked, dirty;
bool i_rwsem, writeback_stopped;
bool size_cut; /* TRUNCATE: i_size has its new value */
#if defined(TRUNCATE) && defined(WHOLE)
#define BEYOND_EOF (size_cut && (change_returned || folio == ABSENT))
#else
#define BEYOND_EOF false
#endif

/* A request, from the kernel's queue to its reply. */
#define NONE   0
#define QUEUED 1 /* writeback only: in the kernel, may be stopped */
#define SENT   2 /* a worker can read it */
#define TAKEN  3 /* by a worker */

byte fill = NONE;
byte write = NONE, write_payload;
byte writeback = NONE, writeback_payload;
bool write_has_folio;	   /* the folio of write(2) is still the one in the cache */
bool writeback_sent_first; /* of the two requests in the queue */
bool write_listed, writeback_listed; /* in holder->admissions */
bool writeback_older;	   /* of the two that are listed */
bool cropped;		   /* the writeback was cut at i_size when it was sent */

bool change_returned, write_returned, store_done, kept_store_done;

/*
 * A store to the removed part of an edge, after the manipulation and before the change returned:
 * the kernel wipes it from its cache even if it was written back before. A limit of FUSE.
 */
bool store_raced;

#define USABLE (folio == READY && !locked)

/*
 * Old kernels copy a dirty folio to a temporary page and end its writeback at once: truncation and
 * invalidation do not wait. New fills, page_mkwrite and write(2) do, in all kernels.
 */
#ifdef OLD_KERNEL
#define FOLIO_STABLE true
#define TAKE_PAYLOAD_EARLY writeback_payload = content
#define TAKE_PAYLOAD_LATE skip
#else
#define FOLIO_STABLE (writeback == NONE)
#define TAKE_PAYLOAD_EARLY skip
#define TAKE_PAYLOAD_LATE writeback_payload = content
#endif

inline start_writeback() /* within atomic; writeback == NONE */
{
	dirty = false;
	writeback = QUEUED;
	TAKE_PAYLOAD_EARLY
}

inline drop_folio() /* within atomic */
{
	if
	:: write_has_folio && (write == NONE || write == SENT) ->
		write_payload = content; /* the request keeps the page */
		write_has_folio = false
	:: else
	fi;
	folio = ABSENT; content = 0; locked = false; dirty = false
}

/* invalidate_inode_pages2(), which is what a notify does: launders, then drops. */
inline invalidate()
{
	if
	:: atomic { folio == ABSENT -> skip }
	:: atomic { folio != ABSENT && !locked -> locked = true };
	   if
	   :: atomic { dirty && writeback == NONE -> start_writeback() };
	      writeback == NONE
	   :: atomic { !dirty && FOLIO_STABLE -> skip }
	   fi;
	   atomic { drop_folio() }
	fi
}

/* truncate_pagecache(): whole pages are dropped, dirty or not; in an edge, zeroes are written. */
inline truncate_cache()
{
	if
	:: atomic { folio == ABSENT -> skip }
	:: atomic { folio != ABSENT && !locked -> locked = true };
	   FOLIO_STABLE;
	   atomic {
#ifdef EDGE
		content = content & STAYS; locked = false
#else
		drop_folio()
#endif
	   }
	fi
}

active proctype Program()
{
	byte left = ACCESSES;

	do
	:: left > 0 ->
		left--;
touch:		if
		:: atomic { BEYOND_EOF -> goto done } /* SIGBUS */
		:: atomic { USABLE && !BEYOND_EOF ->
			BREAK_IF(change_returned && (content & BEFORE), old_bytes_seen);
#ifndef ONLY_THE_MEDIUM
			BREAK_IF(write_returned && !(content & WRITTEN), write_not_seen);
#endif
			BREAK_IF(kept_store_done && !(content & KEPT_STORED), store_not_seen);
			BREAK_IF(store_done && !(content & STORED), store_not_seen);
			if
			:: goto done /* it was a load */
			:: goto store
			fi }
		:: atomic { folio == ABSENT && !BEYOND_EOF ->
			folio = FILLING; locked = true; goto read }
		:: atomic { locked && !BEYOND_EOF -> goto wait }
		fi;

		/* page_mkwrite waits for writeback; a folio that went meanwhile faults again */
store:		if
		:: atomic { USABLE && !BEYOND_EOF && writeback == NONE ->
			dirty = true;
			if
#ifndef TRUNCATE
			:: content = content | STORED;
			   store_done = store_done || change_returned;
#ifdef EDGE
			   store_raced = store_raced || (changed && !change_returned)
#endif
#endif
#ifdef EDGE
			:: content = content | KEPT_STORED;
			   kept_store_done = true
#endif
#if defined(TRUNCATE) && defined(WHOLE)
			:: content = content | STORED
#endif
			fi;
			goto done }
		:: atomic { !USABLE || BEYOND_EOF -> goto touch }
		fi;

		/* Fills of a page wait until its writeback is over. */
read:		atomic { writeback == NONE -> fill = SENT };
wait:		!locked;
		goto touch;
done:		skip
	:: left == 0 -> break
	od;
	finished++
}

#ifdef READAHEAD
active proctype Readahead()
{
	if
	:: atomic { folio == ABSENT && !BEYOND_EOF -> folio = FILLING; locked = true };
	   atomic { writeback == NONE -> fill = SENT }
	:: true
	fi;
	finished++
}
#endif

/* write(2): i_rwsem; copy to the folio, which is valid and *unlocked* from here; send. */
#if WRITES > 0
active proctype Writer()
{
	byte left = WRITES;

	do
	:: left > 0 ->
		left--;
		atomic { !i_rwsem -> i_rwsem = true };
		atomic { !locked ->
			folio = READY;
			content = WRITTEN | (changed -> 0 : BEFORE);
			write_has_folio = true;
			write_returned = false; store_done = false; kept_store_done = false };
		writeback == NONE;
		atomic { write = SENT; writeback_sent_first = (writeback == SENT) };
		write == NONE;
		atomic {
			i_rwsem = false; write_has_folio = false; write_returned = true;
			size_cut = false /* it grew the file again */ }
	:: left == 0 -> break
	od;
	finished++
}
#endif

active proctype Flusher()
{
	byte left = FLUSHES;

end:	do
	:: atomic { left > 0 && dirty && !locked && writeback == NONE ->
		left--;
		start_writeback() }
	od
}

/* What i_size has cut off is not sent. */
active proctype SendWriteback()
{
end:	do
	:: atomic { writeback == QUEUED && !writeback_stopped ->
#ifdef WHOLE
		if
		:: size_cut -> writeback = NONE; writeback_payload = 0
		:: else -> writeback = SENT; writeback_sent_first = (write != SENT)
		fi
#else
		writeback = SENT; writeback_sent_first = (write != SENT); cropped = size_cut
#endif
		}
	od
}

/* ---- the daemon ---------------------------------------------------------------------------- */

/* gate_admit(): a closing or closed gate parks everyone; an open one remembers fills and writes. */
#define LETS_IN (gate != CLOSING && gate != CLOSED)

inline note_admission() /* within atomic */
{
	inside++;
#ifdef BROKEN_SEEN_WHILE_NOTIFYING
	/* Rows 16, 17: who comes in between the end of the notify and gate_close() is not noted. */
	seen = seen || kernel_invalidates
#else
	seen = true /* mark_seen() */
#endif
}

/*
 * FUSE_READ: run_read(). A fill that meets a notify is held over for a while. Here that needs no
 * step of its own: an admission may be late by any time, so every length of that while is covered.
 */
active proctype FillWorker()
{
	bool layout; /* the one that was looked up */

end:	do
	:: fill == SENT ->
#if defined(BROKEN_FILLS_WAIT_FOR_NOTIFY)
		/* Rows 37, 53: the notify waits for the folio, and this fill for the notify. */
		atomic { gate == NO_GATE || gate == OPEN -> note_admission(); fill = TAKEN };
#elif defined(BROKEN_READ_TAKES_LOCK)
		/* Row 37: the lock over which the change notifies. */
		atomic { LETS_IN && !layout_lock -> note_admission(); fill = TAKEN };
#elif defined(BROKEN_COUNTS_REPLIES)
		/* Row 46: a fill that has looked up the old layout and not replied is missed. */
		atomic { LETS_IN -> fill = TAKEN };
#else
		atomic { LETS_IN -> note_admission(); fill = TAKEN };
#endif
#ifndef BROKEN_DISCARD_OUTLIVES_REPLY
		/*
		 * The kernel asks, so it has no old copy any more. Row 64: if that were only noted when
		 * the fill leaves, the page's first store could be written back, and dropped, before.
		 */
		discard = false;
#endif
		layout = changed; /* file_read_begin() */
#ifdef BROKEN_LEAVES_BEFORE_REPLY
		/* Row 17: the reply is copied from blocks that are no longer the file's. */
		inside--;
#endif
		/* The reply is sent from where the bytes stand in the region. */
		atomic {
			BREAK_IF(layout != changed, layout_changed_under_request);
			folio = READY; content = medium; locked = false; fill = NONE };
		atomic { /* gate_leave() */
#ifdef BROKEN_DISCARD_OUTLIVES_REPLY
			discard = false;
#endif
#if defined(BROKEN_COUNTS_REPLIES)
			seen = true;
#elif !defined(BROKEN_LEAVES_BEFORE_REPLY)
			inside--;
#endif
			layout = false }
	od
}

#ifdef DIRECT_READ
/*
 * read(2) of a handle with O_DIRECT: a FUSE_READ like any other, admitted and counted like a fill,
 * but the kernel may go on having an old folio of the page, so it ends no discard.
 */
active proctype DirectReadWorker()
{
	bool layout;

	atomic { LETS_IN -> note_admission() };
	layout = changed;
	BREAK_IF(layout != changed, layout_changed_under_request);
	atomic {
		inside--;
		layout = false;
#ifdef BROKEN_DIRECT_READ_ENDS_DISCARD
		/* Row 65: it took no copy for the page cache, and the old folio is still there. */
		discard = false;
#endif
		skip }
}
#endif

/*
 * The two kinds of FUSE_WRITE have a place in the order from gate_announce() to gate_leave(), which
 * comes after the reply: a request that the kernel sends when it has that may still have to wait.
 */
#ifdef BROKEN_UNORDERED
/* Row 57: a store's writeback overtakes the older write(2) to the same page. */
#define WRITE_MAY_GO	 LETS_IN
#define WRITEBACK_MAY_GO LETS_IN
#else
#define WRITE_MAY_GO	 (LETS_IN && !(writeback_listed && writeback_older))
#define WRITEBACK_MAY_GO (LETS_IN && !(write_listed && !writeback_older))
#endif

#if WRITES > 0
/* run_write() for write(2) */
active proctype WriteWorker()
{
end:	do
	:: atomic { write == SENT && !(writeback == SENT && writeback_sent_first) ->
		if
		:: write_has_folio -> write_payload = content
		:: else
		fi;
		write_has_folio = false;
#ifdef BROKEN_ANNOUNCED_LATE
		/* Row 57: read from the queue in order, announced in another. */
		write = TAKEN };
	   atomic {
#endif
		write = TAKEN; write_listed = true; writeback_older = writeback_listed };
	   atomic { WRITE_MAY_GO -> note_admission() };
	   medium = write_payload;
	   atomic { write_payload = 0; write = NONE }; /* the reply */
	   atomic { inside--; discard = false; write_listed = false } /* gate_leave() */
	od
}
#endif

/* run_write() for a dirty folio */
active proctype WritebackWorker()
{
	bool drop, failure;

end:	do
	:: atomic { writeback == SENT && !(write == SENT && !writeback_sent_first) ->
		TAKE_PAYLOAD_LATE;
		writeback = TAKEN; writeback_listed = true; writeback_older = !write_listed };
	   atomic { WRITEBACK_MAY_GO -> inside++ };
	   drop = discard; /* gate_discarded() */
	   if
	   :: atomic { drop -> skip }
	   :: atomic { !drop ->
		if
		:: cropped ->
			medium = (medium & ~STAYS) | (writeback_payload & STAYS)
		:: else ->
			BREAK_IF(changed && (writeback_payload & BEFORE) && !EXCUSED,
				 removed_bytes_came_back);
			medium = writeback_payload
		fi }
#ifdef FAILING
	   :: atomic { !drop && !some_write_failed -> /* -ENOSPC: only fsync will tell */
		failure = true; some_write_failed = true;
		store_done = false; kept_store_done = false;
		failed_under_gate = (gate != NO_GATE) }
#endif
	   fi;
	   atomic { drop = false; writeback_payload = 0; cropped = false; writeback = NONE };
	   atomic { /* gate_leave() */
		inside--; writeback_listed = false;
		failed = failed || (failure && gate != NO_GATE);
		failure = false }
	od
}

inline manipulate()
{
	atomic {
		BREAK_IF(failed_under_gate, changed_after_failed_write);
		medium = medium & STAYS;
		changed = true;
#ifndef EDGE
		write_returned = false; /* what was written before is gone, as it should be */
#endif
#if defined(WHOLE) && defined(PUNCH) && !defined(BROKEN_NO_DISCARD)
		/* Without it, rows 34 and 47: a folio dirtied before the kernel truncates its cache. */
		discard = true /* gate_discard() */
#endif
	};
	gate = NO_GATE /* gate_end() */
}

#ifdef BROKEN_NOT_REOPENED
/* Row 67: the next round begins with requests still parked, and they hold folios. */
#define LET_GO	     gate = CLOSED
#define START_NOTIFY gate = (gate == CLOSED -> CLOSED : NOTIFYING)
#else
#define LET_GO	     gate = OPEN
#define START_NOTIFY gate = NOTIFYING
#endif

#ifdef PUNCH
/* fallocate(2): the kernel holds i_rwsem, flushes, sends, and truncates its cache afterwards. */
active proctype Change()
{
	byte rounds;

	atomic { !i_rwsem -> i_rwsem = true };
	if
	:: atomic { dirty && writeback == NONE -> start_writeback() }; writeback == NONE
	:: atomic { !dirty && writeback == NONE -> skip }
	fi;

	/* layout_fallocate(): layout_enter() of the policy */
	gate = OPEN; /* gate_open() */
#if defined(EDGE) && !defined(BROKEN_NO_NOTIFY)
again:	atomic { START_NOTIFY; seen = false; kernel_invalidates = true }; /* gate_notify() */
#ifdef BROKEN_READ_TAKES_LOCK
	layout_lock = true;
#endif
	invalidate();
	kernel_invalidates = false;
#ifdef BROKEN_READ_TAKES_LOCK
	layout_lock = false;
#endif
	/* gate_notify() of the page at the other end of the range: here only its start matters */
#ifdef BROKEN_SEEN_FORGOTTEN
	seen = false; /* Rows 16, 17: it forgets who came in during the first one. */
#else
	skip;
#endif

	gate = CLOSING; /* gate_close() */
	inside == 0;
#ifdef MAX_ROUNDS
	rounds++;
#endif
	if
	:: atomic { !seen -> gate = CLOSED }
#ifdef MAX_ROUNDS
	:: atomic { seen && rounds < MAX_ROUNDS -> LET_GO }; goto again
	:: atomic { seen && rounds >= MAX_ROUNDS -> gate = CLOSED; went_on = true }
#else
	:: atomic { seen -> LET_GO }; goto again
#endif
	fi;
#else
	/* Without a notify, row 47 for an edge: a dirty folio brings punched bytes back. */
	gate = CLOSING; /* gate_close() */
	inside == 0;
	gate = CLOSED;
#endif

#ifdef FAILING
#ifndef BROKEN_IGNORES_FAILURE /* row 54 */
	if
	:: atomic { failed -> gate = NO_GATE; change_failed = true }; goto out
	:: else
	fi;
#endif
#endif
	manipulate();
	/* the reply */
	truncate_cache();
	change_returned = true;
out:	atomic { i_rwsem = false; finished++ }
}
#endif

#ifdef TRUNCATE
/* truncate(2): i_rwsem is held and writeback stopped until the reply. */
active proctype Change()
{
	atomic { !i_rwsem -> i_rwsem = true };
	writeback_stopped = true;
	(writeback == NONE || writeback == QUEUED);

	/* layout_truncate() */
	gate = OPEN;
#ifdef BROKEN_NOTIFY_IN_TRUNCATE
	/* Row 44: a dirty folio cannot be laundered while writeback is stopped. */
	atomic { gate = NOTIFYING; seen = false };
	invalidate();
	gate = OPEN;
#endif
	gate = CLOSING; /* gate_close() */
	inside == 0;
	gate = CLOSED;
	manipulate();

	/* the reply: i_size, the queued writeback, the cache */
	atomic { size_cut = true; writeback_stopped = false };
	truncate_cache();
	invalidate();
	atomic { i_rwsem = false; change_returned = true; finished++ }
}
#endif

#ifdef BROKEN_NOTIFY_BESIDE_WRITE
/*
 * A notify while nobody holds i_rwsem. Row 45: it drops the folio of a write(2) under way, and a
 * fill reads the old bytes. Row 58 (ONLY_THE_MEDIUM): a store dirties them, and they are
 * written over the write.
 */
active proctype Notify()
{
	invalidate()
}
#endif

#ifdef READAHEAD
#define WITH_READAHEAD 1
#else
#define WITH_READAHEAD 0
#endif
#if WRITES > 0
#define WITH_WRITER 1
#else
#define WITH_WRITER 0
#endif

/* When everybody is done: where is what was stored, and does the cache agree with the medium? */
#define NEWEST	 (dirty -> content : medium)
#define COMPARED                                                                                  \
	(some_write_failed -> 0 :                                                                 \
	 ((store_raced || went_on) -> STAYS : (BEFORE | WRITTEN | STORED | KEPT_STORED)))

active proctype Finally()
{
end:	atomic {
		finished == 2 + WITH_READAHEAD + WITH_WRITER && !locked &&
		fill == NONE && write == NONE && writeback == NONE && inside == 0 ->
		BREAK_IF(write_returned && !(NEWEST & WRITTEN), write_lost);
		BREAK_IF(store_done && !(NEWEST & STORED), store_lost);
		BREAK_IF(kept_store_done && !(NEWEST & KEPT_STORED), store_lost);
#ifndef ONLY_THE_MEDIUM
		BREAK_IF(folio == READY && !dirty && ((content ^ medium) & COMPARED), cache_differs);
#endif
		skip }
}
