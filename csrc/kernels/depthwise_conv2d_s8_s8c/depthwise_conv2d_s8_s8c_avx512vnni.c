// vpdpbusd on the taps of a kernel's column, four kernel rows at a time.
//
// Channels are computed in blocks of 64, 32 or 16, or all 8. For an output row, three steps:
//
// 1. Every input row that it reads is copied into a flat row: unsigned bytes x + 128, the block's
//    channels only, zero points beside the image, columns ordered by their remainder modulo the
//    stride. Whatever the stride, output column ox then finds tap kx at a flat column ox + offset(kx).
//    Flat rows are kept for the next output row.
// 2. Four flat rows a, b, c, d (kernel rows) are interleaved into four planes. Of each run of 16
//    bytes, one 128-bit lane of a register, plane q has bytes 4q .. 4q + 3:
//
//        plane q, lane i:   a b c d | a b c d | a b c d | a b c d     of bytes 16i + 4q + 0 .. 3
//
//    A lane is 16 channels of a pixel, so that a register of a plane is 1, 2 or 4 pixels. (Tensors
//    of 8 channels have two pixels in a lane; a tap's next column is then two planes further on.)
// 3. Sixteen sums per plane add one register of the plane per kx; packing the four planes' results
//    to bytes puts them in order again.
//
// Weights are permuted to match, once per block and call: 16 bytes per plane and tile of channels.
#include "kernels/depthwise_conv2d_s8_s8c/depthwise_conv2d_s8_s8c.h"

#include <immintrin.h>
#include <string.h>

#include "kernels/packed_tile.h"
#include "kernels/requantize_avx512.h"
#include "kernels/unroll.h"

enum {
    PLANES = 4,
    MOST_TAPS = 64, // kernel_w times kernel_h / 4, rounded up
    MOST_ROWS = 64, // kernel_h
    BUFFER_BYTES = 28 * 1024,
    NO_ROW = -1
};

typedef struct ei_depthwise_block {
    const ei_depthwise_conv2d_s8_s8c_args *args;
    int32_t first, count;                // output channels
    int32_t width;                       // 8, 16, 32 or 64 channels in a flat row
    int32_t fours;                       // kernel_h / 4, rounded up
    int32_t slots;                       // flat rows that there is room for
    int32_t columns;                     // output columns of the largest run
    int32_t phase_columns;               // flat columns of one remainder modulo the stride
    size_t pitch;                        // bytes of a flat row and of a plane
    int64_t held[MOST_ROWS];             // input row that a flat row holds
    const uint8_t *rows[MOST_ROWS + 3];  // by kernel row
    uint32_t offsets[MOST_TAPS][PLANES]; // of tap kx of each plane, in the planes
    _Alignas(64) __m512i bias[PLANES];
    __m512 multiplier[PLANES];
    __m512i weights[MOST_TAPS][PLANES]; // [four * kernel_w + kx]
    uint8_t bytes[BUFFER_BYTES];        // `slots` flat rows, then fours * PLANES planes
} ei_depthwise_block;

/// acc += x . w, x being unsigned.
EI_ALWAYS_INLINE void add_products(__m512i *acc, __m512i x, __m512i w) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(*acc) : "v"(x), "v"(w)); // as in packed_gemm
}

// --- weights

/// The taps (4 * four .. + 3, kx) of 16 channels, taps that do not exist being 0.
static __m512i column_taps(const ei_window *w, const int8_t *tile, int32_t four, int32_t kx) {
    const __m512i byte = _mm512_set1_epi32(0xff);
    __m512i taps = _mm512_setzero_si512();
    for (int32_t i = 0; i < 4 && 4 * four + i < w->kernel_h; i++) {
        const size_t tap = (size_t)(4 * four + i) * (size_t)w->kernel_w + (size_t)kx;
        const __m512i group = _mm512_loadu_si512(tile + tap / EI_TILE_K * EI_TILE_BYTES);
        const __m128i from = _mm_cvtsi32_si128((int)(tap % EI_TILE_K * 8));
        const __m512i value = _mm512_and_si512(_mm512_srl_epi32(group, from), byte);
        taps = _mm512_or_si512(taps, _mm512_sll_epi32(value, _mm_cvtsi32_si128(8 * i)));
    }
    return taps;
}

