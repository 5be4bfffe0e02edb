# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# Flags that hold for every target. Assertions stay on in every build type: a filesystem that
# finds itself wrong must stop before it writes, for users more than for developers.
option(UDAX_WERROR "Treat warnings as errors" ON)
set(UDAX_SANITIZE "" CACHE STRING "Sanitizers, as for -fsanitize= (address,undefined or thread)")

if(NOT CMAKE_BUILD_TYPE)
	set(CMAKE_BUILD_TYPE Release CACHE STRING "Release or Debug" FORCE)
endif()
set(CMAKE_C_FLAGS_RELEASE "-O2 -g")
set(CMAKE_C_FLAGS_DEBUG "-Og -g")

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON) # -std=gnu11
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

add_compile_definitions(_GNU_SOURCE _FILE_OFFSET_BITS=64 UDAX_VERSION="${PROJECT_VERSION}")
add_compile_options(-Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes
	-Wpointer-arith -Wvla -Wformat=2 -fno-strict-aliasing
	# Source positions in lock reports read src/file.c, wherever the tree lies.
	-ffile-prefix-map=${CMAKE_SOURCE_DIR}/=)
if(UDAX_WERROR)
	add_compile_options(-Werror)
endif()
if(UDAX_SANITIZE)
	add_compile_options(-fsanitize=${UDAX_SANITIZE} -fno-sanitize-recover=all
		-fno-omit-frame-pointer)
	add_link_options(-fsanitize=${UDAX_SANITIZE})
endif()
