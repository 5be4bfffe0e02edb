/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * modes.pml - the mode of a file, as src/mode.c decides and leaves it: opens and releases, clients
 * that attach late, the notify at the entry of a mode, and layout changes that need uncached mode.
 * One file of one page.
 *
 * What is asked: does a program with a cached handle ever see a page that is older than the medium?
 * Does a client ever map the file while the kernel may hold copies of it?
 *
 * A worker of the daemon that serves an open is the same process here as the program that waits for
 * it; RELEASE, for which nobody waits, has a worker of its own. What the gate does while the page
 * cache is in use is checked in cached-gate.pml; here it is only as detailed as the modes need it.
 *
 * What is chosen on the command line (docs/model/run):
 *
 *   ORDINARY=n SESSIONS=n   programs that open without O_DIRECT, and how often each does
 *   DIRECT_SESSIONS=n       how often the client opens with O_DIRECT and attaches
 *   WRITES                  the first ordinary program also calls write(2)
 *   CHANGE                  a change that needs uncached mode (collapse, insert, exchange) by
 *                           somebody who has no handle of the file
 *   TRUNCATE                truncate(2) by path: no handle either, but through the kernel
 *   BROKEN_*                a protection is left out; the comment there says which row of
 *                           docs/RACES.md that shows
 */

#ifndef ORDINARY
#define ORDINARY 1
#endif
#ifndef SESSIONS
#define SESSIONS 2
#endif
#ifndef DIRECT_SESSIONS
#define DIRECT_SESSIONS 2
#endif

bool stale_load;	/* a program with a cached handle saw a page that the medium has not */
bool mapped_while_cached; /* a client maps the file, and the kernel may hold copies */
bool old_page_came_back; /* a page from before a change was written back after it */
bool mode_was_not_left;	/* in the end */

#define BREAK_IF(condition, rule)                                                                 \
	if                                                                                        \
	:: condition -> rule = true                                                               \
	:: else                                                                                   \
	fi;                                                                                       \
	assert(!rule)

/* ---- the daemon's state: struct holder ------------------------------------------------------ */

#define NO_MODE	 0
#define CACHED	 1
#define UNCACHED 2

byte mode = NO_MODE, last_mode = NO_MODE;
bool entering;
byte nhandles, nattached;

#define NO_GATE 0
#define OPEN	1
#define CLOSING 2
#define CLOSED	3

byte gate = NO_GATE;
byte inside; /* admitted requests */
bool granted; /* to the client */

#define LETS_IN (gate != CLOSING && gate != CLOSED)

/* What a copy of the page contains, as a set. */
#define CHANGED	      1 /* by the layout change */
#define KERNEL_STORED 2
#define CLIENT_STORED 4
#define WRITTEN	      8 /* by write(2) */

byte medium;
bool changed;

/* ---- the kernel's state ---------------------------------------------------------------------- */

#define ABSENT	0
#define FILLING 1
#define READY	2

byte folio = ABSENT, content;
bool locked, dirty;
bool i_rwsem;
bool write_in_flight;
byte writeback, writeback_payload; /* NONE, QUEUED, SENT */
bool writeback_stopped, size_cut;
byte cached_handles, uncached_handles; /* answered and not closed */
byte cached_releases, uncached_releases; /* queued */
bool mapped; /* the client has its mapping */

#define NONE   0
#define QUEUED 1
#define SENT   2

#define CHECK_MAPPING BREAK_IF(mapped && cached_handles > 0, mapped_while_cached)

byte finished;

/* A dirty folio is written back by who calls this, and waits until that is done. */
inline write_back()
{
	atomic { dirty && writeback == NONE -> dirty = false; writeback = QUEUED;
		 writeback_payload = content };
	atomic { !writeback_stopped && LETS_IN && !write_in_flight ->
		if
		:: size_cut -> skip /* beyond EOF by now */
		:: else -> writeback = SENT; inside++
		fi };
	atomic {
		if
		:: writeback == SENT ->
			BREAK_IF(changed && !(writeback_payload & CHANGED), old_page_came_back);
			medium = writeback_payload;
			inside--
		:: else
		fi;
		writeback = NONE; writeback_payload = 0 }
}

inline drop_folio() /* within atomic */
{
	folio = ABSENT; content = 0; locked = false; dirty = false
}

/* invalidate_inode_pages2() */
inline invalidate()
{
	if
	:: atomic { folio == ABSENT -> skip }
	:: atomic { folio != ABSENT && !locked -> locked = true };
	   if
	   :: dirty -> write_back()
	   :: atomic { !dirty && writeback == NONE -> skip }
	   fi;
	   atomic { drop_folio() }
	fi
}

/* FUSE_READ with the folio locked, admitted past the gate */
inline fill()
{
	atomic { LETS_IN -> inside++ };
	atomic { folio = READY; content = medium; locked = false; inside-- }
}

