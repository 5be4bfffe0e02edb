#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# The storm (tool_storm.c): processes store through direct mappings while others truncate, punch,
# collapse, exchange and move the files, and some are stopped or killed. UDAX_STORM_SECONDS: how long
# each.
. "$(dirname "$0")/lib.sh"

mnt=$work/mnt
case $UDAX_TEST_LEVEL in
full) : "${UDAX_STORM_SECONDS:=600}" ;;
*) : "${UDAX_STORM_SECONDS:=20}" ;;
esac
limit=$((UDAX_STORM_SECONDS + 60))

counter() { udaxctl stat --json "$mnt" | jq --exit-status ".$1 // .counters.$1"; }

no_store_is_lost_and_no_foreign_byte_is_seen() {
	udaxrun --require-direct tool_storm "$mnt" "$UDAX_STORM_SECONDS"
	[ "$(counter faults)" -gt 1000 ]
	[ "$(counter recalls)" -gt 100 ]
}

# What was in quarantine on account of somebody who was stopped or killed is free again.
nothing_stays_in_quarantine() {
	wait_for 10 nobody_is_left
	same 0 "$(udaxctl df --json "$mnt" | jq .quarantined_bytes)" quarantine
}
nobody_is_left() {
	[ "$(counter clients)" = 0 ] && [ "$(counter clients_lost)" = 0 ] &&
		[ "$(counter recalls_late_now)" = 0 ]
}

storm() { # storm NAME OPTIONS
	local region
	region=$(make_region 512M) || exit 1 # a granule of 2M needs whole runs to move to
	start_mount "$region" "$mnt" "recall_timeout=0.4,$2" || exit 1
	_title="$1: no store is lost and no foreign byte is seen" \
		check no_store_is_lost_and_no_foreign_byte_is_seen
	_title="$1: nothing stays in quarantine" check nothing_stays_in_quarantine
	stop_mount "$mnt"
	_title="$1: fsck finds nothing" check fsck_clean "$region"
	rm "$region"
}

storm "granule 4K" granule=4K
storm "granule 2M" granule=2M
storm "locks of ranges" mmaplock=range
finish