/// 16 dwords of a tile of channels to the planes, in every lane that has this tile. Its channels are
/// so many fours: 2 or 4.
static void spread(void *planes, __m512i dwords, int32_t tile, int32_t tiles, int32_t quads) {
    uint8_t *out = planes;
    uint8_t bytes[64];
    _mm512_storeu_si512(bytes, dwords);
    for (int32_t lane = tile; lane < 4; lane += tiles) {
        for (int32_t q = 0; q < PLANES; q++) {
            memcpy(out + 64 * q + 16 * lane, bytes + 16 * (q % quads), 16);
        }
    }
}

static void prepare_constants(ei_depthwise_block *block) {
    const ei_depthwise_conv2d_s8_s8c_args *args = block->args;
    const ei_window *w = &args->window;
    const size_t tile_bytes = ei_segment_bytes((size_t)w->kernel_h * (size_t)w->kernel_w);
    const int32_t tiles = block->width < EI_TILE_CHANNELS ? 1 : block->width / EI_TILE_CHANNELS;
    const int32_t quads = block->width < EI_TILE_CHANNELS ? 2 : 4;
    for (int32_t tile = 0; tile < tiles; tile++) {
        const size_t first = (size_t)(block->first + tile * EI_TILE_CHANNELS);
        const int8_t *weights = args->weights + first / EI_TILE_CHANNELS * tile_bytes;
        __m512i sum = _mm512_setzero_si512();
        for (size_t at = 0; at < tile_bytes; at += EI_TILE_BYTES) {
            add_products(&sum, _mm512_set1_epi8((char)128), _mm512_loadu_si512(weights + at));
        }
        const __m512i bias = _mm512_sub_epi32(_mm512_loadu_si512(args->bias + first), sum);
        spread(block->bias, bias, tile, tiles, quads);
        spread(block->multiplier, _mm512_loadu_si512(args->multiplier + first), tile, tiles, quads);
        for (int32_t four = 0; four < block->fours; four++) {
            for (int32_t kx = 0; kx < w->kernel_w; kx++) {
                spread(block->weights[four * w->kernel_w + kx], column_taps(w, weights, four, kx),
                       tile, tiles, quads);
            }
        }
    }
}

// --- flat rows

/// Copies one pixel's channels, or as many zero points.
EI_ALWAYS_INLINE void copy_pixel(uint8_t *out, const int8_t *x, __mmask64 mask, const int WIDTH) {
    const __m512i sign = _mm512_set1_epi8((char)128);
    if (WIDTH == 64) {
        _mm512_storeu_si512(out, _mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, x), sign));
    } else if (WIDTH == 32) {
        const __m256i values = _mm256_maskz_loadu_epi8((__mmask32)mask, x);
        _mm256_storeu_si256((__m256i *)out, _mm256_xor_si256(values, _mm512_castsi512_si256(sign)));
    } else if (WIDTH == 8) {
        const __m128i values = _mm_loadl_epi64((const __m128i *)x);
        _mm_storel_epi64((__m128i *)out, _mm_xor_si128(values, _mm512_castsi512_si128(sign)));
    } else {
        const __m128i values = _mm_maskz_loadu_epi8((__mmask16)mask, x);
        _mm_storeu_si128((__m128i *)out, _mm_xor_si128(values, _mm512_castsi512_si128(sign)));
    }
}

/// Copies `count` columns that are `stride` apart in the image, from pixel x on.
EI_ALWAYS_INLINE void copy_columns(uint8_t *out, const int8_t *x, size_t step, int64_t count,
                                   __mmask64 mask, const int WIDTH) {
    if (step == (size_t)WIDTH && mask == UINT64_MAX >> (64 - WIDTH)) { // one run of memory
        const size_t bytes = (size_t)count * step;
        for (size_t i = 0; i < bytes; i += 64) {
            const __mmask64 run = bytes - i < 64 ? (UINT64_C(1) << (bytes - i)) - 1 : UINT64_MAX;
            const __m512i values = _mm512_maskz_loadu_epi8(run, x + i);
            _mm512_mask_storeu_epi8(out + i, run,
                                    _mm512_xor_si512(values, _mm512_set1_epi8((char)128)));
        }
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        copy_pixel(out, x, mask, WIDTH);
        out += WIDTH;
        x += step;
    }
}

