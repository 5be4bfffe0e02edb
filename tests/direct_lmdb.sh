#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# LMDB's own test programs (mtest.c to mtest6.c), unmodified under `udaxrun --require-direct`: what they
# print, and what is then in the database, is the same as on tmpfs. Once as they are (LMDB loads from
# its mapping and changes the file by pwrite(2)), once with MDB_WRITEMAP (it stores into the mapping).
#
# Debian packages LMDB without them, so they are built from its source package. That comes from the mirror
# that apt uses for everything else, over a configuration of our own: the machine's stays as it is.
# In the copy the seed is made a fixed one. With a granule of 2 MiB LMDB cannot be direct: direct_programs.sh.
. "$(dirname "$0")/lib.sh"

mnt=$work/mnt
source=$work/lmdb

# apt with lists, cache and sources below $source.
own_apt() {
	timeout 100 apt-get -qq -o "Dir::Etc::SourceList=$source/sources.list" -o Dir::Etc::SourceParts=- \
		-o "Dir::State=$source/state" -o "Dir::Cache=$source/cache" \
		-o "APT::Sandbox::User=$(id -un)" -o Acquire::Languages=none -o Acquire::Retries=2 "$@"
}

get_source() {
	local mirror suite keyring
	# shellcheck disable=SC2016 # apt expands them
	read -r mirror suite < <(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' \
		'Identifier: Packages' 'Origin: Debian' 'Component: main' 2>/dev/null)
	: "${mirror:=http://deb.debian.org/debian}"
	: "${suite:=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)}"
	keyring=$(ls /usr/share/keyrings/debian-archive-keyring.*) || return
	mkdir -p "$source/state/lists/partial" "$source/cache/archives/partial" &&
		echo "deb-src [signed-by=${keyring%%$'\n'*}] $mirror $suite main" >"$source/sources.list" &&
		own_apt update && (cd "$source" && own_apt source lmdb && mv lmdb-*/ tree)
}

# build NAME FLAG... - the programs, with these flags for mdb_env_open() besides theirs.
build() {
	local dir=$source/$1/libraries/liblmdb
	cp -a "$source/tree" "$source/$1" &&
		sed -i "s/srand(time(NULL))/srand(4711)/; s/MDB_FIXEDMAP/&$2/" "$dir"/mtest*.c &&
		[ "$(grep -l "MDB_FIXEDMAP$2" "$dir"/mtest*.c | wc -l)" = 6 ] &&
		make -C "$dir" OPT=-O2 W=-w mtest mtest2 mtest3 mtest4 mtest5 &&
		rm "$dir"/*.[ao] && # the last one uses a function that prints keys, and does not declare it
		sed -i '/include "lmdb.h"/a char *mdb_dkey(MDB_val *key, char *buf);' "$dir/mtest6.c" &&
		make -C "$dir" OPT=-O2 W=-w CPPFLAGS=-DMDB_DEBUG=1 mtest6
}

# results DIRECTORY PROGRAM [direct] - run it there, and look at what it has made. Where the map lies differs.
results() {
	mkdir "$1" && cd "$1" && mkdir testdb
	${3-} "$2" >"$work/printed" 2>&1 || { tail "$work/printed"; return 1; }
	{
		cat "$work/printed"
		${3:+udaxrun} mdb_stat -a -e testdb
		${3:+udaxrun} mdb_dump -a testdb
	} | sed 's/0x[0-9a-f]*/ADDRESS/g'
}

is_as_on_tmpfs() { # is_as_on_tmpfs VARIANT PROGRAM
	local program=$source/$1/libraries/liblmdb/$2
	results "$ram/$1-$2" "$program" >"$work/should"
	results "$mnt/$1-$2" "$program" direct >"$work/is"
	[ "$(grep -c . "$work/should")" -gt 50 ]
	cmp "$work/should" "$work/is" || { diff "$work/should" "$work/is" | head -n 20; return 1; }
}

mkdir "$source"
get_source >"$source/log" 2>&1 ||
	skip_all "Debian's source package lmdb cannot be had: $(grep -m 1 '^[EW]:' "$source/log")"
for variant in plain writemap; do
	[ $variant = plain ] && flag='' || flag='|MDB_WRITEMAP'
	build $variant "$flag" >"$source/log" 2>&1 || { note "$(tail "$source/log")"; exit 1; }
done
region=$(make_region 256M) || exit 1
start_mount "$region" "$mnt" || exit 1
for variant in plain writemap; do
	for program in mtest mtest2 mtest3 mtest4 mtest5 mtest6; do
		_title="$variant: $program is as on tmpfs" check is_as_on_tmpfs $variant $program
	done
done
stop_mount "$mnt"
check fsck_clean "$region"
finish
