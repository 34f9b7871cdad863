// vpdpbusd on registers of 64 bytes from planes of four interleaved rows, as x + 128: four planes, a
// register of which is four lanes of four channels, and four registers of sums per unit of 64.
//
// A 3x3 kernel takes 12 multiplications for 64 outputs; requantising and packing them takes 18
// instructions more, and the planes 6 (two output rows share their 12). Two such instructions can
// start in a cycle: 18 cycles are what one can hope for.
#include <immintrin.h>
#include <string.h>

#include "kernels/depthwise_conv2d_s8_s8c/depthwise_conv2d_s8_s8c_planes.h"
#include "kernels/packed_tile.h"
#include "kernels/requantize_avx512.h"
#include "kernels/unroll.h"

enum {
    UNIT = 64,
    PLANES = 4,
    QUAD_BYTES = UNIT * 4, // weights of four taps for a unit
    UNITS = 4              // computed at once by kernels of any size
};

/// acc += x . w, x being unsigned.
EI_ALWAYS_INLINE void add_products(__m512i *acc, __m512i x, __m512i w) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(*acc) : "v"(x), "v"(w)); // as in packed_gemm
}

// --- weights

/// Dwords of a block's channels, in order, to registers of phase `phase`: register i has in lane j those
/// of flat bytes 16 * j + 4 * i + 0 .. 3.
static void deal_out(void *to, const uint8_t *channels, int32_t width, int32_t phase) {
    if (width == UNIT) {
        const __m512i a = _mm512_loadu_si512(channels), b = _mm512_loadu_si512(channels + 64);
        const __m512i c = _mm512_loadu_si512(channels + 128),
                      d = _mm512_loadu_si512(channels + 192);
        const __m512i ab_low = _mm512_shuffle_i64x2(a, b, 0x44);
        const __m512i ab_high = _mm512_shuffle_i64x2(a, b, 0xee);
        const __m512i cd_low = _mm512_shuffle_i64x2(c, d, 0x44);
        const __m512i cd_high = _mm512_shuffle_i64x2(c, d, 0xee);
        __m512i *out = to;
        out[0] = _mm512_shuffle_i64x2(ab_low, cd_low, 0x88);
        out[1] = _mm512_shuffle_i64x2(ab_low, cd_low, 0xdd);
        out[2] = _mm512_shuffle_i64x2(ab_high, cd_high, 0x88);
        out[3] = _mm512_shuffle_i64x2(ab_high, cd_high, 0xdd);
        return;
    }
    uint8_t *out = to;
    int32_t channel = phase * UNIT % width;
    for (int32_t four = 0; four < UNIT / 4; four++) {
        memcpy(out + four % PLANES * UNIT + four / PLANES * 16, channels + 4 * channel, 16);
        channel = channel + 4 < width ? channel + 4 : 0;
    }
}

/// The four taps of a quad as dwords, of a block's channels.
static void gather_taps(uint8_t *out, const ei_depthwise_quad *quad, const int8_t *weights,
                        size_t tiles, size_t tile_bytes) {
    const __m512i dwords =
        _mm512_broadcast_i32x4(_mm_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c));
    __m512i shuffle[4];
    EI_UNROLL
    for (int i = 0; i < 4; i++) {
        shuffle[i] = _mm512_or_si512(_mm512_set1_epi32((int)quad->shuffle[i]), dwords);
    }
    for (size_t tile = 0; tile < tiles; tile++) {
        __m512i taps = _mm512_setzero_si512();
        EI_UNROLL
        for (int i = 0; i < 4; i++) {
            const __m512i group = _mm512_loadu_si512(weights + quad->from[i]);
            taps = _mm512_or_si512(taps, _mm512_shuffle_epi8(group, shuffle[i]));
        }
        _mm512_storeu_si512(out + tile * EI_TILE_BYTES, taps);
        weights += tile_bytes;
    }
}

