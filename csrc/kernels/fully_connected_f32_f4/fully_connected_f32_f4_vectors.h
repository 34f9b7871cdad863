/// The arithmetic of fully_connected_f32_f4.h, for every tier (kernels/vector_f32.h). Vectors are quantised on
/// their way into the buffer, each as often as it is brought there.
#ifndef EI_KERNELS_FULLY_CONNECTED_F32_F4_VECTORS_H
#define EI_KERNELS_FULLY_CONNECTED_F32_F4_VECTORS_H

#include <string.h>

#include "kernels/fully_connected_f32_f4/fully_connected_f32_f4.h"
#include "kernels/packed_gemm_s8_f4/packed_gemm_s8_f4_rows.h"
#include "kernels/requantize.h"
#include "kernels/vector_f32.h"

// As ei_round_small() rounds.
#define EI_ROUNDED      0x1.8p23f
#define EI_ROUNDED_BITS 0x4b400000

typedef struct ei_f4_vectors {
    const ei_fully_connected_f32_f4_args *args;
    uint32_t begin;
    struct {
        float scale, inverse;
    } of[EI_F4_MOST_ROWS]; // of the vectors in the buffer
} ei_f4_vectors;

/// Bits of the largest |x|; as integers, since an infinity is above every number then, and a NaN above
/// that.
static uint32_t largest_bits(const float *x, size_t count) {
    enum { LANES = 16 };
    uint32_t lanes[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        int32_t bits[LANES];
        memcpy(bits, x + i, sizeof bits);
        for (size_t lane = 0; lane < LANES; lane++) {
            const int32_t magnitude = bits[lane] & INT32_MAX;
            lanes[lane] = (int32_t)lanes[lane] > magnitude ? lanes[lane] : (uint32_t)magnitude;
        }
    }
    uint32_t largest = 0;
    for (size_t lane = 0; lane < LANES; lane++) {
        largest = lanes[lane] > largest ? lanes[lane] : largest;
    }
    for (; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bits &= INT32_MAX;
        largest = bits > largest ? bits : largest;
    }
    return largest;
}

static const float *vector_at(const ei_f4_vectors *vectors, size_t row) {
    const ei_fully_connected_f32_f4_args *args = vectors->args;
    const uint8_t *first = ei_row(&args->x, vectors->begin + (uint32_t)(row / args->vectors));
    return (const float *)(const void *)first + row % args->vectors * args->k;
}

static void find_scale(ei_f4_vectors *vectors, size_t slot, const float *x) {
    const uint32_t bits = largest_bits(x, vectors->args->k);
    float largest;
    memcpy(&largest, &bits, sizeof largest);
    if (bits >= 0x7f800000u) {
        vectors->of[slot].scale = __builtin_nanf("");
        vectors->of[slot].inverse = 0.0f;
    } else if (largest < 0x1p-119f) {
        vectors->of[slot].scale = 0.0f;
        vectors->of[slot].inverse = 0.0f;
    } else {
        vectors->of[slot].scale = largest / 127.0f;
        vectors->of[slot].inverse = 127.0f / largest;
    }
}

/// Rounds values that lie one behind another, EI_LOADED of them.
#if defined(__AVX2__)
#define EI_LOADED 32
EI_ALWAYS_INLINE void round_many(int8_t *out, const float *x, float inverse) {
    ei_s32v r[4];
    EI_UNROLL
    for (int i = 0; i < 4; i++) {
        r[i] = ei_bits(ei_load(x + i * EI_LANES) * inverse + EI_ROUNDED) - EI_ROUNDED_BITS;
    }
    // Packs within halves: fours of bytes come as 0, 2, 4, 6, 1, 3, 5, 7.
    const __m256i low = _mm256_packs_epi32((__m256i)r[0], (__m256i)r[1]);
    const __m256i high = _mm256_packs_epi32((__m256i)r[2], (__m256i)r[3]);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order);
    _mm256_storeu_si256((__m256i *)(void *)out, bytes);
}
#else
#define EI_LOADED 16
EI_ALWAYS_INLINE void round_many(int8_t *restrict out, const float *restrict x, float inverse) {
    for (size_t i = 0; i < EI_LOADED; i++) {
        out[i] = (int8_t)ei_round_small(x[i] * inverse);
    }
}
#endif

static void load_vector(const ei_f4_rows *job, size_t slot, size_t row, size_t k, size_t count,
                        int8_t *restrict out) {
    ei_f4_vectors *vectors = job->context;
    const float *restrict x = vector_at(vectors, row);
    if (k == 0) {
        find_scale(vectors, slot, x);
    }
    const float inverse = vectors->of[slot].inverse;
    if (inverse == 0.0f) { // x may be no number
        memset(out, 0, count);
        return;
    }
    x += k;
    size_t i = 0;
    for (; i + EI_LOADED <= count; i += EI_LOADED) {
        round_many(out + i, x + i, inverse);
    }
    for (; i < count; i++) {
        out[i] = (int8_t)ei_round_small(x[i] * inverse);
    }
}

static void store_vector(const ei_f4_rows *job, size_t slot, size_t row, size_t first, size_t count,
                         const float *sums) {
    const ei_f4_vectors *vectors = job->context;
    const ei_fully_connected_f32_f4_args *args = vectors->args;
    uint8_t *begin = ei_row(&args->y, vectors->begin + (uint32_t)(row / args->vectors));
    float *y = (float *)(void *)begin + row % args->vectors * args->y_step + first;
    const float scale = vectors->of[slot].scale;
    const float *multiplier = args->multiplier + first;
    const float *bias = args->bias + first;
    for (size_t n = 0; n < count; n += EI_LANES) {
        const size_t left = count - n;
        const ei_f32v factor = scale * ei_load(multiplier + n); // whole tiles, as bias and sums
        const ei_f32v v = ei_fma(ei_load(sums + n), factor, ei_load(bias + n));
        ei_store_part(y + n, left, ei_clamped(v, args->bounds.low, args->bounds.high));
    }
}

/// Defines `name`, the kernel of a tier.
#define EI_FULLY_CONNECTED_F32_F4(name)                                                            \
    void name(const ei_fully_connected_f32_f4_args *args, ei_packed_gemm_s8_f4_fn gemm,            \
              uint32_t begin, uint32_t end) {                                                      \
        ei_f4_vectors vectors = {.args = args, .begin = begin};                                    \
        const ei_f4_rows job = {.gemm = gemm,                                                      \
                                .scheme = args->scheme,                                            \
                                .rows = (size_t)(end - begin) * args->vectors,                     \
                                .k = args->k,                                                      \
                                .n = args->n,                                                      \
                                .weights = args->weights,                                          \
                                .load = load_vector,                                               \
                                .store = store_vector,                                             \
                                .context = &vectors};                                              \
        ei_multiply_rows_f4(&job);                                                                 \
    }

#endif
