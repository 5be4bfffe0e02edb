/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_scenario.c - the texts that the lab reads: what each construct means, and what each mistake is
 * told, with its position. docs/SCENARIOS.md is the specification.
 *
 * Run from the top of the source: the scenarios that are shipped stand in scenarios/.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <unistd.h>

#include "scenario.h"

static struct scenario *parse(const char *text)
{
	char err[1024] = "";
	struct scenario *s = scenario_parse("dir/test.lab", text, err, sizeof(err));

	if (!s)
		fail_msg("%s, of:\n%s", err, text);
	return s;
}

/* The whole message: where, and what. */
static void refuse(const char *text, const char *message)
{
	char err[1024] = "", want[1024];
	struct scenario *s = scenario_parse("x.lab", text, err, sizeof(err));

	snprintf(want, sizeof(want), "x.lab:%s", message);
	if (s)
		fail_msg("accepted, where '%s' belongs:\n%s", want, text);
	assert_string_equal(err, want);
}

/* A scenario with @lines before its thread, and @ops in it: the thread's operations begin in line 6. */
static void refuse_op(const char *op, const char *message)
{
	char text[512];

	snprintf(text, sizeof(text),
		 "title t\nfile a written 0..1\nfile b size 0\n"
		 "process p opens a, opens b\nthread t1 in p\n%s\n",
		 op);
	refuse(text, message);
}

/* A first line that is wrong. */
static void refuse_line(const char *line, const char *message)
{
	refuse(line, message);
}

/* ---- what is read -------------------------------------------------------------------------------------- */

static void the_smallest_scenario_has_defaults(void **state)
{
	struct scenario *s = parse("title T\nprocess p\nthread t in p\nrestart");

	(void)state;
	assert_string_equal(s->name, "test");
	assert_string_equal(s->title, "T");
	assert_int_equal(s->nraces, 0);
	assert_int_equal(s->volume_bytes, 256 << 10);
	assert_int_equal(s->granule_bytes, 4096);
	assert_int_equal(s->nworkers, 10);
	assert_int_equal(s->free_pages, UINT_MAX);
	assert_int_equal(s->nfailures, 0);
	assert_int_equal(s->window_pages, 1);
	assert_int_equal(s->nfiles, 0);
	assert_int_equal(s->nprocesses, 1);
	assert_int_equal(s->nthreads, 1);
	assert_int_equal(s->nexpects, 0);
	assert_int_equal(s->threads[0].nops, 1);
	assert_int_equal(s->threads[0].ops[0].kind, OP_RESTART);
	assert_int_equal(s->threads[0].ops[0].line, 4);
	free(s);
}

static void the_geometry_is_read(void **state)
{
	struct scenario *s = parse("races 16, 17,999\nvolume 1M\ngranule 8K\nworkers 1\nfree 0\n"
				   "without keep-cache,bounced-io\n"
				   "failures 2\nwindow 8\n"
				   "title a  b, c = d # no title any more\n"
				   "process p\nthread t in p\nrestart\n");

	(void)state;
	assert_int_equal(s->nraces, 3);
	assert_int_equal(s->races[0], 16);
	assert_int_equal(s->races[1], 17);
	assert_int_equal(s->races[2], 999);
	assert_int_equal(s->volume_bytes, 1 << 20);
	assert_int_equal(s->granule_bytes, 8192);
	assert_int_equal(s->nworkers, 1);
	assert_int_equal(s->free_pages, 0);
	assert_int_equal(s->without, WITHOUT_KEEP_CACHE | WITHOUT_BOUNCED_IO);
	assert_int_equal(s->nfailures, 2);
	assert_int_equal(s->window_pages, 8);
	assert_string_equal(s->title, "a  b, c = d");
	free(s);
}

static void files_have_pages_and_a_size(void **state)
{
	struct scenario *s = parse("title t\n"
				   "file a written 0..1, hole 2, unwritten 3, size 1.5\n"
				   "file b-2_x unwritten 7\n"
				   "file c\n"
				   "file d size 8, written 1\n"
				   "process p\nthread t in p\nrestart\n");

	(void)state;
	assert_int_equal(s->nfiles, 4);
	assert_string_equal(s->files[0].name, "a");
	assert_int_equal(s->files[0].pages[0], PAGE_WRITTEN);
	assert_int_equal(s->files[0].pages[1], PAGE_WRITTEN);
	assert_int_equal(s->files[0].pages[2], PAGE_HOLE);
	assert_int_equal(s->files[0].pages[3], PAGE_UNWRITTEN);
	assert_int_equal(s->files[0].size_cells, 3);
	assert_string_equal(s->files[1].name, "b-2_x");
	assert_int_equal(s->files[1].pages[0], PAGE_HOLE);
	assert_int_equal(s->files[1].pages[7], PAGE_UNWRITTEN);
	assert_int_equal(s->files[1].size_cells, 16);
	assert_int_equal(s->files[2].size_cells, 0);
	assert_int_equal(s->files[3].size_cells, 16);
	free(s);
}

