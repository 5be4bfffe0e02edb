/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * scenario.h - what the lab explores: a small volume, files in it, processes, and threads with a few
 * operations each. Read from a text that docs/SCENARIOS.md specifies; made in one step, never
 * changed, freed in one step.
 *
 * Places in a file are counted in cells. A cell is half a page, because the interesting edges of a
 * punch or of EOF lie inside pages: page N is cells 2N ("Na") and 2N+1 ("Nb").
 */
#ifndef UDAX_LAB_SCENARIO_H
#define UDAX_LAB_SCENARIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CELL_BYTES 2048u
#define PAGE_CELLS 2u

#define SCENARIO_MAX_RACES 8
#define SCENARIO_MAX_FILES 4
#define SCENARIO_MAX_PAGES 8 /* of a file */
#define SCENARIO_MAX_PROCESSES 4
#define SCENARIO_MAX_THREADS 6
#define SCENARIO_MAX_OPS 8 /* of a thread */
#define SCENARIO_NAME 24

enum page_state { PAGE_HOLE, PAGE_UNWRITTEN, PAGE_WRITTEN };

/** A file as it is before anything happens. Nobody has it open. */
struct scenario_file {
	char name[SCENARIO_NAME];
	enum page_state pages[SCENARIO_MAX_PAGES];
	unsigned size_cells; /* EOF; blocks may stand behind it */
};

/** A process: one address space, one client. */
struct scenario_process {
	char name[SCENARIO_NAME];
	bool forked; /* not there, and its threads wait, until an operation FORK makes it */
	/* Opened before anything happens, and never closed unless an operation says so. */
	struct scenario_open {
		bool open, direct; /* direct: with O_DIRECT, so uncached if it is the first */
		bool read_only;
		bool attached; /* mapped through libudax */
	} files[SCENARIO_MAX_FILES];
};

enum op_kind {
	OP_OPEN, /* flags: OPF_DIRECT, OPF_READ_ONLY */
	OP_CLOSE,
	OP_ATTACH, /* OPF_READ_ONLY */
	OP_DETACH,
	OP_LOAD,     /* through the mapping; of each cell of the range, one after the other */
	OP_STORE,    /* likewise; each operation stores a value of its own */
	OP_READ,     /* read(2); OPF_DIRECT: past the page cache */
	OP_WRITE,    /* write(2); OPF_DIRECT */
	OP_APPEND,   /* write(2) of one page with O_APPEND; OPF_DIRECT */
	OP_TRUNCATE, /* to `first` cells */
	OP_PUNCH,    /* cells [first, end) */
	OP_ZERO,     /* fallocate ZERO_RANGE | KEEP_SIZE; OPF_GROW: without KEEP_SIZE */
	OP_ALLOCATE, /* fallocate KEEP_SIZE; OPF_GROW */
	OP_COLLAPSE, /* whole pages */
	OP_INSERT,   /* whole pages */
	OP_EXCHANGE, /* whole pages with those of other_file from other_first */
	OP_COPY,     /* copy_file_range to other_file at other_first */
	OP_FSYNC,
	OP_SEEK_DATA, /* from cell first */
	OP_READAHEAD, /* the kernel fills its cache, if it has no copy; of a file in uncached mode
		       * that is the fault of a private view (MAP_PRIVATE) of the process */
	OP_WRITEBACK, /* the kernel writes its dirty copies of the range back */
	OP_DROP,      /* the kernel drops its clean copies (memory pressure) */
	OP_PIN,	      /* I/O takes hold of the page that is mapped, and keeps it */
	OP_UNPIN,     /* ... reads through it, and lets go */
	OP_UNMAP,     /* munmap(2) of pages of a direct mapping, and mmap(2) of them again */
	OP_SPOIL,     /* the block behind a page goes bad: what it held is lost */
	OP_FORK,      /* the process gets a child, named by `process`, that has its mappings */
	OP_STOP,      /* the process `process` reads no messages any more (SIGSTOP) */
	OP_CONTINUE,  /* SIGCONT */
	OP_HANG_UP,   /* the process closes its stream, and keeps its mappings */
	OP_KILL,      /* SIGKILL */
	OP_RESTART,   /* the daemon dies and another one starts */
	OP_CRASH,     /* power fails here: recover, look at what is left, the end */
	OP_SYNC,      /* a thread's Nth: wait until each thread that has an Nth has come to it */
	OP_NR_KINDS
};

