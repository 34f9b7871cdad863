// Bytes that follow each other: first the best value, 16 at a time, then where it is, by a mask of
// equals. Searches side by side: a vector of the best, and for each of them four of indices. Flipping
// bits makes unsigned bytes signed, and the smallest the largest: one search for all. Few bytes are the
// scalar version's.
#include <arm_neon.h>

#include "kernels/argmax/argmax.h"
#include "kernels/unroll.h"

#define EI_BYTES 16

static inline int8x16_t load(const int8_t *x, int8x16_t flip) {
    return veorq_s8(vld1q_s8(x), flip);
}

static inline void store(const ei_argmax_args *args, size_t i, int32_t index) {
    if (args->y_bytes == 4) {
        ((int32_t *)args->y)[i] = index;
    } else {
        ((int64_t *)args->y)[i] = index;
    }
}

/// Of 16 bytes or more. The last vector overlaps the one before.
static size_t search(const int8_t *x, size_t size, int8x16_t flip, int last) {
    int8x16_t largest = load(x, flip);
    for (size_t i = EI_BYTES; i < size; i += EI_BYTES) {
        const size_t at = i + EI_BYTES <= size ? i : size - EI_BYTES;
        largest = vmaxq_s8(largest, load(x + at, flip));
    }
    int8x8_t half = vpmax_s8(vget_low_s8(largest), vget_high_s8(largest));
    half = vpmax_s8(half, half);
    half = vpmax_s8(half, half);
    half = vpmax_s8(half, half);
    const int8x16_t best = vdupq_lane_s8(half, 0);
    for (size_t i = 0;; i += EI_BYTES) {
        const size_t step = i + EI_BYTES <= size ? i : size - EI_BYTES;
        const size_t at = last ? size - EI_BYTES - step : step;
        const uint8x16_t equal = vceqq_s8(load(x + at, flip), best);
        // Four bits of each byte.
        const uint8x8_t bits = vshrn_n_u16(vreinterpretq_u16_u8(equal), 4);
        const uint64_t mask = vget_lane_u64(vreinterpret_u64_u8(bits), 0);
        if (mask != 0) {
            return at + (size_t)(last ? 63 - __builtin_clzll(mask) : __builtin_ctzll(mask)) / 4;
        }
    }
}

/// 16 searches that begin side by side at x.
static void search_columns(const ei_argmax_args *args, const int8_t *x, int8x16_t flip,
                           size_t first) {
    const uint8x16_t last = vdupq_n_u8(args->select_last ? 255 : 0);
    int8x16_t best = load(x, flip);
    int32x4_t index[4];
    EI_UNROLL
    for (int n = 0; n < 4; n++) {
        index[n] = vdupq_n_s32(0);
    }
    for (size_t i = 1; i < args->size; i++) {
        const int8x16_t key = load(x + i * args->stride, flip);
        const uint8x16_t equal = vandq_u8(vceqq_s8(key, best), last);
        const int8x16_t better = vreinterpretq_s8_u8(vorrq_u8(vcgtq_s8(key, best), equal));
        const int32x4_t now = vdupq_n_s32((int32_t)i);
        const int16x8_t low = vmovl_s8(vget_low_s8(better));
        const int16x8_t high = vmovl_s8(vget_high_s8(better));
        const int16x4_t quarters[4] = {vget_low_s16(low), vget_high_s16(low), vget_low_s16(high),
                                       vget_high_s16(high)};
        best = vmaxq_s8(best, key);
        EI_UNROLL
        for (int n = 0; n < 4; n++) {
            index[n] = vbslq_s32(vreinterpretq_u32_s32(vmovl_s16(quarters[n])), now, index[n]);
        }
    }
    int32_t found[EI_BYTES];
    EI_UNROLL
    for (int n = 0; n < 4; n++) {
        vst1q_s32(found + 4 * n, index[n]);
    }
    for (size_t i = 0; i < EI_BYTES; i++) {
        store(args, first + i, found[i]);
    }
}

/// Whether the searches are of one of the two kinds; then does them.
static int search_all(const ei_argmax_args *args, uint8_t sign) {
    const int8x16_t flip = vdupq_n_s8((int8_t)(args->minimum ? ~sign : sign));
    const int8_t *x = args->x;
    if (args->stride == 1 && args->size >= EI_BYTES) {
        for (size_t n = 0; n < args->count; n++, x += args->step) {
            store(args, n, (int32_t)search(x, args->size, flip, args->select_last));
        }
        return 1;
    }
    if (args->step != 1 || args->count < EI_BYTES) {
        return 0;
    }
    for (size_t n = 0; n < args->count; n += EI_BYTES) {
        const size_t first = n + EI_BYTES <= args->count ? n : args->count - EI_BYTES;
        search_columns(args, x + first, flip, first);
    }
    return 1;
}

void ei_argmax_s8_neon(const ei_argmax_args *args) {
    if (!search_all(args, 0)) {
        ei_argmax_s8_scalar(args);
    }
}

void ei_argmax_u8_neon(const ei_argmax_args *args) {
    if (!search_all(args, 0x80)) {
        ei_argmax_u8_scalar(args);
    }
}
