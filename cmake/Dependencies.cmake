# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# Libraries, all from Debian 12 or later.
find_package(PkgConfig REQUIRED)
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

pkg_check_modules(FUSE REQUIRED IMPORTED_TARGET fuse3>=3.14)
pkg_check_modules(PMEM REQUIRED IMPORTED_TARGET libpmem)
pkg_check_modules(ISAL REQUIRED IMPORTED_TARGET libisal)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(BLKID REQUIRED IMPORTED_TARGET blkid)
pkg_check_modules(UUID REQUIRED IMPORTED_TARGET uuid)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(CMOCKA IMPORTED_TARGET cmocka)
pkg_check_modules(LIBXML IMPORTED_TARGET libxml-2.0) # these three for tests only
pkg_check_modules(LMDB IMPORTED_TARGET lmdb)
pkg_check_modules(PMEMOBJ IMPORTED_TARGET libpmemobj libpmem)
pkg_check_modules(DEVDAX IMPORTED_TARGET libndctl libdaxctl)

# Regions on device-dax need libndctl (bad blocks) and libdaxctl (alignment); without them the
# file region_devdax_none.c says so to whoever asks for one.
if(DEVDAX_FOUND)
	set(REGION_DEVDAX_SOURCE region_devdax.c)
	set(DEVDAX_LIBRARIES PkgConfig::DEVDAX)
else()
	set(REGION_DEVDAX_SOURCE region_devdax_none.c)
	set(DEVDAX_LIBRARIES)
endif()

# USDT probes need nothing but a header, of systemtap-sdt-dev.
include(CheckIncludeFile)
check_include_file(sys/sdt.h HAVE_SYS_SDT_H)
option(UDAX_PROBES "USDT probes, if <sys/sdt.h> is there" ON)
if(HAVE_SYS_SDT_H AND UDAX_PROBES)
	set(PROBES_VARIANT sdt)
else()
	set(PROBES_VARIANT none)
endif()

# What newer libfuses know besides, src/fuse_arrive.c reads from the kernel's messages by itself.
set(FUSE_DEFINITIONS FUSE_USE_VERSION=312)
