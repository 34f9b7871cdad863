/// Geometry of operators that slide a window over NHWC images.
#ifndef EI_KERNELS_WINDOW_H
#define EI_KERNELS_WINDOW_H

#include <stdint.h>

/// All at least 1, pads at least 0. Rows of an ei_rows view count through the batch: row n * height + y is line y of
/// image n. Kernel offsets are computed in int64_t: a window may start anywhere.
typedef struct ei_window {
    int32_t in_h, in_w, in_c;
    int32_t out_h, out_w, out_c;
    int32_t kernel_h, kernel_w;
    int32_t stride_h, stride_w;
    int32_t dilation_h, dilation_w;
    int32_t pad_top, pad_left; // what lies below and to the right is implied by the output size
} ei_window;

#endif
