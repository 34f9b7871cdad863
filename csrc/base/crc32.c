#include "base/crc32.h"

#include <string.h>

#include "base/cpu.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "edgeinfer reads its files in place: it needs a little-endian CPU"
#endif

// tables[k][n] is what byte n does to the remainder when k more bytes follow it. A remainder is
// linear over GF(2), so an entry is the XOR of the entries of its set bits: eight numbers make a
// table. They are the polynomial (bit 7, no byte following), shifted on by one bit at a time.
#define EI_BITS_0                                                                                  \
    0x77073096, 0xee0e612c, 0x076dc419, 0x0edb8832, 0x1db71064, 0x3b6e20c8, 0x76dc4190, 0xedb88320
#define EI_BITS_1                                                                                  \
    0x191b3141, 0x32366282, 0x646cc504, 0xc8d98a08, 0x4ac21251, 0x958424a2, 0xf0794f05, 0x3b83984b
#define EI_BITS_2                                                                                  \
    0x01c26a37, 0x0384d46e, 0x0709a8dc, 0x0e1351b8, 0x1c26a370, 0x384d46e0, 0x709a8dc0, 0xe1351b80
#define EI_BITS_3                                                                                  \
    0xb8bc6765, 0xaa09c88b, 0x8f629757, 0xc5b428ef, 0x5019579f, 0xa032af3e, 0x9b14583d, 0xed59b63b
#define EI_BITS_4                                                                                  \
    0x3d6029b0, 0x7ac05360, 0xf580a6c0, 0x30704bc1, 0x60e09782, 0xc1c12f04, 0x58f35849, 0xb1e6b092
#define EI_BITS_5                                                                                  \
    0xcb5cd3a5, 0x4dc8a10b, 0x9b914216, 0xec53826d, 0x03d6029b, 0x07ac0536, 0x0f580a6c, 0x1eb014d8
#define EI_BITS_6                                                                                  \
    0xa6770bb4, 0x979f1129, 0xf44f2413, 0x33ef4e67, 0x67de9cce, 0xcfbd399c, 0x440b7579, 0x8816eaf2
#define EI_BITS_7                                                                                  \
    0xccaa009e, 0x4225077d, 0x844a0efa, 0xd3e51bb5, 0x7cbb312b, 0xf9766256, 0x299dc2ed, 0x533b85da

#define EI_ENTRY(n, b0, b1, b2, b3, b4, b5, b6, b7)                                                \
    ((((n) & 1) ? b0 : 0) ^ (((n) & 2) ? b1 : 0) ^ (((n) & 4) ? b2 : 0) ^ (((n) & 8) ? b3 : 0) ^   \
     (((n) & 16) ? b4 : 0) ^ (((n) & 32) ? b5 : 0) ^ (((n) & 64) ? b6 : 0) ^                       \
     (((n) & 128) ? b7 : 0))
// Variadic, because `bits` must expand to its eight numbers on the way to EI_ENTRY.
#define EI_ENTRIES(n, ...) EI_ENTRY(n, __VA_ARGS__)
#define EI_ENTRIES_4(n, ...)                                                                       \
    EI_ENTRIES(n, __VA_ARGS__), EI_ENTRIES((n) + 1, __VA_ARGS__),                                  \
        EI_ENTRIES((n) + 2, __VA_ARGS__), EI_ENTRIES((n) + 3, __VA_ARGS__)
#define EI_ENTRIES_16(n, ...)                                                                      \
    EI_ENTRIES_4(n, __VA_ARGS__), EI_ENTRIES_4((n) + 4, __VA_ARGS__),                              \
        EI_ENTRIES_4((n) + 8, __VA_ARGS__), EI_ENTRIES_4((n) + 12, __VA_ARGS__)
#define EI_ENTRIES_64(n, ...)                                                                      \
    EI_ENTRIES_16(n, __VA_ARGS__), EI_ENTRIES_16((n) + 16, __VA_ARGS__),                           \
        EI_ENTRIES_16((n) + 32, __VA_ARGS__), EI_ENTRIES_16((n) + 48, __VA_ARGS__)
#define EI_TABLE(...)                                                                              \
    {EI_ENTRIES_64(0, __VA_ARGS__), EI_ENTRIES_64(64, __VA_ARGS__),                                \
     EI_ENTRIES_64(128, __VA_ARGS__), EI_ENTRIES_64(192, __VA_ARGS__)}

static const uint32_t tables[8][256] = {
    EI_TABLE(EI_BITS_0), EI_TABLE(EI_BITS_1), EI_TABLE(EI_BITS_2), EI_TABLE(EI_BITS_3),
    EI_TABLE(EI_BITS_4), EI_TABLE(EI_BITS_5), EI_TABLE(EI_BITS_6), EI_TABLE(EI_BITS_7),
};

uint32_t ei_crc32_portable(uint32_t crc, const void *data, size_t bytes) {
    const uint8_t *at = data;
    uint32_t rest = ~crc;
    for (; bytes >= 8; at += 8, bytes -= 8) {
        uint32_t low, high;
        memcpy(&low, at, 4);
        memcpy(&high, at + 4, 4);
        low ^= rest;
        rest = tables[7][low & 255] ^ tables[6][low >> 8 & 255] ^ tables[5][low >> 16 & 255] ^
               tables[4][low >> 24] ^ tables[3][high & 255] ^ tables[2][high >> 8 & 255] ^
               tables[1][high >> 16 & 255] ^ tables[0][high >> 24];
    }
    for (; bytes > 0; at++, bytes--) {
        rest = tables[0][(rest ^ *at) & 255] ^ rest >> 8;
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