static void processes_open_and_attach(void **state)
{
	struct scenario *s = parse("title t\nfile a\nfile b\n"
				   "process p opens a direct read-only, attaches a, opens b\n"
				   "process q opens a read-only direct\n"
				   "process r\n"
				   "thread t in p\nrestart\n"
				   "thread u in r\nrestart\n");
	const struct scenario_open *a = &s->processes[0].files[0], *b = &s->processes[0].files[1];

	(void)state;
	assert_int_equal(s->nprocesses, 3);
	assert_string_equal(s->processes[2].name, "r");
	assert_true(a->open && a->direct && a->read_only && a->attached);
	assert_true(b->open && !b->direct && !b->read_only && !b->attached);
	assert_true(s->processes[1].files[0].direct && s->processes[1].files[0].read_only);
	assert_false(s->processes[1].files[1].open);
	assert_int_equal(s->threads[0].process, 0);
	assert_int_equal(s->threads[1].process, 2);
	assert_string_equal(s->threads[1].name, "u");
	free(s);
}

static const struct scenario_op *op_of(const struct scenario *s, unsigned thread, unsigned op)
{
	assert_true(thread < s->nthreads);
	assert_true(op < s->threads[thread].nops);
	return &s->threads[thread].ops[op];
}

static void places_are_pages_and_halves(void **state)
{
	static const struct {
		const char *place;
		unsigned first, end;
	} places[] = { { "0", 0, 2 },	   { "0a", 0, 1 },   { "0b", 1, 2 },	{ "7", 14, 16 },
		       { "7b", 15, 16 },   { "0..2", 0, 6 }, { "0b..1", 1, 4 }, { "0..1a", 0, 3 },
		       { "0b..1a", 1, 3 }, { "2..2", 4, 6 }, { "2a..2b", 4, 6 } };

	(void)state;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		char text[256];
		struct scenario *s;

		snprintf(text, sizeof(text),
			 "title t\nfile a size 8\nprocess p opens a\nthread t in p\nload a %s",
			 places[i].place);
		s = parse(text);
		assert_int_equal(op_of(s, 0, 0)->first, places[i].first);
		assert_int_equal(op_of(s, 0, 0)->end, places[i].end);
		free(s);
	}
}

/* Each operation, its flags, and what it was read as. */
static const struct {
	const char *text;
	struct scenario_op op; /* file 0: a, 1: b; process 0: p, 1: c */
} operations[] = {
	{ "open a", { .kind = OP_OPEN } },
	{ "open b direct", { .kind = OP_OPEN, .flags = OPF_DIRECT, .file = 1 } },
	{ "open a read-only direct", { .kind = OP_OPEN, .flags = OPF_DIRECT | OPF_READ_ONLY } },
	{ "close b", { .kind = OP_CLOSE, .file = 1 } },
	{ "attach a", { .kind = OP_ATTACH } },
	{ "attach a read-only", { .kind = OP_ATTACH, .flags = OPF_READ_ONLY } },
	{ "detach a", { .kind = OP_DETACH } },
	{ "load a 1", { .kind = OP_LOAD, .first = 2, .end = 4 } },
	{ "store b 0b", { .kind = OP_STORE, .file = 1, .first = 1, .end = 2 } },
	{ "read a 0..1", { .kind = OP_READ, .end = 4 } },
	{ "read a 0 direct", { .kind = OP_READ, .flags = OPF_DIRECT, .end = 2 } },
	{ "write a 0a", { .kind = OP_WRITE, .end = 1 } },
	{ "write a 0a direct", { .kind = OP_WRITE, .flags = OPF_DIRECT, .end = 1 } },
	{ "append b", { .kind = OP_APPEND, .file = 1 } },
	{ "append b direct", { .kind = OP_APPEND, .file = 1, .flags = OPF_DIRECT } },
	{ "truncate a 0", { .kind = OP_TRUNCATE } },
	{ "truncate a 1.5", { .kind = OP_TRUNCATE, .first = 3 } },
	{ "punch a 0b..1a", { .kind = OP_PUNCH, .first = 1, .end = 3 } },
	{ "zero a 0", { .kind = OP_ZERO, .end = 2 } },
	{ "zero a 0 grow", { .kind = OP_ZERO, .flags = OPF_GROW, .end = 2 } },
	{ "allocate a 2", { .kind = OP_ALLOCATE, .first = 4, .end = 6 } },
	{ "allocate a 2 grow", { .kind = OP_ALLOCATE, .flags = OPF_GROW, .first = 4, .end = 6 } },
	{ "collapse a 0", { .kind = OP_COLLAPSE, .end = 2 } },
	{ "insert a 1..2", { .kind = OP_INSERT, .first = 2, .end = 6 } },
	{ "exchange a 0..1 with b 2",
	  { .kind = OP_EXCHANGE, .end = 4, .other_file = 1, .other_first = 4 } },
	{ "exchange a 0 with a 1", { .kind = OP_EXCHANGE, .end = 2, .other_first = 2 } },
	{ "copy a 0b to b 1b",
	  { .kind = OP_COPY, .first = 1, .end = 2, .other_file = 1, .other_first = 3 } },
	{ "fsync a", { .kind = OP_FSYNC } },
	{ "seek-data a 0b", { .kind = OP_SEEK_DATA, .first = 1 } },
	{ "readahead a 0..1", { .kind = OP_READAHEAD, .end = 4 } },
	{ "writeback a 0", { .kind = OP_WRITEBACK, .end = 2 } },
	{ "drop a 0", { .kind = OP_DROP, .end = 2 } },
	{ "pin a 1", { .kind = OP_PIN, .first = 2, .end = 4 } },
	{ "unmap a 0..1", { .kind = OP_UNMAP, .end = 4 } },
	{ "spoil b 1", { .kind = OP_SPOIL, .file = 1, .first = 2, .end = 4 } },
	{ "fork c", { .kind = OP_FORK, .process = 1 } },
	{ "stop p", { .kind = OP_STOP } },
	{ "continue c", { .kind = OP_CONTINUE, .process = 1 } },
	{ "hang-up p", { .kind = OP_HANG_UP } },
	{ "kill c", { .kind = OP_KILL, .process = 1 } },
	{ "restart", { .kind = OP_RESTART } },
	{ "crash", { .kind = OP_CRASH } },
};

