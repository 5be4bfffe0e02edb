/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * tool_stress.c - many threads and processes on the same files of a mount: for mount_stress.sh.
 *
 *	tool_stress [OPTIONS] DIR
 *
 *	-s SEED -t SECONDS -p PROCESSES -T THREADS (of each) -f FILES
 *	-m MODE    cached: mappings, read, write, truncate, punch, zero, append, seek, fsync
 *	           uncached: collapse, insert, exchange instead of shared mappings
 *	           mixed: files are opened, some with O_DIRECT, for a few operations
 *	           direct: all of it, under `udaxrun --require-direct`; mappings are whole granules of 2 MiB
 *	-e         ENOSPC is not a failure: the volume is small
 *	-w SECONDS after which an operation hangs (default 30)
 *
 * Every 8-byte word that is ever written says who wrote it where, so that what is read can be judged
 * without knowing what the others do just now. A file has two parts:
 *
 *   registers  one page for each worker at the start of the file. The first half is written by that
 *              worker only, with rising numbers, and published when done: nobody may see an older
 *              one after that, whichever way he looks. Everybody punches, zeroes and writes in
 *              the second half, so every such operation has the edge of somebody's data to keep.
 *   chaos      everything behind. Each word has a generation. A worker that clears whole pages
 *              takes a generation before, and publishes it as the floor of these pages when done:
 *              a word below is one that came back. Words of another file are foreign.
 *
 * A writer that is under way while a page is cleared may write after that, so the floor is not above
 * the generation of any writer under way when the clearing began.
 *
 * The kernel copies bytes, not words: who reads while another writes or clears can find a word *torn*,
 * its first bytes of one value and the rest of another (seen on tmpfs and ext4 as well, about once
 * in a million reads). So each word carries a check sum. One that is torn says nothing, and is looked
 * at again; one that stays torn is a failure.
 *
 * In cached mode a register is not written with O_DIRECT. The kernel drops its copy before and after
 * such a write, but if somebody stores to the page in between, that old copy is written back over
 * it. That is so on every filesystem (open(2), NOTES: O_DIRECT is not to be mixed with mappings).
 *
 * Odd pairs of files are `shifty`: their pages move (collapse, insert, exchange, copies), so there
 * are no floors. Positions and sizes are multiples of 8.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "maps.h"
#include "udax/ioctl.h"
#include "watch.h"

#define PAGE 4096u
#define HALF (PAGE / 2)
#define WORDS (PAGE / 8)
#define MAX_WORKERS 64u
#define MAX_FILES 16u
#define CHAOS_PAGES 256u
#define FILE_PAGES (MAX_WORKERS + CHAOS_PAGES)
#define MAX_IO (32u * PAGE)
#define MAX_LOOKS 100u

#define GRANULE (2u << 20)
#define MAP_BYTES ((FILE_PAGES * PAGE + GRANULE - 1) / GRANULE * GRANULE)

enum { CACHED, UNCACHED, MIXED, DIRECT };

static struct options {
	uint64_t seed;
	unsigned seconds, nprocesses, nthreads, nfiles, mode, limit;
	bool small;
	const char *dir;
} opt = { .seconds = 10, .nprocesses = 2, .nthreads = 4, .nfiles = 4, .limit = 30 };

static struct shared {
	struct shared_file {
		atomic_ullong gen;
		atomic_ullong under_way[MAX_WORKERS]; /* generations of writers; 0: none */
		atomic_ullong floor[FILE_PAGES];
		atomic_ullong published[MAX_WORKERS]; /* of the registers */
	} files[MAX_FILES];
	atomic_ullong nsigbus, nbusy, nchecked, ntorn;
	atomic_ullong ncached, nuncached; /* opens, in mixed mode */
} * shared;

static unsigned nworkers; /* with registers */

/* What is open; of a process, in mixed mode of a thread. */
struct handles {
	int fd, direct, append;
	unsigned char *map; /* shared, or NULL */
};

struct ctx {
	struct worker *w;
	unsigned id;
	struct handles *all; /* by file */
	unsigned file;
	struct handles *h; /* of that file */
	struct shared_file *sh;
	bool shifty;
	unsigned nlooks; /* in a row, that found a torn word */
	unsigned char *buf;
};

/* ---- words -------------------------------------------------------------------------------------- */

enum { KIND_REGISTER = 1, KIND_CHAOS = 2, KIND_APPENDED = 3 };

/* From the lowest bit: generation, index in the page, owner, file, kind, check sum. */
enum { GEN_BITS = 28, INDEX_BITS = 9, OWNER_BITS = 6, FILE_BITS = 4, KIND_BITS = 2 };
enum {
	INDEX_SHIFT = GEN_BITS,
	OWNER_SHIFT = INDEX_SHIFT + INDEX_BITS,
	FILE_SHIFT = OWNER_SHIFT + OWNER_BITS,
	KIND_SHIFT = FILE_SHIFT + FILE_BITS,
	SUM_SHIFT = KIND_SHIFT + KIND_BITS,
};

