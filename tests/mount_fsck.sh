#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# fsck.udaxfs as a program: who may run it on what, its exit statuses and its words. What it finds
# and mends is tested in process (unit_fsck*, crash_fsck).
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"

region=$(make_region 64M) || exit 1
mnt=$work/mnt

# exits STATUS COMMAND... - with what it printed in $output.
exits() {
	local wanted=$1 status=0
	shift
	output=$("$@" 2>&1) || status=$?
	[ "$status" = "$wanted" ] && return
	printf 'exit status %s, not %s: %s\n%s\n' "$status" "$wanted" "$*" "$output"
	return 1
}

says() {
	[[ $output == *$1* ]] && return
	printf 'does not say "%s":\n%s\n' "$1" "$output"
	return 1
}

# poke OFFSET BYTES [REGION] - change bytes of the region.
poke() { printf %s "$2" | dd of="${3-$region}" bs=1 seek="$1" conv=notrunc status=none; }

fill() {
	mkdir "$mnt/d"
	cp -r /usr/include/linux "$mnt/d/"
	ln -s some-target "$mnt/link"
	ln "$mnt/d/linux/fs.h" "$mnt/hard"
	truncate -s 1G "$mnt/sparse"
	mkfifo "$mnt/fifo"
}

a_mounted_region_is_refused_with_the_pid() {
	local pid
	pid=$(daemon_pid "$mnt")
	exits 8 fsck.udaxfs -y "$region"
	says "process $pid"
	exits 8 fsck.udaxfs -p "$region"
	says "process $pid"
}

a_mounted_region_can_be_looked_at() {
	sync -f "$mnt"
	exits 0 fsck.udaxfs -n "$region"
	says "is in use by process $(daemon_pid "$mnt")"
}

a_real_tree_has_no_damage() {
	exits 0 fsck.udaxfs -n "$region"
	says ": clean; "
	exits 0 fsck.udaxfs -y "$region"
	cmp "$region" "$ram/before"
}

a_clean_volume_is_not_checked_at_boot() {
	exits 0 fsck.udaxfs -p "$region"
	says "clean; not checked"
	exits 0 fsck.udaxfs -a -f "$region"
	says ": clean; "
}

after_a_crash_nothing_is_damaged() {
	start_mount "$region" "$mnt"
	cp -r /usr/include/asm-generic "$mnt/"
	exec 7>"$mnt/open-without-name"
	rm "$mnt/open-without-name"
	crash_mount "$mnt"
	exec 7>&-
	cp "$region" "$ram/crashed"
	exits 0 fsck.udaxfs -n "$region"
	says "not-clean: "
	says "needs-recovery: "
	cmp "$region" "$ram/crashed"
	exits 0 fsck.udaxfs -p "$region"
	says "what was pending has been finished"
	exits 0 fsck.udaxfs -p "$region"
	says "clean; not checked"
}

damage_is_mended_and_gone() {
	poke 200 x
	exits 4 fsck.udaxfs "$region"
	says "super-damaged: "
	says "NOT mended"
	exits 1 fsck.udaxfs -p "$region"
	says ": mended"
	exits 0 fsck.udaxfs -n "$region"
}

what_is_not_safe_waits_for_a_decision() {
	poke 5000 garbage
	cp "$region" "$ram/damaged"
	exits 4 fsck.udaxfs -p -f "$region"
	says "fsck.udaxfs -y"
	cmp "$region" "$ram/damaged"
	exits 1 fsck.udaxfs -y "$region"
	says "space-map-damaged"
	exits 0 fsck.udaxfs -n "$region"
}

a_mended_volume_can_be_used() {
	start_mount "$region" "$mnt"
	diff -r /usr/include/linux "$mnt/d/linux"
	same some-target "$(readlink "$mnt/link")"
	rm -r "$mnt/d/linux"
	_stop_mount "$mnt"
	exits 0 fsck.udaxfs -n "$region"
}

json_is_one_object() {
	exits 0 fsck.udaxfs --json -n "$region"
	jq -e '.schema_version == 1 and .result == "clean" and .findings == []' <<<"$output"
	poke 200 y
	exits 4 fsck.udaxfs --json -n "$region"
	jq -e '.exit_status == 4 and .by_code["super-damaged"] == 1 and .findings[0].block == 0 and
		(.findings[0].repaired | not)' <<<"$output"
	exits 1 fsck.udaxfs --json -y "$region"
	jq -e '.result == "mended" and .findings[0].repaired' <<<"$output"
}

what_cannot_be_checked_is_said() {
	exits 8 fsck.udaxfs "$work/nothing"
	says "does not exist"
	exits 8 fsck.udaxfs "$work"
	says "is a directory"
	truncate -s 1M "$ram/zeroes"
	exits 8 fsck.udaxfs -y "$ram/zeroes"
	says "no udaxfs"
	mke2fs -q "$ram/zeroes"
	exits 8 fsck.udaxfs -y "$ram/zeroes"
	says "ext2"
	head -c 1M "$region" >"$ram/cut"
	exits 8 fsck.udaxfs -y "$ram/cut"
	says "cut off"
	cp "$region" "$ram/lost"
	poke 100 x "$ram/lost"
	poke 8300 x "$ram/lost"
	exits 8 fsck.udaxfs -y "$ram/lost"
	says "both superblocks"
}

arguments_are_checked() {
	exits 16 fsck.udaxfs
	exits 16 fsck.udaxfs --no-such-option "$region"
	exits 16 fsck.udaxfs -n -y "$region"
	exits 16 fsck.udaxfs "$region" "$region"
	exits 0 fsck.udaxfs --help
	says "Usage: "
	exits 0 fsck.udaxfs --version
	says "fsck.udaxfs "
	exits 0 fsck.udaxfs -C0 -n "$region"
}

start_mount "$region" "$mnt" || exit 1
# Percentages of each part of the work, in one line that is gone at the end.
progress_is_shown_and_taken_away() {
	fsck.udaxfs -f -n -C "$region" >"$work/out" 2>"$work/progress"
	tr '\r' '\n' <"$work/progress" | sed 's/^\x1b\[K//' >"$work/parts"
	same '' "$(grep -vE '^([a-z ]+: ([0-9]|[1-9][0-9]|100)%)?$' "$work/parts")" "other words"
	for part in space inodes directories; do
		grep -q "^$part: " "$work/parts" || { echo "nothing of $part"; return 1; }
		sed -nE "s/^$part: ([0-9]+)%/\\1/p" "$work/parts" | sort -nc
	done
	same $'\r\e[K' "$(tail -c 4 "$work/progress")" "its end"
	! grep -q % "$work/out"
}

progress_is_for_terminals_unless_asked_for() {
	fsck.udaxfs -f -n "$region" 2>"$work/progress"
	same 0 "$(wc -c <"$work/progress")" "bytes on standard error"
}

check fill
check a_mounted_region_is_refused_with_the_pid
check a_mounted_region_can_be_looked_at
stop_mount "$mnt"
cp "$region" "$ram/before"
check a_real_tree_has_no_damage
check a_clean_volume_is_not_checked_at_boot
check after_a_crash_nothing_is_damaged
check damage_is_mended_and_gone
check what_is_not_safe_waits_for_a_decision
check a_mended_volume_can_be_used
check progress_is_shown_and_taken_away
check progress_is_for_terminals_unless_asked_for
check json_is_one_object
check what_cannot_be_checked_is_said
check arguments_are_checked
finish
