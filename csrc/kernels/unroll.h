/// What keeps register tiles in registers: functions that are inlined with their constant arguments,
/// and loops over these that are unrolled whatever the size.
#ifndef EI_KERNELS_UNROLL_H
#define EI_KERNELS_UNROLL_H

#define EI_ALWAYS_INLINE static inline __attribute__((always_inline))

#if defined(__clang__)
#define EI_UNROLL _Pragma("unroll")
#else
#define EI_UNROLL _Pragma("GCC unroll 16")
#endif

#endif
