#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# What cannot be mounted: each is refused in one sentence that says what is wrong, with mount(8)'s
# exit status, in the background as in the foreground, and not a byte of it changes.
# (Volumes from a later version also: tests/unit_features.c. Damage anywhere: tests/unit_fuzz_image.c.)
. "$(dirname "$0")/lib.sh"

mnt=$work/mnt
it=$work/it

# refused TEXT [STATUS] - to mount $it is refused with TEXT, and changes nothing.
refused() {
	local option before after
	before=$(stat -c '%s %Y %b' "$it" 2>/dev/null; if [ -f "$it" ] && [ -r "$it" ]; then sha256sum <"$it"; fi)
	for option in -f -orw; do
		status=0
		timeout 20 udaxfs "$option" "$it" "$mnt" >"$work/said" 2>&1 || status=$?
		same "${2-32}" "$status" "exit status with $option"
		same 1 "$(wc -l <"$work/said")" "lines" || cat "$work/said"
		grep -F -- "$1" "$work/said" || { cat "$work/said"; return 1; }
		fails_with '' mountpoint -q "$mnt"
	done
	after=$(stat -c '%s %Y %b' "$it" 2>/dev/null; if [ -f "$it" ] && [ -r "$it" ]; then sha256sum <"$it"; fi)
	same "$before" "$after" "what it is"
}

formatted() { mkfs.udaxfs --force --size 4M "$it"; }
start_anew() { rm -rf "$it"; }

a_missing_region() {
	refused 'No such file or directory' 1 # as any argument that cannot be
}

a_directory() {
	mkdir "$it"
	refused 'is a directory'
}

a_fifo() {
	mkfifo "$it"
	refused 'neither a file nor a devdax'
}

a_character_device_that_is_no_devdax() {
	ln -s /dev/zero "$it"
	refused 'devdax'
}

one_that_is_too_small() {
	truncate -s 10000 "$it"
	refused 'the smallest volume takes 262144; make it larger'
	: >"$it"
	refused 'the smallest volume takes 262144; make it larger'
}

a_blank_one() {
	truncate -s 4M "$it"
	refused 'there is no udaxfs on it: format it with mkfs.udaxfs'
}

a_foreign_one() {
	mkfs.ext4 -q -F "$it" 8M
	refused 'there is no udaxfs on it'
}

one_that_was_cut_off() {
	formatted
	truncate -s 2M "$it"
	refused 'it was cut off'
}

one_with_both_superblocks_damaged() {
	formatted
	printf x | dd of="$it" bs=1 seek=100 conv=notrunc status=none
	printf x | dd of="$it" bs=1 seek=$((2 * 4096 + 100)) conv=notrunc status=none
	refused 'both superblocks are damaged: try fsck.udaxfs -y'
}

one_with_a_damaged_inode_file() {
	formatted
	printf x | dd of="$it" bs=1 seek=$((3 * 4096 + 8)) conv=notrunc status=none
	refused 'run fsck.udaxfs -y'
}

one_that_uses_features_that_nobody_here_knows() {
	formatted
	tool_feature "$it" incompat 7
	tool_feature "$it" incompat 40
	tool_feature "$it" ro_compat 0
	refused 'features that are not known here (ro_compat R0, incompat I7 I40): use a newer udaxfs'
	fails_with 'known here (ro_compat R0, incompat I7 I40): use a newer fsck.udaxfs' fsck.udaxfs -y "$it"
}

one_that_may_not_be_written() {
	formatted
	chmod 444 "$it"
	refused 'permission is missing; change it, or mount read-only'
	chmod 000 "$it"
	refused 'permission is missing'
	chmod 600 "$it"
}

one_that_is_mounted() {
	formatted
	start_mount "$it" "$work/other"
	for option in -f -orw; do
		fails_with "is in use by process $(daemon_pid "$work/other"): unmount it there first" \
			udaxfs "$option" "$it" "$mnt"
	done
	_stop_mount "$work/other"
	fsck_clean "$it"
}

a_mount_point_that_is_missing_or_no_directory() {
	formatted
	fails_with 'No such file or directory' udaxfs "$it" "$work/nowhere"
	: >"$work/file"
	fails_with 'is not a directory' udaxfs "$it" "$work/file"
}

# The kernel may still have the attributes of what is dead.
a_mount_point_that_somebody_dead_has_left() {
	formatted
	start_mount "$it" "$mnt"
	ls -la "$mnt"
	kill -KILL "$(daemon_pid "$mnt")"
	wait_for 10 test -e "$(_state "$mnt")/status"
	fails_with "take it away with \`fusermount3 -uz $mnt\`" udaxfs "$it" "$mnt"
	_unmount "$mnt" lazily
	start_mount "$it" "$mnt"
	_stop_mount "$mnt"
}

impossible_options() {
	formatted
	fails_with 'unknown option' udaxfs -o nonsense "$it" "$mnt"
	fails_with 'mmaplock' udaxfs -o mmaplock=nonsense "$it" "$mnt"
	fails_with 'granule' udaxfs -o granule=3000 "$it" "$mnt"
	fails_with 'granule' udaxfs -o granule=many "$it" "$mnt"
	fails_with 'recall_timeout' udaxfs -o recall_timeout=never "$it" "$mnt"
	fails_with '' mountpoint -q "$mnt"
}

refuses() { # refuses FUNCTION
	_title="refused: ${1//_/ }" check "$1"
	start_anew
}

refuses a_missing_region
refuses a_directory
refuses a_fifo
refuses a_character_device_that_is_no_devdax
refuses one_that_is_too_small
refuses a_blank_one
refuses a_foreign_one
refuses one_that_was_cut_off
refuses one_with_both_superblocks_damaged
refuses one_with_a_damaged_inode_file
refuses one_that_uses_features_that_nobody_here_knows
if [ "$(id -u)" != 0 ]; then refuses one_that_may_not_be_written; fi # root may write to anything
refuses one_that_is_mounted
refuses a_mount_point_that_is_missing_or_no_directory
refuses a_mount_point_that_somebody_dead_has_left
refuses impossible_options
finish
