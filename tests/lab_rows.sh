#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# Each row of the races bites: the table "What each row catches" of docs/SCENARIOS.md names for each a scenario
# and something that is taken away, and the lab has to say that this rule is broken then.
. "$(dirname "$0")/lib.sh"

limit=600
cd "$tests/.." || exit 1
table=$work/table # row, scenario, kind, what, rule
sed -nE 's/^\| ([0-9]+) \| `([^`]+)` \| (mutant|policy|without|by hand:) `([^`]+)`[^|]* \| ([a-z-]+) \|$/\1\t\2\t\3\t\4\t\5/p' \
	docs/SCENARIOS.md >"$table"

each_row_that_has_a_scenario_is_in_the_table() {
	local row
	for row in $(udaxlab scenarios --json --scenarios scenarios | jq '.scenarios[].races[]' | sort -nu); do
		grep -q "^$row	" "$table" || { echo "row $row"; return 1; }
	done
}

# caught SCENARIO KIND WHAT - the rule that is broken then, or "safe".
caught() {
	local dir=$work/one policy=mmaplock
	rm -rf "$dir"
	mkdir "$dir"
	cp "scenarios/$1.lab" "$dir"
	case $2 in
	mutant)
		scripts/mutants --build "$UDAX_BUILD" --scenarios "$dir" --jobs 1 --only "$3" |
			sed -nE 's/.* killed by ([a-z-]+) in .*/\1/p'
		return
		;;
	policy) policy=$3 ;;
	without) echo "without $3" >>"$dir/$1.lab" ;;
	esac
	udaxlab explore --json --policy "$policy" "$dir/$1.lab" |
		jq -r 'if .verdict == "safe" then .verdict else .rule end'
}

each_is_caught() { # each_is_caught KIND, lines of the table on standard input
	local row scenario kind what rule n=0
	while IFS=$'\t' read -r row scenario kind what rule; do
		same "$rule" "$(caught "$scenario" "$kind" "$what")" "row $row, $scenario, $kind $what"
		n=$((n + 1))
	done
	echo "$n lines"
	[ "$n" -gt 0 ]
}

what_policies_and_scenarios_take_away_is_caught() {
	awk -F'\t' '$3 == "policy" || $3 == "without"' "$table" >"$work/plain"
	each_is_caught <"$work/plain"
}

what_mutants_take_away_is_caught() {
	awk -F'\t' '$3 == "mutant"' "$table" >"$work/mutants"
	each_is_caught <"$work/mutants"
}

check each_row_that_has_a_scenario_is_in_the_table
check what_policies_and_scenarios_take_away_is_caught
check what_mutants_take_away_is_caught
finish
