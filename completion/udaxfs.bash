# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
# shellcheck shell=bash
#
# Completion of udaxfs, mkfs.udaxfs, fsck.udaxfs, udaxctl, udaxrun and udaxlab. Options, mount options
# and verbs are read from each program's --help, so this file cannot be wrong about them.

# _udaxfs_help PROGRAM [VERB] - the long and short options in its help.
_udaxfs_help() {
	"$@" --help 2>/dev/null | grep -oE -- '(^|[[:space:],\[|])-(-[a-z][a-z-]*|[a-zA-Z])\b' |
		grep -oE -- '-.*' | sort -u
}

# _udaxfs_mount_options - what its help lists behind -o, and what mount(8) itself knows.
_udaxfs_mount_options() {
	"$1" --help 2>/dev/null | sed -nE 's/^ +-o ([a-z_]+=?).*, ([a-z_]+)  .*/\1\n\2/p; t
		s/^ +-o ([a-z_]+=?).*/\1/p'
	printf '%s\n' rw nodev nosuid noexec
}

# _udaxlab_names PROGRAM VERB PREVIOUS - of policies, or of scenarios.
_udaxlab_names() {
	case $2$3 in
	*-p | *--policy) "$1" policies ;;
	explore* | matrix*) "$1" scenarios ;;
	esac 2>/dev/null | sed 's/ .*//'
}

_udaxfs() {
	local program=$1 word=$2 previous=$3 help=("$1") words=()

	compopt -o filenames
	if [[ $program == *@(udaxctl|udaxlab) && $COMP_CWORD = 1 ]]; then
		mapfile -t words < <("$program" --help 2>/dev/null |
			sed -nE 's/^  ([a-z][a-z-]+) .*/\1/p')
	elif [[ $program == *@(udaxctl|udaxlab) ]]; then
		help+=("${COMP_WORDS[1]}")
		[[ $program == *udaxctl ]] || mapfile -t words < <(_udaxlab_names "${help[@]}" "$previous")
	elif [[ $previous == -o ]]; then
		mapfile -t words < <(_udaxfs_mount_options "$program")
		if [[ $word == *,* ]]; then # one more, behind those that are there
			words=("${words[@]/#/${word%,*},}")
		fi
		compopt -o nospace
	elif [[ $program == *udaxrun && $word != -* ]]; then
		mapfile -t COMPREPLY < <(compgen -c -- "$word")
		return
	fi
	if [[ $word == -* ]]; then
		mapfile -t words < <(_udaxfs_help "${help[@]}")
	fi

	mapfile -t COMPREPLY < <(compgen -W "${words[*]}" -- "$word")
	if [ ${#words[@]} = 0 ]; then
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
	fi
}

complete -F _udaxfs udaxfs mkfs.udaxfs fsck.udaxfs udaxctl udaxrun udaxlab
