// smmla: a matrix of 2 x 8 signed bytes times one of 8 x 2, added to 2 x 2 sums, modulo 2^32. Packed
// weights have four values of 16 channels side by side; those of two groups are zipped to eight
// values of two channels a register, once for all pixels, in a panel:
//
//     group g:      | n0 k0..3 | n1 k0..3 | n2 k0..3 | n3 k0..3 |
//     group g + 1:  | n0 k4..7 | n1 k4..7 | n2 k4..7 | n3 k4..7 |
//     panel:        | n0 k0..7            | n1 k0..7            |  | n2 k0..7 | n3 k0..7 |
//
// Two pixels' eight values are the other operand. Tiles of 6 pixels x 16 channels keep 24 registers
// of sums. Fewer pixels do not pay for the panel: they are left to sdot, which has none, as is
// what finds no room for it.
#define EI_TILE_PIXELS 6
#define EI_TILE_LEAST  3
#define EI_TILE_UNIT   2
#include "kernels/packed_gemm/packed_gemm_arm.h"

enum { STEP_BYTES = 2 * EI_TILE_BYTES, PAIRS = PIXELS / 2 };

#if defined(__clang__)
#define ADD_PRODUCTS(acc, x, w) ((acc) = vmmlaq_s32(acc, x, w))
#else // as in packed_gemm_dotprod.c
#define ADD_PRODUCTS(acc, x, w) __asm__("smmla %0.4s, %1.16b, %2.16b" : "+w"(acc) : "w"(x), "w"(w))
#endif

/// Two groups of 16 channels.
EI_ALWAYS_INLINE void zip_groups(int8_t *panel, const int8_t *w, const int8_t *next) {
    EI_UNROLL
    for (int c = 0; c < QUADS; c++) {
        const int32x4_t first = vreinterpretq_s32_s8(vld1q_s8(w + 16 * c));
        const int32x4_t second = vreinterpretq_s32_s8(vld1q_s8(next + 16 * c));
        vst1q_s8(panel + 32 * c, vreinterpretq_s8_s32(vzip1q_s32(first, second)));
        vst1q_s8(panel + 32 * c + 16, vreinterpretq_s8_s32(vzip2q_s32(first, second)));
    }
}

/// The weights of a tile of channels; an odd last group is zipped with zeros.
static void zip_weights(int8_t *restrict panel, const int8_t *restrict w, size_t segments,
                        size_t groups) {
    static const int8_t zeros[EI_TILE_BYTES];
    for (; segments > 0; segments--) {
        for (size_t pairs = groups / 2; pairs > 0; pairs--) {
            zip_groups(panel, w, w + EI_TILE_BYTES);
            w += 2 * EI_TILE_BYTES;
            panel += STEP_BYTES;
        }
        if (groups % 2 != 0) {
            zip_groups(panel, w, zeros);
            w += EI_TILE_BYTES;
            panel += STEP_BYTES;
        }
    }
}

/// sum[i][j]: pixels 2i and 2i + 1, channels 2j and 2j + 1. The panel's first registers come last, so
/// that their load moves its address on.
EI_ALWAYS_INLINE void add_step(int32x4_t sum[PAIRS][2 * QUADS], const int8x16_t x[PAIRS],
                               const int8_t *w, const int MR, const int NQ) {
    EI_UNROLL
    for (int n = 2; n < 2 * NQ + 2; n++) {
        const int j = n % (2 * NQ);
        const int8x16_t two = vld1q_s8(w + 16 * j);
        EI_UNROLL
        for (int i = 0; i < (MR + 1) / 2; i++) {
            ADD_PRODUCTS(sum[i][j], x[i], two);
        }
    }
}

/// Eight values of two pixels; the second by a load into half a register, which takes no other one.
EI_ALWAYS_INLINE int8x16_t load_eights(const int8_t *a, const int8_t *b) {
    const int64_t *low = (const int64_t *)(const void *)a, *high = (const int64_t *)(const void *)b;
    const int64x2_t first = vcombine_s64(vld1_s64(low), vdup_n_s64(0));
    return vreinterpretq_s8_s64(vld1q_lane_s64(high, first, 1));
}

EI_ALWAYS_INLINE int8x8_t load_four(const int8_t *x) {
    uint32_t four;
    memcpy(&four, x, sizeof four);
    return vcreate_s8(four);
}

/// Two channels' bias, twice, for two pixels.
EI_ALWAYS_INLINE const int32_t *begin_channels(const int32_t *bias,
                                               int32_t room[2 * EI_TILE_CHANNELS]) {
    EI_UNROLL
    for (int j = 0; j < 2 * QUADS; j++) {
        const int32x2_t two = vld1_s32(bias + 2 * j);
        vst1q_s32(room + 4 * j, vcombine_s32(two, two));
    }
    return room;
}

