# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# libudax, which programs link to map files directly. It shares headers with the rest and no code:
# it lives in other people's processes.
file(GLOB client_sources CONFIGURE_DEPENDS src/client/*.c)

# What tests link: the same files, with the inside visible.
add_library(udaxclient STATIC ${client_sources})
target_include_directories(udaxclient PUBLIC include src src/client)
target_link_libraries(udaxclient PUBLIC Threads::Threads)

add_library(udax SHARED ${client_sources})
target_include_directories(udax PUBLIC include PRIVATE src src/client)
target_link_libraries(udax PRIVATE Threads::Threads)
set_target_properties(udax PROPERTIES VERSION 0.0.0 SOVERSION 0
	LINK_DEPENDS ${CMAKE_SOURCE_DIR}/src/client/udax.map)
# Its threads run until the process ends, so it is never unloaded.
target_link_options(udax PRIVATE -Wl,--version-script=${CMAKE_SOURCE_DIR}/src/client/udax.map
	-Wl,-z,nodelete -Wl,-z,now -Wl,--no-undefined)
if(UDAX_SANITIZE) # whose runtime is in the program
	target_link_options(udax PRIVATE -Wl,-z,undefs)
endif()
install(TARGETS udax DESTINATION ${CMAKE_INSTALL_LIBDIR})

configure_file(src/client/udax.pc.in ${CMAKE_BINARY_DIR}/install/udax.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/install/udax.pc
	DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

file(GLOB client_pages CONFIGURE_DEPENDS docs/man/udax_*.3)
install(FILES ${client_pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man3)
