/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_fault.c - faults of clients, what they are granted, and taking it back: with clients that are
 * a few lines here, and answer recalls at once, or when told to, or never.
 */
#include "bed.h"

#include <errno.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc.h"
#include "fault.h"
#include "file.h"
#include "fill.h"
#include "gate.h"
#include "inode.h"
#include "layout.h"
#include "mode.h"
#include "namespace.h"
#include "region.h"
#include "volume.h"

#define PAGE UINT64_C(4096)
#define KIB UINT64_C(1024)
#define MIB (KIB * KIB)

static const struct layout_ctx waits = { .may_wait = true };

/* ---- a client ----------------------------------------------------------------------------------- */

struct peer {
	struct client client; /* first */
	struct attachment *att;
	struct sync *sync;
	struct sync_thread *answerer;
	enum { AT_ONCE, NEVER } answers;
	unsigned nrecalls, nlate;
	uint32_t seq;
	uint64_t pos, len;
	struct fault fault; /* the last one */
};

static void answer(void *arg)
{
	struct peer *peer = arg;

	assert_true(grant_acknowledged(peer->att, peer->seq));
}

/* Under the holder's lock: the answer has to come from elsewhere. */
static void on_recall(struct client *client, uint32_t id, uint32_t seq, uint64_t pos, uint64_t len)
{
	struct peer *peer = (struct peer *)client;

	(void)id;
	peer->nrecalls++;
	peer->seq = seq;
	peer->pos = pos;
	peer->len = len;
	if (peer->answers == AT_ONCE)
		assert_int_equal(
			sync_thread_start(peer->sync, "answer", answer, peer, &peer->answerer), 0);
}

static void on_late(struct client *client, uint32_t id, uint32_t seq, uint64_t pos, uint64_t len)
{
	(void)id, (void)seq, (void)pos, (void)len;
	((struct peer *)client)->nlate++;
}

static const struct client_ops ops = { on_recall, on_late };

static void peer_join(struct peer *peer)
{
	if (peer->answerer)
		sync_thread_join(peer->answerer);
	peer->answerer = NULL;
}

static void on_granted(struct fault *fault)
{
	(void)fault;
}

static void peer_attach(struct peer *peer, struct bed *bed, bool writable)
{
	*peer = (struct peer){ .client.ops = &ops, .sync = bed->sync };
	assert_int_equal(attach(bed->inode, &peer->client, 1, writable, &peer->att), 0);
}

static void peer_detach(struct peer *peer)
{
	peer_join(peer);
	detach(peer->att);
}

static int touch(struct peer *peer, uint64_t pos, bool write, uint64_t first, uint64_t end)
{
	peer->fault = (struct fault){ .att = peer->att,
				      .pos = pos,
				      .first = first,
				      .end = end,
				      .write = write,
				      .may_wait = true,
				      .granted = on_granted };
	return fault_serve(&peer->fault);
}

/* A load in a mapping that stores will come to. */
static int touch_before_stores(struct peer *peer, uint64_t pos, uint64_t first, uint64_t end)
{
	peer->fault = (struct fault){ .att = peer->att,
				      .pos = pos,
				      .first = first,
				      .end = end,
				      .before_stores = true,
				      .may_wait = true,
				      .granted = on_granted };
	return fault_serve(&peer->fault);
}

static void expect_grant(const struct peer *peer, enum grant_kind kind, uint64_t pos, uint64_t len)
{
	assert_int_equal(peer->fault.kind, kind);
	assert_int_equal(peer->fault.grant_pos, pos);
	assert_int_equal(peer->fault.grant_len, len);
}

static uint64_t granted(struct peer *peer, enum grant_kind kind)
{
	struct holder *holder = holder_of(peer->att->inode);
	struct grant_stat stat;

	sync_lock(&holder->lock, 0, HERE);
	grant_stat(holder, &stat);
	sync_unlock(&holder->lock, HERE);
	return stat.bytes[kind];
}

/* ---- a file that is open ------------------------------------------------------------------------ */

static struct bed *open_bed_on(struct region *region)
{
	struct bed *bed = bed_new_on(region, true);
	struct waiter waiter = { NULL };
	enum file_mode mode;

	assert_int_equal(mode_open(bed->inode, MODE_WANT_UNCACHED, &waiter, &mode), 0);
	bed->vol->recall_timeout_ns = 50 * 1000 * 1000;
	return bed;
}

static struct bed *open_bed(void)
{
	return open_bed_on(region_record_new(NULL, 16 * MIB, PAGE));
}

static void close_bed(struct bed *bed)
{
	mode_release(bed->inode, 0);
	bed_delete(bed);
}

static void put(struct bed *bed, uint64_t pos, char c, size_t len)
{
	char *buf = malloc(len);

	assert_non_null(buf);
	memset(buf, c, len);
	assert_int_equal(file_write(bed->inode, pos, buf, len, IO_MAY_WAIT), len);
	free(buf);
}

static void resize(struct bed *bed, uint64_t size)
{
	assert_int_equal(layout_truncate(bed->inode, size, &waits), 0);
}

static char byte_at(struct bed *bed, uint64_t region_off)
{
	return *(const char *)region_ptr(bed->region, region_off, 1);
}

static uint64_t quarantined(struct bed *bed)
{
	struct space space;

	alloc_space(bed->vol, &space);
	return space.quarantined;
}

/* ---- granting ----------------------------------------------------------------------------------- */

static void a_read_fault_maps_what_is_written_and_no_more(void **state)
{
	struct bed *bed = open_bed();
	struct peer peer;

	(void)state;
	put(bed, 0, 'a', 8 * PAGE);
	resize(bed, 20 * PAGE);
	peer_attach(&peer, bed, false);
	assert_int_equal(touch(&peer, 3 * PAGE + 5, false, 0, 512 * PAGE), 0);
	expect_grant(&peer, GRANT_READ, 0, 8 * PAGE);
	assert_int_equal(byte_at(bed, peer.fault.region_off), 'a');
	assert_int_equal(touch(&peer, 3 * PAGE, false, 2 * PAGE, 4 * PAGE), 0);
	expect_grant(&peer, GRANT_READ, 2 * PAGE, 2 * PAGE);
	peer_detach(&peer);
	close_bed(bed);
}

static void a_read_fault_on_a_hole_allocates_nothing(void **state)
{
	struct bed *bed = open_bed();
	struct peer peer;
	uint64_t left;

	(void)state;
	resize(bed, 20 * PAGE);
	left = bed_free(bed);
	peer_attach(&peer, bed, true);
	assert_int_equal(touch(&peer, 3 * PAGE, false, 0, 512 * PAGE), 0);
	expect_grant(&peer, GRANT_ZERO, 0, 20 * PAGE);
	assert_int_equal(bed_free(bed), left);
	peer_detach(&peer);
	close_bed(bed);
}

static void a_write_fault_makes_zeroed_blocks_up_to_eof(void **state)
{
	struct bed *bed = open_bed();
	struct peer peer;
	uint64_t left;

	(void)state;
	resize(bed, 20 * PAGE - 100);
	left = bed_free(bed);
	peer_attach(&peer, bed, true);
	assert_int_equal(touch(&peer, 3 * PAGE, true, 0, 512 * PAGE), 0);
	assert_int_equal(peer.fault.kind, GRANT_WRITE);
	assert_int_equal(left - bed_free(bed), 16);
	/* Behind what is written it goes on with more: to EOF, here. */
	assert_int_equal(touch(&peer, 16 * PAGE, true, 0, 512 * PAGE), 0);
	assert_int_equal(left - bed_free(bed), 20);
	for (uint64_t at = 0; at < peer.fault.grant_len; at++)
		assert_int_equal(byte_at(bed, peer.fault.region_off + at), 0);
	peer_detach(&peer);
	close_bed(bed);
}