/// Weights for output rows that begin `shift` rows into a group.
static void shift_taps(__m512i *out, const __m512i *taps, int32_t fours, int32_t kernel_w,
                       int32_t shift) {
    const __m128i left = _mm_cvtsi32_si128(8 * shift), right = _mm_cvtsi32_si128(32 - 8 * shift);
    const int32_t row = kernel_w * PLANES;
    for (int32_t i = 0; i < fours * row; i++) {
        __m512i moved = _mm512_sll_epi32(taps[i], left);
        if (i >= row) {
            moved = _mm512_or_si512(moved, _mm512_srl_epi32(taps[i - row], right));
        }
        out[i] = moved;
    }
}

static void prepare(ei_depthwise_block *block) {
    const ei_depthwise_conv2d_s8_s8c_args *args = block->args;
    const ei_window *w = &args->window;
    const size_t tile_bytes = ei_segment_bytes((size_t)w->kernel_h * (size_t)w->kernel_w);
    const size_t tiles = (size_t)(block->count + EI_TILE_CHANNELS - 1) / EI_TILE_CHANNELS;
    const size_t first = (size_t)block->first;
    const int8_t *weights = args->weights + first / EI_TILE_CHANNELS * tile_bytes;
    const int32_t quads = block->fours * w->kernel_w;
    // Scratch has room for all of a pixel's channels, those too that do not exist.
    const size_t channels_bytes = ((size_t)block->width + 15) / 16 * EI_TILE_BYTES;
    uint8_t *bias = block->planes;
    uint8_t *multipliers = bias + channels_bytes;
    uint8_t *taps = multipliers + channels_bytes;
    __m512 largest = _mm512_setzero_ps();
    for (size_t tile = 0; tile < tiles; tile++) {
        const size_t at = tile * EI_TILE_CHANNELS;
        __m512i sum = _mm512_setzero_si512();
        for (size_t i = 0; i < tile_bytes; i += EI_TILE_BYTES) {
            add_products(&sum, _mm512_set1_epi8((char)128),
                         _mm512_loadu_si512(weights + tile * tile_bytes + i));
        }
        sum = _mm512_sub_epi32(_mm512_loadu_si512(args->bias + first + at), sum);
        _mm512_storeu_si512(bias + at * sizeof(int32_t), sum);
        const __m512 multiplier = _mm512_loadu_ps(args->multiplier + first + at);
        _mm512_storeu_ps(multipliers + at * sizeof(float), multiplier);
        largest = _mm512_max_ps(largest, _mm512_abs_ps(multiplier));
    }
    block->large_multipliers = _mm512_cmp_ps_mask(largest, _mm512_set1_ps(1.0f), _CMP_GE_OQ) != 0;
    for (int32_t quad = 0; quad < quads; quad++) {
        gather_taps(taps + (size_t)quad * channels_bytes, &block->quads[quad], weights, tiles,
                    tile_bytes);
    }
    uint8_t *table = block->table;
    for (int32_t phase = 0; phase < block->phases; phase++) {
        deal_out(block->constants[phase].bias, bias, block->width, phase);
        deal_out(block->constants[phase].multiplier, multipliers, block->width, phase);
        const __m512i *unshifted = (const __m512i *)(const void *)table;
        for (int32_t quad = 0; quad < quads; quad++) {
            deal_out(table, taps + (size_t)quad * channels_bytes, block->width, phase);
            table += QUAD_BYTES;
        }
        for (int32_t i = block->shift_step; i < block->spacing; i += block->shift_step) {
            shift_taps((__m512i *)(void *)table, unshifted, block->fours, w->kernel_w, i);
            table += (size_t)quads * QUAD_BYTES;
        }
    }
}

// --- planes

