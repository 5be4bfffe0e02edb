#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# libudax on a real mount, through its public header (tests/tool_direct.c, contrib/direct_log.c):
# what other processes change is seen at once, children have mappings, and a daemon that is killed
# and started again is found again. With granules of 4 KiB and of 2 MiB.
. "$(dirname "$0")/lib.sh"

mnt=$work/mnt
# Of the mount at hand: its options, and where its last granule ends when EOF is at 8192.
options='' granule_end=0

bytes_at() { dd if="$1" iflag=direct,skip_bytes,count_bytes skip="$2" count="$3" status=none; }

stores_are_what_others_read() {
	truncate -s 16M "$mnt/a"
	tool_direct "$mnt/a" store 0 hello store 5000000 world faults load 0 hello load 4096 ''
	same hello "$(bytes_at "$mnt/a" 0 5)"
	same world "$(bytes_at "$mnt/a" 5000000 5)"
}

what_others_change_is_seen() {
	truncate -s 16M "$mnt/b"
	tool_direct "$mnt/b" store 0 first store 8192 third faults load 4096 '' \
		sh "printf second | dd of=$mnt/b oflag=direct,seek_bytes seek=4096 conv=notrunc status=none" \
		load 4096 second \
		sh "udaxctl punch $mnt/b 0 4096" load 0 '' faults load 4096 second \
		sh "udaxctl collapse $mnt/b 0 4096" load 0 second load 4096 third faults \
		sh "udaxctl insert $mnt/b 4096 4096" load 0 second load 4096 '' load 8192 third \
		sh "truncate -s 8192 $mnt/b" bus $((granule_end + 1)) bus 12000000 load 0 second \
		sh "truncate -s 16M $mnt/b" load 8192 '' store 8192 again load 8192 again
}

children_share_it() {
	truncate -s 16M "$mnt/c"
	tool_direct "$mnt/c" store 0 parent fork load 0 parent store 4096 child \
		fork load 4096 child store 8192 grandchild \
		sh "udaxctl punch $mnt/c 0 4096" load 0 ''
	tool_direct "$mnt/c" load 0 '' load 4096 child load 8192 grandchild
}

a_daemon_that_was_killed_is_found_again() {
	local client
	rm -f "$work/go" "$work/ready"
	truncate -s 16M "$mnt/d"
	UDAX_RECONNECT_MS=20000 tool_direct "$mnt/d" store 0 before \
		sh "touch $work/ready; while [ ! -e $work/go ]; do sleep 0.02; done" \
		store 4096 after load 0 before reattached &
	client=$!
	wait_for 10 test -e "$work/ready"
	crash_mount "$mnt"
	touch "$work/go"
	sleep 0.5 # it asks in vain meanwhile
	start_mount "$region" "$mnt" "$options"
	wait "$client"
	same after "$(bytes_at "$mnt/d" 4096 5)"
}

without_a_daemon_it_ends_in_time() {
	truncate -s 16M "$mnt/e"
	UDAX_RECONNECT_MS=300 tool_direct "$mnt/e" store 0 before \
		sh "kill -KILL $(daemon_pid "$mnt"); sleep 1" bus 0 2>"$work/out" || true
	wait_for 10 test -e "$(_state "$mnt")/status"
	cat "$work/out"
	# The mount is dead: what comes after the SIGBUS is msync, which says so.
	grep -q 'Input/output error' "$work/out"
	_unmount "$mnt" lazily
	start_mount "$region" "$mnt" "$options"
}

a_cached_file_is_refused_with_the_reason() {
	truncate -s 16M "$mnt/f"
	exec 5<"$mnt/f"
	fails_with 'without O_DIRECT' tool_direct "$mnt/f" load 0 ''
	exec 5<&-
	tool_direct "$mnt/f" load 0 ''
}

the_example_keeps_a_log() {
	direct_log "$mnt/log" one two >/dev/null
	same "one two three" "$(direct_log "$mnt/log" three | paste -sd' ')"
	remount "$mnt" "$options"
	same "one two three" "$(direct_log "$mnt/log" | paste -sd' ')"
}

for granule in 4K 2M; do
	options=assume_pmem,granule=$granule
	[ $granule = 4K ] && granule_end=8192 || granule_end=2097152
	region=$(make_region 256M) || exit 1
	start_mount "$region" "$mnt" "$options" || exit 1
	for test in stores_are_what_others_read what_others_change_is_seen children_share_it \
		a_cached_file_is_refused_with_the_reason a_daemon_that_was_killed_is_found_again \
		without_a_daemon_it_ends_in_time; do
		_title="granule $granule: ${test//_/ }" check $test
	done
	# It maps its log, which is no whole granule of 2M.
	[ $granule = 2M ] || check the_example_keeps_a_log
	stop_mount "$mnt"
	_title="granule $granule: fsck finds nothing" check fsck_clean "$region"
	rm "$region"
done
finish
