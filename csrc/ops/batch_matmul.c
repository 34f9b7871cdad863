#include <stddef.h>

#include "ops/check.h"
#include "ops/matmul.h"
#include "ops/op.h"

static ei_status check(const ei_node *node) {
    const ei_batch_matmul_params *p = node->params;
    EI_TRY(ei_check_matmul(node, EI_DTYPES_S8_S16, p->transpose_b));
    const uint32_t dtype = ei_node_output(node, 0)->dtype;
    EI_TRY(ei_check_zero_point(p->a_zero_point, "a_zero_point", dtype));
    EI_TRY(ei_check_zero_point(p->b_zero_point, "b_zero_point", dtype));
    EI_TRY(ei_check_finite(p->multiplier, "multiplier"));
    EI_TRY(ei_check_zero_point(p->out_zero_point, "out_zero_point", dtype));
    return ei_check_clamp(p->clamp_min, p->clamp_max, dtype);
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_batch_matmul_params *p = node->params;
    const ei_requant requant = {p->out_zero_point, p->clamp_min, p->clamp_max};
    const int narrow = ei_output_view(node, 0)->tensor->dtype == EI_INT8;
    for (uint32_t row = begin; row < end;) {
        const ei_matmul_piece piece = ei_matmul_piece_of(node, row, end);
        if (narrow) {
            const ei_batch_matmul_s8_s8_args args = {.a = piece.a,
                                                     .b = piece.b,
                                                     .y = piece.y,
                                                     .m = piece.m,
                                                     .k = piece.k,
                                                     .n = piece.n,
                                                     .transpose_b = p->transpose_b,
                                                     .a_zero_point = p->a_zero_point,
                                                     .b_zero_point = p->b_zero_point,
                                                     .multiplier = p->multiplier,
                                                     .requant = requant};
            context->kernels->batch_matmul_s8_s8(&args);
        } else {
            const ei_batch_matmul_s16_s16_args args = {.a = piece.a,
                                                       .b = piece.b,
                                                       .y = piece.y,
                                                       .m = piece.m,
                                                       .k = piece.k,
                                                       .n = piece.n,
                                                       .transpose_b = p->transpose_b,
                                                       .a_zero_point = p->a_zero_point,
                                                       .b_zero_point = p->b_zero_point,
                                                       .multiplier = p->multiplier,
                                                       .requant = requant};
            context->kernels->batch_matmul_s16_s16(&args);
        }
        row += piece.rows;
    }
    return EI_OK;
}

static ei_work work(const ei_bound_node *node) {
    return (ei_work){.row = ei_matmul_row_products(node) * 4};
}

const ei_op ei_op_batch_matmul = {.name = "batch_matmul",
                                  .check = check,
                                  .input_rows = ei_matmul_input_rows,
                                  .run = run,
                                  .work = work};
