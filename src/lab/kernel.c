/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * kernel.c - see kernel.h.
 *
 * A folio's object stands for the folio, the page table entries that lead to it, and its place in the
 * cache; a step that looks at any of these or changes it has come to a point for it.
 */
#include "kernel.h"

#include <errno.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>

#include "frontend.h"

#define NAME 48

static struct folio *folio_of(struct world *w, unsigned file, unsigned page)
{
	return &w->files[file].folios[page];
}

static void lock_folio(struct world *w, unsigned file, unsigned page)
{
	char what[NAME];

	snprintf(what, sizeof(what), "folio %s[%u]", file_name(w, file), page);
	klock_excl(w->sched, &folio_of(w, file, page)->lock, what);
}

static void unlock_folio(struct world *w, unsigned file, unsigned page)
{
	klock_unexcl(w->sched, &folio_of(w, file, page)->lock);
}

static void lock_rwsem(struct world *w, unsigned file)
{
	char what[NAME];

	snprintf(what, sizeof(what), "i_rwsem %s", file_name(w, file));
	klock_excl(w->sched, &w->files[file].i_rwsem, what);
}

static void unlock_rwsem(struct world *w, unsigned file)
{
	klock_unexcl(w->sched, &w->files[file].i_rwsem);
}

static unsigned page_of(unsigned cell)
{
	return cell / PAGE_CELLS;
}

static unsigned pages_of(unsigned cells)
{
	return (cells + PAGE_CELLS - 1) / PAGE_CELLS;
}

/* Requests of the page cache, if the file is in cached mode; else they go past it. */
static bool is_cached(const struct process *p, unsigned file)
{
	return p->handles[file].mode == MODE_CACHED;
}

/* ---- page tables ----------------------------------------------------------------------------------- */

static void unmap(struct world *w, unsigned file, unsigned page)
{
	for (unsigned i = 0; i < w->scenario->nprocesses; i++)
		w->processes[i].kernel_ptes[file][page].kind = PTE_NONE;
}

static void write_protect(struct world *w, unsigned file, unsigned page)
{
	for (unsigned i = 0; i < w->scenario->nprocesses; i++) {
		struct pte *pte = &w->processes[i].kernel_ptes[file][page];

		if (pte->kind == PTE_WRITE)
			pte->kind = PTE_READ;
	}
}

/* ---- folios ---------------------------------------------------------------------------------------- */

static bool is_written_back(void *arg)
{
	return !((struct folio *)arg)->writeback;
}

static void wait_writeback(struct world *w, struct folio *folio)
{
	sched_wait(w->sched, is_written_back, folio, &folio->object, ACCESS_WRITE, UINT64_MAX,
		   "the end of writeback", NULL);
}

/* The folio is locked. Returns 0, or why it cannot be read. */
static int fill_folio(struct world *w, unsigned file, unsigned page)
{
	struct folio *folio = folio_of(w, file, page);
	unsigned first = page * PAGE_CELLS;
	uint64_t cells[PAGE_CELLS];
	int n;

	folio->present = true;
	if (folio->uptodate)
		return 0;
	sched_log(w->sched, TRACE_KERNEL, NULL, "FUSE_READ %s[%u]", file_name(w, file), page);
	n = front_read(w, file, first, first + PAGE_CELLS, ADMIT_FILL, cells);
	sched_point(w->sched, &folio->object, ACCESS_WRITE);
	if (n < 0) {
		folio->present = false;
		return n;
	}
	memcpy(folio->cells, cells, sizeof(cells));
	folio->uptodate = true;
	return 0;
}

static void remove_folio(struct world *w, unsigned file, unsigned page)
{
	struct folio *folio = folio_of(w, file, page);

	sched_touch(w->sched, &folio->object, ACCESS_WRITE);
	unmap(w, file, page);
	folio->present = folio->uptodate = folio->dirty = folio->failed = false;
	folio->instance++;
	memset(folio->cells, 0, sizeof(folio->cells));
}

