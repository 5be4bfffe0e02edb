#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# As large as it gets: a file, an attribute, a directory; and that neither a mount nor memory grows
# with the number of files. The million of them is left to --full: some minutes.
#
#	LARGE_NAMES=1000000 tests/mount_large.sh
. "$(dirname "$0")/lib.sh"

mnt=$work/mnt
names=${LARGE_NAMES:-20000}
[ "$UDAX_TEST_LEVEL" = quick ] || { names=${LARGE_NAMES:-1000000} limit=1500; }
region=$(make_region $((256 + names / 1000))M) || exit 1
tib=$((1 << 40))

a_sparse_file_has_16_TiB_and_not_a_byte_more() {
	truncate -s 16T "$mnt/sparse"
	same $((16 * tib)) "$(stat -c %s "$mnt/sparse")" size
	same 0 "$(stat -c %b "$mnt/sparse")" blocks
	tool_file "$mnt/sparse" write $((16 * tib - 5)) 5 x read $((16 * tib - 5)) 100 >"$work/out"
	same 5xx "$(tr -d " " <"$work/out")" "5 times x, at the end"
	same 8 "$(stat -c %b "$mnt/sparse")" blocks
	same $((16 * tib - 4096)) "$(tool_file -r "$mnt/sparse" data 0)" "where its data begin"
	fails_with 'File too large' truncate -s $((16 * tib + 1)) "$mnt/sparse"
	fails_with 'File too large' dd if=/dev/zero of="$mnt/sparse" bs=4096 count=1 conv=notrunc \
		oflag=seek_bytes seek=$((16 * tib)) status=none
	same $((16 * tib)) "$(stat -c %s "$mnt/sparse")" size
	remount "$mnt"
	same 8 "$(stat -c %b "$mnt/sparse")" blocks
	rm "$mnt/sparse"
}

an_attribute_has_64_KiB_and_not_a_byte_more() {
	: >"$mnt/f"
	tool_xattr set "$mnt/f" user.large 65536
	same 65536 "$(tool_xattr get "$mnt/f" user.large)" "bytes in the attribute"
	fails_with 'Argument list too long' tool_xattr set "$mnt/f" user.larger 65537
	remount "$mnt"
	same 65536 "$(tool_xattr get "$mnt/f" user.large)" "bytes in the attribute"
}

a_directory_is_filled() {
	mkdir "$mnt/many"
	(cd "$mnt/many" && seq -f 'name %.0f' "$names" | tr '\n' '\0' | xargs -0 touch)
	same "$names" "$(find "$mnt/many" -name 'name *' | wc -l)" names
}

names_are_found_made_and_removed_in_it() {
	local i
	for i in 1 $((names / 2)) "$names"; do
		same 0 "$(stat -c %s "$mnt/many/name $i")" size
		rm "$mnt/many/name $i"
		fails_with 'No such file' stat "$mnt/many/name $i"
		echo x >"$mnt/many/name $i"
	done
	same "$names" "$(find "$mnt/many" -name 'name *' | wc -l)" names
}

counter() { udaxctl stat --json "$mnt" | jq ".counters.$1 // .$1"; }

# What the kernel has not forgotten cannot be forgotten here; but that is bounded, each.
an_inode_costs_less_than_a_KiB_of_memory() {
	local inodes bytes
	inodes=$(counter inodes_cached) bytes=$(counter inode_cache_bytes)
	echo "$inodes inodes, $bytes bytes"
	[ "$inodes" -gt 0 ] && [ $((bytes / inodes)) -lt 1024 ]
}

# mounts_at_once WHEN - in less than a second, however many files there are. How long it took is printed.
mounts_at_once() {
	local start=$EPOCHREALTIME took
	udaxfs "$region" "$mnt"
	took=$(((${EPOCHREALTIME/./} - ${start/./}) / 1000))
	echo "mounted in $took ms $1, with $names names" | tee -a "$work/took"
	[ "$took" -lt 1000 ]
	same 0 "$(stat -c %s "$mnt/many/name 2")" size
}

it_is_mounted_at_once_after_a_crash() {
	crash_mount "$mnt"
	mounts_at_once 'after a crash'
	_unmount "$mnt"
}

it_is_mounted_at_once_after_an_unmount() {
	wait_for 30 fsck.udaxfs -p "$region"
	mounts_at_once 'after an unmount'
	_unmount "$mnt"
}

nothing_is_wrong_with_it() {
	wait_for 30 fsck.udaxfs -p "$region"
	fsck_clean "$region"
}

it_is_emptied() {
	rm -r "$mnt/many"
	[ ! -e "$mnt/many" ]
}

start_mount "$region" "$mnt" || exit 1
check a_sparse_file_has_16_TiB_and_not_a_byte_more
check an_attribute_has_64_KiB_and_not_a_byte_more
check a_directory_is_filled
check names_are_found_made_and_removed_in_it
check an_inode_costs_less_than_a_KiB_of_memory
check it_is_mounted_at_once_after_a_crash
check it_is_mounted_at_once_after_an_unmount
check nothing_is_wrong_with_it
start_mount "$region" "$mnt" || exit 1
check it_is_emptied
note "$(cat "$work/took")"
stop_mount "$mnt"
check fsck_clean "$region"
finish
