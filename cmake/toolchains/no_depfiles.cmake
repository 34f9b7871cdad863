# For builds that start in an empty folder: no list of the headers that each file reads, which only
# the next build in the folder would want. Without the list, zig takes from its cache what it compiled
# before. Given as CMAKE_PROJECT_INCLUDE, since CMake sets these flags when it meets the compiler.
set(CMAKE_DEPFILE_FLAGS_C "")
