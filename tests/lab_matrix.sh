#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# The lab's matrix: every scenario under every policy, exhaustive to 2 preemptions. A policy that is
# called sound is clean; each that is not is caught; and each row of the races is a scenario's, or
# docs/SCENARIOS.md says why not.
. "$(dirname "$0")/lib.sh"

limit=1100
most_seconds=300 # for all of it, on two cores
left_out=5	 # rows of 1 to 63
cd "$tests/.." || exit 1
matrix=$work/matrix.json

the_matrix_runs() {
	local status=0
	udaxlab matrix --json --scenarios scenarios >"$matrix" || status=$?
	jq -r '.rows[] | select(.verdict == "unknown") | "\(.scenario), \(.policy): \(.text)"' "$matrix"
	jq -r '.rows[] | select(.sound and .verdict == "caught") |
		"\(.scenario), \(.policy): \(.rule): \(.text)\n" +
		"  udaxlab replay \(.scenario):\(.policy):\(.schedule)"' "$matrix"
	same 0 "$status" 'exit status'
}

sound_policies_are_clean_and_searched_to_the_end() {
	same 0 "$(jq '[.rows[] | select(.sound and (.verdict != "safe" or (.exhaustive | not)))] | length' "$matrix")"
}

each_unsound_policy_is_caught() {
	local policy
	for policy in $(udaxlab policies --json | jq -r '.policies[] | select(.sound | not).name'); do
		jq -e --arg p "$policy" 'any(.rows[]; .policy == $p and .verdict == "caught")' \
			"$matrix" >/dev/null || { echo "$policy passes"; return 1; }
	done
}

# Says how long it was; only in a full run, where nothing else runs beside it, is that judged.
it_takes_less_than_five_minutes() {
	local seconds
	seconds=$(jq '.seconds | floor' "$matrix")
	echo "$seconds s"
	[ "$UDAX_TEST_LEVEL" = quick ] || [ "$seconds" -lt "$most_seconds" ]
}

each_row_is_a_scenario_or_left_out_with_a_reason() {
	local row missing=0
	for row in $(seq 63); do
		udaxlab scenarios --json --scenarios scenarios |
			jq -e --argjson row "$row" 'any(.scenarios[].races[]; . == $row)' >/dev/null &&
			continue
		missing=$((missing + 1))
		grep -qE "^\| *$row *\|" docs/SCENARIOS.md || { echo "row $row: no scenario, no reason"; return 1; }
	done
	echo "$missing rows are left out"
	[ "$missing" -le "$left_out" ]
}

for test in the_matrix_runs sound_policies_are_clean_and_searched_to_the_end \
	each_unsound_policy_is_caught it_takes_less_than_five_minutes \
	each_row_is_a_scenario_or_left_out_with_a_reason; do
	check $test
done
finish