static void a_touch_in_a_large_hole_costs_little(void **state)
{
	struct bed *bed = open_bed();
	struct peer peer;
	uint64_t left;

	(void)state;
	resize(bed, UINT64_C(64) << 30);
	left = bed_free(bed);
	peer_attach(&peer, bed, true);
	for (uint64_t i = 1; i <= 20; i++)
		assert_int_equal(touch(&peer, i << 31, true, i << 31, (i << 31) + 2 * MIB), 0);
	assert_in_range(left - bed_free(bed), 20 * 16, 20 * 16 + 4); /* and nodes of the map */
	/* What is preallocated costs nothing more. */
	assert_int_equal(layout_fallocate(bed->inode, 0, 4 * MIB, 2 * MIB, &waits), 0);
	assert_int_equal(touch(&peer, 5 * MIB, true, 4 * MIB, 6 * MIB), 0);
	assert_int_equal(peer.fault.kind, GRANT_WRITE);
	assert_in_range(peer.fault.grant_len, MIB, 2 * MIB);
	peer_detach(&peer);
	close_bed(bed);
}

/* Each asks for more than the page; the second one finds a part of that made. */
static void what_two_write_faults_make_is_zeroed_once(void **state)
{
	struct bed *bed = open_bed();
	struct peer first, second;
	uint64_t off;

	(void)state;
	resize(bed, 8 * PAGE);
	peer_attach(&first, bed, true);
	peer_attach(&second, bed, true);
	assert_int_equal(touch(&first, 2 * PAGE, true, 2 * PAGE, 4 * PAGE), 0);
	off = first.fault.region_off;
	bed_store(bed, off, "stored", 6);
	assert_int_equal(touch(&second, 3 * PAGE, true, 0, 8 * PAGE), 0);
	assert_int_equal(touch(&second, 2 * PAGE, true, 2 * PAGE, 4 * PAGE), 0);
	assert_int_equal(second.fault.region_off, off);
	assert_int_equal(byte_at(bed, off), 's');
	assert_int_equal(byte_at(bed, off + PAGE), 0);
	peer_detach(&first);
	peer_detach(&second);
	close_bed(bed);
}

static void a_touch_behind_eof_is_told_so(void **state)
{
	struct bed *bed = open_bed();
	struct peer peer;

	(void)state;
	put(bed, 0, 'a', PAGE + 1);
	peer_attach(&peer, bed, true);
	assert_int_equal(touch(&peer, 2 * PAGE, true, 0, 8 * PAGE), 0);
	expect_grant(&peer, GRANT_BEHIND_EOF, 2 * PAGE, 6 * PAGE);
	peer_detach(&peer);
	close_bed(bed);
}

static void bytes_behind_eof_in_the_last_page_are_zero(void **state)
{
	struct bed *bed = open_bed();
	struct peer peer;

	(void)state;
	put(bed, 0, 'a', PAGE);
	resize(bed, 10);
	peer_attach(&peer, bed, false);
	assert_int_equal(touch(&peer, 0, false, 0, PAGE), 0);
	assert_int_equal(byte_at(bed, peer.fault.region_off + 9), 'a');
	assert_int_equal(byte_at(bed, peer.fault.region_off + 10), 0);
	assert_int_equal(byte_at(bed, peer.fault.region_off + PAGE - 1), 0);
	peer_detach(&peer);
	close_bed(bed);
}

static void who_attached_for_reading_is_not_let_write(void **state)
{
	struct bed *bed = open_bed();
	struct peer peer;

	(void)state;
	put(bed, 0, 'a', PAGE);
	peer_attach(&peer, bed, false);
	assert_int_equal(touch(&peer, 0, true, 0, PAGE), -EACCES);
	assert_int_equal(granted(&peer, GRANT_WRITE), 0);
	peer_detach(&peer);
	close_bed(bed);
}

static uint64_t mtime_ns(struct bed *bed)
{
	const struct dinode *di;
	uint64_t ns;

	ilock(bed->inode, SYNC_SHARED, HERE);
	di = inode_peek(NULL, bed->inode);
	ns = from_le64(di->mtime) * 1000000000u + from_le32(di->mtime_ns);
	iunlock(bed->inode, SYNC_SHARED, HERE);
	return ns;
}

static void a_load_before_stores_is_granted_for_them_where_it_is_written(void **state)
{
	struct bed *bed = open_bed();
	struct peer writer, reader;
	uint64_t before;

	(void)state;
	put(bed, 0, 'a', PAGE);
	put(bed, 4 * PAGE, 'a', PAGE);
	peer_attach(&writer, bed, true);
	peer_attach(&reader, bed, false);
	before = mtime_ns(bed);
	usleep(20000); /* the clock ticks every few ms */
	assert_int_equal(touch_before_stores(&writer, 2 * PAGE, 0, 5 * PAGE), 0);
	expect_grant(&writer, GRANT_ZERO, PAGE, 3 * PAGE);
	assert_int_equal(mtime_ns(bed), before);
	assert_int_equal(touch_before_stores(&writer, 0, 0, 5 * PAGE), 0);
	expect_grant(&writer, GRANT_WRITE, 0, PAGE);
	assert_true(mtime_ns(bed) > before);
	assert_int_equal(touch_before_stores(&reader, 0, 0, 5 * PAGE), 0);
	expect_grant(&reader, GRANT_READ, 0, PAGE);
	assert_int_equal(granted(&writer, GRANT_WRITE), PAGE);
	peer_detach(&reader);
	peer_detach(&writer);
	close_bed(bed);
}

static void a_file_in_cached_mode_is_not_attached(void **state)
{
	struct bed *bed = bed_new(16 * MIB, true);
	struct waiter waiter = { NULL };
	struct peer peer = { .client.ops = &ops };
	enum file_mode mode;

	(void)state;
	assert_int_equal(attach(bed->inode, &peer.client, 1, true, &peer.att), -EBUSY);
	assert_int_equal(mode_open(bed->inode, 0, &waiter, &mode), 0);
	assert_int_equal(attach(bed->inode, &peer.client, 1, true, &peer.att), -EBUSY);
	mode_release(bed->inode, 0);
	bed_delete(bed);
}

static void a_client_keeps_its_file_uncached(void **state)
{
	struct bed *bed = open_bed();
	struct waiter waiter = { NULL };
	enum file_mode mode;
	struct peer peer;

	(void)state;
	peer_attach(&peer, bed, true);
	mode_release(bed->inode, 0);
	assert_int_equal(mode_open(bed->inode, 0, &waiter, &mode), 0);
	assert_int_equal(mode, MODE_UNCACHED);
	peer_detach(&peer);
	close_bed(bed);
}

static void nothing_is_granted_to_one_who_is_gone(void **state)
{
	struct bed *bed = open_bed();
	struct peer peer;

	(void)state;
	put(bed, 0, 'a', PAGE);
	peer_attach(&peer, bed, true);
	atomic_store(&peer.client.gone, true);
	assert_int_equal(touch(&peer, 0, false, 0, PAGE), -ECONNRESET);
	assert_int_equal(granted(&peer, GRANT_READ), 0);
	peer_detach(&peer);
	close_bed(bed);
}

/* ---- taking back -------------------------------------------------------------------------------- */

