// tbl, tbx: 16 look-ups in the 64 bytes of four registers. The table is four times that; an index that is
// in none of a quarter's leaves what the others found. 64 bit only: 32 bit has tables of 32 bytes.
#include "kernels/lut8/lut8.h"

#if defined(__aarch64__)
#include <arm_neon.h>

void ei_lut8_b1_neon(const uint8_t *x, const void *table, void *y, size_t count) {
    const uint8_t *entries = table;
    uint8_t *out = y;
    const uint8x16x4_t t0 = vld1q_u8_x4(entries), t1 = vld1q_u8_x4(entries + 64);
    const uint8x16x4_t t2 = vld1q_u8_x4(entries + 128), t3 = vld1q_u8_x4(entries + 192);
    size_t i = 0;
    for (; i + 16 <= count; i += 16) {
        const uint8x16_t index = vld1q_u8(x + i);
        uint8x16_t value = vqtbl4q_u8(t0, index);
        value = vqtbx4q_u8(value, t1, veorq_u8(index, vdupq_n_u8(64)));
        value = vqtbx4q_u8(value, t2, veorq_u8(index, vdupq_n_u8(128)));
        value = vqtbx4q_u8(value, t3, veorq_u8(index, vdupq_n_u8(192)));
        vst1q_u8(out + i, value);
    }
    ei_lut8_b1_scalar(x + i, entries, out + i, count - i);
}
#endif