/// The same where output channels share an input channel.
static void copy_shared(const ei_depthwise_block *block, uint8_t *out, const int8_t *x, size_t step,
                        int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        for (int32_t c = 0; c < block->count; c++) {
            out[c] = (uint8_t)x[(block->first + c) / block->args->multiplicity] ^ 0x80;
        }
        memset(out + block->count, 0, (size_t)(block->width - block->count));
        out += block->width;
        x += step;
    }
}

static int64_t between(int64_t low, int64_t value, int64_t high) {
    return value < low ? low : (value > high ? high : value);
}

/// Fills `count` flat columns: image columns `column`, `column` + stride and so on, of a row or of
/// padding (NULL).
static void fill_phase(const ei_depthwise_block *block, uint8_t *out, const int8_t *row,
                       int64_t column, int64_t count) {
    const ei_depthwise_conv2d_s8_s8c_args *args = block->args;
    const ei_window *w = &args->window;
    const int64_t stride = w->stride_w;
    int64_t before = count, end = count; // flat columns left of the image, and up to its right end
    if (row != NULL) {
        before = between(0, column < 0 ? (stride - 1 - column) / stride : 0, count);
        end = between(before, (w->in_w - column + stride - 1) / stride, count);
        const size_t step = (size_t)stride * (size_t)w->in_c;
        uint8_t *to = out + (size_t)before * (size_t)block->width;
        if (end > before) {
            const int8_t *x = row + (size_t)(column + before * stride) * (size_t)w->in_c;
            const __mmask64 mask = UINT64_MAX >> (64 - block->count);
            if (args->multiplicity != 1) {
                copy_shared(block, to, x, step, end - before);
            } else if (block->width == 64) {
                copy_columns(to, x + block->first, step, end - before, mask, 64);
            } else if (block->width == 32) {
                copy_columns(to, x + block->first, step, end - before, mask, 32);
            } else if (block->width == 16) {
                copy_columns(to, x + block->first, step, end - before, mask, 16);
            } else {
                copy_columns(to, x, step, end - before, mask, 8);
            }
        }
    }
    const uint8_t zero = args->zero == NULL ? 0 : (uint8_t)args->zero[0] ^ 0x80;
    if (before > 0) {
        memset(out, zero, (size_t)before * (size_t)block->width);
    }
    if (end < count) {
        memset(out + (size_t)end * (size_t)block->width, zero,
               (size_t)(count - end) * (size_t)block->width);
    }
}

/// Has `count` flat rows from the first one of output row `oy` of an image on, columns from `column`
/// on.
static void load_rows(ei_depthwise_block *block, uint32_t image, int64_t oy, int32_t count,
                      int64_t column) {
    const ei_window *w = &block->args->window;
    const int64_t top = oy * w->stride_h;
    int64_t place = top % block->slots;
    for (int32_t ky = 0; ky < count; ky++) {
        const int64_t j = top + (int64_t)ky * w->dilation_h;
        // Dilated rows of one window could share a place: these begin anew, in order.
        const int64_t at = w->dilation_h == 1 ? place : ky;
        uint8_t *flat = block->bytes + (size_t)at * block->pitch;
        block->rows[ky] = flat;
        if (block->held[at] != j) {
            block->held[at] = j;
            const int8_t *row = (const int8_t *)ei_image_row(&block->args->x, image, j - w->pad_top,
                                                             (uint32_t)w->in_h, NULL);
            for (int32_t phase = 0; phase < w->stride_w; phase++) {
                const size_t to = (size_t)phase * (size_t)block->phase_columns;
                fill_phase(block, flat + to * (size_t)block->width, row, column + phase,
                           block->phase_columns);
            }
        }
        place = place + 1 == block->slots ? 0 : place + 1;
    }
}

// --- planes

