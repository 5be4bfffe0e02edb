# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause

# udax_program(NAME SOURCES FILE.c... [LIBRARIES LIB...] [DESTINATION DIR])
function(udax_program name)
	cmake_parse_arguments(arg "" "DESTINATION" "SOURCES;LIBRARIES" ${ARGN})
	add_executable(${name} ${arg_SOURCES})
	target_link_libraries(${name} PRIVATE ${arg_LIBRARIES} udaxcore)
	if(PkgConfig::FUSE IN_LIST arg_LIBRARIES)
		target_compile_definitions(${name} PRIVATE ${FUSE_DEFINITIONS})
	endif()
	if(arg_DESTINATION)
		install(TARGETS ${name} DESTINATION ${arg_DESTINATION})
	endif()
endfunction()
