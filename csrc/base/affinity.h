/// Which CPUs the threads of a session run on.
#ifndef EI_BASE_AFFINITY_H
#define EI_BASE_AFFINITY_H

#include <pthread.h>
#include <stdint.h>

#include "edgeinfer.h"

#define EI_MAX_CPUS 1024

/// CPU i is bit i % 64 of word i / 64.
typedef struct ei_cpu_mask {
    uint64_t words[EI_MAX_CPUS / 64];
} ei_cpu_mask;

/// Where threads go. All zeros: wherever the system puts them.
typedef struct ei_placement {
    const uint32_t *cpus; // thread i runs on cpus[i % cpu_count]; cpus[0] is the caller's
    uint32_t cpu_count;
    int fastest_only; // they run on the CPUs of `fastest`, as the system likes
    ei_cpu_mask fastest;
} ei_placement;

/// Makes a placement of what a caller asks for, which stays borrowed. EI_ERROR_ARGUMENT when a CPU is not available to this
/// process, or when both a list and the fastest CPUs are asked for; EI_ERROR_UNSUPPORTED where threads cannot be placed.
ei_status ei_placement_make(const uint32_t *cpus, uint32_t cpu_count, uint32_t fastest_only,
                            ei_placement *placement);

/// Puts a thread where the placement wants thread i.
ei_status ei_placement_apply(const ei_placement *placement, pthread_t thread, uint32_t i);

/// The CPUs of the fastest kind that the machine has, whether or not this process may use them: by what the system tells
/// about kinds of cores (Intel's cpu_core, the capacities of Arm's cores), else by largest frequency. All bits are set
/// where it tells nothing. `root` is "/sys/devices", or a copy of it.
void ei_fastest_cpus(const char *root, ei_cpu_mask *fastest);

/// Reads a list such as "0-3,8,10-11\n". 0 when it is not one.
int ei_cpu_list_parse(const char *text, ei_cpu_mask *mask);

#endif