EI_ALWAYS_INLINE void interleave_unit(uint8_t *out, const ei_depthwise_block *block,
                                      const __m512i x[4]) {
    const size_t pitch = block->pitch;
    const __m512i sign = _mm512_set1_epi8((char)128);
    const __m512i a = _mm512_xor_si512(x[0], sign), b = _mm512_xor_si512(x[1], sign);
    const __m512i c = _mm512_xor_si512(x[2], sign), d = _mm512_xor_si512(x[3], sign);
    const __m512i ab_low = _mm512_unpacklo_epi8(a, b), ab_high = _mm512_unpackhi_epi8(a, b);
    const __m512i cd_low = _mm512_unpacklo_epi8(c, d), cd_high = _mm512_unpackhi_epi8(c, d);
    const __m512i planes[PLANES] = {
        _mm512_unpacklo_epi16(ab_low, cd_low), _mm512_unpackhi_epi16(ab_low, cd_low),
        _mm512_unpacklo_epi16(ab_high, cd_high), _mm512_unpackhi_epi16(ab_high, cd_high)};
    EI_UNROLL
    for (int i = 0; i < PLANES; i++) {
        _mm512_storeu_si512(out, planes[i]);
        out += pitch;
    }
    if (block->rotated) {
        _mm512_storeu_si512(out - 16, planes[0]);
        _mm512_storeu_si512(out + pitch - 16, planes[1]);
    }
}

/// Units of pixels whose output channels share input channels.
static void interleave_shared(const ei_depthwise_block *block, uint8_t *out,
                              const int8_t *const rows[4], int64_t pixels, size_t step) {
    const __m128i zero = _mm_set1_epi8(block->args->zero == NULL ? 0 : block->args->zero[0]);
    const __m512i order = _mm512_load_si512(block->lane_channels);
    size_t offset[4];
    __mmask16 mask[4];
    for (int i = 0; i < 4; i++) {
        const ei_depthwise_lane *lane = &block->lanes[i];
        offset[i] = (size_t)lane->pixel * step + (size_t)lane->in_first;
        mask[i] = (__mmask16)((UINT32_C(1) << lane->in_count) - 1);
    }
    for (; pixels > 0; pixels -= block->period) {
        for (int i = 0; pixels < block->period && i < 4; i++) {
            mask[i] = block->lanes[i].pixel < pixels ? mask[i] : 0;
        }
        __m512i x[4];
        EI_UNROLL
        for (int row = 0; row < 4; row++) {
            const int8_t *at = rows[row];
            __m512i unit =
                _mm512_castsi128_si512(_mm_mask_loadu_epi8(zero, mask[0], at + offset[0]));
            unit = _mm512_inserti32x4(unit, _mm_mask_loadu_epi8(zero, mask[1], at + offset[1]), 1);
            unit = _mm512_inserti32x4(unit, _mm_mask_loadu_epi8(zero, mask[2], at + offset[2]), 2);
            unit = _mm512_inserti32x4(unit, _mm_mask_loadu_epi8(zero, mask[3], at + offset[3]), 3);
            x[row] = _mm512_shuffle_epi8(unit, order);
        }
        interleave_unit(out, block, x);
        out += UNIT;
        for (int i = 0; i < 4; i++) {
            offset[i] += (size_t)block->period * step;
        }
    }
}

/// Fills four rows of a unit whose pixels are all in the image.
EI_ALWAYS_INLINE void load_lanes(__m512i x[4], const int8_t *const rows[4], size_t from,
                                 const ei_depthwise_eight *eights) {
    EI_UNROLL
    for (int row = 0; row < 4; row++) {
        const int8_t *at = rows[row] + from;
        __asm__("" : "+r"(at)); // addresses are not to be computed in vectors
        const __m128i lane0 = _mm_loadu_si128((const __m128i *)(const void *)(at + eights[0].from));
        const __m128i lane1 = _mm_loadu_si128((const __m128i *)(const void *)(at + eights[2].from));
        const __m128i lane2 = _mm_loadu_si128((const __m128i *)(const void *)(at + eights[4].from));
        const __m128i lane3 = _mm_loadu_si128((const __m128i *)(const void *)(at + eights[6].from));
        __m512i unit = _mm512_inserti32x4(_mm512_castsi128_si512(lane0), lane1, 1);
        unit = _mm512_inserti32x4(unit, lane2, 2);
        x[row] = _mm512_inserti32x4(unit, lane3, 3);
    }
}

