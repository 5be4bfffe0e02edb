#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# Programs that know nothing of udaxfs, unmodified under `udaxrun --require-direct`: what they compute is
# the same as on another filesystem, and their mappings were direct.
#
# With a granule of 2 MiB, as many devices have it, only fio can be so: it maps whole files of a size that one
# chooses. SQLite maps as much as the file has just now, LMDB and SQLite's write-ahead log have a small file of locks
# besides, and libpmemobj looks at a pool's first page before all of it. These are refused, with that reason and
# without a mapping of another kind; SQLite then goes on by read(2) where it can.
. "$(dirname "$0")/lib.sh"

mnt=$work/mnt
limit=120

a_buffer_may_lie_in_a_mapping() {
	mkdir "$ram/unaware" "$mnt/unaware"
	tool_unaware "$ram/unaware" >"$work/should"
	direct tool_unaware "$mnt/unaware" direct >"$work/is"
	cmp "$work/should" "$work/is"
	dd if="$mnt/unaware/mapped" iflag=direct bs=1M status=none | cmp - "$work/should"
	cmp "$ram/unaware/sink" "$mnt/unaware/sink"
}

# ---- of the check itself

held_in_cached_mode() { # held_in_cached_mode COMMAND... - while somebody has mapped/mapped open without O_DIRECT
	mkdir -p "$mnt/held"
	exec 5>>"$mnt/held/mapped"
	"$@"
	exec 5>&-
}

without_zeroes() { # without_zeroes COMMAND... - what it prints, which the shell can hold then
	set -o pipefail
	"$@" | tr -d '\000'
}

a_mapping_of_the_kernel_does_not_pass() {
	held_in_cached_mode fails_with 'not direct: the file is open without O_DIRECT' \
		without_zeroes direct_by --stats tool_unaware "$mnt/held"
	fails_with 'direct 0, by the kernel [1-9]' was_seen_direct
}

memory_that_is_populated_for_good_does_not_pass() {
	mkdir "$mnt/kept"
	PATH=$UDAX_BUILD/tests/broken_keep:$PATH fails_with '!maps_show((char *)p, MAPS_REGION)' \
		without_zeroes direct tool_unaware "$mnt/kept" direct
	direct tool_unaware "$mnt/kept" direct >"$work/is"
}

query="create table t(a integer primary key, b text, c blob);
with recursive n(x) as (select 1 union all select x+1 from n where x<20000)
	insert into t select x, 'row ' || (x * 7919 % 20011), zeroblob(x % 300) from n;
create index i on t(b);
update t set b = b || '!' where a % 3 = 0;
delete from t where a % 5 = 0;
vacuum;
select count(*), sum(a), sum(length(b)), sum(length(c)), min(b), max(b) from t;
pragma integrity_check;"

sqlite_with_a_mapping() {
	direct sqlite3 "$mnt/db" "pragma mmap_size=268435456; $query" >"$work/is"
	sqlite3 "$ram/db" "pragma mmap_size=268435456; $query" >"$work/should"
	diff "$work/should" "$work/is"
}

sqlite_with_a_write_ahead_log() {
	direct sqlite3 "$mnt/wal" "pragma journal_mode=wal; pragma mmap_size=268435456; ${query/vacuum;/}" \
		>"$work/is"
	sqlite3 "$ram/wal" "pragma journal_mode=wal; pragma mmap_size=268435456; ${query/vacuum;/}" \
		>"$work/should"
	diff "$work/should" "$work/is"
}

lmdb_with_writemap() {
	direct tool_lmdb "$mnt/lmdb" 42 >"$work/is"
	tool_lmdb "$ram/lmdb" 42 >"$work/should"
	diff "$work/should" "$work/is"
	mdb_dump -n "$ram/lmdb" >"$work/should"
	udaxrun mdb_dump -n "$mnt/lmdb" | diff "$work/should" -
}

fio_verifies_what_it_stores() {
	direct fio --name=t --filename="$mnt/fio-$1" --ioengine="$1" --rw=randrw --bs=4k --size=16m \
		--io_size=64m --verify=crc32c --verify_fatal=1 --do_verify=1 --verify_state_save=0 --thread "${@:2}" >"$work/fio" ||
		{ tail -n 20 "$work/fio"; return 1; }
	grep -q 'err= 0' "$work/fio"
}

run_pool() {
	udaxrun --require-direct tool_pmemobj run "$mnt/pool" >"$work/count" &
	pid=$!
	sleep 2
	kill -0 "$pid"
}

a_pool_of_libpmemobj_survives_a_kill() {
	local pid acknowledged
	direct tool_pmemobj create "$mnt/pool"
	same 1 "$(udaxrun --require-direct tool_pmemobj is-pmem "$mnt/pool")" is-pmem
	run_pool
	kill -KILL "$pid"
	wait "$pid" || true
	acknowledged=$(grep -c . "$work/count")
	[ "$acknowledged" -gt 0 ]
	direct tool_pmemobj check "$mnt/pool" "$acknowledged"
}

# is_refused COMMAND... - it maps no whole granules, and what it does instead is its own affair.
is_refused() {
	udaxrun --stats "$@" >"$work/is" 2>"$work/stats" || true
	grep -q ' mappings not direct: address, length or offset is not a multiple of the granule' "$work/stats" ||
		{ cat "$work/stats"; return 1; }
	grep -q ' 0 faults' "$work/stats"
}

sqlite_goes_on_without_a_mapping() {
	is_refused sqlite3 "$mnt/db2" "pragma mmap_size=268435456; $query"
	sqlite3 "$ram/db2" "pragma mmap_size=268435456; $query" | diff - "$work/is"
}
what_maps_no_whole_granules_is_refused() {
	is_refused sqlite3 "$mnt/wal2" "pragma journal_mode=wal; create table t(a);"
	is_refused tool_lmdb "$mnt/lmdb2" 42
	is_refused tool_pmemobj create "$mnt/pool2"
}

region=$(make_region 512M) || exit 1
start_mount "$region" "$mnt" || exit 1
check a_buffer_may_lie_in_a_mapping
check a_mapping_of_the_kernel_does_not_pass
check memory_that_is_populated_for_good_does_not_pass
check sqlite_with_a_mapping
check sqlite_with_a_write_ahead_log
check lmdb_with_writemap
_title='fio, mmap: verifies what it stores' check fio_verifies_what_it_stores mmap
stop_mount "$mnt"
check fsck_clean "$region"
# libpmem takes a mapping for persistent memory where MAP_SYNC is granted.
start_mount "$region" "$mnt" assume_pmem || exit 1
_title='fio, libpmem: verifies what it stores' check fio_verifies_what_it_stores libpmem --iodepth=1 --direct=1
check a_pool_of_libpmemobj_survives_a_kill
stop_mount "$mnt"
check fsck_clean "$region"
start_mount "$region" "$mnt" assume_pmem,granule=2M || exit 1
_title='granule 2M: fio, mmap: verifies what it stores' check fio_verifies_what_it_stores mmap
_title='granule 2M: fio, libpmem: verifies what it stores' \
	check fio_verifies_what_it_stores libpmem --iodepth=1 --direct=1
_title='granule 2M: sqlite goes on without a mapping' check sqlite_goes_on_without_a_mapping
_title='granule 2M: what maps no whole granules is refused' check what_maps_no_whole_granules_is_refused
stop_mount "$mnt"
_title='granule 2M: fsck clean' check fsck_clean "$region"
finish