/*
 * A folio could not be written back: it stays, clean, and the next fsync(2) of each handle will tell, or the
 * next call that flushes. What was stored there is lost as soon as the folio is.
 */
static void writeback_failed(struct world *w, unsigned file, unsigned page, int err)
{
	struct kfile *kf = &w->files[file];
	struct history *h = &w->history;

	sched_touch(w->sched, &kf->object, ACCESS_WRITE);
	kf->failure = kf->unheeded = err;
	kf->nfailures++;
	kf->told = false;
	folio_of(w, file, page)->failed = true;
	for (unsigned i = 0; i < h->nevents; i++)
		if (h->events[i].kind == EVENT_STORE && h->events[i].file == file &&
		    page_of(h->events[i].cell) == page)
			h->events[i].optional = true;
}

/* Send a dirty folio's content. It is not locked, or it is and nobody needs it (a notify). */
static int send_folio(struct world *w, unsigned file, unsigned page, const uint64_t *cells)
{
	struct kfile *kf = &w->files[file];
	unsigned first = page * PAGE_CELLS, end = first + PAGE_CELLS;
	int n;

	sched_touch(w->sched, &kf->object, ACCESS_READ);
	if (end > kf->size_cells)
		end = kf->size_cells;
	if (first >= end)
		return 0;
	sched_log(w->sched, TRACE_KERNEL, NULL, "FUSE_WRITE of %s[%u], written back",
		  file_name(w, file), page);
	n = front_write(w, file, first, end, ADMIT_WRITEBACK, false, cells, NULL);
	if (n < 0)
		writeback_failed(w, file, page, n);
	return n < 0 ? n : 0;
}

static bool may_write_back(void *arg)
{
	return !((struct kfile *)arg)->nowrite;
}

/* It is sent as soon as no SETATTR has stopped that. */
static int send_when_allowed(struct world *w, unsigned file, unsigned page, const uint64_t *cells)
{
	struct kfile *kf = &w->files[file];
	int err;

	sched_wait(w->sched, may_write_back, kf, &kf->object, ACCESS_WRITE, UINT64_MAX,
		   "the end of a SETATTR, which has stopped writeback", NULL);
	kf->nwriteback++;
	err = send_folio(w, file, page, cells);
	sched_point(w->sched, &kf->object, ACCESS_WRITE);
	kf->nwriteback--;
	return err;
}

static void write_back(struct world *w, unsigned file, unsigned page)
{
	struct folio *folio = folio_of(w, file, page);
	uint64_t cells[PAGE_CELLS];

	/* It is found by its tag: one that is clean is not even locked. */
	sched_point(w->sched, &folio->object, ACCESS_READ);
	if (!folio->dirty)
		return;
	lock_folio(w, file, page);
	wait_writeback(w, folio);
	if (!folio->present || !folio->dirty) {
		unlock_folio(w, file, page);
		return;
	}
	folio->dirty = false;
	write_protect(w, file, page);
	folio->writeback = true;
	memcpy(cells, folio->cells, sizeof(cells));
	unlock_folio(w, file, page);
	send_when_allowed(w, file, page, cells);
	sched_touch(w->sched, &folio->object, ACCESS_WRITE);
	folio->writeback = false;
}

/* filemap_write_and_wait_range(), to LLONG_MAX where @end is FILE_CELLS: tells of what has failed since somebody was told, whoever wrote it back. */
static int flush(struct world *w, unsigned file, unsigned first, unsigned end)
{
	struct kfile *kf = &w->files[file];
	int err;

	sched_touch(w->sched, &kf->object, ACCESS_READ);
	if (end > kf->size_cells)
		end = kf->size_cells;
	for (unsigned page = page_of(first); page < pages_of(end); page++) {
		write_back(w, file, page);
		wait_writeback(w, folio_of(w, file, page));
	}
	err = kf->unheeded;
	sched_touch(w->sched, &kf->object, err ? ACCESS_WRITE : ACCESS_READ);
	kf->unheeded = 0;
	return err;
}

