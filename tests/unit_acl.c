/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * unit_acl.c - POSIX ACLs: form, agreement with the mode, inheritance.
 *
 * ACLs are written here as in acl(5): "u::rwx,u:10:r--,g::r-x,m::rwx,o::---".
 */
#include "names.h"

#include <errno.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <linux/xattr.h>

#include "acl.h"

struct acl_text {
	unsigned char bytes[512];
	size_t size;
};

static struct posix_acl_xattr_entry parse_entry(const char **text)
{
	struct posix_acl_xattr_entry e = { .e_id = to_le32((uint32_t)ACL_UNDEFINED_ID) };
	const char *p = *text;
	bool named = p[2] != ':';
	uint16_t tag = ACL_OTHER, perm = 0;

	if (*p == 'u')
		tag = named ? ACL_USER : ACL_USER_OBJ;
	else if (*p == 'g')
		tag = named ? ACL_GROUP : ACL_GROUP_OBJ;
	else if (*p == 'm')
		tag = ACL_MASK;
	if (named)
		e.e_id = to_le32((uint32_t)strtoul(p + 2, NULL, 10));
	p = strchr(p + 2, ':') + 1;
	for (; *p && *p != ','; p++)
		perm |= *p == 'r' ? 4 : *p == 'w' ? 2 : *p == 'x' ? 1 : 0;
	*text = *p ? p + 1 : p;
	e.e_tag = to_le16(tag);
	e.e_perm = to_le16(perm);
	return e;
}

static struct acl_text acl(const char *text)
{
	struct posix_acl_xattr_header header = { to_le32(POSIX_ACL_XATTR_VERSION) };
	struct acl_text acl = { .size = sizeof(header) };

	memcpy(acl.bytes, &header, sizeof(header));
	while (*text) {
		struct posix_acl_xattr_entry e = parse_entry(&text);

		memcpy(acl.bytes + acl.size, &e, sizeof(e));
		acl.size += sizeof(e);
	}
	return acl;
}

static int set_acl(struct inode *inode, const char *name, const char *text)
{
	struct acl_text a = acl(text);

	return xattr_set(inode, name, a.bytes, a.size, 0);
}

/* @text NULL: none is stored. */
static void assert_acl(struct inode *inode, const char *name, const char *text)
{
	unsigned char buf[512];
	ssize_t n = xattr_get(inode, name, buf, sizeof(buf));
	struct acl_text want;

	if (!text) {
		assert_int_equal(n, -ENODATA);
		return;
	}
	want = acl(text);
	assert_int_equal(n, want.size);
	assert_memory_equal(buf, want.bytes, want.size);
}

static mode_t mode_of(struct inode *inode)
{
	return attr_of(inode).mode & 07777;
}

static int chmod_to(struct inode *inode, mode_t mode)
{
	struct attr attr = { .mode = mode };

	return inode_setattr(inode, SET_MODE, &attr);
}

/* ---- form ------------------------------------------------------------------------------------------- */

static void well_formed_acls_are_taken(void **state)
{
	static const char *const good[] = {
		"u::rwx,g::r-x,o::---",
		"u::rwx,g::r-x,m::rwx,o::---",
		"u::rwx,u:10:r--,g::r-x,m::rwx,o::---",
		"u::rwx,u:10:r--,u:11:rwx,g::r-x,g:5:---,g:6:rw-,m::r--,o::rwx",
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_int_equal(acl_check(acl(good[i]).bytes, acl(good[i]).size), 0);
}

static void malformed_acls_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"u::rwx",
		"u::rwx,g::r-x",
		"u::rwx,o::r-x",
		"g::rwx,o::r-x",
		"u::rwx,u::rwx,g::r-x,o::---",
		"u::rwx,g::r-x,o::---,o::---",
		"u::rwx,g::r-x,o::---,m::rwx",
		"g::r-x,u::rwx,o::---",
		"u:10:r--,u::rwx,g::r-x,m::rwx,o::---",
		"u::rwx,u:10:r--,g::r-x,o::---",
		"u::rwx,g::r-x,g:10:r--,o::---",
		"u::rwx,u:4294967295:r--,g::r-x,m::rwx,o::---",
	};
	struct acl_text a = acl("u::rwx,g::r-x,o::---"), b;

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(acl_check(acl(bad[i]).bytes, acl(bad[i]).size), -EINVAL);
	for (size_t size = 0; size < a.size; size++)
		assert_int_equal(acl_check(a.bytes, size), -EINVAL);
	b = a, b.bytes[0] = 3; /* version */
	assert_int_equal(acl_check(b.bytes, b.size), -EINVAL);
	b = a, b.bytes[6] = 8; /* permissions */
	assert_int_equal(acl_check(b.bytes, b.size), -EINVAL);
	b = a, b.bytes[4] = 3; /* tag */
	assert_int_equal(acl_check(b.bytes, b.size), -EINVAL);
}

