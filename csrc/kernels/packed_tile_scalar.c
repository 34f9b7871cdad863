// Sums of products over runs of K, for the scalar versions of everything with packed weights.
#include "kernels/packed_tile.h"
#include "kernels/unroll.h"

// acc[n] += w(n, 0..3) . v, w being the 64 bytes of one K-group of four.
EI_ALWAYS_INLINE void add_group_s8(uint32_t acc[restrict EI_TILE_CHANNELS],
                                   const int8_t *restrict w, const int16_t v[EI_TILE_K]) {
    for (size_t n = 0; n < EI_TILE_CHANNELS; n++) {
        acc[n] += (uint32_t)(w[4 * n] * v[0] + w[4 * n + 1] * v[1] + w[4 * n + 2] * v[2] +
                             w[4 * n + 3] * v[3]);
    }
}

// As add_group_s8 on int16 activations: four products fit int32_t, their sums need more.
EI_ALWAYS_INLINE void add_group_s16(uint64_t acc[restrict EI_TILE_CHANNELS],
                                    const int8_t *restrict w, const int32_t v[EI_TILE_K]) {
    for (size_t n = 0; n < EI_TILE_CHANNELS; n++) {
        const int32_t sum =
            w[4 * n] * v[0] + w[4 * n + 1] * v[1] + w[4 * n + 2] * v[2] + w[4 * n + 3] * v[3];
        acc[n] += (uint64_t)(int64_t)sum;
    }
}

void ei_tile_add_s8(uint32_t acc[restrict EI_TILE_CHANNELS], const int8_t *restrict w, size_t k,
                    const int8_t *restrict x, size_t count, int32_t zero_point) {
    const size_t end = k + count;
    w += k / EI_TILE_K * EI_TILE_BYTES;
    while (k < end) {
        if (k % EI_TILE_K == 0 && end - k >= EI_TILE_K) {
            const int16_t v[EI_TILE_K] = {
                (int16_t)(x[0] - zero_point), (int16_t)(x[1] - zero_point),
                (int16_t)(x[2] - zero_point), (int16_t)(x[3] - zero_point)};
            add_group_s8(acc, w, v);
            k += EI_TILE_K;
            x += EI_TILE_K;
        } else { // the run begins or ends inside this group: the rest of it adds nothing
            int16_t v[EI_TILE_K] = {0};
            do {
                v[k % EI_TILE_K] = (int16_t)(*x - zero_point);
                k++;
                x++;
            } while (k < end && k % EI_TILE_K != 0);
            add_group_s8(acc, w, v);
        }
        w += EI_TILE_BYTES;
    }
}

void ei_tile_add_s16(uint64_t acc[restrict EI_TILE_CHANNELS], const int8_t *restrict w, size_t k,
                     const int16_t *restrict x, size_t count, int32_t zero_point) {
    const size_t end = k + count;
    w += k / EI_TILE_K * EI_TILE_BYTES;
    while (k < end) {
        if (k % EI_TILE_K == 0 && end - k >= EI_TILE_K) {
            const int32_t v[EI_TILE_K] = {x[0] - zero_point, x[1] - zero_point, x[2] - zero_point,
                                          x[3] - zero_point};
            add_group_s16(acc, w, v);
            k += EI_TILE_K;
            x += EI_TILE_K;
        } else { // the run begins or ends inside this group: the rest of it adds nothing
            int32_t v[EI_TILE_K] = {0};
            do {
                v[k % EI_TILE_K] = *x - zero_point;
                k++;
                x++;
            } while (k < end && k % EI_TILE_K != 0);
            add_group_s16(acc, w, v);
        }
        w += EI_TILE_BYTES;
    }
}
