/// What this CPU can do and the operating system lets programs use.
#ifndef EI_BASE_CPU_H
#define EI_BASE_CPU_H

#include <stdint.h>

/// Bits of ei_cpu_features(). A vector extension counts only when the system saves its registers.
enum ei_cpu_feature {
    // x86
    EI_CPU_SSE41 = 1 << 0,
    EI_CPU_PCLMUL = 1 << 1,
    EI_CPU_AVX2 = 1 << 2,
    EI_CPU_FMA = 1 << 3,
    EI_CPU_AVXVNNI = 1 << 4,
    EI_CPU_AVX512 = 1 << 5, // F, BW, DQ and VL
    EI_CPU_AVX512VNNI = 1 << 6,
    EI_CPU_AVX512VBMI = 1 << 7,
    EI_CPU_F16C = 1 << 8,
    // ARM
    EI_CPU_NEON = 1 << 16,
    EI_CPU_CRC32 = 1 << 17,
    EI_CPU_DOTPROD = 1 << 18,
    EI_CPU_I8MM = 1 << 19
};

/// The features of this CPU, found on the first call. Any thread may call it.
uint32_t ei_cpu_features(void);

#endif