/// Interleaves four flat rows.
static void interleave(uint8_t *planes, size_t pitch, const uint8_t *const rows[4], size_t count) {
    const uint8_t *r0 = rows[0], *r1 = rows[1], *r2 = rows[2], *r3 = rows[3];
    for (size_t i = 0; i < count; i += 64) {
        const __m512i a = _mm512_loadu_si512(r0 + i);
        const __m512i b = _mm512_loadu_si512(r1 + i);
        const __m512i c = _mm512_loadu_si512(r2 + i);
        const __m512i d = _mm512_loadu_si512(r3 + i);
        const __m512i ab_low = _mm512_unpacklo_epi8(a, b);
        const __m512i ab_high = _mm512_unpackhi_epi8(a, b);
        const __m512i cd_low = _mm512_unpacklo_epi8(c, d);
        const __m512i cd_high = _mm512_unpackhi_epi8(c, d);
        uint8_t *out = planes + i;
        _mm512_storeu_si512(out, _mm512_unpacklo_epi16(ab_low, cd_low));
        _mm512_storeu_si512(out + pitch, _mm512_unpackhi_epi16(ab_low, cd_low));
        _mm512_storeu_si512(out + 2 * pitch, _mm512_unpacklo_epi16(ab_high, cd_high));
        _mm512_storeu_si512(out + 3 * pitch, _mm512_unpackhi_epi16(ab_high, cd_high));
    }
}

static void make_planes(ei_depthwise_block *block, int32_t rows, size_t count) {
    for (int32_t i = 0; i < 3; i++) { // rows beyond the kernel's last meet weights of 0
        block->rows[rows + i] = block->rows[rows - 1];
    }
    uint8_t *planes = block->bytes + (size_t)block->slots * block->pitch;
    for (int32_t four = 0; four < block->fours; four++) {
        interleave(planes, block->pitch, block->rows + 4 * four, count);
        planes += PLANES * block->pitch;
    }
}

// --- products

/// Stores the pixels of a register, of which the last may be beyond the end.
EI_ALWAYS_INLINE void store(int8_t *y, size_t step, __m512i bytes, int64_t pixels, int32_t count,
                            const int WIDTH) {
    if (WIDTH == 64) {
        _mm512_mask_storeu_epi8(y, UINT64_MAX >> (64 - count), bytes);
    } else if (WIDTH == 32) {
        const __mmask32 mask = UINT32_MAX >> (32 - count);
        _mm256_mask_storeu_epi8(y, mask, _mm512_castsi512_si256(bytes));
        if (pixels > 1) {
            _mm256_mask_storeu_epi8(y + step, mask, _mm512_extracti64x4_epi64(bytes, 1));
        }
    } else if (WIDTH == 8) { // pixels follow each other in y as well
        const int64_t length = pixels < 8 ? 8 * pixels : 64;
        _mm512_mask_storeu_epi8(y, UINT64_MAX >> (64 - length), bytes);
    } else {
        const __mmask16 mask = (__mmask16)(UINT16_MAX >> (16 - count));
        _mm_mask_storeu_epi8(y, mask, _mm512_castsi512_si128(bytes));
        if (pixels > 1) {
            _mm_mask_storeu_epi8(y + step, mask, _mm512_extracti32x4_epi32(bytes, 1));
        }
        if (pixels > 2) {
            _mm_mask_storeu_epi8(y + 2 * step, mask, _mm512_extracti32x4_epi32(bytes, 2));
        }
        if (pixels > 3) {
            _mm_mask_storeu_epi8(y + 3 * step, mask, _mm512_extracti32x4_epi32(bytes, 3));
        }
    }
}

/// Adds the taps of kernels of any size.
EI_ALWAYS_INLINE void add_taps(__m512i acc[PLANES], const ei_depthwise_block *block,
                               const uint8_t *planes) {
    const __m512i(*weights)[PLANES] = block->weights;
    for (int32_t four = 0; four < block->fours; four++) {
        for (int32_t kx = 0; kx < block->args->window.kernel_w; kx++) {
            EI_UNROLL
            for (int i = 0; i < PLANES; i++) {
                const uint8_t *taps = planes + block->offsets[kx][i];
                add_products(&acc[i], _mm512_loadu_si512(taps), (*weights)[i]);
            }
            weights++;
        }
        planes += PLANES * block->pitch;
    }
}

