# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
# shellcheck shell=bash
#
# For tests/mount_*.sh: tests on a real mount. A script reads
#
#	. "$(dirname "$0")/lib.sh"
#	region=$(make_region)
#	start_mount "$region" "$work/mnt"
#	a_file_keeps_what_was_written() { echo hello >"$work/mnt/f" && same hello "$(cat "$work/mnt/f")"; }
#	check a_file_keeps_what_was_written
#	stop_mount "$work/mnt"
#	finish
#
# and runs as it stands, from any directory, as root or not. Rules that hold by themselves:
#   - every daemon runs with -o lockdep, and a report of it is a failure when the mount is stopped;
#   - a check is a function run in a subshell under `set -e`, with a time limit ($limit seconds):
#     what hangs is killed together with the mount it may hang on, and the script goes on;
#   - whatever happens, no mount, daemon or file stays: the connection is aborted, then unmounted.
# What a shell function starts must be found by another one: a mount's pid, log and exit status
# are files below $work/state, named after the mount point.
set -u

tests=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${UDAX_BUILD:=$(dirname "$tests")/build/release}"
: "${UDAX_TEST_LEVEL:=quick}" # or full: longer runs
: "${UDAX_TEST_PASS:=first}"  # or again: what takes long has run already, as somebody else
PATH=$UDAX_BUILD:$UDAX_BUILD/tests:$PATH:/usr/sbin:/sbin
work=$(mktemp -d "${TMPDIR:-/tmp}/${0##*/}.XXXXXX") || exit 1
ram=$(mktemp -d /dev/shm/udaxtest.XXXXXX 2>/dev/null) || ram=$work
limit=60
daemon=udaxfs
user=udaxtest # who as_user is, for root
mkdir "$work/state" "$work/mnt"
chmod 711 "$work" "$ram"

# --- results ---

_count=0 _bad=0

note() { printf '%s\n' "$@" | sed 's/^/# /'; }

_result() { # _result STATUS NAME [FILE WITH OUTPUT]
	_count=$((_count + 1))
	if [ "$1" = 0 ]; then
		echo "ok $_count - $2"
	else
		_bad=$((_bad + 1))
		[ -z "${3-}" ] || _excerpt "$3" | sed 's/^/# /'
		echo "not ok $_count - $2"
	fi
}

# What went wrong stands at the start or at the end.
_excerpt() {
	if [ "$(wc -l <"$1")" -le 60 ]; then
		cat "$1"
	else
		head -n 20 "$1"
		echo ...
		tail -n 40 "$1"
	fi
}

