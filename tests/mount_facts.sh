#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# What the protocols take for granted of the kernel: the same experiment on this kernel and in the lab, with the
# same outcome. Those of files (tests/facts.h) force their interleaving, so that there is one outcome: the mount's has
# to be it each time, the lab's on every interleaving. Those of memory (tests/facts_memory.h) are a scenario in the
# lab, with or without the protection that they are about.
. "$(dirname "$0")/lib.sh"

[ "${UDAX_FULL-}" != 1 ] || UDAX_TEST_LEVEL=full
runs=2
[ "$UDAX_TEST_LEVEL" = quick ] || runs=10
limit=$((40 + 5 * runs))
scenarios=$tests/../scenarios

as_on_this_kernel() { # as_on_this_kernel NAME WANTED
	uname -r
	same "$2" "$(tool_facts mount "$1" "$work/mnt" "$runs")" "on this kernel"
	same "$2" "$(tool_facts lab "$1")" "in the lab"
}

# verdict SCENARIO PROTECTION - of the lab, with the protection taken away: "safe", or a rule.
verdict() {
	cp "$scenarios/$1.lab" "$work/$1.lab"
	[ "$2" = - ] || echo "without $2" >>"$work/$1.lab"
	udaxlab explore --json "$work/$1.lab" | jq -r 'if .verdict == "safe" then .verdict else .rule end'
}

as_libudax_has_it() { # as_libudax_has_it NAME WANTED SCENARIO PROTECTION
	local run
	uname -r
	for ((run = 0; run < runs; run++)); do
		same "$2" "$(tool_facts memory "$1")" "on this kernel"
	done
	[ "$3" = - ] || same "$2" "$(verdict "$3" "$4")" "in the lab"
}

command -v tool_facts >/dev/null || skip_all "the lab is not built for this machine"
while IFS=$'\t' read -r name says wanted; do
	note "$says"
	_title=${name//_/ } check as_on_this_kernel "$name" "$wanted"
done < <(tool_facts --list)
while IFS=$'\t' read -r name says wanted scenario without; do
	note "$says"
	_title=${name//_/ } check as_libudax_has_it "$name" "$wanted" "$scenario" "$without"
done < <(tool_facts --list-memory)
finish
