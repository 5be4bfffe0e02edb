# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# Test programs. A file's name says what it is:
#   tests/unit_NAME.c   cmocka program unit_NAME, suite unit
#   tests/crash_NAME.c  cmocka program crash_NAME, suite crash
#   tests/direct_NAME.c cmocka program direct_NAME, suite direct: libudax, from the inside
#   tests/tool_NAME.c   helper program tool_NAME that mount scripts use
#   tests/other_NAME.c  program tool_NAME, which uses another library and nothing of ours
#   tests/lib_NAME.c    linked into all of the above, but direct_NAME and unit_client_NAME, which
#                       link libudax, tests/fake_daemon.c and tests/lib_maps.c instead
#   tests/broken_NAME.c a daemon broken_NAME from which one protection is taken, for tests of tests
#   tests/seen_NAME.c   libseen_NAME.so, to be put in front of a program
# scripts/test runs them; tests/mount_NAME.sh need no building.
if(NOT CMOCKA_FOUND)
	message(STATUS "cmocka is not installed: tests are not built")
	return()
endif()

file(GLOB test_libraries CONFIGURE_DEPENDS tests/lib_*.c)
file(GLOB test_mains CONFIGURE_DEPENDS tests/unit_*.c tests/crash_*.c tests/tool_*.c)
file(GLOB client_test_mains CONFIGURE_DEPENDS tests/direct_*.c tests/unit_client_*.c)
if(NOT LIBXML_FOUND)
	message(STATUS "libxml2 is not installed: unit_report is not built")
	list(REMOVE_ITEM test_mains ${CMAKE_SOURCE_DIR}/tests/unit_report.c)
endif()
list(REMOVE_ITEM test_mains ${client_test_mains} ${CMAKE_SOURCE_DIR}/tests/tool_direct.c
	${CMAKE_SOURCE_DIR}/tests/tool_facts.c ${CMAKE_SOURCE_DIR}/tests/tool_modes.c
	${CMAKE_SOURCE_DIR}/tests/tool_sparse.c)
add_library(udaxtest STATIC ${test_libraries})
target_link_libraries(udaxtest PUBLIC udaxfsck udaxcore PkgConfig::CMOCKA ${CMAKE_DL_LIBS})

foreach(main IN LISTS test_mains)
	get_filename_component(name ${main} NAME_WE)
	file(RELATIVE_PATH relative ${CMAKE_SOURCE_DIR} ${main})
	udax_program(${name} SOURCES ${relative}
		LIBRARIES udaxtest)
	set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY
		${CMAKE_BINARY_DIR}/tests)
endforeach()

# What tests the lab's texts.
target_link_libraries(unit_scenario PRIVATE udaxlab_core)
target_link_libraries(unit_policy PRIVATE udaxpolicies)

# The daemon's side of the socket is no part of the core.
set(clientd src/clientd.c src/clientd_conn.c src/fuse_token.c)
target_sources(unit_clientd PRIVATE ${clientd})

# Neither is its log. What it says goes to the test, which has a clock of its own.
target_sources(unit_log PRIVATE src/udaxfs_log.c)
target_link_libraries(unit_log PRIVATE PkgConfig::FUSE)
target_compile_definitions(unit_log PRIVATE ${FUSE_DEFINITIONS})
target_link_options(unit_log PRIVATE
	-Wl,--wrap=syslog,--wrap=openlog,--wrap=clock_gettime)
target_sources(unit_fuzz_clientd PRIVATE ${clientd})

# Whether reports are XML and JSON is asked of other people's parsers.
if(LIBXML_FOUND)
	target_link_libraries(unit_report PRIVATE udaxlab_core PkgConfig::LIBXML)
endif()

# Experiments on this kernel and on the lab's: of the lab all but what stands between it and the core.
if(TARGET udaxlab_engine)
	# Apart, because pthread.h must not find the lab's sched.h.
	add_library(udaxfacts OBJECT tests/tool_facts.c tests/facts.c tests/facts_mount.c
		tests/facts_memory.c)
	target_link_libraries(udaxfacts PUBLIC udaxcore PkgConfig::FUSE)
	target_compile_definitions(udaxfacts PRIVATE ${FUSE_DEFINITIONS})
	add_executable(tool_facts tests/facts_lab.c)
	target_link_libraries(tool_facts PRIVATE udaxfacts udaxlab_engine)
	set_target_properties(tool_facts PROPERTIES RUNTIME_OUTPUT_DIRECTORY
		${CMAKE_BINARY_DIR}/tests)
endif()

