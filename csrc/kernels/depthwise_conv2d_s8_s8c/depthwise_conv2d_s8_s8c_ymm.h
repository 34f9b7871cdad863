/// The tiers of 32-byte registers, avx2 and avxvnni: a unit is 32 flat bytes and four registers of sums.
/// The file of a tier defines, before it includes this:
///
///     VALUE_BYTES, DEAL              as in ei_depthwise_tier
///     interleave_unit(out, block, x) four rows' 32 bytes to planes
///     add_quad(acc, x, step, pitch, w, COUNT)
///                                    four registers of sums += those of a tap's planes times
///                                    weights, for COUNT units
///     place_of(chunk)                where in sums the chunk'th four flat bytes are: bytes
///     deal_quad(table, chunk, taps)  the weights of these four, 16 bytes of them
///     in_order(bytes)                what packing sums has left to be done
///     start_of(bias, w, bytes)       the bias that sums of 8 channels start from; w is half of a tile
#include <string.h>

#include "kernels/packed_tile.h"
#include "kernels/requantize_avx2.h"

enum { UNIT = 32, CHUNKS = UNIT / 4, SUMS = 4, QUAD_BYTES = UNIT * 4 * VALUE_BYTES };

static inline __m256i load(const void *from) {
    return _mm256_loadu_si256((const __m256i *)from);
}

static inline void store(void *to, __m256i value) {
    _mm256_storeu_si256((__m256i *)to, value);
}

static inline void copy_bytes(uint8_t *to, const uint8_t *from, int32_t count) {
    for (; count >= 8; count -= 8) {
        memcpy(to, from, 8);
        to += 8;
        from += 8;
    }
    for (; count > 0; count--) {
        *to++ = *from++;
    }
}

// --- weights

/// The four taps of a quad as dwords, of a block's channels.
static void gather_taps(uint8_t *out, const ei_depthwise_quad *quad, const int8_t *weights,
                        size_t tiles, size_t tile_bytes) {
    const __m256i dwords = _mm256_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c, //
                                             0, 0x04040404, 0x08080808, 0x0c0c0c0c);
    for (size_t half = 0; half < 2 * tiles; half++) {
        const int8_t *w = weights + half / 2 * tile_bytes + half % 2 * UNIT;
        __m256i taps = _mm256_setzero_si256();
        for (int i = 0; i < 4; i++) {
            const __m256i shuffle =
                _mm256_or_si256(_mm256_set1_epi32((int)quad->shuffle[i]), dwords);
            taps = _mm256_or_si256(taps, _mm256_shuffle_epi8(load(w + quad->from[i]), shuffle));
        }
        store(out + half * UNIT, taps);
    }
}

/// Moves the taps of all quads down by a row.
static void shift_taps(uint8_t *taps, int32_t fours, size_t row_bytes) {
    for (int32_t four = fours - 1; four >= 0; four--) {
        uint8_t *to = taps + (size_t)four * row_bytes;
        for (size_t i = 0; i < row_bytes; i += UNIT) {
            __m256i moved = _mm256_slli_epi32(load(to + i), 8);
            if (four > 0) {
                moved = _mm256_or_si256(moved, _mm256_srli_epi32(load(to + i - row_bytes), 24));
            }
            store(to + i, moved);
        }
    }
}

static void prepare(ei_depthwise_block *block) {
    const ei_depthwise_conv2d_s8_s8c_args *args = block->args;
    const ei_window *w = &args->window;
    const size_t tile_bytes = ei_segment_bytes((size_t)w->kernel_h * (size_t)w->kernel_w);
    const size_t tiles = (size_t)(block->count + EI_TILE_CHANNELS - 1) / EI_TILE_CHANNELS;
    const size_t first = (size_t)block->first;
    const int8_t *weights = args->weights + first / EI_TILE_CHANNELS * tile_bytes;
    const size_t quads = (size_t)block->fours * (size_t)w->kernel_w;
    const size_t channels_bytes = tiles * EI_TILE_BYTES;
    const uint8_t *multiplier = (const uint8_t *)(args->multiplier + first);
    uint8_t *bias = block->planes;
    uint8_t *taps = bias + channels_bytes;
    for (size_t half = 0; half < 2 * tiles; half++) {
        store(bias + half * UNIT,
              start_of(args->bias + first + 8 * half,
                       weights + half / 2 * tile_bytes + half % 2 * UNIT, tile_bytes));
    }
    for (size_t quad = 0; quad < quads; quad++) {
        gather_taps(taps + quad * channels_bytes, &block->quads[quad], weights, tiles, tile_bytes);
    }
    const int32_t shifts = block->shifts;
    const size_t shift_bytes = quads * QUAD_BYTES;
    const size_t phase_bytes = (size_t)shifts * shift_bytes;
    for (int32_t shift = 0; shift < shifts; shift++) {
        int32_t channel = 0;
        for (int32_t phase = 0; phase < block->phases; phase++) {
            ei_depthwise_constants *constants = &block->constants[phase];
            uint8_t *table =
                block->table + (size_t)phase * phase_bytes + (size_t)shift * shift_bytes;
            for (size_t chunk = 0; chunk < CHUNKS; chunk++) {
                const size_t at = 4 * (size_t)channel;
                // Pixels of padded channels may be wider than their tiles.
                const int exists = at + 16 <= channels_bytes;
                memcpy((uint8_t *)constants->bias + place_of(chunk), bias + (exists ? at : 0), 16);
                memcpy((uint8_t *)constants->multiplier + place_of(chunk),
                       multiplier + (exists ? at : 0), 16);
                for (size_t quad = 0; quad < quads; quad++) {
                    deal_quad(table + quad * QUAD_BYTES, chunk,
                              taps + quad * channels_bytes + (exists ? at : 0));
                }
                channel = channel + 4 < block->width ? channel + 4 : 0;
            }
        }
        for (int32_t i = 0; i < block->shift_step; i++) {
            shift_taps(taps, block->fours, (size_t)w->kernel_w * channels_bytes);
        }
    }
}

