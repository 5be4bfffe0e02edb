#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# Who may do what: ownership, modes, umask, sticky and set-group-ID directories, set-user-ID
# clearing, ACLs, flags that the kernel does not know, and who may mount and see a mount.
#
# As root the mount is made with allow_other and the checks run as two users; otherwise only what
# one user can see is checked.
. "$(dirname "$0")/lib.sh"

# Others run our programs here, so they have to be where others can read.
if [ "$(id -u)" = 0 ] && ! as_user test -x "$UDAX_BUILD/udaxfs"; then
	mkdir -m 755 "$ram/programs"
	cp -r "$UDAX_BUILD"/{udaxfs,mkfs.udaxfs,fsck.udaxfs,udaxctl,tests} "$ram/programs"
	chmod -R a+rX "$ram/programs"
	UDAX_BUILD=$ram/programs
	PATH=$UDAX_BUILD:$UDAX_BUILD/tests:$PATH
fi

mnt=$work/mnt
region=$(make_region 64M) || exit 1
is_root=
[ "$(id -u)" != 0 ] || is_root=1

# --- as one user ---

the_root_directory_is_the_makers() {
	same "$(id -u)" "$(stat -c %u "$mnt")"
}

files_belong_to_their_creator() {
	touch "$mnt/mine"
	mkdir "$mnt/minedir"
	ln -s x "$mnt/minelink"
	same "$(id -u) $(id -g)" "$(stat -c '%u %g' "$mnt/mine")"
	same "$(id -u) $(id -g)" "$(stat -c '%u %g' "$mnt/minedir")"
	same "$(id -u) $(id -g)" "$(stat -c '%u %g' "$mnt/minelink")"
}

the_umask_is_applied() {
	umask 027
	touch "$mnt/masked"
	mkdir "$mnt/maskeddir"
	same "640 750" "$(stat -c %a "$mnt/masked" "$mnt/maskeddir" | paste -sd' ')"
	umask 0
	touch "$mnt/open"
	same 666 "$(stat -c %a "$mnt/open")"
}

modes_are_kept_and_enforced() {
	echo secret >"$mnt/secret"
	chmod 2755 "$mnt/minedir"
	same 2755 "$(stat -c %a "$mnt/minedir")"
	chmod u=rwx,g=rwx,g-s,o=rwx,+t "$mnt/minedir"
	same 1777 "$(stat -c %a "$mnt/minedir")"
	chmod 000 "$mnt/secret"
	[ -n "$is_root" ] || fails_with "Permission denied" cat "$mnt/secret"
	chmod 400 "$mnt/secret"
	same secret "$(cat "$mnt/secret")"
	[ -n "$is_root" ] || fails_with "Permission denied" tee "$mnt/secret" </dev/null
}

writing_clears_set_user_id() {
	[ -n "$is_root" ] && return # root keeps the bits, as everywhere
	for change in "write 0 1 x" "truncate 5" "punch 0 1" "falloc 0 8192"; do
		echo data >"$mnt/suid"
		chmod 6755 "$mnt/suid"
		# shellcheck disable=SC2086 # words
		tool_file "$mnt/suid" $change
		same 755 "$(stat -c %a "$mnt/suid")" "after $change"
		chmod 6755 "$mnt/suid"
		# shellcheck disable=SC2086
		tool_file -d "$mnt/suid" $change
		same 755 "$(stat -c %a "$mnt/suid")" "uncached, after $change"
	done
}

flags_keep_the_owner_out_too() {
	command -v chattr >/dev/null || { echo "e2fsprogs is not installed"; return 1; }
	echo a >"$mnt/flags"
	chattr +a "$mnt/flags"
	fails_with "not permitted" dd if=/dev/null of="$mnt/flags" conv=notrunc
	fails_with "not permitted" truncate -s 0 "$mnt/flags"
	fails_with "not permitted" rm -f "$mnt/flags"
	fails_with "not permitted" touch -d yesterday "$mnt/flags"
	touch "$mnt/flags"
	echo b >>"$mnt/flags"
	same "a b" "$(paste -sd' ' "$mnt/flags")"
	chattr -a +i "$mnt/flags"
	fails_with "not permitted" tee -a "$mnt/flags" </dev/null
	fails_with "not permitted" chmod 600 "$mnt/flags"
	fails_with "not permitted" touch "$mnt/flags"
	fails_with "not permitted" ln "$mnt/flags" "$mnt/flags2"
	fails_with "not permitted" mv "$mnt/flags" "$mnt/flags2"
	chattr -i "$mnt/flags"
	rm "$mnt/flags"
}

# --- as root: two users ---

# by_user and by_other run a command as one of two people who share a group.
other=udaxtest2
by_user() { runuser -u "$user" -- "$@"; }
by_other() { runuser -u "$other" -- "$@"; }

