/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * facts_mount.c - the real bed: the daemon of facts.h in a process of its own, on a mount of its own; the
 * program is this process and its threads.
 *
 * Both share one piece of memory: the file as the daemon has it, the stages, the outcome. The daemon is no part
 * of the program because its threads would want the same mmap_lock. Whatever an experiment does, each request
 * is answered in the end, so nothing hangs for longer than HANG_MS for each `await` in `at`.
 */
#include "facts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <fuse3/fuse_lowlevel.h>

#define PAGE 4096u
#define CELL 2048u
#define FILE_INO 2
#define LONG_S 3600.0
#define AWAIT_MS 30000
#define RUN_S 60

struct shared {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool reached[FACT_STAGES], mounted, failed;
	char outcome[OUTCOME];
	uint64_t cells[FACT_CELLS];
	unsigned size;
};

static struct {
	struct bed bed;
	struct shared *shared;
	const char *mountpoint;
	char path[4096];
	int fd;
	unsigned char *map;
	struct fuse_session *session;
} real;

static _Thread_local bool is_asked;

/* ---- stages ----------------------------------------------------------------------------------------- */

static void lock(void)
{
	pthread_mutex_lock(&real.shared->lock);
}

static void unlock(void)
{
	pthread_mutex_unlock(&real.shared->lock);
}

static void set(bool *what)
{
	lock();
	*what = true;
	pthread_cond_broadcast(&real.shared->changed);
	unlock();
}

static bool is_set(const bool *what)
{
	bool is;

	lock();
	is = *what;
	unlock();
	return is;
}

static bool wait_set(const bool *what, unsigned ms)
{
	struct timespec end;
	bool is;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += ms / 1000;
	end.tv_nsec += (long)(ms % 1000) * 1000000;
	if (end.tv_nsec >= 1000000000) {
		end.tv_sec++;
		end.tv_nsec -= 1000000000;
	}
	lock();
	while (!*what &&
	       pthread_cond_timedwait(&real.shared->changed, &real.shared->lock, &end) == 0)
		;
	is = *what;
	unlock();
	return is;
}

static void reach(struct bed *b, unsigned stage)
{
	(void)b;
	set(&real.shared->reached[stage]);
}

static bool reached(struct bed *b, unsigned stage)
{
	(void)b;
	return is_set(&real.shared->reached[stage]);
}

static void say(struct bed *b, const char *key, const char *value)
{
	(void)b;
	lock();
	outcome_add(real.shared->outcome, OUTCOME, key, value);
	unlock();
}

static bool await(struct bed *b, unsigned stage)
{
	bool ok = wait_set(&real.shared->reached[stage], is_asked ? HANG_MS : AWAIT_MS);

	if (!ok && !is_asked)
		say(b, "a stage", "in vain");
	return ok;
}

static uint64_t *medium(struct bed *b, unsigned **ret_size)
{
	(void)b;
	*ret_size = &real.shared->size;
	return real.shared->cells;
}

/* ---- the program ------------------------------------------------------------------------------------ */

static _Thread_local sigjmp_buf on_sigbus;
static _Thread_local volatile bool may_sigbus;

static void sigbus(int sig)
{
	if (!may_sigbus) {
		signal(sig, SIG_DFL);
		return; /* and again, for good */
	}
	may_sigbus = false;
	siglongjmp(on_sigbus, 1);
}

static volatile uint64_t *word(unsigned cell)
{
	return (volatile uint64_t *)(void *)(real.map + (size_t)cell * CELL);
}

static bool bed_load(struct bed *b, unsigned cell, uint64_t *ret)
{
	(void)b;
	if (sigsetjmp(on_sigbus, 1))
		return false;
	may_sigbus = true;
	*ret = *word(cell);
	may_sigbus = false;
	return true;
}

static bool bed_store(struct bed *b, unsigned cell, uint64_t value)
{
	(void)b;
	if (sigsetjmp(on_sigbus, 1))
		return false;
	may_sigbus = true;
	*word(cell) = value;
	may_sigbus = false;
	return true;
}

static int bed_read(struct bed *b, unsigned cell, uint64_t *ret)
{
	ssize_t n = pread(real.fd, ret, sizeof(*ret), (off_t)cell * CELL);

	(void)b;
	return n < 0 ? -errno : n > 0;
}

static void pack(unsigned char *buf, unsigned ncells, uint64_t value)
{
	memset(buf, 0, (size_t)ncells * CELL);
	for (unsigned i = 0; i < ncells; i++)
		memcpy(buf + (size_t)i * CELL, &value, sizeof(value));
}

