/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_dir.c - dir.c alone: names in one directory, with inode numbers that mean nothing, against
 * an array of names.
 *
 * After each transaction of the model test the blocks are read from the medium by FORMAT.md and
 * must be sound; what is found by name, and what a scan shows, must be what the array holds.
 */
#include "names.h"

#include <errno.h>
#include <time.h>

#include "btree.h"

/* ---- single operations, each a transaction ------------------------------------------------------ */

static int add(struct inode *dir, const char *name, uint64_t ino)
{
	struct tx *tx;
	int err;

	assert_int_equal(tx_begin(dir->vol, 0, &tx, HERE), 0);
	ilock(dir, SYNC_EXCL, HERE);
	err = tx_end(tx, dir_add(tx, dir, name, strlen(name), ino, 8));
	iunlock(dir, SYNC_EXCL, HERE);
	return err;
}

static int find(struct inode *dir, const char *name, struct dir_entry *ret_entry)
{
	int err;

	ilock(dir, SYNC_SHARED, HERE);
	err = dir_lookup(NULL, dir, name, strlen(name), ret_entry);
	iunlock(dir, SYNC_SHARED, HERE);
	return err;
}

static int take(struct inode *dir, const char *name)
{
	struct dir_entry entry;
	struct tx *tx;
	int err;

	assert_int_equal(tx_begin(dir->vol, TX_RESERVE, &tx, HERE), 0);
	ilock(dir, SYNC_EXCL, HERE);
	err = dir_lookup(tx, dir, name, strlen(name), &entry);
	if (!err)
		err = dir_remove(tx, dir, &entry);
	err = tx_end(tx, err);
	iunlock(dir, SYNC_EXCL, HERE);
	return err;
}

static int next_from(struct inode *dir, uint64_t pos, struct dir_entry *ret_entry)
{
	int err;

	ilock(dir, SYNC_SHARED, HERE);
	err = dir_iterate(dir, pos, ret_entry);
	iunlock(dir, SYNC_SHARED, HERE);
	return err;
}

static uint64_t count_names(struct inode *dir)
{
	struct dir_entry entry;
	uint64_t n = 0;
	int err;

	ilock(dir, SYNC_SHARED, HERE);
	for (err = dir_iterate(dir, 0, &entry); !err; err = dir_next(dir, &entry))
		n++;
	iunlock(dir, SYNC_SHARED, HERE);
	assert_int_equal(err, -ENOENT);
	return n;
}

/*
 * Read every block of @dir from the medium. Returns how many there are, and asserts that each is
 * sound, that no names are missing or too many, and that size and number of blocks are right.
 */
static uint64_t check_blocks(struct tree *tree, struct inode *dir)
{
	const struct dinode *di = region_ptr(tree->region, dir->off, sizeof(*di));
	uint64_t blocks = 0, names = 0, end = 0;
	struct extent ext;

	ilock(dir, SYNC_SHARED, HERE);
	while (!extent_next(NULL, dir, FORK_DATA, end, &ext)) {
		for (uint64_t i = 0; i < ext.count; i++) {
			const struct dirblock *db = region_ptr(
				tree->region, (ext.pblk + i) << BLOCK_SHIFT, BLOCK_BYTES);

			assert_int_equal(
				dir_block_check(db, dir->ino, dir->generation, ext.lblk + i), 0);
			names += from_le16(db->nentries);
		}
		blocks += ext.count;
		end = ext.lblk + ext.count;
	}
	iunlock(dir, SYNC_SHARED, HERE);
	assert_int_equal(names, from_le64(di->nentries));
	assert_int_equal(end << BLOCK_SHIFT, from_le64(di->size));
	assert_true(blocks <= from_le64(di->nblocks));
	return blocks;
}

/* ---- plain things --------------------------------------------------------------------------------- */

static void a_name_is_found_until_it_is_taken_out(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct dir_entry entry;

	(void)state;
	assert_int_equal(find(tree->root, "wanted", &entry), -ENOENT);
	assert_int_equal(add(tree->root, "wanted", 77), 0);
	assert_int_equal(find(tree->root, "wanted", &entry), 0);
	assert_int_equal(entry.ino, 77);
	assert_int_equal(entry.type, 8);
	assert_string_equal(entry.name, "wanted");
	assert_int_equal(find(tree->root, "wante", &entry), -ENOENT);
	assert_int_equal(find(tree->root, "wantedd", &entry), -ENOENT);
	assert_int_equal(take(tree->root, "wanted"), 0);
	assert_int_equal(find(tree->root, "wanted", &entry), -ENOENT);
	assert_int_equal(take(tree->root, "wanted"), -ENOENT);
	tree_delete(tree);
}

