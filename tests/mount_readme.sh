#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# README.md says what a newcomer types and what he sees. Here he types it: every line behind a "$ " of
# its sessions, in their order, in one shell, in a directory that looks like the top of a tree that was
# built. Each must succeed and print what stands below it; what differs from run to run is taken for a
# word (see alike()), and a line that ends in "..." goes on.
#
# Blocks whose commands install or build something are run by others, named in ELSEWHERE: there the
# scripts must exist, and a command that is in neither is a failure.
. "$(dirname "$0")/lib.sh"

readme=$(dirname "$tests")/README.md
tree=$work/tree
steps=$work/steps # one directory a command: command, wanted, output, status

# By whom each of these is run.
ELSEWHERE='scripts/run : mount_run.sh
scripts/test : whoever runs this
scripts/install-deps : scripts/run and scripts/test
cmake --preset : scripts/test
sudo cmake --install : mount_package.sh'

# split - the commands that stand in README.md, one directory each, with what is below them.
split() {
	mkdir "$steps"
	awk -v steps="$steps" '
		/^```/ { inside = !inside; step = ""; next }
		!inside { next }
		/^\$ / {
			step = sprintf("%s/%03d", steps, ++n)
			system("mkdir " step)
			print substr($0, 3) > (step "/command")
			printf "" > (step "/wanted")
			next
		}
		step != "" { print > (step "/wanted") }' "$readme"
}

# is_elsewhere COMMAND - does another test run it?
is_elsewhere() {
	local line
	while IFS= read -r line; do
		[[ $1 != "${line%% : *}"* ]] || return 0
	done <<<"$ELSEWHERE"
	return 1
}

# alike FILE - numbers that are another one each time, and where the region lies, are words.
alike() {
	sed -E 's/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/UUID/
		s/\(([0-9]+)\):/(PID):/
		s/^(  durability  ).*/\1DOMAIN/
		s/ in [0-9,]+ interleavings/ in N interleavings/
		s/\([0-9.]+ s\)$/(TIME)/' "$1"
}

# agrees STEP - its output is, line by line, what stands in README.md.
agrees() {
	local wanted got
	while IFS= read -r wanted <&3; do
		IFS= read -r got <&4 || { echo "not printed: $wanted"; return 1; }
		if [[ $wanted == *' ...' ]]; then
			same "${wanted%...}" "${got:0:${#wanted}-3}"
		else
			same "$wanted" "$got"
		fi || return
	done 3< <(alike "$1/wanted") 4< <(alike "$1/output")
	same "$(wc -l <"$1/wanted")" "$(wc -l <"$1/output")" lines
}

# What the shell of the session does: each command, and how it ended.
session() {
	local step
	mkdir -p "$tree/build"
	ln -s "$UDAX_BUILD" "$tree/build/release"
	ln -s "$(dirname "$tests")/scenarios" "$tree/scenarios"
	cd "$tree" || return
	PATH=/usr/local/bin:/usr/bin:/bin
	for step in "$steps"/*; do
		! is_elsewhere "$(<"$step/command")" || continue
		eval "$(<"$step/command")" >"$step/output" 2>"$step/errors" </dev/null
		echo $? >"$step/status"
		cat "$step/errors" >>"$step/output" # a file is written to at exit, a terminal at once
	done
}

its_session_comes_to_an_end() {
	set +e # a user goes on, too
	session
}

# what_is_typed STEP - succeeds, and prints what README.md says.
what_is_typed() {
	same 0 "$(cat "$1/status")" "exit status" || { cat "$1/output"; return 1; }
	agrees "$1" || { cat "$1/output"; return 1; }
}

what_is_run_elsewhere_exists() {
	local step command
	for step in "$steps"/*; do
		command=$(<"$step/command")
		is_elsewhere "$command" || continue
		[[ $command != scripts/* ]] || [ -x "$(dirname "$tests")/${command%% *}" ]
	done
}

nothing_is_left_of_it() {
	same "" "$(_mounts)" mounts
	wait_for 20 fsck.udaxfs -n "$tree/demo.pmem"
	fsck_clean "$tree/demo.pmem"
}

split
check its_session_comes_to_an_end
check what_is_run_elsewhere_exists
for step in "$steps"/*; do
	is_elsewhere "$(<"$step/command")" ||
		_title="README: $(sed 's/  *# .*//' "$step/command" | tr '#' ' ')" check what_is_typed "$step"
done
check nothing_is_left_of_it
finish
