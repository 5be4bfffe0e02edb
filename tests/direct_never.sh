#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# What must never happen to direct mappings, as far as it takes a real daemon, kernel or other user to show;
# docs/TESTING.md says where the rest is tested.
. "$(dirname "$0")/lib.sh"

mnt=$work/mnt
touches=30000 limit=100
[ "$UDAX_TEST_LEVEL" = quick ] || touches=1000000 limit=1200
region=$(make_region 512M) || exit 1
start_mount "$region" "$mnt" recall_timeout=0.3 || exit 1

quarantined() { udaxctl df --json "$mnt" | jq .quarantined_bytes; }
is_quarantined() { [ "$(quarantined)" -ge 65536 ]; }
nothing_is_quarantined() { [ "$(quarantined)" = 0 ]; }
free_bytes() { stat -f -c '%f * %S' "$mnt" | { read -r sum; echo $((sum)); }; }
where() { udaxctl map --json "$mnt/q" | jq '.extents[0].region_bytes'; }

# What a stopped client maps, when its file is punched, is neither free nor anybody else's: not while this daemon
# runs, and not for the next one.
a_stopped_client_keeps_its_blocks_from_everybody() {
	local client free place
	truncate -s 16M "$mnt/q"
	tool_direct "$mnt/q" store 0 secret sh "touch $work/ready; exec sleep 300" &
	client=$!
	wait_for 10 test -e "$work/ready"
	place=$(where) free=$(free_bytes)
	kill -STOP "$client"
	udaxctl punch "$mnt/q" 0 65536
	is_quarantined
	udaxctl df "$mnt" | grep '^ *quarantined .*64 KiB'
	same 1 "$(udaxctl holders --json "$mnt/q" | jq '[.. | .late? // empty] | max')" 'late recalls in holders'
	[ "$(free_bytes)" -le "$free" ]
	crash_mount "$mnt"
	start_mount "$region" "$mnt" recall_timeout=0.3
	is_quarantined
	[ "$(free_bytes)" -le "$free" ]
	yes other | dd of="$mnt/filler" bs=1M 2>&1 | grep -q 'No space' # all that is free is used
	same secret "$(dd if="$region" iflag=skip_bytes,count_bytes skip="$place" count=6 status=none)" \
		'what the stopped client maps'
	is_quarantined
	pkill -KILL -P "$client"
	kill -KILL "$client"
	wait_for 20 nothing_is_quarantined
	rm "$mnt/filler"
	[ "$(free_bytes)" -ge "$free" ]
}

# Whoever connects may come from anywhere: the name of the socket is in /proc/net/unix.
another_user_never_gets_the_region() {
	local name
	name=$(sed -n "s/.* @\(udaxfs-[0-9a-f]*\)$/\1/p" /proc/net/unix | sort -u)
	name=$(for one in $name; do ! is_socket_of "$one" || echo "$one"; done)
	[ "$name" ]
	# Where the build is the other user may not look.
	cp "$UDAX_BUILD"/tests/tool_{stranger,direct} "$UDAX_BUILD/libudax.so.0" "$work"
	same welcome "$(tool_stranger "$name")" 'what the same user gets'
	same nothing "$(as_user "$work/tool_stranger" "$name")" 'what another user gets'
	truncate -s 16M "$mnt/open"
	chmod 666 "$mnt/open"
	fails_with 'the mount belongs to another user' \
		as_user env LD_LIBRARY_PATH="$work" "$work/tool_direct" "$mnt/open" load 0 ''
}
# The socket's inode is in its name's line, and among the daemon's descriptors.
is_socket_of() {
	local inode
	while read -r inode; do
		! find "/proc/$(daemon_pid "$mnt")/fd" -lname "socket:\[$inode\]" | grep -q . || return 0
	done < <(awk -v name="@$1" '$NF == name { print $7 }' /proc/net/unix)
	return 1
}

a_reader_is_not_let_store() {
	truncate -s 16M "$mnt/read"
	chmod 444 "$mnt/read"
	fails_with 'Permission denied' tool_direct "$mnt/read" store 0 x
}

# The other bound is the kernel's: vm.max_map_count.
pages_all_over_a_sparse_file_stay_within_the_bound() {
	tool_sparse "$mnt/sparse" "$touches" 1000
	rm "$mnt/sparse"
	UDAX_MAX_PIECES=500 tool_sparse "$mnt/sparse" 10000 5
	rm "$mnt/sparse"
}

# Row 59.
nobody_maps_directly_what_the_kernel_caches() { tool_modes "$mnt/modes" "${RACE_SECONDS:-2}"; }

check nobody_maps_directly_what_the_kernel_caches
[ -z "${RACES-}" ] || { stop_mount "$mnt"; finish; } # by itself: scripts/unprotected
check a_stopped_client_keeps_its_blocks_from_everybody
check pages_all_over_a_sparse_file_stay_within_the_bound
[ "$(id -u)" = 0 ] || check a_reader_is_not_let_store
stop_mount "$mnt"
check fsck_clean "$region"
if [ "$(id -u)" = 0 ]; then
	start_mount "$region" "$mnt" allow_other || exit 1
	chmod 755 "$mnt"
fi
check_as_root another_user_never_gets_the_region
[ "$(id -u)" != 0 ] || stop_mount "$mnt"
finish