/* ---- src/mode.c ------------------------------------------------------------------------------ */

/*
 * May the kernel have folios that are wrong in the mode that begins? Not from one spell of cached
 * mode to the next: what changed the file in between went through the kernel. What did not, as
 * Change below, says so by last_mode.
 */
#if defined(BROKEN_NO_NOTIFY)
/* Row 63: a private view filled a folio in uncached mode, and an ordinary open reads it. */
#define MAY_BE_STALE(m) false
#elif defined(BROKEN_NOTIFY_ONLY_INTO_UNCACHED)
/* Row 63 too. */
#define MAY_BE_STALE(m) (last_mode == CACHED && m == UNCACHED)
#elif defined(ALWAYS_NOTIFY)
#define MAY_BE_STALE(m) true
#else
#define MAY_BE_STALE(m) (last_mode == UNCACHED || (last_mode == CACHED && m != CACHED))
#endif

#ifdef BROKEN_OPENS_NOT_PARKED
/* Row 63: a second open is answered before the notify of the first one is through. */
#define MAY_OPEN true
#else
#define MAY_OPEN !entering
#endif

/* mode_open(), and mode_enter() when it says -EALREADY; then the reply */
inline open_file(want, got)
{
	atomic { MAY_OPEN ->
		if
		:: mode == NO_MODE ->
			mode = want;
			entering = MAY_BE_STALE(want);
			enters = entering
		:: else
		fi;
		nhandles++;
		got = mode };
	if
	:: enters ->
		enters = false;
		invalidate();
		atomic { entering = false; last_mode = mode }
	:: else
	fi;
	atomic {
		if
		:: got == CACHED -> cached_handles++
		:: else -> uncached_handles++
		fi;
		CHECK_MAPPING }
}

/* maybe_leave() */
inline leave_mode() /* within atomic */
{
	if
	:: nhandles == 0 && nattached == 0 && mode != NO_MODE ->
#ifdef BROKEN_FORGOTTEN
		/* Row 63: the holder is freed while the kernel still has folios. */
		last_mode = NO_MODE;
#else
		last_mode = mode;
#endif
		mode = NO_MODE
	:: else
	fi
}

/* FUSE_RELEASE comes when the last descriptor and mapping of a handle are gone: mode_release() */
active proctype ReleaseWorker()
{
end:	do
	:: atomic { cached_releases > 0 -> cached_releases--; nhandles--; leave_mode() }
	:: atomic { uncached_releases > 0 -> uncached_releases--; nhandles--; leave_mode() }
	od
}

/* ---- an ordinary program --------------------------------------------------------------------- */

/* What a load may see: what stands on the medium, or what is on its way there. */
#define AGREES                                                                                    \
	(dirty || writeback != NONE || write_in_flight || truncating || content == medium)

bool truncating; /* from the manipulation to the truncation of the cache */

active [ORDINARY] proctype Ordinary()
{
	byte left = SESSIONS;
	byte got;
	bool enters;

	do
	:: left > 0 ->
		left--;
		open_file(CACHED, got);
		if
		:: got == CACHED ->
#ifdef BROKEN_NO_KEEP_CACHE
			/* Row 45: the kernel's own invalidation at open, beside a write(2) under way */
			invalidate();
#endif
#ifdef WRITES
			if
			:: _pid == 1 ->
				atomic { !i_rwsem -> i_rwsem = true };
				atomic { !locked && writeback == NONE ->
					folio = READY; content = WRITTEN; dirty = false;
					write_in_flight = true };
				atomic { LETS_IN -> medium = WRITTEN; write_in_flight = false;
					 i_rwsem = false }
			:: true
			fi;
#endif
			/* a shared mapping */
touch:			if
			:: atomic { folio == READY && !locked ->
				BREAK_IF(!(AGREES), stale_load);
				if
				:: writeback == NONE && !size_cut ->
					content = content | KERNEL_STORED; dirty = true
				:: true
				fi }
			:: atomic { folio == ABSENT -> folio = FILLING; locked = true };
			   fill(); goto touch
			:: atomic { locked -> skip }; !locked; goto touch
			fi;
			/* close and munmap write back what is dirty, then comes the release */
flush:			if
			:: atomic { dirty && !locked -> locked = true };
			   if
			   :: dirty -> write_back()
			   :: else
			   fi;
			   locked = false; goto flush
			:: atomic { !dirty && writeback == NONE -> cached_handles--; cached_releases++ }
			fi
		:: got == UNCACHED ->
			/* a private mapping: mmap drops what is there, a load fills */
			invalidate();
			if
			:: atomic { folio == ABSENT -> folio = FILLING; locked = true }; fill()
			:: atomic { folio != ABSENT -> skip }; !locked
			fi;
			atomic { uncached_handles--; uncached_releases++ }
		fi
	:: left == 0 -> break
	od;
	finished++
}

