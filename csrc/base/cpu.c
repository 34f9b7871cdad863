#include "base/cpu.h"

#include <stdatomic.h>

#if defined(__x86_64__) || defined(__i386__)

#include <cpuid.h>

/// XCR0: which registers the system saves when it switches threads. Needs the OSXSAVE bit.
static uint64_t saved_registers(void) {
    uint32_t low, high;
    // Volatile, or the compiler runs it before the caller's check, which faults on old CPUs.
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static uint32_t detect(void) {
    const uint64_t ymm = 0x6;  // SSE and AVX state
    const uint64_t zmm = 0xe6; // these, mask registers and both halves of the ZMM registers
    uint32_t a, b, c, d;
    uint32_t found = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d)) {
        return 0;
    }
    found |= (c & bit_SSE4_1) != 0 ? EI_CPU_SSE41 : 0;
    found |= (c & bit_PCLMUL) != 0 ? EI_CPU_PCLMUL : 0;
    const uint64_t saved = (c & bit_OSXSAVE) != 0 ? saved_registers() : 0;
    const int avx = (c & bit_AVX) != 0 && (saved & ymm) == ymm;
    if (avx) {
        found |= (c & bit_FMA) != 0 ? EI_CPU_FMA : 0;
        found |= (c & bit_F16C) != 0 ? EI_CPU_F16C : 0;
    }
    uint32_t subleaves;
    if (!avx || !__get_cpuid_count(7, 0, &subleaves, &b, &c, &d)) {
        return found;
    }
    found |= (b & (1u << 5)) != 0 ? EI_CPU_AVX2 : 0;
    const uint32_t avx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; // F, DQ, BW, VL
    if ((saved & zmm) == zmm && (b & avx512) == avx512) {
        found |= EI_CPU_AVX512;
        found |= (c & (1u << 11)) != 0 ? EI_CPU_AVX512VNNI : 0;
        found |= (c & (1u << 1)) != 0 ? EI_CPU_AVX512VBMI : 0;
    }
    if (subleaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) {
        found |= (a & (1u << 4)) != 0 ? EI_CPU_AVXVNNI : 0;
    }
    return found;
}

#elif defined(__linux__) && defined(__aarch64__)

#include <sys/auxv.h>

// Numbers of the Linux ABI, written out because older system headers lack the newer ones.
static uint32_t detect(void) {
    const unsigned long capabilities = getauxval(AT_HWCAP);
    const unsigned long more = getauxval(AT_HWCAP2);
    uint32_t found = 0;
    found |= (capabilities & (1ul << 1)) != 0 ? EI_CPU_NEON : 0;
    found |= (capabilities & (1ul << 7)) != 0 ? EI_CPU_CRC32 : 0;
    found |= (capabilities & (1ul << 20)) != 0 ? EI_CPU_DOTPROD : 0;
    found |= (more & (1ul << 13)) != 0 ? EI_CPU_I8MM : 0;
    return found;
}

#elif defined(__linux__) && defined(__arm__)

#include <sys/auxv.h>

static uint32_t detect(void) {
    const unsigned long capabilities = getauxval(AT_HWCAP);
    const unsigned long more = getauxval(AT_HWCAP2);
    uint32_t found = 0;
    found |= (capabilities & (1ul << 12)) != 0 ? EI_CPU_NEON : 0;
    found |= (more & (1ul << 4)) != 0 ? EI_CPU_CRC32 : 0;
    found |= (capabilities & (1ul << 24)) != 0 ? EI_CPU_DOTPROD : 0;
    found |= (capabilities & (1ul << 27)) != 0 ? EI_CPU_I8MM : 0;
    return found;
}

#else

static uint32_t detect(void) {
    return 0;
}

#endif

uint32_t ei_cpu_features(void) {
    const uint32_t known = 1u << 31;
    static _Atomic uint32_t cache; // two threads may both detect: they store the same
    uint32_t features = atomic_load_explicit(&cache, memory_order_relaxed);
    if (features == 0) {
        features = detect() | known;
        atomic_store_explicit(&cache, features, memory_order_relaxed);
    }
    return features & ~known;
}