static void a_punch_takes_back_what_it_frees_and_no_more(void **state)
{
	struct bed *bed = open_bed();
	struct peer peer;

	(void)state;
	put(bed, 0, 'a', 8 * PAGE);
	peer_attach(&peer, bed, true);
	assert_int_equal(touch(&peer, 0, true, 0, 8 * PAGE), 0);
	assert_int_equal(layout_fallocate(bed->inode, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					  2 * PAGE, PAGE, &waits),
			 0);
	assert_int_equal(peer.nrecalls, 1);
	assert_int_equal(peer.pos, 2 * PAGE);
	assert_int_equal(peer.len, PAGE);
	assert_int_equal(granted(&peer, GRANT_WRITE), 7 * PAGE);
	peer_join(&peer);
	assert_int_equal(touch(&peer, 2 * PAGE, false, 0, 8 * PAGE), 0);
	expect_grant(&peer, GRANT_ZERO, 2 * PAGE, PAGE);
	assert_int_equal(quarantined(bed), 0);
	peer_detach(&peer);
	close_bed(bed);
}

static void whoever_may_not_wait_recalls_nobody(void **state)
{
	const struct layout_ctx here = { .may_wait = false };
	struct bed *bed = open_bed();
	struct peer peer;

	(void)state;
	put(bed, 0, 'a', 8 * PAGE);
	peer_attach(&peer, bed, true);
	assert_int_equal(touch(&peer, 0, true, 0, 8 * PAGE), 0);
	assert_int_equal(layout_truncate(bed->inode, PAGE, &here), -EAGAIN);
	assert_int_equal(peer.nrecalls, 0);
	peer_detach(&peer);
	close_bed(bed);
}

static void zeroes_are_taken_back_when_somebody_writes_there(void **state)
{
	struct bed *bed = open_bed();
	struct peer reader, writer;

	(void)state;
	resize(bed, 8 * PAGE);
	peer_attach(&reader, bed, false);
	peer_attach(&writer, bed, true);
	assert_int_equal(touch(&reader, 0, false, 0, 8 * PAGE), 0);
	expect_grant(&reader, GRANT_ZERO, 0, 8 * PAGE);
	assert_int_equal(touch(&writer, 3 * PAGE, true, 3 * PAGE, 4 * PAGE), 0);
	assert_int_equal(writer.fault.kind, GRANT_WRITE);
	assert_int_equal(reader.nrecalls, 1);
	peer_join(&reader);
	/* And so by write(2). */
	assert_int_equal(touch(&reader, 5 * PAGE, false, 5 * PAGE, 8 * PAGE), 0);
	expect_grant(&reader, GRANT_ZERO, 5 * PAGE, 3 * PAGE);
	put(bed, 6 * PAGE, 'b', 10);
	assert_int_equal(reader.nrecalls, 2);
	peer_join(&reader);
	assert_int_equal(touch(&reader, 6 * PAGE, false, 6 * PAGE, 7 * PAGE), 0);
	expect_grant(&reader, GRANT_READ, 6 * PAGE, PAGE);
	peer_detach(&reader);
	peer_detach(&writer);
	close_bed(bed);
}

static void a_write_that_may_not_wait_says_so_and_does_nothing(void **state)
{
	struct bed *bed = open_bed();
	struct peer reader;

	(void)state;
	resize(bed, 8 * PAGE);
	peer_attach(&reader, bed, false);
	assert_int_equal(touch(&reader, 0, false, 0, 8 * PAGE), 0);
	assert_int_equal(file_write(bed->inode, 0, "x", 1, IO_UNCACHED), -EAGAIN);
	assert_int_equal(reader.nrecalls, 0);
	peer_detach(&reader);
	close_bed(bed);
}

static void what_was_behind_eof_is_taken_back_when_the_file_grows(void **state)
{
	struct bed *bed = open_bed();
	struct peer peer;

	(void)state;
	put(bed, 0, 'a', PAGE);
	peer_attach(&peer, bed, true);
	assert_int_equal(touch(&peer, PAGE, false, 0, 16 * PAGE), 0);
	put(bed, 2 * PAGE, 'b', PAGE);
	assert_int_equal(peer.nrecalls, 1);
	assert_int_equal(granted(&peer, GRANT_BEHIND_EOF), 0);
	peer_join(&peer);
	assert_int_equal(touch(&peer, 4 * PAGE, false, 0, 16 * PAGE), 0);
	resize(bed, 8 * PAGE);
	assert_int_equal(peer.nrecalls, 2);
	peer_join(&peer);
	assert_int_equal(touch(&peer, 8 * PAGE, false, 0, 16 * PAGE), 0);
	assert_int_equal(layout_fallocate(bed->inode, 0, 8 * PAGE, PAGE, &waits), 0);
	assert_int_equal(peer.nrecalls, 3);
	peer_detach(&peer);
	close_bed(bed);
}

static void an_acknowledgement_of_nothing_is_a_lie(void **state)
{
	struct bed *bed = open_bed();
	struct peer peer;

	(void)state;
	peer_attach(&peer, bed, true);
	assert_false(grant_acknowledged(peer.att, 1));
	peer_detach(&peer);
	close_bed(bed);
}

/* ---- durable ------------------------------------------------------------------------------------ */

static void what_a_client_stores_is_durable_after_fsync(void **state)
{
	struct bed *bed = open_bed();
	struct peer peer;
	char *durable;
	uint64_t off;

	(void)state;
	put(bed, 0, 'a', 8 * PAGE);
	peer_attach(&peer, bed, true);
	assert_int_equal(touch(&peer, 5 * PAGE, true, 5 * PAGE, 6 * PAGE), 0);
	off = peer.fault.region_off + 100;
	*(char *)(uintptr_t)region_ptr(bed->region, off, 1) = 'x'; /* by a mapping of its own */
	assert_int_equal(((const char *)region_record_durable(bed->region))[off], 'a');
	assert_int_equal(file_sync(bed->inode, NULL), 0);
	assert_int_equal(((const char *)region_record_durable(bed->region))[off], 'x');
	/* It may store on, unnoticed: the next one counts too. */
	*(char *)(uintptr_t)region_ptr(bed->region, off, 1) = 'y';
	assert_int_equal(file_sync(bed->inode, NULL), 0);
	durable = (char *)(uintptr_t)region_record_durable(bed->region);
	assert_int_equal(durable[off], 'y');
	peer_detach(&peer);
	close_bed(bed);
}

static void what_a_client_stored_is_durable_when_it_goes_to_another_file(void **state)
{
	struct bed *bed = open_bed();
	struct cred cred = { 0 };
	struct inode *root, *other;
	struct peer peer;
	char page[PAGE];
	uint64_t off;

	(void)state;
	memset(page, 'b', sizeof(page));
	assert_int_equal(inode_get(bed->vol, ROOT_INO, &root), 0);
	assert_int_equal(ns_create(root, "other", 5, S_IFREG | 0600, &cred, 0, 0, &other), 0);
	assert_int_equal(file_write(other, 0, page, PAGE, IO_MAY_WAIT), PAGE);
	put(bed, 0, 'a', PAGE);
	peer_attach(&peer, bed, true);
	assert_int_equal(touch(&peer, 0, true, 0, PAGE), 0);
	off = peer.fault.region_off;
	*(char *)(uintptr_t)region_ptr(bed->region, off, 1) = 'x';
	assert_int_equal(layout_exchange(bed->inode, 0, other, 0, PAGE, &waits), 0);
	assert_int_equal(((const char *)region_record_durable(bed->region))[off], 'x');
	peer_detach(&peer);
	inode_put(other);
	inode_put(root);
	close_bed(bed);
}

