/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fuse_token.c - see fuse_token.h. A table of fixed size, searched from end to end: a token is
 * issued and shown far more rarely than that costs.
 */
#include "fuse_token.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "inode.h"
#include "mem.h"
#include "sync.h"

#define MAX_TOKENS 256

struct entry {
	uint64_t expires_ns; /* 0: this place is free */
	uint64_t ino;
	uint32_t generation;
	uid_t uid;
	unsigned rights;
	uint8_t token[TOKEN_BYTES];
};

struct tokens {
	struct sync *sync;
	struct mem *mem;
	struct sync_mutex lock; /* LOCK_LEAF; over the entries */
	struct entry entries[MAX_TOKENS];
};

struct tokens *tokens_new(struct sync *sync, struct mem *mem)
{
	struct tokens *tokens = mem_alloc(mem, sizeof(*tokens));

	if (!tokens)
		return NULL;
	tokens->sync = sync;
	tokens->mem = mem;
	sync_mutex_init(sync, &tokens->lock, LOCK_LEAF);
	return tokens;
}

void tokens_delete(struct tokens *tokens)
{
	if (!tokens)
		return;
	sync_mutex_destroy(&tokens->lock);
	mem_free(tokens->mem, tokens);
}

static void drop_expired(struct tokens *tokens, uint64_t now_ns)
{
	for (unsigned i = 0; i < MAX_TOKENS; i++)
		if (tokens->entries[i].expires_ns <= now_ns)
			memset(&tokens->entries[i], 0, sizeof(tokens->entries[i]));
}

/* A place for one more of @uid's: a free one, or that of his oldest if he has too many. */
static struct entry *find_place(struct tokens *tokens, uid_t uid)
{
	struct entry *oldest = NULL, *place = NULL;
	unsigned nr = 0;

	for (unsigned i = 0; i < MAX_TOKENS; i++) {
		struct entry *entry = &tokens->entries[i];

		if (!entry->expires_ns) {
			place = entry;
		} else if (entry->uid == uid) {
			nr++;
			if (!oldest || entry->expires_ns < oldest->expires_ns)
				oldest = entry;
		}
	}
	return nr >= TOKENS_PER_USER ? oldest : place;
}

int token_issue(struct tokens *tokens, const struct inode *inode, uid_t uid, unsigned rights,
		uint8_t ret_token[TOKEN_BYTES])
{
	struct entry fresh = {
		.expires_ns = sync_now_ns(tokens->sync) + TOKEN_LIFETIME_NS,
		.ino = inode->ino,
		.generation = inode->generation,
		.uid = uid,
		.rights = rights,
	};
	struct entry *place;

	sync_random(tokens->sync, fresh.token, sizeof(fresh.token));
	sync_lock(&tokens->lock, 0, HERE);
	drop_expired(tokens, fresh.expires_ns - TOKEN_LIFETIME_NS);
	place = find_place(tokens, uid);
	if (place)
		*place = fresh;
	sync_unlock(&tokens->lock, HERE);
	if (!place)
		return -EAGAIN;
	memcpy(ret_token, fresh.token, sizeof(fresh.token));
	return 0;
}

/* Every byte is looked at: how long it takes says nothing about how many were right. */
static bool same_token(const uint8_t *a, const uint8_t *b)
{
	uint8_t different = 0;

	for (unsigned i = 0; i < TOKEN_BYTES; i++)
		different |= a[i] ^ b[i];
	return !different;
}

int token_redeem(struct tokens *tokens, const uint8_t token[TOKEN_BYTES], unsigned right,
		 uint64_t *ret_ino, uint32_t *ret_generation)
{
	struct entry found = { 0 };

	sync_lock(&tokens->lock, 0, HERE);
	drop_expired(tokens, sync_now_ns(tokens->sync));
	for (unsigned i = 0; i < MAX_TOKENS; i++) {
		struct entry *entry = &tokens->entries[i];

		if (entry->expires_ns && same_token(entry->token, token)) {
			found = *entry;
			memset(entry, 0, sizeof(*entry));
		}
	}
	sync_unlock(&tokens->lock, HERE);
	if (!found.expires_ns)
		return -EKEYREJECTED;
	if (!(found.rights & right))
		return -EACCES;
	*ret_ino = found.ino;
	*ret_generation = found.generation;
	return 0;
}
