/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * cli.h - what the command line programs share: sizes in and out, words for facts, JSON.
 *
 * Nothing here is part of the core or of the daemon. Programs are single-threaded.
 */
#ifndef UDAX_CLI_H
#define UDAX_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <jansson.h>

#include "region.h"

/** What every --json object of a program says first; rises when a member changes its meaning. */
#define CLI_SCHEMA_VERSION 1

/** cli_program - the name in front of messages, set once by main(). */
void cli_program(const char *name);

/** cli_error - "name: sentence" to stderr. Returns 1, the exit status of a failure. */
int cli_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/**
 * cli_parse_bytes - a number of bytes, with K, M, G, T or P (binary; "KiB" and "KB" are read as
 * K). 0, -EINVAL (not a size), -ERANGE.
 */
int cli_parse_bytes(const char *text, uint64_t *ret_bytes);

/** cli_bytes - @bytes for people, such as "1.5 GiB". @buf is filled and returned. */
#define CLI_BYTES_LEN 32
const char *cli_bytes(uint64_t bytes, char buf[CLI_BYTES_LEN]);

/** cli_durability - what a durability domain promises, in words. */
const char *cli_durability(enum durability domain);

/** cli_process - "process 12 (udaxfs)" for a pid; "another process" for 0. */
#define CLI_PROCESS_LEN 64
const char *cli_process(int pid, char buf[CLI_PROCESS_LEN]);

/** cli_json - a new object with schema_version in it. Running out of memory ends the program. */
json_t *cli_json(void);

/** cli_set - a member of @object; the value becomes its. Running out of memory ends the program. */
void cli_set(json_t *object, const char *key, json_t *value);
void cli_set_uint(json_t *object, const char *key, uint64_t value);
void cli_set_string(json_t *object, const char *key, const char *value); /* any bytes */
void cli_set_bool(json_t *object, const char *key, bool value);
void cli_append(json_t *array, json_t *value);

/** cli_print_json - to stdout, and free it. Returns the exit status: 1 when it was not written. */
int cli_print_json(json_t *object);

#endif
