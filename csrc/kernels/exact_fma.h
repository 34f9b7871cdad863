/// a * b + c, rounded once, on every CPU.
#ifndef EI_KERNELS_EXACT_FMA_H
#define EI_KERNELS_EXACT_FMA_H

#if defined(__FMA__) || defined(__aarch64__) || defined(__ARM_FEATURE_FMA)
#define EI_HAS_FMA 1
static inline float ei_exact_fma(float a, float b, float c) {
    return __builtin_fmaf(a, b, c);
}
#else
#define EI_HAS_FMA 0
float ei_exact_fma(float a, float b, float c);
#endif

#endif
