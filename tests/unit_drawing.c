/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_drawing.c - what `udaxctl record` draws of events: JSON as another parser reads it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <jansson.h>
#include <linux/fuse.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "udaxctl/drawing.h"

enum { ILOCK, HOLDER, LEAF };

static const struct drawing_class classes[] = { { "ilock" }, { "holder" }, { "leaf" } };

struct picture {
	struct drawing *drawing;
	char *text;
	size_t len;
	FILE *out;
	uint64_t now_ns;
	json_t *json, *events;
};

static struct picture *begin(void)
{
	struct picture *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	p->out = open_memstream(&p->text, &p->len);
	assert_non_null(p->out);
	p->drawing = drawing_new(p->out, classes, 3);
	assert_non_null(p->drawing);
	p->now_ns = 1000000000;
	return p;
}

/* Each event is a microsecond after the one before. */
static void add(struct picture *p, struct udax_ioc_event e)
{
	e.time_ns = p->now_ns += 1000;
	drawing_add(p->drawing, &e);
}

static void text(struct picture *p, enum udax_ioc_event_kind kind, uint32_t number,
		 const char *name)
{
	struct udax_ioc_event e = { .kind = kind, .thread = number };

	snprintf(e.u.text, sizeof(e.u.text), "%s", name);
	add(p, e);
}

static void lock(struct picture *p, enum udax_ioc_event_kind kind, uint32_t thread, unsigned class,
		 uint64_t number, bool exclusive)
{
	add(p,
	    (struct udax_ioc_event){
		    .kind = kind,
		    .thread = thread,
		    .class = (__u8) class,
		    .exclusive = exclusive,
		    .u.lock = { .lock = 0x1000 * (class + 1) + number, .number = number, .site = 1 },
	    });
}

static void told(struct picture *p, enum udax_ioc_event_kind kind, enum udax_ioc_event_step step,
		 uint32_t thread, uint64_t ino, uint64_t pos, uint64_t len, uint32_t who,
		 uint32_t code)
{
	add(p, (struct udax_ioc_event){
		       .kind = kind,
		       .step = step,
		       .thread = thread,
		       .u.told = { .ino = ino, .pos = pos, .len = len, .who = who, .code = code },
	       });
}

static void end(struct picture *p)
{
	json_error_t error;

	drawing_finish(p->drawing);
	drawing_about(p->drawing, "title", "a \"test\"");
	assert_int_equal(drawing_delete(p->drawing), 0);
	fclose(p->out);
	p->json = json_loads(p->text, JSON_REJECT_DUPLICATES, &error);
	if (!p->json)
		fail_msg("%s, line %d, of:\n%s", error.text, error.line, p->text);
	p->events = json_object_get(p->json, "traceEvents");
	assert_true(json_is_array(p->events));
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(p->json, "otherData"), "title")),
		"a \"test\"");
}

static void throw_away(struct picture *p)
{
	json_decref(p->json);
	free(p->text);
	free(p);
}

static const char *string_of(const json_t *event, const char *member)
{
	const char *value = json_string_value(json_object_get(event, member));

	return value ? value : "";
}

static int64_t ns_of(const json_t *event, const char *member)
{
	return llround(json_number_value(json_object_get(event, member)) * 1000);
}

/* The @nth event of phase @ph and name @name. */
static json_t *event(const struct picture *p, char ph, const char *name, unsigned nth)
{
	size_t i;
	json_t *e;

	json_array_foreach(p->events, i, e)
	{
		if (string_of(e, "ph")[0] == ph && !strcmp(string_of(e, "name"), name) && !nth--)
			return e;
	}
	return NULL;
}

static json_t *must(const struct picture *p, char ph, const char *name)
{
	json_t *e = event(p, ph, name, 0);

	if (!e)
		fail_msg("no event %c of '%s' in:\n%s", ph, name, p->text);
	assert_null(event(p, ph, name, 1));
	return e;
}

static void expect_span(const struct picture *p, const char *name, const char *category,
			int64_t begin_us, int64_t us)
{
	json_t *e = must(p, 'X', name);

	assert_string_equal(string_of(e, "cat"), category);
	assert_int_equal(ns_of(e, "ts"), begin_us * 1000);
	assert_int_equal(ns_of(e, "dur"), us * 1000);
}