static void an_entry_can_name_another_inode(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct dir_entry entry;
	struct tx *tx;

	(void)state;
	assert_int_equal(add(tree->root, "name", 77), 0);
	assert_int_equal(find(tree->root, "name", &entry), 0);
	assert_int_equal(tx_begin(tree->vol, 0, &tx, HERE), 0);
	ilock(tree->root, SYNC_EXCL, HERE);
	assert_int_equal(dir_change(tx, tree->root, &entry, 78, 4), 0);
	assert_int_equal(tx_end(tx, 0), 0);
	iunlock(tree->root, SYNC_EXCL, HERE);
	tree_remount(tree);
	assert_int_equal(find(tree->root, "name", &entry), 0);
	assert_int_equal(entry.ino, 78);
	assert_int_equal(entry.type, 4);
	assert_int_equal(take(tree->root, "name"), 0);
	tree_delete(tree);
}

static void an_entry_is_held_only_while_it_stands_where_it_was_found(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct dir_entry entry, other;

	(void)state;
	assert_int_equal(add(tree->root, "name", 77), 0);
	assert_int_equal(find(tree->root, "name", &entry), 0);
	ilock(tree->root, SYNC_SHARED, HERE);
	assert_int_equal(dir_holds(NULL, tree->root, &entry), 0);
	iunlock(tree->root, SYNC_SHARED, HERE);
	assert_int_equal(take(tree->root, "name"), 0);
	assert_int_equal(add(tree->root, "eman", 77), 0);
	assert_int_equal(find(tree->root, "eman", &other), 0);
	assert_int_equal(other.pos, entry.pos); /* else this test says nothing */
	ilock(tree->root, SYNC_SHARED, HERE);
	assert_int_equal(dir_holds(NULL, tree->root, &entry), -ENOENT);
	entry.pos += 100 * BLOCK_BYTES / 8;
	assert_int_equal(dir_holds(NULL, tree->root, &entry), -ENOENT);
	iunlock(tree->root, SYNC_SHARED, HERE);
	assert_int_equal(take(tree->root, "eman"), 0);
	tree_delete(tree);
}

/* Its inode was freed, and its number is that of a new inode of another type. */
static void an_entry_is_not_held_once_its_type_has_changed(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct dir_entry entry;
	struct tx *tx;

	(void)state;
	assert_int_equal(add(tree->root, "name", 77), 0);
	assert_int_equal(find(tree->root, "name", &entry), 0);
	assert_int_equal(tx_begin(tree->vol, 0, &tx, HERE), 0);
	ilock(tree->root, SYNC_EXCL, HERE);
	assert_int_equal(dir_change(tx, tree->root, &entry, 77, entry.type == 4 ? 8 : 4), 0);
	assert_int_equal(tx_end(tx, 0), 0);
	assert_int_equal(dir_holds(NULL, tree->root, &entry), -ENOENT);
	iunlock(tree->root, SYNC_EXCL, HERE);
	assert_int_equal(take(tree->root, "name"), 0);
	tree_delete(tree);
}

static void names_of_every_length_fit(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	char name[MAX_NAME_BYTES + 1];
	struct dir_entry entry;

	(void)state;
	for (unsigned len = 1; len <= MAX_NAME_BYTES; len++) {
		memset(name, 'a' + (int)(len % 26), len);
		name[len] = '\0';
		assert_int_equal(add(tree->root, name, len), 0);
	}
	tree_remount(tree);
	check_blocks(tree, tree->root);
	for (unsigned len = 1; len <= MAX_NAME_BYTES; len++) {
		memset(name, 'a' + (int)(len % 26), len);
		name[len] = '\0';
		assert_int_equal(find(tree->root, name, &entry), 0);
		assert_int_equal(entry.ino, len);
		assert_int_equal(take(tree->root, name), 0);
	}
	assert_int_equal(count_names(tree->root), 0);
	tree_delete(tree);
}

static void a_scan_of_nothing_ends_at_once(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct dir_entry entry;

	(void)state;
	assert_int_equal(next_from(tree->root, 0, &entry), -ENOENT);
	assert_int_equal(add(tree->root, "a", 5), 0);
	assert_int_equal(next_from(tree->root, 0, &entry), 0);
	assert_int_equal(next_from(tree->root, entry.pos, &entry), 0);
	assert_int_equal(next_from(tree->root, entry.pos + 1, &entry), -ENOENT);
	assert_int_equal(next_from(tree->root, UINT64_MAX, &entry), -ENOENT);
	assert_int_equal(next_from(tree->root, MAX_DIR_BLOCKS * 512, &entry), -ENOENT);
	assert_int_equal(take(tree->root, "a"), 0);
	tree_delete(tree);
}

/* ---- against a model --------------------------------------------------------------------------------- */

#define MODEL_NAMES 600

struct model {
	struct tree *tree;
	uint64_t seed;
	char names[MODEL_NAMES][MAX_NAME_BYTES + 1];
	uint64_t inos[MODEL_NAMES]; /* 0: not in the directory */
	unsigned present;
};

