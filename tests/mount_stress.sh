#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# Threads and processes on the same files, under lockdep and a watchdog: tests/tool_stress.c. What
# must hold: no byte that is foreign, that was cleared and came back, or older than one that was seen
# written; no operation above 30 seconds; no report of lockdep; fsck finds nothing.
#
#	STRESS_SEED=N tests/mount_stress.sh	begins with the same random numbers
. "$(dirname "$0")/lib.sh"

[ "${UDAX_FULL-}" != 1 ] || UDAX_TEST_LEVEL=full
seed=${STRESS_SEED:-$((RANDOM * 100000 + RANDOM))}
seconds=5
[ "$UDAX_TEST_LEVEL" = quick ] || seconds=300
limit=$((seconds + 100))
mnt=$work/mnt
note "STRESS_SEED=$seed"

# storm SIZE MOUNT-OPTIONS TOOL-OPTIONS... - on a volume of its own.
storm() {
	local size=$1 options=$2 region
	shift 2
	region=$(make_region "$size")
	start_mount "$region" "$mnt" "$options"
	tool_stress -s "$seed" -t "$seconds" "$@" "$mnt"
	_stop_mount "$mnt"
	fsck_clean "$region"
	rm "$region"
}

threads_and_processes_in_cached_mode() { storm 128M '' -m cached -p 2 -T 4 -f 4; }
one_file_for_all_in_cached_mode() { storm 64M '' -m cached -p 1 -T 8 -f 1; }
threads_and_processes_in_uncached_mode() { storm 128M '' -m uncached -p 2 -T 4 -f 4; }
files_that_change_their_mode() { storm 128M '' -m mixed -p 3 -T 3 -f 12; }
more_threads_than_the_daemon_has() { storm 128M max_threads=1 -m cached -p 2 -T 12 -f 4; }
a_volume_without_room() { storm 4M '' -m mixed -p 2 -T 4 -f 8 -e; }

for test in threads_and_processes_in_cached_mode one_file_for_all_in_cached_mode \
	threads_and_processes_in_uncached_mode files_that_change_their_mode \
	more_threads_than_the_daemon_has a_volume_without_room; do
	check $test
done
finish
