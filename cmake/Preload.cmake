# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# udaxrun, and the library that it puts in front of a program. That one has a copy of libudax inside, so
# that one file is enough, and a program may link the shared libudax besides.
if(UDAX_SANITIZE) # a sanitizer wants to be the first in front of a program
	return()
endif()
set(preload_dir ${CMAKE_INSTALL_FULL_LIBDIR}/udaxfs)

file(GLOB preload_sources CONFIGURE_DEPENDS src/preload/*.c)
add_library(udaxrun_preload MODULE ${preload_sources} ${client_sources})
# With these, libc's headers give the functions defined here other names.
set_source_files_properties(${preload_sources} PROPERTIES COMPILE_OPTIONS
	"-U_FILE_OFFSET_BITS;-U_FORTIFY_SOURCE")
target_include_directories(udaxrun_preload PRIVATE include src src/client)
target_link_libraries(udaxrun_preload PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
set_target_properties(udaxrun_preload PROPERTIES PREFIX "" OUTPUT_NAME libudaxrun)
target_link_options(udaxrun_preload PRIVATE -Wl,-z,nodelete -Wl,-z,now
	-Wl,--version-script=${CMAKE_SOURCE_DIR}/src/preload/preload.map)
set_target_properties(udaxrun_preload PROPERTIES LINK_DEPENDS
	${CMAKE_SOURCE_DIR}/src/preload/preload.map)
install(TARGETS udaxrun_preload DESTINATION ${CMAKE_INSTALL_LIBDIR}/udaxfs)

add_executable(udaxrun src/udaxrun.c)
target_compile_definitions(udaxrun PRIVATE UDAX_LIBRARY_DIR="${preload_dir}")
install(TARGETS udaxrun DESTINATION ${CMAKE_INSTALL_BINDIR})
