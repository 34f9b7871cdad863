/// CRC-32 as in IEEE 802.3, gzip and PNG: polynomial 0x04c11db7, bits reflected, ends inverted. The
/// same as Python's zlib.crc32.
#ifndef EI_BASE_CRC32_H
#define EI_BASE_CRC32_H

#include <stddef.h>
#include <stdint.h>

/// Goes on from `crc`, the result for the bytes before (0 at the start), by the fastest of the
/// functions below that this CPU can run.
uint32_t ei_crc32(uint32_t crc, const void *data, size_t bytes);

/// Eight bytes at a time by table lookups, on any CPU.
uint32_t ei_crc32_portable(uint32_t crc, const void *data, size_t bytes);

#if defined(__x86_64__) || defined(__i386__)
/// 64 bytes at a time by carry-less multiplication. Needs EI_CPU_PCLMUL and EI_CPU_SSE41.
uint32_t ei_crc32_pclmul(uint32_t crc, const void *data, size_t bytes);
#endif

#if defined(__aarch64__) || defined(__arm__)
/// Eight bytes at a time (32-bit: four) by the CRC32 instructions. Needs EI_CPU_CRC32.
uint32_t ei_crc32_arm(uint32_t crc, const void *data, size_t bytes);
#endif

#endif
