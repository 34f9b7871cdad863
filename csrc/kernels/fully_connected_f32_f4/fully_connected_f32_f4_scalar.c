// Vectors are quantised on their way into the buffer, each as often as it is brought there.
#include "kernels/fully_connected_f32_f4/fully_connected_f32_f4.h"

#include <string.h>

#include "kernels/exact_fma.h"
#include "kernels/packed_gemm_s8_f4/packed_gemm_s8_f4_rows.h"
#include "kernels/requantize.h"

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
    enum { LANES = 16 };
    x += k;
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        for (size_t lane = 0; lane < LANES; lane++) {
            out[i + lane] = (int8_t)ei_round_small(x[i + lane] * inverse);
        }
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
    for (size_t n = 0; n < count; n++) {
        const float factor = scale * args->multiplier[first + n];
        y[n] = ei_bounded_f32(ei_exact_fma(sums[n], factor, args->bias[first + n]), args->bounds);
    }
}

void ei_fully_connected_f32_f4(const ei_fully_connected_f32_f4_args *args,
                               ei_packed_gemm_s8_f4_fn gemm, uint32_t begin, uint32_t end) {
    ei_f4_vectors vectors = {.args = args, .begin = begin};
    const ei_f4_rows job = {.gemm = gemm,
                            .scheme = args->scheme,
                            .rows = (size_t)(end - begin) * args->vectors,
                            .k = args->k,
                            .n = args->n,
                            .weights = args->weights,
                            .load = load_vector,
                            .store = store_vector,
                            .context = &vectors};
    ei_multiply_rows_f4(&job);
}
