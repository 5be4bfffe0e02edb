# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# `cmake --install build/release` and, to take it back, `cmake --build build/release -t uninstall`.
# Programs are installed where they are declared, in CMakeLists.txt.

# mount(8) looks for mount.TYPE; both names run the daemon, which mounts and goes to the background.
if(TARGET udaxfs)
	file(RELATIVE_PATH daemon ${CMAKE_INSTALL_FULL_SBINDIR} ${CMAKE_INSTALL_FULL_BINDIR}/udaxfs)
	file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/install)
	foreach(helper IN ITEMS mount.udaxfs mount.fuse.udaxfs)
		file(CREATE_LINK ${daemon} ${CMAKE_BINARY_DIR}/install/${helper} SYMBOLIC)
		install(FILES ${CMAKE_BINARY_DIR}/install/${helper} DESTINATION ${CMAKE_INSTALL_SBINDIR})
	endforeach()
endif()

file(GLOB headers CONFIGURE_DEPENDS include/udax/*.h)
list(REMOVE_ITEM headers ${CMAKE_SOURCE_DIR}/include/udax/policy.h) # for those who build udaxfs
install(FILES ${headers} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/udax)

foreach(section IN ITEMS 1 5 7 8)
	file(GLOB pages CONFIGURE_DEPENDS docs/man/*.${section})
	install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
endforeach()

# One file completes all programs; bash looks for it under the name of each.
foreach(program IN ITEMS udaxfs mkfs.udaxfs fsck.udaxfs udaxctl udaxrun udaxlab)
	install(FILES completion/udaxfs.bash RENAME ${program}
		DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
endforeach()

install(FILES LICENSE RENAME copyright DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY LICENSES DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY contrib/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)

add_custom_target(uninstall
	COMMAND ${CMAKE_COMMAND} -DMANIFEST=${CMAKE_BINARY_DIR}/install_manifest.txt
		-P ${CMAKE_SOURCE_DIR}/cmake/Uninstall.cmake
	VERBATIM)
