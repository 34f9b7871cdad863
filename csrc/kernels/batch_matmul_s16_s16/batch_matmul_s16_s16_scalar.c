// The reference. [k, n]: 16 columns at a time, so that the column loop is what the compiler can
// vectorise; [n, k]: one dot product of two contiguous runs per output.
#include "kernels/batch_matmul_s16_s16/batch_matmul_s16_s16.h"

#include <stddef.h>

#define EI_COLUMNS 16

/// Sums of row `a` with `count` columns of b from `first` on; a constant count makes it vector code.
static inline void add_columns(uint64_t acc[restrict EI_COLUMNS],
                               const ei_batch_matmul_s16_s16_args *args, const int16_t *restrict a,
                               size_t first, size_t count) {
    const int16_t *restrict b = args->b + first;
    const int32_t b_zero_point = args->b_zero_point;
    for (size_t l = 0; l < args->k; l++) {
        const int64_t value = a[l] - args->a_zero_point;
        for (size_t j = 0; j < count; j++) {
            acc[j] += (uint64_t)(value * (b[j] - b_zero_point));
        }
        b += args->n;
    }
}

static int16_t requantize(const ei_batch_matmul_s16_s16_args *args, uint64_t sum) {
    return (int16_t)ei_requantize((float)(int64_t)sum * args->multiplier, &args->requant);
}

static void multiply_row(const ei_batch_matmul_s16_s16_args *args, const int16_t *restrict a,
                         int16_t *restrict y) {
    for (size_t first = 0; first < args->n; first += EI_COLUMNS) {
        const size_t left = args->n - first;
        const size_t count = left < EI_COLUMNS ? left : EI_COLUMNS;
        uint64_t acc[EI_COLUMNS] = {0};
        if (count == EI_COLUMNS) {
            add_columns(acc, args, a, first, EI_COLUMNS);
        } else {
            add_columns(acc, args, a, first, count);
        }
        for (size_t j = 0; j < count; j++) {
            y[first + j] = requantize(args, acc[j]);
        }
    }
}

static void multiply_row_transposed(const ei_batch_matmul_s16_s16_args *args,
                                    const int16_t *restrict a, int16_t *restrict y) {
    const int32_t a_zero_point = args->a_zero_point;
    const int32_t b_zero_point = args->b_zero_point;
    for (size_t j = 0; j < args->n; j++) {
        const int16_t *restrict b = args->b + j * args->k;
        uint64_t sum = 0;
        for (size_t l = 0; l < args->k; l++) {
            sum += (uint64_t)((int64_t)(a[l] - a_zero_point) * (b[l] - b_zero_point));
        }
        y[j] = requantize(args, sum);
    }
}

void ei_batch_matmul_s16_s16_scalar(const ei_batch_matmul_s16_s16_args *args) {
    for (size_t i = 0; i < args->m; i++) {
        const int16_t *a = args->a + i * args->k;
        int16_t *y = args->y + i * args->n;
        if (args->transpose_b) {
            multiply_row_transposed(args, a, y);
        } else {
            multiply_row(args, a, y);
        }
    }
}