static uint64_t word_field(uint64_t word, unsigned shift, unsigned bits)
{
	return word >> shift & ((UINT64_C(1) << bits) - 1);
}

/* Never that of zero, so a word of which the first or last bytes are cleared is told from both. */
static uint64_t word_sum(uint64_t word)
{
	uint64_t content = word_field(word, 0, SUM_SHIFT);

	return (content + 1) * UINT64_C(0x9e3779b97f4a7c15) >> SUM_SHIFT;
}

static uint64_t word_make(unsigned kind, unsigned file, unsigned owner, uint64_t pos, uint64_t gen)
{
	uint64_t word = (uint64_t)kind << KIND_SHIFT | (uint64_t)file << FILE_SHIFT |
			(uint64_t)owner << OWNER_SHIFT | pos / 8 % WORDS << INDEX_SHIFT |
			word_field(gen, 0, GEN_BITS);

	return word | word_sum(word) << SUM_SHIFT;
}

static bool word_is_torn(uint64_t word)
{
	return word && word >> SUM_SHIFT != word_sum(word);
}

static unsigned word_kind(uint64_t word)
{
	return (unsigned)word_field(word, KIND_SHIFT, KIND_BITS);
}

static unsigned word_file(uint64_t word)
{
	return (unsigned)word_field(word, FILE_SHIFT, FILE_BITS);
}

static unsigned word_owner(uint64_t word)
{
	return (unsigned)word_field(word, OWNER_SHIFT, OWNER_BITS);
}

static uint64_t word_index(uint64_t word)
{
	return word_field(word, INDEX_SHIFT, INDEX_BITS);
}

static uint64_t word_gen(uint64_t word)
{
	return word_field(word, 0, GEN_BITS);
}

static void fill(uint64_t *words, uint64_t len, unsigned kind, const struct ctx *c, uint64_t pos,
		 uint64_t gen)
{
	for (uint64_t i = 0; i < len / 8; i++)
		words[i] = word_make(kind, c->file, c->id, pos + i * 8, gen);
}

/* ---- failing ------------------------------------------------------------------------------------ */

