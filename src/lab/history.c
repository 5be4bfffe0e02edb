/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * history.c - see history.h. The search for an order goes depth first: whoever could be next, applied to
 * a copy of the state. Threads are few and operations short, so it is small; where no cells move, it is
 * done for each cell alone.
 */
#include "history.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

unsigned history_begin(struct history *h, const struct event *event)
{
	struct event *new = &h->events[h->nevents];

	if (h->nevents == HISTORY_MAX)
		return HISTORY_MAX;
	*new = *event;
	new->begin = ++h->time;
	new->over = FOR_EVER;
	h->moves |= event->kind >= EVENT_COLLAPSE || event->kind == EVENT_APPEND;
	return h->nevents++;
}

void history_end(struct history *h, unsigned number)
{
	if (number < h->nevents)
		h->events[number].over = ++h->time;
}

void history_drop(struct history *h, unsigned number)
{
	if (number >= h->nevents)
		return;
	/* As a read that saw what there was, it says nothing: its place is kept, the others' numbers are. */
	h->events[number].optional = true;
	h->events[number].kind = EVENT_GROW;
	h->events[number].cell = 0;
	h->events[number].over = ++h->time;
}

/* ---- a plain file --------------------------------------------------------------------------------- */

/* Of a cell of the model: this, or zero. No value that is stored has that bit. */
#define MAYBE (UINT64_C(1) << 63)

struct model {
	unsigned sizes[SCENARIO_MAX_FILES];
	uint64_t cells[SCENARIO_MAX_FILES][FILE_CELLS];
};

static void resize(struct model *m, unsigned file, unsigned size)
{
	for (unsigned cell = size; cell < FILE_CELLS; cell++)
		m->cells[file][cell] = 0;
	m->sizes[file] = size;
}

static void grow(struct model *m, unsigned file, unsigned size)
{
	if (size > m->sizes[file])
		m->sizes[file] = size;
}

static void append(struct model *m, const struct event *e)
{
	unsigned at = m->sizes[e->file];

	for (unsigned i = 0; i < PAGE_CELLS && at + i < FILE_CELLS; i++)
		m->cells[e->file][at + i] = e->value | i;
	grow(m, e->file, at + PAGE_CELLS < FILE_CELLS ? at + PAGE_CELLS : FILE_CELLS);
}

static void shift(struct model *m, const struct event *e)
{
	uint64_t *cells = m->cells[e->file];
	unsigned n = e->end - e->cell;

	if (e->kind == EVENT_COLLAPSE) {
		memmove(cells + e->cell, cells + e->end, (FILE_CELLS - e->end) * sizeof(*cells));
		resize(m, e->file, m->sizes[e->file] - n);
	} else {
		memmove(cells + e->end, cells + e->cell, (FILE_CELLS - e->end) * sizeof(*cells));
		memset(cells + e->cell, 0, n * sizeof(*cells));
		grow(m, e->file, m->sizes[e->file] + n);
	}
}

static void move(struct model *m, const struct event *e)
{
	for (unsigned i = 0; e->cell + i < e->end; i++) {
		uint64_t *a = &m->cells[e->file][e->cell + i];
		uint64_t *b = &m->cells[e->other][e->other_cell + i], old = *b;

		*b = *a;
		if (e->kind == EVENT_EXCHANGE)
			*a = old;
	}
	if (e->kind == EVENT_COPY)
		grow(m, e->other, e->other_cell + e->end - e->cell);
}

static bool shows(uint64_t cell, uint64_t value)
{
	return cell & MAYBE ? !value || value == (cell & ~MAYBE) : value == cell;
}

static void store(struct model *m, const struct event *e)
{
	unsigned size = m->sizes[e->file];
	unsigned pages_end = (size + PAGE_CELLS - 1) / PAGE_CELLS * PAGE_CELLS;

	if (e->cell < size)
		m->cells[e->file][e->cell] = e->value;
	else if (e->cached && e->cell < pages_end)
		m->cells[e->file][e->cell] = e->value | MAYBE;
}

/* Behind EOF in its last page, a mapping shows zeroes, or what somebody has stored there through another. */
static bool load_shows(const struct model *m, const struct event *e)
{
	unsigned size = m->sizes[e->file];
	unsigned pages_end = (size + PAGE_CELLS - 1) / PAGE_CELLS * PAGE_CELLS;

	if (e->cell >= pages_end)
		return e->value == SEEN_NOTHING;
	if (e->cell >= size)
		return !e->value || (e->value & VALUE_KIND) == VALUE_STORED;
	return shows(m->cells[e->file][e->cell], e->value);
}

