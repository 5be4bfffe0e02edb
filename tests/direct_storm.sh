#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# The storm (tool_storm.c): processes store through direct mappings while others truncate, punch,
# collapse, exchange, copy and move the files, and some are stopped or killed. On three mounts at the same time,
# so that they take one minute together. UDAX_STORM_SECONDS: how long.
#
# That it would notice is shown with two daemons from which one protection each is taken (broken_*.c).
. "$(dirname "$0")/lib.sh"

case $UDAX_TEST_LEVEL-$UDAX_TEST_PASS in
full-*) : "${UDAX_STORM_SECONDS:=600}" ;;
*-first) : "${UDAX_STORM_SECONDS:=60}" ;;
*) : "${UDAX_STORM_SECONDS:=15}" ;;
esac
limit=$((UDAX_STORM_SECONDS + 60))

# Where its mount is, what its daemon is told, and what the test is called.
names=(small large range)
declare -A options=([small]=granule=4K [large]=granule=2M [range]=mmaplock=range)
declare -A titles=([small]='granule 4K' [large]='granule 2M' [range]='locks of ranges')
declare -A regions

counter() { udaxctl stat --json "$work/$1" | jq --exit-status ".$2 // .counters.$2"; }

# storm NAME - its processes prove at their end that they ran direct. What it says goes to $work/NAME.said.
storm() {
	local status=0
	udaxrun --require-direct tool_storm "$work/$1" "$UDAX_STORM_SECONDS" >"$work/$1.said" 2>&1 || status=$?
	echo "$status" >"$work/$1.status"
}

all_storms_end() {
	local name
	for name in "${names[@]}"; do storm "$name" & done
	wait
	for name in "${names[@]}"; do [ -s "$work/$name.status" ]; done
}

no_store_is_lost_and_no_foreign_byte_is_seen() {
	cat "$work/$1.said"
	same 0 "$(cat "$work/$1.status")" 'how it ended'
	same '' "$(grep -E '(^| )0 (changes|copies|deaths|stops|faults|recalls)' "$work/$1.said")" 'what never happened'
	[ "$(counter "$1" faults)" -gt 1000 ]
	[ "$(counter "$1" recalls)" -gt 100 ]
}

# What was in quarantine on account of somebody who was stopped or killed is free again.
nothing_stays_in_quarantine() {
	wait_for 10 nobody_is_left "$1"
	same 0 "$(udaxctl df --json "$work/$1" | jq .quarantined_bytes)" quarantine
}
nobody_is_left() {
	[ "$(counter "$1" clients)" = 0 ] && [ "$(counter "$1" clients_lost)" = 0 ] &&
		[ "$(counter "$1" recalls_late_now)" = 0 ]
}

# A minute is enough to find out.
a_broken_daemon_is_noticed() {
	local said=$work/$1.said
	storm "$1"
	cat "$said"
	same 1 "$(cat "$work/$1.status")" 'how it ended'
	grep -qE '^FAILED: .*( has [0-9a-f]+, stored|foreign word|foreign file has|no word)' "$said"
}

for name in "${names[@]}"; do
	regions[$name]=$(make_region 512M) || exit 1 # a granule of 2M needs whole runs to move to
	start_mount "${regions[$name]}" "$work/$name" "recall_timeout=0.4,${options[$name]}" || exit 1
done
check all_storms_end
for name in "${names[@]}"; do
	_title="${titles[$name]}: no store is lost and no foreign byte is seen" \
		check no_store_is_lost_and_no_foreign_byte_is_seen "$name"
	_title="${titles[$name]}: nothing stays in quarantine" check nothing_stays_in_quarantine "$name"
	stop_mount "$work/$name"
	_title="${titles[$name]}: fsck finds nothing" check fsck_clean "${regions[$name]}"
	rm "${regions[$name]}"
done

if [ "$UDAX_TEST_PASS" = first ]; then
	[ "$UDAX_STORM_SECONDS" -le 60 ] || UDAX_STORM_SECONDS=60
	for name in broken_recall broken_close; do
		daemon=$name
		region=$(make_region 512M) || exit 1
		start_mount "$region" "$work/$name" recall_timeout=0.4 || exit 1
		_title="the storm notices ${name/_/ }" check a_broken_daemon_is_noticed "$name"
		note "$(tail -n 1 "$work/$name.said")"
		crash_mount "$work/$name" || exit 1 # and whoever waits for it
		rm "$region"
	done
fi
finish
