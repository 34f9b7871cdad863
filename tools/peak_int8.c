// Prints how many multiplications with accumulation, of int8 and of float32, this core does per
// nanosecond (GMAC/s) when nothing but registers is involved: the ceiling of every kernel. Built and run
// by bench_peers.py.
#define _POSIX_C_SOURCE 200809L

#include <immintrin.h>
#include <stdio.h>
#include <time.h>

enum { CHAINS = 12, ROUNDS = 4000, REPEATS = 200 };

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

// Twelve independent sums hide the latency of the instruction.
#define TWELVE(instruction, r)                                                                     \
    instruction " %%" r "13, %%" r "12, %%" r "0\n" instruction " %%" r "13, %%" r "12, %%" r      \
                "1\n" instruction " %%" r "13, %%" r "12, %%" r "2\n" instruction " %%" r          \
                "13, %%" r "12, %%" r "3\n" instruction " %%" r "13, %%" r "12, %%" r              \
                "4\n" instruction " %%" r "13, %%" r "12, %%" r "5\n" instruction " %%" r          \
                "13, %%" r "12, %%" r "6\n" instruction " %%" r "13, %%" r "12, %%" r              \
                "7\n" instruction " %%" r "13, %%" r "12, %%" r "8\n" instruction " %%" r          \
                "13, %%" r "12, %%" r "9\n" instruction " %%" r "13, %%" r "12, %%" r              \
                "10\n" instruction " %%" r "13, %%" r "12, %%" r "11\n"
#define CLOBBERED                                                                                  \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",       \
        "xmm11", "xmm12", "xmm13"

__attribute__((target("avx512f"))) static void run_avx512vnni(void) {
    for (int i = 0; i < ROUNDS; i++) {
        __asm__ volatile(TWELVE("vpdpbusd", "zmm")::: CLOBBERED);
    }
}

// Products of int16 pairs and the addition of their sums, as tier avx2 has to.
__attribute__((target("avx2"))) static void run_avx2(void) {
    for (int i = 0; i < ROUNDS; i++) {
        __asm__ volatile(TWELVE("vpmaddwd", "ymm") TWELVE("vpaddd", "ymm")::: CLOBBERED);
    }
}

// The same on 256 bits, in the encoding of CPUs without AVX-512.
__attribute__((target("avx2"))) static void run_avxvnni(void) {
    for (int i = 0; i < ROUNDS; i++) {
        __asm__ volatile(TWELVE("%{vex%} vpdpbusd", "ymm")::: CLOBBERED);
    }
}

// Fused multiply-adds of zeros, which no CPU is slower or faster with.
__attribute__((target("avx512f"))) static void run_fma_zmm(void) {
    __asm__ volatile("vzeroall" ::: CLOBBERED);
    for (int i = 0; i < ROUNDS; i++) {
        __asm__ volatile(TWELVE("vfmadd231ps", "zmm")::: CLOBBERED);
    }
}

__attribute__((target("avx2,fma"))) static void run_fma_ymm(void) {
    __asm__ volatile("vzeroall" ::: CLOBBERED);
    for (int i = 0; i < ROUNDS; i++) {
        __asm__ volatile(TWELVE("vfmadd231ps", "ymm")::: CLOBBERED);
    }
}

static double gmacs(void (*run)(void), int macs) {
    double best = 1e9;
    for (int i = 0; i < REPEATS; i++) {
        const double start = seconds();
        run();
        const double taken = seconds() - start;
        best = taken < best ? taken : best;
    }
    return 1e-9 * CHAINS * ROUNDS * macs / best;
}

double peak_gmacs(void);
double peak_float_gmacs(void);

/// GMAC/s of this core now, in two milliseconds; 0 on a CPU without AVX2.
double peak_gmacs(void) {
    __builtin_cpu_init();
    void (*run)(void) = NULL;
    int macs = 0;
    if (__builtin_cpu_supports("avx512vnni")) {
        run = run_avx512vnni;
        macs = 64;
    } else if (__builtin_cpu_supports("avxvnni")) {
        run = run_avxvnni;
        macs = 32;
    } else if (__builtin_cpu_supports("avx2")) {
        run = run_avx2;
        macs = 16;
    } else {
        return 0;
    }
    return gmacs(run, macs);
}

/// The same of float32; 0 on a CPU without AVX2 and FMA.
double peak_float_gmacs(void) {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f")) {
        return gmacs(run_fma_zmm, 16);
    }
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? gmacs(run_fma_ymm, 8)
                                                                           : 0;
}

int main(void) {
    printf("int8 %.1f, float32 %.1f\n", peak_gmacs(), peak_float_gmacs());
    return 0;
}
