# Which instruction set a kernel file is compiled for.
#
# A kernel lives in csrc/kernels/<family>/<family>_<tier>.c (a longer family name with its tile in
# between is fine). The last word of the file name picks a row below; the row says on which
# architectures the file is compiled and with which flags. Adding a tier is one row here and one
# file per family. The rest of the library keeps the baseline of the platform, so that importing
# it never faults.
#
#   tier | architectures (x86_64 i386 arm64 arm, separated by commas, or any) | flags
set(EI_KERNEL_TIERS
  "scalar|any|"
  "avx2|x86_64|-mavx2"
  "avxvnni|x86_64|-mavx2"
  "avx512vnni|x86_64|-mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mtune=icelake-server"
)

# Tier avxvnni with the encoding of AVX-512, to test it on a CPU that has only that one.
option(EI_AVXVNNI_AS_EVEX "Encode tier avxvnni as AVX-512 (for tests)" OFF)
if(EI_AVXVNNI_AS_EVEX)
  add_compile_definitions(EI_AVXVNNI_AS_EVEX=1)
endif()

# ei_select_kernels(<list of sources> <arch>): drops the kernel files that <arch> cannot have, sets
# the flags of the others, and leaves in EI_KERNEL_DEFINITIONS one EI_TIER_<NAME>=1 per tier built.
function(ei_select_kernels sources_var arch)
  set(kept)
  set(definitions)
  foreach(source IN LISTS ${sources_var})
    if(NOT source MATCHES "/csrc/kernels/[^/]+/.*_([a-z0-9]+)\\.c$")
      if(source MATCHES "/csrc/kernels/[^/]+/")
        message(FATAL_ERROR "${source}: a kernel file is named <family>_<tier>.c")
      endif()
      list(APPEND kept "${source}")
      continue()
    endif()
    set(tier "${CMAKE_MATCH_1}")
    set(row "")
    foreach(candidate IN LISTS EI_KERNEL_TIERS)
      if(candidate MATCHES "^${tier}[|]([^|]*)[|]([^|]*)$")
        set(row found)
        set(archs "${CMAKE_MATCH_1}")
        set(flags "${CMAKE_MATCH_2}")
      endif()
    endforeach()
    if(NOT row)
      message(FATAL_ERROR "${source}: no tier '${tier}' in cmake/kernel_tiers.cmake")
    endif()
    string(REPLACE "," ";" archs "${archs}")
    if("any" IN_LIST archs OR arch IN_LIST archs)
      separate_arguments(flags UNIX_COMMAND "${flags}")
      set_property(SOURCE "${source}" APPEND PROPERTY COMPILE_OPTIONS ${flags})
      list(APPEND kept "${source}")
      string(TOUPPER "EI_TIER_${tier}=1" definition)
      list(APPEND definitions "${definition}")
    endif()
  endforeach()
  list(REMOVE_DUPLICATES definitions)
  set(${sources_var} "${kept}" PARENT_SCOPE)
  set(EI_KERNEL_DEFINITIONS "${definitions}" PARENT_SCOPE)
endfunction()