enum op_flags { OPF_DIRECT = 1, OPF_READ_ONLY = 2, OPF_GROW = 4 };

struct scenario_op {
	enum op_kind kind;
	unsigned flags;
	unsigned file, other_file; /* indices */
	unsigned first, end;	   /* cells */
	unsigned other_first;
	unsigned process; /* of FORK, STOP, CONTINUE, HANG_UP, KILL */
	int line;	  /* of the text */
	char text[80];	  /* the operation as written, blanks squeezed: "punch a 0..1" */
};

struct scenario_thread {
	char name[SCENARIO_NAME];
	unsigned process;
	unsigned nops;
	struct scenario_op ops[SCENARIO_MAX_OPS];
};

/** What must hold beyond the standing rules. */
enum expect_kind {
	EXPECT_RESULT,	/* the operation in that line ends with this errno (0: success), always */
	EXPECT_CONTENT, /* at the end this cell is zero, or what the operation in that line stored */
	EXPECT_REACHED, /* in some interleaving the operation in that line ends so: else the scenario
			   does not show what it is for */
};

struct scenario_expect {
	enum expect_kind kind;
	unsigned thread, op; /* which operation */
	int err;	     /* 0, or an errno such as ENOSPC */
	unsigned file, cell;
	bool zero;
	int line;
};

#define SCENARIO_MAX_EXPECTS 8

/** Protections outside of the core that a scenario takes away, to show that they are needed. */
enum scenario_without {
	WITHOUT_KEEP_CACHE = 1, /* opens in cached mode empty the cache, as FUSE does by default */
	WITHOUT_ATOMIC_TAKE_BACK =
		2, /* a client unmaps what is recalled, and registers it anew after */
	WITHOUT_PROTECTED_ZEROES = 4, /* a store to zeroes asks nobody */
	WITHOUT_BOUNCED_IO = 8,	      /* I/O from a mapping goes on with the page that was mapped */
	WITHOUT_OWN_FORK = 16,	      /* a child has what was registered as memory of its own */
};

struct scenario {
	char name[64];	 /* of the file, without directory and ending */
	char title[128]; /* one line */
	unsigned races[SCENARIO_MAX_RACES], nraces;
	uint64_t volume_bytes;
	uint32_t granule_bytes;
	unsigned nworkers;     /* threads of the daemon that serve requests */
	unsigned without;      /* enum scenario_without */
	unsigned free_pages;   /* how many blocks are free at the start; UINT_MAX: all */
	unsigned nfailures;    /* how often memory may run out, each a choice */
	unsigned window_pages; /* what a client asks for at a touch, around it */
	unsigned nfiles, nprocesses, nthreads, nexpects;
	struct scenario_file files[SCENARIO_MAX_FILES];
	struct scenario_process processes[SCENARIO_MAX_PROCESSES];
	struct scenario_thread threads[SCENARIO_MAX_THREADS];
	struct scenario_expect expects[SCENARIO_MAX_EXPECTS];
};

#define SCENARIO_MAX_BYTES 65536u /* of a text */

/**
 * scenario_parse - read @text, which @path is said to hold. Returns a scenario that free() frees, or
 * NULL with one sentence in @err: "PATH:LINE:COLUMN: what is wrong, and what would be right".
 */
struct scenario *scenario_parse(const char *path, const char *text, char *err, size_t err_len);

/** scenario_load - the same of the file @path; "PATH: what is wrong" if it cannot be read. */
struct scenario *scenario_load(const char *path, char *err, size_t err_len);

/** scenario_op_name - the word for an operation in the text: "punch". */
const char *scenario_op_name(enum op_kind kind);

#endif