/* truncate_pagecache_range(): whole folios go, of those at the edges the range is cleared. */
static void truncate_cache(struct world *w, unsigned file, unsigned first, unsigned end)
{
	for (unsigned page = page_of(first); page < pages_of(end) && page < SCENARIO_MAX_PAGES;
	     page++) {
		struct folio *folio = folio_of(w, file, page);
		unsigned begin = page * PAGE_CELLS;

		lock_folio(w, file, page);
		wait_writeback(w, folio);
		if (first <= begin && begin + PAGE_CELLS <= end) {
			remove_folio(w, file, page);
		} else {
			for (unsigned i = 0; i < PAGE_CELLS; i++)
				if (begin + i >= first && begin + i < end)
					folio->cells[i] = 0;
			sched_touch(w->sched, &folio->object, ACCESS_WRITE);
			/* It is unmapped as well, so that the next store makes it dirty again. */
			unmap(w, file, page);
		}
		sched_log(w->sched, TRACE_KERNEL, NULL, "truncates its cache of %s[%u]",
			  file_name(w, file), page);
		unlock_folio(w, file, page);
	}
}

/* invalidate_inode_pages2_range(): launders what is dirty. What comes of that is not told; we return it. */
static int invalidate_cache(struct world *w, unsigned file, unsigned page, unsigned end)
{
	int err = 0;

	for (; page < end && page < SCENARIO_MAX_PAGES; page++) {
		struct folio *folio = folio_of(w, file, page);

		sched_point(w->sched, &folio->object, ACCESS_READ);
		if (!folio->present)
			continue;
		lock_folio(w, file, page);
		wait_writeback(w, folio);
		unmap(w, file, page);
		if (folio->present && folio->dirty) {
			uint64_t cells[PAGE_CELLS];

			memcpy(cells, folio->cells, sizeof(cells));
			folio->dirty = false;
			err |= send_when_allowed(w, file, page, cells);
			sched_touch(w->sched, &folio->object, ACCESS_WRITE);
		}
		if (!folio->dirty)
			remove_folio(w, file, page);
		unlock_folio(w, file, page);
	}
	return err;
}

void kernel_notify(struct world *w, unsigned file, uint64_t pos, uint64_t len)
{
	unsigned first = (unsigned)(pos / BLOCK_BYTES);
	unsigned end = len && pos + len < UINT64_C(1) << 40
			       ? (unsigned)((pos + len + BLOCK_BYTES - 1) / BLOCK_BYTES)
			       : SCENARIO_MAX_PAGES;

	sched_log(w->sched, TRACE_KERNEL, NULL, "notify: invalidates %s[%u..%u)",
		  file_name(w, file), first, end);
	if (invalidate_cache(w, file, first, end) && w->sched->current)
		w->launder_failed |= UINT32_C(1) << w->sched->current->id;
}

/* ---- faults ---------------------------------------------------------------------------------------- */

static void lock_mmap(struct process *p)
{
	char what[NAME];

	snprintf(what, sizeof(what), "mmap_lock of %s", p->name);
	klock_shared(p->w->sched, &p->mmap_lock, what);
}

/* i_size, in pages: of this moment. */
static unsigned size_now(struct world *w, unsigned file)
{
	sched_touch(w->sched, &w->files[file].object, ACCESS_READ);
	return pages_of(w->files[file].size_cells);
}

/* With the folio locked: whoever truncates has to wait for that, so EOF is looked at once more. */
static bool map_folio(struct process *p, unsigned file, unsigned page, bool write)
{
	struct world *w = p->w;
	struct folio *folio = folio_of(w, file, page);
	struct pte *pte = &p->kernel_ptes[file][page];

	if (page >= size_now(w, file) || fill_folio(w, file, page) || page >= size_now(w, file))
		return false;
	if (write)
		wait_writeback(w, folio);
	sched_point(w->sched, &folio->object, ACCESS_WRITE);
	if (write) {
		pte->kind = PTE_WRITE;
		folio->dirty = true;
	} else if (pte->kind == PTE_NONE) {
		pte->kind = PTE_READ;
	}
	sched_log(w->sched, TRACE_KERNEL, NULL, "%s maps %s[%u]%s", p->name, file_name(w, file),
		  page, write ? ", writable" : "");
	return true;
}

