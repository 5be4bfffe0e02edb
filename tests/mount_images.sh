#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# A volume of every released version is mounted, shows what it showed, can be written (by root, whose
# everything on it is), and is whole afterwards. The images are made by tests/images/make.
. "$(dirname "$0")/lib.sh"

images=$tests/images
mnt=$work/mnt

# Others than root mount without devices, and see files of others by name only.
what_it_showed_is_there() {
	if [ "$(id -u)" = 0 ]; then
		"$images/list" "$mnt" | diff "$images/$1.list" - | head -n 20
	else
		find "$mnt" | wc -l
		same "$(grep -c '^\./\|^\.:' "$images/$1.list")" "$(find "$mnt" | wc -l)" names
	fi
}

it_can_be_written() {
	seq 1 10000 >"$mnt/new"
	rm "$mnt/many/"*7
	same "$(seq 1 10000 | sha256sum)" "$(sha256sum <"$mnt/new")"
}

for image in "$images"/*.img.xz; do
	name=$(basename "$image" .img.xz)
	region=$ram/$name
	xz --decompress --stdout "$image" >"$region"
	of() { printf '%s: %s' "$name" "${1//_/ }"; }
	start_mount "$region" "$mnt" || exit 1
	_title=$(of what_it_showed_is_there) check what_it_showed_is_there "$name"
	[ "$(id -u)" != 0 ] || _title=$(of it_can_be_written) check it_can_be_written
	stop_mount "$mnt"
	_title=$(of fsck_finds_nothing) check fsck_clean "$region"
done
finish
