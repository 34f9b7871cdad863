#ifdef __linux__
#undef _GNU_SOURCE
#define _GNU_SOURCE // sched_getaffinity, pthread_setaffinity_np
#endif

#include "base/affinity.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

static int has_cpu(const ei_cpu_mask *mask, uint32_t cpu) {
    return (int)(mask->words[cpu / 64] >> cpu % 64 & 1);
}

static void add_cpu(ei_cpu_mask *mask, uint32_t cpu) {
    mask->words[cpu / 64] |= UINT64_C(1) << cpu % 64;
}

/// A number at *text, which is moved behind it; -1 when there is none, or none below EI_MAX_CPUS.
static int parse_cpu(const char **text) {
    int cpu = -1;
    for (; **text >= '0' && **text <= '9' && cpu < EI_MAX_CPUS; (*text)++) {
        cpu = (cpu < 0 ? 0 : cpu * 10) + (**text - '0');
    }
    return cpu < EI_MAX_CPUS ? cpu : -1;
}

int ei_cpu_list_parse(const char *text, ei_cpu_mask *mask) {
    ei_cpu_mask found = {{0}};
    for (;; text++) {
        const int first = parse_cpu(&text);
        int last = first;
        if (first >= 0 && *text == '-') {
            text++;
            last = parse_cpu(&text);
        }
        if (first < 0 || last < first) {
            return 0;
        }
        for (int cpu = first; cpu <= last; cpu++) {
            add_cpu(&found, (uint32_t)cpu);
        }
        if (*text != ',') {
            break;
        }
    }
    if (*text != 0 && *text != '\n') {
        return 0;
    }
    *mask = found;
    return 1;
}

/// The beginning of a small file; 0 when it cannot be read.
static int read_text(const char *path, char *text, size_t size) {
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return 0;
    }
    const ssize_t count = read(file, text, size - 1);
    close(file);
    text[count > 0 ? count : 0] = 0;
    return count > 0;
}

/// A property of a CPU that is a number in a file of its own; 0 where there is none.
static uint64_t cpu_number(const char *root, uint32_t cpu, const char *property) {
    char path[256];
    char text[32];
    const int length =
        snprintf(path, sizeof path, "%s/system/cpu/cpu%" PRIu32 "/%s", root, cpu, property);
    if (length < 0 || (size_t)length >= sizeof path || !read_text(path, text, sizeof text)) {
        return 0;
    }
    uint64_t number = 0;
    for (const char *digit = text; *digit >= '0' && *digit <= '9'; digit++) {
        number = number * 10 + (uint64_t)(*digit - '0');
    }
    return number;
}

void ei_fastest_cpus(const char *root, ei_cpu_mask *fastest) {
    static const char *const properties[] = {"cpu_capacity", "cpufreq/cpuinfo_max_freq"};
    char path[256];
    char text[1024];
    int length = snprintf(path, sizeof path, "%s/cpu_core/cpus", root);
    if (length > 0 && (size_t)length < sizeof path && read_text(path, text, sizeof text) &&
        ei_cpu_list_parse(text, fastest)) {
        return;
    }
    ei_cpu_mask present = {{0}};
    length = snprintf(path, sizeof path, "%s/system/cpu/present", root);
    if (length > 0 && (size_t)length < sizeof path && read_text(path, text, sizeof text)) {
        ei_cpu_list_parse(text, &present);
    }
    for (size_t p = 0; p < sizeof properties / sizeof properties[0]; p++) {
        uint64_t largest = 0;
        for (uint32_t cpu = 0; cpu < EI_MAX_CPUS; cpu++) {
            const uint64_t number =
                has_cpu(&present, cpu) ? cpu_number(root, cpu, properties[p]) : 0;
            largest = number > largest ? number : largest;
        }
        if (largest == 0) {
            continue;
        }
        // Cores of one kind differ by some percent where the best of them may clock a little higher.
        ei_cpu_mask found = {{0}};
        for (uint32_t cpu = 0; cpu < EI_MAX_CPUS; cpu++) {
            if (has_cpu(&present, cpu) &&
                cpu_number(root, cpu, properties[p]) >= largest - largest / 8) {
                add_cpu(&found, cpu);
            }
        }
        *fastest = found;
        return;
    }
    memset(fastest, 0xff, sizeof *fastest);
}

