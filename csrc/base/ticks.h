/// A clock that takes a few nanoseconds to read.
#ifndef EI_BASE_TICKS_H
#define EI_BASE_TICKS_H

#include <stdint.h>

#if !defined(__x86_64__) && !defined(__i386__) && !defined(__aarch64__)
#include <time.h>
#endif

/// Ticks of a counter that runs at a constant rate, the same on every core: that of the CPU where it
/// has one for programs to read, else nanoseconds of the monotonic clock.
static inline uint64_t ei_ticks(void) {
#if defined(__x86_64__) || defined(__i386__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t ticks;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
#endif
}

#endif