/// An output row's columns [0, pixels) from the planes. WIDTH is block->width. THREE: kernel_w is 3 and
/// kernel_h at most 4, less `shift`, the flat row that the kernel begins at; weights then stay in
/// registers.
EI_ALWAYS_INLINE void multiply(const ei_depthwise_block *block, int8_t *y, int64_t pixels,
                               int shift, const int THREE, const int WIDTH) {
    const ei_depthwise_conv2d_s8_s8c_args *args = block->args;
    const ei_requant_avx512 q = ei_requant_avx512_of(&args->requant);
    const size_t pitch = block->pitch;
    const size_t step = (size_t)args->window.out_c;
    const int32_t count = block->count;
    const uint8_t *x = block->bytes + (size_t)block->slots * pitch;
    const uint32_t (*offsets)[PLANES] = block->offsets;
    const __m128i bits = _mm_cvtsi32_si128(8 * shift);
    __m512i weights[3][PLANES], bias[PLANES];
    __m512 multiplier[PLANES];
    EI_UNROLL
    for (int i = 0; i < PLANES; i++) {
        for (int kx = 0; THREE && kx < 3; kx++) {
            weights[kx][i] = _mm512_sll_epi32(block->weights[kx][i], bits);
        }
        bias[i] = block->bias[i];
        multiplier[i] = block->multiplier[i];
    }
    for (; pixels > 0; pixels -= 64 / WIDTH) {
        __m512i acc[PLANES];
        EI_UNROLL
        for (int i = 0; i < PLANES; i++) {
            acc[i] = bias[i];
        }
        if (THREE) {
            EI_UNROLL
            for (int kx = 0; kx < 3; kx++) {
                const uint8_t *tap = x + offsets[kx][0];
                EI_UNROLL
                for (int i = 0; i < PLANES; i++) {
                    const uint8_t *taps = WIDTH == 8 ? x + offsets[kx][i] : tap + (size_t)i * pitch;
                    add_products(&acc[i], _mm512_loadu_si512(taps), weights[kx][i]);
                }
            }
        } else {
            add_taps(acc, block, x);
        }
        EI_UNROLL
        for (int i = 0; i < PLANES; i++) {
            acc[i] = ei_scale_avx512(acc[i], multiplier[i], &q);
        }
        store(y, step, ei_pack_avx512(acc[0], acc[1], acc[2], acc[3], &q), pixels, count, WIDTH);
        y += 64 / WIDTH * step;
        x += 64;
    }
}

static void multiply_row(const ei_depthwise_block *block, int8_t *y, int64_t pixels, int shift) {
    const int three = block->args->window.kernel_w == 3 && block->fours == 1;
    if (block->width == 64) {
        three ? multiply(block, y, pixels, shift, 1, 64) : multiply(block, y, pixels, 0, 0, 64);
    } else if (block->width == 32) {
        three ? multiply(block, y, pixels, shift, 1, 32) : multiply(block, y, pixels, 0, 0, 32);
    } else if (block->width == 16) {
        three ? multiply(block, y, pixels, shift, 1, 16) : multiply(block, y, pixels, 0, 0, 16);
    } else {
        three ? multiply(block, y, pixels, shift, 1, 8) : multiply(block, y, pixels, 0, 0, 8);
    }
}

// --- blocks

/// Cuts rows into runs of columns whose flat rows and planes fit. 0 when not even one column's do.
static int plan_columns(ei_depthwise_block *block) {
    const ei_window *w = &block->args->window;
    if (w->kernel_h > MOST_ROWS) {
        return 0;
    }
    block->fours = (w->kernel_h + 3) / 4;
    if ((int64_t)block->fours * w->kernel_w > MOST_TAPS) {
        return 0;
    }
    // A register that begins in the last column may read as far again as it is wide.
    // Four flat rows of three serve two output rows.
    const int pairs = w->kernel_w == 3 && w->kernel_h == 3 && w->stride_h == 1;
    block->slots = pairs && w->dilation_h == 1 ? 4 : w->kernel_h;
    const int64_t most = BUFFER_BYTES / (block->slots + PLANES * block->fours) / 64 * 64 - 64;
    const int64_t halo = (int64_t)(w->kernel_w - 1) * w->dilation_w / w->stride_w;
    const int64_t columns = most / ((int64_t)w->stride_w * block->width) - halo;
    if (columns < 1) {
        return 0;
    }
    const int64_t runs = (w->out_w + columns - 1) / columns;
    block->columns = (int32_t)((w->out_w + runs - 1) / runs);
    return 1;
}