/* ---- a client -------------------------------------------------------------------------------- */

#if DIRECT_SESSIONS > 0
active proctype Client()
{
	byte left = DIRECT_SESSIONS;
	byte got;
	bool enters, closed, attached;

	do
	:: left > 0 ->
		left--;
		open_file(UNCACHED, got);
		if
		:: got == CACHED -> /* the kernel's mapping, as for anybody else */
			atomic { cached_handles--; cached_releases++ }
		:: got == UNCACHED ->
			/* It has its token. The descriptor may be closed before the attach arrives. */
			if
			:: atomic { uncached_handles--; uncached_releases++; closed = true }
			:: true
			fi;
			atomic {
				if
#ifdef BROKEN_ATTACH_UNCHECKED
				/* Row 59: the mode may be another one by now. */
				:: true -> nattached++; attached = true
#else
				:: mode == UNCACHED -> nattached++; attached = true
				:: else
#endif
				fi;
#ifdef BROKEN_ATTACH_NOT_COUNTED
				/* Row 59: the last release ends the mode, and the client stays. */
				if
				:: attached -> nattached--
				:: else
				fi;
#endif
				skip };
			if
			:: attached && !closed ->
				if
				:: atomic { uncached_handles--; uncached_releases++; closed = true }
				:: true
				fi
			:: else
			fi;
			if
			:: attached ->
				/* fault: a grant while no gate is open; then it maps */
				atomic { gate == NO_GATE -> granted = true; mapped = true; CHECK_MAPPING };
				if
				:: atomic { mapped -> medium = medium | CLIENT_STORED }
				:: atomic { !mapped -> skip } /* taken back meanwhile */
				fi;
				atomic {
					mapped = false; granted = false; attached = false;
#ifndef BROKEN_ATTACH_NOT_COUNTED
					nattached--;
#endif
					leave_mode() }
			:: else
			fi;
			if
			:: !closed -> atomic { uncached_handles--; uncached_releases++ }
			:: else -> closed = false
			fi
		fi
	:: left == 0 -> break
	od;
	finished++
}
#define WITH_CLIENT 1
#else
#define WITH_CLIENT 0
#endif

/* ---- changes --------------------------------------------------------------------------------- */

#ifdef CHANGE
/* layout_exchange() and others with needs_uncached, by the policy in src/change.c */
active proctype Change()
{
	gate = OPEN; /* change_open() */
round:	if
	:: atomic { mode == CACHED -> goto busy }
	:: atomic { mode != CACHED -> skip }
	fi;
	/* gate_recall() */
	atomic { granted = false; mapped = false };
	gate = CLOSING; /* gate_close() */
	inside == 0;
	gate = CLOSED;
#ifndef BROKEN_LOOKS_ONCE
	/* Row 59: an ordinary open may have come in since. */
	atomic {
		if
		:: mode == CACHED -> gate = NO_GATE; goto busy
#ifndef BROKEN_CHANGE_BETWEEN_OPENS
		/*
		 * Row 63: nobody has the file open, so the kernel is not asked, but it may have folios
		 * of the last spell of cached mode, which were right until now.
		 */
		:: mode == NO_MODE -> last_mode = UNCACHED
#endif
		:: else
		fi };
#endif
	atomic { medium = CHANGED; changed = true };
busy:	atomic { gate = NO_GATE; finished++ }
}
#define WITH_CHANGE 1
#elif defined(TRUNCATE)
/* layout_truncate(), for a kernel that holds i_rwsem, has stopped writeback, and drops its folios */
active proctype Truncate()
{
	atomic { !i_rwsem -> i_rwsem = true };
	atomic { writeback != SENT -> writeback_stopped = true };
	gate = OPEN;
	atomic { granted = false; mapped = false };
	gate = CLOSING;
	inside == 0;
	gate = CLOSED;
	atomic { medium = CHANGED; changed = true; truncating = true };
	gate = NO_GATE;
	atomic { size_cut = true; writeback_stopped = false };
	/* truncate_pagecache() */
	if
	:: atomic { folio == ABSENT -> skip }
	:: atomic { folio != ABSENT && !locked && writeback == NONE -> drop_folio() }
	fi;
	atomic { truncating = false };
	invalidate();
	atomic { size_cut = false; i_rwsem = false; finished++ }
}
#define WITH_CHANGE 1
#else
#define WITH_CHANGE 0
#endif

active proctype Finally()
{
end:	atomic {
		finished == ORDINARY + WITH_CLIENT + WITH_CHANGE &&
		cached_releases + uncached_releases == 0 ->
		BREAK_IF(mode != NO_MODE || nhandles + nattached > 0 || dirty, mode_was_not_left) }
}