static void check_op(const struct scenario_op *op, const struct scenario_op *want)
{
	assert_int_equal(op->kind, want->kind);
	assert_int_equal(op->flags, want->flags);
	assert_int_equal(op->file, want->file);
	assert_int_equal(op->other_file, want->other_file);
	assert_int_equal(op->first, want->first);
	if (want->kind != OP_SEEK_DATA) /* one place: it has no end */
		assert_int_equal(op->end, want->end);
	assert_int_equal(op->other_first, want->other_first);
	assert_int_equal(op->process, want->process);
}

static void each_operation_is_read(void **state)
{
	bool seen[OP_NR_KINDS] = { false };

	(void)state;
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
		char text[512];
		struct scenario *s;

		snprintf(text, sizeof(text),
			 "title t\nfile a written 0..2\nfile b size 3\n"
			 "process p opens a, opens b\nprocess c\nthread t in p\n  \t%s  # so\n",
			 operations[i].text);
		s = parse(text);
		check_op(op_of(s, 0, 0), &operations[i].op);
		assert_string_equal(op_of(s, 0, 0)->text, operations[i].text);
		assert_int_equal(op_of(s, 0, 0)->line, 7);
		assert_memory_equal(operations[i].text, scenario_op_name(operations[i].op.kind),
				    strlen(scenario_op_name(operations[i].op.kind)));
		seen[operations[i].op.kind] = true;
		free(s);
	}
	seen[OP_UNPIN] = seen[OP_SYNC] = true; /* they need company: below */
	for (unsigned kind = 0; kind < OP_NR_KINDS; kind++)
		if (!seen[kind])
			fail_msg("'%s' was not tried", scenario_op_name(kind));
}

static void a_child_begins_with_its_fork(void **state)
{
	struct scenario *s =
		parse("title t\nfile a written 0\nprocess p opens a direct\nprocess c\n"
		      "thread t in p\nfork c\nsync\nthread u in c\nload a 0\nsync\n");

	(void)state;
	assert_false(s->processes[0].forked);
	assert_true(s->processes[1].forked);
	assert_int_equal(op_of(s, 0, 1)->kind, OP_SYNC);
	assert_string_equal(scenario_op_name(OP_SYNC), "sync");
	free(s);
}

static void a_pin_is_let_go_by_its_thread(void **state)
{
	struct scenario *s = parse("title t\nfile a written 0\nprocess p opens a\n"
				   "thread t in p\npin a 0\nunpin a 0\npin a 0\npin a 0\n"
				   "unpin a 0\nunpin a 0\n");

	(void)state;
	assert_int_equal(op_of(s, 0, 5)->kind, OP_UNPIN);
	assert_string_equal(scenario_op_name(OP_UNPIN), "unpin");
	free(s);
}

static void blanks_are_squeezed_in_the_text_of_an_operation(void **state)
{
	const char *longest = "exchange aaaaaaaaaaaaaaaaaaaaaaa 0..1 with "
			      "bbbbbbbbbbbbbbbbbbbbbbb 7";
	char text[512];
	struct scenario *s = parse("title t\r\n\r\nfile a written 0\r\nprocess p opens a\r\n"
				   "thread t in p\r\n\tload\t \ta    0\t# x\r\n");

	(void)state;
	assert_string_equal(op_of(s, 0, 0)->text, "load a 0");
	assert_int_equal(op_of(s, 0, 0)->line, 6);
	free(s);
	longest = "copy aaaaaaaaaaaaaaaaaaaaaaa 0b..1a to bbbbbbbbbbbbbbbbbbbbbbb 6a";
	snprintf(text, sizeof(text),
		 "title t\nfile aaaaaaaaaaaaaaaaaaaaaaa size 2\nfile bbbbbbbbbbbbbbbbbbbbbbb\n"
		 "process p opens aaaaaaaaaaaaaaaaaaaaaaa, opens bbbbbbbbbbbbbbbbbbbbbbb\n"
		 "thread t in p\n%s",
		 longest);
	s = parse(text);
	assert_string_equal(op_of(s, 0, 0)->text, longest);
	free(s);
}

static void expectations_are_read(void **state)
{
	struct scenario *s = parse("title t\nfile a written 0\nprocess p opens a\n"
				   "thread t in p\nload a 0\nwrite a 0\n"
				   "expect t.2 = 0\nexpect t.1 reaches EFAULT\n"
				   "expect a 0b = zero\nexpect a 0..1a = t.2\n");

	(void)state;
	assert_int_equal(s->nexpects, 6);
	assert_int_equal(s->expects[0].kind, EXPECT_RESULT);
	assert_int_equal(s->expects[0].op, 1);
	assert_int_equal(s->expects[0].err, 0);
	assert_int_equal(s->expects[0].line, 7);
	assert_int_equal(s->expects[1].kind, EXPECT_REACHED);
	assert_int_equal(s->expects[1].err, EFAULT);
	assert_int_equal(s->expects[2].kind, EXPECT_CONTENT);
	assert_true(s->expects[2].zero);
	assert_int_equal(s->expects[2].cell, 1);
	assert_false(s->expects[3].zero);
	assert_int_equal(s->expects[3].cell, 0);
	assert_int_equal(s->expects[5].cell, 2);
	assert_int_equal(s->expects[5].op, 1);
	free(s);
}

