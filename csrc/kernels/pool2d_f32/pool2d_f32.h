/// Pooling of float32: the mean or the largest of what a window sees, channel by channel.
#ifndef EI_KERNELS_POOL2D_F32_H
#define EI_KERNELS_POOL2D_F32_H

#include "kernels/rows.h"
#include "kernels/window.h"

enum { EI_F32_MAX_POOL = 0, EI_F32_AVG_POOL = 1 };

typedef struct ei_pool2d_f32_args {
    ei_rows x;        // in_w * in_c elements each
    ei_rows y;        // out_w * in_c elements each; shares no byte with x
    ei_window window; // out_c == in_c; every window has a tap inside
    int32_t kind;
    int32_t all_taps; // of a mean: 1: divide by kernel_h * kernel_w; 0: by the taps inside
    float clamp_min, clamp_max; // min <= max; may be infinite
} ei_pool2d_f32_args;

/// Rows [begin, end) of y. The taps inside, in ascending order (row by row), from +0 or from minus
/// infinity: s = s + x, y = s / count; or s = s > x ? s : x, a NaN where there is one. Then clamped;
/// a NaN is 0x7fc00000.
typedef void (*ei_pool2d_f32_fn)(const ei_pool2d_f32_args *args, uint32_t begin, uint32_t end);

void ei_pool2d_f32_scalar(const ei_pool2d_f32_args *args, uint32_t begin, uint32_t end);
void ei_pool2d_f32_avx2(const ei_pool2d_f32_args *args, uint32_t begin, uint32_t end);

#endif
