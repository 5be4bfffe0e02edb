/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * tool_witness.c - what was acknowledged before a crash has to be there afterwards; for
 * mount_kill.sh.
 *
 *	tool_witness -s SEED -p PROCESSES [-t SECONDS] DIR LOG
 *	tool_witness -v -s SEED -p PROCESSES DIR LOG
 *
 * The first changes files in DIR, until time is up or the filesystem dies under it (which is no
 * failure). Each process works in a directory of its own, and notes in LOG, which is somewhere else,
 * how many of its operations have been acknowledged: that number, and the seed, say exactly what
 * there must be. No operation is followed by a sync, because udaxfs promises that each is
 * durable when it returns (a store through a mapping: when msync returns).
 *
 * The second looks. The one operation that was under way may be there or not; where it wrote data,
 * each byte may be old or new. Nothing else may differ: no missing or additional name, no other
 * size, content, or attribute.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "udax/ioctl.h"
#include "watch.h"

#define PAGE 4096u
#define NAMES 6u
#define MAX_BYTES (16u * PAGE)
#define MAX_PROCESSES 64u

/* ---- what there must be -------------------------------------------------------------------------- */

struct content {
	uint64_t size;
	uint64_t mark; /* value of an extended attribute; 0: none */
	unsigned char bytes[MAX_BYTES];
};

/* Names are links to contents; a content without names is free. */
struct state {
	int name[NAMES]; /* number of the content; -1: no such name */
	bool subdir;
	struct content contents[NAMES];
};

enum kind {
	CREATE,
	APPEND,
	WRITE,
	STORE,
	TRUNCATE,
	PUNCH,
	ZERO,
	ALLOCATE,
	COLLAPSE,
	INSERT,
	EXCHANGE,
	RENAME,
	LINK,
	UNLINK,
	SUBDIR,
	MARK,
	NKINDS,
};

static const char *const kind_names[NKINDS] = {
	"create", "append",   "write",	      "store and msync", "truncate", "punch",
	"zero",	  "allocate", "collapse",     "insert",		 "exchange", "rename",
	"link",	  "unlink",   "subdirectory", "setxattr",
};

struct operation {
	enum kind kind;
	unsigned a, b; /* names */
	uint64_t pos, len;
	uint64_t number;
};

static unsigned links_of(const struct state *s, int content)
{
	unsigned n = 0;

	for (unsigned i = 0; i < NAMES; i++)
		n += s->name[i] == content;
	return n;
}

static int free_content(const struct state *s)
{
	int i = 0;

	while (links_of(s, i))
		i++;
	return i;
}

static unsigned char byte_at(uint64_t number, uint64_t pos)
{
	return (unsigned char)(mix(number, pos / 64) >> (pos % 8) | 1);
}

/* Whether @op is possible in @s. Where it is about a file with data, its range is made to fit. */
static bool fit(const struct state *s, struct operation *op)
{
	const struct content *c = s->name[op->a] >= 0 ? &s->contents[s->name[op->a]] : NULL;
	const struct content *other = s->name[op->b] >= 0 ? &s->contents[s->name[op->b]] : NULL;

	switch (op->kind) {
	case CREATE:
		return !c;
	case APPEND:
		op->pos = c ? c->size : 0;
		return c && c->size + op->len <= MAX_BYTES;
	case STORE:
		if (!c || op->pos >= c->size)
			return false;
		if (op->len > c->size - op->pos)
			op->len = c->size - op->pos;
		return true;
	case COLLAPSE:
	case INSERT:
		op->pos -= op->pos % PAGE;
		op->len += PAGE - op->len % PAGE;
		if (!c || op->pos >= c->size)
			return false;
		return op->kind == COLLAPSE ? op->pos + op->len < c->size
					    : c->size + op->len <= MAX_BYTES;
	case EXCHANGE:
		op->pos -= op->pos % PAGE;
		op->len = PAGE;
		return c && other && c != other && op->pos + PAGE <= c->size && PAGE <= other->size;
	case RENAME:
		return c && op->a != op->b && c != other;
	case LINK:
		return c && !other;
	case SUBDIR:
		return true;
	default:
		return c;
	}
}

static struct operation next_operation(struct worker *w, const struct state *s, uint64_t number)
{
	struct operation op;

	do {
		op = (struct operation){ .kind = worker_below(w, NKINDS),
					 .a = (unsigned)worker_below(w, NAMES),
					 .b = (unsigned)worker_below(w, NAMES),
					 .pos = worker_below(w, MAX_BYTES - 6000),
					 .len = 1 + worker_below(w, 6000),
					 .number = number };
	} while (!fit(s, &op));
	return op;
}