static void the_name_is_that_of_the_file(void **state)
{
	static const char *const names[][2] = { { "16-punch.lab", "16-punch" },
						{ "/a.b/c", "c" },
						{ "x/.lab", ".lab" },
						{ "a.b.lab", "a.b" } };
	char err[256];

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct scenario *s = scenario_parse(names[i][0],
						    "title t\nprocess p\nthread t in p\nrestart",
						    err, sizeof(err));

		assert_non_null(s);
		assert_string_equal(s->name, names[i][1]);
		free(s);
	}
}

/* ---- what is refused ------------------------------------------------------------------------------------- */

#define FILE_USAGE "file NAME [written PAGES] [, unwritten PAGES] [, hole PAGES] [, size SIZE]"
#define PROCESS_USAGE "process NAME [opens FILE [direct] [read-only]] [, attaches FILE]"
#define NO_NAME " is no name; a name is letters, digits, '_' and '-', and begins with a letter"

static void a_line_that_says_too_little_or_too_much_is_refused(void **state)
{
	(void)state;
	refuse_line("title", "1:6: a title is missing here: title TEXT");
	refuse_line("races", "1:6: a number is missing here: races NUMBER, ...");
	refuse_line("races 1,", "1:9: a number is missing here: races NUMBER, ...");
	refuse_line("races , 1", "1:7: a number is missing before ',': races NUMBER, ...");
	refuse_line("races 1 2", "1:9: '2' is too much here: races NUMBER, ...");
	refuse_line("volume", "1:7: a number of bytes is missing here: volume BYTES");
	refuse_line("volume 1M 2", "1:11: '2' is too much here: volume BYTES");
	refuse_line("workers", "1:8: a number is missing here: workers NUMBER");
	refuse_line("free 1 block", "1:8: 'block' is too much here: free BLOCKS");
	refuse_line("without", "1:8: a protection is missing here: without PROTECTION, ...");
	refuse_line("without locks",
		    "1:9: 'locks' cannot be taken away; keep-cache, "
		    "atomic-take-back, protected-zeroes, bounced-io and own-fork can");
	refuse_line("without own-fork\nwithout own-fork",
		    "2:1: there is a 'without' already, and one is all there is");
	refuse_line("file", "1:5: a name is missing here: " FILE_USAGE);
	refuse_line("file a written", "1:15: a range of pages is missing here: " FILE_USAGE);
	refuse_line("file a size", "1:12: a size is missing here: " FILE_USAGE);
	refuse_line("file a written 0,", "1:18: a description is missing here: " FILE_USAGE);
	refuse_line("file a written 0 size 1", "1:18: 'size' is too much here: " FILE_USAGE);
	refuse_line("process", "1:8: a name is missing here: " PROCESS_USAGE);
	refuse_line("process p opens", "1:16: a file is missing here: " PROCESS_USAGE);
	refuse_line("process p opens a", "1:17: there is no file 'a'; files are none yet");
	refuse_line("thread", "1:7: a name is missing here: thread NAME in PROCESS");
	refuse_line("thread t", "1:9: 'in' is missing here: thread NAME in PROCESS");
	refuse_line("thread t of p",
		    "1:10: 'of' stands where 'in' belongs: thread NAME in PROCESS");
	refuse_line("thread t in", "1:12: a process is missing here: thread NAME in PROCESS");
	refuse_line("process p\nthread t in p now",
		    "2:15: 'now' is too much here: thread NAME in PROCESS");
}

static void numbers_are_bounded(void **state)
{
	(void)state;
	refuse_line("races x", "1:7: 'x' is no number; a row of docs/RACES.md is 1 to 999");
	refuse_line("races 0", "1:7: a row of docs/RACES.md is 1 to 999, and '0' is not");
	refuse_line("races 01", "1:7: '01' is no number; a row of docs/RACES.md is 1 to 999");
	refuse_line("races +1", "1:7: '+1' is no number; a row of docs/RACES.md is 1 to 999");
	refuse_line("races 4294967297",
		    "1:7: a row of docs/RACES.md is 1 to 999, and '4294967297' is not");
	refuse_line("races 3, 3", "1:10: row 3 is named twice");
	refuse_line("races 1,2,3,4,5,6,7,8,9", "1:23: a scenario names at most 8 rows");
	refuse_line("volume 256", "1:8: '256' is no size in bytes; write 256K, or 1M");
	refuse_line("volume K", "1:8: '' is no number; a volume is 1 to 65536");
	refuse_line("volume 255K", "1:8: a volume is at least 256K");
	refuse_line("volume 257K", "1:8: a volume is a multiple of 4K");
	refuse_line("volume 65M", "1:8: a volume is 1 to 64, and '65' is not");
	refuse_line("granule 2K", "1:9: a granule is at least 4K");
	refuse_line("granule 12K", "1:9: a granule is a power of two");
	refuse_line("granule 4M", "1:9: a granule is 1 to 2, and '4' is not");
	refuse_line("workers 0", "1:9: the number of workers is 1 to 64, and '0' is not");
	refuse_line("free 16385",
		    "1:6: the number of free blocks is 0 to 16384, and '16385' is not");
	refuse_line("failures 3", "1:10: the number of failures is 0 to 2, and '3' is not");
	refuse_line("window 0", "1:8: a window is 1 to 8, and '0' is not");
	refuse_line("free -1", "1:6: '-1' is no number; the number of free blocks is 0 to 16384");
}

