#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# udaxctl top: as text, as JSON, and on a terminal, which it leaves as it found it whatever ends it.
. "$(dirname "$0")/lib.sh"
mnt=$work/mnt
region=$(make_region 64M)
start_mount "$region" "$mnt"

json() { # json FILTER [OPTION...] - what the filter makes of udaxctl top's object
	local filter=$1
	shift
	udaxctl top --json --interval 0.3 "$@" "$mnt" | jq -e -r "$filter"
}

# while_busy COMMAND... - run it while others write and read.
while_busy() {
	local status=0
	head -c 256K /dev/zero >"$mnt/busy"
	: >"$work/go"
	while [ -e "$work/go" ]; do dd if="$mnt/busy" iflag=direct of=/dev/null bs=16K; done 2>/dev/null &
	while [ -e "$work/go" ]; do dd if="$mnt/busy" iflag=direct of=/dev/null bs=16K; done 2>/dev/null &
	while [ -e "$work/go" ]; do
		dd if=/dev/zero of="$mnt/busy" oflag=direct conv=notrunc bs=16K count=16
	done 2>/dev/null &
	"$@" || status=$?
	rm "$work/go"
	wait
	return "$status"
}

# --- not on a terminal ---

rates_are_what_happens_meanwhile() {
	json '.schema_version == 1 and .rates.writes == 0 and .interval_ns >= 300000000'
	busy_rates() {
		json '.rates.reads > 0 and .rates.writes > 0 and .rates.tx_commits > 0' &&
			json '.files.open >= 1 and .files.uncached >= 1 and .files.gates == 0'
	}
	while_busy wait_for 20 busy_rates
	json '.space.total_bytes == 67108864 and .space.quarantined_bytes == 0 and .clients.connected == 0'
	same "$(daemon_pid "$mnt")" "$(json .pid)" pid
}
check rates_are_what_happens_meanwhile

locks_that_are_waited_for_come_first() {
	busy_locks() {
		json '.lockstat and (.locks[0] | .name == "iolock" and .waiting > 0 and
			.waits_per_second > 0 and .taken_per_second > 0 and .wait_avg_ns > 0 and
			(.site | test("^src/[a-z_]+\\.c:[0-9]+$")))' --locks
	}
	while_busy wait_for 20 busy_locks
	while_busy wait_for 20 json '[.locks[].taken_per_second] | .[0] > 0 and . == (sort | reverse)' \
		--locks --sort taken
	fails_with 'can be sorted by' udaxctl top --sort nonsense "$mnt"
}
check locks_that_are_waited_for_come_first

lock_statistics_are_left_as_they_were() {
	json '.lockstat' --locks
	same false "$(udaxctl info --json "$mnt" | jq .lockstat)" 'off before and after'
	udaxctl lockstat --on "$mnt"
	json '.lockstat' --locks
	same true "$(udaxctl info --json "$mnt" | jq .lockstat)" 'on before and after'
	udaxctl lockstat --off "$mnt"
	json '.lockstat | not'
	udaxctl top --once --interval 0.2 "$mnt" | grep -q 'not being taken: --locks begins'
}
check lock_statistics_are_left_as_they_were

elsewhere_it_is_text() {
	udaxctl top --count 3 --interval 0.2 --locks "$mnt" >"$work/text"
	same 3 "$(grep -c '^OPERATIONS ' "$work/text")" 'looks'
	same 3 "$(grep -c '^LOCKS ' "$work/text")" 'tables of locks'
	! grep $'[\033\001]' "$work/text" || return 1
	grep -q '^space    64.0 MiB, \|^space    64 MiB, ' "$work/text"
	same 1 "$(udaxctl top --once --interval 0.2 "$mnt" | grep -c '^OPERATIONS ')"
	# Without a number it goes on, until whoever reads has enough.
	timeout 20 udaxctl top --interval 0.2 "$mnt" | grep -m 2 -c '^OPERATIONS ' >"$work/n"
	same 2 "$(cat "$work/n")"
	fails_with 'give seconds' udaxctl top --interval 0 "$mnt"
	fails_with 'give seconds' udaxctl top --interval x "$mnt"
	fails_with 'give a number' udaxctl top --count 0 "$mnt"
	fails_with 'one object' udaxctl top --json --count 2 "$mnt"
}
check elsewhere_it_is_text

# --- on a terminal ---

enter=$'\033[?1049h' leave=$'\033[?1049l' cursor=$'\033[?25h' hidden=$'\033[?25l'

# begin_terminal [OPTION...] - udaxctl top on a terminal of its own; keys go to descriptor 7.
begin_terminal() {
	rm -f "$work"/{keys,screen,tty,before,after,status,top.pid}
	mkfifo "$work/keys"
	cat >"$work/inside" <<-END
		stty rows 24 cols 80
		tty >"$work/tty"
		stty -g >"$work/before"
		bash -c 'echo \$\$ >"$work/top.pid"; exec udaxctl top --interval 0.3 $* "${on:-$mnt}" 2>"$work/err"'
		echo \$? >"$work/status"
		stty -g >"$work/after"
	END
	TERM=xterm script -qefc "bash '$work/inside'" "$work/screen" <"$work/keys" >/dev/null &
	exec 7>"$work/keys"
	wait_for 10 drawn 2
	grep -aq -F "$enter" "$work/screen"
}
drawn() { [ "$(grep -ao ' over [0-9.]* s' "$work/screen" | wc -l)" -ge "$1" ]; } # so many times

