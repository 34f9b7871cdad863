# Compiles with the C compiler in the Python package `ziglang`, for any target and with nothing
# installed on the system: it brings the headers and the symbols of each C library along.
#
#   cmake -S . -B build/aarch64 -DCMAKE_TOOLCHAIN_FILE=cmake/toolchains/zig.cmake
#         -DEI_ZIG=<path of zig> -DEI_ZIG_TARGET=aarch64-linux-gnu.2.17
#
# The target's last number is the oldest glibc that the library shall run with; `-musl` in the place
# of `-gnu.…` is for musl. tools/wheel_targets.py lists what wheels are built for.
set(CMAKE_SYSTEM_NAME Linux)
if(NOT EI_ZIG OR NOT EI_ZIG_TARGET MATCHES "^([a-z0-9_]+)-linux-")
  message(FATAL_ERROR "zig.cmake wants -DEI_ZIG=<path of zig> -DEI_ZIG_TARGET=<arch>-linux-<libc>")
endif()
set(CMAKE_SYSTEM_PROCESSOR "${CMAKE_MATCH_1}")
# CMake compiles its probes in projects of their own, which read this file too.
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES EI_ZIG EI_ZIG_TARGET)

set(CMAKE_C_COMPILER "${EI_ZIG}" cc)
set(CMAKE_C_COMPILER_TARGET "${EI_ZIG_TARGET}")
set(CMAKE_C_ARCHIVE_CREATE "\"${EI_ZIG}\" ar qc <TARGET> <LINK_FLAGS> <OBJECTS>")
set(CMAKE_C_ARCHIVE_APPEND "\"${EI_ZIG}\" ar q <TARGET> <LINK_FLAGS> <OBJECTS>")
set(CMAKE_C_ARCHIVE_FINISH "\"${EI_ZIG}\" ranlib <TARGET>")

# The oldest CPU, not that of the machine which compiles. 32 bit: Debian's armhf, whose CPUs need
# not have NEON; zig counts it in unless told otherwise.
if(CMAKE_SYSTEM_PROCESSOR STREQUAL "arm")
  set(CMAKE_C_FLAGS_INIT "-mcpu=generic+v7a+vfp3d16-neon")
else()
  set(CMAKE_C_FLAGS_INIT "-mcpu=baseline")
endif()
# zig asks for frame pointers and unwind tables: 10 KB of a wheel.
string(APPEND CMAKE_C_FLAGS_INIT
  " -fomit-frame-pointer -fno-unwind-tables -fno-asynchronous-unwind-tables")
# Loops that pay are unrolled in the source. What clang unrolls beside them is 12 KB of a wheel, and
# no model runs faster for it.
if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
  string(APPEND CMAKE_C_FLAGS_INIT " -fno-unroll-loops")
endif()
# CMake's probes ask what macros are set, so they need not be linked: zig would compile its runtime,
# and for musl all of the C library, for each set of flags that is tried.
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
