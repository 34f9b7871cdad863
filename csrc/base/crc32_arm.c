// CRC-32 by the CRC32 instructions of ARMv8, optional in 8.0 and always there from 8.1 on.
#include "base/crc32.h"

#if defined(__aarch64__)

#include <string.h>

// Written as assembly because compilers disagree on how a function asks for this extension.
static inline uint32_t step_8(uint32_t rest, uint64_t value) {
    __asm__(".arch_extension crc\n\tcrc32x %w0, %w0, %1" : "+r"(rest) : "r"(value));
    return rest;
}

static inline uint32_t step_1(uint32_t rest, uint32_t value) {
    __asm__(".arch_extension crc\n\tcrc32b %w0, %w0, %w1" : "+r"(rest) : "r"(value));
    return rest;
}

uint32_t ei_crc32_arm(uint32_t crc, const void *data, size_t bytes) {
    const uint8_t *at = data;
    uint32_t rest = ~crc;
    for (; bytes >= 8; at += 8, bytes -= 8) {
        uint64_t value;
        memcpy(&value, at, 8);
        rest = step_8(rest, value);
    }
    for (; bytes > 0; at++, bytes--) {
        rest = step_1(rest, *at);
    }
    return ~rest;
}

#endif