# ended STATUS - it has ended so, and the terminal is as before.
ended() {
	wait_for 10 test -s "$work/after"
	exec 7>&-
	wait
	same "$1" "$(cat "$work/status")" 'exit status' || { cat "$work/err"; return 1; }
	same "$(cat "$work/before")" "$(cat "$work/after")" 'the terminal'
	# The last that happens to the screen is that it is left, with its cursor.
	same "$leave" "$(grep -ao -F -e "$enter" -e "$leave" "$work/screen" | tail -n 1)" screen
	same "$cursor" "$(grep -ao -F -e "$hidden" -e "$cursor" "$work/screen" | tail -n 1)" cursor
}

q_quits() {
	begin_terminal
	printf q >&7
	ended 0
}
check q_quits

signals_end_it_well() {
	local signal
	for signal in INT TERM HUP QUIT; do
		begin_terminal
		kill "-$signal" "$(cat "$work/top.pid")"
		ended 0
	done
	# What is typed becomes a signal too.
	begin_terminal
	printf '\003' >&7
	ended 0
}
check signals_end_it_well

a_crash_leaves_the_terminal_as_it_was() {
	begin_terminal
	kill -SEGV "$(cat "$work/top.pid")"
	if grep -q -a '__asan_init' "$(command -v udaxctl)"; then
		wait_for 10 test -s "$work/after" # its own handler may be the one that is called
		exec 7>&-
		wait
	else
		ended 139
	fi
}
check a_crash_leaves_the_terminal_as_it_was

keys_sort_and_switch_locks() {
	begin_terminal
	grep -aq 'locks by waiting' "$work/screen"
	grep -aq 'press l to begin' "$work/screen"
	printf s >&7
	wait_for 10 grep -aq 'locks by waits' "$work/screen"
	printf l >&7
	wait_for 10 grep -aq 'taken/s' "$work/screen"
	same true "$(udaxctl info --json "$mnt" | jq .lockstat)" 'statistics'
	printf xyz >&7 # mean nothing
	printf q >&7
	ended 0
	same false "$(udaxctl info --json "$mnt" | jq .lockstat)" 'statistics afterwards'
}
check keys_sort_and_switch_locks

# last_frame - its lines, without what moves the cursor.
last_frame() {
	tr -d '\r' <"$work/screen" | awk 'BEGIN { RS = "\033\\[H" } NF { last = $0 } END { print last }' |
		sed 's/\x1b\[[0-9]*;1H/\n/g; s/\x1b\[[0-9;]*[mKJ]//g'
}

it_fits_the_terminal_also_when_that_shrinks() {
	begin_terminal --locks
	stty -F "$(cat "$work/tty")" rows 8 cols 40
	sleep 1.5
	last_frame >"$work/frame"
	printf q >&7
	ended 0
	[ "$(awk 'length > 40' "$work/frame" | wc -l)" = 0 ]
	[ "$(awk 'length == 40' "$work/frame" | wc -l)" -gt 0 ]
	[ "$(grep -c . "$work/frame")" -le 8 ]
	grep -q '^OPERATIONS' "$work/frame"
}
check it_fits_the_terminal_also_when_that_shrinks

stopping_gives_the_terminal_back() {
	local n
	begin_terminal
	kill -TSTP "$(cat "$work/top.pid")"
	wait_for 10 grep -aq -F "$leave" "$work/screen"
	same "$(cat "$work/before")" "$(stty -F "$(cat "$work/tty")" -g)" 'the terminal, meanwhile'
	n=$(grep -ao -F "$enter" "$work/screen" | wc -l)
	kill -CONT "$(cat "$work/top.pid")"
	wait_for 10 entered_again "$n"
	kill -TERM "$(cat "$work/top.pid")"
	wait_for 10 gone "$(cat "$work/top.pid")"
	exec 7>&-
	wait
}
entered_again() { [ "$(grep -ao -F "$enter" "$work/screen" | wc -l)" -gt "$1" ]; }
gone() { ! kill -0 "$1"; }
check stopping_gives_the_terminal_back

a_mount_that_ends_is_said_on_the_shells_screen() {
	local on=$work/other
	start_mount "$(make_region 16M)" "$on"
	begin_terminal
	kill -TERM "$(daemon_pid "$on")"
	ended 1
	grep -q 'udaxctl: ' "$work/err"
	wait_for 20 test -e "$(_state "$on")/status"
	no_reports "$on"
}
check a_mount_that_ends_is_said_on_the_shells_screen

a_dumb_terminal_gets_text() {
	TERM=dumb script -qefc "udaxctl top --interval 0.2 --count 2 '$mnt'" "$work/screen" </dev/null >/dev/null
	drawn 2
	! grep -a -F "$enter" "$work/screen" || return 1
}
check a_dumb_terminal_gets_text
stop_mount "$mnt"

strangers_may_look_but_not_switch() {
	chmod 777 "$mnt"
	as_user "$(command -v udaxctl)" top --once --interval 0.2 "$mnt" >"$work/text"
	grep -q '^files    only root and user 0 are told' "$work/text"
	as_user "$(command -v udaxctl)" top --json --interval 0.2 "$mnt" | jq -e '.files == null'
	fails_with 'not permitted' as_user "$(command -v udaxctl)" top --once --locks "$mnt"
}
if [ "$(id -u)" = 0 ] && as_user "$(command -v udaxctl)" --version >/dev/null 2>&1; then
	start_mount "$region" "$mnt" allow_other
	check strangers_may_look_but_not_switch
	stop_mount "$mnt"
else
	note "strangers: only root, with a build that others can read, can be somebody else"
fi

finish
