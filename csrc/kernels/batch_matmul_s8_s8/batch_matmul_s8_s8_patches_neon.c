#include "kernels/batch_matmul_s8_s8/batch_matmul_s8_s8_patches.h"

#include <arm_neon.h>
#include <string.h>

#include "kernels/packed_tile.h"
#include "kernels/unroll.h"

enum {
    PANEL_BYTES = 32 * 1024,
    PATCH_BYTES = 8 * 1024,
    SPARE_BYTES = 16 * 1024,
    COLUMNS = 128,
    ROWS = 128
};

typedef struct ei_panel {
    _Alignas(64) int8_t weights[PANEL_BYTES];
    _Alignas(64) uint8_t patch[PATCH_BYTES];
    _Alignas(64) int32_t bias[COLUMNS];
    _Alignas(64) float multiplier[COLUMNS];
    _Alignas(64) uint8_t spare[SPARE_BYTES];
    int32_t row_bias[ROWS];
} ei_panel;

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

/// Columns [first, first + count) of [k, n], at most 16: four rows become a group.
static void pack_rows(int8_t *out, const ei_batch_matmul_s8_s8_args *args, size_t first,
                      size_t count) {
    const int8_t *b = args->b + first;
    for (size_t l = 0; l < args->k; l += EI_TILE_K) {
        int8x16x4_t rows;
        EI_UNROLL
        for (size_t i = 0; i < EI_TILE_K; i++) {
            rows.val[i] = vdupq_n_s8(0);
            if (l + i < args->k) {
                if (count == EI_TILE_CHANNELS) {
                    rows.val[i] = vld1q_s8(b);
                } else {
                    int8_t some[EI_TILE_CHANNELS] = {0};
                    memcpy(some, b, count);
                    rows.val[i] = vld1q_s8(some);
                }
                b += args->n;
            }
        }
        vst4q_s8(out, rows);
        out += EI_TILE_BYTES;
    }
}

/// The same columns of [n, k], which are rows there.
static void pack_columns(int8_t *out, const ei_batch_matmul_s8_s8_args *args, size_t first,
                         size_t count) {
    const size_t whole = args->k / EI_TILE_K;
    const size_t rest = args->k % EI_TILE_K;
    memset(out, 0, ei_segment_bytes(args->k));
    for (size_t j = 0; j < count; j++, out += EI_TILE_K) {
        const int8_t *b = args->b + (first + j) * args->k;
        int8_t *to = out;
        for (size_t group = 0; group < whole; group++) {
            memcpy(to, b, EI_TILE_K);
            to += EI_TILE_BYTES;
            b += EI_TILE_K;
        }
        for (size_t i = 0; i < rest; i++) {
            to[i] = b[i];
        }
    }
}

/// What 16 packed columns add to their sums.
static void set_bias(int32_t *bias, const int8_t *w, const ei_batch_matmul_s8_s8_args *args) {
    int32x4_t sum[4];
    EI_UNROLL
    for (int i = 0; i < 4; i++) {
        sum[i] = vdupq_n_s32(0);
    }
    for (size_t l = 0; l < args->k; l += EI_TILE_K, w += EI_TILE_BYTES) {
        EI_UNROLL
        for (int i = 0; i < 4; i++) {
            sum[i] = vpadalq_s16(sum[i], vpaddlq_s8(vld1q_s8(w + 16 * i)));
        }
    }
    const uint32_t zero_points = (uint32_t)(args->a_zero_point * args->b_zero_point);
    const int32x4_t constant = vdupq_n_s32((int32_t)(args->k * zero_points));
    EI_UNROLL
    for (int i = 0; i < 4; i++) {
        vst1q_s32(bias + 4 * i, vmlsq_n_s32(constant, sum[i], args->a_zero_point));
    }
}

