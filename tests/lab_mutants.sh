#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# Mutants of the core are caught by the matrix: the three that always have to be, and a dozen of the day. With
# MUTANTS_SEED it is that day's dozen again. A survivor is a gap of the scenarios, or changes nothing that
# anybody could see: docs/MUTANTS.md accounts for each that is known, and lots are drawn from the others.
. "$(dirname "$0")/lib.sh"

limit=280
seed=${MUTANTS_SEED:-$(date +%F)}
measured=() # what docs/MUTANTS.md accounts for
for file in gate grant mmaplock change fill mode holder fault layout relocate pending get_blocks zeroing file; do
	measured+=(--only "$file.c:*")
done
cd "$tests/.." || exit 1

mutants() { scripts/mutants --build "$UDAX_BUILD" --jobs 2 "$@"; }

the_gates_close_the_zeroing_of_get_blocks_and_a_recall_cannot_be_left_out() {
	mutants --always
}

none_of_the_dozen_of_the_day_survives() {
	mutants "${measured[@]}" --sample 12 --seed "$seed"
}

places_are_found_in_every_kind() {
	local kind
	scripts/mutants --list >"$work/list"
	for kind in lock unlock wait loop wake order policy recall call unheeded predicate count state zero \
		durable release compare; do
		grep -q "^[a-z_]*\.c:[a-z_0-9]*:$kind:[0-9]* " "$work/list" || { echo "no $kind"; return 1; }
	done
	same "$(wc -l <"$work/list")" "$(cut -d' ' -f1 "$work/list" | sort -u | wc -l)" 'ids'
}

check places_are_found_in_every_kind
check the_gates_close_the_zeroing_of_get_blocks_and_a_recall_cannot_be_left_out
limit=600
note "seed $seed; again: MUTANTS_SEED=$seed scripts/test lab/lab_mutants"
check none_of_the_dozen_of_the_day_survives
finish