static void locks_are_slices_of_their_thread(void **state)
{
	struct picture *p = begin();
	json_t *e;

	(void)state;
	text(p, UDAX_EVENT_THREAD, 11, "udaxfs-serve");	   /* 0 us */
	text(p, UDAX_EVENT_SITE, 1, "src/dir.c:5");	   /* 1 */
	lock(p, UDAX_EVENT_ACQUIRED, 11, ILOCK, 5, false); /* 2 */
	lock(p, UDAX_EVENT_ACQUIRED, 11, LEAF, 0, true);   /* 3 */
	lock(p, UDAX_EVENT_RELEASED, 11, LEAF, 0, true);   /* 4 */
	lock(p, UDAX_EVENT_RELEASED, 11, ILOCK, 5, false); /* 5 */
	end(p);
	expect_span(p, "ilock 5", "lock", 2, 3);
	expect_span(p, "leaf", "lock", 3, 1);
	e = must(p, 'X', "ilock 5");
	assert_int_equal(json_integer_value(json_object_get(e, "tid")), 11);
	e = json_object_get(e, "args");
	assert_string_equal(string_of(e, "mode"), "shared");
	assert_string_equal(string_of(e, "source"), "src/dir.c:5");
	assert_true(json_is_false(json_object_get(e, "unfinished")));
	assert_string_equal(string_of(json_object_get(must(p, 'M', "thread_name"), "args"), "name"),
			    "udaxfs-serve");
	assert_string_equal(string_of(json_object_get(must(p, 'M', "process_name"), "args"),
				      "name"),
			    "the daemon");
	throw_away(p);
}

static void a_lock_that_outlives_one_taken_before_it_has_a_track_of_its_own(void **state)
{
	struct picture *p = begin();

	(void)state;
	lock(p, UDAX_EVENT_ACQUIRED, 11, ILOCK, 1, true);  /* 0 */
	lock(p, UDAX_EVENT_ACQUIRED, 11, ILOCK, 2, true);  /* 1 */
	lock(p, UDAX_EVENT_ACQUIRED, 11, HOLDER, 2, true); /* 2: inside both */
	lock(p, UDAX_EVENT_RELEASED, 11, HOLDER, 2, true); /* 3 */
	lock(p, UDAX_EVENT_RELEASED, 11, ILOCK, 1, true);  /* 4 */
	lock(p, UDAX_EVENT_RELEASED, 11, ILOCK, 2, true);  /* 5 */
	end(p);
	expect_span(p, "ilock 1", "lock", 0, 4);
	expect_span(p, "holder 2", "lock", 2, 1);
	assert_int_equal(ns_of(must(p, 'b', "ilock 2"), "ts"), 1000);
	assert_int_equal(ns_of(must(p, 'e', "ilock 2"), "ts"), 5000);
	assert_string_equal(string_of(must(p, 'b', "ilock 2"), "id"),
			    string_of(must(p, 'e', "ilock 2"), "id"));
	throw_away(p);
}

static void waits_are_drawn_until_they_end(void **state)
{
	struct picture *p = begin();

	(void)state;
	told(p, UDAX_EVENT_FAULT, UDAX_STEP_BEGIN, 11, 3, 0, 0, 1, 0);	/* 0 */
	lock(p, UDAX_EVENT_ACQUIRED, 11, HOLDER, 3, true);		/* 1 */
	lock(p, UDAX_EVENT_CONTENDED, 12, HOLDER, 3, true);		/* 2 */
	lock(p, UDAX_EVENT_RELEASED, 11, HOLDER, 3, true);		/* 3: to sleep */
	lock(p, UDAX_EVENT_SLEEPS, 11, HOLDER, 3, true);		/* 4 */
	lock(p, UDAX_EVENT_ACQUIRED, 12, HOLDER, 3, true);		/* 5 */
	lock(p, UDAX_EVENT_RELEASED, 12, HOLDER, 3, true);		/* 6 */
	lock(p, UDAX_EVENT_WOKEN, 11, HOLDER, 3, true);			/* 7 */
	lock(p, UDAX_EVENT_ACQUIRED, 11, HOLDER, 3, true);		/* 8 */
	lock(p, UDAX_EVENT_RELEASED, 11, HOLDER, 3, true);		/* 9 */
	told(p, UDAX_EVENT_FAULT, UDAX_STEP_END, 11, 3, 0, 4096, 1, 0); /* 10 */
	/* With nothing to do, it is kept from nothing. */
	lock(p, UDAX_EVENT_SLEEPS, 11, LEAF, 3, true); /* 11 */
	lock(p, UDAX_EVENT_WOKEN, 11, LEAF, 3, true);  /* 12 */
	end(p);
	expect_span(p, "waits for holder 3", "blocked", 2, 3);
	expect_span(p, "waits for a wake-up", "blocked", 4, 3);
	expect_span(p, "idle", "idle", 11, 1);
	assert_non_null(event(p, 'X', "holder 3", 2));
	assert_null(event(p, 'X', "holder 3", 3));
	throw_away(p);
}