static void names_are_checked(void **state)
{
	(void)state;
	refuse_line("file 1", "1:6: '1'" NO_NAME);
	refuse_line("file a.b", "1:6: 'a.b'" NO_NAME);
	refuse_line("file \xc3\xa4", "1:6: '?"
				     "?'" NO_NAME);
	refuse_line("process p!", "1:9: 'p!'" NO_NAME);
	refuse_line("file aaaaaaaaaaaaaaaaaaaaaaaa", "1:6: a name has at most 23 characters");
	refuse_line("file a\nfile a", "2:6: there is a file 'a' already");
	refuse_line("process a\nprocess a", "2:9: there is a process 'a' already");
	refuse_line("process p\nthread a in p\nthread a in p",
		    "3:8: there is a thread 'a' already");
	refuse_line("file a\nfile b\nfile c\nfile d\nfile e",
		    "5:6: 'e' is one file too many; there can be 4");
	refuse_line("process a\nprocess b\nprocess c\nprocess d\nprocess e",
		    "5:9: 'e' is one process too many; there can be 4");
	refuse_line("process p\nthread a in p\nthread b in p\nthread c in p\nthread d in p\n"
		    "thread e in p\nthread f in p\nthread g in p",
		    "8:8: 'g' is one thread too many; there can be 6");
	refuse_line("thread t in p", "1:13: there is no process 'p'; processes are none yet");
	refuse_line("process p\nprocess q\nthread t in r",
		    "3:13: there is no process 'r'; processes are p, q");
}

static void a_title_is_bounded_and_there_is_one(void **state)
{
	char text[512];

	(void)state;
	refuse_line("title a\ntitle b", "2:1: there is a 'title' already, and one is all there is");
	refuse_line("free 1\nfree 1", "2:1: there is a 'free' already, and one is all there is");
	memset(text, 'x', sizeof(text));
	memcpy(text, "title ", 6);
	text[6 + 128] = '\0';
	refuse_line(text, "1:134: a title has at most 127 bytes");
}

static void files_are_checked(void **state)
{
	(void)state;
	refuse_line("file a written 0, hole 0", "1:24: page 0 is described twice");
	refuse_line("file a size 1, size 1", "1:21: a file has one size");
	refuse_line("file a size 9", "1:13: a size in pages is 0 to 8, and '9' is not");
	refuse_line("file a size 8.5", "1:13: a file has at most 8 pages");
	refuse_line("file a size 1a", "1:13: '1a' is no size; write a number of pages, or of pages "
				      "and a half (0, 3, 1.5)");
	refuse_line("file a size .5", "1:13: '.5' is no size; write a number of pages, or of pages "
				      "and a half (0, 3, 1.5)");
	refuse_line("file a written 0b",
		    "1:16: '0b' has half a page; only whole pages are possible "
		    "here (1, 0..2)");
	refuse_line("file a full 0", "1:8: 'full' says nothing about a file; written, unwritten, "
				     "hole and size do: " FILE_USAGE);
}

static void places_are_checked(void **state)
{
	static const char no_place[] = " is no place in a file; write a page (1), half of one (1a, "
				       "1b), or a range (0..2, 0b..1)";
	char message[256];

	(void)state;
	snprintf(message, sizeof(message), "6:8: 'x'%s", no_place);
	refuse_op("load a x", message);
	snprintf(message, sizeof(message), "6:8: '0c'%s", no_place);
	refuse_op("load a 0c", message);
	snprintf(message, sizeof(message), "6:8: '0ab'%s", no_place);
	refuse_op("load a 0ab", message);
	snprintf(message, sizeof(message), "6:11: ''%s", no_place);
	refuse_op("load a 0..", message);
	snprintf(message, sizeof(message), "6:8: ''%s", no_place);
	refuse_op("load a ..1", message);
	snprintf(message, sizeof(message), "6:11: '.1'%s", no_place);
	refuse_op("load a 0...1", message);
	refuse_op("load a 8", "6:8: a page is 0 to 7, and '8' is not");
	refuse_op("load a 00", "6:8: '00' is no number; a page is 0 to 7");
	refuse_op("load a 0..8", "6:11: a page is 0 to 7, and '8' is not");
	refuse_op("load a 99999999999999999999",
		  "6:8: a page is 0 to 7, and '99999999999999999999' is not");
	refuse_op("load a 1..0", "6:11: a range cannot end (0) before it begins (1)");
	refuse_op("load a 1b..1a", "6:12: a range cannot end (1a) before it begins (1b)");
	refuse_op("load a 0 .. 1", "6:10: '..' is too much here: load FILE RANGE");
	refuse_op("collapse a 0a", "6:12: '0a' has half a page; only whole pages are possible here "
				   "(1, 0..2)");
	refuse_op("insert a 0b..1", "6:10: '0b..1' has half a page; only whole pages are possible "
				    "here (1, 0..2)");
	refuse_op("pin a 0..1", "6:7: '0..1' is more than one page: pin FILE PAGE");
	refuse_op("seek-data a 0..1",
		  "6:13: '0..1' is a range, and one place belongs here: seek-data FILE PLACE");
	refuse_op("truncate a 1b",
		  "6:12: '1b' is no size; write a number of pages, or of pages and "
		  "a half (0, 3, 1.5)");
}

