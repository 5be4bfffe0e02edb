#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# Random operations on files of which every byte is known: tests/tool_exerciser.c, in both modes,
# with small files and large ones, in one process and in several, over remounts, and as somebody who
# is root only in a namespace of his own.
#
#	EXERCISER_SEED=N tests/mount_exerciser.sh	repeats a run; it is printed at its start
. "$(dirname "$0")/lib.sh"

[ "${UDAX_FULL-}" != 1 ] || UDAX_TEST_LEVEL=full
seed=${EXERCISER_SEED:-$((RANDOM * 100000 + RANDOM))}
if [ "$UDAX_TEST_LEVEL" = quick ]; then
	operations=10000 rounds=4
else
	operations=150000 rounds=30 limit=1800
fi
mnt=$work/mnt
note "EXERCISER_SEED=$seed"

# exercise SEED OPTIONS... - in a directory of its own. Other seeds for each, so that they differ.
exercise() {
	local dir=$mnt/exercise.$1 seed=$((seed + $1))
	shift
	mkdir "$dir"
	tool_exerciser -s "$seed" -n "$operations" "$@" "$dir"
	rm -r "$dir"
}

bytes_are_as_written_in_cached_mode() { exercise 1000 -m cached; }
bytes_are_as_written_in_uncached_mode() { exercise 2000 -m uncached; }
bytes_are_as_written_while_modes_change() { exercise 3000 -m mixed -l 262144; }
bytes_are_as_written_in_tiny_files() { exercise 4000 -m mixed -l 65536; }
bytes_are_as_written_in_large_files() { exercise 5000 -m mixed -l 16777216 -n $((operations / 8)); }
processes_do_not_disturb_each_other() { exercise 6000 -m mixed -p 6 -n $((operations / 4)); }

bytes_are_as_written_after_remounts() {
	local round dir=$mnt/remounts
	mkdir "$dir"
	for round in $(seq "$rounds"); do
		tool_exerciser -s $((seed + 7000 + round * 10)) -n $((operations / 8)) -p 2 \
			-k "$work/kept" "$dir"
		remount "$mnt"
	done
	tool_exerciser -n 1 -p 2 -k "$work/kept" "$dir"
}

bytes_are_as_written_with_few_threads() {
	remount "$mnt" max_threads=1
	exercise 8000 -m mixed -p 3 -n $((operations / 8))
	remount "$mnt"
}

# The daemon lives and ends with the namespace; the mount is nowhere else. The volume is made there
# too: its root directory belongs to somebody whom the namespace knows.
in_a_namespace() {
	local region=$ram/private.pmem
	unshare -Urm bash -c '
		set -e
		mkfs.udaxfs --size 64M "$1"
		udaxfs -f -o lockdep "$1" "$2" &
		for i in $(seq 500); do mountpoint -q "$2" && break; sleep 0.02; done
		tool_exerciser -s "$3" -n "$4" -m mixed "$2"
		umount "$2"
		wait $!
	' - "$region" "$work/private" "$((seed + 9000))" $((operations / 4)) >"$work/private.log" 2>&1 || {
		cat "$work/private.log"
		return 1
	}
	fails_with "" grep -E "WARNING: |ERROR: |Assertion" "$work/private.log"
	fsck_clean "$region"
}

region=$(make_region 256M) || exit 1
start_mount "$region" "$mnt" || exit 1
for test in bytes_are_as_written_in_cached_mode bytes_are_as_written_in_uncached_mode \
	bytes_are_as_written_while_modes_change bytes_are_as_written_in_tiny_files \
	bytes_are_as_written_in_large_files processes_do_not_disturb_each_other \
	bytes_are_as_written_after_remounts bytes_are_as_written_with_few_threads; do
	check $test
done
stop_mount "$mnt"
_title="fsck finds nothing afterwards" check fsck_clean "$region"

mkdir "$work/private"
if unshare -Urm true 2>/dev/null; then
	_title="bytes are as written for the root of a user namespace" check in_a_namespace
else
	skip "bytes are as written for the root of a user namespace" \
		"user namespaces are not allowed here"
fi
finish