/* Returns whether @e can come next; then it has. */
static bool apply(struct model *m, const struct event *e)
{
	switch (e->kind) {
	case EVENT_STORE:
		store(m, e);
		return true;
	case EVENT_WRITE:
		grow(m, e->file, e->cell + 1);
		m->cells[e->file][e->cell] = e->value;
		return true;
	case EVENT_APPEND:
		append(m, e);
		return true;
	case EVENT_LOAD:
		return load_shows(m, e);
	case EVENT_READ:
		if (e->cell >= m->sizes[e->file])
			return e->value == SEEN_NOTHING;
		return shows(m->cells[e->file][e->cell], e->value);
	case EVENT_ZERO:
		m->cells[e->file][e->cell] = 0;
		return true;
	case EVENT_GROW:
		grow(m, e->file, e->cell);
		return true;
	case EVENT_TRUNCATE:
		resize(m, e->file, e->cell);
		return true;
	case EVENT_COLLAPSE:
	case EVENT_INSERT:
		shift(m, e);
		return true;
	case EVENT_EXCHANGE:
	case EVENT_COPY:
		move(m, e);
		return true;
	}
	return false;
}

/* ---- the order ------------------------------------------------------------------------------------- */

struct order {
	const struct event *events[HISTORY_MAX];
	bool done[HISTORY_MAX];
	unsigned n;
	uint64_t budget; /* how long it is looked for */
};

/* Nobody who is not in the order yet was over before @e began. */
static bool may_be_next(const struct order *o, const struct event *e)
{
	for (unsigned i = 0; i < o->n; i++)
		if (!o->done[i] && o->events[i] != e && o->events[i]->over < e->begin)
			return false;
	return true;
}

/* What is under way need not have happened yet. */
static bool may_be_left_out(const struct event *e)
{
	return e->optional || e->over == FOR_EVER;
}

static bool find_order(struct order *o, const struct model *m)
{
	bool all = true;

	if (!o->budget || !--o->budget)
		return true; /* not refuted */
	for (unsigned i = 0; i < o->n; i++)
		all &= o->done[i] || may_be_left_out(o->events[i]);
	if (all)
		return true;
	for (unsigned i = 0; i < o->n; i++) {
		const struct event *e = o->events[i];
		struct model next;
		bool found;

		if (o->done[i] || !may_be_next(o, e))
			continue;
		o->done[i] = true;
		next = *m;
		found = (apply(&next, e) && find_order(o, &next)) ||
			(e->optional && find_order(o, m));
		if (found)
			return true;
		o->done[i] = false;
	}
	return false;
}

/* Whether an event has to do with a cell: by itself, or because it moves EOF. */
static bool concerns(const struct event *e, unsigned file, unsigned cell)
{
	if (e->file != file)
		return false;
	return e->cell == cell || e->kind == EVENT_WRITE || e->kind == EVENT_GROW ||
	       e->kind == EVENT_TRUNCATE;
}

static bool possible(const struct history *h, bool all, unsigned file, unsigned cell)
{
	struct order o = { .budget = 1000000 };
	struct model m;

	for (unsigned i = 0; i < h->nevents; i++) {
		const struct event *e = &h->events[i];

		if (all || concerns(e, file, cell))
			o.events[o.n++] = e;
	}
	memcpy(m.sizes, h->sizes, sizeof(m.sizes));
	memcpy(m.cells, h->cells, sizeof(m.cells));
	return find_order(&o, &m);
}

bool history_possible(const struct history *h, unsigned number)
{
	if (number >= h->nevents)
		return true;
	return possible(h, h->moves, h->events[number].file, h->events[number].cell);
}

/* ---- words ------------------------------------------------------------------------------------------ */

void value_name(const struct scenario *sc, uint64_t value, char *buf, unsigned len)
{
	unsigned op = value >> 16 & 0xffff, file = value >> 8 & 0xff, cell = value & 0xff;

	if (value == SEEN_NOTHING)
		snprintf(buf, len, "that there is nothing");
	else if (!value)
		snprintf(buf, len, "zeroes");
	else if ((value & VALUE_KIND) == VALUE_STORED)
		snprintf(buf, len, "what %s.%u stored", sc->threads[op >> 8].name, (op & 0xff) + 1);
	else if ((value & VALUE_KIND) == (VALUE_INITIAL & VALUE_KIND) && file < sc->nfiles)
		snprintf(buf, len, "what %s had in %u%c at first", sc->files[file].name, cell / 2,
			 cell % 2 ? 'b' : 'a');
	else if ((value & VALUE_KIND) == (VALUE_POISON & VALUE_KIND))
		snprintf(buf, len, "what was in a free block");
	else
		snprintf(buf, len, "%#" PRIx64 ", which nobody wrote", value);
}