/* What a client stored and gave back cannot be made durable. */
static struct bed *lost_bed(struct peer *peer)
{
	struct bed *bed = open_bed();

	put(bed, 0, 'a', 8 * PAGE);
	peer_attach(peer, bed, true);
	assert_int_equal(touch(peer, 0, true, 0, 8 * PAGE), 0);
	grant_returned(peer->att, 0, UINT64_MAX);
	assert_int_equal(region_mark_bad(bed->region, peer->fault.region_off + 2 * PAGE, PAGE), 0);
	return bed;
}

static void each_open_file_learns_once_that_stores_were_lost(void **state)
{
	struct peer peer;
	struct bed *bed = lost_bed(&peer);
	uint32_t first = grant_sync_seen(bed->inode), second = first, later;

	(void)state;
	assert_int_equal(file_sync(bed->inode, &first), -EIO);
	assert_int_equal(file_sync(bed->inode, &first), 0);
	later = grant_sync_seen(bed->inode);
	assert_int_equal(file_sync(bed->inode, &later), 0);
	assert_int_equal(file_sync(bed->inode, &second), -EIO);
	assert_int_equal(file_sync(bed->inode, &second), 0);
	/* It is stored to again. */
	assert_int_equal(touch(&peer, 0, true, 0, PAGE), 0);
	assert_int_equal(file_sync(bed->inode, &second), -EIO);
	assert_int_equal(file_sync(bed->inode, &first), -EIO);
	peer_detach(&peer);
	close_bed(bed);
}

static void stores_that_were_lost_are_told_to_who_opens_the_file_before_anybody_knows(void **state)
{
	struct peer peer;
	struct bed *bed = lost_bed(&peer);
	uint32_t first, second;

	(void)state;
	assert_int_equal(file_sync(bed->inode, NULL), -EIO);
	first = grant_sync_seen(bed->inode);
	second = grant_sync_seen(bed->inode);
	assert_int_equal(file_sync(bed->inode, &first), -EIO);
	assert_int_equal(file_sync(bed->inode, &second), -EIO);
	second = grant_sync_seen(bed->inode);
	assert_int_equal(file_sync(bed->inode, &second), 0);
	peer_detach(&peer);
	close_bed(bed);
}

/* Of two at once, the second does not say that it is durable before the first one has made it so. */
static void stores_are_not_durable_before_they_are(void **state)
{
	struct bed *bed = open_bed();
	struct peer peer;
	uint64_t mark, other;

	(void)state;
	put(bed, 0, 'a', PAGE);
	peer_attach(&peer, bed, true);
	assert_int_equal(touch(&peer, 0, true, 0, PAGE), 0);
	grant_returned(peer.att, 0, PAGE);
	assert_true(grant_stores(bed->inode, &mark));
	assert_true(grant_stores(bed->inode, &other));
	grant_flushed(bed->inode, mark, false);
	assert_false(grant_stores(bed->inode, &other));
	peer_detach(&peer);
	close_bed(bed);
}

/* ---- who does not answer ------------------------------------------------------------------------ */

static void what_a_late_client_maps_is_not_used_again(void **state)
{
	struct bed *bed = open_bed();
	struct peer peer;
	uint64_t off;

	(void)state;
	put(bed, 0, 'a', 8 * PAGE);
	peer_attach(&peer, bed, true);
	peer.answers = NEVER;
	assert_int_equal(touch(&peer, 0, true, 0, 8 * PAGE), 0);
	off = peer.fault.region_off;
	resize(bed, 0);
	assert_int_equal(atomic_load(&bed->vol->nlate), 1);
	assert_int_equal(quarantined(bed), 8);
	assert_int_equal(alloc_release_all(bed->vol), 0);
	assert_int_equal(quarantined(bed), 8);
	/* It is told, and then they are free. */
	assert_true(grant_acknowledged(peer.att, peer.seq));
	assert_int_equal(peer.nlate, 1);
	assert_int_equal(alloc_release_all(bed->vol), 0);
	assert_int_equal(quarantined(bed), 0);
	assert_int_equal(byte_at(bed, off), 'a');
	peer_detach(&peer);
	close_bed(bed);
}

static void blocks_that_a_late_client_maps_do_not_move(void **state)
{
	struct bed *bed = open_bed();
	struct peer peer;
	uint64_t off;

	(void)state;
	put(bed, 0, 'a', 4 * PAGE);
	put(bed, 4 * PAGE, 'b', 4 * PAGE);
	peer_attach(&peer, bed, true);
	peer.answers = NEVER;
	assert_int_equal(touch(&peer, 4 * PAGE, true, 4 * PAGE, 8 * PAGE), 0);
	off = peer.fault.region_off;
	assert_int_equal(
		layout_fallocate(bed->inode, FALLOC_FL_COLLAPSE_RANGE, 0, 2 * PAGE, &waits), 0);
	/* The file has copies; what the client stores now reaches nobody. */
	assert_int_equal(quarantined(bed), 4);
	region_store(bed->region, off, "late", 4, HERE);
	peer_detach(&peer);
	assert_int_equal(atomic_load(&bed->vol->nlate), 0);
	peer_attach(&peer, bed, false);
	assert_int_equal(touch(&peer, 2 * PAGE, false, 2 * PAGE, 6 * PAGE), 0);
	assert_int_not_equal(peer.fault.region_off, off);
	for (uint64_t at = 0; at < 4 * PAGE; at++)
		assert_int_equal(byte_at(bed, peer.fault.region_off + at), 'b');
	peer_detach(&peer);
	close_bed(bed);
}

static void nobody_waits_longer_than_the_deadline(void **state)
{
	struct bed *bed = open_bed();
	struct peer peers[4];
	uint64_t began;

	(void)state;
	put(bed, 0, 'a', 8 * PAGE);
	for (unsigned i = 0; i < 4; i++) {
		peer_attach(&peers[i], bed, true);
		peers[i].answers = NEVER;
		assert_int_equal(touch(&peers[i], 0, false, 0, 8 * PAGE), 0);
	}
	began = sync_now_ns(bed->sync);
	resize(bed, 0);
	assert_in_range(sync_now_ns(bed->sync) - began, 50 * 1000 * 1000, 150 * 1000 * 1000);
	for (unsigned i = 0; i < 4; i++)
		peer_detach(&peers[i]);
	close_bed(bed);
}

static uint64_t punch_ns(struct bed *bed, uint64_t pos)
{
	uint64_t began = sync_now_ns(bed->sync);

	assert_int_equal(layout_fallocate(bed->inode, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					  pos, PAGE, &waits),
			 0);
	return sync_now_ns(bed->sync) - began;
}

/* ---- blocks that stay the file's ------------------------------------------------------------------ */

static char file_byte(struct bed *bed, uint64_t pos)
{
	struct read_plan plan;
	char c;

	assert_int_equal(file_read_begin(bed->inode, pos, 1, IO_UNCACHED, &plan), 0);
	assert_int_equal(plan.bytes, 1);
	c = *(const char *)plan.pieces[0].iov_base;
	file_read_end(bed->inode, &plan);
	return c;
}

/* A client that maps the @bytes of the file for stores, and never answers. */
static struct bed *held_bed(struct bed *bed, struct peer *peer, uint64_t bytes)
{
	put(bed, 0, 'a', bytes);
	peer_attach(peer, bed, true);
	peer->answers = NEVER;
	assert_int_equal(touch(peer, 0, true, 0, (bytes + PAGE - 1) / PAGE * PAGE), 0);
	return bed;
}

