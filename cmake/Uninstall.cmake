# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# Removes the files that `cmake --install` listed in MANIFEST, and nothing else.
if(NOT EXISTS ${MANIFEST})
	message(FATAL_ERROR "${MANIFEST} is missing: nothing was installed from this build")
endif()
file(STRINGS ${MANIFEST} files)
foreach(file IN LISTS files)
	set(path "$ENV{DESTDIR}${file}")
	if(EXISTS "${path}" OR IS_SYMLINK "${path}")
		message(STATUS "Removing ${path}")
		file(REMOVE "${path}")
	endif()
endforeach()