static int bed_write(struct bed *b, unsigned first, unsigned end, uint64_t value)
{
	unsigned char buf[FACT_CELLS * CELL];

	(void)b;
	pack(buf, end - first, value);
	return pwrite(real.fd, buf, (size_t)(end - first) * CELL, (off_t)first * CELL) < 0 ? -errno
											   : 0;
}

static int bed_append(struct bed *b, uint64_t value)
{
	unsigned char buf[PAGE];
	int fd = open(real.path, O_WRONLY | O_APPEND | O_CLOEXEC), err = 0;

	(void)b;
	pack(buf, 2, value);
	if (fd < 0 || write(fd, buf, sizeof(buf)) < 0)
		err = -errno;
	close(fd);
	return err;
}

static int bed_truncate(struct bed *b, unsigned cells)
{
	(void)b;
	return ftruncate(real.fd, (off_t)cells * CELL) ? -errno : 0;
}

static int bed_punch(struct bed *b, unsigned first, unsigned end)
{
	(void)b;
	return fallocate(real.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)first * CELL,
			 (off_t)(end - first) * CELL)
		       ? -errno
		       : 0;
}

static int bed_fsync(struct bed *b)
{
	(void)b;
	return fsync(real.fd) ? -errno : 0;
}

static void bed_writeback(struct bed *b, unsigned cell)
{
	(void)b;
	sync_file_range(real.fd, (off_t)cell * CELL / PAGE * PAGE, PAGE,
			SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
				SYNC_FILE_RANGE_WAIT_AFTER);
}

static void bed_change_mappings(struct bed *b)
{
	void *map = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)b;
	if (map != MAP_FAILED)
		munmap(map, PAGE);
}

static void bed_open_again(struct bed *b)
{
	int fd = open(real.path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		say(b, "open", strerrorname_np(errno));
	else
		close(fd);
}

static void bed_close(struct bed *b)
{
	(void)b;
	close(real.fd);
	real.fd = -1;
}

static void bed_unmap(struct bed *b)
{
	(void)b;
	munmap(real.map, (size_t)FACT_CELLS * CELL);
	real.map = NULL;
}

static void bed_clear_direct(struct bed *b)
{
	(void)b;
	if (fcntl(real.fd, F_SETFL, 0))
		say(b, "fcntl", strerrorname_np(errno));
}

/* ---- the daemon ------------------------------------------------------------------------------------- */

static int bed_notify(struct bed *b, unsigned first, unsigned end)
{
	(void)b;
	return fuse_lowlevel_notify_inval_inode(real.session, FILE_INO, (off_t)first * CELL,
						(off_t)(end - first) * CELL);
}

static const struct bed_ops ops = {
	.load = bed_load,
	.store = bed_store,
	.read = bed_read,
	.write = bed_write,
	.append = bed_append,
	.truncate = bed_truncate,
	.punch = bed_punch,
	.fsync = bed_fsync,
	.writeback = bed_writeback,
	.change_mappings = bed_change_mappings,
	.open_again = bed_open_again,
	.close = bed_close,
	.unmap = bed_unmap,
	.clear_direct = bed_clear_direct,
	.notify = bed_notify,
	.medium = medium,
	.reach = reach,
	.await = await,
	.reached = reached,
	.say = say,
};

/* Positive, as libfuse wants errors. */
static int ask(enum asked asked, enum moment moment, uint64_t pos)
{
	int err = 0;

	if (real.bed.fact->at) {
		is_asked = true;
		err = -real.bed.fact->at(&real.bed, asked, moment, (unsigned)(pos / CELL));
		is_asked = false;
	}
	return err;
}

static struct stat attributes(fuse_ino_t ino)
{
	struct stat st = { .st_ino = ino, .st_nlink = 1, .st_uid = getuid(), .st_gid = getgid() };

	st.st_mode = ino == FUSE_ROOT_ID ? S_IFDIR | 0700 : S_IFREG | 0600;
	lock();
	st.st_size = ino == FUSE_ROOT_ID ? 0 : (off_t)real.shared->size * CELL;
	unlock();
	return st;
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	conn->want &= ~(unsigned)(FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_ATOMIC_O_TRUNC |
				  FUSE_CAP_AUTO_INVAL_DATA);
	conn->want |= conn->capable & FUSE_CAP_EXPLICIT_INVAL_DATA;
	conn->max_readahead = 0;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = { .ino = FILE_INO,
					  .generation = 1,
					  .attr = attributes(FILE_INO),
					  .attr_timeout = LONG_S,
					  .entry_timeout = LONG_S };

	(void)parent;
	if (strcmp(name, "a") != 0)
		fuse_reply_err(req, ENOENT);
	else
		fuse_reply_entry(req, &entry);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st = attributes(ino);

	(void)fi;
	fuse_reply_attr(req, &st, LONG_S);
}

static void resize(uint64_t size)
{
	unsigned cells = (unsigned)(size / CELL);

	lock();
	for (unsigned i = cells < real.shared->size ? cells : real.shared->size; i < FACT_CELLS;
	     i++)
		real.shared->cells[i] = 0;
	real.shared->size = cells;
	unlock();
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int which,
		       struct fuse_file_info *fi)
{
	uint64_t size = (uint64_t)attr->st_size;
	int err = 0;

	(void)fi;
	if (which & FUSE_SET_ATTR_SIZE) {
		err = ask(ASKED_SIZE, ARRIVED, size);
		if (!err) {
			resize(size);
			err = ask(ASKED_SIZE, DONE, size);
		}
	}
	if (err)
		fuse_reply_err(req, err);
	else
		op_getattr(req, ino, NULL);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	fi->keep_cache = !real.bed.fact->no_keep;
	fi->direct_io = real.bed.fact->direct;
	fuse_reply_open(req, fi);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino, (void)fi;
	ask(ASKED_RELEASE, ARRIVED, 0);
	fuse_reply_err(req, 0);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t len, off_t pos,
		    struct fuse_file_info *fi)
{
	unsigned char file[FACT_CELLS * CELL] = { 0 };
	uint64_t size;
	int err = ask(ASKED_READ, ARRIVED, (uint64_t)pos);

	(void)ino, (void)fi;
	lock();
	size = (uint64_t)real.shared->size * CELL;
	for (unsigned i = 0; i < real.shared->size; i++)
		memcpy(file + (size_t)i * CELL, &real.shared->cells[i], sizeof(uint64_t));
	unlock();
	if (!err)
		err = ask(ASKED_READ, DONE, (uint64_t)pos);
	if (err)
		fuse_reply_err(req, err);
	else if ((uint64_t)pos >= size)
		fuse_reply_buf(req, NULL, 0);
	else
		fuse_reply_buf(req, (char *)file + pos,
			       len < size - (uint64_t)pos ? len : size - (uint64_t)pos);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t len, off_t off,
		     struct fuse_file_info *fi)
{
	enum asked asked = fi->writepage ? ASKED_WRITEBACK : ASKED_WRITE;
	uint64_t pos = (uint64_t)off, end = pos + len;
	int err = ask(asked, ARRIVED, pos);

	(void)ino;
	if (!err) {
		lock();
		for (uint64_t cell = (pos + CELL - 1) / CELL; cell * CELL < end; cell++)
			memcpy(&real.shared->cells[cell], buf + (cell * CELL - pos),
			       sizeof(uint64_t));
		if (end > (uint64_t)real.shared->size * CELL)
			real.shared->size = (unsigned)(end / CELL);
		unlock();
		err = ask(asked, DONE, pos);
	}
	if (err)
		fuse_reply_err(req, err);
	else
		fuse_reply_write(req, len);
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)ino, (void)datasync, (void)fi;
	fuse_reply_err(req, 0);
}

