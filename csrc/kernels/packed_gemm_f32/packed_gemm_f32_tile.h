/// The register tile, an outer product: for every k the weights of some channels are loaded once, one
/// value of each pixel is broadcast, and each pair is one fused multiply-add into its own accumulator.
///
///             w[k][ch 0 .. 15]  w[k][ch 16 .. 31]
///     x[p][k]   acc[p][0]         acc[p][1]
///     x[p+1][k] acc[p+1][0]       acc[p+1][1]
///        ...
///
/// Latency times throughput of the instruction, 8 to 10 on all CPUs here, is how many accumulators a
/// tile has at least. Pixels lie at a constant distance, so three of them share an address register. Tiles
/// of 14 are two times seven, which may be those of two rows of an image that is seven pixels wide.
#ifndef EI_KERNELS_PACKED_GEMM_F32_TILE_H
#define EI_KERNELS_PACKED_GEMM_F32_TILE_H

#include "kernels/packed_gemm_f32/packed_gemm_f32.h"
#include "kernels/packed_gemm_f32/packed_gemm_f32_vector.h"

enum { EI_LINE_BYTES = 64 };
enum { EI_TILE_MOST_ROWS = 14, EI_TILE_MOST_VECTORS = 16, EI_TILE_MOST_SUMS = 14 * 32 };

/// Keeps the compiler from giving every pixel a pointer of its own, for which it lacks registers.
#define EI_OPAQUE(pointer) __asm__("" : "+r"(pointer))

static const float ei_no_bias[EI_TILE_MOST_VECTORS * 16] = {0};

/// What y holds of a tile, into [rows][vectors].
__attribute__((noinline)) static void ei_gemm_resume(const ei_packed_gemm_f32 *gemm, size_t pixel,
                                                     size_t channel, int rows, int vectors,
                                                     float *sums) {
    const size_t channels = gemm->channels - channel;
    for (int r = 0; r < rows; r++) {
        const float *y = gemm->y + (pixel + (size_t)r) * gemm->y_step + channel;
        for (int v = 0; v < vectors; v++) {
            const size_t first = (size_t)v * EI_VECTOR;
            ei_vector_store(sums, ei_vector_load_part(y + first, ei_lanes_left(channels, first)));
            sums += EI_VECTOR;
        }
    }
}

/// Stores the sums of a tile: not inlined into every tile, since it is as long as these.
__attribute__((noinline)) static void ei_gemm_store(const ei_packed_gemm_f32 *gemm, size_t pixel,
                                                    size_t channel, int rows, int vectors,
                                                    const float *sums) {
    const ei_bounds_f32 bounds = gemm->bounds;
    const size_t channels = gemm->channels - channel;
    for (int r = 0; r < rows; r++) {
        float *y = gemm->y + (pixel + (size_t)r) * gemm->y_step + channel;
        for (int v = 0; v < vectors; v++) {
            const size_t first = (size_t)v * EI_VECTOR;
            const ei_vector stored = ei_vector_bounded(ei_vector_load(sums), bounds);
            ei_vector_store_part(y + first, stored, ei_lanes_left(channels, first));
            sums += EI_VECTOR;
        }
    }
}

EI_ALWAYS_INLINE ei_vector ei_tile_weights(const uint8_t *w, size_t element, int half) {
    return half ? ei_vector_half((const uint16_t *)(const void *)w + element)
                : ei_vector_load((const float *)(const void *)w + element);
}