static void model_name(struct model *m, char *name)
{
	unsigned len = 1 + pick(&m->seed, pick(&m->seed, 4) ? 40 : MAX_NAME_BYTES);
	unsigned n = (unsigned)snprintf(name, 16, "%x", pick(&m->seed, MODEL_NAMES * 8));

	if (n < len) {
		memset(name + n, '.', len - n);
		name[len] = '\0';
	}
}

static bool model_has(const struct model *m, unsigned n, const char *name)
{
	for (unsigned i = 0; i < n; i++)
		if (strcmp(m->names[i], name) == 0)
			return true;
	return false;
}

/* Names of many lengths, some alike but for one byte. */
static void model_names(struct model *m)
{
	for (unsigned i = 0; i < MODEL_NAMES; i++)
		do {
			model_name(m, m->names[i]);
		} while (model_has(m, i, m->names[i]));
}

static unsigned model_find(const struct model *m, const char *name)
{
	for (unsigned i = 0; i < MODEL_NAMES; i++)
		if (strcmp(m->names[i], name) == 0)
			return i;
	fail_msg("the directory shows a name that nobody entered: %s", name);
	return 0;
}

static void model_compare(struct model *m)
{
	struct inode *root = m->tree->root;
	struct dir_entry entry, same;
	unsigned seen = 0;
	uint64_t pos = 0;
	int err;

	for (unsigned i = 0; i < MODEL_NAMES; i++) {
		err = find(root, m->names[i], &entry);
		assert_int_equal(err, m->inos[i] ? 0 : -ENOENT);
		if (!err)
			assert_int_equal(entry.ino, m->inos[i]);
	}
	ilock(root, SYNC_SHARED, HERE);
	err = dir_iterate(root, 0, &entry);
	for (; !err; err = dir_next(root, &entry)) {
		assert_int_equal(dir_iterate(root, pos, &same), 0);
		assert_int_equal(same.pos, entry.pos);
		assert_int_equal(entry.ino, m->inos[model_find(m, entry.name)]);
		pos = entry.pos + 1;
		seen++;
	}
	iunlock(root, SYNC_SHARED, HERE);
	assert_int_equal(err, -ENOENT);
	assert_int_equal(seen, m->present);
	check_blocks(m->tree, root);
}

/* Change up to four names in one transaction, and abort one in eight. */
static void model_step(struct model *m)
{
	struct inode *root = m->tree->root;
	bool abort = pick(&m->seed, 8) == 0, grow = pick(&m->seed, 1000) < 480;
	unsigned n = 1 + pick(&m->seed, 4), present = m->present;
	uint64_t inos[MODEL_NAMES];
	struct dir_entry entry;
	struct tx *tx;

	memcpy(inos, m->inos, sizeof(inos));
	assert_int_equal(tx_begin(m->tree->vol, 0, &tx, HERE), 0);
	ilock(root, SYNC_EXCL, HERE);
	while (n--) {
		unsigned i = pick(&m->seed, MODEL_NAMES);
		size_t len = strlen(m->names[i]);
		int err = dir_lookup(tx, root, m->names[i], len, &entry);

		assert_int_equal(err, inos[i] ? 0 : -ENOENT);
		if (err && grow) {
			inos[i] = 100 + pick(&m->seed, 1000);
			assert_int_equal(dir_add(tx, root, m->names[i], len, inos[i], 8), 0);
			present++;
		} else if (!err && !grow) {
			assert_int_equal(dir_remove(tx, root, &entry), 0);
			inos[i] = 0;
			present--;
		}
	}
	assert_int_equal(tx_end(tx, abort ? -EINTR : 0), abort ? -EINTR : 0);
	iunlock(root, SYNC_EXCL, HERE);
	if (abort)
		return;
	memcpy(m->inos, inos, sizeof(inos));
	m->present = present;
}

static void a_directory_behaves_as_an_array_of_names(void **state)
{
	struct model *m = calloc(1, sizeof(*m));

	(void)state;
	m->seed = bed_seed(1);
	model_names(m);
	m->tree = tree_new(2 << 20);
	for (unsigned step = 0; step < 12000; step++) {
		model_step(m);
		if (step % 200 == 0)
			model_compare(m);
		if (step % 1000 == 999)
			tree_remount(m->tree);
	}
	for (unsigned i = 0; i < MODEL_NAMES; i++)
		assert_int_equal(take(m->tree->root, m->names[i]), m->inos[i] ? 0 : -ENOENT);
	/* Of all its blocks it may keep the first and the one that inserts went to. */
	assert_true(check_blocks(m->tree, m->tree->root) <= 2);
	assert_true(tree_free_blocks(m->tree) + 2 >= m->tree->free_blocks);
	tree_delete(m->tree);
	free(m);
}

