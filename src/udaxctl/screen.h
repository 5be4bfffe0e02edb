/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * screen.h - a page of text on the terminal that is shown again and again.
 *
 * While it is open, the terminal shows another screen than the shell's, without a cursor, and gives keys as they
 * are pressed. It is put back as it was however the program ends, also by a signal or a crash (but
 * for SIGKILL), and while it is stopped by ^Z. One screen a program.
 */
#ifndef UDAX_UDAXCTL_SCREEN_H
#define UDAX_UDAXCTL_SCREEN_H

#include <stdbool.h>
#include <stdint.h>

/** At the beginning of a line: it is a heading. */
#define SCREEN_HEADING '\001'

/** screen_possible - whether standard output is a terminal that can be drawn on. */
bool screen_possible(void);

/** screen_open - take the terminal over. screen_close - put it back; also when it is not open. */
void screen_open(void);
void screen_close(void);

/**
 * screen_show - @text, which is cut at the size that the terminal has now: lines at its right edge, and what
 * comes below its last line. Characters that are not printable ASCII are shown as '?'.
 */
void screen_show(const char *text);

/** What screen_wait() returns beside keys. */
enum { SCREEN_TIME = -1, SCREEN_RESIZED = -2, SCREEN_ENDED = -3 };

/**
 * screen_wait - until a key is pressed, which is returned; or until @until_ns (CLOCK_MONOTONIC): SCREEN_TIME;
 * or the terminal has another size, or is there again after ^Z: SCREEN_RESIZED; or a signal wants the program
 * to end, or the terminal is gone: SCREEN_ENDED. Works without an open screen too: no keys then.
 */
int screen_wait(uint64_t until_ns);

/** screen_catch_signals - so that screen_wait() tells of them. Before everything else. */
void screen_catch_signals(void);

#endif
