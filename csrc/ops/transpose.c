#include "ops/check.h"
#include "ops/row_boxes.h"
#include "ops/row_runs.h"

static const int32_t *permutation(const void *params) {
    return params;
}

static ei_status check(const ei_node *node) {
    const int32_t *perm = permutation(node->params);
    const ei_tensor_record *x = ei_node_input(node, 0);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_same_dtype(y, "y", x, "x"));
    EI_TRY(ei_check_rank(y, "y", x->rank, x->rank));
    EI_TRY(ei_check_int_array(perm, x->rank, "perm", 0, x->rank - 1));
    uint32_t seen = 0;
    for (uint32_t axis = 0; axis < x->rank; axis++) {
        if ((seen >> perm[axis] & 1) != 0) {
            return ei_fail(EI_ERROR_OPERATOR, "perm: entry %u is %d again, must be a permutation",
                           (unsigned)axis, (int)perm[axis]);
        }
        seen |= 1u << perm[axis];
        EI_TRY(ei_check_dim(y, "y", axis, x->dims[perm[axis]]));
    }
    return ei_check_whole(x, "x");
}

/// A loop of a copy: `count` times, so many elements further in x and in y.
typedef struct ei_loop {
    size_t count;
    ptrdiff_t x_step, y_step;
} ei_loop;

/// The loops over a box of y's rows, outermost first, those that are one in both arrays joined. The
/// last one steps by 1 in y. Returns their number, at least 1.
static uint32_t make_loops(const int32_t *perm, const ei_tensor_record *x,
                           const ei_tensor_record *y, const ei_row_box *box,
                           ei_loop loops[EI_MAX_RANK]) {
    ei_loop found[EI_MAX_RANK]; // innermost first
    uint32_t count = 0;
    ptrdiff_t y_step = 1;
    for (uint32_t axis = y->rank; axis-- > 0;) {
        const size_t steps = axis < ei_outer_axes(y) ? box->count[axis] : (size_t)y->dims[axis];
        const ptrdiff_t x_step = (ptrdiff_t)ei_tensor_inner(x, (uint32_t)perm[axis] + 1);
        ei_loop *inner = count > 0 ? &found[count - 1] : NULL;
        if (inner != NULL && x_step == inner->x_step * (ptrdiff_t)inner->count &&
            y_step == inner->y_step * (ptrdiff_t)inner->count) {
            inner->count *= steps;
        } else if (steps > 1) {
            found[count++] = (ei_loop){steps, x_step, y_step};
        }
        y_step *= y->dims[axis];
    }
    if (count == 0) {
        found[count++] = (ei_loop){1, 1, 1};
    }
    for (uint32_t i = 0; i < count; i++) {
        loops[i] = found[count - 1 - i];
    }
    return count;
}

/// Elements that move together, where x and y are contiguous in the same few, become one: the kernel
/// is quicker with two bytes than with runs of two. Returns the bytes of an element.
static uint32_t widen_elements(ei_loop *loops, uint32_t *count, uint32_t element_bytes) {
    const size_t run = loops[*count - 1].count;
    const size_t bytes = run * element_bytes;
    if (*count < 2 || loops[*count - 1].x_step != 1 || (bytes != 2 && bytes != 4 && bytes != 8)) {
        return element_bytes;
    }
    for (uint32_t i = 0; i + 1 < *count; i++) {
        if (loops[i].x_step % (ptrdiff_t)run != 0 || loops[i].y_step % (ptrdiff_t)run != 0) {
            return element_bytes;
        }
    }
    for (uint32_t i = 0; i + 1 < *count; i++) {
        loops[i].x_step /= (ptrdiff_t)run;
        loops[i].y_step /= (ptrdiff_t)run;
    }
    --*count;
    return (uint32_t)bytes;
}

/// Copies a box: two loops in the kernel, the others here.
static void copy_box(ei_copy2d_fn copy, const ei_loop *loops, uint32_t count,
                     uint32_t element_bytes, const uint8_t *x, uint8_t *y) {
    const ei_loop columns = loops[count - 1];
    // The kernel goes through tiles: it wants the loop along which x is contiguous.
    uint32_t chosen = count >= 2 ? count - 2 : 0;
    for (uint32_t i = 0; i + 1 < count; i++) {
        chosen = loops[i].x_step == 1 ? i : chosen;
    }
    const ei_loop rows = count >= 2 ? loops[chosen] : (ei_loop){1, 0, 0};
    ei_copy2d_args args = {
        .rows = rows.count,
        .columns = columns.count,
        .x_row_step = rows.x_step,
        .x_column_step = columns.x_step,
        .y_row_step = rows.y_step,
        .element_bytes = element_bytes,
    };
    ei_loop outer[EI_MAX_RANK];
    size_t at[EI_MAX_RANK] = {0};
    uint32_t outer_count = 0;
    for (uint32_t i = 0; i + 1 < count; i++) {
        if (i != chosen) {
            outer[outer_count++] = loops[i];
        }
    }
    for (;;) {
        args.x = x;
        args.y = y;
        copy(&args);
        // On to the next position of the outer loops, the innermost turning first.
        uint32_t i = outer_count;
        while (i > 0 && ++at[i - 1] == outer[i - 1].count) {
            i--;
            at[i] = 0;
            x -= (ptrdiff_t)(outer[i].count - 1) * outer[i].x_step * (ptrdiff_t)element_bytes;
            y -= (ptrdiff_t)(outer[i].count - 1) * outer[i].y_step * (ptrdiff_t)element_bytes;
        }
        if (i == 0) {
            return;
        }
        x += outer[i - 1].x_step * (ptrdiff_t)element_bytes;
        y += outer[i - 1].y_step * (ptrdiff_t)element_bytes;
    }
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const int32_t *perm = permutation(node->params);
    const ei_tensor_record *x_tensor = ei_input_view(node, 0)->tensor;
    const ei_tensor_record *y_tensor = ei_output_view(node, 0)->tensor;
    const uint8_t *x = ei_input_view(node, 0)->base;
    const ei_rows y = ei_view_rows(ei_output_view(node, 0));
    const uint32_t element_bytes = ei_dtype_bytes(y_tensor->dtype);
    for (uint32_t r = begin, next; r < end; r = next) {
        next = ei_row_run_end(&y, &y, r, end);
        ei_row_box box;
        uint32_t behind = r;
        for (uint32_t row = r; ei_row_box_next(y_tensor, &behind, next, &box); row = behind) {
            ei_loop loops[EI_MAX_RANK];
            uint32_t count = make_loops(perm, x_tensor, y_tensor, &box, loops);
            const uint32_t moved_bytes = widen_elements(loops, &count, element_bytes);
            size_t from = 0;
            for (uint32_t axis = 0; axis < ei_outer_axes(y_tensor); axis++) {
                from +=
                    (size_t)box.begin[axis] * ei_tensor_inner(x_tensor, (uint32_t)perm[axis] + 1);
            }
            copy_box(context->kernels->copy2d, loops, count, moved_bytes, x + from * element_bytes,
                     ei_row(&y, row));
        }
    }
    return EI_OK;
}

const ei_op ei_op_transpose = {
    .name = "transpose",
    .check = check,
    .run = run,
};
