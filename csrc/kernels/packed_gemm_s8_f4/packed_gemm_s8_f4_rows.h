/// How operators use a tier's product of int8 rows and weights of four bits: rows are brought into a buffer
/// on the stack, multiplied, and what becomes of their sums is stored, as many at a time as fit. Rows that
/// do not fit are multiplied piece by piece, in ascending order of K: any K is taken.
#ifndef EI_KERNELS_PACKED_GEMM_S8_F4_ROWS_H
#define EI_KERNELS_PACKED_GEMM_S8_F4_ROWS_H

#include "kernels/packed_gemm_s8_f4/packed_gemm_s8_f4.h"

typedef struct ei_f4_rows ei_f4_rows;

struct ei_f4_rows {
    ei_packed_gemm_s8_f4_fn gemm;
    ei_f4_scheme scheme;
    size_t rows, k, n;
    const uint8_t *weights; // tiles of all blocks of k
    const float *start;     // what the sums begin with, [n rounded up to 16]; NULL: +0
    /// Puts values [k, k + count) of row `row` to `out`. Pieces of a row come in ascending order, from 0
    /// on, perhaps several times; `slot` counts the rows that are in the buffer together.
    void (*load)(const ei_f4_rows *job, size_t slot, size_t row, size_t k, size_t count,
                 int8_t *out);
    /// Takes the sums of channels [first, first + count) of row `row`, in `slot`.
    void (*store)(const ei_f4_rows *job, size_t slot, size_t row, size_t first, size_t count,
                  const float *sums);
    void *context; // of these two
};

void ei_multiply_rows_f4(const ei_f4_rows *job);

#endif