static void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t pos, off_t len,
			 struct fuse_file_info *fi)
{
	int err = ask(ASKED_PUNCH, ARRIVED, (uint64_t)pos);

	(void)ino, (void)mode, (void)fi;
	if (!err) {
		lock();
		memset(&real.shared->cells[pos / CELL], 0, (size_t)(len / CELL) * sizeof(uint64_t));
		unlock();
		err = ask(ASKED_PUNCH, DONE, (uint64_t)pos);
	}
	fuse_reply_err(req, err);
}

static const struct fuse_lowlevel_ops operations = {
	.init = op_init,
	.lookup = op_lookup,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.open = op_open,
	.release = op_release,
	.read = op_read,
	.write = op_write,
	.fsync = op_fsync,
	.fallocate = op_fallocate,
};

static void *worker(void *arg)
{
	struct fuse_buf buf = { 0 };

	(void)arg;
	while (!fuse_session_exited(real.session)) {
		int n = fuse_session_receive_buf(real.session, &buf);

		if (n == -EINTR)
			continue;
		if (n <= 0)
			break;
		fuse_session_process_buf(real.session, &buf);
	}
	free(buf.mem);
	return NULL;
}

static void *thread_main(void *arg)
{
	((const struct fact_thread *)arg)->main(&real.bed);
	return NULL;
}

static unsigned start_threads(bool daemon, pthread_t *threads)
{
	const struct fact *fact = real.bed.fact;
	unsigned n = 0;

	for (unsigned i = 0; i < FACT_THREADS && fact->threads[i].main; i++)
		if (fact->threads[i].daemon == daemon &&
		    pthread_create(&threads[n], NULL, thread_main,
				   (void *)(uintptr_t)&fact->threads[i]) == 0)
			n++;
	return n;
}