/* ---- cookies ------------------------------------------------------------------------------------------- */

/*
 * A scan goes on from the cookie of the last entry while others come and go. What is there all
 * the time is seen once; what is there some of the time, at most once for each life of it.
 */
static void an_entry_that_stays_is_seen_exactly_once_by_a_scan(void **state)
{
	enum { STAY = 400, COME_AND_GO = 400 };
	struct tree *tree = tree_new(2 << 20);
	uint64_t seed = bed_seed(1);
	unsigned seen[STAY], present[COME_AND_GO] = { 0 };
	struct dir_entry entry;
	char name[32];

	(void)state;
	for (unsigned i = 0; i < STAY; i++) {
		snprintf(name, sizeof(name), "stays-%u", i);
		assert_int_equal(add(tree->root, name, 1000 + i), 0);
		snprintf(name, sizeof(name), "goes-%u", i);
		assert_int_equal(add(tree->root, name, 5000 + i), 0);
		present[i] = 1;
	}
	for (unsigned round = 0; round < 12; round++) {
		uint64_t pos = 0;

		memset(seen, 0, sizeof(seen));
		while (next_from(tree->root, pos, &entry) == 0) {
			unsigned i = pick(&seed, COME_AND_GO);

			assert_true(entry.pos >= pos);
			pos = entry.pos + 1;
			if (entry.ino < 5000)
				seen[entry.ino - 1000]++;
			snprintf(name, sizeof(name), "goes-%u", i);
			assert_int_equal(present[i] ? take(tree->root, name)
						    : add(tree->root, name, 5000 + i),
					 0);
			present[i] = !present[i];
		}
		for (unsigned i = 0; i < STAY; i++)
			assert_int_equal(seen[i], 1);
	}
	tree_delete(tree);
}

/* ---- hashes -------------------------------------------------------------------------------------------- */

struct hashed {
	uint32_t hash, i;
};

static int by_hash(const void *a, const void *b)
{
	const struct hashed *x = a, *y = b;

	return x->hash < y->hash ? -1 : x->hash > y->hash;
}

/* Among 300,000 names some ten pairs share 32 bits. */
static void names_that_share_a_hash_are_told_apart(void **state)
{
	enum { TRIED = 300000 };
	struct tree *tree = tree_new(1 << 20);
	struct hashed *all = calloc(TRIED, sizeof(*all));
	struct dir_entry one, two;
	unsigned pairs = 0;
	char a[32], b[32];

	(void)state;
	for (uint32_t i = 0; i < TRIED; i++) {
		int len = snprintf(a, sizeof(a), "n%u", i);

		all[i] = (struct hashed){ dir_hash(tree->vol->hash_seed, a, (size_t)len), i };
	}
	qsort(all, TRIED, sizeof(*all), by_hash);
	for (uint32_t i = 1; i < TRIED; i++) {
		if (all[i].hash != all[i - 1].hash)
			continue;
		snprintf(a, sizeof(a), "n%u", all[i - 1].i);
		snprintf(b, sizeof(b), "n%u", all[i].i);
		assert_int_equal(add(tree->root, a, 10), 0);
		assert_int_equal(find(tree->root, b, &two), -ENOENT);
		assert_int_equal(add(tree->root, b, 20), 0);
		assert_int_equal(find(tree->root, a, &one), 0);
		assert_int_equal(find(tree->root, b, &two), 0);
		assert_int_equal(one.ino, 10);
		assert_int_equal(two.ino, 20);
		assert_int_equal(take(tree->root, a), 0);
		assert_int_equal(find(tree->root, a, &one), -ENOENT);
		assert_int_equal(find(tree->root, b, &two), 0);
		assert_int_equal(take(tree->root, b), 0);
		pairs++;
	}
	assert_true(pairs > 0);
	free(all);
	tree_delete(tree);
}

static void the_same_names_have_other_hashes_on_another_volume(void **state)
{
	(void)state;
	assert_int_equal(dir_hash(1, "name", 4), dir_hash(1, "name", 4));
	assert_int_not_equal(dir_hash(1, "name", 4), dir_hash(2, "name", 4));
	assert_int_not_equal(dir_hash(1, "name", 4), dir_hash(1, "nama", 4));
}

/* ---- space ------------------------------------------------------------------------------------------------ */

