// vpmaddwd: eight sums of two products of int16. Tiles of 4 rows x 16 columns keep 8 sums in
// registers.
#include <immintrin.h>
#include <string.h>

#include "kernels/batch_matmul_s8_s8/batch_matmul_s8_s8_panels.h"
#include "kernels/requantize_avx2.h"
#include "kernels/unroll.h"

enum { ROWS = 4, HALF = EI_PANEL_COLUMNS / 2 };

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

static inline __m256i less(__m128i bytes, int32_t zero_point) {
    return _mm256_sub_epi16(_mm256_cvtepi8_epi16(bytes), _mm256_set1_epi16((short)zero_point));
}

/// `count` bytes, 1 to 16; then zero points. Out of line, as there are many calls and few that run.
static __attribute__((noinline)) __m128i load_some(const int8_t *x, size_t count,
                                                   int32_t zero_point) {
    int8_t some[16];
    memset(some, zero_point, sizeof some);
    memcpy(some, x, smaller(count, 16));
    return _mm_loadu_si128((const __m128i *)some);
}

/// 16 values less the zero point. What `count` leaves over is 0, and not read.
static inline __m256i load_less(const int8_t *x, size_t count, int32_t zero_point) {
    const __m128i bytes =
        count >= 16 ? _mm_loadu_si128((const __m128i *)x) : load_some(x, count, zero_point);
    return less(bytes, zero_point);
}

/// Rows [begin, end) of [k, n], 16 columns or fewer.
static void pack_rows(int16_t *out, const ei_batch_matmul_s8_s8_args *args, size_t begin,
                      size_t end, size_t column) {
    const size_t count = args->n - column;
    const int8_t *b = args->b + begin * args->n + column;
    for (size_t l = begin; l < end; l += 2, b += 2 * (size_t)args->n) {
        const __m256i even = load_less(b, count, args->b_zero_point);
        const __m256i odd = l + 1 < end ? load_less(b + args->n, count, args->b_zero_point)
                                        : _mm256_setzero_si256();
        const __m256i low = _mm256_unpacklo_epi16(even, odd);
        const __m256i high = _mm256_unpackhi_epi16(even, odd);
        _mm256_storeu_si256((__m256i *)out, _mm256_permute2x128_si256(low, high, 0x20));
        _mm256_storeu_si256((__m256i *)(out + 16), _mm256_permute2x128_si256(low, high, 0x31));
        out += 2 * EI_PANEL_COLUMNS;
    }
}

