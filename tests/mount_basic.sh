#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# What every program expects of a filesystem, through a real mount: names, data, sizes, holes,
# mappings, times, attributes, both modes of a file, and the mount program itself.
. "$(dirname "$0")/lib.sh"

mnt=$work/mnt
region=$(make_region 256M) || exit 1
start_mount "$region" "$mnt" || exit 1

# --- names ---

a_file_keeps_what_was_written() {
	echo hello >"$mnt/f"
	same hello "$(cat "$mnt/f")"
	same 6 "$(stat -c %s "$mnt/f")"
}

names_come_and_go() {
	mkdir "$mnt/names"
	cd "$mnt/names"
	touch a
	mkdir d
	ln -s a s
	ln a h
	mkfifo p
	same "a d h p s" "$(echo *)"
	same a "$(readlink s)"
	same 2 "$(stat -c %h a)"
	same 3 "$(stat -c %h .)"
	mv a d/b
	rm h s p
	same d "$(echo *)"
	fails_with "not empty" rmdir d
	fails_with "Is a directory" rm d
	rm d/b
	rmdir d
	same "" "$(ls)"
}

rename_replaces_or_refuses() {
	mkdir "$mnt/rename" && cd "$mnt/rename"
	echo a >a && echo b >b
	mv a b
	same a "$(cat b)"
	echo c >c
	mv -n b c
	same c "$(cat c)"
	mkdir -p x/y
	fails_with "subdirectory of itself" mv x x/y
	mkdir empty full && touch full/f
	fails_with "not empty" mv -T empty full
	fails_with "Not a directory" mv -T empty c 2>&1 || fails_with "non-directory" mv -T empty c
}

# What overlayfs wants of its upper layer: the old name is taken by a device 0:0.
a_rename_can_leave_a_whiteout() {
	mkdir "$mnt/white" "$mnt/white/d" && cd "$mnt/white"
	echo a >a && echo b >b
	tool_file a whiteout b
	same a "$(cat b)"
	same "character special file 0 0 0 1" "$(stat -c '%F %t %T %a %h' a)"
	same "$(id -u)" "$(stat -c %u a)"
	tool_file -r d whiteout e
	same "character special file directory" "$(stat -c %F d e | paste -sd' ')"
	cd .. && rm -r white
}

a_volume_can_be_the_upper_layer_of_overlayfs() {
	union=$work/union # not local: it is used at the end of this subshell
	mkdir "$mnt/upper" "$mnt/workdir" "$work/lower" "$union"
	echo below | tee "$work/lower/a" >"$work/lower/b"
	mount -t overlay overlay -o "lowerdir=$work/lower,upperdir=$mnt/upper,workdir=$mnt/workdir" "$union"
	trap 'umount -l "$union"' EXIT
	echo above >>"$union/a"
	mv "$union/a" "$union/c"
	rm "$union/b"
	same c "$(ls "$union")"
	same "below above" "$(paste -sd' ' "$union/c")"
	same "a b" "$(cd "$work/lower" && echo *)"
	same "character special file" "$(stat -c %F "$mnt/upper/a")"
}

names_have_255_bytes() {
	local name
	name=$(printf '%0255d' 0)
	touch "$mnt/$name"
	same "$mnt/$name" "$(ls -d "$mnt/$name")"
	fails_with "too long" touch "$mnt/${name}0"
	rm "$mnt/$name"
}

a_directory_with_thousands_of_names_is_listed_while_it_changes() {
	mkdir "$mnt/many" && cd "$mnt/many"
	seq -f f%g 5000 | xargs touch
	same 5000 "$(find . -type f | wc -l)"
	same 5000 "$(find . -type f -printf '%s\n' | wc -l)"
	# Every second one goes while the list is being read.
	find . -name '*[02468]' -delete
	same 2500 "$(find . -name 'f*' | wc -l)"
	cd .. && rm -r many
}

