/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * fuse_record.h - who records what this mount does, and what he is given to read. There is one recording at a
 * time; it belongs to whoever knows its number. Thread-safe; takes one leaf lock.
 */
#ifndef UDAX_FUSE_RECORD_H
#define UDAX_FUSE_RECORD_H

struct recorder;
struct sync;

/** recorder_new - nobody records yet. NULL without memory. recorder_delete ends a recording. */
struct recorder *recorder_new(struct sync *sync);
void recorder_delete(struct recorder *recorder);

#endif
