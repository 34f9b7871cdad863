// vpdpwssd: sixteen sums of two products of int16, added up. Tiles of 8 rows x 32 columns keep 16
// sums in registers.
#include <immintrin.h>
#include <string.h>

#include "kernels/batch_matmul_s8_s8/batch_matmul_s8_s8_panels.h"
#include "kernels/unroll.h"

enum { ROWS = 8, HALF = EI_PANEL_COLUMNS / 2 };

/// acc += a . b. As an instruction and not an intrinsic, of which gcc 12 makes one with copies of
/// acc before and after it.
EI_ALWAYS_INLINE void add_products(__m512i *acc, __m512i a, __m512i b) {
    __asm__("vpdpwssd %2, %1, %0" : "+v"(*acc) : "v"(a), "v"(b));
}

EI_ALWAYS_INLINE void tile(const int16_t *a, const int16_t *panel, size_t pairs, int32_t *sums,
                           const int halves) {
    __m512i acc[ROWS][2];
    EI_UNROLL
    for (int i = 0; i < ROWS; i++) {
        acc[i][0] = _mm512_loadu_si512(sums + i * EI_PANEL_COLUMNS);
        acc[i][1] = _mm512_loadu_si512(sums + i * EI_PANEL_COLUMNS + HALF);
    }
    for (size_t p = 0; p < pairs; p++) {
        const __m512i b0 = _mm512_loadu_si512(panel);
        const __m512i b1 = _mm512_loadu_si512(panel + 2 * HALF);
        EI_UNROLL
        for (int i = 0; i < ROWS; i++) {
            int32_t two;
            memcpy(&two, a + i * EI_PANEL_K, sizeof two);
            const __m512i pair = _mm512_set1_epi32(two);
            add_products(&acc[i][0], pair, b0);
            if (halves > 1) {
                add_products(&acc[i][1], pair, b1);
            }
        }
        a += 2;
        panel += 2 * EI_PANEL_COLUMNS;
    }
    EI_UNROLL
    for (int i = 0; i < ROWS; i++) {
        _mm512_storeu_si512(sums + i * EI_PANEL_COLUMNS, acc[i][0]);
        _mm512_storeu_si512(sums + i * EI_PANEL_COLUMNS + HALF, acc[i][1]);
    }
}

static void tile_8x32(const int16_t *a, const int16_t *panel, size_t pairs, size_t columns,
                      int32_t *sums) {
    if (columns > HALF) {
        tile(a, panel, pairs, sums, 2);
    } else {
        tile(a, panel, pairs, sums, 1);
    }
}

void ei_batch_matmul_s8_s8_avx512vnni(const ei_batch_matmul_s8_s8_args *args) {
    ei_batch_matmul_s8_s8_panels(args, tile_8x32, ROWS);
}
