#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# mkfs.udaxfs: what it makes, what it refuses, and that a refusal changes nothing.
. "$(dirname "$0")/lib.sh"
r=$ram/r # the region of most tests; each begins without it

# refused TEXT ARGUMENT... - fails with TEXT, and the file $r is as it was (or as absent).
refused() {
	local before after
	before=$(fingerprint)
	fails_with "$@"
	after=$(fingerprint)
	same "$before" "$after" "$r after a refusal"
}
fingerprint() { if [ -e "$r" ]; then cksum <"$r"; else echo absent; fi; } # contents and size

json() { jq -e -r "$1" <<<"$2"; } # json FILTER TEXT

it_explains_itself() {
	mkfs.udaxfs --help | grep -q -- '--sparse'
	mkfs.udaxfs --version | grep -q '^mkfs.udaxfs [0-9]'
	fails_with 'REGION is missing' mkfs.udaxfs
	fails_with 'more than one REGION' mkfs.udaxfs a b
	fails_with "--help" mkfs.udaxfs --nonsense "$r"
}
check it_explains_itself

a_new_file_is_created_and_allocated() {
	rm -f "$r"
	mkfs.udaxfs --size 24M "$r" | grep -q 'volatile' || [ "$ram" = "$work" ]
	same $((24 << 20)) "$(stat -c %s "$r")" size
	[ "$(stat -c %b "$r")" -ge $((24 << 11)) ]
	fsck_clean "$r"
}
check a_new_file_is_created_and_allocated

without_a_size_a_new_file_has_1_GiB_and_an_empty_one_too() {
	rm -f "$r"
	mkfs.udaxfs --sparse "$r"
	same $((1 << 30)) "$(stat -c %s "$r")" size
	[ "$(stat -c %b "$r")" -lt $((64 << 11)) ]
	: >"$r"
	mkfs.udaxfs --sparse "$r"
	same $((1 << 30)) "$(stat -c %s "$r")" size
}
check without_a_size_a_new_file_has_1_GiB_and_an_empty_one_too

an_existing_file_keeps_its_size_or_grows() {
	rm -f "$r"
	truncate -s 3M "$r"
	mkfs.udaxfs "$r"
	same $((3 << 20)) "$(stat -c %s "$r")" size
	mkfs.udaxfs --force --size 5M "$r"
	same $((5 << 20)) "$(stat -c %s "$r")" size
	same $((5 << 20)) "$(udaxctl info --json "$r" | jq .size_bytes)" 'size of the volume'
	refused 'larger than that' mkfs.udaxfs --force --size 4M "$r"
}
check an_existing_file_keeps_its_size_or_grows

it_says_what_it_made_and_means_it() {
	local uuid=12345678-9abc-4def-8123-456789abcdef out info
	rm -f "$r"
	out=$(mkfs.udaxfs --json --size 16M --label 'a "label"' --uuid "${uuid^^}" --granule 64K "$r")
	info=$(udaxctl info --json "$r")
	same 1 "$(json .schema_version "$out")" schema_version
	for key in label uuid granule_bytes durability; do
		same "$(json ".$key" "$out")" "$(json ".$key" "$info")" "$key"
	done
	same 'a "label"' "$(json .label "$info")" label
	same "$uuid" "$(json .uuid "$info")" uuid
	same 65536 "$(json .granule_bytes "$info")" granule
	same 16777216 "$(json .size_bytes "$out")" size
	same true "$(json '.usable_bytes | . == floor and . > 15e6 and . < 16777216' "$out")" usable
	same "$(json .usable_bytes "$out")" \
		"$(udaxctl df --json "$r" | jq .available_bytes)" 'usable and available'
}
check it_says_what_it_made_and_means_it

two_volumes_have_two_uuids() {
	rm -f "$r"
	mkfs.udaxfs --size 1M "$r"
	udaxctl info --json "$r" | jq -r .uuid >"$work/first"
	mkfs.udaxfs --force "$r"
	fails_with '' same "$(cat "$work/first")" "$(udaxctl info --json "$r" | jq -r .uuid)"
}
check two_volumes_have_two_uuids

impossible_arguments_create_nothing() {
	local label
	label=$(printf 'x%.0s' {1..64})
	rm -f "$r"
	refused 'between 256 KiB and 256 TiB' mkfs.udaxfs --size 255K "$r"
	refused 'between 256 KiB and 256 TiB' mkfs.udaxfs --size 0 "$r"
	refused 'between 256 KiB and 256 TiB' mkfs.udaxfs --sparse --size 257T "$r"
	refused 'not a size' mkfs.udaxfs --size 5X "$r"
	refused 'not a size' mkfs.udaxfs --size -5M "$r"
	refused 'between' mkfs.udaxfs --size 99999999999999999999 "$r"
	refused 'power of two' mkfs.udaxfs --size 1M --granule 5000 "$r"
	refused 'power of two' mkfs.udaxfs --size 1M --granule 2K "$r"
	refused 'power of two' mkfs.udaxfs --size 1M --granule 2G "$r"
	refused 'at most 63 bytes' mkfs.udaxfs --size 1M --label "$label" "$r"
	refused 'not a UUID' mkfs.udaxfs --size 1M --uuid 123 "$r"
	mkfs.udaxfs --size 1M --label "${label%x}" "$r"
}
check impossible_arguments_create_nothing

no_room_leaves_nothing_behind() {
	rm -f "$r"
	refused 'No space left' mkfs.udaxfs --size 200T "$r"
	truncate -s 1M "$r"
	refused 'No space left' mkfs.udaxfs --size 200T "$r"
}
check no_room_leaves_nothing_behind