/// Units of several pieces.
static void interleave_pieces(const ei_depthwise_block *block, uint8_t *out,
                              const int8_t *const rows[4], int64_t pixels, size_t step) {
    const __m512i zero = _mm512_set1_epi8(block->args->zero == NULL ? 0 : block->args->zero[0]);
    const int full = block->count == block->width;
    const int in_lanes = full && block->width % 16 == 0;
    // 8, 16 or 32 channels at stride 2: a unit is within 128 bytes, up to its next pixel.
    const int in_two = full && block->phases == 1 && block->eights[0][7].from < 2 * UNIT;
    uint64_t offsets[8];
    for (int i = 0; i < 8; i++) {
        offsets[i] = block->eights[0][i].from / 8;
    }
    const __m512i order = _mm512_loadu_si512(offsets);
    size_t from = 0;
    for (; pixels > 0; pixels -= block->period) {
        for (int32_t phase = 0; phase < block->phases; phase++) {
            const ei_depthwise_piece *piece = block->pieces[phase];
            if (piece->pixel >= pixels) {
                break; // beyond the image
            }
            __m512i x[4] = {zero, zero, zero, zero};
            if (piece->count == UNIT) {
                EI_UNROLL
                for (int row = 0; row < 4; row++) {
                    x[row] = _mm512_loadu_si512(rows[row] + from + piece->from);
                }
            } else if (in_two && pixels > block->period) {
                EI_UNROLL
                for (int row = 0; row < 4; row++) {
                    x[row] = _mm512_permutex2var_epi64(_mm512_loadu_si512(rows[row] + from), order,
                                                       _mm512_loadu_si512(rows[row] + from + UNIT));
                }
            } else if (in_lanes && block->eights[phase][7].pixel < pixels) {
                load_lanes(x, rows, from, block->eights[phase]);
            } else {
                for (int32_t i = 0; i < block->piece_count[phase] && piece->pixel < pixels; i++) {
                    const size_t at =
                        from + piece->from - (size_t)piece->at; // what is masked is not read
                    EI_UNROLL
                    for (int row = 0; row < 4; row++) {
                        x[row] =
                            _mm512_mask_loadu_epi8(x[row], piece->mask, rows[row] + (ptrdiff_t)at);
                    }
                    piece++;
                }
            }
            interleave_unit(out, block, x);
            out += UNIT;
        }
        from += (size_t)block->period * step;
    }
}

/// `bytes` flat bytes of whole units, the last one excepted.
static void interleave_plain(const ei_depthwise_block *block, uint8_t *out,
                             const int8_t *const rows[4], size_t bytes) {
    const size_t step = block->in_step;
    size_t from = 0;
    for (; bytes >= UNIT; bytes -= UNIT) {
        const __m512i x[4] = {
            _mm512_loadu_si512(rows[0] + from), _mm512_loadu_si512(rows[1] + from),
            _mm512_loadu_si512(rows[2] + from), _mm512_loadu_si512(rows[3] + from)};
        interleave_unit(out, block, x);
        out += UNIT;
        from += step;
    }
    if (bytes > 0) {
        const __m512i zero = _mm512_set1_epi8(block->args->zero == NULL ? 0 : block->args->zero[0]);
        const __mmask64 mask = UINT64_MAX >> (UNIT - bytes);
        const __m512i x[4] = {_mm512_mask_loadu_epi8(zero, mask, rows[0] + from),
                              _mm512_mask_loadu_epi8(zero, mask, rows[1] + from),
                              _mm512_mask_loadu_epi8(zero, mask, rows[2] + from),
                              _mm512_mask_loadu_epi8(zero, mask, rows[3] + from)};
        interleave_unit(out, block, x);
    }
}

static void interleave(const ei_depthwise_block *block, uint8_t *planes,
                       const int8_t *const rows[4]) {
    const ei_window *w = &block->args->window;
    const int shared = block->args->multiplicity > 1;
    const size_t step = (size_t)w->stride_w * (size_t)w->in_c;
    for (int32_t i = 0; i < block->span_count; i++) {
        const ei_depthwise_span *span = &block->spans[i];
        const size_t offset = span->from + (shared ? 0 : (size_t)block->first);
        const int8_t *from[4];
        for (int row = 0; row < 4; row++) {
            from[row] = rows[row] + offset;
        }
        uint8_t *to = planes + span->to;
        if (shared) {
            interleave_shared(block, to, from, span->columns, step);
        } else if (block->plain_in) {
            interleave_plain(block, to, from, (size_t)span->columns * (size_t)block->width);
        } else {
            interleave_pieces(block, to, from, span->columns, step);
        }
    }
}