/// What a row of a adds to its sums.
static int32_t row_bias(const int8_t *a, const ei_batch_matmul_s8_s8_args *args) {
    int32x4_t sums = vdupq_n_s32(0);
    size_t l = 0;
    for (; l + 16 <= args->k; l += 16) {
        sums = vpadalq_s16(sums, vpaddlq_s8(vld1q_s8(a + l)));
    }
    int32_t four[4];
    vst1q_s32(four, sums);
    uint32_t sum = (uint32_t)four[0] + (uint32_t)four[1] + (uint32_t)four[2] + (uint32_t)four[3];
    for (; l < args->k; l++) {
        sum += (uint32_t)a[l];
    }
    return (int32_t)(0u - sum * (uint32_t)args->b_zero_point);
}

/// Packs up to `columns` columns.
static void pack(ei_panel *panel, const ei_batch_matmul_s8_s8_args *args, size_t first,
                 size_t columns) {
    for (size_t column = 0; column < columns; column += EI_TILE_CHANNELS) {
        const size_t count = smaller(columns - column, EI_TILE_CHANNELS);
        int8_t *out = panel->weights + column / EI_TILE_CHANNELS * ei_segment_bytes(args->k);
        if (args->transpose_b) {
            pack_columns(out, args, first + column, count);
        } else {
            pack_rows(out, args, first + column, count);
        }
        set_bias(panel->bias + column, out, args);
    }
}

/// The packed columns of all rows.
static void multiply_rows(const ei_packed_gemm *gemm, ei_panel *panel,
                          ei_packed_gemm_args *gemm_args, const ei_batch_matmul_s8_s8_args *args,
                          size_t first) {
    const size_t k = args->k;
    const uint8_t *segments[1];
    gemm_args->segments = segments;
    // Whole groups are read from where they are: nothing lies beyond them.
    const int in_place = k % EI_TILE_K == 0;
    const size_t most = in_place ? ROWS : smaller(ROWS, (PATCH_BYTES - EI_TILE_K) / k);
    gemm_args->spare_kept = 0;
    for (size_t row = 0; row < args->m; row += most) {
        const int8_t *a = args->a + row * k;
        const size_t rows = smaller(args->m - row, most);
        segments[0] = (const uint8_t *)a;
        if (!in_place) {
            memcpy(panel->patch, a, rows * k);
            memset(panel->patch + rows * k, 0, EI_TILE_K);
            segments[0] = panel->patch;
        }
        if (args->b_zero_point != 0) {
            for (size_t i = 0; i < rows; i++) {
                panel->row_bias[i] = row_bias(a + i * k, args);
            }
            gemm_args->pixel_bias = panel->row_bias;
        }
        gemm_args->pixels = rows;
        gemm_args->y = args->y + row * args->n + first;
        gemm->multiply(gemm_args);
        gemm_args->spare_kept = 1;
    }
}

void ei_batch_matmul_s8_s8_patches(const ei_packed_gemm *gemm,
                                   const ei_batch_matmul_s8_s8_args *args) {
    ei_panel panel;
    const size_t tile_bytes = ei_segment_bytes(args->k);
    if (tile_bytes > sizeof panel.weights) {
        ei_batch_matmul_s8_s8_scalar(args);
        return;
    }
    ei_packed_gemm_args gemm_args = {.segment_count = 1,
                                     .groups = tile_bytes / EI_TILE_BYTES,
                                     .pixel_step = args->k,
                                     .weights = panel.weights,
                                     .tile_bytes = tile_bytes,
                                     .bias = panel.bias,
                                     .multiplier = panel.multiplier,
                                     .spare = panel.spare,
                                     .spare_bytes = sizeof panel.spare,
                                     .y_step = args->n,
                                     .requant = args->requant};
    for (size_t i = 0; i < COLUMNS; i++) {
        panel.multiplier[i] = args->multiplier;
    }
    const size_t most = smaller(COLUMNS, sizeof panel.weights / tile_bytes * EI_TILE_CHANNELS);
    for (size_t first = 0; first < args->n; first += most) {
        const size_t columns = smaller(args->n - first, most);
        pack(&panel, args, first, columns);
        gemm_args.channels = columns;
        const size_t tiles = (columns + EI_TILE_CHANNELS - 1) / EI_TILE_CHANNELS;
        const ei_packed_gemm *fit =
            ei_packed_gemm_taking(gemm, panel.weights, tiles * tile_bytes, args->m);
        multiply_rows(fit, &panel, &gemm_args, args, first);
    }
}