a_link_count_goes_far_beyond_65000() {
	mkdir "$mnt/links" && touch "$mnt/links/f"
	seq -f "$mnt/links/f %g" 65001 | sed "s|f \\([0-9]*\\)|f $mnt/links/n\\1|" | xargs -n 2 -P 2 ln ||
		return
	same 65002 "$(stat -c %h "$mnt/links/f")"
	rm -r "$mnt/links"
}

devices_keep_their_numbers() {
	mknod "$mnt/null" c 1 3
	same "1 3" "$(stat -c '%Hr %Lr' "$mnt/null")"
	mknod "$mnt/odd" b 300 70000
	same "300 70000" "$(stat -c '%Hr %Lr' "$mnt/odd")"
	rm "$mnt/null" "$mnt/odd"
}

an_unlinked_file_lives_while_it_is_open() {
	tool_file -c "$mnt/gone" unlink write 0 1M x read 1048570 6 links >"$work/out"
	same "6xx  0" "$(paste -sd' ' "$work/out")"
	[ ! -e "$mnt/gone" ]
}

a_file_without_a_name_can_get_one() {
	tool_file -T "$mnt" write 0 3 t link "$mnt/named"
	same ttt "$(cat "$mnt/named")"
	same 1 "$(stat -c %h "$mnt/named")"
	tool_file -T "$mnt" write 0 3 t
	rm "$mnt/named"
}

# --- data ---

holes_read_as_zeroes() {
	same "4096x. 1xa " "$(tool_file -c "$mnt/holes" write 4096 1 a read 0 4097)"
	same 8 "$(stat -c %b "$mnt/holes")"
	tool_file "$mnt/holes" truncate 8T
	same "$((8 << 40))" "$(stat -c %s "$mnt/holes")"
	same "3xe " "$(tool_file "$mnt/holes" write 8000G 3 e read 8000G 3)"
	fails_with EFBIG tool_file "$mnt/holes" truncate 17T
}

truncate_forgets_what_it_cut_off() {
	same "100xa 9900x. " "$(tool_file -c "$mnt/cut" write 0 10000 a truncate 100 truncate 10000 \
		read 0 10000)"
}

punch_and_zero_leave_zeroes() {
	same "100xa 9000x. 900xa " "$(tool_file -c "$mnt/punch" write 0 10000 a punch 100 9000 \
		read 0 10000)"
	same "10xa 90x. " "$(tool_file "$mnt/punch" zero 10 90 read 0 100)"
	same 20000 "$(tool_file "$mnt/punch" zero 15000 5000 size)"
	same 20000 "$(tool_file "$mnt/punch" zerokeep 19000 5000 size)"
	same 30000 "$(tool_file "$mnt/punch" fallockeep 0 30000 falloc 0 30000 size)"
	fails_with EOPNOTSUPP tool_file "$mnt/punch" collapse 0 4096
}

data_and_holes_are_found() {
	same "0 4096 65536 131072" "$(tool_file -c "$mnt/seek" truncate 128K write 0 10 a \
		write 65536 65536 b data 0 hole 0 data 4096 hole 65536 | paste -sd' ')"
	fails_with ENXIO tool_file "$mnt/seek" data 128K
}

data_stored_through_a_mapping_is_found() {
	same 8192 "$(tool_file -c "$mnt/seekmap" truncate 64K map 64K store 8192 5 s data 0)"
}

ranges_are_copied() {
	tool_file -c "$mnt/from" write 0 100000 a punch 4096 4096
	same "90000 90000" "$(tool_file -c "$mnt/to" copy "$mnt/from" 8000 0 90000 size | paste -sd' ')"
	same "$(tail -c +8001 "$mnt/from" | head -c 90000 | cksum)" "$(cksum <"$mnt/to")"
	fails_with EINVAL tool_file "$mnt/to" copy "$mnt/to" 0 10 1000
}

append_goes_to_the_end() {
	same "3xa 3xb " "$(tool_file -ca "$mnt/app" append 3 a append 3 b read 0 10)"
	same "3xa 3xb 2xc " "$(tool_file -ad "$mnt/app" append 2 c read 0 10)"
}