// --- products

typedef struct ei_depthwise_row {
    const ei_depthwise_block *block;
    const uint8_t *const *groups;
    int8_t *y;
    int64_t pixels;
    size_t bytes; // flat ones
} ei_depthwise_row;

/// Requantises and stores a unit: that of `phase` in period `period`.
EI_ALWAYS_INLINE void finish(const ei_depthwise_row *row, size_t phase, size_t period,
                             const __m512i acc[PLANES]) {
    const ei_depthwise_block *block = row->block;
    const ei_requant_avx512 requant = ei_requant_avx512_of(&block->args->requant);
    const float *multiplier = block->constants[phase].multiplier;
    __m512i scaled[PLANES];
    EI_UNROLL
    for (int i = 0; i < PLANES; i++) {
        scaled[i] = ei_scale_avx512(acc[i], _mm512_load_ps(multiplier + 16 * i), &requant);
    }
    const __m512i bytes = ei_pack_avx512(scaled[0], scaled[1], scaled[2], scaled[3], &requant);
    if (block->plain_out) {
        const size_t unit = phase + period * (size_t)block->phases;
        const size_t left = row->bytes - unit * UNIT;
        const __mmask64 mask = left < UNIT ? UINT64_MAX >> (UNIT - left) : UINT64_MAX;
        _mm512_mask_storeu_epi8(row->y + unit * block->out_step, mask, bytes);
        return;
    }
    const int64_t first = (int64_t)period * block->period;
    int8_t *y = row->y + (size_t)first * (size_t)block->args->window.out_c;
    const ei_depthwise_piece *piece = block->pieces[phase];
    for (int32_t i = 0; i < block->piece_count[phase] && first + piece->pixel < row->pixels; i++) {
        _mm512_mask_storeu_epi8(y + (ptrdiff_t)(piece->to - (size_t)piece->at), piece->mask, bytes);
        piece++;
    }
}

/// `count` whole units of a phase with three quads of weights, which stay in registers. Sums times less
/// than 1 fit int32, and what the packs saturate needs no other clamp.
static __attribute__((noinline)) void multiply_three(const ei_depthwise_row *row, size_t phase,
                                                     size_t count, const __m512i *w) {
    const ei_depthwise_block *block = row->block;
    const ei_depthwise_constants *constants = &block->constants[phase];
    const size_t pitch = block->pitch, step = (size_t)block->phases * UNIT;
    const size_t y_step = block->out_step * (size_t)block->phases;
    const ei_requant_avx512 requant = ei_requant_avx512_of(&block->args->requant);
    const uint8_t *taps[3];
    __m512i weights[3][PLANES];
    EI_UNROLL
    for (int kx = 0; kx < 3; kx++) {
        taps[kx] = row->groups[0] + block->offsets[kx] + phase * UNIT;
        EI_UNROLL
        for (int i = 0; i < PLANES; i++) {
            weights[kx][i] = w[kx * PLANES + i];
        }
    }
    int8_t *y = row->y + phase * block->out_step;
    for (; count > 0; count--) {
        __m512i acc[PLANES];
        EI_UNROLL
        for (int i = 0; i < PLANES; i++) {
            acc[i] = _mm512_load_si512(constants->bias + 16 * i); // few registers are left
        }
        EI_UNROLL
        for (int kx = 0; kx < 3; kx++) {
            EI_UNROLL
            for (int i = 0; i < PLANES; i++) {
                const __m512i x = _mm512_loadu_si512(taps[kx] + (size_t)i * pitch);
                add_products(&acc[i], x, weights[kx][i]);
            }
            taps[kx] += step;
        }
        EI_UNROLL
        for (int i = 0; i < PLANES; i++) {
            acc[i] =
                ei_scale_below_one_avx512(acc[i], _mm512_load_ps(constants->multiplier + 16 * i));
        }
        _mm512_storeu_si512(y, ei_pack_clamp_avx512(acc[0], acc[1], acc[2], acc[3], &requant));
        y += y_step;
    }
}