make_users() {
	getent group udaxshared >/dev/null || groupadd udaxshared
	for name in "$user" "$other"; do
		id "$name" >/dev/null 2>&1 || useradd --no-create-home "$name"
		usermod -aG udaxshared "$name"
	done
}

each_users_files_are_that_users() {
	chmod 1777 "$mnt"
	by_user sh -c "umask 077; echo private >'$mnt/u'"
	same "$(id -u "$user") $(id -g "$user")" "$(stat -c '%u %g' "$mnt/u")"
	same private "$(by_user cat "$mnt/u")"
	fails_with "Permission denied" by_other cat "$mnt/u"
	fails_with "Permission denied" by_other tee "$mnt/u"
	fails_with "not permitted" by_other chmod 777 "$mnt/u"
	fails_with "not permitted" by_other chown "$other" "$mnt/u"
	fails_with "cannot touch" by_other touch -d 2001-01-01 "$mnt/u"
}

a_sticky_directory_protects_names() {
	fails_with "not permitted" by_other rm -f "$mnt/u"
	fails_with "not permitted" by_other mv "$mnt/u" "$mnt/v"
	by_user rm "$mnt/u"
}

supplementary_groups_count() {
	echo shared >"$mnt/shared"
	chown root:udaxshared "$mnt/shared"
	chmod 640 "$mnt/shared"
	same shared "$(by_other cat "$mnt/shared")"
	chmod 600 "$mnt/shared"
	fails_with "Permission denied" by_other cat "$mnt/shared"
}

a_set_group_id_directory_passes_its_group_on() {
	mkdir "$mnt/team"
	chown "root:udaxshared" "$mnt/team"
	chmod 2775 "$mnt/team"
	by_user mkdir "$mnt/team/d"
	by_user touch "$mnt/team/f"
	same "$(getent group udaxshared | cut -d: -f3)" "$(stat -c %g "$mnt/team/f")"
	[[ $(stat -c %a "$mnt/team/d") = 2* ]]
}

a_new_owner_does_not_get_the_old_ones_power() {
	cp /bin/true "$mnt/power"
	chown "$user" "$mnt/power"
	chmod 6755 "$mnt/power"
	chown "$other" "$mnt/power"
	same 755 "$(stat -c %a "$mnt/power")"
}

writes_of_others_clear_set_user_id() {
	for option in -a -d; do # neither matters for pwrite and truncate but for the mode of the file
		echo data >"$mnt/bits"
		chmod 6777 "$mnt/bits"
		by_other tool_file "$option" "$mnt/bits" write 0 1 x
		same 777 "$(stat -c %a "$mnt/bits")" "written $option"
		chmod 6777 "$mnt/bits"
		by_other tool_file "$option" "$mnt/bits" truncate 2
		same 777 "$(stat -c %a "$mnt/bits")" "truncated $option"
		chmod 6777 "$mnt/bits"
		tool_file "$option" "$mnt/bits" write 0 1 y
		same 6777 "$(stat -c %a "$mnt/bits")" "written by root $option"
	done
}

set_group_id_without_execute_lasts_for_the_group() {
	local change
	for change in "write 0 1 x" "truncate 3" "punch 0 1" "falloc 0 8192"; do
		echo data >"$mnt/sgid"
		chmod 2666 "$mnt/sgid"
		# shellcheck disable=SC2086 # words
		by_other tool_file "$mnt/sgid" $change
		same 666 "$(stat -c %a "$mnt/sgid")" "from outside, after $change"
		chgrp udaxshared "$mnt/sgid"
		chmod 2666 "$mnt/sgid"
		# shellcheck disable=SC2086
		by_other tool_file "$mnt/sgid" $change
		same 2666 "$(stat -c %a "$mnt/sgid")" "from inside, after $change"
		rm "$mnt/sgid"
	done
}

lists_of_access_are_enforced_and_inherited() {
	command -v setfacl >/dev/null || { echo "acl is not installed"; return 1; }
	echo acl >"$mnt/acl"
	chmod 600 "$mnt/acl"
	fails_with "Permission denied" by_other cat "$mnt/acl"
	setfacl -m "u:$other:r" "$mnt/acl"
	same acl "$(by_other cat "$mnt/acl")"
	fails_with "Permission denied" by_user cat "$mnt/acl"
	chmod 000 "$mnt/acl" # the mask goes with it
	fails_with "Permission denied" by_other cat "$mnt/acl"
	mkdir "$mnt/default"
	setfacl -d -m "u:$other:rwx" "$mnt/default"
	umask 077
	echo inherited >"$mnt/default/f"
	same inherited "$(by_other cat "$mnt/default/f")"
	mkdir "$mnt/default/d"
	getfacl -p -d "$mnt/default/d" | grep -q "^user:$other:rwx"
}