static void operations_are_checked(void **state)
{
	(void)state;
	refuse_op(
		"pnch a 0",
		"6:1: there is no operation 'pnch'; operations are open, close, attach, detach, "
		"load, store, read, write, append, truncate, punch, zero, allocate, collapse, "
		"insert, exchange, copy, fsync, seek-data, readahead, writeback, drop, pin, unpin, "
		"unmap, spoil, fork, stop, continue, hang-up, kill, restart, crash, sync");
	refuse_op("load", "6:5: a file is missing here: load FILE RANGE");
	refuse_op("load c 0", "6:6: there is no file 'c'; files are a, b");
	refuse_op("load a", "6:7: a range is missing here: load FILE RANGE");
	refuse_op("load a 0 direct", "6:10: 'direct' is too much here: load FILE RANGE");
	refuse_op("read a 0 direct direct",
		  "6:17: 'direct' is too much here: read FILE RANGE [direct]");
	refuse_op("truncate a", "6:11: a size is missing here: truncate FILE SIZE");
	refuse_op("exchange a 0 to b 0", "6:14: 'to' stands where 'with' belongs: exchange FILE "
					 "PAGES with FILE PAGE");
	refuse_op("exchange a 0 with b 0a", "6:21: '0a' has half a page; only whole pages are "
					    "possible here (1, 0..2)");
	refuse_op("exchange a 0..1 with a 1", "6:24: the two ranges of 'a' overlap");
	refuse_op("exchange a 0..1 with b 7", "6:24: from here the range goes beyond page 7");
	refuse_op("copy a 0 to a 0b", "6:15: the two ranges of 'a' overlap");
	refuse_op("copy a 0 with b 0",
		  "6:10: 'with' stands where 'to' belongs: copy FILE RANGE to FILE PLACE");
	refuse_op("stop q", "6:6: there is no process 'q'; processes are p");
	refuse_op("sync now", "6:6: 'now' is too much here: sync");
	refuse_op("crash\nload a 0", "7:1: nothing can follow 'crash', with which all ends");
	refuse_op("crash\nthread t2 in p\ncrash",
		  "8:1: there is a crash in line 6 already, and a scenario ends with it");
	refuse_op("unpin a 0", "6:7: this thread has not pinned that page of 'a'");
	refuse_op("pin a 1\nunpin a 0", "7:7: this thread has not pinned that page of 'a'");
	refuse_op("pin a 0\nunpin a 0\nunpin a 0",
		  "8:7: this thread has not pinned that page of 'a'");
	refuse_op("restart\nrestart\nrestart\nrestart\nrestart\nrestart\nrestart\nrestart\nrestart",
		  "14:1: a thread has at most 8 operations");
	refuse("restart",
	       "1:1: an operation belongs to a thread: 'thread NAME in PROCESS' comes first");
	refuse("process p\nthread t in p\nfile a\nrestart",
	       "4:1: an operation belongs to a thread: 'thread NAME in PROCESS' comes first");
}

static void who_uses_a_file_has_opened_it(void **state)
{
	(void)state;
	refuse("title t\nfile a\nprocess p\nthread t in p\nload a 0",
	       "5:6: process 'p' never opens 'a'");
	refuse("title t\nfile a\nprocess p opens a read-only\nthread t in p\nload a 0\nstore a 0",
	       "6:7: process 'p' opens 'a' only for reading");
	refuse("title t\nfile a\nprocess p\nthread t in p\nopen a read-only\nwrite a 0",
	       "6:7: process 'p' opens 'a' only for reading");
	refuse("title t\nfile a\nfile b\nprocess p opens a\nthread t in p\ncopy a 0 to b 0",
	       "6:6: process 'p' never opens 'b'");
	free(parse("title t\nfile a size 1\nfile b\nprocess p opens a\nthread t in p\n"
		   "exchange a 0 with b 0\ntruncate b 1\nwriteback b 0\ndrop b 0"));
	free(parse("title t\nfile a size 1\nprocess p\nthread t in p\nload a 0\n"
		   "thread u in p\nopen a"));
	free(parse("title t\nfile a size 1\nprocess p opens a\nprocess c\nprocess d\n"
		   "thread t in p\nfork c\nthread u in c\nfork d\nthread v in d\nstore a 0"));
}