#define MUST(c, call)                                                                              \
	do {                                                                                       \
		if (!(call) && !forgiven())                                                        \
			worker_fail((c)->w, "file %u: line %d: %s: %s", (c)->file, __LINE__,       \
				    #call, strerror(errno));                                       \
	} while (0)

static bool forgiven(void)
{
	if (errno == EBUSY && opt.mode == MIXED) {
		atomic_fetch_add(&shared->nbusy, 1);
		return true;
	}
	return errno == ENOSPC && opt.small;
}

/* A write that found no room for all of it is shorter, and no error: the next one says ENOSPC. */
static bool wrote(ssize_t n, uint64_t len)
{
	if (n > 0 && (uint64_t)n < len)
		errno = ENOSPC;
	return n == (ssize_t)len;
}

static void bad_word(struct ctx *c, const char *how, uint64_t pos, uint64_t word, const char *what,
		     uint64_t limit)
{
	worker_fail(c->w,
		    "file %u, read by %s at 0x%llx: %s: kind %x, file %u, owner %u, index %llu "
		    "(here %llu), generation %llu (limit %llu)",
		    c->file, how, (unsigned long long)pos, what, word_kind(word), word_file(word),
		    word_owner(word), (unsigned long long)word_index(word),
		    (unsigned long long)(pos / 8 % WORDS), (unsigned long long)word_gen(word),
		    (unsigned long long)limit);
}

/* ---- judging ------------------------------------------------------------------------------------ */

struct floors {
	uint64_t of[MAX_IO / PAGE + 2];
};

/* Before the read begins. */
static void floors_before(const struct ctx *c, uint64_t pos, uint64_t len, struct floors *ret)
{
	for (uint64_t page = pos / PAGE; page <= (pos + len) / PAGE; page++)
		ret->of[page - pos / PAGE] = page < FILE_PAGES ? atomic_load(&c->sh->floor[page])
							       : 0;
}

/*
 * Returns whether all words of @data were whole when they were looked at; else look again. One who
 * writes tears one word of a look: more are something else, which is no word of ours at all.
 */
static bool looked(struct ctx *c, const char *how, uint64_t pos, const void *data, uint64_t len)
{
	const uint64_t *words = data;
	unsigned ntorn = 0;

	for (uint64_t i = 0; i < len / 8; i++) {
		if (!word_is_torn(words[i]))
			continue;
		if (++ntorn > nworkers)
			bad_word(c, how, pos + i * 8, words[i], "nobody could tear that many",
				 ntorn);
		if (c->nlooks == MAX_LOOKS)
			bad_word(c, how, pos + i * 8, words[i], "a word stays torn", MAX_LOOKS);
	}
	atomic_fetch_add(&shared->ntorn, ntorn);
	c->nlooks = ntorn ? c->nlooks + 1 : 0;
	return !ntorn;
}

static void check_chaos(struct ctx *c, const char *how, uint64_t pos, const void *data,
			uint64_t len, const struct floors *floors)
{
	const uint64_t *words = data;

	for (uint64_t i = 0; i < len / 8; i++) {
		uint64_t word = words[i], at = pos + i * 8;
		uint64_t floor = floors->of[at / PAGE - pos / PAGE];
		unsigned kind = word_kind(word), file = word_file(word);

		if (!word)
			continue;
		if (kind != KIND_CHAOS && kind != KIND_APPENDED)
			bad_word(c, how, at, word, "not a word of here", 0);
		if (file != c->file && !(c->shifty && (file ^ 1) == c->file))
			bad_word(c, how, at, word, "a word of another file", 0);
		if (kind == KIND_CHAOS && word_index(word) != at / 8 % WORDS)
			bad_word(c, how, at, word, "a word of another place", 0);
		if (!c->shifty && word_gen(word) < floor)
			bad_word(c, how, at, word, "a word that was cleared has come back", floor);
	}
	atomic_fetch_add(&shared->nchecked, len);
}

static void check_register(struct ctx *c, const char *how, unsigned owner, const void *data,
			   uint64_t before)
{
	const uint64_t *words = data;

	for (uint64_t i = 0; i < HALF / 8; i++) {
		uint64_t word = words[i], at = (uint64_t)owner * PAGE + i * 8;

		if (word_kind(word) != KIND_REGISTER || word_file(word) != c->file ||
		    word_owner(word) != owner || word_index(word) != i)
			bad_word(c, how, at, word, "not a word of this register", before);
		if (word_gen(word) < before)
			bad_word(c, how, at, word, "older than what was published", before);
		if (owner == c->id && word_gen(word) > before)
			bad_word(c, how, at, word, "newer than what I wrote", before);
	}
	atomic_fetch_add(&shared->nchecked, HALF);
}

/* ---- memory that may not be there ---------------------------------------------------------------- */

static _Thread_local sigjmp_buf *volatile on_sigbus;

static void sigbus(int sig)
{
	if (!on_sigbus) {
		signal(sig, SIG_DFL);
		return; /* and again, for good */
	}
	atomic_fetch_add(&shared->nsigbus, 1);
	siglongjmp(*on_sigbus, 1);
}

/* False: it lies behind EOF. Words are stored whole. */
static bool copy_words(volatile uint64_t *to, const volatile uint64_t *from, uint64_t len)
{
	sigjmp_buf here;

	if (sigsetjmp(here, 1)) {
		on_sigbus = NULL;
		return false;
	}
	on_sigbus = &here;
	for (uint64_t i = 0; i < len / 8; i++)
		to[i] = from[i];
	on_sigbus = NULL;
	return true;
}

/* ---- ranges ------------------------------------------------------------------------------------- */

struct range {
	uint64_t pos, len;
};

static uint64_t chaos_start(void)
{
	return (uint64_t)nworkers * PAGE;
}

static uint64_t chaos_end(void)
{
	return chaos_start() + CHAOS_PAGES * PAGE;
}

static struct range random_chaos(struct ctx *c)
{
	struct range r = { .pos = chaos_start() + worker_below(c->w, CHAOS_PAGES * WORDS) * 8 };
	uint64_t most = worker_once_in(c->w, 3) ? MAX_IO : worker_once_in(c->w, 2) ? 3 * PAGE : 512;

	if (worker_once_in(c->w, 2))
		r.pos -= r.pos % PAGE;
	if (most > chaos_end() - r.pos)
		most = chaos_end() - r.pos;
	r.len = (1 + worker_below(c->w, most / 8)) * 8;
	if (r.len > PAGE && worker_once_in(c->w, 2))
		r.len -= (r.pos + r.len) % PAGE < r.len ? (r.pos + r.len) % PAGE : 0;
	return r;
}

/* In the second half of somebody's register page. */
static struct range random_edge(struct ctx *c)
{
	struct range r = { .pos = HALF + worker_below(c->w, HALF / 8) * 8 };

	r.len = (1 + worker_below(c->w, (PAGE - r.pos) / 8)) * 8;
	r.pos += worker_below(c->w, nworkers) * PAGE;
	return r;
}

static struct range random_range(struct ctx *c)
{
	return worker_once_in(c->w, 4) ? random_edge(c) : random_chaos(c);
}

static void log_range(struct ctx *c, const char *what, struct range r)
{
	worker_op(c->w, "file %u: %s [0x%llx, 0x%llx)", c->file, what, (unsigned long long)r.pos,
		  (unsigned long long)r.pos + r.len);
}

/* ---- writers and clearers ------------------------------------------------------------------------ */

/* Said before the generation is taken: who clears sees it, or has the smaller generation. */
static uint64_t write_begin(struct ctx *c)
{
	atomic_store(&c->sh->under_way[c->id], atomic_load(&c->sh->gen) + 1);
	return atomic_fetch_add(&c->sh->gen, 1) + 1;
}

static void write_end(struct ctx *c)
{
	atomic_store(&c->sh->under_way[c->id], 0);
}

static uint64_t clear_begin(struct ctx *c)
{
	uint64_t gen = atomic_fetch_add(&c->sh->gen, 1) + 1;

	for (unsigned i = 0; i < nworkers; i++) {
		uint64_t other = atomic_load(&c->sh->under_way[i]);

		if (other && other < gen)
			gen = other;
	}
	return gen;
}

static void clear_end(struct ctx *c, uint64_t pos, uint64_t end, uint64_t gen)
{
	for (uint64_t page = (pos + PAGE - 1) / PAGE; page < end / PAGE && page < FILE_PAGES;
	     page++) {
		unsigned long long floor = atomic_load(&c->sh->floor[page]);

		while (floor < gen &&
		       !atomic_compare_exchange_weak(&c->sh->floor[page], &floor, gen))
			;
	}
}

/* ---- operations on chaos ------------------------------------------------------------------------- */

static int some_fd(struct ctx *c)
{
	return worker_once_in(c->w, 3) ? c->h->direct : c->h->fd;
}

static void op_read(struct ctx *c)
{
	struct range r = random_range(c);
	int fd = some_fd(c);
	struct floors floors;
	ssize_t n;

	log_range(c, fd == c->h->direct ? "O_DIRECT read" : "read", r);
	do {
		floors_before(c, r.pos, r.len, &floors);
		n = pread(fd, c->buf, r.len, (off_t)r.pos);
		MUST(c, n >= 0);
	} while (!looked(c, "read", r.pos, c->buf, n < 0 ? 0 : (uint64_t)n));
	check_chaos(c, "read", r.pos, c->buf, n < 0 ? 0 : (uint64_t)n, &floors);
}

static void op_load(struct ctx *c)
{
	struct range r = random_range(c);
	struct floors floors;

	log_range(c, "load", r);
	do {
		floors_before(c, r.pos, r.len, &floors);
		if (!copy_words((uint64_t *)c->buf, (uint64_t *)(c->h->map + r.pos), r.len))
			return;
	} while (!looked(c, "load", r.pos, c->buf, r.len));
	check_chaos(c, "load", r.pos, c->buf, r.len, &floors);
}

static void op_private_load(struct ctx *c)
{
	struct range r = random_range(c);
	uint64_t first = r.pos - r.pos % PAGE, len = r.pos + r.len - first;
	struct floors floors;
	unsigned char *map;

	bool there;

	log_range(c, "private load", r);
	do {
		floors_before(c, r.pos, r.len, &floors);
		map = mmap(NULL, len, PROT_READ, MAP_PRIVATE, c->h->fd, (off_t)first);
		MUST(c, map != MAP_FAILED);
		there = copy_words((uint64_t *)c->buf, (uint64_t *)(map + (r.pos - first)), r.len);
		munmap(map, len);
	} while (there && !looked(c, "private load", r.pos, c->buf, r.len));
	if (there)
		check_chaos(c, "private load", r.pos, c->buf, r.len, &floors);
}

static void op_store(struct ctx *c)
{
	struct range r = random_range(c);

	log_range(c, "store", r);
	fill((uint64_t *)c->buf, r.len, KIND_CHAOS, c, r.pos, write_begin(c));
	copy_words((uint64_t *)(c->h->map + r.pos), (uint64_t *)c->buf, r.len);
	write_end(c);
}

static void op_write(struct ctx *c)
{
	struct range r = random_range(c);
	int fd = some_fd(c);

	log_range(c, fd == c->h->direct ? "O_DIRECT write" : "write", r);
	fill((uint64_t *)c->buf, r.len, KIND_CHAOS, c, r.pos, write_begin(c));
	MUST(c, wrote(pwrite(fd, c->buf, r.len, (off_t)r.pos), r.len));
	write_end(c);
}

static uint64_t size_now(struct ctx *c)
{
	struct stat st;

	MUST(c, fstat(c->h->fd, &st) == 0);
	return (uint64_t)st.st_size;
}

static void op_append(struct ctx *c)
{
	uint64_t len = (1 + worker_below(c->w, 1200)) * 8;

	/* Not for ever: where it goes is known only afterwards. */
	if (size_now(c) > chaos_end() - 2 * PAGE)
		return;
	log_range(c, "append", (struct range){ 0, len });
	fill((uint64_t *)c->buf, len, KIND_APPENDED, c, 0, write_begin(c));
	MUST(c, wrote(write(c->h->append, c->buf, len), len));
	write_end(c);
}

static void op_truncate(struct ctx *c)
{
	uint64_t size = chaos_start() + worker_below(c->w, CHAOS_PAGES * WORDS + 1) * 8, gen;

	if (worker_once_in(c->w, 3))
		size -= size % PAGE;
	log_range(c, "truncate", (struct range){ size, 0 });
	gen = clear_begin(c);
	MUST(c, ftruncate(some_fd(c), (off_t)size) == 0);
	clear_end(c, size, FILE_PAGES * PAGE, gen);
}

static void clear_range(struct ctx *c, int mode, const char *what)
{
	struct range r = random_range(c);
	uint64_t gen;
	int result;

	log_range(c, what, r);
	gen = clear_begin(c);
	result = fallocate(some_fd(c), mode, (off_t)r.pos, (off_t)r.len);
	MUST(c, result == 0);
	if (result == 0)
		clear_end(c, r.pos, r.pos + r.len, gen);
}

static void op_punch(struct ctx *c)
{
	clear_range(c, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, "punch");
}

static void op_zero(struct ctx *c)
{
	if (worker_once_in(c->w, 2))
		clear_range(c, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, "zero, keep size");
	else
		clear_range(c, FALLOC_FL_ZERO_RANGE, "zero");
}

static void op_allocate(struct ctx *c)
{
	struct range r = random_range(c);

	log_range(c, "allocate", r);
	MUST(c, fallocate(some_fd(c), worker_once_in(c->w, 2) ? FALLOC_FL_KEEP_SIZE : 0,
			  (off_t)r.pos, (off_t)r.len) == 0);
}

static void op_seek(struct ctx *c)
{
	struct range r = random_range(c);
	off_t pos;

	log_range(c, "seek", r);
	pos = lseek(c->h->fd, (off_t)r.pos, worker_once_in(c->w, 2) ? SEEK_DATA : SEEK_HOLE);
	MUST(c, pos >= (off_t)r.pos || (pos < 0 && errno == ENXIO));
}

static void op_sync(struct ctx *c)
{
	worker_op(c->w, "file %u: fsync", c->file);
	MUST(c, fsync(some_fd(c)) == 0);
}

static void op_msync(struct ctx *c)
{
	struct range r = random_range(c);

	log_range(c, "msync", r);
	r.len += r.pos % PAGE;
	r.pos -= r.pos % PAGE;
	MUST(c, msync(c->h->map + r.pos, r.len, MS_SYNC) == 0);
}

static void op_advise(struct ctx *c)
{
	struct range r = random_range(c);
	bool drop = worker_once_in(c->w, 2);

	log_range(c, drop ? "drop" : "read ahead", r);
	posix_fadvise(c->h->fd, (off_t)r.pos, (off_t)r.len,
		      drop ? POSIX_FADV_DONTNEED : POSIX_FADV_WILLNEED);
}

/* ---- opening ------------------------------------------------------------------------------------ */

static int open_file(struct ctx *c, unsigned file, int flags)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/stress%u", opt.dir, file);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | flags, 0644);
	MUST(c, fd >= 0);
	return fd;
}

