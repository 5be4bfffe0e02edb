#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# Locks that can be watched: udaxctl lockstat on a real mount that is busy, with programs
# through the kernel and with clients that map its files directly.
. "$(dirname "$0")/lib.sh"
mnt=$work/mnt
region=$(make_region 128M)
start_mount "$region" "$mnt" recall_timeout=0.2

json() { # json FILTER FILE
	jq -e -r "$1" "$2"
}

# while_busy COMMAND... - run it while others read, write, punch and map files of the mount.
while_busy() {
	local status=0
	head -c 4M /dev/zero >"$mnt/busy"
	head -c 1M /dev/zero >"$mnt/cached"
	truncate -s 16M "$mnt/direct"
	: >"$work/go"
	while [ -e "$work/go" ]; do dd if="$mnt/busy" iflag=direct of=/dev/null bs=64K; done 2>/dev/null &
	while [ -e "$work/go" ]; do dd if="$mnt/busy" iflag=direct of=/dev/null bs=64K; done 2>/dev/null &
	while [ -e "$work/go" ]; do
		dd if=/dev/zero of="$mnt/busy" oflag=direct conv=notrunc bs=64K count=16
	done 2>/dev/null &
	while [ -e "$work/go" ]; do
		fallocate -p -o 8K -l 64K "$mnt/cached"
		cat "$mnt/cached" >/dev/null
		printf x >>"$mnt/log"
	done &
	while [ -e "$work/go" ]; do
		tool_direct "$mnt/direct" store 0 a store 65536 b \
			sh "udaxctl punch '$mnt/direct' 0 8K" load 4096 '' >/dev/null || true
	done &
	"$@" || status=$?
	rm "$work/go"
	wait
	return "$status"
}

# --- lockstat ---

readers_and_writers_stand_apart() {
	udaxctl lockstat --on --reset "$mnt"
	while_busy wait_for 30 both_waited
	udaxctl lockstat --off "$mnt"
	udaxctl lockstat --json "$mnt" >"$work/stat"
	json '.classes[] | select(.name == "iolock") |
		.contentions == .shared.contentions + .exclusive.contentions and
		.acquisitions == .shared.acquisitions + .exclusive.acquisitions and
		.wait_total_ns == .shared.wait_total_ns + .exclusive.wait_total_ns and
		.wait_max_ns == ([.shared.wait_max_ns, .exclusive.wait_max_ns] | max) and
		.wait_min_ns > 0 and .wait_avg_ns >= .wait_min_ns and .wait_avg_ns <= .wait_max_ns' \
		"$work/stat"
	json 'all(.classes[]; .con_bounces <= .contentions and .acq_bounces <= .acquisitions and
		.hold_avg_ns <= .hold_max_ns and .hold_min_ns <= .hold_max_ns)' "$work/stat"
	json '.classes[] | select(.name == "holder") | .shared.acquisitions == 0' "$work/stat"
	# Who waited, and for whom: places in the source.
	json '.classes[] | select(.name == "iolock") | (.contention_points + .contended_with) |
		length >= 2 and all(.site | test("^src/[a-z_]+\\.c:[0-9]+$"))' "$work/stat"
	udaxctl lockstat "$mnt" >"$work/text"
	grep -qE '^ +iolock-R: +[0-9]+ +[0-9]+ ' "$work/text"
	grep -qE '^ +iolock-W: +[0-9]+ +[0-9]+ ' "$work/text"
	grep -qE '^ +iolock +[0-9]+ waited at +\[src/' "$work/text"
	grep -qE '^ +iolock +[0-9]+ held from +\[src/' "$work/text"
	! grep -E 'holder-[RW]:' "$work/text" || return 1
	same 'con-bounces contentions waittime-min waittime-max waittime-total waittime-avg acq-bounces acquisitions holdtime-min holdtime-max holdtime-total holdtime-avg' \
		"$(head -n 1 "$work/text" | sed 's/ *class name *//' | tr -s ' ')" columns
}
both_waited() {
	udaxctl lockstat --json "$mnt" | jq -e '.classes[] | select(.name == "iolock") |
		.shared.contentions > 0 and .exclusive.contentions > 0'
}
check readers_and_writers_stand_apart

classes_are_sorted_by_any_column() {
	local column
	while read -r column member; do
		udaxctl lockstat --sort "$column" --json "$mnt" >"$work/stat"
		json "[.classes[].$member] | . == (sort | reverse)" "$work/stat"
	done <<'END'
con-bounces con_bounces
contentions contentions
waittime-total wait_total_ns
waittime-avg wait_avg_ns
acquisitions acquisitions
holdtime-max hold_max_ns
END
	udaxctl lockstat --json "$mnt" >"$work/stat"
	json '[.classes[].contentions] | . == (sort | reverse)' "$work/stat"
	udaxctl lockstat --sort order --json "$mnt" >"$work/stat"
	same 'i_rwsem mmap_lock folio rename iolock mmaplock journal ilock alloc holder icache leaf' \
		"$(json '[.classes[].name] | join(" ")' "$work/stat")" 'in lock order'
	fails_with 'there is no such column' udaxctl lockstat --sort nonsense "$mnt"
	fails_with 'does not go with' udaxctl lockstat --sort order --on "$mnt"
}
check classes_are_sorted_by_any_column

stop_mount "$mnt"

finish
