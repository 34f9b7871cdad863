// CRC-32 by the CRC32 instructions of ARMv8, optional in 8.0 and always there from 8.1 on. They are
// written as assembly because compilers disagree on how a function asks for the extension.
#include "base/crc32.h"

#include <string.h>

#if defined(__aarch64__)

typedef uint64_t ei_word;

static inline uint32_t step_word(uint32_t rest, ei_word value) {
    __asm__(".arch_extension crc\n\tcrc32x %w0, %w0, %1" : "+r"(rest) : "r"(value));
    return rest;
}

static inline uint32_t step_byte(uint32_t rest, uint32_t value) {
    __asm__(".arch_extension crc\n\tcrc32b %w0, %w0, %w1" : "+r"(rest) : "r"(value));
    return rest;
}

#elif defined(__arm__)

typedef uint32_t ei_word;

static inline uint32_t step_word(uint32_t rest, ei_word value) {
    __asm__(".arch armv8-a\n\t.arch_extension crc\n\tcrc32w %0, %0, %1" : "+r"(rest) : "r"(value));
    return rest;
}

static inline uint32_t step_byte(uint32_t rest, uint32_t value) {
    __asm__(".arch armv8-a\n\t.arch_extension crc\n\tcrc32b %0, %0, %1" : "+r"(rest) : "r"(value));
    return rest;
}

#endif

#if defined(__aarch64__) || defined(__arm__)

uint32_t ei_crc32_arm(uint32_t crc, const void *data, size_t bytes) {
    const uint8_t *at = data;
    uint32_t rest = ~crc;
    for (; bytes >= sizeof(ei_word); at += sizeof(ei_word), bytes -= sizeof(ei_word)) {
        ei_word value;
        memcpy(&value, at, sizeof value);
        rest = step_word(rest, value);
    }
    for (; bytes > 0; at++, bytes--) {
        rest = step_byte(rest, *at);
    }
    return ~rest;
}

#endif