static bool fault(struct process *p, unsigned file, unsigned page, bool write)
{
	struct world *w = p->w;
	bool there;

	lock_mmap(p);
	there = page < size_now(w, file);
	if (there) {
		lock_folio(w, file, page);
		there = map_folio(p, file, page, write);
		unlock_folio(w, file, page);
	}
	klock_unshared(w->sched, &p->mmap_lock);
	return there;
}

bool kernel_load(struct process *p, unsigned file, unsigned cell, uint64_t *ret_value)
{
	struct world *w = p->w;
	struct folio *folio = folio_of(w, file, page_of(cell));

	for (;;) {
		sched_point(w->sched, &folio->object, ACCESS_READ);
		if (p->kernel_ptes[file][page_of(cell)].kind != PTE_NONE) {
			*ret_value = folio->cells[cell % PAGE_CELLS];
			return true;
		}
		if (!fault(p, file, page_of(cell), false))
			return false;
	}
}

bool kernel_store(struct process *p, unsigned file, unsigned cell, uint64_t value)
{
	struct world *w = p->w;
	struct folio *folio = folio_of(w, file, page_of(cell));

	if (!is_cached(p, file))
		return false; /* MAP_SHARED is ENODEV there */
	for (;;) {
		sched_point(w->sched, &folio->object, ACCESS_WRITE);
		if (p->kernel_ptes[file][page_of(cell)].kind == PTE_WRITE) {
			folio->cells[cell % PAGE_CELLS] = value;
			folio->dirty = true;
			return true;
		}
		if (!fault(p, file, page_of(cell), true))
			return false;
	}
}

/* ---- opening --------------------------------------------------------------------------------------- */

static bool is_open(const struct world *w, unsigned file)
{
	for (unsigned i = 0; i < w->scenario->nprocesses; i++)
		if (w->processes[i].handles[file].open)
			return true;
	return false;
}

int kernel_open(struct process *p, unsigned file, bool direct, bool read_only)
{
	struct world *w = p->w;
	struct kfile *kf = &w->files[file];
	bool first = !is_open(w, file);
	int err = front_open(p, file, direct, read_only);

	/* Who opens it now is told what nobody was told yet. */
	if (!err)
		p->handles[file].nfailures = kf->nfailures - (kf->nfailures && !kf->told);
	if (!err && w->scenario->without & WITHOUT_KEEP_CACHE && is_cached(p, file))
		invalidate_cache(w, file, 0, SCENARIO_MAX_PAGES);
	/* Nobody but it changes the size of a file in cached mode; else it asks. */
	if (err || (!first && p->handles[file].mode == MODE_CACHED))
		return err;
	kf->size_cells = front_size(w, file);
	sched_touch(w->sched, &kf->object, ACCESS_WRITE);
	return 0;
}

int kernel_close(struct process *p, unsigned file)
{
	struct world *w = p->w;

	if (!p->handles[file].open)
		return -EBADF;
	for (unsigned page = 0; page < SCENARIO_MAX_PAGES; page++) {
		sched_touch(w->sched, &folio_of(w, file, page)->object, ACCESS_WRITE);
		p->kernel_ptes[file][page].kind = PTE_NONE;
	}
	if (is_cached(p, file) && !p->handles[file].read_only)
		flush(w, file, 0, w->files[file].size_cells);
	front_release(p, file);
	return 0;
}

void kernel_exit(struct process *p)
{
	for (unsigned file = 0; file < p->w->scenario->nfiles; file++)
		if (p->handles[file].open)
			kernel_close(p, file);
}

/* ---- read(2) --------------------------------------------------------------------------------------- */