nothing_is_lost_by_a_remount() {
	head -c 3000000 /dev/urandom >"$mnt/random"
	local sum
	sum=$(cksum <"$mnt/random")
	remount "$mnt"
	same "$sum" "$(cksum <"$mnt/random")"
	same hello "$(cat "$mnt/f")"
}

# --- mappings and modes ---

stores_and_writes_agree_in_cached_mode() {
	same "10xw 10xs 10xw" "$(tool_file -c "$mnt/map" write 0 8192 w map 8192 store 10 10 s read 0 30 |
		sed 's/ $//')"
	same "20xn 10xw " "$(tool_file "$mnt/map" map 8192 load 0 1 write 0 20 n load 0 30 | tail -n 1)"
	same "5xn 5x. 10xn " "$(tool_file "$mnt/map" map 8192 load 0 1 punch 5 5 load 0 20 | tail -n 1)"
	same "4x. " "$(tool_file "$mnt/map" map 8192 load 0 1 truncate 0 truncate 8192 load 0 4 |
		tail -n 1)"
}

a_load_behind_the_end_is_sigbus() {
	local status=0
	ASAN_OPTIONS=handle_sigbus=0 tool_file -c "$mnt/short" write 0 10 a map 8192 load 4096 1 || status=$?
	same 135 "$status" "status of the program (SIGBUS)"
}

an_uncached_file_is_not_mapped_shared() {
	fails_with ENODEV tool_file -cd "$mnt/direct" write 0 8192 d map 8192
	same "8192xd " "$(tool_file -d "$mnt/direct" mapprivate 8192 load 0 8192)"
	same "1xd " "$(tool_file -d "$mnt/direct" read 5000 1)"
}

the_mode_lasts_until_the_last_close() {
	tool_file -cd "$mnt/mode" write 0 4096 a sleep 1000 &
	wait_for 5 test -s "$mnt/mode"
	fails_with ENODEV tool_file "$mnt/mode" map 4096
	wait %1
	same "1xa " "$(tool_file "$mnt/mode" map 4096 load 0 1)"
}

a_private_view_does_not_outlive_the_mode() {
	tool_file -cd "$mnt/stale" write 0 4096 a mapprivate 4096 load 0 1 write 0 4096 b
	same "1xb " "$(tool_file "$mnt/stale" read 100 1)"
	tool_file "$mnt/stale" map 4096 store 0 4096 c sync
	same "1xc " "$(tool_file -d "$mnt/stale" read 100 1)"
}

# --- attributes ---

times_have_nanoseconds_and_move() {
	touch -d '2001-02-03 04:05:06.123456789Z' "$mnt/time"
	same 981173106.123456789 "$(stat -c %.9Y "$mnt/time")"
	same 981173106.123456789 "$(stat -c %.9X "$mnt/time")"
	touch -m -d '1901-01-01Z' "$mnt/time"
	same -2177452800 "$(stat -c %Y "$mnt/time")"
	echo x >>"$mnt/time"
	[ "$(stat -c %Y "$mnt/time")" -ge $(($(date +%s) - 60)) ]
	[ "$(stat -c %W "$mnt/time")" -ge $(($(date +%s) - 60)) ]
}

a_store_through_a_mapping_moves_the_time() {
	tool_file -c "$mnt/mtime" write 0 4096 a
	touch -d 2001-01-01 "$mnt/mtime"
	tool_file "$mnt/mtime" map 4096 store 0 1 b sync
	[ "$(stat -c %Y "$mnt/mtime")" -ge $(($(date +%s) - 60)) ]
}

reading_moves_the_access_time() {
	echo x >"$mnt/atime"
	touch -a -d 2001-01-01 "$mnt/atime"
	tool_file -rA "$mnt/atime" read 0 1 >/dev/null
	same "$(date -d 2001-01-01 +%s)" "$(stat -c %X "$mnt/atime")" "with O_NOATIME"
	tool_file -dr "$mnt/atime" read 0 1 >/dev/null
	[ "$(stat -c %X "$mnt/atime")" -ge $(($(date +%s) - 60)) ]
}

