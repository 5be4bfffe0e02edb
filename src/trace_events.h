/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * trace_events.h - a trace in JSON, as Perfetto and chrome://tracing read it: what the lab draws of an
 * interleaving and what `udaxctl record` draws of a mount are written here, so they look alike.
 *
 * The trace is a list of events on tracks, in any order. A track is a thread of a process. Slices of one track
 * must lie inside each other; what does not is written as an asynchronous slice, which gets a track of
 * its own. Words that both use: the categories operation, lock, blocked, wake, client, kernel.
 *
 * An event is begun, given its arguments, and ended. Nothing is kept in memory. One thread.
 */
#ifndef UDAX_TRACE_EVENTS_H
#define UDAX_TRACE_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "sheet.h"

struct trace_track {
	unsigned pid, tid;
};

struct trace_events {
	struct sheet sheet;
	size_t nevents;
	unsigned nargs; /* of the event at hand */
	bool ended;	/* the list is */
};

/** trace_begin - an empty list on @out. */
void trace_begin(struct trace_events *ev, FILE *out);

/**
 * trace_about - end the list if that was not done, and say something about the whole trace. trace_end - the
 * end of all: 0, or -errno of the first write that failed.
 */
void trace_about(struct trace_events *ev, const char *name, const char *value);
int trace_end(struct trace_events *ev);

/** trace_name_process, trace_name_thread - what a track is called; with smaller @sort it stands higher. */
void trace_name_process(struct trace_events *ev, struct trace_track track, const char *name);
void trace_name_thread(struct trace_events *ev, struct trace_track track, const char *name,
		       unsigned sort);

/**
 * Begin an event; trace_done() ends it. trace_slice - from @begin_ns to @end_ns on its track.
 * trace_async_begin, trace_async_end - a slice with a track of its own; @id tells those of one category apart.
 * trace_instant - @scope 't': for its thread, 'p': its process, 'g': all.
 */
void trace_slice(struct trace_events *ev, struct trace_track track, const char *name,
		 const char *category, uint64_t begin_ns, uint64_t end_ns);
void trace_async_begin(struct trace_events *ev, struct trace_track track, const char *name,
		       const char *category, uint64_t id, uint64_t begin_ns);
void trace_async_end(struct trace_events *ev, struct trace_track track, const char *name,
		     const char *category, uint64_t id, uint64_t end_ns);
void trace_instant(struct trace_events *ev, struct trace_track track, const char *name,
		   const char *category, uint64_t time_ns, char scope);
void trace_done(struct trace_events *ev);

/** Arguments of the event at hand. trace_arg - only its name: the value is the caller's to write. */
void trace_arg(struct trace_events *ev, const char *name);
void trace_arg_text(struct trace_events *ev, const char *name, const char *value);
void trace_arg_uint(struct trace_events *ev, const char *name, uint64_t value);
void trace_arg_int(struct trace_events *ev, const char *name, int64_t value);
void trace_arg_bool(struct trace_events *ev, const char *name, bool value);

#endif
