#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# The mount program: it returns when the mount is usable, says in one sentence what is wrong
# otherwise, ends well on signals, and lets nobody mount a region twice.
. "$(dirname "$0")/lib.sh"

mnt=$work/mnt
region=$(make_region 32M) || exit 1
# Only one daemon at a time here; its pid is what the refusal of a second mount names.
serving() { udaxfs "$region" "$mnt" 2>&1 | sed -n 's/.*in use by process \([0-9]*\).*/\1/p'; }
ended() { ! kill -0 "$1" || grep -q '^State:.*zombie' "/proc/$1/status"; }
take_away() {
	local pid
	pid=$(serving)
	_unmount "$mnt"
	wait_for 20 ended "$pid"
}

the_mount_is_usable_when_the_program_returns() {
	udaxfs "$region" "$mnt"
	echo usable >"$mnt/f"
	same usable "$(cat "$mnt/f")"
	same "$region" "$(findmnt -n -o SOURCE "$mnt")"
	same fuse.udaxfs "$(findmnt -n -o FSTYPE "$mnt")"
	take_away
	fsck_clean "$region"
}

a_mount_that_follows_at_once_waits() {
	for _ in 1 2 3 4 5; do
		udaxfs "$region" "$mnt"
		echo x >>"$mnt/again"
		_unmount "$mnt"
	done
	udaxfs "$region" "$mnt"
	same 10 "$(wc -c <"$mnt/again")"
	take_away
}

a_region_is_mounted_once() {
	mkdir -p "$work/second"
	udaxfs "$region" "$mnt"
	fails_with "in use by process $(serving): unmount it" udaxfs "$region" "$work/second"
	fails_with "in use by" udaxfs -o ro "$region" "$work/second"
	take_away
}

what_is_wrong_is_said() {
	fails_with "$work/nothing: No such file" udaxfs "$work/nothing" "$mnt"
	fails_with "$work/nowhere: No such file" udaxfs "$region" "$work/nowhere"
	: >"$work/file"
	fails_with "not a directory" udaxfs "$region" "$work/file"
	fails_with "is a directory" udaxfs "$work" "$mnt"
	head -c 1M /dev/zero >"$work/blank"
	fails_with "mkfs.udaxfs" udaxfs "$work/blank" "$mnt"
	fails_with "bogus" udaxfs -o bogus "$region" "$mnt"
	fails_with "no such policy" udaxfs -o mmaplock=bogus "$region" "$mnt"
	fails_with "not sound: *row 16*refuted" udaxfs -o mmaplock=page-eof "$region" "$mnt"
	fails_with "not sound" udaxfs -o mmaplock=none "$region" "$mnt"
	fails_with "power of two" udaxfs -o granule=5000 "$region" "$mnt"
	fails_with "negative" udaxfs -o attr_timeout=-1 "$region" "$mnt"
	fails_with "are needed" udaxfs "$region"
	fails_with '' mountpoint -q "$mnt"
}

a_read_only_mount_changes_nothing() {
	local sum
	udaxfs "$region" "$mnt" && echo kept >"$mnt/ro" && take_away
	sum=$(cksum <"$region")
	chmod a-w "$region"
	[ "$(id -u)" = 0 ] || fails_with "-o ro" udaxfs "$region" "$mnt"
	udaxfs -o ro "$region" "$mnt"
	same kept "$(cat "$mnt/ro")"
	fails_with "Read-only" touch "$mnt/new"
	fails_with "Read-only" rm -f "$mnt/ro"
	# The first read in a day would be noted elsewhere.
	cat "$mnt/again" >/dev/null
	ls "$mnt" >/dev/null
	take_away
	chmod u+w "$region"
	same "$sum" "$(cksum <"$region")"
}

a_signal_unmounts() {
	local pid signal
	for signal in TERM INT HUP; do
		udaxfs "$region" "$mnt"
		pid=$(serving)
		echo "$signal" >"$mnt/signal"
		kill "-$signal" "$pid"
		wait_for 20 ended "$pid"
		fails_with '' mountpoint -q "$mnt"
		fsck_clean "$region"
		udaxfs "$region" "$mnt"
		same "$signal" "$(cat "$mnt/signal")"
		take_away
	done
}

a_signal_writes_back_what_programs_stored() {
	local pid user_pid
	udaxfs "$region" "$mnt"
	pid=$(serving)
	tool_file -c "$mnt/stored" truncate 8192 map 8192 store 0 8192 s sleep 20000 &
	user_pid=$!
	wait_for 5 test -s "$mnt/stored"
	sleep 0.5
	kill -TERM "$pid"
	wait_for 20 ended "$pid"
	kill "$user_pid"
	wait "$user_pid" || true
	wait_for 5 fsck_clean "$region"
	udaxfs "$region" "$mnt"
	same "8192xs " "$(tool_file "$mnt/stored" read 0 8192)"
	take_away
}

files_of_killed_programs_are_reclaimed() {
	local pid before
	udaxfs "$region" "$mnt"
	pid=$(serving)
	before=$(stat -f -c %f "$mnt")
	tool_file -c "$mnt/orphan" write 0 4M x unlink sleep 20000 &
	wait_for 5 test ! -e "$mnt/orphan" && sleep 0.3
	kill -TERM "$pid"
	wait_for 20 ended "$pid"
	kill %1
	fsck_clean "$region"
	udaxfs "$region" "$mnt"
	same "$before" "$(stat -f -c %f "$mnt")"
	take_away
}

a_sound_policy_can_be_chosen() {
	local policy
	for policy in mmaplock range; do
		udaxfs -o "mmaplock=$policy,lockdep" "$region" "$mnt"
		same "$policy" "$(udaxctl info --json "$mnt" | jq -r .mmaplock)"
		tool_file -c "$mnt/$policy" write 0 64K x punch 4096 8192 truncate 20000 map 20000 \
			store 5000 100 y
		same "4096xx 904x. 100xy " "$(tool_file "$mnt/$policy" read 0 5100)"
		take_away
		fsck_clean "$region"
	done
}

help_and_version_are_given() {
	udaxfs --help | grep -q -- "-o mmaplock=POLICY"
	udaxfs --help | grep -q "  range: "
	fails_with '' grep -q "page-eof" <<<"$(udaxfs --help)"
	udaxfs --version | grep -q "^udaxfs [0-9]"
}

pairs_of_locks_are_written_at_the_end() {
	udaxfs -o "lockdep_pairs=$work/pairs" "$region" "$mnt"
	touch "$mnt/pairs"
	take_away
	grep -q -- "^journal -> ilock" "$work/pairs"
}

few_threads_are_enough() {
	udaxfs -o max_threads=1 "$region" "$mnt"
	tool_file -c "$mnt/few" write 0 1M x map 1M store 5000 10 s punch 100 5000 data 0 load 0 1 \
		truncate 5 truncate 1M load 0 1
	tool_file -d "$mnt/few" write 0 1M y
	same "1xy " "$(tool_file "$mnt/few" map 1M load 1000 1)"
	take_away
}

for test in the_mount_is_usable_when_the_program_returns a_mount_that_follows_at_once_waits \
	a_region_is_mounted_once what_is_wrong_is_said a_read_only_mount_changes_nothing \
	a_signal_unmounts a_signal_writes_back_what_programs_stored \
	files_of_killed_programs_are_reclaimed a_sound_policy_can_be_chosen help_and_version_are_given \
	pairs_of_locks_are_written_at_the_end few_threads_are_enough; do
	check $test
done
finish