/// COUNT units of a phase, of any kind, from period `period` on.
EI_ALWAYS_INLINE void multiply_any(const ei_depthwise_row *row, size_t phase, size_t period,
                                   const __m512i *w, const int COUNT) {
    const ei_depthwise_block *block = row->block;
    const ei_depthwise_constants *constants = &block->constants[phase];
    const size_t pitch = block->pitch, step = (size_t)block->phases * UNIT;
    const size_t offset = phase * UNIT + period * step;
    __m512i acc[UNITS][PLANES];
    EI_UNROLL
    for (int i = 0; i < PLANES; i++) {
        EI_UNROLL
        for (int u = 0; u < COUNT; u++) {
            acc[u][i] = _mm512_load_si512(constants->bias + 16 * i);
        }
    }
    for (int32_t four = 0; four < block->fours; four++) {
        const uint8_t *planes = row->groups[four] + offset;
        for (int32_t kx = 0; kx < block->args->window.kernel_w; kx++) {
            const uint8_t *plane = planes + block->offsets[kx];
            EI_UNROLL
            for (int i = 0; i < PLANES; i++) {
                const uint8_t *x = plane;
                const __m512i weights = *w++;
                EI_UNROLL
                for (int u = 0; u < COUNT; u++) {
                    add_products(&acc[u][i], _mm512_loadu_si512(x), weights);
                    x += step;
                }
                plane += pitch;
            }
        }
    }
    EI_UNROLL
    for (int u = 0; u < COUNT; u++) {
        finish(row, phase, period + (size_t)u, acc[u]);
    }
}

static void multiply(const ei_depthwise_block *block, const uint8_t *const *groups, int32_t shift,
                     int8_t *y, int64_t columns) {
    const ei_window *w = &block->args->window;
    const ei_depthwise_row row = {
        .block = block,
        .groups = groups,
        .y = y,
        .pixels = columns,
        .bytes = (size_t)columns * (size_t)block->width,
    };
    const size_t phases = (size_t)block->phases;
    const size_t units = (row.bytes + UNIT - 1) / UNIT;
    const size_t quads = (size_t)block->fours * (size_t)w->kernel_w;
    const size_t shifts = (size_t)block->shifts;
    const int three =
        block->fours == 1 && w->kernel_w == 3 && block->plain_out && !block->large_multipliers;
    const __m512i *weights =
        (const __m512i *)(const void *)block->table + (size_t)shift * quads * PLANES;
    size_t periods = phases == 1 ? units : units / phases;
    size_t more = units - periods * phases; // phases that have a unit more
    const size_t last = three && row.bytes % UNIT != 0 ? (more + phases - 1) % phases : phases;
    for (size_t phase = 0; phase < phases; phase++) {
        const size_t count = periods + (phase < more);
        size_t period = 0;
        if (three) {
            period = count - (phase == last); // the last unit of all is short
            multiply_three(&row, phase, period, weights);
        }
        for (; period + UNITS <= count; period += UNITS) {
            multiply_any(&row, phase, period, weights, UNITS);
        }
        for (; period < count; period++) {
            multiply_any(&row, phase, period, weights, 1);
        }
        weights += shifts * quads * PLANES;
    }
}

static const ei_depthwise_tier tier = {.unit = UNIT,
                                       .deal = PLANES,
                                       .value_bytes = 1,
                                       .prepare = prepare,
                                       .interleave = interleave,
                                       .multiply = multiply};

void ei_depthwise_conv2d_s8_s8c_avx512vnni(const ei_depthwise_conv2d_s8_s8c_args *args,
                                           uint32_t begin, uint32_t end) {
    ei_depthwise_conv2d_s8_s8c_by_planes(&tier, args, begin, end);
}
