#include "kernels/math_f64.h"
#include "ops/check.h"
#include "ops/row_runs.h"

// Of one element, in multiply-adds of int8: a polynomial or two, a division.
#define EI_WORK_OF_A_FUNCTION 100

static ei_status check(const ei_node *node) {
    const ei_unary_f32_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, 0);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_dtype(x, "x", EI_DTYPE_BIT(EI_FLOAT32)));
    EI_TRY(ei_check_same_dtype(y, "y", x, "x"));
    EI_TRY(ei_check_same_shape(y, "y", x, "x"));
    EI_TRY(ei_check_int(p->kind, "kind", 0, EI_F64_KINDS - 1));
    if (p->kind >= EI_F32_KINDS) {
        EI_TRY(ei_check_int(p->kind, "kind", EI_F64_SIN, EI_F64_KINDS - 1));
    }
    EI_TRY(ei_check_finite(p->alpha, "alpha"));
    EI_TRY(ei_check_finite(p->beta, "beta"));
    EI_TRY(ei_check_finite(p->gamma, "gamma"));
    return ei_check_bounds(p->clamp_min, p->clamp_max);
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_unary_f32_params *p = node->params;
    const ei_rows x = ei_view_rows(ei_input_view(node, 0));
    const ei_rows y = ei_view_rows(ei_output_view(node, 0));
    const ei_unary_f32_args args = {p->kind,  p->alpha,     p->beta,
                                    p->gamma, p->clamp_min, p->clamp_max};
    const ei_unary_f32_fn kernel =
        p->kind < EI_F32_KINDS ? context->kernels->unary_f32 : ei_unary_f64;
    for (uint32_t r = begin, next; r < end; r = next) {
        next = ei_row_run_end(&x, &y, r, end);
        const size_t count = (size_t)(next - r) * (x.row_bytes / sizeof(float));
        kernel((const float *)ei_row(&x, r), (float *)ei_row(&y, r), count, &args);
    }
    return EI_OK;
}

static ei_work work(const ei_bound_node *node) {
    const ei_tensor_record *y = ei_output_view(node, 0)->tensor;
    return (ei_work){.row = (uint64_t)y->row_bytes / sizeof(float) * EI_WORK_OF_A_FUNCTION};
}

const ei_op ei_op_unary_f32 = {
    .name = "unary_f32",
    .check = check,
    .input_rows = ei_input_rows_same,
    .run = run,
    .work = work,
    .in_place = 1,
};