static void empty_blocks_are_given_back_and_filled_again(void **state)
{
	enum { NAMES = 2000 };
	struct tree *tree = tree_new(4 << 20);
	uint64_t full, few;
	char name[32];

	(void)state;
	for (unsigned i = 0; i < NAMES; i++) {
		snprintf(name, sizeof(name), "name-%u", i);
		assert_int_equal(add(tree->root, name, 100 + i), 0);
	}
	full = check_blocks(tree, tree->root);
	for (unsigned i = 200; i < NAMES - 200; i++) {
		snprintf(name, sizeof(name), "name-%u", i);
		assert_int_equal(take(tree->root, name), 0);
	}
	few = check_blocks(tree, tree->root);
	assert_true(few <= full / 2);
	assert_int_equal(count_names(tree->root), 400);
	assert_int_equal(attr_of(tree->root).size >> BLOCK_SHIFT, full); /* a hole in the middle */
	for (unsigned i = 200; i < NAMES - 200; i++) {
		snprintf(name, sizeof(name), "name-%u", i);
		assert_int_equal(add(tree->root, name, 100 + i), 0);
	}
	assert_true(check_blocks(tree, tree->root) <= full + 1);
	for (unsigned i = NAMES / 2; i < NAMES; i++) {
		snprintf(name, sizeof(name), "name-%u", i);
		assert_int_equal(take(tree->root, name), 0);
	}
	assert_int_equal(count_names(tree->root), NAMES / 2);
	tree_delete(tree);
}

static void a_directory_does_not_grow_while_names_are_replaced(void **state)
{
	enum { NAMES = 2000, ROUNDS = 20000 };
	struct tree *tree = tree_new(4 << 20);
	uint64_t seed = bed_seed(1), at_first;
	unsigned version[NAMES] = { 0 };
	char name[64];

	(void)state;
	for (unsigned i = 0; i < NAMES; i++) {
		snprintf(name, sizeof(name), "name-%u-%u", i, 0);
		assert_int_equal(add(tree->root, name, 100 + i), 0);
	}
	at_first = check_blocks(tree, tree->root);
	for (unsigned k = 0; k < ROUNDS; k++) {
		unsigned i = pick(&seed, NAMES);

		snprintf(name, sizeof(name), "name-%u-%u", i, version[i]++);
		assert_int_equal(take(tree->root, name), 0);
		snprintf(name, sizeof(name), "name-%u-%u", i, version[i]);
		assert_int_equal(add(tree->root, name, 100 + i), 0);
	}
	assert_true(check_blocks(tree, tree->root) <= at_first + at_first / 2);
	tree_delete(tree);
}

/* The names of block @lblk, for which the caller has room. Returns how many. */
static unsigned names_in_block(struct inode *dir, uint64_t lblk, struct dir_entry *ret)
{
	struct dir_entry entry;
	uint64_t pos = lblk * (BLOCK_BYTES / 8), end = pos + BLOCK_BYTES / 8;
	unsigned n = 0;

	for (; next_from(dir, pos, &entry) == 0 && entry.pos < end; pos = entry.pos + 1)
		ret[n++] = entry;
	return n;
}

/* What is remembered of room in memory is not aborted with the transaction. */
static void an_aborted_transaction_leaves_no_false_memory(void **state)
{
	struct tree *tree = tree_new(4 << 20);
	struct dir_entry in_block[200];
	char name[32];
	unsigned n, added = 0;
	uint64_t blocks;
	struct tx *tx;

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "name-%u", i);
		assert_int_equal(add(tree->root, name, 100 + i), 0);
	}
	n = names_in_block(tree->root, 2, in_block);
	assert_true(n > 50);
	blocks = check_blocks(tree, tree->root);

	/* A block given back, and not. */
	assert_int_equal(tx_begin(tree->vol, 0, &tx, HERE), 0);
	ilock(tree->root, SYNC_EXCL, HERE);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(dir_remove(tx, tree->root, &in_block[i]), 0);
	tx_abort(tx);
	iunlock(tree->root, SYNC_EXCL, HERE);
	assert_int_equal(check_blocks(tree, tree->root), blocks);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(take(tree->root, in_block[i].name), 0);
	assert_int_equal(check_blocks(tree, tree->root), blocks - 1);

	/* A hole filled, and not. */
	assert_int_equal(tx_begin(tree->vol, 0, &tx, HERE), 0);
	ilock(tree->root, SYNC_EXCL, HERE);
	while (from_le64(inode_peek(tx, tree->root)->nblocks) ==
	       from_le64(inode_peek(NULL, tree->root)->nblocks)) {
		int len = snprintf(name, sizeof(name), "more-%u", added++);

		assert_int_equal(dir_add(tx, tree->root, name, (size_t)len, 9, 8), 0);
	}
	tx_abort(tx);
	iunlock(tree->root, SYNC_EXCL, HERE);
	assert_int_equal(check_blocks(tree, tree->root), blocks - 1);
	for (unsigned i = 0; i < added + n; i++) {
		snprintf(name, sizeof(name), "more-%u", i);
		assert_int_equal(add(tree->root, name, 9), 0);
	}
	assert_int_equal(count_names(tree->root), 1000 + added);
	assert_true(check_blocks(tree, tree->root) <= blocks + 1);
	tree_delete(tree);
}

