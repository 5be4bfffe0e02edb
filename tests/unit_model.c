/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_model.c - random operations on the core and on a plain model in memory, compared after each
 * step. model.h is the model, model_run.h says what an operation and a comparison are.
 *
 * Operations come in episodes, each on a freshly formatted volume, and run in a child process, so that
 * an assertion, a sanitizer's report or a hang (an alarm ends it) is a failure like any other: the
 * list of the episode stands in memory that parent and child share. The parent then leaves out
 * operations, and makes arguments smaller, while the list still fails, and prints what is left, and
 * the command that does it again.
 *
 *	UDAX_MODEL_OPS=N	how many operations in all
 *	UDAX_SEED=N		where the random numbers begin
 *	UDAX_MODEL_REPLAY='...'	do that list and nothing else, in one process, for a debugger
 *	UDAX_MODEL_KEEP=1	do not shrink
 */
#include "bed.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "model_run.h"
#include "region.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * KIB)

#define EPISODE_OPS 6000u
#define LOCKDEP_EVERY 6u /* one episode of so many has the lock checker on */
#define WATCHDOG_SECONDS 30
#define SHRINK_SECONDS 90

static const struct model_setup setups[] = {
	{ "256k", 256 * KIB, 24, 12, 24 * KIB, 0, 1, true },
	{ "8m", 8 * MIB, 40, 60, 256 * KIB, 12, 1, true },
	{ "256m", 256 * MIB, 400, 500, 1024 * KIB, 0, 1, false },
	{ "names", 24 * MIB, 30000, 3000, 8 * KIB, 12, 12, false },
};

/* What parent and child share. */
struct episode {
	uint32_t setup;
	bool lockdep;
	uint32_t nops;
	uint64_t done, refused, full, shorts, cuts, pieces; /* over all episodes */
	char why[400];
	struct op ops[EPISODE_OPS + 2];
};

static struct episode *episode_new(void)
{
	struct episode *e =
		mmap(NULL, sizeof(*e), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(e, MAP_FAILED);
	return e;
}

static struct region *new_region(const struct model_setup *setup)
{
	struct region *region = region_record_new(NULL, setup->bytes, 4096);

	if (!region)
		abort();
	return region;
}

/* ---- in the child ------------------------------------------------------------------------------- */

/* The list as it stands. Returns whether it passed; e->why says why not. */
static bool replay(struct episode *e, struct region *region, bool verbose)
{
	struct run *run = run_new(&setups[e->setup], region, e->lockdep);
	char line[200];

	for (uint32_t i = 0; i < e->nops && !failed(run); i++) {
		if (verbose) {
			op_print(&e->ops[i], line, sizeof(line));
			printf("%s\n", line);
			fflush(stdout);
		}
		run_step(run, &e->ops[i]);
	}
	memcpy(e->why, run->why, sizeof(e->why));
	run_delete(run);
	return !e->why[0];
}

static bool step_logged(struct run *run, struct episode *e)
{
	e->nops++;
	return run_step(run, &e->ops[e->nops - 1]);
}

/* New operations at random. */
static bool invent(struct episode *e, struct region *region, uint32_t nops, uint64_t seed)
{
	struct run *run = run_new(&setups[e->setup], region, e->lockdep);
	uint64_t rng = seed;
	bool ok = !failed(run);

	for (uint32_t i = 0; i < nops && ok; i++) {
		if (i % 64 == 0)
			alarm(WATCHDOG_SECONDS);
		op_choose(run, &rng, i + 1, &e->ops[e->nops]);
		ok = step_logged(run, e);
	}
	if (ok && op_choose_kind(run, &rng, nops + 1, "empty", &e->ops[e->nops]))
		ok = step_logged(run, e);
	memcpy(e->why, run->why, sizeof(e->why));
	e->done += run->done;
	e->refused += run->refused;
	e->full += run->full;
	e->shorts += run->shorts;
	e->cuts += run->cuts;
	e->pieces += run->pieces;
	run_delete(run);
	return ok;
}

static bool invent_all(struct episode *e, uint64_t nops, uint64_t seed)
{
	struct region *region = new_region(&setups[e->setup]);
	bool ok = true;

	for (uint64_t number = 0, done = 0; ok && done < nops; number++, done += EPISODE_OPS) {
		uint64_t rng = seed + number, left = nops - done;

		e->nops = 0;
		e->lockdep = number % LOCKDEP_EVERY == 0;
		ok = invent(e, region, left < EPISODE_OPS ? (uint32_t)left : EPISODE_OPS,
			    rng_next(&rng));
	}
	region_close(region);
	return ok;
}

/* ---- in the parent ---------------------------------------------------------------------------------- */

static void quiet(void)
{
	if (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr))
		_exit(1);
}

/* How a child ended, in e->why if it could not say so itself. True: well. */
static bool child_ended(struct episode *e, int status)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	if (e->why[0])
		return false;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		snprintf(e->why, sizeof(e->why), "it did not end");
	else if (WIFSIGNALED(status))
		snprintf(e->why, sizeof(e->why), "killed by %s", strsignal(WTERMSIG(status)));
	else
		snprintf(e->why, sizeof(e->why), "exit status %d", WEXITSTATUS(status));
	return false;
}

