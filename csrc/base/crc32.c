#include "base/crc32.h"

#include <pthread.h>
#include <string.h>

#include "base/cpu.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "edgeinfer reads its files in place: it needs a little-endian CPU"
#endif

// tables[k][n] is what byte n does to the remainder when k more bytes follow it. They are made when
// they are first needed: CPUs with an instruction for checksums never do, and as constants they would
// be 8 KiB of every copy of the library that no compression shrinks.
static uint32_t tables[8][256];
static pthread_once_t made = PTHREAD_ONCE_INIT;

// The same for half a byte, nothing following.
static const uint32_t halves[16] = {
    0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
    0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
};

static uint32_t add_byte(uint32_t rest, uint8_t byte) {
    rest ^= byte;
    rest = halves[rest & 15] ^ rest >> 4;
    return halves[rest & 15] ^ rest >> 4;
}

static void make_tables(void) {
    for (uint32_t n = 0; n < 256; n++) {
        uint32_t rest = add_byte(0, (uint8_t)n);
        for (int k = 0; k < 8; k++) {
            tables[k][n] = rest;
            rest = add_byte(rest, 0);
        }
    }
}

uint32_t ei_crc32_portable(uint32_t crc, const void *data, size_t bytes) {
    const uint8_t *at = data;
    uint32_t rest = ~crc;
    if (bytes >= 64) { // what others leave at the end is not worth tables
        pthread_once(&made, make_tables);
        for (; bytes >= 8; at += 8, bytes -= 8) {
            uint32_t low, high;
            memcpy(&low, at, 4);
            memcpy(&high, at + 4, 4);
            low ^= rest;
            rest = tables[7][low & 255] ^ tables[6][low >> 8 & 255] ^ tables[5][low >> 16 & 255] ^
                   tables[4][low >> 24] ^ tables[3][high & 255] ^ tables[2][high >> 8 & 255] ^
                   tables[1][high >> 16 & 255] ^ tables[0][high >> 24];
        }
    }
    for (; bytes > 0; at++, bytes--) {
        rest = add_byte(rest, *at);
    }
    return ~rest;
}

uint32_t ei_crc32(uint32_t crc, const void *data, size_t bytes) {
#if defined(__x86_64__) || defined(__i386__)
    const uint32_t needed = EI_CPU_PCLMUL | EI_CPU_SSE41;
    if ((ei_cpu_features() & needed) == needed) {
        return ei_crc32_pclmul(crc, data, bytes);
    }
#elif defined(__aarch64__) || defined(__arm__)
    if ((ei_cpu_features() & EI_CPU_CRC32) != 0) {
        return ei_crc32_arm(crc, data, bytes);
    }
#endif
    return ei_crc32_portable(crc, data, bytes);
}
