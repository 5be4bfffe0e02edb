# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# `cmake --install build/release` and, to take it back, `cmake --build build/release -t uninstall`.

# mount(8) looks for mount.TYPE; both names run the daemon, which mounts and goes to the background.
if(TARGET udaxfs)
	file(RELATIVE_PATH daemon ${CMAKE_INSTALL_FULL_SBINDIR} ${CMAKE_INSTALL_FULL_BINDIR}/udaxfs)
	foreach(helper IN ITEMS mount.udaxfs mount.fuse.udaxfs)
		file(CREATE_LINK ${daemon} ${CMAKE_BINARY_DIR}/${helper} SYMBOLIC)
		install(FILES ${CMAKE_BINARY_DIR}/${helper} DESTINATION ${CMAKE_INSTALL_SBINDIR})
	endforeach()
endif()

file(GLOB headers CONFIGURE_DEPENDS include/udax/*.h)
install(FILES ${headers} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/udax)

foreach(section IN ITEMS 1 5 7 8)
	file(GLOB pages CONFIGURE_DEPENDS docs/man/*.${section})
	install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
endforeach()

add_custom_target(uninstall
	COMMAND ${CMAKE_COMMAND} -DMANIFEST=${CMAKE_BINARY_DIR}/install_manifest.txt
		-P ${CMAKE_SOURCE_DIR}/cmake/Uninstall.cmake
	VERBATIM)
