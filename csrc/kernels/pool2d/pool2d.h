/// Pooling: the mean or the largest of what a window sees, channel by channel.
#ifndef EI_KERNELS_POOL2D_H
#define EI_KERNELS_POOL2D_H

#include "kernels/requantize.h"
#include "kernels/rows.h"
#include "kernels/window.h"

/// Taps [begin, end) of a window, along one axis.
typedef struct ei_taps {
    int32_t begin, end;
} ei_taps;

/// The taps k < kernel that lie inside: 0 <= origin + k * dilation < size.
static inline ei_taps ei_taps_inside(int64_t origin, int32_t kernel, int32_t dilation,
                                     int32_t size) {
    const int64_t first = origin < 0 ? (dilation - 1 - origin) / dilation : 0;
    const int64_t past = origin < size ? (size - origin + dilation - 1) / dilation : 0;
    const int64_t end = past < kernel ? past : kernel;
    return first < end ? (ei_taps){(int32_t)first, (int32_t)end} : (ei_taps){0, 0};
}

typedef struct ei_avg_pool2d_args {
    ei_rows x;             // in_w * in_c elements each
    ei_rows y;             // out_w * in_c elements each; shares no byte with x
    ei_window window;      // out_c == in_c, dilations 1; every window has a tap inside
    int32_t all_taps;      // 1: divide by kernel_h * kernel_w; 0: by the taps inside
    int32_t integer_mean;  // which of the formulas below
    int32_t in_zero_point; // of x's dtype
    float multiplier;      // finite
    ei_requant requant;    // within y's dtype, which is x's
} ei_avg_pool2d_args;

/// Rows [begin, end) of y. With s = sum of the taps inside, `inside` their number and n the divisor:
///   integer_mean 1: y = clamp((s + (s > 0 ? n / 2 : -(n / 2))) / n), division towards zero
///   integer_mean 0: y = clamp(rne((float)(s - inside * in_zero_point) * (multiplier / (float)n))
///                             + requant.zero_point)
/// avg_pool2d_s8: at most 2^22 taps inside a window, so that int32 holds s - inside * in_zero_point.
/// avg_pool2d_s16: sums in int64.
typedef void (*ei_avg_pool2d_fn)(const ei_avg_pool2d_args *args, uint32_t begin, uint32_t end);

void ei_avg_pool2d_s8_scalar(const ei_avg_pool2d_args *args, uint32_t begin, uint32_t end);
void ei_avg_pool2d_s16_scalar(const ei_avg_pool2d_args *args, uint32_t begin, uint32_t end);

typedef struct ei_max_pool2d_args {
    ei_rows x;                    // in_w * in_c elements each
    ei_rows y;                    // out_w * in_c elements each; shares no byte with x
    ei_window window;             // out_c == in_c; every window has a tap inside
    int32_t clamp_min, clamp_max; // values of the dtype
} ei_max_pool2d_args;

/// Rows [begin, end) of y: clamp(the largest of the taps inside).
typedef void (*ei_max_pool2d_fn)(const ei_max_pool2d_args *args, uint32_t begin, uint32_t end);

void ei_max_pool2d_s8_scalar(const ei_max_pool2d_args *args, uint32_t begin, uint32_t end);
void ei_max_pool2d_u8_scalar(const ei_max_pool2d_args *args, uint32_t begin, uint32_t end);
void ei_max_pool2d_s16_scalar(const ei_max_pool2d_args *args, uint32_t begin, uint32_t end);

void ei_avg_pool2d_s8_avx2(const ei_avg_pool2d_args *args, uint32_t begin, uint32_t end);
void ei_max_pool2d_s8_avx2(const ei_max_pool2d_args *args, uint32_t begin, uint32_t end);
void ei_max_pool2d_u8_avx2(const ei_max_pool2d_args *args, uint32_t begin, uint32_t end);
void ei_max_pool2d_s16_avx2(const ei_max_pool2d_args *args, uint32_t begin, uint32_t end);

void ei_avg_pool2d_s8_neon(const ei_avg_pool2d_args *args, uint32_t begin, uint32_t end);
void ei_max_pool2d_s8_neon(const ei_max_pool2d_args *args, uint32_t begin, uint32_t end);
void ei_max_pool2d_u8_neon(const ei_max_pool2d_args *args, uint32_t begin, uint32_t end);
void ei_max_pool2d_s16_neon(const ei_max_pool2d_args *args, uint32_t begin, uint32_t end);

#endif