/* What it stores now at @pos is not in the file: there, it is @is. */
static void expect_lost(struct bed *bed, uint64_t off, uint64_t pos, char is)
{
	assert_int_equal(atomic_load(&bed->vol->nlate) > 0, true);
	assert_int_equal(file_byte(bed, pos), is);
	region_store(bed->region, off + pos, "!", 1, HERE);
	assert_int_equal(file_byte(bed, pos), is);
}

static void end_held(struct bed *bed, struct peer *peer)
{
	peer_detach(peer);
	assert_int_equal(atomic_load(&bed->vol->nlate), 0);
	assert_int_equal(alloc_release_all(bed->vol), 0);
	assert_int_equal(quarantined(bed), 0);
	close_bed(bed);
}

static void what_a_late_client_stores_is_not_in_a_range_that_was_zeroed(void **state)
{
	struct peer peer;
	struct bed *bed = held_bed(open_bed(), &peer, 8 * PAGE);
	uint64_t off = peer.fault.region_off;

	(void)state;
	assert_int_equal(layout_fallocate(bed->inode, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
					  2 * PAGE, 3 * PAGE, &waits),
			 0);
	assert_int_equal(quarantined(bed), 3);
	/* With blocks that are written again it would be seen. */
	put(bed, 2 * PAGE + 100, 'b', 3 * PAGE - 200);
	for (uint64_t page = 2; page < 4; page++)
		expect_lost(bed, off, page * PAGE, page == 2 ? 0 : 'b');
	assert_int_equal(file_byte(bed, PAGE), 'a');
	end_held(bed, &peer);
}

static void what_a_late_client_stores_is_not_at_the_edges_of_a_punch(void **state)
{
	struct peer peer;
	struct bed *bed = held_bed(open_bed(), &peer, 8 * PAGE);
	uint64_t off = peer.fault.region_off;

	(void)state;
	assert_int_equal(layout_fallocate(bed->inode, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					  PAGE + 100, 2 * PAGE, &waits),
			 0);
	assert_int_equal(quarantined(bed), 3); /* one was freed, two are copies now */
	expect_lost(bed, off, PAGE + 50, 'a');
	expect_lost(bed, off, PAGE + 150, 0);
	expect_lost(bed, off, 3 * PAGE + 50, 0);
	expect_lost(bed, off, 3 * PAGE + 150, 'a');
	end_held(bed, &peer);
}

static void what_a_late_client_stores_is_not_in_the_last_page_after_truncate(void **state)
{
	struct peer peer;
	struct bed *bed = held_bed(open_bed(), &peer, 8 * PAGE);
	uint64_t off = peer.fault.region_off;

	(void)state;
	resize(bed, 3 * PAGE + 100);
	assert_int_equal(quarantined(bed), 5);
	expect_lost(bed, off, 3 * PAGE + 50, 'a');
	end_held(bed, &peer);
}

static void what_a_late_client_stores_is_not_in_a_file_whose_size_was_set_up(void **state)
{
	struct peer peer;
	struct bed *bed = held_bed(open_bed(), &peer, PAGE + 100);
	uint64_t off = peer.fault.region_off;

	(void)state;
	resize(bed, 4 * PAGE);
	assert_int_equal(quarantined(bed), 1);
	expect_lost(bed, off, PAGE + 50, 'a');
	expect_lost(bed, off, PAGE + 150, 0);
	end_held(bed, &peer);
}

static void what_a_late_client_stores_is_not_in_front_of_an_append(void **state)
{
	struct peer peer;
	struct bed *bed = held_bed(open_bed(), &peer, PAGE + 100);
	uint64_t off = peer.fault.region_off;

	(void)state;
	assert_int_equal(touch(&peer, 2 * PAGE, true, 2 * PAGE, 4 * PAGE), 0);
	expect_grant(&peer, GRANT_BEHIND_EOF, 2 * PAGE, 2 * PAGE);
	assert_int_equal(file_write(bed->inode, 0, "b", 1, IO_APPEND | IO_MAY_WAIT), 1);
	assert_int_equal(quarantined(bed), 1);
	expect_lost(bed, off, PAGE + 50, 'a');
	expect_lost(bed, off, PAGE + 100, 'b');
	end_held(bed, &peer);
}

static void what_a_late_client_stores_is_not_in_front_of_what_was_preallocated(void **state)
{
	struct peer peer;
	struct bed *bed = held_bed(open_bed(), &peer, PAGE + 100);
	uint64_t off = peer.fault.region_off;

	(void)state;
	assert_int_equal(touch(&peer, 2 * PAGE, true, 2 * PAGE, 4 * PAGE), 0);
	assert_int_equal(layout_fallocate(bed->inode, 0, 2 * PAGE, PAGE, &waits), 0);
	assert_int_equal(quarantined(bed), 1);
	expect_lost(bed, off, PAGE + 50, 'a');
	expect_lost(bed, off, PAGE + 150, 0);
	end_held(bed, &peer);
}

static void what_a_late_client_stores_is_not_beside_a_hole_that_is_written(void **state)
{
	struct peer peer;
	struct bed *bed = held_bed(open_bed(), &peer, 2 * PAGE);
	uint64_t off = peer.fault.region_off;

	(void)state;
	assert_int_equal(layout_fallocate(bed->inode, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					  PAGE, PAGE, &waits),
			 0);
	assert_int_equal(touch(&peer, PAGE, false, PAGE, 2 * PAGE), 0);
	expect_grant(&peer, GRANT_ZERO, PAGE, PAGE);
	put(bed, 100, 'b', PAGE);
	expect_lost(bed, off, 50, 'a');
	expect_lost(bed, off, 150, 'b');
	end_held(bed, &peer);
}

static void what_a_late_client_stores_is_not_in_what_is_copied_over_it(void **state)
{
	struct peer peer;
	struct bed *bed = held_bed(open_bed(), &peer, PAGE + 100);
	uint64_t off = peer.fault.region_off;

	(void)state;
	assert_int_equal(touch(&peer, 2 * PAGE, true, 2 * PAGE, 4 * PAGE), 0);
	assert_int_equal(file_copy(bed->inode, 0, bed->inode, PAGE + 50, PAGE, IO_MAY_WAIT), PAGE);
	expect_lost(bed, off, PAGE + 20, 'a');
	expect_lost(bed, off, PAGE + 200, 'a');
	end_held(bed, &peer);
}

static void what_a_late_client_stores_is_not_beside_what_another_ones_fault_made(void **state)
{
	struct peer peer, other;
	struct bed *bed = held_bed(open_bed(), &peer, 2 * PAGE);
	uint64_t off = peer.fault.region_off;

	(void)state;
	resize(bed, 8 * PAGE);
	assert_int_equal(touch(&peer, 4 * PAGE, false, 2 * PAGE, 8 * PAGE), 0);
	expect_grant(&peer, GRANT_ZERO, 2 * PAGE, 6 * PAGE);
	peer_attach(&other, bed, true);
	assert_int_equal(touch(&other, 4 * PAGE, true, 0, 8 * PAGE), 0);
	assert_int_equal(other.fault.kind, GRANT_WRITE);
	expect_lost(bed, off, PAGE, 'a');
	peer_detach(&other);
	end_held(bed, &peer);
}