static void an_acl_of_more_entries_than_allowed_is_refused(void **state)
{
	size_t size = 4 + (ACL_MAX_ENTRIES + 1) * 8;
	unsigned char *big = calloc(1, size);
	struct posix_acl_xattr_entry e = { 0 };

	(void)state;
	big[0] = POSIX_ACL_XATTR_VERSION;
	for (unsigned i = 0; i <= ACL_MAX_ENTRIES; i++) {
		unsigned from_end = ACL_MAX_ENTRIES - i;

		e.e_tag = to_le16(i == 0	  ? ACL_USER_OBJ
				  : from_end == 2 ? ACL_GROUP_OBJ
				  : from_end == 1 ? ACL_MASK
				  : from_end == 0 ? ACL_OTHER
						  : ACL_USER);
		e.e_id = to_le32(i);
		memcpy(big + 4 + i * 8, &e, 8);
	}
	assert_int_equal(acl_check(big, size), -EINVAL);
	memmove(big + 12, big + 20, size - 20);
	assert_int_equal(acl_check(big, size - 8), 0);
	free(big);
}

/* ---- access ACLs and the mode ------------------------------------------------------------------------- */

static void the_mode_follows_from_the_acl(void **state)
{
	static const struct {
		const char *text;
		mode_t mode;
		bool trivial;
	} cases[] = {
		{ "u::rwx,g::r-x,o::---", 0750, true },
		{ "u::---,g::---,o::rwx", 0007, true },
		{ "u::rw-,g::rwx,m::r--,o::--x", 0641, false },
		{ "u::rw-,u:7:rwx,g::---,m::-w-,o::---", 0620, false },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct acl_text a = acl(cases[i].text);
		mode_t mode = S_IFREG | 04111;
		bool trivial;

		acl_to_mode(a.bytes, a.size, &mode, &trivial);
		assert_int_equal(mode, S_IFREG | 04000 | cases[i].mode);
		assert_int_equal(trivial, cases[i].trivial);
	}
}

static void setting_an_access_acl_sets_the_mode(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct inode *file = mkfile_in(tree->root, "file");

	(void)state;
	assert_int_equal(set_acl(file, ACL_ACCESS, "u::rwx,u:7:rw-,g::r-x,m::rw-,o::--x"), 0);
	assert_int_equal(mode_of(file), 0761);
	assert_acl(file, ACL_ACCESS, "u::rwx,u:7:rw-,g::r-x,m::rw-,o::--x");
	assert_int_equal(set_acl(file, ACL_ACCESS, "u::rwx,u:7:rw-,g::r-x,o::--x"), -EINVAL);
	assert_int_equal(mode_of(file), 0761);
	tree_remount_keeping(tree, &file);
	assert_int_equal(mode_of(file), 0761);
	/* One that says no more than the mode takes the place of one that does. */
	assert_int_equal(set_acl(file, ACL_ACCESS, "u::rw-,g::r--,o::---"), 0);
	assert_int_equal(mode_of(file), 0640);
	assert_acl(file, ACL_ACCESS, NULL);
	inode_put(file);
	tree_delete(tree);
}

static void removing_an_acl_leaves_the_mode(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct inode *file = mkfile_in(tree->root, "file");

	(void)state;
	assert_int_equal(xattr_set(file, ACL_ACCESS, NULL, 0, 0), 0); /* there is none */
	assert_int_equal(xattr_set(file, ACL_ACCESS, NULL, 0, XATTR_REPLACE), 0);
	assert_int_equal(set_acl(file, ACL_ACCESS, "u::rwx,u:7:rw-,g::r-x,m::rw-,o::--x"), 0);
	assert_int_equal(xattr_set(file, ACL_ACCESS, NULL, 0, 0), 0);
	assert_acl(file, ACL_ACCESS, NULL);
	assert_int_equal(mode_of(file), 0761);
	/* No entries, or no bytes at all, mean none too. */
	assert_int_equal(set_acl(file, ACL_ACCESS, "u::rwx,u:7:rw-,g::r-x,m::rw-,o::--x"), 0);
	assert_int_equal(set_acl(file, ACL_ACCESS, ""), 0);
	assert_acl(file, ACL_ACCESS, NULL);
	inode_put(file);
	tree_delete(tree);
}

