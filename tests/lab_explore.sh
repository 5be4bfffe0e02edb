#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# udaxlab as its users meet it: verdicts and exit statuses, counterexamples and their replay, the
# reduction against running every interleaving, and that the core in it is the daemon's.
. "$(dirname "$0")/lib.sh"

limit=150
[ "$UDAX_TEST_LEVEL" = quick ] || limit=3000
cd "$tests/.." || exit 1
export UDAXLAB_SCENARIOS=$PWD/scenarios

# What an unsound policy does to row 16, as the test of everything that shows counterexamples.
caught=$work/caught
catch() {
	local status=0
	udaxlab explore 16-punch-against-fault --policy none "$@" >"$caught" || status=$?
	same 3 "$status" 'exit status'
}

a_sound_policy_gives_a_bound_and_status_0() {
	udaxlab explore 16-punch-against-fault >"$work/out"
	grep -E 'no violation in [0-9,]+ interleavings: exhaustive up to 2 preemptions' "$work/out"
}

an_unsound_policy_gives_a_counterexample_and_status_3() {
	catch
	grep -E '^16-punch-against-fault, policy none: [a-z-]+, found in' "$caught"
	grep -E '[a-z_]+\.c:[0-9]+' "$caught" >/dev/null
}

replay_of() { sed -nE "s/.*udaxlab replay '([^']+)'.*/\1/p" "$1" | head -n 1; }

a_counterexample_is_replayed_from_its_last_line() {
	local status=0
	catch
	udaxlab replay "$(replay_of "$caught")" >"$work/again" || status=$?
	same 3 "$status" 'exit status'
	diff <(sed 1d "$caught") "$work/again"
	replay_of "$caught" >"$work/file"
	udaxlab replay "$work/file" >"$work/again" || status=$?
	diff <(sed 1d "$caught") "$work/again"
}

the_same_search_gives_the_same_counterexample() {
	catch
	cp "$caught" "$work/first"
	catch
	diff <(sed 1d "$work/first") <(sed 1d "$caught")
}

a_random_search_finds_it_too_and_says_that_it_was_random() {
	local status=0
	udaxlab explore 16-punch-against-fault --policy none --random 1,100000 >"$work/out" || status=$?
	same 3 "$status" 'exit status'
	udaxlab explore 16-punch-against-fault --random 1,200 >"$work/out"
	grep 'chosen at random' "$work/out"
	! grep exhaustive "$work/out"
}

priorities_find_it_too() {
	local status=0
	udaxlab explore 16-punch-against-fault --policy none --pct 3 >"$work/out" || status=$?
	same 3 "$status" 'exit status'
}

a_search_that_was_stopped_never_says_exhaustive() {
	local status=0
	udaxlab explore 44-setattr-stops-writeback --exhaustive --timeout 1 >"$work/out" || status=$?
	same 4 "$status" 'exit status'
	grep 'not all of them' "$work/out"
	! grep exhaustive "$work/out"
}

reports_are_written() {
	catch --html "$work/a.html" --svg "$work/a.svg" --trace "$work/a.json"
	jq -e '.traceEvents | length > 10' "$work/a.json" >/dev/null
	grep -q '<svg' "$work/a.svg"
	grep -q '</html>' "$work/a.html"
}

wrong_arguments_are_explained() {
	fails_with "no policy 'nonsense'; there are" udaxlab explore 16-punch-against-fault -p nonsense
	fails_with 'no-such.lab' udaxlab explore no-such
	fails_with 'SCENARIO:POLICY:SCHEDULE' udaxlab replay nonsense
	fails_with 'no schedule' udaxlab replay 16-punch-against-fault:mmaplock:0.9
	fails_with "no verb 'x'" udaxlab x
	printf 'title t\nfile a written 9\n' >"$work/bad.lab"
	fails_with 'bad.lab:2:16:' udaxlab explore "$work/bad.lab"
}

# compare SCENARIO PREEMPTIONS - with and without the reduction: verdict, set of outcomes.
compare() {
	local all some
	all=$(udaxlab explore "$1" -n "$2" --no-reduction --json)
	some=$(udaxlab explore "$1" -n "$2" --json)
	same "$(jq -c '[.verdict, .rule, .outcomes, .outcomes_sum]' <<<"$all")" \
		"$(jq -c '[.verdict, .rule, .outcomes, .outcomes_sum]' <<<"$some")" "$1"
	jq -e --argjson some "$some" '.interleavings >= $some.interleavings' <<<"$all" >/dev/null
}

# A full run compares all of them, and some to 2 preemptions.
the_reduction_loses_no_outcome() {
	local scenario
	for scenario in 05-read-of-nothing 08-two-write-faults 16-punch-against-fault \
		17-punch-against-readahead 37-notify-against-read 40-late-client 45-notify-beside-write \
		47-store-during-punch 56-grant-behind-the-gate 61-hangs-up; do
		compare "$scenario" 1
	done
	[ "$UDAX_TEST_LEVEL" = full ] || return 0
	for scenario in scenarios/*.lab; do
		compare "$(basename "$scenario" .lab)" 1
	done
	compare 17-punch-against-readahead 2
	compare 47-store-during-punch 2
}

# Each file of the core was compiled once, into one archive, which both programs are linked with.
the_core_is_the_daemons() {
	local program commands=$UDAX_BUILD/compile_commands.json
	[ -e "$commands" ] || { echo "no compile_commands.json in $UDAX_BUILD"; return 1; }
	for program in udaxfs udaxlab; do
		grep -q 'libudaxcore\.a' "$UDAX_BUILD/CMakeFiles/$program.dir/link.txt"
	done
	ar t "$UDAX_BUILD/libudaxcore.a" | sort >"$work/members"
	same '' "$(uniq -d "$work/members")" 'members twice'
	while read -r program; do
		same 1 "$(jq --arg f "/src/${program%.o}" '[.[] | select(.file | endswith($f))] | length' \
			"$commands")" "compilations of $program"
	done <"$work/members"
	! nm "$UDAX_BUILD/udaxlab" | grep -w sync_pthread_new
}

for test in a_sound_policy_gives_a_bound_and_status_0 \
	an_unsound_policy_gives_a_counterexample_and_status_3 \
	a_counterexample_is_replayed_from_its_last_line the_same_search_gives_the_same_counterexample \
	a_random_search_finds_it_too_and_says_that_it_was_random priorities_find_it_too \
	a_search_that_was_stopped_never_says_exhaustive reports_are_written \
	wrong_arguments_are_explained the_reduction_loses_no_outcome \
	the_core_is_the_daemons; do
	check $test
done
finish
