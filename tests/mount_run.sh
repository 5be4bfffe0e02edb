#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# scripts/run: from nothing to a mounted volume, for the user who called, as often as he likes,
# and never at the price of what a region holds.
. "$(dirname "$0")/lib.sh"

run=$(dirname "$tests")/scripts/run
region=$work/r.pmem
export UDAX_BUILD

# unmount_as_told - with the very command that scripts/run printed.
unmount_as_told() {
	local command
	command=$(sed -n '/^Unmount:$/{n;p;}' "$work/said")
	[ "$command" ]
	eval "$command"
	! mountpoint -q "$work/mnt"
}

a_region_is_made_formatted_and_mounted() {
	"$run" "$region" "$work/mnt" | tee "$work/said"
	same 1073741824 "$(stat -c %s "$region")" "size"
	[ "$(stat -c %b "$region")" -ge 2097152 ] # all of it is allocated
	echo hello >"$work/mnt/hello"
}

the_mount_is_the_callers() {
	same "$(id -u)" "$(stat -c %u "$work/mnt")" "owner of the root directory"
	same "$(id -u)" "$(stat -c %u "$work/mnt/hello")" "owner of a new file"
	[[ $(findmnt -n -o OPTIONS "$work/mnt") == *user_id=$(id -u),* ]]
}

a_second_call_says_that_it_is_mounted() {
	"$run" "$region" "$work/mnt" | tee "$work/said"
	grep 'already mounted' "$work/said"
	same hello "$(cat "$work/mnt/hello")"
}

what_the_dead_left_is_replaced() {
	kill -KILL "$(pgrep -f "udaxfs $region $work/mnt")"
	wait_for 10 fails_with 'not connected' ls "$work/mnt"
	"$run" "$region" "$work/mnt"
	same hello "$(cat "$work/mnt/hello")"
	unmount_as_told
}

a_volume_is_not_formatted_again() {
	SUDO_USER=root "$run" "$region" "$work/mnt" | tee "$work/said"
	same hello "$(cat "$work/mnt/hello")"
	the_mount_is_the_callers
	unmount_as_told
}

a_blank_file_keeps_its_size() {
	truncate --size 32M "$work/blank"
	"$run" "$work/blank" "$work/mnt"
	same $((32 << 20)) "$(stat -c %s "$work/blank")" "size"
	unmount_as_told
}

what_holds_anything_is_left_alone() {
	truncate --size 32M "$work/foreign"
	echo x | dd of="$work/foreign" bs=1 seek=20000000 conv=notrunc status=none
	cp "$work/foreign" "$work/copy"
	fails_with 'could not mount' "$run" "$work/foreign" "$work/mnt"
	cmp "$work/foreign" "$work/copy"
}

a_directory_is_no_region() {
	fails_with 'neither a file nor a devdax' "$run" "$work/state" "$work/mnt"
}

another_filesystem_on_the_mount_point_is_refused() {
	fails_with 'something else is mounted' "$run" "$region" /proc
}

check a_region_is_made_formatted_and_mounted
check the_mount_is_the_callers
check a_second_call_says_that_it_is_mounted
check what_the_dead_left_is_replaced
check a_volume_is_not_formatted_again
check a_blank_file_keeps_its_size
check what_holds_anything_is_left_alone
check a_directory_is_no_region
check another_filesystem_on_the_mount_point_is_refused
check fsck_clean "$region"
finish
