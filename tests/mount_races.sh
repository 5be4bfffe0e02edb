#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# The races that this kind of filesystem has really had, as far as a mount can show them: one test
# for each, by tests/tool_race.c, on a small volume of its own so that what is freed is soon somebody
# else's. Each operation has 30 seconds. The numbers are those of the list in docs/RACES.md.
#
#	RACES='NAME ...' RACE_SECONDS=N tests/mount_races.sh	only those, for so long each
. "$(dirname "$0")/lib.sh"

[ "${UDAX_FULL-}" != 1 ] || UDAX_TEST_LEVEL=full
seconds=${RACE_SECONDS:-1}
[ "$UDAX_TEST_LEVEL" = quick ] || seconds=${RACE_SECONDS:-60}
limit=$((seconds + 60))
mnt=$work/mnt

# options_of CASE - of the mount, where the case needs other ones.
options_of() {
	case $1 in
	more_requests_than_threads_do_not_lock_up) echo max_threads=2 ;;
	esac
}

race() { RACE_DAEMON=$(daemon_pid "$mnt") tool_race "$1" "$mnt" "$seconds"; }

# on_a_volume_of_its_own FUNCTION CASE - not with stop_mount: it would count as a test each time.
on_a_volume_of_its_own() {
	local region
	region=$(make_region 16M)
	start_mount "$region" "$mnt" "$(options_of "$2")"
	"$1" "$2"
	_stop_mount "$mnt"
	fsck_clean "$region"
	rm "$region"
}

for case in ${RACES:-$(tool_race --list)}; do
	_title=${case//_/ } check on_a_volume_of_its_own race "$case"
done

[ -z "${RACES-}" ] || finish

# 38: a daemon that waits for its own mount waits for ever.
no_file_of_its_own_mount() {
	local file device
	device=$(stat -c %d "$mnt")
	for file in "/proc/$(daemon_pid "$mnt")"/{cwd,root,exe,fd/*}; do
		[ "$(stat -Lc %d "$file" 2>/dev/null)" != "$device" ] || {
			ls -l "$file"
			return 1
		}
	done
	fails_with "" grep -F "$mnt/" "/proc/$(daemon_pid "$mnt")/maps"
}

from_a_directory_that_the_mount_covers() {
	local region pid
	region=$(make_region 16M)
	mkdir -p "$mnt"
	cd "$mnt"
	start_mount "$region" "$mnt"
	pid=$(daemon_pid "$mnt")
	cd "$work"
	echo hello >"$mnt/file"
	no_file_of_its_own_mount
	kill -TERM "$pid"
	wait_for 20 test -e "$(_state "$mnt")/status"
	same 0 "$(cat "$(_state "$mnt")/status")" "exit status of the daemon"
	fsck_clean "$region"
}

# 66, by the program: what cat and a mapping have left in the kernel's cache is not what comes next.
what_udaxctl_exchanges_is_seen_by_the_next_read() {
	local i
	tool_file -c "$mnt/a" write 0 65536 a
	tool_file -c "$mnt/b" write 0 65536 b
	for i in 1 2 3 4; do
		cat "$mnt/a" "$mnt/b" >"$work/before"
		tool_file -r "$mnt/a" mapro 65536 load 0 65536 >/dev/null
		# The kernel closes files some time after the program has.
		wait_for 5 udaxctl exchange "$mnt/a" 0 "$mnt/b" 0 65536
		cat "$mnt/b" "$mnt/a" >"$work/after"
		cmp "$work/before" "$work/after"
		same "65536x$([ $((i % 2)) = 1 ] && echo b || echo a) " \
			"$(tool_file -r "$mnt/a" mapro 65536 load 0 65536)" "a through a mapping"
	done
}

_title="what udaxctl exchanges is seen by the next read" \
	check on_a_volume_of_its_own what_udaxctl_exchanges_is_seen_by_the_next_read none
_title="the daemon has nothing of its own mount open" \
	check on_a_volume_of_its_own no_file_of_its_own_mount none
_title="a daemon started where it mounts can be stopped" check from_a_directory_that_the_mount_covers

# 48, a fault that waits for a recall for the service thread of its own process, needs a client that
# maps the region directly: docs/model/uncached-gate.pml shows it.
finish