static void processes_are_checked(void **state)
{
	(void)state;
	refuse_line("process p closes a", "1:11: a process 'opens' or 'attaches' a file, and "
					  "'closes' is neither: " PROCESS_USAGE);
	refuse_line("file a\nprocess p opens a, opens a", "2:26: 'p' opens 'a' already");
	refuse_line("file a\nprocess p opens a direct, attaches a, attaches a",
		    "2:48: 'p' attaches 'a' already");
	refuse_line("file a\nprocess p attaches a",
		    "2:20: 'p' has to open 'a' before it attaches it: opens a direct");
	refuse_line(
		"file a\nprocess p opens a, attaches a",
		"2:29: 'a' is opened first by 'p', and not direct: a file in cached mode cannot "
		"be attached");
	refuse_line(
		"file a\nprocess p opens a\nprocess q opens a direct, attaches a",
		"3:36: 'a' is opened first by 'p', and not direct: a file in cached mode cannot "
		"be attached");
	free(parse("title t\nfile a\nprocess p opens a direct\nprocess q opens a, attaches a\n"
		   "thread t in q\nrestart"));
	refuse_op("fork p", "6:6: 'p' cannot fork itself into being");
	refuse("title t\nfile a\nprocess p\nprocess c opens a\nthread t in p\nfork c",
	       "6:6: 'c' opens files by itself; a child has its parent's");
	refuse("title t\nprocess p\nprocess c\nthread t in p\nfork c\nfork c",
	       "6:6: 'c' is forked already; each process begins once");
}

static void every_thread_can_come_to_its_end(void **state)
{
	(void)state;
	refuse("title t\nprocess p\nthread t in p\nthread u in p\nrestart",
	       "3:8: thread 't' does nothing");
	refuse("title t\nprocess p\nthread t in p\nsync",
	       "4:1: no other thread has a 'sync' number 1 to meet this one");
	refuse("title t\nprocess p\nthread t in p\nsync\nsync\nthread u in p\nsync",
	       "5:1: no other thread has a 'sync' number 2 to meet this one");
	refuse("title t\nprocess p\nprocess c\nthread t in p\nsync\nfork c\nthread u in c\nsync",
	       "5:1: not every thread that has this 'sync' can come to it");
	refuse("title t\nprocess p\nprocess c\nprocess d\nthread t in p\nrestart\n"
	       "thread u in c\nfork d\nthread v in d\nfork c",
	       "7:8: 'u' never begins: process 'c' is not forked by anybody who comes that far");
	free(parse("title t\nprocess p\nthread t in p\nsync\nsync\nthread u in p\nsync\nsync\n"
		   "thread v in p\nsync"));
}

static void a_file_cannot_outgrow_the_lab(void **state)
{
	(void)state;
	refuse("title t\nfile a size 7\nprocess p opens a\nthread t in p\nappend a\nappend a",
	       "6:1: with this, 'a' may grow beyond 8 pages, and they are all it can have");
	refuse("title t\nfile a size 1, written 6\nprocess p opens a\nthread t in p\ninsert a 0..1",
	       "5:1: with this, 'a' may grow beyond 8 pages, and they are all it can have");
	refuse("title t\nfile a\nprocess p opens a\nthread t in p\ntruncate a 7.5\n"
	       "thread u in p\nappend a",
	       "7:1: with this, 'a' may grow beyond 8 pages, and they are all it can have");
	free(parse("title t\nfile a size 6\nprocess p opens a\nthread t in p\nappend a\nappend a"));
}

#define EXPECT_USAGE                                                                               \
	"expect THREAD.N = ERRNO, THREAD.N reaches ERRNO, or FILE RANGE = zero|THREAD.N"

static void expectations_are_checked(void **state)
{
	(void)state;
	refuse_op("load a 0\nexpect", "7:7: a file is missing here: " EXPECT_USAGE);
	refuse_op("load a 0\nexpect c 0 = zero", "7:8: there is no file 'c'; files are a, b");
	refuse_op("load a 0\nexpect t2.1 = 0", "7:8: there is no thread 't2'; threads are t1");
	refuse_op("load a 0\nexpect t1.2 = 0",
		  "7:11: an operation of that thread is 1 to 1, and '2' is not");
	refuse_op("load a 0\nexpect t1. = 0",
		  "7:11: '' is no number; an operation of that thread is 1 to 1");
	refuse_op("load a 0\nexpect t1.1 0", "7:13: '0' stands where '=' belongs: " EXPECT_USAGE);
	refuse_op("load a 0\nexpect t1.1 =", "7:14: a result is missing here: " EXPECT_USAGE);
	refuse_op(
		"load a 0\nexpect t1.1 = ENOPE",
		"7:15: 'ENOPE' is no result; results are 0, EACCES, EAGAIN, EBADF, EBUSY, EFAULT, "
		"EFBIG, EINTR, EINVAL, EIO, ENODEV, ENOMEM, ENOSPC, ENOTCONN, ENXIO, EOPNOTSUPP, "
		"EPERM, EROFS");
	refuse_op("load a 0\nexpect t1.1 = 0 or EIO", "7:17: 'or' is too much here: " EXPECT_USAGE);
	refuse_op("load a 0\nexpect a 0 = t1", "7:14: 't1' is a thread; its first operation is "
					       "'t1.1'");
	refuse_op("load a 0\nexpect a 0 = t1.1", "7:14: 'load a 0' stores nothing of its own; "
						 "'store', 'write' and 'append' do");
	refuse_op("load a 0\nexpect a 0..4 = zero",
		  "7:10: at most 8 things can be expected, each cell being one");
	refuse_op("crash\nexpect t1.1 = 0", "7:8: 'crash' has no result");
	refuse("process p\nthread t in p\nexpect t.1 = 0", "3:8: 't' has no operations");
}

