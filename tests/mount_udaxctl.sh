#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# udaxctl and the ioctls behind it, on a real mount and on regions that are not mounted.
. "$(dirname "$0")/lib.sh"
mnt=$work/mnt
region=$(make_region 64M)
start_mount "$region" "$mnt"

json() { # json FILTER VERB [ARGUMENT...] - what the filter makes of the verb's object
	local filter=$1
	shift
	udaxctl "$@" --json | jq -e -r "$filter"
}

# --- the command line ---

it_explains_itself() {
	local verb
	udaxctl --help | grep -q '^  exchange' && udaxctl --help | grep -q '^  relocate'
	udaxctl --version | grep -q '^udaxctl [0-9]'
	for verb in $(udaxctl --help | awk '/^  [a-z]+ / { print $1 }'); do
		udaxctl "$verb" --help | grep -q "^Usage: udaxctl $verb "
		# shellcheck disable=SC2251 # the status is what is tested
		! udaxctl "$verb" --nonsense 2>"$work/err"
		grep -q "udaxctl $verb --help" "$work/err"
	done
	fails_with "no verb 'frobnicate'" udaxctl frobnicate
	fails_with 'missing arguments' udaxctl map
	fails_with 'too many arguments' udaxctl map a b
	fails_with 'not a size' udaxctl punch "$mnt" x 1
}
check it_explains_itself

# help_of PROGRAM - all of its help, that of its verbs too.
help_of() {
	local verb
	"$1" --help
	[ "$1" = udaxctl ] || return 0
	for verb in $(udaxctl --help | awk '/^  [a-z]+ / { print $1 }'); do udaxctl "$verb" --help; done
}

manual_and_help_have_the_same_options() {
	local page=$tests/../docs/man/$1.8
	help_of "$1" | grep -oE -- '--[a-z][a-z-]+' | sort -u >"$work/help"
	grep -oE 'Fl -[a-z][a-z-]+|, -[a-z][a-z-]+' "$page" | sed 's/.* /-/' | sort -u >"$work/page"
	diff "$work/help" "$work/page"
	if [ "$1" = udaxctl ]; then
		for verb in $(udaxctl --help | awk '/^  [a-z]+ / { print $1 }'); do
			grep -q "^\.It Cm $verb$" "$page"
		done
	fi
}
for name in mkfs.udaxfs fsck.udaxfs udaxfs udaxctl; do
	_title="manual and help of $name have the same options" \
		check manual_and_help_have_the_same_options "$name"
done

what_is_not_a_udaxfs_is_said_so() {
	local verb
	for verb in map stat lockstat holders shutdown; do
		fails_with 'is not on a udaxfs mount' udaxctl "$verb" /proc/self/status
	done
	for verb in info df stat lockstat holders grow shutdown; do
		fails_with 'is not on a udaxfs mount' udaxctl "$verb" /
		fails_with 'No such file' udaxctl "$verb" "$work/nothing"
	done
	truncate -s 1M "$work/empty"
	fails_with 'there is no udaxfs' udaxctl info "$work/empty"
	fails_with 'there is no udaxfs' udaxctl df "$work/empty"
	fails_with 'there is no udaxfs' udaxctl grow --size 2M "$work/empty"
	same $((1 << 20)) "$(stat -c %s "$work/empty")" 'size of a file that is no volume'
	echo small >"$work/small"
	fails_with 'nor large enough' udaxctl info "$work/small"
}
check what_is_not_a_udaxfs_is_said_so

every_object_has_a_schema_version() {
	local f=$mnt/schema
	yes | head -c 32K >"$f"
	for args in "info $mnt" "df $mnt" "map $f" "stat $mnt" "lockstat $mnt" "lockstat --on $mnt" \
		"lockstat --off --reset $mnt" "holders $mnt" "holders $f" "grow $mnt" check \
		"punch $f 0 4K" "zero $f 0 4K" "collapse $f 0 4K" "insert $f 0 4K"; do
		# shellcheck disable=SC2086 # words
		same 1 "$(json .schema_version $args)" "schema_version of $args"
		# Bytes and nanoseconds are integers, wherever they stand.
		# shellcheck disable=SC2086
		json '[paths(numbers) as $p | select($p[-1] | tostring | test("_(bytes|ns)$")) |
			getpath($p)] | all(. == floor and . >= 0)' $args
	done
	rm "$f"
}
check every_object_has_a_schema_version