// --- planes

/// A row's bytes of a unit. `pixels` are left in the image from its period on.
static __m256i load_pieces(const ei_depthwise_block *block, int32_t phase, const int8_t *row,
                           int64_t pixels, int8_t zero) {
    const ei_depthwise_piece *piece = block->pieces[phase];
    if (block->width == block->count && block->eights[phase][UNIT / 8 - 1].pixel < pixels) {
        if (piece->count == UNIT) {
            return load(row + piece->from);
        }
        int64_t eights[UNIT / 8];
        EI_UNROLL
        for (int i = 0; i < UNIT / 8; i++) {
            memcpy(&eights[i], row + block->eights[phase][i].from, 8);
        }
        return _mm256_setr_epi64x(eights[0], eights[1], eights[2], eights[3]);
    }
    uint8_t unit[UNIT];
    memset(unit, zero, UNIT);
    for (int32_t i = 0; i < block->piece_count[phase] && piece->pixel < pixels; i++) {
        copy_bytes(unit + piece->at, (const uint8_t *)row + piece->from, piece->count);
        piece++;
    }
    return load(unit);
}

/// The same where output channels share input channels.
static __m256i load_shared(const ei_depthwise_block *block, const int8_t *row, int64_t pixels,
                           size_t step, int8_t zero) {
    int8_t unit[UNIT];
    for (int32_t i = 0; i < UNIT; i++) {
        const ei_depthwise_lane *lane = &block->lanes[i / 16];
        const int exists = lane->pixel < pixels && lane->in_count > 0;
        const size_t pixel = (size_t)lane->pixel * step;
        unit[i] = exists ? row[pixel + (size_t)lane->in_first + block->lane_channels[i]] : zero;
    }
    return load(unit);
}