/* ---- operations that move pages, on shifty files --------------------------------------------------- */

static struct range random_pages(struct ctx *c)
{
	uint64_t n = 1 + worker_below(c->w, 16);

	return (struct range){ chaos_start() + worker_below(c->w, CHAOS_PAGES - n) * PAGE,
			       n * PAGE };
}

static void op_copy(struct ctx *c)
{
	struct range r = random_pages(c);
	off_t in = (off_t)r.pos, out = (off_t)random_pages(c).pos;

	if (!c->shifty || (in < out + (off_t)r.len && out < in + (off_t)r.len))
		return;
	log_range(c, "copy", r);
	MUST(c, copy_file_range(c->h->fd, &in, c->h->fd, &out, r.len, 0) >= 0);
}

/* Others truncate meanwhile, so the range may be behind EOF: EINVAL. */
static void op_shift(struct ctx *c)
{
	struct range r = random_pages(c);
	struct udax_ioc_range arg = { .version = UDAX_IOC_VERSION, .pos = r.pos, .len = r.len };
	bool insert = worker_once_in(c->w, 2) && size_now(c) < chaos_end() - MAX_IO;

	if (!c->shifty)
		return;
	log_range(c, insert ? "insert" : "collapse", r);
	MUST(c, ioctl(some_fd(c), insert ? UDAX_IOC_INSERT : UDAX_IOC_COLLAPSE, &arg) == 0 ||
			errno == EINVAL);
}