what_is_no_region_is_refused() {
	fails_with 'is a directory' mkfs.udaxfs "$work"
	fails_with 'not a devdax' mkfs.udaxfs /dev/null
	fails_with 'cannot be created' mkfs.udaxfs --size 1M "$work/nowhere/r"
	fails_with 'size cannot be chosen' mkfs.udaxfs --size 1M /dev/null
	mkfifo "$work/fifo"
	fails_with 'neither a file nor a devdax' mkfs.udaxfs "$work/fifo"
}
check what_is_no_region_is_refused

a_volume_is_not_overwritten_unless_forced() {
	rm -f "$r"
	mkfs.udaxfs --size 2M --label precious "$r"
	refused 'holds a udaxfs with the label precious' mkfs.udaxfs "$r"
	refused 'holds a udaxfs' mkfs.udaxfs --size 4M "$r"
	mkfs.udaxfs --force "$r"
	refused 'holds a udaxfs' mkfs.udaxfs "$r"
}
check a_volume_is_not_overwritten_unless_forced

nor_is_a_damaged_one() {
	rm -f "$r"
	mkfs.udaxfs --size 2M "$r"
	# The first superblock gone, the copy whole; then the copy's checksum wrong.
	dd if=/dev/zero of="$r" bs=4096 count=1 conv=notrunc status=none
	refused 'holds a udaxfs' mkfs.udaxfs "$r"
	printf X | dd of="$r" bs=1 seek=8300 conv=notrunc status=none
	refused 'a damaged superblock' mkfs.udaxfs "$r"
}
check nor_is_a_damaged_one

an_ext4_filesystem_is_recognised_and_wiped_when_forced() {
	rm -f "$r"
	truncate -s 16M "$r"
	mkfs.ext4 -q "$r"
	refused 'holds an ext4 filesystem' mkfs.udaxfs "$r"
	mkfs.udaxfs --force "$r"
	fails_with '' blkid --probe "$r"
	fsck_clean "$r"
}
check an_ext4_filesystem_is_recognised_and_wiped_when_forced

so_is_swap_space() {
	rm -f "$r"
	truncate -s 16M "$r"
	chmod 600 "$r"
	mkswap "$r"
	refused 'holds a swap signature' mkfs.udaxfs "$r"
	mkfs.udaxfs --force "$r"
	fails_with '' blkid --probe "$r"
}
check so_is_swap_space

so_is_a_partition_table() {
	rm -f "$r"
	truncate -s 16M "$r"
	# One partition of type Linux from sector 2048 on, and the signature of the table.
	printf '\0\0\0\0\x83\0\0\0\0\x08\0\0\0\x10\0\0' |
		dd of="$r" bs=1 seek=446 conv=notrunc status=none
	printf '\x55\xaa' | dd of="$r" bs=1 seek=510 conv=notrunc status=none
	refused 'a dos partition table' mkfs.udaxfs "$r"
	mkfs.udaxfs --force "$r"
	fails_with '' blkid --probe "$r"
}
check so_is_a_partition_table

a_small_file_with_something_in_it_is_refused() {
	echo 'a letter' >"$r"
	refused 'holds something' mkfs.udaxfs "$r"
	refused 'holds something' mkfs.udaxfs --size 1M "$r"
	refused 'give a --size' mkfs.udaxfs --force "$r"
	mkfs.udaxfs --force --size 1M "$r"
}
check a_small_file_with_something_in_it_is_refused

a_file_without_permission_is_refused() {
	rm -f "$r"
	truncate -s 1M "$r"
	chmod 400 "$r"
	chmod 755 "$ram"
	refused 'permission is missing' setpriv_or_not mkfs.udaxfs "$r"
	chmod 711 "$ram"
}
# As root permissions hold nobody back: become nobody.
setpriv_or_not() {
	if [ "$(id -u)" = 0 ]; then
		setpriv --reuid 65534 --regid 65534 --clear-groups "$(command -v "$1")" "${@:2}"
	else
		"$@"
	fi
}
if [ "$(id -u)" = 0 ] && ! setpriv_or_not mkfs.udaxfs --version >/dev/null 2>&1; then
	note "the build is in a directory that others cannot read"
else
	check a_file_without_permission_is_refused
fi

a_full_filesystem_under_a_sparse_region_is_an_error() {
	local small=$work/small
	mkdir "$small"
	mount -t tmpfs -o size=2M none "$small"
	# Its metadata alone does not fit: SIGBUS becomes a sentence, the file goes away again.
	fails_with 'no room for a sparse file' mkfs.udaxfs --sparse --size 8T "$small/r" &&
		[ ! -e "$small/r" ]
	local status=$?
	umount "$small"
	return "$status"
}
check_as_root a_full_filesystem_under_a_sparse_region_is_an_error

rm -f "$r"
region=$(make_region 32M)
start_mount "$region" "$work/mnt"

the_root_directory_belongs_to_the_caller() {
	same "$(id -u):$(id -g):755" "$(stat -c %u:%g:%a "$work/mnt")" 'root directory'
}
check the_root_directory_belongs_to_the_caller

a_mounted_volume_is_refused_even_with_force() {
	local pid
	pid=$(daemon_pid "$work/mnt")
	echo precious >"$work/mnt/f"
	fails_with "in use by process $pid (udaxfs)" mkfs.udaxfs "$region"
	fails_with "in use by process $pid (udaxfs)" mkfs.udaxfs --force "$region"
	fails_with "in use by process $pid (udaxfs)" mkfs.udaxfs --force --size 64M "$region"
	same $((32 << 20)) "$(stat -c %s "$region")" size
	same precious "$(cat "$work/mnt/f")"
}
check a_mounted_volume_is_refused_even_with_force

stop_mount "$work/mnt"

the_volume_is_whole_after_the_refusals() {
	fsck_clean "$region"
}
check the_volume_is_whole_after_the_refusals

finish