static void a_full_volume_refuses_a_name_and_keeps_the_others(void **state)
{
	struct tree *tree = tree_new(MIN_VOLUME_BYTES);
	struct dir_entry entry;
	char name[MAX_NAME_BYTES + 1];
	unsigned n = 0;
	int err;

	(void)state;
	memset(name, 'x', sizeof(name));
	name[MAX_NAME_BYTES] = '\0';
	for (err = 0; !err; n += !err) {
		snprintf(name, 16, "%08u", n);
		name[8] = '-';
		err = add(tree->root, name, 100 + n);
	}
	assert_int_equal(err, -ENOSPC);
	assert_true(n > 10);
	tree_remount(tree);
	assert_int_equal(count_names(tree->root), n);
	check_blocks(tree, tree->root);
	for (unsigned i = 0; i < n; i++) {
		snprintf(name, 16, "%08u", i);
		name[8] = '-';
		assert_int_equal(find(tree->root, name, &entry), 0);
		assert_int_equal(entry.ino, 100 + i);
		assert_int_equal(take(tree->root, name), 0);
	}
	assert_true(tree_free_blocks(tree) + 2 >= tree->free_blocks);
	tree_delete(tree);
}

/* ---- size ------------------------------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The least of several measurements is what the machine's other work disturbs least. */
static uint64_t add_batch(struct inode *dir, unsigned first, unsigned count)
{
	uint64_t best = UINT64_MAX;
	char name[32];

	for (unsigned part = 0; part < 10; part++) {
		uint64_t t = now_ns();

		for (unsigned i = 0; i < count / 10; i++, first++) {
			snprintf(name, sizeof(name), "file-%07u", first);
			assert_int_equal(add(dir, name, 100 + first), 0);
		}
		t = now_ns() - t;
		best = t < best ? t : best;
	}
	return best;
}

static void three_hundred_thousand_names_cost_little_more_each_than_a_few(void **state)
{
	enum { BATCH = 10000, NAMES = 300000 };
	struct tree *tree = tree_new_with(96 << 20, false);
	struct dir_entry entry;
	uint64_t early = 0, late = 0;
	char name[32];

	(void)state;
	for (unsigned n = 0; n < NAMES; n += BATCH) {
		late = add_batch(tree->root, n, BATCH);
		if (n == BATCH)
			early = late;
	}
	print_message("%u names: one more costs %.1f times what it did at %u\n", NAMES,
		      (double)late / (double)early, 2 * BATCH);
	assert_true(late < early * 8); /* were it linear: 15 and more */
	assert_int_equal(count_names(tree->root), NAMES);
	for (unsigned i = 0; i < NAMES; i += 997) {
		snprintf(name, sizeof(name), "file-%07u", i);
		assert_int_equal(find(tree->root, name, &entry), 0);
		assert_int_equal(entry.ino, 100 + i);
	}
	tree_remount(tree);
	check_blocks(tree, tree->root);
	assert_int_equal(add(tree->root, "one more", 5), 0);
	assert_int_equal(take(tree->root, "file-0150000"), 0);
	assert_int_equal(count_names(tree->root), NAMES);
	tree_delete(tree);
}

/* ---- damage ------------------------------------------------------------------------------------------------ */

static void fill_some(struct tree *tree, unsigned n)
{
	char name[32];

	for (unsigned i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "name-%u", i);
		assert_int_equal(add(tree->root, name, 100 + i), 0);
	}
	for (unsigned i = 0; i < n; i += 3) {
		snprintf(name, sizeof(name), "name-%u", i);
		assert_int_equal(take(tree->root, name), 0);
	}
}

static void any_damaged_byte_of_a_block_is_an_error(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct dir_entry entry;
	uint64_t off;

	(void)state;
	fill_some(tree, 60);
	off = block_of(tree->root, FORK_DATA, 0) << BLOCK_SHIFT;
	for (uint32_t at = 0; at < BLOCK_BYTES; at++) {
		uint8_t byte = *(const uint8_t *)region_ptr(tree->region, off + at, 1);
		uint8_t wrong = byte ^ (uint8_t)(1u << at % 8);

		overwrite(tree, off + at, &wrong, 1);
		assert_int_equal(find(tree->root, "name-1", &entry), -EIO);
		assert_int_equal(next_from(tree->root, 0, &entry), -EIO);
		assert_int_equal(take(tree->root, "name-1"), -EIO);
		assert_int_equal(add(tree->root, "new", 9), -EIO);
		overwrite(tree, off + at, &byte, 1);
	}
	assert_int_equal(find(tree->root, "name-1", &entry), 0);
	tree_delete(tree);
}

static struct dirent_disk *entry_of(struct dirblock *db, uint32_t off)
{
	return (void *)((unsigned char *)db + off);
}