static void chmod_changes_the_acl(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct inode *file = mkfile_in(tree->root, "file");

	(void)state;
	assert_int_equal(chmod_to(file, 0600), 0);
	assert_acl(file, ACL_ACCESS, NULL);
	assert_int_equal(set_acl(file, ACL_ACCESS, "u::rwx,u:7:rw-,g::r-x,m::rw-,o::--x"), 0);
	assert_int_equal(chmod_to(file, 0444), 0);
	assert_acl(file, ACL_ACCESS, "u::r--,u:7:rw-,g::r-x,m::r--,o::r--");
	assert_int_equal(mode_of(file), 0444);
	inode_put(file);
	tree_delete(tree);
}

static void acls_stand_only_where_they_mean_something(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct inode *file = mkfile_in(tree->root, "file"), *link;

	(void)state;
	assert_int_equal(ns_symlink(tree->root, "link", 4, "t", 1, &nobody_special, &link), 0);
	assert_int_equal(set_acl(file, ACL_DEFAULT, "u::rwx,g::r-x,o::---"), -EACCES);
	assert_int_equal(xattr_set(file, ACL_DEFAULT, NULL, 0, 0), 0);
	assert_int_equal(set_acl(link, ACL_ACCESS, "u::rwx,g::r-x,o::---"), -EOPNOTSUPP);
	assert_int_equal(set_acl(tree->root, ACL_DEFAULT, "u::rwx,g::r-x,o::---"), 0);
	assert_acl(tree->root, ACL_DEFAULT, "u::rwx,g::r-x,o::---");
	inode_put(file);
	inode_put(link);
	tree_delete(tree);
}

/* ---- inheritance ------------------------------------------------------------------------------------------ */

static const struct cred with_umask = { .uid = 1, .gid = 2, .umask = 077 };

static struct inode *make(struct inode *dir, const char *name, mode_t mode)
{
	struct inode *inode = NULL;

	assert_int_equal(ns_create(dir, name, strlen(name), mode, &with_umask, 0, 0, &inode), 0);
	return inode;
}

static void a_default_acl_takes_the_place_of_the_umask(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct inode *dir = mkdir_in(tree->root, "dir"), *file;

	(void)state;
	file = make(dir, "before", S_IFREG | 0666);
	assert_int_equal(mode_of(file), 0600);
	inode_put(file);
	assert_int_equal(set_acl(dir, ACL_DEFAULT, "u::rwx,u:7:rwx,g::r-x,m::rwx,o::r-x"), 0);
	assert_int_equal(mode_of(dir), 0755);
	file = make(dir, "file", S_IFREG | 0666);
	assert_int_equal(mode_of(file), 0664);
	assert_acl(file, ACL_ACCESS, "u::rw-,u:7:rwx,g::r-x,m::rw-,o::r--");
	assert_acl(file, ACL_DEFAULT, NULL);
	inode_put(file);
	file = make(dir, "private", S_IFREG | 0600);
	assert_int_equal(mode_of(file), 0600);
	assert_acl(file, ACL_ACCESS, "u::rw-,u:7:rwx,g::r-x,m::---,o::---");
	inode_put(file);
	assert_int_equal(ns_tmpfile(dir, 0666, &with_umask, &file), 0);
	assert_int_equal(mode_of(file), 0664);
	inode_put(file);
	inode_put(dir);
	tree_delete(tree);
}

static void a_directory_inherits_the_default_acl_too(void **state)
{
	static const char text[] = "u::rwx,u:7:rwx,g::r-x,g:9:---,m::rwx,o::r-x";
	struct tree *tree = tree_new(1 << 20);
	struct inode *dir = mkdir_in(tree->root, "dir"), *sub, *subsub;

	(void)state;
	assert_int_equal(set_acl(dir, ACL_DEFAULT, text), 0);
	sub = make(dir, "sub", S_IFDIR | 0777);
	assert_int_equal(mode_of(sub), 0775);
	assert_acl(sub, ACL_ACCESS, text);
	assert_acl(sub, ACL_DEFAULT, text);
	subsub = make(sub, "sub", S_IFDIR | 0700);
	assert_acl(subsub, ACL_DEFAULT, text);
	assert_acl(subsub, ACL_ACCESS, "u::rwx,u:7:rwx,g::r-x,g:9:---,m::---,o::---");
	inode_put(subsub);
	inode_put(sub);
	inode_put(dir);
	tree_delete(tree);
}