static void resize(struct content *c, uint64_t size)
{
	if (size < c->size)
		memset(c->bytes + size, 0, c->size - size);
	c->size = size;
}

static void put(struct content *c, const struct operation *op)
{
	for (uint64_t i = op->pos; i < op->pos + op->len; i++)
		c->bytes[i] = byte_at(op->number, i);
	if (op->pos + op->len > c->size)
		c->size = op->pos + op->len;
}

static void clear(struct content *c, uint64_t pos, uint64_t end)
{
	if (end > c->size)
		end = c->size;
	if (pos < end)
		memset(c->bytes + pos, 0, end - pos);
}

static void shift_bytes(struct content *c, const struct operation *op)
{
	uint64_t end = op->pos + op->len;

	if (op->kind == COLLAPSE) {
		memmove(c->bytes + op->pos, c->bytes + end, c->size - end);
		resize(c, c->size - op->len);
	} else {
		memmove(c->bytes + end, c->bytes + op->pos, c->size - op->pos);
		memset(c->bytes + op->pos, 0, op->len);
		c->size += op->len;
	}
}

static void swap_page(struct content *a, uint64_t pos, struct content *b)
{
	unsigned char page[PAGE];

	memcpy(page, a->bytes + pos, PAGE);
	memcpy(a->bytes + pos, b->bytes, PAGE);
	memcpy(b->bytes, page, PAGE);
}

/* What @op does, on paper. */
static void apply(struct state *s, const struct operation *op)
{
	struct content *c = s->name[op->a] >= 0 ? &s->contents[s->name[op->a]] : NULL;

	switch (op->kind) {
	case CREATE:
		s->name[op->a] = free_content(s);
		memset(&s->contents[s->name[op->a]], 0, sizeof(struct content));
		break;
	case APPEND:
	case WRITE:
	case STORE:
		put(c, op);
		break;
	case TRUNCATE:
		resize(c, op->pos);
		break;
	case PUNCH:
	case ZERO:
		clear(c, op->pos, op->pos + op->len);
		break;
	case ALLOCATE:
		if (op->pos + op->len > c->size)
			c->size = op->pos + op->len;
		break;
	case COLLAPSE:
	case INSERT:
		shift_bytes(c, op);
		break;
	case EXCHANGE:
		swap_page(c, op->pos, &s->contents[s->name[op->b]]);
		break;
	case RENAME:
		s->name[op->b] = s->name[op->a];
		s->name[op->a] = -1;
		break;
	case LINK:
		s->name[op->b] = s->name[op->a];
		break;
	case UNLINK:
		s->name[op->a] = -1;
		break;
	case SUBDIR:
		s->subdir = !s->subdir;
		break;
	case MARK:
		c->mark = op->number;
		break;
	case NKINDS:
		break;
	}
}

/* ---- doing it ------------------------------------------------------------------------------------ */

static sigjmp_buf *volatile on_sigbus;

static void sigbus(int sig)
{
	if (!on_sigbus) {
		signal(sig, SIG_DFL);
		return;
	}
	siglongjmp(*on_sigbus, 1);
}