/* Each a block with one fault, in which everything else is right. */
static void forge_block(struct dirblock *db, unsigned fault)
{
	struct dirent_disk *first = entry_of(db, DIRBLOCK_HEADER_BYTES);
	struct dirent_disk *second = entry_of(db, DIRBLOCK_HEADER_BYTES + from_le16(first->bytes));

	switch (fault) {
	case 0:
		second->name_bytes = (uint8_t)(from_le16(second->bytes) - 15);
		break;
	case 1:
		second->name_bytes = 0;
		break;
	case 2:
		second->bytes = to_le16((uint16_t)(from_le16(second->bytes) + 4));
		break;
	case 3:
		second->bytes = 0;
		break;
	case 4:
		second->bytes = to_le16(8);
		break;
	case 5:
		second->bytes = to_le16(BLOCK_BYTES);
		break;
	case 6:
		second->name[0] = '/';
		break;
	case 7:
		second->name[0] = '\0';
		break;
	case 8:
		second->name_bytes = 1;
		second->name[0] = '.';
		break;
	case 9:
		second->ino = 0; /* behind another free one, and not counted */
		break;
	case 10:
		db->nentries = to_le16((uint16_t)(from_le16(db->nentries) + 1));
		break;
	case 11:
		db->max_free = to_le16((uint16_t)(from_le16(db->max_free) + 8));
		break;
	case 12:
		db->lblk = to_le32(1);
		break;
	case 13:
		db->owner = to_le64(from_le64(db->owner) + 1);
		break;
	case 14:
		db->generation = to_le32(from_le32(db->generation) + 1);
		break;
	default:
		db->magic = to_le32(NODE_MAGIC);
		break;
	}
	db->csum = to_le32(crc32c_skip(db, sizeof(*db), offsetof(struct dirblock, csum)));
}

static void every_fault_of_a_block_is_noticed(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct dirblock good, bad;
	struct dir_entry entry;
	uint64_t off;

	(void)state;
	fill_some(tree, 60);
	off = block_of(tree->root, FORK_DATA, 0) << BLOCK_SHIFT;
	memcpy(&good, region_ptr(tree->region, off, sizeof(good)), sizeof(good));
	for (unsigned fault = 0; fault <= 15; fault++) {
		bad = good;
		forge_block(&bad, fault);
		overwrite(tree, off, &bad, sizeof(bad));
		assert_int_equal(dir_block_check(&bad, tree->root->ino, tree->root->generation, 0),
				 -EUCLEAN);
		assert_int_equal(next_from(tree->root, 0, &entry), -EIO);
		assert_int_equal(find(tree->root, "name-2", &entry), -EIO);
		/* What leads out of the block is noticed although it was verified once. */
		verified_set(tree->vol, off >> BLOCK_SHIFT);
		if (fault <= 5)
			assert_int_equal(next_from(tree->root, 0, &entry), -EIO);
	}
	overwrite(tree, off, &good, sizeof(good));
	assert_int_equal(count_names(tree->root), 40);
	tree_delete(tree);
}

static void a_block_of_another_directory_is_an_error(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct inode *thief = mkdir_in(tree->root, "thief");
	struct dir_entry entry;
	struct dinode di;
	struct tx *tx;

	(void)state;
	memcpy(&di, region_ptr(tree->region, thief->off, sizeof(di)), sizeof(di));
	di.data.nrecs = to_le16(1);
	di.data_recs[0].val = to_le64(EXTENT_PACK(block_of(tree->root, FORK_DATA, 0), 1, 0));
	di.size = to_le64(BLOCK_BYTES);
	di.nentries = to_le64(1);
	forge_dinode(tree, thief, &di);
	/* The owner has verified it: that must not open it to others. */
	assert_int_equal(find(tree->root, "thief", &entry), 0);
	assert_int_equal(next_from(thief, 0, &entry), -EIO);
	assert_int_equal(find(thief, "thief", &entry), -ENOENT); /* by the index */
	assert_int_equal(tx_begin(tree->vol, 0, &tx, HERE), 0);
	ilock(thief, SYNC_EXCL, HERE);
	assert_int_equal(dir_add(tx, thief, "name", 4, 9, 8), -EIO);
	tx_abort(tx);
	iunlock(thief, SYNC_EXCL, HERE);
	inode_put(thief);
	tree_delete(tree);
}

