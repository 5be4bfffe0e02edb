/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * trace_events.c - see trace_events.h. Times are microseconds in the format, with a fraction where needed.
 */
#include "trace_events.h"

#include <inttypes.h>

void trace_begin(struct trace_events *ev, FILE *out)
{
	*ev = (struct trace_events){ .sheet = { .out = out } };
	sheet_printf(&ev->sheet, "{\"displayTimeUnit\":\"ns\",\n\"traceEvents\":[");
}

void trace_about(struct trace_events *ev, const char *name, const char *value)
{
	sheet_printf(&ev->sheet, ev->ended ? ",\n" : "\n],\n\"otherData\":{");
	ev->ended = true;
	sheet_json(&ev->sheet, name);
	sheet_printf(&ev->sheet, ":");
	sheet_json(&ev->sheet, value);
}

int trace_end(struct trace_events *ev)
{
	sheet_printf(&ev->sheet, ev->ended ? "}}\n" : "\n]}\n");
	return sheet_finish(&ev->sheet);
}

/* ---- the event at hand --------------------------------------------------------------------------- */

static void begin(struct trace_events *ev, char phase, struct trace_track track, const char *name,
		  const char *category)
{
	sheet_printf(&ev->sheet,
		     "%s\n{\"ph\":\"%c\",\"pid\":%u,\"tid\":%u,\"name\":", ev->nevents++ ? "," : "",
		     phase, track.pid, track.tid);
	sheet_json(&ev->sheet, name);
	sheet_printf(&ev->sheet, ",\"cat\":\"%s\"", category);
	ev->nargs = 0;
}

static void put_time(struct trace_events *ev, const char *name, uint64_t ns)
{
	sheet_printf(&ev->sheet, ",\"%s\":%" PRIu64, name, ns / 1000);
	if (ns % 1000)
		sheet_printf(&ev->sheet, ".%03u", (unsigned)(ns % 1000));
}

void trace_done(struct trace_events *ev)
{
	sheet_printf(&ev->sheet, ev->nargs ? "}}" : "}");
}

void trace_arg(struct trace_events *ev, const char *name)
{
	sheet_printf(&ev->sheet, ev->nargs++ ? ",\"%s\":" : ",\"args\":{\"%s\":", name);
}

void trace_arg_text(struct trace_events *ev, const char *name, const char *value)
{
	trace_arg(ev, name);
	sheet_json(&ev->sheet, value);
}

void trace_arg_uint(struct trace_events *ev, const char *name, uint64_t value)
{
	trace_arg(ev, name);
	sheet_printf(&ev->sheet, "%" PRIu64, value);
}

void trace_arg_int(struct trace_events *ev, const char *name, int64_t value)
{
	trace_arg(ev, name);
	sheet_printf(&ev->sheet, "%" PRId64, value);
}

void trace_arg_bool(struct trace_events *ev, const char *name, bool value)
{
	trace_arg(ev, name);
	sheet_printf(&ev->sheet, value ? "true" : "false");
}

/* ---- events ---------------------------------------------------------------------------------------- */

void trace_name_process(struct trace_events *ev, struct trace_track track, const char *name)
{
	begin(ev, 'M', track, "process_name", "__metadata");
	trace_arg_text(ev, "name", name);
	trace_done(ev);
}

void trace_name_thread(struct trace_events *ev, struct trace_track track, const char *name,
		       unsigned sort)
{
	begin(ev, 'M', track, "thread_name", "__metadata");
	trace_arg_text(ev, "name", name);
	trace_done(ev);
	begin(ev, 'M', track, "thread_sort_index", "__metadata");
	trace_arg_uint(ev, "sort_index", sort);
	trace_done(ev);
}

void trace_slice(struct trace_events *ev, struct trace_track track, const char *name,
		 const char *category, uint64_t begin_ns, uint64_t end_ns)
{
	begin(ev, 'X', track, name, category);
	put_time(ev, "ts", begin_ns);
	put_time(ev, "dur", end_ns - begin_ns);
}

void trace_async_begin(struct trace_events *ev, struct trace_track track, const char *name,
		       const char *category, uint64_t id, uint64_t begin_ns)
{
	begin(ev, 'b', track, name, category);
	put_time(ev, "ts", begin_ns);
	sheet_printf(&ev->sheet, ",\"id\":\"%" PRIu64 "\"", id);
}

void trace_async_end(struct trace_events *ev, struct trace_track track, const char *name,
		     const char *category, uint64_t id, uint64_t end_ns)
{
	begin(ev, 'e', track, name, category);
	put_time(ev, "ts", end_ns);
	sheet_printf(&ev->sheet, ",\"id\":\"%" PRIu64 "\"", id);
}

void trace_instant(struct trace_events *ev, struct trace_track track, const char *name,
		   const char *category, uint64_t time_ns, char scope)
{
	begin(ev, 'i', track, name, category);
	put_time(ev, "ts", time_ns);
	sheet_printf(&ev->sheet, ",\"s\":\"%c\"", scope);
}
