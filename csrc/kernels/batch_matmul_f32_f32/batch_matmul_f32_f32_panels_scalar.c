// Columns of b become panels on the stack, laid out as packed weights are: 32 columns by 256 lines at a
// time. y holds the sums between one piece of K and the next. Few rows of a do not pay for that: they
// meet b where it lies, but for the columns that are no whole tile.
#include "kernels/batch_matmul_f32_f32/batch_matmul_f32_f32_panels.h"

#include <math.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum { PANEL_TILES = 2, PANEL_COLUMNS = PANEL_TILES * EI_TILE_CHANNELS, PANEL_LINES = 256 };
enum { FEW_ROWS = 6 };

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/// Four lines of b, `step` apart, as four columns of the panel.
static void transpose_four(float *panel, const float *b, size_t step) {
#if defined(__SSE2__)
    __m128 a0 = _mm_loadu_ps(b);
    __m128 a1 = _mm_loadu_ps(b + step);
    __m128 a2 = _mm_loadu_ps(b + 2 * step);
    __m128 a3 = _mm_loadu_ps(b + 3 * step);
    _MM_TRANSPOSE4_PS(a0, a1, a2, a3);
    _mm_storeu_ps(panel, a0);
    _mm_storeu_ps(panel + EI_TILE_CHANNELS, a1);
    _mm_storeu_ps(panel + 2 * EI_TILE_CHANNELS, a2);
    _mm_storeu_ps(panel + 3 * EI_TILE_CHANNELS, a3);
#else
    for (size_t k = 0; k < 4; k++) {
        for (size_t i = 0; i < 4; i++) {
            panel[k * EI_TILE_CHANNELS + i] = b[i * step + k];
        }
    }
#endif
}

/// `count` rows of b, `step` apart, as columns of a panel of so many lines.
static void pack_transposed(float *panel, const float *b, size_t step, size_t lines, size_t count) {
    size_t n = 0;
    for (; n + 4 <= count; n += 4) {
        size_t k = 0;
        for (; k + 4 <= lines; k += 4) {
            transpose_four(panel + k * EI_TILE_CHANNELS + n, b + n * step + k, step);
        }
        for (; k < lines; k++) {
            for (size_t i = 0; i < 4; i++) {
                panel[k * EI_TILE_CHANNELS + n + i] = b[(n + i) * step + k];
            }
        }
    }
    for (; n < count; n++) {
        for (size_t k = 0; k < lines; k++) {
            panel[k * EI_TILE_CHANNELS + n] = b[n * step + k];
        }
    }
}

/// Lines [line, line + lines) of columns [column, column + columns) into [tile][lines][16]; columns that do
/// not exist are +0.
static void pack(float *panel, const ei_batch_matmul_f32_args *args, size_t line, size_t lines,
                 size_t column, size_t columns) {
    for (size_t first = 0; first < columns; first += EI_TILE_CHANNELS) {
        const size_t count = least(columns - first, EI_TILE_CHANNELS);
        if (args->transpose_b) {
            pack_transposed(panel, args->b + (column + first) * args->k + line, args->k, lines,
                            count);
        } else {
            const float *b = args->b + line * args->n + column + first;
            for (size_t k = 0; k < lines; k++) {
                memcpy(panel + k * EI_TILE_CHANNELS, b + k * args->n, count * sizeof *b);
            }
        }
        for (size_t k = 0; k < lines && count < EI_TILE_CHANNELS; k++) {
            memset(panel + k * EI_TILE_CHANNELS + count, 0,
                   (EI_TILE_CHANNELS - count) * sizeof *panel);
        }
        panel += lines * EI_TILE_CHANNELS;
    }
}

static void multiply_panels(const ei_batch_matmul_f32_args *args, ei_packed_gemm_f32_fn gemm,
                            size_t column) {
    _Alignas(64) float panel[PANEL_LINES * PANEL_COLUMNS];
    for (; column < args->n; column += PANEL_COLUMNS) {
        const size_t columns = least(args->n - column, PANEL_COLUMNS);
        for (size_t line = 0; line < args->k; line += PANEL_LINES) {
            const size_t lines = least(args->k - line, PANEL_LINES);
            const int is_last = line + lines == args->k;
            const float *a = args->a + line;
            pack(panel, args, line, lines, column, columns);
            const ei_packed_gemm_f32 piece = {
                .segments = &a,
                .segment_count = 1,
                .length = lines,
                .pixel_step = args->k,
                .pixels = args->m,
                .weights = panel,
                .k_step = EI_TILE_CHANNELS,
                .tile_step = lines * EI_TILE_CHANNELS,
                .y = args->y + column,
                .y_step = args->n,
                .channels = columns,
                .bounds = is_last ? args->bounds : (ei_bounds_f32){-INFINITY, INFINITY},
                .resumes = line > 0};
            gemm(&piece);
        }
    }
}

void ei_batch_matmul_f32_panels(const ei_batch_matmul_f32_args *args, ei_packed_gemm_f32_fn gemm) {
    size_t column = 0;
    if (args->m < FEW_ROWS && !args->transpose_b && args->n >= EI_TILE_CHANNELS) {
        column = args->n / EI_TILE_CHANNELS * EI_TILE_CHANNELS;
        const ei_packed_gemm_f32 tiles = {.segments = &args->a,
                                          .segment_count = 1,
                                          .length = args->k,
                                          .pixel_step = args->k,
                                          .pixels = args->m,
                                          .weights = args->b,
                                          .k_step = args->n,
                                          .tile_step = EI_TILE_CHANNELS,
                                          .y = args->y,
                                          .y_step = args->n,
                                          .channels = column,
                                          .bounds = args->bounds};
        gemm(&tiles);
    }
    multiply_panels(args, gemm, column);
}