/* Do the list in a child. */
static bool attempt(struct episode *e)
{
	int status;
	pid_t pid;

	e->why[0] = '\0';
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		quiet();
		alarm(WATCHDOG_SECONDS);
		_exit(!replay(e, new_region(&setups[e->setup]), false));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return child_ended(e, status);
}

/* Whether two failures are of one kind: the same words, whatever the numbers. */
static bool alike(const char *a, const char *b)
{
	for (;;) {
		a += strspn(a, "0123456789abcdefx");
		b += strspn(b, "0123456789abcdefx");
		if (*a != *b)
			return false;
		if (!*a++)
			return true;
		b++;
	}
}

/* Leave out @n operations from @at on, if the list still fails without them. */
static bool leave_out(struct episode *e, const char *why, uint32_t at, uint32_t n)
{
	size_t tail = (e->nops - at - n) * sizeof(e->ops[0]);
	struct op *saved = malloc(n * sizeof(*saved));

	assert_non_null(saved);
	memcpy(saved, &e->ops[at], n * sizeof(*saved));
	memmove(&e->ops[at], &e->ops[at + n], tail);
	e->nops -= n;
	if (!attempt(e) && alike(e->why, why)) {
		free(saved);
		return true;
	}
	memmove(&e->ops[at + n], &e->ops[at], tail);
	memcpy(&e->ops[at], saved, n * sizeof(*saved));
	e->nops += n;
	free(saved);
	return false;
}

static void simplify_argument(struct episode *e, const char *why, uint64_t *arg)
{
	const uint64_t old = *arg,
		       candidates[] = { 0, 1, old & 4095, old & ~UINT64_C(4095), old / 2 };

	for (unsigned i = 0; i < sizeof(candidates) / sizeof(candidates[0]); i++) {
		*arg = candidates[i];
		if (*arg < old && !attempt(e) && alike(e->why, why))
			return;
	}
	*arg = old;
}

/* Whether @op made, or names, a node in the set. */
static bool concerns(const struct op *op, const bool *set)
{
	bool any = set[op->id];

	for (unsigned a = 0; a < OP_ARGS; a++)
		any |= op_nodes(op) >> a & 1 && op->a[a] && set[op->a[a]];
	return any;
}

/* The nodes that @op names, and those that their making named. */
static void add_nodes(const struct episode *e, const struct op *op, bool *set)
{
	for (unsigned a = 0; a < OP_ARGS; a++) {
		if (!(op_nodes(op) >> a & 1) || set[op->a[a]])
			continue;
		set[op->a[a]] = true;
		for (uint32_t i = 0; i < e->nops; i++)
			if (e->ops[i].id == op->a[a])
				add_nodes(e, &e->ops[i], set);
	}
}

/* Keep only what concerns the nodes of the last operation, if that fails as well: often it does. */
static void slice(struct episode *e, const char *why)
{
	bool *set = calloc(EPISODE_OPS + 2, sizeof(*set));
	struct episode *all = malloc(sizeof(*all));
	uint32_t n = 0;

	assert_non_null(set);
	assert_non_null(all);
	memcpy(all, e, sizeof(*all));
	add_nodes(all, &all->ops[all->nops - 1], set);
	for (uint32_t i = 0; i < all->nops; i++)
		if (!op_nodes(&all->ops[i]) || concerns(&all->ops[i], set))
			e->ops[n++] = all->ops[i];
	e->nops = n;
	if (attempt(e) || !alike(e->why, why))
		memcpy(e, all, sizeof(*e));
	free(all);
	free(set);
}

static void shrink(struct episode *e, const char *why)
{
	time_t deadline = time(NULL) + SHRINK_SECONDS;

	slice(e, why);

	for (uint32_t n = e->nops / 2; n; n = n > 1 && n < 8 ? n - 1 : n / 2)
		for (uint32_t at = 0; at + n <= e->nops && time(NULL) < deadline;)
			if (!leave_out(e, why, at, n))
				at += n;
	for (uint32_t i = 0; i < e->nops && e->nops <= 40; i++)
		for (unsigned a = 1; a < OP_ARGS && time(NULL) < deadline; a++)
			simplify_argument(e, why, &e->ops[i].a[a]);
}

static void report(const struct episode *e)
{
	char line[200];

	print_message("the list of %u operations on a volume of %s, lockdep %s:\n", e->nops,
		      setups[e->setup].name, e->lockdep ? "on" : "off");
	for (uint32_t i = 0; i < e->nops && i < 100; i++) {
		op_print(&e->ops[i], line, sizeof(line));
		print_message("    %s\n", line);
	}
	print_message("again: UDAX_MODEL_REPLAY='%s %d", setups[e->setup].name, e->lockdep);
	for (uint32_t i = 0; i < e->nops; i++) {
		op_print(&e->ops[i], line, sizeof(line));
		print_message(";%s", line);
	}
	print_message("' %s\n", program_invocation_name);
}

