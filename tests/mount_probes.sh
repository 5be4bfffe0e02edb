#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# The USDT probes of the daemon: that they are all there, with the arguments that docs/WATCHING.md says, and
# that the kernel finds what it says in these arguments.
. "$(dirname "$0")/lib.sh"
mnt=$work/mnt
page=$tests/../docs/WATCHING.md
program=$(command -v udaxfs)

# probes - "name location argument..." of each place, from the notes of the program.
probes() {
	readelf -nW "$program" | awk '/Provider:/ { ours = $NF == "udaxfs" }
		ours && /Name:/ { name = $2 }
		ours && /Location:/ { location = $2; sub(/,/, "", location) }
		ours && /Arguments:/ { sub(/.*Arguments: */, ""); print name, location, $0 }'
}
[ "$(probes)" ] || skip_all "built without <sys/sdt.h>"

each_probe_of_the_documentation_is_there() {
	awk -F'|' '/^\| probe /, /^$/ { if ($2 ~ /`/) { gsub(/[` ]/, "", $2); print $2 } }' "$page" |
		sort >"$work/wanted"
	same 8 "$(wc -l <"$work/wanted")" 'rows of the table'
	probes | awk '{ print $1 }' | sort -u >"$work/there"
	diff "$work/wanted" "$work/there"
}
check each_probe_of_the_documentation_is_there

each_has_as_many_arguments_as_its_row_says() {
	local name columns n=0
	while read -r name columns; do
		probes | awk -v name="$name" -v columns="$columns" '$1 == name {
			n++
			if (NF - 2 != columns) { print name ": " NF - 2 " arguments, not " columns; bad = 1 }
		}
		END { exit bad || !n }'
		n=$((n + 1))
	done < <(awk -F'|' '/^\| probe /, /^$/ { if ($2 ~ /`/) { gsub(/[` ]/, "", $2); print $2, NF - 3 } }' "$page")
	same 8 "$n" probes
}
check each_has_as_many_arguments_as_its_row_says

# --- the kernel, at the probes ---

region=$(make_region 64M)
start_mount "$region" "$mnt"
tracefs=$work/tracefs
group=udaxtest$$

# file_offset ADDRESS - where that stands in the file.
file_offset() {
	local offset start size
	while read -r offset start size; do
		(($1 >= start && $1 < start + size)) || continue
		printf '0x%x\n' $(($1 - start + offset))
		return
	done < <(readelf -lW "$program" | awk '$1 == "LOAD" { print $2, $3, $6 }')
}

# fetch ARGUMENT NUMBER - "8@24(%rsi)" as the kernel's uprobes take it: "a1=+24(%si):u64".
fetch() {
	local size=${1%%@*} where=${1#*@} type=u
	[[ $size == -* ]] && type=s size=${size#-}
	type=$type$((size * 8))
	where=${where//%r/%}
	where=${where//%e/%}
	where=$(sed -E 's/%([0-9]+)[dwb]?/%r\1/; s/%([abcd])l$/%\1x/; s/^\$/\\/; s/^\(/+0(/; s/^([0-9]+)\(/+\1(/' <<<"$where")
	echo "a$2=$where:$type"
}

# watch_probe NAME - an event for each place of the probe.
watch_probe() {
	local name location arguments argument line i n=0
	while read -r name location arguments; do
		[ "$name" = "$1" ] || continue
		line="p:$group/${name}_$n $program:$(file_offset "$location")"
		i=0
		for argument in $arguments; do
			line+=" $(fetch "$argument" "$i")"
			i=$((i + 1))
		done
		echo "$line" >>"$tracefs/uprobe_events" || { echo "refused: $line"; return 1; }
		n=$((n + 1))
	done < <(probes)
	[ "$n" -gt 0 ]
}

forget_probes() {
	[ ! -e "$tracefs/events/$group/enable" ] || echo 0 >"$tracefs/events/$group/enable"
	grep -s -o "^[pr]:$group/[^ ]*" "$tracefs/uprobe_events" | sed 's/^./-/' |
		while read -r line; do echo "$line" >>"$tracefs/uprobe_events"; done
	true
}

the_kernel_sees_gates_fills_and_locks() {
	local ino name pid
	pid=$(daemon_pid "$mnt")
	head -c 64K /dev/zero >"$mnt/watched"
	ino=$(stat -c %i "$mnt/watched")
	for name in gate fill acquire acquired release; do watch_probe "$name"; done
	echo 1 >"$tracefs/events/$group/enable"
	fallocate -p -o 8192 -l 16384 "$mnt/watched"
	cat "$mnt/watched" >/dev/null
	echo 0 >"$tracefs/events/$group/enable"
	grep -E "udaxfs[^ ]*-[0-9]+ " "$tracefs/trace" >"$work/seen"
	# A gate is opened, closing, closed, ended: on the range that was punched.
	same '0 4 5 1 ' "$(grep -o "gate_0: .* a1=$ino a2=8192 a3=16384 .*" "$work/seen" |
		sed 's/.* a0=\([0-9]*\) .*/\1/' | tr '\n' ' ')" 'steps of the gate'
	grep -q "fill_[0-9]*: .* a0=0 a1=$ino a2=8192 " "$work/seen" ||
		grep -q "fill_[0-9]*: .* a0=0 a1=$ino a2=0 " "$work/seen"
	# The iolock (4) and the mmaplock (5) of that inode, exclusively.
	for name in acquire acquired release; do
		grep -q "${name}_[0-9]*: .* a1=4 a2=1 a3=$ino " "$work/seen"
		grep -q "${name}_[0-9]*: .* a1=5 a2=1 a3=$ino " "$work/seen"
	done
	kill -0 "$pid"
}

can_probe() {
	[ "$(id -u)" = 0 ] && [ "$(uname -m)" = x86_64 ] && mkdir -p "$tracefs" &&
		mount -t tracefs none "$tracefs" 2>/dev/null && [ -w "$tracefs/uprobe_events" ]
}
if can_probe; then
	check the_kernel_sees_gates_fills_and_locks
	forget_probes
	umount "$tracefs"
else
	skip 'the kernel sees gates fills and locks' 'needs root, x86-64 and a kernel with uprobes'
fi
stop_mount "$mnt"

finish
