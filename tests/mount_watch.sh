#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# Locks that can be watched: udaxctl lockstat and udaxctl record on a real mount that is busy, with programs
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

# --- record ---

trace=$work/trace.json

a_recording_is_a_trace_that_viewers_can_draw() {
	# On a busy machine a second may pass in which nobody has to wait.
	while_busy wait_for 40 recorded_waits
	tool_trace "$trace"
	json '.otherData.events | tonumber > 1000' "$trace"
	same "$mnt" "$(json .otherData.mount "$trace")" 'which mount'
	same "$(daemon_pid "$mnt")" "$(json .otherData.pid "$trace")" 'which daemon'
}
recorded_waits() {
	udaxctl record --seconds 1 -o "$trace" "$mnt" &&
		[ "$(grep -c 'waits for iolock' "$trace")" -gt 2 ]
}
check a_recording_is_a_trace_that_viewers_can_draw

it_shows_locks_waits_requests_gates_faults_and_recalls() {
	local what
	jq -r '.traceEvents[] | "\(.cat) \(.name)"' "$trace" | sort -u >"$work/names"
	while read -r what; do
		grep -qE "^$what" "$work/names" || { echo "nothing is '$what'"; return 1; }
	done <<'END'
lock iolock [0-9]+$
lock mmaplock [0-9]+$
lock ilock [0-9]+$
lock holder [0-9]+$
lock journal [0-9]+$
lock leaf$
blocked waits for iolock [0-9]+$
operation FUSE_READ [0-9]+\[[0-9]+\.\.[0-9]+\)$
operation FUSE_WRITE 
operation FUSE_FALLOCATE 
operation FUSE_OPEN [0-9]+$
kernel fill 
kernel gate 
kernel closes gate 
client write fault 
client recalls .* from client
client recall of 
client client [0-9]+ acknowledges$
END
}
check it_shows_locks_waits_requests_gates_faults_and_recalls

# Who waits names a place in the source; and somebody had what it waited for.
a_wait_has_a_holder() {
	json '[.traceEvents[] | select(.cat == "blocked" and (.name | startswith("waits for iolock")))] |
		all(.args.source | test("^src/[a-z_]+\\.c:[0-9]+$"))' "$trace"
	json '[.traceEvents[] | select(.cat == "blocked" and (.name | startswith("waits for iolock")))]
		as $waits | [.traceEvents[] | select(.cat == "lock" and .ph == "X")] as $locks |
		($waits | length > 2) and ($waits[1:20] | all(. as $w | any($locks[];
			.name == ($w.name | sub("waits for "; "")) and .tid != $w.tid and
			.ts < $w.ts + $w.dur and .ts + .dur > $w.ts)))' "$trace"
}
check a_wait_has_a_holder

it_says_how_much_it_saw() {
	udaxctl record --seconds 1 --json -o "$work/t2" "$mnt" >"$work/said"
	json '.schema_version == 1 and .dropped == 0 and .duration_ns >= 1000000000 and
		(.duration_ns == (.duration_ns | floor))' "$work/said"
	same "$(json .events "$work/said")" "$(json .otherData.events "$work/t2")" events
	udaxctl record --seconds 1 -o - "$mnt" >"$work/t3" 2>"$work/said"
	tool_trace "$work/t3"
	grep -q ' events in 1\.[0-9] s into -' "$work/said"
}
check it_says_how_much_it_saw

# One that is stopped does not read: the ring fills, and no more than the ring is kept.
what_does_not_fit_is_dropped_and_said() {
	local pid
	udaxctl record --events 1024 --seconds 0 -o "$work/t4" "$mnt" >"$work/said" &
	pid=$!
	wait_for 10 is_recording
	kill -STOP "$pid"
	for _ in $(seq 300); do echo x >>"$mnt/log"; done
	kill -CONT "$pid"
	sleep 0.1
	echo x >>"$mnt/log"
	sleep 0.1
	kill -INT "$pid"
	wait "$pid"
	grep -q ' more were dropped' "$work/said"
	tool_trace "$work/t4"
	json '.otherData.dropped | tonumber > 100' "$work/t4"
	json 'any(.traceEvents[]; .name | test("^[0-9]+ events are missing$"))' "$work/t4"
}
is_recording() { udaxctl info --json "$mnt" | jq -e .recording; }
check what_does_not_fit_is_dropped_and_said

an_interrupt_ends_it_with_what_there_is() {
	local pid signal
	for signal in INT TERM HUP; do
		udaxctl record --seconds 0 -o "$work/t5" "$mnt" >"$work/said" &
		pid=$!
		wait_for 10 is_recording
		echo x >>"$mnt/log"
		kill "-$signal" "$pid"
		wait "$pid"
		tool_trace "$work/t5"
		json 'any(.traceEvents[]; .name | startswith("FUSE_WRITE"))' "$work/t5"
	done
}
check an_interrupt_ends_it_with_what_there_is

one_that_was_killed_does_not_bar_others_for_long() {
	local pid
	udaxctl record --events 1024 --seconds 0 -o "$work/t6" "$mnt" >"$work/said" &
	pid=$!
	wait_for 10 is_recording
	kill -KILL "$pid"
	wait "$pid" || true
	fails_with 'is being recorded already' udaxctl record --seconds 1 -o "$work/t7" "$mnt"
	same 'not written' "$(cat "$work/t7" 2>/dev/null || echo 'not written')"
	sleep 10.5
	udaxctl record --seconds 1 -o "$work/t7" "$mnt"
	tool_trace "$work/t7"
}
check one_that_was_killed_does_not_bar_others_for_long

a_mount_ends_while_it_is_recorded() {
	local pid status=0
	mkdir -p "$work/other"
	start_mount "$(make_region 16M)" "$work/other"
	udaxctl record --seconds 30 -o "$work/t8" "$work/other" >"$work/said" 2>&1 &
	pid=$!
	sleep 0.5
	kill -TERM "$(daemon_pid "$work/other")"
	wait "$pid" || status=$?
	same 1 "$status" 'exit status'
	tool_trace "$work/t8" >/dev/null # what came before is whole
	wait_for 20 test -e "$(_state "$work/other")/status"
	no_reports "$work/other"
}
check a_mount_ends_while_it_is_recorded

wrong_command_lines_are_refused() {
	fails_with 'missing --output' udaxctl record "$mnt"
	fails_with 'give a number' udaxctl record -o x --seconds -1 "$mnt"
	fails_with 'give a number' udaxctl record -o x --seconds 1x "$mnt"
	fails_with 'give a number' udaxctl record -o x --events 5 "$mnt"
	fails_with 'do not go together' udaxctl record -o - --json "$mnt"
	fails_with 'not on a udaxfs mount' udaxctl record -o "$work/x" /
	fails_with 'No such file' udaxctl record -o "$work/no/such" "$mnt"
	fails_with '/dev/full' udaxctl record --seconds 1 -o /dev/full "$mnt"
	# It has ended each time.
	udaxctl record --seconds 1 -o /dev/null "$mnt"
}
check wrong_command_lines_are_refused

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

strangers_record_nothing() {
	chmod 777 "$mnt"
	fails_with 'not permitted' as_user "$(command -v udaxctl)" record --seconds 1 -o /dev/null "$mnt"
}
if [ "$(id -u)" = 0 ] && as_user "$(command -v udaxctl)" --version >/dev/null 2>&1; then
	start_mount "$region" "$mnt" allow_other
	check strangers_record_nothing
	stop_mount "$mnt"
else
	note "strangers: only root, with a build that others can read, can be somebody else"
fi

finish