static int read_page(struct world *w, unsigned file, unsigned page, uint64_t *ret_cells)
{
	struct folio *folio = folio_of(w, file, page);
	unsigned instance;
	int err;

	lock_folio(w, file, page);
	err = fill_folio(w, file, page);
	instance = folio->instance;
	memcpy(ret_cells, folio->cells, sizeof(folio->cells));
	unlock_folio(w, file, page);
	if (err)
		return err;
	/* It is copied without the lock. What has left the cache meanwhile does not change any more. */
	sched_point(w->sched, &folio->object, ACCESS_READ);
	if (folio->instance == instance)
		memcpy(ret_cells, folio->cells, sizeof(folio->cells));
	return 0;
}

static int read_cached(struct world *w, unsigned file, unsigned first, unsigned end,
		       uint64_t *ret_cells)
{
	const struct kfile *kf = &w->files[file];

	for (unsigned page = page_of(first); page < pages_of(end); page++) {
		uint64_t cells[PAGE_CELLS];
		struct folio *folio = folio_of(w, file, page);

		sched_point(w->sched, &folio->object, ACCESS_READ);
		if (folio->present && folio->uptodate) {
			memcpy(cells, folio->cells, sizeof(cells));
		} else {
			int err = read_page(w, file, page, cells);

			if (err)
				return err;
		}
		/* As filemap_read(): EOF of the moment in which the folio is copied. */
		sched_touch(w->sched, &w->files[file].object, ACCESS_READ);
		if (end > kf->size_cells)
			end = kf->size_cells;
		for (unsigned i = 0; i < PAGE_CELLS; i++)
			if (page * PAGE_CELLS + i >= first && page * PAGE_CELLS + i < end)
				ret_cells[page * PAGE_CELLS + i - first] = cells[i];
	}
	return end > first ? (int)(end - first) : 0;
}

int kernel_read(struct process *p, unsigned file, unsigned first, unsigned end, bool direct,
		uint64_t *ret_cells)
{
	struct world *w = p->w;
	struct kfile *kf = &w->files[file];
	int err;

	if (!is_cached(p, file))
		return front_read(w, file, first, end, ADMIT_UNCACHED, ret_cells);
	sched_point(w->sched, &kf->object, ACCESS_READ);
	if (first >= kf->size_cells)
		return 0;
	if (end > kf->size_cells)
		end = kf->size_cells;
	if (!direct)
		return read_cached(w, file, first, end, ret_cells);
	err = flush(w, file, first, end);
	if (err)
		return err;
	return front_read(w, file, first, end, ADMIT_DIRECT_READ, ret_cells);
}

void kernel_readahead(struct process *p, unsigned file, unsigned first, unsigned end)
{
	struct world *w = p->w;
	bool faults = !is_cached(p, file);

	if (faults)
		lock_mmap(p);
	for (unsigned page = page_of(first); page < pages_of(end); page++) {
		lock_folio(w, file, page);
		if (page < size_now(w, file))
			fill_folio(w, file, page);
		unlock_folio(w, file, page);
	}
	if (faults)
		klock_unshared(w->sched, &p->mmap_lock);
}

void kernel_writeback(struct world *w, unsigned file, unsigned first, unsigned end)
{
	for (unsigned page = page_of(first); page < pages_of(end); page++)
		write_back(w, file, page);
}

void kernel_drop(struct world *w, unsigned file, unsigned first, unsigned end)
{
	for (unsigned page = page_of(first); page < pages_of(end); page++) {
		struct folio *folio = folio_of(w, file, page);

		if (!klock_try_excl(w->sched, &folio->lock))
			continue;
		if (!folio->dirty && !folio->writeback)
			remove_folio(w, file, page);
		sched_touch(w->sched, &folio->object, ACCESS_WRITE);
		unlock_folio(w, file, page);
	}
}

/* ---- write(2) -------------------------------------------------------------------------------------- */