static void op_exchange(struct ctx *c)
{
	struct range r = random_pages(c);
	struct udax_ioc_token token = { .version = UDAX_IOC_VERSION };
	struct udax_ioc_exchange arg = { .version = UDAX_IOC_VERSION,
					 .pos = r.pos,
					 .len = r.len,
					 .other_pos = random_pages(c).pos };
	int other;

	if (!c->shifty || (c->file ^ 1) >= opt.nfiles)
		return;
	log_range(c, "exchange", r);
	other = opt.mode == MIXED ? open_file(c, c->file ^ 1, O_DIRECT) : c->all[c->file ^ 1].fd;
	MUST(c, ioctl(other, UDAX_IOC_TOKEN, &token) == 0);
	memcpy(arg.token, token.token, sizeof(arg.token));
	MUST(c, ioctl(some_fd(c), UDAX_IOC_EXCHANGE, &arg) == 0 || errno == EINVAL);
	if (opt.mode == MIXED)
		MUST(c, close(other) == 0);
}

/* ---- registers ---------------------------------------------------------------------------------- */

static void read_register(struct ctx *c, unsigned owner, int fd, const char *how)
{
	uint64_t before;

	do {
		before = atomic_load(&c->sh->published[owner]);
		MUST(c, pread(fd, c->buf, HALF, (off_t)owner * PAGE) == (ssize_t)HALF);
	} while (!looked(c, how, (uint64_t)owner * PAGE, c->buf, HALF));
	check_register(c, how, owner, c->buf, before);
}