/* Try everything on a block that may hold anything. Only crashing or hanging is wrong. */
static void try_everything(struct tree *tree, uint64_t *seed)
{
	struct dir_entry entry;
	struct tx *tx;
	char name[32];
	unsigned n = 0;

	ilock(tree->root, SYNC_SHARED, HERE);
	if (dir_iterate(tree->root, 0, &entry) == 0)
		while (dir_next(tree->root, &entry) == 0)
			n++;
	iunlock(tree->root, SYNC_SHARED, HERE);
	assert_true(n < 1000);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(tx_begin(tree->vol, 0, &tx, HERE), 0);
		ilock(tree->root, SYNC_EXCL, HERE);
		snprintf(name, sizeof(name), "name-%u", pick(seed, 60));
		if (dir_lookup(tx, tree->root, name, strlen(name), &entry) == 0) {
			entry.pos += pick(seed, 4) ? 0 : pick(seed, 1000);
			(void)dir_change(tx, tree->root, &entry, 8, 8);
			(void)dir_holds(tx, tree->root, &entry);
			(void)dir_remove(tx, tree->root, &entry);
		}
		(void)dir_add(tx, tree->root, "another", 7, 9, 8);
		tx_abort(tx);
		iunlock(tree->root, SYNC_EXCL, HERE);
	}
}

static void a_hostile_block_with_a_right_checksum_does_no_harm(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	uint64_t seed = bed_seed(1), off;
	struct dirblock good, bad;

	(void)state;
	fill_some(tree, 60);
	off = block_of(tree->root, FORK_DATA, 0) << BLOCK_SHIFT;
	memcpy(&good, region_ptr(tree->region, off, sizeof(good)), sizeof(good));
	for (unsigned round = 0; round < 4000; round++) {
		bad = good;
		for (unsigned i = 1 + pick(&seed, 4); i; i--)
			((uint8_t *)&bad)[8 + pick(&seed, pick(&seed, 2) ? 60 : 2000)] =
				pick(&seed, 3) ? (uint8_t)pick(&seed, 256) : 0;
		bad.csum = to_le32(crc32c_skip(&bad, sizeof(bad), offsetof(struct dirblock, csum)));
		overwrite(tree, off, &bad, sizeof(bad));
		/* As if it had been good when it was checked, and changed since. */
		if (pick(&seed, 2))
			verified_set(tree->vol, off >> BLOCK_SHIFT);
		try_everything(tree, &seed);
	}
	overwrite(tree, off, &good, sizeof(good));
	assert_int_equal(count_names(tree->root), 40);
	tree_delete(tree);
}

static void an_index_that_leads_astray_is_an_error(void **state)
{
	static const uint64_t positions[] = { 0, 7, 8, 9, 500, 512, 513, 1u << 20, UINT32_MAX };
	struct tree *tree = tree_new(1 << 20);
	struct dir_entry entry;
	struct dinode di, good;

	(void)state;
	assert_int_equal(add(tree->root, "only", 9), 0);
	memcpy(&good, region_ptr(tree->region, tree->root->off, sizeof(good)), sizeof(good));
	assert_int_equal(from_le16(good.index.nrecs), 1);
	for (unsigned i = 0; i < sizeof(positions) / sizeof(positions[0]); i++) {
		uint64_t hash = from_le64(good.index_recs[0].key) >> 32;

		di = good;
		di.index_recs[0].key = to_le64(hash << 32 | positions[i]);
		forge_dinode(tree, tree->root, &di);
		/* The first position is the one that is right. */
		assert_int_equal(find(tree->root, "only", &entry), positions[i] == 8 ? 0 : -EIO);
	}
	forge_dinode(tree, tree->root, &good);
	assert_int_equal(find(tree->root, "only", &entry), 0);
	tree_delete(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_is_found_until_it_is_taken_out),
		cmocka_unit_test(an_entry_can_name_another_inode),
		cmocka_unit_test(an_entry_is_held_only_while_it_stands_where_it_was_found),
		cmocka_unit_test(an_entry_is_not_held_once_its_type_has_changed),
		cmocka_unit_test(names_of_every_length_fit),
		cmocka_unit_test(a_scan_of_nothing_ends_at_once),
		cmocka_unit_test(a_directory_behaves_as_an_array_of_names),
		cmocka_unit_test(an_entry_that_stays_is_seen_exactly_once_by_a_scan),
		cmocka_unit_test(names_that_share_a_hash_are_told_apart),
		cmocka_unit_test(the_same_names_have_other_hashes_on_another_volume),
		cmocka_unit_test(empty_blocks_are_given_back_and_filled_again),
		cmocka_unit_test(a_directory_does_not_grow_while_names_are_replaced),
		cmocka_unit_test(an_aborted_transaction_leaves_no_false_memory),
		cmocka_unit_test(a_full_volume_refuses_a_name_and_keeps_the_others),
		cmocka_unit_test(three_hundred_thousand_names_cost_little_more_each_than_a_few),
		cmocka_unit_test(any_damaged_byte_of_a_block_is_an_error),
		cmocka_unit_test(every_fault_of_a_block_is_noticed),
		cmocka_unit_test(a_block_of_another_directory_is_an_error),
		cmocka_unit_test(a_hostile_block_with_a_right_checksum_does_no_harm),
		cmocka_unit_test(an_index_that_leads_astray_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