static void grew(struct world *w, unsigned file, unsigned end)
{
	struct kfile *kf = &w->files[file];

	sched_touch(w->sched, &kf->object, ACCESS_WRITE);
	if (end > kf->size_cells)
		kf->size_cells = end;
}

/*
 * One page of fuse_perform_write(): the folio is in the cache, and unlocked, before the request is sent.
 * Only one that is not up to date, and written to in part, stays locked until the reply.
 */
static int write_page(struct world *w, unsigned file, unsigned first, unsigned end,
		      const uint64_t *cells)
{
	unsigned page = page_of(first);
	struct folio *folio = folio_of(w, file, page);
	bool whole = end - first == PAGE_CELLS, locked;
	int n;

	lock_folio(w, file, page);
	wait_writeback(w, folio);
	folio->present = true;
	for (unsigned cell = first; cell < end; cell++)
		folio->cells[cell % PAGE_CELLS] = cells[cell - first];
	folio->uptodate |= whole;
	sched_touch(w->sched, &folio->object, ACCESS_WRITE);
	locked = !folio->uptodate;
	if (!locked)
		unlock_folio(w, file, page);
	sched_log(w->sched, TRACE_KERNEL, NULL, "FUSE_WRITE %s[%u]", file_name(w, file), page);
	n = front_write(w, file, first, end, ADMIT_WRITE, false, cells, folio);
	sched_point(w->sched, &folio->object, ACCESS_WRITE);
	if (n < 0)
		folio->uptodate = false;
	else
		grew(w, file, first + (unsigned)n);
	if (locked)
		unlock_folio(w, file, page);
	return n;
}

static int write_cached(struct world *w, unsigned file, unsigned first, unsigned end,
			const uint64_t *cells)
{
	int done = 0;

	for (unsigned at = first; at < end;) {
		unsigned stop = (page_of(at) + 1) * PAGE_CELLS;
		int n = write_page(w, file, at, stop < end ? stop : end, cells + (at - first));

		if (n <= 0)
			return done ? done : n;
		done += n;
		at += (unsigned)n;
	}
	return done;
}

static int write_direct(struct world *w, unsigned file, unsigned first, unsigned end,
			const uint64_t *cells)
{
	int n = flush(w, file, first, end);

	if (n)
		return n;
	invalidate_cache(w, file, page_of(first), pages_of(end));
	n = front_write(w, file, first, end, ADMIT_WRITE, false, cells, NULL);
	if (n > 0)
		grew(w, file, first + (unsigned)n);
	invalidate_cache(w, file, page_of(first), pages_of(end));
	return n;
}

/* Private views may have copies. i_rwsem was taken in this step, so a look at what is there is no point. */
static int write_uncached(struct world *w, unsigned file, unsigned first, unsigned end, bool append,
			  const uint64_t *cells)
{
	for (unsigned page = page_of(first); page < pages_of(end); page++) {
		sched_touch(w->sched, &folio_of(w, file, page)->object, ACCESS_READ);
		if (folio_of(w, file, page)->present)
			invalidate_cache(w, file, page, page + 1);
	}
	return front_write(w, file, first, end, ADMIT_UNCACHED, append, cells, NULL);
}

int kernel_write(struct process *p, unsigned file, unsigned first, unsigned end, bool direct,
		 bool append, const uint64_t *cells)
{
	struct world *w = p->w;
	int n;

	lock_rwsem(w, file);
	if (append) {
		end = w->files[file].size_cells + (end - first);
		first = w->files[file].size_cells;
	}
	if (!is_cached(p, file))
		n = write_uncached(w, file, first, end, append, cells);
	else if (direct)
		n = write_direct(w, file, first, end, cells);
	else
		n = write_cached(w, file, first, end, cells);
	if (n > 0 && !append && !is_cached(p, file))
		grew(w, file, first + (unsigned)n);
	unlock_rwsem(w, file);
	return n;
}

/* ---- truncate, fallocate ---------------------------------------------------------------------------- */

static bool no_writeback(void *arg)
{
	return !((struct kfile *)arg)->nwriteback;
}

