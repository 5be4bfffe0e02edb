/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * trace_fixture.h - traces as the lab would record them, without the lab.
 */
#ifndef UDAX_TESTS_TRACE_FIXTURE_H
#define UDAX_TESTS_TRACE_FIXTURE_H

struct trace;

/**
 * A load's fault against a punch, under a policy that drops the fault's mmaplock before the grant is
 * recorded: the client maps a block that the punch has freed. Three tasks, one preemption.
 */
struct trace *trace_fault_punch(void);

/** @nsteps steps of @ntasks tasks that store, punch, wait for each other and are preempted. */
struct trace *trace_crowd(unsigned ntasks, unsigned nsteps);

/** Three steps of two tasks in which every string is @text. */
struct trace *trace_hostile(const char *text);

void trace_fixture_free(struct trace *trace);

#endif
