#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# The exerciser (tool_exerciser.c) and the stress (tool_stress.c) with direct mappings: every byte is known, of
# files that are loaded from, stored to, read, written, truncated, punched, zeroed, collapsed, inserted
# into and exchanged, by one process alone, by several with files of their own, and by threads and
# processes that look at the same files through mappings and by read(2) and write(2). With a granule of
# 4 KiB and of 2 MiB. Every process proves at its end that it ran direct (maps.h).
#
#	EXERCISER_SEED=N tests/direct_exerciser.sh	repeats a run; it is printed at its start
. "$(dirname "$0")/lib.sh"

seed=${EXERCISER_SEED:-$((RANDOM * 100000 + RANDOM))}
if [ "$UDAX_TEST_LEVEL" = quick ]; then
	operations=6000 seconds=5
else
	operations=150000 seconds=120 limit=1800
fi
mnt=$work/mnt
note "EXERCISER_SEED=$seed"

counter() { udaxctl stat --json "$mnt" | jq --exit-status ".$1 // .counters.$1"; }

# in_directory COMMAND... - in a new one. The daemon is asked, too, what it has served.
in_directory() {
	local dir faults recalls
	dir=$(mktemp -d "$mnt/XXXXXX")
	faults=$(counter faults) recalls=$(counter recalls)
	udaxrun --require-direct "$@" "$dir"
	[ "$(counter faults)" -gt $((faults + 100)) ]
	[ "$(counter recalls)" -gt $((recalls + 50)) ]
	rm -r "$dir"
}

bytes_are_as_stored() { in_directory tool_exerciser -s "$seed" -n "$operations" -m direct -l "$1"; }
processes_do_not_disturb_each_other() {
	in_directory tool_exerciser -s $((seed + 100)) -n $((operations / 4)) -m direct -p 4 -l "$1"
}
mappings_and_system_calls_agree() {
	in_directory tool_stress -s $((seed + 200)) -t "$seconds" -p 2 -T 3 -f 4 -m direct
}

for granule in 4K 2M; do
	size=1048576
	[ $granule = 4K ] || size=16777216
	region=$(make_region 512M) || exit 1
	start_mount "$region" "$mnt" granule=$granule || exit 1
	_title="granule $granule: bytes are as stored" check bytes_are_as_stored $size
	_title="granule $granule: processes do not disturb each other" \
		check processes_do_not_disturb_each_other $size
	_title="granule $granule: mappings and system calls agree" check mappings_and_system_calls_agree
	stop_mount "$mnt"
	_title="granule $granule: fsck finds nothing" check fsck_clean "$region"
	rm "$region"
done
finish