static void what_is_no_text_is_refused(void **state)
{
	static char large[SCENARIO_MAX_BYTES + 2];

	(void)state;
	refuse("", "1:1: there is no title: 'title TEXT' says what is shown");
	refuse("title t\n", "2:1: nobody does anything: 'thread NAME in PROCESS', and operations");
	refuse("title t\n# \x1b[2J\n",
	       "2:3: byte 0x1b is no text; a scenario is lines of printable "
	       "characters, blanks and tabs");
	refuse("title a\rb", "1:8: byte 0x0d is no text; a scenario is lines of printable "
			     "characters, blanks and tabs");
	memset(large, '#', sizeof(large) - 1);
	refuse(large, "1:1: a scenario has at most 65536 bytes");
	large[SCENARIO_MAX_BYTES] = '\0';
	refuse(large, "1:65537: there is no title: 'title TEXT' says what is shown");
}

static void a_message_is_cut_to_its_room(void **state)
{
	char err[16] = "";

	(void)state;
	for (size_t room = 1; room <= sizeof(err); room++) {
		memset(err, 'x', sizeof(err));
		assert_null(scenario_parse("dir/x.lab", "title", err, room));
		assert_int_equal(strlen(err), room - 1);
	}
	assert_string_equal(err, "dir/x.lab:1:6: ");
}

/* ---- files ------------------------------------------------------------------------------------------------ */

static void a_file_is_loaded(void **state)
{
	char err[512] = "", path[] = "/tmp/unit_scenario.XXXXXX";
	static const char text[] = "title t\nprocess p\nthread t in p\nrestart\n";
	int fd = mkstemp(path);
	struct scenario *s;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	s = scenario_load(path, err, sizeof(err));
	assert_non_null(s);
	assert_string_equal(s->title, "t");
	free(s);
	assert_int_equal(write(fd, "", 1), 1); /* a zero byte */
	assert_null(scenario_load(path, err, sizeof(err)));
	assert_non_null(strstr(err, ": this is no text; it has a zero byte"));
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	for (size_t i = 0; i <= SCENARIO_MAX_BYTES; i++)
		assert_int_equal(write(fd, "#", 1), 1);
	assert_null(scenario_load(path, err, sizeof(err)));
	assert_non_null(strstr(err, ":1:1: a scenario has at most 65536 bytes"));
	close(fd);
	unlink(path);
	assert_null(scenario_load(path, err, sizeof(err)));
	assert_non_null(strstr(err, ": No such file or directory"));
	assert_null(scenario_load("/", err, sizeof(err)));
	assert_string_equal(err, "/: Is a directory");
}

/* Every row of docs/RACES.md up to 63, but those that docs/SCENARIOS.md gives reasons for. */
static void the_scenarios_that_are_shipped_are_read(void **state)
{
	static const unsigned left_out[] = { 26, 38, 43 };
	bool covered[1000] = { false };
	glob_t found;

	(void)state;
	if (glob("scenarios/*.lab", 0, NULL, &found))
		fail_msg("scenarios/ is not there: run this from the top of the source");
	for (size_t i = 0; i < found.gl_pathc; i++) {
		char err[1024] = "";
		struct scenario *s = scenario_load(found.gl_pathv[i], err, sizeof(err));

		if (!s)
			fail_msg("%s", err);
		/* One whose name begins with a number is a row's; others are what mutants survived. */
		if (!s->nraces && s->name[0] >= '0' && s->name[0] <= '9')
			fail_msg("%s names no row", found.gl_pathv[i]);
		for (unsigned j = 0; j < s->nraces; j++)
			covered[s->races[j]] = true;
		free(s);
	}
	globfree(&found);
	for (size_t i = 0; i < sizeof(left_out) / sizeof(left_out[0]); i++) {
		if (covered[left_out[i]])
			fail_msg("row %u has a scenario", left_out[i]);
		covered[left_out[i]] = true;
	}
	for (unsigned row = 1; row <= 63; row++)
		if (!covered[row])
			fail_msg("row %u has no scenario", row);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_smallest_scenario_has_defaults),
		cmocka_unit_test(the_geometry_is_read),
		cmocka_unit_test(files_have_pages_and_a_size),
		cmocka_unit_test(processes_open_and_attach),
		cmocka_unit_test(places_are_pages_and_halves),
		cmocka_unit_test(each_operation_is_read),
		cmocka_unit_test(a_child_begins_with_its_fork),
		cmocka_unit_test(a_pin_is_let_go_by_its_thread),
		cmocka_unit_test(blanks_are_squeezed_in_the_text_of_an_operation),
		cmocka_unit_test(expectations_are_read),
		cmocka_unit_test(the_name_is_that_of_the_file),
		cmocka_unit_test(a_line_that_says_too_little_or_too_much_is_refused),
		cmocka_unit_test(numbers_are_bounded),
		cmocka_unit_test(names_are_checked),
		cmocka_unit_test(a_title_is_bounded_and_there_is_one),
		cmocka_unit_test(files_are_checked),
		cmocka_unit_test(places_are_checked),
		cmocka_unit_test(operations_are_checked),
		cmocka_unit_test(who_uses_a_file_has_opened_it),
		cmocka_unit_test(processes_are_checked),
		cmocka_unit_test(every_thread_can_come_to_its_end),
		cmocka_unit_test(a_file_cannot_outgrow_the_lab),
		cmocka_unit_test(expectations_are_checked),
		cmocka_unit_test(what_is_no_text_is_refused),
		cmocka_unit_test(a_message_is_cut_to_its_room),
		cmocka_unit_test(a_file_is_loaded),
		cmocka_unit_test(the_scenarios_that_are_shipped_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
