#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# What people who install udaxfs get: the Debian package is built, installed, used through
# mount(8) and fstab, and removed; `cmake --install` is taken back by uninstall. The package goes
# into a throw-away overlay over this machine's own root, so the machine itself is not changed.
. "$(dirname "$0")/lib.sh"

[ "$(id -u)" = 0 ] || skip_all "only root can install a package; the other pass does"

root=$work/root
in_root() { PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" "$@"; }

package_is_built() {
	cpack --config "$UDAX_BUILD/CPackConfig.cmake" -B "$work/deb"
	ls "$work"/deb/udaxfs_*.deb
}

# Everything that mounts runs in a mount namespace of its own, which ends with this script.
if [ -z "${IN_NAMESPACE-}" ]; then
	rm -rf "$work" "$ram"
	IN_NAMESPACE=yes exec unshare --mount --propagation private "$0"
fi

an_overlay_is_made() {
	mkdir "$work/upper" "$root"
	mount -t tmpfs none "$work/upper"
	mkdir "$work/upper/up" "$work/upper/work"
	mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper/up,workdir=$work/upper/work" \
		"$root"
	mount --rbind /dev "$root/dev"
	mount -t proc none "$root/proc"
	mount --rbind /sys "$root/sys"
	mkdir -p "$root/srv/udax"
}

dpkg_installs_it() {
	cp "$work"/deb/udaxfs_*.deb "$root/srv/udaxfs.deb"
	in_root dpkg -i /srv/udaxfs.deb
	same /usr/bin/udaxfs "$(in_root sh -c 'command -v udaxfs')"
}

every_program_says_its_version() {
	local program version
	version=$(in_root dpkg-query -W -f '${Version}' udaxfs)
	for program in udaxfs mkfs.udaxfs fsck.udaxfs udaxctl udaxrun udaxlab; do
		in_root "$program" --version | grep -F "$version"
	done
}

completion_knows_the_options() {
	in_root bash -c '
		. /usr/share/bash-completion/completions/mkfs.udaxfs
		COMP_WORDS=(mkfs.udaxfs --s) COMP_CWORD=1
		compopt() { :; }
		_udaxfs mkfs.udaxfs --s mkfs.udaxfs
		echo "${COMPREPLY[*]}"' | grep -e '--size.*--sparse'
}

completion_knows_the_mount_options() {
	in_root bash -c '
		. /usr/share/bash-completion/completions/udaxfs
		COMP_WORDS=(udaxfs -o ro,gran) COMP_CWORD=2
		compopt() { :; }
		_udaxfs udaxfs ro,gran -o
		echo "${COMPREPLY[*]}"' | grep -x 'ro,granule='
}

completion_knows_the_labs_verbs_scenarios_and_policies() {
	in_root bash -c '
		. /usr/share/bash-completion/completions/udaxlab
		compopt() { :; }
		try() {
			COMP_WORDS=(udaxlab "$@") COMP_CWORD=$#
			_udaxfs udaxlab "${@: -1}" "${COMP_WORDS[$# - 1]}"
			echo "${COMPREPLY[*]}"
		}
		try ma
		try explore 16-punch-a
		try explore --policy mma
		try explore --exh' >"$work/completed"
	same 'matrix 16-punch-against-fault mmaplock --exhaustive' "$(paste -sd' ' "$work/completed")"
}

# From wherever one stands.
the_lab_finds_its_scenarios() {
	in_root sh -c 'cd / && udaxlab scenarios' >"$work/scenarios"
	same "$(find "$tests/../scenarios" -name '*.lab' | wc -l)" "$(wc -l <"$work/scenarios")" scenarios
	in_root sh -c 'cd / && udaxlab explore 16-punch-against-fault --preemptions 1'
}

# help_of PROGRAM - its help, and that of each of its verbs.
help_of() {
	local verb
	"$1" --help
	case $1 in udaxctl | udaxlab) ;; *) return ;; esac
	for verb in $("$1" --help | sed -nE 's/^  ([a-z]+)  .*/\1/p'); do
		"$1" "$verb" --help
	done
}

# What --help lists stands in the manual page, too: options, verbs, mount options.
manual_pages_know_what_help_knows() {
	local program word page words bad=0
	for program in udaxfs mkfs.udaxfs fsck.udaxfs udaxctl udaxrun udaxlab; do
		page=$(in_root sh -c "zcat -f /usr/share/man/man?/$program.[18]*")
		help_of "$program" >"$work/help"
		words=$(sed -nE 's/^ *-o ([a-z_]+).*/\1/p; s/^  ([a-z]+)  .*/\1/p' "$work/help"
			grep -oE -- '--[a-z][a-z-]*' "$work/help" | sed 's/^-//')
		for word in $words; do
			case $word in allow_root | auto_unmount) continue ;; esac # as FUSE has them
			grep -qE -- "(Cm|Fl).* $word( |\$)" <<<"$page" || { echo "$program: $word"; bad=1; }
		done
	done
	same 0 "$bad"
}

mount_finds_the_helper() { # mount_finds_the_helper TYPE
	mount_in_root -t "$1" /srv/v.pmem /srv/udax
}

# mount_in_root ARGUMENT... - mount the volume with mount(8), write, unmount, and look again.
mount_in_root() {
	local word=$RANDOM
	in_root mount "$@"
	echo "$word" >"$root/srv/udax/word"
	in_root findmnt -n -o FSTYPE /srv/udax | grep -x fuse.udaxfs
	in_root umount /srv/udax
	in_root mount "$@"
	same "$word" "$(cat "$root/srv/udax/word")"
	in_root umount /srv/udax
}

mkfs_makes_a_volume() {
	in_root mkfs.udaxfs --size 64M /srv/v.pmem
}

fstab_mounts_it() {
	echo '/srv/v.pmem /srv/udax fuse.udaxfs allow_other,noauto 0 0' >>"$root/etc/fstab"
	mount_in_root /srv/udax
}

fsck_finds_nothing() {
	wait_for 20 in_root fsck.udaxfs -n /srv/v.pmem
}

dpkg_removes_all_of_it() {
	in_root dpkg-query -L udaxfs >"$work/files"
	in_root dpkg --purge udaxfs
	while read -r file; do
		[ -d "$root$file" ] || [ ! -e "$root$file" ]
	done <"$work/files"
}

uninstall_takes_back_what_install_did() {
	export DESTDIR=$work/stage
	cmake --install "$UDAX_BUILD" --prefix /usr
	[ -x "$DESTDIR/usr/bin/udaxfs" ]
	cmake --build "$UDAX_BUILD" -t uninstall
	same "" "$(find "$DESTDIR" ! -type d)"
}

limit=300 check package_is_built # cpack first builds what is missing
check an_overlay_is_made
check dpkg_installs_it
check every_program_says_its_version
check completion_knows_the_options
check completion_knows_the_mount_options
check manual_pages_know_what_help_knows
check completion_knows_the_labs_verbs_scenarios_and_policies
check the_lab_finds_its_scenarios
check mkfs_makes_a_volume
check mount_finds_the_helper fuse.udaxfs
check mount_finds_the_helper udaxfs
check fstab_mounts_it
check fsck_finds_nothing
check dpkg_removes_all_of_it
check uninstall_takes_back_what_install_did
umount --recursive --lazy "$root" "$work/upper"
finish