static void what_a_late_client_stores_is_not_in_a_file_that_could_not_be_collapsed(void **state)
{
	struct peer peer;
	struct bed *bed = held_bed(open_bed(), &peer, 4 * PAGE);
	uint64_t off = peer.fault.region_off;

	(void)state;
	assert_int_equal(layout_fallocate(bed->inode, FALLOC_FL_COLLAPSE_RANGE, 0, 4 * PAGE,
					  &waits),
			 -EINVAL);
	expect_lost(bed, off, PAGE, 'a');
	end_held(bed, &peer);
}

/* Not moving what stands well already leaves it where it is held. */
static void what_a_late_client_stores_is_not_in_a_piece_that_stood_well(void **state)
{
	struct peer peer;
	struct bed *bed = held_bed(open_bed(), &peer, 2 * MIB);
	uint64_t off = peer.fault.region_off, moved;

	(void)state;
	assert_int_equal(off % (2 * MIB), 0);
	assert_int_equal(layout_relocate(bed->inode, 0, 1, &waits, &moved), 0);
	assert_int_equal(moved, 2 * MIB);
	assert_int_equal(quarantined(bed), 512);
	expect_lost(bed, off, PAGE, 'a');
	end_held(bed, &peer);
}

static uint64_t fill_volume(struct bed *bed)
{
	uint64_t at = 64 * MIB;

	assert_int_equal(layout_fallocate(bed->inode, FALLOC_FL_KEEP_SIZE, at, bed_free(bed) * PAGE,
					  &waits),
			 -ENOSPC);
	for (uint64_t n = bed_free(bed); n; n /= 2)
		while (layout_fallocate(bed->inode, FALLOC_FL_KEEP_SIZE, at, n * PAGE, &waits) == 0)
			at += n * PAGE;
	return at;
}

/* There is no room for copies: an error, and the file is as it was. */
static void what_a_late_client_holds_is_not_zeroed_without_room_for_another(void **state)
{
	struct peer peer;
	struct bed *bed = held_bed(open_bed(), &peer, 8 * PAGE);
	uint64_t off = peer.fault.region_off;

	(void)state;
	fill_volume(bed);
	assert_int_equal(layout_fallocate(bed->inode, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 0,
					  8 * PAGE, &waits),
			 -ENOSPC);
	assert_int_equal(quarantined(bed), 0);
	for (uint64_t pos = 0; pos < 8 * PAGE; pos += PAGE)
		assert_int_equal(file_byte(bed, pos), 'a');
	assert_int_equal(byte_at(bed, off), 'a');
	/* What frees blocks needs no room for them. */
	resize(bed, 0);
	end_held(bed, &peer);
}

static void what_a_late_client_stores_is_in_no_part_of_a_granule_that_was_punched(void **state)
{
	struct peer peer;
	struct bed *bed =
		held_bed(open_bed_on(region_record_new(NULL, 32 * MIB, 2 * MIB)), &peer, 2 * MIB);
	uint64_t off = peer.fault.region_off;

	(void)state;
	punch_ns(bed, 5 * PAGE);
	assert_int_equal(quarantined(bed), 512);
	expect_lost(bed, off, 0, 'a');
	expect_lost(bed, off, 6 * PAGE, 'a');
	expect_lost(bed, off, 5 * PAGE, 0);
	end_held(bed, &peer);
}

/* ---- one deadline --------------------------------------------------------------------------------- */

#define MS UINT64_C(1000000)

static struct inode *make_other(struct bed *bed, size_t len)
{
	struct cred cred = { 0 };
	struct waiter waiter = { NULL };
	struct inode *root, *other;
	char *buf = calloc(1, len);
	enum file_mode mode;

	assert_non_null(buf);
	assert_int_equal(inode_get(bed->vol, ROOT_INO, &root), 0);
	assert_int_equal(ns_create(root, "other", 5, S_IFREG | 0600, &cred, 0, 0, &other), 0);
	assert_int_equal(file_write(other, 0, buf, len, IO_MAY_WAIT), len);
	assert_int_equal(mode_open(other, MODE_WANT_UNCACHED, &waiter, &mode), 0);
	inode_put(root);
	free(buf);
	return other;
}

static void an_exchange_waits_for_one_deadline_not_for_two(void **state)
{
	struct peer peer, second = { .client.ops = &ops, .answers = NEVER };
	struct bed *bed = held_bed(open_bed(), &peer, 8 * PAGE);
	struct inode *other = make_other(bed, 8 * PAGE);
	uint64_t began;

	(void)state;
	second.sync = bed->sync;
	bed->vol->recall_timeout_ns = 300 * MS;
	assert_int_equal(attach(other, &second.client, 1, true, &second.att), 0);
	assert_int_equal(touch(&second, 0, true, 0, 8 * PAGE), 0);
	began = sync_now_ns(bed->sync);
	assert_int_equal(layout_exchange(bed->inode, 0, other, 0, 8 * PAGE, &waits), 0);
	assert_in_range(sync_now_ns(bed->sync) - began, 300 * MS, 500 * MS);
	assert_int_equal(atomic_load(&bed->vol->nlate), 2);
	assert_int_equal(quarantined(bed), 16);
	peer_detach(&second);
	mode_release(other, 0);
	inode_put(other);
	end_held(bed, &peer);
}

/* Recalls of two operations on one granule: that the first one's time is over says nothing of the other's. */
static void a_recall_is_late_by_its_own_deadline_only(void **state)
{
	struct peer peer, second;
	struct bed *bed = open_bed();
	uint64_t now;

	(void)state;
	put(bed, 0, 'a', PAGE);
	peer_attach(&peer, bed, true);
	peer_attach(&second, bed, true);
	peer.answers = second.answers = NEVER;
	now = sync_now_ns(bed->sync);
	assert_int_equal(touch(&peer, 0, true, 0, PAGE), 0);
	assert_int_equal(grant_recall(bed->inode, 0, 10, now + 50 * MS), 0);
	assert_int_equal(touch(&second, 0, true, 0, PAGE), 0);
	assert_int_equal(grant_recall(bed->inode, 20, 30, now + 5000 * MS), 0);
	grant_recall_wait(bed->inode, 0, 10, now + 50 * MS);
	assert_true(sync_now_ns(bed->sync) - now < 3000 * MS);
	assert_int_equal(atomic_load(&bed->vol->nlate), 1);
	assert_true(grant_acknowledged(second.att, second.seq));
	assert_int_equal(second.nlate, 0);
	peer_detach(&second);
	peer_detach(&peer);
	close_bed(bed);
}

static void a_relocation_stops_when_it_has_waited_for_a_deadline(void **state)
{
	struct peer peer;
	struct bed *bed =
		held_bed(open_bed_on(region_record_new(NULL, 64 * MIB, PAGE)), &peer, 8 * MIB);
	uint64_t began, moved;

	(void)state;
	bed->vol->recall_timeout_ns = 300 * MS;
	began = sync_now_ns(bed->sync);
	assert_int_equal(layout_relocate(bed->inode, 0, 8 * MIB, &waits, &moved), -ETIMEDOUT);
	assert_in_range(sync_now_ns(bed->sync) - began, 300 * MS, 590 * MS);
	assert_int_equal(moved, 2 * MIB);
	assert_int_equal(peer.nrecalls, 1);
	end_held(bed, &peer);
}

/* ---- corners ------------------------------------------------------------------------------------ */

