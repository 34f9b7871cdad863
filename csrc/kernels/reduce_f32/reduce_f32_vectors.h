/// The arithmetic of reduce_f32.h, for every tier (kernels/vector_f32.h). Results that lie side by side
/// are lanes of vectors, 16 of these for their parts. Else the 16 parts of one result are lanes; its
/// elements are copied together first unless they lie one behind another.
#ifndef EI_KERNELS_REDUCE_F32_VECTORS_H
#define EI_KERNELS_REDUCE_F32_VECTORS_H

#include "kernels/math_f32.h"
#include "kernels/math_f64.h"
#include "kernels/reduce_f32/reduce_f32.h"

#define EI_GATHERED 256 // elements copied together, a multiple of 16

/// How elements join a part, and parts each other.
typedef enum ei_fold {
    EI_FOLD_SUM,
    EI_FOLD_SQUARES,
    EI_FOLD_MAGNITUDES,
    EI_FOLD_PRODUCT,
    EI_FOLD_LARGEST,
    EI_FOLD_SMALLEST,
    EI_FOLD_EXP
} ei_fold;

static ei_fold ei_fold_of(int32_t kind) {
    switch (kind) {
    case EI_F32_SUM_SQUARES:
    case EI_F32_L2: return EI_FOLD_SQUARES;
    case EI_F32_L1: return EI_FOLD_MAGNITUDES;
    case EI_F32_PRODUCT: return EI_FOLD_PRODUCT;
    case EI_F32_LARGEST: return EI_FOLD_LARGEST;
    case EI_F32_SMALLEST: return EI_FOLD_SMALLEST;
    default: return EI_FOLD_SUM;
    }
}

static float ei_neutral(ei_fold fold) {
    switch (fold) {
    case EI_FOLD_PRODUCT: return 1.0f;
    case EI_FOLD_LARGEST:
    case EI_FOLD_EXP: return -__builtin_inff();
    case EI_FOLD_SMALLEST: return __builtin_inff();
    default: return 0.0f;
    }
}

EI_ALWAYS_INLINE ei_f32v ei_join(ei_fold fold, ei_f32v part, ei_f32v x, float reference) {
    switch (fold) {
    case EI_FOLD_SUM: return part + x;
    case EI_FOLD_SQUARES: return ei_fma(x, x, part);
    case EI_FOLD_MAGNITUDES: return part + ei_absolute(x);
    case EI_FOLD_PRODUCT: return part * x;
    case EI_FOLD_LARGEST: return ei_maximum(part, x);
    case EI_FOLD_SMALLEST: return ei_minimum(part, x);
    default: return part + ei_exp(x - reference);
    }
}

/// Parts of parts[16], each of so many vectors, joined to the first of them.
static void ei_join_parts(ei_fold fold, ei_f32v *parts) {
    for (int half = 8; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) {
            const ei_f32v a = parts[i];
            const ei_f32v b = parts[i + half];
            switch (fold) {
            case EI_FOLD_PRODUCT: parts[i] = a * b; break;
            case EI_FOLD_LARGEST: parts[i] = ei_maximum(a, b); break;
            case EI_FOLD_SMALLEST: parts[i] = ei_minimum(a, b); break;
            default: parts[i] = a + b; break;
            }
        }
    }
}

/// Blocks of 16 elements that lie one behind another join the parts.
#define EI_JOIN_BLOCKS(fold)                                                                       \
    case fold:                                                                                     \
        for (size_t at = 0; at < blocks * 16; at += 16) {                                          \
            EI_UNROLL                                                                              \
            for (int p = 0; p < EI_PARTS; p++) {                                                   \
                const ei_f32v v = ei_load(x + at + p * EI_LANES);                                  \
                parts[p] = ei_join(fold, parts[p], v, reference);                                  \
            }                                                                                      \
        }                                                                                          \
        break;

static void ei_join_blocks(ei_fold fold, ei_f32v *into, const float *x, size_t blocks,
                           float reference) {
    ei_f32v parts[EI_PARTS]; // in registers, unlike what a pointer leads to
    memcpy(parts, into, sizeof parts);
    switch (fold) {
        EI_JOIN_BLOCKS(EI_FOLD_SUM)
        EI_JOIN_BLOCKS(EI_FOLD_SQUARES)
        EI_JOIN_BLOCKS(EI_FOLD_MAGNITUDES)
        EI_JOIN_BLOCKS(EI_FOLD_PRODUCT)
        EI_JOIN_BLOCKS(EI_FOLD_LARGEST)
        EI_JOIN_BLOCKS(EI_FOLD_SMALLEST)
        EI_JOIN_BLOCKS(EI_FOLD_EXP)
    }
    memcpy(into, parts, sizeof parts);
}

/// Elements that lie one behind another; all calls but the last have a multiple of 16.
static void ei_join_run(ei_fold fold, ei_f32v *parts, const float *x, size_t count,
                        float reference) {
    ei_join_blocks(fold, parts, x, count / 16, reference);
    const size_t rest = count % 16;
    if (rest > 0) {
        float last[16];
        for (size_t i = 0; i < 16; i++) {
            last[i] = i < rest ? x[count - rest + i] : ei_neutral(fold);
        }
        ei_join_blocks(fold, parts, last, 1, reference);
    }
}

