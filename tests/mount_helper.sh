#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# The daemon as mount(8) calls its helpers: mount.udaxfs REGION MOUNTPOINT [-sfnv] -o OPTIONS.
. "$(dirname "$0")/lib.sh"

mnt=$work/mnt
region=$(make_region 64M) || exit 1
helper=$work/mount.udaxfs
ln -s "$(command -v udaxfs)" "$helper"

options() { findmnt -n -o OPTIONS "$mnt"; }
unmount() { umount "$mnt" && wait_for 20 mkfs.udaxfs --force "$region"; }

# What root mounts is a filesystem like any other: device nodes and set-user-ID work on it.
roots_mount_has_devices_and_suid() {
	"$helper" "$region" "$mnt" -o rw
	fails_with '' grep -E 'nodev|nosuid' <<<"$(options)"
	mknod "$mnt/null" c 1 3
	echo swallowed >"$mnt/null"
	unmount
}

an_option_takes_devices_and_suid_away() {
	"$helper" "$region" "$mnt" -n -o rw,nosuid,nodev
	grep nodev <<<"$(options)"
	grep nosuid <<<"$(options)"
	unmount
}

fake_mounts_nothing() {
	"$helper" "$region" "$mnt" -f -o rw
	fails_with '' mountpoint -q "$mnt"
}

check_as_root roots_mount_has_devices_and_suid
check_as_root an_option_takes_devices_and_suid_away
check fake_mounts_nothing
finish