static void what_a_thread_serves_is_around_its_locks(void **state)
{
	struct picture *p = begin();

	(void)state;
	told(p, UDAX_EVENT_OPERATION, UDAX_STEP_BEGIN, 11, 4, 8192, 4096, 1, FUSE_WRITE); /* 0 */
	lock(p, UDAX_EVENT_ACQUIRED, 11, ILOCK, 4, true);				  /* 1 */
	lock(p, UDAX_EVENT_RELEASED, 11, ILOCK, 4, true);				  /* 2 */
	told(p, UDAX_EVENT_OPERATION, UDAX_STEP_END, 11, 4, 8192, 4096, 1, FUSE_WRITE);	  /* 3 */
	told(p, UDAX_EVENT_FILL, UDAX_STEP_BEGIN, 11, 4, 0, 131072, 0, 0);		  /* 4 */
	told(p, UDAX_EVENT_FILL, UDAX_STEP_END, 11, 4, 0, 131072, 0, 0);		  /* 5 */
	told(p, UDAX_EVENT_OPERATION, UDAX_STEP_BEGIN, 11, 1, 0, 0, 0, 4242);		  /* 6 */
	told(p, UDAX_EVENT_OPERATION, UDAX_STEP_END, 11, 1, 0, 0, 0, 4242);		  /* 7 */
	end(p);
	expect_span(p, "FUSE_WRITE 4[2..3), written back", "operation", 0, 3);
	expect_span(p, "ilock 4", "lock", 1, 1);
	expect_span(p, "fill 4[0..32)", "kernel", 4, 1);
	expect_span(p, "FUSE 4242 1", "operation", 6, 1);
	throw_away(p);
}

static void gates_stand_on_their_file_and_recalls_on_their_client(void **state)
{
	struct picture *p = begin();
	json_t *args;

	(void)state;
	told(p, UDAX_EVENT_GATE, UDAX_STEP_BEGIN, 11, 9, 4096, UINT64_MAX, 0, 0);   /* 0 */
	told(p, UDAX_EVENT_RECALL, UDAX_STEP_BEGIN, 11, 9, 4096, 8192, 2, 77);	    /* 1 */
	told(p, UDAX_EVENT_RECALL, UDAX_STEP_BEGIN, 11, 9, 4096, 8192, 3, 77);	    /* 2 */
	told(p, UDAX_EVENT_RECALL, UDAX_STEP_END, 12, 9, 4096, 8192, 2, 77);	    /* 3 */
	told(p, UDAX_EVENT_RECALL, UDAX_STEP_LATE, 11, 9, 0, 16384, 3, 77);	    /* 4 */
	told(p, UDAX_EVENT_GATE, UDAX_STEP_CLOSING, 11, 9, 4096, UINT64_MAX, 0, 0); /* 5 */
	told(p, UDAX_EVENT_GATE, UDAX_STEP_END, 11, 9, 4096, UINT64_MAX, 0, 0);	    /* 6 */
	told(p, UDAX_EVENT_FAULT, UDAX_STEP_BEGIN, 12, 9, 5000, 0, 2, 1);	    /* 7 */
	told(p, UDAX_EVENT_FAULT, UDAX_STEP_END, 12, 9, 4096, 4096, 2, 1);	    /* 8 */
	end(p);
	assert_int_equal(ns_of(must(p, 'b', "gate 9[1..end)"), "ts"), 0);
	assert_int_equal(ns_of(must(p, 'e', "gate 9[1..end)"), "ts"), 6000);
	must(p, 'i', "opens gate 9[1..end)");
	must(p, 'i', "closes gate 9[1..end)");
	must(p, 'i', "recalls 9[1..3) from client 2");
	must(p, 'i', "client 2 acknowledges");
	must(p, 'i', "client 3 is late");
	/* Two recalls of one sequence: that of client 3 is late, and never ends. */
	assert_int_equal(ns_of(event(p, 'e', "recall of 9[1..3)", 0), "ts"), 3000);
	args = json_object_get(event(p, 'e', "recall of 9[1..3)", 1), "args");
	assert_true(json_is_true(json_object_get(args, "late")));
	assert_true(json_is_true(json_object_get(args, "unfinished")));
	expect_span(p, "write fault 9[1..2)", "client", 7, 1);
	assert_int_equal(ns_of(must(p, 'e', "write fault 9[1..2)"), "ts"), 8000);
	throw_away(p);
}