/// The result whose elements start at x.
static float ei_fold_one(ei_fold fold, const ei_reduce_f32_args *args, const float *x,
                         float reference) {
    const size_t *terms = args->terms;
    const size_t *strides = args->strides;
    ei_f32v parts[EI_PARTS];
    for (int p = 0; p < EI_PARTS; p++) {
        parts[p] = ei_splat(fold == EI_FOLD_EXP ? 0.0f : ei_neutral(fold));
    }
    if (strides[2] == 1 && terms[0] * terms[1] == 1) {
        ei_join_run(fold, parts, x, terms[2], reference);
    } else {
        float gathered[EI_GATHERED];
        size_t count = 0;
        for (size_t i = 0; i < terms[0]; i++) {
            for (size_t j = 0; j < terms[1]; j++) {
                const float *run = x + i * strides[0] + j * strides[1];
                for (size_t k = 0; k < terms[2]; k++) {
                    gathered[count++] = run[k * strides[2]];
                    if (count == EI_GATHERED) {
                        ei_join_run(fold, parts, gathered, count, reference);
                        count = 0;
                    }
                }
            }
        }
        ei_join_run(fold, parts, gathered, count, reference);
    }
    float lanes[16];
    memcpy(lanes, parts, sizeof lanes);
    ei_f32v split[16];
    for (int i = 0; i < 16; i++) {
        split[i] = ei_splat(lanes[i]);
    }
    ei_join_parts(fold, split);
    ei_store(lanes, split[0]);
    return lanes[0];
}

/// EI_LANES results side by side, from x on.
#define EI_JOIN_COLUMNS(fold)                                                                      \
    case fold:                                                                                     \
        for (size_t k = 0; k < count; k++) {                                                       \
            parts[(first + k) % 16] =                                                              \
                ei_join(fold, parts[(first + k) % 16], ei_load(x + k * stride), 0.0f);             \
        }                                                                                          \
        break;

static ei_f32v ei_fold_columns(ei_fold fold, const ei_reduce_f32_args *args, const float *x) {
    ei_f32v parts[16];
    for (int p = 0; p < 16; p++) {
        parts[p] = ei_splat(ei_neutral(fold));
    }
    const size_t count = args->terms[2];
    const size_t stride = args->strides[2];
    size_t first = 0;
    const float *const start = x;
    for (size_t i = 0; i < args->terms[0]; i++) {
        for (size_t j = 0; j < args->terms[1]; j++, first += count) {
            x = start + i * args->strides[0] + j * args->strides[1];
            switch (fold) {
                EI_JOIN_COLUMNS(EI_FOLD_SUM)
                EI_JOIN_COLUMNS(EI_FOLD_SQUARES)
                EI_JOIN_COLUMNS(EI_FOLD_MAGNITUDES)
                EI_JOIN_COLUMNS(EI_FOLD_PRODUCT)
                EI_JOIN_COLUMNS(EI_FOLD_LARGEST)
                EI_JOIN_COLUMNS(EI_FOLD_SMALLEST)
            default: break; // by ei_fold_one
            }
        }
    }
    ei_join_parts(fold, parts);
    return parts[0];
}

static void ei_finish_folds(const ei_reduce_f32_args *args, float *y, size_t count) {
    const size_t n = args->terms[0] * args->terms[1] * args->terms[2];
    for (size_t at = 0; at < count; at += EI_LANES) {
        ei_f32v v = ei_load_or(y + at, count - at, 0.0f);
        if (args->kind == EI_F32_MEAN) {
            v = v / ei_splat((float)n);
        } else if (args->kind == EI_F32_L2) {
            v = ei_square_root(v);
        }
        ei_store_part(y + at, count - at, ei_clamped(v, args->clamp_min, args->clamp_max));
    }
}

static float ei_fold_log(const ei_reduce_f32_args *args, const float *x) {
    if (args->kind == EI_F32_LOG_SUM) {
        return (float)ei_log_f64((double)ei_fold_one(EI_FOLD_SUM, args, x, 0.0f));
    }
    const float largest = ei_fold_one(EI_FOLD_LARGEST, args, x, 0.0f);
    const float reference = largest - largest == 0.0f ? largest : 0.0f;
    const float sum = ei_fold_one(EI_FOLD_EXP, args, x, reference);
    return reference + (float)ei_log_f64((double)sum);
}

/// Defines `name`, the kernel of a tier.
#define EI_REDUCE_F32(name)                                                                        \
    void name(const ei_reduce_f32_args *args) {                                                    \
        const ei_fold fold = ei_fold_of(args->kind);                                               \
        const int log = args->kind == EI_F32_LOG_SUM || args->kind == EI_F32_LOG_SUM_EXP;          \
        const int columns = args->step == 1 && !log;                                               \
        for (size_t i = 0; i < args->count;) {                                                     \
            const float *x = args->x + i * args->step;                                             \
            if (columns && args->count - i >= EI_LANES) {                                          \
                ei_store(args->y + i, ei_fold_columns(fold, args, x));                             \
                i += EI_LANES;                                                                     \
            } else {                                                                               \
                args->y[i++] = log ? ei_fold_log(args, x) : ei_fold_one(fold, args, x, 0.0f);      \
            }                                                                                      \
        }                                                                                          \
        ei_finish_folds(args, args->y, args->count);                                               \
    }

#endif