space_is_counted() {
	local before after
	sync
	before=$(stat -f -c %f "$mnt")
	head -c 10M /dev/zero >"$mnt/space"
	after=$(stat -f -c %f "$mnt")
	[ $((before - after)) -ge 2560 ] && [ $((before - after)) -le 2600 ]
	rm "$mnt/space"
	same "$before" "$(stat -f -c %f "$mnt")"
	same 255 "$(stat -f -c %l "$mnt")"
}

a_full_volume_says_so_and_recovers() {
	fails_with "No space left" dd if=/dev/zero of="$mnt/full" bs=1M count=300
	same "$(stat -c %s "$mnt/full")" "$(wc -c <"$mnt/full")"
	rm "$mnt/full"
	echo again >"$mnt/full"
	rm "$mnt/full"
}

locks_are_the_kernels() {
	tool_file -c "$mnt/lock" flock lock sleep 1000 &
	wait_for 5 test -e "$mnt/lock"
	sleep 0.2
	fails_with "flock: E" tool_file "$mnt/lock" flock
	fails_with "lock: E" tool_file "$mnt/lock" lock
	wait %1
	tool_file "$mnt/lock" flock lock
}

attributes_are_kept() {
	command -v setfattr >/dev/null || { echo "attr is not installed"; return 1; }
	setfattr -n user.short -v value "$mnt/f"
	setfattr -n user.long -v "$(printf '%060000d' 0)" "$mnt/f"
	same value "$(getfattr --only-values -n user.short "$mnt/f" 2>/dev/null)"
	same 60000 "$(getfattr --only-values -n user.long "$mnt/f" 2>/dev/null | wc -c)"
	setfattr -x user.short "$mnt/f"
	fails_with "No such attribute" getfattr -n user.short "$mnt/f"
	setfattr -x user.long "$mnt/f"
	same "" "$(getfattr "$mnt/f")"
}

# An O_DIRECT handle of a file in cached mode goes past the cache, but not past its readers.
asynchronous_direct_writes_are_seen_through_the_cache() {
	timeout 50 tool_aio "$mnt/aio" 300
	rm "$mnt/aio"
}

for test in a_file_keeps_what_was_written names_come_and_go rename_replaces_or_refuses \
	a_rename_can_leave_a_whiteout \
	names_have_255_bytes a_directory_with_thousands_of_names_is_listed_while_it_changes \
	an_unlinked_file_lives_while_it_is_open a_file_without_a_name_can_get_one \
	holes_read_as_zeroes truncate_forgets_what_it_cut_off punch_and_zero_leave_zeroes \
	data_and_holes_are_found data_stored_through_a_mapping_is_found ranges_are_copied \
	append_goes_to_the_end nothing_is_lost_by_a_remount stores_and_writes_agree_in_cached_mode \
	a_load_behind_the_end_is_sigbus an_uncached_file_is_not_mapped_shared \
	the_mode_lasts_until_the_last_close a_private_view_does_not_outlive_the_mode \
	times_have_nanoseconds_and_move a_store_through_a_mapping_moves_the_time \
	reading_moves_the_access_time space_is_counted a_full_volume_says_so_and_recovers \
	asynchronous_direct_writes_are_seen_through_the_cache \
	locks_are_the_kernels attributes_are_kept; do
	check $test
done
check_as_root devices_keep_their_numbers
if grep -qw overlay /proc/filesystems; then
	check_as_root a_volume_can_be_the_upper_layer_of_overlayfs
else
	skip "as root: a volume can be the upper layer of overlayfs" "this kernel has no overlayfs"
fi
[ "$UDAX_TEST_LEVEL" = quick ] || limit=600 check a_link_count_goes_far_beyond_65000
stop_mount "$mnt"
finish
