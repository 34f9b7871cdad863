/// What operators that fold some axes away share: reduce_sum, reduce_f32 and argmax.
#ifndef EI_OPS_REDUCED_H
#define EI_OPS_REDUCED_H

#include "ops/op.h"

/// Checks that y has the shape of x with the axes of the mask (bit i: axis i, all of them axes of x)
/// 1 or dropped, and that x is whole unless ei_reduced_in_row().
ei_status ei_reduced_check(const ei_tensor_record *x, const ei_tensor_record *y, uint32_t axes);

/// Whether row r of y comes from row r of x alone.
int ei_reduced_in_row(const ei_tensor_record *x, const ei_tensor_record *y, uint32_t axes);

// Axes that are neighbours and folded alike count as one: of six, three at most of either kind.
#define EI_MAX_GROUPS 3

/// A dense array whose axes are folded or kept; innermost first, sizes 1 where there is none.
typedef struct ei_folding {
    size_t folded[EI_MAX_GROUPS], folded_strides[EI_MAX_GROUPS];
    size_t kept[EI_MAX_GROUPS], kept_strides[EI_MAX_GROUPS];
} ei_folding;

/// The folding of axes [first, rank) of x.
ei_folding ei_fold_axes(const ei_tensor_record *x, uint32_t first, uint32_t axes);

/// Where the elements of result `at` begin.
static inline size_t ei_folding_offset(const ei_folding *folding, size_t at) {
    const size_t line = at / folding->kept[0];
    return at % folding->kept[0] * folding->kept_strides[0] +
           line % folding->kept[1] * folding->kept_strides[1] +
           line / folding->kept[1] * folding->kept_strides[2];
}

#endif