# --- facts ---

info_knows_the_mount() {
	local real
	real=$(realpath "$region")
	same mounted "$(json .state info "$mnt")" state
	same "$(daemon_pid "$mnt")" "$(json .pid info "$mnt")" pid
	same "$(id -u)" "$(json .uid info "$mnt")" uid
	same $((64 << 20)) "$(json .size_bytes info "$mnt")" size
	same "$real" "$(json .region info "$mnt")" region
	same true "$(json .lockdep info "$mnt")" lockdep
	# Through a file, and through the region that it stands on.
	echo x >"$mnt/file"
	same "$(json .uuid info "$mnt")" "$(json .uuid info "$mnt/file")" uuid
	same "$(daemon_pid "$mnt")" "$(json .pid info "$region")" 'pid by way of the region'
	udaxctl info "$mnt" | grep -q "served by process $(daemon_pid "$mnt") (udaxfs)"
}
check info_knows_the_mount

df_agrees_with_statfs() {
	local before
	same "$(stat -f -c '%b' "$mnt")" "$(json '.total_bytes / 4096' df "$mnt")" total
	same "$(stat -f -c '%a' "$mnt")" "$(json '.available_bytes / 4096' df "$mnt")" available
	before=$(json .available_bytes df "$mnt")
	head -c 5M /dev/urandom >"$mnt/five"
	same true "$(json "$before - .available_bytes | . >= 5242880 and . < 5400000" df "$mnt")"
	rm "$mnt/five"
	same "$before" "$(json .available_bytes df "$mnt")" 'after removing it'
}
check df_agrees_with_statfs

map_shows_extents_states_and_alignment() {
	local f=$mnt/map
	tool_file -c "$f" write 0 8K a write 64K 4K b falloc 128K 16K
	same '0 8192 written,65536 4096 written,131072 16384 unwritten' \
		"$(json '[.extents[] | "\(.pos_bytes) \(.len_bytes) \(.state)"] | join(",")' map "$f")"
	same "$(stat -c %s "$f")" "$(json .size_bytes map "$f")" size
	same 28672 "$(json .allocated_bytes map "$f")" allocated
	same 16384 "$(json .unwritten_bytes map "$f")" unwritten
	udaxctl map "$f" | grep -q 'unwritten'
	head -c 8M /dev/zero >"$mnt/large"
	# A large file gets whole pieces of 2 MiB at addresses that go with them.
	json '.huge_bytes >= 4194304' map "$mnt/large"
	same true "$(json 'all(.extents[]; .alignment_bytes >= 4096 and .region_bytes % 4096 == 0)' \
		map "$mnt/large")"
	udaxctl map "$mnt" | grep -q 'written' # a directory has extents too
	rm "$f" "$mnt/large"
}
check map_shows_extents_states_and_alignment

stat_counts() {
	local before after
	before=$(json .counters.writes stat "$mnt")
	for _ in 1 2 3; do echo x >>"$mnt/counted"; done
	after=$(json .counters.writes stat "$mnt")
	same 3 $((after - before)) writes
	json '.counters.inode_cache_bytes > 0' stat "$mnt"
	fails_with 'give seconds' udaxctl stat --interval 0 "$mnt"
	# With an interval it goes on until it is ended.
	fails_with '+0' timeout 3 udaxctl stat --interval 1 "$mnt"
}
check stat_counts

# --- locks ---

