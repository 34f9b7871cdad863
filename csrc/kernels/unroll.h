/// What keeps register tiles in registers: functions that are inlined with their constant arguments,
/// and loops over these that are unrolled whatever the size.
#ifndef EI_KERNELS_UNROLL_H
#define EI_KERNELS_UNROLL_H

#define EI_ALWAYS_INLINE static inline __attribute__((always_inline))

// Of register tiles that a function chooses from, so that profiles and tools/kernel_loops.py tell them apart.
#define EI_NOINLINE static __attribute__((noinline))

#if defined(__clang__)
#define EI_UNROLL _Pragma("unroll")
#else
#define EI_UNROLL _Pragma("GCC unroll 16")
#endif

#endif
