/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fuse_token.h - tokens: how one file is named to a call on another, where no descriptor can be
 * passed.
 *
 * Whoever holds a descriptor asks for a token by ioctl on it; whoever shows the token is trusted as
 * if he held the descriptor. So a token is random, works once, and for a short time. A token holds
 * no reference: a file that is gone when its token is shown is gone.
 *
 * Thread-safe; takes one leaf lock.
 */
#ifndef UDAX_FUSE_TOKEN_H
#define UDAX_FUSE_TOKEN_H

#include <stdint.h>
#include <sys/types.h>

struct inode;
struct mem;
struct sync;
struct tokens;

#define TOKEN_BYTES 16
#define TOKEN_LIFETIME_NS UINT64_C(10000000000)

/** tokens_new - an empty table, to be freed by tokens_delete(); NULL without memory. */
struct tokens *tokens_new(struct sync *sync, struct mem *mem);
void tokens_delete(struct tokens *tokens);

/** What the descriptor proves, and so what its token is good for. */
enum token_rights {
	TOKEN_EXCHANGE = 1,
	TOKEN_MAP_READ = 2,
	TOKEN_MAP_WRITE = 4,
};

/**
 * token_issue - a token for @inode, which @uid asks for. One user has at most TOKENS_PER_USER:
 * another one takes the place of his oldest. 0, or -EAGAIN when the table is full of others'.
 */
#define TOKENS_PER_USER 32
int token_issue(struct tokens *tokens, const struct inode *inode, uid_t uid, unsigned rights,
		uint8_t ret_token[TOKEN_BYTES]);

/**
 * token_redeem - use a token up, for @right. 0 and which inode it names, or -EKEYREJECTED when there
 * is no such token (any more), -EACCES when it is not good for that.
 */
int token_redeem(struct tokens *tokens, const uint8_t token[TOKEN_BYTES], unsigned right,
		 uint64_t *ret_ino, uint32_t *ret_generation);

#endif
