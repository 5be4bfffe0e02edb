#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# Read-only mounts. Of a volume that was unmounted nothing is written. One that was not is recovered
# first, which writes, as other filesystems do it; where that is not allowed, it is refused.
. "$(dirname "$0")/lib.sh"

mnt=$work/mnt
locked=$work/locked # here nobody may write to what lies in it
mkdir "$locked"

# A region whose daemon was killed, with a transaction that is committed and not yet retired.
make_dirty_region() {
	start_mount "$1" "$mnt"
	echo kept >"$mnt/kept"
	crash_mount "$mnt"
	tool_journal "$1"
	grep journal-replay <<<"$(fsck.udaxfs -n "$1")"
}

# lock_up REGION - root may write to any file, but not to one on a read-only mount.
lock_up() {
	cp --sparse=always "$1" "$locked/region"
	chmod 444 "$locked/region"
	[ "$(id -u)" != 0 ] || mount --bind "$locked" "$locked"
	[ "$(id -u)" != 0 ] || mount -o remount,bind,ro "$locked"
}

unlock() {
	[ "$(id -u)" != 0 ] || umount "$locked"
	rm -f "$locked/region"
}

nothing_can_be_written() {
	fails_with 'Read-only file system' touch "$mnt/new"
	fails_with 'Read-only file system' rm "$mnt/kept"
	fails_with 'Read-only file system' truncate -s 1 "$mnt/kept"
	fails_with 'Read-only file system' chmod 600 "$mnt/kept"
}

of_an_unmounted_volume_not_a_byte_changes() {
	local region=$1
	start_mount "$region" "$mnt"
	echo kept >"$mnt/kept"
	_stop_mount "$mnt"
	cp "$region" "$work/before"
	start_mount "$region" "$mnt" ro
	same kept "$(cat "$mnt/kept")"
	nothing_can_be_written
	_stop_mount "$mnt"
	cmp "$region" "$work/before"
	rm "$work/before"
}

two_read_it_at_the_same_time() {
	start_mount "$1" "$mnt" ro
	start_mount "$1" "$work/two" ro
	same kept "$(cat "$mnt/kept")"
	same kept "$(cat "$work/two/kept")"
	fails_with 'is in use by process' udaxfs "$1" "$work/state"
	_stop_mount "$work/two"
	_stop_mount "$mnt"
}

what_was_not_unmounted_is_recovered_first() {
	make_dirty_region "$1"
	start_mount "$1" "$mnt" ro
	daemon_log "$mnt" | grep 'was not unmounted: recovered before it is mounted read-only'
	same kept "$(cat "$mnt/kept")"
	nothing_can_be_written
	_stop_mount "$mnt"
	fsck_clean "$1"
	fails_with '' grep -E 'not-clean|needs-recovery' <<<"$(fsck.udaxfs -n "$1")"
}

# Where nothing has to be replayed, or finished, nothing has to be written: what stands in files that
# have lost their names can wait.
what_died_in_peace_is_not_recovered() {
	local fd
	start_mount "$1" "$mnt"
	echo gone >"$mnt/unlinked"
	exec {fd}<"$mnt/unlinked"
	rm "$mnt/unlinked"
	crash_mount "$mnt"
	exec {fd}<&-
	cp "$1" "$work/before"
	start_mount "$1" "$mnt" ro
	same kept "$(cat "$mnt/kept")"
	_stop_mount "$mnt"
	cmp "$1" "$work/before"
	rm "$work/before"
}

two_that_recover_at_the_same_time_both_read() {
	local a b
	make_dirty_region "$1"
	mkdir -p "$work/two"
	udaxfs -o ro "$1" "$mnt" &
	a=$!
	udaxfs -o ro "$1" "$work/two" &
	b=$!
	wait "$a"
	wait "$b"
	same kept "$(cat "$mnt/kept")"
	same kept "$(cat "$work/two/kept")"
	_unmount "$work/two"
	_unmount "$mnt"
	wait_for 20 fsck.udaxfs -p "$1"
	fsck_clean "$1"
}

what_cannot_be_written_is_read() {
	lock_up "$1"
	start_mount "$locked/region" "$mnt" ro
	same kept "$(cat "$mnt/kept")"
	_stop_mount "$mnt"
	fails_with "'-o ro'" udaxfs "$locked/region" "$mnt"
	unlock
}

what_needs_recovery_and_cannot_be_written_is_refused() {
	make_dirty_region "$1"
	lock_up "$1"
	fails_with 'needs recovery, which writes, and it cannot be written: allow that, or copy it' \
		udaxfs -o ro "$locked/region" "$mnt"
	cmp "$1" "$locked/region"
	unlock
	# and as the message says
	cp --sparse=always "$1" "$work/copy"
	start_mount "$work/copy" "$mnt" ro
	same kept "$(cat "$mnt/kept")"
	_stop_mount "$mnt"
	rm "$work/copy"
}

# The kernel knows it too: nobody is offered to write.
what_a_later_program_wrote_is_for_reading() {
	tool_feature "$1" ro_compat 41
	cp "$1" "$work/before"
	start_mount "$1" "$mnt"
	daemon_log "$mnt" |
		grep 'mounted read-only: the volume uses features that are not known here (ro_compat R41)'
	findmnt -n -o OPTIONS "$mnt" | grep -E '^ro,'
	udaxctl info "$mnt" | grep 'features: ro_compat R41'
	same kept "$(cat "$mnt/kept")"
	nothing_can_be_written
	start_mount "$1" "$work/two" ro
	_stop_mount "$work/two"
	_stop_mount "$mnt"
	cmp "$1" "$work/before"
	udaxctl info "$1" | grep 'features: ro_compat R41'
	rm "$work/before"
}

what_a_later_program_has_not_unmounted_is_refused() {
	tool_journal "$1"
	cp "$1" "$work/before"
	fails_with 'not known here (ro_compat R41): mount it with a newer udaxfs' udaxfs "$1" "$mnt"
	cmp "$1" "$work/before"
	rm "$work/before"
}

region=$(make_region 64M) || exit 1
check of_an_unmounted_volume_not_a_byte_changes "$region"
check two_read_it_at_the_same_time "$region"
check what_was_not_unmounted_is_recovered_first "$region"
check what_died_in_peace_is_not_recovered "$region"
check two_that_recover_at_the_same_time_both_read "$region"
check what_cannot_be_written_is_read "$region"
check what_needs_recovery_and_cannot_be_written_is_refused "$region"
region=$(make_region 64M) || exit 1
start_mount "$region" "$mnt" || exit 1
echo kept >"$mnt/kept"
stop_mount "$mnt"
check what_a_later_program_wrote_is_for_reading "$region"
check what_a_later_program_has_not_unmounted_is_refused "$region"
finish
