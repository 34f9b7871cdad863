# GCC's cross compiler (Debian: gcc-arm-linux-gnueabihf), or the one that CC names.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR armv7l)
if(NOT DEFINED ENV{CC})
  set(CMAKE_C_COMPILER arm-linux-gnueabihf-gcc)
endif()
