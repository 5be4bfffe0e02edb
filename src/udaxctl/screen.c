/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * screen.c - escape sequences that every terminal of today knows (ECMA-48 and xterm's second screen).
 *
 * Signals are blocked except inside ppoll(), so what a handler says is looked at before the next wait,
 * and never missed. A handler of a crash puts the terminal back with what is allowed there,
 * write(2) and tcsetattr(3), and lets the crash go on.
 */
#include "udaxctl/screen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define ENTER "\033[?1049h\033[?25l\033[2J"
#define LEAVE "\033[0m\033[?25h\033[?1049l"
#define HEADING "\033[7m"
#define PLAIN "\033[0m"

static const int endings[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE };
static const int crashes[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL };

static struct termios before;
static volatile sig_atomic_t is_open, have_keys, ended, resized, stopped;
static sigset_t outside; /* the mask inside ppoll() */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void say(const char *text)
{
	size_t len = strlen(text);

	while (len) {
		ssize_t n = write(STDOUT_FILENO, text, len);

		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return;
		if (n > 0) {
			text += n;
			len -= (size_t)n;
		}
	}
}

/* ---- the terminal ------------------------------------------------------------------------------------ */

bool screen_possible(void)
{
	const char *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && term && *term && strcmp(term, "dumb") != 0;
}

static void enter(void)
{
	struct termios raw;

	have_keys = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &before) == 0;
	is_open = 1;
	if (have_keys) {
		raw = before;
		raw.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
		raw.c_cc[VMIN] = 1;
		raw.c_cc[VTIME] = 0;
		tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
	}
	say(ENTER);
}

/* Also from handlers of signals. */
static void leave(void)
{
	if (!is_open)
		return;
	is_open = 0;
	say(LEAVE);
	if (have_keys)
		tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

void screen_open(void)
{
	static bool registered;

	if (!registered)
		atexit(leave);
	registered = true;
	enter();
}

void screen_close(void)
{
	leave();
}

/* ---- signals ----------------------------------------------------------------------------------------- */

static void on_ending(int sig)
{
	(void)sig;
	ended = 1;
}

static void on_resize(int sig)
{
	(void)sig;
	resized = 1;
}

static void on_stop(int sig)
{
	(void)sig;
	stopped = 1;
}

static void on_crash(int sig)
{
	leave();
	raise(sig); /* SA_RESETHAND: the default now */
}

static void on(int sig, void (*handler)(int), int flags)
{
	struct sigaction sa = { .sa_handler = handler, .sa_flags = flags };

	sigfillset(&sa.sa_mask);
	sigaction(sig, &sa, NULL);
}

void screen_catch_signals(void)
{
	sigset_t block;

	sigemptyset(&block);
	for (unsigned i = 0; i < COUNT(endings); i++) {
		on(endings[i], on_ending, 0);
		sigaddset(&block, endings[i]);
	}
	on(SIGWINCH, on_resize, 0);
	on(SIGTSTP, on_stop, 0);
	sigaddset(&block, SIGWINCH);
	sigaddset(&block, SIGTSTP);
	for (unsigned i = 0; i < COUNT(crashes); i++)
		on(crashes[i], on_crash, (int)SA_RESETHAND);
	sigprocmask(SIG_BLOCK, &block, &outside);
	for (unsigned i = 0; i < COUNT(endings); i++)
		sigdelset(&outside, endings[i]);
	sigdelset(&outside, SIGWINCH);
	sigdelset(&outside, SIGTSTP);
}

/* ^Z: the shell gets its terminal, and we come back to ours when it says so. */
static void stop_for_a_while(void)
{
	bool was_open = is_open;

	stopped = 0;
	leave();
	raise(SIGSTOP);
	if (was_open)
		enter();
	resized = 1;
}

/* ---- waiting ----------------------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int read_key(void)
{
	unsigned char key;
	ssize_t n = read(STDIN_FILENO, &key, 1);

	if (n == 1)
		return key;
	return n < 0 && (errno == EINTR || errno == EAGAIN) ? SCREEN_TIME : SCREEN_ENDED;
}

int screen_wait(uint64_t until_ns)
{
	for (;;) {
		uint64_t now = now_ns(), left = until_ns > now ? until_ns - now : 0;
		struct timespec timeout = { .tv_sec = (time_t)(left / 1000000000u),
					    .tv_nsec = (long)(left % 1000000000u) };
		struct pollfd fd = { .fd = is_open && have_keys ? STDIN_FILENO : -1,
				     .events = POLLIN };
		int n = ppoll(&fd, 1, &timeout, &outside);

		if (stopped)
			stop_for_a_while();
		if (ended || (n < 0 && errno != EINTR))
			return SCREEN_ENDED;
		if (resized) {
			resized = 0;
			return SCREEN_RESIZED;
		}
		if (n > 0) {
			int key = read_key();

			if (key != SCREEN_TIME)
				return key;
		}
		if (n == 0)
			return SCREEN_TIME;
	}
}

/* ---- drawing ----------------------------------------------------------------------------------------- */

static void size(unsigned *ret_rows, unsigned *ret_columns)
{
	struct winsize ws;

	*ret_rows = 24;
	*ret_columns = 80;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) || !ws.ws_row || !ws.ws_col)
		return;
	*ret_rows = ws.ws_row;
	*ret_columns = ws.ws_col;
}

/* One line of it, cut, without its end. Returns where the next one begins, or NULL. */
static const char *show_line(FILE *out, const char *text, unsigned columns)
{
	bool heading = *text == SCREEN_HEADING;
	const char *end = strchrnul(text, '\n');
	unsigned at = 0;

	if (heading)
		fputs(HEADING, out);
	for (const char *c = text + heading; c < end && at < columns; c++, at++)
		fputc(*c >= ' ' && *c < 0x7f ? *c : '?', out);
	while (heading && at++ < columns)
		fputc(' ', out);
	fputs(heading ? PLAIN : at < columns ? "\033[K" : "", out);
	return *end ? end + 1 : NULL;
}

void screen_show(const char *text)
{
	unsigned rows, columns;
	char *frame = NULL;
	size_t len;
	FILE *out = open_memstream(&frame, &len);

	if (!out)
		return;
	size(&rows, &columns);
	fputs("\033[H", out);
	for (unsigned row = 1; text && *text && row <= rows; row++) {
		fprintf(out, "\033[%u;1H", row);
		text = show_line(out, text, columns);
		if ((!text || !*text) && row < rows)
			fprintf(out, "\033[%u;1H\033[J", row + 1);
	}
	if (fclose(out) == 0)
		say(frame);
	free(frame);
}
