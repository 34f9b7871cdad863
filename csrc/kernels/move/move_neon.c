// Transposed copies by zip; two and three columns by loads and stores that interleave (ld2, st3).
#include <arm_neon.h>
#include <stddef.h>
#include <string.h>

#include "kernels/unroll.h"

typedef uint8x16_t ei_vector;

#if defined(__aarch64__)
#define EI_LOW(a, b, type)  vzip1q_##type(a, b)
#define EI_HIGH(a, b, type) vzip2q_##type(a, b)
#else
#define EI_LOW(a, b, type)  vzipq_##type(a, b).val[0]
#define EI_HIGH(a, b, type) vzipq_##type(a, b).val[1]
#endif

EI_ALWAYS_INLINE uint8x16_t low1(uint8x16_t a, uint8x16_t b) {
    return EI_LOW(a, b, u8);
}
EI_ALWAYS_INLINE uint8x16_t high1(uint8x16_t a, uint8x16_t b) {
    return EI_HIGH(a, b, u8);
}
EI_ALWAYS_INLINE uint8x16_t low2(uint8x16_t a, uint8x16_t b) {
    const uint16x8_t left = vreinterpretq_u16_u8(a), right = vreinterpretq_u16_u8(b);
    return vreinterpretq_u8_u16(EI_LOW(left, right, u16));
}
EI_ALWAYS_INLINE uint8x16_t high2(uint8x16_t a, uint8x16_t b) {
    const uint16x8_t left = vreinterpretq_u16_u8(a), right = vreinterpretq_u16_u8(b);
    return vreinterpretq_u8_u16(EI_HIGH(left, right, u16));
}
EI_ALWAYS_INLINE uint8x16_t low4(uint8x16_t a, uint8x16_t b) {
    const uint32x4_t left = vreinterpretq_u32_u8(a), right = vreinterpretq_u32_u8(b);
    return vreinterpretq_u8_u32(EI_LOW(left, right, u32));
}
EI_ALWAYS_INLINE uint8x16_t high4(uint8x16_t a, uint8x16_t b) {
    const uint32x4_t left = vreinterpretq_u32_u8(a), right = vreinterpretq_u32_u8(b);
    return vreinterpretq_u8_u32(EI_HIGH(left, right, u32));
}

EI_ALWAYS_INLINE uint8x16_t load(const uint8_t *x) {
    return vld1q_u8(x);
}
EI_ALWAYS_INLINE void store(uint8_t *y, uint8x16_t v) {
    vst1q_u8(y, v);
}

/// Four bytes at any address.
EI_ALWAYS_INLINE uint32_t load_four(const uint8_t *x) {
    uint32_t four;
    memcpy(&four, x, sizeof four);
    return four;
}
EI_ALWAYS_INLINE void store_four(uint8_t *y, uint32_t four) {
    memcpy(y, &four, sizeof four);
}

/// Sixteen bytes that lie in pieces of 4, 8 or 16, `step` bytes from one to the next.
EI_ALWAYS_INLINE uint8x16_t load_pieces(const uint8_t *x, ptrdiff_t step, int piece) {
    if (piece == 16) {
        return load(x);
    }
    if (piece == 8) {
        return vcombine_u8(vld1_u8(x), vld1_u8(x + step));
    }
    uint32x4_t v = vdupq_n_u32(load_four(x));
    v = vsetq_lane_u32(load_four(x + step), v, 1);
    v = vsetq_lane_u32(load_four(x + 2 * step), v, 2);
    return vreinterpretq_u8_u32(vsetq_lane_u32(load_four(x + 3 * step), v, 3));
}

EI_ALWAYS_INLINE void store_pieces(uint8_t *y, ptrdiff_t step, int piece, uint8x16_t v) {
    if (piece == 16) {
        store(y, v);
    } else if (piece == 8) {
        vst1_u8(y, vget_low_u8(v));
        vst1_u8(y + step, vget_high_u8(v));
    } else {
        const uint32x4_t fours = vreinterpretq_u32_u8(v);
        store_four(y, vgetq_lane_u32(fours, 0));
        store_four(y + step, vgetq_lane_u32(fours, 1));
        store_four(y + 2 * step, vgetq_lane_u32(fours, 2));
        store_four(y + 3 * step, vgetq_lane_u32(fours, 3));
    }
}

#include "kernels/move/move_blocks.h"

/// Lines of 16 bytes, to be one behind another; and back.
static void interleave2_b1(const uint8_t *x, ptrdiff_t x_step, uint8_t *y, ptrdiff_t y_step) {
    (void)y_step;
    const uint8x16x2_t lines = {{load(x), load(x + x_step)}};
    vst2q_u8(y, lines);
}
static void part2_b1(const uint8_t *x, ptrdiff_t x_step, uint8_t *y, ptrdiff_t y_step) {
    (void)x_step;
    const uint8x16x2_t lines = vld2q_u8(x);
    store(y, lines.val[0]);
    store(y + y_step, lines.val[1]);
}
static void interleave3_b1(const uint8_t *x, ptrdiff_t x_step, uint8_t *y, ptrdiff_t y_step) {
    (void)y_step;
    const uint8x16x3_t lines = {{load(x), load(x + x_step), load(x + 2 * x_step)}};
    vst3q_u8(y, lines);
}
static void part3_b1(const uint8_t *x, ptrdiff_t x_step, uint8_t *y, ptrdiff_t y_step) {
    (void)x_step;
    const uint8x16x3_t lines = vld3q_u8(x);
    store(y, lines.val[0]);
    store(y + y_step, lines.val[1]);
    store(y + 2 * y_step, lines.val[2]);
}

/// The first that suits is taken.
static const ei_block blocks[] = {
    {1, 16, 16, transpose16_b1}, {1, 16, 3, interleave3_b1}, {1, 3, 16, part3_b1},
    {1, 16, 2, interleave2_b1},  {1, 2, 16, part2_b1},       {1, 16, 8, interleave8_b1},
    {1, 8, 16, part8_b1},        {1, 16, 4, interleave4_b1}, {1, 4, 16, part4_b1},
    {2, 8, 8, transpose8_b2},    {2, 8, 4, interleave4_b2},  {2, 4, 8, part4_b2},
    {4, 4, 4, transpose4_b4},
};

void ei_copy2d_neon(const ei_copy2d_args *args) {
    copy_by(blocks, sizeof blocks / sizeof blocks[0], args);
}