static void a_recall_is_of_whole_granules(void **state)
{
	struct bed *bed = open_bed();
	struct peer peer;

	(void)state;
	resize(bed, 8 * PAGE);
	peer_attach(&peer, bed, false);
	assert_int_equal(touch(&peer, 0, false, 0, 8 * PAGE), 0);
	put(bed, 6 * PAGE + 50, 'b', 10);
	assert_int_equal(peer.nrecalls, 1);
	assert_int_equal(peer.pos, 6 * PAGE);
	assert_int_equal(peer.len, PAGE);
	assert_int_equal(granted(&peer, GRANT_ZERO), 7 * PAGE);
	peer_detach(&peer);
	close_bed(bed);
}

static void touch_late_in_the_page(void *arg)
{
	struct peer *peer = arg;

	assert_int_equal(touch(peer, PAGE + 100, false, 0, 4 * PAGE), 0);
}

/* A gate that ends inside a page is on all of it: else the page looked like one in two pieces. */
static void a_gate_in_a_page_is_on_the_page(void **state)
{
	struct bed *bed = open_bed();
	struct sync_thread *thread;
	struct gate gate;
	struct peer peer;
	uint64_t left;

	(void)state;
	put(bed, 0, 'a', 4 * PAGE);
	peer_attach(&peer, bed, false);
	left = bed_free(bed);
	assert_int_equal(gate_open(bed->inode, &gate, PAGE + 50, PAGE + 60, false), 0);
	assert_int_equal(
		sync_thread_start(bed->sync, "touch", touch_late_in_the_page, &peer, &thread), 0);
	usleep(50000);
	assert_int_equal(granted(&peer, GRANT_READ), 0);
	gate_end(bed->inode, &gate, false);
	sync_thread_join(thread);
	expect_grant(&peer, GRANT_READ, 0, 4 * PAGE);
	assert_int_equal(bed_free(bed), left);
	peer_detach(&peer);
	close_bed(bed);
}

static void blocks_that_a_late_client_maps_do_not_move_when_they_are_unwritten(void **state)
{
	struct bed *bed = open_bed();
	struct peer peer;

	(void)state;
	put(bed, 0, 'a', 8 * PAGE);
	peer_attach(&peer, bed, true);
	peer.answers = NEVER;
	assert_int_equal(touch(&peer, 4 * PAGE, true, 4 * PAGE, 8 * PAGE), 0);
	assert_int_equal(layout_fallocate(bed->inode, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
					  4 * PAGE, 4 * PAGE, &waits),
			 0);
	assert_int_equal(quarantined(bed), 4); /* replaced already */
	assert_int_equal(
		layout_fallocate(bed->inode, FALLOC_FL_COLLAPSE_RANGE, 0, 2 * PAGE, &waits), 0);
	assert_int_equal(quarantined(bed), 8);
	peer_detach(&peer);
	close_bed(bed);
}

static void what_was_behind_eof_is_taken_back_when_zeroes_are_put_far_behind_it(void **state)
{
	struct bed *bed = open_bed();
	struct peer peer;

	(void)state;
	put(bed, 0, 'a', PAGE);
	peer_attach(&peer, bed, true);
	assert_int_equal(touch(&peer, 2 * PAGE, false, 2 * PAGE, 3 * PAGE), 0);
	expect_grant(&peer, GRANT_BEHIND_EOF, 2 * PAGE, PAGE);
	assert_int_equal(layout_fallocate(bed->inode, FALLOC_FL_ZERO_RANGE, 8 * PAGE, PAGE, &waits),
			 0);
	assert_int_equal(peer.nrecalls, 1);
	assert_int_equal(granted(&peer, GRANT_BEHIND_EOF), 0);
	peer_detach(&peer);
	close_bed(bed);
}

/* The change goes on under the gate of another one, which would not recall this. */
static void nothing_is_granted_of_a_file_that_is_half_changed(void **state)
{
	struct bed *bed = open_bed();
	struct peer peer;

	(void)state;
	put(bed, 0, 'a', PAGE);
	peer_attach(&peer, bed, true);
	atomic_store(&bed->inode->half_changed, true);
	assert_int_equal(touch(&peer, 0, false, 0, PAGE), -EIO);
	assert_int_equal(touch(&peer, 0, true, 0, PAGE), -EIO);
	assert_int_equal(granted(&peer, GRANT_READ), 0);
	atomic_store(&bed->inode->half_changed, false);
	assert_int_equal(touch(&peer, 0, false, 0, PAGE), 0);
	peer_detach(&peer);
	close_bed(bed);
}

static void one_grant_is_of_a_gigabyte_at_most(void **state)
{
	struct bed *bed = open_bed();
	struct peer peer;

	(void)state;
	resize(bed, 8 * KIB * MIB);
	peer_attach(&peer, bed, false);
	assert_int_equal(touch(&peer, 2 * KIB * MIB, false, 0, 8 * KIB * MIB), 0);
	expect_grant(&peer, GRANT_ZERO, 2 * KIB * MIB, KIB * MIB);
	peer_detach(&peer);
	close_bed(bed);
}

static void a_volume_that_is_read_only_is_not_stored_to(void **state)
{
	struct bed *bed = open_bed();
	struct peer peer;
	unsigned char *image;

	(void)state;
	put(bed, 0, 'a', PAGE);
	resize(bed, 10);
	peer_attach(&peer, bed, false);
	assert_int_equal(touch(&peer, 0, false, 0, PAGE), 0);
	bed_store(bed, peer.fault.region_off + 100, "behind", 6);
	image = bed_image(bed);
	bed->vol->read_only = true;
	assert_int_equal(touch(&peer, 0, false, 0, PAGE), 0);
	bed_assert_image(bed, image);
	bed->vol->read_only = false;
	free(image);
	peer_detach(&peer);
	close_bed(bed);
}

static void who_may_not_wait_does_not_wait_for_a_fill(void **state)
{
	struct bed *bed = open_bed();
	struct peer peer;
	struct fill fill;

	(void)state;
	resize(bed, 8 * PAGE);
	peer_attach(&peer, bed, false);
	assert_int_equal(fill_begin(bed->inode, &fill, 0, PAGE, false, false), 0);
	peer.fault = (struct fault){ .att = peer.att, .end = PAGE, .granted = on_granted };
	assert_int_equal(fault_serve(&peer.fault), -EAGAIN);
	fill_end(bed->inode, &fill);
	assert_int_equal(touch(&peer, 0, false, 0, PAGE), 0);
	peer_detach(&peer);
	close_bed(bed);
}

static void nobody_waits_for_what_was_abandoned(void **state)
{
	struct bed *bed = open_bed();
	struct peer peer;

	(void)state;
	put(bed, 0, 'a', 8 * PAGE);
	peer_attach(&peer, bed, true);
	peer.answers = NEVER;
	assert_int_equal(touch(&peer, 0, true, 0, 8 * PAGE), 0);
	grant_abandon(peer.att);
	resize(bed, 0);
	assert_int_equal(peer.nrecalls, 0);
	assert_int_equal(atomic_load(&bed->vol->nlate), 0);
	assert_int_equal(touch(&peer, 0, false, 0, PAGE), -ECONNRESET);
	peer_detach(&peer);
	close_bed(bed);
}

/* ---- granules of 2 MiB ------------------------------------------------------------------------------ */

static struct bed *open_huge_bed(void)
{
	return open_bed_on(region_record_new(NULL, 32 * MIB, 2 * MIB));
}