static void join(const pthread_t *threads, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
}

/* The daemon's process: ends when it is unmounted. */
static int serve(void)
{
	char name[] = "facts", *argv[] = { name, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	pthread_t workers[8], others[FACT_THREADS];
	unsigned nothers;

	real.session = fuse_session_new(&args, &operations, sizeof(operations), NULL);
	if (!real.session || fuse_session_mount(real.session, real.mountpoint)) {
		set(&real.shared->failed);
		set(&real.shared->mounted);
		return 1;
	}
	nothers = start_threads(true, others);
	for (unsigned i = 0; i < real.bed.fact->nworkers; i++)
		pthread_create(&workers[i], NULL, worker, NULL);
	set(&real.shared->mounted);
	join(workers, real.bed.fact->nworkers);
	join(others, nothers);
	fuse_session_destroy(real.session);
	return 0;
}

/* ---- a run ------------------------------------------------------------------------------------------ */

static bool share(void)
{
	pthread_mutexattr_t mutex;
	pthread_condattr_t cond;

	real.shared = mmap(NULL, sizeof(*real.shared), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (real.shared == MAP_FAILED)
		return false;
	pthread_mutexattr_init(&mutex);
	pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&real.shared->lock, &mutex);
	pthread_condattr_init(&cond);
	pthread_condattr_setpshared(&cond, PTHREAD_PROCESS_SHARED);
	pthread_condattr_setclock(&cond, CLOCK_MONOTONIC);
	pthread_cond_init(&real.shared->changed, &cond);
	real.shared->size = real.bed.fact->size_cells;
	for (unsigned i = 0; i < real.shared->size; i++)
		real.shared->cells[i] = OLD;
	return true;
}

static bool open_file(void)
{
	bool direct = real.bed.fact->direct;

	snprintf(real.path, sizeof(real.path), "%s/a", real.mountpoint);
	real.fd = open(real.path, O_RDWR | O_CLOEXEC | (direct ? O_DIRECT : 0));
	if (real.fd < 0)
		return false;
	real.map = mmap(NULL, (size_t)FACT_CELLS * CELL, PROT_READ | (direct ? 0 : PROT_WRITE),
			direct ? MAP_PRIVATE : MAP_SHARED, real.fd, 0);
	return real.map != MAP_FAILED;
}

static void close_file(void)
{
	if (real.map)
		munmap(real.map, (size_t)FACT_CELLS * CELL);
	if (real.fd >= 0)
		close(real.fd);
}

static bool unmount(void)
{
	pid_t pid;
	int status = 0;

	if (geteuid() == 0)
		return umount2(real.mountpoint, 0) == 0;
	pid = fork();
	if (pid == 0) {
		execlp("fusermount3", "fusermount3", "-u", real.mountpoint, NULL);
		_exit(127);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static int run_once(const struct fact *fact)
{
	pthread_t threads[FACT_THREADS];
	unsigned n;
	pid_t daemon;
	int status = 1;

	real.bed = (struct bed){ &ops, fact };
	if (!share())
		return 1;
	fflush(NULL);
	daemon = fork();
	if (daemon == 0)
		_exit(serve());
	if (daemon < 0 || !wait_set(&real.shared->mounted, AWAIT_MS) || real.shared->failed)
		return fprintf(stderr, "%s: cannot mount there\n", real.mountpoint) > 0;
	if (open_file()) {
		n = start_threads(false, threads);
		join(threads, n);
		close_file();
		status = 0;
	} else {
		fprintf(stderr, "%s: %s\n", real.path, strerror(errno));
	}
	/* Descriptors are closed some time after the program has ended its part. */
	for (unsigned tries = 0; !unmount() && tries < 100; tries++)
		usleep(20000);
	waitpid(daemon, NULL, 0);
	return status;
}

static void too_long(int sig)
{
	static const char text[] = "a run does not end\n";

	(void)sig;
	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(3);
	_exit(2);
}

int fact_on_mount(const struct fact *fact, const char *mountpoint, unsigned runs)
{
	char seen[8][OUTCOME];
	unsigned nseen = 0;

	real.mountpoint = mountpoint;
	signal(SIGBUS, sigbus);
	signal(SIGALRM, too_long);
	for (unsigned run = 0; run < runs; run++) {
		unsigned i = 0;

		alarm(RUN_S);
		if (run_once(fact))
			return 1;
		while (i < nseen && strcmp(seen[i], real.shared->outcome) != 0)
			i++;
		if (i == nseen && i < 8) {
			snprintf(seen[nseen++], OUTCOME, "%s", real.shared->outcome);
			puts(real.shared->outcome);
		}
		munmap(real.shared, sizeof(*real.shared));
	}
	return 0;
}