static void load_register(struct ctx *c, unsigned owner)
{
	uint64_t pos = (uint64_t)owner * PAGE, before;

	do {
		before = atomic_load(&c->sh->published[owner]);
		copy_words((uint64_t *)c->buf, (uint64_t *)(c->h->map + pos), HALF);
	} while (!looked(c, "load", pos, c->buf, HALF));
	check_register(c, "load", owner, c->buf, before);
}

static void op_check_register(struct ctx *c)
{
	unsigned owner = (unsigned)worker_below(c->w, nworkers);
	unsigned how = (unsigned)worker_below(c->w, 3);

	worker_op(c->w, "file %u: look at register %u, way %u", c->file, owner, how);
	if (how == 0 && c->h->map)
		load_register(c, owner);
	else if (how == 1)
		read_register(c, owner, c->h->direct, "O_DIRECT read");
	else
		read_register(c, owner, c->h->fd, "read");
}

static void op_write_register(struct ctx *c)
{
	uint64_t gen = atomic_load(&c->sh->published[c->id]) + 1, pos = (uint64_t)c->id * PAGE;
	bool store = c->h->map && worker_once_in(c->w, 2);
	int fd = c->h->map ? c->h->fd : some_fd(c);

	worker_op(c->w, "file %u: %s %llu in my register", c->file,
		  store		       ? "store"
		  : fd == c->h->direct ? "O_DIRECT write"
				       : "write",
		  (unsigned long long)gen);
	fill((uint64_t *)c->buf, HALF, KIND_REGISTER, c, pos, gen);
	if (store)
		copy_words((uint64_t *)(c->h->map + pos), (uint64_t *)c->buf, HALF);
	else
		MUST(c, pwrite(fd, c->buf, HALF, (off_t)pos) == (ssize_t)HALF);
	atomic_store(&c->sh->published[c->id], gen);
	if (store && worker_once_in(c->w, 4))
		MUST(c, msync(c->h->map + pos, HALF, MS_SYNC) == 0);
	if (c->h->map && worker_once_in(c->w, 2))
		load_register(c, c->id);
	if (worker_once_in(c->w, 4))
		read_register(c, c->id, c->h->direct, "O_DIRECT read");
}

/* ---- handles ------------------------------------------------------------------------------------ */

/* The first open decides, if nobody else has: ordinary, or with O_DIRECT. */
static void handles_open(struct ctx *c, unsigned file, bool direct_first, struct handles *ret)
{
	int first = open_file(c, file, direct_first ? O_DIRECT : 0);
	int second = open_file(c, file, direct_first ? 0 : O_DIRECT);

	ret->fd = direct_first ? second : first;
	ret->direct = direct_first ? first : second;
	ret->append = open_file(c, file, O_APPEND);
	ret->map = mmap(NULL, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, ret->fd, 0);
	if (ret->map == MAP_FAILED) {
		MUST(c, opt.mode != CACHED && opt.mode != DIRECT && errno == ENODEV);
		ret->map = NULL;
	} else {
		MUST(c, opt.mode != UNCACHED);
	}
}

static void handles_close(struct ctx *c, struct handles *h)
{
	if (h->map)
		munmap(h->map, MAP_BYTES);
	MUST(c, close(h->fd) == 0);
	MUST(c, close(h->direct) == 0);
	MUST(c, close(h->append) == 0);
}

/* ---- running ------------------------------------------------------------------------------------ */

enum { ALWAYS, IF_MAPPED, IF_NOT_CACHED };

static const struct op {
	void (*run)(struct ctx *c);
	unsigned weight, when;
} ops[] = {
	{ op_read, 8, ALWAYS },
	{ op_load, 8, IF_MAPPED },
	{ op_private_load, 2, ALWAYS },
	{ op_store, 10, IF_MAPPED },
	{ op_write, 8, ALWAYS },
	{ op_append, 3, ALWAYS },
	{ op_truncate, 4, ALWAYS },
	{ op_punch, 5, ALWAYS },
	{ op_zero, 3, ALWAYS },
	{ op_allocate, 2, ALWAYS },
	{ op_seek, 2, ALWAYS },
	{ op_sync, 2, ALWAYS },
	{ op_msync, 2, IF_MAPPED },
	{ op_advise, 3, ALWAYS },
	{ op_copy, 2, ALWAYS },
	{ op_shift, 5, IF_NOT_CACHED },
	{ op_exchange, 4, IF_NOT_CACHED },
	{ op_check_register, 10, ALWAYS },
	{ op_write_register, 8, ALWAYS },
};

