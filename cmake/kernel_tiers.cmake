# Which instruction set a kernel file is compiled for.
#
# A kernel lives in csrc/kernels/<family>/<family>_<tier>.c (a longer family name with its tile in
# between is fine). The last word of the file name picks the rows below that begin with it; a row
# says on which architectures the file is compiled and with which flags. Adding a tier is one row
# here, one file per family, and its place in csrc/kernels/table.c. The rest of the library keeps the
# baseline of the platform, so that importing it never faults.
#
#   tier | architectures (x86_64 i386 arm64 arm, separated by commas, or any) | macro | flags | ...
#
# Compilers ask for one extension in different words. Where a row names the macro that says an
# extension is on, the first flags that make the compiler define it are taken. A compiler too old
# for any of them leaves the tier out, which the CPU then replaces by the next lower one.
set(EI_KERNEL_TIERS
  "scalar|any||"
  "avx2|x86_64|__AVX2__|-mavx2 -mfma -mf16c"
  "avxvnni|x86_64|__AVX2__|-mavx2 -mfma -mf16c"
  "avx512vnni|x86_64|__AVX512VNNI__|-mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mtune=icelake-server|-mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni"
  # zig wants CPUs and extensions in words of its own
  "neon|arm64|__ARM_NEON|"
  "neon|arm|__ARM_NEON|-mfpu=neon|-mcpu=generic+v7a+neon"
  "dotprod|arm64|__ARM_FEATURE_DOTPROD|-march=armv8.2-a+dotprod|-mcpu=generic+dotprod"
  "i8mm|arm64|__ARM_FEATURE_MATMUL_INT8|-march=armv8.2-a+dotprod+i8mm|-mcpu=generic+dotprod+i8mm"
)

option(EI_EVERY_TIER "Fail when the compiler cannot compile one of the tiers" OFF)

# Tier avxvnni with the encoding of AVX-512, to test it on a CPU that has only that one.
option(EI_AVXVNNI_AS_EVEX "Encode tier avxvnni as AVX-512 (for tests)" OFF)
if(EI_AVXVNNI_AS_EVEX)
  add_compile_definitions(EI_AVXVNNI_AS_EVEX=1)
endif()

# ei_find_tier(<tier> <arch> <variable>): the flags of a tier on an architecture; MISSING when the
# architecture cannot have it, OLD when this compiler cannot compile it.
function(ei_find_tier tier arch result_var)
  set(known FALSE)
  set(result MISSING)
  foreach(row IN LISTS EI_KERNEL_TIERS)
    if(NOT row MATCHES "^${tier}[|]([^|]*)[|]([^|]*)[|](.*)$")
      continue()
    endif()
    set(known TRUE)
    string(REPLACE "," ";" archs "${CMAKE_MATCH_1}")
    set(macro "${CMAKE_MATCH_2}")
    set(choices "${CMAKE_MATCH_3}")
    if(NOT ("any" IN_LIST archs OR arch IN_LIST archs))
      continue()
    elseif(macro STREQUAL "")
      set(result "${choices}")
      break()
    endif()
    set(result OLD)
    string(APPEND choices "|") # so that the last flags end like the others, empty ones too
    set(number 0)
    while(result STREQUAL "OLD" AND choices MATCHES "^([^|]*)[|](.*)$")
      set(flags "${CMAKE_MATCH_1}")
      set(choices "${CMAKE_MATCH_2}")
      math(EXPR number "${number} + 1")
      set(CMAKE_REQUIRED_FLAGS "${flags}")
      check_c_source_compiles("
        #ifndef ${macro}
        #error no
        #endif
        int main(void) { return 0; }" "EI_TIER_${tier}_BY_FLAGS_${number}")
      if(EI_TIER_${tier}_BY_FLAGS_${number})
        set(result "${flags}")
      endif()
    endwhile()
    break()
  endforeach()
  if(NOT known)
    message(FATAL_ERROR "no tier '${tier}' in cmake/kernel_tiers.cmake")
  endif()
  set(${result_var} "${result}" PARENT_SCOPE)
endfunction()

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
    if(NOT DEFINED flags_of_${tier})
      ei_find_tier(${tier} ${arch} flags_of_${tier})
      if(flags_of_${tier} STREQUAL "OLD")
        set(kind WARNING)
        if(EI_EVERY_TIER)
          set(kind FATAL_ERROR)
        endif()
        message(${kind} "${CMAKE_C_COMPILER} cannot compile tier ${tier}: built without it")
      endif()
    endif()
    if(NOT flags_of_${tier} MATCHES "^(MISSING|OLD)$")
      separate_arguments(flags UNIX_COMMAND "${flags_of_${tier}}")
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