int kernel_truncate(struct process *p, unsigned file, unsigned cells)
{
	struct world *w = p->w;
	struct kfile *kf = &w->files[file];
	bool cached = is_cached(p, file);
	int err;

	lock_rwsem(w, file);
	sched_point(w->sched, &kf->object, ACCESS_WRITE);
	kf->nowrite = true;
	sched_wait(w->sched, no_writeback, kf, &kf->object, ACCESS_WRITE, UINT64_MAX,
		   "writeback under way", NULL);
	err = front_truncate(w, file, cells);
	sched_point(w->sched, &kf->object, ACCESS_WRITE);
	if (!err)
		kf->size_cells = cells;
	kf->nowrite = false;
	if (!err && cached) {
		truncate_cache(w, file, cells, FILE_CELLS);
		invalidate_cache(w, file, 0, SCENARIO_MAX_PAGES);
	}
	unlock_rwsem(w, file);
	return err;
}

int kernel_fallocate(struct process *p, unsigned file, int mode, unsigned first, unsigned end)
{
	struct world *w = p->w;
	bool clears = mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE);
	bool cached = is_cached(p, file);
	int err = 0;

	lock_rwsem(w, file);
	if (clears && cached)
		err = flush(w, file, first, FILE_CELLS);
	if (!err)
		err = front_fallocate(w, file, mode, first, end);
	if (!err && !(mode & FALLOC_FL_KEEP_SIZE))
		grew(w, file, end);
	if (!err && clears && cached)
		truncate_cache(w, file, first, end);
	unlock_rwsem(w, file);
	return err;
}

/* ---- the rest --------------------------------------------------------------------------------------- */

/* The kernel copies by itself, through its cache, where the daemon does not want to. */
static int copy_by_hand(struct process *p, unsigned file, unsigned first, unsigned end,
			unsigned other, unsigned other_first)
{
	uint64_t cells[FILE_CELLS];
	int n = kernel_read(p, file, first, end, false, cells);

	if (n <= 0)
		return n;
	return kernel_write(p, other, other_first, other_first + (unsigned)n, false, false, cells);
}

int kernel_copy(struct process *p, unsigned file, unsigned first, unsigned end, unsigned other,
		unsigned other_first)
{
	struct world *w = p->w;
	unsigned other_end = other_first + (end - first);
	int n;

	lock_rwsem(w, other);
	n = flush(w, file, first, FILE_CELLS);
	if (!n)
		n = flush(w, other, other_first, FILE_CELLS);
	if (!n)
		n = front_copy(w, file, first, end, other, other_first);
	if (n > 0) {
		grew(w, other, other_first + (unsigned)n / CELL_BYTES);
		truncate_cache(w, other, other_first, other_end);
	}
	unlock_rwsem(w, other);
	return n == -EOPNOTSUPP ? copy_by_hand(p, file, first, end, other, other_first) : n;
}

/* Of each failure each handle is told once. */
static int tell_failure(struct process *p, unsigned file)
{
	struct kfile *kf = &p->w->files[file];
	struct handle *handle = &p->handles[file];

	sched_touch(p->w->sched, &kf->object, ACCESS_READ);
	if (handle->nfailures == kf->nfailures)
		return 0;
	sched_touch(p->w->sched, &kf->object, ACCESS_WRITE);
	handle->nfailures = kf->nfailures;
	kf->told = true;
	return kf->failure;
}

int kernel_fsync(struct process *p, unsigned file)
{
	int err = 0, result;

	if (is_cached(p, file)) {
		flush(p->w, file, 0, p->w->files[file].size_cells);
		err = tell_failure(p, file);
	}
	result = front_fsync(p, file);
	return err ? err : result;
}

int kernel_seek(struct process *p, unsigned file, unsigned first, unsigned *ret_cell)
{
	int err;

	lock_rwsem(p->w, file);
	err = front_seek(p->w, file, first, ret_cell);
	unlock_rwsem(p->w, file);
	return err;
}
