/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * lib_watch.c - see watch.h.
 */
#include "watch.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

uint64_t watch_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t mix(uint64_t a, uint64_t b)
{
	uint64_t x = a * UINT64_C(0x9e3779b97f4a7c15) + b;

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

/* ---- workers ----------------------------------------------------------------------------------- */

void worker_begin(struct worker *worker, const char *name, uint64_t seed)
{
	snprintf(worker->name, sizeof(worker->name), "%s", name);
	worker->random = mix(seed, 1);
	atomic_store(&worker->tid, (int)gettid());
}

void worker_op(struct worker *worker, const char *fmt, ...)
{
	unsigned long long n = atomic_load(&worker->nops);
	char *line = worker->log[n % WORKER_LOG];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, WORKER_LINE, fmt, ap);
	va_end(ap);
	if (worker->watch->echo)
		printf("%s %llu: %s\n", worker->name, n, line);
	atomic_store(&worker->nops, n + 1);
	atomic_store(&worker->busy_since_ns, watch_now_ns());
}

void worker_rest(struct worker *worker)
{
	atomic_store(&worker->busy_since_ns, 0);
}

uint64_t worker_random(struct worker *worker)
{
	worker->random += UINT64_C(0x9e3779b97f4a7c15);
	return mix(worker->random, 2);
}

uint64_t worker_below(struct worker *worker, uint64_t n)
{
	return worker_random(worker) % n;
}

bool worker_once_in(struct worker *worker, unsigned n)
{
	return worker_below(worker, n) == 0;
}

void worker_fail(struct worker *worker, const char *fmt, ...)
{
	struct watch *watch = worker->watch;
	va_list ap;

	/* The first to fail is the one who knows why; others may fail because of it. */
	if (!atomic_exchange(&watch->failed, true)) {
		atomic_store(&watch->stop, true);
		printf("FAILED: %s: ", worker->name);
		va_start(ap, fmt);
		vprintf(fmt, ap);
		va_end(ap);
		printf("\n");
		fflush(stdout);
	}
	_exit(1);
}

/* ---- the watch ---------------------------------------------------------------------------------- */

struct watch *watch_new(unsigned nworkers, unsigned limit_s)
{
	size_t bytes = sizeof(struct watch) + nworkers * sizeof(struct worker);
	struct watch *watch =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (watch == MAP_FAILED) {
		perror("mmap");
		exit(2);
	}
	watch->limit_ns = (uint64_t)limit_s * 1000000000;
	watch->log_shown = WORKER_LOG;
	watch->nworkers = nworkers;
	for (unsigned i = 0; i < nworkers; i++)
		watch->workers[i].watch = watch;
	return watch;
}

static void print_proc(int tid, const char *what)
{
	char path[64], text[2048];
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/%s", tid, what);
	f = fopen(path, "re");
	if (!f)
		return;
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	printf("  %s: %s\n", what, text);
	fclose(f);
}

static void print_worker(const struct worker *worker)
{
	unsigned long long n = atomic_load(&worker->nops);
	unsigned shown = worker->watch->log_shown;
	unsigned long long first = n > shown ? n - shown : 0;

	if (!n)
		return;
	printf("%s, thread %d, the last %llu of %llu operations:\n", worker->name,
	       atomic_load(&worker->tid), n - first, n);
	for (unsigned long long i = first; i < n; i++)
		printf("  %llu: %s\n", i, worker->log[i % WORKER_LOG]);
}

static void print_all(struct watch *watch)
{
	for (unsigned i = 0; i < watch->nworkers; i++)
		print_worker(&watch->workers[i]);
	fflush(stdout);
}

/* Whether somebody is in an operation for too long. */
static bool somebody_hangs(struct watch *watch)
{
	uint64_t now = watch_now_ns();

	for (unsigned i = 0; i < watch->nworkers; i++) {
		struct worker *worker = &watch->workers[i];
		uint64_t since = atomic_load(&worker->busy_since_ns);
		int tid = atomic_load(&worker->tid);

		if (!since || since > now || now - since < watch->limit_ns)
			continue;
		printf("FAILED: %s hangs for %llu s in: %s\n", worker->name,
		       (unsigned long long)((now - since) / 1000000000),
		       worker->log[(atomic_load(&worker->nops) - 1) % WORKER_LOG]);
		print_proc(tid, "status");
		print_proc(tid, "wchan");
		print_proc(tid, "stack");
		return true;
	}
	return false;
}

/* 1 when process @pid has ended well, 0 while it runs, -1 when it has failed. */
static int look_at(pid_t pid, const char *name)
{
	int status;
	pid_t got = waitpid(pid, &status, WNOHANG);

	if (got == 0)
		return 0;
	if (got == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 1;
	if (got == pid && WIFSIGNALED(status))
		printf("FAILED: %s died of signal %d\n", name, WTERMSIG(status));
	return -1;
}

/* A process that hangs in the kernel may not even die: it is not waited for. */
static void kill_all(pid_t *pids, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (pids[i] > 0)
			kill(pids[i], SIGKILL);
}

static int watch_all(struct watch *watch, pid_t *pids, unsigned n, unsigned seconds)
{
	const struct timespec tick = { .tv_nsec = 20000000 };
	uint64_t end = seconds ? watch_now_ns() + (uint64_t)seconds * 1000000000 : UINT64_MAX;
	unsigned left = n;

	while (left) {
		nanosleep(&tick, NULL);
		if (watch_now_ns() > end)
			atomic_store(&watch->stop, true);
		for (unsigned i = 0; i < n; i++) {
			int result = pids[i] > 0 ? look_at(pids[i], watch->workers[i].name) : 0;

			if (result < 0)
				atomic_store(&watch->failed, true);
			if (result) {
				atomic_store(&watch->workers[i].busy_since_ns, 0);
				pids[i] = 0;
				left--;
			}
		}
		if (somebody_hangs(watch))
			atomic_store(&watch->failed, true);
		if (atomic_load(&watch->failed)) {
			kill_all(pids, n);
			print_all(watch);
			return 1;
		}
	}
	return 0;
}

int watch_run(struct watch *watch, unsigned nprocesses, unsigned seconds,
	      void (*main)(struct worker *worker, void *arg), void *arg)
{
	pid_t *pids = calloc(nprocesses, sizeof(*pids));
	int result;

	if (!pids)
		return 1;
	atomic_store(&watch->stop, false);
	fflush(stdout);
	for (unsigned i = 0; i < nprocesses; i++) {
		pids[i] = fork();
		if (pids[i] < 0) {
			perror("fork");
			atomic_store(&watch->failed, true);
		}
		if (pids[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			atomic_store(&watch->workers[i].tid, (int)gettid());
			main(&watch->workers[i], arg);
			fflush(stdout);
			_exit(0);
		}
	}
	result = watch_all(watch, pids, nprocesses, seconds);
	free(pids);
	return result;
}