lockstat_is_off_on_and_reset() {
	same false "$(json '.enabled' lockstat "$mnt" || true)" enabled
	udaxctl lockstat "$mnt" | grep -q 'not being taken'
	udaxctl lockstat --on --reset "$mnt"
	same true "$(json .lockstat info "$mnt")" 'info says'
	for _ in 1 2 3 4 5; do echo x >>"$mnt/locked"; done
	json '.classes[] | select(.name == "ilock") | .acquisitions > 0' lockstat "$mnt"
	json 'all(.classes[]; .wait_min_ns <= .wait_max_ns and .hold_min_ns <= .hold_max_ns)' \
		lockstat "$mnt"
	udaxctl lockstat "$mnt" | grep -q ' ilock: .*[0-9]'
	udaxctl lockstat --off "$mnt"
	udaxctl lockstat --reset "$mnt"
	same 0 "$(json '[.classes[].acquisitions] | add' lockstat "$mnt")" 'after a reset'
	fails_with 'do not go together' udaxctl lockstat --on --off "$mnt"
}
check lockstat_is_off_on_and_reset

lockstat_names_where_it_had_to_wait() {
	local site f=$mnt/busy
	head -c 4M /dev/zero >"$f"
	udaxctl lockstat --on --reset "$mnt"
	# Reads share the file's iolock, writes have it alone; the kernel lets both come at once.
	touch "$work/go"
	while [ -e "$work/go" ]; do dd if="$f" iflag=direct of=/dev/null bs=1M; done 2>"$work/r1" &
	while [ -e "$work/go" ]; do dd if="$f" iflag=direct of=/dev/null bs=1M; done 2>"$work/r2" &
	while [ -e "$work/go" ]; do
		dd if=/dev/zero of="$f" oflag=direct conv=notrunc bs=1M count=4
	done 2>"$work/w" &
	wait_for 30 somebody_waited || site=none
	rm "$work/go"
	wait
	[ "${site-}" != none ]
	site=$(json '[.classes[].contention_points[]] | max_by(.contentions).site' lockstat "$mnt")
	udaxctl lockstat --off "$mnt"
	[[ $site =~ ^src/[a-z_]+\.c:[0-9]+$ ]] || { echo "a site: $site"; return 1; }
	udaxctl lockstat "$mnt" | grep -q -F "[$site]"
}
somebody_waited() { json '[.classes[].contention_points[]] | length > 0' lockstat "$mnt"; }
check lockstat_names_where_it_had_to_wait

# --- holders ---

holders_of_a_file_that_is_not_open() {
	echo x >"$mnt/held"
	same 'not open' "$(json '.files[0].mode' holders "$mnt/held")" mode
	same 0 "$(json '.files[0].handles' holders "$mnt/held")" handles
}
check holders_of_a_file_that_is_not_open

holders_of_a_cached_file() {
	sleep 30 3<"$mnt/held" &
	local pid=$!
	wait_for 5 json '.files[0].handles == 1' holders "$mnt/held"
	same cached "$(json '.files[0].mode' holders "$mnt/held")" mode
	same "$pid sleep 3 false" "$(json '.files[0].processes[] | select(.pid == '"$pid"') |
		"\(.pid) \(.name) \(.fd) \(.write)"' holders "$mnt/held")"
	udaxctl holders "$mnt" | grep -q "process $pid (sleep): descriptor 3, reads"
	fails_with 'udaxctl holders' udaxctl collapse "$mnt/held" 0 4K
	kill "$pid"
	wait "$pid" || true
	wait_for 5 json '.files[0].mode == "not open"' holders "$mnt/held"
}
check holders_of_a_cached_file

holders_of_an_uncached_file() {
	mkfifo "$work/fifo"
	# dd opens the file, and then waits for somebody to read the other one.
	dd if="$mnt/held" iflag=direct of="$work/fifo" status=none &
	local pid=$!
	wait_for 5 json '.files[0].handles == 1' holders "$mnt/held"
	same uncached "$(json '.files[0].mode' holders "$mnt/held")" mode
	same true "$(json '.files[0].processes[] | select(.pid == '"$pid"') | .direct' \
		holders "$mnt/held")" O_DIRECT
	cat "$work/fifo"
	wait "$pid"
}
check holders_of_an_uncached_file