# check FUNCTION [ARGUMENT...] - one test, named after the function.
check() {
	local title=${_title:-${1//_/ }} output=$work/state/output pid status=0 end=$((SECONDS + limit))
	(
		trap - EXIT TERM INT
		set -e
		"$@"
	) >"$output" 2>&1 </dev/null &
	pid=$!
	while kill -0 $pid 2>/dev/null && [ $SECONDS -lt $end ]; do sleep 0.02; done
	if kill -0 $pid 2>/dev/null; then
		echo "no end after $limit s; what it was doing:" >>"$output"
		_processes $pid >>"$output"
		_kill_tree $pid
		_abort_all
		status=1
	fi
	wait $pid 2>/dev/null || status=1
	_result $status "$title" "$output"
}

# check_as_root FUNCTION... - skipped for others; CI runs every script both ways.
check_as_root() {
	local _title="as root: ${1//_/ }"
	if [ "$(id -u)" = 0 ]; then
		check "$@"
	else
		skip "$_title" "only root can do this"
	fi
}

skip() { # skip NAME REASON
	_count=$((_count + 1))
	echo "ok $_count - $1 # SKIP $2"
}

skip_all() { # skip_all REASON - instead of all tests of this script
	echo "1..0 # SKIP $1"
	exit 0
}

finish() {
	local mnt
	for mnt in $(_mounts); do
		note "$mnt was not stopped"
		stop_mount "$mnt"
	done
	echo "1..$_count"
	exit $((_bad > 0))
}

# --- what checks are made of: each succeeds, or prints why not and fails ---

same() { # same WANTED GOT [WHAT]
	[ "$1" = "$2" ] && return
	printf '%s: wanted "%s", got "%s"\n' "${3:-value}" "$1" "$2"
	return 1
}

# fails_with TEXT COMMAND... - the command must fail, and print TEXT (a pattern) while it does.
fails_with() {
	local text=$1 output
	shift
	if output=$("$@" 2>&1); then
		printf 'did not fail: %s\n%s\n' "$*" "$output"
		return 1
	fi
	# shellcheck disable=SC2053 # the right side is a pattern
	[[ $output == *$text* ]] && return
	printf 'failed, but not with "%s": %s\n%s\n' "$text" "$*" "$output"
	return 1
}

# wait_for SECONDS COMMAND... - until it succeeds.
wait_for() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || { echo "in vain: $*"; return 1; }
		sleep 0.02
	done
}

# as_user COMMAND... - as somebody without privileges: for root "udaxtest", otherwise oneself.
as_user() {
	if [ "$(id -u)" = 0 ]; then runuser -u $user -- "$@"; else "$@"; fi
}

# direct COMMAND... - run it under udaxrun, on $work/mnt. What udaxrun counts and what /proc/self/maps says must
# both have it that it had direct mappings, and faults, and that nothing fell back; and in each of its processes
# that mapped something a fault must follow a punch (seen_maps.c).
direct() {
	direct_by --require-direct "$@"
}

# direct_by OPTION COMMAND... - as direct, with another option of udaxrun.
direct_by() {
	rm -f "$work/seen"
	# shellcheck disable=SC2016 # that shell expands them
	SEEN_MOUNT=$work/mnt SEEN_REPORT=$work/seen udaxrun --stats "$1" \
		sh -c 'LD_PRELOAD=$0:$LD_PRELOAD exec "$@"' "$UDAX_BUILD/tests/libseen_maps.so" "${@:2}" \
		2>"$work/stats" || { cat "$work/stats"; return 1; }
	! grep 'mappings not direct' "$work/stats" || return 1
	grep -v ' 0 direct mappings' "$work/stats" | grep -q ' direct mappings, [1-9][0-9]* faults' ||
		{ cat "$work/stats"; return 1; }
	was_seen_direct
}

was_seen_direct() {
	[ -s "$work/seen" ] || { echo "no process had the region in /proc/self/maps"; return 1; }
	! grep -v ': direct [1-9][0-9]*, by the kernel 0, well$' "$work/seen"
}

# --- regions ---

# make_region [SIZE [tmpfs|disk]] - a formatted region of its own; prints its path.
make_region() {
	local dir=$ram path
	[ "${2-tmpfs}" = tmpfs ] || dir=$work
	path=$(mktemp -u "$dir/region.XXXXXX")
	mkfs.udaxfs --size "${1:-256M}" "$path" >"$path.mkfs" 2>&1 || {
		note "mkfs.udaxfs --size ${1:-256M} $path:" "$(cat "$path.mkfs")" >&2
		return 1
	}
	rm "$path.mkfs"
	echo "$path"
}

# fsck_clean REGION - fsck finds nothing to say against it.
fsck_clean() {
	local output
	output=$(fsck.udaxfs -n "$1" 2>&1) && return
	printf 'fsck.udaxfs -n says:\n%s\n' "$output"
	return 1
}

# --- mounts ---

_state() { echo "$work/state/$(tr / , <<<"$1")"; }
_is_mounted() { grep -q "^[0-9]* [0-9]* [0-9:]* [^ ]* $1 " /proc/self/mountinfo; }
_mounts() { awk -v dir="$work/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | tac; }

# start_mount REGION MOUNTPOINT [OPTIONS] - run the daemon ($daemon) in the background until it is mounted.
start_mount() {
	local state status
	state=$(_state "$2")
	mkdir -p "$2" "$state"
	rm -f "$state"/*
	echo "$1" >"$state/region"
	(
		trap - EXIT TERM INT
		"$daemon" -f -o "lockdep${3:+,$3}" "$1" "$2" >"$state/log" 2>&1 </dev/null &
		echo $! >"$state/pid"
		status=0
		wait $! || status=$?
		echo $status >"$state/status"
	) >/dev/null 2>&1 </dev/null &
	if ! wait_for 20 _mounted_or_ended "$2" "$state" || ! _is_mounted "$2"; then
		note "udaxfs -f -o lockdep${3:+,$3} $1 $2 did not mount:" "$(cat "$state/log")"
		return 1
	fi
}
_mounted_or_ended() { [ -s "$2/pid" ] && { _is_mounted "$1" || [ -e "$2/status" ]; }; }

daemon_log() { cat "$(_state "$1")/log"; }
daemon_pid() { cat "$(_state "$1")/pid"; }

# stop_mount MOUNTPOINT - unmount, wait for the daemon to end well. This is a test by itself,
# because it is where lockdep reports, sanitizer reports and lost daemons come to light.
stop_mount() {
	local _title="the daemon on ${1#"$work"/} ends well"
	check _stop_mount "$1"
}
_stop_mount() {
	local state
	state=$(_state "$1")
	_unmount "$1" && wait_for $((limit / 2)) test -e "$state/status" || return
	same 0 "$(cat "$state/status")" "exit status of the daemon" || { cat "$state/log"; return 1; }
	no_reports "$1"
}

# no_reports MOUNTPOINT - neither lockdep nor a sanitizer nor an assertion has complained.
no_reports() {
	! grep -A 60 -E 'WARNING: |ERROR: |runtime error: |Assertion' "$(_state "$1")/log"
}

# remount MOUNTPOINT [OPTIONS] - stop it well, and start it again on the same region.
remount() {
	local region
	region=$(cat "$(_state "$1")/region") && _stop_mount "$1" && start_mount "$region" "$@"
}

# crash_mount MOUNTPOINT - kill -9 the daemon, and take the dead mount away.
crash_mount() {
	local state
	state=$(_state "$1")
	kill -KILL "$(cat "$state/pid")" && wait_for 20 test -e "$state/status" &&
		no_reports "$1" && _unmount "$1" lazily
}

_unmount() { # _unmount MOUNTPOINT [lazily]
	if [ "$(id -u)" = 0 ]; then umount ${2+--lazy} "$1"; else fusermount3 -u ${2+-z} "$1"; fi
}

# --- cleaning up ---

_descendants() {
	local child
	for child in $(ps -o pid= --ppid "$1"); do
		_descendants "$child"
	done
	echo "$1"
}

_processes() { ps -o pid,stat,wchan:24,args -p "$(_descendants "$1" | paste -sd,)"; }

# shellcheck disable=SC2046 # one word a process
_kill_tree() { kill -KILL $(_descendants "$1") 2>/dev/null; }

# Aborting a connection wakes whoever waits for an answer, even where kill -9 does not help.
_abort_all() {
	local mnt minor control=/sys/fs/fuse/connections
	if [ "$(id -u)" = 0 ] && [ -d $control ] && ! mountpoint -q $control; then
		mount -t fusectl none $control
	fi
	for mnt in $(_mounts); do
		minor=$(awk -v mnt="$mnt" '$5 == mnt { sub(/.*:/, "", $3); print $3 }' \
			/proc/self/mountinfo | tail -n 1)
		[ ! -w "$control/$minor/abort" ] || echo 1 >"$control/$minor/abort"
	done 2>/dev/null
}

_clean_up() {
	local mnt state
	trap - EXIT
	cd /
	_abort_all
	for mnt in $(_mounts); do _unmount "$mnt" lazily; done
	for state in "$work"/state/*/; do
		[ ! -e "$state/pid" ] || [ -e "$state/status" ] || kill -KILL "$(cat "$state/pid")"
	done
	rm -rf --one-file-system "$work" "$ram"
} 2>/dev/null
trap _clean_up EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