static bool op_possible(const struct op *op, const struct ctx *c)
{
	switch (op->when) {
	case IF_MAPPED:
		return c->h->map;
	case IF_NOT_CACHED:
		return opt.mode != CACHED;
	default:
		return true;
	}
}

static void one_operation(struct ctx *c)
{
	for (;;) {
		const struct op *op = &ops[worker_below(c->w, sizeof(ops) / sizeof(ops[0]))];

		if (worker_below(c->w, 10) >= op->weight || !op_possible(op, c))
			continue;
		op->run(c);
		return;
	}
}

static void choose_file(struct ctx *c, unsigned file)
{
	c->file = file;
	c->h = &c->all[file];
	c->sh = &shared->files[file];
	c->shifty = file / 2 % 2;
}

/* Nobody keeps a file open for long, so its mode changes often. */
static void open_operate_close(struct ctx *c)
{
	bool direct_first = worker_once_in(c->w, 2);
	struct handles own;

	worker_op(c->w, "file %u: open, %s first", c->file, direct_first ? "O_DIRECT" : "ordinary");
	handles_open(c, c->file, direct_first, &own);
	atomic_fetch_add(own.map ? &shared->ncached : &shared->nuncached, 1);
	c->h = &own;
	for (uint64_t n = worker_below(c->w, 5); n; n--)
		one_operation(c);
	worker_op(c->w, "file %u: close", c->file);
	handles_close(c, &own);
}

struct thread {
	pthread_t id;
	struct ctx c;
};

static void *thread_main(void *arg)
{
	struct thread *t = arg;
	struct ctx *c = &t->c;
	char name[32];

	snprintf(name, sizeof(name), "worker %u", c->id);
	worker_begin(c->w, name, mix(opt.seed, c->id));
	c->buf = malloc(MAX_IO + PAGE);
	if (!c->buf)
		worker_fail(c->w, "out of memory");
	while (!atomic_load(&c->w->watch->stop)) {
		choose_file(c, (unsigned)worker_below(c->w, opt.nfiles));
		if (opt.mode == MIXED)
			open_operate_close(c);
		else
			one_operation(c);
	}
	free(c->buf);
	worker_rest(c->w);
	return NULL;
}

/* That the files were mapped directly until here, by what the kernel says. */
static void ran_direct(struct ctx *c, const struct handles *all)
{
	const char *wrong;

	for (unsigned i = 0; i < opt.nfiles; i++)
		MUST(c,
		     *(volatile unsigned char *)all[i].map | 1); /* a register: there is a block */
	MUST(c, maps_shared(MAPS_REGION) && !maps_shared("/stress"));
	wrong = maps_prove(opt.dir);
	if (wrong)
		worker_fail(c->w, "not direct: %s", wrong);
}

static void process(struct worker *w, void *arg)
{
	unsigned index = (unsigned)(w - w->watch->workers);
	struct thread threads[MAX_WORKERS];
	struct handles all[MAX_FILES];
	struct ctx c = { .w = w };

	(void)arg;
	signal(SIGBUS, sigbus);
	worker_begin(w, "main", 0);
	worker_op(w, "open everything");
	for (unsigned i = 0; opt.mode != MIXED && i < opt.nfiles; i++)
		handles_open(&c, i, opt.mode == UNCACHED, &all[i]);
	worker_rest(w);
	for (unsigned i = 0; i < opt.nthreads; i++) {
		struct thread *t = &threads[i];

		t->c = (struct ctx){ .all = all, .id = index * opt.nthreads + i };
		t->c.w = &w->watch->workers[opt.nprocesses + t->c.id];
		if (pthread_create(&t->id, NULL, thread_main, t))
			worker_fail(w, "no thread");
	}
	for (unsigned i = 0; i < opt.nthreads; i++)
		pthread_join(threads[i].id, NULL);
	worker_op(w, "close everything");
	if (opt.mode == DIRECT)
		ran_direct(&c, all);
	for (unsigned i = 0; opt.mode != MIXED && i < opt.nfiles; i++)
		handles_close(&c, &all[i]);
	worker_rest(w);
}

/* Before the storm: registers with something in them. */
static void prepare(struct worker *w, void *arg)
{
	struct ctx c = { .w = w };

	(void)arg;
	worker_begin(w, "prepare", 0);
	worker_op(w, "prepare");
	c.buf = malloc(MAX_IO);
	for (c.file = 0; c.file < opt.nfiles; c.file++) {
		int fd = open_file(&c, c.file, O_TRUNC);

		for (c.id = 0; c.id < nworkers; c.id++) {
			memset(c.buf, 0, PAGE);
			fill((uint64_t *)c.buf, HALF, KIND_REGISTER, &c, 0, 0);
			MUST(&c, pwrite(fd, c.buf, PAGE, (off_t)c.id * PAGE) == (ssize_t)PAGE);
		}
		MUST(&c, close(fd) == 0);
	}
	free(c.buf);
	worker_rest(w);
}