a_list_of_access_does_not_give_away_a_group() {
	command -v setfacl >/dev/null || { echo "acl is not installed"; return 1; }
	touch "$mnt/group"
	chown "$user:root" "$mnt/group"
	chmod 2755 "$mnt/group"
	by_user setfacl -m u::rwx,g::rwx,o::r "$mnt/group"
	same 774 "$(stat -c %a "$mnt/group")"
}

writing_takes_a_capability_away() {
	command -v setcap >/dev/null || { echo "libcap2-bin is not installed"; return 1; }
	for option in -a -d; do
		for change in "write 0 1 x" "truncate 5"; do
			rm -f "$mnt/capable"
			cp /bin/true "$mnt/capable"
			setcap cap_net_raw+ep "$mnt/capable"
			[[ $(getcap "$mnt/capable") = *cap_net_raw* ]]
			# shellcheck disable=SC2086 # words
			tool_file "$option" "$mnt/capable" $change
			same "" "$(getcap "$mnt/capable")" "after $change, opened with $option"
		done
	done
}

trusted_attributes_are_roots() {
	command -v setfattr >/dev/null || { echo "attr is not installed"; return 1; }
	touch "$mnt/attr" && chmod 666 "$mnt/attr"
	setfattr -n trusted.t -v 1 "$mnt/attr"
	fails_with "No such attribute" by_user getfattr -n trusted.t "$mnt/attr"
	fails_with "not permitted" by_user setfattr -n trusted.t -v 2 "$mnt/attr"
	by_user setfattr -n user.u -v 2 "$mnt/attr"
	same 2 "$(by_other getfattr --only-values -n user.u "$mnt/attr" 2>/dev/null)"
}

# --- as root, without allow_other: a user's own mount ---

a_users_mount_is_the_users() {
	local own=$work/own
	mkdir "$own"
	chown "$user" "$own"
	chmod 755 "$own"
	by_user mkfs.udaxfs --size 16M "$own/r" >/dev/null
	by_user mkdir "$own/mnt"
	by_user udaxfs "$own/r" "$own/mnt"
	by_user sh -c "echo mine >'$own/mnt/f'"
	same "$(id -u "$user")" "$(by_user stat -c %u "$own/mnt/f")"
	fails_with "Permission denied" ls "$own/mnt"
	fails_with "Permission denied" by_other ls "$own/mnt"
	fails_with "in use by process" by_user udaxfs "$own/r" "$own/mnt"
	by_user fusermount3 -u "$own/mnt"
	# A mount that follows at once waits for the one that is ending.
	by_user udaxfs "$own/r" "$own/mnt"
	same mine "$(by_user cat "$own/mnt/f")"
	by_user fusermount3 -u "$own/mnt"
	fsck_clean "$own/r"
}

a_mount_in_a_user_namespace_needs_no_helper() {
	local own=$work/namespace
	mkdir "$own"
	chown "$user" "$own"
	chmod 755 "$own"
	by_user mkdir "$own/mnt"
	cat >"$own/inside" <<-'END'
		PATH=$1:/nowhere
		cd "$2" || exit
		[ -e r ] || mkfs.udaxfs --size 16M r >/dev/null || exit
		udaxfs r mnt && echo "inside as $(/usr/bin/id -u)" >mnt/f && /bin/cat mnt/f && /bin/umount mnt
	END
	# As root of the namespace, with a volume made there; and as oneself, with the user's own.
	by_user unshare -Urm sh "$own/inside" "$UDAX_BUILD" "$own" >"$work/out"
	same "inside as 0" "$(cat "$work/out")"
	wait_for 10 fsck_clean "$own/r"
	rm "$own/r"
	by_user mkfs.udaxfs --size 16M "$own/r" >/dev/null
	by_user unshare -Ucm --keep-caps sh "$own/inside" "$UDAX_BUILD" "$own" >"$work/out"
	same "inside as $(id -u "$user")" "$(cat "$work/out")"
	wait_for 10 fsck_clean "$own/r"
}

if [ -n "$is_root" ]; then
	make_users
	start_mount "$region" "$mnt" allow_other,suid || exit 1
else
	start_mount "$region" "$mnt" || exit 1
fi
for test in the_root_directory_is_the_makers files_belong_to_their_creator the_umask_is_applied \
	modes_are_kept_and_enforced writing_clears_set_user_id; do
	check $test
done
for test in flags_keep_the_owner_out_too each_users_files_are_that_users a_sticky_directory_protects_names \
	supplementary_groups_count a_set_group_id_directory_passes_its_group_on \
	a_new_owner_does_not_get_the_old_ones_power writes_of_others_clear_set_user_id \
	set_group_id_without_execute_lasts_for_the_group \
	lists_of_access_are_enforced_and_inherited a_list_of_access_does_not_give_away_a_group \
	writing_takes_a_capability_away trusted_attributes_are_roots; do
	check_as_root $test
done
stop_mount "$mnt"
check_as_root a_users_mount_is_the_users
check_as_root a_mount_in_a_user_namespace_needs_no_helper
finish
