/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * other_lmdb.c - LMDB with MDB_WRITEMAP, which changes its database by stores into its mapping and
 * nothing else: tool_lmdb FILE SEED. Does a few hundred transactions of random puts and deletes, some of
 * them aborted, and prints a sum over everything that is then in the database: the same for the same
 * seed, wherever the file is.
 */
#include <lmdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRANSACTIONS 400
#define KEYS 20000u

static uint64_t state;

static uint64_t next_random(void)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return state >> 33;
}

static void must(int err, const char *what)
{
	if (!err)
		return;
	fprintf(stderr, "tool_lmdb: %s: %s\n", what, mdb_strerror(err));
	exit(1);
}

static void change(MDB_txn *txn, MDB_dbi dbi)
{
	char value[900];

	for (unsigned i = 0; i < 200; i++) {
		uint32_t number = (uint32_t)(next_random() % KEYS);
		MDB_val key = { sizeof(number), &number };
		MDB_val data = { next_random() % sizeof(value), value };
		int err;

		if (next_random() % 3) {
			memset(value, (int)number, sizeof(value));
			must(mdb_put(txn, dbi, &key, &data, 0), "put");
			continue;
		}
		err = mdb_del(txn, dbi, &key, NULL);
		if (err != MDB_NOTFOUND)
			must(err, "delete");
	}
}

static uint64_t sum(MDB_env *env, MDB_dbi dbi)
{
	uint64_t total = 0;
	MDB_val key, data;
	MDB_cursor *cursor;
	MDB_txn *txn;

	must(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), "begin");
	must(mdb_cursor_open(txn, dbi, &cursor), "cursor");
	while (mdb_cursor_get(cursor, &key, &data, MDB_NEXT) == 0) {
		total = total * 31 + *(uint32_t *)key.mv_data;
		for (size_t i = 0; i < data.mv_size; i++)
			total = total * 31 + ((unsigned char *)data.mv_data)[i];
	}
	mdb_cursor_close(cursor);
	mdb_txn_abort(txn);
	return total;
}

int main(int argc, char **argv)
{
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;

	if (argc != 3) {
		fprintf(stderr, "usage: tool_lmdb FILE SEED\n");
		return 2;
	}
	state = strtoull(argv[2], NULL, 0);
	must(mdb_env_create(&env), "create");
	must(mdb_env_set_mapsize(env, 64u << 20), "map size");
	must(mdb_env_open(env, argv[1], MDB_NOSUBDIR | MDB_WRITEMAP, 0644), "open");
	must(mdb_txn_begin(env, NULL, 0, &txn), "begin");
	must(mdb_dbi_open(txn, NULL, MDB_INTEGERKEY, &dbi), "open the database");
	must(mdb_txn_commit(txn), "commit");
	for (unsigned i = 0; i < TRANSACTIONS; i++) {
		must(mdb_txn_begin(env, NULL, 0, &txn), "begin");
		change(txn, dbi);
		if (next_random() % 8)
			must(mdb_txn_commit(txn), "commit");
		else
			mdb_txn_abort(txn);
	}
	printf("%016llx\n", (unsigned long long)sum(env, dbi));
	mdb_env_close(env);
	return 0;
}