#ifdef __linux__

_Static_assert(CPU_SETSIZE >= EI_MAX_CPUS, "a mask fits the system's");

ei_status ei_placement_make(const uint32_t *cpus, uint32_t cpu_count, uint32_t fastest_only,
                            ei_placement *placement) {
    ei_placement made = {.cpus = cpus, .cpu_count = cpu_count, .fastest_only = fastest_only != 0};
    if (cpu_count == 0 && !made.fastest_only) {
        *placement = made;
        return EI_OK;
    }
    if (cpu_count != 0 && made.fastest_only) {
        return ei_fail(EI_ERROR_ARGUMENT,
                       "options: cpus and performance_cores are both given; give one of them");
    }
    if (cpu_count != 0 && cpus == NULL) {
        return ei_fail(EI_ERROR_ARGUMENT, "options: cpus is NULL and cpu_count is %" PRIu32,
                       cpu_count);
    }
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
        return ei_fail(EI_ERROR_UNSUPPORTED,
                       "options: the system does not tell which CPUs this process may use");
    }
    for (uint32_t i = 0; i < cpu_count; i++) {
        if (cpus[i] >= EI_MAX_CPUS || !CPU_ISSET(cpus[i], &allowed)) {
            return ei_fail(EI_ERROR_ARGUMENT,
                           "options: cpus: CPU %" PRIu32 " is not available to this process",
                           cpus[i]);
        }
    }
    if (made.fastest_only) {
        ei_fastest_cpus("/sys/devices", &made.fastest);
        int any = 0;
        for (uint32_t cpu = 0; cpu < EI_MAX_CPUS; cpu++) {
            if (!CPU_ISSET(cpu, &allowed)) {
                made.fastest.words[cpu / 64] &= ~(UINT64_C(1) << cpu % 64);
            }
            any |= has_cpu(&made.fastest, cpu);
        }
        if (!any) {
            return ei_fail(EI_ERROR_ARGUMENT, "options: performance_cores: this process may use "
                                              "none of the machine's performance cores");
        }
    }
    *placement = made;
    return EI_OK;
}

ei_status ei_placement_apply(const ei_placement *placement, pthread_t thread, uint32_t i) {
    if (placement->cpu_count == 0 && !placement->fastest_only) {
        return EI_OK;
    }
    cpu_set_t set;
    CPU_ZERO(&set);
    if (placement->cpu_count != 0) {
        CPU_SET(placement->cpus[i % placement->cpu_count], &set);
    } else {
        for (uint32_t cpu = 0; cpu < EI_MAX_CPUS; cpu++) {
            if (has_cpu(&placement->fastest, cpu)) {
                CPU_SET(cpu, &set);
            }
        }
    }
    const int failed = pthread_setaffinity_np(thread, sizeof set, &set);
    if (failed != 0) {
        return ei_fail(EI_ERROR_ARGUMENT, "thread %" PRIu32 " cannot be placed on its CPUs: %s",
                       i + 1, strerror(failed));
    }
    return EI_OK;
}

#else

ei_status ei_placement_make(const uint32_t *cpus, uint32_t cpu_count, uint32_t fastest_only,
                            ei_placement *placement) {
    if (cpu_count != 0 || fastest_only != 0) {
        return ei_fail(EI_ERROR_UNSUPPORTED,
                       "options: cpus and performance_cores work on Linux only");
    }
    *placement = (ei_placement){.cpus = cpus};
    return EI_OK;
}

ei_status ei_placement_apply(const ei_placement *placement, pthread_t thread, uint32_t i) {
    (void)placement, (void)thread, (void)i;
    return EI_OK;
}

#endif