static void interleave(const ei_depthwise_block *block, uint8_t *planes,
                       const int8_t *const rows[4]) {
    const ei_depthwise_conv2d_s8_s8c_args *args = block->args;
    const ei_window *w = &args->window;
    const int shared = args->multiplicity > 1;
    const int8_t zero = (int8_t)(args->zero == NULL ? 0 : args->zero[0]);
    const size_t step = (size_t)w->stride_w * (size_t)w->in_c;
    for (int32_t i = 0; i < block->span_count; i++) {
        const ei_depthwise_span *span = &block->spans[i];
        size_t from = span->from + (shared ? 0 : (size_t)block->first);
        uint8_t *to = planes + span->to * VALUE_BYTES;
        int64_t bytes = span->columns * block->width;
        if (block->plain_in) {
            for (; bytes >= UNIT; bytes -= UNIT) {
                const __m256i x[4] = {load(rows[0] + from), load(rows[1] + from),
                                      load(rows[2] + from), load(rows[3] + from)};
                interleave_unit(to, block, x);
                to += UNIT * VALUE_BYTES;
                from += block->in_step;
            }
            if (bytes > 0) {
                __m256i x[4];
                for (int row = 0; row < 4; row++) {
                    uint8_t unit[UNIT];
                    memset(unit, zero, UNIT);
                    copy_bytes(unit, (const uint8_t *)rows[row] + from, (int32_t)bytes);
                    x[row] = load(unit);
                }
                interleave_unit(to, block, x);
            }
            continue;
        }
        for (int64_t pixels = span->columns; pixels > 0; pixels -= block->period) {
            for (int32_t phase = 0; phase < block->phases; phase++) {
                if (block->pieces[phase]->pixel >= pixels) {
                    break; // beyond the image
                }
                __m256i x[4];
                for (int row = 0; row < 4; row++) {
                    x[row] = shared ? load_shared(block, rows[row] + from, pixels, step, zero)
                                    : load_pieces(block, phase, rows[row] + from, pixels, zero);
                }
                interleave_unit(to, block, x);
                to += UNIT * VALUE_BYTES;
            }
            from += (size_t)block->period * step;
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
                             const __m256i acc[SUMS]) {
    const ei_depthwise_block *block = row->block;
    const ei_requant_avx2 q = ei_requant_avx2_of(&block->args->requant);
    const float *multiplier = block->constants[phase].multiplier;
    __m256i scaled[SUMS];
    EI_UNROLL
    for (int i = 0; i < SUMS; i++) {
        scaled[i] = ei_scale_avx2(acc[i], _mm256_load_ps(multiplier + 8 * i), &q);
    }
    const __m256i low = _mm256_adds_epi16(_mm256_packs_epi32(scaled[0], scaled[1]), q.zero_point);
    const __m256i high = _mm256_adds_epi16(_mm256_packs_epi32(scaled[2], scaled[3]), q.zero_point);
    const __m256i bytes = in_order(_mm256_max_epi8(_mm256_packs_epi16(low, high), q.low));
    const size_t unit = phase + period * (size_t)block->phases;
    const size_t left = row->bytes - unit * UNIT;
    int8_t *y = row->y + unit * block->out_step;
    if (block->plain_out && left >= UNIT) {
        store(y, bytes);
        return;
    }
    uint8_t all[UNIT];
    store(all, bytes);
    if (block->plain_out) {
        copy_bytes((uint8_t *)y, all, (int32_t)left);
        return;
    }
    const int64_t first = (int64_t)period * block->period;
    y = row->y + (size_t)first * (size_t)block->args->window.out_c;
    const ei_depthwise_piece *piece = block->pieces[phase];
    for (int32_t i = 0; i < block->piece_count[phase] && first + piece->pixel < row->pixels; i++) {
        copy_bytes((uint8_t *)y + piece->to, all + piece->at, piece->count);
        piece++;
    }
}

/// COUNT units of a phase from period `period` on.
EI_ALWAYS_INLINE void multiply_units(const ei_depthwise_row *row, size_t phase, size_t period,
                                     const uint8_t *w, const int COUNT) {
    const ei_depthwise_block *block = row->block;
    const ei_depthwise_constants *constants = &block->constants[phase];
    const size_t pitch = block->pitch, step = (size_t)block->phases * UNIT * VALUE_BYTES;
    const size_t offset = phase * UNIT * VALUE_BYTES + period * step;
    __m256i acc[2][SUMS];
    EI_UNROLL
    for (int u = 0; u < COUNT; u++) {
        EI_UNROLL
        for (int i = 0; i < SUMS; i++) {
            acc[u][i] = load(constants->bias + 8 * i);
        }
    }
    for (int32_t four = 0; four < block->fours; four++) {
        const uint8_t *planes = row->groups[four] + offset;
        for (int32_t kx = 0; kx < block->args->window.kernel_w; kx++) {
            const uint8_t *x = planes + block->offsets[kx];
            add_quad(acc, x, step, pitch, w, COUNT);
            w += QUAD_BYTES;
        }
    }
    EI_UNROLL
    for (int u = 0; u < COUNT; u++) {
        finish(row, phase, period + (size_t)u, acc[u]);
    }
}

static void multiply(const ei_depthwise_block *block, const uint8_t *const *groups, int32_t shift,
                     int8_t *y, int64_t columns) {
    const ei_depthwise_row row = {
        .block = block,
        .groups = groups,
        .y = y,
        .pixels = columns,
        .bytes = (size_t)columns * (size_t)block->width,
    };
    const size_t phases = (size_t)block->phases;
    const size_t units = (row.bytes + UNIT - 1) / UNIT;
    const size_t quads = (size_t)block->fours * (size_t)block->args->window.kernel_w;
    const size_t shifts = (size_t)block->shifts;
    const uint8_t *w = block->table + (size_t)shift * quads * QUAD_BYTES;
    for (size_t phase = 0; phase < phases; phase++) {
        size_t period = 0, unit = phase;
        for (; unit + phases < units; unit += 2 * phases) {
            multiply_units(&row, phase, period, w, 2);
            period += 2;
        }
        if (unit < units) {
            multiply_units(&row, phase, period, w, 1);
        }
        w += shifts * quads * QUAD_BYTES;
    }
}

static const ei_depthwise_tier tier = {.unit = UNIT,
                                       .deal = DEAL,
                                       .value_bytes = VALUE_BYTES,
                                       .prepare = prepare,
                                       .interleave = interleave,
                                       .multiply = multiply};
