// One vector meets every weight once: the time is what it takes to read them. The sums of weights
// that the offset of unsigned activations asks for (packed_gemm.h) are therefore made in the same
// pass, and eight tiles of channels are under way at a time to have sixteen sums to add to.
//
// Several vectors are a matrix product, and go by way of patches.
#include <immintrin.h>
#include <string.h>

#include "kernels/fully_connected_s8_s8c/fully_connected_s8_s8c_patches.h"
#include "kernels/packed_tile.h"
#include "kernels/requantize_avx512.h"
#include "kernels/unroll.h"

/// acc += x . w, x being unsigned.
EI_ALWAYS_INLINE void add_products(__m512i *acc, __m512i x, __m512i w) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(*acc) : "v"(x), "v"(w)); // as in packed_gemm
}

/// Four values of x as unsigned bytes x + 128, in every lane.
EI_ALWAYS_INLINE __m512i load_unsigned(const int8_t *x, size_t count) {
    int32_t four = 0;
    if (count >= EI_TILE_K) {
        memcpy(&four, x, EI_TILE_K);
    } else {
        memcpy(&four, x, count);
    }
    return _mm512_xor_si512(_mm512_set1_epi32(four), _mm512_set1_epi8((char)128));
}

/// NT tiles of channels of one vector: 128 * sum(w) is subtracted, and then added in x + 128.
EI_ALWAYS_INLINE void compute(const ei_fully_connected_s8_s8c_args *args, const int8_t *x,
                              int8_t *y, size_t first, const int NT) {
    const size_t tile_bytes = ei_segment_bytes(args->k);
    const int8_t *w = args->weights + first / EI_TILE_CHANNELS * tile_bytes;
    const __m512i offset = _mm512_set1_epi8((char)128);
    __m512i acc[8], sum[8];
    EI_UNROLL
    for (int t = 0; t < NT; t++) {
        acc[t] = _mm512_loadu_si512(args->bias + first + (size_t)t * EI_TILE_CHANNELS);
        sum[t] = _mm512_setzero_si512();
    }
    const int8_t *w4 = w + 4 * tile_bytes;
    for (size_t k = 0; k < args->k; k += EI_TILE_K) {
        const __m512i four = load_unsigned(x + k, args->k - k);
        EI_UNROLL
        for (int t = 0; t < NT; t++) {
            const int8_t *at = t < 4 ? w : w4;
            const __m512i weights = _mm512_loadu_si512(at + (size_t)(t % 4) * tile_bytes);
            add_products(&acc[t], four, weights);
            add_products(&sum[t], offset, weights);
        }
        w += EI_TILE_BYTES;
        w4 += EI_TILE_BYTES;
    }
    const ei_requant_avx512 q = ei_requant_avx512_of(&args->requant);
    EI_UNROLL
    for (int t = 0; t < NT; t++) {
        const size_t channel = first + (size_t)t * EI_TILE_CHANNELS;
        const size_t left = args->n - channel;
        const uint32_t channels = left >= EI_TILE_CHANNELS ? UINT16_MAX : (1u << left) - 1;
        const __m512i exact = _mm512_sub_epi32(acc[t], sum[t]);
        const __m512i scaled =
            ei_scale_avx512(exact, _mm512_loadu_ps(args->multiplier + channel), &q);
        const __m512i packed = ei_pack_avx512(scaled, scaled, scaled, scaled, &q);
        const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
        _mm_mask_storeu_epi8(y + channel, (__mmask16)channels,
                             _mm512_castsi512_si128(_mm512_permutexvar_epi32(order, packed)));
    }
}

static void multiply_vector(const ei_fully_connected_s8_s8c_args *args, const int8_t *x,
                            int8_t *y) {
    const size_t padded = (args->n + EI_TILE_CHANNELS - 1) / EI_TILE_CHANNELS * EI_TILE_CHANNELS;
    size_t first = 0;
    for (; first + 8 * EI_TILE_CHANNELS <= padded; first += 8 * EI_TILE_CHANNELS) {
        compute(args, x, y, first, 8);
    }
    for (; first + 2 * EI_TILE_CHANNELS <= padded; first += 2 * EI_TILE_CHANNELS) {
        compute(args, x, y, first, 2);
    }
    if (first < padded) {
        compute(args, x, y, first, 1);
    }
}

void ei_fully_connected_s8_s8c_avx512vnni(const ei_fully_connected_s8_s8c_args *args,
                                          uint32_t begin, uint32_t end) {
    const size_t vectors = (size_t)(end - begin) * args->vectors;
    if (vectors > 1 && ei_pixel_rows_fit(&ei_packed_gemm_avx512vnni, args->k)) {
        ei_fully_connected_s8_s8c_patches(&ei_packed_gemm_avx512vnni, args, begin, end);
        return;
    }
    for (uint32_t row = begin; row < end; row++) {
        const int8_t *x = (const int8_t *)ei_row(&args->x, row);
        int8_t *y = (int8_t *)ei_row(&args->y, row);
        for (uint32_t vector = 0; vector < args->vectors; vector++) {
            multiply_vector(args, x, y);
            x += args->k;
            y += args->y_step;
        }
    }
}