static void a_piece_of_a_granule_takes_back_all_of_it(void **state)
{
	struct bed *bed = open_huge_bed();
	struct peer peer;

	(void)state;
	put(bed, 0, 'a', 2 * MIB);
	peer_attach(&peer, bed, true);
	assert_int_equal(touch(&peer, 0, true, 0, 2 * MIB), 0);
	expect_grant(&peer, GRANT_WRITE, 0, 2 * MIB);
	assert_int_equal(peer.fault.region_off % (2 * MIB), 0);
	punch_ns(bed, 5 * PAGE);
	assert_int_equal(peer.pos, 0);
	assert_int_equal(peer.len, 2 * MIB);
	assert_int_equal(granted(&peer, GRANT_WRITE), 0);
	peer_join(&peer);
	/* A granule with a hole in it is put together. */
	assert_int_equal(touch(&peer, 7 * PAGE, false, 0, 2 * MIB), 0);
	expect_grant(&peer, GRANT_READ, 0, 2 * MIB);
	assert_int_equal(byte_at(bed, peer.fault.region_off + 4 * PAGE), 'a');
	assert_int_equal(byte_at(bed, peer.fault.region_off + 5 * PAGE), 0);
	assert_int_equal(byte_at(bed, peer.fault.region_off + 6 * PAGE), 'a');
	peer_detach(&peer);
	close_bed(bed);
}

static void expect_zeroes(struct bed *bed, uint64_t pos, uint64_t end)
{
	struct read_plan plan;

	while (pos < end) {
		assert_int_equal(file_read_begin(bed->inode, pos, end - pos, IO_UNCACHED, &plan),
				 0);
		assert_true(plan.bytes > 0);
		pos += plan.bytes;
		for (unsigned i = 0; i < plan.npieces; i++)
			for (size_t at = 0; at < plan.pieces[i].iov_len; at++)
				assert_int_equal(((const char *)plan.pieces[i].iov_base)[at], 0);
		file_read_end(bed->inode, &plan);
	}
}

/* SIGBUS comes at the end of the granule only; what was stored behind EOF is still not the file's. */
static void what_was_stored_behind_eof_never_becomes_the_files(void **state)
{
	struct bed *bed = open_huge_bed();
	struct peer peer;
	uint64_t off;

	(void)state;
	put(bed, 0, 'a', 10);
	peer_attach(&peer, bed, true);
	assert_int_equal(touch(&peer, 0, true, 0, 2 * MIB), 0);
	off = peer.fault.region_off;
	for (uint64_t at = PAGE; at < 2 * MIB; at += PAGE)
		bed_store(bed, off + at, "behind", 6);
	resize(bed, 10 * PAGE + 3);
	expect_zeroes(bed, 10, 10 * PAGE + 3);
	put(bed, 20 * PAGE + 5, 'b', PAGE);
	expect_zeroes(bed, 10, 20 * PAGE + 5);
	assert_int_equal(layout_fallocate(bed->inode, 0, 30 * PAGE, PAGE, &waits), 0);
	expect_zeroes(bed, 21 * PAGE + 5, 31 * PAGE);
	peer_detach(&peer);
	close_bed(bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_read_fault_maps_what_is_written_and_no_more),
		cmocka_unit_test(a_read_fault_on_a_hole_allocates_nothing),
		cmocka_unit_test(a_write_fault_makes_zeroed_blocks_up_to_eof),
		cmocka_unit_test(a_touch_in_a_large_hole_costs_little),
		cmocka_unit_test(what_two_write_faults_make_is_zeroed_once),
		cmocka_unit_test(a_touch_behind_eof_is_told_so),
		cmocka_unit_test(bytes_behind_eof_in_the_last_page_are_zero),
		cmocka_unit_test(who_attached_for_reading_is_not_let_write),
		cmocka_unit_test(a_load_before_stores_is_granted_for_them_where_it_is_written),
		cmocka_unit_test(a_file_in_cached_mode_is_not_attached),
		cmocka_unit_test(a_client_keeps_its_file_uncached),
		cmocka_unit_test(nothing_is_granted_to_one_who_is_gone),
		cmocka_unit_test(a_punch_takes_back_what_it_frees_and_no_more),
		cmocka_unit_test(whoever_may_not_wait_recalls_nobody),
		cmocka_unit_test(zeroes_are_taken_back_when_somebody_writes_there),
		cmocka_unit_test(a_write_that_may_not_wait_says_so_and_does_nothing),
		cmocka_unit_test(what_was_behind_eof_is_taken_back_when_the_file_grows),
		cmocka_unit_test(an_acknowledgement_of_nothing_is_a_lie),
		cmocka_unit_test(what_a_client_stores_is_durable_after_fsync),
		cmocka_unit_test(what_a_client_stored_is_durable_when_it_goes_to_another_file),
		cmocka_unit_test(each_open_file_learns_once_that_stores_were_lost),
		cmocka_unit_test(
			stores_that_were_lost_are_told_to_who_opens_the_file_before_anybody_knows),
		cmocka_unit_test(stores_are_not_durable_before_they_are),
		cmocka_unit_test(what_a_late_client_maps_is_not_used_again),
		cmocka_unit_test(blocks_that_a_late_client_maps_do_not_move),
		cmocka_unit_test(nobody_waits_longer_than_the_deadline),
		cmocka_unit_test(what_a_late_client_stores_is_not_in_a_range_that_was_zeroed),
		cmocka_unit_test(what_a_late_client_stores_is_not_at_the_edges_of_a_punch),
		cmocka_unit_test(what_a_late_client_stores_is_not_in_the_last_page_after_truncate),
		cmocka_unit_test(what_a_late_client_stores_is_not_in_a_file_whose_size_was_set_up),
		cmocka_unit_test(what_a_late_client_stores_is_not_in_front_of_an_append),
		cmocka_unit_test(
			what_a_late_client_stores_is_not_in_front_of_what_was_preallocated),
		cmocka_unit_test(what_a_late_client_stores_is_not_beside_a_hole_that_is_written),
		cmocka_unit_test(what_a_late_client_stores_is_not_in_what_is_copied_over_it),
		cmocka_unit_test(
			what_a_late_client_stores_is_not_beside_what_another_ones_fault_made),
		cmocka_unit_test(
			what_a_late_client_stores_is_not_in_a_file_that_could_not_be_collapsed),
		cmocka_unit_test(what_a_late_client_stores_is_not_in_a_piece_that_stood_well),
		cmocka_unit_test(what_a_late_client_holds_is_not_zeroed_without_room_for_another),
		cmocka_unit_test(
			what_a_late_client_stores_is_in_no_part_of_a_granule_that_was_punched),
		cmocka_unit_test(an_exchange_waits_for_one_deadline_not_for_two),
		cmocka_unit_test(a_recall_is_late_by_its_own_deadline_only),
		cmocka_unit_test(a_relocation_stops_when_it_has_waited_for_a_deadline),
		cmocka_unit_test(a_recall_is_of_whole_granules),
		cmocka_unit_test(a_gate_in_a_page_is_on_the_page),
		cmocka_unit_test(
			blocks_that_a_late_client_maps_do_not_move_when_they_are_unwritten),
		cmocka_unit_test(
			what_was_behind_eof_is_taken_back_when_zeroes_are_put_far_behind_it),
		cmocka_unit_test(nothing_is_granted_of_a_file_that_is_half_changed),
		cmocka_unit_test(one_grant_is_of_a_gigabyte_at_most),
		cmocka_unit_test(a_volume_that_is_read_only_is_not_stored_to),
		cmocka_unit_test(who_may_not_wait_does_not_wait_for_a_fill),
		cmocka_unit_test(nobody_waits_for_what_was_abandoned),
		cmocka_unit_test(a_piece_of_a_granule_takes_back_all_of_it),
		cmocka_unit_test(what_was_stored_behind_eof_never_becomes_the_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
