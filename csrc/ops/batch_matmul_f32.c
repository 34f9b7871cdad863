#include <stddef.h>

#include "ops/check.h"
#include "ops/matmul.h"
#include "ops/op.h"

static ei_status check(const ei_node *node) {
    const ei_batch_matmul_f32_params *p = node->params;
    EI_TRY(ei_check_matmul(node, EI_DTYPE_BIT(EI_FLOAT32), p->transpose_b));
    return ei_check_bounds(p->clamp_min, p->clamp_max);
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_batch_matmul_f32_params *p = node->params;
    for (uint32_t row = begin; row < end;) {
        const ei_matmul_piece piece = ei_matmul_piece_of(node, row, end);
        const ei_batch_matmul_f32_args args = {.a = piece.a,
                                               .b = piece.b,
                                               .y = piece.y,
                                               .m = piece.m,
                                               .k = piece.k,
                                               .n = piece.n,
                                               .transpose_b = p->transpose_b,
                                               .bounds = {p->clamp_min, p->clamp_max}};
        context->kernels->batch_matmul_f32_f32(&args);
        row += piece.rows;
    }
    return EI_OK;
}

static ei_work work(const ei_bound_node *node) {
    return (ei_work){.row = ei_matmul_row_products(node) * EI_WORK_OF_A_FLOAT_PRODUCT};
}

const ei_op ei_op_batch_matmul_f32 = {.name = "batch_matmul_f32",
                                      .check = check,
                                      .input_rows = ei_matmul_input_rows,
                                      .run = run,
                                      .work = work};
