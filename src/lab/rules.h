/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * rules.h - what must never be, whatever the history looks like. A broken rule ends the run
 * (sched_fail). The names of rules:
 *
 *	mapping-to-free-block	 a process maps a block that is free
 *	mapping-to-foreign-block ... that belongs to another file, or another page
 *	stale-byte	a free block's content was seen
 *	foreign-byte	another file's content was seen
 *	not-coherent	what was seen cannot be (history.h); of a store that was completed: lost-store
 *	zeroed-twice	a block that somebody could see was zeroed as if it were new
 *	unlocked-store	a dinode on the medium is changed by who does not hold its ilock
 *	late-too-soon	a client is called late before any recall's time can be over
 *	mapped-by-late	a late client maps a block that an operation has left in the file
 *	part-of-granule	a client is asked to give back what it cannot by itself
 *	failure-ignored	a write that a notify made has failed, and the layout is changed all the same
 *	cache-differs	a clean folio shows something else than the medium, and nobody is at work
 *	lost-in-crash	after a crash something is missing that was durable, or there that never was
 *	damaged-by-crash	... the volume cannot be mounted, or the checker finds something
 *	gave-up		a change has gone on although somebody came in each time
 *	grants-differ	the core believes that clients map more, or less, than they do
 *	leak		memory or a reference of the core is left when everything was closed (leaks.c)
 *	deadlock	nobody can go on, or only a deadline helps where nobody is asked, or could answer
 *	no-progress, lock-order, lock-balance, lock-assert, held-over-wait (sync_lab.c, sched.c)
 *	assertion, wild-access	the core has stopped itself, or should have
 */
#ifndef UDAX_LAB_RULES_H
#define UDAX_LAB_RULES_H

#include "world.h"

/** world_block - the object behind a block of the medium. */
static inline struct object *world_block(struct world *w, uint64_t pblk)
{
	return &w->blocks[pblk];
}

/** What the medium says about blocks and pages, looked at without locks. */
bool rules_block_is_free(const struct world *w, uint64_t pblk);
bool rules_block_is_unwritten(struct world *w, uint64_t pblk);
const char *rules_page_state(struct world *w, unsigned file, unsigned page, uint64_t *ret_pblk);

/** rules_check_mappings - every direct mapping leads to a block of its file, or to a quarantined one. */
void rules_check_mappings(struct world *w);

/**
 * rules_check_late_mappings - an operation has changed pages [@first, @end) of @file: nothing of them that is the
 * file's is mapped by the one who is stopped, and late.
 */
void rules_check_late_mappings(struct world *w, unsigned file, unsigned first, unsigned end);

/**
 * rules_is_unanswered - one that has not answered a recall of @file, and could: it is neither stopped nor hung
 * up; NULL: none. *@nasked rises by how many recalls of the file are not answered, and not late.
 */
const struct process *rules_is_unanswered(struct world *w, unsigned file, unsigned *nasked);

/** rules_page_is_bad - the block behind a page cannot be read any more. */
bool rules_page_is_bad(struct world *w, unsigned file, unsigned page);

/** rules_check_seen - @value was seen where event @number looked. */
void rules_check_seen(struct world *w, unsigned number);

/** rules_check_late - the core says that @p is late. */
void rules_check_late(const struct process *p);

/** rules_watch_store - the core is about to store to the medium: medium_watch. */
void rules_watch_store(void *world, uint64_t off, size_t len, bool zero,
		       const struct sync_site *site);

/** rules_check_end - the run is complete: everything once more, in each way. */
void rules_check_end(struct world *w);

/** rules_outcome - what the run came to, as a number: results, what was seen, what the files hold. */
uint64_t rules_outcome(struct world *w);

#endif