static void a_default_acl_without_names_gives_a_mode_alone(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct inode *dir = mkdir_in(tree->root, "dir"), *file, *sub;

	(void)state;
	assert_int_equal(set_acl(dir, ACL_DEFAULT, "u::rwx,g::r-x,o::--x"), 0);
	file = make(dir, "file", S_IFREG | 0666);
	assert_int_equal(mode_of(file), 0640);
	assert_acl(file, ACL_ACCESS, NULL);
	sub = make(dir, "sub", S_IFDIR | 0777);
	assert_int_equal(mode_of(sub), 0751);
	assert_acl(sub, ACL_ACCESS, NULL);
	assert_acl(sub, ACL_DEFAULT, "u::rwx,g::r-x,o::--x");
	inode_put(file);
	inode_put(sub);
	inode_put(dir);
	tree_delete(tree);
}

static void a_symbolic_link_inherits_nothing(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct inode *dir = mkdir_in(tree->root, "dir"), *link;

	(void)state;
	assert_int_equal(set_acl(dir, ACL_DEFAULT, "u::rwx,u:7:rwx,g::r-x,m::rwx,o::r-x"), 0);
	assert_int_equal(ns_symlink(dir, "link", 4, "t", 1, &with_umask, &link), 0);
	assert_int_equal(mode_of(link), 0777);
	assert_int_equal(xattr_list(link, NULL, 0), 0);
	inode_put(link);
	inode_put(dir);
	tree_delete(tree);
}

/* ---- damage --------------------------------------------------------------------------------------------------- */

static void store(struct tree *tree, struct inode *inode, const char *name, const char *bytes,
		  size_t size)
{
	struct xattr_change change = { name, bytes, size };
	struct tx *tx;

	tree->expect_damage = true;
	assert_int_equal(tx_begin(tree->vol, 0, &tx, HERE), 0);
	ilock(inode, SYNC_EXCL, HERE);
	assert_int_equal(xattr_change_tx(tx, inode, &change, 1), 0);
	assert_int_equal(tx_end(tx, 0), 0);
	iunlock(inode, SYNC_EXCL, HERE);
}

static void a_stored_acl_that_is_none_is_an_error(void **state)
{
	struct tree *tree = tree_new(1 << 20);
	struct inode *dir = mkdir_in(tree->root, "dir"), *file = mkfile_in(dir, "file");

	(void)state;
	store(tree, file, ACL_ACCESS, "nonsense", 8);
	assert_int_equal(chmod_to(file, 0600), -EIO);
	assert_int_equal(mode_of(file), 0644);
	store(tree, dir, ACL_DEFAULT, "", 0);
	assert_int_equal(mkfile(dir, "x"), -EIO);
	assert_int_equal(ino_at(dir, "x"), -ENOENT);
	/* It can be replaced. */
	assert_int_equal(set_acl(dir, ACL_DEFAULT, "u::rwx,g::r-x,o::--x"), 0);
	assert_int_equal(mkfile(dir, "x"), 0);
	inode_put(file);
	inode_put(dir);
	tree_delete(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(well_formed_acls_are_taken),
		cmocka_unit_test(malformed_acls_are_refused),
		cmocka_unit_test(an_acl_of_more_entries_than_allowed_is_refused),
		cmocka_unit_test(the_mode_follows_from_the_acl),
		cmocka_unit_test(setting_an_access_acl_sets_the_mode),
		cmocka_unit_test(removing_an_acl_leaves_the_mode),
		cmocka_unit_test(chmod_changes_the_acl),
		cmocka_unit_test(acls_stand_only_where_they_mean_something),
		cmocka_unit_test(a_default_acl_takes_the_place_of_the_umask),
		cmocka_unit_test(a_directory_inherits_the_default_acl_too),
		cmocka_unit_test(a_default_acl_without_names_gives_a_mode_alone),
		cmocka_unit_test(a_symbolic_link_inherits_nothing),
		cmocka_unit_test(a_stored_acl_that_is_none_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