# Other people's libraries, as tests/direct_programs.sh runs them.
foreach(other IN ITEMS lmdb pmemobj)
	string(TOUPPER ${other} OTHER)
	if(${OTHER}_FOUND)
		add_executable(tool_${other} tests/other_${other}.c)
		target_link_libraries(tool_${other} PRIVATE PkgConfig::${OTHER})
		set_target_properties(tool_${other} PROPERTIES RUNTIME_OUTPUT_DIRECTORY
			${CMAKE_BINARY_DIR}/tests)
	endif()
endforeach()

foreach(main IN LISTS client_test_mains)
	get_filename_component(name ${main} NAME_WE)
	add_executable(${name} ${main} tests/fake_daemon.c tests/lib_maps.c)
	target_link_libraries(${name} PRIVATE udaxclient PkgConfig::CMOCKA)
	set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY
		${CMAKE_BINARY_DIR}/tests)
endforeach()

# Programs as users write them: nothing but the public header and the shared library.
foreach(main IN ITEMS tests/tool_direct.c tests/tool_modes.c tests/tool_sparse.c contrib/direct_log.c)
	get_filename_component(name ${main} NAME_WE)
	add_executable(${name} ${main})
	if(name MATCHES ^tool_)
		target_sources(${name} PRIVATE tests/lib_maps.c)
	endif()
	target_link_libraries(${name} PRIVATE udax)
	set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY
		${CMAKE_BINARY_DIR}/tests)
endforeach()

# What is put in front of other people's programs, to look at their mappings.
add_library(seen_maps MODULE tests/seen_maps.c tests/lib_maps.c)
target_include_directories(seen_maps PRIVATE include)
target_compile_options(seen_maps PRIVATE -fvisibility=hidden)
target_link_libraries(seen_maps PRIVATE ${CMAKE_DL_LIBS})
set_target_properties(seen_maps PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)

# The daemon as it is, but for functions of the core that are wrapped.
set(broken_recall_wrap grant_recall)
set(broken_close_wrap gate_recall_wait)
foreach(name IN ITEMS broken_recall broken_close)
	udax_program(${name} SOURCES src/udaxfs.c ${frontend} src/sigbus.c tests/${name}.c
		LIBRARIES udaxpolicies PkgConfig::FUSE)
	target_link_options(${name} PRIVATE -Wl,--wrap=${${name}_wrap})
	set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY
		${CMAKE_BINARY_DIR}/tests)
endforeach()

# The same, of udaxrun, which finds its library beside itself.
if(TARGET udaxrun_preload)
	set(broken_keep ${CMAKE_BINARY_DIR}/tests/broken_keep)
	add_library(broken_keep MODULE ${preload_sources} ${client_sources} tests/broken_keep.c)
	target_include_directories(broken_keep PRIVATE include src src/client)
	target_link_libraries(broken_keep PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
	target_link_options(broken_keep PRIVATE -Wl,-z,nodelete -Wl,-z,now -Wl,--wrap=piece_take_back
		-Wl,--version-script=${CMAKE_SOURCE_DIR}/src/preload/preload.map)
	set_target_properties(broken_keep PROPERTIES PREFIX "" OUTPUT_NAME libudaxrun
		LIBRARY_OUTPUT_DIRECTORY ${broken_keep})
	add_custom_command(TARGET broken_keep POST_BUILD
		COMMAND ${CMAKE_COMMAND} -E copy $<TARGET_FILE:udaxrun> ${broken_keep}/udaxrun)
	add_dependencies(broken_keep udaxrun)
endif()

# libFuzzer brings its own main(), and is linked only where its instrumentation was asked for; elsewhere
# what is fuzzed is compiled, so that compilers and clang-tidy look at it.
set(fuzzers fuzz_image fuzz_scenario fuzz_clientd)
if(UDAX_SANITIZE MATCHES fuzzer)
	foreach(name IN LISTS fuzzers)
		add_executable(${name} tests/${name}.c)
		target_link_libraries(${name} PRIVATE udaxtest)
		target_link_options(${name} PRIVATE -fsanitize=fuzzer)
		set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY
			${CMAKE_BINARY_DIR}/tests)
	endforeach()
	target_link_libraries(fuzz_scenario PRIVATE udaxlab_core)
	target_sources(fuzz_clientd PRIVATE ${clientd})
else()
	list(TRANSFORM fuzzers REPLACE "(.+)" "tests/\\1.c" OUTPUT_VARIABLE fuzzer_sources)
	add_library(udaxfuzz OBJECT ${fuzzer_sources})
	target_link_libraries(udaxfuzz PRIVATE udaxtest udaxlab_core)
endif()

# What udaxctl draws of a recording, and what looks at it.
target_sources(unit_drawing PRIVATE src/udaxctl/drawing.c src/trace_events.c src/sheet.c src/cli.c)
target_link_libraries(unit_drawing PRIVATE PkgConfig::JANSSON m)
target_link_libraries(tool_trace PRIVATE PkgConfig::JANSSON m)