/* After it: everything once more, in each way, and each way must show the same. */
static void examine(struct worker *w, void *arg)
{
	struct handles all[MAX_FILES];
	unsigned char *again = malloc(MAX_IO);
	struct ctx c = { .w = w, .all = all };

	(void)arg;
	worker_begin(w, "examine", 0);
	c.buf = malloc(MAX_IO);
	for (unsigned i = 0; i < opt.nfiles; i++) {
		worker_op(w, "examine file %u", i);
		handles_open(&c, i, opt.mode == UNCACHED, &all[i]);
		choose_file(&c, i);
		for (c.id = 0; c.id < nworkers; c.id++) {
			read_register(&c, c.id, c.h->fd, "read at the end");
			read_register(&c, c.id, c.h->direct, "O_DIRECT read at the end");
		}
		for (uint64_t pos = chaos_start(); pos < chaos_end(); pos += MAX_IO) {
			ssize_t n = pread(c.h->fd, c.buf, MAX_IO, (off_t)pos);
			struct floors floors;

			floors_before(&c, pos, MAX_IO, &floors);
			MUST(&c, n >= 0 && pread(c.h->direct, again, MAX_IO, (off_t)pos) == n);
			check_chaos(&c, "read at the end", pos, c.buf, (uint64_t)n, &floors);
			if (!looked(&c, "read at the end", pos, c.buf, (uint64_t)n))
				worker_fail(w, "file %u: a torn word at the end", i);
			if (memcmp(c.buf, again, (size_t)n) != 0)
				worker_fail(w, "file %u: read and O_DIRECT read differ", i);
		}
		handles_close(&c, c.h);
	}
	free(c.buf);
	free(again);
	worker_rest(w);
}

static void parse(int argc, char **argv)
{
	static const char *const modes[] = { "cached", "uncached", "mixed", "direct" };
	int c;

	opt.seed = (uint64_t)time(NULL);
	while ((c = getopt(argc, argv, "s:t:p:T:f:m:ew:")) != -1) {
		switch (c) {
		case 's':
			opt.seed = strtoull(optarg, NULL, 0);
			break;
		case 't':
			opt.seconds = (unsigned)strtoul(optarg, NULL, 0);
			break;
		case 'p':
			opt.nprocesses = (unsigned)strtoul(optarg, NULL, 0);
			break;
		case 'T':
			opt.nthreads = (unsigned)strtoul(optarg, NULL, 0);
			break;
		case 'f':
			opt.nfiles = (unsigned)strtoul(optarg, NULL, 0);
			break;
		case 'm':
			while (opt.mode <= DIRECT && strcmp(optarg, modes[opt.mode]) != 0)
				opt.mode++;
			break;
		case 'e':
			opt.small = true;
			break;
		case 'w':
			opt.limit = (unsigned)strtoul(optarg, NULL, 0);
			break;
		default:
			exit(2);
		}
	}
	nworkers = opt.nprocesses * opt.nthreads;
	if (optind + 1 != argc || !opt.seconds || opt.mode > DIRECT || !nworkers ||
	    nworkers > MAX_WORKERS || !opt.nfiles || opt.nfiles > MAX_FILES) {
		fprintf(stderr, "usage: tool_stress [OPTIONS] DIR; see tests/tool_stress.c\n");
		exit(2);
	}
	opt.dir = argv[optind];
}

int main(int argc, char **argv)
{
	unsigned long long n = 0;
	struct watch *watch;

	parse(argc, argv);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (shared == MAP_FAILED)
		return 2;
	printf("seed %llu\n", (unsigned long long)opt.seed);
	watch = watch_new(opt.nprocesses + nworkers, opt.limit);
	watch->log_shown = 6;
	if (watch_run(watch, 1, 0, prepare, NULL) ||
	    watch_run(watch, opt.nprocesses, opt.seconds, process, NULL) ||
	    watch_run(watch, 1, 0, examine, NULL))
		return 1;
	for (unsigned i = 0; i < watch->nworkers; i++)
		n += atomic_load(&watch->workers[i].nops);
	printf("%llu operations, %llu bytes looked at, %llu torn words, %llu SIGBUS, %llu EBUSY, "
	       "opens: %llu cached, %llu uncached\n",
	       n, (unsigned long long)atomic_load(&shared->nchecked),
	       (unsigned long long)atomic_load(&shared->ntorn),
	       (unsigned long long)atomic_load(&shared->nsigbus),
	       (unsigned long long)atomic_load(&shared->nbusy),
	       (unsigned long long)atomic_load(&shared->ncached),
	       (unsigned long long)atomic_load(&shared->nuncached));
	return 0;
}