/* e->ops failed: say so, as shortly as it can be said. */
static void explain(struct episode *e)
{
	char why[sizeof(e->why)];

	memcpy(why, e->why, sizeof(why));
	print_message("operation %u of the episode: %s\n", e->nops, why);
	if (attempt(e))
		print_message("it does not fail again in a process of its own\n");
	else if (!getenv("UDAX_MODEL_KEEP"))
		shrink(e, why);
	if (!attempt(e))
		memcpy(why, e->why, sizeof(why));
	report(e);
	fail_msg("%s", why);
}

/* ---- tests -------------------------------------------------------------------------------------------- */

static uint64_t ops_wanted(unsigned percent)
{
	const char *text = getenv("UDAX_MODEL_OPS");
	uint64_t n = 1000000;

	return (text ? strtoull(text, NULL, 0) : n) * percent / 100;
}

static void operations_on(uint32_t setup, unsigned percent)
{
	struct episode *e = episode_new();
	uint64_t seed = bed_seed(20240607), nops = ops_wanted(percent);
	int status;
	pid_t pid;

	e->setup = setup;
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		exit(!invent_all(e, nops, seed));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!child_ended(e, status))
		explain(e);
	print_message("%llu operations, %llu refused, of these %llu for want of room, %llu short, "
		      "%llu cut off by a crash, %llu of several transactions\n",
		      (unsigned long long)e->done, (unsigned long long)e->refused,
		      (unsigned long long)e->full, (unsigned long long)e->shorts,
		      (unsigned long long)e->cuts, (unsigned long long)e->pieces);
	munmap(e, sizeof(*e));
}

static void random_operations_on_256_kib_agree_with_the_model(void **state)
{
	(void)state;
	operations_on(0, 40);
}

static void random_operations_on_8_mib_agree_with_the_model(void **state)
{
	(void)state;
	operations_on(1, 40);
}

static void random_operations_on_256_mib_agree_with_the_model(void **state)
{
	(void)state;
	operations_on(2, 12);
}

static void random_operations_on_thousands_of_names_agree_with_the_model(void **state)
{
	(void)state;
	operations_on(3, 8);
}

/* The test of the test. */
static void a_wrong_byte_is_found_and_the_list_shrinks_to_it(void **state)
{
	struct episode *e = episode_new();
	struct region *region = new_region(&setups[1]);
	struct run *run = run_new(&setups[1], region, false);
	uint64_t rng = 7;
	char why[sizeof(e->why)];
	bool ok = true;

	(void)state;
	e->setup = 1;
	for (uint32_t i = 1; ok; i++) {
		assert_true(i < 400);
		if (i < 200 || !op_choose_kind(run, &rng, i, "spoil", &e->ops[e->nops]))
			op_choose(run, &rng, i, &e->ops[e->nops]);
		ok = step_logged(run, e);
	}
	assert_non_null(strstr(run->why, "wrong byte"));
	run_delete(run);
	region_close(region);
	assert_false(attempt(e));
	memcpy(why, e->why, sizeof(why));
	shrink(e, why);
	assert_in_range(e->nops, 3, 8); /* make the file and what it is in, write, spoil */
	assert_int_equal(e->ops[e->nops - 1].kind, op_kind("spoil"));
	munmap(e, sizeof(*e));
}

/* ---- UDAX_MODEL_REPLAY ------------------------------------------------------------------------------------ */

static int replay_text(const char *text)
{
	struct episode *e = episode_new();
	char *copy = strdup(text), *save, *part = strtok_r(copy, ";\n", &save);
	char name[8], lockdep[2];
	bool ok;

	if (!part || sscanf(part, "%7s %1[01]", name, lockdep) != 2)
		goto bad;
	e->lockdep = lockdep[0] == '1';
	while (strcmp(setups[e->setup].name, name) != 0)
		if (++e->setup == sizeof(setups) / sizeof(setups[0]))
			goto bad;
	while ((part = strtok_r(NULL, ";\n", &save)))
		if (e->nops == EPISODE_OPS || !op_parse(part, &e->ops[e->nops++]))
			goto bad;
	free(copy);
	ok = replay(e, new_region(&setups[e->setup]), true);
	printf("%s\n", ok ? "passed" : e->why);
	return !ok;
bad:
	fprintf(stderr, "not a list: %s\n", part ? part : "(empty)");
	free(copy);
	return 2;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_wrong_byte_is_found_and_the_list_shrinks_to_it),
		cmocka_unit_test(random_operations_on_256_kib_agree_with_the_model),
		cmocka_unit_test(random_operations_on_8_mib_agree_with_the_model),
		cmocka_unit_test(random_operations_on_256_mib_agree_with_the_model),
		cmocka_unit_test(random_operations_on_thousands_of_names_agree_with_the_model),
	};

	if (getenv("UDAX_MODEL_REPLAY"))
		return replay_text(getenv("UDAX_MODEL_REPLAY"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
