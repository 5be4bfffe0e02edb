#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# The pairs of locks that a mount really takes, against those that docs/LOCKING.md names: one that
# is seen and not named has no argument, one that is named and never seen has no evidence.
. "$(dirname "$0")/lib.sh"

region=$(make_region)
pairs=$work/pairs
start_mount "$region" "$work/mnt" "lockdep_pairs=$pairs,recall_timeout=0.05" || skip_all "no mount"

names_and_attributes() {
	cd "$work/mnt"
	mkdir -p a/b c
	for i in $(seq 300); do echo "$i" >"a/f$i"; done
	ln a/f1 a/hard && ln -s target a/soft && mkfifo c/fifo
	mv a/f2 a/f3 && mv a/b c/moved && mv c/moved a/b && rm -rf a/f1*
	mv --exchange a/f5 a/f6 2>/dev/null || mv a/f5 a/f6
	mkdir c/over a/from && mv -T a/from c/over
	mkdir c/over2 a/from2 && tool_file -r a/from2 whiteout c/over2
	setfattr -n user.x -v value a/f7 && chmod 600 a/f7 && touch -d 2020-01-01 a/f7
	setfacl -d -m u::rwx,g::rx,o::rx,u:0:rwx c && mkdir c/inherits && : >c/inherits/file
	rm -rf c/inherits
}

data() {
	cd "$work/mnt"
	head -c 3000000 /dev/urandom >big
	cp big copy && cmp big copy
	truncate -s 100000 big && truncate -s 200000 big
	fallocate -p -o 5000 -l 50000 big && fallocate -z -o 60000 -l 10000 big
	fallocate -l 400000 big
	dd if=copy of=direct bs=4096 count=50 iflag=direct oflag=direct status=none
	"$UDAX_BUILD/udaxctl" stat . >/dev/null
}

an_open_file_changes_its_mode() {
	cd "$work/mnt"
	echo cached >mode && cat mode >/dev/null
	dd if=/dev/zero of=mode bs=4096 count=2 oflag=direct status=none
	cat mode >/dev/null
}

uncached_layout_changes() {
	cd "$work/mnt"
	dd if=copy of=x bs=4096 count=50 status=none
	dd if=copy of=y bs=4096 count=50 status=none
	"$UDAX_BUILD/udaxctl" collapse x 4096 8192
	"$UDAX_BUILD/udaxctl" insert x 4096 8192
	"$UDAX_BUILD/udaxctl" exchange x 4096 y 0 16384
	"$UDAX_BUILD/udaxctl" exchange y 0 x 4096 16384
}

# Loads and stores of a client, and what is done for one that is stopped, and so does not answer.
# shellcheck disable=SC2016 # the parent is that of the inner shell
clients_in_time_and_late() {
	cd "$work/mnt"
	truncate -s 16M late
	tool_direct late store 0 a store 65536 b store 2097152 c load 4194304 '' \
		sh 'dd if=copy of=late bs=4096 count=4 seek=1024 conv=notrunc status=none' \
		sh 'udaxctl punch late 0 4096 && truncate -s 15M late && truncate -s 16M late' \
		load 0 '' store 0 again \
		sh 'kill -STOP $PPID
			udaxctl punch late 0 64K && udaxctl collapse late 1M 64K && udaxctl zero late 2M 4096
			truncate -s 8M late && truncate -s 16M late
			kill -CONT $PPID && sleep 0.3' \
		load 0 ''
}

no_pair_without_an_argument_and_none_without_evidence() {
	local named=$work/named seen=$work/seen
	sed -n '/^```pairs$/,/^```$/p' "$tests/../docs/LOCKING.md" | grep -v '```' | sort >"$named"
	sort "$pairs" >"$seen"
	comm -13 "$named" "$seen" | sed 's/^/seen, and not named in docs\/LOCKING.md: /'
	comm -23 "$named" "$seen" | sed 's/^/named in docs\/LOCKING.md, and not seen: /'
	cmp -s "$named" "$seen"
}

check names_and_attributes
check data
check an_open_file_changes_its_mode
check uncached_layout_changes
check clients_in_time_and_late
stop_mount "$work/mnt"
check no_pair_without_an_argument_and_none_without_evidence
finish