/// requantize() for the sums as smmla leaves them: bytes are put in order, not sums.
EI_ALWAYS_INLINE void requantize_pairs(int8x16_t y[PIXELS], int32x4_t sum[PAIRS][2 * QUADS],
                                       const ei_gemm_tile *tile, const int MR, const int NQ) {
    if (tile->pixel_biases != 0) {
        EI_UNROLL
        for (int i = 0; i < (MR + 1) / 2; i++) {
            const int32_t *two = tile->pixel_bias + 2 * i;
            const int last = 2 * i + 1 < MR ? 1 : 0;
            const int32x4_t bias = vcombine_s32(vdup_n_s32(two[0]), vdup_n_s32(two[last]));
            EI_UNROLL
            for (int j = 0; j < 2 * NQ; j++) {
                sum[i][j] = vaddq_s32(sum[i][j], bias);
            }
        }
    }
    int16x8_t half[PAIRS][QUADS]; // of two pixels 4 channels: two of each, then the other two
    EI_UNROLL
    for (int c = 0; c < NQ; c++) {
        const float32x4_t all = vld1q_f32(tile->multiplier + 4 * c);
        const float32x4_t low = vcombine_f32(vget_low_f32(all), vget_low_f32(all));
        const float32x4_t high = vcombine_f32(vget_high_f32(all), vget_high_f32(all));
        EI_UNROLL
        for (int i = 0; i < (MR + 1) / 2; i++) {
            half[i][c] =
                ei_narrow_neon(ei_scale_neon(sum[i][2 * c], low),
                               ei_scale_neon(sum[i][2 * c + 1], high), tile->requant.zero_point);
        }
    }
    EI_UNROLL
    for (int i = 0; i < (MR + 1) / 2; i++) {
        const int8x16_t low = vcombine_s8(vqmovn_s16(half[i][0]), vqmovn_s16(half[i][1]));
        const int8x16_t high =
            NQ < QUADS ? low : vcombine_s8(vqmovn_s16(half[i][2]), vqmovn_s16(half[i][3]));
        const int16x8_t a = vreinterpretq_s16_s8(low), b = vreinterpretq_s16_s8(high);
        y[2 * i] = vreinterpretq_s8_s16(vuzp1q_s16(a, b));
        if (2 * i + 1 < MR) {
            y[2 * i + 1] = vreinterpretq_s8_s16(vuzp2q_s16(a, b));
        }
    }
}

EI_ALWAYS_INLINE void compute_bytes(int8x16_t y[PIXELS], const ei_gemm_tile *tile, const int MR,
                                    const int NQ) {
    const int8_t *w = tile->weights;
    int32x4_t sum[PAIRS][2 * QUADS];
    const int32_t *start = tile->start;
    EI_UNROLL
    for (int i = 0; i < (MR + 1) / 2; i++) {
        EI_UNROLL
        for (int j = 0; j < 2 * NQ; j++) {
            sum[i][j] = vld1q_s32(start + 4 * j);
        }
        HIDE(start); // two registers are loaded at a time, but copied one by one
    }
    for (size_t s = 0; s < tile->segment_count; s++) {
        const int8_t *x[PIXELS];
        x[0] = (const int8_t *)tile->segments[s] + tile->offset;
        EI_UNROLL
        for (int m = 1; m < PIXELS; m++) {
            x[m] = m < MR ? x[m - 1] + tile->pixel_step : x[m - 1];
            HIDE(x[m]);
        }
        for (size_t pairs = tile->groups / 2; pairs > 0; pairs--) {
            int8x16_t two[PAIRS];
            EI_UNROLL
            for (int i = 0; i < (MR + 1) / 2; i++) {
                two[i] = load_eights(x[2 * i], x[2 * i + 1]);
                x[2 * i] += 2 * EI_TILE_K;
                x[2 * i + 1] += 2 * EI_TILE_K;
                HIDE(x[2 * i]); // so that each is moved on by its load
                HIDE(x[2 * i + 1]);
            }
            add_step(sum, two, w, MR, NQ);
            w += STEP_BYTES;
            HIDE(w);
        }
        if (tile->groups % 2 != 0) {
            int8x16_t two[PAIRS];
            EI_UNROLL
            for (int i = 0; i < (MR + 1) / 2; i++) {
                two[i] = vcombine_s8(load_four(x[2 * i]), load_four(x[2 * i + 1]));
            }
            add_step(sum, two, w, MR, NQ);
            w += STEP_BYTES;
        }
    }
    requantize_pairs(y, sum, tile, MR, NQ);
}

/// Panels for all channels at once where there is room: calls for more pixels find them there.
static void multiply_zipped(const ei_packed_gemm_args *args) {
    int8_t *panel = (int8_t *)args->spare;
    const size_t panel_bytes = args->segment_count * ((args->groups + 1) / 2) * STEP_BYTES;
    const size_t tiles = (args->channels + EI_TILE_CHANNELS - 1) / EI_TILE_CHANNELS;
    const size_t room = args->spare_bytes / panel_bytes;
    if (args->pixels < PIXELS || room == 0) {
        ei_packed_gemm_dotprod.multiply(args);
        return;
    }
    ei_packed_gemm_args some = *args;
    some.weights = panel;
    some.tile_bytes = panel_bytes;
    const size_t at_once = tiles <= room ? tiles : 1;
    const size_t most = at_once * EI_TILE_CHANNELS;
    for (size_t tile = 0; tile < tiles; tile += at_once) {
        const size_t left = args->channels - tile * EI_TILE_CHANNELS;
        some.channels = left < most ? left : most;
        if (!args->spare_kept || tiles > room) {
            for (size_t i = 0; i < at_once; i++) {
                zip_weights(panel + i * panel_bytes, args->weights + (tile + i) * args->tile_bytes,
                            args->segment_count, args->groups);
            }
        }
        multiply(&some);
        some.bias += most;
        some.multiplier += most;
        some.y += most;
    }
}

const ei_packed_gemm ei_packed_gemm_i8mm = {.value_bytes = 1,
                                            .reads_input = 1,
                                            .tile_pixels = PIXELS,
                                            .copy = copy_values,
                                            .bias = copy_bias,
                                            .multiply = multiply_zipped};