static void what_is_open_at_a_gap_or_at_the_end_is_unfinished(void **state)
{
	struct picture *p = begin();
	json_t *e;

	(void)state;
	lock(p, UDAX_EVENT_ACQUIRED, 11, ILOCK, 1, true); /* 0 */
	lock(p, UDAX_EVENT_ACQUIRED, 12, ILOCK, 2, true); /* 1 */
	drawing_gap(p->drawing, 5);
	lock(p, UDAX_EVENT_RELEASED, 11, ILOCK, 1, true);  /* 2: the one of before */
	lock(p, UDAX_EVENT_ACQUIRED, 12, HOLDER, 2, true); /* 3 */
	end(p);
	expect_span(p, "ilock 1", "lock", 0, 1);
	expect_span(p, "ilock 2", "lock", 1, 0);
	must(p, 'i', "5 events are missing");
	e = json_object_get(must(p, 'X', "holder 2"), "args");
	assert_true(json_is_true(json_object_get(e, "unfinished")));
	e = json_object_get(must(p, 'b', "ilock 1"), "args");
	assert_true(json_is_true(json_object_get(e, "began_before")));
	throw_away(p);
}

static void whatever_stands_in_a_name_it_is_json(void **state)
{
	struct picture *p = begin();

	(void)state;
	text(p, UDAX_EVENT_THREAD, 11, "\"\\\n\033[2J\xff\xc0\xaf</script>");
	text(p, UDAX_EVENT_SITE, 1, "\"};\xe2\x82");
	text(p, UDAX_EVENT_SITE, 3, "out of order");
	add(p, (struct udax_ioc_event){ .kind = 200, .thread = 11 });
	add(p, (struct udax_ioc_event){ .kind = UDAX_EVENT_GATE, .step = 99 });
	lock(p, UDAX_EVENT_ACQUIRED, 11, 99, 1, true);
	/* Deeper than is remembered, and what never began. */
	for (unsigned i = 0; i < 200; i++)
		lock(p, UDAX_EVENT_ACQUIRED, 13, ILOCK, i, true);
	lock(p, UDAX_EVENT_WOKEN, 14, ILOCK, 1, true);
	told(p, UDAX_EVENT_RECALL, UDAX_STEP_END, 11, 9, 0, 1, 2, 3);
	told(p, UDAX_EVENT_OPERATION, UDAX_STEP_END, 11, 9, 0, 1, 2, 3);
	told(p, UDAX_EVENT_GATE, UDAX_STEP_BEGIN, 11, INT64_MAX, INT64_MAX, UINT64_MAX, 0, 0);
	told(p, UDAX_EVENT_GATE, UDAX_STEP_BEGIN, 11, 1, INT64_MAX - 5, INT64_MAX, 0, 0);
	end(p);
	throw_away(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(locks_are_slices_of_their_thread),
		cmocka_unit_test(a_lock_that_outlives_one_taken_before_it_has_a_track_of_its_own),
		cmocka_unit_test(waits_are_drawn_until_they_end),
		cmocka_unit_test(what_a_thread_serves_is_around_its_locks),
		cmocka_unit_test(gates_stand_on_their_file_and_recalls_on_their_client),
		cmocka_unit_test(what_is_open_at_a_gap_or_at_the_end_is_unfinished),
		cmocka_unit_test(whatever_stands_in_a_name_it_is_json),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
