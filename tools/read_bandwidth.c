// How many bytes per second one thread reads from memory that is given: the ceiling of every kernel whose
// operands come from there. Built and called by bench_fp4.py.
#define _POSIX_C_SOURCE 200809L

#include <stddef.h>
#include <stdint.h>
#include <time.h>

double read_gigabytes(const uint64_t *words, size_t bytes, int rounds);

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static volatile uint64_t sink;

/// GB/s of the fastest of some rounds over `bytes`, a multiple of 256. Eight independent sums of vectors,
/// and the next kilobytes asked for as kernels do.
double read_gigabytes(const uint64_t *words, size_t bytes, int rounds) {
    typedef uint64_t vector __attribute__((vector_size(32)));
    double best = 1e9;
    for (int round = 0; round < rounds; round++) {
        vector sums[8] = {{0}};
        const double start = seconds();
        for (size_t at = 0; at < bytes; at += 256) {
            const vector *from = (const vector *)(const void *)((const char *)words + at);
            for (int line = 0; line < 4; line++) {
                __builtin_prefetch((const char *)from + 2048 + 64 * line);
            }
            for (int i = 0; i < 8; i++) {
                sums[i] ^= from[i];
            }
        }
        const double taken = seconds() - start;
        best = taken < best ? taken : best;
        for (int i = 0; i < 8; i++) {
            sink ^= sums[i][0] ^ sums[i][1] ^ sums[i][2] ^ sums[i][3];
        }
    }
    return 1e-9 * (double)bytes / best;
}
