#include "ops/row_boxes.h"

int ei_row_box_next(const ei_tensor_record *tensor, uint32_t *row, uint32_t end, ei_row_box *box) {
    if (*row >= end) {
        return 0;
    }
    // Axes from `axis` on are in the box whole; they make up `block` rows.
    uint32_t axis = ei_outer_axes(tensor);
    uint32_t block = 1;
    uint32_t digits = *row;
    while (axis > 0) {
        const uint32_t dim = (uint32_t)tensor->dims[axis - 1];
        if (digits % dim != 0 || (uint64_t)block * dim > end - *row) {
            break;
        }
        axis--;
        box->begin[axis] = 0;
        box->count[axis] = dim;
        digits /= dim;
        block *= dim;
    }
    uint32_t taken = block;
    for (int first = 1; axis > 0; first = 0) {
        axis--;
        const uint32_t dim = (uint32_t)tensor->dims[axis];
        box->begin[axis] = digits % dim;
        box->count[axis] = 1;
        if (first) {
            const uint32_t fit = (end - *row) / block;
            const uint32_t left = dim - box->begin[axis];
            box->count[axis] = fit < left ? fit : left;
            taken = block * box->count[axis];
        }
        digits /= dim;
    }
    *row += taken;
    return 1;
}

ei_row_range ei_row_boxes_read(const ei_node *node, const ei_tensor_record *x,
                               const ei_tensor_record *y, ei_axis_reads reads, uint32_t begin,
                               uint32_t end) {
    ei_row_range all = {UINT32_MAX, 0};
    ei_row_box box;
    while (ei_row_box_next(y, &begin, end, &box)) {
        uint32_t first = 0;
        uint32_t last = 0;
        int any = 1;
        for (uint32_t axis = 0; axis < ei_outer_axes(y); axis++) {
            const ei_row_range range = reads(node, axis, box.begin[axis], box.count[axis]);
            any = any && range.begin < range.end;
            if (!any) {
                break;
            }
            first = first * (uint32_t)x->dims[axis] + range.begin;
            last = last * (uint32_t)x->dims[axis] + range.end - 1;
        }
        if (any) {
            all.begin = first < all.begin ? first : all.begin;
            all.end = last + 1 > all.end ? last + 1 : all.end;
        }
    }
    return all.end == 0 ? (ei_row_range){0, 0} : all;
}
