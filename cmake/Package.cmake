# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# `cpack --config build/release/CPackConfig.cmake` makes a Debian package of what is installed.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME udaxfs)
set(CPACK_PACKAGE_VENDOR "the udaxfs authors")
set(CPACK_PACKAGE_CONTACT "the udaxfs authors <udaxfs@example.org>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS fuse3)
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"A FUSE daemon that serves files from a persistent-memory region, a file or a
device-dax, without a page cache between a program and the medium. It comes
with mkfs, fsck and a control program, and runs without root.")
include(CPack)