static int store_and_sync(int fd, const struct operation *op, const unsigned char *bytes)
{
	unsigned char *map = mmap(NULL, MAX_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	sigjmp_buf here;
	int result;

	if (map == MAP_FAILED)
		return -1;
	if (sigsetjmp(here, 1)) {
		on_sigbus = NULL;
		munmap(map, MAX_BYTES);
		errno = ENOTCONN; /* inside EOF: the filesystem is gone */
		return -1;
	}
	on_sigbus = &here;
	for (uint64_t i = 0; i < op->len; i++)
		((volatile unsigned char *)map)[op->pos + i] = bytes[i];
	on_sigbus = NULL;
	result = msync(map, MAX_BYTES, MS_SYNC);
	munmap(map, MAX_BYTES);
	return result;
}

static int do_exchange(int fd, int other, const struct operation *op)
{
	struct udax_ioc_token token = { .version = UDAX_IOC_VERSION };
	struct udax_ioc_exchange arg = { .version = UDAX_IOC_VERSION, .pos = op->pos, .len = PAGE };

	if (ioctl(other, UDAX_IOC_TOKEN, &token))
		return -1;
	memcpy(arg.token, token.token, sizeof(arg.token));
	return ioctl(fd, UDAX_IOC_EXCHANGE, &arg);
}

static int do_shift(int fd, const struct operation *op)
{
	struct udax_ioc_range arg = { .version = UDAX_IOC_VERSION, .pos = op->pos, .len = op->len };

	return ioctl(fd, op->kind == COLLAPSE ? UDAX_IOC_COLLAPSE : UDAX_IOC_INSERT, &arg);
}

/* A write that the end cuts in two says how far it came; the next one says why. */
static int write_bytes(int fd, const struct operation *op, const unsigned char *bytes)
{
	uint64_t done = 0;

	while (done < op->len) {
		ssize_t n = op->kind == APPEND ? write(fd, bytes + done, op->len - done)
					       : pwrite(fd, bytes + done, op->len - done,
							(off_t)(op->pos + done));

		if (n <= 0)
			return -1;
		done += (uint64_t)n;
	}
	return 0;
}

static int do_with_file(int fd, int other, const struct operation *op)
{
	unsigned char bytes[8192];

	for (uint64_t i = 0; i < op->len && i < sizeof(bytes); i++)
		bytes[i] = byte_at(op->number, op->pos + i);
	switch (op->kind) {
	case APPEND:
	case WRITE:
		return write_bytes(fd, op, bytes);
	case STORE:
		return store_and_sync(fd, op, bytes);
	case TRUNCATE:
		return ftruncate(fd, (off_t)op->pos);
	case PUNCH:
		return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)op->pos,
				 (off_t)op->len);
	case ZERO:
		return fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, (off_t)op->pos,
				 (off_t)op->len);
	case ALLOCATE:
		return fallocate(fd, 0, (off_t)op->pos, (off_t)op->len);
	case COLLAPSE:
	case INSERT:
		return do_shift(fd, op);
	case EXCHANGE:
		return do_exchange(fd, other, op);
	default:
		return fsetxattr(fd, "user.mark", &op->number, sizeof(op->number), 0);
	}
}

static void name_of(char *path, unsigned i)
{
	snprintf(path, 16, "name%u", i);
}

/* A mode ends some time after close(2): what needs the other one is tried again. */
static int do_open_and(const struct operation *op, bool other_too)
{
	bool uncached = op->kind == COLLAPSE || op->kind == INSERT || op->kind == EXCHANGE;
	int flags = O_RDWR | O_CLOEXEC | (uncached ? O_DIRECT : 0) |
		    (op->kind == APPEND ? O_APPEND : 0);
	char path[16], other_path[16];
	int result = -1;

	name_of(path, op->a);
	name_of(other_path, op->b);
	for (unsigned i = 0; i < 5000 && result; i++) {
		int fd = open(path, flags), other = other_too ? open(other_path, flags) : -1, err;

		if (fd < 0 || (other_too && other < 0))
			return -1;
		result = do_with_file(fd, other, op);
		err = errno;
		close(fd);
		if (other_too)
			close(other);
		errno = err;
		if (result && errno != EBUSY && errno != ENODEV)
			break;
		if (result)
			usleep(1000);
	}
	return result;
}

