# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# The lab. Two libraries, so that tests of texts and reports need not run under its scheduler:
#   udaxlab_core    scenarios as texts, reports            src/lab/scenario*.c report*.c ...
#   udaxlab_engine  scheduler, simulated world, explorer   everything else in src/lab/
# What links udaxlab_engine gets sync.h from it: the engine comes before the core on the command line,
# and the core's sync_pthread.c stays in its archive.
file(GLOB lab_engine CONFIGURE_DEPENDS src/lab/*.c)
file(GLOB lab_core CONFIGURE_DEPENDS src/lab/scenario*.c src/lab/report*.c src/lab/lanes.c
	src/lab/rows.c src/lab/timeline.c)
if(lab_core)
	list(REMOVE_ITEM lab_engine ${lab_core})
	add_library(udaxlab_core STATIC ${lab_core} src/sheet.c src/trace_events.c)
	target_include_directories(udaxlab_core PUBLIC src/lab)
	target_link_libraries(udaxlab_core PUBLIC udaxcore PkgConfig::JANSSON)
endif()

# Stacks are switched by hand (src/lab/coroutine.c).
if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
	add_library(udaxlab_engine STATIC ${lab_engine})
	target_include_directories(udaxlab_engine PUBLIC src/lab)
	target_link_libraries(udaxlab_engine PUBLIC udaxfsck udaxpolicies udaxcore)
endif()

# The program, as soon as there are reports to show.
set(UDAX_SCENARIO_DIR ${CMAKE_INSTALL_FULL_DATADIR}/udaxfs/scenarios)
if(TARGET udaxlab_engine AND EXISTS ${CMAKE_SOURCE_DIR}/src/lab/report_chrome.c)
	file(GLOB udaxlab_parts CONFIGURE_DEPENDS src/udaxlab/*.c)
	udax_program(udaxlab SOURCES src/udaxlab.c ${udaxlab_parts} ${cli}
		LIBRARIES udaxlab_engine udaxlab_core PkgConfig::JANSSON
		DESTINATION ${CMAKE_INSTALL_BINDIR})
	file(RELATIVE_PATH from_program ${CMAKE_INSTALL_FULL_BINDIR} ${UDAX_SCENARIO_DIR})
	target_compile_definitions(udaxlab PRIVATE UDAX_SCENARIO_DIR="${UDAX_SCENARIO_DIR}"
		UDAX_SCENARIOS_FROM_PROGRAM="${from_program}")
	install(DIRECTORY scenarios/ DESTINATION ${CMAKE_INSTALL_DATADIR}/udaxfs/scenarios)
endif()
