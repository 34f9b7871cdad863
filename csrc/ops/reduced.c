#include "ops/reduced.h"

#include "ops/check.h"
#include "ops/row_boxes.h"

ei_status ei_reduced_check(const ei_tensor_record *x, const ei_tensor_record *y, uint32_t axes) {
    uint32_t kept = 0; // rank of y when the axes are dropped
    for (uint32_t axis = 0; axis < x->rank; axis++) {
        kept += (axes >> axis & 1) == 0;
    }
    EI_TRY(ei_check_present(y, "y"));
    const int dropped = y->rank != x->rank;
    EI_TRY(ei_check_rank(y, "y", dropped ? kept : x->rank, dropped ? kept : x->rank));
    uint32_t y_axis = 0;
    for (uint32_t axis = 0; axis < x->rank; axis++) {
        const int folded = (axes >> axis & 1) != 0;
        if (!folded || !dropped) {
            EI_TRY(ei_check_dim(y, "y", y_axis++, folded ? 1 : x->dims[axis]));
        }
    }
    return ei_reduced_in_row(x, y, axes) ? EI_OK : ei_check_whole(x, "x");
}

int ei_reduced_in_row(const ei_tensor_record *x, const ei_tensor_record *y, uint32_t axes) {
    const uint32_t outer = (1u << ei_outer_axes(x)) - 1;
    return (axes & outer) == 0 && y->rows == x->rows;
}

ei_folding ei_fold_axes(const ei_tensor_record *x, uint32_t first, uint32_t axes) {
    ei_folding folding = {
        .folded = {1, 1, 1},
        .folded_strides = {1, 1, 1},
        .kept = {1, 1, 1},
        .kept_strides = {1, 1, 1},
    };
    size_t stride = 1;
    int groups[2] = {-1, -1}; // the last group of kept and of folded axes
    int previous = -1;
    for (uint32_t axis = x->rank; axis-- > first;) {
        const size_t dim = (size_t)x->dims[axis];
        if (dim == 1) {
            continue;
        }
        const int folded = (int)(axes >> axis & 1);
        size_t *dims = folded ? folding.folded : folding.kept;
        size_t *strides = folded ? folding.folded_strides : folding.kept_strides;
        if (folded != previous) {
            strides[++groups[folded]] = stride;
            previous = folded;
        }
        dims[groups[folded]] *= dim;
        stride *= dim;
    }
    return folding;
}