/// Rows [begin, end) of output columns [ox, ox + pixels).
static void convolve_columns(ei_depthwise_block *block, int32_t ox, int32_t pixels, uint32_t begin,
                             uint32_t end) {
    const ei_window *w = &block->args->window;
    const int64_t halo = (int64_t)(w->kernel_w - 1) * w->dilation_w / w->stride_w;
    block->phase_columns = (int32_t)(pixels + halo);
    const size_t flat = (size_t)w->stride_w * (size_t)block->phase_columns * (size_t)block->width;
    block->pitch = (flat + 63) / 64 * 64 + 64;
    for (int32_t kx = 0; kx < w->kernel_w; kx++) {
        const int64_t column = (int64_t)kx * w->dilation_w;
        const int64_t flat_column =
            column % w->stride_w * block->phase_columns + column / w->stride_w;
        for (int64_t i = 0; i < PLANES; i++) { // fours of channels from the first one's of plane 0
            const int64_t four = flat_column * (block->width / 4) + i;
            block->offsets[kx][i] =
                (uint32_t)(four % PLANES * (int64_t)block->pitch + four / PLANES * 16);
        }
    }
    const int64_t column = (int64_t)ox * w->stride_w - w->pad_left;
    uint32_t image = begin / (uint32_t)w->out_h;
    uint32_t oy = begin % (uint32_t)w->out_h;
    const size_t y_offset = (size_t)ox * (size_t)w->out_c + (size_t)block->first;
    for (uint32_t row = begin; row < end;) {
        if (row == begin || oy == 0) {
            for (int32_t i = 0; i < block->slots; i++) {
                block->held[i] = NO_ROW;
            }
        }
        const int more = block->slots > w->kernel_h && row + 1 < end && oy + 1 < (uint32_t)w->out_h;
        load_rows(block, image, oy, w->kernel_h + more, column);
        make_planes(block, w->kernel_h + more, flat);
        for (int i = 0; i <= more; i++) {
            int8_t *y = (int8_t *)ei_row(&block->args->y, row++);
            multiply_row(block, y + y_offset, pixels, i);
        }
        oy += 1 + (uint32_t)more;
        if (oy == (uint32_t)w->out_h) {
            oy = 0;
            image++;
        }
    }
}

/// Channels of the next block: 64, 32 or 16, so that fewer than half of them do not exist.
static int32_t block_width(const ei_depthwise_conv2d_s8_s8c_args *args, int32_t left) {
    if (args->window.out_c == 8 && args->multiplicity == 1) {
        return 8;
    }
    return left > 48 ? 64 : (left > 16 ? 32 : 16);
}

void ei_depthwise_conv2d_s8_s8c_avx512vnni(const ei_depthwise_conv2d_s8_s8c_args *args,
                                           uint32_t begin, uint32_t end) {
    const ei_window *w = &args->window;
    ei_depthwise_block block;
    block.args = args;
    block.width = 64;
    if (!plan_columns(&block)) { // kernels of hundreds of taps
        ei_depthwise_conv2d_s8_s8c_scalar(args, begin, end);
        return;
    }
    for (block.first = 0; block.first < w->out_c; block.first += block.count) {
        const int32_t left = w->out_c - block.first;
        block.width = block_width(args, left);
        block.count = left < block.width ? left : block.width;
        plan_columns(&block);
        prepare_constants(&block);
        for (int32_t ox = 0; ox < w->out_w; ox += block.columns) {
            const int32_t rest = w->out_w - ox;
            const int32_t pixels = rest < block.columns ? rest : block.columns;
            convolve_columns(&block, ox, pixels, begin, end);
        }
    }
}