/// Columns [begin, end) of [n, k], 8 rows or fewer: 16 values of K of each are transposed as pairs.
static void pack_columns(int16_t *out, const ei_batch_matmul_s8_s8_args *args, size_t begin,
                         size_t end, size_t row) {
    for (size_t l = begin; l < end; l += 16) {
        __m256i x[8], t[8];
        EI_UNROLL
        for (size_t i = 0; i < 8; i++) {
            x[i] = _mm256_setzero_si256();
            if (row + i < args->n) {
                const int8_t *b = args->b + (row + i) * args->k + l;
                x[i] = load_less(b, end - l, args->b_zero_point);
            }
        }
        EI_UNROLL
        for (int i = 0; i < 8; i += 2) {
            t[i] = _mm256_unpacklo_epi32(x[i], x[i + 1]);
            t[i + 1] = _mm256_unpackhi_epi32(x[i], x[i + 1]);
        }
        EI_UNROLL
        for (int i = 0; i < 8; i += 4) {
            x[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
            x[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
            x[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
            x[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
        }
        const size_t pairs = (smaller(end - l, 16) + 1) / 2;
        EI_UNROLL
        for (size_t i = 0; i < 4; i++) {
            if (i < pairs) {
                _mm256_storeu_si256((__m256i *)(out + i * 2 * EI_PANEL_COLUMNS),
                                    _mm256_permute2x128_si256(x[i], x[i + 4], 0x20));
            }
            if (i + 4 < pairs) {
                _mm256_storeu_si256((__m256i *)(out + (i + 4) * 2 * EI_PANEL_COLUMNS),
                                    _mm256_permute2x128_si256(x[i], x[i + 4], 0x31));
            }
        }
        out += 8 * 2 * EI_PANEL_COLUMNS;
    }
}

/// K values [begin, end) of the 32 columns from `first` on. Those that do not exist stay as they are.
static void pack_panel(int16_t *panel, const ei_batch_matmul_s8_s8_args *args, size_t begin,
                       size_t end, size_t first) {
    const size_t width = args->transpose_b ? 8 : 16;
    const size_t columns = smaller(args->n - first, EI_PANEL_COLUMNS);
    for (size_t column = 0; column < columns; column += width) {
        if (args->transpose_b) {
            pack_columns(panel + 2 * column, args, begin, end, first + column);
        } else {
            pack_rows(panel + 2 * column, args, begin, end, first + column);
        }
    }
}

/// Values [begin, end) of `rows` rows; the last pair is filled up with a zero.
static void widen_rows(int16_t *out, const ei_batch_matmul_s8_s8_args *args, size_t row,
                       size_t rows, size_t begin, size_t end) {
    for (size_t i = 0; i < rows; i++) {
        const int8_t *a = args->a + (row + i) * args->k;
        for (size_t l = begin; l < end; l += 16) {
            const __m256i words = load_less(a + l, end - l, args->a_zero_point);
            _mm256_storeu_si256((__m256i *)(out + i * EI_PANEL_K + (l - begin)), words);
        }
    }
}

static void store_row(const ei_batch_matmul_s8_s8_args *args, const int32_t *sums, size_t row,
                      size_t first, const ei_requant_avx2 *requant) {
    const __m256 multiplier = _mm256_set1_ps(args->multiplier);
    __m256i scaled[4];
    EI_UNROLL
    for (size_t i = 0; i < 4; i++) {
        const __m256i sum = _mm256_loadu_si256((const __m256i *)(sums + 8 * i));
        scaled[i] = ei_scale_avx2(sum, multiplier, requant);
    }
    const __m256i bytes = ei_pack_avx2(scaled[0], scaled[1], scaled[2], scaled[3], requant);
    int8_t *y = args->y + row * args->n + first;
    const size_t columns = args->n - first;
    if (columns >= EI_PANEL_COLUMNS) {
        _mm256_storeu_si256((__m256i *)y, bytes);
    } else {
        int8_t all[EI_PANEL_COLUMNS];
        _mm256_storeu_si256((__m256i *)all, bytes);
        memcpy(y, all, columns);
    }
}

void ei_batch_matmul_s8_s8_panels(const ei_batch_matmul_s8_s8_args *args, ei_panel_tile_fn tile,
                                  size_t tile_rows) {
    _Alignas(64) int16_t panel[EI_PANEL_K / 2 * EI_PANEL_COLUMNS * 2];
    _Alignas(64) int16_t rows[8 * EI_PANEL_K];
    _Alignas(64) int32_t sums[EI_PANEL_ROWS][EI_PANEL_COLUMNS];
    const ei_requant_avx2 requant = ei_requant_avx2_of(&args->requant);
    const size_t k = args->k;
    memset(rows, 0, sizeof rows);   // rows that a tile has and the product has not
    memset(panel, 0, sizeof panel); // columns likewise
    for (size_t first = 0; first < args->n; first += EI_PANEL_COLUMNS) {
        const size_t columns = smaller(args->n - first, EI_PANEL_COLUMNS);
        for (size_t block = 0; block < args->m; block += EI_PANEL_ROWS) {
            const size_t height = smaller(args->m - block, EI_PANEL_ROWS);
            memset(sums, 0, sizeof sums);
            for (size_t l = 0; l < k; l += EI_PANEL_K) {
                const size_t end = smaller(k, l + EI_PANEL_K);
                if (block == 0 || k > EI_PANEL_K) {
                    pack_panel(panel, args, l, end, first);
                }
                for (size_t row = 0; row < height; row += tile_rows) {
                    widen_rows(rows, args, block + row, smaller(height - row, tile_rows), l, end);
                    tile(rows, panel, (end - l + 1) / 2, columns, sums[row]);
                }
            }
            for (size_t row = 0; row < height; row++) {
                store_row(args, sums[row], block + row, first, &requant);
            }
        }
    }
}

static void tile_4x32(const int16_t *a, const int16_t *panel, size_t pairs, size_t columns,
                      int32_t *sums) {
    for (size_t first = 0; first < columns; first += HALF) {
        __m256i acc[ROWS][2];
        EI_UNROLL
        for (int i = 0; i < 2 * ROWS; i++) {
            acc[i / 2][i % 2] = _mm256_setzero_si256();
        }
        const int16_t *b = panel + 2 * first;
        for (size_t p = 0; p < pairs; p++) {
            const __m256i b0 = _mm256_loadu_si256((const __m256i *)b);
            const __m256i b1 = _mm256_loadu_si256((const __m256i *)(b + 16));
            EI_UNROLL
            for (int i = 0; i < ROWS; i++) {
                int32_t two;
                memcpy(&two, a + i * EI_PANEL_K + 2 * p, sizeof two);
                const __m256i pair = _mm256_set1_epi32(two);
                acc[i][0] = _mm256_add_epi32(acc[i][0], _mm256_madd_epi16(pair, b0));
                acc[i][1] = _mm256_add_epi32(acc[i][1], _mm256_madd_epi16(pair, b1));
            }
            b += 2 * EI_PANEL_COLUMNS;
        }
        EI_UNROLL
        for (int i = 0; i < 2 * ROWS; i++) {
            __m256i *to = (__m256i *)(sums + i / 2 * EI_PANEL_COLUMNS + first + 8 * (i % 2));
            _mm256_storeu_si256(to, _mm256_add_epi32(_mm256_loadu_si256(to), acc[i / 2][i % 2]));
        }
    }
}

void ei_batch_matmul_s8_s8_avx2(const ei_batch_matmul_s8_s8_args *args) {
    ei_batch_matmul_s8_s8_panels(args, tile_4x32, ROWS);
}