holders_through_a_mapping() {
	head -c 8K /dev/zero >"$mnt/mapped"
	tool_file "$mnt/mapped" map 4K sleep 5000 &
	local pid=$!
	wait_for 5 json '[.files[0].processes[] | select(.mapping)] | length == 1' holders "$mnt/mapped"
	kill "$pid"
	wait "$pid" || true
}
check holders_through_a_mapping

# --- layouts ---

letters() { # letters FILE - one letter for each block
	local i n
	n=$(($(stat -c %s "$1") / 4096))
	for ((i = 0; i < n; i++)); do
		dd if="$1" bs=4096 skip="$i" count=1 status=none | head -c 1 | tr '\0' 0
	done
}
blocks() { # blocks FILE LETTERS - the opposite
	local i
	for ((i = 0; i < ${#2}; i++)); do
		head -c 4096 /dev/zero | tr '\0' "${2:i:1}"
	done >"$1"
}

punch_zero_collapse_insert_and_exchange() {
	local f=$mnt/layout
	blocks "$f" abcdefgh
	udaxctl punch "$f" 4K 4K
	same a0cdefgh "$(letters "$f")" punch
	udaxctl zero "$f" 8K 8K
	same a000efgh "$(letters "$f")" zero
	same 28672 "$(json .allocated_bytes map "$f")" allocated
	udaxctl collapse "$f" 4K 12K
	same aefgh "$(letters "$f")" collapse
	udaxctl insert "$f" 8K 8K
	same ae00fgh "$(letters "$f")" insert
	blocks "$mnt/other" wxyz
	udaxctl exchange "$f" 4K "$mnt/other" 8K 8K
	same 'ayz0fgh wxe0' "$(letters "$f") $(letters "$mnt/other")" exchange
	same $((10 * 4096)) "$(json .size_bytes insert "$f" 0 12K)" size
	udaxctl zero --keep-size "$f" 40K 8K
	same $((10 * 4096)) "$(stat -c %s "$f")" size
	udaxctl zero "$f" 40K 8K
	same $((12 * 4096)) "$(stat -c %s "$f")" size
}
check punch_zero_collapse_insert_and_exchange

relocate_makes_a_file_huge() {
	local f=$mnt/scattered i sum
	head -c 5M /dev/urandom >"$f"
	for i in 1 33 65 700; do udaxctl punch "$f" $((i * 4096)) 8K; done
	sum=$(sha256sum <"$f")
	same 6291456 "$(json .moved_bytes relocate "$f")" moved
	same "$sum" "$(sha256sum <"$f")" contents
	same 6291456 "$(json .huge_bytes map "$f")" 'bytes that can be mapped huge'
	same 0 "$(json .moved_bytes relocate "$f" 1M 3M)" 'moved again'
	exec 5<"$f"
	fails_with 'O_DIRECT' udaxctl relocate "$f"
	exec 5<&-
}
check relocate_makes_a_file_huge

impossible_changes_are_refused() {
	local f=$mnt/refused
	blocks "$f" abc
	fails_with 'multiples of 4096' udaxctl collapse "$f" 1 4K
	fails_with 'multiples of 4096' udaxctl collapse "$f" 0 12K
	fails_with 'multiples of 4096' udaxctl insert "$f" 12K 4K
	fails_with 'multiples of 4096' udaxctl exchange "$f" 0 "$f" 4K 4K
	fails_with 'multiples of 4096' udaxctl exchange "$f" 0 "$mnt/other" 16K 4K
	fails_with 'cannot be opened' udaxctl collapse "$mnt" 0 4K
	fails_with 'cannot be opened' udaxctl punch "$mnt/nothing" 0 4K
	fails_with 'not a size' udaxctl insert "$f" 0 4Q
	exec 5<"$f"
	fails_with 'O_DIRECT' udaxctl insert "$f" 0 4K
	exec 5<&-
	same abc "$(letters "$f")"
}
check impossible_changes_are_refused

# --- the ioctls themselves ---

ioctls() {
	mkdir "$mnt/$1"
	timeout 30 tool_ioctl "$1" "$mnt/$1"
	chattr -R -ia "$mnt/$1" 2>/dev/null || true
	rm -r "${mnt:?}/$1"
}
for name in $(tool_ioctl --list); do
	_title="ioctls: ${name//_/ }" check ioctls "$name"
done

lsattr_and_chattr_work() {
	: >"$mnt/attr"
	chattr +dAS "$mnt/attr"
	same --S---dA "$(lsattr "$mnt/attr" | cut -c 1-8)" lsattr
	chattr '=' "$mnt/attr"
	chattr -p 42 "$mnt/attr"
	same 42 "$(lsattr -p "$mnt/attr" | awk '{ print $1 }')" project
	before=$(stat -c %z "$mnt/attr")
	chattr +d "$mnt/attr"
	fails_with '' same "$before" "$(stat -c %z "$mnt/attr")" # ctime
	fails_with 'Operation not supported' chattr +c "$mnt/attr"
}
check lsattr_and_chattr_work

only_root_makes_files_immutable() {
	: >"$mnt/stone"
	chmod 666 "$mnt/stone"
	if [ "$(id -u)" = 0 ]; then
		chattr +i "$mnt/stone"
		fails_with 'not permitted' rm -f "$mnt/stone"
		fails_with 'EPERM' tool_file "$mnt/stone" write 0 1 x
		chattr -i "$mnt/stone"
	else
		fails_with 'not permitted' chattr +i "$mnt/stone"
		fails_with 'not permitted' chattr +a "$mnt/stone"
	fi
	rm "$mnt/stone"
}
check only_root_makes_files_immutable

# --- growing ---

a_mounted_volume_grows() {
	local before
	before=$(json .available_bytes df "$mnt")
	echo kept >"$mnt/kept"
	udaxctl grow "$mnt" | grep -q 'nothing to grow into'
	truncate -s 96M "$region"
	json '.region_bytes == 100663296 or .region_bytes == 67108864' info "$mnt"
	same 100663296 "$(json .new_bytes grow "$mnt")" 'new size'
	same true "$(json ".available_bytes >= $before + 33500000" df "$mnt")" 'more room'
	same 134217728 "$(json .new_bytes grow --size 128M "$mnt")" 'with --size'
	head -c 80M /dev/zero >"$mnt/eighty"
	same kept "$(cat "$mnt/kept")"
	fails_with 'larger than that' udaxctl grow --size 64M "$mnt"
	fails_with 'not a size' udaxctl grow --size x "$mnt"
}
check a_mounted_volume_grows

stop_mount "$mnt"

a_volume_grows_that_is_not_mounted() {
	fsck_clean "$region"
	same clean "$(json .state info "$region")" state
	same 134217728 "$(json .size_bytes info "$region")" size
	same 167772160 "$(json .new_bytes grow --size 160M "$region")" 'new size'
	truncate -s 192M "$region"
	udaxctl grow "$region" | grep -q 'grown from 160 MiB to 192 MiB'
	same 201326592 "$(json .total_bytes df "$region")" total
	fsck_clean "$region"
}
check a_volume_grows_that_is_not_mounted

only_mounts_have_counters() {
	local verb
	for verb in stat lockstat holders shutdown; do
		fails_with 'is not on a udaxfs mount' udaxctl "$verb" "$region"
	done
}
check only_mounts_have_counters

# --- shutting down ---

start_mount "$region" "$mnt"

shutdown_is_as_if_power_had_gone() {
	same kept "$(cat "$mnt/kept")"
	tool_file -c "$mnt/durable" write 0 4K d
	udaxctl shutdown "$mnt"
	same 'shut down' "$(json .state info "$mnt")" state
	fails_with 'Input/output error' cat "$mnt/durable" "$mnt/nothing"
	fails_with 'Input/output error' touch "$mnt/new"
	fails_with 'Input/output error' ls "$mnt/"
	fails_with 'I/O error' udaxctl df "$mnt"
	fails_with 'I/O error' udaxctl grow "$mnt"
	json '.counters | has("writes")' stat "$mnt"
	udaxctl shutdown "$mnt" # once more does no harm
}
check shutdown_is_as_if_power_had_gone
stop_mount "$mnt"

a_region_that_was_not_unmounted_says_so() {
	same 'not unmounted' "$(json .state info "$region")" state
	udaxctl info "$region" | grep -q 'the next mount recovers'
}
check a_region_that_was_not_unmounted_says_so

start_mount "$region" "$mnt"
what_was_acknowledged_is_there_after_a_shutdown() {
	same '4096xd ' "$(tool_file -r "$mnt/durable" read 0 4K)"
	same kept "$(cat "$mnt/kept")"
}
check what_was_acknowledged_is_there_after_a_shutdown
stop_mount "$mnt"

whole_after_a_shutdown() { fsck_clean "$region"; }
check whole_after_a_shutdown

# --- strangers ---

strangers_may_look_but_not_touch() {
	chmod 777 "$mnt"
	echo x >"$mnt/roots"
	as_user "$(command -v udaxctl)" info "$mnt"
	as_user "$(command -v udaxctl)" df "$mnt"
	as_user "$(command -v udaxctl)" stat "$mnt"
	as_user "$(command -v udaxctl)" lockstat "$mnt"
	fails_with 'only root and user 0' as_user "$(command -v udaxctl)" shutdown "$mnt"
	fails_with 'only root and user 0' as_user "$(command -v udaxctl)" grow "$mnt"
	fails_with 'not permitted' as_user "$(command -v udaxctl)" lockstat --on "$mnt"
	fails_with 'only root and user 0' as_user "$(command -v udaxctl)" holders "$mnt"
	fails_with 'or the owner of the file' as_user "$(command -v udaxctl)" holders "$mnt/roots"
	fails_with 'cannot be opened' as_user "$(command -v udaxctl)" collapse "$mnt/roots" 0 4K
	as_user touch "$mnt/theirs"
	as_user "$(command -v udaxctl)" holders "$mnt/theirs"
	fails_with '' as_user chattr +d "$mnt/roots"
	fails_with '' as_user chattr +i "$mnt/theirs"
	as_user chattr +d "$mnt/theirs"
}
if [ "$(id -u)" = 0 ] && as_user "$(command -v udaxctl)" --version >/dev/null 2>&1; then
	start_mount "$region" "$mnt" allow_other
	check strangers_may_look_but_not_touch
	stop_mount "$mnt"
else
	note "strangers: only root, with a build that others can read, can be somebody else"
fi

# --- the environment ---

check_finds_that_it_works_here() {
	udaxctl check
	same true "$(json .usable check)" usable
	json '.checks | length >= 10 and all(.text and .name and .level)' check
	json '.checks[] | select(.name == "fuse").level == "ok"' check
	json '.checks[] | select(.name == "userfaultfd").level == "ok"' check
	json '.checks[] | select(.name == "region").level == "ok"' check "$region"
}
check check_finds_that_it_works_here

check_says_what_to_do() {
	same warn "$(ulimit -n 64 && json '.checks[] | select(.name == "open files").level' check)"
	# A program with AddressSanitizer in it does not even start with so little.
	if (ulimit -v 2000000 && udaxctl --version) 2>"$work/err"; then
		(ulimit -v 2000000 && udaxctl check) | grep -A 1 'address space' |
			grep -q 'ulimit -v unlimited'
	else
		grep -q AddressSanitizer "$work/err"
	fi
	# Something that is no region.
	fails_with 'is a directory' udaxctl check "$work"
	same false "$(json .usable check "$work" || true)" usable
}
check check_says_what_to_do

check_misses_what_is_missing() {
	local status=0
	# A mount namespace without /dev/fuse.
	unshare --mount bash -c 'mount -t tmpfs none /dev && udaxctl check' >"$work/out" || status=$?
	same 1 "$status" 'exit status'
	grep -q '^fail  fuse .*does not exist' "$work/out"
	grep -q 'modprobe fuse' "$work/out"
}
check_as_root check_misses_what_is_missing

finish
