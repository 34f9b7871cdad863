// Calls ei_session_run in a loop, with nothing of Python in between. Built and called by
// bench_overhead.py.
#define _POSIX_C_SOURCE 200809L

#include <time.h>

#include "edgeinfer.h"

typedef ei_status (*run_function)(ei_session *, const void *const *, void *const *);

/// Nanoseconds per call of `count` runs, or -1 when one failed.
double call_loop(run_function run, ei_session *session, const void *const *inputs,
                 void *const *outputs, int count) {
    struct timespec begin, end;
    int failed = 0;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int i = 0; i < count; i++) {
        failed |= run(session, inputs, outputs) != EI_OK;
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    const double seconds = (double)(end.tv_sec - begin.tv_sec);
    return failed ? -1 : (seconds * 1e9 + (double)(end.tv_nsec - begin.tv_nsec)) / count;
}
