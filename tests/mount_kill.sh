#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# The daemon dies while several processes work (tests/tool_witness.c): by kill -9, also while it
# recovers; by an aborted connection; with the mount taken away lazily. Every operation that was
# acknowledged must be there after the next mount, the one under way wholly or not at all, fsck must
# find nothing, and what earlier rounds left must not have changed.
#
#	KILL_SEED=N tests/mount_kill.sh	begins with the same random numbers; when the daemon dies
#					is another matter
. "$(dirname "$0")/lib.sh"

[ "${UDAX_FULL-}" != 1 ] || UDAX_TEST_LEVEL=full
seed=${KILL_SEED:-$((RANDOM * 100000 + RANDOM))}
writers=4 rounds=10
if [ "$UDAX_TEST_LEVEL" != quick ]; then rounds=100 limit=1200; fi
mnt=$work/mnt
region=$(make_region 128M) || exit 1
note "KILL_SEED=$seed"

# --- witnesses: round N works in $mnt/N and notes in $work/log.N what was acknowledged ---

# Each of them has noted an operation.
all_at_work() {
	same "$writers" "$(od -An -v -t u8 -w8 "$work/log.$1" | grep -vc ' 0$')"
}

begin_round() {
	mkdir "$mnt/$1"
	tool_witness -s $((seed + $1)) -p "$writers" -t 20 "$mnt/$1" "$work/log.$1" >"$work/round" 2>&1 &
	wait_for 10 all_at_work "$1"
	sleep "0.$((RANDOM % 10))$((RANDOM % 10))"
}

end_round() { # what the witnesses of the round at hand have to say; $! is their watch
	wait $! || { cat "$work/round"; return 1; }
}

all_is_there() {
	tool_witness -v -s $((seed + $1)) -p "$writers" "$mnt/$1" "$work/log.$1"
}

# This round, and the one before, which nobody has touched; older ones go.
look_back() {
	all_is_there "$1"
	[ ! -e "$mnt/$(($1 - 1))" ] || all_is_there $(($1 - 1))
	[ ! -e "$mnt/$(($1 - 2))" ] || rm -r "${mnt:?}/$(($1 - 2))"
}

# --- how a daemon can die ---

# Recovery is interrupted too, now and then more than once.
die_in_recovery() {
	local state=$work/recovery
	mkdir -p "$state"
	while [ $((RANDOM % 3)) = 0 ]; do
		udaxfs -f "$region" "$mnt" >"$state/log" 2>&1 &
		sleep "0.0$((RANDOM % 3))$((RANDOM % 10))"
		kill -KILL $!
		wait $! || true
		_unmount "$mnt" lazily 2>"$state/umount" || true
	done
}

rounds_of_kill_9() {
	local round
	start_mount "$region" "$mnt"
	for round in $(seq 1 "$rounds"); do
		begin_round "$round"
		crash_mount "$mnt"
		end_round
		fsck_clean "$region"
		die_in_recovery
		start_mount "$region" "$mnt"
		look_back "$round"
	done
	_stop_mount "$mnt"
	fsck_clean "$region"
}

# The daemon hears that nobody will ask it any more, and ends as after an unmount.
rounds_of_aborted_connections() {
	local round state
	state=$(_state "$mnt")
	for round in $(seq 1001 $((1000 + (rounds + 2) / 3))); do
		start_mount "$region" "$mnt"
		begin_round "$round"
		_abort_all
		end_round
		wait_for 30 test -e "$state/status"
		same 0 "$(cat "$state/status")" "exit status of the daemon"
		no_reports "$mnt"
		! _is_mounted "$mnt" || _unmount "$mnt" lazily
		fsck_clean "$region"
		start_mount "$region" "$mnt"
		look_back "$round"
		_stop_mount "$mnt"
	done
}

# Nobody finds the mount any more, but who works in it goes on to the end.
rounds_of_lazy_unmounts() {
	local round state
	state=$(_state "$mnt")
	for round in $(seq 2001 $((2000 + (rounds + 4) / 5))); do
		start_mount "$region" "$mnt"
		mkdir "$mnt/$round"
		tool_witness -s $((seed + round)) -p "$writers" -t 1 "$mnt/$round" "$work/log.$round" \
			>"$work/round" 2>&1 &
		wait_for 10 all_at_work "$round"
		_unmount "$mnt" lazily
		end_round
		wait_for 30 test -e "$state/status"
		same 0 "$(cat "$state/status")" "exit status of the daemon"
		no_reports "$mnt"
		fsck_clean "$region"
		start_mount "$region" "$mnt"
		look_back "$round"
		_stop_mount "$mnt"
	done
}

# What a store left in the page cache is lost with the daemon: then msync must not say that it is safe.
a_sync_for_a_dead_daemon_fails() {
	local program
	start_mount "$region" "$mnt"
	tool_file -c "$mnt/dead" write 0 4096 a map 4096 store 0 10 b sync fsync store 0 10 c size \
		sleep 3000 sync >"$work/dead" &
	program=$!
	wait_for 10 grep 4096 "$work/dead"
	crash_mount "$mnt"
	wait "$program" && return 1
	grep sync: "$work/dead"
}

_title="kill -9 loses nothing that was acknowledged" check rounds_of_kill_9
check a_sync_for_a_dead_daemon_fails
if [ "$(id -u)" = 0 ] || [ -w /sys/fs/fuse/connections ]; then
	_title="an aborted connection loses nothing that was acknowledged" \
		check rounds_of_aborted_connections
else
	skip "as root: an aborted connection loses nothing that was acknowledged" \
		"only root can abort a connection"
fi
_title="a lazy unmount loses nothing that was acknowledged" check rounds_of_lazy_unmounts
finish
