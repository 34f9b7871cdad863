#include "kernels/argmax/argmax.h"

// Searches that go on side by side where they begin side by side in x.
#define EI_BLOCK 64

static inline void store(const ei_argmax_args *args, size_t i, int32_t index) {
    if (args->y_bytes == 4) {
        ((int32_t *)args->y)[i] = index;
    } else {
        ((int64_t *)args->y)[i] = index;
    }
}

#define EI_ARGMAX(name, type)                                                                      \
    void name(const ei_argmax_args *args) {                                                        \
        const int minimum = args->minimum;                                                         \
        const int last = args->select_last;                                                        \
        const size_t width = args->step == 1 ? EI_BLOCK : 1;                                       \
        for (size_t first = 0; first < args->count; first += width) {                              \
            const size_t block = args->count - first < width ? args->count - first : width;        \
            const type *x = (const type *)args->x + first * args->step;                            \
            type best[EI_BLOCK];                                                                   \
            int32_t index[EI_BLOCK] = {0};                                                         \
            for (size_t b = 0; b < block; b++) {                                                   \
                best[b] = x[b];                                                                    \
            }                                                                                      \
            for (size_t i = 1; i < args->size; i++) {                                              \
                x += args->stride;                                                                 \
                for (size_t b = 0; b < block; b++) {                                               \
                    const int better = minimum ? x[b] < best[b] : x[b] > best[b];                  \
                    if (better || (last && x[b] == best[b])) {                                     \
                        best[b] = x[b];                                                            \
                        index[b] = (int32_t)i;                                                     \
                    }                                                                              \
                }                                                                                  \
            }                                                                                      \
            for (size_t b = 0; b < block; b++) {                                                   \
                store(args, first + b, index[b]);                                                  \
            }                                                                                      \
        }                                                                                          \
    }

EI_ARGMAX(ei_argmax_s8_scalar, int8_t)
EI_ARGMAX(ei_argmax_u8_scalar, uint8_t)
EI_ARGMAX(ei_argmax_s16_scalar, int16_t)
EI_ARGMAX(ei_argmax_s32_scalar, int32_t)
EI_ARGMAX(ei_argmax_f32_scalar, float)
