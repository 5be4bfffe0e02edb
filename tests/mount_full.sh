#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# No room: a volume that is full in the middle of every operation, and a host that is full below a
# sparse region, where a store raises SIGBUS. An operation fails and changes nothing, or it is
# acknowledged, and then it stays; the daemon lives; and what there is can be read and removed.
. "$(dirname "$0")/lib.sh"

[ "${UDAX_FULL-}" != 1 ] || UDAX_TEST_LEVEL=full
mnt=$work/mnt

# --- a full volume ---

# Everything that can be seen, but for the times that a failed attempt may change.
all_that_is_there() {
	(
		cd "$mnt"
		find . -printf '%P %y %m %n %l' \( -type f -printf ' %s %b' -o -true \) -printf '\n' | sort
		find . -type f -print0 | sort -z | xargs -r -0 cksum
		getfattr -h -P -R -d -m - .
	)
}

# Until not even one block can be had.
fill_volume() {
	local size
	for size in 1M 64K 4K; do
		while tool_file -c -a "$mnt/filler" append "$size" f >/dev/null; do :; done
	done
	fails_with ENOSPC tool_file -c "$mnt/filler2" write 0 1 f
	rm -f "$mnt/filler2"
}

start_full() {
	local i
	region=$(make_region 8M)
	start_mount "$region" "$mnt"
	mkdir "$mnt/dir" "$mnt/other"
	for i in $(seq 200); do : >"$mnt/dir/a-name-of-some-length-$i"; done
	tool_file -c "$mnt/sparse" truncate 1M write 4096 4096 s
	tool_file -c "$mnt/file" write 0 40000 x
	ln -s target "$mnt/link"
	fill_volume
}

end_full() {
	_stop_mount "$mnt"
	fsck_clean "$region"
	start_mount "$region" "$mnt"
	rm -rf "${mnt:?}"/*
	same "" "$(ls -A "$mnt")"
	tool_file -c "$mnt/again" write 0 4M y
	_stop_mount "$mnt"
	fsck_clean "$region"
	rm "$region"
}

# refused COMMAND... - for want of room; and nothing has changed.
refused() {
	local before after
	before=$(all_that_is_there)
	fails_with "$no_space" "$@"
	after=$(all_that_is_there)
	[ "$before" = "$after" ] || { echo "changed by $*:"; diff <(echo "$before") <(echo "$after"); }
}

names=0
# Names are made until the directory needs a block; one of these attempts is in the middle of it.
names_until_full() { # names_until_full COMMAND... with % for the name
	local output before after
	while :; do
		names=$((names + 1))
		before=$(all_that_is_there | cksum)
		output=$("${@//%/$mnt/dir/one-more-name-that-is-long-$names}" 2>&1) || break
		[ "$names" -lt 2000 ] || { echo "never full: $*"; return 1; }
	done
	[[ $output == *"No space"* ]] || { echo "$*: $output"; return 1; }
	after=$(all_that_is_there | cksum)
	same "$before" "$after" "all that is there after a failed $1"
}

no_space="*"
every_operation_on_a_full_volume_is_refused_whole() {
	local long big
	long=$(printf '%01000d' 0) big=$(printf '%06000d' 0)
	start_full
	no_space=ENOSPC
	refused tool_file "$mnt/file" write 40960 4096 n
	refused tool_file "$mnt/sparse" write 8192 4096 n
	refused tool_file -d "$mnt/sparse" write 500000 10000 n
	refused tool_file "$mnt/sparse" falloc 0 1M
	refused tool_file "$mnt/sparse" falloc 2M 1M
	refused tool_file "$mnt/sparse" zero 200000 100000
	refused tool_file "$mnt/sparse" copy "$mnt/file" 0 100000 20000
	no_space="No space"
	refused ln -s "$long" "$mnt/new"
	refused setfattr -n user.big -v "$big" "$mnt/file"
	names_until_full touch %
	names_until_full ln "$mnt/file" %
	names_until_full ln -s short %
	names_until_full mkdir %
	# What needs no room, or gives some, goes on.
	tool_file "$mnt/file" write 0 40000 z truncate 50000 truncate 20000
	same "20000xz " "$(tool_file "$mnt/file" read 0 20000)"
	mv "$mnt/link" "$mnt/other-link"
	end_full
}

# Only writeback can find out; then fsync tells, and the file is as it was.
a_store_into_a_hole_of_a_full_volume_is_told_by_fsync() {
	start_full
	tool_file "$mnt/sparse" map 1M store 500000 1 n sync >"$work/out" && return 1
	grep ENOSPC "$work/out"
	same "4096x. 4096xs 4096x. " "$(tool_file "$mnt/sparse" reopen read 0 12288)"
	remount "$mnt"
	same "4096x. 4096xs 1040384x. " "$(tool_file "$mnt/sparse" read 0 1M)"
	end_full
}

# --- a full host ---

# Files of half a MiB, each synced; the names of those acknowledged go to $work/acknowledged.
write_until_error() { # write_until_error PREFIX
	local i
	for i in $(seq 1000); do
		head -c 500000 /dev/urandom >"$work/piece"
		dd if="$work/piece" of="$mnt/$1$i" bs=100000 conv=fsync status=none 2>"$work/error" || return 0
		echo "$(cksum <"$work/piece") $1$i" >>"$work/acknowledged"
	done
	echo "never full"
	return 1
}

all_acknowledged_is_there() {
	local sum size name
	[ -s "$work/acknowledged" ]
	while read -r sum size name; do
		same "$sum $size" "$(cksum <"$mnt/$name")" "$name"
	done <"$work/acknowledged"
}

a_full_host_loses_nothing_that_was_acknowledged() {
	local pid
	host=$work/host
	mkdir "$host"
	mount -t tmpfs -o size=40M none "$host"
	trap 'umount --lazy "$host"' EXIT
	region=$host/region
	mkfs.udaxfs --sparse --size 200M "$region"
	start_mount "$region" "$mnt"
	pid=$(daemon_pid "$mnt")
	write_until_error first
	grep -E "No space|Input/output" "$work/error"
	daemon_log "$mnt"
	# All goes on as far as it can: no more of this may be acknowledged and lost either.
	write_until_error second
	mkdir "$mnt/dir" || true
	setfattr -n user.x -v y "$mnt/first1" || true
	tool_file "$mnt/first1" truncate 300000000 truncate 500000 || true
	kill -0 "$pid"
	all_acknowledged_is_there
	same 0 "$(df --output=avail "$host" | tail -n 1 | tr -d ' ')" "room on the host"
	_stop_mount "$mnt"
	start_mount "$region" "$mnt"
	all_acknowledged_is_there
	pid=$(daemon_pid "$mnt")
	write_until_error third
	kill -0 "$pid"
	crash_mount "$mnt"
	start_mount "$region" "$mnt"
	all_acknowledged_is_there
	_stop_mount "$mnt"
	# With room again everything works, and nothing is wrong that fsck could not mend.
	mount -o remount,size=400M "$host"
	fsck.udaxfs -y "$region" || [ $? = 1 ]
	fsck_clean "$region"
	start_mount "$region" "$mnt"
	all_acknowledged_is_there
	head -c 30000000 /dev/urandom >"$work/piece"
	cp "$work/piece" "$mnt/large"
	cmp "$work/piece" "$mnt/large"
	_stop_mount "$mnt"
	fsck_clean "$region"
}

check every_operation_on_a_full_volume_is_refused_whole
check a_store_into_a_hole_of_a_full_volume_is_told_by_fsync
check_as_root a_full_host_loses_nothing_that_was_acknowledged
finish
