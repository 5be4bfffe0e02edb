/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * udaxrun.c - run a program so that its shared mappings of files on a udaxfs mount are direct: puts
 * libudaxrun.so (src/preload/) in front of it, and becomes it.
 *
 * The library is looked for where it was installed, and beside this program, as in a build.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXIT_USAGE 125
#define EXIT_CANNOT_RUN 126
#define EXIT_NOT_FOUND 127

static void usage(FILE *out)
{
	fputs("Usage: udaxrun [OPTION...] COMMAND [ARGUMENT...]\n"
	      "\n"
	      "Run COMMAND with its shared mappings of files on a udaxfs mount direct: loads and\n"
	      "stores reach the medium. What cannot be direct (a private mapping, another user's\n"
	      "mount, a file that somebody has open without O_DIRECT) is mapped by the kernel.\n"
	      "\n"
	      "  -s, --stats           say at its end, on standard error, what was direct and why not\n"
	      "  -r, --require-direct  a shared mapping of a file on udaxfs that cannot be direct fails\n"
	      "  -h, --help            this text\n"
	      "  -V, --version         version\n"
	      "\n"
	      "COMMAND is a dynamically linked program that is not set-user-ID; its children run the\n"
	      "same way. Exit status: that of COMMAND; 125 for a wrong command line, 126 when COMMAND\n"
	      "cannot be run so, 127 when it is not found.\n",
	      out);
}

/* ---- the library ---------------------------------------------------------------------------------- */

static bool is_file(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static bool find_library(char path[PATH_MAX])
{
	char own[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", own, sizeof(own) - 1);
	char *slash;

	if (n > 0) {
		own[n] = '\0';
		slash = strrchr(own, '/');
		if (slash)
			*slash = '\0';
		if (snprintf(path, PATH_MAX, "%s/libudaxrun.so", own) < PATH_MAX && is_file(path))
			return true;
	}
	return snprintf(path, PATH_MAX, "%s/libudaxrun.so", UDAX_LIBRARY_DIR) < PATH_MAX &&
	       is_file(path);
}

static int preload(const char *library)
{
	const char *others = getenv("LD_PRELOAD");
	char *value;

	if (strpbrk(library, " :")) {
		fprintf(stderr, "udaxrun: %s: the dynamic linker takes no blank or colon in that\n",
			library);
		return -1;
	}
	if (asprintf(&value, "%s%s%s", library, others && *others ? ":" : "",
		     others ? others : "") < 0)
		return -1;
	return setenv("LD_PRELOAD", value, 1);
}

/* ---- the program ---------------------------------------------------------------------------------- */

/* Where execvp() will find it. */
static bool find_program(const char *name, char path[PATH_MAX])
{
	const char *dirs = getenv("PATH");

	if (strchr(name, '/'))
		return snprintf(path, PATH_MAX, "%s", name) < PATH_MAX;
	for (; dirs && *dirs; dirs += strspn(dirs, ":")) {
		int len = (int)strcspn(dirs, ":");

		if (snprintf(path, PATH_MAX, "%.*s/%s", len, dirs, name) < PATH_MAX &&
		    access(path, X_OK) == 0)
			return true;
		dirs += len;
	}
	return false;
}

/* Whether an ELF program asks for no dynamic linker: nothing could be put in front of it. */
static bool is_static(const char *path)
{
	Elf64_Ehdr head;
	Elf64_Phdr segment;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool elf, dynamic = false;

	if (fd < 0)
		return false;
	elf = read(fd, &head, sizeof(head)) == (ssize_t)sizeof(head) &&
	      memcmp(head.e_ident, ELFMAG, SELFMAG) == 0 && head.e_ident[EI_CLASS] == ELFCLASS64 &&
	      head.e_phentsize == sizeof(segment);
	for (unsigned i = 0; elf && i < head.e_phnum; i++)
		dynamic |= pread(fd, &segment, sizeof(segment),
				 (off_t)(head.e_phoff + i * sizeof(segment))) ==
				   (ssize_t)sizeof(segment) &&
			   segment.p_type == PT_INTERP;
	close(fd);
	return elf && !dynamic;
}

static int check_program(const char *name)
{
	char path[PATH_MAX];
	struct stat st;

	if (!find_program(name, path))
		return 0; /* execvp() says it */
	if (stat(path, &st) == 0 && st.st_mode & (S_ISUID | S_ISGID) && geteuid() != 0) {
		fprintf(stderr,
			"udaxrun: %s is set-user-ID: the dynamic linker lets nothing in front "
			"of it\n",
			path);
		return -1;
	}
	if (is_static(path)) {
		fprintf(stderr,
			"udaxrun: %s is linked statically: nothing can be put in front of it\n",
			path);
		return -1;
	}
	return 0;
}

/* ---- main ----------------------------------------------------------------------------------------- */

static int parse(int argc, char **argv)
{
	static const struct option longs[] = { { "stats", no_argument, NULL, 's' },
					       { "require-direct", no_argument, NULL, 'r' },
					       { "help", no_argument, NULL, 'h' },
					       { "version", no_argument, NULL, 'V' },
					       { 0 } };
	int c;

	while ((c = getopt_long(argc, argv, "+srhV", longs, NULL)) != -1) {
		switch (c) {
		case 's':
			setenv("UDAXRUN_STATS", "1", 1);
			break;
		case 'r':
			setenv("UDAXRUN_REQUIRE_DIRECT", "1", 1);
			break;
		case 'h':
			usage(stdout);
			exit(0);
		case 'V':
			puts("udaxrun " UDAX_VERSION);
			exit(0);
		default:
			fputs("Try 'udaxrun --help'.\n", stderr);
			return -1;
		}
	}
	if (optind < argc)
		return 0;
	fputs("udaxrun: a command is needed\nTry 'udaxrun --help'.\n", stderr);
	return -1;
}

int main(int argc, char **argv)
{
	char library[PATH_MAX];

	if (parse(argc, argv))
		return EXIT_USAGE;
	if (!find_library(library)) {
		fputs("udaxrun: libudaxrun.so is neither beside this program nor in " UDAX_LIBRARY_DIR
		      "\n",
		      stderr);
		return EXIT_CANNOT_RUN;
	}
	if (check_program(argv[optind]) || preload(library))
		return EXIT_CANNOT_RUN;
	execvp(argv[optind], argv + optind);
	fprintf(stderr, "udaxrun: %s: %s\n", argv[optind], strerror(errno));
	return errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
}