/// Pixels [pixel, pixel + rows) by `vectors` vectors of channels from tile number `first` on.
EI_ALWAYS_INLINE void ei_gemm_tile(const ei_packed_gemm_f32 *gemm, size_t pixel, size_t first,
                                   int rows, int vectors, int half) {
    const size_t size = half ? sizeof(uint16_t) : sizeof(float);
    const size_t step = gemm->pixel_step;
    const size_t seven = gemm->row_step != 0 ? gemm->row_step : 7 * step;
    const size_t channel = first * EI_TILE_CHANNELS;
    ei_vector acc[EI_TILE_MOST_ROWS][EI_TILE_MOST_VECTORS];
    _Alignas(64) float sums[EI_TILE_MOST_SUMS];
    const float *start = ei_no_bias;
    size_t start_step = 0;
    if (gemm->bias != NULL) {
        start = gemm->bias + channel;
    } else if (gemm->resumes) {
        ei_gemm_resume(gemm, pixel, channel, rows, vectors, sums);
        start = sums;
        start_step = (size_t)vectors * EI_VECTOR;
    }
    EI_UNROLL
    for (int r = 0; r < rows; r++) {
        EI_UNROLL
        for (int v = 0; v < vectors; v++) {
            acc[r][v] = ei_vector_load(start + (size_t)r * start_step + v * EI_VECTOR);
        }
    }
    // Four tiles share an address register, as three pixels do.
    const size_t tile_step = gemm->tile_step * size;
    const uint8_t *w0 = (const uint8_t *)gemm->weights + first * tile_step;
    const uint8_t *w4 = w0 + 4 * tile_step;
    const size_t k_step = gemm->k_step * size;
    // A line of what comes next for each k; of nothing new where it is all there.
    ei_weights_ahead *ahead = gemm->ahead;
    const uint8_t *next = w0;
    size_t next_step = 0;
    if (ahead != NULL && ahead->at < ahead->end) {
        next = ahead->at;
        next_step = EI_LINE_BYTES;
        ahead->at += gemm->segment_count * gemm->length * EI_LINE_BYTES;
    }
    for (size_t s = 0; s < gemm->segment_count; s++) {
        const float *a0 = gemm->segments[s] + pixel * step;
        const float *a3 = a0 + 3 * step;
        const float *a6 = a0 + 6 * step;
        const float *b0 = a0 + seven; // the same from the eighth pixel on
        const float *b3 = b0 + 3 * step;
        const float *b6 = b0 + 6 * step;
        for (size_t left = gemm->length; left != 0; left--) {
            ei_vector w[EI_TILE_MOST_VECTORS];
            EI_UNROLL
            for (int v = 0; v < vectors; v++) {
                const int tile = v / EI_TILE_VECTORS;
                const uint8_t *base = tile < 4 ? w0 : w4;
                w[v] = ei_tile_weights(base + (size_t)(tile % 4) * tile_step,
                                       (size_t)(v % EI_TILE_VECTORS) * EI_VECTOR, half);
            }
            EI_UNROLL
            for (int r = 0; r < rows; r++) {
                const float *a = r % 7 < 3 ? a0 : (r % 7 < 6 ? a3 : a6);
                const float *b = r % 7 < 3 ? b0 : (r % 7 < 6 ? b3 : b6);
                const ei_vector x = ei_vector_splat((r < 7 ? a : b)[(size_t)(r % 7 % 3) * step]);
                EI_UNROLL
                for (int v = 0; v < vectors; v++) {
                    acc[r][v] = ei_vector_fma(x, w[v], acc[r][v]);
                }
            }
            a0++, a3++, a6++, b0++, b3++, b6++;
            EI_OPAQUE(a0);
            if (rows > 3) {
                EI_OPAQUE(a3);
            }
            if (rows > 6) {
                EI_OPAQUE(a6);
            }
            if (rows > 7) {
                EI_OPAQUE(b0);
                EI_OPAQUE(b3);
                EI_OPAQUE(b6);
            }
            if (rows > 1) {
                __builtin_prefetch(next, 0, 2);
                next += next_step;
            }
            w0 += k_step, w4 += k_step;
            EI_OPAQUE(w0);
            if (vectors > 4 * EI_TILE_VECTORS) {
                EI_OPAQUE(w4);
            }
        }
    }
    EI_UNROLL
    for (int r = 0; r < rows; r++) {
        EI_UNROLL
        for (int v = 0; v < vectors; v++) {
            ei_vector_store(sums + (r * vectors + v) * EI_VECTOR, acc[r][v]);
        }
    }
    ei_gemm_store(gemm, pixel, channel, rows, vectors, sums);
}

/// Tiles of channels that pixels [pixel, pixel + rows) meet: as many at once as `most`, then one by one;
/// of the last one half where that has all the channels that exist.
EI_ALWAYS_INLINE void ei_gemm_columns(const ei_packed_gemm_f32 *gemm, size_t pixel, int rows,
                                      int most, int half) {
    const int tile_vectors = EI_TILE_VECTORS;
    const size_t tiles = (gemm->channels + EI_TILE_CHANNELS - 1) / EI_TILE_CHANNELS;
    const int last_is_half =
        tile_vectors == 2 && rows > 1 && gemm->channels + EI_VECTOR <= tiles * EI_TILE_CHANNELS;
    const size_t whole = tiles - (size_t)last_is_half;
    size_t tile = 0;
    for (; tile + (size_t)most <= whole; tile += (size_t)most) {
        ei_gemm_tile(gemm, pixel, tile, rows, most * tile_vectors, half);
    }
    for (; most > 1 && tile < whole; tile++) {
        ei_gemm_tile(gemm, pixel, tile, rows, tile_vectors, half);
    }
    if (last_is_half) {
        ei_gemm_tile(gemm, pixel, tile, rows, 1, half);
    }
}

#define EI_GEMM_COLUMNS(name, rows, most)                                                          \
    static void name(const ei_packed_gemm_f32 *gemm, size_t pixel) {                               \
        if (gemm->half) {                                                                          \
            ei_gemm_columns(gemm, pixel, rows, most, 1);                                           \
        } else {                                                                                   \
            ei_gemm_columns(gemm, pixel, rows, most, 0);                                           \
        }                                                                                          \
    }

/// Pixels of the next tile: the largest size that fits, or the one above it over pixels of which some
/// are computed again, where that leaves less to do. `sizes` fall and end with 1.
EI_ALWAYS_INLINE size_t ei_gemm_rows(const ei_packed_gemm_f32 *gemm, size_t *pixel,
                                     const size_t *sizes) {
    const size_t left = gemm->pixels - *pixel;
    size_t i = 0;
    while (sizes[i] > left) {
        i++;
    }
    if (i > 0 && sizes[i] < left && gemm->pixels >= sizes[i - 1] && !gemm->resumes) {
        *pixel = gemm->pixels - sizes[i - 1]; // what is stored twice is the same
        i--;
    }
    return sizes[i];
}

#endif
