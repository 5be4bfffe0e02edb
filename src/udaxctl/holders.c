/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * holders.c - udaxctl holders: who has a file open, and in which mode that puts it.
 *
 * A file is asked about through a directory of its mount: to open the file itself would be one
 * handle more, and would decide the mode of one that is not open.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "udaxctl.h"

/* ---- one file's users ---------------------------------------------------------------------------- */

struct users {
	json_t *json; /* an array, or NULL: print */
	char path[256];
	unsigned n;
};

static json_t *json_user(const struct user *user)
{
	json_t *out = json_object();

	cli_set_uint(out, "pid", (uint64_t)user->pid);
	cli_set_string(out, "name", user->name);
	if (user->fd >= 0)
		cli_set_uint(out, "fd", (uint64_t)user->fd);
	cli_set_bool(out, "mapping", user->fd < 0);
	cli_set_bool(out, "write", user->write);
	cli_set_bool(out, "direct", user->direct);
	return out;
}

static void add_user(void *ctx, const struct user *user)
{
	struct users *users = ctx;

	if (!users->n++)
		snprintf(users->path, sizeof(users->path), "%s", user->path);
	if (users->json)
		cli_append(users->json, json_user(user));
}

static void print_user(void *ctx, const struct user *user)
{
	const char *how = user->write ? "reads and writes" : "reads";

	(void)ctx;
	printf("    process %d (%s): ", user->pid, user->name);
	if (user->fd >= 0)
		printf("descriptor %d, %s%s\n", user->fd, how, user->direct ? ", O_DIRECT" : "");
	else
		printf("a mapping, %s\n", how);
}

/* ---- one file ------------------------------------------------------------------------------------- */

struct report {
	dev_t dev;
	json_t *files; /* NULL: print */
	unsigned hidden;
	unsigned nfiles;
};

static void json_file(struct report *report, const struct udax_ioc_holder *holder)
{
	json_t *out = json_object();
	struct users users = { .json = json_array() };

	proc_users(report->dev, holder->ino, add_user, &users, &report->hidden);
	cli_set_uint(out, "inode", holder->ino);
	if (users.n)
		cli_set_string(out, "path", users.path);
	cli_set_string(out, "mode", ctl_mode_name(holder->mode));
	cli_set_uint(out, "handles", holder->handles);
	cli_set_uint(out, "writers", holder->writers);
	cli_set_uint(out, "clients", holder->attached);
	cli_set_uint(out, "gates", holder->gates);
	cli_set_uint(out, "admitted", holder->admitted);
	cli_set_uint(out, "recalls", holder->recalls);
	cli_set_uint(out, "late", holder->late);
	cli_set_uint(out, "granted_read_bytes", holder->read_bytes);
	cli_set_uint(out, "granted_write_bytes", holder->write_bytes);
	cli_set_uint(out, "granted_zero_bytes", holder->zero_bytes);
	cli_set_uint(out, "layout_generation", holder->layout_generation);
	cli_set(out, "processes", users.json);
	cli_append(report->files, out);
}

static void print_file(struct report *report, const struct udax_ioc_holder *holder)
{
	struct users users = { 0 };

	proc_users(report->dev, holder->ino, add_user, &users, &report->hidden);
	printf("inode %llu%s%s: %s", (unsigned long long)holder->ino, users.n ? " " : "",
	       users.path, ctl_mode_name(holder->mode));
	printf(", %u handles, %u of them for writing, %u direct clients\n", holder->handles,
	       holder->writers, holder->attached);
	if (holder->attached)
		printf("    clients may map %llu KiB to load, %llu KiB to store, and %llu KiB of holes\n",
		       (unsigned long long)holder->read_bytes >> 10,
		       (unsigned long long)holder->write_bytes >> 10,
		       (unsigned long long)holder->zero_bytes >> 10);
	if (holder->recalls || holder->late)
		printf("    %u recalls under way, %u not answered in time\n", holder->recalls,
		       holder->late);
	if (holder->gates)
		printf("    %u layout changes under way\n", holder->gates);
	proc_users(report->dev, holder->ino, print_user, NULL, &report->hidden);
}

static void report_file(struct report *report, const struct udax_ioc_holder *holder)
{
	report->nfiles++;
	if (report->files)
		json_file(report, holder);
	else
		print_file(report, holder);
}

/* ---- asking --------------------------------------------------------------------------------------- */

static int ask(const struct target *target, bool all, uint64_t ino, struct udax_ioc_holders *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->version = UDAX_IOC_VERSION;
	ret->ino = ino;
	ret->all = all;
	if (ioctl(target->fd, UDAX_IOC_HOLDERS, ret) == 0)
		return CTL_OK;
	if (errno == EPERM)
		return cli_error("%s: only root and user %u, who mounted it, may ask that%s",
				 target->path, target->info.uid,
				 all ? "" : ", or the owner of the file");
	return ctl_refused(target->path, "asking for holders", errno);
}

static int report_all(const struct target *target, struct report *report)
{
	struct udax_ioc_holders page;
	uint64_t ino = 0;

	do {
		if (ask(target, true, ino, &page) != CTL_OK)
			return CTL_FAILED;
		for (uint32_t i = 0; i < page.count; i++) {
			report_file(report, &page.entries[i]);
			ino = page.entries[i].ino + 1;
		}
	} while (page.more && page.count);
	return CTL_OK;
}

static int report_one(const struct target *target, uint64_t ino, struct report *report)
{
	struct udax_ioc_holders page;

	if (ask(target, false, ino, &page) != CTL_OK)
		return CTL_FAILED;
	for (uint32_t i = 0; i < page.count; i++)
		report_file(report, &page.entries[i]);
	return CTL_OK;
}

static int finish_text(const struct target *target, const struct report *report)
{
	if (!report->nfiles)
		printf("%s: no file is open\n", target->path);
	if (report->hidden)
		printf("(%u processes could not be looked into; root sees all)\n", report->hidden);
	return CTL_OK;
}

static int finish_json(const struct target *target, struct report *report)
{
	json_t *out = cli_json();

	cli_set_string(out, "path", target->path);
	cli_set_uint(out, "hidden_processes", report->hidden);
	cli_set(out, "files", report->files);
	return cli_print_json(out);
}

static int run_holders(const struct verb *verb, int argc, char **argv)
{
	struct ctl_options options = { 0 };
	struct report report = { 0 };
	struct target target;
	struct stat st;
	int status = ctl_parse(verb, argc, argv, &options, 1, 1);

	if (status != CTL_OK)
		return status;
	status = target_open(&target, argv[optind], TARGET_MOUNT);
	if (status == CTL_OK && stat(argv[optind], &st))
		status = cli_error("%s: %s", argv[optind], strerror(errno));
	if (status == CTL_OK) {
		report.dev = st.st_dev;
		report.files = options.json ? json_array() : NULL;
		status = S_ISREG(st.st_mode) ? report_one(&target, st.st_ino, &report)
					     : report_all(&target, &report);
	}
	if (status == CTL_OK)
		status = options.json ? finish_json(&target, &report)
				      : finish_text(&target, &report);
	else
		json_decref(report.files);
	target_close(&target);
	return status;
}

const struct verb verb_holders = {
	.name = "holders",
	.args = "MOUNT|FILE",
	.summary = "Who has files open, and in which mode",
	.details =
		"The first open decides a file's mode until it is closed everywhere:\n"
		"cached    an ordinary open: the kernel may hold copies of it\n"
		"uncached  an open with O_DIRECT: it may be mapped directly, and collapse, insert\n"
		"          and exchange are possible\n",
	.run = run_holders,
};
