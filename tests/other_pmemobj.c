/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * other_pmemobj.c - a pool of libpmemobj, killed in the middle and recovered:
 *
 *	tool_pmemobj create FILE	make a pool with two counters, both 0
 *	tool_pmemobj run FILE		add one to both, a transaction each time, until killed; prints the
 *					count after each
 *	tool_pmemobj check FILE N	open it, which recovers it: both are equal, and N or one more
 *	tool_pmemobj is-pmem FILE	whether libpmem takes the mapping for persistent memory
 */
#include <libpmem.h>
#include <libpmemobj.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LAYOUT "udaxfs-test"

struct root {
	uint64_t first;
	char between[8192];
	uint64_t second;
};

static int die(const char *what)
{
	fprintf(stderr, "tool_pmemobj: %s: %s\n", what, pmemobj_errormsg());
	return 1;
}

static struct root *root_of(PMEMobjpool *pool, PMEMoid *ret_oid)
{
	*ret_oid = pmemobj_root(pool, sizeof(struct root));
	return pmemobj_direct(*ret_oid);
}

static int run(PMEMobjpool *pool)
{
	PMEMoid oid;
	struct root *root = root_of(pool, &oid);

	for (;;) {
		TX_BEGIN(pool)
		{
			pmemobj_tx_add_range(oid, 0, sizeof(struct root));
			root->first++;
			root->second++;
		}
		TX_ONABORT
		{
			return die("transaction");
		}
		TX_END
		printf("%llu\n", (unsigned long long)root->first);
		fflush(stdout);
	}
}

static int check(PMEMobjpool *pool, uint64_t acknowledged)
{
	PMEMoid oid;
	const struct root *root = root_of(pool, &oid);

	printf("%llu %llu\n", (unsigned long long)root->first, (unsigned long long)root->second);
	return root->first != root->second || root->first < acknowledged ||
	       root->first > acknowledged + 1;
}

int main(int argc, char **argv)
{
	PMEMobjpool *pool;
	int result = 0;

	if (argc < 3) {
		fprintf(stderr, "usage: tool_pmemobj create|run|check|is-pmem FILE [N]\n");
		return 2;
	}
	if (strcmp(argv[1], "is-pmem") == 0) {
		int is_pmem = 0;
		size_t len;
		void *p = pmem_map_file(argv[2], 0, 0, 0, &len, &is_pmem);

		printf("%d\n", is_pmem);
		return p && is_pmem ? 0 : 1;
	}
	pool = strcmp(argv[1], "create") == 0
		       ? pmemobj_create(argv[2], LAYOUT, PMEMOBJ_MIN_POOL, 0644)
		       : pmemobj_open(argv[2], LAYOUT);
	if (!pool)
		return die(argv[1]);
	if (strcmp(argv[1], "run") == 0)
		result = run(pool);
	else if (strcmp(argv[1], "check") == 0 && argc > 3)
		result = check(pool, strtoull(argv[3], NULL, 0));
	pmemobj_close(pool);
	return result;
}