static int do_create(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

static int execute(const struct operation *op, const struct state *s)
{
	char a[16], b[16];

	name_of(a, op->a);
	name_of(b, op->b);
	switch (op->kind) {
	case CREATE:
		return do_create(a);
	case RENAME:
		return rename(a, b);
	case LINK:
		return link(a, b);
	case UNLINK:
		return unlink(a);
	case SUBDIR:
		return s->subdir ? rmdir("subdir") : mkdir("subdir", 0755);
	default:
		return do_open_and(op, op->kind == EXCHANGE);
	}
}

/* ---- looking ------------------------------------------------------------------------------------- */

/* What is there. Sizes above MAX_BYTES are wrong in any case. */
struct found {
	bool exists;
	ino_t ino;
	struct content content;
};

static const char *look_at_name(unsigned i, struct found *ret)
{
	char path[16];
	int fd;
	struct stat st;

	name_of(path, i);
	memset(ret, 0, sizeof(*ret));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? NULL : "cannot be opened";
	ret->exists = true;
	if (fstat(fd, &st) || (uint64_t)st.st_size > MAX_BYTES)
		return "is too large";
	ret->ino = st.st_ino;
	ret->content.size = (uint64_t)st.st_size;
	if (pread(fd, ret->content.bytes, MAX_BYTES, 0) != st.st_size)
		return "is not as long as it says";
	if (fgetxattr(fd, "user.mark", &ret->content.mark, 8) < 0 && errno != ENODATA)
		return "does not give its attribute";
	close(fd);
	return NULL;
}

/* Whether @got lies between @old and @new: each byte and the size from one of them. */
static bool between(const struct content *got, const struct content *old, const struct content *new)
{
	uint64_t low = old->size < new->size ? old->size : new->size;
	uint64_t high = old->size < new->size ? new->size : old->size;

	if (got->size < low || got->size > high ||
	    (got->mark != old->mark && got->mark != new->mark))
		return false;
	for (uint64_t i = 0; i < got->size; i++)
		if (got->bytes[i] != old->bytes[i] && got->bytes[i] != new->bytes[i])
			return false;
	return true;
}

static bool same_content(const struct content *a, const struct content *b)
{
	return a->size == b->size && a->mark == b->mark && memcmp(a->bytes, b->bytes, a->size) == 0;
}

static bool matches(const struct found *found, const struct state *s)
{
	for (unsigned i = 0; i < NAMES; i++) {
		if (found[i].exists != (s->name[i] >= 0))
			return false;
		if (found[i].exists && !same_content(&found[i].content, &s->contents[s->name[i]]))
			return false;
		for (unsigned k = 0; found[i].exists && k < i; k++)
			if (found[k].exists &&
			    (found[i].ino == found[k].ino) != (s->name[i] == s->name[k]))
				return false;
	}
	return (access("subdir", F_OK) == 0) == s->subdir;
}

/* For an operation that writes data: the file that it writes to may be between old and new. */
static bool matches_between(const struct found *found, struct state *old, const struct state *new,
			    const struct operation *op)
{
	struct content *c = &old->contents[old->name[op->a]];

	if ((op->kind != APPEND && op->kind != WRITE && op->kind != STORE) ||
	    !found[op->a].exists ||
	    !between(&found[op->a].content, c, &new->contents[new->name[op->a]]))
		return false;
	*c = found[op->a].content;
	return matches(found, old);
}

/* As in "name7". */
static bool is_known(const char *name)
{
	char *end;

	if (strcmp(name, "subdir") == 0)
		return true;
	if (strncmp(name, "name", 4) != 0 || !name[4])
		return false;
	return strtoul(name + 4, &end, 10) < NAMES && !*end;
}

static bool only_known_names(void)
{
	DIR *dir = opendir(".");
	struct dirent *entry;
	bool ok = dir;

	while (ok && (entry = readdir(dir)))
		ok = entry->d_name[0] == '.' || is_known(entry->d_name);
	if (dir)
		closedir(dir);
	return ok;
}

static void explain(const struct found *found, const struct state *s)
{
	for (unsigned i = 0; i < NAMES; i++) {
		const struct content *wanted = s->name[i] < 0 ? NULL : &s->contents[s->name[i]];
		const struct content *got = found[i].exists ? &found[i].content : NULL;
		uint64_t at = 0;

		if (wanted && got)
			while (at < wanted->size && at < got->size &&
			       wanted->bytes[at] == got->bytes[at])
				at++;
		printf("  name%u: %s, size %lld, mark %lld; should be: %s, size %lld, mark %lld; same up "
		       "to %llu\n",
		       i, got ? "there" : "not there", got ? (long long)got->size : 0,
		       got ? (long long)got->mark : 0, wanted ? "there" : "not there",
		       wanted ? (long long)wanted->size : 0, wanted ? (long long)wanted->mark : 0,
		       (unsigned long long)at);
	}
}

/* ---- the two programs ---------------------------------------------------------------------------- */

static struct {
	uint64_t seed;
	unsigned nprocesses, seconds;
	bool verify;
	const char *dir, *log;
	int log_fd;
	atomic_ullong *under_way; /* how many of the operations under way were there */
} opt = { .nprocesses = 1 };

static void log_operation(struct worker *w, const char *prefix, const struct operation *op)
{
	worker_op(w, "%s%llu: %s name%u name%u [0x%llx, 0x%llx)", prefix,
		  (unsigned long long)op->number, kind_names[op->kind], op->a, op->b,
		  (unsigned long long)op->pos, (unsigned long long)op->pos + op->len);
}

static void begin(struct worker *w, unsigned index, struct state *s)
{
	char path[4096];

	snprintf(path, sizeof(path), "process %u", index);
	worker_begin(w, path, mix(opt.seed, index));
	memset(s, 0, sizeof(*s));
	for (unsigned i = 0; i < NAMES; i++)
		s->name[i] = -1;
	snprintf(path, sizeof(path), "%s/%u", opt.dir, index);
	worker_op(w, "mkdir and chdir %s", path);
	if ((!opt.verify && mkdir(path, 0755)) || chdir(path))
		worker_fail(w, "%s: %s", path, strerror(errno));
}

static bool is_dead(int err)
{
	return err == ENOTCONN || err == ECONNABORTED || err == ENODEV || err == EIO;
}

static void act(struct worker *w, void *arg)
{
	static struct state s;
	unsigned index = (unsigned)(w - w->watch->workers);

	(void)arg;
	signal(SIGBUS, sigbus);
	begin(w, index, &s);
	for (uint64_t n = 1; !atomic_load(&w->watch->stop); n++) {
		struct operation op = next_operation(w, &s, n);

		log_operation(w, "", &op);
		if (execute(&op, &s)) {
			if (!is_dead(errno))
				worker_fail(w, "operation %llu: %s", (unsigned long long)n,
					    strerror(errno));
			break;
		}
		apply(&s, &op);
		if (pwrite(opt.log_fd, &n, sizeof(n), index * 8) != sizeof(n))
			worker_fail(w, "%s: %s", opt.log, strerror(errno));
	}
	worker_rest(w);
}

static void look(struct worker *w, void *arg)
{
	static struct state before, after;
	static struct found found[NAMES];
	unsigned index = (unsigned)(w - w->watch->workers);
	struct operation op;
	uint64_t n = 0;

	(void)arg;
	begin(w, index, &before);
	if (pread(opt.log_fd, &n, sizeof(n), index * 8) < 0)
		worker_fail(w, "%s: %s", opt.log, strerror(errno));
	for (uint64_t i = 1; i <= n; i++) {
		op = next_operation(w, &before, i);
		log_operation(w, "acknowledged: ", &op);
		apply(&before, &op);
	}
	op = next_operation(w, &before, n + 1);
	after = before;
	apply(&after, &op);
	log_operation(w, "look; under way: ", &op);
	for (unsigned i = 0; i < NAMES; i++) {
		const char *wrong = look_at_name(i, &found[i]);

		if (wrong)
			worker_fail(w, "name%u %s", i, wrong);
	}
	if (!only_known_names())
		worker_fail(w, "there are names that nobody made");
	if (matches(found, &after)) {
		atomic_fetch_add(opt.under_way, 1);
	} else if (!matches(found, &before) && !matches_between(found, &before, &after, &op)) {
		explain(found, &before);
		worker_fail(w, "not what %llu acknowledged operations leave",
			    (unsigned long long)n);
	}
	worker_rest(w);
}

static void parse(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "vs:p:t:")) != -1) {
		switch (c) {
		case 'v':
			opt.verify = true;
			break;
		case 's':
			opt.seed = strtoull(optarg, NULL, 0);
			break;
		case 'p':
			opt.nprocesses = (unsigned)strtoul(optarg, NULL, 0);
			break;
		case 't':
			opt.seconds = (unsigned)strtoul(optarg, NULL, 0);
			break;
		default:
			exit(2);
		}
	}
	if (optind + 2 != argc || !opt.nprocesses || opt.nprocesses > MAX_PROCESSES) {
		fprintf(stderr, "usage: tool_witness [-v] -s SEED -p PROCESSES DIR LOG\n");
		exit(2);
	}
	opt.dir = argv[optind];
	opt.log = argv[optind + 1];
}

int main(int argc, char **argv)
{
	uint64_t done[MAX_PROCESSES] = { 0 }, sum = 0;
	struct watch *watch;

	parse(argc, argv);
	opt.log_fd = open(opt.log, O_RDWR | O_CREAT | O_CLOEXEC | (opt.verify ? 0 : O_TRUNC), 0600);
	if (opt.log_fd < 0) {
		perror(opt.log);
		return 2;
	}
	opt.under_way = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (opt.under_way == MAP_FAILED)
		return 2;
	watch = watch_new(opt.nprocesses, 30);
	watch->log_shown = 10;
	if (watch_run(watch, opt.nprocesses, opt.seconds, opt.verify ? look : act, NULL))
		return 1;
	if (pread(opt.log_fd, done, sizeof(done), 0) < 0)
		return 2;
	for (unsigned i = 0; i < opt.nprocesses; i++)
		sum += done[i];
	printf("%llu operations acknowledged", (unsigned long long)sum);
	if (opt.verify)
		printf(" and there, and %llu of those under way",
		       (unsigned long long)atomic_load(opt.under_way));
	printf("\n");
	return 0;
}
